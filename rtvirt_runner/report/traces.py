"""The files of one traced run of a cell: what was recorded, what it means, a picture, and traces for other tools."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rtvirt_runner.analysis.histogram import Histogram, Summary, summarize
from rtvirt_runner.analysis.late.perfetto_trace import perfetto_trace
from rtvirt_runner.analysis.late.recording import Explained, Recording
from rtvirt_runner.analysis.late.trace_dat import trace_dat, trace_dat_pair
from rtvirt_runner.analysis.late.words import sentences
from rtvirt_runner.matrix.results import Record
from rtvirt_runner.matrix.trace_files import FILES, MORE_LOOPS, PICTURE, RTLA_FILE, TRACE_FILE
from rtvirt_runner.parsers import ParseError
from rtvirt_runner.report.figures.late_wakeup import late_wakeup
from rtvirt_runner.report.format import clock_suffix, decimals, number, unit

SCHEMA_VERSION = 1
SAMPLES_LEFT_OUT = (
    "The samples of PTP_KVM contradict the events and are left out; was the board's wall clock set meanwhile?"
)
_RAW = ("cyclictest.json", "cyclictest.txt", "workload.txt")


@dataclass(frozen=True)
class TracedRun:
    """One traced run of a cell.

    ``without`` and ``traced``: the records of the same cell without a trace, and with one that nothing stops. ``told``:
    what the commands answered beside the texts (missing events, lost events), for whoever doubts the explanation.
    """

    recording: Recording
    asked: int | str  # us, or auto
    threshold_us: int
    without: Record
    traced: Record
    told: Mapping[str, Any]
    rtla: str | None = None  # what rtla says of its own thread, None where it was not asked

    def files(self) -> tuple[dict[str, str | bytes], list[str]]:
        """All files by name, and the explanation in words, a sentence each."""
        cell = self.recording.cell
        files: dict[str, str | bytes] = {FILES[side]: text for side, text in self.recording.texts.items()}
        for name, record in (("without", self.without), ("with", self.traced)):
            for raw in _RAW:
                stem, _, suffix = raw.partition(".")
                if (text := record.raw(raw)) is not None:
                    files[f"{stem}-{name}.{suffix}"] = text
        if self.rtla and self.rtla.strip():
            files[RTLA_FILE] = self.rtla
        files["cell.json"] = _json(cell.as_dict())
        files["system.json"] = _json(self.traced.system)
        explained, problem = self._explained()
        if explained:
            files |= _files_of(explained, cell.clock)
        said = self._words(explained, problem)
        files[TRACE_FILE] = _json(self._numbers(explained) | {"sentences": said})
        return files, said

    def _explained(self) -> tuple[Explained | None, str]:
        try:
            return self.recording.explain(), ""
        except ParseError as error:
            return None, str(error)

    def _words(self, explained: Explained | None, problem: str) -> list[str]:
        cell, broke = self.recording.cell, self.recording.broke_us
        said = []
        if broke is None:
            said.append(
                f"None of {number(MORE_LOOPS * cell.loops)} wake-ups was later than {number(self.threshold_us)} "
                f"{unit(cell.clock)}; this is about the latest one that is still in the trace."
            )
        if explained:
            said += sentences(explained.explanation)
            said += [f"Board and guest could not be put on one time line: {explained.doubt}"] if explained.doubt else []
            said += [SAMPLES_LEFT_OUT] if explained.samples_left_out else []
            bound = explained.explanation.bound_ns
            if bound is not None:
                taken = explained.line.clock.samples if explained.line.clock else 0
                by = f", with {taken} samples of PTP_KVM" if taken else ""
                said.append(f"The offset between the clocks of board and guest is known to {bound / 1000:.1f} µs{by}.")
        else:
            said.append(f"The trace cannot be explained: {problem}")
        before, after = _summary(self.without), _summary(self.traced)
        said.append(
            f"Without a trace the cell took {decimals(before.avg)} µs on average and {number(before.max)} at most, "
            f"traced {decimals(after.avg)} and {number(after.max)}."
        )
        if self.rtla and self.rtla.strip():
            said.append(f"What rtla says of its own thread there, with the same threshold, is in {RTLA_FILE}.")
        elif self.rtla is not None:
            said.append("rtla was asked too, and said nothing in the time that it had.")
        if suffix := clock_suffix(cell.clock):
            said.append(f"All times are{suffix.replace('(', 'in ').replace(')', '')}.")
        return said

    def _numbers(self, explained: Explained | None) -> dict[str, Any]:
        clock = explained.line.clock if explained else None
        return {
            "schema_version": SCHEMA_VERSION,
            "cell_id": self.recording.cell.id,
            "asked": self.asked,
            "threshold_us": self.threshold_us,
            "break_us": self.recording.broke_us,
            "without": _cost(self.without),
            "with": _cost(self.traced),
            "clock": clock.as_dict() if clock else None,
            "explanation": explained.explanation.as_dict() if explained else None,
            "told": dict(self.told),
        }


def _files_of(explained: Explained, clock: str) -> dict[str, str | bytes]:
    """The picture, and the traces as trace.dat, and for Perfetto where its package is installed."""
    line = explained.line
    files: dict[str, str | bytes] = {PICTURE: late_wakeup(line, explained.explanation, "late", unit(clock)).svg()}
    host, guest = explained.traces.get("host"), explained.traces.get("guest")
    if host and guest and line.clock:
        files["host.dat"], files["guest.dat"] = trace_dat_pair(host, guest, line.clock, line.vcpus)
        if importlib.util.find_spec("perfetto"):
            files["trace.perfetto"] = perfetto_trace(host, guest, line.clock, line.vcpus)
    else:
        files |= {f"{side}.dat": trace_dat(trace) for side, trace in explained.traces.items()}
    return files


def _summary(record: Record) -> Summary:
    output = record.output
    if output is None:
        raise ParseError(f"The cell was not measured: {record.reason}")
    return summarize(Histogram.of_run(output.latencies, record.cell.histogram_us))


def _cost(record: Record) -> dict[str, Any]:
    found = _summary(record)
    return {"samples": found.samples, "avg_us": found.avg, "max_us": found.max, "p999_us": found.p999}


def _json(values: Mapping[str, Any]) -> str:
    return json.dumps(values, indent=2, ensure_ascii=False) + "\n"
