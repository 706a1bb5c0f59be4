"""From a timer's expiry to the wake-up: each nanosecond has an owner, and the sum is the latency.

A wake-up has three phases on its core: until the timer's function runs (its interrupt is late), until the thread is
runnable (the interrupt works), and until it runs (something else has the core). In a guest that holds while the vCPU is
in the guest; while it is not, the same three phases of the vCPU's thread on the host are asked instead.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from functools import cached_property
from typing import Literal

from rtvirt_runner.analysis.late.clocks import ClockBound, ClockSample, Interval, clock_bound
from rtvirt_runner.analysis.late.cores import CoreSpan, core_spans, spans_between
from rtvirt_runner.analysis.late.vcpus import VcpuSpan, VcpuThread, vcpu_threads
from rtvirt_runner.analysis.late.wakeups import Wakeup, latest, wakeups
from rtvirt_runner.parsers.ftrace import Injection, Trace

Side = Literal["host", "guest"]
Phase = Literal["late", "expiry", "runnable", "returning"]


class Cause(Enum):
    """What a stretch of time went to."""

    TASK = "other task"  # of the same or a higher priority
    QEMU = "QEMU's own thread"
    OTHER_VCPU = "another vCPU"
    INTERRUPT = "interrupt"
    SOFTIRQ = "softirq"
    INTERRUPTS_OFF = "interrupts off"
    PREEMPTION_OFF = "preemption off"
    IDLE = "leaving idle"
    TIMER = "timer interrupt"
    SWITCH = "wake-up to run"
    EXIT = "exit handled by KVM"
    USER_EXIT = "exit handled by QEMU"
    NOT_INJECTED = "interrupt not yet injected"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Owner:
    """Who had a stretch of time: a cause, on which side, and its thread, interrupt, softirq or exit (may be empty)."""

    cause: Cause
    side: Side
    who: str = ""


@dataclass(frozen=True, slots=True)
class Slice:
    """A stretch of a latency in ns on the wake-up's time line, with its owner and the core of its owner's side."""

    begin_ns: int
    end_ns: int
    owner: Owner
    cpu: int

    @property
    def length_ns(self) -> int:
        """How long it is."""
        return self.end_ns - self.begin_ns


@dataclass(frozen=True)
class Explanation:
    """One late wake-up and where its time went.

    Times are on the board's clock for a guest's wake-up whose board was traced, else on the machine's own.
    ``bound_ns``: how uncertain the offset between the clocks is there, None without two clocks.
    """

    wakeup: Wakeup  # on the same time line as the slices
    side: Side
    slices: tuple[Slice, ...]
    bound_ns: float | None = None
    warnings: tuple[str, ...] = ()

    @cached_property
    def totals(self) -> dict[Owner, int]:
        """Time of each owner in ns, the greatest first; the sum is the latency."""
        counted: Counter[Owner] = Counter()
        for part in self.slices:
            counted[part.owner] += part.length_ns
        return dict(sorted(counted.items(), key=lambda each: (-each[1], each[0].cause.value, each[0].who)))

    @property
    def culprit(self) -> Owner:
        """The owner of most of the latency, unknown if nobody is known."""
        return next(iter(self.totals), Owner(Cause.UNKNOWN, self.side))

    @property
    def unknown_ns(self) -> int:
        """Time without an owner."""
        return sum(length for owner, length in self.totals.items() if owner.cause is Cause.UNKNOWN)

    def as_dict(self) -> dict[str, object]:
        """For JSON, in us."""
        return {
            "side": self.side,
            "cpu": self.wakeup.cpu,
            "thread": self.wakeup.comm,
            "due_ns": self.wakeup.due_ns,
            "latency_us": self.wakeup.latency_ns / 1000,
            "clock_bound_us": None if self.bound_ns is None else self.bound_ns / 1000,
            "causes": [
                {"cause": owner.cause.value, "side": owner.side, "who": owner.who, "us": length / 1000}
                for owner, length in self.totals.items()
            ],
            "warnings": list(self.warnings),
        }


@dataclass(frozen=True)
class Machine:
    """A traced machine: what ran on each core, and its wake-ups."""

    side: Side
    trace: Trace
    cores: Mapping[int, Sequence[CoreSpan]]
    wakeups: Sequence[Wakeup]
    usual_late_ns: int = 0  # from a timer that is due to its function, when nothing is in the way
    usual_switch_ns: int = 0  # from runnable to running, the same

    @staticmethod
    def read(side: Side, trace: Trace, comm: str = "cyclictest") -> Machine:
        """From its trace. What is usual is the lower quartile of its wake-ups, 0 with fewer than four."""
        found = wakeups(trace, comm)
        late = _quartile([each.expired_ns - each.due_ns for each in found])
        switch = _quartile([each.ran_ns - each.woken_ns for each in found])
        return Machine(side, trace, core_spans(trace), found, late, switch)


@dataclass(frozen=True)
class TimeLine:
    """A board, its guest, or both on one time line; make it with ``time_line``."""

    host: Machine | None
    guest: Machine | None
    clock: ClockBound | None = None
    vcpus: Mapping[int, VcpuThread] = field(default_factory=dict)
    qemu: frozenset[int] = frozenset()  # threads of the guest's QEMU
    injections: Mapping[int, Sequence[int]] = field(
        default_factory=dict
    )  # of the guest's timer: times on the host, by vCPU

    def explain(self, wakeup: Wakeup, side: Side) -> Explanation:
        """Where the time of one wake-up of one side went; the wake-up's times are on that side's clock."""
        machine = self.guest if side == "guest" else self.host
        if machine is None:
            raise ValueError(f"the {side} was not traced")
        warnings = [said] if (said := machine.trace.complaint()) else []
        parts = _on_core(machine, wakeup)
        if side == "host" or self.host is None or self.clock is None or wakeup.cpu not in self.vcpus:
            if side == "guest":
                warnings.append("Only the guest was traced: time in which its vCPU did not run is not told apart.")
            return Explanation(wakeup, side, _merged(parts), None, tuple(warnings))
        clock = self.clock
        moved = _moved(wakeup, clock)
        parts = [
            Slice(clock.to_host(each.begin_ns), clock.to_host(each.end_ns), each.owner, each.cpu) for each in parts
        ]
        merged = _merged(self._through_host(parts, moved))
        warnings += [said] if (said := self.host.trace.complaint()) else []
        bound = clock.width_ns(wakeup.due_ns)
        explanation = Explanation(moved, side, merged, bound, tuple(warnings))
        return Explanation(moved, side, merged, bound, (*_doubts(explanation, clock), *warnings))

    def worst(self, side: Side, count: int = 10) -> list[Explanation]:
        """The latest wake-ups of a side, explained, the latest first."""
        machine = self.guest if side == "guest" else self.host
        return [self.explain(each, side) for each in latest(machine.wakeups, count)] if machine else []

    def _through_host(self, parts: Sequence[Slice], wakeup: Wakeup) -> list[Slice]:
        """The guest's slices while its vCPU is in the guest, and the host's while it is not."""
        thread = self.vcpus[wakeup.cpu]
        spans = thread.between(wakeup.due_ns, wakeup.end_ns)
        pending = next((at for at in self.injections.get(wakeup.cpu, ()) if at >= wakeup.due_ns), None)
        found: list[Slice] = []
        for span in spans:
            if span.state == "in guest":
                for part in parts:
                    begin, end = max(part.begin_ns, span.begin_ns), min(part.end_ns, span.end_ns)
                    if begin < end:
                        found += _in_guest(Slice(begin, end, part.owner, part.cpu), pending, wakeup)
            else:
                found += self._out_of_guest(span, thread)
        return found

    def _out_of_guest(self, span: VcpuSpan, thread: VcpuThread) -> list[Slice]:
        if self.host is None or span.state == "unknown":
            return [Slice(span.begin_ns, span.end_ns, Owner(Cause.UNKNOWN, "host"), span.cpu)]
        found = []
        for core in spans_between(self.host.cores.get(span.cpu, ()), span.begin_ns, span.end_ns):
            if core.kind == "thread" and core.pid == thread.tid:
                cause = Cause.USER_EXIT if span.state == "exit to QEMU" else Cause.EXIT
                # until it is seen to be switched in, a thread that runs is on its way
                owner = (
                    Owner(cause, "host", span.reason) if span.state.startswith("exit") else Owner(Cause.SWITCH, "host")
                )
            elif span.state.startswith("exit") and core.kind in {"thread", "idle"}:
                owner = Owner(Cause.UNKNOWN, "host")  # the two contradict each other
            else:
                owner = self._host_owner(core, "late" if span.state == "asleep" else "runnable", thread.prio)
            found.append(Slice(core.begin_ns, core.end_ns, owner, span.cpu))
        return found

    def _host_owner(self, core: CoreSpan, phase: Phase, prio: int | None) -> Owner:
        if core.kind == "thread" and phase == "runnable":
            others = {thread.tid: vcpu for vcpu, thread in self.vcpus.items()}
            if core.pid in others:
                return Owner(Cause.OTHER_VCPU, "host", f"vCPU {others[core.pid]}")
            if core.pid in self.qemu or (not self.qemu and core.name.startswith("qemu-")):
                return Owner(Cause.QEMU, "host", core.name)
        owner = _owner(core, phase, prio, "host")
        # an idle core whose vCPU sleeps waits for the timer that stands in for the guest's
        return Owner(Cause.NOT_INJECTED, "host") if owner.cause is Cause.IDLE and phase == "late" else owner


def time_line(
    host: Trace | None,
    guest: Trace | None,
    *,
    threads: Mapping[int, int] | None = None,
    qemu: Sequence[int] = (),
    samples: Sequence[ClockSample] = (),
    near_ns: Interval | None = None,
    last_ns: int | None = None,
    timers: bool = False,
    comm: str = "cyclictest",
) -> TimeLine:
    """Both traces on the board's clock, or one of them alone.

    ``threads``: the host's thread of each vCPU, ``qemu``: all threads of the guest's QEMU; without them names decide.
    ``samples``, ``near_ns`` and ``last_ns``: as for ``clock_bound``. ``timers``: each timer interrupt that KVM makes
    pending for the guest is an event of the board, as with a GIC in the kernel. Raises ParseError, one sentence, when
    the traces do not belong together.
    """
    board = Machine.read("host", host, comm) if host else None
    inside = Machine.read("guest", guest, comm) if guest else None
    if host is None or guest is None:
        return TimeLine(board, inside, qemu=frozenset(qemu))
    vcpus = vcpu_threads(host, threads)
    injections = _injections(host, vcpus)
    clock = clock_bound(
        host,
        guest,
        vcpus,
        near_ns=near_ns,
        samples=samples,
        injections=injections if timers else None,
        last_ns=last_ns,
    )
    return TimeLine(board, inside, clock, vcpus, frozenset(qemu), injections)


# ------------------------------------------------------------------------------------------------------------- phases


def _on_core(machine: Machine, wakeup: Wakeup) -> list[Slice]:
    """The slices of a wake-up on its core, as if that always ran."""
    phases: list[tuple[Phase, int, int]] = [
        ("late", wakeup.due_ns, wakeup.expired_ns),
        ("expiry", wakeup.expired_ns, wakeup.woken_ns),
        ("runnable", wakeup.woken_ns, wakeup.ran_ns),
        ("returning", wakeup.ran_ns, wakeup.end_ns),
    ]
    found: list[Slice] = []
    cores = machine.cores.get(wakeup.cpu, ())
    for phase, begin, end in phases:
        if phase in {"expiry", "returning"}:
            cause = Cause.TIMER if phase == "expiry" else Cause.SWITCH
            found.append(Slice(begin, end, Owner(cause, machine.side), wakeup.cpu))
            continue
        usual = machine.usual_late_ns if phase == "late" else machine.usual_switch_ns
        cause = Cause.TIMER if phase == "late" else Cause.SWITCH
        spans = spans_between(cores, begin, end)
        own = _own_interrupt(spans) if phase == "late" else end
        for core in spans:
            owner = _owner(core, phase, wakeup.prio, machine.side)
            if core.begin_ns >= own:
                owner = Owner(Cause.TIMER, machine.side)
            # what it always costs belongs to nobody in particular
            split = max(core.begin_ns, min(core.end_ns, end - usual))
            if owner.cause not in {Cause.INTERRUPTS_OFF, Cause.PREEMPTION_OFF, Cause.IDLE}:
                split = core.end_ns
            found.append(Slice(core.begin_ns, split, owner, wakeup.cpu))
            found.append(Slice(split, core.end_ns, Owner(cause, machine.side), wakeup.cpu))
    return [part for part in found if part.begin_ns < part.end_ns]


def _own_interrupt(spans: Sequence[CoreSpan]) -> int:
    """When the interrupt began in which the timer's function was called, else the end."""
    begin = spans[-1].end_ns if spans else 0
    for span in reversed(spans):
        if span.kind != "hardirq" or span.name != spans[-1].name:
            break
        begin = span.begin_ns
    return begin


