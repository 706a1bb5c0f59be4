"""The tidy table of a matrix: one row per record."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pandas as pd

from rtvirt_runner.analysis.histogram import summarize
from rtvirt_runner.analysis.measurement import Measurement, read_measurement
from rtvirt_runner.matrix.cell import Cell
from rtvirt_runner.matrix.results import Record
from rtvirt_runner.parsers import workload
from rtvirt_runner.parsers.workload import WorkloadRun

AXIS_COLUMNS = ["board", "kernel", "tuning", "split", "place", "guest", "workload", "neighbour", "repetition"]
NUMBER_COLUMNS = ["samples", "min_us", "avg_us", "max_us", "p50_us", "p99_us", "p999_us", "overflows"]
WORKLOAD_COLUMNS = ["workload_iterations", "workload_s_per_iteration", "workload_digest", "slowdown"]
STATUS_COLUMNS = [
    "clock",
    "status",
    "ssh_commands",
    "overhead_s",
    "measure_s",
    "cell_id",
    "reason",
    "guest_is_emulated",
    "way",
    "sealed_key",
]
COLUMNS = [*AXIS_COLUMNS, *NUMBER_COLUMNS, *STATUS_COLUMNS, *WORKLOAD_COLUMNS]


def tidy_frame(records: Iterable[Record]) -> pd.DataFrame:
    """A data frame with the columns COLUMNS and one row per record, in the order given.

    Numbers are missing (NA) where nothing was measured; docs/results-folder.md has the units.
    """
    measurements = [read_measurement(record) for record in records]
    hosts = _host_seconds(measurements)
    rows = [_row(each) | _workload_columns(each, hosts.get(_foreground(each.cell))) for each in measurements]
    frame = pd.DataFrame(rows, columns=COLUMNS)
    whole = [*(name for name in NUMBER_COLUMNS if name != "avg_us"), "workload_iterations"]
    exact = ["avg_us", "workload_s_per_iteration", "slowdown"]
    return frame.astype({**dict.fromkeys(whole, "Int64"), **dict.fromkeys(exact, "Float64")})


def _foreground(cell: Cell) -> tuple[str, ...]:
    """Key that host and guest cells share when the same workload runs on the same core."""
    return (cell.board, cell.clock, cell.kernel, cell.tuning, cell.split, cell.workload, cell.neighbour)


def _host_seconds(measurements: Iterable[Measurement]) -> dict[tuple[str, ...], float]:
    """Seconds per iteration on the host over all repetitions, by ``_foreground``."""
    found: dict[tuple[str, ...], list[WorkloadRun]] = {}
    for each in measurements:
        if each.workload and each.cell.place == "host":
            found.setdefault(_foreground(each.cell), []).append(each.workload)
    told = {point: workload.seconds_per_iteration(runs) for point, runs in found.items()}
    return {point: seconds for point, seconds in told.items() if seconds is not None}


def _workload_columns(measurement: Measurement, host_s: float | None) -> dict[str, Any]:
    run = measurement.workload
    if run is None or run.seconds_per_iteration is None:
        return {}
    inside = measurement.cell.place == "guest"
    return {
        "workload_iterations": run.iterations,
        "workload_s_per_iteration": run.seconds_per_iteration,
        "workload_digest": run.digest,
        "slowdown": round(run.seconds_per_iteration / host_s, 4) if inside and host_s else None,
    }


def _row(measurement: Measurement) -> dict[str, Any]:
    record, cell = measurement.record, measurement.cell
    row: dict[str, Any] = {axis: getattr(cell, axis) for axis in AXIS_COLUMNS}
    row |= {
        "clock": cell.clock,
        # a record whose output cannot be parsed is a failed cell
        "status": "done" if measurement.histogram else "failed",
        "ssh_commands": record.status.ssh_commands,
        "overhead_s": round(record.status.overhead_s, 3),
        "measure_s": round(record.status.measure_s, 3),
        "cell_id": cell.id,
        "reason": measurement.reason,
        "guest_is_emulated": "yes" if measurement.guest_uses_tcg else "no",
        "way": "sealed" if measurement.sealed else "ssh",
        "sealed_key": str((record.system.get("sealed") or {}).get("key", "")),
    }
    if measurement.histogram:
        summary = summarize(measurement.histogram)
        row |= {
            "samples": summary.samples,
            "min_us": summary.min,
            "avg_us": round(summary.avg, 2),
            "max_us": summary.max,
            "p50_us": summary.p50,
            "p99_us": summary.p99,
            "p999_us": summary.p999,
            "overflows": summary.overflows,
        }
    return row
