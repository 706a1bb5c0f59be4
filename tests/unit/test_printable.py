"""What a board says is shown as text wherever it is shown: on a terminal, in a log, in a spreadsheet, on the page."""

from __future__ import annotations

import csv
import io
import re
import unicodedata
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from fakes import catalogue, done, failed, measure, virtual_lab
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from rich.text import Text

from rtvirt_runner.build import artifacts
from rtvirt_runner.catalogue import collection
from rtvirt_runner.cli import inspect as cli_inspect
from rtvirt_runner.cli import main as cli
from rtvirt_runner.matrix.load import load_matrix
from rtvirt_runner.matrix.results import ResultsTree
from rtvirt_runner.printable import printable, spreadsheet_text
from rtvirt_runner.report.figures.drawing import Canvas, Drawing
from rtvirt_runner.report.page import render, table, write_report
from rtvirt_runner.run import playbooks
from rtvirt_runner.run.at_work import CellsAtWork
from rtvirt_runner.run.playbooks import Outcome
from rtvirt_runner.run.progress import Failure, Progress
from rtvirt_runner.run.terminal import LiveView, PlainView, SafeConsole

# Clears the screen, sets the title, forges a line, has a C1 control, reverses text, has a byte that is no UTF-8.
EVIL = "a\x1b[2J\x1b]0;owned\x07\rforged\x9b31m\u202egnp\udc80[bold]<b onload='x'>"
SHOWN = r"a\x1b[2J\x1b]0;owned\x07\rforged\x9b31m\u202egnp\udc80[bold]<b onload='x'>"
MATRIX = load_matrix(collection.matrix_path("smoke"), virtual_lab(), catalogue())


def harmless(text: str) -> bool:
    """Whether the text has no control character, but line ends and what colours it, and none that reorders it."""
    plain = re.sub(r"\x1b\[[0-9;]*m", "", text).replace("\n", "")
    return not any(unicodedata.category(each) in ("Cc", "Cf", "Cs", "Zl", "Zp") for each in plain)


@given(st.text())
def test_nothing_printable_is_a_control(text: str) -> None:
    assert harmless(printable(text)) and "\n" not in printable(text)
    assert printable(printable(text)) == printable(text)
    printable(text).encode()


def test_what_can_be_read_stays() -> None:
    text = "Zürich, 5 µs, 1\u00a0024 × \u2013 日本 'a' \\x1b"
    assert printable(text) == text
    assert printable(EVIL) == SHOWN


@pytest.mark.parametrize("begins", ["=cmd|' /C calc'!A0", "+x", "-x", "@SUM(1)", " =1+1", "\uff1d1", "=1", "-1+1"])
def test_a_formula_becomes_text(begins: str) -> None:
    assert spreadsheet_text(begins) == f"'{begins}"


@pytest.mark.parametrize("begins", ["\t=1", "\r=1", "\n=1"])
def test_a_control_before_a_formula_is_shown(begins: str) -> None:
    assert spreadsheet_text(begins).startswith("\\")


@pytest.mark.parametrize("number", ["-5", "+1.5", "-.5e-3", "0", "idle", "\u2013", "5-3"])
def test_numbers_and_words_stay(number: str) -> None:
    assert spreadsheet_text(number) == number


