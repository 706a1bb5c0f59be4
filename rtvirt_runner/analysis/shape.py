"""The shape of a run's latencies: widths (the paper's jitter) and the number of peaks."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rtvirt_runner.analysis.estimates import CONFIDENCE, Refused
from rtvirt_runner.analysis.histogram import Histogram, QuantileBeyondOverflow, quantile

Floats = NDArray[np.float64]
FEWEST = 100  # wake-ups from which a shape is told
_MOST_KNOTS = 20_000  # of the peaks' grid; a wider histogram gets wider bins


@dataclass(frozen=True)
class Widths:
    """Widths in us. ``central`` is p99.9 - p0.1; ``half_maximum`` that of the highest peak at half its height."""

    central: int | Refused
    half_maximum: float | Refused
    bandwidth_us: float  # of the density from which ``half_maximum`` was read; 0 when it was refused


@dataclass(frozen=True)
class Peak:
    """A peak of the simplest density that the data allow; ``share`` of all wake-ups lies between its valleys."""

    low_us: int
    high_us: int
    share: float


@dataclass(frozen=True)
class Peaks:
    """At least ``len(peaks)`` peaks, further apart than the resolution, with the confidence given."""

    peaks: tuple[Peak, ...]
    resolution_us: int
    smallest_share: float  # what stands apart must have about this share of the wake-ups to be seen
    confidence: float


def widths(histogram: Histogram) -> Widths:
    """The paper's jitter as a width, in us.

    Full width at half maximum: of a Gaussian kernel density with the bandwidth ``0.9 IQR / 1.34 n**-0.2`` (Silverman,
    "Density Estimation for Statistics and Data Analysis" (1986), 3.4.2, without the standard deviation, which a few
    late wake-ups would inflate), half a microsecond at least; between the points around the highest peak where the
    density falls to half its maximum, interpolated. For a normal latency it is 2.355 standard deviations, and some
    percent more by the kernel. It says nothing of peaks that stand apart. Refused from fewer than 100 wake-ups, or when
    a quantile lies in the overflow.
    """
    if histogram.samples < FEWEST:
        few = Refused(f"{histogram.samples} wake-ups are too few for a width, {FEWEST} or more are needed.")
        return Widths(few, few, 0.0)
    try:
        quarter, three_quarters = quantile(histogram, 0.25), quantile(histogram, 0.75)
    except QuantileBeyondOverflow as error:
        beyond = Refused(str(error))
        return Widths(beyond, beyond, 0.0)
    central: int | Refused
    try:
        central = quantile(histogram, 0.999) - quantile(histogram, 0.001)
    except QuantileBeyondOverflow as error:
        central = Refused(str(error))
    # from quartiles alone: a few late wake-ups would widen the kernel as much as they are late
    bandwidth = max(0.5, 0.9 * (three_quarters - quarter) / 1.34 * histogram.samples**-0.2)
    return Widths(central, _half_maximum(histogram, bandwidth), bandwidth)


def peaks(histogram: Histogram, resolution_us: int | None = None, confidence: float = CONFIDENCE) -> Peaks | Refused:
    """How many peaks the latency has at least, whatever its distribution.

    The true distribution function lies within ``sqrt(ln(2 / (1 - c)) / 2n)`` of the empirical one everywhere, with
    confidence c (Massart, "The tight constant in the Dvoretzky-Kiefer-Wolfowitz inequality", Annals of Probability 18
    (1990); with equality allowed for discrete data too). Of all functions within that band, the taut string has the
    fewest peaks (Davies and Kovac, "Densities, spectral densities and modality", Annals of Statistics 32 (2004)), so
    the truth has as many at least. That is why more peaks than there are come in at most 5 % of runs, for any true
    shape and any n; it needs no bandwidth, and late wake-ups by ones and twos make no peaks.

    What is lost is small peaks: about ``4`` times that distance must stand apart. ``resolution_us``: the width of the
    bins between which peaks are sought, so that a timer that ticks every 2 us does not have a peak at each tick (a
    multiple of the tick, then); by default a twentieth of the median, 2 us at least. Adding up equal bins makes no
    peaks where there are none.

    Refused from fewer than 100 wake-ups, or when the overflow may hide a peak.
    """
    n = histogram.samples
    if n < FEWEST:
        return Refused(f"{n} wake-ups are too few to count peaks, {FEWEST} or more are needed.")
    band = math.sqrt(math.log(2 / (1 - confidence)) / (2 * n))
    if histogram.overflows > 2 * band * n:
        return Refused(
            f"{histogram.overflows:,} of {n:,} wake-ups lie beyond the histogram's end, {histogram.limit_us:,} us, "
            "and may be a peak of their own."
        )
    last = max(histogram.counts)
    width = max(resolution_us or max(2, quantile(histogram, 0.5) // 20), (last - histogram.min_us) // _MOST_KNOTS + 1)
    binned = np.zeros((last - histogram.min_us) // width + 3)  # with an empty bin before and after
    for us, count in histogram.counts.items():
        binned[(us - histogram.min_us) // width + 1] += count
    cumulative = np.concatenate([[0.0], np.cumsum(binned) / n])
    slopes = _taut_string(np.clip(cumulative - band, 0, 1), np.clip(cumulative + band, 0, 1))
    found = [
        Peak(
            histogram.min_us + (begin - 1) * width,
            histogram.min_us + (end - 1) * width - 1,
            float(cumulative[after] - cumulative[before]),
        )
        for begin, end, before, after in _maxima(slopes)
    ]
    return Peaks(tuple(found), width, 4 * band, confidence)


def _half_maximum(histogram: Histogram, bandwidth: float) -> float | Refused:
    density = _density(histogram, bandwidth)
    top = int(np.argmax(density))
    half = density[top] / 2
    left, right = top, top
    while left > 0 and density[left] > half:
        left -= 1
    while right < len(density) - 1 and density[right] > half:
        right += 1
    if density[left] > half or density[right] > half:
        return Refused("The density does not fall to half its maximum within the histogram.")
    low = left + (half - density[left]) / (density[left + 1] - density[left])
    high = right - (half - density[right]) / (density[right - 1] - density[right])
    return float(high - low) / _PER_US


_PER_US = 4  # points of a density in a microsecond


def _density(histogram: Histogram, bandwidth: float) -> Floats:
    """A kernel density from 4 bandwidths before the first bucket to 4 after the last, with _PER_US points in each us.

    A bucket's wake-ups lie anywhere in its microsecond, so its kernel is the Gaussian averaged over it.
    """
    margin = math.ceil(4 * bandwidth)
    first, last = min(histogram.counts) - margin, max(histogram.counts) + 1 + margin
    points = np.zeros((last - first) * _PER_US)
    for us, count in histogram.counts.items():
        points[(us - first) * _PER_US : (us - first + 1) * _PER_US] += count / _PER_US
    reach = np.arange(-margin * _PER_US, margin * _PER_US + 1) / _PER_US
    kernel = np.exp(-0.5 * (reach / bandwidth) ** 2)
    return np.convolve(points, kernel / kernel.sum(), mode="same")


def _taut_string(below: Floats, above: Floats) -> list[tuple[int, int, float]]:
    """The shortest line from 0 at the first knot to 1 at the last between two bounds: (begin, end, slope) of pieces."""
    lower: list[float] = below.tolist()  # looked at one by one, for which numpy is slow
    upper: list[float] = above.tolist()
    lower[0] = upper[0] = 0.0
    lower[-1] = upper[-1] = 1.0
    pieces: list[tuple[int, int, float]] = []
    anchor, height, last = 0, 0.0, len(lower) - 1
    while anchor < last:
        low_at, low, high_at, high = anchor, -math.inf, anchor, math.inf
        knot = anchor + 1
        while knot <= last:
            to_low = (lower[knot] - height) / (knot - anchor)
            to_high = (upper[knot] - height) / (knot - anchor)
            if to_low > high:  # it must bend up, around the upper bound
                turn, end = high_at, upper[high_at]
                break
            if to_high < low:  # it must bend down, around the lower bound
                turn, end = low_at, lower[low_at]
                break
            if to_low >= low:
                low_at, low = knot, to_low
            if to_high <= high:
                high_at, high = knot, to_high
            knot += 1
        else:
            turn, end = last, 1.0
        pieces.append((anchor, turn, (end - height) / (turn - anchor)))
        anchor, height = turn, end
    return pieces


def _maxima(pieces: list[tuple[int, int, float]]) -> list[tuple[int, int, int, int]]:
    """Pieces steeper than both neighbours: begin and end of each, and the valleys around it, as knots."""
    steps: list[tuple[int, int, float]] = []
    for begin, end, slope in pieces:  # neighbours of equal slope are one
        if steps and math.isclose(steps[-1][2], slope, rel_tol=1e-9, abs_tol=1e-15):
            steps[-1] = (steps[-1][0], end, steps[-1][2])
        else:
            steps.append((begin, end, slope))
    slopes = [-math.inf, *(slope for _, _, slope in steps), -math.inf]
    tops = [i for i in range(len(steps)) if slopes[i] < slopes[i + 1] > slopes[i + 2]]
    valleys = [0]
    for left, right in itertools.pairwise(tops):
        lowest = min(range(left, right + 1), key=lambda i: steps[i][2])
        valleys.append((steps[lowest][0] + steps[lowest][1]) // 2)
    valleys.append(steps[-1][1])
    return [(steps[top][0], steps[top][1], valleys[i], valleys[i + 1]) for i, top in enumerate(tops)]
