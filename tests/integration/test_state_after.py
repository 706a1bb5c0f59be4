"""What changes while a cell is measured is found: with real cells, on a machine of its own namespaces that changes."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from test_alone import MATRIX, SHORT, Board, board, lease, said, wait_until  # noqa: F401 (fixture)
from test_ending import cells, measuring, place, records, start  # noqa: F401 (fixture)

from rtvirt_runner.catalogue import collection
from rtvirt_runner.machine import script_reply, state_changes
from rtvirt_runner.machine.scripts import script_text
from rtvirt_runner.machine.verify_state import typed
from rtvirt_runner.matrix.results import Record, ResultsTree

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or (os.cpu_count() or 1) < 2, reason="changing a thread and mounting need root, a look two cores"
)
LONG = SHORT | {"LOOPS": 6000, "LATER_S": "4", "COMMAND": ""}
CPU = SHORT["CPU"]


def run_cell(shell: str, meanwhile: Callable[[int, int], None] | None = None, **changes: Any) -> script_reply.Reply:
    """What a cell answers; ``meanwhile`` is called with the numbers of cyclictest and of its measuring thread."""
    environment = {name: str(value) for name, value in {**LONG, **changes}.items()}
    process = subprocess.Popen(
        [*shell.split(), "-s"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert process.stdin is not None
    told = threading.Thread(target=_change, args=(process.pid, meanwhile)) if meanwhile else None
    if told:
        told.start()
    output, _ = process.communicate(script_reply.compose(script_text("cell"), environment), timeout=120)
    if told:
        told.join()
    return script_reply.parse(output)


def _change(session: int, meanwhile: Callable[[int, int], None]) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        for looks in Path("/tmp").glob(f"rtvirt.{session}.*/looks"):
            if looks.stat().st_size:  # it has been looked at
                pid = int((looks.parent / "run.pid").read_text())
                meanwhile(pid, max(int(path.name) for path in Path("/proc", str(pid), "task").glob("*")))
                return
        time.sleep(0.05)


def differences(reply: script_reply.Reply) -> list[str]:
    cell = replace(cells()[0], measured_cpu=CPU, priority=80)
    return state_changes.thread_differences(cell, typed(reply.as_dict()).get("cyclictest"))


@pytest.mark.parametrize("shell", ["sh", "busybox sh"])
def test_cyclictests_thread_is_looked_at_while_it_measures(shell: str) -> None:
    reply = run_cell(shell)
    assert reply.failure is None and differences(reply) == []
    first, last = reply.rows["cyclictest"]
    assert (first["seen"], last["seen"]) == ("beginning", "end") and first["tid"] == last["tid"]


@pytest.mark.parametrize("shell", ["sh", "busybox sh"])
@pytest.mark.parametrize("pinned", [True, False], ids=["one core", "emulated"])
def test_where_a_look_would_be_measured_too_the_thread_of_a_run_before_and_after_is_looked_at(
    shell: str, pinned: bool
) -> None:
    pin = f"taskset -c {CPU} " if pinned else ""
    reply = run_cell(f"{pin}{shell}", LOOPS=300, LATER_S="2" if pinned else "")
    assert reply.failure is None and differences(reply) == []
    assert [row["seen"] for row in reply.rows["cyclictest"]] == ["before", "after"]
    counted = re.findall(r"^# (?:Total|Histogram Overflows): (\d+)$", reply.files["cyclictest.txt"], re.MULTILINE)
    assert sum(map(int, counted)) == 300


@pytest.mark.parametrize("shell", ["sh", "busybox sh"])
def test_a_cell_whose_thread_could_not_be_looked_at_fails(
    shell: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A cyclictest that measures, but does not run for a look, which has no number of loops."""
    program = tmp_path / "cyclictest"
    looked_at = 'case "$*" in *--loops=0*) echo no such thing >&2; exit 7 ;; esac'
    program.write_text(f'#!/bin/sh\n{looked_at}\nexec {shutil.which("cyclictest")} "$@"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    reply = run_cell(shell, LOOPS=300, LATER_S="")
    assert reply.failure == "cyclictest's thread was not seen after the measurement: status 7, no such thing"


@pytest.mark.parametrize("shell", ["sh", "busybox sh"])
@pytest.mark.parametrize(("loops", "told"), [(10**9, 1), (1, 0)], ids=["measures", "is over"])
def test_the_priority_that_cyclictest_gives_back_at_its_end_is_not_taken_for_a_change(
    shell: str, loops: int, told: int
) -> None:
    text = (collection.ROOT / "roles/measure/files/cyclictest_thread.sh").read_text()
    began = Path("/proc/uptime").read_text().split()[0]
    known = (
        f"CPU=1 PRIORITY=80 INTERVAL_US=1000 LOOPS={loops} began={began} tid=7 affinity=1 last_ran_on=1\nsleep 0.1\n"
    )
    look = "policy=other priority=0\nthread_row end\npolicy=fifo priority=80\nthread_row beginning\n"
    done = subprocess.run([*shell.split(), "-s"], input=text + known + look, capture_output=True, text=True, check=True)
    assert done.stdout.count("policy=other") == told
    assert done.stdout.count("policy=fifo") == 1


def demote(pid: int, tid: int) -> None:
    subprocess.run(["chrt", "-o", "-p", "0", str(tid)], check=True)


def move(pid: int, tid: int) -> None:
    os.sched_setaffinity(tid, {0, CPU})


@pytest.mark.parametrize(("meanwhile", "state"), [(demote, f"other 0 on {CPU}"), (move, "fifo 80 on 0-1")])
def test_a_thread_that_somebody_changed_is_named(meanwhile: Callable[[int, int], None], state: str) -> None:
    if meanwhile is move and os.cpu_count() != 2:
        pytest.skip("the list of cores is that of a machine with two")
    (difference,) = differences(run_cell("sh", meanwhile))
    assert difference == f"cyclictest's thread was '{state}' near its end, expected 'fifo 80 on {CPU}'"


# A Raspberry Pi and an Intel PC in one, in mounts of its own; what is in /sys/devices/system/cpu stays readable.
FAKE = """\
mount -t tmpfs tmpfs /mnt
cp -r /sys/devices/system/cpu/online /sys/devices/system/cpu/isolated /mnt
for core in 0 1; do
  mkdir -p /mnt/cpu$core/cpufreq /mnt/cpu$core/thermal_throttle
  for each in governor:performance min_freq:600000 max_freq:1500000 cur_freq:1500000; do
    echo ${each#*:} >/mnt/cpu$core/cpufreq/scaling_${each%:*}
  done
  echo 2 >/mnt/cpu$core/thermal_throttle/core_throttle_count
done
mount --move /mnt /sys/devices/system/cpu 2>/dev/null || mount --bind /mnt /sys/devices/system/cpu
for folder in /sys/devices/platform /sys/class/thermal /sys/class/hwmon /dev/cpu; do mount -t tmpfs tmpfs $folder; done
mkdir -p /sys/devices/platform/soc/soc:firmware /sys/class/thermal/thermal_zone0 /sys/class/hwmon/hwmon0 /dev/cpu/1
echo 0 >/sys/devices/platform/soc/soc:firmware/get_throttled
echo 45000 >/sys/class/thermal/thermal_zone0/temp
echo cpu-thermal >/sys/class/thermal/thermal_zone0/type
echo rpi_volt >/sys/class/hwmon/hwmon0/name
echo 0 >/sys/class/hwmon/hwmon0/in0_lcrit_alarm
printf '%052d\\005\\000\\000\\000\\000\\000\\000\\000' 0 >/dev/cpu/1/msr
"""
CHANGE = """\
echo powersave >/sys/devices/system/cpu/cpu1/cpufreq/scaling_governor
echo 600000 >/sys/devices/system/cpu/cpu1/cpufreq/scaling_cur_freq
echo 4 >/sys/devices/system/cpu/cpu1/thermal_throttle/core_throttle_count
echo 50000 >/sys/devices/platform/soc/soc:firmware/get_throttled
echo 60000 >/sys/class/thermal/thermal_zone0/temp
echo 1 >/sys/class/hwmon/hwmon0/in0_lcrit_alarm
printf '%052d\\010\\000\\000\\000\\000\\000\\000\\000' 0 >/dev/cpu/1/msr
"""


@pytest.mark.parametrize("shell", ["sh", "busybox sh"])
def test_conditions_are_read_where_the_machine_tells(shell: str) -> None:
    known = {"RTVIRT_CHECK_MODE": "no", "SETTINGS": "", "SETTING_ROWS": "", "HOST_CPUS": "0", "GUEST_CPUS": "1"}
    state = f"read_state() (\n{script_text('machine_state')}\n)\n"
    script = script_reply.compose(f"{state}read_state\n{CHANGE}\necho @after\nread_state\n", known)
    command = ["unshare", "--mount", "sh", "-c", f"{FAKE}exec {shell} -s"]
    done = subprocess.run(command, input=script, capture_output=True, text=True, check=True)
    reply = script_reply.parse(done.stdout)
    assert reply.complete and reply.after is not None, done.stderr
    before, after = typed(reply.as_dict()), typed(reply.after.as_dict())
    assert before["boot_id"] == after["boot_id"] == Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    cell = replace(cells()[0], place="host", host_cpus="0", guest_cpus="1")
    changes = state_changes.board_changes(cell, {}, before, after)
    assert changes.failures == ("the governor of core 1 was performance before the cell and powersave after it",)
    stolen = [note for note in changes.notes if "steal time" not in note]  # this machine may be a guest itself
    assert stolen == [
        "core 1 was throttled 2 times, since it was too hot",
        "its voltage was too low",
        "it was throttled",
        "the frequency of core 1 was 1500 MHz before the cell and 600 MHz after it",
        "the temperature of cpu-thermal was 45.0 °C before the cell and 60.0 °C after it",
        "the board had 3 system management interrupts (SMIs)",
    ]


def measured(board: Board, meanwhile: str = "", loops: int = 3000, workload: str = "idle") -> tuple[Record, str]:  # noqa: F811
    """The record of a cell that playbooks measure, and what Ansible said; ``meanwhile`` is run on the board."""
    matrix = MATRIX.replace("loops: 200", f"loops: {loops}").replace("[idle]", f"[{workload}]")
    (board.folder / "here.yml").write_text(matrix)
    playbooks = collection.ROOT / "playbooks"
    plan = f"'{board.folder}/here.yml' | rtvirt.testbed.plan(groups=groups, hostvars=hostvars, "
    plan += f"vars_dir='{playbooks}/vars', results_dir=rtvirt_results_dir)"
    tasks = [
        lease(),
        {"name": "Plan", "ansible.builtin.set_fact": {"plans": f"{{{{ {plan} }}}}"}},
        {
            "name": "Measure",
            "ansible.builtin.include_tasks": str(playbooks / "tasks" / "cell.yml"),
            "vars": {
                "boot": "{{ plans[0] }}",
                "group": "{{ plans[0].guests[0] | combine({'state': {}, 'settings': []}) }}",
                "cell": "{{ plans[0].guests[0].cells[0] }}",
            },
        },
    ]
    folder = board.folder / "results"
    playing = board.begin(*tasks, rtvirt_results_dir=str(folder), rtvirt_cell_slack_s=100, rtvirt_kernels={})
    if meanwhile:
        wait_until(lambda: board.processes("cyclictest"), playing=playing)
        board.sh(meanwhile)
    told = said(playing)
    (record,) = ResultsTree(folder).load_records("here")
    return record, told


def test_a_cell_whose_board_stays_as_it_is_is_done_and_tells_so(board: Board) -> None:  # noqa: F811
    record, told = measured(board, loops=200)
    assert (record.status.status, record.status.reason, record.status.ssh_commands) == ("done", "", 3), told
    assert record.system["after"]["guest"] is None
    after = record.system["after"]["board"]
    assert float(after["uptime_s"]) > float(record.system["board"]["uptime_s"]) and "boot_id" not in after
    assert {row["policy"] for row in record.system["cyclictest"]} == {"fifo"}


def test_a_cell_during_which_a_governor_changed_fails_and_names_it(board: Board) -> None:  # noqa: F811
    board.sh(FAKE)
    governor = "/sys/devices/system/cpu/cpu1/cpufreq/scaling_governor"
    record, told = measured(board, f"echo powersave >{governor}; echo 60000 >/sys/class/thermal/thermal_zone0/temp")
    change = "the governor of core 1 was performance before the cell and powersave after it"
    assert record.status.status == "failed"
    assert record.status.reason == f"The board changed during the cell: {change}."
    assert record.system["after"]["board"]["frequencies"][0]["governor"] == "powersave"
    assert "the temperature of cpu-thermal was 45.0 °C before the cell and 60.0 °C after it" in record.system["noted"]
    assert "During cell" in told and "the temperature of cpu-thermal" in told
    assert record.raw("cyclictest.json")  # for whoever looks into it


def test_a_cell_whose_board_was_booted_meanwhile_fails(board: Board) -> None:  # noqa: F811
    board.sh("echo 0f0f0f0f-0000-4000-8000-000000000000 >/tmp/boot_id")
    record, _ = measured(board, "mount --bind /tmp/boot_id /proc/sys/kernel/random/boot_id")
    assert record.status.reason == "The board changed during the cell: the board has booted in between."


def test_a_load_that_ends_before_its_cell_fails_it(board: Board) -> None:  # noqa: F811
    record, _ = measured(board, "kill -s KILL -- -$(cat /run/rtvirt/load.pid)", workload="host-load")
    assert record.status.reason.startswith("The load on the board ended before the cell did: ")
    assert record.raw("cyclictest.json")


def test_a_cell_whose_board_does_not_tell_its_state_after_it_fails(board: Board) -> None:  # noqa: F811
    record, _ = measured(board, "echo 'someone else' >/run/rtvirt-lease", loops=1000)
    assert record.status.status == "failed"
    assert "is held by" in record.status.reason
    assert record.raw("cyclictest.json")


def test_the_first_ctrl_c_waits_until_the_state_after_the_cell_is_recorded(place: Path) -> None:  # noqa: F811
    lab = (place / "lab.yml").read_text().splitlines()
    (place / "lab.yml").write_text("\n".join(line for line in lab if "two:" not in line) + "\n")
    # A board that takes its time for the last command.
    tasks = collection.ROOT / "playbooks" / "tasks"
    shutil.copytree(tasks, place / "tasks")
    last = "    - name: Read the board's state after the cell"
    slow = f"    - ansible.builtin.command: sleep 4\n{last}"
    (place / "tasks" / "cell.yml").write_text((tasks / "cell.yml").read_text().replace(last, slow))
    (place / "play.yml").write_text((place / "play.yml").read_text().replace(str(tasks), str(place / "tasks")))
    run = start(place)
    wait_until(lambda: measuring(place))
    run.send_signal(signal.SIGINT)
    run.communicate(timeout=120)
    assert run.returncode == 130
    assert list(records(place).values()) == ["done"]
