"""Filter preflight_wanted: what groups of cells ask of a board, for the option preflight of rtvirt.testbed.lease."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any


def preflight_wanted(groups: Iterable[Mapping[str, Any]], fallback: str = "fail") -> dict[str, Any]:
    """From guest groups of a plan, and what becomes of guests where KVM does not run (kvm_host_fallback)."""
    groups = list(groups)
    return {
        "cpus": sorted({str(group["host_cpus"]) for group in groups}),
        "guest_cpus": sorted({str(group["guest_cpus"]) for group in groups}),
        "guest": any(group["state"] for group in groups),
        "may_emulate": str(fallback) == "emulate",
    }


class FilterModule:
    """The plugin class that Ansible loads."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """The filters by name."""
        return {"preflight_wanted": preflight_wanted}
