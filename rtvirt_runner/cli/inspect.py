"""``rtvirt inspect``: wanted and effective state of a board, setting by setting, read back from the machine."""

from __future__ import annotations

import itertools
import json
import os
import re
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from rtvirt_runner.build import artifacts
from rtvirt_runner.build.leases import Process
from rtvirt_runner.catalogue import collection
from rtvirt_runner.catalogue.settings import setting_name, with_implied
from rtvirt_runner.machine import preflight
from rtvirt_runner.machine.lease import LEASE_FACTS, Holder, Lease
from rtvirt_runner.machine.script_reply import Reply
from rtvirt_runner.machine.settings_readback import (
    ABSENT,
    DENIED,
    DIFFERS,
    FIXED,
    NO_TOOL,
    OK,
    WRONG,
    Row,
    memory_rows,
    setting_rows,
    thread_rows,
)
from rtvirt_runner.run.playbooks import Outcome, run_playbook

_VERDICTS = {
    OK: ("ok", "green"),
    DIFFERS: ("differs", "bold red"),
    ABSENT: ("not applicable", "dim"),
    FIXED: ("fixed by the kernel", "dim"),
    DENIED: ("permission denied", "bold red"),
    NO_TOOL: ("tool missing", "bold red"),
}
_PREFLIGHT = {
    preflight.OK: "green",
    preflight.LIMITS: "yellow",
    preflight.CANNOT: "bold red",
    preflight.UNKNOWN: "dim",
}
_COUNTED = {preflight.LIMITS: "with limits", preflight.UNKNOWN: "unknown"}
_SILENT = Row("guest", "SSH", "an answer", "none", DIFFERS)
_EN_DASH = "\u2013"


@dataclass(frozen=True)
class Group:
    """Rows under a common heading."""

    title: str
    rows: tuple[Row, ...]


def read_state(board: str, inventory: Path, **more: Any) -> tuple[Outcome, Mapping[str, Any]]:
    """Read back the state of a board: ``board`` (name), ``facts`` of the board, ``guest`` (facts of its guest).

    ``more`` are variables of the playbook: ``rtvirt_preflight`` and ``rtvirt_hwlat_s`` for the facts of a preflight.
    """
    with tempfile.TemporaryDirectory(prefix="rtvirt-inspect-") as folder:
        answers = Path(folder, "state.json")
        extravars = {"rtvirt_board": board, "rtvirt_inspect_file": str(answers), **more}
        outcome = run_playbook(collection.INSPECT, inventory, extravars, log_dir=artifacts.cache_folder() / "logs")
        return outcome, json.loads(answers.read_text()) if answers.exists() else {}


def groups(state: Mapping[str, Any]) -> list[Group]:
    """Wanted and found: the board, QEMU's threads and memory, the inside of the guest; empty groups are left out."""
    facts, guest = state["facts"], state["guest"]
    silent = facts.get("guest_running") == "yes" and guest is None
    found = [
        Group("board", _machine(facts)),
        Group("QEMU (the guest is emulated, not KVM)" if _emulated(facts) else "QEMU", _qemu(facts)),
        Group("inside the guest", (_SILENT,) if silent else _machine(guest or {})),
    ]
    return [group for group in found if group.rows]


def title(state: Mapping[str, Any]) -> str:
    """Name of the board, running kernel, and the cores of host and guest."""
    facts = state["facts"]
    parts = [f"{state['board']}: {facts.get('uname_r', 'unknown kernel')}"]
    parts += ["PREEMPT_RT"] if str(facts.get("realtime", "0")) == "1" else []
    if cores := facts.get("isolation_guest_cpus"):
        parts.append(f"cores {facts.get('isolation_host_cpus')} for the host, {cores} for the guest")
    return ", ".join(parts)


def inspection_table(state: Mapping[str, Any], everything: bool) -> Table:
    """Table of rows by group; without ``everything``, equal rows of a setting are folded into one."""
    table = Table(title=title(state), title_justify="left")
    for heading in ("setting", "source", "wanted", "found", "verdict"):
        table.add_column(heading, overflow="fold")
    for group in groups(state):
        table.add_section()
        table.add_row(Text(group.title, style="bold"))
        for row in group.rows if everything else folded(group.rows):
            verdict, style = _VERDICTS.get(row.state, (row.state, "yellow"))
            cells = (row.setting, row.source, row.wanted or _EN_DASH, row.found or _EN_DASH)
            verdict += f": {row.tool}" if row.tool else ""
            table.add_row(*cells, Text(verdict, style=style), style="dim" if row.state == ABSENT else "")
    return table


def folded(rows: Sequence[Row]) -> list[Row]:
    """Fold rows of one setting with the same verdict and wanted value into one; rows that differ stay separate."""
    together: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        alone = (row.source,) if row.state == DIFFERS else ()
        together.setdefault((row.setting, row.wanted, row.state, row.tool, *alone), []).append(row)
    alike = Counter((row.setting, row.wanted) for row in rows)
    groups = [(each, alike[each[0].setting, each[0].wanted]) for each in together.values()]
    return [each[0] if of == 1 else _fold(each, of) for each, of in groups]


