"""The tail: fits and intervals against a second way, coverage, and what is said of series with a known truth."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
from scipy import optimize, stats

from rtvirt_runner.analysis import known_truth
from rtvirt_runner.analysis.estimates import Refused
from rtvirt_runner.analysis.histogram import Histogram
from rtvirt_runner.analysis.known_truth import SERIES, say
from rtvirt_runner.analysis.order import OrderInTime, What
from rtvirt_runner.analysis.shape import Peaks
from rtvirt_runner.analysis.tail import Tail, stability, tail


def even(*alarms: What) -> OrderInTime:
    return OrderInTime(500, 100_000, 100, (), alarms, 0.5 if alarms else 1.0, 500)


def run(excesses: np.ndarray, others: int, limit: int = 10**7) -> Histogram:
    """Wake-ups of 50 us, and late ones so far beyond 101 us."""
    whole = np.floor(101 + excesses).astype(int)
    counts = Counter(int(us) for us in whole if us < limit)
    beyond = len(whole) - counts.total()
    return Histogram({50: others, **counts}, beyond, 50, 50.0, int(whole.max()), limit)


def fitted(histogram: Histogram) -> Tail:
    found = tail(histogram, even())
    assert isinstance(found, Tail), found
    return found


def pareto(shape: float, scale: float, n: int, seed: int = 1) -> np.ndarray:
    return np.asarray(stats.genpareto.rvs(shape, scale=scale, size=n, random_state=np.random.default_rng(seed)))


@pytest.mark.parametrize("shape", [-0.3, 0.0, 0.3])
def test_where_microseconds_are_fine_the_fit_is_that_of_points(shape: float) -> None:
    """The second way: the density at each excess, by scipy's own maximum likelihood."""
    excesses = pareto(shape, 30_000, 500)
    found = fitted(run(excesses, 50_000))
    other = stats.genpareto.fit(excesses, floc=0)
    assert found.shape == pytest.approx(other[0], abs=0.01)
    assert found.scale_us == pytest.approx(other[2], rel=0.01)


def test_where_they_are_coarse_intervals_are_right_and_points_are_not() -> None:
    """A tail of 2 us: taken as points at the microseconds shown, its scale is far off."""
    shapes, naive = [], []
    for seed in range(20):
        excesses = pareto(0.1, 2.0, 800, seed)
        shapes.append(fitted(run(excesses, 50_000)).scale_us)
        naive.append(stats.genpareto.fit(np.floor(excesses) + 1e-9, floc=0)[2])
    assert np.mean(shapes) == pytest.approx(2.0, rel=0.05)
    assert abs(np.mean(naive) - 2.0) > 0.3


def test_a_levels_interval_is_where_the_likelihood_ratio_says() -> None:
    """The second way: maximise over shape, scale and rate under the constraint that the level is the interval's end."""
    excesses, n, once_in = pareto(0.2, 20.0, 300), 50_000, 500_000
    found = fitted(run(excesses, n - 300))
    level = found.level(once_in)
    assert not isinstance(level, Refused)
    starts, counts = np.unique(np.floor(excesses), return_counts=True)

    def loss(those: np.ndarray) -> float:
        shape, scale, rate = those
        edges = [np.maximum(0, 1 + shape * each / scale) ** (-1 / shape) for each in (starts, starts + 1)]
        chances = edges[0] - edges[1]
        if scale <= 0 or not 0 < rate < 1 or chances.min() <= 0:
            return 1e9
        return float(-counts @ np.log(chances) - 300 * math.log(rate) - (n - 300) * math.log(1 - rate))

    def excess(those: np.ndarray) -> float:
        return float(those[1] / those[0] * ((once_in * those[2]) ** those[0] - 1))

    best = loss(np.array([found.shape, found.scale_us, 300 / n]))
    assert level[0] == pytest.approx(101 + excess(np.array([found.shape, found.scale_us, 300 / n])))
    for end in (level[1].low, level[1].high):
        held = optimize.minimize(
            loss,
            [found.shape, found.scale_us, 300 / n],
            constraints={"type": "eq", "fun": lambda those, end=end: (excess(those) - (end - 101)) / 100},
            method="SLSQP",
            bounds=[(0.01, 1), (1, 200), (0.001, 0.02)],
            options={"ftol": 1e-10, "maxiter": 500},
        )
        assert 2 * (held.fun - best) == pytest.approx(stats.chi2.ppf(0.95, 1), abs=0.1)


