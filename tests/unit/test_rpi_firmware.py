"""What the firmware of a Raspberry Pi would load, from tiny files with the right marks in a folder like its card."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from boot_rom import check_table
from hypothesis import given
from hypothesis import strategies as st

from rtvirt_runner.catalogue import collection
from rtvirt_runner.media.rpi_firmware import MODELS, FirmwareError, main, read_settings, resolve

DTB = struct.pack(">II", 0xD00DFEED, 8)
LINE = "root=/dev/mmcblk0p2 rootwait"
# As roles/kernel_boot/files/loader_rpi.sh writes it; above it is what the operator has.
BLOCK = """\
# Made by rtvirt; what is below is its own:
[all]
os_prefix=
kernel=kernels/x-12345678/vmlinuz
cmdline=rtvirt/line-42.txt
auto_initramfs=0
"""


def zimage(marks: str = "") -> bytes:
    """Something with the header of a zImage, which is as long as it says."""
    body = marks.encode()
    return bytes(0x24) + struct.pack("<III", 0x016F2818, 0, 0x30 + len(body)) + body


class Card:
    """The files of a boot partition."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.put("bootcode.bin", "start.elf", "fixup.dat")
        self.put("kernel7.img", content=zimage())
        self.put("bcm2709-rpi-2-b.dtb", content=DTB)
        self.put("cmdline.txt", content=f"{LINE}\nnot read\n")

    def put(self, *names: str, content: bytes | str = b"") -> None:
        for name in names:
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content if isinstance(content, bytes) else content.encode())

    def take(self, *names: str) -> None:
        for name in names:
            (self.folder / name).unlink()

    def config(self, text: str, name: str = "config.txt") -> None:
        self.put(name, content=text)

    def files(self, tryboot: bool = False) -> list[tuple[str, str]]:
        return [(stage, str(path.relative_to(self.folder))) for stage, path in resolve(self.folder, tryboot).files]

    def loaded(self, stage: str) -> list[str]:
        return [path for each, path in self.files() if each == stage]

    def refusal(self, tryboot: bool = False) -> str:
        with pytest.raises(FirmwareError) as refused:
            resolve(self.folder, tryboot)
        return str(refused.value)


@pytest.fixture
def card(tmp_path: Path) -> Card:
    return Card(tmp_path / "boot")


@pytest.fixture
def ours(card: Card) -> Card:
    """A card that kernel_boot has put a kernel of its own on."""
    card.put("kernels/x-12345678/vmlinuz", content=zimage("ours"))
    card.put("rtvirt/line-42.txt", content="root=/dev/mmcblk0p2 isolcpus=3\n")
    return card


def settings(folder: Path, text: str, tryboot: bool = False) -> dict[str, str]:
    (folder / "config.txt").write_text(text)
    return read_settings(folder, tryboot=tryboot).values


# --- what boots -------------------------------------------------------------------------------------------------------


def test_without_config_all_has_its_default_name(card: Card) -> None:
    assert card.files() == [
        ("bootcode", "bootcode.bin"),
        ("start", "start.elf"),
        ("fixup", "fixup.dat"),
        ("kernel", "kernel7.img"),
        ("device_tree", "bcm2709-rpi-2-b.dtb"),
        ("cmdline", "cmdline.txt"),
    ]
    boot = resolve(card.folder)
    assert boot.command_line == LINE
    assert boot.initramfs is None


def test_case_does_not_matter_in_names_of_files(card: Card) -> None:
    card.take("bootcode.bin")
    card.put("BOOTCODE.BIN")
    card.put("Kernels/ZIMAGE", content=zimage())
    card.config("kernel=kernels/zImage\n")
    assert resolve(card.folder).kernel == card.folder / "Kernels/ZIMAGE"


def test_the_block_is_the_one_of_kernel_boot() -> None:
    loader = (collection.ROOT / "roles/kernel_boot/files/loader_rpi.sh").read_text()
    marker, *lines = BLOCK.splitlines()
    assert f"rpi_block='{marker}'" in loader
    assert all(line.partition("=")[0] in loader for line in lines)


