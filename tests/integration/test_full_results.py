"""The results' disk fills up at each write: what was stored stays, nothing is half, and the next run goes on."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from loops import mounted
from ssh_board import begin_cells, cells, said, started_board

from rtvirt_runner.catalogue import collection
from rtvirt_runner.catalogue.catalogue import Catalogue
from rtvirt_runner.catalogue.lab import Lab
from rtvirt_runner.matrix.cell import Cell
from rtvirt_runner.matrix.load import Matrix, load_matrix
from rtvirt_runner.matrix.results import ResultsError, ResultsTree, Status
from rtvirt_runner.matrix.stored import store_matrix
from rtvirt_runner.report.page import write_report

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk takes root"),
    pytest.mark.splittable,
]
KIB = 1024
ABOUT = {"rtvirt_board_cpus": 4, "rtvirt_board_clock": "virtual", "rtvirt_board_kernels": {"rt": "debian-rt"}}
BOARDS = ("virtual-rpi2", "virtual-cb2")
LAB = Lab.from_inventory(
    {
        **{"boards": [*BOARDS], "rpi2": [BOARDS[0]], "cb2": [BOARDS[1]]},
        "guests": [f"{name}-guest" for name in BOARDS],
    },
    dict.fromkeys(BOARDS, ABOUT),
)
MATRIX: Matrix = load_matrix(collection.matrix_path("first"), LAB, Catalogue.load(collection.VARS))
FIRST, SECOND = [cell for cell in MATRIX.cells if not cell.program][:2]


def store(tree: ResultsTree, cell: Cell, status: str = "done", size: int = 10_000) -> None:
    """A record with a raw file of so many bytes beside its measurement."""
    thread = {"histogram": {"5": cell.loops}, "cycles": cell.loops, "min": 5, "max": 5, "avg": 5.0, "cpu": 0, "node": 0}
    said = {"file_version": 1, "return_code": 0, "num_threads": 1, "resolution_in_ns": 0, "thread": {"0": thread}}
    about = Status("done" if status == "done" else "failed", "" if status == "done" else status, "x", "x", 1, 0.0, 0.0)
    tree.write_record("first", cell, about, {}, {"cyclictest.json": json.dumps(said), "long.txt": "x" * size})


def nothing(tree: ResultsTree) -> None:
    """Begin with an empty disk."""


def failed(tree: ResultsTree) -> None:
    """Begin with a record of the second cell that failed."""
    store(tree, SECOND, "It was late.", size=10)


def damaged(tree: ResultsTree) -> None:
    """Begin with a damaged record of it."""
    store(tree, SECOND, size=10)
    (tree.record_path("first", SECOND) / "status.json").write_text("")


def done(tree: ResultsTree) -> None:
    """Begin with a record of the first cell."""
    store(tree, FIRST, size=10)


def larger(tree: ResultsTree) -> None:
    """Begin with a page of more cells than the next one has."""
    store(tree, FIRST, size=10)
    store(tree, SECOND, size=10)
    write_report(MATRIX, tree)
    (tree.record_path("first", SECOND) / "status.json").write_text("")


def record(tree: ResultsTree) -> None:
    store(tree, SECOND)


def order(tree: ResultsTree) -> None:
    tree.keep_order("first", "ab12", {"order": "x" * 10_000})


def matrix(tree: ResultsTree) -> None:
    store_matrix(tree, MATRIX, LAB)


def page(tree: ResultsTree) -> None:
    write_report(MATRIX, tree)


@contextmanager
def disk(where: Path) -> Iterator[Callable[[str], None]]:
    """A small file system; gives what changes its options."""
    with mounted("rtvirt-test", where, "-t", "tmpfs"):

        def remount(options: str) -> None:
            subprocess.run(["mount", "-o", f"remount,{options}", where], check=True)

        yield remount


def used(where: Path) -> tuple[int, int]:
    """Bytes and files that are taken."""
    about = os.statvfs(where)
    return (about.f_blocks - about.f_bfree) * about.f_frsize, about.f_files - about.f_ffree


def content(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


@pytest.mark.parametrize("limit", ["bytes", "files"])
@pytest.mark.parametrize(
    ("before", "write"),
    [
        pytest.param(nothing, record, id="record"),
        pytest.param(failed, record, id="record over a failed one"),
        pytest.param(damaged, record, id="record over a damaged one"),
        pytest.param(done, order, id="order"),
        pytest.param(done, matrix, id="matrix"),
        pytest.param(done, page, id="page"),
        pytest.param(
            larger,
            page,
            id="smaller page",
            marks=pytest.mark.slow(exercises=["rtvirt_runner/report", "rtvirt_runner/matrix"]),
        ),
    ],
)
def test_whatever_room_is_left_a_write_is_whole_or_not_at_all(
    before: Callable[[ResultsTree], None], write: Callable[[ResultsTree], None], limit: str, tmp_path: Path
) -> None:
    """With room for nothing, then for one page (or file) more each time, until there is room for all."""
    refused = 0
    for more in itertools.count(0):
        with disk(tmp_path / "disk") as remount:
            root = tmp_path / "disk"
            tree = ResultsTree(root)
            before(tree)
            size, files = used(root)
            stored = content(root)
            remount(f"size={size + more * 4 * KIB or 1}" if limit == "bytes" else f"nr_inodes={files + more}")
            try:
                write(tree)
            except (ResultsError, OSError) as error:
                refused += 1
                assert isinstance(error, ResultsError) or str(error.filename).startswith(str(root)), error
                assert "No space left on device" in str(error)
                now = content(root)
                changed = {name for name in {*now, *stored} if now.get(name) != stored.get(name)} - {"first/lock"}
                # The table comes before the page, and a copy of the page before both.
                assert all(name.startswith("first/report") for name in changed), changed
                copies = [stored[name.replace(".previous-1", "")] for name in changed if ".previous-1" in name]
                assert copies == [now[name] for name in changed if ".previous-1" in name]
                assert len(copies) in (0, sum(name.startswith("first/report/") for name in stored))
                assert list(root.rglob(".*")) == []
            else:
                break
            finally:
                remount("size=0,nr_inodes=0")
            write(tree)
            assert list(root.rglob(".*")) == []
            assert write is page or all(each.reason == "" for each in tree.load_records("first"))
    assert refused > 0


def test_a_run_on_a_full_disk_stores_what_there_is_room_for_and_the_next_goes_on(tmp_path: Path) -> None:
    """A record takes some 290 KiB: there is room for one."""
    those = cells(["bench"], 3)
    with started_board(tmp_path) as board, disk(tmp_path / "results") as remount:
        tree = ResultsTree(tmp_path / "results")
        remount(f"size={400 * KIB}")
        said(begin_cells(tmp_path, [board], those))
        reasons = {each.cell.repetition: each.reason for each in tree.load_records("here")}
        assert reasons[1] == "" and all(
            f"{tree.root}/here: No space left on device, so the record could not be stored" in reasons[number]
            for number in (2, 3)
        )
        first = {path: path.stat().st_mtime_ns for path in (tree.root / "here" / "bench").glob("*_r1-*/*")}
        remount("size=0")
        said(begin_cells(tmp_path, [board], those))
        assert [each.reason for each in tree.load_records("here")] == ["", "", ""]
        assert first == {path: path.stat().st_mtime_ns for path in first}
        assert list(tree.root.rglob(".*")) == []


def test_a_run_whose_disk_has_no_room_for_the_reason_either_ends_with_it(tmp_path: Path) -> None:
    with started_board(tmp_path) as board, disk(tmp_path / "results") as remount:
        remount(f"size={4 * KIB}")
        told = said(begin_cells(tmp_path, [board], cells(["bench"], 2)), fails=True)
        assert f"{tmp_path}/results/here: No space left on device, so the record could not be stored" in told
        assert ResultsTree(tmp_path / "results").load_records("here") == []
        remount("size=0")
        said(begin_cells(tmp_path, [board], cells(["bench"], 2)))
        assert [each.reason for each in ResultsTree(tmp_path / "results").load_records("here")] == ["", ""]
