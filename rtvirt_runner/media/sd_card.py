"""Write a board's card image to an SD card in a reader, and to no other disk.

Writing to a wrong device destroys data. So a device is refused unless its name is persistent, it is removable, no part
of it is in use, and it is no larger than the stated size of the card. A write has succeeded when it was read back from
the card and compared.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import re
import stat
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from rtvirt_runner.media import block_devices
from rtvirt_runner.progress_lines import MIB, ByteProgress, Say

CHUNK_BYTES = 4 * MIB
HEAD_BYTES = MIB  # where boot ROMs look for a boot loader and where the partition table is
PROGRESS_S = 3.0  # a slow card takes seconds for a chunk, and there is a line at least every 5 s
# ioctls of linux/fs.h, which Python does not define
_BLKRRPART = 0x125F
_BLKFLSBUF = 0x1261
_BLKGETDISKSEQ = 0x80081280

_FORBIDDEN = "may not be read and written by this user; run this as root, or as a member of the group that owns it."
_USELESS = "the card is not bootable now"
_KINDS = {stat.S_IFDIR: "a folder", stat.S_IFCHR: "a character device", stat.S_IFIFO: "a pipe"}


class CardError(RuntimeError):
    """A card was not written, or not correctly; the message is one sentence."""


@dataclass(frozen=True)
class Candidate:
    """A card that could be written; ``in_use`` is a present use that must end first, a clause, or empty."""

    name: Path
    size_bytes: int
    model: str
    in_use: str = ""

    def __str__(self) -> str:
        facts = [self.model, f"{self.size_bytes / 1e9:.1f} GB", self.in_use]
        return f"{self.name} ({', '.join(fact for fact in facts if fact)})"


@dataclass(frozen=True)
class Target:
    """A device that passed ``check``; ``identity`` distinguishes it from a card inserted in its place."""

    device: Path
    size_bytes: int
    is_block: bool
    identity: tuple[int, int]


@dataclass(frozen=True)
class Written:
    """What was written and read back: bytes, their SHA-256, and the seconds that both took."""

    bytes: int
    sha256: str
    seconds: float


def candidates(machine: block_devices.Machine = block_devices.THIS_MACHINE) -> list[Candidate]:
    """The cards in readers and the USB sticks of this machine, by persistent name if they have one."""
    found = []
    for disk in sorted(link.resolve() for link in (machine.sys / "block").glob("*")):
        size_bytes = 512 * int(block_devices.read(disk / "size") or 0)
        is_card = size_bytes and block_devices.can_be_taken_out(disk) and not disk.name.startswith("loop")
        if not is_card or block_devices.system_mount(disk, machine):
            continue
        model = " ".join(block_devices.read(disk / "device" / part) for part in ("vendor", "model", "name")).strip()
        in_use = "; ".join(use.what for use in block_devices.uses(disk, machine))
        found.append(Candidate(block_devices.best_name(disk, machine), size_bytes, re.sub(r"\s+", " ", model), in_use))
    return found


def which(machine: block_devices.Machine = block_devices.THIS_MACHINE) -> str:
    """The message for a missing device name: one sentence that lists the candidates."""
    found = candidates(machine)
    if not found:
        return (
            "No device is named, and there is no card in a reader of this machine; put one in, and name it as device."
        )
    return f"No device is named; name one of these as device: {'; '.join(map(str, found))}."


def check(
    device: Path, image: Path, card_bytes: int, machine: block_devices.Machine = block_devices.THIS_MACHINE
) -> Target:
    """Check that the image may be written to a device, before the device is opened for writing.

    ``device`` is a whole disk by its name under /dev/disk/by-id or by-path, a loop device, or a file in place of a
    card. ``card_bytes`` is the nominal size of the card, N * 10**9: cards may be a few percent smaller, and at most
    N GiB (7.4 % more) is accepted. Raises CardError.
    """
    image_bytes = _image_size(image)
    try:
        mode = device.stat().st_mode
    except OSError as error:
        raise CardError(
            f"{device} is not there ({error.strerror}), expected the device of a card; put the card into its reader, "
            f"and name it as {machine.dev}/disk/by-id has it."
        ) from None
    if stat.S_ISBLK(mode):
        _check_disk(device, image, machine)
    elif stat.S_ISREG(mode):
        _check_file(device, image, machine)
    else:
        kind = _KINDS.get(stat.S_IFMT(mode), "something else")
        raise CardError(f"{device} is {kind}, expected a block device, or a file that stands in for a card; name one.")
    target = _look_at(device)
    _check_size(target, image, image_bytes, card_bytes)
    return target


def write(image: Path, target: Target, say: Say) -> Written:
    """Write the image, flush it to the card, read it back from there and compare.

    The first MiB is cleared at the beginning and written after the rest was read back and compared, so that a partly
    written or defective card is never bootable. ``say`` gets a line of progress every few seconds. Bytes beyond the
    image's end are unchanged. Raises CardError, after which the card must not be used.
    """
    began = time.monotonic()
    with _opened_image(image) as source, _opened_card(target) as card:
        job = _Job(image, source, target, card, say)
        sha256 = job.write_rest()
        job.compare_rest(sha256)
        job.write_head()
        if target.is_block:
            with contextlib.suppress(OSError):  # the new partition table is read anyway when the card is inserted again
                fcntl.ioctl(card, _BLKRRPART)
        return Written(job.size, sha256, round(time.monotonic() - began, 1))


# ------------------------------------------------------------------------------------------------- checks


def _check_disk(device: Path, image: Path, machine: block_devices.Machine) -> None:
    """Raise CardError for a block device that is not clearly an unused card."""
    folder = block_devices.sysfs_path(block_devices.number_of(device), machine)
    if not folder.exists():
        raise CardError(f"{device} leads to no device that the kernel has now; put the card into its reader.")
    disk = block_devices.parent_disk(folder)
    if where := block_devices.system_mount(disk, machine):
        raise CardError(f"{device} is on the disk that holds {where} of this machine, expected a card; name the card.")
    if disk != folder:
        raise CardError(
            f"{device} is a partition, expected the whole card; name {block_devices.best_name(disk, machine)}."
        )
    _check_kind(device, image, disk)
    _check_name(device, disk, machine)
    for use in block_devices.uses(disk, machine):
        raise CardError(f"{device} is in use: {use.what}; {use.remedy}, and begin again.")
    if block_devices.read(disk / "size") == "0":
        raise CardError(f"{device} has a size of 0 bytes, expected a card; put one into the reader.")
    if block_devices.read(disk / "ro") == "1":
        raise CardError(f"{device} is read-only, expected a card that can be written; slide the lock on its edge back.")


def _check_kind(device: Path, image: Path, disk: Path) -> None:
    backing = block_devices.read(disk / "loop" / "backing_file")
    if backing and block_devices.is_block(backing):
        raise CardError(f"{device} is a loop device over {backing}, expected one over a file; name the card itself.")
    if backing and block_devices.same_file(backing, image):
        raise CardError(f"{device} is a loop device over the image {image} itself; name the card.")
    if not block_devices.can_be_taken_out(disk):
        raise CardError(
            f"{device} is built into this machine (neither removable nor an SD slot nor on USB), expected a card in a "
            "reader; name the card."
        )


def _check_name(device: Path, disk: Path, machine: block_devices.Machine) -> None:
    """Raise CardError for a name such as /dev/sdb, which may be another device after the next boot or hot plug."""
    by_id, by_path = (machine.dev / "disk" / kind for kind in ("by-id", "by-path"))
    is_loop = disk.name.startswith("loop")
    if device.absolute().parent in (by_id, by_path) or (is_loop and device.absolute() == machine.dev / disk.name):
        return
    names = (
        [machine.dev / disk.name] if is_loop else block_devices.stable_names(block_devices.read(disk / "dev"), machine)
    )
    if names:
        raise CardError(f"{device} may be another device next time, expected a name that stays; name {names[0]}.")
    raise CardError(
        f"{device} may be another device next time, expected a name under {by_id} or {by_path}, and it has none there; "
        "write the card on a machine that runs udev."
    )


def _check_file(file: Path, image: Path, machine: block_devices.Machine) -> None:
    """Raise CardError for a file that is in use."""
    if block_devices.same_file(file, image):
        raise CardError(f"{file} is the image itself, expected a card; name the card.")
    for loop, backing in block_devices.loops(machine):
        if block_devices.same_file(backing, file):
            raise CardError(f"{file} is in use: {loop} stands on it; name {loop}, or detach it (losetup -d {loop}).")
    for swap in block_devices.swaps(machine):
        if block_devices.same_file(swap, file):
            raise CardError(f"{file} is in use: it is swap; name the card.")


def _check_size(target: Target, image: Path, image_bytes: int, card_bytes: int) -> None:
    largest = card_bytes * (1 << 30) // 10**9
    if target.size_bytes > largest:
        raise CardError(
            f"{target.device} has {_gigabytes(target.size_bytes)}, expected a card of {card_bytes / 1e9:g} GB (at most "
            f"{largest} bytes); name the card, or state its size if it is this one."
        )
    _check_room(target, image, image_bytes)


def _check_room(target: Target, image: Path, image_bytes: int) -> None:
    if image_bytes > target.size_bytes:
        raise CardError(
            f"{target.device} has {_gigabytes(target.size_bytes)}, expected room for the image {image} with "
            f"{_gigabytes(image_bytes)}; take a larger card."
        )


def _image_size(image: Path) -> int:
    try:
        status = image.stat()
    except OSError as error:
        raise _unreadable(image, error) from None
    if not stat.S_ISREG(status.st_mode) or not status.st_size:
        raise CardError(f"The image {image} is no file with something in it, expected a card image; correct its path.")
    return status.st_size


def _unreadable(image: Path, error: OSError) -> CardError:
    return CardError(f"The image {image} cannot be read: {error.strerror}; make it first, or correct its path.")


def _gigabytes(size_bytes: int) -> str:
    return f"{size_bytes / 1e9:.2f} GB ({size_bytes} bytes)"


# ------------------------------------------------------------------------------------------------- opening and writing


def _identity(handle: int) -> tuple[int, int]:
    """The identity of the medium in a device: the kernel numbers each insertion."""
    status = os.fstat(handle)
    if not stat.S_ISBLK(status.st_mode):
        return status.st_dev, status.st_ino
    sequence = 0  # before Linux 5.15
    with contextlib.suppress(OSError):
        (sequence,) = struct.unpack("Q", fcntl.ioctl(handle, _BLKGETDISKSEQ, bytes(8)))
    return status.st_rdev, sequence


@contextlib.contextmanager
def _opened_image(image: Path) -> Iterator[int]:
    try:
        handle = os.open(image, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise _unreadable(image, error) from None
    try:
        yield handle
    finally:
        os.close(handle)


@contextlib.contextmanager
def _opened_device(device: Path, flags: int, is_block: bool) -> Iterator[int]:
    """Open a device, a block device exclusively; raises CardError if it cannot be opened."""
    try:
        handle = os.open(device, flags | os.O_CLOEXEC | (os.O_EXCL if is_block else 0))
    except OSError as error:
        raise CardError(f"{device} {_why_not_opened(error)}") from None
    try:
        yield handle
    finally:
        with contextlib.suppress(OSError):  # errors of the card were reported by the flush
            os.close(handle)


def _why_not_opened(error: OSError) -> str:
    if error.errno == errno.EBUSY:
        return "is in use by another program; end that (lsof, fuser), and begin again."
    if error.errno in (errno.EACCES, errno.EPERM):
        return _FORBIDDEN
    if error.errno == errno.EROFS:
        return "is read-only, expected a card that can be written; slide the lock on its edge back."
    if error.errno == errno.ENOMEDIUM:
        return "has no card in it; put one in."
    return f"cannot be opened: {error.strerror}; put the card in again, or take another reader."


def _look_at(device: Path) -> Target:
    """Open it for reading, exclusively, which fails while it or a partition is claimed by anything."""
    is_block = device.is_block_device()
    with _opened_device(device, os.O_RDONLY, is_block) as handle:
        size_bytes, identity = os.lseek(handle, 0, os.SEEK_END), _identity(handle)
    if not os.access(device, os.W_OK, effective_ids=True):
        raise CardError(f"{device} {_FORBIDDEN}")
    return Target(device, size_bytes, is_block, identity)


@contextlib.contextmanager
def _opened_card(target: Target) -> Iterator[int]:
    """Open the device for reading and writing; raises CardError if it is not the checked card any more."""
    with _opened_device(target.device, os.O_RDWR, target.is_block) as handle:
        if (_identity(handle), os.lseek(handle, 0, os.SEEK_END)) != (target.identity, target.size_bytes):
            raise CardError(
                f"{target.device} is not the card any more that was there when it was checked; nothing was written: "
                "leave the cards where they are, and begin again."
            )
        yield handle


class _Job:
    """Writing one image to one card, both open."""

    def __init__(self, image: Path, source: int, target: Target, card: int, say: Say) -> None:
        self._image, self._source, self._target, self._card, self._say = image, source, target, card, say
        self._status = os.fstat(source)
        self.size = self._status.st_size
        if not self.size:
            self._image_changed()
        _check_room(target, image, self.size)
        self._head = self._from_image(0, min(HEAD_BYTES, self.size))

    def write_rest(self) -> str:
        """Clear the head and write everything after it; returns the SHA-256 of the image."""
        progress = self._begin("writing")
        self._to_card(bytes(len(self._head)), 0)
        digest = hashlib.sha256(self._head)
        for offset in self._offsets():
            chunk = self._from_image(offset, min(CHUNK_BYTES, self.size - offset))
            digest.update(chunk)
            self._to_card(chunk, offset)
            progress.tick(offset + len(chunk), self.size)
        progress.end(self.size)
        return digest.hexdigest()

    def compare_rest(self, sha256: str) -> None:
        """Read everything after the head back and compare; ``sha256`` is that of the written image."""
        progress = self._begin("reading back")
        self._forget_cached()
        digest = hashlib.sha256(self._head)
        for offset in self._offsets():
            expected = self._from_image(offset, min(CHUNK_BYTES, self.size - offset))
            self._compare(expected, offset)
            digest.update(expected)
            progress.tick(offset + len(expected), self.size)
        if digest.hexdigest() != sha256:
            self._image_changed()
        progress.end(self.size)

    def write_head(self) -> None:
        """Write the head, which makes the card bootable, and read it back."""
        self._to_card(self._head, 0)
        self._say(f"{self._target.device.name}: reading back what was written last, the beginning")
        self._forget_cached()
        self._compare(self._head, 0)

    def _begin(self, what: str) -> ByteProgress:
        name = f"{self._target.device.name}: {what}"
        self._say(f"{name} {self.size / MIB:.1f} MiB")
        return ByteProgress(name, self._say, PROGRESS_S)

    def _offsets(self) -> range:
        return range(len(self._head), self.size, CHUNK_BYTES)

    def _compare(self, expected: bytes, offset: int) -> None:
        found = self._from_card(len(expected), offset)
        if found != expected:
            first = next(at for at, (one, other) in enumerate(zip(found, expected, strict=True)) if one != other)
            self._differs(offset + first)

    def _forget_cached(self) -> None:
        """Drop cached pages, so that later reads come from the card."""
        try:
            os.fsync(self._card)
            if self._target.is_block:
                with contextlib.suppress(PermissionError):  # needs root; posix_fadvise below does not
                    fcntl.ioctl(self._card, _BLKFLSBUF)
            os.posix_fadvise(self._card, 0, 0, os.POSIX_FADV_DONTNEED)
        except OSError as error:
            self._broken("written", self.size, error)

    def _from_image(self, offset: int, length: int) -> bytes:
        try:
            chunk = _read_at(self._source, length, offset)
        except OSError as error:
            raise CardError(
                f"The image {self._image} cannot be read at {_mebibytes(offset)}: {error.strerror}; {_USELESS}, "
                "make the image again, and write it then."
            ) from None
        if len(chunk) < length:
            self._image_changed()
        return chunk

    def _to_card(self, data: bytes, offset: int) -> None:
        done = 0
        try:
            while done < len(data):
                done += os.pwrite(self._card, data[done:], offset + done)
            os.fdatasync(self._card)  # per chunk, so that progress and errors are those of the card
        except OSError as error:
            self._broken("written", offset, error)

    def _from_card(self, length: int, offset: int) -> bytes:
        try:
            found = _read_at(self._card, length, offset)
            if len(found) < length:
                raise OSError(errno.EIO, "it ends there")
        except OSError as error:
            self._broken("read back", offset, error)
        return found

    def _broken(self, what: str, offset: int, error: OSError) -> NoReturn:
        left = 0
        with contextlib.suppress(OSError):
            left = os.lseek(self._card, 0, os.SEEK_END)
        # The size of a removed device becomes 0, and the kernel then reports that there is no space.
        reason = error.strerror if left == self._target.size_bytes else "it was taken out, or has lost its connection"
        raise CardError(
            f"{self._target.device} could not be {what} at {_mebibytes(offset)}: {reason}; {_USELESS}, put "
            "it in again, or take another reader or card, and write it again."
        ) from None

    def _differs(self, offset: int) -> NoReturn:
        if os.fstat(self._source).st_mtime_ns != self._status.st_mtime_ns:
            self._image_changed()
        raise CardError(
            f"{self._target.device} reads back other bytes than were written to it, first at {_mebibytes(offset)}; "
            "this card must not be used: write it again, and take another card or reader if that ends the same way."
        )

    def _image_changed(self) -> NoReturn:
        raise CardError(
            f"The image {self._image} was changed while it was written to {self._target.device}; {_USELESS}, "
            "write it again when the image is ready."
        )


def _read_at(handle: int, length: int, offset: int) -> bytes:
    """Read up to ``length`` bytes, fewer at the end of the file."""
    found = bytearray()
    while len(found) < length and (more := os.pread(handle, length - len(found), offset + len(found))):
        found += more
    return bytes(found)


def _mebibytes(offset: int) -> str:
    return f"{offset / MIB:.1f} MiB"
