"""The versions of what measures: rtvirt with its commit, ansible-core and Python on the controller."""

from __future__ import annotations

import functools
import platform
import subprocess
from importlib import metadata
from typing import Any

from rtvirt_runner.catalogue import collection

GIT_LIMIT_S = 20.0


@functools.cache
def controller_versions() -> dict[str, Any]:
    """``rtvirt``, ``commit`` and ``dirty`` (null outside a git checkout), ``ansible_core``, ``python``."""
    commit = _git("rev-parse", "HEAD")
    status = _git("status", "--porcelain") if commit else None
    return {
        "rtvirt": _version("rtvirt-runner"),
        "commit": commit,
        "dirty": None if status is None else bool(status),
        "ansible_core": _version("ansible-core"),
        "python": platform.python_version(),
    }


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def _git(*words: str) -> str | None:
    """What git says of the checkout that this code is in; None if it is in none, or git is missing or refuses."""
    if not (collection.ROOT / ".git").exists():  # a checkout that happens to hold the installed package says nothing
        return None
    command = ["git", "--no-optional-locks", "-C", str(collection.ROOT), *words]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=GIT_LIMIT_S, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
