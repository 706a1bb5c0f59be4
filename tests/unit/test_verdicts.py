"""Verdicts on made-up boards whose truth is known."""

from __future__ import annotations

import html
import json
import random
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fakes import DATA, catalogue, cyclictest_json, done, system, virtual_lab, workload_output
from fakes import measure as measure_cell

from rtvirt_runner.analysis.histogram import Histogram
from rtvirt_runner.analysis.measurement import Measurement, read_measurement
from rtvirt_runner.analysis.paper import load_paper
from rtvirt_runner.analysis.verdicts import BoardVerdict, board_verdicts, default_budgets
from rtvirt_runner.catalogue import collection
from rtvirt_runner.cli import main as cli
from rtvirt_runner.matrix.budget import Budget, Limits
from rtvirt_runner.matrix.cell import Cell
from rtvirt_runner.matrix.load import load_matrix
from rtvirt_runner.matrix.results import Record, ResultsTree
from rtvirt_runner.matrix.stored import store_matrix
from rtvirt_runner.report.format import micro
from rtvirt_runner.report.page import write_report

FIRST = load_matrix(collection.matrix_path("first"), virtual_lab(), catalogue())
CB2 = [cell for cell in FIRST.cells if cell.board == "virtual-cb2"]
LENIENT = Budget("lenient", Limits(1000, 160), once_in_s=1)  # that half a minute can show
TUNINGS = ("none", "paper", "full")


def cells(*workloads: str, tunings: tuple[str, ...] = TUNINGS, loops: int = 3000) -> list[Cell]:
    """Cells in the guest of virtual-cb2, the same for each tuning."""
    bare = [cell for cell in CB2 if cell.place == "guest" and cell.workload in workloads and cell.tuning in tunings]
    return [replace(cell, loops=loops) for cell in bare]


def measure(
    tree: ResultsTree,
    those: list[Cell],
    repetitions: int,
    late: Mapping[str, int] | None = None,
    average: Mapping[str, float] | None = None,
) -> list[Measurement]:
    """``late``: how many of a tuning's wake-ups come after 2 ms in each run; ``average`` of the others, in us."""
    chance = random.Random(1)
    for cell in those:
        for repetition in range(1, repetitions + 1):
            each = replace(cell, repetition=repetition)
            middle = round((average or {}).get(each.tuning, 60) * chance.gauss(1, 0.02))
            count = (late or {}).get(each.tuning, 0)
            counts = {middle: each.loops - count} | ({2000: count} if count else {})
            raw = {"cyclictest.json": cyclictest_json(counts), "workload.txt": workload_output(each)}
            tree.write_record("first", each, done(), system(each), raw)
    return [read_measurement(record) for record in tree.load_records("first")]


@pytest.fixture
def tree(tmp_path: Path) -> ResultsTree:
    return ResultsTree(tmp_path)


def only(found: list[BoardVerdict]) -> BoardVerdict:
    (verdict,) = found
    return verdict


def test_the_cheapest_tuning_that_meets_the_budget_is_chosen_with_its_margin(tree: ResultsTree) -> None:
    measured = measure(tree, cells("idle", "host-load"), 5, late={"none": 20})
    verdict = only(board_verdicts(measured, LENIENT))
    assert verdict.answer == "meets"
    assert [(each.worst.point.cell.tuning, each.answer) for each in verdict.configurations] == [
        ("none", "does not meet"),
        ("paper", "meets"),
        ("full", "meets"),
    ]
    assert [each.settings for each in verdict.configurations][:2] == [0, 2]
    assert verdict.chosen is verdict.configurations[1]
    assert 900 < verdict.chosen.worst.latest_margin_us < 1000
    assert verdict.says.startswith(
        "virtual-cb2: meets budget lenient (1,000 us at the latest, 160 on average) with tuning paper"
    )
    assert "the cheapest of 2 that do" in verdict.says and "(95 %)" in verdict.says
    assert verdict.says.endswith("virtual time: they compare settings, and do not predict a chip.")
    assert verdict.next == ""


def test_what_was_measured_once_or_briefly_cannot_be_told_and_says_how_long_it_takes(tree: ResultsTree) -> None:
    verdict = only(board_verdicts(measure(tree, cells("idle", tunings=("full",)), 1), default_budgets()[0]))
    assert verdict.answer == "cannot be told"
    assert "none late in 3 s, so that up to 3,595 an hour are possible" in verdict.says  # -ln(0.05) / 3 s
    assert "measured once" in verdict.says
    assert verdict.next == (
        "Measure each workload for 3 hours (10,784,636 loops) in all, without another late wake-up, "
        "with three repetitions or more (--repetitions 3)."
    )


