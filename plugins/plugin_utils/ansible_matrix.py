"""A matrix file read with what Ansible knows of the lab."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rtvirt_runner import checkout
from rtvirt_runner.matrix import Catalogue, Lab, Matrix
from rtvirt_runner.matrix import load_matrix as load

BOARD_VARIABLES = ("rtvirt_board_cpus", "rtvirt_board_clock", "rtvirt_board_boots", "guest_gic", "guest_kernel")


def load_matrix(
    matrix: str, groups: Mapping[str, Sequence[str]], hostvars: Mapping[str, Mapping[str, Any]], vars_dir: str
) -> Matrix:
    """Read and validate; raises InputError."""
    lab = Lab.from_inventory(*_plain_inventory(groups, hostvars))
    return load(checkout.matrix_path(str(matrix)), lab, Catalogue.load(Path(str(vars_dir))))


def _plain_inventory(
    groups: Mapping[str, Sequence[str]], hostvars: Mapping[str, Mapping[str, Any]]
) -> tuple[dict[str, list[str]], dict[str, dict[str, Any]]]:
    """Ansible's view as plain values: its own are tagged, and would be refused by YAML later."""
    members = {str(group): [str(host) for host in hosts] for group, hosts in groups.items()}
    boards = {
        board: {name: _plain(hostvars[board][name]) for name in BOARD_VARIABLES if name in hostvars[board]}
        for board in members.get("boards", [])
    }
    return members, boards


def _plain(value: Any) -> Any:
    if isinstance(value, str):
        return str(value)
    return int(value) if isinstance(value, int) and not isinstance(value, bool) else value
