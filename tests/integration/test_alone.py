"""A board belongs to one run, and a cell to one connection: over a real SSH server, with real processes that end."""

from __future__ import annotations

import os
import resource
import shlex
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ssh_board import Board, said, started_board, wait_until

from rtvirt_runner.catalogue import collection
from rtvirt_runner.machine import script_reply
from rtvirt_runner.machine.lease import Holder
from rtvirt_runner.machine.scripts import script_text
from rtvirt_runner.matrix.results import ResultsTree

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="a board of its own namespaces needs root")

CELL = {"CPU": max(os.sched_getaffinity(0)), "LOOPS": 100_000, "INTERVAL_US": 1000, "PRIORITY": 80}
CELL |= {
    "HISTOGRAM_US": 20000,
    "LIMIT_S": 300,
    "COMMAND": "sleep 1000",
    "PREPARE": "",
    "CLEANUP": "",
    "CPUS": CELL["CPU"],
}
CELL |= {"REPEAT": "no", "FOLDER": "memory", "RUN_LIMIT_S": 60, "END_LIMIT_S": 2, "LATER_S": ""}
SHORT = CELL | {"LOOPS": 200}


@pytest.fixture
def board(tmp_path: Path) -> Iterator[Board]:
    with started_board(tmp_path) as started:
        yield started


def cell(environment: Mapping[str, Any] = CELL, register: str = "answer", **options: Any) -> dict[str, Any]:
    """A task that runs the scripts of a cell, as the plugin measure_cell does."""
    script = "{{ query('rtvirt.testbed.scripts', 'cell') }}"
    values = {name: str(value) for name, value in environment.items()}
    asked = {"script": script, "environment": values, "exclusive": True, **options}
    return {"name": "Measure", "rtvirt.testbed.remote_script": asked, "register": register}


def lease(**options: Any) -> dict[str, Any]:
    return {"name": "Take the board", "rtvirt.testbed.lease": {"purpose": "results of /lab/results", **options}}


def command(text: str, folder: Path) -> dict[str, Any]:
    """A task that runs some script on the board."""
    path = folder / f"script-{abs(hash(text))}.sh"
    path.write_text(text)
    return {"name": "Run", "rtvirt.testbed.remote_script": {"script": str(path)}}


def own_processes(board: Board) -> dict[int, list[str]]:
    """The processes of this machine with the test's folder in their arguments, or in it: number -> arguments."""
    found = {}
    for path in Path("/proc").glob("[0-9]*"):
        try:
            words = (path / "cmdline").read_bytes().decode(errors="replace").split("\0")
            if str(board.folder) in " ".join(words) or (path / "cwd").readlink() == board.folder:
                found[int(path.name)] = words
        except OSError:  # it has ended
            continue
    return found


def ssh_clients(board: Board) -> list[int]:
    """The ssh process of a cell, without the master that keeps the connection."""
    return [pid for pid, words in own_processes(board).items() if words[0] == "ssh" and "sh -s" in " ".join(words)]


# ------------------------------------------------------------------------------------------------- a cell's connection


def test_a_cell_ends_with_its_connection_and_is_not_sent_again(board: Board) -> None:
    playing = board.begin(cell())
    wait_until(lambda: board.processes("cyclictest"), playing=playing)
    before = board.sh("cat /run/rtvirt-cell")
    for pid in ssh_clients(board):
        os.kill(pid, signal.SIGKILL)
    told = said(playing, fails=True)
    # The master of the connection tells the board with its next sign of life: ServerAliveInterval in ansible.cfg.
    wait_until(lambda: not board.processes("cyclictest") and not board.processes("sleep"), limit_s=45)
    wait_until(lambda: not board.sh("ls -d /tmp/rtvirt.* /dev/shm/rtvirt.* 2>/dev/null || :"), limit_s=10)
    assert board.sh("cat /run/rtvirt-cell") == before
    assert "the connection ended before the script did" in told


def test_a_killed_playbook_ends_its_cell(board: Board) -> None:
    playing = board.begin(cell())
    wait_until(lambda: board.processes("cyclictest"), playing=playing)
    playing.kill()
    for pid, words in own_processes(board).items():
        if "ansible-playbook" in " ".join(words):  # its workers
            os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not board.processes("cyclictest"), limit_s=10)
    board.play(cell(SHORT))


@pytest.mark.parametrize("flock", [True, False], ids=["flock", "no flock"])
def test_what_an_ended_run_left_behind_is_ended_before_the_next_cell_and_said(board: Board, flock: bool) -> None:
    if not flock:
        flock_path = subprocess.check_output(["which", "flock"], text=True).strip()
        board.sh(f"touch /tmp/none && mount --bind /tmp/none {flock_path}")
    # A cell whose connection was cut so that the board has not noticed: its input stays open.
    orphan = board.begin(cell())
    wait_until(lambda: board.processes("cyclictest"), playing=orphan)
    for pid in ssh_clients(board):
        os.kill(pid, signal.SIGSTOP)
    try:
        told = board.play(cell(SHORT))
        assert "bench: ended or removed what process" in told
        for each in ("cyclictest (", "sleep (", "/tmp/rtvirt."):
            assert each in told, told
        assert not board.processes("cyclictest") and not board.processes("sleep")
        assert not board.sh("ls -d /tmp/rtvirt.* /dev/shm/rtvirt.* 2>/dev/null || :")
    finally:
        for pid in ssh_clients(board):
            os.kill(pid, signal.SIGCONT)
        orphan.kill()
        orphan.wait()


