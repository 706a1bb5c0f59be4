"""What was recorded of one late wake-up of a cell, and its explanation."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rtvirt_runner.analysis.late.attribution import Explanation, Machine, Side, TimeLine, time_line
from rtvirt_runner.analysis.late.clocks import ClockSample
from rtvirt_runner.analysis.late.wakeups import Wakeup, latest
from rtvirt_runner.matrix.cell import Cell
from rtvirt_runner.parsers.ftrace import ROUNDING_NS, ParseError, Trace, parse

_BELL_NS = 5_000_000_000  # at most, from when cyclictest stops the guest's trace to the bell that ends the board's
_LAST_NS = 1_000_000_000  # of the guest's trace, that decide the clocks' offset there
_VCPU = re.compile(r"CPU (\d{1,4})/KVM", re.ASCII)


class _SamplesContradict(Exception):
    """The traces come on no time line with the samples of PTP_KVM."""


@dataclass(frozen=True)
class Recording:
    """ftrace's text of each side; a cell on the host has that of the board alone.

    ``broke_us``: the latency that stopped cyclictest, None if no wake-up was later than the threshold. ``board``: the
    facts read back from the board while its guest was traced, which name the threads of QEMU. ``bell``: whether the
    bell that the guest rang then ended the board's trace. ``samples``: of PTP_KVM.
    """

    cell: Cell
    texts: Mapping[Side, str]
    broke_us: int | None
    board: Mapping[str, Any]
    bell: bool = False
    samples: tuple[ClockSample, ...] = ()

    @property
    def vcpus(self) -> dict[int, int]:
        """The thread of each vCPU; empty for a guest without KVM."""
        rows = self.board.get("vcpu_threads", ())
        named = ((_VCPU.fullmatch(str(row.get("name"))), row.get("tid")) for row in rows)
        return {int(found[1]): int(tid) for found, tid in named if found and tid is not None}

    @property
    def qemu(self) -> list[int]:
        """The other threads of QEMU."""
        return [int(row["tid"]) for row in self.board.get("qemu_threads", ()) if "tid" in row]

    def explain(self) -> Explained:
        """The wake-up that stopped the trace, or else the latest one in it. Raises ParseError, one sentence."""
        traces = {side: parse(text.splitlines(keepends=True)) for side, text in self.texts.items()}
        left_out = False
        try:
            line, doubt = self._time_line(traces, self.samples)
        except _SamplesContradict:
            line, doubt = self._time_line(traces, ())
            left_out = True
        side: Side = "guest" if self.cell.place == "guest" else "host"
        wakeup = self._wakeup(line.guest if side == "guest" else line.host)
        return Explained(line, line.explain(wakeup, side), traces, doubt, left_out)

    def _time_line(self, traces: Mapping[Side, Trace], samples: tuple[ClockSample, ...]) -> tuple[TimeLine, str]:
        """Both sides on one time line; the guest alone, and why, where they do not come on one.

        Raises _SamplesContradict where they do not with these samples.
        """
        host, guest = traces.get("host"), traces.get("guest")
        try:
            return time_line(
                host,
                guest,
                threads=self.vcpus or None,
                qemu=[*self.qemu, *self.vcpus.values()],
                samples=samples,
                near_ns=self._near_ns(host, guest),
                last_ns=_LAST_NS,
                timers=self._has_timers,
            ), ""
        except ParseError as error:
            if guest is None:
                raise
            if samples:
                raise _SamplesContradict from error
            return time_line(None, guest), str(error)

    @property
    def _has_timers(self) -> bool:
        """Whether KVM itself gives the guest its timer interrupts."""
        return self.cell.guest_state is not None and self.cell.guest_state.gic == "in_kernel"

    def _near_ns(self, host: Trace | None, guest: Trace | None) -> tuple[float, float] | None:
        """Between which the offset of the clocks lies: the bell rings soon after the guest's last event."""
        if not (self.bell and host and guest):
            return None
        latest_ns = host.end_ns - guest.end_ns + 2 * ROUNDING_NS
        return latest_ns - _BELL_NS, latest_ns

    def _wakeup(self, machine: Machine | None) -> Wakeup:
        found = machine.wakeups if machine else []
        if not found:
            raise ParseError(
                "No whole wake-up of cyclictest is in the trace, expected the late one; were its events overwritten?"
            )
        said = [each for each in found if each.said_ns is not None]
        return said[-1] if said else latest(found, 1)[0]


@dataclass(frozen=True)
class Explained:
    """A recording that could be read. ``doubt``: why board and guest are not on one time line; '' if they are.

    ``samples_left_out``: those of PTP_KVM contradict the events.
    """

    line: TimeLine
    explanation: Explanation
    traces: Mapping[Side, Trace]
    doubt: str
    samples_left_out: bool = False
