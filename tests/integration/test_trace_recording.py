"""The recording of a late wake-up on this machine's own kernel: in an instance of its own, which is gone afterwards."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from rtvirt_runner.analysis.late.attribution import Cause, Owner, time_line
from rtvirt_runner.machine import script_reply, trace_script
from rtvirt_runner.machine.scripts import script_text
from rtvirt_runner.machine.sh_text import stripped
from rtvirt_runner.parsers.ftrace import parse

INSTANCE = f"rtvirt-test-{os.getpid()}"
MOUNT = "grep -q ' tracefs ' /proc/mounts || mount -t tracefs nodev /sys/kernel/tracing; "
OWN_RUN = "mount -t tmpfs tmpfs /run; "  # a command that holds this machine for another test would end the traces there


def traceable() -> bool:
    if os.geteuid() != 0 or not shutil.which("cyclictest"):
        return False
    command = ["unshare", "-m", "sh", "-c", f"{MOUNT} ls /sys/kernel/tracing/instances"]
    tried = subprocess.run(command, capture_output=True, check=False)
    return tried.returncode == 0


pytestmark = pytest.mark.skipif(not traceable(), reason="tracing this machine takes root, tracefs and cyclictest")
NO_RTLA = dict.fromkeys(("RTLA_FILE", "RTLA_THRESHOLD_US", "RTLA_LIMIT_S"), "")
BREAK = {
    "TRACE_INSTANCE": INSTANCE,
    **{"CPU": "0", "INTERVAL_US": "1000", "PRIORITY": "80", "LIMIT_S": "60"},
    **dict.fromkeys(("COMMAND", "PREPARE", "CLEANUP", "CPUS"), ""),
    **{"RINGS": "no", "REPEAT": "no", "FOLDER": "memory", "RUN_LIMIT_S": "60", "END_LIMIT_S": "30"},
}


def kill_session(leader: int) -> None:
    """As hold_machine.sh ends all processes of an ended run, those in groups of their own too."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            if int(stat.read_text().rpartition(")")[2].split()[3]) == leader:
                os.kill(int(stat.parent.name), signal.SIGKILL)


class Machine:
    """This machine in a mount namespace of its own, which is kept between commands."""

    def __init__(self, shell: str) -> None:
        self.shell = shell
        self.keeper = subprocess.Popen(
            ["unshare", "-m", "sh", "-c", f"{MOUNT} {OWN_RUN} echo; exec sleep 600"], stdout=subprocess.PIPE
        )
        assert self.keeper.stdout is not None
        self.keeper.stdout.readline()

    def start(self) -> subprocess.Popen[str]:
        enter = ["nsenter", f"--mount=/proc/{self.keeper.pid}/ns/mnt"]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        return subprocess.Popen([*enter, *self.shell.split()], **pipes, text=True, start_new_session=True)

    def run(self, name: str, environment: dict[str, str]) -> script_reply.Reply:
        text = script_reply.compose(stripped(script_text(name)), {"RTVIRT_CHECK_MODE": "no", **environment})
        return script_reply.parse(self.start().communicate(text, timeout=90)[0])

    def instances(self) -> list[str]:
        there = self.start().communicate("ls /sys/kernel/tracing/instances")[0]
        return [each for each in there.split() if each == INSTANCE]

    def begin(self, **more: str) -> script_reply.Reply:
        known = trace_script.make_environment(300, buffer_kib=2048) | trace_script.begin_environment("host")
        made = self.run("make_trace", {**known, "TRACE_INSTANCE": INSTANCE, **more})
        return made if made.failure else self.run("begin_trace", {**known, "TRACE_INSTANCE": INSTANCE, **more})

    def end(self, **more: str) -> script_reply.Reply:
        known = {"TRACE_INSTANCE": INSTANCE, "TRACE_LINES": "40000", "TRACE_FILE": "trace-host.txt", **NO_RTLA}
        return self.run("end_trace", {**known, **more})


@pytest.fixture(params=["sh", "busybox sh"])
def machine(request: pytest.FixtureRequest) -> Iterator[Machine]:
    if not shutil.which(request.param.split()[0]):
        pytest.skip("there is no busybox")
    made = Machine(request.param)
    yield made
    made.end()
    left = made.instances()
    made.keeper.kill()
    made.keeper.wait()
    assert left == []


def test_a_late_wake_up_stops_the_trace_and_is_explained(machine: Machine) -> None:
    began = machine.begin()
    assert began.failure is None
    broke = machine.run("break_cyclictest", {**BREAK, "LOOPS": "20000", "THRESHOLD_US": "15"})
    assert broke.failure is None
    assert broke.facts["break_way"] == "mark"
    ended = machine.end()
    assert ended.failure is None
    assert machine.instances() == []
    line = time_line(parse(ended.files["trace-host.txt"].splitlines(keepends=True)), None)
    (late,) = [each for each in line.worst("host", 999) if each.wakeup.said_ns is not None]
    assert late.wakeup.latency_ns == int(broke.facts["break_us"]) * 1000
    assert sum(late.totals.values()) == late.wakeup.latency_ns
    assert {int(row["dropped"]) for row in ended.rows["trace_buffers"]} == {0}


