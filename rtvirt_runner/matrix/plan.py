"""The order of cells: boot groups, which hold guest groups, which hold cells."""

from __future__ import annotations

import itertools
import json
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from rtvirt_runner.catalogue.guests import NO_GUEST, GuestState
from rtvirt_runner.catalogue.neighbours import NeighbourState
from rtvirt_runner.matrix.cell import Cell


@dataclass(frozen=True)
class GuestGroup:
    """Cells that share the board's settings, and the states of the guest and of its neighbour, or have none."""

    settings: tuple[str, ...]
    host_cpus: str
    guest_cpus: str
    state: GuestState | None  # as Cell.guest_state
    neighbour: NeighbourState | None  # as Cell.neighbour_state
    cells: tuple[Cell, ...]

    @property
    def name(self) -> str:
        """The guest's name in the catalogue."""
        return self.state.name if self.state else NO_GUEST

    @property
    def vcpus(self) -> int:
        """Number of vCPUs of the guest; 0 without one."""
        return self.state.vcpus if self.state else 0

    def as_dict(self) -> dict[str, Any]:
        """The group as plain values for Ansible; ``images`` are those of its guests, by kernel and flavour."""
        states = [state for state in (self.state, self.neighbour.guest if self.neighbour else None) if state]
        return {
            "name": self.name,
            "settings": list(self.settings),
            "host_cpus": self.host_cpus,
            "guest_cpus": self.guest_cpus,
            "state": self.state.as_dict() if self.state else {},
            "neighbour": self.neighbour.as_dict() if self.neighbour else {},
            "images": [{"kernel": state.kernel, "flavour": state.flavour} for state in states],
            "cells": [cell.as_dict() for cell in self.cells],
        }


@dataclass(frozen=True)
class BootGroup:
    """Guest groups that share one boot of one board."""

    board: str
    kernel: str
    kernel_params: tuple[str, ...]
    repetition: int
    guests: tuple[GuestGroup, ...]

    @property
    def cells(self) -> tuple[Cell, ...]:
        """All cells of this boot, in order."""
        return tuple(cell for guest in self.guests for cell in guest.cells)

    def as_dict(self) -> dict[str, Any]:
        """The group as plain values for Ansible."""
        return {
            "board": self.board,
            "kernel": self.kernel,
            "kernel_params": list(self.kernel_params),
            "repetition": self.repetition,
            "guests": [guest.as_dict() for guest in self.guests],
        }


def plan(cells: Iterable[Cell]) -> list[BootGroup]:
    """Order cells by cost: a reboot costs more than a restart of the guest, and that more than a workload.

    On a board, each repetition enters each boot state and each guest state once; repetitions are interleaved rather
    than run back to back, so that slow drift shows as a difference between them. Otherwise the given order is kept.
    """
    unique = list(dict.fromkeys(cells))
    boards = _ranks(cell.board for cell in unique)
    kernels = _ranks(cell.kernel for cell in unique)
    params = _ranks(cell.kernel_params for cell in unique)

    def dearest_first(cell: Cell) -> tuple[Any, ...]:
        # without kernel parameters first: the board may be running that way already
        boot = (kernels[cell.kernel], bool(cell.kernel_params), params[cell.kernel_params])
        return (boards[cell.board], cell.repetition, *boot)

    ordered = sorted(unique, key=dearest_first)
    boots = itertools.groupby(ordered, key=lambda cell: (cell.board, cell.kernel, cell.kernel_params, cell.repetition))
    return [BootGroup(*state, guests=_guest_groups(list(members))) for state, members in boots]


def measuring_s(cells: Iterable[Cell]) -> dict[str, float]:
    """Seconds that cyclictest measures, by board and its clock: loops times interval, each cell once.

    Boots, guests' starts, and what workloads need before and after come on top.
    """
    found: dict[str, float] = {}
    for cell in dict.fromkeys(cells):
        found[cell.board] = found.get(cell.board, 0.0) + cell.loops * cell.interval_us * 1e-6
    return found


def _guest_groups(cells: Sequence[Cell]) -> tuple[GuestGroup, ...]:
    """Group cells by guest first: a guest keeps running when only the board's settings, or its neighbour, change.

    Cells beside a neighbour come last, so that what a board has done before the others does not depend on them.
    """

    states = {id(state): state for cell in cells for state in (cell.guest_state, cell.neighbour_state)}
    texts = {key: json.dumps(state.as_dict() if state else {}, sort_keys=True) for key, state in states.items()}

    def guest(cell: Cell) -> str:
        return texts[id(cell.guest_state)]

    def board(cell: Cell) -> tuple[tuple[str, ...], str, str]:
        return cell.settings, cell.host_cpus, cell.guest_cpus

    def neighbour(cell: Cell) -> str:
        return texts[id(cell.neighbour_state)]

    guests, boards = _ranks(map(guest, cells)), _ranks(map(board, cells))
    neighbours = _ranks(map(neighbour, cells))

    def dearest_first(cell: Cell) -> tuple[Any, ...]:
        last = bool(cell.neighbour_state), bool(cell.vcpus)
        return (*last, guests[guest(cell)], boards[board(cell)], neighbours[neighbour(cell)])

    ordered = sorted(cells, key=dearest_first)
    groups = (tuple(members) for _, members in itertools.groupby(ordered, key=dearest_first))
    return tuple(GuestGroup(*board(each[0]), each[0].guest_state, each[0].neighbour_state, each) for each in groups)


def _ranks(values: Iterable[Hashable]) -> dict[Any, int]:
    return {value: rank for rank, value in enumerate(dict.fromkeys(values))}
