"""Matrix files: load, validate, expand into cells, put the cells in order.

A matrix file says which points to measure, a lab which boards there are, the catalogue which kernels, tunings and
workloads exist. Everything that can be wrong with them is found here, before a board is touched, and is said in one
sentence (MatrixError). Nothing in this module talks to a machine or writes a file.
"""

from __future__ import annotations

import difflib
import hashlib
import itertools
import json
import re
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, cast

import yaml

Clock = Literal["virtual", "real"]
Point = dict[str, str]  # axis -> value

AXES = ("board", "kernel", "tuning", "split", "place", "guest", "workload")  # as written in a matrix file
PLACES = ("host", "guest")
NO_GUEST = "none"

_TAKEN_FOLDERS = ("log", "report")  # beside the boards' folders in the results tree
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")  # names become folder names
_LIMITS = {"loops": (1, 10**9), "interval_us": (10, 10**6), "priority": (1, 99), "histogram_us": (10, 10**6)}


class MatrixError(ValueError):
    """A lab, matrix or catalogue is wrong; the message is one sentence: what, where, what was expected, what to do."""


# ---------------------------------------------------------------------------------------------------- CPU lists


def parse_cpu_list(text: str) -> tuple[int, ...]:
    """Read a kernel-style CPU list: ``'0,2-3'`` gives ``(0, 2, 3)``; ``''`` gives ``()``.

    Raises ValueError when the text is no such list, names a core twice, or counts a range backwards.
    """
    cpus: list[int] = []
    for part in text.split(",") if text.strip() else []:
        match = re.fullmatch(r"\s*(\d{1,4})(?:-(\d{1,4}))?\s*", part)
        if match is None:
            raise ValueError(f"'{text}' is not a list of cores such as '0,2-3'")
        first, last = int(match[1]), int(match[2] or match[1])
        if last < first:
            raise ValueError(f"'{text}' counts the range {first}-{last} backwards")
        cpus.extend(range(first, last + 1))
    if len(set(cpus)) != len(cpus):
        raise ValueError(f"'{text}' names a core twice")
    return tuple(sorted(cpus))


def format_cpu_list(cpus: Iterable[int]) -> str:
    """Write cores the way the kernel does: ``(0, 2, 3)`` gives ``'0,2-3'``."""
    runs: list[list[int]] = []
    for cpu in sorted(set(cpus)):
        if runs and runs[-1][-1] == cpu - 1:
            runs[-1].append(cpu)
        else:
            runs.append([cpu])
    return ",".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)


# ---------------------------------------------------------------------------------------------- lab and catalogue


@dataclass(frozen=True)
class Board:
    """A machine under test: how many cores it has, and whether its clock counts real or virtual time."""

    name: str
    cpus: int
    clock: Clock


@dataclass(frozen=True)
class Lab:
    """What an inventory says about boards. ``groups`` holds boards only, in the inventory's order."""

    boards: dict[str, Board]
    groups: dict[str, list[str]]

    @classmethod
    def from_inventory(cls, groups: Mapping[str, Sequence[str]], hostvars: Mapping[str, Mapping[str, Any]]) -> Lab:
        """Take the boards out of Ansible's ``groups`` and ``hostvars``.

        Raises MatrixError when there is no board, or when one lacks or garbles its two variables.
        """
        names = list(groups.get("boards", []))
        if not names:
            raise MatrixError(
                "The inventory has no host in group 'boards', expected one or more; add your boards to it."
            )
        boards = {name: _board(str(name), hostvars.get(name, {})) for name in names}
        members = {
            str(group): [str(host) for host in hosts if host in boards]
            for group, hosts in groups.items()
            if any(host in boards for host in hosts)
        }
        return cls(boards, members)


def _board(name: str, variables: Mapping[str, Any]) -> Board:
    if not _NAME.fullmatch(name) or name in _TAKEN_FOLDERS:
        raise MatrixError(
            f"Inventory: board '{name}' cannot name its results folder, expected letters, digits and "
            "'.', '_', '+', '-', and neither 'log' nor 'report'; rename it."
        )
    cpus = variables.get("rtvirt_board_cpus")
    if isinstance(cpus, str) and cpus.isdecimal():  # an INI inventory knows only text
        cpus = int(cpus)
    if not _is_int(cpus) or not 1 <= cast(int, cpus) <= 1024:
        raise MatrixError(
            f"Inventory: rtvirt_board_cpus of board '{name}' is {_shown(cpus)}, expected its number of cores "
            "(1 to 1024); set it."
        )
    clock = variables.get("rtvirt_board_clock")
    if clock not in ("virtual", "real"):
        raise MatrixError(
            f"Inventory: rtvirt_board_clock of board '{name}' is {_shown(clock)}, expected 'real' for a machine of "
            "metal or 'virtual' for an emulated one that counts instructions; set it."
        )
    return Board(name, int(cast(int, cpus)), cast(Clock, str(clock)))


