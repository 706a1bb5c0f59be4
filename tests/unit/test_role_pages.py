"""What people expect of a role: what it needs, where it runs, and that it leaves the controller's user alone."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from rtvirt_runner.catalogue import collection

ROLES: list[Path] = sorted(path for path in (collection.ROOT / "roles").iterdir() if path.is_dir())
FACTS = ("controller", "machine", "rights", "survives a reboot")


def read(path: str) -> Any:
    return yaml.safe_load((collection.ROOT / path).read_text())


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_the_readme_says_what_it_needs_and_what_survives_a_reboot(role: Path) -> None:
    readme = (role / "README.md").read_text()
    section = readme.partition("## Requirements\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| ([a-z ]+) \| (.+) \|$", section, re.MULTILINE)
    assert [name for name, _ in rows] == [*FACTS]


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_the_metadata_agrees_with_the_collection_and_the_specification(role: Path) -> None:
    about = read(f"roles/{role.name}/meta/main.yml")["galaxy_info"]
    assert f">={about['min_ansible_version']}.0" == read("meta/runtime.yml")["requires_ansible"]
    specs = read(f"roles/{role.name}/meta/argument_specs.yml")["argument_specs"]
    assert about["description"] == specs["main"]["short_description"]
    assert {platform["name"] for platform in about["platforms"]} == {"Debian", "Ubuntu"}


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_the_first_task_refuses_misspelt_variables(role: Path) -> None:
    first = str(read(f"roles/{role.name}/tasks/main.yml")[0])
    assert f"'rtvirt.testbed.misspelt_variables', '{role.name}'" in first


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_what_is_delegated_to_the_controller_never_becomes_root_there(role: Path) -> None:
    """Or the keys of its user would be root's, in a play with become."""
    for path in (role / "tasks").glob("*.yml"):
        delegated = path.read_text().split("delegate_to: localhost\n")[1:]
        assert [each for each in delegated if not each.lstrip().startswith("become: false\n")] == []
