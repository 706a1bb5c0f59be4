"""Guests that fail, on an emulated board: each costs its cell, says why, and comes back; the matrix goes on."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from playing import BENCH, PLAYBOOKS, on_board, play, ssh

from rtvirt_runner.matrix.results import Record, ResultsTree

BOARD = "bench-b"
pytestmark = [
    pytest.mark.slow(
        exercises=[
            "roles/guest",
            "roles/guest_image",
            "playbooks/tasks",
            "plugins/action/measure_cell.py",
            "rtvirt_runner/machine/script_reply.py",
        ]
    ),
    pytest.mark.board(BOARD, kernel="linux-6.12-rt"),
    pytest.mark.asserts_on("answers"),
    pytest.mark.xdist_group("bench-b"),
]
HERE = Path(__file__).parent / "failing_guests"
LIMIT_S = 1800  # guests that stand still are waited for by the clock of a board that may have others beside it
MATRIX = """\
matrix:
  name: failing
  title: Guests that fail
  cyclictest: {loops: 8000, interval_us: 1000, priority: 95, histogram_us: 20000}
  splits:
    1-1: {host_cpus: '0', guest_cpus: '1'}
  experiments:
    failing:
      title: What happens when a guest fails
      axes:
        board: [bench-b]
        kernel: [linux-6.12-rt]
        tuning: [none]
        split: [1-1]
        place: [guest]
        guest: [minimal]
        workload: [idle, bitcount, host-load]
      include:
        - {board: bench-b, kernel: linux-6.12-rt, tuning: none, split: 1-1, place: host, workload: idle}
        - board: bench-b
          kernel: linux-6.12-rt
          tuning: none
          split: 1-1
          place: guest
          guest: debian
          workload: idle
"""


class Lab:
    """One board, one matrix, one folder of results."""

    def __init__(self, folder: Path) -> None:
        self.matrix = folder / "failing.yml"
        self.matrix.write_text(MATRIX)
        self.results = folder / "results"

    def measure(self, **given: Any) -> str:
        """The whole matrix, as a user would call it. Returns what Ansible said."""
        settings: dict[str, Any] = {"rtvirt_matrix": str(self.matrix), "rtvirt_results_dir": str(self.results)}
        # The board stays up for the next test; a guest that stands still need not be waited for as long as usual.
        settings |= {"rtvirt_keep_boards": True, "rtvirt_cell_slack_s": 60, **given}
        return play(PLAYBOOKS / "full_matrix.yml", *BENCH, "-e", json.dumps(settings), limit_s=LIMIT_S)

    def records(self) -> dict[str, Record]:
        """What is stored, by guest and workload."""
        found = ResultsTree(self.results).load_records("failing")
        return {f"{record.cell.guest} {record.cell.workload}": record for record in found}

    def reasons(self) -> dict[str, str]:
        """Of each cell why it failed, nothing for one that is done."""
        return {name: record.status.reason for name, record in self.records().items()}

    def order(self, guest: str) -> list[str]:
        """The workloads of a guest's cells, in the order in which they were measured."""
        found = [record for record in self.records().values() if record.cell.guest == guest]
        return [record.cell.workload for record in sorted(found, key=lambda record: record.status.started_at)]


@pytest.fixture(scope="module")
def lab(board: str, tmp_path_factory: pytest.TempPathFactory) -> Lab:
    return Lab(tmp_path_factory.mktemp("failing"))


def test_a_guest_that_does_not_boot_costs_its_cells_alone(lab: Lab) -> None:
    said = lab.measure(guest_kernel_params=["rdinit=/nonexistent"])
    assert "status 2" in said, said
    reasons = lab.reasons()
    assert reasons.pop("none idle") == "", said
    assert len(reasons) == 4
    for reason in reasons.values():
        assert "The guest ended before it was ready: " in reason
        assert "Kernel panic - not syncing: " in reason
    assert on_board(BOARD, "systemctl is-active rtvirt-guest || :").strip() == "inactive"


def test_a_killed_guest_a_dead_vcpu_and_a_full_disk_cost_a_cell_each(lab: Lab, tmp_path: Path) -> None:
    program = tmp_path / "end_thread"
    subprocess.run(["aarch64-linux-gnu-gcc", "-static", "-o", program, HERE / "end_thread.c"], check=True)
    on_board(BOARD, "cat >/run/end_thread && chmod 755 /run/end_thread", program.read_bytes())
    breaker = subprocess.Popen(
        ssh(BOARD, "END_THREAD=/run/end_thread sh -s"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert breaker.stdin
    breaker.stdin.write((HERE / "break_guests.sh").read_bytes())
    breaker.stdin.close()
    breaker.stdin = None
    said = lab.measure()
    assert "status 2" in said, said
    did = breaker.communicate(timeout=60)[0].decode()
    assert [line.split()[0] for line in did.splitlines()] == ["killed", "ended", "filled"], did
    reasons = lab.reasons()
    first, second, third = (reasons.pop(f"minimal {workload}") for workload in lab.order("minimal"))
    gone = "The guest was gone in the middle of the cell: "
    assert first.startswith(gone), said
    # A board with nothing else to do runs ahead, to where it gives up the connection to a guest that stands still.
    assert second.startswith((gone, "The cell did not end within 120 s")), said
    assert third == "", said  # the guest has come back, twice
    assert "There is no room for /var/lib/rtvirt/guest.img" in reasons.pop("debian idle"), said
    assert reasons == {"none idle": ""}


def test_the_next_run_measures_just_what_failed(lab: Lab) -> None:
    on_board(BOARD, "rm /filler")
    said = lab.measure()
    assert "status 0" in said, said
    assert set(lab.reasons().values()) == {""}
