"""Programs of workloads from an archive, a commit, a package: built for this machine by the role's own tasks."""

import hashlib
import json
import os
import platform
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest

from rtvirt_runner.catalogue import collection

PLAYBOOK = """\
- name: Programs
  hosts: localhost
  connection: local
  gather_facts: false
  tasks:
    - name: Make them
      ansible.builtin.include_role:
        name: rtvirt.testbed.workloads
        tasks_from: build

    - name: Say where they are
      ansible.builtin.debug:
        msg: "tree={{ workloads_programs.path }}/tree="
"""
SOURCE = '#include <stdio.h>\nint main(void) { return puts("{\\"seconds_per_iteration\\": 1.5}") < 0; }\n'
BUILD = '$CC -o "$OUT/bin/rtvirt-theirs" theirs.c'
ARCHITECTURE = {"x86_64": "amd64", "aarch64": "arm64"}[platform.machine()]


def build(folder: Path, workload: dict[str, Any]) -> subprocess.CompletedProcess[str]:
    """Let the role make the program of one workload, with a mirror in the folder."""
    (folder / "programs.yml").write_text(PLAYBOOK)
    given = {
        "workloads_catalogue": {"theirs": {"command": "rtvirt-theirs", **workload}},
        "workloads_architecture": ARCHITECTURE,
        "workloads_compiler": "gcc",
        "workloads_mirror": str(folder / "mirror"),
    }
    command = [Path(sys.executable).parent / "ansible-playbook", "-i", "localhost,", "-e", json.dumps(given)]
    env = {**os.environ, "ANSIBLE_CONFIG": str(collection.ANSIBLE_CONFIG)}
    return subprocess.run([*command, folder / "programs.yml"], env=env, capture_output=True, text=True, check=False)


def tree(done: subprocess.CompletedProcess[str]) -> Path:
    assert done.returncode == 0, done.stdout
    return Path(done.stdout.split("tree=")[1].rsplit("tree", 1)[0]) / "tree"


def archive(folder: Path) -> dict[str, str]:
    """An archive in the mirror, and how an entry names it."""
    source = folder / "theirs-1.0" / "theirs.c"
    source.parent.mkdir(parents=True)
    source.write_text(SOURCE)
    (folder / "mirror").mkdir()
    packed = folder / "mirror" / "theirs-1.0.tar.gz"
    with tarfile.open(packed, "w:gz") as tar:
        tar.add(source.parent, "theirs-1.0")
    sha256 = hashlib.sha256(packed.read_bytes()).hexdigest()
    return {"url": "https://example.org/theirs-1.0.tar.gz", "sha256": sha256}


def test_an_archive_is_built_as_its_entry_says(tmp_path: Path) -> None:
    found = tree(build(tmp_path, {"archive": archive(tmp_path), "build": BUILD}))
    program = found / "bin" / "rtvirt-theirs"
    assert subprocess.check_output([program], text=True) == '{"seconds_per_iteration": 1.5}\n'
    assert (
        f"{hashlib.sha256(program.read_bytes()).hexdigest()}  bin/rtvirt-theirs"
        in (found / "lib" / "rtvirt-workloads" / "sums").read_text()
    )


def test_an_archive_with_another_sum_is_refused(tmp_path: Path) -> None:
    wrong = {**archive(tmp_path), "sha256": "0" * 64}
    done = build(tmp_path, {"archive": wrong, "build": BUILD})
    assert done.returncode == 2
    assert "theirs-1.0.tar.gz" in done.stdout
    assert "0" * 64 in done.stdout


def test_a_commit_is_built_likewise(tmp_path: Path) -> None:
    repository = tmp_path / "mirror" / "theirs"
    repository.mkdir(parents=True)
    (repository / "theirs.c").write_text(SOURCE)
    git = ["git", "-C", repository, "-c", "user.name=a", "-c", "user.email=a@example.org"]
    for words in (["init", "--quiet"], ["add", "theirs.c"], ["commit", "--quiet", "--message", "one"]):
        subprocess.run([*git, *words], check=True)
    commit = subprocess.check_output([*git, "rev-parse", "HEAD"], text=True).strip()
    origin = {"url": "https://example.org/theirs", "commit": commit}
    found = tree(build(tmp_path, {"git": origin, "build": BUILD}))
    assert (found / "bin" / "rtvirt-theirs").is_file()


@pytest.mark.parametrize(
    ("commands", "complaint"),
    [
        ("$CC -o theirs theirs.c", "its build commands left no program in OUT/bin"),
        ("$CC -o $OUT/bin/theirs theirs.c", "left theirs in OUT/bin, expected names that begin with rtvirt-"),
        ("$CC -o $OUT/bin/rtvirt-theirs missing.c", "missing.c: No such file"),
    ],
)
def test_a_build_that_fails_says_why(tmp_path: Path, commands: str, complaint: str) -> None:
    done = build(tmp_path, {"archive": archive(tmp_path), "build": commands})
    assert done.returncode == 2
    assert complaint in done.stdout


def test_a_program_of_a_package_runs_with_its_own_libraries(tmp_path: Path) -> None:
    found = tree(build(tmp_path, {"package": {"name": "rt-tests", "program": "hackbench"}}))
    assert (found / "bin" / "rtvirt-hackbench").is_file()
    with tarfile.open(found / "lib" / "rtvirt-workloads" / "hackbench.tar.gz") as tar:
        tar.extractall(tmp_path, filter="data")
    home = tmp_path / "hackbench"
    command = [home / "loader", "--library-path", home / "lib", home / "program", "--groups", "1", "--loops", "1"]
    assert "Time:" in subprocess.check_output(command, text=True)


def test_a_package_without_the_program_is_named(tmp_path: Path) -> None:
    done = build(tmp_path, {"package": {"name": "rt-tests", "program": "no-such"}})
    assert done.returncode == 2
    assert "the package rt-tests of trixie has no program no-such" in done.stdout
