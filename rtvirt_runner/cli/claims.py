"""``rtvirt claims``: the paper's claims beside what was measured."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from rtvirt_runner.analysis.claims import Row, judge_claims
from rtvirt_runner.analysis.measurement import Measurement, read_measurement
from rtvirt_runner.catalogue.versions import controller_versions
from rtvirt_runner.matrix.load import Matrix
from rtvirt_runner.matrix.results import ResultsTree
from rtvirt_runner.report.paper_markdown import idle_experiment

_MOST = 4  # quantities of a claim that are told; --json has all


def read_claims(matrix: Matrix, tree: ResultsTree) -> list[Row]:
    """A row per claim and clock, from the records of the matrix's cells."""
    return judge_claims(_measured(matrix, tree))


def as_markdown(matrix: Matrix, tree: ResultsTree) -> str:
    """The paper's idle experiment beside its Table II, as a page."""
    return idle_experiment(_measured(matrix, tree), tree.load_matrix(matrix.name) or {}, controller_versions())


def _measured(matrix: Matrix, tree: ResultsTree) -> list[Measurement]:
    """The cells of the matrix that have a number, in its order."""
    found = {each.cell: each for each in tree.load_records(matrix.name)}
    measured = (read_measurement(found[cell]) for cell in matrix.cells if cell in found)
    return [each for each in measured if each.histogram]


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
