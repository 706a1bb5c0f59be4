"""What a machine tells before anything on it is changed, and what that means for what is asked of it."""

from __future__ import annotations

import subprocess
from typing import Any

import pytest

from rtvirt_runner.machine.preflight import (
    CANNOT,
    LIMITS,
    OK,
    UNKNOWN,
    Check,
    Wanted,
    asked_by,
    checks,
    failures,
    wanted_of,
)
from rtvirt_runner.machine.script_reply import compose, parse
from rtvirt_runner.machine.scripts import script_text

ROOM = [{"path": "/boot", "free_kib": "200000"}, {"path": "/var/lib", "free_kib": "9000000"}]
GOOD: dict[str, Any] = {
    "user": "0",
    "capabilities": "000001ffffffffff",
    "sudo": "none",
    "missing_tools": "",
    "fifo": "ok",
    "release": "6.12.48+deb13-rt-arm64",
    "machine": "aarch64",
    "realtime": "1",
    "cmdline": "root=/dev/vda2 isolcpus=managed_irq,domain,2-3 rtvirt.kernel=debian-rt",
    "present": "0-3",
    "online": "0-3",
    "isolated": "2-3",
    "clocksource": "arch_sys_counter",
    "kvm": "opens",
    "vgic": "yes",
    "time_s": "1000000",
    "cores": [{"core": str(core), "siblings": str(core), "governor": "performance"} for core in range(4)],
    "room": ROOM,
}
PC = {"machine": "x86_64", "clocksource": "tsc", "cpu_flags": "vmx constant_tsc", "smi_count": "0", "vgic": "no"}
WANTED = Wanted((0, 1, 2, 3), (2, 3), now_s=1_000_010.0)


def found(wanted: Wanted = WANTED, **told: Any) -> dict[str, Check]:
    facts = {f"preflight_{name}": value for name, value in {**GOOD, **told}.items()}
    return {check.name: check for check in checks(facts, wanted)}


@pytest.mark.parametrize("machine", [{}, PC])
def test_a_machine_that_is_set_up_passes_every_check(machine: dict[str, Any]) -> None:
    assert {check.state for check in found(**machine).values()} == {OK}


def rows(key: str, *values: str) -> dict[str, Any]:
    return {"cores": [{"core": str(core), key: value} for core, value in enumerate(values)]}


