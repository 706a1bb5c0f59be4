"""Disks of a machine as known to the kernel and udev: kind, names, and users.

A disk is represented by its folder in sysfs; a number is ``major:minor`` in the kernel's format.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

# A disk with one of these mount points is the machine's own.
SYSTEM_MOUNTS = {"/", "/boot", "/boot/efi", "/boot/firmware", "/efi", "/etc", "/home", "/nix", "/opt", "/root", "/srv"}
SYSTEM_MOUNTS |= {"/tmp", "/usr", "/usr/local", "/var", "/var/lib", "/var/log", "/var/tmp"}
_NO_CARD_BUT_REMOVABLE = ("sr", "fd")  # optical drives, floppy drives


@dataclass(frozen=True)
class Machine:
    """The folders where the kernel and udev show devices."""

    sys: Path = Path("/sys")
    proc: Path = Path("/proc")
    dev: Path = Path("/dev")


THIS_MACHINE = Machine()


def read(path: Path) -> str:
    """The stripped content of a file of sysfs or procfs; empty if there is none, since devices may disappear."""
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return ""


def number_of(device: Path) -> str:
    """The number of an existing device node."""
    rdev = device.stat().st_rdev
    return f"{os.major(rdev)}:{os.minor(rdev)}"


def sysfs_path(number: str, machine: Machine) -> Path:
    """The folder in sysfs of the device with a number; it does not exist if there is no such device."""
    return (machine.sys / "dev" / "block" / number).resolve()


def parent_disk(folder: Path) -> Path:
    """The disk of a partition, or the disk itself."""
    return folder.parent if (folder / "partition").exists() else folder


def backing_disks(folder: Path) -> set[Path]:
    """The disks below a device, through device mapper and md; its own disk included."""
    disk = parent_disk(folder)
    return {disk}.union(*(backing_disks(slave.resolve()) for slave in (disk / "slaves").glob("*")))


def can_be_taken_out(disk: Path) -> bool:
    """Whether a disk can be a card: removable, an SD slot, on USB, or a loop device over a file."""
    if disk.name.startswith(_NO_CARD_BUT_REMOVABLE):
        return False
    return (
        disk.name.startswith("loop")  # a file in place of a card
        or read(disk / "removable") == "1"
        or (disk.name.startswith("mmcblk") and read(disk / "device" / "type") == "SD")  # soldered eMMC is MMC
        or any(re.fullmatch(r"usb\d+", part) for part in disk.parts)
    )


def stable_names(number: str, machine: Machine) -> list[Path]:
    """The persistent names of a device, best first: those by id, then those by path."""
    names: list[Path] = []
    for kind in ("by-id", "by-path"):
        folder = machine.dev / "disk" / kind
        links = sorted(folder.iterdir()) if folder.is_dir() else []
        same = [link for link in links if is_block(link, number)]
        names += sorted(same, key=lambda link: not link.name.startswith(("usb-", "mmc-")))  # before wwn-, scsi-
    return names


def best_name(disk: Path, machine: Machine) -> Path:
    """The best persistent name of a disk, or its kernel name if it has none."""
    return next(iter(stable_names(read(disk / "dev"), machine)), machine.dev / disk.name)


def is_block(path: Path | str, *numbers: str) -> bool:
    """Whether a path is a block device, with one of these numbers (major:minor) if any are given."""
    try:
        status = Path(path).stat()
    except OSError:
        return False
    return stat.S_ISBLK(status.st_mode) and (not numbers or number_of(Path(path)) in numbers)


def same_file(one: Path | str, other: Path) -> bool:
    """Whether both paths exist and are the same file."""
    try:
        return Path(one).samefile(other)
    except OSError:
        return False


def _unescaped(text: str) -> str:
    """Undo the kernel's octal escapes in paths, such as \\040 for a space."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)


@dataclass(frozen=True)
class _Mount:
    """A mounted file system; btrfs has an anonymous device number and is identified by its source."""

    number: str
    where: str
    source: str


def _mounts(machine: Machine) -> list[_Mount]:
    mounts = []
    for line in read(machine.proc / "self" / "mountinfo").splitlines():
        fields, _, behind = line.partition(" - ")
        words = fields.split(" ")
        mounts.append(_Mount(words[2], _unescaped(words[4]), _unescaped(behind.split(" ")[1])))
    return mounts


def swaps(machine: Machine) -> list[str]:
    """The devices and files used as swap."""
    return [_unescaped(line.split()[0]) for line in read(machine.proc / "swaps").splitlines()[1:]]


def loops(machine: Machine) -> Iterator[tuple[Path, str]]:
    """Loop devices and their backing files."""
    for loop in sorted((machine.sys / "block").glob("loop*")):
        if backing := read(loop / "loop" / "backing_file"):
            yield machine.dev / loop.name, backing


def system_mount(disk: Path, machine: Machine) -> str:
    """Mount point of one of the machine's own file systems that is on a disk, through any layers; empty if none is."""
    for mount in _mounts(machine):
        if mount.where in SYSTEM_MOUNTS:
            numbers = {mount.number, number_of(Path(mount.source)) if is_block(mount.source) else mount.number}
            if any(disk in backing_disks(sysfs_path(number, machine)) for number in numbers):
                return mount.where
    return ""


@dataclass(frozen=True)
class Use:
    """A user of a disk, and how to end the use; both are clauses."""

    what: str
    remedy: str


def uses(disk: Path, machine: Machine) -> list[Use]:
    """All users of a disk or of its partitions."""
    partitions = sorted(folder for folder in disk.iterdir() if (folder / "partition").exists())
    return [use for folder in (disk, *partitions) for use in _uses_of(folder, machine)]


def _uses_of(folder: Path, machine: Machine) -> Iterator[Use]:
    number, name = read(folder / "dev"), machine.dev / folder.name
    for mount in _mounts(machine):
        if mount.number == number or is_block(mount.source, number):
            yield Use(f"{name} is mounted on {mount.where}", f"unmount it (umount {name})")
    for swap in swaps(machine):
        if is_block(swap, number):
            yield Use(f"{name} is swap", f"end that (swapoff {name})")
    for loop, backing in loops(machine):
        if is_block(backing, number):
            yield Use(f"{loop} stands on {name}", f"detach it (losetup -d {loop})")
    for holder in (folder / "holders").glob("*"):
        what = f"{name} is held by {read(holder / 'dm' / 'name') or holder.name}"
        yield Use(what, "end that (vgchange -an, dmsetup remove or mdadm --stop)")
