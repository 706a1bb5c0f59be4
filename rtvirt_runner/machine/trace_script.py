"""The scripts that record a late wake-up with ftrace, and their environment.

On the board first: ``begin_trace``, before the guest has its priority; in the guest the same, then
``break_cyclictest`` and ``end_trace``; on the board ``end_trace`` last. A board's own wake-up needs all three there.
They are for SSH and for a sealed machine's queue alike.
"""

from __future__ import annotations

from rtvirt_runner.machine.cell_script import limit_s
from rtvirt_runner.matrix.cell import Cell

INSTANCE = "rtvirt"  # of tracefs
BUFFER_KIB = 4096  # for each core; an event takes about 60 bytes
LINES = 40_000  # of text that are fetched from a machine, below the limit of replies
FILES = {"host": "trace-host.txt", "guest": "trace-guest.txt"}  # in the record of a cell
# What an explanation needs; those that a kernel lacks are reported as missing.
EVENTS = (
    *("sched/sched_switch", "sched/sched_waking", "sched/sched_migrate_task"),
    *("irq/irq_handler_entry", "irq/irq_handler_exit", "irq/softirq_entry", "irq/softirq_exit"),
    *("timer/hrtimer_start", "timer/hrtimer_expire_entry", "timer/hrtimer_expire_exit"),
)
X86_EVENTS = tuple(
    f"irq_vectors/{vector}_{end}"
    for vector in ("local_timer", "reschedule", "call_function", "call_function_single", "irq_work")
    for end in ("entry", "exit")
)
HOST_EVENTS = (
    *("kvm/kvm_entry", "kvm/kvm_exit", "kvm/kvm_userspace_exit"),
    *("kvm/kvm_timer_update_irq", "kvm/kvm_inj_virq"),
)


def begin_environment(side: str, lasts_s: int, *, buffer_kib: int = BUFFER_KIB) -> dict[str, str]:
    """The variables of the scripts ``begin_trace`` on a side (host or guest); the trace is removed after lasts_s."""
    events = (*EVENTS, *X86_EVENTS, *(HOST_EVENTS if side == "host" else ()))
    return {
        "TRACE_INSTANCE": INSTANCE,
        "TRACE_EVENTS": " ".join(events),
        "TRACE_BUFFER_KIB": str(buffer_kib),
        "TRACE_LIMIT_S": str(lasts_s),
    }


def break_environment(cell: Cell, threshold_us: int) -> dict[str, str]:
    """The variables of the scripts ``break_cyclictest`` in a cell's place."""
    return {
        "TRACE_INSTANCE": INSTANCE,
        "CPU": str(cell.measured_cpu),
        "INTERVAL_US": str(cell.interval_us),
        "PRIORITY": str(cell.priority),
        "LOOPS": str(cell.loops),
        "LIMIT_S": str(limit_s(cell)),
        "THRESHOLD_US": str(threshold_us),
    }


def end_environment(side: str, *, lines: int = LINES) -> dict[str, str]:
    """The variables of the scripts ``end_trace`` on a side (host or guest)."""
    return {"TRACE_INSTANCE": INSTANCE, "TRACE_LINES": str(lines), "TRACE_FILE": FILES[side]}
