"""The execution environment: its definitions can be read, and what they name is there."""

import re
import tomllib
from typing import Any

import yaml
from packaging.requirements import Requirement

from rtvirt_runner.catalogue import collection

ROOT = collection.ROOT
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())
# a package, and the platforms that have it by this name (bindep)
BINDEP = re.compile(r"[a-z0-9][a-z0-9.+-]* \[platform:(rpm|dpkg)( platform:(rpm|dpkg))*\]")


def read(path: str) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((ROOT / path).read_text())
    return content


def lines(path: str) -> list[str]:
    return [line for line in (ROOT / path).read_text().splitlines() if line and not line.startswith("#")]


def test_the_collection_names_files_that_are_in_its_archive() -> None:
    definition = read("meta/execution-environment.yml")
    assert definition["version"] == 3 and set(definition) == {"version", "dependencies"}
    parts = PROJECT["tool"]["rtvirt"]["collection"]
    for kind, path in definition["dependencies"].items():
        assert kind in ("python", "system")
        assert (ROOT / path).is_file() and path.split("/")[0] in parts


def test_its_python_package_is_ours_with_extras_that_it_has() -> None:
    (line,) = lines(read("meta/execution-environment.yml")["dependencies"]["python"])
    wanted = Requirement(line)
    assert wanted.name == PROJECT["project"]["name"]
    assert wanted.extras <= set(PROJECT["project"]["optional-dependencies"])


def test_its_system_packages_are_named_for_both_kinds_of_distribution() -> None:
    found = lines(read("meta/execution-environment.yml")["dependencies"]["system"])
    assert found and [line for line in found if not BINDEP.fullmatch(line)] == []
    for kind in ("rpm", "dpkg"):
        assert sum(f"platform:{kind}" in line for line in found) == 3  # git, ssh, unshare


def test_the_image_is_made_of_the_same_packages_and_of_the_wheel() -> None:
    definition = read("release/execution-environment.yml")
    assert definition["version"] == 3
    system = (ROOT / "release" / definition["dependencies"]["system"]).resolve()
    assert system == ROOT / read("meta/execution-environment.yml")["dependencies"]["system"]
    wanted = {Requirement(each).name: each for each in PROJECT["project"]["optional-dependencies"]["run"]}
    for key in ("ansible_core", "ansible_runner"):
        assert definition["dependencies"][key]["package_pip"] == wanted[key.replace("_", "-")]
    (wheel,) = definition["additional_build_files"]
    package = PROJECT["project"]["name"].replace("-", "_")
    assert wheel["src"] == f"../dist/{package}-*.whl"
    (install,) = (step for step in definition["additional_build_steps"]["append_final"] if "pip install" in step)
    found = re.search(rf"/tmp/{wheel['dest']}/{package}-\*\.whl\)\[([a-z,]+)\]", install)
    assert found and set(found[1].split(",")) <= set(PROJECT["project"]["optional-dependencies"])
