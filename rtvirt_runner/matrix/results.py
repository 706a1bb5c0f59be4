"""The results folder: one record per cell, written atomically, and whether a cell is done.

    results/<matrix>/<board>/<cell id>/
        cell.json      the cell
        system.json    the effective state of board and guest, read back from them
        status.json    done or failed, when, and how long it took
        <raw files>    output of the tools, unparsed, so that old results can be parsed again
    results/<matrix>/<board>/<cell id>.damaged-<n>    what could not be used, kept when the cell was measured again
    results/<matrix>/<board>/<cell id>.earlier-<n>    a record that was kept when its cell was to be measured again
    results/<matrix>/<board>/<cell id>.trace-<n>      a late wake-up of the cell that was traced, which is no record
    results/<matrix>/<board>/<cell id>.untraced       why the trace that the matrix asks for could not be made
    results/<matrix>/sealed/<key>.json    order and parts of a sealed machine
    results/<matrix>/matrix.json          the matrix (stored.py)
    results/<matrix>/lock                 locked by whoever writes

All state is in this tree. A record appears under its name only when it is complete. What is found there is believed
only after it was read: BadRecord says of anything else what is wrong with it.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import itertools
import json
import math
import os
import re
import shutil
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from rtvirt_runner.catalogue.checked_yaml import InputError
from rtvirt_runner.catalogue.lab import TAKEN_FOLDERS
from rtvirt_runner.matrix.acceptance import Output, read_output
from rtvirt_runner.matrix.cell import Cell
from rtvirt_runner.parsers import ParseError, strict_json

SCHEMA_VERSION = 1
MOST_BYTES = 32 << 20  # of one file of a record; a histogram of a million buckets takes 14 MB

MATRIX_FILE = "matrix.json"
_LOCK = "lock"
_ORDERS = "sealed"  # the folder of orders, beside those of boards
_OWN_FILES = ("cell.json", "system.json", "status.json")
_MACHINES = ("board", "guest", "emulator", "run", "sealed", "after")  # objects of system.json
_RECORD = re.compile(r".+-[0-9a-f]{8}")  # the name of a record's folder: the cell's id
_ASIDE = re.compile(r".+\.(?:damaged|earlier|trace)-[0-9]+")
_PASSING = re.compile(r"\.(?:partial|replaced)-.+")  # of a writer that is running, or was killed


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
        """The text of one raw file, or None when this record has no such file; raises ParseError.

        Bytes that are no UTF-8 become U+FFFD, line ends stay as they are.
        """
        try:
            return _read_bytes(self.path / name).decode(errors="replace")
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise ParseError(f"{name} {_why(error)}.") from error

    def raw_files(self) -> list[Path]:
        """The paths of its raw files."""
        return sorted(path for path in self.path.iterdir() if path.name not in _OWN_FILES)

    @property
    def output(self) -> Output | None:
        """The parsed raw output of a cell that is done; None when it failed or its output is not whole."""
        return self._judged[0]

    @property
    def reason(self) -> str:
        """Why the cell has no measurement, one sentence: it failed, or its output is not whole; '' if it has one."""
        return self._judged[1]

    @cached_property
    def _judged(self) -> tuple[Output | None, str]:
        if self.status.status != "done":
            return None, self.status.reason or "failed without a reason"
        try:
            return read_output(self.cell, self.raw), ""
        except ParseError as error:
            return None, str(error)


@dataclass(frozen=True)
class BadRecord:
    """What is in the place of a record and cannot be used as one: damaged, incomplete, another cell's, not whole."""

    path: Path
    reason: str  # one sentence

    @property
    def name(self) -> str:
        """Board and folder."""
        return f"{self.path.parent.name}/{self.path.name}"


def unusable(found: Iterable[Record | BadRecord]) -> list[BadRecord]:
    """Those of ``ResultsTree.read`` that cannot be used, with records that are said to be done and are not whole."""
    judged = (_judge(each) for each in found)
    return [each for each in judged if isinstance(each, BadRecord)]


