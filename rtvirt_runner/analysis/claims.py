"""The paper's claims against measured cells: supported, contradicted, cannot be told, or not measured.

A claim becomes a range that a quantity must lie in: a ratio of two latencies, or a latency. The quantity comes with an
interval over repetitions (effects.py, repetitions.py), at a confidence that all intervals of the table hold together
(Bonferroni). The claim holds for it when the whole interval lies in the range, and fails when the whole interval lies
outside. Cells that were measured once have no interval: nothing says by how much a second run would differ, so they
decide nothing; what they show as they stand is said apart (``as_measured``).

The paper's factors are compared in logarithms: a claim of a factor f holds when ours is nearer to f than to 1, that is
beyond the square root of f. What the paper calls alike or the same is within ALIKE.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from rtvirt_runner.analysis.comparisons import MergedMeasurement, axes_of, grouped, points
from rtvirt_runner.analysis.effects import Effect, effect
from rtvirt_runner.analysis.estimates import CONFIDENCE, Interval, Refused
from rtvirt_runner.analysis.histogram import Histogram, QuantileBeyondOverflow, quantile
from rtvirt_runner.analysis.measurement import Measurement
from rtvirt_runner.analysis.paper import Claim, Paper, load_paper
from rtvirt_runner.analysis.repetitions import RESOLUTION_US, over_runs
from rtvirt_runner.analysis.shape import Peaks, peaks
from rtvirt_runner.catalogue.cpus import parse_cpu_list
from rtvirt_runner.catalogue.tunings import MINUS

Judgement = Literal["supported", "contradicted", "cannot be told", "not measured"]
ALIKE = 1.1  # latencies within ten percent of each other are alike
_LARGEST = 1000  # a ratio beyond which digits say nothing

MIBENCH = ("basicmath", "bitcount", "qsort", "susan", "dijkstra", "patricia", "jpeg")
ECU, CPU, FILES = "ecu", "sysbench-cpu", "sysbench-fileio"

Values = Mapping[int, float]  # repetition -> its number
Measure = Callable[[MergedMeasurement], Values]


@dataclass(frozen=True)
class Range:
    """What a quantity must lie in for a claim to hold, both ends included."""

    low: float = -math.inf
    high: float = math.inf

    def holds(self, low: float, high: float) -> bool | None:
        """Whether all of an interval lies inside (True) or outside (False); None when it lies across an end."""
        if self.low <= low and high <= self.high:
            return True
        return False if high < self.low or low > self.high else None


@dataclass(frozen=True)
class Evidence:
    """One quantity that a claim is about: a ratio of two latencies, or a latency in us."""

    label: str  # which cells
    first: float  # mean over repetitions: of the logarithms for a ratio; us, or seconds per iteration
    second: float | None  # what it is divided by; None: the quantity is ``first`` itself
    interval: Interval | None  # of the quantity, over repetitions; None where one of its cells was measured once
    repetitions: int  # the fewest of any of its cells
    unit: str = "us"  # of a quantity that is no ratio

    @property
    def value(self) -> float:
        """The quantity: the ratio, or the latency."""
        return self.first if self.second is None else self.first / self.second if self.second else math.inf


@dataclass(frozen=True)
class Row:
    """A claim beside what was measured, on one clock."""

    claim: Claim
    clock: str
    judgement: Judgement
    as_measured: Judgement  # the same of the means alone, as if they had no uncertainty
    reason: str  # a clause: what decided, or what is missing
    paper: str  # the paper's numbers; empty where it gives none
    evidence: tuple[Evidence, ...]

    @property
    def says(self) -> str:
        """Ours in numbers, one clause per quantity."""
        return "; ".join(self.lines())

    def lines(self, most: int | None = None) -> list[str]:
        """Ours in numbers, a line per quantity, ``most`` of them and how many more there are."""
        shown = [describe(each) for each in self.evidence[:most]]
        more = len(self.evidence) - len(shown)
        return [*shown, f"and {more} more"] if more else shown

    def as_dict(self) -> dict[str, Any]:
        """For JSON: latencies in us, ratios as they are."""
        return {
            "claim": self.claim.name,
            "where": self.claim.where,
            "says": self.claim.says,
            "clock": self.clock,
            "judgement": self.judgement,
            "as_measured": self.as_measured,
            "reason": self.reason,
            "paper": self.paper,
            "ours": [
                {
                    "cells": each.label,
                    "value": each.value if math.isfinite(each.value) else None,
                    "unit": "ratio" if each.second is not None else each.unit,
                    "low": each.interval.low if each.interval else None,
                    "high": each.interval.high if each.interval and math.isfinite(each.interval.high) else None,
                    "repetitions": each.repetitions,
                }
                for each in self.evidence
            ],
        }


@dataclass(frozen=True)
class _Quantity:
    """What a check found, before it is known how many intervals hold together."""

    label: str
    first: Values
    second: Values | None
    resolution: float  # of one run's value, in its unit

    def evidence(self, confidence: float) -> Evidence:
        both = [list(each.values()) for each in (self.first, self.second) if each is not None]
        fewest = min(map(len, both))
        if self.second is None:
            found = over_runs(both[0], confidence, self.resolution)
            # no latency is below 0
            interval = None if isinstance(found, Refused) else replace(found.interval, low=max(0.0, found.interval.low))
            return Evidence(self.label, math.fsum(both[0]) / len(both[0]), None, interval, fewest)
        ratio = effect(both[1], both[0], scale="ratio", resolution=self.resolution)
        interval = ratio.interval(confidence) if isinstance(ratio, Effect) else None
        return Evidence(self.label, _geometric(both[0]), _geometric(both[1]), interval, fewest)


@dataclass(frozen=True)
class _PeakCount:
    """The peaks that a latency has at least, in any of its runs. One run suffices: the bound is about that run."""

    label: str
    runs: Sequence[Histogram]

    def evidence(self, confidence: float) -> Evidence:
        each_alone = 1 - (1 - confidence) / len(self.runs)
        found = [peaks(histogram, confidence=each_alone) for histogram in self.runs]
        most = max((len(each.peaks) for each in found if isinstance(each, Peaks)), default=0)
        return Evidence(self.label, most, None, Interval(most, math.inf), len(self.runs), "or more peaks")


@dataclass(frozen=True)
class _Case:
    """Quantities, and the range that they must lie in, every one of them or some."""

    quantities: Sequence[_Quantity | _PeakCount]
    wanted: Range
    paper: str = ""
    every: bool = True


def judge_claims(measurements: Iterable[Measurement], paper: Paper | None = None) -> list[Row]:
    """One row per claim of the paper and clock, in the paper's order; emulated guests and ablations are left out."""
    measured = [
        point
        for point in points(measurements)
        if not point.guest_uses_tcg and MINUS not in point.cell.tuning and point.histogram.samples
    ]
    paper = paper or load_paper()
    clocks = sorted({point.cell.clock for point in measured}) or ["real"]
    rows = []
    for clock in clocks:
        # The paper's boards had one guest.
        cells = _Cells(
            [point for point in measured if point.cell.clock == clock and not point.cell.neighbour_state], paper
        )
        cases = [CHECKS[claim.check](cells) for claim in paper.claims]
        looks = sum(len(case.quantities) for case in cases)
        confidence = 1 - (1 - CONFIDENCE) / max(1, looks)
        rows.append([_row(claim, clock, case, confidence) for claim, case in zip(paper.claims, cases, strict=True)])
    return list(itertools.chain.from_iterable(zip(*rows, strict=True)))


