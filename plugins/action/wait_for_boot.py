"""Wait until a board answers, after a reboot if requested; on failure show the last lines of its console."""

from __future__ import annotations

import contextlib
import re
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleError
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display
from ansible_collections.rtvirt.testbed.plugins.modules.wait_for_boot import DOCUMENTATION
from ansible_collections.rtvirt.testbed.plugins.plugin_utils.options import argument_spec
from ansible_collections.rtvirt.testbed.plugins.plugin_utils.package import package_imports

with package_imports():
    from ansible_collections.rtvirt.testbed.plugins.plugin_utils.far_shell import limited_command

    from rtvirt_runner.machine import console_log
    from rtvirt_runner.printable import printable


# The far shell may print something of its own around the answer, and something else each time.
BOOT_ID_FILE = "/proc/sys/kernel/random/boot_id"
BOOT_ID = f"echo; echo @boot_id $(cat {BOOT_ID_FILE})"
BOOT_ID_LINE = re.compile(r"^@boot_id ([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\r?$", re.MULTILINE)
HEARTBEAT_S = 30.0
POWER_LIMIT_S = 120.0
ANSWER_LIMIT_S = 120.0
ANSWER_BYTES = 4096
# Messages of ssh for a host key that differs from the known one.
OTHER_KEY = ("Host key verification failed", "REMOTE HOST IDENTIFICATION HAS CHANGED")
# QEMU's user network accepts a connection long before the board answers: with the defaults, a panic on the console
# would be noticed only after three attempts of a minute each.
ATTEMPT = {"timeout": 20, "reconnection_retries": 0}


class _OtherKeyError(Exception):
    """The host key of the machine that answers is not the board's."""


class _NotUpError(Exception):
    """The board did not come up; the message is a clause that says why."""


@dataclass(frozen=True)
class _Console:
    """A console log on the controller (None: the board has none), from the byte where the awaited boot begins."""

    path: str | None
    begins_at: int = 0

    @classmethod
    def from_now(cls, path: str | None) -> _Console:
        """The log from its present end: its content so far belongs to another boot."""
        return cls(path, console_log.size(path))

    def fatal_line(self) -> str | None:
        """The message of a boot that cannot come up, such as a kernel panic; None if there is none."""
        return console_log.fatal_line(console_log.current_boot(console_log.read(self.path, self.begins_at)))

    def last_lines(self) -> str:
        """The last lines, to be appended to a message, or ''; of the boot before if the log has not grown since."""
        log = console_log.read(self.path, self.begins_at) or console_log.read(self.path)
        lines = console_log.last_lines(console_log.current_boot(log))
        return "\nThe last lines of its console:\n" + "\n".join(lines) if lines else ""


