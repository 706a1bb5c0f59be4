"""Parse the output of workloads: seconds per iteration, and whether the answer is right.

A program that is run again and again (``repeat``) prints several runs, and the last of them may have been stopped
when the measurement ended.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from rtvirt_runner.catalogue.workloads import Program
from rtvirt_runner.parsers import ParseError, ecu, strict_json, sysbench, whole

__all__ = ["ParseError", "WorkloadRun", "parse", "seconds_per_iteration"]

_MOST_S = 1e12  # seconds that a run or an iteration may take
_OWN_KEYS = ("iterations", "seconds", "seconds_per_iteration", "digest", "correct")


@dataclass(frozen=True)
class WorkloadRun:
    """All runs of a workload during one cell, merged."""

    runs: int = 0  # 0: its output is not parsed
    iterations: int = 0
    seconds: float | None = None
    seconds_per_iteration: float | None = None
    digest: str = ""  # of the answer; empty when it prints none
    wrong: str = ""  # one sentence; empty when the answer is right
    numbers: Mapping[str, Any] = field(
        default_factory=dict
    )  # other values that it printed; in JSON those of the last run


@dataclass(frozen=True)
class _Run:
    iterations: int
    seconds: float
    seconds_per_iteration: float
    digest: str
    correct: bool
    numbers: Mapping[str, Any]


def parse(text: str, program: Program) -> WorkloadRun:
    """Parse a workload's standard output in the format that ``program`` (of a cell) names.

    Raises ParseError when there is no result, or one that is truncated, contradicts itself or has no iteration.
    """
    readers: Mapping[str, Callable[[], WorkloadRun]] = {
        "json": lambda: _together(_json_runs(text, program.repeat), program),
        "pattern": lambda: _together(_pattern_runs(text, program.pattern), program),
        "sysbench": lambda: _sysbench(text, program.repeat),
        "text": WorkloadRun,
    }
    return readers[program.prints]()


def seconds_per_iteration(runs: Sequence[WorkloadRun]) -> float | None:
    """Seconds per iteration over several cells, weighted by iterations; None when no cell tells."""
    told = [(run.seconds_per_iteration, run.iterations) for run in runs if run.seconds_per_iteration is not None]
    return _mean(told) if told else None


def _json_runs(text: str, may_be_stopped: bool) -> list[_Run]:
    lines = [line.strip() for line in text.splitlines() if line.lstrip().startswith("{")]
    if not lines:
        raise ParseError(
            f"The workload's output ({len(text)} characters) has no line with a JSON object; did it print its result?"
        )
    *whole, last = lines
    runs = [_json_run(line) for line in whole]
    try:
        runs.append(_json_run(last))
    except ParseError:
        if not (may_be_stopped and runs):
            raise
    return runs


def _json_run(line: str) -> _Run:
    try:
        said = strict_json.loads(line)
    except ValueError as error:
        raise ParseError(f"The workload's JSON '{line[:60]}' is cut off or garbled: {error}.") from error
    run = _run(said, {key: value for key, value in said.items() if key not in _OWN_KEYS})
    if said.get("workload") == "ecu":
        ecu.parse(said)
    return run


def _pattern_runs(text: str, pattern: str) -> list[_Run]:
    found = [match.groupdict() for match in re.finditer(pattern, text, re.MULTILINE)]
    if not found:
        raise ParseError(
            f"The workload's output ({len(text)} characters) has nothing that fits its pattern '{pattern}'; "
            "did it print its result?"
        )
    return [_run({key: value for key, value in groups.items() if value is not None}, groups) for groups in found]


def _run(said: Mapping[str, Any], numbers: Mapping[str, Any]) -> _Run:
    """One run; without a number of iterations it counts as one iteration."""
    try:
        iterations = _iterations(said.get("iterations", 1))
        if iterations < 1:
            raise ParseError("The workload ended no iteration; did it hang in its first?")
        per_iteration = _positive(said["seconds_per_iteration"])
        seconds = _positive(said.get("seconds", per_iteration * iterations))
    except ParseError:
        raise
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise ParseError(f"The workload's result lacks or garbles a value: {error!r}.") from error
    digest, correct = str(said.get("digest", "")), said.get("correct", True) is True
    return _Run(iterations, seconds, per_iteration, digest, correct, numbers)


def _positive(value: Any) -> float:
    number = float(value)
    if isinstance(value, bool) or not 0 < number <= _MOST_S:
        raise ValueError(f"{str(value)[:60]!r} is no time above 0 and up to {_MOST_S:g} s")
    return number


def _iterations(value: Any) -> int:
    """A whole number, in a pattern's group as text."""
    return whole(int(value) if isinstance(value, str) and len(value) <= 20 else value)


def _together(runs: Sequence[_Run], program: Program) -> WorkloadRun:
    return WorkloadRun(
        runs=len(runs),
        iterations=sum(run.iterations for run in runs),
        seconds=math.fsum(run.seconds for run in runs),
        seconds_per_iteration=_mean([(run.seconds_per_iteration, run.iterations) for run in runs]),
        digest=runs[-1].digest,
        wrong=_wrong(runs, program.digest),
        numbers=runs[-1].numbers,
    )


def _wrong(runs: Sequence[_Run], expected: str) -> str:
    digests = list(dict.fromkeys(run.digest for run in runs))
    if not all(run.correct for run in runs):
        return "The workload says that its answer is wrong."
    if len(digests) > 1:
        return (
            f"The workload's runs gave different answers: digests {' and '.join(each or 'none' for each in digests)}."
        )
    if expected and digests != [expected]:
        return f"The workload's answer is wrong: its digest is {digests[0] or 'missing'}, expected {expected}."
    return ""


def _mean(told: Sequence[tuple[float, int]]) -> float:
    return math.fsum(each * iterations for each, iterations in told) / sum(iterations for _, iterations in told)


def _sysbench(text: str, may_be_stopped: bool) -> WorkloadRun:
    """An event is an iteration."""
    runs = sysbench.parse(text, may_be_stopped)
    whole = sysbench.merge(runs)
    return WorkloadRun(
        runs=len(runs),
        iterations=whole.total_events,
        seconds=whole.total_time_s,
        seconds_per_iteration=whole.total_time_s / whole.total_events,
        numbers=asdict(whole),
    )
