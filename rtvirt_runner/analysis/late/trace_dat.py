"""Write traces as files of trace-cmd (trace.dat, version 6), which ``trace-cmd report`` merges and KernelShark opens.

The layout is that of trace-cmd.dat.v6(5) of trace-cmd; records are those of the kernel's ring buffer (header_page and
header_event of tracefs). The formats of events are of this file: numbers, and strings of a fixed length, with the names
that readers look for. The host's file names the thread of each vCPU (option GUEST), the guest's the offset of its clock
(option TIMESHIFT), so that tools put both on one time line by themselves. Events that are not typed are left out.

The hrtimers' events are in a system of their own (hrtimer, where the kernel has timer): libtraceevent's plugin for the
kernel's would read addresses, of which ftrace's text has only hashes and names.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from rtvirt_runner.analysis.late.clocks import ClockBound
from rtvirt_runner.analysis.late.vcpus import VcpuThread
from rtvirt_runner.parsers.ftrace import (
    Body,
    Event,
    Injection,
    InterruptEntry,
    InterruptExit,
    KvmEntry,
    KvmExit,
    Mark,
    Migrate,
    SoftirqEntry,
    SoftirqExit,
    Switch,
    TimerDone,
    TimerExpire,
    TimerStart,
    Trace,
    UserspaceExit,
    Waking,
)

_PAGE = 4096
_PAGE_HEAD = 16
_TIME_BITS = 27
_MAGIC = b"\x17\x08\x44tracing6\0"
_OPTION_TRACE_ID, _OPTION_TIME_SHIFT, _OPTION_GUEST = 11, 12, 13
_INTERPOLATE = 1  # flag of TIMESHIFT: between samples; without it the first offset holds throughout
_HOST_ID, _GUEST_ID = 0x7274766972740001, 0x7274766972740002  # of the files of a pair
_HEADER_PAGE = f"""\tfield: u64 timestamp;\toffset:0;\tsize:8;\tsigned:0;
\tfield: local_t commit;\toffset:8;\tsize:8;\tsigned:1;
\tfield: int overwrite;\toffset:8;\tsize:1;\tsigned:1;
\tfield: char data;\toffset:16;\tsize:{_PAGE - _PAGE_HEAD};\tsigned:0;
"""
_HEADER_EVENT = """# compressed entry header
\ttype_len    :    5 bits
\ttime_delta  :   27 bits
\tarray       :   32 bits

\tpadding     : type == 29
\ttime_extend : type == 30
\ttime_stamp : type == 31
\tdata max type_len  == 28
"""
_COMMON = (
    ("unsigned short common_type", 2, 0),
    ("unsigned char common_flags", 1, 0),
    ("unsigned char common_preempt_count", 1, 0),
    ("int common_pid", 4, 1),
)
_SIZES = {"int": ("i", 4), "u64": ("Q", 8), "16": ("16s", 16), "32": ("32s", 32), "64": ("64s", 64)}


@dataclass(frozen=True)
class _Format:
    """One type of event: ``fields`` are (name, int, u64 or the length of a string)."""

    system: str
    name: str
    fields: tuple[tuple[str, str], ...]
    text: str  # of print fmt
    values: Callable[..., Sequence[int | str]]  # of a body

    def describe(self, number: int) -> str:
        """As tracefs' file format."""
        lines, at = [], 0
        for declared, size, signed in _COMMON:
            lines.append(f"\tfield:{declared};\toffset:{at};\tsize:{size};\tsigned:{signed};")
            at += size
        lines.append("")
        for name, kind in self.fields:
            size = _SIZES[kind][1]
            declared = f"{kind} {name}" if kind in {"int", "u64"} else f"char {name}[{size}]"
            lines.append(f"\tfield:{declared};\toffset:{at};\tsize:{size};\tsigned:{int(kind == 'int')};")
            at += size
        arguments = "".join(f", REC->{name}" for name, _ in self.fields)
        body = "\n".join(lines)
        return f'name: {self.name}\nID: {number}\nformat:\n{body}\n\nprint fmt: "{self.text}"{arguments}\n'

    def pack(self, body: Body) -> bytes:
        """The fields of a body after the common ones."""
        packing = "<" + "".join(_SIZES[kind][0] for _, kind in self.fields)
        given = [
            each.encode()[: _SIZES[kind][1] - 1] if isinstance(each, str) else each
            for each, (_, kind) in zip(self.values(body), self.fields, strict=True)
        ]
        return struct.pack(packing, *given)


