"""Measurements in, comparisons out: what each setting buys, what a GIC costs, what load does, which guest is better."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

from rtvirt_runner.analysis.histogram import Histogram, Summary, merge, summarize
from rtvirt_runner.analysis.measurement import Measurement
from rtvirt_runner.analysis.parsers.workload import WorkloadRun, seconds_per_iteration
from rtvirt_runner.catalogue.guests import NO_GUEST
from rtvirt_runner.catalogue.tunings import MINUS, SETTINGS
from rtvirt_runner.machine.settings_readback import ABSENT, FIXED, setting_rows
from rtvirt_runner.matrix.cell import Cell

HOST, KVMS_GIC, QEMUS_GIC = "host", "guest with KVM's GIC", "guest with QEMU's GIC"
_GICS = {"in_kernel": KVMS_GIC, "user_space": QEMUS_GIC}
_T = TypeVar("_T")


@dataclass(frozen=True)
class MergedMeasurement:
    """One point of the matrix with its repetitions together."""

    measurements: tuple[Measurement, ...]  # each with a histogram; they differ in the repetition alone

    @property
    def cell(self) -> Cell:
        """One cell that stands for all."""
        return self.measurements[0].cell

    @property
    def repetitions(self) -> list[Histogram]:
        """A histogram per repetition."""
        return [each.histogram for each in self.measurements if each.histogram]

    @cached_property
    def histogram(self) -> Histogram:
        """All repetitions as one."""
        return merge(self.repetitions)

    @cached_property
    def summary(self) -> Summary:
        """The numbers of all repetitions as one."""
        return summarize(self.histogram)

    @property
    def p99_us(self) -> int:
        """The 99th percentile, or the least that it can be when it lies in the overflow."""
        return at_least(self.summary.p99, self.histogram)

    @property
    def guest_uses_tcg(self) -> bool:
        """Whether QEMU had to emulate the guest, without KVM."""
        return any(each.guest_uses_tcg for each in self.measurements)

    @property
    def runs(self) -> list[WorkloadRun]:
        """What the workload said, by repetition; empty where nothing ran or nothing of it is understood."""
        return [each.workload for each in self.measurements if each.workload and each.workload.runs]

    @property
    def seconds_per_iteration(self) -> float | None:
        """Of the workload, all repetitions together."""
        return seconds_per_iteration(self.runs)


@dataclass(frozen=True)
class Spread:
    """By how much repetitions of one and the same point differ, at most: a smaller difference means nothing."""

    p99_us: int
    max_us: int


@dataclass(frozen=True)
class Ablation:
    """A tuning, and the same without one setting, for each of its settings."""

    base: MergedMeasurement
    without: tuple[tuple[str, MergedMeasurement], ...]  # setting, and the point without it; what costs most comes first
    references: tuple[MergedMeasurement, ...]  # other tunings at the same place
    not_applicable: tuple[tuple[str, str], ...]  # setting, and why leaving it out can change nothing here
    spread: Spread | None  # of the base's repetitions; None: it was measured once

    def noise(self, point: MergedMeasurement) -> Spread | None:
        """What a difference of ``point`` from the base has to exceed: the larger of the ranges of their repetitions."""
        return spread([self.base, point]) if self.spread else None


@dataclass(frozen=True)
class GicOrder:
    """The same point on the host and in guests that differ in what emulates their interrupt controller."""

    rows: tuple[tuple[str, MergedMeasurement], ...]  # HOST, KVMS_GIC or QEMUS_GIC

    def holds(self, measure: Callable[[MergedMeasurement], float]) -> bool | None:
        """Whether host < KVM's GIC < QEMU's GIC; None when one of them was not measured."""
        values = [[measure(point) for what, point in self.rows if what == kind] for kind in (HOST, *_GICS.values())]
        if not all(values):
            return None
        return all(max(lower) < min(higher) for lower, higher in itertools.pairwise(values))


@dataclass(frozen=True)
class Load:
    """One load of the host, and what it does to host and guest by tuning."""

    rows: tuple[
        tuple[MergedMeasurement, MergedMeasurement | None], ...
    ]  # a point, and for a guest the host with the same tuning, if measured


@dataclass(frozen=True)
class Guests:
    """Guests side by side in which nothing but the guest differs."""

    base: MergedMeasurement
    others: tuple[MergedMeasurement, ...]
    spread: Spread | None


@dataclass(frozen=True)
class Foreground:
    """One workload on the host and in one guest; None where it was not measured."""

    cell: Cell  # one that stands for both: the guest's, if there is one
    host: MergedMeasurement | None
    guest: MergedMeasurement | None

    @property
    def slowdown(self) -> float | None:
        """How many times as long an iteration takes in the guest; None where one of the two does not say."""
        host_s = self.host.seconds_per_iteration if self.host else None
        guest_s = self.guest.seconds_per_iteration if self.guest else None
        return guest_s / host_s if host_s and guest_s else None


@dataclass(frozen=True)
class Slowdowns:
    """Workloads that were measured in both places, while nothing else differed."""

    rows: tuple[Foreground, ...]


def points(measurements: Iterable[Measurement]) -> list[MergedMeasurement]:
    """Measurements with their repetitions put together, in the order of first appearance."""
    found = _grouped((each for each in measurements if each.histogram), lambda each: _axes(each.cell))
    return [MergedMeasurement(tuple(each)) for each in found]


def spread(those: Iterable[MergedMeasurement]) -> Spread | None:
    """The largest range between repetitions among some points; None when none was measured twice."""
    ranges = [
        Spread(
            _range([at_least(summarize(each).p99, each) for each in point.repetitions]),
            _range([each.max_us for each in point.repetitions]),
        )
        for point in those
        if len(point.repetitions) > 1
    ]
    if not ranges:
        return None
    return Spread(max(each.p99_us for each in ranges), max(each.max_us for each in ranges))


def ablations(measured: Sequence[MergedMeasurement]) -> list[Ablation]:
    """One per place and tuning of which settings were left out one by one; none where the whole was not measured."""
    found = []
    for those in _grouped(measured, lambda each: _axes(each.cell, but=("tuning",))):
        tunings = {point.cell.tuning: point for point in those}
        for base in dict.fromkeys(name.partition(MINUS)[0] for name in tunings if MINUS in name):
            if base in tunings:
                found.append(_ablation(base, tunings))
    return found


def gic_orders(measured: Sequence[MergedMeasurement]) -> list[GicOrder]:
    """One per point of which the host and a guest or more were measured."""
    found = []
    for those in _grouped(measured, lambda each: _axes(each.cell, but=("place", "guest"))):
        kinds = [(_GICS[state.gic] if (state := each.cell.guest_state) else HOST, each) for each in those]
        order = (HOST, KVMS_GIC, QEMUS_GIC)
        if len(kinds) > 1:
            found.append(GicOrder(tuple(sorted(kinds, key=lambda row: order.index(row[0])))))
    return found


def loads(measured: Sequence[MergedMeasurement]) -> list[Load]:
    """One per board, kernel, split and workload that loads the board; hosts stand before their guests."""
    loaded = [point for point in measured if point.cell.board_command]
    found = []
    for those in _grouped(loaded, lambda each: _axes(each.cell, but=("tuning", "place", "guest"))):
        hosts = {point.cell.tuning: point for point in those if point.cell.place == "host"}
        by_tuning = _grouped(those, lambda each: each.cell.tuning)
        ordered = [each for group in by_tuning for each in sorted(group, key=lambda each: each.cell.place == "guest")]
        found.append(Load(tuple((p, hosts.get(p.cell.tuning) if p.cell.place == "guest" else None) for p in ordered)))
    return found


def guests_side_by_side(measured: Sequence[MergedMeasurement]) -> list[Guests]:
    """One per point of which two guests or more were measured; the base is the one that the experiment names first."""
    inside = [point for point in measured if point.cell.place == "guest"]
    names = list(dict.fromkeys(point.cell.guest for point in inside))
    found = []
    for those in _grouped(inside, lambda each: _axes(each.cell, but=("guest",))):
        base, *others = sorted(those, key=lambda each: names.index(each.cell.guest))
        if others:
            found.append(Guests(base, tuple(others), spread(those)))
    return found


def foregrounds(measured: Sequence[MergedMeasurement]) -> list[Foreground]:
    """One per workload that said something of itself, and guest; a host without a guest makes one too."""
    found = []
    for those in _grouped((each for each in measured if each.runs), lambda each: _axes(each.cell, ("place", "guest"))):
        host = next((each for each in those if each.cell.place == "host"), None)
        guests = [each for each in those if each.cell.place == "guest"]
        found += [Foreground(each.cell, host, each) for each in guests] or [Foreground(those[0].cell, host, None)]
    return found


def slowdowns(measured: Sequence[MergedMeasurement]) -> list[Slowdowns]:
    """One per board, kernel, tuning and split, with a row per workload and guest."""
    both = [each for each in foregrounds(measured) if each.slowdown]
    grouped = _grouped(both, lambda each: _axes(each.cell, ("place", "guest", "workload")))
    return [Slowdowns(tuple(rows)) for rows in grouped]


def at_least(quantile: int | None, histogram: Histogram) -> int:
    """A quantile, or where the histogram ends when it lies beyond."""
    return histogram.limit_us if quantile is None else quantile


def _ablation(base: str, tunings: Mapping[str, MergedMeasurement]) -> Ablation:
    whole = tunings[base]
    missing, without = [], []
    for name, point in tunings.items():
        of, _, setting = name.partition(MINUS)
        if of != base or not setting:
            continue
        if reason := _not_applicable(setting, whole):
            missing.append((setting, reason))
        else:
            without.append((setting, point))
    return Ablation(
        base=whole,
        without=tuple(sorted(without, key=lambda each: (-each[1].p99_us, -each[1].histogram.max_us))),
        references=tuple(point for name, point in tunings.items() if MINUS not in name and name != base),
        not_applicable=tuple(missing),
        spread=spread([whole]),
    )


def _not_applicable(setting: str, base: MergedMeasurement) -> str:
    """Why leaving a setting out can change nothing at this point, or nothing: by what the machine said of it."""
    if base.cell.place == "host" and setting in SETTINGS and SETTINGS[setting].where == "guest":
        return "only a guest has it"
    states = {
        row.state
        for each in base.measurements
        for row in setting_rows(each.facts("settings"))
        if row.setting == setting
    }
    if states == {ABSENT}:
        return "the machine does not have it"
    if states and states <= {ABSENT, FIXED}:
        return "the kernel will not have it changed"
    return ""


def _axes(cell: Cell, but: Sequence[str] = ()) -> tuple[str, ...]:
    axes = ("clock", "board", "kernel", "tuning", "split", "place", "guest", "workload")
    return tuple(str(getattr(cell, axis)) for axis in axes if axis not in but)


def _grouped(items: Iterable[_T], key: Callable[[_T], object]) -> list[list[_T]]:
    """Items of the same key together, in the order of first appearance."""
    found: dict[object, list[_T]] = {}
    for item in items:
        found.setdefault(key(item), []).append(item)
    return list(found.values())


def _range(values: Sequence[int]) -> int:
    return max(values) - min(values)


@dataclass(frozen=True)
class HostGuest:
    """The same point of the matrix on the host and in the guest, repetitions merged; None where not measured."""

    cell: Cell  # one that stands for the pair: its axes but place, guest and repetition hold for all
    guest: str  # flavour
    host_us: Histogram | None
    guest_us: Histogram | None
    guest_uses_tcg: bool = False  # the guest, by QEMU without KVM

    @property
    def host_summary(self) -> Summary | None:
        """The host's numbers."""
        return summarize(self.host_us) if self.host_us else None

    @property
    def guest_summary(self) -> Summary | None:
        """The guest's numbers."""
        return summarize(self.guest_us) if self.guest_us else None


