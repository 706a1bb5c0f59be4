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
