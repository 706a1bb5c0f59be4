"""A cell is measured only on a machine that is in the state it asks for; each difference is named."""

from __future__ import annotations

from typing import Any

import pytest
from fakes import catalogue, virtual_lab

from rtvirt_runner import checkout
from rtvirt_runner.matrix import Cell, load_matrix
from rtvirt_runner.state import board_differences, guest_differences, typed

SHOWS = {"realtime": True, "release": "-rt-arm64$"}


@pytest.fixture(scope="module")
def cells() -> list[Cell]:
    return list(load_matrix(checkout.matrix_path("smoke"), virtual_lab(), catalogue()).cells)


@pytest.fixture
def guest_cell(cells: list[Cell]) -> Cell:
    return next(c for c in cells if c.split == "1-2" and c.place == "guest")


def board(**changes: Any) -> dict[str, Any]:
    """What a board reads back for the split 1-2 with the tuning `paper`."""
    threads = [{"tid": "1", "name": f"CPU {n}/KVM", "cpus": "1-2", "policy": "rr", "priority": 99} for n in (0, 1)]
    return {
        "uname_r": "6.12.0-rt-arm64",
        "realtime": True,
        "cmdline": "root=/dev/vda2 isolcpus=1-2",
        "isolated_cpus": "1-2",
        "guest_running": "yes",
        "kvm_held_by_qemu": "yes",
        "vcpu_threads": threads,
    } | changes


def test_right_state_has_no_differences(guest_cell: Cell) -> None:
    assert board_differences(guest_cell, SHOWS, board()) == []


@pytest.mark.parametrize(
    ("change", "phrase"),
    [
        ({"uname_r": "6.12.0-arm64"}, "the board runs kernel 6.12.0-arm64"),
        ({"realtime": False}, "/sys/kernel/realtime is 0, expected 1"),
        ({"cmdline": "root=/dev/vda2"}, "isolcpus=1-2 is not on the kernel's command line"),
        ({"isolated_cpus": "1"}, "the isolated cores are '1', expected '1-2'"),
        ({"guest_running": "no"}, "no guest is running"),
        ({"kvm_held_by_qemu": "no"}, "the guest is not a KVM guest"),
        ({"vcpu_threads": []}, "QEMU has 0 vCPU threads, expected 2"),
        (
            {"vcpu_threads": [dict(t, cpus="0-3") for t in board()["vcpu_threads"]]},
            "thread CPU 0/KVM may run on cores 0-3, expected 1-2",
        ),
        (
            {"vcpu_threads": [dict(t, policy="other", priority=0) for t in board()["vcpu_threads"]]},
            "thread CPU 0/KVM has policy other 0, expected rr 99",
        ),
    ],
)
def test_each_difference_is_named(guest_cell: Cell, change: dict[str, Any], phrase: str) -> None:
    assert phrase in "; ".join(board_differences(guest_cell, SHOWS, board(**change)))


def test_host_cell_is_not_measured_beside_a_guest(cells: list[Cell]) -> None:
    host = next(c for c in cells if c.split == "1-2" and c.place == "host")
    assert board_differences(host, SHOWS, board(guest_running="no")) == []
    assert board_differences(host, SHOWS, board()) == ["a guest is running beside a host measurement"]


def test_untuned_cell_refuses_leftovers_of_a_tuning(cells: list[Cell]) -> None:
    untuned = next(c for c in cells if c.tuning == "none" and c.place == "guest")
    found = board_differences(untuned, SHOWS, board(vcpu_threads=board()["vcpu_threads"][:1]))
    assert found == ["the isolated cores are '1-2', expected ''", "thread CPU 0/KVM has policy rr 99, expected other 0"]


def test_guest_must_have_its_vcpus(guest_cell: Cell) -> None:
    assert guest_differences(guest_cell, {"online_cpus": "0-1"}) == []
    assert guest_differences(guest_cell, {"online_cpus": "0"}) == ["the guest has 1 vCPUs, expected 2"]


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
