"""QEMU's threads say which vCPU they run: the far script against a real QEMU that stands still."""

from __future__ import annotations

import platform
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from rtvirt_runner.catalogue import collection

SCRIPT = collection.ROOT / "roles/guest/files/find_vcpus.sh"
VCPUS = 3
MACHINES = {"x86_64": ["-machine", "q35"], "aarch64": ["-machine", "virt", "-cpu", "cortex-a57"]}
QEMU = [
    *(f"qemu-system-{platform.machine()}", *MACHINES[platform.machine()], "-accel", "tcg,thread=multi", "-S"),
    *("-smp", str(VCPUS), "-m", "64", "-nodefaults", "-display", "none", "-name", "guest=test,debug-threads=on"),
]


@pytest.fixture
def qemu() -> Iterator[int]:
    with subprocess.Popen(QEMU, stdin=subprocess.DEVNULL) as process:
        yield process.pid
        process.terminate()


def find_vcpus(shell: list[str], pid: int | str, wanted: int, run: Path) -> subprocess.CompletedProcess[str]:
    """Run the script as start_guest.sh does, with the unit's process number given."""
    code = f"""
run={run} VCPUS={wanted}
unit_pid() {{ {f"[ ! -d /proc/{pid} ] || echo {pid}" if pid else ":"}; }}
unit_said() {{ echo 'what QEMU said'; }}
give_up() {{ echo "$*"; exit 1; }}
. {SCRIPT}
find_vcpus
"""
    return subprocess.run([*shell, "-c", code], capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("shell", [["dash"], ["busybox", "sh"]], ids=["dash", "busybox"])
def test_each_vcpu_has_its_thread(qemu: int, tmp_path: Path, shell: list[str]) -> None:
    done = find_vcpus(shell, qemu, VCPUS, tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    rows = sorted(line.split() for line in (tmp_path / "guest.vcpus").read_text().splitlines())
    assert [number for number, _ in rows] == ["0", "1", "2"]
    names = [Path(f"/proc/{qemu}/task/{thread}/comm").read_text().strip() for _, thread in rows]
    assert names == ["CPU 0/TCG", "CPU 1/TCG", "CPU 2/TCG"]


def test_a_qemu_that_has_ended_is_told_with_its_own_words(tmp_path: Path) -> None:
    done = find_vcpus(["dash"], "", 1, tmp_path)
    assert (done.returncode, done.stdout) == (1, "QEMU ended: what QEMU said\n")
