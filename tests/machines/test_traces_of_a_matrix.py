"""A matrix that asks for the cause of a late wake-up of each cell, on an emulated board over SSH."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from culprits import ROGUE, lab_with
from playing import SCRIPTS, on_board, owned, run, stop

from rtvirt_runner.analysis.histogram import Histogram, summarize
from rtvirt_runner.matrix.results import Record, ResultsTree

BOARD = "bench-b"
pytestmark = [
    pytest.mark.slow(
        exercises=[
            "playbooks/tasks/trace_asked.yml",
            "playbooks/tasks/trace_cell.yml",
            "playbooks/tasks/boot_group.yml",
            "plugins/action/store_trace.py",
            "plugins/filter/matrix.py",
            "rtvirt_runner/analysis/late",
            "rtvirt_runner/matrix/asked_traces.py",
            "rtvirt_runner/report/late_causes.py",
        ]
    ),
    pytest.mark.asserts_on("answers"),
    pytest.mark.xdist_group(BOARD),
]
AXES = {"board": [BOARD], "kernel": ["linux-6.12-rt"], "split": ["1-1"]}
LATE = {**AXES, "tuning": ["none", "full"], "place": ["guest"], "guest": ["minimal"], "workload": ["rogue"]}
MATRIX = {
    "name": "causes",
    "title": "A wake-up that is late on purpose, and one that is not late",
    "trace": {"threshold_us": 2000},
    "cyclictest": {"loops": 2000, "interval_us": 1000, "priority": 95, "histogram_us": 20000},
    "splits": {"1-1": {"host_cpus": "0", "guest_cpus": "1"}},
    "experiments": {
        "late": {"title": "A thread above cyclictest, for 3 ms", "axes": LATE},
        "quiet": {
            "title": "Nothing is so late",
            "trace": {"threshold_us": 500_000},
            "axes": {**AXES, "tuning": ["full"], "place": ["host"], "workload": ["idle"]},
        },
    },
}


@dataclass(frozen=True)
class Measured:
    """What two runs of ``rtvirt matrix`` said: before the second one the trace of the quiet cell was removed."""

    said: tuple[str, str]
    tree: ResultsTree

    def record(self, tuning: str, place: str) -> Record:
        (found,) = (
            each for each in self.tree.load_records("causes") if (each.cell.tuning, each.cell.place) == (tuning, place)
        )
        return found

    def trace(self, tuning: str, place: str) -> dict[str, Any]:
        (folder,) = self.tree.traces("causes")[self.record(tuning, place).cell.id]
        content: dict[str, Any] = json.loads((folder / "trace.json").read_text())
        return content


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Measured]:
    folder = tmp_path_factory.mktemp("causes")
    lab, tree = lab_with(folder, ROGUE), ResultsTree(folder / "results")
    (folder / "causes.yml").write_text(yaml.safe_dump({"matrix": MATRIX}))
    command: list[str | Path] = [SCRIPTS / "rtvirt", "matrix", "--keep-boards", "--matrix", folder / "causes.yml"]
    command += ["-i", lab, "--results", tree.root]
    try:
        first = run(command, owned(), limit_s=4000)
        quiet = [path for each in tree.traces("causes").values() for path in each if "_host_" in path.name]
        assert len(quiet) == 1, first
        shutil.rmtree(quiet[0])
        yield Measured((first, run(command, owned(), limit_s=2000)), tree)
    finally:
        stop(BOARD)


def test_every_cell_is_measured_and_then_traced_once(measured: Measured) -> None:
    assert all("status 0" in said for said in measured.said), measured.said
    assert "3 of 3 cells to measure and 3 to trace" in measured.said[0]
    assert "0 of 3 cells to measure and 1 to trace" in measured.said[1]
    records = measured.tree.load_records("causes")
    assert [each.output is not None for each in records] == [True] * 3
    assert {cell: len(found) for cell, found in measured.tree.traces("causes").items()} == {
        each.cell.id: 1 for each in records
    }
    assert not [path.name for path in measured.tree.root.rglob("*.untraced")]


def test_traced_runs_do_not_count_as_cells(measured: Measured) -> None:
    for number in (each.cell.id for each in measured.tree.load_records("causes")):
        assert measured.said[0].count(f"cell {number} done") == 1
        assert f"cell {number} done" not in measured.said[1]
    table = (measured.tree.root / "causes" / "report" / "cells.csv").read_text()
    assert len(table.splitlines()) == 1 + 3


@pytest.mark.parametrize("tuning", ["none", "full"])
def test_the_thread_is_the_cause(measured: Measured, tuning: str) -> None:
    trace = measured.trace(tuning, "guest")
    assert trace["asked"] == 2000 and trace["break_us"] > 2000
    culprit = trace["explanation"]["causes"][0]
    assert (culprit["side"], culprit["cause"], culprit["who"]) == ("guest", "other task", "rtvirt-rogue")


@pytest.mark.parametrize(("tuning", "place"), [("none", "guest"), ("full", "guest"), ("full", "host")])
def test_the_record_is_the_run_without_a_trace(measured: Measured, tuning: str, place: str) -> None:
    record = measured.record(tuning, place)
    assert record.output
    found = summarize(Histogram.of_run(record.output.latencies, record.cell.histogram_us))
    without = measured.trace(tuning, place)["without"]
    assert (without["samples"], without["avg_us"], without["max_us"]) == (2000, found.avg, found.max)


def test_a_trace_without_a_late_wake_up_says_so(measured: Measured) -> None:
    trace = measured.trace("full", "host")
    assert trace["break_us"] is None
    assert trace["sentences"][0].startswith("None of 20,000 wake-ups was later than 500,000 µs")


def test_the_page_has_a_table_of_causes(measured: Measured) -> None:
    page = (measured.tree.root / "causes" / "report" / "index.html").read_text()
    for row in ("none, guest", "full, guest", "full, host"):
        assert f'<th scope="row">{row}</th><td class="n">1</td>' in page
    assert '<th class="n">guest: other task</th>' in page
    assert f"<li>{BOARD}, in the guest, full against none: " in page


def test_nothing_is_left_on_the_board(measured: Measured) -> None:
    assert on_board(BOARD, "ls /sys/kernel/tracing/instances").split() == []
    assert ".trace" not in on_board(BOARD, "ls /run/rtvirt")
