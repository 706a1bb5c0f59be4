"""Scheduling policies: the far script sets and reads back each one that a tuning may name."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest
import yaml

from rtvirt_runner.catalogue import collection
from rtvirt_runner.catalogue.policies import POLICIES, REALTIME
from rtvirt_runner.machine.settings_readback import thread_rows

pytestmark = pytest.mark.usefixtures("tools")  # busybox
SCRIPT = collection.ROOT / "roles/cpu_isolation/files/thread.sh"
SHELLS = (["dash"], ["busybox", "sh"])


@pytest.fixture
def process() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["sleep", "60"]) as started:
        yield started
        started.kill()


def run(shell: list[str], command: str) -> str:
    done = subprocess.run(
        [*shell, "-c", f"{SCRIPT.read_text()}\n{command}"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize("shell", SHELLS, ids=" ".join)
@pytest.mark.parametrize("policy", POLICIES)
def test_a_thread_passes_with_each_policy(shell: list[str], policy: str, process: subprocess.Popen[bytes]) -> None:
    if policy in REALTIME and os.geteuid() != 0:
        pytest.skip("real-time priorities need root")
    priority = 1 if policy in REALTIME else 0
    found = run(
        shell,
        f"set_policy {policy} {priority} {process.pid} && read_thread /proc/{process.pid} && "
        f"read_affinity /proc/{process.pid} && echo $name,$policy,$priority,$affinity",
    )
    name, found_policy, found_priority, cpus = found.split(",", 3)
    assert name == "sleep"
    thread = {"tid": process.pid, "name": name, "cpus": cpus, "policy": found_policy, "priority": int(found_priority)}
    placement = {"mode": "process", "cpus": cpus, "policy": policy, "priority": priority}
    assert [row.state for row in thread_rows(placement, [], [thread])] == ["ok"]


@pytest.mark.parametrize("shell", SHELLS, ids=" ".join)
def test_a_thread_is_read_where_its_name_has_spaces_and_brackets(shell: list[str]) -> None:
    read = 'printf "CPU 0) (x" >/proc/$$/comm; read_thread /proc/$$/task/$$ && echo "$name,$policy,$priority"'
    assert run(shell, read).startswith("CPU 0) (x,")


@pytest.mark.parametrize("shell", SHELLS, ids=" ".join)
def test_a_thread_whose_name_breaks_the_line_is_passed_over(shell: list[str]) -> None:
    assert (
        run(shell, 'set -u; printf "a) b\nc" >/proc/$$/comm; read_thread /proc/$$ || echo passed over') == "passed over"
    )


# As read_thread and read_affinity say it of a thread at a time.
ONE = 'show() { echo "$task $name,$policy,$priority,$last_ran_on,$flags,$affinity"; }\n'
TWO = "for task in /proc/{pid}/task/*; do read_thread $task && read_affinity $task && show || :; done\n"


@pytest.mark.parametrize("shell", SHELLS, ids=" ".join)
def test_all_threads_of_a_process_are_read_at_once(shell: list[str]) -> None:
    names = ["CPU 0/KVM", "a) S 1 (b", "*", "plain", "x/stat:1"]
    program = (
        "import pathlib, sys, threading, time\n"
        "def run(name):\n"
        "    pathlib.Path(f'/proc/self/task/{threading.get_native_id()}/comm').write_text(name)\n"
        "    time.sleep(60)\n"
        "for name in sys.argv[1:]: threading.Thread(target=run, args=[name], daemon=True).start()\n"
        "time.sleep(0.5); print(flush=True); time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", program, *names, "a\n1 (k) S"], stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout and process.stdout.readline()
            found = run(shell, f"set -u\n{ONE}each_thread show '/proc/{process.pid}/task/*'")
            one_by_one = run(shell, ONE + TWO.format(pid=process.pid))
        finally:
            process.kill()
    assert found == one_by_one
    assert all(f" {name}," in found for name in names)
    assert len(found.splitlines()) == 1 + len(names)  # the main thread, and not the one whose name breaks the line


@pytest.mark.parametrize("shell", SHELLS, ids=" ".join)
def test_of_threads_that_are_gone_nothing_is_said(shell: list[str]) -> None:
    assert run(shell, "set -u\neach_thread fail '/proc/4194304/task/*'; echo $IFS. $-").rstrip("uc") == ". "


def test_the_role_guest_takes_the_same_policies() -> None:
    specs = yaml.safe_load((collection.ROOT / "roles/guest/meta/argument_specs.yml").read_text())["argument_specs"]
    placement = specs["main"]["options"]["guest_placement"]["options"]
    assert tuple(placement["policy"]["choices"]) == POLICIES
