"""The kernel catalogue: what comes with rtvirt is right, and what is wrong in one is said in one sentence."""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any

import pytest

from rtvirt_runner.catalogue import collection
from rtvirt_runner.catalogue.checked_yaml import InputError
from rtvirt_runner.catalogue.kernels import load_kernels, read_kernel, select_kernels

GOOD: dict[str, Any] = {
    "architecture": "armhf",
    "source": {"type": "tarball", "url": "https://example.org/linux-4.4.6.tar.xz", "sha256": "a" * 64},
    "patches": [{"url": "https://example.org/patch-4.4.6-rt12.patch.xz"}, {"file": "patches/fix.patch"}],
    "config": {"base": "sunxi_defconfig", "fragments": ["rt.config"]},
    "device_trees": ["sun7i-a20-cubieboard2.dtb"],
    "kernel_params": ["dwc_otg.fiq_enable=0"],
    "expects": {"realtime": True, "release": "-rt12-"},
}


def changed(path: str, value: Any) -> dict[str, Any]:
    """GOOD with one value replaced; ``source.url`` is a path."""
    body = copy.deepcopy(GOOD)
    *parents, last = path.split(".")
    inner = body
    for parent in parents:
        inner = inner[parent]
    inner[last] = value
    return body


def test_an_entry_is_read() -> None:
    kernel = read_kernel("sunxi", GOOD, "kernels.yml: kernels.sunxi")
    assert kernel.built and kernel.image == "zImage" and kernel.prefix == "arm-linux-gnueabihf-"
    assert kernel.expects.realtime and kernel.kernel_params == ("dwc_otg.fiq_enable=0",)


@pytest.mark.parametrize(("architecture", "image"), [("arm64", "Image"), ("armhf", "zImage"), ("amd64", "bzImage")])
def test_the_image_goes_by_the_architecture(architecture: str, image: str) -> None:
    assert read_kernel("sunxi", changed("architecture", architecture), "kernels.yml").image == image


def test_every_entry_that_comes_with_rtvirt_is_good_and_its_fragments_exist() -> None:
    kernels = load_kernels(collection.VARS / "kernels.yml")
    folder = collection.KERNEL_FILES / "config"
    for kernel in kernels.values():
        for fragment in kernel.fragments:
            assert (folder / fragment).is_file(), f"{kernel.name} names {fragment}"
    named = {fragment for kernel in kernels.values() for fragment in kernel.fragments}
    assert {path.name for path in folder.iterdir()} == named, "a fragment that no entry uses is dead"


@pytest.mark.parametrize(
    ("body", "flags"),
    [
        (GOOD, False),  # its archive is linux-4.4.6
        (changed("expects.release", r"^4\.14\.1-"), False),
        (changed("expects.release", r"^4\.15\.0-"), True),
        (changed("expects.release", r"^6\.1\.9-"), True),
        (changed("source.url", "https://example.org/mine.tar.xz"), True),  # nothing tells
        ({**changed("expects.release", r"^4\.14\.1-"), "isolcpus_flags": True}, True),
        ({**changed("expects.release", r"^6\.1\.9-"), "isolcpus_flags": False}, False),
    ],
)
def test_whether_isolcpus_takes_flags_is_said_or_follows_from_the_version(body: dict[str, Any], flags: bool) -> None:
    assert read_kernel("sunxi", body, "kernels.yml").isolcpus_flags is flags


def test_the_period_kernels_get_no_flags_that_they_do_not_know() -> None:
    kernels = load_kernels(collection.VARS / "kernels.yml")
    assert {name for name, kernel in kernels.items() if not kernel.isolcpus_flags} == {
        *("rpi-3.18.16-rt13", "rpi-3.18.16", "rpi-3.18.9-rt5"),
        *("sunxi-4.4.6-rt12", "sunxi-4.4.6-rt11", "sunxi-4.4.6"),
    }


def test_a_pair_of_kernels_differs_in_its_preemption_alone() -> None:
    kernels = load_kernels(collection.VARS / "kernels.yml")
    realtime, mainline = kernels["linux-6.12-rt"], kernels["linux-6.12"]
    assert realtime.source == mainline.source
    assert set(realtime.fragments) ^ set(mainline.fragments) == {"preempt_rt.config", "preempt.config"}


