"""The offset between the trace clocks of a board and its guest, from causality alone.

What a guest does on vCPU n, it does between a kvm_entry and the next kvm_exit of that vCPU's thread. So no event of
the guest, moved to the board's clock, may lie between a kvm_exit and the next kvm_entry. With x the time since the
middle of the guest's trace, board time is guest time + offset + drift * x, and each event leaves a strip of the plane
of (offset, drift) in which the truth lies. The intersection of all strips is a convex polygon, kept by its corners
(Sutherland and Hodgman, "Reentrant polygon clipping", CACM 17, 1974); that the bounds of a clock are the lines that
separate two sets of points is from Moon, Skelly and Towsley, "Estimation and removal of clock skew from network delay
measurements", INFOCOM 1999. The bound at a time is the least and the greatest offset + drift * x over the corners.

A vCPU that never leaves its guest to sleep is hardly ever outside. Then its timer says more: KVM makes the interrupt
pending before the guest takes it, and once more before the guest takes the next one, so between two timer interrupts
of the guest there is an injection on the board.
"""

from __future__ import annotations

import itertools
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from rtvirt_runner.analysis.late.vcpus import VcpuThread
from rtvirt_runner.parsers.ftrace import ROUNDING_NS, InterruptEntry, ParseError, Trace

MOST_DRIFT = 200e-6  # of two clocks that are not disciplined: twice what oscillators are sold with
_TIMERS = frozenset({"arch_timer"})  # names of a guest's timer interrupt whose injection is an event of the board
_MOST_PIECES = 20_000  # of offsets that are still possible
_PASSES = 6
_EXACTNESS_NS = 0.01  # of floating point

Interval = tuple[float, float]


@dataclass(frozen=True)
class ClockSample:
    """Both clocks at one instant, as PTP_KVM gives them: ``host_ns`` is right to ``error_ns``, on the trace's clock."""

    guest_ns: int
    host_ns: int
    error_ns: int


@dataclass(frozen=True)
class ClockBound:
    """All offsets and drifts that agree with what was traced.

    ``corners``: of the polygon, as (ns beyond ``base_ns``, ns per second); ``middle_ns``: the guest's time to which
    the offset belongs. ``events``: of the guest, that were compared; ``outside``: those of them that the middle of the
    bound puts outside of their vCPU, 0 unless a trace is wrong (an event says nothing when the bound leaves open
    whether it was before or after a short time outside). ``rivals``: other stretches of offsets that are possible as
    well and are not in the polygon, in ns; with any, the offset is not known.
    """

    base_ns: int
    middle_ns: int
    corners: tuple[tuple[float, float], ...]
    events: int
    outside: int
    samples: int = 0
    rivals: tuple[Interval, ...] = ()

    def offset_ns(self, guest_ns: int) -> Interval:
        """The least and the greatest offset (board minus guest) at a time of the guest."""
        x = (guest_ns - self.middle_ns) / 1e9
        values = [offset + drift * x for offset, drift in self.corners]
        return self.base_ns + min(values), self.base_ns + max(values)

    def width_ns(self, guest_ns: int) -> float:
        """How uncertain the offset is at a time of the guest."""
        if self.rivals:
            every = [*self.rivals, self.offset_ns(guest_ns)]
            return max(high for _, high in every) - min(low for low, _ in every)
        low, high = self.offset_ns(guest_ns)
        return high - low

    def to_host(self, guest_ns: int) -> int:
        """A time of the guest on the board's clock, by the middle of the bound."""
        low, high = self.offset_ns(guest_ns)
        return guest_ns + round((low + high) / 2)

    def to_guest(self, host_ns: int) -> int:
        """The inverse of ``to_host``, to a nanosecond."""
        guess = host_ns - (self.to_host(self.middle_ns) - self.middle_ns)
        for _ in range(3):
            guess += host_ns - self.to_host(guess)
        return guess

    def as_dict(self) -> dict[str, object]:
        """For JSON: what is stored with a trace."""
        low, high = self.offset_ns(self.middle_ns)
        drifts = [drift for _, drift in self.corners]
        return {
            "offset_ns": round((low + high) / 2),
            "width_ns": round(self.width_ns(self.middle_ns)),
            "at_guest_ns": self.middle_ns,
            "drift_ppb": [round(min(drifts)), round(max(drifts))],
            "events": self.events,
            "events_outside": self.outside,
            "ptp_samples": self.samples,
            "ambiguous": bool(self.rivals),
        }


