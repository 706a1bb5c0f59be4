"""ftrace's text; tests/data/ftrace/host_x86.txt is captured from a kernel 6.18 of x86 beside cyclictest."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtvirt_runner.parsers import ParseError
from rtvirt_runner.parsers.ftrace import (
    Body,
    Gap,
    Injection,
    InterruptEntry,
    InterruptExit,
    KvmEntry,
    KvmExit,
    Mark,
    Migrate,
    Other,
    SoftirqEntry,
    Switch,
    TimerDone,
    TimerExpire,
    TimerStart,
    UserspaceExit,
    Waking,
    parse,
    read_events,
)

CAPTURED = (Path(__file__).parents[1] / "data" / "ftrace" / "host_x86.txt").read_text().splitlines(keepends=True)


def line(body: str, at: str = "  100.000001", cpu: int = 1, task: str = "       CPU 0/KVM-812    ") -> str:
    return f"{task} [{cpu:03d}] d..2. {at}: {body}\n"


@pytest.mark.parametrize(
    ("text", "body"),
    [
        # arm64
        ("kvm_entry: PC: 0xffff800080f1b6d4", KvmEntry(None)),
        ("kvm_exit: TRAP: HSR_EC: 0x0001 (WFx), PC: 0xffff800080f1b6d4", KvmExit(None, "WFx")),
        ("kvm_exit: IRQ: HSR_EC: 0x0000 (UNKNOWN), PC: 0xffff800080f1b6d4", KvmExit(None, "IRQ")),
        ("kvm_exit: TRAP: HSR_EC: 0x0024 (DABT_LOW), PC: 0xc0101234", KvmExit(None, "DABT_LOW")),
        ("kvm_timer_update_irq: VCPU: 0, IRQ 27, level 1", Injection(0, "27", True)),
        ("kvm_timer_update_irq: VCPU: 0, IRQ 27, level 0", Other()),
        ("vgic_update_irq_pending: VCPU: 3, IRQ 27, level: 1", Injection(3, "27")),
        ("irq_handler_entry: irq=11 name=arch_timer", InterruptEntry("11", "arch_timer")),
        # x86, old and new
        ("kvm_entry: vcpu 0, rip 0xffffffff81e0", KvmEntry(0)),
        ("kvm_entry: vcpu 1", KvmEntry(1)),
        ("kvm_entry: vcpu 2, rip 0x1 intr_info 0x80000ec error_code 0x0[immediate exit]", KvmEntry(2)),
        (
            "kvm_exit: vcpu 0 reason HLT rip 0xffff info1 0x0000 info2 0x0 intr_info 0x0 error_code 0x0",
            KvmExit(0, "HLT"),
        ),
        ("kvm_exit: reason EXTERNAL_INTERRUPT rip 0x7f info 0 800000ef", KvmExit(None, "EXTERNAL_INTERRUPT")),
        ("kvm_exit: vcpu 0 reason DE excp rip 0x7f info1 0x0", KvmExit(0, "DE excp")),
        ("kvm_inj_virq: IRQ 0xec", Injection(None, "0xec", True)),
        ("kvm_inj_virq: IRQ 0x22 [reinjected]", Injection(None, "0x22")),
        ("local_timer_entry: vector=236", InterruptEntry("local_timer", "local_timer")),
        ("local_timer_exit: vector=236", InterruptExit("local_timer")),
        # both
        ("kvm_userspace_exit: reason KVM_EXIT_MMIO (6)", UserspaceExit("KVM_EXIT_MMIO")),
        ("softirq_entry: vec=1 [action=TIMER]", SoftirqEntry("TIMER")),
        ("sched_migrate_task: comm=a b pid=12 prio=120 orig_cpu=0 dest_cpu=1", Migrate(12, 0, 1)),
        ("sched_waking: comm=CPU 0/KVM pid=812 prio=98 target_cpu=001", Waking("CPU 0/KVM", 812, 98, 1)),
        (
            "sched_switch: prev_comm=a ==> b prev_pid=7 prev_prio=120 prev_state=R+ ==> "
            "next_comm= x next_pid=9 next_prio=-1",
            Switch("a ==> b", 7, 120, "R+", " x", 9, -1),
        ),
        (
            "hrtimer_start: hrtimer=00000000c033077 function=kvm_bg_timer_expire [kvm] expires=63021 "
            "softexpires=63021 mode=ABS",
            TimerStart("00000000c033077", "kvm_bg_timer_expire [kvm]", 63021),
        ),
        ("hrtimer_expire_entry: hrtimer=0c function=hrtimer_wakeup now=77", TimerExpire("0c", "hrtimer_wakeup", 77)),
        ("hrtimer_expire_exit: hrtimer=0c", TimerDone("0c")),
        ("tracing_mark_write: hit latency threshold (319 > 250)", Mark("hit latency threshold (319 > 250)")),
        ("rcu_utilization: Start scheduler-tick", Other()),
    ],
)
def test_each_event_has_its_type(text: str, body: Body) -> None:
    (event,) = parse([line(text)]).events
    assert event.body == body
    assert (event.at_ns, event.cpu, event.comm, event.pid) == (100_000_001_000, 1, "CPU 0/KVM", 812)


def test_a_captured_trace_is_read_whole() -> None:
    trace = parse(CAPTURED)
    assert len(trace.events) == sum(not text.startswith("#") for text in CAPTURED)
    assert not trace.gaps
    assert not trace.complaint()
    assert trace.events == tuple(sorted(trace.events, key=lambda event: event.at_ns))


def test_the_number_of_the_group_and_older_columns_are_read() -> None:
    old = "          <idle>-0     [000] d.h1  12.000002: irq_handler_exit: irq=9 ret=handled\n"
    group = "      cyclictest-991     (    990) [001] d..2.1.  12.000003: hrtimer_expire_exit: hrtimer=0c\n"
    assert [event.pid for event in parse([old, group]).events] == [0, 991]


def test_what_the_kernel_lost_is_a_gap_of_its_core() -> None:
    lines = [
        line("kvm_entry: PC: 0xffff800080f1b6d4", "  100.000001", 1),
        line("kvm_entry: PC: 0xffff800080f1b6d4", "  100.000002", 0),
        "CPU:1 [LOST 23 EVENTS]\n",
        line("kvm_entry: PC: 0xffff800080f1b6d4", "  100.000005", 0),
        line("kvm_entry: PC: 0xffff800080f1b6d4", "  100.000009", 1),
        "CPU:0 [LOST EVENTS]\n",
    ]
    trace = parse(lines)
    assert trace.lost == 23
    assert trace.gaps == (
        Gap(1, 100_000_001_000, 100_000_009_000, "lost 23 events"),
        Gap(0, 100_000_005_000, None, "lost some events"),
    )
    assert trace.complaint() == "The trace has 2 gaps: 23 events were lost."


def test_a_known_event_that_is_not_what_the_kernel_prints_is_no_event() -> None:
    trace = parse(
        [line("kvm_exit: something else", "  100.000001"), line("kvm_entry: PC: 0xffff800080f1b6d4", "  100.000004")]
    )
    assert [event.name for event in trace.events] == ["kvm_entry"]
    assert (trace.unread, trace.gaps[0].cpu, trace.gaps[0].end_ns) == (1, 1, 100_000_004_000)


def test_time_that_runs_backwards_and_nothing_at_all_are_refused() -> None:
    with pytest.raises(ParseError, match=r"runs backwards on core 1, from 100\.000009 to 100\.000001 s"):
        parse([line("kvm_entry: vcpu 1", "  100.000009"), line("kvm_entry: vcpu 1", "  100.000001")])
    for nothing in ([], ["# tracer: nop\n"], ["sh: not found\n"]):
        with pytest.raises(ParseError, match="The trace has no event"):
            parse(nothing)


REST = [text for text in CAPTURED if not text.startswith("#")]
EVENTS = [next(read_events([text])) for text in REST]


@settings(max_examples=150, deadline=None)
@given(st.integers(0, len(REST) - 2), st.integers(1, 200))
def test_a_cut_line_that_runs_into_the_next_is_a_gap_and_no_wrong_event(number: int, keep: int) -> None:
    cut = REST[number].rstrip("\n")[:keep]
    read = list(read_events([*REST[:number], cut + REST[number + 1], *REST[number + 2 :]]))
    assert read[:number] == EVENTS[:number]
    assert isinstance(read[number], Gap)
    assert read[number + 1 :] == EVENTS[number + 2 :]


@settings(max_examples=100, deadline=None)
@given(st.integers(0, len(REST) - 1), st.integers(1, 160))
def test_a_text_that_ends_anywhere_gives_the_events_before_it_and_a_gap(number: int, keep: int) -> None:
    cut = REST[number].rstrip("\n")[:keep]
    read = list(read_events([*REST[:number], cut]))
    assert read[:number] == EVENTS[:number]
    assert not read[number:] or (len(read) == number + 1 and isinstance(read[-1], Gap))


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=200))
def test_foreign_lines_are_never_events(text: str) -> None:
    assert not [each for each in read_events([text.replace("\n", " ") + "\n"]) if not isinstance(each, Gap)]
