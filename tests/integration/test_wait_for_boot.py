"""rtvirt.testbed.wait_for_boot about a board that never answers: it gives up early and shows the console."""

import json
import os
import subprocess
import sys
from pathlib import Path

from rtvirt_runner import checkout

# Nobody listens on port 1: the connection is refused at once.
LAB = "boards: {hosts: {bench: {ansible_host: 127.0.0.1, ansible_port: 1}}}\n"
PLAYBOOK = """\
- name: Wait
  hosts: boards
  gather_facts: false
  tasks:
    - name: Wait until the board answers
      rtvirt.testbed.wait_for_boot:
        console: console.log
        pid_file: pid
        timeout_s: "{{ timeout_s }}"
        trial: "{{ trial }}"
"""


def wait(folder: Path, console: str, pid: int, timeout_s: int = 600, trial: bool = False) -> str:
    """Returns what Ansible said about the failure."""
    (folder / "lab.yml").write_text(LAB)
    (folder / "wait.yml").write_text(PLAYBOOK)
    (folder / "console.log").write_text(console)
    (folder / "pid").write_text(f"{pid}\n")
    env = {**os.environ, "ANSIBLE_CONFIG": str(checkout.ANSIBLE_CONFIG), "ANSIBLE_SSH_RETRIES": "0"}
    given = json.dumps({"timeout_s": timeout_s, "trial": trial})
    command = [Path(sys.executable).parent / "ansible-playbook", "-i", "lab.yml", "-e", given, "wait.yml"]
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode != 0
    return done.stdout + done.stderr


def test_a_panic_ends_the_waiting_and_is_shown(tmp_path: Path) -> None:
    console = "Starting kernel ...\n\nKernel panic - not syncing: VFS: Unable to mount root fs on unknown-block(0,0)\n"
    told = wait(tmp_path, console, os.getpid())
    assert "bench did not come up: its console says 'Kernel panic'" in told
    assert "Unable to mount root fs on unknown-block(0,0)" in told


def test_a_panic_of_a_trial_is_followed_by_another_boot_which_is_waited_for(tmp_path: Path) -> None:
    console = "U-Boot 2025.01\nKernel panic - not syncing: no init found\n"
    assert "no answer after" in wait(tmp_path, console, os.getpid(), timeout_s=1, trial=True)


def test_a_panic_of_an_earlier_boot_does_not_count(tmp_path: Path) -> None:
    console = "U-Boot 2025.01\nKernel panic - not syncing: no init found\nU-Boot 2025.01\n=> \n"
    told = wait(tmp_path, console, os.getpid(), timeout_s=1)
    assert "no answer after" in told
    assert "Kernel panic" not in told


def test_an_emulator_that_has_ended_ends_the_waiting(tmp_path: Path) -> None:
    with subprocess.Popen(["true"]) as ended:
        pass
    assert "bench did not come up: its emulator has ended" in wait(tmp_path, "U-Boot 2025\n", ended.pid)


def test_waiting_has_a_limit(tmp_path: Path) -> None:
    told = wait(tmp_path, "U-Boot 2025\n=> \n", os.getpid(), timeout_s=1)
    assert "no answer after" in told
    assert "=>" in told
