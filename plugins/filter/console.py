"""Filter trial_end; wraps rtvirt_runner.machine.console_log."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from ansible_collections.rtvirt.testbed.plugins.plugin_utils.package import FilterImports

with FilterImports() as imports:
    from rtvirt_runner.machine import console_log


def trial_end(console_file: str, kernel: str, last_words: str = "") -> dict[str, Any]:
    """How the last trial of a kernel ended (``reason``) and its last ``lines``; the file need not exist."""
    log = console_log.read(str(console_file or ""))
    return asdict(console_log.trial_end(log, str(kernel), str(last_words)))


class FilterModule:
    """The plugin class that Ansible loads."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """The filters by name."""
        return imports.usable({"trial_end": trial_end})
