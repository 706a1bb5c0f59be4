"""Run a script on the task's host in one SSH command; shared by the action plugins."""

from __future__ import annotations

import contextlib
import os
import shlex
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleConnectionFailure, AnsibleError
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display
from ansible_collections.rtvirt.testbed.plugins.plugin_utils.run_lease import LOCK, kept_lease, lost

from rtvirt_runner.machine import relay, script_reply
from rtvirt_runner.machine.scripts import script_text

ANSWER_BYTES = 16 << 20
LIMIT_S = 4 * 3600  # for a command of a task without a timeout of its own
RELAY = Path(relay.__file__).with_suffix(".sh")


@dataclass(frozen=True)
class Answer:
    """A reply, the wall time of its command in ``seconds``, and its standard error."""

    reply: script_reply.Reply
    seconds: float
    stderr: str

    @property
    def failure(self) -> str | None:
        """Why the script failed or its reply is incomplete; None if it succeeded."""
        if self.reply.failure is not None:
            return f"{self.reply.failure}{_tail(self.stderr)}"
        if not self.reply.complete:
            return f"the connection ended before the script did{_tail(self.stderr)}"
        return None


def run_script(
    action: ActionBase,
    script: str,
    environment: Mapping[str, str],
    input_file: Path | None = None,
    task_vars: Mapping[str, Any] | None = None,
    *,
    holds: bool = False,
    ends_load: bool = False,
    lease_s: int = 0,
) -> Answer:
    """Run a script on the standard input of a shell on the task's host. A lost connection gives a failed answer.

    With ``input_file`` as its standard input the script is passed as an argument, at most 128 KiB. With ``holds`` it
    holds the machine (hold_machine.sh), is sent once whatever becomes of the connection, and ends with it. On a board
    that this run has leased (``task_vars`` tell) it renews the lease, for ``lease_s`` seconds if that is more than
    usual, and fails if another run has the board.
    """
    # A board that outlives its run would keep a core busy, so scripts on the controller get the process to watch: this
    # playbook, or the run of several playbooks that has set the variable.
    owner = os.environ.get("RTVIRT_OWNER_PID") or str(os.getppid())
    known = {"RTVIRT_OWNER_PID": owner, "RTVIRT_CHECK_MODE": "yes" if action._task.check_mode else "no"}
    host = str((task_vars or {}).get("inventory_hostname", ""))
    lease = kept_lease(task_vars or {}, action._task.delegate_to, lease_s)
    hold, holds = "", holds and not action._task.check_mode
    if holds:
        known |= {"LOCK": LOCK, "OWNER": f"process {owner} of {os.uname().nodename}"}
        known |= {"ENDS_LOAD": "yes" if ends_load else "no"}
        hold = script_text("hold_machine")
    if lease:
        known |= lease
        # Before the machine is held: another run that has the board is not to lose what it runs there.
        hold, script = (
            (f"{script_text('lease')}\n{hold}", script) if hold else ("", f"{script_text('lease')}\n{script}")
        )
    text = script_reply.compose(script, {**known, **environment}, reads_input=input_file is not None, hold=hold)
    command, data = ("sh -s", text.encode())
    if input_file is not None:
        command, data = (f"sh -c {shlex.quote(text)}", input_file.read_bytes())
    began = time.monotonic()
    result = limited_command(action, command, data, holds=holds, limit_s=(action._task.timeout or LIMIT_S) + 60)
    answer = Answer(script_reply.parse(result["stdout"]), round(time.monotonic() - began, 3), result["stderr"])
    if said := answer.reply.facts.get("leftovers"):
        plain = "".join(letter if letter.isprintable() else "?" for letter in said[:1000])
        Display().warning(f"{action._task.delegate_to or host}: {plain}")
    if lease and answer.reply.failure:
        answer.reply.failure = lost(answer.reply, host) or answer.reply.failure
    return answer


def limited_command(
    action: ActionBase,
    command: str,
    data: bytes | None = None,
    *,
    holds: bool = False,
    limit_s: float = LIMIT_S,
    output_bytes: int = ANSWER_BYTES,
    sudoable: bool = True,
) -> dict[str, Any]:
    """Run a command whose answer and time have a limit; returns ``rc``, ``stdout`` and ``stderr``.

    A lost connection and a limit exceeded give a nonzero ``rc``, no output, and a sentence on ``stderr``.
    """
    source = "inherit" if data is None else "hold" if holds else "copy"
    limits = [str(output_bytes), f"{limit_s:.0f}", source]
    with _relayed(action, limits, retries=not holds) as is_ssh:
        if not is_ssh and action._connection.transport == "local":
            python = [sys.executable, "-I", "-S", str(RELAY.with_suffix(".py"))]
            command = f"{shlex.join([*python, *limits])} {command}"
        try:
            result: dict[str, Any] = action._low_level_execute_command(command, in_data=data, sudoable=sudoable)
        except AnsibleConnectionFailure as error:
            return {"rc": 255, "stdout": "", "stderr": str(error)}
    sentences = [line for line in result["stderr"].splitlines() if line.startswith(relay.MARK)]
    if result["rc"] in (relay.TOO_MUCH, relay.TOO_LATE) or sentences:
        sentence = sentences[-1].removeprefix(relay.MARK) if sentences else ""
        return {"rc": result["rc"] or relay.TOO_LATE, "stdout": "", "stderr": sentence}
    return result


@contextlib.contextmanager
def _relayed(action: ActionBase, limits: list[str], retries: bool) -> Iterator[bool]:
    """Context in which the connection calls ssh through the relay; False for a connection that does not call ssh."""
    connection = action._connection
    try:
        ssh = str(connection.get_option("ssh_executable"))
        before = connection.get_option("reconnection_retries")
    except (AnsibleError, KeyError):
        yield False
        return
    names = ("RTVIRT_RELAY_BYTES", "RTVIRT_RELAY_LIMIT_S", "RTVIRT_RELAY_INPUT")
    os.environ |= {
        "RTVIRT_RELAY_PYTHON": sys.executable,
        "RTVIRT_RELAY_SSH": ssh,
        **dict(zip(names, limits, strict=True)),
    }
    connection.set_option("ssh_executable", str(RELAY))
    if not retries:
        connection.set_option("reconnection_retries", 0)
    try:
        yield True
    finally:
        connection.set_option("ssh_executable", ssh)
        connection.set_option("reconnection_retries", before)


def _tail(stderr: str) -> str:
    lines = [line for line in stderr.splitlines() if line.strip() and "ControlPersist" not in line]
    return f" ({' / '.join(lines[-3:])})" if lines else ""
