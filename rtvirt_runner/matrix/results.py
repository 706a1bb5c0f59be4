"""The results folder: one record per cell, written atomically, and whether a cell is done.

    results/<matrix>/<board>/<cell id>/
        cell.json      the cell
        system.json    the effective state of board and guest, read back from them
        status.json    done or failed, when, and how long it took
        <raw files>    output of the tools, unparsed, so that old results can be parsed again
    results/<matrix>/sealed/<key>.json    order and parts of a sealed machine

All state is in this tree. A record appears under its name only when it is complete.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal

from rtvirt_runner.catalogue.checked_yaml import InputError
from rtvirt_runner.matrix.cell import Cell

SCHEMA_VERSION = 1

_ORDERS = "sealed"  # the folder of orders, beside those of boards
_OWN_FILES = ("cell.json", "system.json", "status.json")
_PASSING = re.compile(r"\.(?:partial|replaced)-.+-(?P<pid>\d+)")  # of a writer that is running, or was killed


class ResultsError(ValueError):
    """A record cannot be written or read; the message is one sentence with the reason."""


@dataclass(frozen=True)
class Status:
    """Status of one measured cell. Times are ISO 8601 in UTC, durations in seconds."""

    status: Literal["done", "failed"]
    reason: str  # one sentence; empty when done
    started_at: str
    ended_at: str
    ssh_commands: int
    overhead_s: float  # wall time outside the measuring command
    measure_s: float  # wall time of the measuring command


@dataclass(frozen=True)
class Record:
    """The stored record of one cell. Raw files are read on demand."""

    path: Path
    cell: Cell
    status: Status
    system: dict[str, Any]

    def raw(self, name: str) -> str | None:
        """The text of one raw file, or None when this record has no such file."""
        path = self.path / name
        return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else None


@dataclass(frozen=True)
class ResultsTree:
    """The folder that holds the records of every matrix."""

    root: Path

    def record_path(self, matrix_name: str, cell: Cell) -> Path:
        """The folder of a cell's record, which need not exist."""
        return self.root / matrix_name / cell.board / cell.id

    def is_done(self, matrix_name: str, cell: Cell) -> bool:
        """Whether a complete record of exactly this cell has the status done."""
        status = _read_status(self.record_path(matrix_name, cell))
        return (
            status.get("schema_version") == SCHEMA_VERSION
            and status.get("status") == "done"
            and status.get("cell_id") == cell.id
        )

    def pending(self, matrix_name: str, cells: Iterable[Cell]) -> list[Cell]:
        """The cells that are not done, failed ones included, in the given order."""
        return [cell for cell in cells if not self.is_done(matrix_name, cell)]

    def load_records(self, matrix_name: str) -> list[Record]:
        """Every readable record of a matrix, done or failed, by board and cell id.

        Unreadable records (another schema, a damaged file, a renamed folder) are left out: the cell counts as
        not measured.
        """
        folders = sorted(path for path in (self.root / matrix_name).glob("*/*") if not path.name.startswith("."))
        return [record for folder in folders if (record := _load_record(folder)) is not None]

    def load_order(self, matrix_name: str, key: str) -> dict[str, Any]:
        """What the sealed machine with this key was made of and told to do; empty where that was not kept."""
        return _read_json(self._order_path(matrix_name, key))

    def keep_order(self, matrix_name: str, key: str, order: Mapping[str, Any]) -> None:
        """Store the order of a sealed machine under its key, whole or not at all; one that is there is kept."""
        final = self._order_path(matrix_name, key)
        if final.exists():
            return
        final.parent.mkdir(parents=True, exist_ok=True)
        partial = final.with_name(f".partial-{key}-{os.getpid()}")
        _write_file(partial, _json(order))
        partial.rename(final)
        _sync_folder(final.parent)

    def _order_path(self, matrix_name: str, key: str) -> Path:
        return self.root / matrix_name / _ORDERS / f"{key}.json"

    def write_record(
        self,
        matrix_name: str,
        cell: Cell,
        status: Status,
        system: Mapping[str, Any],
        raw: Mapping[str, str | bytes],
    ) -> Path:
        """Store a record and return its folder.

        An existing failed record is replaced; one that is done is kept and the new one dropped, since another run was
        faster. If the process is killed, the old record, the new one or none is left, never a partial one; the next
        writer removes the hidden folders of killed ones. Raises ResultsError for an invalid name of a raw file, and if
        the existing record was written by a newer version of rtvirt.
        """
        final = self.record_path(matrix_name, cell)
        files = _contents(cell, status, system, raw)
        final.parent.mkdir(parents=True, exist_ok=True)
        _clear_leftovers(self.root / matrix_name)
        _refuse_newer(final)
        partial = final.with_name(f".partial-{cell.id}-{os.getpid()}")
        try:
            _write_folder(partial, files)
            if self.is_done(matrix_name, cell):
                return final
            _move_in(partial, final)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
        return final


