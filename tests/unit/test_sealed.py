"""The queue of a sealed machine, and what is taken out of its console."""

from __future__ import annotations

import base64
import gzip
import hashlib
import os
import shlex
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from fakes import KERNELS, ROLES, catalogue

from rtvirt_runner.catalogue import collection
from rtvirt_runner.catalogue.lab import Lab
from rtvirt_runner.machine import guest_script, sealed_machine
from rtvirt_runner.machine.scripts import script_text
from rtvirt_runner.machine.sealed_machine import Answers, Hardware, Order, Parts, SealedMachine
from rtvirt_runner.machine.sealed_queue import (
    TRACE_LINES,
    CellSteps,
    GuestFiles,
    Queue,
    TraceSteps,
    make_queue,
    make_trace_queue,
    phase_us,
)
from rtvirt_runner.machine.sh_text import stripped
from rtvirt_runner.matrix.cell import Cell
from rtvirt_runner.matrix.load import Matrix, load_matrix
from rtvirt_runner.matrix.plan import plan
from rtvirt_runner.matrix.ways import cells_measured, sealed_boots, why_over_ssh

pytestmark = pytest.mark.usefixtures("tools")  # cpio

BOARDS = {
    name: {"rtvirt_board_cpus": cpus, "rtvirt_board_clock": "virtual", "rtvirt_board_sealed": True}
    | {"rtvirt_board_kernels": KERNELS}
    for name, cpus in (("virtual-rpi2", 4), ("virtual-cb2", 2))
}
GROUPS = {"boards": [*BOARDS], "guests": [f"{name}-guest" for name in BOARDS], **ROLES}


def lab(sealed: bool = True) -> Lab:
    boards = {name: variables | {"rtvirt_board_sealed": sealed} for name, variables in BOARDS.items()}
    return Lab.from_inventory(GROUPS, {**boards, **{name: {} for name in GROUPS["guests"]}})


def smoke() -> Matrix:
    return load_matrix(collection.matrix_path("smoke"), lab(), catalogue())


@pytest.fixture
def images(tmp_path: Path) -> dict[tuple[str, str], GuestFiles]:
    """Files in the places of a guest's; what is in them does not matter to a queue."""
    folder = tmp_path / "image"
    folder.mkdir()
    for name in ("initrd.img", "vmlinuz", "release", "architecture"):
        (folder / name).write_text(f"{name}\n")
    keys = {
        (cell.guest_state.kernel, cell.guest_state.flavour) for cell in smoke().cells if cell.guest_state is not None
    }
    return {key: GuestFiles(folder) for key in keys}


def packed(name: str, answer: str, sum_of: str | None = None) -> str:
    """An answer as run_queue.sh prints it, on a serial console."""
    text = base64.encodebytes(gzip.compress(answer.encode(), mtime=0)).decode()
    sha256 = hashlib.sha256((answer if sum_of is None else sum_of).encode()).hexdigest()
    return f"\n@answer {name}\n{text}@end {name} {sha256}\n".replace("\n", "\r\n")


def test_a_queue_has_the_steps_of_each_cell_in_the_order_of_the_plan(
    images: dict[tuple[str, str], GuestFiles],
) -> None:
    for boot in plan(smoke().cells):
        queue = make_queue(boot, [cell.id for cell in boot.cells], images)
        assert list(queue.cells) == [cell.id for cell in boot.cells]
        assert sum(line.startswith("cell ") for line in queue.plan) == len(boot.cells)
        assert sum(line == "group" for line in queue.plan) == len(boot.guests)
        named = {word for line in queue.plan for word in line.split() if word.isdigit() and len(word) == 3}
        assert named == set(queue.steps)
        for cell in boot.cells:
            end = queue.steps[queue.cells[cell.id].end]
            assert "vcpu_threads" in end and f"LOAD={shlex.quote(cell.board_command)}\n" in end


