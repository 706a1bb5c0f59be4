"""Neighbours: a second KVM guest on the board while a cell is measured, and the load that runs in it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rtvirt_runner.catalogue import checked_yaml
from rtvirt_runner.catalogue.checked_yaml import InputError
from rtvirt_runner.catalogue.cpus import Split
from rtvirt_runner.catalogue.guests import GICS, Guest, GuestState
from rtvirt_runner.catalogue.kernels import Kernel
from rtvirt_runner.catalogue.tunings import Tuning
from rtvirt_runner.catalogue.workloads import Program, Workload

NO_NEIGHBOUR = "none"
CORES = ("host", "guest")  # of the split: those of the board's housekeeping, or those that the measured guest has
_KEYS = ("title", "cores", "load", "vcpus", "memory_mib", "gic", "kernel", "scratch_mib")
_UNTUNED = Tuning("none", "", {})  # a neighbour is an ordinary guest, whatever the tuning of the measured one


@dataclass(frozen=True)
class NeighbourState:
    """Everything that defines a running neighbour. Part of a cell, and so of its id: see Cell.id."""

    name: str  # of its entry
    cores: str  # of CORES
    guest: GuestState = field(hash=False)
    load: Mapping[str, Program] = field(hash=False)  # workload -> its program, all at the same time; empty: it is idle

    def as_dict(self) -> dict[str, Any]:
        """The state as plain values, for Ansible and for cell.json."""
        load = {name: program.as_dict() for name, program in self.load.items()}
        return {"name": self.name, "cores": self.cores, "guest": self.guest.as_dict(), "load": load}

    @classmethod
    def from_dict(cls, values: Any) -> NeighbourState:
        """The inverse of as_dict; raises InputError when a field is missing, unknown or of another type."""
        given = checked_yaml.typed_fields(values, cls, "The neighbour_state of a cell")
        load = checked_yaml.mapping(given["load"], "The neighbour_state of a cell: load")
        programs = {name: Program.from_dict(program) for name, program in load.items()}
        return cls(**{**given, "guest": GuestState.from_dict(given["guest"]), "load": programs})


@dataclass(frozen=True)
class Neighbour:
    """One entry of the neighbours file."""

    name: str
    title: str
    cores: str  # of CORES
    load: tuple[str, ...]  # workloads
    vcpus: int
    memory_mib: int
    gic: str  # of GICS; empty: the board's
    kernel: str  # of the catalogue; empty: the board's
    scratch_mib: int  # of a disk for loads that write to one; 0: none

    def state(
        self,
        split: Split,
        workloads: Mapping[str, Workload],
        board_kernel: str,
        board_gic: str,
        kernels: Mapping[str, Kernel],
        where: str,
    ) -> NeighbourState:
        """The state of the running neighbour on a split. Raises InputError when the split has too few cores for it."""
        if self.cores == "guest" and self.vcpus > len(split.guest_cpus):
            raise InputError(
                f"{where}: neighbour '{self.name}' has {self.vcpus} vCPUs, each on a core of the guest, but the split "
                f"gives the guest {len(split.guest_cpus)}, expected as many or more; use another split or neighbour."
            )
        guest = Guest(
            name=self.name,
            title=self.title,
            flavour="minimal",
            memory_mib=self.memory_mib,
            gic=self.gic,
            kernel=self.kernel,
            housekeeping_vcpus=0,
            scratch_mib=self.scratch_mib,
        )
        own = Split((), tuple(range(self.vcpus)))
        state = guest.state(_UNTUNED, own, board_kernel, board_gic, kernels, where, self._placement(split))
        load = {name: workloads[name].load(self.vcpus) for name in self.load}
        return NeighbourState(self.name, self.cores, state, load)

    def check_starts(self, settings: Iterable[str], placement: Mapping[str, Any], where: str) -> None:
        """Check that the measured guest leaves it something of the cores that it shares.

        ``settings`` are the words of the board's settings, ``placement`` that of the measured guest's QEMU. Raises
        InputError when a vCPU that never sleeps would keep the cores for itself.
        """
        if self.cores == "guest" and "guest_idle" in settings and placement.get("policy") in ("fifo", "rr"):
            raise InputError(
                f"{where}: neighbour '{self.name}' shares the guest's cores, which a real-time vCPU never gives back "
                "with the setting guest_idle, so it would never run, expected a neighbour on the host's cores; use "
                "one, or exclude this tuning."
            )

    def _placement(self, split: Split) -> dict[str, Any]:
        """An ordinary guest, without priority: all of QEMU on the host's cores, or its vCPUs on the guest's."""
        ordinary = {"policy": "other", "priority": 0}
        if self.cores == "host":
            return {"mode": "process", "cpus": split.host_list, **ordinary}
        return {"mode": "threads", "cpus": split.guest_list, "others_cpus": split.host_list, **ordinary}


def load_neighbours(
    path: Path, kernels: Mapping[str, Kernel], workloads: Mapping[str, Workload]
) -> dict[str, Neighbour]:
    """Read a neighbours file; raises InputError for an invalid entry."""
    entries = checked_yaml.section(checked_yaml.load_yaml(path), "neighbours", str(path))
    return {
        name: _neighbour(name, body, kernels, workloads, f"{path}: neighbours.{name}") for name, body in entries.items()
    }


def _neighbour(
    name: str, body: Any, kernels: Mapping[str, Kernel], workloads: Mapping[str, Workload], where: str
) -> Neighbour:
    checked_yaml.name(name, where)
    if name == NO_NEIGHBOUR:
        raise InputError(f"{where}: 'none' means that no neighbour runs, expected another name; rename it.")
    body = checked_yaml.require_nonempty(body, where)
    checked_yaml.known_keys(body, _KEYS, where)
    checked_yaml.known(body.get("cores"), CORES, "cores", f"{where}.cores")
    if "gic" in body:
        checked_yaml.known(body["gic"], GICS, "GIC", f"{where}.gic")
    if "kernel" in body:
        checked_yaml.known(body["kernel"], list(kernels), "kernel", f"{where}.kernel")
    scratch_mib = checked_yaml.require_int(body.get("scratch_mib", 0), (0, 1 << 20), f"{where}.scratch_mib")
    return Neighbour(
        name=name,
        title=checked_yaml.text(body.get("title", name), f"{where}.title"),
        cores=body["cores"],
        load=_load(body.get("load", []), workloads, scratch_mib, f"{where}.load"),
        vcpus=checked_yaml.require_int(body.get("vcpus", 1), (1, 64), f"{where}.vcpus"),
        memory_mib=checked_yaml.require_int(body.get("memory_mib", 256), (32, 1 << 20), f"{where}.memory_mib"),
        gic=body.get("gic", ""),
        kernel=body.get("kernel", ""),
        scratch_mib=scratch_mib,
    )


def _load(value: Any, workloads: Mapping[str, Workload], scratch_mib: int, where: str) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise InputError(f"{where} is {checked_yaml.format_value(value)}, expected a list of workloads.")
    for number, name in enumerate(value):
        checked_yaml.known(name, list(workloads), "workload", where)
        if name in value[:number]:
            raise InputError(f"{where} names '{name}' twice, expected each workload once; remove one.")
        if not workloads[name].command:
            raise InputError(
                f"{where}: workload '{name}' has no command, expected one that runs a program; remove it (a neighbour "
                "without a load is idle)."
            )
        if workloads[name].folder == "disk" and not scratch_mib:
            raise InputError(
                f"{where}: workload '{name}' writes to a disk and the neighbour has none, expected scratch_mib; add it."
            )
    return tuple(value)
