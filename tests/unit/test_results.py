"""The results folder: done or not, and what is left when a writer dies."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NoReturn

import pytest
from fakes import VARS, catalogue, done, failed, measure, system, virtual_lab

from rtvirt_runner.matrix import results
from rtvirt_runner.matrix.cell import Cell
from rtvirt_runner.matrix.load import load_matrix
from rtvirt_runner.matrix.results import SCHEMA_VERSION, BadRecord, Record, ResultsError, ResultsTree

CELLS = load_matrix(VARS / "matrix_smoke.yml", virtual_lab(), catalogue()).cells
CELL, GUEST_CELL = CELLS[0], CELLS[2]


@pytest.fixture
def tree(tmp_path: Path) -> ResultsTree:
    return ResultsTree(tmp_path / "results")


def everything(tree: ResultsTree) -> list[str]:
    return sorted(path.name for path in tree.root.rglob("*"))


def test_a_record_holds_the_cell_the_state_the_status_and_the_raw_files(tree: ResultsTree) -> None:
    raw = {"cyclictest.json": "{}", "dmesg.txt": b"\xff"}
    path = tree.write_record("smoke", CELL, done(ssh_commands=2), system(CELL), raw)
    assert path == tree.root / "smoke" / CELL.board / CELL.id
    names = ["cell.json", "cyclictest.json", "dmesg.txt", "status.json", "system.json"]
    assert sorted(file.name for file in path.iterdir()) == names
    (record,) = tree.load_records("smoke")
    assert (record.cell, record.status, record.system) == (CELL, done(ssh_commands=2), system(CELL))
    assert record.raw("cyclictest.json") == "{}"
    assert record.raw("dmesg.txt") == "\ufffd"
    assert record.raw("absent.txt") is None


def test_a_file_of_the_record_before_is_kept_without_being_written(tree: ResultsTree) -> None:
    path = tree.write_record("smoke", CELL, failed("It is not at its end."), {}, {"dmesg.txt": b"\xff" * 100})
    before = (path / "dmesg.txt").stat()
    tree.write_record("smoke", CELL, failed("It is."), {}, {"dmesg.txt": path / "dmesg.txt"})
    after = (path / "dmesg.txt").stat()
    assert (after.st_ino, after.st_nlink) == (before.st_ino, 1)
    assert (path / "dmesg.txt").read_bytes() == b"\xff" * 100
    with pytest.raises(ResultsError, match="No such file or directory"):
        tree.write_record("smoke", CELL, failed("It is."), {}, {"dmesg.txt": path / "none.txt"})


def test_only_a_done_cell_is_done(tree: ResultsTree) -> None:
    assert tree.pending("smoke", CELLS) == list(CELLS)
    measure(tree, "smoke", CELL)
    tree.write_record("smoke", GUEST_CELL, failed("The guest did not boot."), {}, {})
    assert tree.is_done("smoke", CELL)
    assert not tree.is_done("other", CELL)
    assert tree.pending("smoke", CELLS) == [cell for cell in CELLS if cell != CELL]


def test_a_record_of_an_expected_cell_has_that_cell_and_is_judged_as_without(tree: ResultsTree) -> None:
    path = measure(tree, "smoke", CELL) / "cell.json"
    (record,) = tree.read("smoke", CELLS)
    assert isinstance(record, Record) and record.cell is CELL
    values = json.loads(path.read_text(encoding="utf-8"))
    for wrong in ({"loops": float(CELL.loops)}, {"repetition": True}, {"interval_us": CELL.interval_us + 1}):
        path.write_text(json.dumps(values | wrong), encoding="utf-8")
        (bad,) = tree.read("smoke", CELLS)
        assert isinstance(bad, BadRecord) and [bad] == tree.read("smoke"), wrong


@pytest.mark.parametrize(
    "status",
    ["", "{", "[]", '{"status": "done"}', json.dumps({"schema_version": SCHEMA_VERSION, "status": "done"})],
    ids=["empty", "cut off", "no object", "no schema", "no cell id"],
)
def test_a_damaged_status_is_not_done_and_is_measured_again(status: str, tree: ResultsTree) -> None:
    (measure(tree, "smoke", CELL) / "status.json").write_text(status, encoding="utf-8")
    assert not tree.is_done("smoke", CELL)
    assert tree.load_records("smoke") == []
    measure(tree, "smoke", CELL)
    assert tree.is_done("smoke", CELL)


def test_a_record_under_the_wrong_id_is_not_done(tree: ResultsTree) -> None:
    measure(tree, "smoke", GUEST_CELL).rename(tree.record_path("smoke", CELL))
    assert not tree.is_done("smoke", CELL)
    assert tree.load_records("smoke") == []


def test_a_failed_record_is_replaced(tree: ResultsTree) -> None:
    tree.write_record("smoke", CELL, failed("The board went away."), {}, {"console.log": "..."})
    path = measure(tree, "smoke", CELL)
    assert tree.is_done("smoke", CELL)
    assert not (path / "console.log").exists()
    assert [name for name in everything(tree) if name.startswith(".")] == []


def test_a_done_record_is_never_overwritten(tree: ResultsTree) -> None:
    path = measure(tree, "smoke", CELL)
    before = {file: file.stat().st_mtime_ns for file in path.iterdir()}
    assert tree.write_record("smoke", CELL, failed("too late"), {}, {"cyclictest.json": "other"}) == path
    assert {file: file.stat().st_mtime_ns for file in path.iterdir()} == before
    assert tree.is_done("smoke", CELL)


def test_a_record_of_a_newer_version_is_left_alone(tree: ResultsTree) -> None:
    status = measure(tree, "smoke", CELL) / "status.json"
    newer = json.dumps({"schema_version": SCHEMA_VERSION + 1, "status": "done"})
    status.write_text(newer, encoding="utf-8")
    with pytest.raises(ResultsError, match="written by a newer rtvirt"):
        measure(tree, "smoke", CELL)
    assert status.read_text(encoding="utf-8") == newer


@pytest.mark.parametrize("name", ["status.json", "cell.json", "../x", "a/b", ".hidden", ""])
def test_an_unusable_name_of_a_raw_file_is_refused(name: str, tree: ResultsTree) -> None:
    with pytest.raises(ResultsError, match="expected a plain file name"):
        tree.write_record("smoke", CELL, done(), {}, {name: "x"})


def test_what_is_no_record_is_not_read(tree: ResultsTree) -> None:
    for name in ("report/index.html", "log/run.log", f"{CELL.board}/notes/status.json"):
        path = tree.root / "smoke" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}", encoding="utf-8")
    assert tree.load_records("smoke") == []


def killed_while(work: Callable[[], object]) -> int:
    """Run ``work`` in a process of its own, which dies without cleaning up; return its number."""
    child = os.fork()
    if child == 0:
        try:
            work()
        finally:
            os._exit(1)
    os.waitpid(child, 0)
    return child


def dying_at(step: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the writer die when it comes to a step: a file half written, or one of the two renames."""

    def die(*_: object) -> NoReturn:
        os._exit(9)

    if step == "write":
        monkeypatch.setattr(results.os, "fsync", die)
    elif step == "first rename":
        monkeypatch.setattr(Path, "rename", die)
    else:
        rename = Path.rename

        def second(self: Path, target: Path) -> Path:
            return die() if self.name.startswith(".partial") else rename(self, target)

        monkeypatch.setattr(Path, "rename", second)


