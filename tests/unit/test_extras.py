"""What works without the optional dependencies, and what is said where one is needed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from rtvirt_runner.catalogue import collection

HIDE = """
import sys

class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {hidden!r}:
            raise ModuleNotFoundError(f"No module named '{{name}}'", name=name)

sys.meta_path.insert(0, Hidden())
"""
RUN = ("ansible_runner", "rich")
REPORT = ("jinja2", "matplotlib", "numpy", "pandas", "scipy")
# of the analysis, for the page: one table of all cells, by pandas; and statistics, by scipy
NEED_REPORT = {
    "effects",
    "exceedances",
    "frame",
    "known_truth",
    "order",
    "quantiles",
    "repetitions",
    "shape",
    "simulations",
    "tail",
}
NEED_REPORT |= {"claims", "contrasts", "result_sets", "verdicts"}  # which stand on these
PLUGINS = sorted((collection.ROOT / "plugins").rglob("*.py"))
CORE = sorted(
    path
    for wing in ("build", "catalogue", "machine", "matrix", "media", "analysis")
    for path in (collection.ROOT / "rtvirt_runner" / wing).rglob("*.py")
    if path.stem not in NEED_REPORT
)


def run_without(hidden: tuple[str, ...], code: str) -> subprocess.CompletedProcess[str]:
    """Run Python code in a process that cannot import some packages."""
    path = os.pathsep.join([str(collection.ROOT), str(collection.ROOT / "collections")])
    return subprocess.run(
        [sys.executable, "-c", HIDE.format(hidden=hidden) + code],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
    )


def imports(files: list[Path], package: str) -> str:
    """Python code that imports each file as a module of a package that begins at the checkout's root."""
    names = [".".join(file.relative_to(collection.ROOT).with_suffix("").parts) for file in files]
    return "\n".join(f"import {package}{name.removesuffix('.__init__')}" for name in names)


def test_plugins_need_no_extra() -> None:
    """jinja2 is Ansible's own."""
    hidden = (*RUN, *(name for name in REPORT if name != "jinja2"))
    done = run_without(hidden, imports(PLUGINS, "ansible_collections.rtvirt.testbed."))
    assert len(PLUGINS) > 10
    assert done.returncode == 0, done.stderr


def test_the_core_needs_yaml_alone() -> None:
    done = run_without(("ansible", *RUN, *REPORT), imports(CORE, ""))
    assert len(CORE) > 30
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("hidden", "extra"), [("rich", "run"), ("ansible_runner", "run"), ("pandas", "report"), ("matplotlib", "report")]
)
def test_a_missing_extra_is_named_with_the_command_that_installs_it(hidden: str, extra: str, tmp_path: Path) -> None:
    code = f"""
from rtvirt_runner.cli import start
sys.argv = ["rtvirt", "matrix", "--results", {str(tmp_path)!r}]
sys.exit(start())
"""
    done = run_without((hidden,), code)
    assert done.stderr == (
        f"rtvirt: The Python package {hidden} is missing in {sys.prefix}, expected it there with the extra '{extra}' "
        f"of rtvirt-runner; run {sys.executable} -m pip install 'rtvirt-runner[{extra}]'.\n"
    )
    assert (done.returncode, done.stdout, list(tmp_path.iterdir())) == (2, "", [])


def test_help_needs_no_report() -> None:
    code = 'from rtvirt_runner.cli import start\nsys.argv = ["rtvirt", "--help"]\nsys.exit(start())'
    done = run_without(REPORT, code)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("usage: rtvirt")
