"""Whatever is in one record: it is named with its reason, the others are reported, and its cell is measured again."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shutil
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fakes import DATA, catalogue, cyclictest_json, done, failed, measure, system, virtual_lab, workload_output
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rtvirt_runner.cli import main as cli
from rtvirt_runner.matrix.load import load_matrix
from rtvirt_runner.matrix.results import SCHEMA_VERSION, BadRecord, Record, ResultsError, ResultsTree, unusable
from rtvirt_runner.report.page import render_page, table, write_report

PATH = DATA / "matrix" / "report.yml"
MATRIX = load_matrix(PATH, virtual_lab(), catalogue())
CELL, *GOOD = MATRIX.cells[:3]
OTHER = MATRIX.cells[3]


@pytest.fixture
def tree(tmp_path: Path) -> ResultsTree:
    """Two good records, and one of CELL that a test then damages."""
    tree = ResultsTree(tmp_path / "results")
    for cell in (CELL, *GOOD):
        measure(tree, MATRIX.name, cell)
    return tree


@pytest.fixture
def rtvirt(tree: ResultsTree, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], int]:
    lab = virtual_lab()
    hostvars = {
        board.name: {"rtvirt_board_cpus": board.cpus, "rtvirt_board_clock": board.clock, "guest_gic": board.gic}
        for board in lab.boards.values()
    }
    groups = {**lab.groups, "guests": [f"{name}-guest" for name in lab.boards]}
    monkeypatch.setattr(cli, "read_inventory", lambda path: (groups, hostvars))
    return lambda command: cli.main([command, "--matrix", str(PATH), "--results", str(tree.root)])


def edited(name: str, **values: Any) -> Callable[[Path], None]:
    """Damage that replaces values of a JSON file; None removes one."""

    def damage(record: Path) -> None:
        known = json.loads((record / name).read_text())
        kept = {key: value for key, value in {**known, **values}.items() if value is not None}
        (record / name).write_text(json.dumps(kept))

    return damage


def replaced(name: str, content: bytes) -> Callable[[Path], None]:
    def damage(record: Path) -> None:
        (record / name).write_bytes(content)

    return damage


def cut_off(name: str) -> Callable[[Path], None]:
    return lambda record: os.truncate(record / name, (record / name).stat().st_size // 2)


def by_folder(name: str) -> Callable[[Path], None]:
    def damage(record: Path) -> None:
        (record / name).unlink()
        (record / name).mkdir()

    return damage


def by_fifo(record: Path) -> None:
    (record / "cyclictest.json").unlink()
    os.mkfifo(record / "cyclictest.json")


def by_loop(record: Path) -> None:
    (record / "status.json").unlink()
    (record / "status.json").symlink_to("status.json")


def by_file(record: Path) -> None:
    shutil.rmtree(record)
    record.write_text("no folder")


def by_another(record: Path) -> None:
    shutil.rmtree(record)
    measure(ResultsTree(record.parents[2] / "another"), "m", OTHER).rename(record)


def ended_early(record: Path) -> None:
    (record / "cyclictest.json").write_text(cyclictest_json({50: 1458}))


FAULTS: dict[str, tuple[Callable[[Path], None], str]] = {
    "empty status": (replaced("status.json", b""), "status.json is damaged: Expecting value"),
    "status cut off": (cut_off("status.json"), "status.json is damaged: "),
    "status is a list": (replaced("status.json", b"[]"), "status.json is damaged: it holds '[]', expected an object"),
    "no UTF-8": (replaced("status.json", b'{"reason": "\xff"}'), "status.json is damaged: it is no UTF-8 text"),
    "10,000 brackets": (replaced("system.json", b"[" * 10_000), "system.json is damaged: it is nested more than 64"),
    "100 MB": (lambda record: os.truncate(record / "system.json", 100 << 20), "system.json has 104857600 bytes, exp"),
    "100 MB of output": (lambda record: os.truncate(record / "cyclictest.json", 100 << 20), "cyclictest.json has 1048"),
    "a huge number": (replaced("status.json", b'{"measure_s": 1e999}'), "number 1e999 is beyond a double"),
    "NaN seconds": (replaced("status.json", b'{"measure_s": NaN}'), "NaN is no number"),
    "seconds are text": (edited("status.json", measure_s="8.25"), "status.json: measure_s is '8.25', expected seconds"),
    "negative commands": (edited("status.json", ssh_commands=-1), "ssh_commands is -1, expected a whole number"),
    "no reason": (edited("status.json", reason=None), "status.json: reason is missing, expected text"),
    "another word": (edited("status.json", status="DONE"), "status is 'DONE', expected done or failed"),
    "newer schema": (edited("status.json", schema_version=SCHEMA_VERSION + 1), "schema_version 2, expected 1"),
    "schema is true": (edited("status.json", schema_version=True), "schema_version True, expected 1"),
    "no status": (lambda record: (record / "status.json").unlink(), "status.json is missing: the record is incomplete"),
    "no cell": (lambda record: (record / "cell.json").unlink(), "cell.json is missing: the record is incomplete"),
    "no system": (lambda record: (record / "system.json").unlink(), "system.json is missing: the record is incomplete"),
    "no output": (lambda record: (record / "cyclictest.json").unlink(), "has neither cyclictest.json nor cyclictest"),
    "board is a list": (edited("system.json", board=[1]), "system.json: board is [1], expected an object or null"),
    "loops are text": (edited("cell.json", loops="5000"), "A cell: loops is '5000', expected a whole number"),
    "an edited cell": (edited("cell.json", loops=1458), "cell.json holds no cell: Cell '"),
    "a folder for a file": (by_folder("status.json"), "status.json is a folder, expected a file"),
    "a folder for output": (by_folder("cyclictest.json"), "cyclictest.json is a folder, expected a file"),
    "a FIFO": (by_fifo, "cyclictest.json is no regular file, expected a file"),
    "a loop of links": (by_loop, "status.json cannot be read (Too many levels of symbolic links)"),
    "a file for a folder": (by_file, "It is no folder, expected one with the files of a record"),
    "another cell's": (by_another, f"It is the record of another cell, {OTHER.id}"),
    "another's id": (edited("status.json", cell_id=OTHER.id), f"It is the record of another cell, {OTHER.id}"),
    "ended early": (ended_early, "cyclictest took 1,458 of 5,000 samples: it was ended early; measure the cell again."),
}


@pytest.fixture(params=sorted(FAULTS))
def fault(request: pytest.FixtureRequest, tree: ResultsTree) -> str:
    """The reason that must be given for CELL's record, which is damaged."""
    damage, reason = FAULTS[request.param]
    damage(tree.record_path(MATRIX.name, CELL))
    return reason


