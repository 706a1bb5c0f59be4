"""Two result sets against each other: per cell better, worse, same, not told, or unlike.

Points are compared, that is cells with all their repetitions, by average and by p99: effects are ratios over
repetitions, called and bounded so that all that is said of two result sets holds together (effects.py). The latest
wake-up is shown and not judged: it is a fact about one run. An effect within the margin is none, however certain.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from rtvirt_runner.analysis.comparisons import MergedMeasurement, axes_of, grouped, points
from rtvirt_runner.analysis.effects import Effect, Finding, effect, judge, repetitions_needed
from rtvirt_runner.analysis.estimates import Interval, Refused
from rtvirt_runner.analysis.measurement import Measurement
from rtvirt_runner.analysis.repetitions import Statistic, values_of_runs
from rtvirt_runner.matrix.cell import Cell
from rtvirt_runner.matrix.load import Experiment

Change = Literal["better", "worse", "same", "not told", "unlike", "only before", "only after"]

MARGIN = 1.1  # by how much a latency may change and is still called the same
STATISTICS: tuple[Statistic, ...] = ("avg", "p99")
_IGNORED = ("board", "kernel", "clock", "tuning")  # axes among ACROSS
_BOUND = 1e-9


@dataclass(frozen=True)
class StatisticChange:
    """One statistic of one point, before and after, in us; the effect is ``after / before``."""

    statistic: Statistic
    before: tuple[float, ...]  # one value per repetition
    after: tuple[float, ...]
    change: Change
    ratio: float | None  # None: refused
    interval: Interval | None  # all of a comparison hold together
    could_have_seen: float | None  # the smallest factor that would probably have been called
    reason: str  # why nothing is told; empty otherwise


@dataclass(frozen=True)
class PointChange:
    """A point in both result sets, or in one of them."""

    name: str  # axes of the point, as in a cell's id without the repetition
    before: MergedMeasurement | None
    after: MergedMeasurement | None
    change: Change
    reason: str  # a clause: what differs, or why nothing is told; may be empty
    statistics: tuple[StatisticChange, ...]  # empty where nothing is compared
    inputs: tuple[str, ...]  # fields of the cells that differ, such as settings

    @property
    def clock(self) -> str:
        """Whose microseconds these are: 'virtual' or 'real'; of both, where that is compared."""
        return " and ".join(dict.fromkeys(each.cell.clock for each in (self.before, self.after) if each))

    def as_dict(self) -> dict[str, Any]:
        """For JSON: latencies in us."""
        return {
            "point": self.name,
            "clock": self.clock,
            "change": self.change,
            "reason": self.reason,
            "inputs": list(self.inputs),
            "max_us": [each.histogram.max_us if each else None for each in (self.before, self.after)],
            "repetitions": [len(each.repetitions) if each else 0 for each in (self.before, self.after)],
            "statistics": {
                each.statistic: {
                    "before_us": list(each.before),
                    "after_us": list(each.after),
                    "change": each.change,
                    "ratio": each.ratio,
                    "interval": [each.interval.low, each.interval.high] if each.interval else None,
                    "could_have_seen": each.could_have_seen,
                    "reason": each.reason,
                }
                for each in self.statistics
            },
        }


@dataclass(frozen=True)
class ExperimentChange:
    """The points of one experiment together."""

    name: str
    change: Change
    counts: dict[Change, int]


@dataclass(frozen=True)
class Comparison:
    """Two result sets against each other."""

    points: tuple[PointChange, ...]
    experiments: tuple[ExperimentChange, ...]
    margin: float  # a factor above 1
    needed: int | None  # repetitions of either side with which a change of the margin would be called; None: unknown

    @property
    def change(self) -> Change:
        """Of all points together, the worst that is said of one."""
        return _together([each.change for each in self.points])

    @property
    def counts(self) -> dict[Change, int]:
        """How many points are what."""
        return dict(Counter(each.change for each in self.points))


def compare_sets(
    before: Iterable[Measurement],
    after: Iterable[Measurement],
    experiments: Sequence[Experiment] = (),
    across: Sequence[str] = (),
    margin: float = MARGIN,
) -> Comparison:
    """Compare two result sets. ``across``, of ACROSS (comparisons.py), is what may differ; ``margin`` a factor above 1.

    Other kernels, boards, clocks and ways of measuring are not compared unless ``across`` names them: the point is
    called unlike. Differences in settings are what a comparison is about; they are named beside it.
    """
    pairs = _pairs(points(before), points(after), across)
    unlike = {number: reason for number, pair in enumerate(pairs) if (reason := _unlike(pair, across))}
    effects: dict[tuple[int, Statistic], Effect | Refused] = {}
    for number, (old, new) in enumerate(pairs):
        if old and new and number not in unlike and not _identical(old, new):
            for statistic in STATISTICS:
                sides = [values_of_runs(each.repetitions, statistic) for each in (old, new)]
                effects[number, statistic] = effect(sides[0], sides[1], scale="ratio")
    found = judge(effects)
    rows = tuple(
        _point(pair, unlike.get(number, ""), {s: found[number, s] for s in STATISTICS if (number, s) in found}, margin)
        for number, pair in enumerate(pairs)
    )
    return Comparison(rows, tuple(_experiments(rows, experiments)), margin, _needed(effects.values(), margin))


def _pairs(
    before: Sequence[MergedMeasurement], after: Sequence[MergedMeasurement], across: Sequence[str]
) -> list[tuple[MergedMeasurement | None, MergedMeasurement | None]]:
    """Points with the same axes; then, of those left, the only two that differ in one axis of ACROSS, in two, ..."""
    pairs: list[tuple[MergedMeasurement | None, MergedMeasurement | None]] = []
    left = [(each, 0) for each in before] + [(each, 1) for each in after]
    axes = [axis for axis in _IGNORED if axis != "tuning" or axis in across]
    ignored = itertools.chain.from_iterable(itertools.combinations(axes, size) for size in range(len(axes) + 1))
    for those in ignored:  # as few differences as possible
        alone = []
        for group in grouped(left, functools.partial(_side_axes, those)):
            sides = [[each for each, side in group if side == number] for number in (0, 1)]
            if len(sides[0]) == len(sides[1]) == 1:
                pairs.append((sides[0][0], sides[1][0]))
            else:
                alone += group
        left = alone
    return pairs + [(each, None) if side == 0 else (None, each) for each, side in left]


def _side_axes(but: Sequence[str], side: tuple[MergedMeasurement, int]) -> tuple[str, ...]:
    return axes_of(side[0].cell, but)


def _unlike(pair: tuple[MergedMeasurement | None, MergedMeasurement | None], across: Sequence[str]) -> str:
    """What differs between two points that must not be compared; '' if they may be."""
    old, new = pair
    if not old or not new:
        return ""
    facts = [
        ("board", old.cell.board, new.cell.board),
        ("kernel", _kernel(old), _kernel(new)),
        ("clock", f"{old.cell.clock} time", f"{new.cell.clock} time"),
        ("way", _way(old), _way(new)),
    ]
    said = [f"{what}: {a} and {b}" for what, a, b in facts if a != b and what not in across]
    if old.guest_uses_tcg != new.guest_uses_tcg:
        said.append("one guest ran under KVM, the other was emulated")
    if (old.cell.interval_us, old.cell.histogram_us) != (new.cell.interval_us, new.cell.histogram_us):
        said.append("another interval or width of the histogram")
    return "; ".join(said)


def _kernel(point: MergedMeasurement) -> str:
    """The entry of the catalogue, and what the board said of the kernel that ran."""
    releases = {each.kernel_release for each in point.measurements}
    return f"{point.cell.kernel} ({', '.join(sorted(releases))})"


def _way(point: MergedMeasurement) -> str:
    kinds = {"sealed" if each.sealed else "over SSH" for each in point.measurements}
    return " and ".join(sorted(kinds))


def _identical(old: MergedMeasurement, new: MergedMeasurement) -> bool:
    """Whether every repetition has the same bins."""
    sides = [{each.cell.repetition: each.histogram for each in point.measurements} for point in (old, new)]
    return sides[0] == sides[1]


def _point(
    pair: tuple[MergedMeasurement | None, MergedMeasurement | None],
    unlike: str,
    found: Mapping[Statistic, Finding],
    margin: float,
) -> PointChange:
    old, new = pair
    first = old or new
    assert first
    name = _name(first)
    if not old or not new:
        return PointChange(name, old, new, "only after" if new else "only before", "", (), ())
    if name != _name(new):
        name = f"{name} / {_name(new)}"
    inputs = _inputs(old, new)
    if unlike:
        return PointChange(name, old, new, "unlike", unlike, (), inputs)
    if not found:
        return PointChange(name, old, new, "same", "bin for bin", (), inputs)
    statistics = tuple(_statistic(old, new, statistic, each, margin) for statistic, each in found.items())
    changes = [each.change for each in statistics]
    order: tuple[Change, ...] = ("worse", "better", "not told", "same")
    change = next(each for each in order if each in changes)
    reasons = dict.fromkeys(each.reason for each in statistics if each.reason)
    return PointChange(name, old, new, change, "; ".join(reasons), statistics, inputs)


def _name(point: MergedMeasurement) -> str:
    return _cell_name(point.cell)


def _cell_name(cell: Cell) -> str:
    """The axes of a cell without its repetition; of its neighbour only one that there is."""
    return "_".join(axes_of(cell, ("clock", *(() if cell.neighbour_state else ("neighbour",)))))


def _statistic(
    old: MergedMeasurement, new: MergedMeasurement, statistic: Statistic, finding: Finding, margin: float
) -> StatisticChange:
    values = [values_of_runs(each.repetitions, statistic) for each in (old, new)]
    before, after = (() if isinstance(each, Refused) else each for each in values)
    if isinstance(finding.effect, Refused) or not finding.simultaneous:
        once = min(len(before), len(after)) == 1
        reason = "measured once" if once else finding.effect.reason if isinstance(finding.effect, Refused) else ""
        return StatisticChange(statistic, before, after, "not told", None, None, None, reason)
    interval = finding.simultaneous
    changes: Mapping[str, Change] = {"higher": "worse", "lower": "better"}
    within = 1 / margin - _BOUND <= interval.low and interval.high <= margin + _BOUND
    change = "same" if within else changes.get(finding.call, "not told")
    seen = finding.could_have_seen
    reason = f"in {statistic} a change by {seen:.2f} times would probably have been seen" if seen else ""
    return StatisticChange(
        statistic,
        before,
        after,
        change,
        finding.effect.estimate,
        interval,
        seen,
        reason if change == "not told" else "",
    )


def _inputs(old: MergedMeasurement, new: MergedMeasurement) -> tuple[str, ...]:
    values = [each.cell.as_dict() for each in (old, new)]
    return tuple(name for name in values[0] if name not in ("id", "repetition") and values[0][name] != values[1][name])


def _needed(effects: Iterable[Effect | Refused], margin: float) -> int | None:
    """Repetitions with which the least certain of the effects would be called if it were as large as the margin."""
    usable = [each for each in effects if isinstance(each, Effect)]
    if not usable:
        return None
    # the standard deviation of one run's logarithm, if both sides scatter alike
    sd = max(each.error / (1 / each.runs[0] + 1 / each.runs[1]) ** 0.5 for each in usable)
    found = repetitions_needed(math.log(margin), sd, comparisons=len(usable))
    return None if isinstance(found, Refused) else found


def _experiments(rows: Sequence[PointChange], experiments: Sequence[Experiment]) -> Iterable[ExperimentChange]:
    for each in experiments:
        names = {_cell_name(cell) for cell in each.cells}
        changes = [row.change for row in rows if row.name.partition(" / ")[0] in names]
        if changes:
            yield ExperimentChange(each.name, _together(changes), dict(Counter(changes)))


def _together(changes: Sequence[Change]) -> Change:
    order: tuple[Change, ...] = ("worse", "unlike", "not told", "only before", "only after", "better", "same")
    return next((each for each in order if each in changes), "same")
