"""Build kernels of the catalogue on the controller; wraps rtvirt_runner.build.kernels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase
from ansible.utils.display import Display
from ansible_collections.rtvirt.testbed.plugins.modules.kernel import DOCUMENTATION
from ansible_collections.rtvirt.testbed.plugins.plugin_utils.options import argument_spec
from ansible_collections.rtvirt.testbed.plugins.plugin_utils.package import package_imports
from ansible_collections.rtvirt.testbed.plugins.plugin_utils.plain import plain

with package_imports():
    from rtvirt_runner.build import artifacts
    from rtvirt_runner.build import kernels as kernel_build
    from rtvirt_runner.build.downloads import Store
    from rtvirt_runner.build.transfer import DownloadError
    from rtvirt_runner.catalogue import kernels
    from rtvirt_runner.catalogue.checked_yaml import InputError


class ActionModule(ActionBase):
    """Returns results, one per name in order: name, architecture, path, key, release, seconds, bytes, changed."""

    TRANSFERS_FILES = False
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Find or build each kernel."""
        super().run(tmp, task_vars)
        _, args = self.validate_argument_spec(argument_spec=argument_spec(DOCUMENTATION))
        cache = artifacts.cache_folder()
        store = Store(cache, _path(args["mirror"]), _path(args["keyring"]), _path(args["sums_file"]), args["record"])
        context = kernel_build.BuildContext(Path(args["files"]), store, cache, args["jobs"])
        try:
            wanted = kernels.select_kernels(plain(args["catalogue"]), plain(args["names"]), "the kernel catalogue")
            results = [self._make(kernel, context) for kernel in wanted]
        except (InputError, DownloadError, artifacts.BuildError, FileNotFoundError) as error:
            return {"failed": True, "msg": str(error)}
        return {"changed": any(result["changed"] for result in results), "results": results}

    def _make(self, kernel: kernels.Kernel, context: kernel_build.BuildContext) -> dict[str, Any]:
        if self._task.check_mode:
            found = kernel_build.find_kernel(kernel, context)
            missing = {"name": kernel.name, "architecture": kernel.architecture, "path": "", "changed": True}
            return _result(kernel, found) if found else missing
        return _result(kernel, kernel_build.make_kernel(kernel, context, Display().display))


def _result(kernel: kernels.Kernel, made: kernel_build.BuiltKernel) -> dict[str, Any]:
    return {
        "name": kernel.name,
        "architecture": kernel.architecture,
        "path": str(made.artifact.path),
        "key": made.artifact.key,
        "release": made.release,
        "seconds": made.artifact.seconds,
        "bytes": made.archive.stat().st_size,
        "changed": made.artifact.built,
    }


def _path(value: str | None) -> Path | None:
    return Path(value) if value else None
