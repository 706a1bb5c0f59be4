"""What the page makes of workloads: slowdown, sysbench's tables, the engine controller."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fakes import DATA, catalogue, cyclictest_json, done, ecu_numbers, system, virtual_lab, workload_output

from rtvirt_runner.analysis.comparisons import foregrounds, points, slowdowns
from rtvirt_runner.analysis.contrasts import contrasts_of_view, judge_contrasts
from rtvirt_runner.analysis.measurement import Measurement, read_measurement
from rtvirt_runner.matrix.cell import Cell
from rtvirt_runner.matrix.load import Matrix, load_matrix
from rtvirt_runner.matrix.results import Record, ResultsTree
from rtvirt_runner.report.blocks import Block
from rtvirt_runner.report.experiment_sections import blocks
from rtvirt_runner.report.figures.workloads import lateness_figure, slowdown_figure
from rtvirt_runner.report.format import duration
from rtvirt_runner.report.page import write_report

Measure = Callable[..., Measurement]
MATRIX = """
matrix:
  name: workloads
  cyclictest: {loops: 1000, interval_us: 1000, priority: 95, histogram_us: 20000}
  splits: {1-1: {host_cpus: '0', guest_cpus: '1'}}
  experiments:
    all:
      views: [slowdown, sysbench, ecu]
      axes:
        board: virtual-cb2
        kernel: debian-rt
        tuning: [paper, full]
        split: 1-1
        place: [host, guest]
        guest: [minimal-scratch]
        workload: [idle, bitcount, qsort, ecu, sysbench-cpu, sysbench-fileio]
"""


def load(folder: Path, clock: str = "virtual") -> Matrix:
    path = folder / "matrix.yml"
    path.write_text(MATRIX, encoding="utf-8")
    return load_matrix(path, virtual_lab(clock), catalogue())


@pytest.fixture(scope="module")
def cells(tmp_path_factory: pytest.TempPathFactory) -> list[Cell]:
    return list(load(tmp_path_factory.mktemp("matrix")).experiments[0].cells)


@pytest.fixture
def measure(cells: list[Cell], tmp_path: Path) -> Measure:
    """``measure("qsort", "guest", 0.5)``: an iteration takes 0.5 s; or the workload's whole output is given."""

    def made(
        workload: str,
        place: str,
        output: str | float,
        *,
        us: int = 90,
        repetition: int = 1,
        accelerator: str = "kvm",
        **axes: str,
    ) -> Measurement:
        wanted = {"workload": workload, "place": place, "tuning": "full"} | axes
        cell = next(each for each in cells if all(getattr(each, axis) == value for axis, value in wanted.items()))
        cell = dataclasses.replace(cell, repetition=repetition, loops=100)
        folder = tmp_path / cell.id
        folder.mkdir(exist_ok=True)
        printed = cyclictest_json({40: 97, us: 3}) if us < 20000 else cyclictest_json({40: 97}, (us,) * 3)
        (folder / "cyclictest.json").write_text(printed, encoding="utf-8")
        text = output if isinstance(output, str) else json.dumps({"seconds_per_iteration": output, "iterations": 10})
        (folder / "workload.txt").write_text(text, encoding="utf-8")
        state = system(cell)
        state["board"]["guest_accelerator"] = accelerator
        found = read_measurement(Record(folder, cell, done(), state))
        assert found.reason == ""
        return found

    return made


def show(view: str, measurements: list[Measurement], axes: tuple[str, ...] = ("workload",)) -> list[Block]:
    judged = judge_contrasts(contrasts_of_view(view, points(measurements)))
    return blocks(view, measurements, axes, "made_up", judged)


def rows(block: Block) -> dict[str, tuple[str, ...]]:
    return {row.head: row.values for row in block.rows}


# ---------------------------------------------------------------------------------------------------------- slowdown


