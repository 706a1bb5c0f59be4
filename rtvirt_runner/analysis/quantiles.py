"""Quantiles of one run's wake-ups with exact intervals, refused where the data end before them."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

from rtvirt_runner.analysis.estimates import CONFIDENCE, Interval, Refused
from rtvirt_runner.analysis.histogram import Histogram, QuantileBeyondOverflow, quantile, rank_value

SHOWN = ("0.5", "0.9", "0.99", "0.999", "0.9999", "0.99999", "0.999999")  # as decimals, so that ranks are exact


@dataclass(frozen=True)
class QuantileEstimate:
    """A quantile in us. ``interval.confidence`` is what its ranks give, which is the one asked for or a little more."""

    q: float
    value: int
    interval: Interval


def quantile_estimate(histogram: Histogram, q: float, confidence: float = CONFIDENCE) -> QuantileEstimate | Refused:
    """The nearest-rank quantile in us, between two order statistics.

    ``X(l) <= quantile <= X(u)`` has probability ``P(l <= B <= u - 1)`` for B binomial(n, q), whatever the distribution
    of latencies (David and Nagaraja, "Order Statistics", 3rd edition (2003), 7.1). Of all pairs of ranks that give the
    confidence asked for, the closest together are taken. Latencies cut to whole microseconds make it wider, never
    narrower: the interval is for the quantile of what cyclictest shows. It holds for wake-ups that are independent; for
    what repetitions may give, use ``repetitions.over_runs`` on each run's quantile.

    Refused when n is so small that no order statistic lies beyond the quantile with that confidence, or when the upper
    one lies in the overflow. Raises ValueError when q is outside (0, 1).
    """
    if not 0 < q < 1:
        raise ValueError(f"Quantile {q} has no interval, expected 0 < q < 1.")
    n = histogram.samples
    ranks = _ranks(n, q, confidence)
    if ranks is None:
        needed = samples_needed(q, confidence)
        return Refused(f"{n:,} wake-ups are too few for an interval of quantile {q:g}, {needed:,} or more are needed.")
    low, high, achieved = ranks
    try:
        value, ends = quantile(histogram, q), (rank_value(histogram, low), rank_value(histogram, high))
    except QuantileBeyondOverflow:
        return Refused(
            f"Quantile {q:g} or the upper end of its interval lies among the {histogram.overflows:,} wake-ups beyond "
            f"the histogram's end, {histogram.limit_us:,} us."
        )
    return QuantileEstimate(q, value, Interval(*ends, achieved))


def samples_needed(q: float, confidence: float = CONFIDENCE) -> int:
    """Wake-ups with which the smallest and the largest of them have the quantile between them: q**n + (1-q)**n <= 1-c.

    Wilks, "Determination of sample sizes for setting tolerance limits", Annals of Mathematical Statistics 12 (1941).
    """
    outside = 1 - confidence
    low, high = 1, 2
    while q**high + (1 - q) ** high > outside:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if q**middle + (1 - q) ** middle > outside else (low, middle)
    return high


@functools.cache
def _ranks(n: int, q: float, confidence: float) -> tuple[int, int, float] | None:
    """Lower and upper rank (from 1) closest together, and their confidence; None when there are none."""
    if n < 2:
        return None
    outside = 1 - confidence
    first = max(1, int(_ppf(np.array([outside * 1e-9]), n, q)[0]))
    last = min(n - 1, max(first, int(_ppf(np.array([outside]), n, q)[0]) + 1))
    lows = np.arange(first, last + 1)
    below = special.bdtr(lows - 1, n, q)
    reachable = below + confidence < 1
    lows, below = lows[reachable], below[reachable]
    highs = _ppf(below + confidence, n, q) + 1
    within = highs <= n
    lows, highs, below = lows[within], highs[within], below[within]
    if not len(lows):
        return None
    spans = highs - lows
    closest = np.flatnonzero(spans == spans.min())
    achieved = special.bdtr(highs[closest] - 1, n, q) - below[closest]
    best = int(np.argmax(achieved))
    low, high = int(lows[closest[best]]), int(highs[closest[best]])
    return (low, high, float(achieved[best])) if math.isfinite(achieved[best]) else None


def _ppf(chances: NDArray[np.float64], n: int, q: float) -> NDArray[np.int64]:
    """The smallest k with ``P(B <= k) >= chance`` for B binomial(n, q); scipy.stats would take long to import."""
    k = np.ceil(special.bdtrik(chances, n, q))
    before = np.maximum(k - 1, 0)
    found: NDArray[np.int64] = np.where(special.bdtr(before, n, q) >= chances, before, k).astype(np.int64)
    return found