_FORMATS: Mapping[type, _Format] = {
    Switch: _Format(
        "sched",
        "sched_switch",
        (
            *(("prev_comm", "16"), ("prev_pid", "int"), ("prev_prio", "int"), ("prev_state", "u64")),
            *(("next_comm", "16"), ("next_pid", "int"), ("next_prio", "int")),
        ),
        "prev_comm=%s prev_pid=%d prev_prio=%d prev_state=%d ==> next_comm=%s next_pid=%d next_prio=%d",
        lambda body: (
            *(body.prev_comm, body.prev_pid, body.prev_prio, task_state(body)),
            *(body.next_comm, body.next_pid, body.next_prio),
        ),
    ),
    Waking: _Format(
        "sched",
        "sched_waking",
        (("comm", "16"), ("pid", "int"), ("prio", "int"), ("target_cpu", "int")),
        "comm=%s pid=%d prio=%d target_cpu=%03d",
        lambda body: (body.comm, body.pid, body.prio, body.target_cpu),
    ),
    Migrate: _Format(
        "sched",
        "sched_migrate_task",
        (("pid", "int"), ("orig_cpu", "int"), ("dest_cpu", "int")),
        "pid=%d orig_cpu=%d dest_cpu=%d",
        lambda body: (body.pid, body.from_cpu, body.to_cpu),
    ),
    InterruptEntry: _Format("irq", "irq_handler_entry", (("name", "32"),), "name=%s", lambda body: (body.name,)),
    InterruptExit: _Format("irq", "irq_handler_exit", (("irq", "32"),), "irq=%s", lambda body: (body.key,)),
    SoftirqEntry: _Format("irq", "softirq_entry", (("action", "16"),), "[action=%s]", lambda body: (body.action,)),
    SoftirqExit: _Format("irq", "softirq_exit", (("action", "16"),), "[action=%s]", lambda body: (body.action,)),
    TimerStart: _Format(
        "hrtimer",
        "hrtimer_start",
        (("hrtimer", "32"), ("function", "32"), ("expires", "u64")),
        "hrtimer=%s function=%s expires=%llu",
        lambda body: (body.timer, body.function, body.expires_ns),
    ),
    TimerExpire: _Format(
        "hrtimer",
        "hrtimer_expire_entry",
        (("hrtimer", "32"), ("function", "32"), ("now", "u64")),
        "hrtimer=%s function=%s now=%llu",
        lambda body: (body.timer, body.function, body.now_ns),
    ),
    TimerDone: _Format(
        "hrtimer", "hrtimer_expire_exit", (("hrtimer", "32"),), "hrtimer=%s", lambda body: (body.timer,)
    ),
    KvmEntry: _Format("kvm", "kvm_entry", (("vcpu_id", "int"),), "vcpu %d", lambda body: (_vcpu(body),)),
    KvmExit: _Format(
        "kvm",
        "kvm_exit",
        (("vcpu_id", "int"), ("reason", "32")),
        "vcpu %d reason %s",
        lambda body: (_vcpu(body), body.reason),
    ),
    UserspaceExit: _Format("kvm", "kvm_userspace_exit", (("reason", "32"),), "reason %s", lambda body: (body.reason,)),
    Injection: _Format(
        "kvm",
        "kvm_interrupt_pending",
        (("vcpu_id", "int"), ("irq", "16")),
        "vcpu %d irq %s",
        lambda body: (_vcpu(body), body.irq),
    ),
    Mark: _Format("rtvirt", "mark", (("text", "64"),), "%s", lambda body: (body.text,)),
}
_NUMBERS = {kind: 1001 + number for number, kind in enumerate(_FORMATS)}  # the kernel's own begin below


def trace_dat_pair(
    host: Trace, guest: Trace, clock: ClockBound, vcpus: Mapping[int, VcpuThread]
) -> tuple[bytes, bytes]:
    """The files of a board and its guest, in this order; ``trace-cmd report HOST GUEST`` merges them.

    The guest's clock is moved by the middle of its bound, with the drift between its first and its last event.
    """
    known = {thread.tid: vcpu for vcpu, thread in vcpus.items()}
    cpus = b"".join(struct.pack("<ii", vcpu, thread.tid) for vcpu, thread in sorted(vcpus.items()))
    guest_option = b"guest\0" + struct.pack("<Qi", _GUEST_ID, len(vcpus)) + cpus
    times = (guest.begin_ns, guest.end_ns)
    offsets = [clock.to_host(at) - at for at in times]
    one = struct.pack("<i", 2) + struct.pack("<2Q", *times) + struct.pack("<2q", *offsets) + struct.pack("<2Q", 1, 1)
    count = 1 + max(event.cpu for event in guest.events)
    shift = struct.pack("<QIi", _HOST_ID, _INTERPOLATE, count) + one * count + struct.pack("<2Q", 0, 0) * count
    return (
        trace_dat(host, _HOST_ID, [(_OPTION_GUEST, guest_option)], known),
        trace_dat(guest, _GUEST_ID, [(_OPTION_TIME_SHIFT, shift)]),
    )


