"""Figures as inline SVG; how they look is judged by eye, that they are whole and stable is tested here."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree

import pytest

from rtvirt_runner.analysis.histogram import Histogram
from rtvirt_runner.report.figures.comparisons import SpanRow, span_figure
from rtvirt_runner.report.figures.drawing import HUES, Axis, Canvas, Drawing
from rtvirt_runner.report.figures.histograms import MOST_LANES, Lane, histogram_figures

HOST = Histogram({55: 900, 60: 99, 140: 1}, 0, 55, 55.6, 140, 20000)
GUEST = Histogram({200: 700, 400: 299}, 1, 200, 285.0, 25123, 20000)
LANES = [Lane("virtual-rpi2", "split 1-1", "1-1", HOST, GUEST), Lane("virtual-cb2", "split 1-1", "1-1", HOST, None)]


def texts(svg: str) -> list[str]:
    return [
        " ".join(each.itertext()).strip() for each in ElementTree.fromstring(svg).iter() if each.tag.endswith("text")
    ]


def drawing(lanes: list[Lane] = LANES, unit: str = "µs (virtual time)") -> Drawing:
    (only,) = histogram_figures(lanes, unit, "core_splits")
    return only


def figure(lanes: list[Lane] = LANES, unit: str = "µs (virtual time)") -> str:
    return drawing(lanes, unit).svg()


def test_a_figure_names_boards_places_and_numbers_and_says_virtual_time() -> None:
    words = texts(figure())
    assert "latency in µs (virtual time)" in words
    for word in ("virtual-rpi2", "virtual-cb2", "split 1-1", "host", "guest", "140", "25,123", "not measured"):
        assert word in words


def test_real_time_is_not_called_virtual() -> None:
    assert "latency in µs" in texts(figure(unit="µs"))
    assert "virtual time" not in figure(unit="µs")


def test_the_same_lanes_give_the_same_bytes_without_a_date() -> None:
    assert figure() == figure()
    assert not re.search(r"20\d\d-\d\d-\d\d", figure())


def test_a_quantile_in_the_overflow_is_shown_as_a_bound() -> None:
    overflowed = Histogram({200: 90}, 10, 200, 300.0, 25123, 20000)
    assert "≥ 20,000" in texts(figure([Lane("pi", "split 1-1", "1-1", None, overflowed)]))


def test_on_the_page_colours_are_the_pages_and_in_files_those_of_light_mode() -> None:
    inline = drawing().inline()
    assert not re.search(r"#[0-9a-f]{6}", inline)
    assert "var(--fig-hue-1)" in inline and "var(--fig-ink)" in inline
    assert "var(" not in figure() and "#0072b2" in figure()


def test_a_figure_is_drawn_for_wide_and_for_narrow_screens_with_the_same_numbers() -> None:
    wide, narrow = (f"{each}</svg>" for each in drawing().inline().split("</svg>")[:2])
    assert 'class="for-wide"' in wide and 'class="for-narrow"' in narrow
    numbers = {each for each in texts(wide) if re.fullmatch(r"[\d,≥ ]+", each)}
    assert {"140", "60", "25,123"} <= numbers & set(texts(narrow))
    assert "split 1-1" in texts(narrow)


def test_no_text_and_no_mark_lies_outside_of_a_canvas() -> None:
    for canvas in (drawing().wide, drawing().narrow):
        for item in canvas.items:
            if hasattr(item, "text"):
                assert 0 <= item.x <= canvas.width and 0 <= item.y <= canvas.height
            else:
                points = [point for part in item.parts for point in part]
                assert all(-1 <= x <= canvas.width + 1 and -1 <= y <= canvas.height + 1 for x, y in points)


def test_a_figure_has_no_ids_that_another_one_on_the_page_could_have() -> None:
    assert not re.search(r'\bid="|url\(|href', drawing().inline())


def test_a_png_shows_the_same() -> None:
    png = drawing().png()
    assert png.startswith(b"\x89PNG") and png == drawing().png()
    assert int.from_bytes(png[16:20], "big") == 2 * drawing().wide.width


def test_very_many_lanes_become_an_overview_and_those_with_the_latest_wake_ups() -> None:
    lanes = [
        Lane("pi", f"point {n}", "1-1", HOST, Histogram({200 + n: 9}, 0, 200, 250.0, 300 + n, 20000))
        for n in range(1000)
    ]
    overview, latest = histogram_figures(lanes, "µs", "all")
    assert overview.note.startswith("All 1,000 points")
    assert latest.note.startswith(f"Of 1,000 points, the {MOST_LANES} with the latest wake-ups")
    labels = [each for each in texts(latest.svg()) if each.startswith("point")]
    assert labels == [f"point {n}" for n in range(1000 - MOST_LANES, 1000)]
    marks = [item for item in overview.wide.items if getattr(item, "fill", "") == HUES[1] and len(item.parts) > 1]
    assert [len(item.parts) for item in marks] == [1000]


@pytest.mark.parametrize("limits", [(28, 3400), (23, 720), (1, 20), (500, 1300), (20000, 25000), (0.46, 29)])
@pytest.mark.parametrize("width", [75, 230, 560])
def test_ticks_are_round_and_have_room(limits: tuple[float, float], width: int) -> None:
    axis = Axis(*limits, 0, width)
    ticks = axis.ticks()
    assert 2 <= len(ticks) <= width / 30
    assert ticks == sorted(set(ticks)) and all(limits[0] <= tick <= limits[1] for tick in ticks)


def test_a_text_of_a_figure_is_text_and_nothing_else() -> None:
    canvas = Canvas(100, 20)
    canvas.text(0, 10, '<b> & "x"\x1b[31m')
    svg = Drawing("x", '"><script>', lambda width, narrow: canvas).svg()
    assert texts(svg) == ['<b> & "x"\\x1b[31m']
    assert "<script" not in svg


@pytest.mark.parametrize("maximum", [130, 9000])
def test_linear_and_logarithmic_figures_show_the_maximum(maximum: int) -> None:
    histogram = Histogram({50: 10, maximum: 1}, 0, 50, 60.0, maximum, 20000)
    assert f"{maximum:,}" in texts(figure([Lane("pi", "split 1-1", "1-1", histogram, None)]))


@pytest.mark.parametrize("histogram", [Histogram({0: 5}, 0, 0, 0.0, 0, 100), Histogram({}, 500, 12, 39.0, 900, 5)])
def test_unusual_histograms_can_be_drawn(histogram: Histogram) -> None:
    assert figure([Lane("pi", "split 1-1", "1-1", histogram, None)]).endswith("</svg>\n")


def test_nothing_to_draw_is_refused() -> None:
    with pytest.raises(ValueError, match="no histogram to draw"):
        figure([Lane("pi", "split 1-1", "1-1", None, None)])


def spans(rows: list[SpanRow], mark_us: int | None = None) -> str:
    return span_figure(rows, "µs (virtual time)", "load", "Latency under load", mark_us).svg()


def test_spans_show_average_p99_and_maximum_of_each_row_and_a_line_to_compare_with() -> None:
    rows = [SpanRow("none, host", HOST, 0, True), SpanRow("none, guest", GUEST, 0, False, new_group=True)]
    words = texts(spans(rows, 1000))
    for word in (
        "none, host",
        "none, guest",
        "56",
        "60",
        "140",
        "285",
        "400",
        "25,123",
        "latency in µs (virtual time)",
    ):
        assert word in words
    assert "1,000" in words
    assert spans(rows) == spans(rows)


def test_a_row_whose_histogram_overflowed_has_a_bound() -> None:
    overflowed = Histogram({0: 90}, 10, 0, 300.0, 25123, 20000)
    assert "≥ 20,000" in texts(spans([SpanRow("guest", overflowed, 7, False)]))


def test_no_rows_are_refused() -> None:
    with pytest.raises(ValueError, match="no row to draw"):
        spans([])
