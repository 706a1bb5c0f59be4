"""Records in, tables out: the tidy frame, host against guest, and the paper's table of maxima."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from rtvirt_runner.guests import NO_GUEST
from rtvirt_runner.matrix import Cell
from rtvirt_runner.parsers import ParseError, cyclictest, workload
from rtvirt_runner.parsers.workload import WorkloadRun
from rtvirt_runner.results import Record
from rtvirt_runner.stats import Histogram, Summary, merge, summarize
from rtvirt_runner.tunings import MINUS

AXIS_COLUMNS = ["board", "kernel", "tuning", "split", "place", "guest", "workload", "repetition"]
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
]
COLUMNS = [*AXIS_COLUMNS, *NUMBER_COLUMNS, *STATUS_COLUMNS, *WORKLOAD_COLUMNS]

# Table I of the paper: maxima in us on the host of a Raspberry Pi 2, without and with PREEMPT_RT
PAPER_PREEMPTION_US = {"rpi2": {False: 185, True: 61}}
# Table II of the paper: maxima in us of the idle guest, 1,000,000 loops, by board and split
PAPER_MAXIMA_US = {("rpi2", "1-1"): 7214, ("rpi2", "1-2"): 5277, ("rpi2", "3-1"): 3097, ("cb2", "1-1"): 9895}


@dataclass(frozen=True)
class Measurement:
    """A record with its raw output understood: either a histogram, or the reason why there is none."""

    record: Record
    histogram: Histogram | None
    reason: str
    workload: WorkloadRun | None = None  # what ran beside cyclictest; None where nothing did

    @property
    def cell(self) -> Cell:
        """The cell that was measured."""
        return self.record.cell

    @property
    def emulated(self) -> bool:
        """Whether QEMU had to emulate the guest that was measured, without KVM."""
        return self.cell.place == "guest" and self._board().get("guest_accelerator") == "tcg"

    @property
    def foreign(self) -> bool:
        """Whether the guest that was measured is of another architecture than its board, such as 32 bits on 64."""
        guest = self.record.system.get("guest")
        machine = guest.get("machine") if isinstance(guest, dict) else None
        return bool(machine) and machine != self._board().get("machine", machine)

    def facts(self, table: str) -> list[dict[str, Any]]:
        """A table among the facts read back from the board; empty when the record has none."""
        rows = self._board().get(table)
        return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []

    def _board(self) -> dict[str, Any]:
        board = self.record.system.get("board")
        return board if isinstance(board, dict) else {}


@dataclass(frozen=True)
class HostGuest:
    """The same point of the matrix on the host and in the guest, repetitions merged; None where not measured."""

    cell: Cell  # one that stands for the pair: its axes but place, guest and repetition hold for all
    guest: str  # flavour
    host_us: Histogram | None
    guest_us: Histogram | None
    emulated: bool = False  # the guest, by QEMU without KVM

    @property
    def host_summary(self) -> Summary | None:
        """The host's numbers."""
        return summarize(self.host_us) if self.host_us else None

    @property
    def guest_summary(self) -> Summary | None:
        """The guest's numbers."""
        return summarize(self.guest_us) if self.guest_us else None


@dataclass(frozen=True)
class Maxima:
    """The paper's Table II over our own cells: a column per board and split, a row per place and tuning."""

    columns: list[tuple[str, str]]  # board, split; a board's columns stand together
    rows: list[tuple[str, list[int | None]]]  # label, maximum in us or None
    emulated: frozenset[tuple[str, tuple[str, str]]]  # label and column where QEMU emulated the guest, without KVM
    paper: list[int | None]  # what the paper measured on the hardware that a column stands for


@dataclass(frozen=True)
class Preemption:
    """The paper's Table I over our own cells: maxima on the host, kernels without PREEMPT_RT above those with it."""

    columns: list[
        tuple[str, str]
    ]  # board, and what else tells columns apart: workload, and tuning or split if they vary
    rows: list[tuple[str, bool, list[int | None]]]  # kernel, whether the board said it was PREEMPT_RT, maxima in us
    paper: list[tuple[bool, list[int | None]]]  # the same from the paper, for the hardware that a column stands for


