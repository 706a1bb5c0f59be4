"""Everything that a page compares, judged together: which points are held against each other, and what is said of it.

One page is one call of ``effects.judge``, so that all that it calls holds together, however much it shows. A contrast
that stands in several places of a page is one, and counts once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from rtvirt_runner.analysis.comparisons import (
    HostGuest,
    MergedMeasurement,
    ablations,
    axes_of,
    foregrounds,
    gic_orders,
    grouped,
    guests_side_by_side,
    loads,
    neighbours,
)
from rtvirt_runner.analysis.effects import Effect, Finding, effect, judge
from rtvirt_runner.analysis.estimates import Refused
from rtvirt_runner.analysis.repetitions import RESOLUTION_US, values_of_runs
from rtvirt_runner.catalogue.tunings import MINUS
from rtvirt_runner.matrix.cell import Cell
from rtvirt_runner.matrix.load import HISTOGRAMS

# "iteration": seconds that the workload takes for one. The latest wake-up is a fact about one run, and not judged.
What = Literal["avg", "p99", "iteration"]
LATENCIES: tuple[What, ...] = ("avg", "p99")
AXES = ("kernel", "tuning", "split")  # of which an experiment compares the values, the first as base
_Key = tuple[tuple[Cell, ...], tuple[Cell, ...], What]


@dataclass(frozen=True)
class Contrast:
    """One point held against another, from which it differs in what is asked about."""

    base: MergedMeasurement
    changed: MergedMeasurement
    what: What

    @property
    def key(self) -> _Key:
        """The same for the same cells, wherever they are compared."""
        return self.base.cells, self.changed.cells, self.what

    def effect(self) -> Effect | Refused:
        """``changed / base``, from one value per repetition."""
        if self.what == "iteration":
            sides = [_iterations(each) for each in (self.base, self.changed)]
            return effect(sides[0], sides[1], scale="ratio", resolution=0.0)
        values = [values_of_runs(each.repetitions, self.what) for each in (self.base, self.changed)]
        return effect(values[0], values[1], scale="ratio", resolution=RESOLUTION_US)


@dataclass(frozen=True)
class Judged:
    """What is said of each contrast of a page."""

    findings: Mapping[_Key, Finding]

    def of(self, base: MergedMeasurement, changed: MergedMeasurement, what: What) -> Finding:
        """The finding of a contrast; raises KeyError when it was not judged with the others."""
        return self.findings[Contrast(base, changed, what).key]

    @property
    def compared(self) -> int:
        """How many effects are judged together; those that are refused do not count."""
        return sum(each.call != "refused" for each in self.findings.values())


def judge_contrasts(contrasts: Iterable[Contrast]) -> Judged:
    """Judge contrasts together; ratios, since runs differ by a share of a latency rather than by microseconds."""
    distinct = {each.key: each for each in contrasts}
    # by their number: a key names all cells of two points, which takes long to look up
    findings = judge(dict(enumerate(each.effect() for each in distinct.values())))
    return Judged(dict(zip(distinct, findings.values(), strict=True)))


def contrasts_of_view(view: str, measured: Sequence[MergedMeasurement]) -> list[Contrast]:
    """What a view of an experiment compares (matrix.load.VIEWS); empty for views that compare nothing."""
    return list(_VIEWS.get(view, _none)(measured))


def contrasts_of_pairs(pairs: Iterable[HostGuest]) -> Iterator[Contrast]:
    """Host against guest."""
    for pair in pairs:
        if pair.on_host and pair.in_guest:
            yield from _latencies(pair.on_host, pair.in_guest)


@dataclass(frozen=True)
class AxisContrasts:
    """Points that differ in one axis only, each held against the one with the first value of it."""

    axis: str  # of AXES
    base: str  # the first value
    rows: tuple[tuple[MergedMeasurement, MergedMeasurement], ...]  # base, changed


def axis_contrasts(measured: Sequence[MergedMeasurement]) -> list[AxisContrasts]:
    """One per axis of AXES that varies: tuning against tuning, split against split, kernel against kernel.

    The base is the first value in the experiment's order; points without one at the base are left out.
    """
    measured = [point for point in measured if MINUS not in point.cell.tuning]  # ablations have a view of their own
    found = []
    for axis in AXES:
        values = list(dict.fromkeys(str(getattr(point.cell, axis)) for point in measured))
        rows = []
        for those in _alike_but(axis, measured):
            by_value = {str(getattr(point.cell, axis)): point for point in those}
            if base := by_value.pop(values[0], None):
                rows += [(base, by_value[value]) for value in values if value in by_value]
        if rows:
            found.append(AxisContrasts(axis, values[0], tuple(rows)))
    return found


def _alike_but(axis: str, measured: Sequence[MergedMeasurement]) -> list[list[MergedMeasurement]]:
    return grouped(measured, lambda each: axes_of(each.cell, (axis,)))


def _latencies(base: MergedMeasurement, changed: MergedMeasurement) -> list[Contrast]:
    return [Contrast(base, changed, what) for what in LATENCIES]


def _iterations(point: MergedMeasurement) -> list[float] | Refused:
    seconds = [run.seconds_per_iteration for run in point.runs]
    told = [each for each in seconds if each]
    return told if len(told) == len(seconds) else Refused("The workload does not tell how long an iteration takes.")


def _none(_: Sequence[MergedMeasurement]) -> Iterator[Contrast]:
    yield from ()


def _of_axes(measured: Sequence[MergedMeasurement]) -> Iterator[Contrast]:
    for axis in axis_contrasts(measured):
        for base, changed in axis.rows:
            yield from _latencies(base, changed)


def _of_ablations(measured: Sequence[MergedMeasurement]) -> Iterator[Contrast]:
    for ablation in ablations(measured):
        for _, point in ablation.without:
            yield from _latencies(ablation.base, point)


def _of_gics(measured: Sequence[MergedMeasurement]) -> Iterator[Contrast]:
    for order in gic_orders(measured):
        for earlier, later in order.steps:
            yield from _latencies(earlier, later)


def _of_loads(measured: Sequence[MergedMeasurement]) -> Iterator[Contrast]:
    for load in loads(measured):
        for point, host in load.rows:
            if host:
                yield from _latencies(host, point)


def _of_neighbours(measured: Sequence[MergedMeasurement]) -> Iterator[Contrast]:
    for those in neighbours(measured):
        for point, alone in those.rows:
            if alone:
                yield from _latencies(alone, point)


def _of_guests(measured: Sequence[MergedMeasurement]) -> Iterator[Contrast]:
    for guests in guests_side_by_side(measured):
        for point in guests.others:
            yield from _latencies(guests.base, point)


def _of_slowdowns(measured: Sequence[MergedMeasurement]) -> Iterator[Contrast]:
    for row in foregrounds(measured):
        if row.slowdown and row.host and row.guest:
            yield Contrast(row.host, row.guest, "iteration")


_VIEWS: Mapping[str, Callable[[Sequence[MergedMeasurement]], Iterator[Contrast]]] = {
    HISTOGRAMS: _of_axes,
    "ablation": _of_ablations,
    "gic": _of_gics,
    "load": _of_loads,
    "neighbour": _of_neighbours,
    "partitioning": _of_guests,
    "flavours": _of_guests,
    "slowdown": _of_slowdowns,
    "sysbench": _of_slowdowns,
}
