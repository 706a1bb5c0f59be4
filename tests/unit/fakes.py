"""A lab, a catalogue and made-up records for tests: shapes like real ones, numbers that mean nothing."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from rtvirt_runner.catalogue.catalogue import Catalogue
from rtvirt_runner.catalogue.cpus import format_cpu_list, parse_cpu_list
from rtvirt_runner.catalogue.lab import Lab
from rtvirt_runner.catalogue.workloads import Program
from rtvirt_runner.matrix.cell import Cell
from rtvirt_runner.matrix.results import ResultsTree, Status

VARS = Path(__file__).parents[2] / "playbooks" / "vars"
DATA = Path(__file__).parents[1] / "data"

# What the matrices that come with rtvirt ask for: boards and kernels by what they are for.
ROLES = {"rpi2": ["virtual-rpi2"], "cb2": ["virtual-cb2"]}
KERNELS = {"rt": "debian-rt", "with-rt": "linux-6.12-rt", "without-rt": "linux-6.12"}


def virtual_lab(clock: str = "virtual") -> Lab:
    """The two boards that inventory/virtual has."""
    cpus = {"virtual-rpi2": 4, "virtual-cb2": 2}
    hostvars: dict[str, dict[str, Any]] = {
        name: {"rtvirt_board_cpus": count, "rtvirt_board_clock": clock} for name, count in cpus.items()
    }
    for board in hostvars.values():
        board["rtvirt_board_kernels"] = KERNELS
    hostvars["virtual-rpi2"]["guest_gic"] = "user_space"
    guests = [f"{name}-guest" for name in cpus]
    return Lab.from_inventory({"all": [*cpus, *guests], "boards": [*cpus], **ROLES, "guests": guests}, hostvars)


def catalogue() -> Catalogue:
    """The collection's own catalogue."""
    return Catalogue.load(VARS)


def done(**changes: Any) -> Status:
    """The status of a cell that went well."""
    values = {
        "status": "done",
        "reason": "",
        "started_at": "2026-01-02T03:04:05Z",
        "ended_at": "2026-01-02T03:04:15Z",
        "ssh_commands": 3,
        "overhead_s": 1.5,
        "measure_s": 8.25,
    }
    return Status(**{**values, **changes})


def failed(reason: str) -> Status:
    """The status of a cell that went wrong."""
    return done(status="failed", reason=reason)


def cyclictest_json(histogram: dict[int, int], overflow_us: tuple[int, ...] = ()) -> str:
    """What ``cyclictest --json`` writes for one thread; ``overflow_us`` are samples beyond the histogram."""
    latencies = [*histogram, *overflow_us]
    cycles = sum(histogram.values()) + len(overflow_us)
    total = sum(us * count for us, count in histogram.items()) + sum(overflow_us)
    thread = {
        "histogram": {str(us): count for us, count in histogram.items()},
        "cycles": cycles,
        "min": min(latencies),
        "max": max(latencies),
        "avg": round(total / cycles, 2),
        "cpu": 0,
        "node": 0,
    }
    return json.dumps({"file_version": 1, "return_code": 0, "num_threads": 1, "thread": {"0": thread}})


def latencies(cell: Cell, samples: int = 5000) -> dict[int, int]:
    """A histogram that looks like what such a cell measures: a narrow host, a wide guest with two humps and a tail."""
    chance = random.Random(cell.id)
    middle, width, tail = (56, 0.05, 140) if cell.place == "host" else (230, 0.16, 6000)
    if cell.guest_state and cell.guest_state.gic == "in_kernel":
        middle, tail = 75, 900
    if cell.tuning == "none" and cell.place == "guest":
        middle, tail = middle * 1.15, 9000
    if cell.tuning.startswith("full"):
        tail *= 0.3
    if cell.guest == "partitioned":
        middle, tail = middle * 0.94, tail * 0.6
    if cell.board_command:
        middle, tail = middle * (6 if cell.tuning == "none" else 1.4), tail * 1.3
    costs = {"full-minus-vcpu_threads": (2.2, 25), "full-minus-irqs": (1.12, 1.6), "full-minus-nohz_full": (1.06, 1.0)}
    middle, tail = (us * cost for us, cost in zip((middle, tail), costs.get(cell.tuning, (1, 1)), strict=True))
    counts: dict[int, int] = {}
    for _ in range(samples):
        us = chance.lognormvariate(0, width) * middle * (1.35 if chance.random() < 0.15 else 1)
        if chance.random() < 0.003:
            us = middle + chance.random() ** 3 * tail
        counts[round(us)] = counts.get(round(us), 0) + 1
    return dict(sorted(counts.items()))


