"""What cyclictest itself writes is whole when it came to its end, and refused when it was told to end before."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from rtvirt_runner.catalogue import collection
from rtvirt_runner.catalogue.catalogue import Catalogue
from rtvirt_runner.catalogue.lab import Lab
from rtvirt_runner.matrix.acceptance import read_output
from rtvirt_runner.matrix.load import load_matrix
from rtvirt_runner.matrix.results import ResultsTree, Status
from rtvirt_runner.parsers import ParseError

BOARD = {"rtvirt_board_cpus": 4, "rtvirt_board_clock": "virtual", "guest_gic": "user_space"}
BOARD |= {"rtvirt_board_kernels": {"rt": "debian-rt"}}
NAMES = ["virtual-rpi2", "virtual-cb2"]
GROUPS = {"boards": NAMES, "guests": [f"{name}-guest" for name in NAMES], "rpi2": NAMES[:1], "cb2": NAMES[1:]}
LAB = Lab.from_inventory(GROUPS, dict.fromkeys(NAMES, BOARD))
MATRIX = load_matrix(collection.VARS / "matrix_first.yml", LAB, Catalogue.load(collection.VARS, LAB))
CELL = next(cell for cell in MATRIX.cells if not cell.program)


def cyclictest(folder: Path, loops: int, histogram_us: int, ended_after_s: float | None = None) -> dict[str, str]:
    """The files that cyclictest leaves, by name; told to end by SIGTERM after so long."""
    command = ["cyclictest", "--quiet", "--threads=1", "--policy=other", "--interval=1000", f"--loops={loops}"]
    command += [f"--histogram={histogram_us}", f"--json={folder / 'cyclictest.json'}"]
    with (folder / "cyclictest.txt").open("w") as stdout, subprocess.Popen(command, stdout=stdout) as process:
        if ended_after_s is not None:
            time.sleep(ended_after_s)
            process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=120) == 0  # even if it was told to end
    return {path.name: path.read_text() for path in folder.iterdir()}


@pytest.mark.parametrize("histogram_us", [20000, 60, 1], ids=["all counted", "some beyond", "all beyond"])
@pytest.mark.parametrize("name", ["cyclictest.json", "cyclictest.txt"])
def test_a_run_that_came_to_its_end_is_whole(name: str, histogram_us: int, tmp_path: Path) -> None:
    files = cyclictest(tmp_path, 300, histogram_us)
    cell = replace(CELL, loops=300, histogram_us=histogram_us)
    (thread,) = read_output(cell, {name: files[name]}.get).latencies.threads
    assert thread.samples == 300


@pytest.mark.parametrize("name", ["cyclictest.json", "cyclictest.txt"])
def test_a_run_that_was_ended_early_is_refused_with_one_sentence(name: str, tmp_path: Path) -> None:
    files = cyclictest(tmp_path, 100_000, 20000, ended_after_s=1.5)
    with pytest.raises(ParseError, match=r"^cyclictest took [0-9,]+ of 100,000 samples: it was ended early; measure"):
        read_output(replace(CELL, loops=100_000), {name: files[name]}.get)


INVENTORY = """\
boards:
  hosts: {virtual-rpi2: , virtual-cb2: }
  vars:
    ansible_connection: local
    rtvirt_board_cpus: 4
    rtvirt_board_clock: virtual
    rtvirt_board_kernels: {rt: debian-rt}
    guest_gic: user_space
guests: {hosts: {virtual-rpi2-guest: , virtual-cb2-guest: }}
rpi2: {hosts: {virtual-rpi2: }}
cb2: {hosts: {virtual-cb2: }}
"""
PLAYBOOK = """\
- name: Measure a cell and report
  hosts: localhost
  gather_facts: false
  tasks:
    - name: Record the cell
      rtvirt.testbed.measure_cell:
        cell: "{{ cell }}"
        matrix_name: first
        results_dir: "{{ results }}"
        kernel_expects: {}
        failure: It was late.
      when: cell is defined
    - name: Write the page
      rtvirt.testbed.report: {matrix: first, results_dir: "{{ results }}", vars_dir: "{{ vars_dir }}"}
"""


def play(folder: Path, **given: object) -> str:
    (folder / "lab.yml").write_text(INVENTORY)
    (folder / "play.yml").write_text(PLAYBOOK)
    values = json.dumps({"results": str(folder / "results"), "vars_dir": str(collection.VARS), **given})
    command = [str(Path(sys.executable).parent / "ansible-playbook"), "-i", "lab.yml", "-e", values, "play.yml"]
    env = {**os.environ, "ANSIBLE_CONFIG": str(collection.ANSIBLE_CONFIG), "ANSIBLE_NOCOLOR": "1"}
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return " ".join((done.stdout + done.stderr).split())


def test_playbooks_warn_of_a_damaged_record_and_keep_it_aside_when_they_measure(tmp_path: Path) -> None:
    tree = ResultsTree(tmp_path / "results")
    status = Status("done", "", "2026-01-01T00:00:00Z", "2026-01-01T00:01:00Z", 3, 1.0, 5.0)
    early = {"histogram": {"50": 1458}, "cycles": 1458, "min": 50, "avg": 50.0, "max": 50}
    raw = {"cyclictest.json": json.dumps({"thread": {"0": early}})}
    path = tree.write_record("first", CELL, status, {}, raw)
    sentence = "cyclictest took 1,458 of 3,000 samples: it was ended early; measure the cell again."
    assert f"Damaged record {path}: {sentence}" in play(tmp_path)
    assert path.is_dir()
    assert f"Damaged record {path} is kept aside: {sentence}" in play(tmp_path, cell=CELL.as_dict())
    (record,) = tree.load_records("first")
    assert (record.path, record.reason) == (path, "It was late.")
    assert (path.with_name(f"{CELL.id}.damaged-1") / "cyclictest.json").is_file()
