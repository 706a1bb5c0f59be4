"""Boards of 32 bits from blank cards: they boot their own way, can be measured, and become fresh again."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from playing import MAKING_LIMIT_S, PLAYBOOKS, on_board, play

from rtvirt_runner.analysis.measurement import read_measurement
from rtvirt_runner.build import artifacts
from rtvirt_runner.matrix.results import Record, ResultsTree

pytestmark = [
    pytest.mark.slow(
        exercises=[
            "roles/board_image",
            "roles/virtual_board",
            "roles/kernel_boot",
            "playbooks/reprovision.yml",
            "playbooks/tasks",
        ]
    ),
    pytest.mark.asserts_on("booting", "cards", "first_contact", "trials", "answers"),
    pytest.mark.xdist_group("reprovision"),
]
SNAPSHOT = (Path(__file__).parent / "reprovision" / "snapshot.sh").read_bytes()
ORANGE_PI, RASPBERRY_PI = "virtual-orangepi", "virtual-rpi2b"
LOOPS = 2000


def matrix(board: str) -> dict[str, Any]:
    """Two cells of one board; isolcpus wants a boot on trial."""
    axes = {
        "board": [board],
        "kernel": ["linux-6.1-rt-armhf"],
        "tuning": ["paper"],
        "split": ["3-1"],
        "place": ["host"],
        "workload": ["idle", "bitcount"],
    }
    return {
        "name": "fresh",
        "cyclictest": {"loops": LOOPS, "interval_us": 1000, "priority": 95, "histogram_us": 20000},
        "splits": {"3-1": {"host_cpus": "0-2", "guest_cpus": "3"}},
        "experiments": {"fresh": {"axes": axes}},
    }


def reprovision(board: str) -> None:
    """The playbook, as a user would call it."""
    said = play(PLAYBOOKS / "reprovision.yml", "-l", board, limit_s=MAKING_LIMIT_S)
    assert "status 0" in said, said


def snapshot(board: str) -> list[str]:
    """The board's effective state, in lines."""
    return on_board(board, "sh -s", SNAPSHOT).splitlines()


@dataclass(frozen=True)
class Fresh:
    """A board as it came up first from a blank card: what it said then, and its state."""

    board: str
    console: str
    state: list[str]


@pytest.fixture(scope="module", params=[ORANGE_PI, RASPBERRY_PI])
def fresh(request: pytest.FixtureRequest) -> Iterator[Fresh]:
    """One board after the other, each from a blank card."""
    board: str = request.param
    reprovision(board)
    log = artifacts.cache_folder() / "boards" / board / "console.log"
    yield Fresh(board, log.read_text(errors="replace"), snapshot(board))
    play(PLAYBOOKS / "reset.yml", "-l", board)


@pytest.fixture(scope="module")
def records(fresh: Fresh, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Record]:
    """A matrix measured on it, by workload."""
    folder = tmp_path_factory.mktemp("fresh")
    (folder / "fresh.yml").write_text(yaml.safe_dump({"matrix": matrix(fresh.board)}))
    results = folder / "results"
    given = {"rtvirt_matrix": str(folder / "fresh.yml"), "rtvirt_results_dir": str(results), "rtvirt_keep_boards": True}
    said = play(PLAYBOOKS / "full_matrix.yml", "-e", json.dumps(given))
    assert "status 0" in said, said
    return {each.cell.workload: each for each in ResultsTree(results).load_records("fresh")}


def test_it_runs_its_real_time_kernel_on_all_of_its_card(fresh: Fresh) -> None:
    said = on_board(fresh.board, "uname -v; df -BM --output=size /; ls /dev/mmcblk0p*; cat /boot/rtvirt/default.env")
    assert "PREEMPT_RT" in said
    assert "/dev/mmcblk0p3" in said  # another root has room beside it
    size = re.search(r"^ *(\d+)M$", said, re.MULTILINE)
    assert size and int(size[1]) > 1700  # half of 4 GiB, but for what ext4 keeps to itself
    assert f"systemd.hostname={fresh.board}" in said


def test_it_boots_as_its_kind_does(fresh: Fresh) -> None:
    chain = {
        ORANGE_PI: [
            "U-Boot SPL 20",
            "Trying to boot from MMC1",
            "U-Boot 20",
            "Model: Xunlong Orange Pi PC",
            "rtvirt: booting linux",
        ],
        RASPBERRY_PI: ["rtvirt: booting kernels/linux-6.1-rt-armhf-"],
    }[fresh.board]
    found = [fresh.console.find(words) for words in chain]
    assert -1 not in found, dict(zip(chain, found, strict=True))
    assert found == sorted(found)
    mode = {ORANGE_PI: "All CPU(s) started in HYP mode", RASPBERRY_PI: "All CPU(s) started in SVC mode"}[fresh.board]
    assert mode in on_board(fresh.board, "dmesg")


@pytest.mark.parametrize("workload", ["idle", "bitcount"])
def test_it_is_measured_after_a_boot_on_trial(records: dict[str, Record], workload: str) -> None:
    measured = read_measurement(records[workload])
    assert measured.reason == ""
    facts: dict[str, Any] = records[workload].system["board"]
    assert (facts["machine"], facts["realtime"], facts["isolated_cpus"]) == ("armv7l", True, "3")


def test_a_used_board_becomes_as_a_fresh_one(fresh: Fresh, records: dict[str, Record]) -> None:
    use = "echo mine >/etc/motd; rm /usr/bin/chrt; touch /boot/mine; echo -1 >/proc/sys/kernel/sched_rt_runtime_us"
    on_board(fresh.board, use)
    seen = {line.split(" ")[-1] for line in fresh.state}
    assert seen > {"./etc/motd", "./usr/bin/chrt", "./boot/rtvirt/default.env", "950000"}
    reprovision(fresh.board)
    assert snapshot(fresh.board) == fresh.state
