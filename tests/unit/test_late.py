"""What the page says of late wake-ups that were listed with their times."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from fakes import catalogue, cyclictest_json, done, system, virtual_lab

from rtvirt_runner.analysis.measurement import Measurement, read_measurement
from rtvirt_runner.matrix.load import load_matrix
from rtvirt_runner.matrix.results import Record
from rtvirt_runner.report.late import late_rows

MATRIX = """
matrix:
  name: made-up
  cyclictest: {loops: 100000, interval_us: 1000, priority: 95, histogram_us: 20000, late_us: 100}
  splits: {1-1: {host_cpus: '0', guest_cpus: '1'}}
  experiments:
    all:
      axes: {board: [virtual-cb2], kernel: [debian-rt], tuning: [full], split: [1-1], place: [host], workload: [idle]}
"""


def measured(folder: Path, slots: list[int], excesses: list[int]) -> Measurement:
    """100,000 wake-ups, most at 50 us; those due at ``slots`` are late by 100 us and the excesses."""
    path = folder / "matrix.yml"
    path.write_text(MATRIX, encoding="utf-8")
    (cell,) = load_matrix(path, virtual_lab(), catalogue()).cells
    late = [101 + each for each in excesses]
    counts: dict[int, int] = {50: cell.loops - len(late)}
    for us in late:
        counts[us] = counts.get(us, 0) + 1
    lines = [f"T: 0 Spike:{us:8}: TS: {slot * 1000 + us + 5:12}\n" for slot, us in zip(slots, late, strict=True)]
    (folder / "cyclictest.json").write_text(cyclictest_json(counts), encoding="utf-8")
    (folder / "cyclictest.txt").write_text("".join(lines) + f"spikes = {len(late)}\n", encoding="utf-8")
    found = read_measurement(Record(folder, cell, done(), system(cell)))
    assert found.reason == ""
    return found


def repeated(found: Measurement, repetition: int) -> Measurement:
    cell = dataclasses.replace(found.cell, repetition=repetition)
    return dataclasses.replace(found, record=dataclasses.replace(found.record, cell=cell))


def excesses(number: int) -> list[int]:
    return [int(each) for each in np.random.default_rng(3).exponential(20, number)]


def test_even_late_wake_ups_have_a_tail(tmp_path: Path) -> None:
    slots = sorted(np.random.default_rng(1).choice(100_000, 300, replace=False).tolist())
    (row,) = late_rows([measured(tmp_path, slots, excesses(300))])
    assert row.late == "300 of 100,000 later than 100 us (virtual time)"
    assert row.order == "Nothing speaks against their coming one by one, at one rate."
    assert row.tail.startswith("Shape ") and "Once in 1,000,000 wake-ups later than" in row.tail


@pytest.mark.parametrize(
    ("slots", "order", "tail"),
    [
        (sorted({round(100_000 * (n / 300) ** 0.4) for n in range(1, 300)}), "rate rises or falls", "drift"),
        ([start + n for start in range(0, 99_000, 990) for n in (0, 1, 2)], "they come in clusters", "clusters"),
        (list(range(0, 50_000, 2500)), "too few to tell how they come", "is not known"),
    ],
    ids=["drifting", "clustered", "few"],
)
def test_a_tail_is_refused_with_the_reason(slots: list[int], order: str, tail: str, tmp_path: Path) -> None:
    (row,) = late_rows([measured(tmp_path, slots, excesses(len(slots)))])
    assert order in row.order.lower()
    assert row.tail.startswith("Not told. ") and tail in row.tail


def test_cells_without_a_list_have_no_row(tmp_path: Path) -> None:
    found = measured(tmp_path, [1, 2], [5, 9])
    assert late_rows([dataclasses.replace(found, late=None)]) == []


def test_cells_with_too_few_share_a_row(tmp_path: Path) -> None:
    folders = [tmp_path / each for each in "abc"]
    for folder in folders:
        folder.mkdir()
    few = [measured(folder, [1, 2, 9][: n + 1], excesses(n + 1)) for n, folder in enumerate(folders[:2])]
    many = measured(folders[2], list(range(0, 90_000, 2000)), excesses(45))
    first, last = late_rows([repeated(few[0], 1), repeated(many, 2), repeated(few[1], 3)])
    assert first.late.startswith("45 of 100,000")
    assert (last.cell, last.clock, last.late) == ("2 other cells", "virtual", "1 to 2 in each")
    assert "too few" in last.order.lower() and last.tail.startswith("Not told. ")
