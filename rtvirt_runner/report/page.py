"""The page: one self-contained HTML file per matrix, and its numbers as CSV beside it.

The same records give the same bytes, and unchanged files are not rewritten, so a report can be made at any time.
"""

from __future__ import annotations

import contextlib
import csv
import itertools
import math
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import jinja2
from markupsafe import Markup

from rtvirt_runner.analysis.comparisons import HostGuest, host_against_guest
from rtvirt_runner.analysis.frame import tidy_frame
from rtvirt_runner.analysis.histogram import Histogram, Summary, summarize
from rtvirt_runner.analysis.measurement import Measurement, read_measurement
from rtvirt_runner.analysis.paper_tables import maxima, preemption
from rtvirt_runner.analysis.setting_rows import describe_rows, rows_by_setting
from rtvirt_runner.catalogue.settings import SETTINGS
from rtvirt_runner.catalogue.tunings import MINUS
from rtvirt_runner.matrix.cell import Cell
from rtvirt_runner.matrix.load import HISTOGRAMS, Experiment, Matrix
from rtvirt_runner.matrix.results import BadRecord, Record, ResultsTree, unusable
from rtvirt_runner.printable import printable, spreadsheet_text
from rtvirt_runner.report.blocks import Block
from rtvirt_runner.report.experiment_sections import blocks, cautions
from rtvirt_runner.report.figures.histograms import Lane, histogram_figure
from rtvirt_runner.report.format import EN_DASH, decimals, number, quantile, ratio_1dp, unit

_Told = TypeVar("_Told", HostGuest, Measurement)
_TEMPLATES = Path(__file__).parent / "templates"
# Axes that are shown beside board, place and repetition, where their values vary.
_VARIED_AXES = ("kernel", "tuning", "workload", "guest")
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
}
_VALUES = {
    ("guest_accelerator", "kvm"): "KVM",
    ("guest_accelerator", "tcg"): "QEMU's emulation (tcg): this is no KVM guest",
}
_SETTING = "setting "
# Not shown: different in every cell, or shown through other facts. They are in system.json.
_COUNTERS = {"guest_running", "kvm_exits", "isolation_applied", "qemu_locked_kib", "qemu_huge_kib"} | {
    *("boot_id", "uptime_s", "boot_time_s", "frequencies", "throttled", "temperatures", "stolen", "smi_count"),
    *("pi_throttled", "pi_under_voltage"),
}


@dataclass(frozen=True)
class Part:
    """An experiment's measurements on one clock: real and virtual time never share a table or a figure."""

    clock: str
    figure: str  # histograms as SVG; empty where the experiment does not show them
    blocks: list[Block]  # comparisons
    empty: list[str]  # views with nothing to compare
    cautions: list[str]  # why a comparison may be unsound
    measurements: list[Measurement]


@dataclass(frozen=True)
class Section:
    """One experiment on the page."""

    experiment: Experiment
    axes: list[str]  # those that vary here
    parts: list[Part]


@dataclass(frozen=True)
class Gap:
    """A cell without a number, or what is in the place of a record, and why."""

    name: str  # of the cell or, where it is not of the matrix, board and folder
    status: str  # failed, missing or damaged
    reason: str


@dataclass(frozen=True)
class Report:
    """A page that was written."""

    page: Path
    kept: str  # one sentence, if the page before it had more measured cells: where that is now; empty otherwise


@dataclass(frozen=True)
class Fact:
    """One line of a machine's state: a value, and which cells saw it when not all did."""

    name: str
    value: str
    seen_in: str


def write_report(matrix: Matrix, tree: ResultsTree) -> Report:
    """Write ``report/index.html`` and ``report/cells.csv`` of a matrix.

    Cells without a record are listed on the page as missing; records of cells that the matrix no longer has are left
    out; what cannot be used as a record has a line with its reason. A page with more measured cells than the new one is
    copied to ``report.previous-<n>`` first.
    """
    found = tree.read(matrix.name)
    stored = {each.cell: each for each in found if isinstance(each, Record)}
    records = [stored[cell] for cell in matrix.cells if cell in stored]
    folder = tree.root / matrix.name / "report"
    folder.mkdir(parents=True, exist_ok=True)
    kept = _keep_larger(folder, sum(record.output is not None for record in records))
    _write_if_changed(folder / "cells.csv", table(records))
    page = folder / "index.html"
    _write_if_changed(page, render(matrix, records, unusable(found)))
    return Report(page, kept)


