"""What a person reads while tests run: a line for each machine test, a count of the others, every failure at once."""

from __future__ import annotations

import json
import textwrap
import threading
import time
from collections.abc import Generator
from pathlib import Path

import pytest
from _pytest.terminal import TerminalReporter

from suite.order import write_json
from suite.outcomes import Outcome, seconds_text

SAID_ONE_BY_ONE = ("lint", "machines")
COUNT_EVERY_S = 10.0
LAST_CHARACTERS = 2000  # of what is said of a failure at once


class CurrentTest:
    """A worker's file that says what it is at."""

    def __init__(self, folder: Path, worker: str) -> None:
        self._path = folder / f"{worker}.current"

    def tell(self, what: str) -> None:
        write_json(self._path, [what, time.time()])

    def tell_nothing(self) -> None:
        self._path.unlink(missing_ok=True)


class Progress:
    """Takes the place of pytest's letters; only where all reports arrive."""

    def __init__(self, reporter: TerminalReporter, folder: Path, silence_s: float) -> None:
        self._reporter, self._folder, self._silence_s = reporter, folder, silence_s
        self._lock = threading.Lock()
        self._said = self._counted = time.monotonic()
        self._ended = self._failed = 0
        self._stop = threading.Event()
        self._watch = threading.Thread(target=self._break_silence, daemon=True)

    def start(self) -> None:
        self._watch.start()

    def stop(self) -> None:
        self._stop.set()
        if self._watch.is_alive():
            self._watch.join()

    @pytest.hookimpl(wrapper=True)
    def pytest_report_teststatus(
        self,
    ) -> Generator[None, tuple[str, str, object], tuple[str, str, object]]:
        category, _, word = yield  # the word is for the summary at the end
        return category, "", word

    def failed(self, outcome: Outcome, step: str, why: str) -> None:
        """A test has failed in its setup, call or teardown. The traceback comes at the end, which a run may not see."""
        self._failed += 1
        self._say(f"{outcome} (in its {step})", red=True)
        self._say(textwrap.indent(why.strip()[-LAST_CHARACTERS:], "    "))

    def ended(self, outcome: Outcome, expected: int) -> None:
        """A test has ended, as one of so many."""
        self._ended += 1
        if outcome.tier in SAID_ONE_BY_ONE and outcome.verdict != "failed":  # that was said at once
            self._say(str(outcome))
        if time.monotonic() - self._counted >= COUNT_EVERY_S or self._ended == expected:
            self._counted = time.monotonic()
            failed = f", {self._failed} failed" if self._failed else ""
            self._say(f"{self._ended} of {expected} tests have ended{failed}")

    def _say(self, line: str, **markup: bool) -> None:
        with self._lock:
            self._said = time.monotonic()
            self._reporter.write_line(line, **markup)
            self._reporter.flush()

    def _break_silence(self) -> None:
        while not self._stop.wait(min(1.0, self._silence_s / 4)):
            if time.monotonic() - self._said >= self._silence_s:
                self._say("\n".join(self._at_work()) or "... no test is running")

    def _at_work(self) -> list[str]:
        lines = []
        for path in sorted(self._folder.glob("*.current")):
            try:
                what, since = json.loads(path.read_text())
            except FileNotFoundError:  # it has ended just now
                continue
            lines.append(f"... {path.stem}: {what}, {seconds_text(time.time() - since)}")
        return lines
