"""The lock of a run: a group that is to be alone holds it exclusively, every other one holds it shared."""

from __future__ import annotations

import fcntl
from pathlib import Path


class GroupLock:
    """Held by a worker from the first test of a group to its last, so that what its fixtures started counts too."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("a")
        self._held = False

    def hold(self, *, alone: bool) -> None:
        """Wait until this group may run; nothing to do if it does already."""
        if not self._held:
            fcntl.flock(self._file, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
            self._held = True

    def release(self) -> None:
        fcntl.flock(self._file, fcntl.LOCK_UN)
        self._held = False
