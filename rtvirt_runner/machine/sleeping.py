"""Whether all cores of a sealed machine sleep: ``python -m rtvirt_runner.machine.sleeping SOCKET CORES``.

It stands still at its save point (save_point.c), QEMU's monitor being SOCKET. Where a core has run on until it stopped,
the machine is another one than it would have been without a stop, and its state is of no use.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path

from rtvirt_runner.machine.qmp import QmpError, human_monitor

WFI = 0xD503207F  # wait for interrupt (Arm Architecture Reference Manual for A-profile, C6.2)


def sleeps(monitor: Path, core: int) -> bool:
    """Whether a core, which must be stopped, waits for an interrupt: its PC is then behind WFI. Raises QmpError."""
    registers = human_monitor(monitor, "info registers", core)
    address = re.search(r"\bPC=([0-9a-f]{16})\b", registers)
    if address is None:
        raise QmpError(f"QEMU says nothing of core {core}'s PC: {registers[:200]}")
    before = int(address[1], 16) - 4
    word = re.search(r": (0x[0-9a-f]{8})\s*$", human_monitor(monitor, f"x /1wx {before:#x}", core))
    return word is not None and int(word[1], 16) == WFI


def main(arguments: Sequence[str]) -> int:
    """Returns 1 when a core does not sleep, and 2 when QEMU does not say, each with a sentence."""
    monitor, cores = arguments
    try:
        awake = [core for core in range(int(cores)) if not sleeps(Path(monitor), core)]
    except QmpError as error:
        print(f"!! {error}.")
        return 2
    if awake:
        print(f"Core {awake[0]} of the machine does not sleep at its save point: it has no state to be saved.")
    return 1 if awake else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
