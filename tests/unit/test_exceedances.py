"""Rates of late wake-ups and how long to measure: against sums of probabilities, and by coverage."""

from __future__ import annotations

import math

import numpy as np
import pytest

from rtvirt_runner.analysis import exposure
from rtvirt_runner.analysis.estimates import Refused
from rtvirt_runner.analysis.exceedances import Rate, at_most, later_than, rate
from rtvirt_runner.analysis.histogram import Histogram


def made(late: list[int], wakeups: list[int], interval_us: int = 1000) -> Rate:
    found = rate(late, wakeups, interval_us)
    assert isinstance(found, Rate), found
    return found


def poisson_below(k: int, mean: float) -> float:
    return math.fsum(math.exp(i * math.log(mean) - mean - math.lgamma(i + 1)) for i in range(k + 1))


def binomial_below(k: int, n: int, p: float) -> float:
    return math.fsum(math.comb(n, i) * p**i * (1 - p) ** (n - i) for i in range(k + 1))


@pytest.mark.parametrize("k", [0, 1, 7, 60])
def test_bounds_are_where_the_sums_of_probabilities_say(k: int) -> None:
    found = made([k], [2000], 3_600_000)  # two hours, a thousand wake-ups each
    assert found.hours == pytest.approx(2000 / 1000)
    assert poisson_below(k, 2 * found.per_hour.high) == pytest.approx(0.025)
    assert binomial_below(k, 2000, found.probability.high) == pytest.approx(0.025)
    if k:
        assert poisson_below(k - 1, 2 * found.per_hour.low) == pytest.approx(0.975)
        assert binomial_below(k - 1, 2000, found.probability.low) == pytest.approx(0.975)
    else:
        assert (found.per_hour.low, found.probability.low) == (0, 0)


def test_how_long_to_measure_is_the_inverse_of_what_was_measured() -> None:
    assert exposure.hours_needed(1.0) == pytest.approx(2.9957, abs=1e-4)
    assert exposure.rate_bounded(exposure.hours_needed(0.25)) == pytest.approx(0.25)
    assert poisson_below(0, exposure.hours_needed(1.0)) == pytest.approx(0.05)
    n = exposure.wakeups_needed(1e-6)
    assert 0.999999**n <= 0.05 < 0.999999 ** (n - 1)
    assert exposure.probability_bounded(n) == pytest.approx(1e-6, rel=1e-5)
    assert exposure.hours(3_600_000, 1000) == 1


def test_at_most_once_an_hour_is_told_when_it_can_be() -> None:
    hour = 3_600_000
    assert at_most(1.0, made([0], [3 * hour])).answer == "yes"
    short = at_most(1.0, made([0], [2 * hour]))
    assert (short.answer, short.hours_needed) == ("not told", pytest.approx(exposure.hours_needed(1.0)))
    one = at_most(1.0, made([1], [4 * hour]))
    assert (one.answer, one.hours_needed) == ("not told", pytest.approx(4.7439, abs=1e-4))
    assert at_most(1.0, made([9], [2 * hour])).answer == "no"


def test_rates_that_differ_between_runs_are_refused() -> None:
    found = rate([0, 40, 1], [5000] * 3, 1000)
    assert isinstance(found, Refused)
    assert found.reason.startswith("Runs had 0, 40, 1 late wake-ups, which differ by more than chance (p = 0.0001)")
    assert made([10, 14, 12], [5000] * 3).late == 36
    assert rate([], [], 1000) == Refused("Nothing was measured.")


def test_a_wake_up_at_the_budget_is_late_and_one_in_the_overflow_known_or_refused() -> None:
    inside = Histogram({99: 5, 100: 3, 200: 1}, 0, 99, 110.0, 200, 400)
    assert [later_than(inside, budget) for budget in (100, 101, 201, 1000)] == [4, 1, 0, 0]
    one, two = (Histogram({99: 5}, beyond, 99, 110.0, 900, 400) for beyond in (1, 2))
    assert [later_than(two, budget) for budget in (99, 400, 901)] == [7, 2, 0]
    assert (later_than(one, 900), later_than(one, 901)) == (1, 0)
    assert isinstance(later_than(two, 600), Refused)


def test_intervals_of_rates_cover_at_least_what_they_say() -> None:
    """Exact ones cover more, the fewer events there are: at twenty, less than two points more."""
    random, hour = np.random.default_rng(2), 3_600_000
    for mean, most in ((1.0, 1.0), (20.0, 0.97)):
        found = [made([int(k)], [hour]).per_hour.contains(mean) for k in random.poisson(mean, 4000)]
        assert 0.945 <= sum(found) / 4000 <= most


def test_one_rate_is_seldom_refused_as_several() -> None:
    random = np.random.default_rng(8)
    refused = sum(
        isinstance(rate([int(k) for k in random.poisson(4, 3)], [5000] * 3, 1000), Refused) for _ in range(400)
    )
    assert refused <= 10
