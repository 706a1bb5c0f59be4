"""The page of a matrix: one self-contained HTML file, with its numbers and figures as files beside it.

The same records give the same bytes, and unchanged files are not rewritten, so a report can be made at any time.
"""

from __future__ import annotations

import contextlib
import csv
import importlib.util
import io
import itertools
import math
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import jinja2
import pandas as pd
from markupsafe import Markup, escape

from rtvirt_runner.analysis.claims import judge_claims
from rtvirt_runner.analysis.comparisons import HostGuest, host_against_guest, points
from rtvirt_runner.analysis.contrasts import Judged, contrasts_of_pairs, contrasts_of_view, judge_contrasts
from rtvirt_runner.analysis.estimates import CONFIDENCE
from rtvirt_runner.analysis.frame import tidy_frame
from rtvirt_runner.analysis.measurement import Measurement, read_measurement
from rtvirt_runner.analysis.paper_tables import maxima, preemption
from rtvirt_runner.analysis.verdicts import default_budgets, matrix_verdicts
from rtvirt_runner.catalogue import collection
from rtvirt_runner.catalogue.tunings import MINUS
from rtvirt_runner.catalogue.versions import controller_versions
from rtvirt_runner.matrix.cell import BOTH, Cell
from rtvirt_runner.matrix.load import HISTOGRAMS, Experiment, Matrix
from rtvirt_runner.matrix.results import BadRecord, Record, ResultsTree, unusable
from rtvirt_runner.printable import printable, spreadsheet_text
from rtvirt_runner.report.answer import Answer, answers
from rtvirt_runner.report.blocks import Block, axis_value
from rtvirt_runner.report.both_sections import both_blocks
from rtvirt_runner.report.experiment_sections import blocks, cautions
from rtvirt_runner.report.figures.drawing import Drawing
from rtvirt_runner.report.figures.histograms import Lane, histogram_figures
from rtvirt_runner.report.format import decimals, micro, number, unit
from rtvirt_runner.report.late_causes import late_causes
from rtvirt_runner.report.machines import machines
from rtvirt_runner.report.provenance import sources
from rtvirt_runner.report.tables import Table, cell_table, pair_table, varying

if TYPE_CHECKING:
    from rtvirt_runner.report.late import LateRow

_Told = TypeVar("_Told", HostGuest, Measurement)
_TEMPLATES = Path(__file__).parent / "templates"
_GUIDE = collection.ROOT / "docs" / "reading-the-page.md"
_FIGURES = "figures"  # folder beside the page
_MOST_ROWS_OPEN = 60  # longer tables are folded on screens
_DEAREST = 20  # cells whose cost is shown one by one


@dataclass(frozen=True)
class Part:
    """An experiment's measurements on one clock: real and virtual time never share a table or a figure."""

    clock: str
    figures: list[Drawing]  # of histograms; empty where the experiment does not show them
    blocks: list[Block]  # comparisons
    empty: list[str]  # views with nothing to compare
    cautions: list[str]  # why a comparison may be unsound
    table: Table  # a row per cell

    @property
    def folded(self) -> bool:
        """Whether its table opens on demand only."""
        return not self.figures or self.table.size > _MOST_ROWS_OPEN


@dataclass(frozen=True)
class Section:
    """One experiment on the page."""

    experiment: Experiment
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
class Page:
    """The text of a page, and the figures on it."""

    text: str
    figures: tuple[Drawing, ...]


def write_report(matrix: Matrix, tree: ResultsTree, found: Sequence[Record | BadRecord] | None = None) -> Report:
    """Write ``report/index.html`` of a matrix, and beside it the table (CSV, Parquet) and the figures (SVG, PNG).

    Cells without a record are listed on the page as missing; records of cells that the matrix no longer has are left
    out; what cannot be used as a record has a line with its reason. A page with more measured cells than the new one is
    copied to ``report.previous-<n>`` first. Parquet is written where pyarrow is installed. ``found`` is what the tree
    has of the matrix, where that was read already.
    """
    found = tree.read(matrix.name, matrix.cells) if found is None else found
    stored = {each.cell: each for each in found if isinstance(each, Record)}
    records = [stored[cell] for cell in matrix.cells if cell in stored]
    folder = tree.root / matrix.name / "report"
    folder.mkdir(parents=True, exist_ok=True)
    kept = _keep_larger(folder, sum(record.output is not None for record in records))
    frame = tidy_frame(records)
    files = {"cells.csv": _as_csv(frame).encode()}
    if importlib.util.find_spec("pyarrow"):
        files["cells.parquet"] = _as_parquet(frame)
    if _GUIDE.is_file():
        files["reading-the-page.txt"] = _GUIDE.read_bytes()
    traces = tree.traces(matrix.name)
    untraced = {cell: tree.untraced(matrix.name, cell) for cell in matrix.traces if cell.id not in traces}
    page = render_page(matrix, records, unusable(found), tree.load_matrix(matrix.name), files, traces, untraced)
    for name, content in files.items():
        _write_if_changed(folder / name, content)
    if "cells.parquet" not in files:  # of an earlier report, and no longer of these cells
        (folder / "cells.parquet").unlink(missing_ok=True)
    _write_figures(folder / _FIGURES, page.figures)
    index = folder / "index.html"
    _write_if_changed(index, page.text.encode())
    return Report(index, kept)


