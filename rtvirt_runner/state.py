"""Is a machine in the state that a cell asks for? The wanted state against the effective one, read back from it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from rtvirt_runner.matrix import Cell, parse_cpu_list


def typed(facts: Mapping[str, Any]) -> dict[str, Any]:
    """The words that a machine answered as the values they mean: flags, numbers, lists of arguments."""
    return {name: _typed(name, value) for name, value in ({"realtime": "0"} | dict(facts)).items()}


def _typed(name: str, value: Any) -> Any:
    if isinstance(value, list):
        return [{key: _typed(key, item) for key, item in row.items()} for row in value]
    if value == "(null)":  # what the kernel prints for a list that was never set
        return ""
    if name == "realtime":
        return value == "1"
    if name.endswith("_argv"):
        return value.split()
    number = name.endswith(("_us", "_exits")) or name in {"tid", "priority", "irq", "last_ran_on"}
    return int(value) if number and re.fullmatch(r"-?\d+", value) else value


def board_differences(cell: Cell, shows: Mapping[str, Any], board: Mapping[str, Any]) -> list[str]:
    """What differs on the board, a phrase each.

    ``shows`` is the kernel's catalogue entry, ``board`` the facts read back.
    """
    return [*_kernel(cell, shows, board), *_guest_process(cell, board)]


def guest_differences(cell: Cell, guest: Mapping[str, Any]) -> list[str]:
    """What differs inside the guest."""
    cpus = parse_cpu_list(str(guest.get("online_cpus", "0")))
    if len(cpus) != cell.vcpus:
        return [f"the guest has {len(cpus)} vCPUs, expected {cell.vcpus}"]
    return []


def _kernel(cell: Cell, shows: Mapping[str, Any], board: Mapping[str, Any]) -> list[str]:
    differences = []
    release, realtime = str(board.get("uname_r", "")), bool(board.get("realtime"))
    if not re.search(str(shows["release"]), release):
        differences.append(f"the board runs kernel {release}, expected one that matches {shows['release']}")
    if realtime != bool(shows["realtime"]):
        differences.append(f"/sys/kernel/realtime is {int(realtime)}, expected {int(bool(shows['realtime']))}")
    running = str(board.get("cmdline", "")).split()
    differences += [f"{word} is not on the kernel's command line" for word in cell.kernel_words if word not in running]
    isolated = str(board.get("isolated_cpus", ""))
    wanted = next((word.split("=", 1)[1] for word in cell.kernel_words if word.startswith("isolcpus=")), "")
    if isolated != wanted:
        differences.append(f"the isolated cores are '{isolated}', expected '{wanted}'")
    return differences


def _guest_process(cell: Cell, board: Mapping[str, Any]) -> list[str]:
    running = board.get("guest_running") == "yes"
    if cell.place == "host":
        return ["a guest is running beside a host measurement"] if running else []
    if not running:
        return ["no guest is running"]
    differences = []
    if board.get("kvm_held_by_qemu") != "yes":
        differences.append("QEMU does not hold /dev/kvm: the guest is not a KVM guest")
    vcpus = board.get("vcpu_threads", [])
    if len(vcpus) != cell.vcpus:
        differences.append(f"QEMU has {len(vcpus)} vCPU threads, expected {cell.vcpus}")
    wanted = cell.guest_process
    for thread in vcpus:
        name, policy, priority = thread["name"], thread["policy"], thread["priority"]
        if wanted.get("cpus") and parse_cpu_list(thread["cpus"]) != parse_cpu_list(str(wanted["cpus"])):
            differences.append(f"thread {name} may run on cores {thread['cpus']}, expected {wanted['cpus']}")
        if (policy, priority) != (wanted.get("policy", "other"), int(wanted.get("priority", 0))):
            expected = f"{wanted.get('policy', 'other')} {wanted.get('priority', 0)}"
            differences.append(f"thread {name} has policy {policy} {priority}, expected {expected}")
    return differences
