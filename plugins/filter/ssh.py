"""Filters ssh_path, ssh_jump and socket_folder; wrap rtvirt_runner.machine.ssh_config."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.rtvirt.testbed.plugins.plugin_utils.package import FilterImports

with FilterImports() as imports:
    from rtvirt_runner.catalogue.checked_yaml import InputError
    from rtvirt_runner.machine import ssh_config


def ssh_path(path: str) -> str:
    """A path as a value in an ssh_config."""
    return _told(ssh_config.quote, str(path))


def ssh_jump(config: str, host: str) -> str:
    """The ProxyCommand through a host of an ssh_config, given by its path."""
    return _told(ssh_config.jump, str(config), str(host))


def socket_folder(folder: str) -> str:
    """The folder for sockets of connections to the machine that a folder is about."""
    return _told(ssh_config.socket_folder, str(folder))


def _told(function: Callable[..., Any], *arguments: str) -> str:
    try:
        return str(function(*arguments))
    except InputError as error:
        raise AnsibleFilterError(str(error)) from error


class FilterModule:
    """The plugin class that Ansible loads."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """The filters by name."""
        return imports.usable({"ssh_path": ssh_path, "ssh_jump": ssh_jump, "socket_folder": socket_folder})
