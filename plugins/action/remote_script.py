"""Run a POSIX sh script of the controller on any host that has a shell, in one SSH command."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase
from ansible_collections.rtvirt.testbed.plugins.plugin_utils.far_shell import run_script

DOCUMENTATION = r"""
name: remote_script
short_description: run a sh script on a host that may have nothing but a shell
description:
  - The script reports with C(changed), C(fact), C(file) and C(fail); rtvirt_runner/remote.py says how.
options:
  script: {description: The script on the controller; several are run as one., type: list, elements: path, required: true}
  environment: {description: Variables for the script., type: dict, default: {}}
"""


class ActionModule(ActionBase):
    """Returns facts (with tables among them), files, changes and seconds."""

    TRANSFERS_FILES = False
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Run it once; the script decides what changed."""
        super().run(tmp, task_vars)
        _, args = self.validate_argument_spec(
            argument_spec={
                "script": {"type": "list", "elements": "path", "required": True},
                "environment": {"type": "dict", "default": {}},
            }
        )
        script = "\n".join(Path(path).read_text() for path in args["script"])
        answer = run_script(self, script, {str(k): str(v) for k, v in args["environment"].items()})
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