def holder(state: Mapping[str, Any]) -> str:
    """Who holds the board, a sentence; '' if nobody does, or the run that did is gone."""
    lease = Lease.found(Reply(facts={name: str(state["facts"].get(name, "")) for name in LEASE_FACTS}))
    if lease is None:
        return ""
    runs = lease.holder is not None and Process.runs_here(lease.holder.pid, lease.holder.started_ticks)
    return "" if lease.why_over(Holder.here(os.getpid(), 0, "", ""), runs) else f"{lease.sentence(state['board'])}"


def summary(state: Mapping[str, Any]) -> str:
    """The result in one sentence."""
    rows = [row for group in groups(state) for row in group.rows]
    if not rows:
        return f"{state['board']}: nothing is wanted of it, and no guest runs"
    wrong = sum(row.state in WRONG for row in rows)
    if wrong:
        return f"{state['board']}: {wrong} of {len(rows)} items {'is' if wrong == 1 else 'are'} not as wanted"
    absent, fixed = (sum(row.state == each for row in rows) for each in (ABSENT, FIXED))
    but = [f"{count} {what}" for count, what in ((absent, "not applicable"), (fixed, "fixed by the kernel")) if count]
    return f"{state['board']}: all as wanted, {len(rows)} items{', ' if but else ''}{', '.join(but)}"


def all_as_wanted(state: Mapping[str, Any]) -> bool:
    """Whether nothing is other than wanted."""
    return all(row.state not in WRONG for group in groups(state) for row in group.rows)


def preflight_table(board: str, checks: Sequence[preflight.Check]) -> Table:
    """Table of what was found and what to do about it."""
    table = Table(title=f"{board}: can it do what is asked?", title_justify="left")
    for heading in ("check", "found", "verdict", "what to do"):
        table.add_column(heading, overflow="fold")
    for check in checks:
        style = _PREFLIGHT[check.state]
        table.add_row(check.name, check.found, Text(check.state, style=style), check.help)
    return table


def preflight_summary(board: str, checks: Sequence[preflight.Check]) -> str:
    """The result in one sentence."""
    states = Counter(check.state for check in checks)
    if states[preflight.CANNOT]:
        return f"{board}: cannot do what is asked, for {states[preflight.CANNOT]} of {len(checks)} checks"
    found = [f"{states[each]} {what}" for each, what in _COUNTED.items() if states[each]]
    return f"{board}: can do what is asked, {len(checks)} checks{', ' if found else ''}{', '.join(found)}"


def _machine(facts: Mapping[str, Any]) -> tuple[Row, ...]:
    """Rows for the settings of a board or a guest, those not read back or not restored included."""
    rows = setting_rows(facts.get("settings", ()))
    wanted = [setting_name(word) for word in str(facts.get("isolation_wanted_settings", "")).split()]
    read = {row.setting for row in rows}
    rows += [Row(name, "", "as set", "not read back", DIFFERS) for name in wanted if name not in read]
    applied = str(facts.get("isolation_applied", "")).split()
    expected = with_implied(dict.fromkeys(wanted))
    rows += [Row(name, "/run/rtvirt", "restored", "still set", DIFFERS) for name in applied if name not in expected]
    return tuple(rows)


def _qemu(facts: Mapping[str, Any]) -> tuple[Row, ...]:
    """Rows for threads and memory of the guest that was last requested; none where no guest was."""
    mode = facts.get("guest_placement_mode")
    if facts.get("guest_running") != "yes":
        return (Row("guest", "unit rtvirt-guest", "running", "not running", DIFFERS),) if mode else ()
    if not mode:
        return ()
    prefix = "guest_placement_"
    placement = {name.removeprefix(prefix): value for name, value in facts.items() if name.startswith(prefix)}
    rows = thread_rows(
        placement, facts.get("vcpu_threads", ()), facts.get("qemu_threads", ()), facts.get("online_cpus", "")
    )
    memory = {
        "memory_mib": facts.get("guest_memory_mib", 0),
        "memory_lock": facts.get("guest_memory_lock") == "yes",
        "huge_pages": facts.get("guest_huge_pages") == "yes",
    }
    return (*rows, *memory_rows(memory, facts))


def _emulated(facts: Mapping[str, Any]) -> bool:
    return facts.get("guest_accelerator") == "tcg"


def _beginning(texts: Sequence[str]) -> str:
    """The common prefix of the texts."""
    same = itertools.takewhile(lambda letters: len(set(letters)) == 1, zip(*texts, strict=False))
    return "".join(letters[0] for letters in same)


def _fold(rows: Sequence[Row], of: int) -> Row:
    """``/proc/irq/…/smp_affinity_list``, ``23 of 23``."""
    sources = [row.source for row in rows]
    head = re.sub(r"[^/ ]*$", "", _beginning(sources)) if len(set(sources)) > 1 else sources[0]
    tail = _beginning([source[len(head) :][::-1] for source in sources])[::-1]
    source = head + ("" if all(each == head for each in sources) else f"\u2026{tail}")
    values = list(dict.fromkeys(row.found for row in rows))
    first = rows[0]
    value = values[0] if len(values) == 1 else "several"
    told = value if first.state in (ABSENT, DIFFERS) else f"{len(rows)} of {of}: {value}"
    return Row(first.setting, source, first.wanted, told, first.state, first.tool)