def trace_dat(
    trace: Trace,
    trace_id: int = _HOST_ID,
    options: Iterable[tuple[int, bytes]] = (),
    vcpus: Mapping[int, int] | None = None,
) -> bytes:
    """The file of one machine; ``vcpus``: the number of a vCPU by its thread, where events do not say it."""
    count = 1 + max(event.cpu for event in trace.events)
    head = [_MAGIC, bytes([0, 8]), struct.pack("<I", _PAGE)]
    for name, text in (("header_page", _HEADER_PAGE), ("header_event", _HEADER_EVENT)):
        head += [name.encode() + b"\0", _sized("<Q", text.encode())]
    head += [struct.pack("<I", 0), _formats()]
    comms = {event.pid: event.comm for event in trace.events if event.pid}
    lines = "".join(f"{pid} {comm}\n" for pid, comm in sorted(comms.items()))
    head += [_sized("<I", b""), _sized("<I", b""), _sized("<Q", lines.encode()), struct.pack("<I", count)]
    every = [(_OPTION_TRACE_ID, struct.pack("<Q", trace_id)), *options]
    head += [
        b"options  \0",
        *(struct.pack("<H", kind) + _sized("<I", data) for kind, data in every),
        struct.pack("<H", 0),
    ]
    head.append(b"flyrecord\0")
    start = b"".join(head)
    buffers = [_pages([each for each in trace.events if each.cpu == cpu], vcpus or {}) for cpu in range(count)]
    at = -(-(len(start) + 16 * count) // _PAGE) * _PAGE
    table, place = b"", at
    for pages in buffers:
        table += struct.pack("<QQ", place, len(pages))
        place += len(pages)
    return (start + table).ljust(at, b"\0") + b"".join(buffers)


def _sized(packing: str, data: bytes) -> bytes:
    return struct.pack(packing, len(data)) + data


def _formats() -> bytes:
    systems: dict[str, list[bytes]] = {}
    for kind, each in _FORMATS.items():
        systems.setdefault(each.system, []).append(_sized("<Q", each.describe(_NUMBERS[kind]).encode()))
    parts = [name.encode() + b"\0" + struct.pack("<I", len(each)) + b"".join(each) for name, each in systems.items()]
    return struct.pack("<I", len(systems)) + b"".join(parts)


def _pages(events: Sequence[Event], vcpus: Mapping[int, int]) -> bytes:
    """Pages of a core's ring buffer."""
    pages: list[bytes] = []
    begin = last = 0
    data = b""
    for event in events:
        kind = type(event.body)
        if kind not in _FORMATS:
            continue
        body = event.body
        if isinstance(body, (KvmEntry, KvmExit)) and body.vcpu is None and event.pid in vcpus:
            vcpu = vcpus[event.pid]
            body = KvmEntry(vcpu) if isinstance(body, KvmEntry) else KvmExit(vcpu, body.reason)
        common = struct.pack("<HBBi", _NUMBERS[kind], *_flags(event.flags), event.pid)
        record = (common + _FORMATS[kind].pack(body)).ljust(4)
        record += b"\0" * (-len(record) % 4)
        delta = event.at_ns - last if data else 0
        extend = (
            b""
            if delta < 1 << _TIME_BITS
            else struct.pack("<II", 30 | (delta & (1 << _TIME_BITS) - 1) << 5, delta >> _TIME_BITS)
        )
        if data and len(data) + len(extend) + len(record) + 8 > _PAGE - _PAGE_HEAD:
            pages.append(_page(begin, data))
            data, delta, extend = b"", 0, b""
        if not data:
            begin = event.at_ns
        low = 0 if extend else delta
        if len(record) <= 28 * 4:
            data += extend + struct.pack("<I", len(record) // 4 | low << 5) + record
        else:
            data += extend + struct.pack("<II", low << 5, len(record) + 4) + record
        last = event.at_ns
    return b"".join([*pages, _page(begin, data)] if data else pages)


def _page(begin: int, data: bytes) -> bytes:
    return (struct.pack("<QQ", begin, len(data)) + data).ljust(_PAGE, b"\0")


def _flags(text: str) -> tuple[int, int]:
    """common_flags and common_preempt_count from the kernel's letters (include/linux/trace_events.h)."""
    context = text[2:3]
    flags = (text[:1] in "dD") | (text[1:2] in "NnpP") << 2 | (context in "hHzZ") << 3 | (context in "sHZ") << 4
    depth = text[3:4]
    return flags, int(depth, 16) if depth in "0123456789abcdef" and depth else 0


def task_state(body: Switch) -> int:
    """The kernel's bits of the state that a task was left in; a + means that it was preempted."""
    letters = {"S": 1, "D": 2, "T": 4, "t": 8, "X": 16, "Z": 32, "P": 64, "I": 128}
    return letters.get(body.prev_state[:1], 0) | (256 if "+" in body.prev_state else 0)


def _vcpu(body: KvmEntry | KvmExit | Injection) -> int:
    return -1 if body.vcpu is None else body.vcpu
