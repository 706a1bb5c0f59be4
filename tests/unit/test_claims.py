"""The paper's claims, on made-up cells whose truth is known."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from fakes import catalogue, cyclictest_json, done, system, virtual_lab, workload_output

from rtvirt_runner.analysis.claims import CHECKS, Range, Row, judge_claims
from rtvirt_runner.analysis.measurement import Measurement, read_measurement
from rtvirt_runner.analysis.paper import load_paper
from rtvirt_runner.analysis.paper_tables import figure_curves
from rtvirt_runner.catalogue import collection
from rtvirt_runner.matrix.cell import Cell
from rtvirt_runner.matrix.load import load_matrix
from rtvirt_runner.matrix.results import ResultsTree
from rtvirt_runner.report.paper_markdown import idle_experiment

CELLS = load_matrix(collection.matrix_path("smoke"), virtual_lab(), catalogue()).cells
Shape = Callable[[Cell], tuple[float, float, int]]  # middle, width and maximum in us


def measure(folder: Path, shape: Shape, repetitions: int) -> list[Measurement]:
    chance, tree = random.Random(1), ResultsTree(folder)
    for cell in CELLS:
        for repetition in range(1, repetitions + 1):
            each = replace(cell, repetition=repetition, loops=500)
            middle, width, latest = shape(each)
            shift = chance.gauss(1, 0.01)
            counts: dict[int, int] = {round(latest * shift): 1}
            for _ in range(each.loops - 1):
                us = min(latest - 1, max(1, round(chance.gauss(middle * shift, width))))
                counts[us] = counts.get(us, 0) + 1
            state = system(each)
            state["board"]["realtime"] = each.kernel.endswith("-rt")
            raw = {
                "cyclictest.json": cyclictest_json(dict(sorted(counts.items()))),
                "workload.txt": workload_output(each),
            }
            tree.write_record("smoke", each, done(), state, raw)
    return [read_measurement(record) for record in tree.load_records("smoke")]


def as_the_paper_says(cell: Cell) -> tuple[float, float, int]:
    if cell.place == "host":
        return 30, 3, 61 if cell.kernel.endswith("-rt") else 185
    latest = {"3-1": 3097, "1-2": 5277}.get(cell.split, 9895 if cell.board == "virtual-cb2" else 7214)
    latest = 16000 if cell.workload == "sysbench-fileio" else latest
    return 57, 12, 900 if cell.tuning == "full" else latest


def the_other_way_round(cell: Cell) -> tuple[float, float, int]:
    if cell.place == "host":
        return 57, 12, 400 if cell.kernel.endswith("-rt") else 100
    return 30, 3, 300 if cell.board == "virtual-cb2" else 500


def judged(measurements: list[Measurement]) -> dict[str, Row]:
    return {row.claim.name: row for row in judge_claims(measurements)}


@pytest.fixture(scope="module")
def agreeing(tmp_path_factory: pytest.TempPathFactory) -> list[Measurement]:
    return measure(tmp_path_factory.mktemp("agreeing"), as_the_paper_says, 4)


DECIDED = ("threefold", "more_host_cores_halve", "guest_wider", "guest_to_the_right", "ecu_wider", "files_worst")


def test_every_claim_has_a_check_and_every_check_a_claim() -> None:
    assert {each.check for each in load_paper().claims} == set(CHECKS)


def test_cells_like_the_papers_support_it_over_repetitions(agreeing: list[Measurement]) -> None:
    found = judged(agreeing)
    assert {name: found[name].judgement for name in DECIDED} == dict.fromkeys(DECIDED, "supported")
    row = found["threefold"]
    assert (row.clock, row.paper, row.evidence[0].repetitions) == ("virtual", "185 / 61", 4)
    interval = row.evidence[0].interval
    assert interval and interval.low < row.evidence[0].value < interval.high
    assert row.evidence[0].value == pytest.approx(185 / 61, rel=0.05)
    assert found["ecu_average_same"].judgement == "contradicted"  # 57 against 30
    assert found["below_1_ms"].judgement == "supported"  # by tuning full


def test_cells_unlike_the_papers_contradict_it(tmp_path: Path) -> None:
    found = judged(measure(tmp_path, the_other_way_round, 4))
    assert {name: found[name].judgement for name in DECIDED[:5]} == dict.fromkeys(DECIDED[:5], "contradicted")


def test_cells_that_were_measured_once_decide_nothing_and_show_what_they_show(tmp_path: Path) -> None:
    found = judged(measure(tmp_path, as_the_paper_says, 1))
    peaks = found.pop("guest_two_peaks")  # of any one run
    assert (peaks.judgement, peaks.as_measured) == ("cannot be told", "cannot be told")
    assert peaks.reason == "the intervals reach beyond what it says"
    assert {row.judgement for row in found.values()} == {"cannot be told"}
    row = found["guest_to_the_right"]
    assert (row.as_measured, row.reason) == ("supported", "measured once; of the means, 7 of 7 agree")
    assert "virtual-cb2, qsort, minimal: " in row.says


def test_two_peaks_that_stand_apart_are_seen_in_one_run(tmp_path: Path) -> None:
    cell = next(each for each in CELLS if (each.workload, each.place) == ("qsort", "guest"))
    cell, chance, counts = replace(cell, loops=4000), random.Random(1), dict[int, int]()
    for number in range(cell.loops):
        us = round(chance.gauss(60 if number % 3 else 120, 5))
        counts[us] = counts.get(us, 0) + 1
    raw = {"cyclictest.json": cyclictest_json(counts), "workload.txt": workload_output(cell)}
    tree = ResultsTree(tmp_path)
    tree.write_record("smoke", cell, done(), system(cell), raw)
    row = judged([read_measurement(each) for each in tree.load_records("smoke")])["guest_two_peaks"]
    assert (row.judgement, row.says) == ("supported", "virtual-cb2, qsort: 2 or more peaks")


def test_what_was_not_measured_is_said(agreeing: list[Measurement]) -> None:
    hosts = [each for each in agreeing if each.cell.place == "host"]
    found = judged(hosts)
    assert (found["guest_wider"].judgement, found["guest_wider"].evidence) == ("not measured", ())
    assert found["threefold"].judgement == "supported"
    assert {row.judgement for row in judge_claims([])} == {"not measured"}


def test_a_range_holds_an_interval_that_lies_in_it() -> None:
    one = Range(low=1.5, high=2)
    assert [one.holds(*ends) for ends in ((1.5, 2), (1.6, 2.1), (2.1, 3), (1, 1.4), (1, 3))] == [
        True,
        None,
        False,
        False,
        None,
    ]


def test_figures_have_the_cells_that_show_them(agreeing: list[Measurement]) -> None:
    curves = figure_curves(agreeing)
    assert {each.figure.number for each in curves} == set(load_paper().figures)
    fig4 = [each.point.cell for each in curves if each.figure.number == "4"]
    assert {(cell.board, cell.kernel, cell.place) for cell in fig4} >= {
        ("virtual-rpi2", "linux-6.12", "host"),
        ("virtual-rpi2", "linux-6.12-rt", "host"),
    }
    assert {each.point.cell.board for each in curves if each.figure.number == "12"} == {"virtual-cb2"}


def test_the_idle_experiment_is_a_page_beside_table_ii(agreeing: list[Measurement]) -> None:
    page = idle_experiment(agreeing, {}, {"rtvirt": "1.2"})
    rows = sorted(line.split(" | ") for line in page.splitlines() if line.startswith("| virtual-"))
    assert [row[:3] for row in rows] == [
        [f"| {board}", split, place]
        for board, splits in (("virtual-cb2", ("1-1",)), ("virtual-rpi2", ("1-1", "1-2", "3-1")))
        for split in splits
        for place in ("guest minimal", "host")
    ]
    assert [row[-1] for row in rows] == [f"{us} |" for us in ("9,895", "–", "7,214", "–", "5,277", "–", "3,097", "–")]
    assert {tuple(row[3:5]) for row in rows} == {("4", "2,000")}  # repetitions together
    assert page.index("**All figures of ours are in virtual time**") < page.index("| virtual-")
    assert "avg, µs (virtual time)" in page and "in the paper, µs (real time)" in page
    assert "the latest of 1,000,000 wake-ups in the idle guest of a Raspberry Pi 2 and of a Cubieboard 2" in page
    assert "- 32 cells, 0 of them measured sealed, in 5 minutes" in page
    assert "| 7,214 / 3,097 | supported (virtual time) | " in page  # a claim about Table II, and none of the others:
    assert page.count("(virtual time) | ") - 1 == sum(
        "Table II" in row.where.split(", ") for row in load_paper().claims
    )


def test_without_idle_cells_the_page_has_no_table() -> None:
    assert "Nothing was measured yet" in idle_experiment([], {}, {}) and "|" not in idle_experiment([], {}, {})
