"""A capsule: an archive from which anybody runs sealed machines again, with no checkout and no network.

    <name>/README.txt       what it is, what it needs, what equal sums mean
    <name>/run              starts machines one after the other and compares what their cells answer (run_capsule.sh)
    <name>/sums             MACHINE CELL STEP SHA256, a line per cell
    <name>/machines/01      KEY VALUE lines: pieces, QEMU and its arguments, limits
    <name>/pieces/<SHA256>  kernels, and what initramfs are concatenations of, each once
    <name>/qemu-<key>/      QEMU, what it runs with (lockstep.c), its libraries and their dynamic loader

The same inputs give the same bytes. It cannot be made of machines whose inputs have changed since they measured.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import platform
import re
import subprocess
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rtvirt_runner.catalogue.checked_yaml import InputError
from rtvirt_runner.machine.sealed_machine import LOCKSTEP, Order, Parts, identity

RUN = Path(__file__).parent / "run_capsule.sh"
SILENT_S = 600  # as long as this, and 20 times as long as a cell takes by its own clock, a machine may say nothing
RUNS_ON = platform.machine()  # QEMU's programs are those of the computer that measured
_PROGRAM = "qemu-system-aarch64"
_PROGRAMS = ("run", "loader", _PROGRAM)


@dataclass(frozen=True)
class MeasuredCell:
    """A cell that a sealed machine has measured: its id, the step that measured, and SHA-256 of what that answered."""

    id: str
    step: str
    answer: str


@dataclass(frozen=True)
class MeasuredMachine:
    """A sealed machine that has measured: what went into it as its cells' records have it, and its order."""

    inputs: Mapping[str, Any]  # as identity() gives it
    order: Order
    cells: tuple[MeasuredCell, ...]
    seconds: float  # that it took

    @property
    def key(self) -> str:
        """SHA-256 over all that went into it."""
        return str(self.inputs["key"])


@dataclass
class Capsule:
    """What goes into the archive; ``work`` is an empty folder for what has to be made."""

    name: str
    work: Path
    files: dict[str, Path | bytes] = field(default_factory=dict)  # name in the archive -> where it is, or its content
    machines: dict[str, MeasuredMachine] = field(default_factory=dict)
    initramfs_bytes: int = 0  # of the largest machine

    def add(self, machine: MeasuredMachine) -> None:
        """Make a machine's initramfs again.

        Raises InputError when something that it was made of is gone, or is not what it was.
        """
        parts, whose = machine.order.parts, f"The machine that measured {machine.cells[0].id}"
        _require_artifacts(machine.order, whose)
        queue, packed = machine.order.queue(), self.work / "queue.cpio"
        queue.write(packed)
        inputs = identity(parts, queue, packed)
        if inputs["key"] != machine.key:
            differ = [name for name in inputs if name != "key" and inputs[name] != machine.inputs.get(name)]
            raise InputError(
                f"{whose} cannot be made again, since its {', '.join(differ)} changed with a script, program or "
                "setting; check out the version that measured, or measure again."
            )
        name = f"{len(self.machines) + 1:02d}"
        silent_s = SILENT_S + 20 * max(cell.loops * cell.interval_us for cell in machine.order.cells) // 10**6
        kernel = self._add_piece(parts.kernel)
        pieces = [self._add_piece(parts.base), *self._split(packed, list(queue.files.values()))]
        facts = [
            ("key", machine.key),
            ("runs_on", RUNS_ON),
            ("qemu", self._add_qemu(parts)),
            ("kernel", kernel),
            *(("initramfs", piece) for piece in pieces),
            *(("argument", argument) for argument in parts.qemu_arguments("kernel")),
            ("silent_s", str(silent_s)),
            ("about_s", str(round(machine.seconds))),
        ]
        self.files[f"machines/{name}"] = _lines(facts)
        self.machines[name] = machine
        self.initramfs_bytes = max(self.initramfs_bytes, parts.base.stat().st_size + packed.stat().st_size)
        packed.unlink()

    def write(self, archive: Path, readme: str) -> None:
        """Write the archive, whole or not at all."""
        sums = [(name, each.id, each.step, each.answer) for name, made in self.machines.items() for each in made.cells]
        texts = {"README.txt": readme.encode(), "run": RUN.read_bytes(), "sums": _lines(sums)}
        partial = archive.with_name(f".partial-{archive.name}-{os.getpid()}")
        try:
            # Neither the time nor a file name in its header: the same inputs give the same bytes.
            with (
                partial.open("wb") as stream,
                gzip.GzipFile("", "wb", 6, stream, mtime=0) as packed,
                tarfile.open(fileobj=packed, mode="w|", format=tarfile.GNU_FORMAT) as tar,
            ):
                for name, source in {**texts, **dict(sorted(self.files.items()))}.items():
                    _add_file(tar, f"{self.name}/{name}", source)
            partial.rename(archive)
        finally:
            partial.unlink(missing_ok=True)

    def _add_piece(self, content: Path | bytes) -> str:
        """Add what initramfs are made of, once; returns its name, which is its SHA-256."""
        if isinstance(content, Path):
            with content.open("rb") as stream:
                name = hashlib.file_digest(stream, "sha256").hexdigest()
        else:
            name = hashlib.sha256(content).hexdigest()
        if f"pieces/{name}" in self.files:
            return name
        if isinstance(content, bytes):  # on the disk, since there may be many
            path = self.work / name
            path.write_bytes(content)
        else:
            path = content
        self.files[f"pieces/{name}"] = path
        return name

    def _split(self, packed: Path, files: Sequence[Path]) -> list[str]:
        """Pieces of which a queue is the concatenation; its files, which other machines have too, are some of them."""
        content = packed.read_bytes()
        found = sorted((content.find(data), data) for data in {path.read_bytes() for path in files} if data)
        names, at = [], 0
        for start, data in found:
            if start < at:  # in the part before it already
                continue
            names += [self._add_piece(content[at:start]), self._add_piece(data)]
            at = start + len(data)
        return [*names, self._add_piece(content[at:])]

    def _add_qemu(self, parts: Parts) -> str:
        """Add the QEMU of a machine, once; returns the name of its folder."""
        name = parts.qemu.name
        if f"{name}/loader" not in self.files:
            found = {LOCKSTEP: parts.lockstep / LOCKSTEP, **qemu_files(parts.qemu)}
            self.files |= {f"{name}/{path}": source for path, source in found.items()}
        return name


