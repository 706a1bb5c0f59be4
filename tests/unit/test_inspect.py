"""``rtvirt inspect``: wanted and found of a board, of QEMU's threads, and of the inside of a guest."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fakes import setting_items
from rich.console import Console

from rtvirt_runner.cli import inspect as cli_inspect
from rtvirt_runner.cli import main as cli
from rtvirt_runner.cli.inspect import all_as_wanted, folded, groups, inspection_table, summary
from rtvirt_runner.machine.settings_readback import Row
from rtvirt_runner.run.playbooks import Outcome
from rtvirt_runner.run.progress import Failure

IRQ = {"setting": "irqs", "wanted": "0", "found": "0", "state": "ok"}
VCPU = {"tid": "412", "name": "CPU 0/KVM", "cpus": "1", "policy": "fifo", "priority": "1"}
MAIN = {"tid": "411", "name": "qemu-system-aar", "cpus": "0", "policy": "other", "priority": "0"}


def irqs(count: int = 3) -> list[dict[str, str]]:
    return [IRQ | {"source": f"/proc/irq/{number}/smp_affinity_list"} for number in range(10, 10 + count)]


def state(guest: dict[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
    """What the playbook hands over for a board with a guest, all of it as wanted."""
    facts = {
        "uname_r": "6.12.0-rt-arm64",
        "realtime": "1",
        "online_cpus": "0-1",
        "isolation_wanted_settings": "irqs governor",
        "isolation_host_cpus": "0",
        "isolation_guest_cpus": "1",
        "isolation_applied": "irqs",
        "settings": [*irqs(), {"setting": "governor", "source": "/sys/x", "wanted": "performance", "state": "absent"}],
        "guest_running": "yes",
        "guest_accelerator": "kvm",
        "guest_placement_mode": "threads",
        "guest_placement_cpus": "1",
        "guest_placement_others_cpus": "0",
        "guest_placement_policy": "fifo",
        "guest_placement_priority": "1",
        "guest_memory_mib": "256",
        "guest_memory_lock": "yes",
        "guest_huge_pages": "no",
        "qemu_locked_kib": "300000",
        "vcpu_threads": [VCPU],
        "qemu_threads": [MAIN],
    }
    return {"board": "virtual-cb2", "facts": facts | changes, "guest": guest or {}}


def shown(given: dict[str, Any], everything: bool = False) -> list[list[str]]:
    """The table's lines as cells."""
    console = Console(file=io.StringIO(), width=200)
    console.print(inspection_table(given, everything))
    assert isinstance(console.file, io.StringIO)
    lines = console.file.getvalue().splitlines()
    return [[cell.strip() for cell in line.strip("│").split("│")] for line in lines if line.startswith("│")]


def wrong(given: dict[str, Any]) -> list[Row]:
    return [row for group in groups(given) for row in group.rows if row.state == "differs"]


def test_a_board_as_wanted_is_told_in_a_line_per_setting() -> None:
    lines = shown(state())
    assert ["irqs", "/proc/irq/…/smp_affinity_list", "0", "3 of 3: 0", "ok"] in lines
    assert ["governor", "/sys/x", "performance", "–", "not applicable"] in lines
    assert ["vcpu_threads", "thread CPU 0/KVM (412)", "fifo 1 on 1", "fifo 1 on 1", "ok"] in lines
    assert ["memory_lock", "VmLck of QEMU, KiB", "262144 or more", "300000", "ok"] in lines
    assert summary(state()) == "virtual-cb2: all as wanted, 7 items, 1 not applicable"
    assert all_as_wanted(state())


def test_all_folds_nothing() -> None:
    lines = shown(state(), everything=True)
    assert len([line for line in lines if line[0] == "irqs"]) == 3


def test_what_differs_stands_alone_with_its_source() -> None:
    moved = irqs()
    moved[1] |= {"found": "0-1", "state": "differs"}
    given = state(settings=moved, isolation_wanted_settings="irqs")
    assert ["irqs", "/proc/irq/11/smp_affinity_list", "0", "0-1", "differs"] in shown(given)
    assert ["irqs", "/proc/irq/…/smp_affinity_list", "0", "2 of 3: 0", "ok"] in shown(given)
    assert summary(given) == "virtual-cb2: 1 of 6 items is not as wanted"
    assert not all_as_wanted(given)


@pytest.mark.parametrize(
    ("changes", "setting", "found"),
    [
        ({"vcpu_threads": [VCPU | {"cpus": "0"}]}, "vcpu_threads", "fifo 1 on 0"),
        ({"vcpu_threads": []}, "vcpu_threads", "none"),
        ({"qemu_threads": [MAIN | {"policy": "fifo", "priority": "1"}]}, "vcpu_threads", "fifo 1 on 0"),
        ({"qemu_locked_kib": "64"}, "memory_lock", "64"),
        ({"guest_running": "no"}, "guest", "not running"),
        ({"isolation_wanted_settings": "irqs governor ksm"}, "ksm", "not read back"),
        ({"isolation_applied": "irqs swap"}, "swap", "still set"),
    ],
)
def test_one_broken_thing_goes_red(changes: dict[str, Any], setting: str, found: str) -> None:
    assert [(row.setting, row.found) for row in wrong(state(**changes))] == [(setting, found)]


