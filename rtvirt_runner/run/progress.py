"""Progress of an Ansible run from its events: state, and lines to print. Nothing here does I/O.

An event is ansible-runner's: ``event`` (its kind), ``event_data`` (``play``, ``task``, ``host``, ``res``), ``stdout``.
Times are seconds of any one clock; the caller passes them in.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Event = Mapping[str, Any]

QUICK_TASK_S = 5.0  # a task that takes longer gets a line
SILENCE_S = 30.0  # a heartbeat follows so long after the last line

_ANSI = re.compile(r"\x1b\[[0-9;]*m")
_HOST_FAILED = ("runner_on_failed", "runner_on_unreachable", "runner_on_async_failed")
_HOST_ENDED = ("runner_on_ok", "runner_on_skipped", *_HOST_FAILED)
_INTERRUPTED = "User interrupted execution"  # of Ansible; whoever interrupts a run is told by the run itself
_RESULTS = ("runner_on_ok", "runner_on_failed", "runner_item_on_ok", "runner_item_on_failed")


@dataclass(frozen=True)
class CellResult:
    """Result of the measure_cell task for one cell; ``seconds`` is the total time of the cell."""

    cell_id: str
    host: str
    status: str
    reason: str
    seconds: float


@dataclass(frozen=True)
class Failure:
    """A task that failed on a host; ``message`` is one paragraph."""

    host: str
    task: str
    message: str


@dataclass
class Stage:
    """One play; ``seconds`` is its duration, 0 while it runs."""

    name: str
    started: float
    seconds: float = 0.0


@dataclass
class Work:
    """The task that a host is running."""

    task: str
    since: float
    announced: bool = False


@dataclass
class Progress:
    """Follows one run. ``to_do`` holds the number of pending cells per board."""

    to_do: Mapping[str, int]
    started: float
    stages: list[Stage] = field(default_factory=list)
    working: dict[str, Work] = field(default_factory=dict)  # hosts that run a task now
    cells: dict[str, CellResult] = field(default_factory=dict)
    recap: Mapping[str, Any] | None = None  # event data of playbook_on_stats; None while the playbook runs
    _failures: dict[str, Failure] = field(default_factory=dict)  # the last failure of each host
    _last_line: float = 0.0

    def __post_init__(self) -> None:
        self._last_line = self.started

    def handle(self, event: Event, now: float) -> list[str]:
        """Process one event; returns the lines to print for it."""
        kind = str(event.get("event", ""))
        data: Mapping[str, Any] = event.get("event_data") or {}
        lines: list[str] = []
        if kind == "playbook_on_play_start":
            lines = [self._begin_stage(str(data.get("name") or data.get("play") or ""), now)]
        elif kind == "playbook_on_stats":
            self.recap = data
            self.finish(now)
        elif kind == "runner_on_start":
            self.working[str(data.get("host"))] = Work(str(data.get("task") or data.get("task_action")), now)
        elif kind in ("verbose", "warning", "deprecated", "error"):
            said = plain(str(event.get("stdout", ""))).splitlines()
            lines = [line for line in said if line.strip() and _INTERRUPTED not in line]
        if kind in _RESULTS:
            lines += self._take_cell(data) + _trace_lines(data)
        if kind in _HOST_FAILED and not data.get("ignore_errors"):
            self._failures[str(data.get("host"))] = _failure(data)
        if kind in _HOST_ENDED:
            self.working.pop(str(data.get("host")), None)
        return self._said(lines, now)

    def tick(self, now: float) -> list[str]:
        """Lines to print because of elapsed time: tasks that take long, and a heartbeat after a silence."""
        lines = []
        for host, work in self.working.items():
            if not work.announced and now - work.since >= QUICK_TASK_S:
                work.announced = True
                lines.append(f"{host}: {work.task}")
        if not lines and now - self._last_line >= SILENCE_S:
            lines = [self.heartbeat(now)]
        return self._said(lines, now)

    def heartbeat(self, now: float) -> str:
        """One line: the count of cells, and each host's task with its duration."""
        hosts = [f"{host}: {work.task} ({duration(now - work.since)})" for host, work in sorted(self.working.items())]
        total = sum(self.to_do.values())
        counted = f"{len(self.cells)} of {total} cells; " if total else ""
        return f"... {counted}{'; '.join(hosts) or 'between tasks'}"

    def cells_of(self, board: str) -> list[CellResult]:
        """The cells of a board, measured on the host or in its guest, that ended in this run."""
        return [cell for cell in self.cells.values() if cell.host in (board, f"{board}-guest")]

    def left_s(self) -> float | None:
        """Seconds until the last board has measured what it has to, as fast as this run's cells; None if none ended.

        Boots and starts of guests come on top. Boards measure at the same time.
        """
        seconds = [cell.seconds for cell in self.cells.values()]
        if not seconds:
            return None
        longest = 0.0
        for board, count in self.to_do.items():
            ended = [cell.seconds for cell in self.cells_of(board)]
            each_s = sum(ended) / len(ended) if ended else sum(seconds) / len(seconds)
            longest = max(longest, each_s * (count - len(ended)))
        return longest

    def failures(self) -> list[Failure]:
        """Why the run failed: the last failure of each host that did not recover, or of all in a run cut short."""
        if self.recap is None:
            return list(self._failures.values())
        lost = {**(self.recap.get("failures") or {}), **(self.recap.get("dark") or {})}
        return [failure for host, failure in self._failures.items() if host in lost]

    def finish(self, now: float) -> None:
        """End the current stage: another begins, or the run has ended."""
        self.working.clear()
        if self.stages and not self.stages[-1].seconds:
            self.stages[-1].seconds = now - self.stages[-1].started

    def _begin_stage(self, name: str, now: float) -> str:
        self.finish(now)
        self.stages.append(Stage(name, now))
        return f"== {name}"

    def _take_cell(self, data: Mapping[str, Any]) -> list[str]:
        result = data.get("res") or {}
        if not isinstance(result, Mapping) or "cell_id" not in result or not result.get("counts", True):
            return []
        cell = CellResult(
            cell_id=str(result["cell_id"]),
            host=str(data.get("host")),
            status=str(result.get("status", "")),
            reason=str(result.get("reason") or ""),
            seconds=float(result.get("seconds") or 0.0),
        )
        others = [each for each in self.cells.values() if each.cell_id != cell.cell_id]
        alike = next((each.cell_id for each in others if cell.reason and each.reason == cell.reason), "")
        why = f" for the same reason as cell {alike}" if alike else f": {cell.reason}" if cell.reason else ""
        self.cells[cell.cell_id] = cell
        return [f"cell {cell.cell_id} {cell.status} in {duration(cell.seconds)}{why}"]

    def _said(self, lines: list[str], now: float) -> list[str]:
        if lines:
            self._last_line = now
        return lines


