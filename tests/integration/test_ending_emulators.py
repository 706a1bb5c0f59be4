"""What ends an emulator also ends one that does not heed SIGTERM; and a sealed machine's folder has one user."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import pytest

from rtvirt_runner.build import leases
from rtvirt_runner.build.leases import Process
from rtvirt_runner.catalogue import collection
from rtvirt_runner.machine.sealed_machine import KEEPER

BOARD_FILES = collection.ROOT / "roles" / "virtual_board" / "files"
STUBBORN = 'trap "" TERM; echo $$ >qemu.pid; while :; do sleep 0.1; done'
LIMIT_S = 60.0  # on a computer that has much else to do


def until_gone(pid: int) -> float:
    """Seconds until a process has ended."""
    began = time.monotonic()
    while Process.of(pid) is not None:
        assert time.monotonic() - began < LIMIT_S, "it still runs"
        time.sleep(0.1)
    return time.monotonic() - began


def name_of(folder: Path) -> str:
    """The name of the machine of a folder (sealed_machine.py)."""
    return f"{folder.parent.name}-{folder.name}"


@pytest.fixture
def owner() -> Iterator[subprocess.Popen[bytes]]:
    """A process that owns a machine."""
    with subprocess.Popen(["sleep", "1000"]) as process:
        yield process
        process.kill()


class Kept(NamedTuple):
    """A stubborn program in the place of QEMU, and its keeper."""

    keeper: subprocess.Popen[bytes]
    qemu: int


@pytest.fixture
def keep(tmp_path: Path) -> Iterator[Callable[[int], Kept]]:
    """Start a stubborn program for an owner in the place of QEMU; nothing is left of it, however the test ends."""
    started: list[subprocess.Popen[bytes]] = []
    pid = tmp_path / "qemu.pid"

    def start(owner: int) -> Kept:
        command = [
            "sh",
            KEEPER,
            str(owner),
            tmp_path,
            "sh",
            "-c",
            STUBBORN,
            f"guest={name_of(tmp_path)},debug-threads=on",
        ]
        started.append(subprocess.Popen(command, env={**os.environ, "RESETS": "qemu", "FIRMWARE": ""}))
        began = time.monotonic()
        while not pid.exists() or not (tmp_path / "pid").exists():
            assert time.monotonic() - began < LIMIT_S
            time.sleep(0.05)
        return Kept(started[-1], int(pid.read_text()))

    yield start
    for keeper in started:
        if keeper.poll() is None:
            with suppress(FileNotFoundError, ProcessLookupError):
                os.kill(int(pid.read_text()), signal.SIGKILL)
            keeper.kill()
            keeper.wait()


def test_a_keeper_kills_what_outlives_its_owner(
    tmp_path: Path, owner: subprocess.Popen[bytes], keep: Callable[[int], Kept]
) -> None:
    keeper, qemu = keep(owner.pid)
    owner.kill()
    owner.wait()
    assert until_gone(qemu) > 5
    keeper.wait(5)
    assert not (tmp_path / "pid").exists()


def test_a_keeper_that_is_told_to_end_kills_what_does_not(keep: Callable[[int], Kept]) -> None:
    keeper, qemu = keep(0)
    keeper.terminate()
    until_gone(qemu)
    keeper.wait(5)


END = """\
- hosts: localhost
  gather_facts: false
  tasks:
    - ansible.builtin.include_role:
        name: rtvirt.testbed.sealed_board
        tasks_from: stop
"""


TAKE = """\
- hosts: localhost
  gather_facts: false
  tasks:
    - rtvirt.testbed.sealed_machine:
        folder: "{{ sealed_board_folder }}"
        state: taken
