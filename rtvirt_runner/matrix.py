"""Matrix files: load, validate, expand into cells, put the cells in order.

A matrix file says which points to measure, a lab which boards there are, the catalogue which kernels, tunings and
workloads exist. Everything that can be wrong with them is found here, before a board is touched, and is said in one
sentence (InputError). Nothing in this module talks to a machine or writes a file.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, cast

from rtvirt_runner import declarations as declared
from rtvirt_runner.cpus import Split, format_cpu_list, parse_cpu_list
from rtvirt_runner.declarations import InputError
from rtvirt_runner.guests import GICS, NO_GUEST, Guest, load_guests
from rtvirt_runner.tunings import Tuning, Tunings
from rtvirt_runner.workloads import Workload, load_workloads

Clock = Literal["virtual", "real"]
Point = dict[str, str]  # axis -> value

AXES = ("board", "kernel", "tuning", "split", "place", "guest", "workload")  # as written in a matrix file
PLACES = ("host", "guest")
HISTOGRAMS = "histograms"
COMPARISONS = ("ablation", "gic", "load", "partitioning", "flavours", "slowdown", "ecu", "sysbench")
VIEWS = (HISTOGRAMS, *COMPARISONS)  # how the page shows an experiment
LAB_WORKLOADS = "rtvirt_lab_workloads"
RUNNING = "running"  # kernel of a board that is not to be rebooted: whatever runs there

_TAKEN_FOLDERS = ("log", "report")  # beside the boards' folders in the results tree
_TUPLES = ("kernel_words", "settings")  # lists in JSON
_MAPPINGS = ("guest_state", "program")
_LIMITS = {"loops": (1, 10**9), "interval_us": (10, 10**6), "priority": (1, 99), "histogram_us": (10, 10**6)}


# ---------------------------------------------------------------------------------------------- lab and catalogue


@dataclass(frozen=True)
class Board:
    """A machine under test, as its lab describes it."""

    name: str
    cpus: int
    clock: Clock
    gic: str = "in_kernel"  # of guests that do not say
    boots: bool = True  # whether rtvirt may reboot it; otherwise cells measure on the kernel that runs
    guest_kernel: str = ""  # of guests that do not say; empty: the board's


@dataclass(frozen=True)
class Lab:
    """What an inventory says about boards. ``groups`` holds boards only, in the inventory's order."""

    boards: dict[str, Board]
    groups: dict[str, list[str]]
    workloads: Mapping[str, Any] = field(default_factory=dict)  # of its own, as in a workloads file

    @classmethod
    def from_inventory(cls, groups: Mapping[str, Sequence[str]], hostvars: Mapping[str, Mapping[str, Any]]) -> Lab:
        """Take the boards out of Ansible's ``groups`` and ``hostvars``.

        Raises InputError when there is no board, or when one lacks or garbles its two variables.
        """
        names = list(groups.get("boards", []))
        if not names:
            raise InputError(
                "The inventory has no host in group 'boards', expected one or more; add your boards to it."
            )
        boards = {name: _board(str(name), hostvars.get(name, {})) for name in names}
        members = {
            str(group): [str(host) for host in hosts if host in boards]
            for group, hosts in groups.items()
            if any(host in boards for host in hosts)
        }
        return cls(boards, members, _lab_workloads(names, hostvars))