def test_what_measures_in_a_container_on_the_board_is_not_taken_for_left_behind(board: Board) -> None:
    """Its lock has the same path, and is another file."""
    flock_path = subprocess.check_output(["which", "flock"], text=True).strip()
    board.sh(f"touch /tmp/none && mount --bind /tmp/none {flock_path}")  # so that the holders are looked for
    inside = "mount -t tmpfs none /run; exec 9>>/run/rtvirt-cell; exec sleep 4321"
    board.sh(f"unshare --mount --pid --fork --kill-child sh -c '{inside}' >/dev/null 2>&1 & sleep 1")
    container = board.processes("sleep")
    assert container
    told = board.play(cell(SHORT))
    assert board.processes("sleep") == container and "left behind" not in told


def test_a_machine_of_busybox_alone_is_held_too(tmp_path: Path) -> None:
    """As in the minimal guest, which has no flock."""
    programs = tmp_path / "bin"
    programs.mkdir()
    subprocess.run(["busybox", "--install", "-s", programs], check=True)
    assert not (programs / "flock").exists()
    shell = [programs / "sh", "-s"]
    hold = script_text("hold_machine")
    known = {"RTVIRT_CHECK_MODE": "no", "LOCK": f"{tmp_path}/run/lock", "ENDS_LOAD": "no"}

    def begin(script: str, owner: str) -> subprocess.Popen[str]:
        text = script_reply.compose(script, {**known, "OWNER": owner}, hold=hold)
        process = subprocess.Popen(
            shell, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={"PATH": str(programs)}
        )
        assert process.stdin is not None
        process.stdin.write(text)
        process.stdin.flush()  # and it stays open, as from the relay
        return process

    def ended(process: subprocess.Popen[str]) -> script_reply.Reply:
        assert process.stdout is not None
        return script_reply.parse(process.stdout.read())

    with begin("sleep 1000", "the first") as first:
        wait_until(lambda: "the first" in read(tmp_path / "run" / "lock"))
        time.sleep(0.5)
        with begin("fact held yes", "the second") as second:
            reply = ended(second)
            assert reply.complete and reply.failure is None and reply.facts["held"] == "yes"
            assert reply.facts["leftovers"].startswith("ended or removed what the first left behind:")
            assert reply.facts["leftovers"].count(" sh (") + reply.facts["leftovers"].count(" sleep (") >= 3
        assert first.wait(timeout=10) == -signal.SIGKILL
        assert ended(first).complete is False
    with begin("sleep 1000", "the third") as third:
        wait_until(lambda: "the third" in read(tmp_path / "run" / "lock"))
        time.sleep(0.5)
        assert third.stdin is not None
        third.stdin.close()  # its connection ends
        assert third.wait(timeout=10) == -signal.SIGKILL


def read(path: Path) -> str:
    return path.read_text() if path.exists() else ""


# ------------------------------------------------------------------------------------------------------------ the lease

HELD = "bench is held by "


def other_computer(board: Board, until: str) -> None:
    """Put the lease of a run of another computer on the board; ``until`` is a shell expression of its uptime."""
    other = replace(Holder.here(42, 1, "2026-01-02 03:04:05+00:00", "results of /far"), machine="x", boot="x")
    other = replace(other, who="ada@\x1b[31mfar")
    line = shlex.quote(f"{other.token} 1 {other.as_line()}")
    text = f"echo {line} >/run/rtvirt-lease; IFS=. read -r now _ </proc/uptime; echo {other.token} $(({until}))"
    board.sh(f"{text} >/run/rtvirt-lease.until")


def test_a_second_run_is_told_who_holds_the_board_and_takes_it_over_when_that_one_is_gone(board: Board) -> None:
    first = board.begin(lease(), cell())
    wait_until(lambda: board.processes("cyclictest"), playing=first)
    told = board.play(lease(), cell(SHORT), fails=True)
    assert HELD in told and f"process {first.pid}, results of /lab/results" in told and "-e rtvirt_wait=true" in told
    assert len(board.processes("cyclictest")) == 1
    waiting = board.begin(lease(wait=True), cell(SHORT))
    time.sleep(5)
    assert waiting.poll() is None
    first.kill()
    first.wait()
    told = said(waiting)
    assert "; waiting for it" in told and "is taken over, since that process has ended" in told
    assert not board.processes("cyclictest")


