"""Leases of folders in the cache: an empty file that names a process, valid while that process is running.

    <cache>/leases/<folder in the cache>/<pid>-<start time>
                   gate                                         locked shared to lease, exclusive to remove

Ansible's action plugins run in workers that end after each task, so a worker leases for its parent, the run.
"""

from __future__ import annotations

import contextlib
import fcntl
import multiprocessing
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Process:
    """A process of this machine: its id, which may be reused, and its start time in clock ticks since boot."""

    pid: int
    started_ticks: int

    @classmethod
    def of(cls, pid: int) -> Process | None:
        """The running process with this id; None if there is none or it is a zombie."""
        try:
            stat = Path(f"/proc/{pid}/stat").read_text(errors="replace")
        except OSError:
            return None
        state, *fields = stat.rpartition(")")[2].split()  # a name may hold spaces and parentheses
        return None if state in "ZX" else cls(pid, int(fields[18]))  # field 22 of the line

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
        pid, _, ticks = text.partition("-")
        return cls(int(pid), int(ticks)) if pid.isdecimal() and ticks.isdecimal() else None

    @property
    def name(self) -> str:
        """The file name of its leases."""
        return f"{self.pid}-{self.started_ticks}"

    @property
    def is_alive(self) -> bool:
        return Process.of(self.pid) == self


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
    (leases / Process.of_this_run().name).touch()
    os.utime(folder)
    for lease, process in _leases_in(leases):
        if not process.is_alive:
            lease.unlink(missing_ok=True)


def holders(cache: Path) -> dict[Path, list[Process]]:
    """Folder of the cache -> the running processes that have leased it."""
    held: dict[Path, list[Process]] = {}
    for leases in _all(cache):
        if alive := [process for _, process in _leases_in(leases) if process.is_alive]:
            held[cache / leases.relative_to(cache / "leases")] = alive
    return held


def sweep(cache: Path) -> None:
    """Remove the leases of processes that have ended; the gate must be held exclusively."""
    for leases in _all(cache):
        for lease, process in _leases_in(leases):
            if not process.is_alive:
                lease.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # not empty
            leases.rmdir()


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
