"""Kernels from packages: both layouts that Debian's have had, and an archive with a key of its own."""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from web import Web, serving

from rtvirt_runner.build.artifacts import BuildError
from rtvirt_runner.build.downloads import Store
from rtvirt_runner.build.kernels import BuildContext, BuiltKernel, make_kernel
from rtvirt_runner.build.transfer import DownloadError
from rtvirt_runner.catalogue import collection
from rtvirt_runner.catalogue.kernels import read_kernel

FILES = collection.ROOT / "roles" / "kernel_build" / "files"
RELEASE = "9.9.9+ours-arm64"
CONFIG = "CONFIG_PREEMPT_RT=y\nCONFIG_MODULES=y\n"
MODULES = f"usr/lib/modules/{RELEASE}"
# Package -> its files. `single` is a kernel's package as it was until 6.x, `split` as it is from 7.x on.
SINGLE = {
    "linux-image-single": {
        f"boot/vmlinuz-{RELEASE}": "an image",
        f"boot/config-{RELEASE}": CONFIG,
        f"boot/System.map-{RELEASE}": "a map",
        f"{MODULES}/kernel/one.ko": "",
        f"usr/lib/linux-image-{RELEASE}/maker/board.dtb": "a tree",
    }
}
SPLIT = {
    "linux-image-split": {},
    "linux-binary-split": {f"{MODULES}/vmlinuz": "an image"},
    "linux-modules-split": {f"{MODULES}/kernel/one.ko": ""},
    "linux-base-split": {
        f"{MODULES}/config": CONFIG,
        f"{MODULES}/System.map": "a map",
        f"{MODULES}/dtb/maker/board.dtb": "a tree",
        f"{MODULES}/dtb/maker/another.dtb": "a tree",
    },
}


@dataclass(frozen=True)
class Archive:
    """An archive of packages that is served, and the key that signs it."""

    url: str
    fingerprint: str
    keyring: Path


def gpg(home: Path, *words: str, text: bytes = b"") -> bytes:
    command = ["gpg", "--homedir", str(home), "--batch", "--passphrase", "", "--pinentry-mode", "loopback", *words]
    return subprocess.run(command, input=text, capture_output=True, check=True).stdout


def packed(folder: Path, name: str, files: dict[str, str]) -> tuple[bytes, str]:
    """A package and its paragraph of the index, without the file's name."""
    root = folder / name
    (root / "DEBIAN").mkdir(parents=True)
    depends = ", ".join(each for each in SPLIT if each != name) if name == "linux-image-split" else ""
    control = f"Package: {name}\nVersion: 1\nArchitecture: arm64\nMaintainer: us <us@example.org>\n"
    control += "Description: a kernel\n" + (f"Depends: {depends}\n" if depends else "")
    (root / "DEBIAN/control").write_text(control)
    for path, text in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    deb = folder / f"{name}.deb"
    subprocess.run(["dpkg-deb", "--build", "--root-owner-group", root, deb], check=True, capture_output=True)
    return deb.read_bytes(), control


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Archive]:
    folder, home = tmp_path_factory.mktemp("archive"), tmp_path_factory.mktemp("gpg")
    home.chmod(0o700)
    gpg(home, "--quick-generate-key", "us@example.org", "rsa3072", "sign", "never")
    listing = gpg(home, "--with-colons", "--list-keys").decode().splitlines()
    fingerprint = next(line.split(":")[9] for line in listing if line.startswith("fpr:"))
    keyring = folder / "keys.gpg"
    keyring.write_bytes(gpg(home, "--export"))
    web, index = Web(), ""
    for name, files in {**SINGLE, **SPLIT}.items():
        deb, control = packed(folder, name, files)
        web.files[f"/pool/{name}.deb"] = deb
        digest = hashlib.sha256(deb).hexdigest()
        index += f"{control}Filename: pool/{name}.deb\nSize: {len(deb)}\nSHA256: {digest}\n\n"
    listed = f" {hashlib.sha256(index.encode()).hexdigest()} {len(index)} main/binary-arm64/Packages\n"
    release = "Suite: trixie\nCodename: trixie\nArchitectures: arm64\nComponents: main\n"
    release += f"Date: Sat, 01 Aug 2026 00:00:00 UTC\nSHA256:\n{listed}"
    web.files["/dists/trixie/main/binary-arm64/Packages"] = index.encode()
    web.files["/dists/trixie/InRelease"] = gpg(home, "--clearsign", text=release.encode())
    with serving(web):
        yield Archive(web.address, fingerprint, keyring)
    subprocess.run(["gpgconf", "--homedir", str(home), "--kill", "all"], check=True)


def made(
    served: Archive,
    folder: Path,
    package: str,
    keyring: Path | None,
    fingerprint: str = "",
    device_tree: str = "maker/board.dtb",
) -> BuiltKernel:
    body = {
        "architecture": "arm64",
        "source": {
            "type": "debian_package",
            "suite": "trixie",
            "package": package,
            "archive": {"url": served.url, "fingerprint": fingerprint or served.fingerprint},
        },
        "device_trees": [device_tree],
        "expects": {"realtime": True, "release": "ours"},
    }
    context = BuildContext(FILES, Store(folder, None, keyring, None, False), folder)
    return make_kernel(read_kernel("ours", body, "kernels.yml"), context, print)


@pytest.mark.parametrize("package", ["linux-image-single", "linux-image-split"])
def test_both_layouts_give_the_same_kernel(archive: Archive, tmp_path: Path, package: str) -> None:
    kernel = made(archive, tmp_path, package, archive.keyring)
    folder = kernel.artifact.path
    assert kernel.release == RELEASE
    assert json.loads((folder / "kernel.json").read_text())["realtime"] is True
    found = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    indexes = {path for path in found if Path(path).name.startswith("modules.")}
    assert found - indexes == {
        *("vmlinuz", "config", "System.map", "release", "kernel.json", "kernel.tar.gz", "manifest.json"),
        *("dtbs/maker/board.dtb", f"lib/modules/{RELEASE}/kernel/one.ko"),
    }
    assert ((folder / "vmlinuz").read_text(), (folder / "System.map").read_text()) == ("an image", "a map")


def test_an_archive_is_read_with_its_own_key_alone(archive: Archive, tmp_path: Path) -> None:
    package = "linux-image-single"
    with pytest.raises(DownloadError, match=f"the archive {archive.url} of the kernel .* there is no keyring"):
        made(archive, tmp_path, package, None)
    with pytest.raises(DownloadError, match=f"the keyring {tmp_path}/none is not a file that gpgv reads"):
        made(archive, tmp_path, package, tmp_path / "none")
    with pytest.raises(BuildError, match=f"{archive.keyring} does not hold the key 0{{40}}, which signs"):
        made(archive, tmp_path, package, archive.keyring, fingerprint="0" * 40)


def test_a_device_tree_that_the_package_lacks_is_named(archive: Archive, tmp_path: Path) -> None:
    with pytest.raises(BuildError, match=r"linux-image-single of trixie holds no device tree maker/third\.dtb"):
        made(archive, tmp_path, "linux-image-single", archive.keyring, device_tree="maker/third.dtb")