def test_what_kernel_boot_writes_is_what_boots(ours: Card) -> None:
    ours.put("initramfs7")
    ours.config(f"os_prefix=old/\nauto_initramfs=1\n[pi3]\n{BLOCK}")
    boot = resolve(ours.folder)
    assert boot.kernel == ours.folder / "kernels/x-12345678/vmlinuz"
    assert boot.device_tree == ours.folder / "bcm2709-rpi-2-b.dtb"
    assert boot.initramfs is None
    assert boot.command_line == "root=/dev/mmcblk0p2 isolcpus=3"


def test_what_kernel_boot_writes_for_a_trial_is_for_tryboot_alone(ours: Card) -> None:
    ours.put("kernels/x-12345678/dtbs/bcm2836-rpi-2-b.dtb", content=DTB)
    ours.put("kernels/x-12345678/initrd.img", content=b"initramfs")
    ours.config("[pi2]\narm_freq=900\n")
    more = (
        "device_tree=kernels/x-12345678/dtbs/bcm2836-rpi-2-b.dtb\n"
        "initramfs kernels/x-12345678/initrd.img followkernel\nkernel_watchdog_timeout=15\n"
    )
    ours.config(f"[pi2]\narm_freq=900\n{BLOCK}{more}", "tryboot.txt")
    assert resolve(ours.folder).kernel == ours.folder / "kernel7.img"
    assert ours.files(tryboot=True) == [
        ("bootcode", "bootcode.bin"),
        ("config", "tryboot.txt"),
        ("start", "start.elf"),
        ("fixup", "fixup.dat"),
        ("kernel", "kernels/x-12345678/vmlinuz"),
        ("device_tree", "kernels/x-12345678/dtbs/bcm2836-rpi-2-b.dtb"),
        ("initramfs", "kernels/x-12345678/initrd.img"),
        ("cmdline", "rtvirt/line-42.txt"),
    ]


def test_what_debian_writes(card: Card) -> None:
    card.take("kernel7.img", "bcm2709-rpi-2-b.dtb")
    card.put("vmlinuz-6.12-armmp", content=zimage())
    card.put("bcm2836-rpi-2-b.dtb", content=DTB)
    card.put("initrd.img-6.12-armmp")
    card.config("enable_uart=1\nupstream_kernel=1\nkernel=vmlinuz-6.12-armmp\ninitramfs initrd.img-6.12-armmp\n")
    boot = resolve(card.folder)
    assert boot.device_tree == card.folder / "bcm2836-rpi-2-b.dtb"
    assert boot.initramfs == card.folder / "initrd.img-6.12-armmp"


# --- config.txt -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "passes"),
    [
        ("", True),
        ("[pi2]", True),
        ("[pi3]", False),
        ("[pi0]", False),
        ("[pi3+]", False),
        ("[cm4s]", False),
        ("[none]", False),
        ("[none]\n[all]", True),
        ("[pi1]\n[pi2]", True),  # of one kind the last one counts
        ("[pi2]\n[pi4]", False),
        ("[pi4]\n[board-type=0x04]", True),
        ("[board-type=0x11]", False),
        ("[tryboot]", False),
        ("[tryboot]\n[pi2]", False),  # those of different kinds must all pass
        ("[EDID=VSC-TD2220]\n[pi2]", False),
        ("[0x12345678]", False),
        ("[gpio4=1]\n[pi2]", False),
        ("[gpio4=1]\n[all]", True),
        (" [pi2]", True),
        ("#[pi3]", True),
        ("[PI2]", False),
    ],
)
def test_sections(tmp_path: Path, text: str, passes: bool) -> None:
    assert ("kernel" in settings(tmp_path, f"{text}\nkernel=it\n")) is passes


def test_the_section_tryboot_passes_with_the_flag(tmp_path: Path) -> None:
    assert settings(tmp_path, "kernel=good\n[tryboot]\nkernel=new\n", tryboot=True) == {"kernel": "new"}


SECTIONS = st.lists(st.sampled_from(["all", "none", "pi1", "pi2", "pi3", "pi4", "tryboot", "gpio4=1"]), max_size=6)


@given(before=SECTIONS, model=st.sampled_from(["pi0", "pi2", "pi3"]))
def test_after_all_only_what_follows_counts(
    tmp_path_factory: pytest.TempPathFactory, before: list[str], model: str
) -> None:
    text = "".join(f"[{section}]\n" for section in [*before, "all", model])
    found = settings(tmp_path_factory.mktemp("boot"), f"{text}kernel=it\n[all]\ncmdline=always\n")
    assert found == {"cmdline": "always"} | ({"kernel": "it"} if model == "pi2" else {})


