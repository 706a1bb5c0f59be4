"""What QEMU runs with on a sealed machine: its main loop never looks at cores that run."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from pathlib import Path

import pytest

from rtvirt_runner.catalogue import collection

FILES = collection.ROOT / "roles" / "sealed_board" / "files"
HERE = Path(__file__).parent / "lockstep"

pytestmark = pytest.mark.usefixtures("tools")  # gcc


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with lockstep.so and the program emulator."""
    out = tmp_path_factory.mktemp("lockstep")
    subprocess.run(["sh", FILES / "build_lockstep.sh"], env={**os.environ, "OUT": str(out)}, check=True)
    compiler = ["gcc", "-O2", "-Wall", "-Wextra", "-Werror", "-rdynamic", "-pthread"]
    subprocess.run([*compiler, "-o", out / "emulator", HERE / "emulator.c"], check=True)
    return out


def command(built: Path, *arguments: str, preload: str = "./lockstep.so") -> subprocess.Popen[str]:
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    environment = {**os.environ, "LD_PRELOAD": preload}
    return subprocess.Popen(["./emulator", *arguments], **pipes, text=True, cwd=built, env=environment)


def counts(built: Path, preload: str) -> dict[str, int]:
    said, errors = command(built, "5000", preload=preload).communicate(timeout=60)
    assert errors == "" and (built / "in_lockstep").exists() == bool(preload)
    return {what: int(number) for what, number in re.findall(r"([a-z][a-z ]+) (\d+)", said)}


def test_the_main_loop_never_finds_the_cores_running(built: Path) -> None:
    """And does without, where both can run at once."""
    assert counts(built, "")["found running"] > 0 or len(os.sched_getaffinity(0)) == 1
    found = counts(built, "./lockstep.so")
    assert found["found running"] == 0
    assert found["told"] == 5000


def test_it_ends_when_it_is_told_to_though_its_cores_never_sleep(built: Path) -> None:
    with command(built, "0") as running:
        try:
            with pytest.raises(subprocess.TimeoutExpired):
                running.wait(timeout=1)
            running.send_signal(signal.SIGTERM)
            assert running.wait(timeout=5) == 0
        finally:
            running.kill()


def test_a_program_that_is_not_qemu_is_left_alone(built: Path) -> None:
    """As the shell that starts QEMU."""
    environment = {**os.environ, "LD_PRELOAD": "./lockstep.so"}
    ended = subprocess.run(["sh", "-c", "echo it runs"], cwd=built, env=environment, capture_output=True, text=True)
    assert (ended.stdout, ended.stderr) == ("it runs\n", "")


def test_where_it_cannot_say_so_qemu_does_not_run(built: Path) -> None:
    (built / "in_lockstep").unlink(missing_ok=True)
    (built / "in_lockstep").mkdir()
    said, errors = command(built, "1").communicate(timeout=60)
    (built / "in_lockstep").rmdir()
    assert (said, errors) == ("", "lockstep: in_lockstep cannot be written: Is a directory\n")
