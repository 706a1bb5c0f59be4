"""The named things that a matrix may ask for: kernels, tunings, guests, workloads."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rtvirt_runner.catalogue import checked_yaml
from rtvirt_runner.catalogue.guests import Guest, load_guests
from rtvirt_runner.catalogue.lab import Lab
from rtvirt_runner.catalogue.tunings import Tunings
from rtvirt_runner.catalogue.workloads import Workload, load_workloads


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
    entries = checked_yaml.section(checked_yaml.load_yaml(path), "kernels", f"{path}")
    for name, entry in entries.items():
        checked_yaml.name(name, f"{path}: kernels")
        checked_yaml.mapping(entry, f"{path}: kernels.{name}")
    return entries
