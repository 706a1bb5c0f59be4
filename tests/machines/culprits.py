"""Programs that make wake-ups late on purpose, as workloads of a copy of a lab."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

import yaml
from playing import LAB_FOLDER

SOURCES = Path(__file__).parent / "late"
ROGUE_US = 3000  # as in rogue.c
ROGUE = {"rogue": {"title": "a thread of FIFO 97", "sources": ["rogue.c"], "command": "chrt -f 97 rtvirt-rogue"}}


def lab_with(
    folder: Path, workloads: Mapping[str, Mapping[str, object]], inventory: Path = LAB_FOLDER / "inventory"
) -> Path:
    """Make a copy of a lab, by default the tests', that has these workloads; returns its inventory."""
    shutil.copytree(inventory, folder / "lab")
    for source in SOURCES.glob("*.c"):
        shutil.copy(source, folder / "lab")
    with (folder / "lab" / "group_vars" / "all.yml").open("a") as stream:
        yaml.safe_dump({"rtvirt_lab_workloads": dict(workloads)}, stream)
    return folder / "lab" / "hosts.yml"