def test_a_workload_is_paired_with_itself_in_the_guest_repetitions_together(measure: Measure) -> None:
    made = [
        measure("qsort", "host", 0.2),
        measure("qsort", "host", 0.4, repetition=2),
        measure("qsort", "guest", 0.6),
        measure("bitcount", "host", 1.0),
        measure("idle", "host", ""),
    ]
    pair, alone = foregrounds(points(made))
    assert pair.slowdown == pytest.approx(2.0)
    assert (alone.cell.workload, alone.guest, alone.slowdown) == ("bitcount", None, None)
    ((row,),) = [each.rows for each in slowdowns(points(made))]
    assert row.cell.workload == "qsort"


def test_tunings_are_not_mixed(measure: Measure) -> None:
    made = [measure("qsort", "host", 0.2), measure("qsort", "guest", 0.4, tuning="paper")]
    assert slowdowns(points(made)) == []
    assert show("slowdown", made) == []


def test_the_slowdown_view_has_speed_and_latency_side_by_side(measure: Measure) -> None:
    (block,) = show(
        "slowdown",
        [
            measure("qsort", "host", 0.2, us=80),
            measure("bitcount", "host", 0.001, us=90),
            measure("qsort", "guest", 0.3, us=400),
            measure("bitcount", "guest", 0.00101, us=7500),
        ],
    )
    assert block.title == "Slowdown: virtual-cb2, split 1-1"
    assert rows(block) == {
        "qsort": ("200.0\xa0ms", "300.0\xa0ms", "1.50 ×\nmeasured once", "41.2", "80", "80", "50.8", "400", "400"),
        "bitcount": (
            "1.000\xa0ms",
            "1.010\xa0ms",
            "1.01 ×\nmeasured once",
            "41.5",
            "90",
            "90",
            "263.8",
            "7,500",
            "7,500",
        ),
    }
    assert sum(group.columns for group in block.groups) == len(block.heads) == 9
    assert {group.clock for group in block.groups} == {"virtual"}
    assert block.says == (
        "The guest slows down bitcount least, where an iteration takes 1.01 × as long as on the host, and qsort most, "
        "where it takes 1.50 × as long.",
        "Meanwhile 99 % of wake-ups come within 80 to 90 µs (virtual time) on the host and within 400 to 7,500 in the "
        "guest; the latest came after 90 on the host and after 7,500 in the guest.",
    )
    assert all(f">{text}<" in block.figure.svg() for text in ("1.50 ×", "bitcount", "7,500", "p99, µs (virtual time)"))


def test_one_workload_is_told_with_its_times(measure: Measure) -> None:
    (block,) = show("slowdown", [measure("qsort", "host", 0.2), measure("qsort", "guest", 0.25)])
    assert block.says[0] == (
        "An iteration of qsort takes 250.0\xa0ms (virtual time) in the guest and 200.0\xa0ms on the host: "
        "1.25 × as long."
    )


def test_a_p99_beyond_the_histogram_is_told_as_a_bound(measure: Measure) -> None:
    (block,) = show("slowdown", [measure("qsort", "host", 0.2), measure("qsort", "guest", 0.25, us=25000)])
    assert rows(block)["qsort"][-2:] == ("≥ 20,000", "25,000")
    assert "within ≥ 20,000 in the guest" in block.says[1]
    assert ">≥ 20,000<" in block.figure.svg()


def test_a_figure_without_rows_is_refused() -> None:
    with pytest.raises(ValueError, match="no row"):
        slowdown_figure([], "µs", "x")
    with pytest.raises(ValueError, match="no event"):
        lateness_figure([], "degrees", "x")


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (12.5, "12.50\xa0s"),
        (1234.5, "1,234\xa0s"),
        (0.0316, "31.60\xa0ms"),
        (2e-6, "2.000\xa0µs"),
        (4e-11, "0.040\xa0ns"),
    ],
)
def test_times_are_told_in_the_unit_that_suits_them(seconds: float, said: str) -> None:
    assert duration(seconds) == said


# ---------------------------------------------------------------------------------------------------------- sysbench


def captured(name: str) -> str:
    return (DATA / "sysbench" / name).read_text(encoding="utf-8")


