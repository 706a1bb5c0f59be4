"""A lab's folder may hold what rtvirt looks for beside an inventory, and be given as the inventory itself."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import yaml

from rtvirt_runner.catalogue import collection


def test_keys_cards_and_sources_are_no_inventory(tmp_path: Path) -> None:
    lab = tmp_path / "lab"
    shutil.copytree(collection.ROOT / "inventory" / "virtual", lab)
    for name in ("identity/virtual-cb2/client_key", "cards/virtual-cb2.img", "sieve.c", "sieve.h", "kernel_sums.txt"):
        (lab / name).parent.mkdir(parents=True, exist_ok=True)
        (lab / name).write_text("int main(void) { return 0; }\n")
    with (lab / "group_vars" / "all.yml").open("a") as stream:
        yaml.safe_dump({"rtvirt_lab_workloads": {"sieve": {"sources": ["sieve.c"], "command": "rtvirt-sieve"}}}, stream)
    command = [str(Path(sys.executable).parent / "rtvirt"), "plan", "-i", str(lab)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "20 cells" in done.stdout
