"""The other name of a Debian suite, as a mirror tells it; the mirror is a folder, and curl reads it."""

import shutil
import subprocess
from pathlib import Path

import pytest

from rtvirt_runner.build.artifacts import TOOLS


@pytest.fixture
def mirror(tmp_path: Path) -> Path:
    """A mirror, and beside it the tool with what it calls, which names that mirror."""
    shutil.copy(TOOLS / "suite_alias", tmp_path)
    tool = tmp_path / "debian_mirror"
    tool.write_text(f"#!/bin/sh\necho file://{tmp_path}/mirror\n")
    tool.chmod(0o755)
    return tmp_path / "mirror"


def publish(mirror: Path, folder: str, suite: str, codename: str) -> None:
    (mirror / "dists" / folder).mkdir(parents=True)
    (mirror / "dists" / folder / "InRelease").write_text(f"Origin: Debian\nSuite: {suite}\nCodename: {codename}\n")


def alias(mirror: Path, suite: str) -> str:
    done = subprocess.run([mirror.parent / "suite_alias", suite], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_a_suite_is_there_under_its_other_name_too(mirror: Path) -> None:
    publish(mirror, "trixie", "stable", "trixie")
    publish(mirror, "stable", "stable", "trixie")
    assert alias(mirror, "trixie") == "stable"


def test_a_name_that_stands_for_another_suite_by_now_is_none(mirror: Path) -> None:
    publish(mirror, "bookworm", "stable", "bookworm")  # not in step
    publish(mirror, "stable", "stable", "trixie")
    assert alias(mirror, "bookworm") == ""


@pytest.mark.parametrize("suite", ["trixie", "sid"])
def test_a_mirror_that_does_not_have_it_gives_none(mirror: Path, suite: str) -> None:
    publish(mirror, "sid", "unstable", "sid")
    assert alias(mirror, suite) == ""
