"""How one cell is run: the scripts of the roles, as one, and what they are told."""

from __future__ import annotations

from rtvirt_runner.catalogue import collection
from rtvirt_runner.catalogue.settings import far_environment
from rtvirt_runner.matrix.cell import Cell

END_LIMIT_S = 30  # for a workload to end when it is told to
SLACK_S = 120  # of the machine's clock, beyond the loops' own time
RUN_LIMIT_S = 600  # the same, for one run of a program that ends by itself: on 32 bits sysbench takes minutes

_ROLES = collection.ROOT / "roles"
_STATE_SCRIPTS = [
    _ROLES / "measure" / "files" / "machine_state.sh",
    *(_ROLES / "cpu_isolation" / "files" / name for name in ("thread.sh", "settings.sh", "cpuset.sh", "show.sh")),
]
_CELL_SCRIPTS = [
    _ROLES / "cpu_isolation" / "files" / "enter_cpuset.sh",
    *(_ROLES / "measure" / "files" / name for name in ("run_workload.sh", "measure_cell.sh")),
]


def board_script() -> str:
    """Reads the board's state before a cell, and begins the load that runs on the board meanwhile."""
    files = _ROLES / "measure" / "files"
    return "\n".join(
        path.read_text() for path in (*_STATE_SCRIPTS, files / "guest_threads.sh", files / "start_load.sh")
    )


def board_environment(cell: Cell) -> dict[str, str]:
    """The variables of that script."""
    return {
        **far_environment(cell.settings, cell.host_cpus, cell.guest_cpus, "settings"),
        "LOAD": cell.board_command,
    }


def apply_script() -> str:
    """Makes the settings of a tuning hold, and takes back those that an earlier one has left."""
    files = _ROLES / "cpu_isolation" / "files"
    return "\n".join((files / name).read_text() for name in ("thread.sh", "settings.sh", "cpuset.sh", "apply.sh"))


def end_script() -> str:
    """Ends the load of a cell on the board."""
    return (_ROLES / "measure" / "files" / "end_load.sh").read_text()


def script(cell: Cell) -> str:
    """What runs where the cell is measured. A guest's own state is read on the way; a board's has been."""
    parts = [*(_STATE_SCRIPTS if cell.place == "guest" else []), *_CELL_SCRIPTS]
    return "\n".join(path.read_text() for path in parts)


def environment(cell: Cell) -> dict[str, str]:
    """The variables of that script."""
    inside = cell.guest_state or {"settings": [], "host_cpus": "", "guest_cpus": ""}
    program = cell.program
    return {
        **far_environment(inside["settings"], str(inside["host_cpus"]), str(inside["guest_cpus"]), "guest_state"),
        "CPU": str(cell.measured_cpu),
        "LOOPS": str(cell.loops),
        "INTERVAL_US": str(cell.interval_us),
        "PRIORITY": str(cell.priority),
        "HISTOGRAM_US": str(cell.histogram_us),
        "LIMIT_S": str(cell.loops * cell.interval_us // 1_000_000 * 3 + SLACK_S),
        "COMMAND": str(program.get("command", "")),
        "PREPARE": str(program.get("prepare", "")),
        "CLEANUP": str(program.get("cleanup", "")),
        "CPUS": str(program.get("cpus", "")),
        "REPEAT": "yes" if program.get("repeat") else "no",
        "FOLDER": str(program.get("folder", "memory")),
        "RUN_LIMIT_S": str(RUN_LIMIT_S),
        "END_LIMIT_S": str(END_LIMIT_S),
    }
