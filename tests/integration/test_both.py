"""The scripts of place both on this machine: the board's own cyclictest, and a guest's clock by its board's seconds."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from ssh_board import wait_until

from rtvirt_runner.catalogue import collection
from rtvirt_runner.catalogue.catalogue import Catalogue
from rtvirt_runner.catalogue.lab import Lab
from rtvirt_runner.machine import script_reply
from rtvirt_runner.machine.script_reply import Reply
from rtvirt_runner.machine.scripts import script_text
from rtvirt_runner.matrix.load import read_matrix
from rtvirt_runner.matrix.results import Record, ResultsTree, Status
from rtvirt_runner.parsers import cyclictest, spikes

NOT_READ_BACK = "The run ended before the board's state was read back after the cell; measure it again."

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="SCHED_FIFO and /proc/timer_list need root"),
    pytest.mark.xdist_group("/run/rtvirt"),
]
CPU = max(os.sched_getaffinity(0))
BOARD = {"CPU": str(CPU), "PRIORITY": "80", "INTERVAL_US": "500", "HISTOGRAM_US": "20000", "LATE_US": "30"}
BOARD |= {"LIMIT_S": "60", "ON_GUEST_CPUS": "no"}
PID = Path("/run/rtvirt/host.pid")


def run(script: str, environment: dict[str, str]) -> Reply:
    text = script_reply.compose(script, {"RTVIRT_CHECK_MODE": "no", "RTVIRT_OWNER_PID": "0", **environment})
    return script_reply.parse(subprocess.run(["sh"], input=text, text=True, capture_output=True, timeout=120).stdout)


def start() -> Reply:
    return run(script_text("start_host_cyclictest"), BOARD)


def end() -> Reply:
    return run(script_text("end_host_cyclictest"), BOARD)


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    yield
    run(script_text("stop_host_cyclictest"), {})
    assert not PID.exists()


def running(reply: Reply) -> bool:
    return Path("/proc", reply.rows["cyclictest"][0]["tid"]).exists()


def test_it_runs_until_it_is_ended_and_says_what_it_measured() -> None:
    before = start()
    assert before.failure is None and running(before)
    time.sleep(1)
    after = end()
    assert after.failure is None and not running(before)
    for seen, reply in (("before", before), ("after", after)):
        (row,) = reply.rows["cyclictest"]
        found = (row["seen"], row["cpus"], row["policy"], row["priority"])
        assert found == (seen, str(CPU), "fifo", "80")
        assert abs(int(reply.facts["realtime_offset_ns"]) - (time.time_ns() - time.monotonic_ns())) < 50_000_000
    measured = cyclictest.parse_json(after.files["cyclictest-host.json"], 20000)
    assert measured.threads[0].samples > 1000
    late = spikes.parse(after.files["cyclictest-host.txt"], measured, 30, 20000)
    assert all(abs(each.at_us - time.monotonic_ns() / 1000) < 60e6 for each in late.wakeups)


def test_one_that_ended_by_itself_is_told_with_what_it_said() -> None:
    before = start()
    os.kill(int(Path("/run/rtvirt/host-cyclictest/run.pid").read_text()), 9)
    while running(before):
        time.sleep(0.01)
    assert str(end().failure).startswith("The board's own cyclictest ended before the cell did")
    assert str(end().failure) == "No cyclictest was started on this board."


def test_one_that_a_killed_run_left_behind_is_ended_by_the_next() -> None:
    first = start()
    second = start()
    assert not running(first) and running(second)
    hold = script_text("hold_machine")
    held = run(f"{hold}\nhold_machine", {"LOCK": "/run/rtvirt/test-both.lock", "OWNER": "a test", "ENDS_LOAD": "yes"})
    assert "host (" in held.facts["leftovers"]
    for _ in range(100):
        if not running(second):
            break
        time.sleep(0.05)
    assert not running(second)
    Path("/run/rtvirt/test-both.lock").unlink()


def test_what_cannot_run_is_told() -> None:
    lacking = run(script_text("start_host_cyclictest"), {**BOARD, "CPU": "4000"})
    assert str(lacking.failure).startswith("cyclictest did not start on the board: ")


# ----------------------------------------------------------------------------------------------------- a guest's clock


@pytest.fixture
def went_on() -> dict[int, tuple[int, int]]:
    """Of each second that the real-time clock showed: between which times of CLOCK_MONOTONIC (ns) it went on to it."""
    return {}


@pytest.fixture
def rtc(tmp_path: Path, went_on: dict[int, tuple[int, int]]) -> Iterator[Path]:
    """A real-time clock with the seconds of this machine's wall clock, as QEMU gives one to a guest.

    Where much runs it may go on to a second some time after that has begun.
    """
    ended = threading.Event()
    (tmp_path / "name").write_text("rtc-pl031 9010000.pl031\n")

    def tick() -> None:
        while not ended.is_set():
            second = int(time.time())
            (tmp_path / "new").write_text(f"{second}\n")
            before = time.monotonic_ns()
            (tmp_path / "new").rename(tmp_path / "since_epoch")
            went_on.setdefault(second, (before, time.monotonic_ns()))
            ended.wait(second + 1 - time.time())

    thread = threading.Thread(target=tick, daemon=True)
    thread.start()
    while not (tmp_path / "since_epoch").exists():
        time.sleep(0.01)
    yield tmp_path
    ended.set()
    thread.join()


def read_edges(folder: Path) -> dict[str, Any]:
    offset = (collection.ROOT / "roles" / "measure" / "files" / "clock_offset.sh").read_text()
    reply = run(f"{offset}\n{script_text('clock_edges')}\nread_clock_edges", {"RTC": str(folder)})
    assert reply.failure is None
    return reply.as_dict()


def test_the_seconds_of_the_wall_clock_relate_both_clocks(rtc: Path, went_on: dict[int, tuple[int, int]]) -> None:
    facts = read_edges(rtc)
    assert len(facts["clock_edges"]) == 4
    for row in facts["clock_edges"]:
        second, since_ns, until_ns = (int(row[name]) for name in ("second", "since_ns", "until_ns"))
        wait_until(partial(went_on.__contains__, second))  # the last one may be seen before it is written down
        earliest, latest = went_on[second]
        assert since_ns < latest and earliest < until_ns
        assert second * 10**9 - int(facts["realtime_offset_ns"]) < latest
    # Read at one instant, unless this process had to wait between the two; several times then.
    offsets = [time.time_ns() - time.monotonic_ns() for _ in range(5)]
    assert min(abs(int(facts["realtime_offset_ns"]) - offset) for offset in offsets) < 50_000_000


@pytest.mark.parametrize("name", ["", "rtc_cmos rtc_cmos\n"])
def test_another_clock_relates_nothing(name: str, tmp_path: Path) -> None:
    if name:
        (tmp_path / "name").write_text(name)
    facts = read_edges(tmp_path)
    assert "clock_edges" not in facts
    assert "expected rtc-pl031" in facts["no_clock_edges"]


# -------------------------------------------------------------------------------------------- the record, over SSH

LAB = Lab.from_inventory(
    {"boards": ["b"], "guests": ["b-guest"]},
    {"b": {"rtvirt_board_cpus": 2, "rtvirt_board_clock": "virtual", "rtvirt_board_kernels": {"rt": "debian-rt"}}},
)
MATRIX = {
    "name": "both",
    "cyclictest": {"loops": 400, "interval_us": 1000, "priority": 80, "histogram_us": 20000, "late_us": 19999},
    "both": {"host_cpu": 0, "late_us": 30},
    "splits": {"1-1": {"host_cpus": "0", "guest_cpus": "1"}},
    "experiments": {
        "e": {
            "axes": {
                **{"board": "b", "kernel": "rt", "tuning": "none", "split": "1-1"},
                **{"place": "both", "guest": "minimal", "workload": "idle"},
            }
        }
    },
}
PLAYBOOK = """\
- name: Record the end of a cell
  hosts: localhost
  gather_facts: false
  tasks:
    - name: Record it
      rtvirt.testbed.measure_cell:
        cell: "{{ cell }}"
        matrix_name: both
        results_dir: "{{ results }}"
        kernel_expects: {}
        is_measured: true
        board_after: "{{ after }}"
