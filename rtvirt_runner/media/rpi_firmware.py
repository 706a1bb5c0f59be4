"""Determine what the firmware of a Raspberry Pi 2, 4 or 5 loads from the files of a boot partition.

Boot ROM -> bootcode.bin -> start*.elf -> kernel; from the Pi 4 on the first is in a memory of the board, on the Pi 5
the second too. QEMU's machines raspi2b and raspi4b have no such firmware: kernel, device tree, initramfs and command
line are taken from the board's own boot partition by

    python -m rtvirt_runner.media.rpi_firmware FOLDER OUT [--tryboot] [--model 2|4|5]

The rules are those of Raspberry Pi's documentation, by page: "config.txt" (what it is, boot options, memory options,
conditional filters, autoboot.txt), "Configuration" (boot folder, device trees, LED warning codes) and "Raspberry Pi
hardware" (boot sequence, tryboot). Behaviour that no page describes is marked as unverified; no Pi was available.

It implements more rules than cards of rtvirt need, so that an edited config.txt has the same effect on the virtual
board as on a Pi, and so that tests can check a card with the same code.

Not implemented: additions of the firmware to the command line and the device tree (memory, serial number, overlays,
the port that console=serial0 stands for), overlay_map.dtb, HATs, boot_ramdisk, booting from USB or the network.
"""

from __future__ import annotations

import argparse
import re
import shutil
import struct
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

LINE_LENGTH = 98  # "config.txt": the rest of a line is ignored; older firmware reads 78
NAME_LENGTH = 64  # of initramfs; undocumented, but the firmware of 2024 reads no more ("initramfs %64s followkernel")
_ZIMAGE, _ARM64, _DTB, _GZIP = 0x016F2818, b"ARM\x64", 0xD00DFEED, b"\x1f\x8b"
_OUTPUTS = ("kernel", "device_tree", "initramfs", "cmdline")


@dataclass(frozen=True)
class Model:
    """What differs between models; ``board_type`` as in revision codes ("Raspberry Pi hardware")."""

    title: str
    section: str  # of config.txt
    board_type: int
    kernel: str  # that is loaded unless config.txt names another
    initramfs: str  # its name with auto_initramfs=1, in firmware before May 2025
    downstream_tree: str
    upstream_tree: str  # mainline Linux's name
    start: str  # what follows in the names of start*.elf and fixup*.dat; empty: they are in the board's memory
    bits: int = 64


MODELS = {
    "2": Model(
        *("Raspberry Pi 2", "pi2", 0x04, "kernel7.img", "initramfs7", "bcm2709-rpi-2-b.dtb", "bcm2836-rpi-2-b.dtb"),
        start="_",
        bits=32,
    ),
    "4": Model(
        *("Raspberry Pi 4", "pi4", 0x11, "kernel8.img", "initramfs8", "bcm2711-rpi-4-b.dtb", "bcm2711-rpi-4-b.dtb"),
        start="4",
    ),
    "5": Model(
        *("Raspberry Pi 5", "pi5", 0x17, "kernel_2712.img", "initramfs_2712"),
        *("bcm2712-rpi-5-b.dtb", "bcm2712-rpi-5-b.dtb"),
        start="",
    ),
}


class FirmwareError(ValueError):
    """The firmware would stop, or start something else than intended; the message is one sentence."""


@dataclass(frozen=True)
class Boot:
    """The files that would be booted. Paths are below the given folder."""

    kernel: Path
    device_tree: Path | None  # None: config.txt selects ATAGs instead (`device_tree=`)
    initramfs: Path | None
    command_line: str  # the first line of the file; the firmware would prepend parameters of its own
    # (stage, path): bootcode, config, start, fixup, then the files of start*.elf, whose order depends on its version.
    files: list[tuple[str, Path]]


@dataclass
class Settings:
    """The content of config.txt as it applies to a model."""

    values: dict[str, str] = field(default_factory=dict)  # the last line of a property applies
    overlays: list[str] = field(default_factory=list)
    files: list[Path] = field(default_factory=list)  # config.txt and its included files, in reading order

    def number(self, *names: str) -> int:
        """The number in the first of some properties that is set; 0 if none is, or it is no number."""
        text = next((self.values[name] for name in names if name in self.values), "")
        return int(text, 0) if re.fullmatch(r"0[xX][0-9a-fA-F]+|[1-9]\d*", text) else 0


