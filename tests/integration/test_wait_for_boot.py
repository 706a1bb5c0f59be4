"""wait_for_boot about a board that does not answer, or as somebody else: one sentence, and its console."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from rtvirt_runner.catalogue import collection

# Nobody listens on port 1: the connection is refused at once.
LAB = "boards: {hosts: {bench: {ansible_host: 127.0.0.1, ansible_port: 1}}}\n"
PLAYBOOK = """\
- name: Wait
  hosts: boards
  gather_facts: false
  tasks:
    - name: Wait until the board answers
      rtvirt.testbed.wait_for_boot: "{{ options }}"
"""
# In the place of ssh: a board that answers only when its power was switched.
SSH = """\
#!/bin/sh
[ -e power ] || { echo 'ssh: connect to host bench port 22: No route to host' >&2; exit 255; }
for command; do :; done
exec sh -c "$command"
"""


def wait(folder: Path, lab: str = LAB, succeeds: bool = False, **options: Any) -> str:
    """Let a playbook wait for the board; returns what Ansible said, in one line."""
    (folder / "lab.yml").write_text(lab)
    (folder / "wait.yml").write_text(PLAYBOOK)
    env = {**os.environ, "ANSIBLE_CONFIG": str(collection.ANSIBLE_CONFIG), "ANSIBLE_SSH_RETRIES": "0"}
    given = json.dumps({"options": options})
    command = [Path(sys.executable).parent / "ansible-playbook", "-i", "lab.yml", "-e", given, "wait.yml"]
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode == 0) == succeeds, done.stdout + done.stderr
    return " ".join((done.stdout + done.stderr).split())


def wait_for_emulated(folder: Path, console: str, pid: int, timeout_s: int = 600, trial: bool = False) -> str:
    """The same for a board whose emulator has written that to its console."""
    (folder / "console.log").write_text(console)
    (folder / "pid").write_text(f"{pid}\n")
    return wait(folder, console="console.log", pid_file="pid", timeout_s=timeout_s, trial=trial)


def test_a_panic_ends_the_waiting_and_is_shown(tmp_path: Path) -> None:
    console = "Starting kernel ...\n\nKernel panic - not syncing: VFS: Unable to mount root fs on unknown-block(0,0)\n"
    told = wait_for_emulated(tmp_path, console, os.getpid())
    assert "bench did not come up: its console says 'Kernel panic'" in told
    assert "Unable to mount root fs on unknown-block(0,0)" in told


def test_a_panic_of_a_trial_is_followed_by_another_boot_which_is_waited_for(tmp_path: Path) -> None:
    console = "U-Boot 2025.01\nKernel panic - not syncing: no init found\n"
    assert "no answer after" in wait_for_emulated(tmp_path, console, os.getpid(), timeout_s=1, trial=True)


def test_a_panic_of_an_earlier_boot_does_not_count(tmp_path: Path) -> None:
    console = "U-Boot 2025.01\nKernel panic - not syncing: no init found\nU-Boot 2025.01\n=> \n"
    told = wait_for_emulated(tmp_path, console, os.getpid(), timeout_s=1)
    assert "no answer after" in told
    assert "Kernel panic" not in told


def test_an_emulator_that_has_ended_ends_the_waiting(tmp_path: Path) -> None:
    with subprocess.Popen(["true"]) as ended:
        pass
    assert "bench did not come up: its emulator has ended" in wait_for_emulated(tmp_path, "U-Boot 2025\n", ended.pid)


def test_waiting_has_a_limit(tmp_path: Path) -> None:
    told = wait_for_emulated(tmp_path, "U-Boot 2025\n=> \n", os.getpid(), timeout_s=1)
    assert "no answer after" in told
    assert "=>" in told


# ------------------------------------------------------------------------------------------------------------ its power

PANIC = "[ 1.0] Kernel panic - not syncing: Attempted to kill init!\n"


def test_power_is_switched_once_and_the_board_waited_for_again(tmp_path: Path) -> None:
    told = wait(tmp_path, timeout_s=0, power_command="echo off and on >>power")
    assert (tmp_path / "power").read_text() == "off and on\n"
    again = (
        "bench did not come up: no answer after 0 s, and after its power was switched off and on: no answer after 0 s."
    )
    assert again in told


def test_a_board_that_answers_after_its_power_was_switched_is_up(tmp_path: Path) -> None:
    (tmp_path / "ssh").write_text(SSH)
    (tmp_path / "ssh").chmod(0o755)
    lab = f"boards: {{hosts: {{bench: {{ansible_ssh_executable: {tmp_path}/ssh}}}}}}\n"
    told = wait(tmp_path, lab, succeeds=True, timeout_s=0, power_command="echo off and on >>power")
    assert "bench: no answer after 0 s, so its power is switched off and on" in told
    wait(tmp_path, lab, succeeds=True, timeout_s=0, power_command="echo off and on >>power")
    assert (tmp_path / "power").read_text() == "off and on\n"  # the second time nobody had to


def test_power_that_cannot_be_switched_is_told(tmp_path: Path) -> None:
    refused = wait(tmp_path, timeout_s=0, power_command="echo trying; echo no such outlet >&2; exit 3")
    assert (
        "bench did not come up: no answer after 0 s, and its rtvirt_power_command (echo trying; echo no such outlet "
        ">&2; exit 3) ended with status 3: no such outlet; see to that command."
    ) in refused
    assert "(false) ended with status 1: it said nothing; see to" in wait(tmp_path, timeout_s=0, power_command="false")


def test_a_panic_of_a_board_whose_power_can_be_switched_costs_one_switch(tmp_path: Path) -> None:
    """The panic shows while the board is waited for: it is not waited for longer, and not taken for the next boot's."""
    console = tmp_path / "console.log"
    console.write_text("")
    script = f"#!/bin/sh\necho '{PANIC.strip()}' >>console.log\nexit 255\n"
    (tmp_path / "ssh").write_text(script)
    (tmp_path / "ssh").chmod(0o755)
    lab = f"boards: {{hosts: {{bench: {{ansible_ssh_executable: {tmp_path}/ssh}}}}}}\n"
    # Its next boot gets no further than the boot loader.
    power_command = "echo on >>power; printf '#!/bin/sh\\nexit 255\\n' >ssh; echo '=> ' >>console.log"
    told = wait(tmp_path, lab, timeout_s=0, console=str(console), power_command=power_command)
    assert (tmp_path / "power").read_text() == "on\n"
    assert (
        "bench did not come up: its console says 'Kernel panic', and after its power was switched off and on: no "
        "answer after 0 s. The last lines of its console: =>"
    ) in told


