"""The traces that a matrix asks for: which of them a run still has to make."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

from rtvirt_runner.matrix.cell import Cell
from rtvirt_runner.matrix.load import Matrix
from rtvirt_runner.matrix.results import BadRecord, Record, ResultsTree


@dataclass(frozen=True)
class AskedTrace:
    """A trace that is to be made of a cell.

    ``threshold``: as in Matrix.traces. ``from_record``: whether the cell's record is its run without a trace; one that
    was measured another way, on a sealed machine or over SSH, than the cell is traced is not.
    """

    cell: Cell
    threshold: int | str
    from_record: bool

    def as_dict(self) -> dict[str, Any]:
        """Plain values for Ansible."""
        return {"cell": self.cell.as_dict(), "threshold": self.threshold, "from_record": self.from_record}


def traces_left(
    matrix: Matrix, tree: ResultsTree, cells: Iterable[Cell], sealed: Collection[Cell] = ()
) -> list[AskedTrace]:
    """The traces that the matrix asks for of these cells and that have not been made, in the cells' order.

    ``sealed``: the cells that are traced on sealed machines.
    """
    made = tree.traces(matrix.name)
    left = [cell for cell in cells if cell in matrix.traces and cell.id not in made]
    return [
        AskedTrace(cell, matrix.traces[cell], _is_alike(tree.find(matrix.name, cell), cell in sealed)) for cell in left
    ]


def _is_alike(found: Record | BadRecord | None, sealed: bool) -> bool:
    """Whether a cell was measured as it is traced; one that is not measured yet will be."""
    if not isinstance(found, Record) or found.output is None:
        return True
    return bool(found.system.get("sealed")) == sealed
