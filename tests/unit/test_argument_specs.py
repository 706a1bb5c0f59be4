"""Each role's defaults, its argument specification and its README say the same."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from rtvirt_runner.catalogue import collection

ROLES = sorted(path.name for path in (collection.ROOT / "roles").iterdir() if path.is_dir())


def read(role: str, path: str) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((collection.ROOT / "roles" / role / path).read_text())
    return content


def entry_points(role: str) -> dict[str, Any]:
    specs: dict[str, Any] = read(role, "meta/argument_specs.yml")["argument_specs"]
    return specs


def is_expression(value: Any) -> bool:
    return isinstance(value, str) and "{{" in value


def readme_row(name: str, option: dict[str, Any]) -> str:
    """The row of the variables table; a default that is an expression is told by the description."""
    default = yaml.safe_dump(option.get("default"), default_flow_style=True, width=1000).removesuffix("\n...\n").strip()
    shown = f"`{default}`" if "default" in option and len(default) < 80 else "see `defaults/main.yml`"
    return f"| `{name}` | {option['type']} | {shown} | {option['description'].strip()} |"


@pytest.mark.parametrize("role", ROLES)
def test_every_default_is_specified_with_the_same_value(role: str) -> None:
    options = entry_points(role)["main"]["options"]
    defaults = read(role, "defaults/main.yml")
    assert set(options) == set(defaults)
    fixed = {name: value for name, value in defaults.items() if not is_expression(value)}
    assert {name: option["default"] for name, option in options.items() if "default" in option} == fixed


@pytest.mark.parametrize("role", ROLES)
def test_names_begin_with_the_role(role: str) -> None:
    assert [name for name in entry_points(role)["main"]["options"] if not name.startswith(f"{role}_")] == []


@pytest.mark.parametrize("role", ROLES)
def test_every_entry_point_has_its_tasks_and_inputs_of_the_role(role: str) -> None:
    specs = entry_points(role)
    for entry_point, spec in specs.items():
        assert (collection.ROOT / "roles" / role / "tasks" / f"{entry_point}.yml").is_file()
        assert spec["short_description"]
        assert spec["options"].items() <= specs["main"]["options"].items()


@pytest.mark.parametrize("role", ROLES)
def test_the_readme_shows_every_input(role: str) -> None:
    readme = Path(collection.ROOT, "roles", role, "README.md").read_text().splitlines()
    wanted = [readme_row(name, option) for name, option in entry_points(role)["main"]["options"].items()]
    missing = [row for row in wanted if row not in readme]
    assert not missing, "rows to put into its README.md:\n" + "\n".join(missing)
