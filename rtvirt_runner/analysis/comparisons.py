"""Comparisons of measurements: ablation of settings, emulation of the GIC, load on the host, guests side by side."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

from rtvirt_runner.analysis.histogram import Histogram, Summary, merge, summarize
from rtvirt_runner.analysis.measurement import Measurement
from rtvirt_runner.catalogue.guests import NO_GUEST
from rtvirt_runner.catalogue.settings import SETTINGS
from rtvirt_runner.catalogue.tunings import MINUS
from rtvirt_runner.machine.settings_readback import ABSENT, FIXED, setting_rows
from rtvirt_runner.matrix.cell import BOTH, Cell
from rtvirt_runner.parsers.workload import WorkloadRun, seconds_per_iteration

HOST, KVMS_GIC, QEMUS_GIC = "host", "guest with KVM's GIC", "guest with QEMU's GIC"
_GICS = {"in_kernel": KVMS_GIC, "user_space": QEMUS_GIC}
ACROSS = ("board", "kernel", "clock", "tuning", "way")  # in what two compared points may differ, if one says so
_T = TypeVar("_T")


@dataclass(frozen=True)
class MergedMeasurement:
    """One point of the matrix, all repetitions merged."""

    measurements: tuple[Measurement, ...]  # each with a histogram; they differ only in the repetition

    @property
    def cell(self) -> Cell:
        """The cell of the first repetition: all cells differ only in the repetition."""
        return self.measurements[0].cell

    @property
    def repetitions(self) -> list[Histogram]:
        """One histogram per repetition, latencies in us."""
        return [each.histogram for each in self.measurements if each.histogram]

    @cached_property
    def cells(self) -> tuple[Cell, ...]:
        """The cells of all repetitions: two points with the same are the same point."""
        return tuple(each.cell for each in self.measurements)

    @cached_property
    def histogram(self) -> Histogram:
        """The sum of all repetitions' histograms."""
        return merge(self.repetitions)

    @cached_property
    def summary(self) -> Summary:
        """Statistics of the merged histogram."""
        return summarize(self.histogram)

    @property
    def p99_us(self) -> int:
        """The 99th percentile in us; its lower bound when it lies in the overflow."""
        return at_least(self.summary.p99, self.histogram)

    @property
    def guest_uses_tcg(self) -> bool:
        """Whether QEMU emulated the guest (tcg), without KVM."""
        return any(each.guest_uses_tcg for each in self.measurements)

    @property
    def runs(self) -> list[WorkloadRun]:
        """Output of the workload by repetition; empty where nothing ran or its output is not parsed."""
        return [each.workload for each in self.measurements if each.workload and each.workload.runs]

    @property
    def seconds_per_iteration(self) -> float | None:
        """Seconds per iteration of the workload over all repetitions; None where its output does not tell."""
        return seconds_per_iteration(self.runs)


@dataclass(frozen=True)
class Ablation:
    """A tuning, and each tuning that lacks one of its settings."""

    base: MergedMeasurement
    without: tuple[tuple[str, MergedMeasurement], ...]  # setting, and the point without it; the largest effect first
    references: tuple[MergedMeasurement, ...]  # other tunings at the same place
    not_applicable: tuple[tuple[str, str], ...]  # setting, and why leaving it out has no effect here


@dataclass(frozen=True)
class GicOrder:
    """The same point on the host and in guests that differ in who emulates their GIC (KVM or QEMU)."""

    rows: tuple[tuple[str, MergedMeasurement], ...]  # HOST, KVMS_GIC or QEMUS_GIC

    @property
    def steps(self) -> list[tuple[MergedMeasurement, MergedMeasurement]]:
        """What must be earlier and what later for the order host, KVM's GIC, QEMU's GIC; empty when one is missing."""
        kinds = [[point for what, point in self.rows if what == kind] for kind in (HOST, *_GICS.values())]
        if not all(kinds):
            return []
        return [pair for those in itertools.pairwise(kinds) for pair in itertools.product(*those)]


@dataclass(frozen=True)
class Load:
    """One load on the board: host and guest under it, by tuning."""

    rows: tuple[
        tuple[MergedMeasurement, MergedMeasurement | None], ...
    ]  # a point; for a guest also the host with the same tuning, if measured


@dataclass(frozen=True)
class Neighbours:
    """Points that differ only in tuning and neighbour."""

    rows: tuple[
        tuple[MergedMeasurement, MergedMeasurement | None], ...
    ]  # a point; beside a neighbour also the one without, with the same tuning, if measured


