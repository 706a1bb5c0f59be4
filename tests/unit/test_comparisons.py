"""What experiments say: ablations, GICs, load, guests side by side."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from random import Random
from typing import Any

import pytest
from fakes import catalogue, cyclictest_json, done, setting_items, system, virtual_lab

from rtvirt_runner.analysis.comparisons import (
    HOST,
    KVMS_GIC,
    QEMUS_GIC,
    ablations,
    gic_orders,
    guests_side_by_side,
    loads,
    points,
)
from rtvirt_runner.analysis.contrasts import contrasts_of_view, judge_contrasts
from rtvirt_runner.analysis.effects import effect, judge
from rtvirt_runner.analysis.measurement import Measurement, read_measurement
from rtvirt_runner.matrix.cell import Cell
from rtvirt_runner.matrix.load import load_matrix
from rtvirt_runner.matrix.results import Record
from rtvirt_runner.report.blocks import Block
from rtvirt_runner.report.experiment_sections import blocks, cautions
from rtvirt_runner.report.findings import factor

Measure = Callable[..., Measurement]
MATRIX = """
matrix:
  name: made-up
  cyclictest: {loops: 1000, interval_us: 1000, priority: 95, histogram_us: 20000}
  splits: {1-1: {host_cpus: '0', guest_cpus: '1'}, 1-2: {host_cpus: '0', guest_cpus: 1-2}}
  experiments:
    all:
      axes:
        board: boards
        kernel: debian-rt
        tuning: [none, paper, full, full-minus-each]
        split: [1-1, 1-2]
        place: [host, guest]
        guest: [minimal, minimal-kernel-gic, minimal-user-gic, partitioned]
        workload: [idle, host-load]
      exclude:
        - {board: virtual-cb2, split: 1-2}
        - {guest: partitioned, split: 1-1}
