"""Parse the output of cyclictest (rt-tests): JSON (``--json``, since 2.0) and text (``-q`` with or without ``-h``).

Both formats keep a histogram with buckets of one microsecond, plus the minimum, average and maximum of *all* samples,
also of those beyond the last bucket. The number of samples beyond it is the overflow; statistics must include it.

Each of these numbers is compared with the histogram. What may not be known there: a sample in the overflow lies
anywhere between the histogram's end and the maximum; text has the average without its decimals (before 2.0, averages
were cut so everywhere), so that it is worked out from a histogram without overflow; JSON before ``overflows`` was a key
has the overflow only as the difference of cycles and counts, and text of 2.8 and later has no line of totals. ``-H`` of
several threads adds a column for all of them to the buckets, the totals, the maxima and the overflows.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from rtvirt_runner.parsers import MOST, ParseError, strict_json

__all__ = ["CyclictestRun", "CyclictestThread", "ParseError", "parse_json", "parse_text"]

_SUMMARY = re.compile(
    r"^T: *\d+ \( *\d+\) P: *\d+ I: *(?P<interval>\d+) C: *(?P<cycles>\d+) "
    r"Min: *(?P<min>\d+) Act: *-?\d+ Avg: *(?P<avg>\d+) Max: *(?P<max>\d+)",
    re.MULTILINE | re.ASCII,
)
_BUCKET = re.compile(r"^(\d+)((?:[ \t]+\d+)+)[ \t]*$", re.MULTILINE | re.ASCII)
_INTERVAL_OPTION = re.compile(r"\s(?:-i\s*|--interval[= ])(\d{1,9})\b", re.ASCII)
_NUMBER = re.compile(r"0|[1-9]\d*", re.ASCII)  # as JSON's keys have it
_FIRST_MINIMUM_US = 1_000_000  # cyclictest's minimum before its first sample, and so the largest one


@dataclass(frozen=True)
class CyclictestThread:
    """One measuring thread. Latencies in us; ``avg_us`` is cut to an integer in text with an overflow."""

    samples: int
    min_us: int
    avg_us: float
    max_us: int
    histogram: dict[int, int]  # latency in us -> number of samples; empty buckets are left out
    overflows: int  # samples beyond the last bucket; they count in samples, min, avg and max
    interval_us: int | None = None  # None where the output does not tell
    cpu: int | None = None  # text does not tell


@dataclass(frozen=True)
class CyclictestRun:
    """All threads of one run, in cyclictest's order."""

    threads: tuple[CyclictestThread, ...]


def parse_json(text: str, limit_us: int | None = None) -> CyclictestRun:
    """Read the file that ``cyclictest --json=FILE`` writes. ``limit_us`` is the argument of its ``-h``, where known.

    Raises ParseError when the JSON is empty, truncated, in nanoseconds, of a failed run, or contradicts itself.
    """
    try:
        document = strict_json.loads(text)
    except ValueError as error:
        how = "is empty or cut off" if isinstance(error, json.JSONDecodeError) else "is garbled"
        raise ParseError(f"cyclictest's JSON ({len(text)} characters) {how}: {error}.") from error
    if not isinstance(document, dict) or not isinstance(document.get("thread"), dict) or not document["thread"]:
        raise ParseError("cyclictest's JSON has no object 'thread' with at least one thread; is it cyclictest's?")
    if document.get("return_code", 0) != 0:
        raise ParseError(
            f"cyclictest failed with return code {str(document['return_code'])[:60]}; its samples are incomplete."
        )
    if document.get("resolution_in_ns"):
        raise ParseError("cyclictest measured in nanoseconds (-N), expected microseconds; run it without -N.")
    if document.get("num_threads", len(document["thread"])) != len(document["thread"]):
        raise ParseError(
            f"cyclictest's JSON has {len(document['thread'])} threads, expected as many as its 'num_threads' says, "
            f"{str(document['num_threads'])[:60]}."
        )
    # rt-tests 2.x writes the key with a colon in it
    command = str(document.get("cmdline:", document.get("cmdline", "")))
    interval = _INTERVAL_OPTION.search(command)
    interval_us = int(interval[1]) if interval else None
    for name in document["thread"]:
        if not _NUMBER.fullmatch(name):
            raise ParseError(f"cyclictest's JSON calls a thread '{name[:60]}', expected its number.")
    numbered = sorted(document["thread"].items(), key=lambda item: (len(item[0]), item[0]))
    return CyclictestRun(tuple(_thread_of_json(name, thread, interval_us, limit_us) for name, thread in numbered))