def test_steps_are_the_scripts_of_the_roles_without_comments(images: dict[tuple[str, str], GuestFiles]) -> None:
    (boot, *_) = plan(smoke().cells)
    queue = make_queue(boot, [cell.id for cell in boot.cells], images)
    text = queue.steps[queue.cells[boot.cells[0].id].measure]
    assert "cyclictest --quiet --mlockall" in text
    assert f"LOOPS={boot.cells[0].loops}" in text
    assert not [line for step in queue.steps.values() for line in step.splitlines() if line.startswith("# ")]


def test_the_same_queue_is_the_same_bytes(images: dict[tuple[str, str], GuestFiles], tmp_path: Path) -> None:
    (boot, *_) = plan(smoke().cells)
    archives = [tmp_path / "one" / "queue.cpio", tmp_path / "another folder" / "queue.cpio"]
    before = os.umask(0o022)
    for archive, mask in zip(archives, (0o022, 0o077), strict=True):
        archive.parent.mkdir()
        os.umask(mask)
        make_queue(boot, [cell.id for cell in boot.cells], images).write(archive)
    os.umask(before)
    assert archives[0].read_bytes() == archives[1].read_bytes()


def test_phases_of_repetitions_differ_and_lie_within_a_tick() -> None:
    phases = [phase_us(repetition) for repetition in range(1, 30)]
    assert phases[0] == 0
    assert len(set(phases)) == len(phases)
    assert all(0 <= phase < 10_000 for phase in phases)
    assert phase_us(3) == phases[2]


def test_whole_answers_are_taken_out_of_a_console_whatever_the_kernel_writes_between() -> None:
    one, two = packed("001", "@fact a 1\n@whole 0\n"), packed("002", "@whole 1\n")
    console = f"[    1.0] hello{one}[    2.0] more{two}"
    answers = Answers.read(console)
    assert set(answers.texts) == {"001", "002"}
    first = answers.reply("001")
    assert first is not None and first.facts == {"a": "1"} and first.complete
    second = answers.reply("002")
    assert second is not None and second.failure == "the script ended with status 1"
    assert not answers.over
    assert Answers.read(f"{console}\n@over\r\n").over


@pytest.mark.parametrize(
    "console",
    [
        packed("001", "@whole 0\n", sum_of="another"),
        packed("001", "@whole 0\n").replace("@end", "@emd"),
        packed("001", "@whole 0\n")[:40],
        packed("001", "@whole 0\n").replace("H4sI", "[ 1.0] H4sI"),
    ],
    ids=["another sum", "no end", "cut off", "written into"],
)
def test_a_damaged_answer_is_none(console: str) -> None:
    assert Answers.read(console).texts == {}


def test_an_answer_that_unpacks_to_gigabytes_is_none() -> None:
    answer = b"a" * (sealed_machine.ANSWER_BYTES + 1)
    text = base64.encodebytes(gzip.compress(answer)).decode()
    assert Answers.read(f"@answer 001\n{text}@end 001 {hashlib.sha256(answer).hexdigest()}\n").texts == {}


def traced_cell(place: str) -> Cell:
    return next(cell for cell in smoke().cells if cell.place == place and not why_over_ssh(cell, lab(), catalogue()))


def trace_queue(place: str, images: dict[tuple[str, str], GuestFiles]) -> Queue:
    (boot,) = plan([traced_cell(place)])
    return make_trace_queue(boot, 250, images)


