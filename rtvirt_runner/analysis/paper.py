"""The paper's values and claims, from analysis/paper.yml: the only place where they are written down."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from rtvirt_runner.catalogue import checked_yaml
from rtvirt_runner.catalogue.checked_yaml import InputError
from rtvirt_runner.matrix.budget import Limits

PAPER_FILE = Path(__file__).with_name("paper.yml")
_PLACES = ("host", "guest")


@dataclass(frozen=True)
class SysbenchTable:
    """Table III or IV: what sysbench said of itself on the host and in the guest."""

    number: str  # 'III' or 'IV'
    title: str
    hardware: str
    workload: str
    rows: Mapping[str, tuple[float, float]]  # field of SysbenchRun -> on the host, in the guest

    @property
    def slowdown(self) -> float:
        """How many times as long an event takes in the guest: by total times, or by events in the same time."""
        if "total_time_s" in self.rows:
            host, guest = self.rows["total_time_s"]
            return guest / host
        host, guest = self.rows["total_events"]
        return host / guest


@dataclass(frozen=True)
class Figure:
    """What one figure of the paper shows; its points are printed nowhere, so it has no values."""

    number: str
    title: str
    hardware: str
    places: tuple[str, ...]
    workloads: tuple[str, ...]
    splits: tuple[str, ...]
    compares_kernels: bool  # mainline against PREEMPT_RT


@dataclass(frozen=True)
class Claim:
    """A sentence of the paper's results that can be true or false."""

    name: str
    where: str  # section, table or figure
    says: str  # in our words
    check: str  # name of the function of analysis/claims.py that judges it
    us: int | None  # a number that only the text gives, in microseconds
    approximate: bool  # whether the paper calls that number approximate


@dataclass(frozen=True)
class Paper:
    """All values and claims of the paper. Latencies in us of real time, on hardware."""

    budgets: Mapping[str, Limits]  # the paper's own first
    hardware: Mapping[str, str]  # short name -> what it is called
    preemption_hardware: str  # of Table I
    preemption_max_us: Mapping[bool, int]  # Table I: whether PREEMPT_RT -> maximum on the idle host
    idle_guest_max_us: Mapping[tuple[str, str], int]  # Table II: hardware and split -> maximum in the idle guest
    idle_guest_loops: int  # of each
    sysbench: Mapping[str, SysbenchTable]  # Tables III and IV by workload
    figures: Mapping[str, Figure]  # by number
    claims: tuple[Claim, ...]

    def hardware_of(self, board: str) -> str:
        """The paper's hardware that a board is or resembles, by the board's name; '' if none."""
        return next((hardware for hardware in self.hardware if hardware in board.lower()), "")

    def preemption_us(self, board: str, workload: str, realtime: bool) -> int | None:
        """Table I for the hardware that a board is or resembles; None where the paper has no value."""
        is_known = self.hardware_of(board) == self.preemption_hardware and workload == "idle"
        return self.preemption_max_us[realtime] if is_known else None

    def maximum_us(self, board: str, split: str) -> int | None:
        """Table II for the hardware that a board is or resembles; None where the paper has no value."""
        return self.idle_guest_max_us.get((self.hardware_of(board), split))


@cache
def load_paper() -> Paper:
    """The content of analysis/paper.yml; raises InputError when it is not as expected."""
    return read_paper(checked_yaml.load_yaml(PAPER_FILE), str(PAPER_FILE))


def read_paper(document: Any, where: str) -> Paper:
    """The paper from its file's content; ``where`` is for messages. Raises InputError."""
    body = checked_yaml.section(document, "paper", where)
    try:
        tables = body["tables"]
        preemption, maxima = tables["I"], tables["II"]["max_us"]
        return Paper(
            budgets={name: Limits(each["latest_us"], each["average_us"]) for name, each in body["budgets"].items()},
            hardware=dict(body["hardware"]),
            preemption_hardware=preemption["hardware"],
            preemption_max_us={
                False: int(preemption["max_us"]["mainline"]),
                True: int(preemption["max_us"]["preempt_rt"]),
            },
            idle_guest_max_us={
                (hardware, split): int(us) for hardware, splits in maxima.items() for split, us in splits.items()
            },
            idle_guest_loops=int(tables["II"]["loops"]),
            sysbench={tables[number]["workload"]: _sysbench(number, tables[number]) for number in ("III", "IV")},
            figures={number: _figure(number, each) for number, each in body["figures"].items()},
            claims=tuple(_claim(name, each) for name, each in body["claims"].items()),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(
            f"{where}: {error!r}, expected tables I to IV, figures and claims as the comment at its top describes them."
        ) from error


def _sysbench(number: str, body: Mapping[str, Any]) -> SysbenchTable:
    rows = {field: (float(pair[_PLACES[0]]), float(pair[_PLACES[1]])) for field, pair in body["rows"].items()}
    return SysbenchTable(number, body["title"], body["hardware"], body["workload"], rows)


def _figure(number: str, body: Mapping[str, Any]) -> Figure:
    places, workloads, splits = (tuple(body[key]) for key in ("places", "workloads", "splits"))
    return Figure(number, body["title"], body["hardware"], places, workloads, splits, "kernels" in body)


def _claim(name: str, body: Mapping[str, Any]) -> Claim:
    us = body.get("us")
    return Claim(name, body["where"], body["says"], body["check"], us, bool(body.get("approximate")))
