"""Late wake-ups with their times; the files in tests/data/cyclictest are captured from cyclictest 2.40."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from rtvirt_runner.parsers import ParseError
from rtvirt_runner.parsers.cyclictest import parse_text
from rtvirt_runner.parsers.spikes import LateWakeups, parse

DATA = Path(__file__).parents[1] / "data" / "cyclictest"
LIMIT = 200


def captured(name: str) -> str:
    return (DATA / f"{name}.txt").read_text(encoding="utf-8")


def read(text: str, trigger_us: int, run: str = "") -> LateWakeups:
    return parse(text, parse_text(run or text, LIMIT), trigger_us, LIMIT)


def test_every_late_wake_up_has_its_time_and_agrees_with_the_histogram() -> None:
    late = read(captured("spikes"), 150)
    (thread,) = parse_text(captured("spikes"), LIMIT).threads
    assert late.total == len(late.wakeups) > 5
    assert max(each.latency_us for each in late.wakeups) == thread.max_us
    assert sum(each.latency_us >= LIMIT for each in late.wakeups) == thread.overflows
    dues = [each.due_us for each in late.wakeups]
    # every millisecond a wake-up is due; both numbers were cut to a microsecond
    assert all((due - dues[0] + 1) % 1000 <= 2 for due in dues)
    assert dues == sorted(dues)


def test_a_list_that_was_full_says_how_many_there_were() -> None:
    late = read(captured("spikes_full"), 66)
    assert len(late.wakeups) == 8
    (thread,) = parse_text(captured("spikes_full")).threads
    assert late.total == sum(count for us, count in thread.histogram.items() if us > 66) + thread.overflows


def test_threads_are_told_apart_and_a_run_without_a_late_wake_up_has_none() -> None:
    assert {each.thread for each in read(captured("spikes_two_threads"), 90).wakeups} == {0, 1}
    assert read(captured("spikes_none"), 100_000) == LateWakeups(100_000, (), 0)


def lines_of(text: str) -> list[str]:
    return [line for line in text.splitlines(keepends=True) if "Spike:" in line]


def test_what_is_cut_off_garbled_or_of_another_run_is_refused_in_one_sentence() -> None:
    text = captured("spikes")
    first, second = lines_of(text)[:2]
    counts = parse_text(text).threads[0].histogram
    absent = next(us for us in range(151, LIMIT) if us not in counts)
    total = next(line for line in text.splitlines(keepends=True) if line.startswith("spikes = "))
    damaged = {
        "lines 'spikes = N', expected one": text.replace(total, ""),
        "is garbled or cut off": text.replace(first, first[:20] + "\n"),
        "expected after the one before it": text.replace(first, "").replace(second, second + first),
        "more than the": text.replace(total, "spikes = 1\n"),
        "are they of one run": text.replace(total, f"spikes = {int(total.split()[2]) + 1}\n"),
        "which its histogram does not have": text.replace(first, re.sub(r"Spike: *\d+", f"Spike: {absent}", first)),
        "of thread 7": text.replace(first, first.replace("T: 0", "T: 7")),
    }
    for sentence, damage in damaged.items():
        with pytest.raises(ParseError, match=sentence):
            read(damage, 150, run=text)


def test_late_wake_ups_of_another_trigger_are_refused() -> None:
    with pytest.raises(ParseError, match="are they of one run"):
        read(captured("spikes"), 100)
    with pytest.raises(ParseError, match="are they of one run"):
        read(captured("spikes_none"), 20)
    text = captured("spikes")
    with pytest.raises(ParseError, match="is beyond"):
        read(re.sub(r"TS: *\d+", f"TS: {'9' * 20}", text, count=1), 150, run=text)
