"""The script that measures one cell, composed of the roles' scripts, and its environment."""

from __future__ import annotations

from rtvirt_runner.catalogue.cpus import parse_cpu_list
from rtvirt_runner.catalogue.settings import far_environment
from rtvirt_runner.machine.scripts import script_text
from rtvirt_runner.matrix.cell import BOTH, Cell

END_LIMIT_S = 30  # for a workload to end after SIGTERM
SLACK_S = 120  # of the machine's clock, beyond the nominal time of the loops
RUN_LIMIT_S = 600  # the same, for one run of a program that ends by itself: on a 32-bit board sysbench takes minutes
LATER = 0.9  # of the loops' time, after which cyclictest's thread is looked at again
LOAD_SLACK_S = 3600  # for a load beyond its cell, whose reading back and starting take time too


def limit_s(cell: Cell) -> int:
    """The limit of cyclictest, in seconds of the machine's clock."""
    return cell.loops * cell.interval_us // 1_000_000 * 3 + SLACK_S


def board_sets(cell: Cell) -> dict[str, list[str]]:
    """The sets of scripts that run on the board ``before`` a cell and ``after`` it, besides its state's.

    With place both they start the board's own cyclictest last, and end it first.
    """
    if cell.host_thread is None:
        return {"before": ["start_load"], "after": ["end_load"]}
    return {"before": ["start_load", "start_host_cyclictest"], "after": ["end_host_cyclictest", "end_load"]}


def board_environment(cell: Cell) -> dict[str, str]:
    """The variables of the scripts that run on the board before a cell and after it, with those of ``board_sets``."""
    return {
        **_host_environment(cell),
        **far_environment(cell.settings, cell.host_cpus, cell.guest_cpus, "settings"),
        "LOAD": cell.board_command,
        "LOAD_LIMIT_S": _load_limit_s(cell),
    }


def _load_limit_s(cell: Cell) -> str:
    return str(limit_s(cell) + RUN_LIMIT_S + END_LIMIT_S + LOAD_SLACK_S)


def _host_environment(cell: Cell) -> dict[str, str]:
    """The variables of the board's own cyclictest; none where there is none."""
    thread = cell.host_thread
    if thread is None:
        return {}
    return {
        "CPU": str(thread.cpu),
        "INTERVAL_US": str(thread.interval_us),
        "PRIORITY": str(cell.priority),
        "HISTOGRAM_US": str(cell.histogram_us),
        "LATE_US": str(thread.late_us),
        "LIMIT_S": _load_limit_s(cell),
        "ON_GUEST_CPUS": "yes" if thread.cpu in parse_cpu_list(cell.guest_cpus) else "no",
    }


def script(cell: Cell) -> str:
    """The script that runs in the cell's place, the guest with both.

    It also reads a guest's state before and after the measurement and, with place both, its clock.
    """
    if cell.place == "host":
        return script_text("cell")
    state = f"read_state() (\n{script_text('machine_state')}\n)\nread_state\n"
    if cell.place != BOTH:
        return f"{state}{script_text('cell')}\necho @after\nread_state\n"
    clock = f"{script_text('clock_edges')}\n"
    return f"{state}{clock}read_clock_edges\n{script_text('cell')}\necho @after\nread_state\nread_clock_edges\n"


def environment(cell: Cell) -> dict[str, str]:
    """The variables of the script of a cell."""
    inside, program = cell.guest_state, cell.program
    settings = (inside.settings, inside.host_cpus, inside.guest_cpus) if inside else ((), "", "")
    return {
        **far_environment(*settings, "guest_state"),
        "CPU": str(cell.measured_cpu),
        "LOOPS": str(cell.loops),
        "INTERVAL_US": str(cell.interval_us),
        "PRIORITY": str(cell.priority),
        "HISTOGRAM_US": str(cell.histogram_us),
        "LATE_US": str(cell.late_us or ""),
        "LIMIT_S": str(limit_s(cell)),
        "LATER_S": "" if cell.clock == "virtual" else f"{cell.loops * cell.interval_us / 1e6 * LATER:.1f}",
        "COMMAND": program.command if program else "",
        "PREPARE": program.prepare if program else "",
        "CLEANUP": program.cleanup if program else "",
        "CPUS": program.cpus if program else "",
        "REPEAT": "yes" if program and program.repeat else "no",
        "FOLDER": program.folder if program else "memory",
        "RUN_LIMIT_S": str(RUN_LIMIT_S),
        "END_LIMIT_S": str(END_LIMIT_S),
    }
