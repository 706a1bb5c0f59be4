"""Figures as inline SVG; how they look is judged by eye, that they are whole and stable is tested here."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree

import pytest

from rtvirt_runner.analysis.histogram import Histogram
from rtvirt_runner.report.figures.comparisons import SpanRow, span_figure
from rtvirt_runner.report.figures.histograms import Lane, histogram_figure

HOST = Histogram({55: 900, 60: 99, 140: 1}, 0, 55, 55.6, 140, 20000)
GUEST = Histogram({200: 700, 400: 299}, 1, 200, 285.0, 25123, 20000)
LANES = [Lane("virtual-rpi2", "split 1-1", "1-1", HOST, GUEST), Lane("virtual-cb2", "split 1-1", "1-1", HOST, None)]


def texts(svg: str) -> list[str]:
    return [
        " ".join(each.itertext()).strip() for each in ElementTree.fromstring(svg).iter() if each.tag.endswith("text")
    ]


def figure(lanes: list[Lane] = LANES, unit: str = "µs (virtual time)") -> str:
    svg = histogram_figure(lanes, unit, "core_splits")
    return svg.replace("xlink:", "")  # the page is HTML, which knows the prefix; the XML parser here does not


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


def test_colours_are_left_to_the_page() -> None:
    assert not re.search(r"#0[123]0[123]0[123]|#0072b2", figure())
    assert "var(--fig-hue-1)" in figure()
    assert "var(--fig-ink)" in figure()


def test_ids_carry_the_figures_name_so_that_two_can_stand_in_one_page() -> None:
    svg = figure()
    ids = re.findall(r'\bid="([^"]*)"', svg)
    assert ids
    assert all(each.startswith("core_splits-") for each in ids)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'(?:url\(|href=")#([^")]*)', svg)) <= set(ids)


@pytest.mark.parametrize("maximum", [130, 9000])
def test_linear_and_logarithmic_figures_show_the_maximum(maximum: int) -> None:
    histogram = Histogram({50: 10, maximum: 1}, 0, 50, 60.0, maximum, 20000)
    assert f"{maximum:,}" in texts(figure([Lane("pi", "split 1-1", "1-1", histogram, None)]))


@pytest.mark.parametrize("histogram", [Histogram({0: 5}, 0, 0, 0.0, 0, 100), Histogram({}, 500, 12, 39.0, 900, 5)])
def test_unusual_histograms_can_be_drawn(histogram: Histogram) -> None:
    assert figure([Lane("pi", "split 1-1", "1-1", histogram, None)]).endswith("</svg>")


def test_nothing_to_draw_is_refused() -> None:
    with pytest.raises(ValueError, match="no histogram to draw"):
        figure([Lane("pi", "split 1-1", "1-1", None, None)])


def spans(rows: list[SpanRow], mark_us: int | None = None) -> str:
    return span_figure(rows, "µs (virtual time)", "load", "Latency under load", mark_us).replace("xlink:", "")


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
