"""Neighbours: their entries, what a cell beside one asks for, and in which order such cells are measured."""

from __future__ import annotations

import copy
import csv
import dataclasses
import json
import os
import signal
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from fakes import VARS, catalogue, cyclictest_json, done, measure, system, virtual_lab

from rtvirt_runner.analysis.comparisons import neighbours, points
from rtvirt_runner.analysis.contrasts import contrasts_of_view, judge_contrasts
from rtvirt_runner.analysis.measurement import Measurement, read_measurement
from rtvirt_runner.catalogue.checked_yaml import InputError
from rtvirt_runner.catalogue.cpus import Split
from rtvirt_runner.catalogue.neighbours import load_neighbours
from rtvirt_runner.machine import guest_script
from rtvirt_runner.machine.scripts import script_text
from rtvirt_runner.machine.sealed_queue import GuestFiles, make_queue
from rtvirt_runner.machine.state_changes import board_changes
from rtvirt_runner.machine.verify_state import board_differences
from rtvirt_runner.matrix.cell import Cell
from rtvirt_runner.matrix.load import Matrix, load_matrix, read_matrix, state_cell
from rtvirt_runner.matrix.plan import plan
from rtvirt_runner.matrix.results import Record, ResultsTree
from rtvirt_runner.report.experiment_sections import blocks, cautions
from rtvirt_runner.report.page import write_report

BESIDE: dict[str, Any] = {
    "matrix": {
        "name": "beside",
        "cyclictest": {"loops": 5000, "interval_us": 1000, "priority": 95, "histogram_us": 20000},
        "splits": {"1-1": {"host_cpus": "0", "guest_cpus": "1"}},
        "experiments": {
            "neighbour": {
                "views": ["neighbour"],
                "axes": {
                    "board": ["virtual-cb2"],
                    "kernel": ["linux-6.12-rt"],
                    "tuning": ["none", "paper"],
                    "split": ["1-1"],
                    "place": ["guest"],
                    "guest": ["minimal"],
                    "workload": ["idle"],
                    "neighbour": ["none", "quiet", "loud"],
                },
            }
        },
    }
}


def beside(**axes: Any) -> Matrix:
    document = copy.deepcopy(BESIDE)
    document["matrix"]["experiments"]["neighbour"]["axes"] |= axes
    return read_matrix(document, Path("beside.yml"), virtual_lab(), catalogue())


def cell_beside(name: str, **axes: Any) -> Cell:
    (cell,) = beside(**{"tuning": ["paper"], **axes, "neighbour": [name]}).cells
    return cell


# ---------------------------------------------------------------------------------------------------------- entries


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({}, "neighbours.mine is empty"),
        ({"core": "host"}, r"unknown key 'core'.*did you mean 'cores'\?"),
        ({"vcpus": 1}, "cores: unknown cores missing"),
        ({"cores": "hosts"}, r"unknown cores 'hosts', expected one of host, guest; did you mean 'host'\?"),
        ({"cores": "host", "load": "bitcount"}, "load is 'bitcount', expected a list of workloads"),
        ({"cores": "host", "load": ["bitcuont"]}, r"unknown workload 'bitcuont'.*did you mean 'bitcount'\?"),
        ({"cores": "host", "load": ["bitcount", "bitcount"]}, "load names 'bitcount' twice"),
        ({"cores": "host", "load": ["idle"]}, "workload 'idle' has no command"),
        ({"cores": "host", "load": ["host-load"]}, "workload 'host-load' has no command"),
        (
            {"cores": "host", "load": ["sysbench-fileio"]},
            "'sysbench-fileio' writes to a disk and the neighbour has none",
        ),
        ({"cores": "host", "vcpus": 0}, "vcpus is 0, expected a whole number from 1"),
        ({"cores": "host", "memory_mib": 8}, "memory_mib is 8, expected a whole number from 32"),
        ({"cores": "host", "gic": "hardware"}, "unknown GIC 'hardware'"),
        ({"cores": "host", "kernel": "linux-1"}, "unknown kernel 'linux-1'"),
        ({"cores": "host", "title": 1}, "title is 1, expected text"),
    ],
)
def test_a_wrong_neighbour_is_refused(body: Any, says: str, tmp_path: Path) -> None:
    path = tmp_path / "neighbours.yml"
    path.write_text(yaml.safe_dump({"neighbours": {"mine": body}}), encoding="utf-8")
    with pytest.raises(InputError, match=says) as refusal:
        load_neighbours(path, catalogue().kernels, catalogue().workloads)
    assert str(refusal.value).startswith(f"{path}: neighbours.mine") and "\n" not in str(refusal.value)


