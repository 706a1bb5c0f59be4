"""Whoever asserts on how a state is reached says so, and then starts from a fresh card."""

from __future__ import annotations

import ast
from pathlib import Path

import honesty
import pytest
import yaml

from rtvirt_runner.catalogue import collection

MACHINES = collection.ROOT / "tests" / "machines"
SCENARIOS = sorted(path.parent for path in (collection.ROOT / "molecule").glob("*/molecule.yml"))
TESTS = sorted(MACHINES.glob("test_*.py"))


def playbooks_named_in(source: str) -> str:
    """The text of a test and of the playbooks and helpers beside it that it names."""
    beside = [
        path for path in MACHINES.rglob("*.*") if f"{path.parent.name}/" in source and path.suffix in (".yml", ".sh")
    ]
    helpers = [MACHINES / "trials.py"] if "from trials import" in source else []
    return "\n".join([source, *(path.read_text() for path in [*beside, *helpers])])


def marked(source: str) -> set[str]:
    """What the asserts_on marks of a test file say."""
    calls = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    marks = [call for call in calls if isinstance(call.func, ast.Attribute) and call.func.attr == "asserts_on"]
    return {arg.value for call in marks for arg in call.args if isinstance(arg, ast.Constant)}


@pytest.mark.parametrize("path", TESTS, ids=lambda path: path.stem)
def test_a_test_says_all_that_it_asserts_on(path: Path) -> None:
    source = path.read_text()
    if path.name == "test_roles.py":  # its marks are the scenarios' own
        return
    said = marked(source)
    assert said and said <= set(honesty.STARTS), f"{path.name} says {said}, expected some of {set(honesty.STARTS)}"
    assert honesty.unsaid(playbooks_named_in(source), said) == []


def sources(scenario: Path) -> str:
    """What a scenario does, but for its creation."""
    return "\n".join(path.read_text() for path in sorted(scenario.rglob("*.yml")) if path.name != "molecule.yml")


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda path: path.name)
def test_a_scenario_says_all_that_it_asserts_on(scenario: Path) -> None:
    said = honesty.of_scenario(scenario) or ["role"]
    assert set(said) <= set(honesty.STARTS)
    assert "answers" not in said, "a scenario converges, and must not find what it makes made already"
    assert honesty.unsaid(sources(scenario), said) == []


def test_booting_and_what_a_playbook_makes_start_cold() -> None:
    for what in ("booting", "trials", "cards", "first_contact", "convergence", "idempotence"):
        assert honesty.start([what, "answers"]) == "cold"
    assert honesty.start(["role", "answers"]) == "booted"
    assert honesty.start(["answers"]) == "guest"
    with pytest.raises(KeyError):
        honesty.start(["nothing known"])


def test_what_is_not_said_is_found() -> None:
    assert honesty.unsaid("- import_playbook: ../playbooks/reprovision.yml", ["answers"]) == ["reprovision.yml"]
    assert honesty.unsaid("assert 'changed=0' in said", ["booting"]) == ["changed=0"]
    assert honesty.unsaid("assert 'changed=0' in said", ["idempotence"]) == []


def test_scenarios_without_a_word_of_their_own_assert_on_a_role() -> None:
    shared = yaml.safe_load((collection.ROOT / ".config/molecule/config.yml").read_text())
    assert shared["ansible"]["env"]["RTVIRT_ASSERTS_ON"] == "role"
