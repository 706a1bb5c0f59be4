"""One late wake-up: what the guest's core, its vCPU and the board's cores did, with the culprit marked."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from rtvirt_runner.analysis.late.attribution import Cause, Explanation, Slice, TimeLine
from rtvirt_runner.analysis.late.cores import CoreSpan, spans_between
from rtvirt_runner.analysis.late.words import headline, phrase, smaller
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
    Drawing,
    Key,
    fitting,
    legend,
    text_width,
    thousands,
)

_BLUE, _CULPRIT, _GREEN, _PURPLE, _ORANGE, _SKY = HUES
_LABEL_WIDTH = 158
_LANE, _ROOM = 30.0, 46.0  # height of a bar, and from one lane to the next
_MARGIN = 0.14  # of the latency, before and after it
_LEAST_MARGIN_NS = 15_000
_MOST_CAUSES = 6
_HANDLERS = {Cause.EXIT: "KVM", Cause.USER_EXIT: "QEMU"}
_VCPU_LANE = {Cause.EXIT, Cause.USER_EXIT, Cause.NOT_INJECTED}


@dataclass(frozen=True)
class _Part:
    """A stretch of a lane; without a fill only a line, as nothing runs."""

    begin_ns: int
    end_ns: int
    text: str
    fill: str = ""
    opacity: float = 1.0


@dataclass(frozen=True)
class _Lane:
    label: tuple[str, ...]
    parts: tuple[_Part, ...]
    marked: tuple[Slice, ...]  # those of the culprit


def late_wakeup(line: TimeLine, explanation: Explanation, name: str, unit: str = "µs") -> Drawing:
    """The figure of an explained wake-up; ``name``: unique on the page, ``unit``: with the clock, if it is virtual."""
    lanes = _lanes(line, explanation)
    bound = explanation.bound_ns
    note = "" if bound is None else f"Where the guest's lane lies against the others is known to {bound / 1000:.0f} µs."
    return Drawing(
        name, headline(explanation), lambda width, narrow: _draw(explanation, lanes, width, narrow, unit), note
    )


# -------------------------------------------------------------------------------------------------------------- lanes


def _window(explanation: Explanation) -> tuple[int, int]:
    wakeup = explanation.wakeup
    margin = max(_LEAST_MARGIN_NS, round(_MARGIN * wakeup.latency_ns))
    return wakeup.due_ns - margin, wakeup.end_ns + margin


def _lanes(line: TimeLine, explanation: Explanation) -> list[_Lane]:
    wakeup, side = explanation.wakeup, explanation.side
    begin, end = _window(explanation)
    culprit = [part for part in explanation.slices if part.owner == explanation.culprit]
    lanes: list[_Lane] = []
    if side == "guest" and line.guest:
        spans = line.guest.cores.get(wakeup.cpu, ())
        if clock := line.clock:
            spans = [
                CoreSpan(clock.to_host(each.begin_ns), clock.to_host(each.end_ns), each.kind, each.name, each.pid)
                for each in spans_between(spans, clock.to_guest(begin), clock.to_guest(end))
            ]
        parts = _core_parts(spans_between(spans, begin, end), {wakeup.tid: (_GREEN, wakeup.comm)})
        marked = tuple(part for part in culprit if part.owner.side == "guest")
        lanes.append(_Lane(("In the guest", f"its core {wakeup.cpu} runs"), parts, marked))
    vcpu = line.vcpus.get(wakeup.cpu) if side == "guest" else None
    cores = [wakeup.cpu] if side == "host" else []
    own: dict[int, tuple[str, str]] = {wakeup.tid: (_GREEN, wakeup.comm)} if side == "host" else {}
    if vcpu:
        between = vcpu.between(begin, end)
        shown = {
            "in guest": ("runs the guest", _BLUE, 1.0),
            "exit": ("KVM", _ORANGE, 0.85),
            "exit to QEMU": ("QEMU", _ORANGE, 1.0),
            "waiting": ("waits for the core", _CULPRIT, 0.25),
            "asleep": ("asleep", "", 1.0),
            "unknown": ("not known", "", 1.0),
        }
        parts = _joined(_Part(each.begin_ns, each.end_ns, *shown[each.state]) for each in between)
        marked = tuple(part for part in culprit if part.owner.cause in _VCPU_LANE)
        lanes.append(_Lane(("On the board", f"vCPU {vcpu.vcpu} of the guest"), parts, marked))
        cores = sorted({each.cpu for each in between if each.cpu >= 0})
        own = {thread.tid: (_BLUE, f"vCPU {thread.vcpu}") for thread in line.vcpus.values()}
    for cpu in cores if line.host else []:
        spans = spans_between(line.host.cores.get(cpu, ()), begin, end) if line.host else []
        marked = tuple(
            part for part in culprit
            if part.owner.side == "host" and part.cpu == cpu and (part.owner.cause not in _VCPU_LANE or not vcpu)
        )  # fmt: skip
        lanes.append(_Lane(("On the board", f"core {cpu} runs"), _core_parts(spans, own), marked))
    return lanes


def _core_parts(spans: Iterable[CoreSpan], own: dict[int, tuple[str, str]]) -> tuple[_Part, ...]:
    parts = []
    for span in spans:
        if span.kind == "hardirq":
            part = _Part(span.begin_ns, span.end_ns, span.name, _PURPLE)
        elif span.kind == "softirq":
            part = _Part(span.begin_ns, span.end_ns, span.name, _SKY)
        elif span.kind == "thread":
            hue, name = own.get(span.pid, (SOFT, span.name))
            part = _Part(span.begin_ns, span.end_ns, name, hue, 0.55 if hue == SOFT else 1.0)
        else:
            part = _Part(span.begin_ns, span.end_ns, "idle" if span.kind == "idle" else "not known")
        parts.append(part)
    return _joined(parts)


def _joined(parts: Iterable[_Part]) -> tuple[_Part, ...]:
    found: list[_Part] = []
    for part in parts:
        if found and (found[-1].text, found[-1].fill) == (part.text, part.fill) and found[-1].end_ns == part.begin_ns:
            part = _Part(found.pop().begin_ns, part.end_ns, part.text, part.fill, part.opacity)
        found.append(part)
    return tuple(found)


# ------------------------------------------------------------------------------------------------------------ drawing


def _draw(explanation: Explanation, lanes: Sequence[_Lane], width: float, narrow: bool, unit: str) -> Canvas:
    canvas = Canvas(width)
    wakeup = explanation.wakeup
    begin, end = _window(explanation)
    left = 0.0 if narrow else _LABEL_WIDTH
    axis = Axis((begin - wakeup.due_ns) / 1000, (end - wakeup.due_ns) / 1000, left, width - 2, logarithmic=False)

    def x(at_ns: float) -> float:
        return axis((at_ns - wakeup.due_ns) / 1000)

    y = _wrapped(canvas, headline(explanation), 0, 8, width, TEXT + 1, bold=True) + 25
    due, runs = x(wakeup.due_ns), x(wakeup.end_ns)
    canvas.text(due, y, "timer due", "middle" if due > 40 else "start", SMALL, bold=True)
    canvas.text(runs, y, f"{wakeup.comm} runs", "end" if runs > width - 60 else "middle", SMALL, bold=True)
    if runs - due > 260:
        canvas.text((due + runs) / 2, y, f"{wakeup.latency_ns / 1000:,.0f} µs late", "middle", SMALL, colour=SOFT)
    top = y + 11
    room = _ROOM + (20 if narrow else 0)
    bottom = top + room * len(lanes) + 4
    canvas.area((due, top), (runs, top), (runs, bottom), (due, bottom), fill=FAINT, opacity=0.22)
    axis.grid(canvas, top, bottom)
    for number, lane in enumerate(lanes):
        middle = top + room * (number + 1) - _ROOM / 2 + 2
        if narrow:
            canvas.text(due + 5, middle - _LANE / 2 - 10, ": ".join(lane.label), size=SMALL, colour=SOFT)
        else:
            canvas.text(_LABEL_WIDTH - 12, middle - 8, lane.label[0], "end", SMALL, colour=SOFT)
            canvas.text(_LABEL_WIDTH - 12, middle + 8, lane.label[1], "end")
        _draw_lane(canvas, lane, x, middle)
    for at in (due, runs):
        canvas.line((at, top - 2), (at, bottom), width=1.6)
    for value in axis.ticks():
        if axis(value) < width - 14:
            canvas.text(axis(value), bottom + 11, thousands(value), "middle", SMALL, colour=SOFT)
    canvas.text(width - 2, bottom + 27, f"{unit} after the timer was due", "end", SMALL, colour=SOFT)
    y = legend(canvas, _keys(lanes, wakeup.comm), 0, bottom + 40)
    y = _draw_causes(canvas, explanation, y + 8, width)
    canvas.height = y + 2
    return canvas


def _draw_lane(canvas: Canvas, lane: _Lane, x: Callable[[float], float], middle: float) -> None:
    for part in lane.parts:
        left, right = x(part.begin_ns), x(part.end_ns)
        if part.fill:
            # at least visible, however short
            canvas.bar(left, max(right, left + 0.8), middle, _LANE, part.fill, part.opacity)
        else:
            dash = (2.0, 3.0) if part.text == "not known" else ()
            canvas.line((left, middle), (right, middle), stroke=FAINT, width=2, dash=dash)
    for each in lane.marked:
        left, right = x(each.begin_ns), x(each.end_ns)
        canvas.bar(left, max(right, left + 0.8), middle, _LANE + 6, _CULPRIT)
    for part in lane.parts:
        left, right = x(part.begin_ns), x(part.end_ns)
        covered = any(each.begin_ns < part.end_ns and each.end_ns > part.begin_ns for each in lane.marked)
        if not covered and right - left > text_width(part.text, SMALL) + 8:
            dark = part.fill in {_BLUE, _GREEN, SOFT} and part.opacity > 0.5
            if not part.fill:
                canvas.text((left + right) / 2, middle - 9, part.text, "middle", SMALL, colour=SOFT)
            else:
                canvas.text((left + right) / 2, middle, part.text, "middle", SMALL, colour=PAPER if dark else INK)
    if lane.marked:
        longest = max(lane.marked, key=lambda each: each.length_ns)
        left, right = x(longest.begin_ns), x(longest.end_ns)
        said = longest.owner.who or longest.owner.cause.value
        if handler := _HANDLERS.get(longest.owner.cause):
            said = f"{handler}: {said}"
        if right - left > 50:
            canvas.text((left + right) / 2, middle, fitting(said, right - left - 8), "middle", bold=True, colour=PAPER)


def _keys(lanes: Sequence[_Lane], comm: str) -> list[Key]:
    fills = {(part.fill, part.text == "waits for the core") for lane in lanes for part in lane.parts}
    known = [
        (_CULPRIT, False, 1.0, "the culprit"),
        (_CULPRIT, True, 0.25, "vCPU waits for the core"),
        (_GREEN, False, 1.0, comm),
        (_BLUE, False, 1.0, "vCPU"),
        (SOFT, False, 0.55, "another thread"),
        (_PURPLE, False, 1.0, "interrupt"),
        (_SKY, False, 1.0, "softirq"),
        (_ORANGE, False, 0.85, "vCPU outside of the guest"),
    ]
    keys = [
        _box(fill, opacity, text)
        for fill, waits, opacity, text in known
        if (fill, waits) in fills or (fill == _CULPRIT and not waits)
    ]
    if any(not part.fill for lane in lanes for part in lane.parts):
        keys.append(Key(_nothing, "nothing, asleep or idle"))
    return keys


def _box(fill: str, opacity: float, text: str) -> Key:
    return Key(lambda canvas, x, y: canvas.bar(x - 9, x + 9, y, 10, fill, opacity), text)


def _nothing(canvas: Canvas, x: float, y: float) -> None:
    canvas.line((x - 9, y), (x + 9, y), stroke=FAINT, width=2)


def _draw_causes(canvas: Canvas, explanation: Explanation, top: float, width: float) -> float:
    """Where the time went: a bar and a sentence for each cause."""
    latency = max(1, explanation.wakeup.latency_ns)
    canvas.text(0, top + 6, "Where the time went", bold=True)
    y = top + 24
    totals = list(explanation.totals.items())
    shown, rest = totals[:_MOST_CAUSES], totals[_MOST_CAUSES:]
    bar = 110.0 if width > 600 else 34.0
    for number, (owner, length) in enumerate(shown):
        canvas.bar(
            0, max(1.0, bar * length / latency), y, 11, _CULPRIT if number == 0 else SOFT, 1.0 if number == 0 else 0.55
        )
        canvas.text(bar + 62, y, f"{_short(length)} µs", "end", SMALL, bold=True)
        said = phrase(owner, explanation)
        y = _wrapped(canvas, said[0].upper() + said[1:], bar + 72, y, width - bar - 78, SMALL) + 19
    if rest:
        canvas.bar(0, max(1.0, bar * sum(each for _, each in rest) / latency), y, 11, SOFT, 0.55)
        canvas.text(bar + 62, y, f"{_short(sum(each for _, each in rest))} µs", "end", SMALL, bold=True)
        canvas.text(bar + 72, y, smaller(len(rest)), size=SMALL)
        y += 19
    for warning in explanation.warnings:
        y = _wrapped(canvas, warning, 0, y + 2, width, SMALL, italic=True) + 17
    return y - 8


def _wrapped(
    canvas: Canvas,
    text: str,
    left: float,
    y: float,
    width: float,
    size: float,
    bold: bool = False,
    italic: bool = False,
) -> float:
    """A text in as many lines as it takes; the y of the last one."""
    lines = textwrap.wrap(text, max(12, int(width / (LETTER * size * (1.06 if bold else 0.97)))))
    for number, each in enumerate(lines):
        canvas.text(left, y + 16 * number, each, size=size, bold=bold, italic=italic)
    return y + 16 * (len(lines) - 1)


def _short(ns: float) -> str:
    return f"{ns / 1000:,.0f}" if ns >= 9_500 else f"{ns / 1000:.1f}"