@dataclass(frozen=True)
class _Card:
    """The files of a boot partition; names are case-insensitive, as on FAT."""

    folder: Path

    def find(self, name: str) -> Path | None:
        place = self.folder
        for part in filter(None, name.split("/")):
            entries = sorted(place.iterdir()) if place.is_dir() else []
            same = [entry for entry in entries if entry.name.lower() == part.lower()]
            if not same:
                return None
            place = same[0]
        return place if place.is_file() else None

    def need(self, name: str, why: str) -> Path:
        if found := self.find(name):
            return found
        raise FirmwareError(f"{self.folder} has no {name}, {why}.")


class _Filters:
    """The conditional sections above a line.

    The last one of a kind applies, those of different kinds must all pass, and [all] resets them ("config.txt",
    conditional filters). Unverified: that [none] and an unknown section last until [all]. No monitor, GPIO or serial
    number is known here, so sections that ask for one do not pass.
    """

    def __init__(self, tryboot: bool, model: Model) -> None:
        self._tryboot, self._model, self._passing = tryboot, model, dict[str, bool]()

    def section(self, name: str) -> None:
        if name == "all":
            self._passing.clear()
        elif name == "tryboot":
            self._passing["tryboot"] = self._tryboot
        elif match := re.fullmatch(r"board-type=(0[xX][0-9a-fA-F]+|\d+)", name):
            number = int(match[1], 16 if match[1][:2].lower() == "0x" else 10)
            self._passing["model"] = number == self._model.board_type
        elif re.fullmatch(r"(?:pi|cm)\d\w*\+?", name):
            self._passing["model"] = name == self._model.section
        else:  # [none], and EDID=..., gpio4=1, 0x12345678, HDMI:0, each a kind of its own
            self._passing[re.split(r"[=:\d]", name)[0]] = False

    def pass_all(self) -> bool:
        return all(self._passing.values())


def read_settings(
    folder: Path, name: str = "config.txt", tryboot: bool = False, includes: bool = True, model: Model = MODELS["2"]
) -> Settings:
    """Read config.txt, which may be missing ("config.txt": it is optional), or tryboot.txt instead.

    Names of properties and sections are case-sensitive, and blanks around = belong to them (Ubuntu's page on the boot
    configuration of a Pi). ``includes=False`` is how bootcode.bin reads ("config.txt", include). Unverified: that a
    missing included file is skipped (the firmware of 2024 has a message for it), and that include obeys the section it
    stands in. Raises FirmwareError when a file includes itself.
    """
    settings, filters = Settings(), _Filters(tryboot, model)
    for line in _lines(_Card(folder), [name], settings, filters, includes):
        if line.startswith("[") and line.endswith("]"):
            filters.section(line[1:-1])
        elif filters.pass_all():
            _apply(line, settings)
    return settings


def _lines(card: _Card, names: list[str], settings: Settings, filters: _Filters, includes: bool) -> Iterator[str]:
    """The lines of the last file in ``names``, with includes expanded, without comments."""
    path = card.find(names[-1])
    if path is None:
        return
    if names[-1].lower() in (name.lower() for name in names[:-1]):
        raise FirmwareError(f"{path} includes itself, by way of {' and '.join(names[:-1])}; take that line out.")
    settings.files.append(path)
    for text in path.read_text(encoding="utf-8", errors="replace").splitlines():
        line = text[:LINE_LENGTH].strip()
        if re.match(r"include\s", line):
            if includes and filters.pass_all():
                yield from _lines(card, [*names, line.split()[1]], settings, filters, includes)
        elif line and not line.startswith("#"):
            yield line


def _apply(line: str, settings: Settings) -> None:
    words, (key, equals, value) = line.split(), line.partition("=")
    if words[0] == "initramfs" and len(words) > 1:  # the only property without =; its address is not needed here
        settings.values["ramfsfile"] = words[1]
    elif key == "dtoverlay":
        if overlay := value.split(",")[0].strip():  # parameters follow; an empty one ends an overlay's scope
            settings.overlays.append(overlay)
    elif equals:
        settings.values[key] = value


