"""Store a matrix with its results; wraps rtvirt_runner.matrix.stored."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase
from ansible_collections.rtvirt.testbed.plugins.modules.store_matrix import DOCUMENTATION
from ansible_collections.rtvirt.testbed.plugins.plugin_utils.options import argument_spec
from ansible_collections.rtvirt.testbed.plugins.plugin_utils.package import package_imports

with package_imports():
    from ansible_collections.rtvirt.testbed.plugins.plugin_utils.ansible_matrix import load_matrix

    from rtvirt_runner.catalogue.checked_yaml import InputError
    from rtvirt_runner.matrix.results import ResultsError, ResultsTree
    from rtvirt_runner.matrix.stored import store_matrix


class ActionModule(ActionBase):
    """Changed when something else, or nothing, was stored before."""

    TRANSFERS_FILES = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Store the matrix."""
        super().run(tmp, task_vars)
        _, args = self.validate_argument_spec(argument_spec=argument_spec(DOCUMENTATION))
        known = task_vars or {}
        try:
            matrix, lab, _ = load_matrix(
                args["matrix"], known["groups"], known["hostvars"], args["vars_dir"], args["repetitions"]
            )
            changed = store_matrix(ResultsTree(Path(str(args["results_dir"]))), matrix, lab)
        except (InputError, ResultsError) as error:
            return {"failed": True, "msg": str(error)}
        return {"changed": changed}
