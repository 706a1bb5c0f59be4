"""Measure one cell on any host that has a shell, and store its record in the results folder."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase
from ansible_collections.rtvirt.testbed.plugins.modules.measure_cell import DOCUMENTATION
from ansible_collections.rtvirt.testbed.plugins.plugin_utils.options import argument_spec
from ansible_collections.rtvirt.testbed.plugins.plugin_utils.package import package_imports

with package_imports():
    from ansible_collections.rtvirt.testbed.plugins.plugin_utils.far_shell import Answer, run_script

    from rtvirt_runner.build import artifacts
    from rtvirt_runner.build.process import end_with_parent
    from rtvirt_runner.catalogue.versions import controller_versions
    from rtvirt_runner.machine import cell_script, state_changes, verify_state
    from rtvirt_runner.machine.script_reply import Reply
    from rtvirt_runner.machine.sealed_machine import Answers, SealedMachine
    from rtvirt_runner.machine.sealed_queue import CellSteps
    from rtvirt_runner.machine.state_changes import Changes
    from rtvirt_runner.matrix.acceptance import HOST_FILES, read_output
    from rtvirt_runner.matrix.cell import Cell
    from rtvirt_runner.matrix.results import BadRecord, Record, ResultsError, ResultsTree, Status
    from rtvirt_runner.parsers import ParseError
    from rtvirt_runner.run import at_work


LEASE_SLACK_S = 600  # beyond a cell's limit, for what follows it
# The reason in the record of a cell that was measured, until the board's state after it is known.
NOT_READ_BACK = "The run ended before the board's state was read back after the cell; measure it again."


class ActionModule(ActionBase):
    """Returns cell_id, status, reason, seconds and the record's path; changed unless the cell was done already.

    A cell that was measured over SSH has the status ``measured`` and the id ``measured_cell`` instead of ``cell_id``,
    until the action is called again with the board's state after it.
    """

    TRANSFERS_FILES = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Measure the cell, verify the states read back, and store the record."""
        super().run(tmp, task_vars)
        _, args = self.validate_argument_spec(argument_spec=argument_spec(DOCUMENTATION))
        try:
            return self._run(args, task_vars or {}) | {"counts": args["counts"]}
        except ResultsError as error:
            return {"failed": True, "msg": str(error)}

    def _run(self, args: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        cell = Cell.from_dict(args["cell"])
        tree = ResultsTree(Path(str(args["results_dir"])))
        stored = tree.find(str(args["matrix_name"]), cell)
        with at_work.ending(cell.id) if args["is_measured"] else contextlib.nullcontext():
            if isinstance(stored, Record) and stored.status.status == "done":
                return {"changed": False, "cell_id": cell.id, "status": "done", "reason": "", "seconds": 0.0}
            if isinstance(stored, Record) and args["is_measured"] and stored.status.reason == NOT_READ_BACK:
                return self._record_end(cell, args, tree, stored)
        if args["is_measured"] and not args["failure"]:
            return {"failed": True, "msg": f"The measurement of cell {cell.id} is no longer in the results folder."}
        self._vars = task_vars
        end_with_parent()
        warnings = (
            [f"Damaged record {stored.path} is kept aside: {stored.reason}"] if isinstance(stored, BadRecord) else []
        )
        try:
            with at_work.measuring():
                return self._measure_and_record(cell, args, tree) | {"warnings": warnings}
        except at_work.RunEndingError:
            return {"failed": True, "msg": f"The run is ending; cell {cell.id} is left for the next one."}

    def _measure_and_record(self, cell: Cell, args: Mapping[str, Any], tree: ResultsTree) -> dict[str, Any]:
        began, started_at = time.monotonic(), _now()
        outcome = Outcome(board=args["board"] or {}, emulator=_emulator(args["emulator_file"]))
        measure = self._await if args["sealed_folder"] else self._measure
        outcome.reason = str(args["failure"] or "") or measure(cell, args, outcome)
        before_s = float(outcome.board.get("seconds", 0.0))
        elapsed_s = time.monotonic() - began + before_s
        status = Status(
            status="failed" if outcome.reason else "done",
            reason=outcome.reason,
            started_at=started_at,
            ended_at=_now(),
            ssh_commands=outcome.commands + (1 if before_s else 0),
            overhead_s=round(elapsed_s - outcome.measure_s, 3),
            measure_s=round(outcome.measure_s, 3),
        )
        if status.status == "done" and not args["sealed_folder"]:
            at_work.expect_end(cell.id)
            status = replace(status, status="failed", reason=NOT_READ_BACK)
            tree.write_record(str(args["matrix_name"]), cell, status, outcome.system(), outcome.files)
            return {"changed": True, "measured_cell": cell.id, "status": "measured", "reason": ""}
        path = tree.write_record(str(args["matrix_name"]), cell, status, outcome.system(), outcome.files)
        return _result(cell, status, path) | _warnings(cell, outcome.noted)

    def _record_end(self, cell: Cell, args: Mapping[str, Any], tree: ResultsTree, stored: Record) -> dict[str, Any]:
        """Complete the record of a measured cell by the board's state after it, or by the failure to read that."""
        after = args["board_after"] or {}
        system, reason = dict(stored.system), str(args["failure"] or "")
        if not reason:
            facts = verify_state.typed(after["facts"])
            changes = state_changes.board_changes(cell, args["kernel_expects"], system["board"], facts)
            reason = changes.reason("board")
            changed = state_changes.changed_facts(system["board"], facts)
            system |= {"after": {**system["after"], "board": changed}, "noted": [*system["noted"], *changes.notes]}
        raw: dict[str, Any] = {path.name: path for path in stored.raw_files()}  # a full disk cannot lose what is linked
        if cell.host_thread and not reason:
            files = _host_files(after.get("files") or {})
            raw |= files
            reason = _host_invalid(
                cell, lambda name: files[name] if name in files else stored.raw(name), system["board"], facts
            )
        status = replace(
            stored.status,
            status="failed" if reason else "done",
            reason=reason,
            ended_at=_now(),
            ssh_commands=stored.status.ssh_commands + 1,
            overhead_s=round(stored.status.overhead_s + float(after.get("seconds", 0.0)), 3),
        )
        path = tree.write_record(str(args["matrix_name"]), cell, status, system, raw)
        return _result(cell, status, path) | _warnings(cell, system["noted"])

    def _measure(self, cell: Cell, args: Mapping[str, Any], outcome: Outcome) -> str:
        """Measure over the connection and fill the outcome; returns why the cell failed, or ''."""
        if differences := verify_state.board_differences(cell, args["kernel_expects"], outcome.facts):
            return f"The board is not in the state that the cell asks for: {'; '.join(differences)}."
        answer = self._run_cell(cell)
        outcome.add(answer, in_guest=cell.in_guest)
        if answer.failure:
            return answer.failure if answer.reply.complete or answer.reply.failure else _cut_off(cell, answer.failure)
        return _invalid(cell, args, outcome)

    def _await(self, cell: Cell, args: Mapping[str, Any], outcome: Outcome) -> str:
        """Wait for a sealed machine's answers for the cell; returns why the cell failed, or ''.

        If the machine ended during the cell, another one is started for the remaining cells.
        """
        machine = SealedMachine.load(Path(args["sealed_folder"]))
        tree = ResultsTree(Path(str(args["results_dir"])))
        tree.keep_order(str(args["matrix_name"]), machine.identity["key"], machine.order.as_dict())
        answers, reason = machine.wait(cell.id, args["sealed_limit_s"], at_work.go_on)
        outcome.add_sealed(machine, cell, answers)
        if reason:
            owner_pid = int(os.environ.get("RTVIRT_OWNER_PID") or os.getppid())
            machine.resume_after(cell.id, owner_pid, artifacts.cache_folder() / "locks")
            return reason
        if failure := _sealed_failure(cell, machine.steps[cell.id], answers):
            return failure
        if differences := verify_state.board_differences(cell, args["kernel_expects"], outcome.facts):
            return f"The board is not in the state that the cell asks for: {'; '.join(differences)}."
        after = answers.reply(machine.steps[cell.id].end)
        outcome.board_after = verify_state.typed(after.as_dict()) if after else {}
        changes = state_changes.board_changes(cell, args["kernel_expects"], outcome.facts, outcome.board_after)
        outcome.noted += changes.notes
        outcome.files |= _host_files(after.files if after else {})
        reason = _invalid(cell, args, outcome) or changes.reason("board")
        return reason or _host_invalid(cell, outcome.files.get, outcome.facts, outcome.board_after)

    def _run_cell(self, cell: Cell) -> Answer:
        script, environment = cell_script.script(cell), cell_script.environment(cell)
        lease_s = (self._task.timeout or 0) + LEASE_SLACK_S
        return run_script(self, script, environment, task_vars=self._vars, holds=True, lease_s=lease_s)


class Outcome:
    """What one cell answered: facts of board and guest, raw files, and what measuring took."""

    def __init__(self, board: Mapping[str, Any], emulator: Mapping[str, str] | None) -> None:
        self.board = dict(board)
        self.facts = verify_state.typed(board["facts"]) if board else {}
        self.emulator = emulator
        self.board_after: dict[str, Any] | None = None  # None until it is read
        self.guest: dict[str, Any] = {}
        self.guest_after: dict[str, Any] | None = None
        self.threads: Any = []  # looks at cyclictest's thread
        self.noted: list[str] = []
        self.run: dict[str, Any] = {}
        self.files: dict[str, str] = {}
        self.reason = ""
        self.commands = 0
        self.measure_s = 0.0
        self.sealed: dict[str, Any] | None = None

    def add(self, answer: Answer, in_guest: bool) -> None:
        """Store the answer of the measuring command."""
        self.commands += 1
        self.measure_s = answer.seconds
        self._take(answer.reply, in_guest)

    def add_sealed(self, machine: SealedMachine, cell: Cell, answers: Answers) -> None:
        """Store a sealed machine's answers for a cell, and the machine's identity."""
        steps = machine.steps[cell.id]
        if state := answers.reply(steps.state):
            self.facts = verify_state.typed(state.as_dict())
        if reply := answers.reply(steps.measure):
            self._take(reply, in_guest=cell.in_guest)
        parts = machine.order.parts
        arguments = " ".join([*parts.hardware.arguments(), "-append", parts.command_line])
        self.emulator = {"version": parts.qemu_version, "argv": arguments, "warning": ""}
        self.sealed = {**machine.identity, "step": steps.measure, "answer": answers.sum_of(steps.measure)}

    def _take(self, reply: Reply, in_guest: bool) -> None:
        self.files = {name: text for name, text in reply.files.items() if text.strip()}
        facts = reply.as_dict()
        self.run = {name: facts.pop(name) for name in ("began_uptime_s", "ended_uptime_s") if name in facts}
        self.threads = verify_state.typed({"cyclictest": facts.pop("cyclictest", [])})["cyclictest"]
        self.guest = verify_state.typed(facts) if in_guest else {}
        self.guest_after = verify_state.typed(reply.after.as_dict()) if in_guest and reply.after else None

    def system(self) -> dict[str, Any]:
        """The content of system.json."""
        return {
            "board": self.facts,
            "guest": self.guest or None,
            "after": {
                "board": _changed(self.facts, self.board_after),
                "guest": _changed(self.guest, self.guest_after),
            },
            "cyclictest": self.threads,
            "noted": self.noted,
            "emulator": self.emulator,
            "run": self.run,
            "sealed": self.sealed,
            "controller": controller_versions(),
        }


def _changed(before: Mapping[str, Any], after: Mapping[str, Any] | None) -> dict[str, Any] | None:
    return None if after is None else state_changes.changed_facts(before, after)


def _result(cell: Cell, status: Status, path: Path) -> dict[str, Any]:
    return {
        "changed": True,
        "cell_id": cell.id,
        "status": status.status,
        "reason": status.reason,
        "seconds": round(status.overhead_s + status.measure_s, 1),
        "path": str(path),
    }


def _warnings(cell: Cell, noted: Sequence[str]) -> dict[str, Any]:
    """What was noted of the machines during a cell, as a warning of Ansible."""
    plain = "".join(letter if letter.isprintable() else "?" for letter in "; ".join(noted)[:1000])
    return {"warnings": [f"During cell {cell.id} {plain}."]} if noted else {}


def _emulator(path: str | None) -> dict[str, str] | None:
    """The board's emulator, from a file of three lines: version, arguments, warning; None without a file."""
    if not path or not Path(path).exists():
        return None
    names = ("version", "argv", "warning")
    return dict(zip(names, Path(path).read_text(errors="replace").splitlines(), strict=False))


def _sealed_failure(cell: Cell, steps: CellSteps, answers: Answers) -> str:
    """Why a cell failed on a sealed machine, by the machine's own answers; '' if they report no failure."""
    if steps.measure in answers.skipped:
        replies = (answers.reply(name) for name in steps.setup)
        said = next((reply.failure for reply in replies if reply and reply.failure), "no reason given")
        return f"Board and guest did not reach their state: {said}"
    for name in (steps.state, steps.measure, steps.end):
        reply = answers.reply(name)
        if reply is None or not reply.complete:
            return _cut_off(cell, (reply.failure if reply else None) or "it answered nothing")
        if reply.failure:
            return reply.failure
    return ""


def _cut_off(cell: Cell, failure: str) -> str:
    """The reason for an incomplete reply; when the guest was measured, it is the guest that most likely ended."""
    return f"The {_where(cell)} was gone in the middle of the cell: {failure}."


def _invalid(cell: Cell, args: Mapping[str, Any], outcome: Outcome) -> str:
    """Why the answer of a measuring command is no measurement of the cell; '' if it is one."""
    expects = args["guest_kernel_expects"] or {}
    changes = Changes()
    if cell.in_guest:
        if differences := verify_state.guest_differences(cell, expects, outcome.guest):
            return f"The guest is not in the state that the cell asks for: {'; '.join(differences)}."
        if outcome.guest_after is None:
            return "The guest's state was not read back after the cell."
        changes = state_changes.guest_changes(cell, expects, outcome.guest, outcome.guest_after)
        outcome.noted += changes.notes
    if differences := state_changes.thread_differences(cell, outcome.threads):
        return f"The measurement is not the one that the cell asks for: {'; '.join(differences)}."
    if reason := changes.reason("guest") or _unusable(cell, outcome.files):
        return reason
    measure_s = outcome.measure_s if outcome.commands else None
    differences = state_changes.clock_differences(cell, outcome.run, measure_s)
    return f"The {_where(cell)} cannot be believed: {'; '.join(differences)}." if differences else ""


def _unusable(cell: Cell, files: Mapping[str, str]) -> str:
    """Why a cell's files are no measurement; '' if they are one."""
    try:
        read_output(cell, files.get, with_host=False)
    except ParseError as error:
        return str(error)
    return ""


def _host_files(files: Mapping[str, Any]) -> dict[str, str]:
    """What the board's own cyclictest wrote, of the files that were returned after the cell; no other is stored."""
    return {name: str(files[name]) for name in HOST_FILES if str(files.get(name, "")).strip()}


def _host_invalid(
    cell: Cell, raw: Callable[[str], str | None], before: Mapping[str, Any], after: Mapping[str, Any]
) -> str:
    """Why what the board's own cyclictest measured is no measurement; '' if it is, or there is none."""
    if differences := state_changes.host_thread_differences(cell, before, after):
        return f"The measurement on the host is not the one that the cell asks for: {'; '.join(differences)}."
    try:
        read_output(cell, raw)
    except ParseError as error:
        return str(error)
    return ""


def _where(cell: Cell) -> str:
    """The machine on which a cell's latencies are measured."""
    return "guest" if cell.in_guest else "host"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
