"""Matrix files: load, validate, and expand into cells.

A matrix file names the points to measure, a lab the boards, the catalogue the kernels, tunings, guests and workloads.
Invalid input is refused here with one sentence (InputError), before a board is touched. Nothing in this module talks
to a machine or writes a file.
"""

from __future__ import annotations

import difflib
import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from rtvirt_runner.catalogue import checked_yaml
from rtvirt_runner.catalogue.catalogue import Catalogue
from rtvirt_runner.catalogue.checked_yaml import InputError
from rtvirt_runner.catalogue.cpus import Split, format_cpu_list, parse_cpu_list
from rtvirt_runner.catalogue.guests import NO_GUEST, GuestState, check_architecture
from rtvirt_runner.catalogue.lab import KERNEL_ROLES, RUNNING, Board, Lab
from rtvirt_runner.catalogue.neighbours import NO_NEIGHBOUR, NeighbourState
from rtvirt_runner.matrix.budget import Budget, read_budgets
from rtvirt_runner.matrix.cell import BOTH, PLACES, Cell
from rtvirt_runner.matrix.host_thread import AskedHostThread, HostThread, read_both
from rtvirt_runner.matrix.plan import plan
from rtvirt_runner.matrix.threshold import NO_TRACE, read_trace, why_untraceable

Point = dict[str, str]  # axis -> value

AXES = ("board", "kernel", "tuning", "split", "place", "guest", "workload", "neighbour")  # as written in a matrix file
HISTOGRAMS = "histograms"
COMPARISONS = ("ablation", "gic", "load", "partitioning", "flavours", "slowdown", "ecu", "sysbench", "neighbour")
VIEWS = (HISTOGRAMS, *COMPARISONS)  # how the page shows an experiment

_STATE = "wanted"  # name of a state's split
_LIMITS = {"loops": (1, 10**9), "interval_us": (10, 10**6), "priority": (1, 99), "histogram_us": (10, 10**6)}
_LATE = "late_us"  # optional


@dataclass(frozen=True)
class Experiment:
    """A named set of cells that answers one question: one figure or table."""

    name: str
    title: str
    reproduces: str
    views: tuple[str, ...]  # of VIEWS
    cells: tuple[Cell, ...]
    trace: int | str | None = None  # how late a wake-up of its cells is to be traced: us, threshold.AUTO, or no trace


@dataclass(frozen=True)
class Matrix:
    """A validated, expanded matrix file."""

    name: str
    title: str
    path: Path
    experiments: tuple[Experiment, ...]
    budgets: tuple[Budget, ...] = ()  # the first is the one that decides; empty: the paper's (analysis/verdicts.py)
    notes: tuple[str, ...] = ()  # what may not be meant as it is written, a sentence each
    repetitions: int | None = None  # of every experiment, where that was asked for instead of the file's

    @cached_property
    def cells(self) -> tuple[Cell, ...]:
        """All cells, each once, in the order of ``plan``."""
        every = (cell for experiment in self.experiments for cell in experiment.cells)
        return tuple(cell for boot in plan(every) for cell in boot.cells)

    @cached_property
    def traces(self) -> dict[Cell, int | str]:
        """The cells that are to be traced, in the order of the file, each with how late a wake-up is to be."""
        asking = ((each.trace, each.cells) for each in self.experiments)
        return {cell: trace for trace, cells in asking if trace is not None for cell in cells}


def load_matrix(path: Path, lab: Lab, catalogue: Catalogue, repetitions: int | None = None) -> Matrix:
    """Read a matrix file and expand it over a lab.

    ``repetitions`` of every experiment stand in for those of the file. Raises InputError for invalid input, with file,
    key, value and what was expected.
    """
    return read_matrix(checked_yaml.load_yaml(path), path, lab, catalogue, repetitions)


