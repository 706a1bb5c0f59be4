"""Traces that a matrix asks for: what may be said, of which cells, what is left to do, and how it is told."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from fakes import KERNELS, ROLES, catalogue, cyclictest_json, done, latencies, measure, system, virtual_lab
from hypothesis import given
from hypothesis import strategies as st

from rtvirt_runner.catalogue import collection
from rtvirt_runner.catalogue.checked_yaml import InputError
from rtvirt_runner.cli import main as cli
from rtvirt_runner.matrix.asked_traces import traces_left
from rtvirt_runner.matrix.load import Matrix, read_matrix
from rtvirt_runner.matrix.results import ResultsTree
from rtvirt_runner.matrix.stored import read_stored, store_matrix
from rtvirt_runner.matrix.threshold import AUTO, read_trace
from rtvirt_runner.report.page import Report
from rtvirt_runner.run.playbooks import Outcome

LAB, CATALOGUE = virtual_lab(), catalogue()
AXES = {
    **{"board": ["virtual-cb2"], "kernel": ["linux-6.12-rt"], "tuning": ["none", "full"], "split": ["1-1"]},
    **{"place": ["host", "guest"], "guest": ["minimal"], "workload": ["idle"]},
}
MATRIX: dict[str, Any] = {
    "name": "late",
    "cyclictest": {"loops": 5000, "interval_us": 1000, "priority": 95, "histogram_us": 20000},
    "splits": {"1-1": {"host_cpus": "0", "guest_cpus": "1"}},
    "experiments": {"idle": {"axes": AXES}},
}


def load(trace: Any = None, *, experiments: dict[str, Any] | None = None, **changes: Any) -> Matrix:
    """MATRIX with its key ``trace`` (left out where it is None), and with other experiments or numbers."""
    matrix = copy.deepcopy(MATRIX) | ({} if trace is None else {"trace": trace})
    matrix["experiments"] = experiments or matrix["experiments"]
    matrix["cyclictest"] |= changes
    return read_matrix({"matrix": matrix}, Path("m.yml"), LAB, CATALOGUE)


# ------------------------------------------------------------------------------------------------- what may be said


@given(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.text(max_size=9),
        st.sampled_from(["auto", "none", "Auto", "p99.9"]),
        st.lists(st.just("auto"), max_size=2),
        st.dictionaries(
            st.sampled_from(["threshold_us", "threshold"]),
            st.one_of(st.integers(-2, 2_000_000), st.floats(), st.booleans(), st.text(max_size=3)),
        ),
    )
)
def test_a_trace_is_auto_none_or_microseconds_and_all_else_is_refused_in_one_sentence(value: Any) -> None:
    us = value.get("threshold_us") if isinstance(value, dict) and len(value) == 1 else None
    if value in ("auto", "none"):
        assert read_trace(value, "m.yml: trace") == (AUTO if value == "auto" else None)
    elif type(us) is int and 1 <= us <= 1_000_000:
        assert read_trace(value, "m.yml: trace") == us
    else:
        with pytest.raises(InputError, match=r"^m\.yml: trace.*, expected .*[.?]$") as refusal:
            read_trace(value, "m.yml: trace")
        assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"trace": "Auto"}, r"idle\.trace is 'Auto', expected auto, none or a mapping"),
        ({"trace": {"threshold": 250}}, r"idle\.trace: unknown key 'threshold'.*did you mean 'threshold_us'\?"),
        ({"trace": {"threshold_us": 0}}, r"idle\.trace\.threshold_us is 0, expected a whole number from 1 to 1000000"),
        ({"trace": {}}, r"idle\.trace\.threshold_us is missing, expected a whole number"),
        ({"traces": "auto"}, r"idle: unknown key 'traces'.*did you mean 'trace'\?"),
        (
            {"trace": "auto", "axes": {**AXES, "kernel": ["rpi-3.18.16-rt13"], "place": ["host"], "tuning": ["none"]}},
            r"is to be traced, but kernel 'rpi-3\.18\.16-rt13' has no clock mono_raw for it, .* since 4\.2, expected",
        ),
        ({"trace": "auto", "loops": 300_000_000}, r"up to 10 times its 300000000 loops, more than cyclictest counts"),
    ],
)
def test_what_cannot_be_traced_is_refused_in_one_sentence(body: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError, match=says) as refusal:
        load(experiments={"idle": {"axes": AXES, **body}})
    assert str(refusal.value).startswith("m.yml: experiments.idle") and "\n" not in str(refusal.value)


def test_an_experiment_has_the_matrix_s_trace_unless_it_says_otherwise() -> None:
    own = {"axes": {**AXES, "tuning": ["paper"]}, "trace": {"threshold_us": 250}}
    silent = {"axes": {**AXES, "workload": ["bitcount"]}, "trace": "none"}
    matrix = load("auto", experiments={"idle": {"axes": AXES}, "own": own, "silent": silent})
    assert [each.trace for each in matrix.experiments] == [AUTO, 250, None]
    idle, paper, _ = (each.cells for each in matrix.experiments)
    assert matrix.traces == dict.fromkeys(idle, AUTO) | dict.fromkeys(paper, 250)
    assert load().traces == {}


def test_a_trace_is_no_part_of_a_cell() -> None:
    assert [cell.id for cell in load("auto").cells] == [cell.id for cell in load().cells]


def test_a_shared_cell_has_one_threshold() -> None:
    both = {"a": {"axes": AXES}, "b": {"axes": {**AXES, "tuning": ["full"]}, "trace": {"threshold_us": 250}}}
    with pytest.raises(InputError, match=r"experiments\.b\.trace is 250 and that of experiments\.a is auto, but they"):
        load("auto", experiments=both)
    assert set(load(experiments=both).traces.values()) == {250}  # the other does not ask


def test_a_stored_matrix_keeps_what_is_to_be_traced(tmp_path: Path) -> None:
    tree, matrix = ResultsTree(tmp_path), load({"threshold_us": 250})
    store_matrix(tree, matrix, LAB)
    assert read_stored(tmp_path / "late").matrix.traces == matrix.traces
    path = tmp_path / "late" / "matrix.json"
    content = json.loads(path.read_text())
    del content["experiments"][0]["trace"]  # as written before there were traces
    path.write_text(json.dumps(content))
    assert read_stored(tmp_path / "late").matrix.traces == {}


# ------------------------------------------------------------------------------------------------- what is left to do


def test_a_trace_that_exists_is_not_made_again(tmp_path: Path) -> None:
    tree, matrix = ResultsTree(tmp_path), load("auto")
    first, *others = matrix.cells
    tree.keep_untraced("late", first, "no clock")
    assert tree.untraced("late", first) == "no clock"
    assert [each.cell for each in traces_left(matrix, tree, matrix.cells)] == [first, *others]
    tree.keep_trace("late", first, {"trace.json": "{}"})
    assert tree.untraced("late", first) == ""
    assert [each.cell for each in traces_left(matrix, tree, matrix.cells)] == others
    assert tree.read("late") == [] and tree.pending("late", matrix.cells) == list(matrix.cells)


def test_a_record_that_was_measured_another_way_is_no_run_without_a_trace(tmp_path: Path) -> None:
    tree, matrix = ResultsTree(tmp_path), load("auto")
    pending, over_ssh, sealed, _ = matrix.cells
    measure(tree, "late", over_ssh)
    raw = {"cyclictest.json": cyclictest_json(latencies(sealed))}
    tree.write_record("late", sealed, done(), {**system(sealed), "sealed": {"key": "0" * 8}}, raw)
    found = {each.cell: each.from_record for each in traces_left(matrix, tree, (pending, over_ssh, sealed))}
    assert found == {pending: True, over_ssh: True, sealed: False}
    left = traces_left(matrix, tree, (pending, over_ssh, sealed), sealed=(pending, over_ssh, sealed))
    assert [each.from_record for each in left] == [True, False, True]


# ----------------------------------------------------------------------------------------------------- the commands


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A command on MATRIX with a trace; ``run.asked`` is what Ansible was started with, and then measures all cells."""
    lab = virtual_lab()
    hostvars = {
        name: {"rtvirt_board_cpus": board.cpus, "rtvirt_board_clock": "virtual", "rtvirt_board_kernels": KERNELS}
        | {"rtvirt_board_sealed": name == "virtual-cb2", "board_image_profile": "virt_arm64"}
        for name, board in lab.boards.items()
    }
    groups = {**lab.groups, **ROLES, "guests": [f"{name}-guest" for name in lab.boards]}
    monkeypatch.setattr(cli, "read_inventory", lambda path: (groups, hostvars))
    monkeypatch.setattr("rtvirt_runner.report.page.write_report", lambda *_: Report(tmp_path / "page", ""))
    (tmp_path / "m.yml").write_text(yaml.safe_dump({"matrix": {**MATRIX, "trace": "auto"}}))
    tree = ResultsTree(tmp_path / "results")

    class Commands:
        def __init__(self) -> None:
            self.asked: list[dict[str, Any]] = []

        def __call__(self, command: str, *options: str) -> int:
            given = ["--matrix", str(tmp_path / "m.yml"), "--results", str(tree.root), *options]
            return cli.main([command, *given])

    def run_playbook(_: Path, __: Path, extravars: dict[str, Any], **___: Any) -> Outcome:
        commands.asked.append(extravars)
        for cell in load().cells:
            measure(tree, "late", cell)
            tree.keep_untraced("late", cell, "This kernel has no ftrace.")
        return Outcome(True, False, (), (), (), tmp_path / "log")

    commands = Commands()
    monkeypatch.setattr(cli, "run_playbook", run_playbook)
    yield commands