def test_one_is_named_the_others_are_reported(
    fault: str, tree: ResultsTree, rtvirt: Callable[[str], int], capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(tree.root.rglob("*"))
    assert rtvirt("status") == 3
    told = [line for line in capsys.readouterr().out.splitlines() if line.startswith("damaged: ")]
    assert len(told) == 1 and told[0].startswith(f"damaged: {CELL.board}/{CELL.id}: ") and fault in told[0]
    assert sorted(tree.root.rglob("*")) == before  # nothing is moved by asking
    assert tree.pending(MATRIX.name, (CELL, *GOOD)) == [CELL]
    assert [each.cell for each in tree.load_records(MATRIX.name) if each.output] == sorted(GOOD, key=lambda c: c.id)


@pytest.mark.parametrize("fault", ["NaN seconds", "board is a list", "a FIFO", "another cell's"], indirect=True)
def test_the_page_has_the_others_and_a_line_with_the_reason(
    fault: str, tree: ResultsTree, rtvirt: Callable[[str], int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert rtvirt("report") == 3
    assert fault in capsys.readouterr().err
    page = (tree.root / MATRIX.name / "report" / "index.html").read_text(encoding="utf-8")
    assert f"2 of {len(MATRIX.cells)} cells measured" in page
    row = page[page.index(f"<tr><td><code>{CELL.id}") :].partition("</tr>")[0]
    assert "damaged" in row and fault.replace("'", "&#39;") in row


def test_it_is_kept_aside_when_its_cell_is_measured_again(fault: str, tree: ResultsTree) -> None:
    path = tree.record_path(MATRIX.name, CELL)
    if "schema_version 2" in fault:
        with pytest.raises(ResultsError, match="written by a newer rtvirt"):
            measure(tree, MATRIX.name, CELL)
        return
    about = path.lstat()
    measure(tree, MATRIX.name, CELL)
    assert tree.is_done(MATRIX.name, CELL)
    assert path.with_name(f"{CELL.id}.damaged-1").lstat().st_ino == about.st_ino  # the same folder, renamed
    assert unusable(tree.read(MATRIX.name)) == []
    assert len(tree.load_records(MATRIX.name)) == 3


def test_each_that_is_kept_aside_has_a_name_of_its_own(tree: ResultsTree) -> None:
    path = tree.record_path(MATRIX.name, CELL)
    for _ in range(3):
        (path / "status.json").write_text("{")
        measure(tree, MATRIX.name, CELL)
    aside = sorted(each.name for each in path.parent.iterdir() if "damaged" in each.name)
    assert aside == [f"{CELL.id}.damaged-{number}" for number in (1, 2, 3)]


def test_plan_names_it_too(tree: ResultsTree, rtvirt: Callable[[str], int], capsys: pytest.CaptureFixture[str]) -> None:
    FAULTS["empty status"][0](tree.record_path(MATRIX.name, CELL))
    assert rtvirt("plan") == 3
    told = capsys.readouterr()
    assert "status.json is damaged" in told.err and f"pending  {CELL.id}" in told.out


def test_compare_names_it_and_compares_the_others(tree: ResultsTree, capsys: pytest.CaptureFixture[str]) -> None:
    copy = tree.root.with_name("copy")
    shutil.copytree(tree.root, copy)
    FAULTS["empty status"][0](tree.record_path(MATRIX.name, CELL))
    assert cli.main(["compare", "--exact", str(tree.root), str(copy)]) == 3
    told = capsys.readouterr()
    assert f"{CELL.id}: status.json is damaged" in told.err
    assert "3 cells: " in told.out


def test_a_copy_beside_a_record_is_named(tree: ResultsTree) -> None:
    path = tree.record_path(MATRIX.name, CELL)
    shutil.copytree(path, path.with_name("copy of it"))
    (bad,) = unusable(tree.read(MATRIX.name))
    assert bad.name == f"{CELL.board}/copy of it" and "record of another cell" in bad.reason
    page = write_report(MATRIX, tree).page.read_text(encoding="utf-8")
    assert f"<code>{CELL.board}/copy of it</code>" in page and "3 of 24 cells measured" in page


def test_a_file_that_may_not_be_read_is_named() -> None:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        tree = ResultsTree(Path(folder))
        for cell in (CELL, OTHER):
            measure(tree, MATRIX.name, cell)
        (tree.record_path(MATRIX.name, CELL) / "status.json").chmod(0)
        with another_user():
            found = tree.read(MATRIX.name)
        (bad,) = (each for each in found if isinstance(each, BadRecord))
        assert bad.reason == "status.json cannot be read (Permission denied)."
        assert [each.cell for each in found if isinstance(each, Record)] == [OTHER]
        tree.record_path(MATRIX.name, CELL).parent.chmod(0)
        with another_user():
            reasons = [each.reason for each in unusable(tree.read(MATRIX.name))]
        assert "The folder cannot be read (Permission denied)." in reasons


class another_user:
    """While it lasts, files are opened as somebody without rights, if the tests run as root."""

    def __enter__(self) -> None:
        self.uid = os.geteuid()
        if self.uid == 0:
            os.seteuid(65534)

    def __exit__(self, *_: object) -> None:
        os.seteuid(self.uid)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=10,
)


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(["status.json", "cell.json", "system.json", "cyclictest.json"]), JSON | st.binary(max_size=40))
def test_any_file_of_any_content_damages_one_record_at_most(tree: ResultsTree, name: str, content: Any) -> None:
    path = tree.record_path(MATRIX.name, CELL) / name
    before = path.read_bytes()
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    try:
        assert tree.pending(MATRIX.name, GOOD) == []
        assert len(unusable(tree.read(MATRIX.name))) == (0 if tree.is_done(MATRIX.name, CELL) else 1)
    finally:
        path.write_bytes(before)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ResultsTree]:
    tree = ResultsTree(tmp_path_factory.mktemp("drawn"))
    for cell in (CELL, *GOOD):
        measure(tree, MATRIX.name, cell)
    yield tree


