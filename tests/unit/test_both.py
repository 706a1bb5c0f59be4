"""Cells whose place is both: what a matrix may ask for, how wake-ups are split, and that they stand among no others."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fakes import catalogue, cyclictest_json, done, measure, system, virtual_lab

from rtvirt_runner.analysis.claims import judge_claims
from rtvirt_runner.analysis.comparisons import host_against_guest, points
from rtvirt_runner.analysis.frame import tidy_frame
from rtvirt_runner.analysis.measurement import Measurement, read_measurement
from rtvirt_runner.analysis.splits import Splits, relation, split_wakeups
from rtvirt_runner.analysis.verdicts import matrix_verdicts
from rtvirt_runner.catalogue.checked_yaml import InputError
from rtvirt_runner.machine import cell_script, state_changes
from rtvirt_runner.machine.sealed_queue import GuestFiles, make_queue
from rtvirt_runner.matrix.acceptance import read_output
from rtvirt_runner.matrix.cell import Cell
from rtvirt_runner.matrix.host_thread import HostThread
from rtvirt_runner.matrix.load import Matrix, read_matrix
from rtvirt_runner.matrix.plan import plan
from rtvirt_runner.matrix.results import Record, ResultsTree
from rtvirt_runner.matrix.ways import why_over_ssh
from rtvirt_runner.parsers import ParseError
from rtvirt_runner.report.page import write_report

CYCLICTEST = {"loops": 5000, "interval_us": 1000, "priority": 95, "histogram_us": 20000, "late_us": 100}
AXES = {"board": "virtual-cb2", "kernel": "with-rt", "tuning": "full", "split": "1-1"}
AXES |= {"place": "both", "guest": "minimal", "workload": "idle"}


def matrix(axes: dict[str, Any] | None = None, **changes: Any) -> Matrix:
    """A matrix of one experiment; ``changes`` are keys of the file, None to leave one out."""
    body: dict[str, Any] = {"name": "both", "cyclictest": CYCLICTEST, "both": {"host_cpu": "vcpu"}}
    body |= {"splits": {"1-1": {"host_cpus": "0", "guest_cpus": "1"}, "1-2": {"host_cpus": "0", "guest_cpus": "1-2"}}}
    body |= {"experiments": {"e": {"axes": AXES | (axes or {})}}}
    body = {key: value for key, value in (body | changes).items() if value is not None}
    return read_matrix({"matrix": body}, Path("m.yml"), virtual_lab(), catalogue())


CELL = matrix().cells[0]


def test_the_host_runs_on_the_core_of_the_measured_vcpu_or_on_one_of_its_own() -> None:
    assert CELL.host_thread == HostThread(cpu=1, interval_us=1000, late_us=100)
    own = matrix(both={"host_cpu": 0, "interval_us": 200, "late_us": 40}).cells[0]
    assert own.host_thread == HostThread(cpu=0, interval_us=200, late_us=40)
    assert own.id != CELL.id
    for cell in (CELL, own):
        assert cell.in_guest and cell.guest == "minimal" and cell.measured_cpu == 0
        assert Cell.from_dict(json.loads(json.dumps(cell.as_dict()))) == cell


def test_an_experiment_may_say_it_for_itself() -> None:
    here = {"e": {"axes": AXES, "both": {"host_cpu": 0}}}
    assert matrix(both=None, experiments=here).cells[0].host_thread == HostThread(0, 1000, 100)


@pytest.mark.parametrize(
    ("axes", "changes", "sentence"),
    [
        ({}, {"both": None}, "without saying on which core the host's cyclictest runs"),
        ({}, {"both": {}}, "both is empty"),
        ({}, {"both": {"host_cpu": "1"}}, "both.host_cpu is '1', expected 'vcpu' or the number of a core"),
        ({}, {"both": {"host_cpu": True}}, "both.host_cpu is True"),
        ({}, {"both": {"host_cpu": "vcpu", "interval_us": 1}}, "both.interval_us is 1"),
        (
            {},
            {"both": {"host_cpu": "vcpu", "late_us": 20000}},
            "both.late_us is 20000, expected less than histogram_us",
        ),
        ({}, {"both": {"host_cpu": "vcpu", "cpu": 1}}, "cpu"),
        ({}, {"both": {"host_cpu": 2}}, "board 'virtual-cb2' has only cores 0-1"),
        ({}, {"both": {"host_cpu": 1}}, "which the split gives to a vCPU"),
        ({"workload": "host-load"}, {"both": {"host_cpu": 0}}, "would share with workload 'host-load'"),
        ({"neighbour": "loud"}, {"both": {"host_cpu": 0}}, "would share with neighbour 'loud'"),
        ({"tuning": "none"}, {}, "leaves the vCPUs of guest 'minimal' to run on any of several cores"),
        (
            {"tuning": "paper", "board": "virtual-rpi2", "split": "1-2"},
            {},
            "leaves the vCPUs of guest 'minimal' to run on any of several cores",
        ),
        ({"tuning": "paper"}, {}, "would never come before the vCPU with 99"),
        ({}, {"cyclictest": {**CYCLICTEST, "priority": 1}}, "would never come before the vCPU with 1"),
        ({}, {"cyclictest": {k: v for k, v in CYCLICTEST.items() if k != "late_us"}}, "expected cyclictest.late_us"),
        ({"guest": "none"}, {}, "guest"),
        ({}, {"trace": "auto"}, "its place is both, which measures without a trace"),
    ],
)
def test_what_cannot_be_is_refused_with_one_sentence(
    axes: dict[str, Any], changes: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(InputError) as refused:
        matrix(axes, **changes)
    assert sentence in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_damaged_cell_is_no_cell() -> None:
    for changed in ({"place": "guest"}, {"host_thread": {}}, {"host_thread": {"cpu": 1}}):
        values = {key: value for key, value in CELL.as_dict().items() if key != "id"} | changed
        with pytest.raises(InputError):
            Cell.from_dict(values)


# ------------------------------------------------------------------------------------------------------------ scripts


def test_the_board_starts_its_own_cyclictest_last_and_ends_it_first() -> None:
    sets = cell_script.board_sets(CELL)
    assert sets["before"][-1] == "start_host_cyclictest"
    assert sets["after"] == ["end_host_cyclictest", "end_load"]
    known = cell_script.board_environment(CELL)
    assert (known["CPU"], known["PRIORITY"], known["ON_GUEST_CPUS"]) == ("1", "95", "yes")
    assert "read_clock_edges" in cell_script.script(CELL)


def test_other_cells_keep_their_scripts() -> None:
    guest = replace(CELL, place="guest", host_thread=None)
    assert cell_script.board_sets(guest) == {"before": ["start_load"], "after": ["end_load"]}
    assert "CPU" not in cell_script.board_environment(guest)
    assert "read_clock_edges" not in cell_script.script(guest)


def test_a_sealed_machine_measures_it_in_the_guest(tmp_path: Path) -> None:
    for name, text in (("release", "6.12\n"), ("architecture", "arm64\n")):
        (tmp_path / name).write_text(text)
    (boot,) = plan([CELL])
    files = {(state.kernel, state.flavour): GuestFiles(tmp_path) for state in [CELL.guest_state] if state}
    queue = make_queue(boot, [CELL.id], files)
    steps = queue.cells[CELL.id]
    assert queue.plan[-1] == f"cell 0 {steps.state} {steps.measure} guest {steps.end}"
    assert "--spike-nodes=5000" in queue.steps[steps.state]
    assert "cyclictest-host" in queue.steps[steps.end]
    lab = virtual_lab()
    lab = replace(lab, boards={name: replace(board, sealed=True) for name, board in lab.boards.items()})
    assert why_over_ssh(CELL, lab, catalogue()) == ""


def thread(**changes: Any) -> dict[str, Any]:
    return {"tid": 7, "policy": "fifo", "priority": 95, "cpus": "1", "seen": "before", **changes}


def test_the_hosts_thread_is_read_back_before_and_after() -> None:
    before, after = {"cyclictest": [thread()]}, {"cyclictest": [thread(seen="after")]}
    assert state_changes.host_thread_differences(CELL, before, after) == []
    for changed, sentence in (
        ([], "was not read back before the cell and after it"),
        ([thread(tid=8)], "it was started again"),
        ([thread(priority=1, seen="after")], "was 'fifo 1 on 1' just after the cell, expected 'fifo 95 on 1'"),
    ):
        (found,) = state_changes.host_thread_differences(CELL, before, {"cyclictest": changed})
        assert sentence in found


# ------------------------------------------------------------------------------------------------------------- splits

SECOND = 1_795_000_000
REALTIME_OFFSET_NS = (
    SECOND * 10**9 - 500_000_000
)  # the board's wall clock was at this when it started, minus half a second


def edges(offset_ns: int, first: int, width_ns: int, chance: random.Random, drift_ns: int = 0) -> list[dict[str, str]]:
    """Rows of the table clock_edges of a guest whose clock is so far behind the board's, each second so much more."""
    rows = []
    for second in range(SECOND + first, SECOND + first + 4):
        guest_ns = second * 10**9 - REALTIME_OFFSET_NS - offset_ns - (second - SECOND - 20) * drift_ns
        since = guest_ns - chance.randrange(1, width_ns)
        until = guest_ns + chance.randrange(1, width_ns)
        rows.append({"second": str(second), "since_ns": str(since), "until_ns": str(until)})
    return rows


