"""Boards of 32 bits from blank cards: they boot their own way, can be measured, and become fresh again."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml
from playing import PLAYBOOKS, on_board, play

from rtvirt_runner import artifacts
from rtvirt_runner.results import Record, ResultsTree
from rtvirt_runner.tables import read_measurement

HERE = Path(__file__).parent / "reprovision"
BOARDS = ["virtual-orangepi", "virtual-rpi2b"]
MATRIX = {
    "name": "fresh",
    "title": "Fresh boards",
    "cyclictest": {"loops": 2000, "interval_us": 1000, "priority": 95, "histogram_us": 20000},
    "splits": {"3-1": {"host_cpus": "0-2", "guest_cpus": "3"}},
    "experiments": {
        "fresh": {
            "axes": {
                "board": ["virtual_boards_armhf"],
                "kernel": ["linux-6.1-rt-armhf"],
                "tuning": ["paper"],  # isolcpus: a boot on trial
                "split": ["3-1"],
                "place": ["host"],
                "workload": ["idle", "bitcount"],
            },
        }
    },
}


def reprovision(boards: str) -> None:
    """The playbook, as a user would call it."""
    said = play(PLAYBOOKS / "reprovision.yml", "-l", boards)
    assert "status 0" in said, said


def console(board: str) -> str:
    return (artifacts.cache_folder() / "boards" / board / "console.log").read_text(errors="replace")


def snapshot(board: str) -> list[str]:
    return on_board(board, "sh -s", (HERE / "snapshot.sh").read_bytes()).splitlines()


@pytest.fixture(scope="module")
def fresh() -> dict[str, list[str]]:
    """Each board from a blank card, and its state."""
    reprovision(",".join(BOARDS))
    return {board: snapshot(board) for board in BOARDS}


@pytest.fixture(scope="module")
def records(fresh: dict[str, list[str]], tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], Record]:
    """A matrix measured on them, by board and workload."""
    folder = tmp_path_factory.mktemp("fresh")
    (folder / "fresh.yml").write_text(yaml.safe_dump({"matrix": MATRIX}))
    given = {
        "rtvirt_matrix": str(folder / "fresh.yml"),
        "rtvirt_results_dir": str(folder / "results"),
        "rtvirt_keep_boards": True,
    }
    said = play(PLAYBOOKS / "full_matrix.yml", "-e", json.dumps(given))
    assert "status 0" in said, said
    records = ResultsTree(folder / "results").load_records("fresh")
    return {(each.cell.board, each.cell.workload): each for each in records}


@pytest.mark.parametrize("board", BOARDS)
def test_a_fresh_board_runs_its_real_time_kernel_on_all_of_its_card(board: str, fresh: dict[str, list[str]]) -> None:
    said = on_board(board, "uname -v; dmesg; df -BM --output=size /; ls /dev/mmcblk0p*; cat /boot/rtvirt/default.env")
    assert "PREEMPT_RT" in said
    assert "/dev/mmcblk0p3" in said  # room for another root
    size = re.search(r"^ *(\d+)M$", said, re.MULTILINE)
    assert size and int(size[1]) > 1700  # of 4 GiB
    assert f"systemd.hostname={board}" in said


def test_the_orange_pi_boots_by_its_own_chain_into_hyp_mode(fresh: dict[str, list[str]]) -> None:
    boot = console("virtual-orangepi")
    chain = [
        "U-Boot SPL 20",
        "Trying to boot from MMC1",
        "U-Boot 20",
        "Model: Xunlong Orange Pi PC",
        "rtvirt: booting linux-6.1-rt-armhf (default)",
    ]
    found = [boot.find(words) for words in chain]
    assert -1 not in found, dict(zip(chain, found, strict=True))
    assert found == sorted(found)
    assert "All CPU(s) started in HYP mode" in on_board("virtual-orangepi", "dmesg")


def test_the_raspberry_pi_starts_what_its_card_says(fresh: dict[str, list[str]]) -> None:
    assert re.match(r"rtvirt: booting kernels/linux-6.1-rt-armhf-\w{8}/vmlinuz \(default\)", console("virtual-rpi2b"))
    said = on_board("virtual-rpi2b", "cat /proc/device-tree/model /boot/config.txt")
    assert "Raspberry Pi 2 Model B" in said
    assert "kernel=kernels/linux-6.1-rt-armhf-" in said
    assert "device_tree=kernels/linux-6.1-rt-armhf-" in said


@pytest.mark.parametrize("workload", ["idle", "bitcount"])
@pytest.mark.parametrize("board", BOARDS)
def test_it_is_measured_after_a_boot_on_trial(
    board: str, workload: str, records: dict[tuple[str, str], Record]
) -> None:
    record = records[board, workload]
    measured = read_measurement(record)
    assert measured.reason == ""
    assert sum(measured.histogram.values()) == 2000
    facts = record.system["board"]
    assert facts["machine"] == "armv7l"
    assert facts["realtime"] == "1"
    assert facts["isolated_cpus"] == "3"


def test_a_used_board_becomes_as_a_fresh_one(
    fresh: dict[str, list[str]], records: dict[tuple[str, str], Record]
) -> None:
    board = "virtual-orangepi"
    on_board(board, "echo mine >/etc/motd; rm /usr/bin/chrt; touch /boot/mine; sysctl -q kernel.sched_rt_runtime_us=-1")
    assert snapshot(board) != fresh[board]
    reprovision(board)
    assert snapshot(board) == fresh[board]
