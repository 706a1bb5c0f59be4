"""Lookup misspelt_variables; wraps rtvirt_runner.catalogue.variables."""

from __future__ import annotations

from typing import Any

from ansible.plugins.lookup import LookupBase
from ansible.utils.display import Display
from ansible_collections.rtvirt.testbed.plugins.plugin_utils.package import package_imports

with package_imports():
    from rtvirt_runner.catalogue.variables import refused_values, typed_inputs, unknown_variables

DOCUMENTATION = r"""
name: misspelt_variables
short_description: Why a host's variables cannot be what was meant for a role or a playbook
version_added: 0.2.0
author: rtvirt maintainers (@rtvirt)
description:
  - Looks through the names of the host's variables for those that are misspelt, which Ansible ignores.
  - A name that resembles one of the role's inputs, or of rtvirt's variables, is refused.
  - It is only warned about where the role's prefix is one word, such as C(guest_), which may be somebody else's. So is
    any other name with C(rtvirt_) that nothing reads.
  - For a playbook the values of its own variables are looked at too, such as V(ture) of C(rtvirt_keep_boards), which
    Ansible's filter C(bool) takes for false. Those of roles have argument specifications.
options:
  _terms:
    description: The role's name; none for a playbook, which counts the inputs of all roles.
    type: list
    elements: str
    default: []
"""

EXAMPLES = r"""
- name: Refuse misspelt variables
  ansible.builtin.assert:
    that: misspelt == ''
    fail_msg: "{{ misspelt }}"
  vars:
    misspelt: "{{ lookup('rtvirt.testbed.misspelt_variables', 'cpu_isolation') }}"
"""

RETURN = r"""
_raw:
  description: The sentences; empty if there is nothing to refuse.
  type: str
"""


class LookupModule(LookupBase):
    """The plugin class that Ansible loads."""

    def run(self, terms: list[str], variables: Any = None, **options: Any) -> list[str]:
        """One text for each role, or one for a playbook."""
        return [self._refusal(str(role), variables or {}) for role in terms or [""]]

    def _refusal(self, role: str, variables: Any) -> str:
        refused = []
        if not role:
            given = {name: self._templar.template(variables[name]) for name in typed_inputs() if name in variables}
            refused += refused_values(given)
        for unknown in unknown_variables(variables, role):
            if unknown.meant and unknown.is_ours:
                refused.append(unknown.sentence)
            else:
                Display().warning(unknown.sentence)
        return " ".join(refused)
