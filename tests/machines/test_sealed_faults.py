"""What a sealed machine does when its cells, its guest, QEMU, the run or the disk fail: only what is whole is done."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from playing import LIMIT_S, PLAYBOOKS, SCRIPTS, count_boot, owned, run

from rtvirt_runner.build.artifacts import cache_folder
from rtvirt_runner.catalogue import collection
from rtvirt_runner.matrix.results import Record, ResultsTree

pytestmark = [
    pytest.mark.slow(
        exercises=[
            "roles/sealed_board",
            "playbooks/sealed.yml",
            "playbooks/tasks/sealed_start.yml",
            "playbooks/tasks/sealed_record.yml",
            "plugins/action/sealed_machine.py",
            "plugins/action/measure_cell.py",
            "rtvirt_runner/machine/sealed_machine.py",
            "rtvirt_runner/machine/sealed_queue.py",
        ]
    ),
    pytest.mark.asserts_on("booting", "answers"),
    pytest.mark.xdist_group("virtual lab"),  # its boards' folders
]
BOARD = "virtual-cb2"
MACHINE = cache_folder() / "boards" / BOARD / "sealed-1"
MATRIX = """\
matrix:
  name: faults
  title: Cells that fail
  cyclictest: {{loops: 1000, interval_us: 1000, priority: 95, histogram_us: 20000}}
  splits:
    1-1: {{host_cpus: '0', guest_cpus: '1'}}
  experiments:
    faults:
      axes:
        board: [virtual-cb2]
        kernel: [linux-6.12-rt]
        tuning: [paper]
        split: [1-1]
        place: [{places}]
        guest: [minimal]
        workload: [{workloads}]
"""
PANICS = """\
#define _POSIX_C_SOURCE 200809L
#include <stdio.h>
#include <time.h>

int main(void)
{
    const struct timespec a_while = {0, 200000000};
    FILE *trigger = fopen("/proc/sysrq-trigger", "w");
    nanosleep(&a_while, NULL);
    return trigger == NULL || fputs("c", trigger) == EOF || fclose(trigger) != 0;
}
"""


class Lab:
    """A matrix in a folder, and runs of it on sealed machines."""

    def __init__(self, folder: Path, places: str, workloads: str) -> None:
        self.folder = folder
        self.tree = ResultsTree(folder / "results")
        (folder / "faults.yml").write_text(MATRIX.format(places=places, workloads=workloads))
        (folder / "panics.c").write_text(PANICS)

    def command(self, **given: object) -> list[str | Path]:
        """The command line of a run, with extra variables."""
        own = {"panics": {"title": "a kernel panic", "sources": ["panics.c"], "command": "rtvirt-panics"}}
        given |= {
            "rtvirt_lab_workloads": own,
            "workloads_sources_dir": str(self.folder),
            "rtvirt_matrix": str(self.folder / "faults.yml"),
            "rtvirt_results_dir": str(self.tree.root),
        }
        playbook = [SCRIPTS / "ansible-playbook", PLAYBOOKS / "full_matrix.yml", "-i", collection.VIRTUAL_LAB]
        return [*playbook, "-l", f"{BOARD},localhost", "-e", json.dumps(given)]

    def start(self, **given: object) -> subprocess.Popen[bytes]:
        """Start a run in a process group of its own."""
        count_boot("sealed")
        environment = {name: value for name, value in owned().items() if name != "RTVIRT_OWNER_PID"}
        with (self.folder / "said.log").open("wb") as log:
            return subprocess.Popen(
                self.command(**given),
                cwd=collection.ROOT,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def records(self) -> dict[tuple[str, str], Record]:
        """The records by place and workload."""
        return {(each.cell.place, each.cell.workload): each for each in self.tree.load_records("faults")}

    def reasons(self) -> dict[tuple[str, str], str]:
        """Why each cell failed, '' if it is done."""
        return {key: record.status.reason for key, record in self.records().items()}


def until(condition: Callable[[], bool], what: str) -> None:
    """Wait for a condition."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < LIMIT_S, f"waited in vain for {what}"
        time.sleep(0.1)


