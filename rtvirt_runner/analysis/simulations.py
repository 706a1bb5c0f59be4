"""Coverage of intervals, false calls and power, by simulation: anybody can check what the statistics promise.

    python -m rtvirt_runner.analysis.simulations [--runs N] [SECTION ...]

Prints a table for each section. With the same N the figures are the same each time; docs/statistics.md has those of the
default. A row that keeps its promise differs from it by two points at most or, where N is small, by three standard
deviations of chance; others end with an exclamation mark and give exit status 1.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from rtvirt_runner.analysis.effects import Effect, effect, expected_df, judge
from rtvirt_runner.analysis.estimates import Refused
from rtvirt_runner.analysis.exceedances import rate
from rtvirt_runner.analysis.histogram import Histogram
from rtvirt_runner.analysis.order import Events, OrderInTime, order_in_time
from rtvirt_runner.analysis.quantiles import quantile_estimate
from rtvirt_runner.analysis.repetitions import over_runs
from rtvirt_runner.analysis.shape import Peaks, peaks
from rtvirt_runner.analysis.tail import Tail, tail

Floats = NDArray[np.float64]
Random = np.random.Generator

RUNS = 1000
_PAGE = 15  # comparisons on a page: fifteen settings against one base


@dataclass(frozen=True)
class Row:
    """One simulated share, in percent; ``promised`` is '95', '>= 95', '<= 5', or '' where nothing is promised."""

    what: str
    promised: str
    share: float
    runs: int

    @property
    def kept(self) -> bool:
        """Whether the promise holds: to two points or, in few runs, to three standard deviations of chance."""
        if not self.promised:
            return True
        value = float(self.promised.split()[-1])
        room = max(2.0, 3 * math.sqrt(value * (100 - value) / self.runs))
        low = value - room if not self.promised.startswith("<=") else -1.0
        high = value + room if not self.promised.startswith(">=") else 101.0
        return low <= self.share <= high


def histogram_of(latencies: Floats) -> Histogram:
    """As cyclictest would count them, with nothing in the overflow."""
    whole = np.floor(latencies).astype(int)
    counts = Counter(whole.tolist())
    return Histogram(counts, 0, int(whole.min()), float(whole.mean()), int(whole.max()), int(whole.max()) + 1)


def quantiles(runs: int) -> Iterator[Row]:
    """Coverage of order-statistic intervals; latencies are wide against a microsecond, which plays no part then."""
    for q, n in ((0.5, 5000), (0.99, 5000), (0.999, 5000), (0.999, 50_000)):
        random, truth = np.random.default_rng(1), math.floor(stats.lognorm.ppf(q, 0.5, scale=20_000))
        covered, said = 0, 0.0
        for _ in range(max(1, runs // 2)):
            found = quantile_estimate(histogram_of(random.lognormal(math.log(20_000), 0.5, n)), q)
            assert not isinstance(found, Refused)
            covered, said = covered + found.interval.contains(truth), found.interval.confidence
        yield _row(
            f"p{100 * q:g} of {n:,} wake-ups, interval said to be of {said:.1%}",
            f"{100 * said:.1f}",
            covered,
            runs // 2,
        )


def repetitions(runs: int) -> Iterator[Row]:
    """Coverage of intervals over repetitions, where runs differ by more than their wake-ups explain."""
    kinds: dict[str, tuple[Callable[[Random, int], Floats], float, float]] = {
        "normal": (lambda random, n: random.normal(200, 12, n), 200.0, 12.0),
        "Gumbel, as maxima": (
            lambda random, n: random.gumbel(200, 12, n),
            200 + 12 * float(np.euler_gamma),
            12 * math.pi / math.sqrt(6),
        ),
    }
    for name, (draw, mean, sd) in kinds.items():
        for n in (3, 5, 10):
            random, kept = np.random.default_rng(2), Counter[str]()
            for _ in range(4 * runs):
                values = draw(random, n + 1)
                found = over_runs([float(each) for each in values[:n]], resolution=0.0)
                assert not isinstance(found, Refused)
                kept["mean"] += found.interval.contains(mean)
                kept["next run"] += found.next_run.contains(float(values[n]))
                kept["deviation"] += found.sd_interval.contains(sd)
            for what, count in kept.items():
                # Student's t and chi-squared are exact for normal values alone
                yield _row(f"{what} over {n} runs, {name}", "95" if name == "normal" else "", count, 4 * runs)


def rates(runs: int) -> Iterator[Row]:
    """Coverage of exact intervals of rates: at least what they say, and more the fewer events there are."""
    for mean in (1.0, 5.0, 20.0, 100.0):
        random = np.random.default_rng(3)
        drawn = [int(each) for each in random.poisson(mean, 4 * runs)]
        found = [rate([each], [3_600_000], 1000) for each in drawn]
        covered = sum(not isinstance(each, Refused) and each.per_hour.contains(mean) for each in found)
        yield _row(f"rate per hour, {mean:g} late wake-ups expected", ">= 95", covered, 4 * runs)
    random = np.random.default_rng(4)
    groups = [[int(each) for each in random.poisson(5, 3)] for _ in range(runs)]
    refused = sum(isinstance(rate(group, [100_000] * 3, 1000), Refused) for group in groups)
    yield _row("three runs of one rate refused as different", "<= 1", refused, runs)


def tails(runs: int) -> Iterator[Row]:
    """Coverage of profile intervals of a generalized Pareto tail, latencies cut to whole microseconds."""
    even, n, once_in = OrderInTime(0, 0, 100, (), (), 1.0, 0), 30_000, 300_000
    for shape, scale, late in (
        (0.25, 20.0, 150),
        (0.0, 20.0, 150),
        (-0.2, 30.0, 150),
        (0.25, 20.0, 600),
        (0.1, 3.0, 300),
    ):
        random, kept = np.random.default_rng(5), Counter[str]()
        truth = 101 + float(stats.genpareto.isf(n / (once_in * late), shape, scale=scale))
        told = 0
        for _ in range(max(1, runs // 2)):
            beyond = stats.genpareto.rvs(shape, scale=scale, size=random.binomial(n, late / n), random_state=random)
            latencies = np.concatenate([np.full(n - len(beyond), 50.0), 101 + beyond])
            found = tail(histogram_of(latencies), even)
            if not isinstance(found, Tail):
                continue
            told += 1
            level = found.level(once_in)
            assert not isinstance(level, Refused)
            kept["shape"] += found.shape_interval.contains(shape)
            kept["level exceeded once in ten times what was measured"] += level[1].contains(truth)
        for what, count in kept.items():
            yield _row(f"{what}: shape {shape:g}, scale {scale:g} us, {late} late", "95", count, told)
        yield _row(
            f"not told although it is one: shape {shape:g}, {late} late", "<= 5", max(1, runs // 2) - told, runs // 2
        )


def order(runs: int) -> Iterator[Row]:
    """Alarms at even series (false), and at those that drift or come in clusters."""

    def alarmed(slots: NDArray[np.int64], sizes: Floats) -> OrderInTime:
        slots, at = np.unique(slots, return_index=True)
        found = order_in_time(Events(slots - slots[0], np.floor(101 + sizes[at]).astype(np.int64), 100))
        assert not isinstance(found, Refused)
        return found

    loops, draws = 100_000, 2 * runs
    for n in (40, 100, 400):
        random = np.random.default_rng(6)
        found = [
            alarmed(np.sort(random.choice(loops, n, replace=False)), random.exponential(20, n)) for _ in range(draws)
        ]
        yield _row(f"even, {n} late: any alarm", "<= 5", sum(bool(each.alarms) for each in found), draws)
    for n in (100, 400):
        random, few = np.random.default_rng(7), max(1, runs // 4)
        rising = [alarmed(_rising(random, n, loops), random.exponential(20, n)) for _ in range(few)]
        yield _row(f"three times as many at the end, {n} late: drifting", "", sum(e.drifting for e in rising), few)
        growing = [
            alarmed(np.sort(random.choice(loops, n, replace=False)), random.exponential(20, n) * np.linspace(1, 2.5, n))
            for _ in range(few)
        ]
        yield _row(f"later by 2.5 at the end, {n} late: drifting", "", sum(e.drifting for e in growing), few)
        together = [alarmed(_together(random, n, loops), random.exponential(20, 3 * n)) for _ in range(few)]
        yield _row(f"two together, {n} late: clustered", "", sum(e.clustered for e in together), few)
        yield _row(f"two together, {n} late: drifting (false)", "<= 5", sum(e.drifting for e in together), few)


def shapes(runs: int) -> Iterator[Row]:
    """More peaks than there are (false), and those that are found."""
    one: dict[str, Callable[[Random, int], Floats]] = {
        "normal": lambda random, n: random.normal(100, 3, n),
        "exponential": lambda random, n: 30 + random.exponential(20, n),
        "Pareto": lambda random, n: 30 + 5 * random.pareto(1.2, n),
        "flat": lambda random, n: random.uniform(30, 130, n),
        "within a microsecond": lambda random, n: random.normal(30.4, 0.1, n),
    }
    for name, draw in one.items():
        random = np.random.default_rng(8)
        wrong = sum(_peaks(draw(random, 5000)) > 1 for _ in range(runs // 2))
        yield _row(f"{name}, 5,000 wake-ups: two peaks or more", "<= 5", wrong, runs // 2)
    for share in (0.02, 0.05, 0.2):
        for n in (5000, 100_000):
            random, few = np.random.default_rng(9), max(1, runs // 20)
            found = sum(_peaks(random.normal(100, 3, n) + 30 * (random.random(n) < share)) == 2 for _ in range(few))
            yield _row(f"second peak of {share:.0%}, {n:,} wake-ups: found", "", found, few)


def pages(runs: int) -> Iterator[Row]:
    """Pages of 15 settings against one base, none of which does anything: those with a false call."""
    kinds: dict[str, tuple[bool, Callable[[Random, tuple[int, int]], Floats]]] = {
        "normal": (True, lambda random, size: random.normal(200, 10, size)),
        "normal, scatter differs e-fold": (
            True,
            lambda random, size: random.normal(200, 5 * np.exp(random.normal(0, 1, (size[0], 1))), size),
        ),
        "Gumbel, as maxima": (True, lambda random, size: random.gumbel(200, 20, size)),
        "log-normal": (True, lambda random, size: 100 * np.exp(random.normal(0, 0.3, size))),
        "Pareto": (True, lambda random, size: 100 + 20 * random.pareto(3.3, size)),
        "half a microsecond": (True, lambda random, size: random.normal(55.5, 0.5, size)),
        "two states, each run in one of them": (False, lambda random, size: random.choice([100.0, 200.0], size)),
    }
    for name, (promised, draw) in kinds.items():
        for repetitions in (3, 5, 10):
            random, wrong = np.random.default_rng(10), 0
            for _ in range(runs):
                values = np.floor(draw(random, (_PAGE + 1, repetitions))).tolist()
                found = judge({key: effect(values[0], values[key]) for key in range(1, _PAGE + 1)})
                wrong += any(each.call in ("higher", "lower") for each in found.values())
            yield _row(f"{name}, {repetitions} repetitions", "<= 5" if promised else "", wrong, runs)


def power(runs: int) -> Iterator[Row]:
    """Five of fifteen settings cost two standard deviations between runs: how many are called, and what holds then."""
    for repetitions in (3, 4, 6, 8, 12):
        random, called, together, few = np.random.default_rng(11), 0, 0, max(1, runs // 4)
        for _ in range(few):
            values = random.normal(200, 10, (_PAGE + 1, repetitions))
            values[1:6] += 20
            rows = values.tolist()
            found = judge({key: effect(rows[0], rows[key], resolution=0.0) for key in range(1, _PAGE + 1)})
            called += sum(found[key].call == "higher" for key in range(1, 6))
            together += all(
                each.simultaneous is not None and each.simultaneous.contains(20.0 if key < 6 else 0.0)
                for key, each in found.items()
            )
        yield _row(f"effects called, {repetitions} repetitions", "", called, 5 * few)
        yield _row(f"simultaneous intervals that all hold, {repetitions} repetitions", ">= 95", together, few)
    for repetitions in (3, 6):
        random, called = np.random.default_rng(12), 0
        error, df = 10 * math.sqrt(2 / repetitions), expected_df(repetitions)
        exact = Effect("difference", 0.0, error, df, False, (repetitions, repetitions))
        least = exact.could_have_seen()
        for _ in range(4 * runs):
            base, changed = random.normal(200, 10, (2, repetitions))
            both = effect(list(base), list(changed + least), resolution=0.0)
            called += isinstance(both, Effect) and both.p_value <= 0.05
        yield _row(f"'could have seen', {repetitions} repetitions: called", "80", called, 4 * runs)


SECTIONS: dict[str, Callable[[int], Iterator[Row]]] = {
    "quantiles": quantiles,
    "repetitions": repetitions,
    "rates": rates,
    "tails": tails,
    "order": order,
    "shapes": shapes,
    "pages": pages,
    "power": power,
}


def _row(what: str, promised: str, count: int, runs: int) -> Row:
    return Row(what, promised, 100 * count / max(1, runs), max(1, runs))


def _peaks(latencies: Floats) -> int:
    found = peaks(histogram_of(latencies))
    assert isinstance(found, Peaks)
    return len(found.peaks)


def _rising(random: Random, n: int, loops: int) -> NDArray[np.int64]:
    """Times of which three times as many lie at the end as at the beginning."""
    return np.sort((np.sqrt(1 + 8 * random.random(n)) - 1) / 2 * loops).astype(np.int64)


def _together(random: Random, n: int, loops: int) -> NDArray[np.int64]:
    """Times of which each is followed by another within ten intervals."""
    first = random.choice(loops, n // 2, replace=False)
    return np.sort(np.concatenate([first, first + random.integers(1, 11, len(first))])).astype(np.int64)


def main(arguments: list[str]) -> int:
    """Print the tables; exit status 1 when a promise was not kept."""
    parser = argparse.ArgumentParser(prog="python -m rtvirt_runner.analysis.simulations", description=__doc__)
    parser.add_argument("--runs", type=int, default=RUNS, help=f"runs of the cheapest sections ({RUNS})")
    parser.add_argument("sections", nargs="*", metavar="SECTION", help=f"some of {', '.join(SECTIONS)}; all without")
    options = parser.parse_args(arguments)
    if unknown := [each for each in options.sections if each not in SECTIONS]:
        parser.error(f"there is no section '{unknown[0]}', expected some of {', '.join(SECTIONS)}")
    if options.runs < 20:
        parser.error(f"--runs is {options.runs}, expected 20 or more")
    broken = 0
    for name in options.sections or SECTIONS:
        print(f"\n{name}: {(SECTIONS[name].__doc__ or '').splitlines()[0]}\n")
        print("| what | promised % | found % | runs |\n|---|---:|---:|---:|", flush=True)
        for row in SECTIONS[name](options.runs):
            broken += not row.kept
            print(
                f"| {row.what} | {row.promised} | {row.share:.1f}{'' if row.kept else ' !'} | {row.runs} |", flush=True
            )
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
