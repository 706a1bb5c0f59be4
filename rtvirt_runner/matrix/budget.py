"""Budgets: the latest and the average wake-up that a user can live with, as a matrix declares them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from rtvirt_runner.catalogue import checked_yaml
from rtvirt_runner.catalogue.checked_yaml import InputError

ONCE_IN_S = 3600  # default: a later wake-up at most once an hour
_LIMITS = ("latest_us", "average_us")
_MOST_US, _MOST_S = 10**6, 10**9


@dataclass(frozen=True)
class Limits:
    """The latest and the average wake-up that are good enough, both in us and included."""

    latest_us: int
    average_us: int


@dataclass(frozen=True)
class Budget:
    """A budget by name. Of the future a rate is asked: a later wake-up than ``latest_us`` once in ``once_in_s``."""

    name: str
    limits: Limits
    once_in_s: int = ONCE_IN_S  # seconds of the board's clock
    workloads: Mapping[str, Limits] = field(default_factory=dict, hash=False)  # whose limits are others

    def of(self, workload: str) -> Limits:
        """The limits while a workload runs."""
        return self.workloads.get(workload, self.limits)


def read_budgets(body: Any, workloads: Collection[str], histogram_us: int, where: str) -> tuple[Budget, ...]:
    """The budgets of a matrix file; none where it declares none. ``workloads`` are the known ones.

    Raises InputError, also for a latest wake-up that the histogram of the matrix cannot hold.
    """
    if body is None:
        return ()
    entries = checked_yaml.require_nonempty(body, where)
    return tuple(
        _budget(checked_yaml.name(name, where), each, workloads, histogram_us, f"{where}.{name}")
        for name, each in entries.items()
    )


def _budget(name: str, body: Any, workloads: Collection[str], histogram_us: int, where: str) -> Budget:
    body = checked_yaml.require_nonempty(body, where)
    checked_yaml.known_keys(body, (*_LIMITS, "once_in_s", "workloads"), where)
    limits = _limits(body, histogram_us, where)
    own = checked_yaml.mapping(body.get("workloads", {}), f"{where}.workloads")
    for workload, theirs in own.items():
        checked_yaml.known(workload, list(workloads), "workload", f"{where}.workloads")
        at = f"{where}.workloads.{workload}"
        checked_yaml.known_keys(checked_yaml.require_nonempty(theirs, at), _LIMITS, at)
    return Budget(
        name=name,
        limits=limits,
        once_in_s=checked_yaml.require_int(body.get("once_in_s", ONCE_IN_S), (1, _MOST_S), f"{where}.once_in_s"),
        workloads={
            workload: _limits(
                {"latest_us": limits.latest_us, "average_us": limits.average_us, **theirs},
                histogram_us,
                f"{where}.workloads.{workload}",
            )
            for workload, theirs in own.items()
        },
    )


def _limits(body: Mapping[str, Any], histogram_us: int, where: str) -> Limits:
    latest_us, average_us = (
        checked_yaml.require_int(body.get(key), (1, _MOST_US), f"{where}.{key}") for key in _LIMITS
    )
    if latest_us >= histogram_us:
        raise InputError(
            f"{where}.latest_us is {latest_us}, but the histogram ends at {histogram_us} us, where later wake-ups are "
            "not told apart, expected less; raise cyclictest.histogram_us."
        )
    if average_us > latest_us:
        raise InputError(
            f"{where}.average_us is {average_us}, more than latest_us, {latest_us}, expected at most that; correct one."
        )
    return Limits(latest_us, average_us)
