"""Cards are written on real block devices (loop devices), with real mounts, swap, errors and playbooks."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from loops import MIB, attached, mounted, run, swapped_on

from rtvirt_runner.catalogue import collection
from rtvirt_runner.media import block_devices, sd_card
from rtvirt_runner.media.block_devices import Machine
from rtvirt_runner.media.sd_card import CardError, check, write

IMAGE_BYTES = 9 * MIB + 4321  # neither whole chunks nor whole sectors
CARD_BYTES = 16 * MIB
ONE_GB = 10**9
OLD = hashlib.shake_256(b"what was on the card").digest(CARD_BYTES)
NEW = hashlib.shake_256(b"the image").digest(IMAGE_BYTES)


def quiet(text: str) -> None:
    """Nobody listens."""


class When:
    """Listens to progress, and does something once, at the first line that fits."""

    def __init__(self, pattern: str, action: Callable[[], object]) -> None:
        self.lines: list[str] = []
        self._pattern, self._action = pattern, action
        self.done = False

    def __call__(self, line: str) -> None:
        self.lines.append(line)
        if not self.done and re.search(self._pattern, line):
            self.done = True
            self._action()


@pytest.fixture
def image(tmp_path: Path) -> Path:
    image = tmp_path / "card.img"
    image.write_bytes(NEW)
    return image


@pytest.fixture
def backing(tmp_path: Path) -> Path:
    backing = tmp_path / "card"
    backing.write_bytes(OLD)
    return backing


@pytest.fixture
def card(backing: Path) -> Iterator[Path]:
    """A card of 16 MiB in a reader: /dev/loopN."""
    with attached(backing) as device:
        yield device


@pytest.fixture
def every_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Progress is said after each chunk."""
    monkeypatch.setattr(sd_card, "PROGRESS_S", 0.0)


@pytest.fixture
def partitioned(backing: Path) -> Iterator[Path]:
    """A card with a file system on its one partition."""
    with attached(backing, "--partscan") as device:
        run("addpart", device, "1", "2048", "30720")  # in sectors: all but the first MiB
        run("mkfs.ext4", "-q", f"{device}p1")
        yield device


def content(device: Path) -> bytes:
    """What is on a card, past every cache."""
    run("blockdev", "--flushbufs", device)
    return device.read_bytes()


def refused(device: Path, image: Path, sentence: str, card_bytes: int = ONE_GB, machine: Machine | None = None) -> None:
    """The check says exactly this, and leaves alone what it has seen."""
    before = glimpse(device)
    with pytest.raises(CardError) as told:
        check(device, image, card_bytes, machine or block_devices.THIS_MACHINE)
    assert str(told.value) == sentence
    assert glimpse(device) == before


def glimpse(device: Path) -> bytes:
    """What is on a file or loop device of ours that is no swap, as far as this user may see it."""
    is_ours = device.is_file() or (device.is_block_device() and os.major(device.stat().st_rdev) == 7)
    if not is_ours or not os.access(device, os.R_OK, effective_ids=True):
        return b""
    if str(device) in Path("/proc/swaps").read_text():
        return b""
    with device.open("rb") as file:
        return file.read(CARD_BYTES)


# ------------------------------------------------------------------------------------------------------ what is written


@pytest.mark.parametrize("size", [1, 1000, MIB, MIB + 1, 5 * MIB, IMAGE_BYTES, CARD_BYTES])
def test_an_image_is_on_the_card_and_nothing_else_was_touched(card: Path, image: Path, size: int) -> None:
    image.write_bytes(NEW[:size] if size <= IMAGE_BYTES else OLD[::-1])
    written = write(image, check(card, image, ONE_GB), quiet)
    assert content(card) == image.read_bytes() + OLD[size:]
    assert (written.bytes, written.sha256) == (size, hashlib.sha256(image.read_bytes()).hexdigest())
    assert 0 <= written.seconds < 60


