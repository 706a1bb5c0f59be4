"""Puts the collection into the wheel, as ansible_collections/rtvirt/testbed; all else is said in pyproject.toml."""

import shutil
import tomllib
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


class BuildWithCollection(build_py):
    """The package and the collection; an editable install finds the collection where it is, in the clone."""

    def run(self) -> None:
        super().run()
        if self.editable_mode:
            return
        target = Path(self.build_lib, "ansible_collections", "rtvirt", "testbed")
        shutil.rmtree(target, ignore_errors=True)  # of a build before
        for part in tomllib.loads(Path("pyproject.toml").read_text())["tool"]["rtvirt"]["collection"]:
            (target / part).parent.mkdir(parents=True, exist_ok=True)
            if Path(part).is_dir():
                shutil.copytree(part, target / part, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(part, target / part)


setup(cmdclass={"build_py": BuildWithCollection})