@dataclass(frozen=True)
class Guests:
    """Points that differ only in the guest."""

    base: MergedMeasurement
    others: tuple[MergedMeasurement, ...]


@dataclass(frozen=True)
class Foreground:
    """One workload on the host and in one guest; None where it was not measured."""

    cell: Cell  # of the guest if measured, otherwise of the host
    host: MergedMeasurement | None
    guest: MergedMeasurement | None

    @property
    def slowdown(self) -> float | None:
        """Time per iteration in the guest divided by that on the host; None where one of the two is unknown."""
        host_s = self.host.seconds_per_iteration if self.host else None
        guest_s = self.guest.seconds_per_iteration if self.guest else None
        return guest_s / host_s if host_s and guest_s else None


@dataclass(frozen=True)
class Slowdowns:
    """Workloads that were measured on the host and in a guest, all else being equal."""

    rows: tuple[Foreground, ...]


def points(measurements: Iterable[Measurement]) -> list[MergedMeasurement]:
    """Merge repetitions; points are in the order of first appearance.

    Measurements without a histogram are left out, and cells whose place is both: they are compared with nothing.
    """
    alone = (each for each in measurements if each.histogram and each.cell.place != BOTH)
    found = grouped(alone, lambda each: axes_of(each.cell))
    return [MergedMeasurement(tuple(each)) for each in found]


def ablations(measured: Sequence[MergedMeasurement]) -> list[Ablation]:
    """One per place and tuning that has ablations; none where the complete tuning was not measured."""
    found = []
    for those in grouped(measured, lambda each: axes_of(each.cell, but=("tuning",))):
        tunings = {point.cell.tuning: point for point in those}
        for base in dict.fromkeys(name.partition(MINUS)[0] for name in tunings if MINUS in name):
            if base in tunings:
                found.append(_ablation(base, tunings))
    return found


def gic_orders(measured: Sequence[MergedMeasurement]) -> list[GicOrder]:
    """One per point of which the host and a guest or more were measured."""
    found = []
    for those in grouped(measured, lambda each: axes_of(each.cell, but=("place", "guest"))):
        kinds = [(_GICS[state.gic] if (state := each.cell.guest_state) else HOST, each) for each in those]
        order = (HOST, KVMS_GIC, QEMUS_GIC)
        if len(kinds) > 1:
            found.append(GicOrder(tuple(sorted(kinds, key=lambda row: order.index(row[0])))))
    return found


def loads(measured: Sequence[MergedMeasurement]) -> list[Load]:
    """One per board, kernel, split and workload that loads the board; hosts stand before their guests."""
    loaded = [point for point in measured if point.cell.board_command]
    found = []
    for those in grouped(loaded, lambda each: axes_of(each.cell, but=("tuning", "place", "guest"))):
        hosts = {point.cell.tuning: point for point in those if point.cell.place == "host"}
        by_tuning = grouped(those, lambda each: each.cell.tuning)
        ordered = [each for group in by_tuning for each in sorted(group, key=lambda each: each.cell.place == "guest")]
        found.append(Load(tuple((p, hosts.get(p.cell.tuning) if p.cell.place == "guest" else None) for p in ordered)))
    return found


def neighbours(measured: Sequence[MergedMeasurement]) -> list[Neighbours]:
    """One per point that was measured beside a neighbour; by tuning, the point without a neighbour first."""
    found = []
    for those in grouped(measured, lambda each: axes_of(each.cell, but=("tuning", "neighbour"))):
        if not any(point.cell.neighbour_state for point in those):
            continue
        alone = {point.cell.tuning: point for point in those if not point.cell.neighbour_state}
        by_tuning = grouped(those, lambda each: each.cell.tuning)
        ordered = [
            each for tuning in by_tuning for each in sorted(tuning, key=lambda each: bool(each.cell.neighbour_state))
        ]
        rows = ((point, alone.get(point.cell.tuning) if point.cell.neighbour_state else None) for point in ordered)
        found.append(Neighbours(tuple(rows)))
    return found


def guests_side_by_side(measured: Sequence[MergedMeasurement]) -> list[Guests]:
    """One per point of which two guests or more were measured; the base is the one that the experiment names first."""
    inside = [point for point in measured if point.cell.place == "guest"]
    names = list(dict.fromkeys(point.cell.guest for point in inside))
    found = []
    for those in grouped(inside, lambda each: axes_of(each.cell, but=("guest",))):
        base, *others = sorted(those, key=lambda each: names.index(each.cell.guest))
        if others:
            found.append(Guests(base, tuple(others)))
    return found


