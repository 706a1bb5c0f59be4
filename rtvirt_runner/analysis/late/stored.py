"""What is stored of a traced run, read back: words, and the owners of the late wake-up's time."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from rtvirt_runner.matrix.trace_files import TRACE_FILE
from rtvirt_runner.parsers import ParseError, strict_json

_MOST_BYTES = 1 << 20
Key = TypeVar("Key", bound=Hashable)  # of a group


@dataclass(frozen=True)
class StoredCause:
    """One owner of a late wake-up's time: cause, side, and the name of a thread, interrupt or exit (may be empty)."""

    cause: str
    side: str
    who: str
    us: float


@dataclass(frozen=True)
class StoredTrace:
    """A traced run. Without an explanation there are sentences only, ``latency_us`` is None and there is no cause."""

    folder: Path
    threshold_us: int
    sentences: tuple[str, ...]
    latency_us: float | None
    causes: tuple[StoredCause, ...]


def read_trace(folder: Path) -> StoredTrace:
    """Read the folder of a traced run back. Raises ParseError, one sentence, for what cannot be used."""
    path = folder / TRACE_FILE
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise ParseError(f"{path} has more than {_MOST_BYTES} bytes, expected less.")
        return _trace(folder, strict_json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError) as error:
        if isinstance(error, ParseError):
            raise
        why = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise ParseError(f"{path} cannot be used: {why}.") from error


def _trace(folder: Path, content: Any) -> StoredTrace:
    explanation = _checked(content["explanation"], (dict, type(None)))
    causes = [_cause(each) for each in _checked(explanation["causes"], (list,))] if explanation else []
    return StoredTrace(
        folder,
        _checked(content["threshold_us"], (int,)),
        tuple(_checked(each, (str,)) for each in _checked(content["sentences"], (list,))),
        _number(explanation["latency_us"]) if explanation else None,
        tuple(causes),
    )


def _cause(given: Mapping[str, Any]) -> StoredCause:
    cause, side, who = (_checked(given[key], (str,)) for key in ("cause", "side", "who"))
    return StoredCause(cause, side, who, _number(given["us"]))


def _number(value: Any) -> float:
    found = float(_checked(value, (int, float)))
    if not math.isfinite(found):
        raise ValueError("a number is not finite")
    return found


def _checked(value: Any, kinds: tuple[type, ...]) -> Any:
    if not isinstance(value, kinds) or isinstance(value, bool):
        raise TypeError(
            f"it holds {str(value)[:60]!r} where {' or '.join(kind.__name__ for kind in kinds)} is expected"
        )
    return value


@dataclass(frozen=True)
class CauseByGroup(Generic[Key]):
    """One cause in the mean us of a late wake-up, by group; 0 where it does not occur."""

    cause: str
    side: str
    who: str
    mean_us: Mapping[Key, float]


def causes_by_group(groups: Mapping[Key, Sequence[StoredTrace]], *, named: bool = True) -> list[CauseByGroup[Key]]:
    """Which setting took which cause away: the mean part of each cause, the longest first.

    ``groups``: explained traces by what tells them apart, a tuning for example. Without ``named``, whoever did it is
    put together, and ``who`` is empty.
    """
    sums: dict[tuple[str, str, str], dict[Key, float]] = {}
    for group, traces in groups.items():
        for trace in traces:
            for each in trace.causes:
                owner = each.cause, each.side, each.who if named else ""
                row = sums.setdefault(owner, dict.fromkeys(groups, 0.0))
                row[group] += each.us / len(traces)
    rows = [CauseByGroup(*owner, means) for owner, means in sums.items()]
    return sorted(rows, key=lambda row: (-max(row.mean_us.values()), row.cause, row.side, row.who))
