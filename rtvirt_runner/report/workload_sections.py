"""Views of workload output: slowdown in the guest, sysbench's tables, the events of the engine controller."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rtvirt_runner.analysis.comparisons import Foreground, MergedMeasurement, Slowdowns, foregrounds, slowdowns
from rtvirt_runner.analysis.contrasts import Judged
from rtvirt_runner.analysis.paper import SysbenchTable, load_paper
from rtvirt_runner.parsers import ecu
from rtvirt_runner.parsers.ecu import EcuRun, EventKind
from rtvirt_runner.parsers.sysbench import SysbenchRun, merge
from rtvirt_runner.parsers.workload import WorkloadRun
from rtvirt_runner.report.blocks import Block, ColumnGroup, TableRow, avg_p99_max, common_title
from rtvirt_runner.report.figures.workloads import LatenessLane, SlowdownRow, lateness_figure, slowdown_figure
from rtvirt_runner.report.findings import factor
from rtvirt_runner.report.format import (
    EN_DASH,
    clock_suffix,
    decimals,
    duration,
    listed,
    number,
    quantile,
    ratio_2dp,
    unit,
)

_PLACES = ("host", "guest")


# ---------------------------------------------------------------------------------------------------------- slowdown


def slowdown_blocks(
    measured: Sequence[MergedMeasurement], axes: Sequence[str], name: str, judged: Judged
) -> list[Block]:
    """Slowdown of workloads in the guest, with the wake-up latency beside them."""
    return [_slowdown(each, axes, f"{name}-{n}", judged) for n, each in enumerate(slowdowns(measured))]


def _slowdown(those: Slowdowns, axes: Sequence[str], name: str, judged: Judged) -> Block:
    cell = those.rows[0].cell
    several = len({(row.cell.workload, row.cell.guest) for row in those.rows}) > len(
        {row.cell.workload for row in those.rows}
    )
    labels = [f"{row.cell.workload}, {row.cell.guest}" if several else row.cell.workload for row in those.rows]
    return Block(
        title=f"Slowdown: {common_title(cell, [axis for axis in axes if axis not in ('workload', 'guest')])}",
        says=tuple(_slowdown_says(those, labels)),
        figure=slowdown_figure(
            [_slowdown_chart_row(*each) for each in zip(labels, those.rows, strict=True)], unit(cell.clock), name
        ),
        caption=(
            "How many times as long an iteration of each workload takes in the guest, and how late cyclictest wakes up "
            f"on the same core meanwhile, in {unit(cell.clock)}, from the host to the guest."
        ),
        heads=("host", "guest", "guest / host", *("avg", "p99", "max") * 2),
        rows=tuple(_slowdown_row(*each, judged) for each in zip(labels, those.rows, strict=True)),
        groups=(
            ColumnGroup("time of an iteration", cell.clock, 3),
            ColumnGroup("latency on the host, µs", cell.clock, 3),
            ColumnGroup("latency in the guest, µs", cell.clock, 3),
        ),
        table=f"the workload's speed and latencies{clock_suffix(cell.clock)}",
    )


def _slowdown_row(label: str, row: Foreground, judged: Judged) -> TableRow:
    host, guest = _both(row)
    times = factor(judged.of(host, guest, "iteration"), row.slowdown or 0.0, 1.0)
    return TableRow(
        label,
        (*_seconds(host, guest), times, *avg_p99_max(host), *avg_p99_max(guest)),
        guest.guest_uses_tcg,
    )


def _slowdown_chart_row(label: str, row: Foreground) -> SlowdownRow:
    host, guest = _both(row)
    label = f"{label}, emulated" if guest.guest_uses_tcg else label
    return SlowdownRow(label, row.slowdown or 0.0, host.histogram, guest.histogram)


def _slowdown_says(those: Slowdowns, labels: Sequence[str]) -> list[str]:
    clock = those.rows[0].cell.clock
    ordered = sorted(zip(those.rows, labels, strict=True), key=lambda each: each[0].slowdown or 0.0)
    (least, least_label), (most, most_label) = ordered[0], ordered[-1]
    if len(ordered) == 1:
        on_host, inside = _seconds(*_both(least))
        said = (
            f"An iteration of {least_label} takes {inside}{clock_suffix(clock)} in the guest and {on_host} on the "
            f"host: {_times(least)} as long."
        )
    elif _times(least) == _times(most):
        said = f"In the guest an iteration of any of {len(ordered)} takes {_times(most)} as long as on the host."
    else:
        said = (
            f"The guest slows down {least_label} least, where an iteration takes {_times(least)} as long as on the "
            f"host, and {most_label} most, where it takes {_times(most)} as long."
        )
    hosts, guests = [_both(row)[0] for row in those.rows], [_both(row)[1] for row in those.rows]
    return [
        said,
        f"Meanwhile 99 % of wake-ups come within {_p99_range(hosts)} {unit(clock)} on the host "
        f"and within {_p99_range(guests)} in the guest; the latest came after "
        f"{number(max(each.histogram.max_us for each in hosts))} on the host and after "
        f"{number(max(each.histogram.max_us for each in guests))} in the guest.",
    ]


def _both(row: Foreground) -> tuple[MergedMeasurement, MergedMeasurement]:
    if row.host is None or row.guest is None:
        raise ValueError(f"Workload '{row.cell.workload}' was not measured in both places.")
    return row.host, row.guest


def _seconds(*those: MergedMeasurement) -> tuple[str, ...]:
    return tuple(duration(each.seconds_per_iteration or 0.0) for each in those)


def _times(row: Foreground) -> str:
    return ratio_2dp(row.slowdown or 0.0, 1.0)


def _p99_range(those: Sequence[MergedMeasurement]) -> str:
    ordered = sorted(those, key=lambda each: each.p99_us)
    low, high = (quantile(each.summary.p99, each.histogram) for each in (ordered[0], ordered[-1]))
    return low if low == high else f"{low} to {high}"


# ---------------------------------------------------------------------------------------------------------- sysbench


@dataclass(frozen=True)
class _Field:
    """A row of the paper's Table III or IV."""

    head: str
    digits: int
    per_run: bool = False  # a sum of runs


