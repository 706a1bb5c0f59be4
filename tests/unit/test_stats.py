"""Numbers from histograms, held against their definition on the sorted list of samples."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtvirt_runner.analysis.estimates import Refused
from rtvirt_runner.analysis.histogram import (
    Histogram,
    QuantileBeyondOverflow,
    merge,
    quantile,
    standard_deviation,
    summarize,
)
from rtvirt_runner.parsers.cyclictest import CyclictestRun, CyclictestThread

LIMIT = 400
samples_us = st.lists(st.integers(0, LIMIT - 1), min_size=1, max_size=300)


def histogram(samples: list[int], limit: int = LIMIT) -> Histogram:
    counts = Counter(us for us in samples if us < limit)
    beyond = sum(us >= limit for us in samples)
    return Histogram(counts, beyond, min(samples), sum(samples) / len(samples), max(samples), limit)


def nearest_rank(samples: list[int], q: float) -> int:
    return sorted(samples)[math.ceil(Fraction(str(q)) * len(samples)) - 1]


@given(samples_us, st.sampled_from([0.001, 0.07, 0.25, 0.5, 0.9, 0.99, 0.999, 1.0]))
def test_a_quantile_is_the_nearest_rank_of_the_sorted_samples(samples: list[int], q: float) -> None:
    assert quantile(histogram(samples), q) == nearest_rank(samples, q)


@given(samples_us, st.lists(st.integers(LIMIT, 10 * LIMIT), min_size=1, max_size=300))
def test_a_quantile_is_right_or_refused_when_samples_overflowed(inside: list[int], beyond: list[int]) -> None:
    whole = histogram(inside + beyond)
    expected = nearest_rank(inside + beyond, 0.9)
    if expected < LIMIT:
        assert quantile(whole, 0.9) == expected
    else:
        with pytest.raises(QuantileBeyondOverflow, match=f"among the {len(beyond)} samples"):
            quantile(whole, 0.9)


def test_a_rank_is_not_rounded_up_by_floating_point() -> None:
    """0.07 * 100 is 7.000000000000001 as a float, whose ceiling would be 8."""
    assert quantile(histogram(list(range(1, 101))), 0.07) == 7


def test_the_summary_counts_overflows_and_keeps_exact_extremes() -> None:
    summary = summarize(histogram([10] * 98 + [500, 900]))
    assert (summary.samples, summary.overflows) == (100, 2)
    assert (summary.min, summary.avg, summary.max) == (10, pytest.approx(23.8), 900)
    assert (summary.p50, summary.p99, summary.p999) == (10, None, None)


@pytest.mark.parametrize("q", [0, -0.1, 1.01])
def test_a_quantile_outside_of_its_range_is_refused(q: float) -> None:
    with pytest.raises(ValueError, match="expected 0 < q <= 1"):
        quantile(histogram([1]), q)


def test_a_quantile_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="of 0 samples"):
        quantile(Histogram({}, 0, 0, 0.0, 0, LIMIT), 0.5)


@given(st.lists(st.lists(st.integers(0, 2 * LIMIT), min_size=1), min_size=1, max_size=5))
def test_merging_histograms_is_like_pooling_their_samples(parts: list[list[int]]) -> None:
    merged, pooled = merge(histogram(part) for part in parts), histogram([us for part in parts for us in part])
    assert (merged.counts, merged.overflows) == (pooled.counts, pooled.overflows)
    assert (merged.min_us, merged.max_us) == (pooled.min_us, pooled.max_us)
    assert merged.avg_us == pytest.approx(pooled.avg_us)


def test_merging_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="no histogram to merge"):
        merge([])


def test_the_worst_thread_decides_the_maximum_of_a_run() -> None:
    worst = CyclictestThread(2, 5, 402.5, 800, {5: 1}, 1)
    best = CyclictestThread(2, 4, 5.0, 6, {4: 1, 6: 1}, 0)
    whole = Histogram.of_run(CyclictestRun((worst, best)), limit_us=400)
    assert (whole.samples, whole.min_us, whole.max_us, whole.overflows) == (4, 4, 800, 1)


@given(st.lists(st.integers(0, LIMIT - 1), min_size=2, max_size=300), st.integers(LIMIT, 10**7))
def test_a_standard_deviation_is_that_of_the_samples(samples: list[int], latest: int) -> None:
    assert standard_deviation(histogram(samples)) == pytest.approx(statistics.stdev(samples))
    assert standard_deviation(histogram([*samples, latest])) == pytest.approx(statistics.stdev([*samples, latest]))
    assert isinstance(standard_deviation(histogram([*samples, latest, latest])), Refused)


@pytest.mark.parametrize(("sd", "shown"), [(1.0, 1.041), (1.5, 1.5275), (3.0, 3.0139)])
def test_sheppards_correction_takes_back_what_cutting_to_microseconds_adds(sd: float, shown: float) -> None:
    """The exact counts of a normal latency, cut: what floating point leaves is far below the correction."""
    normal, parts = statistics.NormalDist(100.3, sd), 10**8
    counts = {us: round(parts * (normal.cdf(us + 1) - normal.cdf(us))) for us in range(70, 130)}
    whole = Histogram({us: count for us, count in counts.items() if count}, 0, 70, 99.8, 130, LIMIT)
    assert standard_deviation(whole) == pytest.approx(shown, abs=2e-4)
    assert standard_deviation(whole, sheppard=True) == pytest.approx(sd, abs=2e-4)
    assert sum(us * count for us, count in counts.items()) / parts == pytest.approx(100.3 - 0.5, abs=1e-4)


def test_a_standard_deviation_of_one_sample_is_refused() -> None:
    assert standard_deviation(histogram([7])) == Refused(
        "A standard deviation needs two wake-ups or more, this run has 1."
    )
