"""The scripts that run a cell, on this machine, with workloads that do as they should and workloads that do not."""

import os
import subprocess
from pathlib import Path

import pytest

from rtvirt_runner.machine import script_reply
from rtvirt_runner.machine.scripts import script_text

LAST_CPU = max(os.sched_getaffinity(0))


def run_cell(shell: str = "sh", **changes: str) -> script_reply.Reply:
    """What the machine answers to a cell of 300 wake-ups, and that nothing is left of it."""
    cell = {"CPU": LAST_CPU, "LOOPS": 300, "INTERVAL_US": 1000, "PRIORITY": 80, "HISTOGRAM_US": 20000, "LIMIT_S": 60}
    workload = {"COMMAND": "", "PREPARE": "", "CLEANUP": "", "CPUS": LAST_CPU, "REPEAT": "no", "FOLDER": "memory"}
    workload |= {"RUN_LIMIT_S": 60, "END_LIMIT_S": 2, "LATER_S": ""}
    environment = {name: str(value) for name, value in {**cell, **workload, **changes}.items()}
    script = script_reply.compose(script_text("cell"), environment)
    with subprocess.Popen(
        [*shell.split(), "-s"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as cell_shell:
        said, complaint = cell_shell.communicate(script, timeout=120)
    assert cell_shell.returncode == 0, complaint
    assert not leftovers(cell_shell.pid)
    return script_reply.parse(said)


def leftovers(shell_pid: int) -> list[Path]:
    """Folders of a shell, whose number they have in their names; those of other shells may come and go."""
    return [path for folder in ("/tmp", "/dev/shm", "/var/tmp") for path in Path(folder).glob(f"rtvirt.{shell_pid}.*")]


def test_a_cell_without_a_workload() -> None:
    reply = run_cell()
    assert reply.failure is None
    assert "workload.txt" not in reply.files
    assert "# Total: 000000300" in reply.files["cyclictest.txt"]


@pytest.mark.parametrize("shell", ["sh", "busybox sh"])
def test_what_a_workload_says_when_it_is_told_to_end_is_kept(shell: str) -> None:
    reply = run_cell(shell, COMMAND="""sh -c 'trap "echo told; exit 0" TERM; while :; do sleep 0.05; done'""")
    assert reply.failure is None
    assert reply.files["workload.txt"] == "told\n"


def test_a_program_that_knows_no_end_may_be_ended() -> None:
    assert run_cell(COMMAND="sleep 1000").failure is None


def test_it_runs_on_its_cores_in_a_folder_of_its_own_between_preparation_and_cleaning_up() -> None:
    reply = run_cell(
        PREPARE="sh -c 'echo input >data'",
        COMMAND="sh -c 'cat data; pwd; grep Cpus_allowed_list /proc/self/status; exec sleep 1000'",
        CLEANUP="rm data",
        CPUS=f"{LAST_CPU}",
    )
    assert reply.failure is None
    data, folder, cpus = reply.files["workload.txt"].splitlines()
    assert (data, cpus.split()[1]) == ("input", f"{LAST_CPU}")
    assert folder.startswith("/dev/shm/rtvirt.")


def test_one_that_writes_to_a_disk_gets_a_folder_there() -> None:
    reply = run_cell(COMMAND="sh -c 'pwd; exec sleep 1000'", FOLDER="disk")
    assert reply.files["workload.txt"].startswith("/var/tmp/rtvirt.")


@pytest.mark.parametrize("shell", ["sh", "busybox sh"])
def test_one_that_ends_by_itself_is_run_again_and_whole_runs_count(shell: str) -> None:
    reply = run_cell(shell, COMMAND="sh -c 'echo begun; sleep 0.05; echo ended'", REPEAT="yes")
    assert reply.failure is None
    lines = reply.files["workload.txt"].splitlines()
    assert lines[:4] == ["begun", "ended", "begun", "ended"]
    assert lines[-1] == "ended"


def test_a_run_that_takes_longer_than_cyclictest_is_waited_for() -> None:
    reply = run_cell(COMMAND="sh -c 'sleep 1; echo ended'", REPEAT="yes")
    assert reply.failure is None
    assert set(reply.files["workload.txt"].split()) == {"ended"}


@pytest.mark.parametrize("shell", ["sh", "busybox sh"])
@pytest.mark.parametrize(
    ("workload", "complaint"),
    [
        ({"COMMAND": "sh -c 'kill -SEGV $$'"}, "The workload crashed with signal 11: it said nothing"),
        ({"COMMAND": "sh -c 'echo no memory >&2; exit 3'"}, "The workload ended with status 3: no memory "),
        ({"COMMAND": "sh -c 'echo 1 + 1 = 3; exit 1'"}, "failed or gave a wrong answer (status 1): 1 + 1 = 3 "),
        ({"COMMAND": "echo ready"}, "The workload ended before cyclictest did: ready "),
        ({"COMMAND": "sh -c 'exit 3'", "REPEAT": "yes"}, "The workload ended with status 3"),
        ({"COMMAND": "no-such-program --forever"}, "There is no program 'no-such-program' on this machine"),
        ({"COMMAND": "sleep 9", "PREPARE": "false"}, "could not be prepared: 'false' ended with status 1"),
    ],
)
def test_one_that_fails_fails_the_cell(shell: str, workload: dict[str, str], complaint: str) -> None:
    reply = run_cell(shell, **workload)
    assert complaint in (reply.failure or "")


def test_what_was_measured_beside_one_that_failed_is_kept_for_whoever_looks_into_it() -> None:
    reply = run_cell(COMMAND="sh -c 'echo hello; sleep 0.1; kill -ABRT $$'")
    assert reply.failure == "The workload crashed with signal 6: hello "
    assert "# Total: 000000300" in reply.files["cyclictest.txt"]


def test_one_that_does_not_end_when_it_is_told_to_is_killed() -> None:
    reply = run_cell(COMMAND="sh -c 'trap \"\" TERM; echo $$; while :; do sleep 0.1; done'")
    assert reply.failure is not None
    assert reply.failure.startswith("The workload hung: told to end, it had not after 2 s, and was killed: ")
    assert not Path("/proc", reply.files["workload.txt"].strip()).exists()