def describe(evidence: Evidence) -> str:
    """``label: 57.0 / 30.1 = 1.89 (1.85 to 1.93)``."""
    interval = evidence.interval
    if evidence.second is None:
        found = f"{_number(evidence.first)} {evidence.unit}"
        ends = interval and math.isfinite(interval.high)
        span = f" ({_number(interval.low)} to {_number(interval.high)})" if interval and ends else ""
    else:
        found = f"{_number(evidence.first)} / {_number(evidence.second)} = {evidence.value:.2f}"
        high = interval and (f"{interval.high:.2f}" if interval.high < _LARGEST else f"> {_LARGEST:,}")
        span = f" ({interval.low:.2f} to {high})" if interval else ""
    return f"{evidence.label}: {found}{span}"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.4g}"


# --------------------------------------------------------------------------------------------------------- judging


def _row(claim: Claim, clock: str, case: _Case, confidence: float) -> Row:
    evidence = tuple(each.evidence(confidence) for each in case.quantities)
    if not evidence:
        missing: Judgement = "not measured"
        return Row(claim, clock, missing, missing, "no cells that it is about", case.paper, ())
    inside = [case.wanted.holds(each.value, each.value) for each in evidence]
    as_measured = _word(all(inside) if case.every else any(inside))
    judgement, reason = _judge(case, evidence)
    if any(isinstance(each, _PeakCount) for each in case.quantities):  # bounds, which contradict nothing
        return Row(claim, clock, judgement, judgement, reason, case.paper, evidence)
    reason += f"; of the means, {sum(map(bool, inside))} of {len(inside)} agree"
    return Row(claim, clock, judgement, as_measured, reason, case.paper, evidence)