"""


@pytest.fixture(scope="module")
def cells(tmp_path_factory: pytest.TempPathFactory) -> list[Cell]:
    path = tmp_path_factory.mktemp("matrix") / "matrix.yml"
    path.write_text(MATRIX, encoding="utf-8")
    return list(load_matrix(path, virtual_lab(), catalogue()).experiments[0].cells)


@pytest.fixture
def measure(cells: list[Cell], tmp_path: Path) -> Measure:
    """``measure(200, place="guest")``: 99 wake-ups at 40 us and one at 200 where the axes given are such.

    An axis not given is the first that fits; ``us`` may be a whole histogram; more facts of the board can be given.
    """

    def made(
        us: int | dict[int, int],
        *,
        repetition: int = 1,
        board_facts: Mapping[str, Any] | None = None,
        emulator: Mapping[str, str] | None = None,
        **axes: str,
    ) -> Measurement:
        wanted = {"board": "virtual-cb2", "tuning": "full", "split": "1-1", "workload": "idle", "place": "host"} | axes
        cell = next(each for each in cells if all(getattr(each, axis) == value for axis, value in wanted.items()))
        histogram = us if isinstance(us, dict) else {40: 97, us: 3}
        cell = dataclasses.replace(cell, repetition=repetition, loops=sum(histogram.values()))
        state = system(cell)
        state["board"] |= board_facts or {}
        state["emulator"] = emulator
        folder = tmp_path / cell.id
        folder.mkdir(exist_ok=True)
        (folder / "cyclictest.json").write_text(cyclictest_json(histogram), encoding="utf-8")
        return read_measurement(Record(folder, cell, done(), state))

    return made


def show(view: str, measurements: list[Measurement], axes: tuple[str, ...] = ()) -> list[Block]:
    judged = judge_contrasts(contrasts_of_view(view, points(measurements)))
    return blocks(view, measurements, axes, "made_up", judged)


def rows(block: Block) -> dict[str, tuple[str, ...]]:
    return {row.head: row.values for row in block.rows}


# -------------------------------------------------------------------------------------------------------- repetitions


def test_repetitions_are_put_together(measure: Measure) -> None:
    (point,) = points([measure(us, repetition=number) for number, us in enumerate((100, 130, 110), 1)])
    assert (point.histogram.samples, point.histogram.max_us) == (300, 130)


# ----------------------------------------------------------------------------------------------------------- ablation


def test_an_ablation_has_the_whole_tuning_as_base_and_the_costliest_setting_first(measure: Measure) -> None:
    (found,) = ablations(
        points(
            [
                measure(100),
                measure(105, tuning="full-minus-ksm"),
                measure(300, tuning="full-minus-irqs"),
                measure(900, tuning="none"),
            ]
        )
    )
    assert found.base.cell.tuning == "full"
    assert [setting for setting, _ in found.without] == ["irqs", "ksm"]
    assert [point.cell.tuning for point in found.references] == ["none"]


def test_each_board_and_place_has_an_ablation_of_its_own(measure: Measure) -> None:
    made = [
        measure(100, board=board, place=place, tuning=tuning)
        for board in ("virtual-rpi2", "virtual-cb2")
        for place in ("host", "guest")
        for tuning in ("full", "full-minus-irqs")
    ]
    titles = [block.title for block in show("ablation", made)]
    assert titles == [
        f"{board}, split 1-1, {place}" for board in ("virtual-rpi2", "virtual-cb2") for place in ("host", "guest")
    ]


def test_ablations_without_the_whole_tuning_say_nothing(measure: Measure) -> None:
    assert ablations(points([measure(100, tuning="full-minus-irqs"), measure(100, tuning="none")])) == []


def test_a_setting_that_the_machine_does_not_have_is_not_applicable_rather_than_useless(measure: Measure) -> None:
    (block,) = show("ablation", [measure(100), measure(100, tuning="full-minus-governor")])
    assert "Not applicable here: governor (the machine does not have it)." in block.says
    assert rows(block)["without governor"][1:] == ("–",) * 6
    assert "– governor" not in block.figure.svg()


def test_a_setting_that_the_kernel_will_not_have_changed_is_not_applicable(measure: Measure) -> None:
    fixed = [each | {"state": "fixed"} if each["setting"] == "ksm" else each for each in setting_items(["irqs", "ksm"])]
    made = [
        measure(100, board_facts={"settings": fixed}),
        *(measure(100, tuning=f"full-minus-{x}") for x in ("ksm", "irqs")),
    ]
    (found,) = ablations(points(made))
    assert found.not_applicable == (("ksm", "the kernel will not have it changed"),)
    assert [setting for setting, _ in found.without] == ["irqs"]


def test_a_guests_setting_is_not_judged_on_the_host(measure: Measure) -> None:
    made = [
        measure(us, tuning=t, place=p)
        for p, us in (("host", 90), ("guest", 200))
        for t in ("full", "full-minus-memory_lock")
    ]
    host, guest = ablations(points(made))
    assert host.not_applicable == (("memory_lock", "only a guest has it"),)
    assert [setting for setting, _ in guest.without] == ["memory_lock"]


def repeated(measure: Measure, values: Mapping[str, tuple[int, ...]]) -> list[Measurement]:
    return [measure(us, tuning=tuning, repetition=n) for tuning, all_ in values.items() for n, us in enumerate(all_, 1)]


def test_settings_are_called_by_their_effect_over_repetitions(measure: Measure) -> None:
    values = {
        "full": (100, 104, 98, 102, 99),
        "full-minus-irqs": (300, 310, 290, 306, 299),
        "full-minus-ksm": (101, 99, 103, 98, 104),
        "full-minus-swap": (60, 58, 61, 59, 60),
    }
    (block,) = show("ablation", repeated(measure, values))
    (said,) = [each for each in block.says if "p99" in each]
    assert re.search(r"^Without irqs \(2\.99 ×, 2\.\d\d to 3\.\d\d\) p99 is later; ", said)
    assert re.search(r"without swap \(0\.59 ×, 0\.\d\d to 0\.\d\d\) p99 is earlier; ", said)
    assert re.search(r"no difference of p99 was found without ksm; one of 1\.\d\d × could have been seen\.$", said)
    table = rows(block)
    assert table["without irqs"][2] == "306" and table["without irqs"][5].startswith("2.99 ×\n")
    assert [table[f"without {name}"][6].partition("\n")[0] for name in ("irqs", "ksm", "swap")] == [
        "later",
        "no difference found",
        "earlier",
    ]
    svg = block.figure.svg()
    assert "– p99 later without" in svg and "grey" not in svg


def test_a_setting_whose_own_repetitions_scatter_is_not_called(measure: Measure) -> None:
    (block,) = show("ablation", repeated(measure, {"full": (100, 101, 99), "full-minus-ksm": (100, 900, 120)}))
    assert "no difference of p99 was found without ksm".capitalize() in block.says[1]


def test_fifteen_settings_that_do_nothing_are_rarely_called(measure: Measure, cells: list[Cell]) -> None:
    """Whatever one measures: 15 settings, of which the range of three repetitions would call several."""
    names = sorted({each.tuning for each in cells if each.tuning.startswith("full-minus-")})[:15]
    random = Random(15)
    values = {name: tuple(round(random.gauss(1000, 30)) for _ in range(3)) for name in ("full", *names)}
    found = judge_contrasts(contrasts_of_view("ablation", points(repeated(measure, values))))
    assert found.compared >= 20
    assert {each.call for each in found.findings.values()} <= {"not told"}


def test_one_repetition_is_said_to_prove_nothing(measure: Measure) -> None:
    (block,) = show("ablation", [measure(100), measure(300, tuning="full-minus-irqs")])
    assert block.says[0].startswith("Each was measured once, so nothing here says by how much")
    assert not any("Without" in sentence for sentence in block.says)
    assert rows(block)["without irqs"][5] == "3.00 ×\nmeasured once"


def test_repetitions_that_are_all_alike_are_not_said_to_be_one() -> None:
    alike = judge({"it": effect([2.0] * 3, [3.0] * 3, scale="ratio", resolution=0.0)})["it"]
    assert factor(alike, 3.0, 2.0) == "1.50 ×\nall alike"


def test_what_stands_in_two_places_of_a_page_counts_once(measure: Measure) -> None:
    made = points(repeated(measure, {"full": (100, 101, 99), "full-minus-ksm": (100, 103, 120)}))
    twice = [
        *contrasts_of_view("ablation", made),
        *contrasts_of_view("ablation", points(made[0].measurements + made[1].measurements)),
    ]
    assert (len(twice), judge_contrasts(twice).compared) == (4, 2)


def test_a_tuning_is_held_against_the_first(measure: Measure) -> None:
    made = repeated(measure, {"none": (300, 310, 290, 306), "paper": (200, 202, 201, 199)})
    (block,) = show("histograms", made)
    assert block.title == "Tuning against tuning none"
    assert block.says[1] == "Against tuning none, p99 is earlier at 1 of 1 points."
    (block,) = show("histograms", repeated(measure, {"none": (300, 310, 290), "paper": (301, 309, 289)}))
    assert block.says[0] == "Against tuning none, no difference of the average was found at any of 1 points."
    assert show("histograms", made[::4]) == []  # measured once


def test_a_p99_in_the_overflow_is_a_bound(measure: Measure) -> None:
    overflowed = measure(100, tuning="full-minus-irqs")
    assert overflowed.histogram
    histogram = dataclasses.replace(overflowed.histogram, overflows=400, max_us=25000)
    (block,) = show("ablation", [measure(100), dataclasses.replace(overflowed, histogram=histogram)])
    assert rows(block)["without irqs"][2] == "≥ 20,000"
    assert "≥ 20,000" in block.figure.svg()


# ---------------------------------------------------------------------------------------------------------------- GIC


def gics(measure: Measure, host: int, kvm: int, qemu: int) -> list[Measurement]:
    return [
        measure({host: 100}),
        measure({qemu: 100}, place="guest", guest="minimal-user-gic"),
        measure({kvm: 100}, place="guest", guest="minimal-kernel-gic"),
    ]


def test_host_kvms_gic_and_qemus_gic_stand_in_that_order(measure: Measure) -> None:
    (order,) = gic_orders(points(gics(measure, 60, 80, 250)))
    assert [what for what, _ in order.rows] == [HOST, KVMS_GIC, QEMUS_GIC]
    assert [[point.histogram.max_us for point in step] for step in order.steps] == [[60, 80], [80, 250]]


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ((60, 80, 250), "holds in average: each is later than the one before it, by 1.33 × ("),
        ((60, 260, 250), "does not hold in average: one is earlier than the one before it"),
        ((80, 80, 250), "cannot be told in average; as measured it does not hold"),  # equal is not less
    ],
)
def test_whether_the_order_holds_is_said(values: tuple[int, int, int], says: str, measure: Measure) -> None:
    made = [
        dataclasses.replace(
            each, record=dataclasses.replace(each.record, cell=dataclasses.replace(each.cell, repetition=n))
        )
        for n, off in enumerate((-1, 0, 1, 0, -1), 1)
        for each in gics(measure, *(us + off for us in values))
    ]
    (block,) = show("gic", made)
    assert block.says[0].startswith(f"The order host < guest with KVM's GIC < guest with QEMU's GIC {says}")


def test_an_order_that_was_measured_once_is_not_told(measure: Measure) -> None:
    (block,) = show("gic", gics(measure, 60, 80, 250))
    assert "cannot be told in average; as measured it holds" in block.says[0]
    assert "differ by 1.33 × (measured once) and 3.12 × (measured once)" in block.says[0]
    assert block.says[-1].startswith("Each was measured once")
    assert [row.values[0] for row in block.rows] == ["60.0", "80.0", "250.0"]


def test_an_order_that_was_not_measured_is_not_judged(measure: Measure) -> None:
    (block,) = show("gic", gics(measure, 60, 80, 250)[:2])
    assert block.says[0].endswith("cannot be judged: not measured here: guest with KVM's GIC.")


# --------------------------------------------------------------------------------------------------------------- load


def loaded(measure: Measure) -> list[Measurement]:
    values = {("none", "host"): 573, ("none", "guest"): 7739, ("full", "host"): 287, ("full", "guest"): 617}
    return [measure(us, tuning=tuning, place=place, workload="host-load") for (tuning, place), us in values.items()] + [
        measure(90)
    ]


def test_under_load_a_guest_is_held_against_the_host_with_its_tuning(measure: Measure) -> None:
    (load,) = loads(points(loaded(measure)))
    assert [(p.cell.tuning, p.cell.place, h is not None) for p, h in load.rows] == [
        ("none", "host", False),
        ("none", "guest", True),
        ("full", "host", False),
        ("full", "guest", True),
    ]


def test_the_load_view_says_who_stays_below_the_papers_limit(measure: Measure) -> None:
    (block,) = show("load", loaded(measure))
    assert block.says[0] == (
        "The latest wake-up in the guest, in µs (virtual time): 7,739 with none and 617 with full."
    )
    assert "p99 617 against 287 (2.15 ×, measured once), latest wake-up 617 against 287." in block.says[1]
    table = rows(block)
    assert (table["none, guest"][3], table["full, guest"][3]) == ("no", "yes")
    assert table["full, guest"][5] == "2.15 ×\nmeasured once"
    assert "in real time" in block.caption
    assert ">1,000<" in block.figure.svg()


def test_cells_without_load_are_no_part_of_it(measure: Measure) -> None:
    assert loads(points([measure(90)])) == []


# -------------------------------------------------------------------------------------------------------------- guests


def test_guests_stand_side_by_side_the_first_as_base(measure: Measure) -> None:
    made = [
        measure(us, board="virtual-rpi2", split="1-2", place="guest", guest=guest)
        for guest, us in (("minimal", 400), ("partitioned", 100))
    ]
    (found,) = guests_side_by_side(points(made))
    assert (found.base.cell.guest, [each.cell.guest for each in found.others]) == ("minimal", ["partitioned"])
    (block,) = show("partitioning", made)
    assert rows(block)["partitioned"][3:] == ("0.82 ×\nmeasured once", "0.25 ×\nmeasured once")
    assert block.says[0].startswith("In partitioned, a wake-up took 0.82 × as long as in minimal on average")
    assert show("flavours", made)[0].rows == block.rows


def test_a_guest_alone_is_compared_with_nothing(measure: Measure) -> None:
    assert show("flavours", [measure(90, place="guest"), measure(60)]) == []


# ------------------------------------------------------------------------------------------------------------ cautions


def test_load_on_a_board_in_virtual_time_is_told_to_cost_the_measured_core(measure: Measure) -> None:
    (said,) = cautions([measure(90, workload="host-load"), measure(90)])
    assert said.startswith("virtual-cb2: the emulator runs all cores of this board in turn")


def test_load_on_a_real_board_needs_no_caution(measure: Measure) -> None:
    made = measure(90, workload="host-load")
    real = dataclasses.replace(made.cell, clock="real")
    assert cautions([dataclasses.replace(made, record=dataclasses.replace(made.record, cell=real))]) == []


def test_an_emulators_warning_stands_beside_the_comparison_once(measure: Measure) -> None:
    made = [measure(90, place=place, emulator={"warning": "QEMU 7.2 spoils this."}) for place in ("host", "guest")]
    assert cautions(made) == ["virtual-cb2: QEMU 7.2 spoils this."]


def test_a_guest_of_another_architecture_differs_by_that_too(measure: Measure) -> None:
    def of(machine: str) -> Measurement:
        made = measure(90, place="guest", board_facts={"machine": "aarch64"})
        system = made.record.system | {"guest": {"machine": machine}}
        return dataclasses.replace(made, record=dataclasses.replace(made.record, system=system))

    assert cautions([of("aarch64"), measure(90, place="guest"), measure(60)]) == []
    (said,) = cautions([of("armv7l"), of("armv7l")])
    assert said.startswith("virtual-cb2: guest minimal is of another architecture than the board")


def test_an_emulated_guest_is_labelled_wherever_its_numbers_stand(measure: Measure) -> None:
    tcg = {"guest_accelerator": "tcg"}
    made = [measure(60), measure(90, place="guest", guest="minimal-kernel-gic", board_facts=tcg)]
    (block,) = show("gic", made)
    assert [row.guest_uses_tcg for row in block.rows] == [False, True]
    assert "guest with KVM's GIC, emulated" in block.figure.svg()
    assert "nothing about virtualization with KVM" in cautions(made)[0]
