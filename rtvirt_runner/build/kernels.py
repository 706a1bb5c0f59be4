"""Build a kernel of the catalogue: fetch and verify its sources, build it, and keep it in the cache."""

from __future__ import annotations

import hashlib
import os
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rtvirt_runner.build import artifacts, downloads, kconfig
from rtvirt_runner.build.artifacts import Artifact, BuildError, Recipe
from rtvirt_runner.build.checksums import require_keyring
from rtvirt_runner.build.downloads import Store
from rtvirt_runner.build.transfer import DownloadError
from rtvirt_runner.catalogue.kernels import ARCHITECTURES, Kernel

BUILD_TIMEOUT_S = 6 * 3600.0  # enough for a distribution's configuration on a small machine

Say = Callable[[str], None]
# Get an artifact or a download of a catalogue entry: made if missing, or only looked up (None if missing).
_Get = Callable[[Recipe], Artifact | None]
_Fetch = Callable[[Mapping[str, Any]], Path | None]


@dataclass(frozen=True)
class BuildContext:
    """What building a kernel uses: the role's scripts and configuration fragments, the downloads, the cache."""

    files: Path  # files/ of the role kernel_build
    store: Store
    cache: Path
    jobs: int = 0  # parallel make jobs; 0: one per core


@dataclass(frozen=True)
class BuiltKernel:
    """A kernel in the cache; ``release`` is its ``uname -r``."""

    artifact: Artifact
    release: str

    @property
    def archive(self) -> Path:
        """The archive of the whole kernel."""
        return self.artifact.path / "kernel.tar.gz"


def make_kernel(kernel: Kernel, context: BuildContext, say: Say) -> BuiltKernel:
    """Find the kernel in the cache, or fetch its sources and build it.

    Raises BuildError or DownloadError with one sentence: what is wrong, and what to do.
    """

    def get(recipe: Recipe) -> Artifact:
        return artifacts.build(recipe, context.cache, say)

    def fetch(entry: Mapping[str, Any]) -> Path:
        return downloads.fetch(downloads.parse(entry), context.store, say)

    made = _follow(kernel, context, get, fetch)
    assert made is not None  # both functions above return a value or raise
    return _read(made)


def find_kernel(kernel: Kernel, context: BuildContext) -> BuiltKernel | None:
    """The kernel if the cache has it in the catalogue's present form, else None; fetches and builds nothing."""

    def get(recipe: Recipe) -> Artifact | None:
        return artifacts.find(recipe, context.cache)

    def fetch(entry: Mapping[str, Any]) -> Path | None:
        return downloads.find(downloads.parse(entry), context.store)

    try:
        found = _follow(kernel, context, get, fetch)
    except (BuildError, DownloadError):  # a kernel that cannot be built or verified now is not in the cache
        return None
    return _read(found) if found else None


def _follow(kernel: Kernel, context: BuildContext, get: _Get, fetch: _Fetch) -> Artifact | None:
    """The steps from a catalogue entry to its kernel, to build it or to look it up; None if a step has no result."""
    if not kernel.built:
        return get(_unpacked(kernel, context))
    compiler = _compiler(kernel) if "url" not in kernel.toolchain else ""
    fragments = [_existing(kernel, "fragment", context.files / "config" / name) for name in kernel.fragments]
    source, patches = _source(kernel, context, get, fetch)
    toolchain = _toolchain(kernel, context, get, fetch)
    for patch in kernel.patches:
        local = "file" in patch
        patches.append(_existing(kernel, "patch", context.files / patch["file"]) if local else fetch(patch))
    if source is None or toolchain is None or None in patches:
        return None
    files = [source, *(patch for patch in patches if patch)]
    return get(_built(kernel, context, files, fragments, toolchain, compiler))


def _unpacked(kernel: Kernel, context: BuildContext) -> Recipe:
    archive = kernel.source.get("archive", {})
    what = f"the archive {archive.get('url')} of the kernel {kernel.name}"
    keyring = require_keyring(context.store.keyring, what, archive["fingerprint"]) if archive else None
    return Recipe(
        name=f"kernel-{kernel.name}",
        script=context.files / "debian_package.sh",
        inputs={
            "NAME": kernel.name,
            "SUITE": kernel.source["suite"],
            "ARCHITECTURE": kernel.architecture,
            "PACKAGE": kernel.source["package"],
            "IMAGE": kernel.image,
            "DEVICE_TREES": " ".join(kernel.device_trees),
            "ARCHIVE": archive.get("url", ""),
            "FINGERPRINT": archive.get("fingerprint", ""),
        },
        settings={"KEYRING": str(keyring.resolve() if keyring else "")},
        as_root=True,
    )