_FIELDS = {  # by field of SysbenchRun
    "total_time_s": _Field("total time of a run, s", 4, per_run=True),
    "total_events": _Field("total events of a run", 0, per_run=True),
    "min_ms": _Field("min, ms", 2),
    "avg_ms": _Field("avg, ms", 2),
    "max_ms": _Field("max, ms", 2),
    "p95_ms": _Field("95th percentile, ms", 2),
    "read_mib_per_s": _Field("read, MiB/s", 2),
}


def sysbench_blocks(measured: Sequence[MergedMeasurement], axes: Sequence[str], judged: Judged) -> list[Block]:
    """Tables III and IV of the paper from measured cells, one per guest."""
    of_sysbench = [each for each in measured if each.cell.program and each.cell.program.prints == "sysbench"]
    return [_sysbench(each, axes, judged) for each in foregrounds(of_sysbench)]


def _sysbench(row: Foreground, axes: Sequence[str], judged: Judged) -> Block:
    runs = [_sysbench_run(point) for point in (row.host, row.guest)]
    of_files = any(run and run.reads_per_s is not None for run, _ in runs)
    paper = load_paper().sysbench["sysbench-fileio" if of_files else "sysbench-cpu"]
    clock = row.cell.clock
    return Block(
        title=f"sysbench: {common_title(row.cell, axes)}",
        says=tuple(_sysbench_says(row, runs, paper, judged)),
        figure=None,
        caption="",
        heads=("host", "guest", "guest / host") * 2,
        rows=tuple(_sysbench_row(name, pair, runs) for name, pair in paper.rows.items()),
        groups=(
            ColumnGroup(row.cell.board, clock, 3, guest_uses_tcg=bool(row.guest and row.guest.guest_uses_tcg)),
            ColumnGroup(f"the paper's {load_paper().hardware[paper.hardware]}", "real", 3, reference=True),
        ),
        table=f"what sysbench says{clock_suffix(clock)}, beside Table {paper.number} of the paper (hardware)",
    )


