"""The program that keeps a virtual board ends it with its owner (roles/virtual_board/files/keep_board.sh)."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

from rtvirt_runner.catalogue import collection

KEEPER = collection.ROOT / "roles/virtual_board/files/keep_board.sh"


def keep(folder: Path, owner: int) -> subprocess.Popen[bytes]:
    """Keep a program in the place of QEMU: it says that it runs, and waits."""
    environment = {**os.environ, "RESETS": "qemu", "FIRMWARE": ""}
    program = ["sh", "-c", "echo runs >ran; exec sleep 1000"]
    return subprocess.Popen(["sh", KEEPER, str(owner), folder, *program], env=environment, start_new_session=True)


def test_a_board_ends_with_its_owner(tmp_path: Path) -> None:
    owner = subprocess.Popen(["sleep", "1000"])
    kept = keep(tmp_path, owner.pid)
    until = time.monotonic() + 20
    while not (tmp_path / "pid").exists() and time.monotonic() < until:
        time.sleep(0.1)
    owner.kill()
    owner.wait()
    kept.wait(20)
    assert (tmp_path / "ran").exists()
    assert not (tmp_path / "pid").exists()


def test_one_whose_owner_had_ended_before_is_not_started(tmp_path: Path) -> None:
    owner = subprocess.Popen(["true"])
    owner.wait()
    assert keep(tmp_path, owner.pid).wait(20) == 1
    assert "has ended before QEMU was started" in (tmp_path / "qemu.log").read_text()
    assert not (tmp_path / "ran").exists()
