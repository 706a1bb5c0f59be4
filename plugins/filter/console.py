"""What a console log says: a thin door to rtvirt_runner.console."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rtvirt_runner.machine import console_log


def trial_end(console_file: str, kernel: str, last_words: str = "") -> dict[str, Any]:
    """How the last trial of a kernel ended (``why``) and its last ``lines``; the file need not exist."""
    try:
        log = Path(str(console_file)).read_text(errors="replace") if console_file else ""
    except OSError:
        log = ""
    return asdict(console_log.trial_end(log, str(kernel), str(last_words)))


class FilterModule:
    """The filters of this file."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """By the name that playbooks use."""
        return {"trial_end": trial_end}
