"""A lab: the boards of an inventory and their variables, validated."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, cast

from rtvirt_runner.catalogue import board_profiles, checked_yaml, collection
from rtvirt_runner.catalogue.checked_yaml import InputError
from rtvirt_runner.catalogue.guests import GICS
from rtvirt_runner.catalogue.variables import refuse_invalid

Clock = Literal["virtual", "real"]


LAB_WORKLOADS = "rtvirt_lab_workloads"


# What a matrix may ask for instead of a kernel's name; rtvirt_board_kernels says which kernel of a board that is.
KERNEL_ROLES = ("rt", "with-rt", "without-rt")
RUNNING = "running"  # kernel of a board that must not be rebooted: the one that is running


TAKEN_FOLDERS = ("lock", "log", "matrix.json", "report", "sealed")  # names next to the boards' folders in the results


@dataclass(frozen=True)
class Board:
    """A machine under test, as described by its lab."""

    name: str
    cpus: int
    clock: Clock
    gic: str = "in_kernel"  # of guests without a gic of their own
    boots: bool = True  # whether rtvirt may reboot it; otherwise cells are measured on the running kernel
    guest_kernel: str = ""  # of guests without a kernel of their own; empty: the board's
    sealed: bool = False  # whether it is measured on sealed machines where possible, rather than over SSH
    architecture: str = ""  # of kernels.ARCHITECTURES; empty: unknown
    guest_host: bool = False  # whether the inventory has a host for its guest

    @property
    def guest_name(self) -> str:
        """The inventory host of its guest."""
        return f"{self.name}-guest"


@dataclass(frozen=True)
class Lab:
    """The boards of an inventory. ``groups`` holds boards only, in the inventory's order."""

    boards: dict[str, Board]
    groups: dict[str, list[str]]
    workloads: Mapping[str, Any] = field(default_factory=dict)  # of the lab, as in a workloads file
    kernels: Mapping[str, Mapping[str, str]] = field(default_factory=dict)  # board -> KERNEL_ROLES -> kernel

    @classmethod
    def from_inventory(
        cls,
        groups: Mapping[str, Sequence[str]],
        hostvars: Mapping[str, Mapping[str, Any]],
        folder: Path | None = None,
    ) -> Lab:
        """Take the boards out of Ansible's ``groups`` and ``hostvars``; ``folder`` is the inventory's, with profiles/.

        Raises InputError when there is no board, or when a variable of one is missing, invalid or misspelt.
        """
        names = list(groups.get("boards", []))
        if not names:
            raise InputError(
                "The inventory has no host in group 'boards', expected one or more; add your boards to it."
            )
        for name in names:
            _check_name(str(name))
            refuse_invalid(hostvars.get(name, {}), f"Inventory: board '{name}'")
        profiles = [folder / "profiles"] if folder else []
        hosts = {str(host) for members in groups.values() for host in members}
        boards = {
            name: _board(str(name), hostvars.get(name, {}), hosts, [*profiles, collection.PROFILES]) for name in names
        }
        members = {
            str(group): [str(host) for host in hosts if host in boards]
            for group, hosts in groups.items()
            if any(host in boards for host in hosts)
        }
        kernels = {name: _board_kernels(str(name), hostvars.get(name, {})) for name in names}
        return cls(boards, members, _lab_workloads(names, hostvars), kernels)


def _lab_workloads(boards: Iterable[str], hostvars: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The lab's own workloads, which must be the same on all boards, since a cell names a workload on any of them."""
    found: dict[str, Any] = {}
    for board in boards:
        where = f"Inventory: {LAB_WORKLOADS} of board '{board}'"
        for name, entry in checked_yaml.mapping(hostvars.get(board, {}).get(LAB_WORKLOADS, {}), where).items():
            if found.setdefault(name, entry) != entry:
                raise InputError(
                    f"{where}: '{name}' differs from another board's, expected the same on all; set it for group all."
                )
    return found


def _board_kernels(board: str, variables: Mapping[str, Any]) -> dict[str, str]:
    where = f"Inventory: rtvirt_board_kernels of board '{board}'"
    kernels = checked_yaml.mapping(variables.get("rtvirt_board_kernels", {}), where)
    checked_yaml.known_keys(kernels, KERNEL_ROLES, where)
    return {role: checked_yaml.text(kernel, f"{where}: {role}") for role, kernel in kernels.items()}


def _check_name(board: str) -> None:
    if not checked_yaml.NAME.fullmatch(board) or board in TAKEN_FOLDERS:
        raise InputError(
            f"Inventory: board {checked_yaml.format_value(board)} cannot name its results folder, expected letters, "
            f"digits and '.', '_', '+', '-', 100 at most, and none of {', '.join(TAKEN_FOLDERS)}; rename it."
        )


def _board(name: str, variables: Mapping[str, Any], hosts: Collection[str], profiles: Sequence[Path]) -> Board:
    cpus = variables.get("rtvirt_board_cpus")
    if isinstance(cpus, str) and re.fullmatch("[0-9]{1,4}", cpus):  # an INI inventory has only strings
        cpus = int(cpus)
    if not checked_yaml.is_int(cpus) or not 1 <= cast(int, cpus) <= 1024:
        raise InputError(
            f"Inventory: rtvirt_board_cpus of board '{name}' is {checked_yaml.format_value(cpus)}, "
            "expected its number of cores "
            "(1 to 1024); set it."
        )
    clock = variables.get("rtvirt_board_clock")
    if clock not in ("virtual", "real"):
        raise InputError(
            f"Inventory: rtvirt_board_clock of board '{name}' is {checked_yaml.format_value(clock)}, "
            "expected 'real' for a "
            "machine of metal or 'virtual' for an emulated one that counts instructions; set it."
        )
    gic = variables.get("guest_gic", "in_kernel")
    checked_yaml.known(gic, GICS, "GIC", f"Inventory: guest_gic of board '{name}'")
    boots = variables.get("rtvirt_board_boots", True)
    checked_yaml.require_bool(boots, f"Inventory: rtvirt_board_boots of board '{name}'")
    sealed = variables.get("rtvirt_board_sealed", False)
    checked_yaml.require_bool(sealed, f"Inventory: rtvirt_board_sealed of board '{name}'")
    if sealed and clock != "virtual":
        raise InputError(
            f"Inventory: rtvirt_board_sealed of board '{name}' is true, expected false for a board whose "
            "rtvirt_board_clock is 'real': only an emulated board can be sealed; remove it."
        )
    guest_kernel = checked_yaml.text(variables.get("guest_kernel", ""), f"Inventory: guest_kernel of board '{name}'")
    board = Board(
        name=name,
        cpus=int(cast(int, cpus)),
        clock=cast(Clock, str(clock)),
        gic=str(gic),
        boots=boots,
        guest_kernel=str(guest_kernel),
        sealed=sealed,
        architecture=_architecture(name, variables, profiles),
    )
    return replace(board, guest_host=board.guest_name in hosts)


def _architecture(board: str, variables: Mapping[str, Any], profiles: Sequence[Path]) -> str:
    """The architecture of the board's profile; empty for a board without one."""
    where = f"Inventory: board_image_profile of board '{board}'"
    profile = checked_yaml.text(variables.get("board_image_profile", ""), where)
    return board_profiles.load_profile(str(profile), profiles, where).architecture if profile else ""