def test_an_average_above_the_budget_is_repeated_before_hours_are_measured(tree: ResultsTree) -> None:
    averages = {"none": 400, "paper": 300, "full": 260}
    verdict = only(board_verdicts(measure(tree, cells("idle"), 1, average=averages), LENIENT))
    assert verdict.answer == "cannot be told"
    above = round(verdict.chosen.worst.point.histogram.avg_us - 160) if verdict.chosen else 0
    assert above > 80 and f"the average was measured once, {above} us above 160" in verdict.says
    assert verdict.next == (
        "Measure three repetitions or more (--repetitions 3): the average beside idle, measured once, is "
        f"{above} us above the budget, which decides before any late wake-up does."
    )
    (tree.root / "first").rename(tree.root / "kept")
    again = only(board_verdicts(measure(tree, cells("idle"), 3, average=averages), LENIENT))
    assert again.answer == "does not meet"


def test_one_late_wake_up_in_seconds_is_more_than_one_an_hour(tree: ResultsTree) -> None:
    late = dict.fromkeys(TUNINGS, 1)
    verdict = only(board_verdicts(measure(tree, cells("idle"), 1, late=late), default_budgets()[0]))
    assert (verdict.answer, len(verdict.configurations)) == ("does not meet", 3)
    assert "does not meet budget paper" in verdict.says and "any of 3 configurations" in verdict.says
    assert verdict.next.startswith("Find out what is late beside idle with tuning ")


def test_a_board_of_which_a_configuration_is_not_measured_yet_is_not_said_to_fail(tree: ResultsTree) -> None:
    measured = measure(tree, cells("idle", tunings=("none",)), 3, late={"none": 50})
    verdict = only(board_verdicts(measured, LENIENT, cells=cells("idle")))
    assert (verdict.answer, verdict.unmeasured) == ("cannot be told", 2)
    assert (
        "cannot be told, since 2 of its configurations are not measured yet; it does not with the only" in verdict.says
    )
    assert verdict.next == "Measure what is missing: the same run goes on where it stopped."
    verdict = only(board_verdicts(measured, LENIENT, cells=cells("idle", tunings=("none",))))
    assert "does not meet budget lenient" in verdict.says and "with the only configuration (95 %)" in verdict.says


def test_an_average_is_judged_over_repetitions(tree: ResultsTree) -> None:
    measured = measure(tree, cells("idle"), 6, average={"none": 220, "paper": 160, "full": 80})
    verdict = only(board_verdicts(measured, LENIENT))
    assert [each.answer for each in verdict.configurations] == ["does not meet", "cannot be told", "meets"]
    worst = verdict.configurations[1].worst
    assert worst.average_us and worst.average_us[0] < 160 < worst.average_us[1]
    assert "the average may be above 160 us" in worst.reason


def test_a_workload_with_limits_of_its_own_decides(tree: ResultsTree) -> None:
    budget = replace(LENIENT, workloads={"host-load": Limits(1000, 50)})
    measured = measure(tree, cells("idle", "host-load"), 5)
    verdict = only(board_verdicts(measured, budget))
    assert verdict.answer == "does not meet"
    assert {each.worst.point.cell.workload for each in verdict.configurations} == {"host-load"}


def test_a_tuning_that_was_not_measured_beside_every_workload_does_not_meet_the_budget(tree: ResultsTree) -> None:
    measure(tree, cells("idle", "host-load", tunings=("none",)), 5, late={"none": 20})
    verdict = only(board_verdicts(measure(tree, cells("idle", tunings=("full",)), 5), LENIENT))
    assert verdict.answer == "cannot be told"
    assert verdict.chosen and verdict.chosen.missing == ("host-load",)
    assert "not measured beside host-load" in verdict.says
    assert verdict.next == "Measure it beside host-load too."


def test_runs_that_differ_have_no_rate_and_the_worst_of_them_decides(tree: ResultsTree) -> None:
    (cell,) = cells("idle", tunings=("full",))
    measure(tree, [cell], 4)
    bad = replace(cell, repetition=5)
    raw = {"cyclictest.json": cyclictest_json({60: 2900, 2000: 100})}
    tree.write_record("first", bad, done(), system(bad), raw)
    verdict = only(board_verdicts([read_measurement(each) for each in tree.load_records("first")], LENIENT))
    assert verdict.answer == "does not meet"


def test_an_emulated_guest_is_no_answer(tree: ResultsTree) -> None:
    measured = measure(tree, cells("idle"), 5)
    for each in measured:
        each.record.system["board"]["guest_accelerator"] = "tcg"
    verdict = only(board_verdicts(measured, LENIENT))
    assert (verdict.answer, verdict.chosen) == ("cannot be told", None)
    assert "emulated, without KVM" in verdict.says
    assert only(board_verdicts([], LENIENT, ["cb2"])).says.endswith("nothing was measured in a guest.")


def test_a_board_without_a_number_has_the_clock_of_its_cells() -> None:
    assert only(board_verdicts([], LENIENT, cells=CB2, boards=["virtual-cb2"])).clock == "virtual"


