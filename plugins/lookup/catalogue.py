"""Lookup catalogue; wraps rtvirt_runner.catalogue.catalogue."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible.errors import AnsibleLookupError
from ansible.plugins.lookup import LookupBase
from ansible_collections.rtvirt.testbed.plugins.plugin_utils.package import package_imports

with package_imports():
    from rtvirt_runner.catalogue import catalogue, checked_yaml, collection


DOCUMENTATION = r"""
name: catalogue
short_description: Sections of the catalogue that comes with the collection
version_added: 0.1.0
author: rtvirt maintainers (@rtvirt)
description:
  - Reads and validates the catalogue, wherever the collection is installed.
options:
  _terms:
    description:
      - V(kernels), V(tunings), V(workloads), in the form that docs/kernels.md, docs/isolation.md and docs/workloads.md
        describe.
      - V(architectures), by Debian's names, with compiler prefix, name in QEMU, and modules of a guest.
    type: list
    elements: str
    required: true
  vars_dir:
    description: The folder of C(kernels.yml), C(tunings.yml) and C(workloads.yml); by default that of the collection.
    type: path
"""

EXAMPLES = r"""
- name: Show the kernels for PCs
  ansible.builtin.debug:
    msg: "{{ lookup('rtvirt.testbed.catalogue', 'kernels') | dict2items
      | selectattr('value.architecture', 'equalto', 'amd64') | map(attribute='key') }}"
"""

RETURN = r"""
_list:
  description: The entries by name, one dict for each section.
  type: list
  elements: dict
"""


class LookupModule(LookupBase):
    """The plugin class that Ansible loads."""

    def run(self, terms: list[str], variables: Any = None, **options: Any) -> list[dict[str, Any]]:
        """Read the sections; raises AnsibleLookupError, one sentence, for an invalid entry."""
        self.set_options(var_options=variables, direct=options)
        folder = Path(str(self.get_option("vars_dir") or collection.VARS))
        try:
            return [catalogue.section(str(term), folder) for term in terms]
        except checked_yaml.InputError as error:
            raise AnsibleLookupError(str(error)) from error
