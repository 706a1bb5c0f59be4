"""This machine's programs stand in for a foreign system's while that is installed, and leave no trace."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from rtvirt_runner.catalogue import collection

SCRIPT = collection.ROOT / "roles/board_image/files/native_programs.sh"
CONTROL = """\
Package: {name}
Version: 1
Architecture: all
Maintainer: a test <test@example.org>
Description: a program of the foreign architecture
"""


def make_package(folder: Path, name: str, program: str) -> Path:
    """A Debian package with one program, whose owner is whoever runs the test."""
    tree = folder / name
    (tree / "DEBIAN").mkdir(parents=True)
    (tree / "DEBIAN/control").write_text(CONTROL.format(name=name))
    file = tree / "usr/bin" / program
    file.parent.mkdir(parents=True)
    file.write_text(f"the foreign {program} of {name}\n")
    package = folder / f"{name}.deb"
    subprocess.run(["dpkg-deb", "--build", tree, package], check=True, capture_output=True)
    return package


class ForeignRoot:
    """A root as mmdebstrap leaves it for its first hook: programs are extracted, and dpkg knows no package."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "root"
        self._native = folder / "native"
        self._apt_config = folder / "apt.conf"
        self._apt_config.write_text(f'Dir::State "{folder}";\n')
        (self._native / "usr/lib/this-machine").mkdir(parents=True)
        (self._native / "usr/lib/this-machine/libc.so.6").write_text("the library")
        (self._native / "usr/lib64").mkdir()
        (self._native / "usr/lib64/ld-linux-this.so.2").write_text("the loader")
        (self._native / "usr/bin").symlink_to("/usr/bin")
        for name in ("usr/bin", "usr/lib", "var/lib/dpkg/info", "var/lib/dpkg/updates"):
            (self.folder / name).mkdir(parents=True)
        (self.folder / "var/lib/dpkg/status").touch()
        (self.folder / "usr/bin/sed").write_text("the foreign sed, extracted\n")

    def native_programs(self, what: str) -> None:
        command = ["sh", str(SCRIPT), what, str(self._native), str(self.folder)]
        env = {"PATH": "/usr/sbin:/usr/bin", "MMDEBSTRAP_APT_CONFIG": str(self._apt_config)}
        subprocess.run(command, check=True, env=env)

    def unpack(self, package: Path) -> None:
        force = ["--force-not-root", "--force-bad-path"]
        subprocess.run(["dpkg", *force, f"--root={self.folder}", "--unpack", package], check=True, capture_output=True)

    def files(self) -> dict[str, bytes]:
        """All but dpkg's own notes of how it got there."""
        paths = [path for path in self.folder.rglob("*") if not path.is_relative_to(self.folder / "var")]
        return {str(path.relative_to(self.folder)): path.read_bytes() if path.is_file() else b"" for path in paths}


@pytest.fixture
def packages(tmp_path: Path) -> list[Path]:
    """Of a program that was extracted before, and of one that comes anew."""
    return [make_package(tmp_path, "sed", "sed"), make_package(tmp_path, "openssh-client", "ssh-keygen")]


def test_while_packages_are_installed_this_machine_s_programs_are_found_in_their_place(
    tmp_path: Path, packages: list[Path]
) -> None:
    root = ForeignRoot(tmp_path)
    root.native_programs("on")
    for package in packages:
        root.unpack(package)
    files = root.files()
    assert files["usr/bin/sed"] == Path("/usr/bin/sed").read_bytes()
    assert files["usr/bin/ssh-keygen"] == Path("/usr/bin/true").read_bytes()  # its keys would be thrown away
    assert files["usr/lib/this-machine/libc.so.6"] == b"the library"
    assert (root.folder / "lib64/ld-linux-this.so.2").read_text() == "the loader"


def test_afterwards_the_root_is_as_if_they_had_never_been_there(tmp_path: Path, packages: list[Path]) -> None:
    for name in ("helped", "plain"):
        (tmp_path / name).mkdir()
    helped, plain = ForeignRoot(tmp_path / "helped"), ForeignRoot(tmp_path / "plain")
    helped.native_programs("on")
    for root in (helped, plain):
        for package in packages:
            root.unpack(package)
    helped.native_programs("off")
    assert helped.files() == plain.files()
    assert helped.files()["usr/bin/sed"] == b"the foreign sed of sed\n"
    diversions = subprocess.run(
        ["dpkg-divert", f"--root={helped.folder}", "--list"], check=True, capture_output=True, text=True
    )
    assert diversions.stdout == ""
