"""How a run ends: after the current cells, at once, or killed; and the next one goes on without a half record."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rtvirt_runner.catalogue import collection
from rtvirt_runner.catalogue.catalogue import Catalogue
from rtvirt_runner.catalogue.lab import Lab
from rtvirt_runner.matrix.cell import Cell
from rtvirt_runner.matrix.load import read_matrix
from rtvirt_runner.matrix.results import ResultsTree

CELL_S = 2.5
LIMIT_S = 60.0
MATRIX = {
    "name": "here",
    "repetitions": 6,
    "cyclictest": {"loops": int(CELL_S * 1000), "interval_us": 1000, "priority": 80, "histogram_us": 20000},
    "splits": {"1-1": {"host_cpus": "0", "guest_cpus": "1"}},
    "experiments": {
        "all": {
            "axes": {
                "board": ["one", "two"],
                "kernel": ["running"],
                "tuning": ["none"],
                "split": ["1-1"],
                "place": ["host"],
                "workload": ["idle"],
            }
        }
    },
}
# The tasks of a cell as they are, on this machine.
PLAYBOOK = """\
- name: Measure
  hosts: boards
  gather_facts: false
  strategy: free
  vars:
    rtvirt_kernels: {}
    rtvirt_cell_slack_s: 60
    rtvirt_results_dir: "{{ playbook_dir }}/results"
    boot: {matrix: here, kernel: running}
    group: {state: {}, settings: [], host_cpus: '0', guest_cpus: '1'}
  tasks:
    - name: Measure each cell
      ansible.builtin.include_tasks: TASKS/cell.yml
      loop: "{{ lookup('ansible.builtin.file', playbook_dir ~ '/cells.json') | from_json
        | selectattr('board', 'equalto', inventory_hostname) }}"
      loop_control:
        loop_var: cell
"""
CALLER = """\
import sys
from pathlib import Path
from rtvirt_runner.run.playbooks import run_playbook
playbook, inventory, log_dir = map(Path, sys.argv[1:])
outcome = run_playbook(playbook, inventory, {}, log_dir=log_dir)
sys.exit(130 if outcome.interrupted else 0 if outcome.ok else 1)
"""


def cells() -> tuple[Cell, ...]:
    boards = {
        name: {"rtvirt_board_cpus": 2, "rtvirt_board_clock": "real", "rtvirt_board_boots": False}
        for name in ("one", "two")
    }
    lab = Lab.from_inventory({"boards": [*boards]}, boards)
    return read_matrix({"matrix": MATRIX}, Path("matrix"), lab, Catalogue.load(collection.VARS)).cells


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with a playbook of twelve cells on two boards: this machine, with a /run of each command's own.

    A machine is held by one command at a time (hold_machine.sh), and these are to be two machines.
    """
    if (os.cpu_count() or 1) < 2:
        pytest.skip("this machine has one core, and a split needs two")
    (tmp_path / "cells.json").write_text(json.dumps([cell.as_dict() for cell in cells()]))
    (tmp_path / "play.yml").write_text(PLAYBOOK.replace("TASKS", str(collection.ROOT / "playbooks" / "tasks")))
    board = "{ansible_connection: local, ansible_python_interpreter: '{{ ansible_playbook_python }}'}"
    (tmp_path / "shell").write_text(
        '#!/bin/sh\nexec unshare --mount sh -c \'mount -t tmpfs tmpfs /run; exec sh "$@"\' sh "$@"\n'
    )
    (tmp_path / "shell").chmod(0o755)
    (tmp_path / "lab.yml").write_text(f"boards:\n  hosts:\n    one: {board}\n    two: {board}\n")
    return tmp_path


def start(place: Path, plain: bool = False) -> subprocess.Popen[str]:
    """Run the playbook as ``rtvirt matrix`` does, or as somebody would who knows only Ansible."""
    scripts = Path(sys.executable).parent
    paths = [place / "play.yml", place / "lab.yml"]
    command: list[Any] = [sys.executable, "-c", CALLER, *paths, place / "log"]
    if plain:
        command = [scripts / "ansible-playbook", paths[0], "-i", paths[1]]
    env = {**os.environ, "ANSIBLE_CONFIG": str(collection.ANSIBLE_CONFIG), "TMPDIR": str(place)}
    env["ANSIBLE_EXECUTABLE"] = str(place / "shell")
    return subprocess.Popen(
        command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True
    )


def records(place: Path) -> dict[str, str]:
    """Id -> status of every recorded cell; and that no record is less than whole."""
    tree = ResultsTree(place / "results")
    found = tree.load_records("here")
    visible = [path for path in (place / "results" / "here").glob("*/*") if not path.name.startswith(".")]
    assert len(visible) == len(found)
    return {record.cell.id: record.status.status for record in found}


