"""The paper's values and claims, and what measured cells say of them."""

from __future__ import annotations

import pytest

from rtvirt_runner.analysis.paper import load_paper, read_paper
from rtvirt_runner.catalogue.checked_yaml import InputError

PAPER = load_paper()


def test_tables_are_as_printed_and_belong_to_the_hardware_that_a_boards_name_says() -> None:
    assert [PAPER.maximum_us("virtual-rpi2", split) for split in ("1-1", "1-2", "3-1")] == [7214, 5277, 3097]
    assert (PAPER.maximum_us("my-CB2", "1-1"), PAPER.maximum_us("my-cb2", "3-1")) == (9895, None)
    assert [PAPER.preemption_us("rpi2", "idle", realtime) for realtime in (False, True)] == [185, 61]
    assert PAPER.preemption_us("rpi2", "bitcount", True) is PAPER.preemption_us("cb2", "idle", True) is None
    assert PAPER.sysbench["sysbench-cpu"].rows["max_ms"] == (10.89, 22.94)
    assert PAPER.sysbench["sysbench-fileio"].rows["read_mib_per_s"] == (3.63, 1.88)
    assert [round(PAPER.sysbench[name].slowdown, 3) for name in ("sysbench-cpu", "sysbench-fileio")] == [1.033, 1.931]


def test_every_figure_with_latencies_says_which_cells_show_it() -> None:
    assert list(PAPER.figures) == [str(number) for number in range(4, 13)]
    assert all(each.hardware in PAPER.hardware and each.workloads and each.splits for each in PAPER.figures.values())
    assert [number for number, each in PAPER.figures.items() if each.compares_kernels] == ["4"]


def test_a_file_without_a_table_is_refused_in_one_sentence() -> None:
    with pytest.raises(InputError, match=r"paper\.yml: KeyError\('tables'\), expected tables I to IV"):
        read_paper({"paper": {"hardware": {}}}, "paper.yml")
