"""Effects over repetitions: each formula against a second way of computing it, and errors in simulation."""

from __future__ import annotations

import math
import statistics

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize, stats

from rtvirt_runner.analysis.effects import Effect, Scale, effect, expected_df, judge, noncentrality, repetitions_needed
from rtvirt_runner.analysis.estimates import Refused

values_us = st.lists(st.integers(1, 5000), min_size=2, max_size=12).map(lambda those: [float(each) for each in those])


def made(base: list[float], changed: list[float], paired: bool = False, scale: Scale = "difference") -> Effect:
    found = effect(base, changed, paired=paired, scale=scale, resolution=0.0)
    assert isinstance(found, Effect), found
    return found


@pytest.mark.filterwarnings("ignore:Precision loss:RuntimeWarning")  # of scipy, for sides of equal values
@given(values_us, values_us)
def test_an_unpaired_effect_is_welchs_test(base: list[float], changed: list[float]) -> None:
    if statistics.variance(base) + statistics.variance(changed) == 0:
        assert isinstance(effect(base, changed, resolution=0.0), Refused)
        return
    found, other = made(base, changed), stats.ttest_ind(changed, base, equal_var=False)
    assert found.estimate == pytest.approx(statistics.fmean(changed) - statistics.fmean(base))
    assert found.p_value == pytest.approx(other.pvalue, rel=1e-6)
    low, high = other.confidence_interval(0.9)
    interval = found.interval(0.9)
    assert (interval.low, interval.high) == (pytest.approx(low, rel=1e-6), pytest.approx(high, rel=1e-6))


def test_a_paired_effect_is_the_paired_test_and_a_ratio_that_of_logarithms() -> None:
    base, changed = [100.0, 140.0, 90.0, 201.0], [121.0, 150.0, 118.0, 230.0]
    found, other = made(base, changed, paired=True), stats.ttest_rel(changed, base)
    assert found.p_value == pytest.approx(other.pvalue)
    assert (found.interval().low, found.interval().high) == pytest.approx(tuple(other.confidence_interval(0.95)))
    ratio, other = made(base, changed, scale="ratio"), stats.ttest_ind(np.log(changed), np.log(base), equal_var=False)
    assert ratio.estimate == pytest.approx(statistics.geometric_mean(changed) / statistics.geometric_mean(base))
    assert ratio.interval().low == pytest.approx(math.exp(other.confidence_interval(0.95).low))


def test_values_that_agree_by_chance_are_believed_no_better_than_their_resolution() -> None:
    """Three runs at 55 us and three at 56 us: a microsecond more, of which cutting alone may be the cause."""
    found = judge({0: effect([55.0] * 3, [56.0] * 3), **{k: effect([55.0] * 3, [55.0] * 3) for k in range(1, 10)}})
    assert found[0].call == "not told"
    assert judge({0: effect([55.0] * 3, [60.0] * 3)})[0].call == "higher"


@pytest.mark.parametrize("df", [1.0, 2.0, 3.7, 8.0, 40.0])
@pytest.mark.parametrize("level", [0.05, 0.05 / 30])
def test_what_could_have_been_seen_has_the_power_that_is_asked_for(df: float, level: float) -> None:
    """The second way: integrate the normal power over the distribution of the estimated error."""
    steps = (np.arange(100_000) + 0.5) / 100_000
    limits = stats.t.ppf(1 - level / 2, df) * np.sqrt(stats.chi2.ppf(steps, df) / df)

    def missed(shift: float) -> float:
        return float(np.mean(stats.norm.cdf(limits, shift) - stats.norm.cdf(-limits, shift)))

    expected = optimize.brentq(lambda shift: missed(shift) - 0.2, 0, 10 * float(np.median(limits)) + 10)
    assert noncentrality(df, level, 0.8) == pytest.approx(expected, rel=1e-3)


