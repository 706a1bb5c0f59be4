"""Late wake-ups of a guest as bars: what the host was late meanwhile, and what virtualization added."""

from __future__ import annotations

from collections.abc import Sequence

from rtvirt_runner.analysis.splits import Split
from rtvirt_runner.report.figures.drawing import (
    FAINT,
    HUES,
    SMALL,
    SOFT,
    Axis,
    Canvas,
    Drawing,
    box_key,
    fitting,
    legend,
    text_width,
)

ROW = 24.0
_HOST, _ADDED = HUES[0], HUES[1]
_EITHER = 0.35  # opacity of what is one of the two


def splits_figure(rows: Sequence[tuple[str, Split]], unit: str, name: str, label: str) -> Drawing:
    """A bar for each late wake-up, by its label; raises ValueError when there is none."""
    if not rows:
        raise ValueError(f"Figure '{name}' has no row to draw.")

    def draw(width: float, narrow: bool) -> Canvas:
        canvas = Canvas(width)
        keys = [
            box_key(_HOST, 0.9, (), "the host was late too"),
            box_key(_ADDED, 0.9, (), "virtualization added"),
            box_key(_HOST, _EITHER, (), "one of the two"),
            box_key(FAINT, 0.9, (), "not told"),
        ]
        labels = min(0.36 * width, 12 + max(text_width(each, SMALL) for each, _ in rows))
        top = legend(canvas, keys, 0 if narrow else labels, 0.0) + 8
        highest = max(split.wakeup.latency_us for _, split in rows)
        axis = Axis(0, 1.02 * highest, labels, width - 58, logarithmic=False)
        bottom = top + ROW * len(rows)
        axis.grid(canvas, top, bottom)
        for number, (each, split) in enumerate(rows):
            y = top + ROW * (number + 0.5)
            canvas.text(0, y, fitting(each, labels - 8, SMALL), size=SMALL)
            _bar(canvas, axis, y, split)
            canvas.text(width - 2, y, f"{split.wakeup.latency_us:,}", "end", SMALL)
        axis.numbers(canvas, bottom + 11)
        canvas.text(
            (axis.left + axis.right) / 2, bottom + 28, f"latency in the guest, {unit}", "middle", SMALL, colour=SOFT
        )
        canvas.height = bottom + 38
        return canvas

    return Drawing(name, label, draw)


def _bar(canvas: Canvas, axis: Axis, y: float, split: Split) -> None:
    height, late = 0.62 * ROW, split.wakeup.latency_us
    if split.host_us is None:
        canvas.bar(axis(0), axis(late), y, height, FAINT, 0.9)
        return
    low, high = split.host_us
    for begin, end, fill, opacity in ((0.0, low, _HOST, 0.9), (low, high, _HOST, _EITHER), (high, late, _ADDED, 0.9)):
        if end > begin:
            canvas.bar(axis(begin), axis(end), y, height, fill, opacity)