def clock_bound(
    host: Trace,
    guest: Trace,
    vcpus: Mapping[int, VcpuThread],
    *,
    near_ns: Interval | None = None,
    samples: Iterable[ClockSample] = (),
    injections: Mapping[int, Sequence[int]] | None = None,
    last_ns: int | None = None,
    most_drift: float = MOST_DRIFT,
    rounding_ns: int = 2 * ROUNDING_NS,
) -> ClockBound:
    """The offsets (board minus guest) that the traces allow.

    ``injections``: the board's times at which a vCPU's timer interrupt was made pending, each time that it was.
    ``last_ns``: of the guest, only so much before its last event counts, for a bound that is to be good there.
    ``near_ns``: between which the offset is known to lie; without it, the guest must have been traced while the board
    was, or, when the board's trace has lost its beginning or its end, in at least half of the shorter one's time.
    ``samples`` of PTP_KVM narrow the bound, and must agree with it. ``rounding_ns``: by how much the times of both
    traces together may be wrong. Raises ParseError, one sentence, when no offset is possible.
    """
    since = guest.begin_ns if last_ns is None else guest.end_ns - last_ns
    points = [(event.at_ns, event.cpu) for event in guest.events if event.cpu in vcpus and event.at_ns >= since]
    if not points:
        known = ", ".join(map(str, vcpus)) or "none"
        raise ParseError(f"No event of the guest is on a vCPU whose thread was traced on the board ({known}).")
    blocked = {vcpu: _shrunk(thread.outside, rounding_ns) for vcpu, thread in vcpus.items()}
    middle = (points[0][0] + points[-1][0]) // 2
    base = host.begin_ns - points[0][0]  # keeps numbers small
    first, last = points[0][0], points[-1][0]
    overlap = last - first
    if not host.has_both_ends:
        overlap = min(overlap, host.end_ns - host.begin_ns) // 2
    low, high = near_ns or (
        host.begin_ns - last + overlap - rounding_ns,
        host.end_ns - first - overlap + rounding_ns,
    )
    if high < low:
        raise ParseError(
            f"The guest's trace is {(last - first) / 1e9:.3f} s long and the board's "
            f"{(host.end_ns - host.begin_ns) / 1e9:.3f} s, expected the board to be traced longest."
        )
    slack = most_drift * max(last - middle, middle - first)
    kept = list(samples)
    pieces: list[Interval] = [(low - base - slack, high - base + slack)]
    for sample in kept:
        room = sample.error_ns + most_drift * abs(sample.guest_ns - middle)
        offset = sample.host_ns - sample.guest_ns - base
        pieces = [(max(a, offset - room), min(b, offset + room)) for a, b in pieces]
    pieces = [(a, b) for a, b in pieces if a <= b]
    for vcpu, times in (injections or {}).items():
        taken = _timer_interrupts(guest, vcpu, since)
        pieces = _after_injections(pieces, taken, times, base, middle, most_drift, rounding_ns)
    pieces = _possible(pieces, points, blocked, base, middle, most_drift)
    polygons = [
        (piece, polygon)
        for piece in pieces
        if (polygon := _polygon(piece, points, blocked, base, middle, most_drift, kept))
    ]
    if not polygons:
        why = " and the samples of PTP_KVM" if kept else ""
        raise ParseError(
            f"No offset between the clocks agrees with the {len(points)} events of the guest{why}; are both traces of "
            "the same guest and the same time, with the clock mono_raw?"
        )
    polygons.sort(key=lambda each: _span(each[1], 0)[1] - _span(each[1], 0)[0], reverse=True)
    corners = polygons[0][1]
    rivals = tuple((base + _span(each, 0)[0], base + _span(each, 0)[1]) for _, each in polygons[1:])
    bound = ClockBound(base, middle, tuple(corners), len(points), 0, len(kept), rivals)
    outside = sum(_puts_outside(bound, blocked[cpu], at) for at, cpu in points)
    return ClockBound(base, middle, tuple(corners), len(points), outside, len(kept), rivals)


