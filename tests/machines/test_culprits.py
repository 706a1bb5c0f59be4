"""Wake-ups of a guest that are late on purpose, each by another culprit: which side, who, and for how long."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest
import yaml
from culprits import ROGUE_US, lab_with
from playing import SCRIPTS, count_boot, owned, run

from rtvirt_runner.analysis.late.clocks import ClockSample
from rtvirt_runner.analysis.late.ptp import clock_samples
from rtvirt_runner.analysis.late.recording import Recording
from rtvirt_runner.catalogue import collection
from rtvirt_runner.matrix.cell import Cell
from rtvirt_runner.matrix.results import ResultsTree
from rtvirt_runner.matrix.trace_files import FILES, RTLA_FILE, TRACE_FILE
from rtvirt_runner.parsers.ftrace import Switch

pytestmark = [
    pytest.mark.slow(
        exercises=[
            "playbooks/tasks/trace_sealed.yml",
            "plugins/action/store_trace.py",
            "rtvirt_runner/analysis/late",
            "rtvirt_runner/machine/trace_script.py",
            "rtvirt_runner/parsers/ftrace.py",
        ]
    ),
    pytest.mark.asserts_on("answers"),
    pytest.mark.xdist_group("virtual lab"),  # its boards' folders
]
# A tracer of the kernel's that has interrupts off on core 1 for 2 ms, to see whether anybody takes the core even then.
HWLAT = """\
cd /sys/kernel/debug/tracing && echo 2 >tracing_cpumask && cd hwlat_detector && echo 2000 >width &&
echo 70300 >window && echo hwlat >../current_tracer && exec sleep 100000
"""
WORKLOADS = {
    "beside": {
        "title": "a thread of the board on the vCPU's core",
        "sources": ["rogue.c"],
        "board_command": "chrt -f 60 taskset -c 1 rtvirt-beside",
    },
    "flood": {"title": "interrupts on the vCPU's core", "sources": ["flood.c"], "board_command": "rtvirt-flood"},
    "hwlat": {"title": "interrupts off", "board_command": " ".join(HWLAT.split())},
    "reader": {"title": "reads of a disk", "sources": ["reader.c"], "command": "rtvirt-reader"},
}


def experiment(workload: str, trace: object, tuning: str, **other: list[str]) -> dict[str, Any]:
    axes = {"board": ["virtual-cb2"], "kernel": ["debian-rt"], "tuning": [tuning], "split": ["1-1"]}
    axes |= {"place": ["guest"], "guest": ["minimal"], "workload": [workload], **other}
    return {"title": workload, "trace": trace, "axes": axes}


MATRIX = {
    "name": "culprits",
    "title": "Wake-ups that are late on purpose",
    "cyclictest": {"loops": 1000, "interval_us": 1000, "priority": 95, "histogram_us": 20000},
    "splits": {"1-1": {"host_cpus": "0", "guest_cpus": "1"}},
    "experiments": {
        "beside": experiment("beside", {"threshold_us": 2000}, "full"),
        "flood": experiment("flood", {"threshold_us": 400}, "full"),
        "reader": experiment("reader", {"threshold_us": 1500}, "paper"),
        "gic": experiment("idle", "auto", "full", board=["virtual-rpi2"]),
        "hwlat": experiment("hwlat", {"threshold_us": 1000}, "none", place=["host"]),
    },
}


@dataclass(frozen=True)
class Stored:
    """What is stored of a trace."""

    folder: Path

    @cached_property
    def numbers(self) -> dict[str, Any]:
        content: dict[str, Any] = json.loads((self.folder / TRACE_FILE).read_text())
        return content

    @property
    def causes(self) -> list[tuple[str, str, str, float]]:
        """Side, cause, who and us of each, the greatest first."""
        found = self.numbers["explanation"]["causes"]
        return [(each["side"], each["cause"], each["who"], each["us"]) for each in found]

    def recording(self) -> Recording:
        """Without the samples of PTP_KVM."""
        cell = Cell.from_dict(json.loads((self.folder / "cell.json").read_text()))
        texts = {side: path.read_text() for side, name in FILES.items() if (path := self.folder / name).exists()}
        board = json.loads((self.folder / "system.json").read_text())["board"]
        rang = self.numbers["told"]["ended"]["host"]["trace_stopped"] == "yes"
        return Recording(cell, texts, self.numbers["break_us"], board, bell=rang)

    def samples(self) -> tuple[ClockSample, ...]:
        told = self.numbers["told"]
        board = told["begun"]["host"]["clocks"] + told["ended"]["host"]["clocks"]
        return clock_samples(board, told["begun"]["guest"]["ptp"] + told["broke"]["ptp"])


@pytest.fixture(scope="module")
def traces(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Stored]:
    """The trace of each workload's cell."""
    folder = tmp_path_factory.mktemp("culprits")
    lab, tree = lab_with(folder, WORKLOADS, collection.VIRTUAL_LAB), ResultsTree(folder / "results")
    (folder / "culprits.yml").write_text(yaml.safe_dump({"matrix": MATRIX}))
    environment = {name: value for name, value in owned().items() if name != "RTVIRT_OWNER_PID"}
    given: list[str | Path] = ["--matrix", folder / "culprits.yml", "-i", lab, "--results", tree.root]
    for _ in range(10):
        count_boot("sealed")
    said = run([SCRIPTS / "rtvirt", "matrix", *given], environment, 3000)
    assert "status 0" in said, said
    made = tree.traces("culprits")
    return {record.cell.workload: Stored(made[record.cell.id][0]) for record in tree.load_records("culprits")}


