"""Paths in OpenSSH's configuration files, whatever characters they have, and where its sockets are (ssh_config(5))."""

from __future__ import annotations

import hashlib
import os
import shlex
import stat
from pathlib import Path

from rtvirt_runner.catalogue.checked_yaml import InputError


def quote(path: str) -> str:
    """A path as a value of an option that takes file names: in quotes, with ``%`` doubled.

    Raises InputError for what OpenSSH cannot be told: a line end, and ``${``, which it would take for a variable.
    """
    escaped = _tokens(path).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def jump(config: str, host: str) -> str:
    """The ProxyCommand that reaches a machine through ``host`` of a configuration file.

    ProxyJump does the same, but hands the file on to a shell without quotes. Raises InputError as ``quote``.
    """
    return f"ssh -F {_tokens(shlex.quote(config))} -W [%h]:%p {shlex.quote(host)}"


def socket_folder(folder: str) -> Path:
    """A folder for the sockets of kept-open connections to the machine that ``folder`` is about.

    Short, since the path of a socket has 107 bytes at most, without characters that ssh or Ansible would expand, and
    entered by its owner only. Raises InputError if somebody else has made a folder of its name.
    """
    base = Path(os.environ.get("XDG_RUNTIME_DIR", ""))
    if not (base.is_absolute() and len(str(base)) < 40 and base.name.isalnum() and _is_private(base)):
        base = Path(f"/tmp/rtvirt-{os.geteuid()}")
        base.mkdir(mode=0o700, exist_ok=True)
        if not _is_private(base):
            raise InputError(f"{base} is not a folder of yours that nobody else may enter; remove it.")
    return base / f"rtvirt-{hashlib.sha256(os.fsencode(folder)).hexdigest()[:12]}"


def _tokens(path: str) -> str:
    if "\n" in path or "${" in path:
        raise InputError(
            f"The path {path!r} has a line end or '${{', which OpenSSH cannot be told; use a folder without, for the "
            "cache one in XDG_CACHE_HOME."
        )
    return path.replace("%", "%%")


def _is_private(folder: Path) -> bool:
    try:
        found = folder.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and not found.st_mode & 0o077
