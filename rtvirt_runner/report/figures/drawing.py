"""Drawings: a few primitives on a canvas, written as SVG for the page, as an SVG file and as a PNG file.

A figure is drawn twice, once for wide and once for narrow screens; CSS shows the one that fits. Colours have names,
which are CSS variables of the page (``--fig-...``), so that a figure follows light and dark mode; files have the
colours of light mode. Lengths are CSS pixels, y grows downwards. The same figure gives the same bytes.
"""

from __future__ import annotations

import html
import io
import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import numpy as np
from matplotlib.backends.backend_agg import RendererAgg
from matplotlib.font_manager import FontProperties
from matplotlib.path import Path
from matplotlib.transforms import Affine2D
from PIL import Image

from rtvirt_runner.printable import printable

WIDE, NARROW = 920, 372  # widths of canvases
TEXT, SMALL = 12.5, 11.5  # sizes of text
LETTER = 0.57  # width of a letter on average, by the size of its text

INK, SOFT, FAINT, PAPER = "ink", "soft", "faint", "paper"
# Blue, vermillion, green, purple, orange, sky (Okabe and Ito, "Color Universal Design", 2008)
HUES = ("hue-1", "hue-2", "hue-3", "hue-4", "hue-5", "hue-6")
_LIGHT = {
    **{INK: "#1d2126", SOFT: "#5b6470", FAINT: "#b3bac2", PAPER: "#ffffff"},
    **dict(zip(HUES, ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9"), strict=True)),
}
_FONT = 'system-ui, "Segoe UI", Roboto, "Helvetica Neue", "DejaVu Sans", sans-serif'
_PNG_SCALE = 2  # pixels of a PNG per pixel of the canvas

Point = tuple[float, float]
Anchor = Literal["start", "middle", "end"]


@dataclass(frozen=True)
class Shape:
    """Lines or areas in one style; one with a fill is closed."""

    parts: tuple[tuple[Point, ...], ...]
    fill: str = ""  # name of a colour; empty: none
    opacity: float = 1.0  # of fill and stroke
    stroke: str = ""
    width: float = 1.0
    dash: tuple[float, ...] = ()


@dataclass(frozen=True)
class Text:
    """One line of text; y is its middle."""

    x: float
    y: float
    text: str
    anchor: Anchor = "start"
    size: float = TEXT
    bold: bool = False
    italic: bool = False
    colour: str = INK


@dataclass
class Canvas:
    """Shapes and texts in the order of drawing."""

    width: float
    height: float = 0.0
    items: list[Shape | Text] = field(default_factory=list)

    def line(
        self, *points: Point, stroke: str = INK, width: float = 1.0, dash: tuple[float, ...] = (), opacity: float = 1.0
    ) -> None:
        """A line through points."""
        self.items.append(Shape((points,), stroke=stroke, width=width, dash=dash, opacity=opacity))

    def area(self, *points: Point, fill: str, opacity: float = 1.0) -> None:
        """A filled polygon."""
        self.items.append(Shape((points,), fill=fill, opacity=opacity))

    def bar(self, left: float, right: float, y: float, height: float, fill: str, opacity: float = 1.0) -> None:
        """A filled rectangle around y."""
        up, down = y - height / 2, y + height / 2
        self.area((left, up), (right, up), (right, down), (left, down), fill=fill, opacity=opacity)

    def diamond(self, x: float, y: float, fill: str, size: float = 4.5) -> None:
        """A mark of a maximum."""
        points = ((x - size, y), (x, y - size), (x + size, y), (x, y + size))
        self.items.append(Shape((points,), fill=fill, stroke=INK, width=1.1))

    def dot(self, x: float, y: float, fill: str, size: float = 4.2) -> None:
        """A mark of an average."""
        turns = [2 * math.pi * n / 16 for n in range(16)]
        points = tuple((x + size * math.cos(turn), y + size * math.sin(turn)) for turn in turns)
        self.items.append(Shape((points,), fill=fill, stroke=INK, width=1.1))

    def points(self, points: Sequence[Point], fill: str, size: float = 1.6) -> None:
        """Many small marks in one shape."""
        marks = tuple(((x - size, y), (x, y - size), (x + size, y), (x, y + size)) for x, y in points)
        self.items.append(Shape(marks, fill=fill))

    def text(
        self,
        x: float,
        y: float,
        text: str,
        anchor: Anchor = "start",
        size: float = TEXT,
        bold: bool = False,
        italic: bool = False,
        colour: str = INK,
    ) -> None:
        """One line of text around y."""
        self.items.append(Text(x, y, printable(text), anchor, size, bold, italic, colour))


@dataclass(frozen=True)
class Drawing:
    """A figure, for wide and for narrow screens."""

    name: str  # unique on the page; its files' name
    label: str  # for those who cannot see it
    draw: Callable[[float, bool], Canvas]  # from a width, and whether it is narrow
    note: str = ""  # what the figure leaves out, in one sentence

    @cached_property
    def wide(self) -> Canvas:
        """For the page on wide screens and paper, and for files."""
        return self.draw(WIDE, False)

    @cached_property
    def narrow(self) -> Canvas:
        """For narrow screens."""
        return self.draw(NARROW, True)

    def inline(self) -> str:
        """Both as ``<svg>`` elements for the page, which shows one of them."""
        label = html.escape(printable(self.label))
        return "".join(
            f'<svg class="{kind}" role="img" aria-label="{label}" viewBox="0 0 {canvas.width:g} {canvas.height:g}">'
            f"{_elements(canvas, _variable)}</svg>"
            for kind, canvas in (("for-wide", self.wide), ("for-narrow", self.narrow))
        )

    def svg(self) -> str:
        """The wide one as a file of its own, in the colours of light mode."""
        canvas = self.wide
        size = f'width="{canvas.width:g}" height="{canvas.height:g}" viewBox="0 0 {canvas.width:g} {canvas.height:g}"'
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="{html.escape(_FONT)}">'
            f"<title>{html.escape(printable(self.label))}</title>"
            f'<rect width="100%" height="100%" fill="{_LIGHT[PAPER]}"/>{_elements(canvas, _LIGHT.__getitem__)}</svg>\n'
        )

    def png(self) -> bytes:
        """The wide one as PNG, in the colours of light mode."""
        return _png(self.wide)


# ------------------------------------------------------------------------------------------------------------- parts


@dataclass(frozen=True)
class Axis:
    """Latencies across: values to pixels."""

    low: float
    high: float
    left: float
    right: float
    logarithmic: bool = True

    def __call__(self, value: float) -> float:
        """The place of a value; values outside are at the ends."""
        value = min(max(value, self.low), self.high)
        if self.logarithmic:
            share = math.log(value / self.low) / math.log(self.high / self.low)
        else:
            share = (value - self.low) / (self.high - self.low)
        return self.left + share * (self.right - self.left)

    def ticks(self, room: float = 40.0) -> list[float]:
        """Round values with this much room between two of them."""
        most = max(2, int(abs(self.right - self.left) / room))
        if not self.logarithmic:
            return _even_ticks(self.low, self.high, most)
        found = _log_ticks(self.low, self.high, lambda one, other: abs(self(other) - self(one)) >= room)
        return found or _even_ticks(self.low, self.high, most)

    def grid(self, canvas: Canvas, top: float, bottom: float) -> None:
        """Lines at the ticks."""
        for value in self.ticks():
            canvas.line((self(value), top), (self(value), bottom), stroke=FAINT, width=0.7, opacity=0.45)

    def numbers(self, canvas: Canvas, y: float, shown: Callable[[float], str] | None = None) -> None:
        """The ticks' numbers around y."""
        for value in self.ticks():
            canvas.text(self(value), y, (shown or thousands)(value), "middle", SMALL, colour=SOFT)


def _log_ticks(low: float, high: float, apart: Callable[[float, float], bool]) -> list[float]:
    """The densest of some round series that is not too dense, else the ends of one; empty where none has two values."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ends: list[float] = []
    for steps in ((1, 2, 3, 4, 5, 6, 7, 8, 9), (1, 2, 5), (1, 3), (1,)):
        every = [step * 10.0**decade for decade in decades for step in steps]
        found = [value for value in every if low <= value <= high]
        if len(found) > 1 and all(itertools.starmap(apart, itertools.pairwise(found))):
            return found
        ends = [found[0], found[-1]] if len(found) > 1 else ends
    return ends


def _even_ticks(low: float, high: float, most: int) -> list[float]:
    least = (high - low) / most
    size = 10.0 ** math.floor(math.log10(least))
    step = next(step * size for step in (1, 2, 5, 10) if step * size >= least * (1 - 1e-9))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(number * step, 9) for number in range(first, last + 1)]


def thousands(value: float) -> str:
    """A number of an axis."""
    return f"{value:,.0f}" if value >= 10 or value == int(value) else f"{value:g}"


@dataclass(frozen=True)
class Key:
    """One entry of a legend: what ``mark`` draws around a point, and what it means."""

    mark: Callable[[Canvas, float, float], None]
    text: str


def legend(canvas: Canvas, keys: Sequence[Key], left: float, top: float) -> float:
    """Draw entries in rows from ``top`` on; the y below them."""
    x, y = left, top + 8
    for key in keys:
        width = 30 + text_width(key.text, SMALL) + 18
        if x > left and x + width - 18 > canvas.width:
            x, y = left, y + 19
        key.mark(canvas, x + 11, y)
        canvas.text(x + 28, y, key.text, size=SMALL)
        x += width
    return y + 12


def box_key(hue: str, opacity: float, dash: tuple[float, ...] = (), text: str = "") -> Key:
    """A box in the style of an area."""

    def mark(canvas: Canvas, x: float, y: float) -> None:
        canvas.bar(x - 11, x + 11, y, 10, hue, opacity)
        corners = ((x - 11, y - 5), (x + 11, y - 5), (x + 11, y + 5), (x - 11, y + 5), (x - 11, y - 5))
        canvas.line(*corners, stroke=hue, width=1.2, dash=dash)

    return Key(mark, text)


def line_key(text: str, stroke: str = INK, dash: tuple[float, ...] = (), upright: bool = False) -> Key:
    """A line."""

    def mark(canvas: Canvas, x: float, y: float) -> None:
        ends = ((x, y - 6), (x, y + 6)) if upright else ((x - 11, y), (x + 11, y))
        canvas.line(*ends, stroke=stroke, width=1.5, dash=dash)

    return Key(mark, text)


def dot_key(text: str, fill: str) -> Key:
    """An average's mark."""
    return Key(lambda canvas, x, y: canvas.dot(x, y, fill), text)


def diamond_key(text: str, fill: str = INK) -> Key:
    """A maximum's mark."""
    return Key(lambda canvas, x, y: canvas.diamond(x, y, fill), text)


def text_width(text: str, size: float = TEXT) -> float:
    """About how wide a text is."""
    return LETTER * size * len(text)


def fitting(text: str, width: float, size: float = TEXT) -> str:
    """A text, cut so that it is about no wider."""
    letters = max(4, int(width / (LETTER * size)))
    return text if len(text) <= letters else f"{text[: letters - 1]}…"


# ----------------------------------------------------------------------------------------------------------- writing


def _variable(colour: str) -> str:
    return f"var(--fig-{colour})"


def _elements(canvas: Canvas, colour: Callable[[str], str]) -> str:
    return "".join(
        _text_element(item, colour) if isinstance(item, Text) else _path_element(item, colour) for item in canvas.items
    )


def _path_element(shape: Shape, colour: Callable[[str], str]) -> str:
    style = [f"fill:{colour(shape.fill)}" if shape.fill else "fill:none"]
    if shape.opacity < 1:
        style.append(f"opacity:{shape.opacity:g}")
    if shape.stroke:
        style += [f"stroke:{colour(shape.stroke)}", f"stroke-width:{shape.width:g}"]
    if shape.dash:
        style.append(f"stroke-dasharray:{' '.join(f'{each:g}' for each in shape.dash)}")
    data = "".join(_path_data(part) + ("z" if shape.fill else "") for part in shape.parts)
    return f'<path d="{data}" style="{";".join(style)}"/>'


def _path_data(points: Sequence[Point]) -> str:
    said, (x, y) = [], points[0]
    said.append(f"M{_short(x)} {_short(y)}")
    for next_x, next_y in points[1:]:
        if next_y == y:
            said.append(f"H{_short(next_x)}")
        elif next_x == x:
            said.append(f"V{_short(next_y)}")
        else:
            said.append(f"L{_short(next_x)} {_short(next_y)}")
        x, y = next_x, next_y
    return "".join(said)


def _short(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


def _text_element(text: Text, colour: Callable[[str], str]) -> str:
    style = [f"font-size:{text.size:g}px", f"fill:{colour(text.colour)}"]
    style += ["font-weight:600"] if text.bold else []
    style += ["font-style:italic"] if text.italic else []
    anchor = "" if text.anchor == "start" else f' text-anchor="{text.anchor}"'
    # dominant-baseline is not known everywhere; a third of the size below the middle is where letters stand
    y = _short(text.y + 0.35 * text.size)
    shown = html.escape(text.text, quote=False)
    return f'<text x="{_short(text.x)}" y="{y}"{anchor} style="{";".join(style)}">{shown}</text>'


def _png(canvas: Canvas) -> bytes:
    width, height = round(canvas.width * _PNG_SCALE), round(canvas.height * _PNG_SCALE)
    renderer_class: Any = RendererAgg  # it has no types
    renderer = renderer_class(width, height, 72.0 * _PNG_SCALE)  # so that a point is a pixel of the canvas
    upwards = Affine2D().scale(_PNG_SCALE, -_PNG_SCALE).translate(0, height)
    widths: dict[tuple[str, float, bool], float] = {}

    def draw_shape(shape: Shape) -> None:
        context = renderer.new_gc()
        context.set_foreground(_LIGHT[shape.stroke or INK])
        context.set_alpha(shape.opacity)
        context.set_linewidth(shape.width if shape.stroke else 0.0)  # in points
        context.set_capstyle("butt")
        if shape.dash:
            context.set_dashes(0, list(shape.dash))
        closed = bool(shape.fill)
        parts = [Path([*part, part[0]] if closed else part, closed=closed) for part in shape.parts]
        path = parts[0] if len(parts) == 1 else Path.make_compound_path(*parts)
        fill = _rgb(_LIGHT[shape.fill]) if shape.fill else None
        renderer.draw_path(context, path, upwards, fill)

    def draw_text(text: Text) -> None:
        context = renderer.new_gc()
        context.set_foreground(_LIGHT[text.colour])
        font = FontProperties(
            family="DejaVu Sans",
            size=text.size * 0.93,  # wider than the fonts of pages
            weight="bold" if text.bold else "normal",
            style="italic" if text.italic else "normal",
        )
        x = text.x * _PNG_SCALE
        if text.anchor != "start":
            key = (text.text, text.size, text.bold)
            if key not in widths:
                widths[key] = renderer.get_text_width_height_descent(text.text, font, False)[0]
            x -= widths[key] / (2 if text.anchor == "middle" else 1)
        renderer.draw_text(context, x, (text.y + 0.35 * text.size) * _PNG_SCALE, text.text, font, 0)

    background = Shape((((0, 0), (canvas.width, 0), (canvas.width, canvas.height), (0, canvas.height)),), fill=PAPER)
    for item in (background, *canvas.items):
        draw_text(item) if isinstance(item, Text) else draw_shape(item)
    stream = io.BytesIO()
    image = Image.fromarray(np.asarray(renderer.buffer_rgba())).convert("RGB")
    image.save(stream, format="PNG", compress_level=3)
    return stream.getvalue()


def _rgb(colour: str) -> tuple[float, float, float]:
    red, green, blue = (int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5))
    return red, green, blue
