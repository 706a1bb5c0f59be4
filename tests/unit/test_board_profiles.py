"""Board profiles: those that come with rtvirt, a lab's own, and what is said of one that is wrong."""

from pathlib import Path

import pytest
import yaml

from rtvirt_runner.catalogue import collection
from rtvirt_runner.catalogue.board_profiles import Profile, load_profile, read_profile
from rtvirt_runner.catalogue.checked_yaml import InputError
from rtvirt_runner.catalogue.kernels import load_kernels

NAMES = sorted(path.stem for path in collection.PROFILES.glob("*.yml"))
OURS = """\
title: A board of ours
architecture: armhf
kernel: linux-6.1-rt-armhf
table: dos
roots: [/dev/mmcblk0p2]
console: ttyS0,115200
loader: {name: u_boot, packages: [u-boot-sunxi], blobs: {8: usr/lib/u-boot/Bananapi/u-boot-sunxi-with-spl.bin}}
"""


def ours(**changes: object) -> Profile:
    return read_profile("ours", {**yaml.safe_load(OURS), **changes}, "ours.yml")


def test_the_boards_of_the_paper_their_relatives_and_a_pc_are_there() -> None:
    assert [
        *("cubieboard2", "grub_x86_64", "orangepi_pc", "rockpro64", "rpi2", "rpi4", "rpi5"),
        *("uefi_arm64", "uefi_x86_64", "virt_arm64"),
    ] == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_each_is_whole_and_fits_its_kernel(name: str) -> None:
    profile = load_profile(name, [collection.PROFILES])
    kernel = load_kernels(collection.VARS / "kernels.yml")[profile.kernel]
    assert kernel.architecture == profile.architecture
    named = [profile.device_tree.removeprefix("dtbs/")] if kernel.device_trees and profile.device_tree else []
    assert {*named, *profile.loader["device_trees"].values()} <= set(kernel.device_trees)


def test_a_lab_brings_its_own(tmp_path: Path) -> None:
    (tmp_path / "ours.yml").write_text(OURS)
    profile = load_profile("ours", [tmp_path, collection.PROFILES])
    assert profile.title == "A board of ours"
    assert profile.loader["blobs"] == {"8": "usr/lib/u-boot/Bananapi/u-boot-sunxi-with-spl.bin"}
    assert (profile.boot_mib, profile.kernel_params, profile.device_tree) == (128, [], "")


def test_a_lab_may_put_its_own_in_the_place_of_ours(tmp_path: Path) -> None:
    (tmp_path / "rpi2.yml").write_text(OURS)
    assert load_profile("rpi2", [tmp_path, collection.PROFILES]).title == "A board of ours"


def test_a_name_that_is_none_is_told_with_the_one_that_was_meant(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"unknown profile 'cubieboard', expected one of .*; did you mean 'cubieboard2'\?"
    ):
        load_profile("cubieboard", [tmp_path, collection.PROFILES])


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"architecture": "arm"},
            r"ours.yml: architecture: unknown architecture 'arm', expected one of arm64, armhf, amd64",
        ),
        ({"table": "mbr"}, r"ours.yml: table: unknown table 'mbr', expected one of gpt, dos"),
        ({"roots": []}, r"ours.yml: roots has 0 entries, expected one or two"),
        ({"roots": ["a", "b"], "guest_mib": 800}, r"roots names two beside root_mib or guest_mib, expected neither"),
        ({"boot_mib": 16}, r"ours.yml: boot_mib is 16, expected a whole number from 34 to 4096"),
        (
            {"loader": {"name": "lilo"}},
            r"ours.yml: loader.name: unknown loader 'lilo', expected one of u_boot, rpi, grub",
        ),
        (
            {"loader": {"name": "u_boot", "blobs": {2048: "x"}}},
            r"where 'x' goes, in KiB is 2048, expected .* from 1 to 1023",
        ),
        (
            {"first_mib": 16, "loader": {"name": "u_boot", "blobs": {8192: "x", 16384: "y"}}},
            r"loader.blobs: where 'y' goes, in KiB is 16384, expected .* from 1 to 16383",
        ),
        (
            {"loader": {"name": "grub"}},
            r"loader.targets is .*, expected some of i386-pc, x86_64-efi, arm64-efi for",
        ),
        ({"loader": {"name": "rpi", "targets": ["arm64-efi"]}}, r"loader.targets is .*, and none for another"),
        (
            {"loader": {"name": "grub", "targets": ["arm-efi"]}},
            r"loader.targets: unknown target of GRUB 'arm-efi', expected one of .*; did you mean 'arm64-efi'",
        ),
        (
            {"u_boot_env": {"ramdisk_addr_r": "0x1 0x2"}},
            r"u_boot_env.ramdisk_addr_r is '0x1 0x2', expected a value with",
        ),
        ({"partitions": 3}, r"ours.yml: unknown key 'partitions', expected one of title, architecture"),
        ({"kernel_params": "quiet"}, r"ours.yml: kernel_params is 'quiet', expected a list of points"),
    ],
)
def test_what_is_wrong_is_said_in_one_sentence(changes: dict[str, object], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        ours(**changes)


def test_what_is_missing_is_named() -> None:
    body = yaml.safe_load(OURS)
    del body["console"]
    with pytest.raises(InputError, match=r"ours.yml: console is missing, expected all of title, architecture, kernel"):
        read_profile("ours", body, "ours.yml")
