"""The kernel catalogue: source, configuration and expectation of each kernel.

Reads playbooks/vars/kernels.yml (docs/kernels.md describes every key) and refuses an invalid entry before anything is
fetched. Nothing in this module fetches or builds.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

from rtvirt_runner.catalogue import checked_yaml
from rtvirt_runner.catalogue.checked_yaml import InputError

SourceType = Literal["debian_package", "debian_source", "tarball", "git"]

SOURCES: Mapping[str, tuple[str, ...]] = {  # type -> its keys, other than `type`
    "debian_package": ("suite", "package", "archive"),
    "debian_source": ("suite", "package", "series"),
    "tarball": ("url", "sha256", "signed_sums"),
    "git": ("url", "commit"),
}
IMAGES = ("Image", "zImage", "bzImage")


@dataclass(frozen=True)
class Architecture:
    """A Debian architecture as kernels, compilers and QEMU name it."""

    arch: str  # make ARCH=
    source: str  # folder below arch/
    prefix: str  # make CROSS_COMPILE=, unless the entry has a toolchain of its own
    image: str  # of IMAGES
    machine: str  # uname -m
    qemu: str  # qemu-system-...
    qemu_package: str  # that contains it
    guest_modules: tuple[str, ...]  # drivers of a guest's disk and network, in load order
    kvm_guests: tuple[str, ...]  # architectures of guests that KVM runs on it
    command_line_size: int  # bytes, with the one that ends it: COMMAND_LINE_SIZE in arch/*/include/**/asm/setup.h


ARCHITECTURES: Mapping[str, Architecture] = {
    "arm64": Architecture(
        *("arm64", "arm64", "aarch64-linux-gnu-", "Image", "aarch64", "aarch64", "qemu-system-arm"),
        guest_modules=("virtio_mmio", "virtio_net", "virtio_blk"),
        kvm_guests=("arm64", "armhf"),
        command_line_size=2048,
    ),
    "armhf": Architecture(
        *("arm", "arm", "arm-linux-gnueabihf-", "zImage", "armv7l", "arm", "qemu-system-arm"),
        guest_modules=("virtio_mmio", "virtio_net", "virtio_blk"),
        kvm_guests=("armhf",),
        command_line_size=1024,
    ),
    "amd64": Architecture(
        *("x86_64", "x86", "x86_64-linux-gnu-", "bzImage", "x86_64", "x86_64", "qemu-system-x86"),
        guest_modules=("virtio_pci", "virtio_net", "virtio_blk"),
        kvm_guests=("amd64",),
        command_line_size=2048,
    ),
}

_KEYS = (
    *(
        "title",
        "architecture",
        "source",
        "patches",
        "config",
        "toolchain",
        "make",
        "image",
        "device_trees",
        "kernel_params",
    ),
    *("isolcpus_flags", "expects", "objects", "unverified"),
)
_ONLY_BUILT = ("patches", "config", "toolchain", "make", "objects")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_COMMIT = re.compile(r"[0-9a-f]{40}")
_URL = re.compile(r"(https?|file)://\S+")
_WORD = re.compile(r"[^\s=\"']+(=[^\s\"']*)?")
_VERSION = re.compile(r"(?:\^|linux(?:-source)?-)(\d+)\.(\d+)")  # in an entry's expectation or the name of its source
_ISOLCPUS_FLAGS_SINCE = (4, 15)  # Documentation/admin-guide/kernel-parameters.txt: isolcpus=[flag-list,]<cpu-list>


@dataclass(frozen=True)
class Expectation:
    """The facts that a machine must show when it runs the kernel."""

    realtime: bool  # /sys/kernel/realtime is 1
    release: str  # regular expression for `uname -r`


@dataclass(frozen=True)
class Kernel:
    """One entry of the catalogue, validated. ``source``, ``patches`` and ``toolchain`` keep the form of the file."""

    name: str
    title: str
    architecture: str  # a key of ARCHITECTURES
    source_type: SourceType
    source: Mapping[str, Any]
    patches: tuple[Mapping[str, Any], ...]
    config_base: str  # a make target, such as allnoconfig
    fragments: tuple[str, ...]
    toolchain: Mapping[str, Any]  # prefix, and url with sha256 for one that is not installed; empty: by architecture
    make: tuple[str, ...]  # additional arguments of make
    image: str
    device_trees: tuple[str, ...]
    kernel_params: tuple[str, ...]  # that the kernel requires
    version: tuple[int, int] | None  # the first two numbers, where its expected release or its source tells them
    isolcpus_flags: bool  # whether its isolcpus= takes flags such as managed_irq,domain
    expects: Expectation
    objects: int  # approximate number of files that a build compiles, for its progress; 0: unknown
    unverified: str  # what was not verified, and why

    @property
    def built(self) -> bool:
        """Whether it is compiled from source, rather than unpacked from a package."""
        return self.source_type != "debian_package"

    @property
    def prefix(self) -> str:
        """The prefix of its compiler's programs (CROSS_COMPILE)."""
        return str(self.toolchain.get("prefix") or ARCHITECTURES[self.architecture].prefix)


