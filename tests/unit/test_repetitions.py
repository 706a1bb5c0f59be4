"""Repetitions as random effects: against a second way of computing them, and by coverage."""

from __future__ import annotations

import math
import statistics
from collections import Counter

import numpy as np
import pytest
from scipy import stats

from rtvirt_runner.analysis.estimates import Refused
from rtvirt_runner.analysis.histogram import Histogram
from rtvirt_runner.analysis.repetitions import OverRuns, over_runs, values_of_runs, variance_components


def run(samples: list[int], limit: int = 10_000) -> Histogram:
    counts = Counter(us for us in samples if us < limit)
    return Histogram(
        counts, len(samples) - counts.total(), min(samples), statistics.fmean(samples), max(samples), limit
    )


def test_the_interval_of_a_mean_is_students() -> None:
    values = [101.0, 117.0, 99.0, 130.0]
    found = over_runs(values)
    assert isinstance(found, OverRuns)
    expected = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert (found.interval.low, found.interval.high) == pytest.approx(tuple(expected))


def test_one_repetition_is_refused_with_what_is_unknown() -> None:
    refused = Refused("One repetition: nothing is known of how much runs differ, two or more are needed.")
    assert over_runs([100.0]) == refused
    assert variance_components([run([1, 2])]) == refused


def test_values_of_runs_are_the_statistics_of_each_or_refused() -> None:
    runs = [run(list(range(1, 1001))), run(list(range(501, 1501)))]
    assert values_of_runs(runs, "p99.9") == (999.0, 1499.0)
    assert values_of_runs(runs, "max") == (1000.0, 1500.0)
    assert values_of_runs(runs, "avg") == (500.5, 1000.5)
    assert values_of_runs(runs, "sd") == pytest.approx([statistics.stdev(range(1, 1001))] * 2)
    beyond = values_of_runs([runs[0], run(list(range(501, 1501)), limit=1000)], "p99")
    assert isinstance(beyond, Refused)
    assert beyond.reason.startswith("p99 of run 2 of 2: Quantile 0.99 lies among the 501 samples")


def test_components_are_those_of_the_analysis_of_variance() -> None:
    random = np.random.default_rng(4)
    samples = [list(random.integers(mean, mean + 30, size)) for mean, size in ((100, 40), (130, 50), (104, 60))]
    found = variance_components([run(each) for each in samples])
    assert not isinstance(found, Refused)
    assert found.design_effect == pytest.approx(stats.f_oneway(*samples).statistic)
    within = sum(np.var(each, ddof=1) * (len(each) - 1) for each in samples) / (150 - 3)
    assert found.within == pytest.approx(within)
    assert found.between == pytest.approx(within * (found.design_effect - 1) / ((150 - 7700 / 150) / 2))


@pytest.mark.parametrize("runs", [2, 3, 8])
def test_intervals_cover_what_they_say_where_runs_differ(runs: int) -> None:
    """Run means with a standard deviation of 12 us; the naive interval of all wake-ups hardly ever covers."""
    random = np.random.default_rng(runs)
    kept = {"mean": 0, "next": 0, "sd": 0, "naive": 0}
    for _ in range(2000):
        true = random.normal(200, 12, runs + 1)
        found = over_runs(list(random.normal(true[:runs], 20 / math.sqrt(1000))))
        assert isinstance(found, OverRuns)
        kept["mean"] += found.interval.contains(200)
        kept["next"] += found.next_run.contains(true[runs])
        kept["sd"] += found.sd_interval.contains(math.hypot(12, 20 / math.sqrt(1000)))
        kept["naive"] += abs(found.mean - 200) < 1.96 * math.hypot(20, 12) / math.sqrt(1000 * runs)
    assert {what: abs(count / 2000 - 0.95) < 0.02 for what, count in kept.items()} == {
        "mean": True,
        "next": True,
        "sd": True,
        "naive": False,
    }
