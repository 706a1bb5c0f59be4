"""The named things that a matrix may ask for: kernels, tunings, guests, workloads."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rtvirt_runner.catalogue.guests import Guest, load_guests
from rtvirt_runner.catalogue.kernels import Kernel, load_kernels
from rtvirt_runner.catalogue.lab import Lab
from rtvirt_runner.catalogue.tunings import Tunings
from rtvirt_runner.catalogue.workloads import Workload, load_workloads


@dataclass(frozen=True)
class Catalogue:
    """The named things that a matrix may ask for, checked, each by its name."""

    kernels: dict[str, Kernel]
    tunings: Tunings
    workloads: dict[str, Workload]
    guests: dict[str, Guest]

    @classmethod
    def load(cls, vars_dir: Path, lab: Lab | None = None) -> Catalogue:
        """Read kernels, tunings, guests and workloads of a folder, and the lab's own workloads.

        Raises InputError when something in them is unusable.
        """
        kernels = load_kernels(vars_dir / "kernels.yml")
        tunings = Tunings.load(vars_dir / "tunings.yml")
        workloads = load_workloads(vars_dir / "workloads.yml", lab.workloads if lab else {})
        return cls(kernels, tunings, workloads, load_guests(vars_dir / "guests.yml", kernels))
