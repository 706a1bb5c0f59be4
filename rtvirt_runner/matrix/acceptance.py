"""Whether a cell's raw output is whole. What is not is no measurement, whatever its status says.

The same function judges a cell when it was measured, when a run asks whether it is done, and when it is reported.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from rtvirt_runner.matrix.cell import Cell
from rtvirt_runner.parsers import ParseError, cyclictest, spikes, workload
from rtvirt_runner.parsers.cyclictest import CyclictestRun
from rtvirt_runner.parsers.spikes import LateWakeups
from rtvirt_runner.parsers.workload import WorkloadRun


@dataclass(frozen=True)
class Output:
    """A cell's raw output, parsed and whole."""

    latencies: CyclictestRun  # of one thread, with as many samples as the cell has loops
    workload: WorkloadRun | None  # None where nothing ran
    late: LateWakeups | None = None  # with their times; None where the cell has no list, or its cyclictest knew none


def read_output(cell: Cell, raw: Callable[[str], str | None]) -> Output:
    """Parse a cell's raw output. ``raw`` gives a file's text by its name, None where it is not there.

    Raises ParseError, one sentence, unless cyclictest counted every loop of the cell, its minimum, average, maximum,
    overflow and list of late wake-ups agree with its histogram, and the workload's answer is right.
    """
    latencies = _latencies(cell, raw)
    run = workload.parse(raw("workload.txt") or "", cell.program) if cell.program else None
    if run and run.wrong:
        raise ParseError(run.wrong)
    return Output(latencies, run, _late(cell, raw, latencies))


def _late(cell: Cell, raw: Callable[[str], str | None], latencies: CyclictestRun) -> LateWakeups | None:
    """From ``cyclictest.txt``. An older cyclictest was not asked for a list, which its command line in JSON tells."""
    if not cell.late_us:
        return None
    text = raw("cyclictest.txt") or ""
    if "Spike:" not in text and f"--spike={cell.late_us} " not in (raw("cyclictest.json") or ""):
        return None
    return spikes.parse(text, latencies, cell.late_us, cell.histogram_us)


def _latencies(cell: Cell, raw: Callable[[str], str | None]) -> CyclictestRun:
    """From ``cyclictest.json``, or else ``cyclictest.txt``."""
    if (text := raw("cyclictest.json")) is not None:
        run = cyclictest.parse_json(text, cell.histogram_us)
    elif (text := raw("cyclictest.txt")) is not None:
        run = cyclictest.parse_text(text, cell.histogram_us)
    else:
        raise ParseError("The record has neither cyclictest.json nor cyclictest.txt.")
    if len(run.threads) != 1:
        raise ParseError(f"cyclictest measured with {len(run.threads)} threads, expected one.")
    samples = run.threads[0].samples
    if samples < cell.loops:
        raise ParseError(
            f"cyclictest took {samples:,} of {cell.loops:,} samples: it was ended early; measure the cell again."
        )
    if samples > cell.loops:
        raise ParseError(f"cyclictest took {samples:,} samples, expected {cell.loops:,}: it measured another cell.")
    return run
