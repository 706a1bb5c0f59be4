"""What virtualization costs, in sentences: per board and tuning, a wake-up in the guest against the host."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from rtvirt_runner.analysis.comparisons import HostGuest
from rtvirt_runner.analysis.histogram import Histogram
from rtvirt_runner.matrix.cell import Cell
from rtvirt_runner.report.format import listed, number, unit

_UNTUNED = "none"
_Both = tuple[Cell, str, Histogram, Histogram]  # a cell of the pair, the guest's flavour, host, guest


@dataclass(frozen=True)
class Answer:
    """What is said of one board with one tuning."""

    board: str
    clock: str
    tuning: str
    text: str


def answers(pairs: Sequence[HostGuest]) -> list[Answer]:
    """One per board and tuning of which host and guest were measured; boards as they come, ``none`` first."""
    both: dict[str, dict[str, list[HostGuest]]] = {}
    for pair in pairs:
        if pair.host_us and pair.guest_us:
            both.setdefault(pair.cell.board, {}).setdefault(pair.cell.tuning, []).append(pair)
    return [
        _answer(tunings[tuning])
        for tunings in both.values()
        for tuning in sorted(tunings, key=lambda name: name != _UNTUNED)
    ]


def _answer(pairs: Sequence[HostGuest]) -> Answer:
    cell = pairs[0].cell
    both = [(p.cell, p.guest, p.host_us, p.guest_us) for p in pairs if p.host_us and p.guest_us]
    us = f"\u00a0{unit(cell.clock)}"  # a number and its unit stay on one line
    kinds = Counter((each.kernel, guest) for each, guest, _, _ in both)
    kernel, usual = kinds.most_common(1)[0][0]
    same = [each for each in both if (each[0].kernel, each[1]) == (kernel, usual)]
    said = []
    if idle := [each for each in same if _is_idle(each[0])]:
        said.append(f"an idle wake-up in the guest takes {_costs(idle, us)}")
    if busy := [each for each in same if _keeps_core_busy(each[0])]:
        programs = list(dict.fromkeys(each[0].workload for each in busy))
        what = listed(programs) if len(programs) < 3 else f"one of {len(programs)} programs"
        said.append(f"while {what} keeps the core busy, {'one' if idle else 'a wake-up in the guest'} takes")
        said[-1] += f" {_costs(busy, us)}"
    worst, guest, _, inside = max(both, key=lambda each: each[3].max_us)
    where = [f"split {worst.split}", *([guest] if len({kind for _, kind in kinds}) > 1 else [])]
    told = [each[:2] for each in (*idle, *busy)]
    if (worst, guest) in told:
        said += ["nothing else in the guest came later"] if len(told) < len(both) else []
    else:
        said.append(f"the worst is {worst.beside} ({', '.join(where)}), {number(inside.max_us)}{us} at its latest")
    text = ". ".join(f"{each[0].upper()}{each[1:]}" for each in said)
    emulated = " A guest here was emulated, without KVM." if any(pair.guest_uses_tcg for pair in pairs) else ""
    return Answer(cell.board, cell.clock, cell.tuning, f"{text}.{emulated}")


def _is_idle(cell: Cell) -> bool:
    return cell.program is None and not _is_loaded(cell)


def _keeps_core_busy(cell: Cell) -> bool:
    """Whether a program computes on the measured core, and neither writes to a disk nor is the board loaded."""
    return cell.program is not None and cell.program.folder != "disk" and not _is_loaded(cell)


def _is_loaded(cell: Cell) -> bool:
    """Whether something loads the board beside the measured core, a neighbour included."""
    return bool(cell.board_command or cell.neighbour_state)


def _costs(both: Sequence[_Both], us: str) -> str:
    """Averages, their ratio, and the latest, of the guest against the host."""
    ratios = sorted(inside.avg_us / outside.avg_us for _, _, outside, inside in both if outside.avg_us)
    times = _span(f"{ratios[0]:.1f}", f"{ratios[-1]:.1f}") if ratios else "?"
    hosts, guests = [each[2] for each in both], [each[3] for each in both]
    return (
        f"{_averages(guests)}{us} on average, {times} times the {_averages(hosts)} on the host; at its latest "
        f"{_latest(guests)} against {_latest(hosts)}"
    )


def _averages(histograms: Sequence[Histogram]) -> str:
    values = sorted(each.avg_us for each in histograms)
    return _span(number(round(values[0])), number(round(values[-1])))


def _latest(histograms: Sequence[Histogram]) -> str:
    return number(max(each.max_us for each in histograms))


def _span(low: str, high: str) -> str:
    return low if low == high else f"{low} to {high}"
