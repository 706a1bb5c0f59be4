"""No warning of our own making: Ansible lists what it would do and reads our files, and says nothing beside it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from rtvirt_runner.catalogue import collection

BIN = Path(sys.executable).parent
PLAYBOOKS = sorted((collection.ROOT / "playbooks").glob("*.yml"))
INVENTORIES = sorted(path.name for path in (collection.ROOT / "inventory").iterdir())
CATALOGUES = sorted(path for path in collection.VARS.glob("*.yml") if not path.name.startswith("matrix_"))
ROLES = collection.ROOT / "roles"
TASK_FILES = sorted(
    path for name in ("roles", "playbooks", "molecule") for path in (collection.ROOT / name).rglob("*.yml")
)


def ansible(program: str, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([BIN / program, *words], cwd=collection.ROOT, capture_output=True, text=True)


@pytest.mark.parametrize("inventory", INVENTORIES)
def test_playbooks_are_read_without_a_warning(inventory: str) -> None:
    done = ansible("ansible-playbook", "-i", f"inventory/{inventory}", "--list-tasks", *map(str, PLAYBOOKS))
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert done.stdout.count("\nplaybook: ") == len(PLAYBOOKS)


def test_catalogues_are_read_by_ansible_without_a_warning() -> None:
    """Ansible warns of a key that a merge (<<) brings and an entry overrides."""
    files = str({"files": [str(path) for path in CATALOGUES]})
    message = "{% for file in files %}{{ lookup('ansible.builtin.file', file) | from_yaml | length }} {% endfor %}"
    done = ansible(
        "ansible", "localhost", "-i", "localhost,", "-m", "debug", "-a", f"msg='{message}'", "-e", str(files)
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert len(CATALOGUES) > 2


def tasks_of(items: Any, conditional: bool = False) -> Iterator[tuple[dict[str, Any], bool]]:
    """Each task of a YAML document, in blocks too, and whether a block around it has a condition."""
    for item in items if isinstance(items, list) else []:
        if not isinstance(item, dict):
            continue
        yield item, conditional
        for key in ("block", "rescue", "always", "tasks", "pre_tasks", "post_tasks"):
            yield from tasks_of(item.get(key), conditional or (key in ("block", "rescue", "always") and "when" in item))


def test_no_condition_is_inherited_by_a_reset_of_the_connection() -> None:
    """Ansible warns of it; dynamic includes hand down the conditions of blocks, not their own."""
    below: dict[Path, set[Path]] = {}  # what a file includes from a block with a condition
    resets = set()
    for path in TASK_FILES:
        for task, conditional in tasks_of(yaml.safe_load(path.read_text())):
            if task.get("ansible.builtin.meta") == "reset_connection":
                assert "when" not in task and not conditional, path
                resets.add(path)
            if conditional and isinstance(name := task.get("ansible.builtin.include_tasks"), str):
                below.setdefault(path, set()).add(path.parent / name)
    assert resets
    for path, included in below.items():
        assert not included & resets, path


def test_each_entry_point_has_its_own_argument_specification() -> None:
    """Otherwise the log says nothing of what it does."""
    specs = {path.name: yaml.safe_load((path / "meta/argument_specs.yml").read_text()) for path in ROLES.iterdir()}
    missing = []
    for path in TASK_FILES:
        for task, _ in tasks_of(yaml.safe_load(path.read_text())):
            role = task.get("ansible.builtin.include_role") or task.get("ansible.builtin.import_role") or {}
            name, entry_point = role.get("name", "").removeprefix("rtvirt.testbed."), role.get("tasks_from", "main")
            if name in specs and "{{" not in entry_point and entry_point not in specs[name]["argument_specs"]:
                missing.append(f"{path}: {name} {entry_point}")
    assert missing == []
