"""What workloads suffer and cost as one SVG each: slowdown beside latency, and an engine controller's lateness."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from rtvirt_runner.parsers.ecu import EventKind
from rtvirt_runner.stats import Histogram, summarize
from rtvirt_runner.svg import (
    FAINT,
    HUES,
    INK,
    PAPER,
    WIDTH_INCHES,
    drawn_as,
    in_rows,
    inline,
    logarithmic,
    plain,
    thousands,
)

_ROW_INCHES = 0.27
_LANE_INCHES, _GAP_INCHES = 0.72, 0.16
_BINS_PER_DECADE = 40
_CENTIDEGREE = 0.01  # what the controller counts in
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


def slowdown_figure(rows: Sequence[SlowdownRow], unit: str, name: str) -> str:
    """Three columns with a row per workload, as an ``<svg>`` element: slowdown, p99 and maximum from host to guest.

    Raises ValueError when there is no row.
    """
    if not rows:
        raise ValueError(f"Figure '{name}' has no row to draw.")
    with drawn_as(name):
        top, bottom = 0.74, 0.46
        height = top + bottom + _ROW_INCHES * len(rows)
        figure = Figure(figsize=(WIDTH_INCHES, height))
        box = (bottom / height, _ROW_INCHES * len(rows) / height)
        columns = [figure.add_axes((left, box[0], 0.175, box[1])) for left in (0.15, 0.418, 0.722)]
        for ax in columns:
            ax.set_ylim(len(rows) - 0.5, -0.5)
            plain(ax)
        for y, row in enumerate(rows):
            columns[0].text(-0.05, y, row.label, transform=in_rows(columns[0]), ha="right", va="center")
        _draw_slowdowns(columns[0], rows)
        _draw_latencies(columns[1], rows, _p99_us, "p99", unit)
        _draw_latencies(columns[2], rows, _max_us, "max", unit)
        low = max(1, min(_p99_us(each) for row in rows for each in (row.host, row.guest)))
        high = max(each.max_us for row in rows for each in (row.host, row.guest))
        for ax in columns[1:]:  # on one scale, so that they compare
            logarithmic(ax, (1,) if high > 100 * low else (1, 3))
            ax.set_xlim(low / 1.4, high * 1.4)
        _legend(figure, _places())
        return inline(figure, name, "Slowdown of workloads in the guest, and latency meanwhile")


def _draw_slowdowns(ax: Axes, rows: Sequence[SlowdownRow]) -> None:
    values = [row.slowdown for row in rows]
    low, high = min(1.0, *values), max(1.0, *values)
    room = max(0.02, 0.1 * (high - low))
    ax.set_xlim(low - (room if low < 1 else room / 2), high + room)
    ax.axvline(1.0, color=INK, lw=1.0, ls=(0, (3, 2)), zorder=1)
    for y, value in enumerate(values):
        ax.plot([1.0, value], [y, y], color=_HUE, lw=3, alpha=0.45, solid_capstyle="butt", zorder=2)
        ax.plot([value], [y], marker="o", ms=6, color=_HUE, mec=INK, mew=0.9, zorder=3, clip_on=False)
        ax.text(1.27, y, f"{value:.2f} ×", transform=in_rows(ax), ha="right", va="center", weight="bold")
    ax.xaxis.set_major_locator(mpl.ticker.MaxNLocator(3, min_n_ticks=2))
    ax.xaxis.set_major_formatter(mpl.ticker.FuncFormatter(lambda value, _: f"{value:.4g} ×"))
    _head(ax, len(rows), "slowdown")
    ax.set_xlabel("guest / host", labelpad=4)


def _draw_latencies(
    ax: Axes, rows: Sequence[SlowdownRow], measure: Callable[[Histogram], int], head: str, unit: str
) -> None:
    for y, row in enumerate(rows):
        host, guest = measure(row.host), measure(row.guest)
        ax.plot([host, guest], [y, y], color=_HUE, lw=3, alpha=0.45, solid_capstyle="butt", zorder=2)
        ax.plot([host], [y], marker="o", ms=6, color=PAPER, mec=INK, mew=0.9, zorder=3)
        ax.plot([guest], [y], marker="o", ms=6, color=_HUE, mec=INK, mew=0.9, zorder=4)
        for x, histogram, weight in ((1.24, row.host, "normal"), (1.52, row.guest, "bold")):
            text = _quantity(histogram, measure)
            ax.text(x, y, text, transform=in_rows(ax), ha="right", va="center", weight=weight)
    _head(ax, len(rows), f"{head}, {unit}")
    for x, place in ((1.24, "host"), (1.52, "guest")):
        ax.text(x, -0.62, place, transform=in_rows(ax), ha="right", va="bottom")


def _quantity(histogram: Histogram, measure: Callable[[Histogram], int]) -> str:
    bound = measure is _p99_us and summarize(histogram).p99 is None
    return f"≥ {histogram.limit_us:,}" if bound else f"{measure(histogram):,}"


def _p99_us(histogram: Histogram) -> int:
    p99 = summarize(histogram).p99
    return histogram.limit_us if p99 is None else p99


def _max_us(histogram: Histogram) -> int:
    return histogram.max_us


def _head(ax: Axes, rows: int, text: str) -> None:
    ax.text(0, 1 + 0.04 / (_ROW_INCHES * rows), text, transform=ax.transAxes, weight="bold", va="bottom")


def _places() -> list[Line2D]:
    return [
        Line2D([], [], color=PAPER, mec=INK, marker="o", ls="", ms=6, label="host"),
        Line2D([], [], color=_HUE, mec=INK, marker="o", ls="", ms=6, label="guest"),
    ]


# ---------------------------------------------------------------------------------------------------------- lateness


def lateness_figure(lanes: Sequence[LatenessLane], name: str) -> str:
    """How late each kind of event came, in degrees of crank angle, as an ``<svg>`` element: a lane per kind.

    Raises ValueError when no lane has an event.
    """
    drawn = [each for lane in lanes for each in (lane.host, lane.guest) if each and each.histogram_deg]
    if not drawn:
        raise ValueError(f"Figure '{name}' has no event to draw.")
    tolerances = [lane.tolerance_deg for lane in lanes if lane.tolerance_deg]
    edges = _edges(drawn, max(tolerances, default=0.0))
    with drawn_as(name):
        top, bottom = 0.74, 0.46
        height = top + bottom + (_LANE_INCHES + _GAP_INCHES) * len(lanes) - _GAP_INCHES
        figure = Figure(figsize=(WIDTH_INCHES, height))
        axes: list[Axes] = []
        for number, lane in enumerate(lanes):
            under = height - top - number * (_LANE_INCHES + _GAP_INCHES) - _LANE_INCHES
            shared = axes[0] if axes else None
            box = (0.17, under / height, 0.55, _LANE_INCHES / height)
            axes.append(figure.add_axes(box, sharex=shared, sharey=shared))
            _draw_lane(axes[-1], lane, edges)
        _dress_lanes(axes, edges)
        _legend(figure, _lane_legend())
        return inline(figure, name, "Lateness of an engine controller's events in degrees of crank angle")


def _edges(kinds: Sequence[EventKind], mark_deg: float) -> np.ndarray:
    """Bins that grow with lateness, made of the hundredths of a degree that were counted."""
    first = min(min(kind.histogram_deg) for kind in kinds)
    last = max([mark_deg, *(max(kind.max_deg, *kind.histogram_deg) for kind in kinds)])
    edges = [max(1, math.floor(first / _CENTIDEGREE / 1.25))]
    while edges[-1] * _CENTIDEGREE < last * 1.2:
        edges.append(max(edges[-1] + 1, math.ceil(edges[-1] * 10 ** (1 / _BINS_PER_DECADE))))
    # half a step lower, so that no count lies on an edge
    return (np.array(edges) - 0.5) * _CENTIDEGREE


def _draw_lane(ax: Axes, lane: LatenessLane, edges: np.ndarray) -> None:
    ax.set_yscale("log")
    for place, kind in (("host", lane.host), ("guest", lane.guest)):
        if kind is None or not kind.histogram_deg:
            continue
        late = np.maximum(list(kind.histogram_deg), edges[0] + 1e-9)  # on time: in the first bin
        counts, _ = np.histogram(late, bins=edges, weights=list(kind.histogram_deg.values()))
        heights = np.where(counts > 0, counts, 0.5)
        on_host = place == "host"
        ax.stairs(heights, edges, baseline=0.5, fill=True, color=_HUE, alpha=0.16 if on_host else 0.5, lw=0)
        ax.stairs(heights, edges, baseline=0.5, color=_HUE, lw=1.2, ls="-" if on_host else (0, (2.5, 1.2)))
        face = PAPER if on_host else _HUE
        latest = max(kind.max_deg, edges[0])
        ax.plot([latest], [0.95], marker="D", ms=5, color=face, mec=INK, mew=0.9, clip_on=False, zorder=5)
    if lane.tolerance_deg:
        ax.axvline(lane.tolerance_deg, color=HUES[1], lw=1.4, ls=(0, (4, 2)), zorder=4)
    ax.text(-0.1, 0.5, lane.label, transform=ax.transAxes, ha="right", va="center")
    for place, kind, y in (("host", lane.host, 0.7), ("guest", lane.guest, 0.3)):
        _lane_numbers(ax, place, kind, y)


def _lane_numbers(ax: Axes, place: str, kind: EventKind | None, y: float) -> None:
    ax.text(1.025, y, place, transform=ax.transAxes, va="center")
    if kind is None:
        ax.text(1.5, y, "not measured", transform=ax.transAxes, va="center", ha="right", color=FAINT, style="italic")
        return
    p99 = kind.quantile_deg(0.99)
    for x, text in ((1.22, f"{p99:.2f}"), (1.34, f"{kind.max_deg:.2f}"), (1.5, f"{kind.missed + kind.lost:,}")):
        ax.text(x, y, text, transform=ax.transAxes, va="center", ha="right", weight="bold")


def _dress_lanes(axes: Sequence[Axes], edges: np.ndarray) -> None:
    logarithmic(axes[0])
    axes[0].set_xlim(edges[0], edges[-1])
    for ax in axes:
        ax.set_ylim(bottom=0.5)
        ax.yaxis.set_major_locator(mpl.ticker.LogLocator(base=10, numticks=4))
        ax.yaxis.set_major_formatter(mpl.ticker.FuncFormatter(thousands))
        ax.yaxis.set_minor_locator(mpl.ticker.NullLocator())
        ax.grid(axis="both", color=FAINT, alpha=0.35, lw=0.6)
        ax.set_axisbelow(True)
        ax.tick_params(length=0, axis="y")
        ax.tick_params(length=3 if ax is axes[-1] else 0, axis="x", labelbottom=ax is axes[-1])
    for x, head in ((1.22, "p99"), (1.34, "max"), (1.5, "missed or lost")):
        axes[0].text(x, 1.06, head, transform=axes[0].transAxes, ha="right", va="bottom")
    axes[-1].set_xlabel("lateness in degrees of crank angle", labelpad=4)


def _lane_legend() -> list[Line2D | Patch]:
    hue = mpl.colors.to_rgb(_HUE)
    return [
        Patch(facecolor=(*hue, 0.16), edgecolor=_HUE, label="host"),
        Patch(facecolor=(*hue, 0.5), edgecolor=_HUE, ls="--", label="guest"),
        Line2D([], [], color=INK, marker="D", ls="", ms=5, label="latest (hollow: host)"),
        Line2D([], [], color=HUES[1], lw=1.4, ls=(0, (4, 2)), label="tolerance"),
    ]


def _legend(figure: Figure, handles: Sequence[Line2D | Patch]) -> None:
    figure.legend(
        handles=handles, loc="upper left", ncols=4, frameon=False, bbox_to_anchor=(0.14, 1.0), columnspacing=1.4
    )
