"""How long one must measure, and what a measurement without a late wake-up allows to say. Needs no extra."""

from __future__ import annotations

import math

from rtvirt_runner.analysis.estimates import CONFIDENCE

US_PER_HOUR = 3_600_000_000


def hours(wakeups: int, interval_us: int) -> float:
    """Hours for which wake-ups at an interval (us) watched the machine."""
    return wakeups * interval_us / US_PER_HOUR


def wakeups_needed(probability: float, confidence: float = CONFIDENCE) -> int:
    """Wake-ups, none of them late, that bound the probability of a late one: the smallest n with (1-p)**n <= 1-c.

    The zero-event case of Clopper and Pearson, "The use of confidence or fiducial limits illustrated in the case of the
    binomial", Biometrika 26 (1934). About 3/p at 95 %, Hanley and Lippman-Hand's "rule of three", JAMA 249 (1983).
    """
    return math.ceil(math.log(1 - confidence) / math.log1p(-probability))


def hours_needed(per_hour: float, confidence: float = CONFIDENCE) -> float:
    """Hours without a late wake-up that bound their rate (per hour): ``-ln(1 - c) / rate``, 3.0 h for once an hour.

    The zero-event case of Garwood, "Fiducial limits for the Poisson distribution", Biometrika 28 (1936).
    """
    return -math.log(1 - confidence) / per_hour


def probability_bounded(wakeups: int, confidence: float = CONFIDENCE) -> float:
    """The inverse of ``wakeups_needed``: the probability of a late wake-up that n of them, none late, rule out."""
    return -math.expm1(math.log(1 - confidence) / wakeups)


def rate_bounded(hours: float, confidence: float = CONFIDENCE) -> float:
    """The inverse of ``hours_needed``: the rate (per hour) that so many hours without a late wake-up rule out."""
    return -math.log(1 - confidence) / hours
