"""A record with its raw output parsed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rtvirt_runner.analysis.histogram import Histogram
from rtvirt_runner.matrix.cell import Cell
from rtvirt_runner.matrix.results import Record
from rtvirt_runner.parsers.spikes import LateWakeups
from rtvirt_runner.parsers.workload import WorkloadRun


@dataclass(frozen=True)
class HostSide:
    """What the board's own cyclictest measured beside the guest, of a cell whose place is both."""

    histogram: Histogram
    late: LateWakeups


@dataclass(frozen=True)
class Measurement:
    """A record with its raw output parsed: either a histogram, or the reason why there is none."""

    record: Record
    histogram: Histogram | None
    reason: str
    workload: WorkloadRun | None = None  # what ran beside cyclictest; None where nothing did
    late: LateWakeups | None = None  # with their times; None where they were not listed
    host: HostSide | None = None  # with place both

    @property
    def cell(self) -> Cell:
        """The cell that was measured."""
        return self.record.cell

    @property
    def sealed(self) -> bool:
        """Whether a sealed machine measured it, so that the same inputs give the same bins anywhere."""
        return bool(self.record.system.get("sealed"))

    @property
    def realtime(self) -> bool:
        """Whether the board's kernel had PREEMPT_RT."""
        return bool(self._board().get("realtime"))

    @property
    def kernel_release(self) -> str:
        """Release of the kernel that the board ran, as ``uname -r`` prints it; '?' where the record has none."""
        return str(self._board().get("uname_r") or "?")

    @property
    def guest_uses_tcg(self) -> bool:
        """Whether the cell was measured in a guest that QEMU emulated (tcg), without KVM."""
        return self.cell.in_guest and self._board().get("guest_accelerator") == "tcg"

    @property
    def guest_is_compat(self) -> bool:
        """Whether the cell was measured in a guest of another architecture than its board, such as 32 bits on 64."""
        guest = self.record.system.get("guest")
        machine = guest.get("machine") if isinstance(guest, dict) else None
        return bool(machine) and machine != self._board().get("machine", machine)

    def facts(self, table: str) -> list[dict[str, Any]]:
        """A table among the facts read back from the board; empty when the record has none."""
        rows = self._board().get(table)
        return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []

    def _board(self) -> dict[str, Any]:
        board = self.record.system.get("board")
        return board if isinstance(board, dict) else {}


def read_measurement(record: Record) -> Measurement:
    """A record's raw output, cyclictest's and the workload's, as numbers.

    A record with status ``done`` counts as failed if its output is not whole (matrix/acceptance.py).
    """
    if (output := record.output) is None:
        return Measurement(record, None, record.reason)
    limit_us = record.cell.histogram_us
    host = HostSide(Histogram.of_run(output.host.latencies, limit_us), output.host.late) if output.host else None
    return Measurement(record, Histogram.of_run(output.latencies, limit_us), "", output.workload, output.late, host)
