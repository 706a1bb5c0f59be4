"""``rtvirt kernels``: the catalogue as a table, and ``rtvirt kernels build``."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from rtvirt_runner.build import artifacts
from rtvirt_runner.catalogue import checked_yaml, collection
from rtvirt_runner.catalogue.kernels import Kernel, load_kernels
from rtvirt_runner.run.playbooks import Outcome, run_playbook
from rtvirt_runner.run.progress import duration

_MIB = 1 << 20
_CATALOGUE = collection.VARS / "kernels.yml"


def build_kernels(names: Sequence[str], inventory: Path, verbosity: int) -> Outcome:
    """Build the named kernels on this machine. Raises InputError for a name or an entry that is wrong."""
    known = load_kernels(_CATALOGUE)
    for name in names:
        checked_yaml.known(name, list(known), "kernel", str(_CATALOGUE))
    extravars = {"rtvirt_kernel_names": list(names)}
    return run_playbook(collection.MAKE_KERNELS, inventory, extravars, log_dir=_logs(), verbosity=verbosity)


def read_state(inventory: Path) -> tuple[Outcome, Mapping[str, Any]]:
    """Kernels in the cache (``kernels``: results of kernel_build) and on boards (``boards``: name -> facts).

    Raises InputError when the catalogue is wrong, before any board is asked.
    """
    load_kernels(_CATALOGUE)
    with tempfile.TemporaryDirectory(prefix="rtvirt-kernels-") as folder:
        answers = Path(folder, "state.json")
        extravars = {"rtvirt_kernels_state_file": str(answers)}
        outcome = run_playbook(collection.KERNELS_STATE, inventory, extravars, log_dir=_logs())
        return outcome, json.loads(answers.read_text()) if answers.exists() else {}


def kernels_table(state: Mapping[str, Any]) -> Table:
    """Table of the catalogue, built kernels and the boards that run them; boards without an answer are left out."""
    kernels = load_kernels(_CATALOGUE)
    built = {result["name"]: result for result in state["kernels"]}
    running = {board: facts for board, facts in state["boards"].items() if facts}
    table = Table(title="the kernel catalogue", title_justify="left")
    for heading in ("kernel", "what it is", "for", "from", "in the cache", "runs on"):
        table.add_column(heading, overflow="fold")
    for kernel in kernels.values():
        boards = [board for board, facts in running.items() if facts["kernel"] == kernel.name]
        title = Text(kernel.title)
        if kernel.unverified:
            title.append(f"\nunverified: {kernel.unverified}", style="dim")
        cached = _cached(built.get(kernel.name, {}))
        table.add_row(kernel.name, title, kernel.architecture, _origin(kernel), cached, "\n".join(boards))
    for board, facts in running.items():
        if facts["kernel"] not in kernels:
            table.add_row("", "not of the catalogue", "", "", facts["release"], board)
    return table


def _cached(result: Mapping[str, Any]) -> str | Text:
    if not result.get("path"):
        return Text("not built", style="dim")
    return f"{result['release']}\n{result['bytes'] / _MIB:.0f} MiB, made in {duration(result['seconds'])}"


def _origin(kernel: Kernel) -> str:
    """Origin of a kernel: a line for the source, one per patch or series."""
    source = kernel.source
    if "package" in source:
        first = f"{source['package']} ({source['suite']})"
    else:
        first = " ".join([_last_part(source["url"]), source.get("commit", "")[:12]]).strip()
    series = [f"{source['series']['path']} of {source['series']['package']}"] if "series" in source else []
    return "\n+ ".join([first, *series, *(_last_part(patch.get("url") or patch["file"]) for patch in kernel.patches)])


def _last_part(address: str) -> str:
    return address.rstrip("/").rsplit("/", 1)[-1]


def _logs() -> Path:
    return artifacts.cache_folder() / "logs"