@dataclass(frozen=True)
class Catalogue:
    """The named things a matrix may ask for; the dicts are those of playbooks/vars/*.yml."""

    kernels: dict[str, dict[str, Any]]
    tunings: dict[str, dict[str, Any]]
    workloads: dict[str, dict[str, Any]]
    guests: tuple[str, ...] = ("minimal",)

    @classmethod
    def load(cls, vars_dir: Path) -> Catalogue:
        """Read kernels.yml, tunings.yml and workloads.yml of a folder; raises MatrixError when one is unusable."""
        kernels, tunings, workloads = (
            _catalogue_file(vars_dir / f"{what}.yml", what) for what in ("kernels", "tunings", "workloads")
        )
        return cls(kernels, tunings, workloads)


def _catalogue_file(path: Path, what: str) -> dict[str, dict[str, Any]]:
    entries = _section(_load_yaml(path), what, f"{path}")
    for name, entry in entries.items():
        _name(name, f"{path}: {what}")
        _mapping(entry, f"{path}: {what}.{name}")
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
    vcpus: int  # 0 when no guest runs
    kernel_words: tuple[str, ...]  # what the tuning adds to the board's kernel command line
    guest_process: Mapping[str, Any] = field(hash=False)  # how the tuning places the QEMU process; empty: not at all
    workload_command: str
    loops: int
    interval_us: int
    priority: int
    histogram_us: int

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
        """Undo as_dict; raises MatrixError when a field is missing, unknown, or does not fit the id given."""
        # through JSON: what Ansible hands over carries tags of its own
        given = json.loads(json.dumps({key: value for key, value in values.items() if key != "id"}))
        names = {item.name for item in fields(cls)}
        if wrong := sorted(names ^ given.keys()):
            raise MatrixError(
                f"A cell has missing or unknown fields: {', '.join(wrong)}; was it written by another version?"
            )
        given["kernel_words"] = tuple(given["kernel_words"])
        cell = cls(**given)
        if values.get("id", cell.id) != cell.id:
            raise MatrixError(
                f"Cell '{values['id']}' does not fit its own values, which give '{cell.id}'; was it edited?"
            )
        return cell

    def _values(self) -> dict[str, Any]:
        values = asdict(self)
        values["kernel_words"] = list(self.kernel_words)
        values["guest_process"] = dict(self.guest_process)
        return values