def listed(wakeups: list[tuple[int, int]], total: int | None = None) -> str:
    """What cyclictest prints of late wake-ups: (when it was due, how late)."""
    lines = [f"T: 0 Spike: {late:8d}: TS: {due + late:12d}\n" for due, late in wakeups]
    return "".join(lines) + (f"spikes = {len(wakeups) if total is None else total}\n" if lines else "")


def histogram(wakeups: list[tuple[int, int]], samples: int) -> str:
    counts: dict[int, int] = {20: samples - len(wakeups)}
    for _, late in wakeups:
        counts[late] = counts.get(late, 0) + 1
    return cyclictest_json(dict(sorted(counts.items())))


def store(
    tree: ResultsTree,
    cell: Cell,
    guest: list[tuple[int, int]],
    host: list[tuple[int, int]],
    clocks: tuple[list[dict[str, str]], list[dict[str, str]]] | None,
) -> Measurement:
    """A record of a cell with place both; times of the guest and of the host in us of their own clocks."""
    facts = system(cell)
    facts["board"] |= {"realtime_offset_ns": str(REALTIME_OFFSET_NS), "cyclictest": [thread()]}
    facts["after"] = {"board": {"cyclictest": [thread(seen="after")]}, "guest": {}}
    if clocks:
        facts["guest"]["clock_edges"], facts["after"]["guest"]["clock_edges"] = clocks
    else:
        facts["guest"]["no_clock_edges"] = "its real-time clock is rtc_cmos, expected rtc-pl031"
    json_us = cyclictest_command(histogram(guest, cell.loops), cell.late_us)
    raw = {"cyclictest.json": json_us, "cyclictest.txt": listed(guest)}
    raw |= {"cyclictest-host.json": histogram(host, 4000), "cyclictest-host.txt": listed(host)}
    tree.write_record("both", cell, done(), facts, raw)
    found = tree.find("both", cell)
    assert isinstance(found, Record)
    return read_measurement(found)


