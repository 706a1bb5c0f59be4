"""Scheduling policies: the far script sets and reads back each one that a tuning may name."""

from __future__ import annotations

import os
import subprocess
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


def test_the_role_guest_takes_the_same_policies() -> None:
    specs = yaml.safe_load((collection.ROOT / "roles/guest/meta/argument_specs.yml").read_text())["argument_specs"]
    placement = specs["main"]["options"]["guest_placement"]["options"]
    assert tuple(placement["policy"]["choices"]) == POLICIES
