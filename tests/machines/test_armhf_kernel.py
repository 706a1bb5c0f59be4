"""The small 32-bit kernel, made by the role, boots on the boards that QEMU has of its kind, and is PREEMPT_RT there."""

import re
import subprocess
import threading
from dataclasses import dataclass
from pathlib import Path

import pytest
from playing import count_boot, make

from rtvirt_runner.build import artifacts
from rtvirt_runner.build.artifacts import Recipe
from rtvirt_runner.catalogue import collection
from rtvirt_runner.catalogue.kernels import load_kernels

pytestmark = [
    pytest.mark.slow(
        exercises=[
            "roles/kernel_build",
            "playbooks/vars/kernels.yml",
            "rtvirt_runner/build/kernels.py",
            "rtvirt_runner/build/kconfig.py",
        ]
    ),
    pytest.mark.asserts_on("booting"),
    pytest.mark.xdist_group("armhf kernel"),
]
HERE = Path(__file__).parent
NAME = "linux-6.1-rt-armhf"
BOOT_LIMIT_S = 300.0


@dataclass(frozen=True)
class Machine:
    """A machine of QEMU, and what of it the kernel must find."""

    name: str
    device_tree: str
    console: str
    network: tuple[str, ...]  # QEMU's words
    model: str
    ethernet: str  # drivers
    watchdog: str


MACHINES = [
    Machine(
        name="orangepi-pc",
        device_tree="sun8i-h3-orangepi-pc.dtb",
        console="ttyS0",
        network=("-nic", "user,restrict=on"),
        model="Xunlong Orange Pi PC",
        ethernet="dwmac-sun8i",
        watchdog="sunxi-wdt",
    ),
    Machine(
        name="raspi2b",
        device_tree="bcm2836-rpi-2-b.dtb",
        console="ttyAMA0",
        network=("-netdev", "user,id=net,restrict=on", "-device", "usb-net,netdev=net,mac=40:54:00:12:34:57"),
        model="Raspberry Pi 2 Model B",
        ethernet="cdc_ether",  # QEMU has no smsc95xx, which the board has behind the same USB controller
        watchdog="bcm2835-wdt",
    ),
]


@dataclass(frozen=True)
class Made:
    """Folders of QEMU and the kernel, and an initramfs that says what it runs on."""

    qemu: Path
    kernel: Path
    initramfs: Path


@pytest.fixture(scope="module")
def made(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Everything that a boot needs, from the cache or made now: then its progress is shown, as it takes minutes."""
    folder = tmp_path_factory.mktemp("armhf")
    with pytestconfig.pluginmanager.getplugin("capturemanager").global_and_fixture_disabled():
        where = "kernel_build_artifacts.results[0].path"
        qemu, kernel = make(folder, "kernel_build", where, {"kernel_build_names": [NAME]})
    recipe = Recipe(
        name="test-initramfs-armhf",
        script=HERE / "armhf_initramfs.sh",
        inputs={"SUITE": "bookworm"},
        needs={"KERNEL": str(kernel)},
        sources=[HERE / "armhf_init.sh"],
        settings={"INIT": str(HERE / "armhf_init.sh")},
        as_root=True,
    )
    initramfs = artifacts.build(recipe, artifacts.cache_folder(), print).path / "initrd.img"
    return Made(qemu, kernel, initramfs)


def boot(machine: Machine, made: Made, folder: Path) -> dict[str, str]:
    """Boot the kernel on a machine; prints the console, returns what its init said there."""
    card = folder / "card.img"
    with card.open("wb") as file:
        file.truncate(64 << 20)  # QEMU takes powers of two alone
    devices = ["-drive", f"if=sd,format=raw,file={card}", "-dtb", str(made.kernel / "dtbs" / machine.device_tree)]
    return said_by(made, machine.console, "-M", machine.name, *machine.network, *devices)


def said_by(made: Made, console: str, *machine: str) -> dict[str, str]:
    """Boot the kernel on the machine that these words of QEMU describe, and listen."""
    command = [
        *(str(made.qemu / "bin/qemu-system-aarch64"), *machine, "-display", "none", "-monitor", "none"),
        *("-serial", "stdio", "-no-reboot", "-kernel", str(made.kernel / "vmlinuz"), "-initrd", str(made.initramfs)),
        *("-append", f"console={console} panic=-1 rdinit=/init"),
    ]
    facts: dict[str, str] = {}
    count_boot("armhf")
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, errors="replace"
    ) as qemu:
        assert qemu.stdout
        limit = threading.Timer(BOOT_LIMIT_S, qemu.kill)
        limit.start()
        for line in qemu.stdout:
            print(line, end="")
            if match := re.search(r"rtvirt: (\w+)=(.*)", line):
                facts[match[1]] = match[2].strip()
            if "end" in facts:
                break
        limit.cancel()
        qemu.kill()
    return facts


@pytest.mark.parametrize("machine", MACHINES, ids=lambda machine: machine.name)
def test_it_boots_and_finds_its_board(machine: Machine, made: Made, tmp_path: Path) -> None:
    facts = boot(machine, made, tmp_path)
    assert "PREEMPT_RT" in facts["version"]
    assert facts["realtime"] == "1"
    assert facts["release"] == (made.kernel / "release").read_text().strip()
    assert re.search(load_kernels(collection.VARS / "kernels.yml")[NAME].expects.release, facts["release"])
    assert facts["model"] == machine.model
    assert facts["online"] == "0-3"
    assert int(facts["slept_s"]) >= 2
    assert facts["card"] == str((64 << 20) // 512)
    assert facts["ethernet"] == machine.ethernet
    assert facts["watchdog"] == machine.watchdog
    assert {"timerlat", "osnoise", "preemptirqsoff", "wakeup_rt"} <= set(facts["tracers"].split())


def test_it_boots_as_a_guest_does(made: Made) -> None:
    network = ("-netdev", "user,id=net,restrict=on", "-device", "virtio-net-device,netdev=net")
    facts = said_by(made, "ttyAMA0", "-M", "virt", "-cpu", "cortex-a15", "-m", "256", *network)
    assert facts["model"] == "linux,dummy-virt"
    assert facts["realtime"] == "1"
    assert facts["ethernet"] == "virtio_net"


def test_it_has_a_device_tree_for_each_of_its_boards(made: Made) -> None:
    for name in load_kernels(collection.VARS / "kernels.yml")[NAME].device_trees:
        assert (made.kernel / "dtbs" / name).read_bytes()[:4] == bytes.fromhex("d00dfeed")