def _owner(core: CoreSpan, phase: Phase, prio: int | None, side: Side) -> Owner:
    """Who is in the way of a thread of a priority (the kernel's) in a phase, by what runs on its core."""
    if core.kind == "unknown":
        return Owner(Cause.UNKNOWN, side)
    if core.kind in {"hardirq", "softirq"}:
        return Owner(Cause.INTERRUPT if core.kind == "hardirq" else Cause.SOFTIRQ, side, core.name)
    if core.kind == "idle":
        return Owner(Cause.IDLE if phase == "late" else Cause.SWITCH, side)
    if phase == "late":  # the timer's interrupt would have come at once
        return Owner(Cause.INTERRUPTS_OFF, side, core.name)
    lower = core.prio is not None and prio is not None and prio < 100 and core.prio > prio
    return Owner(Cause.PREEMPTION_OFF if lower else Cause.TASK, side, core.name)


def _in_guest(part: Slice, pending: int | None, wakeup: Wakeup) -> list[Slice]:
    """A guest's slice while its vCPU runs. Before its interrupt was injected, the guest could not know."""
    if part.owner.cause not in {Cause.INTERRUPTS_OFF, Cause.IDLE} or part.begin_ns >= wakeup.expired_ns:
        return [part]
    waits = Owner(Cause.NOT_INJECTED, "host")
    until = wakeup.expired_ns if pending is None else pending
    split = max(part.begin_ns, min(part.end_ns, until))
    halves = (Slice(part.begin_ns, split, waits, part.cpu), Slice(split, part.end_ns, part.owner, part.cpu))
    return [half for half in halves if half.begin_ns < half.end_ns]


