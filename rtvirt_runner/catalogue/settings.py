"""The table of settings: everything that a tuning can set on a machine.

An entry is the only definition of its setting. From the table are made the validation of tunings, the kernel
parameters, the rows that roles/cpu_isolation/files/settings.sh interprets on a machine, and docs/isolation.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from rtvirt_runner.catalogue import checked_yaml
from rtvirt_runner.catalogue.checked_yaml import InputError
from rtvirt_runner.catalogue.cpus import Split, cpu_mask, parse_cpu_list
from rtvirt_runner.catalogue.policies import check_policy

ISOLCPUS_FLAGS = ("plain", "managed_irq,domain")

# How an item is read back, compared, changed and undone. All kinds but parameter are undone from the machine's journal.
#   exact, choice, list, mask   a file: its content; the word in [brackets]; a list of cores within the wanted one; the
#                               same mask of cores. Undone by writing the previous value.
#   parameter                   source PARAMETER@FILE: in FILE where the kernel has it, otherwise on /proc/cmdline.
#                               Changed and undone by the kernel's command line and a reboot.
#   unit                        a systemd unit; undone by starting it
#   thread_affinity             CPU affinity of all kernel threads that may be moved; restored
#   thread_priority             policy and priority of a kernel thread by name; restored
#   procedure                   the shell function procedure_SOURCE of settings.sh, cpuset.sh or resctrl.sh
Kind = Literal[
    "exact", "choice", "list", "mask", "parameter", "unit", "thread_affinity", "thread_priority", "procedure"
]


@dataclass(frozen=True)
class Item:
    """One value on a machine that a setting sets.

    ``source`` may be a glob pattern. Placeholders in ``source`` and ``wanted``: {host_cpus} and {guest_cpus}, CPU
    lists; {host_mask}, a CPU mask; {cpu}, which gives one item per guest core.
    """

    kind: Kind
    source: str
    wanted: str
    may_refuse: bool = False  # the kernel may refuse the value, which is no failure
    value: str = ""  # value of the setting to which the item applies; empty: any

    def rows(self, setting: Setting, split: Split) -> Iterator[str]:
        """Lines ``SETTING KIND OPTIONS SOURCE WANTED`` for settings.sh."""
        options = [*(["may_refuse"] if self.may_refuse else []), *([f"arch={setting.arch}"] if setting.arch else [])]
        filled = {"host_cpus": split.host_list, "guest_cpus": split.guest_list, "host_mask": cpu_mask(split.host_cpus)}
        for cpu in split.guest_cpus if "{cpu}" in self.source else (0,):
            source, wanted = (text.format(cpu=cpu, **filled) for text in (self.source, self.wanted))
            yield f"{setting.name} {self.kind} {','.join(options) or '-'} {source} {wanted}"


@dataclass(frozen=True)
class Needs:
    """Another setting that this one requires, for the given ``values`` or, if empty, for all."""

    setting: str
    because: str
    values: tuple[str, ...] = ()


@dataclass(frozen=True)
class Setting:
    """One setting that a tuning can have.

    ``where``: boot, a kernel parameter, which needs a reboot; board, changed on the running machine by the role
    cpu_isolation; guest, how the role guest starts and places QEMU. ``values`` are the values that it can have;
    without any it is ``True``, or with ``policies`` a mapping.
    """

    name: str
    where: Literal["boot", "board", "guest"]
    title: str
    items: tuple[Item, ...] = ()
    note: str = ""  # further text for docs/isolation.md
    parameter: str = ""  # kernel parameter with the placeholders of Item and {flags}
    values: tuple[str, ...] = ()
    policies: bool = False  # its value is keys policy and priority
    refused_policy: tuple[str, str] | None = None  # a policy, and the reason
    arch: str = ""  # uname -m where it applies; empty: everywhere
    of_hypervisor: bool = False  # does not apply to a machine that runs no guests
    needs: Needs | None = None
    implies: tuple[str, str] = ("", "")  # another setting and its value, unless the tuning has that setting
    excludes: str = ""  # a setting that must not be combined with it
    without_boot: str = ""  # the setting to use instead on a machine that must not be rebooted

    @property
    def parameter_name(self) -> str:
        """The name of the kernel parameter, ``isolcpus`` of ``isolcpus=1-3``; empty if the setting has none."""
        return self.parameter.partition("=")[0]

    def check(self, value: Any, where: str) -> None:
        """Validate the value that a tuning gives it; raises InputError."""
        if self.values:
            checked_yaml.known(value, self.values, "value", where)
        elif self.policies:
            checked_yaml.known_keys(checked_yaml.require_nonempty(value, where), ("policy", "priority"), where)
            check_policy(value, where)
            if self.refused_policy and value["policy"] == self.refused_policy[0]:
                raise InputError(f"{where}.policy is '{value['policy']}', {self.refused_policy[1]}.")
        elif value is not True:
            raise InputError(
                f"{where} is {checked_yaml.format_value(value)}, expected true; leave the setting out to do without it."
            )

    def needed(self, value: Any) -> str:
        """The name of the setting that this one requires with a value; empty if there is none."""
        return self.needs.setting if self.needs and (not self.needs.values or value in self.needs.values) else ""

    def word(self, value: Any) -> str:
        """``name``, or ``name=value`` if the items depend on the value."""
        return f"{self.name}={value}" if any(item.value for item in self.items) else self.name


def _cpu_of(file: str) -> str:
    return f"/sys/devices/system/cpu/{file}"


_FAIR_SERVER = "/sys/kernel/debug/sched/fair_server/cpu{cpu}"
_WORKQUEUES = "/sys/devices/virtual/workqueue"

SETTINGS: Mapping[str, Setting] = {
    setting.name: setting
    for setting in (
        Setting(
            "isolcpus",
            "boot",
            "cores taken out of the scheduler's balancing",
            (Item("parameter", f"isolcpus@{_cpu_of('isolated')}", "{guest_cpus}"),),
            "Value `plain`, or `managed_irq,domain`; kernels before 4.15 know no such flags and get a plain list "
            "(`isolcpus_flags: false` in the kernel's entry)",
            parameter="isolcpus={flags}{guest_cpus}",
            values=ISOLCPUS_FLAGS,
            without_boot="cpuset",
        ),
        Setting(
            "nohz_full",
            "boot",
            "no tick on cores that run one task",
            (Item("parameter", f"nohz_full@{_cpu_of('nohz_full')}", "{guest_cpus}"),),
            parameter="nohz_full={guest_cpus}",
        ),
        Setting(
            "rcu_nocbs",
            "boot",
            "RCU callbacks run elsewhere",
            (Item("parameter", "rcu_nocbs@", "{guest_cpus}"),),
            parameter="rcu_nocbs={guest_cpus}",
        ),
        Setting(
            "irqaffinity",
            "boot",
            "interrupts start on housekeeping cores",
            (Item("parameter", "irqaffinity@", "{host_cpus}"),),
            parameter="irqaffinity={host_cpus}",
        ),
        Setting(
            "guest_idle",
            "boot",
            "an idle vCPU keeps its core, and need not be brought back to it",
            (Item("parameter", "kvm-arm.wfi_trap_policy@", "notrap"),),
            "64-bit ARM, from 6.11 on: a vCPU that waits for an interrupt sleeps on its core instead of giving it back "
            "to the host first. Its thread then never sleeps, which `rt_throttling` and `kernel_threads` allow for. "
            "Needs `isolcpus`; `full-minus-isolcpus` leaves it out too",
            parameter="kvm-arm.wfi_trap_policy=notrap",
            arch="aarch64",
            of_hypervisor=True,
            needs=Needs("isolcpus", "an ordinary program on a core whose vCPU never sleeps would never run"),
        ),
        Setting(
            "cpuset",
            "board",
            "cores kept at run time, where isolcpus would need a reboot",
            (Item("procedure", "cpuset", "{guest_cpus}"),),
            "Instead of `isolcpus` where a board may not be rebooted ([this machine](this-machine.md))",
        ),
        Setting(
            "irqs",
            "board",
            "interrupts, later ones too, stay on housekeeping cores",
            (
                Item("mask", "/proc/irq/default_smp_affinity", "{host_mask}", may_refuse=True),
                Item("list", "/proc/irq/[0-9]*/smp_affinity_list", "{host_cpus}", may_refuse=True),
                Item("unit", "irqbalance", "inactive"),
            ),
        ),
        Setting(
            "workqueues",
            "board",
            "unbound work stays on housekeeping cores",
            (
                Item("mask", f"{_WORKQUEUES}/cpumask", "{host_mask}", may_refuse=True),
                Item("mask", f"{_WORKQUEUES}/*/cpumask", "{host_mask}", may_refuse=True),
            ),
        ),
        Setting(
            "kernel_threads",
            "board",
            "kernel threads on housekeeping cores, those of each core above the vCPUs",
            (
                Item("thread_affinity", "*", "{host_cpus}", may_refuse=True),
                Item("thread_priority", "rcuc/{cpu}", "fifo 4", may_refuse=True),
                Item("thread_priority", "ktimers/{cpu}", "fifo 3", may_refuse=True),
                Item("thread_priority", "ktimersoftd/{cpu}", "fifo 3", may_refuse=True),
                Item("thread_priority", "ksoftirqd/{cpu}", "fifo 2", may_refuse=True),
            ),
            "The priorities keep a vCPU at FIFO 1 that never sleeps from starving what its core cannot do without",
        ),
        Setting(
            "rt_throttling",
            "board",
            "real-time tasks may use all of a core",
            (Item("exact", "/proc/sys/kernel/sched_rt_runtime_us", "-1"),),
            "Implies `fair_server: none`, unless the tuning says otherwise",
            implies=("fair_server", "none"),
        ),
        Setting(
            "fair_server",
            "board",
            "what ordinary tasks are sure of on a core that a real-time task keeps busy",
            (
                Item("exact", f"{_FAIR_SERVER}/runtime", "0", value="none"),
                # Runtime first: 100 us fit into every period that the kernel accepts.
                Item("exact", f"{_FAIR_SERVER}/runtime", "100000", value="bounded"),
                Item("exact", f"{_FAIR_SERVER}/period", "1000000000", value="bounded"),
            ),
            "From 6.12 on, ordinary tasks have a deadline server per core, with 50 ms of each second. With `none`, "
            "work that the kernel queues on a core whose vCPU never sleeps waits for ever, and so does who waits for "
            "it (a resize of the trace buffers, say). With `bounded` it gets 100 µs of each second (the files are in "
            "ns), after at most a second. The kernel ends the server's turn at a tick, so one turn may last a tick "
            "longer, which later periods make up for. `none` needs `rt_throttling`",
            values=("none", "bounded"),
            needs=Needs(
                "rt_throttling",
                "the kernel refuses to throttle real-time tasks again while a fair server has nothing",
                ("none",),
            ),
        ),
        Setting(
            "governor",
            "board",
            "cores stay at their highest frequency",
            (Item("exact", _cpu_of("cpu[0-9]*/cpufreq/scaling_governor"), "performance"),),
        ),
        Setting(
            "idle_states",
            "board",
            "isolated cores do not sleep deeply",
            (Item("exact", _cpu_of("cpu{cpu}/cpuidle/state[1-9]*/disable"), "1"),),
        ),
        Setting(
            "timer_migration",
            "board",
            "timers stay on the core that set them",
            (Item("exact", "/proc/sys/kernel/timer_migration", "0"),),
        ),
        Setting(
            "vm_stat_interval",
            "board",
            "statistics of memory are gathered on each core less often",
            (Item("exact", "/proc/sys/vm/stat_interval", "10"),),
            "In seconds; the kernel's own is 1. Each time, a worker of the kernel may run on a guest core",
        ),
        Setting(
            "watchdogs",
            "board",
            "no lockup detector on any core",
            (Item("exact", "/proc/sys/kernel/watchdog", "0"),),
        ),
        Setting(
            "transparent_huge_pages",
            "board",
            "no compaction for huge pages behind a program's back",
            (Item("choice", "/sys/kernel/mm/transparent_hugepage/enabled", "never"),),
        ),
        Setting("ksm", "board", "no search for equal pages", (Item("exact", "/sys/kernel/mm/ksm/run", "0"),)),
        Setting(
            "swap", "board", "nothing is swapped out", (Item("procedure", "swap", "none"),), "Nothing in `/proc/swaps`"
        ),
        Setting(
            "halt_poll",
            "board",
            "KVM does not poll when a vCPU halts",
            (Item("exact", "/sys/module/kvm/parameters/halt_poll_ns", "0", may_refuse=True),),
            of_hypervisor=True,
        ),
        Setting(
            "cache_partition",
            "board",
            "half of the last-level cache for the guest's cores alone",
            (Item("procedure", "cache_partition", "{guest_cpus}"),),
            "By resctrl (`/sys/fs/resctrl`, group `rtvirt`; Intel RDT, AMD QoS, Arm MPAM): the upper half of the ways "
            "of each L3 is for the guest cores, the lower half for all others",
        ),
        Setting(
            "bandwidth_limit",
            "board",
            "half of the memory bandwidth at most for other cores than the guest's",
            (Item("procedure", "bandwidth_limit", "{guest_cpus}"),),
            "By resctrl: the guest cores are in the group `rtvirt`, and `MB` of all others is 50 %. Not where `MB` is "
            "no percentage (AMD)",
        ),
        Setting(
            "qemu_process",
            "guest",
            "the whole QEMU process on the guest's cores, with priority",
            note="Every thread of QEMU on the guest cores, with policy and priority. FIFO is refused: a vCPU on QEMU's "
            "own core would starve the thread that it waits for",
            policies=True,
            refused_policy=(
                "fifo",
                "expected 'rr': a FIFO vCPU on the same core as QEMU's main thread never lets that have it, and the "
                "guest stands still; use rr, or vcpu_threads instead",
            ),
            excludes="vcpu_threads",
        ),
        Setting(
            "vcpu_threads",
            "guest",
            "one vCPU thread per guest core with priority, QEMU's others on the host's",
            note="vCPU *i* on the *i*-th guest core with policy and priority; all other threads of QEMU, later ones "
            "too, on host cores",
            policies=True,
        ),
        Setting(
            "memory_lock", "guest", "the guest's memory is locked", note="`VmLck` of QEMU holds the guest's memory"
        ),
        Setting(
            "huge_pages",
            "guest",
            "the guest's memory is in huge pages",
            note="`HugetlbPages` of QEMU holds the guest's memory; set aside while the guest runs",
        ),
    )
}


def check_settings(settings: Mapping[str, Any], where: str) -> None:
    """Validate names, values and combinations of settings; raises InputError."""
    checked_yaml.known_keys(settings, list(SETTINGS), where)
    for name, value in settings.items():
        SETTINGS[name].check(value, f"{where}.{name}")
    _check_together(settings, where)


def _check_together(settings: Mapping[str, Any], where: str) -> None:
    for name in settings:
        setting = SETTINGS[name]
        if setting.excludes in settings:
            raise InputError(f"{where} has {name} and {setting.excludes}, expected one of them; remove the other.")
        if (needs := setting.needs) and setting.needed(settings[name]) not in ("", *settings):
            raise InputError(
                f"{where} has {name} without {needs.setting}, expected both: {needs.because}; add {needs.setting}, or "
                f"remove {name}."
            )


def parse_words(words: Iterable[Any], where: str) -> dict[str, Any]:
    """Parse settings of a machine from words ``name`` or ``name=value``; the result is in the order of the table.

    Raises InputError for an invalid word, and for a setting of QEMU (``where`` guest).
    """
    found: dict[str, Any] = {}
    machine = [name for name, setting in SETTINGS.items() if setting.where != "guest"]
    for word in words:
        name, has_value, value = str(word).partition("=")
        checked_yaml.known(name, machine, "setting", where)
        setting = SETTINGS[name]
        # The flags of isolcpus are a separate input where words are used.
        in_word = any(item.value for item in setting.items)
        if has_value and not in_word:
            raise InputError(f"{where}: setting '{word}' has a value, expected none; write {name}.")
        if in_word:
            checked_yaml.known(value, setting.values, "value", f"{where}: {name}=VALUE")
        found[name] = value if in_word else True
    _check_together(found, where)
    return {name: found[name] for name in SETTINGS if name in found}


def words_of(settings: Mapping[str, Any], where: Sequence[str]) -> tuple[str, ...]:
    """The words of those settings whose ``where`` is among these, in the order of the table."""
    return tuple(
        each.word(settings[name]) for name, each in SETTINGS.items() if name in settings and each.where in where
    )


def files(settings: Iterable[str]) -> list[str]:
    """Glob patterns of the files that settings write on a running machine; per-core files match all cores."""
    wanted = set(settings)
    found = (
        item.source.format(cpu="[0-9]*")
        for each in SETTINGS.values()
        if each.name in wanted
        for item in each.items
        if item.kind in ("exact", "choice", "list", "mask")
    )
    return list(dict.fromkeys(found))


def with_implied(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings and those that they imply, in the order of the table."""
    implied = dict(SETTINGS[name].implies for name in settings if name in SETTINGS)
    both = {**implied, **settings}
    return {name: both[name] for name in SETTINGS if name in both}