def table(records: Iterable[Record]) -> str:
    """The tidy table as CSV; texts are written so that a spreadsheet shows them and takes none for a formula."""
    return _as_csv(tidy_frame(records))


def _as_csv(frame: pd.DataFrame) -> str:
    texts = {str(name): frame[name].map(_spreadsheet_value) for name in frame.select_dtypes(["object", "string"])}
    return str(frame.assign(**texts).to_csv(index=False, lineterminator="\n"))


def _as_parquet(frame: pd.DataFrame) -> bytes:
    stream = io.BytesIO()
    frame.to_parquet(stream, engine="pyarrow", index=False)
    return stream.getvalue()


def _spreadsheet_value(value: Any) -> Any:
    return spreadsheet_text(value) if isinstance(value, str) else value


def _write_figures(folder: Path, figures: Sequence[Drawing]) -> None:
    """Each figure as SVG and PNG; figures that the page no longer has are removed."""
    folder.mkdir(exist_ok=True)
    for drawing in figures:
        svg, png = folder / f"{drawing.name}.svg", folder / f"{drawing.name}.png"
        if _write_if_changed(svg, drawing.svg().encode()) or not png.is_file():
            _write_if_changed(png, drawing.png())
    names = {drawing.name for drawing in figures}
    for path in folder.iterdir():
        if path.suffix in (".svg", ".png") and path.stem not in names:
            path.unlink()


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
        for name, content in _contents(folder).items():
            (partial / name).parent.mkdir(parents=True, exist_ok=True)
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
    files = (path for path in folder.rglob("*") if path.is_file() and path.name[0] != ".")
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def render(matrix: Matrix, records: Sequence[Record], bad: Sequence[BadRecord] = ()) -> str:
    """The page as text; ``records`` are those of the matrix's cells, in plan order; ``bad`` cannot be used as any."""
    return render_page(matrix, records, bad).text


def render_page(
    matrix: Matrix,
    records: Sequence[Record],
    bad: Sequence[BadRecord] = (),
    stored: Mapping[str, Any] | None = None,
    files: Iterable[str] = ("cells.csv",),
    traces: Mapping[str, Sequence[Path]] | None = None,
    untraced: Mapping[Cell, str] | None = None,
) -> Page:
    """As ``render``, with figures; ``stored`` is the matrix as kept with its results, ``files`` are beside the page.

    ``traces``: the folders of traced runs by the cell's id; ``untraced``: cells that are to be traced and have no
    trace, each with its reason, which may be empty.
    """
    measurements = {record.cell: read_measurement(record) for record in records}
    # in the order of the experiments for the reader, not in that of the plan
    told = dict.fromkeys(cell for experiment in matrix.experiments for cell in experiment.cells)
    measured = [measurements[cell] for cell in told if cell in measurements and measurements[cell].histogram]
    # ablations have a view of their own
    pairs = host_against_guest(each for each in measured if MINUS not in each.cell.tuning)
    # without experiments that have views of their own, for the paper's table of maxima
    plain = {cell for each in matrix.experiments if each.views == (HISTOGRAMS,) for cell in each.cells}
    plain_pairs = host_against_guest(each for each in measured if each.cell in plain)
    by_experiment = [_by_clock(_measured(experiment, measurements)) for experiment in matrix.experiments]
    judged = judge_contrasts(
        [
            *contrasts_of_pairs(pairs),
            *(
                contrast
                for experiment, clocks in zip(matrix.experiments, by_experiment, strict=True)
                for _, those in clocks
                for view in experiment.views
                for contrast in contrasts_of_view(view, points(those))
            ),
        ]
    )
    sections = [
        _section(experiment, clocks, judged)
        for experiment, clocks in zip(matrix.experiments, by_experiment, strict=True)
    ]
    budgets = matrix.budgets or default_budgets()
    verdicts = matrix_verdicts(matrix, measured)
    gaps = _gaps(matrix, measurements, bad)
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        finalize=_shown,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters |= _FILTERS
    text = environment.get_template("report.html.j2").render(
        matrix=matrix,
        total=len(matrix.cells),
        measured=len(measured),
        sealed=sum(each.sealed for each in measured),
        any_virtual=any(cell.clock == "virtual" for cell in matrix.cells),
        answers=_by_board(answers(pairs)),
        judged=judged,
        confidence=f"{CONFIDENCE * 100:g} %",
        verdicts=[each for each in verdicts if each.budget.name == budgets[0].name],
        other_verdicts=[each for each in verdicts if each.budget.name != budgets[0].name],
        late=_late_rows(measured),
        causes=late_causes(told, traces or {}, untraced),
        claims=judge_claims(measured) if measured else [],
        pairs=[pair_table(each, clock, judged, budgets[0]) for clock, each in _by_clock(pairs)],
        maxima=[(clock, table) for clock, each in _by_clock(plain_pairs) if (table := maxima(each)).columns],
        preemption=[(clock, pair) for clock, each in _by_clock(measured) if (pair := preemption(each)).columns],
        sections=sections,
        gaps=gaps,
        most_open=_MOST_ROWS_OPEN,
        without_number=sum(not (each := measurements.get(cell)) or not each.histogram for cell in matrix.cells),
        costs=list(records),
        dearest=sorted(records, key=_cost_s, reverse=True)[:_DEAREST],
        machines=machines(records),
        sources=sources(records, stored or {}, controller_versions()),
        files=list(files),
    )
    return Page(text, tuple(drawing for section in sections for drawing in _drawings(section)))


