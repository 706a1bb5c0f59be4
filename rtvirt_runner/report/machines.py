"""The state of the machines: every fact that was read back, and which cells saw which value."""

from __future__ import annotations

import itertools
import marshal
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rtvirt_runner.analysis.setting_rows import describe_rows, rows_by_setting
from rtvirt_runner.catalogue.settings import SETTINGS
from rtvirt_runner.catalogue.tunings import MINUS
from rtvirt_runner.matrix.cell import Cell
from rtvirt_runner.matrix.results import Record
from rtvirt_runner.report.format import EN_DASH, number

_FACT_NAMES = {
    "uname_r": "kernel release",
    "uname_v": "kernel version",
    "machine": "machine (uname -m)",
    "realtime": "PREEMPT_RT",
    "cmdline": "command line",
    "isolated_cpus": "isolated CPUs",
    "online_cpus": "online CPUs",
    "rt_runtime_us": "RT throttling: runtime, µs",
    "governor": "frequency governor",
    "qemu_version": "QEMU version",
    "qemu_argv": "QEMU's arguments",
    "vcpu_threads": "vCPU threads",
    "qemu_threads": "QEMU's other threads",
    "kvm": "KVM",
    "kvm_held_by_qemu": "/dev/kvm held by QEMU",
    "nohz_full_cpus": "nohz_full CPUs",
    "irq_default_affinity": "IRQ default affinity",
    "irqs": "IRQs",
    "guest_accelerator": "what runs the guest",
    "accelerator_reason": "why that",
    "cpuset_kind": "cores kept at run time by",
    "neighbour_load": "load of the neighbour",
    "neighbour_accelerator": "what runs the neighbour",
    "neighbour_argv": "QEMU's arguments of the neighbour",
}
_VALUES = {
    ("guest_accelerator", "kvm"): "KVM",
    ("neighbour_accelerator", "kvm"): "KVM",
    ("guest_accelerator", "tcg"): "QEMU's emulation (tcg): this is no KVM guest",
}
_SETTING = "setting "
# Not shown: different in every cell, or shown through other facts. They are in system.json.
_COUNTERS = {
    *("guest_running", "kvm_exits", "isolation_applied", "qemu_locked_kib", "qemu_huge_kib"),
    *("neighbour_running", "neighbour_vcpu_threads", "neighbour_qemu_threads"),
}
# What may decide a value, what explains most of them first
_AXES = ("tuning", "split", "guest", "place", "kernel", "workload", "neighbour", "repetition")
_OF_THE_KERNEL = {"uname_r", "uname_v", "realtime"}
_MOST_VALUES, _MOST_WORDS = 12, 160
_Point = tuple[str, ...]  # a cell's values of _AXES


@dataclass(frozen=True)
class Fact:
    """One line of a machine's state: a value, and which cells saw it when not all did."""

    name: str
    value: str
    seen_in: str


def machines(records: Sequence[Record]) -> list[tuple[str, list[Fact]]]:
    """Per board, guest and emulator, every fact read back from it."""
    found: dict[str, dict[str, dict[str, list[_Point]]]] = {}
    told = _Told()
    for record in records:
        cell = record.cell
        point = _point(cell)
        for machine, title in (
            ("board", cell.board),
            ("guest", f"{cell.board}-guest"),
            ("emulator", f"Emulator of {cell.board}"),
        ):
            facts = record.system.get(machine)
            for key, value in told(facts if isinstance(facts, dict) else {}):
                found.setdefault(title, {}).setdefault(key, {}).setdefault(value, []).append(point)
    return [(title, _facts(keys)) for title, keys in found.items()]


def _point(cell: Cell) -> _Point:
    return tuple(str(getattr(cell, axis)) for axis in _AXES)


