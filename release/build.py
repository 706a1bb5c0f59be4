"""Build the wheel and the collection's archive from the commit that is checked out, into dist/.

    .venv/bin/python release/build.py [--output FOLDER]

Refuses a checkout with anything uncommitted, so that what is built is what the commit says. The same commit gives the
same bytes: times are the commit's, files are in order. Nothing but tracked files of the parts that pyproject.toml names
(tool.rtvirt) and of the package gets in; what looks like a lab's secret is refused there too. Needs no network.
"""

from __future__ import annotations

import argparse
import fnmatch
import gzip
import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
BUILT_FROM = ["pyproject.toml", "rtvirt_runner", "setup.py"]  # the wheel, beside the parts of the collection
PRIVATE_NAMES = ["*/identity/*", "*/cards/*", "*kernel_sums.txt", "*.img", "*/id_*", "results/*", "*/__pycache__/*"]
PRIVATE_KEY = re.compile(rb"^-----BEGIN [A-Z ]*PRIVATE KEY-----", re.MULTILINE)


class ReleaseError(RuntimeError):
    """Nothing is built; the message is one sentence."""


def build(output: Path) -> list[Path]:
    """Build wheel and archive into a folder; returns their paths. Raises ReleaseError."""
    os.umask(0o022)
    refuse_uncommitted()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    parts: list[str] = project["tool"]["rtvirt"]["collection"]
    version = _one_version(project["project"]["version"])
    time = int(_git("show", "--no-patch", "--format=%ct", "HEAD"))
    output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="rtvirt-release-") as name:
        folder = Path(name)
        _export([*BUILT_FROM, *parts], folder / "package")
        _export(parts, folder / "collection")
        made = [_build_wheel(folder, time), _build_archive(folder, time)]
        assert all(version in path.name for path in made), made
        return [Path(shutil.copy(path, output)) for path in made]


def refuse_uncommitted() -> None:
    """Raise ReleaseError unless the checkout is what its commit says."""
    if changes := _git("status", "--porcelain").decode().splitlines():
        raise ReleaseError(
            f"{ROOT} has {len(changes)} uncommitted changes or new files ({changes[0][3:]}), expected none; "
            "commit, ignore or remove them."
        )


def _one_version(version: str) -> str:
    """The version, which two files name. Raises ReleaseError if they differ."""
    found = re.search(r"^version: *(\S+)", (ROOT / "galaxy.yml").read_text(), re.MULTILINE)
    if found is None or found[1] != version:
        raise ReleaseError(
            f"galaxy.yml has version {found and found[1]}, expected {version}, as in pyproject.toml; correct one."
        )
    return version


def _export(parts: list[str], target: Path) -> None:
    """Write the committed files of parts into a folder. Raises ReleaseError for what must not get in."""
    with tarfile.open(fileobj=io.BytesIO(_git("archive", "--format=tar", "HEAD", "--", *parts))) as archive:
        for member in archive.getmembers():
            if member.issym():
                raise ReleaseError(f"{member.name} is a link, which a wheel cannot hold; make it a file.")
            if member.isfile() and any(fnmatch.fnmatch(member.name, pattern) for pattern in PRIVATE_NAMES):
                raise ReleaseError(f"{member.name} is a lab's own, expected nothing like it in a commit; remove it.")
        archive.extractall(target, filter="data")
    for path in target.rglob("*"):
        if path.is_file() and PRIVATE_KEY.search(path.read_bytes()):
            raise ReleaseError(f"{path.relative_to(target)} holds a private key; remove it from the commit.")


def _build_wheel(folder: Path, time: int) -> Path:
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "wheel", "--quiet", "--no-index", "--no-deps"]
    run([*pip, "--no-build-isolation", "--wheel-dir", folder, folder / "package"], SOURCE_DATE_EPOCH=str(time))
    (wheel,) = folder.glob("*.whl")
    return wheel


def _build_archive(folder: Path, time: int) -> Path:
    """The archive of ansible-galaxy, with its files in order and the time of the commit."""
    galaxy = Path(sys.executable).parent / "ansible-galaxy"
    build = ["collection", "build", folder / "collection", "--output-path", folder / "galaxy"]
    run([galaxy, *build], ANSIBLE_CONFIG=str(folder / "collection" / "ansible.cfg"))
    (made,) = (folder / "galaxy").glob("*.tar.gz")
    content: dict[str, bytes | None] = {}
    modes: dict[str, int] = {}
    with tarfile.open(made) as archive:
        for member in archive.getmembers():
            stream = archive.extractfile(member)
            content[member.name], modes[member.name] = stream.read() if stream else None, member.mode
    manifest: dict[str, Any] = json.loads(content["MANIFEST.json"] or b"")
    files: dict[str, Any] = json.loads(content["FILES.json"] or b"")
    files["files"].sort(key=lambda entry: str(entry["name"]))
    content["FILES.json"] = json.dumps(files, indent=True).encode()
    manifest["file_manifest_file"]["chksum_sha256"] = hashlib.sha256(content["FILES.json"]).hexdigest()
    content["MANIFEST.json"] = json.dumps(manifest, indent=True).encode()
    target = folder / made.name
    with (
        target.open("wb") as raw,
        gzip.GzipFile("", "wb", 9, raw, time) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.GNU_FORMAT) as archive,
    ):
        for name in sorted(content, key=lambda each: (each not in ("MANIFEST.json", "FILES.json"), each)):
            data, member = content[name], tarfile.TarInfo(name)
            member.mtime, member.mode = time, modes[name]
            if data is None:
                member.type = tarfile.DIRTYPE
                archive.addfile(member)
            else:
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))
    return target


def _git(*words: str) -> bytes:
    done = subprocess.run(["git", "--no-optional-locks", "-C", str(ROOT), *words], capture_output=True)
    if done.returncode != 0:
        said = " ".join(done.stderr.decode(errors="replace").split())
        raise ReleaseError(f"{ROOT}: git {words[0]} failed ({said}), expected a clone of rtvirt; build in one.")
    return done.stdout


def run(command: list[str | Path], **variables: str) -> None:
    """Run a command, with variables of the environment. Raises ReleaseError with what it said."""
    env = {**os.environ, **variables}
    done = subprocess.run(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode != 0:
        raise ReleaseError(f"{' '.join(map(str, command))} ended with status {done.returncode}: {done.stdout.strip()}")


def main() -> int:
    """Build, and print what was built: SHA-256, bytes, path."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--output", type=Path, default=ROOT / "dist", metavar="FOLDER", help="default: dist")
    try:
        for path in build(parser.parse_args().output.absolute()):
            print(hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_size, path)
    except ReleaseError as error:
        print(f"release: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
