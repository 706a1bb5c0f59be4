"""Tables of latencies: what varies names a row, in a first column that stays in sight."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from rtvirt_runner.analysis.comparisons import HostGuest, MergedMeasurement, axes_of, grouped
from rtvirt_runner.analysis.contrasts import Judged
from rtvirt_runner.analysis.estimates import Refused
from rtvirt_runner.analysis.exceedances import at_most, later_than, rate
from rtvirt_runner.analysis.histogram import (
    Histogram,
    QuantileBeyondOverflow,
    quantile,
    standard_deviation,
    summarize,
)
from rtvirt_runner.analysis.measurement import Measurement
from rtvirt_runner.analysis.quantiles import SHOWN, QuantileEstimate, quantile_estimate, samples_needed
from rtvirt_runner.analysis.repetitions import over_runs, values_of_runs
from rtvirt_runner.analysis.shape import Peaks, peaks, widths
from rtvirt_runner.catalogue.guests import NO_GUEST
from rtvirt_runner.catalogue.neighbours import NO_NEIGHBOUR
from rtvirt_runner.matrix.budget import Budget
from rtvirt_runner.matrix.cell import Cell
from rtvirt_runner.report.blocks import TableRow, axis_value
from rtvirt_runner.report.findings import called, factors
from rtvirt_runner.report.format import EN_DASH, decimals, listed, number, ratio_2dp, unit

# Axes of which most rows may have one value, which then need not be said in each.
_USUAL_AXES = ("split", "guest", "kernel", "neighbour")
_USUAL_SHARE = 0.6
# Axes that are shown beside board, place and repetition, where their values vary.
_VARIED_AXES = ("kernel", "tuning", "workload", "guest", "neighbour")
_ORDER = ("workload", "neighbour", "tuning", "split", "guest", "kernel")  # of what names a row
_USUAL_QUANTILES = ("0.5", "0.99", "0.999")
_INTERVALS = (
    "Below a number is its interval of 95 % over repetitions, below a factor that of all effects of this page together."
)
_NO_INTERVALS = "Each was measured once, so that no factor has an interval."
_MOST_SHAPES = 500  # rows of a table of which half-width and peaks are told: they take a millisecond each


@dataclass(frozen=True)
class HeadGroup:
    """Columns under a common heading."""

    head: str
    columns: int


@dataclass(frozen=True)
class Table:
    """Rows by board, all on one clock."""

    caption: str
    clock: str
    first: str  # head of the first column: what names a row
    heads: tuple[str, ...]  # of the other columns
    boards: tuple[tuple[str, tuple[TableRow, ...]], ...]
    groups: tuple[HeadGroup, ...] = ()  # of all columns but the first

    @property
    def size(self) -> int:
        """How many rows it has."""
        return sum(len(rows) for _, rows in self.boards)

    @property
    def begins(self) -> frozenset[int]:
        """Indexes of columns that begin a group, except the first group."""
        return frozenset(sum(each.columns for each in self.groups[:n]) for n in range(1, len(self.groups)))


def varying(cells: Sequence[Cell]) -> list[str]:
    """The axes whose values differ among the cells; ``guest`` only among cells in guests."""
    values: dict[str, set[str]] = {axis: {getattr(cell, axis) for cell in cells} for axis in _VARIED_AXES}
    values["guest"].discard(NO_GUEST)
    return [axis for axis in _VARIED_AXES if len(values[axis]) > 1]


def pair_table(pairs: Sequence[HostGuest], clock: str, judged: Judged, budget: Budget) -> Table:
    """Host against guest, a row per point of the matrix; ``budget`` says which wake-ups are late."""
    cells = [pair.cell for pair in pairs]
    repeated = any(point and len(point.repetitions) > 1 for pair in pairs for point in (pair.on_host, pair.in_guest))
    axes = _ordered(["workload", *varying(cells)], cells)
    usual = _usual([{**_axes(pair.cell), "guest": pair.guest} for pair in pairs])
    rows: dict[str, list[TableRow]] = {}
    for pair in pairs:
        head = _head(pair.cell, axes, pair.guest, usual)
        values = (
            *_three(pair.on_host),
            *_three(pair.in_guest),
            _late(pair.in_guest, budget.of(pair.cell.workload).latest_us),
            *(_against(pair, judged) if repeated else _as_measured(pair)),
        )
        rows.setdefault(pair.cell.board, []).append(TableRow(head, values, pair.guest_uses_tcg))
    return Table(
        caption=(
            f"Wake-up latency in {unit(clock)}, host against guest on the same physical core, repetitions "
            f"together. {_INTERVALS if repeated else _NO_INTERVALS} Late: later than budget {budget.name} allows, at "
            "most so many an hour with 95 % in each row by itself, where a verdict allows for all that it chooses from."
            f"{_unsaid(cells, axes, usual)}"
        ),
        clock=clock,
        first=_first(axes, usual),
        heads=("avg", "p99", "max", "avg", "p99", "max", "late / h", "avg", "p99", *(["p99 is"] if repeated else [])),
        boards=tuple((board, tuple(those)) for board, those in rows.items()),
        groups=(HeadGroup("host", 3), HeadGroup("guest", 4), HeadGroup("guest / host", 3 if repeated else 2)),
    )


def cell_table(measurements: Sequence[Measurement], axes: Sequence[str], clock: str) -> Table:
    """A row per cell with all its numbers; columns that would say the same in each row are left to the caption.

    Rare quantiles have a column where one of the cells is long enough for them.
    """
    # repetitions of a point together
    measurements = list(itertools.chain.from_iterable(grouped(measurements, lambda each: axes_of(each.cell))))
    cells = [each.cell for each in measurements]
    shown = [*_ordered(axes, cells), "place"]
    usual = _usual([_axes(cell) for cell in cells])
    repeated = len({cell.repetition for cell in cells}) > 1
    both_ways = len({each.sealed for each in measurements}) > 1
    overflowed = any(each.histogram and each.histogram.overflows for each in measurements)
    quantiles = _told_quantiles([each.histogram for each in measurements if each.histogram])
    shapes = len(measurements) <= _MOST_SHAPES
    rows: dict[str, list[TableRow]] = {}
    for each in measurements:
        if (histogram := each.histogram) is None:
            continue
        summary = summarize(histogram)
        head = _head(each.cell, shown, each.cell.guest, usual)
        values = [str(each.cell.repetition)] if repeated else []
        values += ["sealed" if each.sealed else "SSH"] if both_ways else []
        values += [number(summary.samples), number(summary.min), decimals(summary.avg), _deviation(histogram)]
        values += [_quantile(histogram, q) for q in quantiles]
        values += [number(summary.max), *_jitter(histogram, shapes)]
        values += [number(summary.overflows)] if overflowed else []
        rows.setdefault(each.cell.board, []).append(TableRow(head, tuple(values), each.guest_uses_tcg))
    ways = [] if both_ways else ["all sealed" if any(each.sealed for each in measurements) else "all over SSH"]
    ways += [] if overflowed else ["no sample beyond the histogram"]
    return Table(
        caption=(
            f"The numbers of every cell, latencies in {unit(clock)}{''.join(f'; {each}' for each in ways)}. Below a "
            "quantile is its interval of 95 % in that run. Width: p99.9 - p0.1"
            f"{'; FWHM: of the highest peak at half its height; peaks: at least so many' if shapes else ''}."
            f"{_unsaid(cells, shown, usual)}"
        ),
        clock=clock,
        first=_first(shown, usual),
        heads=(
            *(["rep."] if repeated else []),
            *(["way"] if both_ways else []),
            *("samples", "min", "avg", "s. d."),
            *(quantile_name(q) for q in quantiles),
            *("max", "width", *(("FWHM", "peaks") if shapes else ())),
            *(["overflows"] if overflowed else []),
        ),
        boards=tuple((board, tuple(those)) for board, those in rows.items()),
    )


def _ordered(axes: Sequence[str], cells: Sequence[Cell]) -> list[str]:
    """Axes that vary, and the split if it does: what a reader looks for first before the others."""
    shown = {*axes, *(["split"] if len({cell.split for cell in cells}) > 1 else [])}
    return [axis for axis in _ORDER if axis in shown]


def _axes(cell: Cell) -> dict[str, str]:
    return {axis: axis_value(cell, axis) for axis in _USUAL_AXES}


def _usual(rows: Sequence[dict[str, str]]) -> dict[str, str]:
    """Axes of which most rows have one value, and that; hosts have no guest, and do not count there."""
    found = {}
    for axis in _USUAL_AXES:
        values = Counter(row[axis] for row in rows if (axis, row[axis]) != ("guest", NO_GUEST))
        if values and (most := values.most_common(1)[0])[1] >= _USUAL_SHARE * values.total():
            found[axis] = most[0]
    return found


def _head(cell: Cell, axes: Sequence[str], guest: str, usual: dict[str, str]) -> str:
    """The values of axes that are not the usual ones; a host has no guest to name."""
    names = {axis: axis_value(cell, axis) for axis in axes} | ({"guest": guest} if "guest" in axes else {})
    said = [name for axis, name in names.items() if name != usual.get(axis) and (axis, name) != ("guest", NO_GUEST)]
    return ", ".join(said)


def _first(axes: Sequence[str], usual: dict[str, str]) -> str:
    return listed([axis for axis in axes if axis not in usual])


def _unsaid(cells: Sequence[Cell], axes: Sequence[str], usual: dict[str, str]) -> str:
    """A sentence about values that rows do not say."""
    always = []
    for axis in _ORDER:
        absent = {"guest": NO_GUEST, "neighbour": NO_NEIGHBOUR}.get(axis)
        values = {getattr(cell, axis) for cell in cells} - {absent}
        if axis not in axes and len(values) == 1:
            always.append(f"{axis} {values.pop()}")
    mostly = [usual[axis] if axis == "neighbour" else f"{axis} {usual[axis]}" for axis in axes if axis in usual]
    said = f" All with {listed(always)}." if always else ""
    return f"{said} Where a row does not say otherwise: {listed(mostly)}." if mostly else said


def quantile_name(q: str) -> str:
    """``p99.9`` of 0.999, given as text."""
    digits = q.partition(".")[2].ljust(2, "0")
    return f"p{digits[:2].lstrip('0')}" + (f".{digits[2:]}" if digits[2:] else "")


def _three(point: MergedMeasurement | None) -> tuple[str, str, str]:
    """Average and p99 with their intervals over repetitions, and the latest."""
    if point is None:
        return EN_DASH, EN_DASH, EN_DASH
    p99 = _bound(point.histogram, "0.99")
    return (
        f"{decimals(point.histogram.avg_us)}{_over_runs(point, 'avg')}",
        f"{p99}{_over_runs(point, 'p99')}",
        number(point.histogram.max_us),
    )


def _over_runs(point: MergedMeasurement, what: Literal["avg", "p99"]) -> str:
    """A second line with the interval over repetitions, ends that are below 0 left at 0; empty when refused."""
    values = values_of_runs(point.repetitions, what)
    found = values if isinstance(values, Refused) else over_runs(values)
    if isinstance(found, Refused):
        return ""
    low, high = max(0.0, found.interval.low), found.interval.high
    return f"\n{_round(low)} to {_round(high)}"


def _round(us: float) -> str:
    return f"{us:,.0f}" if us >= 100 else decimals(us)


def _late(point: MergedMeasurement | None, latest_us: int) -> str:
    """How many wake-ups an hour are late at most, and how many were; why not, where that is refused."""
    if point is None:
        return EN_DASH
    counts = [later_than(each, latest_us) for each in point.repetitions]
    late = [each for each in counts if not isinstance(each, Refused)]
    if len(late) < len(counts):
        return f"{EN_DASH}\nbeyond the histogram"
    found = rate(late, [each.samples for each in point.repetitions], point.cell.interval_us)
    if isinstance(found, Refused):
        return f"{EN_DASH}\nruns differ"
    bound = at_most(1.0, found).at_most_per_hour
    shown = f"{bound:,.0f}" if bound >= 10 else f"{bound:.2g}"
    return f"≤ {shown}\n{number(found.late) if found.late else 'none'} late"


def _against(pair: HostGuest, judged: Judged) -> tuple[str, str, str]:
    if not pair.on_host or not pair.in_guest:
        return EN_DASH, EN_DASH, EN_DASH
    finding = judged.of(pair.on_host, pair.in_guest, "p99")
    return (*factors(pair.on_host, pair.in_guest, judged), called(finding))


def _as_measured(pair: HostGuest) -> tuple[str, str]:
    if not pair.on_host or not pair.in_guest:
        return EN_DASH, EN_DASH
    host, guest = pair.on_host, pair.in_guest
    return ratio_2dp(guest.histogram.avg_us, host.histogram.avg_us), ratio_2dp(guest.p99_us, host.p99_us)


def _told_quantiles(histograms: Sequence[Histogram]) -> list[str]:
    """p50, p99 and p99.9, and those beyond of which one of the runs has an interval."""
    most = max((each.samples for each in histograms), default=0)
    rare = [q for q in SHOWN if float(q) > float(_USUAL_QUANTILES[-1])]
    return [*_USUAL_QUANTILES, *(q for q in rare if samples_needed(float(q)) <= most)]


def _quantile(histogram: Histogram, q: str) -> str:
    found = quantile_estimate(histogram, float(q))
    if isinstance(found, QuantileEstimate):
        low, high = found.interval.low, found.interval.high
        return f"{number(found.value)}\n{low:,.0f} to {high:,.0f}" if low < high else f"{number(found.value)}\nexactly"
    return f"{_bound(histogram, q)}\nno interval"


def _bound(histogram: Histogram, q: str) -> str:
    """A quantile, or the histogram's end as a lower bound."""
    try:
        return number(quantile(histogram, float(q)))
    except QuantileBeyondOverflow:
        return f"≥ {number(histogram.limit_us)}"


def _deviation(histogram: Histogram) -> str:
    found = standard_deviation(histogram)
    return EN_DASH if isinstance(found, Refused) else decimals(found)


def _jitter(histogram: Histogram, shapes: bool) -> list[str]:
    """p99.9 - p0.1, full width at half maximum, and peaks; en dashes where they are refused."""
    if not shapes:
        try:
            return [number(quantile(histogram, 0.999) - quantile(histogram, 0.001))]
        except QuantileBeyondOverflow:
            return [EN_DASH]
    found, apart = widths(histogram), peaks(histogram)
    return [
        EN_DASH if isinstance(found.central, Refused) else number(found.central),
        EN_DASH if isinstance(found.half_maximum, Refused) else decimals(found.half_maximum),
        f"≥ {len(apart.peaks)}" if isinstance(apart, Peaks) else EN_DASH,
    ]
