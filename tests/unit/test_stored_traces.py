"""What is stored of a traced run: raw text, words, numbers, a picture, and never a record among others."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from fake_traces import US, late_once
from fakes import catalogue, cyclictest_json, done, system, virtual_lab

from rtvirt_runner.analysis.late.recording import Recording
from rtvirt_runner.catalogue import collection
from rtvirt_runner.catalogue.checked_yaml import InputError
from rtvirt_runner.matrix.cell import Cell
from rtvirt_runner.matrix.load import load_matrix
from rtvirt_runner.matrix.results import Record, ResultsTree
from rtvirt_runner.matrix.threshold import AUTO, read_threshold
from rtvirt_runner.report.page import render_page
from rtvirt_runner.report.traces import TracedRun

MATRIX = load_matrix(collection.matrix_path("smoke"), virtual_lab(), catalogue())
CELL = next(cell for cell in MATRIX.cells if cell.place == "guest")
PAIR = late_once("host_thread", 700 * US)
TEXTS = {"host": "".join(PAIR.host.text()), "guest": "".join(PAIR.guest.text())}


def record(folder: Path, late_us: int) -> Record:
    """A record of the cell of which one wake-up is this late."""
    counts = {60: CELL.loops - 1, late_us: 1}
    path = ResultsTree(folder).write_record(
        "smoke", CELL, done(), system(CELL), {"cyclictest.json": cyclictest_json(counts)}
    )
    found = ResultsTree(path.parents[2]).find("smoke", CELL)
    assert isinstance(found, Record)
    return found


def traced(tmp_path: Path, texts: dict[str, str], broke_us: int | None = 713, cell: Cell = CELL) -> TracedRun:
    recording = Recording(cell, texts, broke_us, {})
    return TracedRun(recording, AUTO, 250, record(tmp_path / "a", 240), record(tmp_path / "b", 330), {"begun": {}})


def test_a_traced_run_is_stored_with_its_cause_in_words(tmp_path: Path) -> None:
    files, said = traced(tmp_path, TEXTS).files()
    assert said[0].startswith("cyclictest woke up 7")
    assert "the thread rogue ran on the host on the core of the vCPU." in said[1]
    assert any(each.startswith("The offset between the clocks of board and guest is known to ") for each in said)
    assert said[-2].startswith("Without a trace the cell took 60.") and "240 at most, traced 60." in said[-2]
    assert said[-1] == "All times are in virtual time."
    assert {"trace-host.txt", "trace-guest.txt", "host.dat", "guest.dat", "late-wake-up.svg"} <= set(files)
    stored = json.loads(files["trace.json"])
    assert stored["explanation"]["causes"][0]["who"] == "rogue"
    assert stored["clock"]["events_outside"] == 0
    assert (stored["without"]["max_us"], stored["with"]["max_us"]) == (240, 330)
    assert sum(each["us"] for each in stored["explanation"]["causes"]) == pytest.approx(
        stored["explanation"]["latency_us"]
    )


def test_it_lies_beside_the_records_and_is_none(tmp_path: Path) -> None:
    tree = ResultsTree(tmp_path / "results")
    files, _ = traced(tmp_path, TEXTS).files()
    first, second = (tree.keep_trace("smoke", CELL, files) for _ in range(2))
    assert [first.name, second.name] == [f"{CELL.id}.trace-1", f"{CELL.id}.trace-2"]
    assert tree.traces("smoke") == {CELL.id: [first, second]}
    assert tree.read("smoke") == []
    assert tree.pending("smoke", [CELL]) == [CELL]
    assert list(tree.root.glob("*/**/.*")) == []


def test_threads_of_qemu_are_those_that_were_read_back() -> None:
    recording = Recording(CELL, TEXTS, None, system(CELL)["board"])
    assert recording.vcpus == {number: 412 + number for number in range(CELL.vcpus)}
    assert recording.qemu == [411]


def test_a_guest_whose_vcpu_was_not_traced_is_explained_alone(tmp_path: Path) -> None:
    texts = {**TEXTS, "host": "".join(line for line in TEXTS["host"].splitlines(True) if "kvm_" not in line)}
    _, said = traced(tmp_path, texts, None).files()
    assert said[0].startswith(f"None of {10 * CELL.loops:,} wake-ups was later than 250 µs (virtual time)")
    assert any(each.startswith("Only the guest was traced") for each in said)
    assert any(each.startswith("Board and guest could not be put on one time line: ") for each in said)


def test_a_trace_without_the_wake_up_is_kept_and_says_so(tmp_path: Path) -> None:
    files, said = traced(tmp_path, {**TEXTS, "guest": ""}).files()
    assert said[0].startswith("The trace cannot be explained: ")
    assert json.loads(files["trace.json"])["explanation"] is None
    assert "late-wake-up.svg" not in files


def test_a_real_board_has_no_virtual_time(tmp_path: Path) -> None:
    _, said = traced(tmp_path, TEXTS, cell=replace(CELL, clock="real")).files()
    assert "virtual" not in " ".join(said)


def page(tmp_path: Path, *stored: dict[str, str | bytes]) -> str:
    tree = ResultsTree(tmp_path / "results")
    for files in stored:
        tree.keep_trace("smoke", CELL, files)
    return render_page(MATRIX, [], traces=tree.traces("smoke")).text


def test_the_page_shows_each_wake_up_and_its_causes_per_tuning(tmp_path: Path) -> None:
    files, said = traced(tmp_path, TEXTS).files()
    text = page(tmp_path, files, files)
    assert f"<h3>{CELL.axes} " in text and text.count("data:image/svg+xml;base64,") == 2
    assert f">{CELL.tuning} (2)</th>" in text and "host: other task, rogue</th>" in text
    for sentence in said[:2]:
        assert text.count(f"<li>{sentence}</li>") == 2


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", "{}", '{"threshold_us": 1, "sentences": "no", "explanation": null}', "[" * 999, "\0" * (1 << 21)],
)
def test_a_damaged_trace_has_a_sentence_on_the_page(tmp_path: Path, content: str) -> None:
    text = page(tmp_path, {"trace.json": content})
    assert "trace.json" in text and "<h3>" + CELL.axes not in text


def test_nothing_of_a_trace_runs_on_the_page(tmp_path: Path) -> None:
    script = "<script>alert(1)</script>"
    cause = {"cause": script, "side": script, "who": script, "us": 5}
    explanation = {"latency_us": 5, "causes": [cause]}
    content = json.dumps({"threshold_us": 1, "sentences": [script], "explanation": explanation})
    assert script not in page(tmp_path, {"trace.json": content, "late-wake-up.svg": f"<svg>{script}</svg>"})


@pytest.mark.parametrize("value", [250, "250", AUTO, 1, 1_000_000])
def test_a_threshold_is_auto_or_microseconds(value: object) -> None:
    assert read_threshold(value, "trace") == (AUTO if value == AUTO else int(str(value)))


@pytest.mark.parametrize("value", [0, -1, "0", "-5", 1_000_001, 2.5, "2.5", True, None, "Auto", "", "٣", [250]])
def test_any_other_threshold_is_refused_in_one_sentence(value: object) -> None:
    with pytest.raises(InputError, match=r"^trace is .*, expected auto or whole microseconds from 1 to 1000000; "):
        read_threshold(value, "trace")