def foregrounds(measured: Sequence[MergedMeasurement]) -> list[Foreground]:
    """One per workload with output of its own and guest; a host without a guest makes one too."""
    found = []
    for those in grouped((each for each in measured if each.runs), lambda each: axes_of(each.cell, ("place", "guest"))):
        host = next((each for each in those if each.cell.place == "host"), None)
        guests = [each for each in those if each.cell.place == "guest"]
        found += [Foreground(each.cell, host, each) for each in guests] or [Foreground(those[0].cell, host, None)]
    return found


def slowdowns(measured: Sequence[MergedMeasurement]) -> list[Slowdowns]:
    """One per board, kernel, tuning and split, with a row per workload and guest."""
    both = [each for each in foregrounds(measured) if each.slowdown]
    those = grouped(both, lambda each: axes_of(each.cell, ("place", "guest", "workload")))
    return [Slowdowns(tuple(rows)) for rows in those]


def at_least(quantile: int | None, histogram: Histogram) -> int:
    """A quantile in us, or the histogram's limit (a lower bound) when it lies in the overflow (None)."""
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
    )


def _not_applicable(setting: str, base: MergedMeasurement) -> str:
    """Why leaving a setting out has no effect at this point, from the states read back; empty if it may have one."""
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


def axes_of(cell: Cell, but: Sequence[str] = ()) -> tuple[str, ...]:
    """Clock and axes of a cell, without the repetition and those of ``but``: what two cells share that are compared."""
    axes = ("clock", "board", "kernel", "tuning", "split", "place", "guest", "workload", "neighbour")
    return tuple(str(getattr(cell, axis)) for axis in axes if axis not in but)


def grouped(items: Iterable[_T], key: Callable[[_T], object]) -> list[list[_T]]:
    """Group items by key, in the order of first appearance."""
    found: dict[object, list[_T]] = {}
    for item in items:
        found.setdefault(key(item), []).append(item)
    return list(found.values())


@dataclass(frozen=True)
class HostGuest:
    """The same point of the matrix on the host and in the guest; None where not measured."""

    cell: Cell  # all cells of the pair have its axes, except place, guest and repetition
    guest: str  # flavour
    on_host: MergedMeasurement | None
    in_guest: MergedMeasurement | None

    @property
    def host_us(self) -> Histogram | None:
        """The host's histogram, repetitions merged."""
        return self.on_host.histogram if self.on_host else None

    @property
    def guest_us(self) -> Histogram | None:
        """The guest's histogram, repetitions merged."""
        return self.in_guest.histogram if self.in_guest else None

    @property
    def guest_uses_tcg(self) -> bool:
        """Whether QEMU emulated the guest (tcg), without KVM."""
        return bool(self.in_guest and self.in_guest.guest_uses_tcg)


def host_against_guest(measurements: Iterable[Measurement]) -> list[HostGuest]:
    """Pair host and guest cells that differ only in place, guest and repetition, in the order of first appearance.

    Cells whose place is both are left out.
    """
    found: dict[tuple[Any, ...], dict[str, list[Measurement]]] = {}
    for each in measurements:
        cell = each.cell
        if cell.place == BOTH:
            continue
        point = (cell.board, cell.kernel, cell.tuning, cell.split, cell.workload, cell.neighbour)
        found.setdefault(point, {}).setdefault(cell.guest, []).append(each)
    return list(itertools.chain.from_iterable(_pairs(flavours) for flavours in found.values()))


def _pairs(flavours: dict[str, list[Measurement]]) -> list[HostGuest]:
    """One pair per guest flavour, all against the same host; a host alone makes a pair without a guest."""
    host = _merged(flavours.get(NO_GUEST, []))
    guests = {flavour: each for flavour, each in flavours.items() if flavour != NO_GUEST}
    if not guests:
        return [HostGuest(flavours[NO_GUEST][0].cell, NO_GUEST, host, None)]
    return [HostGuest(each[0].cell, flavour, host, _merged(each)) for flavour, each in guests.items()]


def _merged(measurements: Sequence[Measurement]) -> MergedMeasurement | None:
    measured = tuple(each for each in measurements if each.histogram)
    return MergedMeasurement(measured) if measured else None
