"""Compare settings, QEMU's threads and QEMU's memory as read back with those wanted, one row per item."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rtvirt_runner.catalogue.cpus import parse_cpu_list
from rtvirt_runner.catalogue.settings import SETTINGS, setting_name, with_implied

# ABSENT: the machine does not have it. FIXED: the kernel refuses to change it, which is no failure for this item.
# DENIED: changing it is not permitted. NO_TOOL: the program that changes it is not installed.
OK, DIFFERS, ABSENT, FIXED, DENIED, NO_TOOL = "ok", "differs", "absent", "fixed", "denied", "no_tool"
WRONG = (DIFFERS, DENIED, NO_TOOL)  # a machine with one of these is not measured

Thread = Mapping[str, Any]  # tid, name, cpus, policy, priority; vcpu if known from QEMU's monitor


@dataclass(frozen=True)
class Row:
    """One item of a setting: the value wanted and the value found."""

    setting: str  # of settings.SETTINGS; qemu_threads if no setting places them
    source: str  # what was read: a file, a kernel parameter, a thread
    wanted: str
    found: str
    state: str  # of the states above
    tool: str = ""  # the missing program, for NO_TOOL

    @property
    def reason(self) -> str:
        """Why it could not be changed, as the end of a phrase; empty if unknown."""
        if self.state == DENIED:
            return ", and changing it is not permitted (read-only /proc or /sys, a container, or kernel lockdown)"
        return f", and {self.tool or 'the tool'}, which changes it, is not installed" if self.state == NO_TOOL else ""


def setting_rows(rows: Sequence[Mapping[str, Any]]) -> list[Row]:
    """Rows from the table ``settings`` of a machine's facts."""
    return [
        Row(*(str(each.get(key, "")) for key in ("setting", "source", "wanted", "found", "state", "tool")))
        for each in rows
        if isinstance(each, Mapping)  # not a fact that has the table's name
    ]


def setting_differences(settings: Sequence[str], facts: Mapping[str, Any]) -> list[str]:
    """Differences of a machine from the settings wanted, a phrase each, with leftovers of earlier tunings.

    ``settings`` are words as of ``Tuning.machine_settings``. ``facts`` are those of
    roles/cpu_isolation/files/show.sh: the table ``settings`` and ``isolation_applied``.
    """
    rows = setting_rows(facts.get("settings", ()))
    wanted = [setting_name(word) for word in settings]
    read = {row.setting for row in rows}
    differences = [f"{name} was not read back" for name in wanted if name not in read]
    differences += row_differences(rows)
    expected = with_implied(dict.fromkeys(wanted))
    left = [name for name in str(facts.get("isolation_applied", "")).split() if name not in expected]
    return [*differences, *(f"{name} still holds, expected it taken back" for name in left)]


def row_differences(rows: Sequence[Row]) -> list[str]:
    """The rows that differ, a phrase each."""
    return [
        f"{row.setting}: {row.source} is '{row.found}', expected '{row.wanted}'{row.reason}"
        for row in rows
        if row.state in WRONG
    ]


def not_booted(facts: Mapping[str, Any]) -> list[str]:
    """The boot settings that a machine was not booted with, from the table ``settings`` of its facts."""
    rows = setting_rows(facts.get("settings", ()))
    return [row.setting for row in rows if row.state == DIFFERS and SETTINGS[row.setting].parameter]


def memory_rows(guest: Mapping[str, Any], facts: Mapping[str, Any]) -> list[Row]:
    """Rows for the memory of a guest in the state ``guest``, by the facts ``qemu_locked_kib`` and ``qemu_huge_kib``."""
    wanted_kib = _whole(guest["memory_mib"]) * 1024
    huge_kib = facts.get("qemu_huge_kib")
    rows = []
    if guest.get("memory_lock"):  # huge pages are not swappable and not counted in VmLck
        locked_kib = _whole(facts.get("qemu_locked_kib")) + _whole(huge_kib)
        rows.append(_at_least("memory_lock", "VmLck of QEMU, KiB", wanted_kib, locked_kib))
    if guest.get("huge_pages"):
        absent = Row("huge_pages", "HugetlbPages of QEMU, KiB", f"{wanted_kib} or more", "", ABSENT)
        found = _at_least("huge_pages", absent.source, wanted_kib, _whole(huge_kib))
        rows.append(absent if huge_kib is None else found)
    return rows


