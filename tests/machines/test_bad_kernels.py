"""Kernels that cannot be used, on an emulated board: each is given up without a person, and the board works on."""

from __future__ import annotations

import pytest
from playing import BENCH, on_board, play
from trials import BOARD, HERE, boot, folder_of_good_kernel, given_up, state_of_board

pytestmark = [
    pytest.mark.board(BOARD, kernel="debian-rt"),
    pytest.mark.asserts_on("booting", "trials", "idempotence"),
    pytest.mark.xdist_group("bench-a"),
    pytest.mark.slow(exercises=["roles/kernel_boot", "plugins/action/wait_for_boot.py"]),
]


@pytest.fixture(scope="module")
def good_kernel(board: str) -> str:
    """A board on its good kernel; the folder of that kernel's files."""
    started = boot("debian-rt")
    assert "status 0" in started, started
    return folder_of_good_kernel()


def test_a_kernel_that_is_not_what_its_entry_says_is_given_up(good_kernel: str) -> None:
    said = given_up("bad-promise", good_kernel, {"expects": {"realtime": False, "release": "-rt-arm64$"}})
    assert "/sys/kernel/realtime is 1, expected 0" in said
    assert "The board is back on debian-rt" in said


def test_a_kernel_that_panics_is_given_up(good_kernel: str) -> None:
    said = given_up("bad-panic", good_kernel, {"kernel_params": ["rdinit=/nonexistent"]})
    assert "it panicked (VFS: Unable to mount root fs" in said
    assert "The board runs debian-rt (6." in said
    assert "Kernel panic - not syncing" in said.partition("The last lines of its console:")[2]


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
    assert f"changed: [{BOARD}]" in said


def test_the_next_good_kernel_installs_old_ones_go_and_a_second_run_changes_nothing(good_kernel: str) -> None:
    first = boot("debian", kernel_boot_keep=0)
    assert "status 0" in first, first
    state = state_of_board()
    assert "rtvirt.kernel=debian " in state
    assert "bad-promise" not in state, "a kernel that nobody keeps"
    assert "debian-rt-" in state, "the last good kernel is never removed"
    again = boot("debian", kernel_boot_keep=0)
    assert "changed=0" in again, again


def test_a_default_entry_that_was_cut_short_is_passed_over_for_the_last_good_one(good_kernel: str) -> None:
    on_board(BOARD, "sed -i '$d' /boot/rtvirt/default.env && sync")
    assert "status 0" in play(HERE / "reboot.yml", *BENCH, "-e", f"board={BOARD}")
    assert "rtvirt.kernel=debian-rt" in on_board(BOARD, "cat /proc/cmdline")
    assert "changed=1" in boot("debian-rt"), "the last good entry is the default again, and nothing was rebooted"
