"""Three kernels that cannot be used, on an emulated board: each is given up without a person."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from rtvirt_runner import artifacts, checkout

BOARD = "virtual-cb2"
HERE = Path(__file__).parent / "bad_kernels"
LIMIT_S = 900
CATALOGUE: dict[str, Any] = yaml.safe_load((checkout.VARS / "kernels.yml").read_text())["kernels"]
# Of each: what is bad about it, and what is said of it.
PANICS = {"words": ["rdinit=/nonexistent"]}, r"it panicked (VFS: Unable to mount root fs"
NO_NETWORK = {"words": ["initcall_blacklist=virtio_net_driver_init"]}, "it came up but could not be reached"
HANGS: tuple[dict[str, Any], str] = {}, "it hung or restarted without saying why"


def boot(kernel: str, **given: Any) -> subprocess.CompletedProcess[str]:
    """One playbook, as a user would call it: set up, reboot, confirm."""
    command = [
        Path(sys.executable).parent / "ansible-playbook",
        HERE / "boot.yml",
        *("-e", json.dumps({"board": BOARD, "kernel": kernel, **given})),
    ]
    return subprocess.run(
        command,
        cwd=checkout.ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )


def on_board(command: str) -> str:
    config = artifacts.cache_folder() / "boards" / BOARD / "ssh_config"
    done = subprocess.run(
        ["ssh", "-F", config, BOARD, command], capture_output=True, text=True, timeout=120, check=True
    )
    return done.stdout


@pytest.fixture(scope="module")
def good_kernel() -> Iterator[str]:
    """A board on its good kernel; the folder of that kernel's files."""
    started = boot("debian-rt")
    assert started.returncode == 0, started.stdout
    yield str(max((artifacts.cache_folder() / "artifacts").glob("kernel-debian-rt-*"), key=os.path.getmtime))
    subprocess.run(
        [Path(sys.executable).parent / "ansible-playbook", checkout.ROOT / "playbooks" / "reset.yml"],
        cwd=checkout.ROOT,
        stdin=subprocess.DEVNULL,
        check=True,
    )


@pytest.fixture
def hung_kernel(tmp_path: Path) -> str:
    recipe = artifacts.Recipe("kernel-bad-hang", HERE / "hung_kernel.sh")
    return str(artifacts.build(recipe, artifacts.cache_folder(), print).path)


def given_up(name: str, bad: tuple[dict[str, Any], str], folder: str) -> str:
    """Boot a bad kernel; the board must be on the good one afterwards, in as many seconds as a person might wait."""
    entry, why = bad
    began = time.monotonic()
    done = boot(name, folder=folder, entry={**CATALOGUE["debian-rt"], **entry})
    assert time.monotonic() - began < LIMIT_S
    assert done.returncode != 0
    said = done.stdout
    assert f"Kernel {name} was given up on {BOARD}: {why}" in said
    assert "The board runs debian-rt (6." in said
    assert "The last lines of its console:" in said
    line = on_board("cat /proc/cmdline; ls /boot/rtvirt")
    assert "rtvirt.kernel=debian-rt" in line
    assert "trial" not in line
    return said


def test_a_kernel_that_panics_is_given_up(good_kernel: str) -> None:
    said = given_up("bad-panic", PANICS, good_kernel)
    assert "Kernel panic - not syncing" in said


def test_a_kernel_that_hangs_is_given_up(good_kernel: str, hung_kernel: str) -> None:
    said = given_up("bad-hang", HANGS, hung_kernel)
    assert "rtvirt: booting bad-hang (trial)" in said


def test_a_kernel_without_network_is_given_up(good_kernel: str) -> None:
    said = given_up("bad-network", NO_NETWORK, good_kernel)
    assert "rtvirt: nobody confirmed this trial within" in said


def test_the_next_good_kernel_still_installs_and_a_second_run_changes_nothing(good_kernel: str) -> None:
    first = boot("debian")
    assert first.returncode == 0, first.stdout
    assert "rtvirt.kernel=debian " in on_board("cat /proc/cmdline")
    again = boot("debian")
    assert "changed=0" in again.stdout, again.stdout
