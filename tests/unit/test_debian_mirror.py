"""tools/debian_mirror: the Debian mirror of this machine's own apt, however its sources are written."""

import subprocess
from pathlib import Path

import pytest

from rtvirt_runner.build.artifacts import TOOLS

ONE_LINE = "# a comment\ndeb [signed-by=/key.gpg arch=amd64] http://mirror.example/debian bookworm main\n"
DEB822 = "Types: deb\nURIs: https://mirror.example/debian/\nSuites: trixie\nComponents: main\n"
OTHERS = (
    "deb https://other.example/node nodistro main\ndeb http://mirror.example/debian-security bookworm-security main\n"
)


def mirror(folder: Path) -> str:
    return subprocess.run([TOOLS / "debian_mirror", folder], capture_output=True, text=True, check=True).stdout.strip()


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("sources.list", ONE_LINE, "http://mirror.example/debian"),
        ("sources.list.d/debian.list", OTHERS + ONE_LINE, "http://mirror.example/debian"),
        ("sources.list.d/debian.sources", DEB822, "https://mirror.example/debian/"),
        ("sources.list.d/other.list", OTHERS, ""),
    ],
)
def test_finds_the_mirror_in_either_form_and_nothing_else(tmp_path: Path, name: str, text: str, expected: str) -> None:
    (tmp_path / "sources.list.d").mkdir()
    (tmp_path / name).write_text(text)
    assert mirror(tmp_path) == expected


def test_a_machine_without_apt_has_none(tmp_path: Path) -> None:
    assert mirror(tmp_path) == ""
