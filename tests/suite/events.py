"""Boots of emulated boards, from a file of events: whatever starts a board or a guest appends one JSON line to it.

A line is ``{"event": "cold boot", "board": "virtual-cb2"}``; the file's path is in the variable RTVIRT_TEST_EVENTS.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

VARIABLE = "RTVIRT_TEST_EVENTS"
BOOTS = ("cold boot", "reboot")  # these take a minute; a restore takes two seconds


def boots(events: Mapping[str, int]) -> int:
    return sum(events.get(kind, 0) for kind in BOOTS)


class EventFile:
    """A worker's own file of events."""

    def __init__(self, path: Path) -> None:
        path.touch()
        self._path, self._read_bytes = path, 0

    def news(self) -> Counter[str]:
        """How many events of each kind were appended since the last call."""
        with self._path.open("rb") as file:
            file.seek(self._read_bytes)
            whole, newline, _ = file.read().rpartition(b"\n")
        self._read_bytes += len(whole) + len(newline)
        return Counter(str(json.loads(line)["event"]) for line in whole.splitlines())