def setting_items(settings: Iterable[str]) -> list[dict[str, str]]:
    """Rows of a machine that has no frequencies to scale, and one interrupt that its kernel will not move."""
    rows = []
    for name in settings:
        each = {"setting": name, "source": f"/proc/{name}", "wanted": "1", "found": "1", "state": "ok"}
        if name in ("governor", "idle_states"):
            rows.append(each | {"found": "", "state": "absent"})
            continue
        rows += [each] * (5 if name == "irqs" else 1)
        if name == "irqs":
            rows.append(each | {"source": "/proc/irq/9/smp_affinity_list", "found": "0-3", "state": "fixed"})
    return rows


def system(cell: Cell) -> dict[str, Any]:
    """What system.json may look like."""
    board = {
        "uname_r": "6.12.90-rt-arm64",
        "uname_v": "#1 SMP PREEMPT_RT Debian 6.12.90-1",
        "realtime": True,
        "cmdline": " ".join(["root=/dev/vda2", "maxcpus=4", *cell.kernel_params]),
        "isolated_cpus": cell.guest_cpus if cell.kernel_params else "",
        "online_cpus": "0-3",
        "rt_runtime_us": 950000,
        "governor": None,
        "kvm": {"mode": "nVHE", "gic": "vGICv2"},
        "settings": setting_items(cell.settings),
        "isolation_applied": " ".join(cell.settings),
    }
    if cell.guest_state is None:
        return {"board": board, "guest": None}
    placement = cell.guest_state.placement
    cores = parse_cpu_list(placement.get("cpus", "0-3"))
    priority = {"policy": placement.get("policy", "other"), "priority": placement.get("priority", 0)}
    alone = placement["mode"] == "threads"
    vcpus = [
        {"tid": 412 + n, "name": f"CPU {n}/KVM", "cpus": format_cpu_list([cores[n]] if alone else cores)} | priority
        for n in range(cell.vcpus)
    ]
    others = {"policy": "other", "priority": 0} if alone else priority
    main = {
        "tid": 411,
        "name": "qemu-system-aar",
        "cpus": placement.get("others_cpus", format_cpu_list(cores)),
    } | others
    argv = ["qemu-system-aarch64", "-M", "virt,gic-version=2,kernel-irqchip=off", "-cpu", "host", "-smp", "1"]
    board |= {"qemu_version": "10.0.2", "qemu_argv": argv, "vcpu_threads": vcpus, "qemu_threads": [main]}
    board |= {"guest_accelerator": "kvm"}
    guest = {"uname_r": "6.12.90-arm64", "realtime": False, "cmdline": "console=ttyAMA0"}
    return {"board": board, "guest": guest | {"settings": setting_items(cell.guest_state.settings)}}


def workload_output(cell: Cell, slowdown: float = 1.04) -> str:
    """What a cell's workload may print; in the guest it takes ``slowdown`` times as long."""
    slower = slowdown if cell.place == "guest" else 1.0
    printed = {"json": _json_output, "sysbench": _sysbench_output, "pattern": _hackbench_output}
    program = cell.program
    return printed[program.prints](cell, program, slower) if program and program.prints in printed else ""


