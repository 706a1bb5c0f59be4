"""Capsules: what goes in, what is refused, and what ``run`` says of machines that answer, differ, die or hang.

The machines are made as real ones are. Where QEMU would emulate one, a script answers what that machine has been given
to answer; tests/machines/test_sealed.py has QEMU do it.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import tarfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from fakes import VARS, catalogue, cyclictest_json, done, failed, latencies, virtual_lab

from rtvirt_runner.cli import main as cli
from rtvirt_runner.machine.sealed_machine import Hardware, Order, Parts, identity
from rtvirt_runner.matrix.cell import Cell
from rtvirt_runner.matrix.load import load_matrix
from rtvirt_runner.matrix.plan import plan
from rtvirt_runner.matrix.results import ResultsTree

pytestmark = pytest.mark.usefixtures("tools")  # cpio

CELLS = load_matrix(VARS / "matrix_smoke.yml", virtual_lab(), catalogue()).cells
BOOTS = [
    tuple(cell for cell in boot.cells if cell.guest in ("none", "minimal") and not cell.board_command)[:2]
    for boot in plan(cell for cell in CELLS if cell.kernel == "linux-6.12-rt" and cell.tuning == "paper")
]
SHELLS = (["sh"], ["busybox", "sh"])

# In the place of QEMU's dynamic loader. CONSOLES: what machines say, by the SHA-256 of their initramfs.
MACHINE = """\
#!/bin/sh
printf '%s\\n' "$@" >"CONSOLES/arguments"
[ "$LD_PRELOAD" != qemu/lockstep.so ] || [ ! -e "$LD_PRELOAD" ] || touch in_lockstep
echo "$$" >"CONSOLES/pid"
cat "CONSOLES/$(sha256sum <initramfs | cut -c 1-64)" >console.log
[ ! -e "CONSOLES/hangs" ] || exec sleep 60
"""


@dataclass
class Measured:
    """A results folder of two machines with two cells each, and what they are made of."""

    folder: Path
    tree: ResultsTree
    cells: list[Cell]
    answers: dict[str, str]  # by cell
    initramfs: list[str]  # SHA-256, by machine
    steps: dict[str, str]  # by cell

    @property
    def consoles(self) -> Path:
        return self.folder / "consoles"

    def order(self, cell: Cell) -> Path:
        system = json.loads((self.tree.record_path("smoke", cell) / "system.json").read_text())
        return self.tree.root / "smoke" / "sealed" / f"{system['sealed']['key']}.json"

    def say(self, **changed: str) -> None:
        """Let machines answer what was measured; ``changed`` by cell id: another answer, or '' for none."""
        for at, sealed in enumerate(self.initramfs):
            console = "\r\n".join(
                packed(self.steps[cell.id], answer)
                for cell in self.cells[2 * at : 2 * at + 2]
                if (answer := changed.get(cell.id, self.answers[cell.id]))
            )
            (self.consoles / sealed).write_text(f"@answer 001\r\nnot of a cell\r\n{console}\r\nlast words of it\r\n")


def packed(step: str, answer: str) -> str:
    text = base64.encodebytes(gzip.compress(answer.encode())).decode().replace("\n", "\r\n")
    return f"@answer {step}\r\n{text}@end {step} {hashlib.sha256(answer.encode()).hexdigest()}"


def qemu(folder: Path) -> Path:
    """A folder as the role virtual_board makes it; the program is one of this system that does nothing."""
    program, libraries = shutil.which("true"), folder / "root/usr/lib/here"
    assert program
    libraries.mkdir(parents=True)
    listed = subprocess.run(["ldd", program], capture_output=True, text=True, check=True).stdout
    for path in re.findall(r"(/\S+)", listed):
        shutil.copy(path, libraries)
    for place in ("bin", "root/usr/bin"):
        (folder / place).mkdir(parents=True)
        shutil.copy(program, folder / place / "qemu-system-aarch64")
    return folder


@pytest.fixture
def measured(tmp_path: Path) -> Measured:
    artifacts = tmp_path / "artifacts"
    guest = artifacts / "guest-minimal"
    guest.mkdir(parents=True)
    texts = {"kernel/vmlinuz": "kernel " * 50, "base/base.img": "base " * 99}
    texts |= {"guest-minimal/initrd.img": "image " * 200, "guest-minimal/vmlinuz": "guest's " * 70}
    texts |= {"lockstep/lockstep.c": "int main"}
    texts |= {"guest-minimal/release": "6.12.90\n", "guest-minimal/architecture": "arm64\n"}
    for name, text in texts.items():
        (artifacts / name).parent.mkdir(exist_ok=True)
        (artifacts / name).write_text(text)
    found = Measured(tmp_path, ResultsTree(tmp_path / "results"), [], {}, [], {})
    found.consoles.mkdir()
    emulator = qemu(artifacts / "qemu-0123")
    # Whatever can be preloaded into a shell, which is in the place of QEMU's dynamic loader.
    shutil.copy(next(emulator.rglob("libc.so.6")), artifacts / "lockstep" / "lockstep.so")
    for cells in BOOTS[:2]:
        parts = Parts(
            emulator,
            "10.0.13",
            artifacts / "lockstep",
            artifacts / "kernel/vmlinuz",
            artifacts / "base/base.img",
            cells[0].kernel_params,
            Hardware(cpus=2, spare_vcpus_to=16, memory_mib=1536, seed=cells[0].repetition),
        )
        store(found, Order(parts, cells, {("linux-6.12-rt", "minimal"): guest}))
    found.say()
    return found


def store(found: Measured, order: Order) -> None:
    """Store what a sealed machine would have measured."""
    queue, archive = order.queue(), found.folder / "queue.cpio"
    queue.write(archive)
    inputs = identity(order.parts, queue, archive)
    found.initramfs.append(hashlib.sha256(order.parts.base.read_bytes() + archive.read_bytes()).hexdigest())
    found.tree.keep_order("smoke", inputs["key"], order.as_dict())
    for cell in order.cells:
        raw = cyclictest_json(latencies(cell))
        answer = f"@fact one 1\n@file cyclictest.json\n{raw}\n@end cyclictest.json\n@whole 0\n"
        found.cells.append(cell)
        found.answers[cell.id], found.steps[cell.id] = answer, queue.cells[cell.id].measure
        sealed = {"step": queue.cells[cell.id].measure, "answer": hashlib.sha256(answer.encode()).hexdigest()}
        system = {"sealed": inputs | sealed}
        found.tree.write_record("smoke", cell, done(), system, {"cyclictest.json": raw})


def capsule(measured: Measured, *options: str) -> Path:
    """Write a capsule; returns the archive."""
    archive = measured.folder / "made.tar.gz"
    assert cli.main(["capsule", str(measured.tree.root), "--output", str(archive), *options]) == 0
    return archive


@pytest.fixture
def unpacked(measured: Measured) -> Path:
    """A capsule of all, in a folder with an inconvenient name, whose QEMU is a script."""
    return unpack(measured, capsule(measured))


def unpack(measured: Measured, archive: Path) -> Path:
    place = measured.folder / "any: folder, here"
    with tarfile.open(archive) as tar:
        tar.extractall(place, filter="data")
    (place / "smoke-capsule/qemu-0123/loader").write_text(MACHINE.replace("CONSOLES", str(measured.consoles)))
    return place / "smoke-capsule"


def environment(measured: Measured) -> dict[str, str]:
    (measured.folder / "tmp dir").mkdir(exist_ok=True)
    return {"PATH": os.environ["PATH"], "TMPDIR": str(measured.folder / "tmp dir")}


def run(measured: Measured, unpacked: Path, *options: str, shell: tuple[str, ...] = ("sh",)) -> tuple[int, str, str]:
    """Run a capsule from another folder; returns status, stdout, stderr. Nothing may be left behind."""
    command = [*shell, str(unpacked / "run"), *options]
    ended = subprocess.run(command, cwd="/", env=environment(measured), capture_output=True, text=True, timeout=60)
    assert list((measured.folder / "tmp dir").iterdir()) == []
    return ended.returncode, ended.stdout, ended.stderr


def content(unpacked: Path, name: str) -> list[list[str]]:
    return [line.split(" ", 1) for line in (unpacked / name).read_text().splitlines()]


# ----------------------------------------------------------------------------------------------------------- what is in


def test_the_same_inputs_give_the_same_bytes(measured: Measured) -> None:
    first = capsule(measured).read_bytes()
    for path in measured.folder.joinpath("artifacts").rglob("*"):
        os.utime(path, (1, 1))
    assert capsule(measured).read_bytes() == first


def test_it_holds_each_part_once_and_what_runs_it(measured: Measured, unpacked: Path) -> None:
    machine = content(unpacked, "machines/02")
    pieces = [value for what, value in machine if what in ("initramfs", "kernel")]
    assert {path.name for path in (unpacked / "pieces").iterdir()} > set(pieces)
    for path in (unpacked / "pieces").iterdir():
        assert hashlib.sha256(path.read_bytes()).hexdigest() == path.name
    texts = [path.read_text() for path in (unpacked / "pieces").iterdir()]
    assert texts.count("image " * 200) == texts.count("base " * 99) == 1
    assert os.access(unpacked / "run", os.X_OK)
    assert not [path for path in (measured.folder).iterdir() if path.name.startswith(".")]


def test_the_program_runs_with_the_libraries_that_came_with_it(measured: Measured) -> None:
    with tarfile.open(capsule(measured)) as tar:
        tar.extractall(measured.folder / "there", filter="data")
    loader = ["qemu-0123/loader", "--library-path", "qemu-0123/lib", "qemu-0123/qemu-system-aarch64"]
    subprocess.run(loader, cwd=measured.folder / "there/smoke-capsule", check=True)


def test_the_readme_has_the_cells_with_their_figures_and_the_keys(measured: Measured, unpacked: Path) -> None:
    text = (unpacked / "README.txt").read_text()
    for cell in measured.cells:
        (row,) = [line for line in text.splitlines() if line.endswith(cell.id)]
        histogram = latencies(cell)
        assert row.split()[-2] == f"{max(histogram):,}"
        assert measured.order(cell).stem in text
    assert "virtual time" in text and "1836 MiB" in text


def test_only_the_cells_asked_for(measured: Measured) -> None:
    wanted = measured.cells[0]
    place = unpack(measured, capsule(measured, "--cell", wanted.id))
    assert [line.split()[1] for line in (place / "sums").read_text().splitlines()] == [wanted.id]
    # The machine has all its cells, since what one finds depends on those before; it need not come to the last.
    (measured.consoles / "hangs").touch()
    status, said, _ = run(measured, place)
    assert (status, said.splitlines()[-1]) == (0, "1 cells: 1 same, 0 DIFFERENT")


# --------------------------------------------------------------------------------------------------------- what it says


@pytest.mark.parametrize("shell", SHELLS, ids=" ".join)
def test_the_same_answers_are_the_same(measured: Measured, unpacked: Path, shell: list[str]) -> None:
    status, said, complaints = run(measured, unpacked, shell=tuple(shell))
    assert (status, complaints) == (0, "")
    assert [line.split()[1] for line in said.splitlines() if line.startswith("same ")] == [c.id for c in measured.cells]
    assert said.splitlines()[-1] == "4 cells: 4 same, 0 DIFFERENT"


def test_a_machine_gets_what_it_was_measured_with(measured: Measured, unpacked: Path) -> None:
    assert run(measured, unpacked, "01")[0] == 0
    given = (measured.consoles / "arguments").read_text().splitlines()
    parts = Order.from_dict(json.loads(measured.order(measured.cells[0]).read_text())).parts
    assert given[given.index("-append") + 1] == parts.command_line
    assert given[-len(parts.qemu_arguments("kernel")) :] == parts.qemu_arguments("kernel")


def test_a_machine_that_is_not_in_lockstep_is_not_judged(measured: Measured, unpacked: Path) -> None:
    (unpacked / "qemu-0123/lockstep.so").unlink()
    (measured.consoles / "hangs").touch()
    for cell in measured.cells[:2]:
        measured.answers[cell.id] = ""
    measured.say()
    status, said, _ = run(measured, unpacked, "01")
    assert status == 1 and "nothing: QEMU does not run in lockstep, and was ended" in said


def test_one_machine_is_run_when_one_is_asked_for(measured: Measured, unpacked: Path) -> None:
    status, said, _ = run(measured, unpacked, "02")
    assert (status, said.splitlines()[-1]) == (0, "2 cells: 2 same, 0 DIFFERENT")
    assert measured.cells[2].id in said and measured.cells[0].id not in said


@pytest.mark.parametrize("shell", SHELLS, ids=" ".join)
def test_another_answer_is_different_and_both_sums_are_shown(
    measured: Measured, unpacked: Path, shell: list[str]
) -> None:
    changed = measured.cells[1].id
    measured.say(**{changed: "another"})
    status, said, _ = run(measured, unpacked, shell=tuple(shell))
    assert status == 1
    at = said.splitlines().index(f"DIFFERENT  {changed}")
    sums = [hashlib.sha256(answer.encode()).hexdigest() for answer in (measured.answers[changed], "another")]
    assert [line.split() for line in said.splitlines()[at + 1 : at + 3]] == [["measured", sums[0]], ["here", sums[1]]]
    assert said.splitlines()[-1] == "4 cells: 3 same, 1 DIFFERENT"


def test_a_machine_that_ends_early_is_different_with_its_last_words(measured: Measured, unpacked: Path) -> None:
    gone = measured.cells[3].id
    measured.say(**{gone: ""})
    status, said, _ = run(measured, unpacked)
    assert status == 1
    assert f"DIFFERENT  {gone}\n" in said and "nothing: the machine ended\n" in said
    assert "last words of it" in said


def test_a_machine_that_says_nothing_is_ended(measured: Measured, unpacked: Path) -> None:
    machine = unpacked / "machines/02"
    machine.write_text(re.sub("silent_s .*", "silent_s 2", machine.read_text()))
    (measured.consoles / "hangs").touch()
    measured.say(**{measured.cells[3].id: ""})
    status, said, _ = run(measured, unpacked, "02")
    assert (status, said.splitlines()[-1]) == (1, "2 cells: 1 same, 1 DIFFERENT")
    assert "nothing: the machine said nothing for 2 s, and was ended" in said
    assert not alive(measured)


def test_it_says_every_so_often_how_far_it_is(measured: Measured, unpacked: Path) -> None:
    script = unpacked / "run"
    script.write_text(script.read_text().replace("progress_every_s=30", "progress_every_s=1"))
    machine = unpacked / "machines/01"
    machine.write_text(re.sub("silent_s .*", "silent_s 4", machine.read_text()))
    (measured.consoles / "hangs").touch()
    measured.say(**{measured.cells[1].id: ""})
    said = run(measured, unpacked, "01")[1]
    assert re.search(r"^  \d s, 1 of 2 cells to come$", said, re.MULTILINE)


def test_answers_are_kept_where_asked(measured: Measured, unpacked: Path) -> None:
    kept = measured.folder / "kept here"
    assert run(measured, unpacked, "--keep", str(kept), "01")[0] == 0
    cell = measured.cells[0]
    assert (kept / cell.id / "answer").read_text() == measured.answers[cell.id]
    raw = json.loads((kept / cell.id / "cyclictest.json").read_text())
    assert raw == json.loads(cyclictest_json(latencies(cell)))
    assert (kept / "console_01.log").exists() and not (kept / measured.cells[2].id).exists()


# ------------------------------------------------------------------------------------------------------ what it refuses


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["03"], "there is no machine '03'"),
        (["../sums"], "there is no machine '../sums'"),
        (["--faster"], "--faster is no option"),
        (["--keep"], "--keep has no folder"),
        (["--keep", "/dev/null/x"], "/dev/null/x cannot be written"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_it_cannot_do_is_said_in_one_line(
    measured: Measured, unpacked: Path, options: list[str], sentence: str
) -> None:
    status, said, complaints = run(measured, unpacked, *options)
    assert (status, said) == (2, "")
    assert complaints.startswith(f"run: {sentence}") and complaints.count("\n") == 1


@pytest.mark.parametrize("what", ["kernel", "initramfs"])
def test_a_damaged_piece_is_found_before_anything_runs(measured: Measured, unpacked: Path, what: str) -> None:
    piece = next(value for name, value in content(unpacked, "machines/01") if name == what)
    (unpacked / "pieces" / piece).write_text("damaged")
    status, _, complaints = run(measured, unpacked)
    assert (status, complaints.count("\n")) == (2, 1)
    assert f"pieces/{piece} is not what it was" in complaints
    assert not (measured.consoles / "pid").exists()


def test_another_architecture_is_refused(measured: Measured, unpacked: Path) -> None:
    machine = unpacked / "machines/01"
    machine.write_text(re.sub("runs_on .*", "runs_on vax", machine.read_text()))
    status, _, complaints = run(measured, unpacked)
    assert status == 2 and "expected vax" in complaints


# ---------------------------------------------------------------------------------------------------------- interrupted


def alive(measured: Measured) -> bool:
    """Whether the newest machine runs."""
    return Path(f"/proc/{(measured.consoles / 'pid').read_text().strip()}").exists()


@pytest.fixture
def hanging(measured: Measured, unpacked: Path) -> Iterator[subprocess.Popen[str]]:
    """A capsule whose first machine has begun and says nothing, in a process group of its own as in a terminal."""
    (measured.consoles / "hangs").touch()
    measured.say(**{cell.id: "" for cell in measured.cells})
    with subprocess.Popen(
        [unpacked / "run"], env=environment(measured), stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as started:
        wait_until(lambda: (measured.consoles / "pid").exists() and (measured.consoles / "pid").read_text() != "")
        yield started
        started.kill()


def wait_until(condition: Any) -> None:
    until = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.05)


@pytest.mark.parametrize("group", [True, False], ids=["all processes, as from a terminal", "run alone"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_interrupted_it_leaves_nothing(
    measured: Measured, hanging: subprocess.Popen[str], number: signal.Signals, group: bool
) -> None:
    (os.killpg if group else os.kill)(hanging.pid, number)
    assert hanging.wait(20) == 128 + number
    assert not alive(measured)
    assert list((measured.folder / "tmp dir").iterdir()) == []


def test_it_ends_with_who_reads_what_it_says(measured: Measured, unpacked: Path) -> None:
    # 'run | head -n 0': writing fails, and no machine may go on for nobody.
    command = f"'{unpacked}/run' | true"
    subprocess.run(["sh", "-c", command], env=environment(measured), timeout=60, stderr=subprocess.DEVNULL)
    assert list((measured.folder / "tmp dir").iterdir()) == []


# ------------------------------------------------------------------------------------------- what no capsule is made of


def refuse(measured: Measured, capsys: pytest.CaptureFixture[str], *options: str, results: str = "") -> str:
    """Ask for a capsule that cannot be; returns the sentence. Nothing may be written."""
    before = sorted(path.name for path in measured.folder.iterdir())
    archive = measured.folder / "made.tar.gz"
    status = cli.main(["capsule", results or str(measured.tree.root), "--output", str(archive), *options])
    told = capsys.readouterr()
    assert (status, told.out, told.err.count("\n")) == (2, "", 1)
    assert sorted(path.name for path in measured.folder.iterdir()) == before
    return told.err


def test_a_machine_whose_order_was_not_kept(measured: Measured, capsys: pytest.CaptureFixture[str]) -> None:
    measured.order(measured.cells[2]).unlink()
    said = refuse(measured, capsys)
    assert measured.cells[2].id in said or measured.cells[3].id in said
    assert "an older rtvirt measured; measure the cell again" in said


def test_an_order_that_makes_no_sense(measured: Measured, capsys: pytest.CaptureFixture[str]) -> None:
    path = measured.order(measured.cells[0])
    known = json.loads(path.read_text())
    known["parts"].pop("base")
    path.write_text(json.dumps(known))
    assert f"{path} cannot be read ('base')" in refuse(measured, capsys)


@pytest.mark.parametrize("gone", ["qemu-0123", "lockstep", "kernel", "base", "guest-minimal"])
def test_a_machine_whose_parts_are_gone(measured: Measured, capsys: pytest.CaptureFixture[str], gone: str) -> None:
    shutil.rmtree(measured.folder / "artifacts" / gone)
    said = refuse(measured, capsys)
    assert str(measured.folder / "artifacts" / gone) in said and "is gone from the cache; measure it again" in said


@pytest.mark.parametrize(
    ("part", "differs"),
    [("base/base.img", "base"), ("kernel/vmlinuz", "kernel"), ("guest-minimal/initrd.img", "files")],
)
def test_a_machine_whose_parts_are_others(
    measured: Measured, capsys: pytest.CaptureFixture[str], part: str, differs: str
) -> None:
    (measured.folder / "artifacts" / part).write_text("changed")
    said = refuse(measured, capsys)
    assert re.search(rf"since its [a-z, ]*{differs}[a-z, ]* changed", said) and "measure again" in said


def test_a_script_that_has_changed(
    measured: Measured, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    changed = tmp_path / "artifacts" / "run_queue.sh"
    changed.write_text("echo another\n")
    monkeypatch.setattr("rtvirt_runner.machine.sealed_queue.RUNNER", changed)
    assert "since its queue changed with a script, program or setting" in refuse(measured, capsys)


def test_cells_that_cannot_be_in_it(measured: Measured, capsys: pytest.CaptureFixture[str]) -> None:
    cell = replace(measured.cells[0], repetition=7)
    measured.tree.write_record("smoke", cell, done(), {}, {"cyclictest.json": cyclictest_json({5: 5000})})
    broken = replace(measured.cells[0], repetition=8)
    measured.tree.write_record("smoke", broken, failed("It was late."), {}, {})
    assert f"has no cell {cell.id}x" in refuse(measured, capsys, "--cell", f"{cell.id}x")
    assert f"Cell {cell.id} was measured over SSH" in refuse(measured, capsys, "--cell", cell.id)
    assert f"Cell {broken.id} failed: It was late, expected" in refuse(measured, capsys, "--cell", broken.id)
    capsule(measured)  # of the others, and it says which are not in it
    told = capsys.readouterr().err
    assert f"left out: {cell.id} was measured over SSH\n" in told and f"left out: {broken.id} failed" in told


def test_results_without_sealed_cells(measured: Measured, capsys: pytest.CaptureFixture[str]) -> None:
    tree = ResultsTree(measured.folder / "results" / "of another")
    tree.write_record("smoke", CELLS[0], done(), {}, {"cyclictest.json": cyclictest_json({5: 5000})})
    assert "no cell that a sealed machine has measured" in refuse(measured, capsys, results=str(tree.root))


def test_results_of_two_matrices(measured: Measured, capsys: pytest.CaptureFixture[str]) -> None:
    measured.tree.write_record("other", CELLS[0], done(), {}, {})
    assert "holds the matrices other, smoke, expected one" in refuse(measured, capsys)
    archive = measured.folder / "one.tar.gz"
    assert cli.main(["capsule", str(measured.tree.root / "smoke"), "--output", str(archive)]) == 0
    assert archive.exists()


def test_no_results_and_no_folder_to_write_to(measured: Measured, capsys: pytest.CaptureFixture[str]) -> None:
    assert "there is no such folder, expected a results folder" in refuse(measured, capsys, results="/nowhere")
    there = str(measured.folder / "nowhere" / "made.tar.gz")
    assert "expected one for the capsule; make it" in refuse(measured, capsys, "--output", there)
