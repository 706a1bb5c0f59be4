"""What is stored of a traced run: raw text, words, numbers, a picture, and never a record among others."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from fake_traces import US, late_once
from fakes import catalogue, cyclictest_json, done, system, virtual_lab

from rtvirt_runner.analysis.late.clocks import ClockSample
from rtvirt_runner.analysis.late.recording import Recording
from rtvirt_runner.catalogue import collection
from rtvirt_runner.catalogue.checked_yaml import InputError
from rtvirt_runner.matrix.cell import Cell
from rtvirt_runner.matrix.load import load_matrix
from rtvirt_runner.matrix.results import Record, ResultsTree
from rtvirt_runner.matrix.threshold import AUTO, read_threshold
from rtvirt_runner.report.format import EN_DASH
from rtvirt_runner.report.late_causes import late_causes
from rtvirt_runner.report.page import render_page
from rtvirt_runner.report.traces import SAMPLES_LEFT_OUT, TracedRun

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


def test_what_rtla_says_is_stored_beside_it(tmp_path: Path) -> None:
    files, said = replace(traced(tmp_path, TEXTS), rtla="## CPU 1 hit stop tracing\n").files()
    assert files["rtla-timerlat.txt"] == "## CPU 1 hit stop tracing\n"
    assert "What rtla says of its own thread there, with the same threshold, is in rtla-timerlat.txt." in said
    files, said = replace(traced(tmp_path / "silent", TEXTS), rtla="\n").files()
    assert "rtla-timerlat.txt" not in files
    assert "rtla was asked too, and said nothing in the time that it had." in said


def test_samples_that_contradict_the_events_are_left_out_and_that_is_said(tmp_path: Path) -> None:
    run = traced(tmp_path, TEXTS)
    at = PAIR.guest.parsed().begin_ns
    wrong = ClockSample(at, round(at + PAIR.guest.clock.true_offset(at)) + 300 * US, 1000)
    found, said = replace(run, recording=replace(run.recording, samples=(wrong,))).files()
    assert SAMPLES_LEFT_OUT in said
    without = json.loads(run.files()[0]["trace.json"])
    assert json.loads(found["trace.json"])["explanation"] == without["explanation"]


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


def page(tmp_path: Path, *stored: dict[str, str | bytes], cell: Cell = CELL) -> str:
    tree = ResultsTree(tmp_path / "results")
    for files in stored:
        tree.keep_trace("smoke", cell, files)
    return render_page(MATRIX, [], traces=tree.traces("smoke")).text


def test_the_page_shows_each_wake_up_and_a_table_of_causes(tmp_path: Path) -> None:
    files, said = traced(tmp_path, TEXTS).files()
    text = page(tmp_path, files, files)
    assert f"<h3>{CELL.axes} " in text and text.count("data:image/svg+xml;base64,") == 2
    assert f'<th scope="row">{CELL.tuning}, guest</th><td class="n">2</td>' in text
    assert '<th class="n">host: other task</th>' in text and "What a tuning took away" not in text
    for sentence in said[:2]:
        assert text.count(f"<li>{sentence}</li>") == 2


def test_the_page_says_what_a_tuning_took_away(tmp_path: Path) -> None:
    """By cells that were traced with both: one more of another workload is in the table only."""
    full = next(cell for cell in MATRIX.cells if cell.place == "guest" and cell.tuning == "full")
    tunings = {each: replace(full, tuning=each) for each in ("none", "full")}
    other = replace(tunings["none"], workload="bitcount")
    late = {"none": PAIR, "full": late_once("host_interrupts", 300 * US)}
    tree = ResultsTree(tmp_path / "results")
    for number, (name, pair) in enumerate(late.items()):
        texts = {"host": "".join(pair.host.text()), "guest": "".join(pair.guest.text())}
        files, _ = traced(tmp_path / str(number), texts, None).files()
        for cell in (tunings[name], other) if name == "none" else (tunings[name],):
            tree.keep_trace("smoke", cell, files)
    (table,) = late_causes([*tunings.values(), other], tree.traces("smoke")).tables
    ((board, (none, with_full)),) = table.table.boards
    assert (board, none.head, with_full.head) == (full.board, "none, guest", "full, guest")
    assert (none.values[0], with_full.values[0]) == ("2", "1")
    column = table.table.heads.index("host: other task")
    assert float(none.values[column]) > 690 and with_full.values[column] == EN_DASH
    (said,) = table.words
    assert said.startswith(f"{full.board}, in the guest, full against none: gone: the thread rogue ran on the host on ")
    assert ". New: the host handled the interrupt eth0 on the core of the vCPU (" in said


def test_a_real_trace_of_a_host_is_a_row(tmp_path: Path) -> None:
    cell = replace(next(cell for cell in MATRIX.cells if cell.place == "host"), clock="real")
    text = (collection.ROOT / "tests" / "data" / "ftrace" / "host_x86.txt").read_text()
    files, said = traced(tmp_path, {"host": text}, None, cell).files()
    tree = ResultsTree(tmp_path / "results")
    tree.keep_trace("smoke", cell, files)
    (table,) = late_causes([cell], tree.traces("smoke")).tables
    ((_, (row,)),) = table.table.boards
    stored = json.loads(files["trace.json"])["explanation"]
    assert row.head == f"{cell.tuning}, host"
    assert row.values[:2] == ("1", f"{stored['latency_us']:,.1f}")
    assert {"host: preemption off", "host: interrupts off"} <= set(table.table.heads)
    # what rounds to nothing has no column
    assert sum(float(each) for each in row.values[2:]) == pytest.approx(stored["latency_us"], abs=1)
    assert "did not preempt" in " ".join(said) and table.words == ()


def test_a_cell_that_was_not_traced_is_named_with_its_reason(tmp_path: Path) -> None:
    waiting = {cell: "" for cell in MATRIX.cells[:3] if cell != CELL}
    reason = "This kernel has no ftrace (tracefs); take a kernel with <CONFIG_FTRACE>."
    text = render_page(MATRIX, [], untraced={CELL: reason, **waiting}).text
    assert f"{CELL.axes} was not traced: {reason.replace('<', '&lt;').replace('>', '&gt;')}</p>" in text
    assert f"{len(waiting)} more of the cells that the matrix asks to be traced have no trace." in text
    assert "late-causes" not in render_page(MATRIX, [], untraced=waiting).text


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
