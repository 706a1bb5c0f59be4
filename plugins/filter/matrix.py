"""Filters plan, boot_group and board_environment; wraps rtvirt_runner.matrix, which expands, orders and resumes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleFilterError

try:
    from ansible_collections.rtvirt.testbed.plugins.plugin_utils.ansible_matrix import load_matrix, read_state
    from ansible_collections.rtvirt.testbed.plugins.plugin_utils.plain import plain

    from rtvirt_runner.catalogue import checked_yaml
    from rtvirt_runner.machine import cell_script
    from rtvirt_runner.matrix import plan, results, ways
    from rtvirt_runner.matrix.cell import Cell
    from rtvirt_runner.matrix.select import select_cells
except ImportError as error:
    MISSING: ImportError | None = error
else:
    MISSING = None

NEEDED = "the Python package rtvirt-runner next to Ansible; run ./rtvirt once and use .venv/bin/ansible-playbook."

DOCUMENTATION = r"""
name: plan
short_description: The pending cells of a matrix, ordered by cost
version_added: 0.1.0
author: rtvirt maintainers (@rtvirt)
description:
  - Reads and validates a matrix file against the inventory and the catalogue, and leaves out the cells that are done
    according to their record in the results folder.
  - Needs the Python package C(rtvirt-runner), which C(./rtvirt) installs into C(.venv).
positional: _input
options:
  _input:
    description: The matrix, as a path or as the name of one that comes with rtvirt, such as V(smoke).
    type: str
    required: true
  groups:
    description: Ansible's C(groups).
    type: dict
    required: true
  hostvars:
    description: Ansible's C(hostvars); only C(rtvirt_board_cpus) and C(rtvirt_board_clock) of boards are read.
    type: dict
    required: true
  vars_dir:
    description: The folder that holds C(kernels.yml), C(tunings.yml) and C(workloads.yml).
    type: path
    required: true
  results_dir:
    description: The results folder.
    type: path
    required: true
  board:
    description: Only the boot groups of this board; without it, of all boards.
    type: str
  only:
    description: Only cells of these boards and experiments, or with these ids (docs/writing-a-matrix.md).
    type: list
    elements: str
    default: []
  sealed:
    description: Whether boards with C(rtvirt_board_sealed) are measured sealed, where their cells allow it.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Show what is left to do on this board
  ansible.builtin.debug:
    msg: >-
      {{ 'smoke' | rtvirt.testbed.plan(groups=groups, hostvars=hostvars, vars_dir=playbook_dir ~ '/vars',
                                       results_dir='results', board=inventory_hostname) }}
"""

RETURN = r"""
_value:
  description:
    - Boot groups that have pending cells. Each has C(matrix), C(board), C(kernel), C(kernel_params) (added to the
      kernel's command line), C(repetition), C(sealed) and C(guests); a guest group has C(name), C(settings),
      C(host_cpus), C(guest_cpus), C(state), C(image) and C(cells). A sealed boot has C(cells) as well, up to the last
      pending one.
  type: list
  elements: dict
"""


def pending_plan(
    matrix_file: str,
    groups: Mapping[str, Sequence[str]],
    hostvars: Mapping[str, Mapping[str, Any]],
    vars_dir: str,
    results_dir: str,
    board: str | None = None,
    sealed: bool = False,
    only: str | Sequence[str] = (),
) -> list[dict[str, Any]]:
    """The boot groups with pending cells of a matrix, as plain values; raises AnsibleFilterError, one sentence."""
    if MISSING is not None:
        raise AnsibleFilterError(f"The filter rtvirt.testbed.plan needs {NEEDED}") from MISSING
    try:
        loaded, lab, catalogue = load_matrix(matrix_file, groups, hostvars, vars_dir)
        chosen = select_cells(loaded, [only] if isinstance(only, str) else [str(name) for name in only])
    except checked_yaml.InputError as error:
        raise AnsibleFilterError(str(error)) from error
    tree = results.ResultsTree(Path(str(results_dir)))
    pending = tree.pending(loaded.name, chosen)
    try:
        tree.refuse_newer(loaded.name, pending)
    except results.ResultsError as error:
        raise AnsibleFilterError(str(error)) from error
    pending = [cell for cell in pending if board is None or cell.board == str(board)]
    boots: list[dict[str, Any]] = []
    if sealed:
        boots = [
            {"matrix": loaded.name, **boot.as_dict(), "sealed": True, "cells": [cell.as_dict() for cell in cells]}
            for boot, cells in ways.sealed_boots(loaded.cells, pending, lab, catalogue)
        ]
        pending = [cell for cell in pending if ways.why_over_ssh(cell, lab, catalogue)]
    return boots + [{"matrix": loaded.name, **boot.as_dict(), "sealed": False} for boot in plan.plan(pending)]


def boot_group(
    state: Any,
    groups: Mapping[str, Sequence[str]],
    hostvars: Mapping[str, Mapping[str, Any]],
    vars_dir: str,
    board: str,
) -> dict[str, Any]:
    """The boot group, with one guest group, of a board in a state; raises AnsibleFilterError for an invalid state."""
    if MISSING is not None:
        raise AnsibleFilterError(f"The filter rtvirt.testbed.boot_group needs {NEEDED}") from MISSING
    try:
        cell = read_state(state, str(board), groups, hostvars, vars_dir)
    except checked_yaml.InputError as error:
        raise AnsibleFilterError(str(error)) from error
    return plan.plan([cell])[0].as_dict()


def board_environment(cell: Mapping[str, Any]) -> dict[str, str]:
    """The variables of the scripts that run on the board before a cell of the plan."""
    return cell_script.board_environment(Cell.from_dict(plain(cell)))


class FilterModule:
    """The plugin class that Ansible loads."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """The filters by name."""
        return {"plan": pending_plan, "boot_group": boot_group, "board_environment": board_environment}
