"""rtvirt.testbed.plan inside a real playbook: plain lists in, one sentence out when something is wrong."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from rtvirt_runner.catalogue import collection
from rtvirt_runner.catalogue.catalogue import Catalogue
from rtvirt_runner.catalogue.checked_yaml import InputError
from rtvirt_runner.catalogue.lab import Lab
from rtvirt_runner.matrix.cell import Cell
from rtvirt_runner.matrix.load import load_matrix, state_cell
from rtvirt_runner.matrix.results import ResultsTree, Status
from rtvirt_runner.matrix.stored import read_stored
from rtvirt_runner.run.playbooks import read_inventory

LAB = """\
boards:
  hosts:
    virtual-rpi2: {rtvirt_board_cpus: 4}
    virtual-cb2: {rtvirt_board_cpus: 2}
  vars:
    ansible_connection: local
    rtvirt_board_clock: "{{ 'virtual' }}"
    rtvirt_board_kernels: {rt: debian-rt, with-rt: linux-6.12-rt, without-rt: linux-6.12}
guests: {hosts: {virtual-rpi2-guest: , virtual-cb2-guest: }}
rpi2: {hosts: {virtual-rpi2: }}
cb2: {hosts: {virtual-cb2: }}
"""
PLAYBOOK = """\
- name: Ask
  hosts: boards
  gather_facts: false
  tasks:
    - name: Write the plan of each board
      ansible.builtin.copy:
        content: "{{ matrix | rtvirt.testbed.plan(groups=groups, hostvars=hostvars, vars_dir=vars_dir,
                                                  results_dir=results_dir, board=inventory_hostname,
                                                  repetitions=repetitions) | to_json }}"
        dest: "{{ results_dir }}/{{ inventory_hostname }}.json"
        mode: "0644"
