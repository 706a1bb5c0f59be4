"""Show progress: a live view on a terminal, plain lines otherwise. Both write to stderr."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable
from types import TracebackType
from typing import Any, Protocol

from rich.console import Console, ConsoleOptions, RenderableType
from rich.live import Live
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from rtvirt_runner.printable import printable
from rtvirt_runner.run.progress import Progress, duration

ErrorType = type[BaseException] | None


class SafeConsole(Console):
    """A console on which texts are only shown: no control character, and no markup, of theirs is interpreted."""

    def __init__(self, *, stderr: bool = False) -> None:
        super().__init__(stderr=stderr, markup=False, emoji=False, highlight=False)

    def render_str(self, text: str, **options: Any) -> Text:
        """Escape before a text is measured and wrapped."""
        return super().render_str(printable(text, keep="\n"), **options)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Escape what comes in any other way."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(printable(segment.text, keep="\n"), segment.style)


class View(Protocol):
    """Shows a run. ``say`` is given finished lines, ``refresh`` is called about once a second."""

    def __enter__(self) -> View: ...

    def __exit__(self, kind: ErrorType, error: BaseException | None, trace: TracebackType | None) -> None: ...

    def say(self, lines: list[str]) -> None: ...

    def refresh(self, progress: Progress, now: float) -> None: ...


class PlainView:
    """Lines with the elapsed time, each written at once, so that they pass through a pipe."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._began = time.monotonic()

    def __enter__(self) -> PlainView:
        return self

    def __exit__(self, kind: ErrorType, error: BaseException | None, trace: TracebackType | None) -> None:
        return None

    def say(self, lines: list[str]) -> None:
        elapsed = duration(time.monotonic() - self._began)
        for line in lines:
            self._console.out(f"[{elapsed:>9}] {printable(line)}", highlight=False)

    def refresh(self, progress: Progress, now: float) -> None:
        """Plain lines are never redrawn."""


class LiveView:
    """The same lines scrolling above a table with each board's current task."""

    def __init__(self, console: Console) -> None:
        self._live = Live(console=console, auto_refresh=False, transient=True)

    def __enter__(self) -> LiveView:
        self._live.start()
        return self

    def __exit__(self, kind: ErrorType, error: BaseException | None, trace: TracebackType | None) -> None:
        self._live.stop()

    def say(self, lines: list[str]) -> None:
        for line in lines:
            if not line.startswith("..."):  # the table is the heartbeat
                self._live.console.out(printable(line), highlight=False)

    def refresh(self, progress: Progress, now: float) -> None:
        self._live.update(_boards_table(progress, now), refresh=True)


def open_view() -> View:
    """A live view where stderr is a terminal, else plain lines."""
    console = SafeConsole(stderr=True)
    return LiveView(console) if console.is_terminal else PlainView(console)


def _boards_table(progress: Progress, now: float) -> Table:
    stage = progress.stages[-1].name if progress.stages else "starting"
    table = Table(title=f"{stage}  {duration(now - progress.started)}", title_justify="left", expand=True)
    for heading in ("where", "doing", "since", "cells"):
        table.add_column(heading, no_wrap=True)
    others = sorted(host for host in progress.working if host not in progress.to_do)
    for host in (*progress.to_do, *others):
        work = progress.working.get(host)
        since = duration(now - work.since) if work else ""
        table.add_row(host, work.task if work else "", since, _cells_text(progress, host))
    return table


def _cells_text(progress: Progress, host: str) -> Text:
    if host not in progress.to_do:
        return Text("")
    ended = Counter(cell.status for cell in progress.cells_of(host))
    text = Text(f"{ended['done']} of {progress.to_do[host]}")
    if ended["failed"]:
        text.append(f", {ended['failed']} failed", style="red")
    return text
