"""Late wake-ups that were traced: each with picture and causes, a table of causes, and what a tuning took away."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from rtvirt_runner.analysis.late.attribution import Cause, Owner, Side
from rtvirt_runner.analysis.late.stored import CauseByGroup, Key, StoredTrace, causes_by_group, read_trace
from rtvirt_runner.analysis.late.words import phrase_of, smaller
from rtvirt_runner.matrix.cell import Cell
from rtvirt_runner.matrix.trace_files import PICTURE
from rtvirt_runner.parsers import ParseError
from rtvirt_runner.report.blocks import TableRow
from rtvirt_runner.report.format import EN_DASH, decimals, number, unit
from rtvirt_runner.report.tables import Table

_MOST_BYTES = 1 << 20  # of a picture
_LEAST_US = 0.5  # a cause below that rounds to nothing
_LEAST_SHARE = 0.05  # of a late wake-up; causes that took less are counted together
_AXES = ("kernel", "split", "place", "guest", "workload", "neighbour")  # in which cells of two tunings are to agree


@dataclass(frozen=True)
class TracedWakeup:
    """One traced run on the page. ``picture``: an address with the image in it, in which nothing can run."""

    cell: Cell
    trace: StoredTrace
    picture: str  # '' where there is none


@dataclass(frozen=True)
class CauseTable:
    """The mean part of each cause in late wake-ups, a row per board, tuning and place, all on one clock.

    ``words``: a sentence for each tuning that can be compared with the first of its board and place.
    """

    table: Table
    words: tuple[str, ...]


@dataclass(frozen=True)
class LateCauses:
    """What the page has of traced runs.

    ``bad``: a sentence for each that cannot be used. ``untraced``: cells that could not be traced, and why.
    ``waiting``: how many others that the matrix wants traced have no trace.
    """

    wakeups: tuple[TracedWakeup, ...]
    tables: tuple[CauseTable, ...]
    bad: tuple[str, ...]
    untraced: tuple[tuple[Cell, str], ...] = ()
    waiting: int = 0


def late_causes(
    cells: Iterable[Cell], folders: Mapping[str, Sequence[Path]], without: Mapping[Cell, str] | None = None
) -> LateCauses:
    """Of the cells of a matrix; ``folders`` are those of traced runs by the cell's id.

    ``without``: the cells that are to be traced and have no trace, each with its reason, which may be empty.
    """
    found: list[TracedWakeup] = []
    bad: list[str] = []
    for cell in cells:
        for folder in folders.get(cell.id, ()):
            try:
                found.append(TracedWakeup(cell, read_trace(folder), _picture(folder)))
            except ParseError as error:
                bad.append(str(error))
    untraced = tuple((cell, reason) for cell, reason in (without or {}).items() if reason)
    waiting = len(without or {}) - len(untraced)
    return LateCauses(tuple(found), tuple(_tables(found)), tuple(bad), untraced, waiting)


def _tables(found: Sequence[TracedWakeup]) -> Iterator[CauseTable]:
    explained = [each for each in found if each.trace.latency_us is not None]
    for clock in sorted({each.cell.clock for each in explained}):
        those = [each for each in explained if each.cell.clock == clock]
        yield CauseTable(_table(those, clock), tuple(_taken_away(those)))


def _table(found: Sequence[TracedWakeup], clock: str) -> Table:
    groups = _grouped(found, lambda cell: (cell.board, cell.tuning, cell.place))
    causes = [row for row in causes_by_group(groups, named=False) if max(row.mean_us.values()) >= _LEAST_US]
    rows: dict[str, list[TableRow]] = {}
    for key, traces in groups.items():
        board, tuning, place = key
        latency = sum(each.latency_us or 0.0 for each in traces) / len(traces)
        parts = (decimals(row.mean_us[key]) if row.mean_us[key] >= _LEAST_US else EN_DASH for row in causes)
        rows.setdefault(board, []).append(
            TableRow(f"{tuning}, {place}", (number(len(traces)), decimals(latency), *parts))
        )
    return Table(
        caption=f"Traced late wake-ups: how late they were, and what had that time, on average, in {unit(clock)}.",
        clock=clock,
        first="tuning, place",
        heads=("wake-ups", "late", *(f"{row.side}: {row.cause}" for row in causes)),
        boards=tuple((board, tuple(those)) for board, those in rows.items()),
    )


def _taken_away(found: Sequence[TracedWakeup]) -> Iterator[str]:
    """Which causes of the first tuning of a board and place are gone with each other one, by cells that both have."""
    for (board, place), those in _split(found, lambda cell: (cell.board, cell.place)).items():
        first, *others = _split(those, lambda cell: cell.tuning).items()
        for tuning, wakeups in others:
            points = [{_point(each.cell) for each in some} for some in (first[1], wakeups)]
            both = [each for each in (*first[1], *wakeups) if _point(each.cell) in points[0] & points[1]]
            if both:
                where = "in the guest" if place == "guest" else "on the host"
                yield f"{board}, {where}, {tuning} against {first[0]}: {_change(both, first[0], tuning, place)}"


def _change(found: Sequence[TracedWakeup], before: str, after: str, place: str) -> str:
    groups = _grouped(found, lambda cell: cell.tuning)
    rows = causes_by_group(groups)
    gone, new = (
        [row for row in rows if row.mean_us[a] >= _LEAST_US > row.mean_us[b]]
        for a, b in ((before, after), (after, before))
    )
    said = f"gone: {_listed(gone, before, groups[before], place)}." if gone else "nothing is gone."
    return f"{said} New: {_listed(new, after, groups[after], place)}." if new else said


def _listed(rows: Sequence[CauseByGroup[str]], tuning: str, traces: Sequence[StoredTrace], place: str) -> str:
    """Causes in words with their mean part, the longest first; the smaller ones are counted."""
    least = _LEAST_SHARE * sum(each.latency_us or 0.0 for each in traces) / len(traces)
    long = [row for row in rows if row.mean_us[tuning] >= least]
    said = [f"{_phrase(row, place)} ({decimals(row.mean_us[tuning])} µs)" for row in long]
    rest = [row.mean_us[tuning] for row in rows if row not in long]
    return "; ".join([*said, *([f"{smaller(len(rest))} ({decimals(sum(rest))} µs)"] if rest else [])])


def _phrase(row: CauseByGroup[str], place: str) -> str:
    try:
        return phrase_of(Owner(Cause(row.cause), cast(Side, row.side), row.who), place, "cyclictest")
    except (ValueError, KeyError):  # of another version
        return ", ".join(each for each in (f"{row.side}: {row.cause}", row.who) if each)


def _point(cell: Cell) -> tuple[str, ...]:
    return tuple(getattr(cell, axis) for axis in _AXES)


def _split(found: Sequence[TracedWakeup], key: Callable[[Cell], Key]) -> dict[Key, list[TracedWakeup]]:
    groups: dict[Key, list[TracedWakeup]] = {}
    for each in found:
        groups.setdefault(key(each.cell), []).append(each)
    return groups


def _grouped(found: Sequence[TracedWakeup], key: Callable[[Cell], Key]) -> dict[Key, list[StoredTrace]]:
    return {name: [each.trace for each in those] for name, those in _split(found, key).items()}


def _picture(folder: Path) -> str:
    path = folder / PICTURE
    try:
        data = path.read_bytes() if path.stat().st_size <= _MOST_BYTES else b""
    except OSError:
        data = b""
    return f"data:image/svg+xml;base64,{base64.b64encode(data).decode()}" if data else ""
