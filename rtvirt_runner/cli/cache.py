"""``rtvirt cache``: what the cache holds, as a table or as JSON, and ``rtvirt cache prune``."""

from __future__ import annotations

import json
import re
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from rich.table import Table
from rich.text import Text

from rtvirt_runner.build.cache import PRUNABLE, Entry, Kind, Pruned
from rtvirt_runner.catalogue.checked_yaml import InputError

_UNITS = {"b": 1, **{f"{letter}b": 1000**power for power, letter in enumerate("kmgt", start=1)}}
_UNITS |= {f"{letter}ib": 1024**power for power, letter in enumerate("kmgt", start=1)}
_NAMES_SHOWN = 3


def parse_size(text: str) -> int:
    """Bytes of ``1GB`` (10^9), ``500 MiB`` (500 * 2^20) or ``0``. Raises InputError for anything else."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([a-zA-Z]*)", text.strip())
    unit = match[2].lower() if match else ""
    if not match or not (unit in _UNITS or (not unit and float(match[1]) == 0)):
        raise InputError(f"'{text}' is no size, expected a number with a unit, such as 1GB, 1.5TB or 500MiB.")
    return int(float(match[1]) * _UNITS.get(unit, 1))


def size(size_bytes: int) -> str:
    """Format bytes like ``'1.4 GB'``, in powers of 1000."""
    for power, letter in ((4, "T"), (3, "G"), (2, "M")):
        if size_bytes >= 0.9995 * 1000**power:
            return f"{size_bytes / 1000**power:.1f} {letter}B"
    return f"{size_bytes / 1000:.0f} kB"


def age(seconds: float) -> str:
    """Format an age in seconds in one unit, like ``'3 days ago'``."""
    for unit, unit_s in (("days", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * unit_s:
            return f"{seconds / unit_s:.0f} {unit} ago"
    return "just now"


def cache_table(entries: Sequence[Entry], title: str, every: bool) -> Table:
    """Table of entries, largest kinds and entries first; one line per family, or per entry with ``every``."""
    table = Table(title=title, title_justify="left")
    for heading in ("kind", "what", "entries", "size", "last used", "in use by"):
        table.add_column(heading, justify="right" if heading in ("entries", "size") else "left", overflow="fold")
    for kind, members in _largest_first(entries, lambda entry: entry.kind):
        lines = _largest_first(members, lambda entry: entry.name if every else entry.family)
        for name, line in lines:
            table.add_row(kind, name, *_columns(line), end_section=len(lines) == 1)
        if len(lines) > 1:
            total = (Text(kind, style="bold"), Text("together", style="bold"), *_columns(members)[:2])
            table.add_row(*total, end_section=True)
    table.add_row(Text("all", style="bold"), "", *_columns(entries)[:2])
    return table


def as_json(entries: Sequence[Entry], cache: Path) -> str:
    """All entries as JSON."""
    listed = [
        {
            "kind": entry.kind,
            "name": entry.name,
            "paths": [str(path) for path in entry.paths],
            "size_bytes": entry.size_bytes,
            "last_used": datetime.fromtimestamp(entry.used_s, UTC).isoformat(timespec="seconds"),
            "in_use_by": entry.held_by,
            "prunable": entry.kind in PRUNABLE and not entry.held_by,
        }
        for entry in entries
    ]
    total_bytes = sum(entry.size_bytes for entry in entries)
    return json.dumps({"cache": str(cache), "size_bytes": total_bytes, "entries": listed}, indent=2)


def summary(pruned: Pruned, dry_run: bool) -> str:
    """Result of pruning; the reason when the limit was not reached."""
    goes, takes = ("would go", "would take") if dry_run else ("went", "takes")
    gone_bytes = sum(entry.size_bytes for entry in pruned.removed)
    text = (
        f"{_count(len(pruned.removed))} with {size(gone_bytes)} {goes}; the cache took {size(pruned.before_bytes)} and "
        f"{takes} {size(pruned.after_bytes)}."
    )
    if pruned.reached:
        return text
    stays = defaultdict[str, int](int)
    for entry in pruned.left:
        stays[_why_it_stays(entry)] += entry.size_bytes
    reasons = ", ".join(f"{size(size_bytes)} {why}" for why, size_bytes in stays.items())
    return f"{text}\nThat is more than {size(pruned.limit_bytes)}: {reasons}."


def _why_it_stays(entry: Entry) -> str:
    if entry.held_by:
        return "are in use"
    if entry.kind is Kind.KEYS:
        return "are keys, by which a lab knows its boards and guests"
    return "are not rtvirt's to prune" if entry.kind is Kind.OTHER else "could not be removed"


def _columns(entries: Sequence[Entry]) -> tuple[str, str, str, str]:
    total_bytes = sum(entry.size_bytes for entry in entries)
    last_used_s = max((entry.used_s for entry in entries), default=0)
    names = list(dict.fromkeys(name for entry in entries for name in entry.held_by))
    more = [f"and {len(names) - _NAMES_SHOWN} more"] if len(names) > _NAMES_SHOWN else []
    by = ", ".join([*names[:_NAMES_SHOWN], *more])
    return str(len(entries)), size(total_bytes), age(time.time() - last_used_s), by


def _largest_first(entries: Iterable[Entry], key: Callable[[Entry], str]) -> list[tuple[str, list[Entry]]]:
    groups: Mapping[str, list[Entry]] = defaultdict(list)
    for entry in entries:
        groups[key(entry)].append(entry)
    return sorted(groups.items(), key=lambda group: -sum(entry.size_bytes for entry in group[1]))


def _count(number: int) -> str:
    return "1 entry" if number == 1 else f"{number} entries"
