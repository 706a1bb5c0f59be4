"""What a vCPU's thread did on the host."""

from __future__ import annotations

from fake_traces import CORE, IRQ, TRUE_BEGIN, US, VCPU, FakeTrace

from rtvirt_runner.analysis.late.vcpus import vcpu_threads


def test_a_guest_is_left_for_an_interrupt_and_not_only_at_its_exit() -> None:
    """arm64 tells the exit when all interrupts that were pending have been handled, which may take milliseconds."""
    host = FakeTrace()
    host.add(TRUE_BEGIN, CORE, VCPU, "kvm_entry: PC: 0xffff800080010000")
    for n in range(100):
        host.add(TRUE_BEGIN + (100 + 25 * n) * US, CORE, VCPU, "irq_handler_entry: irq=11 name=arch_timer", "d.h1.")
        host.add(TRUE_BEGIN + (115 + 25 * n) * US, CORE, VCPU, "irq_handler_exit: irq=11 ret=handled", "d.h1.")
    host.add(TRUE_BEGIN + 2600 * US, CORE, VCPU, f"kvm_exit: {IRQ}, PC: 0xffff800080010000")
    host.add(TRUE_BEGIN + 2610 * US, CORE, VCPU, "kvm_entry: PC: 0xffff800080010000")
    host.add(TRUE_BEGIN + 2700 * US, CORE, VCPU, f"kvm_exit: {IRQ}, PC: 0xffff800080010000")
    trace = host.parsed()
    (thread,) = vcpu_threads(trace).values()
    begin = trace.begin_ns
    spans = [(span.begin_ns - begin, span.end_ns - begin, span.state, span.reason) for span in thread.spans[:4]]
    assert spans == [
        (0, 100 * US, "in guest", ""),
        (100 * US, 2600 * US, "exit", "IRQ"),
        (2600 * US, 2610 * US, "exit", "IRQ"),
        (2610 * US, 2700 * US, "in guest", ""),
    ]
    assert [(low - begin, high - begin) for low, high in thread.outside] == [(100 * US, 2610 * US)]