def test_no_neighbour_can_be_called_none(tmp_path: Path) -> None:
    path = tmp_path / "neighbours.yml"
    path.write_text("neighbours: {none: {cores: host}}\n", encoding="utf-8")
    with pytest.raises(InputError, match="'none' means that no neighbour runs"):
        load_neighbours(path, catalogue().kernels, catalogue().workloads)


# ------------------------------------------------------------------------------------------------------------- cells


def test_a_neighbour_is_in_the_name_of_its_cells_and_none_is_not() -> None:
    names = {cell.neighbour: cell.axes for cell in beside(tuning=["paper"]).cells}
    alone = "virtual-cb2_linux-6.12-rt_paper_1-1_guest_minimal_idle"
    assert names == {"none": f"{alone}_r1", "quiet": f"{alone}_quiet_r1", "loud": f"{alone}_loud_r1"}


def test_a_matrix_without_the_axis_has_the_same_cells_as_with_none() -> None:
    document = copy.deepcopy(BESIDE)
    del document["matrix"]["experiments"]["neighbour"]["axes"]["neighbour"]
    without = read_matrix(document, Path("beside.yml"), virtual_lab(), catalogue())
    assert [cell.id for cell in without.cells] == [cell.id for cell in beside(neighbour=["none"]).cells]
    assert all("neighbour" not in cell.as_dict() and "neighbour_state" not in cell.as_dict() for cell in without.cells)


def test_a_cell_beside_a_neighbour_survives_json() -> None:
    for cell in beside().cells:
        assert Cell.from_dict(json.loads(json.dumps(cell.as_dict()))) == cell


def test_a_neighbour_is_an_ordinary_guest_on_the_hosts_cores_whatever_the_tuning() -> None:
    states = [cell_beside("loud", tuning=[tuning]).neighbour_state for tuning in ("none", "paper", "full")]
    assert states[0] and states[0] == states[1] == states[2]
    guest = states[0].guest
    assert guest.placement == {"mode": "process", "cpus": "0", "policy": "other", "priority": 0}
    assert (guest.vcpus, guest.kernel, guest.memory_lock, guest.huge_pages) == (1, "linux-6.12-rt", False, False)
    assert {program.cpus for program in states[0].load.values()} == {"0"}
    assert list(states[0].load) == ["bitcount", "filewrite", "sysbench-fileio", "loopback"]


def test_a_neighbour_that_shares_has_its_vcpus_on_the_guests_cores() -> None:
    state = cell_beside("loud-shared").neighbour_state
    assert state
    wanted = {"mode": "threads", "cpus": "1", "others_cpus": "0", "policy": "other", "priority": 0}
    assert state.guest.placement == wanted


def test_the_host_may_be_measured_beside_a_neighbour_too() -> None:
    cell = cell_beside("quiet", place=["host"])
    assert cell.guest_state is None and cell.neighbour_state


@pytest.mark.parametrize(
    ("axes", "says"),
    [
        ({"neighbour": ["laud"]}, r"axes.neighbour: unknown neighbour 'laud'.*did you mean 'loud'\?"),
        ({"neighbour": []}, "axes.neighbour is empty"),
        ({"neighbours": ["loud"]}, r"unknown key 'neighbours'.*did you mean 'neighbour'\?"),
        ({"neighbour": ["loud", "loud"]}, "names 'loud' twice"),
        (
            {"neighbour": ["loud-shared"], "tuning": ["full"]},
            "would never run, expected a neighbour on the host's cores",
        ),
    ],
)
def test_what_cannot_be_measured_beside_a_neighbour_is_refused(axes: Any, says: str) -> None:
    with pytest.raises(InputError, match=says) as refusal:
        beside(**axes)
    assert "\n" not in str(refusal.value)


