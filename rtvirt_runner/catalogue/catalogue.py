"""The catalogue: the kernels, tunings, guests, workloads and neighbours that a matrix may name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rtvirt_runner.catalogue import checked_yaml, collection
from rtvirt_runner.catalogue.guests import Guest, load_guests
from rtvirt_runner.catalogue.kernels import ARCHITECTURES, Kernel, load_kernels, read_kernels
from rtvirt_runner.catalogue.lab import Lab
from rtvirt_runner.catalogue.neighbours import Neighbour, load_neighbours
from rtvirt_runner.catalogue.tunings import Tunings
from rtvirt_runner.catalogue.workloads import Workload, load_workloads, read_workloads


@dataclass(frozen=True)
class Catalogue:
    """The kernels, tunings, guests, workloads and neighbours that a matrix may name, validated, by name."""

    kernels: dict[str, Kernel]
    tunings: Tunings
    workloads: dict[str, Workload]
    guests: dict[str, Guest]
    neighbours: dict[str, Neighbour]

    @classmethod
    def load(cls, vars_dir: Path, lab: Lab | None = None) -> Catalogue:
        """Read the files of a folder, and the lab's own workloads.

        Raises InputError for an invalid entry.
        """
        kernels = load_kernels(vars_dir / "kernels.yml")
        tunings = Tunings.load(vars_dir / "tunings.yml")
        workloads = load_workloads(vars_dir / "workloads.yml", lab.workloads if lab else {})
        guests = load_guests(vars_dir / "guests.yml", kernels)
        neighbours = load_neighbours(vars_dir / "neighbours.yml", kernels, workloads)
        return cls(kernels, tunings, workloads, guests, neighbours)


_SECTIONS: Mapping[str, Callable[[dict[str, Any], str], Any]] = {
    "kernels": read_kernels,
    "tunings": Tunings,
    "workloads": read_workloads,
}
SECTIONS = (*_SECTIONS, "architectures")


def section(name: str, vars_dir: Path = collection.VARS) -> dict[str, Any]:
    """The entries of one section as plain values, for roles: validated, and in the form of their file.

    ``architectures`` are those of kernels.ARCHITECTURES. Raises InputError for an invalid entry or an unknown section.
    """
    checked_yaml.known(name, SECTIONS, "section", "the catalogue")
    if name == "architectures":
        return {each: asdict(architecture) for each, architecture in ARCHITECTURES.items()}
    path = vars_dir / f"{name}.yml"
    entries = checked_yaml.section(checked_yaml.load_yaml(path), name, str(path))
    _SECTIONS[name](entries, f"{path}: {name}")
    return entries