def find_matrices(folder: Path) -> list[tuple[ResultsTree, str]]:
    """The matrices with records in a results folder, by name, or the one matrix whose folder it is.

    Raises InputError when there are none.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: there is no such folder, expected a results folder; check the path.")
    folder = folder.absolute()
    names = sorted(each.name for each in folder.iterdir() if each.is_dir() and not each.name.startswith("."))
    found = [(ResultsTree(folder), name) for name in names] + [(ResultsTree(folder.parent), folder.name)]
    matrices = [(tree, name) for tree, name in found if tree.load_records(name)]
    if not matrices:
        raise InputError(f"{folder} holds no measured cell, expected a results folder of rtvirt; check the path.")
    return matrices


def _contents(
    cell: Cell, status: Status, system: Mapping[str, Any], raw: Mapping[str, str | bytes]
) -> dict[str, bytes]:
    for name in raw:
        if not name or name in _OWN_FILES or name.startswith(".") or Path(name).name != name:
            raise ResultsError(
                f"A raw file cannot be called '{name}', expected a plain file name not among {_OWN_FILES}."
            )
    files = {name: text if isinstance(text, bytes) else _encoded(text) for name, text in raw.items()}
    files["cell.json"] = _json(cell.as_dict())
    files["system.json"] = _json(dict(system))
    # written last: it implies that the other files are there
    files["status.json"] = _json({"schema_version": SCHEMA_VERSION, "cell_id": cell.id, **asdict(status)})
    return files


def _json(values: Mapping[str, Any]) -> bytes:
    return _encoded(json.dumps(values, indent=2, ensure_ascii=False) + "\n")


def _encoded(text: str) -> bytes:
    """UTF-8; what stands for bytes that were none becomes an escape, which JSON reads as what it was."""
    return text.encode(errors="backslashreplace")


def _write_folder(folder: Path, files: Mapping[str, bytes]) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for name, content in files.items():
        _write_file(folder / name, content)
    _sync_folder(folder)


def _write_file(path: Path, content: bytes) -> None:
    with path.open("wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())


def _move_in(partial: Path, final: Path) -> None:
    """Rename a complete folder to its final name; an existing folder is moved away first: rename cannot replace it."""
    replaced = final.with_name(f".replaced-{final.name}-{os.getpid()}")
    if final.exists():
        shutil.rmtree(replaced, ignore_errors=True)
        final.rename(replaced)
    partial.rename(final)
    _sync_folder(final.parent)
    shutil.rmtree(replaced, ignore_errors=True)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _clear_leftovers(matrix_folder: Path) -> None:
    for path in matrix_folder.glob("*/.*"):
        match = _PASSING.fullmatch(path.name)
        if match and not _alive(int(match["pid"])):
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:  # of an order
                path.unlink(missing_ok=True)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # a process of another user
        return True
    return True


def _refuse_newer(folder: Path) -> None:
    version = _read_status(folder).get("schema_version")
    if isinstance(version, int) and version > SCHEMA_VERSION:
        raise ResultsError(
            f"{folder} was written by a newer rtvirt (schema {version}, this one knows {SCHEMA_VERSION}); "
            "use that version or move the folder away."
        )


def _read_json(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return values if isinstance(values, dict) else {}


def _read_status(folder: Path) -> dict[str, Any]:
    return _read_json(folder / "status.json")


def _load_record(folder: Path) -> Record | None:
    status = _read_status(folder)
    if status.get("schema_version") != SCHEMA_VERSION:
        return None
    try:
        cell = Cell.from_dict(_read_json(folder / "cell.json"))
        known = Status(**{item.name: status[item.name] for item in fields(Status)})
    except (InputError, KeyError, TypeError):
        return None
    if not folder.name == cell.id == status.get("cell_id"):
        return None
    return Record(folder, cell, known, _read_json(folder / "system.json"))
