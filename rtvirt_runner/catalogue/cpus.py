"""CPU lists and masks in the kernel's format, and splits of a machine's cores."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass


def parse_cpu_list(text: str) -> tuple[int, ...]:
    """Read a kernel-style CPU list: ``'0,2-3'`` gives ``(0, 2, 3)``; ``''`` gives ``()``.

    Raises ValueError for invalid syntax, a core named twice, or a range that runs backwards.
    """
    cpus: list[int] = []
    for part in text.split(",") if text.strip() else []:
        match = re.fullmatch(r"\s*(\d{1,4})(?:-(\d{1,4}))?\s*", part)
        if match is None:
            raise ValueError(f"'{text[:40]}' is not a list of cores such as '0,2-3'")
        first, last = int(match[1]), int(match[2] or match[1])
        if last < first:
            raise ValueError(f"'{text[:40]}' counts the range {first}-{last} backwards")
        cpus.extend(range(first, last + 1))
        if len(cpus) > 10_000:  # there are no more numbers of four digits
            break
    if len(set(cpus)) != len(cpus):
        raise ValueError(f"'{text[:40]}' names a core twice")
    return tuple(sorted(cpus))


def format_cpu_list(cpus: Iterable[int]) -> str:
    """Format cores as a kernel-style CPU list: ``(0, 2, 3)`` gives ``'0,2-3'``."""
    runs: list[list[int]] = []
    for cpu in sorted(set(cpus)):
        if runs and runs[-1][-1] == cpu - 1:
            runs[-1].append(cpu)
        else:
            runs.append([cpu])
    return ",".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)


def cpu_mask(cpus: Iterable[int]) -> str:
    """The kernel's hexadecimal mask, groups of 32 cores, the highest first: ``(0, 33)`` gives ``'2,00000001'``."""
    bits = sum(1 << cpu for cpu in set(cpus))
    groups: list[int] = []
    while bits or not groups:
        groups.append(bits & 0xFFFFFFFF)
        bits >>= 32
    return ",".join([f"{groups[-1]:x}", *(f"{group:08x}" for group in groups[-2::-1])])


@dataclass(frozen=True)
class Split:
    """The housekeeping cores of a machine, and its isolated cores for real-time work."""

    host_cpus: tuple[int, ...]
    guest_cpus: tuple[int, ...]

    @property
    def host_list(self) -> str:
        """The housekeeping cores as a kernel-style CPU list."""
        return format_cpu_list(self.host_cpus)

    @property
    def guest_list(self) -> str:
        """The isolated cores as a kernel-style CPU list."""
        return format_cpu_list(self.guest_cpus)
