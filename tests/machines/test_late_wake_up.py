"""A wake-up that is made late on purpose on an emulated board, and ``rtvirt trace``, which is to find out why."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from culprits import ROGUE, ROGUE_US, lab_with
from playing import SCRIPTS, on_board, owned, run, stop

from rtvirt_runner.analysis.late.recording import Recording
from rtvirt_runner.matrix.cell import Cell
from rtvirt_runner.matrix.results import ResultsTree
from rtvirt_runner.parsers.ftrace import Switch

BOARD = "bench-b"
pytestmark = [
    pytest.mark.slow(
        exercises=[
            "playbooks/trace.yml",
            "playbooks/tasks",
            "roles/measure",
            "roles/guest",
            "rtvirt_runner/analysis/late",
            "rtvirt_runner/machine/trace_script.py",
            "rtvirt_runner/parsers/ftrace.py",
            "rtvirt_runner/report/traces.py",
            "rtvirt_runner/cli/trace.py",
        ]
    ),
    pytest.mark.asserts_on("answers"),
    pytest.mark.xdist_group(BOARD),
]
MATRIX = {
    "name": "late",
    "title": "A wake-up that is late on purpose",
    "cyclictest": {"loops": 2000, "interval_us": 1000, "priority": 95, "histogram_us": 20000},
    "splits": {"1-1": {"host_cpus": "0", "guest_cpus": "1"}},
    "experiments": {
        "late": {
            "title": "A thread above cyclictest, for 3 ms",
            "axes": {
                "board": [BOARD],
                "kernel": ["linux-6.12-rt"],
                "tuning": ["full"],
                "split": ["1-1"],
                "place": ["guest"],
                "guest": ["minimal"],
                "workload": ["rogue"],
            },
        }
    },
}


@pytest.fixture(scope="module")
def traced(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """What ``rtvirt trace`` said, and the results folder."""
    folder = tmp_path_factory.mktemp("late")
    lab = lab_with(folder, ROGUE)
    (folder / "late.yml").write_text(yaml.safe_dump({"matrix": MATRIX}))
    command: list[str | Path] = [SCRIPTS / "rtvirt", "trace", BOARD, "--threshold", "2000", "--keep-boards"]
    command += [
        "--matrix",
        str(folder / "late.yml"),
        "-i",
        lab,
        "--results",
        folder / "results",
    ]
    try:
        said = run(command, owned(), limit_s=3000)
        assert "status 0" in said, said
        yield said, folder / "results"
    finally:
        stop(BOARD)


@pytest.fixture(scope="module")
def stored(traced: tuple[str, Path]) -> Path:
    """The folder of the trace."""
    (folder,) = (traced[1] / "late" / BOARD).iterdir()
    return folder


@pytest.fixture(scope="module")
def numbers(stored: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((stored / "trace.json").read_text())
    return content


def test_the_thread_is_named_with_its_side_and_its_time(stored: Path, numbers: dict[str, Any]) -> None:
    culprit = numbers["explanation"]["causes"][0]
    assert (culprit["side"], culprit["cause"], culprit["who"]) == ("guest", "other task", "rtvirt-rogue")
    texts = {side: (stored / f"trace-{side}.txt").read_text() for side in ("host", "guest")}
    cell = Cell.from_dict(json.loads((stored / "cell.json").read_text()))
    board = json.loads((stored / "system.json").read_text())["board"]
    explained = Recording(cell, texts, numbers["break_us"], board, bell=True).explain()
    assert explained.line.clock is not None
    due = explained.line.clock.to_guest(explained.explanation.wakeup.due_ns)
    began = max(
        event.at_ns
        for event in explained.traces["guest"].events
        if isinstance(event.body, Switch) and event.body.next_comm == "rtvirt-rogue"
    )
    left_us = ROGUE_US - max(0, due - began) / 1000  # of the thread's time, when the wake-up was due
    # less the interrupts that came meanwhile, which are owners of their own
    assert abs(culprit["us"] - left_us) <= 0.1 * left_us


def test_the_whole_latency_has_owners(numbers: dict[str, Any]) -> None:
    explanation = numbers["explanation"]
    assert explanation["latency_us"] == pytest.approx(numbers["break_us"], abs=1) and numbers["break_us"] > 2000
    assert sum(each["us"] for each in explanation["causes"]) == pytest.approx(explanation["latency_us"])
    assert sum(each["us"] for each in explanation["causes"] if each["cause"] == "unknown") < 20
    assert explanation["warnings"] == []


def test_both_clocks_are_one_time_line(numbers: dict[str, Any]) -> None:
    clock = numbers["clock"]
    assert (clock["events_outside"], clock["ambiguous"]) == (0, False)
    assert 0 < clock["width_ns"] < 100_000
    assert numbers["told"]["ended"]["host"]["trace_stopped"] == "yes"
    assert clock["events"] > 100


def test_what_tracing_costs_is_stored(numbers: dict[str, Any]) -> None:
    for name in ("without", "with"):
        assert numbers[name]["samples"] == 2000
        assert 0 < numbers[name]["avg_us"] < numbers[name]["max_us"]


def test_it_is_said_in_words_and_stored_beside_no_record(traced: tuple[str, Path], stored: Path) -> None:
    said, results = traced
    assert "the thread rtvirt-rogue ran in the guest before cyclictest." in said
    assert str(stored) in said
    assert {"host.dat", "guest.dat", "late-wake-up.svg"} <= {path.name for path in stored.iterdir()}
    assert ResultsTree(results).read("late") == []


def test_nothing_is_left_on_the_board(traced: tuple[str, Path]) -> None:
    assert on_board(BOARD, "ls /sys/kernel/tracing/instances").split() == []
    assert ".trace" not in on_board(BOARD, "ls /run/rtvirt")
