"""What becomes of cells when a board, its disk, its clock or the line to it fails: real tasks, a real SSH server."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import pytest
from ssh_board import Board, Line, begin_cells, cells, said, started_board, wait_until

from rtvirt_runner.matrix.cell import Cell
from rtvirt_runner.matrix.results import Record, ResultsTree

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="a board of its own namespaces needs root"),
    pytest.mark.splittable,
]
SLOW = pytest.mark.slow(
    exercises=[
        "playbooks/tasks/cell.yml",
        "playbooks/tasks/record_failure.yml",
        "plugins/action/measure_cell.py",
        "plugins/plugin_utils",
        "roles/measure/files",
        "rtvirt_runner/machine/relay.py",
        "rtvirt_runner/machine/script_reply.py",
        "rtvirt_runner/matrix/results.py",
    ]
)
LEASE, LOCK, STARTED = "/run/rtvirt-lease", "/run/rtvirt-cell", "/run/started"
# In the place of cyclictest: writes a line for each measurement that is begun.
COUNTED = """\
set -e
program=$(command -v cyclictest)
mkdir /run/real
cp "$program" /run/real/cyclictest
cat >/run/counted <<'END'
#!/bin/sh
case $* in *--json=*) echo begun >>/run/started ;; esac
exec /run/real/cyclictest "$@"
END
chmod 755 /run/counted
mount --bind /run/counted "$program"
"""


# The first command after a measurement (the state is read once more) waits while the file is there.
HELD = """\
if [ -e /run/hold ] && [ -e /run/started ]; then touch /run/asked; while [ -e /run/hold ]; do sleep 0.1; done; fi
exec sh -c "$SSH_ORIGINAL_COMMAND"
"""


class Lab:
    """A board behind a line, and what was measured on it."""

    def __init__(self, board: Board) -> None:
        self.board, self.line = board, Line(board)
        board.reached_at = self.line.port
        board.sh(COUNTED)
        self.tree = ResultsTree(board.folder / "results")

    def begin(self, those: tuple[Cell, ...], slack_s: int = 100, **env: str) -> subprocess.Popen[str]:
        """Start a run that measures cells."""
        return begin_cells(self.board.folder, [self.board], those, slack_s, env)

    def begun(self) -> int:
        """How many measurements were begun on the board."""
        return self.board.read(STARTED).count("begun")

    def records(self) -> dict[int, Record]:
        """By repetition. None is half, and none is less than whole that is said to be done."""
        assert list(self.tree.root.rglob(".*")) == []
        found = self.tree.read("here")
        assert all(isinstance(each, Record) and (each.status.reason, each.reason).count("") != 1 for each in found)
        return {each.cell.repetition: each for each in found if isinstance(each, Record)}

    def reasons(self) -> dict[int, str]:
        """Why each cell failed, by repetition; '' if it is done."""
        return {repetition: record.reason for repetition, record in self.records().items()}

    def left_behind(self) -> str:
        """Processes and folders of cells on the board."""
        return self.board.sh("pgrep -x cyclictest; ls -d /tmp/rtvirt.* /dev/shm/rtvirt.* 2>/dev/null || :")


@contextmanager
def started_lab(folder: Path, *options: str) -> Iterator[Lab]:
    with started_board(folder, *options) as board:
        yield Lab(board)


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    with started_lab(tmp_path) as started:
        yield started


# ---------------------------------------------------------------------------------------------- at each stage of a cell

STAGES = ["asking for the state", "sending", "measuring", "receiving"]


def at(stage: str, lab: Lab, playing: subprocess.Popen[str], does: Callable[[], None]) -> None:
    """Do something in the first cell when it is at a stage. A script has some 10 KB, an answer some 280 KB."""
    before = LEASE if stage == STAGES[0] else LOCK if stage == "sending" else STARTED
    wait_until(lambda: lab.board.read(before), playing=playing)
    if stage == "measuring":
        does()
    else:
        lab.line.after(*(("down", 1000) if stage == "receiving" else ("up", 3000)), then=does)


@pytest.mark.parametrize("stage", STAGES)
def test_a_line_that_is_cut_costs_the_current_cell_which_is_not_sent_again(stage: str, lab: Lab) -> None:
    playing = lab.begin(cells(["bench"], 2, loops=1500))
    at(stage, lab, playing, lab.line.cut)
    said(playing)
    reasons = lab.reasons()
    assert "the connection ended before the script did" in reasons[1] and reasons[2] == ""
    assert lab.begun() == (1 if stage in STAGES[:2] else 2)
    assert lab.left_behind() == ""


@SLOW
@pytest.mark.parametrize("stage", STAGES)
def test_a_run_killed_at_a_stage_of_a_cell_is_finished_by_the_next(stage: str, lab: Lab) -> None:
    those = cells(["bench"], 2, loops=1500)
    playing = lab.begin(those)
    at(stage, lab, playing, lambda: os.killpg(playing.pid, signal.SIGKILL))
    assert playing.wait(timeout=60) == -signal.SIGKILL
    assert not lab.tree.root.exists()
    assert "is taken over, since that process has ended" in said(lab.begin(those))
    assert lab.reasons() == {1: "", 2: ""}
    assert lab.begun() in (2, 3)  # the master of the connection, which lives on, may have sent what it was given
    assert lab.left_behind() == ""


@pytest.fixture
def held(tmp_path: Path) -> Iterator[Lab]:
    """A lab whose board does not tell its state after a cell until ``/run/hold`` is gone."""
    with started_lab(tmp_path, "-c", HELD) as started:
        started.board.sh("touch /run/hold")
        yield started


def wait_for_the_second_look(held: Lab, playing: subprocess.Popen[str]) -> None:
    wait_until(lambda: Path(f"/proc/{held.board.pid}/root/run/asked").exists(), playing=playing)
    assert held.tree.load_records("here")


def test_a_line_that_is_cut_when_a_cell_was_measured_costs_nothing(held: Lab) -> None:
    """The state is read once more: unlike measuring, that may be sent twice."""
    lab = held
    playing = lab.begin(cells(["bench"], 2))
    wait_for_the_second_look(lab, playing)
    lab.line.cut()
    lab.board.sh("rm /run/hold")
    said(playing)
    assert lab.reasons() == {1: "", 2: ""} and lab.begun() == 2


@SLOW
def test_a_run_killed_before_the_state_after_a_cell_is_read_measures_that_cell_again(held: Lab) -> None:
    lab, those = held, cells(["bench"], 2)
    playing = lab.begin(those)
    wait_for_the_second_look(lab, playing)
    os.killpg(playing.pid, signal.SIGKILL)
    assert playing.wait(timeout=60) == -signal.SIGKILL
    lab.board.sh("rm /run/hold")
    assert lab.reasons() == {
        1: "The run ended before the board's state was read back after the cell; measure it again."
    }
    said(lab.begin(those))
    assert lab.reasons() == {1: "", 2: ""} and lab.begun() == 3


# ------------------------------------------------------------------------------------------------------------ the board


def test_a_board_that_is_gone_costs_its_cells_each_with_the_reason(lab: Lab) -> None:
    playing = lab.begin(cells(["bench"], 3, loops=1500))
    at("measuring", lab, playing, lab.line.close)
    said(playing)
    reasons = lab.reasons()
    assert "The host was gone in the middle of the cell: the connection ended before the script did" in reasons[1]
    assert all("Connection refused" in reasons[number] for number in (2, 3)), reasons


def test_a_board_that_cannot_be_reached_is_not_measured_on(lab: Lab) -> None:
    lab.line.close()
    assert "Connection refused" in said(lab.begin(cells(["bench"], 2)), fails=True)
    assert not lab.tree.root.exists()


def test_a_board_that_reboots_by_itself_costs_the_current_cell(lab: Lab) -> None:
    playing = lab.begin(cells(["bench"], 2, loops=1500))
    wait_until(lambda: lab.begun(), playing=playing)
    lab.line.pause()  # so that the next cell does not find it before it is up again
    lab.board.power_off()
    lab.board.power_on()
    lab.line.resume()
    said(playing)
    reasons = lab.reasons()
    assert "The host was gone in the middle of the cell: the connection ended before the script did" in reasons[1]
    assert reasons[2] == ""
    assert f"results of {lab.tree.root}" in lab.board.read(LEASE)  # taken again, since it went with the boot


def test_a_line_that_passes_nothing_for_seconds_costs_nothing(lab: Lab) -> None:
    playing = lab.begin(cells(["bench"], 1, loops=1000))
    wait_until(lambda: lab.begun(), playing=playing)
    lab.line.pause()
    time.sleep(5)
    lab.line.resume()
    said(playing)
    assert lab.reasons() == {1: ""} and lab.begun() == 1
    assert lab.records()[1].status.measure_s > 4


@SLOW
@pytest.mark.parametrize("stage", ["asking for the state", "measuring"])
def test_a_board_that_is_slower_than_the_limit_costs_the_cell(stage: str, lab: Lab) -> None:
    playing = lab.begin(cells(["bench"], 2), slack_s=20)
    at(stage, lab, playing, lab.line.pause)
    wait_until(lambda: lab.tree.load_records("here"), playing=playing)
    lab.line.resume()
    said(playing)
    sentence = "The cell did not end within 24 s of the clock here: the host hangs, or is slower than that."
    assert lab.reasons() == {1: sentence, 2: ""}
    assert lab.left_behind() == ""


# --------------------------------------------------------------------------------------------------- the board's disk


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ("size=4k", "cyclictest ended with status 1"),
        ("nr_inodes=1", "There is no room in /tmp"),
        ("ro", "Read-only file system"),
    ],
    ids=["full", "no inode", "read-only"],
)
def test_a_full_or_read_only_tmp_of_a_board_costs_the_cell(options: str, reason: str, lab: Lab) -> None:
    lab.board.sh(f"mount -t tmpfs -o {options} none /tmp; [ {options} != size=4k ] || echo x >/tmp/full")
    said(lab.begin(cells(["bench"], 1)))
    assert reason in lab.reasons()[1]
    lab.board.sh("umount /tmp")
    said(lab.begin(cells(["bench"], 1)))
    assert lab.reasons() == {1: ""}


@SLOW
def test_however_much_room_is_left_in_tmp_a_cell_that_is_done_is_whole(lab: Lab) -> None:
    """cyclictest does not notice that its output was cut off."""
    sizes = [4, 8, 12, 40, 200, 270, 290]
    lab.board.sh("mount -t tmpfs none /tmp")
    failed = 0
    for size in sizes:
        lab.board.sh(f"mount -o remount,size={size}k /tmp && head -c 4096 /dev/zero >/tmp/other")
        said(lab.begin(cells(["bench"], 1)))
        (record,) = lab.records().values()
        failed += record.status.status == "failed"
        assert record.output is None or record.output.latencies.threads[0].samples == 200
        if record.status.status == "done":
            record.path.rename(lab.board.folder / f"{size}k")
    assert 0 < failed < len(sizes)


def test_a_board_whose_run_is_read_only_is_not_measured_on(lab: Lab) -> None:
    lab.board.sh("mount -t tmpfs -o ro none /run")
    told = said(lab.begin(cells(["bench"], 1)), fails=True)
    assert "/run/rtvirt-lease cannot be written on this board" in told and "Read-only file system" in told
    assert not lab.tree.root.exists()


# ------------------------------------------------------------------------------------------------------------ the clock

# The clock of the day runs as many seconds ahead as the file says; the clocks that count from the boot are as they are.
CLOCK = """\
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static long ahead_s(void)
{
    char text[32] = "0";
    const char *path = getenv("CLOCK_AHEAD");
    int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (file >= 0) {
        ssize_t length = read(file, text, sizeof text - 1);
        text[length > 0 ? length : 0] = 0;
        close(file);
    }
    return atol(text);
}

