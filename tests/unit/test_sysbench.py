"""What sysbench prints.

The files in tests/data/sysbench of version 1.0 are captured from Debian's sysbench 1.0.20; those of version 0.4 were
written in the form of outputs of 0.4.12 that others have published, and not captured.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from rtvirt_runner.parsers import ParseError
from rtvirt_runner.parsers.sysbench import SysbenchRun, merge, parse

DATA = Path(__file__).parents[1] / "data" / "sysbench"


def captured(name: str) -> str:
    return (DATA / name).read_text(encoding="utf-8")


def test_cpu_gives_the_fields_of_the_papers_table_iii() -> None:
    (run,) = parse(captured("cpu_1.0.txt"))
    assert (run.version, run.total_time_s, run.total_events) == ("1.0.20", 0.3153, 10000)
    assert (run.min_ms, run.avg_ms, run.max_ms, run.p95_ms) == (0.03, 0.03, 0.16, 0.03)
    assert run.events_per_s == pytest.approx(31715.8, abs=0.1)
    assert run.read_mib_per_s is None


def test_fileio_gives_those_of_table_iv_too() -> None:
    (run,) = parse(captured("fileio_1.0.txt"))
    assert (run.total_time_s, run.total_events, run.max_ms) == (2.0005, 212264, 4.15)
    assert (run.reads_per_s, run.writes_per_s, run.fsyncs_per_s) == (61182.75, 40788.50, 4080.85)
    assert (run.read_mib_per_s, run.written_mib_per_s) == (955.98, 637.32)


def test_version_04_gives_the_same_fields() -> None:
    (run,) = parse(captured("cpu_0.4.txt"))
    assert (run.version, run.total_time_s, run.total_events) == ("0.4.12", 12.0141, 10000)
    assert (run.min_ms, run.avg_ms, run.max_ms, run.p95_ms) == (1.18, 1.20, 10.89, 1.22)


def test_version_04_prints_amounts_from_which_rates_follow() -> None:
    (run,) = parse(captured("fileio_0.4.txt"))
    assert (run.reads_per_s, run.writes_per_s, run.fsyncs_per_s) == (240, 160, 16)
    assert (run.read_mib_per_s, run.written_mib_per_s) == (3.75, 2.5)


@pytest.mark.parametrize(("amount", "mib_per_s"), [("512Kb", 0.2), ("1.25Gb", 512.0), ("1048576b", 0.4)])
def test_version_04_chooses_its_units(amount: str, mib_per_s: float) -> None:
    (run,) = parse(captured("fileio_0.4.txt").replace("Read 9.375Mb", f"Read {amount}"))
    assert run.read_mib_per_s == mib_per_s


def test_runs_one_after_the_other_are_all_read() -> None:
    first, second = parse(captured("cpu_1.0_two_runs.txt"))
    assert (first.total_time_s, second.total_time_s) == (0.3191, 0.3129)


def test_several_runs_count_as_one_with_the_largest_95th_percentile() -> None:
    few = SysbenchRun("1.0.20", 1.0, 100, 100.0, 0.2, 1.0, 5.0, 1.5, 10.0, 20.0, 30.0, 1.0, 2.0)
    many = SysbenchRun("1.0.20", 3.0, 300, 100.0, 0.1, 2.0, 4.0, 2.5, 50.0, 20.0, 30.0, 5.0, 2.0)
    assert merge([few, many]) == SysbenchRun("1.0.20", 4.0, 400, 100.0, 0.1, 1.75, 5.0, 2.5, 40.0, 20.0, 30.0, 4.0, 2.0)
    with pytest.raises(ValueError, match="no run of sysbench to merge"):
        merge([])


def test_a_last_run_that_was_stopped_is_left_out_where_that_is_expected() -> None:
    whole, stopped = captured("fileio_1.0.txt"), captured("fileio_1.0_stopped.txt")
    (run,) = parse(whole + stopped, may_be_stopped=True)
    assert run.total_events == 212264
    with pytest.raises(ParseError, match="cut off"):
        parse(whole + stopped)
    with pytest.raises(ParseError, match="cut off"):  # no whole run at all
        parse(stopped, may_be_stopped=True)
    with pytest.raises(ParseError, match="cut off"):  # it died, and another began
        parse(stopped + whole, may_be_stopped=True)


def test_the_head_that_prepare_prints_is_no_run() -> None:
    prepare = "sysbench 1.0.20 (using system LuaJIT 2.1.1700206165)\n\n4 files, 2048Kb each, 8Mb total\n"
    assert len(parse(prepare + captured("fileio_1.0.txt"))) == 1


@pytest.mark.parametrize("name", ["cpu_1.0.txt", "fileio_1.0.txt", "cpu_0.4.txt", "fileio_0.4.txt"])
def test_output_cut_off_anywhere_is_refused(name: str) -> None:
    text = captured(name).rstrip("\n")
    for end in range(0, len(text), 37):
        with pytest.raises(ParseError, match=r"cut off|no run of sysbench"):
            parse(text[:end])


@pytest.mark.parametrize(
    ("was", "becomes", "says"),
    [
        ("events:              10000", "events:              0", "took 0 events"),
        ("95th percentile", "99th percentile", "does not say its 'p95_ms'"),
        ("    total time: ", "    overall time: ", "does not say its 'total time'"),
    ],
)
def test_a_run_that_lacks_a_field_is_refused(was: str, becomes: str, says: str) -> None:
    assert was in captured("cpu_1.0.txt")
    with pytest.raises(ParseError, match=says):
        parse(captured("cpu_1.0.txt").replace(was, becomes))