def bound_of_samples(samples: Sequence[ClockSample], most_drift: float = MOST_DRIFT) -> ClockBound:
    """The offsets (board minus guest) and drifts that agree with both clocks at some instants, without a trace.

    Raises ParseError, one sentence, when there is no sample, or no offset agrees with all of them.
    """
    if not samples:
        raise ParseError("No instant is known on both clocks.")
    middle = (samples[0].guest_ns + samples[-1].guest_ns) // 2
    base = samples[0].host_ns - samples[0].guest_ns
    reach = max(abs(each.guest_ns - middle) for each in samples)
    room = max(each.error_ns + abs(each.host_ns - each.guest_ns - base) for each in samples) + most_drift * reach
    corners = _polygon((-room, room), (), {}, base, middle, most_drift, samples)
    if not corners:
        raise ParseError(
            f"No offset between the clocks agrees with all {len(samples)} instants that both know, at a drift of "
            f"{most_drift * 1e6:.0f} ppm or less; was one of the clocks set?"
        )
    return ClockBound(base, middle, tuple(corners), 0, 0, len(samples))


def _timer_interrupts(guest: Trace, vcpu: int, since: int) -> list[int]:
    """When a vCPU took its timer interrupt, with nothing lost in between."""
    since = max([since, *(gap.end_ns or guest.end_ns for gap in guest.gaps)])
    return [
        event.at_ns
        for event in guest.events
        if event.cpu == vcpu
        and event.at_ns >= since
        and isinstance(event.body, InterruptEntry)
        and event.body.name in _TIMERS
    ]


def _after_injections(
    pieces: list[Interval],
    taken: Sequence[int],
    injections: Sequence[int],
    base: int,
    middle: int,
    most_drift: float,
    rounding_ns: int,
) -> list[Interval]:
    """The offsets that leave an injection between each two timer interrupts of the guest; all of them if none does."""
    left = pieces
    for before, at in sorted(itertools.pairwise(taken), key=lambda each: -each[1]):
        room = most_drift * max(abs(before - middle), abs(at - middle)) + rounding_ns
        found: list[Interval] = []
        for low, high in left:
            first = bisect_left(injections, before + base + low - room)
            last = bisect_right(injections, at + base + high + room)
            for each in injections[first:last]:
                begin, end = max(low, each - at - base - room), min(high, each - before - base + room)
                if begin > end:
                    continue
                if found and begin <= found[-1][1]:
                    found[-1] = (found[-1][0], max(found[-1][1], end))
                else:
                    found.append((begin, end))
        left = found
    return left or pieces


def _shrunk(outside: Sequence[tuple[int, int]], rounding_ns: int) -> list[tuple[int, int]]:
    return [(low + rounding_ns, high - rounding_ns) for low, high in outside if high - low > 2 * rounding_ns]


def _puts_outside(bound: ClockBound, blocked: Sequence[tuple[int, int]], at: int) -> bool:
    """Whether an event of the guest is outside by the middle of the bound, and on one side by all of it."""
    middle = bound.to_host(at)
    number = bisect_left(blocked, middle, key=lambda each: each[1])
    if number == len(blocked) or not blocked[number][0] < middle < blocked[number][1]:
        return False
    low, high = bound.offset_ns(at)
    return blocked[number][0] <= at + low or blocked[number][1] >= at + high