def read_measurement(record: Record) -> Measurement:
    """Parse a record's raw output, cyclictest's and the workload's.

    One that is said to be done but has no output that can be understood, or a workload with a wrong answer, is failed:
    what it measured is not what it was to measure.
    """
    if record.status.status != "done":
        return Measurement(record, None, record.status.reason or "failed without a reason")
    try:
        histogram, run = _histogram(record), _workload(record)
    except ParseError as error:
        return Measurement(record, None, str(error))
    if run and run.wrong:
        return Measurement(record, None, run.wrong)
    return Measurement(record, histogram, "", run)


def tidy_frame(records: Iterable[Record]) -> pd.DataFrame:
    """One row per record, columns COLUMNS, in the order given; numbers are empty where nothing was measured."""
    measurements = [read_measurement(record) for record in records]
    hosts = _host_seconds(measurements)
    rows = [_row(each) | _workload_columns(each, hosts.get(_foreground(each.cell))) for each in measurements]
    frame = pd.DataFrame(rows, columns=COLUMNS)
    whole = [*(name for name in NUMBER_COLUMNS if name != "avg_us"), "workload_iterations"]
    exact = ["avg_us", "workload_s_per_iteration", "slowdown"]
    return frame.astype({**dict.fromkeys(whole, "Int64"), **dict.fromkeys(exact, "Float64")})


def host_against_guest(measurements: Iterable[Measurement]) -> list[HostGuest]:
    """Pair up what differs only in place and repetition, in the order of first appearance."""
    found: dict[tuple[Any, ...], dict[str, list[Measurement]]] = {}
    for each in measurements:
        cell = each.cell
        point = (cell.board, cell.kernel, cell.tuning, cell.split, cell.workload)
        found.setdefault(point, {}).setdefault(cell.guest, []).append(each)
    return list(itertools.chain.from_iterable(_pairs(flavours) for flavours in found.values()))


def maxima(pairs: Sequence[HostGuest]) -> Maxima:
    """Maxima of the idle workload, as in Table II of the paper, with the host beside the guest.

    Ablations of a tuning are left out: they answer another question.
    """
    idle = [pair for pair in pairs if pair.cell.workload == "idle" and MINUS not in pair.cell.tuning]
    boards = dict.fromkeys(pair.cell.board for pair in idle)
    splits = dict.fromkeys((pair.cell.board, pair.cell.split) for pair in idle)
    columns = [column for board in boards for column in splits if column[0] == board]
    rows: dict[str, dict[tuple[str, str], int]] = {}
    emulated: set[tuple[str, tuple[str, str]]] = set()
    varied = {axis for axis in ("kernel", "tuning") if len({getattr(pair.cell, axis) for pair in idle}) > 1}
    for pair in idle:
        what = "".join(f", {axis} {getattr(pair.cell, axis)}" for axis in ("kernel", "tuning") if axis in varied)
        column = (pair.cell.board, pair.cell.split)
        if pair.host_us:
            rows.setdefault(f"host{what}", {})[column] = pair.host_us.max_us
        if pair.guest_us:
            flavour = f" ({pair.guest})" if len({each.guest for each in idle if each.guest_us}) > 1 else ""
            label = f"guest{flavour}{what}"
            rows.setdefault(label, {})[column] = pair.guest_us.max_us
            emulated |= {(label, column)} if pair.emulated else set()
    ordered = sorted(rows.items(), key=lambda row: (row[0].partition(",")[2], row[0].startswith("guest")))
    return Maxima(
        columns=columns,
        rows=[(label, [values.get(column) for column in columns]) for label, values in ordered],
        emulated=frozenset(emulated),
        paper=[_paper_maximum(*column) for column in columns],
    )