def resolve(folder: Path, tryboot: bool = False, model: Model = MODELS["2"]) -> Boot:
    """Determine what a Raspberry Pi boots from a boot partition whose files are in a folder.

    ``tryboot`` is the one-shot flag: tryboot.txt is read instead of config.txt ("Raspberry Pi hardware", tryboot:
    on all models; unverified on a Pi 2).

    Raises FirmwareError for the first missing or invalid file, also where the firmware would continue with a fallback:
    without fixup*.dat with less memory (reports), without a device tree with ATAGs ("Device trees", debugging). No
    page describes what it does without initramfs or command line file; the firmware of 2024 has messages for both and
    seems to continue. It would start any file as a kernel, but of 32 bits only a zImage can be recognized. An
    autoboot.txt is refused, as it may select another partition.
    """
    card = _Card(folder)
    stages: list[tuple[str, Path]] = []
    if model.start == "_":
        bootcode = card.need("bootcode.bin", "which the boot ROM loads first; copy it from the package raspi-firmware")
        stages.append(("bootcode", bootcode))
    if autoboot := card.find("autoboot.txt"):
        raise FirmwareError(f"{autoboot} may lead to another partition, which is not followed here; take it away.")
    name = "tryboot.txt" if tryboot else "config.txt"
    if tryboot:  # Unverified: what the firmware does without it.
        card.need(name, "which the firmware reads after a reboot with the flag tryboot; write it first")
    first = read_settings(folder, name, tryboot, includes=False, model=model)
    start = _start_files(card, first, model) if model.start else []
    settings = read_settings(folder, name, tryboot, model=model)
    configs = [("config", path) for path in settings.files]
    return _operating_system(card, settings, [*stages, *configs, *start], model)


def _start_files(card: _Card, settings: Settings, model: Model) -> list[tuple[str, Path]]:
    """start*.elf and its fixup*.dat ("config.txt", start_file, start_x; "Boot folder": start_cd.elf with gpu_mem=16).

    These models have 1 GB or more, so gpu_mem_1024 overrides gpu_mem. Unverified: which one wins when several are set.
    """
    cut_down = settings.number("gpu_mem_1024", "gpu_mem") == 16
    wanted = {"db": settings.number("start_debug"), "x": settings.number("start_x"), "cd": cut_down}
    kind = next((model.start + kind for kind, asked in wanted.items() if asked), model.start.strip("_"))
    start = settings.values.get("start_file", f"start{kind}.elf")
    fixup = settings.values.get("fixup_file", f"fixup{kind}.dat")
    why = "{}; copy both there, of one version, from the package raspi-firmware"
    loader = "bootcode.bin" if model.start == "_" else "the board's own boot loader"
    return [
        ("start", card.need(start, why.format(f"which {loader} loads (4 flashes of the LED)"))),
        ("fixup", card.need(fixup, why.format(f"which belongs to {start} and sets up its memory"))),
    ]


def _operating_system(card: _Card, settings: Settings, stages: list[tuple[str, Path]], model: Model) -> Boot:
    """The files that start*.elf loads; os_prefix applies to all of them ("config.txt", os_prefix)."""
    if model.bits == 64 and settings.values.get("arm_64bit", "1").strip() == "0":
        raise FirmwareError(
            f"{settings.files[0]} says arm_64bit=0, and a {model.title} is expected to start a kernel of 64 bits; take "
            "it out."
        )
    if model.bits == 32 and settings.number("arm_64bit"):  # "Boot folder": no 64-bit kernels on BCM2836
        raise FirmwareError(
            f"{settings.files[0]} says arm_64bit=1, and BCM2836 has 32 bits; take it out or put it under [pi3]."
        )
    kernel_name = settings.values.get("kernel") or model.kernel
    trees, upstream = _trees(settings, model)
    prefix = _prefix(card, settings, kernel_name, trees)
    ignored = settings.values.get("os_prefix", "") if not prefix else ""
    note = f" (os_prefix={ignored} is ignored, as kernel and device tree are not both there)" if ignored else ""
    kernel = card.need(
        _prefixed(prefix, kernel_name),
        f"the kernel{note}; put it there, or name in config.txt, behind kernel=, one that is (7 flashes of the LED)",
    )
    linux = _check_kernel(kernel, model)
    tree = _device_tree(card, prefix, trees, note)
    # "config.txt", upstream_kernel: the Foundation's own device tree then needs the overlay `upstream`.
    upstream_overlay = ["upstream"] if upstream and tree and tree.name.lower() == model.downstream_tree else []
    overlays = _overlays(card, settings, prefix, upstream_overlay + settings.overlays)
    initramfs = _initramfs(card, settings, prefix, kernel_name, model)
    name = _prefixed(prefix, settings.values.get("cmdline") or "cmdline.txt")
    line = card.find(name)
    if linux and line is None:  # U-Boot brings its own
        why = "the kernel's command line, without which it finds no root file system; write it there, in one line"
        raise FirmwareError(f"{card.folder} has no {name}, {why}.")
    loaded = [("kernel", kernel), ("device_tree", tree), *overlays, ("initramfs", initramfs), ("cmdline", line)]
    files = stages + [(stage, path) for stage, path in loaded if path]
    text = line.read_text(encoding="utf-8", errors="replace") if line else ""
    return Boot(kernel, tree, initramfs, next(iter(text.splitlines()), "").strip(), files)


