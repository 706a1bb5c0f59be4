"""What workloads print about themselves, by how a workload is declared to print it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from rtvirt_runner.catalogue.workloads import Program
from rtvirt_runner.parsers import ParseError, ecu
from rtvirt_runner.parsers.workload import WorkloadRun, parse, seconds_per_iteration

SYSBENCH = Path(__file__).parents[1] / "data" / "sysbench"
DIGEST = "0123456789abcdef"


def program(prints: str = "json", **more: Any) -> Program:
    values = {"pattern": "", "digest": "", "repeat": False, **more}
    return Program(command="x", prepare="", cleanup="", cpus="1", folder="memory", prints=prints, **values)


def line(**changes: Any) -> str:
    said = {"workload": "basicmath", "size": "small", "seed": 1, "iterations": 200, "seconds": 5.0}
    said |= {"seconds_per_iteration": 0.025, "digest": DIGEST, "correct": True}
    return json.dumps({key: value for key, value in {**said, **changes}.items() if value is not None}) + "\n"


# ---------------------------------------------------------------------------------------------------------------- JSON


def test_a_line_of_json_is_a_run() -> None:
    run = parse("Reading the map.\n" + line(), program())
    assert (run.runs, run.iterations, run.seconds, run.seconds_per_iteration) == (1, 200, 5.0, 0.025)
    assert (run.digest, run.wrong) == (DIGEST, "")
    assert run.numbers == {"workload": "basicmath", "size": "small", "seed": 1}


def test_runs_are_put_together_by_iteration() -> None:
    run = parse(line() + line(iterations=600, seconds=24.0, seconds_per_iteration=0.04), program(repeat=True))
    assert (run.runs, run.iterations, run.seconds) == (2, 800, 29.0)
    assert run.seconds_per_iteration == pytest.approx(29 / 800)


def test_seconds_per_iteration_alone_are_enough() -> None:
    run = parse('{"seconds_per_iteration": 0.5}\n{"seconds_per_iteration": 0.7}\n', program())
    assert (run.runs, run.iterations, run.seconds, run.digest) == (2, 2, 1.2, "")
    assert run.seconds_per_iteration == pytest.approx(0.6)


def test_the_last_of_repeated_runs_may_have_been_stopped() -> None:
    assert parse(line() + line()[:40], program(repeat=True)).runs == 1
    assert parse(line() + line(iterations=0), program(repeat=True)).runs == 1
    with pytest.raises(ParseError, match="cut off or garbled"):
        parse(line() + line()[:40], program())
    with pytest.raises(ParseError, match="cut off or garbled"):
        parse(line()[:40], program(repeat=True))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", r"\(0 characters\) has no line with a JSON object"),
        ("Segmentation fault\n", "no line with a JSON object"),
        (line()[:70], "is cut off or garbled"),
        (line(iterations=0), "ended no iteration; did it hang in its first"),
        (line(seconds_per_iteration=None), "lacks or garbles a value: KeyError"),
        (line(seconds_per_iteration=0), "no time above 0|NaN is no number"),
        (line(seconds_per_iteration=float("nan")), "no time above 0|NaN is no number"),
        (line(iterations="many"), "lacks or garbles a value"),
    ],
)
def test_no_result_is_refused(text: str, says: str) -> None:
    with pytest.raises(ParseError, match=says):
        parse(text, program())


@pytest.mark.parametrize("end", range(1, len(line()) - 1, 7))
def test_json_cut_off_anywhere_is_refused(end: int) -> None:
    with pytest.raises(ParseError, match="cut off or garbled"):
        parse(line()[:end], program())


@pytest.mark.parametrize(
    ("text", "expected", "says"),
    [
        (line(correct=False), "", "says that its answer is wrong"),
        (line(), "feedfeedfeedfeed", f"its digest is {DIGEST}, expected feedfeedfeedfeed"),
        (line(digest=None), DIGEST, f"its digest is missing, expected {DIGEST}"),
        (line() + line(digest="ffff0000"), "", f"digests {DIGEST} and ffff0000"),
    ],
)
def test_a_wrong_answer_is_said_to_be_one(text: str, expected: str, says: str) -> None:
    assert says in parse(text, program(digest=expected)).wrong


def test_the_answer_that_is_expected_is_right() -> None:
    assert parse(line() + line(), program(digest=DIGEST)).wrong == ""


# ------------------------------------------------------------------------------------------------------- other formats


def test_sysbench_counts_events_as_iterations() -> None:
    run = parse((SYSBENCH / "cpu_1.0_two_runs.txt").read_text(encoding="utf-8"), program("sysbench", repeat=True))
    assert (run.runs, run.iterations) == (2, 20000)
    assert run.seconds == pytest.approx(0.6320)
    assert run.seconds_per_iteration == pytest.approx(0.6320 / 20000)
    assert (run.numbers["max_ms"], run.numbers["p95_ms"], run.numbers["version"]) == (0.18, 0.03, "1.0.20")


def test_a_pattern_finds_a_run_with_each_match() -> None:
    pattern = r"^n=(?P<iterations>\d+) took (?P<seconds_per_iteration>[\d.]+) s(?: sum (?P<digest>\w+))?"
    run = parse("n=1 took 2.0 s\nn=3 took 4.0 s\n", program("pattern", pattern=pattern))
    assert (run.runs, run.iterations, run.seconds_per_iteration, run.digest) == (2, 4, 3.5, "")
    assert run.numbers == {"iterations": "3", "seconds_per_iteration": "4.0", "digest": None}
    assert (
        "expected cafecafe"
        in parse("n=1 took 2 s sum beef\n", program("pattern", pattern=pattern, digest="cafecafe")).wrong
    )
    with pytest.raises(ParseError, match="nothing that fits its pattern"):
        parse("n=1 took", program("pattern", pattern=pattern))


def test_nothing_of_text_is_understood() -> None:
    assert parse("whatever", program("text")) == WorkloadRun(runs=0, seconds=None, seconds_per_iteration=None)


def test_cells_together_take_their_iterations_mean() -> None:
    runs = [WorkloadRun(1, 10, 10.0, 1.0), WorkloadRun(1, 30, 60.0, 2.0), WorkloadRun()]
    assert seconds_per_iteration(runs) == 1.75
    assert seconds_per_iteration([WorkloadRun()]) is None


# ------------------------------------------------------------------------------------------------- engine controller


def kind(**changes: Any) -> dict[str, Any]:
    said: dict[str, Any] = {"expected": 100, "fired": 98, "lost": 2, "missed": 1, "avg_us": 20.0, "max_us": 130.5}
    return {**said, "max_deg": 1.2, "histogram_deg": {"0.05": 90, "0.1": 7, "1.2": 1}, **changes}


def controller(**changes: Any) -> str:
    said = {"workload": "ecu", "profile": "cruise", "revolutions": 600, "lost_revolutions": 0, "tolerance_deg": 1.0}
    said |= {"events": {"spark": kind(), "tooth": kind(missed=0, max_deg=0.4)}, "verdict": "pass", "realtime": True}
    return line(**{**said, **changes})


def test_the_controller_says_how_late_each_kind_of_event_was() -> None:
    run = ecu.parse(parse(controller(), program()).numbers)
    assert (run.profile, run.revolutions, run.tolerance_deg, run.passed, run.realtime) == (
        "cruise",
        600,
        1.0,
        True,
        True,
    )
    spark = run.events["spark"]
    assert (spark.expected, spark.fired, spark.lost, spark.missed) == (100, 98, 2, 1)
    assert spark.histogram_deg == {0.05: 90, 0.1: 7, 1.2: 1}


def test_controllers_together_passed_only_if_each_did() -> None:
    other = controller(
        verdict="fail", events={"spark": kind(fired=2, avg_us=70.0, max_deg=3.5, histogram_deg={"3.5": 2})}
    )
    whole = ecu.merge([ecu.parse(json.loads(each)) for each in (controller(), other)])
    assert (whole.passed, whole.revolutions) == (False, 1200)
    assert whole.events["spark"].avg_us == 21.0
    assert whole.events["spark"].max_deg == 3.5
    assert whole.events["spark"].histogram_deg[3.5] == 2
    assert whole.events["tooth"].expected == 100
    with pytest.raises(ValueError, match="no run of the engine controller"):
        ecu.merge([])


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (controller(tolerance_deg=None), "lacks or garbles a value: KeyError"),
        (controller(events={"spark": {"expected": 1}}), "Event 'spark' of the engine controller lacks"),
        (controller(events=[]), "engine controller's output lacks or garbles"),
    ],
)
def test_a_controller_that_lacks_what_the_page_needs_is_refused(text: str, says: str) -> None:
    with pytest.raises(ParseError, match=says):
        parse(text, program())
