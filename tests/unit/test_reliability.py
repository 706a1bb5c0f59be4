"""The table of faults in docs/reliability.md has a test in each row, and the tests that are about faults have a row."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from rtvirt_runner.catalogue import collection

ROOT = collection.ROOT
PAGE = ROOT / "docs" / "reliability.md"
HEADS = {
    "what was done | what was lost | what the user sees | until it goes on | test",
    "what was done | what was said then | what is said now | test",
}
GROUPS = [
    *("A cell", "The connection", "The board", "A hostile board", "Two runs", "A build", "Provisioning and booting"),
    *("The controller's disk", "Records and pages", "Bad input"),
]
# Each of their tests has a row.
_INTEGRATION = ("board_faults", "full_results", "hostile_board", "ending", "interrupted_builds", "writers")
FAULT_FILES = [f"tests/integration/test_{name}.py" for name in _INTEGRATION]
FAULT_FILES += [f"tests/machines/test_{name}.py" for name in ("sealed_faults", "hanging_kernels")]
_LEFT_OUT = re.compile(r"\bmark\.(skip|xfail)\b(?!if)")


@cache
def defined_tests(path: Path) -> dict[str, bool]:
    """The tests of a file, and whether each may run: it is not left out always."""
    tree = ast.parse(path.read_text()) if path.is_file() else ast.Module([], [])
    return {
        node.name: not any(_LEFT_OUT.search(ast.unparse(each)) for each in node.decorator_list)
        for node in tree.body
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    }


def rows(text: str) -> list[list[str]]:
    """The cells of each row of the page's tables, without heads."""
    lines = [line.removeprefix("| ").removesuffix(" |") for line in text.splitlines() if line.startswith("|")]
    return [line.split(" | ") for line in lines if line not in HEADS and not line.startswith("|---")]


def named(row: list[str]) -> list[str]:
    """The tests that the last cell of a row names."""
    return re.findall(r"`([^`]+)`", row[-1])


def wrong_rows(text: str) -> Iterator[str]:
    """What is wrong with the rows of the page, one sentence each."""
    for row in rows(text):
        if len(row) not in (4, 5) or not all(cell.strip() for cell in row):
            yield f"'{row[0]}' has {len(row)} cells, expected 5 with something in each"
        if not re.fullmatch(r"`[^`]+`( `[^`]+`)*", row[-1]):
            yield f"'{row[0]}' names no test, or something else: {row[-1]}"
        for each in named(row):
            file, _, name = each.partition("::")
            if not re.fullmatch(r"tests/\w+/test_\w+\.py", file) or name not in defined_tests(ROOT / file):
                yield f"'{row[0]}' names {each}, which does not exist"
            elif not defined_tests(ROOT / file)[name]:
                yield f"'{row[0]}' names {each}, which never runs"


def test_every_row_names_tests_that_exist() -> None:
    assert list(wrong_rows(PAGE.read_text())) == []


def test_every_group_has_rows() -> None:
    text = PAGE.read_text()
    table = text.partition("## The table of faults")[2].partition("\n## ")[0]
    groups = dict(re.findall(r"^### ([^\n]*)\n(.*?)(?=^### |\Z)", table, re.M | re.S))
    assert list(groups) == GROUPS
    assert all(len(rows(group)) >= 3 for group in groups.values())
    assert len(rows(text.partition("## Six that were found")[2].partition("\n## ")[0])) == 6


@pytest.mark.parametrize("file", FAULT_FILES)
def test_every_test_of_a_file_about_faults_has_a_row(file: str) -> None:
    listed = {each for row in rows(PAGE.read_text()) for each in named(row)}
    assert {f"{file}::{name}" for name in defined_tests(ROOT / file)} - listed == set()


ROW = "| it fails | nothing | a sentence | at once | {} |\n"
GOOD = "`tests/unit/test_relay.py::test_a_command_that_does_not_end_is_ended`"


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        (ROW.format(GOOD), ""),
        (ROW.format(f"{GOOD} {GOOD}"), ""),
        (ROW.format(GOOD[:-2] + "`"), "test_a_command_that_does_not_end_is_ende, which does not exist"),
        (ROW.format(GOOD.replace("relay.py", "relais.py")), "which does not exist"),
        (ROW.format("`tests/unit/test_relay.py`"), "names tests/unit/test_relay.py, which does not exist"),
        (ROW.format("`tests/unit/test_relay.py::relayed`"), "which does not exist"),
        (ROW.format("the same"), "names no test"),
        (ROW.format(f"{GOOD}, the same"), "names no test"),
        (ROW.format(GOOD).replace("at once", " "), "expected 5 with something in each"),
        (ROW.format(GOOD).replace("| at once | ", "| at | once | "), "has 6 cells"),
    ],
)
def test_a_row_that_is_out_of_date_is_found(row: str, complaint: str) -> None:
    found = list(wrong_rows(row))
    assert complaint in found[0] if complaint else found == []


def test_a_test_that_never_runs_is_found(tmp_path: Path) -> None:
    file = tmp_path / "test_x.py"
    file.write_text(
        "@pytest.mark.skip\ndef test_a(): ...\n@mark.xfail(strict=True)\ndef test_b(): ...\n"
        "@pytest.mark.skipif(x, reason='')\ndef test_c(): ...\n"
    )
    assert defined_tests(file) == {"test_a": False, "test_b": False, "test_c": True}