def _judge(case: _Case, evidence: Sequence[Evidence]) -> tuple[Judgement, str]:
    held = [case.wanted.holds(each.interval.low, each.interval.high) if each.interval else None for each in evidence]
    decides, opposite = (False, True) if case.every else (True, False)
    if decides in held:
        return _word(decides), f"by {held.count(decides)} of {len(held)}, with its whole interval"
    if all(each is opposite for each in held):
        return _word(opposite), f"by all {len(held)}, with their whole intervals"
    if any(each.interval is None for each in evidence):
        once = any(each.interval is None and each.repetitions < 2 for each in evidence)
        return "cannot be told", "measured once" if once else "repetitions that are all alike say nothing of another"
    return "cannot be told", "the intervals reach beyond what it says"


def _word(holds: bool) -> Judgement:
    return "supported" if holds else "contradicted"


# ------------------------------------------------------------------------------------------------------ quantities


def _latest(point: MergedMeasurement) -> Values:
    return _each(point, lambda histogram: histogram.max_us)


def _average(point: MergedMeasurement) -> Values:
    return _each(point, lambda histogram: histogram.avg_us)


def _median(point: MergedMeasurement) -> Values:
    return _each(point, lambda histogram: _quantile(histogram, 0.5))


def _p99(point: MergedMeasurement) -> Values:
    return _each(point, lambda histogram: _quantile(histogram, 0.99))


def _width(point: MergedMeasurement) -> Values:
    """The paper's jitter: from the 0.1th to the 99.9th percentile, in us, the whole bins counted."""
    return _each(point, lambda histogram: _quantile(histogram, 0.999) - _quantile(histogram, 0.001) + 1)


def _iteration(point: MergedMeasurement) -> Values:
    return {
        each.cell.repetition: each.workload.seconds_per_iteration
        for each in point.measurements
        if each.workload and each.workload.seconds_per_iteration
    }


def _each(point: MergedMeasurement, measure: Callable[[Histogram], float]) -> Values:
    return {each.cell.repetition: measure(each.histogram) for each in point.measurements if each.histogram}


def _quantile(histogram: Histogram, q: float) -> int:
    """In us; the histogram's end, a lower bound, when it lies in the overflow."""
    try:
        return quantile(histogram, q)
    except QuantileBeyondOverflow:
        return histogram.limit_us


def _largest(those: Sequence[Values]) -> Values:
    """Per repetition that all have, the largest."""
    common = set.intersection(*(set(each) for each in those))
    return {repetition: max(each[repetition] for each in those) for repetition in sorted(common)}


def _geometric(values: Sequence[float]) -> float:
    """The geometric mean; 0 when one of them is."""
    return math.exp(math.fsum(map(math.log, values)) / len(values)) if min(values) > 0 else 0.0


def _quantity(label: str, first: Values, second: Values | None = None, resolution: float = RESOLUTION_US) -> _Quantity:
    return _Quantity(label, first, second, resolution)


# ---------------------------------------------------------------------------------------------------------- checks