def test_no_command_shows_a_control(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    lab = virtual_lab()
    hostvars = {
        name: {"rtvirt_board_cpus": each.cpus, "rtvirt_board_clock": each.clock, "guest_gic": each.gic}
        | {"rtvirt_board_kernels": lab.kernels[name]}
        for name, each in lab.boards.items()
    }
    groups = {**lab.groups, "guests": [f"{name}-guest" for name in lab.boards]}
    monkeypatch.setattr(cli, "read_inventory", lambda path: (groups, hostvars))
    tree = ResultsTree(tmp_path)
    tree.write_record("smoke", MATRIX.cells[0], failed(f"{EVIL}\nrtvirt: all is well"), {}, {})
    cli.main(["status", "--matrix", "smoke", "--results", str(tmp_path)])
    told = capfd.readouterr()
    assert harmless(told.out) and f"{SHOWN}\\nrtvirt: all is well" in told.out

    outcome = Outcome(False, False, (), (Failure(EVIL, EVIL, EVIL),), (), Path("log"))
    monkeypatch.setattr(cli, "run_playbook", lambda *_, **__: outcome)
    assert cli.main(["matrix", "--matrix", "smoke", "--results", str(tmp_path)]) == cli.FAILED_CELLS
    told = capfd.readouterr()
    assert harmless(told.err) and told.err.count(SHOWN) >= 4
    assert "\nrtvirt: all is well" not in told.err

    state = {
        "board": "b",
        "facts": {"uname_r": EVIL, "settings": [dict.fromkeys(("setting", "wanted", "found"), EVIL)]},
    }
    monkeypatch.setattr(cli_inspect, "read_state", lambda *_: (outcome, state | {"guest": None}))
    cli.main(["inspect", "virtual-cb2"])
    told = capfd.readouterr()
    assert harmless(told.out) and SHOWN in told.out

    assert cli.main(["plan", "--matrix", EVIL.replace("\udc80", ""), "--results", str(tmp_path)]) == cli.BAD_INPUT
    told = capfd.readouterr()
    assert harmless(told.err) and told.err.count("\n") == 1


@pytest.mark.parametrize("terminal", [False, True])
def test_a_console_interprets_nothing(terminal: bool) -> None:
    console = SafeConsole()
    console.file, console._force_terminal, console.width = io.StringIO(), terminal, 300
    console.print(EVIL)
    console.print(Text(EVIL, style="bold"))
    told = cast(io.StringIO, console.file).getvalue()
    assert harmless(told) and SHOWN in told and told.count(r"a\x1b[2J") == 2


@pytest.mark.parametrize("view", [PlainView, LiveView])
def test_progress_shows_no_control(view: type[PlainView | LiveView]) -> None:
    console = SafeConsole()
    console.file, console.width = io.StringIO(), 300
    with view(cast(Console, console)) as shown:
        shown.say([EVIL])
    told = cast(io.StringIO, console.file).getvalue()
    assert harmless(re.sub(r"\x1b\[\?25[lh]", "", told)) and SHOWN in told


def test_logs_keep_no_control(tmp_path: Path) -> None:
    """That of a run, in which Ansible says what boards answered, and that of a build."""
    said: list[str] = []
    view = SimpleNamespace(say=said.extend, refresh=lambda *_: None)
    with (tmp_path / "run.log").open("w") as log:
        run = playbooks._Run(Progress({}, 0.0), cast(PlainView, view), log, CellsAtWork.create(tmp_path / "cells"))
        run.take_event({"event": "verbose", "stdout": EVIL, "pid": 1})
    kept = (tmp_path / "run.log").read_text()
    assert harmless(kept) and "owned" in kept

    script = tmp_path / "build.sh"
    script.write_text("printf 'error: \\033]0;owned\\007 \\377\\n'; exit 1\n")
    with pytest.raises(artifacts.BuildError) as caught:
        artifacts.build(artifacts.Recipe("x", script), tmp_path, said.append)
    assert r"\x1b]0;owned\x07" in str(caught.value) and harmless(str(caught.value))
    assert harmless(next((tmp_path / "logs").glob("x-*.log")).read_text())


def test_a_log_without_room_does_not_end_a_run(tmp_path: Path) -> None:
    said: list[str] = []
    view = SimpleNamespace(say=said.extend, refresh=lambda *_: None)
    with Path("/dev/full").open("w") as log:
        run = playbooks._Run(Progress({}, 0.0), cast(PlainView, view), log, CellsAtWork.create(tmp_path / "cells"))
        for _ in range(2):
            run.take_event({"event": "runner_on_start", "stdout": "x", "event_data": {"host": "b", "task": "t"}})
    assert said == ["/dev/full: No space left on device, so the run goes on without a log; make room there"]


def test_the_table_is_safe_in_a_spreadsheet(tmp_path: Path) -> None:
    tree = ResultsTree(tmp_path)
    measure(tree, "smoke", MATRIX.cells[0])
    tree.write_record("smoke", MATRIX.cells[1], failed("=cmd|' /C calc'!A0"), {}, {})
    tree.write_record("smoke", MATRIX.cells[2], failed(EVIL), {"sealed": {"key": "@SUM(A1)"}}, {})
    rows = list(csv.DictReader(io.StringIO(table(tree.load_records("smoke")))))
    by_id = {row["cell_id"]: row for row in rows}
    assert by_id[MATRIX.cells[1].id]["reason"].startswith("'=cmd")
    assert by_id[MATRIX.cells[2].id]["reason"].startswith("a\\x1b")
    assert by_id[MATRIX.cells[2].id]["sealed_key"] == "'@SUM(A1)"
    assert int(by_id[MATRIX.cells[0].id]["samples"]) > 0
    assert not any(text[0] in "=+-@\t\r" for row in rows for text in row.values() if text and not is_number(text))


def is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


class Elements(HTMLParser):
    """Collects elements with their attributes, and texts."""

    def __init__(self) -> None:
        super().__init__()
        self.elements: list[tuple[str, list[tuple[str, str | None]]]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, attrs))

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_shows_what_boards_said_as_text(tmp_path: Path) -> None:
    tree = ResultsTree(tmp_path)
    facts = {"uname_r": EVIL, f"<script>{EVIL}": "1", "settings": [{"setting": EVIL, "wanted": EVIL, "found": EVIL}]}
    tree.write_record("smoke", MATRIX.cells[0], failed(EVIL), {"board": facts, "guest": facts}, {})
    tree.write_record("smoke", MATRIX.cells[1], done(), {}, {"cyclictest.json": EVIL.encode(errors="replace")})
    page = Elements()
    text = render(MATRIX, tree.load_records("smoke"))
    page.feed(text)
    assert harmless(text) and SHOWN in page.text
    assert not [each for each in page.elements if each[0] in ("script", "b") or any("onload" in a for a, _ in each[1])]
    assert harmless(write_report(MATRIX, tree).page.read_text())


def test_a_figure_shows_texts_as_texts() -> None:
    canvas = Canvas(100, 20)
    canvas.text(0, 10, '<script>$\\frac$ & "x"')
    svg = Drawing("x", f'"><script>{EVIL}\\1', lambda width, narrow: canvas).inline()
    page = Elements()
    page.feed(svg)
    assert harmless(svg) and "<script" not in svg
    assert '<script>$\\frac$ & "x"' in page.text
    assert dict(page.elements[0][1])["aria-label"] == f'"><script>{SHOWN}\\1'