def _prefixed(prefix: str, name: str) -> str:
    """A name with a prefix, which need not be a folder; a name that begins with / gets none."""
    return name if name.startswith("/") else prefix + name


def _trees(settings: Settings, model: Model) -> tuple[list[str], bool]:
    """The device trees that are tried, and whether upstream's is preferred ("config.txt", upstream_kernel).

    An empty `device_tree=` selects none ("Device trees"). Without upstream_kernel=1 only the Foundation's name is
    tried: that page mentions upstream's as well, but only for the Pi 1.
    """
    upstream = settings.number("upstream_kernel") != 0
    if "device_tree" in settings.values:
        named = settings.values["device_tree"].strip()
        return ([named] if named else []), False
    return ([model.upstream_tree] if upstream else []) + [model.downstream_tree], upstream


def _prefix(card: _Card, settings: Settings, kernel: str, trees: list[str]) -> str:
    """os_prefix if kernel and device tree exist, otherwise ''. Unverified: that any of the device trees is enough."""
    prefix = settings.values.get("os_prefix", "upstream/" if settings.number("upstream_kernel") else "")
    has_tree = not trees or any(card.find(_prefixed(prefix, tree)) for tree in trees)
    return prefix if card.find(_prefixed(prefix, kernel)) and has_tree else ""


def _device_tree(card: _Card, prefix: str, trees: list[str], note: str) -> Path | None:
    if not trees:
        return None
    found = next((path for tree in trees if (path := card.find(_prefixed(prefix, tree)))), None)
    if found is None:
        names = " or ".join(_prefixed(prefix, tree) for tree in trees)
        raise FirmwareError(
            f"{card.folder} has no {names}, the device tree{note}; put it there, or name in config.txt, behind"
            " device_tree=, one that is."
        )
    with found.open("rb") as file:
        header = file.read(8)
    magic, size = struct.unpack(">II", header.ljust(8, b"\0"))
    if magic != _DTB:
        raise FirmwareError(f"{found} is no device tree, which begins with d00dfeed; put one made by dtc there.")
    _check_whole(found, size, "device tree")
    return found


def _check_kernel(path: Path, model: Model) -> bool:
    """Whether a kernel is Linux, as far as can be told. Raises FirmwareError if it cannot be started.

    Checks for a zImage: magic at 0x24, start and end at 0x28 (Linux, arch/arm/boot/compressed/head.S).

    An uncompressed 32-bit Image has no magic, so it is refused, as is U-Boot. On a model of 64 bits anything but a
    zImage is taken: U-Boot has no magic there either.
    """
    with path.open("rb") as file:
        header = file.read(0x40).ljust(0x40, b"\0")
    magic, start, end = struct.unpack_from("<III", header, 0x24)
    if model.bits == 64:
        if magic == _ZIMAGE or not any(header):
            raise FirmwareError(f"{path} is no kernel of 64 bits, which a {model.title} starts; put one there.")
        return header[0x38:0x3C] == _ARM64 or header[:2] == _GZIP
    if magic != _ZIMAGE:
        found = "a kernel of 64 bits" if header[0x38:0x3C] == _ARM64 else "no ARM zImage"
        raise FirmwareError(
            f"{path} is {found}, and a Raspberry Pi 2 is expected to start a zImage of 32 bits"
            f" (0x{_ZIMAGE:08x} at 0x24); put one there."
        )
    _check_whole(path, end - start, "kernel")
    return True


