"""Thin door to rtvirt_runner.board_profiles."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleFilterError

from rtvirt_runner.catalogue import board_profiles, checked_yaml, collection

DOCUMENTATION = r"""
name: board_profile
short_description: What a card image for a kind of board is made of
version_added: 0.1.0
author: rtvirt maintainers (@rtvirt)
description:
  - Reads and validates a board profile, and fills in what it leaves to its defaults.
  - Needs the Python package C(rtvirt-runner), which C(./rtvirt) installs into C(.venv).
positional: _input
options:
  _input:
    description: The name of the profile; none (an empty text) is a board of which nothing is known.
    type: str
    required: true
  lab:
    description: The lab's folder, whose V(profiles/) is looked into before those that come with rtvirt.
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
  description: The profile, as docs/real-boards.md has its keys.
  type: dict
"""


def board_profile(name: str, lab: str = "") -> dict[str, Any]:
    """Read the profile; raises AnsibleFilterError with the one sentence of what is wrong."""
    if not name:
        return board_profiles.NONE.as_dict()
    try:
        folders = ([Path(str(lab), "profiles")] if lab else []) + [collection.PROFILES]
        return board_profiles.load_profile(str(name), folders).as_dict()
    except checked_yaml.InputError as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    """What Ansible looks for in this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """The filters by name."""
        return {"board_profile": board_profile}
