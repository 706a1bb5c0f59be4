"""Run a script on the task's host in one SSH command; shared by the action plugins."""

from __future__ import annotations

import os
import shlex
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ansible.errors import AnsibleConnectionFailure
from ansible.plugins.action import ActionBase

from rtvirt_runner.machine import script_reply


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
    action: ActionBase, script: str, environment: Mapping[str, str], input_file: Path | None = None
) -> Answer:
    """Run a script on the standard input of a shell on the task's host. A lost connection gives a failed answer.

    With ``input_file`` as its standard input the script is passed as an argument, at most 128 KiB.
    """
    # A board that outlives its run would keep a core busy, so scripts on the controller get the process to watch: this
    # playbook, or the run of several playbooks that has set the variable.
    owner = os.environ.get("RTVIRT_OWNER_PID") or str(os.getppid())
    known = {"RTVIRT_OWNER_PID": owner, "RTVIRT_CHECK_MODE": "yes" if action._task.check_mode else "no"}
    text = script_reply.compose(script, {**known, **environment}, reads_input=input_file is not None)
    command, data = ("sh -s", text.encode())
    if input_file is not None:
        command, data = (f"sh -c {shlex.quote(text)}", input_file.read_bytes())
    began = time.monotonic()
    try:
        result = action._low_level_execute_command(command, in_data=data)
    except AnsibleConnectionFailure as error:
        result = {"stdout": "", "stderr": str(error)}
    return Answer(script_reply.parse(result["stdout"]), round(time.monotonic() - began, 3), result["stderr"])


def _tail(stderr: str) -> str:
    lines = [line for line in stderr.splitlines() if line.strip() and "ControlPersist" not in line]
    return f" ({' / '.join(lines[-3:])})" if lines else ""