def test_a_guest_that_does_not_answer_goes_red() -> None:
    given = state() | {"guest": None}
    assert [(row.source, row.found) for row in wrong(given)] == [("SSH", "none")]


def test_the_paper_and_an_untuned_guest_are_as_wanted_too() -> None:
    both = [VCPU | {"policy": "rr", "priority": "99"}], [MAIN | {"cpus": "1", "policy": "rr", "priority": "99"}]
    paper = {"guest_placement_mode": "process", "guest_placement_policy": "rr", "guest_placement_priority": "99"}
    assert all_as_wanted(state(vcpu_threads=both[0], qemu_threads=both[1], **paper))
    anywhere = {"cpus": "0-1", "policy": "other", "priority": "0"}
    none = {"guest_placement_mode": "none", "vcpu_threads": [VCPU | anywhere], "qemu_threads": [MAIN | anywhere]}
    assert all_as_wanted(state(**none))
    assert not all_as_wanted(state(guest_placement_mode="none"))


def test_the_inside_of_a_partitioned_guest_is_a_group_of_its_own() -> None:
    inside = {"settings": setting_items(["ksm"]), "isolation_wanted_settings": "ksm"}
    titles = [group.title for group in groups(state(guest=inside))]
    assert titles == ["board", "QEMU", "inside the guest"]


def test_an_emulated_guest_is_called_one() -> None:
    assert ["QEMU (the guest is emulated, not KVM)", "", "", "", ""] in shown(state(guest_accelerator="tcg"))


def test_a_board_of_which_nothing_is_wanted_is_told_so() -> None:
    given = {"board": "pi", "facts": {"guest_running": "no", "uname_r": "6.1"}, "guest": None}
    assert summary(given) == "pi: nothing is wanted of it, and no guest runs"
    assert all_as_wanted(given)


def test_items_that_the_kernel_keeps_are_no_fault() -> None:
    given = state(settings=[*irqs(), IRQ | {"source": "/proc/irq/9", "found": "0-1", "state": "fixed"}])
    assert not [row for row in wrong(given) if row.setting == "irqs"]
    assert ["irqs", "/proc/irq/9", "0", "1 of 4: 0-1", "fixed by the kernel"] in shown(given)


@pytest.mark.parametrize(
    ("verdict", "told"),
    [({"state": "denied"}, "permission denied"), ({"state": "no_tool", "tool": "taskset"}, "tool missing: taskset")],
)
def test_items_that_could_not_be_changed_are_a_fault_with_a_reason(verdict: dict[str, str], told: str) -> None:
    moved = [{**each, **verdict, "found": "0-1"} for each in irqs(2)]
    given = state(settings=[*irqs(4)[2:], *moved], isolation_wanted_settings="irqs")
    assert ["irqs", "/proc/irq/…/smp_affinity_list", "0", "2 of 4: 0-1", told] in shown(given)
    assert not all_as_wanted(given)
    assert summary(given).endswith("2 of 7 items are not as wanted")


def test_folding_keeps_what_the_values_were_when_they_are_many() -> None:
    rows = [Row("irqs", f"/proc/irq/{n}", "0-3", str(n), "ok") for n in range(3)]
    assert folded(rows) == [Row("irqs", "/proc/irq/…", "0-3", "3 of 3: several", "ok")]


# ------------------------------------------------------------------------------------------------------- the command


@pytest.fixture
def inspect(monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """``inspect(state, *words)``: the command on a lab of one board, which answers with this state."""
    monkeypatch.setattr(cli, "read_inventory", lambda path: ({"boards": ["virtual-cb2"]}, {}))

    def run(answer: dict[str, Any], *words: str) -> int:
        failures = () if answer else (Failure("virtual-cb2", "Read the board's state", "it is off"),)
        outcome = Outcome(bool(answer), False, (), failures, (), Path("run.log"))
        monkeypatch.setattr(cli_inspect, "read_state", lambda board, inventory: (outcome, answer))
        return cli.main(["inspect", *words])

    return run


def test_the_exit_code_is_the_verdict(inspect: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    assert inspect(state(), "virtual-cb2") == 0
    told = capsys.readouterr().out
    assert "virtual-cb2: 6.12.0-rt-arm64, PREEMPT_RT, cores 0 for the host, 1 for the guest" in told
    assert "differs" not in told
    assert inspect(state(guest_running="no"), "virtual-cb2", "--all") == 1


def test_an_unknown_board_is_answered_with_the_known_ones(
    inspect: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert inspect(state(), "virtual-cb3", "-i", "lab") == 2
    assert capsys.readouterr().err == (
        "rtvirt: lab: unknown board 'virtual-cb3', expected one of virtual-cb2; did you mean 'virtual-cb2'?\n"
    )


def test_a_board_that_does_not_answer_is_a_failure_with_its_reason(
    inspect: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    assert inspect({}, "virtual-cb2") == 1
    assert "failed on virtual-cb2: it is off" in capsys.readouterr().err
