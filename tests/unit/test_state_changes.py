"""What changed on a machine while a cell was measured: what fails the cell, what is noted, and how each is named."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from test_state import SHOWS, board, cells, guest_cell, thread  # noqa: F401 (fixtures)

from rtvirt_runner.machine.state_changes import (
    Changes,
    board_changes,
    changed_facts,
    clock_differences,
    guest_changes,
    thread_differences,
)
from rtvirt_runner.machine.verify_state import typed
from rtvirt_runner.matrix.cell import Cell


def facts(**changes: Any) -> dict[str, Any]:
    """What such a board tells of its conditions, too."""
    known = {
        "boot_id": "a",
        "uptime_s": "100.00",
        "boot_time_s": 1700000000,
        "clocksource": "arch_sys_counter",
        "frequencies": [frequency(core) for core in range(4)],
        "temperatures": [{"zone": "0", "millicelsius": 45000, "name": "cpu-thermal"}],
        "irqs": [{"irq": 24, "cpus": "0", "name": "eth0"}],
    }
    return board(**(known | changes))


def frequency(core: int, **changes: Any) -> dict[str, Any]:
    known = {"governor": "performance", "min_khz": 600000, "max_khz": 1500000, "khz": 1500000}
    return {"core": str(core), **known, **changes}


def frequencies(**changes: Any) -> list[dict[str, Any]]:
    return [frequency(0), frequency(1, **changes), frequency(2), frequency(3)]


def found(cell: Cell, after: dict[str, Any], before: dict[str, Any] | None = None) -> Changes:
    return board_changes(cell, SHOWS, before or facts(), facts(**({"uptime_s": "160.00"} | after)))


def test_a_board_that_stays_as_it_is_has_not_changed(guest_cell: Cell) -> None:  # noqa: F811
    assert found(guest_cell, {}) == Changes()
    assert Changes().reason("board") == ""


@pytest.mark.parametrize(
    ("after", "phrase"),
    [
        ({"boot_id": "b"}, "the board has booted in between"),
        ({"boot_id": ""}, "the number of the boot was a before the cell and nothing after it"),
        ({"uptime_s": "99.50"}, "the uptime of the board was 100.00 s before the cell and 99.50 s after it"),
        ({"clocksource": "jiffies"}, "the clock source was arch_sys_counter before the cell and jiffies after it"),
        ({"online_cpus": "0-2"}, "the list of online cores was 0-3 before the cell and 0-2 after it"),
        ({"realtime": False}, "/sys/kernel/realtime was 1 before the cell and 0 after it"),
        (
            {"frequencies": frequencies(governor="powersave")},
            "the governor of core 1 was performance before the cell and powersave after it",
        ),
        (
            {"frequencies": frequencies(max_khz=600000)},
            "the highest frequency of core 1 was 1500 MHz before the cell and 600 MHz after it",
        ),
        (
            {"vcpu_threads": [thread("CPU 0/KVM"), thread("CPU 1/KVM", cpus="0-3", policy="other", priority=0)]},
            "thread CPU 1/KVM of QEMU was 'rr 99 on 1-2' before the cell and 'other 0 on 0-3' after it",
        ),
        (
            {"qemu_threads": [thread("qemu-system-aar", policy="other", priority=0)]},
            "thread qemu-system-aar of QEMU was 'rr 99 on 1-2' before the cell and 'other 0 on 1-2' after it",
        ),
        (
            {"vcpu_threads": [thread(f"CPU {n}/KVM") | {"tid": 7} for n in (0, 1)]},
            "the guest was started again: its vCPU threads are others",
        ),
        ({"guest_running": "no"}, "no guest is running"),
        ({"isolation_applied": "irqs"}, "irqs still holds, expected it taken back"),
    ],
)
def test_what_invalidates_a_measurement_fails_it(guest_cell: Cell, after: dict[str, Any], phrase: str) -> None:  # noqa: F811
    changes = found(guest_cell, after)
    assert phrase in changes.failures
    assert changes.reason("board").startswith("The board changed during the cell: ")


@pytest.mark.parametrize(
    ("after", "phrase"),
    [
        (
            {"temperatures": [{"zone": "0", "millicelsius": 61200, "name": "cpu-thermal"}]},
            "the temperature of cpu-thermal was 45.0 °C before the cell and 61.2 °C after it",
        ),
        (
            {"frequencies": frequencies(khz=600000)},
            "the frequency of core 1 was 1500 MHz before the cell and 600 MHz after it",
        ),
        ({"smi_count": 3}, "the board had 3 system management interrupts (SMIs)"),
        ({"stolen": [{"core": "1", "ticks": 12}]}, "the board was kept waiting for its cores for 0.12 s (steal time)"),
        ({"boot_time_s": 1700003600}, "the wall clock of the board was set +3600 s"),
        ({"irqs": [{"irq": 24, "cpus": "1", "name": "eth0"}]}, "interrupt 24 (eth0) moved from core 0 to 1"),
    ],
)
def test_how_the_machine_fared_is_noted(guest_cell: Cell, after: dict[str, Any], phrase: str) -> None:  # noqa: F811
    assert found(guest_cell, after) == Changes((), (phrase,))


@pytest.mark.parametrize(
    "after",
    [
        {"temperatures": [{"zone": "0", "millicelsius": 49000, "name": "cpu-thermal"}]},
        {"frequencies": [frequency(0, khz=600000), *frequencies()[1:]]},  # no core of the guest
        {"boot_time_s": 1700000001},  # as its fraction of a second drifts
        {"irqs": [{"irq": 24, "cpus": "3", "name": "eth0"}]},
    ],
)
def test_what_always_moves_a_little_is_not(guest_cell: Cell, after: dict[str, Any]) -> None:  # noqa: F811
    assert found(guest_cell, after) == Changes()


@pytest.mark.parametrize(
    ("before", "after", "phrases"),
    [
        ({"pi_throttled": "0"}, {"pi_throttled": "50005"}, ("its voltage was too low", "it was throttled")),
        ({"pi_throttled": "0x0"}, {"pi_throttled": "0x20000"}, ("its frequency was capped",)),
        ({"pi_throttled": "50000"}, {"pi_throttled": "50000"}, ()),  # before the cell, since it was booted
        ({"pi_throttled": "50004"}, {"pi_throttled": "50000"}, ("it was throttled",)),
        ({"pi_under_voltage": "0"}, {"pi_under_voltage": "1"}, ("its voltage was too low",)),
        (
            {"throttled": [{"core": "1", "count": 2, "of": "core_throttle_count"}]},
            {"throttled": [{"core": "1", "count": 5, "of": "core_throttle_count"}]},
            ("core 1 was throttled 3 times, since it was too hot",),
        ),
        (
            {},
            {"throttled": [{"core": "1", "count": 1, "of": "package_throttle_count"}]},
            ("core 1 was throttled with its package 1 times, since it was too hot",),
        ),
    ],
)
def test_throttling_fails_a_cell_that_asks_for_a_fixed_frequency_and_is_noted_in_others(
    guest_cell: Cell,  # noqa: F811
    before: dict[str, Any],
    after: dict[str, Any],
    phrases: tuple[str, ...],
) -> None:
    asking = replace(guest_cell, settings=(*guest_cell.settings, "governor"))
    fixed = {"settings": [*board()["settings"], {"setting": "governor", "state": "ok"}]}
    assert found(guest_cell, after, facts(**before)) == Changes((), phrases)
    assert found(asking, after | fixed, facts(**before, **fixed)) == Changes(phrases, ())


def test_the_guest_is_compared_too(guest_cell: Cell) -> None:  # noqa: F811
    before = {"online_cpus": "0-1", "boot_id": "g", "uptime_s": "9.00"}
    assert guest_changes(guest_cell, {}, before, before | {"uptime_s": "70.00"}) == Changes()
    later = guest_changes(guest_cell, {}, before, before | {"boot_id": "h"})
    assert later.reason("guest") == "The guest changed during the cell: the guest has booted in between."
    stolen = guest_changes(guest_cell, {}, before, before | {"stolen": [{"core": "0", "ticks": 250}]})
    assert stolen.notes == ("the guest was kept waiting for its cores for 2.50 s (steal time)",)


def look(seen: str, **changes: Any) -> dict[str, Any]:
    return {"seen": seen, "tid": 9, "cpus": "0", "policy": "fifo", "priority": 80} | changes


def test_cyclictests_own_thread_is_as_the_cell_asks(guest_cell: Cell) -> None:  # noqa: F811
    cell = replace(guest_cell, measured_cpu=0, priority=80)
    assert thread_differences(cell, [look("beginning"), look("end")]) == []
    assert thread_differences(cell, []) == ["cyclictest's thread was not read back"]
    assert thread_differences(cell, [look("beginning"), look("end", policy="other", priority=0)]) == [
        "cyclictest's thread was 'other 0 on 0' near its end, expected 'fifo 80 on 0'"
    ]
    assert thread_differences(cell, [look("before", cpus="0-1")]) == [
        "cyclictest's thread was 'fifo 80 on 0-1' just before the cell, expected 'fifo 80 on 0'"
    ]


def test_a_clock_that_jumped_is_named(guest_cell: Cell) -> None:  # noqa: F811
    cell = replace(guest_cell, loops=60_000, interval_us=1000, clock="real")

    def told(began: str, ended: str, measure_s: float | None = 63.0) -> list[str]:
        return clock_differences(cell, {"began_uptime_s": began, "ended_uptime_s": ended}, measure_s)

    assert told("100.00", "160.02") == []
    assert told("100.00", "3760.02", None) == []
    assert told("100.00", "130.00") == ["its clock went back or stood: cyclictest took 30.00 s for loops of 60.00 s"]
    assert told("100.00", "3760.00") == [
        "its clock jumped ahead: cyclictest took 3660.00 s by it and 63.00 s by the clock here"
    ]
    assert told("", "160.00") == ["the machine's uptime was not read back"]


def test_of_the_facts_after_a_cell_those_that_differ_are_kept() -> None:
    before = typed({"uptime_s": "1.0", "clocksource": "tsc", "irqs": [{"irq": "1"}, {"irq": "2"}]})
    after = typed({"uptime_s": "2.0", "clocksource": "tsc", "irqs": [{"irq": "1"}, {"irq": "3"}], "smi_count": "4"})
    assert changed_facts(before, after) == {"uptime_s": "2.0", "irqs": [{"irq": 3}], "smi_count": 4}
    assert changed_facts(after, after) == {}
