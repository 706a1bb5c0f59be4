"""``rtvirt compare``: two result sets, over repetitions or bin by bin, and what two commits measure."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.table import Table

from rtvirt_runner.analysis.exact import ExactRow, compare_exactly
from rtvirt_runner.analysis.measurement import Measurement, read_measurement
from rtvirt_runner.analysis.result_sets import Change, Comparison, PointChange, compare_sets
from rtvirt_runner.catalogue import collection
from rtvirt_runner.catalogue.checked_yaml import InputError
from rtvirt_runner.matrix.load import Experiment
from rtvirt_runner.matrix.results import BadRecord, find_matrices, unusable
from rtvirt_runner.matrix.stored import read_stored, stored_matrices

MOST_BINS = 8  # that a row of the table names


def read_results(folder: Path) -> list[Measurement]:
    """The measurements of every matrix in a results folder, or of the one matrix whose folder it is.

    Raises InputError when there are none.
    """
    return [read_measurement(record) for tree, name in find_matrices(folder) for record in tree.load_records(name)]


@dataclass(frozen=True)
class ResultSet:
    """The measurements of one matrix, and its experiments where it is stored with them."""

    measurements: list[Measurement]
    experiments: tuple[Experiment, ...]


def read_set(folder: Path, matrix: str | None) -> ResultSet:
    """The results of one matrix in a folder; ``matrix`` is its name, None where the folder holds one.

    Records that the stored matrix has no cell for any more are left out. Raises InputError when there are no results,
    or those of several matrices and none is named.
    """
    found = [(tree, name) for tree, name in find_matrices(folder) if matrix in (None, name)]
    names = [name for _, name in find_matrices(folder)]
    if len(found) != 1:
        raise InputError(
            f"{folder} holds the matrices {', '.join(names)}, expected one that is to be compared; "
            "say which with --matrix, or give its folder."
        )
    ((tree, name),) = found
    records = tree.load_records(name)
    experiments: tuple[Experiment, ...] = ()
    if name in stored_matrices(tree.root / name):
        experiments = read_stored(tree.root / name).matrix.experiments
        cells = {cell for each in experiments for cell in each.cells}
        records = [record for record in records if record.cell in cells]
    return ResultSet([read_measurement(record) for record in records], experiments)


def compare_folders(before: Path, after: Path, matrix: str | None, across: Sequence[str], margin: float) -> Comparison:
    """Two results folders over repetitions; raises InputError."""
    old, new = read_set(before, matrix), read_set(after, matrix)
    return compare_sets(old.measurements, new.measurements, new.experiments or old.experiments, across, margin)


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


def comparison_as_json(found: Comparison) -> str:
    """A comparison for machines."""
    values = {
        "change": found.change,
        "margin": found.margin,
        "repetitions_needed": found.needed,
        "experiments": [
            {"name": each.name, "change": each.change, "counts": each.counts} for each in found.experiments
        ],
        "points": [each.as_dict() for each in found.points],
    }
    return json.dumps(values, indent=2)


def comparison_tables(found: Comparison) -> list[Table]:
    """A comparison for people: the experiments if they are known, and the points."""
    experiments = Table(title="experiment by experiment", title_justify="left")
    for head in ("experiment", "change", "points"):
        experiments.add_column(head)
    for each in found.experiments:
        experiments.add_row(each.name, each.change, _counts(each.counts))
    table = Table(title="point by point, before to after, over repetitions; us", title_justify="left")
    table.add_column("point", overflow="fold")
    table.add_column("clock")
    table.add_column("change")
    for head in ("runs", "avg", "avg, times", "p99", "p99, times", "latest"):
        table.add_column(head, justify="right")
    table.add_column("why", overflow="fold")
    for row in found.points:
        sides = [row.before, row.after]
        shown = [_both([each.histogram.avg_us if each else None for each in sides], 1)]
        shown += [_times(row, "avg"), _both([each.p99_us if each else None for each in sides]), _times(row, "p99")]
        runs = _both([len(each.repetitions) if each else None for each in sides])
        latest = _both([each.histogram.max_us if each else None for each in sides])
        inputs = f"differs: {', '.join(row.inputs)}" if row.inputs else ""
        why = "; ".join(each for each in (row.reason, inputs) if each)
        table.add_row(row.name, row.clock, row.change, runs, *shown, latest, why)
    return [*([experiments] if found.experiments else []), table]


def comparison_summary(found: Comparison) -> str:
    """One line: what is said of how many points, and what would have to be done to be told more."""
    percent = round((found.margin - 1) * 100, 1)
    said = f"{len(found.points)} points: {_counts(found.counts)}; a change within {percent:g} % is none"
    if found.counts.get("not told"):
        once = all(len(side.repetitions) < 2 for row in found.points for side in (row.before, row.after) if side)
        said += (
            "; measured once, nothing says by how much a second run would differ: three repetitions or more tell"
            if once
            else f"; {found.needed} repetitions of either side would tell of each"
            if found.needed
            else "; more repetitions tell"
        )
    return said


def _counts(counts: Mapping[Change, int]) -> str:
    return ", ".join(f"{count} {change}" for change, count in counts.items())


def _both(values: Sequence[float | None], digits: int = 0) -> str:
    shown = ["-" if each is None else f"{each:,.{digits}f}" for each in values]
    return shown[0] if shown[0] == shown[1] else " to ".join(shown)


def _times(row: PointChange, statistic: str) -> str:
    found = next((each for each in row.statistics if each.statistic == statistic), None)
    if not found or found.ratio is None or not found.interval:
        return ""
    return f"{found.ratio:.2f} ({found.interval.low:.2f} to {found.interval.high:.2f})"


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
