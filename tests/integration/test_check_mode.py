"""Check mode on a fresh machine: playbooks go through, say what would be done, and change nothing."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from rtvirt_runner.catalogue import collection

STATE = {"kernel": "debian-rt", "tuning": "full", "host_cpus": "0", "guest_cpus": "1", "guest": "minimal"}


@pytest.mark.parametrize(
    ("playbook", "words", "task"),
    [
        ("full_matrix.yml", [], "Build the base initramfs of sealed machines"),
        ("full_matrix.yml", ["-e", "rtvirt_sealed=false"], "virtual_board : Start QEMU"),
        ("converge.yml", ["-l", "virtual-cb2", "-e", json.dumps({"rtvirt_state": STATE})], "Start QEMU"),
        ("reprovision.yml", ["-l", "virtual-cb2"], "Start QEMU"),
        ("reset.yml", [], ""),
    ],
    ids=["sealed", "over_ssh", "converge", "reprovision", "reset"],
)
def test_a_playbook_goes_through_without_a_cache_and_leaves_none(
    playbook: str, words: list[str], task: str, tmp_path: Path
) -> None:
    env = {**os.environ, "XDG_CACHE_HOME": str(tmp_path), "ANSIBLE_CONFIG": str(collection.ANSIBLE_CONFIG)}
    env |= {"ANSIBLE_NOCOLOR": "1"}
    command = [Path(sys.executable).parent / "ansible-playbook", collection.PLAYBOOKS / playbook, "--check"]
    command += ["-i", collection.VIRTUAL_LAB, "-e", f"rtvirt_results_dir={tmp_path}/results", *words]
    done = subprocess.run(command, env=env, cwd=tmp_path, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert list(tmp_path.iterdir()) == []
    changed = [part for part in done.stdout.split("TASK [") if "\nchanged: " in part]
    assert (task == "" and not changed) or any(task in part.partition("]")[0] for part in changed)
