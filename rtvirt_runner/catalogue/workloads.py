"""Workloads: programs that run in the foreground while cyclictest measures, and how their output is parsed."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rtvirt_runner.catalogue import checked_yaml
from rtvirt_runner.catalogue.checked_yaml import InputError
from rtvirt_runner.catalogue.cpus import Split, format_cpu_list

CORES = ("measured", "others")
FOLDERS = ("memory", "disk")
TEXT, PATTERN = "text", "pattern"
PRINTS = ("json", "sysbench", PATTERN, TEXT)  # format of a workload's output, parsed by parsers/workload.py
ORIGINS = ("sources", "archive", "git", "debian_source", "package")  # origin of its program

# Programs that are no workloads: rtvirt-NAME is for scripts of machines.
HELPERS = {"read-clocks": ["helpers/read_clocks.c"]}

_TEXTS = ("title", "command", "board_command", "prepare", "cleanup", "pattern", "digest", "build")
_CHOICES = {"core": CORES, "folder": FOLDERS, "prints": PRINTS}
_KEYS = (*_TEXTS, *_CHOICES, "repeat", *ORIGINS)
_DIGEST = re.compile(r"[0-9a-f]{8,64}")


@dataclass(frozen=True)
class Program:
    """How a workload is run in a place, for the role measure. Part of a cell, and so of its id: see Cell.id."""

    command: str
    prepare: str
    cleanup: str
    cpus: str  # CPU list that it runs on
    repeat: bool
    folder: str  # of FOLDERS
    prints: str  # of PRINTS
    pattern: str
    digest: str

    def as_dict(self) -> dict[str, Any]:
        """The program as plain values, for cell.json."""
        return dict(vars(self))  # flat: nothing to copy

    @classmethod
    def from_dict(cls, values: Any) -> Program:
        """The inverse of as_dict; raises InputError when a field is missing, unknown or of another type."""
        given = checked_yaml.typed_fields(values, cls, "The program of a cell")
        checked_yaml.known(given["prints"], PRINTS, "format", "The program of a cell: prints")
        return cls(**given)


@dataclass(frozen=True)
class Workload:
    """One entry of the workloads file, or of a lab's own."""

    name: str
    title: str
    command: str = ""  # on the measured core; empty: nothing runs
    board_command: str = ""  # on the board at the same time, whatever the place of the cell
    prepare: str = ""  # run before cyclictest
    cleanup: str = ""  # run after cyclictest
    core: str = CORES[0]
    repeat: bool = False  # whether to restart a program that ends
    folder: str = FOLDERS[0]  # where its working folder is
    prints: str = TEXT
    pattern: str = ""
    digest: str = ""  # digest of the correct result
    origin: Mapping[str, Any] = field(default_factory=dict, hash=False)  # of ORIGINS, and ``build``

    def program(self, place: str, split: Split, scratch_mib: int, where: str) -> Program | None:
        """The program in a place; None if the workload has no command.

        Raises InputError when the place has no core or no disk for it.
        """
        if not self.command:
            return None
        if self.folder == "disk" and place == "guest" and not scratch_mib:
            raise InputError(
                f"{where}: workload '{self.name}' writes to a disk and the guest has none, expected a guest with "
                "scratch_mib; use one such as 'minimal-scratch'."
            )
        return self._program(self._cpus(place, split, where))

    def load(self, vcpus: int) -> Program:
        """The program as the load of a machine with so many vCPUs, on any of them; for a workload with a command."""
        return self._program(format_cpu_list(range(vcpus)))

    def _program(self, cpus: str) -> Program:
        return Program(
            command=self.command,
            prepare=self.prepare,
            cleanup=self.cleanup,
            cpus=cpus,
            repeat=self.repeat,
            folder=self.folder,
            prints=self.prints,
            pattern=self.pattern,
            digest=self.digest,
        )

    def _cpus(self, place: str, split: Split, where: str) -> str:
        inside = range(len(split.guest_cpus))
        measured = split.guest_cpus[-1] if place == "host" else inside[-1]
        if self.core == "measured":
            return str(measured)
        others = split.host_cpus if place == "host" else inside[:-1]
        if not others:
            raise InputError(
                f"{where}: workload '{self.name}' runs on other cores than the measured one, and the split gives the "
                "guest a single vCPU, expected two or more; use another split."
            )
        return format_cpu_list(others)