def test_a_kernel_panic_on_host_or_guest_costs_its_cell_alone(tmp_path: Path) -> None:
    lab = Lab(tmp_path, "host, guest", "idle, panics, bitcount")
    count_boot("sealed")
    said = run(lab.command())
    assert "status 2" in said, said
    reasons = lab.reasons()
    assert {key for key, reason in reasons.items() if not reason} == {
        (place, workload) for place in ("host", "guest") for workload in ("idle", "bitcount")
    }, reasons
    assert "The machine ended in the middle of the cell" in reasons["host", "panics"]
    assert "sysrq triggered crash" in reasons["host", "panics"]
    assert "The guest was gone in the middle of the cell" in reasons["guest", "panics"]
    keys = {each: record.system["sealed"]["key"] for each, record in lab.records().items()}
    assert keys["host", "bitcount"] != keys["host", "idle"]
    assert keys["guest", "bitcount"] == keys["guest", "idle"]


def test_a_machine_that_hangs_costs_its_cell_and_a_killed_run_is_finished_by_the_next(tmp_path: Path) -> None:
    lab = Lab(tmp_path, "host", "idle, bitcount, ecu")
    hanging = lab.start(rtvirt_cell_slack_s=10)
    until(lambda: len(lab.records()) == 1, "the first cell")
    os.kill(int((MACHINE / "pid").read_text()), signal.SIGSTOP)
    assert hanging.wait(LIMIT_S) == 2, (tmp_path / "said.log").read_text()
    reasons = lab.reasons()
    failed = [key for key, reason in reasons.items() if reason]
    assert len(failed) == 1 and len(reasons) == 3, reasons
    assert "The machine said nothing for" in reasons[failed[0]]
    done = {record.path: (record.path / "status.json").read_bytes() for key, record in lab.records().items()}

    (MACHINE / "console.log").unlink()
    killed = lab.start()
    until((MACHINE / "console.log").exists, "the machine to start")
    os.killpg(killed.pid, signal.SIGKILL)
    killed.wait()
    until(lambda: not (MACHINE / "pid").exists(), "the machine to end after its run")
    assert lab.reasons() == reasons

    assert lab.start().wait(LIMIT_S) == 0, (tmp_path / "said.log").read_text()
    assert set(lab.reasons().values()) == {""}
    for path, status in done.items():
        if path != lab.records()[failed[0]].path:
            assert (path / "status.json").read_bytes() == status


def test_a_second_run_measures_nothing_and_leaves_the_machine_of_the_first_alone(tmp_path: Path) -> None:
    (tmp_path / "first").mkdir()
    (tmp_path / "second").mkdir()
    lab, other = Lab(tmp_path / "first", "host", "idle, bitcount"), Lab(tmp_path / "second", "host", "idle")
    (MACHINE / "console.log").unlink(missing_ok=True)
    first = lab.start()
    until((MACHINE / "console.log").exists, "the machine to start")
    assert other.start().wait(LIMIT_S) == 2, (other.folder / "said.log").read_text()
    said = " ".join((other.folder / "said.log").read_text().split())
    assert f"sealed is in use by run {first.pid}; wait for it with" in said and not other.reasons()
    assert first.wait(LIMIT_S) == 0, (lab.folder / "said.log").read_text()
    assert set(lab.reasons().values()) == {""}


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk takes root")
def test_a_full_disk_costs_the_cells_whose_machine_has_no_room(tmp_path: Path) -> None:
    lab = Lab(tmp_path, "host", "idle")
    small = tmp_path / "small"
    small.mkdir()
    command = shlex.join(map(str, lab.command(rtvirt_sealed_folder=str(small / "sealed-1"))))
    mounted = f"mount -t tmpfs -o size=8m none {shlex.quote(str(small))} && exec {command}"
    said = run(["unshare", "--mount", "sh", "-c", mounted])
    assert "status 2" in said, said
    (reason,) = lab.reasons().values()
    assert "The machine's initramfs could not be written" in reason
    assert "No space left on device" in reason