class ActionModule(ActionBase):
    """Returns boot_id and seconds; changed when the board was rebooted."""

    TRANSFERS_FILES = False
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Reboot if requested, then read the boot id until it is a new one."""
        super().run(tmp, task_vars)
        _, args = self.validate_argument_spec(argument_spec=argument_spec(DOCUMENTATION))
        if self._task.check_mode:
            return {"changed": args["reboot"]}
        began = time.monotonic()
        self._host = (task_vars or {}).get("inventory_hostname", "the board")
        is_fresh = args["pid_file"] and not args["reboot"]
        self._console = _Console(args["console"]) if is_fresh else _Console.from_now(args["console"])
        old = self._boot_id() if args["reboot"] else ""
        if args["reboot"] and self._untold:
            return {"failed": True, "msg": printable(f"{self._host} was not rebooted: {self._untold}.")}
        for name, value in ATTEMPT.items():
            with contextlib.suppress(AnsibleError, KeyError):  # not every connection plugin has these options
                self._connection.set_option(name, value)
        if args["reboot"]:
            self._reboot()
        try:
            boot_id = self._wait_with_power(old, args)
        except _OtherKeyError:
            return {"failed": True, "msg": _other_key(self._host)}
        except _NotUpError as why:
            said = f"{self._host} did not come up: {why}.{self._console.last_lines()}"
            return {"failed": True, "msg": printable(said, keep="\n")}
        return {"changed": args["reboot"], "boot_id": boot_id, "seconds": round(time.monotonic() - began, 1)}

    def _wait_with_power(self, old: str, args: dict[str, Any]) -> str:
        """Wait; on failure, power-cycle the board and wait again if the lab has a command for that."""
        try:
            return self._wait(old, args)
        except _NotUpError as error:
            if not args["power_command"]:
                raise
            why = str(error)
        Display().display(f"{self._host}: {why}, so its power is switched off and on")
        self._console = _Console.from_now(args["console"])
        if trouble := _switch_power(args["power_command"]):
            raise _NotUpError(f"{why}, and {trouble}")
        try:
            return self._wait(old, args)
        except _NotUpError as error:
            raise _NotUpError(f"{why}, and after its power was switched off and on: {error}") from None

    def _wait(self, old: str, args: dict[str, Any]) -> str:
        """Wait for the next boot and return its boot id. Raises _NotUpError and _OtherKeyError."""
        limit_s = args["timeout_s"] * (2 if args["trial"] else 1)
        began = spoke = time.monotonic()
        while True:
            boot_id = self._boot_id()
            if boot_id and boot_id != old:
                return boot_id
            if any(words in self._refusal for words in OTHER_KEY):
                raise _OtherKeyError
            now = time.monotonic()
            late = (self._untold or f"no answer after {limit_s} s") if now - began > limit_s else ""
            if why := self._why_hopeless(args) or late:
                raise _NotUpError(why)
            if now - spoke > HEARTBEAT_S:
                spoke = now
                Display().display(f"{self._host}: still booting after {spoke - began:.0f} s")
            time.sleep(0.5)

    def _reboot(self) -> None:
        """Send the command once: a retry after a lost connection would end the next boot."""
        with contextlib.suppress(AnsibleError):
            self._low_level_execute_command("systemctl reboot || reboot", sudoable=True)
        # A persistent SSH connection would take minutes to time out if the board hangs in its next boot.
        with contextlib.suppress(AnsibleError, OSError):
            self._connection.reset()

    def _boot_id(self) -> str:
        """The board's boot id, or '' if it does not tell; the connection is reset after each failure."""
        self._refusal = self._untold = ""
        result = limited_command(self, BOOT_ID, limit_s=ANSWER_LIMIT_S, output_bytes=ANSWER_BYTES, sudoable=False)
        if result["rc"] != 0:
            self._refusal = str(result["stderr"])
            with contextlib.suppress(AnsibleError, OSError):
                self._connection.reset()
            return ""
        found = BOOT_ID_LINE.search(str(result["stdout"]))
        if not found:
            last = str(result["stdout"]).strip().rpartition("\n")[2][:200]
            self._untold = f"it answers '{last}', without its boot id ({BOOT_ID_FILE}), by which a reboot is told"
        return found[1] if found else ""

    def _why_hopeless(self, args: dict[str, Any]) -> str:
        if fatal_line := None if args["trial"] else self._console.fatal_line():
            return f"its console says '{fatal_line}'"
        return "its emulator has ended" if args["pid_file"] and not _alive(args["pid_file"]) else ""


def _switch_power(command: str) -> str:
    """Run the lab's power command; returns what went wrong, a clause, or ''."""
    named = f"its rtvirt_power_command ({command})"
    try:
        done = subprocess.run(
            ["sh", "-c", command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=POWER_LIMIT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"{named} did not end within {POWER_LIMIT_S:.0f} s; see to that command"
    said = done.stdout.strip().rpartition("\n")[2] or "it said nothing"
    return f"{named} ended with status {done.returncode}: {said}; see to that command" if done.returncode else ""


def _other_key(host: str) -> str:
    return (
        f"{host} answers with another SSH host key than the lab has of it, so it is not believed to be {host}. If its "
        "card is from elsewhere, write one with playbooks/reprovision.yml; if its address has gone to another machine, "
        "correct ansible_host."
    )


def _alive(pid_file: str) -> bool:
    try:
        pid = Path(pid_file).read_text(errors="replace").strip()
    except OSError:
        return False
    return bool(pid) and Path(f"/proc/{pid}").exists()
