"""Loop devices: real block devices over files, in place of SD cards in a reader."""

from __future__ import annotations

import contextlib
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

MIB = 1 << 20


def run(*words: str | Path) -> str:
    """Run a command that must work; returns what it wrote."""
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{words}: status {done.returncode}, {done.stdout}{done.stderr}"
    return done.stdout.strip()


def check_when_free(partition: Path | str) -> None:
    """Check a file system that was mounted a moment ago: mounts of others, copied meanwhile, may keep it busy."""
    deadline = time.monotonic() + 30
    while (
        subprocess.run(["e2fsck", "-f", "-p", partition], check=False).returncode == 8 and time.monotonic() < deadline
    ):
        time.sleep(0.2)
    run("e2fsck", "-f", "-p", partition)


@contextlib.contextmanager
def attached(backing: Path, *words: str) -> Iterator[Path]:
    """A loop device over a file; it is gone afterwards."""
    device = run("losetup", "--find", "--show", *words, backing)
    try:
        yield Path(device)
    finally:
        run("losetup", "--detach", device)


@contextlib.contextmanager
def mounted(device: Path | str, where: Path, *words: str) -> Iterator[Path]:
    """A mounted file system; it is not any more afterwards.

    Mounted a moment ago with other options it may be busy: mounts of others, copied meanwhile, last until they end.
    """
    where.mkdir(exist_ok=True)
    command, deadline = ("mount", *words, device, where), time.monotonic() + 30
    while subprocess.run(command, capture_output=True, check=False).returncode and time.monotonic() < deadline:
        time.sleep(0.2)
    if not where.is_mount():
        run(*command)
    try:
        yield where
    finally:
        run("umount", where)


@contextlib.contextmanager
def swapped_on(device: Path) -> Iterator[None]:
    """The device as swap that nothing prefers; it is not any more afterwards."""
    run("mkswap", device)
    run("swapon", "--priority", "0", device)
    try:
        yield
    finally:
        run("swapoff", device)
