"""Who attends a sealed machine at its save point (roles/sealed_board/files/attend.sh)."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from rtvirt_runner.machine.sealed_machine import TAKE_TURN

ATTEND = TAKE_TURN.with_name("attend.sh")
# In the place of Python: QEMU's monitor, which stands still when it is asked the third time.
PYTHON = """\
#!/bin/sh
echo "$*" >>asked
case $* in
*query-status) [ "$(grep -c query-status asked)" -lt 3 ] || echo '{"status": "watchdog"}' ;;
*from_shell*) [ "$SAVING" != awake ] || : >awake; [ "$SAVING" != fails ] ;;
esac
"""
SAVES = "-m rtvirt_runner.build.from_shell state.json"
GOES_ON, ENDS = (f"-m rtvirt_runner.machine.qmp qmp.sock {word}" for word in ("cont", "quit"))


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    folder = tmp_path / "m"
    folder.mkdir()
    (tmp_path / "python").write_text(PYTHON)
    (tmp_path / "python").chmod(0o755)
    return folder


def attend(machine: Path, keeper: int, saving: str = "succeeds") -> list[str]:
    """Attend until the end; returns what was asked of Python."""
    given = {**os.environ, "PYTHON": str(machine.parent / "python"), "SAVING": saving}
    subprocess.run(["sh", ATTEND, str(keeper), machine], env=given, check=True, timeout=30)
    asked = machine / "asked"
    return asked.read_text().splitlines() if asked.exists() else []


@pytest.mark.parametrize(("saving", "then"), [("succeeds", GOES_ON), ("fails", GOES_ON), ("awake", ENDS)])
def test_a_machine_from_power_on_goes_on_when_its_state_is_saved(machine: Path, saving: str, then: str) -> None:
    (machine / "console.log").write_bytes(b"\x00 said\r\n@save\r\n")
    (machine / "state.json").touch()
    asked = attend(machine, os.getpid(), saving)
    assert asked[2:] == [asked[0], SAVES, then]


def test_a_machine_that_came_from_a_state_goes_on(machine: Path) -> None:
    (machine / "console.log").write_text("@save\n")
    (machine / "state.json").touch()
    (machine / "state").symlink_to(machine.parent)
    asked = attend(machine, os.getpid())
    assert asked[2:] == [asked[0], GOES_ON]


def test_nobody_attends_a_machine_that_ended_before(machine: Path) -> None:
    (machine / "console.log").write_text("Kernel panic\n")
    with subprocess.Popen(["true"]) as ended:
        ended.wait()
    assert attend(machine, ended.pid) == []
