"""Which QEMU a lab takes, and what is said where there is none."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from rtvirt_runner.catalogue import collection
from rtvirt_runner.machine import script_reply

SCRIPT = collection.ROOT / "roles" / "virtual_board" / "files" / "find_qemu.sh"
TOOLS = ("base64", "cat", "ln", "mkdir", "sed", "tr")


def find_qemu(folder: Path, **environment: str) -> script_reply.Reply:
    """Run the script on a machine whose programs are some tools and what is in ``folder/bin``."""
    programs = folder / "bin"
    programs.mkdir(exist_ok=True)
    for tool in TOOLS:
        (programs / tool).symlink_to(str(shutil.which(tool)))
    given = {"RTVIRT_CHECK_MODE": "no", "UNPACKED": "", "NOT_UNPACKED": "", "LINKS": str(folder / "links")}
    text = script_reply.compose(SCRIPT.read_text(), given | environment)
    shell = str(shutil.which("sh"))
    done = subprocess.run(
        [shell], input=text, env={"PATH": str(programs)}, capture_output=True, text=True, check=False, timeout=60
    )
    return script_reply.parse(done.stdout)


@pytest.mark.parametrize(
    ("reason", "said"),
    [
        ("", "There is no qemu-system-aarch64; run: sudo apt-get install"),
        (
            "building qemu needs root, and there is no sudo; run this as root.",
            "There is no qemu-system-aarch64, and none could be unpacked: "
            "building qemu needs root, and there is no sudo; run this as root. Or else run: sudo apt-get install",
        ),
    ],
)
def test_where_there_is_none_it_says_why_none_was_unpacked(reason: str, said: str, tmp_path: Path) -> None:
    failure = find_qemu(tmp_path, NOT_UNPACKED=reason).failure
    assert failure is not None and failure.startswith(said), failure


def test_an_old_one_is_taken_with_a_warning(tmp_path: Path) -> None:
    unpacked = tmp_path / "qemu"
    (unpacked / "bin").mkdir(parents=True)
    program = unpacked / "bin" / "qemu-system-aarch64"
    program.write_text("#!/bin/sh\necho 'QEMU emulator version 7.2.22 (Debian)'\n")
    program.chmod(0o755)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "sh").symlink_to(str(shutil.which("sh")))
    facts = find_qemu(tmp_path, UNPACKED=str(unpacked)).as_dict()
    assert (facts["folder"], facts["version"]) == (str(unpacked), "7.2.22")
    assert str(facts["warning"]).startswith("QEMU 7.2.22 gives a busy core")
