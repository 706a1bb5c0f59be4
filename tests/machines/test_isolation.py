"""States of a real emulated board: proven when they hold, named when somebody breaks them, repaired and taken back."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playing import BENCH, LIMIT_S, PLAYBOOKS, on_board, owned, play, stop

from rtvirt_runner.catalogue import collection
from rtvirt_runner.matrix.results import ResultsTree

BOARD = "bench-b"
pytestmark = [
    pytest.mark.asserts_on("booting", "convergence", "idempotence", "answers"),
    pytest.mark.xdist_group("bench-b"),
    # What is set is read back around each cell of the quick matrix, and what the roles take back is in their scenarios.
    pytest.mark.slow(
        exercises=["roles/cpu_isolation", "roles/guest", "rtvirt_runner/catalogue/tunings.py", "playbooks"]
    ),
]
HERE = Path(__file__).parent / "isolation"
SCRIPTS = Path(sys.executable).parent
STATE = {"kernel": "linux-6.12-rt", "host_cpus": "0", "guest_cpus": "1"}
SNAPSHOT = """
cd /
find boot etc usr/local var/lib/rtvirt run/rtvirt -xdev -type f 2>/dev/null | sort | xargs sha256sum
cat /proc/cmdline /proc/swaps /proc/sys/kernel/sched_rt_runtime_us /proc/sys/kernel/timer_migration
for file in /proc/irq/default_smp_affinity /proc/irq/*/smp_affinity_list /sys/devices/virtual/workqueue/cpumask \\
  /sys/kernel/debug/sched/fair_server/*/runtime /proc/sys/vm/nr_hugepages; do
  printf '%s %s\\n' "$file" "$(cat "$file" 2>/dev/null)"
done
"""
FULL = json.dumps({"rtvirt_state": STATE | {"tuning": "full", "guest": "minimal"}})


def run(playbook: Path, *options: str) -> str:
    """A playbook for one board, which goes well; returns what Ansible said."""
    said = play(playbook, *BENCH, "-l", f"{BOARD},localhost", "-e", "rtvirt_snapshots=false", *options)
    assert "status 0" in said, said
    return said


def converge(tuning: str) -> str:
    state = STATE | {"tuning": tuning, "guest": "minimal"}
    return run(PLAYBOOKS / "converge.yml", "-e", json.dumps({"rtvirt_state": state}))


def inspect() -> subprocess.CompletedProcess[str]:
    command = [SCRIPTS / "rtvirt", "inspect", BOARD, "--all", *BENCH]
    return subprocess.run(
        command, env=owned(), cwd=collection.ROOT, capture_output=True, text=True, timeout=LIMIT_S, check=False
    )


def boots() -> str:
    return on_board(BOARD, "cat /proc/sys/kernel/random/boot_id")


def qemu_pid() -> str:
    return on_board(BOARD, "systemctl show --property=MainPID --value rtvirt-guest").strip()


def changes(said: str) -> list[int]:
    """How many changes each host's recap tells."""
    return [int(number) for number in re.findall(rf"^{BOARD} .*changed=(\d+)", said, re.MULTILINE)]


@pytest.fixture(scope="module")
def lab() -> Iterator[None]:
    """A board that converge.yml starts, from a fresh card as convergence asks for; it is stopped at the end."""
    stop(BOARD)
    yield
    stop(BOARD)


@pytest.fixture(scope="module")
def fresh(lab: None) -> str:
    """A board as its card makes it, and a listing of that."""
    run(PLAYBOOKS / "converge.yml", "-e", json.dumps({"rtvirt_state": STATE | {"tuning": "none"}}))
    run(PLAYBOOKS / "reset.yml", "-e", "rtvirt_keep_boards=true")
    return on_board(BOARD, SNAPSHOT)


def test_reset_gives_back_what_was_there(fresh: str) -> None:
    converge("full")
    converge("none")
    run(PLAYBOOKS / "reset.yml", "-e", "rtvirt_keep_boards=true")
    assert on_board(BOARD, SNAPSHOT) == fresh


@pytest.fixture(scope="module", params=["none", "paper", "full"])
def tuning(lab: None, request: pytest.FixtureRequest) -> str:
    converge(request.param)
    return str(request.param)


def test_every_tuning_is_all_green(tuning: str) -> None:
    found = inspect()
    assert found.returncode == 0, found.stdout + found.stderr
    assert "differs" not in found.stdout


@pytest.fixture(scope="module")
def full(lab: None) -> tuple[str, str]:
    """The board with tuning full: which boot, which QEMU."""
    converge("full")
    return boots(), qemu_pid()


def test_a_converged_board_is_left_alone(full: tuple[str, str]) -> None:
    said = converge("full")
    assert changes(said) == [0]
    assert (boots(), qemu_pid()) == full


def break_it() -> None:
    """An interrupt on the guest's core, a vCPU on the host's, real-time tasks throttled.

    The vCPU without its real-time priority: with it, it can keep the kernel's RCU from that core, and the board hangs.
    """
    on_board(
        BOARD,
        "for irq in /proc/irq/[0-9]*; do echo 1 >$irq/smp_affinity_list && break; done 2>/dev/null; "
        "echo 950000 >/proc/sys/kernel/sched_rt_runtime_us; "
        "read -r _ vcpu </run/rtvirt/guest.vcpus; chrt -o -p 0 $vcpu && taskset -c -p 0 $vcpu >/dev/null",
    )


def test_what_is_broken_by_hand_is_named_and_repaired_without_a_reboot(full: tuple[str, str]) -> None:
    break_it()
    found = inspect()
    assert found.returncode == 1, found.stdout
    for setting in ("irqs", "rt_throttling", "vcpu_threads"):
        assert re.search(rf"{setting}.*differs", found.stdout), found.stdout
    converge("full")
    assert inspect().returncode == 0
    assert (boots(), qemu_pid()) == full


def test_a_cell_is_refused_on_a_board_that_is_not_as_wanted(full: tuple[str, str], tmp_path: Path) -> None:
    break_it()
    given = {"root": str(collection.ROOT), "results": str(tmp_path), "rtvirt_scripts": str(collection.ROOT / "roles")}
    run(HERE / "cell.yml", "-e", FULL, "-e", json.dumps(given))
    (record,) = ResultsTree(tmp_path).load_records("broken")
    assert record.status.status == "failed"
    assert "rt_throttling: /proc/sys/kernel/sched_rt_runtime_us is '950000', expected '-1'" in record.status.reason
    assert re.search(r"irqs: /proc/irq/\d+/smp_affinity_list is '1', expected '0'", record.status.reason)
    assert "vcpu_threads: thread CPU 0/KVM" in record.status.reason
    assert inspect().returncode == 0  # set right again for the next cell
    assert (boots(), qemu_pid()) == full
