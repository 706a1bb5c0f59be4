"""The environment of the scripts of the role guest."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rtvirt_runner.catalogue import checked_yaml
from rtvirt_runner.catalogue.guests import GuestState
from rtvirt_runner.catalogue.workloads import FOLDERS
from rtvirt_runner.machine import script_reply
from rtvirt_runner.machine.scripts import script_text
from rtvirt_runner.machine.sh_text import stripped

_PROGRAM = {"command": "", "prepare": "", "cpus": "0", "repeat": False, "folder": FOLDERS[0]}
BOOT_TIMEOUT_S = 300  # of the board's clock, for a guest to report that it is ready


def absent_environment(name: str) -> dict[str, str]:
    """The variables of the scripts ``stop_guest``."""
    return {"NAME": name}


def environment(
    state: GuestState, *, name: str, release: str, architecture: str, brought: bool, accelerator: str = "kvm"
) -> dict[str, str]:
    """The variables of the scripts ``start_guest`` for a guest in a state, with the mailbox as its connection."""
    placement = state.placement
    return {
        "NAME": name,
        "FLAVOUR": str(state.flavour),
        "VCPUS": str(state.vcpus),
        "MEMORY_MIB": str(state.memory_mib),
        "GIC": str(state.gic),
        "MACHINE": "",
        "ACCELERATOR": accelerator,
        "KERNEL": str(state.kernel),
        "BROUGHT": _yes(brought),
        "RELEASE": release,
        "ARCHITECTURE": architecture,
        "KERNEL_PARAMS": " ".join(state.kernel_params),
        "SCRATCH_MIB": str(state.scratch_mib),
        "MEMORY_LOCK": _yes(state.memory_lock),
        "HUGE_PAGES": _yes(state.huge_pages),
        "PORT": "",
        "TIMEOUT_S": str(BOOT_TIMEOUT_S),
        "MODE": str(placement["mode"]),
        "CPUS": str(placement.get("cpus", "")),
        "OTHERS_CPUS": str(placement.get("others_cpus", "")),
        "POLICY": str(placement.get("policy", "other")),
        "PRIORITY": str(placement.get("priority", 0)),
    }


def neighbour_load(programs: Mapping[str, Mapping[str, Any]]) -> str:
    """The script that a neighbour runs until it is stopped: programs by name, all at the same time.

    Of a program counts what is in ``_PROGRAM``, with these defaults. Raises InputError for one without a command.
    """
    variables = {"RTVIRT_CHECK_MODE": "no", "PROGRAMS": str(len(programs))}
    for number, (name, given) in enumerate(programs.items(), 1):
        program = _PROGRAM | dict(given)
        if not program["command"]:
            raise checked_yaml.InputError(
                f"The load '{name}' of a neighbour has no command, expected one; give it one."
            )
        variables |= {
            f"NAME_{number}": name,
            f"COMMAND_{number}": str(program["command"]),
            f"PREPARE_{number}": str(program["prepare"]),
            f"CPUS_{number}": str(program["cpus"]),
            f"REPEAT_{number}": _yes(program["repeat"]),
            f"FOLDER_{number}": str(program["folder"]),
        }
    return script_reply.compose(stripped(script_text("neighbour_load")), variables).rstrip("\n")


def _yes(value: object) -> str:
    return "yes" if value else "no"