@pytest.mark.parametrize("place", ["host", "guest"])
def test_a_traced_cell_is_traced_by_the_scripts_and_in_the_order_of_ssh(
    place: str, images: dict[tuple[str, str], GuestFiles]
) -> None:
    queue, cell, on_guest = trace_queue(place, images), traced_cell(place), place == "guest"
    sets = ("make_trace", "begin_trace", "break_cyclictest", "end_trace")
    texts = {name: stripped(script_text(name)) for name in sets}
    ran: list[tuple[str, str]] = []
    for line in queue.plan[1:]:
        words = line.split()
        on = words[1:3] if words[0] == "setup" else [words[2], "board", words[3], words[4], words[5], "board"]
        ran += zip(on[::2], on[1::2], strict=True)
    tracing = [
        (name, where) for step, where in ran for name, text in texts.items() if f"(\n{text}\n)" in queue.steps[step]
    ]
    both = ["board", "guest"] if on_guest else ["board"]
    assert tracing == [
        *[(name, where) for name in ("make_trace", "begin_trace") for where in both],
        ("break_cyclictest", both[-1]),
        *[("end_trace", where) for where in both],
    ]
    assert queue.trace is not None
    steps = queue.cells[cell.id]
    order = [step for step, _ in ran]
    assert [*steps.setup, steps.state, steps.measure, steps.end, queue.trace.load, queue.trace.broke] == order[
        : len(steps.setup) + 5
    ]
    assert "THRESHOLD_US=250\n" in queue.steps[queue.trace.broke]
    assert set(queue.trace.begun.values()) < set(steps.setup)
    for side, step in queue.trace.ended.items():
        most = TRACE_LINES[side]
        assert f"TRACE_LINES={most}\n" in queue.steps[step]


def test_a_guest_s_trace_fits_into_its_mailbox() -> None:
    """The mailbox has 8 MiB, and the answer its second half; the longest lines of a switch have about 200 bytes."""
    assert TRACE_LINES["guest"] * 200 < (8 << 20) - 8193 * 512


def test_a_cell_is_measured_in_a_trace_as_it_is_without_one(images: dict[tuple[str, str], GuestFiles]) -> None:
    cell = traced_cell("guest")
    (boot,) = plan([cell])
    measured, traced = make_queue(boot, [cell.id], images), make_trace_queue(boot, 250, images)
    for name in ("state", "measure", "end"):
        texts = [queue.steps[getattr(queue.cells[cell.id], name)] for queue in (measured, traced)]
        assert texts[0] == texts[1]
    assert measured.trace is None


@pytest.mark.parametrize("answer", ["@whole 0\n", "@fail There is no room in /tmp.\n@whole 1\n", ""])
def test_a_trace_is_whole_or_has_a_reason(answer: str) -> None:
    steps = TraceSteps({"host": "001", "guest": "002"}, "006", "007", {"host": "008", "guest": "010"})
    names = [*steps.begun.values(), steps.load, steps.broke, *steps.ended.values()]
    good = "".join(packed(name, f"@fact name {name}\n@whole 0\n") for name in names[:-1])
    assert Answers.read(good).traced(steps) is None
    traced = Answers.read(
        good + packed(names[-1], f"@file trace-guest.txt\nline\n\n@end trace-guest.txt\n{answer}")
    ).traced(steps)
    assert traced is not None
    assert traced.failure == {
        "@whole 0\n": "",
        "": "an answer was cut off",
    }.get(answer, "There is no room in /tmp.")
    assert traced.begun["guest"] == {"name": "002"} and traced.broke == {"name": "007"}
    assert traced.ended["guest"]["files"] == {"trace-guest.txt": "line\n"}
    skipped = Answers.read("@skipped 004\n@skipped 007\n").traced(steps)
    assert skipped is not None and skipped.failure == "board and guest did not reach their state"