def read_matrix(document: Any, path: Path, lab: Lab, catalogue: Catalogue, repetitions: int | None = None) -> Matrix:
    """Expand the content of a matrix file over a lab; ``path`` is for messages. Raises InputError."""
    where = str(path)
    if repetitions is not None:
        _repetitions(repetitions, "repetitions")  # --repetitions, or rtvirt_repetitions of a playbook
    document = checked_yaml.section(document, "matrix", where)
    checked_yaml.known_keys(
        document,
        ("name", "title", "repetitions", "cyclictest", "trace", "both", "splits", "budgets", "experiments"),
        f"{where}: matrix",
    )
    name = checked_yaml.name(document.get("name"), f"{where}: name")
    _check_lab(lab, catalogue)
    expansion = _Expansion(
        where=where,
        lab=lab,
        catalogue=catalogue,
        splits=_splits(document.get("splits"), f"{where}: splits"),
        cyclictest=_cyclictest(document.get("cyclictest"), f"{where}: cyclictest"),
        repetitions=_repetitions(document.get("repetitions", 1), f"{where}: repetitions"),
        asked_repetitions=repetitions,
        trace=read_trace(document.get("trace", NO_TRACE), f"{where}: trace"),
        both=read_both(document["both"], f"{where}: both") if "both" in document else None,
    )
    bodies = checked_yaml.require_nonempty(document.get("experiments"), f"{where}: experiments")
    expanded = [expansion.experiment(each, body) for each, body in bodies.items()]
    _check_traces([experiment for experiment, _ in expanded], where)
    return Matrix(
        name=name,
        title=checked_yaml.text(document.get("title", name), f"{where}: title"),
        path=path,
        experiments=tuple(experiment for experiment, _ in expanded),
        budgets=read_budgets(
            document.get("budgets"), catalogue.workloads, expansion.cyclictest["histogram_us"], f"{where}: budgets"
        ),
        notes=tuple(note for _, notes in expanded for note in notes),
        repetitions=repetitions,
    )


def state_cell(state: Any, board: str, lab: Lab, catalogue: Catalogue) -> Cell:
    """The idle cell of a board in a state, for bringing the board into that state.

    ``state`` has the keys kernel, tuning, host_cpus, guest_cpus and, for a guest, guest; for a second one neighbour.
    Raises InputError.
    """
    where = "rtvirt_state"
    state = checked_yaml.require_nonempty(state, where)
    checked_yaml.known_keys(state, ("kernel", "tuning", "host_cpus", "guest_cpus", "guest", "neighbour"), where)
    _check_lab(lab, catalogue)
    split = _split({key: state.get(key) for key in ("host_cpus", "guest_cpus")}, where)
    expansion = _Expansion(
        where=where,
        lab=lab,
        catalogue=catalogue,
        splits={_STATE: split},
        cyclictest={"loops": 1000, "interval_us": 1000, "priority": 95, "histogram_us": 20000},
        repetitions=1,
    )
    guest = state.get("guest", NO_GUEST)
    point: dict[str, Any] = {"board": board, "kernel": state.get("kernel"), "tuning": state.get("tuning")}
    point |= {"split": _STATE, "workload": "idle", "guest": guest, "place": "host" if guest == NO_GUEST else "guest"}
    point |= {"neighbour": state.get("neighbour", NO_NEIGHBOUR)}
    return expansion.cell(point, where)


