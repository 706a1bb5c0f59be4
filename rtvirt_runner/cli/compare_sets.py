"""``rtvirt compare``: two result sets over their repetitions, as tables, one line or JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.table import Table

from rtvirt_runner.analysis.measurement import Measurement, read_measurement
from rtvirt_runner.analysis.result_sets import Change, Comparison, PointChange, compare_sets
from rtvirt_runner.catalogue.checked_yaml import InputError
from rtvirt_runner.matrix.load import Experiment
from rtvirt_runner.matrix.results import find_matrices
from rtvirt_runner.matrix.stored import read_stored, stored_matrices


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


def as_json(found: Comparison) -> str:
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


def tables(found: Comparison) -> list[Table]:
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


def summary(found: Comparison) -> str:
    """One line: what is said of how many points, and what would have to be done to be told more."""
    percent = round((found.margin - 1) * 100, 1)
    said = f"{len(found.points)} points: {_counts(found.counts)}; a change within {percent:g} % is none"
    if found.counts.get("unlike"):
        said += "; unlike ones are compared with --across"
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
