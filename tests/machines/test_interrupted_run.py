"""A killed run loses nothing, and figures in virtual time do not depend on the machine that emulates."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playing import BENCH

from rtvirt_runner.analysis.histogram import Histogram
from rtvirt_runner.analysis.measurement import read_measurement
from rtvirt_runner.build.artifacts import cache_folder
from rtvirt_runner.catalogue import collection
from rtvirt_runner.matrix.results import Record, ResultsTree

pytestmark = [
    pytest.mark.asserts_on("booting", "convergence", "answers"),
    pytest.mark.xdist_group("bench-b"),
    pytest.mark.slow(
        exercises=["playbooks", "plugins", "roles/measure", "roles/virtual_board", "rtvirt_runner/matrix"]
    ),
]
BOARD = "bench-b"
LIMIT_S = 900
MATRIX = """\
matrix:
  name: repeat
  title: The same cell three times
  repetitions: 3
  cyclictest: {loops: 5000, interval_us: 1000, priority: 95, histogram_us: 20000}
  splits:
    1-1: {host_cpus: '0', guest_cpus: '1'}
  experiments:
    repeat:
      title: Idle on the host, three times
      axes:
        board: [bench-b]
        kernel: [linux-6.12-rt]
        tuning: [paper]
        split: [1-1]
        place: [host]
        guest: [minimal]
        workload: [idle]
"""


@pytest.fixture(scope="module")
def repeated(tmp_path_factory: pytest.TempPathFactory) -> tuple[ResultsTree, dict[Path, int], Path]:
    """Kill a run when its first cell is done, boards too, then finish it beside two busy loops.

    Returns the results, the times of the files of the cells that were done before the kill, and the results' folder.
    """
    folder = tmp_path_factory.mktemp("repeat")
    (folder / "repeat.yml").write_text(MATRIX)
    tree = ResultsTree(folder / "results")
    run = start_playbook(folder, "killed.log")
    wait_for_the_first_record(run, tree)
    kill_run_and_board(run)
    before = {path: path.stat().st_mtime_ns for record in done(tree) for path in files(record.path)}
    with busy_loops(2):
        assert start_playbook(folder, "finished.log").wait(timeout=LIMIT_S) == 0, (folder / "finished.log").read_text()
    return tree, before, folder


def start_playbook(folder: Path, log: str) -> subprocess.Popen[bytes]:
    """Plain ansible-playbook, as a user would call it."""
    with (folder / log).open("wb") as stream:
        return subprocess.Popen(
            [
                Path(sys.executable).parent / "ansible-playbook",
                collection.FULL_MATRIX,
                *BENCH,
                *("-e", f"rtvirt_matrix={folder / 'repeat.yml'}", "-e", f"rtvirt_results_dir={folder / 'results'}"),
            ],
            cwd=collection.ROOT,
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=stream,
            start_new_session=True,
        )


def wait_for_the_first_record(run: subprocess.Popen[bytes], tree: ResultsTree) -> None:
    deadline = time.monotonic() + LIMIT_S
    while not done(tree):
        assert run.poll() is None, "the run ended before it had measured anything"
        assert time.monotonic() < deadline
        time.sleep(0.05)


def done(tree: ResultsTree) -> list[Record]:
    """Records of cells that are done; one is not until the board's state was read back after it."""
    return [record for record in tree.load_records("repeat") if record.status.status == "done"]


def kill_run_and_board(run: subprocess.Popen[bytes]) -> None:
    emulator = int((cache_folder() / "boards" / BOARD / "pid").read_text())
    keeper = int(Path(f"/proc/{emulator}/stat").read_text().rpartition(")")[2].split()[1])
    os.killpg(run.pid, signal.SIGKILL)
    for pid in (keeper, emulator):
        os.kill(pid, signal.SIGKILL)
    run.wait()


@contextmanager
def busy_loops(count: int) -> Iterator[None]:
    loops = [subprocess.Popen(["sh", "-c", "while :; do :; done"]) for _ in range(count)]
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def histogram(record: Record) -> Histogram:
    found = read_measurement(record).histogram
    assert found is not None
    return found


def test_killed_run_is_finished_by_the_next(repeated: tuple[ResultsTree, dict[Path, int], Path]) -> None:
    tree, _, _ = repeated
    records = tree.load_records("repeat")
    assert sorted(record.cell.repetition for record in records) == [1, 2, 3]
    assert {record.status.status for record in records} == {"done"}


def test_cells_that_were_done_are_left_alone(repeated: tuple[ResultsTree, dict[Path, int], Path]) -> None:
    _, before, _ = repeated
    assert before
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_nothing_half_written_is_left(repeated: tuple[ResultsTree, dict[Path, int], Path]) -> None:
    _, _, folder = repeated
    assert list((folder / "results").rglob(".*")) == []


def test_figures_do_not_depend_on_what_else_the_machine_does(
    repeated: tuple[ResultsTree, dict[Path, int], Path],
) -> None:
    """The killed run measured the first repetition without them, the next run the others beside two busy loops.

    From one boot to the next the average moves by a few microseconds, as other wake-ups fall together with the
    measured ones. Lent time, as without virtual time, would move it by hundreds.
    """
    tree, before, _ = repeated
    records = sorted(tree.load_records("repeat"), key=lambda record: record.cell.repetition)
    assert records[0].path in {path.parent for path in before}
    first, *again = (histogram(record) for record in records)
    for other in again:
        assert abs(other.avg_us - first.avg_us) <= 10
        assert abs(other.min_us - first.min_us) <= 2
