"""Loop devices: real block devices over files, in place of SD cards in a reader."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

MIB = 1 << 20


def run(*words: str | Path) -> str:
    """Run a command that must work; returns what it wrote."""
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()


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
    """A mounted file system; it is not any more afterwards."""
    where.mkdir(exist_ok=True)
    run("mount", *words, device, where)
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
