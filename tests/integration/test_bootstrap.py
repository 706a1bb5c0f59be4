"""./rtvirt in a copy of the tree with a stand-in package and a lock of one entry, so that an environment costs seconds.

(The real lock is installed by whoever runs these tests through ./rtvirt.)
"""

import os
import re
import resource
import shutil
import subprocess
from pathlib import Path

import pytest

from rtvirt_runner.catalogue import collection

pytestmark = pytest.mark.splittable
STAND_IN = "import sys\n\n\ndef start() -> int:\n    print('ran', *sys.argv[1:])\n    return 7\n"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "a checkout"
    root.mkdir()
    for name in ("rtvirt", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(collection.ROOT / name, root / name)
    (root / "requirements.lock").write_text(locked("setuptools"))
    (root / "collections").mkdir()
    package = root / "rtvirt_runner" / "cli"
    package.mkdir(parents=True)
    (package.parent / "__init__.py").touch()
    (package / "__init__.py").write_text(STAND_IN)
    return root


def locked(package: str) -> str:
    """One package's entry in the real lock."""
    lock = (collection.ROOT / "requirements.lock").read_text()
    entry = re.search(rf"^{package}==.*(?:\n    .*)*", lock, re.MULTILINE)
    assert entry is not None
    return entry[0] + "\n"


def start(path: Path, *arguments: str) -> subprocess.Popen[str]:
    pipe, nothing = subprocess.PIPE, subprocess.DEVNULL
    return subprocess.Popen([path, *arguments], stdin=nothing, stdout=pipe, stderr=pipe, text=True, cwd="/")


def finish(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=300)
    return process.returncode, out, err


def best_of_five(command: Path) -> float:
    """Seconds of processor time: the other worker's tests cannot stretch them as they stretch the wall clock's."""
    times = []
    for _ in range(5):
        began = processor_seconds()
        finish(start(command))
        times.append(processor_seconds() - began)
    return min(times)


def processor_seconds() -> float:
    """What all processes that were started here and have ended took."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def test_an_environment_is_made_once_and_made_again_only_when_it_must_be(tree: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(tree / "rtvirt")

    both = [start(link, "matrix"), start(tree / "rtvirt", "plan")]
    (first, second) = (finish(process) for process in both)
    assert (first[0], first[1]) == (7, "ran matrix\n"), first[2]
    assert (second[0], second[1]) == (7, "ran plan\n"), second[2]
    assert (first[2] + second[2]).count("making the environment") == 1  # two at once, one of them waits

    assert finish(start(link)) == (7, "ran\n", "")
    print_path = [tree / ".venv" / "bin" / "python", "-c", "import os, sys; print(os.pathsep.join(sys.path))"]
    path = subprocess.run(print_path, cwd="/", capture_output=True, text=True, check=True).stdout
    assert str(tree / "collections") in path.strip().split(
        os.pathsep
    )  # where Ansible looks for collections, from any folder
    assert best_of_five(link) - best_of_five(tree / ".venv" / "bin" / "rtvirt") < 0.3

    (tree / ".venv" / "rtvirt-stamp").unlink()  # killed before its last step
    assert "making the environment" in finish(start(link))[2]

    with (tree / "requirements.lock").open("a") as lock:
        lock.write(locked("iniconfig"))
    assert "making the environment" in finish(start(link))[2]


@pytest.mark.slow(exercises=["rtvirt", "tests/integration/test_bootstrap.py"])
def test_an_environment_in_use_is_not_replaced(tree: Path) -> None:
    (tree / "rtvirt_runner" / "cli" / "__init__.py").write_text(
        "def start() -> None:\n    input()\n    import setuptools\n"
    )
    user = subprocess.Popen([tree / "rtvirt"], stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert user.stderr is not None
    while "is ready" not in user.stderr.readline():
        pass
    (tree / "pyproject.toml").open("a").write("\n")
    other = start(tree / "rtvirt")
    assert other.stderr is not None
    assert "waiting for another rtvirt" in other.stderr.readline()
    user.communicate("go on\n", timeout=60)
    assert user.returncode == 0  # its environment was still there
    said = next(line for line in other.stderr if "waiting" not in line)  # which it says again from time to time
    assert "making the environment" in said
    finish(other)


def test_a_package_that_is_not_the_locked_one_is_refused(tree: Path) -> None:
    lock = tree / "requirements.lock"
    lock.write_text(re.sub(r"sha256:[0-9a-f]{8}", "sha256:00000000", lock.read_text()))
    code, out, err = finish(start(tree / "rtvirt"))
    assert (code, out) == (2, "")
    assert "pip could not install what rtvirt needs" in err.splitlines()[-1]
    assert not (tree / ".venv" / "rtvirt-stamp").exists()
