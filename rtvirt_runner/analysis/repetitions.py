"""Repetitions as random effects: what a point's runs say of its next run, and how much runs differ.

The wake-ups of one run share its boot, its placement in memory and its phase against other timers, so they are not
independent: a million of them say no more about the next boot than one run does. Every interval here therefore rests
on one number per run, as many as there are repetitions.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from scipy import special

from rtvirt_runner.analysis.estimates import CONFIDENCE, Interval, Refused
from rtvirt_runner.analysis.histogram import Histogram, QuantileBeyondOverflow, quantile, standard_deviation

Statistic = Literal["avg", "sd", "p50", "p90", "p99", "p99.9", "p99.99", "max"]

# Standard deviation of the error that cutting to whole microseconds makes: that of a uniform variable of width 1.
# Runs whose whole numbers agree by chance are not known to agree better than that.
RESOLUTION_US = 1 / math.sqrt(12)


@dataclass(frozen=True)
class OverRuns:
    """A statistic over the repetitions of one point, all in the statistic's unit (us)."""

    runs: int
    mean: float
    interval: Interval  # of the mean over all runs that could be made
    sd: float  # of one run's value: how much repetitions differ
    sd_interval: Interval
    next_run: Interval  # where the value of one more run is expected


@dataclass(frozen=True)
class VarianceComponents:
    """Variance of a latency, taken apart, in us**2."""

    within: float  # of wake-ups within a run
    between: float  # of the runs' means, beyond what the scatter of wake-ups explains
    design_effect: float  # variance of the mean, over what it would be if all wake-ups were independent


def values_of_runs(histograms: Sequence[Histogram], statistic: Statistic) -> tuple[float, ...] | Refused:
    """The statistic of each run in us, in the order given; refused when one of them lies in its run's overflow."""
    found = []
    for number, histogram in enumerate(histograms, 1):
        value = _value(histogram, statistic)
        if isinstance(value, Refused):
            return Refused(f"{statistic} of run {number} of {len(histograms)}: {value.reason}")
        found.append(value)
    return tuple(found)


def over_runs(
    values: Sequence[float], confidence: float = CONFIDENCE, resolution: float = RESOLUTION_US
) -> OverRuns | Refused:
    """Mean over repetitions with Student's t interval on one value per run, honest about variance between runs.

    Mean: ``m -+ t(n - 1) * s / sqrt(n)``; deviation: ``(n - 1) * s**2 / chi2(n - 1)``; one more run:
    ``m -+ t(n - 1) * s * sqrt(1 + 1 / n)``. Montgomery and Runger, "Applied Statistics and Probability for Engineers",
    chapter 8. For the balanced one-way random-effects model the first is exact: Searle, Casella and McCulloch,
    "Variance Components" (1992), chapter 3. ``s`` is taken as ``resolution`` at least, the deviation
    (us) of what the unit of measurement adds to each value; 0 for values that are not cut.

    Refused with fewer than two runs: one run says nothing about how runs differ.
    """
    n = len(values)
    if n < 2:
        return Refused(f"{_runs(n)}: nothing is known of how much runs differ, two or more are needed.")
    mean, sd = statistics.fmean(values), max(math.sqrt(variance(values)), resolution)
    t = float(special.stdtrit(n - 1, (1 + confidence) / 2))
    half, ahead = t * sd / math.sqrt(n), t * sd * math.sqrt(1 + 1 / n)
    low, high = (float(special.chdtri(n - 1, p)) for p in ((1 - confidence) / 2, (1 + confidence) / 2))
    return OverRuns(
        runs=n,
        mean=mean,
        interval=Interval(mean - half, mean + half, confidence),
        sd=sd,
        sd_interval=Interval(sd * math.sqrt((n - 1) / low), sd * math.sqrt((n - 1) / high), confidence),
        next_run=Interval(mean - ahead, mean + ahead, confidence),
    )


def variance_components(histograms: Sequence[Histogram]) -> VarianceComponents | Refused:
    """Between-run and within-run variance of the latency by analysis of variance, for runs of any lengths.

    Between: ``(MSB - MSW) / n0`` with ``n0 = (N - sum(n_i**2) / N) / (a - 1)``, cut at 0; Searle, Casella and
    McCulloch, "Variance Components" (1992), chapter 3. The design effect is ``MSB / MSW`` (Kish, "Survey Sampling"
    (1965), with the intraclass correlation written out). Refused with fewer than two runs, or with overflows.
    """
    if len(histograms) < 2:
        return Refused(f"{_runs(len(histograms))}: nothing is known of how much runs differ, two or more are needed.")
    if any(each.overflows for each in histograms):
        return Refused("Wake-ups lie beyond the histogram's end, so that the variance within a run is unknown.")
    sizes = [each.samples for each in histograms]
    total, runs = sum(sizes), len(sizes)
    means = [sum(us * count for us, count in each.counts.items()) / each.samples for each in histograms]
    grand = sum(n * mean for n, mean in zip(sizes, means, strict=True)) / total
    between = sum(n * (mean - grand) ** 2 for n, mean in zip(sizes, means, strict=True)) / (runs - 1)
    squares = sum(
        count * (us - mean) ** 2
        for each, mean in zip(histograms, means, strict=True)
        for us, count in each.counts.items()
    )
    if total == runs or not squares:
        return Refused("All wake-ups of a run have the same latency, so that there is no variance to take apart.")
    within = squares / (total - runs)
    n0 = (total - sum(n * n for n in sizes) / total) / (runs - 1)
    return VarianceComponents(within, max(0.0, (between - within) / n0), between / within)


def variance(values: Sequence[float]) -> float:
    """Of a sample of two or more; that of the standard library counts in fractions, which takes ten times as long."""
    mean = statistics.fmean(values)
    return math.fsum((each - mean) ** 2 for each in values) / (len(values) - 1)


def _value(histogram: Histogram, statistic: Statistic) -> float | Refused:
    if statistic == "avg":
        return histogram.avg_us
    if statistic == "max":
        return float(histogram.max_us)
    if statistic == "sd":
        return standard_deviation(histogram)
    known = {"p50": histogram.summary.p50, "p99": histogram.summary.p99, "p99.9": histogram.summary.p999}
    if (us := known.get(statistic)) is not None:
        return float(us)
    try:
        return float(quantile(histogram, float(f"{statistic[1:]}e-2")))  # 0.999 of p99.9, from its digits
    except QuantileBeyondOverflow as error:
        return Refused(str(error))


def _runs(n: int) -> str:
    return "One repetition" if n == 1 else "No repetition"
