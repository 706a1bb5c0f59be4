#!/usr/bin/env python3
"""How long a report takes, in processor time and memory, for made-up results of several sizes; exit status 1: too long.

    .venv/bin/python tests/benchmarks/report_speed.py              # all sizes, with their limits
    .venv/bin/python tests/benchmarks/report_speed.py 60 1000      # these sizes only, without limits

A size is a number of cells. Each report is made by ``rtvirt report`` in a process of its own: the start of Python,
reading, statistics, page, table and all files of figures count. What Python and matplotlib write once on a machine
(bytecode, the list of fonts) does not: a report that is not counted comes first. Processor time depends on what else
the machine does: beside other work on the same cores, the same report takes up to half as much again.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "unit")]

from fakes import catalogue, cyclictest_json, done, latencies, system, workload_output  # noqa: E402

from rtvirt_runner.catalogue.lab import Lab  # noqa: E402
from rtvirt_runner.matrix.cell import Cell  # noqa: E402
from rtvirt_runner.matrix.load import Matrix, read_matrix  # noqa: E402
from rtvirt_runner.matrix.results import SCHEMA_VERSION, ResultsTree  # noqa: E402
from rtvirt_runner.matrix.stored import store_matrix  # noqa: E402

SPLITS = {"1-1": ("0", "1"), "1-2": ("0", "1-2"), "3-1": ("0-2", "3"), "2-1": ("0-1", "3"), "2-2": ("0-1", "2-3")}
WORKLOADS = ("idle", "bitcount", "qsort", "susan", "dijkstra")
POINTS_PER_BOARD = len(SPLITS) * len(WORKLOADS) * 2  # two tunings
OUTPUTS = 40  # different ones, as making one takes longer than reading it


@dataclass(frozen=True)
class Size:
    """Made-up results, and what their report may take."""

    cells: int
    lanes: int  # of one experiment; each has two cells per repetition
    limit_s: float = float("inf")  # of processor time
    limit_mib: float = float("inf")  # of memory that is resident at the most


SIZES = (
    Size(60, 30, 3.0),
    Size(1_000, 50),
    Size(2_000, 1_000, 30.0),
    Size(5_000, 250),
    Size(10_000, 500, 20.0, 600.0),
)
GROWTH = ((1_000, 5_000), (5_000, 10_000))  # with as many repetitions each
MOST_GROWTH = 1.5  # of what a further cell takes: linear but for chance; were it quadratic, it would be 2.5


@dataclass(frozen=True)
class Cost:
    """What a report took."""

    seconds: float
    mib: float
    page_kib: float


def matrix_of(size: Size) -> tuple[Matrix, Lab]:
    """A matrix with this many cells in one experiment."""
    names = [f"board-{number:02}" for number in range(1, -(-size.lanes // POINTS_PER_BOARD) + 1)]
    hostvars: dict[str, dict[str, Any]] = {
        name: {"rtvirt_board_cpus": 4, "rtvirt_board_clock": "virtual"} for name in names
    }
    guests = [f"{name}-guest" for name in names]
    lab = Lab.from_inventory({"all": [*names, *guests], "boards": names, "guests": guests}, hostvars)
    axes = {
        "board": ["boards"],
        "kernel": ["debian-rt"],
        "tuning": ["paper", "full"],
        "split": list(SPLITS),
        "place": ["host", "guest"],
        "guest": ["minimal"],
        "workload": list(WORKLOADS),
    }
    document = {
        "matrix": {
            "name": f"cells-{size.cells}",
            "repetitions": -(-size.cells // (2 * size.lanes)),
            "cyclictest": {"loops": 5000, "interval_us": 1000, "priority": 95, "histogram_us": 20000},
            "splits": {name: {"host_cpus": host, "guest_cpus": guest} for name, (host, guest) in SPLITS.items()},
            "experiments": {"all": {"title": "All of them", "axes": axes}},
        }
    }
    whole = read_matrix(document, Path("made-up.yml"), lab, catalogue())
    points = dict.fromkeys((each.board, each.tuning, each.split, each.workload) for each in whole.cells)
    taken = set(list(points)[: size.lanes])
    experiment = whole.experiments[0]
    cells = [c for c in experiment.cells if (c.board, c.tuning, c.split, c.workload) in taken][: size.cells]
    return replace(whole, experiments=(replace(experiment, cells=tuple(cells)),)), lab


def write_results(size: Size, root: Path) -> None:
    """A record per cell, without the writer's locks and syncs, which are not what is measured."""
    matrix, lab = matrix_of(size)
    tree = ResultsTree(root)
    first = [next(each for each in matrix.cells if each.place == place) for place in ("host", "guest")]
    outputs = {cell.place: [_output(cell, number) for number in range(OUTPUTS)] for cell in first}
    store_matrix(tree, matrix, lab)
    for number, cell in enumerate(matrix.cells):
        folder = tree.record_path(matrix.name, cell)
        folder.mkdir(parents=True)
        for name, text in _files(cell, outputs[cell.place][number % OUTPUTS]).items():
            (folder / name).write_text(text, encoding="utf-8")


