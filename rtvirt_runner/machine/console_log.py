"""Parse a board's console log: it holds all boots, each of which begins with the boot loader's banner."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

LAST_LINES = 15
READ_BYTES = 1 << 20  # of a log at most, its end: a console may say anything, for as long as it likes
# Banners of boot loaders. U-Boot with an SPL prints two; of GRUB a serial console may show only the entry that is
# booted; the last one is printed for the firmware of an emulated Raspberry Pi (media/rpi_firmware.py).
_BANNER = re.compile(
    r"^U-Boot (?:SPL )?20\d\d\.\d\d|^GRUB loading|Welcome to GRUB!| Booting `|^rtvirt: booting kernels/", re.MULTILINE
)
# Control sequences of terminals, which are removed.
_CONTROL = re.compile(r"\x1b(?:\[[0-9;?!]*[A-Za-z]|\][^\x07\x1b\n]*(?:\x07|\x1b\\)?|[78c])")
_DEATHS = ("Kernel panic", "Unable to mount root", "did not appear in 10 s")


@dataclass(frozen=True)
class TrialEnd:
    """How a trial ended (``reason``, a clause), and the last lines of its console."""

    reason: str
    lines: list[str]


def size(path: str | Path | None) -> int:
    """Bytes of a log; 0 if there is none."""
    try:
        return Path(path).stat().st_size if path else 0
    except OSError:
        return 0


def read(path: str | Path | None, begins_at: int = 0, limit: int = READ_BYTES) -> str:
    """A log from a byte on, of more than ``limit`` bytes only the end; '' if there is none."""
    try:
        if not path or not Path(path).is_file():
            return ""
        with Path(path).open("rb") as stream:
            stream.seek(max(begins_at, stream.seek(0, os.SEEK_END) - limit))
            return stream.read(limit).decode(errors="replace")
    except OSError:
        return ""


def current_boot(log: str) -> str:
    """The part of a log that belongs to the boot under way."""
    banners = list(_BANNER.finditer(log))
    return log[banners[-1].start() :] if banners else log


def fatal_line(boot: str) -> str | None:
    """The message of a boot that cannot come up, such as a kernel panic; None if there is none."""
    return next((words for words in _DEATHS if words in boot), None)


def last_lines(boot: str) -> list[str]:
    """The last non-empty lines, without control sequences; for a panic the lines around it, not its trace."""
    plain = _CONTROL.sub("", boot.replace("\r", ""))
    lines = [line for line in plain.splitlines() if line.strip()]
    panic = next((at for at, line in enumerate(lines) if "Kernel panic" in line), len(lines))
    return lines[: panic + LAST_LINES // 2][-LAST_LINES:]


def trial_boot(log: str, kernel: str) -> str:
    """The part of a log from the start of a kernel's last trial to the next boot; empty without a trial."""
    start = log.rfind(f"rtvirt: booting {kernel} (trial)")
    if start < 0:
        return ""
    following = _BANNER.search(log, start)
    return log[start : following.start()] if following else log[start:]


def trial_end(log: str, kernel: str, last_words: str) -> TrialEnd:
    """How the last trial of a kernel ended; ``last_words`` is the log that the board kept of that boot, or ''."""
    boot = trial_boot(log, kernel)
    said = boot or last_words
    if panic := re.search(r"Kernel panic - not syncing: *(.*)", said):
        reason = f"it panicked ({panic[1].strip()})"
    elif given_up := re.search(r"nobody confirmed this trial within (\d+) s", said):
        reason = f"it came up but could not be reached, and gave itself up after {given_up[1]} s of the board's clock"
    elif "(trial) could not be started" in said or "the trial entry could not be started" in said:
        reason = "the boot loader could not start it"
    elif boot:
        reason = "it hung or restarted without saying why"
    else:
        reason = "it did not come up, and no console log says why"
    return TrialEnd(reason, last_lines(said))