def load_kernels(path: Path) -> dict[str, Kernel]:
    """Read a catalogue file; raises InputError for an invalid entry."""
    return read_kernels(checked_yaml.section(checked_yaml.load_yaml(path), "kernels", str(path)), f"{path}: kernels")


def read_kernels(entries: Mapping[str, Any], where: str) -> dict[str, Kernel]:
    """Validate the entries of a catalogue; raises InputError."""
    return {
        name: read_kernel(checked_yaml.name(name, where), body, f"{where}.{name}") for name, body in entries.items()
    }


def select_kernels(entries: Mapping[str, Any], names: Sequence[str], where: str) -> list[Kernel]:
    """The named entries of a catalogue, validated, each once; raises InputError, also for an unknown name."""
    for name in names:
        checked_yaml.known(name, list(entries), "kernel", where)
    return [read_kernel(name, entries[name], f"{where}: {name}") for name in dict.fromkeys(names)]


def read_kernel(name: str, body: Any, where: str) -> Kernel:
    """Validate one entry; raises InputError."""
    body = checked_yaml.require_nonempty(body, where)
    checked_yaml.known_keys(body, _KEYS, where, {"words": "kernel_params", "shows": "expects"})
    checked_yaml.known(body.get("architecture"), list(ARCHITECTURES), "architecture", where)
    source = _source(body.get("source"), f"{where}.source")
    if source["type"] == "debian_package":
        for key in _ONLY_BUILT:
            if key in body:
                raise InputError(f"{where}.{key} is given, but the kernel comes ready from a package; remove it.")
        config: dict[str, Any] = {}
    else:
        config = _config(body.get("config"), f"{where}.config")
    expects = _expects(body.get("expects"), f"{where}.expects")
    version = _version(source, expects)
    image = body.get("image", ARCHITECTURES[body["architecture"]].image)
    checked_yaml.known(image, IMAGES, "image", where)
    return Kernel(
        name=name,
        title=checked_yaml.text(body.get("title", name), f"{where}.title"),
        architecture=body["architecture"],
        source_type=cast(SourceType, source["type"]),
        source=source,
        patches=tuple(
            _patch(each, at) for each, at in checked_yaml.numbered(body.get("patches", []), f"{where}.patches")
        ),
        config_base=config.get("base", ""),
        fragments=tuple(config.get("fragments", ())),
        toolchain=_toolchain(body.get("toolchain") or {}, f"{where}.toolchain"),
        make=tuple(_words(body.get("make", []), f"{where}.make")),
        image=image,
        device_trees=tuple(_words(body.get("device_trees", []), f"{where}.device_trees")),
        kernel_params=tuple(_words(body.get("kernel_params", []), f"{where}.kernel_params")),
        version=version,
        isolcpus_flags=checked_yaml.require_bool(
            body.get("isolcpus_flags", not version or version >= _ISOLCPUS_FLAGS_SINCE), f"{where}.isolcpus_flags"
        ),
        expects=expects,
        objects=checked_yaml.require_int(body.get("objects", 0), (0, 100_000), f"{where}.objects"),
        unverified=checked_yaml.text(body.get("unverified", ""), f"{where}.unverified"),
    )


def _source(value: Any, where: str) -> dict[str, Any]:
    source = checked_yaml.require_nonempty(value, where)
    checked_yaml.known(source.get("type"), list(SOURCES), "type of source", where)
    checked_yaml.known_keys(source, ("type", *SOURCES[source["type"]]), where)
    if source["type"] == "git":
        _url(source, where)
        if not _COMMIT.fullmatch(str(source.get("commit"))):
            raise InputError(
                f"{where}.commit is {checked_yaml.format_value(source.get('commit'))}, "
                "expected all 40 hexadecimal digits of a "
                "commit (in quotes): a branch or tag may be moved."
            )
    elif source["type"] == "tarball":
        _download(source, where)
    else:
        for key in ("suite", "package"):
            checked_yaml.name(source.get(key), f"{where}.{key}")
        if "series" in source:
            _series(source["series"], f"{where}.series")
        if "archive" in source:
            _archive(source["archive"], f"{where}.archive")
    return source


