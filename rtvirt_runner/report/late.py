"""Late wake-ups in time, where they were listed: their order, and the tail if it may be believed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rtvirt_runner.analysis.comparisons import grouped
from rtvirt_runner.analysis.estimates import Refused
from rtvirt_runner.analysis.measurement import Measurement
from rtvirt_runner.analysis.order import FEWEST, OrderInTime, events_of, order_in_time
from rtvirt_runner.analysis.tail import tail
from rtvirt_runner.report.format import clock_suffix, number

_ONCE_IN = 1_000_000  # wake-ups, of which the tail's level is told
_ALARMS = {
    "rate": "their rate rises or falls",
    "size": "their latency rises or falls",
    "clusters": "they come in clusters",
    "waves": "they come in waves",
}


@dataclass(frozen=True)
class LateRow:
    """What is said of one cell's late wake-ups."""

    cell: str
    clock: str
    late: str  # how many, and later than what
    order: str
    tail: str


def late_rows(measurements: Sequence[Measurement]) -> list[LateRow]:
    """One per cell whose late wake-ups were listed with their times; those with too few in one row, the last."""
    listed = [each for each in measurements if each.late]
    few = [each for each in listed if each.late and len(each.late.wakeups) < FEWEST]
    together = [those for those in grouped(few, lambda each: each.cell.clock) if len(those) > 1]
    counted = {each.cell for those in together for each in those}
    return [*(_row(each) for each in listed if each.cell not in counted), *map(_few, together)]


def _few(those: Sequence[Measurement]) -> LateRow:
    totals = sorted(each.late.total for each in those if each.late)
    return LateRow(
        f"{number(len(those))} other cells",
        those[0].cell.clock,
        f"{totals[0]} to {totals[-1]} in each",
        f"Too few to tell how they come, {FEWEST} or more are needed.",
        "Not told. How late wake-ups follow each other is not known.",
    )


def _row(measurement: Measurement) -> LateRow:
    late, histogram, cell = measurement.late, measurement.histogram, measurement.cell
    assert late and histogram
    events = events_of(late, cell.interval_us)
    order = events if isinstance(events, Refused) else order_in_time(events)
    shown = "" if late.total == len(late.wakeups) else f", of which the first {number(len(late.wakeups))} are listed"
    found = tail(histogram, order)
    if isinstance(found, Refused):
        said = f"Not told. {found.reason}"
    else:
        low, high = found.shape_interval.low, found.shape_interval.high
        said = f"Shape {found.shape:.2f} ({low:.2f} to {high:.2f}). "
        level = found.level(_ONCE_IN)
        said += (
            level.reason
            if isinstance(level, Refused)
            else f"Once in {number(_ONCE_IN)} wake-ups later than {level[0]:,.0f} us ({level[1].low:,.0f} to "
            f"{level[1].high:,.0f} at 95 %)."
        )
    return LateRow(
        cell.axes,
        cell.clock,
        f"{number(late.total)} of {number(histogram.samples)} later than {number(late.trigger_us)} us"
        f"{clock_suffix(cell.clock)}{shown}",
        _order(order),
        said,
    )


def _order(order: OrderInTime | Refused) -> str:
    if isinstance(order, Refused):
        return order.reason
    if not order.alarms:
        return "Nothing speaks against their coming one by one, at one rate."
    text = ", ".join(_ALARMS[each] for each in order.alarms)
    together = f", about {1 / order.extremal_index:.1f} together" if order.clustered else ""
    return f"{text[:1].upper()}{text[1:]}{together}."
