"""A 32-bit guest under KVM on a 64-bit board, made of what a Cubieboard 2's guest is made of, beside a 64-bit one."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from playing import MAKING_LIMIT_S, PLAYBOOKS, play

from rtvirt_runner.analysis.measurement import read_measurement
from rtvirt_runner.catalogue import collection
from rtvirt_runner.catalogue.kernels import load_kernels
from rtvirt_runner.matrix.results import Record, ResultsTree

pytestmark = [
    pytest.mark.slow(
        exercises=["roles/guest", "roles/guest_image", "rtvirt_runner/catalogue/guests.py", "playbooks/vars/guests.yml"]
    ),
    pytest.mark.asserts_on("booting", "convergence", "answers"),
    pytest.mark.xdist_group("guest armhf"),
]
BOARD = "virtual-a20"  # of its own: other tests use the lab's meanwhile
LAB = {
    "boards": {"children": {"virtual_boards": {"hosts": {BOARD: {"rtvirt_board_cpus": 2, "guest_gic": "in_kernel"}}}}},
    "guests": {"hosts": {f"{BOARD}-guest": {"rtvirt_guest_board": BOARD}}},
}
GUESTS = {"minimal-armhf": "armv7l", "minimal": "aarch64"}
WORKLOADS = ["idle", "bitcount"]
LOOPS = 3000
MATRIX = {
    "name": "armhf",
    "title": "A 32-bit guest",
    "cyclictest": {"loops": LOOPS, "interval_us": 1000, "priority": 95, "histogram_us": 20000},
    "splits": {"1-1": {"host_cpus": "0", "guest_cpus": "1"}},
    "experiments": {
        "armhf": {
            "title": "Guests of 32 and of 64 bits",
            "views": ["slowdown", "histograms"],
            "axes": {
                "board": [BOARD],
                "kernel": ["linux-6.12-rt"],
                "tuning": ["paper"],
                "split": ["1-1"],
                "place": ["host", "guest"],
                "guest": list(GUESTS),
                "workload": WORKLOADS,
            },
        }
    },
}


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The matrix, measured as a user would."""
    folder = tmp_path_factory.mktemp("armhf")
    (folder / "lab").mkdir()
    (folder / "lab" / "hosts.yml").write_text(yaml.safe_dump(LAB))
    (folder / "lab" / "group_vars").symlink_to(collection.VIRTUAL_LAB / "group_vars")
    (folder / "armhf.yml").write_text(yaml.safe_dump({"matrix": MATRIX}))
    given = {"rtvirt_matrix": str(folder / "armhf.yml"), "rtvirt_results_dir": str(folder / "results")}
    options = ("-i", str(folder / "lab"), "-e", json.dumps(given))
    said = play(PLAYBOOKS / "full_matrix.yml", *options, limit_s=MAKING_LIMIT_S)
    assert "status 0" in said, said
    return folder / "results"


@pytest.fixture(scope="module")
def records(results: Path) -> dict[tuple[str, str], Record]:
    """What is stored, by guest (``none`` on the host) and workload."""
    return {(each.cell.guest, each.cell.workload): each for each in ResultsTree(results).load_records("armhf")}


@pytest.mark.parametrize("workload", WORKLOADS)
@pytest.mark.parametrize("guest", ["none", *GUESTS])
def test_every_cell_has_its_latencies(records: dict[tuple[str, str], Record], guest: str, workload: str) -> None:
    measured = read_measurement(records[guest, workload])
    assert measured.reason == ""
    assert measured.histogram is not None
    assert measured.histogram.samples == LOOPS
    assert not measured.guest_uses_tcg


@pytest.mark.parametrize("workload", WORKLOADS)
@pytest.mark.parametrize(("guest", "machine"), GUESTS.items())
def test_a_guest_has_as_many_bits_as_was_asked_for_and_is_preempt_rt(
    records: dict[tuple[str, str], Record], guest: str, machine: str, workload: str
) -> None:
    record = records[guest, workload]
    inside, shows = record.system["guest"], load_kernels(collection.VARS / "kernels.yml")
    assert record.system["board"]["machine"] == "aarch64"
    assert inside["machine"] == machine
    assert re.search(shows[record.cell.guest_state.kernel].expects.release, inside["uname_r"])
    assert inside["realtime"] is ("PREEMPT_RT" in inside["uname_v"]) is True


@pytest.mark.parametrize("workload", WORKLOADS)
@pytest.mark.parametrize("guest", GUESTS)
def test_kvm_runs_it_where_the_tuning_says(records: dict[tuple[str, str], Record], guest: str, workload: str) -> None:
    board: dict[str, Any] = records[guest, workload].system["board"]
    argv = board["qemu_argv"]
    assert argv[argv.index("-accel") + 1] == "kvm"
    assert argv[argv.index("-cpu") + 1] == ("host,aarch64=off" if guest == "minimal-armhf" else "host")
    assert board["kvm_held_by_qemu"] == "yes"
    assert board["kvm_exits"] > 0
    assert "KVM: hypervisor services detected" in records[guest, workload].system["guest"]["kvm_in_dmesg"]
    (vcpu,) = board["vcpu_threads"]
    assert (vcpu["name"], vcpu["cpus"], vcpu["policy"], vcpu["priority"]) == ("CPU 0/KVM", "1", "rr", 99)


def test_programs_of_32_bits_give_the_answer_of_64(records: dict[tuple[str, str], Record]) -> None:
    runs = {guest: read_measurement(records[guest, "bitcount"]).workload for guest in ("none", *GUESTS)}
    assert all(run and run.digest and run.seconds_per_iteration for run in runs.values())
    assert len({run.digest for run in runs.values() if run}) == 1


def test_the_page_compares_both_with_the_host(results: Path) -> None:
    with (results / "armhf" / "report" / "cells.csv").open() as table:
        rows = [row for row in csv.DictReader(table) if row["workload"] == "bitcount" and row["place"] == "guest"]
    assert {row["guest"] for row in rows} == set(GUESTS)
    assert all(float(row["slowdown"]) > 0 and row["clock"] == "virtual" for row in rows)
    page = (results / "armhf" / "report" / "index.html").read_text()
    assert page.count(f"{BOARD}: guest minimal-armhf is of another architecture than the board") == 1
