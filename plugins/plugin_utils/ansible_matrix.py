"""A matrix file read with what Ansible knows of the lab."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ansible_collections.rtvirt.testbed.plugins.plugin_utils.plain import plain

from rtvirt_runner.catalogue import checked_yaml, collection
from rtvirt_runner.catalogue.catalogue import Catalogue
from rtvirt_runner.catalogue.guests import NO_GUEST
from rtvirt_runner.catalogue.lab import LAB_WORKLOADS, Lab
from rtvirt_runner.matrix.cell import Cell
from rtvirt_runner.matrix.load import Matrix
from rtvirt_runner.matrix.load import load_matrix as load
from rtvirt_runner.matrix.load import read_matrix as read

BOARD_VARIABLES = (
    "rtvirt_board_cpus",
    "rtvirt_board_clock",
    "rtvirt_board_boots",
    "rtvirt_board_sealed",
    "guest_gic",
    "guest_kernel",
    LAB_WORKLOADS,
)


def load_matrix(
    matrix: str, groups: Mapping[str, Sequence[str]], hostvars: Mapping[str, Mapping[str, Any]], vars_dir: str
) -> tuple[Matrix, Lab, Catalogue]:
    """Read and validate; raises InputError."""
    lab = Lab.from_inventory(*_plain_inventory(groups, hostvars))
    catalogue = Catalogue.load(Path(str(vars_dir)), lab)
    return load(collection.matrix_path(str(matrix)), lab, catalogue), lab, catalogue


def read_state(
    state: Mapping[str, Any],
    board: str,
    groups: Mapping[str, Sequence[str]],
    hostvars: Mapping[str, Mapping[str, Any]],
    vars_dir: str,
) -> Cell:
    """The cell that would be measured on a board in a state (kernel, tuning, core lists, guest); raises InputError."""
    lab = Lab.from_inventory(*_plain_inventory(groups, hostvars))
    wanted = {str(key): plain(value) for key, value in state.items()}
    where = Path("rtvirt_state")
    checked_yaml.known_keys(wanted, ("kernel", "tuning", "host_cpus", "guest_cpus", "guest"), str(where))
    guest = wanted.get("guest", NO_GUEST)
    axes = {key: wanted.get(key) for key in ("kernel", "tuning")} | {
        "board": board,
        "split": "wanted",
        "workload": "idle",
    }
    axes |= {"place": ["host"]} if guest == NO_GUEST else {"place": "guest", "guest": guest}
    document = {
        "name": "converge",
        "cyclictest": {"loops": 1000, "interval_us": 1000, "priority": 95, "histogram_us": 20000},
        "splits": {"wanted": {key: wanted.get(key) for key in ("host_cpus", "guest_cpus")}},
        "experiments": {"converge": {"axes": axes}},
    }
    return read({"matrix": document}, where, lab, Catalogue.load(Path(str(vars_dir)), lab)).cells[0]


def _plain_inventory(
    groups: Mapping[str, Sequence[str]], hostvars: Mapping[str, Mapping[str, Any]]
) -> tuple[dict[str, list[str]], dict[str, dict[str, Any]]]:
    """Ansible's view as plain values: its own are tagged, and would be refused by YAML later."""
    members = {str(group): [str(host) for host in hosts] for group, hosts in groups.items()}
    boards = {
        board: {name: plain(hostvars[board][name]) for name in BOARD_VARIABLES if name in hostvars[board]}
        for board in members.get("boards", [])
    }
    return members, boards
