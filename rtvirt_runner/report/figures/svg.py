"""Shared by all figures: matplotlib draws them as inline SVG, with the page's colours and font."""

from __future__ import annotations

import html
import io
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rtvirt_runner.printable import printable

# Drawn with these, then replaced by CSS variables: matplotlib knows no variables.
INK, FAINT, PAPER = "#010101", "#020202", "#030303"
# Blue, vermillion, green, purple, orange, sky (Okabe and Ito, "Color Universal Design", 2008)
HUES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
WIDTH_INCHES = 9.6


@contextmanager
def drawn_as(name: str) -> Iterator[None]:
    """The style of every figure; the same figure of the same name gives the same text."""
    style: dict[Any, Any] = {
        "svg.hashsalt": name,
        "text.parse_math": False,  # a dollar in a name is a dollar
        "svg.fonttype": "none",  # the page's font, text that can be found and read aloud
        "font.size": 9.5,
        "legend.fontsize": 9,
        "axes.edgecolor": FAINT,
        "axes.labelcolor": INK,
        "xtick.color": INK,
        "ytick.color": INK,
        "text.color": INK,
        "axes.linewidth": 0.8,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.spines.left": False,
    }
    with mpl.rc_context(style):
        yield


def inline(figure: Figure, name: str, label: str) -> str:
    """A figure as an inline ``<svg>`` element; ``name`` makes its ids unique on the page."""
    stream = io.StringIO()
    nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))  # they change from run to run
    figure.savefig(stream, format="svg", metadata=nothing, transparent=True)
    svg = stream.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>", "", svg, count=1, flags=re.DOTALL)
    svg = re.sub(r'\bid="', f'id="{name}-', svg)
    svg = re.sub(r'(href="#|url\(#)', rf"\g<1>{name}-", svg)
    colours = {INK: "var(--fig-ink)", FAINT: "var(--fig-faint)", PAPER: "var(--fig-paper)"}
    colours |= {hue: f"var(--fig-hue-{number})" for number, hue in enumerate(HUES, 1)}
    for colour, variable in colours.items():
        svg = svg.replace(colour, variable)
    escaped = html.escape(printable(label))
    # the page's own font family; sizes and weights stay
    svg = re.sub(r"font-family: [^;\"]*;?", "", svg)
    svg = re.sub(r"(font: [^;\"]*?px) [^;\"]*", r"\1 var(--fig-font)", svg)
    return re.sub(
        r'<svg [^>]*?viewBox="([^"]*)"[^>]*>',
        lambda found: f'<svg role="img" aria-label="{escaped}" viewBox="{found[1]}">',
        svg,
        count=1,
    ).strip()


def in_rows(ax: Axes) -> Any:
    """Transform: x in fractions of the axes, y in rows."""
    return mpl.transforms.blended_transform_factory(ax.transAxes, ax.transData)


def plain(ax: Axes) -> None:
    """Style of axes whose rows are labelled separately: no y ticks, a vertical grid."""
    ax.yaxis.set_major_locator(mpl.ticker.NullLocator())
    ax.grid(axis="x", color=FAINT, alpha=0.35, lw=0.6)
    ax.set_axisbelow(True)
    ax.tick_params(length=3, axis="x")


def logarithmic(ax: Axes, subs: tuple[int, ...] = (1, 2, 5)) -> None:
    """Logarithmic x axis with plain numbers."""
    ax.set_xscale("log")
    ax.xaxis.set_major_locator(mpl.ticker.LogLocator(subs=subs))
    ax.xaxis.set_major_formatter(mpl.ticker.FuncFormatter(thousands))
    ax.xaxis.set_minor_locator(mpl.ticker.NullLocator())


def count_lane(ax: Axes, counts: Callable[[float, int], str], last: bool) -> None:
    """A lane of a histogram: counts up, on a logarithmic axis; the last lane has the ticks across."""
    ax.set_ylim(bottom=0.5)
    ax.yaxis.set_major_locator(mpl.ticker.LogLocator(base=10, numticks=4))
    ax.yaxis.set_major_formatter(mpl.ticker.FuncFormatter(counts))
    ax.yaxis.set_minor_locator(mpl.ticker.NullLocator())
    ax.grid(axis="both", color=FAINT, alpha=0.35, lw=0.6)
    ax.set_axisbelow(True)
    ax.tick_params(length=0, axis="y")
    ax.tick_params(length=3 if last else 0, axis="x")


def thousands(value: float, _: int) -> str:
    """Format a tick label."""
    return f"{value:,.0f}" if value >= 1 else f"{value:g}"
