"""Figures of comparisons: bars of an ablation, and rows of latency ranges."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from rtvirt_runner.analysis.comparisons import Ablation, MergedMeasurement
from rtvirt_runner.analysis.effects import Finding
from rtvirt_runner.analysis.histogram import Histogram, summarize
from rtvirt_runner.report.figures.drawing import (
    FAINT,
    HUES,
    INK,
    PAPER,
    SMALL,
    SOFT,
    Axis,
    Canvas,
    Drawing,
    Key,
    box_key,
    diamond_key,
    dot_key,
    fitting,
    legend,
    line_key,
    text_width,
)

ROW = 25.0
_TORN_BEYOND = 3.0  # a bar longer than so many times the base line is cut off, so that the others stay legible
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
    finding: Finding | None = None  # of its p99 against the base's; None where it is not judged


def ablation_figure(ablation: Ablation, found: Mapping[str, Finding], unit: str, name: str) -> Drawing:
    """The effect of each setting: bars of p99 and maximum, the full tuning as base line.

    ``found`` has what is said of p99 by setting: it colours the bars of p99 and gives them their intervals. The latest
    wake-up is not judged.
    """
    base = ablation.base.cell.tuning
    bars = [
        _Bar(base, ablation.base, "base"),
        *(_Bar(f"– {setting}", point, "without", found.get(setting)) for setting, point in ablation.without),
        *(_Bar(point.cell.tuning, point, "reference") for point in ablation.references),
    ]

    def draw(width: float, narrow: bool) -> Canvas:
        canvas = Canvas(width)
        labels = min(0.42 * width, 14 + max(text_width(bar.label) for bar in bars))
        top = (
            legend(
                canvas,
                _bar_legend(base, any(each.simultaneous for each in found.values())),
                0 if narrow else labels,
                0.0,
            )
            + 12
        )
        if narrow:
            for head, measure in (("p99", _p99), ("max", _maximum)):
                top = _bars(canvas, (0, width), top, labels, head, unit, bars, measure, ablation) + 16
        else:
            half = (width - labels) / 2 - 10
            _bars(canvas, (0, labels + half), top, labels, "p99", unit, bars, _p99, ablation)
            left = labels + half + 20
            top = _bars(canvas, (left, width), top, 0, "max", unit, bars, _maximum, ablation)
        canvas.height = top
        return canvas

    return Drawing(name, f"What each setting of {base} buys, {name}", draw)


def span_figure(rows: Sequence[SpanRow], unit: str, name: str, label: str, mark_us: int | None = None) -> Drawing:
    """Rows of latency: a line from minimum to maximum with average, p99 and maximum on it.

    ``mark_us`` draws a line to compare with. Raises ValueError when there is no row.
    """
    if not rows:
        raise ValueError(f"Figure '{name}' has no row to draw.")
    return Drawing(name, label, lambda width, narrow: _spans(rows, unit, mark_us, width, narrow))


# -------------------------------------------------------------------------------------------------------------- bars


def _bars(
    canvas: Canvas,
    across: tuple[float, float],
    top: float,
    labels: float,
    head: str,
    unit: str,
    bars: Sequence[_Bar],
    measure: _Measure,
    ablation: Ablation,
) -> float:
    """One panel, from ``top`` on; the y below it."""
    base = measure(ablation.base)
    values = [measure(bar.point) for bar in bars]
    shown = [value for value in values if value <= _TORN_BEYOND * base] or [base]
    limit = max(1.0, 1.12 * max(shown))
    torn = any(value > limit for value in values)
    axis = Axis(0, limit * (1.1 if torn else 1.0), across[0] + labels, across[1] - 62, logarithmic=False)
    canvas.text(axis.left, top, head, bold=True)
    top += 14
    bottom = top + ROW * len(bars)
    axis.grid(canvas, top, bottom)
    for row, (bar, value) in enumerate(zip(bars, values, strict=True)):
        y = top + ROW * (row + 0.5)
        finding = bar.finding if measure is _p99 else None
        colour, opacity = _bar_colour(bar, finding)
        canvas.bar(axis.left, axis(value), y, 0.66 * ROW, colour, opacity)
        if value > axis.high:
            _tear(canvas, axis, y)
        if finding and finding.simultaneous:
            _interval(canvas, axis, y, base * finding.simultaneous.low, base * finding.simultaneous.high)
        text = f"≥ {value:,}" if measure is _p99 and bar.point.summary.p99 is None else f"{value:,}"
        canvas.text(across[1] - 2, y, text, "end", bold=bar.kind == "base")
        if labels:
            canvas.text(axis.left - 8, y, fitting(bar.label, labels - 8), "end", bold=bar.kind == "base")
    canvas.line((axis(base), top), (axis(base), bottom), dash=(3, 2))
    axis.numbers(canvas, bottom + 12)
    canvas.text((axis.left + axis.right) / 2, bottom + 30, f"latency in {unit}", "middle", SMALL)
    return bottom + 42


def _p99(point: MergedMeasurement) -> int:
    return point.p99_us


def _maximum(point: MergedMeasurement) -> int:
    return point.histogram.max_us


def _bar_colour(bar: _Bar, finding: Finding | None) -> tuple[str, float]:
    if bar.kind == "reference":
        return FAINT, 0.9
    if bar.kind == "base":
        return _BASE, 0.95
    if finding and finding.call == "higher":
        return _WORSE, 0.85
    return (_BETTER, 0.85) if finding and finding.call == "lower" else (_BASE, 0.45)


def _interval(canvas: Canvas, axis: Axis, y: float, low: float, high: float) -> None:
    """A line from end to end of an interval; an end beyond the axis has no stroke."""
    ends = [axis(min(max(each, axis.low), axis.high)) for each in (low, high)]
    canvas.line((ends[0], y), (ends[1], y), width=1.3)
    for end, value in zip(ends, (low, high), strict=True):
        if axis.low <= value <= axis.high:
            canvas.line((end, y - 4), (end, y + 4), width=1.3)


def _tear(canvas: Canvas, axis: Axis, y: float) -> None:
    """Draw two slanted gaps near the end of a bar that is cut off."""
    for x in (axis.right - 16, axis.right - 9):
        canvas.area((x - 3, y + 10), (x + 1, y + 10), (x + 3, y - 10), (x - 1, y - 10), fill=PAPER)


def _bar_legend(base: str, judged: bool) -> list[Key]:
    others = box_key(FAINT, 0.9, text="other tunings")
    if not judged:
        return [
            line_key(f"{base}, the base line", dash=(3, 2)),
            box_key(_BASE, 0.45, text="– without that setting"),
            others,
        ]
    return [
        line_key(f"{base}, the base line", dash=(3, 2)),
        box_key(_WORSE, 0.85, text="– p99 later without"),
        box_key(_BETTER, 0.85, text="– p99 earlier without"),
        box_key(_BASE, 0.45, text="– no difference found"),
        others,
    ]


# ------------------------------------------------------------------------------------------------------------- spans

_SPAN_COLUMN = 66.0


def _spans(rows: Sequence[SpanRow], unit: str, mark_us: int | None, width: float, narrow: bool) -> Canvas:
    canvas = Canvas(width)
    heads = ("avg", "p99", "max")
    column = 56.0 if narrow else _SPAN_COLUMN
    longest = max(text_width(row.label) for row in rows)
    left = 0.0 if narrow else min(0.38 * width, longest + 14)
    right = width - 8 if narrow else width - 3 * column
    top = legend(canvas, _span_legend(any(row.hollow for row in rows)), left, 0.0) + 12
    for number, head in enumerate(reversed(heads)):
        canvas.text(width - 2 - number * column, top, head, "end", SMALL, colour=SOFT)
    low = max(1, min(row.histogram.min_us for row in rows))
    high = max([*(row.histogram.max_us for row in rows), *([mark_us] if mark_us else []), 2 * low])
    axis = Axis(low / 1.15, high * 1.15, left + 4, right)
    top += 14
    own_line = 17.0 if narrow and longest > width - 3 * column - 8 else 0.0  # for labels
    height = 42.0 + own_line if narrow else ROW
    places, bottom = [], top
    for number, row in enumerate(rows):
        bottom += 0.45 * ROW if number and row.new_group else 0.0
        places.append(bottom + (30 + own_line if narrow else ROW / 2))
        bottom += height
    axis.grid(canvas, top, bottom)
    if mark_us:
        x = axis(mark_us)
        canvas.line((x, top - 4), (x, bottom), width=1.1, dash=(4, 2))
        canvas.text(x - 5, top - 6, f"{mark_us:,}", "end", SMALL)
    for row, y in zip(rows, places, strict=True):
        _span(canvas, row, y, axis)
        beside = y - 16 if narrow else y
        label = fitting(row.label, width if narrow else left - 8)
        canvas.text(0 if narrow else left - 6, beside - own_line, label, "start" if narrow else "end")
        for number, text in enumerate(reversed(_numbers(row.histogram))):
            canvas.text(width - 2 - number * column, beside, text, "end", bold=True)
    axis.numbers(canvas, bottom + 12)
    canvas.text((axis.left + axis.right) / 2, bottom + 30, f"latency in {unit}", "middle", SMALL)
    canvas.height = bottom + 42
    return canvas


def _span(canvas: Canvas, row: SpanRow, y: float, axis: Axis) -> None:
    hue, histogram = HUES[row.hue % len(HUES)], row.histogram
    p99 = summarize(histogram).p99
    at_p99 = axis(histogram.limit_us if p99 is None else p99)
    start = axis(max(1, histogram.min_us))
    canvas.line((start, y), (axis(histogram.max_us), y), stroke=hue, width=1.8, opacity=0.75)
    canvas.bar(start, max(start, at_p99), y, 8, hue, 0.3)
    canvas.line((at_p99, y - 8), (at_p99, y + 8), width=1.6)
    face = PAPER if row.hollow else hue
    canvas.dot(axis(max(1.0, histogram.avg_us)), y, face)
    canvas.diamond(axis(histogram.max_us), y, face)


def _numbers(histogram: Histogram) -> tuple[str, str, str]:
    p99 = summarize(histogram).p99
    bound = f"≥ {histogram.limit_us:,}" if p99 is None else f"{p99:,}"
    return f"{histogram.avg_us:,.0f}", bound, f"{histogram.max_us:,}"


def _span_legend(with_host: bool) -> list[Key]:
    marks = [
        dot_key("average", INK),
        line_key("p99, thick up to it", upright=True),
        diamond_key("maximum"),
    ]
    return marks + ([dot_key("hollow: host", PAPER)] if with_host else [])
