"""``rtvirt capsule RESULTS``: an archive from which anybody runs the sealed cells of a matrix again."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rtvirt_runner.analysis.histogram import summarize
from rtvirt_runner.analysis.measurement import Measurement, read_measurement
from rtvirt_runner.catalogue.checked_yaml import InputError
from rtvirt_runner.cli.cache import size
from rtvirt_runner.machine.capsule import RUNS_ON, Capsule, MeasuredCell, MeasuredMachine
from rtvirt_runner.machine.sealed_machine import Order
from rtvirt_runner.matrix.results import BadRecord, Record, ResultsTree, find_matrices
from rtvirt_runner.report.format import decimals, number, quantile
from rtvirt_runner.run.progress import duration

OVERHEAD_MIB = 300  # that QEMU needs beside a machine's memory

_README = """\
{title}
{rule}

This archive holds {machines} that measured the cells below: kernels, root file systems, the queue of what is
done, and the QEMU that emulates. A machine has no disk and no network, and its clock counts instructions. So it does
the same on every computer: what each cell answers, its histogram of latencies included, is the same to the last byte.

    ./run                  all machines, one after the other; for each cell "same" or "DIFFERENT"
    ./run 01               one machine
    ./run --keep answers   unpack what the cells answer, cyclictest's output included, into a folder for each cell

It needs Linux on {architecture}, {memory} MiB of memory, {disk} in $TMPDIR or /tmp, a POSIX shell and usual programs
(sed, awk, sha256sum, base64, gzip). It needs no root, no KVM and no network. A machine uses one core. Where the cells
were measured this took about {time}. Exit status: 0 all is the same, 1 something is not, 2 it cannot be run.

Equal sums mean that these kernels and programs give these histograms, and that whoever doubts or wonders can look into
the machine while it does so. They do not mean that a chip shows these microseconds: figures are in virtual time, in
which every instruction takes equally long and there are no caches. They compare kernels and settings, they do not
predict a chip; and each is one course of events among many.

Sums that are not equal are a defect of QEMU or of rtvirt: please report them with what ./run has printed.

Cells (latencies in us, virtual time)

{cells}
Machines

{keys}
machines/NN says what a machine is made of, pieces has that by SHA-256 (an initramfs is some of them, one behind the
other), sums has machine, cell, step and the SHA-256 that the machine prints on its console: "@end STEP SHA256". To try
another kernel, put it among the pieces under its SHA-256 and name it in the line "kernel" of machines/NN.

QEMU, its libraries, busybox and cyclictest are Debian's; their sources and licences are in Debian's archive. Kernels
and workloads come from where rtvirt's catalogues say.
"""


@dataclass(frozen=True)
class Written:
    """An archive that was written: where, how many cells and machines, and the cells that are not in it and why."""

    archive: Path
    cells: int
    machines: int
    left_out: tuple[str, ...]

    @property
    def summary(self) -> str:
        """One line."""
        return f"{count(self.cells, 'cell')} of {count(self.machines, 'machine')}, {size(self.archive.stat().st_size)}"


def count(number: int, noun: str) -> str:
    """``1 cell``, ``2 cells``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def write_capsule(results: Path, cell_ids: Sequence[str], output: Path | None) -> Written:
    """Write the capsule of the measured cells of a matrix, all or those with these ids.

    ``results`` is the folder of a matrix, or one that holds one matrix; without ``output`` the archive is
    ``<matrix>-capsule.tar.gz`` in the current folder. Raises InputError before anything is written when a cell is
    unknown, was not measured sealed, or its machine cannot be made again.
    """
    tree, matrix = _one_matrix(results)
    archive = (output or Path(f"{matrix}-capsule.tar.gz")).absolute()
    if not archive.parent.is_dir():
        raise InputError(f"{archive.parent}: there is no such folder, expected one for the capsule; make it.")
    chosen, left_out = _choose(tree, matrix, cell_ids)
    name = f"{matrix}-capsule"
    with tempfile.TemporaryDirectory(prefix=f".{name}-", dir=archive.parent) as work:
        capsule = Capsule(name, Path(work))
        for machine in _machines(tree, matrix, chosen):
            capsule.add(machine)
        capsule.write(archive, _readme(capsule, matrix, chosen))
    return Written(archive, len(chosen), len(capsule.machines), left_out)


def _one_matrix(results: Path) -> tuple[ResultsTree, str]:
    found = find_matrices(results)
    if len(found) > 1:
        names = ", ".join(name for _, name in found)
        raise InputError(f"{results} holds the matrices {names}, expected one; give the folder of one of them.")
    return found[0]