@dataclass(frozen=True)
class ResultsTree:
    """The folder that holds the records of every matrix."""

    root: Path

    def record_path(self, matrix_name: str, cell: Cell) -> Path:
        """The folder of a cell's record, which need not exist."""
        return self.root / matrix_name / cell.board / cell.id

    def find(self, matrix_name: str, cell: Cell) -> Record | BadRecord | None:
        """The record of a cell, done or failed; what is in its place and is none; None when nothing is there."""
        path = self.record_path(matrix_name, cell)
        return _judge(_load_record(path)) if os.path.lexists(path) else None

    def is_done(self, matrix_name: str, cell: Cell) -> bool:
        """Whether a complete record of exactly this cell has the status done, and its output is whole."""
        found = self.find(matrix_name, cell)
        return isinstance(found, Record) and found.status.status == "done"

    def pending(self, matrix_name: str, cells: Iterable[Cell]) -> list[Cell]:
        """The cells that are not done, failed ones included, in the given order."""
        return [cell for cell in cells if not self.is_done(matrix_name, cell)]

    def read(self, matrix_name: str, cells: Iterable[Cell] = ()) -> list[Record | BadRecord]:
        """Everything of a matrix that is a record or is in the place of one, by board and cell id.

        Records that were kept aside, hidden folders and what is named unlike a record are left out. A record of one of
        ``cells`` has that very cell: making ten thousand of them a second time takes longer than comparing.
        """
        return list(_read_matrix(self.root / matrix_name, {cell.id: cell for cell in cells}))

    def load_records(self, matrix_name: str) -> list[Record]:
        """Every readable record of a matrix, done or failed, by board and cell id.

        Others (another schema, a damaged file, a renamed folder) are left out: the cell counts as not measured.
        """
        return [each for each in self.read(matrix_name) if isinstance(each, Record)]

    def refuse_newer(self, matrix_name: str, cells: Iterable[Cell]) -> None:
        """Raise ResultsError if one of the cells has a record that a newer version of rtvirt wrote."""
        for cell in cells:
            _refuse_newer(self.record_path(matrix_name, cell))

    def set_aside(self, matrix_name: str, cells: Iterable[Cell]) -> list[Path]:
        """Rename the records of cells that are done to ``<cell id>.earlier-<n>``; returns their paths now."""
        found = []
        for cell in cells:
            if self.is_done(matrix_name, cell):
                with _writing(self.root / matrix_name):
                    found.append(_set_aside(self.record_path(matrix_name, cell), "earlier"))
        return found

    def load_order(self, matrix_name: str, key: str) -> dict[str, Any]:
        """What the sealed machine with this key was made of and told to do; empty where that was not kept."""
        return _load_file(self._order_path(matrix_name, key))

    def keep_order(self, matrix_name: str, key: str, order: Mapping[str, Any]) -> None:
        """Store the order of a sealed machine under its key, whole or not at all; one that is there is kept."""
        final = self._order_path(matrix_name, key)
        if not final.exists():
            _keep_file(self.root / matrix_name, final, order)

    def load_matrix(self, matrix_name: str) -> dict[str, Any]:
        """The content of a stored matrix; empty where there is none. Raises ResultsError for one of a newer version."""
        return _load_file(self.root / matrix_name / MATRIX_FILE)

    def keep_matrix(self, matrix_name: str, content: Mapping[str, Any]) -> None:
        """Store a matrix, whole or not at all, in the place of the one before."""
        folder = self.root / matrix_name
        _keep_file(folder, folder / MATRIX_FILE, content)

    def keep_trace(self, matrix_name: str, cell: Cell, files: Mapping[str, str | bytes]) -> Path:
        """Store the files of a traced run of a cell, whole or not at all, beside the cell's record; returns the folder.

        Each gets a folder of its own, which no reader of records looks into. Raises ResultsError for what the disk
        refuses.
        """
        final = self.record_path(matrix_name, cell)
        partial = final.with_name(f".partial-{final.name}.trace")
        contents = {name: _encoded(each) if isinstance(each, str) else each for name, each in files.items()}
        with _writing(self.root / matrix_name):
            final.parent.mkdir(exist_ok=True)
            try:
                _write_folder(partial, contents)
                kept = _rename_free(partial, final, "trace")
                self._untraced_path(matrix_name, cell).unlink(missing_ok=True)
                _sync_folder(final.parent)
            finally:
                shutil.rmtree(partial, ignore_errors=True)
        return kept

    def traces(self, matrix_name: str) -> dict[str, list[Path]]:
        """The folders of traced runs by the cell's id, the oldest first."""
        found: dict[str, list[Path]] = {}
        for path in (self.root / matrix_name).glob("*/*.trace-*"):
            if not path.name.startswith(".") and path.parent.name not in TAKEN_FOLDERS:
                found.setdefault(path.name.rpartition(".trace-")[0], []).append(path)
        return {cell: sorted(each, key=lambda path: (len(path.name), path.name)) for cell, each in found.items()}

    def keep_untraced(self, matrix_name: str, cell: Cell, reason: str) -> None:
        """Store why a cell could not be traced, until it is; raises ResultsError for what the disk refuses."""
        _keep_file(self.root / matrix_name, self._untraced_path(matrix_name, cell), {"reason": reason})

    def untraced(self, matrix_name: str, cell: Cell) -> str:
        """Why a cell could not be traced, one sentence; '' if nothing is known. Raises ResultsError, as load_matrix."""
        return str(_load_file(self._untraced_path(matrix_name, cell)).get("reason", ""))

    def _untraced_path(self, matrix_name: str, cell: Cell) -> Path:
        return self.root / matrix_name / cell.board / f"{cell.id}.untraced"

    def _order_path(self, matrix_name: str, key: str) -> Path:
        return self.root / matrix_name / _ORDERS / f"{key}.json"

    def write_record(
        self,
        matrix_name: str,
        cell: Cell,
        status: Status,
        system: Mapping[str, Any],
        raw: Mapping[str, str | bytes | Path],
    ) -> Path:
        """Store a record and return its folder. A raw file that is given as a path is linked, if it can be.

        An existing failed record is replaced; one that is done is kept and the new one dropped, since another run was
        faster; anything that cannot be used is kept aside as ``<cell id>.damaged-<n>``. If the process is killed, the
        old record, the new one or none is left, never a partial one; the next writer removes the hidden folders of
        killed ones. Raises ResultsError for an invalid name of a raw file, for what the disk refuses, and if the
        existing record was written by a newer version of rtvirt.
        """
        final = self.record_path(matrix_name, cell)
        files = _contents(cell, status, system, raw)
        partial = final.with_name(f".partial-{cell.id}")
        with _writing(self.root / matrix_name):
            _refuse_newer(final)
            final.parent.mkdir(exist_ok=True)
            try:
                _write_folder(partial, files)
                found = self.find(matrix_name, cell)
                if isinstance(found, Record) and found.status.status == "done":
                    return final
                if isinstance(found, BadRecord):
                    _set_aside(final, "damaged")
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
    matrices = [(tree, name) for tree, name in found if tree.read(name)]
    if not matrices:
        raise InputError(f"{folder} holds no measured cell, expected a results folder of rtvirt; check the path.")
    return matrices