def test_a_neighbour_with_more_vcpus_than_cores_to_share_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "neighbours.yml"
    path.write_text("neighbours: {wide: {cores: guest, vcpus: 2}}\n", encoding="utf-8")
    known = catalogue()
    (wide,) = load_neighbours(path, known.kernels, known.workloads).values()
    cell = cell_beside("quiet")
    with pytest.raises(InputError, match=r"neighbour 'wide' has 2 vCPUs.* gives the guest 1, expected as many or more"):
        wide.state(Split((0,), (1,)), known.workloads, cell.kernel, "in_kernel", known.kernels, "here")


def test_a_state_may_have_a_neighbour() -> None:
    state = {"kernel": "linux-6.12-rt", "tuning": "paper", "host_cpus": "0", "guest_cpus": "1", "guest": "minimal"}
    cell = state_cell({**state, "neighbour": "quiet"}, "virtual-cb2", virtual_lab(), catalogue())
    assert cell.neighbour == "quiet" and cell.neighbour_state
    with pytest.raises(InputError, match="unknown neighbour 'quite'"):
        state_cell({**state, "neighbour": "quite"}, "virtual-cb2", virtual_lab(), catalogue())


# ------------------------------------------------------------------------------------------------------------- order


def test_cells_beside_a_neighbour_come_last_in_their_boot_and_the_guest_goes_on() -> None:
    for boot in plan(beside().cells):
        assert [group.neighbour.name if group.neighbour else "" for group in boot.guests] == ["", "quiet", "loud"]
        assert len({str(group.state) for group in boot.guests}) == 1


def test_the_image_of_a_neighbour_is_one_to_build() -> None:
    (boot,) = plan([cell_beside("quiet", place=["host"])])
    (group,) = boot.as_dict()["guests"]
    assert group["images"] == [{"kernel": "linux-6.12-rt", "flavour": "minimal"}]
    assert group["neighbour"]["guest"]["vcpus"] == 1


def test_smoke_has_a_quiet_and_a_loud_neighbour_under_each_tuning() -> None:
    matrix = load_matrix(VARS / "matrix_smoke.yml", virtual_lab(), catalogue())
    (cells,) = (each.cells for each in matrix.experiments if each.name == "neighbour")
    assert {(cell.tuning, cell.neighbour) for cell in cells} == {
        (tuning, neighbour) for tuning in ("none", "paper", "full") for neighbour in ("none", "quiet", "loud")
    }


# ---------------------------------------------------------------------------------------------- read back and judged


def thread(tid: int, name: str, cpus: str = "0", policy: str = "other", ticks: int = 100) -> dict[str, Any]:
    return {"tid": tid, "name": name, "cpus": cpus, "policy": policy, "priority": 0, "ticks": ticks}


def facts(**more: Any) -> dict[str, Any]:
    """What a board says of the neighbour ``loud``."""
    return {
        "neighbour_running": "yes",
        "neighbour_load": "runs bitcount filewrite sysbench-fileio loopback",
        "neighbour_vcpu_threads": [thread(11, "CPU 0/KVM")],
        "neighbour_qemu_threads": [thread(10, "qemu-system-aar")],
        **more,
    }


def differences(cell: Cell, board: Mapping[str, Any]) -> list[str]:
    return [each for each in board_differences(cell, {}, board) if "neighbour" in each]


def test_a_neighbour_in_its_state_has_no_difference() -> None:
    assert differences(cell_beside("loud"), facts()) == []
    assert differences(cell_beside("quiet"), facts(neighbour_load="runs nothing")) == []


@pytest.mark.parametrize(
    ("board", "says"),
    [
        ({}, "the neighbour loud is not running: it said nothing"),
        (
            {"neighbour_running": "no", "neighbour_end": "Kernel panic - not syncing: Out of memory"},
            "the neighbour loud is not running: Kernel panic - not syncing: Out of memory",
        ),
        (facts(neighbour_load=""), "the load of the neighbour loud is not running: it said nothing"),
        (
            facts(neighbour_load="ended: filewrite: it ended with status 1: No space left"),
            "the load of the neighbour loud is not running: filewrite: it ended with status 1: No space left",
        ),
        (facts(neighbour_load="runs nothing"), "the load of the neighbour loud is not running: runs nothing"),
        (facts(neighbour_vcpu_threads=[]), "the neighbour has 0 vCPU threads, expected 1"),
        (
            facts(neighbour_vcpu_threads=[thread(11, "CPU 0/KVM", cpus="0-1")]),
            "neighbour, qemu_process: thread CPU 0/KVM (11) is 'other 0 on 0-1', expected 'other 0 on 0'",
        ),
        (
            facts(neighbour_qemu_threads=[thread(10, "qemu", policy="fifo")]),
            "neighbour, qemu_process: thread qemu (10) is 'fifo 0 on 0', expected 'other 0 on 0'",
        ),
    ],
)
def test_a_neighbour_that_is_not_as_wanted_is_told(board: dict[str, Any], says: str) -> None:
    assert says in differences(cell_beside("loud"), board)


