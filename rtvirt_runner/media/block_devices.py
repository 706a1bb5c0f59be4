"""What the kernel and udev know of a machine's disks: what they are, what they are called, who uses them.

A disk is its folder in sysfs; a number is ``major:minor`` as the kernel writes it.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

# Their disk is the machine's own, whatever else speaks for it.
SYSTEM_MOUNTS = {"/", "/boot", "/boot/efi", "/boot/firmware", "/efi", "/etc", "/home", "/nix", "/opt", "/root", "/srv"}
SYSTEM_MOUNTS |= {"/tmp", "/usr", "/usr/local", "/var", "/var/lib", "/var/log", "/var/tmp"}
_NO_CARD_BUT_REMOVABLE = ("sr", "fd")  # optical drives, floppy drives


@dataclass(frozen=True)
class Machine:
    """Where the kernel and udev show the devices."""

    sys: Path = Path("/sys")
    proc: Path = Path("/proc")
    dev: Path = Path("/dev")


THIS_MACHINE = Machine()


def read(path: Path) -> str:
    """A file of sysfs or procfs; empty when there is none, as an attribute comes and goes with its device."""
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return ""


def number_of(device: Path) -> str:
    """The number of a device that is there."""
    rdev = device.stat().st_rdev
    return f"{os.major(rdev)}:{os.minor(rdev)}"


def sysfs_path(number: str, machine: Machine) -> Path:
    """Where sysfs has the device with a number; nowhere if there is none."""
    return (machine.sys / "dev" / "block" / number).resolve()


def parent_disk(folder: Path) -> Path:
    """The disk of a partition; folders are those of sysfs."""
    return folder.parent if (folder / "partition").exists() else folder


def backing_disks(folder: Path) -> set[Path]:
    """The disks that a device stands on, through device mapper and md, itself among them."""
    disk = parent_disk(folder)
    return {disk}.union(*(backing_disks(slave.resolve()) for slave in (disk / "slaves").glob("*")))


def can_be_taken_out(disk: Path) -> bool:
    """Whether a disk is of the kind that cards are: removable, an SD slot, on USB, or a file behind a loop device."""
    if disk.name.startswith(_NO_CARD_BUT_REMOVABLE):
        return False
    return (
        disk.name.startswith("loop")  # a file stands in for a card
        or read(disk / "removable") == "1"
        or (disk.name.startswith("mmcblk") and read(disk / "device" / "type") == "SD")  # soldered eMMC is MMC
        or any(re.fullmatch(r"usb\d+", part) for part in disk.parts)
    )


def stable_names(number: str, machine: Machine) -> list[Path]:
    """The names of a device that stay, best first: those that tell what it is, then those of its socket."""
    names: list[Path] = []
    for kind in ("by-id", "by-path"):
        folder = machine.dev / "disk" / kind
        links = sorted(folder.iterdir()) if folder.is_dir() else []
        same = [link for link in links if is_block(link, number)]
        names += sorted(same, key=lambda link: not link.name.startswith(("usb-", "mmc-")))  # before wwn-, scsi-
    return names


def best_name(disk: Path, machine: Machine) -> Path:
    """What to call a disk: a name that stays if it has one."""
    return next(iter(stable_names(read(disk / "dev"), machine)), machine.dev / disk.name)


def is_block(path: Path | str, *numbers: str) -> bool:
    """Whether a path leads to a block device, to one of these (major:minor) if any are given."""
    try:
        status = Path(path).stat()
    except OSError:
        return False
    return stat.S_ISBLK(status.st_mode) and (not numbers or number_of(Path(path)) in numbers)


def same_file(one: Path | str, other: Path) -> bool:
    """Whether both paths are there and lead to one file."""
    try:
        return Path(one).samefile(other)
    except OSError:
        return False


def _unescaped(text: str) -> str:
    """The kernel writes a space in a path as \\040."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)


@dataclass(frozen=True)
class _Mount:
    """A file system in the tree; btrfs has a number of its own and is known by its source."""

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
    """The devices and files that are swap."""
    return [_unescaped(line.split()[0]) for line in read(machine.proc / "swaps").splitlines()[1:]]


def loops(machine: Machine) -> Iterator[tuple[Path, str]]:
    """Loop devices and what they stand on."""
    for loop in sorted((machine.sys / "block").glob("loop*")):
        if backing := read(loop / "loop" / "backing_file"):
            yield machine.dev / loop.name, backing


def system_mount(disk: Path, machine: Machine) -> str:
    """Which of the machine's own file systems is on a disk, however many layers lie between; empty for none."""
    for mount in _mounts(machine):
        if mount.where in SYSTEM_MOUNTS:
            numbers = {mount.number, number_of(Path(mount.source)) if is_block(mount.source) else mount.number}
            if any(disk in backing_disks(sysfs_path(number, machine)) for number in numbers):
                return mount.where
    return ""


@dataclass(frozen=True)
class Use:
    """What uses a disk, and what ends that."""

    what: str
    remedy: str


def uses(disk: Path, machine: Machine) -> list[Use]:
    """All that uses a disk or a partition of it."""
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
