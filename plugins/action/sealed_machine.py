"""Start a sealed machine for the cells of one boot when it is its turn; wraps rtvirt_runner.machine.sealed_machine."""

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
    from rtvirt_runner.machine.sealed_machine import Hardware, Order, Parts, SealedMachine
    from rtvirt_runner.matrix.cell import Cell


LOOK_S = 1.0


class ActionModule(ActionBase):
    """Returns folder and key (a digest of all inputs of the machine); always changed."""

    TRANSFERS_FILES = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Write the machine's files, and have QEMU started as soon as a core is free."""
        super().run(tmp, task_vars)
        _, args = self.validate_argument_spec(argument_spec=argument_spec(DOCUMENTATION))
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
    while other := leases.use(artifacts.cache_folder(), folder / "owner"):
        if not wait:
            return (
                f"The folder {folder} is in use by {other.label}; wait for it with -e rtvirt_wait=true "
                "(rtvirt matrix --wait), or measure with another cache (XDG_CACHE_HOME)."
            )
        time.sleep(LOOK_S)
    return ""