def _contents(
    cell: Cell, status: Status, system: Mapping[str, Any], raw: Mapping[str, str | bytes | Path]
) -> dict[str, bytes | Path]:
    for name in raw:
        if not name or name in _OWN_FILES or name.startswith(".") or Path(name).name != name:
            raise ResultsError(
                f"A raw file cannot be called '{name}', expected a plain file name not among {_OWN_FILES}."
            )
    files = {name: _encoded(content) if isinstance(content, str) else content for name, content in raw.items()}
    files["cell.json"] = _json(cell.as_dict())
    files["system.json"] = _json(dict(system))
    # written last: it implies that the other files are there
    files["status.json"] = _json({"schema_version": SCHEMA_VERSION, "cell_id": cell.id, **asdict(status)})
    return files


def _json(values: Mapping[str, Any]) -> bytes:
    text = json.dumps(values, indent=2, ensure_ascii=False) + "\n"
    # What stands for a byte that was not UTF-8 is no character in JSON either: its escape is written, as text.
    return re.sub("[\ud800-\udfff]", lambda found: f"\\\\u{ord(found[0]):04x}", text).encode()


def _encoded(text: str) -> bytes:
    """UTF-8; what stands for bytes that were none becomes an escape."""
    return text.encode(errors="backslashreplace")


def _write_folder(folder: Path, files: Mapping[str, bytes | Path]) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for name, content in files.items():
        if isinstance(content, bytes) or not _linked(folder / name, content):
            _write_file(folder / name, content if isinstance(content, bytes) else content.read_bytes())
    _sync_folder(folder)


def _linked(path: Path, source: Path) -> bool:
    """Give a file that was synced another name; False where the file system has none."""
    try:
        path.hardlink_to(source)
    except OSError as error:
        if error.errno in (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EXDEV):
            return False
        raise
    return True


