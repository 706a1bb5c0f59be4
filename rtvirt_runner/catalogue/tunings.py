"""Tunings and the settings they are made of: which there are, what each wants, and which are refused.

A setting belongs to one of three places. A boot setting is a kernel parameter, a board setting is
written to a running machine by the role cpu_isolation, a guest setting says how the role guest starts and places QEMU.
Boot and board settings apply inside a partitioned guest too.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from rtvirt_runner.catalogue import checked_yaml
from rtvirt_runner.catalogue.checked_yaml import InputError
from rtvirt_runner.catalogue.cpus import Split
from rtvirt_runner.catalogue.policies import check_policy

MINUS = "-minus-"
EACH = "each"  # full-minus-each: one tuning per setting of full
ISOLCPUS_FLAGS = ("plain", "managed_irq,domain")


@dataclass(frozen=True)
class Setting:
    """One thing that a tuning can ask for. ``word`` is a boot setting's, the split's core lists to be filled in."""

    name: str
    where: Literal["boot", "board", "guest"]
    title: str
    word: str = ""
    of_hypervisor: bool = False  # says nothing to a machine that runs no guests
    needs: str = ""  # another setting, without which it would do harm


SETTINGS: Mapping[str, Setting] = {
    setting.name: setting
    for setting in (
        Setting("isolcpus", "boot", "cores taken out of the scheduler's balancing", "isolcpus={flags}{guest_cpus}"),
        Setting("nohz_full", "boot", "no tick on cores that run one task", "nohz_full={guest_cpus}"),
        Setting("rcu_nocbs", "boot", "RCU callbacks run elsewhere", "rcu_nocbs={guest_cpus}"),
        Setting("irqaffinity", "boot", "interrupts start on housekeeping cores", "irqaffinity={host_cpus}"),
        Setting(
            "guest_idle",
            "boot",
            "an idle vCPU keeps its core, and need not be brought back to it",
            "kvm-arm.wfi_trap_policy=notrap",
            of_hypervisor=True,
            needs="isolcpus",  # an ordinary program that came to such a core would never run
        ),
        Setting("cpuset", "board", "cores kept at run time, where isolcpus would need a reboot"),
        Setting("irqs", "board", "interrupts, later ones too, stay on housekeeping cores"),
        Setting("workqueues", "board", "unbound work stays on housekeeping cores"),
        Setting("kernel_threads", "board", "kernel threads on housekeeping cores, those of each core above the vCPUs"),
        Setting("rt_throttling", "board", "real-time tasks may use all of a core"),
        Setting("governor", "board", "cores stay at their highest frequency"),
        Setting("idle_states", "board", "isolated cores do not sleep deeply"),
        Setting("timer_migration", "board", "timers stay on the core that set them"),
        Setting("watchdogs", "board", "no lockup detector on any core"),
        Setting("transparent_huge_pages", "board", "no compaction for huge pages behind a program's back"),
        Setting("ksm", "board", "no search for equal pages"),
        Setting("swap", "board", "nothing is swapped out"),
        Setting("halt_poll", "board", "KVM does not poll when a vCPU halts", of_hypervisor=True),
        Setting("qemu_process", "guest", "the whole QEMU process on the guest's cores, with priority"),
        Setting("vcpu_threads", "guest", "one vCPU thread per guest core with priority, QEMU's others on the host's"),
        Setting("memory_lock", "guest", "the guest's memory is locked"),
        Setting("huge_pages", "guest", "the guest's memory is in huge pages"),
    )
}


def boot_params(settings: Iterable[str], split: Split, isolcpus: str) -> tuple[str, ...]:
    """Kernel parameters for the boot settings among ``settings``; ``isolcpus`` is of ISOLCPUS_FLAGS."""
    filled = {
        "host_cpus": split.host_list,
        "guest_cpus": split.guest_list,
        "flags": "" if isolcpus == "plain" else f"{isolcpus},",
    }
    wanted = set(settings)
    return tuple(
        each.word.format_map(filled) for each in SETTINGS.values() if each.where == "boot" and each.name in wanted
    )


@dataclass(frozen=True)
class Tuning:
    """A named set of settings: setting -> its value, ``True`` where it has none."""

    name: str
    title: str
    settings: Mapping[str, Any]

    def minus(self, setting: str) -> Tuning:
        """The same without one setting, and without what needs that: the ablation of it."""
        left = {name: value for name, value in self.settings.items() if setting not in (name, SETTINGS[name].needs)}
        return Tuning(f"{self.name}{MINUS}{setting}", f"{self.name} without {setting}", left)

    def inside(self) -> Tuning:
        """What of it makes sense inside a guest."""
        inner = {name: value for name, value in self.settings.items() if not SETTINGS[name].of_hypervisor}
        return Tuning(self.name, self.title, inner)

    def kernel_params(self, split: Split, isolcpus_flags: bool = True) -> tuple[str, ...]:
        """What it adds to a kernel's command line. Kernels before 4.15 know no flags of isolcpus."""
        flags = str(self.settings.get("isolcpus")) if isolcpus_flags else "plain"
        return boot_params(self._named("boot"), split, flags)

    def machine_settings(self, boots: bool = True) -> tuple[str, ...]:
        """Settings of a machine: what it must have started with, and what is written to it while it runs.

        A machine that may not be rebooted (``boots`` is False) gets a cpuset for isolcpus and does without the others.
        """
        if boots:
            return (*self._named("boot"), *self._named("board"))
        kept = ("cpuset",) if "isolcpus" in self.settings else ()
        return tuple(dict.fromkeys((*kept, *self._named("board"))))

    def placement(self, split: Split) -> dict[str, Any]:
        """How QEMU's threads are placed: ``mode`` none, process or threads, with cores, policy and priority."""
        if process := self.settings.get("qemu_process"):
            return {"mode": "process", "cpus": split.guest_list, **process}
        if threads := self.settings.get("vcpu_threads"):
            return {"mode": "threads", "cpus": split.guest_list, "others_cpus": split.host_list, **threads}
        return {"mode": "none"}

    def _named(self, where: str) -> tuple[str, ...]:
        return tuple(name for name, setting in SETTINGS.items() if setting.where == where and name in self.settings)


