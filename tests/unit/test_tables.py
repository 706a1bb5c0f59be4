"""From records to tables."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from fakes import VARS, catalogue, cyclictest_json, done, failed, system, virtual_lab, workload_output

from rtvirt_runner.analysis.comparisons import host_against_guest
from rtvirt_runner.analysis.frame import tidy_frame
from rtvirt_runner.analysis.measurement import read_measurement
from rtvirt_runner.analysis.paper_tables import maxima, preemption
from rtvirt_runner.matrix.cell import Cell
from rtvirt_runner.matrix.load import load_matrix
from rtvirt_runner.matrix.results import Record, ResultsTree

MATRIX = load_matrix(VARS / "matrix_smoke.yml", virtual_lab(), catalogue())
CELLS = [each for each in MATRIX.cells if each.kernel == "linux-6.12-rt" and not each.neighbour_state]
PREEMPTION = next(each for each in MATRIX.experiments if each.name == "preemption").cells
CAPTURED = Path(__file__).parents[1] / "data" / "cyclictest"


def cell(board: str, split: str, place: str, tuning: str = "paper", workload: str = "idle") -> Cell:
    wanted = (board, split, place, tuning, workload)
    (found,) = [each for each in CELLS if (each.board, each.split, each.place, each.tuning, each.workload) == wanted]
    return found


HOST, GUEST = cell("virtual-rpi2", "1-1", "host"), cell("virtual-rpi2", "1-1", "guest")


@pytest.fixture
def tree(tmp_path: Path) -> ResultsTree:
    return ResultsTree(tmp_path)


def record(tree: ResultsTree, of: Cell, histogram: dict[int, int], realtime: bool = True) -> Record:
    state = system(of)
    state["board"]["realtime"] = realtime
    of = dataclasses.replace(of, loops=sum(histogram.values()))
    raw = {"cyclictest.json": cyclictest_json(histogram), "workload.txt": workload_output(of)}
    tree.write_record("smoke", of, done(), state, raw)
    (found,) = [each for each in tree.load_records("smoke") if each.cell == of]
    return found


def test_the_tidy_frame_has_a_row_per_record_and_a_column_per_axis(tree: ResultsTree) -> None:
    frame = tidy_frame([record(tree, HOST, {50: 999, 90: 1})])
    assert ",".join(frame.columns[:18]) == (
        "board,kernel,tuning,split,place,guest,workload,neighbour,repetition,"
        "samples,min_us,avg_us,max_us,p50_us,p99_us,p999_us,overflows,clock"
    )
    assert list(frame.columns[18:23]) == ["status", "ssh_commands", "overhead_s", "measure_s", "cell_id"]
    row = frame.iloc[0]
    assert (row.board, row.split, row.place, row.guest) == ("virtual-rpi2", "1-1", "host", "none")
    assert (row.samples, row.min_us, row.avg_us, row.max_us) == (1000, 50, 50.04, 90)
    assert (row.p50_us, row.p99_us, row.p999_us, row.overflows) == (50, 50, 50, 0)
    assert (row.clock, row.status, row.cell_id) == ("virtual", "done", dataclasses.replace(HOST, loops=1000).id)


def test_a_failed_cell_has_a_row_without_numbers(tree: ResultsTree) -> None:
    tree.write_record("smoke", HOST, failed("The board went away."), {}, {})
    row = tidy_frame(tree.load_records("smoke")).iloc[0]
    assert (row.status, row.reason) == ("failed", "The board went away.")
    assert row[["samples", "min_us", "avg_us", "max_us", "p99_us", "overflows"]].isna().all()


def test_no_records_give_an_empty_frame_with_all_columns() -> None:
    frame = tidy_frame([])
    assert len(frame) == 0
    assert "p999_us" in frame.columns


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        ({}, "neither cyclictest.json nor cyclictest.txt"),
        ({"cyclictest.json": '{"thread": '}, "empty or cut off"),
        ({"cyclictest.txt": ""}, "has no histogram"),
    ],
)
def test_a_done_cell_whose_output_is_unreadable_counts_as_failed(
    raw: dict[str, str], says: str, tree: ResultsTree
) -> None:
    tree.write_record("smoke", HOST, done(), {}, raw)
    row = tidy_frame(tree.load_records("smoke")).iloc[0]
    assert row.status == "failed"
    assert says in row.reason


def test_text_is_read_where_there_is_no_json(tree: ResultsTree) -> None:
    text = (CAPTURED / "overflow.txt").read_text(encoding="utf-8")
    cell = dataclasses.replace(HOST, loops=2000, histogram_us=30)
    tree.write_record("smoke", cell, done(), {}, {"cyclictest.txt": text})
    row = tidy_frame(tree.load_records("smoke")).iloc[0]
    assert (row.samples, row.overflows, row.max_us) == (2000, 1786, 16392)
    assert row[["p50_us", "p99_us", "p999_us"]].isna().all()  # all lie in the overflow


def test_host_and_guest_are_paired_with_their_repetitions_together(tree: ResultsTree) -> None:
    again = dataclasses.replace(GUEST, repetition=2)
    records = [record(tree, HOST, {50: 10}), record(tree, GUEST, {200: 10}), record(tree, again, {300: 10, 900: 1})]
    (pair,) = host_against_guest(read_measurement(each) for each in records)
    assert pair.guest == "minimal"
    assert pair.host_us is not None
    assert pair.host_us.samples == 10
    assert pair.guest_us is not None
    assert (pair.guest_us.samples, pair.guest_us.max_us) == (21, 900)


def test_a_host_alone_is_a_pair_without_a_guest(tree: ResultsTree) -> None:
    (pair,) = host_against_guest([read_measurement(record(tree, HOST, {50: 10}))])
    assert pair.guest_us is None


def test_the_table_of_maxima_has_a_column_per_board_and_split_beside_the_papers(tree: ResultsTree) -> None:
    values = {
        cell("virtual-cb2", "1-1", "guest"): 700,
        HOST: 90,
        GUEST: 3000,
        cell("virtual-rpi2", "3-1", "guest"): 1500,
        cell("virtual-cb2", "1-1", "guest", workload="bitcount"): 9999,  # not idle: not in the table
    }
    measurements = [read_measurement(record(tree, each, {40: 99, us: 1})) for each, us in values.items()]
    table = maxima(host_against_guest(measurements))
    assert table.columns == [("virtual-cb2", "1-1"), ("virtual-rpi2", "1-1"), ("virtual-rpi2", "3-1")]
    assert table.rows == [("host", [None, 90, None]), ("guest", [700, 3000, 1500])]
    assert table.paper == [9895, 7214, 3097]


def test_the_table_of_preemption_has_the_kernels_without_realtime_above_those_with(tree: ResultsTree) -> None:
    mainline, realtime = (
        [each for each in PREEMPTION if each.kernel == kernel and each.place == "host"]
        for kernel in ("linux-6.12", "linux-6.12-rt")
    )
    measurements = [
        read_measurement(record(tree, each, {40: 99, us: 1}, realtime=us == 60))
        for us, cells in ((190, mainline), (60, realtime))
        for each in cells
        if each.board == "virtual-rpi2"
    ]
    table = preemption([*measurements, read_measurement(record(tree, HOST, {999: 1}))])  # that kernel has no twin
    workloads = ("idle", "bitcount", "hackbench", "filewrite", "loopback")
    assert table.columns == [("virtual-rpi2", workload) for workload in workloads]
    assert table.rows == [("linux-6.12", False, [190] * 5), ("linux-6.12-rt", True, [60] * 5)]
    assert table.paper == [(False, [185, *[None] * 4]), (True, [61, *[None] * 4])]


def test_ablations_and_emulated_guests_do_not_muddle_the_table_of_maxima(tree: ResultsTree) -> None:
    guest = cell("virtual-cb2", "1-1", "guest")
    ablated = dataclasses.replace(guest, tuning="full-minus-irqs")
    measurements = [read_measurement(record(tree, each, {us: 1})) for each, us in ((guest, 700), (ablated, 800))]
    table = maxima(host_against_guest(measurements))
    assert (table.rows, table.guest_uses_tcg) == ([("guest", [700])], frozenset())
    measurements[0].record.system["board"]["guest_accelerator"] = "tcg"
    table = maxima(host_against_guest(measurements))
    assert table.guest_uses_tcg == {("guest", ("virtual-cb2", "1-1"))}
    assert tidy_frame([measurements[0].record]).iloc[0].guest_is_emulated == "yes"


def test_tunings_have_rows_of_their_own_in_the_table_of_maxima(tree: ResultsTree) -> None:
    untuned, tuned = cell("virtual-cb2", "1-1", "guest", tuning="none"), cell("virtual-cb2", "1-1", "guest")
    measurements = [read_measurement(record(tree, each, {us: 1})) for each, us in ((untuned, 7000), (tuned, 700))]
    table = maxima(host_against_guest(measurements))
    assert table.rows == [("guest, tuning none", [7000]), ("guest, tuning paper", [700])]


# ----------------------------------------------------------------------------------------------------------- workloads


def bitcount(place: str, repetition: int = 1) -> Cell:
    return dataclasses.replace(cell("virtual-cb2", "1-1", place, workload="bitcount"), repetition=repetition)


def counted(tree: ResultsTree, of: Cell, output: str | None) -> Record:
    """A record of bitcount; ``output`` as in workload.txt, None where there is no such file."""
    of = dataclasses.replace(of, loops=9)
    raw = {"cyclictest.json": cyclictest_json({50: 9})} | ({} if output is None else {"workload.txt": output})
    tree.write_record("smoke", of, done(), {}, raw)
    (found,) = [each for each in tree.load_records("smoke") if each.cell == of]
    return found


def line(seconds: float, iterations: int = 10, **more: object) -> str:
    said = {"iterations": iterations, "seconds_per_iteration": seconds, "digest": "cafecafe", "correct": True}
    return json.dumps(said | more)


def test_a_guests_slowdown_is_against_the_hosts_repetitions_together(tree: ResultsTree) -> None:
    cells = {
        bitcount("host"): line(0.2),
        bitcount("host", 2): line(0.3, iterations=30),
        bitcount("guest"): line(0.33),
        bitcount("guest", 2): line(0.55),
    }
    frame = tidy_frame([*(counted(tree, each, output) for each, output in cells.items()), record(tree, HOST, {50: 9})])
    assert list(frame.columns[-4:]) == [
        "workload_iterations",
        "workload_s_per_iteration",
        "workload_digest",
        "slowdown",
    ]
    assert frame.slowdown[2:4].tolist() == [1.2, 2.0]  # of 0.275 s, the mean by iteration
    assert frame.slowdown[[0, 1, 4]].isna().all()
    assert frame.workload_iterations[:4].tolist() == [10, 30, 10, 10]
    assert (frame.workload_s_per_iteration[1], frame.workload_digest[1]) == (0.3, "cafecafe")
    assert frame.iloc[4][["workload_iterations", "workload_s_per_iteration", "workload_digest"]].isna().all()  # idle


def test_a_guest_alone_has_no_slowdown(tree: ResultsTree) -> None:
    assert tidy_frame([counted(tree, bitcount("guest"), line(0.2))]).slowdown.isna().all()


@pytest.mark.parametrize(
    ("output", "says"),
    [
        (None, "no line with a JSON object"),
        (line(0.2)[:30], "cut off"),
        (line(0.2, iterations=0), "ended no iteration; did it hang"),
        (line(0.2, correct=False), "says that its answer is wrong"),
    ],
)
def test_a_done_cell_whose_workload_went_wrong_counts_as_failed(
    output: str | None, says: str, tree: ResultsTree
) -> None:
    frame = tidy_frame([counted(tree, bitcount("host"), output), counted(tree, bitcount("guest"), line(0.2))])
    assert frame.status.tolist() == ["failed", "done"]
    assert says in frame.reason[0]
    assert frame.iloc[0][["samples", "max_us", "workload_s_per_iteration"]].isna().all()
    assert frame.slowdown.isna().all()  # no good host to compare with
