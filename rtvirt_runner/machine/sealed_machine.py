"""A sealed machine: an emulated board without disk and network that works through a queue and powers itself off.

All inputs are known, so its answers are the same on every computer that runs it; lockstep.c takes out of QEMU what
depended on the computer. ``identity`` has a checksum of each input. The machine's folder holds ``queue.cpio``,
``machine.json``, ``lockstep.so`` and ``pid``, and once it is the machine's turn to run (take_turn.sh) ``initramfs`` and
``console.log``.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from rtvirt_runner.catalogue import collection
from rtvirt_runner.machine import console_log, script_reply
from rtvirt_runner.machine.script_reply import Reply
from rtvirt_runner.machine.sealed_queue import (
    KERNEL_PARAMS,
    CellSteps,
    GuestFiles,
    Queue,
    TraceSteps,
    make_queue,
    make_trace_queue,
)
from rtvirt_runner.matrix.cell import Cell
from rtvirt_runner.matrix.plan import plan

KEEPER = collection.ROOT / "roles" / "virtual_board" / "files" / "keep_board.sh"
TAKE_TURN = collection.ROOT / "roles" / "sealed_board" / "files" / "take_turn.sh"
MACHINE = "virt,virtualization=on,gic-version=3"
DATE = "2026-01-01"
LOOK_S = 0.2
GONE_AFTER_S = 1.0  # without a process: for an instant there is none while the pid file is written and QEMU started
ENDS_WITHIN_S = 10.0  # before it is killed
CONSOLE_BYTES = 64 << 20  # at most; the answers of a long queue have a few
ANSWER_BYTES = 16 << 20  # of one step, unpacked
LOCKSTEP = "lockstep.so"  # its name has no blank and no colon, which part the names of what is preloaded
IN_LOCKSTEP = "in_lockstep"  # a file that lockstep.c makes
USER = "owner"  # a file that names the run that uses the folder (leases.use)

_MARK = re.compile(r"^@(?:answer (\S+)|end (\S+) ([0-9a-f]{64}))$", re.MULTILINE)


@dataclass(frozen=True)
class Hardware:
    """The emulated hardware. ``spare_vcpus_to``: number of vCPUs; spare ones shorten the others' time slices."""

    cpus: int
    spare_vcpus_to: int
    memory_mib: int
    seed: int  # of QEMU's random numbers

    def arguments(self) -> list[str]:
        """QEMU's arguments, except those with paths."""
        vcpus = max(self.spare_vcpus_to, self.cpus)
        return [
            *("-nodefaults", "-display", "none", "-nic", "none", "-no-reboot"),
            *("-machine", MACHINE, "-cpu", "cortex-a57", "-smp", str(vcpus), "-m", str(self.memory_mib)),
            *("-icount", "shift=2,sleep=off", "-rtc", f"base={DATE},clock=vm", "-seed", str(self.seed)),
        ]


@dataclass(frozen=True)
class Parts:
    """The parts of a machine, without its queue."""

    qemu: Path  # folder of the role virtual_board, with bin/qemu-system-aarch64
    qemu_version: str
    lockstep: Path  # folder with lockstep.so, which QEMU runs with, and lockstep.c
    kernel: Path  # vmlinuz
    base: Path  # base initramfs of all machines
    kernel_params: tuple[str, ...]
    hardware: Hardware

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Parts:
        """The inverse of ``asdict``, also after a round trip through JSON."""
        return cls(
            qemu=Path(values["qemu"]),
            qemu_version=str(values["qemu_version"]),
            lockstep=Path(values["lockstep"]),
            kernel=Path(values["kernel"]),
            base=Path(values["base"]),
            kernel_params=tuple(values["kernel_params"]),
            hardware=Hardware(**{name: int(value) for name, value in values["hardware"].items()}),
        )

    @property
    def command_line(self) -> str:
        """The kernel command line."""
        fixed = ("console=ttyAMA0", "quiet", "loglevel=1", "nokaslr", "panic=-1", f"maxcpus={self.hardware.cpus}")
        return " ".join((*fixed, *KERNEL_PARAMS, *self.kernel_params))

    def qemu_arguments(self, kernel: str) -> list[str]:
        """QEMU's, of a machine whose initramfs and console log are in the current folder."""
        return [
            *("-no-user-config", *self.hardware.arguments()),  # nothing of this computer's /etc/qemu
            *("-kernel", kernel, "-initrd", "initramfs", "-append", self.command_line),
            *("-chardev", "file,id=console,path=console.log", "-serial", "chardev:console"),
        ]