def left_us(stored: Stored, comm: str) -> float:
    """How long the rogue still had the core of the vCPU, which it took on the board, when the wake-up was due."""
    found = replace(stored.recording(), samples=stored.samples()).explain()
    due = found.explanation.wakeup.due_ns  # on the board's clock
    events = found.traces["host"].events
    began = max(
        event.at_ns
        for event in events
        if isinstance(event.body, Switch) and event.body.next_comm == comm and event.at_ns < due + ROGUE_US * 1000
    )
    return ROGUE_US - max(0, due - began) / 1000


def test_every_cell_is_traced_and_the_whole_latency_has_owners(traces: dict[str, Stored]) -> None:
    assert set(traces) == {*WORKLOADS, "idle"}
    for stored in traces.values():
        explanation = stored.numbers["explanation"]
        assert explanation["latency_us"] == pytest.approx(stored.numbers["break_us"], abs=1)
        assert sum(us for *_, us in stored.causes) == pytest.approx(explanation["latency_us"])
        unknown = sum(us for _, cause, _, us in stored.causes if cause == "unknown")
        assert unknown < 20 + 0.01 * explanation["latency_us"]
        assert explanation["warnings"] == []


def test_a_thread_of_the_board_beside_the_vcpu(traces: dict[str, Stored]) -> None:
    side, cause, who, us = traces["beside"].causes[0]
    assert (side, cause, who) == ("host", "other task", "rtvirt-beside")
    expected = left_us(traces["beside"], "rtvirt-beside")
    assert us == pytest.approx(expected, rel=0.1, abs=20)


def test_interrupts_that_flood_the_core_of_the_vcpu(traces: dict[str, Stored]) -> None:
    latency = traces["flood"].numbers["explanation"]["latency_us"]
    of_interrupts = sum(
        us
        for side, cause, who, us in traces["flood"].causes
        if side == "host" and (cause == "interrupt" or (cause, who) == ("exit handled by KVM", "IRQ"))
    )
    assert of_interrupts > 0.6 * latency, traces["flood"].causes


def test_a_thread_of_qemu_s_own_on_the_core_of_the_vcpu(traces: dict[str, Stored]) -> None:
    side, cause, *_ = traces["reader"].causes[0]
    assert (side, cause) == ("host", "QEMU's own thread"), traces["reader"].causes


def test_interrupts_off_in_the_kernel_of_the_host(traces: dict[str, Stored]) -> None:
    side, cause, who, us = traces["hwlat"].causes[0]
    assert (side, cause, who) == ("host", "interrupts off", "hwlatd")
    assert us >= 0.9 * traces["hwlat"].numbers["explanation"]["latency_us"] - 20


def test_exits_to_a_gic_in_user_space(traces: dict[str, Stored]) -> None:
    causes = traces["idle"].causes
    assert causes[0][:3] == ("host", "exit handled by QEMU", "DABT_LOW")  # an access to a device
    outside = sum(us for _, cause, _, us in causes if cause.startswith("exit handled by"))
    assert outside > traces["idle"].numbers["explanation"]["latency_us"] / 2


def test_ptp_kvm_narrows_the_offset_that_the_events_leave_and_agrees_with_them(traces: dict[str, Stored]) -> None:
    guests = {name: each for name, each in traces.items() if name != "hwlat"}
    for stored in guests.values():
        clock = stored.numbers["clock"]
        assert (clock["events_outside"], clock["ptp_samples"], clock["ambiguous"]) == (0, 10, False)
        alone = stored.recording().explain().line.clock
        assert alone is not None
        assert clock["width_ns"] <= alone.width_ns(clock["at_guest_ns"]) + 1
        (*_, sample) = stored.samples()  # the last, when cyclictest has broken: the truth to its error
        spans = [alone.offset_ns(sample.guest_ns), *alone.rivals]
        offset = sample.host_ns - sample.guest_ns
        assert any(low - sample.error_ns <= offset <= high + sample.error_ns for low, high in spans)


def test_rtla_says_its_own_of_the_host(traces: dict[str, Stored]) -> None:
    assert "hit stop tracing" in (traces["hwlat"].folder / RTLA_FILE).read_text()
