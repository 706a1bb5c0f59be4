"""Files of trace-cmd: read back byte by byte, and by trace-cmd itself where it is installed."""

from __future__ import annotations

import re
import shutil
import struct
import subprocess
from pathlib import Path

import pytest
from fake_traces import TRUE_BEGIN, US, FakeTrace, late_once

from rtvirt_runner.analysis.late.attribution import time_line
from rtvirt_runner.analysis.late.trace_dat import trace_dat, trace_dat_pair
from rtvirt_runner.parsers.ftrace import Other, Trace, parse

CAPTURED = Path(__file__).parents[1] / "data" / "ftrace" / "host_x86.txt"


def records(data: bytes) -> list[tuple[int, int, int]]:
    """Time, core and task of every record, in order of time."""
    at = data.index(b"flyrecord\0") + 10
    found = []
    for cpu in range(cpus(data)):
        offset, size = struct.unpack_from("<QQ", data, at + 16 * cpu)
        for page in range(offset, offset + size, 4096):
            now, length = struct.unpack_from("<QQ", data, page)
            here, end = page + 16, page + 16 + length
            assert length <= 4080
            while here < end:
                (word,) = struct.unpack_from("<I", data, here)
                kind, delta = word & 31, word >> 5
                here += 4
                if kind == 30:
                    now += delta + (struct.unpack_from("<I", data, here)[0] << 27)
                    here += 4
                    continue
                now += delta
                size_of = kind * 4
                if kind == 0:
                    size_of = struct.unpack_from("<I", data, here)[0] - 4
                    here += 4
                found.append((now, cpu, struct.unpack_from("<i", data, here + 4)[0]))
                here += size_of
    return sorted(found)


def options(data: bytes) -> dict[int, bytes]:
    """The options of a file, by their kinds (trace-cmd.dat.v6(5))."""
    at, found = data.index(b"options  \0") + 10, {}
    while kind := struct.unpack_from("<H", data, at)[0]:
        (size,) = struct.unpack_from("<I", data, at + 2)
        found[kind] = data[at + 6 : at + 6 + size]
        at += 6 + size
    return found


def cpus(data: bytes) -> int:
    return struct.unpack_from("<I", data, data.index(b"options  \0") - 4)[0]


def typed(trace: Trace) -> list[tuple[int, int, int]]:
    return sorted((event.at_ns, event.cpu, event.pid) for event in trace.events if not isinstance(event.body, Other))


def test_every_typed_event_is_in_the_file_with_its_time() -> None:
    trace = parse(CAPTURED.read_text().splitlines(keepends=True))
    assert records(trace_dat(trace)) == typed(trace)


def test_long_silences_and_many_pages_keep_their_times() -> None:
    fake = FakeTrace()
    for number in range(400):
        at = TRUE_BEGIN + number * (300_000_000 if number % 50 == 0 else 1000) + number * 400_000_000
        fake.add(at, number % 3, ("a", 5), "sched_waking: comm=x pid=302 prio=120 target_cpu=000")
    trace = fake.parsed()
    assert records(trace_dat(trace)) == typed(trace)


def test_the_options_put_each_event_of_the_guest_into_its_vcpu() -> None:
    pair = late_once("host_thread", 700 * US)
    traces = pair.host.parsed(), pair.guest.parsed()
    line = time_line(*traces)
    assert line.clock is not None
    host, guest = trace_dat_pair(*traces, line.clock, line.vcpus)
    name, _, rest = options(host)[13].partition(b"\0")
    peer, count = struct.unpack_from("<Qi", rest)
    threads = dict(struct.iter_unpack("<ii", rest[12:]))
    assert name == b"guest" and count == len(threads) == cpus(guest)
    assert options(guest)[11] == struct.pack("<Q", peer)
    shift = options(guest)[12]
    assert shift[:8] == options(host)[11] and struct.unpack_from("<Ii", shift, 8) == (
        1,
        cpus(guest),
    )  # 1: offsets are interpolated
    samples, first, last, at_first, at_last, *scaling = struct.unpack_from("<i2Q2q2Q", shift, 16)
    assert samples == 2 and scaling == [1, 1]

    moved = [
        (at + at_first + (at - first) * (at_last - at_first) // (last - first), cpu) for at, cpu, _ in records(guest)
    ]
    for at, cpu in moved:
        stretches = line.vcpus[cpu].outside
        assert threads[cpu] == line.vcpus[cpu].tid
        assert not any(begin + US < at < end - US for begin, end in stretches)


@pytest.mark.skipif(not shutil.which("trace-cmd"), reason="trace-cmd is not installed")
def test_trace_cmd_merges_both_sides_in_the_right_order(tmp_path: Path) -> None:
    pair = late_once("host_thread", 700 * US)
    line = time_line(pair.host.parsed(), pair.guest.parsed())
    assert line.clock is not None
    files = trace_dat_pair(pair.host.parsed(), pair.guest.parsed(), line.clock, line.vcpus)
    for name, data in zip(("host.dat", "guest.dat"), files, strict=True):
        (tmp_path / name).write_bytes(data)
    command = ["trace-cmd", "report", "-i", "host.dat", "-i", "guest.dat"]
    said = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    assert "CAN'T FIND FIELD" not in said  # of libtraceevent's plugins; that for KVM spells it differently, for arm64
    lines = re.findall(r"^ *(host|guest)\.dat: .*? (\d+\.\d{6}): (\w+):", said, re.MULTILINE)
    assert len(lines) == len(pair.host.lines) + len(pair.guest.lines)
    times = [float(at) for _, at, _ in lines]
    assert times == sorted(times)
    inside = False
    seen = 0
    for side, _, name in lines:
        if name in {"kvm_entry", "kvm_exit"}:
            inside = name == "kvm_entry"
        if side == "guest" and seen:
            assert inside
        seen += name == "kvm_entry"
