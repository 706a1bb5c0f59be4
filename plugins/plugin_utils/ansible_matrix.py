"""Read a matrix with the lab of Ansible's inventory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ansible_collections.rtvirt.testbed.plugins.plugin_utils.plain import plain

from rtvirt_runner.catalogue import collection
from rtvirt_runner.catalogue.catalogue import Catalogue
from rtvirt_runner.catalogue.checked_yaml import InputError, format_value
from rtvirt_runner.catalogue.lab import LAB_WORKLOADS, Lab
from rtvirt_runner.catalogue.variables import typed_inputs, unknown_variables
from rtvirt_runner.matrix.cell import Cell
from rtvirt_runner.matrix.load import Matrix, state_cell
from rtvirt_runner.matrix.load import load_matrix as load

BOARD_VARIABLES = (
    "rtvirt_board_cpus",
    "rtvirt_board_clock",
    "rtvirt_board_kernels",
    "rtvirt_board_boots",
    "rtvirt_board_sealed",
    "guest_gic",
    "guest_kernel",
    "board_image_profile",
    LAB_WORKLOADS,
)


def load_matrix(
    matrix: str,
    groups: Mapping[str, Sequence[str]],
    hostvars: Mapping[str, Mapping[str, Any]],
    vars_dir: str,
    repetitions: Any = 0,
) -> tuple[Matrix, Lab, Catalogue]:
    """Read and validate a matrix, the lab and the catalogue; raises InputError.

    ``repetitions``: of every experiment; 0 for those of the matrix.
    """
    lab = read_lab(groups, hostvars)
    catalogue = Catalogue.load(Path(str(vars_dir)), lab)
    return load(collection.matrix_path(str(matrix)), lab, catalogue, _asked(repetitions)), lab, catalogue


def _asked(repetitions: Any) -> int | None:
    """A number that may be a text, since that is what ``-e`` makes of one."""
    try:
        return int(str(repetitions)) or None
    except ValueError:
        raise InputError(
            f"rtvirt_repetitions is {format_value(plain(repetitions))}, expected a whole number, 0 for those of the "
            "matrix; correct it."
        ) from None


def read_state(
    state: Any,
    board: str,
    groups: Mapping[str, Sequence[str]],
    hostvars: Mapping[str, Mapping[str, Any]],
    vars_dir: str,
) -> Cell:
    """The cell of a board in a state (kernel, tuning, lists of cores, guest); raises InputError."""
    lab = read_lab(groups, hostvars)
    return state_cell(plain(state), board, lab, Catalogue.load(Path(str(vars_dir)), lab))


def read_lab(groups: Mapping[str, Sequence[str]], hostvars: Mapping[str, Mapping[str, Any]]) -> Lab:
    """The boards of Ansible's inventory; raises InputError."""
    folder = next((hostvars[board].get("inventory_dir") for board in groups.get("boards", [])), None)
    return Lab.from_inventory(*_plain_inventory(groups, hostvars), Path(str(folder)) if folder else None)


def _plain_inventory(
    groups: Mapping[str, Sequence[str]], hostvars: Mapping[str, Mapping[str, Any]]
) -> tuple[dict[str, list[str]], dict[str, dict[str, Any]]]:
    """Groups, and variables of boards, as plain values: Ansible's tagged values cannot be written as YAML."""
    names = (*BOARD_VARIABLES, *typed_inputs())
    members = {str(group): [str(host) for host in hosts] for group, hosts in groups.items()}
    boards = {
        # Of what rtvirt does not know only the name counts, which may be misspelt.
        board: {unknown.name: "" for unknown in unknown_variables(hostvars[board])}
        | {name: plain(hostvars[board][name]) for name in names if name in hostvars[board]}
        for board in members.get("boards", [])
    }
    return members, boards