def qemu_files(folder: Path) -> dict[str, Path]:
    """What of the QEMU of the role virtual_board runs a sealed machine: name in a capsule -> file.

    That is the program, the libraries that it and they name, and their dynamic loader. No firmware: QEMU's machine
    ``virt`` loads a kernel by itself, and without a network card and a display it has no option ROM. Raises InputError
    when the loader finds no libraries.
    """
    root = folder / "root"
    program = root / "usr" / "bin" / _PROGRAM
    loaders = sorted(root.glob("usr/lib*/**/ld-linux*.so.*"))
    libraries = [
        path for libc in root.glob("usr/lib/**/libc.so.6") for path in (libc.parent, libc.parent / "pulseaudio")
    ]
    if not loaders or not program.exists():
        raise InputError(f"{folder} has no QEMU with its libraries; make it anew: remove the folder and measure again.")
    search = ["--library-path", ":".join(map(str, libraries))]
    listed = subprocess.run([loaders[0], *search, "--list", program], capture_output=True, text=True)
    found = re.findall(r"^\s*(\S+) => (/.+) \(0x[0-9a-f]+\)$", listed.stdout, re.MULTILINE)
    if listed.returncode or not found:
        said = " ".join(listed.stderr.split()) or "it names no library"
        raise InputError(f"{program} does not run here: {said}; make it anew: remove {folder} and measure again.")
    return {_PROGRAM: program, "loader": loaders[0], **{f"lib/{Path(name).name}": Path(path) for name, path in found}}


def _require_artifacts(order: Order, whose: str) -> None:
    parts = order.parts
    for path in (parts.qemu / "bin" / _PROGRAM, parts.lockstep, parts.kernel, parts.base, *order.guests.values()):
        if not path.exists():
            raise InputError(f"{whose} cannot be made again, since {path} is gone from the cache; measure it again.")


def _lines(rows: Sequence[tuple[str, ...]]) -> bytes:
    return "".join(" ".join(row) + "\n" for row in rows).encode()


def _add_file(tar: tarfile.TarFile, name: str, source: Path | bytes) -> None:
    """With nothing of the file system that it was read from: no owner, no time."""
    entry = tarfile.TarInfo(name)
    entry.mode = 0o755 if Path(name).name in _PROGRAMS else 0o644
    stream = io.BytesIO(source) if isinstance(source, bytes) else source.open("rb")
    with stream:
        entry.size = stream.seek(0, os.SEEK_END)
        stream.seek(0)
        tar.addfile(entry, stream)
