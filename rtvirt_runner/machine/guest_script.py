"""How a guest is started and placed: the scripts of the role guest, and what they are told."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rtvirt_runner.catalogue import collection

BOOT_TIMEOUT_S = 300  # of the board's time, for a guest to say that it is ready

_ROLES = collection.ROOT / "roles"
_UNIT = ("guest/files/unit.sh", "guest/files/stop_guest.sh")
_START = (
    *_UNIT,
    "guest/files/find_vcpus.sh",
    "cpu_isolation/files/enter_cpuset.sh",
    "cpu_isolation/files/thread.sh",
    "guest/files/place_guest.sh",
    "guest/files/start_guest.sh",
)
_ABSENT = (*_UNIT, "guest/files/absent.sh")


def start_script() -> str:
    """Starts the guest unless it runs already, waits for it, and places QEMU's threads."""
    return _joined(_START)


def absent_script() -> str:
    """Ends whatever guest runs."""
    return _joined(_ABSENT)


def absent_environment(name: str) -> dict[str, str]:
    """The variables of ``absent_script``."""
    return {"NAME": name}


def environment(
    state: Mapping[str, Any], *, name: str, release: str, architecture: str, brought: bool, accelerator: str = "kvm"
) -> dict[str, str]:
    """The variables of ``start_script`` for a guest in the state ``state`` (Guest.state), reached by its mailbox."""
    placement = state["placement"]
    return {
        "NAME": name,
        "FLAVOUR": str(state["flavour"]),
        "VCPUS": str(state["vcpus"]),
        "MEMORY_MIB": str(state["memory_mib"]),
        "GIC": str(state["gic"]),
        "MACHINE": "",
        "ACCELERATOR": accelerator,
        "KERNEL": str(state["kernel"]),
        "BROUGHT": _yes(brought),
        "RELEASE": release,
        "ARCHITECTURE": architecture,
        "KERNEL_PARAMS": " ".join(state["kernel_params"]),
        "SCRATCH_MIB": str(state["scratch_mib"]),
        "MEMORY_LOCK": _yes(state["memory_lock"]),
        "HUGE_PAGES": _yes(state["huge_pages"]),
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


def _joined(names: tuple[str, ...]) -> str:
    return "\n".join((_ROLES / name).read_text() for name in names)
