"""Exact comparison of sealed measurements: the same inputs must have given the same histogram, bin for bin."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal

from rtvirt_runner.analysis.histogram import Histogram
from rtvirt_runner.analysis.measurement import Measurement

Verdict = Literal["same", "changed", "broken", "other inputs, same bins", "not sealed", "only here"]

_INPUTS = ("qemu", "qemu_arguments", "kernel", "command_line", "base", "queue", "files")


@dataclass(frozen=True)
class Bin:
    """A bin that holds another number of wake-ups than it did. ``us`` is its latency."""

    us: int
    before: int
    after: int


@dataclass(frozen=True)
class ExactRow:
    """One cell of both result sets.

    ``same``: the same inputs gave the same bins. ``broken``: the same inputs gave other bins, which must not be.
    ``changed``: other inputs gave other bins, ``other inputs, same bins`` the same. ``not sealed``: it cannot be told.
    """

    cell_id: str
    verdict: Verdict
    inputs: tuple[str, ...]  # those that differ
    bins: tuple[Bin, ...]  # those that differ
    moved: int  # wake-ups that lie in another bin


def compare_exactly(before: Iterable[Measurement], after: Iterable[Measurement]) -> list[ExactRow]:
    """One row per cell that either has a histogram of, in the order of ``before``, then of ``after``.

    Where a definition changed, such as a tuning's settings, a cell has another id: it is found again by its axes.
    """
    old = {each.cell.id: each for each in before if each.histogram}
    new = {each.cell.id: each for each in after if each.histogram}
    moved = {each.cell.axes: id for id, each in new.items() if id not in old}
    pairs = {id: id if id in new else moved.pop(each.cell.axes, "") for id, each in old.items()}
    rows = [_row(id, old[id], new.get(other)) for id, other in pairs.items()]
    return rows + [_row(id, None, each) for id, each in new.items() if id not in pairs.values()]


def _row(cell_id: str, old: Measurement | None, new: Measurement | None) -> ExactRow:
    if old is None or new is None:
        return ExactRow(cell_id, "only here", (), (), 0)
    if not (old.sealed and new.sealed):
        return ExactRow(cell_id, "not sealed", (), (), 0)
    defined = _different(old.cell.as_dict(), new.cell.as_dict(), [each.name for each in fields(old.cell)])
    inputs = (*defined, *_different(_sealed(old), _sealed(new), _INPUTS))
    bins = _different_bins(old, new)
    moved = sum(abs(each.after - each.before) for each in bins) // 2
    if inputs:
        return ExactRow(cell_id, "changed" if bins else "other inputs, same bins", inputs, bins, moved)
    return ExactRow(cell_id, "broken" if bins else "same", (), bins, moved)


def _sealed(measurement: Measurement) -> Mapping[str, Any]:
    sealed = measurement.record.system.get("sealed")
    return sealed if isinstance(sealed, Mapping) else {}


def _different(old: Mapping[str, Any], new: Mapping[str, Any], names: Iterable[str]) -> tuple[str, ...]:
    return tuple(name for name in names if old.get(name) != new.get(name))


def _different_bins(old: Measurement, new: Measurement) -> tuple[Bin, ...]:
    assert old.histogram and new.histogram
    before, after = _bins(old.histogram), _bins(new.histogram)
    return tuple(
        Bin(us, before.get(us, 0), after.get(us, 0))
        for us in sorted({*before, *after})
        if before.get(us, 0) != after.get(us, 0)
    )


def _bins(histogram: Histogram) -> dict[int, int]:
    """Latency in us -> wake-ups; the overflow counts as the bin at the histogram's end."""
    bins = {us: count for us, count in histogram.counts.items() if count}
    return bins | ({histogram.limit_us: histogram.overflows} if histogram.overflows else {})
