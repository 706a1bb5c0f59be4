"""Parse ftrace's text (tracefs ``trace`` and ``trace_pipe``) with the clock ``mono_raw`` into typed events.

Lines are those of ``trace_print_context`` of the kernel (kernel/trace/trace_output.c): the task's name in exactly 16
columns, its number, the core, flags, and seconds with six decimals, to which the kernel has rounded nanoseconds:

        CPU 0/KVM-812     [001] d..2.  1234.567890: kvm_entry: PC: 0x...

Nothing becomes an event that is not whole. What was lost, is cut off or cannot be read becomes a `Gap`, in which
nothing is known of its core.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from types import MappingProxyType

from rtvirt_runner.parsers import ParseError

__all__ = ["Event", "Gap", "ParseError", "Trace", "parse", "read_events"]

ROUNDING_NS = 500  # ns2usecs() of the kernel rounds to the next microsecond


@dataclass(frozen=True, slots=True)
class Switch:
    """``sched_switch``; priorities are the kernel's (below 100: real time, a lower one goes first)."""

    prev_comm: str
    prev_pid: int
    prev_prio: int
    prev_state: str
    next_comm: str
    next_pid: int
    next_prio: int

    @property
    def stays_runnable(self) -> bool:
        """Whether the task that leaves the core was preempted."""
        return self.prev_state.startswith("R")


@dataclass(frozen=True, slots=True)
class Waking:
    """``sched_waking`` or ``sched_wakeup``."""

    comm: str
    pid: int
    prio: int
    target_cpu: int


@dataclass(frozen=True, slots=True)
class Migrate:
    """``sched_migrate_task``."""

    pid: int
    from_cpu: int
    to_cpu: int


@dataclass(frozen=True, slots=True)
class InterruptEntry:
    """``irq_handler_entry``, or ``<vector>_entry`` of x86; ``key`` matches it with its exit."""

    key: str
    name: str


@dataclass(frozen=True, slots=True)
class InterruptExit:
    """``irq_handler_exit``, or ``<vector>_exit`` of x86."""

    key: str


@dataclass(frozen=True, slots=True)
class SoftirqEntry:
    """``softirq_entry``."""

    action: str


@dataclass(frozen=True, slots=True)
class SoftirqExit:
    """``softirq_exit``."""

    action: str


@dataclass(frozen=True, slots=True)
class TimerStart:
    """``hrtimer_start``; ``expires_ns`` is on the timer's clock."""

    timer: str
    function: str
    expires_ns: int


@dataclass(frozen=True, slots=True)
class TimerExpire:
    """``hrtimer_expire_entry``; ``now_ns`` is what the timer's clock showed when its interrupt began."""

    timer: str
    function: str
    now_ns: int


@dataclass(frozen=True, slots=True)
class TimerDone:
    """``hrtimer_expire_exit``."""

    timer: str


@dataclass(frozen=True, slots=True)
class KvmEntry:
    """``kvm_entry``: the calling thread enters its guest. arm64 does not say which vCPU it is."""

    vcpu: int | None


@dataclass(frozen=True, slots=True)
class KvmExit:
    """``kvm_exit``: the calling thread has left its guest."""

    vcpu: int | None
    reason: str


@dataclass(frozen=True, slots=True)
class UserspaceExit:
    """``kvm_userspace_exit``: QEMU handles the exit."""

    reason: str


@dataclass(frozen=True, slots=True)
class Injection:
    """An interrupt was made pending for a vCPU, or is injected by its thread (``vcpu`` is None)."""

    vcpu: int | None
    irq: str
    is_timer: bool = False  # of the guest's core


@dataclass(frozen=True, slots=True)
class Mark:
    """What a program wrote to ``trace_marker``."""

    text: str


@dataclass(frozen=True, slots=True)
class Other:
    """Any other event: of its core and task alone something is known."""