def test_a_released_board_is_free_and_so_is_one_whose_lease_ends(board: Board) -> None:
    board.play(lease(), cell(SHORT), lease(state="released"))
    assert not board.sh("ls -d /run/rtvirt-lease* || :")
    assert "is taken over" not in board.play(lease())
    assert "is taken over, since that process has ended" in board.play(lease())


def test_a_run_of_another_computer_is_gone_when_it_has_not_renewed_its_lease(board: Board) -> None:
    other_computer(board, "now + 600")
    told = board.play(lease(), fails=True)
    assert "bench is held by ada@?[31mfar since 2026-01-02 03:04:05+00:00 (" in told
    assert "\x1b" not in told
    other_computer(board, "now - 1")
    assert "is taken over, since nothing was heard of it for 60 min of the board's clock" in board.play(lease())


def test_a_board_that_was_taken_is_not_measured_on_by_the_run_that_had_it(board: Board, tmp_path: Path) -> None:
    first = board.begin(lease(), command("until [ -e /tmp/go ]; do sleep 0.1; done", tmp_path), cell(SHORT))
    wait_until(lambda: board.sh("cat /run/rtvirt-lease 2>/dev/null || :"), playing=first)
    second = board.begin(lease(take_over=True), cell())
    longer = f"pgrep -f '^cyclictest .*--loops={CELL['LOOPS']} .*--json' || :"
    wait_until(lambda: board.sh(longer), playing=second)
    measuring = board.sh(longer)
    board.sh("touch /tmp/go")
    told = said(first, fails=True)
    assert f"process {second.pid}, results of /lab/results), which has taken it from this run." in told
    assert "left behind" not in told and board.sh(longer) == measuring
    second.terminate()
    second.wait()


def test_a_board_that_has_booted_is_leased_again_by_the_run_that_had_it(board: Board, tmp_path: Path) -> None:
    board.play(lease(), command("rm /run/rtvirt-lease*", tmp_path), cell(SHORT, lease_s=7200))
    assert "results of /lab/results" in board.sh("cat /run/rtvirt-lease")
    now, until = board.sh("cut -d . -f 1 /proc/uptime; cut -d ' ' -f 2 /run/rtvirt-lease.until").split()
    assert 7000 < int(until) - int(now) <= 7200


def test_an_unreadable_lease_is_taken_over(board: Board) -> None:
    board.sh("printf 'nonsense \\033[31m' >/run/rtvirt-lease")
    told = board.play(lease())
    assert "bench is held by a run whose lease cannot be read, and is taken over" in told


def test_check_mode_takes_nothing(board: Board) -> None:
    board.play({**lease(), "check_mode": True})
    assert not board.sh("ls -d /run/rtvirt* || :")


MATRIX = """\
matrix:
  name: here
  cyclictest: {loops: 200, interval_us: 1000, priority: 80, histogram_us: 20000}
  splits:
    1-1: {host_cpus: '0', guest_cpus: '1'}
  experiments:
    one:
      axes: {board: [bench], kernel: [running], tuning: [none], split: [1-1], place: [host], workload: [idle]}
"""


def test_a_cell_takes_three_commands_on_a_leased_board(board: Board) -> None:
    (board.folder / "here.yml").write_text(MATRIX)
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
                "group": "{{ plans[0].guests[0] }}",
                "cell": "{{ plans[0].guests[0].cells[0] }}",
            },
        },
    ]
    folder = board.folder / "results"
    told = said(board.begin(*tasks, rtvirt_results_dir=str(folder), rtvirt_cell_slack_s=100, rtvirt_kernels={}))
    (record,) = ResultsTree(folder).load_records("here")
    assert (record.status.status, record.status.reason) == ("done", ""), told
    assert record.status.ssh_commands == 3
    now, until = board.sh("cut -d . -f 1 /proc/uptime; cut -d ' ' -f 2 /run/rtvirt-lease.until").split()
    assert 3500 < int(until) - int(now) <= 3600


# ---------------------------------------------------------------------------------------------- a board that never ends


def peak_kib(playing: subprocess.Popen[str], fails: bool) -> tuple[str, int]:
    """What a playbook said, and the memory of its largest process."""
    told = said(playing, fails)
    return told, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss


def test_a_board_that_sends_a_gigabyte_costs_the_controller_no_memory(tmp_path: Path) -> None:
    (tmp_path / "good").mkdir()
    (tmp_path / "hostile").mkdir()
    with started_board(tmp_path / "good") as good:
        _, before = peak_kib(good.begin(command("fact one 1", tmp_path)), fails=False)
    # Whatever is asked of it.
    with started_board(tmp_path / "hostile", "-c", "head -c 1G /dev/zero | tr '\\0' 'a'; sleep 600") as hostile:
        began = time.monotonic()
        told, after = peak_kib(hostile.begin(command("fact one 1", tmp_path)), fails=True)
    assert "the answer has more than 16 MiB, so the connection was ended" in told
    assert time.monotonic() - began < 60
    print(f"largest process: {before} KiB with a small answer, {after} KiB with 1 GiB")
    assert after - before < 160 * 1024
