"""Order-statistic intervals of quantiles: against enumeration, and by coverage."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
from scipy import stats

from rtvirt_runner.analysis.estimates import Refused
from rtvirt_runner.analysis.histogram import Histogram
from rtvirt_runner.analysis.quantiles import QuantileEstimate, quantile_estimate, samples_needed


def run(samples: np.ndarray, limit: int = 100_000) -> Histogram:
    counts = Counter(int(us) for us in samples if us < limit)
    beyond = len(samples) - counts.total()
    return Histogram(counts, beyond, int(samples.min()), float(samples.mean()), int(samples.max()), limit)


@pytest.mark.parametrize(("n", "q"), [(60, 0.5), (60, 0.9), (200, 0.99), (400, 0.99), (400, 0.01)])
def test_ranks_are_the_closest_pair_that_covers(n: int, q: float) -> None:
    """The second way: all pairs, and the chance of each as a sum of binomial terms."""
    terms = [math.comb(n, k) * q**k * (1 - q) ** (n - k) for k in range(n + 1)]
    pairs = {(l, u): sum(terms[l:u]) for l in range(1, n + 1) for u in range(l + 1, n + 1)}  # noqa: E741
    covering = {pair: chance for pair, chance in pairs.items() if chance >= 0.95}
    found = quantile_estimate(run(np.arange(1, n + 1)), q)  # each value is its rank
    if not covering:
        assert isinstance(found, Refused)
        return
    assert isinstance(found, QuantileEstimate)
    low, high = int(found.interval.low), int(found.interval.high)
    assert high - low == min(u - l for l, u in covering)  # noqa: E741
    assert found.interval.confidence == pytest.approx(covering[low, high])
    assert found.value == math.ceil(round(n * q, 9))


@pytest.mark.parametrize(("q", "n"), [(0.5, 6), (0.99, 299), (0.9999, 29956), (0.999999, 2995731)])
def test_the_fewest_wake_ups_for_a_quantile_are_known(q: float, n: int) -> None:
    """Two-sided by the extremes; for a far quantile -ln(0.05) / (1 - q)."""
    assert samples_needed(q) == pytest.approx(n, abs=1)


def test_a_quantile_beyond_the_data_is_refused_with_what_is_needed() -> None:
    found = quantile_estimate(run(np.arange(5000)), 0.9999)
    assert found == Refused("5,000 wake-ups are too few for an interval of quantile 0.9999, 29,956 or more are needed.")
    late = quantile_estimate(run(np.concatenate([np.arange(990), np.full(10, 5000)]), limit=1000), 0.99)
    assert isinstance(late, Refused)
    assert late.reason.endswith("among the 10 wake-ups beyond the histogram's end, 1,000 us.")
    with pytest.raises(ValueError, match="expected 0 < q < 1"):
        quantile_estimate(run(np.arange(10)), 1.0)


@pytest.mark.parametrize(("q", "n"), [(0.5, 1000), (0.99, 2000), (0.999, 5000)])
def test_intervals_cover_the_true_quantile_as_they_say(q: float, n: int) -> None:
    """A smooth latency with a heavy tail, wide against a microsecond, so that cutting plays no part."""
    random, truth = np.random.default_rng(9), int(stats.lognorm.ppf(q, 0.5, scale=20_000))
    covered, said = 0, 0.0
    for _ in range(600):
        found = quantile_estimate(run(random.lognormal(math.log(20_000), 0.5, n).astype(int), 10**7), q)
        assert isinstance(found, QuantileEstimate)
        covered += found.interval.contains(truth)
        said = found.interval.confidence
    assert 0.95 <= said < 0.97
    assert covered / 600 == pytest.approx(said, abs=0.02)
