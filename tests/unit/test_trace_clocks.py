"""The offset between two clocks, against made-up traces whose offset and drift are known."""

from __future__ import annotations

import random

import pytest
from fake_traces import TRUE_BEGIN, US, FakeClock, FakeTrace, idle, random_pair
from hypothesis import example, given, settings
from hypothesis import strategies as st

from rtvirt_runner.analysis.late.clocks import ClockSample, clock_bound
from rtvirt_runner.analysis.late.vcpus import vcpu_threads
from rtvirt_runner.parsers import ParseError
from rtvirt_runner.parsers.ftrace import parse

drifts = st.floats(-150e-6, 150e-6)
offsets = st.integers(-4_000_000_000_000, 4_000_000_000_000).map(float)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 2), offsets, drifts, st.booleans())
@example(11014, 2, 238.0, 1.977e-05, True)  # an event that may be on either side of a short time outside
@example(11014, 2, 238.0, 1.977e-05, False)
def test_the_true_offset_is_always_within_the_bound(
    seed: int, vcpus: int, offset: float, drift: float, arm: bool
) -> None:
    host, guest = random_pair(seed, vcpus, 60, offset, drift, arm)
    board, inside = host.parsed(), guest.parsed()
    bound = clock_bound(board, inside, vcpu_threads(board))
    assert bound.outside == 0
    for at in (inside.begin_ns, bound.middle_ns, inside.end_ns):
        low, high = bound.offset_ns(at)
        truth = guest.clock.true_offset(at)
        spans = [(low, high), *bound.rivals]
        assert any(a - 0.1 <= truth <= b + 0.1 for a, b in spans)
        assert bound.rivals or abs(bound.to_guest(bound.to_host(at)) - at) <= 1


def test_many_events_leave_one_narrow_bound() -> None:
    for seed in range(5):
        host, guest = random_pair(seed, 1, 300, 1.5e12, 40e-6, True)
        board = host.parsed()
        bound = clock_bound(board, guest.parsed(), vcpu_threads(board))
        assert not bound.rivals
        assert bound.width_ns(bound.middle_ns) < 12 * US


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6), drifts)
def test_samples_of_both_clocks_narrow_the_bound_and_keep_the_truth(seed: int, drift: float) -> None:
    host, guest = random_pair(seed, 1, 60, 7e11, drift, True)
    board, inside = host.parsed(), guest.parsed()
    threads = vcpu_threads(board)
    samples = []
    for part in (0.2, 0.5, 0.8):
        at = round(inside.begin_ns + part * (inside.end_ns - inside.begin_ns))
        samples.append(ClockSample(at, round(at + guest.clock.true_offset(at)), 1500))
    plain, tight = (clock_bound(board, inside, threads, samples=each) for each in ((), samples))
    assert tight.outside == 0
    assert tight.width_ns(tight.middle_ns) <= min(3001, plain.width_ns(plain.middle_ns) + 1)
    low, high = tight.offset_ns(tight.middle_ns)
    assert low - 1 <= guest.clock.true_offset(tight.middle_ns) <= high + 1


def test_samples_that_contradict_the_events_are_refused() -> None:
    host, guest = random_pair(3, 1, 100, 7e11, 0.0, True)
    board, inside = host.parsed(), guest.parsed()
    at = inside.begin_ns
    wrong = ClockSample(at, round(at + guest.clock.true_offset(at)) + 300 * US, 1000)
    with pytest.raises(ParseError, match=r"No offset between the clocks agrees with .* PTP_KVM"):
        clock_bound(board, inside, vcpu_threads(board), samples=[wrong])


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.sets(st.integers(0, 100), min_size=1, max_size=8))
def test_lost_events_never_exclude_the_truth(seed: int, lost: set[int]) -> None:
    """The kernel drops a stretch of the board's events and says so."""
    host, guest = random_pair(seed, 1, 60, 2e12, 0.0, True)
    lines = host.text()
    for percent in sorted(lost, reverse=True):
        at = 4 + (len(lines) - 20) * percent // 100
        cpus = {line[26:29] for line in lines[at : at + 9]}
        lines[at : at + 9] = [f"CPU:{int(cpu)} [LOST 9 EVENTS]\n" for cpu in sorted(cpus) if cpu.isdigit()]
    board, inside = parse(lines), guest.parsed()
    bound = clock_bound(board, inside, vcpu_threads(board))
    truth = guest.clock.true_offset(bound.middle_ns)
    assert any(a - 0.1 <= truth <= b + 0.1 for a, b in [bound.offset_ns(bound.middle_ns), *bound.rivals])


def test_traces_that_do_not_belong_together_are_refused() -> None:
    host, _ = random_pair(1, 1, 100, 0.0, 0.0, True)
    _, guest = random_pair(2, 1, 100, 0.0, 0.0, True)
    board = host.parsed()
    with pytest.raises(ParseError, match="No offset between the clocks agrees"):
        clock_bound(board, guest.parsed(), vcpu_threads(board))
    with pytest.raises(ParseError, match="expected the board to be traced longest"):
        clock_bound(parse(host.text()[:40]), guest.parsed(), vcpu_threads(board))
    with pytest.raises(ParseError, match="No event of the guest is on a vCPU"):
        clock_bound(board, guest.parsed(), {})


