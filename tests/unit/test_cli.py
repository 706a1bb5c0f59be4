"""The commands, with the inventory given and Ansible never started."""

import fcntl
import json
from dataclasses import replace
from pathlib import Path

import pytest
from fakes import KERNELS, ROLES, catalogue, failed, measure, virtual_lab

from rtvirt_runner.catalogue import collection
from rtvirt_runner.cli import main as cli
from rtvirt_runner.matrix.cell import Cell
from rtvirt_runner.matrix.load import Matrix, load_matrix
from rtvirt_runner.matrix.results import ResultsTree
from rtvirt_runner.report.page import Report
from rtvirt_runner.run.now import Now
from rtvirt_runner.run.playbooks import Outcome
from rtvirt_runner.run.progress import CellResult, Failure, Stage, duration

CELLS = load_matrix(collection.matrix_path("smoke"), virtual_lab(), catalogue()).cells


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ResultsTree:
    """An empty results folder; the lab is known, a page is written in the place of the real one, no Ansible starts."""
    monkeypatch.delattr(cli, "run_playbook")
    lab = virtual_lab()
    hostvars = {
        board.name: {"rtvirt_board_cpus": board.cpus, "rtvirt_board_clock": board.clock, "guest_gic": board.gic}
        | {"rtvirt_board_kernels": lab.kernels[board.name]}
        for board in lab.boards.values()
    }
    groups = {**lab.groups, "guests": [f"{name}-guest" for name in lab.boards]}
    monkeypatch.setattr(cli, "read_inventory", lambda path: (groups, hostvars))
    monkeypatch.setattr("rtvirt_runner.report.page.write_report", page_of)
    return ResultsTree(tmp_path)


def page_of(matrix: Matrix, tree: ResultsTree, found: object) -> Report:
    return Report(tree.root / matrix.name / "page", "")


def store(tree: ResultsTree, cell: Cell, reason: str = "") -> None:
    if reason:
        tree.write_record("smoke", cell, failed(reason), {}, {})
    else:
        measure(tree, "smoke", cell)


def run(command: str, tree: ResultsTree, *options: str) -> int:
    return cli.main([command, "--matrix", "smoke", "--results", str(tree.root), *options])


def stub_run(monkeypatch: pytest.MonkeyPatch, tree: ResultsTree, outcome: Outcome, cells: tuple[Cell, ...]) -> None:
    """Let 'Ansible' measure these cells and end like this."""

    def run_playbook(*_args: object, **_options: object) -> Outcome:
        for cell in cells:
            store(tree, cell)
        return outcome

    monkeypatch.setattr(cli, "run_playbook", run_playbook, raising=False)


def outcome_of(ok: bool = True, interrupted: bool = False, failures: tuple[Failure, ...] = ()) -> Outcome:
    cells = (CellResult(CELLS[0].id, CELLS[0].board, "done", "", 2.0),)
    return Outcome(ok, interrupted, cells, failures, (Stage("Measure", 0.0, 75.0),), Path("run.log"))


