"""Both clocks of a guest and its board at one instant, from PTP_KVM and the board's own clocks.

PTP_KVM reads the guest's CLOCK_MONOTONIC_RAW and the host's CLOCK_REALTIME at one value of the counter that both have.
Traces are on CLOCK_MONOTONIC_RAW of each side, so the board says how far its two clocks are apart, once when its trace
begins and once when it ends. Between and beyond, they are taken to keep the rate that these two give to 1 ppm, as a
disciplined clock does; one that was set meanwhile has another rate than any oscillator, and says nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rtvirt_runner.analysis.late.clocks import ClockSample

MOST_RATE = 500e-6  # of CLOCK_REALTIME against the raw clock: what the kernel's NTP code slews by at most
RATE_CHANGE = 1e-6
_EXACTNESS_NS = 10  # of readings that are rounded to a nanosecond, and of the line through two of them

Rows = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class _Reading:
    """Both clocks of the board: how far CLOCK_REALTIME was ahead at a time of the raw one, in ns."""

    raw_ns: int
    ahead_ns: int
    error_ns: int


def clock_samples(board: Rows, guest: Rows) -> tuple[ClockSample, ...]:
    """The samples of a traced run, from the rows ``clocks`` of the board and ``ptp`` of the guest; () without either.

    Rows are as rtvirt-read-clocks prints them, all those of a run; a row that is not whole counts as none.
    """
    readings = sorted(
        (
            _Reading(each["raw_ns"], each["real_ns"] - each["raw_ns"], each["error_ns"])
            for each in _numbers(board, ("raw_ns", "real_ns", "error_ns"))
        ),
        key=lambda each: each.raw_ns,
    )
    if len(readings) < 2:
        return ()
    first, last = readings[0], readings[-1]
    passed = last.raw_ns - first.raw_ns
    rate = (last.ahead_ns - first.ahead_ns) / max(passed, 1)
    if abs(rate) > MOST_RATE:
        return ()
    found = []
    for each in _numbers(guest, ("raw_ns", "host_real_ns")):
        real = each["host_real_ns"]
        raw = first.raw_ns + round((real - first.raw_ns - first.ahead_ns) / (1 + rate))
        far = min(abs(raw - first.raw_ns), abs(raw - last.raw_ns))
        error = max(first.error_ns, last.error_ns) + round(RATE_CHANGE * far) + _EXACTNESS_NS
        found.append(ClockSample(each["raw_ns"], raw, error))
    return tuple(found)


def _numbers(rows: Rows, names: Sequence[str]) -> list[dict[str, int]]:
    found = []
    for row in rows:
        try:
            found.append({name: int(row[name]) for name in names})
        except (KeyError, TypeError, ValueError):
            continue
    return found