def test_a_neighbour_where_none_is_wanted_is_told() -> None:
    assert differences(cell_beside("none"), facts()) == ["a neighbour is running, expected none"]
    assert differences(cell_beside("none"), {}) == []


@pytest.mark.parametrize(
    ("after", "says"),
    [
        (facts(neighbour_vcpu_threads=[thread(11, "CPU 0/KVM", ticks=150)]), ""),
        (facts(), "the load of the neighbour got no time on its cores"),
        (
            facts(neighbour_vcpu_threads=[thread(12, "CPU 0/KVM")]),
            "the neighbour was started again: its vCPU threads are others",
        ),
        ({"neighbour_running": "no", "neighbour_end": "bye"}, "the neighbour loud is not running: bye"),
    ],
)
def test_what_became_of_a_neighbour_during_a_cell_is_told(after: dict[str, Any], says: str) -> None:
    found = [each for each in board_changes(cell_beside("loud"), {}, facts(), after).failures if "neighbour" in each]
    assert found == ([says] if says else [])


# ----------------------------------------------------------------------------------------------------------- scripts


@pytest.mark.parametrize(
    ("console", "said"),
    [
        ("", ""),
        ("guest: ready\r\nneighbour: runs bitcount\r\n", "runs bitcount"),
        (
            "neighbour: ended: filewrite: it ended\r\nneighbour: runs bitcount filewrite\r\n",
            "ended: filewrite: it ended",
        ),
    ],
)
def test_what_a_neighbour_says_is_found_on_its_console(console: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "guest.console").write_text(console, newline="")
    text = f"{script_text('neighbour_state')}\nrun={tmp_path}\nneighbour_said"
    prelude = 'fact() { echo "$@"; }\n'
    ended = subprocess.run(["sh"], input=prelude + text, capture_output=True, text=True, check=True)
    assert ended.stdout.splitlines()[-1:] == [said]


def run_load(programs: Mapping[str, Mapping[str, Any]], folder: Path, until: str) -> str:
    """Run the script of a load here until it has said something on its console; returns all that it said."""
    text = guest_script.neighbour_load(programs).replace(">/dev/console", f">>{folder}/console")
    text = text.replace("/tmp/load.", f"{folder}/load.").replace("/tmp/begun.", f"{folder}/begun.")
    (folder / "console").touch()
    job = subprocess.Popen(["sh"], stdin=subprocess.PIPE, text=True, start_new_session=True)
    assert job.stdin
    with job.stdin as stream:
        stream.write(text)
    try:
        for _ in range(300):
            if until in (said := (folder / "console").read_text()):
                return said
            time.sleep(0.1)
        raise AssertionError(said)
    finally:
        os.killpg(job.pid, signal.SIGKILL)
        job.wait()


def test_a_load_runs_all_its_programs_at_the_same_time(tmp_path: Path) -> None:
    programs = {
        "one": {"command": f"sh -c 'echo $$ >{tmp_path}/one; exec sleep 1000'"},
        "again": {"command": f"sh -c 'echo again >>{tmp_path}/again; sleep 0.2'", "repeat": True},
    }
    assert run_load(programs, tmp_path, "runs") == "neighbour: runs one again\n"
    assert (tmp_path / "one").read_text() and (tmp_path / "again").read_text()


def test_a_load_that_ends_says_so(tmp_path: Path) -> None:
    said = run_load({"one": {"command": "sh -c 'echo no room >&2; exit 3'"}}, tmp_path, "ended")
    assert "neighbour: ended: one: it ended with status 3: no room" in said


