"""Playbooks and commands for an emulated board, as a user would give them, and what machines of a test's own need."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rtvirt_runner.build import artifacts
from rtvirt_runner.catalogue import collection

LIMIT_S = 900
MAKING_LIMIT_S = 3600  # where a kernel may have to be compiled first, beside another board
SCRIPTS = Path(sys.executable).parent
PLAYBOOKS = collection.ROOT / "playbooks"
LAB_FOLDER = collection.ROOT / "tests" / "lab"
BENCH = ("-i", str(LAB_FOLDER / "inventory"))  # the tests' own boards
# Boots, entered snapshots and guests' starts are written down by this, for the suite's table.
os.environ |= {
    "ANSIBLE_CALLBACK_PLUGINS": str(LAB_FOLDER / "callback_plugins"),
    "ANSIBLE_CALLBACKS_ENABLED": "boards",
}


MAKE = """\
- name: What the test needs
  hosts: localhost
  gather_facts: false
  tasks:
    - name: QEMU
      ansible.builtin.include_role:
        name: rtvirt.testbed.virtual_board
        tasks_from: qemu
    - name: What it runs
      ansible.builtin.include_role:
        name: rtvirt.testbed.{role}
    - name: Tell where they are
      ansible.builtin.copy:
        content: "{{{{ [virtual_board_qemu_folder, {made}] | to_json }}}}"
        dest: "{{{{ playbook_dir }}}}/made.json"
        mode: "0644"
"""


def make(folder: Path, role: str, made: str, given: dict[str, Any]) -> tuple[Path, Path]:
    """Let a role make what a machine of QEMU is to run; returns the folders of QEMU and of that, ``made`` in Jinja."""
    (folder / "make.yml").write_text(MAKE.format(role=role, made=made))
    command: list[str | Path] = [Path(sys.executable).parent / "ansible-playbook", "-e", json.dumps(given), "make.yml"]
    environment = {**os.environ, "ANSIBLE_CONFIG": str(collection.ANSIBLE_CONFIG)}
    subprocess.run(command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, check=True)
    qemu, path = map(Path, json.loads((folder / "made.json").read_text()))
    return qemu, path


def owned() -> dict[str, str]:
    """The environment in which a board outlives the playbook that starts it, and ends with the tests."""
    return {**os.environ, "RTVIRT_OWNER_PID": str(os.getpid())}


def stop(board: str) -> None:
    """End a board of the tests' lab; its card is not looked at again."""
    said = play(PLAYBOOKS / "reset.yml", *BENCH, "-l", board, "-e", "virtual_board_shut_down=false")
    assert "status 0" in said, said


def play(playbook: Path, *options: str, limit_s: float = LIMIT_S) -> str:
    """Run one playbook; returns what Ansible said, and ``status`` with its exit code as the last line."""
    return run([SCRIPTS / "ansible-playbook", playbook, *options], limit_s=limit_s)


def run(command: Sequence[str | Path], environment: Mapping[str, str] | None = None, limit_s: float = LIMIT_S) -> str:
    """Run a command in the checkout; returns what it said, and ``status`` with its exit code as the last line."""
    done = subprocess.run(
        command,
        cwd=collection.ROOT,
        env=environment or owned(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=limit_s,
        check=False,
    )
    return f"{done.stdout}\nstatus {done.returncode}\n"


def count_boot(board: str) -> None:
    """Write down that a machine of QEMU was started from power-on by the test itself, for the suite's table."""
    if path := os.environ.get("RTVIRT_TEST_EVENTS"):
        with Path(path).open("a") as stream:
            stream.write(json.dumps({"event": "cold boot", "board": board}) + "\n")


def sealed_machines(board: str) -> list[Path]:
    """Folders of the sealed machines of a board that run, of this cache; a run with another has such machines too."""
    boards = (artifacts.cache_folder() / "boards" / board).resolve()
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            folder, command = (process / "cwd").readlink(), (process / "cmdline").read_bytes()
        except OSError:
            continue  # it has ended
        if folder.parent == boards and folder.name.startswith("sealed-") and b"guest=" in command:
            found.append(folder)
    return found


def ssh(board: str, command: str) -> list[str | Path]:
    """The command line that runs a command on a board."""
    return ["ssh", "-F", artifacts.cache_folder() / "boards" / board / "ssh_config", board, command]


def on_board(board: str, command: str, given: bytes = b"") -> str:
    """Run a command on a board; returns what it printed."""
    # Pipes of its own: ssh makes what it writes to non-blocking, for good when it is killed, and Ansible refuses that.
    done = subprocess.run(ssh(board, command), input=given, capture_output=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()