@pytest.mark.parametrize("step", ["write", "first rename", "second rename"])
@pytest.mark.parametrize("had_failed", [False, True])
def test_a_killed_writer_leaves_no_half_record(
    step: str, had_failed: bool, tree: ResultsTree, monkeypatch: pytest.MonkeyPatch
) -> None:
    if had_failed:
        tree.write_record("smoke", CELL, failed("The board went away."), {}, {})

    def write() -> Cell:
        dying_at(step, monkeypatch)
        measure(tree, "smoke", CELL)
        return CELL

    killed_while(write)
    assert any(path.name.startswith(".partial-") for path in tree.root.rglob("*"))
    whole = had_failed and step != "second rename"
    assert [record.status.status for record in tree.load_records("smoke")] == (["failed"] if whole else [])

    measure(tree, "smoke", GUEST_CELL)  # any later writer clears up
    assert [name for name in everything(tree) if name.startswith(".")] == []
    measure(tree, "smoke", CELL)
    assert tree.is_done("smoke", CELL)


def test_a_writer_waits_for_one_that_lives(tree: ResultsTree) -> None:
    measure(tree, "smoke", GUEST_CELL)
    at_work = tree.root / "smoke" / CELL.board / f".partial-{GUEST_CELL.id}"
    at_work.mkdir()
    with (tree.root / "smoke" / "lock").open() as lock, ThreadPoolExecutor() as pool:
        fcntl.flock(lock, fcntl.LOCK_EX)
        other = pool.submit(measure, tree, "smoke", CELL)
        with pytest.raises(TimeoutError):
            other.result(timeout=0.5)
        assert at_work.is_dir()
        fcntl.flock(lock, fcntl.LOCK_UN)
        assert other.result().is_dir()
    assert not at_work.exists()


def test_the_order_of_a_sealed_machine_is_kept_once_and_is_no_record(tree: ResultsTree) -> None:
    measure(tree, "smoke", CELL)
    tree.keep_order("smoke", "0a1b", {"cells": [1]})
    tree.keep_order("smoke", "0a1b", {"cells": [2]})
    assert tree.load_order("smoke", "0a1b") == {"cells": [1]}
    assert tree.load_order("smoke", "2c3d") == {}
    assert [path.name for path in (tree.root / "smoke" / "sealed").iterdir()] == ["0a1b.json"]
    assert [record.cell for record in tree.load_records("smoke")] == [CELL]


@pytest.mark.parametrize("name", [".partial-2c3d.json", ".partial-2c3d-123"])  # of an older version
def test_what_a_killed_writer_left_of_an_order_is_cleared(name: str, tree: ResultsTree) -> None:
    tree.keep_order("smoke", "0a1b", {})
    left = tree.root / "smoke" / "sealed" / name
    left.write_text("{")
    measure(tree, "smoke", CELL)
    assert not left.exists()


def test_an_order_of_an_older_version_is_read_and_one_of_a_newer_is_refused(tree: ResultsTree) -> None:
    tree.keep_order("smoke", "0a1b", {"cells": [1]})
    path = tree.root / "smoke" / "sealed" / "0a1b.json"
    assert json.loads(path.read_text()) == {"schema_version": SCHEMA_VERSION, "cells": [1]}
    path.write_text('{"cells": [2]}')  # before files had a schema version
    assert tree.load_order("smoke", "0a1b") == {"cells": [2]}
    path.write_text(json.dumps({"schema_version": SCHEMA_VERSION + 1, "cells": [3]}))
    with pytest.raises(ResultsError, match=r"0a1b.json was written by a newer rtvirt"):
        tree.load_order("smoke", "0a1b")
