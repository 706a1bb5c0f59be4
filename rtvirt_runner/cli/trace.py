"""``rtvirt trace``: one late wake-up of one cell, traced on board and guest, and its cause."""

from __future__ import annotations

import argparse
from pathlib import Path

from rtvirt_runner.catalogue import checked_yaml, collection
from rtvirt_runner.catalogue.checked_yaml import InputError, format_value
from rtvirt_runner.matrix.cell import BOTH, Cell
from rtvirt_runner.matrix.load import Matrix
from rtvirt_runner.matrix.results import ResultsTree
from rtvirt_runner.run.playbooks import Outcome, run_playbook


def traced_cell(matrix: Matrix, board: str, cell_id: str | None, inventory: Path) -> Cell:
    """The cell of a matrix that is to be traced on a board: the one named, or the first in a guest, or the first.

    Raises InputError, one sentence, where there is none.
    """
    boards = list(dict.fromkeys(cell.board for cell in matrix.cells))
    checked_yaml.known(board, boards, f"board of matrix {matrix.name}", str(inventory))
    cells = [cell for cell in matrix.cells if cell.board == board and cell.place != BOTH]
    if not cells or any(cell.id == cell_id for cell in matrix.cells if cell.place == BOTH):
        raise InputError(
            f"{cell_id or board}: a cell whose place is {BOTH} is not traced, expected one on the host or in the "
            "guest; 'rtvirt plan' shows them all."
        )
    if cell_id is None:
        return next((cell for cell in cells if cell.place == "guest"), cells[0])
    for cell in cells:
        if cell.id == cell_id:
            return cell
    raise InputError(
        f"--cell is {format_value(cell_id)}, expected a cell of matrix {matrix.name} on board {board}, such as "
        f"{cells[0].id}; 'rtvirt plan' shows them all."
    )


def trace(
    matrix: Matrix, tree: ResultsTree, cell: Cell, threshold: int | str, inventory: Path, args: argparse.Namespace
) -> Outcome:
    """Trace a cell; what is stored of it is then among the tree's traces of the cell."""
    extravars = {
        "rtvirt_matrix": str(matrix.path),
        "rtvirt_results_dir": str(tree.root),
        "rtvirt_trace_cell": cell.id,
        "rtvirt_trace_threshold": str(threshold),
    }
    return run_playbook(
        collection.TRACE,
        inventory,
        extravars
        | ({"rtvirt_keep_boards": True} if args.keep_boards else {})
        | ({"rtvirt_sealed": False} if args.over_ssh else {}),
        log_dir=tree.root / matrix.name / "log",
        verbosity=args.verbose,
        limit=[cell.board],
    )
