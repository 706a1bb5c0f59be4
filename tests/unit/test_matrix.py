"""Matrix files: what they expand to, in which order, and every way in which they are refused."""

from __future__ import annotations

import copy
import dataclasses
import datetime
import itertools
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from fakes import DATA, VARS, catalogue, virtual_lab
from hypothesis import given
from hypothesis import strategies as st

from rtvirt_runner.catalogue import collection
from rtvirt_runner.catalogue.catalogue import Catalogue
from rtvirt_runner.catalogue.checked_yaml import InputError
from rtvirt_runner.catalogue.lab import Lab
from rtvirt_runner.catalogue.neighbours import NeighbourState
from rtvirt_runner.catalogue.workloads import Program
from rtvirt_runner.matrix.budget import Limits
from rtvirt_runner.matrix.cell import Cell
from rtvirt_runner.matrix.host_thread import HostThread
from rtvirt_runner.matrix.load import Matrix, load_matrix
from rtvirt_runner.matrix.plan import measuring_s, plan
from rtvirt_runner.run.playbooks import read_inventory
from rtvirt_runner.run.progress import duration

SMALL: dict[str, Any] = {
    "matrix": {
        "name": "small",
        "cyclictest": {"loops": 5000, "interval_us": 1000, "priority": 95, "histogram_us": 20000},
        "splits": {"1-1": {"host_cpus": "0", "guest_cpus": "1"}, "3-1": {"host_cpus": "0-2", "guest_cpus": "3"}},
        "experiments": {
            "idle": {
                "axes": {
                    "board": ["virtual-rpi2"],
                    "kernel": ["debian-rt"],
                    "tuning": ["paper"],
                    "split": ["1-1", "3-1"],
                    "place": ["host", "guest"],
                    "guest": ["minimal"],
                    "workload": ["idle"],
                }
            }
        },
    }
}

ONE_BOARD = {"boards": ["virtual-rpi2"], "guests": ["virtual-rpi2-guest"]}

FULL_PARAMS = (
    "isolcpus=managed_irq,domain,1",
    "nohz_full=1",
    "rcu_nocbs=1",
    "irqaffinity=0",
    "kvm-arm.wfi_trap_policy=notrap",
)


def load(document: Any, folder: Path, lab: Lab | None = None) -> Matrix:
    path = folder / "matrix.yml"
    path.write_text(
        document if isinstance(document, str) else yaml.safe_dump(document, sort_keys=False), encoding="utf-8"
    )
    return load_matrix(path, lab or virtual_lab(), catalogue())


def changed(place: str, value: Any) -> dict[str, Any]:
    """SMALL with the value at a dotted place (below ``matrix``) replaced."""
    document = copy.deepcopy(SMALL)
    node = document["matrix"]
    *path, last = place.split(".")
    for key in path:
        node = node[key]
    node[last] = value
    return document


def axis(name: str, value: Any) -> dict[str, Any]:
    return changed(f"experiments.idle.axes.{name}", value)


def points(matrix: Matrix) -> list[tuple[str, str, str]]:
    return [(cell.board, cell.split, cell.place) for cell in matrix.experiments[0].cells]


# -------------------------------------------------------------------------------------------------------------- lab


def test_a_lab_keeps_boards_and_the_groups_that_hold_them() -> None:
    hostvars = {"pi": {"rtvirt_board_cpus": "4", "rtvirt_board_clock": "real"}, "pi-guest": {}}
    lab = Lab.from_inventory({"boards": ["pi"], "guests": ["pi-guest"], "arm": ["pi-guest", "pi"]}, hostvars)
    assert lab.boards["pi"].cpus == 4
    assert lab.groups == {"boards": ["pi"], "arm": ["pi"]}


@pytest.mark.parametrize(
    ("groups", "variables", "says"),
    [
        ({}, {}, "no host in group 'boards'"),
        ({"boards": []}, {}, "no host in group 'boards'"),
        ({"boards": ["pi"]}, {"rtvirt_board_clock": "real"}, "rtvirt_board_cpus of board 'pi' is missing"),
        ({"boards": ["pi"]}, {"rtvirt_board_cpus": "four"}, "is 'four', expected its number of cores"),
        ({"boards": ["pi"]}, {"rtvirt_board_cpus": True}, "is True, expected its number of cores"),
        ({"boards": ["pi"]}, {"rtvirt_board_cpus": 0}, "is 0, expected its number of cores"),
        ({"boards": ["pi"]}, {"rtvirt_board_cpus": 4}, "rtvirt_board_clock of board 'pi' is missing"),
        ({"boards": ["pi"]}, {"rtvirt_board_cpus": 4, "rtvirt_board_clock": "fast"}, "is 'fast', expected 'real'"),
        ({"boards": ["a/b"]}, {}, "board 'a/b' cannot name its results folder"),
        ({"boards": ["report"]}, {}, "board 'report' cannot name its results folder"),
        ({"boards": ["sealed"]}, {}, "board 'sealed' cannot name its results folder"),
    ],
)
def test_a_wrong_lab_is_refused(groups: dict[str, list[str]], variables: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError, match=says):
        Lab.from_inventory(groups, {"pi": variables})


