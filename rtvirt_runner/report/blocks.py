"""Blocks of a view: sentences, a figure and a table; and texts that all views share."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from rtvirt_runner.analysis.comparisons import MergedMeasurement
from rtvirt_runner.catalogue.neighbours import NO_NEIGHBOUR
from rtvirt_runner.matrix.cell import Cell
from rtvirt_runner.report.figures.drawing import Drawing
from rtvirt_runner.report.format import decimals, number, quantile


@dataclass(frozen=True)
class TableRow:
    """One row of a table: its heading and its cells."""

    head: str
    values: tuple[str, ...]
    guest_uses_tcg: bool = False  # a guest without KVM
    reference: bool = False  # for reference, drawn apart


@dataclass(frozen=True)
class ColumnGroup:
    """Columns under a common heading, all on one clock."""

    head: str
    clock: str
    columns: int
    reference: bool = False  # for reference, drawn apart
    guest_uses_tcg: bool = False  # a guest without KVM is among them


@dataclass(frozen=True)
class Block:
    """One comparison on the page."""

    title: str
    says: tuple[str, ...]
    figure: Drawing | None
    caption: str  # of the figure
    heads: tuple[str, ...]  # of the columns after that of the row headings and that of the clock
    rows: tuple[TableRow, ...]
    text_columns: frozenset[int] = frozenset()  # indexes of columns with text
    groups: tuple[
        ColumnGroup, ...
    ] = ()  # of all columns after that of the row headings; with groups there is no column of the clock
    table: str = ""  # content of the table; empty: latencies
    by_cell: bool = False  # of one cell, rather than with its repetitions together

    @property
    def begins(self) -> frozenset[int]:
        """Indexes of columns that begin a group, except the first group."""
        return frozenset(sum(each.columns for each in self.groups[:n]) for n in range(1, len(self.groups)))

    @property
    def referred(self) -> frozenset[int]:
        """Indexes of columns in reference groups."""
        clocks = itertools.chain.from_iterable([each.reference] * each.columns for each in self.groups)
        return frozenset(n for n, reference in enumerate(clocks) if reference)


def common_title(cell: Cell, axes: Sequence[str], *more: str) -> str:
    """Title of a comparison: board, split, and the given axes, which are constant in it."""
    return ", ".join([cell.board, f"split {cell.split}", *(axis_value(cell, axis) for axis in (*axes, *more))])


def axis_value(cell: Cell, axis: str) -> str:
    """A cell's value of an axis, as it stands beside values of other axes."""
    value = str(getattr(cell, axis))
    if axis == "neighbour":
        return "no neighbour" if value == NO_NEIGHBOUR else f"neighbour {value}"
    return value


def avg_p99_max(point: MergedMeasurement) -> tuple[str, str, str]:
    """Average, 99th percentile and maximum of a point in us, formatted."""
    histogram = point.histogram
    return decimals(histogram.avg_us), quantile(point.summary.p99, histogram), number(histogram.max_us)
