"""Environments that have some of the packages of this one and nothing of the checkout, made without a network."""

from __future__ import annotations

import importlib.metadata
import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import Requirement

_OURS = "rtvirt-runner"  # installed editable here, so that its files are those of the checkout


@dataclass(frozen=True)
class Environment:
    """A virtual environment; commands run in a folder that is not the checkout, with none of our variables."""

    root: Path

    @property
    def site_packages(self) -> Path:
        return next(self.root.glob("lib/python3.*/site-packages"))

    def run(
        self, program: str, *words: str | Path, folder: Path, limit_s: float = 300, **variables: str
    ) -> subprocess.CompletedProcess[str]:
        """Run one of the environment's programs, wait for it, and return what it printed."""
        keep = {name: os.environ[name] for name in ("PATH", "LANG", "LC_ALL", "TZ") if name in os.environ}
        env = {**keep, "HOME": str(self.root / "home"), "ANSIBLE_NOCOLOR": "1", **variables}
        (self.root / "home").mkdir(exist_ok=True)
        return subprocess.run(
            [self.root / "bin" / program, *words],
            cwd=folder,
            env=env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=limit_s,
        )


def make_environment(root: Path, *requirements: str, wheel: Path | None = None) -> Environment:
    """Make an environment with a wheel, what ``requirements`` name, and whatever these require.

    A requirement is met by a link to the package that is installed here; ``rtvirt-runner[run]`` stands for what the
    wheel's metadata says.
    """
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", root], check=True)
    made = Environment(root)
    if wheel is not None:
        pip = [sys.executable, "-m", "pip", "--python", root / "bin" / "python", "--disable-pip-version-check"]
        subprocess.run([*pip, "install", "--quiet", "--no-index", "--no-deps", "--no-compile", wheel], check=True)
    for distribution in _closure(requirements, _required(wheel) if wheel is not None else []):
        _link(distribution, made)
    return made


def _required(wheel: Path) -> list[str]:
    with zipfile.ZipFile(wheel) as archive:
        name = next(each for each in archive.namelist() if each.endswith(".dist-info/METADATA"))
        return re.findall(r"^Requires-Dist: (.*)$", archive.read(name).decode(), re.MULTILINE)


def _closure(requirements: Iterable[str], ours: list[str]) -> list[importlib.metadata.Distribution]:
    """The installed distributions that requirements need, each once; ``ours`` are those of rtvirt-runner."""
    found: dict[str, importlib.metadata.Distribution] = {}
    seen: set[str] = set()
    todo = [Requirement(each) for each in requirements]
    while todo:
        wanted = todo.pop()
        if str(wanted) in seen:
            continue
        seen.add(str(wanted))
        name = re.sub(r"[-_.]+", "-", wanted.name).lower()
        if name != _OURS:
            found[name] = importlib.metadata.distribution(name)
            assert wanted.specifier.contains(found[name].version, prereleases=True), f"{wanted}: {found[name].version}"
        for text in ours if name == _OURS else found[name].requires or []:
            inner = Requirement(text)
            extras = [*wanted.extras, ""]
            if inner.marker is None or any(inner.marker.evaluate({"extra": extra}) for extra in extras):
                todo.append(inner)
    return list(found.values())


def _link(distribution: importlib.metadata.Distribution, environment: Environment) -> None:
    """Link a distribution's modules and metadata, and write its programs."""
    for top in {path.parts[0] for path in distribution.files or [] if path.parts[0] not in ("..", "__pycache__")}:
        (environment.site_packages / top).symlink_to(Path(str(distribution.locate_file(top))))
    for script in distribution.entry_points.select(group="console_scripts"):
        program = environment.root / "bin" / script.name
        program.write_text(
            f"#!{environment.root}/bin/python\nimport sys\nfrom {script.module} import {script.attr}\n"
            f"sys.exit({script.attr}())\n"
        )
        program.chmod(0o755)