@dataclass(frozen=True)
class Answers:
    """Answers on a console so far: step -> text; of a repeated step the last one."""

    texts: Mapping[str, str]
    sums: Mapping[str, str]  # SHA-256 of each, as the machine said it
    skipped: frozenset[str]  # measuring steps of cells whose group did not reach its state
    over: bool

    @classmethod
    def read(cls, console: str) -> Answers:
        """Parse the complete answers of a console log; damaged and incomplete ones are left out."""
        text = console.replace("\r", "")
        texts, sums = {}, {}
        for begin, end, name, wanted in _answers(text):
            try:
                answer = _unpacked(base64.b64decode(text[begin:end]))
            except (ValueError, zlib.error):
                continue
            if hashlib.sha256(answer).hexdigest() == wanted:
                texts[name], sums[name] = answer.decode(errors="replace"), wanted
        skipped = re.findall(r"^@skipped (\S+)$", text, re.MULTILINE)
        return cls(texts, sums, frozenset(skipped), re.search(r"^@over$", text, re.MULTILINE) is not None)

    def reply(self, step: str) -> Reply | None:
        """The reply of a step; None before it has answered."""
        return script_reply.parse(self.texts[step]) if step in self.texts else None

    def sum_of(self, step: str) -> str:
        """SHA-256 of the answer of a step; '' before it has answered."""
        return self.sums.get(step, "")

    def has_ended(self, steps: CellSteps) -> bool:
        """Whether all answers of a cell are there, or no more will come."""
        if steps.measure in self.skipped or any(
            (reply := self.reply(name)) is not None and reply.failure for name in (steps.state,)
        ):
            return True
        return steps.measure in self.texts and steps.end in self.texts

    def traced(self, steps: TraceSteps) -> Traced | None:
        """What the steps of a trace answered; None while more may come."""
        names = (*steps.begun.values(), steps.load, steps.broke, *steps.ended.values())
        replies = {name: reply for name in names if (reply := self.reply(name)) is not None}
        cut = "an answer was cut off"
        failures = [each.failure or cut for each in replies.values() if each.failure or not each.complete]
        if not failures and steps.broke in self.skipped:
            failures = ["board and guest did not reach their state"]
        if not failures and len(replies) < len(names):
            return None
        return Traced(failures[0] if failures else "", steps, replies)


@dataclass(frozen=True)
class Traced:
    """What the steps of a trace answered; ``failure``: why there is no trace, '' if there is one."""

    failure: str
    steps: TraceSteps
    replies: Mapping[str, Reply]  # by step

    @property
    def begun(self) -> dict[str, dict[str, object]]:
        """Facts of ``begin_trace`` by side."""
        return {side: self.replies[name].as_dict() for side, name in self.steps.begun.items()}

    @property
    def broke(self) -> dict[str, object]:
        """Facts of ``break_cyclictest``."""
        return self.replies[self.steps.broke].as_dict()

    @property
    def ended(self) -> dict[str, dict[str, object]]:
        """Facts and files of ``end_trace`` by side."""
        replies = {side: self.replies[name] for side, name in self.steps.ended.items()}
        return {side: {"facts": reply.as_dict(), "files": reply.files} for side, reply in replies.items()}


