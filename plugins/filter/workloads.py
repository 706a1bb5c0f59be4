"""Filter workload_origins; wraps rtvirt_runner.catalogue.workloads."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.rtvirt.testbed.plugins.plugin_utils.plain import plain

from rtvirt_runner.catalogue import checked_yaml, workloads

DOCUMENTATION = r"""
name: workload_origins
short_description: The origins of the programs of workloads
version_added: 0.1.0
author: rtvirt maintainers (@rtvirt)
description:
  - Validates entries of a workloads file and groups them by how their programs are built.
  - Needs the Python package C(rtvirt-runner), which C(./rtvirt) installs into C(.venv).
positional: _input
options:
  _input:
    description: The entries, by name.
    type: dict
    required: true
  folders:
    description: Folders that are searched for C files.
    type: list
    elements: path
    required: true
"""

EXAMPLES = r"""
- name: Show what has to be fetched
  ansible.builtin.debug:
    msg: "{{ (workloads_catalogue | rtvirt.testbed.workload_origins([inventory_dir])).built | map(attribute='name') }}"
"""

RETURN = r"""
_value:
  description:
    - C(programs) (name=file,file of each workload with C files) and C(files) (their paths, and those of the headers
      in their folders),
      C(built) (C(name), C(build), C(debian_source), C(download) of each that is built from third-party source),
      and C(packages) (C(name), C(program)).
  type: dict
"""


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
        return {"workload_origins": workload_origins}
