"""Late wake-ups that were traced: each with its picture and its cause, and a table of causes per tuning."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rtvirt_runner.analysis.late.stored import CauseByGroup, StoredTrace, causes_by_group, read_trace
from rtvirt_runner.matrix.cell import Cell
from rtvirt_runner.matrix.trace_files import PICTURE
from rtvirt_runner.parsers import ParseError

_MOST_BYTES = 1 << 20  # of a picture
_LEAST_US = 0.5  # a cause below that rounds to nothing


@dataclass(frozen=True)
class TracedWakeup:
    """One traced run on the page. ``picture``: an address with the image in it, in which nothing can run."""

    cell: Cell
    trace: StoredTrace
    picture: str  # '' where there is none


@dataclass(frozen=True)
class CauseTable:
    """The mean part of each cause in the late wake-ups of a board, by tuning; ``wakeups`` counts these."""

    board: str
    clock: str
    wakeups: Mapping[str, int]
    rows: tuple[CauseByGroup, ...]


@dataclass(frozen=True)
class LateCauses:
    """What the page has of traced runs. ``bad``: a sentence for each that cannot be used."""

    wakeups: tuple[TracedWakeup, ...]
    tables: tuple[CauseTable, ...]
    bad: tuple[str, ...]


def late_causes(cells: Iterable[Cell], folders: Mapping[str, Sequence[Path]]) -> LateCauses:
    """Of the cells of a matrix; ``folders`` are those of traced runs by the cell's id."""
    found: list[TracedWakeup] = []
    bad: list[str] = []
    for cell in cells:
        for folder in folders.get(cell.id, ()):
            try:
                found.append(TracedWakeup(cell, read_trace(folder), _picture(folder)))
            except ParseError as error:
                bad.append(str(error))
    return LateCauses(tuple(found), tuple(_tables(found)), tuple(bad))


def _tables(found: Sequence[TracedWakeup]) -> Iterable[CauseTable]:
    explained = [each for each in found if each.trace.latency_us is not None]
    for board, clock in dict.fromkeys((each.cell.board, each.cell.clock) for each in explained):
        groups: dict[str, list[StoredTrace]] = {}
        for each in explained:
            if (each.cell.board, each.cell.clock) == (board, clock):
                groups.setdefault(each.cell.tuning, []).append(each.trace)
        rows = tuple(row for row in causes_by_group(groups) if max(row.mean_us.values()) >= _LEAST_US)
        yield CauseTable(board, clock, {name: len(traces) for name, traces in groups.items()}, rows)


def _picture(folder: Path) -> str:
    path = folder / PICTURE
    try:
        data = path.read_bytes() if path.stat().st_size <= _MOST_BYTES else b""
    except OSError:
        data = b""
    return f"data:image/svg+xml;base64,{base64.b64encode(data).decode()}" if data else ""
