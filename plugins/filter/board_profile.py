"""Filter board_profile; wraps rtvirt_runner.catalogue.board_profiles."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleFilterError

from rtvirt_runner.catalogue import board_profiles, checked_yaml, collection

DOCUMENTATION = r"""
name: board_profile
short_description: A board profile, the content of a card image
version_added: 0.1.0
author: rtvirt maintainers (@rtvirt)
description:
  - Reads and validates a board profile, and adds the defaults of the keys that it does not have.
  - Needs the Python package C(rtvirt-runner), which C(./rtvirt) installs into C(.venv).
positional: _input
options:
  _input:
    description: The name of the profile; an empty string is a board without one.
    type: str
    required: true
  lab:
    description: The lab's folder, whose V(profiles/) is searched before the profiles that come with rtvirt.
    type: path
    default: ''
"""

EXAMPLES = r"""
- name: Show which kernel a fresh card for a Cubieboard 2 has
  ansible.builtin.debug:
    msg: "{{ ('cubieboard2' | rtvirt.testbed.board_profile(inventory_dir)).kernel }}"
"""

RETURN = r"""
_value:
  description: The profile; docs/real-boards.md describes its keys.
  type: dict
"""


def board_profile(name: str, lab: str = "") -> dict[str, Any]:
    """Read the profile; raises AnsibleFilterError, one sentence, if it is invalid."""
    if not name:
        return board_profiles.NONE.as_dict()
    try:
        folders = ([Path(str(lab), "profiles")] if lab else []) + [collection.PROFILES]
        return board_profiles.load_profile(str(name), folders).as_dict()
    except checked_yaml.InputError as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    """The plugin class that Ansible loads."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """The filters by name."""
        return {"board_profile": board_profile}
