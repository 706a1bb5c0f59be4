"""Write down what became of emulated boards while a playbook ran: JSON lines in the file that RTVIRT_TEST_EVENTS names.

Tests say how many boots they cost, and one that says it starts cold is held to it: both from these lines.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: boards
type: aggregate
short_description: writes down boots of emulated boards
description: For the tests of rtvirt.
"""


class CallbackModule(CallbackBase):
    """One line per boot, per entered snapshot, and per start of a guest."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "boards"

    def v2_runner_on_ok(self, result: Any) -> None:
        """A task went well."""
        self._look_at(result)

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        """A task failed: a board may have been booted all the same."""
        self._look_at(result)

    def _look_at(self, result: Any) -> None:
        said, action = result.result, result.task.action.rpartition(".")[2]
        facts = said.get("facts") or {}
        if action == "remote_script" and said.get("changed") and "entered" in facts:
            self._write({"boot": "cold boot", "snapshot": "restore"}[facts["entered"]], result)
        elif action == "remote_script" and f"started {result.host.get_name()}-guest" in said.get("changes", []):
            self._write("guest start", result)
        elif action == "wait_for_boot" and said.get("changed") and "boot_id" in said:  # not in check mode
            self._write("reboot", result)

    def _write(self, event: str, result: Any) -> None:
        if not (path := os.environ.get("RTVIRT_TEST_EVENTS")):
            return
        with Path(path).open("a", encoding="utf-8") as stream:  # one write, so that lines of two playbooks stay whole
            stream.write(json.dumps({"event": event, "board": result.host.get_name()}) + "\n")