class Tunings:
    """The tunings of a catalogue, and the ablations that follow from them."""

    def __init__(self, entries: Mapping[str, Any], where: str) -> None:
        """Check every entry; raises InputError."""
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

        Raises InputError for one that does not exist.
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
        """A tuning by a name that ``expand`` gave."""
        base, minus, setting = name.partition(MINUS)
        return self._declared[base].minus(setting) if minus else self._declared[base]


def _tuning(name: str, body: Any, where: str) -> Tuning:
    checked_yaml.name(name, where)
    if MINUS in name:
        raise InputError(f"{where}: a name with '{MINUS}' is that of an ablation, expected another; rename it.")
    checked_yaml.known_keys(checked_yaml.mapping(body, where), ("title", "settings"), where)
    settings = checked_yaml.mapping(body.get("settings"), f"{where}.settings")
    checked_yaml.known_keys(settings, list(SETTINGS), f"{where}.settings")
    for setting, value in settings.items():
        _check(setting, value, f"{where}.settings.{setting}")
    if "qemu_process" in settings and "vcpu_threads" in settings:
        raise InputError(f"{where}.settings has qemu_process and vcpu_threads, expected one of them; remove the other.")
    for setting in settings:
        if (needed := SETTINGS[setting].needs) and needed not in settings:
            raise InputError(
                f"{where}.settings has {setting} without {needed}, expected both: an ordinary program on a core whose "
                f"vCPU never sleeps would never run; add {needed}, or remove {setting}."
            )
    return Tuning(name, checked_yaml.text(body.get("title", name), f"{where}.title"), settings)


def _check(setting: str, value: Any, where: str) -> None:
    if setting == "isolcpus":
        checked_yaml.known(value, ISOLCPUS_FLAGS, "value", where)
    elif setting in ("qemu_process", "vcpu_threads"):
        checked_yaml.known_keys(checked_yaml.require_nonempty(value, where), ("policy", "priority"), where)
        check_policy(value, where)
        if setting == "qemu_process" and value["policy"] == "fifo":
            raise InputError(
                f"{where}.policy is 'fifo', expected 'rr': a FIFO vCPU on the same core as QEMU's main thread never "
                "lets that have it, and the guest stands still; use rr, or vcpu_threads instead."
            )
    elif value is not True:
        raise InputError(
            f"{where} is {checked_yaml.format_value(value)}, expected true; leave the setting out to do without it."
        )
