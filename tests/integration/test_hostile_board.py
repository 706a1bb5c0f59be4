"""Boards that answer as slowly, as much and as strangely as they like: what is not whole and true is not done."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import time
import unicodedata
from contextlib import ExitStack
from pathlib import Path

import hostile_board
import pytest
from ssh_board import begin_cells, matrix, started_board

from rtvirt_runner.matrix.results import Record, ResultsTree
from rtvirt_runner.matrix.stored import store_matrix
from rtvirt_runner.printable import printable

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="a board of its own namespaces needs root")
MOST_KIB = 500 << 10  # of the largest process of the controller
BOARDS = 3
SLOW = pytest.mark.slow(
    exercises=[
        "playbooks/tasks/cell.yml",
        "playbooks/tasks/record_failure.yml",
        "plugins/action/measure_cell.py",
        "plugins/plugin_utils",
        "roles/measure/files",
        "rtvirt_runner/machine",
        "rtvirt_runner/matrix",
        "rtvirt_runner/parsers",
    ]
)


@pytest.mark.parametrize(("count", "slack_s"), [(18, 100), pytest.param(200, 40, marks=SLOW)])
def test_no_cell_is_done_whose_answer_is_not_whole(count: int, slack_s: int, tmp_path: Path) -> None:
    """Of the few, none takes all the time that it has."""
    seed, names = 14, [f"bench-{number}" for number in range(BOARDS)]
    planned, lab = matrix(names, -(-count // BOARDS))
    by_board = {name: [cell for cell in planned.cells if cell.board == name] for name in names}
    ways = {}
    with ExitStack() as boards:
        started = []
        for first, name in enumerate(names):
            (tmp_path / name).mkdir()
            arguments = map(str, (seed, count, first, BOARDS))
            asked = ["-c", f"exec /usr/bin/python3 -I /run/hostile_board.py {shlex.join(arguments)}"]
            board = boards.enter_context(started_board(tmp_path / name, *asked, name=name))
            program = Path(f"/proc/{board.pid}/root/run/hostile_board.py")
            program.write_bytes(Path(hostile_board.__file__).read_bytes())
            started.append(board)
            answers = hostile_board.order(seed, count)[first::BOARDS]
            ways |= dict(zip(by_board[name], answers, strict=False))
        assert len(ways) == count
        tree = ResultsTree(tmp_path / "results")
        store_matrix(tree, planned, lab)
        began = time.monotonic()
        playing = begin_cells(tmp_path, started, [*ways], slack_s)
        assert playing.stdout is not None
        told = playing.stdout.read()
        _, status, usage = os.wait4(playing.pid, 0)  # of the playbook and all that it waited for
        playing.returncode = os.waitstatus_to_exitcode(status)
        seconds = time.monotonic() - began
        assert playing.returncode == 0, told
        assert [board.read("/run/cells") for board in started] == [
            str(len(range(first, count, BOARDS))) for first in range(BOARDS)
        ]
    found = {each.cell: each for each in tree.read("here") if isinstance(each, Record)}
    assert found.keys() == ways.keys()
    honest = {cell for cell, pair in ways.items() if all(way.startswith("honest") for way in pair)}
    done = {cell for cell, record in found.items() if record.status.status == "done" and record.reason == ""}
    assert {ways[cell] for cell in done - honest} == set(), "done, and should not be"
    assert {(ways[cell], found[cell].reason[:300]) for cell in honest - done} == set(), "failed, and should not have"
    reasons = sorted({(ways[cell], printable(found[cell].reason)[:150]) for cell in found if cell not in done})
    for pair, reason in reasons:
        print(f"{' / '.join(pair)}: {reason}")
    print(f"{count} cells, {len(done)} done, in {seconds:.0f} s; the largest process had {usage.ru_maxrss >> 10} MiB")
    assert all(record.reason for cell, record in found.items() if cell not in done)
    assert not list(tmp_path.rglob("elsewhere"))
    assert usage.ru_maxrss < MOST_KIB
    assert {letter for letter in told if unicodedata.category(letter) == "Cc"} == {"\n"}  # Ansible's own output
    # Each failed cell has one line, of which a terminal interprets nothing, and the page is made.
    rtvirt = Path(sys.executable).parent / "rtvirt"
    for command in ("status", "report"):
        shown = subprocess.run([rtvirt, command, "--results", tree.root], capture_output=True, text=True, check=False)
        assert shown.returncode == 0, shown.stdout + shown.stderr
        assert all(line == printable(line) for line in (shown.stdout + shown.stderr).split("\n"))
        if command == "status":
            lines = shown.stdout.split("\n")
            assert all(sum(cell.id in line for line in lines) == (cell not in done) for cell in ways), shown.stdout
