"""Judge whether a machine can do what is asked of it, before anything on it is changed: one check per row.

The facts are those of roles/measure/files/preflight.sh. What the kernel refuses, what is not permitted and which tool
is missing are told apart. A fact that a machine does not have, or that makes no sense, is `unknown`, never `ok`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from rtvirt_runner.catalogue.command_line import split_params
from rtvirt_runner.catalogue.cpus import format_cpu_list, parse_cpu_list
from rtvirt_runner.catalogue.lab import RUNNING

# CANNOT: what is asked fails there. LIMITS: it can be measured, and the result is worse, or not what it seems.
OK, LIMITS, CANNOT, UNKNOWN = "ok", "limits", "cannot", "unknown"

IDLE_LIMIT_US = 10  # the time to leave an idle state adds to a wake-up
HWLAT_LIMIT_US = 20  # gaps by hardware add to a wake-up, and no setting of Linux helps
TIME_LIMIT_S = 120  # beyond, certificates and package indexes look expired
_ROOM_MIB = {"/boot": 64, "/boot/firmware": 64, "/lib/modules": 256, "/var/lib": 512, "/run": 16, "/tmp": 64}
_CAP_SYS_NICE = 23  # capability.h


@dataclass(frozen=True)
class Wanted:
    """What is asked of the machine."""

    cpus: tuple[int, ...] = ()  # cores that are used
    guest_cpus: tuple[int, ...] = ()  # of these, for the guest or the measurement; empty: not known yet
    guest: bool = True  # whether a guest runs
    may_emulate: bool = False  # whether a guest may be emulated where KVM does not run (kvm_host_fallback)
    other_kernel: bool = False  # whether every guest runs on a kernel that is booted first
    now_s: float | None = None  # the controller's wall clock when it asked; None: the board's is not compared with it


@dataclass(frozen=True)
class Check:
    """One line of the table."""

    name: str
    found: str
    state: str  # of the states above
    help: str = ""  # what to do about it; empty for OK


def checks(facts: Mapping[str, Any], wanted: Wanted) -> list[Check]:
    """All checks that concern this machine, in the order in which they are to be mended."""
    told = {
        name.removeprefix("preflight_"): value
        for name, value in facts.items()
        if name.startswith("preflight_") and isinstance(value, str)
    }
    tables = {
        name.removeprefix("preflight_"): [row for row in value if isinstance(row, Mapping)]
        for name, value in facts.items()
        if name.startswith("preflight_") and isinstance(value, list)
    }
    machine = _Machine(told, tables, wanted)
    return [check for judge in _JUDGES for check in judge(machine)]


def asked_by(boots: Iterable[Mapping[str, Any]], fallback: str, clock: str) -> dict[str, Any]:
    """What boot states (BootGroup.as_dict) ask, as plain values that wanted_of takes.

    `fallback` is what becomes of guests where KVM does not run (kvm_host_fallback), `clock` is rtvirt_board_clock.
    """
    groups = [(boot["kernel"], group) for boot in boots for group in boot["guests"]]
    kernels = {kernel for kernel, group in groups if group["state"] or group["neighbour"]}
    return {
        "cpus": sorted({str(group["host_cpus"]) for _, group in groups}),
        "guest_cpus": sorted({str(group["guest_cpus"]) for _, group in groups}),
        "guest": bool(kernels),
        "may_emulate": fallback == "emulate",
        "other_kernel": bool(kernels) and RUNNING not in kernels,
        "clock": clock,
    }


def wanted_of(asked: Mapping[str, Any], now_s: float) -> Wanted:
    """What is asked, as asked_by tells it, at a wall clock of the controller in seconds; a virtual one is another.

    Raises ValueError for what is no CPU list.
    """
    used, guests = (
        {cpu for text in asked.get(name, ()) for cpu in parse_cpu_list(str(text))} for name in ("cpus", "guest_cpus")
    )
    flags = {name: bool(asked[name]) for name in ("guest", "may_emulate", "other_kernel") if name in asked}
    now = None if asked.get("clock") == "virtual" else now_s
    return Wanted(tuple(sorted(used | guests)), tuple(sorted(guests)), now_s=now, **flags)


def failures(found: Sequence[Check]) -> list[str]:
    """A sentence for each thing that cannot be done."""
    return [f"{check.name}: {check.found}; {check.help}" for check in found if check.state == CANNOT]


@dataclass(frozen=True)
class _Machine:
    facts: Mapping[str, str]
    tables: Mapping[str, list[Mapping[str, Any]]]
    wanted: Wanted

    def get(self, name: str) -> str:
        return self.facts.get(name, "")

    def cpus(self, name: str) -> tuple[int, ...] | None:
        """A list of cores; None if the machine does not tell it, or garbles it."""
        try:
            return parse_cpu_list(self.facts[name].replace("(null)", ""))
        except (KeyError, ValueError):
            return None

    def number(self, name: str) -> int | None:
        return _number(self.facts.get(name))

    @property
    def is_x86(self) -> bool:
        return bool(re.fullmatch(r"x86_64|i[3-6]86", self.get("machine")))

    def cores(self, key: str) -> dict[int, str]:
        """Core -> a value of the table of cores, for the cores asked for (all, if none is) that have it."""
        rows = {_number(row.get("core")): str(row.get(key, "")) for row in self.tables.get("cores", [])}
        asked = self.wanted.guest_cpus or self.wanted.cpus
        return {core: value for core, value in rows.items() if core is not None and value and core in (asked or rows)}


def _number(value: Any) -> int | None:
    return int(value) if re.fullmatch(r"[0-9]{1,18}", str(value)) else None


def _user(machine: _Machine) -> Iterator[Check]:
    user, sudo = machine.get("user"), machine.get("sudo")
    if user == "0":
        yield Check("root", "user 0", OK)
    elif sudo == "yes":
        yield Check("root", f"user {user}, sudo asks no password", LIMITS, "set ansible_become for this board")
    elif sudo == "password":
        yield Check(
            "root",
            f"user {user}, and sudo asks a password",
            CANNOT,
            "let sudo ask none for this user (NOPASSWD), or connect as root",
        )
    elif user:
        yield Check("root", f"user {user}, and there is no sudo", CANNOT, "connect as root, or install sudo")
    else:
        yield Check("root", "not told", UNKNOWN, "see whether /proc is mounted there")


def _tools(machine: _Machine) -> Iterator[Check]:
    missing = machine.get("missing_tools")
    if missing:
        yield Check("tools", f"missing: {missing}", CANNOT, "install the package util-linux there")
    fifo = machine.get("fifo")
    if fifo == "ok":
        yield Check("SCHED_FIFO", "allowed", OK)
    elif "chrt" not in missing.split():
        able = machine.get("capabilities")
        nice = re.fullmatch(r"[0-9a-f]{1,16}", able) is not None and bool(int(able, 16) >> _CAP_SYS_NICE & 1)
        if not fifo:
            yield Check("SCHED_FIFO", "not told", UNKNOWN, "try it there: chrt -f 1 true")
        elif nice:
            advice = "look for RT_GROUP_SCHED in its configuration, and boot with rt_group_sched=0, or another kernel"
            yield Check("SCHED_FIFO", f"the kernel refuses it ({fifo})", CANNOT, advice)
        elif machine.get("user") == "0":
            yield Check("SCHED_FIFO", "root without CAP_SYS_NICE", CANNOT, "give the container that capability")
        else:
            yield Check("SCHED_FIFO", "not permitted to this user", LIMITS, "set ansible_become for this board")


def _kernel(machine: _Machine) -> Iterator[Check]:
    release = machine.get("release") or "unknown release"
    if machine.get("realtime") == "1":
        yield Check("kernel", f"{release}, PREEMPT_RT", OK)
    else:
        yield Check("kernel", f"{release}, without PREEMPT_RT", LIMITS, "boot an RT kernel, as kernel_boot does")


def _cores(machine: _Machine) -> Iterator[Check]:
    present, online, asked = machine.cpus("present"), machine.cpus("online"), set(machine.wanted.cpus)
    if present is None or online is None:
        yield Check("cores", "not told", UNKNOWN, "see whether /sys is mounted there")
        return
    found = f"{machine.get('online')} online of {machine.get('present')}"
    if absent := asked - set(present):
        name = format_cpu_list(absent)
        yield Check("cores", f"{found}; core {name} does not exist", CANNOT, "correct rtvirt_board_cpus and the split")
    elif offline := asked - set(online):
        name = format_cpu_list(offline)
        advice = f"bring it online (echo 1 > /sys/devices/system/cpu/cpu{min(offline)}/online), or use others"
        yield Check("cores", f"{found}; core {name} is offline", CANNOT, advice)
    elif len(online) < 2:
        yield Check("cores", found, LIMITS, "isolate nothing: there is no second core to move anything to")
    elif not asked and (offline := set(present) - set(online)):
        name = format_cpu_list(offline)
        yield Check("cores", f"{found}; core {name} is offline", LIMITS, "bring it online, or leave it out of splits")
    else:
        yield Check("cores", found, OK)


def _isolated(machine: _Machine) -> Iterator[Check]:
    params = split_params(machine.get("cmdline"))
    named = [param.partition("=")[2] for param in params if param.startswith("isolcpus=")]
    ours = any(param.startswith("rtvirt.kernel=") for param in params)
    online, isolated = set(machine.cpus("online") or ()), set(machine.cpus("isolated") or ())
    if named:
        cores = re.sub(r"^(?:[a-z_]+,)+", "", named[-1].strip('"'))
        try:
            listed = set(parse_cpu_list(cores))
        except ValueError:
            yield Check("isolcpus", named[-1], LIMITS, "correct isolcpus on the command line: it is no list of cores")
            return
        if wrong := listed - online:
            name = format_cpu_list(wrong)
            advice = "name cores in isolcpus that are there and online"
            yield Check("isolcpus", f"{named[-1]}; core {name} is not online", LIMITS, advice)
            return
        if len(named) > 1:
            yield Check("isolcpus", " and ".join(named), LIMITS, "leave one isolcpus on the command line")
            return
    if isolated and not ours:
        advice = "take isolcpus off the board's command line; a tuning without isolation is not one otherwise"
        yield Check("isolcpus", f"{format_cpu_list(isolated)} isolated by somebody else", LIMITS, advice)
    elif online and isolated >= online:
        yield Check("isolcpus", "every core is isolated", CANNOT, "leave a core for everything else")
    else:
        yield Check("isolcpus", format_cpu_list(isolated) or "none", OK)


def _siblings(machine: _Machine) -> Iterator[Check]:
    shared = set()
    for core, text in machine.cores("siblings").items():
        try:
            threads = parse_cpu_list(text)
        except ValueError:
            continue
        if core in threads and len(threads) > 1:
            shared.add(threads)
    if shared:
        found = ", ".join(format_cpu_list(each) for each in sorted(shared))
        apart = [each for each in shared if set(each) - set(machine.wanted.guest_cpus)]
        if apart or not machine.wanted.guest_cpus:
            advice = "switch SMT off (nosmt), or give the guest all threads of a core: they slow each other"
            yield Check("threads of one core", found, LIMITS, advice)
            return
    if machine.cores("siblings"):
        yield Check("threads of one core", "none", OK)


def _kinds(machine: _Machine) -> Iterator[Check]:
    kinds: dict[str, list[int]] = {}
    for core, capacity in machine.cores("capacity").items():
        kinds.setdefault(capacity, []).append(core)
    if len(kinds) > 1:
        found = ", ".join(f"{format_cpu_list(cores)} with capacity {kind}" for kind, cores in kinds.items())
        yield Check("kinds of cores", found, LIMITS, "compare only cells whose cores are of one kind")


def _kvm(machine: _Machine) -> Iterator[Check]:
    if not machine.wanted.guest:
        return
    for check in _kvm_itself(machine):
        if check.state == CANNOT and machine.wanted.may_emulate:
            advice = f"{check.help}; until then guests are emulated (kvm_host_fallback)"
            yield replace(check, state=LIMITS, help=advice)
        elif check.state == CANNOT and machine.wanted.other_kernel and _may_have_kvm(machine):
            yield replace(check, state=LIMITS, help="see to it that the kernel that is booted for the guest has KVM")
        else:
            yield check
    flags = machine.get("cpu_flags").split()
    if machine.is_x86 and flags and "constant_tsc" not in flags:
        where = "in the settings of the hypervisor (invtsc)" if "hypervisor" in flags else "on another processor"
        advice = f"look for one {where}: the KVM of a kernel with PREEMPT_RT needs it"
        yield Check("TSC", "not constant", LIMITS, advice)


def _may_have_kvm(machine: _Machine) -> bool:
    """Whether another kernel could have /dev/kvm, where the one that runs has none."""
    if machine.get("kvm") != "absent":
        return False
    if machine.is_x86:
        said = machine.get("kvm_message").lower()
        return bool({"vmx", "svm"} & set(machine.get("cpu_flags").split())) and "disabled by bios" not in said
    return not re.search(r"\bEL1\b|\bSVC mode", machine.get("boot_mode"))


def _kvm_itself(machine: _Machine) -> Iterator[Check]:
    state, flags, said = machine.get("kvm"), machine.get("cpu_flags").split(), machine.get("kvm_message")
    because = f" ({said})" if said else ""
    if state == "closed":
        yield Check("KVM", "/dev/kvm may not be opened", CANNOT, "connect as root, or join the group of /dev/kvm")
    elif state == "absent" and machine.is_x86 and not {"vmx", "svm"} & set(flags):
        where = "in the settings of the hypervisor (nested)" if "hypervisor" in flags else "in the firmware (VT-x, SVM)"
        yield Check("KVM", "the processor shows neither vmx nor svm", CANNOT, f"switch virtualization on {where}")
    elif state == "absent" and machine.is_x86:
        yield Check("KVM", f"no /dev/kvm{because}", CANNOT, "load the module: modprobe kvm_intel, or kvm_amd")
    elif state == "absent":
        advice = "let firmware and boot loader start the kernel in EL2 or HYP mode, and use one with CONFIG_KVM"
        mode = machine.get("boot_mode")
        yield Check("KVM", f"no /dev/kvm{because or (f' ({mode})' if mode else '')}", CANNOT, advice)
    elif state != "opens":
        yield Check("KVM", "not told", UNKNOWN, "see whether /dev/kvm is there")
    elif not machine.is_x86 and machine.get("vgic") != "yes":
        advice = "use a device tree with the GIC's maintenance interrupt, or guest_gic: user_space (slower)"
        yield Check("KVM", f"opens, and /proc/interrupts has no vgic{because}", LIMITS, advice)
    elif "hypervisor" in flags:
        advice = "expect it to be slow or not to run a guest: kvm_host tries that and falls back to emulation"
        yield Check("KVM", "opens, inside another hypervisor", LIMITS, advice)
    else:
        yield Check("KVM", "opens", OK)  # only a guest shows whether one runs, which kvm_host tries


def _idle(machine: _Machine) -> Iterator[Check]:
    latencies = [us for text in machine.cores("idle_us").values() if (us := _number(text)) is not None]
    if latencies and max(latencies) > IDLE_LIMIT_US:
        advice = "use a tuning with idle_states, as full is"
        yield Check("idle states", f"up to {max(latencies)} us to leave one", LIMITS, advice)
    else:
        yield Check("idle states", f"up to {max(latencies)} us to leave one" if latencies else "none", OK)


def _governor(machine: _Machine) -> Iterator[Check]:
    names = sorted(set(machine.cores("governor").values()))
    if names and names != ["performance"]:
        yield Check("governor", ", ".join(names), LIMITS, "use a tuning with governor, as full is")
    else:
        yield Check("governor", names[0] if names else "none: one frequency", OK)


def _clocksource(machine: _Machine) -> Iterator[Check]:
    source = machine.get("clocksource")
    slow = machine.is_x86 and source in ("hpet", "acpi_pm", "jiffies", "refined-jiffies")
    if slow:
        advice = "see in dmesg why the TSC was given up; reading this clock takes a microsecond or more"
        yield Check("clock source", source, LIMITS, advice)
    elif source:
        yield Check("clock source", source, OK)


def _hardware(machine: _Machine) -> Iterator[Check]:
    if machine.is_x86:
        count = machine.number("smi_count")
        if count is None:
            yield Check("SMI", "not counted", UNKNOWN, "load the module: modprobe msr")
        elif count:
            advice = "switch off USB legacy support and power management in the firmware; cells that had one are marked"
            yield Check("SMI", f"{count} since boot", LIMITS, advice)
        else:
            yield Check("SMI", "none since boot", OK)
    said = machine.get("hwlat")
    if told := re.match(r"([0-9]{1,12}) us\b", said):
        late = int(told[1]) > HWLAT_LIMIT_US
        advice = "look for SMIs, firmware and other guests of this hypervisor: no setting of Linux helps against these"
        yield Check("hardware latency", said, LIMITS if late else OK, advice if late else "")
    elif said:
        yield Check("hardware latency", said, UNKNOWN, "use a kernel with CONFIG_HWLAT_TRACER, and tracefs mounted")


def _programs(machine: _Machine) -> Iterator[Check]:
    if machine.get("tuned"):
        profile = machine.get("tuned_profile") or "unknown profile"
        yield Check("tuned", f"running, {profile}", LIMITS, "stop it (systemctl disable --now tuned): it sets the same")
    if machine.get("irqbalance"):
        advice = "stop it (systemctl disable --now irqbalance), or use a tuning with irqbalance: it moves interrupts"
        yield Check("irqbalance", "running", LIMITS, advice)
    owners = []
    for row in machine.tables.get("groups", []):
        try:
            cpus = set(parse_cpu_list(str(row.get("cpus", ""))))
        except ValueError:
            continue
        own = str(row.get("partition", "member")).split(" ")[0]
        guest = machine.wanted.guest_cpus or machine.wanted.cpus
        if own != "member" and cpus & set(guest or cpus):
            owners.append(f"{row.get('path', '')} has {format_cpu_list(cpus)} ({row.get('partition')})")
    if owners:
        advice = "take the cores from it, or choose others: a core is in one such cgroup only"
        yield Check("owners of cores", ", ".join(owners), CANNOT if machine.wanted.guest_cpus else LIMITS, advice)
    else:
        yield Check("owners of cores", "none", OK)


def _room(machine: _Machine) -> Iterator[Check]:
    short, told = [], []
    for row in machine.tables.get("room", []):
        free, path = _number(row.get("free_kib")), str(row.get("path", ""))
        if free is None or path not in _ROOM_MIB:
            continue
        told.append(f"{path} {free // 1024} MiB")
        if free < _ROOM_MIB[path] * 1024:
            short.append(f"{path} has {free // 1024} MiB, expected {_ROOM_MIB[path]} or more")
    if short:
        yield Check("room", ", ".join(short), LIMITS, "make room there")
    else:
        yield Check("room", ", ".join(told) or "not told", OK if told else UNKNOWN, "" if told else "look at df there")


def _time(machine: _Machine) -> Iterator[Check]:
    there, here = machine.number("time_s"), machine.wanted.now_s
    if there is None:
        yield Check("time", "not told", UNKNOWN, "look at date there")
    elif here is not None and abs(there - here) > TIME_LIMIT_S:
        ahead = "ahead" if there > here else "behind"
        advice = (
            "set its clock (systemd-timesyncd, or date -s): package indexes and certificates look expired otherwise"
        )
        yield Check("time", f"{abs(there - here):.0f} s {ahead}", LIMITS, advice)
    else:
        yield Check("time", "as here" if here is not None else "told", OK)


_JUDGES: tuple[Callable[[_Machine], Iterator[Check]], ...] = (
    *(_user, _tools, _cores, _kvm, _kernel, _isolated, _siblings, _kinds, _idle, _governor, _clocksource),
    *(_hardware, _programs, _room, _time),
)