@dataclass(frozen=True)
class _Cells:
    """Merged measurements of one clock, and the paper."""

    points: Sequence[MergedMeasurement]
    paper: Paper

    @property
    def realtime(self) -> list[MergedMeasurement]:
        """Those on boards with PREEMPT_RT."""
        return [point for point in self.points if point.measurements[0].realtime]

    def like_the_papers(self, *workloads: str) -> list[MergedMeasurement]:
        """With PREEMPT_RT and the paper's tuning, beside one of the workloads."""
        return [point for point in self.realtime if point.cell.tuning == "paper" and point.cell.workload in workloads]

    def host_and_guest(self, *workloads: str) -> list[tuple[MergedMeasurement, MergedMeasurement]]:
        """Pairs on host and in guest, all else being equal, with the paper's tuning."""
        found = []
        for those in grouped(self.like_the_papers(*workloads), lambda each: axes_of(each.cell, ("place", "guest"))):
            hosts = [each for each in those if each.cell.place == "host"]
            found += [(host, each) for host in hosts for each in those if each.cell.place == "guest"]
        return found

    def guests(self, *workloads: str) -> list[MergedMeasurement]:
        """In the guest, with PREEMPT_RT and the paper's tuning."""
        return [point for point in self.like_the_papers(*workloads) if point.cell.place == "guest"]


def _where(point: MergedMeasurement, *axes: str) -> str:
    return ", ".join([point.cell.board, *(str(getattr(point.cell, axis)) for axis in axes)])


def _cores(point: MergedMeasurement) -> tuple[int, int]:
    return len(parse_cpu_list(point.cell.host_cpus)), len(parse_cpu_list(point.cell.guest_cpus))


def _factor(paper_ratio: float) -> Range:
    return Range(low=math.sqrt(paper_ratio))


_AHEAD = Range(low=math.nextafter(1, 2))
_BEHIND = Range(high=math.nextafter(1, 0))
_SAME = Range(1 / ALIKE, ALIKE)


def _preempt_rt_divides_maxima(cells: _Cells) -> _Case:
    """Of all workloads that were measured with both kernels, the latest wake-up of any."""
    mainline_us, patched_us = (cells.paper.preemption_max_us[realtime] for realtime in (False, True))
    found = []
    for those in _kernels(cells):
        workloads = [pair[0].cell.workload for pair in those]
        first, second = (_largest([_latest(pair[number]) for pair in those]) for number in (0, 1))
        found.append(_quantity(f"{_where(those[0][0], 'tuning')}, {' or '.join(workloads)}", first, second))
    return _Case(found, _factor(mainline_us / patched_us), f"{mainline_us} / {patched_us}")


def _preempt_rt_keeps_medians(cells: _Cells) -> _Case:
    pairs = [pair for those in _kernels(cells) for pair in those if pair[0].cell.workload == "idle"]
    return _Case([_quantity(_where(a, "tuning"), _median(a), _median(b)) for a, b in pairs], _SAME)


def _kernels(cells: _Cells) -> list[list[tuple[MergedMeasurement, MergedMeasurement]]]:
    """Per board, tuning and split the host's pairs, mainline and PREEMPT_RT, one per workload."""
    hosts = [point for point in cells.points if point.cell.place == "host"]
    found: dict[tuple[str, ...], list[tuple[MergedMeasurement, MergedMeasurement]]] = {}
    for those in grouped(hosts, lambda each: axes_of(each.cell, ("kernel",))):
        kinds = [[each for each in those if each.measurements[0].realtime is kind] for kind in (False, True)]
        if all(kinds):
            cell = those[0].cell
            found.setdefault((cell.board, cell.tuning, cell.split), []).append((kinds[0][0], kinds[1][0]))
    return list(found.values())


def _hosts_alike(cells: _Cells) -> _Case:
    hosts = [each for each in cells.like_the_papers("idle") if each.cell.place == "host"]
    found = []
    for those in grouped(hosts, lambda each: axes_of(each.cell, ("board",))):
        by_hardware = {cells.paper.hardware_of(each.cell.board): each for each in those}
        if {"rpi2", "cb2"} <= by_hardware.keys():
            first, second = by_hardware["rpi2"], by_hardware["cb2"]
            label = f"average, {first.cell.board} / {_where(second, 'split')}"
            found.append(_quantity(label, _average(first), _average(second)))
    return _Case(found, _SAME)


def _idle_guest_maxima_above(cells: _Cells) -> _Case:
    values = cells.paper.idle_guest_max_us.values()
    found = [_quantity(_where(each, "split", "guest"), _latest(each)) for each in cells.guests("idle")]
    wanted = Range(low=cells.paper.budgets["paper"].latest_us + 1)
    return _Case(found, wanted, f"{min(values):,} to {max(values):,} us")


def _host_cores_divide_maxima(cells: _Cells) -> _Case:
    return _splits(cells, (1, 1), (3, 1), ("1-1", "3-1"))


