"""What a run does now is told to others as long as it runs."""

import fcntl
from pathlib import Path

import pytest

from rtvirt_runner.run.now import Now, remove, running
from rtvirt_runner.run.progress import CellResult, Progress


def progress() -> Progress:
    found = Progress({"one": 4, "two": 2}, started=100.0)
    found.handle({"event": "playbook_on_play_start", "event_data": {"name": "Measure"}}, 101.0)
    found.handle({"event": "runner_on_start", "event_data": {"host": "one", "task": "Run the cell"}}, 102.0)
    return found


def ended(host: str, number: int, seconds: float) -> CellResult:
    return CellResult(f"{host}-{number}", host, "done", "", seconds)


def test_the_time_left_is_that_of_the_slowest_board() -> None:
    found = progress()
    assert found.left_s() is None
    found.cells["one-1"] = ended("one", 1, 10.0)
    assert found.left_s() == 30.0  # three cells; two has as many at most
    found.cells["two-1"] = ended("two", 1, 100.0)
    assert found.left_s() == 100.0


def test_a_run_is_seen_while_it_holds_its_log(tmp_path: Path) -> None:
    log = tmp_path / "run-1.log"
    with log.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_SH)
        Now.of(progress(), str(log), 130.0).write()
        (found,) = running(tmp_path)
    assert (found.stage, found.elapsed_s, found.cells_to_do, found.left_s) == ("Measure", 30, 6, None)
    assert found.doing == {"one": "Run the cell"} and found.log == str(log)
    assert running(tmp_path) == []  # it was killed: nobody holds the log
    remove(log)
    assert [path.name for path in tmp_path.iterdir()] == ["run-1.log"]


@pytest.mark.parametrize("content", ["", "{", "[]", '{"pid": 1}'])
def test_a_file_that_cannot_be_read_is_no_run(content: str, tmp_path: Path) -> None:
    (tmp_path / "run-1.now").write_text(content)
    with (tmp_path / "run-1.log").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_SH)
        assert running(tmp_path) == []