def _late_rows(measured: Sequence[Measurement]) -> list[LateRow]:
    listed = [each for each in measured if each.late and each.cell.place != BOTH]
    if not listed:
        return []
    from rtvirt_runner.report.late import late_rows  # optimization and distributions of scipy: a second to import

    return late_rows(listed)


def _by_board(told: Sequence[Answer]) -> list[list[Answer]]:
    return [list(those) for _, those in itertools.groupby(told, key=lambda each: each.board)]


def _by_clock(items: Sequence[_Told]) -> list[tuple[str, list[_Told]]]:
    clocks = sorted({item.cell.clock for item in items})
    return [(clock, [item for item in items if item.cell.clock == clock]) for clock in clocks]


# ------------------------------------------------------------------------------------------------------ experiments


def _measured(experiment: Experiment, measurements: Mapping[Cell, Measurement]) -> list[Measurement]:
    return [each for cell in experiment.cells if (each := measurements.get(cell)) and each.histogram]


def _section(experiment: Experiment, clocks: Sequence[tuple[str, list[Measurement]]], judged: Judged) -> Section:
    axes = varying([each.cell for _, those in clocks for each in those])
    parts = []
    for clock, every in clocks:
        name = f"{experiment.name}-{clock}"
        beside = both_blocks([each for each in every if each.cell.place == BOTH], axes, name)
        those = [each for each in every if each.cell.place != BOTH]
        lanes = [_lane(pair, axes) for pair in host_against_guest(those)]
        figures = histogram_figures(lanes, unit(clock), name) if lanes and HISTOGRAMS in experiment.views else []
        views = {view: blocks(view, those, axes, name, judged) for view in experiment.views}
        shown = [block for each in views.values() for block in each]
        empty = [view for view, each in views.items() if not each and view != HISTOGRAMS]
        parts.append(Part(clock, figures, shown + beside, empty, cautions(every), cell_table(those, axes, clock)))
    return Section(experiment, parts)


def _drawings(section: Section) -> list[Drawing]:
    return [
        drawing
        for part in section.parts
        for drawing in (*(block.figure for block in part.blocks), *part.figures)
        if drawing
    ]


def _lane(pair: HostGuest, axes: Sequence[str]) -> Lane:
    others = [pair.guest if axis == "guest" else axis_value(pair.cell, axis) for axis in axes]
    others += ["emulated"] if pair.guest_uses_tcg else []
    return Lane(
        pair.cell.board, "\n".join([f"split {pair.cell.split}", *others]), pair.cell.split, pair.host_us, pair.guest_us
    )


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


# ------------------------------------------------------------------------------------------------ numbers for people


def _cost_s(record: Record) -> float:
    return record.status.overhead_s + record.status.measure_s


def _total(records: Iterable[Record], name: str) -> float:
    return math.fsum(getattr(record.status, name) for record in records)


def _two_lines(value: str) -> Markup:
    """A number of a table: what was found and, in small letters below it, how certain it is."""
    found, _, certainty = value.partition("\n")
    below = f"<small>{escape(_shown(certainty))}</small>" if certainty else ""
    return Markup(f"{escape(_shown(found))}{below}")  # both are escaped


_FILTERS: dict[str, Callable[..., Any]] = {
    "unit": unit,
    "micro": micro,
    "number": number,
    "decimals": decimals,
    "total": _total,
    "two_lines": _two_lines,
}


def _shown(value: Any) -> Any:
    """A value of the page: text without what would control the page's own; markup of the templates as it is."""
    return printable(value, keep="\n") if isinstance(value, str) and not isinstance(value, Markup) else value


def _write_if_changed(path: Path, content: bytes) -> bool:
    """Whether it was written."""
    if path.is_file() and path.read_bytes() == content:
        return False
    partial = path.with_name(f".{path.name}-{os.getpid()}")
    with _whole_or_not_at_all(partial, path):
        partial.write_bytes(content)
        partial.replace(path)
    return True


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