def _json_output(cell: Cell, program: Program, slower: float) -> str:
    seconds = round(random.Random(cell.workload).uniform(0.002, 0.4) * slower, 6)
    said = {"workload": cell.workload, "size": "small", "seed": 1, "iterations": 120, "seconds": 120 * seconds}
    said |= {"seconds_per_iteration": seconds, "digest": program.digest or "0123456789abcdef", "correct": True}
    return json.dumps(said | (ecu_numbers(cell) if cell.workload == "ecu" else {})) + "\n"


def _sysbench_output(cell: Cell, program: Program, slower: float) -> str:
    """The captured output, as a slow chip would have printed it."""
    test = "fileio" if "fileio" in program.command else "cpu"
    text = (DATA / "sysbench" / f"{test}_1.0.txt").read_text(encoding="utf-8")
    if test == "fileio":
        values = {"total number of events": round(18230 / slower**4), "read, MiB/s": f"{34.17 / slower**4:.2f}"}
        times = {"min": 0.03, "avg": 0.27, "max": 31.4, "95th percentile": 0.61}
    else:
        values = {"total time": f"{11.8624 * slower:.4f}s"}
        times = {"min": 1.17, "avg": 1.19, "max": 6.71, "95th percentile": 1.21}
    for label, value in (values | {label: f"{ms * slower:.2f}" for label, ms in times.items()}).items():
        text = re.sub(rf"(?m)^( +{label}: +).*$", rf"\g<1>{value}", text)
    return text


def _hackbench_output(cell: Cell, program: Program, slower: float) -> str:
    return f"Running in process mode with 1 groups using 8 file descriptors each (== 8 tasks)\nTime: {0.021 * slower}\n"


def ecu_numbers(cell: Cell) -> dict[str, Any]:
    """What the engine controller says beside what every program says; a guest is later than a host."""
    events = {kind: _event_kind(cell, kind) for kind in ("tooth", "injector_open", "injector_close", "dwell_start")}
    events["spark"] = _event_kind(cell, "spark")
    good = all(each["missed"] == each["lost"] == 0 for kind, each in events.items() if kind != "tooth")
    return {
        "profile": "cruise",
        "revolutions": 2400,
        "lost_revolutions": 0,
        "rpm": {"min": 2380, "max": 2420, "mean": 2400},
        "events": events,
        "tolerance_deg": 1.0,
        "injection_tolerance_deg": 3.0,
        "verdict": "pass" if good else "fail",
        "realtime": True,
        "priority": 80,
    }


def _event_kind(cell: Cell, kind: str) -> dict[str, Any]:
    chance = random.Random(f"{cell.id}{kind}")
    tolerance = {"tooth": 6.0, "injector_open": 3.0, "injector_close": 3.0}.get(kind, 1.0)
    middle_us = 40 if cell.place == "host" else 62
    lates = [middle_us * chance.lognormvariate(0, 0.15) for _ in range(2400)]
    lates += [middle_us + 1000 * chance.random() ** 8 * (0.06 if cell.place == "host" else 0.4) for _ in range(60)]
    degrees = [us * 1e-6 * 2400 / 60 * 360 for us in lates]
    histogram: dict[str, int] = {}
    for each in degrees:
        bucket = f"{round(each, 2):g}"
        histogram[bucket] = histogram.get(bucket, 0) + 1
    numbers = {
        "expected": len(lates),
        "fired": len(lates),
        "lost": 0,
        "missed": sum(deg > tolerance for deg in degrees),
    }
    late = {"avg_us": sum(lates) / len(lates), "max_us": max(lates), "max_deg": max(degrees)}
    return numbers | late | {"histogram_deg": histogram}


def measure(tree: ResultsTree, matrix_name: str, cell: Cell) -> Path:
    """Write the record of a cell that went well."""
    raw = {"cyclictest.json": cyclictest_json(latencies(cell)), "workload.txt": workload_output(cell)}
    return tree.write_record(matrix_name, cell, done(), system(cell), raw)
