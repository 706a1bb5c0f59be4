"""Lines of progress, for whatever takes long: one now and then, and none in between."""

from __future__ import annotations

import time
from collections.abc import Callable

Say = Callable[[str], None]

MIB = 1 << 20


class Pulse:
    """Tells when the next line is due: ``every_s`` seconds after the last one."""

    def __init__(self, every_s: float) -> None:
        self._every_s = every_s
        self.restart()

    def restart(self) -> None:
        """Count from now on."""
        self._last = time.monotonic()

    def due(self) -> bool:
        """Whether a line is due; then the next one is counted from now on."""
        if time.monotonic() - self._last < self._every_s:
            return False
        self.restart()
        return True


class ByteProgress:
    """How far bytes are on their way: how much, how fast, how long still. ``done`` of them were there before."""

    def __init__(self, name: str, say: Say, every_s: float, done: int = 0) -> None:
        self._name, self._say, self._done_before = name, say, done
        self._began = time.monotonic()
        self._pulse = Pulse(every_s)

    def tick(self, done: int, total: int | None) -> None:
        """Say how far it is if that is due; ``total`` is None where nobody knows it."""
        if not self._pulse.due():
            return
        rate = max(0, done - self._done_before) / (time.monotonic() - self._began)
        if not total:
            self._say(f"{self._name}: {done / MIB:.1f} MiB, {rate / MIB:.1f} MiB/s")
            return
        left = f", {minutes((total - done) / rate)} left" if rate else ""
        self._say(f"{self._name}: {100 * done // total} %, {rate / MIB:.1f} MiB/s{left}")

    def end(self, total: int) -> None:
        """Say that all is done."""
        seconds = time.monotonic() - self._began
        rate = (total - self._done_before) / MIB / seconds
        self._say(f"{self._name}: 100 %, {rate:.1f} MiB/s, took {minutes(seconds)}")


def minutes(seconds: float) -> str:
    """``'2:05 min'``."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d} min"
