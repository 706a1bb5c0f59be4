"""Kernels on trial on an emulated board, as playbooks boot them, and what is said of one that is given up."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import yaml
from playing import BENCH, on_board, play

from rtvirt_runner.build import artifacts
from rtvirt_runner.catalogue import collection

BOARD = "bench-a"
HERE = Path(__file__).parent / "bad_kernels"
CATALOGUE: dict[str, Any] = yaml.safe_load((collection.VARS / "kernels.yml").read_text())["kernels"]
GOOD = CATALOGUE["debian-rt"]


def boot(kernel: str, *options: str, **given: Any) -> str:
    """One playbook, as a user would call it: set up, reboot, confirm. Returns what Ansible said."""
    return play(HERE / "boot.yml", *BENCH, "-e", json.dumps({"board": BOARD, "kernel": kernel, **given}), *options)


def state_of_board() -> str:
    """What boots, and what there is to boot."""
    return on_board(
        BOARD, "cd /boot && ls kernels rtvirt && cat rtvirt/*.env && ls -A /lib/modules && cat /proc/cmdline"
    )


def folder_of_good_kernel() -> str:
    """Where the files of the kernel are that the board runs."""
    made = (artifacts.cache_folder() / "artifacts").glob("kernel-debian-rt-" + 16 * "[0-9a-f]")
    return str(max(made, key=os.path.getmtime))


def given_up(kernel: str, folder: str, entry: dict[str, Any]) -> str:
    """Boot a bad kernel; the board must be on the good one afterwards. Returns what was said, from the sentence on."""
    said = boot(kernel, folder=folder, entry=GOOD | entry)
    assert "status 2" in said, said
    assert "rtvirt.kernel=debian-rt" in on_board(BOARD, "cat /proc/cmdline")
    assert "trial" not in on_board(BOARD, "ls /boot/rtvirt")
    start = said.rindex(f"Kernel {kernel} was given up on {BOARD}: ")
    return said[start:]
