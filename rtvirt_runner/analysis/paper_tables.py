"""Tables I and II and the figures of the paper from measured cells, with the paper's values for comparison."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rtvirt_runner.analysis.comparisons import HostGuest, MergedMeasurement, grouped, points
from rtvirt_runner.analysis.measurement import Measurement
from rtvirt_runner.analysis.paper import Figure, load_paper
from rtvirt_runner.catalogue.tunings import MINUS


@dataclass(frozen=True)
class Maxima:
    """Table II of the paper from measured cells: a column per board and split, a row per place and tuning."""

    columns: list[tuple[str, str]]  # board, split; a board's columns stand together
    rows: list[tuple[str, list[int | None]]]  # label, maximum in us or None
    guest_uses_tcg: frozenset[
        tuple[str, tuple[str, str]]
    ]  # label and column where QEMU emulated the guest, without KVM
    paper: list[int | None]  # what the paper measured on the hardware that a column stands for


@dataclass(frozen=True)
class Preemption:
    """Table I of the paper from measured cells: maxima on the host, kernels without PREEMPT_RT above those with it."""

    columns: list[tuple[str, str]]  # board, and the other axes that vary: workload, and tuning or split if they vary
    rows: list[tuple[str, bool, list[int | None]]]  # kernel, whether the board said it was PREEMPT_RT, maxima in us
    paper: list[tuple[bool, list[int | None]]]  # the same from the paper, for the hardware that a column stands for


def maxima(pairs: Sequence[HostGuest]) -> Maxima:
    """Maxima of the idle workload, as in Table II of the paper, with the host beside the guest.

    Ablations of a tuning are left out: they have a view of their own.
    """
    idle = [pair for pair in pairs if pair.cell.beside == "idle" and MINUS not in pair.cell.tuning]
    boards = dict.fromkeys(pair.cell.board for pair in idle)
    splits = dict.fromkeys((pair.cell.board, pair.cell.split) for pair in idle)
    columns = [column for board in boards for column in splits if column[0] == board]
    rows: dict[str, dict[tuple[str, str], int]] = {}
    guest_uses_tcg: set[tuple[str, tuple[str, str]]] = set()
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
            guest_uses_tcg |= {(label, column)} if pair.guest_uses_tcg else set()
    ordered = sorted(rows.items(), key=lambda row: (row[0].partition(",")[2], row[0].startswith("guest")))
    return Maxima(
        columns=columns,
        rows=[(label, [values.get(column) for column in columns]) for label, values in ordered],
        guest_uses_tcg=frozenset(guest_uses_tcg),
        paper=[load_paper().maximum_us(*column) for column in columns],
    )


@dataclass(frozen=True)
class IdleRow:
    """A row of the paper's idle experiment as measured here, repetitions merged, and the paper's maximum beside it."""

    point: MergedMeasurement
    paper_us: int | None  # Table II, of the hardware that the board stands for; None on the host


def idle_rows(measurements: Iterable[Measurement]) -> list[IdleRow]:
    """Host and guest of each board and split, idle, with PREEMPT_RT and the paper's tuning; no emulated guests.

    By board and split in the order of first appearance, the host above its guests.
    """
    measured = [
        point
        for point in points(measurements)
        if (point.cell.beside, point.cell.tuning) == ("idle", "paper")
        and point.measurements[0].realtime
        and not point.guest_uses_tcg
    ]
    return [
        IdleRow(each, load_paper().maximum_us(cell.board, cell.split) if cell.place == "guest" else None)
        for those in grouped(measured, lambda point: (point.cell.clock, point.cell.board, point.cell.split))
        for each in sorted(those, key=lambda point: point.cell.place == "guest")
        for cell in [each.cell]
    ]


def preemption(measurements: Iterable[Measurement]) -> Preemption:
    """Host cells that were measured on kernels with and without PREEMPT_RT, and differ in nothing else."""
    points: dict[tuple[str, ...], dict[tuple[str, bool], int]] = {}
    for each in measurements:
        cell = each.cell
        if cell.place == "host" and each.histogram:
            kernel = (cell.kernel, each.realtime)
            maximum = points.setdefault((cell.board, cell.beside, cell.tuning, cell.split), {})
            maximum[kernel] = max(maximum.get(kernel, 0), each.histogram.max_us)
    points = {point: kernels for point, kernels in points.items() if len({realtime for _, realtime in kernels}) == 2}
    varied = [axis for axis in (2, 3) if len({point[axis] for point in points}) > 1]
    kernels = sorted(dict.fromkeys(itertools.chain.from_iterable(points.values())), key=lambda kernel: kernel[1])
    return Preemption(
        columns=[(point[0], ", ".join([point[1], *(point[axis] for axis in varied)])) for point in points],
        rows=[(*kernel, [maxima.get(kernel) for maxima in points.values()]) for kernel in kernels],
        paper=[
            (realtime, [load_paper().preemption_us(point[0], point[1], realtime) for point in points])
            for realtime in (False, True)
        ],
    )


@dataclass(frozen=True)
class FigureCurve:
    """A curve of one of the paper's figures, as measured here: repetitions merged."""

    figure: Figure
    point: MergedMeasurement


def figure_curves(measurements: Iterable[Measurement]) -> list[FigureCurve]:
    """The measured cells that show what each figure of the paper shows, in the order of its figures.

    On boards that are or resemble the figure's hardware; emulated guests and ablations are left out. A figure that
    compares kernels has those with and without PREEMPT_RT, any other only those with it.
    """
    measured = [each for each in points(measurements) if not each.guest_uses_tcg and MINUS not in each.cell.tuning]
    return [
        FigureCurve(figure, point)
        for figure in load_paper().figures.values()
        for point in measured
        if load_paper().hardware_of(point.cell.board) == figure.hardware
        and point.cell.place in figure.places
        and point.cell.beside in figure.workloads
        and point.cell.split in figure.splits
        and (figure.compares_kernels or point.measurements[0].realtime)
    ]
