"""Verdicts: whether a real-time task with a budget can live in a guest of a board, with which tuning, how certainly.

A configuration is a kernel, a tuning, a split and a guest. It meets a budget when it does beside every workload that
was measured in any guest of its board: late wake-ups come at most once in the budget's time, and the average is within
the budget, both by upper confidence bounds; it does not when beside one workload either is beyond it by a lower bound.
Otherwise it cannot be told; nor can a board of which none meets it while others are not measured. A late wake-up is
counted over all repetitions (exceedances.py), an average has one value per repetition (repetitions.py), so that what
was measured once never meets anything.

All that is said of a board holds with CONFIDENCE: bounds for "meets" are corrected for the number of configurations,
since the best of many is chosen, and bounds for "does not" for the number of bounds that one configuration has
(Bonferroni; that a configuration needs all of its workloads, and a board all of its configurations, needs no
correction: Berger, "Multiparameter hypothesis testing and acceptance sampling", Technometrics 24 (1982)).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass
from typing import Any, Literal

from rtvirt_runner.analysis.comparisons import MergedMeasurement, axes_of, grouped, points
from rtvirt_runner.analysis.estimates import CONFIDENCE, Refused
from rtvirt_runner.analysis.exceedances import Rate, RateVerdict, at_most, later_than, rate
from rtvirt_runner.analysis.exposure import hours, hours_needed
from rtvirt_runner.analysis.measurement import Measurement
from rtvirt_runner.analysis.paper import load_paper
from rtvirt_runner.analysis.repetitions import OverRuns, over_runs
from rtvirt_runner.matrix.budget import Budget, Limits
from rtvirt_runner.matrix.cell import Cell
from rtvirt_runner.matrix.load import Matrix

Answer = Literal["meets", "does not meet", "cannot be told"]


@dataclass(frozen=True)
class WorkloadVerdict:
    """One configuration beside one workload."""

    point: MergedMeasurement
    limits: Limits
    late: int | None  # wake-ups beyond the budget; None: unknown, beyond the histogram's end
    hours: float  # measured, on the board's clock
    hours_needed: float  # in all, if no more wake-ups are late than were
    latest: Answer
    average: Answer
    at_most_per_hour: float | None  # upper bound of the rate of late wake-ups; None: refused
    average_us: tuple[float, float] | None  # bounds of the average over repetitions; None: measured once
    reason: str  # a clause: what cannot be told or is not met; empty when both are met

    @property
    def answer(self) -> Answer:
        """Of latest and average together."""
        return _all_of([self.latest, self.average])

    @property
    def latest_margin_us(self) -> int:
        """What is left of the budget after the latest wake-up that came; negative: beyond it."""
        return self.limits.latest_us - self.point.histogram.max_us

    @property
    def average_margin_us(self) -> float:
        """What is left of the budget after the average's upper bound, or after the average that was measured once."""
        return self.limits.average_us - (self.average_us[1] if self.average_us else self.point.histogram.avg_us)

    @property
    def used(self) -> float:
        """The share of the budget that was used up, by the latest wake-up or the average, whichever is more."""
        histogram = self.point.histogram
        return max(histogram.max_us / self.limits.latest_us, histogram.avg_us / self.limits.average_us)


@dataclass(frozen=True)
class Configuration:
    """A kernel, a tuning, a split and a guest of a board, beside all workloads and neighbours."""

    workloads: tuple[WorkloadVerdict, ...]
    missing: tuple[str, ...]  # what was beside them (Cell.beside) that were measured in other guests of the board only
    answer: Answer

    @property
    def name(self) -> str:
        """Tuning, kernel, split and guests."""
        cell = self.workloads[0].point.cell
        guests = " or ".join(dict.fromkeys(each.point.cell.guest for each in self.workloads))
        return f"tuning {cell.tuning} (kernel {cell.kernel}, split {cell.split}, guest {guests})"

    @property
    def settings(self) -> int:
        """How many settings its tuning has, the measure of what it costs."""
        cell = self.workloads[0].point.cell
        guest = cell.guest_state
        if not guest:
            return len(cell.settings)
        placed = bool(guest.placement.get("mode", "none") != "none")
        return len(cell.settings) + placed + guest.memory_lock + guest.huge_pages + len(guest.settings)

    @property
    def cost(self) -> tuple[int, int, str]:
        """Sorts configurations, the cheapest first: fewest settings, then fewest kernel parameters, then by name."""
        return self.settings, len(self.workloads[0].point.cell.kernel_params), self.name

    @property
    def worst(self) -> WorkloadVerdict:
        """The workload that uses up most of its budget."""
        return max(self.workloads, key=lambda each: each.used)


