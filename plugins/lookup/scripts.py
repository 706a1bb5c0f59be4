"""Lookup scripts; wraps rtvirt_runner.machine.scripts."""

from __future__ import annotations

from typing import Any

from ansible.errors import AnsibleLookupError
from ansible.plugins.lookup import LookupBase
from ansible_collections.rtvirt.testbed.plugins.plugin_utils.package import package_imports

with package_imports():
    from rtvirt_runner.catalogue import checked_yaml
    from rtvirt_runner.machine import scripts


DOCUMENTATION = r"""
name: scripts
short_description: Scripts of the collection's roles that run as one
version_added: 0.1.0
author: rtvirt maintainers (@rtvirt)
description:
  - For the option O(rtvirt.testbed.remote_script#module:script) of M(rtvirt.testbed.remote_script).
options:
  _terms:
    description:
      - Sets of scripts, as rtvirt_runner/machine/scripts.py names them, or lists of such.
      - V(machine_state) reads the state of a board or a guest, V(board_state) that of a board and of its QEMU.
    type: list
    elements: str
    required: true
"""

EXAMPLES = r"""
- name: Read a board's state
  rtvirt.testbed.remote_script:
    script: "{{ query('rtvirt.testbed.scripts', 'board_state') }}"
"""

RETURN = r"""
_list:
  description: Paths on the controller, in order.
  type: list
  elements: path
"""


class LookupModule(LookupBase):
    """The plugin class that Ansible loads."""

    def run(self, terms: list[str], variables: Any = None, **options: Any) -> list[str]:
        """The paths; raises AnsibleLookupError for an unknown set."""
        terms = self._flatten(terms)
        try:
            return [str(path) for term in terms for path in scripts.script_set(str(term))]
        except checked_yaml.InputError as error:
            raise AnsibleLookupError(str(error)) from error