def _output(cell: Cell, number: int) -> str:
    return cyclictest_json(latencies(replace(cell, repetition=number + 1)))


def _files(cell: Cell, output: str) -> dict[str, str]:
    facts = system(cell)
    facts["board"]["settings"] = facts["board"]["settings"] * 2  # about as many as a board tells of
    status = {"schema_version": SCHEMA_VERSION, "cell_id": cell.id, **asdict(done())}
    files = {"cell.json": cell.as_dict(), "system.json": facts, "status.json": status}
    return {"cyclictest.json": output, "workload.txt": workload_output(cell)} | {
        name: json.dumps(content) for name, content in files.items()
    }


def report(root: Path, name: str, bytecode: Path) -> Cost:
    """Make the report in a process of its own, and say what that took; Python's bytecode is kept in a folder."""
    code = "import sys; from rtvirt_runner.cli import start; sys.exit(start())"
    command = [sys.executable, "-c", code, "report", "--results", str(root), "--matrix", name]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONPYCACHEPREFIX": str(bytecode)}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, env=environment)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"rtvirt report of {name} ended with status {process.returncode}, expected 0.")
    page = root / name / "report" / "index.html"
    return Cost(usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, page.stat().st_size / 1024)


def measure(size: Size, bytecode: Path) -> Cost:
    """The cost of one size."""
    folder = Path(tempfile.mkdtemp(prefix="rtvirt-report-speed-"))
    try:
        write_results(size, folder)
        return report(folder, f"cells-{size.cells}", bytecode)
    finally:
        shutil.rmtree(folder)


def show_growth(costs: dict[int, Cost]) -> bool:
    """Print what a further cell takes, between sizes that were measured; returns whether that grows."""
    if not all(cells in costs for pair in GROWTH for cells in pair):
        return False
    slopes = [1000 * (costs[most].seconds - costs[fewest].seconds) / (most - fewest) for fewest, most in GROWTH]
    grows = slopes[1] > MOST_GROWTH * slopes[0]
    said = ", ".join(
        f"{slope:.2f} ms from {fewest:,} to {most:,}" for slope, (fewest, most) in zip(slopes, GROWTH, strict=True)
    )
    print(f"a further cell takes {said}: {'more than linear' if grows else 'linear'}")
    return grows


def measure_all(sizes: tuple[Size, ...], bytecode: Path) -> bool:
    """Measure and print a line for each size; returns whether a limit was exceeded."""
    measure(SIZES[0], bytecode)  # leaves what is written once
    costs: dict[int, Cost] = {}
    over = False
    for size in sizes:
        cost = costs[size.cells] = measure(size, bytecode)
        over |= cost.seconds > size.limit_s or cost.mib > size.limit_mib
        limits = [f"{limit:.0f}" if limit < float("inf") else "-" for limit in (size.limit_s, size.limit_mib)]
        print(
            f"{size.cells:>7,} {size.lanes:>6,} {cost.seconds:>8.2f} {limits[0]:>6} {cost.mib:>6.0f} {limits[1]:>6} "
            f"{cost.page_kib:>10,.0f} {1000 * cost.seconds / size.cells:>8.2f}",
            flush=True,
        )
    return show_growth(costs) or over


def main() -> int:
    """Measure, show a table, and compare with the limits."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cells", type=int, nargs="*", help="sizes, instead of those with limits")
    args = parser.parse_args()
    sizes = tuple(Size(cells, max(1, cells // 2)) for cells in args.cells) or SIZES
    print(
        f"{'cells':>7} {'lanes':>6} {'CPU, s':>8} {'limit':>6} {'MiB':>6} {'limit':>6} {'page, KiB':>10} {'ms/cell':>8}"
    )
    bytecode = Path(tempfile.mkdtemp(prefix="rtvirt-report-speed-"))
    try:
        over = measure_all(sizes, bytecode)
    finally:
        shutil.rmtree(bytecode)
    return int(over)


if __name__ == "__main__":
    sys.exit(main())