def test_lines(tmp_path: Path) -> None:
    long = "x" * 200
    text = f"kernel=a\r\nkernel=b\r\n #kernel=c\nKernel=d\nkernel =e\n\nnonsense\ncmdline={long}\n"
    assert settings(tmp_path, text) == {"kernel": "b", "Kernel": "d", "kernel ": "e", "cmdline": "x" * 90}


def test_included_files_stand_in_the_place_of_the_line(card: Card) -> None:
    card.put("test7.img", content=zimage())
    card.config("include user.txt\ninclude gone.txt\n[all]\ninclude more.txt\n[pi3]\ninclude user.txt\n")
    card.config("kernel=gone.img\n[pi3]\n", "user.txt")
    card.config("kernel=test7.img\n", "more.txt")
    assert card.loaded("kernel") == ["test7.img"]
    assert card.loaded("config") == ["config.txt", "user.txt", "more.txt"]


def test_bootcode_reads_no_included_file(card: Card) -> None:
    card.config("include user.txt\n")
    card.config("start_x=1\n", "user.txt")
    assert card.loaded("start") == ["start.elf"]


# --- each stage -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "start", "fixup"),
    [
        ("start_x=1", "start_x.elf", "fixup_x.dat"),
        ("start_x=0", "start.elf", "fixup.dat"),
        ("start_debug=1", "start_db.elf", "fixup_db.dat"),
        ("gpu_mem=16", "start_cd.elf", "fixup_cd.dat"),
        ("gpu_mem=64", "start.elf", "fixup.dat"),
        ("gpu_mem=16\ngpu_mem_1024=128", "start.elf", "fixup.dat"),
        ("gpu_mem_256=16", "start.elf", "fixup.dat"),
        ("[pi4]\nstart_x=1", "start.elf", "fixup.dat"),
        ("os_prefix=x/\nstart_file=mine.elf\nfixup_file=mine.dat", "mine.elf", "mine.dat"),
    ],
)
def test_the_start_file_and_its_pair(card: Card, config: str, start: str, fixup: str) -> None:
    card.put(start, fixup)
    card.config(config)
    assert card.loaded("start") + card.loaded("fixup") == [start, fixup]


def test_a_prefix_is_before_everything_of_the_operating_system(card: Card) -> None:
    card.put("new/kernel7.img", content=zimage())
    card.put("new/bcm2709-rpi-2-b.dtb", content=DTB)
    card.put("new/cmdline.txt", content="quiet\n")
    card.put("new/initrd", "new/overlays/README", "new/overlays/disable-bt.dtbo", "overlays/disable-bt.dtbo")
    card.config("os_prefix=new/\ninitramfs initrd followkernel\ndtoverlay=disable-bt,x=1\n")
    assert [path for _, path in card.files()[4:]] == [
        "new/kernel7.img",
        "new/bcm2709-rpi-2-b.dtb",
        "new/overlays/disable-bt.dtbo",
        "new/initrd",
        "new/cmdline.txt",
    ]


def test_a_prefix_need_not_be_a_folder_and_absolute_names_know_none(card: Card) -> None:
    card.put("test-kernel7.img", content=zimage())
    card.config("os_prefix=test-\ndevice_tree=/bcm2709-rpi-2-b.dtb\ncmdline=/cmdline.txt\n")
    assert card.loaded("kernel") == ["test-kernel7.img"]


def test_a_prefix_without_kernel_or_device_tree_is_ignored(card: Card) -> None:
    card.put("new/kernel7.img", content=zimage())
    card.config("os_prefix=new/\n")
    assert card.loaded("kernel") == ["kernel7.img"]


def test_overlays_are_shared_without_a_readme_under_the_prefix(card: Card) -> None:
    card.put("new/kernel7.img", content=zimage())
    card.put("new/bcm2709-rpi-2-b.dtb", content=DTB)
    card.put("new/cmdline.txt", "mine/a.dtbo", "new/mine/a.dtbo")
    card.config("os_prefix=new/\noverlay_prefix=mine/\ndtoverlay=a\ndtoverlay=\ndtoverlay=gone\n")
    assert card.loaded("overlay") == ["mine/a.dtbo"]