def _injections(host: Trace, vcpus: Mapping[int, VcpuThread]) -> dict[int, list[int]]:
    found: dict[int, list[int]] = {vcpu: [] for vcpu in vcpus}
    of_thread = {thread.tid: vcpu for vcpu, thread in vcpus.items()}
    for event in host.events:
        if isinstance(event.body, Injection) and event.body.is_timer:
            vcpu = event.body.vcpu if event.body.vcpu is not None else of_thread.get(event.pid)
            if vcpu in found:
                found[vcpu].append(event.at_ns)
    return found


def _moved(wakeup: Wakeup, clock: ClockBound) -> Wakeup:
    return replace(
        wakeup,
        due_ns=clock.to_host(wakeup.due_ns),
        expired_ns=clock.to_host(wakeup.expired_ns),
        woken_ns=clock.to_host(wakeup.woken_ns),
        ran_ns=clock.to_host(wakeup.ran_ns),
        said_ns=None if wakeup.said_ns is None else clock.to_host(wakeup.said_ns),
    )


def _doubts(explanation: Explanation, clock: ClockBound) -> list[str]:
    """Sentences on what the clocks do not allow to say."""
    width, latency = explanation.bound_ns or 0.0, explanation.wakeup.latency_ns
    said = []
    if clock.rivals:
        said.append("More than one offset between the clocks is possible, so this explanation cannot be relied on.")
    elif width > latency:
        said.append(
            f"The clocks are known to {width / 1000:.0f} µs only, more than the {latency / 1000:.0f} µs to explain, so "
            "this explanation cannot be relied on."
        )
    elif width > (most := next(iter(explanation.totals.values()), 0)):
        said.append(
            f"The clocks are known to {width / 1000:.0f} µs only, more than the longest cause ({most / 1000:.0f} µs)."
        )
    if clock.outside:
        said.append(f"{clock.outside} of {clock.events} events of the guest lie outside of its vCPUs' time.")
    return said


def _merged(parts: Sequence[Slice]) -> tuple[Slice, ...]:
    """Slices in order, neighbours of one owner as one."""
    found: list[Slice] = []
    for part in sorted(parts, key=lambda each: each.begin_ns):
        before = found[-1] if found else None
        if before and before.owner == part.owner and before.cpu == part.cpu and before.end_ns == part.begin_ns:
            found[-1] = Slice(before.begin_ns, part.end_ns, part.owner, part.cpu)
        else:
            found.append(part)
    return tuple(found)


def _quartile(values: Sequence[int]) -> int:
    return sorted(values)[len(values) // 4] if len(values) >= 4 else 0
