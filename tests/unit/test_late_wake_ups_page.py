"""docs/late-wake-ups.md shows what the code really gives. RTVIRT_DRAW=yes draws its picture anew."""

from __future__ import annotations

import os
import re
import textwrap

from fake_traces import US, late_once

from rtvirt_runner.analysis.late.attribution import time_line
from rtvirt_runner.analysis.late.words import sentences
from rtvirt_runner.catalogue import collection
from rtvirt_runner.parsers.ftrace import parse
from rtvirt_runner.report.figures.late_wakeup import late_wakeup

PAGE = collection.ROOT / "docs" / "late-wake-ups.md"
PICTURE = collection.ROOT / "docs" / "late-wake-up.svg"


def test_the_example_is_what_its_code_prints() -> None:
    example = re.search(r"```python\n.*?open\(\"(.*?)\"\).*?```\n\n((?: {4}[^\n]+\n)+)", PAGE.read_text(), re.DOTALL)
    assert example
    trace = parse((collection.ROOT / example[1]).read_text().splitlines(keepends=True))
    said = sentences(time_line(trace, None).worst("host", 1)[0])
    assert said == textwrap.dedent(example[2]).splitlines()


def test_the_picture_is_what_the_code_draws() -> None:
    pair = late_once("host_thread", 699 * US, thread=("qemu-system-aar", 790), prio=98)
    line = time_line(pair.host.parsed(), pair.guest.parsed())
    drawn = late_wakeup(line, line.worst("guest", 1)[0], "late-wake-up").svg()
    if os.environ.get("RTVIRT_DRAW") == "yes":
        PICTURE.write_text(drawn)
    assert PICTURE.read_text() == drawn
