"""Cards of boards that nobody here has: byte by byte what they hold, and that the same inputs give the same bytes."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boot_rom
import pytest

from rtvirt_runner.build import artifacts
from rtvirt_runner.catalogue import board_profiles, collection
from rtvirt_runner.media import rpi_firmware

pytestmark = [
    pytest.mark.slow(
        exercises=[
            "roles/board_image",
            "roles/kernel_boot/files",
            "rtvirt_runner/media/sd_card.py",
            "rtvirt_runner/media/rpi_firmware.py",
            "rtvirt_runner/catalogue/board_profiles.py",
        ]
    ),
    pytest.mark.asserts_on("cards"),
    pytest.mark.xdist_group("card images"),
]
MIB = 1 << 20
SECTOR = 512
ELF_MACHINE_ARM = 40
BOOT_AT = MIB
FILES = collection.ROOT / "roles/board_image/files"
ROOT_FOLDERS = ("/etc", "/root", "/home", "/srv", "/opt", "/var/lib", "/usr/local")  # where secrets of a system are
BOARDS: dict[str, Any] = {
    "cb2": {"board_image_profile": "cubieboard2"},
    "another": {"board_image_profile": "cubieboard2"},
    "opi": {"board_image_profile": "orangepi_pc"},
    "pi": {"board_image_profile": "rpi2"},
    "pi4": {"board_image_profile": "rpi4"},
    "pi5": {"board_image_profile": "rpi5"},
    "rockpro": {"board_image_profile": "rockpro64"},
}
# Once more a card for cb2, which has its keys by now.
AGAIN = {
    "board_image_profile": "cubieboard2",
    "board_image_name": "cb2",
    "board_image_card": "{{ inventory_dir }}/again/cb2.img",
}
LAB = {"boards": {"hosts": BOARDS}, "again": {"hosts": {"cb2-again": AGAIN}}}
PLAY = """\
- name: Cards of {group}
  hosts: {group}
  gather_facts: false
  tasks:
    - name: Make the card
      ansible.builtin.include_role:
        name: rtvirt.testbed.board_image
        tasks_from: card
    - name: Tell where its image is
      ansible.builtin.copy:
        content: "{{{{ board_image_base.path }}}}"
        dest: "{{{{ inventory_dir }}}}/{{{{ inventory_hostname }}}}.image"
        mode: "0644"
      delegate_to: localhost