def _guest_cores_divide_maxima(cells: _Cells) -> _Case:
    return _splits(cells, (1, 1), (1, 2), ("1-1", "1-2"))


def _splits(cells: _Cells, few: tuple[int, int], many: tuple[int, int], names: tuple[str, str]) -> _Case:
    fewer_us, more_us = (cells.paper.idle_guest_max_us["rpi2", name] for name in names)
    found = []
    for those in grouped(cells.guests("idle"), lambda each: axes_of(each.cell, ("split",))):
        by_cores = {_cores(each): each for each in those}
        if few in by_cores and many in by_cores:
            first, second = by_cores[few], by_cores[many]
            label = f"{first.cell.board}, split {first.cell.split} / {second.cell.split}"
            found.append(_quantity(label, _latest(first), _latest(second)))
    return _Case(found, _factor(fewer_us / more_us), f"{fewer_us:,} / {more_us:,}")


def _hardware_gic_later(cells: _Cells) -> _Case:
    """One board against the other as in the paper, and on one board a guest with the one GIC against the other."""
    paper = cells.paper.idle_guest_max_us
    found = []
    guests = [each for each in cells.realtime if each.cell.place == "guest" and each.cell.workload == "idle"]
    for those in grouped(guests, lambda each: axes_of(each.cell, ("board", "guest"))):
        kinds: dict[str, list[MergedMeasurement]] = {"in_kernel": [], "user_space": []}
        for each in those:
            if each.cell.guest_state and _cores(each) == (1, 1) and each.cell.guest_state.flavour == "minimal":
                kinds[each.cell.guest_state.gic].append(each)
        for hardware, emulated in _all_pairs(kinds["in_kernel"], kinds["user_space"]):
            places = [f"{each.cell.board} {each.cell.guest}" for each in (hardware, emulated)]
            label = f"{places[0]} / {places[1]}, {hardware.cell.tuning}"
            found.append(_quantity(label, _latest(hardware), _latest(emulated)))
    return _Case(found, _AHEAD, f"{paper['cb2', '1-1']:,} / {paper['rpi2', '1-1']:,}")


def _all_pairs(
    first: Sequence[MergedMeasurement], second: Sequence[MergedMeasurement]
) -> list[tuple[MergedMeasurement, MergedMeasurement]]:
    return list(itertools.product(first, second))


def _guest_wider_mibench(cells: _Cells) -> _Case:
    return _against_host(cells, MIBENCH, _width, _AHEAD)


def _guest_later_mibench(cells: _Cells) -> _Case:
    return _against_host(cells, MIBENCH, _median, _AHEAD)


def _guest_two_peaks(cells: _Cells) -> _Case:
    found = [_PeakCount(_where(each, "workload"), each.repetitions) for each in cells.guests(*MIBENCH)]
    return _Case(found, Range(low=2), every=False)


def _ecu_average_same(cells: _Cells) -> _Case:
    return _against_host(cells, (ECU,), _average, _SAME)


def _ecu_wider(cells: _Cells) -> _Case:
    return _against_host(cells, (ECU,), _width, _AHEAD)


def _sysbench_cpu_slowdown(cells: _Cells) -> _Case:
    case = _against_host(cells, (CPU,), _iteration, _SAME)
    return _Case(case.quantities, case.wanted, f"{cells.paper.sysbench[CPU].slowdown:.3f}")


def _against_host(cells: _Cells, workloads: Sequence[str], measure: Measure, wanted: Range) -> _Case:
    """Guest divided by host."""
    resolution = 0.0 if measure is _iteration else RESOLUTION_US
    found = [
        _quantity(_where(guest, "workload", "guest"), measure(guest), measure(host), resolution)
        for host, guest in cells.host_and_guest(*workloads)
        if measure(guest) and measure(host)
    ]
    return _Case(found, wanted)


def _ecu_better_than_mibench(cells: _Cells) -> _Case:
    return _against_mibench(cells, ECU, _p99, _BEHIND)


def _cpu_maximum_better(cells: _Cells) -> _Case:
    return _against_mibench(cells, CPU, _latest, _BEHIND)


def _files_average_alike(cells: _Cells) -> _Case:
    return _against_mibench(cells, FILES, _average, _SAME)


