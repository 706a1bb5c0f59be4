"""Filter workload_origins; wraps rtvirt_runner.catalogue.workloads."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.rtvirt.testbed.plugins.plugin_utils.package import FilterImports
from ansible_collections.rtvirt.testbed.plugins.plugin_utils.plain import plain

with FilterImports() as imports:
    from rtvirt_runner.catalogue import checked_yaml, workloads


def workload_origins(entries: Mapping[str, Any], folders: Sequence[str]) -> dict[str, Any]:
    """Group the origins of workloads; raises AnsibleFilterError, one sentence, for an invalid entry."""
    try:
        found = workloads.origins(plain(entries), [Path(str(folder)) for folder in folders if folder])
    except checked_yaml.InputError as error:
        raise AnsibleFilterError(str(error)) from error
    return {
        "programs": [f"{name}={','.join(files)}" for name, files in found.programs.items()],
        "files": [str(path) for path in found.files],
        "built": found.built,
        "packages": [asdict(package) for package in found.packages],
    }


class FilterModule:
    """The plugin class that Ansible loads."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """The filters by name."""
        return imports.usable({"workload_origins": workload_origins})
