"""Filter board_profile; wraps rtvirt_runner.catalogue.board_profiles."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.rtvirt.testbed.plugins.plugin_utils.package import FilterImports

with FilterImports() as imports:
    from rtvirt_runner.catalogue import board_profiles, checked_yaml, collection


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
        return imports.usable({"board_profile": board_profile})