def test_upstreams_kernel_has_a_prefix_and_names_of_its_own(card: Card) -> None:
    card.put("upstream/kernel7.img", content=zimage())
    card.put("upstream/bcm2836-rpi-2-b.dtb", content=DTB)
    card.put("upstream/cmdline.txt")
    card.config("upstream_kernel=1\n")
    assert card.loaded("kernel") + card.loaded("device_tree") == [
        "upstream/kernel7.img",
        "upstream/bcm2836-rpi-2-b.dtb",
    ]


def test_upstreams_kernel_with_the_foundations_tree_has_an_overlay(card: Card) -> None:
    card.put("overlays/upstream.dtbo")
    card.config("upstream_kernel=1\n")
    assert card.loaded("device_tree") + card.loaded("overlay") == ["bcm2709-rpi-2-b.dtb", "overlays/upstream.dtbo"]


def test_an_empty_device_tree_asks_for_none(card: Card) -> None:
    card.config("device_tree=\n")
    assert resolve(card.folder).device_tree is None


def test_an_initramfs_is_found_by_itself_if_there_is_one(card: Card) -> None:
    card.config("auto_initramfs=1\n")
    assert resolve(card.folder).initramfs is None
    card.put("initramfs7")
    assert resolve(card.folder).initramfs == card.folder / "initramfs7"
    card.put("named")
    card.config("auto_initramfs=1\ninitramfs named 0x00800000\n")
    assert resolve(card.folder).initramfs == card.folder / "named"


# --- what it stops at -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("gone", "sentence"),
    [
        ("bootcode.bin", "has no bootcode.bin, which the boot ROM loads first; copy it"),
        ("start.elf", "has no start.elf, which bootcode.bin loads (4 flashes of the LED); copy both"),
        ("fixup.dat", "has no fixup.dat, which belongs to start.elf"),
        ("kernel7.img", "has no kernel7.img, the kernel; put it there, or name in config.txt, behind kernel="),
        ("bcm2709-rpi-2-b.dtb", "has no bcm2709-rpi-2-b.dtb, the device tree; put it there, or name in config.txt"),
        ("cmdline.txt", "has no cmdline.txt, the kernel's command line"),
    ],
)
def test_a_missing_file_is_named(card: Card, gone: str, sentence: str) -> None:
    card.take(gone)
    assert card.refusal().startswith(f"{card.folder} {sentence}")


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        ("gpu_mem=16", "has no start_cd.elf"),
        ("os_prefix=new/\nkernel=k", "has no k, the kernel (os_prefix=new/ is ignored, as kernel and device tree are"),
        ("initramfs gone followkernel", "has no gone, the initramfs; put it there, or take the line"),
        ("initramfs a,b followkernel", "has initramfs a,b, where one name of at most 64 characters is expected"),
        (f"initramfs {'i' * 65}", "where one name of at most 64 characters is expected"),
        ("arm_64bit=1", "says arm_64bit=1, and BCM2836 has 32 bits; take it out"),
        ("include config.txt", "config.txt includes itself, by way of config.txt; take that line out"),
        ("upstream_kernel=1\ndevice_tree=x.dtb", "has no x.dtb, the device tree"),
    ],
)
def test_what_config_asks_for_in_vain_is_named(card: Card, config: str, sentence: str) -> None:
    card.config(config)
    assert sentence in card.refusal()


def test_all_names_of_the_device_tree_are_named(card: Card) -> None:
    card.take("bcm2709-rpi-2-b.dtb")
    card.config("upstream_kernel=1\n")
    assert "has no bcm2836-rpi-2-b.dtb or bcm2709-rpi-2-b.dtb, the device tree" in card.refusal()


@pytest.mark.parametrize(
    ("kernel", "sentence"),
    [
        (b"", "is no ARM zImage"),
        (b"\x1f\x8b" + bytes(100), "is no ARM zImage"),
        (bytes(0x38) + b"ARM\x64" + bytes(8), "is a kernel of 64 bits"),
        (zimage("marks")[:-2], "is cut short: 51 of the 53 bytes that the kernel has by its header; copy it again."),
    ],
)
def test_a_kernel_that_is_none(card: Card, kernel: bytes, sentence: str) -> None:
    card.put("kernel7.img", content=kernel)
    assert card.refusal().startswith(f"{card.folder}/kernel7.img {sentence}")