def _archive(value: Any, where: str) -> None:
    archive = checked_yaml.require_nonempty(value, where)
    checked_yaml.known_keys(archive, ("url", "fingerprint"), where)
    _url(archive, where)
    _fingerprint(archive, where)


def _fingerprint(body: Mapping[str, Any], where: str) -> None:
    if not re.fullmatch(r"[0-9A-Fa-f]{40}", str(body.get("fingerprint"))):
        raise InputError(
            f"{where}.fingerprint is {checked_yaml.format_value(body.get('fingerprint'))}, expected the 40 "
            "hexadecimal digits of the signing key (in quotes)."
        )


def _series(value: Any, where: str) -> None:
    series = checked_yaml.require_nonempty(value, where)
    checked_yaml.known_keys(series, ("package", "path"), where)
    checked_yaml.name(series.get("package"), f"{where}.package")
    checked_yaml.text(series.get("path"), f"{where}.path")


def _patch(value: Any, where: str) -> Mapping[str, Any]:
    patch = checked_yaml.require_nonempty(value, where)
    if "file" in patch:
        checked_yaml.known_keys(patch, ("file",), where)
        checked_yaml.text(patch["file"], f"{where}.file")
    else:
        checked_yaml.known_keys(patch, ("url", "sha256", "signed_sums"), where)
        _download(patch, where)
    return patch


def _download(body: Mapping[str, Any], where: str) -> None:
    """Validate a URL and its verification: a checksum, a signed list of checksums, or (neither) a recorded one."""
    _url(body, where)
    if "sha256" in body and not _SHA256.fullmatch(str(body["sha256"])):
        raise InputError(
            f"{where}.sha256 is {checked_yaml.format_value(body['sha256'])}, "
            "expected 64 hexadecimal digits (in quotes)."
        )
    if "signed_sums" in body:
        signed = checked_yaml.require_nonempty(body["signed_sums"], f"{where}.signed_sums")
        checked_yaml.known_keys(signed, ("url", "fingerprint"), f"{where}.signed_sums")
        _url(signed, f"{where}.signed_sums")
        _fingerprint(signed, f"{where}.signed_sums")


def _url(body: Mapping[str, Any], where: str) -> None:
    if not _URL.fullmatch(str(body.get("url"))):
        raise InputError(
            f"{where}.url is {checked_yaml.format_value(body.get('url'))}, expected an address such as https://..."
        )


def _config(value: Any, where: str) -> dict[str, Any]:
    config = checked_yaml.require_nonempty(value, where)
    checked_yaml.known_keys(config, ("base", "fragments"), where)
    base = checked_yaml.text(config.get("base"), f"{where}.base")
    if not re.fullmatch(r"[\w.-]*config", base):
        raise InputError(f"{where}.base is '{base}', expected a make target such as allnoconfig or sunxi_defconfig.")
    return {"base": base, "fragments": _words(config.get("fragments", []), f"{where}.fragments")}


def _toolchain(value: Any, where: str) -> Mapping[str, Any]:
    toolchain = checked_yaml.mapping(value, where)
    checked_yaml.known_keys(toolchain, ("prefix", "url", "sha256", "signed_sums"), where)
    if toolchain:
        checked_yaml.text(toolchain.get("prefix"), f"{where}.prefix")
    if "url" in toolchain:
        _download(toolchain, where)
    return toolchain


def _expects(value: Any, where: str) -> Expectation:
    expects = checked_yaml.require_nonempty(value, where)
    checked_yaml.known_keys(expects, ("realtime", "release"), where)
    realtime = checked_yaml.require_bool(expects.get("realtime"), f"{where}.realtime")
    release = checked_yaml.text(expects.get("release"), f"{where}.release")
    try:
        re.compile(release)
    except re.error as error:
        raise InputError(f"{where}.release is '{release}', expected a regular expression: {error}.") from error
    return Expectation(realtime, release)


def _version(source: Mapping[str, Any], expects: Expectation) -> tuple[int, int] | None:
    told = expects.release.replace("\\", ""), source.get("package", ""), source.get("url", "")
    found = next((match for match in map(_VERSION.search, map(str, told)) if match), None)
    return (int(found[1]), int(found[2])) if found else None


def _words(value: Any, where: str) -> list[str]:
    return list(_each_word(value, where))


def _each_word(value: Any, where: str) -> Iterator[str]:
    for word, at in checked_yaml.numbered(value, where):
        if not isinstance(word, str) or not _WORD.fullmatch(word):
            raise InputError(f"{at} is {checked_yaml.format_value(word)}, expected one word without spaces or quotes.")
        yield word
