"""Effects of a change, over repetitions: how large, how certain, and what is called when many are looked at.

The unit is the run: one value per repetition (``repetitions.values_of_runs``), never one per wake-up. How it is used:

    base = values_of_runs(histograms_of_one_side, "p99")         # us, one per repetition, or Refused
    changed = values_of_runs(histograms_of_the_other, "p99")
    found = judge({"without nohz_full": effect(base, changed), ...})   # all comparisons of a page, in one call
    found["without nohz_full"].call                               # "higher", "lower", "same", "not told", "refused"

``judge`` keeps the chance that a page has any false call at 5 % or less, whatever the number of comparisons on it, so
everything that a page compares belongs into one call of it. What is assumed: that values of runs are about normal (for
ratios: their logarithms), not that both sides scatter alike. ``python -m rtvirt_runner.analysis.simulations`` shows
what holds when they are not, and what does not (docs/statistics.md).
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

from scipy import special

from rtvirt_runner.analysis.estimates import CONFIDENCE, Interval, Refused
from rtvirt_runner.analysis.repetitions import RESOLUTION_US, variance

Scale = Literal["difference", "ratio"]
Call = Literal["higher", "lower", "same", "not told", "refused"]
Key = TypeVar("Key")

POWER = 0.8  # chance of a call at which an effect counts as one that could have been seen
_MOST_REPETITIONS = 10_000  # that are ever asked for


@dataclass(frozen=True)
class Effect:
    """Changed against base: ``changed - base`` in us, or ``changed / base``.

    ``location``, ``error`` and the effect's distribution are in us for a difference, and in natural logarithms for a
    ratio; ``estimate`` and intervals are in the unit that is shown.
    """

    scale: Scale
    location: float
    error: float  # standard error of the location
    df: float  # degrees of freedom of the error
    paired: bool
    runs: tuple[int, int]  # of base and changed

    @property
    def estimate(self) -> float:
        """The effect: us, or a factor."""
        return self._shown(self.location)

    @property
    def p_value(self) -> float:
        """Two-sided p value of "no effect", for this comparison alone."""
        return float(2 * special.stdtr(self.df, -abs(self.location) / self.error))

    def interval(self, confidence: float = CONFIDENCE) -> Interval:
        """Student's t interval of the effect, for this comparison alone."""
        half = float(special.stdtrit(self.df, (1 + confidence) / 2)) * self.error
        return Interval(self._shown(self.location - half), self._shown(self.location + half), confidence)

    def could_have_seen(self, level: float = 1 - CONFIDENCE, power: float = POWER) -> float:
        """The smallest effect (us, or a factor above 1) that ``power`` of such comparisons would have called.

        The noncentrality at which ``|T| > t(1 - level / 2)`` has probability ``power``: Cohen, "Statistical Power
        Analysis for the Behavioral Sciences" (1988), chapter 2. The standard error is taken as known.
        """
        return self._shown(noncentrality(self.df, level, power) * self.error)

    def _shown(self, location: float) -> float:
        return math.exp(min(location, 700.0)) if self.scale == "ratio" else location


@dataclass(frozen=True)
class Finding:
    """What is said of one comparison among several.

    ``higher``, ``lower``: an effect, after Holm's correction. ``same``: the simultaneous interval lies within the
    margin that was asked for. ``not told``: neither; an effect of ``could_have_seen`` would probably have been called.
    """

    call: Call
    effect: Effect | Refused
    adjusted_p: float  # Holm's, compare with 1 - confidence; 1 when refused
    simultaneous: Interval | None  # all of a page's hold together with the confidence asked for; None when refused
    could_have_seen: float | None  # us or a factor, at the level of the simultaneous interval; None when refused


def effect(
    base: Sequence[float] | Refused,
    changed: Sequence[float] | Refused,
    *,
    paired: bool = False,
    scale: Scale = "difference",
    resolution: float = RESOLUTION_US,
) -> Effect | Refused:
    """Effect of a change, from one value (us) per repetition of either side.

    Unpaired: Welch's t, with Satterthwaite's degrees of freedom (Welch, "The generalization of 'Student's' problem when
    several different population variances are involved", Biometrika 34 (1947)). ``paired``: values at the same position
    belong together, such as the same repetition on host and guest; Student's t on their differences. ``ratio``: the
    same on logarithms, so that the effect is a factor between geometric means.

    ``resolution`` (us) is the least standard deviation that is believed of one run's value: whole microseconds that
    agree by chance agree no better than that.

    Refused when a side is refused, has fewer than two repetitions, or a ratio is asked of a value that is not above 0.
    Raises ValueError when paired values are not of the same number.
    """
    for side in (base, changed):
        if isinstance(side, Refused):
            return side
    assert not isinstance(base, Refused) and not isinstance(changed, Refused)
    n, m = len(base), len(changed)
    if paired and n != m:
        raise ValueError(f"Paired values must be of the same number, got {n} and {m}.")
    if min(n, m) < 2:
        return Refused(f"{n} and {m} repetitions: two or more of either are needed to know how much runs differ.")
    if scale == "ratio" and min(*base, *changed) <= 0:
        return Refused("A latency of 0 us has no ratio to another.")
    sides = [[math.log(each) for each in side] if scale == "ratio" else list(side) for side in (base, changed)]
    least = [resolution / statistics.fmean(side) if scale == "ratio" else resolution for side in (base, changed)]
    location = statistics.fmean(sides[1]) - statistics.fmean(sides[0])
    if paired:
        differences = [after - before for before, after in zip(*sides, strict=True)]
        error = max(math.sqrt(variance(differences)), math.hypot(*least)) / math.sqrt(n)
        return Effect(scale, location, error, n - 1.0, True, (n, m))
    variances = [max(variance(side), floor**2) / len(side) for side, floor in zip(sides, least, strict=True)]
    total = sum(variances)
    if not total:
        return Refused("All repetitions gave the same value, so that nothing is known of how much runs differ.")
    df = total**2 / (variances[0] ** 2 / (n - 1) + variances[1] ** 2 / (m - 1))
    return Effect(scale, location, math.sqrt(total), df, False, (n, m))