@dataclass(frozen=True)
class BoardVerdict:
    """A board and a budget."""

    board: str
    clock: str
    budget: Budget
    answer: Answer
    chosen: Configuration | None  # the cheapest that meets; otherwise the one that uses up least; None: no guest
    configurations: tuple[Configuration, ...]  # the cheapest first
    only_emulated: bool  # its guests were emulated without KVM, and are no answer
    unmeasured: int = 0  # configurations that the matrix has, and of which nothing was measured

    @property
    def says(self) -> str:
        """The board, and the answer with margin and certainty, one sentence."""
        return f"{self.board}: {self.answer_says}"

    @property
    def answer_says(self) -> str:
        """The answer with margin and certainty, one sentence."""
        limits = self.budget.limits
        budget = f"budget {self.budget.name} ({limits.latest_us:,} us at the latest, {limits.average_us:,} on average)"
        suffix = " All figures are of virtual time: they compare settings, and do not predict a chip." * (
            self.clock == "virtual"
        )
        if not self.chosen:
            why = "its guests were emulated, without KVM" if self.only_emulated else "nothing was measured in a guest"
            return f"whether it meets {budget} cannot be told: {why}."
        worst = self.chosen.worst
        name, percent = self.chosen.name, f"{CONFIDENCE * 100:g} %"
        if self.answer == "meets":
            rates = [each.at_most_per_hour for each in self.chosen.workloads if each.at_most_per_hour is not None]
            least = min(each.average_margin_us for each in self.chosen.workloads)
            said = (
                f"meets {budget} with {name}, the cheapest of {self._count('meets')} that do: a later wake-up comes at "
                f"most {max(rates):.2g} times an hour ({percent}), the latest that came left "
                f"{worst.latest_margin_us:,} us, and the average leaves {least:,.0f} us or more"
            )
        elif self.answer == "does not meet":
            said = f"does not meet {budget} with {self._all_measured()} ({percent}); nearest is {name}: {_about(worst)}"
        elif self.chosen.answer == "does not meet":
            said = (
                f"whether it meets {budget} cannot be told, since {self.unmeasured} of its configurations "
                f"{'is' if self.unmeasured == 1 else 'are'} not measured yet; it does not with {self._all_measured()} "
                f"that {'was' if len(self.configurations) == 1 else 'were'} ({percent}), nearest {name}: "
                f"{_about(worst)}"
            )
        else:
            said = f"whether it meets {budget} cannot be told; nearest is {name}: {self._untold(self.chosen)}"
        return f"{said}.{suffix}"

    @property
    def next(self) -> str:
        """What to do next, one sentence; empty when there is nothing left to do."""
        if self.answer == "meets":
            return ""
        if not self.chosen:
            return "Measure in a guest that runs under KVM."
        if self.answer == "does not meet":
            workload = self.chosen.worst.point.cell.beside
            return f"Find out what is late beside {workload} with {self.chosen.name}, or try another tuning."
        if self.chosen.answer == "does not meet":
            return "Measure what is missing: the same run goes on where it stopped."
        beyond = min(self.chosen.workloads, key=lambda each: each.average_margin_us)
        if not beyond.average_us and beyond.average_margin_us < 0:
            return (
                "Measure three repetitions or more (--repetitions 3): the average beside "
                f"{beyond.point.cell.beside}, measured once, is {-beyond.average_margin_us:,.0f} us above the budget, "
                "which decides before any late wake-up does."
            )
        said = []
        if self.chosen.missing:
            said.append(f"measure it beside {', '.join(self.chosen.missing)} too")
        short = [each for each in self.chosen.workloads if each.latest == "cannot be told"]
        if short:
            needed = max(each.hours_needed for each in short)
            loops = round(needed * 3.6e9 / self.chosen.workloads[0].point.cell.interval_us)
            said.append(
                f"measure each workload for {needed:.2g} hours ({loops:,} loops) in all, without another late wake-up"
            )
        if any(each.average == "cannot be told" for each in self.chosen.workloads):
            said.append("with three repetitions or more (--repetitions 3)")
        text = ", ".join(said)
        return f"{text[:1].upper()}{text[1:]}." if text else "Measure more repetitions."

    def as_dict(self) -> dict[str, Any]:
        """For JSON: latencies in us, times in hours of the board's clock."""
        return {
            "board": self.board,
            "clock": self.clock,
            "budget": self.budget.name,
            "answer": self.answer,
            "says": self.says,
            "next": self.next,
            "chosen": self.chosen.name if self.chosen else None,
            "confidence": CONFIDENCE,
            "not_measured": self.unmeasured,
            "configurations": [
                {
                    "name": each.name,
                    "answer": each.answer,
                    "settings": each.settings,
                    "not_measured_beside": list(each.missing),
                    "workloads": [_workload_dict(workload) for workload in each.workloads],
                }
                for each in self.configurations
            ],
        }

    def _all_measured(self) -> str:
        count = len(self.configurations)
        return f"any of {count} configurations" if count > 1 else "the only configuration"

    def _count(self, answer: Answer) -> int:
        return sum(each.answer == answer for each in self.configurations)

    def _untold(self, configuration: Configuration) -> str:
        worst = configuration.worst
        reasons: dict[str, str] = {}  # -> "beside X: ", but for the worst, which is named before
        for each in sorted(configuration.workloads, key=lambda each: each is not worst):
            if each.answer == "cannot be told":
                reasons.setdefault(each.reason, "" if each is worst else f"beside {each.point.cell.beside}: ")
        why = [f"{of}{reason}" for reason, of in reasons.items()]
        missing = [f"not measured beside {', '.join(configuration.missing)}"] if configuration.missing else []
        return "; ".join([_about(worst), *why[:2], *missing])