@dataclass(frozen=True)
class Package:
    """A program of a Debian package."""

    name: str
    program: str


@dataclass(frozen=True)
class Origins:
    """The origins of the programs of workloads, for the role workloads."""

    programs: dict[str, list[str]]  # workload or helper -> C files, as named in its entry
    files: list[Path]  # paths of these files, and of the headers in their folders
    built: list[dict[str, Any]]  # programs built from third-party source: name, build, debian_source, download
    packages: list[Package]


def origins(entries: Mapping[str, Any], folders: Sequence[Path]) -> Origins:
    """The origins of the programs of a catalogue's entries; C files are searched for in ``folders``, in that order.

    Headers in the folder of a C file count as its source.

    Raises InputError for an invalid entry or a missing file.
    """
    workloads = list(read_workloads(entries, "workloads").values())
    programs = HELPERS | {each.name: list(each.origin["sources"]) for each in workloads if "sources" in each.origin}
    files = [_found(file, folders, name) for name, those in programs.items() for file in those]
    built = [
        {
            "name": each.name,
            "build": each.origin["build"],
            "debian_source": each.origin.get("debian_source", ""),
            "download": each.origin.get("archive", each.origin.get("git")),
        }
        for each in workloads
        if "build" in each.origin
    ]
    packages = [_package(each.origin["package"]) for each in workloads if "package" in each.origin]
    headers = sorted({header for file in files for header in file.parent.glob("*.h")})
    return Origins(programs, [*dict.fromkeys(files), *headers], built, list(dict.fromkeys(packages)))


def _found(file: str, folders: Sequence[Path], name: str) -> Path:
    for folder in folders:
        if (folder / file).is_file():
            return folder / file
    places = " or ".join(str(folder) for folder in folders)
    raise InputError(f"workloads.{name}.sources: there is no file '{file}' in {places}; put it there, or correct it.")


def _package(value: Any) -> Package:
    return Package(value, value) if isinstance(value, str) else Package(value["name"], value["program"])


def read_workloads(entries: Mapping[str, Any], where: str) -> dict[str, Workload]:
    """Validate the entries of a workloads file; raises InputError."""
    return {name: _workload(name, body, f"{where}.{name}") for name, body in entries.items()}


def load_workloads(path: Path, of_lab: Mapping[str, Any] | None = None) -> dict[str, Workload]:
    """Read a workloads file and the lab's own entries; raises InputError for an invalid entry."""
    shipped = checked_yaml.section(checked_yaml.load_yaml(path), "workloads", str(path))
    workloads = read_workloads(shipped, f"{path}: workloads")
    for name, body in (of_lab or {}).items():
        where = f"Inventory: rtvirt_lab_workloads.{name}"
        if name in workloads:
            raise InputError(f"{where}: there is a workload '{name}' already, expected another name; rename it.")
        workloads[name] = _workload(name, body, where)
    return workloads


