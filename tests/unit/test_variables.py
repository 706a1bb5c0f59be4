"""Misspelt names and values of variables are found, and the names that rtvirt has are known."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from rtvirt_runner.catalogue import collection
from rtvirt_runner.catalogue.checked_yaml import InputError
from rtvirt_runner.catalogue.lab import Lab
from rtvirt_runner.catalogue.variables import INPUTS, OUTPUTS, refuse_invalid, typed_inputs, unknown_variables

ROLES = sorted(path.name for path in (collection.ROOT / "roles").iterdir() if path.is_dir())
FILES = [
    *collection.ROOT.glob("roles/*/tasks/*.yml"),
    *collection.PLAYBOOKS.glob("*.yml"),
    *collection.PLAYBOOKS.glob("*/*.yml"),
]


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("cpu_isolation_setings", "cpu_isolation_settings"),
        ("cpu_isolation_guest_cpu", "cpu_isolation_guest_cpus"),
        ("rtvirt_board_cpu", "rtvirt_board_cpus"),
        ("rtvirt_keepboards", "rtvirt_keep_boards"),
        ("kernel_boot_kernal", "kernel_boot_kernel"),
        ("guest_image_flavor", "guest_image_flavour"),
    ],
)
def test_a_misspelt_variable_is_refused_with_the_one_that_was_meant(name: str, meant: str) -> None:
    with pytest.raises(InputError, match=f"^board 'b': {name} is no variable of rtvirt, expected {meant}; correct"):
        refuse_invalid({name: 1, "ansible_host": ""}, "board 'b'")


def test_what_resembles_nothing_is_told_but_not_refused() -> None:
    (unknown,) = unknown_variables(["rtvirt_isolaton_cores"])
    assert unknown.sentence == "rtvirt_isolaton_cores is no variable of rtvirt, so nothing reads it; remove it."
    refuse_invalid({"rtvirt_isolaton_cores": ""}, "")


@pytest.mark.parametrize("name", ["guest_ports", "controller_tool", "measure_packages"])
def test_a_prefix_that_may_be_anybodys_is_not_refused(name: str) -> None:
    assert [each.name for each in unknown_variables([name])] == [name]
    refuse_invalid({name: ""}, "")


@pytest.mark.parametrize("name", ["guest_network", "cpu_isolation_of_mine", "controller_url", "ansible_user", "rtvirt"])
def test_others_are_left_alone(name: str) -> None:
    assert unknown_variables([name]) == []


def test_of_a_role_only_its_own_prefix_counts() -> None:
    assert unknown_variables(["guest_ports"], "cpu_isolation") == []
    assert [each.name for each in unknown_variables(["rtvirt_matrx"], "cpu_isolation")] == ["rtvirt_matrx"]


def test_a_lab_with_a_misspelt_variable_is_refused() -> None:
    about = {"rtvirt_board_cpus": 4, "rtvirt_board_clock": "real", "rtvirt_board_seald": True}
    with pytest.raises(InputError, match=r"board 'one': rtvirt_board_seald .* expected rtvirt_board_sealed"):
        Lab.from_inventory({"boards": ["one"]}, {"one": about})


@pytest.mark.parametrize("value", ["ture", "y", "", "2", None, [True], "false "])
def test_what_is_neither_true_nor_false_is_refused(value: object) -> None:
    with pytest.raises(InputError, match=r"^board 'b': rtvirt_keep_boards is .*, expected true or false; correct it.$"):
        refuse_invalid({"rtvirt_keep_boards": value}, "board 'b'")


@pytest.mark.parametrize("value", [True, False, "true", "False", "YES", "no", "on", "off", "0", 1])
def test_what_ansible_reads_as_true_or_false_is_not(value: object) -> None:
    refuse_invalid({"rtvirt_keep_boards": value}, "")


@pytest.mark.parametrize("value", ["10m", "-1", "1.5", "", None, True, "1e3"])
def test_what_is_no_whole_number_is_refused(value: object) -> None:
    with pytest.raises(InputError, match=r"rtvirt_cell_slack_s is .*, expected a whole number; correct it"):
        refuse_invalid({"rtvirt_cell_slack_s": value}, "")


def test_a_whole_number_may_be_a_text() -> None:
    refuse_invalid({"rtvirt_cell_slack_s": "10", "rtvirt_hangs_after_s": 0}, "")


def test_the_kinds_are_those_of_the_defaults() -> None:
    assert typed_inputs()["rtvirt_sealed"] is bool and typed_inputs()["rtvirt_card_gb"] is int
    assert set(typed_inputs()) <= set(INPUTS)


def names_set(node: Any) -> Iterator[str]:
    """The variables that tasks of a file set: registered, set as facts, loop variables and vars."""
    if isinstance(node, list):
        for each in node:
            yield from names_set(each)
    elif isinstance(node, dict):
        for key, value in node.items():
            if key in ("register", "loop_var", "index_var") and isinstance(value, str):
                yield value
            elif key in ("vars", "ansible.builtin.set_fact") and isinstance(value, dict):
                yield from value
            yield from names_set(value)


def facts_of_plugins() -> set[str]:
    """The facts that our actions return, which Ansible makes variables; each is named by a constant FACT."""
    sources = [path.read_text() for path in (collection.ROOT / "plugins").rglob("*.py")]
    assert sum('"ansible_facts": {' in text for text in sources) == sum(
        '"ansible_facts": {FACT: ' in t for t in sources
    )
    return {name for text in sources for name in re.findall(r'^FACT = "(\w+)"', text, re.MULTILINE)}


def is_ours(name: str) -> bool:
    return name.startswith(("rtvirt_", *(f"{role}_" for role in ROLES)))


def test_the_variables_that_tasks_set_are_known_and_no_others() -> None:
    inputs = {name for role in ROLES for name in re.findall(r"^([a-z]\w*):", defaults(role), re.MULTILINE)}
    found = {name for path in FILES for name in names_set(yaml.safe_load(path.read_text())) if is_ours(name)}
    found |= set(yaml.safe_load((collection.PLAYBOOKS / "group_vars" / "all.yml").read_text())) | facts_of_plugins()
    assert sorted(found - inputs - set(INPUTS)) == sorted(OUTPUTS)


def defaults(role: str) -> str:
    return (collection.ROOT / "roles" / role / "defaults" / "main.yml").read_text()


@pytest.mark.parametrize("name", INPUTS)
def test_every_input_is_read_somewhere(name: str) -> None:
    read = [*FILES, *collection.PLAYBOOKS.glob("group_vars/*.yml"), *collection.ROOT.glob("roles/*/*/main.yml")]
    read += [path for folder in ("plugins", "rtvirt_runner") for path in (collection.ROOT / folder).rglob("*.py")]
    read += (collection.ROOT / "inventory").glob("*/group_vars/*.yml")
    here = Path(collection.ROOT, "rtvirt_runner", "catalogue", "variables.py")
    texts = [path.read_text() for path in read if path != here]
    assert any(re.search(rf"\b{name}\b", text) for text in texts)
