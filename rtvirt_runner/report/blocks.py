"""What a view puts on the page: blocks of sentences, a figure and a table, and what all views say alike."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from rtvirt_runner.analysis.comparisons import MergedMeasurement
from rtvirt_runner.matrix.cell import Cell
from rtvirt_runner.report.format import decimals, number, quantile


@dataclass(frozen=True)
class TableRow:
    """One row: what it is of, what it says."""

    head: str
    values: tuple[str, ...]
    guest_uses_tcg: bool = False  # a guest without KVM
    reference: bool = False  # set apart from the others


@dataclass(frozen=True)
class ColumnGroup:
    """Columns under a common head, all on one clock."""

    head: str
    clock: str
    columns: int
    reference: bool = False  # set apart from the others
    guest_uses_tcg: bool = False  # a guest without KVM is among them


@dataclass(frozen=True)
class Block:
    """One comparison as it stands on the page."""

    title: str
    says: tuple[str, ...]
    figure: str  # SVG; empty: none
    caption: str  # of the figure
    heads: tuple[str, ...]  # of the columns after the rows' own and the clock's
    rows: tuple[TableRow, ...]
    text_columns: frozenset[int] = frozenset()  # those that hold words, by number
    groups: tuple[ColumnGroup, ...] = ()  # of all columns after the rows' own; they take the place of the clock's
    table: str = ""  # what the table holds; empty: latencies

    @property
    def begins(self) -> frozenset[int]:
        """The columns that begin a group after the first."""
        return frozenset(sum(each.columns for each in self.groups[:n]) for n in range(1, len(self.groups)))

    @property
    def referred(self) -> frozenset[int]:
        """The columns of groups that are there for reference."""
        clocks = itertools.chain.from_iterable([each.reference] * each.columns for each in self.groups)
        return frozenset(n for n, reference in enumerate(clocks) if reference)


def common_title(cell: Cell, axes: Sequence[str], *more: str) -> str:
    """What all of a comparison have in common, as far as it is not the same in the whole experiment."""
    return ", ".join([cell.board, f"split {cell.split}", *(str(getattr(cell, axis)) for axis in (*axes, *more))])


def avg_p99_max(point: MergedMeasurement) -> tuple[str, str, str]:
    """A point's latencies."""
    histogram = point.histogram
    return decimals(histogram.avg_us), quantile(point.summary.p99, histogram), number(histogram.max_us)
