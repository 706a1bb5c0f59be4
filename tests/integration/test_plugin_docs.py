"""What ansible-doc says of the collection is what its code accepts."""

from __future__ import annotations

import importlib
import inspect
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from rtvirt_runner.catalogue import collection

pytestmark = pytest.mark.splittable
PLUGINS = collection.ROOT / "plugins"
PREFIX = "rtvirt.testbed."


def names(kind: str) -> list[str]:
    return sorted(path.stem for path in (PLUGINS / kind).glob("*.py"))


@pytest.fixture(scope="module")
def documented() -> dict[str, dict[str, Any]]:
    """The whole of the collection's documentation by type and name, as ansible-doc gives it."""
    program = Path(sys.executable).parent / "ansible-doc"
    done = subprocess.run(
        [program, "--metadata-dump", "--no-fail-on-errors", PREFIX.rstrip(".")],
        env={**os.environ, "ANSIBLE_CONFIG": str(collection.ANSIBLE_CONFIG)},
        capture_output=True,
        text=True,
        check=True,
    )
    found: dict[str, dict[str, Any]] = json.loads(done.stdout)["all"]
    return {
        kind: {name.removeprefix(PREFIX): doc for name, doc in docs.items() if name.startswith(PREFIX)}
        for kind, docs in found.items()
    }


@pytest.fixture(scope="module")
def filters() -> Iterator[dict[str, Callable[..., Any]]]:
    """Every filter of the collection, by name."""
    sys.path.insert(0, str(collection.ROOT / "collections"))
    try:
        modules = [
            importlib.import_module(f"ansible_collections.rtvirt.testbed.plugins.filter.{n}") for n in names("filter")
        ]
        yield {name: function for module in modules for name, function in module.FilterModule().filters().items()}
    finally:
        sys.path.remove(str(collection.ROOT / "collections"))


def test_ansible_doc_knows_everything(
    documented: dict[str, dict[str, Any]], filters: dict[str, Callable[..., Any]]
) -> None:
    roles = sorted(path.name for path in (collection.ROOT / "roles").iterdir())
    wanted = {"module": names("modules"), "filter": sorted(filters), "lookup": names("lookup"), "role": roles}
    assert {kind: sorted(docs) for kind, docs in documented.items() if docs} == wanted
    errors = {
        f"{kind} {name}": doc["error"]
        for kind, docs in documented.items()
        for name, doc in docs.items()
        if "error" in doc
    }
    assert errors == {}
    assert names("action") == names("modules")


def test_what_is_documented_has_an_author_a_version_and_an_example(documented: dict[str, dict[str, Any]]) -> None:
    for kind in ("module", "filter", "lookup"):
        for name, page in documented[kind].items():
            doc = page["doc"]
            assert doc["author"] and doc["version_added"], (kind, name)
            example = yaml.safe_load(page["examples"] or "")
            assert isinstance(example, list) and PREFIX + name in page["examples"], (kind, name)


def test_filters_take_what_is_documented(
    documented: dict[str, dict[str, Any]], filters: dict[str, Callable[..., Any]]
) -> None:
    for name, function in filters.items():
        parameters = list(inspect.signature(function).parameters.values())
        options = documented["filter"][name]["doc"]["options"]
        (value, *others) = parameters
        assert options["_input"].get("required", False) is (value.default is inspect.Parameter.empty), name
        assert {each.name for each in others} == set(options) - {"_input"}, name
        for each in others:
            option = options[each.name]
            assert option.get("required", False) is (each.default is inspect.Parameter.empty), (name, each.name)
            if each.default is not inspect.Parameter.empty:
                default = list(each.default) if isinstance(each.default, tuple) else each.default
                assert option.get("default") == default, (name, each.name)


@pytest.mark.parametrize("name", names("action"))
def test_actions_read_the_options_that_are_documented(documented: dict[str, dict[str, Any]], name: str) -> None:
    """Ansible refuses others: an action's specification is made from its documentation."""
    code = (PLUGINS / "action" / f"{name}.py").read_text()
    assert "argument_spec(DOCUMENTATION)" in code
    used = set(re.findall(r'\bargs(?:\[|\.get\()"(\w+)"', code))
    assert used == set(documented["module"][name]["doc"]["options"])


@pytest.mark.parametrize("name", names("lookup"))
def test_lookups_read_the_options_that_are_documented(documented: dict[str, dict[str, Any]], name: str) -> None:
    code = (PLUGINS / "lookup" / f"{name}.py").read_text()
    used = set(re.findall(r'get_option\("(\w+)"', code)) | ({"_terms"} if "in terms" in code else set())
    assert used == set(documented["lookup"][name]["doc"].get("options", {}))


def test_roles_are_described(documented: dict[str, dict[str, Any]]) -> None:
    """That their options are those of defaults/main.yml is asserted by tests/unit/test_argument_specs.py."""
    for name, role in documented["role"].items():
        for entry, page in role["entry_points"].items():
            assert page["short_description"], (name, entry)
