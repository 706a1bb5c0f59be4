"""A preflight over SSH: on this machine as it is, and on one that is broken in eight ways, in namespaces of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from ssh_board import Board, started_board

CPU = "/sys/devices/system/cpu"
# Each line breaks one thing; the files are those of a four-core PC with SMT whose core 1 is offline.
BREAK = f"""set -e
mkdir -p /tmp/cpu
cd /tmp/cpu
echo 0-3 >present
echo 0,2-3 >online
echo >isolated
for core in 0 1 2 3; do
  mkdir -p cpu$core/topology cpu$core/cpufreq cpu$core/cpuidle/state1
  echo "$((core / 2 * 2))-$((core / 2 * 2 + 1))" >cpu$core/topology/thread_siblings_list
  echo powersave >cpu$core/cpufreq/scaling_governor
  echo 0 >cpu$core/cpuidle/state1/disable
  echo 133 >cpu$core/cpuidle/state1/latency
done
mount --bind /tmp/cpu {CPU}
echo 'BOOT_IMAGE=/vmlinuz dyndbg="file a.c isolcpus=0 +p" isolcpus=2-9 quiet -- isolcpus=1' >/tmp/cmdline
mount --bind /tmp/cmdline /proc/cmdline
printf 'processor\\t: 0\\nflags\\t\\t: fpu sse\\n' >/tmp/cpuinfo
mount --bind /tmp/cpuinfo /proc/cpuinfo
mkdir /tmp/shm
mount --move /dev/shm /tmp/shm
mount -t tmpfs -o size=64k,mode=755 tmpfs /dev
mknod -m 666 /dev/null c 1 3
mknod -m 666 /dev/urandom c 1 9
mkdir /dev/shm
mount --move /tmp/shm /dev/shm
mount -t tmpfs -o size=1m tmpfs /boot
mkdir /tmp/groups
mount -t cgroup2 none /tmp/groups
mount -t tmpfs tmpfs /tmp/groups
mkdir /tmp/groups/other.slice
echo 2-3 >/tmp/groups/other.slice/cpuset.cpus
echo isolated >/tmp/groups/other.slice/cpuset.cpus.partition
cp "$(command -v sleep)" /tmp/irqbalance
"""
WRONG = {
    "cores": ("cannot", "0,2-3 online of 0-3; core 1 is offline"),
    "KVM": ("cannot", "the processor shows neither vmx nor svm"),
    "isolcpus": ("limits", "2-9; core 4-9 is not online"),
    "threads of one core": ("limits", "0-1, 2-3"),
    "idle states": ("limits", "up to 133 us to leave one"),
    "governor": ("limits", "powersave"),
    "irqbalance": ("limits", "running"),
    "owners of cores": ("cannot", "/tmp/groups/other.slice has 2-3 (isolated)"),
    "room": ("limits", "/boot has 1 MiB, expected 64 or more"),
}


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Board]:
    with started_board(tmp_path_factory.mktemp("board")) as board:
        yield board


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Board]:
    with started_board(tmp_path_factory.mktemp("broken"), name="broken") as board:
        board.sh(BREAK)
        board.sh("/tmp/irqbalance 600 >/dev/null 2>&1 & ")
        yield board


def judged(board: Board, fails: bool, **wanted: object) -> dict[str, tuple[str, str, str]]:
    """Take the board with a preflight; the checks by name."""
    lease = {"purpose": "a test", "preflight": wanted}
    tasks = [
        {"name": "Take", "rtvirt.testbed.lease": lease, "register": "taken", "ignore_errors": True},
        {
            "name": "Keep the answer",
            "ansible.builtin.copy": {"content": "{{ taken | to_json }}", "dest": f"{board.folder}/taken.json"},
            "delegate_to": "localhost",
        },
        {"name": "Release", "rtvirt.testbed.lease": {"state": "released"}, "when": "taken is success"},
    ]
    board.play(*tasks)
    taken = json.loads((board.folder / "taken.json").read_text())
    assert bool(taken.get("failed")) == fails, taken
    assert not board.read("/run/rtvirt-lease"), taken
    return {each["name"]: (each["state"], each["found"], each["help"]) for each in taken["preflight"]} | {
        "message": ("", taken.get("msg", ""), "")
    }


def test_a_board_that_can_is_taken(board: Board) -> None:
    found = judged(board, fails=False, cpus=["0"], guest_cpus=["1"], guest=True, may_emulate=True)
    assert found["root"][:2] == ("ok", "user 0")
    assert found["cores"][0] in ("ok", "limits")
    assert found["time"][0] == "ok"


def test_a_board_that_is_broken_in_eight_ways_is_not_taken(broken: Board) -> None:
    before = broken.sh("find /run /tmp -type f | sort | xargs cksum")
    found = judged(broken, fails=True, cpus=["0"], guest_cpus=["1-3"])
    assert {name: found[name][:2] for name in WRONG} == WRONG
    assert all(found[name][2] for name in WRONG)
    message = found["message"][1]
    assert message.startswith("broken cannot do what is asked. cores: 0,2-3 online of 0-3; core 1 is offline; bring it")
    assert "owners of cores: /tmp/groups/other.slice has 2-3 (isolated)" in message
    assert broken.sh("find /run /tmp -type f | sort | xargs cksum") == before


def inspect(board: Board, *options: str, **variables: object) -> subprocess.CompletedProcess[str]:
    lab = {"boards": {"hosts": {board.name: {**board.in_lab(), **variables}}}}
    (board.folder / "inspected.yml").write_text(yaml.safe_dump(lab))
    command = [Path(sys.executable).parent / "rtvirt", "inspect", board.name, "-i", board.folder / "inspected.yml"]
    env = {**os.environ, "XDG_CACHE_HOME": str(board.folder / "cache"), "COLUMNS": "200"}
    return subprocess.run(
        [*command, "--preflight", *options], env=env, capture_output=True, text=True, timeout=120, check=False
    )


def test_inspect_says_it_in_one_table(board: Board, broken: Board) -> None:
    good = inspect(board, kvm_host_fallback="emulate", rtvirt_board_cpus=1)
    assert good.returncode == 0, good.stdout + good.stderr
    assert "bench: can do what is asked" in good.stdout
    bad = inspect(broken, rtvirt_board_cpus=4)
    assert bad.returncode == 1, bad.stdout + bad.stderr
    table = " ".join(bad.stdout.split())
    for says in ("core 1 is offline", "use others", "switch virtualization on", "nosmt", "can it do what is asked?"):
        assert says in table
    assert "broken: cannot do what is asked, for 2 of" in table


def test_gaps_by_hardware_are_measured_or_it_is_said_why_not(board: Board) -> None:
    told = inspect(board, "--hwlat", "1", kvm_host_fallback="emulate", rtvirt_board_cpus=1)
    assert "hardware latency" in told.stdout
    refused = inspect(board, "--hwlat", "-1")
    assert refused.returncode == 2
    assert "--hwlat is -1, expected seconds from 1 to 3600" in refused.stderr
