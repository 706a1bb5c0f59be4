"""``rtvirt inspect`` on this machine: read by the real playbook and scripts, which change nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

INVENTORY = """\
boards:
  hosts:
    here: {ansible_connection: local, ansible_python_interpreter: '{{ ansible_playbook_python }}'}
guests:
  hosts:
    here-guest: {ansible_connection: local}
"""


@pytest.fixture
def inventory(tmp_path: Path) -> Path:
    path = tmp_path / "lab.yml"
    path.write_text(INVENTORY)
    return path


def inspect(board: str, inventory: Path) -> subprocess.CompletedProcess[str]:
    command = [Path(sys.executable).parent / "rtvirt", "inspect", board, "-i", inventory, "--all"]
    env = {**os.environ, "XDG_CACHE_HOME": str(inventory.parent / "cache")}  # where the log goes
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=120, check=False)


def test_what_a_machine_has_is_read_from_it(inventory: Path) -> None:
    found = inspect("here", inventory)
    # Whether somebody uses this machine as a board meanwhile decides what is wanted of it.
    assert found.returncode in (0, 1), found.stderr
    assert found.stdout.splitlines()[-1].startswith("here: "), found.stdout + found.stderr
    assert (found.returncode == 1) == ("not as wanted" in found.stdout.splitlines()[-1])


def test_an_unknown_board_is_refused_before_anything_is_touched(inventory: Path) -> None:
    found = inspect("there", inventory)
    assert found.returncode == 2
    assert found.stderr.endswith("unknown board 'there', expected one of here; did you mean 'here'?\n")
    assert not (inventory.parent / "cache").exists()
