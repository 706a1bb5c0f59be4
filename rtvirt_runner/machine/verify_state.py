"""Verify that a machine is in the state of a cell: compare the wanted state with the one read back."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from rtvirt_runner.catalogue.command_line import missing_params
from rtvirt_runner.catalogue.cpus import parse_cpu_list
from rtvirt_runner.catalogue.guests import GuestState
from rtvirt_runner.machine.settings_readback import memory_rows, row_differences, setting_differences, thread_rows
from rtvirt_runner.matrix.cell import Cell

_NUMBERS = {"tid", "priority", "irq", "last_ran_on", "khz", "ticks", "millicelsius", "count", "boot_time_s"}


def typed(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Convert a machine's facts from text to flags, numbers, and lists of arguments."""
    return {name: _typed(name, value) for name, value in ({"realtime": "0"} | dict(facts)).items()}


def _typed(name: str, value: Any) -> Any:
    if isinstance(value, list):
        return [{key: _typed(key, item) for key, item in row.items()} for row in value]
    if value == "(null)":  # printed by the kernel for a CPU list that was never set
        return ""
    if name == "realtime":
        return value == "1"
    if name.endswith("_argv"):
        return value.split()
    number = name.endswith(("_us", "_exits", "_kib", "_khz", "_count")) or name in _NUMBERS
    return int(value) if number and re.fullmatch(r"-?[0-9]{1,18}", value) else value


def board_differences(cell: Cell, expects: Mapping[str, Any], board: Mapping[str, Any]) -> list[str]:
    """Differences on the board, a phrase each; empty if it is in the state of the cell.

    ``expects`` is that of the kernel's catalogue entry, empty for the running kernel; ``board`` the facts read back.
    """
    found = [*_kernel(cell, expects, board), *setting_differences(cell.settings, board)]
    return [*found, *_guest(cell, board), *_neighbour(cell, board)]


def guest_differences(cell: Cell, expects: Mapping[str, Any], guest: Mapping[str, Any]) -> list[str]:
    """Differences inside the guest, a phrase each; ``expects`` is that of its kernel's catalogue entry."""
    differences = _kernel_differences("guest", expects, guest)
    online = str(guest.get("online_cpus", "0"))
    try:
        cpus = len(parse_cpu_list(online))
    except ValueError as error:
        differences.append(f"the guest's online_cpus cannot be read: {error}")
    else:
        differences += [f"the guest has {cpus} vCPUs, expected {cell.vcpus}"] if cpus != cell.vcpus else []
    wanted = _wanted_guest(cell)
    missing = missing_params(wanted.kernel_params, str(guest.get("cmdline", "")))
    differences += [f"{param} is not on the guest's command line" for param in missing]
    return [*differences, *setting_differences(wanted.settings, guest)]


def _wanted_guest(cell: Cell) -> GuestState:
    if cell.guest_state is None:
        raise ValueError(f"Cell {cell.id} is measured on the host and wants no guest.")
    return cell.guest_state


def _kernel(cell: Cell, expects: Mapping[str, Any], board: Mapping[str, Any]) -> list[str]:
    differences = _kernel_differences("board", expects, board)
    missing = missing_params(cell.kernel_params, str(board.get("cmdline", "")))
    differences += [f"{param} is not on the kernel's command line" for param in missing]
    if expects and "isolcpus" not in cell.settings and board.get("isolated_cpus"):
        differences.append(f"the isolated cores are '{board['isolated_cpus']}', expected none")
    return differences


def _kernel_differences(machine: str, expects: Mapping[str, Any], facts: Mapping[str, Any]) -> list[str]:
    """Differences from the expectation of a catalogue entry, which is empty for the running kernel."""
    differences = []
    release, realtime = str(facts.get("uname_r", "")), bool(facts.get("realtime"))
    if expects and not re.search(str(expects["release"]), release):
        differences.append(f"the {machine} runs kernel {release}, expected one that matches {expects['release']}")
    if expects and realtime != bool(expects["realtime"]):
        differences.append(f"/sys/kernel/realtime is {int(realtime)}, expected {int(bool(expects['realtime']))}")
    return differences


def _guest(cell: Cell, board: Mapping[str, Any]) -> list[str]:
    running = board.get("guest_running") == "yes"
    if cell.place == "host":
        return ["a guest is running beside a host measurement"] if running else []
    if not running:
        return ["no guest is running"]
    differences = []
    if board.get("guest_accelerator", "kvm") == "kvm" and board.get("kvm_held_by_qemu") != "yes":
        differences.append("QEMU does not hold /dev/kvm: the guest is not a KVM guest")
    vcpus = board.get("vcpu_threads", [])
    if len(vcpus) != cell.vcpus:
        differences.append(f"QEMU has {len(vcpus)} vCPU threads, expected {cell.vcpus}")
    online = str(board.get("online_cpus", ""))
    wanted = _wanted_guest(cell)
    rows = thread_rows(wanted.placement, vcpus, board.get("qemu_threads", []), online)
    return [*differences, *row_differences([*rows, *memory_rows(wanted.as_dict(), board)])]


def _neighbour(cell: Cell, board: Mapping[str, Any]) -> list[str]:
    running, wanted = board.get("neighbour_running") == "yes", cell.neighbour_state
    if not wanted:
        return ["a neighbour is running, expected none"] if running else []
    load = str(board.get("neighbour_load", ""))
    if not running:
        return [f"the neighbour {wanted.name} is not running: {board.get('neighbour_end') or 'it said nothing'}"]
    differences = []
    if load != f"runs {' '.join(wanted.load) or 'nothing'}":
        said = load.removeprefix("ended: ") or "it said nothing"
        differences.append(f"the load of the neighbour {wanted.name} is not running: {said}")
    vcpus = board.get("neighbour_vcpu_threads", [])
    if len(vcpus) != wanted.guest.vcpus:
        differences.append(f"the neighbour has {len(vcpus)} vCPU threads, expected {wanted.guest.vcpus}")
    rows = thread_rows(wanted.guest.placement, vcpus, board.get("neighbour_qemu_threads", []))
    return [*differences, *(f"neighbour, {each}" for each in row_differences(rows))]
