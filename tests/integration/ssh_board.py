"""Boards that are this machine's programs in namespaces of their own, behind a real SSH server; for tests as root."""

from __future__ import annotations

import json
import os
import select
import shlex
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from rtvirt_runner.catalogue import collection
from rtvirt_runner.catalogue.catalogue import Catalogue
from rtvirt_runner.catalogue.lab import Lab
from rtvirt_runner.machine.ssh_config import socket_folder
from rtvirt_runner.matrix.cell import Cell
from rtvirt_runner.matrix.load import Matrix, read_matrix

LIMIT_S = 120
LOOPS = 200
_BIN = Path(sys.executable).parent
# What is private to a board: processes, mounts, /run and the folders for temporary files.
_START = """\
set -e
for folder in /root /run /tmp /dev/shm /var/tmp; do mkdir -p "$folder"; done
cp "$1/client.pub" /dev/shm/client.pub
for folder in /root /run /tmp /var/tmp; do mount -t tmpfs tmpfs "$folder"; done
chmod 755 /root
mkdir -m 700 /root/.ssh
cp /dev/shm/client.pub /root/.ssh/authorized_keys
mount -t tmpfs tmpfs /dev/shm
shift
exec dropbear -F -E "$@"
"""


@dataclass
class Board:
    """A board: its lab file and keys in ``folder``, and the process whose namespaces it is."""

    folder: Path
    port: int
    name: str = "bench"
    options: tuple[str, ...] = ()  # of dropbear
    reached_at: int = 0  # the port of a relay before it, if there is one
    start: str = _START  # a script that becomes the server; $1 is the folder, the rest are dropbear's options
    starts_within_s: float = 20
    pid: int = 0
    _server: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    def power_on(self) -> None:
        """Start the SSH server; /run and /tmp are empty."""
        # The key is read before the folders are private.
        dropbear = ["-r", "/proc/self/fd/5", "-p", f"127.0.0.1:{self.port}", *self.options]
        script, key = self.folder / "board.sh", self.folder / "server"
        script.write_text(self.start)
        inside = f"exec 5<{key}; exec sh {script} {self.folder} {shlex.join(dropbear)}"
        with (self.folder / "server.log").open("a") as log:
            self._server = subprocess.Popen(
                ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", inside],
                stderr=log,
            )
        wait_until(self._answers, limit_s=self.starts_within_s)
        self.pid = int(Path(f"/proc/{self._server.pid}/task/{self._server.pid}/children").read_text().split()[0])

    def _is_off(self) -> bool:
        """Whether its first process has ended, which does so after all others; who reaps it does not matter."""
        try:
            return not Path(f"/proc/{self.pid}/cmdline").read_bytes()
        except OSError:
            return True

    def _answers(self) -> bool:
        assert self._server and self._server.poll() is None, (self.folder / "server.log").read_text()
        try:
            socket.create_connection(("127.0.0.1", self.port)).close()
        except ConnectionRefusedError:
            return False
        return True

    def power_off(self) -> None:
        """Kill every process of the board; returns when none listens any more."""
        assert self._server
        self._server.kill()
        self._server.wait()
        wait_until(self._is_off)

    def sh(self, script: str) -> str:
        """Run a script on the board, not over SSH; returns its output."""
        command = ["nsenter", "--target", str(self.pid), "--root", "--mount", "--pid", "sh", "-c", script]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    def read(self, path: str) -> str:
        """A file of the board; '' if it is not there. Takes no time."""
        try:
            return Path(f"/proc/{self.pid}/root{path}").read_text()
        except OSError:
            return ""

    def processes(self, name: str) -> list[str]:
        """The numbers of the processes with this name."""
        return self.sh(f"pgrep -x {name} || :").split()

    def in_lab(self) -> dict[str, Any]:
        """Its variables in an inventory."""
        options = f"-F none -i {self.folder}/client -o UserKnownHostsFile=/dev/null -o StrictHostKeyChecking=no"
        return {
            "ansible_host": "127.0.0.1",
            "ansible_port": self.reached_at or self.port,
            "ansible_user": "root",
            "ansible_ssh_common_args": options,
            "rtvirt_board_cpus": os.cpu_count(),
            "rtvirt_board_clock": "real",
            "rtvirt_board_boots": False,
        }

    def begin(self, *tasks: Mapping[str, Any], **variables: Any) -> subprocess.Popen[str]:
        """Start a playbook of these tasks on the board."""
        return begin(self.folder, [self], tasks, variables)

    def play(self, *tasks: Mapping[str, Any], fails: bool = False, **variables: Any) -> str:
        """Run a playbook of these tasks; returns what Ansible said, in one line."""
        return said(self.begin(*tasks, **variables), fails)


