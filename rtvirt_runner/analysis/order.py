"""Order in time: do late wake-ups come evenly, or drift, or in clusters? Without that, no tail is believed."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from rtvirt_runner.analysis.estimates import CONFIDENCE, Refused
from rtvirt_runner.parsers.spikes import LateWakeups

FEWEST = 30  # late wake-ups of which an order is told
_MOST = 5_000  # late wake-ups that are looked at: the first of more
_DRAWS = 20_000  # random orders of blocks that the seen one is compared with
_LAGS = 5
_BLOCKS = 50

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
What = Literal["rate", "size", "clusters", "waves"]


@dataclass(frozen=True)
class Events:
    """Late wake-ups of one run, in order: the interval (of the timer) in which each was due, and its latency in us."""

    slots: Ints  # rising; 0 for the first
    sizes: Ints
    threshold_us: int  # all wake-ups later than this, from the first of them to the last


@dataclass(frozen=True)
class OrderTest:
    """A test of "late wake-ups come by chance, at one rate and of one kind"."""

    what: What
    statistic: float
    p_value: float


@dataclass(frozen=True)
class OrderInTime:
    """What is said of the order: four tests, and their alarms at 5 % for all four together."""

    events: int
    slots: int  # intervals from the first to the last of them
    threshold_us: int
    tests: tuple[OrderTest, ...]
    alarms: tuple[What, ...]
    extremal_index: float  # one over the mean number of late wake-ups in a cluster; 1 when they come one by one
    clusters: int

    @property
    def drifting(self) -> bool:
        """Whether their rate or their latency rises or falls."""
        return bool({"rate", "size"} & set(self.alarms))

    @property
    def clustered(self) -> bool:
        """Whether they come in clusters, or in waves of many and few, or of later and less late."""
        return bool({"clusters", "waves"} & set(self.alarms))


def events_of(late: LateWakeups, interval_us: int) -> Events | Refused:
    """The late wake-ups of a run of one thread; refused with fewer than 30.

    A run's list ends when cyclictest had no room for more; what came later is not looked at.
    """
    if len(late.wakeups) < FEWEST:
        were = "wake-up was" if len(late.wakeups) == 1 else "wake-ups were"
        return Refused(
            f"{len(late.wakeups)} {were} later than {late.trigger_us} us, too few to tell how they come; {FEWEST} or "
            "more are needed."
        )
    if len({each.thread for each in late.wakeups}) > 1:
        return Refused("Late wake-ups of several threads have no order of their own; measure with one thread.")
    dues = np.array([each.due_us for each in late.wakeups[:_MOST]], dtype=np.int64)
    slots = np.rint((dues - dues[0]) / interval_us).astype(np.int64)
    sizes = np.array([each.latency_us for each in late.wakeups[:_MOST]], dtype=np.int64)
    once = np.concatenate([[True], np.diff(slots) > 0])
    return Events(slots[once], sizes[once], late.trigger_us)


def order_in_time(events: Events, confidence: float = CONFIDENCE) -> OrderInTime | Refused:
    """Test the order of late wake-ups for drift and for clusters. All four tests together alarm in 5 % of even series.

    Given the first and the last, the others of an even series lie anywhere between them, so neither the rate nor the
    run's begin need be known.

    - ``rate``: Laplace's trend test on their times (Cox and Lewis, "The Statistical Analysis of Series of Events"
      (1966), 3.3), of the latest of each cluster where there are clusters.
    - ``size``: Spearman's rank correlation of latency and position.
    - ``clusters``: Moran's statistic, the sum of the logarithms of gaps ("The random division of an interval II", JRSS
      B 13 (1951)); only more short gaps than by chance alarm.
    - ``waves``: Ljung and Box, "On a measure of lack of fit in time series models", Biometrika 65 (1978), on ranks of
      block maxima with 5 lags, against random orders of the blocks.

    Each alarms below ``(1 - confidence) / 4`` (Bonferroni). Refused with fewer than 30 late wake-ups.
    """
    slots, sizes = events.slots, events.sizes
    n, span = len(slots), int(slots[-1] - slots[0]) + 1 if len(slots) else 0
    if n < FEWEST:
        return Refused(f"{n} late wake-ups are too few to tell how they come, {FEWEST} or more are needed.")
    level = (1 - confidence) / 4
    short_gaps = _moran(slots)
    theta = extremal_index(np.diff(slots))
    clusters = max(1, math.floor(theta * n)) if short_gaps.p_value < level else n
    peaks = slots if clusters == n else _peaks(slots, sizes, clusters)
    tests = (_laplace(peaks), _spearman(sizes), short_gaps, _ljung_box(block_maxima(events)))
    alarms = tuple(each.what for each in tests if each.p_value < level)
    return OrderInTime(n, span, events.threshold_us, tests, alarms, theta, clusters)


def extremal_index(gaps: Ints) -> float:
    """The intervals estimator from gaps (in intervals) between late wake-ups.

    Ferro and Segers, "Inference for clusters of extreme values", JRSS B 65 (2003), equations 4 and 5.
    """
    t = gaps.astype(float)
    if t.max() <= 2:
        return float(min(1.0, 2 * t.sum() ** 2 / (len(t) * (t**2).sum())))
    return float(min(1.0, 2 * (t - 1).sum() ** 2 / (len(t) * ((t - 1) * (t - 2)).sum())))


def block_maxima(events: Events, blocks: int = _BLOCKS) -> Ints:
    """The latest wake-up (us) of each of equally long blocks of time; the threshold where a block had no late one.

    Blocks of which nine in ten have a late wake-up, ``blocks`` of them at most and 10 at least.
    """
    count = max(10, min(blocks, len(events.slots) // 3))
    edges = np.linspace(events.slots[0], events.slots[-1] + 1, count + 1)
    maxima = np.full(count, events.threshold_us, dtype=np.int64)
    np.maximum.at(maxima, np.searchsorted(edges, events.slots, side="right") - 1, events.sizes)
    return maxima


def _laplace(slots: Ints) -> OrderTest:
    """Centre of the times between the first and the last: normal with variance 1 / 12n for a span of 1."""
    inside = (slots[1:-1] - slots[0]) / max(1, slots[-1] - slots[0])
    if not len(inside):
        return OrderTest("rate", 0.0, 1.0)
    statistic = float((inside.mean() - 0.5) * math.sqrt(12 * len(inside)))
    return OrderTest("rate", statistic, float(2 * stats.norm.sf(abs(statistic))))


def _spearman(sizes: Ints) -> OrderTest:
    if sizes.min() == sizes.max():
        return OrderTest("size", 0.0, 1.0)
    found = stats.spearmanr(np.arange(len(sizes)), sizes)
    return OrderTest("size", float(found.statistic), float(found.pvalue))


def _moran(slots: Ints) -> OrderTest:
    """Twice the sum of what the logarithms of gaps fall short of that of the mean gap: the larger, the more short gaps.

    Gaps of whole intervals are geometric; what an exponential gap has in its last interval is added, drawn from its
    distribution there (always the same numbers), so that they are exponential. For these the statistic is Bartlett's,
    of variances with two degrees of freedom each, and with his correction chi-squared: Bartlett, "Properties of
    sufficiency and statistical tests", Proceedings of the Royal Society A 160 (1937).
    """
    gaps, n = np.diff(slots).astype(float), len(slots) - 1
    if gaps.max() <= 1:
        return OrderTest("clusters", 0.0, 1.0)
    rate = -math.log1p(-n / gaps.sum())
    inside = -np.log1p(np.random.default_rng(0).random(n) * math.expm1(-rate)) / rate
    exact = gaps - 1 + inside
    statistic = 2 * n * (math.log(exact.mean()) - float(np.log(exact).mean())) / (1 + (n + 1) / (6 * n))
    return OrderTest("clusters", statistic, float(stats.chi2.sf(statistic, n - 1)))


def _ljung_box(values: Ints) -> OrderTest:
    ranks = stats.rankdata(values)
    if ranks.min() == ranks.max():
        return OrderTest("waves", 0.0, 1.0)
    seen, drawn = float(ljung_box(ranks)), _random_orders(len(ranks))
    return OrderTest("waves", seen, float((1 + np.sum(drawn >= seen - 1e-12)) / (len(drawn) + 1)))


@functools.cache
def _random_orders(n: int) -> Floats:
    """Ljung and Box's statistic of random orders of n ranks, always the same; of few blocks it is not chi-squared."""
    ranks = np.tile(np.arange(float(n)), (_DRAWS, 1))
    return ljung_box(np.random.default_rng(0).permuted(ranks, axis=1))


def ljung_box(values: Floats, lags: int = _LAGS) -> Floats:
    """Ljung and Box's statistic ``n (n + 2) sum(r_k**2 / (n - k))`` along the last axis; about chi-squared(lags)."""
    n, x = values.shape[-1], values - values.mean(axis=-1, keepdims=True)
    total = (x * x).sum(axis=-1)
    squares = [((x[..., :-k] * x[..., k:]).sum(axis=-1) / total) ** 2 / (n - k) for k in range(1, lags + 1)]
    return np.asarray(n * (n + 2) * sum(squares))


def _peaks(slots: Ints, sizes: Ints, clusters: int) -> Ints:
    """The time of the latest wake-up of each cluster; clusters are what the longest gaps separate (Ferro and Segers).

    Gaps as long as the first that separates none separate none either, so there may be fewer clusters.
    """
    gaps = np.diff(slots)
    run = np.sort(gaps)[::-1][clusters - 1]
    parts = np.split(np.arange(len(slots)), np.flatnonzero(gaps > run) + 1)
    return np.array([slots[part[np.argmax(sizes[part])]] for part in parts], dtype=np.int64)