ODD_FACTS = {
    "settings": [{"setting": ["x"], "state": {}}, 1, {}],
    "vcpu_threads": {"a": float(2**60)},
    "guest_accelerator": ["tcg"],
    "realtime": "\u2028\x1b[31m",
    "uname_r": [[[[]]]],
}


ODD_SYSTEMS = [
    {"board": ODD_FACTS, "guest": ODD_FACTS, "emulator": ODD_FACTS, "sealed": {"key": ["x"]}, "run": {}},
    {"board": None, "guest": None, "emulator": {"warning": {"x": 1}}, "sealed": {}},
]


def told_by(drawn: ResultsTree, facts: Any) -> list[Record | BadRecord]:
    """What the results folder holds once the record of CELL has these facts."""
    (drawn.record_path(MATRIX.name, CELL) / "system.json").write_text(json.dumps(facts), encoding="utf-8")
    return drawn.read(MATRIX.name)


@settings(max_examples=12, suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(st.sampled_from(["board", "guest", "emulator", "run", "sealed", "else"]), JSON, max_size=4))
def test_whatever_a_machine_said_page_table_and_figures_are_made(drawn: ResultsTree, facts: Any) -> None:
    found = told_by(drawn, facts)
    stored = {each.cell: each for each in found if isinstance(each, Record)}
    records = [stored[cell] for cell in MATRIX.cells if cell in stored]
    bad = unusable(found)
    page = render_page(MATRIX, records, bad)
    assert f"{3 - len(bad)} of {len(MATRIX.cells)} cells measured" in page.text
    assert table(records).count("\n") >= 1 + len(records)
    for drawing in page.figures:
        ElementTree.fromstring(drawing.svg())