def _lab_workloads(boards: Iterable[str], hostvars: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The lab's own workloads: one set for all of its boards, since a cell is the same on each."""
    found: dict[str, Any] = {}
    for board in boards:
        where = f"Inventory: {LAB_WORKLOADS} of board '{board}'"
        for name, entry in declared.mapping(hostvars.get(board, {}).get(LAB_WORKLOADS, {}), where).items():
            if found.setdefault(name, entry) != entry:
                raise InputError(
                    f"{where}: '{name}' differs from another board's, expected the same on all; set it for group all."
                )
    return found


def _board(name: str, variables: Mapping[str, Any]) -> Board:
    if not declared.NAME.fullmatch(name) or name in _TAKEN_FOLDERS:
        raise InputError(
            f"Inventory: board '{name}' cannot name its results folder, expected letters, digits and "
            "'.', '_', '+', '-', and neither 'log' nor 'report'; rename it."
        )
    cpus = variables.get("rtvirt_board_cpus")
    if isinstance(cpus, str) and cpus.isdecimal():  # an INI inventory knows only text
        cpus = int(cpus)
    if not declared.is_int(cpus) or not 1 <= cast(int, cpus) <= 1024:
        raise InputError(
            f"Inventory: rtvirt_board_cpus of board '{name}' is {declared.shown(cpus)}, expected its number of cores "
            "(1 to 1024); set it."
        )
    clock = variables.get("rtvirt_board_clock")
    if clock not in ("virtual", "real"):
        raise InputError(
            f"Inventory: rtvirt_board_clock of board '{name}' is {declared.shown(clock)}, expected 'real' for a "
            "machine of metal or 'virtual' for an emulated one that counts instructions; set it."
        )
    gic = variables.get("guest_gic", "in_kernel")
    declared.known(gic, GICS, "GIC", f"Inventory: guest_gic of board '{name}'")
    boots = variables.get("rtvirt_board_boots", True)
    if not isinstance(boots, bool):
        raise InputError(
            f"Inventory: rtvirt_board_boots of board '{name}' is {declared.shown(boots)}, expected true or false."
        )
    guest_kernel = declared.text(variables.get("guest_kernel", ""), f"Inventory: guest_kernel of board '{name}'")
    return Board(name, int(cast(int, cpus)), cast(Clock, str(clock)), str(gic), boots, str(guest_kernel))


@dataclass(frozen=True)
class Catalogue:
    """The named things a matrix may ask for; the dicts are those of playbooks/vars/*.yml."""

    kernels: dict[str, dict[str, Any]]
    tunings: Tunings
    workloads: dict[str, Workload]
    guests: dict[str, Guest]

    @classmethod
    def load(cls, vars_dir: Path, lab: Lab | None = None) -> Catalogue:
        """Read kernels, tunings, guests and workloads of a folder, and the lab's own workloads.

        Raises InputError when something in them is unusable.
        """
        kernels = _kernels(vars_dir / "kernels.yml")
        tunings = Tunings.load(vars_dir / "tunings.yml")
        workloads = load_workloads(vars_dir / "workloads.yml", lab.workloads if lab else {})
        return cls(kernels, tunings, workloads, load_guests(vars_dir / "guests.yml", kernels))


def _kernels(path: Path) -> dict[str, dict[str, Any]]:
    entries = declared.section(declared.load_yaml(path), "kernels", f"{path}")
    for name, entry in entries.items():
        declared.name(name, f"{path}: kernels")
        declared.mapping(entry, f"{path}: kernels.{name}")
    return entries


# ------------------------------------------------------------------------------------------------- cells and order


@dataclass(frozen=True)
class Cell:
    """One point of the matrix with one repetition number: the unit that is run, stored, and skipped when done.

    The first eight fields are the axes. Everything that changes what is measured is a field, and so part of the id.
    """

    board: str
    kernel: str
    tuning: str
    split: str
    place: str  # host or guest
    guest: str  # flavour, 'none' when measured on the host
    workload: str
    repetition: int  # from 1
    clock: Clock
    host_cpus: str  # normalised core lists of the split, '0-2'
    guest_cpus: str
    measured_cpu: int  # as counted where cyclictest runs
    kernel_words: tuple[str, ...]  # what the tuning adds to the board's kernel command line
    settings: tuple[str, ...]  # of the tuning, those of the board itself
    guest_state: Mapping[str, Any] = field(hash=False)  # all that defines the guest (Guest.state); empty on the host
    program: Mapping[str, Any] = field(hash=False)  # how the workload runs (Workload.program); empty: nothing runs
    board_command: str  # on the board meanwhile, on any of its cores
    loops: int
    interval_us: int
    priority: int
    histogram_us: int

    @property
    def vcpus(self) -> int:
        """How many vCPUs the guest has; 0 when no guest runs."""
        return int(self.guest_state.get("vcpus", 0))

    @property
    def id(self) -> str:
        """Axis values, then 8 hex digits of the SHA-256 of the canonical JSON; safe as a folder name."""
        axes = [self.board, self.kernel, self.tuning, self.split, self.place, self.guest, self.workload]
        readable = "_".join([*axes, f"r{self.repetition}"])[:200]
        canonical = json.dumps(self._values(), sort_keys=True, separators=(",", ":"))
        return f"{readable}-{hashlib.sha256(canonical.encode()).hexdigest()[:8]}"

    def as_dict(self) -> dict[str, Any]:
        """The cell as plain values, its ``id`` first: what Ansible gets and what cell.json holds."""
        return {"id": self.id, **self._values()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Cell:
        """Undo as_dict; raises InputError when a field is missing, unknown, or does not fit the id given."""
        # through JSON: what Ansible hands over carries tags of its own
        given = json.loads(json.dumps({key: value for key, value in values.items() if key != "id"}))
        names = {item.name for item in fields(cls)}
        if wrong := sorted(names ^ given.keys()):
            raise InputError(
                f"A cell has missing or unknown fields: {', '.join(wrong)}; was it written by another version?"
            )
        given |= {name: tuple(given[name]) for name in _TUPLES}
        cell = cls(**given)
        if values.get("id", cell.id) != cell.id:
            raise InputError(
                f"Cell '{values['id']}' does not fit its own values, which give '{cell.id}'; was it edited?"
            )
        return cell

    def _values(self) -> dict[str, Any]:
        values = asdict(self)
        lists = {name: list(values[name]) for name in _TUPLES}
        return values | lists | {name: dict(values[name]) for name in _MAPPINGS}


@dataclass(frozen=True)
class GuestGroup:
    """Cells that share the settings of the running board and one state of the guest, or that no guest runs."""

    settings: tuple[str, ...]
    host_cpus: str
    guest_cpus: str
    state: Mapping[str, Any]  # as Cell.guest_state
    cells: tuple[Cell, ...]

    @property
    def name(self) -> str:
        """The guest's name in the catalogue."""
        return str(self.state.get("name", NO_GUEST))

    @property
    def vcpus(self) -> int:
        """How many vCPUs the guest has."""
        return int(self.state.get("vcpus", 0))

    def as_dict(self) -> dict[str, Any]:
        """The group as plain values for Ansible."""
        return {
            "name": self.name,
            "settings": list(self.settings),
            "host_cpus": self.host_cpus,
            "guest_cpus": self.guest_cpus,
            "state": dict(self.state),
            "image": {key: self.state[key] for key in ("kernel", "flavour") if key in self.state},
            "cells": [cell.as_dict() for cell in self.cells],
        }


@dataclass(frozen=True)
class BootGroup:
    """Guest groups that share one boot of one board."""

    board: str
    kernel: str
    words: tuple[str, ...]
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
            "words": list(self.words),
            "repetition": self.repetition,
            "guests": [guest.as_dict() for guest in self.guests],
        }


def plan(cells: Iterable[Cell]) -> list[BootGroup]:
    """Order cells by cost: a reboot is dear, a guest restart cheaper, a workload cheap.

    Within a board, each repetition enters each boot state once and each guest state once; repetitions are interleaved
    rather than run back to back, so that slow drift shows between them. Otherwise the order given is kept.
    """
    unique = list(dict.fromkeys(cells))
    boards = _ranks(cell.board for cell in unique)
    kernels = _ranks(cell.kernel for cell in unique)
    words = _ranks(cell.kernel_words for cell in unique)

    def dearest_first(cell: Cell) -> tuple[Any, ...]:
        # a board's plain state first: it may be up in it already
        boot = (kernels[cell.kernel], bool(cell.kernel_words), words[cell.kernel_words])
        return (boards[cell.board], cell.repetition, *boot)

    ordered = sorted(unique, key=dearest_first)
    boots = itertools.groupby(ordered, key=lambda cell: (cell.board, cell.kernel, cell.kernel_words, cell.repetition))
    return [BootGroup(*state, guests=_guest_groups(list(members))) for state, members in boots]


def _guest_groups(cells: Sequence[Cell]) -> tuple[GuestGroup, ...]:
    """A guest that only needs other settings on its board goes on running, so cells of one guest stand together."""

    def guest(cell: Cell) -> str:
        return json.dumps(dict(cell.guest_state), sort_keys=True)

    def board(cell: Cell) -> tuple[tuple[str, ...], str, str]:
        return cell.settings, cell.host_cpus, cell.guest_cpus

    guests, boards = _ranks(map(guest, cells)), _ranks(map(board, cells))
    ordered = sorted(cells, key=lambda cell: (bool(cell.vcpus), guests[guest(cell)], boards[board(cell)]))
    groups = (tuple(members) for _, members in itertools.groupby(ordered, key=lambda each: (guest(each), board(each))))
    return tuple(GuestGroup(*board(each[0]), each[0].guest_state, each) for each in groups)


def _ranks(values: Iterable[Hashable]) -> dict[Any, int]:
    return {value: rank for rank, value in enumerate(dict.fromkeys(values))}


# ------------------------------------------------------------------------------------------------------- the matrix


@dataclass(frozen=True)
class Experiment:
    """A named set of cells that answers one question: one figure or table."""

    name: str
    title: str
    reproduces: str
    shows: tuple[str, ...]  # of VIEWS
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Matrix:
    """A validated, expanded matrix file."""

    name: str
    title: str
    path: Path
    experiments: tuple[Experiment, ...]

    @property
    def cells(self) -> tuple[Cell, ...]:
        """Every cell once, in the order of ``plan``."""
        every = (cell for experiment in self.experiments for cell in experiment.cells)
        return tuple(cell for boot in plan(every) for cell in boot.cells)


def load_matrix(path: Path, lab: Lab, catalogue: Catalogue) -> Matrix:
    """Read a matrix file and expand it over a lab.

    Raises InputError for anything that is wrong in it, naming file, key, value and what was expected.
    """
    return read_matrix(declared.load_yaml(path), path, lab, catalogue)


def read_matrix(document: Any, path: Path, lab: Lab, catalogue: Catalogue) -> Matrix:
    """The same of what such a file says; ``path`` is for messages."""
    where = str(path)
    document = declared.section(document, "matrix", where)
    declared.known_keys(
        document, ("name", "title", "repetitions", "cyclictest", "splits", "experiments"), f"{where}: matrix"
    )
    name = declared.name(document.get("name"), f"{where}: name")
    expansion = _Expansion(
        where=where,
        lab=lab,
        catalogue=catalogue,
        splits=_splits(document.get("splits"), f"{where}: splits"),
        cyclictest=_cyclictest(document.get("cyclictest"), f"{where}: cyclictest"),
        repetitions=declared.whole(document.get("repetitions", 1), (1, 1000), f"{where}: repetitions"),
    )
    bodies = declared.filled(document.get("experiments"), f"{where}: experiments")
    experiments = tuple(expansion.experiment(each, body) for each, body in bodies.items())
    return Matrix(name, declared.text(document.get("title", name), f"{where}: title"), path, experiments)


@dataclass(frozen=True)
class _Expansion:
    """What an experiment's axes are expanded against."""

    where: str  # the file, for messages
    lab: Lab
    catalogue: Catalogue
    splits: dict[str, Split]
    cyclictest: dict[str, int]
    repetitions: int

    def experiment(self, name: str, body: Any) -> Experiment:
        where = f"{self.where}: experiments.{declared.name(name, f'{self.where}: experiments')}"
        body = declared.mapping(body, where)
        declared.known_keys(body, ("title", "reproduces", "shows", "axes", "include", "exclude"), where)
        axes = self._axes(body.get("axes"), f"{where}.axes")
        points = [dict(zip(AXES, values, strict=True)) for values in itertools.product(*(axes[axis] for axis in AXES))]
        excluded = [
            self._values(each, at) for each, at in declared.numbered(body.get("exclude", []), f"{where}.exclude")
        ]
        points = [point for point in points if not any(_matches(point, pattern) for pattern in excluded)]
        for each, at in declared.numbered(body.get("include", []), f"{where}.include"):
            points.extend(self._included(self._values(each, at), axes, at))
        if not points:
            raise InputError(
                f"{where}.exclude leaves no cell, expected one or more; remove the experiment or an exclude."
            )
        numbers = range(1, self.repetitions + 1)
        cells = (self._cell(point, number, where) for number in numbers for point in points)
        return Experiment(
            name=name,
            title=declared.text(body.get("title", name), f"{where}.title"),
            reproduces=declared.text(body.get("reproduces", ""), f"{where}.reproduces"),
            shows=_views(body.get("shows", [HISTOGRAMS]), f"{where}.shows"),
            cells=tuple(dict.fromkeys(cells)),
        )

    def _axes(self, body: Any, where: str) -> dict[str, list[str]]:
        axes = self._values(declared.filled(body, where), where)
        if "guest" not in axes and axes.get("place") == ["host"]:
            axes["guest"] = [NO_GUEST]
        if missing := [axis for axis in AXES if axis not in axes]:
            raise InputError(f"{where} lacks the axis '{missing[0]}', expected all of {', '.join(AXES)}; add it.")
        return axes

    def _values(self, body: Any, where: str) -> dict[str, list[str]]:
        """Axis -> values, each one known; groups are expanded to their boards."""
        body = declared.mapping(body, where)
        declared.known_keys(body, AXES, where)
        values: dict[str, list[str]] = {}
        for axis, given in body.items():
            listed = given if isinstance(given, list) else [given]
            if not listed:
                raise InputError(f"{where}.{axis} is empty, expected one or more values; fill or remove it.")
            for number, value in enumerate(listed):
                if axis != "tuning":
                    declared.known(value, self._allowed(axis), axis, f"{where}.{axis}")
                if value in listed[:number]:
                    raise InputError(f"{where}.{axis} names '{value}' twice, expected each value once; remove one.")
            values[axis] = self._expanded(axis, listed, f"{where}.{axis}")
        return values

    def _expanded(self, axis: str, values: list[str], where: str) -> list[str]:
        """Groups become their boards, ``full-minus-each`` every tuning that it stands for."""
        if axis == "board":
            return self._boards(values)
        if axis == "tuning":
            return list(dict.fromkeys(name for value in values for name in self.catalogue.tunings.expand(value, where)))
        return values

    def _allowed(self, axis: str) -> list[str]:
        return {
            "board": [*self.lab.boards, *self.lab.groups],
            "kernel": [*self.catalogue.kernels, RUNNING],
            "split": list(self.splits),
            "place": list(PLACES),
            "guest": list(self.catalogue.guests),
            "workload": list(self.catalogue.workloads),
        }[axis]

    def _boards(self, values: list[str]) -> list[str]:
        expanded = ([value] if value in self.lab.boards else self.lab.groups[value] for value in values)
        return list(dict.fromkeys(itertools.chain.from_iterable(expanded)))

    def _included(self, given: dict[str, list[str]], axes: dict[str, list[str]], where: str) -> Iterator[Point]:
        """Points of one include; an axis it does not give is taken from the experiment if that leaves no choice."""
        full = {axis: given.get(axis, axes[axis]) for axis in AXES}
        if given.get("place") == ["host"]:
            full["guest"] = [NO_GUEST]
        for axis in AXES:
            if axis not in given and len(full[axis]) > 1:
                raise InputError(
                    f"{where} does not say which {axis}, expected {', '.join(full[axis])} or several; add the axis."
                )
        for values in itertools.product(*(full[axis] for axis in AXES)):
            yield dict(zip(AXES, values, strict=True))

    def _cell(self, point: Point, repetition: int, where: str) -> Cell:
        on_host = point["place"] == "host"
        if not on_host and point["guest"] == NO_GUEST:
            raise InputError(
                f"{where} measures in the guest without saying which guest, expected axis guest to be one of "
                f"{', '.join(self.catalogue.guests)}; add the axis."
            )
        board = self.lab.boards[point["board"]]
        split = self._split_of(point["split"], board, where)
        tuning = self.catalogue.tunings[point["tuning"]]
        self._check_kernel(point["kernel"], board, where)
        words = self._boot_words(point["kernel"], tuning, split) if board.boots else ()
        guest: dict[str, Any] = {}
        if not on_host:
            entry = self.catalogue.guests[point["guest"]]
            guest = entry.state(tuning, split, board.guest_kernel or point["kernel"], board.gic, where)
            if guest["kernel"] == RUNNING:
                raise InputError(
                    f"{where}: guest '{entry.name}' on board '{board.name}' has no kernel of its own, expected one of "
                    "the catalogue, since the board's is not rtvirt's; set guest_kernel in the inventory."
                )
            if point["kernel"] != RUNNING:  # of what runs nothing is known before the board is asked
                theirs, ours = self._architecture(guest["kernel"]), self._architecture(point["kernel"])
                entry.check_architecture(theirs, ours, where)
        workload = self.catalogue.workloads[point["workload"]]
        return Cell(
            board=board.name,
            kernel=point["kernel"],
            tuning=point["tuning"],
            split=point["split"],
            place=point["place"],
            # so that experiments with different guests share their host cells
            guest=NO_GUEST if on_host else point["guest"],
            workload=point["workload"],
            repetition=repetition,
            clock=board.clock,
            host_cpus=split.host_list,
            guest_cpus=split.guest_list,
            # the same physical core in both places: the difference is what virtualization costs
            measured_cpu=split.guest_cpus[-1] if on_host else len(split.guest_cpus) - 1,
            kernel_words=words,
            settings=tuning.machine_settings(board.boots),
            guest_state=guest,
            program=workload.program(point["place"], split, guest.get("scratch_mib", 0), where),
            board_command=workload.board_command,
            **self.cyclictest,
        )

    def _check_kernel(self, kernel: str, board: Board, where: str) -> None:
        if board.boots and kernel == RUNNING:
            raise InputError(
                f"{where}: kernel 'running' on board '{board.name}', expected one of the catalogue, since rtvirt "
                "reboots this board; name one, or set rtvirt_board_boots to false in the inventory."
            )
        if not board.boots and kernel != RUNNING:
            raise InputError(
                f"{where}: kernel '{kernel}' on board '{board.name}', expected 'running', since its "
                "rtvirt_board_boots is false; use that kernel, or let the board be rebooted."
            )

    def _architecture(self, kernel: str) -> str:
        return str(self.catalogue.kernels.get(kernel, {}).get("architecture"))

    def _boot_words(self, kernel: str, tuning: Tuning, split: Split) -> tuple[str, ...]:
        return tuning.words(split, bool(self.catalogue.kernels.get(kernel, {}).get("isolcpus_flags", True)))

    def _split_of(self, name: str, board: Board, where: str) -> Split:
        split = self.splits[name]
        for key, cpus in (("host_cpus", split.host_cpus), ("guest_cpus", split.guest_cpus)):
            if cpus[-1] >= board.cpus:
                raise InputError(
                    f"{self.where}: splits.{name}.{key} is '{format_cpu_list(cpus)}' but board '{board.name}' has only "
                    f"cores {format_cpu_list(range(board.cpus))}; use another split or exclude this one in {where}."
                )
        return split


def _views(value: Any, where: str) -> tuple[str, ...]:
    views = value if isinstance(value, list) else [value]
    if not views:
        raise InputError(f"{where} is empty, expected one or more of {', '.join(VIEWS)}; fill or remove it.")
    for view in views:
        declared.known(view, VIEWS, "view", where)
    return tuple(dict.fromkeys(views))


def _matches(point: Point, pattern: dict[str, list[str]]) -> bool:
    return all(point[axis] in values for axis, values in pattern.items())


def _splits(body: Any, where: str) -> dict[str, Split]:
    splits: dict[str, Split] = {}
    for name, entry in declared.filled(body, where).items():
        at = f"{where}.{declared.name(name, where)}"
        lists = declared.mapping(entry, at)
        declared.known_keys(lists, ("host_cpus", "guest_cpus"), at)
        split = Split(
            _cpus(lists.get("host_cpus"), f"{at}.host_cpus"), _cpus(lists.get("guest_cpus"), f"{at}.guest_cpus")
        )
        if shared := set(split.host_cpus) & set(split.guest_cpus):
            host, guest = format_cpu_list(split.host_cpus), format_cpu_list(split.guest_cpus)
            raise InputError(
                f"{at}: host_cpus '{host}' and guest_cpus '{guest}' overlap on core {format_cpu_list(shared)}, "
                "expected each core in one of them; take it out of one."
            )
        splits[name] = split
    return splits


def _cpus(value: Any, where: str) -> tuple[int, ...]:
    text = str(value) if declared.is_int(value) else value
    if not isinstance(text, str):
        raise InputError(f"{where} is {declared.shown(value)}, expected a list of cores such as '0,2-3' (in quotes).")
    try:
        cpus = parse_cpu_list(text)
    except ValueError as error:
        raise InputError(f"{where}: {error}; correct it.") from error
    if not cpus:
        raise InputError(f"{where} is empty, expected one or more cores such as '0,2-3'; fill it.")
    return cpus


def _cyclictest(body: Any, where: str) -> dict[str, int]:
    settings = declared.filled(body, where)
    declared.known_keys(settings, tuple(_LIMITS), where)
    return {key: declared.whole(settings.get(key), limits, f"{where}.{key}") for key, limits in _LIMITS.items()}
