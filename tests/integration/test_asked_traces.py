"""Traces of a matrix in real playbooks: planned with the cells they are of, and told where they cannot be made."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from rtvirt_runner.catalogue import collection
from rtvirt_runner.matrix.cell import Cell
from rtvirt_runner.matrix.results import ResultsTree, Status

LAB = """\
boards: {hosts: {pi: {rtvirt_board_cpus: 2, rtvirt_board_clock: real, ansible_connection: local}}}
guests: {hosts: {pi-guest: }}
"""
SEALED_LAB = LAB.replace("rtvirt_board_clock: real", "rtvirt_board_clock: virtual, rtvirt_board_sealed: true")
AXES = {
    **{"board": ["pi"], "kernel": ["linux-6.12-rt"], "tuning": ["none", "paper"], "split": ["1-1"]},
    **{"place": ["host", "guest"], "guest": ["minimal"], "workload": ["idle"]},
}
MATRIX = {
    "name": "late",
    "cyclictest": {"loops": 1000, "interval_us": 1000, "priority": 95, "histogram_us": 20000},
    "splits": {"1-1": {"host_cpus": "0", "guest_cpus": "1"}},
    "experiments": {
        "late": {"axes": {**AXES, "place": ["guest"]}, "trace": {"threshold_us": 250}},
        "more": {"axes": {**AXES, "place": ["host"]}},
    },
}
PLAYBOOK = """\
- name: Plan
  hosts: boards
  gather_facts: false
  tasks:
    - name: Plan
      ansible.builtin.include_tasks: TASKS/plan.yml
    - name: Keep the plan
      ansible.builtin.copy:
        content: "{{ rtvirt_all_plans | to_json }}"
        dest: "{{ rtvirt_results_dir }}/plan.json"
        mode: "0644"
    - name: Trace the first
      ansible.builtin.include_tasks: TASKS/trace_asked.yml
      loop: "{{ (boot.guests | subelements('traces'))[:1] if traces | bool else [] }}"
      loop_control:
        loop_var: asked
      vars:
        boot: "{{ rtvirt_all_plans[0] }}"
"""


def play(folder: Path, traces: bool = False, sealed: bool = False) -> tuple[list[dict[str, Any]], str]:
    """The plan, and what Ansible said."""
    (folder / "lab.yml").write_text(SEALED_LAB if sealed else LAB)
    (folder / "late.yml").write_text(yaml.safe_dump({"matrix": MATRIX}))
    (folder / "vars").unlink(missing_ok=True)
    (folder / "vars").symlink_to(collection.VARS)
    (folder / "plan.yml").write_text(PLAYBOOK.replace("TASKS", str(collection.PLAYBOOKS / "tasks")))
    given = {"rtvirt_matrix": str(folder / "late.yml"), "rtvirt_results_dir": str(folder), "traces": traces}
    given |= {"rtvirt_sealed": sealed, "ansible_python_interpreter": sys.executable}
    env = {**os.environ, "ANSIBLE_CONFIG": str(collection.ANSIBLE_CONFIG), "ANSIBLE_NOCOLOR": "1", "COLUMNS": "4000"}
    command = [Path(sys.executable).parent / "ansible-playbook", "-i", "lab.yml", "-e", json.dumps(given), "plan.yml"]
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    plan: list[dict[str, Any]] = json.loads((folder / "plan.json").read_text())
    return plan, done.stdout + done.stderr


def groups(plan: list[dict[str, Any]]) -> list[tuple[str, list[str], list[str]]]:
    """Of each guest group its guest, and the tunings of its cells and of its traces."""
    return [
        (
            guest["name"],
            [cell["tuning"] for cell in guest["cells"]],
            [each["cell"]["tuning"] for each in guest["traces"]],
        )
        for boot in plan
        for guest in boot["guests"]
    ]


def store(tree: ResultsTree, cell: Cell, **system: Any) -> None:
    status = Status("done", "", "2026-01-01T00:00:00Z", "2026-01-01T00:01:00Z", 3, 1.0, 5.0)
    samples = {"histogram": {"50": cell.loops}, "cycles": cell.loops, "min": 50, "avg": 50.0, "max": 50}
    tree.write_record("late", cell, status, system, {"cyclictest.json": json.dumps({"thread": {"0": samples}})})


def test_a_plan_has_the_traces_that_are_left_with_the_group_of_their_cell(tmp_path: Path) -> None:
    tree = ResultsTree(tmp_path)
    plan, _ = play(tmp_path)
    assert groups(plan) == [
        *(("none", ["none"], []), ("minimal", ["none"], ["none"])),
        *(("none", ["paper"], []), ("minimal", ["paper"], ["paper"])),
    ]
    cells = [Cell.from_dict(cell) for boot in plan for guest in boot["guests"] for cell in guest["cells"]]
    assert plan[0]["guests"][1]["traces"] == [{"cell": cells[1].as_dict(), "threshold": 250, "from_record": True}]
    for cell in cells:
        store(tree, cell)
    plan, _ = play(tmp_path)
    assert groups(plan) == [("minimal", [], ["none"]), ("minimal", [], ["paper"])]
    tree.keep_trace("late", cells[1], {"trace.json": "{}"})
    plan, _ = play(tmp_path)
    assert groups(plan) == [("minimal", [], ["paper"])]


def test_a_sealed_plan_has_the_traces_of_its_cells_even_where_all_are_measured(tmp_path: Path) -> None:
    tree = ResultsTree(tmp_path)
    plan, _ = play(tmp_path, sealed=True)
    assert {boot["sealed"] for boot in plan} == {True}
    traced = [(len(boot["cells"]), [each["cell"]["tuning"] for each in boot["traces"]]) for boot in plan]
    assert traced == [(1, []), (1, ["none"]), (1, []), (1, ["paper"])]
    cells = [Cell.from_dict(cell) for boot in plan for cell in boot["cells"]]
    for cell in cells[:3]:
        store(tree, cell, sealed={"key": "0" * 8})
    store(tree, cells[3])  # over SSH
    plan, _ = play(tmp_path, sealed=True)
    assert [boot["cells"] for boot in plan] == [[], []]
    assert [each for boot in plan for each in boot["traces"]] == [
        {"cell": cells[1].as_dict(), "threshold": 250, "from_record": True},
        {"cell": cells[3].as_dict(), "threshold": 250, "from_record": False},
    ]


def test_a_trace_that_cannot_be_made_fails_nothing_and_is_stored_with_its_reason(tmp_path: Path) -> None:
    plan, said = play(tmp_path, traces=True)
    cell = Cell.from_dict(plan[0]["guests"][1]["traces"][0]["cell"])
    reason = "The cell without a trace is no measurement: it was not measured"
    assert ResultsTree(tmp_path).untraced("late", cell) == reason
    assert f"[WARNING]: Cell {cell.id} was not traced: {reason}" in said
    assert ResultsTree(tmp_path).find("late", cell) is None
