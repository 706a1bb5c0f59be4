"""The commands, with the inventory given and Ansible never started."""

from pathlib import Path

import pytest
from fakes import KERNELS, ROLES, catalogue, failed, measure, virtual_lab

from rtvirt_runner.catalogue import collection
from rtvirt_runner.cli import main as cli
from rtvirt_runner.matrix.cell import Cell
from rtvirt_runner.matrix.load import Matrix, load_matrix
from rtvirt_runner.matrix.results import ResultsTree
from rtvirt_runner.report.page import Report
from rtvirt_runner.run.playbooks import Outcome
from rtvirt_runner.run.progress import CellResult, Failure, Stage, duration

CELLS = load_matrix(collection.matrix_path("smoke"), virtual_lab(), catalogue()).cells


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ResultsTree:
    """An empty results folder; the lab is known, and a page is written where the real one would be."""
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

    monkeypatch.setattr(cli, "run_playbook", run_playbook)


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


def test_a_finished_matrix_starts_no_ansible(
    results: ResultsTree, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delattr(cli, "run_playbook")
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
