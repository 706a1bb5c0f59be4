"""Histograms of an experiment as one inline SVG.

Each board and split gets a lane; all lanes share the latency axis, so that places, splits and boards can be compared.
Colours are CSS variables of the page (``--fig-...``), which lets the figure follow light and dark mode.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from rtvirt_runner.analysis.histogram import Histogram, summarize
from rtvirt_runner.report.figures.svg import (
    FAINT,
    HUES,
    INK,
    PAPER,
    WIDTH_INCHES,
    count_lane,
    drawn_as,
    inline,
    logarithmic,
)

_BINS_PER_DECADE = 50
_LABEL_LETTERS = 14  # beside a lane
_LANE_INCHES = 1.2


@dataclass(frozen=True)
class Lane:
    """One lane: a board and split with the histograms of host and guest, either of which may be missing."""

    board: str
    label: str  # split, and the other axes that vary
    split: str
    host: Histogram | None
    guest: Histogram | None


def histogram_figure(lanes: Sequence[Lane], unit: str, name: str) -> str:
    """Draw lanes as an ``<svg>`` element; ``unit`` is e.g. ``us (virtual time)``, ``name`` makes its ids unique.

    The same input gives the same text. Raises ValueError when no lane has a histogram.
    """
    drawn = [each for lane in lanes for each in (lane.host, lane.guest) if each]
    if not drawn:
        raise ValueError(f"Figure '{name}' has no histogram to draw.")
    edges, wide = _bins(drawn)
    with drawn_as(name):
        figure, axes = _lanes(lanes)
        hues = {split: HUES[i % len(HUES)] for i, split in enumerate(dict.fromkeys(lane.split for lane in lanes))}
        for number, (lane, ax) in enumerate(zip(lanes, axes, strict=True)):
            _draw_lane(ax, lane, hues[lane.split], edges)
            if number == 0 or lanes[number - 1].board != lane.board:
                ax.text(0, 1.04, lane.board, transform=ax.transAxes, weight="bold", va="bottom", color=INK)
        _dress_axes(axes[-1], edges, wide, unit)
        figure.legend(handles=_legend(), loc="upper left", ncols=4, frameon=False, bbox_to_anchor=(0.145, 1.0))
        return inline(figure, name, f"Latency histograms, {name}")


def _lanes(lanes: Sequence[Lane]) -> tuple[Figure, list[Axes]]:
    """One set of axes per lane, in inches from the top, with room for a title where a board begins."""
    tops, height = [], 0.62
    for number, lane in enumerate(lanes):
        height += 0.26 if number and lanes[number - 1].board != lane.board else 0.0
        tops.append(height)
        height += _LANE_INCHES
    height += 0.4
    figure = Figure(figsize=(WIDTH_INCHES, height))
    axes: list[Axes] = []
    for top in tops:
        box = (0.155, 1 - (top + _LANE_INCHES - 0.22) / height, 0.66, (_LANE_INCHES - 0.22) / height)
        shared = axes[0] if axes else None
        axes.append(figure.add_axes(box, sharex=shared, sharey=shared))
    for ax in axes[:-1]:
        ax.tick_params(labelbottom=False)
    figure.text(0.012, 0.5, "samples per bin", rotation=90, va="center", ha="left", color=INK)
    return figure, axes


def _bins(histograms: Sequence[Histogram]) -> tuple[np.ndarray, bool]:
    """Bin edges in us for all histograms, and whether their width grows.

    Over a wide range bins grow with latency (never below the 1 us that cyclictest counts in), so that a sparse tail
    reads as a shape and not as needles.
    """
    low = max(1, min(each.min_us for each in histograms))
    high = max(each.max_us for each in histograms)
    if high <= 12 * low and high - low <= 600:
        pad = 2 + (high - low) // 25
        return np.arange(max(0, low - pad), high + pad + 1) - 0.5, False
    edges = [float(math.floor(low / 1.25))]
    top = high * 1.15
    while edges[-1] < top:
        edges.append(max(edges[-1] + 1, math.ceil(edges[-1] * 10 ** (1 / _BINS_PER_DECADE))))
    return np.array([max(edge, 1) - 0.5 for edge in edges]), True


def _draw_lane(ax: Axes, lane: Lane, hue: str, edges: np.ndarray) -> None:
    ax.set_yscale("log")
    for place, histogram in (("host", lane.host), ("guest", lane.guest)):
        if histogram is None:
            continue
        counts, _ = np.histogram(list(histogram.counts), bins=edges, weights=list(histogram.counts.values()))
        on_host = place == "host"
        heights = np.where(counts > 0, counts, 0.5)  # below one sample: the floor of the axis
        ax.stairs(heights, edges, baseline=0.5, fill=True, color=hue, alpha=0.16 if on_host else 0.5, lw=0)
        ax.stairs(heights, edges, baseline=0.5, color=hue, lw=1.2, ls="-" if on_host else (0, (2.5, 1.2)))
        _mark(ax, histogram, hue, on_host)
    label = "\n".join(textwrap.fill(line, _LABEL_LETTERS) for line in lane.label.splitlines())
    ax.text(-0.075, 0.5, label, transform=ax.transAxes, ha="right", va="center", color=INK, linespacing=1.35)
    for row, (place, histogram) in enumerate((("host", lane.host), ("guest", lane.guest))):
        _numbers(ax, place, histogram, 0.68 - 0.26 * row)


def _mark(ax: Axes, histogram: Histogram, hue: str, on_host: bool) -> None:
    """Mark p99 with a stroke and the maximum with a diamond, hollow for the host."""
    p99 = summarize(histogram).p99
    if p99 is not None:
        ax.plot([p99, p99], [0.5, 30], color=INK, lw=1.3, ls="-" if on_host else (0, (1.5, 1)), solid_capstyle="butt")
    face = PAPER if on_host else hue
    ax.plot([histogram.max_us], [0.95], marker="D", ms=5, color=face, mec=INK, mew=0.9, clip_on=False, zorder=5)


def _numbers(ax: Axes, place: str, histogram: Histogram | None, y: float) -> None:
    """Write p99 and maximum into the columns right of the lane, where they cannot cover a curve."""
    ax.text(1.015, y, place, transform=ax.transAxes, va="center", color=INK)
    if histogram is None:
        ax.text(1.255, y, "not measured", transform=ax.transAxes, va="center", ha="right", color=FAINT, style="italic")
        return
    p99 = summarize(histogram).p99
    beyond = f"≥ {histogram.limit_us:,}"
    for x, text in ((1.145, beyond if p99 is None else f"{p99:,}"), (1.255, f"{histogram.max_us:,}")):
        ax.text(x, y, text, transform=ax.transAxes, va="center", ha="right", color=INK, weight="bold")


def _dress_axes(last: Axes, edges: np.ndarray, wide: bool, unit: str) -> None:
    figure = last.figure
    for number, ax in enumerate(figure.axes):
        count_lane(ax, _count, ax is last)
        if number == 0:
            for x, y, head in ((1.145, 1.04, "p99"), (1.255, 1.04, "max"), (1.255, 1.24, unit)):
                ax.text(x, y, head, transform=ax.transAxes, ha="right", va="bottom", color=INK)
    if wide:
        logarithmic(last)
    last.set_xlim(edges[0], edges[-1])
    last.set_xlabel(f"latency in {unit}", labelpad=6)


def _count(value: float, _: int) -> str:
    for size, suffix in ((1_000_000, "M"), (1_000, "k")):
        if value >= size:
            return f"{value / size:g}{suffix}"
    return f"{value:g}"


def _legend() -> list[Line2D | Patch]:
    return [
        Patch(facecolor=(*mpl.colors.to_rgb(INK), 0.14), edgecolor=INK, label="host"),
        Patch(facecolor=(*mpl.colors.to_rgb(INK), 0.45), edgecolor=INK, ls="--", label="guest"),
        Line2D([], [], color=INK, lw=1.3, marker="|", ls="", ms=10, label="p99 (99 % of samples are at or below it)"),
        Line2D([], [], color=INK, marker="D", ls="", ms=5, label="maximum (hollow: host)"),
    ]
