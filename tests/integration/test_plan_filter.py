"""rtvirt.testbed.plan inside a real playbook: plain lists in, one sentence out when something is wrong."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from rtvirt_runner.catalogue import collection
from rtvirt_runner.matrix.cell import Cell
from rtvirt_runner.matrix.results import ResultsTree, Status

LAB = """\
boards:
  hosts:
    virtual-rpi2: {rtvirt_board_cpus: 4}
    virtual-cb2: {rtvirt_board_cpus: 2}
  vars: {ansible_connection: local, rtvirt_board_clock: "{{ 'virtual' }}"}
guests: {hosts: {virtual-rpi2-guest: , virtual-cb2-guest: }}
"""
PLAYBOOK = """\
- name: Ask
  hosts: boards
  gather_facts: false
  tasks:
    - name: Write the plan of each board
      ansible.builtin.copy:
        content: "{{ matrix | rtvirt.testbed.plan(groups=groups, hostvars=hostvars, vars_dir=vars_dir,
                                                  results_dir=results_dir, board=inventory_hostname) | to_json }}"
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


def play(folder: Path, matrix: str) -> subprocess.CompletedProcess[str]:
    (folder / "lab.yml").write_text(LAB)
    (folder / "ask.yml").write_text(PLAYBOOK)
    given = {"matrix": matrix, "vars_dir": str(collection.VARS), "results_dir": str(folder)}
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

    for guest in boots[0]["guests"]:
        for values in guest["cells"]:
            store(ResultsTree(tmp_path), Cell.from_dict(values))
    assert play(tmp_path, "smoke").returncode == 0
    boots = json.loads((tmp_path / "virtual-cb2.json").read_text())
    assert states(boots) == [
        ("linux-6.12-rt", ["isolcpus=1"]),
        ("linux-6.12-rt", FULL),
        ("linux-6.12-rt", FULL[1:-1]),
        ("linux-6.12", []),
    ]


def states(boots: list[dict[str, Any]]) -> list[tuple[str, list[str]]]:
    return [(boot["kernel"], boot["kernel_params"]) for boot in boots]


def store(tree: ResultsTree, cell: Cell) -> None:
    status = Status("done", "", "2026-01-01T00:00:00Z", "2026-01-01T00:01:00Z", 3, 1.0, 5.0)
    tree.write_record("smoke", cell, status, {}, {})


def test_a_bad_matrix_fails_with_its_sentence(tmp_path: Path) -> None:
    bad = tmp_path / "bad.yml"
    bad.write_text((collection.VARS / "matrix_smoke.yml").read_text().replace("bitcount, qsort", "bitcuont, qsort"))
    done = play(tmp_path, str(bad))
    assert done.returncode == 2
    assert "did you mean 'bitcount'?" in done.stdout + done.stderr
