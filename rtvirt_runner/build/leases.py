"""Leases of folders in the cache: an empty file that names a process, valid while that process is running.

    <cache>/leases/<folder in the cache>/<process>
                   runs/<process>       locked while the process is running
                   gate                 locked shared to lease, exclusive to remove

A process is named by its id, its start time and the place that the id is valid in: this boot of this computer, and its
pid namespace, that of a container. A process of the same place is looked up by its id. Of another place, whose ids mean
nothing here, only the lock tells whether it is running; the kernel keeps that for all who share the cache.

Ansible's action plugins run in workers that end after each task, so a worker leases for its parent, the run, and
leaves a small process behind that holds the lock for it.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import hashlib
import multiprocessing
import os
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

AGAIN_S = 0.01  # longer than somebody needs to look whether a lock is free

_own_locks: dict[Path, IO[str]] = {}  # held until this process ends


@functools.cache
def place() -> str:
    """The place in which process ids are valid: 12 digits of a hash over the boot and the pid namespace."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text()
    return hashlib.sha256(f"{boot}{Path('/proc/self/ns/pid').readlink()}".encode()).hexdigest()[:12]


@dataclass(frozen=True)
class Process:
    """A process: its id, which may be reused, its start time in clock ticks since boot, and its place."""

    pid: int
    started_ticks: int
    place: str

    @classmethod
    def of(cls, pid: int) -> Process | None:
        """The running process with this id; None if there is none or it is a zombie."""
        try:
            stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
        except OSError:
            return None
        state, *fields = stat.rpartition(")")[2].split()  # a name may hold spaces and parentheses
        return None if state in "ZX" else cls(pid, int(fields[18]), place())  # field 22 of the line

    @classmethod
    def runs_here(cls, pid: int, started_ticks: int) -> bool:
        """Whether a process of this place with this id and start time is running."""
        process = cls.of(pid)
        return process is not None and process.started_ticks == started_ticks

    @classmethod
    def of_this_run(cls) -> Process:
        """The process that lasts as long as the run that this code is part of."""
        parent = multiprocessing.parent_process()
        process = (cls.of(parent.pid) if parent and parent.pid else None) or cls.of(os.getpid())
        assert process is not None  # it is running
        return process

    @classmethod
    def named(cls, text: str) -> Process | None:
        """The process that a lease's file name names; None for another file."""
        pid, _, rest = text.partition("-")
        ticks, _, where = rest.partition("-")
        # Without a place: of a version of rtvirt that looked up every id.
        return cls(int(pid), int(ticks), where or place()) if pid.isdecimal() and ticks.isdecimal() else None

    @property
    def name(self) -> str:
        """The file name of its leases."""
        return f"{self.pid}-{self.started_ticks}-{self.place}"

    @property
    def label(self) -> str:
        """Its name for people."""
        return f"run {self.pid}" if self.place == place() else f"run {self.pid} of another container or computer"

    def is_running(self, cache: Path) -> bool:
        """Whether it is running, wherever that is."""
        if self.place == place():
            return Process.of(self.pid) == self
        return _is_locked(_run_file(cache, self))

    def keep_lock(self, cache: Path) -> None:
        """Have the file that tells others that it is running locked until it ends; the gate must be held."""
        path = _run_file(cache, self)
        if path in _own_locks or _is_locked(path):
            return
        path.parent.mkdir(exist_ok=True)
        handle = path.open("a")
        fcntl.flock(handle, fcntl.LOCK_SH)
        if self.pid == os.getpid():
            _own_locks[path] = handle
            return
        with handle:
            nothing = subprocess.DEVNULL
            command = ["tail", "--follow", f"--pid={self.pid}", "/dev/null"]
            subprocess.Popen(
                command,
                stdin=nothing,
                stdout=nothing,
                stderr=nothing,
                cwd="/",
                start_new_session=True,
                pass_fds=[handle.fileno()],
            )


def _run_file(cache: Path, process: Process) -> Path:
    return cache / "leases" / "runs" / process.name


def _is_locked(path: Path) -> bool:
    """Whether somebody holds a lock of a file, and not only looks whether it is locked."""
    for _ in range(2):
        try:
            with path.open() as handle:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except FileNotFoundError:
            return False
        except BlockingIOError:
            time.sleep(AGAIN_S)
        else:
            return False
    return True


@contextlib.contextmanager
def gate(cache: Path, exclusive: bool = False) -> Iterator[None]:
    """Lock the gate, for short: shared, so that nothing is removed, or exclusive, so that nothing is leased."""
    folder = cache / "leases"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "gate").open("a") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH)
        yield


def hold(cache: Path, folder: Path, proof: Path) -> bool:
    """Lease a folder of the cache until this run ends; False if ``proof``, a file in it, is missing."""
    if not proof.exists():
        return False
    with gate(cache):
        if not proof.exists():
            return False
        take(cache, folder)
        return True


def take(cache: Path, folder: Path) -> None:
    """Lease a folder, with the gate held, and set its mtime, which records its last use."""
    leases = _folder(cache, folder)
    leases.mkdir(parents=True, exist_ok=True)
    run = Process.of_this_run()
    run.keep_lock(cache)
    (leases / run.name).touch()
    os.utime(folder)
    for lease, process in _leases_in(leases):
        if not process.is_running(cache):
            lease.unlink(missing_ok=True)


def use(cache: Path, file: Path) -> Process | None:
    """Name this run in a file as the only user of what stands beside it; returns the run that uses it now, if any."""
    run = Process.of_this_run()
    with file.open("a+") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        handle.seek(0)
        if other := _other(cache, handle.read()):
            return other
        handle.truncate(0)
        handle.write(run.name)
    with gate(cache):
        run.keep_lock(cache)
    return None


def other_user(cache: Path, file: Path) -> Process | None:
    """The running process that ``use`` has named in a file, unless that is this run."""
    try:
        return _other(cache, file.read_text())
    except FileNotFoundError:
        return None


def _other(cache: Path, named: str) -> Process | None:
    other = Process.named(named)
    if other is None or other == Process.of_this_run() or not other.is_running(cache):
        return None
    return other


def holders(cache: Path) -> dict[Path, list[Process]]:
    """Folder of the cache -> the running processes that have leased it."""
    held: dict[Path, list[Process]] = {}
    for leases in _all(cache):
        if alive := [process for _, process in _leases_in(leases) if process.is_running(cache)]:
            held[cache / leases.relative_to(cache / "leases")] = alive
    return held


def sweep(cache: Path) -> None:
    """Remove the leases of processes that have ended; the gate must be held exclusively."""
    for leases in _all(cache):
        for lease, process in _leases_in(leases):
            if not process.is_running(cache):
                lease.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # not empty
            leases.rmdir()
    for path, process in _leases_in(cache / "leases" / "runs"):
        if not process.is_running(cache):
            path.unlink(missing_ok=True)


def _folder(cache: Path, folder: Path) -> Path:
    return cache / "leases" / folder.relative_to(cache)


def _all(cache: Path) -> list[Path]:
    return sorted(path for path in (cache / "leases").glob("*/*") if path.is_dir())


def _leases_in(folder: Path) -> list[tuple[Path, Process]]:
    try:
        named = [(path, Process.named(path.name)) for path in folder.iterdir()]
    except FileNotFoundError:  # just removed
        return []
    return [(path, process) for path, process in named if process]