def table(records: Iterable[Record]) -> str:
    """The tidy table as CSV; texts are written so that a spreadsheet shows them and takes none for a formula."""
    frame = tidy_frame(records)
    texts = {str(name): frame[name].map(_spreadsheet_value) for name in frame.select_dtypes(["object", "string"])}
    return str(frame.assign(**texts).to_csv(index=False, lineterminator="\n"))


def _spreadsheet_value(value: Any) -> Any:
    return spreadsheet_text(value) if isinstance(value, str) else value


def _keep_larger(folder: Path, measured: int) -> str:
    """Copy a report with more measured cells than the one that will replace it; says so in a sentence, or ''."""
    if not (folder / "index.html").is_file() or (before := _measured_in(folder / "cells.csv")) <= measured:
        return ""
    for place in itertools.count(1):
        kept = folder.with_name(f"{folder.name}.previous-{place}")
        if not kept.exists():
            break
        if _contents(kept) == _contents(folder):
            return _kept_sentence(before, measured, kept)
    partial = folder.with_name(f".{folder.name}-{os.getpid()}")
    with _whole_or_not_at_all(partial, kept):
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
        for name, content in _contents(folder).items():
            (partial / name).write_bytes(content)
        partial.rename(kept)
    return _kept_sentence(before, measured, kept)


def _kept_sentence(before: float, measured: int, kept: Path) -> str:
    where = kept / "index.html"
    if math.isinf(before):
        return f"The page before this one has a cells.csv that cannot be read, and is kept as {where}."
    return (
        f"The page before this one had {before:.0f} measured cells, this one has {measured}; that one is kept as "
        f"{where}. Was the matrix changed, or were records removed?"
    )


def _measured_in(table: Path) -> float:
    """The measured cells of a cells.csv; infinity if it cannot be read."""
    try:
        with table.open(encoding="utf-8", newline="") as stream:
            return len([row for row in csv.DictReader(stream) if row["status"] == "done"])
    except (OSError, ValueError, KeyError, csv.Error):
        return math.inf


def _contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file() and path.name[0] != "."}


def render(matrix: Matrix, records: Sequence[Record], bad: Sequence[BadRecord] = ()) -> str:
    """The page as text; ``records`` are those of the matrix's cells, in plan order; ``bad`` cannot be used as any."""
    measurements = {record.cell: read_measurement(record) for record in records}
    # in the order of the experiments for the reader, not in that of the plan
    told = dict.fromkeys(cell for experiment in matrix.experiments for cell in experiment.cells)
    measured = [measurements[cell] for cell in told if cell in measurements and measurements[cell].histogram]
    # ablations have a view of their own
    pairs = host_against_guest(each for each in measured if MINUS not in each.cell.tuning)
    # without experiments that have views of their own, for the paper's table of maxima
    plain = {cell for each in matrix.experiments if each.views == (HISTOGRAMS,) for cell in each.cells}
    plain_pairs = host_against_guest(each for each in measured if each.cell in plain)
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters |= _FILTERS
    return environment.get_template("report.html.j2").render(
        matrix=matrix,
        total=len(matrix.cells),
        measured=measured,
        sealed=sum(each.sealed for each in measured),
        any_virtual=any(cell.clock == "virtual" for cell in matrix.cells),
        answers=_answers(pairs),
        pairs=_by_clock(pairs),
        pair_axes=_varying([pair.cell for pair in pairs]),
        maxima=[(clock, table) for clock, each in _by_clock(plain_pairs) if (table := maxima(each)).columns],
        preemption=[(clock, pair) for clock, each in _by_clock(measured) if (pair := preemption(each)).columns],
        sections=[_section(experiment, measurements) for experiment in matrix.experiments],
        gaps=_gaps(matrix, measurements, bad),
        without_number=sum(not (each := measurements.get(cell)) or not each.histogram for cell in matrix.cells),
        costs=list(records),
        machines=_machines(records),
    )


# ------------------------------------------------------------------------------------------------ the answer on top


def best_answers(matrix: Matrix, tree: ResultsTree) -> list[str]:
    """One sentence per board: guest against host, with the tuning whose maximum in the guest is lowest.

    Empty for boards of which no cell was measured both on the host and in the guest.
    """
    cells = set(matrix.cells)
    measured = [read_measurement(record) for record in tree.load_records(matrix.name) if record.cell in cells]
    pairs = host_against_guest(each for each in measured if each.histogram and MINUS not in each.cell.tuning)
    by_tuning: dict[tuple[str, str], list[HostGuest]] = {}
    for pair in pairs:
        if pair.host_us and pair.guest_us:
            by_tuning.setdefault((pair.cell.board, pair.cell.tuning), []).append(pair)
    best: dict[str, tuple[int, str]] = {}
    for (board, _), those in by_tuning.items():
        latest_us = max(pair.guest_us.max_us for pair in those if pair.guest_us)
        best[board] = min(best.get(board, (latest_us, _answer(those))), (latest_us, _answer(those)))
    return [sentence.replace("\u00a0", " ") for _, sentence in best.values()]