def test_a_load_whose_program_is_missing_says_so(tmp_path: Path) -> None:
    said = run_load({"one": {"command": "rtvirt-missing --forever"}}, tmp_path, "ended")
    assert said.startswith("neighbour: ended: one: There is no program 'rtvirt-missing' on this machine")


def test_a_neighbour_without_a_load_is_idle(tmp_path: Path) -> None:
    assert run_load({}, tmp_path, "runs") == "neighbour: runs nothing\n"


def test_a_load_without_a_command_is_refused() -> None:
    with pytest.raises(InputError, match="The load 'mine' of a neighbour has no command"):
        guest_script.neighbour_load({"mine": {"repeat": True}})


def test_a_sealed_machine_starts_a_neighbour_after_the_guest(tmp_path: Path) -> None:
    for name, text in (("release", "6.12"), ("architecture", "arm64"), ("initrd.img", ""), ("vmlinuz", "")):
        (tmp_path / name).write_text(text)
    cells = beside(tuning=["none"]).cells
    (boot,) = plan(cells)
    queue = make_queue(boot, [cell.id for cell in cells], {("linux-6.12-rt", "minimal"): GuestFiles(tmp_path)})
    steps = [[queue.steps[name] for name in queue.cells[cell.id].setup] for cell in cells]
    assert [len(each) for each in steps] == [2, 3, 3]
    assert "NAME=sealed-neighbour" in steps[1][2] and "PROGRAMS=0" in steps[1][2]
    assert "rtvirt-bitcount --forever" in steps[2][2]
    read = [queue.steps[queue.cells[cell.id].state] for cell in cells]
    assert ["neighbour_running" in each for each in read] == [False, True, True]


# -------------------------------------------------------------------------------------------------------------- page


def measured(cell: Cell, late_us: int, folder: Path) -> Measurement:
    """99 wake-ups at 40 us and one later."""
    cell = dataclasses.replace(cell, loops=100)
    (folder / cell.id).mkdir()
    (folder / cell.id / "cyclictest.json").write_text(cyclictest_json({40: 99, late_us: 1}), encoding="utf-8")
    return read_measurement(Record(folder / cell.id, cell, done(), system(cell)))


def test_each_neighbour_is_held_against_none_with_the_same_tuning(tmp_path: Path) -> None:
    those = [measured(cell, 100 + number, tmp_path) for number, cell in enumerate(beside().cells)]
    (found,) = neighbours(points(those))
    assert [(row.cell.tuning, row.cell.neighbour, alone and alone.cell.neighbour) for row, alone in found.rows] == [
        ("none", "none", None),
        ("none", "quiet", "none"),
        ("none", "loud", "none"),
        ("paper", "none", None),
        ("paper", "quiet", "none"),
        ("paper", "loud", "none"),
    ]
    alone = [each for each in those if each.cell.neighbour == "none"]
    assert neighbours(points(alone)) == []


def test_the_view_has_a_row_per_tuning_and_neighbour_and_says_the_latest(tmp_path: Path) -> None:
    late = {"none": 100, "quiet": 200, "loud": 900}
    those = [measured(cell, late[cell.neighbour], tmp_path) for cell in beside().cells]
    judged = judge_contrasts(contrasts_of_view("neighbour", points(those)))
    (block,) = blocks("neighbour", those, ["tuning", "neighbour"], "made_up", judged)
    assert [row.head for row in block.rows][:3] == [
        "none, no neighbour",
        "none, neighbour quiet",
        "none, neighbour loud",
    ]
    assert [row.values[2] for row in block.rows] == ["100", "200", "900"] * 2
    assert "100 without a neighbour, 200 with neighbour quiet and 900 with neighbour loud" in block.says[0]
    assert cautions(those)[1].startswith("virtual-cb2: the emulator has no caches")


def test_neighbours_are_on_the_page_and_in_the_table(tmp_path: Path) -> None:
    tree, matrix = ResultsTree(tmp_path), beside()
    for cell in matrix.cells:
        measure(tree, matrix.name, cell)
    written = write_report(matrix, tree)
    page = written.page.read_text()
    assert "paper, neighbour loud" in page
    with (written.page.parent / "cells.csv").open(newline="") as stream:
        assert [row["neighbour"] for row in csv.DictReader(stream)] == ["none", "quiet", "loud"] * 2
