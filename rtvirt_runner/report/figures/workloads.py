"""Figures of workloads: slowdown beside latency, and the lateness of an engine controller."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from rtvirt_runner.analysis.histogram import Histogram, summarize
from rtvirt_runner.parsers.ecu import EXACT_BELOW_DEG, EventKind
from rtvirt_runner.report.figures import lanes as shared
from rtvirt_runner.report.figures.comparisons import ROW
from rtvirt_runner.report.figures.drawing import (
    HUES,
    PAPER,
    SMALL,
    SOFT,
    Axis,
    Canvas,
    Drawing,
    diamond_key,
    dot_key,
    fitting,
    legend,
    line_key,
    text_width,
    thousands,
)

_BINS_PER_DECADE = 40
_CENTIDEGREE = 0.01  # resolution of the controller's histogram
_HUE = HUES[0]


@dataclass(frozen=True)
class SlowdownRow:
    """One workload in both places."""

    label: str
    slowdown: float
    host: Histogram
    guest: Histogram


@dataclass(frozen=True)
class LatenessLane:
    """One kind of event in both places; None where it was not measured."""

    label: str
    tolerance_deg: float | None  # None: no event of this kind is missed for being late
    host: EventKind | None
    guest: EventKind | None


# ---------------------------------------------------------------------------------------------------------- slowdown


def slowdown_figure(rows: Sequence[SlowdownRow], unit: str, name: str) -> Drawing:
    """Three panels with a row per workload: slowdown, p99 and maximum from host to guest.

    Raises ValueError when there is no row.
    """
    if not rows:
        raise ValueError(f"Figure '{name}' has no row to draw.")
    label = "Slowdown of workloads in the guest, and latency meanwhile"
    return Drawing(name, label, lambda width, narrow: _slowdowns(rows, unit, width, narrow))


def _slowdowns(rows: Sequence[SlowdownRow], unit: str, width: float, narrow: bool) -> Canvas:
    canvas = Canvas(width)
    labels = min(0.35 * width, 14 + max(text_width(row.label) for row in rows))
    keys = [dot_key("host", PAPER), dot_key("guest", _HUE)]
    top = legend(canvas, keys, 0 if narrow else labels, 0.0) + 12
    low = max(1, min(_p99_us(each) for row in rows for each in (row.host, row.guest)))
    high = max(2 * low, *(each.max_us for row in rows for each in (row.host, row.guest)))
    latencies = ((f"p99, {unit}", _p99_us), (f"max, {unit}", _max_us))
    if narrow:
        top = _slowdown_panel(canvas, (0, width), top, labels, rows) + 14
        for head, measure in latencies:
            top = _latency_panel(canvas, (0, width), top, labels, rows, head, measure, (low, high)) + 14
    else:
        third = (width - labels) / 3
        bounds = [(0.0, labels + third - 14), (labels + third + 6, labels + 2 * third - 6), (width - third + 6, width)]
        _slowdown_panel(canvas, bounds[0], top, labels, rows)
        for across, (head, measure) in zip(bounds[1:], latencies, strict=True):
            below = _latency_panel(canvas, across, top, 0, rows, head, measure, (low, high))
        top = below
    canvas.height = top
    return canvas


def _labelled(canvas: Canvas, axis: Axis, rows: Sequence[SlowdownRow], top: float, labels: float) -> float:
    bottom = top + ROW * len(rows)
    axis.grid(canvas, top, bottom)
    for number, row in enumerate(rows):
        if labels:
            canvas.text(axis.left - 10, top + ROW * (number + 0.5), fitting(row.label, labels - 8), "end")
    return bottom


def _slowdown_panel(
    canvas: Canvas, across: tuple[float, float], top: float, labels: float, rows: Sequence[SlowdownRow]
) -> float:
    values = [row.slowdown for row in rows]
    low, high = min(1.0, *values), max(1.1, *values)
    room = 0.08 * (high - low)
    axis = Axis(low - room, high + room, across[0] + labels, across[1] - 58, logarithmic=False)
    canvas.text(axis.left, top, "slowdown", bold=True)
    top += 30
    bottom = _labelled(canvas, axis, rows, top, labels)
    canvas.line((axis(1.0), top), (axis(1.0), bottom), dash=(3, 2))
    for number, value in enumerate(values):
        y = top + ROW * (number + 0.5)
        canvas.line((axis(1.0), y), (axis(value), y), stroke=_HUE, width=3, opacity=0.45)
        canvas.dot(axis(value), y, _HUE)
        canvas.text(across[1] - 2, y, f"{value:.2f} ×", "end", bold=True)
    axis.numbers(canvas, bottom + 12, lambda value: f"{value:.4g} ×")
    return bottom + 26


def _latency_panel(
    canvas: Canvas,
    across: tuple[float, float],
    top: float,
    labels: float,
    rows: Sequence[SlowdownRow],
    head: str,
    measure: Callable[[Histogram], int],
    limits: tuple[int, int],
) -> float:
    """From host to guest; all panels have one scale, so that they compare."""
    axis = Axis(limits[0] / 1.4, limits[1] * 1.4, across[0] + labels, across[1] - 112)
    canvas.text(axis.left, top, head, bold=True)
    top += 30
    bottom = _labelled(canvas, axis, rows, top, labels)
    for x, place in ((across[1] - 58, "host"), (across[1] - 2, "guest")):
        canvas.text(x, top - 8, place, "end", SMALL, colour=SOFT)
    for number, row in enumerate(rows):
        y = top + ROW * (number + 0.5)
        host, guest = measure(row.host), measure(row.guest)
        canvas.line((axis(host), y), (axis(guest), y), stroke=_HUE, width=3, opacity=0.45)
        canvas.dot(axis(host), y, PAPER)
        canvas.dot(axis(guest), y, _HUE)
        canvas.text(across[1] - 58, y, _quantity(row.host, measure), "end")
        canvas.text(across[1] - 2, y, _quantity(row.guest, measure), "end", bold=True)
    axis.numbers(canvas, bottom + 12)
    return bottom + 26


def _quantity(histogram: Histogram, measure: Callable[[Histogram], int]) -> str:
    bound = measure is _p99_us and summarize(histogram).p99 is None
    return f"≥ {histogram.limit_us:,}" if bound else f"{measure(histogram):,}"


def _p99_us(histogram: Histogram) -> int:
    p99 = summarize(histogram).p99
    return histogram.limit_us if p99 is None else p99


def _max_us(histogram: Histogram) -> int:
    return histogram.max_us


# ---------------------------------------------------------------------------------------------------------- lateness


def lateness_figure(lanes: Sequence[LatenessLane], unit: str, name: str, emulated: bool = False) -> Drawing:
    """How late each kind of event came: a lane per kind; ``unit`` is the degrees', in words.

    ``emulated``: QEMU emulated the guest, without KVM.
    Raises ValueError when no lane has an event.
    """
    drawn = [each for lane in lanes for each in (lane.host, lane.guest) if each and each.histogram_deg]
    if not drawn:
        raise ValueError(f"Figure '{name}' has no event to draw.")
    first = min(min(kind.histogram_deg) for kind in drawn)
    tolerances = [lane.tolerance_deg for lane in lanes if lane.tolerance_deg]
    last = max([*tolerances, *(max(kind.max_deg, *kind.histogram_deg) for kind in drawn)])
    edges = shared.growing_edges(first, last, _CENTIDEGREE, _BINS_PER_DECADE)
    figure = shared.Lanes(
        lanes=[
            shared.Lane(
                "",
                (lane.label,),
                _HUE,
                _curve(lane, lane.host, edges),
                _curve(lane, lane.guest, edges),
                lane.tolerance_deg,
            )
            for lane in lanes
        ],
        edges=edges,
        logarithmic=True,
        columns=("p99", "max", "missed"),
        counted="events",
        unit="degrees, missed or lost",
        axis_label=f"lateness in {unit}",
        keys=[diamond_key("latest (hollow: host)"), line_key("tolerance", HUES[1], (4, 2))],
        guest="guest, emulated" if emulated else "guest",
        shown=thousands,
    )
    return Drawing(name, "Lateness of an engine controller's events in degrees of crank angle", figure.draw)


def _curve(lane: LatenessLane, kind: EventKind | None, edges: np.ndarray) -> shared.Curve | None:
    if kind is None or not kind.histogram_deg:
        return None
    late = np.maximum(list(kind.histogram_deg), edges[0] + 1e-9)  # on time: in the first bin
    p99 = kind.quantile_deg(0.99)
    faults = kind.lost + (kind.missed if lane.tolerance_deg else 0)
    numbers = (
        f"{p99:.2f}" if p99 < EXACT_BELOW_DEG else f"≥ {p99:.0f}",
        f"{kind.max_deg:.2f}",
        f"{faults:,}",
    )
    heights = shared.counted(late.tolist(), kind.histogram_deg.values(), edges)
    return shared.Curve(heights, None, max(kind.max_deg, float(edges[0])), numbers)