def host_against_guest(measurements: Iterable[Measurement]) -> list[HostGuest]:
    """Pair up what differs only in place and repetition, in the order of first appearance."""
    found: dict[tuple[Any, ...], dict[str, list[Measurement]]] = {}
    for each in measurements:
        cell = each.cell
        point = (cell.board, cell.kernel, cell.tuning, cell.split, cell.workload)
        found.setdefault(point, {}).setdefault(cell.guest, []).append(each)
    return list(itertools.chain.from_iterable(_pairs(flavours) for flavours in found.values()))


def _pairs(flavours: dict[str, list[Measurement]]) -> list[HostGuest]:
    """One pair per guest flavour, all against the same host; a host alone makes a pair without a guest."""
    host = _merged(flavours.get(NO_GUEST, []))
    guests = {flavour: each for flavour, each in flavours.items() if flavour != NO_GUEST}
    if not guests:
        return [HostGuest(flavours[NO_GUEST][0].cell, NO_GUEST, host, None)]
    return [
        HostGuest(each[0].cell, flavour, host, _merged(each), any(one.guest_uses_tcg for one in each))
        for flavour, each in guests.items()
    ]


def _merged(measurements: Sequence[Measurement]) -> Histogram | None:
    histograms = [each.histogram for each in measurements if each.histogram]
    return merge(histograms) if histograms else None
