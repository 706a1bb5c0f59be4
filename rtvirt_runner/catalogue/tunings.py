"""Tunings: named sets of settings, and their ablations.

Boot and board settings apply inside a partitioned guest too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rtvirt_runner.catalogue import checked_yaml
from rtvirt_runner.catalogue.checked_yaml import InputError
from rtvirt_runner.catalogue.cpus import Split
from rtvirt_runner.catalogue.settings import SETTINGS, check_settings, kernel_params, words_of

MINUS = "-minus-"
EACH = "each"  # full-minus-each: one tuning per setting of full


@dataclass(frozen=True)
class Tuning:
    """A named set of settings: setting -> its value, ``True`` where it has none."""

    name: str
    title: str
    settings: Mapping[str, Any]

    def minus(self, setting: str) -> Tuning:
        """The ablation of one setting: the tuning without it and without the settings that require it."""
        left = {
            name: value for name, value in self.settings.items() if setting not in (name, SETTINGS[name].needed(value))
        }
        return Tuning(f"{self.name}{MINUS}{setting}", f"{self.name} without {setting}", left)

    def inside(self) -> Tuning:
        """The tuning inside a guest: without the settings that apply only to a hypervisor."""
        inner = {name: value for name, value in self.settings.items() if not SETTINGS[name].of_hypervisor}
        return Tuning(self.name, self.title, inner)

    def kernel_params(self, split: Split, isolcpus_flags: bool = True) -> tuple[str, ...]:
        """The kernel parameters of its settings. Kernels before 4.15 do not support flags of isolcpus."""
        flags = str(self.settings.get("isolcpus")) if isolcpus_flags else "plain"
        return kernel_params(self.settings, split, flags)

    def machine_settings(self, boots: bool = True) -> tuple[str, ...]:
        """Words of the settings of a machine: boot settings, and those applied while it runs.

        If the machine must not be rebooted (``boots`` is False), boot settings are left out or replaced.
        """
        if boots:
            return words_of(self.settings, ("boot", "board"))
        instead = {SETTINGS[name].without_boot: True for name in self.settings}
        return words_of({**instead, **self.settings}, ("board",))

    def placement(self, split: Split) -> dict[str, Any]:
        """How QEMU's threads are placed: ``mode`` none, process or threads, with cores, policy and priority."""
        if process := self.settings.get("qemu_process"):
            return {"mode": "process", "cpus": split.guest_list, **process}
        if threads := self.settings.get("vcpu_threads"):
            return {"mode": "threads", "cpus": split.guest_list, "others_cpus": split.host_list, **threads}
        return {"mode": "none"}


class Tunings:
    """The tunings of a catalogue, and their ablations."""

    def __init__(self, entries: Mapping[str, Any], where: str) -> None:
        """Validate every entry; raises InputError."""
        self._where = where
        self._declared = {name: _tuning(name, body, f"{where}.{name}") for name, body in entries.items()}

    @classmethod
    def load(cls, path: Path) -> Tunings:
        """Read a tunings file; raises InputError."""
        return cls(checked_yaml.section(checked_yaml.load_yaml(path), "tunings", str(path)), f"{path}: tunings")

    def __iter__(self) -> Iterator[str]:
        return iter(self._declared)

    def expand(self, value: Any, where: str) -> list[str]:
        """The tunings that a value of the axis names: itself, or every ablation for ``full-minus-each``.

        Raises InputError for an unknown tuning.
        """
        base, minus, setting = str(value).partition(MINUS)
        if not isinstance(value, str) or not minus:
            checked_yaml.known(value, list(self._declared), "tuning", where)
            return [str(value)]
        checked_yaml.known(base, list(self._declared), "tuning", where)
        settings = list(self._declared[base].settings)
        if not settings:
            raise InputError(
                f"{where}: tuning '{value}' takes a setting away from '{base}', which has none, expected a tuning with "
                "settings; remove it."
            )
        checked_yaml.known(setting, [*settings, EACH], f"setting of tuning {base}", where)
        return [f"{base}{MINUS}{each}" for each in settings] if setting == EACH else [value]

    def __getitem__(self, name: str) -> Tuning:
        """A tuning by a name that ``expand`` returned."""
        base, minus, setting = name.partition(MINUS)
        return self._declared[base].minus(setting) if minus else self._declared[base]


def _tuning(name: str, body: Any, where: str) -> Tuning:
    checked_yaml.name(name, where)
    if MINUS in name:
        raise InputError(f"{where}: a name with '{MINUS}' is that of an ablation, expected another; rename it.")
    checked_yaml.known_keys(checked_yaml.mapping(body, where), ("title", "settings"), where)
    settings = checked_yaml.mapping(body.get("settings"), f"{where}.settings")
    check_settings(settings, f"{where}.settings")
    return Tuning(name, checked_yaml.text(body.get("title", name), f"{where}.title"), settings)
