"""Sealed machines take turns on the computer's cores (roles/sealed_board/files/take_turn.sh)."""

from __future__ import annotations

import os
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import pytest

from rtvirt_runner.machine.sealed_machine import TAKE_TURN

# In the place of keep_board.sh: it says when it runs, for half a second.
KEEPER = 'echo "begin $2" >>"$2/../log"; sleep 0.5; echo "end $2" >>"$2/../log"\n'


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "keeper.sh").write_text(KEEPER)
    (tmp_path / "base").write_text("base ")
    (tmp_path / "log").touch()
    return tmp_path


def start(place: Path, name: str, cores: int, owner: int = 0) -> subprocess.Popen[bytes]:
    """Start one machine in a folder of its own."""
    folder = place / name
    folder.mkdir()
    (folder / "queue.cpio").write_text("queue")
    given = [place / "locks", str(cores), str(owner), place / "keeper.sh", folder, place / "base", "qemu"]
    return subprocess.Popen(["sh", TAKE_TURN, *given])


def queue_up(place: Path, name: str, cores: int, owner: int = 0) -> subprocess.Popen[bytes]:
    """Start one machine, and wait until it has a core or stands in line for one."""
    machine = start(place, name, cores, owner)
    children = Path(f"/proc/{machine.pid}/task/{machine.pid}/children")

    def waits() -> bool:
        """Not so one that still asks whether it has to wait."""
        with suppress(OSError):  # one that has just ended
            for child in children.read_text().split():
                command = Path(f"/proc/{child}/cmdline").read_text().split("\0")
                state = Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()[0]
                if command[0] in {"flock", "sleep"} and "--nonblock" not in command and state == "S":
                    return True
        return False

    while machine.poll() is None and not (place / name / "initramfs").exists() and not waits():
        time.sleep(0.01)
    return machine


def most_at_once(log: str) -> int:
    """The largest number of machines that ran at the same time."""
    running, most = 0, 0
    for line in log.splitlines():
        running += 1 if line.startswith("begin") else -1
        most = max(most, running)
    return most


@pytest.mark.parametrize("cores", [1, 2])
def test_no_more_run_at_once_than_there_are_cores_in_the_order_in_which_they_came(place: Path, cores: int) -> None:
    machines = [queue_up(place, f"m{number}", cores) for number in range(4)]
    assert [machine.wait(30) for machine in machines] == [0] * 4
    log = (place / "log").read_text()
    assert most_at_once(log) == cores
    began = [line.rpartition("/")[2] for line in log.splitlines() if line.startswith("begin")]
    assert began == [f"m{number}" for number in range(4)]
    assert (place / "m3" / "initramfs").read_text() == "base queue"


def test_one_that_waits_ends_with_its_owner_and_the_next_has_its_turn(place: Path) -> None:
    first = queue_up(place, "first", 1)
    owner = subprocess.Popen(["sleep", "0.2"])
    orphan = start(place, "orphan", 1, owner.pid)
    owner.wait()
    last = start(place, "last", 1, os.getpid())
    assert (first.wait(30), orphan.wait(30), last.wait(30)) == (0, 1, 0)
    assert "orphan" not in (place / "log").read_text()


def test_one_far_behind_ends_with_its_owner_at_once(place: Path) -> None:
    (place / "keeper.sh").write_text("exec sleep 1000\n")
    owner = subprocess.Popen(["sleep", "1000"])
    first = queue_up(place, "first", 1)
    machines = [queue_up(place, f"m{number}", 1, owner.pid) for number in range(3)]
    owner.kill()
    owner.wait()
    assert [machine.wait(30) for machine in machines] == [1, 1, 1]
    first.kill()
    first.wait()


def test_without_its_initramfs_it_says_why_and_runs_nothing(place: Path) -> None:
    (place / "base").unlink()
    assert start(place, "m", 1).wait(30) == 1
    said = (place / "m" / "qemu.log").read_text()
    assert "The machine's initramfs could not be written" in said
    assert "No such file" in said
    assert not (place / "log").read_text()
