"""What an exact comparison says of two measurements of a cell."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fakes import catalogue, cyclictest_json, done, virtual_lab

from rtvirt_runner.analysis.exact import Bin, ExactRow, compare_exactly
from rtvirt_runner.analysis.measurement import Measurement, read_measurement
from rtvirt_runner.catalogue import collection
from rtvirt_runner.matrix.cell import Cell
from rtvirt_runner.matrix.load import load_matrix
from rtvirt_runner.matrix.results import ResultsTree

SMOKE = load_matrix(collection.matrix_path("smoke"), virtual_lab(), catalogue())
CELL, OTHER, *_ = (replace(cell, loops=1000) for cell in SMOKE.cells if cell.workload == "idle")
INPUTS: dict[str, Any] = {"key": "1", "kernel": "aa", "queue": "bb"}
BINS = {50: 900, 60: 100}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


def measured(
    folder: Path, sealed: dict[str, Any] | None = INPUTS, bins: dict[int, int] = BINS, cell: Cell = CELL
) -> list[Measurement]:
    """One cell's measurement, written to a results folder of its own and read again."""
    tree = ResultsTree(folder / str(len(list(folder.iterdir()))))
    tree.write_record("m", cell, done(), {"board": {}, "sealed": sealed}, {"cyclictest.json": cyclictest_json(bins)})
    return [read_measurement(record) for record in tree.load_records("m")]


def only(rows: list[ExactRow]) -> ExactRow:
    (row,) = rows
    return row


def test_the_same_inputs_and_bins_are_the_same_and_the_same_inputs_with_other_bins_must_not_be(folder: Path) -> None:
    assert only(compare_exactly(measured(folder), measured(folder))).verdict == "same"
    broken = only(compare_exactly(measured(folder), measured(folder, bins={50: 899, 60: 101})))
    assert broken.verdict == "broken"
    assert broken.bins == (Bin(50, 900, 899), Bin(60, 100, 101))
    assert broken.moved == 1


def test_inputs_that_differ_are_named_with_the_bins_or_without_any(folder: Path) -> None:
    kernel = {**INPUTS, "key": "2", "kernel": "cc"}
    changed = only(compare_exactly(measured(folder), measured(folder, kernel, {50: 900, 70: 100})))
    assert (changed.verdict, changed.inputs, changed.moved) == ("changed", ("kernel",), 100)
    assert only(compare_exactly(measured(folder), measured(folder, kernel))).verdict == "other inputs, same bins"


def test_a_cell_whose_definition_changed_is_found_by_its_axes(folder: Path) -> None:
    redefined = replace(CELL, settings=("rt_throttling",), kernel_params=("isolcpus=1",))
    assert redefined.id != CELL.id
    row = only(compare_exactly(measured(folder), measured(folder, bins={50: 1000}, cell=redefined)))
    assert (row.cell_id, row.verdict) == (CELL.id, "changed")
    assert row.inputs == ("kernel_params", "settings")


def test_a_cell_of_one_side_or_measured_over_ssh_cannot_be_compared(folder: Path) -> None:
    assert only(compare_exactly(measured(folder), [])).verdict == "only here"
    assert [row.verdict for row in compare_exactly(measured(folder), measured(folder, cell=OTHER))] == ["only here"] * 2
    assert only(compare_exactly(measured(folder), measured(folder, sealed=None))).verdict == "not sealed"
