"""Parse the output of the workload ecu: lateness by kind of event, in us and in degrees of crank angle."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rtvirt_runner.parsers import ParseError, whole

__all__ = ["EcuRun", "EventKind", "ParseError", "merge", "parse"]

TOOTH = "tooth"
_MOST = 1e12  # that a number of microseconds, degrees or revolutions may be
EXACT_BELOW_DEG = 10.0  # bins are a hundredth of a degree wide below, and double above


@dataclass(frozen=True)
class EventKind:
    """All events of one kind. One is lost when it never fired, and missed when it fired beyond its tolerance."""

    expected: int
    fired: int
    lost: int
    missed: int
    avg_us: float
    max_us: float
    max_deg: float
    histogram_deg: Mapping[float, int]  # lower edge of a bin in degrees -> events

    def quantile_deg(self, q: float) -> float:
        """The lower edge in degrees of the bin of the nearest-rank quantile; 0 when nothing fired."""
        rank, seen = math.ceil(q * sum(self.histogram_deg.values())), 0
        for deg, count in sorted(self.histogram_deg.items()):
            seen += count
            if seen >= rank:
                return deg
        return 0.0


@dataclass(frozen=True)
class EcuRun:
    """One run, or several merged."""

    profile: str
    revolutions: int
    lost_revolutions: int
    tolerance_deg: float  # of spark and start of dwell
    injection_tolerance_deg: float
    rpm: float  # mean; 0: unknown
    passed: bool
    realtime: bool  # whether it ran with a real-time priority
    events: Mapping[str, EventKind]

    def tolerance(self, kind: str) -> float | None:
        """Tolerance in degrees beyond which an event of a kind is missed; a late tooth fails no run."""
        if kind == TOOTH:
            return None
        return self.injection_tolerance_deg if kind.startswith("injector") else self.tolerance_deg

    @property
    def degree_us(self) -> float:
        """Microseconds per degree of crank angle; 0 when the speed is unknown."""
        return 60e6 / (self.rpm * 360) if self.rpm else 0.0


def parse(said: Mapping[str, Any]) -> EcuRun:
    """Parse the JSON object that ecu prints; raises ParseError when a needed field is missing or malformed."""
    try:
        if not said["events"].keys() - {TOOTH}:
            raise ParseError("The engine controller's output has no event of an injector or coil.")
        return EcuRun(
            profile=str(said.get("profile", "")),
            revolutions=whole(said["revolutions"]),
            lost_revolutions=whole(said["lost_revolutions"]),
            tolerance_deg=_positive(said["tolerance_deg"]),
            injection_tolerance_deg=_positive(said.get("injection_tolerance_deg", said["tolerance_deg"])),
            rpm=_positive(said.get("rpm", {}).get("mean", 0)),
            passed=said["verdict"] == "pass",
            realtime=bool(said["realtime"]),
            events={str(kind): _kind(kind, each) for kind, each in said["events"].items()},
        )
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        if isinstance(error, ParseError):
            raise
        raise ParseError(f"The engine controller's output lacks or garbles a value: {error!r}.") from error


def merge(runs: Sequence[EcuRun]) -> EcuRun:
    """Merge runs; the result has passed if every run has. Raises ValueError when there is none."""
    if not runs:
        raise ValueError("There is no run of the engine controller to merge, expected one or more.")
    kinds = dict.fromkeys(kind for run in runs for kind in run.events)
    return EcuRun(
        profile=runs[0].profile,
        revolutions=sum(run.revolutions for run in runs),
        lost_revolutions=sum(run.lost_revolutions for run in runs),
        tolerance_deg=min(run.tolerance_deg for run in runs),
        injection_tolerance_deg=min(run.injection_tolerance_deg for run in runs),
        rpm=sum(run.rpm for run in runs) / len(runs),
        passed=all(run.passed for run in runs),
        realtime=all(run.realtime for run in runs),
        events={kind: _together([run.events[kind] for run in runs if kind in run.events]) for kind in kinds},
    )


def _kind(name: str, said: Mapping[str, Any]) -> EventKind:
    try:
        return EventKind(
            expected=whole(said["expected"]),
            fired=whole(said["fired"]),
            lost=whole(said["lost"]),
            missed=whole(said["missed"]),
            avg_us=_positive(said["avg_us"]),
            max_us=_positive(said["max_us"]),
            max_deg=_positive(said["max_deg"]),
            histogram_deg={_positive(deg): whole(count) for deg, count in said["histogram_deg"].items() if count},
        )
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise ParseError(f"Event '{name}' of the engine controller lacks or garbles a value: {error!r}.") from error


def _together(kinds: Sequence[EventKind]) -> EventKind:
    histogram: dict[float, int] = {}
    for kind in kinds:
        for deg, count in kind.histogram_deg.items():
            histogram[deg] = histogram.get(deg, 0) + count
    fired = sum(kind.fired for kind in kinds)
    return EventKind(
        expected=sum(kind.expected for kind in kinds),
        fired=fired,
        lost=sum(kind.lost for kind in kinds),
        missed=sum(kind.missed for kind in kinds),
        avg_us=sum(kind.avg_us * kind.fired for kind in kinds) / fired if fired else 0.0,
        max_us=max(kind.max_us for kind in kinds),
        max_deg=max(kind.max_deg for kind in kinds),
        histogram_deg=dict(sorted(histogram.items())),
    )


def _positive(value: Any) -> float:
    if isinstance(value, bool) or not 0 <= (number := float(value)) <= _MOST:
        raise ValueError(f"{str(value)[:60]!r} is no number from 0 to {_MOST:g}")
    return number
