"""Parse the late wake-ups that cyclictest lists with their times (``--spike=US --spike-nodes=N``).

It prints them before its histogram: the first N that were later than US, and how many there were altogether.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass

from rtvirt_runner.parsers import MOST, ParseError
from rtvirt_runner.parsers.cyclictest import CyclictestRun

__all__ = ["LateWakeup", "LateWakeups", "ParseError", "parse"]

_SPIKE = re.compile(r"^T: *(\d{1,9}) Spike: *(\d{1,20}): TS: *(\d{1,20})\n", re.MULTILINE | re.ASCII)
_TOTAL = re.compile(r"^spikes = (\d{1,20})\n", re.MULTILINE | re.ASCII)


@dataclass(frozen=True)
class LateWakeup:
    """One wake-up, ``latency_us`` after it was due; ``at_us``: when it came, on cyclictest's clock (from boot)."""

    thread: int
    latency_us: int
    at_us: int

    @property
    def due_us(self) -> int:
        """When the timer was to expire, in us on cyclictest's clock; to a microsecond, as both numbers were cut."""
        return self.at_us - self.latency_us


@dataclass(frozen=True)
class LateWakeups:
    """Wake-ups later than ``trigger_us``, in order of time; ``total`` is more when there was no room for all."""

    trigger_us: int
    wakeups: tuple[LateWakeup, ...]
    total: int


def parse(text: str, run: CyclictestRun, trigger_us: int, limit_us: int) -> LateWakeups:
    """Read the late wake-ups in what cyclictest printed (``cyclictest.txt``).

    ``run`` is the same run's histogram (``parse_text`` or ``parse_json``), with which they must agree bucket by bucket.
    ``trigger_us`` and ``limit_us`` are the arguments of ``--spike`` and of ``-h``. Raises ParseError, one sentence,
    when the list is cut off, garbled, out of order or of another run. A run without a late wake-up has no list.
    """
    totals = _TOTAL.findall(text)
    lines = _SPIKE.findall(text)
    if text.count("Spike:") != len(lines):
        raise ParseError("A line of cyclictest's late wake-ups is garbled or cut off, expected thread, us and time.")
    if len(totals) != (1 if lines else 0):
        raise ParseError(
            f"cyclictest's {len(lines)} late wake-ups have {len(totals)} lines 'spikes = N', expected "
            f"{'one' if lines else 'none'}; is the list cut off?"
        )
    late = tuple(LateWakeup(*(_whole(digits) for digits in line)) for line in lines)
    total = _whole(totals[0]) if totals else 0
    if total < len(late):
        raise ParseError(f"cyclictest lists {len(late)} late wake-ups, more than the {total} that it counted.")
    _check_order(late, len(run.threads))
    _check_histogram(late, total, run, trigger_us, limit_us)
    return LateWakeups(trigger_us, late, total)


def _check_order(late: tuple[LateWakeup, ...], threads: int) -> None:
    before: dict[int, LateWakeup] = {}
    for each in late:
        if each.thread >= threads:
            raise ParseError(f"A late wake-up is of thread {each.thread}, expected one of {threads}, from 0.")
        if each.due_us < 0 or (each.thread in before and each.due_us <= before[each.thread].due_us):
            raise ParseError(
                f"The late wake-up at {each.at_us} us was due at {each.due_us} us, expected after the one before it."
            )
        before[each.thread] = each


def _check_histogram(
    late: tuple[LateWakeup, ...], total: int, run: CyclictestRun, trigger_us: int, limit_us: int
) -> None:
    """Every wake-up later than the trigger is in the list or, when that is full, at least in its total."""
    counted: Counter[int] = Counter()
    for thread in run.threads:
        counted.update({us: count for us, count in thread.histogram.items() if us > trigger_us})
    overflows = sum(thread.overflows for thread in run.threads)
    least = counted.total() + (overflows if trigger_us < limit_us else 0)
    most = counted.total() + overflows
    if not least <= total <= most:
        raise ParseError(
            f"cyclictest counted {total} wake-ups later than {trigger_us} us, and its histogram has "
            f"{least if least == most else f'{least} to {most}'}; are they of one run?"
        )
    listed = Counter(each.latency_us for each in late)
    maxima = max(thread.max_us for thread in run.threads)
    for us, count in listed.items():
        if not trigger_us < us <= maxima or (us < limit_us and count > counted[us]):
            raise ParseError(
                f"cyclictest lists {count} wake-ups of {us} us, which its histogram does not have beyond {trigger_us} "
                "us; are they of one run?"
            )
    if late and total == len(late) and max(listed) != maxima:
        raise ParseError(f"The latest of cyclictest's late wake-ups took {max(listed)} us, expected {maxima} us.")


def _whole(digits: str) -> int:
    if (number := int(digits)) > MOST:
        raise ParseError(f"cyclictest's number {digits} is beyond {MOST}, which is the most that it can count.")
    return number
