"""Wake-ups in a trace: when the timer was due, when it expired, when the thread was woken and when it ran."""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace

from rtvirt_runner.parsers.ftrace import Event, Mark, Switch, TimerDone, TimerExpire, TimerStart, Trace, Waking

_MARK = re.compile(r"hit latency threshold \((\d{1,9}) > \d+\)", re.ASCII)
_NEAR_NS = 20_000_000  # over which CLOCK_MONOTONIC and mono_raw differ by no more than 10 us (500 ppm of slewing)
_SAME_CLOCK_NS = 10_000_000  # timers of other clocks (realtime, boottime) are further apart


@dataclass(frozen=True)
class Wakeup:
    """One wake-up of a thread by its timer; times in ns on the trace's clock.

    ``due_ns``: when the timer was to expire. ``expired_ns``: its function was called; ``woken_ns``: the thread was made
    runnable; ``ran_ns``: it was switched to; ``said_ns``: it read the clock itself, by what it wrote into the trace.
    """

    cpu: int
    tid: int
    comm: str
    prio: int
    due_ns: int
    expired_ns: int
    woken_ns: int
    ran_ns: int
    said_ns: int | None = None

    @property
    def end_ns(self) -> int:
        """The end of the latency: when the thread read the clock, else when it ran."""
        return self.ran_ns if self.said_ns is None else self.said_ns

    @property
    def latency_ns(self) -> int:
        """From when the timer was due to the end."""
        return self.end_ns - self.due_ns


def wakeups(trace: Trace, comm: str = "cyclictest", tid: int | None = None) -> list[Wakeup]:
    """All whole wake-ups of the threads of a name that have its highest priority, or of one thread, in order of time.

    Due times: a timer's ``expires`` is on CLOCK_MONOTONIC, and hrtimer_expire_entry's ``now`` too, which was read
    before the event was recorded. So the least difference between events and their ``now`` nearby is what the two
    clocks differ by. A wake-up of which an event is missing is left out.
    """
    shown = [
        (event.at_ns, event.at_ns - event.body.now_ns) for event in trace.events if isinstance(event.body, TimerExpire)
    ]
    started: dict[int, TimerStart] = {}
    expiring: dict[int, tuple[Event, TimerExpire]] = {}
    pending: dict[int, Wakeup] = {}
    found: list[Wakeup] = []
    last: dict[int, int] = {}
    for event in trace.events:
        body = event.body
        pending.pop(event.pid, None)  # it runs, and no event says since when
        if isinstance(body, TimerStart):
            if "hrtimer_wakeup" in body.function:
                started[event.pid] = body
        elif isinstance(body, TimerExpire):
            expiring[event.cpu] = (event, body)
        elif isinstance(body, TimerDone):
            expiring.pop(event.cpu, None)
        elif isinstance(body, Waking):
            timer, begun = expiring.get(event.cpu), started.get(body.pid)
            wanted = body.pid == tid if tid is not None else body.comm == comm and body.prio < 100
            if wanted and timer and begun and timer[1].timer == begun.timer and body.pid not in pending:
                expired = timer[0].at_ns
                due = begun.expires_ns + _difference(shown, expired, expired - timer[1].now_ns)
                cpu = body.target_cpu
                pending[body.pid] = Wakeup(
                    cpu, body.pid, body.comm, body.prio, min(due, expired), expired, event.at_ns, 0
                )
        elif isinstance(body, Switch) and body.next_pid in pending:
            woken = pending.pop(body.next_pid)
            started.pop(body.next_pid, None)
            if not _missing(trace, woken.cpu, woken.due_ns, event.at_ns):
                last[woken.tid] = len(found)
                found.append(replace(woken, cpu=event.cpu, ran_ns=event.at_ns))
        elif isinstance(body, Mark) and event.pid in last and (said := _MARK.search(body.text)):
            wakeup = found[last[event.pid]]
            end = wakeup.due_ns + int(said[1]) * 1000
            if wakeup.ran_ns <= end <= event.at_ns + 1000:
                found[last[event.pid]] = replace(wakeup, said_ns=end)
    highest = min((wakeup.prio for wakeup in found), default=0)
    return [wakeup for wakeup in found if wakeup.prio == highest]


def latest(found: Sequence[Wakeup], count: int) -> list[Wakeup]:
    """The ``count`` wake-ups with the greatest latency, that one first."""
    return sorted(found, key=lambda wakeup: (-wakeup.latency_ns, wakeup.due_ns))[:count]


def _difference(shown: Sequence[tuple[int, int]], at_ns: int, own: int) -> int:
    first = bisect_left(shown, (at_ns - _NEAR_NS, -(2**63)))
    last = bisect_right(shown, (at_ns + _NEAR_NS, 2**63))
    return min(each for _, each in shown[first:last] if abs(each - own) < _SAME_CLOCK_NS)


def _missing(trace: Trace, cpu: int, begin_ns: int, end_ns: int) -> bool:
    return any(
        gap.cpu in {None, cpu} and gap.begin_ns < end_ns and (gap.end_ns is None or gap.end_ns > begin_ns)
        for gap in trace.gaps
    )
