"""Cells of a matrix that are named by their board, their experiment, or themselves."""

from __future__ import annotations

from collections.abc import Iterable

from rtvirt_runner.catalogue import checked_yaml
from rtvirt_runner.matrix.cell import Cell
from rtvirt_runner.matrix.load import Matrix


def select_cells(matrix: Matrix, only: Iterable[str]) -> tuple[Cell, ...]:
    """The cells that the names stand for, in the matrix's order; all of them without a name.

    A name is that of a board, of an experiment, or of a cell (its id). Names of one kind add up, and those of two
    kinds restrict each other: a board and an experiment stand for the experiment's cells on that board. Raises
    InputError for a name that is none of these.
    """
    kinds: list[dict[str, set[str]]] = [{}, {}, {}]  # of boards, experiments and cells: name -> ids
    for cell in matrix.cells:
        kinds[0].setdefault(cell.board, set()).add(cell.id)
        kinds[2][cell.id] = {cell.id}
    for experiment in matrix.experiments:
        kinds[1][experiment.name] = {cell.id for cell in experiment.cells}
    chosen: dict[int, set[str]] = {}
    for name in only:
        kind = next((number for number, ids in enumerate(kinds) if name in ids), None)
        if kind is None:
            # Cells have long names, and there are many: they are not listed.
            what = f"board, experiment or cell of matrix {matrix.name}"
            checked_yaml.known(name, [*kinds[0], *kinds[1]], what, "--only")
        else:
            chosen.setdefault(kind, set()).update(kinds[kind][name])
    return tuple(cell for cell in matrix.cells if all(cell.id in ids for ids in chosen.values()))
