"""What the boot ROM of a Raspberry Pi 2 asks of a card, by Raspberry Pi's documentation."""

from __future__ import annotations

import struct
from os import SEEK_END
from pathlib import Path

from rtvirt_runner.media.rpi_firmware import FirmwareError

# Reported to start a Pi are 0x0b and 0x0c, not to are 0x1c, 0x83, 0xef; 0x04, 0x06 and 0x0e (FAT16) are unverified.
FAT_TYPES = (0x04, 0x06, 0x0B, 0x0C, 0x0E)
_SECTOR = 512


def check_table(image: Path) -> None:
    """Check what the boot ROM asks of a card, given as an image of all of it or as its device.

    An MBR, as the ROM reads no GPT, and in it, first, the FAT partition ("Boot sequence": from BCM2837 on others may
    come before it; issue 1291 of the documentation), of a type that is known as FAT, and a FAT12, FAT16 or FAT32 in it
    ("autoboot.txt"). Raises FirmwareError.
    """
    with image.open("rb") as card:
        table = card.read(_SECTOR)
        if table[510:512] != b"\x55\xaa":
            raise FirmwareError(f"{image} has no MBR, which tells the boot ROM where to boot; partition it with one.")
        kind, (start, sectors) = table[446 + 4], struct.unpack_from("<II", table, 446 + 8)
        if kind == 0xEE:
            raise FirmwareError(f"{image} has a GPT, and the boot ROM reads an MBR only; partition it with one.")
        if kind not in FAT_TYPES:
            raise FirmwareError(
                f"Partition 1 of {image} has type 0x{kind:02x}, where the boot ROM expects FAT"
                f" ({', '.join(f'0x{each:02x}' for each in FAT_TYPES)}); make it 0x0c."
            )
        if (size := card.seek(0, SEEK_END)) < (start + sectors) * _SECTOR:
            raise FirmwareError(
                f"{image} is cut short: partition 1 ends at byte {(start + sectors) * _SECTOR}, and it has {size};"
                " make it again."
            )
        card.seek(start * _SECTOR)
        boot_sector = card.read(_SECTOR)
    # A FAT names itself: where, depends on whether it is a FAT32.
    named = boot_sector[54:59] in (b"FAT12", b"FAT16") or boot_sector[82:87] == b"FAT32"
    if not named or boot_sector[510:512] != b"\x55\xaa":
        raise FirmwareError(
            f"Partition 1 of {image} holds no FAT, which is all that the boot ROM reads; format it with mkfs.vfat."
        )