def _possible(
    pieces: list[Interval],
    points: Sequence[tuple[int, int]],
    blocked: Mapping[int, Sequence[tuple[int, int]]],
    base: int,
    middle: int,
    most_drift: float,
) -> list[Interval]:
    """The offsets that no event excludes whatever the drift. Events in the middle first: there drift matters least."""
    for at, cpu in sorted(points, key=lambda each: abs(each[0] - middle)):
        room = most_drift * abs(at - middle)
        left: list[Interval] = []
        for low, high in pieces:
            begin = low
            number = bisect_left(blocked[cpu], at + base + low - room, key=lambda each: each[1])
            while number < len(blocked[cpu]):
                from_ns = blocked[cpu][number][0] - at - base + room
                to_ns = blocked[cpu][number][1] - at - base - room
                number += 1
                if from_ns >= high:
                    break
                if to_ns <= from_ns or to_ns <= begin:
                    continue
                if from_ns >= begin:
                    left.append((begin, from_ns))
                begin = to_ns
            if begin <= high:
                left.append((begin, high))
        pieces = left
        if len(pieces) > _MOST_PIECES:
            raise ParseError(
                "The guest's events leave too many offsets between the clocks possible; say near which offset to look."
            )
    return pieces


def _polygon(
    piece: Interval,
    points: Sequence[tuple[int, int]],
    blocked: Mapping[int, Sequence[tuple[int, int]]],
    base: int,
    middle: int,
    most_drift: float,
    samples: Sequence[ClockSample],
) -> list[tuple[float, float]]:
    """Corners (ns, ns per s) of what is possible within a piece; empty if nothing is.

    An event that still may lie in several windows says nothing until others have narrowed the polygon.
    """
    drift = most_drift * 1e9
    corners = [(piece[0], -drift), (piece[1], -drift), (piece[1], drift), (piece[0], drift)]
    for sample in samples:
        x, offset = (sample.guest_ns - middle) / 1e9, sample.host_ns - sample.guest_ns - base
        corners = _clip(corners, x, offset - sample.error_ns, offset + sample.error_ns)
    for _ in range(_PASSES):
        before = list(corners)
        for at, cpu in points:
            if not corners:
                return []
            x = (at - middle) / 1e9
            low, high = _span(corners, x)
            number = bisect_left(blocked[cpu], at + base + low, key=lambda each: each[1])
            if number == len(blocked[cpu]):
                continue
            from_ns, to_ns = blocked[cpu][number][0] - at - base, blocked[cpu][number][1] - at - base
            if from_ns >= high:
                continue
            if from_ns <= low:  # so it is after this one, and before the next if nothing is possible after that
                after = float("inf")
                if number + 1 < len(blocked[cpu]) and blocked[cpu][number + 1][1] - at - base >= high:
                    after = blocked[cpu][number + 1][0] - at - base
                corners = _clip(corners, x, to_ns, after)
            elif to_ns >= high:
                corners = _clip(corners, x, float("-inf"), from_ns)
        if corners == before:
            break
    return corners


def _span(corners: Sequence[tuple[float, float]], x: float) -> Interval:
    values = [offset + drift * x for offset, drift in corners]
    return min(values), max(values)


def _clip(corners: list[tuple[float, float]], x: float, low: float, high: float) -> list[tuple[float, float]]:
    """The part of a convex polygon in which low <= offset + drift * x <= high."""
    for sign, limit in ((1.0, low - _EXACTNESS_NS), (-1.0, -high - _EXACTNESS_NS)):
        if limit == float("-inf"):
            continue
        kept: list[tuple[float, float]] = []
        heights = [sign * (offset + drift * x) - limit for offset, drift in corners]
        for number, corner in enumerate(corners):
            before, height = corners[number - 1], heights[number]
            last = heights[number - 1]
            if (height >= 0) != (last >= 0):
                share = last / (last - height)
                kept.append((before[0] + share * (corner[0] - before[0]), before[1] + share * (corner[1] - before[1])))
            if height >= 0:
                kept.append(corner)
        corners = kept
        if not corners:
            break
    return corners
