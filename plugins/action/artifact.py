"""Build an artifact on the controller once, cached by its inputs; wraps rtvirt_runner.build.artifacts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase
from ansible.utils.display import Display
from ansible_collections.rtvirt.testbed.plugins.modules.artifact import DOCUMENTATION
from ansible_collections.rtvirt.testbed.plugins.plugin_utils.options import argument_spec
from ansible_collections.rtvirt.testbed.plugins.plugin_utils.package import package_imports

with package_imports():
    from rtvirt_runner.build import artifacts


class ActionModule(ActionBase):
    """Returns path, key and seconds; changed when it was built by this task."""

    TRANSFERS_FILES = False
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Find or build the artifact."""
        super().run(tmp, task_vars)
        _, args = self.validate_argument_spec(argument_spec=argument_spec(DOCUMENTATION))
        recipe = artifacts.Recipe(
            name=args["name"],
            script=Path(args["script"]),
            inputs={str(name): str(value) for name, value in args["inputs"].items()},
            needs={str(name): str(value) for name, value in args["needs"].items()},
            sources=[Path(source) for source in args["sources"]],
            settings={str(name): str(value) for name, value in args["settings"].items()},
            as_root=args["as_root"],
            timeout_s=args["timeout_s"],
        )
        cache = artifacts.cache_folder()
        if self._task.check_mode:
            found = artifacts.find(recipe, cache)
            return {"changed": found is None, "path": str(found.path) if found else "", "key": recipe.key}
        try:
            artifact = artifacts.build(recipe, cache, Display().display)
        except (artifacts.BuildError, FileNotFoundError) as error:
            return {"failed": True, "msg": str(error)}
        return {"changed": artifact.built, "path": str(artifact.path), "key": artifact.key, "seconds": artifact.seconds}
