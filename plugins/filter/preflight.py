"""Filter preflight_wanted: what boot states ask of a board, for the option preflight of rtvirt.testbed.lease.

Wraps rtvirt_runner.machine.preflight.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ansible_collections.rtvirt.testbed.plugins.plugin_utils.package import FilterImports

with FilterImports() as imports:
    from rtvirt_runner.machine import preflight


def preflight_wanted(boots: Iterable[Mapping[str, Any]], fallback: str = "fail", clock: str = "real") -> dict[str, Any]:
    """From a plan's boot states, what becomes of guests without KVM (kvm_host_fallback), and rtvirt_board_clock."""
    return preflight.asked_by(boots, str(fallback), str(clock))


class FilterModule:
    """The plugin class that Ansible loads."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """The filters by name."""
        return imports.usable({"preflight_wanted": preflight_wanted})
