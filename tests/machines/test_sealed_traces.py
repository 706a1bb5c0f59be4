"""Late wake-ups of cells of sealed machines: traced by a run, and once more by hand, on machines of their own."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from culprits import ROGUE, lab_with
from playing import SCRIPTS, count_boot, owned, run, sealed_machines

from rtvirt_runner.analysis.histogram import Histogram, summarize
from rtvirt_runner.catalogue import collection
from rtvirt_runner.matrix.results import Record, ResultsTree

BOARD = "virtual-cb2"
pytestmark = [
    pytest.mark.slow(
        exercises=[
            "playbooks/sealed.yml",
            "playbooks/trace.yml",
            "playbooks/tasks/sealed_cell.yml",
            "playbooks/tasks/trace_asked.yml",
            "playbooks/tasks/trace_sealed.yml",
            "plugins/action/sealed_machine.py",
            "plugins/action/store_trace.py",
            "plugins/filter/matrix.py",
            "rtvirt_runner/analysis/late",
            "rtvirt_runner/machine/sealed_machine.py",
            "rtvirt_runner/machine/sealed_queue.py",
            "rtvirt_runner/machine/trace_script.py",
            "rtvirt_runner/matrix/asked_traces.py",
        ]
    ),
    pytest.mark.asserts_on("answers"),
    pytest.mark.xdist_group("virtual lab"),  # its boards' folders
]
AXES = {"board": [BOARD], "kernel": ["debian-rt"], "tuning": ["full"], "split": ["1-1"]}
MATRIX = {
    "name": "causes",
    "title": "A wake-up that is late on purpose, and the latest of an idle host",
    "cyclictest": {"loops": 1000, "interval_us": 1000, "priority": 95, "histogram_us": 20000},
    "splits": {"1-1": {"host_cpus": "0", "guest_cpus": "1"}},
    "experiments": {
        "late": {
            "title": "A thread above cyclictest, for 3 ms",
            "trace": {"threshold_us": 2000},
            "axes": {**AXES, "place": ["guest"], "guest": ["minimal"], "workload": ["rogue"]},
        },
        "idle": {
            "title": "Nothing beside it",
            "trace": "auto",
            "axes": {**AXES, "place": ["host"], "workload": ["idle"]},
        },
    },
}


@dataclass(frozen=True)
class Traced:
    """What ``rtvirt matrix`` and then ``rtvirt trace`` of the cell in the guest said."""

    said: tuple[str, str]
    tree: ResultsTree

    def record(self, place: str) -> Record:
        (found,) = (each for each in self.tree.load_records("causes") if each.cell.place == place)
        return found

    def folders(self, place: str) -> list[Path]:
        return self.tree.traces("causes")[self.record(place).cell.id]


@pytest.fixture(scope="module")
def traced(tmp_path_factory: pytest.TempPathFactory) -> Traced:
    folder = tmp_path_factory.mktemp("causes")
    lab, tree = lab_with(folder, ROGUE, collection.VIRTUAL_LAB), ResultsTree(folder / "results")
    (folder / "causes.yml").write_text(yaml.safe_dump({"matrix": MATRIX}))
    environment = {name: value for name, value in owned().items() if name != "RTVIRT_OWNER_PID"}
    given: list[str | Path] = ["--matrix", folder / "causes.yml", "-i", lab, "--results", tree.root]
    for _ in range(6):
        count_boot("sealed")
    first = run([SCRIPTS / "rtvirt", "matrix", *given], environment, 3000)
    (cell,) = (each.cell.id for each in tree.load_records("causes") if each.cell.place == "guest")
    by_hand: list[str | Path] = ["trace", BOARD, "--cell", cell, "--threshold", "2000"]
    return Traced((first, run([SCRIPTS / "rtvirt", *by_hand, *given], environment, 1800)), tree)


def numbers(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "trace.json").read_text())
    return content


def test_every_cell_is_measured_and_traced_on_sealed_machines(traced: Traced) -> None:
    assert all("status 0" in said for said in traced.said), traced.said
    assert "2 of 2 cells to measure and 2 to trace" in traced.said[0]
    for place, made in (("guest", 2), ("host", 1)):
        record = traced.record(place)
        assert record.status.status == "done" and record.system["sealed"]
        assert len(traced.folders(place)) == made
        for folder in traced.folders(place):
            system = json.loads((folder / "system.json").read_text())
            assert system["sealed"]["key"] != record.system["sealed"]["key"]  # a machine of its own
    assert not [path.name for path in traced.tree.root.rglob("*.untraced")]
    table = (traced.tree.root / "causes" / "report" / "cells.csv").read_text()
    assert len(table.splitlines()) == 1 + 2  # a traced run counts nowhere


def test_the_thread_is_named_with_its_side(traced: Traced) -> None:
    trace = numbers(traced.folders("guest")[0])
    assert trace["asked"] == 2000 and trace["break_us"] > 2000
    explanation = trace["explanation"]
    culprit = explanation["causes"][0]
    assert (culprit["side"], culprit["cause"], culprit["who"]) == ("guest", "other task", "rtvirt-rogue")
    assert explanation["latency_us"] == pytest.approx(trace["break_us"], abs=1)
    assert sum(each["us"] for each in explanation["causes"]) == pytest.approx(explanation["latency_us"])
    assert trace["clock"]["events_outside"] == 0
    # It may break so early that the guest's few milliseconds of cyclictest fit a period earlier too, which is said.
    assert bool(explanation["warnings"]) == trace["clock"]["ambiguous"]
    assert trace["clock"]["width_ns"] < 2_000_000
    assert trace["told"]["broke"]["break_way"] == "mark"
    assert trace["told"]["ended"]["host"]["trace_stopped"] == "yes"  # by the bell


def test_auto_is_the_record_s_quantile(traced: Traced) -> None:
    record = traced.record("host")
    assert record.output
    found = summarize(Histogram.of_run(record.output.latencies, record.cell.histogram_us))
    trace = numbers(traced.folders("host")[0])
    assert (trace["asked"], trace["threshold_us"]) == ("auto", found.p999)
    without = trace["without"]
    assert (without["samples"], without["avg_us"], without["max_us"]) == (1000, found.avg, found.max)
    assert trace["with"]["samples"] == 1000
    assert trace["explanation"]["latency_us"] > 0


def test_the_same_trace_made_again_is_the_same_late_wake_up(traced: Traced) -> None:
    first, second = traced.folders("guest")
    for name in ("trace-host.txt", "trace-guest.txt", "host.dat", "guest.dat", "cyclictest-with.json"):
        assert (first / name).read_bytes() == (second / name).read_bytes(), name
    assert numbers(first)["explanation"] == numbers(second)["explanation"]
    assert numbers(first)["with"] == numbers(second)["with"]


def test_no_machine_is_left(traced: Traced) -> None:
    assert sealed_machines(BOARD) == []
