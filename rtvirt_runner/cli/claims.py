"""``rtvirt claims``: the paper's claims beside what was measured."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from rtvirt_runner.analysis.claims import Row, judge_claims
from rtvirt_runner.analysis.measurement import read_measurement
from rtvirt_runner.matrix.load import Matrix
from rtvirt_runner.matrix.results import ResultsTree

_MOST = 4  # quantities of a claim that are told; --json has all


def read_claims(matrix: Matrix, tree: ResultsTree) -> list[Row]:
    """A row per claim and clock, from the records of the matrix's cells."""
    cells = set(matrix.cells)
    return judge_claims(read_measurement(each) for each in tree.load_records(matrix.name) if each.cell in cells)


def as_json(rows: Sequence[Row]) -> str:
    """Claims for machines, with all their numbers."""
    return json.dumps([each.as_dict() for each in rows], indent=2)


def lines(rows: Sequence[Row]) -> Iterator[str]:
    """Claims for people: what is said of each, by which numbers."""
    for row in rows:
        clock = " (virtual time)" if row.clock == "virtual" else ""
        yield f"{row.judgement}{clock}: {row.claim.says} ({row.claim.where})"
        paper = f"; the paper: {row.paper}" if row.paper else ""
        yield f"    {row.reason}{paper}"
        for each in row.lines(_MOST):
            yield f"    {each}"