def test_a_file_stands_in_for_a_card(backing: Path, image: Path) -> None:
    written = write(image, check(backing, image, ONE_GB), quiet)
    assert backing.read_bytes() == NEW + OLD[IMAGE_BYTES:]
    assert written.sha256 == hashlib.sha256(NEW).hexdigest()


def test_checking_changes_nothing(card: Path, image: Path) -> None:
    target = check(card, image, ONE_GB)
    assert (target.device, target.size_bytes, target.is_block) == (card, CARD_BYTES, True)
    assert content(card) == OLD


@pytest.mark.usefixtures("every_chunk")
def test_progress_tells_how_far_how_fast_and_how_long_still(card: Path, image: Path) -> None:
    said: list[str] = []
    write(image, check(card, image, ONE_GB), said.append)
    rate = r"\d+\.\d MiB/s"
    expected = [
        "writing 9.0 MiB",
        rf"writing: 55 %, {rate}, 0:\d\d min left",
        rf"writing: 99 %, {rate}, 0:\d\d min left",
    ]
    expected += [rf"writing: 100 %, {rate}, 0:\d\d min left", rf"writing: 100 %, {rate}, took 0:\d\d min"]
    expected += [line.replace("writing", "reading back") for line in expected]
    expected += ["reading back what was written last, the beginning"]
    assert len(said) == len(expected)
    for line, pattern in zip(said, expected, strict=True):
        assert re.fullmatch(f"{card.name}: {pattern}", line), (line, pattern)


def test_the_old_partitions_are_gone_afterwards(partitioned: Path, image: Path) -> None:
    """That the kernel reads the table is shown by what it forgets: not every kernel knows every kind of table."""
    assert Path(f"{partitioned}p1").is_block_device()
    write(image, check(partitioned, image, ONE_GB), quiet)
    assert not Path(f"{partitioned}p1").exists()


# ------------------------------------------------------------------------------------------------------ what is refused


def test_what_is_not_there_is_refused(image: Path, tmp_path: Path) -> None:
    refused(
        tmp_path / "none",
        image,
        f"{tmp_path}/none is not there (No such file or directory), expected the device of a card; put the card into "
        "its reader, and name it as /dev/disk/by-id has it.",
    )


def test_what_is_no_block_device_is_refused(image: Path, tmp_path: Path) -> None:
    for path, kind in ((tmp_path, "a folder"), (Path("/dev/null"), "a character device")):
        refused(
            path,
            image,
            f"{path} is {kind}, expected a block device, or a file that stands in for a card; name one.",
        )


