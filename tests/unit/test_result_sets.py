"""Two result sets against each other, on made-up cells whose truth is known."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from fakes import catalogue, cyclictest_json, done, system, virtual_lab

from rtvirt_runner.analysis.measurement import Measurement, read_measurement
from rtvirt_runner.analysis.result_sets import Comparison, compare_sets
from rtvirt_runner.catalogue import collection
from rtvirt_runner.cli import main as cli
from rtvirt_runner.matrix.cell import Cell
from rtvirt_runner.matrix.load import load_matrix
from rtvirt_runner.matrix.results import ResultsTree
from rtvirt_runner.matrix.stored import store_matrix

SMOKE = load_matrix(collection.matrix_path("smoke"), virtual_lab(), catalogue())
IDLE = [replace(cell, loops=1000) for cell in SMOKE.cells if (cell.workload, cell.tuning) == ("idle", "paper")]
IDLE = [cell for cell in IDLE if (cell.split, cell.neighbour) == ("1-1", "none")]


def measure(folder: Path, cells: Sequence[Cell], us: float, repetitions: int, seed: int, release: str = "6.12") -> Path:
    """A results folder: each run's latencies lie about a middle of its own, which is 2 % from ``us`` or so."""
    chance, tree = random.Random(seed), ResultsTree(folder)
    for cell in cells:
        for repetition in range(1, repetitions + 1):
            each = replace(cell, repetition=repetition)
            middle = us * chance.gauss(1, 0.02)
            counts: dict[int, int] = {}
            for _ in range(each.loops):
                late = max(1, round(chance.gauss(middle, 5)))
                counts[late] = counts.get(late, 0) + 1
            state = system(each)
            state["board"]["uname_r"] = release
            tree.write_record("smoke", each, done(), state, {"cyclictest.json": cyclictest_json(counts)})
    return folder


def read(folder: Path) -> list[Measurement]:
    return [read_measurement(record) for record in ResultsTree(folder).load_records("smoke")]


def changes(found: Comparison) -> set[str]:
    return {each.change for each in found.points}


def test_a_set_is_the_same_as_itself_even_when_it_was_measured_once(tmp_path: Path) -> None:
    measured = read(measure(tmp_path, IDLE, 60, 1, 1))
    found = compare_sets(measured, measured)
    assert (changes(found), found.change, found.points[0].reason) == ({"same"}, "same", "bin for bin")


@pytest.mark.parametrize(("us", "change"), [(60, "same"), (90, "worse"), (40, "better")])
def test_repetitions_tell_what_changed(us: float, change: str, tmp_path: Path) -> None:
    before, after = (measure(tmp_path / name, IDLE, at, 8, n) for n, (name, at) in enumerate((("a", 60), ("b", us))))
    found = compare_sets(read(before), read(after))
    assert changes(found) == {change}
    (average, p99) = found.points[0].statistics
    assert (average.statistic, p99.statistic, len(average.before)) == ("avg", "p99", 8)
    assert average.ratio == pytest.approx(us / 60, rel=0.05)
    assert average.interval and average.interval.low < us / 60 < average.interval.high


def test_few_repetitions_tell_nothing_and_say_how_many_would(tmp_path: Path) -> None:
    once = compare_sets(read(measure(tmp_path / "a", IDLE, 60, 1, 1)), read(measure(tmp_path / "b", IDLE, 90, 1, 2)))
    assert (changes(once), once.needed) == ({"not told"}, None)
    assert {each.reason for each in once.points} == {"measured once"}
    twice = compare_sets(read(measure(tmp_path / "c", IDLE, 60, 2, 3)), read(measure(tmp_path / "d", IDLE, 60, 2, 4)))
    assert changes(twice) == {"not told"}
    assert twice.needed and 3 <= twice.needed <= 200
    assert "would probably have been seen" in twice.points[0].reason


