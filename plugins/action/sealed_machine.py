"""Start a sealed machine for the cells of one boot, or end it; wraps rtvirt_runner.machine.sealed_machine."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase
from ansible_collections.rtvirt.testbed.plugins.modules.sealed_machine import DOCUMENTATION
from ansible_collections.rtvirt.testbed.plugins.plugin_utils.options import argument_spec
from ansible_collections.rtvirt.testbed.plugins.plugin_utils.package import package_imports
from ansible_collections.rtvirt.testbed.plugins.plugin_utils.plain import plain

with package_imports():
    from rtvirt_runner.build import artifacts, leases
    from rtvirt_runner.machine import sealed_machine
    from rtvirt_runner.machine.sealed_machine import Hardware, Order, Parts, SealedMachine
    from rtvirt_runner.matrix.cell import Cell


LOOK_S = 1.0
PARTS = ["base", "kernel", "qemu", "qemu_version", "lockstep", "cpus", "spare_vcpus_to", "memory_mib"]


class ActionModule(ActionBase):
    """Returns of a machine that it starts folder and key (a digest of all inputs of the machine)."""

    TRANSFERS_FILES = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Write the machine's files, and have QEMU started as soon as a core is free; or end this run's machine.

        Or only make this run the user of a folder.
        """
        super().run(tmp, task_vars)
        _, args = self.validate_argument_spec(
            argument_spec=argument_spec(DOCUMENTATION), required_if=[("state", "started", ["cells", *PARTS])]
        )
        if args["state"] == "ended":
            return _end(Path(args["folder"]), self._task.check_mode)
        if args["state"] == "taken":
            return {"changed": False} if self._task.check_mode else _take(Path(args["folder"]), args["wait"])
        return _start(args)


def _end(folder: Path, only_look: bool) -> dict[str, Any]:
    """End the machine of a folder, unless it is another run's."""
    if other := leases.other_user(artifacts.cache_folder(), folder / sealed_machine.USER):
        return {"changed": False, "msg": f"The folder {folder} is in use by {other.label}, which goes on."}
    runs = sealed_machine.is_running(folder)
    if not only_look:
        sealed_machine.end(folder)
    return {"changed": runs}


def _take(folder: Path, wait: bool) -> dict[str, Any]:
    """Make this run the user of a folder."""
    try:
        failure = _use(folder, wait)
    except OSError as error:
        failure = f"{error.filename or folder}: {error.strerror}."
    return {"failed": True, "msg": failure} if failure else {"changed": False}


def _start(args: dict[str, Any]) -> dict[str, Any]:
    cells = tuple(Cell.from_dict(cell) for cell in args["cells"])
    order = Order(
        Parts(
            qemu=Path(args["qemu"]),
            qemu_version=str(args["qemu_version"]),
            lockstep=Path(args["lockstep"]),
            kernel=Path(args["kernel"]),
            base=Path(args["base"]),
            kernel_params=tuple(plain(args["kernel_params"])),
            hardware=Hardware(args["cpus"], args["spare_vcpus_to"], args["memory_mib"], cells[0].repetition),
        ),
        cells,
        {(str(each["kernel"]), str(each["flavour"])): Path(each["folder"]) for each in args["guests"]},
        args["trace_threshold_us"] or None,
    )
    if order.trace_us and len(cells) != 1:
        return {"failed": True, "msg": f"A machine traces one cell; there are {len(cells)} in cells."}
    owner = int(os.environ.get("RTVIRT_OWNER_PID") or os.getppid())
    folder = Path(args["folder"])
    try:
        if failure := _use(folder, args["wait"]):
            return {"failed": True, "msg": failure}
        machine = SealedMachine.start(folder, order, owner, artifacts.cache_folder() / "locks")
    except OSError as error:
        return {"failed": True, "msg": f"{error.filename or folder}: {error.strerror}."}
    return {"changed": True, "key": machine.identity["key"], "folder": str(machine.folder)}


def _use(folder: Path, wait: bool) -> str:
    """Make this run the user of a machine's folder; returns why it cannot be, a sentence, or ''."""
    folder.mkdir(parents=True, exist_ok=True)
    while other := leases.use(artifacts.cache_folder(), folder / sealed_machine.USER):
        if not wait:
            return (
                f"The folder {folder} is in use by {other.label}; wait for it with -e rtvirt_wait=true "
                "(rtvirt matrix --wait), or measure with another cache (XDG_CACHE_HOME)."
            )
        time.sleep(LOOK_S)
    return ""
