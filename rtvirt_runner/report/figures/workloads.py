"""Figures of workloads as inline SVG: slowdown beside latency, and the lateness of an engine controller."""

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

from rtvirt_runner.analysis.histogram import Histogram, summarize
from rtvirt_runner.parsers.ecu import EXACT_BELOW_DEG, EventKind
from rtvirt_runner.report.figures.svg import (
    FAINT,
    HUES,
    INK,
    PAPER,
    WIDTH_INCHES,
    count_lane,
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


def slowdown_figure(rows: Sequence[SlowdownRow], unit: str, name: str) -> str:
    """Three columns with a row per workload, as an ``<svg>`` element: slowdown, p99 and maximum from host to guest.

    Raises ValueError when there is no row.
    """
    if not rows:
        raise ValueError(f"Figure '{name}' has no row to draw.")
    with drawn_as(name):
        figure, (slowdown, *latencies) = _columns([row.label for row in rows])
        _draw_slowdowns(slowdown, rows)
        low = max(1, min(_p99_us(each) for row in rows for each in (row.host, row.guest)))
        high = max(each.max_us for row in rows for each in (row.host, row.guest))
        for ax, measure, head in zip(latencies, (_p99_us, _max_us), ("p99", "max"), strict=True):
            _draw_latencies(ax, rows, measure, f"{head}, {unit}")
            logarithmic(ax, (1,) if high > 100 * low else (1, 3))
            ax.set_xlim(low / 1.4, high * 1.4)  # on one scale, so that they compare
        _legend(figure, _places())
        return inline(figure, name, "Slowdown of workloads in the guest, and latency meanwhile")


def _columns(labels: Sequence[str]) -> tuple[Figure, list[Axes]]:
    """Three columns of axes, with room for the labels left of them and for their numbers right of each."""
    left = min(4.5, max(1.2, 0.25 + 0.076 * max(len(label) for label in labels)))
    top, bottom, rooms = 0.82, 0.46, (0.9, 1.6, 1.46)
    height, width = top + bottom + _ROW_INCHES * len(labels), (WIDTH_INCHES - left - sum(rooms)) / 3
    figure = Figure(figsize=(WIDTH_INCHES, height))
    axes = []
    for number in range(3):
        x = left + number * width + sum(rooms[:number])
        box = (x / WIDTH_INCHES, bottom / height, width / WIDTH_INCHES, _ROW_INCHES * len(labels) / height)
        axes.append(figure.add_axes(box))
        axes[-1].set_ylim(len(labels) - 0.5, -0.5)
        plain(axes[-1])
    for y, label in enumerate(labels):
        _beside(axes[0], -0.09, y, label)
    return figure, axes


def _beside(ax: Axes, inches: float, y: float, text: str, weight: str = "normal") -> None:
    """Write text that ends so many inches right of the axes, or left of them (negative)."""
    width = ax.get_position().width * WIDTH_INCHES
    x = inches / width + (1 if inches > 0 else 0)
    ax.text(x, y, text, transform=in_rows(ax), ha="right", va="center", weight=weight)


def _draw_slowdowns(ax: Axes, rows: Sequence[SlowdownRow]) -> None:
    values = [row.slowdown for row in rows]
    low, high = min(1.0, *values), max(1.1, *values)
    room = 0.08 * (high - low)
    ax.set_xlim(low - room, high + room)
    ax.axvline(1.0, color=INK, lw=1.0, ls=(0, (3, 2)), zorder=1)
    for y, value in enumerate(values):
        ax.plot([1.0, value], [y, y], color=_HUE, lw=3, alpha=0.45, solid_capstyle="butt", zorder=2)
        ax.plot([value], [y], marker="o", ms=6, color=_HUE, mec=INK, mew=0.9, zorder=3)
        _beside(ax, 0.66, y, f"{value:.2f} ×", "bold")
    ax.xaxis.set_major_locator(mpl.ticker.MaxNLocator(3, steps=[1, 2, 5, 10], min_n_ticks=2))
    ax.xaxis.set_major_formatter(mpl.ticker.FuncFormatter(lambda value, _: f"{value:.4g} ×"))
    _head(ax, len(rows), "slowdown")


def _draw_latencies(ax: Axes, rows: Sequence[SlowdownRow], measure: Callable[[Histogram], int], head: str) -> None:
    for y, row in enumerate(rows):
        host, guest = measure(row.host), measure(row.guest)
        ax.plot([host, guest], [y, y], color=_HUE, lw=3, alpha=0.45, solid_capstyle="butt", zorder=2)
        ax.plot([host], [y], marker="o", ms=6, color=PAPER, mec=INK, mew=0.9, zorder=3)
        ax.plot([guest], [y], marker="o", ms=6, color=_HUE, mec=INK, mew=0.9, zorder=4)
        _beside(ax, 0.6, y, _quantity(row.host, measure))
        _beside(ax, 1.38, y, _quantity(row.guest, measure), "bold")
    _head(ax, len(rows), head)
    for inches, place in ((0.6, "host"), (1.38, "guest")):
        _beside(ax, inches, -0.84, place)


def _quantity(histogram: Histogram, measure: Callable[[Histogram], int]) -> str:
    bound = measure is _p99_us and summarize(histogram).p99 is None
    return f"≥ {histogram.limit_us:,}" if bound else f"{measure(histogram):,}"


def _p99_us(histogram: Histogram) -> int:
    p99 = summarize(histogram).p99
    return histogram.limit_us if p99 is None else p99


def _max_us(histogram: Histogram) -> int:
    return histogram.max_us


def _head(ax: Axes, rows: int, text: str) -> None:
    ax.text(0, 1 + 0.25 / (_ROW_INCHES * rows), text, transform=ax.transAxes, weight="bold", va="bottom")


def _places() -> list[Line2D]:
    return [
        Line2D([], [], color=PAPER, mec=INK, marker="o", ls="", ms=6, label="host"),
        Line2D([], [], color=_HUE, mec=INK, marker="o", ls="", ms=6, label="guest"),
    ]


# ---------------------------------------------------------------------------------------------------------- lateness


def lateness_figure(lanes: Sequence[LatenessLane], unit: str, name: str, emulated: bool = False) -> str:
    """How late each kind of event came, as an ``<svg>`` element: a lane per kind; ``unit`` is the degrees', in words.

    ``emulated``: QEMU emulated the guest, without KVM.
    Raises ValueError when no lane has an event.
    """
    drawn = [each for lane in lanes for each in (lane.host, lane.guest) if each and each.histogram_deg]
    if not drawn:
        raise ValueError(f"Figure '{name}' has no event to draw.")
    tolerances = [lane.tolerance_deg for lane in lanes if lane.tolerance_deg]
    edges = _edges(drawn, max(tolerances, default=0.0))
    with drawn_as(name):
        top, bottom = 0.78, 0.46
        height = top + bottom + (_LANE_INCHES + _GAP_INCHES) * len(lanes) - _GAP_INCHES
        figure = Figure(figsize=(WIDTH_INCHES, height))
        axes: list[Axes] = []
        for number, lane in enumerate(lanes):
            under = height - top - number * (_LANE_INCHES + _GAP_INCHES) - _LANE_INCHES
            shared = axes[0] if axes else None
            box = (0.17, under / height, 0.55, _LANE_INCHES / height)
            axes.append(figure.add_axes(box, sharex=shared, sharey=shared))
            _draw_lane(axes[-1], lane, edges)
        _dress_lanes(axes, edges, unit)
        _legend(figure, _lane_legend("guest, emulated" if emulated else "guest"))
        return inline(figure, name, "Lateness of an engine controller's events in degrees of crank angle")


def _edges(kinds: Sequence[EventKind], mark_deg: float) -> np.ndarray:
    """Bin edges in degrees, growing with lateness, made of the hundredths of a degree that were counted."""
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
        _lane_numbers(ax, lane, place, kind, y)


def _lane_numbers(ax: Axes, lane: LatenessLane, place: str, kind: EventKind | None, y: float) -> None:
    ax.text(1.025, y, place, transform=ax.transAxes, va="center")
    if kind is None:
        ax.text(1.5, y, "not measured", transform=ax.transAxes, va="center", ha="right", color=FAINT, style="italic")
        return
    p99 = kind.quantile_deg(0.99)
    faults = kind.lost + (kind.missed if lane.tolerance_deg else 0)
    for x, text in (
        (1.22, f"{p99:.2f}" if p99 < EXACT_BELOW_DEG else f"≥ {p99:.0f}"),
        (1.34, f"{kind.max_deg:.2f}"),
        (1.5, f"{faults:,}"),
    ):
        ax.text(x, y, text, transform=ax.transAxes, va="center", ha="right", weight="bold")


def _dress_lanes(axes: Sequence[Axes], edges: np.ndarray, unit: str) -> None:
    logarithmic(axes[0])
    axes[0].set_xlim(edges[0], edges[-1])
    for ax in axes:
        count_lane(ax, thousands, ax is axes[-1])
        ax.tick_params(axis="x", labelbottom=ax is axes[-1])
    for x, y, head in ((1.22, 1.06, "p99"), (1.34, 1.06, "max"), (1.5, 1.06, "or lost"), (1.34, 1.3, "degrees")):
        axes[0].text(x, y, head, transform=axes[0].transAxes, ha="right", va="bottom")
    axes[0].text(1.5, 1.3, "missed", transform=axes[0].transAxes, ha="right", va="bottom")
    axes[-1].set_xlabel(f"lateness in {unit}", labelpad=4)


def _lane_legend(guest: str) -> list[Line2D | Patch]:
    hue = mpl.colors.to_rgb(_HUE)
    return [
        Patch(facecolor=(*hue, 0.16), edgecolor=_HUE, label="host"),
        Patch(facecolor=(*hue, 0.5), edgecolor=_HUE, ls="--", label=guest),
        Line2D([], [], color=INK, marker="D", ls="", ms=5, label="latest (hollow: host)"),
        Line2D([], [], color=HUES[1], lw=1.4, ls=(0, (4, 2)), label="tolerance"),
    ]


def _legend(figure: Figure, handles: Sequence[Line2D | Patch]) -> None:
    figure.legend(
        handles=handles, loc="upper left", ncols=4, frameon=False, bbox_to_anchor=(0.14, 1.0), columnspacing=1.4
    )