def test_a_labs_own_workloads_are_known_to_its_matrices(tmp_path: Path) -> None:
    own = {"mine": {"command": "mine --forever", "prints": "json"}}
    board: dict[str, Any] = {"rtvirt_board_cpus": 4, "rtvirt_board_clock": "real", "rtvirt_lab_workloads": own}
    groups = {"boards": ["virtual-rpi2", "pi"], "guests": ["virtual-rpi2-guest"]}
    lab = Lab.from_inventory(groups, {"virtual-rpi2": board, "pi": board})
    path = tmp_path / "own.yml"
    path.write_text(yaml.safe_dump(axis("workload", ["mine"])))
    cells = load_matrix(path, lab, Catalogue.load(VARS, lab)).cells
    assert {cell.program.command for cell in cells if cell.program} == {"mine --forever"}


def test_a_lab_has_one_set_of_workloads() -> None:
    board: dict[str, Any] = {"rtvirt_board_cpus": 4, "rtvirt_board_clock": "real"}
    hostvars = {name: {**board, "rtvirt_lab_workloads": {"mine": {"command": name}}} for name in ("a", "b")}
    with pytest.raises(InputError, match="rtvirt_lab_workloads of board 'b': 'mine' differs from another board's"):
        Lab.from_inventory({"boards": ["a", "b"]}, hostvars)


# -------------------------------------------------------------------------------------------------------- expansion


def test_the_collections_own_matrices_expand_over_the_virtual_lab() -> None:
    asked = ["core_splits", "preemption", "mibench", "ecu", "sysbench_cpu", "sysbench_fileio", "host_load", "gic"]
    asked += ["ablation", "partitioning", "flavours"]
    for name, repetitions in (("smoke", 1), ("paper", 3)):
        matrix = load_matrix(VARS / f"matrix_{name}.yml", virtual_lab(), catalogue())
        assert [experiment.name for experiment in matrix.experiments if experiment.name != "neighbour"] == asked
        assert max(cell.repetition for cell in matrix.cells) == repetitions
        cells = {each.name: [cell for cell in each.cells if cell.repetition == 1] for each in matrix.experiments}
        assert len(cells["core_splits"]) == 16  # two tunings, host and guest, four points
        assert {cell.guest_state.gic for cell in cells["gic"] if cell.guest_state} == {"in_kernel", "user_space"}
        assert "full-minus-irqs" in {cell.tuning for cell in cells["ablation"]}
        assert len(cells["mibench"]) == 14  # seven programs, host and guest
        assert {cell.guest for cell in cells["sysbench_fileio"]} == {"none", "minimal-scratch"}


def test_the_product_of_the_axes_keeps_their_order(tmp_path: Path) -> None:
    assert points(load(SMALL, tmp_path)) == [
        ("virtual-rpi2", "1-1", "host"),
        ("virtual-rpi2", "1-1", "guest"),
        ("virtual-rpi2", "3-1", "host"),
        ("virtual-rpi2", "3-1", "guest"),
    ]


def test_a_group_stands_for_its_boards_each_once(tmp_path: Path) -> None:
    document = axis("board", ["virtual-cb2", "boards"])
    document["matrix"]["experiments"]["idle"]["axes"]["split"] = ["1-1"]
    boards = [board for board, _, place in points(load(document, tmp_path)) if place == "host"]
    assert boards == ["virtual-cb2", "virtual-rpi2"]


def test_exclude_takes_away_every_point_it_fits(tmp_path: Path) -> None:
    document = changed("experiments.idle.exclude", [{"split": ["3-1"], "place": "guest"}])
    assert ("virtual-rpi2", "3-1", "guest") not in points(load(document, tmp_path))
    assert len(points(load(document, tmp_path))) == 3


def test_include_adds_points_and_takes_the_rest_from_single_valued_axes(tmp_path: Path) -> None:
    extra = {"board": "virtual-cb2", "split": "1-1", "place": ["host", "guest"]}
    matrix = load(changed("experiments.idle.include", [extra]), tmp_path)
    assert points(matrix)[-2:] == [("virtual-cb2", "1-1", "host"), ("virtual-cb2", "1-1", "guest")]
    assert matrix.experiments[0].cells[-1].workload == "idle"


def test_include_comes_after_exclude(tmp_path: Path) -> None:
    document = changed("experiments.idle.exclude", [{"place": "guest"}])
    document["matrix"]["experiments"]["idle"]["include"] = [{"split": "3-1", "place": "guest"}]
    assert [place for _, _, place in points(load(document, tmp_path))] == ["host", "host", "guest"]


def test_cores_are_checked_only_for_cells_that_remain(tmp_path: Path) -> None:
    document = axis("board", ["boards"])
    document["matrix"]["experiments"]["idle"]["exclude"] = [{"board": "virtual-cb2", "split": "3-1"}]
    assert len(load(document, tmp_path).cells) == 6


def test_host_and_guest_measure_the_same_physical_core(tmp_path: Path) -> None:
    document = changed("splits", {"1-1": {"host_cpus": 0, "guest_cpus": "1-2"}})
    document["matrix"]["experiments"]["idle"]["axes"]["split"] = ["1-1"]
    host, guest = load(document, tmp_path).cells
    assert (host.guest_cpus, host.measured_cpu, host.vcpus) == ("1-2", 2, 0)
    assert (guest.measured_cpu, guest.vcpus) == (1, 2)


def test_a_tuning_is_rendered_for_the_split(tmp_path: Path) -> None:
    cells = load(SMALL, tmp_path).experiments[0].cells
    assert cells[3].kernel_params == ("isolcpus=3",)
    assert cells[3].guest_state and cells[3].guest_state.placement == {
        "mode": "process",
        "cpus": "3",
        "policy": "rr",
        "priority": 99,
    }
    assert cells[2].guest_state is None  # no guest runs