def _whole(value: Any) -> int:
    """A whole number as a machine says it, or 0, which is never enough, for anything else."""
    return int(value) if re.fullmatch(r"[0-9]{1,18}", str(value)) else 0


def _at_least(setting: str, source: str, wanted: int, found: int) -> Row:
    return Row(setting, source, f"{wanted} or more", str(found), OK if found >= wanted else DIFFERS)


def thread_rows(
    placement: Mapping[str, Any],
    vcpu_threads: Sequence[Thread],
    qemu_threads: Sequence[Thread],
    online_cpus: str = "",
) -> list[Row]:
    """Compare each thread of QEMU with the wanted placement (``Tuning.placement``), vCPUs first.

    Mode ``threads``: vCPU i alone on the i-th of ``cpus``, the others on ``others_cpus`` without priority; a vCPU
    without a thread and a core without a vCPU get a row as well. Mode ``process``: every thread on ``cpus`` with
    policy and priority. Mode ``none``: no priority, and on any of ``online_cpus`` if these are given.
    """
    vcpu_threads = [each for each in vcpu_threads if isinstance(each, Mapping)]
    qemu_threads = [each for each in qemu_threads if isinstance(each, Mapping)]
    vcpus = sorted(((_vcpu(thread, number), thread) for number, thread in enumerate(vcpu_threads)), key=_first)
    mode = placement.get("mode", "none")
    if mode == "threads":
        return list(_rows_of_threads(placement, vcpus, qemu_threads))
    threads = [*(thread for _, thread in vcpus), *qemu_threads]
    if mode == "process":
        return [_row("qemu_process", each, _priority(placement), str(placement.get("cpus", ""))) for each in threads]
    return [_row("qemu_threads", each, "other 0", online_cpus) for each in threads]


def _rows_of_threads(
    placement: Mapping[str, Any], vcpus: Sequence[tuple[int, Thread]], others: Sequence[Thread]
) -> Iterator[Row]:
    setting = "vcpu_threads"
    known = _cores(str(placement.get("cpus", "")))
    cores = () if isinstance(known, str) else known
    for number, thread in vcpus:
        if number < len(cores):
            yield _row(setting, thread, _priority(placement), str(cores[number]))
        else:
            yield Row(setting, _source(thread), f"no vCPU {number}", _found(thread, with_cpus=True), DIFFERS)
    for number in sorted(set(range(len(cores))) - {number for number, _ in vcpus}):
        yield Row(setting, f"thread of vCPU {number}", f"{_priority(placement)} on {cores[number]}", "none", DIFFERS)
    for thread in others:
        yield _row(setting, thread, "other 0", str(placement.get("others_cpus", "")))


def _row(setting: str, thread: Thread, priority: str, cpus: str) -> Row:
    """The row of a thread; without ``cpus`` it may be on any core."""
    wanted, found = f"{priority} on {cpus}" if cpus else priority, _found(thread, with_cpus=bool(cpus))
    same = priority == _priority(thread) and (not cpus or _cores(cpus) == _cores(str(thread.get("cpus", ""))))
    return Row(setting, _source(thread), wanted, found, OK if same else DIFFERS)


def _found(thread: Thread, with_cpus: bool) -> str:
    return f"{_priority(thread)} on {thread.get('cpus', '')}" if with_cpus else _priority(thread)


def _priority(values: Mapping[str, Any]) -> str:
    """Policy and priority of a placement or of a thread, as one string."""
    return f"{values.get('policy', 'other')} {values.get('priority', 0)}"


def _source(thread: Thread) -> str:
    return (
        f"thread {thread.get('name', '')} ({thread['tid']})" if "tid" in thread else f"thread {thread.get('name', '')}"
    )


def _vcpu(thread: Thread, position: int) -> int:
    """The vCPU's number, from QEMU's monitor, the thread's name, or else its position in the list."""
    told = re.fullmatch(r"\d+", str(thread.get("vcpu", ""))) or re.match(r"CPU (\d+)/", str(thread.get("name", "")))
    return int(told[told.re.groups]) if told else position


def _cores(text: str) -> tuple[int, ...] | str:
    try:
        return parse_cpu_list(text)
    except ValueError:  # not a CPU list, so it differs from the wanted one
        return text


def _first(pair: tuple[int, Thread]) -> int:
    return pair[0]