def _sysbench_run(point: MergedMeasurement | None) -> tuple[SysbenchRun | None, int]:
    """All runs of a point merged, and their number."""
    if point is None:
        return None, 0
    return merge([SysbenchRun(**run.numbers) for run in point.runs]), sum(run.runs for run in point.runs)


def _sysbench_row(name: str, paper: tuple[float, float], runs: Sequence[tuple[SysbenchRun | None, int]]) -> TableRow:
    field = _FIELDS[name]
    ours = [_value(name, run, count) for run, count in runs]
    return TableRow(field.head, (*_pair(ours, field.digits), *_pair(paper, field.digits)))


def _value(name: str, run: SysbenchRun | None, count: int) -> float | None:
    value = getattr(run, name) if run else None
    return value / count if value is not None and _FIELDS[name].per_run else value


def _pair(values: Sequence[float | None], digits: int) -> tuple[str, str, str]:
    """Host, guest, and their ratio, formatted."""
    host, guest = values
    shown = [EN_DASH if each is None else f"{each:,.{digits}f}" for each in values]
    return shown[0], shown[1], EN_DASH if host is None or guest is None else ratio_2dp(guest, host)


def _sysbench_says(
    row: Foreground, runs: Sequence[tuple[SysbenchRun | None, int]], paper: SysbenchTable, judged: Judged
) -> list[str]:
    said = []
    clock = row.cell.clock
    if row.slowdown and row.host and row.guest:
        times = factor(judged.of(row.host, row.guest, "iteration"), row.slowdown, 1.0).replace("\n", " (")
        what = "a round of primes" if paper.workload == "sysbench-cpu" else "an operation on a file"
        said.append(
            f"In the guest, {what} takes {times}) as long as on the host; on the paper's "
            f"{load_paper().hardware[paper.hardware]} it took {ratio_2dp(paper.slowdown, 1.0)} as long."
        )
    if clock == "virtual":
        said.append("The paper's times are real and do not compare with virtual time: compare the ratios.")
    counts = [f"{count} on the {place}" for place, (_, count) in zip(_PLACES, runs, strict=True) if count]
    if any(count > 1 for _, count in runs):
        counts = [each.replace("on the guest", "in the guest") for each in counts]
        said.append(
            f"Runs put together: {listed(counts)}. Times and events are a run's mean, the average is by event, and the "
            "95th percentile is the largest of any run."
        )
    return said


# ----------------------------------------------------------------------------------------------- engine controller


def ecu_blocks(measured: Sequence[MergedMeasurement], axes: Sequence[str], name: str) -> list[Block]:
    """Lateness of the engine controller's events in degrees of crank angle, one block per guest."""
    of_ecu = [
        each
        for each in measured
        if each.cell.program and each.cell.program.prints == "json" and each.runs and all(map(_is_ecu, each.runs))
    ]
    return [_ecu(each, axes, f"{name}-{n}") for n, each in enumerate(foregrounds(of_ecu))]


def _is_ecu(run: WorkloadRun) -> bool:
    return run.numbers.get("workload") == "ecu"


def _ecu(row: Foreground, axes: Sequence[str], name: str) -> Block:
    clock, emulated = row.cell.clock, bool(row.guest and row.guest.guest_uses_tcg)
    runs = {
        place: ecu.merge([ecu.parse(run.numbers) for run in point.runs])
        for place, point in zip(_PLACES, (row.host, row.guest), strict=True)
        if point
    }
    first = next(iter(runs.values()))
    kinds = list(dict.fromkeys(kind for run in runs.values() for kind in run.events))
    lanes = [
        LatenessLane(
            _words(kind),
            first.tolerance(kind),
            *(runs[place].events.get(kind) if place in runs else None for place in _PLACES),
        )
        for kind in kinds
    ]
    return Block(
        title=f"Engine controller: {common_title(row.cell, axes)}",
        says=tuple(_ecu_says(runs)),
        figure=lateness_figure(lanes, f"degrees of crank angle{clock_suffix(clock)}", name, emulated),
        caption=_ecu_caption(first, clock),
        heads=("events", "missed", "lost", "avg, µs", "max, µs", "max, degrees", "verdict"),
        rows=tuple(_ecu_rows(runs, kinds, emulated)),
        table=f"the engine controller's events, lateness in {unit(clock)} and in degrees of crank angle",
    )


