"""What ran on each core of a machine: a thread, a softirq or a hardware interrupt, or nobody knows."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from rtvirt_runner.parsers.ftrace import (
    Event,
    InterruptEntry,
    InterruptExit,
    SoftirqEntry,
    SoftirqExit,
    Switch,
    Trace,
)

Kind = Literal["thread", "idle", "softirq", "hardirq", "unknown"]


@dataclass(frozen=True, slots=True)
class CoreSpan:
    """A stretch of time (ns) in which one thing ran on a core; ``prio`` is the kernel's, None if it is not known."""

    begin_ns: int
    end_ns: int
    kind: Kind
    name: str = ""
    pid: int = -1
    prio: int | None = None


@dataclass
class _Core:
    """What is known of a core after its last event, which was at ``since_ns``."""

    since_ns: int
    comm: str = ""
    pid: int = -1
    prio: int | None = None
    hardirqs: list[InterruptEntry] = field(default_factory=list)
    last_in_hardirq: bool = False
    spans: list[CoreSpan] = field(default_factory=list)


def core_spans(trace: Trace) -> dict[int, tuple[CoreSpan, ...]]:
    """For each core what ran on it, from its first event to the end of the trace, in order and without holes.

    Where events are missing, and back from an event that contradicts what was known, it is unknown.
    """
    cores: dict[int, _Core] = {}
    softirqs: dict[tuple[int, int], str] = {}  # by core and task: with PREEMPT_RT one can be preempted
    for event in trace.events:
        core = cores.get(event.cpu)
        if core is None:
            core = cores[event.cpu] = _Core(event.at_ns, event.comm, event.pid)
            core.hardirqs = [InterruptEntry("", "interrupt")] if _left_open(event) else []
        in_hardirq = core.last_in_hardirq and event.in_hardirq and not isinstance(event.body, InterruptEntry)
        fits = core.pid == event.pid and (not core.hardirqs or event.in_hardirq)
        _close(core, event.at_ns, event.cpu, softirqs, fits, in_hardirq)
        core.last_in_hardirq = event.in_hardirq and not isinstance(event.body, InterruptExit)
        if not fits:
            core.comm, core.pid, core.prio = event.comm, event.pid, None
            core.hardirqs.clear()
            softirqs.pop((event.cpu, event.pid), None)
        _apply(core, event, softirqs)
    for cpu, core in cores.items():  # no event says that anything has changed since
        _close(core, trace.end_ns, cpu, softirqs, fits=True, in_hardirq=False)
    return {cpu: _without(core.spans, trace, cpu) for cpu, core in sorted(cores.items())}


def spans_between(spans: Sequence[CoreSpan], begin_ns: int, end_ns: int) -> list[CoreSpan]:
    """The spans that overlap with a stretch of time, cut to it; what is before or after all of them is unknown."""
    found: list[CoreSpan] = []
    at = begin_ns
    first = max(0, bisect_right(spans, begin_ns, key=lambda span: span.begin_ns) - 1)
    for span in spans[first:]:
        if span.begin_ns >= end_ns:
            break
        low, high = max(span.begin_ns, at), min(span.end_ns, end_ns)
        if low >= high:
            continue
        if low > at:
            found.append(CoreSpan(at, low, "unknown"))
        found.append(replace(span, begin_ns=low, end_ns=high))
        at = high
    if at < end_ns:
        found.append(CoreSpan(at, end_ns, "unknown"))
    return found


def _left_open(event: Event) -> bool:
    """Whether a first event is in an interrupt that began before it."""
    return event.in_hardirq and not isinstance(event.body, InterruptEntry)


def _close(
    core: _Core, end: int, cpu: int, softirqs: Mapping[tuple[int, int], str], fits: bool, in_hardirq: bool
) -> None:
    begin, core.since_ns = core.since_ns, end
    if begin == end:
        return
    if not fits:
        span = CoreSpan(begin, end, "unknown")
    elif core.hardirqs or in_hardirq:  # an interrupt without an entry, as those between cores on arm64, has no name
        span = CoreSpan(begin, end, "hardirq", core.hardirqs[-1].name if core.hardirqs else "interrupt")
    elif softirq := softirqs.get((cpu, core.pid)):
        span = CoreSpan(begin, end, "softirq", softirq, core.pid, core.prio)
    else:
        span = CoreSpan(begin, end, "thread" if core.pid else "idle", core.comm, core.pid, core.prio)
    core.spans.append(span)


def _apply(core: _Core, event: Event, softirqs: dict[tuple[int, int], str]) -> None:
    body = event.body
    if isinstance(body, Switch):
        core.comm, core.pid, core.prio = body.next_comm, body.next_pid, body.next_prio
        core.hardirqs.clear()
    elif isinstance(body, InterruptEntry):
        core.hardirqs.append(body)
    elif isinstance(body, InterruptExit):
        if core.hardirqs:
            core.hardirqs.pop()
    elif isinstance(body, SoftirqEntry):
        softirqs[event.cpu, event.pid] = body.action
    elif isinstance(body, SoftirqExit):
        softirqs.pop((event.cpu, event.pid), None)


def _without(spans: Sequence[CoreSpan], trace: Trace, cpu: int) -> tuple[CoreSpan, ...]:
    """The same spans, unknown where events of the core are missing."""
    gaps = [gap for gap in trace.gaps if gap.cpu in {None, cpu}]
    if not gaps:
        return tuple(spans)
    return tuple(
        CoreSpan(span.begin_ns, span.end_ns, "unknown")
        if any(gap.begin_ns < span.end_ns and (gap.end_ns is None or gap.end_ns > span.begin_ns) for gap in gaps)
        else span
        for span in spans
    )
