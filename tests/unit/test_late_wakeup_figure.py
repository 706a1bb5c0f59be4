"""The picture of a late wake-up: its lanes, its culprit and its words; how it looks is judged by eye."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree

import pytest
from fake_traces import US, FakePair, late_once

from rtvirt_runner.analysis.late.attribution import time_line
from rtvirt_runner.report.figures.drawing import HUES, Drawing, Shape
from rtvirt_runner.report.figures.late_wakeup import late_wakeup

CULPRIT = HUES[1]


def drawing(pair: FakePair, unit: str = "µs") -> Drawing:
    line = time_line(pair.host.parsed(), pair.guest.parsed())
    return late_wakeup(line, line.worst("guest", 1)[0], "late-1", unit)


def words(svg: str) -> list[str]:
    return [each.text or "" for each in ElementTree.fromstring(svg).iter() if each.tag.endswith("text")]


def test_cores_and_vcpus_are_lanes_and_the_culprit_is_named() -> None:
    said = words(drawing(late_once("host_thread", 700 * US), "µs (virtual time)").svg())
    for text in ("its core 0 runs", "vCPU 0 of the guest", "core 1 runs", "rogue", "waits for the core", "timer due"):
        assert text in said
    assert "The thread rogue ran on the host on the core of the vCPU" in said
    assert "µs (virtual time) after the timer was due" in said


@pytest.mark.parametrize("kind", ["host_thread", "host_interrupts_off", "user_exits"])
def test_the_culprits_bars_are_as_long_as_its_time(kind: str) -> None:
    pair = late_once(kind, 900 * US)
    line = time_line(pair.host.parsed(), pair.guest.parsed())
    explanation = line.worst("guest", 1)[0]
    canvas = late_wakeup(line, explanation, "x").wide
    at = {item.text: item.x for item in canvas.items if not isinstance(item, Shape)}
    width_of_latency = at["cyclictest runs"] - at["timer due"]
    bars = [item for item in canvas.items if isinstance(item, Shape) and item.fill == CULPRIT and item.opacity == 1]
    tall = [bar.parts[0] for bar in bars if bar.parts[0][2][1] - bar.parts[0][0][1] > 30]
    marked = sum(corners[1][0] - corners[0][0] for corners in tall)
    share = explanation.totals[explanation.culprit] / explanation.wakeup.latency_ns
    assert marked == pytest.approx(share * width_of_latency, abs=2)


def test_wide_and_narrow_pictures_stay_on_their_canvas() -> None:
    for kind in ("host_thread", "host_interrupts"):
        both = drawing(late_once(kind, 700 * US))
        for canvas in (both.wide, both.narrow):
            for item in canvas.items:
                for x, y in (
                    (point for part in item.parts for point in part) if isinstance(item, Shape) else [(item.x, item.y)]
                ):
                    assert -0.5 <= x <= canvas.width + 0.5
                    assert -0.5 <= y <= canvas.height + 0.5
        assert both.png().startswith(b"\x89PNG")
        assert both.svg() == drawing(late_once(kind, 700 * US)).svg()
        assert not re.search(r"nan|inf\b", both.svg())


def test_how_well_the_clocks_are_known_is_said() -> None:
    assert re.fullmatch(
        r"Where the guest's lane lies against the others is known to \d+ µs\.",
        drawing(late_once("user_exits", 900 * US)).note,
    )