def setting_name(word: str) -> str:
    """``irqs`` of ``irqs``, ``fair_server`` of ``fair_server=none``."""
    return word.partition("=")[0]


def kernel_params(settings: Iterable[str], split: Split, isolcpus: str) -> tuple[str, ...]:
    """Kernel parameters for the names of settings; ``isolcpus`` is of ISOLCPUS_FLAGS."""
    flags = "" if isolcpus == "plain" else f"{isolcpus},"
    wanted = set(settings)
    return tuple(
        each.parameter.format(host_cpus=split.host_list, guest_cpus=split.guest_list, flags=flags)
        for each in SETTINGS.values()
        if each.parameter and each.name in wanted
    )


def far_environment(words: Iterable[Any], host_cpus: str, guest_cpus: str, where: str) -> dict[str, str]:
    """The environment of settings.sh: SETTINGS (words), HOST_CPUS, GUEST_CPUS, and SETTING_ROWS, a line per item.

    Raises InputError for invalid words or lists of cores; the lists may be empty without settings.
    """
    settings = parse_words(words, f"{where}_settings")
    both = with_implied(settings)
    rows: list[str] = []
    if settings:
        split = parse_split(host_cpus, guest_cpus, where)
        for name, value in both.items():
            setting = SETTINGS[name]
            for item in setting.items:
                rows += item.rows(setting, split) if item.value in ("", value) else ()
    return {
        "SETTINGS": " ".join(words_of(settings, ("boot", "board"))),
        "HOST_CPUS": host_cpus,
        "GUEST_CPUS": guest_cpus,
        "SETTING_ROWS": "\n".join(rows),
    }


