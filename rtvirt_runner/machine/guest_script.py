"""The environment of the scripts of the role guest."""

from __future__ import annotations

from rtvirt_runner.catalogue.guests import GuestState

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


def _yes(value: object) -> str:
    return "yes" if value else "no"