def test_matrix_prints_the_page_last(
    results: ResultsTree, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stub_run(monkeypatch, results, outcome_of(), CELLS)
    assert run("matrix", results) == 0
    told = capsys.readouterr()
    assert told.out.splitlines()[-1] == str(results.root / "smoke" / "page")
    assert "Measure" in told.err and "1:15 min" in told.err
    assert "next:" not in told.err  # what there is to do is said by the verdicts


def test_matrix_ends_with_what_verdict_says(
    results: ResultsTree, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stub_run(monkeypatch, results, outcome_of(), CELLS)
    assert run("matrix", results) == 0
    *verdicts, _ = capsys.readouterr().out.splitlines()
    assert run("verdict", results) == 1  # these made-up cells are too late for the budget
    assert verdicts == capsys.readouterr().out.splitlines()
    assert {line.split(":")[0] for line in verdicts} == {*(cell.board for cell in CELLS), "    next"}


def test_a_finished_matrix_names_the_next_one_and_its_time(
    results: ResultsTree, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "half an hour" in cli.NEXT["first"]
    monkeypatch.setitem(cli.NEXT, "smoke", cli.NEXT["first"])
    for cell in CELLS:
        store(results, cell)
    assert run("matrix", results) == 0
    again = f"rtvirt matrix --matrix smoke --results {results.root} --repetitions 3"
    assert capsys.readouterr().err.splitlines()[-2:] == [
        f"rtvirt: next: {again}, how certain all of this is; it takes twice as long again",
        f"rtvirt: next: {cli.NEXT['first']}",
    ]


def test_what_is_left_is_the_next_run_with_its_time(
    results: ResultsTree, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stub_run(monkeypatch, results, outcome_of(ok=False), CELLS[1:])
    assert run("matrix", results) == 1
    said = capsys.readouterr().err
    assert f"next: rtvirt matrix --matrix smoke --results {results.root}, for the one cell that is left" in said
    assert f"{CELLS[0].board}: 1 cell, in which cyclictest measures for" in said
    assert run("matrix", results, "--only", CELLS[1].id) == 0
    said = capsys.readouterr().err
    assert f"next: rtvirt matrix --matrix smoke --results {results.root}, for the one cell that is left" in said
    assert f"{CELLS[0].board}: 1 cell, in which" in said and "as fast as the" in said


def test_a_finished_matrix_starts_no_ansible(results: ResultsTree, capsys: pytest.CaptureFixture[str]) -> None:
    for cell in CELLS:
        store(results, cell)
    assert run("matrix", results) == 0
    told = capsys.readouterr()
    assert "nothing left to do" in told.err
    assert told.out.splitlines()[-1] == str(results.root / "smoke" / "page")


def test_what_ansible_calls_success_is_not_believed(
    results: ResultsTree, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stub_run(monkeypatch, results, outcome_of(ok=True), CELLS[1:])
    assert run("matrix", results) == 1
    assert f"cell {CELLS[0].id} was not measured" in capsys.readouterr().err


def test_cells_of_one_reason_are_named_in_one_line(
    results: ResultsTree, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for cell in CELLS[:2]:
        store(results, cell, reason="cb2 did not answer")
    stub_run(monkeypatch, results, outcome_of(ok=False), [])
    assert run("matrix", results) == 1
    said = capsys.readouterr().err
    assert said.count("cb2 did not answer") == 1 and said.count("not measured") == 1
    assert f"rtvirt: cells {CELLS[0].id} and {CELLS[1].id} failed: cb2 did not answer\n" in said


def test_failed_cells_are_named_with_their_reason(
    results: ResultsTree, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    store(results, CELLS[0], reason="isolcpus=1 wanted, none found")
    failure = Failure("virtual-rpi2", "Name the cells that failed", "1 cell failed")
    stub_run(monkeypatch, results, outcome_of(ok=False, failures=(failure,)), CELLS[1:])
    assert run("matrix", results) == 1
    told = capsys.readouterr().err
    assert f"cell {CELLS[0].id} failed: isolcpus=1 wanted, none found" in told
    assert "'Name the cells that failed' failed on virtual-rpi2: 1 cell failed" in told
    assert "run.log" in told


def test_an_interrupted_run_says_how_to_go_on(
    results: ResultsTree, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stub_run(monkeypatch, results, outcome_of(ok=False, interrupted=True), ())
    assert run("matrix", results) == 130
    told = capsys.readouterr().err
    assert f"interrupted, with 0 of {len(CELLS)} cells measured" in told
    assert told.splitlines()[-1] == f"rtvirt: to go on: rtvirt matrix --matrix smoke --results {results.root}"


def test_plan_shows_boots_guests_and_what_is_done(results: ResultsTree, capsys: pytest.CaptureFixture[str]) -> None:
    store(results, CELLS[0])
    assert run("plan", results) == 0
    told = capsys.readouterr().out
    assert f"done     {CELLS[0].id}" in told
    assert f"pending  {CELLS[1].id}" in told
    assert "virtual-cb2: boot linux-6.12-rt, isolcpus=1, repetition 1" in told
    assert "guest minimal, 2 vCPUs" in told
    cells = [cell for cell in CELLS[1:] if cell.board == CELLS[0].board]
    assert (
        f"{CELLS[0].board}: {len(cells)} cells, in which cyclictest measures for {duration(5 * len(cells))} of virtual "
        f"time; as fast as the 1 that are done, they take about {duration(9.75 * len(cells))}, and boots come on top"
    ) in told
    other = next(cell.board for cell in CELLS if cell.board != CELLS[0].board)
    assert f"{other}: " in told and "on an emulated board its emulator's speed decides" in told
    once = " ".join(told.split())
    assert (
        "Each point has 5,000 wake-ups or more, 5 s of the board's clock. If none is late, at most one in 1,670" in once
    )
    assert "and 2,157 an hour (95 %); 'at most one an hour' takes 3.0 h, one in a million 2,995,731 wake-ups" in once


def test_status_counts_done_failed_and_pending(results: ResultsTree, capsys: pytest.CaptureFixture[str]) -> None:
    board_cells = [cell for cell in CELLS if cell.workload == "ecu"]
    store(results, board_cells[0])
    store(results, board_cells[1], reason="too slow")
    assert run("status", results) == 0
    told = capsys.readouterr().out
    row = next(line for line in told.splitlines() if "ecu" in line and "virtual-cb2" in line)
    assert [field.strip() for field in row.strip("│").split("│")][2:] == ["1", "1", "0"]
    assert f"failed: {board_cells[1].id}: too slow" in told


def test_only_restricts_plan_and_run(
    results: ResultsTree, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    cell = CELLS[0]
    assert run("plan", results, "--only", cell.id) == 0
    told = capsys.readouterr()
    assert "1 cells, 1 pending" in told.out and CELLS[1].id not in told.out
    assert told.err == f"rtvirt: next: rtvirt matrix --matrix smoke --results {results.root} --only {cell.id}\n"
    asked: dict[str, object] = {}

    def run_playbook(_playbook: object, _inventory: object, extravars: dict[str, object], **options: object) -> Outcome:
        asked.update(extravars, to_do=options["to_do"])
        store(results, cell)
        return outcome_of()

    monkeypatch.setattr(cli, "run_playbook", run_playbook, raising=False)
    assert run("matrix", results, "--only", cell.id) == 0
    assert asked["rtvirt_only"] == [cell.id] and asked["to_do"] == {cell.board: 1}
    assert run("matrix", results, "--only", cell.id) == 0
    assert "nothing left to do: all 1 chosen cells of matrix 'smoke' are done" in capsys.readouterr().err


def test_only_of_what_does_not_go_together_is_refused(results: ResultsTree, capsys: pytest.CaptureFixture[str]) -> None:
    other = next(cell.board for cell in CELLS if cell.board != CELLS[0].board)
    assert run("plan", results, "--only", CELLS[0].id, "--only", other) == 2
    assert "has no such cells together; leave one out" in capsys.readouterr().err
    assert run("matrix", results, "--only", "nothing-like-it") == 2
    assert "unknown board, experiment or cell of matrix smoke 'nothing-like-it'" in capsys.readouterr().err


def test_repetitions_stand_in_for_those_of_the_matrix(
    results: ResultsTree, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for cell in CELLS:
        store(results, cell)
    assert run("plan", results, "--repetitions", "2", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["cells"], found["pending"]) == (2 * len(CELLS), len(CELLS))  # what is done stays done
    asked: dict[str, object] = {}

    def run_playbook(
        _playbook: object, _inventory: object, extravars: dict[str, object], **_options: object
    ) -> Outcome:
        asked.update(extravars)
        for cell in CELLS:
            store(results, replace(cell, repetition=2))
        return outcome_of()

    monkeypatch.setattr(cli, "run_playbook", run_playbook, raising=False)
    assert run("matrix", results, "--repetitions", "2") == 0
    assert asked["rtvirt_repetitions"] == 2
    capsys.readouterr()
    stored = ["--results", str(results.root)]
    assert cli.main(["status", *stored, "--json"]) == 0
    assert sum(each["done"] for each in json.loads(capsys.readouterr().out)["counts"]) >= 2 * len(CELLS)
    assert run("matrix", results) == 0
    said = capsys.readouterr().err
    assert "these results were measured with --repetitions 2; what is repeated no more leaves the page" in said


def test_repetitions_that_cannot_be_are_refused(results: ResultsTree, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("matrix", results, "--repetitions", "0") == 2
    assert "repetitions is 0, expected" in capsys.readouterr().err


def test_again_keeps_the_earlier_record_and_goes_on_without(
    results: ResultsTree, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for cell in CELLS:
        store(results, cell)
    stub_run(monkeypatch, results, outcome_of(ok=False, interrupted=True), ())
    assert run("matrix", results, "--only", CELLS[0].id, "--again") == 130
    kept = results.record_path("smoke", CELLS[0]).with_name(f"{CELLS[0].id}.earlier-1")
    assert (kept / "status.json").is_file() and results.pending("smoke", CELLS) == [CELLS[0]]
    told = capsys.readouterr().err
    assert f"kept the earlier record as {kept}" in told
    assert told.endswith(f"rtvirt matrix --matrix smoke --results {results.root} --only {CELLS[0].id}\n")
    stub_run(monkeypatch, results, outcome_of(), (CELLS[0],))
    assert run("matrix", results, "--only", CELLS[0].id, "--again") == 0
    assert len(results.read("smoke")) == len(CELLS)  # what was kept aside is no record


def test_plan_as_json_has_every_cell_once(results: ResultsTree, capsys: pytest.CaptureFixture[str]) -> None:
    store(results, CELLS[0])
    assert run("plan", results, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    cells = {
        cell["id"]: cell["state"] for boot in found["boots"] for guest in boot["guests"] for cell in guest["cells"]
    }
    assert cells == {cell.id: "pending" for cell in CELLS} | {CELLS[0].id: "done"}
    assert (found["cells"], found["pending"]) == (len(CELLS), len(CELLS) - 1)


def test_status_as_json(results: ResultsTree, capsys: pytest.CaptureFixture[str]) -> None:
    store(results, CELLS[0])
    store(results, CELLS[1], reason="too slow")
    assert run("status", results, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["failed"] == {CELLS[1].id: "too slow"} and found["running"] == []
    assert sum(row["done"] for row in found["counts"]) >= 1


def test_status_says_what_a_run_does_now(results: ResultsTree, capsys: pytest.CaptureFixture[str]) -> None:
    folder = results.root / "smoke" / "log"
    folder.mkdir(parents=True)
    log = folder / "run-1.log"
    doing = {"virtual-cb2": "Run the cell"}
    with log.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_SH)
        Now(str(log), 1, "Measure", 125, 3, 9, 600, doing).write()
        assert run("status", results) == 0
    told = capsys.readouterr()
    assert "running for 2:05 min: Measure, 3 of 9 cells, about 10:00 min left, boots on top" in told.out
    assert "  virtual-cb2: Run the cell" in told.out and f"  log: {log}" in told.out
    assert "next:" not in told.err
    assert run("status", results) == 0
    assert f"next: rtvirt matrix --matrix smoke --results {results.root}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["converge", "virtual-cb3", "--kernel", "debian-rt", "--split", "0/1"], "unknown board 'virtual-cb3'"),
        (["converge", "virtual-cb2", "--kernel", "debian-rt", "--split", "0-1"], "expected cores of host and guest"),
        (["converge", "virtual-cb2", "--kernel", "debian-tr", "--split", "0/1"], "did you mean 'debian-rt'?"),
        (["converge", "virtual-cb2", "--kernel", "debian-rt", "--split", "0/7"], "has only cores 0-1"),
        (["reset", "virtual-cb3"], "unknown board 'virtual-cb3'"),
        (["reprovision", "virtual-cb3"], "unknown board 'virtual-cb3'"),
        (["ssh", "virtual-cb3"], "unknown board or guest 'virtual-cb3'"),
        (["ssh", "virtual-cb2", "-i", "lab"], "-i comes after virtual-cb2"),
        (["console", "virtual-cb2", "--lines", "0"], "--lines is 0, expected 1 or more"),
        (["trace", "virtual-cb3"], "unknown board of matrix first 'virtual-cb3'"),
        (["trace", "virtual-cb2", "--threshold", "0"], "--threshold is '0', expected auto or whole microseconds"),
        (["trace", "virtual-cb2", "--threshold", "-250"], "--threshold is '-250', expected auto or whole"),
        (["trace", "virtual-cb2", "--cell", "x"], "--cell is 'x', expected a cell of matrix first on board"),
        (["trace", "virtual-cb2", "--matrix", "frist"], "there is no matrix 'frist'"),
    ],
)
def test_what_a_board_cannot_be_asked_for_is_refused_before_ansible_starts(
    words: list[str],
    sentence: str,
    results: ResultsTree,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.delattr("rtvirt_runner.cli.boards.run_playbook")
    monkeypatch.delattr("rtvirt_runner.cli.trace.run_playbook")
    assert cli.main(words) == 2
    assert sentence in capsys.readouterr().err


def test_a_trace_is_said_in_words_and_its_folder_last(
    results: ResultsTree, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: dict[str, object] = {}

    def played(_playbook: Path, _inventory: Path, extravars: dict[str, str], **more: object) -> Outcome:
        asked.update(extravars, limit=more["limit"])
        cell = next(cell for cell in CELLS if cell.id == extravars["rtvirt_trace_cell"])
        explanation = {"latency_us": 700.0, "causes": []}
        content = {"threshold_us": 250, "sentences": ["It was late."], "explanation": explanation}
        results.keep_trace("smoke", cell, {"trace.json": json.dumps(content)})
        return Outcome(True, False, (), (), (), results.root)

    monkeypatch.setattr("rtvirt_runner.cli.trace.run_playbook", played)
    words = ["trace", "virtual-cb2", "--matrix", "smoke", "--results", str(results.root), "--threshold", "250"]
    assert cli.main(words) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "It was late."
    assert said[1].endswith(".trace-1") and "_guest_" in said[1]
    assert (asked["rtvirt_trace_threshold"], asked["limit"]) == ("250", ["virtual-cb2"])


def test_report_without_results_says_what_to_do(results: ResultsTree, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("report", results) == 2
    assert "run 'rtvirt matrix' first" in capsys.readouterr().err


def test_an_unknown_matrix_is_answered_with_the_known_ones(
    results: ResultsTree, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("plan", results, "--matrix", "smokee") == 2
    assert capsys.readouterr().err == (
        "rtvirt: there is no matrix 'smokee', expected one of first, paper, smoke, smoke_armhf, "
        "this_machine or the path of a "
        ".yml file.\n"
    )


def test_help_teaches(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["--help"])
    assert ended.value.code == 0
    told = capsys.readouterr().out
    for word in ("examples:", "results/<matrix>/report/index.html", "virtual time", "docs/writing-a-matrix.md"):
        assert word in told


def test_test_hands_over_to_pytest_with_all_that_it_does_not_know(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    handed: list[str] = []

    def execv(path: str, words: list[str]) -> None:
        handed.extend(words)
        raise SystemExit  # the real one does not return either

    monkeypatch.setattr("os.execv", execv)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit):
        cli.main(["test", "--changed", "HEAD~3", "-k", "grub or card", "tests/machines", "-n", "0"])
    assert handed[1:4] == ["-m", "pytest", "-n"]
    assert handed[5:] == ["--changed", "HEAD~3", "-k", "grub or card", "tests/machines", "-n", "0"]
    assert Path.cwd() == collection.ROOT


def test_a_tier_is_a_folder_now(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["test", "--tier", "lint"]) == 2
    assert capsys.readouterr().err == (
        "rtvirt: --tier lint is not an option any more, expected the tier's folder: rtvirt test tests/lint\n"
    )


def test_other_commands_refuse_what_they_do_not_know(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["plan", "--faster"])
    assert ended.value.code == 2
    assert "unrecognized arguments: --faster" in capsys.readouterr().err


@pytest.mark.parametrize("blocked", ["report", "report/index.html", "report/cells.csv"])
def test_a_report_that_cannot_be_written_is_one_sentence(
    blocked: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where the folder is a file, or a file a folder: for root, too, nothing can be written there."""
    hostvars = {
        board.name: {
            "rtvirt_board_cpus": board.cpus,
            "rtvirt_board_clock": board.clock,
            "rtvirt_board_kernels": KERNELS,
        }
        for board in virtual_lab().boards.values()
    }
    groups = {"boards": [*hostvars], "guests": [f"{name}-guest" for name in hostvars], **ROLES}
    monkeypatch.setattr(cli, "read_inventory", lambda path: (groups, hostvars))
    tree = ResultsTree(tmp_path)
    cells = load_matrix(collection.matrix_path("smoke"), virtual_lab(), catalogue()).cells
    store(tree, cells[0], "broken")
    if blocked == "report":
        (tmp_path / "smoke" / blocked).write_text("")
    else:
        (tmp_path / "smoke" / blocked / "x").mkdir(parents=True)
    assert run("report", tree) == cli.BAD_INPUT
    told = capsys.readouterr().err
    assert told.startswith(f"rtvirt: {tmp_path}/smoke/report") and told.count("\n") == 1