def _source(kernel: Kernel, context: BuildContext, get: _Get, fetch: _Fetch) -> tuple[Path | None, list[Path | None]]:
    """The archive of the source tree, and the patches from its source package; None for missing files."""
    if kernel.source_type != "debian_source":
        return fetch({key: value for key, value in kernel.source.items() if key != "type"}), []
    series = kernel.source.get("series", {})
    recipe = Recipe(
        name=f"source-{kernel.source['package']}-{kernel.source['suite']}" + ("-series" if series else ""),
        script=context.files / "debian_source.sh",
        inputs={
            "SUITE": kernel.source["suite"],
            "PACKAGE": kernel.source["package"],
            "SERIES_PACKAGE": series.get("package", ""),
            "SERIES_PATH": series.get("path", ""),
        },
        as_root=True,
    )
    found = get(recipe)
    if found is None:
        return None, []
    names = (found.path / "patches" / "series").read_text().splitlines() if series else []
    names = [name.split("#")[0].strip() for name in names]
    return found.path / "linux.tar.xz", [found.path / "patches" / name for name in names if name]


def _toolchain(kernel: Kernel, context: BuildContext, get: _Get, fetch: _Fetch) -> Path | None:
    """The folder of a downloaded toolchain, an empty path for an installed one; None if it is missing."""
    if "url" not in kernel.toolchain:
        return Path()
    archive = fetch({key: value for key, value in kernel.toolchain.items() if key != "prefix"})
    if archive is None:
        return None
    recipe = Recipe(
        name=f"toolchain-{kernel.toolchain['prefix'].rstrip('-')}",
        script=context.files / "unpack_toolchain.sh",
        inputs={"SHA256": archive.parent.name, "PREFIX": kernel.prefix},
        settings={"ARCHIVE": str(archive)},
    )
    found = get(recipe)
    return found.path if found else None


def _built(
    kernel: Kernel, context: BuildContext, files: list[Path], fragments: list[Path], toolchain: Path, compiler: str
) -> Recipe:
    architecture = ARCHITECTURES[kernel.architecture]
    source, *patches = files
    return Recipe(
        name=f"kernel-{kernel.name}",
        script=context.files / "build_kernel.sh",
        inputs={
            "NAME": kernel.name,
            "ARCHITECTURE": kernel.architecture,
            "ARCH": architecture.arch,
            "SOURCE_ARCH": architecture.source,
            "CROSS_COMPILE": kernel.prefix,
            "COMPILER": compiler,
            "CONFIG_BASE": kernel.config_base,
            "IMAGE": kernel.image,
            "DEVICE_TREES": " ".join(kernel.device_trees),
            "MAKE_WORDS": " ".join(kernel.make),
            # Folders of downloads and artifacts are named after their content.
            "CONTENT": " ".join([source.parent.name, toolchain.name, *map(_digest, patches)]),
        },
        sources=[*fragments, Path(kconfig.__file__)],
        settings={
            "SOURCE": str(source),
            "PATCHES": "\n".join(map(str, patches)),
            "FRAGMENTS": "\n".join(map(str, fragments)),
            "TOOLCHAIN": str(toolchain) if toolchain.name else "",
            "KCONFIG": kconfig.__file__,
            "OBJECTS": str(kernel.objects),
            "JOBS": str(context.jobs or os.cpu_count() or 1),
            "CCACHE_DIR": str(context.cache / "ccache"),
        },
        timeout_s=BUILD_TIMEOUT_S,
    )


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _compiler(kernel: Kernel) -> str:
    """The version of the installed compiler, which affects the result. Raises BuildError if it is missing."""
    program = f"{kernel.prefix}gcc"
    try:
        told = subprocess.run([program, "--version"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise BuildError(
            f"kernel {kernel.name} is compiled with {program}, which is not on this machine; run: "
            f"sudo apt-get install gcc-{kernel.prefix.rstrip('-')}"
        ) from error
    return told.stdout.splitlines()[0]


def _existing(kernel: Kernel, what: str, path: Path) -> Path:
    if path.is_file():
        return path
    raise BuildError(
        f"the {what} {path.name} of kernel {kernel.name} is missing, expected a file at {path}; correct the catalogue."
    )


def _read(artifact: Artifact) -> BuiltKernel:
    return BuiltKernel(artifact, (artifact.path / "release").read_text().strip())