def test_sysbenchs_cpu_test_stands_beside_the_papers_table_iii(measure: Measure) -> None:
    slow = captured("cpu_1.0.txt").replace("0.3153s", "0.6306s").replace("0.16\n", "0.48\n")
    made = [measure("sysbench-cpu", "host", captured("cpu_1.0.txt")), measure("sysbench-cpu", "guest", slow)]
    (block,) = show("sysbench", made)
    table = rows(block)
    assert table["total time of a run, s"] == ("0.3153", "0.6306", "2.00 ×", "12.0141", "12.4151", "1.03 ×")
    assert table["max, ms"] == ("0.16", "0.48", "3.00 ×", "10.89", "22.94", "2.11 ×")
    assert table["95th percentile, ms"][3:] == ("1.22", "1.38", "1.13 ×")
    assert [(group.head, group.clock) for group in block.groups] == [
        ("virtual-cb2", "virtual"),
        ("the paper's Cubieboard 2", "real"),
    ]
    assert block.says == (
        "In the guest, a round of primes takes 2.00 × (measured once) as long as on the host; on the paper's "
        "Cubieboard 2 it took 1.03 × as long.",
        "The paper's times are real and do not compare with virtual time: compare the ratios.",
    )


def test_sysbenchs_fileio_test_stands_beside_table_iv(measure: Measure) -> None:
    (block,) = show("sysbench", [measure("sysbench-fileio", "host", captured("fileio_1.0.txt"))])
    table = rows(block)
    assert table["total events of a run"] == ("212,264", "–", "–", "69,700", "36,100", "0.52 ×")
    assert table["read, MiB/s"] == ("955.98", "–", "–", "3.63", "1.88", "0.52 ×")
    assert "Table IV" in block.table


def test_what_is_summed_over_runs_is_told_by_run(measure: Measure) -> None:
    (block,) = show("sysbench", [measure("sysbench-cpu", "host", captured("cpu_1.0_two_runs.txt"))])
    assert rows(block)["total time of a run, s"][0] == "0.3160"
    assert block.says[-1].startswith("Runs put together: 2 on the host. Times and events are a run's mean")


def test_other_workloads_are_no_part_of_it(measure: Measure) -> None:
    assert show("sysbench", [measure("qsort", "host", 0.2)]) == []
    assert show("ecu", [measure("qsort", "host", 0.2), measure("idle", "guest", "")]) == []


# ------------------------------------------------------------------------------------------------- engine controller


def controller(cell: Cell, **changes: Any) -> str:
    """An engine controller's output; what it says of sparks can be changed."""
    said = {"iterations": 2400, "seconds_per_iteration": 1e-5, "workload": "ecu", **ecu_numbers(cell)}
    for kind in said["events"].values():
        kind |= {"missed": 0, "max_deg": 0.9, "histogram_deg": {"0.50": 2459, "0.90": 1}}
    said["events"]["spark"] |= changes.pop("spark", {})
    return json.dumps({**said, "verdict": "pass", **changes})


def test_an_engine_that_runs_well_in_the_guest_is_said_to(measure: Measure, cells: list[Cell]) -> None:
    late = controller(cells[0], verdict="fail", spark={"missed": 7, "lost": 2, "max_deg": 4.25, "max_us": 295.1})
    (block,) = show("ecu", [measure("ecu", "host", controller(cells[0])), measure("ecu", "guest", late)])
    assert block.title == "Engine controller: virtual-cb2, split 1-1, ecu"
    assert block.says == (
        "On the host the engine runs well: of 9,840 times that an injector or coil was to be switched, none was missed "
        "or lost. The latest, injector open, came 0.90 degrees late.",
        "In the guest the engine does not run well: of 9,840 times that an injector or coil was to be switched, 7 were "
        "missed and 2 lost. The latest, spark, came 4.25 degrees late.",
    )
    table = rows(block)
    assert list(table)[:3] == ["tooth, host", "tooth, guest", "injector open, host"]
    assert table["spark, guest"][:3] == ("2,460", "7", "2")
    assert table["spark, guest"][4:] == ("295.1", "4.25", "–")
    assert table["injectors and coils, host"][-1] == "pass"
    assert table["injectors and coils, guest"][1:3] + table["injectors and coils, guest"][-1:] == ("7", "2", "fail")
    assert "A degree lasts 69.4 µs (virtual time) on average." in block.caption
    assert all(f">{text}<" in block.figure.svg() for text in ("dwell start", "4.25", "tolerance", "guest"))
    assert "lateness in degrees of crank angle (virtual time)" in block.figure.svg()


