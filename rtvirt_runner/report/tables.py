"""Tables of latencies: what varies names a row, in a first column that stays in sight."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from rtvirt_runner.analysis.comparisons import HostGuest
from rtvirt_runner.analysis.histogram import Histogram, summarize
from rtvirt_runner.analysis.measurement import Measurement
from rtvirt_runner.catalogue.guests import NO_GUEST
from rtvirt_runner.matrix.cell import Cell
from rtvirt_runner.report.blocks import TableRow
from rtvirt_runner.report.format import EN_DASH, decimals, listed, number, quantile, ratio_1dp, unit

# Axes of which most rows may have one value, which then need not be said in each.
_USUAL_AXES = ("split", "guest", "kernel")
_USUAL_SHARE = 0.6
# Axes that are shown beside board, place and repetition, where their values vary.
_VARIED_AXES = ("kernel", "tuning", "workload", "guest")


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


def pair_table(pairs: Sequence[HostGuest], clock: str) -> Table:
    """Host against guest, a row per point of the matrix."""
    cells = [pair.cell for pair in pairs]
    axes = _ordered(["workload", *varying(cells)], cells)
    usual = _usual([{"split": pair.cell.split, "kernel": pair.cell.kernel, "guest": pair.guest} for pair in pairs])
    rows: dict[str, list[TableRow]] = {}
    for pair in pairs:
        head = _head(pair.cell, axes, pair.guest, usual)
        values = (*_three(pair.host_us), *_three(pair.guest_us), *_ratios(pair))
        rows.setdefault(pair.cell.board, []).append(TableRow(head, values, pair.guest_uses_tcg))
    return Table(
        caption=(
            f"Wake-up latency in {unit(clock)}, host against guest on the same physical core, repetitions "
            f"together.{_unsaid(cells, axes, usual)}"
        ),
        clock=clock,
        first=_first(axes, usual),
        heads=("avg", "p99", "max", "avg", "p99", "max", "avg", "max"),
        boards=tuple((board, tuple(those)) for board, those in rows.items()),
        groups=(HeadGroup("host", 3), HeadGroup("guest", 3), HeadGroup("guest / host", 2)),
    )


def cell_table(measurements: Sequence[Measurement], axes: Sequence[str], clock: str) -> Table:
    """A row per cell with all its numbers; columns that would say the same in each row are left to the caption."""
    cells = [each.cell for each in measurements]
    shown = [*_ordered(axes, cells), "place"]
    usual = _usual([{axis: str(getattr(cell, axis)) for axis in _USUAL_AXES} for cell in cells])
    repeated = len({cell.repetition for cell in cells}) > 1
    both_ways = len({each.sealed for each in measurements}) > 1
    overflowed = any(each.histogram and each.histogram.overflows for each in measurements)
    rows: dict[str, list[TableRow]] = {}
    for each in measurements:
        if (histogram := each.histogram) is None:
            continue
        summary = summarize(histogram)
        head = _head(each.cell, shown, each.cell.guest, usual)
        values = [str(each.cell.repetition)] if repeated else []
        values += ["sealed" if each.sealed else "SSH"] if both_ways else []
        values += [number(summary.samples), number(summary.min), decimals(summary.avg)]
        values += [quantile(those, histogram) for those in (summary.p50, summary.p99, summary.p999)]
        values += [number(summary.max), *([number(summary.overflows)] if overflowed else [])]
        rows.setdefault(each.cell.board, []).append(TableRow(head, tuple(values), each.guest_uses_tcg))
    ways = [] if both_ways else ["all sealed" if measurements[0].sealed else "all over SSH"]
    ways += [] if overflowed else ["no sample beyond the histogram"]
    return Table(
        caption=(
            f"The numbers of every cell, latencies in {unit(clock)}{''.join(f'; {each}' for each in ways)}."
            f"{_unsaid(cells, shown, usual)}"
        ),
        clock=clock,
        first=_first(shown, usual),
        heads=(
            *(["rep."] if repeated else []),
            *(["way"] if both_ways else []),
            *("samples", "min", "avg", "p50", "p99", "p99.9", "max"),
            *(["overflows"] if overflowed else []),
        ),
        boards=tuple((board, tuple(those)) for board, those in rows.items()),
    )


def _ordered(axes: Sequence[str], cells: Sequence[Cell]) -> list[str]:
    """Axes that vary, and the split if it does: what a reader looks for first before the others."""
    shown = {*axes, *(["split"] if len({cell.split for cell in cells}) > 1 else [])}
    return [axis for axis in ("workload", "tuning", *_USUAL_AXES) if axis in shown]


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
    names = {axis: str(getattr(cell, axis)) for axis in axes} | ({"guest": guest} if "guest" in axes else {})
    said = [name for axis, name in names.items() if name != usual.get(axis) and (axis, name) != ("guest", NO_GUEST)]
    return ", ".join(said)


def _first(axes: Sequence[str], usual: dict[str, str]) -> str:
    return listed([axis for axis in axes if axis not in usual])


def _unsaid(cells: Sequence[Cell], axes: Sequence[str], usual: dict[str, str]) -> str:
    """A sentence about values that rows do not say."""
    always = []
    for axis in ("workload", "tuning", *_USUAL_AXES):
        values = {getattr(cell, axis) for cell in cells} - ({NO_GUEST} if axis == "guest" else set())
        if axis not in axes and len(values) == 1:
            always.append(f"{axis} {values.pop()}")
    mostly = [f"{axis} {usual[axis]}" for axis in axes if axis in usual]
    said = f" All with {listed(always)}." if always else ""
    return f"{said} Where a row does not say otherwise: {listed(mostly)}." if mostly else said


def _three(histogram: Histogram | None) -> tuple[str, str, str]:
    if histogram is None:
        return EN_DASH, EN_DASH, EN_DASH
    p99 = summarize(histogram).p99
    return decimals(histogram.avg_us), quantile(p99, histogram), number(histogram.max_us)


def _ratios(pair: HostGuest) -> tuple[str, str]:
    if not pair.host_us or not pair.guest_us:
        return EN_DASH, EN_DASH
    return ratio_1dp(pair.guest_us.avg_us, pair.host_us.avg_us), ratio_1dp(pair.guest_us.max_us, pair.host_us.max_us)