def test_an_experiment_shows_histograms_unless_it_says_otherwise(tmp_path: Path) -> None:
    assert load(SMALL, tmp_path).experiments[0].views == ("histograms",)
    views = changed("experiments.idle.views", ["ablation", "load"])
    assert load(views, tmp_path).experiments[0].views == ("ablation", "load")
    assert load(changed("experiments.idle.views", "gic"), tmp_path).experiments[0].views == ("gic",)


def test_host_cells_are_shared_between_experiments_with_different_guests(tmp_path: Path) -> None:
    document = copy.deepcopy(SMALL)
    axes = document["matrix"]["experiments"]["idle"]["axes"]
    document["matrix"]["experiments"]["host_only"] = {"axes": {**axes, "place": "host"}}
    del document["matrix"]["experiments"]["host_only"]["axes"]["guest"]
    matrix = load(document, tmp_path)
    assert {cell.guest for cell in matrix.experiments[1].cells} == {"none"}
    assert len(matrix.cells) == 4


def test_a_merged_key_may_be_replaced(tmp_path: Path) -> None:
    """``<<: *anchor`` with an own key beside it is no duplicate key."""
    text = yaml.safe_dump(SMALL, sort_keys=False).replace("axes:\n", "axes: &idle\n")
    text += "    narrower:\n      axes:\n        <<: *idle\n        split: ['1-1']\n"
    text += "    again:\n      axes: &again\n        <<: *idle\n        split: ['3-1']\n"
    text += "    chained:\n      axes:\n        <<: *again\n        place: [host]\n"
    assert [len(experiment.cells) for experiment in load(text, tmp_path).experiments] == [4, 2, 2, 1]


# ------------------------------------------------------------------------------------------------------------ cells


def test_a_cell_id_is_readable_stable_and_a_folder_name(tmp_path: Path) -> None:
    cell = load(SMALL, tmp_path).experiments[0].cells[1]
    assert cell.id.startswith("virtual-rpi2_debian-rt_paper_1-1_guest_minimal_idle_r1-")
    assert cell.id == load(SMALL, tmp_path).experiments[0].cells[1].id
    assert "/" not in cell.id
    assert len(cell.id) < 255


def test_everything_that_changes_what_is_measured_changes_the_id(tmp_path: Path) -> None:
    cell = load(SMALL, tmp_path).experiments[0].cells[1]
    other: dict[str, Any] = {"kernel_params": ("nohz_full=1",), "settings": ("irqs",), "clock": "real"}
    assert cell.guest_state
    other["guest_state"] = dataclasses.replace(cell.guest_state, vcpus=2)
    other["program"] = Program("true", "", "", "0", False, "memory", "text", "", "")
    other["neighbour_state"] = NeighbourState("loud", "host", cell.guest_state, {"bitcount": other["program"]})
    other["host_thread"] = HostThread(3, 1000, 100)
    ids = {cell.id}
    for item in dataclasses.fields(cell):
        value = getattr(cell, item.name)
        new = other.get(item.name, value + 1 if isinstance(value, int) else f"{value}x")
        ids.add(dataclasses.replace(cell, **{item.name: new}).id)
    assert len(ids) == 1 + len(dataclasses.fields(cell))


def test_a_cell_survives_json(tmp_path: Path) -> None:
    for cell in load(SMALL, tmp_path).cells:
        assert Cell.from_dict(json.loads(json.dumps(cell.as_dict()))) == cell


def test_an_edited_or_foreign_cell_is_refused(tmp_path: Path) -> None:
    values = load(SMALL, tmp_path).cells[0].as_dict()
    with pytest.raises(InputError, match="does not fit its own values"):
        Cell.from_dict({**values, "loops": 1})
    with pytest.raises(InputError, match="unknown fields: colour"):
        Cell.from_dict({**values, "colour": "red"})


# ------------------------------------------------------------------------------------------------------------ order


def repeated() -> Matrix:
    path = VARS / "matrix_smoke.yml"
    matrix = load_matrix(path, virtual_lab(), catalogue())
    cells = [dataclasses.replace(cell, repetition=n) for n in (1, 2) for cell in matrix.cells]
    experiment = dataclasses.replace(matrix.experiments[0], cells=tuple(cells))
    return dataclasses.replace(matrix, experiments=(experiment,))


def test_each_boot_state_is_entered_once_per_repetition() -> None:
    boots = plan(repeated().cells)
    states = [(boot.board, boot.repetition, boot.kernel, boot.kernel_params) for boot in boots]
    assert len(states) == len(set(states))
    assert [boot.repetition for boot in boots if boot.board == "virtual-cb2"] == [1] * 5 + [2] * 5


def test_each_guest_state_is_entered_once_per_boot_and_cells_without_a_guest_come_first() -> None:
    for boot in plan(repeated().cells):
        states = [
            str((guest.state, guest.settings, guest.host_cpus, guest.guest_cpus, guest.neighbour))
            for guest in boot.guests
        ]
        assert len(states) == len(set(states))
        names = [guest.name for guest in boot.guests]
        assert "none" not in names or names[0] == "none"
        beside = [bool(guest.neighbour) for guest in boot.guests]
        assert beside == sorted(beside)