def _write_file(path: Path, content: bytes) -> None:
    with path.open("wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())


def _move_in(partial: Path, final: Path) -> None:
    """Rename a complete folder to its final name; an existing folder is moved away first: rename cannot replace it."""
    replaced = final.with_name(f".replaced-{final.name}")
    if final.exists():
        shutil.rmtree(replaced, ignore_errors=True)
        final.rename(replaced)
    partial.rename(final)
    for folder in (final.parent, final.parent.parent):  # the board's may be new
        _sync_folder(folder)
    shutil.rmtree(replaced, ignore_errors=True)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _writing(matrix_folder: Path) -> Iterator[None]:
    """Hold the lock of a matrix's folder, which is made, while something is moved into it; one writer at a time.

    The kernel keeps the lock for writers in other containers as well, and frees it when its holder is killed: what is
    found under a temporary name then is of nobody, and is removed. Raises ResultsError for what the disk refuses.
    """
    try:
        with _locked(matrix_folder):
            yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise ResultsError(
            f"{matrix_folder}: {reason}, so the record could not be stored; check the room on its disk and its "
            "permissions, and run the same command again."
        ) from error


@contextlib.contextmanager
def _locked(matrix_folder: Path) -> Iterator[None]:
    matrix_folder.mkdir(parents=True, exist_ok=True)
    with (matrix_folder / _LOCK).open("a") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        for path in (*matrix_folder.glob(".*"), *matrix_folder.glob("*/.*")):
            if _PASSING.fullmatch(path.name):
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path, ignore_errors=True)
                else:
                    path.unlink(missing_ok=True)
        yield