@dataclass(frozen=True)
class _Expansion:
    """Expands an experiment's axes with a lab, a catalogue, and the splits and numbers of a matrix."""

    where: str  # the file, for messages
    lab: Lab
    catalogue: Catalogue
    splits: dict[str, Split]
    cyclictest: dict[str, int]
    repetitions: int
    asked_repetitions: int | None = None  # of every experiment, whatever the file says
    trace: int | str | None = None
    both: AskedHostThread | None = None

    def experiment(self, name: str, body: Any) -> tuple[Experiment, list[str]]:
        """An experiment, and a sentence for each exclude that takes nothing away."""
        where = f"{self.where}: experiments.{checked_yaml.name(name, f'{self.where}: experiments')}"
        body = checked_yaml.mapping(body, where)
        checked_yaml.known_keys(
            body,
            ("title", "reproduces", "repetitions", "loops", "trace", "both", "views", "axes", "include", "exclude"),
            where,
            {"shows": "views"},
        )
        axes = self._axes(body.get("axes"), f"{where}.axes")
        points = [dict(zip(AXES, values, strict=True)) for values in itertools.product(*(axes[axis] for axis in AXES))]
        points = [self._with_kernel(point, where) for point in points]
        notes = []
        left = points
        for each, at in checked_yaml.numbered(body.get("exclude", []), f"{where}.exclude"):
            pattern = self._values(each, at)
            if not any(self._matches(point, pattern) for point in points):
                notes.append(f"{at} takes no point away, expected one or more on this lab; correct or remove it.")
            left = [point for point in left if not self._matches(point, pattern)]
        points = left
        for each, at in checked_yaml.numbered(body.get("include", []), f"{where}.include"):
            included = self._included(self._values(each, at), axes, at)
            points = [*points, *(self._with_kernel(point, at) for point in included)]
        if not points:
            raise InputError(
                f"{where}.exclude leaves no cell, expected one or more; remove the experiment or an exclude."
            )
        repetitions = _repetitions(body.get("repetitions", self.repetitions), f"{where}.repetitions")
        loops = checked_yaml.require_int(
            body.get("loops", self.cyclictest["loops"]), _LIMITS["loops"], f"{where}.loops"
        )
        expansion = replace(
            self,
            cyclictest=self.cyclictest | {"loops": loops},
            both=read_both(body["both"], f"{where}.both") if "both" in body else self.both,
        )
        numbers = range(1, (self.asked_repetitions or repetitions) + 1)
        cells = (expansion._cell(point, number, where) for number in numbers for point in points)
        experiment = Experiment(
            name=name,
            title=checked_yaml.text(body.get("title", name), f"{where}.title"),
            reproduces=checked_yaml.text(body.get("reproduces", ""), f"{where}.reproduces"),
            views=_views(body.get("views", [HISTOGRAMS]), f"{where}.views"),
            cells=tuple(dict.fromkeys(cells)),
            trace=read_trace(body["trace"], f"{where}.trace") if "trace" in body else self.trace,
        )
        for cell in experiment.cells if experiment.trace else ():
            if reason := why_untraceable(cell, self.catalogue.kernels):
                raise InputError(
                    f"{where}: cell {cell.axes} is to be traced, but {reason}, expected one that can be; exclude it, "
                    f"or give the experiment trace: {NO_TRACE}."
                )
        return experiment, notes

    def cell(self, point: dict[str, Any], where: str) -> Cell:
        """Validate one point and return its cell; raises InputError."""
        named = {axis: value for axis, value in point.items() if (axis, value) != ("guest", NO_GUEST)}
        for axis, values in self._values(named, where).items():
            if len(values) > 1 or isinstance(point[axis], list):
                raise InputError(f"{where}.{axis} is {checked_yaml.format_value(point[axis])}, expected one {axis}.")
        return self._cell(self._with_kernel(point, where), 1, where)

    def _axes(self, body: Any, where: str) -> dict[str, list[str]]:
        axes = self._values(checked_yaml.require_nonempty(body, where), where)
        if "guest" not in axes and axes.get("place") == ["host"]:
            axes["guest"] = [NO_GUEST]
        axes.setdefault("neighbour", [NO_NEIGHBOUR])
        if missing := [axis for axis in AXES if axis not in axes]:
            raise InputError(f"{where} lacks the axis '{missing[0]}', expected all of {', '.join(AXES)}; add it.")
        return axes

    def _values(self, body: Any, where: str) -> dict[str, list[str]]:
        """Validate axis -> values; groups are expanded to their boards."""
        body = checked_yaml.mapping(body, where)
        checked_yaml.known_keys(body, AXES, where)
        values: dict[str, list[str]] = {}
        for axis, given in body.items():
            listed = given if isinstance(given, list) else [given]
            if not listed:
                raise InputError(f"{where}.{axis} is empty, expected one or more values; fill or remove it.")
            for number, value in enumerate(listed):
                if axis == "board":
                    self._check_board(value, f"{where}.{axis}")
                elif axis != "tuning":
                    checked_yaml.known(value, self._allowed(axis), axis, f"{where}.{axis}")
                if value in listed[:number]:
                    raise InputError(f"{where}.{axis} names '{value}' twice, expected each value once; remove one.")
            values[axis] = self._expanded(axis, listed, f"{where}.{axis}")
        return values

    def _expanded(self, axis: str, values: list[str], where: str) -> list[str]:
        """Expand groups to their boards, and ``full-minus-each`` to the ablations of full."""
        if axis == "board":
            return self._boards(values)
        if axis == "tuning":
            return list(dict.fromkeys(name for value in values for name in self.catalogue.tunings.expand(value, where)))
        return values

    def _allowed(self, axis: str) -> list[str]:
        return {
            "kernel": [*self.catalogue.kernels, RUNNING, *KERNEL_ROLES],
            "split": list(self.splits),
            "place": list(PLACES),
            "guest": list(self.catalogue.guests),
            "workload": list(self.catalogue.workloads),
            "neighbour": [NO_NEIGHBOUR, *self.catalogue.neighbours],
        }[axis]

    def _check_board(self, value: Any, where: str) -> None:
        """Raise InputError for what is neither a board nor a group of the lab; a role of boards is either."""
        allowed = [*self.lab.boards, *self.lab.groups]
        if isinstance(value, str) and checked_yaml.NAME.fullmatch(value) and value not in allowed:
            close = difflib.get_close_matches(value, allowed, n=1)
            advice = f"did you mean '{close[0]}'?" if close else "name one, or give the lab a group of that name."
            raise InputError(
                f"{where}: unknown board '{value}': this lab has no board or group of that name, expected one of "
                f"{', '.join(dict.fromkeys(allowed))}; {advice}"
            )
        checked_yaml.known(value, allowed, "board", where)

    def _kernel_of(self, kernel: str, board: str, where: str) -> str:
        """The kernel that a name or role stands for on a board."""
        if kernel in self.catalogue.kernels or kernel == RUNNING:
            return kernel
        found = self.lab.kernels.get(board, {}).get(kernel)
        if found is None:
            raise InputError(
                f"{where}: kernel '{kernel}' on board '{board}', which has none for that, expected one in its "
                "rtvirt_board_kernels; add it in the inventory, or name a kernel of the catalogue."
            )
        return found

    def _with_kernel(self, point: Point, where: str) -> Point:
        return point | {"kernel": self._kernel_of(point["kernel"], point["board"], where)}

    def _matches(self, point: Point, pattern: dict[str, list[str]]) -> bool:
        """Whether a point has one of the values of each axis. Cells on the host have no guest to be named by."""
        if "guest" in pattern and point["place"] == "host":
            return False
        for axis, values in pattern.items():
            roles = self.lab.kernels.get(point["board"], {}) if axis == "kernel" else {}
            if point[axis] not in [roles.get(value, value) for value in values]:
                return False
        return True

    def _boards(self, values: list[str]) -> list[str]:
        expanded = ([value] if value in self.lab.boards else self.lab.groups[value] for value in values)
        return list(dict.fromkeys(itertools.chain.from_iterable(expanded)))

    def _included(self, given: dict[str, list[str]], axes: dict[str, list[str]], where: str) -> Iterator[Point]:
        """Points of one include; an axis that it lacks is taken from the experiment if that has a single value."""
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
        if not on_host and not board.guest_host:
            raise InputError(
                f"{where} measures in a guest of board '{board.name}', but the inventory has no host "
                f"'{board.guest_name}', expected one in group 'guests'; add it, or measure on the host alone."
            )
        kernels = self.catalogue.kernels
        kernel_params = tuning.kernel_params(split, kernels[point["kernel"]].isolcpus_flags) if board.boots else ()
        guest = None
        if not on_host:
            entry = self.catalogue.guests[point["guest"]]
            guest = entry.state(tuning, split, board.guest_kernel or point["kernel"], board.gic, kernels, where)
            self._check_guest_kernel(f"guest '{entry.name}'", guest, point["kernel"], board, where)
        settings = tuning.machine_settings(board.boots)
        neighbour = self._neighbour(point, board, split, where)
        if neighbour and guest and board.architecture in ("", "arm64"):  # of which a vCPU may never sleep
            self.catalogue.neighbours[neighbour.name].check_starts(settings, guest.placement, where)
        workload = self.catalogue.workloads[point["workload"]]
        return Cell(
            board=board.name,
            kernel=point["kernel"],
            tuning=point["tuning"],
            split=point["split"],
            place=point["place"],
            # experiments with different guests share their host cells
            guest=NO_GUEST if on_host else point["guest"],
            workload=point["workload"],
            repetition=repetition,
            clock=board.clock,
            host_cpus=split.host_list,
            guest_cpus=split.guest_list,
            # the same physical core in both places: the difference is what virtualization costs
            measured_cpu=split.guest_cpus[-1] if on_host else len(split.guest_cpus) - 1,
            kernel_params=kernel_params,
            settings=settings,
            guest_state=guest,
            program=workload.program("host" if on_host else "guest", split, guest.scratch_mib if guest else 0, where),
            board_command=workload.board_command,
            neighbour=point["neighbour"],
            neighbour_state=neighbour,
            host_thread=self._host_thread(point, board, split, guest, neighbour, where),
            **self.cyclictest,
        )

    def _host_thread(
        self,
        point: Point,
        board: Board,
        split: Split,
        guest: GuestState | None,
        neighbour: NeighbourState | None,
        where: str,
    ) -> HostThread | None:
        if point["place"] != BOTH or guest is None:
            return None
        if self.both is None:
            raise InputError(
                f"{where} measures host and guest at the same time without saying on which core the host's cyclictest "
                "runs, expected a key such as both: {host_cpu: vcpu} in the matrix or the experiment; add it."
            )
        workload = self.catalogue.workloads[point["workload"]]
        return self.both.thread(
            self.cyclictest,
            board_cpus=board.cpus,
            board=board.name,
            split=split,
            guest=guest,
            neighbour=neighbour,
            load=point["workload"] if workload.board_command else "",
        )

    def _neighbour(self, point: Point, board: Board, split: Split, where: str) -> NeighbourState | None:
        if point["neighbour"] == NO_NEIGHBOUR:
            return None
        kernels, board_kernel = self.catalogue.kernels, board.guest_kernel or point["kernel"]
        entry = self.catalogue.neighbours[point["neighbour"]]
        state = entry.state(split, self.catalogue.workloads, board_kernel, board.gic, kernels, where)
        self._check_guest_kernel(f"neighbour '{entry.name}'", state.guest, point["kernel"], board, where)
        return state

    def _check_guest_kernel(self, what: str, state: GuestState, kernel: str, board: Board, where: str) -> None:
        """Check that a guest has a kernel of the catalogue that the board can run."""
        if state.kernel == RUNNING:
            raise InputError(
                f"{where}: {what} on board '{board.name}' has no kernel of its own, expected one of the catalogue, "
                "since the board's is not rtvirt's; set guest_kernel in the inventory."
            )
        if kernel != RUNNING:  # the architecture of the running kernel is unknown
            kernels = self.catalogue.kernels
            check_architecture(
                what, state.flavour, kernels[state.kernel].architecture, kernels[kernel].architecture, where
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
        if kernel != RUNNING and board.architecture:
            architecture = self.catalogue.kernels[kernel].architecture
            if architecture != board.architecture:
                raise InputError(
                    f"{where}: kernel '{kernel}' is for {architecture}, but board '{board.name}' is of "
                    f"{board.architecture} (its board_image_profile), expected a kernel for that; use one, or exclude "
                    "this board."
                )

    def _split_of(self, name: str, board: Board, where: str) -> Split:
        split = self.splits[name]
        for key, cpus in (("host_cpus", split.host_cpus), ("guest_cpus", split.guest_cpus)):
            if cpus[-1] >= board.cpus:
                raise InputError(
                    f"{self.where}: splits.{name}.{key} is '{format_cpu_list(cpus)}' but board '{board.name}' has only "
                    f"cores {format_cpu_list(range(board.cpus))}; use another split or exclude this one in {where}."
                )
        return split


def _check_lab(lab: Lab, catalogue: Catalogue) -> None:
    """Check that the kernels that a lab names are in the catalogue."""
    for name, kernels in lab.kernels.items():
        for role, kernel in kernels.items():
            where = f"Inventory: rtvirt_board_kernels of board '{name}': {role}"
            checked_yaml.known(kernel, [*catalogue.kernels, RUNNING], "kernel", where)
    for board in lab.boards.values():
        if board.guest_kernel:
            where = f"Inventory: guest_kernel of board '{board.name}'"
            checked_yaml.known(board.guest_kernel, list(catalogue.kernels), "kernel", where)


def _repetitions(value: Any, where: str) -> int:
    return checked_yaml.require_int(value, (1, 1000), where)


def _check_traces(experiments: Iterable[Experiment], where: str) -> None:
    """Check that experiments that share a cell ask for the same trace of it, if they ask for one."""
    asked: dict[Cell, Experiment] = {}
    for experiment in experiments:
        for cell in experiment.cells if experiment.trace else ():
            first = asked.setdefault(cell, experiment)
            if first.trace != experiment.trace:
                raise InputError(
                    f"{where}: experiments.{experiment.name}.trace is {experiment.trace} and that of experiments."
                    f"{first.name} is {first.trace}, but they share cell {cell.axes}, expected one threshold for it; "
                    "make them the same."
                )


def _views(value: Any, where: str) -> tuple[str, ...]:
    views = value if isinstance(value, list) else [value]
    if not views:
        raise InputError(f"{where} is empty, expected one or more of {', '.join(VIEWS)}; fill or remove it.")
    for view in views:
        checked_yaml.known(view, VIEWS, "view", where)
    return tuple(dict.fromkeys(views))


def _splits(body: Any, where: str) -> dict[str, Split]:
    splits: dict[str, Split] = {}
    for name, entry in checked_yaml.require_nonempty(body, where).items():
        splits[name] = _split(entry, f"{where}.{checked_yaml.name(name, where)}")
    return splits


def _split(body: Any, where: str) -> Split:
    lists = checked_yaml.mapping(body, where)
    checked_yaml.known_keys(lists, ("host_cpus", "guest_cpus"), where)
    split = Split(
        _cpus(lists.get("host_cpus"), f"{where}.host_cpus"), _cpus(lists.get("guest_cpus"), f"{where}.guest_cpus")
    )
    if shared := set(split.host_cpus) & set(split.guest_cpus):
        raise InputError(
            f"{where}: host_cpus '{split.host_list}' and guest_cpus '{split.guest_list}' overlap on core "
            f"{format_cpu_list(shared)}, expected each core in one of them; take it out of one."
        )
    return split


def _cpus(value: Any, where: str) -> tuple[int, ...]:
    text = str(value) if checked_yaml.is_int(value) else value
    if not isinstance(text, str):
        raise InputError(
            f"{where} is {checked_yaml.format_value(value)}, expected a list of cores such as '0,2-3' (in quotes)."
        )
    try:
        cpus = parse_cpu_list(text)
    except ValueError as error:
        raise InputError(f"{where}: {error}; correct it.") from error
    if not cpus:
        raise InputError(f"{where} is empty, expected one or more cores such as '0,2-3'; fill it.")
    return cpus


def _cyclictest(body: Any, where: str) -> dict[str, int]:
    settings = checked_yaml.require_nonempty(body, where)
    checked_yaml.known_keys(settings, (*_LIMITS, _LATE), where)
    given = {
        key: checked_yaml.require_int(settings.get(key), limits, f"{where}.{key}") for key, limits in _LIMITS.items()
    }
    if _LATE in settings:
        # beyond the histogram's end, a wake-up in the list could not be compared with its bucket
        most = given["histogram_us"] - 1
        given[_LATE] = checked_yaml.require_int(settings[_LATE], (1, most), f"{where}.{_LATE}")
    return given
