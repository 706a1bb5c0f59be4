"""The named things that a matrix may ask for: kernels, tunings, guests, workloads."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rtvirt_runner.catalogue import checked_yaml, collection
from rtvirt_runner.catalogue.guests import Guest, load_guests
from rtvirt_runner.catalogue.kernels import ARCHITECTURES, Kernel, load_kernels, read_kernels
from rtvirt_runner.catalogue.lab import Lab
from rtvirt_runner.catalogue.tunings import Tunings
from rtvirt_runner.catalogue.workloads import Workload, load_workloads, read_workloads


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


_SECTIONS: Mapping[str, Callable[[dict[str, Any], str], Any]] = {
    "kernels": read_kernels,
    "tunings": Tunings,
    "workloads": read_workloads,
}
SECTIONS = (*_SECTIONS, "architectures")


def section(name: str, vars_dir: Path = collection.VARS) -> dict[str, Any]:
    """The entries of one of SECTIONS as plain values, for roles: checked, and in the form of the file that holds them.

    ``architectures`` are those of kernels.ARCHITECTURES. Raises InputError when an entry is wrong.
    """
    checked_yaml.known(name, SECTIONS, "section", "the catalogue")
    if name == "architectures":
        return {each: asdict(architecture) for each, architecture in ARCHITECTURES.items()}
    path = vars_dir / f"{name}.yml"
    entries = checked_yaml.section(checked_yaml.load_yaml(path), name, str(path))
    _SECTIONS[name](entries, f"{path}: {name}")
    return entries
