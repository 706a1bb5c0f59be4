"""The matrix as it was measured, stored with its results, so that they can be reported without its file and its lab.

results/<matrix>/matrix.json    schema_version, when and by which versions it was written, the matrix with all its
                                cells, its file's text, and what is known of the boards that its cells name
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rtvirt_runner.catalogue import checked_yaml
from rtvirt_runner.catalogue.checked_yaml import InputError, exact_fields
from rtvirt_runner.catalogue.lab import Board, Lab
from rtvirt_runner.catalogue.versions import controller_versions
from rtvirt_runner.matrix.budget import Budget, Limits
from rtvirt_runner.matrix.cell import Cell
from rtvirt_runner.matrix.load import VIEWS, Experiment, Matrix
from rtvirt_runner.matrix.results import MATRIX_FILE, ResultsTree
from rtvirt_runner.matrix.threshold import read_threshold

_CHANGING = ("written_at", "versions")


@dataclass(frozen=True)
class StoredMatrix:
    """A matrix and its boards, read from a results folder; ``tree`` has its records under the matrix's name."""

    tree: ResultsTree
    matrix: Matrix
    lab: Lab


def store_matrix(tree: ResultsTree, matrix: Matrix, lab: Lab) -> bool:
    """Store a matrix with its results, unless the same is stored already; returns whether it was written.

    Raises ResultsError when what is stored is of a newer version of rtvirt.
    """
    boards = dict.fromkeys(cell.board for cell in matrix.cells)
    try:
        source = matrix.path.read_text(encoding="utf-8", errors="replace")
    except OSError:  # removed meanwhile
        source = ""
    content = {
        "name": matrix.name,
        "title": matrix.title,
        "path": str(matrix.path),
        "source": source,
        "repetitions": matrix.repetitions,
        "boards": {name: asdict(lab.boards[name]) for name in boards},
        "budgets": [asdict(each) for each in matrix.budgets],
        "experiments": [
            asdict(replace(each, cells=())) | {"cells": [cell.id for cell in each.cells]} for each in matrix.experiments
        ],
        "cells": [cell.as_dict() for cell in matrix.cells],
    }
    known = {name: value for name, value in tree.load_matrix(matrix.name).items() if name not in _CHANGING}
    if _as_json(content) == known:
        return False
    about = {"written_at": datetime.now(UTC).isoformat(timespec="seconds"), "versions": controller_versions()}
    tree.keep_matrix(matrix.name, about | content)
    return True


def stored_matrices(folder: Path) -> dict[str, Path]:
    """Name -> folder of every matrix that is stored in a results folder, or of the one whose folder it is."""
    folder = folder.absolute()
    if (folder / MATRIX_FILE).is_file():
        return {folder.name: folder}
    try:
        found = sorted(path.parent for path in folder.glob(f"*/{MATRIX_FILE}"))
    except OSError:
        return {}
    return {path.name: path for path in found}


def read_stored(folder: Path) -> StoredMatrix:
    """The matrix stored in a matrix's folder, under the name that the folder has now.

    Raises InputError when the file is damaged, and ResultsError when it is of a newer version of rtvirt.
    """
    tree, where = ResultsTree(folder.parent), str(folder / MATRIX_FILE)
    values = checked_yaml.mapping(tree.load_matrix(folder.name), where)
    try:
        cells = {cell.id: cell for cell in map(Cell.from_dict, values["cells"])}
        experiments = tuple(_experiment(each, cells) for each in values["experiments"])
        boards = {
            str(name): Board(**exact_fields(board, Board, f"{where}: board '{name}'"))
            for name, board in values["boards"].items()
        }
        budgets = tuple(_budget(each) for each in values.get("budgets", []))
        matrix = Matrix(
            folder.name,
            str(values["title"]),
            Path(str(values["path"])),
            experiments,
            budgets,
            repetitions=_asked(values),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(
            f"{where} is damaged ({error}), expected the matrix that was measured; remove it, and give --matrix and -i."
        ) from error
    return StoredMatrix(tree, matrix, Lab(boards, {}))


def asked_repetitions(tree: ResultsTree, name: str) -> int | None:
    """How often each experiment was to be repeated, if that was asked for instead of the matrix's number."""
    return _asked(tree.load_matrix(name))


def _asked(values: Mapping[str, Any]) -> int | None:
    asked = values.get("repetitions")
    return asked if isinstance(asked, int) else None  # an older version stored none


def _experiment(values: Mapping[str, Any], cells: Mapping[str, Cell]) -> Experiment:
    views = tuple(str(view) for view in values["views"])
    if unknown := set(views) - set(VIEWS):
        raise ValueError(f"the view {unknown.pop()!r} of experiment {values['name']!r} is unknown")
    return Experiment(
        name=str(values["name"]),
        title=str(values["title"]),
        reproduces=str(values["reproduces"]),
        views=views,
        cells=tuple(cells[cell_id] for cell_id in values["cells"]),
        trace=None if (trace := values.get("trace")) is None else read_threshold(trace, f"{values['name']}: trace"),
    )


def _budget(values: Mapping[str, Any]) -> Budget:
    limits = {name: Limits(**each) for name, each in values["workloads"].items()}
    return Budget(str(values["name"]), Limits(**values["limits"]), int(values["once_in_s"]), limits)


def _as_json(values: Mapping[str, Any]) -> Any:
    return json.loads(json.dumps(values))
