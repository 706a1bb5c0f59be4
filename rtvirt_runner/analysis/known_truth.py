"""Series of latencies of which the truth is known, and what the statistics say of them.

    python -m rtvirt_runner.analysis.known_truth [SEED]

They go the way of a measurement: cut to whole microseconds, a histogram of all, the late ones with their times. What is
said of each is in docs/statistics.md, and held by a unit test.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from rtvirt_runner.analysis.estimates import Refused
from rtvirt_runner.analysis.histogram import Histogram
from rtvirt_runner.analysis.order import Events, OrderInTime, events_of, order_in_time
from rtvirt_runner.analysis.shape import Peaks, peaks
from rtvirt_runner.analysis.tail import Tail, tail
from rtvirt_runner.parsers.spikes import LateWakeup, LateWakeups

Floats = NDArray[np.float64]

LOOPS, INTERVAL_US, TRIGGER_US = 100_000, 1000, 100
ONCE_IN = 1_000_000  # wake-ups: the level that is extrapolated to, ten times what was measured
_LATE = 0.003  # of all wake-ups are later than the trigger


@dataclass(frozen=True)
class Series:
    """A process that gives latencies in us; ``level_us`` is exceeded by one in ONCE_IN, where it has one tail."""

    latencies: Callable[[np.random.Generator], Floats]
    level_us: float | None
    truth: str

    def histogram(self, latencies: Floats) -> Histogram:
        """As cyclictest would count them."""
        whole = np.floor(latencies).astype(int)
        counts = Counter(whole.tolist())
        return Histogram(counts, 0, int(whole.min()), float(whole.mean()), int(whole.max()), int(whole.max()) + 1)

    def events(self, latencies: Floats) -> Events | Refused:
        """As cyclictest would list those later than the trigger."""
        whole = np.floor(latencies).astype(int)
        late = [
            LateWakeup(0, int(whole[i]), int(i) * INTERVAL_US + int(whole[i]))
            for i in np.flatnonzero(whole > TRIGGER_US)
        ]
        return events_of(LateWakeups(TRIGGER_US, tuple(late), len(late)), INTERVAL_US)


@dataclass(frozen=True)
class Said:
    """What the statistics say of a series."""

    peaks: Peaks | Refused
    order: OrderInTime | Refused
    tail: Tail | Refused


def say(series: Series, random: np.random.Generator) -> Said:
    """Everything that is said of one run of a series."""
    latencies = series.latencies(random)
    histogram, events = series.histogram(latencies), series.events(latencies)
    order = events if isinstance(events, Refused) else order_in_time(events)
    return Said(peaks(histogram), order, tail(histogram, order))


def _body(random: np.random.Generator) -> Floats:
    """What is not late: about 55 us, always below the trigger."""
    return np.minimum(random.normal(55, 4, LOOPS), TRIGGER_US)


def _with_late(late: Callable[[np.random.Generator, int], Floats]) -> Callable[[np.random.Generator], Floats]:
    def latencies(random: np.random.Generator) -> Floats:
        those = _body(random)
        at = np.flatnonzero(random.random(LOOPS) < _LATE)
        those[at] = TRIGGER_US + 1 + late(random, len(at))
        return those

    return latencies


def _drifting(random: np.random.Generator) -> Floats:
    """Late wake-ups become three times as frequent from the first to the last wake-up."""
    those = _body(random)
    at = np.flatnonzero(random.random(LOOPS) < np.linspace(0.5, 1.5, LOOPS) * _LATE)
    those[at] = TRIGGER_US + 1 + random.exponential(20, len(at))
    return those


def _clustered(random: np.random.Generator) -> Floats:
    """A late wake-up is followed by another in two of three cases."""
    those = _body(random)
    at = np.flatnonzero(random.random(LOOPS) < _LATE / 3)
    while len(at):
        those[at] = TRIGGER_US + 1 + random.exponential(20, len(at))
        at = at[random.random(len(at)) < 2 / 3] + 1
        at = at[at < LOOPS]
    return those


def _bimodal(random: np.random.Generator) -> Floats:
    """A tenth of all wake-ups come 30 us later, and of the late ones half lie about 400 us."""
    those = _with_late(
        lambda random, n: np.where(random.random(n) < 0.5, random.exponential(20, n), random.normal(300, 10, n))
    )(random)
    those[(those < TRIGGER_US) & (random.random(LOOPS) < 0.1)] += 30
    return those


def _level(shape: float, scale: float) -> float:
    return float(TRIGGER_US + 1 + stats.genpareto.isf(1 / (ONCE_IN * _LATE), shape, scale=scale))


SERIES = {
    "generalized Pareto": Series(
        _with_late(lambda random, n: stats.genpareto.rvs(0.25, scale=20, size=n, random_state=random)),
        _level(0.25, 20),
        "shape 0.25, scale 20 us",
    ),
    "exponential": Series(_with_late(lambda random, n: random.exponential(20, n)), _level(0.0, 20), "shape 0"),
    "bimodal": Series(_bimodal, None, "two peaks, 30 us apart, and half of the late ones 300 us beyond the trigger"),
    "drifting": Series(_drifting, None, "three times as many late ones at the end as at the beginning"),
    "clustered": Series(_clustered, None, "three late ones together"),
}


def lines(name: str, series: Series, said: Said) -> list[str]:
    """What is said, for the terminal."""
    found = [f"{name} ({series.truth})"]
    if isinstance(said.peaks, Peaks):
        where = ", ".join(f"{each.low_us}-{each.high_us} us ({each.share:.1%})" for each in said.peaks.peaks)
        found.append(f"  peaks: at least {len(said.peaks.peaks)}: {where}")
    if isinstance(said.order, OrderInTime):
        alarms = ", ".join(said.order.alarms) or "none"
        tests = ", ".join(f"{each.what} p={each.p_value:.3f}" for each in said.order.tests)
        found.append(f"  order: {said.order.events} late, alarms: {alarms} ({tests})")
        found.append(f"  {1 / said.order.extremal_index:.2f} late wake-ups in a cluster")
    if isinstance(said.tail, Refused):
        return [*found, f"  tail: refused. {said.tail.reason}"]
    shape = said.tail.shape_interval
    found.append(
        f"  tail: shape {said.tail.shape:.2f} ({shape.low:.2f} to {shape.high:.2f}), fit p={said.tail.fit_p:.2f}"
    )
    level = said.tail.level(ONCE_IN)
    if not isinstance(level, Refused):
        truth = f", in truth {series.level_us:.0f} us" if series.level_us else ""
        found.append(
            f"  once in {ONCE_IN:,}: {level[0]:.0f} us ({level[1].low:.0f} to {level[1].high:.0f} us at 95 %){truth}"
        )
    return found


def main(arguments: list[str]) -> int:
    """Print what is said of each series; 2 when the seed is no whole number."""
    if len(arguments) > 1 or not all(each.isdecimal() for each in arguments):
        print(f"known_truth: the seed is '{' '.join(arguments)}', expected one whole number or none.", file=sys.stderr)
        return 2
    random = np.random.default_rng(int(arguments[0]) if arguments else 0)
    for name, series in SERIES.items():
        print("\n".join(lines(name, series, say(series, random))))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