def test_a_real_change_that_is_smaller_than_the_margin_is_none(tmp_path: Path) -> None:
    before = read(measure(tmp_path / "a", IDLE, 60, 12, 1))
    after = read(measure(tmp_path / "b", IDLE, 66, 12, 2))
    assert changes(compare_sets(before, after, margin=1.3)) == {"same"}
    assert changes(compare_sets(before, after, margin=1.02)) == {"worse"}


def test_another_kernel_is_unlike_unless_told(tmp_path: Path) -> None:
    before = read(measure(tmp_path / "a", IDLE, 60, 8, 1))
    newer = read(measure(tmp_path / "b", IDLE, 90, 8, 2, release="6.18"))
    found = compare_sets(before, newer)
    assert (changes(found), found.points[0].statistics) == ({"unlike"}, ())
    assert found.points[0].reason == "kernel: linux-6.12-rt (6.12) and linux-6.12-rt (6.18)"
    assert changes(compare_sets(before, newer, across=["kernel"])) == {"worse"}
    assert {cell.board for cell in IDLE} == {"virtual-cb2", "virtual-rpi2"}  # each is compared with itself
    other = [replace(cell, kernel="debian-rt") for cell in IDLE]
    named = read(measure(tmp_path / "c", other, 60, 8, 3))
    assert changes(compare_sets(before, named)) == {"unlike"}
    told = compare_sets(before, named, across=["kernel"])
    assert changes(told) == {"same"}
    assert "linux-6.12-rt" in told.points[0].name and "debian-rt" in told.points[0].name
    assert all(each.before and each.after and each.before.cell.board == each.after.cell.board for each in told.points)


def test_a_setting_that_was_taken_out_is_named(tmp_path: Path) -> None:
    before = read(measure(tmp_path / "a", IDLE, 60, 8, 1))
    bare = [replace(cell, kernel_params=()) for cell in IDLE]
    found = compare_sets(before, read(measure(tmp_path / "b", bare, 90, 8, 2)))
    assert {(each.change, each.inputs) for each in found.points} == {("worse", ("kernel_params",))}
    ablated = [replace(cell, tuning="paper-minus-isolcpus", kernel_params=()) for cell in IDLE]
    without = read(measure(tmp_path / "c", ablated, 90, 8, 2))
    assert changes(compare_sets(before, without)) == {"only before", "only after"}
    assert changes(compare_sets(before, without, across=["tuning"])) == {"worse"}


def test_the_gate_is_for_a_shell(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before, same, worse, once, newer = (
        str(measure(tmp_path / name, IDLE, us, repetitions, n, release))
        for n, (name, us, repetitions, release) in enumerate(
            [("a", 60, 8, "6"), ("b", 60, 8, "6"), ("c", 90, 8, "6"), ("d", 60, 1, "6"), ("e", 60, 8, "7")]
        )
    )
    statuses = [cli.main(["compare", before, each, "--gate"]) for each in (before, same, worse, once, newer)]
    assert statuses == [0, 0, 1, 4, 4]
    told = capsys.readouterr().out.splitlines()
    assert len(told) == 5
    assert told[2] == "4 points: 4 worse; a change within 10 % is none"
    assert cli.main(["compare", before, newer, "--gate", "--across", "kernel"]) == 0
    assert cli.main(["compare", before, same, "--margin", "0"]) == 2


def test_experiments_are_told_where_the_matrix_is_stored(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cells = [cell for cell in SMOKE.cells if (cell.workload, cell.split) == ("idle", "3-1")][:2]
    folder = measure(tmp_path, [replace(cell, loops=5000) for cell in cells], 60, 1, 1)
    store_matrix(ResultsTree(folder), SMOKE, virtual_lab())
    assert cli.main(["compare", str(folder), str(folder), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert {each["name"] for each in told["experiments"]} == {"core_splits"}
    assert told["experiments"][0] == {"name": "core_splits", "change": "same", "counts": {"same": 2}}
    assert [each["clock"] for each in told["points"]] == ["virtual", "virtual"]