def test_the_boot_without_words_comes_first() -> None:
    boots = [boot for boot in plan(repeated().cells) if boot.board == "virtual-cb2" and boot.repetition == 1]
    assert [(boot.kernel, boot.kernel_params) for boot in boots] == [
        ("linux-6.12-rt", ()),
        ("linux-6.12-rt", ("isolcpus=1",)),
        ("linux-6.12-rt", FULL_PARAMS),
        ("linux-6.12-rt", FULL_PARAMS[1:-1]),
        ("linux-6.12", ()),
    ]


def test_a_tuning_without_words_shares_its_boot_and_its_guest_between_splits(tmp_path: Path) -> None:
    (boot,) = plan(load(axis("tuning", ["none"]), tmp_path).cells)
    assert [(guest.name, guest.vcpus, guest.guest_cpus) for guest in boot.guests] == [
        ("none", 0, "1"),
        ("none", 0, "3"),
        ("minimal", 1, "1"),
        ("minimal", 1, "3"),
    ]
    assert boot.guests[2].state == boot.guests[3].state  # so it goes on running


def test_a_guest_goes_on_running_while_the_settings_of_its_board_change(tmp_path: Path) -> None:
    document = axis("tuning", ["full", "full-minus-irqs", "full-minus-ksm"])
    document["matrix"]["experiments"]["idle"]["axes"] |= {"split": "1-1", "place": "guest"}
    (boot,) = plan(load(document, tmp_path).cells)
    assert len({str(guest.state) for guest in boot.guests}) == 1
    without = [set(boot.guests[0].settings) - set(guest.settings) for guest in boot.guests]
    assert without == [set(), {"irqs"}, {"ksm"}]


@given(st.permutations(repeated().cells))
def test_a_plan_holds_every_cell_once_whatever_the_order(cells: list[Cell]) -> None:
    planned = [cell for boot in plan([*cells, *cells[:3]]) for cell in boot.cells]
    assert sorted(cell.id for cell in planned) == sorted(cell.id for cell in cells)
    boots = [(boot.board, boot.repetition, boot.kernel, boot.kernel_params) for boot in plan(cells)]
    assert len(boots) == len(set(boots)) == 26


def test_a_plan_is_plain_data_for_ansible(tmp_path: Path) -> None:
    (first, *_) = plan(load(SMALL, tmp_path).cells)
    plain = first.as_dict()
    assert json.loads(json.dumps(plain)) == plain
    assert plain["kernel_params"] == ["isolcpus=1"]
    assert plain["guests"][1]["state"]["placement"]["policy"] == "rr"
    assert plain["guests"][1]["cells"][0]["place"] == "guest"


def test_repetitions_give_the_axis_repetition(tmp_path: Path) -> None:
    matrix = load(changed("repetitions", 3), tmp_path)
    assert {cell.repetition for cell in matrix.cells} == {1, 2, 3}
    assert len(matrix.cells) == 12


def test_an_experiment_may_have_repetitions_of_its_own_and_a_cell_of_two_is_measured_as_often_as_the_one_asks(
    tmp_path: Path,
) -> None:
    document = changed("repetitions", 3)
    document["matrix"]["experiments"]["once"] = {**SMALL["matrix"]["experiments"]["idle"], "repetitions": 1}
    matrix = load(document, tmp_path)
    assert [{cell.repetition for cell in each.cells} for each in matrix.experiments] == [{1, 2, 3}, {1}]
    assert len(matrix.cells) == 12


def test_an_experiment_may_have_loops_of_its_own(tmp_path: Path) -> None:
    document = changed("repetitions", 1)
    document["matrix"]["experiments"]["short"] = {**SMALL["matrix"]["experiments"]["idle"], "loops": 7}
    usual, short = load(document, tmp_path).experiments
    assert {cell.loops for cell in short.cells} == {7}
    assert not {cell.loops for cell in usual.cells} & {7}
    document["matrix"]["experiments"]["short"]["loops"] = 0
    with pytest.raises(InputError, match=r"experiments\.short\.loops is 0, expected a whole number from 1"):
        load(document, tmp_path)


def test_how_long_cyclictest_measures_is_said_by_board(tmp_path: Path) -> None:
    cells = load(SMALL, tmp_path).cells
    assert measuring_s([*cells, *cells]) == {"virtual-rpi2": 4 * cells[0].loops * cells[0].interval_us * 1e-6}


def test_budgets_have_limits_of_their_own_for_some_workloads(tmp_path: Path) -> None:
    own = {"latest_us": 500, "average_us": 90, "workloads": {"ecu": {"latest_us": 300}}}
    lax = {"latest_us": 9000, "average_us": 9000, "once_in_s": 60}
    mine, other = load(changed("budgets", {"mine": own, "lax": lax}), tmp_path).budgets
    assert (mine.name, mine.once_in_s, other.once_in_s) == ("mine", 3600, 60)
    assert (mine.of("idle"), mine.of("ecu")) == (Limits(500, 90), Limits(300, 90))
    assert load(SMALL, tmp_path).budgets == ()


def test_a_board_of_64_bits_runs_guests_of_32(tmp_path: Path) -> None:
    matrix = load(axis("guest", ["minimal-armhf"]), tmp_path)
    assert {cell.guest_state.kernel for cell in matrix.cells if cell.guest_state} == {"linux-6.1-rt-armhf"}


# --------------------------------------------------------------------------------------------------------- refusals