def _workload(name: str, body: Any, where: str) -> Workload:
    checked_yaml.name(name, where)
    if name in HELPERS:
        raise InputError(f"{where}: 'rtvirt-{name}' is a program of rtvirt's own, expected another name; rename it.")
    body = checked_yaml.require_nonempty(body, where)
    checked_yaml.known_keys(body, _KEYS, where)
    said = {key: checked_yaml.text(body.get(key, ""), f"{where}.{key}").strip() for key in _TEXTS}
    chosen = {"core": CORES[0], "folder": FOLDERS[0], "prints": TEXT} | {
        key: body[key] for key in _CHOICES if key in body
    }
    for key, allowed in _CHOICES.items():
        checked_yaml.known(chosen[key], allowed, key, f"{where}.{key}")
    repeat = checked_yaml.require_bool(body.get("repeat", False), f"{where}.repeat")
    build = said.pop("build")
    workload = Workload(
        name=name,
        **{**said, "title": said["title"] or name},
        repeat=repeat,
        **chosen,
        origin={key: body[key] for key in ORIGINS if key in body} | ({"build": build} if build else {}),
    )
    _check(workload, where)
    return workload


def _check(workload: Workload, where: str) -> None:
    """Validate combinations of keys."""
    _check_origin(workload.origin, where)
    if workload.digest and not _DIGEST.fullmatch(workload.digest):
        raise InputError(
            f"{where}.digest is {checked_yaml.format_value(workload.digest)}, "
            "expected 8 to 64 hexadecimal digits (in quotes)."
        )
    if (workload.prints == PATTERN) != bool(workload.pattern):
        raise InputError(
            f"{where}: 'prints: pattern' and the key 'pattern' go together, expected both or none; add the other."
        )
    try:
        groups = re.compile(workload.pattern).groupindex
    except re.error as error:
        raise InputError(f"{where}.pattern is no regular expression ({error}); correct it.") from error
    if workload.pattern and "seconds_per_iteration" not in groups:
        raise InputError(
            f"{where}.pattern has no group 'seconds_per_iteration', expected (?P<seconds_per_iteration>...); name one."
        )


def _check_origin(origin: Mapping[str, Any], where: str) -> None:
    kinds = [kind for kind in ORIGINS[1:] if kind in origin]
    if len(kinds) > 1:
        raise InputError(f"{where} has both '{kinds[0]}' and '{kinds[1]}', expected one of {', '.join(ORIGINS[1:])}.")
    if ("build" in origin) != bool(kinds and kinds[0] != "package"):
        raise InputError(
            f"{where}: 'build' goes with one of archive, git and debian_source, expected both or none; add the other."
        )
    checks = {
        "sources": _check_sources,
        "archive": _check_archive,
        "git": _check_git,
        "debian_source": checked_yaml.text,
        "package": _check_package,
    }
    for kind, check in checks.items():
        if kind in origin:
            check(origin[kind], f"{where}.{kind}")


def _check_sources(value: Any, where: str) -> None:
    if not (isinstance(value, list) and value and all(isinstance(each, str) for each in value)):
        raise InputError(f"{where} is {checked_yaml.format_value(value)}, expected a list of C files.")


def _check_archive(value: Any, where: str) -> None:
    sha256 = _texts(value, ("url", "sha256"), where)["sha256"]
    if not re.fullmatch(r"[0-9a-f]{64}", sha256):
        raise InputError(
            f"{where}.sha256 is {checked_yaml.format_value(sha256)}, "
            "expected 64 hexadecimal digits: what sha256sum says of the "
            "file."
        )


def _check_git(value: Any, where: str) -> None:
    commit = _texts(value, ("url", "commit"), where)["commit"]
    if not re.fullmatch(r"[0-9a-f]{40}", commit):
        raise InputError(
            f"{where}.commit is {checked_yaml.format_value(commit)}, "
            "expected a full commit id of 40 hexadecimal digits, since a "
            "branch or tag can move."
        )


def _check_package(value: Any, where: str) -> None:
    if not isinstance(value, str):
        _texts(value, ("name", "program"), where)


def _texts(value: Any, keys: Sequence[str], where: str) -> dict[str, str]:
    """A mapping with exactly these keys, to text; raises InputError."""
    given = checked_yaml.require_nonempty(value, where)
    checked_yaml.known_keys(given, keys, where)
    return {key: checked_yaml.text(given.get(key), f"{where}.{key}") for key in keys}
