"""Board profiles: the content of a card image for one kind of board.

A profile is a YAML file ``<name>.yml`` in a lab's folder ``profiles/`` or in that of the role board_image.
docs/real-boards.md describes every key. An invalid profile is refused here, before anything is built, with one sentence
(InputError).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from rtvirt_runner.catalogue import checked_yaml
from rtvirt_runner.catalogue.checked_yaml import InputError
from rtvirt_runner.catalogue.kernels import ARCHITECTURES

LOADERS = ("u_boot", "rpi", "grub")  # as in the role kernel_boot
TABLES = ("gpt", "dos")
OVERLAYS = ("overlay", "overlay_lean")
GRUB_TARGETS = ("i386-pc", "x86_64-efi", "arm64-efi")  # as grub-mkimage names them
COMPONENTS = ("main", "non-free-firmware")

_WHOLE = {"first_mib": (1, 64), "boot_mib": (34, 4096), "root_mib": (0, 1 << 20), "guest_mib": (0, 1 << 20)}
_CHOICES = {"architecture": tuple(ARCHITECTURES), "table": TABLES}
_TEXTS = ("title", "kernel", "device_tree", "console", "arm_watchdog")
_LOADER_KEYS = ("name", "packages", "component", "blobs", "files", "device_trees", "targets", "text", "environment")


@dataclass(frozen=True)
class Profile:
    """One kind of board. Sizes are in MiB."""

    name: str
    title: str
    architecture: str  # Debian's name
    kernel: str  # name in the catalogue, of the kernel on a new card
    table: str  # of TABLES
    roots: list[str]  # root= of each root partition; on a running board with two, the inactive one can be written
    console: str  # value of console=
    loader: Mapping[str, Any]  # boot loader, and where its files go on the card
    device_tree: str = ""  # path below a kernel's folder; empty: the boot loader provides one
    modules: list[str] = field(default_factory=list)  # drivers of disk and network, if built as modules
    first_mib: int = 1  # the first partition begins here; what a chip loads from fixed offsets is before it
    boot_mib: int = 128
    root_mib: int = 0  # 0: as large as its content; the first boot grows it to the size of the card
    guest_mib: int = 0  # of a copy of the root, for guests of flavour debian; 0: none
    kernel_params: list[str] = field(default_factory=list)  # of its kernel
    arm_watchdog: str = ""  # command that starts the hardware watchdog, as in the role kernel_boot
    u_boot_env: Mapping[str, str] = field(default_factory=dict)  # variables that U-Boot sets first
    overlays: list[str] = field(default_factory=lambda: list(OVERLAYS))  # folders copied over Debian's root file system
    masked_units: list[str] = field(default_factory=list)  # in addition to those of every board
    packages: list[str] = field(default_factory=list)  # Debian packages, in addition to those of every board
    # For docs/which-board.md: whether the board itself was tried, what was tried and where, what was not, and traps.
    on_hardware: bool = False
    verified: list[str] = field(default_factory=list)
    unverified: list[str] = field(default_factory=list)
    traps: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        """The profile as plain values, for the role."""
        return asdict(self)


NONE = Profile("", "", "", "", "", [], "", {})  # of a board without a profile


def load_profile(name: str, folders: Sequence[Path], where: str = "board_image_profile") -> Profile:
    """Read and validate the profile of that name from the first folder that has it; raises InputError.

    ``where`` begins messages: the variable that has the name.
    """
    checked_yaml.name(name, where)
    paths = [folder / f"{name}.yml" for folder in folders]
    path = next((path for path in paths if path.is_file()), None)
    if path is None:
        there = sorted({each.stem for folder in folders if folder.is_dir() for each in folder.glob("*.yml")})
        checked_yaml.known(name, there, "profile", where)
        raise AssertionError("known() has refused it")
    return read_profile(name, checked_yaml.load_yaml(path), str(path))


def read_profile(name: str, document: Any, where: str) -> Profile:
    """Validate the content of a profile; ``where`` is the file, for messages. Raises InputError."""
    body = checked_yaml.require_nonempty(document, where)
    known = [each.name for each in fields(Profile) if each.name != "name"]
    checked_yaml.known_keys(body, known, where, {"words": "kernel_params"})
    needed = [each.name for each in fields(Profile) if each.default is MISSING and each.default_factory is MISSING]
    for key in needed:
        if key not in body and key != "name":
            raise InputError(f"{where}: {key} is missing, expected all of {', '.join(needed[1:])}; add it.")
    checked = {key: _checked(key, value, f"{where}: {key}") for key, value in body.items()}
    profile = Profile(name=name, **checked)
    for at_kib, file in profile.loader["blobs"].items():
        last = profile.first_mib * 1024 - 1
        checked_yaml.require_int(int(at_kib), (1, last), f"{where}: loader.blobs: where '{file}' goes, in KiB")
    if len(profile.roots) not in (1, 2):
        raise InputError(f"{where}: roots has {len(profile.roots)} entries, expected one or two; correct it.")
    if len(profile.roots) > 1 and (profile.root_mib or profile.guest_mib):
        raise InputError(
            f"{where}: roots names two beside root_mib or guest_mib, expected neither, since the first boot divides "
            "the card into the two; leave them out."
        )
    return profile


def _checked(key: str, value: Any, where: str) -> Any:
    if key in _WHOLE:
        return checked_yaml.require_int(value, _WHOLE[key], where)
    if key in _CHOICES:
        checked_yaml.known(value, _CHOICES[key], key, where)
        return value
    if key in _TEXTS:
        return checked_yaml.text(value, where)
    if key == "on_hardware":
        if not isinstance(value, bool):
            raise InputError(f"{where} is {checked_yaml.format_value(value)}, expected true or false; correct it.")
        return value
    if key == "loader":
        return _loader(value, where)
    if key == "u_boot_env":
        variables = _text_by_name(value, where)
        for name, text in variables.items():
            if len(f"{name}={text}".split()) != 1:
                raise InputError(f"{where}.{name} is '{text}', expected a value without spaces; correct it.")
        return variables
    listed = _texts(value, where)
    if key == "overlays":
        for each in listed:
            checked_yaml.known(each, OVERLAYS, "overlay", where)
    return listed


def _texts(value: Any, where: str) -> list[str]:
    return [checked_yaml.text(each, at) for each, at in checked_yaml.numbered(value, where)]


def _text_by_name(value: Any, where: str) -> dict[str, str]:
    body = checked_yaml.mapping(value, where)
    return {checked_yaml.text(name, where): checked_yaml.text(each, f"{where}.{name}") for name, each in body.items()}


def _loader(value: Any, where: str) -> dict[str, Any]:
    body = checked_yaml.require_nonempty(value, where)
    checked_yaml.known_keys(body, _LOADER_KEYS, where)
    checked_yaml.known(body.get("name"), LOADERS, "loader", f"{where}.name")
    checked_yaml.known(body.get("component", "main"), COMPONENTS, "component", f"{where}.component")
    blobs = checked_yaml.mapping(body.get("blobs", {}), f"{where}.blobs")
    for at_kib, file in blobs.items():
        checked_yaml.require_int(at_kib, (1, 1 << 16), f"{where}.blobs: where '{file}' goes, in KiB")
        checked_yaml.text(file, f"{where}.blobs.{at_kib}")
    targets = _texts(body.get("targets", []), f"{where}.targets")
    for target in targets:
        checked_yaml.known(target, GRUB_TARGETS, "target of GRUB", f"{where}.targets")
    if (body["name"] == "grub") != bool(targets):
        raise InputError(
            f"{where}.targets is {checked_yaml.format_value(targets)}, expected some of {', '.join(GRUB_TARGETS)} for "
            "the loader grub, and none for another; correct it."
        )
    text = _text_by_name(body.get("text", {}), f"{where}.text")
    if len(text) > 1:
        raise InputError(f"{where}.text has {len(text)} files ({', '.join(text)}), expected one at most; keep one.")
    return {
        "name": body["name"],
        "component": body.get("component", "main"),
        "packages": _texts(body.get("packages", []), f"{where}.packages"),
        "blobs": {str(at_kib): file for at_kib, file in blobs.items()},
        "files": _texts(body.get("files", []), f"{where}.files"),
        "device_trees": _text_by_name(body.get("device_trees", {}), f"{where}.device_trees"),
        "targets": targets,
        "text": text,
        "environment": checked_yaml.text(body.get("environment", ""), f"{where}.environment"),
    }
