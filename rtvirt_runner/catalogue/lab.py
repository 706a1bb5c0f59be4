"""A lab: what an inventory says of its boards, read and checked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, cast

from rtvirt_runner.catalogue import checked_yaml
from rtvirt_runner.catalogue.checked_yaml import InputError
from rtvirt_runner.catalogue.guests import GICS

Clock = Literal["virtual", "real"]


LAB_WORKLOADS = "rtvirt_lab_workloads"


RUNNING = "running"  # kernel of a board that is not to be rebooted: whatever runs there


_TAKEN_FOLDERS = ("log", "report")  # beside the boards' folders in the results tree


@dataclass(frozen=True)
class Board:
    """A machine under test, as its lab describes it."""

    name: str
    cpus: int
    clock: Clock
    gic: str = "in_kernel"  # of guests that do not say
    boots: bool = True  # whether rtvirt may reboot it; otherwise cells measure on the kernel that runs
    guest_kernel: str = ""  # of guests that do not say; empty: the board's
    sealed: bool = False  # whether it is measured on sealed machines where that can be, rather than over SSH


@dataclass(frozen=True)
class Lab:
    """What an inventory says about boards. ``groups`` holds boards only, in the inventory's order."""

    boards: dict[str, Board]
    groups: dict[str, list[str]]
    workloads: Mapping[str, Any] = field(default_factory=dict)  # of its own, as in a workloads file

    @classmethod
    def from_inventory(cls, groups: Mapping[str, Sequence[str]], hostvars: Mapping[str, Mapping[str, Any]]) -> Lab:
        """Take the boards out of Ansible's ``groups`` and ``hostvars``.

        Raises InputError when there is no board, or when one lacks or garbles its two variables.
        """
        names = list(groups.get("boards", []))
        if not names:
            raise InputError(
                "The inventory has no host in group 'boards', expected one or more; add your boards to it."
            )
        boards = {name: _board(str(name), hostvars.get(name, {})) for name in names}
        members = {
            str(group): [str(host) for host in hosts if host in boards]
            for group, hosts in groups.items()
            if any(host in boards for host in hosts)
        }
        return cls(boards, members, _lab_workloads(names, hostvars))


def _lab_workloads(boards: Iterable[str], hostvars: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The lab's own workloads: one set for all of its boards, since a cell is the same on each."""
    found: dict[str, Any] = {}
    for board in boards:
        where = f"Inventory: {LAB_WORKLOADS} of board '{board}'"
        for name, entry in checked_yaml.mapping(hostvars.get(board, {}).get(LAB_WORKLOADS, {}), where).items():
            if found.setdefault(name, entry) != entry:
                raise InputError(
                    f"{where}: '{name}' differs from another board's, expected the same on all; set it for group all."
                )
    return found


def _board(name: str, variables: Mapping[str, Any]) -> Board:
    if not checked_yaml.NAME.fullmatch(name) or name in _TAKEN_FOLDERS:
        raise InputError(
            f"Inventory: board '{name}' cannot name its results folder, expected letters, digits and "
            "'.', '_', '+', '-', and neither 'log' nor 'report'; rename it."
        )
    cpus = variables.get("rtvirt_board_cpus")
    if isinstance(cpus, str) and cpus.isdecimal():  # an INI inventory knows only text
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
    boots = _yes_or_no(variables, "rtvirt_board_boots", True, name)
    sealed = _yes_or_no(variables, "rtvirt_board_sealed", False, name)
    if sealed and clock != "virtual":
        raise InputError(
            f"Inventory: rtvirt_board_sealed of board '{name}' is true, expected false for a board whose "
            "rtvirt_board_clock is 'real': only an emulated board can be sealed; remove it."
        )
    guest_kernel = checked_yaml.text(variables.get("guest_kernel", ""), f"Inventory: guest_kernel of board '{name}'")
    return Board(name, int(cast(int, cpus)), cast(Clock, str(clock)), str(gic), boots, str(guest_kernel), sealed)


def _yes_or_no(variables: Mapping[str, Any], key: str, default: bool, board: str) -> bool:
    value = variables.get(key, default)
    if not isinstance(value, bool):
        shown = checked_yaml.format_value(value)
        raise InputError(f"Inventory: {key} of board '{board}' is {shown}, expected true or false; correct it.")
    return value
