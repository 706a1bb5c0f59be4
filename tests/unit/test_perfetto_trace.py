"""Files for Perfetto, read back by its own protobuf classes."""

from __future__ import annotations

from typing import Any

import pytest
from fake_traces import US, late_once
from perfetto.protos.perfetto.trace import perfetto_trace_pb2 as pb2

from rtvirt_runner.analysis.late.attribution import TimeLine, time_line
from rtvirt_runner.analysis.late.perfetto_trace import GUEST_MACHINE, perfetto_trace
from rtvirt_runner.parsers.ftrace import InterruptEntry, Mark, Switch, Trace, Waking


@pytest.fixture(scope="module")
def written() -> tuple[TimeLine, Trace, Trace, Any]:
    pair = late_once("host_thread", 700 * US)
    host, guest = pair.host.parsed(), pair.guest.parsed()
    line = time_line(host, guest)
    assert line.clock is not None
    return line, host, guest, pb2.Trace.FromString(perfetto_trace(host, guest, line.clock, line.vcpus))


def ftrace(trace: Any, machine: int) -> list[tuple[int, int, Any]]:
    """Time, core and event of a machine, in order of time."""
    bundles = [
        packet.ftrace_events
        for packet in trace.packet
        if packet.HasField("ftrace_events") and packet.machine_id == machine
    ]
    found = [(event.timestamp, bundle.cpu, event) for bundle in bundles for event in bundle.event]
    return sorted(found, key=lambda each: each[:2])


def test_both_machines_have_their_names(written: tuple[TimeLine, Trace, Trace, Any]) -> None:
    named = [packet for packet in written[3].packet if packet.HasField("system_info")]
    assert {each.machine_id: each.system_info.machine_name for each in named} == {0: "board", GUEST_MACHINE: "guest"}


def test_events_of_the_guest_are_on_the_boards_clock(written: tuple[TimeLine, Trace, Trace, Any]) -> None:
    line, host, guest, trace = written
    assert line.clock is not None
    for machine, source, move in ((0, host, int), (GUEST_MACHINE, guest, line.clock.to_host)):
        for kind, name, value in (
            (Switch, "sched_switch", lambda body: (body.prev_pid, body.next_pid, body.next_comm, body.next_prio)),
            (Waking, "sched_waking", lambda body: (body.comm, body.pid, body.prio, body.target_cpu)),
            (InterruptEntry, "irq_handler_entry", lambda body: body.name),
        ):
            found = [(at, cpu, getattr(each, name)) for at, cpu, each in ftrace(trace, machine) if each.HasField(name)]
            given = [
                (move(each.at_ns), each.cpu, value(each.body)) for each in source.events if type(each.body) is kind
            ]
            assert [(at, cpu, value(each)) for at, cpu, each in found] == sorted(given, key=lambda each: each[:2])


def test_no_task_runs_in_the_guest_while_its_vcpu_is_outside(written: tuple[TimeLine, Trace, Trace, Any]) -> None:
    line, _, _, trace = written
    for at, cpu, _ in ftrace(trace, GUEST_MACHINE):
        assert not any(begin + US < at < end - US for begin, end in line.vcpus[cpu].outside)


def test_each_vcpu_is_a_track_of_slices_that_follow_each_other(written: tuple[TimeLine, Trace, Trace, Any]) -> None:
    line, _, _, trace = written
    tracks = {
        packet.track_descriptor.name: packet.track_descriptor.uuid
        for packet in trace.packet
        if packet.HasField("track_descriptor")
    }
    for vcpu, thread in line.vcpus.items():
        uuid = tracks[f"vCPU {vcpu} (thread {thread.tid})"]
        points = [packet for packet in trace.packet if packet.track_event.track_uuid == uuid]
        begins, ends = points[::2], points[1::2]
        assert {each.track_event.type for each in begins} == {pb2.TrackEvent.TYPE_SLICE_BEGIN}
        assert {each.track_event.type for each in ends} == {pb2.TrackEvent.TYPE_SLICE_END}
        assert [(a.timestamp, b.timestamp) for a, b in zip(begins, ends, strict=True)] == [
            (span.begin_ns, span.end_ns) for span in thread.spans
        ]
        assert "in guest" in {each.track_event.name for each in begins}


def test_marks_are_instants_of_their_machine(written: tuple[TimeLine, Trace, Trace, Any]) -> None:
    _, host, guest, trace = written
    for machine, source in ((0, host), (GUEST_MACHINE, guest)):
        said = [each.body.text for each in source.events if isinstance(each.body, Mark)]
        instants = [
            packet.track_event.name
            for packet in trace.packet
            if packet.machine_id == machine and packet.track_event.type == pb2.TrackEvent.TYPE_INSTANT
        ]
        assert instants == said