int clock_gettime(clockid_t clock, struct timespec *now)
{
    int status = syscall(SYS_clock_gettime, clock, now);
    if (status == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
        now->tv_sec += ahead_s();
    return status;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone)
{
    struct timespec precise;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &precise);
    now->tv_sec = precise.tv_sec;
    now->tv_usec = precise.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *here)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (here)
        *here = now.tv_sec;
    return now.tv_sec;
}
"""
YEAR_S = 365 * 86400


@pytest.mark.parametrize("jumps", ["controller", "board"])
def test_a_clock_that_jumps_changes_no_limit_no_lease_and_no_duration(jumps: str, tmp_path: Path) -> None:
    """By years, there and back, while cells are measured: only the dates of records show it."""
    (tmp_path / "clock.c").write_text(CLOCK)
    library, here = tmp_path / "clock.so", tmp_path / "ahead"
    subprocess.run(["gcc", "-shared", "-fPIC", "-O1", "-o", library, tmp_path / "clock.c"], check=True)
    here.write_text("0")
    forced = 'export LD_PRELOAD=/run/clock.so CLOCK_AHEAD=/run/ahead; exec sh -c "$SSH_ORIGINAL_COMMAND"'
    with started_lab(tmp_path, *(["-c", forced] if jumps == "board" else [])) as lab:
        there = Path(f"/proc/{lab.board.pid}/root/run")
        (there / "clock.so").write_bytes(library.read_bytes())
        ahead = there / "ahead" if jumps == "board" else here
        env = {"LD_PRELOAD": str(library), "CLOCK_AHEAD": str(here)} if jumps == "controller" else {}
        playing = lab.begin(cells(["bench"], 3, loops=1500), **env)
        for number, years in enumerate((2, -3), start=1):
            wait_until(lambda number=number: lab.begun() == number, playing=playing)
            ahead.write_text(str(years * YEAR_S))
        told = said(playing)
        assert lab.reasons() == {1: "", 2: "", 3: ""}, told
        records = lab.records().values()
        assert all(1.5 < each.status.measure_s < 60 and 0 < each.status.overhead_s < 60 for each in records)
        lengths = [
            datetime.fromisoformat(each.status.ended_at) - datetime.fromisoformat(each.status.started_at)
            for each in records
        ]
        years = [round(each.days / 365) for each in lengths]
        assert years == ([2, -5, 0] if jumps == "controller" else [0, 0, 0])