def preemption(measurements: Iterable[Measurement]) -> Preemption:
    """Host cells that were measured on kernels with and without PREEMPT_RT, and differ in nothing else."""
    points: dict[tuple[str, ...], dict[tuple[str, bool], int]] = {}
    for each in measurements:
        cell = each.cell
        if cell.place == "host" and each.histogram:
            kernel = (cell.kernel, bool(each.record.system.get("board", {}).get("realtime")))
            maximum = points.setdefault((cell.board, cell.workload, cell.tuning, cell.split), {})
            maximum[kernel] = max(maximum.get(kernel, 0), each.histogram.max_us)
    points = {point: kernels for point, kernels in points.items() if len({realtime for _, realtime in kernels}) == 2}
    varied = [axis for axis in (2, 3) if len({point[axis] for point in points}) > 1]
    kernels = sorted(dict.fromkeys(itertools.chain.from_iterable(points.values())), key=lambda kernel: kernel[1])
    return Preemption(
        columns=[(point[0], ", ".join([point[1], *(point[axis] for axis in varied)])) for point in points],
        rows=[(*kernel, [maxima.get(kernel) for maxima in points.values()]) for kernel in kernels],
        paper=[(realtime, [_paper_preemption(point, realtime) for point in points]) for realtime in (False, True)],
    )


def _histogram(record: Record) -> Histogram:
    """Of ``cyclictest.json`` or else ``cyclictest.txt``."""
    if (text := record.raw("cyclictest.json")) is not None:
        run = cyclictest.parse_json(text)
    elif (text := record.raw("cyclictest.txt")) is not None:
        run = cyclictest.parse_text(text)
    else:
        raise ParseError("The record has neither cyclictest.json nor cyclictest.txt.")
    return Histogram.of_run(run, record.cell.histogram_us)


def _workload(record: Record) -> WorkloadRun | None:
    program = record.cell.program
    return workload.parse(record.raw("workload.txt") or "", program) if program else None


def _foreground(cell: Cell) -> tuple[str, ...]:
    """What host and guest have in common when the same workload runs on the same core."""
    return (cell.board, cell.clock, cell.kernel, cell.tuning, cell.split, cell.workload)


def _host_seconds(measurements: Iterable[Measurement]) -> dict[tuple[str, ...], float]:
    """How long an iteration takes on the host, repetitions together."""
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
        # a record whose output cannot be understood is no result
        "status": "done" if measurement.histogram else "failed",
        "ssh_commands": record.status.ssh_commands,
        "overhead_s": round(record.status.overhead_s, 3),
        "measure_s": round(record.status.measure_s, 3),
        "cell_id": cell.id,
        "reason": measurement.reason,
        "guest_is_emulated": "yes" if measurement.emulated else "no",
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


def _pairs(flavours: dict[str, list[Measurement]]) -> list[HostGuest]:
    """One pair per guest flavour, all against the same host; a host alone makes a pair without a guest."""
    host = _merged(flavours.get(NO_GUEST, []))
    guests = {flavour: each for flavour, each in flavours.items() if flavour != NO_GUEST}
    if not guests:
        return [HostGuest(flavours[NO_GUEST][0].cell, NO_GUEST, host, None)]
    return [
        HostGuest(each[0].cell, flavour, host, _merged(each), any(one.emulated for one in each))
        for flavour, each in guests.items()
    ]


def _merged(measurements: Sequence[Measurement]) -> Histogram | None:
    histograms = [each.histogram for each in measurements if each.histogram]
    return merge(histograms) if histograms else None


def _paper_preemption(point: Sequence[str], realtime: bool) -> int | None:
    board, workload = point[:2]
    found = (maxima for hardware, maxima in PAPER_PREEMPTION_US.items() if hardware in board.lower())
    return next(found, {}).get(realtime) if workload == "idle" else None


def _paper_maximum(board: str, split: str) -> int | None:
    """The paper's maximum for the hardware that a board is or mirrors, known by its name."""
    for (hardware, paper_split), maximum in PAPER_MAXIMA_US.items():
        if hardware in board.lower() and split == paper_split:
            return maximum
    return None