def test_who_waits_for_a_trace_gets_it_or_the_reason(tmp_path: Path) -> None:
    parts = Parts(tmp_path, "10.0.0", tmp_path, tmp_path, tmp_path, (), Hardware(2, 16, 512, 1))
    steps = TraceSteps({"host": "1"}, "5", "6", {"host": "7"})
    machine = SealedMachine(tmp_path, Order(parts, (), {}, 250), {}, {}, steps)
    (tmp_path / sealed_machine.IN_LOCKSTEP).touch()
    console = tmp_path / "console.log"
    good = "".join(packed(name, "@whole 0\n") for name in ("1", "5", "6", "7"))
    console.write_text(good)
    traced, reason = machine.wait_for_trace(60)
    assert traced is not None and not reason and set(traced.ended) == {"host"}
    console.write_text(good.partition("@answer 7")[0] + "Kernel panic - not syncing\r\n")
    assert machine.wait_for_trace(60) == (
        None,
        "The machine ended in the middle of the cell: Kernel panic - not syncing.",
    )
    console.write_text(good + packed("6", "@fail There is no cyclictest on this machine.\n@whole 1\n"))
    assert machine.wait_for_trace(60) == (None, "There is no cyclictest on this machine.")
    assert replace(machine, trace=None).wait_for_trace(60) == (None, "The machine traces nothing.")


def test_a_console_without_end_ends_the_machine(tmp_path: Path) -> None:
    (tmp_path / sealed_machine.IN_LOCKSTEP).touch()
    with (tmp_path / "console.log").open("wb") as console:
        console.truncate(sealed_machine.CONSOLE_BYTES + 1)
    # In the place of QEMU: its name is what tells it. A shell becomes the last command that it is given.
    with subprocess.Popen(["sh", "-c", "sleep 100; :", sealed_machine._name(tmp_path)]) as process:
        (tmp_path / "pid").write_text(f"{process.pid}\n")
        folder = tmp_path
        order = Order(Parts(folder, "", folder, folder, folder, (), Hardware(1, 1, 1, 1)), (), {})
        machine = SealedMachine(tmp_path, order, {"cell": CellSteps((), "001", "002", "003")}, {})
        _, reason = machine.wait("cell", 60)
        process.wait(timeout=10)
    assert reason == "The machine wrote more than 64 MiB to its console, and was ended."


@pytest.mark.parametrize("said", ["", "ERROR: ld.so: object './lockstep.so' cannot be preloaded: ignored.\n"])
def test_the_answers_of_a_qemu_that_is_not_in_lockstep_are_not_believed(tmp_path: Path, said: str) -> None:
    (tmp_path / "qemu.log").write_text(said)
    (tmp_path / "console.log").write_text(packed("002", "@whole 0\n") + packed("003", "@whole 0\n"))
    order = Order(Parts(*[tmp_path, "", *[tmp_path] * 3], (), Hardware(1, 1, 1, 1)), (), {})
    machine = SealedMachine(tmp_path, order, {"cell": CellSteps((), "001", "002", "003")}, {})
    _, reason = machine.wait("cell", 60)
    assert reason.startswith("QEMU does not run in lockstep, so its answers could not be made again: ")
    assert reason.endswith(f"{said.strip() or 'it said nothing'}.")


def test_of_a_step_that_was_taken_again_the_newest_answer_counts() -> None:
    answers = Answers.read(packed("001", "@fail first\n") + packed("001", "@whole 0\n"))
    reply = answers.reply("001")
    assert reply is not None and reply.failure is None


def test_an_order_survives_json(tmp_path: Path) -> None:
    (boot, *_) = plan(smoke().cells)
    files = [tmp_path / name for name in ("lockstep", "vmlinuz", "base.img")]
    parts = Parts(tmp_path, "10.0", *files, ("isolcpus=1",), Hardware(2, 16, 512, 1))
    order = Order(parts, boot.cells, {("linux-6.12-rt", "minimal"): tmp_path})
    assert Order.from_dict(order.as_dict()) == order
    traces = Order(parts, boot.cells[:1], {}, trace_us=250)
    assert Order.from_dict(traces.as_dict()) == traces
    written = order.as_dict()
    del written["trace_us"]  # as before there were traces
    assert Order.from_dict(written) == order
    assert order.after(boot.cells[0].id).cells == boot.cells[1:]


