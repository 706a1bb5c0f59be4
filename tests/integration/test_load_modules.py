"""What an initramfs passes to insmod for each module; insmod itself runs on emulated boards (molecule/kernel_boot)."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from rtvirt_runner.build.artifacts import TOOLS

LINE = (
    "root=/dev/vda2 quiet i6300esb.heartbeat=2046 no-such.napi_tx=0 i6300esb.nowayout=1 no_such.csum=* "
    "rtvirt.kernel=debian i6300esb no.x=1"
)


def loaded(folder: Path, modules: list[str], line: str = LINE) -> list[str]:
    """The words of each call of insmod."""
    (folder / "line").write_text(line + "\n")
    (folder / "list").write_text("".join(f"{module}.ko\n" for module in modules))
    (folder / "busybox").write_text(f'#!/bin/sh\nprintf "%s|" "$@" >>{folder}/calls\necho >>{folder}/calls\n')
    (folder / "busybox").chmod(0o755)
    environment = {"BUSYBOX": str(folder / "busybox"), "RUNNING_LINE": str(folder / "line"), "PATH": "/usr/bin:/bin"}
    subprocess.run([TOOLS / "load_modules", folder / "list"], env=environment, check=True)
    return (folder / "calls").read_text().splitlines() if (folder / "calls").exists() else []


@pytest.mark.parametrize(
    ("module", "parameters"),
    [
        ("i6300esb", "heartbeat=2046|nowayout=1|"),
        ("no_such", "napi_tx=0|csum=*|"),
        ("no-such", "napi_tx=0|csum=*|"),
        ("no-other", ""),
    ],
)
def test_a_module_gets_its_parameters_from_the_command_line(tmp_path: Path, module: str, parameters: str) -> None:
    assert loaded(tmp_path, [module]) == [f"insmod|/modules/{module}.ko|{parameters}"]


def test_modules_are_loaded_in_their_order(tmp_path: Path) -> None:
    calls = loaded(tmp_path, ["a-b", "c"], "a_b.d=e")
    assert calls == ["insmod|/modules/a-b.ko|d=e|", "insmod|/modules/c.ko|"]


def test_a_module_that_the_kernel_has_is_left_alone(tmp_path: Path) -> None:
    there = next(path.name for path in Path("/sys/module").iterdir())
    assert loaded(tmp_path, [there.replace("_", "-")]) == []
