"""Guests: the entries of the guests file, and the state that a cell requires of a guest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from rtvirt_runner.catalogue import checked_yaml
from rtvirt_runner.catalogue.checked_yaml import InputError
from rtvirt_runner.catalogue.cpus import Split
from rtvirt_runner.catalogue.kernels import ARCHITECTURES, Kernel
from rtvirt_runner.catalogue.tunings import Tuning

Gic = Literal["in_kernel", "user_space"]

FLAVOURS = ("minimal", "debian")
GICS = ("in_kernel", "user_space")
NO_GUEST = "none"
_KEYS = ("title", "flavour", "memory_mib", "gic", "kernel", "housekeeping_vcpus", "scratch_mib")


@dataclass(frozen=True)
class GuestState:
    """Everything that defines a running guest, for the role guest. Part of a cell, and so of its id: see Cell.id."""

    name: str  # of its entry
    flavour: str  # of FLAVOURS
    kernel: str  # of the catalogue
    vcpus: int
    memory_mib: int
    gic: str  # of GICS
    scratch_mib: int
    memory_lock: bool
    huge_pages: bool
    placement: Mapping[str, Any] = field(hash=False)  # of QEMU's threads (Tuning.placement)
    kernel_params: tuple[str, ...]  # this and what follows: of a partitioned guest, otherwise empty
    settings: tuple[str, ...]
    host_cpus: str  # CPU lists: its vCPUs for housekeeping, and those for real-time work
    guest_cpus: str

    def as_dict(self) -> dict[str, Any]:
        """The state as plain values, for Ansible and for cell.json."""
        lists = {"kernel_params": list(self.kernel_params), "settings": list(self.settings)}
        values = {name: getattr(self, name) for name in _FIELDS}
        return values | lists | {"placement": dict(self.placement)}

    @classmethod
    def from_dict(cls, values: Any) -> GuestState:
        """The inverse of as_dict; raises InputError when a field is missing, unknown or of another type."""
        given = checked_yaml.typed_fields(values, cls, "The guest_state of a cell")
        lists = {name: tuple(given[name]) for name in ("kernel_params", "settings")}
        return cls(**{**given, **lists})


_FIELDS = tuple(item.name for item in fields(GuestState))


@dataclass(frozen=True)
class Guest:
    """One entry of the guests file."""

    name: str
    title: str
    flavour: str  # of FLAVOURS
    memory_mib: int
    gic: str  # of GICS; empty: the board's
    kernel: str  # of the catalogue; empty: the board's
    housekeeping_vcpus: int  # kept for the guest's own housekeeping when it is partitioned; 0: not partitioned
    scratch_mib: int  # of a disk for file I/O; 0: none

    def state(
        self,
        tuning: Tuning,
        split: Split,
        board_kernel: str,
        board_gic: str,
        kernels: Mapping[str, Kernel],
        where: str,
        placement: Mapping[str, Any] | None = None,
    ) -> GuestState:
        """The state of the running guest; split and tuning decide vCPUs, and placement unless it is given.

        Raises InputError when a partitioned guest would have no vCPU left to isolate.
        """
        vcpus = len(split.guest_cpus)
        if self.housekeeping_vcpus >= vcpus:
            raise InputError(
                f"{where}: guest '{self.name}' keeps {self.housekeeping_vcpus} of its vCPUs for housekeeping, but the "
                f"split gives it {vcpus}, expected one more or more; use another split or guest."
            )
        inner = Split(tuple(range(self.housekeeping_vcpus)), tuple(range(self.housekeeping_vcpus, vcpus)))
        partitioned = self.housekeeping_vcpus > 0
        kernel = self.kernel or board_kernel
        isolcpus_flags = kernels[kernel].isolcpus_flags if kernel in kernels else True
        return GuestState(
            name=self.name,
            flavour=self.flavour,
            kernel=kernel,
            vcpus=vcpus,
            memory_mib=self.memory_mib,
            gic=self.gic or board_gic,
            scratch_mib=self.scratch_mib,
            memory_lock="memory_lock" in tuning.settings,
            huge_pages="huge_pages" in tuning.settings,
            placement=tuning.placement(split) if placement is None else placement,
            kernel_params=tuning.inside().kernel_params(inner, isolcpus_flags) if partitioned else (),
            settings=tuning.inside().machine_settings() if partitioned else (),
            host_cpus=inner.host_list,
            guest_cpus=inner.guest_list,
        )


def check_architecture(what: str, flavour: str, own: str, board: str, where: str) -> None:
    """Check that a board can run a guest, by the architectures of the two kernels; ``what`` names the guest.

    Raises InputError when it cannot.
    """
    if flavour == "debian" and own != board:
        raise InputError(
            f"{where}: {what} is the board's own Debian (flavour debian), which is {board}, with a "
            f"kernel for {own}, expected one for {board}; give it another kernel, or the flavour minimal."
        )
    runs = ARCHITECTURES[board].kvm_guests
    if own not in runs:
        raise InputError(
            f"{where}: {what} has a kernel for {own}, which no board of {board} runs, expected one "
            f"for {' or '.join(runs)}; give it another kernel."
        )


def load_guests(path: Path, kernels: Mapping[str, Any]) -> dict[str, Guest]:
    """Read a guests file; raises InputError for an invalid entry."""
    entries = checked_yaml.section(checked_yaml.load_yaml(path), "guests", str(path))
    return {name: _guest(name, body, kernels, f"{path}: guests.{name}") for name, body in entries.items()}


def _guest(name: str, body: Any, kernels: Mapping[str, Any], where: str) -> Guest:
    checked_yaml.name(name, where)
    if name == NO_GUEST:
        raise InputError(f"{where}: 'none' means that no guest runs, expected another name; rename it.")
    body = checked_yaml.require_nonempty(body, where)
    checked_yaml.known_keys(body, _KEYS, where)
    checked_yaml.known(body.get("flavour"), FLAVOURS, "flavour", f"{where}.flavour")
    if "gic" in body:
        checked_yaml.known(body["gic"], GICS, "GIC", f"{where}.gic")
    if "kernel" in body:
        checked_yaml.known(body["kernel"], list(kernels), "kernel", f"{where}.kernel")
    return Guest(
        name=name,
        title=checked_yaml.text(body.get("title", name), f"{where}.title"),
        flavour=body["flavour"],
        memory_mib=checked_yaml.require_int(body.get("memory_mib", 256), (32, 1 << 20), f"{where}.memory_mib"),
        gic=body.get("gic", ""),
        kernel=body.get("kernel", ""),
        housekeeping_vcpus=checked_yaml.require_int(
            body.get("housekeeping_vcpus", 0), (0, 64), f"{where}.housekeeping_vcpus"
        ),
        scratch_mib=checked_yaml.require_int(body.get("scratch_mib", 0), (0, 1 << 20), f"{where}.scratch_mib"),
    )
