"""Widths and peaks: against what is known of the distribution, and peaks against linear programs."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest
from scipy import optimize

from rtvirt_runner.analysis.estimates import Refused
from rtvirt_runner.analysis.histogram import Histogram
from rtvirt_runner.analysis.shape import Peaks, peaks, widths


def run(samples: np.ndarray, limit: int = 10**6) -> Histogram:
    whole = np.floor(samples).astype(int)
    counts = Counter(int(us) for us in whole if us < limit)
    beyond = len(whole) - counts.total()
    return Histogram(counts, beyond, int(whole.min()), float(whole.mean()), int(whole.max()), limit)


def found(samples: np.ndarray, resolution_us: int | None = None) -> Peaks:
    those = peaks(run(samples), resolution_us)
    assert isinstance(those, Peaks), those
    return those


def one_peak_fits(counts: np.ndarray, band: float) -> bool:
    """The second way: is there a place for the top such that some distribution rises to it, then falls, in the band?"""
    bins, cumulative = len(counts), np.cumsum(counts) / counts.sum()
    sums = np.tril(np.ones((bins, bins)))
    bounds = np.concatenate([np.minimum(cumulative + band, 1), -np.maximum(cumulative - band, 0)])
    for top in range(bins):
        steps = np.zeros((bins - 1, bins))
        for i in range(bins - 1):
            steps[i, i], steps[i, i + 1] = (1, -1) if i < top else (-1, 1)
        fits = optimize.linprog(
            np.zeros(bins),
            A_ub=np.concatenate([sums, -sums, steps]),
            b_ub=np.concatenate([bounds, np.zeros(bins - 1)]),
            A_eq=np.ones((1, bins)),
            b_eq=[1.0],
        )
        if fits.status == 0:
            return True
    return False


def test_more_than_one_peak_is_seen_exactly_when_no_single_one_fits() -> None:
    random = np.random.default_rng(5)
    answers = set()
    for _ in range(25):
        share, apart = random.uniform(0.05, 0.5), random.uniform(3, 12)
        samples = 10 + random.normal(0, 2, 300) + apart * (random.random(300) < share)
        whole = np.floor(samples).astype(int)
        counts = np.bincount(whole - whole.min() + 1, minlength=int(np.ptp(whole)) + 3)
        several = len(found(samples, 1).peaks) > 1
        assert several == (not one_peak_fits(counts, math.sqrt(math.log(40) / 600)))
        answers.add(several)
    assert answers == {True, False}


ONE_PEAK: dict[str, Callable[[np.random.Generator], np.ndarray]] = {
    "normal": lambda random: random.normal(100, 3, 2000),
    "exponential": lambda random: 30 + random.exponential(20, 2000),
    "heavy tail": lambda random: 30 + 5 * random.pareto(1.2, 2000),
    "flat": lambda random: random.uniform(30, 130, 2000),
    "within a bucket": lambda random: random.normal(30.4, 0.1, 2000),
    "a timer's ticks": lambda random: 2 * np.floor(random.normal(50, 5, 2000)),
}


@pytest.mark.parametrize("shape", ONE_PEAK)
def test_one_peak_is_seldom_taken_for_two(shape: str) -> None:
    random = np.random.default_rng(1)
    wrong = sum(len(found(ONE_PEAK[shape](random), 4).peaks) > 1 for _ in range(100))
    assert wrong <= 5


def test_two_peaks_are_found_with_their_places_and_more_data_find_smaller_ones() -> None:
    random = np.random.default_rng(6)

    def samples(n: int, share: float) -> np.ndarray:
        return random.normal(100, 3, n) + 30 * (random.random(n) < share)

    both = found(samples(5000, 0.25))
    assert len(both.peaks) == 2
    assert [each.low_us - 5 <= us <= each.high_us + 5 for each, us in zip(both.peaks, (100, 130), strict=True)]
    assert both.peaks[1].share == pytest.approx(0.25, abs=0.03)
    assert [len(found(samples(n, 0.02)).peaks) for n in (5000, 200_000)] == [1, 2]


def test_the_width_at_half_maximum_of_a_normal_latency_is_known() -> None:
    random = np.random.default_rng(2)
    for sd in (3.0, 40.0):
        those = widths(run(random.normal(1000, sd, 50_000)))
        assert isinstance(those.half_maximum, float)
        assert those.half_maximum == pytest.approx(2 * math.sqrt(2 * math.log(2)) * sd, rel=0.08)
        assert those.central == pytest.approx(2 * 3.0902 * sd, rel=0.06)


def test_late_wake_ups_do_not_widen_the_peak() -> None:
    samples = np.random.default_rng(2).normal(1000, 5, 20_000)
    late = np.concatenate([samples, np.full(15, 50_000)])
    assert widths(run(late)).half_maximum == pytest.approx(widths(run(samples)).half_maximum, rel=0.01)


def test_what_the_data_do_not_tell_is_refused() -> None:
    few = run(np.arange(99.0))
    assert isinstance(widths(few).central, Refused)
    assert isinstance(widths(few).half_maximum, Refused)
    assert peaks(few) == Refused("99 wake-ups are too few to count peaks, 100 or more are needed.")
    late = run(np.concatenate([np.full(500, 30.0), np.full(500, 5000.0)]), limit=1000)
    assert isinstance(peaks(late), Refused)
    assert isinstance(widths(late).central, Refused)
    third = run(np.concatenate([np.random.default_rng(1).normal(100, 9, 5000), np.full(40, 5000.0)]), limit=1000)
    assert isinstance(widths(third).central, Refused)
    assert isinstance(widths(third).half_maximum, float)
