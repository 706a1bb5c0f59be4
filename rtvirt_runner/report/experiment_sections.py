"""Views of an experiment: each comparison becomes sentences, a figure and a table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from rtvirt_runner.analysis.comparisons import (
    HOST,
    KVMS_GIC,
    QEMUS_GIC,
    Ablation,
    GicOrder,
    Guests,
    Load,
    MergedMeasurement,
    Neighbours,
    ablations,
    gic_orders,
    guests_side_by_side,
    loads,
    neighbours,
    points,
)
from rtvirt_runner.analysis.contrasts import AxisContrasts, Judged, What, axis_contrasts
from rtvirt_runner.analysis.measurement import Measurement
from rtvirt_runner.analysis.paper import load_paper
from rtvirt_runner.catalogue.settings import SETTINGS
from rtvirt_runner.matrix.cell import Cell
from rtvirt_runner.matrix.load import HISTOGRAMS
from rtvirt_runner.report.blocks import Block, TableRow, avg_p99_max, axis_value, common_title
from rtvirt_runner.report.figures.comparisons import SpanRow, ablation_figure, span_figure
from rtvirt_runner.report.figures.drawing import Drawing
from rtvirt_runner.report.findings import ONCE, both, called, factor, factors, judged_once, told
from rtvirt_runner.report.format import EN_DASH, listed, number, quantile, ratio_2dp, unit
from rtvirt_runner.report.workload_sections import ecu_blocks, slowdown_blocks, sysbench_blocks

ACHIEVABLE_US = load_paper().budgets["paper"].latest_us  # "achievable with care": the guest's maximum under load


def blocks(
    view: str, measurements: Sequence[Measurement], axes: Sequence[str], name: str, judged: Judged
) -> list[Block]:
    """Blocks of a view over measurements of one clock; ``axes`` vary in them, ``name`` is the prefix of figure ids.

    ``judged`` has what ``contrasts_of_view`` gives for the same measurements.
    """
    measured = points(measurements)
    makers: Mapping[str, Callable[[], list[Block]]] = {
        HISTOGRAMS: lambda: [block for each in axis_contrasts(measured) if (block := _axis(each, judged))],
        "ablation": lambda: [
            _ablation(each, axes, f"{name}-ablation-{n}", judged) for n, each in enumerate(ablations(measured))
        ],
        "gic": lambda: [_gic(each, axes, f"{name}-gic-{n}", judged) for n, each in enumerate(gic_orders(measured))],
        "load": lambda: [_load(each, axes, f"{name}-load-{n}", judged) for n, each in enumerate(loads(measured))],
        "neighbour": lambda: [
            _beside(each, axes, f"{name}-neighbour-{n}", judged) for n, each in enumerate(neighbours(measured))
        ],
        "partitioning": lambda: _guests(measured, axes, f"{name}-partitioning", judged),
        "flavours": lambda: _guests(measured, axes, f"{name}-flavours", judged),
        "slowdown": lambda: slowdown_blocks(measured, axes, f"{name}-slowdown", judged),
        "sysbench": lambda: sysbench_blocks(measured, axes, judged),
        "ecu": lambda: ecu_blocks(measured, axes, f"{name}-ecu"),
    }
    return makers[view]()


def cautions(measurements: Sequence[Measurement]) -> list[str]:
    """Limits of the boards that make a comparison unsound, one sentence each."""
    said: dict[str, list[str]] = {}
    for each in measurements:
        board = each.cell.board
        emulator = each.record.system.get("emulator")
        if isinstance(emulator, dict) and emulator.get("warning"):
            said.setdefault(str(emulator["warning"]), []).append(board)
        if each.cell.clock == "virtual" and (each.cell.board_command or each.cell.neighbour_state):
            said.setdefault(_SHARED_TIME, []).append(board)
        if each.cell.clock == "virtual" and each.cell.neighbour_state:
            said.setdefault(_NO_CACHES, []).append(board)
        if each.guest_uses_tcg:
            said.setdefault(_EMULATED, []).append(board)
        if each.guest_is_compat:
            said.setdefault(_FOREIGN.format(guest=each.cell.guest), []).append(board)
    return [f"{listed(list(dict.fromkeys(boards)))}: {sentence}" for sentence, boards in said.items()]


_SHARED_TIME = (
    "the emulator runs all cores of this board in turn, on one thread, so cores that are busy share its time. Load on "
    "other cores therefore slows the measured core too, which on a chip it would not: such figures compare tunings "
    "with each other, and what isolating a core buys looks smaller than it is."
)
_NO_CACHES = (
    "the emulator has no caches and no memory bandwidth to share, so a neighbour costs nothing there: on a chip it may."
)
_EMULATED = (
    "its guests did not run under KVM but were emulated by QEMU, instruction by instruction. Their latencies say that "
    "the method works, and nothing about virtualization with KVM."
)
_FOREIGN = (
    "guest {guest} is of another architecture than the board, with a kernel and programs of its own. How much later "
    "and slower it is than the host is not only what virtualization costs: a 32-bit program takes many times as long "
    "to divide 64-bit numbers, for one."
)


# ---------------------------------------------------------------------------------------------------------- ablation


def _ablation(ablation: Ablation, axes: Sequence[str], name: str, judged: Judged) -> Block:
    base, cell = ablation.base, ablation.base.cell
    rows = [TableRow(cell.tuning, ("", *avg_p99_max(base), *[EN_DASH] * 3), base.guest_uses_tcg)]
    rows += [
        TableRow(
            f"without {each}",
            (
                _title_of(each),
                *avg_p99_max(point),
                *factors(base, point, judged),
                called(judged.of(base, point, "p99")),
            ),
            point.guest_uses_tcg,
        )
        for each, point in ablation.without
    ]
    rows += [
        TableRow(f"without {each}", (f"{_title_of(each)} (not applicable: {why})", *[EN_DASH] * 6))
        for each, why in ablation.not_applicable
    ]
    rows += [
        TableRow(each.cell.tuning, ("", *avg_p99_max(each), *[EN_DASH] * 3), each.guest_uses_tcg, True)
        for each in ablation.references
    ]
    found = {setting: judged.of(base, point, "p99") for setting, point in ablation.without}
    return Block(
        title=common_title(cell, [axis for axis in axes if axis != "tuning"], "place"),
        says=tuple(_ablation_says(ablation, judged)),
        figure=ablation_figure(ablation, found, unit(cell.clock), name),
        caption=(
            f"What each setting of {cell.tuning} buys: p99 and the latest single wake-up in {unit(cell.clock)}, with "
            "all settings (dashed) and without one at a time (–). Lines through bars of p99 are intervals, all of the "
            "page's together at 95 %; the latest wake-up is a fact about a run and is not judged. Torn bars go on; "
            "their number says how far."
        ),
        heads=(
            "what the setting is for",
            "avg",
            "p99",
            "max",
            f"avg / {cell.tuning}",
            f"p99 / {cell.tuning}",
            "p99 without it",
        ),
        rows=tuple(rows),
        text_columns=frozenset({0}),
    )


def _ablation_says(ablation: Ablation, judged: Judged) -> list[str]:
    said = []
    for what, number_of in (("the average", "avg"), ("p99", "p99")):
        whats: What = "avg" if number_of == "avg" else "p99"
        found = [(setting, judged.of(ablation.base, point, whats)) for setting, point in ablation.without]
        if judged_once([each for _, each in found]):
            said = [ONCE]
        elif sentence := told(what, found):
            said.append(sentence)
    reasons: dict[str, list[str]] = {}
    for setting, why in ablation.not_applicable:
        reasons.setdefault(why, []).append(setting)
    said += [f"Not applicable here: {listed(settings)} ({why})." for why, settings in reasons.items()]
    return [*said, "What a setting buys depends on the load: one that makes no difference here may make one elsewhere."]


def _title_of(setting: str) -> str:
    return SETTINGS[setting].title if setting in SETTINGS else ""


# ------------------------------------------------------------------------------------------------------- axis by axis


def _axis(found: AxisContrasts, judged: Judged) -> Block | None:
    """Tuning against tuning, split against split, kernel against kernel; None where no two points were repeated."""
    rows = [row for row in found.rows if any(each.call != "refused" for each in both(*row, judged))]
    if not rows:
        return None
    others = [axis for axis in ("board", "tuning", "split", "kernel", "workload") if axis != found.axis]
    varied = [axis for axis in others if len({getattr(base.cell, axis) for base, _ in rows}) > 1]
    return Block(
        title=f"{found.axis.capitalize()} against {found.axis} {found.base}",
        says=(_axis_says(found, rows, "avg", "the average", judged), _axis_says(found, rows, "p99", "p99", judged)),
        figure=None,
        caption="",
        heads=(f"avg, {found.base}", "avg", "factor", f"p99, {found.base}", "p99", "factor", "p99 is"),
        rows=tuple(
            TableRow(
                _contrast_name(changed, found.axis, varied), _contrast(base, changed, judged), changed.guest_uses_tcg
            )
            for base, changed in rows
        ),
    )


def _axis_says(
    found: AxisContrasts,
    rows: Sequence[tuple[MergedMeasurement, MergedMeasurement]],
    what: What,
    word: str,
    judged: Judged,
) -> str:
    calls = Counter(judged.of(base, changed, what).call for base, changed in rows)
    named = {"later": calls["higher"], "earlier": calls["lower"]}
    said = [f"{name} at {count}" for name, count in named.items() if count]
    against = f"Against {found.axis} {found.base}"
    if not said:
        return f"{against}, no difference of {word} was found at any of {len(rows)} points."
    rest = f"; no difference was found at {calls['not told']}" if calls["not told"] else ""
    return f"{against}, {word} is {listed(said)} of {len(rows)} points{rest}."


def _contrast_name(point: MergedMeasurement, axis: str, varied: Sequence[str]) -> str:
    cell = point.cell
    place = cell.guest if cell.place == "guest" else "host"
    return ", ".join([str(getattr(cell, axis)), *(str(getattr(cell, each)) for each in varied), place])


def _contrast(base: MergedMeasurement, changed: MergedMeasurement, judged: Judged) -> tuple[str, ...]:
    (base_avg, base_p99, _), (avg, p99, _) = avg_p99_max(base), avg_p99_max(changed)
    by_avg, by_p99 = factors(base, changed, judged)
    return base_avg, avg, by_avg, base_p99, p99, by_p99, called(judged.of(base, changed, "p99"))


# --------------------------------------------------------------------------------------------------------------- GIC


def _gic(order: GicOrder, axes: Sequence[str], name: str, judged: Judged) -> Block:
    first = order.rows[0][1].cell
    several = len({point.cell.guest for _, point in order.rows}) > len({what for what, _ in order.rows})
    labels = [f"{what} ({point.cell.guest})" if several and what != HOST else what for what, point in order.rows]
    those = [point for _, point in order.rows]
    return Block(
        title=common_title(first, [axis for axis in axes if axis != "guest"]),
        says=tuple(_gic_says(order, judged)),
        figure=_spans(list(zip(labels, those, strict=True)), name, "Latency by what emulates the interrupt controller"),
        caption=f"The same wake-ups in {unit(first.clock)}, by what emulates the guest's interrupt controller (GIC).",
        heads=("avg", "p50", "p99", "max"),
        rows=tuple(
            TableRow(label, _four(point), point.guest_uses_tcg) for label, point in zip(labels, those, strict=True)
        ),
    )


def _gic_says(order: GicOrder, judged: Judged) -> list[str]:
    claim = f"The order {HOST} < {KVMS_GIC} < {QEMUS_GIC}"
    if not order.steps:
        missing = [kind for kind in (HOST, KVMS_GIC, QEMUS_GIC) if kind not in {what for what, _ in order.rows}]
        return [f"{claim} cannot be judged: not measured here: {listed(missing)}."]
    said = [_order_says(claim, order, "avg", "average", judged), _order_says("It", order, "p99", "p99", judged)]
    return [*said, ONCE] if judged_once([f for step in order.steps for f in both(*step, judged)]) else said


def _order_says(claim: str, order: GicOrder, what: What, word: str, judged: Judged) -> str:
    """Whether each step of the order is later than the one before it; as measured where that is not told."""
    found = [judged.of(*step, what) for step in order.steps]
    value: Callable[[MergedMeasurement], float] = _average if what == "avg" else _p99
    as_measured = all(value(earlier) < value(later) for earlier, later in order.steps)
    spans = listed(
        [
            factor(each, value(b), value(a)).replace("\n", " (") + ")"
            for each, (a, b) in zip(found, order.steps, strict=True)
        ]
    )
    if all(each.call == "higher" for each in found):
        return f"{claim} holds in {word}: each is later than the one before it, by {spans}."
    if any(each.call == "lower" for each in found):
        return f"{claim} does not hold in {word}: one is earlier than the one before it; they differ by {spans}."
    return (
        f"{claim} cannot be told in {word}; as measured it {'holds' if as_measured else 'does not hold'}, and they "
        f"differ by {spans}."
    )


# -------------------------------------------------------------------------------------------------------------- load


def _load(load: Load, axes: Sequence[str], name: str, judged: Judged) -> Block:
    first = load.rows[0][0].cell
    several = len({point.cell.guest for point, _ in load.rows if point.cell.place == "guest"}) > 1
    labels = [_place(point.cell, several) for point, _ in load.rows]
    return Block(
        title=common_title(first, [axis for axis in axes if axis not in ("tuning", "guest")]),
        says=tuple(_load_says(load, judged)),
        figure=_spans(
            [(label, point) for label, (point, _) in zip(labels, load.rows, strict=True)],
            name,
            "Latency while the host is loaded",
            ACHIEVABLE_US,
        ),
        caption=(
            f"Latency in {unit(first.clock)} while {first.workload} loads the host. The dashed line is at "
            f"{number(ACHIEVABLE_US)} µs, what the paper calls achievable with care for a guest's latest wake-up"
            f"{', in real time' if first.clock == 'virtual' else ''}."
        ),
        heads=("avg", "p99", "max", f"max < {number(ACHIEVABLE_US)}", "avg, guest / host", "p99, guest / host"),
        rows=tuple(_load_row(label, *row, judged) for label, row in zip(labels, load.rows, strict=True)),
    )


def _load_row(label: str, point: MergedMeasurement, host: MergedMeasurement | None, judged: Judged) -> TableRow:
    below = "yes" if point.histogram.max_us < ACHIEVABLE_US else "no"
    ratios = factors(host, point, judged) if host else (EN_DASH, EN_DASH)
    return TableRow(label, (*avg_p99_max(point), below, *ratios), point.guest_uses_tcg)


def _load_says(load: Load, judged: Judged) -> list[str]:
    inside = [point for point, _ in load.rows if point.cell.place == "guest"]
    said = []
    if inside:
        by_tuning = [f"{number(point.histogram.max_us)} with {point.cell.tuning}" for point in inside]
        said.append(f"The latest wake-up in the guest, in {unit(inside[0].cell.clock)}: {listed(by_tuning)}.")
    for point, host in load.rows:
        if host and (point.cell.kernel_params or point.cell.settings):
            p99 = (point.p99_us, host.p99_us)
            finding = judged.of(host, point, "p99")
            said.append(
                f"With tuning {point.cell.tuning}, the guest against the host with that tuning under the same load, in "
                f"{unit(point.cell.clock)}: p99 {number(p99[0])} against {number(p99[1])} "
                f"({factor(finding, *p99).replace(chr(10), ', ')}), latest wake-up "
                f"{number(point.histogram.max_us)} against {number(host.histogram.max_us)}."
            )
    return said


# --------------------------------------------------------------------------------------------------------- neighbours


def _beside(those: Neighbours, axes: Sequence[str], name: str, judged: Judged) -> Block:
    first = those.rows[0][0].cell
    labels = [f"{point.cell.tuning}, {axis_value(point.cell, 'neighbour')}" for point, _ in those.rows]
    rows = list(zip(labels, those.rows, strict=True))
    return Block(
        title=common_title(first, [axis for axis in axes if axis not in ("tuning", "neighbour")], "place"),
        says=tuple(_beside_says(those, judged)),
        figure=_spans([(label, point) for label, (point, _) in rows], name, "Latency by tuning and neighbour"),
        caption=(
            f"Latency in {unit(first.clock)} by tuning, without a neighbour and beside each. A factor is against the "
            "same tuning without a neighbour."
        ),
        heads=("avg", "p99", "max", "avg, factor", "p99, factor", "p99 is"),
        rows=tuple(_beside_row(label, *row, judged) for label, row in rows),
    )


def _beside_row(label: str, point: MergedMeasurement, alone: MergedMeasurement | None, judged: Judged) -> TableRow:
    against = (*factors(alone, point, judged), called(judged.of(alone, point, "p99"))) if alone else (EN_DASH,) * 3
    return TableRow(label, (*avg_p99_max(point), *against), point.guest_uses_tcg)


def _beside_says(those: Neighbours, judged: Judged) -> list[str]:
    said = []
    for tuning in dict.fromkeys(point.cell.tuning for point, _ in those.rows):
        points_ = [point for point, _ in those.rows if point.cell.tuning == tuning]
        latest = [f"{number(each.histogram.max_us)} with {axis_value(each.cell, 'neighbour')}" for each in points_]
        said.append(
            f"Tuning {tuning}: the latest wake-up in {unit(points_[0].cell.clock)} is "
            f"{listed(latest).replace('with no neighbour', 'without a neighbour')}."
        )
    pairs = [(point, alone) for point, alone in those.rows if alone]
    if judged_once([finding for point, alone in pairs for finding in both(alone, point, judged)]):
        return [*said, ONCE]
    found = [
        (f"neighbour {point.cell.neighbour} with tuning {point.cell.tuning}", judged.of(alone, point, "p99"))
        for point, alone in pairs
    ]
    return [*said, sentence] if (sentence := told("p99, against no neighbour,", found, "beside")) else said


# ------------------------------------------------------------------------------------------------------------- guests


def _guests(measured: Sequence[MergedMeasurement], axes: Sequence[str], name: str, judged: Judged) -> list[Block]:
    return [_side_by_side(each, axes, f"{name}-{n}", judged) for n, each in enumerate(guests_side_by_side(measured))]


def _side_by_side(guests: Guests, axes: Sequence[str], name: str, judged: Judged) -> Block:
    base, cell = guests.base, guests.base.cell
    those = [base, *guests.others]
    names = listed([each.cell.guest for each in guests.others])
    return Block(
        title=common_title(cell, [axis for axis in axes if axis != "guest"]),
        says=tuple(_guests_say(guests, judged)),
        figure=_spans([(each.cell.guest, each) for each in those], name, f"Latency in {cell.guest} and in {names}"),
        caption=f"The same wake-ups in {unit(cell.clock)} in guests in which nothing but the guest differs.",
        heads=("avg", "p99", "max", *(f"{what} / {cell.guest}" for what in ("avg", "p99"))),
        rows=tuple(
            TableRow(
                each.cell.guest,
                (*avg_p99_max(each), *((EN_DASH, EN_DASH) if each is base else factors(base, each, judged))),
                each.guest_uses_tcg,
            )
            for each in those
        ),
    )


def _guests_say(guests: Guests, judged: Judged) -> list[str]:
    base = guests.base
    found = {each.cell.guest: both(base, each, judged) for each in guests.others}
    if judged_once([finding for each in found.values() for finding in each]):
        return [*(_as_measured(each, base) for each in guests.others), ONCE]
    words = ("the average", "p99")
    sentences = (
        told(f"{word}, against {base.cell.guest},", [(name, each[n]) for name, each in found.items()], "in")
        for n, word in enumerate(words)
    )
    return [sentence for sentence in sentences if sentence]


def _as_measured(point: MergedMeasurement, base: MergedMeasurement) -> str:
    average = ratio_2dp(point.histogram.avg_us, base.histogram.avg_us)
    return (
        f"In {point.cell.guest}, a wake-up took {average} as long as in {base.cell.guest} on average, and "
        f"{ratio_2dp(point.p99_us, base.p99_us)} in p99."
    )


# ------------------------------------------------------------------------------------------------------------ helpers


def _p99(point: MergedMeasurement) -> float:
    return point.p99_us


def _average(point: MergedMeasurement) -> float:
    return point.histogram.avg_us


def _spans(rows: Sequence[tuple[str, MergedMeasurement]], name: str, label: str, mark_us: int | None = None) -> Drawing:
    tunings = list(dict.fromkeys(point.cell.tuning for _, point in rows))
    guests = list(dict.fromkeys(point.cell.guest for _, point in rows))
    spans = []
    for number_, (head, point) in enumerate(rows):
        before = rows[number_ - 1][1].cell.tuning if number_ else point.cell.tuning
        hue = tunings.index(point.cell.tuning) if len(tunings) > 1 else guests.index(point.cell.guest)
        head = f"{head}, emulated" if point.guest_uses_tcg else head
        spans.append(SpanRow(head, point.histogram, hue, point.cell.place == "host", before != point.cell.tuning))
    return span_figure(spans, unit(rows[0][1].cell.clock), name, label, mark_us)


def _place(cell: Cell, several_guests: bool) -> str:
    place = cell.guest if cell.place == "guest" and several_guests else cell.place
    return f"{cell.tuning}, {place}"


def _four(point: MergedMeasurement) -> tuple[str, str, str, str]:
    average, p99, maximum = avg_p99_max(point)
    return average, quantile(point.summary.p50, point.histogram), p99, maximum