def cyclictest_command(text: str, late_us: int) -> str:
    return json.dumps({**json.loads(text), "cmdline:": f"cyclictest --spike={late_us} --spike-nodes=5000"})


OFFSET_US = 12_345_678


def split_of(
    tmp_path: Path, guest: list[tuple[int, int]], host: list[tuple[int, int]], width_ns: int = 20_000
) -> Splits:
    """The splits of made-up lists; the host's times are given on the guest's clock."""
    chance = random.Random(1)
    before = edges(OFFSET_US * 1000, 20, width_ns, chance)
    after = edges(OFFSET_US * 1000, 40, width_ns, chance)
    moved = [(due + OFFSET_US, late) for due, late in host]
    return split_wakeups(store(ResultsTree(tmp_path), CELL, guest, moved, (before, after)))


AT = 12_000_000  # us of the guest's clock, between the edges before and after


def test_what_the_host_was_late_is_the_hosts_and_the_rest_is_virtualizations(tmp_path: Path) -> None:
    found = split_of(tmp_path, [(AT, 5000), (AT + 100_000, 3000), (AT + 200_000, 2000)], [(AT + 500, 4400)])
    whole, none, also_none = found.splits
    assert 0 < found.width_us < 60
    assert whole.host_us and whole.added_us
    assert whole.host_us[0] <= 4400 <= whole.host_us[1]
    assert whole.added_us[0] <= 600 <= whole.added_us[1]
    assert whole.side == "host"
    assert none.host_us == also_none.host_us == (0, 0)
    assert none.added_us == (3000, 3000)
    assert (none.side, found.count("host"), found.count("virtualization")) == ("virtualization", 1, 2)


