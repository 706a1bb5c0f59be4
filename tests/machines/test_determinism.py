"""Virtual time repeats itself: the same cells on a board that nothing reaches, twice from power-on, to the last bin.

The lab's own boards get their commands over SSH, whose packets come at instants of real time; here the very same
script, programs and kernel run on a board with no network and no disk.
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from playing import count_boot, make

from rtvirt_runner.catalogue import collection
from rtvirt_runner.catalogue.catalogue import Catalogue
from rtvirt_runner.catalogue.lab import Lab
from rtvirt_runner.machine import cell_script, script_reply
from rtvirt_runner.machine.script_reply import Reply
from rtvirt_runner.matrix.cell import Cell
from rtvirt_runner.matrix.load import load_matrix
from rtvirt_runner.parsers import cyclictest, workload
from rtvirt_runner.run.playbooks import read_inventory

pytestmark = [
    pytest.mark.slow(
        exercises=[
            "roles/virtual_board",
            "roles/measure",
            "roles/workloads/files",
            "roles/guest_image",
            "rtvirt_runner/machine/cell_script.py",
            "rtvirt_runner/machine/script_reply.py",
        ]
    ),
    pytest.mark.asserts_on("booting", "answers"),
    pytest.mark.xdist_group("determinism"),
]
HERE = Path(__file__).parent / "determinism"
BOOT_LIMIT_S = 600.0
WORKLOADS = ["idle", "basicmath", "bitcount", "qsort", "susan", "dijkstra", "patricia", "jpeg", "ecu", "sysbench-cpu"]


@pytest.fixture(scope="module")
def cells() -> dict[str, Cell]:
    """The smoke matrix's own cells on the host of virtual-cb2, by workload."""
    lab = Lab.from_inventory(*read_inventory(collection.VIRTUAL_LAB))
    matrix = load_matrix(collection.matrix_path("smoke"), lab, Catalogue.load(collection.VARS))
    wanted = [
        cell for cell in matrix.cells if (cell.board, cell.place, cell.tuning) == ("virtual-cb2", "host", "paper")
    ]
    return {cell.workload: cell for cell in wanted if cell.workload in WORKLOADS}


@pytest.fixture(scope="module")
def consoles(cells: dict[str, Cell], tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """What the board said in each of two runs."""
    folder = tmp_path_factory.mktemp("determinism")
    qemu, image = make(folder, "guest_image", "guest_image_artifact.path", {"guest_image_kernel": "linux-6.12-rt"})
    initramfs = folder / "initramfs"
    initramfs.write_bytes((image / "initrd.img").read_bytes() + packed(cells, folder / "added"))
    return [boot(qemu, image / "vmlinuz", initramfs, folder / f"console{run}") for run in (1, 2)]


def packed(cells: dict[str, Cell], folder: Path) -> bytes:
    """The cells' scripts and what starts them, to follow the image's own initramfs."""
    (folder / "cells").mkdir(parents=True)
    for number, (name, cell) in enumerate(cells.items()):
        script = script_reply.compose(cell_script.script(cell), cell_script.environment(cell))
        (folder / "cells" / f"{number} {name}").write_text(script)
    (folder / "start").write_bytes((HERE / "start.sh").read_bytes())
    (folder / "start").chmod(0o755)
    names = "\n".join(sorted(str(path.relative_to(folder)) for path in folder.rglob("*")))
    pack = ["cpio", "--quiet", "--create", "--format=newc", "--reproducible"]
    return subprocess.run(pack, cwd=folder, input=names.encode(), stdout=subprocess.PIPE, check=True).stdout


def boot(qemu: Path, kernel: Path, initramfs: Path, console: Path) -> str:
    """Run the board, as roles/virtual_board does but for network and card, until it switches itself off."""
    words = "console=ttyAMA0 quiet nokaslr maxcpus=2 isolcpus=1 rdinit=/start panic=-1"
    command: list[str | Path] = [
        qemu / "bin" / "qemu-system-aarch64",
        "-nodefaults",
        "-display",
        "none",
        "-nic",
        "none",
    ]
    command += ["-machine", "virt,virtualization=on,gic-version=3", "-cpu", "cortex-a57", "-smp", "16", "-m", "1024"]
    command += ["-icount", "shift=2,sleep=off", "-rtc", "base=2026-01-01,clock=vm", "-seed", "1", "-no-reboot"]
    command += ["-kernel", kernel, "-initrd", initramfs, "-append", words]
    command += ["-chardev", f"file,id=console,path={console}", "-serial", "chardev:console"]
    count_boot("determinism")
    subprocess.run(command, stdin=subprocess.DEVNULL, timeout=BOOT_LIMIT_S, check=True)
    return console.read_text()


def reply(console: str, name: str) -> Reply:
    """What the cell of a workload answered."""
    (found,) = re.findall(rf"^=== \d+ {name}\r?\n(.*?)^===", console, re.MULTILINE | re.DOTALL)
    return script_reply.parse(found.replace("\r", ""))


@pytest.mark.parametrize("name", WORKLOADS)
def test_a_cell_that_is_run_again_gives_the_same_histogram_bin_by_bin_and_the_same_answer(
    cells: dict[str, Cell], consoles: list[str], name: str
) -> None:
    first, second = (reply(console, name) for console in consoles)
    assert first.failure is None
    assert cyclictest.parse_json(first.files["cyclictest.json"]) == cyclictest.parse_json(
        second.files["cyclictest.json"]
    )
    if cells[name].program:
        runs = [workload.parse(each.files["workload.txt"], cells[name].program) for each in (first, second)]
        assert runs[0] == runs[1]
        assert runs[0].wrong == ""


def test_different_cells_give_different_histograms(cells: dict[str, Cell], consoles: list[str]) -> None:
    found = [reply(consoles[0], name).files["cyclictest.json"] for name in cells]
    histograms = [tuple(cyclictest.parse_json(text).threads[0].histogram.items()) for text in found]
    assert len(set(histograms)) == len(WORKLOADS)
