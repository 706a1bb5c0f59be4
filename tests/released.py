"""A release of the checkout as it is now: built from a commit of a copy, installed where the checkout is not."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from environments import Environment

from rtvirt_runner.catalogue import collection


@dataclass(frozen=True)
class Release:
    """A commit of the checkout as it is now, and what was built from it."""

    clone: Path
    wheel: Path
    archive: Path


def git(clone: Path, *words: str) -> str:
    """Run git in a clone; returns what it printed."""
    author = ["-c", "user.name=nobody", "-c", "user.email=nobody@example.org"]
    return subprocess.check_output(["git", "-C", clone, *author, *words], text=True)


def build(clone: Path, output: Path) -> subprocess.CompletedProcess[str]:
    """Build wheel and archive of a clone, as a maintainer does."""
    command = [sys.executable, clone / "release" / "build.py", "--output", output]
    return subprocess.run(command, capture_output=True, text=True, cwd="/")


def make_release(folder: Path) -> Release:
    """Commit the checkout, with what is not committed in it, as ``clone`` in a folder, and build from that."""
    clone = folder / "clone"
    listed = git(collection.ROOT, "ls-files", "-z", "--cached", "--others", "--exclude-standard").split("\0")
    for name in filter(None, listed):
        (clone / name).parent.mkdir(parents=True, exist_ok=True)
        if os.path.lexists(collection.ROOT / name):  # what is removed, and not yet committed, is still listed
            shutil.copy2(collection.ROOT / name, clone / name, follow_symlinks=False)
    git(clone.parent, "init", "--quiet", str(clone))
    git(clone, "add", "--all")
    git(clone, "commit", "--quiet", "-m", "as it is now")
    done = build(clone, folder / "dist")
    assert done.returncode == 0, done.stderr
    (wheel,), (archive,) = (folder / "dist").glob("*.whl"), (folder / "dist").glob("*.tar.gz")
    assert done.stdout.count("\n") == 2 and str(wheel) in done.stdout and str(archive) in done.stdout
    return Release(clone, wheel, archive)


def install(archive: Path, environment: Environment) -> None:
    """Install the archive where Ansible looks for collections of a user; by force, since a wheel has the collection."""
    there = environment.root / "home"
    there.mkdir(exist_ok=True)
    done = environment.run("ansible-galaxy", "collection", "install", "--offline", "--force", archive, folder=there)
    assert done.returncode == 0, done.stdout + done.stderr
