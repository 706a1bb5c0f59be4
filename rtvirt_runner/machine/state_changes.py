"""What changed on a machine while a cell was measured on it: the state read back before the cell against that after it.

A change of what decides a latency fails the cell. What says only how the machine fared, such as its temperature, is
noted in the record. Facts are those of ``verify_state.typed``; a machine may answer anything.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rtvirt_runner.catalogue.cpus import parse_cpu_list
from rtvirt_runner.catalogue.settings import setting_name
from rtvirt_runner.machine.verify_state import board_differences, guest_differences
from rtvirt_runner.matrix.cell import Cell

Facts = Mapping[str, Any]
Row = Mapping[str, Any]

# Facts that stay as they are: name -> what it is.
_STEADY = {
    "boot_id": "the number of the boot",
    "uname_r": "the kernel's release",
    "uname_v": "the kernel's version",
    "cmdline": "the kernel's command line",
    "realtime": "/sys/kernel/realtime",
    "online_cpus": "the list of online cores",
    "isolated_cpus": "the list of isolated cores",
    "nohz_full_cpus": "the list of nohz_full cores",
    "rt_runtime_us": "sched_rt_runtime_us",
    "rt_period_us": "sched_rt_period_us",
    "clocksource": "the clock source",
    "timer_migration": "timer_migration",
    "irq_default_affinity": "the default affinity of interrupts",
    "transparent_hugepages": "transparent_hugepage/enabled",
    "cpuset_kind": "what keeps the cores at run time",
    "guest_running": "whether a guest runs",
    "guest_accelerator": "what runs the guest",
    "kvm_held_by_qemu": "whether QEMU holds /dev/kvm",
}
_STEADY_FREQUENCY = {"governor": "governor", "min_khz": "lowest frequency", "max_khz": "highest frequency"}
# Bits of the Raspberry Pi's get_throttled: now, and 16 bits higher since it was booted.
_PI_BITS = (
    "its voltage was too low",
    "its frequency was capped",
    "it was throttled",
    "it was at its soft temperature limit",
)
_SEEN = {
    "beginning": "at its beginning",
    "end": "near its end",
    "before": "just before the cell",
    "after": "just after the cell",
}
WARMER_MC = 5000  # millicelsius, from which a change of temperature is noted
OTHER_FREQUENCY = 0.1  # the same for a frequency, relative
STEPPED_S = 2  # the same for the wall clock; the kernel says its time at boot in whole seconds
CLOCK_SLACK_S = 1.0  # by which a cell may take longer by the machine's clock than by the controller's
_TICKS_PER_S = 100  # USER_HZ


@dataclass(frozen=True)
class Changes:
    """``failures``: changes that make the measurement invalid, a phrase each; ``notes``: a phrase each, to be kept."""

    failures: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def reason(self, machine: str) -> str:
        """One sentence of what failed, '' if nothing did."""
        return f"The {machine} changed during the cell: {'; '.join(self.failures)}." if self.failures else ""


def board_changes(cell: Cell, expects: Mapping[str, Any], before: Facts, after: Facts) -> Changes:
    """Changes on the board during a cell; ``expects`` as of ``verify_state.board_differences``."""
    fixed_frequency = "governor" in map(setting_name, cell.settings)
    found = _changes("board", before, after, cell.guest_cpus, fixed_frequency)
    return _with(found, [*board_differences(cell, expects, after), *_neighbour(cell, before, after)])


def guest_changes(cell: Cell, expects: Mapping[str, Any], before: Facts, after: Facts) -> Changes:
    """Changes inside the guest during a cell; ``expects`` as of ``verify_state.guest_differences``."""
    found = _changes("guest", before, after, str(cell.measured_cpu), fixed_frequency=False)
    return _with(found, guest_differences(cell, expects, after))


def thread_differences(cell: Cell, rows: Any) -> list[str]:
    """Differences of cyclictest's measuring thread from what the cell asks for, by the table ``cyclictest``."""
    return _thread_differences(rows, f"fifo {cell.priority} on {cell.measured_cpu}", "cyclictest's thread")


def host_thread_differences(cell: Cell, before: Facts, after: Facts) -> list[str]:
    """The same of the board's own cyclictest with place both, which must have run before the cell and after it."""
    if cell.host_thread is None:
        return []
    what, rows = "the thread of the board's own cyclictest", [_rows(each.get("cyclictest")) for each in (before, after)]
    if [len(each) for each in rows] != [1, 1]:
        return [f"{what} was not read back before the cell and after it"]
    found = _thread_differences([*rows[0], *rows[1]], f"fifo {cell.priority} on {cell.host_thread.cpu}", what)
    if rows[0][0].get("tid") != rows[1][0].get("tid"):
        found.append(f"{what} is another one after the cell: it was started again")
    return found


def _thread_differences(rows: Any, wanted: str, what: str) -> list[str]:
    known = _rows(rows)
    if not known:
        return [f"{what} was not read back"]
    return [
        f"{what} was '{_placed(row)}' {_SEEN.get(str(row.get('seen')), 'in the cell')}, expected '{wanted}'"
        for row in known
        if _placed(row) != wanted
    ]