def _about(worst: WorkloadVerdict) -> str:
    histogram = worst.point.histogram
    return (
        f"beside {worst.point.cell.beside} the latest wake-up of {histogram.samples:,} came after "
        f"{histogram.max_us:,} us, the average after {histogram.avg_us:,.0f}"
    )


def _workload_dict(each: WorkloadVerdict) -> dict[str, Any]:
    return {
        "workload": each.point.cell.workload,
        "neighbour": each.point.cell.neighbour,
        "answer": each.answer,
        "reason": each.reason,
        "limits_us": {"latest": each.limits.latest_us, "average": each.limits.average_us},
        "latest": each.latest,
        "average": each.average,
        "max_us": each.point.histogram.max_us,
        "avg_us": each.point.histogram.avg_us,
        "average_bounds_us": list(each.average_us) if each.average_us else None,
        "late": each.late,
        "late_per_hour_at_most": each.at_most_per_hour,
        "hours": each.hours,
        "hours_needed": each.hours_needed,
        "repetitions": len(each.point.repetitions),
    }


def default_budgets() -> tuple[Budget, ...]:
    """The budgets of a matrix that declares none: the paper's, and beside it what it quotes of Kiszka."""
    return tuple(Budget(name, limits) for name, limits in load_paper().budgets.items())


