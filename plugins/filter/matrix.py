"""Filters plan, boot_group, board_environment, board_sets, neighbour_load.

Wraps rtvirt_runner.matrix, which expands and orders.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.rtvirt.testbed.plugins.plugin_utils.package import FilterImports
from ansible_collections.rtvirt.testbed.plugins.plugin_utils.plain import plain

with FilterImports() as imports:
    from ansible_collections.rtvirt.testbed.plugins.plugin_utils.ansible_matrix import load_matrix, read_state

    from rtvirt_runner.catalogue import checked_yaml
    from rtvirt_runner.machine import cell_script, guest_script
    from rtvirt_runner.matrix import plan, results, ways
    from rtvirt_runner.matrix.asked_traces import AskedTrace, traces_left
    from rtvirt_runner.matrix.cell import Cell
    from rtvirt_runner.matrix.select import select_cells


def pending_plan(
    matrix_file: str,
    groups: Mapping[str, Sequence[str]],
    hostvars: Mapping[str, Mapping[str, Any]],
    vars_dir: str,
    results_dir: str,
    board: str | None = None,
    sealed: bool = False,
    only: str | Sequence[str] = (),
    done: bool = False,
    repetitions: Any = 0,
) -> list[dict[str, Any]]:
    """The boot groups with pending cells or traces of a matrix, as plain values; raises AnsibleFilterError.

    With ``done``, those with done cells as well, and no traces. The error is one sentence.
    """
    try:
        loaded, lab, catalogue = load_matrix(matrix_file, groups, hostvars, vars_dir, repetitions)
        chosen = select_cells(loaded, [only] if isinstance(only, str) else [str(name) for name in only])
    except checked_yaml.InputError as error:
        raise AnsibleFilterError(str(error)) from error
    tree = results.ResultsTree(Path(str(results_dir)))
    pending = list(chosen) if done else tree.pending(loaded.name, chosen)
    try:
        tree.refuse_newer(loaded.name, pending)
    except results.ResultsError as error:
        raise AnsibleFilterError(str(error)) from error
    pending = [cell for cell in pending if board is None or cell.board == str(board)]
    is_sealed = {cell for cell in chosen if sealed and not ways.why_over_ssh(cell, lab, catalogue)}
    traces = [] if done else traces_left(loaded, tree, chosen, is_sealed)
    traces = [each for each in traces if board is None or each.cell.board == str(board)]
    boots = []
    if sealed:
        traced = [each for each in traces if each.cell in is_sealed]
        groups_sealed = ways.sealed_boots(loaded.cells, pending, lab, catalogue, {each.cell for each in traced})
        boots = [
            {
                **{"matrix": loaded.name, **boot.as_dict(), "sealed": True},
                "cells": [cell.as_dict() for cell in cells],
                "traces": [each.as_dict() for each in traced if each.cell in boot.cells],
            }
            for boot, cells in groups_sealed
        ]
        pending = [cell for cell in pending if cell not in is_sealed]
        traces = [each for each in traces if each.cell not in is_sealed]
    wanted = {*pending, *(each.cell for each in traces)}
    groups_over_ssh = plan.plan(cell for cell in chosen if cell in wanted)
    return boots + [
        {"matrix": loaded.name, **boot.as_dict(), "guests": _guests(boot, pending, traces), "sealed": False}
        for boot in groups_over_ssh
    ]


def _guests(boot: plan.BootGroup, pending: Iterable[Cell], traces: Sequence[AskedTrace]) -> list[dict[str, Any]]:
    """The guest groups of a boot, each with its pending cells and with the traces that are made after them."""
    to_measure = set(pending)
    return [
        {
            **group.as_dict(),
            "cells": [cell.as_dict() for cell in group.cells if cell in to_measure],
            "traces": [each.as_dict() for each in traces if each.cell in group.cells],
        }
        for group in boot.guests
    ]


def boot_group(
    state: Any,
    groups: Mapping[str, Sequence[str]],
    hostvars: Mapping[str, Mapping[str, Any]],
    vars_dir: str,
    board: str,
) -> dict[str, Any]:
    """The boot group, with one guest group, of a board in a state; raises AnsibleFilterError for an invalid state."""
    try:
        cell = read_state(state, str(board), groups, hostvars, vars_dir)
    except checked_yaml.InputError as error:
        raise AnsibleFilterError(str(error)) from error
    return plan.plan([cell])[0].as_dict()


def board_environment(cell: Mapping[str, Any]) -> dict[str, str]:
    """The variables of the scripts that run on the board before a cell of the plan."""
    return cell_script.board_environment(Cell.from_dict(plain(cell)))


def board_sets(cell: Mapping[str, Any]) -> dict[str, list[str]]:
    """The sets of scripts that run on the board ``before`` and ``after`` a cell of the plan, besides its state's."""
    return cell_script.board_sets(Cell.from_dict(plain(cell)))


def neighbour_load(programs: Mapping[str, Mapping[str, Any]]) -> str:
    """The script that a neighbour runs; raises AnsibleFilterError for a program without a command."""
    try:
        return guest_script.neighbour_load(plain(programs))
    except checked_yaml.InputError as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    """The plugin class that Ansible loads."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """The filters by name."""
        filters = {
            "plan": pending_plan,
            "boot_group": boot_group,
            "board_environment": board_environment,
            "board_sets": board_sets,
            "neighbour_load": neighbour_load,
        }
        return imports.usable(filters)
