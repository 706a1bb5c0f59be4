"""Filters of settings and tunings; wraps the table of settings, the tunings and the settings read back."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import wraps
from typing import Any, TypeVar

from ansible.errors import AnsibleFilterError
from ansible_collections.rtvirt.testbed.plugins.plugin_utils.package import FilterImports

with FilterImports() as imports:
    from rtvirt_runner.catalogue import checked_yaml, collection, tunings
    from rtvirt_runner.catalogue import settings as table
    from rtvirt_runner.machine import settings_readback


_WHERE = "cpu_isolation"  # prefix of the role's variables
_Result = TypeVar("_Result")


def _ansible_errors(function: Callable[..., _Result]) -> Callable[..., _Result]:
    """Let a filter raise AnsibleFilterError instead of InputError."""

    @wraps(function)
    def filtered(*args: Any, **kwargs: Any) -> _Result:
        try:
            return function(*args, **kwargs)
        except checked_yaml.InputError as error:
            raise AnsibleFilterError(str(error)) from error

    return filtered


@_ansible_errors
def isolation_kernel_params(
    settings: Iterable[str], host_cpus: str, guest_cpus: str, isolcpus: str = "managed_irq,domain"
) -> list[str]:
    """The kernel parameters of settings; raises AnsibleFilterError for invalid settings or lists of cores."""
    wanted = table.parse_words(settings, f"{_WHERE}_settings")
    if not wanted:
        return []
    split = table.parse_split(str(host_cpus), str(guest_cpus), _WHERE)
    return list(table.kernel_params(wanted, split, str(isolcpus)))


@_ansible_errors
def isolation_environment(settings: Iterable[str], host_cpus: str, guest_cpus: str) -> dict[str, str]:
    """The environment of settings.sh of the role cpu_isolation; raises AnsibleFilterError for invalid input."""
    return table.far_environment(settings, str(host_cpus), str(guest_cpus), _WHERE)


def isolation_complaint(settings: Iterable[str], host_cpus: str, guest_cpus: str) -> str:
    """Why settings or lists of cores are invalid, one sentence; '' if they are valid."""
    try:
        table.far_environment(settings, str(host_cpus), str(guest_cpus), _WHERE)
    except checked_yaml.InputError as error:
        return str(error)
    return ""


@_ansible_errors
def isolation_tuning(tuning: str, boots: bool = True) -> list[str]:
    """The settings of a machine in a tuning of the catalogue; raises AnsibleFilterError for an unknown tuning."""
    catalogue = tunings.Tunings.load(collection.VARS / "tunings.yml")
    (name,) = catalogue.expand(str(tuning), f"{_WHERE}_settings")
    return list(catalogue[name].machine_settings(bool(boots)))


def isolation_parameters(settings: Iterable[str] | None = None) -> list[str]:
    """Names of the kernel parameters of settings; of all settings without input."""
    names = table.SETTINGS if settings is None else [table.setting_name(str(each)) for each in settings]
    return [each.parameter_name for each in table.SETTINGS.values() if each.name in names and each.parameter]


def isolation_files(settings: Iterable[str]) -> list[str]:
    """Glob patterns of the files that settings write on a running machine."""
    return table.files(table.setting_name(str(each)) for each in settings)


def isolation_not_booted(facts: Mapping[str, Any]) -> list[str]:
    """The boot settings that a machine was not booted with, from the facts of apply.sh or show.sh."""
    return settings_readback.not_booted(facts)


def isolation_differences(facts: Mapping[str, Any], settings: Iterable[str]) -> list[str]:
    """Differences between the settings wanted and the facts of show.sh, a phrase each."""
    return settings_readback.setting_differences([str(each) for each in settings], facts)


class FilterModule:
    """The plugin class that Ansible loads."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """The filters by name."""
        return imports.usable(
            {
                "isolation_kernel_params": isolation_kernel_params,
                "isolation_environment": isolation_environment,
                "isolation_complaint": isolation_complaint,
                "isolation_tuning": isolation_tuning,
                "isolation_parameters": isolation_parameters,
                "isolation_files": isolation_files,
                "isolation_not_booted": isolation_not_booted,
                "isolation_differences": isolation_differences,
            }
        )
