"""A cell: one point of the matrix with one repetition number."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any, get_args

from rtvirt_runner.catalogue.checked_yaml import InputError, known, typed_fields
from rtvirt_runner.catalogue.guests import GuestState
from rtvirt_runner.catalogue.lab import Clock
from rtvirt_runner.catalogue.neighbours import NO_NEIGHBOUR, NeighbourState
from rtvirt_runner.catalogue.workloads import Program
from rtvirt_runner.matrix.host_thread import HostThread

BOTH = "both"  # host and guest at the same time
PLACES = ("host", "guest", BOTH)
# Fields that came later, and the value that older records mean: left out where they have it, so that ids stay.
_LATER: Mapping[str, Any] = {"late_us": 0, "neighbour": NO_NEIGHBOUR, "neighbour_state": {}, "host_thread": {}}
_TUPLES = ("kernel_params", "settings")  # lists in JSON
_PARTS = ("guest_state", "program", "neighbour_state", "host_thread")  # mappings in JSON, empty for None
# Present name -> the name used to compute ids and found in older records, so that measured cells keep their id.
_FIRST_NAMES = {"kernel_params": "kernel_words"}


@dataclass(frozen=True)
class Cell:
    """One point of the matrix with one repetition number: the unit that is run, stored, and skipped when done.

    The first eight fields and ``neighbour`` are the axes. Everything that changes what is measured is a field, and so
    part of the id.
    """

    board: str
    kernel: str
    tuning: str
    split: str
    place: str  # of PLACES
    guest: str  # flavour, 'none' when measured on the host
    workload: str
    repetition: int  # from 1
    clock: Clock
    host_cpus: str  # normalised core lists of the split, '0-2'
    guest_cpus: str
    measured_cpu: int  # its number in the place where cyclictest runs
    kernel_params: tuple[str, ...]  # kernel parameters that the tuning adds on the board
    settings: tuple[str, ...]  # words of the tuning's settings of the board
    guest_state: GuestState | None  # None when measured on the host
    program: Program | None  # None when no workload runs
    board_command: str  # load on the board at the same time, on any of its cores
    loops: int
    interval_us: int
    priority: int
    histogram_us: int
    late_us: int = 0  # later wake-ups are listed with their times; 0: none are
    neighbour: str = NO_NEIGHBOUR  # a second guest on the board, 'none' when no other than the measured one runs
    neighbour_state: NeighbourState | None = None  # None without a neighbour
    host_thread: HostThread | None = None  # the board's own cyclictest; None unless the place is both

    @property
    def vcpus(self) -> int:
        """Number of vCPUs of the guest; 0 when no guest runs."""
        return self.guest_state.vcpus if self.guest_state else 0

    @property
    def in_guest(self) -> bool:
        """Whether its latencies are those of the guest; with place both, the board's own are beside them."""
        return self.place != "host"

    @property
    def beside(self) -> str:
        """What runs while it is measured: the workload, and the neighbour if there is one."""
        return self.workload if self.neighbour == NO_NEIGHBOUR else f"{self.workload} and neighbour {self.neighbour}"

    @property
    def axes(self) -> str:
        """The axes' values and the repetition, without what they stand for."""
        names = [self.board, self.kernel, self.tuning, self.split, self.place, self.guest, self.workload]
        names += [self.neighbour] if self.neighbour != NO_NEIGHBOUR else []
        return "_".join([*names, f"r{self.repetition}"])

    @cached_property
    def id(self) -> str:
        """Axis values and the first 8 hex digits of the SHA-256 of the canonical JSON; valid as a folder name."""
        values = _renamed(self._values(), _FIRST_NAMES)
        canonical = json.dumps(values, sort_keys=True, separators=(",", ":"))
        return f"{self.axes[:200]}-{hashlib.sha256(canonical.encode()).hexdigest()[:8]}"

    def __hash__(self) -> int:
        return hash(self.id)  # of all fields, as theirs would be, and worked out once

    def as_dict(self) -> dict[str, Any]:
        """The cell as plain values, its ``id`` first, for Ansible and for cell.json."""
        return {"id": self.id, **self._values()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Cell:
        """The inverse of as_dict; raises InputError for a missing, unknown or mistyped field, or another's id."""
        # by way of JSON, to remove the tags of Ansible's values
        given = json.loads(json.dumps({key: value for key, value in values.items() if key != "id"}))
        given = _renamed(given, {first: name for name, first in _FIRST_NAMES.items()})
        given = typed_fields({**_LATER, **given}, cls, "A cell")
        known(given["clock"], get_args(Clock), "clock", "A cell: clock")
        known(given["place"], PLACES, "place", "A cell: place")
        if (given["place"] == BOTH) != bool(given["host_thread"]):
            raise InputError(f"A cell: host_thread does not fit its place '{given['place']}', expected it with {BOTH}.")
        given |= {name: tuple(given[name]) for name in _TUPLES}
        given["guest_state"] = GuestState.from_dict(given["guest_state"]) if given["guest_state"] else None
        neighbour = given["neighbour_state"]
        given["neighbour_state"] = NeighbourState.from_dict(neighbour) if neighbour else None
        given["host_thread"] = HostThread.from_dict(given["host_thread"]) if given["host_thread"] else None
        given["program"] = Program.from_dict(given["program"]) if given["program"] else None
        cell = cls(**given)
        if values.get("id", cell.id) != cell.id:
            raise InputError(
                f"Cell '{values['id']}' does not fit its own values, which give '{cell.id}'; was it edited?"
            )
        return cell

    def _values(self) -> dict[str, Any]:
        values = {name: getattr(self, name) for name in _FIELDS}
        lists = {name: list(values[name]) for name in _TUPLES}
        parts = {name: values[name].as_dict() if values[name] else {} for name in _PARTS}
        values = values | lists | parts
        for name, meant in _LATER.items():
            if values[name] == meant:
                del values[name]
        return values


_FIELDS = tuple(item.name for item in fields(Cell))


def _renamed(values: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """The values with keys renamed, also in nested dicts."""
    return {
        names.get(key, key): _renamed(value, names) if isinstance(value, dict) else value
        for key, value in values.items()
    }