# A thread of FIFO 90 that has core 0 for 3 ms, a few times.
ROGUE = """
import os, time
os.sched_setaffinity(0, {0})
open("/proc/self/comm", "w").write("rogue")
os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(90))
for _ in range(40):
    time.sleep(0.1)
    end = time.monotonic() + 0.003
    while time.monotonic() < end:
        pass
"""


def test_a_thread_that_takes_the_core_on_purpose_is_the_culprit(machine: Machine) -> None:
    for _ in range(4):  # the machine below this one may be late first
        machine.begin()
        with subprocess.Popen([sys.executable, "-c", ROGUE]) as rogue:
            broke = machine.run("break_cyclictest", {**BREAK, "LOOPS": "20000", "THRESHOLD_US": "1900"})
            rogue.terminate()
        ended = machine.end()
        assert (broke.failure, ended.failure) == (None, None)
        text = ended.files["trace-host.txt"]
        line = time_line(parse(text.splitlines(keepends=True)), None)
        (late,) = [each for each in line.worst("host", 999) if each.wakeup.said_ns is not None]
        assert late.wakeup.latency_ns == int(broke.facts["break_us"]) * 1000
        if late.culprit == Owner(Cause.TASK, "host", "rogue"):
            break
    assert late.culprit == Owner(Cause.TASK, "host", "rogue"), late.totals
    assert late.totals[late.culprit] >= 0.9 * late.wakeup.latency_ns - 20_000


def test_a_run_without_a_late_wake_up_ends_by_its_loops(machine: Machine) -> None:
    machine.begin()
    broke = machine.run("break_cyclictest", {**BREAK, "LOOPS": "50", "THRESHOLD_US": "900000"})
    assert broke.failure is None
    assert "break_us" not in broke.facts
    text = machine.end(TRACE_LINES="40").files["trace-host.txt"]
    assert len(text.splitlines()) == 41
    trace = parse(text.splitlines(keepends=True))
    assert trace.overwritten
    assert not trace.has_both_ends


def test_what_a_kernel_lacks_is_named_and_the_rest_is_traced(machine: Machine) -> None:
    began = machine.begin(TRACE_EVENTS="sched/sched_switch kvm/no_such_event")
    assert began.failure is None
    assert began.rows["trace_missing"] == [{"event": "kvm/no_such_event"}]
    assert "sched_switch" in machine.end().files["trace-host.txt"]


def test_a_killed_run_leaves_nothing_for_the_next_and_nothing_for_ever(machine: Machine) -> None:
    machine.begin()
    text = script_reply.compose(
        stripped(script_text("break_cyclictest")),
        {"RTVIRT_CHECK_MODE": "no", **BREAK, "LOOPS": "100000", "THRESHOLD_US": "900000"},
    )
    running = machine.start()
    assert running.stdin is not None
    running.stdin.write(text)
    running.stdin.close()
    time.sleep(1)
    kill_session(running.pid)
    running.wait()
    assert machine.instances() == [INSTANCE]
    assert machine.begin(TRACE_LIMIT_S="1").failure is None
    for _ in range(100):
        if not machine.instances():
            break
        time.sleep(0.1)
    assert machine.instances() == []
    ended = machine.end()
    assert ended.failure == "This machine has no trace; was its time over?"
    assert machine.start().communicate("ls /run/rtvirt")[0] == ""


def test_a_trace_outlives_the_commands_of_its_run_and_not_the_run(machine: Machine, tmp_path: Path) -> None:
    def held_by(owner: str) -> dict[str, str]:
        known = {"RTVIRT_CHECK_MODE": "no", "LOCK": f"{tmp_path}/lock", "ENDS_LOAD": "no", "OWNER": owner}
        text = script_reply.compose("fact held yes", known, hold=stripped(script_text("hold_machine")))
        with machine.start() as process:
            assert process.stdin is not None and process.stdout is not None
            process.stdin.write(text)
            process.stdin.flush()  # and it stays open, as from the relay
            return script_reply.parse(process.stdout.read()).facts

    held_by("this run")
    machine.begin()
    assert held_by("this run") == {"held": "yes"}
    assert "this run left behind: trace (" in held_by("another run")["leftovers"]
    for _ in range(100):
        if not machine.instances():
            break
        time.sleep(0.1)


def test_what_others_trace_is_left_alone(machine: Machine) -> None:
    other = "cat /sys/kernel/tracing/tracing_on /sys/kernel/tracing/trace_clock /sys/kernel/tracing/set_event"
    before = machine.start().communicate(other)[0]
    machine.begin()
    machine.run("break_cyclictest", {**BREAK, "LOOPS": "5000", "THRESHOLD_US": "5"})
    machine.end()
    assert machine.start().communicate(other)[0] == before
