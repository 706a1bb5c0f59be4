"""Which tests passed at this very commit on this machine, so that ``--resume`` goes on with an interrupted run."""

from __future__ import annotations

import platform
from collections.abc import Iterable, Sequence
from pathlib import Path

import pytest

from rtvirt_runner.build import artifacts
from suite.selection import RevisionError, git, path_of

KEPT = 10  # commits
_GOOD = ("passed", "skipped", "xfailed")
_NOT = "not "


def folder() -> Path:
    return artifacts.cache_folder() / "test-passed"


def record_of(root: Path) -> Path:
    """The file that names the tests that passed at the commit of a checkout, with this Python; it need not be there.

    Raises RevisionError when anything is not committed, or git cannot tell.
    """
    if git(root, "status", "--porcelain").strip():
        raise RevisionError(f"{root} has changes that are not committed, and --resume goes by the commit; commit them.")
    return folder() / f"{git(root, 'rev-parse', 'HEAD^{tree}').strip()}-{platform.python_version()}"


def read(record: Path) -> list[str]:
    """Ids of the tests that passed; a last line that was only begun is none."""
    try:
        whole, newline, _ = record.read_text(encoding="utf-8").rpartition("\n")
    except FileNotFoundError:
        return []
    last = {line.removeprefix(_NOT): not line.startswith(_NOT) for line in whole.split("\n")} if newline else {}
    return [nodeid for nodeid, is_good in last.items() if is_good]


def add(record: Path, nodeid: str, verdict: str) -> None:
    """Remember whether a test passed, the last time that it ran."""
    record.parent.mkdir(parents=True, exist_ok=True)
    with record.open("a", encoding="utf-8") as file:
        file.write(f"{'' if verdict in _GOOD else _NOT}{nodeid}\n")


def forget_old(kept: int = KEPT) -> None:
    """Remove the records of all commits but the last that tests ran at."""
    try:
        records = sorted(folder().iterdir(), key=lambda path: path.stat().st_mtime, reverse=True)
    except FileNotFoundError:
        return
    for record in records[kept:]:
        record.unlink(missing_ok=True)


def left(items: Sequence[pytest.Item], passed: Iterable[str]) -> list[pytest.Item]:
    """The tests of each file in which not all have passed: tests of a file may rest on each other."""
    good = set(passed)
    unfinished = {path_of(item) for item in items if item.nodeid not in good}
    return [item for item in items if path_of(item) in unfinished]
