"""The end of a trial: the script that confirms, rejects or abandons it, with the kernel of this machine."""

from __future__ import annotations

import os
import platform
from pathlib import Path

import pytest
from test_boot_loaders import FILES, Board

from rtvirt_runner.machine.script_reply import Reply

GOOD = "root=/dev/vda1 rtvirt.kernel=good"
TRIAL = "root=/dev/vda1 isolcpus=1 rtvirt.kernel=linux-rt"
# The trial's guard stands where the board has it, in mounts of the script's own.
GUARD = f"""\
mount -t tmpfs tmpfs /usr/local/lib
mkdir /usr/local/lib/rtvirt
cp {FILES}/trial_guard.sh /usr/local/lib/rtvirt/trial_guard
"""

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="mounts of its own need root")


class TriedBoard(Board):
    """A board that U-Boot starts, which took the mark of the kernel on trial away and started something."""

    shell = ("unshare", "--mount", "sh", "-s")

    def __init__(self, folder: Path, running: str) -> None:
        super().__init__(folder, "u_boot", running)
        kernels = self.boot / "kernels" / "linux-rt-12345678"
        kernels.mkdir(parents=True)
        (kernels / "release").write_text(platform.release() + "\n")
        (self.boot / "boot.scr").touch()
        begun = self.run(
            f'state=$boot/rtvirt\nKERNEL=good entry default "{GOOD}"\nentry trial "{TRIAL} rtvirt.trial=90"\n'
        )
        assert begun.failure is None, begun.failure
        self.default = self.text("rtvirt/default.env")

    def confirm(self, **changes: str) -> Reply:
        expected = {"RELEASE": platform.release(), "REALTIME": realtime(), "KEEP": "2", "LOADERS": "u_boot"}
        expected |= {"PARAMETERS": "isolcpus", "BOOT_SCR": "", **changes}
        return self.run(GUARD + (FILES / "confirm.sh").read_text(), **expected)

    @property
    def on_trial(self) -> bool:
        return (self.boot / "rtvirt/trial.env").exists()


def realtime() -> str:
    known = Path("/sys/kernel/realtime")
    return known.read_text().strip() if known.exists() else str(int("PREEMPT_RT" in platform.version()))


@pytest.fixture
def board(tmp_path: Path) -> TriedBoard:
    return TriedBoard(tmp_path, f"{TRIAL} rtvirt.trial=90")


def test_a_kernel_that_is_what_its_entry_says_becomes_the_default(board: TriedBoard) -> None:
    reply = board.confirm()
    assert reply.failure is None
    assert reply.facts["state"] == "confirmed"
    assert f"bootargs={TRIAL}\n" in board.text("rtvirt/default.env")
    assert board.text("rtvirt/last_good.env") == board.default
    assert not board.on_trial
    again = board.confirm()
    assert (again.facts["state"], again.changes) == ("settled", [])


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        (
            {"REALTIME": str(1 - int(realtime()))},
            f"/sys/kernel/realtime is {realtime()}, expected {1 - int(realtime())}",
        ),
        ({"RELEASE": "6.99.0-rt"}, f"the running kernel is {platform.release()}, expected 6.99.0-rt"),
    ],
    ids=["realtime", "release"],
)
def test_a_kernel_that_is_not_what_its_entry_says_is_rejected(
    board: TriedBoard, changes: dict[str, str], reason: str
) -> None:
    reply = board.confirm(**changes)
    assert (reply.facts["state"], reply.facts["difference"]) == ("rejected", reason)
    assert board.text("rtvirt/default.env") == board.default
    assert not board.on_trial


def test_a_kernel_with_a_parameter_that_nobody_asked_for_is_rejected(tmp_path: Path) -> None:
    board = TriedBoard(tmp_path, f"{TRIAL} rtvirt.trial=90 isolcpus=0")
    reply = board.confirm()
    assert reply.facts["state"] == "rejected"
    assert "has 'isolcpus=0' beside" in reply.facts["difference"]
    assert board.text("rtvirt/default.env") == board.default


def test_a_trial_that_did_not_come_up_is_abandoned(tmp_path: Path) -> None:
    board = TriedBoard(tmp_path, GOOD)
    reply = board.confirm(REALTIME=realtime())
    assert reply.facts["state"] == "abandoned"
    assert board.text("rtvirt/default.env") == board.default
    assert not board.on_trial


def test_the_trial_of_another_kernel_is_not_ended(board: TriedBoard) -> None:
    reply = board.confirm(KERNEL="other")
    assert "The trial on this board is of kernel linux-rt, not of other" in str(reply.failure)
    assert board.on_trial