@dataclass(frozen=True)
class GuestGroup:
    """Cells that share one state of the guest; flavour ``none`` and 0 vCPUs mean that no guest runs."""

    flavour: str
    vcpus: int
    process: Mapping[str, Any]  # as Cell.guest_process
    cells: tuple[Cell, ...]

    def as_dict(self) -> dict[str, Any]:
        """The group as plain values for Ansible."""
        return {
            "flavour": self.flavour,
            "vcpus": self.vcpus,
            "process": dict(self.process),
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
    def state(cell: Cell) -> tuple[str, int, str]:
        return cell.guest, cell.vcpus, json.dumps(dict(cell.guest_process), sort_keys=True)

    ranks = _ranks(state(cell) for cell in cells)
    ordered = sorted(cells, key=lambda cell: (cell.guest != NO_GUEST, ranks[state(cell)]))
    groups = (tuple(members) for _, members in itertools.groupby(ordered, key=state))
    return tuple(GuestGroup(each[0].guest, each[0].vcpus, each[0].guest_process, each) for each in groups)


def _ranks(values: Iterable[Hashable]) -> dict[Any, int]:
    return {value: rank for rank, value in enumerate(dict.fromkeys(values))}


# ------------------------------------------------------------------------------------------------------- the matrix


@dataclass(frozen=True)
class Experiment:
    """A named set of cells that answers one question: one figure or table."""

    name: str
    title: str
    reproduces: str
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

    Raises MatrixError for anything that is wrong in it, naming file, key, value and what was expected.
    """
    where = str(path)
    document = _section(_load_yaml(path), "matrix", where)
    _known_keys(document, ("name", "title", "repetitions", "cyclictest", "splits", "experiments"), f"{where}: matrix")
    name = _name(document.get("name"), f"{where}: name")
    expansion = _Expansion(
        where=where,
        lab=lab,
        catalogue=catalogue,
        splits=_splits(document.get("splits"), f"{where}: splits"),
        cyclictest=_cyclictest(document.get("cyclictest"), f"{where}: cyclictest"),
        repetitions=_whole(document.get("repetitions", 1), (1, 1000), f"{where}: repetitions"),
    )
    declared = _filled(document.get("experiments"), f"{where}: experiments")
    experiments = tuple(expansion.experiment(each, body) for each, body in declared.items())
    return Matrix(name, _text(document.get("title", name), f"{where}: title"), path, experiments)


@dataclass(frozen=True)
class _Split:
    host_cpus: tuple[int, ...]
    guest_cpus: tuple[int, ...]


@dataclass(frozen=True)
class _Expansion:
    """What an experiment's axes are expanded against."""

    where: str  # the file, for messages
    lab: Lab
    catalogue: Catalogue
    splits: dict[str, _Split]
    cyclictest: dict[str, int]
    repetitions: int

    def experiment(self, name: str, body: Any) -> Experiment:
        where = f"{self.where}: experiments.{_name(name, f'{self.where}: experiments')}"
        body = _mapping(body, where)
        _known_keys(body, ("title", "reproduces", "axes", "include", "exclude"), where)
        axes = self._axes(body.get("axes"), f"{where}.axes")
        points = [dict(zip(AXES, values, strict=True)) for values in itertools.product(*(axes[axis] for axis in AXES))]
        excluded = [self._values(each, at) for each, at in _numbered(body.get("exclude", []), f"{where}.exclude")]
        points = [point for point in points if not any(_matches(point, pattern) for pattern in excluded)]
        for each, at in _numbered(body.get("include", []), f"{where}.include"):
            points.extend(self._included(self._values(each, at), axes, at))
        if not points:
            raise MatrixError(
                f"{where}.exclude leaves no cell, expected one or more; remove the experiment or an exclude."
            )
        numbers = range(1, self.repetitions + 1)
        cells = (self._cell(point, number, where) for number in numbers for point in points)
        return Experiment(
            name=name,
            title=_text(body.get("title", name), f"{where}.title"),
            reproduces=_text(body.get("reproduces", ""), f"{where}.reproduces"),
            cells=tuple(dict.fromkeys(cells)),
        )

    def _axes(self, body: Any, where: str) -> dict[str, list[str]]:
        axes = self._values(_filled(body, where), where)
        if "guest" not in axes and axes.get("place") == ["host"]:
            axes["guest"] = [NO_GUEST]
        if missing := [axis for axis in AXES if axis not in axes]:
            raise MatrixError(f"{where} lacks the axis '{missing[0]}', expected all of {', '.join(AXES)}; add it.")
        return axes

    def _values(self, body: Any, where: str) -> dict[str, list[str]]:
        """Axis -> values, each one known; groups are expanded to their boards."""
        body = _mapping(body, where)
        _known_keys(body, AXES, where)
        values: dict[str, list[str]] = {}
        for axis, given in body.items():
            listed = given if isinstance(given, list) else [given]
            if not listed:
                raise MatrixError(f"{where}.{axis} is empty, expected one or more values; fill or remove it.")
            for number, value in enumerate(listed):
                _known(value, self._allowed(axis), axis, f"{where}.{axis}")
                if value in listed[:number]:
                    raise MatrixError(f"{where}.{axis} names '{value}' twice, expected each value once; remove one.")
            values[axis] = self._boards(listed) if axis == "board" else listed
        return values

    def _allowed(self, axis: str) -> list[str]:
        return {
            "board": [*self.lab.boards, *self.lab.groups],
            "kernel": list(self.catalogue.kernels),
            "tuning": list(self.catalogue.tunings),
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
                raise MatrixError(
                    f"{where} does not say which {axis}, expected {', '.join(full[axis])} or several; add the axis."
                )
        for values in itertools.product(*(full[axis] for axis in AXES)):
            yield dict(zip(AXES, values, strict=True))

    def _cell(self, point: Point, repetition: int, where: str) -> Cell:
        on_host = point["place"] == "host"
        if not on_host and point["guest"] == NO_GUEST:
            raise MatrixError(
                f"{where} measures in the guest without saying which guest, expected axis guest to be one of "
                f"{', '.join(self.catalogue.guests)}; add the axis."
            )
        board = self.lab.boards[point["board"]]
        split = self._split_of(point["split"], board, where)
        tuning = self._tuning(point["tuning"], split)
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
            host_cpus=format_cpu_list(split.host_cpus),
            guest_cpus=format_cpu_list(split.guest_cpus),
            # the same physical core in both places: the difference is what virtualization costs
            measured_cpu=split.guest_cpus[-1] if on_host else len(split.guest_cpus) - 1,
            vcpus=0 if on_host else len(split.guest_cpus),
            kernel_words=tuple(tuning["kernel_words"]),
            guest_process={} if on_host else tuning["guest_process"],
            workload_command=str(self.catalogue.workloads[point["workload"]].get("command") or ""),
            **self.cyclictest,
        )

    def _split_of(self, name: str, board: Board, where: str) -> _Split:
        split = self.splits[name]
        for key, cpus in (("host_cpus", split.host_cpus), ("guest_cpus", split.guest_cpus)):
            if cpus[-1] >= board.cpus:
                raise MatrixError(
                    f"{self.where}: splits.{name}.{key} is '{format_cpu_list(cpus)}' but board '{board.name}' has only "
                    f"cores {format_cpu_list(range(board.cpus))}; use another split or exclude this one in {where}."
                )
        return split

    def _tuning(self, name: str, split: _Split) -> dict[str, Any]:
        """The tuning's settings with the split's core lists filled in."""
        where = f"Tuning '{name}'"
        tuning = self.catalogue.tunings[name]
        _known_keys(tuning, ("title", "kernel_words", "guest_process"), where)
        words = tuning.get("kernel_words") or []
        process = _mapping(tuning.get("guest_process") or {}, f"{where}: guest_process")
        _known_keys(process, ("cpus", "policy", "priority"), f"{where}: guest_process")
        if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
            raise MatrixError(f"{where}: kernel_words is {_shown(words)}, expected a list of command-line words.")
        return {
            "kernel_words": [_rendered(word, split, f"{where}: kernel_words") for word in words],
            "guest_process": {
                key: _rendered(value, split, f"{where}: guest_process.{key}") if isinstance(value, str) else value
                for key, value in process.items()
            },
        }


def _rendered(text: str, split: _Split, where: str) -> str:
    lists = {"host_cpus": format_cpu_list(split.host_cpus), "guest_cpus": format_cpu_list(split.guest_cpus)}
    try:
        return text.format_map(lists)
    except (KeyError, ValueError, IndexError, AttributeError) as error:
        raise MatrixError(
            f"{where} is '{text}', expected no placeholders but {{host_cpus}} and {{guest_cpus}}."
        ) from error


def _matches(point: Point, pattern: dict[str, list[str]]) -> bool:
    return all(point[axis] in values for axis, values in pattern.items())


def _splits(body: Any, where: str) -> dict[str, _Split]:
    splits: dict[str, _Split] = {}
    for name, entry in _filled(body, where).items():
        at = f"{where}.{_name(name, where)}"
        lists = _mapping(entry, at)
        _known_keys(lists, ("host_cpus", "guest_cpus"), at)
        split = _Split(
            _cpus(lists.get("host_cpus"), f"{at}.host_cpus"), _cpus(lists.get("guest_cpus"), f"{at}.guest_cpus")
        )
        if shared := set(split.host_cpus) & set(split.guest_cpus):
            host, guest = format_cpu_list(split.host_cpus), format_cpu_list(split.guest_cpus)
            raise MatrixError(
                f"{at}: host_cpus '{host}' and guest_cpus '{guest}' overlap on core {format_cpu_list(shared)}, "
                "expected each core in one of them; take it out of one."
            )
        splits[name] = split
    return splits


def _cpus(value: Any, where: str) -> tuple[int, ...]:
    text = str(value) if _is_int(value) else value
    if not isinstance(text, str):
        raise MatrixError(f"{where} is {_shown(value)}, expected a list of cores such as '0,2-3' (in quotes).")
    try:
        cpus = parse_cpu_list(text)
    except ValueError as error:
        raise MatrixError(f"{where}: {error}; correct it.") from error
    if not cpus:
        raise MatrixError(f"{where} is empty, expected one or more cores such as '0,2-3'; fill it.")
    return cpus


def _cyclictest(body: Any, where: str) -> dict[str, int]:
    settings = _filled(body, where)
    _known_keys(settings, tuple(_LIMITS), where)
    return {key: _whole(settings.get(key), limits, f"{where}.{key}") for key, limits in _LIMITS.items()}


# ------------------------------------------------------------------------------------- YAML, and checks with a message


class _StrictLoader(yaml.SafeLoader):
    """YAML that refuses a key given twice: the second would silently replace the first."""

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self._checked: set[int] = set()

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """Check a mapping before '<<' is merged into it: an own key may well replace a merged one."""
        if id(node) not in self._checked:  # once merged it holds both, and '<<' chains come by again
            self._checked.add(id(node))
            self._refuse_duplicates(node)
        super().flatten_mapping(node)

    def _refuse_duplicates(self, node: yaml.MappingNode) -> None:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node) if key_node.tag != "tag:yaml.org,2002:merge" else "<<"
            if isinstance(key, Hashable) and key in seen:
                raise yaml.constructor.ConstructorError(None, None, f"key '{key}' is given twice", key_node.start_mark)
            seen.add(key)