def _choose(tree: ResultsTree, matrix: str, cell_ids: Sequence[str]) -> tuple[dict[str, Measurement], tuple[str, ...]]:
    """Cells that were measured sealed, by id, and why others are left out; those asked for must all be there."""
    found = tree.read(matrix)
    measured = {each.cell.id: read_measurement(each) for each in found if isinstance(each, Record)}
    bad = [f"{each.name}: {each.reason}" for each in found if isinstance(each, BadRecord) and not cell_ids]
    for cell in cell_ids:
        if cell not in measured:
            raise InputError(f"{tree.root / matrix} has no cell {cell}, expected the id of a measured cell.")
    reasons = {cell: _why_not(each) for cell, each in measured.items() if cell in (cell_ids or measured)}
    left_out = (*(f"{cell} {reason}" for cell, reason in reasons.items() if reason), *bad)
    if cell_ids and left_out:
        raise InputError(f"Cell {left_out[0]}, expected one that a sealed machine has measured; ask for others.")
    chosen = {cell: measured[cell] for cell, reason in reasons.items() if not reason}
    if not chosen:
        raise InputError(
            f"{tree.root / matrix} has no cell that a sealed machine has measured, so there is nothing that could be "
            "run again exactly; measure with 'rtvirt matrix' on boards that are measured sealed (docs/sealed-runs.md)."
        )
    return chosen, left_out


def _why_not(measurement: Measurement) -> str:
    if not measurement.histogram:
        return f"failed: {measurement.reason.rstrip('.')}"
    if not measurement.sealed:
        return "was measured over SSH"
    lacks = [key for key in ("key", "step", "answer") if key not in measurement.record.system["sealed"]]
    return f"does not say its machine's {' and '.join(lacks)} in system.json" if lacks else ""


def _machines(tree: ResultsTree, matrix: str, chosen: dict[str, Measurement]) -> list[MeasuredMachine]:
    """The machines that measured the cells, by their first cell."""
    cells: dict[str, list[Measurement]] = {}
    for each in chosen.values():
        cells.setdefault(each.record.system["sealed"]["key"], []).append(each)
    return [_machine(tree, matrix, key, measured) for key, measured in cells.items()]


def _machine(tree: ResultsTree, matrix: str, key: str, measured: Sequence[Measurement]) -> MeasuredMachine:
    first = measured[0].cell.id
    known = tree.load_order(matrix, key)
    if not known:
        raise InputError(
            f"The machine that measured {first} cannot be made again, since {tree.root / matrix}/sealed/{key}.json "
            "is not there: an older rtvirt measured; measure the cell again."
        )
    try:
        order = Order.from_dict(known)
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{tree.root / matrix}/sealed/{key}.json cannot be read ({error}), expected what this version of rtvirt "
            f"writes; check out the version that measured {first}, or measure it again."
        ) from error
    places = {cell.id: place for place, cell in enumerate(order.cells)}
    cells = []
    for each in sorted(measured, key=lambda each: places[each.cell.id]):
        sealed = each.record.system["sealed"]
        cells.append(MeasuredCell(each.cell.id, sealed["step"], sealed["answer"]))
    seconds = sum(each.record.status.overhead_s + each.record.status.measure_s for each in measured)
    return MeasuredMachine(measured[0].record.system["sealed"], order, tuple(cells), seconds)


def _readme(capsule: Capsule, matrix: str, chosen: dict[str, Measurement]) -> str:
    machines = capsule.machines
    cells: list[tuple[str, ...]] = [("machine", "loops", "avg", "p99", "max", "cell")]
    keys = [("machine", "QEMU", "time", "kernel", "key: SHA-256 over all that goes in")]
    for name, machine in machines.items():
        cells += [(name, *_figures(chosen[each.id])) for each in machine.cells]
        kernel, qemu = machine.order.cells[0].kernel, machine.order.parts.qemu_version
        keys.append((name, qemu, duration(machine.seconds), kernel, machine.key))
    title = f"Capsule of {count(len(chosen), 'cell')} of rtvirt's matrix {matrix}"
    return _README.format(
        title=title,
        rule="=" * len(title),
        machines=count(len(machines), "emulated machine"),
        architecture=RUNS_ON,
        memory=max(each.order.parts.hardware.memory_mib for each in machines.values()) + OVERHEAD_MIB,
        disk=size(capsule.initramfs_bytes),
        time=duration(sum(each.seconds for each in machines.values())),
        cells=_table(cells),
        keys=_table(keys),
    )


def _figures(measurement: Measurement) -> tuple[str, ...]:
    """Loops, average, p99, maximum, and the cell's id."""
    histogram, cell = measurement.histogram, measurement.cell
    assert histogram is not None  # only measured cells are chosen
    summary = summarize(histogram)
    return (
        number(cell.loops),
        decimals(summary.avg),
        quantile(summary.p99, histogram),
        number(summary.max),
        cell.id,
    )


def _table(rows: Sequence[tuple[str, ...]]) -> str:
    """Lines of columns, all but the last to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [[text.rjust(width) for text, width in zip(row[:-1], widths, strict=False)] + [row[-1]] for row in rows]
    return "".join(f"    {'  '.join(line)}\n" for line in lines)
