"""A cell is measured only on a machine that is in the state it asks for; each difference is named."""

from __future__ import annotations

from typing import Any

import pytest
from fakes import catalogue, virtual_lab

from rtvirt_runner.catalogue import collection
from rtvirt_runner.machine.verify_state import board_differences, guest_differences, typed
from rtvirt_runner.matrix.cell import Cell
from rtvirt_runner.matrix.load import load_matrix

SHOWS = {"realtime": True, "release": "-rt-arm64$"}


@pytest.fixture(scope="module")
def cells() -> list[Cell]:
    return list(load_matrix(collection.matrix_path("smoke"), virtual_lab(), catalogue()).cells)


@pytest.fixture
def guest_cell(cells: list[Cell]) -> Cell:
    return next(c for c in cells if c.split == "1-2" and c.place == "guest" and c.tuning == "paper")


def board(**changes: Any) -> dict[str, Any]:
    """What a board reads back for the split 1-2 with the tuning `paper`."""
    return {
        "uname_r": "6.12.0-rt-arm64",
        "realtime": True,
        "cmdline": "root=/dev/vda2 isolcpus=1-2",
        "online_cpus": "0-3",
        "isolated_cpus": "1-2",
        "settings": [row("isolcpus", "1-2", "1-2", "ok")],
        "isolation_applied": "",
        "guest_running": "yes",
        "kvm_held_by_qemu": "yes",
        "vcpu_threads": [thread(f"CPU {n}/KVM") for n in (0, 1)],
        "qemu_threads": [thread("qemu-system-aar")],
    } | changes


def thread(name: str, cpus: str = "1-2", policy: str = "rr", priority: int = 99) -> dict[str, Any]:
    return {"tid": 1, "name": name, "cpus": cpus, "policy": policy, "priority": priority}


def row(setting: str, wanted: str, found: str, verdict: str) -> dict[str, str]:
    return {"setting": setting, "source": f"/sys/{setting}", "wanted": wanted, "found": found, "state": verdict}


def test_right_state_has_no_differences(guest_cell: Cell) -> None:
    assert board_differences(guest_cell, SHOWS, board()) == []


@pytest.mark.parametrize(
    ("change", "phrase"),
    [
        ({"uname_r": "6.12.0-arm64"}, "the board runs kernel 6.12.0-arm64"),
        ({"realtime": False}, "/sys/kernel/realtime is 0, expected 1"),
        ({"cmdline": "root=/dev/vda2"}, "isolcpus=1-2 is not on the kernel's command line"),
        (
            {"settings": [row("isolcpus", "1-2", "1", "differs")]},
            "isolcpus: /sys/isolcpus is '1', expected '1-2'",
        ),
        (
            {"settings": [row("isolcpus", "1-2", "1", "denied")]},
            "isolcpus: /sys/isolcpus is '1', expected '1-2', and changing it is not permitted",
        ),
        ({"settings": []}, "isolcpus was not read back"),
        ({"isolation_applied": "irqs ksm"}, "irqs still holds, expected it taken back; ksm still holds"),
        ({"guest_running": "no"}, "no guest is running"),
        ({"kvm_held_by_qemu": "no"}, "the guest is not a KVM guest"),
        ({"vcpu_threads": []}, "QEMU has 0 vCPU threads, expected 2"),
        (
            {"vcpu_threads": [thread("CPU 0/KVM", cpus="0-3"), thread("CPU 1/KVM")]},
            "thread CPU 0/KVM (1) is 'rr 99 on 0-3', expected 'rr 99 on 1-2'",
        ),
        (
            {"qemu_threads": [thread("worker", policy="other", priority=0)]},
            "thread worker (1) is 'other 0 on 1-2', expected 'rr 99 on 1-2'",
        ),
    ],
)
def test_each_difference_is_named(guest_cell: Cell, change: dict[str, Any], phrase: str) -> None:
    assert phrase in "; ".join(board_differences(guest_cell, SHOWS, board(**change)))


def test_what_a_machine_does_not_have_is_no_difference(guest_cell: Cell) -> None:
    rows = [row("isolcpus", "1-2", "", "absent"), row("isolcpus", "0", "0-3", "fixed")]
    assert board_differences(guest_cell, SHOWS, board(settings=rows)) == []


def test_an_emulated_guest_need_not_hold_kvm(guest_cell: Cell) -> None:
    emulated = board(kvm_held_by_qemu="no", guest_accelerator="tcg")
    assert board_differences(guest_cell, SHOWS, emulated) == []


def test_host_cell_is_not_measured_beside_a_guest(cells: list[Cell]) -> None:
    host = next(c for c in cells if c.split == "1-2" and c.place == "host" and c.tuning == "paper")
    assert board_differences(host, SHOWS, board(guest_running="no")) == []
    assert board_differences(host, SHOWS, board()) == ["a guest is running beside a host measurement"]


def test_untuned_cell_refuses_leftovers_of_a_tuning(cells: list[Cell]) -> None:
    untuned = next(c for c in cells if c.tuning == "none" and c.place == "guest")
    found = board_differences(untuned, SHOWS, board(vcpu_threads=[thread("CPU 0/KVM")], qemu_threads=[]))
    assert found == [
        "the isolated cores are '1-2', expected none",
        "qemu_threads: thread CPU 0/KVM (1) is 'rr 99 on 1-2', expected 'other 0 on 0-3'",
    ]


def test_guest_must_have_its_vcpus(guest_cell: Cell) -> None:
    assert guest_differences(guest_cell, {}, {"online_cpus": "0-1"}) == []
    assert guest_differences(guest_cell, {}, {"online_cpus": "0"}) == ["the guest has 1 vCPUs, expected 2"]


def test_guest_must_run_its_kernel(guest_cell: Cell) -> None:
    small = {"realtime": True, "release": r"^6\.1\.[0-9]+-rt[0-9]+-[0-9a-f]{8}$"}
    found = {"online_cpus": "0-1", "uname_r": "6.1.176-rt64-4873c486", "realtime": True}
    assert guest_differences(guest_cell, small, found) == []
    assert guest_differences(guest_cell, SHOWS, found) == [
        "the guest runs kernel 6.1.176-rt64-4873c486, expected one that matches -rt-arm64$"
    ]
    assert guest_differences(guest_cell, small, found | {"realtime": False}) == [
        "/sys/kernel/realtime is 0, expected 1"
    ]


def test_facts_get_the_types_that_they_mean() -> None:
    facts = {
        "uname_r": "6.12",
        "realtime": "1",
        "rt_runtime_us": "-1",
        "qemu_argv": "qemu -smp 1",
        "vcpu_threads": [{"tid": "7", "priority": "99", "cpus": "1"}],
    }
    assert typed(facts) == {
        "uname_r": "6.12",
        "realtime": True,
        "rt_runtime_us": -1,
        "qemu_argv": ["qemu", "-smp", "1"],
        "vcpu_threads": [{"tid": 7, "priority": 99, "cpus": "1"}],
    }


def test_kernel_without_the_file_is_not_real_time() -> None:
    assert typed({"uname_r": "6.12"})["realtime"] is False