@pytest.mark.parametrize(
    ("tree", "sentence"),
    [
        (b"/dts-v1/;", "is no device tree, which begins with d00dfeed"),
        (struct.pack(">II", 0xD00DFEED, 100), "is cut short: 8 of the 100 bytes"),
    ],
)
def test_a_device_tree_that_is_none(card: Card, tree: bytes, sentence: str) -> None:
    card.put("bcm2709-rpi-2-b.dtb", content=tree)
    assert card.refusal().startswith(f"{card.folder}/bcm2709-rpi-2-b.dtb {sentence}")


def test_an_automatic_initramfs_on_which_firmwares_differ(card: Card) -> None:
    card.put("initramfs7")
    card.put("kernel7-rt.img", content=zimage())
    card.config("auto_initramfs=1\nkernel=kernel7-rt.img\n")
    assert f"older firmware would load {card.folder}/initramfs7 and newer nothing" in card.refusal()
    card.take("initramfs7")
    assert resolve(card.folder).initramfs is None


def test_a_trial_needs_its_file(card: Card) -> None:
    assert "has no tryboot.txt, which the firmware reads after a reboot with the flag" in card.refusal(tryboot=True)


def test_another_partition_is_not_followed(card: Card) -> None:
    card.config("boot_partition=2\n", "autoboot.txt")
    assert "autoboot.txt may lead to another partition" in card.refusal()


# --- the card ---------------------------------------------------------------------------------------------------------


def image(folder: Path, kind: int = 0x0C, mark: bytes = b"FAT32", at: int = 82, sectors: int = 2) -> Path:
    table = bytearray(1024)
    table[450] = kind
    table[454:462] = struct.pack("<II", 1, sectors)
    table[512 + at : 512 + at + len(mark)] = mark
    table[510:512] = table[1022:1024] = b"\x55\xaa"
    path = folder / "card.img"
    path.write_bytes(table + bytes(512))
    return path


@pytest.mark.parametrize(("kind", "mark", "at"), [(0x0C, b"FAT32", 82), (0x0E, b"FAT16", 54), (0x0B, b"FAT12", 54)])
def test_a_card_that_the_boot_rom_reads(tmp_path: Path, kind: int, mark: bytes, at: int) -> None:
    check_table(image(tmp_path, kind, mark, at))


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"kind": 0x83}, "has type 0x83, where the boot ROM expects FAT (0x04, 0x06, 0x0b, 0x0c, 0x0e); make it 0x0c."),
        ({"kind": 0xEE}, "has a GPT, and the boot ROM reads an MBR only; partition it with one."),
        ({"mark": b"NTFS"}, "holds no FAT, which is all that the boot ROM reads; format it with mkfs.vfat."),
        ({"sectors": 9}, "is cut short: partition 1 ends at byte 5120, and it has 1536; make it again."),
    ],
)
def test_a_card_that_it_does_not_read(tmp_path: Path, wrong: dict[str, int], sentence: str) -> None:
    with pytest.raises(FirmwareError) as refused:
        check_table(image(tmp_path, **wrong))
    assert str(refused.value).endswith(sentence)


def test_a_card_without_a_table(tmp_path: Path) -> None:
    (tmp_path / "card.img").write_bytes(bytes(100))
    with pytest.raises(FirmwareError, match="has no MBR, which tells the boot ROM where to boot"):
        check_table(tmp_path / "card.img")


# --- the command line -------------------------------------------------------------------------------------------------


def test_what_qemu_needs_is_written_at_each_reset(
    ours: Card, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ours.put("kernels/x-12345678/initrd.img", content=b"initramfs")
    ours.config(f"{BLOCK}initramfs kernels/x-12345678/initrd.img followkernel\n", "tryboot.txt")
    out = tmp_path / "new/out"
    assert main([str(ours.folder), str(out), "--tryboot"]) == 0
    assert capsys.readouterr().out == "rtvirt: booting kernels/x-12345678/vmlinuz (trial)\n"
    assert {path.name: path.read_bytes() for path in out.iterdir()} == {
        "kernel": zimage("ours"),
        "device_tree": DTB,
        "initramfs": b"initramfs",
        "cmdline": b"root=/dev/mmcblk0p2 isolcpus=3\n",
    }
    assert main([str(ours.folder), str(out)]) == 0
    assert capsys.readouterr().out == "rtvirt: booting kernel7.img (default)\n"
    assert sorted(path.name for path in out.iterdir()) == ["cmdline", "device_tree", "kernel"]


def test_what_cannot_boot_leaves_nothing_of_the_boot_before(
    card: Card, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(card.folder), str(tmp_path)]) == 0
    card.take("kernel7.img")
    assert main([str(card.folder), str(tmp_path)]) == 2
    assert capsys.readouterr().err.startswith(f"rtvirt: {card.folder} has no kernel7.img, the kernel; put it there")
    assert not (tmp_path / "kernel").exists()