def board_verdicts(
    measurements: Iterable[Measurement], budget: Budget, boards: Sequence[str] = (), cells: Iterable[Cell] = ()
) -> list[BoardVerdict]:
    """One verdict per board, those of ``boards`` that have no cell in a guest too, in the order of first appearance.

    ``cells`` are all that are to be measured: a board with a configuration of which nothing was is not said to fail.
    """
    measured, cells = list(measurements), list(cells)
    names = dict.fromkeys([*boards, *(each.cell.board for each in measured)])
    clocks = {cell.board: cell.clock for cell in (*cells, *(each.cell for each in measured))}
    wanted: dict[str, set[tuple[str, ...]]] = {}
    for cell in {axes_of(each): each for each in cells if each.place == "guest"}.values():  # of repetitions one
        wanted.setdefault(cell.board, set()).add(_state(cell))
    return [
        _board(
            name,
            clocks.get(name, "real"),
            [each for each in measured if each.cell.board == name],
            budget,
            wanted.get(name, set()),
        )
        for name in names
    ]


def matrix_verdicts(
    matrix: Matrix, measurements: Iterable[Measurement], budgets: Sequence[Budget] = ()
) -> list[BoardVerdict]:
    """Verdicts by budget (by default the matrix's, or else ``default_budgets``), then by board of the matrix."""
    measured = list(measurements)
    boards = list(dict.fromkeys(cell.board for cell in matrix.cells))
    chosen = budgets or matrix.budgets or default_budgets()
    return [verdict for budget in chosen for verdict in board_verdicts(measured, budget, boards, matrix.cells)]


def _board(
    name: str, clock: str, measurements: Sequence[Measurement], budget: Budget, wanted: Set[tuple[str, ...]]
) -> BoardVerdict:
    guests = [point for point in points(measurements) if point.cell.place == "guest"]
    usable = [point for point in guests if not point.guest_uses_tcg]
    workloads = list(dict.fromkeys(point.cell.beside for point in usable))
    groups = grouped(usable, lambda point: _state(point.cell))
    unmeasured = len(wanted - {_state(point.cell) for point in guests})
    configurations = sorted(
        (_configuration(each, workloads, budget, len(groups)) for each in groups), key=lambda each: each.cost
    )
    answers = [each.answer for each in configurations]
    if unmeasured:
        answers.append("cannot be told")
    answer = _any_of(answers)
    able = [each for each in configurations if each.answer == answer] or configurations
    if answer != "meets":
        able = sorted(able, key=lambda each: (len(each.missing), each.worst.used, each.cost))
    return BoardVerdict(
        name,
        clock,
        budget,
        answer,
        able[0] if able else None,
        tuple(configurations),
        bool(guests) and not usable,
        unmeasured,
    )


def _state(cell: Cell) -> tuple[str, ...]:
    """What makes a configuration: guests that differ in their name and in having a scratch disk are one."""
    guest = cell.guest_state.as_dict() if cell.guest_state else {}
    state = {key: value for key, value in guest.items() if key not in ("name", "scratch_mib")}
    return (*axes_of(cell, ("workload", "guest", "neighbour")), json.dumps(state, sort_keys=True))


def _configuration(
    those: Sequence[MergedMeasurement], workloads: Sequence[str], budget: Budget, configurations: int
) -> Configuration:
    chance = 1 - CONFIDENCE
    verdicts = tuple(
        _workload(point, budget, 1 - chance / configurations, 1 - chance / (2 * len(those))) for point in those
    )
    missing = tuple(name for name in workloads if name not in {point.cell.beside for point in those})
    answers = [each.answer for each in verdicts]
    if missing:
        answers.append("cannot be told")
    return Configuration(verdicts, missing, _all_of(answers))


