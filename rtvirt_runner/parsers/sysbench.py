"""Parse the output of sysbench 1.0 and 0.4 for its tests cpu and fileio: the fields of the paper's Tables III and IV.

sysbench 0.4 writes Kb and Mb for KiB and MiB, and prints no rates; they are computed from counts and times.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass

from rtvirt_runner.parsers import ParseError

__all__ = ["ParseError", "SysbenchRun", "merge", "parse"]

_WHOLE, _DECIMAL = r"(\d{1,18})", r"(\d{1,18}(?:\.\d{1,18})?)"  # no more digits than anything real has
_HEAD = re.compile(r"^sysbench (?P<version>\d+\.\d\S*?)(?: \(using|:? +multi-threaded)", re.MULTILINE | re.ASCII)
_BEGIN, _END = "Running the test with following options", re.compile(r"execution time \(avg/stddev\):\s+\S+/\S+\n")
_TIME = re.compile(rf"^\s+total time:\s+{_DECIMAL}s$", re.MULTILINE | re.ASCII)
_EVENTS = re.compile(rf"^\s+total number of events:\s+{_WHOLE}$", re.MULTILINE | re.ASCII)
_LATENCIES = {  # 0.4 writes the unit
    name: re.compile(rf"^\s+{label}:\s+{_DECIMAL}(ms|s)?$", re.MULTILINE | re.ASCII)
    for name, label in {
        "min_ms": "min",
        "avg_ms": "avg",
        "max_ms": "max",
        "p95_ms": r"(?:approx\.\s+95|95th) percentile",
    }.items()
}
_RATES = {
    name: re.compile(rf"^\s+{label}:\s+{_DECIMAL}$", re.MULTILINE | re.ASCII)
    for name, label in {
        "reads_per_s": "reads/s",
        "writes_per_s": "writes/s",
        "fsyncs_per_s": "fsyncs/s",
        "read_mib_per_s": "read, MiB/s",
        "written_mib_per_s": "written, MiB/s",
    }.items()
}
_OPERATIONS = re.compile(
    rf"^Operations performed:\s+{_WHOLE} reads?, {_WHOLE} writes?, {_WHOLE} Other", re.MULTILINE | re.ASCII | re.I
)
_TRANSFERRED = re.compile(rf"^Read {_DECIMAL}\s*([KMGT]?)b\s+Written {_DECIMAL}\s*([KMGT]?)b", re.MULTILINE | re.ASCII)
_MIB = {"": 2.0**-20, "K": 2.0**-10, "M": 1.0, "G": 2.0**10, "T": 2.0**20}


@dataclass(frozen=True)
class SysbenchRun:
    """One run, or several merged. The fields from ``reads_per_s`` on are of fileio alone."""

    version: str
    total_time_s: float
    total_events: int
    events_per_s: float
    min_ms: float
    avg_ms: float
    max_ms: float
    p95_ms: float  # of several runs the largest
    reads_per_s: float | None = None
    writes_per_s: float | None = None
    fsyncs_per_s: float | None = None
    read_mib_per_s: float | None = None
    written_mib_per_s: float | None = None


def parse(text: str, may_be_stopped: bool = False) -> list[SysbenchRun]:
    """Parse the output of one run or of several in sequence.

    ``may_be_stopped``: the last of several runs may be truncated, and is then left out. Raises ParseError when there is
    no complete run, or a run lacks a field or has no event.
    """
    starts = [head.start() for head in _HEAD.finditer(text)]
    parts = [text[start:end] for start, end in itertools.pairwise([*starts, len(text)])]
    parts = [part for part in parts if _BEGIN in part]  # sysbench prints its header for 'prepare' too
    if not parts:
        raise ParseError(f"The output ({len(text)} characters) has no run of sysbench in it; did it start?")
    if may_be_stopped and len(parts) > 1 and not _END.search(parts[-1]):
        parts.pop()
    return [_run(part) for part in parts]


def merge(runs: Sequence[SysbenchRun]) -> SysbenchRun:
    """Merge runs: times and events summed, latencies weighted by events, rates by time; the largest 95th percentile.

    Raises ValueError when there is none.
    """
    if not runs:
        raise ValueError("There is no run of sysbench to merge, expected one or more.")
    time_s, events = sum(run.total_time_s for run in runs), sum(run.total_events for run in runs)
    return SysbenchRun(
        version=runs[0].version,
        total_time_s=time_s,
        total_events=events,
        events_per_s=events / time_s,
        min_ms=min(run.min_ms for run in runs),
        avg_ms=sum(run.avg_ms * run.total_events for run in runs) / events,
        max_ms=max(run.max_ms for run in runs),
        p95_ms=max(run.p95_ms for run in runs),
        **{name: _mean_rate(runs, name) for name in _RATES},
    )


def _run(text: str) -> SysbenchRun:
    if not _END.search(text):
        raise ParseError(f"A run of sysbench ({len(text)} characters) is cut off; did it end before its end?")
    time_s, events = (
        float(_field(_TIME, "total time", text)[1]),
        int(_field(_EVENTS, "total number of events", text)[1]),
    )
    if not events or not time_s:
        raise ParseError(f"A run of sysbench took {events} events in {time_s} s, expected one or more.")
    version = _field(_HEAD, "version", text)["version"]
    latencies = {name: _milliseconds(_field(each, name, text)) for name, each in _LATENCIES.items()}
    return SysbenchRun(version, time_s, events, events / time_s, **latencies, **_rates(text, time_s))


def _field(expression: re.Pattern[str], what: str, text: str) -> re.Match[str]:
    if (match := expression.search(text)) is None:
        raise ParseError(f"A run of sysbench does not say its '{what}'; is it from sysbench 1.0 or 0.4?")
    return match


def _milliseconds(match: re.Match[str]) -> float:
    return float(match[1]) * (1000 if match[2] == "s" else 1)


def _rates(text: str, time_s: float) -> dict[str, float]:
    if "File operations:" in text:
        return {name: float(_field(each, name, text)[1]) for name, each in _RATES.items()}
    if "Operations performed:" not in text:
        return {}
    operations = _field(_OPERATIONS, "Operations performed", text)
    read, read_unit, written, written_unit = _field(_TRANSFERRED, "Read ... Written", text).groups()
    amounts = [*map(int, operations.groups()), float(read) * _MIB[read_unit], float(written) * _MIB[written_unit]]
    return {name: amount / time_s for name, amount in zip(_RATES, amounts, strict=True)}


def _mean_rate(runs: Sequence[SysbenchRun], name: str) -> float | None:
    rates = [(getattr(run, name), run.total_time_s) for run in runs]
    if any(rate is None for rate, _ in rates):
        return None
    return float(sum(rate * time_s for rate, time_s in rates) / sum(time_s for _, time_s in rates))
