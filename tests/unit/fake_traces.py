"""Made-up traces of a board and its guest, of which the truth is known: what ran when, offset and drift."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from rtvirt_runner.parsers.ftrace import Trace, parse

US = 1000  # ns
TRUE_BEGIN = 5_000_000_000_000  # of the board's clock, ns


@dataclass
class FakeClock:
    """A machine's trace clock, as a function of the board's: board = machine + offset + drift * (machine - origin)."""

    offset_ns: float = 0.0
    drift: float = 0.0
    origin_ns: int = 0

    def shows(self, board_ns: float) -> float:
        """What it shows at a time of the board."""
        return (board_ns - self.offset_ns + self.drift * self.origin_ns) / (1 + self.drift)

    def true_offset(self, shown_ns: float) -> float:
        """Board minus machine when it shows this."""
        return self.offset_ns + self.drift * (shown_ns - self.origin_ns)


@dataclass
class FakeTrace:
    """Lines of a machine; times are the board's, in ns."""

    clock: FakeClock = field(default_factory=FakeClock)
    lines: list[tuple[float, str]] = field(default_factory=list)

    def add(self, at: float, cpu: int, task: tuple[str, int], event: str, flags: str = "d..2.") -> None:
        """An event; the kernel rounds to microseconds."""
        micros = round(self.clock.shows(at) / US)
        comm, pid = task
        when = f"{micros // 1_000_000:5d}.{micros % 1_000_000:06d}"
        self.lines.append((at, f"{comm:>16}-{pid:<7d} [{cpu:03d}] {flags} {when}: {event}\n"))

    def switch(
        self, at: float, cpu: int, old: tuple[str, int], new: tuple[str, int], state: str = "S", prios=(120, 120)
    ):
        """sched_switch."""
        said = (
            f"sched_switch: prev_comm={old[0]} prev_pid={old[1]} prev_prio={prios[0]} prev_state={state} ==> "
            f"next_comm={new[0]} next_pid={new[1]} next_prio={prios[1]}"
        )
        self.add(at, cpu, ("<idle>" if old[1] == 0 else old[0], old[1]), said)

    def text(self) -> list[str]:
        """As tracefs' file trace."""
        head = ["# tracer: nop\n", "#\n", "#           TASK-PID     CPU#  |||||  TIMESTAMP  FUNCTION\n"]
        return head + [line for _, line in sorted(self.lines, key=lambda each: each[0])]

    def parsed(self) -> Trace:
        """As the parser reads it."""
        return parse(self.text())


def idle(cpu: int) -> tuple[str, int]:
    """The idle task of a core."""
    return (f"swapper/{cpu}", 0)


def random_pair(
    seed: int, vcpus: int, milliseconds: int, offset_ns: float, drift: float, arm: bool
) -> tuple[FakeTrace, FakeTrace]:
    """vCPUs that enter and leave, sleep, wait and migrate at random, and a guest that does something when it can."""
    dice = random.Random(seed)
    host = FakeTrace()
    middle = TRUE_BEGIN + milliseconds * 500_000
    origin = round(middle - offset_ns)
    guest = FakeTrace(FakeClock(offset_ns, drift, origin))
    end = TRUE_BEGIN + milliseconds * 1_000_000
    for vcpu in range(vcpus):
        task, cpu = (f"CPU {vcpu}/KVM", 800 + vcpu), vcpu
        at = TRUE_BEGIN + dice.randrange(200_000)
        host.switch(at, cpu, idle(cpu), task)
        while at < end:
            at += dice.randrange(1, 8) * US
            host.add(
                at, cpu, task, "kvm_entry: PC: 0xffff800080010000" if arm else f"kvm_entry: vcpu {vcpu}, rip 0xffff8000"
            )
            stay = dice.choice((6, 25, 90, 700)) * US * dice.uniform(0.6, 1.4)
            for _ in range(dice.randrange(4)):
                guest.add(
                    at + dice.random() * stay,
                    vcpu,
                    ("stress", 301),
                    "sched_waking: comm=x pid=302 prio=120 target_cpu=000",
                )
            at += stay
            leave = (
                "TRAP: HSR_EC: 0x0001 (WFx), PC: 0xffff800080010000"
                if arm
                else f"vcpu {vcpu} reason HLT rip 0x1 info1 0x0"
            )
            host.add(at, cpu, task, f"kvm_exit: {leave}")
            if dice.random() < 0.6:
                at += dice.randrange(2, 9) * US
                host.switch(at, cpu, task, idle(cpu))
                at += dice.choice((20, 120, 900)) * US * dice.uniform(0.5, 1.5)
                if vcpus == 1 and dice.random() < 0.3:
                    host.add(
                        at,
                        cpu,
                        idle(cpu),
                        f"sched_migrate_task: comm={task[0]} pid={task[1]} prio=120 orig_cpu={cpu} dest_cpu={1 - cpu}",
                    )
                    cpu = 1 - cpu
                host.switch(at + US, cpu, idle(cpu), task)
                at += US
    host.add(end + 5_000_000, 0, ("sh", 77), "sched_waking: comm=x pid=302 prio=120 target_cpu=000")
    return host, guest


