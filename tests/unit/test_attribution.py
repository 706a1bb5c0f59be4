"""Who made a wake-up late: spikes made on purpose in made-up traces, found with the right side, name and length."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from fake_traces import US, FakePair, late_once
from hypothesis import given, settings
from hypothesis import strategies as st

from rtvirt_runner.analysis.late.attribution import Cause, Explanation, Owner, time_line
from rtvirt_runner.analysis.late.words import causes_across, headline, phrase, sentences, table_of_causes
from rtvirt_runner.parsers.ftrace import parse

DATA = Path(__file__).parents[1] / "data" / "ftrace"
MADE = {
    "host_thread": Owner(Cause.TASK, "host", "rogue"),
    "host_interrupts_off": Owner(Cause.INTERRUPTS_OFF, "host", "insmod"),
    "host_interrupts": Owner(Cause.INTERRUPT, "host", "eth0"),
    "user_exits": Owner(Cause.USER_EXIT, "host", "DABT_LOW"),
}
IN_GUEST = {
    "interrupts": Owner(Cause.INTERRUPTS_OFF, "guest", "stress"),
    "preemption": Owner(Cause.PREEMPTION_OFF, "guest", "stress"),
    "task": Owner(Cause.TASK, "guest", "stress"),
}


def worst(pair: FakePair, **more) -> Explanation:
    return time_line(pair.host.parsed(), pair.guest.parsed(), **more).worst("guest", 1)[0]


def check(explanation: Explanation, owner: Owner, length: float) -> None:
    """The right side, thread and duration, within 10 % and 20 us; and nothing is missing from the sum."""
    assert explanation.culprit == owner, explanation.totals
    found = explanation.totals[owner]
    assert abs(found - length) <= min(0.1 * length, 20 * US) + 4 * US
    assert sum(explanation.totals.values()) == explanation.wakeup.latency_ns
    assert explanation.wakeup.latency_ns >= length
    assert explanation.unknown_ns <= 0.02 * explanation.wakeup.latency_ns
    for before, after in zip(explanation.slices, explanation.slices[1:], strict=False):
        assert before.end_ns == after.begin_ns


lengths = st.integers(300, 4000).map(lambda us: us * US)


@pytest.mark.parametrize("kind", MADE)
@settings(max_examples=5, deadline=None)
@given(lengths)
def test_what_was_in_the_way_on_the_host_is_named(kind: str, length: int) -> None:
    check(worst(late_once(kind, length)), MADE[kind], length)


@pytest.mark.parametrize("where", IN_GUEST)
@settings(max_examples=5, deadline=None)
@given(lengths)
def test_what_was_in_the_way_in_the_guest_is_named(where: str, length: int) -> None:
    check(worst(late_once("in_busy_guest", length, where=where)), IN_GUEST[where], length)


def test_qemus_threads_and_other_vcpus_are_told_from_other_threads() -> None:
    main = late_once("host_thread", 700 * US, thread=("qemu-system-aar", 790), prio=98)
    check(worst(main), Owner(Cause.QEMU, "host", "qemu-system-aar"), 700 * US)
    worker = late_once("host_thread", 700 * US, thread=("worker", 791), prio=98)
    check(worst(worker), Owner(Cause.TASK, "host", "worker"), 700 * US)
    check(worst(worker, qemu=[790, 791]), Owner(Cause.QEMU, "host", "worker"), 700 * US)
    other = late_once("host_thread", 700 * US, thread=("CPU 1/KVM", 801), prio=98)
    other.host.add(other.at, 0, ("CPU 1/KVM", 801), "kvm_entry: PC: 0xffff800080010000")
    check(worst(other), Owner(Cause.OTHER_VCPU, "host", "vCPU 1"), 700 * US)


def test_a_vcpu_that_migrates_is_followed_from_core_to_core() -> None:
    explanation = worst(late_once("migrated", 900 * US))
    for name, core in (("rogue", 1), ("other", 0)):
        owner = Owner(Cause.TASK, "host", name)
        assert explanation.totals[owner] == pytest.approx(450 * US, abs=4 * US)
        assert {part.cpu for part in explanation.slices if part.owner == owner} == {core}
    assert sum(explanation.totals.values()) == explanation.wakeup.latency_ns


def test_the_offset_between_the_clocks_is_found_with_no_event_outside() -> None:
    pair = late_once("host_thread", 900 * US, offset_ns=3.25e12)
    line = time_line(pair.host.parsed(), pair.guest.parsed())
    assert line.clock is not None
    assert line.clock.outside == 0
    low, high = line.clock.offset_ns(line.clock.middle_ns)
    assert low <= 3.25e12 <= high
    explanation = line.worst("guest", 1)[0]
    assert explanation.bound_ns is not None
    assert explanation.bound_ns < 30 * US
    assert explanation.warnings == ()


def test_a_guest_alone_says_what_it_cannot_tell() -> None:
    pair = late_once("in_busy_guest", 900 * US, where="task")
    alone = time_line(None, pair.guest.parsed()).worst("guest", 1)[0]
    check(alone, IN_GUEST["task"], 900 * US)
    assert "Only the guest was traced" in alone.warnings[0]
    assert time_line(None, pair.guest.parsed()).worst("host") == []


def test_a_board_alone_explains_its_own_wake_ups() -> None:
    """Captured on a machine of x86 whose kernel is not fully preemptible, with kdamond in the way."""
    trace = parse((DATA / "host_x86.txt").read_text().splitlines(keepends=True))
    line = time_line(trace, None)
    for explanation in line.worst("host", 30):
        assert sum(explanation.totals.values()) == explanation.wakeup.latency_ns
        assert explanation.unknown_ns == 0
        assert {owner.side for owner in explanation.totals} == {"host"}


def test_what_the_traces_lost_is_unknown_and_said() -> None:
    pair = late_once("host_thread", 900 * US)
    lines = pair.host.text()
    number = next(at for at, text in enumerate(lines) if "prev_comm=rogue" in text)
    lines[number - 1 : number] = ["CPU:1 [LOST 1 EVENTS]\n"]
    explanation = time_line(parse(lines), pair.guest.parsed()).worst("guest", 1)[0]
    assert explanation.culprit.cause is Cause.UNKNOWN
    assert explanation.unknown_ns >= 890 * US
    assert sum(explanation.totals.values()) == explanation.wakeup.latency_ns
    assert any("1 events were lost" in each for each in explanation.warnings)


def test_clocks_that_are_not_known_well_enough_are_said() -> None:
    """A guest of which one wake-up was traced fits to each that was on time."""
    pair = late_once("host_thread", 900 * US)
    guest = [text for text in pair.guest.text() if not text.startswith("#")]
    explanation = time_line(pair.host.parsed(), parse(guest[7:16])).worst("guest", 1)[0]
    assert "More than one offset" in explanation.warnings[0]
    assert explanation.bound_ns is not None
    assert explanation.bound_ns > explanation.wakeup.latency_ns


@pytest.mark.parametrize(
    ("width", "doubt"), [(2_000, "cannot be relied on"), (915, "more than the longest cause"), (50, "")]
)
def test_a_bound_wider_than_what_it_is_to_explain_is_said(width: int, doubt: str) -> None:
    pair = late_once("host_thread", 900 * US)
    line = time_line(pair.host.parsed(), pair.guest.parsed())
    assert line.clock is not None
    middle = sum(offset for offset, _ in line.clock.corners) / len(line.clock.corners)
    corners = ((middle - width * US / 2, 0.0), (middle + width * US / 2, 0.0))
    wide = replace(line, clock=replace(line.clock, corners=corners))
    explanation = wide.worst("guest", 1)[0]
    assert explanation.bound_ns == pytest.approx(width * US)
    assert any(doubt in each for each in explanation.warnings) if doubt else explanation.warnings == ()


def test_the_end_is_when_cyclictest_read_the_clock_where_it_says_so() -> None:
    pair = late_once("in_busy_guest", 900 * US, where="task")
    plain = worst(pair)
    said = plain.wakeup.latency_ns // 1000 + 3
    pair.guest.add(
        plain.wakeup.ran_ns + 4 * US,
        0,
        ("cyclictest", 310),
        f"tracing_mark_write: hit latency threshold ({said} > 250)",
    )
    assert worst(pair).wakeup.latency_ns == pytest.approx(said * US, abs=200)  # as the clocks may drift


def test_the_explanation_in_words_names_the_culprit_and_adds_up() -> None:
    explanation = worst(late_once("host_thread", 699 * US, thread=("qemu-system-aar", 790), prio=98))
    said = sentences(explanation)
    latency = explanation.wakeup.latency_ns / 1000
    assert said[0] == f"cyclictest woke up {latency:.0f} µs after its timer was due, on core 0 in the guest."
    assert said[1] == "700 µs: QEMU's own thread qemu-system-aar ran on the core of the vCPU."
    assert headline(explanation).startswith(
        f"{latency:.0f} µs late; for 700 µs of it QEMU's own thread qemu-system-aar"
    )
    assert said[-1].endswith("smaller causes.")


@pytest.mark.parametrize("cause", Cause)
def test_every_cause_has_words_on_the_host_and_in_the_guest_where_it_can_occur(cause: Cause) -> None:
    explanation = worst(late_once("host_thread", 700 * US))
    host_only = {Cause.QEMU, Cause.OTHER_VCPU, Cause.EXIT, Cause.USER_EXIT, Cause.NOT_INJECTED}
    for side in ("host",) if cause in host_only else ("host", "guest"):
        words = phrase(Owner(cause, side, "x"), explanation)
        assert "{" not in words
        assert words[0].islower() or words.startswith(("QEMU", "x"))


def test_causes_are_counted_over_many_wake_ups_and_compared_over_a_matrix() -> None:
    pair = late_once("host_thread", 700 * US)
    line = time_line(pair.host.parsed(), pair.guest.parsed())
    paper = line.worst("guest", 5)
    rows = table_of_causes(paper)
    assert rows[0].owner == MADE["host_thread"]
    assert (rows[0].wakeups, rows[0].culprit_of, rows[0].total_ns) == (1, 1, rows[0].most_ns)
    assert sum(row.total_ns for row in rows) == sum(each.wakeup.latency_ns for each in paper)
    assert sum(row.culprit_of for row in rows) == 5
    across = causes_across({"paper": paper, "full": line.worst("guest", 100)[-5:], "none": []})
    assert across[0].owner == MADE["host_thread"]
    assert across[0].mean_ns == {"paper": rows[0].total_ns / 5, "full": 0.0}