@dataclass
class _Told:
    """Names and values to display; the same value is in many records, and put into words once."""

    known: dict[tuple[str, bytes], tuple[tuple[str, str], ...]] = field(default_factory=dict)

    def __call__(self, facts: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        """Those of one machine."""
        for key, value in facts.items():
            if key not in _COUNTERS:
                asked = (key, marshal.dumps(value, 2))
                if asked not in self.known:
                    self.known[asked] = tuple(_in_words(key, value))
                yield from self.known[asked]


def _in_words(key: str, value: Any) -> Iterator[tuple[str, str]]:
    """A fact; the items of a setting become one line."""
    if key == "settings" and isinstance(value, list):
        for setting, rows in rows_by_setting(value).items():
            yield f"{_SETTING}{setting}", describe_rows(rows)
    else:
        yield key, _VALUES.get((key, str(value)), _fact(value))


def _facts(keys: Mapping[str, Mapping[str, Sequence[_Point]]]) -> list[Fact]:
    order = {key: place for place, key in enumerate((*_FACT_NAMES, *(f"{_SETTING}{name}" for name in SETTINGS)))}
    ordered = sorted(keys, key=lambda key: (order.get(key, len(order)), key))
    return [fact for key in ordered for fact in _values(key, keys[key])]


def _values(key: str, values: Mapping[str, Sequence[_Point]]) -> Iterator[Fact]:
    """The values of one fact; of very many only the most frequent."""
    name = _fact_name(key)
    if len(values) == 1:
        yield from (Fact(name, value, "") for value in values)
        return
    seen = seen_in(values, "kernel" if key in _OF_THE_KERNEL else "")
    frequent = sorted(values, key=lambda value: -len(values[value]))[:_MOST_VALUES]
    yield from (Fact(name, value, seen[value]) for value in values if value in frequent)
    if rest := len(values) - len(frequent):
        yield Fact(name, f"and {number(rest)} other values", "in system.json of each cell")


def _fact_name(key: str) -> str:
    return key if key.startswith(_SETTING) else _FACT_NAMES.get(key, key.replace("_", " "))


def seen_in(values: Mapping[str, Sequence[_Point]], likely: str = "") -> dict[str, str]:
    """For each value which cells saw it, by the fewest axes that decide it; a count where no three axes do.

    So no two values are said to be of the same cells. An axis that is ``likely`` to decide them is tried first.
    """
    points = [point for those in values.values() for point in those]
    varying = [n for n in range(len(_AXES)) if len({point[n] for point in points}) > 1]
    varying.sort(key=lambda n: _AXES[n] != likely)
    for size in (1, 2, 3):
        for axes in itertools.combinations(varying, size):
            if (decided := _decided(values, axes)) is not None:
                return {value: _described(axes, those) for value, those in decided.items()}
    return {value: f"in {number(len(those))} of {number(len(points))} cells" for value, those in values.items()}


def _decided(values: Mapping[str, Sequence[_Point]], axes: Sequence[int]) -> dict[str, list[_Point]] | None:
    """The values of these axes by value; None if a combination of them goes with two values."""
    owner: dict[_Point, str] = {}
    for value, points in values.items():
        for point in points:
            if owner.setdefault(tuple(point[axis] for axis in axes), value) != value:
                return None
    found: dict[str, list[_Point]] = {value: [] for value in values}
    for point, value in owner.items():
        found[value].append(point)
    return found


def _described(axes: Sequence[int], points: Sequence[_Point]) -> str:
    """``with kernel a, b`` or, of several axes, ``with tuning full, split 1-1, 1-2; tuning paper, split 3-1``."""
    if len(axes) == 1:
        text = f"{_AXES[axes[0]]} {', '.join(_without_ablations([point[0] for point in points]))}"
    else:
        last: dict[_Point, list[str]] = {}
        for point in points:
            last.setdefault(point[:-1], []).append(point[-1])
        same: dict[tuple[_Point, tuple[str, ...]], list[str]] = {}  # that differ in the first axis only
        for point, ends in last.items():
            same.setdefault((point[1:], tuple(ends)), []).append(point[0])
        text = "; ".join(
            ", ".join(
                f"{_AXES[axis]} {', '.join(_without_ablations(named))}"
                for axis, named in zip(axes, [firsts, *([each] for each in rest), list(ends)], strict=True)
            )
            for (rest, ends), firsts in same.items()
        )
    return f"with {text}" if len(text) <= _MOST_WORDS else f"in {number(len(points))} combinations of " + _named(axes)


def _named(axes: Sequence[int]) -> str:
    return " and ".join(_AXES[axis] for axis in axes)


def _without_ablations(names: Sequence[str]) -> list[str]:
    """Of several ablations of a tuning only their number."""
    bases = Counter(name.partition(MINUS)[0] for name in names if MINUS in name)
    said: dict[str, None] = {}
    for name in names:
        base = name.partition(MINUS)[0]
        many = MINUS in name and bases[base] > 2
        said[f"{bases[base]} tunings of {base} without one setting" if many else name] = None
    return list(said)


def _fact(value: Any) -> str:
    """Any JSON value as text."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        # thread ids differ from run to run
        return ", ".join(f"{key} {_fact(each)}" for key, each in value.items() if key != "tid")
    if isinstance(value, list):
        between = "\n" if any(isinstance(each, Mapping) for each in value) else " "
        return between.join(_fact(each) for each in value)
    return str(value) if value not in (None, "") else EN_DASH