def _workload(point: MergedMeasurement, budget: Budget, meets: float, fails: float) -> WorkloadVerdict:
    """``meets`` and ``fails``: the confidence of each one-sided bound that decides."""
    limits, per_hour = budget.of(point.cell.workload), 3600 / budget.once_in_s
    samples = [histogram.samples for histogram in point.repetitions]
    counts = [later_than(histogram, limits.latest_us) for histogram in point.repetitions]
    late = [each for each in counts if not isinstance(each, Refused)]
    measured = hours(sum(samples), point.cell.interval_us)
    found: Rate | Refused = next((each for each in counts if isinstance(each, Refused)), Refused(""))
    if len(late) == len(counts):
        found = rate(late, samples, point.cell.interval_us)
    yes = at_most(per_hour, found, meets) if isinstance(found, Rate) else None
    latest = _latest(yes, found, late, samples, point.cell.interval_us, per_hour, fails)
    averages = [histogram.avg_us for histogram in point.repetitions]
    upper, lower = over_runs(averages, 2 * meets - 1), over_runs(averages, 2 * fails - 1)
    average = _average(upper, lower, limits.average_us)
    return WorkloadVerdict(
        point=point,
        limits=limits,
        late=sum(late) if len(late) == len(counts) else None,
        hours=measured,
        hours_needed=yes.hours_needed if yes else max(measured, hours_needed(per_hour, meets)),
        latest=latest,
        average=average,
        at_most_per_hour=yes.at_most_per_hour if yes else None,
        average_us=None if isinstance(upper, Refused) else (upper.interval.low, upper.interval.high),
        reason="; ".join(
            [
                *_why_latest(latest, yes, found, limits, sum(late)),
                *_why_average(average, upper, limits.average_us, point.histogram.avg_us),
            ]
        ),
    )


def _latest(
    yes: RateVerdict | None,
    found: Rate | Refused,
    late: Sequence[int],
    samples: Sequence[int],
    interval_us: int,
    per_hour: float,
    fails: float,
) -> Answer:
    if yes and yes.answer == "yes":
        return "meets"
    if isinstance(found, Rate):
        return "does not meet" if at_most(per_hour, found, fails).answer == "no" else "cannot be told"
    # runs without a common rate: a boot like the worst of them must meet it too
    each_alone = 1 - (1 - fails) / max(1, len(late))
    for count, wakeups in zip(late, samples, strict=False):
        alone = rate([count], [wakeups], interval_us)
        if isinstance(alone, Rate) and at_most(per_hour, alone, each_alone).answer == "no":
            return "does not meet"
    return "cannot be told"


def _average(upper: OverRuns | Refused, lower: OverRuns | Refused, limit_us: int) -> Answer:
    if isinstance(upper, Refused) or isinstance(lower, Refused):
        return "cannot be told"
    if upper.interval.high <= limit_us:
        return "meets"
    return "does not meet" if lower.interval.low > limit_us else "cannot be told"


def _why_latest(latest: Answer, yes: RateVerdict | None, found: Rate | Refused, limits: Limits, late: int) -> list[str]:
    if latest == "meets":
        return []
    if latest == "does not meet":
        return [f"{late:,} wake-ups came at {limits.latest_us:,} us or later"]
    if isinstance(found, Refused):
        return [found.reason.rstrip(".")]
    if not yes:
        return []
    possible = f"{yes.at_most_per_hour:,.0f}" if yes.at_most_per_hour >= 100 else f"{yes.at_most_per_hour:.2g}"
    return [f"{late or 'none'} late in {yes.hours * 3600:,.0f} s, so that up to {possible} an hour are possible"]


def _why_average(average: Answer, upper: OverRuns | Refused, limit_us: int, found_us: float) -> list[str]:
    if average == "meets":
        return []
    if isinstance(upper, Refused):
        above = f", {found_us - limit_us:,.0f} us above {limit_us:,}" if found_us > limit_us else ""
        return [f"the average was measured once{above}"]
    bounds = f"{upper.interval.low:,.0f} to {upper.interval.high:,.0f} us"
    verb = "is" if average == "does not meet" else "may be"
    return [f"the average {verb} above {limit_us:,} us ({bounds})"]


def _all_of(answers: Sequence[Answer]) -> Answer:
    if "does not meet" in answers:
        return "does not meet"
    return "cannot be told" if "cannot be told" in answers or not answers else "meets"


def _any_of(answers: Sequence[Answer]) -> Answer:
    if "meets" in answers:
        return "meets"
    return "cannot be told" if "cannot be told" in answers or not answers else "does not meet"
