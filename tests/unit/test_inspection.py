"""QEMU's threads against the placement that a tuning wants."""

from __future__ import annotations

from typing import Any

import pytest

from rtvirt_runner.machine.settings_readback import Row, setting_rows, thread_rows

THREADS = {"mode": "threads", "cpus": "1-2", "others_cpus": "0,3", "policy": "fifo", "priority": 1}
PROCESS = {"mode": "process", "cpus": "1-2", "policy": "rr", "priority": 99}


def thread(name: str, cpus: str, policy: str = "other", priority: Any = 0, **more: Any) -> dict[str, Any]:
    return {"tid": 411, "name": name, "cpus": cpus, "policy": policy, "priority": priority, **more}


VCPUS = [thread("CPU 0/KVM", "1", "fifo", 1), thread("CPU 1/KVM", "2", "fifo", 1)]
OTHERS = [thread("qemu-system-aar", "0,3")]


def states(*args: Any) -> list[str]:
    return [row.state for row in thread_rows(*args)]


def test_each_vcpu_belongs_on_a_core_of_its_own_and_the_others_on_the_hosts() -> None:
    assert thread_rows(THREADS, VCPUS, OTHERS) == [
        Row("vcpu_threads", "thread CPU 0/KVM (411)", "fifo 1 on 1", "fifo 1 on 1", "ok"),
        Row("vcpu_threads", "thread CPU 1/KVM (411)", "fifo 1 on 2", "fifo 1 on 2", "ok"),
        Row("vcpu_threads", "thread qemu-system-aar (411)", "other 0 on 0,3", "other 0 on 0,3", "ok"),
    ]


@pytest.mark.parametrize(
    ("vcpus", "others", "expected"),
    [
        ([VCPUS[0], thread("CPU 1/KVM", "1", "fifo", 1)], OTHERS, ["ok", "differs", "ok"]),
        ([VCPUS[0], thread("CPU 1/KVM", "2", "rr", 1)], OTHERS, ["ok", "differs", "ok"]),
        ([VCPUS[0], thread("CPU 1/KVM", "2", "fifo", 2)], OTHERS, ["ok", "differs", "ok"]),
        (VCPUS, [thread("worker", "1-2")], ["ok", "ok", "differs"]),
        (VCPUS, [thread("worker", "0,3", "fifo", 1)], ["ok", "ok", "differs"]),
        (VCPUS[:1], OTHERS, ["ok", "differs", "ok"]),  # a vCPU thread that died
        ([*VCPUS, thread("CPU 2/KVM", "3", "fifo", 1)], OTHERS, ["ok", "ok", "differs", "ok"]),
        (VCPUS, [thread("worker", "garbled")], ["ok", "ok", "differs"]),
    ],
)
def test_one_thread_out_of_place_is_found(
    vcpus: list[dict[str, Any]], others: list[dict[str, Any]], expected: list[str]
) -> None:
    assert states(THREADS, vcpus, others) == expected


def test_a_vcpu_is_known_by_what_the_monitor_told_then_by_its_name_then_by_its_place() -> None:
    told = [thread("CPU 0/KVM", "2", "fifo", 1, vcpu="1"), thread("CPU 1/KVM", "1", "fifo", 1, vcpu="0")]
    assert states(THREADS, told, []) == ["ok", "ok"]
    assert states(THREADS, VCPUS[::-1], []) == ["ok", "ok"]
    unnamed = [dict(each, name="qemu") for each in VCPUS]
    assert states(THREADS, unnamed, []) == ["ok", "ok"]
    assert states(THREADS, unnamed[::-1], []) == ["differs", "differs"]


def test_words_that_came_as_text_are_the_same_numbers() -> None:
    assert states(THREADS, [dict(each, priority="1", tid="411") for each in VCPUS], OTHERS) == ["ok", "ok", "ok"]


def test_the_paper_puts_the_whole_process_on_the_guests_cores() -> None:
    rows = thread_rows(
        PROCESS, [thread("CPU 0/KVM", "1-2", "rr", 99), thread("CPU 1/KVM", "1,2", "rr", 99)], [thread("q", "0-3")]
    )
    assert [(row.setting, row.state) for row in rows] == [
        ("qemu_process", "ok"),
        ("qemu_process", "ok"),
        ("qemu_process", "differs"),
    ]
    assert (rows[2].wanted, rows[2].found) == ("rr 99 on 1-2", "other 0 on 0-3")


def test_without_placement_no_thread_has_priority_or_a_core_of_its_own() -> None:
    everywhere = [thread("CPU 0/KVM", "0-3")]
    assert states({"mode": "none"}, everywhere, OTHERS) == ["ok", "ok"]
    assert states({"mode": "none"}, everywhere, OTHERS, "0-3") == ["ok", "differs"]
    assert states({"mode": "none"}, VCPUS, []) == ["differs", "differs"]
    assert states({}, everywhere, []) == ["ok"]


def test_rows_of_a_machines_settings_are_taken_over() -> None:
    found = {"setting": "irqs", "source": "/proc/irq/5", "wanted": "0", "found": "0-1", "state": "differs"}
    assert setting_rows([found]) == [Row("irqs", "/proc/irq/5", "0", "0-1", "differs")]
    assert setting_rows([{"setting": "ksm", "state": "absent"}]) == [Row("ksm", "", "", "", "absent")]
