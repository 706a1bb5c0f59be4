"""Whether a cell is measured on a sealed machine, or over SSH on a provisioned board."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import replace

from rtvirt_runner.catalogue.catalogue import Catalogue
from rtvirt_runner.catalogue.lab import RUNNING, Lab
from rtvirt_runner.matrix.cell import Cell
from rtvirt_runner.matrix.plan import BootGroup, plan

ARCHITECTURE = "arm64"  # of sealed machines


def why_over_ssh(cell: Cell, lab: Lab, catalogue: Catalogue) -> str:
    """Why a cell cannot be measured on a sealed machine, a clause; '' if it can be."""
    if not lab.boards[cell.board].sealed:
        return "the board is not one that is measured sealed (rtvirt_board_sealed)"
    if cell.kernel == RUNNING or catalogue.kernels[cell.kernel].architecture != ARCHITECTURE:
        return f"its kernel is not of the catalogue for {ARCHITECTURE}"
    if cell.guest_state and cell.guest_state.flavour != "minimal":
        return "its guest starts from a partition of the board's card"
    workload = catalogue.workloads[cell.workload]
    if workload.command and not workload.origin:
        return "its workload is a program of the board's own Debian"
    return ""


def sealed_boots(
    cells: Iterable[Cell], pending: Iterable[Cell], lab: Lab, catalogue: Catalogue, traced: Collection[Cell] = ()
) -> list[tuple[BootGroup, tuple[Cell, ...]]]:
    """Boot groups of one guest group each: one sealed machine, with its cells up to the last pending one.

    Cells that are done are included: a result depends on everything that its machine did since power-on. A group with
    none to measure is included, without cells, where one of it is to be traced, which takes a machine of its own.
    """
    wanted = {cell.id for cell in pending}
    boots = plan(cell for cell in cells if not why_over_ssh(cell, lab, catalogue))
    found = []
    for boot in [replace(each, guests=(group,)) for each in boots for group in each.guests]:
        last = max((number for number, cell in enumerate(boot.cells) if cell.id in wanted), default=-1)
        if last >= 0 or any(cell in traced for cell in boot.cells):
            found.append((boot, boot.cells[: last + 1]))
    return found


def cells_measured(cells: Iterable[Cell], pending: Iterable[Cell], lab: Lab, catalogue: Catalogue) -> list[Cell]:
    """What a run measures for its pending cells: these, and on sealed machines also the cells before them."""
    pending = list(pending)
    sealed = [cell for _, measured in sealed_boots(cells, pending, lab, catalogue) for cell in measured]
    return sealed + [cell for cell in pending if why_over_ssh(cell, lab, catalogue)]
