"""Progress is told from events captured from a real run: two hosts, a rescued failure, cells, a last play that fails.

Its plays were 'Bring every board up', 'Measure' and 'Report'; a measure_cell that slept stood in for the real one.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from rtvirt_runner.run.progress import SILENCE_S, Event, Failure, Progress, duration, plain

EVENTS = Path(__file__).parent.parent / "data" / "ansible_events" / "rescue_cells_failure.json"


def captured() -> list[Event]:
    events: list[Event] = json.loads(EVENTS.read_text())
    return events


def replay(progress: Progress, events: list[Event]) -> list[str]:
    """Feed events one second apart."""
    return [line for now, event in enumerate(events) for line in progress.handle(event, float(now))]


def started(host: str, task: str) -> Event:
    return {"event": "runner_on_start", "event_data": {"host": host, "task": task}}


def failed(host: str, task: str, **result: Any) -> Event:
    return {"event": "runner_on_failed", "event_data": {"host": host, "task": task, "res": result}}


def test_a_run_is_told_in_plays_messages_and_cells() -> None:
    lines = replay(Progress({"b1": 3, "b2": 3}, started=0.0), captured())
    assert [line for line in lines if line.startswith("==")] == ["== Bring every board up", "== Measure", "== Report"]
    assert "cell c1: quarter done" in lines
    assert "cell c2 failed in 2 s: isolcpus wanted 1, found none" in lines


def test_cells_are_counted_from_what_measure_cell_returned_also_in_a_loop() -> None:
    progress = Progress({}, started=0.0)
    replay(progress, captured())
    assert {cell.cell_id: cell.status for cell in progress.cells.values()} == {
        "c1": "done",
        "c2": "failed",
        "c3": "done",
    }


def test_a_guest_s_cells_count_for_its_board() -> None:
    progress = Progress({"b1": 1}, started=0.0)
    result = {"cell_id": "c", "status": "done", "reason": "", "seconds": 1}
    progress.handle({"event": "runner_on_ok", "event_data": {"host": "b1-guest", "task": "Measure", "res": result}}, 1)
    assert [cell.cell_id for cell in progress.cells_of("b1")] == ["c"]


def test_a_reason_that_many_cells_have_is_told_once() -> None:
    progress = Progress({"b1": 3}, started=0.0)
    said = []
    for name, reason in (("c1", "no room"), ("c1", "no room"), ("c2", "no room"), ("c3", "too late")):
        result = {"cell_id": name, "status": "failed", "reason": reason, "seconds": 1}
        event = {"event": "runner_on_ok", "event_data": {"host": "b1", "task": "Measure", "res": result}}
        said += progress.handle(event, 1)
    assert said == [
        "cell c1 failed in 1 s: no room",
        "cell c1 failed in 1 s: no room",
        "cell c2 failed in 1 s for the same reason as cell c1",
        "cell c3 failed in 1 s: too late",
    ]


def test_a_traced_run_of_a_cell_does_not_count_and_its_cause_is_told() -> None:
    progress = Progress({"b1": 1}, started=0.0)
    ended = {"cell_id": "c", "status": "done", "seconds": 3.0, "counts": False}
    traced = {"traced_cell": "c", "sentences": ["cyclictest woke up late.", "The thread x ran.", "And so on."]}
    for result in (ended, traced):
        event = {"event": "runner_on_ok", "event_data": {"host": "b1", "task": "Trace", "res": result}}
        said = progress.handle(event, 1)
    assert said == ["traced c: cyclictest woke up late. The thread x ran."]
    assert progress.cells_of("b1") == []


def test_what_ansible_says_of_an_interrupt_is_not_said_again() -> None:
    said = {"event": "error", "stdout": "[ERROR]: User interrupted execution\n[ERROR]: another"}
    assert Progress({}, started=0.0).handle(said, 1) == ["[ERROR]: another"]


def test_a_rescued_failure_is_not_why_the_run_failed() -> None:
    progress = Progress({}, started=0.0)
    replay(progress, captured())
    assert progress.failures() == [Failure("localhost", "Fail when a cell failed", "2 cells failed: c2")]


def test_a_run_that_broke_off_shows_every_failure_there_was() -> None:
    progress = Progress({}, started=0.0)
    replay(progress, [event for event in captured() if event["event"] != "playbook_on_stats"])
    assert [failure.task for failure in progress.failures()] == ["Try KVM", "Fail when a cell failed"]


def test_every_stage_ends_when_the_next_begins() -> None:
    progress = Progress({}, started=0.0)
    replay(progress, captured())
    assert [stage.name for stage in progress.stages] == ["Bring every board up", "Measure", "Report"]
    assert all(stage.seconds > 0 for stage in progress.stages)


def test_a_task_is_named_once_when_it_turns_out_slow() -> None:
    progress = Progress({}, started=0.0)
    progress.handle(started("b1", "Wait for SSH"), 0.0)
    assert progress.tick(4.0) == []
    assert progress.tick(5.0) == ["b1: Wait for SSH"]
    assert progress.tick(6.0) == []


def test_silence_is_broken_by_what_every_host_is_doing() -> None:
    progress = Progress({"b1": 2}, started=0.0)
    progress.handle(started("b1", "Wait for SSH"), 0.0)
    progress.tick(5.0)
    assert progress.tick(5.0 + SILENCE_S - 1) == []
    assert progress.tick(5.0 + SILENCE_S) == ["... 0 of 2 cells; b1: Wait for SSH (35 s)"]


@pytest.mark.parametrize(
    ("result", "message"),
    [
        ({"msg": "no such\n  board"}, "no such board"),
        ({"msg": "non-zero return code", "stderr": "a\nb"}, "non-zero return code a b"),
        ({"results": [{"failed": False, "msg": "x"}, {"failed": True, "msg": "y"}]}, "y"),
        ({"msg": "secret", "_ansible_no_log": True}, "its output is kept out of the log"),
        ({}, "it gave no reason"),
    ],
)
def test_a_failure_s_message_is_one_paragraph(result: dict[str, Any], message: str) -> None:
    progress = Progress({}, started=0.0)
    progress.handle(failed("b1", "Boot", **result), 1.0)
    assert progress.failures() == [Failure("b1", "Boot", message)]


def test_text_loses_colours_and_carriage_returns() -> None:
    assert plain("\x1b[0;32mok: [b1]\x1b[0m\r\n") == "ok: [b1]\n"


@pytest.mark.parametrize(("seconds", "text"), [(8.4, "8 s"), (125, "2:05 min"), (3725, "1:02:05 h")])
def test_durations_are_for_people(seconds: float, text: str) -> None:
    assert duration(seconds) == text