def clock_differences(cell: Cell, run: Mapping[str, Any], measure_s: float | None) -> list[str]:
    """Why the clock of the machine that was measured cannot be believed, by its uptime around cyclictest.

    ``measure_s`` is the duration of the measuring command by the controller's clock; None where that says nothing.
    """
    began, ended = _number(run.get("began_uptime_s")), _number(run.get("ended_uptime_s"))
    if began is None or ended is None:
        return ["the machine's uptime was not read back"]
    took_s, loops_s = ended - began, cell.loops * cell.interval_us / 1e6
    if took_s < loops_s - 0.05:  # uptime has hundredths
        return [f"its clock went back or stood: cyclictest took {took_s:.2f} s for loops of {loops_s:.2f} s"]
    if measure_s is not None and cell.clock == "real" and took_s > measure_s * 1.01 + CLOCK_SLACK_S:
        return [f"its clock jumped ahead: cyclictest took {took_s:.2f} s by it and {measure_s:.2f} s by the clock here"]
    return []


def changed_facts(before: Facts, after: Facts) -> dict[str, Any]:
    """The facts after a cell that are not those before it; of a table the rows that are not in the one before."""
    changed: dict[str, Any] = {}
    for name, value in after.items():
        was = before.get(name)
        if isinstance(value, list) and isinstance(was, list):
            if rows := [row for row in value if row not in was]:
                changed[name] = rows
        elif value != was:
            changed[name] = value
    return changed


def _with(found: Changes, differences: Sequence[str]) -> Changes:
    return Changes((*found.failures, *differences), found.notes)


def _changes(machine: str, before: Facts, after: Facts, measured: str, fixed_frequency: bool) -> Changes:
    boots = before.get("boot_id"), after.get("boot_id")
    if all(boots) and boots[0] != boots[1]:
        return Changes((f"the {machine} has booted in between",))
    throttled = [*_throttled(before, after), *_pi_throttled(before, after)]
    failures = [
        *_clock_went_back(machine, before, after),
        *_steady(before, after),
        *_threads(before, after),
        *_frequencies(before, after),
        *(throttled if fixed_frequency else ()),
    ]
    notes = [
        *(() if fixed_frequency else throttled),
        *_other_frequency(before, after, measured),
        *_warmer(before, after),
        *_counted(machine, before, after),
        *_stepped(machine, before, after),
        *_moved_interrupts(before, after, measured),
    ]
    return Changes(tuple(failures), tuple(notes))


# ------------------------------------------------------------------------------------------- what invalidates a cell


def _was(what: str, before: Any, after: Any) -> str:
    return f"{what} was {_said(before)} before the cell and {_said(after)} after it"


def _said(value: Any) -> str:
    return "nothing" if value in ("", None) else str(int(value) if isinstance(value, bool) else value)


def _clock_went_back(machine: str, before: Facts, after: Facts) -> Iterator[str]:
    was, now = _number(before.get("uptime_s")), _number(after.get("uptime_s"))
    if was is not None and now is not None and now < was:
        yield _was(f"the uptime of the {machine}", f"{was:.2f} s", f"{now:.2f} s")


def _steady(before: Facts, after: Facts) -> Iterator[str]:
    for name, what in _STEADY.items():
        if before.get(name, "") != after.get(name, ""):
            yield _was(what, before.get(name, ""), after.get(name, ""))


def _threads(before: Facts, after: Facts) -> Iterator[str]:
    """QEMU's: all vCPUs, and of its other threads, which come and go, those that were there before and after."""
    was, now = ({str(row.get("name")): row for row in _rows(each.get("vcpu_threads"))} for each in (before, after))
    if {name: row.get("tid") for name, row in was.items()} != {name: row.get("tid") for name, row in now.items()}:
        yield "the guest was started again: its vCPU threads are others"
        return
    others = [{str(row.get("tid")): row for row in _rows(each.get("qemu_threads"))} for each in (before, after)]
    for old, new in ((was, now), (others[0], others[1])):
        for key in (key for key in old if key in new):
            placed = [f"'{_placed(each[key])}'" for each in (old, new)]
            if placed[0] != placed[1]:
                yield _was(f"thread {old[key].get('name')} of QEMU", *placed)


def _neighbour(cell: Cell, before: Facts, after: Facts) -> Iterator[str]:
    """The same neighbour as before, whose load had the time of a core."""
    was, now = (
        {row.get("tid"): _number(row.get("ticks")) or 0 for row in _rows(each.get("neighbour_vcpu_threads"))}
        for each in (before, after)
    )
    if was and now and was.keys() != now.keys():
        yield "the neighbour was started again: its vCPU threads are others"
    elif cell.neighbour_state and cell.neighbour_state.load and now and sum(now.values()) <= sum(was.values()):
        yield "the load of the neighbour got no time on its cores"


def _placed(row: Row) -> str:
    return f"{row.get('policy')} {row.get('priority')} on {row.get('cpus')}"


