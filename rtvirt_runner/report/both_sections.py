"""Cells whose place is both: the board's own latencies beside the guest's, and its late wake-ups split between them."""

from __future__ import annotations

from collections.abc import Sequence

from rtvirt_runner.analysis.histogram import Histogram, summarize
from rtvirt_runner.analysis.measurement import Measurement
from rtvirt_runner.analysis.splits import Interval, Split, Splits, Untold, split_wakeups
from rtvirt_runner.catalogue.cpus import parse_cpu_list
from rtvirt_runner.report.blocks import Block, TableRow, common_title
from rtvirt_runner.report.figures.splits import splits_figure
from rtvirt_runner.report.format import EN_DASH, decimals, listed, number, quantile, unit

WORST = 12  # late wake-ups of a cell that are shown one by one
_UNTOLD: dict[Untold, str] = {
    "narrow": "narrower than the clocks are related",
    "unseen": "the host's thread was not due meanwhile",
    "unlisted": "the host's list was full before",
}


def both_blocks(measurements: Sequence[Measurement], axes: Sequence[str], name: str) -> list[Block]:
    """One block per cell whose place is both; ``axes`` vary in them, ``name`` is the prefix of figure ids."""
    return [_block(each, axes, f"{name}-both-{n}") for n, each in enumerate(measurements)]


def _block(measurement: Measurement, axes: Sequence[str], name: str) -> Block:
    cell, found = measurement.cell, split_wakeups(measurement)
    worst = sorted(found.splits, key=lambda each: (-each.wakeup.latency_us, each.after_us))[:WORST]
    title = f"Host and guest at the same time: {common_title(cell, axes)}, repetition {cell.repetition}"
    rows = [TableRow(_when(each), _values(each)) for each in worst]
    return Block(
        title=title,
        says=(_sides(measurement), *_says(measurement, found)),
        figure=splits_figure([(_when(each), each) for each in worst], unit(cell.clock), name, title) if worst else None,
        caption=f"The {len(worst)} latest wake-ups of the guest, in {unit(cell.clock)}, from the latest.",
        heads=("late", "host late too", "virtualization added", "mostly", "clocks known to"),
        rows=tuple(rows),
        text_columns=frozenset({3}),
        table=f"the latest wake-ups of the guest in {unit(cell.clock)}",
        by_cell=True,
    )


def _sides(measurement: Measurement) -> str:
    """Both histograms in one sentence."""
    cell, thread, host, guest = measurement.cell, measurement.cell.host_thread, measurement.host, measurement.histogram
    assert thread and host and guest
    shared = thread.cpu in parse_cpu_list(cell.guest_cpus)
    whose = "the vCPU's, above its priority" if shared else "which the guest does not have"
    where = f"core {thread.cpu}, {whose}"
    return (
        f"In {unit(cell.clock)}: the guest's cyclictest {_numbers(guest)}; the host's, on {where}, each "
        f"{number(thread.interval_us)} µs, {_numbers(host.histogram)}. Both ran at once and disturbed each other: this "
        "cell stands in no other table, comparison or verdict."
    )


def _numbers(histogram: Histogram) -> str:
    summary = summarize(histogram)
    return f"{decimals(summary.avg)} on average, p99 {quantile(summary.p99, histogram)}, {number(summary.max)} at most"


def _says(measurement: Measurement, found: Splits) -> list[str]:
    late, cell = measurement.late, measurement.cell
    assert late and cell.host_thread
    if not late.wakeups:
        return [f"No wake-up of the guest was later than {number(late.trigger_us)} µs, so there is nothing to split."]
    if found.reason:
        later = f"{number(late.total)} wake-ups of the guest were later than {number(late.trigger_us)} µs."
        return [f"{later} None is split. {found.reason}"]
    host, added = found.count("host"), found.count("virtualization")
    told = [each for each in found.splits if each.host_us is not None]
    some = f", of which the first {number(len(late.wakeups))} are listed" if late.total > len(late.wakeups) else ""
    said = [
        f"{number(late.total)} wake-ups of the guest were later than {number(late.trigger_us)} µs{some}. For more than "
        f"half of their time the host was late too in {number(host)}, and was not in {number(added)}"
        + (f"; in {number(len(told) - host - added)} that lies within the width" if len(told) > host + added else "")
        + "."
    ]
    untold = [f"{number(count)} ({why})" for key, why in _UNTOLD.items() if (count := found.untold(key))]
    if untold:
        said.append(f"Not told: {listed(untold)}.")
    said.append(
        f"The clocks of host and guest are related to {_width(found.width_us)} µs; a split is the least and the most "
        f"within that. The host counts as late from {number(cell.host_thread.late_us)} µs on, as its own cyclictest "
        "saw it."
    )
    return said


def _values(split: Split) -> tuple[str, ...]:
    mostly = split.side or (_UNTOLD[split.untold] if split.untold else "either")
    return (
        number(split.wakeup.latency_us),
        _span(split.host_us),
        _span(split.added_us),
        mostly,
        f"± {_width(split.width_us / 2)}",
    )


def _span(between: Interval | None) -> str:
    if between is None:
        return EN_DASH
    low, high = (f"{value:,.0f}" for value in between)
    return low if low == high else f"{low} to {high}"


def _width(us: float) -> str:
    return f"{us:,.0f}" if us >= 100 else decimals(us)


def _when(split: Split) -> str:
    return f"at {split.after_us / 1e6:,.3f} s"
