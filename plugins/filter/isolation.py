"""Thin doors to rtvirt_runner.tunings and rtvirt_runner.inspection."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ansible.errors import AnsibleFilterError

from rtvirt_runner.catalogue import tunings
from rtvirt_runner.catalogue.cpus import Split, parse_cpu_list
from rtvirt_runner.machine import settings_readback

DOCUMENTATION = r"""
name: isolation_kernel_params
short_description: Words of a kernel's command line that keep cores for real-time work
version_added: 0.1.0
author: rtvirt maintainers (@rtvirt)
description:
  - Those of the settings that a machine must start with, as kernel parameters; other settings have none.
positional: _input
options:
  _input:
    description: Names of settings, as docs/isolation.md lists them.
    type: list
    elements: str
    required: true
  host_cpus:
    description: The housekeeping cores, such as V(0,2-3).
    type: str
    required: true
  guest_cpus:
    description: The cores that are kept.
    type: str
    required: true
  isolcpus:
    description: V(plain), or the flags of isolcpus.
    type: str
    default: managed_irq,domain
"""

EXAMPLES = r"""
- name: Show the kernel parameters
  ansible.builtin.debug:
    msg: "{{ ['isolcpus', 'nohz_full'] | rtvirt.testbed.isolation_kernel_params(host_cpus='0', guest_cpus='1-3') }}"
"""

RETURN = r"""
_value:
  description: The kernel parameters.
  type: list
  elements: str
"""


def isolation_kernel_params(
    settings: Iterable[str], host_cpus: str, guest_cpus: str, isolcpus: str = "managed_irq,domain"
) -> list[str]:
    """The kernel parameters; raises AnsibleFilterError for a list of cores that is none."""
    try:
        split = Split(parse_cpu_list(str(host_cpus)), parse_cpu_list(str(guest_cpus)))
    except ValueError as error:
        raise AnsibleFilterError(f"isolation_kernel_params: {error}") from error
    wanted = [str(each) for each in settings]
    for name in wanted:
        needed = tunings.SETTINGS[name].needs if name in tunings.SETTINGS else ""
        if needed and needed not in wanted:
            raise AnsibleFilterError(
                f"isolation_kernel_params: the setting {name} needs {needed}; add it, or remove {name}."
            )
    return list(tunings.boot_params(wanted, split, str(isolcpus)))


def isolation_differences(facts: Mapping[str, Any], settings: Iterable[str]) -> list[str]:
    """What differs between the settings wanted and the facts that show.sh reported, a phrase each."""
    return settings_readback.setting_differences([str(each) for each in settings], facts)


class FilterModule:
    """What Ansible looks for in this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """The filters by name."""
        return {"isolation_kernel_params": isolation_kernel_params, "isolation_differences": isolation_differences}