def _frequencies(before: Facts, after: Facts) -> Iterator[str]:
    for core, was, now in _pairs(before, after, "frequencies"):
        for key, what in _STEADY_FREQUENCY.items():
            if was.get(key) != now.get(key):
                yield _was(f"the {what} of core {core}", _in_mhz(key, was.get(key)), _in_mhz(key, now.get(key)))


def _in_mhz(key: str, value: Any) -> Any:
    return f"{value / 1000:g} MHz" if key.endswith("_khz") and isinstance(value, int) else value


def _throttled(before: Facts, after: Facts) -> Iterator[str]:
    was = {(row.get("core"), row.get("of")): _number(row.get("count")) or 0 for row in _rows(before.get("throttled"))}
    for row in _rows(after.get("throttled")):
        times = (_number(row.get("count")) or 0) - was.get((row.get("core"), row.get("of")), 0)
        if times > 0:
            scope = "with its package " if str(row.get("of")).startswith("package") else ""
            yield f"core {row.get('core')} was throttled {scope}{times:.0f} times, since it was too hot"


def _pi_throttled(before: Facts, after: Facts) -> Iterator[str]:
    was, now = _hexadecimal(before.get("pi_throttled")), _hexadecimal(after.get("pi_throttled"))
    happened = (was | now) & 0xF | (now & ~was) >> 16 & 0xF
    if after.get("pi_under_voltage") == "1":
        happened |= 1
    yield from (what for bit, what in enumerate(_PI_BITS) if happened & 1 << bit)


# ------------------------------------------------------------------------------------------------- what is only noted


def _other_frequency(before: Facts, after: Facts, measured: str) -> Iterator[str]:
    for core, was, now in _pairs(before, after, "frequencies"):
        old, new = _number(was.get("khz")), _number(now.get("khz"))
        if _is_of(core, measured) and old and new and abs(new - old) > OTHER_FREQUENCY * old:
            yield _was(f"the frequency of core {core}", f"{old / 1000:g} MHz", f"{new / 1000:g} MHz")


def _warmer(before: Facts, after: Facts) -> Iterator[str]:
    was = {str(row.get("zone")): _number(row.get("millicelsius")) for row in _rows(before.get("temperatures"))}
    for row in _rows(after.get("temperatures")):
        old, new = was.get(str(row.get("zone"))), _number(row.get("millicelsius"))
        if old is not None and new is not None and abs(new - old) >= WARMER_MC:
            yield _was(f"the temperature of {row.get('name')}", f"{old / 1000:.1f} °C", f"{new / 1000:.1f} °C")


def _counted(machine: str, before: Facts, after: Facts) -> Iterator[str]:
    if (count := (_number(after.get("smi_count")) or 0) - (_number(before.get("smi_count")) or 0)) > 0:
        yield f"the {machine} had {count:.0f} system management interrupts (SMIs)"
    was, now = (sum(_number(row.get("ticks")) or 0 for row in _rows(each.get("stolen"))) for each in (before, after))
    if now > was:
        yield f"the {machine} was kept waiting for its cores for {(now - was) / _TICKS_PER_S:.2f} s (steal time)"


def _stepped(machine: str, before: Facts, after: Facts) -> Iterator[str]:
    was, now = _number(before.get("boot_time_s")), _number(after.get("boot_time_s"))
    if was is not None and now is not None and abs(now - was) >= STEPPED_S:
        yield f"the wall clock of the {machine} was set {now - was:+.0f} s"


def _moved_interrupts(before: Facts, after: Facts, measured: str) -> Iterator[str]:
    was = {(row.get("irq"), row.get("name")): row.get("cpus") for row in _rows(before.get("irqs"))}
    for row in _rows(after.get("irqs")):
        old, new = was.get((row.get("irq"), row.get("name"))), row.get("cpus")
        if old is not None and old != new and _is_of(new, measured):
            yield f"interrupt {row.get('irq')} ({row.get('name')}) moved from core {old} to {new}"


# ------------------------------------------------------------------------------------------------- what a machine says


def _rows(table: Any) -> list[Row]:
    return [row for row in table if isinstance(row, Mapping)] if isinstance(table, list) else []


def _pairs(before: Facts, after: Facts, table: str) -> Iterable[tuple[str, Row, Row]]:
    """The rows of a table of cores, before and after; a core that went offline is in the list of online cores."""
    was, now = ({str(row.get("core")): row for row in _rows(each.get(table))} for each in (before, after))
    return [(core, was[core], now[core]) for core in was if core in now]


def _number(value: Any) -> float | None:
    if isinstance(value, int | float):
        return float(value)
    return float(value) if isinstance(value, str) and re.fullmatch(r"-?[0-9]{1,18}(\.[0-9]{1,9})?", value) else None


def _hexadecimal(value: Any) -> int:
    digits = re.fullmatch(r"(?:0x)?([0-9a-fA-F]{1,8})", str(value))
    return int(digits[1], 16) if digits else 0


def _is_of(cores: Any, measured: str) -> bool:
    try:
        return not set(parse_cpu_list(str(cores))).isdisjoint(parse_cpu_list(measured))
    except ValueError:
        return False