def test_a_split_that_is_narrower_than_the_clocks_are_related_is_refused(tmp_path: Path) -> None:
    (split,) = split_of(tmp_path, [(AT, 1500)], [(AT, 1400)], width_ns=20_000_000).splits
    assert split.width_us > 1500
    assert (split.host_us, split.added_us, split.untold, split.side) == (None, None, "narrow", "")


def test_a_time_in_which_the_host_was_not_due_is_not_told(tmp_path: Path) -> None:
    short, late_host = split_of(tmp_path, [(AT, 700), (AT + 10_000, 700)], [(AT + 10_100, 550)]).splits
    assert short.untold == "unseen"  # the host is due each 1,000 us
    assert late_host.host_us and late_host.host_us[0] > 450


def test_the_true_split_is_within_the_bounds_whatever_the_clocks_are(tmp_path: Path) -> None:
    chance = random.Random(16)
    for number in range(60):
        guest = [(AT + 20_000 * n + chance.randrange(9000), chance.randrange(1100, 9000)) for n in range(20)]
        host = [
            (due + chance.randrange(-1500, 1500), chance.randrange(200, 6000))
            for due, _ in guest
            if chance.random() < 0.6
        ]
        host = [each for n, each in enumerate(host) if n == 0 or each[0] > sum(host[n - 1])]
        found = split_of(tmp_path / str(number), guest, host, width_ns=chance.randrange(2000, 900_000))
        for (due, late), split in zip(guest, found.splits, strict=True):
            truth = sum(max(0, min(due + late, begin + long) - max(due, begin)) for begin, long in host)
            if split.host_us and split.added_us:
                assert split.host_us[0] - 2 <= truth <= split.host_us[1] + 2
                assert split.added_us[0] - 2 <= late - truth <= split.added_us[1] + 2


def test_clocks_that_drift_are_related_and_clocks_that_were_set_are_not() -> None:
    chance = random.Random(2)
    facts: dict[str, Any] = {"board": {"realtime_offset_ns": str(REALTIME_OFFSET_NS)}}
    before, after = (edges(OFFSET_US * 1000, first, 20_000, chance, 20_000) for first in (20, 40))  # 20 ppm
    found = relation(facts | {"guest": {"clock_edges": before}, "after": {"guest": {"clock_edges": after}}})
    low, high = found.offset_us(30_500_000 - OFFSET_US - 200)  # ten seconds after the first edge
    assert low < OFFSET_US + 200 < high
    assert high - low < 80
    before = edges(OFFSET_US * 1000, 20, 20_000, chance)
    was_set = edges(OFFSET_US * 1000 + 10**9, 40, 20_000, chance)
    with pytest.raises(ParseError, match="No offset between the clocks agrees with all 8 instants"):
        relation(facts | {"guest": {"clock_edges": before}, "after": {"guest": {"clock_edges": was_set}}})