"""
THREAD = {"tid": 7, "policy": "fifo", "priority": 80, "cpus": "0", "last_ran_on": 0}
QEMU = {"name": "CPU 0/TCG", "tid": 9, "policy": "other", "priority": 0, "cpus": "0-1"}
STATE = {"guest_running": "yes", "guest_accelerator": "tcg", "online_cpus": "0-1", "vcpu_threads": [QEMU]}


def cyclictest_run(folder: Path, name: str, *options: str) -> dict[str, str]:
    """What cyclictest really writes, in files of that name."""
    path = folder / f"{name}.json"
    command = ["cyclictest", "--quiet", "--threads=1", "--policy=other", "--interval=1000", f"--json={path}"]
    done = subprocess.run([*command, "--histogram=20000", *options], capture_output=True, text=True, check=True)
    return {f"{name}.json": path.read_text(), f"{name}.txt": done.stdout}


def record_end(folder: Path, files: dict[str, str], thread: dict[str, Any]) -> Record:
    (cell,) = read_matrix({"matrix": MATRIX}, folder / "m.yml", LAB, Catalogue.load(collection.VARS)).cells
    cell = replace(cell, settings=())
    tree = ResultsTree(folder / "results")
    raw = cyclictest_run(folder, "cyclictest", "--loops=400", "--spike=19999", "--spike-nodes=5000")
    board = STATE | {"realtime": False, "cyclictest": [THREAD | {"seen": "before"}]}
    system = {"board": board, "guest": {}, "after": {"board": None, "guest": {}}, "noted": []}
    status = Status("failed", NOT_READ_BACK, "2026-01-01T00:00:00Z", "2026-01-01T00:01:00Z", 2, 1.0, 5.0)
    tree.write_record("both", cell, status, system, raw)
    row = {name: str(value) for name, value in (THREAD | {"seen": "after"} | thread).items()}  # as a script says it
    facts = STATE | {"cyclictest": [row], "vcpu_threads": [{name: str(value) for name, value in QEMU.items()}]}
    (folder / "play.yml").write_text(PLAYBOOK)
    after = {"facts": facts, "seconds": 1.5, "files": files}
    given = {"cell": cell.as_dict(), "results": str(tree.root), "after": after}
    (folder / "given.json").write_text(json.dumps(given))
    command = [str(Path(sys.executable).parent / "ansible-playbook"), "-e", "@given.json", "play.yml"]
    env = {**os.environ, "ANSIBLE_CONFIG": str(collection.ANSIBLE_CONFIG), "ANSIBLE_NOCOLOR": "1"}
    subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=True)
    (record,) = tree.load_records("both")
    return record


def test_the_record_is_done_when_both_sides_are_whole(tmp_path: Path) -> None:
    files = cyclictest_run(tmp_path, "cyclictest-host", "--loops=500", "--spike=30", "--spike-nodes=5000")
    record = record_end(tmp_path, files | {"cyclictest.json": "another", "../status.json": "{}"}, {})
    assert (record.status.status, record.status.reason) == ("done", "")
    assert record.output and record.output.host and record.output.host.latencies.threads[0].samples == 500
    assert record.system["after"]["board"]["cyclictest"][0]["seen"] == "after"


@pytest.mark.parametrize(
    ("thread", "reason"),
    [
        ({}, "The record has neither cyclictest-host.json nor cyclictest-host.txt."),
        ({"cpus": "1"}, "The measurement on the host is not the one that the cell asks for: the thread of the board's"),
    ],
)
def test_a_side_that_is_not_whole_fails_the_cell(thread: dict[str, Any], reason: str, tmp_path: Path) -> None:
    record = record_end(tmp_path, {}, thread)
    assert record.status.status == "failed"
    assert record.status.reason.startswith(reason)
