"""What cyclictest prints; the files in tests/data/cyclictest are captured from cyclictest 2.40 (rt-tests 2.4)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from rtvirt_runner.parsers import ParseError
from rtvirt_runner.parsers.cyclictest import parse_json, parse_text

DATA = Path(__file__).parents[1] / "data" / "cyclictest"
RUNS = ["one_thread", "two_threads", "overflow", "all_overflow"]


def captured(name: str) -> str:
    return (DATA / name).read_text(encoding="utf-8")


def test_json_gives_the_thread_with_its_histogram() -> None:
    (thread,) = parse_json(captured("one_thread.json")).threads
    assert thread.samples == 2000 == sum(thread.histogram.values())
    assert (thread.min_us, thread.max_us, thread.overflows) == (17, 225, 0)
    assert min(thread.histogram) == 17
    assert max(thread.histogram) == 225
    assert (thread.interval_us, thread.cpu) == (1000, 1)


@pytest.mark.parametrize("run", RUNS)
def test_text_and_json_of_the_same_run_agree(run: str) -> None:
    in_json, in_text = parse_json(captured(f"{run}.json")).threads, parse_text(captured(f"{run}.txt")).threads
    assert len(in_json) == len(in_text) == (2 if run == "two_threads" else 1)
    for one, other in zip(in_json, in_text, strict=True):
        assert one.histogram == other.histogram
        assert (one.samples, one.overflows) == (other.samples, other.overflows)
        assert (one.min_us, int(one.avg_us), one.max_us) == (other.min_us, int(other.avg_us), other.max_us)


def test_every_thread_is_kept_with_its_own_numbers() -> None:
    first, second = parse_json(captured("two_threads.json")).threads
    assert (first.cpu, first.max_us, first.overflows) == (0, 278, 9)
    assert (second.cpu, second.max_us, second.overflows) == (1, 310, 11)


def test_overflows_are_told_although_the_json_does_not_count_them() -> None:
    (thread,) = parse_json(captured("overflow.json")).threads
    assert (thread.samples, thread.overflows, sum(thread.histogram.values())) == (2000, 1786, 214)
    assert thread.max_us == 16392  # far beyond the histogram's 30 us


def test_a_run_that_overflowed_altogether_has_an_empty_histogram() -> None:
    (thread,) = parse_json(captured("all_overflow.json")).threads
    assert thread.histogram == {}
    assert thread.overflows == thread.samples == 500


def test_text_without_a_histogram_keeps_the_summary_of_every_thread() -> None:
    first, second = parse_text(captured("summary_only.txt")).threads
    assert (first.samples, first.min_us, first.avg_us, first.max_us, first.interval_us) == (500, 12, 24, 139, 1000)
    assert (second.samples, second.max_us, second.interval_us) == (343, 200, 1500)


@pytest.mark.parametrize("run", RUNS)
def test_json_cut_off_anywhere_is_refused(run: str) -> None:
    text = captured(f"{run}.json").rstrip()
    for end in range(0, len(text), 61):
        with pytest.raises(ParseError, match="empty or cut off"):
            parse_json(text[:end])


@pytest.mark.parametrize("run", RUNS)
def test_text_cut_off_before_its_last_number_is_refused(run: str) -> None:
    text = captured(f"{run}.txt")
    last = text.index("# Histogram Overflow at")
    for end in (*range(0, last, 211), last - 1):
        with pytest.raises(ParseError, match=r"cut off|no histogram|has no line"):
            parse_text(text[:end])


def changed(**values: Any) -> str:
    document = json.loads(captured("one_thread.json"))
    document["thread"]["0"].update(values.pop("thread", {}))
    return json.dumps({**document, **values})


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[]", "no object 'thread'"),
        ('{"thread": {}}', "no object 'thread' with at least one thread"),
        (changed(return_code=1), "failed with return code 1"),
        (changed(resolution_in_ns=1), "nanoseconds"),
        (changed(thread={"cycles": 1999}), "2000 samples in its histogram and -1 beyond it, expected 1999"),
        (changed(thread={"cycles": 0, "histogram": {}}), "took no sample"),
        (changed(thread={"min": "fast"}), "Thread 0 .* lacks or garbles a value"),
        (changed(thread={"histogram": [1]}), "Thread 0 .* lacks or garbles a value"),
    ],
)
def test_json_that_contradicts_itself_is_refused(text: str, says: str) -> None:
    with pytest.raises(ParseError, match=says):
        parse_json(text)


def test_text_that_lost_a_line_is_refused() -> None:
    lines = captured("one_thread.txt").splitlines(keepends=True)
    lost = [line for line in lines if not line.startswith("000025")]
    with pytest.raises(ParseError, match="expected 2000 together"):
        parse_text("".join(lost))


def test_text_with_a_column_too_many_is_refused() -> None:
    with pytest.raises(ParseError, match="has 2 counts, expected 1"):
        parse_text(captured("one_thread.txt").replace("000025 ", "000025 000001 "))


def test_text_whose_totals_disagree_on_the_threads_is_refused() -> None:
    text = captured("two_threads.txt").replace("# Histogram Overflows: 00009 00011", "# Histogram Overflows: 00009")
    with pytest.raises(ParseError, match="disagree on the number of threads"):
        parse_text(text)


TEN_AND_NINETY = """# Histogram
000000 000000
000001 000010
000002 000090
# Total: 000000100
# Min Latencies: 00001
# Avg Latencies: 00001
# Max Latencies: 00002
# Histogram Overflows: 00000
# Histogram Overflow at cycle number:
# Thread 0:
"""


def test_an_average_that_was_cut_is_worked_out_from_the_histogram() -> None:
    (thread,) = parse_text(TEN_AND_NINETY).threads
    assert thread.avg_us == pytest.approx(1.9)


@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("has_total", [True, False])
def test_text_of_other_versions_and_systems_is_read(run: str, end: str, has_total: bool) -> None:
    lines = captured(f"{run}.txt").splitlines()
    text = end.join([line for line in lines if has_total or not line.startswith("# Total:")]) + end
    assert parse_text(text) == parse_text(captured(f"{run}.txt"))


def of_all(text: str) -> str:
    """What -H adds for two threads."""
    lines = []
    for line in text.splitlines():
        head, _, tail = line.partition(":") if line.startswith("#") else ("", "", line)
        numbers = [int(number) for number in tail.split()]
        if not line.startswith("#") and len(numbers) == 3 and line[0].isdigit():
            line += f"\t{sum(numbers[1:]):06}"
        elif head in ("# Total", "# Histogram Overflows"):
            line += f" {sum(numbers):09}"
        elif head == "# Max Latencies":
            line += f" {max(numbers):05}"
        lines.append(line)
    return "\n".join(lines) + "\n"


def test_the_column_of_all_threads_is_read_and_must_be_their_sum() -> None:
    text = of_all(captured("two_threads.txt").split("# Histogram Overflow at")[0])
    assert parse_text(text) == parse_text(captured("two_threads.txt"))
    first = next(line for line in text.splitlines() if line[:1].isdigit() and not line.endswith("000000"))
    with pytest.raises(ParseError, match="for all threads, expected"):
        parse_text(text.replace(first, first[:-6] + "000999"))


@pytest.mark.parametrize(
    "thread",
    [
        {"max": -12},
        {"avg": 1.8e15},
        {"min": 226},
        {"max": 16},
        {"avg": float("nan")},
        {"avg": float("inf")},
        {"avg": -1},
        {"max": 224},
        {"max": 18446744073709550661},
        {"cycles": -2000},
        {"cycles": True},
        {"cycles": 2000.0},
        {"min": None},
        {"max": "225"},
        {"max": [225]},
        {"histogram": {"17": -1}},
        {"histogram": {"17": 1e300}},
        {"histogram": {"-17": 2000}},
        {"histogram": {"1e1": 2000}},
    ],
)
def test_an_impossible_number_is_refused_in_one_sentence(thread: dict[str, Any]) -> None:
    with pytest.raises(ParseError) as refused:
        parse_json(changed(thread=thread))
    assert str(refused.value).count("\n") == 0
    assert str(refused.value).endswith(".")
