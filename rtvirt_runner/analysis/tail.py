"""The tail beyond a threshold: a generalized Pareto distribution, believed only where the data allow it.

cyclictest cuts latencies to whole microseconds, so a late wake-up is known to lie in an interval of one microsecond;
that, and not a point in it, is what enters the likelihood.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, stats

from rtvirt_runner.analysis.estimates import CONFIDENCE, Interval, Refused
from rtvirt_runner.analysis.histogram import Histogram
from rtvirt_runner.analysis.order import OrderInTime

FEWEST = 100  # wake-ups beyond the threshold
FARTHEST = 100  # times the wake-ups that were measured, to which a level may be extrapolated
_SHAPES = (-0.95, 3.0)  # of the fit; below -1 the likelihood has no maximum
_UNFIT = 0.01  # p value of the fit below which no generalized Pareto is believed
_CELL = 5.0  # wake-ups expected in a cell of the test of the fit, at least

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Tail:
    """A generalized Pareto tail: ``P(latency > u + x | latency > u) = (1 + shape * x / scale)**(-1 / shape)``.

    Latencies in us; u is the first microsecond that counts as later than the threshold. A shape above 0 is a tail
    without an end, heavier than exponential; below 0 it ends.
    """

    threshold_us: int  # the tail begins with the latencies that are shown above it
    beyond: int
    wakeups: int
    shape: float
    shape_interval: Interval  # by profile likelihood
    scale_us: float
    fit_p: float  # of Pearson's test of the fit
    excesses: tuple[tuple[int, int, int], ...]  # from, to (us beyond the threshold), wake-ups

    def level(self, once_in: float, confidence: float = CONFIDENCE) -> tuple[float, Interval] | Refused:
        """The latency (us) that is exceeded once in so many wake-ups, on average, with its profile interval.

        ``x = u + scale / shape ((m k / n)**shape - 1)``: Coles, "An Introduction to Statistical Modeling of Extreme
        Values" (2001), 4.3.3; the rate k/n is profiled too. Refused when it lies below the threshold, or when
        ``once_in`` is more than a hundred times what was measured.
        """
        if once_in > FARTHEST * self.wakeups:
            return Refused(
                f"Once in {once_in:,.0f} wake-ups is more than {FARTHEST} times what was measured, {self.wakeups:,}."
            )
        if once_in * self.beyond <= self.wakeups:
            return Refused(f"Once in {once_in:,.0f} wake-ups is no later than the threshold, {self.threshold_us} us.")
        return _level(self, once_in, confidence)


@dataclass(frozen=True)
class Stability:
    """Fits at rising thresholds, for a figure: where a generalized Pareto holds, shape and modified scale stay put."""

    threshold_us: int
    beyond: int
    shape: float
    shape_interval: Interval
    modified_scale_us: float  # scale - shape * threshold


def tail(
    histogram: Histogram, order: OrderInTime | Refused, threshold_us: int | None = None, confidence: float = CONFIDENCE
) -> Tail | Refused:
    """Fit the tail of a run beyond a threshold (by default that of ``order``), by maximum likelihood.

    The likelihood is that of grouped data, ``sum(c_i log(S(a_i) - S(b_i)))`` for c_i wake-ups between a_i and b_i
    beyond the threshold (Coles, "An Introduction to Statistical Modeling of Extreme Values" (2001), 4.3, with
    intervals for points); those in the overflow lie between the histogram's end and the latest. Intervals are where
    twice the profile log-likelihood has fallen by the quantile of chi-squared with one degree of freedom.

    Refused, with the reason: when the order in time is not known, late wake-ups drift or come in clusters (``order``);
    with fewer than 100 beyond the threshold; when all are of the same latency; and when no generalized Pareto fits
    (Pearson's test at 1 %), as where the tail has a peak of its own.
    """
    if isinstance(order, Refused):
        return Refused(f"How late wake-ups follow each other is not known: {order.reason}")
    if order.drifting:
        return Refused("Late wake-ups drift: their rate or latency rises or falls, so that they have no one tail.")
    if order.clustered:
        return Refused(
            f"Late wake-ups come in clusters or waves (about {1 / order.extremal_index:.1f} together), not one by one."
        )
    threshold = order.threshold_us if threshold_us is None else threshold_us
    excesses = _excesses(histogram, threshold)
    beyond = int(sum(count for _, _, count in excesses))
    if beyond < FEWEST:
        return Refused(
            f"{beyond} wake-ups were later than {threshold} us, {FEWEST} or more are needed for a model of the tail."
        )
    if len(excesses) < 4:
        return Refused(f"Wake-ups later than {threshold} us have only {len(excesses)} different latencies.")
    data = _Data.of(excesses)
    shape, scale = _fit(data)
    fit_p = _fit_test(data, shape, scale)
    if fit_p < _UNFIT:
        return Refused(
            f"No generalized Pareto distribution fits the wake-ups later than {threshold} us (p = {fit_p:.1g}); the "
            "tail may have a peak of its own."
        )
    interval = _shape_interval(data, shape, scale, confidence)
    return Tail(threshold, beyond, histogram.samples, shape, interval, scale, fit_p, tuple(excesses))


def stability(histogram: Histogram, thresholds_us: Sequence[int], confidence: float = CONFIDENCE) -> list[Stability]:
    """Fits at each threshold that enough wake-ups exceed; data for a figure, not to be believed by themselves.

    Coles (2001), 4.3.4: above a threshold where a generalized Pareto holds, the shape and ``scale - shape * threshold``
    are the same for every higher one.
    """
    found = []
    for threshold in thresholds_us:
        excesses = _excesses(histogram, threshold)
        if len(excesses) < 4 or sum(count for _, _, count in excesses) < FEWEST // 2:
            continue
        data = _Data.of(excesses)
        shape, scale = _fit(data)
        interval = _shape_interval(data, shape, scale, confidence)
        found.append(Stability(threshold, int(data.counts.sum()), shape, interval, scale - shape * (threshold + 1)))
    return found


@dataclass(frozen=True)
class _Data:
    """Excesses in intervals: from, to (us beyond the threshold) and wake-ups in each."""

    starts: Floats
    ends: Floats
    counts: Floats

    @classmethod
    def of(cls, excesses: Sequence[tuple[int, int, int]]) -> _Data:
        starts, ends, counts = (np.array(column, dtype=float) for column in zip(*excesses, strict=True))
        return cls(starts, ends, counts)

    @property
    def mean(self) -> float:
        """Mean excess, each taken where its interval begins and half a microsecond on."""
        return float(self.counts @ (self.starts + 0.5) / self.counts.sum())


def _excesses(histogram: Histogram, threshold: int) -> list[tuple[int, int, int]]:
    """A latency shown as v lies from v to v + 1, and one later than the threshold is shown as threshold + 1 or more."""
    found: list[tuple[int, int, int]] = [
        (us - threshold - 1, us - threshold, count)
        for us, count in sorted(histogram.counts.items())
        if us > threshold and count
    ]
    beyond, latest = histogram.limit_us - threshold - 1, histogram.max_us - threshold - 1
    if histogram.overflows and beyond >= 0:
        if histogram.overflows > 1:
            found.append((beyond, latest + 1, histogram.overflows - 1))
        found.append((latest, latest + 1, 1))
    return found


def _survival(x: Floats, shape: float, scale: float) -> Floats:
    """P(excess > x); 0 beyond the end of a tail that has one."""
    scaled = x / scale
    if abs(shape) < 1e-8:
        return np.exp(-scaled)
    with np.errstate(divide="ignore"):
        return np.asarray(np.exp(-np.log1p(np.maximum(shape * scaled, -1.0)) / shape))


def _log_likelihood(data: _Data, shape: float, scale: float) -> float:
    if scale <= 0:
        return -math.inf
    chances = _survival(data.starts, shape, scale) - _survival(data.ends, shape, scale)
    if chances.min() <= 0:
        return -math.inf
    return float(data.counts @ np.log(chances))


def _best_scale(data: _Data, shape: float) -> tuple[float, float]:
    """The most likely scale for a shape, and its log-likelihood."""
    least = math.log(max(1e-3, -shape * (float(data.starts.max()) + 1e-9)) if shape < 0 else data.mean / 1e3)
    most = math.log(max(data.mean, float(data.starts.max()), 1.0) * 1e2)
    best = optimize.minimize_scalar(
        lambda log_scale: -min(1e300, max(-1e300, _log_likelihood(data, shape, math.exp(log_scale)))),
        bounds=(least, most),
        method="bounded",
        options={"xatol": 1e-7},
    )
    return math.exp(float(best.x)), -float(best.fun)


def _fit(data: _Data) -> tuple[float, float]:
    best = optimize.minimize_scalar(
        lambda shape: -_best_scale(data, shape)[1], bounds=_SHAPES, method="bounded", options={"xatol": 1e-6}
    )
    return float(best.x), _best_scale(data, float(best.x))[0]


def _shape_interval(data: _Data, shape: float, scale: float, confidence: float) -> Interval:
    floor = _log_likelihood(data, shape, scale) - float(stats.chi2.ppf(confidence, 1)) / 2
    ends = [_crossing(lambda s: _best_scale(data, s)[1] - floor, shape, end) for end in _SHAPES]
    return Interval(
        ends[0] if ends[0] > _SHAPES[0] else -math.inf, ends[1] if ends[1] < _SHAPES[1] else math.inf, confidence
    )


def _level(tail: Tail, once_in: float, confidence: float) -> tuple[float, Interval]:
    data, n = _Data.of(tail.excesses), tail.wakeups
    rate = tail.beyond / n

    def scale_of(excess: float, shape: float, chance: float) -> float:
        """The scale with which ``excess`` is exceeded once in ``once_in`` wake-ups."""
        times = math.log(once_in * chance)
        return excess / times if abs(shape) < 1e-8 else shape * excess / math.expm1(shape * times)

    def likelihood(excess: float, shape: float, chance: float) -> float:
        if not 1 / once_in < chance < 1 or not _SHAPES[0] <= shape <= _SHAPES[1]:
            return -math.inf
        number = tail.beyond * math.log(chance) + (n - tail.beyond) * math.log1p(-chance)
        return number + _log_likelihood(data, shape, scale_of(excess, shape, chance))

    times = math.log(once_in * rate)
    factor = times if abs(tail.shape) < 1e-8 else math.expm1(tail.shape * times) / tail.shape
    best = tail.scale_us * factor
    floor = likelihood(best, tail.shape, rate) - float(stats.chi2.ppf(confidence, 1)) / 2

    def above_floor(excess: float, start: list[float]) -> float:
        """How far the profile likelihood is above its floor; ``start`` is where the last maximum was."""
        found = optimize.minimize(
            lambda those: -max(-1e300, likelihood(excess, those[0], math.exp(those[1]))),
            start,
            method="Nelder-Mead",
            options={"xatol": 1e-4, "fatol": 1e-5, "initial_simplex": _simplex(start)},
        )
        if found.fun < 1e299:
            start[:] = list(found.x)
        return -float(found.fun) - floor

    def end(step: float) -> float:
        """The end of the interval below or above; 0 or inf where the data give none."""
        start, excess = [tail.shape, math.log(rate)], best
        while above_floor(excess * step, start) > 0:
            excess *= step
            if not 1e-3 < excess < 1e9:
                return 0.0 if step < 1 else math.inf
        return _crossing(lambda x: above_floor(x, start), excess, excess * step)

    first = tail.threshold_us + 1
    return first + best, Interval(first + end(0.8), first + end(1.25), confidence)


def _simplex(start: Sequence[float]) -> list[list[float]]:
    return [list(start), [start[0] + 0.05, start[1]], [start[0], start[1] + 0.05]]


def _crossing(above: Callable[[float], float], inside: float, end: float) -> float:
    """Where a profile falls through 0 between a point where it is above, and ``end``; ``end`` if it does not."""
    if above(end) > 0:
        return end
    return float(optimize.brentq(lambda x: max(-50.0, above(x)), inside, end, xtol=1e-4, rtol=1e-6))


def _fit_test(data: _Data, shape: float, scale: float) -> float:
    """Pearson's test in cells of about equal probability, two degrees of freedom less for what was fitted.

    Chernoff and Lehmann, "The use of maximum likelihood estimates in chi-squared tests for goodness of fit", Annals of
    Mathematical Statistics 25 (1954): parameters fitted to finer groups make it alarm a little more often.
    """
    total = data.counts.sum()
    cells = int(min(20, total // (2 * _CELL)))
    outside = 1 - np.arange(1, cells) / cells
    quantiles = -scale * np.log(outside) if abs(shape) < 1e-8 else scale / shape * (outside**-shape - 1)
    whole = data.ends - data.starts > 1  # an interval that no cell may divide
    most = float(data.starts[whole].min()) if whole.any() else float(data.starts.max())
    edges = np.unique(np.ceil(quantiles))
    edges = np.concatenate([[0.0], edges[edges <= most], [1e300]])
    expected = total * -np.diff(_survival(edges, shape, scale))
    observed = np.histogram(data.starts, edges, weights=data.counts)[0]
    large = expected >= 1
    if large.sum() < 4:
        return 1.0
    statistic = float((((observed - expected) ** 2 / np.maximum(expected, 1e-12))[large]).sum())
    return float(stats.chi2.sf(statistic, int(large.sum()) - 3))