def judge(
    effects: Mapping[Key, Effect | Refused], *, confidence: float = CONFIDENCE, margin: float | None = None
) -> dict[Key, Finding]:
    """Call each effect, so that all calls are right together with the confidence given, however many there are.

    Holm, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of Statistics 6 (1979): valid
    for any dependence, such as a base that all share. Simultaneous intervals are Bonferroni's; that of an effect which
    Holm calls although it reaches beyond 'no effect' ends there, which keeps them simultaneous (Strassburger and Bretz,
    "Compatible simultaneous lower confidence bounds for the Holm procedure", Statistics in Medicine 27 (2008), on both
    sides; its coverage is simulated). Refused effects are not counted.

    ``margin`` (us for differences, a factor above 1 for ratios): an effect whose simultaneous interval lies within it
    is called ``same``; without one nothing is. An effect may be called and yet lie within it: then it is called.
    """
    usable = {key: each for key, each in effects.items() if isinstance(each, Effect)}
    adjusted = _holm({key: each.p_value for key, each in usable.items()})
    level = (1 - confidence) / max(1, len(usable))
    found: dict[Key, Finding] = {}
    for key, each in effects.items():
        if isinstance(each, Refused):
            found[key] = Finding("refused", each, 1.0, None, None)
            continue
        interval = each.interval(1 - level)
        low, high, none = interval.low, interval.high, 1.0 if each.scale == "ratio" else 0.0
        call: Call = "not told"
        if adjusted[key] <= 1 - confidence:
            call = "higher" if each.location > 0 else "lower"
            low, high = (max(low, none), high) if call == "higher" else (low, min(high, none))
        elif margin is not None and _within(low, high, margin, each.scale):
            call = "same"
        found[key] = Finding(call, each, adjusted[key], Interval(low, high, confidence), each.could_have_seen(level))
    return found


def noncentrality(df: float, level: float, power: float) -> float:
    """Effect in standard errors at which a two-sided t test at ``level`` is significant with probability ``power``."""
    return float(special.nctdtrinc(df, 1 - power, special.stdtrit(df, 1 - level / 2)))


def expected_df(repetitions: int) -> float:
    """Satterthwaite's degrees of freedom to expect with so many repetitions of either side, which scatter alike.

    ``2 n (n - 1) / (n + 1)``, from the expectations of ``(s1**2 + s2**2)**2`` and ``s1**4 + s2**4`` for normal values.
    """
    return 2 * repetitions * (repetitions - 1) / (repetitions + 1)


def repetitions_needed(
    smallest: float, sd: float, *, comparisons: int = 1, confidence: float = CONFIDENCE, power: float = POWER
) -> int | Refused:
    """Repetitions of either side with which an effect of ``smallest`` is called with probability ``power``.

    ``sd`` is the standard deviation between runs, in the same unit (us, or of logarithms for a ratio's logarithm), and
    ``comparisons`` the number of those on the page. Both sides scatter alike. Refused when it is more than 10,000.
    """
    level = (1 - confidence) / comparisons
    low, high = 1, 2
    while noncentrality(expected_df(high), level, power) * sd * math.sqrt(2 / high) > smallest:
        low, high = high, 2 * high
        if low > _MOST_REPETITIONS:
            return Refused(f"More than {_MOST_REPETITIONS} repetitions would be needed to see an effect so small.")
    while high - low > 1:
        middle = (low + high) // 2
        enough = noncentrality(expected_df(middle), level, power) * sd * math.sqrt(2 / middle) <= smallest
        low, high = (low, middle) if enough else (middle, high)
    return high


def _holm(p_values: Mapping[Key, float]) -> dict[Key, float]:
    """Adjusted p values: the running maximum of ``(k - rank) * p``, smallest p first, cut at 1."""
    found: dict[Key, float] = {}
    worst = 0.0
    for rank, key in enumerate(sorted(p_values, key=lambda key: p_values[key])):
        worst = max(worst, min(1.0, (len(p_values) - rank) * p_values[key]))
        found[key] = worst
    return found


def _within(low: float, high: float, margin: float, scale: Scale) -> bool:
    return 1 / margin <= low and high <= margin if scale == "ratio" else -margin <= low and high <= margin