def _keep_file(matrix_folder: Path, final: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON file of a matrix's folder, synced to disk before it gets its name."""
    partial = final.with_name(f".partial-{final.name}")
    with _writing(matrix_folder):
        final.parent.mkdir(exist_ok=True)
        try:
            _write_file(partial, _json({"schema_version": SCHEMA_VERSION, **content}))
            partial.replace(final)
        finally:
            partial.unlink(missing_ok=True)
        _sync_folder(final.parent)


def _load_file(path: Path) -> dict[str, Any]:
    """The content of such a file, without its schema version; empty where it is missing or damaged.

    One without a schema version is of the first. Raises ResultsError for one of a newer version.
    """
    try:
        content = _read_object(path)
    except _Unreadable:
        return {}
    _refuse_version(path, content.pop("schema_version", 1))
    return content


def _set_aside(path: Path, why: Literal["damaged", "earlier"]) -> Path:
    """Rename a record to the first free name that readers leave out; returns it."""
    return _rename_free(path, path, why)


def _rename_free(path: Path, record: Path, why: Literal["damaged", "earlier", "trace"]) -> Path:
    """Rename a folder to the first free name beside a record that readers leave out; returns it."""
    for number in itertools.count(1):
        aside = record.with_name(f"{record.name}.{why}-{number}")
        if os.path.lexists(aside):
            continue
        try:
            path.rename(aside)
        except OSError as error:  # another writer took the name
            if error.errno not in (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR, errno.EISDIR):
                raise
        else:
            return aside
    raise AssertionError


def _refuse_newer(folder: Path) -> None:
    try:
        version = _read_object(folder / "status.json").get("schema_version")
    except _Unreadable:
        return
    _refuse_version(folder, version)


def _refuse_version(path: Path, version: Any) -> None:
    if isinstance(version, int) and version > SCHEMA_VERSION:
        raise ResultsError(
            f"{path} was written by a newer rtvirt (schema {version}, this one knows {SCHEMA_VERSION}); "
            "use that version or move it away."
        )


# --------------------------------------------------------------------------------------------------------- reading


class _Unreadable(ValueError):
    """What is in the place of a record is none; the message is one sentence."""


def _judge(found: Record | BadRecord) -> Record | BadRecord:
    """The record, unless it is said to be done and its output is not whole."""
    if isinstance(found, Record) and found.status.status == "done" and found.reason:
        return BadRecord(found.path, found.reason)
    return found


def _read_matrix(folder: Path, cells: Mapping[str, Cell]) -> Iterator[Record | BadRecord]:
    for board in _entries(folder):
        if isinstance(board, BadRecord):
            yield board
        elif board.name not in TAKEN_FOLDERS and board.is_dir():
            for path in _entries(board):
                if isinstance(path, BadRecord):
                    yield path
                elif _is_record(path):
                    yield _load_record(path, cells.get(path.name))


def _entries(folder: Path) -> Sequence[Path | BadRecord]:
    """What is in a folder, without what is hidden; nothing where there is no folder."""
    try:
        return sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        return [BadRecord(folder, f"The folder {_why(error)}.")]


def _is_record(path: Path) -> bool:
    """Whether something is in a record's place: by its name, or by what it holds, such as a copy."""
    if _ASIDE.fullmatch(path.name):
        return False
    return bool(_RECORD.fullmatch(path.name)) or all((path / name).exists() for name in ("cell.json", "status.json"))


def _load_record(folder: Path, expected: Cell | None = None) -> Record | BadRecord:
    try:
        if not folder.is_dir():
            raise _Unreadable("It is no folder, expected one with the files of a record.")
        status = _read_object(folder / "status.json")
        known = _status(status)
        cell = _cell(folder / "cell.json", expected)
        system = _system(folder / "system.json")
        if not folder.name == cell.id == status.get("cell_id"):
            of = cell.id if folder.name != cell.id else str(status.get("cell_id"))[:250]
            raise _Unreadable(f"It is the record of another cell, {of}, expected that of {folder.name}.")
    except _Unreadable as error:
        return BadRecord(folder, str(error))
    except OSError as error:
        return BadRecord(folder, f"The folder {_why(error)}.")
    return Record(folder, cell, known, system)


def _cell(path: Path, expected: Cell | None) -> Cell:
    values = _read_object(path)
    # as text: for Python, true and 1.0 are 1
    if expected and json.dumps(values) == json.dumps(expected.as_dict()):
        return expected
    try:
        return Cell.from_dict(values)
    except InputError as error:
        raise _Unreadable(f"{path.name} holds no cell: {error}") from error


def _status(values: Mapping[str, Any]) -> Status:
    version = values.get("schema_version")
    if type(version) is not int or version != SCHEMA_VERSION:
        raise _Unreadable(
            f"status.json has the schema_version {str(version)[:60]}, expected {SCHEMA_VERSION}: another version of "
            "rtvirt wrote it, or it is damaged."
        )
    expected: dict[str, tuple[str, bool]] = {"status": ("done or failed", values.get("status") in ("done", "failed"))}
    for key in ("reason", "started_at", "ended_at"):
        expected[key] = ("text", isinstance(values.get(key), str))
    expected["ssh_commands"] = ("a whole number from 0 to 1000000", _is_number(values.get("ssh_commands"), whole=True))
    for key in ("overhead_s", "measure_s"):
        expected[key] = ("seconds from 0 to 1000000000", _is_number(values.get(key)))
    for key, (wanted, fits) in expected.items():
        if not fits:
            raise _Unreadable(f"status.json: {key} is {_found(values, key)}, expected {wanted}.")
    return Status(**{key: values[key] for key in expected})


def _is_number(value: Any, whole: bool = False) -> bool:
    if type(value) is int:
        return 0 <= value <= (1_000_000 if whole else 1_000_000_000)
    return not whole and type(value) is float and math.isfinite(value) and 0 <= value <= 1_000_000_000


def _system(path: Path) -> dict[str, Any]:
    values = _read_object(path)
    for key in _MACHINES:
        if not isinstance(values.get(key), (dict, type(None))):
            raise _Unreadable(f"system.json: {key} is {_found(values, key)}, expected an object or null.")
    return values


def _found(values: Mapping[str, Any], key: str) -> str:
    return repr(values[key])[:60] if key in values else "missing"


def _read_object(path: Path) -> dict[str, Any]:
    """The JSON object in a file; raises _Unreadable."""
    try:
        value = strict_json.loads(_read_bytes(path).decode())
    except FileNotFoundError:
        raise _Unreadable(f"{path.name} is missing: the record is incomplete.") from None
    except UnicodeDecodeError:
        raise _Unreadable(f"{path.name} is damaged: it is no UTF-8 text.") from None
    except _BadFile as error:
        raise _Unreadable(f"{path.name} {error}.") from None
    except OSError as error:
        raise _Unreadable(f"{path.name} {_why(error)}.") from None
    except ValueError as error:
        raise _Unreadable(f"{path.name} is damaged: {error}.") from None
    if not isinstance(value, dict):
        raise _Unreadable(f"{path.name} is damaged: it holds {str(value)[:60]!r}, expected an object.")
    return value


class _BadFile(ValueError):
    """A file that is not read; the message ends a sentence that begins with its name."""


def _read_bytes(path: Path) -> bytes:
    """A file's content; raises OSError, and _BadFile for what is no regular file or larger than MOST_BYTES."""
    # a FIFO that nobody writes into would be waited for
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        about = os.fstat(descriptor)
        if not stat.S_ISREG(about.st_mode):
            raise _BadFile(f"is {'a folder' if stat.S_ISDIR(about.st_mode) else 'no regular file'}, expected a file")
        if about.st_size > MOST_BYTES:
            raise _BadFile(f"has {about.st_size} bytes, expected at most {MOST_BYTES}")
        with os.fdopen(descriptor, "rb", closefd=False) as stream:
            return stream.read(MOST_BYTES)
    finally:
        os.close(descriptor)


def _why(error: OSError | ValueError) -> str:
    return str(error) if isinstance(error, ValueError) else f"cannot be read ({error.strerror})"