# ------------------------------------------------------------------------------------------------------- later models

IMAGE = bytes(0x38) + b"ARM\x64" + bytes(8)
U_BOOT = b"\x14\x00\x00\x14" + bytes(0x40)


def later(folder: Path, files: dict[str, bytes | str]) -> Card:
    card = Card(folder)
    card.take("bootcode.bin", "start.elf", "fixup.dat", "kernel7.img", "bcm2709-rpi-2-b.dtb", "cmdline.txt")
    for name, content in files.items():
        card.put(name, content=content)
    return card


def stages(card: Card, model: str) -> list[tuple[str, str]]:
    found = resolve(card.folder, model=MODELS[model])
    return [(stage, str(path.relative_to(card.folder))) for stage, path in found.files]


def test_a_pi_4_starts_a_u_boot_which_has_its_own_command_line(tmp_path: Path) -> None:
    config = "kernel=other.bin\n[pi2]\nkernel=kernel7.img\n[pi4]\nkernel=u-boot.bin\n"
    files = {"start4.elf": b"", "fixup4.dat": b"", "bcm2711-rpi-4-b.dtb": DTB, "u-boot.bin": U_BOOT}
    card = later(tmp_path / "boot", {**files, "config.txt": config})
    assert stages(card, "4") == [
        ("config", "config.txt"),
        ("start", "start4.elf"),
        ("fixup", "fixup4.dat"),
        ("kernel", "u-boot.bin"),
        ("device_tree", "bcm2711-rpi-4-b.dtb"),
    ]
    assert resolve(card.folder, model=MODELS["4"]).command_line == ""
    card.config(config + "start_x=1\n")
    with pytest.raises(FirmwareError, match=r"no start4x\.elf, which the board's own boot loader loads"):
        stages(card, "4")


def test_a_pi_5_loads_config_kernel_device_tree_initramfs_and_command_line(tmp_path: Path) -> None:
    files = {
        "config.txt": BLOCK + "initramfs kernels/x-12345678/initrd.img followkernel\n",
        "kernels/x-12345678/vmlinuz": IMAGE,
        "kernels/x-12345678/initrd.img": b"",
        "bcm2712-rpi-5-b.dtb": DTB,
        "rtvirt/line-42.txt": LINE,
    }
    card = later(tmp_path / "boot", dict(files))
    assert stages(card, "5") == [
        ("config", "config.txt"),
        ("kernel", "kernels/x-12345678/vmlinuz"),
        ("device_tree", "bcm2712-rpi-5-b.dtb"),
        ("initramfs", "kernels/x-12345678/initrd.img"),
        ("cmdline", "rtvirt/line-42.txt"),
    ]
    card.take("rtvirt/line-42.txt")
    with pytest.raises(FirmwareError, match=r"no rtvirt/line-42\.txt, the kernel's command line"):
        stages(card, "5")


def test_a_kernel_of_32_bits_is_refused_where_64_are_expected(tmp_path: Path) -> None:
    files = {"start4.elf": b"", "fixup4.dat": b"", "bcm2711-rpi-4-b.dtb": DTB, "kernel8.img": zimage()}
    card = later(tmp_path / "boot", {**files, "config.txt": "", "cmdline.txt": LINE})
    with pytest.raises(FirmwareError, match=r"kernel8\.img is no kernel of 64 bits, which a Raspberry Pi 4 starts"):
        stages(card, "4")
    card.put("kernel8.img", content=IMAGE)
    assert ("kernel", "kernel8.img") in stages(card, "4")
    card.config("arm_64bit=0\n")
    with pytest.raises(FirmwareError, match="says arm_64bit=0, and a Raspberry Pi 4 is expected to start a kernel of"):
        stages(card, "4")