"""


def end_machine(folder: Path, *words: str) -> str:
    """End the sealed machine of a folder by the role; returns what Ansible said."""
    return play(END, folder, *words)


def play(content: str, folder: Path, *words: str, status: int = 0) -> str:
    """Run a playbook on the folder of a sealed machine; returns what Ansible said."""
    playbook = folder.with_suffix(".yml")
    playbook.write_text(content)
    given = json.dumps({"sealed_board_folder": str(folder), "ansible_python_interpreter": sys.executable})
    command = [Path(sys.executable).parent / "ansible-playbook", "-i", "localhost,", "-e", given, *words, playbook]
    env = {**os.environ, "ANSIBLE_CONFIG": str(collection.ANSIBLE_CONFIG)}
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    assert done.returncode == status, done.stdout + done.stderr
    return " ".join(done.stdout.split())


def test_the_role_kills_a_machine_that_does_not_end_and_frees_its_folder(
    tmp_path: Path, keep: Callable[[int], Kept]
) -> None:
    keeper, qemu = keep(0)
    (tmp_path / "owner").touch()
    (tmp_path / "initramfs").touch()
    assert "changed=1" in end_machine(tmp_path, "--check")
    assert Process.of(qemu) is not None and (tmp_path / "initramfs").exists()
    assert "changed=1" in end_machine(tmp_path)
    until_gone(qemu)
    keeper.wait(5)
    assert not {"owner", "initramfs"} & {path.name for path in tmp_path.iterdir()}
    assert "changed=0" in end_machine(tmp_path)


def test_the_role_leaves_the_machine_of_another_run_alone(
    tmp_path: Path, keep: Callable[[int], Kept], owner: subprocess.Popen[bytes]
) -> None:
    """As after a start that was refused since that run uses the folder."""
    _, qemu = keep(owner.pid)
    user = Process.of(owner.pid)
    assert user is not None
    (tmp_path / "owner").write_text(user.name)
    said = end_machine(tmp_path, "-v")
    assert "changed=0" in said and f"is in use by run {owner.pid}, which goes on." in said
    assert Process.of(qemu) is not None and (tmp_path / "owner").read_text() == user.name


def test_machines_are_taken_by_one_run_at_a_time(tmp_path: Path, owner: subprocess.Popen[bytes]) -> None:
    user = Process.of(owner.pid)
    assert user is not None
    (tmp_path / "owner").write_text(user.name)
    said = play(TAKE, tmp_path, status=2)
    assert f"The folder {tmp_path} is in use by run {owner.pid}; wait for it with -e rtvirt_wait=true" in said
    play(TAKE, tmp_path, "--check")
    assert (tmp_path / "owner").read_text() == user.name
    owner.kill()
    owner.wait()
    play(TAKE, tmp_path)
    assert (tmp_path / "owner").read_text() != user.name


def test_a_board_is_stopped_by_its_own_run_alone(
    tmp_path: Path, keep: Callable[[int], Kept], owner: subprocess.Popen[bytes]
) -> None:
    keeper, qemu = keep(owner.pid)
    (tmp_path / "owner").write_text(f"{owner.pid}\n")
    board = f"NAME='{name_of(tmp_path)}' FOLDER='{tmp_path}' KEPT=yes SHUT_DOWN=no RTVIRT_CHECK_MODE=no"
    files = "".join((BOARD_FILES / name).read_text() for name in ("board_process.sh", "stop_board.sh"))

    def stop(run: int) -> str:
        said = 'changed() { echo "$*"; }; fail() { echo "$*"; exit 1; }'
        command = ["sh", "-c", f"{said}\n{board} RTVIRT_OWNER_PID={run}\n{files}"]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=LIMIT_S).stdout

    said = stop(os.getpid())
    assert said == (
        f"The board {name_of(tmp_path)} is in use by the run with process id {owner.pid}; wait for it or stop it.\n"
    )
    assert Process.of(qemu) is not None
    assert stop(owner.pid) == f"stopped {name_of(tmp_path)}\n"
    until_gone(qemu)
    keeper.wait(5)


def test_a_folder_has_one_user_until_that_ends_or_frees_it(tmp_path: Path) -> None:
    cache, file = tmp_path / "cache", tmp_path / "owner"
    program = (
        "import sys, pathlib; from rtvirt_runner.build import leases;"
        "print(leases.use(*map(pathlib.Path, sys.argv[1:])), flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", program, cache, file]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as first:
        assert first.stdout
        assert first.stdout.readline() == "None\n"
        other = leases.use(cache, file)
        assert other is not None
        assert (other.pid, other.label) == (first.pid, f"run {first.pid}")
        first.kill()
    assert leases.use(cache, file) is None
    assert leases.use(cache, file) is None  # the same run goes on
    assert Process.named(file.read_text()) == Process.of(os.getpid())