CORES = {"host_cpus": "0", "guest_cpus": "1"}
REFUSED = {
    "unknown key": (changed("loops", 5), r"matrix: unknown key 'loops', expected one of name, title,"),
    "unknown experiment key": (changed("experiments.idle.axis", {}), r"unknown key 'axis'.*did you mean 'axes'\?"),
    "unknown axis": (axis("cores", ["1"]), r"unknown key 'cores', expected one of board, kernel"),
    "unknown board": (axis("board", ["virtual-rpi3"]), r"unknown board 'virtual-rpi3'.*mean 'virtual-rpi2'\?"),
    "unknown group": (
        axis("board", ["arm_boards"]),
        r"axes.board: unknown board 'arm_boards': this lab has",
    ),
    "unknown kernel": (axis("kernel", ["debian-rf"]), r"unknown kernel 'debian-rf'.*did you mean 'debian-rt'\?"),
    "unknown tuning": (axis("tuning", ["ful"]), r"unknown tuning 'ful', expected one of none, paper"),
    "ablation of an unknown tuning": (axis("tuning", ["ful-minus-irqs"]), r"unknown tuning 'ful'.*mean 'full'\?"),
    "ablation of an unknown setting": (
        axis("tuning", ["full-minus-irq"]),
        r"axes.tuning: unknown setting of tuning full 'irq'.*did you mean 'irqs'\?",
    ),
    "unknown view": (changed("experiments.idle.views", ["abaltion"]), r"unknown view 'abaltion'.*mean 'ablation'\?"),
    "no view": (changed("experiments.idle.views", []), r"idle.views is empty, expected one or more of histograms"),
    "tuning is no text": (axis("tuning", [1]), r"unknown tuning 1"),
    "kernel of a board that is not rebooted": (
        axis("kernel", ["running"]),
        r"kernel 'running' on board 'virtual-rpi2', expected one of the catalogue",
    ),
    "a partitioned guest of one vCPU": (
        axis("guest", ["partitioned"]),
        r"guest 'partitioned' keeps 1 of its vCPUs for housekeeping, but the split gives it 1",
    ),
    "unknown workload": (axis("workload", ["bitcout"]), r"unknown workload 'bitcout'.*did you mean 'bitcount'\?"),
    "unknown split": (axis("split", ["2-2"]), r"unknown split '2-2', expected one of 1-1, 3-1"),
    "unknown place": (axis("place", ["here"]), r"unknown place 'here', expected one of host, guest, both"),
    "unknown guest": (axis("guest", ["debain"]), r"unknown guest 'debain'.*did you mean 'debian'\?"),
    "value of a wrong type": (axis("workload", [True]), r"unknown workload True"),
    "missing axis": (changed("experiments.idle.axes", {"board": "virtual-rpi2"}), r"lacks the axis 'kernel'"),
    "empty axis": (axis("tuning", []), r"axes.tuning is empty"),
    "value given twice": (axis("split", ["1-1", "1-1"]), r"names '1-1' twice"),
    "no axes": (changed("experiments.idle.axes", None), r"axes is missing, expected keys with values"),
    "no experiments": (changed("experiments", {}), r"experiments is empty"),
    "experiment without a body": (changed("experiments.idle", None), r"experiments.idle is missing"),
    "no cells left": (changed("experiments.idle.exclude", [{"kernel": "debian-rt"}]), r"leaves no cell"),
    "exclude with a typing error": (changed("experiments.idle.exclude", [{"place": "gest"}]), r"unknown place 'gest'"),
    "exclude is no list": (changed("experiments.idle.exclude", {"place": "guest"}), r"expected a list of points"),
    "vague include": (
        changed("experiments.idle.include", [{"place": "host"}]),
        r"include\[1\] does not say which split",
    ),
    "malformed cores": (changed("splits.1-1", {**CORES, "guest_cpus": "1;2"}), r"splits.1-1.guest_cpus: '1;2' is not"),
    "backward cores": (changed("splits.1-1", {**CORES, "guest_cpus": "3-1"}), r"counts the range 3-1 backwards"),
    "empty cores": (changed("splits.1-1", {**CORES, "guest_cpus": ""}), r"splits.1-1.guest_cpus is empty"),
    "missing cores": (changed("splits.1-1", {"host_cpus": "0"}), r"splits.1-1.guest_cpus is missing"),
    "overlapping cores": (changed("splits.1-1", {**CORES, "host_cpus": "0-1"}), r"overlap on core 1, expected each"),
    "cores the board lacks": (
        changed("splits.1-1", {**CORES, "guest_cpus": "4"}),
        r"splits.1-1.guest_cpus is '4' but board 'virtual-rpi2' has only cores 0-3",
    ),
    "unknown split key": (changed("splits.1-1.cpus", "0"), r"unknown key 'cpus', expected one of host_cpus"),
    "no loops": (changed("cyclictest.loops", 0), r"cyclictest.loops is 0, expected a whole number from 1"),
    "short interval": (changed("cyclictest.interval_us", 5), r"interval_us is 5, expected a whole number from 10"),
    "high priority": (changed("cyclictest.priority", 100), r"priority is 100, expected a whole number from 1 to 99"),
    "wide histogram": (changed("cyclictest.histogram_us", 2_000_000), r"histogram_us is 2000000, expected"),
    "missing setting": (changed("cyclictest", {"loops": 5}), r"cyclictest.interval_us is missing"),
    "fraction": (changed("cyclictest.loops", 1.5), r"loops is 1.5, expected a whole number"),
    "no repetition": (changed("repetitions", 0), r"repetitions is 0, expected a whole number from 1"),
    "repetitions yes": (changed("repetitions", True), r"repetitions is True"),
    "budget without a limit": (
        changed("budgets", {"a": {"latest_us": 5}}),
        r"budgets.a.average_us is missing, expected",
    ),
    "no budget": (changed("budgets", {}), r"budgets is empty, expected one entry or more"),
    "budget for nothing": (
        changed("budgets", {"a": {"latest_us": 5, "average_us": 5, "workloads": {"ecus": {"latest_us": 1}}}}),
        r"budgets.a.workloads: unknown workload 'ecus'.*did you mean 'ecu'\?",
    ),
    "budget beyond the histogram": (
        changed("budgets", {"a": {"latest_us": 20000, "average_us": 5}}),
        r"budgets.a.latest_us is 20000, but the histogram ends at 20000 us.*raise cyclictest.histogram_us",
    ),
    "average above the latest": (
        changed("budgets", {"a": {"latest_us": 50, "average_us": 51}}),
        r"budgets.a.average_us is 51, more than latest_us, 50",
    ),
    "name with a slash": (changed("name", "../x"), r"name: '../x' is not a name"),
    "no name": (changed("name", None), r"name: missing is not a name"),
    "title is no text": (changed("title", 3), r"title is 3, expected text"),
    "not a mapping": ("- 1\n", r"matrix.yml is \[1\], expected keys with values"),
    "empty file": ("", r"matrix.yml: is empty, expected everything under the key 'matrix'"),
    "no matrix": ("experiments: {}\n", r"has no key 'matrix' at the top"),
    "bad YAML": ("matrix: {name: [}\n", r"matrix.yml: line 1: .*expected plain YAML"),
    "key that is no scalar": (
        "matrix:\n  repetitions: {{ n }}\n",
        r"line 2: key 'repetitions': braces, brackets or an alias stand where a key is expected",
    ),
    "3000 brackets": (f"matrix: {'[' * 3000}", r"line 1: key 'matrix': it is nested more than 50 levels deep"),
    "recursive alias": ("matrix: &a\n  name: *a\n", r"key 'name': the alias '\*a' stands inside what it names"),
    "recursive merge": ("matrix: &a\n  <<: *a\n", r"the alias '\*a' stands inside what it names"),
    "chain of aliases": (
        "a0: &a0 [1]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}]\n" for n in range(1, 5000)),
        r"its aliases nest more than 50 levels deep",
    ),
    "aliases of aliases": (
        "a0: &a0 [1]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 30)),
        r"line 6: key 'a5': it comes to more than 50000 values, aliases followed",
    ),
    "date as a name": ("matrix:\n  name: 2024-01-01\n", r"name: 2024-01-01 is not a name.*quote numbers and dates"),
    "date as an experiment": (changed("experiments", {datetime.date(2024, 1, 1): {}}), r"2024-01-01 is not a name"),
    "date that is none": ("matrix:\n  name: 2024-13-45\n", r"line 2: month must be in 1..12, expected plain YAML"),
    "control character": ("matrix: \x01\n", r"matrix.yml: .*expected (plain|valid) YAML"),
    "duplicate key": ("matrix:\n  name: a\n  name: b\n", r"line 3: key 'name' is given twice"),
    "duplicate experiment": (
        yaml.safe_dump(SMALL).replace("    idle:\n", "    idle: {}\n    idle:\n"),
        r"key 'idle' is given twice",
    ),
}