def _answers(pairs: Sequence[HostGuest]) -> list[str]:
    """One sentence per board and tuning: latency in the guest against the host, over all points measured on both."""
    both: dict[tuple[str, str], list[HostGuest]] = {}
    for pair in pairs:
        if pair.host_us and pair.guest_us:
            both.setdefault((pair.cell.board, pair.cell.tuning), []).append(pair)
    return [_answer(each) for each in both.values()]


def _answer(pairs: Sequence[HostGuest]) -> str:
    first = pairs[0].cell
    us = f"\u00a0{unit(first.clock)}"  # a number and its unit stay on one line
    host = [pair.host_us for pair in pairs if pair.host_us]
    guest = [pair.guest_us for pair in pairs if pair.guest_us]
    ratios = sorted(
        inside.avg_us / outside.avg_us for outside, inside in zip(host, guest, strict=True) if outside.avg_us
    )
    times = _span(f"{ratios[0]:.1f}", f"{ratios[-1]:.1f}") if ratios else "?"
    worst, worst_us = max(zip(pairs, guest, strict=True), key=lambda each: each[1].max_us)
    guests = {pair.guest for pair in pairs}
    where = [*([worst.guest] if len(guests) > 1 else []), f"split {worst.cell.split}", worst.cell.workload]
    emulated = " A guest here was emulated, without KVM." if any(pair.guest_uses_tcg for pair in pairs) else ""
    return (
        f"On {first.board} with tuning {first.tuning}, a wake-up in the guest takes {_averages(guest)}{us} on "
        f"average, against {_averages(host)}{us} on the host: {times} times as long. The latest single wake-up was "
        f"{number(worst_us.max_us)}{us} late in the guest ({', '.join(where)}) and "
        f"{number(max(each.max_us for each in host))}{us} on the host.{emulated}"
    )


def _averages(histograms: Sequence[Histogram]) -> str:
    values = sorted(each.avg_us for each in histograms)
    return _span(number(round(values[0])), number(round(values[-1])))


def _span(low: str, high: str) -> str:
    return low if low == high else f"{low} to {high}"


def _by_clock(items: Sequence[_Told]) -> list[tuple[str, list[_Told]]]:
    clocks = sorted({item.cell.clock for item in items})
    return [(clock, [item for item in items if item.cell.clock == clock]) for clock in clocks]


# ------------------------------------------------------------------------------------------------------ experiments


def _section(experiment: Experiment, measurements: Mapping[Cell, Measurement]) -> Section:
    measured = [each for cell in experiment.cells if (each := measurements.get(cell)) and each.histogram]
    axes = _varying([each.cell for each in measured])
    parts = []
    for clock, those in _by_clock(measured):
        name = f"{experiment.name}-{clock}"
        lanes = [_lane(pair, axes) for pair in host_against_guest(those)]
        figure = histogram_figure(lanes, unit(clock), name) if HISTOGRAMS in experiment.views else ""
        views = {view: blocks(view, those, axes, name) for view in experiment.views if view != HISTOGRAMS}
        shown = [block for each in views.values() for block in each]
        empty = [view for view, each in views.items() if not each]
        parts.append(Part(clock, figure, shown, empty, cautions(those), those))
    return Section(experiment, axes, parts)


def _lane(pair: HostGuest, axes: Sequence[str]) -> Lane:
    others = [pair.guest if axis == "guest" else str(getattr(pair.cell, axis)) for axis in axes]
    others += ["emulated"] if pair.guest_uses_tcg else []
    return Lane(
        pair.cell.board, "\n".join([f"split {pair.cell.split}", *others]), pair.cell.split, pair.host_us, pair.guest_us
    )


def _varying(cells: Sequence[Cell]) -> list[str]:
    """The axes whose values differ among the cells; ``guest`` only among cells in guests."""
    values: dict[str, set[str]] = {axis: {getattr(cell, axis) for cell in cells} for axis in _VARIED_AXES}
    values["guest"].discard("none")
    return [axis for axis in _VARIED_AXES if len(values[axis]) > 1]


