"""Cells that --only names."""

import pytest
from fakes import catalogue, virtual_lab

from rtvirt_runner.catalogue import collection
from rtvirt_runner.catalogue.checked_yaml import InputError
from rtvirt_runner.matrix.load import load_matrix
from rtvirt_runner.matrix.select import select_cells

MATRIX = load_matrix(collection.matrix_path("first"), virtual_lab(), catalogue())
BOARDS = list(dict.fromkeys(cell.board for cell in MATRIX.cells))


def test_without_a_name_all_cells_are_chosen() -> None:
    assert select_cells(MATRIX, []) == MATRIX.cells


def test_boards_add_up_in_the_order_of_the_matrix() -> None:
    assert select_cells(MATRIX, [BOARDS[0]]) == tuple(cell for cell in MATRIX.cells if cell.board == BOARDS[0])
    assert select_cells(MATRIX, reversed(BOARDS)) == MATRIX.cells


def test_a_board_and_an_experiment_restrict_each_other() -> None:
    idle = next(each for each in MATRIX.experiments if each.name == "idle")
    found = select_cells(MATRIX, ["idle", BOARDS[0]])
    assert set(found) == {cell for cell in idle.cells if cell.board == BOARDS[0]} != set()


def test_a_cell_is_named_by_its_id() -> None:
    cell = MATRIX.cells[3]
    assert select_cells(MATRIX, [cell.id]) == (cell,)
    assert select_cells(MATRIX, [cell.id, next(each for each in BOARDS if each != cell.board)]) == ()


def test_an_unknown_name_is_answered_with_the_closest() -> None:
    with pytest.raises(
        InputError, match=r"^--only: unknown board, .* of matrix first 'idel', .* did you mean 'idle'\?$"
    ):
        select_cells(MATRIX, ["idel"])
