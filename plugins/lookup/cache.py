"""Lookup cache; wraps rtvirt_runner.build.artifacts."""

from __future__ import annotations

from typing import Any

from ansible.errors import AnsibleLookupError
from ansible.plugins.lookup import LookupBase
from ansible_collections.rtvirt.testbed.plugins.plugin_utils.package import package_imports

with package_imports():
    from rtvirt_runner.build import artifacts
    from rtvirt_runner.catalogue.checked_yaml import InputError


DOCUMENTATION = r"""
name: cache
short_description: The cache folder
version_added: 0.1.0
author: rtvirt maintainers (@rtvirt)
description:
  - C(rtvirt) below E(XDG_CACHE_HOME), or below C(~/.cache); docs/cache.md describes its content.
options: {}
"""

EXAMPLES = r"""
- name: Show the folder of a board
  ansible.builtin.debug:
    msg: "{{ lookup('rtvirt.testbed.cache') }}/boards/{{ inventory_hostname }}"
"""

RETURN = r"""
_raw:
  description: The folder, on the controller.
  type: path
"""


class LookupModule(LookupBase):
    """The plugin class that Ansible loads."""

    def run(self, terms: list[str], variables: Any = None, **options: Any) -> list[str]:
        """The folder, which need not exist."""
        try:
            return [str(artifacts.cache_folder())]
        except InputError as error:
            raise AnsibleLookupError(str(error)) from error
