"""The paper's idle experiment as measured here, beside its Table II: a page in Markdown."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rtvirt_runner.analysis.claims import judge_claims
from rtvirt_runner.analysis.estimates import CONFIDENCE
from rtvirt_runner.analysis.measurement import Measurement
from rtvirt_runner.analysis.paper import load_paper
from rtvirt_runner.analysis.paper_tables import IdleRow, idle_rows
from rtvirt_runner.report.blocks import avg_p99_max
from rtvirt_runner.report.format import number, unit
from rtvirt_runner.report.provenance import sources

_TABLE = "Table II"
_VIRTUAL = (
    "**All figures of ours are in virtual time**: these boards are emulated and count time in instructions. They "
    "compare places and splits with each other; they do not predict a chip, and are not to be subtracted from the "
    "paper's."
)


def idle_experiment(measurements: Sequence[Measurement], stored: Mapping[str, Any], made_by: Mapping[str, Any]) -> str:
    """The page: a table per clock, what it took, and the claims about Table II; ``stored``, ``made_by`` as ``sources``.

    Latencies in us. Says that nothing was measured where no cell is one of the experiment's.
    """
    rows = idle_rows(measurements)
    lines = ["# The paper's idle experiment, measured here", ""]
    if not rows:
        lines += ["Nothing was measured yet: no idle cell with PREEMPT_RT and tuning `paper` has a number."]
        return "\n".join([*lines, ""])
    for clock in dict.fromkeys(row.point.cell.clock for row in rows):
        those = [row for row in rows if row.point.cell.clock == clock]
        lines += [*([_VIRTUAL, ""] if clock == "virtual" else []), *_table(those, clock), ""]
    paper = load_paper()
    lines += [
        f"The last column is {_TABLE} of the paper, in real time: the latest of {number(paper.idle_guest_loops)} "
        f"wake-ups in the idle guest of a {' and of a '.join(paper.hardware.values())}. Splits are host cores-guest "
        "cores; the paper's configurations 1 to 3 are 1-1, 1-2 and 3-1.",
        "",
        "## What it took",
        "",
        *_took(rows, stored, made_by),
        "",
        f"## What the paper says of {_TABLE}",
        "",
        f"Supported or contradicted only where whole intervals say so, all of the paper's claims together at "
        f"{CONFIDENCE * 100:g} %; what was measured once decides nothing.",
        "",
        *_claims(measurements),
    ]
    return "\n".join([*lines, ""])


def _table(rows: Sequence[IdleRow], clock: str) -> Iterator[str]:
    real = "max in the paper, µs (real time)"
    yield f"| board | split | place | runs | wake-ups | avg, {unit(clock)} | p99 | max | {real} |"
    yield "|---|---|---|---:|---:|---:|---:|---:|---:|"
    for row in rows:
        point, cell = row.point, row.point.cell
        place = f"guest {cell.guest}" if cell.place == "guest" else "host"
        runs = number(len(point.repetitions))
        values = (runs, number(point.histogram.samples), *avg_p99_max(point), number(row.paper_us))
        yield f"| {' | '.join((cell.board, cell.split, place, *values))} |"


def _took(rows: Sequence[IdleRow], stored: Mapping[str, Any], made_by: Mapping[str, Any]) -> Iterator[str]:
    measured = [each for row in rows for each in row.point.measurements]
    records = [each.record for each in measured]
    minutes = math.fsum(each.status.overhead_s + each.status.measure_s for each in records) / 60
    sealed = sum(each.sealed for each in measured)
    yield (
        f"- {number(len(records))} cells, {number(sealed)} of them measured sealed, in {minutes:,.0f} minutes by the "
        "wall clock of the controlling machine, boots included; what ran at the same time adds up"
    )
    for source in sources(records, stored, made_by):
        yield f"- {source.name}: {'; '.join(source.values)}"


def _claims(measurements: Sequence[Measurement]) -> Iterator[str]:
    yield "| the paper says | paper | here | ours |"
    yield "|---|---|---|---|"
    for row in judge_claims(measurements):
        if _TABLE in row.claim.where.split(", "):
            clock = " (virtual time)" if row.clock == "virtual" else ""
            ours = "; ".join([row.reason, *row.lines(4)])
            yield f"| {row.claim.says} | {row.paper} | {row.judgement}{clock} | {ours} |"