def _against_mibench(cells: _Cells, workload: str, measure: Measure, wanted: Range) -> _Case:
    """A workload in the guest, divided by each of MiBench's programs there. One run stands in every pair."""
    found = [
        _quantity(f"{_where(each, 'workload')} / {other.cell.workload}", measure(each), measure(other))
        for each in cells.guests(workload)
        for other in cells.guests(*MIBENCH)
        if _same_state(each, other)
    ]
    return _Case(found, wanted)


def _same_state(one: MergedMeasurement, other: MergedMeasurement) -> bool:
    """Whether two points differ in workload and guest only (a guest with a disk is another one)."""
    return axes_of(one.cell, ("workload", "guest")) == axes_of(other.cell, ("workload", "guest"))


def _files_worst(cells: _Cells) -> _Case:
    claim = next(each for each in cells.paper.claims if each.check == "files_worst")
    found = []
    for files in cells.guests(FILES):
        others = [each for each in cells.guests("idle", *MIBENCH, ECU, CPU) if _same_state(files, each)]
        if others:
            label = f"{_where(files)}, files / the latest of {len(others)} other workloads"
            found.append(_quantity(label, _latest(files), _largest([_latest(each) for each in others])))
    return _Case(found, _AHEAD, f"about {claim.us:,} us")


def _constant_factor(cells: _Cells) -> _Case:
    """Each workload's ratio of averages, guest to host, divided by the geometric mean of these ratios."""
    found = []
    pairs = cells.host_and_guest("idle", *MIBENCH, ECU, CPU, FILES)
    for those in grouped(pairs, lambda pair: axes_of(pair[1].cell, ("workload", "guest"))):
        ratios = [pair[1].histogram.avg_us / pair[0].histogram.avg_us for pair in those]
        mean = math.exp(math.fsum(map(math.log, ratios)) / len(ratios))
        if len(those) > 1:
            found += [
                _quantity(
                    f"{_where(guest, 'workload')}, against {mean:.2f} times the host",
                    _average(guest),
                    {repetition: us * mean for repetition, us in _average(host).items()},
                )
                for host, guest in those
            ]
    return _Case(found, _SAME)


def _tuned_maximum_below(cells: _Cells) -> _Case:
    return _tuned(cells, _latest, cells.paper.budgets["paper"].latest_us)


def _tuned_average_below(cells: _Cells) -> _Case:
    return _tuned(cells, _average, cells.paper.budgets["paper"].average_us)


def _tuned(cells: _Cells, measure: Measure, budget_us: int) -> _Case:
    """The largest of all workloads that were measured in the guest; some guest of a tuning must stay below."""
    guests = [each for each in cells.realtime if each.cell.place == "guest" and each.cell.tuning != "none"]
    found = []
    for those in grouped(guests, lambda each: axes_of(each.cell, ("workload",))):
        label = f"{_where(those[0], 'tuning', 'split', 'guest')}, {len(those)} workload{'s' * (len(those) > 1)}"
        found.append(_quantity(label, _largest([measure(each) for each in those])))
    return _Case(found, Range(high=budget_us), f"{budget_us:,} us", every=False)


CHECKS: Mapping[str, Callable[[_Cells], _Case]] = {
    "preempt_rt_divides_maxima": _preempt_rt_divides_maxima,
    "preempt_rt_keeps_medians": _preempt_rt_keeps_medians,
    "hosts_alike": _hosts_alike,
    "idle_guest_maxima_above": _idle_guest_maxima_above,
    "host_cores_divide_maxima": _host_cores_divide_maxima,
    "guest_cores_divide_maxima": _guest_cores_divide_maxima,
    "hardware_gic_later": _hardware_gic_later,
    "guest_wider_mibench": _guest_wider_mibench,
    "guest_two_peaks": _guest_two_peaks,
    "guest_later_mibench": _guest_later_mibench,
    "ecu_average_same": _ecu_average_same,
    "ecu_wider": _ecu_wider,
    "ecu_better_than_mibench": _ecu_better_than_mibench,
    "sysbench_cpu_slowdown": _sysbench_cpu_slowdown,
    "cpu_maximum_better": _cpu_maximum_better,
    "files_worst": _files_worst,
    "files_average_alike": _files_average_alike,
    "constant_factor": _constant_factor,
    "tuned_maximum_below": _tuned_maximum_below,
    "tuned_average_below": _tuned_average_below,
}