def test_holms_adjusted_values_are_those_of_its_steps() -> None:
    """Smallest first, each tested at 0.05 over those that are left, until one is not significant."""
    random = np.random.default_rng(7)
    for _ in range(50):
        sides = {key: (random.normal(100, 5, 4), random.normal(100 + 6 * key, 5, 4)) for key in range(6)}
        effects = {key: effect(list(base), list(changed)) for key, (base, changed) in sides.items()}
        p_values = {key: each.p_value for key, each in effects.items() if isinstance(each, Effect)}
        called: set[int] = set()
        for left, key in zip(range(6, 0, -1), sorted(p_values, key=lambda key: p_values[key]), strict=True):
            if p_values[key] > 0.05 / left:
                break
            called.add(key)
        found = judge(effects)
        assert {key for key, each in found.items() if each.call in ("higher", "lower")} == called
        for key, each in found.items():
            assert each.simultaneous is not None
            assert each.simultaneous.low >= 0 or key not in called or each.simultaneous.high <= 0


def test_what_cannot_be_compared_is_refused_with_its_reason_and_does_not_count() -> None:
    beyond = Refused("p99 of run 1 of 3: it lies beyond the histogram's end, 400 us.")
    found = judge(
        {"once": effect([1.0], [2.0, 3.0]), "late": effect([1.0, 2.0], beyond), "ok": effect([1.0, 2], [7, 9.0])}
    )
    assert [each.call for each in found.values()] == ["refused", "refused", "not told"]
    assert found["late"].effect == beyond
    assert isinstance(found["once"].effect, Refused)
    assert found["once"].effect.reason.startswith("1 and 2 repetitions: two or more")
    assert isinstance(found["ok"].effect, Effect)
    assert found["ok"].adjusted_p == pytest.approx(found["ok"].effect.p_value)
    assert isinstance(effect([0.0, 1.0], [1.0, 2.0], scale="ratio"), Refused)
    with pytest.raises(ValueError, match="of the same number, got 2 and 3"):
        effect([1.0, 2.0], [1.0, 2.0, 3.0], paired=True)


def test_the_same_is_called_only_within_a_margin() -> None:
    near = effect([100.0, 101.0, 102.0, 101.0], [101.0, 102.0, 100.0, 101.0])
    assert judge({0: near})[0].call == "not told"
    assert judge({0: near}, margin=5.0)[0].call == "same"
    assert judge({0: near}, margin=0.5)[0].call == "not told"
    ratio = effect([100.0, 101.0, 102.0, 101.0], [101.0, 102.0, 100.0, 101.0], scale="ratio")
    assert [judge({0: ratio}, margin=margin)[0].call for margin in (1.1, 1.001)] == ["same", "not told"]


def test_repetitions_needed_give_the_power_and_one_less_does_not() -> None:
    for comparisons in (1, 20):
        n = repetitions_needed(10.0, 8.0, comparisons=comparisons)
        assert isinstance(n, int)
        shifts = {r: noncentrality(expected_df(r), 0.05 / comparisons, 0.8) * 8 * math.sqrt(2 / r) for r in (n, n - 1)}
        assert shifts[n] <= 10 < shifts[n - 1]
    assert isinstance(repetitions_needed(0.001, 8.0), Refused)


def test_a_page_of_fifteen_comparisons_has_a_false_call_in_at_most_one_of_twenty() -> None:
    random = np.random.default_rng(15)
    false = 0
    for _ in range(300):
        runs = np.floor(random.normal(200, 5 * np.exp(random.normal(0, 1, (16, 1))), (16, 3)))
        found = judge({key: effect(list(runs[0]), list(runs[key])) for key in range(1, 16)})
        false += any(each.call in ("higher", "lower") for each in found.values())
    assert false <= 300 * 0.05 + 2 * math.sqrt(300 * 0.05 * 0.95)


def test_more_repetitions_call_more_of_the_true_effects() -> None:
    random = np.random.default_rng(3)
    seen = []
    for repetitions in (3, 6, 12):
        called = 0
        for _ in range(60):
            runs = np.floor(random.normal(200, 10, (11, repetitions)))
            runs[1:6] += 20
            found = judge({key: effect(list(runs[0]), list(runs[key])) for key in range(1, 11)})
            called += sum(found[key].call == "higher" for key in range(1, 6))
        seen.append(called / 300)
    assert seen[0] < seen[1] < seen[2]
    assert seen[2] > 0.8
