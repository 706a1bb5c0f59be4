"""The board's own cyclictest in a cell whose place is both: its core, and how often and how closely it looks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from rtvirt_runner.catalogue import checked_yaml
from rtvirt_runner.catalogue.checked_yaml import InputError
from rtvirt_runner.catalogue.cpus import Split, format_cpu_list, parse_cpu_list
from rtvirt_runner.catalogue.guests import GuestState
from rtvirt_runner.catalogue.neighbours import NeighbourState

VCPU = "vcpu"  # in a matrix: the core of the measured vCPU
_KEYS = ("host_cpu", "interval_us", "late_us")


@dataclass(frozen=True)
class HostThread:
    """Part of a cell, and so of its id."""

    cpu: int  # of the board
    interval_us: int
    late_us: int  # its later wake-ups are listed with their times

    def as_dict(self) -> dict[str, int]:
        """As plain values, for Ansible and for cell.json."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Any) -> HostThread:
        """The inverse of as_dict; raises InputError when a field is missing, unknown or of another type."""
        return cls(**checked_yaml.typed_fields(values, cls, "The host_thread of a cell"))


@dataclass(frozen=True)
class AskedHostThread:
    """The key ``both`` of a matrix."""

    cpu: int | None  # None: the core of the measured vCPU
    interval_us: int | None  # None: as the cell's
    late_us: int | None  # None: as the cell's
    where: str  # for messages

    def thread(
        self,
        cyclictest: Mapping[str, int],
        *,
        board_cpus: int,
        board: str,
        split: Split,
        guest: GuestState,
        neighbour: NeighbourState | None,
        load: str,
    ) -> HostThread:
        """The thread of a cell; ``load`` names the workload that loads the board meanwhile, '' if none does.

        Raises InputError, one sentence, for a core that the board lacks, that is another vCPU's or shared with a load,
        and where the measured vCPU has no core of its own, or a priority that is not below the thread's.
        """
        if "late_us" not in cyclictest:
            raise InputError(
                f"{self.where}: the matrix lists no late wake-ups, expected cyclictest.late_us, since those are what "
                "is split between host and guest; add it."
            )
        key = f"{self.where}.host_cpu"
        if self.cpu is None:
            _check_vcpu(key, guest, cyclictest["priority"])
        else:
            _check_own_core(key, self.cpu, board, board_cpus, split)
            if load or (neighbour and neighbour.cores == "host"):
                what = f"workload '{load}'" if load else f"neighbour '{neighbour.name if neighbour else ''}'"
                raise InputError(
                    f"{key} is {self.cpu}, which it would share with {what} of the cell, expected '{VCPU}' there; give "
                    "the experiment a key both of its own, or exclude the cell."
                )
        late_us = cyclictest["late_us"] if self.late_us is None else self.late_us
        if late_us >= cyclictest["histogram_us"]:
            raise InputError(
                f"{self.where}.late_us is {late_us}, expected less than histogram_us, {cyclictest['histogram_us']}; "
                "correct it."
            )
        return HostThread(
            cpu=split.guest_cpus[-1] if self.cpu is None else self.cpu,
            interval_us=cyclictest["interval_us"] if self.interval_us is None else self.interval_us,
            late_us=late_us,
        )


def read_both(value: Any, where: str) -> AskedHostThread:
    """Read the key ``both``; raises InputError."""
    body = checked_yaml.require_nonempty(value, where)
    checked_yaml.known_keys(body, _KEYS, where)
    cpu = body.get("host_cpu")
    if cpu != VCPU and not (isinstance(cpu, int) and checked_yaml.is_int(cpu) and 0 <= cpu < 1 << 12):
        raise InputError(
            f"{where}.host_cpu is {checked_yaml.format_value(cpu)}, expected '{VCPU}' or the number of a core of the "
            "board; correct it."
        )
    limits = {"interval_us": (10, 10**6), "late_us": (1, 10**6)}
    given = {
        name: checked_yaml.require_int(body[name], between, f"{where}.{name}") if name in body else None
        for name, between in limits.items()
    }
    return AskedHostThread(None if cpu == VCPU else cpu, given["interval_us"], given["late_us"], where)


def _check_vcpu(key: str, guest: GuestState, priority: int) -> None:
    """Check that the measured vCPU has a core of its own, and a lower priority than cyclictest has."""
    placement = guest.placement
    cores = parse_cpu_list(str(placement.get("cpus", "")))
    if placement.get("mode") == "none" or (placement.get("mode") == "process" and len(cores) != 1):
        raise InputError(
            f"{key} is '{VCPU}', but the tuning leaves the vCPUs of guest '{guest.name}' to run on any of several "
            "cores, expected one for each; give the number of a core, or exclude the tuning."
        )
    vcpu_priority = int(placement.get("priority", 0))
    if vcpu_priority >= priority:
        raise InputError(
            f"{key} is '{VCPU}', where cyclictest with priority {priority} would never come before the vCPU with "
            f"{vcpu_priority}, expected a higher one; raise cyclictest.priority, give the number of "
            "a core, or exclude the tuning."
        )


def _check_own_core(key: str, cpu: int, board: str, board_cpus: int, split: Split) -> None:
    if cpu >= board_cpus:
        raise InputError(
            f"{key} is {cpu}, but board '{board}' has only cores {format_cpu_list(range(board_cpus))}, expected one of "
            "them; take another, or exclude the board."
        )
    if cpu in split.guest_cpus:
        raise InputError(
            f"{key} is {cpu}, which the split gives to a vCPU (guest_cpus '{split.guest_list}'), expected '{VCPU}' for "
            "the core of the measured vCPU, or a core of the board that the guest does not have; correct it."
        )