def begin(
    folder: Path,
    boards: Sequence[Board],
    tasks: Sequence[Mapping[str, Any]],
    variables: Mapping[str, Any],
    env: Mapping[str, str] | None = None,
    words: Sequence[str] = (),
) -> subprocess.Popen[str]:
    """Start a playbook of these tasks on each board, which do not wait for each other; ``words`` are options of it."""
    lab = {"boards": {"hosts": {board.name: board.in_lab() for board in boards}}}
    name = f"play-{time.monotonic_ns()}"
    play = {"name": "Play", "hosts": "boards", "gather_facts": False, "strategy": "free"}
    (folder / "lab.yml").write_text(yaml.safe_dump(lab))
    (folder / f"{name}.yml").write_text(yaml.safe_dump([{**play, "vars": {**variables}, "tasks": [*tasks]}]))
    env = {**os.environ, "ANSIBLE_CONFIG": str(collection.ANSIBLE_CONFIG), "ANSIBLE_NOCOLOR": "1", **(env or {})}
    env |= {"ANSIBLE_HOST_KEY_CHECKING": "0", "ANSIBLE_SSH_CONTROL_PATH_DIR": str(socket_folder(str(folder)))}
    env.pop("RTVIRT_OWNER_PID", None)
    return subprocess.Popen(
        [_BIN / "ansible-playbook", "-i", "lab.yml", f"{name}.yml", *words],
        cwd=folder,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def said(process: subprocess.Popen[str], fails: bool = False, limit_s: float = LIMIT_S) -> str:
    """What a playbook that ends like this has said, in one line."""
    output, _ = process.communicate(timeout=limit_s)
    assert (process.returncode != 0) == fails, output
    return " ".join(output.split())


def wait_until(happens: Callable[[], Any], limit_s: float = 60, playing: subprocess.Popen[str] | None = None) -> None:
    """Wait for something that happens while a playbook runs."""
    deadline = time.monotonic() + limit_s
    while not happens():
        assert playing is None or playing.poll() is None, said(playing)
        assert time.monotonic() < deadline
        time.sleep(0.05)


@contextmanager
def started_board(folder: Path, *options: str, name: str = "bench", **more: Any) -> Iterator[Board]:
    """A board that is on, with its files in a folder; ``options`` are dropbear's, ``more`` are fields of Board."""
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / "client"], check=True)
    subprocess.run(["dropbearkey", "-t", "ed25519", "-f", folder / "server"], check=True, capture_output=True)
    board = Board(folder, free_port(), name, options, **more)
    try:
        board.power_on()
        yield board
    finally:
        board.power_off()