def test_intervals_cover_the_truth() -> None:
    """A fast look; the full one is rtvirt_runner.analysis.simulations."""
    covered, true = Counter[str](), 101 + stats.genpareto.isf(1 / (10 * 300), 0.1, scale=20)
    for seed in range(40):
        found = fitted(run(pareto(0.1, 20.0, 300, seed), 29_700))
        level = found.level(300_000)
        assert not isinstance(level, Refused)
        covered.update(shape=found.shape_interval.contains(0.1), level=level[1].contains(true))
    assert min(covered["shape"], covered["level"]) >= 40 * 0.95 - 3 * math.sqrt(40 * 0.05 * 0.95)


def test_the_overflow_counts_as_what_is_known_of_it() -> None:
    excesses = pareto(0.2, 20.0, 500)
    known, cut = fitted(run(excesses, 9500)), fitted(run(excesses, 9500, limit=180))
    assert cut.beyond == known.beyond == 500
    assert cut.shape == pytest.approx(known.shape, abs=0.1)


def test_what_allows_no_tail_is_refused_with_the_reason() -> None:
    good = run(pareto(0.1, 20.0, 300), 9700)
    refusals = {
        "is not known: no list": tail(good, Refused("no list.")),
        "drift: their rate or latency": tail(good, even("rate")),
        "in clusters or waves (about 2.0 together)": tail(good, even("clusters")),
        "99 wake-ups were later than 100 us, 100 or more": tail(run(pareto(0.1, 20.0, 99), 9700), even()),
        "only 1 different": tail(run(np.full(200, 3.0), 9700), even()),
        "is more than 100 times what was measured, 10,000": fitted(good).level(1_000_001),
        "is no later than the threshold": fitted(good).level(10),
    }
    for reason, refused in refusals.items():
        assert isinstance(refused, Refused), reason
        assert reason in refused.reason


def test_shape_and_modified_scale_stay_put_above_a_good_threshold() -> None:
    histogram = run(pareto(0.2, 20.0, 4000), 50_000)
    those = stability(histogram, [100, 110, 120, 140, 10_000])
    assert [each.threshold_us for each in those] == [100, 110, 120, 140]
    assert all(each.shape_interval.contains(0.2) for each in those)
    assert those[0].modified_scale_us == pytest.approx(20 - 0.2 * 101, abs=4)


def test_what_is_said_of_series_with_a_known_truth(capsys: pytest.CaptureFixture[str]) -> None:
    random = np.random.default_rng(7)
    said = {name: say(series, random) for name, series in SERIES.items()}
    assert [name for name, each in said.items() if isinstance(each.tail, Tail)] == ["generalized Pareto", "exponential"]
    reasons = {name: each.tail.reason for name, each in said.items() if isinstance(each.tail, Refused)}
    assert {name: reason.split(":")[0][:40] for name, reason in reasons.items()} == {
        "bimodal": "No generalized Pareto distribution fits ",
        "drifting": "Late wake-ups drift",
        "clustered": "Late wake-ups come in clusters or waves ",
    }
    peaks = {name: len(each.peaks.peaks) for name, each in said.items() if isinstance(each.peaks, Peaks)}
    assert peaks == dict.fromkeys(SERIES, 1) | {"bimodal": 2}
    assert known_truth.main(["x"]) == 2
    assert "expected one whole number" in capsys.readouterr().err
