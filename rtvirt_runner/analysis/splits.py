"""Late wake-ups of a guest, split into what the host was late meanwhile and what virtualization added (place both).

The board's own cyclictest says when a thread of the board that comes before the vCPU was late, the guest's when the
guest was. Each has its own CLOCK_MONOTONIC. What relates them is a clock that both can read: the seconds of the
guest's PL031 are those of the board's wall clock, so each second's beginning is an instant known on both
(clock_edges.sh of the role measure, before the cell and after it). As in analysis/late/clocks.py, all offsets and
drifts that agree with these instants are kept, so that the relation has a width, and every split has the least and the
most that it can be within that width.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from rtvirt_runner.analysis.late.clocks import ClockBound, ClockSample, bound_of_samples
from rtvirt_runner.analysis.measurement import Measurement
from rtvirt_runner.parsers import ParseError
from rtvirt_runner.parsers.spikes import LateWakeup, LateWakeups

BEND = 1e-6  # by which the rate of a disciplined clock is taken to change within a cell
_CUT_US = 2.0  # what the times in cyclictest's list may be wrong, as each was cut to a microsecond
_NS = 1_000_000_000

Untold = Literal["narrow", "unseen", "unlisted"]
Interval = tuple[float, float]


@dataclass(frozen=True)
class Relation:
    """How the guest's clock stands to the board's; ``bend_us``: what it may leave a constant drift by."""

    bound: ClockBound
    bend_us: float

    def offset_us(self, guest_us: float) -> Interval:
        """The least and the greatest offset (board minus guest), in us, at a time of the guest."""
        low, high = self.bound.offset_ns(round(guest_us * 1000))
        return low / 1000 - self.bend_us, high / 1000 + self.bend_us

    def width_us(self, guest_us: float) -> float:
        """How uncertain a time of one side is on the clock of the other, in us."""
        low, high = self.offset_us(guest_us)
        return high - low + _CUT_US


@dataclass(frozen=True)
class Split:
    """One late wake-up of the guest. Times in us.

    ``host_us``: for how long of it the board's thread was due and had not woken up, the least and the most;
    None where that is not told, for the reason ``untold``.
    """

    wakeup: LateWakeup
    after_us: int  # since the first that was listed of the guest
    width_us: float
    host_us: Interval | None
    untold: Untold | None = None

    @property
    def added_us(self) -> Interval | None:
        """What virtualization added: the rest of the latency, the least and the most."""
        if self.host_us is None:
            return None
        return self.wakeup.latency_us - self.host_us[1], self.wakeup.latency_us - self.host_us[0]

    @property
    def side(self) -> str:
        """Which has more than half of it for certain: ``host`` or ``virtualization``; '' where that is not told."""
        if self.host_us is None:
            return ""
        half = self.wakeup.latency_us / 2
        return "host" if self.host_us[0] > half else "virtualization" if self.host_us[1] < half else ""


@dataclass(frozen=True)
class Splits:
    """All late wake-ups of a cell; either split, or ``reason`` says why none is."""

    splits: tuple[Split, ...]  # in order of time
    reason: str  # one sentence; '' when they are split

    def count(self, side: str) -> int:
        """How many are mostly of a side."""
        return sum(each.side == side for each in self.splits)

    def untold(self, why: Untold) -> int:
        """How many are not told for a reason."""
        return sum(each.untold == why for each in self.splits)

    @property
    def width_us(self) -> float:
        """The greatest width of the relation at any of them; 0 without one."""
        return max((each.width_us for each in self.splits), default=0.0)


def relation(system: Mapping[str, Any]) -> Relation:
    """The relation of the clocks in a record's system.json; raises ParseError, one sentence, where there is none.

    On a sealed machine both count the same instructions, and nothing disciplines either.
    """
    before, after = system.get("guest"), _of(system.get("after"), "guest")
    board = _of(system, "board")
    offsets = (
        board.get("realtime_offset_ns"),
        _of(_of(system, "after"), "board").get("realtime_offset_ns", board.get("realtime_offset_ns")),
    )
    samples = [
        sample
        for facts, offset in zip((before, after), offsets, strict=True)
        for row in _rows(facts)
        if (sample := _sample(row, offset))
    ]
    if not samples:
        said = next((str(why) for facts in (before, after) if (why := _of_facts(facts).get("no_clock_edges"))), "")
        raise ParseError(
            f"The clocks of board and guest could not be related: {said or 'the record has no instant of both'}."
        )
    if system.get("sealed"):
        return Relation(bound_of_samples(samples, BEND), 0.0)
    span_s = (samples[-1].guest_ns - samples[0].guest_ns) / _NS
    return Relation(bound_of_samples(samples), BEND * span_s / 2 * 1e6)


def split_wakeups(measurement: Measurement) -> Splits:
    """Split the late wake-ups of a cell whose place is both."""
    late, host, thread = measurement.late, measurement.host, measurement.cell.host_thread
    if late is None or host is None or thread is None:
        raise ValueError(f"Cell {measurement.cell.id} was not measured on host and guest at the same time.")
    try:
        known = relation(measurement.record.system)
    except ParseError as error:
        return Splits((), str(error))
    first = late.wakeups[0].at_us if late.wakeups else 0
    return Splits(tuple(_split(each, host.late, thread.interval_us, known, first) for each in late.wakeups), "")


def _split(wakeup: LateWakeup, host: LateWakeups, interval_us: int, known: Relation, first_us: int) -> Split:
    width = known.width_us(wakeup.at_us)
    after = wakeup.at_us - first_us
    if wakeup.latency_us <= width:
        return Split(wakeup, after, width, None, "narrow")
    low, high = known.offset_us(wakeup.at_us)
    if host.total > len(host.wakeups) and host.wakeups and wakeup.at_us + high > host.wakeups[-1].at_us:
        return Split(wakeup, after, width, None, "unlisted")
    found = _overlap(wakeup, host.wakeups, (low - _CUT_US / 2, high + _CUT_US / 2))
    # A thread that is due each interval was due at least once in so long a time, and is in the list if it was late.
    if found[0] <= 0 and wakeup.latency_us < interval_us:
        return Split(wakeup, after, width, None, "unseen")
    return Split(wakeup, after, width, found)


def _overlap(wakeup: LateWakeup, host: Sequence[LateWakeup], offset_us: Interval) -> Interval:
    """For how long the board's thread was late while the guest's was, over all offsets: the least and the most."""
    low, high = offset_us
    begin = bisect_left(host, wakeup.due_us + low, key=lambda each: each.at_us)
    near = []
    for each in host[begin:]:
        if each.due_us > wakeup.at_us + high:
            break
        near.append(each)
    # The time in common is a line between offsets at which two ends meet.
    ends = [a - b for each in near for a in (each.due_us, each.at_us) for b in (wakeup.due_us, wakeup.at_us)]
    common = [
        sum(
            max(0.0, min(each.at_us, wakeup.at_us + offset) - max(each.due_us, wakeup.due_us + offset)) for each in near
        )
        for offset in (low, high, *(end for end in ends if low < end < high))
    ]
    most = float(wakeup.latency_us)
    return min(*common, most), min(max(common), most)


def _sample(row: Mapping[str, Any], realtime_offset_ns: Any) -> ClockSample | None:
    try:
        second, since, until = (int(row[name]) for name in ("second", "since_ns", "until_ns"))
        host_ns = second * _NS - int(realtime_offset_ns)
    except (KeyError, TypeError, ValueError):
        return None
    if not 0 <= since < until < 1 << 63:
        return None
    return ClockSample((since + until) // 2, host_ns, (until - since) // 2 + 1)


def _rows(facts: Any) -> list[Mapping[str, Any]]:
    rows = _of_facts(facts).get("clock_edges")
    return [row for row in rows if isinstance(row, Mapping)] if isinstance(rows, list) else []


def _of_facts(facts: Any) -> Mapping[str, Any]:
    return facts if isinstance(facts, Mapping) else {}


def _of(facts: Any, name: str) -> Mapping[str, Any]:
    return _of_facts(_of_facts(facts).get(name))