def test_a_periodic_guest_leaves_several_offsets_and_the_bound_says_so() -> None:
    host, guest = FakeTrace(), FakeTrace()
    task = ("CPU 0/KVM", 800)
    for turn in range(6):
        at = TRUE_BEGIN + turn * 1000 * US
        host.switch(at, 0, idle(0), task)
        host.add(at + 5 * US, 0, task, "kvm_entry: PC: 0xffff800080010000")
        if turn in {2, 3}:
            guest.add(at + 50 * US, 0, ("a", 5), "sched_waking: comm=x pid=302 prio=120 target_cpu=000")
        host.add(at + 100 * US, 0, task, "kvm_exit: IRQ: HSR_EC: 0x0000 (UNKNOWN), PC: 0xffff800080010000")
        host.switch(at + 105 * US, 0, task, idle(0))
    board = host.parsed()
    bound = clock_bound(board, guest.parsed(), vcpu_threads(board))
    assert len(bound.rivals) >= 4
    assert bound.as_dict()["ambiguous"]
    assert bound.width_ns(bound.middle_ns) > 3_000 * US


def test_a_board_whose_buffer_kept_only_the_end_is_enough() -> None:
    host, guest = random_pair(4, 1, 200, 3e12, 20e-6, False)
    lines = host.text()
    board = parse(["# entries-in-buffer/entries-written: 600/1000   #P:2\n", *lines[len(lines) * 2 // 5 :]])
    inside = guest.parsed()
    assert board.begin_ns > inside.begin_ns + guest.clock.true_offset(inside.begin_ns) + 1_000_000
    bound = clock_bound(board, inside, vcpu_threads(board))
    low, high = bound.offset_ns(bound.middle_ns)
    assert low <= guest.clock.true_offset(bound.middle_ns) <= high
    assert not bound.rivals
    assert high - low < 30 * US


def never_asleep(seed: int, offset: float, drift: float) -> tuple[FakeTrace, FakeTrace, list[int]]:
    """A vCPU that leaves its guest for its timer's interrupts alone; the board's times at which they were made pending.

    Some the guest takes late, since it has interrupts off.
    """
    dice = random.Random(seed)
    host, task = FakeTrace(), ("CPU 0/KVM", 800)
    guest = FakeTrace(FakeClock(offset, drift, round(TRUE_BEGIN - offset)))
    at, times = float(TRUE_BEGIN), []
    host.switch(at, 1, idle(1), task)
    host.add(at + 5 * US, 1, task, "kvm_entry: PC: 0xffff800080010000")
    for _ in range(300):
        at += dice.choice((90, 380, 620, 1000, 4000)) * US
        host.add(at, 1, task, "kvm_timer_update_irq: VCPU: 0, IRQ 27, level 1", "d.h1.")
        times.append(round(at / US) * US)
        host.add(at + 17 * US, 1, task, "kvm_exit: IRQ: HSR_EC: 0x0000 (UNKNOWN), PC: 0xffff800080010000")
        host.add(at + 25 * US, 1, task, "kvm_entry: PC: 0xffff800080010000")
        taken = at + 40 * US + (dice.random() < 0.1) * 30 * US
        guest.add(taken, 0, ("<idle>", 0), "irq_handler_entry: irq=11 name=arch_timer", "d.h1.")
        guest.add(taken + 9 * US, 0, ("<idle>", 0), "irq_handler_exit: irq=11 ret=handled", "d.h1.")
    host.add(at + 5_000_000, 0, ("sh", 77), "sched_waking: comm=x pid=302 prio=120 target_cpu=000")
    return host, guest, times


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6), offsets, drifts)
def test_timer_interrupts_tell_the_offset_of_a_vcpu_that_never_sleeps(seed: int, offset: float, drift: float) -> None:
    host, guest, times = never_asleep(seed, offset, drift)
    board, inside = host.parsed(), guest.parsed()
    truth = guest.clock.true_offset(inside.end_ns)
    near = (truth - 3e9, truth + 1e9)
    bound = clock_bound(board, inside, vcpu_threads(board), near_ns=near, injections={0: times}, last_ns=300_000_000)
    spans = [bound.offset_ns(inside.end_ns), *bound.rivals]  # so few events leave slivers, close together
    assert min(low for low, _ in spans) - US <= truth <= max(high for _, high in spans) + US
    assert bound.width_ns(inside.end_ns) < 200 * US
    assert bound.outside == 0


def test_injections_that_cannot_be_those_of_the_interrupts_say_nothing() -> None:
    host, guest, times = never_asleep(1, 7e11, 0.0)
    board, inside = host.parsed(), guest.parsed()
    threads = vcpu_threads(board)
    plain, odd = (clock_bound(board, inside, threads, injections=each) for each in (None, {0: times[::7]}))
    assert odd.offset_ns(odd.middle_ns) == plain.offset_ns(plain.middle_ns)


def test_two_guests_on_a_board_need_their_threads_named() -> None:
    host = FakeTrace()
    for tid in (800, 900):
        host.add(TRUE_BEGIN + tid, 0, ("CPU 0/KVM", tid), "kvm_entry: PC: 0xffff800080010000")
    with pytest.raises(ParseError, match=r"2 threads of a vCPU 0 \(800, 900\)"):
        vcpu_threads(host.parsed())
    assert vcpu_threads(host.parsed(), {0: 900})[0].tid == 900
