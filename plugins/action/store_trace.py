"""Explain a traced run of a cell and store it; wraps rtvirt_runner.report.traces."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase
from ansible_collections.rtvirt.testbed.plugins.modules.store_trace import DOCUMENTATION
from ansible_collections.rtvirt.testbed.plugins.plugin_utils.options import argument_spec
from ansible_collections.rtvirt.testbed.plugins.plugin_utils.package import package_imports
from ansible_collections.rtvirt.testbed.plugins.plugin_utils.plain import plain

with package_imports():
    from rtvirt_runner.analysis.late.ptp import clock_samples
    from rtvirt_runner.analysis.late.recording import Recording
    from rtvirt_runner.catalogue.checked_yaml import InputError
    from rtvirt_runner.catalogue.extras import extra
    from rtvirt_runner.machine.sealed_machine import SealedMachine
    from rtvirt_runner.matrix.cell import Cell
    from rtvirt_runner.matrix.results import Record, ResultsError, ResultsTree
    from rtvirt_runner.matrix.threshold import read_threshold
    from rtvirt_runner.matrix.trace_files import FILES, RTLA_FILE

_RECORDS = ("without_dir", "with_dir", "asked", "threshold_us")  # the records of the cell, and how late is late


class ActionModule(ActionBase):
    """Returns traced_cell (its id), path (the folder) and sentences; with ``failure`` a warning."""

    TRANSFERS_FILES = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Explain and store."""
        super().run(tmp, task_vars)
        _, args = self.validate_argument_spec(
            argument_spec=argument_spec(DOCUMENTATION),
            required_one_of=[("ended", "sealed_folder", "failure")],
            mutually_exclusive=[("ended", "sealed_folder", "failure")],
            required_by={
                "ended": (*_RECORDS, "begun", "broke"),
                "sealed_folder": _RECORDS,
            },
        )
        cell, name = Cell.from_dict(plain(args["cell"])), str(args["matrix_name"])
        tree = ResultsTree(Path(str(args["results_dir"])))
        try:
            if args["failure"] is not None:
                tree.keep_untraced(name, cell, str(args["failure"]))
                return {"changed": True, "warnings": [f"Cell {cell.id} was not traced: {args['failure']}"]}
            with extra("report"):  # here, because matplotlib takes a second to import
                from rtvirt_runner.report.traces import TracedRun
            without, traced = _record(args["without_dir"], name, cell), _record(args["with_dir"], name, cell)
            begun, broke, ended = _answers(args)
            texts = {side: answer["files"].get(FILES[side], "") for side, answer in ended.items()}
            broke_us = int(broke["break_us"]) if "break_us" in broke else None
            run = TracedRun(
                Recording(
                    cell,
                    texts,
                    broke_us,
                    traced.system["board"],
                    bell=_rang(cell, broke, ended["host"]),
                    samples=clock_samples(
                        _rows("clocks", begun["host"], ended["host"]["facts"]),
                        _rows("ptp", begun.get("guest", {}), broke),
                    ),
                ),
                read_threshold(str(args["asked"]), "asked"),
                args["threshold_us"],
                without,
                traced,
                {
                    "begun": begun,
                    "broke": broke,
                    "ended": {side: ended[side]["facts"] for side in ended},
                },
                rtla=ended["host"]["files"].get(RTLA_FILE),
            )
            files, sentences = run.files()
            path = tree.keep_trace(name, cell, files)
        except (InputError, ResultsError) as error:
            return {"failed": True, "msg": str(error)}
        return {"changed": True, "traced_cell": cell.id, "path": str(path), "sentences": sentences}


def _answers(args: Mapping[str, Any]) -> tuple[Any, Any, Any]:
    """What the scripts answered that begin, break and end a trace; raises ResultsError for a sealed machine without."""
    if not args["sealed_folder"]:
        return plain(args["begun"]), plain(args["broke"]), plain(args["ended"])
    machine = SealedMachine.load(Path(str(args["sealed_folder"])))
    traced, reason = machine.wait_for_trace(args["sealed_limit_s"])
    if traced is None or reason:
        raise ResultsError(reason)
    return traced.begun, traced.broke, traced.ended


def _rows(table: str, *told: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Rows of a table of several answers."""
    return [row for facts in told for row in facts.get(table, ())]


def _rang(cell: Cell, broke: Mapping[str, Any], board: Mapping[str, Any]) -> bool:
    """Whether a guest's bell ended its board's trace."""
    return cell.place == "guest" and "break_us" in broke and board["facts"].get("trace_stopped") == "yes"


def _record(folder: str, matrix_name: str, cell: Cell) -> Record:
    """The record of the cell in a results folder; raises ResultsError if it is no measurement."""
    found = ResultsTree(Path(str(folder))).find(matrix_name, cell)
    if not isinstance(found, Record) or found.output is None:
        reason = found.reason if found else "it was not measured"
        raise ResultsError(f"The cell that is to be traced is no measurement: {reason}")
    return found