@pytest.mark.parametrize(
    "rows", [None, "x", [1], [{"second": "x"}], [{"second": "1", "since_ns": "5", "until_ns": "4"}]]
)
def test_whatever_a_machine_answers_is_no_relation(rows: Any) -> None:
    with pytest.raises(ParseError, match="could not be related"):
        relation({"board": {"realtime_offset_ns": "1"}, "guest": {"clock_edges": rows}})
    with pytest.raises(ParseError, match="could not be related"):
        relation({"board": rows, "guest": rows, "after": rows})


def test_a_record_without_the_hosts_output_is_not_whole(tmp_path: Path) -> None:
    found = store(ResultsTree(tmp_path), CELL, [(AT, 3000)], [], None)
    raw = {name: found.record.raw(name) for name in ("cyclictest.json", "cyclictest.txt")}
    with pytest.raises(ParseError, match=r"neither cyclictest-host\.json nor cyclictest-host\.txt"):
        read_output(CELL, raw.get)
    assert read_output(CELL, raw.get, with_host=False).host is None


# ------------------------------------------------------------------------------------------------- among other cells


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Matrix, ResultsTree]:
    """Host, guest and both, measured."""
    axes = AXES | {"place": ["host", "guest", "both"]}
    found = matrix(experiments={"e": {"axes": axes}, "alone": {"axes": AXES, "repetitions": 2}})
    tree = ResultsTree(tmp_path_factory.mktemp("both"))
    for cell in found.cells:
        if cell.place != "both":
            measure(tree, "both", replace(cell))
            continue
        chance = random.Random(cell.repetition)
        clocks = (edges(OFFSET_US * 1000, 20, 90_000, chance), edges(OFFSET_US * 1000, 40, 90_000, chance))
        guest = [(AT + 40_000 * n, 1100 + 317 * n) for n in range(14)]
        host = [(OFFSET_US + due + 300, late - 500) for due, late in guest[::2]]
        store(tree, cell, guest, host, clocks if cell.repetition == 1 else None)
    return found, tree


def test_it_stands_in_no_comparison_verdict_or_claim(mixed: tuple[Matrix, ResultsTree]) -> None:
    found, tree = mixed
    every = [read_measurement(record) for record in tree.load_records("both")]
    alone = [each for each in every if each.cell.place != "both"]
    assert all(each.histogram for each in every)
    assert len(every) == len(alone) + 2
    assert points(every) == points(alone)
    assert host_against_guest(every) == host_against_guest(alone)
    assert matrix_verdicts(found, every) == matrix_verdicts(found, alone)
    assert judge_claims(every) == judge_claims(alone)
    frame = tidy_frame(tree.load_records("both"))
    assert sorted(frame["place"]) == ["both", "both", "guest", "host"]


def test_the_page_has_a_part_of_its_own_for_it(mixed: tuple[Matrix, ResultsTree]) -> None:
    found, tree = mixed
    page = write_report(found, tree).page.read_text(encoding="utf-8")
    assert page.count("<h3>Host and guest at the same time: virtual-cb2, split 1-1") == 3
    assert "For more than half of their time the host was late too in" in page
    assert "None is split. The clocks of board and guest could not be related: its real-time clock is rtc_cmos" in page
    assert "4 of 4 cells measured" in page
    assert "alone-virtual-both-0.svg" in page
    numbers = page[page.index('id="host-guest"') : page.index('id="experiment-e"')]
    assert "both" not in numbers.replace("both rest", "")
