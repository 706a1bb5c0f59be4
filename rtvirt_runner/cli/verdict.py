"""``rtvirt verdict``: whether each board meets the budgets of a matrix."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence

from rtvirt_runner.analysis.measurement import read_measurement
from rtvirt_runner.analysis.verdicts import BoardVerdict, default_budgets, matrix_verdicts
from rtvirt_runner.catalogue.checked_yaml import known
from rtvirt_runner.matrix.budget import Budget
from rtvirt_runner.matrix.load import Matrix
from rtvirt_runner.matrix.results import Record


def budgets_of(matrix: Matrix, first: str | None) -> list[Budget]:
    """The budgets of a matrix, that which decides first; raises InputError when ``first`` is none of them."""
    budgets = list(matrix.budgets or default_budgets())
    if first is not None:
        known(first, [each.name for each in budgets], "budget", "--budget")
    return sorted(budgets, key=lambda each: each.name != first) if first else budgets


def verdicts_of(matrix: Matrix, records: Iterable[Record], budgets: Sequence[Budget]) -> list[BoardVerdict]:
    """Verdicts by budget and board; only records of the matrix's cells count."""
    cells = set(matrix.cells)
    measured = [read_measurement(each) for each in records if each.cell in cells]
    return matrix_verdicts(matrix, measured, budgets)


def as_json(verdicts: Sequence[BoardVerdict]) -> str:
    """Verdicts for machines; those of the budget that decides come first."""
    return json.dumps([each.as_dict() for each in verdicts], indent=2)


def lines(verdicts: Sequence[BoardVerdict]) -> Iterator[str]:
    """Verdicts for people: the answer, and what to do next."""
    for each in verdicts:
        yield each.says
        if each.next:
            yield f"    next: {each.next}"
