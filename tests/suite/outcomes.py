"""What became of each test, put together from the reports of its setup, call and teardown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

import pytest

from suite.events import boots
from suite.order import tier_of

EVENTS = "rtvirt events"  # the name of a report's property


@dataclass
class Outcome:
    """One test so far; times are seconds since the epoch."""

    nodeid: str
    verdict: str = "passed"
    seconds: float = 0.0
    began: float = float("inf")
    ended: float = 0.0
    events: Counter[str] = field(default_factory=Counter)

    def add(self, report: pytest.TestReport) -> None:
        self.seconds += report.duration
        self.began, self.ended = min(self.began, report.start or self.began), max(self.ended, report.stop)
        for name, value in report.user_properties:
            if name == EVENTS and isinstance(value, dict):
                self.events.update(value)
        if report.failed:
            self.verdict = "failed"
        elif report.skipped and self.verdict == "passed":
            self.verdict = "xfailed" if hasattr(report, "wasxfail") else "skipped"

    @property
    def tier(self) -> str:
        return tier_of(self.nodeid)

    @property
    def boots(self) -> int:
        return boots(self.events)

    def __str__(self) -> str:
        """``tests/machines/test_grub.py::test_x passed, 34 s, 2 boots``."""
        return ", ".join([f"{self.nodeid} {self.verdict}", seconds_text(self.seconds), *count_events(self.events)])


def count_events(events: Counter[str]) -> Iterable[str]:
    """``2 boots``, ``1 restore``, without those that there are none of."""
    counts = {"boot": boots(events), "restore": events["restore"], "guest start": events["guest start"]}
    return [f"{count} {what}{'' if count == 1 else 's'}" for what, count in counts.items() if count]


def seconds_text(seconds: float) -> str:
    """``0.4 s``, ``34 s``."""
    return f"{seconds:.1f} s" if seconds < 9.95 else f"{seconds:.0f} s"