def _gaps(matrix: Matrix, measurements: Mapping[Cell, Measurement], bad: Sequence[BadRecord]) -> list[Gap]:
    damaged = {(each.path.parent.name, each.path.name): each.reason for each in bad}
    gaps = []
    for cell in matrix.cells:
        if reason := damaged.pop((cell.board, cell.id), ""):
            gaps.append(Gap(cell.id, "damaged", reason))
        elif cell not in measurements:
            gaps.append(Gap(cell.id, "missing", "not measured yet"))
        elif measurements[cell].reason:
            gaps.append(Gap(cell.id, "failed", measurements[cell].reason))
    return gaps + [Gap("/".join(place), "damaged", reason) for place, reason in damaged.items()]


# ----------------------------------------------------------------------------------------------- state of the machines


def _machines(records: Sequence[Record]) -> list[tuple[str, list[Fact]]]:
    """Per board and per guest, every fact read back from it."""
    found: dict[str, dict[str, dict[str, list[Cell]]]] = {}
    for record in records:
        board = record.cell.board
        for machine, title in (("board", board), ("guest", f"{board}-guest"), ("emulator", f"Emulator of {board}")):
            facts = record.system.get(machine)
            for key, value in _told(facts if isinstance(facts, dict) else {}):
                found.setdefault(title, {}).setdefault(key, {}).setdefault(value, []).append(record.cell)
    return [(title, _facts(keys)) for title, keys in found.items()]


def _told(facts: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Names and values to display; the items of a setting become one line."""
    for key, value in facts.items():
        if key == "settings" and isinstance(value, list):
            for setting, rows in rows_by_setting(value).items():
                yield f"{_SETTING}{setting}", describe_rows(rows)
        elif key not in _COUNTERS:
            yield key, _VALUES.get((key, str(value)), _fact(value))


def _facts(keys: Mapping[str, Mapping[str, Sequence[Cell]]]) -> list[Fact]:
    order = {key: number for number, key in enumerate((*_FACT_NAMES, *(f"{_SETTING}{name}" for name in SETTINGS)))}
    ordered = sorted(keys, key=lambda key: (order.get(key, len(order)), key))
    return [
        Fact(_fact_name(key), value, _seen_in(cells) if len(keys[key]) > 1 else "")
        for key in ordered
        for value, cells in keys[key].items()
    ]


def _fact_name(key: str) -> str:
    if key.startswith(_SETTING):
        return key
    return _FACT_NAMES.get(key, key.replace("_", " "))


def _seen_in(cells: Sequence[Cell]) -> str:
    """Tunings and splits; of several ablations of a tuning only their number, so that it stays a line."""
    splits: dict[str, dict[str, None]] = {}
    for cell in cells:
        splits.setdefault(cell.tuning, {})[cell.split] = None
    ablations = Counter(name.partition(MINUS)[0] for name in splits if MINUS in name)
    said: dict[str, None] = {}
    for tuning, each in splits.items():
        base, minus, _ = tuning.partition(MINUS)
        named = f"{ablations[base]} tunings of {base} without one setting" if minus and ablations[base] > 2 else ""
        said[named or f"tuning {tuning}, split {', '.join(each)}"] = None
    return "with " + "; ".join(said)


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


# ------------------------------------------------------------------------------------------------ numbers for people


def _summary(histogram: Histogram) -> Summary:
    return summarize(histogram)


def _total(records: Iterable[Record], name: str) -> float:
    return math.fsum(getattr(record.status, name) for record in records)


_FILTERS: dict[str, Callable[..., Any]] = {
    "unit": unit,
    "number": number,
    "decimals": decimals,
    "quantile": quantile,
    "times": ratio_1dp,
    "summary": _summary,
    "total": _total,
}


def _shown(value: Any) -> Any:
    """A value of the page: text without what would control the page's own; markup of the templates as it is."""
    return printable(value, keep="\n") if isinstance(value, str) and not isinstance(value, Markup) else value


def _write_if_changed(path: Path, text: str) -> None:
    content = text.encode()
    if path.is_file() and path.read_bytes() == content:
        return
    partial = path.with_name(f".{path.name}-{os.getpid()}")
    with _whole_or_not_at_all(partial, path):
        partial.write_bytes(content)
        partial.replace(path)


@contextlib.contextmanager
def _whole_or_not_at_all(partial: Path, final: Path) -> Iterator[None]:
    """Remove what was written so far if the disk refuses more; the OSError names the final path."""
    try:
        yield
    except OSError as error:
        shutil.rmtree(partial, ignore_errors=True)
        with contextlib.suppress(OSError):
            partial.unlink()
        raise OSError(error.errno, error.strerror, str(final)) from error
