"""The traces that a matrix asks for: which of them a run still has to make."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from rtvirt_runner.matrix.cell import Cell
from rtvirt_runner.matrix.load import Matrix
from rtvirt_runner.matrix.results import Record, ResultsTree


@dataclass(frozen=True)
class AskedTrace:
    """A trace that is to be made of a cell.

    ``threshold``: as in Matrix.traces. ``from_record``: whether the cell's record is its run without a trace; one of a
    sealed machine is not, since the traced run is on a provisioned board.
    """

    cell: Cell
    threshold: int | str
    from_record: bool

    def as_dict(self) -> dict[str, Any]:
        """Plain values for Ansible."""
        return {"cell": self.cell.as_dict(), "threshold": self.threshold, "from_record": self.from_record}


def traces_left(matrix: Matrix, tree: ResultsTree, cells: Iterable[Cell]) -> list[AskedTrace]:
    """The traces that the matrix asks for of these cells and that have not been made, in the cells' order."""
    made = tree.traces(matrix.name)
    left = [cell for cell in cells if cell in matrix.traces and cell.id not in made]
    return [AskedTrace(cell, matrix.traces[cell], not _is_sealed(matrix, tree, cell)) for cell in left]


def _is_sealed(matrix: Matrix, tree: ResultsTree, cell: Cell) -> bool:
    found = tree.find(matrix.name, cell)
    return isinstance(found, Record) and bool(found.output) and bool(found.system.get("sealed"))