@pytest.mark.parametrize(("document", "says"), REFUSED.values(), ids=REFUSED.keys())
def test_a_wrong_matrix_is_refused_in_one_sentence(document: Any, says: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=says) as refusal:
        load(document, tmp_path)
    assert str(tmp_path / "matrix.yml") in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("kernel", "guest_kernel", "guest", "says"),
    [
        ("debian-rt", "linux-6.1-rt-armhf", "debian", r"\(flavour debian\), which is arm64, with a kernel for armhf"),
        (
            "debian-rt",
            "debian-amd64",
            "minimal",
            "a kernel for amd64, which no board of arm64 runs, expected one for arm64 or",
        ),
        (
            "debian-rt-armhf",
            "debian-rt",
            "minimal",
            "a kernel for arm64, which no board of armhf runs, expected one for armhf;",
        ),
    ],
)
def test_a_guest_that_the_board_cannot_run_is_refused(
    kernel: str, guest_kernel: str, guest: str, says: str, tmp_path: Path
) -> None:
    board = {"rtvirt_board_cpus": 4, "rtvirt_board_clock": "virtual", "guest_kernel": guest_kernel}
    lab = Lab.from_inventory(ONE_BOARD, {"virtual-rpi2": board})
    document = axis("guest", [guest])
    document["matrix"]["experiments"]["idle"]["axes"]["kernel"] = [kernel]
    with pytest.raises(InputError, match=f"experiments.idle: guest '{guest}' .*{says}"):
        load(document, tmp_path, lab)