@pytest.mark.parametrize(
    ("path", "value", "says"),
    [
        ("architecture", "arm", r"unknown architecture 'arm', expected one of arm64, armhf, amd64; did you mean"),
        ("sauce", 1, r"unknown key 'sauce'.*did you mean 'source'"),
        ("source.type", "torrent", "unknown type of source 'torrent'"),
        ("source.sha256", "abc", r"source\.sha256 is 'abc', expected 64 hexadecimal digits"),
        ("source.url", "linux.tar", r"source\.url is 'linux.tar', expected an address"),
        (
            "source",
            {"type": "git", "url": "https://example.org/l.git", "commit": "v4.4"},
            "a branch or tag may be moved",
        ),
        ("source", {"type": "debian_source", "suite": "trixie"}, r"source\.package: missing is not a name"),
        (
            "source.signed_sums",
            {"url": "https://example.org/s", "fingerprint": "1"},
            "40 hexadecimal digits of the sig",
        ),
        ("source", {"type": "debian_package", "suite": "trixie", "package": "l"}, "comes ready from a package; remove"),
        (
            "source",
            {"type": "debian_package", "suite": "trixie", "package": "l", "archive": {"url": "https://example.org"}},
            r"source\.archive\.fingerprint is missing, expected the 40 hexadecimal digits",
        ),
        ("patches", {"url": "x"}, r"patches is .*expected a list"),
        ("patches", [{"url": "https://example.org/p", "file": "p"}], r"patches\[1\]: unknown key 'url'"),
        ("config.base", "make this", r"config\.base is 'make this', expected a make target"),
        ("config.fragments", ["a b"], r"fragments\[1\] is 'a b', expected one word"),
        ("toolchain", {"url": "https://example.org/gcc.tar.xz"}, r"toolchain\.prefix is missing, expected text"),
        ("image", "uImage", "unknown image 'uImage'"),
        ("kernel_params", ["isolcpus=1 nohz"], r"kernel_params\[1\] is 'isolcpus=1 nohz', expected one word"),
        ("expects", {"realtime": "yes", "release": "."}, r"expects\.realtime is 'yes', expected true or false"),
        ("expects", {"realtime": True, "release": "("}, "expected a regular expression"),
    ],
)
def test_what_is_wrong_is_said_in_one_sentence(path: str, value: Any, says: str) -> None:
    with pytest.raises(InputError, match=says) as refusal:
        read_kernel("sunxi", changed(path, value), "kernels.yml: kernels.sunxi")
    assert str(refusal.value).startswith("kernels.yml: kernels.sunxi")


@pytest.mark.parametrize(
    ("name", "releases", "others"),
    [
        ("debian-rt-boards", ["6.12.117+deb13-rt-arm64"], ["6.12.117+deb13-arm64"]),
        ("debian-boards", ["6.12.117+deb13-arm64"], ["6.12.117+deb13-rt-arm64"]),
        ("backports-rt", ["7.3.4+deb13-rt-arm64", "10.1+deb13-rt-arm64"], ["6.12.117+deb13-rt-arm64"]),
        ("backports", ["7.3.4+deb13-arm64"], ["7.3.4+deb13-rt-arm64", "6.12.117+deb13-arm64"]),
        ("backports-rt-amd64", ["7.3.4+deb13-rt-amd64"], ["6.12.117+deb13-rt-amd64"]),
        ("rpi-rt", ["6.12.62+rpt-rpi-v8-rt"], ["6.12.62+rpt-rpi-v8", "6.12.62+rpt-rpi-2712"]),
    ],
)
def test_a_packaged_kernel_is_told_from_its_relatives(name: str, releases: list[str], others: list[str]) -> None:
    expected = load_kernels(collection.VARS / "kernels.yml")[name].expects.release
    assert all(re.search(expected, release) for release in releases)
    assert not any(re.search(expected, release) for release in others)


def test_a_name_that_is_not_in_the_catalogue_gets_the_one_that_is_meant() -> None:
    with pytest.raises(InputError, match=r"unknown kernel 'sunxy'.*did you mean 'sunxi'"):
        select_kernels({"sunxi": GOOD}, ["sunxy"], "the kernel catalogue")


def test_a_key_given_twice_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "kernels.yml"
    path.write_text("kernels:\n  one: {architecture: arm64, architecture: armhf}\n")
    with pytest.raises(InputError, match="key 'architecture' is given twice"):
        load_kernels(path)