@pytest.mark.parametrize("facts", ODD_SYSTEMS, ids=["odd facts", "no facts"])
def test_a_page_of_odd_facts_is_written_with_all_its_files(drawn: ResultsTree, facts: Any) -> None:
    bad = unusable(told_by(drawn, facts))
    page = write_report(MATRIX, drawn).page
    assert f"{3 - len(bad)} of {len(MATRIX.cells)} cells measured" in page.read_text(encoding="utf-8")
    figures = {path.suffix for path in (page.parent / "figures").iterdir()}
    assert figures == {".svg", ".png"} and (page.parent / "cells.csv").is_file()


# ------------------------------------------------------------------------------------------- a page with fewer cells


def test_a_page_with_fewer_cells_keeps_the_one_before_and_says_so(
    tree: ResultsTree, rtvirt: Callable[[str], int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert rtvirt("report") == 0
    folder = tree.root / MATRIX.name / "report"
    good = (folder / "index.html").read_bytes()
    changed = load_matrix(PATH, virtual_lab("real"), catalogue())  # other cells under the same name
    said = write_report(changed, tree).kept
    assert "had 3 measured cells, this one has 0" in said
    kept = folder.with_name("report.previous-1")
    assert str(kept / "index.html") in said
    assert (kept / "index.html").read_bytes() == good
    assert "0 of 24 cells measured" in (folder / "index.html").read_text(encoding="utf-8")
    assert write_report(changed, tree).kept == ""  # the page before had none either
    assert write_report(MATRIX, tree).kept == ""  # the good page again
    assert "report.previous-1" in write_report(changed, tree).kept  # the same page is kept once
    write_report(MATRIX, tree)
    shutil.rmtree(tree.record_path(MATRIX.name, GOOD[0]))
    capsys.readouterr()
    assert rtvirt("report") == 3
    assert "had 3 measured cells, this one has 2" in capsys.readouterr().err
    assert sorted(path.name for path in (tree.root / MATRIX.name).iterdir() if "report" in path.name) == [
        "report",
        "report.previous-1",
    ]
    assert len(tree.load_records(MATRIX.name)) == 2  # what is kept is no record


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> ResultsTree:
    """Three good records and their page, to be copied."""
    tree = ResultsTree(tmp_path_factory.mktemp("written") / "results")
    for cell in (CELL, *GOOD):
        measure(tree, MATRIX.name, cell)
    write_report(MATRIX, tree)
    return tree


@pytest.mark.parametrize("content", [None, b"\xff\xfe", b"no,columns\n1,2\n"])
def test_a_page_whose_cells_cannot_be_counted_is_kept(
    content: bytes | None, written: ResultsTree, tmp_path: Path
) -> None:
    tree = ResultsTree(shutil.copytree(written.root, tmp_path / "results"))
    path = tree.root / MATRIX.name / "report" / "cells.csv"
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    assert "a cells.csv that cannot be read, and is kept as" in write_report(MATRIX, tree).kept


# ------------------------------------------------------------------------------------------------------------- speed


def test_sixty_large_records_are_read_in_seconds(tmp_path: Path) -> None:
    tree = ResultsTree(tmp_path)
    histogram = dict.fromkeys(range(40, 2040), 500)
    cells = [dataclasses.replace(OTHER, repetition=number, loops=1_000_000) for number in range(1, 61)]
    for cell in cells:
        raw = {"cyclictest.json": cyclictest_json(histogram), "workload.txt": workload_output(cell)}
        tree.write_record("m", cell, done(), system(cell), raw)
    began = time.process_time()
    assert tree.pending("m", cells) == []
    assert unusable(tree.read("m")) == []
    assert time.process_time() - began < 5  # 0.5 s where this was written


def test_a_failed_record_is_no_bad_one(tree: ResultsTree) -> None:
    tree.write_record(MATRIX.name, OTHER, failed("The board went away."), {}, {"cyclictest.json": "{"})
    assert unusable(tree.read(MATRIX.name)) == []
    assert tree.pending(MATRIX.name, [OTHER]) == [OTHER]


def test_reasons_are_one_line(fault: str, tree: ResultsTree) -> None:
    (bad,) = unusable(tree.read(MATRIX.name))
    assert re.fullmatch(r"[^\n]+[.?]", bad.reason)