def test_all_of_smoke_but_the_debian_guest_can_be_sealed() -> None:
    reasons = [reason for cell in smoke().cells if (reason := why_over_ssh(cell, lab(), catalogue()))]
    assert reasons == ["its guest starts from a partition of the board's card"]


def test_nothing_is_sealed_on_a_board_whose_inventory_does_not_say_so() -> None:
    assert all(why_over_ssh(cell, lab(sealed=False), catalogue()) for cell in smoke().cells)


def test_each_state_of_board_and_guest_is_one_machine() -> None:
    boots = sealed_boots(smoke().cells, smoke().cells, lab(), catalogue())
    assert all(len(boot.guests) == 1 and boot.cells == cells for boot, cells in boots)
    sealed = [cell for cell in smoke().cells if not why_over_ssh(cell, lab(), catalogue())]
    assert [cell for _, cells in boots for cell in cells] == [cell for boot in plan(sealed) for cell in boot.cells]
    assert len(boots) == sum(len(boot.guests) for boot in plan(sealed))


def test_a_machine_with_one_pending_cell_measures_up_to_that() -> None:
    boot = next(boot for boot in plan(smoke().cells) if len(boot.guests[0].cells) > 2)
    ((found, cells),) = sealed_boots(smoke().cells, [boot.cells[1]], lab(), catalogue())
    assert (found.kernel, found.kernel_params) == (boot.kernel, boot.kernel_params)
    assert cells == boot.cells[:2]
    assert cells_measured(smoke().cells, [boot.cells[1]], lab(), catalogue()) == [*boot.cells[:2]]
    assert cells_measured(smoke().cells, [boot.cells[1]], lab(sealed=False), catalogue()) == [boot.cells[1]]


def test_a_group_whose_cells_are_done_stays_in_the_plan_for_its_trace() -> None:
    boot = next(boot for boot in plan(smoke().cells) if len(boot.guests[0].cells) > 2)
    ((found, cells),) = sealed_boots(smoke().cells, [], lab(), catalogue(), traced={boot.cells[1]})
    assert cells == () and boot.cells[1] in found.cells
    ((_, cells),) = sealed_boots(smoke().cells, [boot.cells[0]], lab(), catalogue(), traced={boot.cells[1]})
    assert cells == boot.cells[:1]


def test_a_guest_is_told_the_same_variables_as_by_the_role() -> None:
    variables = yaml.safe_load((collection.ROOT / "roles" / "guest" / "vars" / "main.yml").read_text())
    state = next(cell.guest_state for cell in smoke().cells if cell.guest_state)
    given = guest_script.environment(state, name="", release="", architecture="", brought=True)
    assert set(given) == {*variables["__guest_environment"], "NAME", "PORT"}  # these two are given by the tasks


def test_who_waits_for_a_machine_without_a_turn_may_stop_waiting(tmp_path: Path) -> None:
    """And not for one whose turn it is: its cell is being measured."""
    parts = Parts(tmp_path, "10.0.0", tmp_path, tmp_path, tmp_path, (), Hardware(2, 16, 512, 1))
    machine = SealedMachine(tmp_path, Order(parts, (), {}), {"cell": CellSteps((), "s", "m", "e")}, {})

    def leave() -> None:
        raise InterruptedError

    name = f"guest={tmp_path.parent.name}-{tmp_path.name},debug-threads=on"
    with subprocess.Popen(["sh", "-c", "read line", name], stdin=subprocess.PIPE) as in_place_of_qemu:
        (tmp_path / "pid").write_text(f"{in_place_of_qemu.pid}\n")
        with pytest.raises(InterruptedError):
            machine.wait("cell", 60, leave)
        (tmp_path / sealed_machine.IN_LOCKSTEP).touch()
        (tmp_path / "console.log").write_text(packed("m", "@whole 0\n") + packed("e", "@whole 0\n"))
        assert machine.wait("cell", 60, leave)[1] == ""
        in_place_of_qemu.kill()