def parse_text(text: str, limit_us: int | None = None) -> CyclictestRun:
    """Read what ``cyclictest -q`` prints, with a histogram (``-h``) or without one.

    With ``limit_us``, the argument of ``-h``, there must be one. Raises ParseError when the text is empty, has neither
    a histogram nor summary lines, is cut off, or contradicts itself.
    """
    text = text.replace("\r\n", "\n")
    if "# Histogram" in text:
        return _run_of_histogram(text, limit_us)
    summaries = [match.groupdict() for match in _SUMMARY.finditer(text)]
    if not summaries:
        raise ParseError(
            f"cyclictest's text ({len(text)} characters) has no histogram and no 'T:' line; did it end before its end?"
        )
    if limit_us is not None:
        raise ParseError("cyclictest's text has no histogram, expected one (-h); did it end before its end?")
    return CyclictestRun(
        tuple(
            _consistent(
                str(number),
                CyclictestThread(
                    samples=_whole(line["cycles"]),
                    min_us=_whole(line["min"]),
                    avg_us=float(_whole(line["avg"])),
                    max_us=_whole(line["max"]),
                    histogram={},
                    overflows=_whole(line["cycles"]),  # without -h every sample is an overflow
                    interval_us=_whole(line["interval"]),
                ),
                None,
                truncated=True,
            )
            for number, line in enumerate(summaries)
        )
    )


def _thread_of_json(name: str, thread: Any, interval_us: int | None, limit_us: int | None) -> CyclictestThread:
    if not isinstance(thread, Mapping) or not isinstance(thread.get("histogram", {}), Mapping):
        raise ParseError(
            f"Thread {name} of cyclictest's JSON lacks or garbles a value: it, or its 'histogram', is no object."
        )
    counts = thread.get("histogram", {})
    if not all(map(_NUMBER.fullmatch, counts)):
        us = next(us for us in counts if not _NUMBER.fullmatch(us))
        raise ParseError(
            f"Thread {name} of cyclictest's JSON lacks or garbles a value: its histogram has a bucket '{us[:60]}', "
            "expected whole microseconds."
        )
    if not {int}.issuperset(map(type, counts.values())) or min(counts.values(), default=0) < 0:
        for us in counts:
            _count(counts, us, name)  # refuses the first that is no count
    histogram = {_whole(us): count for us, count in counts.items()}
    histogram = {us: count for us, count in histogram.items() if count}
    cycles = _count(thread, "cycles", name)
    # not in every version's JSON
    overflows = _count(thread, "overflows", name) if "overflows" in thread else cycles - sum(histogram.values())
    return _consistent(
        name,
        CyclictestThread(
            samples=cycles,
            min_us=_count(thread, "min", name),
            avg_us=_average(thread.get("avg"), name),
            max_us=_count(thread, "max", name),
            histogram=histogram,
            overflows=overflows,
            interval_us=interval_us,
            # -1: on any
            cpu=_count(thread, "cpu", name) if thread.get("cpu", -1) != -1 else None,
        ),
        limit_us,
        truncated=False,
    )


def _count(values: Mapping[str, Any], key: str, name: str) -> int:
    value = values.get(key)
    if type(value) is not int or not 0 <= value <= MOST:
        found = "missing" if value is None else repr(value)[:60]
        raise ParseError(
            f"Thread {name} of cyclictest's JSON lacks or garbles a value: '{key[:60]}' is {found}, expected a whole "
            f"number from 0 to {MOST}."
        )
    return value


def _average(value: Any, name: str) -> float:
    if type(value) not in (int, float) or not 0 <= value <= MOST:
        found = "missing" if value is None else repr(value)[:60]
        raise ParseError(
            f"Thread {name} of cyclictest's JSON lacks or garbles a value: 'avg' is {found}, expected microseconds."
        )
    return float(value)


def _run_of_histogram(text: str, limit_us: int | None) -> CyclictestRun:
    minima, averages = _footer(text, "Min Latencies"), _footer(text, "Avg Latencies")
    threads = len(minima)
    maxima = _without_all(_footer(text, "Max Latencies"), threads, max, "# Max Latencies:")
    overflows = _without_all(_footer(text, "Histogram Overflows"), threads, sum, "# Histogram Overflows:")
    rows = _buckets(text, threads)
    histograms = [{us: counts[number] for us, counts in rows.items() if counts[number]} for number in range(threads)]
    counted = [sum(histogram.values()) for histogram in histograms]
    # The line of totals went with rt-tests 2.8.
    is_told = re.search(r"^# Total:", text, re.MULTILINE) is not None
    totals = _without_all(_footer(text, "Total"), threads, sum, "# Total:") if is_told else counted
    if len({threads, len(averages), len(maxima), len(overflows), len(totals)}) != 1:
        raise ParseError("The closing lines of cyclictest's histogram disagree on the number of threads.")
    summaries = [match.groupdict() for match in _SUMMARY.finditer(text)][-threads:]
    if len(summaries) == threads and not is_told:
        totals = [_whole(line["cycles"]) - beyond for line, beyond in zip(summaries, overflows, strict=True)]
    intervals = [_whole(line["interval"]) for line in summaries] if len(summaries) == threads else [None] * threads
    columns = zip(totals, minima, averages, maxima, histograms, overflows, intervals, strict=True)
    run = [
        _consistent(
            str(number),
            CyclictestThread(total + overflow, low, float(mean), high, histogram, overflow, interval),
            limit_us,
            truncated=True,
        )
        for number, (total, low, mean, high, histogram, overflow, interval) in enumerate(columns)
    ]
    return CyclictestRun(tuple(_with_decimals(thread) for thread in run))