def test_lost_teeth_and_ordinary_scheduling_are_told(measure: Measure, cells: list[Cell]) -> None:
    text = controller(cells[0], verdict="fail", realtime=False)
    said = json.loads(text)
    said["events"]["tooth"] |= {"lost": 12, "missed": 99}
    (block,) = show("ecu", [measure("ecu", "guest", json.dumps(said))])
    assert "0 were missed and 0 lost, and 12 teeth of the trigger wheel went by unseen." in block.says[0]
    assert block.says[1] == "In the guest the controller ran without a real-time priority."
    assert ">not measured<" in block.figure.svg()  # on the host


def test_a_lateness_in_a_wide_bin_is_told_as_a_bound(measure: Measure, cells: list[Cell]) -> None:
    late = {"histogram_deg": {"0.50": 80, "9.99": 15, "20.00": 5}, "max_deg": 31.5}
    (block,) = show("ecu", [measure("ecu", "host", controller(cells[0], spark=late))])
    assert ">≥ 20<" in block.figure.svg()


def test_what_the_controller_really_prints_is_understood(measure: Measure) -> None:
    real = (DATA / "ecu" / "cruise.json").read_text(encoding="utf-8")
    said = json.loads(real)
    (block,) = show("ecu", [measure("ecu", "host", real)])
    assert rows(block)["spark, host"][0] == str(said["events"]["spark"]["fired"])
    assert rows(block)["injectors and coils, host"][-1] == said["verdict"]


# -------------------------------------------------------------------------------------------------------------- page


def test_an_emulated_guest_is_labelled_in_every_view(measure: Measure, cells: list[Cell]) -> None:
    of_sysbench, engine = captured("cpu_1.0.txt"), controller(cells[0])
    made = [measure("sysbench-cpu", "host", of_sysbench), measure("ecu", "host", engine)]
    made += [measure("sysbench-cpu", "guest", of_sysbench, accelerator="tcg")]
    made += [measure("ecu", "guest", engine, accelerator="tcg")]
    (slowdown,), (tables,), (events,) = (show(view, made) for view in ("slowdown", "sysbench", "ecu"))
    assert [row.guest_uses_tcg for row in slowdown.rows] == [True, True]
    assert ">ecu, emulated<" in slowdown.figure.svg()
    assert [group.guest_uses_tcg for group in tables.groups] == [True, False]
    assert {row.head for row in events.rows if row.guest_uses_tcg} == {
        row.head for row in events.rows if "guest" in row.head
    }
    assert ">guest, emulated<" in events.figure.svg()


def page(folder: Path, clock: str) -> str:
    matrix, tree = load(folder, clock), ResultsTree(folder / "results")
    for cell in matrix.cells:
        raw = {"cyclictest.json": cyclictest_json({40: 970, 90: 30}), "workload.txt": workload_output(cell)}
        tree.write_record(matrix.name, cell, done(), system(cell), raw)
    return write_report(matrix, tree).page.read_text(encoding="utf-8")


def test_workloads_in_virtual_time_are_said_to_be_wherever_they_stand(tmp_path: Path) -> None:
    text = page(tmp_path, "virtual")
    section = text[text.index('<section id="experiment-all">') : text.index('<section id="claims">')]
    assert section.count("<h3>Slowdown:") == section.count("<h3>Engine controller:") == 2  # tunings
    assert section.count("<h3>sysbench:") == 4
    for table in section.split("<table")[1:]:
        assert "virtual time" in table.partition("</thead>")[0]
    assert "Nothing to compare" not in section


def test_workloads_on_real_boards_are_in_plain_time(tmp_path: Path) -> None:
    assert "virtual time" not in page(tmp_path, "real")