VCPU, CYCLICTEST, BUSY = ("CPU 0/KVM", 800), ("cyclictest", 310), ("stress", 301)
CORE = 1  # of the board, on which vCPU 0 runs
PERIOD = 1_000_000
WFX, IRQ, MMIO = "TRAP: HSR_EC: 0x0001 (WFx)", "IRQ: HSR_EC: 0x0000 (UNKNOWN)", "TRAP: HSR_EC: 0x0024 (DABT_LOW)"


@dataclass
class FakePair:
    """cyclictest in a guest of one vCPU (FIFO 1, the kernel's priority 98), and one wake-up that is late on purpose."""

    offset_ns: float = -3.2e12
    host: FakeTrace = field(default_factory=FakeTrace)
    guest: FakeTrace = field(init=False)
    at: float = TRUE_BEGIN
    vcpu_prio: int = 98
    core: int = CORE

    def __post_init__(self) -> None:
        self.guest = FakeTrace(FakeClock(self.offset_ns))
        self.host.switch(self.at - 340 * US, self.core, VCPU, idle(self.core), prios=(98, 120))
        self.start(self.at - 320 * US, self.at)

    # ------------------------------------------------------------------------------------------------ what happens

    def on_host(self, event: str, task: tuple[str, int] = VCPU, flags: str = "d..2.") -> None:
        self.host.add(self.at, self.core, ("<idle>", 0) if task[1] == 0 else task, event, flags)

    def in_guest(self, event: str, task: tuple[str, int], flags: str = "d..2.") -> None:
        self.guest.add(self.at, 0, ("<idle>", 0) if task[1] == 0 else task, event, flags)

    def start(self, at: float, due: float) -> None:
        """The guest's timer: its expiry is on the guest's CLOCK_MONOTONIC, 7 s behind mono_raw."""
        expires = round(self.guest.clock.shows(due)) - 7_000_000_000
        self.guest.add(
            at,
            0,
            CYCLICTEST,
            f"hrtimer_start: hrtimer=0c function=hrtimer_wakeup expires={expires} softexpires={expires}",
        )

    def enter(self) -> None:
        self.at += 3 * US
        self.on_host("kvm_entry: PC: 0xffff800080010000")
        self.at += 2 * US

    def leave(self, why: str) -> None:
        self.at += 2 * US
        self.on_host(f"kvm_exit: {why}, PC: 0xffff800080010000")
        self.at += 2 * US

    def host_timer(self, running: tuple[str, int]) -> None:
        """The host's timer that stands in for the guest's wakes the vCPU's thread."""
        self.on_host("irq_handler_entry: irq=11 name=arch_timer", running, "d.h2.")
        self.at += 2 * US
        self.on_host(
            f"sched_waking: comm={VCPU[0]} pid={VCPU[1]} prio={self.vcpu_prio} target_cpu={self.core:03d}",
            running,
            "d.h4.",
        )
        self.at += US
        self.on_host("irq_handler_exit: irq=11 ret=handled", running, "d.h2.")
        self.at += US

    def inject(self) -> None:
        self.at += US
        self.on_host("kvm_timer_update_irq: VCPU: 0, IRQ 27, level 1")

    def guest_timer(self, running: tuple[str, int]) -> None:
        """The guest's timer interrupt wakes cyclictest."""
        now = round(self.guest.clock.shows(self.at)) - 7_000_000_000
        self.in_guest("irq_handler_entry: irq=11 name=arch_timer", running, "d.h1.")
        self.at += US
        self.in_guest(f"hrtimer_expire_entry: hrtimer=0c function=hrtimer_wakeup now={now}", running, "d.h1.")
        self.at += US
        self.in_guest("sched_waking: comm=cyclictest pid=310 prio=19 target_cpu=000", running, "d.h4.")
        self.in_guest("hrtimer_expire_exit: hrtimer=0c", running, "d.h1.")
        self.at += US
        self.in_guest("irq_handler_exit: irq=11 ret=handled", running, "d.h1.")
        self.at += 2 * US

    def run(self, before: tuple[str, int], due: float, prio: int = 120, state: str = "R") -> None:
        """cyclictest runs, and sleeps again."""
        self.guest.switch(self.at, 0, before, CYCLICTEST, state, (prio, 19))
        self.at += 5 * US
        self.start(self.at, due + PERIOD)
        self.at += 2 * US

    def sleep(self) -> None:
        """All of the guest sleeps, and the vCPU's thread with it."""
        self.guest.switch(self.at, 0, CYCLICTEST, idle(0), "S", (19, 120))
        self.leave(WFX)
        self.at += 3 * US
        self.host.switch(self.at, self.core, VCPU, idle(self.core), "S", (self.vcpu_prio, 120))

    # ------------------------------------------------------------------------------------------------------- turns

    def usual(self, due: float) -> None:
        """A wake-up with nothing in the way."""
        self.at = due + US
        self.host_timer(idle(self.core))
        self.host.switch(self.at, self.core, idle(self.core), VCPU, "R", (120, self.vcpu_prio))
        self.inject()
        self.enter()
        self.guest_timer(idle(0))
        self.run(idle(0), due)
        self.sleep()

    def host_thread(self, due: float, length: float, thread: tuple[str, int] = ("rogue", 600), prio: int = 9) -> None:
        """A thread has the vCPU's core until ``length`` after the vCPU's thread was woken."""
        self.at = due - 50 * US
        self.host.switch(self.at, self.core, idle(self.core), thread, "R", (120, prio))
        self.at = due + US
        self.host_timer(thread)
        self.at += length
        self.host.switch(self.at, self.core, thread, VCPU, "S", (prio, self.vcpu_prio))
        self.inject()
        self.enter()
        self.guest_timer(idle(0))
        self.run(idle(0), due)
        self.sleep()

    def host_interrupts_off(self, due: float, length: float) -> None:
        """The host's timer interrupt comes late, while a thread runs with interrupts off."""
        self.at = due - 50 * US
        self.host.switch(self.at, self.core, idle(self.core), ("insmod", 601), "R", (120, 120))
        self.at = due + length
        self.host_timer(("insmod", 601))
        self.host.switch(self.at, self.core, ("insmod", 601), VCPU, "R", (120, self.vcpu_prio))
        self.inject()
        self.enter()
        self.guest_timer(idle(0))
        self.run(idle(0), due)
        self.sleep()

    def host_interrupts(self, due: float, length: float) -> None:
        """Interrupts of a device take the core after the vCPU's thread was woken."""
        self.at = due + US
        self.host_timer(idle(self.core))
        for _ in range(20):
            self.on_host("irq_handler_entry: irq=40 name=eth0", idle(self.core), "d.h2.")
            self.at += length / 20
            self.on_host("irq_handler_exit: irq=40 ret=handled", idle(self.core), "d.h2.")
            self.at += US
        self.host.switch(self.at, self.core, idle(self.core), VCPU, "R", (120, self.vcpu_prio))
        self.inject()
        self.enter()
        self.guest_timer(idle(0))
        self.run(idle(0), due)
        self.sleep()

    def user_exits(self, due: float, length: float) -> None:
        """The guest's interrupt controller is QEMU's: each access leaves the guest, and KVM too."""
        self.at = due + US
        self.host_timer(idle(self.core))
        self.host.switch(self.at, self.core, idle(self.core), VCPU, "R", (120, self.vcpu_prio))
        self.enter()
        self.in_guest("rcu_utilization: Start", idle(0), "d.h1.")
        for _ in range(4):
            self.leave(MMIO)
            self.on_host("kvm_userspace_exit: reason KVM_EXIT_MMIO (6)")
            self.at += length / 4
            self.enter()
        self.guest_timer(idle(0))
        self.run(idle(0), due)
        self.sleep()

    def in_busy_guest(self, due: float, length: float, where: str) -> None:
        """A guest that was not asleep: ``interrupts`` off, ``preemption`` off, or a ``task`` before cyclictest."""
        prio = 9 if where == "task" else 120
        self.at = due - 60 * US
        self.host.switch(self.at, self.core, idle(self.core), VCPU, "R", (120, self.vcpu_prio))
        self.enter()
        self.guest.switch(self.at, 0, idle(0), BUSY, "R", (120, prio))
        self.at = due + US
        self.leave(IRQ)
        self.inject()
        self.enter()
        self.at += length if where == "interrupts" else 0
        self.guest_timer(BUSY)
        self.at += 0 if where == "interrupts" else length
        self.run(BUSY, due, prio, "S" if where == "task" else "R")
        self.sleep()

    def migrated(self, due: float, length: float) -> None:
        """A thread has the vCPU's core; half way the vCPU's thread is moved to another core, which is taken as well."""
        self.at = due - 50 * US
        self.host.switch(self.at, self.core, idle(self.core), ("rogue", 600), "R", (120, 9))
        self.at = due + US
        self.host_timer(("rogue", 600))
        self.at += length / 2
        moved = f"comm={VCPU[0]} pid={VCPU[1]} prio={self.vcpu_prio} orig_cpu={self.core} dest_cpu=0"
        self.on_host(f"sched_migrate_task: {moved}", ("rogue", 600))
        self.host.switch(self.at, 0, idle(0), ("other", 602), "R", (120, 9))
        self.at += US
        self.host.switch(self.at, self.core, ("rogue", 600), idle(self.core), "S", (9, 120))
        self.core = 0
        self.at += length / 2 - US
        self.host.switch(self.at, 0, ("other", 602), VCPU, "S", (9, self.vcpu_prio))
        self.inject()
        self.enter()
        self.guest_timer(idle(0))
        self.run(idle(0), due)
        self.sleep()
        self.core = CORE


def late_once(kind: str, length: float, offset_ns: float = -3.2e12, **more) -> FakePair:
    """Twenty usual wake-ups, one that is late by ``length`` more (ns), twenty usual ones."""
    pair = FakePair(offset_ns)
    for turn in range(41):
        due = TRUE_BEGIN + turn * PERIOD
        if turn == 20:
            getattr(pair, kind)(due, length, **more)
            pair.start(pair.at - 9 * US, TRUE_BEGIN + 26 * PERIOD)
        elif turn < 20 or turn >= 26:
            pair.usual(due)
    pair.host.add(pair.at + 9_000 * US, 0, ("sh", 77), "sched_waking: comm=x pid=302 prio=120 target_cpu=000")
    return pair
