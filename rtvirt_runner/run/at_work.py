"""Ending a run between cells: a file that whoever measures a cell holds locked, and that tells when no cell may begin.

``rtvirt matrix`` names the file in the environment of Ansible. The action that measures a cell locks it, shared, and
begins only if the file is still empty; so once it is not, and nobody holds the lock, all cells have ended. A file
beside it stands for a cell whose end is recorded by a later action. The kernel frees the lock of an action that was
killed. Plain ansible-playbook has no such file.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

VARIABLE = "RTVIRT_CELLS_FILE"


class RunEndingError(RuntimeError):
    """The run is ending: the cell is left for the next run, and nothing is recorded."""


@dataclass(frozen=True)
class CellsAtWork:
    """The file, as ``rtvirt matrix`` sees it."""

    path: Path

    @classmethod
    def create(cls, path: Path) -> CellsAtWork:
        """Make the file: cells may begin."""
        path.touch()
        return cls(path)

    def let_none_begin(self) -> None:
        """From now on no cell begins."""
        self.path.write_text("ending\n")

    def any(self) -> bool:
        """Whether a cell is being measured, or has been and the board's state after it is still to be read."""
        if any(self.path.parent.glob(f"{self.path.name}-*")):
            return True
        with self.path.open() as handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
        return False


@contextlib.contextmanager
def measuring() -> Iterator[None]:
    """Context in which one cell is measured and recorded. Raises RunEndingError if it may not begin."""
    path = _file()
    if path is None:
        yield
        return
    go_on()
    with path.open() as handle:
        fcntl.flock(handle, fcntl.LOCK_SH)
        go_on()  # it may have been told before the lock was held
        yield


def expect_end(cell_id: str) -> None:
    """Within ``measuring``: another action, ``ending``, will record the end of the cell."""
    if path := _file():
        with contextlib.suppress(FileNotFoundError):  # the run has ended
            path.with_name(f"{path.name}-{cell_id}").touch()


@contextlib.contextmanager
def ending(cell_id: str) -> Iterator[None]:
    """Context in which the end of a measured cell is recorded, also when the run is ending."""
    try:
        yield
    finally:
        if path := _file():
            path.with_name(f"{path.name}-{cell_id}").unlink(missing_ok=True)


def go_on() -> None:
    """Raise RunEndingError if the run is ending, or has ended and taken the file with it."""
    path = _file()
    if path is not None and (not path.exists() or path.read_text()):
        raise RunEndingError


def _file() -> Path | None:
    named = os.environ.get(VARIABLE)
    return Path(named) if named else None