def test_verdict_says_it_by_its_exit_status(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def run(late: int, repetitions: int, *options: str) -> int:
        tree = ResultsTree(tmp_path / f"{late}-{repetitions}")
        budgets = (LENIENT, Budget("strict", Limits(10, 10)))
        those = cells("idle", tunings=("full",))
        experiment = replace(
            FIRST.experiments[0],
            cells=tuple(replace(each, repetition=n) for each in those for n in range(1, repetitions + 1)),
        )
        store_matrix(tree, replace(FIRST, experiments=(experiment,), budgets=budgets), virtual_lab())
        measure(tree, those, repetitions, late={"full": late})
        return cli.main(["verdict", "--results", str(tree.root), *options])

    assert [run(0, 5), run(50, 5), run(0, 1)] == [0, 1, 4]
    capsys.readouterr()
    assert run(0, 5, "--budget", "strict", "--json") == 1
    told = json.loads(capsys.readouterr().out)
    assert [(each["budget"], each["answer"]) for each in told] == [("strict", "does not meet"), ("lenient", "meets")]
    assert (told[0]["clock"], told[0]["configurations"][0]["workloads"][0]["late"]) == ("virtual", 15000)
    assert run(0, 5, "--budget", "strickt") == 2
    assert "did you mean 'strict'?" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["verdict", "claims", "report"])
def test_a_folder_without_results_is_no_answer(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main([command, "--results", str(tmp_path / "misspelt")]) == 2
    said = capsys.readouterr()
    assert said.out == "" and "misspelt holds no results of matrix 'first'; run 'rtvirt matrix' first." in said.err


def made(cell: Cell, histogram: Histogram) -> Measurement:
    """A measurement that no folder holds."""
    return Measurement(Record(Path("none"), cell, done(), system(cell)), histogram, "")


def test_the_page_opens_with_the_sentences_of_verdict_and_has_the_claims(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tree, matrix = (
        ResultsTree(tmp_path / "results"),
        load_matrix(DATA / "matrix" / "report.yml", virtual_lab(), catalogue()),
    )
    for cell in matrix.cells[:4]:
        measure_cell(tree, matrix.name, cell)
    store_matrix(tree, matrix, virtual_lab())
    page = html.unescape(write_report(matrix, tree).page.read_text(encoding="utf-8"))
    cli.main(["verdict", "--results", str(tree.root)])
    told = capsys.readouterr().out.splitlines()
    sentences = [line.partition(": ")[2] for line in told if not line.startswith(" ")]
    assert len(sentences) == 4  # two boards, two budgets
    for sentence in sentences:
        assert micro(f"{sentence[:1].upper()}{sentence[1:]}") in page or micro(sentence) in page
    assert page.index(micro(sentences[0][1:])) < page.index("<nav")
    assert cli.main(["claims", "--results", str(tree.root)]) == 0
    claims = [line for line in capsys.readouterr().out.splitlines() if not line.startswith(" ")]
    assert len(claims) == len(load_paper().claims)
    assert all(micro(line.partition(": ")[2].rpartition(" (")[0]) in page for line in claims)
    assert cli.main(["claims", "--json", "--results", str(tree.root)]) == 0
    assert [row["judgement"] for row in json.loads(capsys.readouterr().out)] == [
        line.partition(" (")[0] for line in claims
    ]


def test_a_board_that_just_misses_its_budget_meets_it_in_five_of_a_hundred_at_most() -> None:
    """Three tunings, whose rates of late wake-ups are 5 % beyond the budget's: each "meets" is wrong."""
    chance = np.random.default_rng(1)
    those = [replace(cell, repetition=n) for cell in cells("idle", loops=20_000) for n in range(1, 4)]
    boards, wrong = 300, 0
    for _ in range(boards):
        measured = []
        for cell in those:
            late = int(chance.poisson(20 * 1.05))
            measured.append(made(cell, Histogram({50: 20_000 - late, 2000: late}, 0, 50, 52.0, 2000, 20_000)))
        wrong += only(board_verdicts(measured, LENIENT)).answer == "meets"
    assert wrong / boards <= 0.05


def test_a_board_that_just_meets_its_budget_misses_it_in_five_of_a_hundred_at_most() -> None:
    """Averages scatter from run to run about what is just within the budget: each "does not meet" is wrong."""
    chance = np.random.default_rng(2)
    those = [replace(cell, repetition=n) for cell in cells("idle", tunings=("full",)) for n in range(1, 4)]
    boards, wrong = 400, 0
    for _ in range(boards):
        averages = chance.normal(160, 8, len(those))
        found = [Histogram({100: 3000}, 0, 100, float(average), 500, 20_000) for average in averages]
        verdict = only(board_verdicts([made(*each) for each in zip(those, found, strict=True)], LENIENT))
        wrong += verdict.answer == "does not meet"
    assert wrong / boards <= 0.05
