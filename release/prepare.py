"""Make the checkout that of a release: its version where that stands, and the fragments in the changelog.

    .venv/bin/python release/prepare.py 0.2.0

Needs antsibull-changelog, which is no dependency of rtvirt. Commits nothing, and says what is left to do. Refuses a
checkout with anything uncommitted, so that `git restore .` undoes all of it.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import sys
import tomllib
from pathlib import Path

import yaml
from build import ROOT, ReleaseError, refuse_uncommitted, run

CHANGELOGS = ROOT / "changelogs"
NAMES = r"(?<=rtvirt_runner-)[0-9.]+(?=-py3)|(?<=rtvirt-testbed-)[0-9.]+(?=\.tar)"  # of the wheel and the archive
# Where the version stands: the file, and what is around it there.
PLACES = {
    "pyproject.toml": r'(?m)(?<=^version = ")[^"]+(?="$)',
    "galaxy.yml": r"(?m)(?<=^version: )\S+$",
    "README.md": NAMES,
    "docs/example-project.md": NAMES,
}
NEXT = """\
Read CHANGELOG.rst, then:
    git add --all && git commit -m 'release: {0}'
    ./rtvirt test --all
    git tag --annotate v{0} --message 'rtvirt {0}'
    .venv/bin/python release/build.py"""


def prepare(version: str) -> None:
    """Write version and changelog. Raises ReleaseError before anything is changed, or if antsibull-changelog fails."""
    refuse_uncommitted()
    now = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    if not re.fullmatch(r"\d+\.\d+\.\d+", version) or _numbers(version) < _numbers(now):
        raise ReleaseError(f"the version is {version}, expected three numbers, and not less than {now}; name another.")
    record = CHANGELOGS / "changelog.yaml"
    if record.exists() and version in (yaml.safe_load(record.read_text())["releases"] or {}):
        raise ReleaseError(
            f"the version is {version}, which {record.relative_to(ROOT)} says is released; name another."
        )
    if not list((CHANGELOGS / "fragments").glob("*.yml")):
        raise ReleaseError("changelogs/fragments has no fragment, expected some; a release has something new.")
    here = Path(sys.executable).parent  # ansible-doc, which tells what modules are new
    path = f"{here}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    if (program := shutil.which("antsibull-changelog", path=path)) is None:
        raise ReleaseError(
            f"antsibull-changelog is missing; install it: {here}/python -m pip install antsibull-changelog"
        )
    os.chdir(ROOT)
    run([program, "lint"], PATH=path)
    for name, place in PLACES.items():
        text, count = re.subn(place, version, (ROOT / name).read_text())
        assert count, name
        (ROOT / name).write_text(text)
    run([program, "release", "--version", version], PATH=path)


def _numbers(version: str) -> list[int]:
    return [int(number) for number in version.split(".")]


def main() -> int:
    """Prepare, and print what is left to do."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("version", metavar="VERSION", help="three numbers, such as 0.2.0")
    version = parser.parse_args().version
    try:
        prepare(version)
    except ReleaseError as error:
        print(f"release: {error}", file=sys.stderr)
        return 2
    print(NEXT.format(version))
    return 0


if __name__ == "__main__":
    sys.exit(main())
