"""Whether the sources are in the form that we agreed on: one test for each tool."""

import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

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
# ansible-test's sanity tests that need nothing to be downloaded. The others (ansible-doc, import, pep8, pylint,
# runtime-metadata, validate-modules, yamllint) make environments of pinned packages, with a pip that they fetch.
SANITY = [
    "action-plugin-docs",
    "compile",
    "empty-init",
    "ignores",
    "line-endings",
    "no-assert",
    "no-get-exception",
    "no-illegal-filenames",
    "no-smart-quotes",
    "pslint",
    "replace-urlopen",
    "shebang",
    "shellcheck",
    "symlinks",
    "use-argspec-type-path",
    "use-compat-six",
]


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


class AnyTag(yaml.SafeLoader):
    """Takes Ansible's tags for nothing."""


AnyTag.add_multi_constructor("!", lambda loader, suffix, node: None)
CONDITIONS = {"that", "when", "until", "failed_when", "changed_when"}


def broken_conditions(content: Any) -> Iterator[Any]:
    """Conditions that are no text: Ansible finds out when it comes to them, and its linter does not."""
    if isinstance(content, dict):
        for key, value in content.items():
            if key in CONDITIONS:
                yield from (each for each in (value if isinstance(value, list) else [value]) if isinstance(each, dict))
            yield from broken_conditions(value)
    elif isinstance(content, list):
        for each in content:
            yield from broken_conditions(each)


def test_conditions_are_text() -> None:
    """A colon and a space in a condition that is not quoted make a mapping of it."""
    broken = [
        f"{path.relative_to(collection.ROOT)}: {condition}"
        for folder in ("playbooks", "roles", "molecule", "tests")
        for path in (collection.ROOT / folder).rglob("*.yml")
        for document in yaml.load_all(path.read_text(), AnyTag)
        for condition in broken_conditions(document)
    ]
    assert not broken


def test_a_condition_that_yaml_reads_as_a_mapping_is_found() -> None:
    text = 'assert: {that: [a is b]}\nblock:\n  - when:\n      - a is search("b: c")\n'
    assert list(broken_conditions(yaml.load(text, AnyTag))) == [{'a is search("b': 'c")'}]


def test_shell_scripts_please_shellcheck() -> None:
    if told := complaints(["shellcheck", *shell_files(collection.ROOT)]):
        pytest.fail(told, pytrace=False)


def test_the_collection_pleases_ansible_test(tmp_path: Path) -> None:
    """As ansible-galaxy installs it: ansible-test knows a collection by the folders that it is in."""
    folder = tmp_path / "ansible_collections" / "rtvirt" / "testbed"
    for part in tomllib.loads((collection.ROOT / "pyproject.toml").read_text())["tool"]["rtvirt"]["collection"]:
        (folder / part).parent.mkdir(parents=True, exist_ok=True)
        if (collection.ROOT / part).is_dir():
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(collection.ROOT / part, folder / part, symlinks=True, ignore=ignored)
        else:
            shutil.copy(collection.ROOT / part, folder / part)
    programs = Path(sys.executable).parent
    options = ["--color", "no", "--python", "{}.{}".format(*sys.version_info)]
    done = subprocess.run(
        [programs / "ansible-test", "sanity", *options, *(word for each in SANITY for word in ("--test", each))],
        cwd=folder,
        env={"HOME": str(tmp_path), "PATH": f"{programs}:{os.environ['PATH']}", "LC_ALL": "C.UTF-8"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    if done.returncode != 0:
        pytest.fail(done.stdout, pytrace=False)
    assert [each for each in SANITY if f'Running sanity test "{each}"' not in done.stdout] == []


def test_shell_files_are_found_by_suffix_and_by_first_line(tmp_path: Path) -> None:
    (tmp_path / "tool").write_text("#!/bin/sh\n")
    (tmp_path / "script.sh").write_text("true\n")
    (tmp_path / "other").write_text("#!/usr/bin/env python3\n")
    (tmp_path / ".venv").mkdir()
    (tmp_path / ".venv" / "activate.sh").write_text("#!/bin/sh\n")
    assert shell_files(tmp_path) == [Path("script.sh"), Path("tool")]


def test_a_missing_tool_is_a_complaint_that_says_what_to_install() -> None:
    assert complaints(["rtvirt-no-such-tool"]).endswith("run: apt-get install -y rtvirt-no-such-tool")