def test_what_a_console_said_before_the_waiting_began_is_of_another_boot(tmp_path: Path) -> None:
    """A serial console's log goes on for months; a Raspberry Pi's shows no boot loader that would tell boots apart."""
    (tmp_path / "console.log").write_text(PANIC)
    told = wait(tmp_path, timeout_s=0, console="console.log")
    assert "bench did not come up: no answer after 0 s. The last lines of its console:" in told
    assert "Attempted to kill init!" in told  # it is shown all the same: nothing was said since


# -------------------------------------------------------------------------------------------------------------- its key


@contextmanager
def ssh_server(folder: Path) -> Iterator[int]:
    """An SSH server on the loopback with a key of its own; its port."""
    key = folder / "server_key"
    subprocess.run(["dropbearkey", "-t", "ed25519", "-f", key], check=True, capture_output=True)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = int(listener.getsockname()[1])
    server = subprocess.Popen(
        ["dropbear", "-F", "-E", "-r", key, "-p", f"127.0.0.1:{port}", "-P", folder / "server_pid"]
    )
    try:
        deadline = time.monotonic() + 10
        while True:
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                break
            except ConnectionRefusedError:
                assert server.poll() is None and time.monotonic() < deadline
        yield port
    finally:
        server.terminate()
        server.wait()


def test_a_board_that_answers_with_another_key_is_refused_at_once(tmp_path: Path) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / "key_of_bench"], check=True)
    kind, key = (tmp_path / "key_of_bench.pub").read_text().split()[:2]
    (tmp_path / "known_hosts").write_text(f"bench {kind} {key}\n")
    options = f"-o HostKeyAlias=bench -o UserKnownHostsFile={tmp_path}/known_hosts -o StrictHostKeyChecking=yes"
    with ssh_server(tmp_path) as port:
        facts = {"ansible_host": "127.0.0.1", "ansible_port": port, "ansible_ssh_common_args": f"-F none {options}"}
        lab = json.dumps({"boards": {"hosts": {"bench": facts}}})
        began = time.monotonic()
        told = wait(tmp_path, lab, timeout_s=600, power_command="touch power")
    assert time.monotonic() - began < 20  # of the 600
    assert (
        "bench answers with another SSH host key than the lab has of it, so it is not believed to be bench. If its "
        "card is from elsewhere, write one with playbooks/reprovision.yml; if its address has gone to another machine, "
        "correct ansible_host."
    ) in told
    assert not (tmp_path / "power").exists()  # whoever it is, it is up


# -------------------------------------------------------------------------------------- what a shell says by itself


def talking(folder: Path, says: str) -> str:
    """A board on which each shell says something first, and whose reboots do nothing; returns its lab."""
    script = f"""#!/bin/sh
for command; do :; done
case $command in *reboot*) echo "$command" >>reboots; exit 0 ;; esac
{says}
exec sh -c "$command"
"""
    (folder / "ssh").write_text(script)
    (folder / "ssh").chmod(0o755)
    return f"boards: {{hosts: {{bench: {{ansible_ssh_executable: {folder}/ssh}}}}}}\n"


@pytest.mark.parametrize("says", ["date +%s.%N", "printf '\\033]0;title\\007'", "cat /proc/sys/kernel/random/uuid"])
def test_a_reboot_that_does_nothing_is_not_taken_for_one(tmp_path: Path, says: str) -> None:
    told = wait(tmp_path, talking(tmp_path, says), timeout_s=1, reboot=True)
    assert "bench did not come up: no answer after 1 s" in told
    assert (tmp_path / "reboots").exists()


@pytest.mark.parametrize("says", ["date +%s.%N", "printf '\\033]0;title\\007'"])
def test_the_boot_id_is_found_in_what_a_shell_says(tmp_path: Path, says: str) -> None:
    boot_id = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    assert "changed=0" in wait(tmp_path, talking(tmp_path, f"{says}; echo {boot_id}x"), succeeds=True, timeout_s=5)


def test_a_board_that_does_not_tell_its_boot_id_is_not_rebooted(tmp_path: Path) -> None:
    told = wait(tmp_path, talking(tmp_path, "echo this account is locked; exit 0"), timeout_s=1, reboot=True)
    assert "bench was not rebooted: it answers 'this account is locked', without its boot id" in told
    assert not (tmp_path / "reboots").exists()
