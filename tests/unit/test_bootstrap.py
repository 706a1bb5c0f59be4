"""What ./rtvirt says when it may not help itself: a Python that is a stand-in answers it."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from rtvirt_runner.catalogue import collection

# Answers what ./rtvirt asks a Python; it has no ensurepip.
PYTHON_WITHOUT_VENV = """#!/bin/sh
case "$*" in
  -IS*) echo "$0" ;;
  --version) echo 'Python 3.13.5' ;;
  *version_info*) echo 3.13 ;;
  *) exit 1 ;;
esac
"""
OLD_PYTHON = """#!/bin/sh
echo
"""


@pytest.fixture
def tools(tmp_path: Path) -> Path:
    """A PATH of its own: the ordinary tools, no Python, no root, no sudo."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("sh", "cat", "dirname", "flock", "grep", "mkdir", "readlink", "rm", "sha256sum", "tail"):
        (folder / name).symlink_to(Path(shutil.which(name) or name))
    add(folder, "id", "#!/bin/sh\necho 1000\n")
    add(folder, "sudo", "#!/bin/sh\nexit 1\n")
    add(folder, "apt-get", "#!/bin/sh\nexit 1\n")
    return folder


def add(folder: Path, name: str, script: str) -> None:
    (folder / name).write_text(script)
    (folder / name).chmod(0o755)


def bootstrap(tmp_path: Path, tools: Path) -> subprocess.CompletedProcess[str]:
    for name in ("rtvirt", "requirements.lock", "pyproject.toml"):
        shutil.copy(collection.ROOT / name, tmp_path / name)
    env = {**os.environ, "PATH": str(tools)}
    return subprocess.run([tmp_path / "rtvirt"], env=env, capture_output=True, text=True, check=False)


def test_without_root_a_missing_venv_module_is_one_sentence(tmp_path: Path, tools: Path) -> None:
    add(tools, "python3", PYTHON_WITHOUT_VENV)
    done = bootstrap(tmp_path, tools)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "rtvirt: the package python3.13-venv is missing and only root can install it; "
        "please run: sudo apt-get install -y python3.13-venv\n"
    )


def test_root_installs_it_and_an_apt_that_cannot_is_named(tmp_path: Path, tools: Path) -> None:
    add(tools, "python3", PYTHON_WITHOUT_VENV)
    add(tools, "id", "#!/bin/sh\necho 0\n")
    (tools / "env").symlink_to("/usr/bin/env")
    done = bootstrap(tmp_path, tools)
    assert done.returncode == 2
    assert "installing the package python3.13-venv" in done.stderr
    assert "apt-get install -y python3.13-venv" in done.stderr.splitlines()[-1]


def test_another_distribution_is_told_what_is_missing(tmp_path: Path, tools: Path) -> None:
    add(tools, "python3", PYTHON_WITHOUT_VENV)
    (tools / "apt-get").unlink()
    done = bootstrap(tmp_path, tools)
    assert done.returncode == 2
    assert done.stderr.startswith("rtvirt: the package python3.13-venv (or what your distribution calls it) is missing")


def test_a_newer_python_beside_an_old_one_is_found(tmp_path: Path, tools: Path) -> None:
    add(tools, "python3", OLD_PYTHON)
    add(tools, "python3.12", PYTHON_WITHOUT_VENV)
    done = bootstrap(tmp_path, tools)
    assert "python3.13-venv is missing" in done.stderr  # the stand-in's answer, so it was asked


def test_an_old_python_alone_is_not_enough(tmp_path: Path, tools: Path) -> None:
    add(tools, "python3", OLD_PYTHON)
    done = bootstrap(tmp_path, tools)
    assert done.returncode == 2
    assert "python3-venv" in done.stderr