def test_plan_says_which_cells_are_traced(run: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("plan") == 0
    told = capsys.readouterr().out
    assert told.count("(sealed, then traced, later than its p99.9)") == 4
    assert "To trace: 4, over SSH after the cells of the same boot, sealed after all cells, each on a machine" in told
    document = {"matrix": {**MATRIX, "trace": {"threshold_us": 2500}}}
    document["matrix"]["experiments"] = {"idle": {"axes": {**AXES, "board": ["virtual-rpi2"]}}}
    (tmp_path / "m.yml").write_text(yaml.safe_dump(document))
    assert run("plan") == 0
    told = capsys.readouterr().out
    assert (
        told.count("(over SSH, then traced, later than 2,500 us)") == 4
        and "To trace: 4, over SSH after the cells" in told
    )
    assert "4 cells, 4 pending, 4 to trace" in told and "(sealed" not in told
    assert run("plan", "--json") == 0
    boots = json.loads(capsys.readouterr().out)["boots"]
    traces = [cell["trace"] for boot in boots for guest in boot["guests"] for cell in guest["cells"]]
    assert traces == [{"threshold": 2500, "state": "pending"}] * 4


def test_matrix_traces_even_where_all_cells_are_done_and_names_what_was_not_traced(
    run: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run("matrix")
    told = capsys.readouterr().err
    assert "4 of 4 cells to measure and 4 to trace, see" in told and "rtvirt_sealed" not in run.asked[-1]
    run("matrix", "--over-ssh")
    told = capsys.readouterr().err
    assert "0 of 4 cells to measure and 4 to trace, see" in told and run.asked[-1]["rtvirt_sealed"] is False
    assert told.count(" was not traced: This kernel has no ftrace.") == 4
    tree = ResultsTree(tmp_path / "results")
    for cell in load().cells:
        tree.keep_trace("late", cell, {"trace.json": "{}"})
    run("matrix")
    assert "nothing left to do" in capsys.readouterr().err and len(run.asked) == 2


# ------------------------------------------------------------------------------------------------------- playbooks


def reached(playbook: str) -> set[Path]:
    """The playbooks and files of tasks that a playbook comes to."""
    found: set[Path] = set()
    left = [collection.PLAYBOOKS / playbook]
    while left:
        path = left.pop()
        if path not in found:
            found.add(path)
            left += [path.parent / name for name in included(yaml.safe_load(path.read_text()))]
    return found


def included(value: Any) -> Iterator[str]:
    if isinstance(value, list):
        for each in value:
            yield from included(each)
    elif isinstance(value, dict):
        for key, each in value.items():
            if key.rpartition(".")[2] in ("import_playbook", "include_tasks", "import_tasks"):
                yield str(each)
            else:
                yield from included(each)


def test_a_matrix_and_trace_yml_trace_with_the_same_tasks() -> None:
    tracing = [path for path in collection.PLAYBOOKS.rglob("*.yml") if "break_cyclictest" in path.read_text()]
    assert tracing == [collection.PLAYBOOKS / "tasks" / "trace_cell.yml"]
    tracing.append(collection.PLAYBOOKS / "tasks" / "trace_sealed.yml")  # whose scripts are in the machine's queue
    assert set(tracing) <= reached("full_matrix.yml") & reached("trace.yml")