def free_port() -> int:
    """A port of the loopback device that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


# --------------------------------------------------------------------------------------------------- a matrix on them


def cells(names: Sequence[str], repetitions: int, loops: int = LOOPS) -> tuple[Cell, ...]:
    """Cells of the running kernel without a tuning, for each board."""
    return matrix(names, repetitions, loops)[0].cells


def matrix(names: Sequence[str], repetitions: int, loops: int = LOOPS) -> tuple[Matrix, Lab]:
    """The matrix of these cells, and the lab that it is for."""
    axes = {"board": [*names], "kernel": ["running"], "tuning": ["none"], "split": ["1-1"]}
    content = {
        "name": "here",
        "repetitions": repetitions,
        "cyclictest": {"loops": loops, "interval_us": 1000, "priority": 80, "histogram_us": 20000},
        "splits": {"1-1": {"host_cpus": "0", "guest_cpus": "1"}},
        "experiments": {"one": {"axes": axes | {"place": ["host"], "workload": ["idle"]}}},
    }
    about = {"rtvirt_board_cpus": 2, "rtvirt_board_clock": "real", "rtvirt_board_boots": False}
    lab = Lab.from_inventory({"boards": [*names]}, dict.fromkeys(names, about))
    return read_matrix({"matrix": content}, Path("matrix"), lab, Catalogue.load(collection.VARS)), lab


def begin_cells(
    folder: Path,
    boards: Sequence[Board],
    those: Sequence[Cell],
    slack_s: int = 100,
    env: Mapping[str, str] | None = None,
) -> subprocess.Popen[str]:
    """Start measuring cells on their boards, by the tasks of a matrix, into ``results`` in the folder."""
    (folder / "cells.json").write_text(json.dumps([cell.as_dict() for cell in those]))
    listed = f"lookup('ansible.builtin.file', '{folder}/cells.json') | from_json"
    tasks = [
        {"name": "Take the board", "rtvirt.testbed.lease": {"purpose": f"results of {folder}/results"}},
        {
            "name": "Measure each cell",
            "ansible.builtin.include_tasks": str(collection.ROOT / "playbooks" / "tasks" / "cell.yml"),
            "loop": f"{{{{ {listed} | selectattr('board', 'equalto', inventory_hostname) }}}}",
            "loop_control": {"loop_var": "cell", "label": "{{ cell.repetition }}"},
        },
    ]
    variables = {
        "rtvirt_kernels": {},
        "rtvirt_cell_slack_s": slack_s,
        "rtvirt_results_dir": str(folder / "results"),
        "boot": {"matrix": "here", "kernel": "running"},
        "group": {"state": {}, "settings": [], "host_cpus": "0", "guest_cpus": "1"},
    }
    return begin(folder, boards, tasks, variables, env)


# ------------------------------------------------------------------------------------------------- the network between


class Line:
    """A TCP relay to a board, in place of its network: it can be cut, and pass nothing for a while."""

    def __init__(self, board: Board) -> None:
        self._to, self._listener = board.port, socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._passes = threading.Event()
        self._passes.set()
        self._left: dict[str, int] = {}
        self._then: Callable[[], None] = self.cut
        self._ends: list[tuple[socket.socket, socket.socket]] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """End all connections that there are; new ones can be made."""
        ends, self._ends = self._ends, []
        for pair in ends:
            for end in pair:
                with suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)

    def after(self, direction: str, count: int, then: Callable[[], None]) -> None:
        """Call something once when so many more bytes went ``up`` (to the board) or ``down``."""
        self._then, self._left = then, {direction: count}

    def pause(self) -> None:
        """Pass nothing on, until ``resume``; connections stay."""
        self._passes.clear()

    def resume(self) -> None:
        """Pass on what has waited."""
        self._passes.set()

    def close(self) -> None:
        """End for good: the board is not reached any more."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                try:
                    far = socket.create_connection(("127.0.0.1", self._to))
                except OSError:
                    near.close()
                    continue
                self._ends.append((near, far))
                threading.Thread(target=self._pass_on, args=(near, far), daemon=True).start()

    def _pass_on(self, near: socket.socket, far: socket.socket) -> None:
        with suppress(OSError), near, far:
            while True:
                for source in select.select([near, far], [], [])[0]:
                    self._passes.wait()
                    direction, sink = ("up", far) if source is near else ("down", near)
                    left = self._left.get(direction)
                    if not (chunk := source.recv(1 << 14 if left is None else max(1, min(left, 1 << 14)))):
                        return
                    sink.sendall(chunk)
                    if left is not None:
                        self._left[direction] = left - len(chunk)
                        if len(chunk) >= left:
                            self._left = {}
                            self._then()
