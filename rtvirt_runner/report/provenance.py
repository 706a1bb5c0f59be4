"""Where the numbers of a page come from: dates, versions and commits, as they are stored with the results."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rtvirt_runner.matrix.results import Record
from rtvirt_runner.parsers import ParseError
from rtvirt_runner.report.format import listed, number

_VERSION = re.compile(r'"rt_test_version:?": *"([^"]{1,40})"')  # rt-tests 2.x writes the key with a colon in it
_NOT_STORED = "not stored with these cells"


@dataclass(frozen=True)
class Source:
    """One line: what, and its values."""

    name: str
    values: tuple[str, ...]


def sources(records: Sequence[Record], stored: Mapping[str, Any], made_by: Mapping[str, Any]) -> list[Source]:
    """Of the records; ``stored`` is the matrix as kept with them, ``made_by`` the versions that make the page."""
    if not records:
        return [Source("this page", (_rtvirt(made_by),))]
    said = [
        Source("measured", (_period(records),)),
        Source("measured by", _counted(_rtvirt(_object(each.system.get("controller"))) for each in records)),
        Source("cyclictest (rt-tests)", _cyclictest(records)),
        Source("kernels of boards", _kernels(records, "board")),
        Source("kernels of guests", _kernels(records, "guest")),
        Source("QEMU that runs guests", _facts(records, "board", "qemu_version")),
        Source("QEMU that emulates boards", _facts(records, "emulator", "version")),
    ]
    if stored:
        written = f"{_date(str(stored.get('written_at', '')))} by {_rtvirt(_object(stored.get('versions')))}"
        said.append(Source("matrix stored", (written,)))
    said.append(Source("this page", (_rtvirt(made_by),)))
    return [each for each in said if each.values]


def _period(records: Sequence[Record]) -> str:
    first = _date(min(each.status.started_at for each in records))
    last = _date(max(each.status.ended_at for each in records))
    return f"{first} to {last}"


def _date(iso: str) -> str:
    """An ISO 8601 time in UTC, to the minute."""
    found = re.match(r"(\d{4}-\d\d-\d\d)T(\d\d:\d\d)", iso)
    return f"{found[1]} {found[2]} UTC" if found else iso or "at a time that is not stored"


def _rtvirt(versions: Mapping[str, Any]) -> str:
    if not versions:
        return _NOT_STORED
    said = [f"rtvirt {versions.get('rtvirt') or 'of an unknown version'}"]
    if commit := versions.get("commit"):
        said.append(f"commit {str(commit)[:12]}{' with changes' if versions.get('dirty') else ''}")
    for key, name in (("ansible_core", "ansible-core"), ("python", "Python")):
        if versions.get(key):
            said.append(f"{name} {versions[key]}")
    return ", ".join(said)


def _kernels(records: Sequence[Record], machine: str) -> tuple[str, ...]:
    """Release and version by the name in the catalogue."""
    found: dict[str, None] = {}
    for record in records:
        facts = _object(record.system.get(machine))
        state = record.cell.guest_state
        name = record.cell.kernel if machine == "board" else state.kernel if state else ""
        if facts.get("uname_r") and name:
            found[f"{name}: {facts['uname_r']} {facts.get('uname_v') or ''}".rstrip()] = None
    return tuple(found)


def _facts(records: Sequence[Record], machine: str, key: str) -> tuple[str, ...]:
    values = (_object(record.system.get(machine)).get(key) for record in records)
    return _counted(str(value) for value in values if value)


def _counted(values: Iterable[str]) -> tuple[str, ...]:
    """Each value once; of several how many cells each has."""
    counts: dict[str, int] = {}
    for value in values:
        counts[value] = counts.get(value, 0) + 1
    if len(counts) == 1:
        return tuple(counts)
    return tuple(f"{value} ({number(count)} cells)" for value, count in counts.items())


def _cyclictest(records: Sequence[Record]) -> tuple[str, ...]:
    """Versions, from the output of the first cell of each board, place and guest."""
    first: dict[tuple[str, str], Record] = {}
    for record in records:
        if record.output:
            first.setdefault((record.cell.board, record.cell.guest), record)
    found: dict[str, list[str]] = {}
    for (board, guest), record in first.items():
        try:
            match = _VERSION.search((record.raw("cyclictest.json") or "")[:4096])
        except ParseError:
            match = None
        where = board if record.cell.place == "host" else f"{board}'s guest {guest}"
        found.setdefault(match[1] if match else "of an unknown version", []).append(where)
    if len(found) == 1:
        return tuple(found)
    return tuple(f"{version} on {listed(where)}" for version, where in found.items())


def _object(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
