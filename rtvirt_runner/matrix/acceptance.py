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

_HOST = "cyclictest-host"
HOST_FILES = (f"{_HOST}.json", f"{_HOST}.txt")  # of the board's own cyclictest, with place both


@dataclass(frozen=True)
class HostOutput:
    """What the board's own cyclictest wrote, of a cell whose place is both; it ran longer than the cell."""

    latencies: CyclictestRun  # of one thread
    late: LateWakeups


@dataclass(frozen=True)
class Output:
    """A cell's raw output, parsed and whole."""

    latencies: CyclictestRun  # of one thread, with as many samples as the cell has loops
    workload: WorkloadRun | None  # None where nothing ran
    late: LateWakeups | None = None  # with their times; None where the cell has no list, or its cyclictest knew none
    host: HostOutput | None = None  # with place both


def read_output(cell: Cell, raw: Callable[[str], str | None], *, with_host: bool = True) -> Output:
    """Parse a cell's raw output. ``raw`` gives a file's text by its name, None where it is not there.

    ``with_host``: whether what the board's own cyclictest wrote must be there already, where the place is both.

    Raises ParseError, one sentence, unless cyclictest counted every loop of the cell, its minimum, average, maximum,
    overflow and list of late wake-ups agree with its histogram, and the workload's answer is right.
    """
    latencies = _run(cell, raw, "cyclictest")
    _check_samples(cell, latencies)
    run = workload.parse(raw("workload.txt") or "", cell.program) if cell.program else None
    if run and run.wrong:
        raise ParseError(run.wrong)
    late = _late(cell, raw, latencies)
    if cell.host_thread is None or not with_host:
        return Output(latencies, run, late)
    if late is None:
        raise ParseError(
            "The guest's cyclictest lists no late wake-ups with their times (--spike-nodes), which place both needs; "
            "take rt-tests 2.5 or newer."
        )
    on_host = _run(cell, raw, _HOST)
    text = raw(f"{_HOST}.txt") or ""
    listed = spikes.parse(text, on_host, cell.host_thread.late_us, cell.histogram_us)
    return Output(latencies, run, late, HostOutput(on_host, listed))


def _late(cell: Cell, raw: Callable[[str], str | None], latencies: CyclictestRun) -> LateWakeups | None:
    """From ``cyclictest.txt``. An older cyclictest was not asked for a list, which its command line in JSON tells."""
    if not cell.late_us:
        return None
    text = raw("cyclictest.txt") or ""
    if "Spike:" not in text and f"--spike={cell.late_us} " not in (raw("cyclictest.json") or ""):
        return None
    return spikes.parse(text, latencies, cell.late_us, cell.histogram_us)


def _run(cell: Cell, raw: Callable[[str], str | None], name: str) -> CyclictestRun:
    """From ``<name>.json``, or else ``<name>.txt``."""
    if (text := raw(f"{name}.json")) is not None:
        run = cyclictest.parse_json(text, cell.histogram_us)
    elif (text := raw(f"{name}.txt")) is not None:
        run = cyclictest.parse_text(text, cell.histogram_us)
    else:
        raise ParseError(f"The record has neither {name}.json nor {name}.txt.")
    if len(run.threads) != 1:
        raise ParseError(f"cyclictest measured with {len(run.threads)} threads, expected one.")
    return run


def _check_samples(cell: Cell, run: CyclictestRun) -> None:
    samples = run.threads[0].samples
    if samples < cell.loops:
        raise ParseError(
            f"cyclictest took {samples:,} of {cell.loops:,} samples: it was ended early; measure the cell again."
        )
    if samples > cell.loops:
        raise ParseError(f"cyclictest took {samples:,} samples, expected {cell.loops:,}: it measured another cell.")
