"""Nothing that contradicts itself is a measurement, and nothing that is read ends in anything but its sentence."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fakes import DATA, catalogue, cyclictest_json, virtual_lab
from hypothesis import example, given, settings
from hypothesis import strategies as st

from rtvirt_runner.catalogue.checked_yaml import InputError
from rtvirt_runner.catalogue.workloads import Program
from rtvirt_runner.matrix.acceptance import Output, read_output
from rtvirt_runner.matrix.cell import Cell
from rtvirt_runner.matrix.load import load_matrix
from rtvirt_runner.parsers import ParseError, cyclictest, ecu, strict_json, workload

MATRIX = load_matrix(DATA / "matrix" / "report.yml", virtual_lab(), catalogue())
CELL = next(cell for cell in MATRIX.cells if not cell.program)
DAMAGED, CAPTURED = DATA / "damaged", DATA / "cyclictest"
TOLD = {  # the corpus: what was done to a run of 2,000 wake-ups with a histogram of 400 us, and what is said
    "average.json": "average of 25.79 us, expected that of its histogram, 25.77 us",
    "average_rounded_up.txt": "average of 26 us, expected that of its histogram, 25.77 us",
    "beyond_64_bits.json": "is garbled: number 100000000000000000000000 is beyond 64 bits",
    "beyond_its_type.json": "'max' is 9223372036854775808, expected a whole number from 0 to",
    "beyond_its_type.txt": "9223372036854775808 is beyond 9223372036854775807",
    "brackets.json": "nested more than 64 levels deep",
    "bucket_beyond_the_end.json": "a bucket of 400 us, expected none: its histogram ends at 400 us",
    "bucket_twice.txt": "the bucket of 399 us twice",
    "bucket_with_sign.json": "a bucket '+30', expected whole microseconds",
    "ended_early.json": "cyclictest took 1,458 of 2,000 samples: it was ended early; measure the cell again.",
    "five_thousand_digits.json": "is beyond 64 bits",
    "fraction_of_a_sample.json": "'cycles' is 2000.5, expected a whole number",
    "half_a_surrogate_pair.json": "half a surrogate pair",
    "infinite.json": "number 1e999 is beyond a double",
    "key_twice.json": "key 'max' is given twice",
    "maximum.json": "maximum of 226 us, expected that of its histogram, 225 us",
    "maximum.txt": "maximum of 999 us, expected that of its histogram, 225 us",
    "minimum.json": "minimum of 16 us, expected that of its histogram, which begins at 17 us",
    "minimum.txt": "minimum of 18 us, expected that of its histogram, which begins at 17 us",
    "nan.json": "NaN is no number",
    "negative.json": "'min' is -17, expected a whole number from 0",
    "nested.json": "nested more than 64 levels deep",
    "no_thread_where_some_are_said.json": "has 1 threads, expected as many as its 'num_threads' says, 2",
    "other_digits.txt": "no line '# Max Latencies:'",
    "overflow_without_maximum.json": "maximum of 225 us, expected 400 us or more: 1 samples lie beyond",
    "text_for_a_number.json": "'max' is '225', expected a whole number",
    "thread_too_many.json": "measured with 2 threads, expected one",
    "thread_without_number.json": "calls a thread 'first', expected its number",
    "true_for_a_number.json": "'cycles' is True, expected a whole number",
    "without_histogram.txt": "has no histogram, expected one (-h)",
}


def judge(text: str, name: str, loops: int, histogram_us: int) -> Output:
    return read_output(replace(CELL, loops=loops, histogram_us=histogram_us), {name: text}.get)


@pytest.mark.parametrize("name", sorted(path.name for path in DAMAGED.iterdir()))
def test_what_contradicts_itself_is_refused_with_its_sentence(name: str) -> None:
    text = (DAMAGED / name).read_text(encoding="utf-8")
    with pytest.raises(ParseError, match=re.escape(TOLD[name])):
        judge(text, f"cyclictest{Path(name).suffix}", 2000, 400)


@pytest.mark.parametrize("form", ["json", "txt"])
@pytest.mark.parametrize(
    ("name", "loops", "limit_us"), [("one_thread", 2000, 400), ("overflow", 2000, 30), ("all_overflow", 500, 5)]
)
def test_what_cyclictest_printed_is_accepted(name: str, loops: int, limit_us: int, form: str) -> None:
    text = (CAPTURED / f"{name}.{form}").read_text(encoding="utf-8")
    assert judge(text, f"cyclictest.{form}", loops, limit_us).latencies.threads[0].samples == loops
    with pytest.raises(ParseError, match="it measured another cell"):
        judge(text, f"cyclictest.{form}", loops - 1, limit_us)


def test_an_older_cyclictest_without_json_is_accepted_with_its_cut_average() -> None:
    text = (CAPTURED / "overflow.txt").read_text(encoding="utf-8")
    assert judge(text, "cyclictest.txt", 2000, 30).latencies.threads[0].avg_us == 57  # 57.53


def as_text(counts: dict[int, int], overflow_us: list[int], limit_us: int) -> str:
    """What cyclictest 1.0 prints for samples like these."""
    all_us = [us for us, count in counts.items() for _ in range(count)] + overflow_us
    lines = ["# Histogram", *(f"{us:06} {counts.get(us, 0):06}" for us in range(limit_us))]
    lines += [f"# Total: {sum(counts.values()):09}", f"# Min Latencies: {min(all_us):05}"]
    lines += [f"# Avg Latencies: {sum(all_us) // len(all_us):05}", f"# Max Latencies: {max(all_us):05}"]
    return "\n".join([*lines, f"# Histogram Overflows: {len(overflow_us):05}", ""])


LIMIT_US = 40
SAMPLES = st.lists(st.integers(0, 90), min_size=1, max_size=60)


def split(samples: list[int]) -> tuple[dict[int, int], list[int]]:
    counts: dict[int, int] = {}
    for us in samples:
        if us < LIMIT_US:
            counts[us] = counts.get(us, 0) + 1
    return counts, [us for us in samples if us >= LIMIT_US]


@given(SAMPLES)
def test_any_samples_are_accepted_in_either_form(samples: list[int]) -> None:
    counts, beyond = split(samples)
    forms = {"json": cyclictest_json(counts, tuple(beyond)), "txt": as_text(counts, beyond, LIMIT_US)}
    for form, text in forms.items():
        (thread,) = judge(text, f"cyclictest.{form}", len(samples), LIMIT_US).latencies.threads
        assert (thread.min_us, thread.max_us) == (min(samples), max(samples))
        assert (thread.histogram, thread.overflows) == (counts, len(beyond))


@given(SAMPLES, st.sampled_from(["cycles", "min", "max", "avg", "bucket"]), st.integers(-100, 100))
def test_one_number_that_is_changed_is_found(samples: list[int], which: str, change: int) -> None:
    counts, beyond = split(samples)
    document = json.loads(cyclictest_json(counts, tuple(beyond)))
    thread = document["thread"]["0"]
    if not change or (which in ("min", "max", "avg") and beyond) or (which == "bucket" and not counts):
        return  # what lies beyond the histogram is known by number only
    if which == "bucket":
        us = next(iter(thread["histogram"]))
        thread["histogram"][us] += change
    else:
        thread[which] += change
    with pytest.raises(ParseError):
        judge(json.dumps(document), "cyclictest.json", len(samples), LIMIT_US)


def assert_consistent(output: Output, loops: int, limit_us: int) -> None:
    """Told apart from how it is checked: from the extremes that the samples can have."""
    (thread,) = output.latencies.threads
    counted = [us for us, count in thread.histogram.items() for _ in range(count)]
    assert len(counted) + thread.overflows == loops
    assert all(0 <= us < limit_us for us in counted)
    rest = thread.overflows
    assert thread.min_us == min(counted, default=thread.min_us)
    assert thread.max_us == max(counted) if not rest else thread.max_us >= limit_us
    low, high = sum(counted) + rest * (limit_us if rest else 0), sum(counted) + rest * thread.max_us
    assert low / loops - 1 <= thread.avg_us <= high / loops + 1


TEXTS = {path: path.read_text(encoding="utf-8") for path in sorted(CAPTURED.glob("o*_*.*"))}


@settings(max_examples=300)
@given(st.data())
def test_captured_output_with_a_part_replaced_is_consistent_or_refused(data: st.DataObject) -> None:
    path = data.draw(st.sampled_from(sorted(TEXTS)))
    text = TEXTS[path]
    begin = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(begin, min(len(text), begin + 40)))
    piece = data.draw(st.text(st.sampled_from('0123456789.-+eE{}[]":, \n#TNaI\u0660\x1b'), max_size=8))
    try:
        output = judge(text[:begin] + piece + text[end:], f"cyclictest{path.suffix}", 2000, 400)
    except ParseError as error:
        assert "\n" not in str(error).strip()
        return
    assert_consistent(output, 2000, 400)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
THREAD = st.fixed_dictionaries(
    {}, optional=dict.fromkeys(["histogram", "cycles", "min", "max", "avg", "cpu", "overflows"], JSON)
)


@given(st.dictionaries(st.sampled_from(["thread", "return_code", "num_threads", "cmdline:", "x"]), JSON) | JSON)
@example({"thread": {"0": {"histogram": {"1": 1}, "cycles": 1, "min": 1, "max": 1, "avg": float("nan")}}})
@example({"thread": {"0": []}})
def test_json_of_any_shape_ends_in_a_sentence(document: Any) -> None:
    with pytest.raises(ParseError):
        judge(json.dumps(document), "cyclictest.json", 2000, 400)


@given(st.dictionaries(st.sampled_from(["0", "1", "x", "-1"]), THREAD, max_size=2))
def test_threads_of_any_shape_end_in_a_sentence(threads: Any) -> None:
    with pytest.raises(ParseError):
        judge(json.dumps({"thread": threads}), "cyclictest.json", 2000, 400)


def program(prints: str, pattern: str = "", repeat: bool = False) -> Program:
    return Program("x", "", "", "0", repeat, "memory", prints, pattern, "")


SAID = st.dictionaries(
    st.sampled_from(["iterations", "seconds", "seconds_per_iteration", "digest", "correct", "workload", "events"]),
    JSON | st.sampled_from([1, 0.5, "ecu", True, 10**400, 1e308]),
)
SYSBENCH = {path: path.read_text(encoding="utf-8") for path in sorted((DATA / "sysbench").iterdir())}


@given(SAID, st.booleans())
@example({"iterations": 10**18, "seconds_per_iteration": 1e300}, False)
@example({"seconds_per_iteration": 1, "workload": "ecu", "events": {}}, True)
def test_what_a_workload_says_is_a_result_or_a_sentence(said: Any, repeat: bool) -> None:
    try:
        run = workload.parse(f"{json.dumps(said)}\n{json.dumps(said)}", program("json", repeat=repeat))
    except ParseError:
        return
    assert run.iterations >= 1 and 0 < (run.seconds or 0) <= 1e30


@settings(max_examples=200)
@given(st.data())
def test_sysbench_with_a_part_replaced_is_a_result_or_a_sentence(data: st.DataObject) -> None:
    text = SYSBENCH[data.draw(st.sampled_from(sorted(SYSBENCH)))]
    begin = data.draw(st.integers(0, len(text)))
    piece = data.draw(st.text(st.sampled_from("0123456789.- \nsm\u0660"), max_size=6))
    end = data.draw(st.integers(begin, min(len(text), begin + 12)))
    try:
        run = workload.parse(text[:begin] + piece + text[end:], program("sysbench", repeat=data.draw(st.booleans())))
    except ParseError:
        return
    assert run.iterations >= 1 and (run.seconds or 0) > 0


@given(st.text(max_size=60))
def test_a_pattern_finds_a_result_or_a_sentence(text: str) -> None:
    pattern = r"(?P<iterations>\S+) in (?P<seconds_per_iteration>\S+)"
    try:
        assert workload.parse(f"{text} in {text}", program("pattern", pattern)).iterations >= 1
    except ParseError:
        return


ECU = json.loads((DATA / "ecu" / "cruise.json").read_text(encoding="utf-8"))


@given(st.sampled_from(sorted(ECU)), JSON)
@example("events", {"tooth": {}})
@example("rpm", {"mean": 1e300})
def test_the_engine_controller_with_a_value_replaced_is_a_result_or_a_sentence(key: str, value: Any) -> None:
    try:
        run = ecu.parse({**ECU, key: value})
    except ParseError:
        return
    assert all(kind.expected >= 0 and kind.max_deg >= 0 for kind in run.events.values())


@given(st.text(max_size=200))
def test_strict_json_accepts_what_can_be_written_again(text: str) -> None:
    try:
        value = strict_json.loads(text)
    except ValueError:
        return
    assert strict_json.loads(json.dumps(value, allow_nan=False)) == value


@given(st.sampled_from(sorted(CELL.as_dict())), JSON)
def test_a_cell_with_a_value_of_another_type_is_refused(key: str, value: Any) -> None:
    values = {**CELL.as_dict(), key: value}
    if key == "id" or strict_equal(value, CELL.as_dict()[key]):
        return
    try:
        found = Cell.from_dict({name: each for name, each in values.items() if name != "id"})
    except InputError:
        return
    assert type(found.as_dict()[key]) is type(CELL.as_dict()[key])


def strict_equal(one: Any, other: Any) -> bool:
    return json.dumps(one) == json.dumps(other)


def test_every_file_of_the_corpus_has_its_sentence() -> None:
    assert sorted(TOLD) == sorted(path.name for path in DAMAGED.iterdir())


def test_a_summary_that_contradicts_itself_is_refused() -> None:
    with pytest.raises(ParseError, match="average of 24 us"):
        cyclictest.parse_text("T: 0 ( 1) P:95 I:1000 C: 500 Min: 25 Act: 28 Avg: 24 Max: 139\n")


# ------------------------------------------------------------------------------------------------- late wake-ups listed


def captured_spikes() -> str:
    return (Path(__file__).parents[1] / "data" / "cyclictest" / "spikes.txt").read_text(encoding="utf-8")


def listed(text: str, late_us: int) -> Output:
    (thread,) = cyclictest.parse_text(text, 200).threads
    cell = replace(CELL, loops=thread.samples, histogram_us=200, late_us=late_us)
    return read_output(cell, {"cyclictest.txt": text}.get)


def test_late_wake_ups_are_listed_where_the_cell_asks_for_it() -> None:
    late = listed(captured_spikes(), 150).late
    assert late and late.total == len(late.wakeups) > 5
    assert listed(captured_spikes(), 0).late is None


def test_a_cyclictest_that_cannot_list_them_is_whole_without() -> None:
    without = "".join(
        line for line in captured_spikes().splitlines(keepends=True) if "Spike:" not in line and "spikes =" not in line
    )
    assert listed(without, 150).late is None


def test_a_list_of_another_run_is_not_whole() -> None:
    with pytest.raises(ParseError, match="are they of one run"):
        listed(captured_spikes(), 100)


def test_a_cell_without_a_list_keeps_its_id_and_an_older_record_is_read() -> None:
    older = {name: value for name, value in CELL.as_dict().items() if name != "late_us"}
    assert "late_us" not in CELL.as_dict() and Cell.from_dict(older) == CELL
    asked = replace(CELL, late_us=150)
    assert asked.id != CELL.id and Cell.from_dict(asked.as_dict()) == asked
