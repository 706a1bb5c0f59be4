"""Latency histograms and their statistics. Every number is exact; one that cannot be is refused."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cache, cached_property
from itertools import accumulate

from rtvirt_runner.analysis.estimates import Refused
from rtvirt_runner.parsers.cyclictest import CyclictestRun


class QuantileBeyondOverflow(ValueError):
    """The quantile lies in the overflow of the histogram: only a lower bound of it is known."""


@dataclass(frozen=True)
class Histogram:
    """Counts per latency in buckets of 1 us, with cyclictest's overflows, minimum, average and maximum."""

    counts: Mapping[int, int]  # us -> samples
    overflows: int  # samples beyond the last bucket
    min_us: int  # minimum, average and maximum are of all samples, overflows included
    avg_us: float
    max_us: int
    limit_us: int  # samples of this latency or more are in the overflow

    @cached_property
    def samples(self) -> int:
        """All samples, overflows included."""
        return sum(self.counts.values()) + self.overflows

    @cached_property
    def summary(self) -> Summary:
        """Minimum, average and maximum as cyclictest counted them, and the quantiles outside of the overflow, in us."""
        return Summary(
            samples=self.samples,
            min=self.min_us,
            avg=self.avg_us,
            max=self.max_us,
            p50=_quantile_or_none(self, 0.5),
            p99=_quantile_or_none(self, 0.99),
            p999=_quantile_or_none(self, 0.999),
            overflows=self.overflows,
        )

    @classmethod
    def of_run(cls, run: CyclictestRun, limit_us: int) -> Histogram:
        """Merge all threads of a run; ``limit_us`` is the argument of cyclictest's ``-h``."""
        return merge(
            cls(thread.histogram, thread.overflows, thread.min_us, thread.avg_us, thread.max_us, limit_us)
            for thread in run.threads
        )


@dataclass(frozen=True)
class Summary:
    """Statistics of a histogram. Latencies in us; a quantile is None when it lies in the overflow."""

    samples: int
    min: int
    avg: float
    max: int
    p50: int | None
    p99: int | None
    p999: int | None
    overflows: int


def merge(histograms: Iterable[Histogram]) -> Histogram:
    """The sum of histograms, e.g. of threads or repetitions; raises ValueError when there is none."""
    parts = list(histograms)
    if not parts:
        raise ValueError("There is no histogram to merge, expected one or more.")
    if len(parts) == 1:  # nothing to add up, and no second copy of its counts
        return parts[0]
    counts: dict[int, int] = {}
    for part in parts:
        for us, count in part.counts.items():
            counts[us] = counts.get(us, 0) + count
    samples = sum(part.samples for part in parts)
    return Histogram(
        counts=counts,
        overflows=sum(part.overflows for part in parts),
        min_us=min(part.min_us for part in parts),
        avg_us=sum(part.avg_us * part.samples for part in parts) / samples,
        max_us=max(part.max_us for part in parts),
        limit_us=min(part.limit_us for part in parts),
    )


def quantile(histogram: Histogram, q: float) -> int:
    """The nearest-rank quantile in us: the smallest latency v such that at least ``ceil(q * n)`` samples are <= v.

    This is definition 1 of Hyndman and Fan, "Sample quantiles in statistical packages", The American Statistician
    50 (1996): the inverse of the empirical distribution function. It needs no interpolation, so it is exact from
    counts. Overflowed samples count in n. Raises QuantileBeyondOverflow when the rank lies among them, and ValueError
    when q is outside (0, 1] or there is no sample.
    """
    if not 0 < q <= 1 or histogram.samples == 0:
        raise ValueError(f"Quantile {q} of {histogram.samples} samples is undefined, expected 0 < q <= 1 and a sample.")
    share = _exact(q)
    rank = -(-share.numerator * histogram.samples // share.denominator)  # rounded up
    if rank > histogram.samples - histogram.overflows:
        raise QuantileBeyondOverflow(
            f"Quantile {q} lies among the {histogram.overflows} samples that overflowed the histogram; "
            "measure again with more buckets."
        )
    return rank_value(histogram, rank)


@cache
def _exact(q: float) -> Fraction:
    """As it is written: as a float, 0.07 * 100 is above 7 and would give rank 8."""
    return Fraction(str(q))


def rank_value(histogram: Histogram, rank: int) -> int:
    """The latency in us at a rank, 1 for the earliest wake-up; raises QuantileBeyondOverflow beyond the histogram."""
    latencies, cumulative = _sorted(histogram)
    if not 1 <= rank <= (cumulative[-1] if cumulative else 0):
        raise QuantileBeyondOverflow(f"Rank {rank} of {histogram.samples} samples lies beyond the histogram.")
    return latencies[bisect_left(cumulative, rank)]


# of one histogram, as many ranks of it are asked for in a row
_last_sorted: list[tuple[Mapping[int, int], list[int], list[int]]] = []


def _sorted(histogram: Histogram) -> tuple[list[int], list[int]]:
    """Latencies in us, and how many wake-ups were at each or earlier. Kept for the histogram asked for last."""
    if not _last_sorted or _last_sorted[0][0] is not histogram.counts:
        latencies = sorted(histogram.counts)
        cumulative = list(accumulate(histogram.counts[us] for us in latencies))
        _last_sorted[:] = [(histogram.counts, latencies, cumulative)]
    return _last_sorted[0][1:]


def standard_deviation(histogram: Histogram, sheppard: bool = False) -> float | Refused:
    """Standard deviation of the latency in us, ``sqrt(sum(c * (us - mean)**2) / (n - 1))`` over the buckets.

    cyclictest cuts a latency to whole microseconds (``calcdiff`` of rt-tests divides nanoseconds as C does). That
    lowers the mean by half a microsecond on average, and adds the variance of the part cut off, 1/12 us**2 for a
    density that is smooth over several buckets. ``sheppard`` takes it away again (Sheppard's correction: Kendall and
    Stuart, "The Advanced Theory of Statistics", volume 1, chapter 3; being a shift, cutting has the same correction as
    rounding). Without it, a deviation of 1 us is shown as 1.04, one of 3 us as 3.01. With it, one of all in a few
    buckets may become 0.

    One sample in the overflow is the maximum, so the deviation stays exact; refused with more of them, or one sample.
    """
    n = histogram.samples
    if n < 2:
        return Refused(f"A standard deviation needs two wake-ups or more, this run has {n}.")
    if histogram.overflows > 1:
        return Refused(
            f"{histogram.overflows} of {n} wake-ups lie beyond the histogram's end, {histogram.limit_us} us; only the "
            "latest of them is known."
        )
    counts = dict(histogram.counts)
    if histogram.overflows:
        counts[histogram.max_us] = 1
    total = sum(us * count for us, count in counts.items())
    # whole numbers: no digit is lost, however far the latencies are from 0
    squares = n * sum(us * us * count for us, count in counts.items()) - total * total
    variance = squares / (n * (n - 1))
    return math.sqrt(max(0.0, variance - 1 / 12) if sheppard else variance)


def summarize(histogram: Histogram) -> Summary:
    """``Histogram.summary``."""
    return histogram.summary


def _quantile_or_none(histogram: Histogram, q: float) -> int | None:
    try:
        return quantile(histogram, q)
    except QuantileBeyondOverflow:
        return None
