"""Order in time: even series are seldom alarmed at, others are, and each statistic against a second way."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from rtvirt_runner.analysis.estimates import Refused
from rtvirt_runner.analysis.known_truth import SERIES, Series
from rtvirt_runner.analysis.order import (
    Events,
    OrderInTime,
    block_maxima,
    events_of,
    extremal_index,
    ljung_box,
    order_in_time,
)
from rtvirt_runner.parsers.cyclictest import parse_text
from rtvirt_runner.parsers.spikes import LateWakeup, LateWakeups, parse

CAPTURED = Path(__file__).parents[1] / "data" / "cyclictest" / "spikes.txt"


def told(events: Events) -> OrderInTime:
    found = order_in_time(events)
    assert isinstance(found, OrderInTime), found
    return found


def made(series: Series, random: np.random.Generator) -> Events:
    events = series.events(series.latencies(random))
    assert isinstance(events, Events), events
    return events


def alarms(name: str, runs: int) -> Counter[str]:
    random = np.random.default_rng(11)
    found: Counter[str] = Counter()
    for _ in range(runs):
        order = told(made(SERIES[name], random))
        found.update({"drifting": order.drifting, "clustered": order.clustered})
    return found


def test_even_series_are_seldom_alarmed_at() -> None:
    """Five in a hundred are expected, for all four tests together."""
    random, alarmed = np.random.default_rng(5), 0
    for _ in range(400):
        slots = np.sort(random.choice(50_000, 60, replace=False))
        alarmed += bool(told(Events(slots - slots[0], 101 + random.geometric(0.05, 60), 100)).alarms)
    assert alarmed <= 400 * 0.05 + 2 * math.sqrt(400 * 0.05 * 0.95)


def test_what_drifts_and_what_comes_in_clusters_is_seen_and_not_confused() -> None:
    drifting, clustered = alarms("drifting", 6), alarms("clustered", 6)
    assert drifting["drifting"] == 6
    assert clustered["clustered"] == 6
    assert clustered["drifting"] <= 1


def test_short_gaps_are_as_rare_as_among_random_orders() -> None:
    """The second way: the same events anywhere between the first and the last, at random."""
    random = np.random.default_rng(6)
    for _ in range(4):
        inside = np.unique((random.random(58) ** 1.5 * 4999).astype(int) + 1)
        slots = np.concatenate([[0], inside, [5001]])
        found = next(test for test in told(Events(slots, 101 + slots % 7, 100)).tests if test.what == "clusters")
        seen, drawn = np.log(np.diff(slots)).mean(), []
        for _ in range(2000):
            others = np.sort(random.choice(5000, len(inside), replace=False)) + 1
            drawn.append(np.log(np.diff(others, prepend=0, append=5001)).mean())
        assert found.p_value == pytest.approx(np.mean(np.array(drawn) <= seen), abs=0.06)


def test_the_extremal_index_of_moving_maxima_is_one_half() -> None:
    """X_t = max(Z_t, Z_t-1): each late Z makes two late X, so a cluster has two."""
    z = np.random.default_rng(3).random(400_000)
    late = np.flatnonzero(np.maximum(z[1:], z[:-1]) > 0.999)
    assert extremal_index(np.diff(late)) == pytest.approx(0.5, abs=0.04)
    alone = np.flatnonzero(z > 0.999)
    assert extremal_index(np.diff(alone)) > 0.92
    assert extremal_index(np.array([1, 2, 1, 1])) == pytest.approx(min(1, 2 * 25 / (4 * 7)))


def test_ljung_and_box_is_the_sum_of_squared_autocorrelations() -> None:
    values = np.random.default_rng(4).normal(size=80)
    deviations = [each - sum(values) / 80 for each in values]
    denominator = sum(each * each for each in deviations)
    total = 0.0
    for lag in range(1, 6):
        correlation = sum(deviations[i] * deviations[i + lag] for i in range(80 - lag)) / denominator
        total += correlation**2 / (80 - lag)
    assert ljung_box(values) == pytest.approx(80 * 82 * total)


def test_block_maxima_are_the_latest_of_equally_long_blocks() -> None:
    slots, sizes = np.array([0, 5, 12, 95, 99]), np.array([130, 150, 120, 180, 110])
    assert list(block_maxima(Events(slots, sizes, 100))) == [150, 120, *[100] * 7, 180]


def test_slots_are_intervals_of_the_timer() -> None:
    text = CAPTURED.read_text(encoding="utf-8")
    events = events_of(parse(text, parse_text(text), 150, 200), 1000)
    assert isinstance(events, Events)
    assert events.slots[0] == 0
    assert np.all(np.diff(events.slots) > 0)
    assert events.slots[-1] < 2000 + 20  # of 2,000 loops, and of those that came after the next was due
    assert len(events.slots) == len(events.sizes) >= 30


def test_too_few_late_wake_ups_or_several_threads_are_refused() -> None:
    few = LateWakeups(80, tuple(LateWakeup(0, 100, 1000 * at) for at in range(29)), 29)
    assert isinstance(events_of(few, 1000), Refused)
    assert isinstance(order_in_time(Events(np.arange(29), np.full(29, 100), 80)), Refused)
    two = LateWakeups(80, tuple(LateWakeup(at % 2, 100, 1000 * at) for at in range(40)), 40)
    assert isinstance(events_of(two, 1000), Refused)
