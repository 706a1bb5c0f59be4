"""Filter preflight_wanted: what boot states ask of a board, for the option preflight of rtvirt.testbed.lease.

Wraps rtvirt_runner.machine.preflight.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ansible_collections.rtvirt.testbed.plugins.plugin_utils.package import FilterImports

with FilterImports() as imports:
    from rtvirt_runner.machine import preflight


def preflight_wanted(boots: Iterable[Mapping[str, Any]], fallback: str = "fail") -> dict[str, Any]:
    """From the boot states of a plan, and what becomes of guests where KVM does not run (kvm_host_fallback)."""
    return preflight.asked_by(boots, str(fallback))


class FilterModule:
    """The plugin class that Ansible loads."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """The filters by name."""
        return imports.usable({"preflight_wanted": preflight_wanted})