"""


@dataclass(frozen=True)
class Image:
    """The image of a kind of board: its artifact's folder."""

    folder: Path

    @property
    def card(self) -> Path:
        return self.folder / "card.img"

    @property
    def boot_at(self) -> int:
        return int((self.folder / "first_mib").read_text()) * MIB

    @property
    def root_at(self) -> int:
        return self.boot_at + int((self.folder / "boot_mib").read_text()) * MIB

    @property
    def manifest(self) -> dict[str, Any]:
        manifest: dict[str, Any] = json.loads((self.folder / "manifest.json").read_text())
        return manifest

    @property
    def loader(self) -> Path:
        return Path(self.manifest["needs"]["LOADER"])

    def debugfs(self, request: str) -> str:
        """Ask the root file system."""
        command = ["debugfs", "-R", request, f"{self.card}?offset={self.root_at}"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    def place(self, at: int) -> str:
        """What a byte of a card belongs to, for people."""
        if at < SECTOR:
            return f"byte {at}, the partition table"
        if at < BOOT_AT:
            return f"byte {at}, before the first partition"
        if at < self.root_at:
            return f"byte {at}, the boot partition"
        block_bytes = int(re.findall(r"Block size: +(\d+)", self.debugfs("stats -h"))[0])
        block = (at - self.root_at) // block_bytes
        inode = self.debugfs(f"icheck {block}").split()[-1]
        path = self.debugfs(f"ncheck {inode}").split("\t")[-1].strip() if inode.isdigit() else "its metadata"
        return f"byte {at}, block {block} of the root: {path}"


@dataclass(frozen=True)
class Lab:
    """The cards that the role made."""

    folder: Path

    def card(self, board: str) -> Path:
        return self.folder / "cards" / f"{board}.img"

    def image(self, board: str) -> Image:
        return Image(Path((self.folder / f"{board}.image").read_text()))

    def boot_files(self, board: str) -> Path:
        """The files of a card's boot partition."""
        there = self.folder / "boot" / board
        if not there.exists():
            there.mkdir(parents=True)
            subprocess.run(
                ["mcopy", "-s", "-n", "-Q", "-i", f"{self.card(board)}@@{self.image(board).boot_at}", "::/", there],
                check=True,
            )
        return there


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A lab with a card for each board. Cards are large, so nothing of it stays."""
    folder = tmp_path_factory.mktemp("lab")
    (folder / "hosts.json").write_text(json.dumps(LAB))
    again = PLAY.format(group="again").replace(
        "tasks_from: card\n",
        'tasks_from: card\n      vars: {board_image_identity: "{{ inventory_dir }}/identity/cb2"}\n',
    )
    (folder / "cards.yml").write_text(PLAY.format(group="boards") + again)
    command = [Path(sys.executable).parent / "ansible-playbook", "-i", "hosts.json", "cards.yml"]
    env = {**os.environ, "ANSIBLE_CONFIG": str(collection.ANSIBLE_CONFIG)}
    try:
        subprocess.run(command, cwd=folder, env=env, stdin=subprocess.DEVNULL, check=True)
        yield Lab(folder)
    finally:
        shutil.rmtree(folder)


def differences(one: Path, other: Path) -> Iterator[int]:
    """Where two cards differ: the first byte of each sector that does."""
    assert one.stat().st_size == other.stat().st_size
    with one.open("rb") as left, other.open("rb") as right:
        for at in range(0, one.stat().st_size, MIB):
            a, b = left.read(MIB), right.read(MIB)
            if a != b:
                yield from (at + s for s in range(0, len(a), SECTOR) if a[s : s + SECTOR] != b[s : s + SECTOR])


def tree(folder: Path) -> dict[str, bytes]:
    """The files below a folder by their path there."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def different_files(one: Path, other: Path) -> set[str]:
    left, right = tree(one), tree(other)
    return {name for name in left.keys() | right.keys() if left.get(name) != right.get(name)}


def entry(boot: Path) -> dict[str, str]:
    """The default entry of a boot partition."""
    return dict(line.split("=", 1) for line in (boot / "rtvirt/default.env").read_text().splitlines())


# ---------------------------------------------------------- a Cubieboard 2's card, by its relative's that QEMU can boot


def test_the_image_of_a_cubieboard2_differs_from_an_orange_pi_pc_s_in_the_boot_loader_alone(lab: Lab) -> None:
    cubieboard, orange = lab.image("cb2"), lab.image("opi")
    blobs = [(image.loader / "raw" / "8").read_bytes() for image in (cubieboard, orange)]
    loader_at, loader_end = 8 * 1024, 8 * 1024 + max(map(len, blobs))
    assert loader_end < BOOT_AT
    elsewhere = [at for at in differences(cubieboard.card, orange.card) if not loader_at <= at < loader_end]
    assert [cubieboard.place(at) for at in elsewhere[:10]] == []
    for image, blob in zip((cubieboard, orange), blobs, strict=True):
        with image.card.open("rb") as card:
            card.seek(loader_at)
            assert card.read(len(blob)) == blob
        assert blob[4:12] == b"eGON.BT0"  # what the chips' boot ROM looks for
    assert different_files(cubieboard.folder / "boot", orange.folder / "boot") == set()


def test_their_boards_boot_partitions_differ_in_device_tree_watchdog_names_and_keys(lab: Lab) -> None:
    cubieboard, orange = lab.boot_files("cb2"), lab.boot_files("opi")
    assert different_files(cubieboard, orange) == {
        "identity/authorized_keys",
        "identity/ssh_host_ed25519_key",
        "rtvirt/board.env",
        "rtvirt/default.env",
    }
    entries = {"cb2": entry(cubieboard), "opi": entry(orange)}
    differ = {name for name in entries["cb2"] if entries["cb2"][name] != entries["opi"].get(name)}
    assert (differ, entries["cb2"].keys()) == ({"rtvirt_fdt", "bootargs"}, entries["opi"].keys())
    assert entries["cb2"]["bootargs"].replace("=cb2 ", "=opi ") == entries["opi"]["bootargs"]
    for board, boot in (("cb2", cubieboard), ("opi", orange)):
        profile = board_profiles.load_profile(BOARDS[board]["board_image_profile"], [collection.PROFILES])
        assert entries[board]["rtvirt_fdt"] == profile.device_tree
        kernel = boot / entries[board]["rtvirt_folder"].lstrip("/")
        assert (kernel / profile.device_tree).read_bytes()[:4] == b"\xd0\x0d\xfe\xed"
        assert (boot / "rtvirt/board.env").read_text() == f"rtvirt_arm_watchdog={profile.arm_watchdog}\n"


def test_cards_of_two_boards_of_a_kind_differ_in_the_boot_partition_by_names_and_keys(lab: Lab) -> None:
    image = lab.image("cb2")
    assert lab.image("another") == image
    places = list(differences(lab.card("cb2"), lab.card("another")))
    assert [image.place(at) for at in places if not BOOT_AT <= at < image.root_at][:10] == []
    boots = [lab.boot_files(board) for board in ("cb2", "another")]
    names = {"identity/authorized_keys", "identity/ssh_host_ed25519_key", "rtvirt/default.env"}
    assert different_files(*boots) == names
    one, other = (entry(boot)["bootargs"] for boot in boots)
    assert one.replace("systemd.hostname=cb2 ", "systemd.hostname=another ") == other


# -------------------------------------------------------------------------------------------- the same inputs, the same


def test_the_same_inputs_give_the_same_image(lab: Lab) -> None:
    image = lab.image("cb2")
    with tempfile.TemporaryDirectory() as cache:
        overlays = image.manifest["inputs"]["OVERLAYS"].split()
        recipe = artifacts.Recipe(
            name=image.manifest["name"],
            script=FILES / "build_image.sh",
            inputs=image.manifest["inputs"],
            needs=image.manifest["needs"],
            sources=[FILES / overlay for overlay in overlays],
            as_root=True,
        )
        assert recipe.key == image.manifest["key"]
        again = Image(artifacts.build(recipe, Path(cache), print).path)
        assert [image.place(at) for at in list(differences(image.card, again.card))[:10]] == []
        assert different_files(image.folder, again.folder) <= {"manifest.json"}  # it says how long it took


def test_the_same_keys_and_image_give_the_same_card(lab: Lab) -> None:
    image = lab.image("cb2")
    places = list(differences(lab.card("cb2"), lab.folder / "again/cb2.img"))
    assert [image.place(at) for at in places[:10]] == []


# ---------------------------------------------------------------------------------------------------------- its secrets


@pytest.mark.parametrize("board", ["cb2", "pi"])
def test_the_image_that_boards_share_holds_no_secret(lab: Lab, board: str) -> None:
    image = lab.image(board)
    with image.card.open("rb") as card:
        card.seek(BOOT_AT)
        assert not any(card.read(image.root_at - BOOT_AT))  # each board's is made for it
    assert different_files(image.folder / "boot/kernels", lab.boot_files(board) / "kernels") == set()
    with tempfile.TemporaryDirectory() as folder:
        for name in ROOT_FOLDERS:
            (Path(folder) / name.strip("/")).parent.mkdir(parents=True, exist_ok=True)
            image.debugfs(f"rdump {name} {(Path(folder) / name.strip('/')).parent}")
        files = {name: content for name, content in tree(Path(folder)).items() if not Path(folder, name).is_symlink()}
    assert "etc/ssh/sshd_config" in files
    assert [name for name, content in files.items() if b"PRIVATE KEY-----" in content] == []
    assert [name for name in files if re.search(r"ssh_host_|authorized_keys|known_hosts|random-seed", name)] == []
    assert files["etc/machine-id"] == b""
    passwords = [line.split(":")[1] for line in files["etc/shadow"].decode().splitlines()]
    assert set(passwords) <= {"*", "!", "!*"}


@pytest.mark.parametrize("board", ["cb2", "opi", "pi"])
def test_a_card_has_its_keys_in_the_boot_partition_and_is_read_by_its_owner_alone(lab: Lab, board: str) -> None:
    image, card, identity = lab.image(board), lab.card(board), lab.folder / "identity" / board
    outside = [at for at in differences(card, image.card) if not BOOT_AT <= at < image.root_at]
    assert [image.place(at) for at in outside[:10]] == []
    keys = lab.boot_files(board) / "identity"
    assert {path.name for path in keys.iterdir()} == {"ssh_host_ed25519_key", "authorized_keys"}
    for path in keys.iterdir():
        assert path.read_bytes() == (identity / path.name).read_bytes()
    with card.open("rb") as file:
        file.seek(BOOT_AT)
        ours = (identity / "client_key").read_bytes().splitlines()[2]  # the key by which we come stays with us
        assert ours not in file.read(image.root_at - BOOT_AT)
    assert (card.stat().st_mode & 0o777, card.parent.stat().st_mode & 0o777) == (0o600, 0o700)


def test_of_the_machine_that_made_it_a_root_file_system_holds_no_program(lab: Lab) -> None:
    rootfs = Path(lab.image("cb2").manifest["needs"]["ROOTFS"])
    machines: dict[int, list[str]] = {}
    with tarfile.open(rootfs / "rootfs.tar") as tar:
        names = tar.getnames()
        for member in tar:
            if member.isreg() and re.match(r"\./usr/(s?bin|lib|libexec)/", member.name):
                file = tar.extractfile(member)
                head = file.read(20) if file else b""
                if head.startswith(b"\x7fELF"):
                    machines.setdefault(int.from_bytes(head[18:20], "little"), []).append(member.name)
    assert len(machines.pop(ELF_MACHINE_ARM)) > 500
    assert machines == {}
    assert [name for name in names if name.endswith(".distrib")] == []


def test_the_root_file_system_is_sound_and_made_to_grow(lab: Lab) -> None:
    image = lab.image("cb2")
    subprocess.run(["e2fsck", "-f", "-n", f"{image.card}?offset={image.root_at}"], check=True)
    facts = image.debugfs("stats -h")
    assert re.search(r"Block size: +4096\n", facts)  # also of a root that is small at first
    assert "resize_inode" in facts


# --------------------------------------------------------------------------------------- a Raspberry Pi 2, step by step


def test_a_raspberry_pi_s_boot_rom_and_firmware_find_all_that_they_look_for(lab: Lab) -> None:
    boot_rom.check_table(lab.card("pi"))
    boot = lab.boot_files("pi")
    found = rpi_firmware.resolve(boot)
    stages = [(stage, str(path.relative_to(boot))) for stage, path in found.files]
    default = entry(boot)
    folder = default["rtvirt_folder"].lstrip("/")
    line = next((boot / "rtvirt").glob("line-*.txt"))
    assert stages == [
        ("bootcode", "bootcode.bin"),
        ("config", "config.txt"),
        ("start", "start.elf"),
        ("fixup", "fixup.dat"),
        ("kernel", f"{folder}/vmlinuz"),
        ("device_tree", f"{folder}/{default['rtvirt_fdt']}"),
        ("cmdline", f"rtvirt/{line.name}"),
    ]
    assert found.command_line == default["bootargs"]
    assert "root=/dev/mmcblk0p2 " in found.command_line and " systemd.hostname=pi " in found.command_line
    assert found.initramfs is None and default["rtvirt_initrd"] == ""


def test_a_raspberry_pi_s_firmware_is_debian_s(lab: Lab) -> None:
    boot, loader = lab.boot_files("pi"), lab.image("pi").loader
    for name in ("bootcode.bin", "start.elf", "fixup.dat"):
        assert (boot / name).read_bytes() == (loader / "boot" / name).read_bytes() != b""
    packages = json.loads((loader / "manifest.json").read_text())["inputs"]
    assert (packages["PACKAGES"], packages["COMPONENT"]) == ("raspi-firmware", "non-free-firmware")
    assert (boot / "start.elf").read_bytes()[:4] == b"\x7fELF"


# ------------------------------------------------------------------------------------------------------- today's boards

STAGES = {
    "pi4": ["config", "start", "fixup", "kernel", "device_tree"],
    "pi5": ["config", "kernel", "device_tree", "initramfs", "cmdline"],
}


@pytest.mark.parametrize("board", STAGES)
def test_a_later_raspberry_pi_s_firmware_finds_all_that_it_looks_for(lab: Lab, board: str) -> None:
    boot_rom.check_table(lab.card(board))
    boot = lab.boot_files(board)
    found = rpi_firmware.resolve(boot, model=rpi_firmware.MODELS[board[-1]])
    assert [stage for stage, _ in found.files] == STAGES[board]
    kernel = str(found.kernel.relative_to(boot))
    default = entry(boot)
    if board == "pi5":
        assert kernel == f"{default['rtvirt_folder'].lstrip('/')}/vmlinuz"
        assert found.command_line == default["bootargs"]
        assert "root=LABEL=root " in found.command_line
    else:
        assert kernel == "u-boot.bin"
        lines = (boot / "rtvirt/board.env").read_text().splitlines()
        assert lines[1:] == ["ramdisk_addr_r=0x0a000000"]


def test_a_rockpro64_s_boot_rom_and_its_loader_find_what_they_look_for(lab: Lab) -> None:
    image = lab.image("rockpro")
    profile = board_profiles.load_profile("rockpro64", [collection.PROFILES])
    at = {int(kib) * 1024: (image.loader / "raw" / kib).read_bytes() for kib in profile.loader["blobs"]}
    assert sorted(at) == [64 * SECTOR, 16384 * SECTOR]  # sectors of U-Boot's documentation of Rockchip boards
    with lab.card("rockpro").open("rb") as card:
        for place, blob in at.items():
            card.seek(place)
            assert card.read(len(blob)) == blob
            assert place + len(blob) < image.boot_at
    boot = lab.boot_files("rockpro")
    default = entry(boot)
    assert (boot / default["rtvirt_folder"].lstrip("/") / default["rtvirt_fdt"]).read_bytes()[:4] == b"\xd0\x0d\xfe\xed"


@pytest.mark.parametrize("board", ["pi4", "rockpro"])
def test_the_kernels_initramfs_loads_what_the_slot_of_the_card_needs(lab: Lab, board: str) -> None:
    boot = lab.boot_files(board)
    content = (boot / entry(boot)["rtvirt_folder"].lstrip("/") / "initrd.img").read_bytes()
    driver = {"pi4": b"modules/sdhci-iproc.ko", "rockpro": b"modules/dw_mmc-rockchip.ko"}[board]
    assert driver in content