@pytest.mark.parametrize(
    ("groups", "variables", "says"),
    [
        (
            ONE_BOARD,
            {"guest_kernel": "debian-rf"},
            "Inventory: guest_kernel of board 'virtual-rpi2': unknown kernel 'debian-rf'.*did you mean 'debian-rt'",
        ),
        (
            ONE_BOARD,
            {"board_image_profile": "orangepi_pc"},
            "experiments.idle: kernel 'debian-rt' is for arm64, but board 'virtual-rpi2' is of armhf",
        ),
        (
            ONE_BOARD,
            {"board_image_profile": "orangepipc"},
            "Inventory: board_image_profile of board 'virtual-rpi2': unknown profile 'orangepipc'.*mean 'orangepi_pc'",
        ),
        (
            {"boards": ["virtual-rpi2"]},
            {},
            "measures in a guest of board 'virtual-rpi2', but the inventory has no host 'virtual-rpi2-guest'",
        ),
    ],
    ids=["no such guest kernel", "a kernel of another architecture", "no such profile", "no guest host"],
)
def test_a_lab_that_does_not_fit_its_matrix_is_refused(
    groups: dict[str, list[str]], variables: dict[str, Any], says: str, tmp_path: Path
) -> None:
    board = {"rtvirt_board_cpus": 4, "rtvirt_board_clock": "virtual", **variables}
    with pytest.raises(InputError, match=says):
        load(SMALL, tmp_path, Lab.from_inventory(groups, {"virtual-rpi2": board}))


def test_a_labs_own_profile_tells_its_boards_architecture(tmp_path: Path) -> None:
    text = (collection.PROFILES / "orangepi_pc.yml").read_text()
    (tmp_path / "profiles").mkdir()
    (tmp_path / "profiles" / "mine.yml").write_text(text)
    board = {"rtvirt_board_cpus": 4, "rtvirt_board_clock": "virtual", "board_image_profile": "mine"}
    lab = Lab.from_inventory(ONE_BOARD, {"virtual-rpi2": board}, tmp_path)
    assert lab.boards["virtual-rpi2"].architecture == "armhf"


def test_an_included_guest_cell_needs_a_guest(tmp_path: Path) -> None:
    document = axis("place", ["host"])
    del document["matrix"]["experiments"]["idle"]["axes"]["guest"]
    document["matrix"]["experiments"]["idle"]["include"] = [{"split": "1-1", "place": "guest"}]
    with pytest.raises(InputError, match="without saying which guest"):
        load(document, tmp_path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"absent\.yml: cannot be read \(No such file"):
        load_matrix(tmp_path / "absent.yml", virtual_lab(), catalogue())


def test_a_file_that_is_no_text_is_named(tmp_path: Path) -> None:
    (tmp_path / "binary.yml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="it is not UTF-8 text"):
        load_matrix(tmp_path / "binary.yml", virtual_lab(), catalogue())


def test_a_catalogue_without_its_files_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"kernels\.yml: cannot be read"):
        Catalogue.load(tmp_path)


# ----------------------------------------------------------------------------------- matrices on labs that come along


def lab_that_comes_along(name: str) -> Lab:
    inventory = collection.ROOT / "inventory" / name
    return Lab.from_inventory(*read_inventory(inventory), inventory)


@pytest.fixture(scope="module")
def labs() -> dict[str, Lab]:
    """The labs of inventory/, as Ansible reads them."""
    return {path.name: lab_that_comes_along(path.name) for path in sorted((collection.ROOT / "inventory").iterdir())}


_NO_BOARD = "unknown board '{}': this lab has no board or group of that name"
# What a lab lacks for a matrix; empty: nothing.
PLANS: dict[tuple[str, str], str] = {
    ("first", "virtual"): "",
    ("first", "example_lab"): "",
    ("first", "this_machine"): _NO_BOARD.format("rpi2"),
    ("smoke", "virtual"): "",
    ("smoke", "example_lab"): "",
    ("smoke", "this_machine"): _NO_BOARD.format("rpi2"),
    ("paper", "virtual"): "",
    ("paper", "example_lab"): "",
    ("paper", "this_machine"): _NO_BOARD.format("rpi2"),
    ("smoke_armhf", "virtual"): "",
    ("smoke_armhf", "example_lab"): _NO_BOARD.format("virtual_boards_armhf"),
    (
        "smoke_armhf",
        "this_machine",
    ): _NO_BOARD.format("virtual_boards_armhf"),
    ("this_machine", "virtual"): "kernel 'running' on board 'virtual-rpi2', expected one of the catalogue",
    ("this_machine", "example_lab"): "kernel 'running' on board 'rpi2', expected one of the catalogue",
    ("this_machine", "this_machine"): "",
}


def test_every_matrix_is_known_to_plan_on_every_lab_or_not(labs: dict[str, Lab]) -> None:
    assert PLANS.keys() == set(itertools.product(collection.matrix_names(), labs))


@pytest.mark.parametrize(("matrix", "lab"), PLANS)
def test_a_matrix_plans_on_a_lab_or_says_what_it_lacks(matrix: str, lab: str, labs: dict[str, Lab]) -> None:
    path = collection.matrix_path(matrix)
    known = Catalogue.load(collection.VARS, labs[lab])
    if lacks := PLANS[matrix, lab]:
        with pytest.raises(InputError) as told:
            load_matrix(path, labs[lab], known)
        assert lacks in str(told.value) and "\n" not in str(told.value)
    else:
        planned = load_matrix(path, labs[lab], known)
        assert planned.cells and planned.notes == ()


