"""A real ansible-playbook on this machine, through the runner."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from rtvirt_runner.run.playbooks import InventoryError, Outcome, read_inventory, run_playbook

INVENTORY = """\
boards:
  hosts:
    here: {ansible_connection: local, ansible_python_interpreter: '{{ ansible_playbook_python }}'}
  children:
    quick:
      hosts:
        other:
"""
PLAYBOOK = """\
- name: Look around
  hosts: here
  gather_facts: false
  tasks:
    - name: Say what was given
      ansible.builtin.debug:
        msg: "{{ given }} {{ lookup('config', 'HOST_KEY_CHECKING') }} {{ lookup('config', 'DEFAULT_FORKS') }}"
    - name: Try
      ansible.builtin.command: sh -c 'echo because >&2; exit 3'
      changed_when: false  # it only speaks and fails
      when: given == 'bad'
"""
SLOW = """\
- name: Take long
  hosts: here
  gather_facts: false
  tasks:
    - name: Sleep
      ansible.builtin.command: sh -c 'touch "$0"; exec sleep 300' {{ inventory_dir }}/begun
      changed_when: false  # it is interrupted
"""
CALLER = """\
import sys
from pathlib import Path
from rtvirt_runner.run.playbooks import run_playbook
playbook, inventory, log_dir = map(Path, sys.argv[1:])
sys.exit(130 if run_playbook(playbook, inventory, {}, log_dir=log_dir).interrupted else 0)
"""


@pytest.fixture
def inventory(tmp_path: Path) -> Path:
    path = tmp_path / "lab.yml"
    path.write_text(INVENTORY)
    return path


def run(tmp_path: Path, inventory: Path, given: str) -> Outcome:
    playbook = tmp_path / "playbook.yml"
    playbook.write_text(PLAYBOOK)
    return run_playbook(playbook, inventory, {"given": given}, log_dir=tmp_path / "log")


def test_a_playbook_runs_under_our_configuration_and_its_output_is_kept(tmp_path: Path, inventory: Path) -> None:
    outcome = run(tmp_path, inventory, "good")
    assert outcome.ok and not outcome.failures
    assert [stage.name for stage in outcome.stages] == ["Look around"]
    log = outcome.log.read_text()
    assert "good True 10" in log  # host-key checking on, forks of ours
    assert "PLAY RECAP" in log and "\x1b" not in log


def test_a_failure_is_named_with_task_host_and_reason(
    tmp_path: Path, inventory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    outcome = run(tmp_path, inventory, "bad")
    assert not outcome.ok
    (failure,) = outcome.failures
    assert (failure.host, failure.task) == ("here", "Try")
    assert failure.message.endswith("because")
    assert "== Look around" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 130), (signal.SIGHUP, 130), (signal.SIGKILL, -9)]
)
def test_ansible_ends_with_the_process_that_runs_it(
    tmp_path: Path, inventory: Path, number: signal.Signals, code: int
) -> None:
    playbook = tmp_path / "slow.yml"
    playbook.write_text(SLOW)
    command = [sys.executable, "-c", CALLER, playbook, inventory, tmp_path / "log"]
    env = {**os.environ, "TMPDIR": str(tmp_path)}  # a killed one leaves its scratch folder
    caller = subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    # Not earlier: a worker that is being forked just when Ansible is interrupted may outlive it until its task is done.
    wait_until((tmp_path / "begun").exists)
    caller.send_signal(number)
    assert caller.wait(60) == code
    wait_until(lambda: not processes_naming(str(playbook)))


def processes_naming(text: str) -> list[int]:
    """Processes, other than this one, with a text on their command line."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().decode(errors="replace")
        except OSError:  # it has ended
            continue
        if text in words and int(path.parent.name) != os.getpid():
            found.append(int(path.parent.name))
    return found


def wait_until(condition: Callable[[], bool], limit_s: float = 60.0) -> None:
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.1)


def test_an_inventory_is_read_with_its_groups_flattened(inventory: Path) -> None:
    groups, hostvars = read_inventory(inventory)
    assert groups["boards"] == ["here", "other"]
    assert groups["quick"] == ["other"]
    assert hostvars["here"]["ansible_connection"] == "local"
    json.dumps(hostvars)  # plain values


def test_an_unreadable_inventory_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(InventoryError, match="there is no such inventory"):
        read_inventory(tmp_path / "none")
    broken = tmp_path / "broken.yml"
    broken.write_text("boards: [")
    with pytest.raises(InventoryError) as told:
        read_inventory(broken)
    assert str(broken) in str(told.value) and "\n" not in str(told.value)
