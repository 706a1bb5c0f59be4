"""Run a POSIX sh script of the controller on any host that has a shell, in one SSH command."""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible_collections.rtvirt.testbed.plugins.plugin_utils.far_shell import run_script
from ansible_collections.rtvirt.testbed.plugins.plugin_utils.options import argument_spec

from rtvirt_runner.machine import script_reply

DOCUMENTATION = r"""
name: remote_script
short_description: run a sh script on a host that may have nothing but a shell
description:
  - The script reports with C(changed), C(fact), C(file) and C(fail); rtvirt_runner/remote.py says how.
options:
  script:
    description: The script on the controller; several run as one.
    type: list
    elements: path
    required: true
  uploads:
    description: "Files to bring first if they differ: path there to path here."
    type: dict
    default: {}
  input:
    description: File on the controller that the script reads as its standard input. Not in check mode.
    type: path
  environment:
    description: Variables for the script.
    type: dict
    default: {}
"""


class ActionModule(ActionBase):
    """Returns facts (with tables among them), files, changes and seconds."""

    TRANSFERS_FILES = False
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Run it once; the script decides what changed."""
        super().run(tmp, task_vars)
        _, args = self.validate_argument_spec(argument_spec=argument_spec(DOCUMENTATION))
        uploaded = self._upload({str(there): str(here) for there, here in args["uploads"].items()})
        script = "\n".join([*uploaded, *(Path(path).read_text() for path in args["script"])])
        source = Path(args["input"]) if args["input"] else None
        if source and self._task.check_mode:
            return {"changed": True, "msg": f"would send {source.name}"}
        answer = run_script(self, script, {str(k): str(v) for k, v in args["environment"].items()}, source)
        reply = answer.reply
        result: dict[str, Any] = {
            "changed": bool(reply.changes),
            "changes": reply.changes,
            "facts": reply.as_dict(),
            "files": reply.files,
            "stdout_lines": reply.output,
            "seconds": answer.seconds,
        }
        if answer.failure is not None:
            result |= {"failed": True, "msg": answer.failure}
        return result

    def _upload(self, uploads: Mapping[str, str]) -> list[str]:
        """Bring the files that differ, beside their places; returns the lines of script that put them there."""
        if not uploads:
            return []
        found = run_script(
            self, script_reply.STAT_SCRIPT, {"PATHS": " ".join(shlex.quote(path) for path in uploads)}
        ).reply
        there = {line.partition("  ")[2]: line.partition("  ")[0] for line in found.output}
        wanted = {
            path: Path(source)
            for path, source in uploads.items()
            if there.get(path) != hashlib.sha256(Path(source).read_bytes()).hexdigest()
        }
        room = dict(zip(uploads, found.rows.get("room", []), strict=False))
        if missing := script_reply.missing_room({path: source.stat().st_size for path, source in wanted.items()}, room):
            raise AnsibleActionFail(missing)
        lines = []
        for path, source in wanted.items():
            quoted = shlex.quote(path)
            if self._task.check_mode:
                lines.append(f"changed would bring {quoted}")
                continue
            self._low_level_execute_command(f"mkdir -p {shlex.quote(str(Path(path).parent))}")
            if self._connection.become:  # files come as the user that connects, and only the script may write there
                brought = f"{self._connection._shell.tmpdir or self._make_tmp_path()}/{Path(path).name}"
                self._connection.put_file(str(source), brought)
                lines.append(f"cp {shlex.quote(brought)} {quoted}.partial")
            else:
                self._connection.put_file(str(source), f"{path}.partial")
            lines.append(f"chmod 755 {quoted}.partial; mv {quoted}.partial {quoted}; changed brought {quoted}")
        return lines