@dataclass(frozen=True)
class Order:
    """The work of a machine: the cells of a boot group in the order of the plan, the parts, and the guests' images.

    With ``trace_us`` it is one cell, which is traced: until a wake-up is later than so many us.
    """

    parts: Parts
    cells: tuple[Cell, ...]
    guests: Mapping[tuple[str, str], Path]  # kernel and flavour -> folder of the image
    trace_us: int | None = None

    def queue(self) -> Queue:
        """The queue of steps for the cells."""
        (boot,) = plan(self.cells)
        images = {key: GuestFiles(folder) for key, folder in self.guests.items()}
        if self.trace_us is not None:
            return make_trace_queue(boot, self.trace_us, images)
        return make_queue(boot, [cell.id for cell in self.cells], images)

    def after(self, cell_id: str) -> Order:
        """The order for the cells after the given one."""
        ids = [cell.id for cell in self.cells]
        return replace(self, cells=self.cells[ids.index(cell_id) + 1 :])

    def as_dict(self) -> dict[str, Any]:
        """The order as plain values, for JSON."""
        return {
            "parts": json.loads(json.dumps(asdict(self.parts), default=str)),
            "cells": [cell.as_dict() for cell in self.cells],
            "guests": [
                {"kernel": kernel, "flavour": flavour, "folder": str(folder)}
                for (kernel, flavour), folder in self.guests.items()
            ],
            "trace_us": self.trace_us,
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Order:
        """The inverse of ``as_dict``."""
        guests = {(each["kernel"], each["flavour"]): Path(each["folder"]) for each in values["guests"]}
        cells = tuple(Cell.from_dict(cell) for cell in values["cells"])
        return cls(Parts.from_dict(values["parts"]), cells, guests, values.get("trace_us"))


@dataclass(frozen=True)
class SealedMachine:
    """A machine in its folder. Any process may read it; only one at a time may start it."""

    folder: Path
    order: Order
    steps: Mapping[str, CellSteps]  # by cell
    identity: Mapping[str, Any]
    trace: TraceSteps | None = None  # where the cell is traced

    @classmethod
    def load(cls, folder: Path) -> SealedMachine:
        """The machine that was last started in a folder."""
        known = json.loads((folder / "machine.json").read_text())
        steps = {
            cell: CellSteps(tuple(each["setup"]), each["state"], each["measure"], each["end"])
            for cell, each in known["steps"].items()
        }
        trace = TraceSteps(**known["trace"]) if known["trace"] else None
        return cls(folder, Order.from_dict(known["order"]), steps, known["identity"], trace)

    @classmethod
    def start(cls, folder: Path, order: Order, owner_pid: int, locks: Path) -> SealedMachine:
        """Write a machine's files, and start it as soon as a core of this computer is free.

        It ends with the process ``owner_pid``. ``locks`` is the folder of the locks of all machines, one for each core.
        """
        folder.mkdir(parents=True, exist_ok=True)
        _stop(folder)
        for name in ("console.log", "qemu.log", IN_LOCKSTEP):
            (folder / name).unlink(missing_ok=True)
        queue, packed = order.queue(), folder / "queue.cpio"
        queue.write(packed)
        machine = cls(folder, order, queue.cells, identity(order.parts, queue, packed), queue.trace)
        steps = {cell: asdict(each) for cell, each in queue.cells.items()}
        trace = asdict(queue.trace) if queue.trace else None
        known = {"order": order.as_dict(), "steps": steps, "trace": trace, "identity": machine.identity}
        (folder / "machine.json").write_text(json.dumps(known, indent=1))
        parts, cores = order.parts, len(os.sched_getaffinity(0))
        shutil.copyfile(parts.lockstep / LOCKSTEP, folder / LOCKSTEP)
        preload = ["env", f"LD_PRELOAD=./{LOCKSTEP}"]
        qemu = [*preload, str(parts.qemu / "bin" / "qemu-system-aarch64"), "-name", _name(folder)]
        turn = [str(locks), str(cores), str(owner_pid), str(KEEPER), str(folder), str(parts.base)]
        started = subprocess.Popen(
            ["sh", str(TAKE_TURN), *turn, *qemu, *parts.qemu_arguments(str(parts.kernel))],
            env={**os.environ, "RESETS": "qemu", "FIRMWARE": ""},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        whole = folder / f"pid.{started.pid}"  # a file that is being written has no number, and that counts as ended
        whole.write_text(f"{started.pid}\n")
        whole.replace(folder / "pid")
        return machine

    def resume_after(self, cell_id: str, owner_pid: int, locks: Path) -> SealedMachine | None:
        """Start a machine for the cells after one in which this machine ended; None if there are none."""
        order = self.order.after(cell_id)
        return SealedMachine.start(self.folder, order, owner_pid, locks) if order.cells else None

    def answers(self) -> Answers:
        """The answers on its console so far."""
        return Answers.read(console_log.read(self.folder / "console.log", limit=CONSOLE_BYTES))

    def wait(self, cell: str, limit_s: float, go_on: Callable[[], None] = lambda: None) -> tuple[Answers, str]:
        """Wait until a cell has ended; returns the answers, and why the cell has none ('' if it has one).

        A machine without output for ``limit_s`` seconds is stopped, unless it has not had its turn yet; until then
        ``go_on`` is called, which may raise an exception to wait no longer.
        """
        steps = self.steps[cell]
        return self._wait(lambda answers: answers.has_ended(steps), limit_s, go_on)

    def wait_for_trace(self, limit_s: float, go_on: Callable[[], None] = lambda: None) -> tuple[Traced | None, str]:
        """Wait until the cell is traced, as ``wait`` does; returns the answers, or None and why there are none."""
        steps = self.trace
        if steps is None:
            return None, "The machine traces nothing."
        answers, reason = self._wait(lambda answers: answers.traced(steps) is not None, limit_s, go_on)
        traced = answers.traced(steps)
        return (None, traced.failure) if traced and traced.failure else (traced, reason)

    def _wait(
        self, has_ended: Callable[[Answers], bool], limit_s: float, go_on: Callable[[], None]
    ) -> tuple[Answers, str]:
        answers = self.answers()
        size: int | None = -1
        quiet_since = seen_at = time.monotonic()
        while True:
            # Read before the console, so that a machine's last output is not missed.
            if self.runs():
                seen_at = time.monotonic()
            is_gone = time.monotonic() - seen_at > GONE_AFTER_S
            if (now := self._console_bytes()) != size:
                quiet_since, size, answers = time.monotonic(), now, self.answers()
            if now is not None and not (self.folder / IN_LOCKSTEP).exists():
                self.stop()
                said = self._said("qemu.log") or "it said nothing"
                return answers, f"QEMU does not run in lockstep, so its answers could not be made again: {said}."
            if has_ended(answers):
                return answers, ""
            if is_gone:
                return answers, f"The machine ended in the middle of the cell: {self._last_words()}."
            if now is not None and now > CONSOLE_BYTES:
                self.stop()
                return answers, f"The machine wrote more than {CONSOLE_BYTES >> 20} MiB to its console, and was ended."
            if now is not None and time.monotonic() - quiet_since > limit_s:
                self.stop()
                return answers, f"The machine said nothing for {limit_s:.0f} s of the clock here, and was ended."
            if now is None:
                go_on()
            time.sleep(LOOK_S)

    def runs(self) -> bool:
        """Whether QEMU is running, or will be when it is the machine's turn."""
        return is_running(self.folder)

    def stop(self) -> None:
        """Stop QEMU if it is running."""
        _stop(self.folder)

    def _console_bytes(self) -> int | None:
        """Size of the console log; None before the machine's turn."""
        path = self.folder / "console.log"
        return path.stat().st_size if path.exists() else None

    def _last_words(self) -> str:
        said = console_log.read(self.folder / "console.log").replace("\r", "")
        for begin, end, _, _ in reversed(list(_answers(said))):
            said = said[:begin] + said[end:]
        plain = [line for line in console_log.last_lines(said) if not line.startswith("@")]
        # Of a panic the sentence, not the last lines of its call trace.
        panics = [line for line in plain if "Kernel panic" in line]
        return " / ".join(panics[:1] or plain[-3:]) or self._said("qemu.log") or "it said nothing"

    def _said(self, name: str) -> str:
        return " ".join(console_log.read(self.folder / name).split()[-40:])


def _unpacked(packed: bytes) -> bytes:
    """Decompress an answer up to its limit, since a few bytes may unpack to gigabytes: a longer one has another sum."""
    return zlib.decompressobj(wbits=31).decompress(packed, ANSWER_BYTES)


def _answers(console: str) -> Iterator[tuple[int, int, str, str]]:
    """Where the packed answers of a console log begin and end, the names of their steps, and the sums said of them.

    An answer reaches from the last line that begins it to the first that ends it, so each line is looked at once.
    """
    begun, begin = None, 0
    for mark in _MARK.finditer(console):
        if mark[1] is not None:
            begun, begin = mark[1], mark.end() + 1
        elif mark[2] == begun:
            yield begin, mark.start(), mark[2], mark[3]
            begun = None


def is_running(folder: Path) -> bool:
    """Whether the machine of a folder runs, or waits for its turn."""
    return _pid(folder) is not None


def end(folder: Path) -> None:
    """Stop the machine of a folder, remove what it needed, and free the folder for other runs."""
    _stop(folder)
    for name in ("initramfs", "queue.cpio", USER):
        (folder / name).unlink(missing_ok=True)


def _name(folder: Path) -> str:
    return f"guest={folder.parent.name}-{folder.name},debug-threads=on"


def _pid(folder: Path) -> int | None:
    try:
        pid = int((folder / "pid").read_text())
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except (OSError, ValueError):
        return None
    return pid if _name(folder).encode() in command else None


def _stop(folder: Path) -> None:
    for sent in (signal.SIGTERM, signal.SIGKILL):
        pid = _pid(folder)
        if pid is None:
            return
        os.kill(pid, sent)
        began = time.monotonic()
        while _pid(folder) is not None and time.monotonic() - began < ENDS_WITHIN_S:
            time.sleep(0.1)


def identity(parts: Parts, queue: Queue, packed: Path) -> dict[str, Any]:
    """Checksums of all inputs of a machine, and ``key``, a digest of these."""
    inputs = {
        "qemu": parts.qemu_version,
        "qemu_arguments": " ".join(parts.hardware.arguments()),
        "lockstep": _sum(parts.lockstep / "lockstep.c"),  # compilers differ
        "kernel": _sum(parts.kernel),
        "command_line": parts.command_line,
        "base": _sum(parts.base),
        "queue": _sum(packed),
        "steps": {name: hashlib.sha256(text.encode()).hexdigest()[:16] for name, text in queue.steps.items()},
        "files": {name: _sum(path)[:16] for name, path in queue.files.items()},
    }
    key = hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()
    return {"key": key, **inputs}


def _sum(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
