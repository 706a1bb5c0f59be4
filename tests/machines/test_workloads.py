"""A lab's own workloads on host and guest, as the docs show them, and workloads that fail, on an emulated board."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from playing import BENCH, PLAYBOOKS, play

from rtvirt_runner.analysis.measurement import read_measurement
from rtvirt_runner.catalogue import collection
from rtvirt_runner.matrix.results import Record, ResultsTree

BOARD = "bench-a"
pytestmark = [
    pytest.mark.slow(
        exercises=[
            "roles/workloads",
            "roles/measure",
            "rtvirt_runner/catalogue/workloads.py",
            "rtvirt_runner/machine/cell_script.py",
            "docs/workloads.md",
        ]
    ),
    pytest.mark.asserts_on("booting", "convergence", "answers"),
    pytest.mark.xdist_group("bench-a"),
]
DOCS = (collection.ROOT / "docs" / "workloads.md").read_text()
BAD: dict[str, dict[str, Any]] = {
    "crashes": {"command": "sh -c 'sleep 0.2; kill -SEGV $$'"},
    "hangs": {"command": """sh -c 'trap "" TERM; while :; do sleep 1; done'"""},
    "errs": {"command": "rtvirt-bitcount --forever --expect 0123456789abcdef", "prints": "json"},
    "ends": {"command": "rtvirt-bitcount --iterations 1", "prints": "json"},
}
OWN = ["sieve", "messages", "zeros"]
MATRIX = {
    "name": "own",
    "title": "Workloads of a lab",
    "cyclictest": {"loops": 2000, "interval_us": 1000, "priority": 95, "histogram_us": 20000},
    "splits": {"1-1": {"host_cpus": "0", "guest_cpus": "1"}},
    "experiments": {
        "own": {
            "title": "Workloads of a lab",
            "views": ["slowdown"],
            "axes": {
                "board": [BOARD],
                "kernel": ["linux-6.12-rt"],
                "tuning": ["paper"],
                "split": ["1-1"],
                "place": ["host", "guest"],
                "guest": ["minimal-kernel-gic"],
                "workload": [*OWN, *BAD],
            },
        }
    },
}


def block(language: str) -> str:
    """The one code block of a language in the docs."""
    (found,) = re.findall(rf"```{language}\n(.*?)```", DOCS, re.DOTALL)
    return str(found)


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """What the run said, and its results."""
    folder = tmp_path_factory.mktemp("own")
    (folder / "own.yml").write_text(yaml.safe_dump({"matrix": MATRIX}))
    (folder / "sieve.c").write_text(block("c"))
    given = {
        **yaml.safe_load(block("yaml")),
        "workloads_sources_dir": str(folder),
        "rtvirt_matrix": str(folder / "own.yml"),
        "rtvirt_results_dir": str(folder / "results"),
    }
    given["rtvirt_lab_workloads"] |= BAD
    return play(
        PLAYBOOKS / "full_matrix.yml", *BENCH, "-l", f"{BOARD},localhost", "-e", json.dumps(given)
    ), folder / "results"


@pytest.fixture(scope="module")
def records(said: tuple[str, Path]) -> dict[tuple[str, str], Record]:
    """What is stored, by place and workload."""
    return {(each.cell.place, each.cell.workload): each for each in ResultsTree(said[1]).load_records("own")}


@pytest.mark.parametrize("place", ["host", "guest"])
@pytest.mark.parametrize("workload", OWN)
def test_a_workload_that_a_lab_adds_runs_on_host_and_guest(
    records: dict[tuple[str, str], Record], place: str, workload: str
) -> None:
    measured = read_measurement(records[place, workload])
    assert measured.reason == ""
    assert measured.histogram is not None
    assert measured.histogram.samples == 2000


@pytest.mark.parametrize("workload", ["sieve", "messages"])
def test_its_own_speed_is_known_in_both_places(records: dict[tuple[str, str], Record], workload: str) -> None:
    runs = [read_measurement(records[place, workload]).workload for place in ("host", "guest")]
    times = [run.seconds_per_iteration for run in runs if run]
    assert len(times) == 2
    host_s, guest_s = times
    assert host_s and guest_s
    assert 0.5 < guest_s / host_s < 20


@pytest.mark.parametrize("place", ["host", "guest"])
@pytest.mark.parametrize(
    ("workload", "complaint"),
    [
        ("crashes", "The workload crashed with signal 11"),
        ("hangs", "The workload hung: told to end, it had not after 30 s, and was killed"),
        ("errs", "The workload failed or gave a wrong answer (status 1): rtvirt-bitcount: the answer's digest is"),
        ("ends", "The workload ended before cyclictest did"),
    ],
)
def test_one_that_fails_is_recorded_as_failed_and_never_counted(
    records: dict[tuple[str, str], Record], place: str, workload: str, complaint: str
) -> None:
    record = records[place, workload]
    assert record.status.status == "failed"
    assert complaint in record.status.reason
    assert read_measurement(record).histogram is None
    assert record.raw("cyclictest.json")  # kept for whoever looks into it


def test_the_others_are_measured_and_the_run_names_those_that_failed(
    said: tuple[str, Path], records: dict[tuple[str, str], Record]
) -> None:
    told, results = said
    assert "status 2" in told
    assert len(records) == 2 * (len(OWN) + len(BAD))
    for (_, workload), record in records.items():
        assert (record.cell.id in told.split("PLAY RECAP")[0]) or workload in OWN
    page = (results / "own" / "report" / "index.html").read_text()
    assert "The workload hung" in page