def measuring(place: Path) -> list[int]:
    """The processes of cyclictest that this playbook has started."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            if (path / "cmdline").read_bytes().startswith(b"cyclictest\0--quiet"):
                found += [int(path.name)] if str(place).encode() in (path / "environ").read_bytes() else []
        except OSError:  # it has ended
            continue
    return found


def processes(place: Path) -> list[int]:
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            if str(place).encode() in (path / "cmdline").read_bytes() and int(path.name) != os.getpid():
                found.append(int(path.name))
        except OSError:  # it has ended
            continue
    return found


def wait_until(condition: Callable[[], object], limit_s: float = LIMIT_S) -> None:
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


def test_the_first_ctrl_c_finishes_the_current_cells_and_leaves_the_rest(place: Path) -> None:
    run = start(place)
    wait_until(lambda: len(measuring(place)) == 2)
    before = records(place) if (place / "results").exists() else {}
    run.send_signal(signal.SIGINT)
    _, said = run.communicate(timeout=LIMIT_S)
    assert run.returncode == 130
    lines = [line for line in said.splitlines() if "interrupted" in line]
    assert len(lines) == 1 and "finishing the cells that are being measured, the rest is left" in lines[0]
    after = records(place)
    assert len(after) == len(before) + 2 and set(after.values()) == {"done"}
    wait_until(lambda: not processes(place))


def test_the_second_ctrl_c_drops_them(place: Path) -> None:
    run = start(place)
    wait_until(lambda: len(measuring(place)) == 2)
    before = len(records(place)) if (place / "results").exists() else 0
    run.send_signal(signal.SIGINT)
    time.sleep(0.2)
    run.send_signal(signal.SIGINT)
    _, said = run.communicate(timeout=LIMIT_S)
    assert run.returncode == 130
    assert "the cells that are being measured are dropped" in said
    assert len(records(place) if (place / "results").exists() else {}) == before
    wait_until(lambda: not processes(place))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_the_other_signals_drop_them_at_once(place: Path, number: signal.Signals) -> None:
    run = start(place)
    wait_until(lambda: len(measuring(place)) == 2)
    run.send_signal(number)
    _, said = run.communicate(timeout=LIMIT_S)
    assert run.returncode == 130
    assert "the cells that are being measured are dropped" in said
    wait_until(lambda: not processes(place))


def test_between_cells_there_is_nothing_to_finish(place: Path) -> None:
    play = (
        (place / "play.yml").read_text().replace("  tasks:", "  tasks:\n    - ansible.builtin.pause: {seconds: 300}", 1)
    )
    (place / "play.yml").write_text(play)
    run = start(place)
    wait_until(
        lambda: list((place / "log").glob("*.log")) and "pause" in next((place / "log").glob("*.log")).read_text()
    )
    run.send_signal(signal.SIGINT)
    _, said = run.communicate(timeout=LIMIT_S)
    assert run.returncode == 130
    assert "no cell is being measured: ending Ansible" in said
    assert not (place / "results").exists()


def test_a_signal_that_is_ignored_stays_ignored(place: Path) -> None:
    """As below nohup."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        run = start(place)
    finally:
        signal.signal(signal.SIGHUP, before)
    wait_until(lambda: len(measuring(place)) == 2)
    run.send_signal(signal.SIGHUP)
    time.sleep(1)
    assert run.poll() is None
    run.send_signal(signal.SIGTERM)
    assert run.wait(LIMIT_S) == 130


def interrupt_until_it_ends(run: subprocess.Popen[str]) -> None:
    """As somebody does at a terminal, who presses the keys again where nothing has happened.

    Python loses an interrupt that comes while it does what is to be done after a fork (``os.register_at_fork``: it
    says "Exception ignored"), and Ansible forks for each task.
    """
    for _ in range(3):
        os.killpg(run.pid, signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            run.communicate(timeout=LIMIT_S / 3)
            return
    raise AssertionError("ansible-playbook has not ended after three interrupts")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_plain_ansible_leaves_no_half_record_either(place: Path, number: signal.Signals) -> None:
    run = start(place, plain=True)
    wait_until(lambda: (place / "results").exists() and records(place) and measuring(place))
    if number == signal.SIGINT:
        interrupt_until_it_ends(run)
    else:
        run.send_signal(number)
        run.communicate(timeout=LIMIT_S)
    wait_until(lambda: not processes(place), limit_s=20)
    whole = records(place)
    assert whole
    time.sleep(CELL_S + 1)  # a worker that went on would have recorded its cell by now
    assert records(place) == whole


def test_killed_at_any_time_the_next_run_goes_on_and_loses_nothing(place: Path) -> None:
    """Any process of the run is killed, again and again; what was recorded before stays as it is."""
    chance = random.Random(14)
    until = time.monotonic() + 20
    known: dict[str, str] = {}
    while time.monotonic() < until:
        run = start(place, plain=chance.random() < 0.5)
        time.sleep(chance.uniform(1, 5))
        if victims := [pid for pid in processes(place) if pid != os.getpid()]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(chance.choice(victims), signal.SIGKILL)
        time.sleep(chance.uniform(0, 0.5))
        run.kill()
        run.communicate(timeout=LIMIT_S)
        wait_until(lambda: not processes(place), limit_s=20)
        now = records(place) if (place / "results").exists() else {}
        assert {cell: status for cell, status in known.items() if status == "done" and now.get(cell) != "done"} == {}
        known = now
    run = start(place)
    run.communicate(timeout=LIMIT_S * 2)
    assert set(records(place)) == {cell.id for cell in cells()}
    assert list((place / "results").rglob(".*")) == []