def test_an_image_that_is_none_is_refused(card: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    refused(
        card,
        tmp_path / "none",
        f"The image {tmp_path}/none cannot be read: No such file or directory; make it first, or correct its path.",
    )
    for path in (tmp_path / "empty", tmp_path):
        refused(
            card,
            path,
            f"The image {path} is no file with something in it, expected a card image; correct its path.",
        )


@pytest.fixture
def system_disk() -> tuple[Path, str]:
    """The disk under / of this machine, if it has one that the kernel shows, else under any other mount of its own."""
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        words = line.split()
        folder = Path("/sys/dev/block", words[2]).resolve()
        if words[4] in block_devices.SYSTEM_MOUNTS and folder.exists():
            return Path("/dev", block_devices.parent_disk(folder).name), words[4]
    pytest.fail("no file system of this machine is on a disk, expected at least /; run the tests on a machine or a VM")


def test_the_disk_of_this_machine_is_refused(system_disk: tuple[Path, str], image: Path) -> None:
    disk, where = system_disk
    refused(
        disk,
        image,
        f"{disk} is on the disk that holds {where} of this machine, expected a card; name the card.",
        10**15,
    )
    assert str(disk) not in sd_card.which()


def test_a_card_of_which_a_partition_is_mounted_is_refused(partitioned: Path, image: Path, tmp_path: Path) -> None:
    before = content(partitioned)
    where = tmp_path / "a place"  # the kernel writes it as a\040place
    with mounted(f"{partitioned}p1", where, "--read-only"):
        refused(
            partitioned,
            image,
            f"{partitioned} is in use: {partitioned}p1 is mounted on {where}; unmount it (umount {partitioned}p1), and "
            "begin again.",
        )
    assert content(partitioned) == before
    check(partitioned, image, ONE_GB)


def test_a_card_that_is_mounted_whole_is_refused(card: Path, image: Path, tmp_path: Path) -> None:
    run("mkfs.ext4", "-q", card)
    with mounted(card, tmp_path / "place", "--read-only"):
        refused(
            card,
            image,
            f"{card} is in use: {card} is mounted on {tmp_path}/place; unmount it (umount {card}), and begin again.",
        )


def test_a_partition_is_refused(partitioned: Path, image: Path) -> None:
    refused(
        Path(f"{partitioned}p1"),
        image,
        f"{partitioned}p1 is a partition, expected the whole card; name {partitioned}.",
    )


def test_swap_is_refused(card: Path, image: Path) -> None:
    with swapped_on(card):
        refused(card, image, f"{card} is in use: {card} is swap; end that (swapoff {card}), and begin again.")
    check(card, image, ONE_GB)


def test_a_file_that_is_swap_is_refused(image: Path, tmp_path: Path) -> None:
    with ExitStack() as stack:
        file = tmp_path / "swap"
        file.write_bytes(OLD)
        file.chmod(0o600)
        stack.enter_context(swapped_on(file))
        refused(file, image, f"{file} is in use: it is swap; name the card.")


def test_a_card_under_another_loop_device_is_refused(card: Path, image: Path) -> None:
    with attached(card) as upper:
        refused(
            card, image, f"{card} is in use: {upper} stands on {card}; detach it (losetup -d {upper}), and begin again."
        )
        refused(upper, image, f"{upper} is a loop device over {card}, expected one over a file; name the card itself.")


def test_a_file_under_a_loop_device_is_refused(card: Path, backing: Path, image: Path) -> None:
    refused(backing, image, f"{backing} is in use: {card} stands on it; name {card}, or detach it (losetup -d {card}).")


def test_the_image_itself_is_refused(image: Path, tmp_path: Path) -> None:
    (tmp_path / "same").hardlink_to(image)
    refused(tmp_path / "same", image, f"{tmp_path}/same is the image itself, expected a card; name the card.")
    with attached(image) as device:
        refused(device, image, f"{device} is a loop device over the image {image} itself; name the card.")
    assert image.read_bytes() == NEW


def test_a_card_that_another_program_has_for_itself_is_refused(card: Path, image: Path) -> None:
    target = check(card, image, ONE_GB)
    sentence = f"{card} is in use by another program; end that (lsof, fuser), and begin again."
    other = os.open(card, os.O_RDONLY | os.O_EXCL)
    try:
        refused(card, image, sentence)
        with pytest.raises(CardError) as told:  # it came after the check
            write(image, target, quiet)
    finally:
        os.close(other)
    assert str(told.value) == sentence
    assert content(card) == OLD


def test_a_locked_card_is_refused(backing: Path, image: Path) -> None:
    with attached(backing, "--read-only") as card:
        refused(
            card,
            image,
            f"{card} is read-only, expected a card that can be written; slide the lock on its edge back.",
        )


def test_a_card_that_is_too_small_is_refused(card: Path, image: Path) -> None:
    image.write_bytes(bytes(CARD_BYTES + 1))
    refused(
        card,
        image,
        f"{card} has 0.02 GB (16777216 bytes), expected room for the image {image} with 0.02 GB (16777217 bytes); take "
        "a larger card.",
    )
    assert content(card) == OLD


def test_a_card_that_is_larger_than_stated_is_refused(image: Path, tmp_path: Path) -> None:
    sparse = tmp_path / "sparse"
    sparse.touch()
    os.truncate(sparse, 1 << 30)
    with attached(sparse) as card:
        check(card, image, ONE_GB)  # 1 GiB is the most that is sold as 1 GB
    os.truncate(sparse, (1 << 30) + 512)
    with attached(sparse) as card:
        refused(
            card,
            image,
            f"{card} has 1.07 GB (1073742336 bytes), expected a card of 1 GB (at most 1073741824 bytes); name the "
            "card, or state its size if it is this one.",
        )
    assert sparse.stat().st_blocks == 0


def test_a_link_to_a_loop_device_is_refused_as_it_may_lead_elsewhere_tomorrow(
    card: Path, image: Path, tmp_path: Path
) -> None:
    (tmp_path / "link").symlink_to(card)
    refused(
        tmp_path / "link",
        image,
        f"{tmp_path}/link may be another device next time, expected a name that stays; name {card}.",
    )


def test_a_loop_device_without_a_file_is_no_card(image: Path, backing: Path) -> None:
    with attached(backing) as free:
        pass
    refused(free, image, f"{free} has a size of 0 bytes, expected a card; put one into the reader.")


@pytest.mark.parametrize("mode", [0o600, 0o644], ids=["may do nothing", "may read"])
def test_a_user_who_may_not_write_to_the_card_is_told_so(mode: int) -> None:
    with tempfile.TemporaryDirectory() as folder:  # pytest's own is nobody else's
        image, backing = Path(folder, "image"), Path(folder, "card")
        for path in (image, backing):
            path.write_bytes(OLD)
        for path, permitted in ((image, 0o644), (backing, mode), (Path(folder), 0o755)):
            path.chmod(permitted)
        os.seteuid(65534)
        try:
            refused(
                backing,
                image,
                f"{backing} may not be read and written by this user; run this as root, or as a member of the group "
                "that owns it.",
            )
        finally:
            os.seteuid(0)


# ------------------------------------------------------------------------------------------------------ what goes wrong


def test_another_card_in_the_place_of_the_checked_one_is_refused(backing: Path, image: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_bytes(OLD)
    with attached(backing) as device:
        target = check(device, image, ONE_GB)
    run("losetup", device, other)  # of the same size, in the same reader
    try:
        with pytest.raises(CardError) as told:
            write(image, target, quiet)
    finally:
        run("losetup", "--detach", device)
    assert str(told.value) == (
        f"{device} is not the card any more that was there when it was checked; nothing was written: leave the cards "
        "where they are, and begin again."
    )
    assert other.read_bytes() == OLD


def test_an_image_that_has_grown_since_the_check_is_refused(card: Path, image: Path) -> None:
    target = check(card, image, ONE_GB)
    image.write_bytes(bytes(CARD_BYTES + 1))
    with pytest.raises(CardError, match=r"expected room for the image .*; take a larger card\.$"):
        write(image, target, quiet)
    assert content(card) == OLD


def test_an_error_of_the_card_is_told_with_its_place(image: Path, tmp_path: Path) -> None:
    with mounted("tmpfs", tmp_path / "small", "-t", "tmpfs", "-o", "size=7m") as small:
        backing = small / "card"
        backing.touch()
        os.truncate(backing, CARD_BYTES)  # there is no room for all of it
        with attached(backing) as card:
            with pytest.raises(CardError) as told:
                write(image, check(card, image, ONE_GB), quiet)
            assert re.fullmatch(
                f"{card} could not be written at 5.0 MiB: (Input/output error|No space left on device); the card is "
                "not bootable now, put it in again, or take another reader or card, and write it again.",
                str(told.value),
            )


@pytest.mark.usefixtures("every_chunk")
@pytest.mark.parametrize(
    ("during", "place"), [("writing: 55", "5.0"), ("reading back: 55", "5.0"), ("the beginning", "0.0")]
)
def test_a_card_that_is_taken_out_is_told_with_the_place(
    card: Path, backing: Path, image: Path, during: str, place: str
) -> None:
    def take_out() -> None:
        os.truncate(backing, 0)
        run("losetup", "--set-capacity", card)

    taking_out = When(during, take_out)
    with pytest.raises(CardError) as told:
        write(image, check(card, image, ONE_GB), taking_out)
    what = "written" if during.startswith("writing") else "read back"
    assert str(told.value) == (
        f"{card} could not be {what} at {place} MiB: it was taken out, or has lost its connection; the card is not "
        "bootable now, put it in again, or take another reader or card, and write it again."
    )


@pytest.mark.parametrize("place", [0, MIB - 1, MIB, 4 * MIB + 77, IMAGE_BYTES - 1])
def test_a_card_that_reads_back_other_bytes_must_not_be_used(
    card: Path, backing: Path, image: Path, place: int
) -> None:
    def spoil() -> None:
        with backing.open("r+b") as file:
            file.seek(place)
            file.write(bytes([NEW[place] ^ 1]))

    spoiling = When("reading back 9" if place >= MIB else "the beginning", spoil)
    with pytest.raises(CardError) as told:
        write(image, check(card, image, ONE_GB), spoiling)
    assert spoiling.done
    assert place < MIB or content(card)[:MIB] == bytes(MIB)  # nobody boots from it by mistake
    assert str(told.value) == (
        f"{card} reads back other bytes than were written to it, first at {place / MIB:.1f} MiB; this card must not be "
        "used: write it again, and take another card or reader if that ends the same way."
    )


@pytest.mark.usefixtures("every_chunk")
@pytest.mark.parametrize("during", ["writing: 55", "reading back 9"])
@pytest.mark.parametrize("now", [NEW[:-1], NEW[::-1]], ids=["shorter", "other bytes"])
def test_an_image_that_changes_meanwhile_is_not_blamed_on_the_card(
    card: Path, image: Path, during: str, now: bytes
) -> None:
    changing = When(during, lambda: image.write_bytes(now))
    with pytest.raises(CardError) as told:
        write(image, check(card, image, ONE_GB), changing)
    assert str(told.value) == (
        f"The image {image} was changed while it was written to {card}; the card is not bootable now, write it again "
        "when the image is ready."
    )


def test_an_image_that_is_gone_since_the_check_is_told_before_the_card_is_touched(card: Path, image: Path) -> None:
    target = check(card, image, ONE_GB)
    image.unlink()
    with pytest.raises(
        CardError, match=rf"^The image {image} cannot be read: No such file or directory; make it first"
    ):
        write(image, target, quiet)
    image.touch()
    with pytest.raises(CardError, match=rf"^The image {image} was changed"):
        write(image, target, quiet)
    assert content(card) == OLD


class Killed(BaseException):
    """As a Ctrl-C is."""


@pytest.mark.usefixtures("every_chunk")
@pytest.mark.parametrize("during", ["writing: 55", "writing: 100 %.* left", "reading back 9", "reading back: 100 %"])
def test_a_card_that_was_interrupted_does_not_look_bootable(card: Path, image: Path, during: str) -> None:
    def stop() -> None:
        raise Killed

    with pytest.raises(Killed):
        write(image, check(card, image, ONE_GB), When(during, stop))
    now = content(card)
    written = 5 * MIB if during == "writing: 55" else IMAGE_BYTES
    assert now[:MIB] == bytes(
        MIB
    )  # neither the new beginning nor the old one, whose partitions hold something else now
    assert now[MIB:written] == NEW[MIB:written]
    assert now[written:] == OLD[written:]
    write(image, check(card, image, ONE_GB), quiet)  # nothing is left behind that is in its way
    assert content(card) == NEW + OLD[IMAGE_BYTES:]


# ----------------------------------------------------------------- readers and slots that this machine need not have


class Bench:
    """A machine with readers as sysfs shows them; what is written goes to a loop device all the same."""

    def __init__(self, root: Path, loop: Path) -> None:
        self.machine = Machine(root / "sys", root / "proc", root / "dev")
        self._number = block_devices.number_of(loop)
        for folder in ("sys/block", "sys/dev/block", "proc/self", "dev/disk/by-id", "dev/disk/by-path"):
            (root / folder).mkdir(parents=True)
        (root / "proc/self/mountinfo").touch()
        (root / "proc/swaps").write_text("Filename Type Size Used Priority\n")

    def plug(self, place: str, number: str = "", **attributes: str) -> Path:
        """Plug a disk in: ``place`` is its folder under /sys/devices; without a number it is the loop device."""
        folder = self.machine.sys / "devices" / place
        facts = {"removable": "0", "ro": "0", "size": str(CARD_BYTES // 512), "dev": number or self._number}
        for name, value in (facts | attributes).items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(f"{value}\n")
        (self.machine.sys / "dev" / "block" / facts["dev"]).symlink_to(folder)
        if "partition" not in attributes:
            (self.machine.sys / "block" / folder.name).symlink_to(folder)
        node = self.machine.dev / folder.name
        os.mknod(node, 0o600 | 0o060000, os.makedev(*map(int, facts["dev"].split(":"))))
        return node

    def name(self, name: str, node: Path, kind: str = "by-id") -> Path:
        """What udev does."""
        link = self.machine.dev / "disk" / kind / name
        link.symlink_to(f"../../{node.name}")
        return link

    def mount(self, number: str, where: str) -> None:
        with (self.machine.proc / "self" / "mountinfo").open("a") as file:
            file.write(f"36 1 {number} / {where} rw,relatime shared:1 - ext4 /dev/none rw\n")

    def refuses(self, device: Path, image: Path, sentence: str) -> None:
        refused(device, image, sentence, machine=self.machine)


@pytest.fixture
def bench(card: Path, tmp_path: Path) -> Bench:
    return Bench(tmp_path / "bench", card)


READER = "pci0000:00/0000:00:14.0/usb1/1-2/1-2:1.0/host4/target4:0:0/4:0:0:0/block/sdb"
SLOT = "platform/soc/fe340000.mmc/mmc_host/mmc0/mmc0:aaaa/block/mmcblk0"
INSIDE = "pci0000:00/0000:00:17.0/ata1/host0/target0:0:0/0:0:0:0/block/sda"


@pytest.mark.parametrize(
    ("place", "attributes"),
    [(READER, {}), (SLOT, {"device/type": "SD"}), (INSIDE, {"removable": "1"})],
    ids=["on USB", "an SD slot", "removable"],
)
def test_a_card_in_any_reader_is_written_by_the_name_that_stays(
    bench: Bench, card: Path, image: Path, place: str, attributes: dict[str, str]
) -> None:
    link = bench.name("usb-Generic_Reader_0123-0:0", bench.plug(place, **attributes))
    write(image, check(link, image, ONE_GB, bench.machine), quiet)
    assert content(card) == NEW + OLD[IMAGE_BYTES:]


@pytest.mark.parametrize(
    ("place", "attributes"),
    [(INSIDE, {}), (SLOT, {"device/type": "MMC"}), (INSIDE.replace("sda", "sr0"), {"removable": "1"})],
    ids=["a disk", "soldered eMMC", "an optical drive"],
)
def test_what_is_built_in_is_refused(
    bench: Bench, card: Path, image: Path, place: str, attributes: dict[str, str]
) -> None:
    link = bench.name("built-in", bench.plug(place, **attributes))
    bench.refuses(
        link,
        image,
        f"{link} is built into this machine (neither removable nor an SD slot nor on USB), expected a card in a "
        "reader; name the card.",
    )
    assert sd_card.candidates(bench.machine) == []
    assert content(card) == OLD


def test_a_name_that_wanders_is_refused_with_the_one_that_stays(bench: Bench, image: Path) -> None:
    node = bench.plug(READER)
    by_id, by_path = (bench.machine.dev / "disk" / kind for kind in ("by-id", "by-path"))
    bench.refuses(
        node,
        image,
        f"{node} may be another device next time, expected a name under {by_id} or {by_path}, and it has none there; "
        "write the card on a machine that runs udev.",
    )
    says = f"{node} may be another device next time, expected a name that stays; name"
    socket = bench.name("pci-0000:00:14.0-usb-0:2:1.0-scsi-0:0:0:0", node, "by-path")
    bench.refuses(node, image, f"{says} {socket}.")
    world_wide = bench.name("scsi-0123", node)
    bench.refuses(node, image, f"{says} {world_wide}.")
    reader = bench.name("usb-Generic_Reader_0123-0:0", node)
    bench.refuses(node, image, f"{says} {reader}.")
    way_round = by_id / ".." / ".." / "sdb"
    bench.refuses(
        way_round, image, f"{way_round} may be another device next time, expected a name that stays; name {reader}."
    )
    for name in (socket, world_wide, reader):
        check(name, image, ONE_GB, bench.machine)


def test_a_disk_under_layers_that_hold_the_root_file_system_is_refused(bench: Bench, image: Path) -> None:
    """/ is on a logical volume, that on an encrypted partition, that on a stick."""
    link = bench.name("usb-stick", bench.plug(READER))
    bench.plug(f"{READER}/sdb1", "8:17", partition="1")
    bench.plug("virtual/block/dm-0", "252:0", **{"dm/name": "crypt"})
    bench.plug("virtual/block/dm-1", "252:1", **{"dm/name": "vg-root"})
    for upper, lower in (("dm-1", "virtual/block/dm-0"), ("dm-0", f"{READER}/sdb1")):
        slaves = bench.machine.sys / "devices/virtual/block" / upper / "slaves"
        slaves.mkdir()
        (slaves / Path(lower).name).symlink_to(bench.machine.sys / "devices" / lower)
    bench.mount("252:1", "/")
    for device in (link, bench.machine.dev / "sdb1"):
        bench.refuses(
            device, image, f"{device} is on the disk that holds / of this machine, expected a card; name the card."
        )
    assert sd_card.candidates(bench.machine) == []


def test_a_card_that_a_volume_group_or_a_raid_holds_is_refused(bench: Bench, image: Path) -> None:
    link = bench.name("usb-stick", bench.plug(READER))
    bench.plug(f"{READER}/sdb1", "8:17", partition="1")
    bench.plug("virtual/block/dm-0", "252:0", **{"dm/name": "vg-data"})
    holders = bench.machine.sys / "devices" / READER / "sdb1" / "holders"
    holders.mkdir()
    (holders / "dm-0").symlink_to(bench.machine.sys / "devices/virtual/block/dm-0")
    bench.refuses(
        link,
        image,
        f"{link} is in use: {bench.machine.dev}/sdb1 is held by vg-data; end that (vgchange -an, dmsetup remove or "
        "mdadm --stop), and begin again.",
    )


def test_an_empty_reader_is_refused(bench: Bench, image: Path) -> None:
    link = bench.name("usb-reader", bench.plug(READER, size="0"))
    bench.refuses(link, image, f"{link} has a size of 0 bytes, expected a card; put one into the reader.")
    assert sd_card.candidates(bench.machine) == []


def test_a_device_that_is_gone_from_the_kernel_is_refused(bench: Bench, image: Path) -> None:
    link = bench.name("usb-reader", bench.plug(READER))
    (bench.machine.sys / "dev" / "block" / block_devices.number_of(link)).unlink()
    bench.refuses(link, image, f"{link} leads to no device that the kernel has now; put the card into its reader.")


def test_who_names_no_device_is_told_which_there_are(bench: Bench) -> None:
    assert sd_card.which(bench.machine) == (
        "No device is named, and there is no card in a reader of this machine; put one in, and name it as device."
    )
    bench.plug(INSIDE, "8:0")
    size = str(15_931_539_456 // 512)
    model = {"device/vendor": "Generic ", "device/model": "SD/MMC          "}
    reader = bench.name("usb-Generic_Reader-0:0", bench.plug(READER, "8:16", size=size, **model))
    bench.plug(f"{READER}/sdb1", "8:17", partition="1")
    bench.mount("8:17", "/media/me/my\\040card")
    sd = {"device/type": "SD", "device/name": "SC32G"}
    slot = bench.name("mmc-SC32G_0x1", bench.plug(SLOT, "179:0", size=size, **sd))
    assert sd_card.which(bench.machine) == (
        f"No device is named; name one of these as device: {reader} (Generic SD/MMC, 15.9 GB, "
        f"{bench.machine.dev}/sdb1 is mounted on /media/me/my card); {slot} (SC32G, 15.9 GB)."
    )
    assert [(each.name, each.size_bytes) for each in sd_card.candidates(bench.machine)] == [
        (reader, 15_931_539_456),
        (slot, 15_931_539_456),
    ]


# ----------------------------------------------------------------------------------------------------------- the action

PLAYBOOK = """\
- name: Write
  hosts: board
  gather_facts: false
  tasks:
    - name: Write the card
      rtvirt.testbed.write_card: "{{ given }}"
      register: written
    - name: Write what came of it
      ansible.builtin.copy:
        content: "{{ written | to_json }}"
        dest: "{{ playbook_dir }}/written.json"
        mode: "0644"
      delegate_to: localhost
      check_mode: false
"""


def play(folder: Path, given: dict[str, Any], *words: str) -> tuple[str, dict[str, Any]]:
    """Run the playbook for a board that cannot be reached; returns what Ansible said, and what the action returned."""
    (folder / "write.yml").write_text(PLAYBOOK)
    (folder / "hosts").write_text("board ansible_host=127.0.0.1 ansible_port=1\nlocalhost ansible_connection=local\n")
    env = {
        **os.environ,
        "ANSIBLE_CONFIG": str(collection.ANSIBLE_CONFIG),
        "ANSIBLE_PYTHON_INTERPRETER": sys.executable,
    }
    command = [Path(sys.executable).parent / "ansible-playbook", "-i", "hosts", "-e", json.dumps({"given": given})]
    done = subprocess.run(
        [*command, *words, "write.yml"], cwd=folder, env=env, capture_output=True, text=True, check=False
    )
    said = done.stdout + done.stderr
    assert (done.returncode == 0) == (folder / "written.json").exists(), said
    assert "Traceback" not in said
    result = json.loads((folder / "written.json").read_text()) if done.returncode == 0 else {}
    return said, result


def test_a_playbook_writes_a_card(card: Path, image: Path, tmp_path: Path) -> None:
    given = {"image": str(image), "device": str(card), "card_gb": 1}
    _, result = play(tmp_path, given, "--check")
    assert (result["changed"], result["msg"]) == (True, f"would write {image} to {card}")
    assert content(card) == OLD

    said, result = play(tmp_path, given)
    assert content(card) == NEW + OLD[IMAGE_BYTES:]
    assert (result["changed"], result["device"], result["bytes"]) == (True, str(card), IMAGE_BYTES)
    assert result["sha256"] == hashlib.sha256(NEW).hexdigest()
    assert 0 <= result["seconds"] < 60
    assert f"{card.name}: writing 9.0 MiB" in said


@pytest.mark.parametrize("words", [[], ["--check"]], ids=["", "check mode"])
def test_a_playbook_tells_in_one_sentence_what_it_refuses(image: Path, tmp_path: Path, words: list[str]) -> None:
    said, _ = play(tmp_path, {"image": str(image), "device": str(tmp_path), "card_gb": 1}, *words)
    assert f"{tmp_path} is a folder, expected a block device" in said
    said, _ = play(tmp_path, {"image": str(image), "card_gb": 1}, *words)
    assert sd_card.which() in said