@pytest.mark.parametrize(
    ("told", "name", "state", "says"),
    [
        ({"user": "1000", "sudo": "password"}, "root", CANNOT, "sudo asks a password"),
        ({"user": "1000", "sudo": "none"}, "root", CANNOT, "there is no sudo"),
        ({"user": "1000", "sudo": "yes"}, "root", LIMITS, "sudo asks no password"),
        ({"user": ""}, "root", UNKNOWN, "not told"),
        ({"missing_tools": "chrt taskset"}, "tools", CANNOT, "missing: chrt taskset"),
        ({"fifo": "chrt: Operation not permitted"}, "SCHED_FIFO", CANNOT, "the kernel refuses it"),
        (
            {"fifo": "chrt: Operation not permitted", "capabilities": "00000000a80425fb"},
            "SCHED_FIFO",
            CANNOT,
            "root without CAP_SYS_NICE",
        ),
        (
            {"fifo": "Operation not permitted", "capabilities": "0", "user": "7"},
            "SCHED_FIFO",
            LIMITS,
            "not permitted to this user",
        ),
        ({"realtime": "0"}, "kernel", LIMITS, "without PREEMPT_RT"),
        ({"online": "0,2-3"}, "cores", CANNOT, "core 1 is offline"),
        ({"present": "0-1", "online": "0-1"}, "cores", CANNOT, "core 2-3 does not exist"),
        ({"present": "0-5"}, "cores", OK, "0-3 online of 0-5"),  # no cell uses the others
        ({"online": "0-"}, "cores", UNKNOWN, "not told"),
        ({"cmdline": "isolcpus=2-3"}, "isolcpus", LIMITS, "2-3 isolated by somebody else"),
        ({"cmdline": "isolcpus=domain,2-5"}, "isolcpus", LIMITS, "core 4-5 is not online"),
        ({"cmdline": "isolcpus=2 isolcpus=3"}, "isolcpus", LIMITS, "2 and 3"),
        ({"cmdline": "isolcpus=x"}, "isolcpus", LIMITS, "x"),
        ({"cmdline": 'dyndbg="file isolcpus=9 +p" rtvirt.kernel=k -- isolcpus=9'}, "isolcpus", OK, "2-3"),
        ({"isolated": "0-3"}, "isolcpus", CANNOT, "every core"),
        (rows("siblings", "0,2", "1,3", "0,2", "1,3"), "threads of one core", LIMITS, "0,2, 1,3"),
        (rows("siblings", "0-1", "0-1", "2-3", "2-3"), "threads of one core", OK, "none"),
        (rows("capacity", "446", "446", "446", "1024"), "kinds of cores", LIMITS, "2 with capacity 446"),
        ({"kvm": "absent", "boot_mode": "started at EL1"}, "KVM", CANNOT, "no /dev/kvm (started at EL1)"),
        ({"kvm": "closed"}, "KVM", CANNOT, "may not be opened"),
        ({"vgic": "no", "kvm_message": "kvm: no maintenance interrupt"}, "KVM", LIMITS, "no vgic (kvm: no maint"),
        ({**PC, "kvm": "absent", "cpu_flags": ""}, "KVM", CANNOT, "neither vmx nor svm"),
        ({**PC, "kvm": "absent"}, "KVM", CANNOT, "no /dev/kvm"),
        ({**PC, "cpu_flags": "vmx hypervisor"}, "KVM", LIMITS, "inside another hypervisor"),
        ({**PC, "cpu_flags": "vmx hypervisor"}, "TSC", LIMITS, "not constant"),
        (rows("idle_us", "1", "1", "250", "1"), "idle states", LIMITS, "up to 250 us"),
        (rows("governor", "ondemand", "schedutil", "schedutil", "schedutil"), "governor", LIMITS, "schedutil"),
        ({**PC, "clocksource": "hpet"}, "clock source", LIMITS, "hpet"),
        ({**PC, "smi_count": "7"}, "SMI", LIMITS, "7 since boot"),
        ({**PC, "smi_count": "lots"}, "SMI", UNKNOWN, "not counted"),
        ({"hwlat": "450 us in 60 s"}, "hardware latency", LIMITS, "450 us"),
        ({"hwlat": "3 us in 60 s"}, "hardware latency", OK, "3 us"),
        ({"hwlat": "cannot be measured: no tracer"}, "hardware latency", UNKNOWN, "no tracer"),
        ({"tuned": "running", "tuned_profile": "realtime"}, "tuned", LIMITS, "realtime"),
        ({"irqbalance": "yes"}, "irqbalance", LIMITS, "running"),
        (
            {"groups": [{"cpus": "2-3", "partition": "root", "path": "/sys/fs/cgroup/other.slice"}]},
            "owners of cores",
            CANNOT,
            "/sys/fs/cgroup/other.slice has 2-3 (root)",
        ),
        ({"groups": [{"cpus": "0-3", "partition": "member", "path": "/x"}]}, "owners of cores", OK, "none"),
        ({"room": [{"path": "/boot", "free_kib": "1024"}]}, "room", LIMITS, "/boot has 1 MiB"),
        ({"room": []}, "room", UNKNOWN, "not told"),
        ({"time_s": "0"}, "time", LIMITS, "1000010 s behind"),
        ({"time_s": "-1"}, "time", UNKNOWN, "not told"),
    ],
)
def test_each_thing_that_is_wrong_is_named_with_what_to_do(
    told: dict[str, Any], name: str, state: str, says: str
) -> None:
    check = found(**told)[name]
    assert check.state == state
    assert says in check.found
    assert bool(check.help) == (state != OK)


def test_a_guest_that_may_be_emulated_needs_no_kvm() -> None:
    check = found(Wanted((0,), (), may_emulate=True), kvm="absent")["KVM"]
    assert check.state == LIMITS
    assert "guests are emulated" in check.help
    assert "KVM" not in found(Wanted((0,), (), guest=False), kvm="absent")


