"""The scripts that record a late wake-up with ftrace, and their environment.

On the board first: ``make_trace``, before the guest has its priority, then ``begin_trace``; in the guest the same, then
``break_cyclictest``; ``end_trace`` on the board, whose buffers still fill, and in the guest. A board's own wake-up
needs all four there. They are for SSH and for a sealed machine's queue alike.
"""

from __future__ import annotations

from rtvirt_runner.machine import cell_script
from rtvirt_runner.machine.cell_script import limit_s
from rtvirt_runner.matrix.cell import Cell
from rtvirt_runner.matrix.trace_files import FILES, MORE_LOOPS, RTLA_FILE

_TIMER = ("CPU", "INTERVAL_US", "PRIORITY")  # of a cell, for what wakes up in its place

INSTANCE = "rtvirt"  # of tracefs
BUFFER_KIB = 4096  # for each core; an event takes about 60 bytes
LINES = 40_000  # of text that are fetched from a machine, below the limit of replies
# Of the machine's clock beyond its loops, for starting a guest and what comes between the commands: an idle emulated
# board's runs a hundred times as fast as ours.
STEPS_S = {"real": 1800, "virtual": 1_000_000}
RTLA_STARTS_S = 60  # of the machine's clock, at most: an emulated board takes long to load it
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
# A bell (7) that a guest writes to its console: the PL011 of QEMU's virt, the first serial port of a PC. It ends the
# board's trace at once; the next command would come after so many events that what is to be explained is overwritten.
BELLS = ("kvm/kvm_mmio:gpa==0x9000000&&val==7", "kvm/kvm_pio:port==0x3f8&&val==7")


def lasts_s(cell: Cell) -> int:
    """After how many seconds of the machine's clock a trace is removed of which nobody has read the end."""
    return break_limit_s(cell) + 2 * limit_s(cell) + STEPS_S[cell.clock]


def break_limit_s(cell: Cell) -> int:
    """The limit of the cyclictest that breaks, in seconds of the machine's clock."""
    return MORE_LOOPS * limit_s(cell)


def rtla_limit_s(cell: Cell) -> int:
    """How long rtla waits for a late wake-up, in seconds of the machine's clock: as long as the cell measures.

    It may find none, and beside a load each of these seconds takes an emulated board several of ours.
    """
    return cell.loops * cell.interval_us // 1_000_000 + RTLA_STARTS_S


def make_environment(lasts_s: int, *, buffer_kib: int = BUFFER_KIB) -> dict[str, str]:
    """The variables of the scripts ``make_trace``; the trace is removed after lasts_s."""
    return {"TRACE_INSTANCE": INSTANCE, "TRACE_BUFFER_KIB": str(buffer_kib), "TRACE_LIMIT_S": str(lasts_s)}


def begin_environment(side: str) -> dict[str, str]:
    """The variables of the scripts ``begin_trace`` on a side (host or guest)."""
    events = (*EVENTS, *X86_EVENTS, *(HOST_EVENTS if side == "host" else ()))
    stops = BELLS if side == "host" else ()
    return {"TRACE_INSTANCE": INSTANCE, "TRACE_EVENTS": " ".join(events), "TRACE_STOPS": " ".join(stops)}


def break_environment(cell: Cell, threshold_us: int) -> dict[str, str]:
    """The variables of the scripts ``break_cyclictest`` in a cell's place."""
    workload = ("COMMAND", "PREPARE", "CLEANUP", "CPUS", "REPEAT", "FOLDER", "RUN_LIMIT_S", "END_LIMIT_S")
    measured = cell_script.environment(cell)
    return {name: measured[name] for name in (*_TIMER, *workload)} | {
        "TRACE_INSTANCE": INSTANCE,
        "LOOPS": str(MORE_LOOPS * cell.loops),
        "LIMIT_S": str(break_limit_s(cell)),
        "THRESHOLD_US": str(threshold_us),
        "RINGS": "yes" if cell.in_guest else "no",
    }


def end_environment(side: str, cell: Cell, threshold_us: int | None = None, *, lines: int = LINES) -> dict[str, str]:
    """The variables of the scripts ``end_trace`` on a side (host or guest).

    With a threshold rtla is asked about a late wake-up too, on the board of a cell on the host.
    """
    asks_rtla = threshold_us is not None and side == "host" and cell.place == "host"
    measured = cell_script.environment(cell)
    return {name: measured[name] for name in _TIMER} | {
        "TRACE_INSTANCE": INSTANCE,
        "TRACE_LINES": str(lines),
        "TRACE_FILE": FILES[side],
        "RTLA_FILE": RTLA_FILE,
        "RTLA_THRESHOLD_US": str(threshold_us) if asks_rtla else "",
        "RTLA_LIMIT_S": str(rtla_limit_s(cell)),
    }
