"""Run a POSIX sh script of the controller on any host that has a shell, in one SSH command."""

from __future__ import annotations

import hashlib
import re
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible_collections.rtvirt.testbed.plugins.modules.remote_script import DOCUMENTATION
from ansible_collections.rtvirt.testbed.plugins.plugin_utils.options import argument_spec
from ansible_collections.rtvirt.testbed.plugins.plugin_utils.package import package_imports

with package_imports():
    from ansible_collections.rtvirt.testbed.plugins.plugin_utils.far_shell import run_script

    from rtvirt_runner.machine import script_reply
    from rtvirt_runner.printable import printable


SAFE = re.compile(r"^# check mode: safe$", re.MULTILINE)  # declares that a script obeys RTVIRT_CHECK_MODE

# The effective user, without a program: starting one takes an emulated board tens of milliseconds.
_NEEDS_ROOT = """\
while read -r key _ user _; do [ "$key" != Uid: ] || break; done </proc/self/status
[ "$user" = 0 ] || fail "This needs root, and the user on this machine has id $user; set become, or connect as root."
"""


class ActionModule(ActionBase):
    """Returns facts (tables included), files, changes and seconds."""

    TRANSFERS_FILES = False
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Run the scripts once; they report what changed."""
        super().run(tmp, task_vars)
        _, args = self.validate_argument_spec(argument_spec=argument_spec(DOCUMENTATION))
        if self._task.check_mode and (reason := _unsafe(args)):
            return {"skipped": True, "changed": False, "msg": reason, "changes": [], "facts": {}, "files": {}}
        if self._task.check_mode and args["input"]:
            would = f"would send {Path(args['input']).name}"
            return {"changed": True, "msg": would, "changes": [would], "facts": {}, "files": {}}
        guard = [_NEEDS_ROOT] if args["needs_root"] else []
        uploaded = self._upload({str(there): str(here) for there, here in args["uploads"].items()}, guard)
        script = "\n".join([*guard, *uploaded, *(Path(path).read_text() for path in args["script"])])
        source = Path(args["input"]) if args["input"] else None
        environment = {str(k): str(v) for k, v in args["environment"].items()}
        alone = {"holds": args["exclusive"], "ends_load": args["exclusive"], "lease_s": args["lease_s"]}
        answer = run_script(self, script, environment, source, task_vars, **alone)
        reply = answer.reply
        result: dict[str, Any] = {
            "changed": bool(reply.changes),
            "changes": reply.changes,
            "facts": reply.as_dict(),
            "files": reply.files,
            "stdout_lines": reply.output,
            "seconds": answer.seconds,
        }
        if self._task.diff:
            result["diff"] = {"prepared": "".join(f"{printable(change)}\n" for change in reply.changes)}
        if answer.failure is not None:
            result |= {"failed": True, "msg": printable(answer.failure)}
        return result

    def _upload(self, uploads: Mapping[str, str], guard: Sequence[str]) -> list[str]:
        """Copy the files that differ to temporary names; returns the lines of script that install them.

        ``guard`` are lines of script that fail when nothing may be copied.
        """
        if not uploads:
            return []
        stat = "\n".join([*guard, script_reply.STAT_SCRIPT])
        found = run_script(self, stat, {"PATHS": " ".join(shlex.quote(path) for path in uploads)}).reply
        if guard and found.failure:
            raise AnsibleActionFail(printable(found.failure))
        there = {line.partition("  ")[2]: line.partition("  ")[0] for line in found.output}
        wanted = {
            path: Path(source)
            for path, source in uploads.items()
            if not self._is_made(source) or there.get(path) != hashlib.sha256(Path(source).read_bytes()).hexdigest()
        }
        room = dict(zip(uploads, found.rows.get("room", []), strict=False))
        sizes = {path: source.stat().st_size for path, source in wanted.items() if self._is_made(source)}
        if missing := script_reply.missing_room(sizes, room):
            raise AnsibleActionFail(missing)
        # What only its owner may read here is so there as well, from its first byte on.
        private = {path for path, source in uploads.items() if self._is_made(source) and _is_private(Path(source))}
        lines = [f"chmod 700 {shlex.quote(path)}" for path in private - set(wanted) if not self._task.check_mode]
        for path, source in wanted.items():
            quoted = shlex.quote(path)
            if self._task.check_mode:
                lines.append(f"changed would bring {quoted}")
                continue
            mode, umask = ("700", "077") if path in private else ("755", "022")
            make = f"mkdir -p {shlex.quote(str(Path(path).parent))}"
            if (
                self._connection.become
            ):  # put_file writes as the connection's user; only the script has the rights of become
                self._low_level_execute_command(make)
                brought = f"{self._connection._shell.tmpdir or self._make_tmp_path()}/{Path(path).name}"
                self._connection.put_file(str(source), brought)
                lines.append(f"rm -f {quoted}.partial; (umask {umask}; cp {shlex.quote(brought)} {quoted}.partial)")
            else:
                empty = f"rm -f {quoted}.partial && (umask {umask} && : >{quoted}.partial)"
                self._low_level_execute_command(f"{make} && {empty}")
                self._connection.put_file(str(source), f"{path}.partial")
            lines.append(f"chmod {mode} {quoted}.partial; mv {quoted}.partial {quoted}; changed brought {quoted}")
        return lines

    def _is_made(self, source: str | Path) -> bool:
        """Whether a file to upload exists: in check mode the task that builds it may not have run."""
        return not self._task.check_mode or Path(source).exists()


def _is_private(source: Path) -> bool:
    return not source.stat().st_mode & 0o077


def _unsafe(args: Mapping[str, Any]) -> str:
    """Why the scripts may not run in check mode, or ''."""
    if args["input"]:
        return ""  # nothing is sent then
    unsafe = [Path(path).name for path in args["script"] if not SAFE.search(Path(path).read_text())]
    return f"Not run in check mode, since it does not say that it is safe: {', '.join(unsafe)}." if unsafe else ""
