"""Programs on the PATH that have the name of a Python and run nothing, as pyenv has for versions not chosen."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from rtvirt_runner.build import artifacts
from rtvirt_runner.build.artifacts import Recipe
from rtvirt_runner.catalogue import collection

pytestmark = pytest.mark.splittable
NAMES = ("python3", *(f"python3.{minor}" for minor in range(8, 16)))


@pytest.fixture
def stand_ins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder of them, which is the first of the PATH."""
    folder = tmp_path / "shims"
    folder.mkdir()
    for name in NAMES:
        (folder / name).write_text("#!/bin/sh\necho 'command not found' >&2\nexit 127\n")
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")


def test_a_playbook_writes_on_the_controller(stand_ins: None, tmp_path: Path) -> None:
    """Where localhost stands in the inventory, so that Ansible looks for a Python."""
    (tmp_path / "lab.yml").write_text("boards: {hosts: {far: {}, localhost: {ansible_connection: local}}}\n")
    written = tmp_path / "connection.json"
    given = ["-e", "rtvirt_host=far", "-e", f"rtvirt_connection_file={written}"]
    playbook = collection.ROOT / "playbooks" / "connection.yml"
    done = subprocess.run(
        [Path(sys.executable).parent / "ansible-playbook", "-i", "lab.yml", playbook, *given],
        cwd=tmp_path,
        env={**os.environ, "ANSIBLE_CONFIG": str(collection.ANSIBLE_CONFIG)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(written.read_text())["host"] == "far"


def test_a_build_runs_the_python_that_runs_it(stand_ins: None, tmp_path: Path) -> None:
    script = tmp_path / "build.sh"
    script.write_text('set -eu\nmkdir -p "$OUT"\npython3 -c \'import sys; print(sys.base_prefix)\' >"$OUT/prefix"\n')
    made = artifacts.build(Recipe("prefix", script), tmp_path / "cache", print)
    assert (made.path / "prefix").read_text().strip() == sys.base_prefix


def test_rtvirt_finds_a_python_behind_them(stand_ins: None) -> None:
    text = (collection.ROOT / "rtvirt").read_text()
    function = text[text.index("find_python() {") : text.index("\n}\n", text.index("find_python() {")) + 3]
    script = f"{function}find_python && \"$python\" -c 'import sys; print(sys.version_info >= (3, 11))'"
    assert subprocess.check_output(["sh", "-euc", script], text=True) == "True\n"