"""


FULL = [
    "isolcpus=managed_irq,domain,1",
    "nohz_full=1",
    "rcu_nocbs=1",
    "irqaffinity=0",
    "kvm-arm.wfi_trap_policy=notrap",
]


def play(folder: Path, matrix: str, repetitions: str = "0") -> subprocess.CompletedProcess[str]:
    (folder / "lab.yml").write_text(LAB)
    (folder / "ask.yml").write_text(PLAYBOOK)
    given = {"matrix": matrix, "repetitions": repetitions, "vars_dir": str(collection.VARS), "results_dir": str(folder)}
    env = {**os.environ, "ANSIBLE_CONFIG": str(collection.ANSIBLE_CONFIG), "ANSIBLE_PYTHON_INTERPRETER": sys.executable}
    command = [Path(sys.executable).parent / "ansible-playbook", "-i", "lab.yml", "-e", json.dumps(given), "ask.yml"]
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)


def test_each_board_gets_its_pending_cells_only(tmp_path: Path) -> None:
    assert (done := play(tmp_path, "smoke")).returncode == 0, done.stdout + done.stderr
    boots = json.loads((tmp_path / "virtual-cb2.json").read_text())
    assert states(boots) == [
        ("linux-6.12-rt", []),
        ("linux-6.12-rt", ["isolcpus=1"]),
        ("linux-6.12-rt", FULL),
        ("linux-6.12-rt", FULL[1:-1]),
        ("linux-6.12", []),
    ]
    assert {boot["board"] for boot in boots} == {"virtual-cb2"}

    for guest in boots[2]["guests"]:
        for values in guest["cells"]:
            store(ResultsTree(tmp_path), Cell.from_dict(values))
    assert play(tmp_path, "smoke").returncode == 0
    boots = json.loads((tmp_path / "virtual-cb2.json").read_text())
    assert states(boots) == [
        ("linux-6.12-rt", []),
        ("linux-6.12-rt", ["isolcpus=1"]),
        ("linux-6.12-rt", FULL[1:-1]),
        ("linux-6.12", []),
    ]


def states(boots: list[dict[str, Any]]) -> list[tuple[str, list[str]]]:
    return [(boot["kernel"], boot["kernel_params"]) for boot in boots]


def store(tree: ResultsTree, cell: Cell) -> None:
    status = Status("done", "", "2026-01-01T00:00:00Z", "2026-01-01T00:01:00Z", 3, 1.0, 5.0)
    samples = {"histogram": {"50": cell.loops}, "cycles": cell.loops, "min": 50, "avg": 50.0, "max": 50}
    raw = {"cyclictest.json": json.dumps({"thread": {"0": samples}})}
    if cell.program:
        raw["workload.txt"] = json.dumps({"seconds_per_iteration": 1, "digest": cell.program.digest})
    tree.write_record("smoke", cell, status, {}, raw)


def test_repetitions_stand_in_for_those_of_the_matrix(tmp_path: Path) -> None:
    assert (done := play(tmp_path, "first", repetitions="2")).returncode == 0, done.stdout + done.stderr
    boots = json.loads((tmp_path / "virtual-cb2.json").read_text())
    assert sorted(boot["repetition"] for boot in boots) == [1, 1, 1, 2, 2, 2]
    done = play(tmp_path, "first", repetitions="two")
    assert done.returncode == 2
    assert "rtvirt_repetitions is 'two', expected a whole number" in done.stdout + done.stderr


def test_a_bad_matrix_fails_with_its_sentence(tmp_path: Path) -> None:
    bad = tmp_path / "bad.yml"
    bad.write_text((collection.VARS / "matrix_smoke.yml").read_text().replace("bitcount, qsort", "bitcuont, qsort"))
    done = play(tmp_path, str(bad))
    assert done.returncode == 2
    assert "did you mean 'bitcount'?" in done.stdout + done.stderr


def measure(folder: Path, matrix: str, *words: str) -> subprocess.CompletedProcess[str]:
    """The real playbook in check mode: it plans, and measures nothing."""
    (folder / "lab.yml").write_text(LAB)
    given = {"rtvirt_matrix": matrix, "rtvirt_results_dir": str(folder)}
    command = [Path(sys.executable).parent / "ansible-playbook", "-i", "lab.yml", "--check", "-e", json.dumps(given)]
    env = {**os.environ, "ANSIBLE_CONFIG": str(collection.ANSIBLE_CONFIG), "ANSIBLE_NOCOLOR": "1"}
    playbook = str(collection.PLAYBOOKS / "measure.yml")
    return subprocess.run(
        [*command, playbook, *words], cwd=folder, env=env, capture_output=True, text=True, check=False
    )


def test_a_playbook_plans_once_for_all_boards(tmp_path: Path) -> None:
    for words in ([], ["-l", "virtual-cb2"]):
        done = measure(tmp_path, "smoke", *words)
        assert done.returncode == 0, done.stdout + done.stderr
        planned = done.stdout.partition("TASK [Read the matrix and plan")[2].partition("PLAY")[0]
        assert planned.count("ok: [") == 1


def test_bad_input_ends_a_playbook_with_one_sentence_for_all_boards(tmp_path: Path) -> None:
    (tmp_path / "bad.yml").write_text(f"matrix: {'[' * 3000}")
    done = measure(tmp_path, str(tmp_path / "bad.yml"))
    assert done.returncode == 2
    assert (
        f"{tmp_path}/bad.yml: line 1: key 'matrix': it is nested more than 50 levels deep" in done.stdout + done.stderr
    )
    assert done.stdout.count("fatal: [") == 1 and "PLAY [Measure]" not in done.stdout


def test_a_state_is_checked_as_a_matrix_is(tmp_path: Path) -> None:
    lab = Lab.from_inventory(*read_inventory(collection.VIRTUAL_LAB))
    catalogue = Catalogue.load(collection.VARS, lab)
    state = {"kernel": "debian-rt", "tuning": "full", "host_cpus": "0", "guest_cpus": 1, "guest": "minimal"}
    cell = state_cell(state, "virtual-cb2", lab, catalogue)
    assert (cell.place, cell.split, cell.guest_cpus, cell.workload) == ("guest", "wanted", "1", "idle")
    for key, value, says in (
        ("kernel", "debian-rf", r"rtvirt_state.kernel: unknown kernel 'debian-rf'.*did you mean 'debian-rt'"),
        ("kernel", ["debian-rt"], r"rtvirt_state.kernel is \['debian-rt'\], expected one kernel"),
        ("tuning", "full-minus-each", r"rtvirt_state.tuning is 'full-minus-each', expected one tuning"),
        ("guest_cpus", "0-1", r"rtvirt_state: host_cpus '0' and guest_cpus '0-1' overlap on core 0"),
        ("guest_cpus", "2", r"guest_cpus is '2' but board 'virtual-cb2' has only cores 0-1"),
        ("guest", "minimum", r"rtvirt_state.guest: unknown guest 'minimum'.*did you mean 'minimal'"),
        ("colour", "red", r"rtvirt_state: unknown key 'colour'"),
    ):
        with pytest.raises(InputError, match=says):
            state_cell({**state, key: value}, "virtual-cb2", lab, catalogue)


PLAN = """\
- name: Plan
  hosts: boards
  gather_facts: false
  tasks:
    - name: Plan
      ansible.builtin.include_tasks: TASKS/plan.yml
"""


@pytest.mark.parametrize("check", [False, True])
def test_a_playbook_stores_its_matrix_with_the_results_before_it_measures(tmp_path: Path, check: bool) -> None:
    (tmp_path / "lab.yml").write_text(LAB)
    (tmp_path / "vars").symlink_to(collection.VARS)
    (tmp_path / "plan.yml").write_text(PLAN.replace("TASKS", str(collection.PLAYBOOKS / "tasks")))
    given = {"rtvirt_matrix": "smoke", "rtvirt_results_dir": str(tmp_path / "results"), "rtvirt_sealed": False}
    command = [Path(sys.executable).parent / "ansible-playbook", "-i", "lab.yml", "-e", json.dumps(given), "plan.yml"]
    env = {**os.environ, "ANSIBLE_CONFIG": str(collection.ANSIBLE_CONFIG), "ANSIBLE_NOCOLOR": "1"}
    for changed in (1, 0):
        words = ["--check"] if check else []
        done = subprocess.run([*command, *words], cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout
        assert f"changed={0 if check else changed} " in done.stdout
    if check:
        assert not (tmp_path / "results").exists()
        return
    found = read_stored(tmp_path / "results" / "smoke")
    assert found.matrix.cells == load_matrix(collection.matrix_path("smoke"), *lab_of(tmp_path)).cells


def lab_of(folder: Path) -> tuple[Lab, Catalogue]:
    groups, hostvars = read_inventory(folder / "lab.yml")
    for board in groups["boards"]:
        hostvars[board]["rtvirt_board_clock"] = "virtual"  # templated
    lab = Lab.from_inventory(groups, hostvars, folder)
    return lab, Catalogue.load(collection.VARS, lab)
