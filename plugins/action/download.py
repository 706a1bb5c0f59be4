"""Fetch and verify files and trees of commits on the controller; wraps rtvirt_runner.build.downloads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase
from ansible.utils.display import Display
from ansible_collections.rtvirt.testbed.plugins.modules.download import DOCUMENTATION
from ansible_collections.rtvirt.testbed.plugins.plugin_utils.options import argument_spec
from ansible_collections.rtvirt.testbed.plugins.plugin_utils.package import package_imports

with package_imports():
    from rtvirt_runner.build import artifacts, downloads


class ActionModule(ActionBase):
    """Returns paths and sums (SHA-256 or commit), in order of the downloads; changed when this task fetched one."""

    TRANSFERS_FILES = False
    _supports_check_mode = True

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Fetch the downloads that are not in the cache."""
        super().run(tmp, task_vars)
        _, args = self.validate_argument_spec(argument_spec=argument_spec(DOCUMENTATION))
        store = downloads.Store(
            cache=artifacts.cache_folder(),
            mirror=_path(args["mirror"]),
            keyring=_path(args["keyring"]),
            sums_file=_path(args["sums"]),
            record=args["record"],
        )
        try:
            sources = [downloads.parse(entry) for entry in args["downloads"]]
            found = [downloads.find(source, store) for source in sources]
            missing = [source.url for source, path in zip(sources, found, strict=True) if path is None]
            if self._task.check_mode:
                return _result(found) | {
                    "changed": bool(missing),
                    "msg": f"would fetch: {', '.join(missing) or 'nothing'}",
                }
            paths = [downloads.fetch(source, store, Display().display) for source in sources]
        except downloads.DownloadError as error:
            return {"failed": True, "msg": str(error)}
        return _result(paths) | {"changed": bool(missing)}


def _path(option: str | None) -> Path | None:
    """The path, or None for an empty option, by which a role's default stands for none."""
    return Path(option) if option else None


def _result(paths: list[Path | None] | list[Path]) -> dict[str, Any]:
    """Paths and checksums; the folder of a verified download is named after its checksum."""
    return {
        "paths": [str(path) if path else "" for path in paths],
        "sums": [path.parent.name if path else "" for path in paths],
    }
