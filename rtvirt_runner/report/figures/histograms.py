"""Histograms of an experiment: a lane for each board and split on one axis of latency, so that all can be compared.

A figure of very many lanes would be drawn for nobody: it becomes an overview of all of them, and the lanes of those
with the latest wake-ups.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from rtvirt_runner.analysis.histogram import Histogram, summarize
from rtvirt_runner.report.figures import lanes as shared
from rtvirt_runner.report.figures.drawing import (
    FAINT,
    HUES,
    SMALL,
    SOFT,
    Axis,
    Canvas,
    Drawing,
    Key,
    diamond_key,
    legend,
    line_key,
    thousands,
)

MOST_LANES = 24  # more are not drawn one by one
_BINS_PER_DECADE = 50
_OVERVIEW_HEIGHT = 320.0


@dataclass(frozen=True)
class Lane:
    """One lane: a board and split with the histograms of host and guest, either of which may be missing."""

    board: str
    label: str  # split, and the other axes that vary, a line each
    split: str
    host: Histogram | None
    guest: Histogram | None

    @property
    def latest_us(self) -> int:
        """The latest wake-up in either place."""
        return max(each.max_us for each in (self.host, self.guest) if each)


def histogram_figures(lanes: Sequence[Lane], unit: str, name: str) -> list[Drawing]:
    """The figure of an experiment's lanes, or two if there are more than MOST_LANES; ``unit`` is e.g. ``µs``.

    Raises ValueError when no lane has a histogram.
    """
    lanes = [lane for lane in lanes if lane.host or lane.guest]
    if not lanes:
        raise ValueError(f"Figure '{name}' has no histogram to draw.")
    if len(lanes) <= MOST_LANES:
        return [_figure(lanes, unit, name)]
    latest = sorted(range(len(lanes)), key=lambda number: -lanes[number].latest_us)[:MOST_LANES]
    drawn = [lanes[number] for number in sorted(latest)]
    note = f"Of {len(lanes):,} points, the {MOST_LANES} with the latest wake-ups; the table has the numbers of all."
    return [overview_figure(lanes, unit, f"{name}-overview"), replace(_figure(drawn, unit, name), note=note)]


def _figure(lanes: Sequence[Lane], unit: str, name: str) -> Drawing:
    edges, logarithmic = _bins([each for lane in lanes for each in (lane.host, lane.guest) if each])
    hues = {split: HUES[n % len(HUES)] for n, split in enumerate(dict.fromkeys(lane.split for lane in lanes))}
    drawn = shared.Lanes(
        lanes=[
            shared.Lane(
                lane.board,
                tuple(lane.label.splitlines()),
                hues[lane.split],
                _curve(lane.host, edges),
                _curve(lane.guest, edges),
            )
            for lane in lanes
        ],
        edges=edges,
        logarithmic=logarithmic,
        columns=("p99", "max"),
        unit=unit,
        axis_label=f"latency in {unit}",
        keys=[
            line_key("p99: 99 % are at or below it", upright=True),
            diamond_key("maximum (hollow: host)"),
        ],
    )
    return Drawing(name, f"Latency histograms, {name}", drawn.draw)


def _curve(histogram: Histogram | None, edges: np.ndarray) -> shared.Curve | None:
    if histogram is None:
        return None
    p99 = summarize(histogram).p99
    heights = shared.counted(histogram.counts, histogram.counts.values(), edges)
    numbers = (f"≥ {histogram.limit_us:,}" if p99 is None else f"{p99:,}", f"{histogram.max_us:,}")
    return shared.Curve(heights, p99, histogram.max_us, numbers)


def _bins(histograms: Sequence[Histogram]) -> tuple[np.ndarray, bool]:
    """Bin edges in us for all histograms, and whether the axis is logarithmic, as it is for a wide range."""
    low = max(1, min(each.min_us for each in histograms))
    high = max(each.max_us for each in histograms)
    if high <= 12 * low and high - low <= 600:
        pad = 2 + (high - low) // 25
        return np.arange(max(0, low - pad), high + pad + 1) - 0.5, False
    return shared.growing_edges(low, high, 1.0, _BINS_PER_DECADE), True


# ---------------------------------------------------------------------------------------------------------- overview


def overview_figure(lanes: Sequence[Lane], unit: str, name: str) -> Drawing:
    """Every lane as a point across, ordered by its latest wake-up: maximum and p99 of host and guest upwards."""
    ordered = sorted(lanes, key=lambda lane: lane.latest_us)
    note = f"All {len(lanes):,} points, from the one whose latest wake-up is earliest to that where it is latest."
    return Drawing(name, f"Overview of all latencies, {name}", lambda *size: _overview(ordered, unit, *size), note)


def _overview(lanes: Sequence[Lane], unit: str, width: float, narrow: bool) -> Canvas:
    canvas = Canvas(width)
    series = {
        ("guest", "max"): (HUES[1], 2.2),
        ("host", "max"): (HUES[0], 2.2),
        ("guest", "p99"): (HUES[4], 1.7),
        ("host", "p99"): (HUES[5], 1.7),
    }
    keys = [_points_key(f"{what}, {place}", hue, size) for (place, what), (hue, size) in series.items()]
    top = legend(canvas, keys, 0, 0) + 24
    histograms = [each for lane in lanes for each in (lane.host, lane.guest) if each]
    low = max(1, min(each.min_us for each in histograms))
    high = max(2 * low, *(each.max_us for each in histograms))
    left, right, bottom = 52.0, width - 22, top + _OVERVIEW_HEIGHT
    up = Axis(low / 1.15, high * 1.15, bottom, top)
    across = Axis(0, len(lanes) + 1, left, right, logarithmic=False)
    canvas.text(0, top - 12, f"latency in {unit}", size=SMALL)
    for value in up.ticks(28):
        canvas.line((left, up(value)), (right, up(value)), stroke=FAINT, width=0.7, opacity=0.45)
        canvas.text(left - 7, up(value), thousands(value), "end", SMALL, colour=SOFT)
    for (place, what), (hue, size) in series.items():
        ranked = enumerate((lane.host if place == "host" else lane.guest for lane in lanes), 1)
        points = [(across(rank), up(_us(histogram, what))) for rank, histogram in ranked if histogram]
        if points:
            canvas.points(points, hue, size)
    canvas.line((left, bottom), (right, bottom), stroke=FAINT)
    across.numbers(canvas, bottom + 12)
    canvas.text((left + right) / 2, bottom + 29, "points, by their latest wake-up", "middle", SMALL)
    canvas.height = bottom + 40
    return canvas


def _us(histogram: Histogram, what: str) -> int:
    """The maximum or the p99, of which the histogram's end is a bound."""
    if what == "max":
        return histogram.max_us
    p99 = summarize(histogram).p99
    return histogram.limit_us if p99 is None else p99


def _points_key(text: str, hue: str, size: float) -> Key:
    def mark(canvas: Canvas, x: float, y: float) -> None:
        canvas.points([(x + 5, y)], hue, size * 1.6)

    return Key(mark, text)
