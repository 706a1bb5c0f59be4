"""Paths in the collection that belongs to this package: playbooks, catalogue, inventories.

In a clone the collection is the folder that holds the package; an installed package has it beside itself, as
``ansible_collections/rtvirt/testbed``, where Ansible finds it too. Nothing else looks for it.
"""

from __future__ import annotations

from pathlib import Path


def _root(beside: Path) -> Path:
    installed = beside / "ansible_collections" / "rtvirt" / "testbed"
    return installed if installed.is_dir() else beside


ROOT = _root(Path(__file__).resolve().parents[2])
PLAYBOOKS = ROOT / "playbooks"
VARS = PLAYBOOKS / "vars"
FULL_MATRIX = PLAYBOOKS / "full_matrix.yml"
MAKE_KERNELS = PLAYBOOKS / "kernels.yml"
KERNELS_STATE = PLAYBOOKS / "kernels_state.yml"
INSPECT = PLAYBOOKS / "inspect.yml"
CONNECTION = PLAYBOOKS / "connection.yml"
TRACE = PLAYBOOKS / "trace.yml"
CONVERGE = PLAYBOOKS / "converge.yml"
RESET = PLAYBOOKS / "reset.yml"
REPROVISION = PLAYBOOKS / "reprovision.yml"
PROFILES = ROOT / "roles" / "board_image" / "profiles"
KERNEL_FILES = ROOT / "roles" / "kernel_build" / "files"
VIRTUAL_LAB = ROOT / "inventory" / "virtual"
ANSIBLE_CONFIG = ROOT / "ansible.cfg"
TESTS = ROOT / "tests"  # in a clone only


def inventory_folder(path: Path) -> Path:
    """The folder of an inventory, as Ansible's ``inventory_dir``: the path itself, or a file's folder."""
    return (path if path.is_dir() else path.parent).absolute()


def matrix_path(name_or_path: str) -> Path:
    """The path of a matrix: ``smoke`` is playbooks/vars/matrix_smoke.yml; a path is relative to the current folder."""
    if "/" in name_or_path or name_or_path.endswith((".yml", ".yaml")):
        return Path(name_or_path).absolute()
    return VARS / f"matrix_{name_or_path}.yml"


def matrix_names() -> list[str]:
    """Names of the matrices that come with rtvirt."""
    return sorted(path.stem.removeprefix("matrix_") for path in VARS.glob("matrix_*.yml"))
