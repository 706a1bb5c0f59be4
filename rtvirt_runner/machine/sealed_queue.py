"""The queue of a sealed machine: the steps that apply the states of board and guest, and the cells.

The scripts are the same as over SSH, with the same environment; here each becomes a file in an initramfs, and
``roles/sealed_board/files/run_queue.sh`` runs them. Comments and indentation are removed, so that only commands
affect the machine.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from rtvirt_runner.catalogue import collection
from rtvirt_runner.catalogue.guests import GuestState
from rtvirt_runner.catalogue.settings import far_environment
from rtvirt_runner.machine import cell_script, guest_script, script_reply, trace_script
from rtvirt_runner.machine.scripts import script_text
from rtvirt_runner.machine.sh_text import stripped
from rtvirt_runner.matrix.cell import Cell
from rtvirt_runner.matrix.plan import BootGroup, GuestGroup

RUNNER = collection.ROOT / "roles" / "sealed_board" / "files" / "run_queue.sh"
LIB = "/var/lib/rtvirt"  # folder of the guest's files on the board
GUEST, NEIGHBOUR = "sealed-guest", "sealed-neighbour"
# Functions that Debian's kernels call once at boot, half of the instructions until their first program: the self-tests
# of a jitter entropy source and of key derivation, the keys that modules are signed with, and BPF's type information.
# No timer, scheduler or KVM code depends on them. A kernel ignores names that it does not know.
_SKIPPED = (
    "jent_mod_init",
    "crypto_kdf108_init",
    "load_system_certificate_list",
    "bpf_tcp_ca_kfunc_init",
    "bpf_dummy_struct_ops_init",
)
KERNEL_PARAMS = (f"initcall_blacklist={','.join(_SKIPPED)}",)
# Of a trace: half a second of both sides of a guest that wakes up each millisecond. Reading and packing them costs an
# emulated guest more than all that is traced. A guest's has to fit into 4 MiB of its mailbox, with 200 bytes a line.
TRACE_LINES = {"host": 20_000, "guest": 6_000}
# From the traced run of a cell to the one that breaks: the clocks of board and guest are related by what both did in
# the last 6 s, in which the first run, which looks the same, must not be. Idle, it costs moments.
_APART_US = 10_000_000
_PHASES_US = 10_000  # a period of the slowest tick, 100 Hz
_GOLDEN = 0.6180339887498949  # golden ratio: its multiples modulo 1 are evenly distributed for any number of them


@dataclass(frozen=True)
class GuestFiles:
    """The files of a guest: an artifact of the role guest_image."""

    folder: Path

    def uploads_to(self, there: str) -> dict[str, Path]:
        """Path on the board, in the folder of a guest there -> file on the controller."""
        return {f"{there}/guest.img": self.folder / "initrd.img", f"{there}/guest.vmlinuz": self.folder / "vmlinuz"}

    def text(self, name: str) -> str:
        """One of its one-line files: ``release`` or ``architecture``."""
        return (self.folder / name).read_text().strip()


@dataclass(frozen=True)
class CellSteps:
    """Names of the steps of a cell; ``setup`` applies the state of its group."""

    setup: tuple[str, ...]
    state: str
    measure: str
    end: str  # reads the board's state after the cell, and stops the load


@dataclass(frozen=True)
class TraceSteps:
    """Names of the steps of a trace, those that board and guest have each by side (host, and guest if it is traced)."""

    begun: Mapping[str, str]
    load: str  # starts the load on the board
    broke: str
    ended: Mapping[str, str]


@dataclass
class Queue:
    """The plan of a machine, and the steps and files that it names."""

    plan: list[str] = field(default_factory=list)
    steps: dict[str, str] = field(default_factory=dict)  # name -> text for a shell
    files: dict[str, Path] = field(default_factory=dict)  # name -> file on the controller that steps use
    cells: dict[str, CellSteps] = field(default_factory=dict)  # id -> steps, in order
    trace: TraceSteps | None = None

    def add_step(self, text: str) -> str:
        """Add a step; returns its name, a number."""
        name = f"{len(self.steps) + 1:03d}"
        self.steps[name] = text
        return name

    def write(self, archive: Path) -> None:
        """Write the queue as a reproducible cpio archive, to be appended to the base initramfs."""
        folder = archive.with_suffix(".tree")
        shutil.rmtree(folder, ignore_errors=True)
        (folder / "queue" / "files").mkdir(parents=True)
        (folder / "queue" / "plan").write_text("\n".join(self.plan) + "\n")
        (folder / "queue" / "run_queue").write_text(stripped(RUNNER.read_text()))
        for name, text in self.steps.items():
            (folder / "queue" / name).write_text(text)
        for name, source in self.files.items():
            shutil.copyfile(source, folder / "queue" / "files" / name)
        paths = sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))
        for path in paths:
            (folder / path).chmod(0o755)
            os.utime(folder / path, (0, 0))
        pack = ["cpio", "--quiet", "--create", "--format=newc", "--owner=0:0", "--reproducible"]
        with archive.open("wb") as stream:
            subprocess.run(pack, cwd=folder, input="\n".join(paths).encode(), stdout=stream, check=True)
        shutil.rmtree(folder)


def phase_us(repetition: int) -> int:
    """Delay of a repetition before each cell, in us, which shifts its phase to the timers; 0 for the first."""
    return int((repetition - 1) * _GOLDEN % 1 * _PHASES_US)


def make_queue(boot: BootGroup, cells: Iterable[str], guests: Mapping[tuple[str, str], GuestFiles]) -> Queue:
    """The queue for the given cell ids of a boot group; ``guests`` are the images by kernel and flavour."""
    wanted = set(cells)
    queue = Queue()
    for group in boot.guests:
        those = [cell for cell in group.cells if cell.id in wanted]
        if those:
            _add_group(queue, group, those, boot.repetition, guests)
    return queue


def make_trace_queue(boot: BootGroup, threshold_us: int, guests: Mapping[tuple[str, str], GuestFiles]) -> Queue:
    """The queue of a machine that does nothing but trace the one cell of a boot group; ``guests`` as in make_queue.

    The order is that of playbooks/tasks/trace_cell.yml: the cell with a trace, then until a wake-up is later than
    threshold_us. No other cell is measured on such a machine, so that no bin depends on what is traced.
    """
    (group,), (cell,) = boot.guests, boot.cells
    queue = Queue(["group"])
    places = {"host": "board", **({"guest": "guest"} if cell.in_guest else {})}
    make = _step(script_text("make_trace"), trace_script.make_environment(trace_script.lasts_s(cell)))
    # The board's before the guest has its priority.
    setup = [(make, "board"), *_setup(queue, group, guests), *([(make, "guest")] if cell.in_guest else [])]
    names = _add_setup(queue, setup)
    begun = {}
    for side, place in places.items():
        begin = _step(script_text("begin_trace"), trace_script.begin_environment(side))
        (begun[side],) = _add_setup(queue, [(begin, place)])
    _add_cell(queue, group, cell, (*names, *begun.values()), boot.repetition)

    load = queue.add_step(_step(script_text("start_load"), cell_script.board_environment(cell)))
    broke = trace_script.break_environment(cell, threshold_us)
    breaks = queue.add_step(_step(script_text("break_cyclictest"), broke))
    ended = {}
    for side in places:
        end = trace_script.end_environment(side, cell, threshold_us, lines=TRACE_LINES[side])
        ended[side] = queue.add_step(_step(script_text("end_trace"), end))
    queue.plan.append(f"cell {_APART_US} {load} {breaks} {_place(cell)} {ended['host']}")
    if cell.in_guest:  # a line begins and ends on the board, which says here that it still answers
        answers = queue.add_step(_step(script_text("running_kernel"), {}))
        queue.plan.append(f"cell 0 {answers} {ended['guest']} guest {answers}")
    queue.trace = TraceSteps(begun, load, breaks, ended)
    return queue


def _add_group(
    queue: Queue,
    group: GuestGroup,
    cells: Sequence[Cell],
    repetition: int,
    guests: Mapping[tuple[str, str], GuestFiles],
) -> None:
    queue.plan.append("group")
    setup = _add_setup(queue, _setup(queue, group, guests))
    for cell in cells:
        _add_cell(queue, group, cell, setup, repetition)


def _add_setup(queue: Queue, steps: Iterable[tuple[str, str]]) -> tuple[str, ...]:
    """Add steps, text and place of each, that apply the state of a group; returns their names."""
    setup = [(queue.add_step(text), place) for text, place in steps]
    queue.plan += [f"setup {name} {place}" for name, place in setup]
    return tuple(name for name, _ in setup)


def _add_cell(queue: Queue, group: GuestGroup, cell: Cell, setup: tuple[str, ...], repetition: int) -> None:
    states = ("board_state", *(("neighbour_state",) if group.neighbour else ()))
    known, sets = cell_script.board_environment(cell), cell_script.board_sets(cell)
    state = queue.add_step(_step(script_text(*states, *sets["before"]), known))
    measure = queue.add_step(_step(cell_script.script(cell), cell_script.environment(cell)))
    end = queue.add_step(_step(script_text(*states, *sets["after"]), known))
    queue.cells[cell.id] = CellSteps(setup, state, measure, end)
    queue.plan.append(f"cell {phase_us(repetition)} {state} {measure} {_place(cell)} {end}")


def _place(cell: Cell) -> str:
    """Where the step runs that measures a cell, in the plan's words."""
    return "guest" if cell.in_guest else "board"


