"""Explanations in words: a sentence for each cause, and tables of causes over many wake-ups."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from rtvirt_runner.analysis.late.attribution import Cause, Explanation, Owner
from rtvirt_runner.analysis.late.vcpus import BACK

_HOST: Mapping[Cause, str] = {
    Cause.TASK: "the thread {who} ran on the host on the core of {victim}",
    Cause.QEMU: "QEMU's own thread {who} ran on the core of {victim}",
    Cause.OTHER_VCPU: "{who} of the same guest ran on the core of {victim}",
    Cause.INTERRUPT: "the host handled the interrupt {who} on the core of {victim}",
    Cause.SOFTIRQ: "the host handled the softirq {who} on the core of {victim}",
    Cause.INTERRUPTS_OFF: "the host's timer interrupt came late, while {who} ran with interrupts off",
    Cause.PREEMPTION_OFF: "the host's kernel did not preempt {who}, which has a lower priority",
    Cause.IDLE: "the host's core took this long to leave idle",
    Cause.TIMER: "the host's timer interrupt was handled",
    Cause.SWITCH: "the host switched to {victim}, which it had woken",
    Cause.EXIT: "the vCPU was outside of the guest, for KVM to handle {exit}",
    Cause.USER_EXIT: "the vCPU was outside of the guest, for QEMU to handle {exit}",
    Cause.NOT_INJECTED: "the guest had not been given its timer interrupt",
    Cause.UNKNOWN: "nothing that was traced on the host says what happened",
}
_GUEST: Mapping[Cause, str] = {
    Cause.TASK: "the thread {who} ran in the guest before {thread}",
    Cause.INTERRUPT: "the guest handled the interrupt {who}",
    Cause.SOFTIRQ: "the guest handled the softirq {who}",
    Cause.INTERRUPTS_OFF: "the guest did not take its timer interrupt, while {who} ran with interrupts off",
    Cause.PREEMPTION_OFF: "the guest's kernel did not preempt {who}, which has a lower priority",
    Cause.IDLE: "the guest took this long to leave idle",
    Cause.TIMER: "the guest's timer interrupt was handled",
    Cause.SWITCH: "the guest switched to {thread}, which it had woken",
    Cause.UNKNOWN: "nothing that was traced in the guest says what happened",
}
_EXITS = {
    "WFx": "the guest going to sleep (WFx)",
    "HLT": "the guest going to sleep (HLT)",
    "hlt": "the guest going to sleep (hlt)",
    "IRQ": "an interrupt of the host",
    "EXTERNAL_INTERRUPT": "an interrupt of the host",
    "interrupt": "an interrupt of the host",
    "DABT_LOW": "an access to an emulated device (DABT_LOW)",
    "EPT_MISCONFIG": "an access to an emulated device (EPT_MISCONFIG)",
    "SYS64": "an access to a system register (SYS64)",
    "MSR_WRITE": "an access to a system register (MSR_WRITE)",
}
_NAMELESS = "an unnamed one"


def phrase(owner: Owner, explanation: Explanation) -> str:
    """What an owner did, without a full stop."""
    return phrase_of(owner, explanation.side, explanation.wakeup.comm)


def phrase_of(owner: Owner, side: str, thread: str) -> str:
    """What an owner did before a thread of a side (host or guest) ran, without a full stop."""
    victim = "the vCPU" if side == "guest" else thread
    if owner.who == BACK:
        return "the host took the vCPU, which had slept, back into the guest"
    said = (_HOST if owner.side == "host" else _GUEST)[owner.cause]
    way = _EXITS.get(owner.who, f"an exit ({owner.who})" if owner.who else "what it had left it for")
    return said.format(who=owner.who or _NAMELESS, victim=victim, thread=thread, exit=way)


def sentences(explanation: Explanation, least: float = 0.05) -> list[str]:
    """The explanation: what was late and by how much, then a sentence for each cause, the longest first, doubts last.

    Causes below the share ``least`` of the latency are taken together.
    """
    wakeup = explanation.wakeup
    where = "in the guest" if explanation.side == "guest" else "on the host"
    said = [f"{wakeup.comm} woke up {_us(wakeup.latency_ns)} after its timer was due, on core {wakeup.cpu} {where}."]
    rest = count = 0
    for owner, length in explanation.totals.items():
        if length < least * wakeup.latency_ns and owner.cause is not Cause.UNKNOWN:
            rest, count = rest + length, count + 1
            continue
        said.append(f"{_us(length)}: {phrase(owner, explanation)}.")
    if count:
        said.append(f"{_us(rest)}: {smaller(count)}.")
    return [*said, *explanation.warnings]


def headline(explanation: Explanation) -> str:
    """The culprit in one sentence, or that there is none to be named."""
    owner, latency = explanation.culprit, explanation.wakeup.latency_ns
    length = explanation.totals.get(owner, 0)
    if owner.cause is Cause.UNKNOWN:
        return f"{_us(latency)} late; for {_us(length)} of it nobody can be named."
    return f"{_us(latency)} late; for {_us(length)} of it {phrase(owner, explanation)}."


def smaller(count: int) -> str:
    """How causes that are not shown one by one are called."""
    return f"{count} smaller cause{'s' if count != 1 else ''}"


@dataclass(frozen=True)
class CauseRow:
    """One row of a table of causes over several wake-ups; times in ns."""

    owner: Owner
    wakeups: int  # in which it had a part
    culprit_of: int  # in which it had the greatest part
    total_ns: int
    most_ns: int  # in one wake-up

    def as_dict(self) -> dict[str, object]:
        """For JSON and for a CSV file, in us."""
        return {
            "cause": self.owner.cause.value,
            "side": self.owner.side,
            "who": self.owner.who,
            "wakeups": self.wakeups,
            "culprit_of": self.culprit_of,
            "total_us": self.total_ns / 1000,
            "most_us": self.most_ns / 1000,
        }


def table_of_causes(explanations: Iterable[Explanation]) -> list[CauseRow]:
    """Who took how much of several late wake-ups, the greatest total first."""
    found: dict[Owner, CauseRow] = {}
    for explanation in explanations:
        for owner, length in explanation.totals.items():
            row = found.get(owner, CauseRow(owner, 0, 0, 0, 0))
            found[owner] = CauseRow(
                owner,
                row.wakeups + 1,
                row.culprit_of + (owner == explanation.culprit),
                row.total_ns + length,
                max(row.most_ns, length),
            )
    return sorted(found.values(), key=lambda row: (-row.total_ns, row.owner.cause.value, row.owner.who))


@dataclass(frozen=True)
class CauseAcross:
    """One cause over the cells of a matrix: its mean part of their late wake-ups in ns, 0 where it does not occur."""

    owner: Owner
    mean_ns: Mapping[str, float]  # by cell, or by what tells cells apart


def causes_across(cells: Mapping[str, Sequence[Explanation]]) -> list[CauseAcross]:
    """Which setting took which cause away: the mean time per late wake-up of each cause, in each group of cells.

    ``cells``: explained wake-ups by the name of their group (a tuning, say); a group without any has no numbers.
    """
    groups = {name: each for name, each in cells.items() if each}
    tables = {
        name: {row.owner: row.total_ns / len(each) for row in table_of_causes(each)} for name, each in groups.items()
    }
    owners = {owner for table in tables.values() for owner in table}
    rows = [CauseAcross(owner, {name: table.get(owner, 0.0) for name, table in tables.items()}) for owner in owners]
    return sorted(
        rows, key=lambda row: (-max(row.mean_ns.values()), row.owner.cause.value, row.owner.side, row.owner.who)
    )


def _us(ns: float) -> str:
    return f"{ns / 1000:,.0f} µs" if ns >= 9_500 else f"{ns / 1000:.1f} µs"