def _load_yaml(path: Path) -> Any:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise MatrixError(f"{path}: cannot be read ({reason}), expected a YAML file; check the path.") from error
    try:
        return yaml.load(text, Loader=_StrictLoader)  # a SafeLoader
    except yaml.MarkedYAMLError as error:
        line = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        raise MatrixError(
            f"{path}: {line}{error.problem}, expected valid YAML with each key once; correct it."
        ) from error
    except yaml.YAMLError as error:
        raise MatrixError(f"{path}: {' '.join(str(error).split())}, expected valid YAML; correct it.") from error


def _section(document: Any, key: str, where: str) -> dict[str, Any]:
    document = _mapping(document, where)
    if key not in document:
        raise MatrixError(f"{where}: has no key '{key}' at the top, expected everything under it; add it.")
    _known_keys(document, (key,), where)
    return _filled(document[key], f"{where}: {key}")


def _mapping(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise MatrixError(f"{where} is {_shown(value)}, expected keys with values; see docs/writing-a-matrix.md.")
    return value


def _filled(value: Any, where: str) -> dict[str, Any]:
    if not _mapping(value, where):
        raise MatrixError(f"{where} is empty, expected one entry or more; fill it.")
    return cast(dict[str, Any], value)


def _numbered(value: Any, where: str) -> list[tuple[Any, str]]:
    if not isinstance(value, list):
        raise MatrixError(f"{where} is {_shown(value)}, expected a list of points; begin each with '- '.")
    return [(each, f"{where}[{number}]") for number, each in enumerate(value, 1)]


def _known_keys(body: Mapping[str, Any], allowed: Sequence[str], where: str) -> None:
    for key in body:
        _known(key, allowed, "key", where)


def _known(value: Any, allowed: Sequence[str], what: str, where: str) -> None:
    if isinstance(value, str) and value in allowed:
        return
    close = difflib.get_close_matches(str(value), allowed, n=1)
    advice = f"did you mean '{close[0]}'?" if close else "correct it."
    raise MatrixError(
        f"{where}: unknown {what} {_shown(value)}, expected one of {', '.join(dict.fromkeys(allowed))}; {advice}"
    )


def _name(value: Any, where: str) -> str:
    if isinstance(value, str) and _NAME.fullmatch(value):
        return value
    raise MatrixError(
        f"{where}: {_shown(value)} is not a name, expected letters, digits and '.', '_', '+', '-' (quote numbers)."
    )


def _text(value: Any, where: str) -> str:
    if isinstance(value, str):
        return value
    raise MatrixError(f"{where} is {_shown(value)}, expected text; put it in quotes.")


def _whole(value: Any, limits: tuple[int, int], where: str) -> int:
    if _is_int(value) and limits[0] <= value <= limits[1]:
        return int(value)
    raise MatrixError(
        f"{where} is {_shown(value)}, expected a whole number from {limits[0]} to {limits[1]}; correct it."
    )


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _shown(value: Any) -> str:
    if value is None:
        return "missing"
    text = f"'{value}'" if isinstance(value, str) else str(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