def _ecu_caption(run: EcuRun, clock: str) -> str:
    degree = f" A degree lasts {decimals(run.degree_us)} {unit(clock)} on average." if run.degree_us else ""
    return (
        f"How late the controller's events came, in degrees of crank angle{clock_suffix(clock)}; profile "
        f"{run.profile}. Beyond its tolerance (dashed) an event is missed; one that never came is lost.{degree} A late "
        "tooth is not held against the controller, what it makes late is. Counts are on a logarithmic axis."
    )


def _ecu_says(runs: dict[str, EcuRun]) -> list[str]:
    said = []
    for place, run in runs.items():
        where = "In the guest" if place == "guest" else "On the host"
        outputs = _outputs(run)
        switched = sum(each.expected for each in outputs.values())
        latest, worst = max(outputs.items(), key=lambda each: each[1].max_deg, default=("", None))
        ending = f" The latest, {_words(latest)}, came {worst.max_deg:.2f} degrees late." if worst else ""
        if run.passed:
            said.append(
                f"{where} the engine runs well: of {number(switched)} times that an injector or coil was to be "
                f"switched, none was missed or lost.{ending}"
            )
        else:
            said.append(f"{where} the engine does not run well: {_faults(run, outputs, switched)}.{ending}")
        if not run.realtime:
            said.append(f"{where} the controller ran without a real-time priority.")
    return said


def _faults(run: EcuRun, outputs: dict[str, EventKind], switched: int) -> str:
    missed, lost = sum(each.missed for each in outputs.values()), sum(each.lost for each in outputs.values())
    teeth = run.events[ecu.TOOTH].lost if ecu.TOOTH in run.events else 0
    text = (
        f"of {number(switched)} times that an injector or coil was to be switched, {number(missed)} were missed and "
        f"{number(lost)} lost"
    )
    return f"{text}, and {number(teeth)} teeth of the trigger wheel went by unseen" if teeth else text


def _ecu_rows(runs: dict[str, EcuRun], kinds: Sequence[str], emulated: bool) -> list[TableRow]:
    rows = []
    for kind in kinds:
        for place, run in runs.items():
            if each := run.events.get(kind):
                numbers = (number(each.fired), number(each.missed), number(each.lost), decimals(each.avg_us))
                late = (decimals(each.max_us), f"{each.max_deg:,.2f}")
                in_emulated = emulated and place == "guest"
                rows.append(TableRow(f"{_words(kind)}, {place}", (*numbers, *late, EN_DASH), in_emulated))
    for place, run in runs.items():
        verdict = "pass" if run.passed else "fail"
        head = f"injectors and coils, {place}"
        rows.append(TableRow(head, (*_totals(run), verdict), emulated and place == "guest"))
    return rows


def _totals(run: EcuRun) -> tuple[str, ...]:
    kinds = list(_outputs(run).values())
    counts = [number(sum(getattr(each, name) for each in kinds)) for name in ("fired", "missed", "lost")]
    fired = sum(each.fired for each in kinds)
    average = decimals(sum(each.avg_us * each.fired for each in kinds) / fired) if fired else EN_DASH
    return (
        *counts,
        average,
        decimals(max(each.max_us for each in kinds)),
        f"{max(each.max_deg for each in kinds):,.2f}",
    )


def _outputs(run: EcuRun) -> dict[str, EventKind]:
    """The events of injectors and coils."""
    return {kind: each for kind, each in run.events.items() if kind != ecu.TOOTH}


def _words(kind: str) -> str:
    return kind.replace("_", " ")