def _check_whole(path: Path, size: int, what: str) -> None:
    if (there := path.stat().st_size) < size:
        raise FirmwareError(
            f"{path} is cut short: {there} of the {size} bytes that the {what} has by its header; copy it again."
        )


def _overlays(card: _Card, settings: Settings, prefix: str, names: list[str]) -> list[tuple[str, Path]]:
    """The overlays that exist; the firmware skips others ("Device trees", debugging).

    os_prefix applies to them only if their folder has a README ("config.txt", overlay_prefix).
    """
    folder = settings.values.get("overlay_prefix", "overlays/")
    if card.find(_prefixed(prefix, f"{folder}README")):
        folder = _prefixed(prefix, folder)
    found = (card.find(_prefixed(folder, f"{name}.dtbo")) for name in names)
    return [("overlay", path) for path in found if path]


def _initramfs(card: _Card, settings: Settings, prefix: str, kernel: str, model: Model) -> Path | None:
    name = settings.values.get("ramfsfile", "").strip()
    if not name:
        return _automatic_initramfs(card, prefix, kernel, model) if settings.number("auto_initramfs") else None
    if "," in name or len(name) > NAME_LENGTH:
        raise FirmwareError(
            f"{settings.files[0]} has initramfs {name}, where one name of at most {NAME_LENGTH} characters is expected"
            " (older firmware reads no more); put the files into one."
        )
    return card.need(_prefixed(prefix, name), "the initramfs; put it there, or take the line 'initramfs' out")


def _automatic_initramfs(card: _Card, prefix: str, kernel: str, model: Model) -> Path | None:
    """The initramfs that auto_initramfs=1 loads, if there is one.

    Firmware before May 2025 names it by the model, as with kernels ("config.txt"); newer by the kernel's name (pull
    request 4085 of the documentation: kernel7.img has initramfs7). The version is not known, so both must give the same
    file. Unverified: that the initramfs is in the kernel's folder.
    """
    folder, slash, base = kernel.rpartition("/")
    by_name = base.removesuffix(".img").replace("kernel", "initramfs", 1) if base.startswith("kernel") else ""
    newer = card.find(_prefixed(prefix, folder + slash + by_name)) if by_name else None
    older = card.find(_prefixed(prefix, model.initramfs))
    if newer != older:
        raise FirmwareError(
            f"{card.folder} has auto_initramfs=1, with which older firmware would load {older or 'nothing'} and newer"
            f" {newer or 'nothing'}; name the kernel's own in a line 'initramfs NAME followkernel', or set it to 0."
        )
    return newer


def write(boot: Boot, out: Path) -> None:
    """Write OUT/kernel, device_tree, initramfs and cmdline for QEMU's -kernel, -dtb, -initrd and -append."""
    for name, path in (("kernel", boot.kernel), ("device_tree", boot.device_tree), ("initramfs", boot.initramfs)):
        if path:
            shutil.copyfile(path, out / name)
    (out / "cmdline").write_text(f"{boot.command_line}\n", encoding="utf-8")


def main(arguments: Sequence[str]) -> int:
    """The command line above; returns 2, and prints the reason, if the firmware could not boot. Clears OUT first."""
    parser = argparse.ArgumentParser(
        prog="rpi_firmware", description="Choose what a Raspberry Pi 2 would boot, as its firmware would."
    )
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="the files of the boot partition")
    parser.add_argument("out", type=Path, metavar="OUT", help="a folder for kernel, device_tree, initramfs and cmdline")
    parser.add_argument("--tryboot", action="store_true", help="the flag tryboot is set: read tryboot.txt")
    parser.add_argument("--model", choices=MODELS, default="2", help="the model of the Raspberry Pi (default: 2)")
    given = parser.parse_args(arguments)
    given.out.mkdir(parents=True, exist_ok=True)
    for name in _OUTPUTS:
        (given.out / name).unlink(missing_ok=True)
    try:
        boot = resolve(given.folder, given.tryboot, MODELS[given.model])
    except FirmwareError as error:
        print(f"rtvirt: {error}", file=sys.stderr)
        return 2
    write(boot, given.out)
    entry = "trial" if given.tryboot else "default"
    print(f"rtvirt: booting {boot.kernel.relative_to(given.folder)} ({entry})")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
