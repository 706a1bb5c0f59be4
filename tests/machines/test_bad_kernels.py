"""Kernels that cannot be used, on an emulated board: each is given up without a person, and the board works on."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from playing import PLAYBOOKS, on_board, play

from rtvirt_runner import artifacts, checkout

BOARD = "virtual-rpi2"
HERE = Path(__file__).parent / "bad_kernels"
CATALOGUE: dict[str, Any] = yaml.safe_load((checkout.VARS / "kernels.yml").read_text())["kernels"]
GOOD = CATALOGUE["debian-rt"]


def boot(kernel: str, *options: str, **given: Any) -> str:
    """One playbook, as a user would call it: set up, reboot, confirm. Returns what Ansible said."""
    return play(HERE / "boot.yml", "-e", json.dumps({"board": BOARD, "kernel": kernel, **given}), *options)


def state_of_board() -> str:
    """What boots, and what there is to boot."""
    return on_board(
        BOARD, "cd /boot && ls kernels rtvirt && cat rtvirt/*.env && ls -A /lib/modules && cat /proc/cmdline"
    )


@pytest.fixture(scope="module")
def good_kernel() -> Iterator[str]:
    """A board on its good kernel; the folder of that kernel's files."""
    started = boot("debian-rt")
    assert "status 0" in started, started
    made = (artifacts.cache_folder() / "artifacts").glob("kernel-debian-rt-" + 16 * "[0-9a-f]")
    yield str(max(made, key=os.path.getmtime))
    play(PLAYBOOKS / "reset.yml", "-l", BOARD)


def given_up(kernel: str, folder: str, entry: dict[str, Any]) -> str:
    """Boot a bad kernel; the board must be on the good one afterwards. Returns what was said, from the sentence on."""
    said = boot(kernel, folder=folder, entry=GOOD | entry)
    assert "status 2" in said, said
    assert "rtvirt.kernel=debian-rt" in on_board(BOARD, "cat /proc/cmdline")
    assert "trial" not in on_board(BOARD, "ls /boot/rtvirt")
    start = said.rindex(f"Kernel {kernel} was given up on {BOARD}: ")
    return said[start:]


def test_a_kernel_that_panics_is_given_up(good_kernel: str) -> None:
    said = given_up("bad-panic", good_kernel, {"words": ["rdinit=/nonexistent"]})
    assert "it panicked (VFS: Unable to mount root fs" in said
    assert "The board runs debian-rt (6." in said
    assert "Kernel panic - not syncing" in said.partition("The last lines of its console:")[2]


def test_a_kernel_that_hangs_is_given_up(good_kernel: str) -> None:
    recipe = artifacts.Recipe("kernel-bad-hang", HERE / "hung_kernel.sh")
    folder = artifacts.build(recipe, artifacts.cache_folder(), print).path
    said = given_up("bad-hang", str(folder), {"shows": {"realtime": False, "release": "hung"}})
    assert "it hung or restarted without saying why" in said
    assert "rtvirt: booting bad-hang (trial)" in said.partition("The last lines of its console:")[2]


def test_a_kernel_without_network_is_given_up(good_kernel: str) -> None:
    said = given_up("bad-network", good_kernel, {"words": ["initcall_blacklist=virtio_net_driver_init"]})
    assert "it came up but could not be reached" in said
    assert "rtvirt: nobody confirmed this trial within" in said.partition("The last lines of its console:")[2]


def test_a_kernel_that_is_not_what_its_entry_says_is_given_up(good_kernel: str) -> None:
    said = given_up("bad-promise", good_kernel, {"shows": {"realtime": False, "release": "-rt-arm64$"}})
    assert "/sys/kernel/realtime is 1, expected 0" in said
    assert "The board is back on debian-rt" in said


def test_a_kernel_for_which_there_is_no_room_is_refused_and_nothing_changes(good_kernel: str) -> None:
    on_board(BOARD, "fallocate -l $(($(df -Pk / | awk 'NR == 2 { print $4 }') - 50000))K /filler")
    before = state_of_board()
    said = boot("debian")
    assert state_of_board() == before
    on_board(BOARD, "rm /filler")
    assert "status 2" in said
    assert "There is no room for kernel debian on the file system of /lib/modules: it needs" in said


def test_check_mode_tells_and_changes_nothing(good_kernel: str) -> None:
    before = state_of_board()
    said = boot("debian", "--check")
    assert state_of_board() == before
    assert "status 0" in said
    assert "changed: [virtual-rpi2]" in said


def test_the_next_good_kernel_installs_old_ones_go_and_a_second_run_changes_nothing(good_kernel: str) -> None:
    first = boot("debian", kernel_boot_keep=0)
    assert "status 0" in first, first
    state = state_of_board()
    assert "rtvirt.kernel=debian " in state
    assert "0.0.0-hung" not in state, "modules of a kernel that is gone"
    assert "bad-hang" not in state
    assert "debian-rt-" in state, "the last good kernel is never removed"
    again = boot("debian", kernel_boot_keep=0)
    assert "changed=0" in again, again


def test_a_default_entry_that_was_cut_short_is_passed_over_for_the_last_good_one(good_kernel: str) -> None:
    on_board(BOARD, "sed -i '$d' /boot/rtvirt/default.env && sync")
    assert "status 0" in play(HERE / "reboot.yml", "-e", f"board={BOARD}")
    assert "rtvirt.kernel=debian-rt" in on_board(BOARD, "cat /proc/cmdline")
    assert "changed=1" in boot("debian-rt"), "the last good entry is the default again, and nothing was rebooted"
