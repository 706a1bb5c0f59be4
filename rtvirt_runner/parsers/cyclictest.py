"""Parse the output of cyclictest (rt-tests): JSON (``--json``, since 2.0) and text (``-q`` with or without ``-h``).

Both formats keep a histogram with buckets of one microsecond, plus the minimum, average and maximum of *all* samples,
also of those beyond the last bucket. The number of samples beyond it is the overflow; statistics must include it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rtvirt_runner.parsers import ParseError

__all__ = ["CyclictestRun", "CyclictestThread", "ParseError", "parse_json", "parse_text"]

_SUMMARY = re.compile(
    r"^T:\s*\d+ \(\s*\d+\) P:\s*\d+ I:\s*(?P<interval>\d+) C:\s*(?P<cycles>\d+) "
    r"Min:\s*(?P<min>\d+) Act:\s*-?\d+ Avg:\s*(?P<avg>\d+) Max:\s*(?P<max>\d+)",
    re.MULTILINE,
)
_BUCKET = re.compile(r"^(\d+)((?:[ \t]+\d+)+)[ \t]*$", re.MULTILINE)
_INTERVAL_OPTION = re.compile(r"\s(?:-i\s*|--interval[= ])(\d+)")


@dataclass(frozen=True)
class CyclictestThread:
    """One measuring thread. Latencies in us; ``avg_us`` has decimals in JSON, and is cut to an integer in text."""

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


def parse_json(text: str) -> CyclictestRun:
    """Read the file that ``cyclictest --json=FILE`` writes.

    Raises ParseError when the JSON is empty, truncated, in nanoseconds, of a failed run, or contradicts itself.
    """
    try:
        document = json.loads(text)
    except ValueError as error:
        raise ParseError(f"cyclictest's JSON ({len(text)} characters) is empty or cut off: {error}.") from error
    if not isinstance(document, dict) or not isinstance(document.get("thread"), dict) or not document["thread"]:
        raise ParseError("cyclictest's JSON has no object 'thread' with at least one thread; is it cyclictest's?")
    if document.get("return_code", 0) != 0:
        raise ParseError(f"cyclictest failed with return code {document['return_code']}; its samples are incomplete.")
    if document.get("resolution_in_ns"):
        raise ParseError("cyclictest measured in nanoseconds (-N), expected microseconds; run it without -N.")
    # rt-tests 2.x writes the key with a colon in it
    command = str(document.get("cmdline:", document.get("cmdline", "")))
    interval = _INTERVAL_OPTION.search(command)
    interval_us = int(interval[1]) if interval else None
    numbered = sorted(document["thread"].items(), key=lambda item: int(item[0]))
    return CyclictestRun(tuple(_thread_of_json(name, thread, interval_us) for name, thread in numbered))


def parse_text(text: str) -> CyclictestRun:
    """Read what ``cyclictest -q`` prints, with a histogram (``-h``) or without one.

    Raises ParseError when the text is empty, has neither a histogram nor summary lines, or is cut off.
    """
    if "# Histogram" in text:
        return _run_of_histogram(text)
    summaries = [match.groupdict() for match in _SUMMARY.finditer(text)]
    if not summaries:
        raise ParseError(
            f"cyclictest's text ({len(text)} characters) has no histogram and no 'T:' line; did it end before its end?"
        )
    return CyclictestRun(
        tuple(
            CyclictestThread(
                samples=int(line["cycles"]),
                min_us=int(line["min"]),
                avg_us=float(line["avg"]),
                max_us=int(line["max"]),
                histogram={},
                overflows=int(line["cycles"]),  # without -h every sample is an overflow
                interval_us=int(line["interval"]),
            )
            for line in summaries
        )
    )


def _thread_of_json(name: str, thread: Mapping[str, Any], interval_us: int | None) -> CyclictestThread:
    try:
        histogram = {int(us): int(count) for us, count in thread.get("histogram", {}).items() if int(count)}
        cycles = int(thread["cycles"])
        result = CyclictestThread(
            samples=cycles,
            min_us=int(thread["min"]),
            avg_us=float(thread["avg"]),
            max_us=int(thread["max"]),
            histogram=histogram,
            # not in every version's JSON
            overflows=int(thread.get("overflows", cycles - sum(histogram.values()))),
            interval_us=interval_us,
            cpu=int(thread["cpu"]) if "cpu" in thread else None,
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ParseError(f"Thread {name} of cyclictest's JSON lacks or garbles a value: {error!r}.") from error
    return _consistent(name, result)


def _run_of_histogram(text: str) -> CyclictestRun:
    totals = _footer(text, "Total")
    overflows = _footer(text, "Histogram Overflows")
    minima, averages, maxima = (_footer(text, f"{what} Latencies") for what in ("Min", "Avg", "Max"))
    if len({len(totals), len(overflows), len(minima), len(averages), len(maxima)}) != 1:
        raise ParseError("The closing lines of cyclictest's histogram disagree on the number of threads.")
    histograms: list[dict[int, int]] = [{} for _ in totals]
    for bucket in _BUCKET.finditer(text):
        counts = [int(count) for count in bucket[2].split()]
        if len(counts) != len(totals):
            raise ParseError(
                f"Line '{bucket[0].strip()}' of cyclictest's histogram has {len(counts)} counts, "
                f"expected {len(totals)}."
            )
        for histogram, count in zip(histograms, counts, strict=True):
            if count:
                histogram[int(bucket[1])] = count
    summaries = [match.groupdict() for match in _SUMMARY.finditer(text)]
    intervals: list[int | None] = [int(line["interval"]) for line in summaries[-len(totals) :]]
    intervals = intervals or [None] * len(totals)
    columns = zip(totals, minima, averages, maxima, histograms, overflows, intervals, strict=True)
    return CyclictestRun(
        tuple(
            _consistent(
                str(number),
                CyclictestThread(total + overflow, low, float(mean), high, histogram, overflow, interval),
            )
            for number, (total, low, mean, high, histogram, overflow, interval) in enumerate(columns)
        )
    )


def _footer(text: str, label: str) -> list[int]:
    # without its line end, a number may be cut off too
    match = re.search(rf"^# {label}:((?: \d+)+)[ \t]*\n", text, re.MULTILINE)
    if match is None:
        raise ParseError(f"cyclictest's histogram has no line '# {label}:'; it is cut off.")
    return [int(number) for number in match[1].split()]


def _consistent(name: str, thread: CyclictestThread) -> CyclictestThread:
    """Refuse counts that do not add up: a result that lost samples looks better than it is."""
    counted = sum(thread.histogram.values())
    if thread.samples < 1:
        raise ParseError(f"Thread {name} of cyclictest took no sample.")
    if thread.overflows < 0 or counted + thread.overflows != thread.samples:
        raise ParseError(
            f"Thread {name} of cyclictest has {counted} samples in its histogram and {thread.overflows} beyond it, "
            f"expected {thread.samples} together."
        )
    return thread