def test_the_documents_say_what_each_matrix_takes_on_each_lab(labs: dict[str, Lab]) -> None:
    rows = []
    for matrix, lab in sorted(each for each, lacks in PLANS.items() if not lacks):
        cells = load_matrix(collection.matrix_path(matrix), labs[lab], Catalogue.load(collection.VARS, labs[lab])).cells
        times = ", ".join(f"{board} {duration(seconds)}" for board, seconds in measuring_s(cells).items())
        rows.append(f"| `{matrix}` | `inventory/{lab}` | {len(cells)} | {len(plan(cells))} | {times} |")
    page = (collection.ROOT / "docs" / "writing-a-matrix.md").read_text(encoding="utf-8")
    assert [line for line in page.splitlines() if re.match(r"\| `\w+` \| `inventory/", line)] == rows


def test_on_the_papers_boards_the_papers_kernels_are_measured(labs: dict[str, Lab]) -> None:
    known = Catalogue.load(collection.VARS, labs["example_lab"])
    cells = load_matrix(collection.matrix_path("paper"), labs["example_lab"], known).cells
    kernels = {(cell.board, cell.kernel) for cell in cells}
    assert kernels == {
        ("rpi2", "rpi-3.18.16"),
        ("rpi2", "rpi-3.18.16-rt13"),
        ("cb2", "sunxi-4.4.6"),
        ("cb2", "sunxi-4.4.6-rt12"),
    }
    assert {cell.clock for cell in cells} == {"real"}


def test_results_on_the_virtual_lab_stay_those_of_its_cells(labs: dict[str, Lab]) -> None:
    """The ids that cells had when matrices named the boards of the virtual lab; what was measured then stays done."""
    listed = (DATA / "matrix" / "virtual_lab_ids.txt").read_text(encoding="utf-8").splitlines()
    known = Catalogue.load(collection.VARS, labs["virtual"])
    for name, ids in itertools.groupby(listed, key=lambda line: line.partition(" ")[0]):
        cells = load_matrix(collection.matrix_path(name), labs["virtual"], known).cells
        assert {line.partition(" ")[2] for line in ids} <= {cell.id for cell in cells}, name


# ---------------------------------------------------------------------------------------------------- kernels by role


def test_a_kernel_may_be_asked_for_by_what_it_is_for(tmp_path: Path) -> None:
    cells = load(changed("experiments.idle.axes.kernel", ["rt", "debian-rt"]), tmp_path).cells
    assert {cell.kernel for cell in cells} == {"debian-rt"}
    assert [cell.id for cell in cells] == [cell.id for cell in load(SMALL, tmp_path).cells]


def test_an_exclude_takes_kernels_by_either_name(tmp_path: Path) -> None:
    document = changed("experiments.idle.axes.kernel", ["rt", "with-rt"])
    for name in ("rt", "debian-rt"):
        document["matrix"]["experiments"]["idle"]["exclude"] = [{"kernel": name}]
        assert {cell.kernel for cell in load(document, tmp_path).cells} == {"linux-6.12-rt"}


def test_a_board_without_a_kernel_for_that_is_named(tmp_path: Path) -> None:
    lab = Lab.from_inventory(ONE_BOARD, {"virtual-rpi2": {"rtvirt_board_cpus": 4, "rtvirt_board_clock": "real"}})
    with pytest.raises(InputError, match=r"kernel 'rt' on board 'virtual-rpi2', which has none for that, expected one"):
        load(changed("experiments.idle.axes.kernel", ["rt"]), tmp_path, lab)


@pytest.mark.parametrize(
    ("kernels", "told"),
    [
        ({"rt": "linux-9"}, "rtvirt_board_kernels of board 'virtual-rpi2': rt: unknown kernel 'linux-9'"),
        ({"realtime": "debian-rt"}, "unknown key 'realtime'"),
        (["debian-rt"], "rtvirt_board_kernels of board 'virtual-rpi2'"),
    ],
)
def test_wrong_kernels_of_a_board_are_refused(kernels: Any, told: str, tmp_path: Path) -> None:
    board = {"rtvirt_board_cpus": 4, "rtvirt_board_clock": "real", "rtvirt_board_kernels": kernels}
    with pytest.raises(InputError, match=re.escape(told)):
        load(SMALL, tmp_path, Lab.from_inventory(ONE_BOARD, {"virtual-rpi2": board}))


# ----------------------------------------------------------------------------------------------------------- excludes


def test_an_exclude_by_guest_leaves_the_host(tmp_path: Path) -> None:
    document = changed("experiments.idle.axes.guest", ["minimal", "debian"])
    document["matrix"]["experiments"]["idle"]["exclude"] = [{"guest": ["minimal", "debian"], "split": "3-1"}]
    cells = load(document, tmp_path).cells
    assert [(cell.place, cell.guest) for cell in cells if cell.split == "3-1"] == [("host", "none")]
    assert len([cell for cell in cells if cell.split == "1-1"]) == 3


def test_an_exclude_that_takes_nothing_away_is_said(tmp_path: Path) -> None:
    matrix = load(changed("experiments.idle.exclude", [{"split": "3-1"}, {"workload": "bitcount"}]), tmp_path)
    (note,) = matrix.notes
    assert "experiments.idle.exclude" in note and "2" in note and "takes no point away" in note
    # of two that take the same away, each takes something
    assert load(changed("experiments.idle.exclude", [{"split": "3-1"}, {"split": "3-1"}]), tmp_path).notes == ()