@pytest.mark.parametrize(
    ("told", "state"),
    [
        ({}, LIMITS),
        ({"boot_mode": "CPU: All CPU(s) started at EL2"}, LIMITS),
        ({"boot_mode": "CPU: All CPU(s) started at EL1"}, CANNOT),
        ({"machine": "armv7l", "boot_mode": "CPU: All CPU(s) started in SVC mode."}, CANNOT),
        ({"kvm": "closed"}, CANNOT),
        ({**PC, "kvm": "closed"}, CANNOT),
        ({**PC, "kvm_message": "kvm: RT requires X86_FEATURE_CONSTANT_TSC"}, LIMITS),
        ({**PC, "kvm_message": "kvm: support for 'kvm_intel' disabled by bios"}, CANNOT),
        ({**PC, "cpu_flags": "hypervisor"}, CANNOT),
    ],
)
def test_a_kernel_that_is_booted_first_may_have_the_kvm_that_the_running_one_lacks(
    told: dict[str, str], state: str
) -> None:
    check = found(Wanted((0,), (), other_kernel=True), **{"kvm": "absent", **told})["KVM"]
    assert check.state == state
    assert ("kernel that is booted for the guest" in check.help) == (state == LIMITS)


def test_what_cannot_be_done_is_told_in_sentences() -> None:
    told = failures(list(found(online="0,2-3").values()))
    assert told == [
        "cores: 0,2-3 online of 0-3; core 1 is offline; bring it online "
        "(echo 1 > /sys/devices/system/cpu/cpu1/online), or use others"
    ]


def test_what_is_asked_is_joined_from_the_groups() -> None:
    group = {"host_cpus": "0", "guest_cpus": "2", "state": {"name": "minimal"}, "neighbour": {}}
    wider = {"host_cpus": "0-1", "guest_cpus": "2-3", "state": {}, "neighbour": {}}
    boots = [{"kernel": "debian-rt", "guests": [group]}, {"kernel": "running", "guests": [wider]}]
    asked = asked_by(boots, "fail", "real")
    assert wanted_of(asked, 5.0) == Wanted((0, 1, 2, 3), (2, 3), now_s=5.0, other_kernel=True)
    assert not asked_by([{**boots[1], "guests": [group]}, boots[0]], "fail", "real")["other_kernel"]
    assert not asked_by([{"kernel": "debian-rt", "guests": [wider]}], "fail", "real")["other_kernel"]
    assert asked_by(boots, "emulate", "real")["may_emulate"]
    virtual = asked_by(boots, "fail", "virtual")
    assert wanted_of(virtual, 5.0).now_s is None
    with pytest.raises(ValueError, match="not a list of cores"):
        wanted_of({"cpus": ["a"]}, 0.0)


def test_a_machine_that_tells_nothing_is_not_called_good() -> None:
    states = [check.state for check in checks({}, WANTED)]
    assert states.count(UNKNOWN) >= 6
    assert checks({"preflight_cores": "x", "preflight_room": [7], "preflight_online": ["0"]}, WANTED)


@pytest.mark.parametrize("shell", [["sh"], ["busybox", "sh"], ["bash", "--posix"]])
def test_this_machine_tells_what_it_is(shell: list[str]) -> None:
    text = compose(script_text("preflight"), {"RTVIRT_CHECK_MODE": "no"})
    done = subprocess.run(shell, input=text, capture_output=True, text=True, check=False, timeout=60)
    reply = parse(done.stdout)
    assert (reply.failure, reply.complete, reply.output, reply.changes, done.stderr) == (None, True, [], [], "")
    facts = reply.as_dict()
    assert {"preflight_user", "preflight_online", "preflight_kvm", "preflight_time_s"} <= set(facts)
    told = {check.name: check for check in checks(facts, Wanted((0,)))}
    assert told["cores"].state in (OK, LIMITS)
    assert told["room"].state != UNKNOWN
