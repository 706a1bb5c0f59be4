"""Wait until a board answers, after a reboot if asked; on failure show what its console said last."""

from __future__ import annotations

import contextlib
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleConnectionFailure, AnsibleError
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display
from ansible_collections.rtvirt.testbed.plugins.modules.wait_for_boot import DOCUMENTATION
from ansible_collections.rtvirt.testbed.plugins.plugin_utils.options import argument_spec

from rtvirt_runner.machine import console_log

BOOT_ID = "cat /proc/sys/kernel/random/boot_id"
HEARTBEAT_S = 30.0
POWER_LIMIT_S = 120.0
# How ssh says that the machine that answers is not the one that is known.
OTHER_KEY = ("Host key verification failed", "REMOTE HOST IDENTIFICATION HAS CHANGED")
# QEMU's user network takes a connection long before a board answers it: without these a panic that the console shows at
# once would be noticed after three attempts of a minute each.
ATTEMPT = {"timeout": 20, "reconnection_retries": 0}


class _OtherKeyError(Exception):
    """Who answers is not the board."""


class _NotUpError(Exception):
    """Why the board is not waited for any longer, a clause."""


@dataclass(frozen=True)
class _Console:
    """A console log on the controller (none: nothing is known of it), from the byte where the awaited boot begins."""

    path: str | None
    begins_at: int = 0

    @classmethod
    def from_now(cls, path: str | None) -> _Console:
        """What it has said so far is of another boot."""
        return cls(path, len(_read(path)))

    def death(self) -> str | None:
        """The words that say that the boot cannot come up."""
        return console_log.fatal_line(console_log.current_boot(_text(_read(self.path)[self.begins_at :])))

    def last_lines(self) -> str:
        """What it said last, as a further line for a message, or nothing; of another boot if it is silent since."""
        log = _read(self.path)
        lines = console_log.last_lines(console_log.current_boot(_text(log[self.begins_at :] or log)))
        return "\nThe last lines of its console:\n" + "\n".join(lines) if lines else ""


class ActionModule(ActionBase):
    """Returns boot_id and seconds; changed when it rebooted."""

    TRANSFERS_FILES = False
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Reboot when asked, then ask for the boot id until there is a new one."""
        super().run(tmp, task_vars)
        _, args = self.validate_argument_spec(argument_spec=argument_spec(DOCUMENTATION))
        if self._task.check_mode:
            return {"changed": args["reboot"]}
        began = time.monotonic()
        self._host = (task_vars or {}).get("inventory_hostname", "the board")
        is_fresh = args["pid_file"] and not args["reboot"]
        self._console = _Console(args["console"]) if is_fresh else _Console.from_now(args["console"])
        old = self._boot_id() if args["reboot"] else ""
        for name, value in ATTEMPT.items():
            with contextlib.suppress(AnsibleError, KeyError):  # not every kind of connection has them
                self._connection.set_option(name, value)
        if args["reboot"]:
            self._reboot()
        try:
            boot_id = self._wait_with_power(old, args)
        except _OtherKeyError:
            return {"failed": True, "msg": _other_key(self._host)}
        except _NotUpError as why:
            return {"failed": True, "msg": f"{self._host} did not come up: {why}.{self._console.last_lines()}"}
        return {"changed": args["reboot"], "boot_id": boot_id, "seconds": round(time.monotonic() - began, 1)}

    def _wait_with_power(self, old: str, args: dict[str, Any]) -> str:
        """Wait, and when that was in vain once more with the power switched off and on, where the lab can do that."""
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
        """The boot id of the next boot. Raises _NotUpError and _OtherKeyError."""
        limit_s = args["timeout_s"] * (2 if args["trial"] else 1)
        began = spoke = time.monotonic()
        while True:
            boot_id = self._boot_id()
            if boot_id and boot_id != old:
                return boot_id
            if any(words in self._refusal for words in OTHER_KEY):
                raise _OtherKeyError
            now = time.monotonic()
            late = f"no answer after {limit_s} s" if now - began > limit_s else ""
            if why := self._why_hopeless(args) or late:
                raise _NotUpError(why)
            if now - spoke > HEARTBEAT_S:
                spoke = now
                Display().display(f"{self._host}: still booting after {spoke - began:.0f} s")
            time.sleep(0.5)

    def _reboot(self) -> None:
        """Once: a connection that ends before the command does is not tried again, which would end the next boot."""
        with contextlib.suppress(AnsibleError):
            self._low_level_execute_command("systemctl reboot || reboot", sudoable=True)
        # A kept-open connection to a board that hangs in its next boot is not noticed to be dead for many minutes.
        with contextlib.suppress(AnsibleError, OSError):
            self._connection.reset()

    def _boot_id(self) -> str:
        """The board's boot id, or nothing when it does not answer; the connection is made anew each time it failed."""
        self._refusal = ""
        try:
            result = self._low_level_execute_command(BOOT_ID, sudoable=False)
        except AnsibleConnectionFailure as error:
            result = {"rc": 255, "stdout": ""}
            self._refusal = str(error)
        if result["rc"] != 0:
            with contextlib.suppress(AnsibleError, OSError):
                self._connection.reset()
            return ""
        return str(result["stdout"]).strip()

    def _why_hopeless(self, args: dict[str, Any]) -> str:
        if death := None if args["trial"] else self._console.death():
            return f"its console says '{death}'"
        return "its emulator has ended" if args["pid_file"] and not _alive(args["pid_file"]) else ""


def _switch_power(command: str) -> str:
    """Run the lab's command; returns what went wrong, a clause, or nothing."""
    named = f"its rtvirt_power_command ({command})"
    try:
        done = subprocess.run(
            ["sh", "-c", command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
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
    pid = _text(_read(pid_file)).strip()
    return bool(pid) and Path(f"/proc/{pid}").exists()


def _read(path: str | None) -> bytes:
    try:
        return Path(path).read_bytes() if path else b""
    except OSError:
        return b""


def _text(log: bytes) -> str:
    return log.decode(errors="replace")