Body = (
    Switch | Waking | Migrate | InterruptEntry | InterruptExit | SoftirqEntry | SoftirqExit | TimerStart | TimerExpire
    | TimerDone | KvmEntry | KvmExit | UserspaceExit | Injection | Mark | Other
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Event:
    """One event: when (ns on the trace's clock), on which core, during which task, and what.

    ``flags`` are the kernel's: interrupts off (d), need-resched, hardirq (h, H) or softirq (s), preemption's depth.
    """

    at_ns: int
    cpu: int
    comm: str
    pid: int
    flags: str
    name: str
    body: Body

    @property
    def in_hardirq(self) -> bool:
        """Whether it happened in a hardware interrupt, or in an NMI."""
        return self.flags[2:3] in {"h", "H", "z", "Z"}

    @property
    def in_softirq(self) -> bool:
        """Whether it happened in a softirq alone."""
        return self.flags[2:3] == "s"


@dataclass(frozen=True, slots=True)
class Gap:
    """Events are missing on a core (None: on any) from one time to another; ``reason`` says why."""

    cpu: int | None
    begin_ns: int
    end_ns: int | None  # None: to the end of the trace
    reason: str


@dataclass(frozen=True)
class Trace:
    """The events of a machine in order of time, and what is missing."""

    events: tuple[Event, ...]
    gaps: tuple[Gap, ...] = ()
    lost: int = 0  # events that the kernel says it has dropped, where it says how many
    unread: int = 0  # lines that are no whole event
    overwritten: bool = False  # the buffer was full, so it does not hold the first events

    @property
    def begin_ns(self) -> int:
        """Time of the first event."""
        return self.events[0].at_ns

    @property
    def end_ns(self) -> int:
        """Time of the last event."""
        return self.events[-1].at_ns

    @property
    def has_both_ends(self) -> bool:
        """Whether nothing is missing before its first event or after its last one."""
        return not self.overwritten and all(gap.begin_ns and gap.end_ns is not None for gap in self.gaps)

    def complaint(self) -> str:
        """What is missing, in one sentence; empty if nothing is."""
        if not self.gaps:
            return ""
        parts = [f"{self.lost} events were lost"] if self.lost else []
        parts += [f"{self.unread} lines could not be read"] if self.unread else []
        parts += [] if parts else ["events were lost"]
        return f"The trace has {len(self.gaps)} gaps: {' and '.join(parts)}."


_LINE = re.compile(
    r"(?P<comm>.{16})-(?P<pid>\d{1,10}) +(?:\( *[\d-]+\) +)?\[(?P<cpu>\d{3,5})\] (?P<flags>[0-9A-Za-z.#+-]{4,9}) +"
    r"(?P<seconds>\d{1,12})\.(?P<micros>\d{6}): (?P<name>[a-z_0-9]{1,60}): ?(?P<body>.*)",
    re.ASCII,
)
_SECOND = re.compile(r"-\d+ +\[\d{3,5}\] \S{4,9} +\d+\.\d{6}: ", re.ASCII)  # of two lines run together
_LOST = re.compile(r"CPU:(\d{1,5}) \[LOST (?:(\d{1,18}) )?EVENTS\]", re.ASCII)
_STARTED = re.compile(r"#+ CPU (\d{1,5}) buffer started #+", re.ASCII)
_COMM = r"(?:.{0,15})"  # TASK_COMM_LEN is 16, its last byte a zero
_WRITTEN = re.compile(r"# entries-in-buffer/entries-written: (\d+)/(\d+) .*", re.ASCII)
_LOCAL_TIMER = ("0xec", "236")  # LOCAL_TIMER_VECTOR of Linux on x86
_BODIES: dict[str, tuple[str, Callable[..., Body]]] = {}
_VECTOR = re.compile(r"vector=\d+", re.ASCII)


def _body(names: str, pattern: str, make: Callable[..., Body]) -> None:
    _BODIES.update(dict.fromkeys(names.split(), (pattern, make)))


_body(
    "sched_switch",
    rf"prev_comm=({_COMM}) prev_pid=(\d+) prev_prio=(-?\d+) prev_state=(\S+) ==> "
    rf"next_comm=({_COMM}) next_pid=(\d+) next_prio=(-?\d+)",
    lambda a, b, c, d, e, f, g: Switch(a, int(b), int(c), d, e, int(f), int(g)),
)
_body(
    "sched_waking sched_wakeup sched_wakeup_new",
    rf"comm=({_COMM}) pid=(\d+) prio=(-?\d+)(?: success=[01])? target_cpu=(\d{{3,5}})",
    lambda a, b, c, d: Waking(a, int(b), int(c), int(d)),
)
_body(
    "sched_migrate_task",
    rf"comm={_COMM} pid=(\d+) prio=-?\d+ orig_cpu=(\d+) dest_cpu=(\d+)",
    lambda a, b, c: Migrate(int(a), int(b), int(c)),
)
_body("irq_handler_entry", r"irq=(\d+) name=(.{0,100})", lambda irq, name: InterruptEntry(irq, name))
_body("irq_handler_exit", r"irq=(\d+) ret=(?:un)?handled", InterruptExit)
_body("softirq_entry", r"vec=\d+ \[action=(\w+)\]", SoftirqEntry)
_body("softirq_exit", r"vec=\d+ \[action=(\w+)\]", SoftirqExit)
_body(
    "hrtimer_start",
    r"hrtimer=(\S+) function=(\S+(?: \[\w+\])?) expires=(\d+) softexpires=\d+(?: mode=\S+)?(?: was_armed=[01])?",
    lambda timer, function, expires: TimerStart(timer, function, int(expires)),
)
_body(
    "hrtimer_expire_entry",
    r"hrtimer=(\S+) function=(\S+(?: \[\w+\])?) now=(\d+)",
    lambda timer, function, now: TimerExpire(timer, function, int(now)),
)
_body("hrtimer_expire_exit", r"hrtimer=(\S+)", TimerDone)
_body(
    "kvm_entry",
    r"(?:vcpu (\d+)(?:, rip 0x\w+.*)?|PC: 0x[0-9a-f]{8,16})",
    lambda vcpu: KvmEntry(None if vcpu is None else int(vcpu)),
)
_body(
    "kvm_exit",
    # x86; arm64 and 32-bit ARM, where the class of the exception says more than that it was a trap; old 32-bit ARM
    r"(?:(?:vcpu (\d+) )?reason (\S.*?) rip 0x\w+.*"
    r"|(\w+): HSR_EC: 0x[0-9a-f]{4} \(([^()]*)\), PC: 0x[0-9a-f]{8,16}"
    r"|(?:HSR_EC: 0x([0-9a-f]{4}), )?PC: 0x[0-9a-f]{8})",
    lambda vcpu, x86, kind, trap, old: KvmExit(
        None if vcpu is None else int(vcpu), x86 or (trap if kind == "TRAP" else kind) or old or "unknown"
    ),
)
_body("kvm_userspace_exit", r"reason (\S+) \(-?\d+\)", UserspaceExit)
_body(
    "kvm_timer_update_irq",
    r"VCPU: (\d+), IRQ (\d+), level ([01])",
    lambda vcpu, irq, level: Injection(int(vcpu), irq, True) if level == "1" else Other(),
)
_body(
    "vgic_update_irq_pending",
    r"VCPU: (\d+), IRQ (\d+), level: ([01])",
    lambda vcpu, irq, level: Injection(int(vcpu), irq) if level == "1" else Other(),
)
_body("kvm_inj_virq", r"(?:IRQ |irq )(\w+)(?: \[reinjected\])?", lambda irq: Injection(None, irq, irq in _LOCAL_TIMER))
_body("tracing_mark_write print", r"(.*)", Mark)
_READERS = MappingProxyType({name: (re.compile(pattern, re.ASCII), make) for name, (pattern, make) in _BODIES.items()})
_VECTORS = {
    *("local_timer", "reschedule", "call_function", "call_function_single", "irq_work", "x86_platform_ipi"),
    *("thermal_apic", "error_apic", "spurious_apic", "threshold_apic", "deferred_error_apic"),
}


def read_events(lines: Iterable[str]) -> Iterator[Event | Gap]:
    """Events and gaps in the order of the lines, which keep their ends; for traces that are too large to be kept.

    A gap follows the last event before it and has ``end_ns`` None: it ends with the next event (of its core).
    A last line without an end is cut off. Raises ParseError when a core's time runs backwards.
    """
    last: dict[int, int] = {}
    latest = 0
    for line in lines:
        text = line.rstrip("\r\n")
        if not text.strip() or (text.startswith("#") and not _STARTED.fullmatch(text)):
            continue
        if lost := _LOST.fullmatch(text) or _STARTED.fullmatch(text):
            cpu = int(lost[1])
            count = lost.group(2) if lost.re is _LOST else None
            # the first line of a core in `trace` says only that it has begun
            if lost.re is _LOST or cpu in last:
                yield Gap(cpu, last.get(cpu, 0), None, f"lost {count or 'some'} events")
            continue
        event = _event(text) if line.endswith("\n") else None
        if event is None:
            found = _LINE.fullmatch(text) if line.endswith("\n") else None
            cpu_of = int(found["cpu"]) if found else None
            yield Gap(cpu_of, last.get(cpu_of, 0) if cpu_of is not None else latest, None, "unread line")
            continue
        if event.at_ns < last.get(event.cpu, 0):
            raise ParseError(
                f"The trace's time runs backwards on core {event.cpu}, from {last[event.cpu] / 1e9:.6f} to "
                f"{event.at_ns / 1e9:.6f} s; is it of one boot, with the clock mono_raw?"
            )
        last[event.cpu] = event.at_ns
        latest = max(latest, event.at_ns)
        yield event


def parse(lines: Iterable[str]) -> Trace:
    """All of a trace, in order of time; raises ParseError, one sentence, when it has no event or runs backwards."""
    events: list[Event] = []
    gaps: list[Gap] = []
    open_gaps: list[Gap] = []
    lost = unread = 0
    overwritten = False

    def watched() -> Iterator[str]:
        nonlocal overwritten
        for line in lines:
            if found := _WRITTEN.match(line):
                overwritten = int(found[1]) < int(found[2])
            yield line

    for each in read_events(watched()):
        if isinstance(each, Event):
            events.append(each)
            for gap in open_gaps[:]:
                if gap.cpu in {None, each.cpu} and each.at_ns >= gap.begin_ns:
                    gaps.append(Gap(gap.cpu, gap.begin_ns, each.at_ns, gap.reason))
                    open_gaps.remove(gap)
            continue
        open_gaps.append(each)
        counted = re.search(r"\d+", each.reason)
        lost += int(counted[0]) if counted else 0
        unread += each.reason == "unread line"
    if not events:
        raise ParseError("The trace has no event, expected lines as of tracefs' file trace.")
    events.sort(key=lambda event: event.at_ns)
    return Trace(tuple(events), tuple(gaps + open_gaps), lost, unread, overwritten)


def _event(text: str) -> Event | None:
    line = _LINE.fullmatch(text)
    if line is None or len(line["comm"].strip()) > 15 or _SECOND.search(line["body"]):
        return None
    body = _read_body(line["name"], line["body"].strip())
    if body is None:
        return None
    return Event(
        int(line["seconds"]) * 1_000_000_000 + int(line["micros"]) * 1000,
        int(line["cpu"]),
        line["comm"].strip(),
        int(line["pid"]),
        line["flags"],
        line["name"],
        body,
    )


def _read_body(name: str, text: str) -> Body | None:
    """What an event says; None when a known event's text is not what the kernel prints."""
    if reader := _READERS.get(name):
        pattern, make = reader
        found = pattern.fullmatch(text)
        return make(*found.groups()) if found else None
    vector, _, end = name.rpartition("_")
    if vector in _VECTORS and end in {"entry", "exit"}:
        if not _VECTOR.fullmatch(text):
            return None
        return InterruptEntry(vector, vector) if end == "entry" else InterruptExit(vector)
    return Other()
