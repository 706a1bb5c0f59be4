"""What a vCPU's thread did on the host: in the guest, handling an exit, waiting for a core, asleep."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from rtvirt_runner.parsers.ftrace import (
    InterruptEntry,
    KvmEntry,
    KvmExit,
    Migrate,
    ParseError,
    Switch,
    Trace,
    UserspaceExit,
    Waking,
)

State = Literal["in guest", "exit", "exit to QEMU", "waiting", "asleep", "unknown"]

BACK = "back into the guest"  # the reason of a stretch after sleep and before kvm_entry
INTERRUPTED = "IRQ"  # as arm64's kvm_exit says of it

_NAME = re.compile(r"CPU (\d{1,4})/KVM", re.ASCII)


@dataclass(frozen=True, slots=True)
class VcpuSpan:
    """A stretch of time (ns, on the host's trace clock) in one state.

    ``cpu`` is the core that the thread runs on, has left or was woken for; ``reason`` is that of the last exit.
    """

    begin_ns: int
    end_ns: int
    state: State
    cpu: int
    reason: str = ""


@dataclass(frozen=True)
class VcpuThread:
    """All spans of one vCPU's thread, in order and without holes, from its first to its last event."""

    vcpu: int
    tid: int
    comm: str
    prio: int | None
    spans: tuple[VcpuSpan, ...]
    # From a kvm_exit, or the interrupt that came before it, to the next kvm_entry, with nothing lost in between.
    outside: tuple[tuple[int, int], ...]

    def between(self, begin_ns: int, end_ns: int) -> list[VcpuSpan]:
        """The spans that overlap with a stretch of time, cut to it; what is before or after all of them is unknown."""
        found: list[VcpuSpan] = []
        at = begin_ns
        first = max(0, bisect_right(self.spans, begin_ns, key=lambda span: span.begin_ns) - 1)
        for span in self.spans[first:]:
            if span.begin_ns >= end_ns:
                break
            low, high = max(span.begin_ns, at), min(span.end_ns, end_ns)
            if low >= high:
                continue
            if low > at:
                found.append(VcpuSpan(at, low, "unknown", span.cpu))
            found.append(VcpuSpan(low, high, span.state, span.cpu, span.reason))
            at = high
        if at < end_ns:
            found.append(VcpuSpan(at, end_ns, "unknown", -1))
        return found


def vcpu_threads(host: Trace, threads: Mapping[int, int] | None = None) -> dict[int, VcpuThread]:
    """The vCPUs of one guest, by number.

    ``threads``: the thread of each vCPU, from QMP (query-cpus-fast). Without it they are found by their names
    (``CPU n/KVM``) or by what kvm_entry says; ParseError when there are two guests.
    """
    found = dict(threads) if threads is not None else _find(host)
    return {vcpu: _spans(host, vcpu, tid) for vcpu, tid in sorted(found.items())}


def _find(host: Trace) -> dict[int, int]:
    found: dict[int, set[int]] = {}
    for event in host.events:
        if isinstance(event.body, (KvmEntry, KvmExit)):
            named = _NAME.fullmatch(event.comm)
            vcpu = event.body.vcpu if event.body.vcpu is not None else int(named[1]) if named else None
            if vcpu is not None:
                found.setdefault(vcpu, set()).add(event.pid)
    for vcpu, tids in found.items():
        if len(tids) > 1:
            raise ParseError(
                f"The board's trace has {len(tids)} threads of a vCPU {vcpu} ({', '.join(map(str, sorted(tids)))}), "
                "expected one guest; say which threads are its vCPUs."
            )
    return {vcpu: tids.pop() for vcpu, tids in found.items()}


def _spans(host: Trace, vcpu: int, tid: int) -> VcpuThread:
    spans: list[VcpuSpan] = []
    outside: list[tuple[int, int]] = []
    state: State = "unknown"
    reason, comm = "", f"CPU {vcpu}/KVM"
    prio: int | None = None
    cpu, slept = -1, False
    since: int | None = None
    left_at: int | None = None

    def enter(at: int, new: State, on: int) -> None:
        nonlocal state, cpu, since
        if since is not None and at > since:
            spans.append(VcpuSpan(since, at, state, cpu, reason if state.startswith("exit") else ""))
        state, cpu, since = new, on, at

    for event in host.events:
        body, own = event.body, event.pid == tid
        if own:
            comm = event.comm
            if state in {"asleep", "waiting"}:  # it runs, and no event says since when
                state = "unknown"
        if own and isinstance(body, KvmEntry):
            if left_at is not None:
                outside.append((left_at, event.at_ns))
            left_at, slept = None, False
            enter(event.at_ns, "in guest", event.cpu)
        elif own and isinstance(body, InterruptEntry) and state == "in guest":
            # The guest was left for it. arm64 says so by kvm_exit only when all that were pending have been handled.
            left_at = event.at_ns
            enter(event.at_ns, "exit", event.cpu)
            reason = INTERRUPTED
        elif own and isinstance(body, KvmExit):
            left_at = event.at_ns if left_at is None else left_at
            enter(event.at_ns, "exit", event.cpu)
            reason = body.reason
        elif own and isinstance(body, UserspaceExit):
            enter(event.at_ns, "exit to QEMU", event.cpu)
            reason = reason or body.reason
        elif isinstance(body, Switch) and body.prev_pid == tid:
            prio = body.prev_prio
            slept = slept or not body.stays_runnable
            enter(event.at_ns, "waiting" if body.stays_runnable else "asleep", event.cpu)
        elif isinstance(body, Switch) and body.next_pid == tid:
            prio = body.next_prio
            slept = slept or state in {"asleep", "unknown"}
            enter(event.at_ns, "exit", event.cpu)
            reason = BACK if slept else reason
        elif isinstance(body, Waking) and body.pid == tid and state in {"asleep", "unknown"}:
            enter(event.at_ns, "waiting", body.target_cpu)
        elif isinstance(body, Migrate) and body.pid == tid and state in {"asleep", "waiting"}:
            enter(event.at_ns, state, body.to_cpu)
    if since is not None:
        enter(host.end_ns, "unknown", cpu)
    outside = [each for each in outside if not _missing(host, None, *each)]
    return VcpuThread(vcpu, tid, comm, prio, tuple(_doubt(host, spans)), tuple(outside))


def _missing(host: Trace, cpu: int | None, begin_ns: int, end_ns: int) -> bool:
    """Whether events may be missing in between, on a core or, for None, on any."""
    return any(
        gap.begin_ns < end_ns and (gap.end_ns is None or gap.end_ns > begin_ns)
        for gap in host.gaps
        if cpu is None or gap.cpu in {None, cpu}
    )


def _doubt(host: Trace, spans: list[VcpuSpan]) -> list[VcpuSpan]:
    """The same spans, unknown where the event that ended them may be missing; a sleeper is woken from any core."""
    if not host.gaps:
        return spans
    return [
        VcpuSpan(span.begin_ns, span.end_ns, "unknown", span.cpu)
        if _missing(host, None if span.state in {"asleep", "waiting"} else span.cpu, span.begin_ns, span.end_ns)
        else span
        for span in spans
    ]
