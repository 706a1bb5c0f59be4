"""Lanes: histograms one above the other on a common axis, host and guest over each other, numbers beside them."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from rtvirt_runner.report.figures.drawing import (
    FAINT,
    HUES,
    INK,
    LETTER,
    PAPER,
    SMALL,
    SOFT,
    TEXT,
    Axis,
    Canvas,
    Key,
    Point,
    box_key,
    fitting,
    legend,
)

_DASH = (4.0, 2.0)
_FLOOR = 0.5  # below one sample: the floor of the axis of counts
_WIDE_LANE, _NARROW_LANE = 78.0, 62.0
_LABEL_WIDTH, _COUNTS_WIDTH = 142.0, 34.0
_PLACE_WIDTH, _NUMBER_WIDTH = 50.0, 62.0


@dataclass(frozen=True)
class Curve:
    """The histogram of one place."""

    heights: np.ndarray  # samples per bin
    p99: float | None  # None: beyond the histogram
    latest: float
    numbers: tuple[str, ...]  # one per column


@dataclass(frozen=True)
class Lane:
    """Host and guest; None where it was not measured."""

    group: str  # heading above the first lane that has it
    label: tuple[str, ...]  # lines
    hue: str
    host: Curve | None
    guest: Curve | None
    limit: float | None = None  # a line that samples should not cross


@dataclass(frozen=True)
class Lanes:
    """Lanes with what they share."""

    lanes: Sequence[Lane]
    edges: np.ndarray  # of bins
    logarithmic: bool
    columns: tuple[str, ...]  # heads of the numbers
    unit: str  # of the columns
    axis_label: str
    keys: Sequence[Key]  # of the legend, after host and guest
    counted: str = "wake-ups"  # what the upright axis counts
    guest: str = "guest"  # what the legend calls it
    shown: Callable[[float], str] | None = None  # how a tick is written

    def draw(self, width: float, narrow: bool) -> Canvas:
        """All lanes on a canvas."""
        canvas = Canvas(width)
        keys = [box_key(INK, 0.15, (), "host"), box_key(INK, 0.4, _DASH, self.guest), *self.keys]
        left = 0.0 if narrow else _LABEL_WIDTH + _COUNTS_WIDTH
        right = width - 12 if narrow else width - _PLACE_WIDTH - _NUMBER_WIDTH * len(self.columns)
        y = legend(canvas, keys, left, 0.0) + 8
        axis = Axis(float(self.edges[0]), float(self.edges[-1]), left + 4, right, self.logarithmic)
        if not narrow:
            y = self._heads(canvas, y)
        curves = [curve for lane in self.lanes for curve in (lane.host, lane.guest) if curve]
        most = max(float(curve.heights.max(initial=1.0)) for curve in curves)
        top = 10 ** math.ceil(math.log10(max(2.0, most)) * 1.05)
        for number, lane in enumerate(self.lanes):
            if lane.group and (number == 0 or self.lanes[number - 1].group != lane.group):
                canvas.text(left if not narrow else 0, y + 8, lane.group, bold=True)
                y += 21
            if number == 0 and not narrow:
                canvas.text(axis.left - 12, y - 13, self.counted, "end", 10, colour=SOFT)
            y = self._lane(canvas, lane, axis, y, top, narrow)
            last = number + 1 == len(self.lanes) or self.lanes[number + 1].group != lane.group
            if last:
                axis.numbers(canvas, y - 4, self.shown)
                y += 16
        canvas.text((axis.left + axis.right) / 2, y, self.axis_label, "middle", SMALL)
        canvas.height = y + 10
        return canvas

    def _heads(self, canvas: Canvas, y: float) -> float:
        canvas.text(canvas.width - 2, y, self.unit, "end", SMALL, colour=SOFT)
        for number, head in enumerate(reversed(self.columns)):
            canvas.text(canvas.width - 2 - number * _NUMBER_WIDTH, y + 16, head, "end", SMALL, colour=SOFT)
        return y + 6

    def _lane(self, canvas: Canvas, lane: Lane, axis: Axis, y: float, top: float, narrow: bool) -> float:
        height = _NARROW_LANE if narrow else _WIDE_LANE
        if narrow:
            y = self._words_above(canvas, lane, y)
        bottom = y + height

        def up(count: float) -> float:
            return bottom - height * math.log(max(count, _FLOOR) / _FLOOR) / math.log(top / _FLOOR)

        axis.grid(canvas, y, bottom)
        for decade in range(0, round(math.log10(top)) + 1, 1 if top <= 1000 else 2):
            line = up(10.0**decade)
            canvas.line((axis.left, line), (axis.right, line), stroke=FAINT, width=0.7, opacity=0.45)
            if not narrow:
                canvas.text(axis.left - 7, line, _count(10.0**decade), "end", 10, colour=SOFT)
        canvas.line((axis.left, bottom), (axis.right, bottom), stroke=FAINT)
        for curve, on_host in ((lane.host, True), (lane.guest, False)):
            if curve:
                _draw_curve(canvas, curve, [axis(edge) for edge in self.edges], up, lane.hue, on_host)
        if lane.limit is not None:
            canvas.line((axis(lane.limit), y), (axis(lane.limit), bottom), stroke=HUES[1], width=1.4, dash=(4, 2))
        for curve, on_host in ((lane.host, True), (lane.guest, False)):
            if curve:
                if curve.p99 is not None:
                    x = axis(curve.p99)
                    canvas.line((x, up(_FLOOR)), (x, up(40)), width=1.6, dash=() if on_host else (2, 1.5))
                canvas.diamond(axis(curve.latest), up(0.95), PAPER if on_host else lane.hue)
        if not narrow:
            self._words_beside(canvas, lane, y, bottom)
        return bottom + 16

    def _words_beside(self, canvas: Canvas, lane: Lane, y: float, bottom: float) -> None:
        letters = int(_LABEL_WIDTH / (LETTER * TEXT))
        lines = [part for line in lane.label for part in textwrap.wrap(line, letters)]
        middle = (y + bottom) / 2
        for number, line in enumerate(lines):
            canvas.text(_LABEL_WIDTH - 4, middle + 16 * (number - (len(lines) - 1) / 2), line, "end")
        numbers_left = canvas.width - _PLACE_WIDTH - _NUMBER_WIDTH * len(self.columns)
        for place, curve, at in (("host", lane.host, middle - 9), ("guest", lane.guest, middle + 9)):
            canvas.text(numbers_left + 12, at, place, colour=SOFT)
            if curve is None:
                canvas.text(canvas.width - 2, at, "not measured", "end", colour=SOFT, italic=True)
                continue
            for number, text in enumerate(reversed(curve.numbers)):
                canvas.text(canvas.width - 2 - number * _NUMBER_WIDTH, at, text, "end", bold=True)

    def _words_above(self, canvas: Canvas, lane: Lane, y: float) -> float:
        canvas.text(0, y + 6, fitting(", ".join(lane.label), canvas.width))
        y += 23
        for place, curve in (("host", lane.host), ("guest", lane.guest)):
            canvas.text(0, y, place, size=SMALL, colour=SOFT)
            if curve is None:
                canvas.text(canvas.width - 2, y, "not measured", "end", SMALL, italic=True, colour=SOFT)
            else:
                step = (canvas.width - 60) / len(self.columns)
                for number, (head, text) in enumerate(zip(self.columns, curve.numbers, strict=True), 1):
                    canvas.text(58 + step * number, y, text, "end", SMALL, bold=True)
                    x = 58 + step * number - LETTER * SMALL * 1.12 * len(text) - 6
                    canvas.text(x, y, head, "end", SMALL, colour=SOFT)
            y += 16
        return y - 4


def counted(values: Iterable[float], counts: Iterable[int], edges: np.ndarray) -> np.ndarray:
    """Samples per bin."""
    return np.histogram(np.fromiter(values, float), bins=edges, weights=np.fromiter(counts, float))[0]


def growing_edges(first: float, last: float, step: float, bins_per_decade: int) -> np.ndarray:
    """Edges of bins that grow with latency and never are narrower than ``step``; in between, so none lies on a value.

    A sparse tail then reads as a shape and not as needles.
    """
    edges = [max(1, math.floor(first / step / 1.25))]
    while edges[-1] * step < last * 1.15:
        edges.append(max(edges[-1] + 1, math.ceil(edges[-1] * 10 ** (1 / bins_per_decade))))
    return (np.array(edges) - 0.5) * step


def _draw_curve(
    canvas: Canvas, curve: Curve, x: Sequence[float], up: Callable[[float], float], hue: str, on_host: bool
) -> None:
    floor = up(_FLOOR)
    for begin, end in _runs(curve.heights):
        outline: list[Point] = [(x[begin], floor)]
        for number in range(begin, end):
            y = up(float(curve.heights[number]))
            if y != outline[-1][1]:
                outline += [(x[number], y)]
            outline += [(x[number + 1], y)]
        outline.append((x[end], floor))
        canvas.area(*outline, fill=hue, opacity=0.16 if on_host else 0.45)
        canvas.line(*outline, stroke=hue, width=1.2, dash=() if on_host else _DASH)


def _runs(heights: np.ndarray) -> list[tuple[int, int]]:
    """First and last but one index of each stretch of bins that are not empty."""
    filled = np.concatenate(([0], heights > 0, [0])).astype(int)
    changes = np.flatnonzero(np.diff(filled))
    return list(zip(changes[::2].tolist(), changes[1::2].tolist(), strict=True))


def _count(value: float) -> str:
    for size, suffix in ((1_000_000, "M"), (1_000, "k")):
        if value >= size:
            return f"{value / size:g}{suffix}"
    return f"{value:g}"