def parse_split(host_cpus: str, guest_cpus: str, where: str) -> Split:
    """The split of the variables ``WHERE_host_cpus`` and ``WHERE_guest_cpus``; raises InputError."""
    lists = []
    for name, text in ((f"{where}_host_cpus", host_cpus), (f"{where}_guest_cpus", guest_cpus)):
        try:
            lists.append(parse_cpu_list(text))
        except ValueError as error:
            raise InputError(f"{name}: {error}; correct it.") from error
        if not lists[-1]:
            raise InputError(f"{name} is empty, expected a list of cores such as '0' or '1-3'; name one core or more.")
    if both := sorted(set(lists[0]) & set(lists[1])):
        raise InputError(
            f"{where}_host_cpus is '{host_cpus}' and {where}_guest_cpus is '{guest_cpus}', expected no core in both; "
            f"take core {both[0]} out of one."
        )
    return Split(*lists)


def documentation() -> list[str]:
    """The rows of the table of settings in docs/isolation.md, as Markdown."""
    return [f"| `{each.name}` | {each.where} | {_described(each)} |" for each in SETTINGS.values()]


def _described(setting: Setting) -> str:
    title = setting.title[0].upper() + setting.title[1:]
    items = "; ".join(_item_described(item, setting) for item in setting.items if item.kind != "procedure")
    return ". ".join(part for part in (title, items[:1].upper() + items[1:], setting.note) if part)


def _item_described(item: Item, setting: Setting) -> str:
    names = {"host_cpus": "the host cores", "guest_cpus": "the guest cores", "host_mask": "the host cores", "cpu": "N"}
    wanted = item.wanted.format(**names) if "{" in item.wanted else f"`{item.wanted}`"
    if item.kind == "parameter":
        file = item.source.partition("@")[2]
        word = f"`{setting.parameter_name}=` {wanted}" if "{" in item.wanted else f"`{setting.parameter}`"
        return f"{wanted} in `{file}`" if file else f"{word} in `/proc/cmdline`"
    source = f"`{item.source.format(**names).replace('[0-9]*', '*')}`"
    told = {
        "list": f"{source} within {wanted}",
        "mask": f"{source} has {wanted}",
        "unit": f"unit {source} {item.wanted}",
        "thread_affinity": f"threads that may be moved on {wanted}",
        "thread_priority": f"{source} {item.wanted.upper()}",
    }
    return (f"with value `{item.value}` " if item.value else "") + told.get(item.kind, f"{source} is {wanted}")