def _setup(queue: Queue, group: GuestGroup, guests: Mapping[tuple[str, str], GuestFiles]) -> Iterable[tuple[str, str]]:
    """Texts and places of the steps of playbooks/tasks/set_guest.yml.

    No neighbour is ever stopped: in a plan, the cells beside one come last.
    """
    board = far_environment(group.settings, group.host_cpus, group.guest_cpus, "settings")
    yield _step(script_text("apply_settings"), board), "board"
    if group.state:
        files = guests[group.state.kernel, group.state.flavour]
        environment = _guest_environment(group.state, GUEST, files)
        yield _uploads(queue, files.uploads_to(LIB)) + _step(script_text("start_guest"), environment), "board"
    else:
        yield _step(script_text("stop_guest"), guest_script.absent_environment(GUEST)), "board"
    if group.neighbour:
        files = guests[group.neighbour.guest.kernel, group.neighbour.guest.flavour]
        environment = _guest_environment(group.neighbour.guest, NEIGHBOUR, files)
        load = {name: program.as_dict() for name, program in group.neighbour.load.items()}
        environment["LOAD"] = guest_script.neighbour_load(load)
        uploads = f"mkdir -p {LIB}/neighbour\n" + _uploads(queue, files.uploads_to(f"{LIB}/neighbour"))
        yield uploads + _step(script_text("start_neighbour"), environment), "board"
    if group.state and group.state.settings:
        cores = group.state.host_cpus, group.state.guest_cpus
        inside = far_environment(group.state.settings, *cores, "guest_state")
        yield _step(script_text("apply_settings"), inside), "guest"


def _guest_environment(state: GuestState, name: str, files: GuestFiles) -> dict[str, str]:
    return guest_script.environment(
        replace(state, kernel_params=(*KERNEL_PARAMS, *state.kernel_params)),
        name=name,
        release=files.text("release"),
        architecture=files.text("architecture"),
        brought=True,
    )


def _step(script: str, environment: Mapping[str, str]) -> str:
    return script_reply.compose(stripped(script), {"RTVIRT_CHECK_MODE": "no", "RTVIRT_OWNER_PID": "0", **environment})


def _uploads(queue: Queue, uploads: Mapping[str, Path]) -> str:
    """Lines of script that link files to their paths on the board; each file is in the queue once."""
    lines = []
    for there, here in uploads.items():
        name = next((name for name, source in queue.files.items() if source == here), f"{len(queue.files) + 1}")
        queue.files[name] = here
        lines.append(f"ln -sfn /queue/files/{name} {shlex.quote(there)}\n")
    return "".join(lines)
