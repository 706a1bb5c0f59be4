"""Write traces in Perfetto's own format, which ui.perfetto.dev opens: a board and its guest on one time line.

They are two machines of one trace (TracePacket.machine_id; the board has none), and the guest's times are moved to the
board's clock here, drift included. Of ftrace's events there are those that Perfetto draws and ftrace's text has whole:
the scheduler's, interrupts and softirqs. What each vCPU's thread did, and marks, are slices and instants of tracks of
their own. Needs the package perfetto (the extra ``perfetto``), which Perfetto's developers keep.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from rtvirt_runner.analysis.late.clocks import ClockBound
from rtvirt_runner.analysis.late.trace_dat import task_state
from rtvirt_runner.analysis.late.vcpus import VcpuSpan, VcpuThread
from rtvirt_runner.parsers.ftrace import (
    Event,
    InterruptEntry,
    InterruptExit,
    Mark,
    Migrate,
    SoftirqEntry,
    SoftirqExit,
    Switch,
    Trace,
    Waking,
)

GUEST_MACHINE = 1  # machine_id of the guest's packets
_BUNDLE = 1000  # events of a packet
_SEQUENCE = 1  # of the packets of tracks
_MARKS, _FIRST_VCPU = 1, 16  # uuids of tracks; a machine's marks, and vCPU n
_SOFTIRQS = ("HI", "TIMER", "NET_TX", "NET_RX", "BLOCK", "IRQ_POLL", "TASKLET", "SCHED", "HRTIMER", "RCU")


def perfetto_trace(host: Trace, guest: Trace, clock: ClockBound, vcpus: Mapping[int, VcpuThread]) -> bytes:
    """The file of a board and its guest; times are ns on the board's trace clock. ImportError without perfetto."""
    from perfetto.trace_builder.proto_builder import TraceProtoBuilder

    builder = TraceProtoBuilder()
    _machine(builder, host, "board", 0, int)
    _machine(builder, guest, "guest", GUEST_MACHINE, clock.to_host)
    for vcpu, thread in sorted(vcpus.items()):
        uuid = _FIRST_VCPU + vcpu
        _track(builder, uuid, f"vCPU {vcpu} (thread {thread.tid})", 0)
        for span in thread.spans:
            _point(builder, span.begin_ns, uuid, "TYPE_SLICE_BEGIN", _named(span), 0)
            _point(builder, span.end_ns, uuid, "TYPE_SLICE_END", "", 0)
    return bytes(builder.serialize())


def _machine(builder: Any, trace: Trace, name: str, machine: int, move: Callable[[int], int]) -> None:
    packet = _packet(builder, move(trace.begin_ns), machine)
    packet.system_info.machine_name = name
    uuid = _MARKS + machine
    _track(builder, uuid, f"marks of the {name}", machine)
    by_cpu: dict[int, list[Event]] = {}
    for event in trace.events:
        by_cpu.setdefault(event.cpu, []).append(event)
        if isinstance(event.body, Mark):
            _point(builder, move(event.at_ns), uuid, "TYPE_INSTANT", event.body.text, machine)
    for cpu, events in sorted(by_cpu.items()):
        for first in range(0, len(events), _BUNDLE):
            bundle = _packet(builder, None, machine).ftrace_events
            bundle.cpu = cpu
            for event in events[first : first + _BUNDLE]:
                _add(bundle, event, move(event.at_ns))


def _packet(builder: Any, at_ns: int | None, machine: int) -> Any:
    packet = builder.add_packet()
    if at_ns is not None:
        packet.timestamp = at_ns
    if machine:
        packet.machine_id = machine
    return packet


def _track(builder: Any, uuid: int, name: str, machine: int) -> None:
    descriptor = _packet(builder, None, machine).track_descriptor
    descriptor.uuid, descriptor.name = uuid, name


def _point(builder: Any, at_ns: int, uuid: int, kind: str, name: str, machine: int) -> None:
    packet = _packet(builder, at_ns, machine)
    packet.trusted_packet_sequence_id = _SEQUENCE + machine
    packet.track_event.track_uuid = uuid
    packet.track_event.type = packet.track_event.Type.Value(kind)
    if name:
        packet.track_event.name = name


def _named(span: VcpuSpan) -> str:
    return f"{span.state}: {span.reason}" if span.reason else span.state


def _add(bundle: Any, event: Event, at_ns: int) -> None:
    """An event to the bundle of its core, if there is a field for it."""
    found = _field(event)
    if found is None:
        return
    name, values = found
    added = bundle.event.add(timestamp=at_ns, pid=event.pid)
    field = getattr(added, name)
    field.SetInParent()
    for key, value in values.items():
        setattr(field, key, value)


def _field(event: Event) -> tuple[str, dict[str, int | str]] | None:
    """The field of a FtraceEvent and its values; interrupts that have a name alone (vectors of x86) are number -1."""
    match event.body:
        case Switch() as body:
            left: dict[str, int | str] = {
                "prev_comm": body.prev_comm,
                "prev_pid": body.prev_pid,
                "prev_prio": body.prev_prio,
            }
            taken: dict[str, int | str] = {
                "next_comm": body.next_comm,
                "next_pid": body.next_pid,
                "next_prio": body.next_prio,
            }
            return "sched_switch", {**left, "prev_state": task_state(body), **taken}
        case Waking(comm, pid, prio, target_cpu):
            return "sched_waking", {"comm": comm, "pid": pid, "prio": prio, "success": 1, "target_cpu": target_cpu}
        case Migrate(pid, from_cpu, to_cpu):
            return "sched_migrate_task", {"pid": pid, "orig_cpu": from_cpu, "dest_cpu": to_cpu}
        case InterruptEntry(key, name):
            return "irq_handler_entry", {"irq": _number(key), "name": name}
        case InterruptExit(key):
            return "irq_handler_exit", {"irq": _number(key), "ret": 1}
        case SoftirqEntry(action) if action in _SOFTIRQS:
            return "softirq_entry", {"vec": _SOFTIRQS.index(action)}
        case SoftirqExit(action) if action in _SOFTIRQS:
            return "softirq_exit", {"vec": _SOFTIRQS.index(action)}
    return None


def _number(key: str) -> int:
    return int(key) if key.isdigit() else -1