def _buckets(text: str, threads: int) -> dict[int, list[int]]:
    """Latency in us -> the counts of the threads, without the column of all threads (``-H``)."""
    rows: dict[int, list[int]] = {}
    for bucket in _BUCKET.finditer(text):
        us, counts = _whole(bucket[1]), [_whole(count) for count in bucket[2].split()]
        line = bucket[0].strip()[:60]
        counts = _without_all(counts, threads, sum, line)
        if len(counts) != threads:
            raise ParseError(f"Line '{line}' of cyclictest's histogram has {len(counts)} counts, expected {threads}.")
        if us in rows:
            raise ParseError(f"cyclictest's histogram has the bucket of {us} us twice.")
        rows[us] = counts
    return rows


def _without_all(values: list[int], threads: int, of_all: Callable[[list[int]], int], line: str) -> list[int]:
    """The values of the threads, without that of all threads behind them, if there is one."""
    if threads < 2 or len(values) != threads + 1:
        return values
    *each, told = values
    if told != of_all(each):
        raise ParseError(
            f"Line '{line}' of cyclictest's histogram has {told} for all threads, expected {of_all(each)}."
        )
    return each


def _with_decimals(thread: CyclictestThread) -> CyclictestThread:
    if thread.overflows:
        return thread
    return replace(thread, avg_us=sum(us * count for us, count in thread.histogram.items()) / thread.samples)


def _footer(text: str, label: str) -> list[int]:
    # without its line end, a number may be cut off too
    match = re.search(rf"^# {label}:((?: \d+)+)[ \t]*\n", text, re.MULTILINE | re.ASCII)
    if match is None:
        raise ParseError(f"cyclictest's histogram has no line '# {label}:'; it is cut off.")
    return [_whole(number) for number in match[1].split()]


def _whole(digits: str) -> int:
    if len(digits) > 32 or (number := int(digits)) > MOST:
        raise ParseError(f"cyclictest's number {digits[:32]} is beyond {MOST}, which is the most that it can count.")
    return number


def _consistent(name: str, thread: CyclictestThread, limit_us: int | None, truncated: bool) -> CyclictestThread:
    """Refuse numbers that do not agree with the histogram: a result that lost samples looks better than it is.

    ``truncated``: the average has lost its decimals, as in text; in JSON it is rounded to two.
    """
    about, counts = f"Thread {name} of cyclictest", thread.histogram
    counted = sum(counts.values())
    if thread.samples < 1:
        raise ParseError(f"{about} took no sample.")
    if thread.overflows < 0 or counted + thread.overflows != thread.samples:
        raise ParseError(
            f"{about} has {counted} samples in its histogram and {thread.overflows} beyond it, "
            f"expected {thread.samples} together."
        )
    lowest, highest = min(counts, default=thread.min_us), max(counts, default=0)
    if limit_us is None:  # it is beyond what is in the histogram
        limit_us = highest + 1 if counts else thread.min_us
    elif counts and highest >= limit_us:
        raise ParseError(f"{about} has a bucket of {highest} us, expected none: its histogram ends at {limit_us} us.")
    if thread.min_us != min(lowest, _FIRST_MINIMUM_US) or (
        not counts and thread.min_us < min(limit_us, _FIRST_MINIMUM_US)
    ):
        where = f"which begins at {lowest} us" if counts else f"where every sample is {limit_us} us or later"
        raise ParseError(f"{about} has a minimum of {thread.min_us} us, expected that of its histogram, {where}.")
    if not thread.overflows and thread.max_us != highest:
        raise ParseError(f"{about} has a maximum of {thread.max_us} us, expected that of its histogram, {highest} us.")
    if thread.overflows and thread.max_us < max(limit_us, thread.min_us):
        raise ParseError(
            f"{about} has a maximum of {thread.max_us} us, expected {max(limit_us, thread.min_us)} us or more: "
            f"{thread.overflows} samples lie beyond its histogram."
        )
    _check_average(about, thread, limit_us, truncated)
    return thread


def _check_average(about: str, thread: CyclictestThread, limit_us: int, truncated: bool) -> None:
    """The sum of all samples is known but for those in the overflow: one is the maximum, the others lie below it."""
    counted = sum(us * count for us, count in thread.histogram.items())
    least = most = counted
    if thread.overflows:
        others = thread.overflows - 1
        least += thread.max_us + others * max(limit_us, thread.min_us if not thread.histogram else 0)
        most += thread.max_us * thread.overflows
    low, high = least / thread.samples, most / thread.samples
    if truncated:
        fits = least // thread.samples <= thread.avg_us <= most // thread.samples
    else:
        rounding = 0.005 + 1e-9 * high
        fits = low - rounding <= thread.avg_us <= high + rounding
    if not fits:
        expected = f"{low:.2f} us" if least == most else f"{low:.2f} to {high:.2f} us"
        raise ParseError(f"{about} has an average of {thread.avg_us:g} us, expected that of its histogram, {expected}.")
