"""Host and guest cells on the machine that runs the tests, through the real playbooks, and nothing left behind."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rtvirt_runner.catalogue import collection
from rtvirt_runner.catalogue.settings import SETTINGS, files
from rtvirt_runner.matrix.results import Record, ResultsTree

# The settings of this machine change, and everything that it runs moves to one core: no other test runs meanwhile.
pytestmark = [
    pytest.mark.slow(exercises=["inventory/this_machine", "playbooks", "roles", "rtvirt_runner/catalogue/settings.py"]),
    pytest.mark.alone,
]

LAB = collection.ROOT / "inventory" / "this_machine"
MATRIX = """\
matrix:
  name: here
  cyclictest: {loops: 200, interval_us: 1000, priority: 80, histogram_us: 20000}
  splits:
    1-1: {host_cpus: '0', guest_cpus: '1'}
  experiments:
    both:
      axes:
        board: [boards]
        kernel: [running]
        tuning: [full]
        split: [1-1]
        place: [host, guest]
        guest: [minimal]
        workload: [idle]
"""
# What settings write to, those that a kernel has; interrupts come and go, and so do kernel threads.
PATTERNS = ["/proc/sys/vm/nr_hugepages", *(each for each in files(SETTINGS) if not each.startswith("/proc/irq/["))]
FOLDERS = ("/run/rtvirt", "/var/lib/rtvirt", "/usr/local/bin/rtvirt-bitcount", "/usr/local/lib/rtvirt-workloads")


def play(playbook: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [Path(sys.executable).parent / "ansible-playbook", "-i", LAB, collection.ROOT / "playbooks" / playbook]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    env = {**os.environ, "ANSIBLE_CONFIG": str(collection.ANSIBLE_CONFIG), "PATH": path}
    return subprocess.run([*command, *arguments], env=env, capture_output=True, text=True, timeout=600, check=False)


def left_by_us() -> dict[str, Any]:
    """All of this machine that a run changes."""
    return {
        "settings": {path: Path(path).read_text() for pattern in PATTERNS for path in found(pattern)},
        "folders": [path for path in FOLDERS if Path(path).exists()],
        "cpusets": {str(path): values(path) for path in cpusets()},
        "mounts": [line for line in Path("/proc/mounts").read_text().splitlines() if "rtvirt" in line],
        "guests": [number for number in processes() if "guest=this-machine-guest" in words(number)],
    }


def found(pattern: str) -> list[str]:
    return sorted(str(path) for path in Path("/").glob(pattern[1:]))


def cpusets() -> list[Path]:
    """The folders of cgroup v1 with their flags, or what version 2 hands down from its root."""
    mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    tops = [Path(mount[1]) for mount in mounts if mount[2] == "cgroup" and "cpuset" in mount[3].split(",")]
    tops += [Path(mount[1]) for mount in mounts if mount[2] == "cgroup2"]
    return [folder for top in tops for folder in (top, top / "rtvirt", top / "rtvirt-host") if folder.exists()]


def values(folder: Path) -> dict[str, str]:
    names = ("cpuset.cpus", "cpuset.sched_load_balance", "cpuset.cpu_exclusive", "cgroup.subtree_control")
    return {name: (folder / name).read_text() for name in names if (folder / name).exists()}


def processes() -> list[int]:
    return [int(path.name) for path in Path("/proc").iterdir() if path.name.isdecimal()]


def words(number: int) -> str:
    try:
        return Path(f"/proc/{number}/cmdline").read_bytes().decode(errors="replace")
    except OSError:  # it has ended
        return ""


@pytest.fixture(scope="module")
def state_before() -> Iterator[dict[str, Any]]:
    """What was there before; whatever became of the run, it is there again afterwards."""
    if (os.cpu_count() or 1) < 2:
        pytest.skip("this machine has one core, and a split needs two")
    if os.geteuid() != 0 and subprocess.run(["sudo", "-n", "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("settings of this machine need root, or sudo without a password")
    if Path("/run/rtvirt/definition").exists():
        pytest.skip("a guest of this machine's own runs, and would be ended")
    yield left_by_us()
    play("reset.yml")


@pytest.fixture(scope="module")
def records(state_before: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Record]:
    folder = tmp_path_factory.mktemp("results")
    (folder / "here.yml").write_text(MATRIX)
    done = play("full_matrix.yml", "-e", f"rtvirt_matrix={folder}/here.yml", "-e", f"rtvirt_results_dir={folder}")
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr
    return {record.cell.place: record for record in ResultsTree(folder).load_records("here")}


def test_host_and_guest_are_measured(records: dict[str, Record]) -> None:
    assert set(records) == {"host", "guest"}
    assert {record.status.status for record in records.values()} == {"done"}
    assert {record.cell.clock for record in records.values()} == {"real"}


def test_cores_are_kept_as_far_as_this_kernel_can(records: dict[str, Record]) -> None:
    for record in records.values():
        board = record.system["board"]
        assert board["cpuset_kind"] in {"v1", "v2 isolated", "v2 root", "v2 member", "none"}
        rows = [row for row in board["settings"] if row["setting"] == "cpuset"]
        assert rows and {row["state"] for row in rows} <= {"ok", "fixed", "absent"}
        if board["cpuset_kind"] == "v1":
            assert {row["state"] for row in rows if row["source"].endswith("cpuset.cpus")} == {"ok"}


def test_the_guest_says_what_runs_it(records: dict[str, Record]) -> None:
    board, guest = records["guest"].system["board"], records["guest"].system["guest"]
    assert board["accelerator_reason"]
    assert guest["realtime"] is True
    (vcpu,) = board["vcpu_threads"]
    assert (vcpu["cpus"], vcpu["policy"], vcpu["priority"]) == ("1", "fifo", 1)
    if board["guest_accelerator"] == "kvm":
        assert board["kvm_held_by_qemu"] == "yes"
    else:
        assert vcpu["name"] == "CPU 0/TCG"
        assert "kvm" in board["accelerator_reason"]


def test_a_second_run_of_reset_finds_nothing_left(records: dict[str, Record], state_before: dict[str, Any]) -> None:
    done = play("reset.yml")
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr
    # Locks that other tests' boards left on this machine go too.
    assert left_by_us() == {**state_before, "folders": []}
    again = play("reset.yml")
    assert again.returncode == 0 and "changed=0" in again.stdout, again.stdout[-5000:]


def test_the_lab_describes_this_machine() -> None:
    from rtvirt_runner.run.playbooks import read_inventory

    groups, hostvars = read_inventory(LAB)
    assert groups["boards"] == ["this-machine"] and groups["guests"] == ["this-machine-guest"]
    board = hostvars["this-machine"]
    assert board["rtvirt_board_boots"] is False
    assert board["rtvirt_board_cpus"] == int(subprocess.check_output([shutil.which("nproc") or "nproc", "--all"]))
