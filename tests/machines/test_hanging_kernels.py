"""Kernels that die or cannot be reached on an emulated board: each is given up without a person."""

from __future__ import annotations

import pytest
from trials import BOARD, HERE, folder_of_good_kernel, given_up

from rtvirt_runner.build import artifacts

pytestmark = [
    pytest.mark.slow(
        exercises=["roles/kernel_boot", "plugins/action/wait_for_boot.py", "rtvirt_runner/machine/console_log.py"]
    ),
    pytest.mark.alone,  # they are told by a board's clock, which races on an overloaded machine
    pytest.mark.board(BOARD, kernel="debian-rt"),
    pytest.mark.asserts_on("booting", "trials"),
    pytest.mark.xdist_group("hanging kernels"),
]


@pytest.fixture(scope="module")
def good_kernel(board: str) -> str:
    """The folder of the kernel that the board runs."""
    return folder_of_good_kernel()


def test_a_kernel_that_hangs_is_given_up(good_kernel: str) -> None:
    recipe = artifacts.Recipe("kernel-bad-hang", HERE / "hung_kernel.sh")
    folder = artifacts.build(recipe, artifacts.cache_folder(), print).path
    said = given_up("bad-hang", str(folder), {"expects": {"realtime": False, "release": "hung"}})
    assert "it hung or restarted without saying why" in said
    assert "rtvirt: booting bad-hang (trial)" in said.partition("The last lines of its console:")[2]


def test_a_kernel_without_network_is_given_up(good_kernel: str) -> None:
    said = given_up("bad-network", good_kernel, {"kernel_params": ["initcall_blacklist=virtio_net_driver_init"]})
    assert "it came up but could not be reached" in said
    assert "rtvirt: nobody confirmed this trial within" in said.partition("The last lines of its console:")[2]
