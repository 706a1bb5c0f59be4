"""Whether the sources are in the form that we agreed on: one test for each tool."""

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from rtvirt_runner.catalogue import collection

UNSEARCHED = {".git", ".venv", ".cache", ".ansible", "collections", "results"}
TOOLS = {
    "ruff check": ["ruff", "check", "."],
    "ruff format": ["ruff", "format", "--check", "."],
    "mypy": ["mypy"],
    "import-linter": ["lint-imports", "--no-cache"],
    "yamllint": ["yamllint", "--strict", "."],
    "ansible-lint": ["ansible-lint", "--strict"],
}


def complaints(command: Sequence[str | Path]) -> str:
    """What a tool says of the checkout; '' if it has no objection."""
    tool = str(command[0])
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    if shutil.which(tool, path=path) is None:
        return f"{tool} is not installed; ./rtvirt test has it in its environment, or run: apt-get install -y {tool}"
    done = subprocess.run(
        command,
        cwd=collection.ROOT,
        env={**os.environ, "PATH": path},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    return "" if done.returncode == 0 else f"{done.stdout}\n{tool} ended with status {done.returncode}"


def shell_files(root: Path) -> list[Path]:
    """Every shell script of a checkout: by its suffix or its first line."""
    found = []
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(set(folders) - UNSEARCHED)
        found += [Path(folder, name).relative_to(root) for name in sorted(names) if is_shell(Path(folder, name))]
    return found


def is_shell(path: Path) -> bool:
    if path.suffix == ".sh":
        return True
    if path.suffix or not path.is_file():
        return False
    with path.open("rb") as stream:
        return stream.readline(100).rstrip().endswith((b"#!/bin/sh", b"#!/usr/bin/env bash", b"#!/bin/bash"))


@pytest.mark.parametrize("name", TOOLS)
def test_sources_please(name: str) -> None:
    if told := complaints(TOOLS[name]):
        pytest.fail(told, pytrace=False)


def test_shell_scripts_please_shellcheck() -> None:
    if told := complaints(["shellcheck", *shell_files(collection.ROOT)]):
        pytest.fail(told, pytrace=False)


def test_shell_files_are_found_by_suffix_and_by_first_line(tmp_path: Path) -> None:
    (tmp_path / "tool").write_text("#!/bin/sh\n")
    (tmp_path / "script.sh").write_text("true\n")
    (tmp_path / "other").write_text("#!/usr/bin/env python3\n")
    (tmp_path / ".venv").mkdir()
    (tmp_path / ".venv" / "activate.sh").write_text("#!/bin/sh\n")
    assert shell_files(tmp_path) == [Path("script.sh"), Path("tool")]


def test_a_missing_tool_is_a_complaint_that_says_what_to_install() -> None:
    assert complaints(["rtvirt-no-such-tool"]).endswith("run: apt-get install -y rtvirt-no-such-tool")
