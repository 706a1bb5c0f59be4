"""Playbooks and commands for an emulated board, as a user would give them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from rtvirt_runner import artifacts, checkout

LIMIT_S = 900
PLAYBOOKS = checkout.ROOT / "playbooks"
# The board outlives the playbook that starts it, and ends with the tests, however they end.
OWNED = {**os.environ, "RTVIRT_OWNER_PID": str(os.getpid())}


def play(playbook: Path, *options: str) -> str:
    """Run one playbook; returns what Ansible said, and ``status`` with its exit code as the last line."""
    done = subprocess.run(
        [Path(sys.executable).parent / "ansible-playbook", playbook, *options],
        cwd=checkout.ROOT,
        env=OWNED,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    return f"{done.stdout}\nstatus {done.returncode}\n"


def ssh(board: str, command: str) -> list[str | Path]:
    """The command line that runs a command on a board."""
    return ["ssh", "-F", artifacts.cache_folder() / "boards" / board / "ssh_config", board, command]


def on_board(board: str, command: str, given: bytes = b"") -> str:
    """Run a command on a board; returns what it printed."""
    done = subprocess.run(ssh(board, command), input=given, stdout=subprocess.PIPE, check=True, timeout=120)
    return done.stdout.decode()
