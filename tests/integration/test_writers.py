"""Several writers of one results folder, some of them in other containers, some killed: no record is lost or half."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from rtvirt_runner.catalogue import collection
from rtvirt_runner.catalogue.catalogue import Catalogue
from rtvirt_runner.catalogue.lab import Lab
from rtvirt_runner.matrix.cell import Cell
from rtvirt_runner.matrix.load import load_matrix
from rtvirt_runner.matrix.results import ResultsTree

pytestmark = pytest.mark.splittable

ELSEWHERE = ("unshare", "--pid", "--fork", "--kill-child", "--mount-proc") if os.geteuid() == 0 else ()
# Writes all cells in a random order, again and again, with its own name in each record.
WRITER = """\
import json, random, sys
from pathlib import Path
from rtvirt_runner.matrix.cell import Cell
from rtvirt_runner.matrix.results import ResultsTree, Status
root, cells, name, status, rounds = sys.argv[1:]
tree = ResultsTree(Path(root))
those = [Cell.from_dict(values) for values in json.loads(Path(cells).read_text())]
for _ in range(int(rounds)):
    random.Random(name).shuffle(those)
    for cell in those:
        about = Status(status, "" if status == "done" else name, "2026-01-02", "2026-01-02", 1, 0.0, 0.0)
        tree.write_record("first", cell, about, {"run": {"writer": name}}, OUTPUT | {"writer.txt": name * 1000})
        tree.keep_order("first", name, {"writer": name})
        print(cell.id, flush=True)
"""


def cells() -> tuple[Cell, ...]:
    board = {"rtvirt_board_cpus": 4, "rtvirt_board_clock": "virtual", "rtvirt_board_kernels": {"rt": "debian-rt"}}
    boards = dict.fromkeys(("virtual-rpi2", "virtual-cb2"), board)
    groups = {"boards": [*boards], "guests": [f"{name}-guest" for name in boards]}
    lab = Lab.from_inventory(groups | {"rpi2": ["virtual-rpi2"], "cb2": ["virtual-cb2"]}, boards)
    matrix = load_matrix(collection.matrix_path("first"), lab, Catalogue.load(collection.VARS))
    loops = matrix.cells[0].loops
    return tuple(cell for cell in matrix.cells if cell.loops == loops and not cell.program)


def output(cell: Cell) -> dict[str, str]:
    """What cyclictest would have said: every wake-up 5 us late."""
    thread = {"histogram": {"5": cell.loops}, "cycles": cell.loops, "min": 5, "max": 5, "avg": 5.0, "cpu": 0, "node": 0}
    said = {"file_version": 1, "return_code": 0, "num_threads": 1, "resolution_in_ns": 0, "thread": {"0": thread}}
    return {"cyclictest.json": json.dumps(said)}


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "cells.json").write_text(json.dumps([cell.as_dict() for cell in cells()]))
    assert len({json.dumps(output(cell)) for cell in cells()}) == 1
    return tmp_path


def start(place: Path, name: str, status: str, rounds: int = 1, before: tuple[str, ...] = ()) -> subprocess.Popen[str]:
    script = WRITER.replace("OUTPUT", repr(output(cells()[0])))
    given = [place / "results", place / "cells.json", name, status, str(rounds)]
    return subprocess.Popen([*before, sys.executable, "-c", script, *given], stdout=subprocess.PIPE, text=True)


def writers(place: Path) -> dict[str, str]:
    """Cell -> the writer of its record, which wrote all of it."""
    found = {}
    for record in ResultsTree(place / "results").load_records("first"):
        name = record.system["run"]["writer"]
        assert record.raw("writer.txt") == name * 1000
        assert sorted(path.name for path in record.path.iterdir()) == [
            "cell.json",
            "cyclictest.json",
            "status.json",
            "system.json",
            "writer.txt",
        ]
        found[record.cell.id] = str(name)
    return found


def hidden(place: Path) -> list[Path]:
    return list((place / "results").rglob(".*"))


def test_the_first_whole_record_of_a_cell_stays_whoever_else_writes_it(place: Path) -> None:
    those = [start(place, "a", "done", 3), start(place, "b", "done", 3, ELSEWHERE), start(place, "c", "failed", 3)]
    seen: dict[str, str] = {}
    while any(each.poll() is None for each in those):
        for record in ResultsTree(place / "results").load_records("first"):
            if record.status.status == "done":
                name = str(record.system["run"]["writer"])
                assert seen.setdefault(record.cell.id, name) == name
    assert [each.communicate()[0] and each.returncode for each in those] == [0, 0, 0]
    assert set(writers(place)) == {cell.id for cell in cells()}
    assert set(writers(place).values()) <= {"a", "b"}
    assert hidden(place) == []
    orders = sorted((place / "results" / "first" / "sealed").iterdir())
    assert [json.loads(path.read_text())["writer"] for path in orders] == ["a", "b", "c"]


def test_writers_that_are_killed_at_any_time_lose_nothing(place: Path) -> None:
    chance = random.Random(14)
    until = time.monotonic() + 12
    done: dict[str, str] = {}
    number = 0
    while time.monotonic() < until:
        number += 1
        if number % 4 == 0:  # as if these had never been measured, so that there is something to write
            for record in ResultsTree(place / "results").load_records("first"):
                record.path.rename(place / f"{number}-{record.path.name}")
            done = {}
        those = [
            start(place, f"{number}-{place_}", chance.choice(["done", "failed"]), 3, before)
            for place_, before in (("here", ()), ("there", ELSEWHERE), ("too", ()))
        ]
        time.sleep(chance.uniform(0.2, 1.2))
        for each in those:
            each.kill()
        for each in those:
            each.communicate()
        tree = ResultsTree(place / "results")
        visible = [path for path in (place / "results" / "first").glob("virtual-*/*") if not path.name.startswith(".")]
        records = tree.load_records("first")
        assert len(visible) == len(records)
        now = writers(place)
        assert {cell: now.get(cell) for cell in done} == done
        done = {record.cell.id: now[record.cell.id] for record in records if record.status.status == "done"}
    last = start(place, "last", "done")
    last.communicate()
    assert last.returncode == 0
    assert set(writers(place)) == {cell.id for cell in cells()}
    assert hidden(place) == []
