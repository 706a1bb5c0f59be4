"""Each role's scenario, as `molecule test -s ROLE` plays it: converge, idempotence, verify, and what it takes back."""

from __future__ import annotations

from pathlib import Path

import honesty
import pytest
import yaml
from playing import SCRIPTS, owned, run

from rtvirt_runner.catalogue import collection

SLOW = {
    # The quick matrix starts guests on a board and on sealed ones, and a cell fails whose guest is not placed as asked.
    "guest": pytest.mark.slow(exercises=["roles/guest", "roles/guest_image", "molecule/guest"]),
    # A Debian takes minutes to boot in an emulated guest; what else the role guest does is seen with a minimal one.
    "guest_debian": pytest.mark.slow(exercises=["roles/guest", "roles/guest_image", "molecule/guest_debian"]),
    # The quick matrix has workloads of each kind on board and guest, and test_snapshots.py boots boards.
    "workloads": pytest.mark.slow(exercises=["roles/workloads", "molecule/workloads"]),
    "virtual_board": pytest.mark.slow(exercises=["roles/virtual_board", "molecule/virtual_board"]),
    # test_sealed.py plays the same through the playbooks.
    "sealed_board": pytest.mark.slow(exercises=["roles/sealed_board", "molecule/sealed_board"]),
    # Five boots; the quick matrix tries a kernel and keeps it, and test_confirm.py ends trials in each way.
    "kernel_boot": pytest.mark.slow(exercises=["roles/kernel_boot", "molecule/kernel_boot"]),
    # Machines of their own, each of which has to be built and booted; cpu_isolation is the same role on a board.
    **{
        name: pytest.mark.slow(exercises=["roles/cpu_isolation", f"molecule/{name}", "molecule/shared"])
        for name in ("cpu_isolation_debian_12", "cpu_isolation_debian_13", "cpu_isolation_tuned")
    },
}
FOLDERS = sorted(
    path.parent for path in (collection.ROOT / "molecule").glob("*/molecule.yml") if path.parent.name != "default"
)


def scenario(folder: Path) -> object:
    """One scenario; those with a board go one after the other, as it is the same board's name."""
    group = "molecule" if "create" in sequence(folder) else folder.name
    marks = [pytest.mark.asserts_on(*honesty.of_scenario(folder)), pytest.mark.xdist_group(group)]
    return pytest.param(
        folder.name, id=folder.name, marks=[*marks, *([SLOW[folder.name]] if folder.name in SLOW else [])]
    )


def sequence(folder: Path) -> list[str]:
    """What `molecule test` does with a scenario."""
    shared = yaml.safe_load((collection.ROOT / ".config/molecule/config.yml").read_text())["scenario"]
    return list(
        {**shared, **(yaml.safe_load((folder / "molecule.yml").read_text()) or {}).get("scenario", {})}["test_sequence"]
    )


@pytest.mark.parametrize("name", [scenario(folder) for folder in FOLDERS])
def test_role(name: str, tmp_path: Path) -> None:
    # A state of its own: what a killed run left behind says "created" of a board that is gone.
    environment = {
        **owned(),
        "ANSIBLE_COLLECTIONS_PATH": str(collection.ROOT / "collections"),
        "MOLECULE_EPHEMERAL_DIRECTORY": str(tmp_path),
    }
    said = run([SCRIPTS / "molecule", "test", "-s", name, "--no-command-borders"], environment)
    assert "status 0" in said, said
    assert "failed=0" in said
