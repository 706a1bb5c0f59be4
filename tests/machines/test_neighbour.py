"""A guest beside an ordinary one, on a sealed machine: the neighbour and its load run before and after each cell."""

from __future__ import annotations

from pathlib import Path

import pytest
from playing import SCRIPTS, count_boot, owned, run

from rtvirt_runner.matrix.results import Record, ResultsTree

pytestmark = [
    pytest.mark.asserts_on("booting", "answers"),
    pytest.mark.xdist_group("virtual lab"),  # its boards' folders
    pytest.mark.slow(
        exercises=[
            *("roles/guest", "roles/measure", "rtvirt_runner/machine", "playbooks/vars/neighbours.yml"),
            "rtvirt_runner/catalogue/neighbours.py",
        ]
    ),
]
MATRIX = Path(__file__).parent / "neighbour.yml"


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("neighbour") / "results"
    environment = {name: value for name, value in owned().items() if name != "RTVIRT_OWNER_PID"}
    count_boot("sealed")
    said = run([SCRIPTS / "rtvirt", "matrix", "--matrix", str(MATRIX), "--results", folder], environment, 1800)
    assert "status 0" in said, said
    return folder


@pytest.fixture(scope="module")
def records(results: Path) -> dict[str, Record]:
    """By neighbour."""
    return {record.cell.neighbour: record for record in ResultsTree(results).load_records("neighbour")}


def ticks(record: Record) -> tuple[int, int]:
    """Time of the neighbour's vCPUs before and after the cell, in 1/100 s."""
    board = record.system["board"]
    after = {**board, **record.system["after"]["board"]}
    before_s, after_s = (sum(row["ticks"] for row in each["neighbour_vcpu_threads"]) for each in (board, after))
    return before_s, after_s


def test_every_cell_is_done_beside_the_neighbour_that_it_asks_for(records: dict[str, Record]) -> None:
    assert set(records) == {"none", "quiet", "loud", "loud-shared"}
    for name, record in records.items():
        assert record.status.status == "done", record.status.reason
        assert ("neighbour_running" in record.system["board"]) == (name != "none")
    loads = {name: record.system["board"].get("neighbour_load") for name, record in records.items()}
    every = "runs bitcount filewrite sysbench-fileio loopback"
    assert loads == {"none": None, "quiet": "runs nothing", "loud": every, "loud-shared": every}


def test_a_neighbour_is_a_kvm_guest_of_its_own_on_the_cores_that_its_entry_names(records: dict[str, Record]) -> None:
    for name, core in (("quiet", "0"), ("loud", "0"), ("loud-shared", "1")):
        board = records[name].system["board"]
        (vcpu,) = board["neighbour_vcpu_threads"]
        assert (vcpu["cpus"], vcpu["policy"]) == (core, "other")
        assert {(row["cpus"], row["policy"]) for row in board["neighbour_qemu_threads"]} == {("0", "other")}
        assert board["neighbour_accelerator"] == board["guest_accelerator"] == "kvm"
        assert board["neighbour_argv"] != board["qemu_argv"]
        (measured,) = board["vcpu_threads"]
        assert (measured["cpus"], measured["policy"]) == ("1", "rr")


def test_a_load_had_time_on_its_cores(records: dict[str, Record]) -> None:
    for name in ("loud", "loud-shared"):
        before, after = ticks(records[name])
        assert after > before


def test_the_page_has_a_row_per_neighbour(results: Path) -> None:
    page = (results / "neighbour" / "report" / "index.html").read_text()
    for label in (
        "paper, no neighbour",
        "paper, neighbour quiet",
        "paper, neighbour loud",
        "paper, neighbour loud-shared",
    ):
        assert label in page
    assert "has no caches" in page
