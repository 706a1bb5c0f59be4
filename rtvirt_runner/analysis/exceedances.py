"""Wake-ups later than a budget: how often, with what certainty, and how much longer one must measure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import special

from rtvirt_runner.analysis.estimates import CONFIDENCE, Interval, Refused
from rtvirt_runner.analysis.exposure import hours
from rtvirt_runner.analysis.histogram import Histogram

_ALIKE = 0.01  # rates of runs that differ with a smaller p value are not one rate


@dataclass(frozen=True)
class Rate:
    """Late wake-ups over a time of exposure. The interval is two-sided; each end alone holds with ``(1 + c) / 2``."""

    late: int
    wakeups: int
    hours: float
    per_hour: Interval
    probability: Interval  # of one wake-up to be late


@dataclass(frozen=True)
class RateVerdict:
    """Whether late wake-ups come at most so often: ``yes`` and ``no`` with the confidence asked for."""

    answer: Literal["yes", "no", "not told"]
    at_most_per_hour: float  # upper bound with the confidence asked for
    at_least_per_hour: float  # lower bound with it
    hours: float  # measured
    hours_needed: float  # in all, for 'yes' if no more late wake-ups came than there were; hours when it is told


def later_than(histogram: Histogram, budget_us: int) -> int | Refused:
    """Wake-ups later than a budget.

    cyclictest cuts to whole microseconds, so one that it shows at the budget took up to a microsecond longer, and
    counts as late. Refused when the budget lies beyond the histogram's end and among what overflowed.
    """
    inside = sum(count for us, count in histogram.counts.items() if us >= budget_us)
    if not histogram.overflows or budget_us <= histogram.limit_us:
        return inside + histogram.overflows
    if histogram.max_us < budget_us:
        return 0
    if histogram.overflows == 1:
        return 1
    return Refused(
        f"{histogram.overflows:,} wake-ups lie beyond the histogram's end, {histogram.limit_us:,} us; how many of them "
        f"are later than {budget_us:,} us is unknown."
    )


def rate(
    late: Sequence[int], wakeups: Sequence[int], interval_us: int, confidence: float = CONFIDENCE
) -> Rate | Refused:
    """The rate of late wake-ups from those of each run.

    Per hour: Garwood, "Fiducial limits for the Poisson distribution", Biometrika 28 (1936), ``chi2(a/2, 2k) / 2T`` to
    ``chi2(1-a/2, 2k+2) / 2T``. Per wake-up: Clopper and Pearson, Biometrika 26 (1934). Both cover at least what they
    say, for late wake-ups that come one by one; where they come in clusters (``order.py``), count clusters.

    Refused when the runs' rates differ by more than chance: then there is no one rate, and the next boot's is unknown.
    """
    k, n = sum(late), sum(wakeups)
    if not n:
        return Refused("Nothing was measured.")
    differing = _differ(late, wakeups)
    if differing < _ALIKE:
        counts = ", ".join(f"{each:,}" for each in late)
        return Refused(
            f"Runs had {counts} late wake-ups, which differ by more than chance (p = {differing:.1g}): they have no "
            "one rate."
        )
    exposure, tail = hours(n, interval_us), (1 - confidence) / 2
    low, high = _poisson(k, tail)
    chances = (
        float(special.betaincinv(k, n - k + 1, tail)) if k else 0.0,
        float(special.betaincinv(k + 1, n - k, 1 - tail)) if k < n else 1.0,
    )
    return Rate(k, n, exposure, Interval(low / exposure, high / exposure, confidence), Interval(*chances, confidence))


def at_most(per_hour: float, found: Rate, confidence: float = CONFIDENCE) -> RateVerdict:
    """Whether late wake-ups come at most ``per_hour`` times an hour, by one-sided Poisson bounds (``rate``)."""
    low, high = (each / found.hours for each in _poisson(found.late, 1 - confidence))
    needed = _poisson(found.late, 1 - confidence)[1] / per_hour
    if high <= per_hour:
        return RateVerdict("yes", high, low, found.hours, found.hours)
    return RateVerdict("no" if low > per_hour else "not told", high, low, found.hours, max(needed, found.hours))


def _poisson(k: int, tail: float) -> tuple[float, float]:
    """Bounds of the mean of a Poisson variable that is k, each with error ``tail``: quantiles of gamma variables."""
    return (float(special.gammaincinv(k, tail)) if k else 0.0, float(special.gammaincinv(k + 1, 1 - tail)))


def _differ(late: Sequence[int], wakeups: Sequence[int]) -> float:
    """p value of "the runs have one rate": Pearson's dispersion of counts, by its exact conditional distribution.

    Given their sum, counts are multinomial (Fisher, "The significance of deviations from expectation in a Poisson
    series", Biometrics 6 (1950)); its distribution is simulated, always with the same numbers.
    """
    k = sum(late)
    if len(late) < 2 or k < 2:
        return 1.0
    shares = np.array(wakeups) / sum(wakeups)
    expected = k * shares
    drawn = np.random.default_rng(0).multinomial(k, shares, 9999)
    seen, others = (np.sum((counts - expected) ** 2 / expected, axis=-1) for counts in (np.array(late), drawn))
    return float((1 + np.sum(others >= seen * (1 - 1e-12))) / 10_000)
