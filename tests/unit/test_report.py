"""The page and the CSV of a matrix."""

from __future__ import annotations

import csv
import dataclasses
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from fakes import (
    catalogue,
    cyclictest_json,
    done,
    failed,
    latencies,
    measure,
    system,
    virtual_lab,
    workload_output,
)

from rtvirt_runner.catalogue.lab import Lab
from rtvirt_runner.matrix.load import Matrix, load_matrix
from rtvirt_runner.matrix.results import ResultsTree
from rtvirt_runner.report.machines import seen_in
from rtvirt_runner.report.page import write_report

MATRIX = Path(__file__).parents[1] / "data" / "matrix" / "report.yml"


def smoke(clock: str = "virtual") -> Matrix:
    return load_matrix(MATRIX, virtual_lab(clock), catalogue())


@pytest.fixture
def tree(tmp_path: Path) -> ResultsTree:
    return ResultsTree(tmp_path)


def measured(tree: ResultsTree, matrix: Matrix) -> Path:
    for cell in matrix.cells:
        measure(tree, matrix.name, cell)
    return write_report(matrix, tree).page


@pytest.fixture(scope="module")
def smoke_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of the whole matrix, to be read only."""
    return measured(ResultsTree(tmp_path_factory.mktemp("results")), smoke())


class Tables(HTMLParser):
    """Collects the rows of every table, and checks that elements are closed in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.rows: list[list[str]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in ("meta", "br"):
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """A closed SVG element opens nothing."""

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "td" in self.open or "th" in self.open:
            self.rows[-1][-1] += data


def rows(page: Path) -> list[list[str]]:
    parser = Tables()
    parser.feed(page.read_text(encoding="utf-8"))
    assert parser.open == []
    return [[cell.strip() for cell in row] for row in parser.rows]


def test_the_page_stands_alone(smoke_page: Path) -> None:
    page = smoke_page
    text = page.read_text(encoding="utf-8")
    assert page.parts[-3:] == ("smoke", "report", "index.html")
    assert "<script" not in text
    # what it links to are files beside it
    links = set(re.findall(r'(?:src|href)="(?!#|[^"]*#)([^"]*)"', text))
    assert {"cells.csv", "reading-the-page.txt", "figures/preemption-virtual.svg"} <= links
    assert all((page.parent / link).is_file() for link in links)
    assert "http" not in text
    assert text.count('<svg class="for-wide"') == len(smoke().experiments)  # one figure per experiment
    assert text.count('<svg class="for-narrow"') == len(smoke().experiments)
    assert "prefers-color-scheme: dark" in text


def test_every_table_with_numbers_of_virtual_boards_says_virtual_time_at_each_board(smoke_page: Path) -> None:
    boards = [
        row for row in rows(smoke_page) if row[0].startswith("virtual-") and len(row) == 1 and "-guest" not in row[0]
    ]
    assert len(boards) == 2 + 2 + 2 + 2 + 1  # pairs on top, then cells by experiment
    assert all(row[0].endswith("virtual time") for row in boards)


def test_a_row_is_named_by_what_varies_and_the_caption_says_the_rest(smoke_page: Path) -> None:
    text = smoke_page.read_text(encoding="utf-8")
    top = text[text.index('<section id="host-guest">') : text.index('<section id="maxima">')]
    heads = re.findall(r'<th scope="row">(.*?)</th>', top)
    assert len(heads) == len(re.findall("<tr><th scope", top)) == 15
    assert heads[:3] == [f"idle, paper, {split}debian-rt" for split in ("", "1-2, ", "3-1, ")]
    assert "Where a row does not say otherwise: split 1-1." in top


def test_every_section_is_in_the_list_of_contents(smoke_page: Path) -> None:
    text = smoke_page.read_text(encoding="utf-8")
    contents = text[text.index("<nav") : text.index("</nav>")]
    linked = re.findall(r'href="#([^"]*)"', contents)
    assert linked == [each for each in re.findall(r'<section id="([^"]*)"', text) if each != "answer"]
    assert text.index('id="answer"') < text.index("<nav")


def test_every_caption_and_answer_of_virtual_boards_says_virtual_time(smoke_page: Path) -> None:
    text = smoke_page.read_text(encoding="utf-8")
    said = re.findall(r'<(?:caption|figcaption|dd class="cost"|p class="answer")>(.*?)</', text)
    assert len(said) >= 9
    assert all("virtual time" in each for each in said)
    assert "do not predict what a chip would measure" in text


def test_boards_on_different_clocks_share_no_table_and_no_figure(tree: ResultsTree) -> None:
    clocks = {"virtual-rpi2": "virtual", "virtual-cb2": "real"}
    hostvars = {name: {"rtvirt_board_cpus": 4, "rtvirt_board_clock": clock} for name, clock in clocks.items()}
    guests = [f"{name}-guest" for name in clocks]
    lab = Lab.from_inventory({"boards": [*clocks], "guests": guests}, hostvars)
    text = measured(tree, load_matrix(MATRIX, lab, catalogue())).read_text(encoding="utf-8")
    for table in re.findall(r"<table>.*?</table>", text, re.DOTALL):
        assert ("<span>virtual-rpi2 " in table) + ("<span>virtual-cb2 " in table) <= 1
        assert "<span>virtual-cb2 " not in table or "virtual time" not in table
    assert text.count('class="for-wide"') == 7  # three experiments on both clocks, one on one


def test_real_boards_are_not_said_to_keep_virtual_time(tree: ResultsTree) -> None:
    assert "virtual time" not in measured(tree, smoke("real")).read_text(encoding="utf-8")


def test_the_table_of_maxima_keeps_the_papers_values_apart(smoke_page: Path) -> None:
    page = smoke_page
    (paper,) = [row for row in rows(page) if row[0].startswith("paper (hardware")]
    assert paper == ["paper (hardware, 1,000,000 loops)", "real time", "7,214", "5,277", "3,097", "9,895"]
    at = next(n for n, row in enumerate(rows(page)) if row[:2] == ["latest, µs", "clock"])
    assert rows(page)[at + 1] == ["1-1", "1-2", "3-1", "1-1"]
    assert "It is not comparable with virtual time." in page.read_text(encoding="utf-8")


def test_the_csv_has_a_row_per_measured_cell(smoke_page: Path) -> None:
    page = smoke_page
    with (page.parent / "cells.csv").open(encoding="utf-8", newline="") as stream:
        lines = list(csv.DictReader(stream))
    assert [line["cell_id"] for line in lines] == [cell.id for cell in smoke().cells]
    assert {line["samples"] for line in lines} == {"5000"}
    assert {line["clock"] for line in lines} == {"virtual"}


def test_a_second_report_writes_nothing(tree: ResultsTree) -> None:
    folder = measured(tree, smoke()).parent

    def written() -> dict[Path, tuple[int, bytes]]:
        files = [path for path in folder.rglob("*") if path.is_file()]
        return {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in files}

    before = written()
    write_report(smoke(), tree)
    assert written() == before


def test_figures_are_files_too_and_those_that_are_gone_from_the_page_are_removed(tree: ResultsTree) -> None:
    matrix = smoke()
    folder = measured(tree, matrix).parent / "figures"
    names = {f"{each.name}-virtual.{kind}" for each in matrix.experiments for kind in ("svg", "png")}
    assert {path.name for path in folder.iterdir()} == names
    assert (folder / "untuned-virtual.png").read_bytes().startswith(b"\x89PNG")
    write_report(dataclasses.replace(matrix, experiments=matrix.experiments[:1]), tree)
    assert {path.name for path in folder.iterdir()} == {"core_splits-virtual.svg", "core_splits-virtual.png"}


def test_the_table_is_parquet_too_where_pyarrow_is_installed(tree: ResultsTree) -> None:
    pandas, _ = pytest.importorskip("pandas"), pytest.importorskip("pyarrow")
    page = measured(tree, smoke())
    frame = pandas.read_parquet(page.with_name("cells.parquet"))
    with (page.parent / "cells.csv").open(encoding="utf-8", newline="") as stream:
        lines = list(csv.DictReader(stream))
    assert list(frame.columns) == list(lines[0])
    assert list(frame["max_us"]) == [int(line["max_us"]) for line in lines]
    assert 'href="cells.parquet"' in page.read_text(encoding="utf-8")


def test_failed_and_missing_cells_are_listed_with_their_reason(tree: ResultsTree) -> None:
    matrix = smoke()
    first, second, *rest, _ = matrix.cells
    tree.write_record(matrix.name, first, failed("The guest's <console> says panic."), {}, {})
    tree.write_record(matrix.name, second, done(), {}, {"cyclictest.json": "{"})
    for cell in rest:
        measure(tree, matrix.name, cell)
    page = write_report(matrix, tree).page
    listed = {row[0]: row[1:] for row in rows(page) if row[1:2] in (["failed"], ["missing"], ["damaged"])}
    assert listed[first.id] == ["failed", "The guest's <console> says panic."]
    assert listed[second.id][0] == "damaged"
    assert listed[second.id][1].startswith("cyclictest's JSON (1 characters) is empty or cut off")
    assert listed[matrix.cells[-1].id] == ["missing", "not measured yet"]
    assert "21 of 24 cells measured" in page.read_text(encoding="utf-8")


def test_a_matrix_without_records_has_a_page_too(tree: ResultsTree) -> None:
    page = write_report(smoke(), tree).page
    assert "0 of 24 cells measured" in page.read_text(encoding="utf-8")
    assert len([row for row in rows(page) if "missing" in row]) == 24


def test_a_quantile_in_the_overflow_is_shown_as_a_bound(tree: ResultsTree) -> None:
    matrix = smoke()
    inside = {us: count for us, count in latencies(matrix.cells[0]).items() if us < 1000}
    inside[max(inside, key=lambda us: inside[us])] += 5000 - 400 - sum(inside.values())
    raw = {"cyclictest.json": cyclictest_json(inside, (25123,) * 400)}
    tree.write_record(matrix.name, matrix.cells[0], done(), {}, raw)
    (row,) = [row for row in rows(write_report(matrix, tree).page) if len(row) == 13 and row[0] == "host"]
    assert row[6:9] == ["≥ 20,000no interval", "≥ 20,000no interval", "25,123"]
    assert row[4] == row[9] == row[11] == "–"  # standard deviation, width and peaks are beyond it
    assert row[12] == "400"


def test_costs_and_the_state_of_the_machines_are_told(smoke_page: Path) -> None:
    page = smoke_page
    text = page.read_text(encoding="utf-8")
    assert "24 cells took 234.0 s by the wall clock of the controlling machine, of which 198.0 s were measuring" in text
    assert "at most 3 SSH commands and 1.5 s of overhead per cell" in text
    lines = {(row[0], row[1]) for row in rows(page) if len(row) == 2}
    assert ("kernel release", "6.12.90-rt-arm64") in lines
    assert ("PREEMPT_RT", "yes") in lines
    assert ("isolated CPUs", "1-2 with tuning paper, split 1-2") in lines
    assert ("vCPU threads", "name CPU 0/KVM, cpus 3, policy rr, priority 99 with tuning paper, split 3-1") in lines


ABLATED = ("full", *(f"full-minus-{setting}" for setting in ("irqs", "ksm", "swap", "governor", "isolcpus")))


def ablated(tree: ResultsTree, accelerator: str = "kvm") -> Path:
    """The page of a matrix with an ablation and nothing else."""
    text = (MATRIX).read_text(encoding="utf-8").split("    preemption:")[0]
    text = text.replace("reproduces: Figures 5 and 6, Table II", "views: [ablation]")
    tree.root.mkdir(exist_ok=True)
    path = tree.root / "matrix.yml"
    text = text.replace("tuning: [paper]", f"tuning: [{', '.join(ABLATED)}]")
    path.write_text(text.replace("board: [boards]", "board: [virtual-cb2]"), encoding="utf-8")
    matrix = load_matrix(path, virtual_lab(), catalogue())
    for cell in matrix.cells:
        state = system(cell)
        state["board"]["guest_accelerator"] = accelerator
        raw = {"cyclictest.json": cyclictest_json(latencies(cell))}
        tree.write_record(matrix.name, cell, done(), state, raw)
    return write_report(matrix, tree).page


def test_an_experiment_shows_what_its_matrix_asks_for(tree: ResultsTree) -> None:
    page = ablated(tree)
    text = page.read_text(encoding="utf-8")
    assert text.count('class="for-wide"') == 2  # host and guest
    assert "Counts are on a logarithmic axis" not in text
    bars = [table for table in text.split("<table")[1:] if '<th scope="row">without ' in table]
    assert bars and all("virtual time" in table.partition("</thead>")[0] for table in bars)
    assert "<details><summary>The numbers of every cell (12)</summary>" in text
    assert 'id="maxima"' not in text
    assert {"full, host", "full, guest"} <= {row[0] for row in rows(page)}  # in the details


def test_a_view_that_finds_nothing_to_compare_says_so(tree: ResultsTree) -> None:
    matrix = smoke()
    experiment = dataclasses.replace(matrix.experiments[2], views=("ablation",))
    page = measured(tree, dataclasses.replace(matrix, experiments=(experiment,)))
    assert "Nothing to compare for the view ablation yet" in page.read_text(encoding="utf-8")


def test_settings_of_a_machine_are_told_a_line_each(tree: ResultsTree) -> None:
    lines = {(row[0], row[1]) for row in rows(ablated(tree)) if len(row) == 2}
    assert ("setting rt_throttling", "ok") in lines
    assert ("setting irqs", "ok 5 of 6, 1 not to be changed") in lines
    assert ("setting governor", "not applicable: the machine does not have it") in lines
    assert any(
        name == "command line" and told.endswith("4 tunings of full without one setting") for name, told in lines
    )


def test_an_item_that_differs_is_told_with_what_was_found(tree: ResultsTree) -> None:
    matrix = smoke()
    wrong = {"setting": "ksm", "source": "/sys/ksm", "wanted": "0", "found": "1", "state": "differs"}
    state = {"board": {"settings": [wrong, "no row"], "cpuset_kind": "none"}}
    tree.write_record(matrix.name, matrix.cells[0], done(), state, {"cyclictest.json": cyclictest_json({50: 5000})})
    lines = {(row[0], row[1]) for row in rows(write_report(matrix, tree).page) if len(row) == 2}
    assert ("setting ksm", "ok 0 of 1; /sys/ksm is '1', wanted '0'") in lines
    assert ("cores kept at run time by", "none") in lines


def test_an_item_that_could_not_be_changed_is_told_with_the_reason(tree: ResultsTree) -> None:
    matrix = smoke()
    item = {"setting": "swap", "source": "swap on /dev/vdb", "wanted": "none", "found": "/dev/vdb"}
    settings = [{**item, "state": "no_tool", "tool": "swapoff"}, {**item, "setting": "ksm", "state": "denied"}]
    raw = {"cyclictest.json": cyclictest_json({50: 5000})}
    tree.write_record(matrix.name, matrix.cells[0], done(), {"board": {"settings": settings}}, raw)
    told = {row[0]: row[1] for row in rows(write_report(matrix, tree).page) if len(row) == 2}
    assert told["setting swap"].endswith("wanted 'none', and swapoff, which changes it, is not installed")
    assert "changing it is not permitted" in told["setting ksm"]


def test_an_emulated_guest_has_a_loud_badge_wherever_its_numbers_stand(tree: ResultsTree) -> None:
    badge = "emulated guest, not KVM"
    assert badge not in ablated(ResultsTree(tree.root / "kvm")).read_text(encoding="utf-8")
    page = ablated(tree, accelerator="tcg")
    numbers = [row for row in rows(page) if re.match("full.*, (host|guest)", row[0]) and len(row) > 6]
    assert len(numbers) == 12
    assert all((badge in row[0]) == ("guest" in row[0].split()[1]) for row in numbers)
    assert "Their latencies say that the method works" in page.read_text(encoding="utf-8")


def test_any_system_json_can_be_shown(tree: ResultsTree) -> None:
    matrix = smoke()
    odd = {"board": {"nested": {"a": [1, 2], "b": None}, "empty": []}, "guest": None, "else": 1}
    tree.write_record(matrix.name, matrix.cells[0], done(), odd, {"cyclictest.json": cyclictest_json({50: 5000})})
    lines = {(row[0], row[1]) for row in rows(write_report(matrix, tree).page) if len(row) == 2}
    assert ("nested", "a 1 2, b \u2013") in lines


def test_records_of_cells_that_the_matrix_no_longer_has_are_left_out(tree: ResultsTree) -> None:
    measured(tree, smoke("real"))
    assert "0 of 24 cells measured" in write_report(smoke("virtual"), tree).page.read_text(encoding="utf-8")


def test_no_two_values_of_a_fact_are_said_to_be_of_the_same_cells(tree: ResultsTree) -> None:
    matrix = smoke()
    for cell in matrix.cells:
        state = system(cell)
        state["board"]["realtime"] = cell.kernel != "linux-6.12"
        raw = {"cyclictest.json": cyclictest_json(latencies(cell)), "workload.txt": workload_output(cell)}
        tree.write_record(matrix.name, cell, done(), state, raw)
    told = [(row[0], row[1]) for row in rows(write_report(matrix, tree).page) if row[0] == "PREEMPT_RT"]
    assert ("PREEMPT_RT", "no with kernel linux-6.12") in told
    assert ("PREEMPT_RT", "yes with kernel debian-rt, linux-6.12-rt") in told


def test_a_value_that_no_axes_decide_is_told_with_a_count() -> None:
    point = ("paper", "1-1", "none", "host", "debian-rt", "idle", "none", "1")
    assert seen_in({"0": [point, point], "1": [point]}) == {"0": "in 2 of 3 cells", "1": "in 1 of 3 cells"}


def test_dates_versions_and_commits_are_told(tree: ResultsTree) -> None:
    matrix = smoke()
    for number, cell in enumerate(matrix.cells):
        commit = "0123456789abcdef" if number else "fedcba9876543210"
        controller = {
            "rtvirt": "0.1.0",
            "commit": commit,
            "dirty": not number,
            "ansible_core": "2.19.1",
            "python": "3.11.2",
        }
        raw = {"cyclictest.json": cyclictest_json(latencies(cell)), "workload.txt": workload_output(cell)}
        times = {"started_at": f"2026-01-02T03:{number:02}:05+00:00", "ended_at": f"2026-01-02T04:{number:02}:05+00:00"}
        tree.write_record(matrix.name, cell, done(**times), {**system(cell), "controller": controller}, raw)
    told = {row[0]: row[1] for row in rows(write_report(matrix, tree).page) if len(row) == 2}
    assert told["measured"] == "2026-01-02 03:00 UTC to 2026-01-02 04:23 UTC"
    assert "commit fedcba987654 with changes, ansible-core 2.19.1, Python 3.11.2 (1 cells)" in told["measured by"]
    assert "commit 0123456789ab, ansible-core 2.19.1, Python 3.11.2 (23 cells)" in told["measured by"]
    assert told["kernels of boards"].startswith("debian-rt: 6.12.90-rt-arm64 #1 SMP PREEMPT_RT Debian 6.12.90-1")
    assert told["this page"].startswith("rtvirt ")


def test_the_answer_tells_idle_and_busy_apart_and_names_the_worst(tree: ResultsTree) -> None:
    text = measured(tree, smoke()).read_text(encoding="utf-8")
    answer = text[text.index('<section id="costs-of-virtualization">') : text.index('<section id="host-guest">')]
    board = answer[answer.index("virtual-cb2") :]
    untuned, tuned = re.findall(r'<dd class="cost">(.*?)</dd>', board)
    assert "An idle wake-up in the guest takes" in untuned and "busy" not in untuned
    assert "An idle wake-up in the guest takes" in tuned and "While bitcount keeps the core busy, one takes" in tuned
    assert "Nothing else in the guest came later." in untuned
