"""Host and guest measured at the same time, on a sealed machine and over SSH, with stalls of a known side."""

from __future__ import annotations

import shutil
from typing import Any

import pytest
import yaml
from playing import SCRIPTS, count_boot, owned, run

from rtvirt_runner.analysis.measurement import Measurement, read_measurement
from rtvirt_runner.analysis.splits import Splits, split_wakeups
from rtvirt_runner.catalogue import collection
from rtvirt_runner.matrix.results import ResultsTree

pytestmark = [
    pytest.mark.slow(
        exercises=[
            "playbooks/tasks/sealed_record.yml",
            "plugins/action/measure_cell.py",
            "roles/measure/files/clock_edges.sh",
            "roles/measure/files/clock_offset.sh",
            "roles/measure/files/end_host_cyclictest.sh",
            "roles/measure/files/start_host_cyclictest.sh",
            "rtvirt_runner/analysis/splits.py",
            "rtvirt_runner/machine/sealed_queue.py",
            "rtvirt_runner/matrix/host_thread.py",
            "rtvirt_runner/report/both_sections.py",
        ]
    ),
    pytest.mark.asserts_on("answers"),
    pytest.mark.xdist_group("virtual lab"),  # its boards' folders
]
# Two threads run on the vCPU's core for milliseconds: one comes before the host's cyclictest, the other only before
# the vCPU, and runs longer.
STALL = (
    "chrt -f {priority} taskset -c 1 sh -c "
    "'while :; do sleep {pause}; n=0; while [ $n -lt {rounds} ]; do n=$((n + 1)); done; done'"
)
LOAD = " & ".join(
    [
        STALL.format(priority=99, pause=0.211, rounds=60),
        STALL.format(priority=50, pause=0.307, rounds=400),
        "wait",
    ]
)
MATRIX: dict[str, Any] = {
    "name": "both",
    "title": "Host and guest at the same time",
    "cyclictest": {"loops": 4000, "interval_us": 1000, "priority": 95, "histogram_us": 50000, "late_us": 1000},
    "both": {"host_cpu": "vcpu", "interval_us": 500, "late_us": 300},
    "splits": {"1-1": {"host_cpus": "0", "guest_cpus": "1"}},
    "experiments": {
        "stalls": {
            "title": "Stalls of the host, and of the vCPU alone",
            "axes": {
                "board": ["virtual-cb2"],
                "kernel": ["debian-rt"],
                "tuning": ["full"],
                "split": ["1-1"],
                "place": ["both"],
                "guest": ["minimal"],
                "workload": ["stalls"],
            },
        }
    },
}


@pytest.fixture(scope="module", params=["sealed", "over SSH"])
def way(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def results(way: str, tmp_path_factory: pytest.TempPathFactory) -> ResultsTree:
    folder = tmp_path_factory.mktemp("both")
    shutil.copytree(collection.ROOT / "inventory" / "virtual", folder / "lab")
    stalls = {"stalls": {"title": "idle, while two threads stall the vCPU's core", "board_command": LOAD}}
    with (folder / "lab" / "group_vars" / "all.yml").open("a") as stream:
        yaml.safe_dump({"rtvirt_lab_workloads": stalls}, stream)
    (folder / "both.yml").write_text(yaml.safe_dump({"matrix": MATRIX}))
    environment = {name: value for name, value in owned().items() if name != "RTVIRT_OWNER_PID"}
    command = [SCRIPTS / "rtvirt", "matrix", "-i", folder / "lab", "--matrix", folder / "both.yml"]
    if way == "sealed":
        count_boot("sealed")
    else:
        command.append("--over-ssh")
    said = run([*command, "--results", folder / "results"], environment, 1800)
    assert "status 0" in said, said
    return ResultsTree(folder / "results")


@pytest.fixture(scope="module")
def measured(results: ResultsTree) -> Measurement:
    (record,) = results.load_records("both")
    assert record.status.status == "done", record.status.reason
    return read_measurement(record)


@pytest.fixture(scope="module")
def splits(measured: Measurement) -> Splits:
    return split_wakeups(measured)


def test_both_sides_were_measured_and_read_back(way: str, measured: Measurement) -> None:
    assert bool(measured.sealed) == (way == "sealed") and measured.host
    system = measured.record.system
    rows = [*system["board"]["cyclictest"], *system["after"]["board"]["cyclictest"]]
    assert [(row["seen"], row["cpus"], row["policy"], row["priority"]) for row in rows] == [
        ("before", "1", "fifo", 95),
        ("after", "1", "fifo", 95),
    ]
    assert measured.host.histogram.samples * 500 > 4000 * 1000 / 2


def test_the_clocks_are_related(splits: Splits) -> None:
    assert splits.reason == ""
    assert 0 < splits.width_us < 4000  # a look at the clock takes a shell on an emulated board two milliseconds


def test_each_stall_is_of_the_side_that_made_it(splits: Splits) -> None:
    told = [each for each in splits.splits if each.side]
    assert {each.side for each in told} == {"host", "virtualization"}
    # the stall of the vCPU alone takes three times as long
    longest = max(each.wakeup.latency_us for each in told if each.side == "virtualization")
    assert longest > 2 * max(each.wakeup.latency_us for each in told if each.side == "host")


def test_the_page_shows_it_and_compares_it_with_nothing(results: ResultsTree) -> None:
    page = (results.root / "both" / "report" / "index.html").read_text()
    assert "Host and guest at the same time: virtual-cb2, split 1-1" in page
    assert "virtualization added" in page
    assert 'id="host-guest"' not in page
