"""The matrix that is stored with its results, and reports that need nothing else."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from fakes import catalogue, cyclictest_json, done, system, virtual_lab

from rtvirt_runner.catalogue import collection
from rtvirt_runner.catalogue.checked_yaml import InputError
from rtvirt_runner.cli import main as cli
from rtvirt_runner.matrix.budget import Budget, Limits
from rtvirt_runner.matrix.cell import Cell
from rtvirt_runner.matrix.load import Matrix, load_matrix
from rtvirt_runner.matrix.results import SCHEMA_VERSION, ResultsError, ResultsTree
from rtvirt_runner.matrix.stored import read_stored, store_matrix, stored_matrices

LAB = virtual_lab()


def load(name: str) -> Matrix:
    return load_matrix(collection.matrix_path(name), LAB, catalogue())


MATRIX = load("first")


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ResultsTree:
    """Results with a stored matrix and two cells, and no inventory that could be read."""

    def no_inventory(path: Path) -> None:
        raise AssertionError("the inventory was read")

    monkeypatch.setattr(cli, "read_inventory", no_inventory)
    tree = ResultsTree(tmp_path / "results")
    store_matrix(tree, MATRIX, LAB)
    for cell in [cell for cell in MATRIX.cells if not cell.program][:2]:
        measure(tree, "first", cell)
    return tree


def measure(tree: ResultsTree, matrix_name: str, cell: Cell) -> None:
    tree.write_record(matrix_name, cell, done(), system(cell), {"cyclictest.json": cyclictest_json({5: cell.loops})})


def stored_file(tree: ResultsTree, name: str = "first") -> Path:
    return tree.root / name / "matrix.json"


def test_a_matrix_comes_back_as_it_was(tree: ResultsTree) -> None:
    found = read_stored(tree.root / "first")
    assert found.matrix == MATRIX
    assert found.lab.boards == {cell.board: LAB.boards[cell.board] for cell in MATRIX.cells}
    values = json.loads(stored_file(tree).read_text())
    assert values["schema_version"] == SCHEMA_VERSION
    assert values["source"] == MATRIX.path.read_text()
    assert values["written_at"].startswith("20")
    assert {"rtvirt", "commit", "dirty", "ansible_core", "python"} == set(values["versions"])
    assert values["versions"]["ansible_core"]


def test_budgets_come_back(tree: ResultsTree) -> None:
    budget = Budget("mine", Limits(500, 90), 60, {"ecu": Limits(300, 90)})
    assert store_matrix(tree, replace(MATRIX, budgets=(budget,)), LAB)
    (found,) = read_stored(tree.root / "first").matrix.budgets
    assert (found, dict(found.workloads)) == (budget, budget.workloads)


def test_the_same_matrix_is_written_once_and_a_changed_one_again(tree: ResultsTree) -> None:
    before = stored_file(tree).stat().st_mtime_ns
    assert not store_matrix(tree, MATRIX, LAB)
    assert stored_file(tree).stat().st_mtime_ns == before
    assert store_matrix(tree, Matrix("first", "Another title", MATRIX.path, MATRIX.experiments), LAB)
    assert read_stored(tree.root / "first").matrix.title == "Another title"


def test_a_damaged_one_is_one_sentence_and_is_written_again(tree: ResultsTree) -> None:
    whole = json.loads(stored_file(tree).read_text())
    damages = ["", "[]", "{}", json.dumps(whole | {"cells": []}), json.dumps(whole | {"boards": {"x": {}}})]
    damages += [json.dumps(whole | {"experiments": [{"name": "x"}]}), json.dumps(whole | {"cells": [{"id": 1}]})]
    for damage in damages:
        stored_file(tree).write_text(damage)
        with pytest.raises(InputError, match=r"matrix\.json is damaged") as told:
            read_stored(tree.root / "first")
        assert "\n" not in str(told.value)
    assert store_matrix(tree, MATRIX, LAB)
    assert read_stored(tree.root / "first").matrix == MATRIX


def test_one_of_a_newer_version_is_refused_and_left_alone(
    tree: ResultsTree, capsys: pytest.CaptureFixture[str]
) -> None:
    newer = json.dumps({"schema_version": SCHEMA_VERSION + 1, "anything": 1})
    stored_file(tree).write_text(newer)
    for use in (lambda: read_stored(tree.root / "first"), lambda: store_matrix(tree, MATRIX, LAB)):
        with pytest.raises(ResultsError, match="was written by a newer rtvirt"):
            use()
    assert cli.main(["report", "--results", str(tree.root)]) == 2
    assert "was written by a newer rtvirt" in capsys.readouterr().err
    assert stored_file(tree).read_text() == newer


@pytest.mark.parametrize("copied", ["results", "results/first"])
def test_a_copied_folder_is_reported_without_inventory_and_matrix(
    copied: str, tree: ResultsTree, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    elsewhere = tmp_path / "elsewhere"
    shutil.copytree(tmp_path / copied, elsewhere)
    tree.root.rename(tmp_path / "gone")
    assert cli.main(["report", "--results", str(elsewhere)]) == 0
    page = Path(capsys.readouterr().out.strip())
    assert page.is_relative_to(elsewhere)
    assert MATRIX.title in page.read_text()
    assert len(page.with_name("cells.csv").read_text().splitlines()) == 3
    assert cli.main(["status", "--results", str(elsewhere)]) == 0
    assert MATRIX.title[:30] in capsys.readouterr().out


def test_of_several_matrices_one_is_named(tree: ResultsTree, capsys: pytest.CaptureFixture[str]) -> None:
    store_matrix(tree, load("smoke"), LAB)
    assert sorted(stored_matrices(tree.root)) == ["first", "smoke"]
    measure(tree, "smoke", load("smoke").cells[0])
    for options, title in (([], MATRIX.title), (["--matrix", "smoke"], load("smoke").title)):
        assert cli.main(["status", "--results", str(tree.root), *options]) == 0
        assert title[:30] in capsys.readouterr().out
    shutil.rmtree(tree.root / "first")
    store_matrix(tree, load("paper"), LAB)
    assert cli.main(["report", "--results", str(tree.root)]) == 2
    assert "holds the matrices paper, smoke; say which one with --matrix" in capsys.readouterr().err