def _trace_lines(data: Mapping[str, Any]) -> list[str]:
    """What the task store_trace says of a late wake-up."""
    result = data.get("res") or {}
    if not isinstance(result, Mapping) or "traced_cell" not in result:
        return []
    return [f"traced {result['traced_cell']}: {' '.join(map(str, result.get('sentences', ())[:2]))}"]


def _failure(data: Mapping[str, Any]) -> Failure:
    result = data.get("res") or {}
    return Failure(str(data.get("host")), str(data.get("task") or data.get("task_action")), _message(result))


def _message(result: Mapping[str, Any]) -> str:
    """One paragraph from a failed task's result: its message, then the last lines of the command's output."""
    if result.get("_ansible_no_log"):
        return "its output is kept out of the log"
    items = result.get("results")
    if isinstance(items, list):
        failed = [each for each in items if isinstance(each, Mapping) and each.get("failed")]
        return " | ".join(_message(each) for each in failed[:3]) or str(result.get("msg", ""))
    parts = [str(result.get("msg") or "").strip()]
    said = str(result.get("stderr") or result.get("stdout") or "").strip()
    if said and said not in parts[0]:
        parts.append(" ".join(said.splitlines()[-5:]))
    return " ".join(" ".join(parts).split()) or "it gave no reason"


def plain(text: str) -> str:
    """Text without colours and carriage returns."""
    return _ANSI.sub("", text).replace("\r", "")


def duration(seconds: float) -> str:
    """``'8 s'``, ``'2:05 min'``, ``'1:02:05 h'``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes}:{rest:02d} min"
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d} h"
