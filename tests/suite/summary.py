"""The tables at the end: tiers, and the tests that took longest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from suite.events import boots
from suite.outcomes import Outcome

SLOWEST = 15
TIERS = ("lint", "unit", "integration", "machines")


def tier_table(outcomes: Sequence[Outcome]) -> list[str]:
    """A line for each tier and one for all; ``seconds`` is the sum of its tests, ``wall`` from first to last."""
    names = [*TIERS, *sorted({outcome.tier for outcome in outcomes} - set(TIERS))]
    rows: list[tuple[str, ...]] = [("tier", "passed", "failed", "skipped", "seconds", "wall", "boots", "restores")]
    for name in names:
        if of_tier := [outcome for outcome in outcomes if outcome.tier == name]:
            rows.append((name, *_figures(of_tier)))
    rows.append(("all", *_figures(outcomes)))
    return _aligned(rows)


def slowest_table(outcomes: Sequence[Outcome]) -> list[str]:
    slowest = sorted(outcomes, key=lambda outcome: -outcome.seconds)[:SLOWEST]
    rows = [(f"{each.seconds:.1f}", str(each.boots), each.nodeid) for each in slowest]
    return _aligned([("seconds", "boots", "slowest tests"), *rows], text_column=2)


def all_boots(outcomes: Iterable[Outcome]) -> int:
    return boots(_events(outcomes))


def _figures(outcomes: Sequence[Outcome]) -> tuple[str, ...]:
    verdicts = Counter(outcome.verdict for outcome in outcomes)
    began = min((outcome.began for outcome in outcomes), default=0.0)
    ended = max((outcome.ended for outcome in outcomes), default=0.0)
    events = _events(outcomes)
    counts = (verdicts["passed"] + verdicts["xfailed"], verdicts["failed"], verdicts["skipped"])
    seconds = (sum(outcome.seconds for outcome in outcomes), max(0.0, ended - began))
    return (*map(str, counts), *(f"{each:.0f}" for each in seconds), str(boots(events)), str(events["restore"]))


def _events(outcomes: Iterable[Outcome]) -> Counter[str]:
    total: Counter[str] = Counter()
    for outcome in outcomes:
        total.update(outcome.events)
    return total


def _aligned(rows: Sequence[tuple[str, ...]], text_column: int = 0) -> list[str]:
    """Columns of one width each; figures stand to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(_cells(row, widths, text_column)).rstrip() for row in rows]


def _cells(row: tuple[str, ...], widths: Sequence[int], text_column: int) -> list[str]:
    cells = enumerate(zip(row, widths, strict=True))
    return [cell.ljust(width) if number == text_column else cell.rjust(width) for number, (cell, width) in cells]
