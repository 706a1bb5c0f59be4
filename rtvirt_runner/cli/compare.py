"""``rtvirt compare --exact``: two result sets of sealed machines, or what two commits measure, bin by bin."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.table import Table

from rtvirt_runner.analysis.exact import ExactRow, compare_exactly
from rtvirt_runner.analysis.measurement import Measurement, read_measurement
from rtvirt_runner.catalogue import collection
from rtvirt_runner.catalogue.checked_yaml import InputError
from rtvirt_runner.matrix.results import BadRecord, find_matrices, unusable

MOST_BINS = 8  # that a row of the table names


def read_results(folder: Path) -> list[Measurement]:
    """The measurements of every matrix in a results folder, or of the one matrix whose folder it is.

    Raises InputError when there are none.
    """
    return [read_measurement(record) for tree, name in find_matrices(folder) for record in tree.load_records(name)]


def bad_records(folder: Path) -> list[BadRecord]:
    """What is in the place of records in a results folder and cannot be used; raises InputError as read_results."""
    return [bad for tree, name in find_matrices(folder) for bad in unusable(tree.read(name))]


def compare(before: Path, after: Path) -> list[ExactRow]:
    """One row per cell of the two results folders; raises InputError."""
    return compare_exactly(read_results(before), read_results(after))


def measure_since(revision: str, matrix: Path, results: Path) -> tuple[Path, Path]:
    """Measure a matrix with a commit of this checkout, and then with the checkout as it is.

    Returns both results folders, below ``results`` and named after the commits; that of a commit is used again, since
    a commit does not change, and that of uncommitted work never is. Raises InputError when this is no git checkout,
    has no such commit, or a run does not end with all cells done.
    """
    commit = _git("rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}", wanted=f"commit '{revision}'")
    head = _git("rev-parse", "HEAD", wanted="commit")
    is_clean = not _git("status", "--porcelain", wanted="status")
    after = results / (head[:12] if is_clean else f"{head[:12]}-and-{datetime.now(UTC):%Y%m%dT%H%M%S}")
    before = results / commit[:12]
    if before == after:
        raise InputError(
            f"'{revision}' is what is checked out, expected an earlier commit; give one, or change something."
        )
    with TemporaryDirectory(prefix="rtvirt-since-") as place:
        checkout = Path(place) / "checkout"
        _git("worktree", "add", "--quiet", "--detach", str(checkout), commit, wanted="room for a checkout")
        try:
            _measure(checkout, matrix, before)
        finally:
            _git("worktree", "remove", "--force", str(checkout), wanted="checkout to remove")
    _measure(collection.ROOT, matrix, after)
    return before, after


def _git(*arguments: str, wanted: str) -> str:
    done = subprocess.run(["git", "-C", collection.ROOT, *arguments], capture_output=True, text=True)
    if done.returncode:
        said = " ".join(done.stderr.split()) or "git does not know it"
        raise InputError(f"{collection.ROOT} has no {wanted}: {said}; give a commit of a git checkout.")
    return done.stdout.strip()


def _measure(checkout: Path, matrix: Path, results: Path) -> None:
    inside = matrix.relative_to(collection.ROOT) if matrix.is_relative_to(collection.ROOT) else None
    path = checkout / inside if inside and (checkout / inside).exists() else matrix.absolute()
    command: list[str | Path] = [checkout / "rtvirt", "matrix", "--matrix", path, "--results", results]
    if subprocess.run(command, cwd=checkout, stdout=subprocess.DEVNULL).returncode:
        raise InputError(f"Not all cells of {path} were measured in {checkout}; the log in {results} says why.")


def as_json(rows: Sequence[ExactRow]) -> str:
    """The rows for machines."""
    return json.dumps([asdict(row) for row in rows], indent=2)


def exact_table(rows: Sequence[ExactRow]) -> Table:
    """The rows for people."""
    table = Table(title="cell by cell, bin by bin", title_justify="left")
    table.add_column("cell", overflow="fold")
    table.add_column("verdict")
    table.add_column("wake-ups in another bin", justify="right")
    table.add_column("what differs", overflow="fold")
    for row in rows:
        table.add_row(row.cell_id, row.verdict, f"{row.moved:,}" if row.bins else "", _differences(row))
    return table


def summary(rows: Sequence[ExactRow]) -> str:
    """One line: how many cells came to which verdict."""
    counts = {
        verdict: sum(row.verdict == verdict for row in rows) for verdict in dict.fromkeys(r.verdict for r in rows)
    }
    return f"{len(rows)} cells: " + ", ".join(f"{count} {verdict}" for verdict, count in counts.items())


def all_same(rows: Sequence[ExactRow]) -> bool:
    """Whether every cell is in both result sets with the same bins."""
    return all(row.verdict in ("same", "other inputs, same bins") for row in rows)


def _differences(row: ExactRow) -> str:
    bins = [f"{each.us} us: {each.before} to {each.after}" for each in row.bins[:MOST_BINS]]
    more = [f"and {len(row.bins) - MOST_BINS} bins more"] if len(row.bins) > MOST_BINS else []
    inputs = [f"inputs: {', '.join(row.inputs)}"] if row.inputs else []
    return "; ".join([*inputs, *bins, *more])
