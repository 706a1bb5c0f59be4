"""``rtvirt compare --exact A B``: two result sets of sealed machines, cell by cell and bin by bin."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from rich.table import Table

from rtvirt_runner.analysis.exact import ExactRow, compare_exactly
from rtvirt_runner.analysis.measurement import Measurement, read_measurement
from rtvirt_runner.matrix.results import find_matrices

MOST_BINS = 8  # that a row of the table names


def read_results(folder: Path) -> list[Measurement]:
    """The measurements of every matrix in a results folder, or of the one matrix whose folder it is.

    Raises InputError when there are none.
    """
    return [read_measurement(record) for tree, name in find_matrices(folder) for record in tree.load_records(name)]


def compare(before: Path, after: Path) -> list[ExactRow]:
    """One row per cell of the two results folders; raises InputError."""
    return compare_exactly(read_results(before), read_results(after))


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
