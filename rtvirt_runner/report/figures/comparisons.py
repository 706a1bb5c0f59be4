"""Figures of comparisons as inline SVG: bars of an ablation, and rows of latency ranges."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Polygon

from rtvirt_runner.analysis.comparisons import Ablation, MergedMeasurement, Spread
from rtvirt_runner.analysis.histogram import Histogram, summarize
from rtvirt_runner.report.figures.svg import (
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
_TORN_BEYOND = 3.0  # a bar longer than so many times the base line is truncated, so that the others stay legible
_Measure = Callable[[MergedMeasurement], int]
_BASE, _WORSE, _BETTER = HUES[0], HUES[1], HUES[2]


@dataclass(frozen=True)
class SpanRow:
    """One row of a figure of latency ranges."""

    label: str
    histogram: Histogram
    hue: int  # index of the page's hues
    hollow: bool  # drawn in the style of hosts
    new_group: bool = False  # whether there is extra space above the row


@dataclass(frozen=True)
class _Bar:
    label: str
    point: MergedMeasurement
    kind: str  # base, without or reference


def ablation_figure(ablation: Ablation, unit: str, name: str) -> str:
    """The effect of each setting as an ``<svg>`` element: bars of p99 and maximum, the full tuning as base line.

    Without repetitions all bars have the colour of the base line, since noise is unknown.
    """
    base = ablation.base.cell.tuning
    bars = [
        _Bar(base, ablation.base, "base"),
        *(_Bar(f"– {setting}", point, "without") for setting, point in ablation.without),
        *(_Bar(point.cell.tuning, point, "reference") for point in ablation.references),
    ]
    with drawn_as(name):
        top, bottom = 0.72, 0.42
        height = top + bottom + _ROW_INCHES * len(bars)
        figure = Figure(figsize=(WIDTH_INCHES, height))
        box = {"bottom": bottom / height, "height": _ROW_INCHES * len(bars) / height, "width": 0.335}
        for left, head, measure in ((0.2, "p99", _p99), (0.6, "max", _maximum)):
            ax = figure.add_axes((left, box["bottom"], box["width"], box["height"]))
            _draw_bars(ax, bars, measure, ablation)
            ax.text(0, 1.0 + 0.1 / box["height"] / height, head, transform=ax.transAxes, weight="bold", va="bottom")
            ax.set_xlabel(f"latency in {unit}", labelpad=4)
            if left == 0.2:
                for row, bar in enumerate(bars):
                    weight = "bold" if bar.kind == "base" else "normal"
                    ax.text(-0.03, row, bar.label, transform=in_rows(ax), ha="right", va="center", weight=weight)
        figure.legend(
            handles=_bar_legend(base, ablation.spread is not None),
            loc="upper left",
            ncols=4,
            frameon=False,
            bbox_to_anchor=(0.19, 1.0),
            columnspacing=1.4,
        )
        return inline(figure, name, f"What each setting of {base} buys, {name}")


def span_figure(rows: Sequence[SpanRow], unit: str, name: str, label: str, mark_us: int | None = None) -> str:
    """Rows of latency as an ``<svg>`` element: a line from minimum to maximum with average, p99 and maximum on it.

    ``mark_us`` draws a line to compare with. Raises ValueError when there is no row.
    """
    if not rows:
        raise ValueError(f"Figure '{name}' has no row to draw.")
    places, at = [], 0.0
    for number, row in enumerate(rows):
        at += 0.45 if number and row.new_group else 0.0
        places.append(at)
        at += 1.0
    with drawn_as(name):
        top, bottom = 0.72, 0.46
        height = top + bottom + _ROW_INCHES * at
        figure = Figure(figsize=(WIDTH_INCHES, height))
        ax = figure.add_axes((0.26, bottom / height, 0.5, _ROW_INCHES * at / height))
        ax.set_ylim(at - 0.5, -0.5)
        for row, y in zip(rows, places, strict=True):
            _draw_span(ax, row, y)
        marks = [mark_us] if mark_us else []
        low = max(1, min(row.histogram.min_us for row in rows))
        high = max([*(row.histogram.max_us for row in rows), *marks])
        logarithmic(ax)
        ax.set_xlim(low / 1.15, high * 1.15)
        plain(ax)
        ax.set_xlabel(f"latency in {unit}", labelpad=4)
        above = 1.0 + 0.07 / (_ROW_INCHES * at)
        for x, head in ((1.13, "avg"), (1.28, "p99"), (1.43, "max")):
            ax.text(x, above, head, transform=ax.transAxes, ha="right", va="bottom")
        if mark_us:
            ax.axvline(mark_us, color=INK, lw=1.1, ls=(0, (4, 2)), zorder=1)
            ax.text(mark_us, -0.5, f"{mark_us:,} ", va="bottom", ha="right", transform=ax.transData, color=INK)
        figure.legend(
            handles=_span_legend(any(row.hollow for row in rows)),
            loc="upper left",
            ncols=4,
            frameon=False,
            bbox_to_anchor=(0.25, 1.0),
            columnspacing=1.4,
        )
        return inline(figure, name, label)


# -------------------------------------------------------------------------------------------------------------- bars


def _draw_bars(ax: Axes, bars: Sequence[_Bar], measure: _Measure, ablation: Ablation) -> None:
    base = measure(ablation.base)
    noise = _noise(ablation.spread, measure)
    values = [measure(bar.point) for bar in bars]
    whole = [value for value in values if value <= _TORN_BEYOND * base] or [base]
    limit = max(1.0, 1.12 * max(max(whole), base + (noise or 0)))
    torn = any(value > limit for value in values)
    ax.set_xlim(0, limit * (1.08 if torn else 1.0))
    ax.set_ylim(len(bars) - 0.5, -0.5)
    if noise:
        ax.axvspan(max(0, base - noise), base + noise, color=FAINT, alpha=0.3, lw=0, zorder=0)
    ax.axvline(base, color=INK, lw=1.0, ls=(0, (3, 2)), zorder=3)
    for row, (bar, value) in enumerate(zip(bars, values, strict=True)):
        colour, alpha = _bar_colour(bar, value - base, _noise(ablation.noise(bar.point), measure))
        length = min(value, ax.get_xlim()[1])
        ax.barh(row, length, height=0.66, color=colour, alpha=alpha, lw=0, zorder=2)
        if value > length:
            _tear(ax, row)
        text = f"≥ {value:,}" if measure is _p99 and bar.point.summary.p99 is None else f"{value:,}"
        weight = "bold" if bar.kind == "base" else "normal"
        ax.text(1.14, row, text, transform=in_rows(ax), ha="right", va="center", weight=weight)
    plain(ax)
    ax.xaxis.set_major_locator(mpl.ticker.MaxNLocator(5, integer=True))
    ax.xaxis.set_major_formatter(mpl.ticker.FuncFormatter(thousands))


def _noise(spread: Spread | None, measure: _Measure) -> int | None:
    return (spread.p99_us if measure is _p99 else spread.max_us) if spread else None


def _p99(point: MergedMeasurement) -> int:
    return point.p99_us


def _maximum(point: MergedMeasurement) -> int:
    return point.histogram.max_us


def _bar_colour(bar: _Bar, difference: int, noise: int | None) -> tuple[str, float]:
    if bar.kind == "reference":
        return FAINT, 0.9
    if bar.kind == "base":
        return _BASE, 0.95
    if noise is None or abs(difference) <= noise:
        return _BASE, 0.45
    return (_WORSE, 0.85) if difference > 0 else (_BETTER, 0.85)


def _tear(ax: Axes, row: int) -> None:
    """Draw two slanted gaps near the end of a truncated bar."""
    for x in (0.93, 0.955):
        corners = [(x - 0.012, row + 0.4), (x + 0.004, row + 0.4), (x + 0.012, row - 0.4), (x - 0.004, row - 0.4)]
        ax.add_patch(Polygon(corners, transform=in_rows(ax), color=PAPER, lw=0, zorder=4))


def _bar_legend(base: str, repeated: bool) -> list[Line2D | Patch]:
    pale = (*mpl.colors.to_rgb(_BASE), 0.45)
    if not repeated:
        return [
            Line2D([], [], color=INK, lw=1.0, ls=(0, (3, 2)), label=f"{base}, the base line"),
            Patch(facecolor=pale, label="– without that setting"),
            Patch(facecolor=FAINT, label="other tunings"),
        ]
    return [
        Line2D([], [], color=INK, lw=1.0, ls=(0, (3, 2)), label=f"{base} (grey: its repetitions)"),
        Patch(facecolor=_WORSE, label="– worse without"),
        Patch(facecolor=_BETTER, label="– better without"),
        Patch(facecolor=pale, label="– no difference"),
    ]


# ------------------------------------------------------------------------------------------------------------- spans


def _draw_span(ax: Axes, row: SpanRow, y: float) -> None:
    hue, histogram = HUES[row.hue % len(HUES)], row.histogram
    summary = summarize(histogram)
    p99 = histogram.limit_us if summary.p99 is None else summary.p99
    low = max(1, histogram.min_us)
    ax.plot([low, max(low, histogram.max_us)], [y, y], color=hue, lw=1.6, alpha=0.75, solid_capstyle="butt", zorder=2)
    if summary.p50 is not None:
        ax.plot([low, max(low, p99)], [y, y], color=hue, lw=6, alpha=0.3, solid_capstyle="butt", zorder=2)
    face = PAPER if row.hollow else hue
    ax.plot([max(1, histogram.avg_us)], [y], marker="o", ms=5.5, color=face, mec=INK, mew=0.9, zorder=4)
    ax.plot([p99], [y], marker="|", ms=11, mec=INK, mew=1.4, ls="", zorder=3)
    ax.plot([histogram.max_us], [y], marker="D", ms=5, color=face, mec=INK, mew=0.9, zorder=4, clip_on=False)
    ax.text(-0.02, y, row.label, transform=in_rows(ax), ha="right", va="center")
    bound = f"≥ {p99:,}" if summary.p99 is None else f"{p99:,}"
    for x, text in ((1.13, f"{histogram.avg_us:,.0f}"), (1.28, bound), (1.43, f"{histogram.max_us:,}")):
        ax.text(x, y, text, transform=in_rows(ax), ha="right", va="center", weight="bold")


def _span_legend(with_host: bool) -> list[Line2D]:
    host = [Line2D([], [], color=PAPER, mec=INK, marker="o", ls="", ms=5.5, label="hollow: host")]
    marks = [
        Line2D([], [], color=INK, marker="o", ls="", ms=5.5, label="average"),
        Line2D([], [], color=INK, marker="|", ls="", ms=11, mew=1.4, label="p99, thick up to it"),
        Line2D([], [], color=INK, marker="D", ls="", ms=5, label="maximum"),
    ]
    return marks + (host if with_host else [])
