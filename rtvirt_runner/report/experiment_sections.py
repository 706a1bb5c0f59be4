"""Views of an experiment: each comparison becomes sentences, a figure and a table."""

from __future__ import annotations

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
    Spread,
    ablations,
    gic_orders,
    guests_side_by_side,
    loads,
    points,
)
from rtvirt_runner.analysis.measurement import Measurement
from rtvirt_runner.analysis.paper import load_paper
from rtvirt_runner.catalogue.settings import SETTINGS
from rtvirt_runner.matrix.cell import Cell
from rtvirt_runner.report.blocks import Block, TableRow, avg_p99_max, common_title
from rtvirt_runner.report.figures.comparisons import SpanRow, ablation_figure, span_figure
from rtvirt_runner.report.figures.drawing import Drawing
from rtvirt_runner.report.format import EN_DASH, decimals, listed, number, quantile, ratio_1dp, ratio_2dp, signed, unit
from rtvirt_runner.report.workload_sections import ecu_blocks, slowdown_blocks, sysbench_blocks

ACHIEVABLE_US = load_paper().budgets["paper"].latest_us  # "achievable with care": the guest's maximum under load


def blocks(view: str, measurements: Sequence[Measurement], axes: Sequence[str], name: str) -> list[Block]:
    """Blocks of a view over measurements of one clock; ``axes`` vary in them, ``name`` is the prefix of figure ids."""
    measured = points(measurements)
    makers: Mapping[str, Callable[[], list[Block]]] = {
        "ablation": lambda: [
            _ablation(each, axes, f"{name}-ablation-{n}") for n, each in enumerate(ablations(measured))
        ],
        "gic": lambda: [_gic(each, axes, f"{name}-gic-{n}") for n, each in enumerate(gic_orders(measured))],
        "load": lambda: [_load(each, axes, f"{name}-load-{n}") for n, each in enumerate(loads(measured))],
        "partitioning": lambda: _guests(measured, axes, f"{name}-partitioning"),
        "flavours": lambda: _guests(measured, axes, f"{name}-flavours"),
        "slowdown": lambda: slowdown_blocks(measured, axes, f"{name}-slowdown"),
        "sysbench": lambda: sysbench_blocks(measured, axes),
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
        if each.cell.clock == "virtual" and each.cell.board_command:
            said.setdefault(_SHARED_TIME, []).append(board)
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


def _ablation(ablation: Ablation, axes: Sequence[str], name: str) -> Block:
    base, cell = ablation.base, ablation.base.cell
    rows = [_setting_row(cell.tuning, "", base, base)]
    rows += [_setting_row(f"without {each}", _title_of(each), point, base) for each, point in ablation.without]
    rows += [
        TableRow(f"without {each}", (f"{_title_of(each)} (not applicable: {why})", *[EN_DASH] * 4))
        for each, why in ablation.not_applicable
    ]
    rows += [_setting_row(each.cell.tuning, "", each, base, reference=True) for each in ablation.references]
    return Block(
        title=common_title(cell, [axis for axis in axes if axis != "tuning"], "place"),
        says=tuple(_ablation_says(ablation)),
        figure=ablation_figure(ablation, unit(cell.clock), name),
        caption=(
            f"What each setting of {cell.tuning} buys: p99 and the latest single wake-up in {unit(cell.clock)}, with "
            "all settings (dashed) and without one at a time (–). Torn bars go on; their number says how far."
        ),
        heads=("what the setting is for", "p99", f"p99, to {cell.tuning}", "max", f"max, to {cell.tuning}"),
        rows=tuple(rows),
        text_columns=frozenset({0}),
    )


def _setting_row(
    head: str, what: str, point: MergedMeasurement, base: MergedMeasurement, reference: bool = False
) -> TableRow:
    later_p99, later_max = point.p99_us - base.p99_us, point.histogram.max_us - base.histogram.max_us
    differences = (EN_DASH, EN_DASH) if point is base else (signed(later_p99), signed(later_max))
    p99, maximum = quantile(point.summary.p99, point.histogram), number(point.histogram.max_us)
    return TableRow(head, (what, p99, differences[0], maximum, differences[1]), point.guest_uses_tcg, reference)


def _ablation_says(ablation: Ablation) -> list[str]:
    base = ablation.base.cell
    said = [_noise(ablation.spread, base.tuning, base.clock, f"a smaller difference from {base.tuning} means nothing")]
    if ablation.spread:
        said[0] += (
            " The same holds for one that is smaller than the repetitions without a setting differ; with few "
            "repetitions, a single late wake-up may still stand out by chance."
        )
        p99 = _effects(ablation, "p99", _p99, lambda noise: noise.p99_us)
        latest = _effects(ablation, "the latest wake-up", _latest, lambda noise: noise.max_us)
        said.append(f"{p99} {latest}")
    reasons: dict[str, list[str]] = {}
    for setting, why in ablation.not_applicable:
        reasons.setdefault(why, []).append(setting)
    said += [f"Not applicable here: {listed(settings)} ({why})." for why, settings in reasons.items()]
    return [*said, "What a setting buys depends on the load: one that makes no difference here may make one elsewhere."]


def _effects(
    ablation: Ablation, what: str, measure: Callable[[MergedMeasurement], int], noise_of: Callable[[Spread], int]
) -> str:
    worse: list[str] = []
    better: list[str] = []
    for setting, point in ablation.without:
        spread, difference = ablation.noise(point), measure(point) - measure(ablation.base)
        if spread and abs(difference) > noise_of(spread):
            (worse if difference > 0 else better).append(setting)
    said = [f"without {listed(worse, 'or')} {what} is later"] if worse else []
    said += [f"without {listed(better, 'or')} {what} is earlier"] if better else []
    if not said:
        return f"No single setting makes a difference to {what}."
    text = "; ".join(said)
    return f"{text[0].upper()}{text[1:]}."


def _title_of(setting: str) -> str:
    return SETTINGS[setting].title if setting in SETTINGS else ""


def _noise(spread: Spread | None, of: str, clock: str, so: str) -> str:
    if spread is None:
        return (
            "Each was measured once, so nothing here says by how much a second measurement would differ: take no small "
            "difference for a real one."
        )
    return (
        f"Repetitions of {of} differ by up to {number(spread.p99_us)} {unit(clock)} in p99 and "
        f"{number(spread.max_us)} {unit(clock)} in the latest wake-up: {so}."
    )


# --------------------------------------------------------------------------------------------------------------- GIC


def _gic(order: GicOrder, axes: Sequence[str], name: str) -> Block:
    first = order.rows[0][1].cell
    several = len({point.cell.guest for _, point in order.rows}) > len({what for what, _ in order.rows})
    labels = [f"{what} ({point.cell.guest})" if several and what != HOST else what for what, point in order.rows]
    those = [point for _, point in order.rows]
    return Block(
        title=common_title(first, [axis for axis in axes if axis != "guest"]),
        says=(_gic_says(order),),
        figure=_spans(list(zip(labels, those, strict=True)), name, "Latency by what emulates the interrupt controller"),
        caption=f"The same wake-ups in {unit(first.clock)}, by what emulates the guest's interrupt controller (GIC).",
        heads=("avg", "p50", "p99", "max"),
        rows=tuple(
            TableRow(label, _four(point), point.guest_uses_tcg) for label, point in zip(labels, those, strict=True)
        ),
    )


def _gic_says(order: GicOrder) -> str:
    claim = f"The order {HOST} < {KVMS_GIC} < {QEMUS_GIC}"
    average, p99 = order.holds(lambda point: point.histogram.avg_us), order.holds(_p99)
    if average is None or p99 is None:
        missing = [kind for kind in (HOST, KVMS_GIC, QEMUS_GIC) if kind not in {what for what, _ in order.rows}]
        return f"{claim} cannot be judged: not measured here: {listed(missing)}."
    if average and p99:
        return f"{claim} holds in average and in p99."
    if average or p99:
        held, broken = ("average", "p99") if average else ("p99", "average")
        return f"{claim} holds in {held}, but not in {broken}."
    return f"{claim} holds neither in average nor in p99."


# -------------------------------------------------------------------------------------------------------------- load


def _load(load: Load, axes: Sequence[str], name: str) -> Block:
    first = load.rows[0][0].cell
    several = len({point.cell.guest for point, _ in load.rows if point.cell.place == "guest"}) > 1
    labels = [_place(point.cell, several) for point, _ in load.rows]
    return Block(
        title=common_title(first, [axis for axis in axes if axis not in ("tuning", "guest")]),
        says=tuple(_load_says(load)),
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
        heads=("avg", "p99", "max", f"max < {number(ACHIEVABLE_US)}", "p99, guest / host", "max, guest / host"),
        rows=tuple(_load_row(label, *row) for label, row in zip(labels, load.rows, strict=True)),
    )


def _load_row(label: str, point: MergedMeasurement, host: MergedMeasurement | None) -> TableRow:
    histogram = point.histogram
    ratios = [ratio_1dp(point.p99_us, host.p99_us), ratio_1dp(histogram.max_us, host.histogram.max_us)] if host else []
    return TableRow(
        label,
        (
            decimals(histogram.avg_us),
            quantile(point.summary.p99, histogram),
            number(histogram.max_us),
            "yes" if histogram.max_us < ACHIEVABLE_US else "no",
            *(ratios or [EN_DASH, EN_DASH]),
        ),
        point.guest_uses_tcg,
    )


def _load_says(load: Load) -> list[str]:
    inside = [point for point, _ in load.rows if point.cell.place == "guest"]
    said = []
    if inside:
        by_tuning = [f"{number(point.histogram.max_us)} with {point.cell.tuning}" for point in inside]
        said.append(f"The latest wake-up in the guest, in {unit(inside[0].cell.clock)}: {listed(by_tuning)}.")
    for point, host in load.rows:
        if host and (point.cell.kernel_params or point.cell.settings):
            p99, latest = (_p99(point), _p99(host)), (_latest(point), _latest(host))
            said.append(
                f"With tuning {point.cell.tuning}, the guest against the host with that tuning under the same load, in "
                f"{unit(point.cell.clock)}: p99 {number(p99[0])} against {number(p99[1])} ({ratio_1dp(*p99)}), latest "
                f"wake-up {number(latest[0])} against {number(latest[1])} ({ratio_1dp(*latest)})."
            )
    return said


# ------------------------------------------------------------------------------------------------------------- guests


def _guests(measured: Sequence[MergedMeasurement], axes: Sequence[str], name: str) -> list[Block]:
    return [_side_by_side(each, axes, f"{name}-{n}") for n, each in enumerate(guests_side_by_side(measured))]


def _side_by_side(guests: Guests, axes: Sequence[str], name: str) -> Block:
    base, cell = guests.base, guests.base.cell
    those = [base, *guests.others]
    names = listed([each.cell.guest for each in guests.others])
    return Block(
        title=common_title(cell, [axis for axis in axes if axis != "guest"]),
        says=(
            *(_against(each, base) for each in guests.others),
            _noise(
                guests.spread, "one and the same guest", cell.clock, "a smaller difference between guests means nothing"
            ),
        ),
        figure=_spans([(each.cell.guest, each) for each in those], name, f"Latency in {cell.guest} and in {names}"),
        caption=f"The same wake-ups in {unit(cell.clock)} in guests in which nothing but the guest differs.",
        heads=("avg", "p99", "max", *(f"{what} / {cell.guest}" for what in ("avg", "p99", "max"))),
        rows=tuple(
            TableRow(each.cell.guest, (*avg_p99_max(each), *_ratios(each, base)), each.guest_uses_tcg) for each in those
        ),
    )


def _against(point: MergedMeasurement, base: MergedMeasurement) -> str:
    average, p99, maximum = _ratios(point, base)
    return (
        f"In {point.cell.guest}, a wake-up takes {average} as long as in {base.cell.guest} on average, {p99} in p99 "
        f"and {maximum} at its latest."
    )


# ------------------------------------------------------------------------------------------------------------ helpers


def _p99(point: MergedMeasurement) -> int:
    return point.p99_us


def _latest(point: MergedMeasurement) -> int:
    return point.histogram.max_us


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


def _ratios(point: MergedMeasurement, base: MergedMeasurement) -> tuple[str, str, str]:
    if point is base:
        return EN_DASH, EN_DASH, EN_DASH
    return (
        ratio_2dp(point.histogram.avg_us, base.histogram.avg_us),
        ratio_2dp(point.p99_us, base.p99_us),
        ratio_2dp(point.histogram.max_us, base.histogram.max_us),
    )
