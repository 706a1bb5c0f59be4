"""A Raspberry Pi 4 from its card, as far as QEMU has one: Debian's U-Boot, our script, and the start of the kernel.

QEMU's raspi4b has neither the firmware nor most of the devices that the kernel's device tree names: the kernel starts,
and does not get to its root. What the firmware would load is taken from the card.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from playing import count_boot

from rtvirt_runner.catalogue import collection
from rtvirt_runner.media import rpi_firmware

pytestmark = [
    pytest.mark.slow(exercises=["roles/board_image", "roles/kernel_boot/files", "rtvirt_runner/media/rpi_firmware.py"]),
    pytest.mark.asserts_on("booting", "cards"),
    pytest.mark.xdist_group("rpi4"),
]
NAME = "virtual-rpi4"
MIB = 1 << 20
CARD_MIB = 4096  # QEMU takes cards of a power of two
LIMIT_S = 1800.0
# The console from the first line on: the driver of the serial port comes later than what QEMU lacks.
EARLY_CONSOLE = "earlycon=uart8250,mmio32,0xfe215040"
VARIABLES = {"board_image_profile": "rpi4", "board_image_kernel_params": [EARLY_CONSOLE, "ignore_loglevel"]}
PLAY = """\
- name: A card
  hosts: boards
  gather_facts: false
  tasks:
    - name: QEMU
      ansible.builtin.include_role:
        name: rtvirt.testbed.virtual_board
        tasks_from: qemu
    - name: Make the card
      ansible.builtin.include_role:
        name: rtvirt.testbed.board_image
        tasks_from: card
    - name: Tell where QEMU is
      ansible.builtin.copy:
        content: "{{ virtual_board_qemu_folder }}"
        dest: "{{ inventory_dir }}/qemu"
        mode: "0644"
      delegate_to: localhost
"""
# What the console says, in this order.
STEPS = {
    "U-Boot": r"Core: +\d+ devices",  # its first line, from before it has found its console, goes nowhere
    "our script": r"rtvirt: booting debian-rt-boards \(default\)",
    "the end of U-Boot": r"Starting kernel",
    "the kernel": r"Linux version \S+-rt-arm64 .*PREEMPT_RT",
    "the board's device tree": r"Machine model: Raspberry Pi 4 Model B",
    "its command line": r"Kernel command line: .*rtvirt\.kernel=debian-rt-boards",
    "its cores": r"smp: Brought up 1 node, 4 CPUs",
}


@pytest.fixture(scope="module")
def card(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of a new card, with QEMU's folder beside it."""
    folder = tmp_path_factory.mktemp("rpi4")
    (folder / "hosts.json").write_text(json.dumps({"boards": {"hosts": {NAME: VARIABLES}}}))
    (folder / "card.yml").write_text(PLAY)
    command = [Path(sys.executable).parent / "ansible-playbook", "-i", "hosts.json", "card.yml"]
    env = {**os.environ, "ANSIBLE_CONFIG": str(collection.ANSIBLE_CONFIG)}
    subprocess.run(command, cwd=folder, env=env, stdin=subprocess.DEVNULL, check=True)
    yield folder
    (folder / "cards" / f"{NAME}.img").unlink()


def test_it_starts_as_its_kind_does(card: Path) -> None:
    image, boot, log = card / "cards" / f"{NAME}.img", card / "boot", card / "console.log"
    boot.mkdir()
    subprocess.run(["mcopy", "-s", "-n", "-Q", "-i", f"{image}@@{MIB}", "::/", boot], check=True)
    loaded = rpi_firmware.resolve(boot, model=rpi_firmware.MODELS["4"])
    assert loaded.kernel.name == "u-boot.bin" and loaded.device_tree is not None
    os.truncate(image, CARD_MIB * MIB)
    command = [
        *(Path((card / "qemu").read_text()) / "bin/qemu-system-aarch64", "-M", "raspi4b", "-nodefaults"),
        *("-display", "none", "-kernel", loaded.kernel, "-dtb", loaded.device_tree),
        *("-drive", f"if=sd,format=raw,file={image},cache=unsafe"),
        *("-serial", "null", "-chardev", f"file,id=console,path={log}", "-serial", "chardev:console"),
    ]
    count_boot(NAME)
    with subprocess.Popen(command, stdin=subprocess.DEVNULL) as machine:
        try:
            follow(machine, log)
        finally:
            machine.kill()


def follow(machine: subprocess.Popen[bytes], log: Path) -> None:
    """Wait for each step on the console, behind the one before it."""
    deadline, begin = time.monotonic() + LIMIT_S, 0
    for step, pattern in STEPS.items():
        while True:
            said = log.read_text(errors="replace") if log.exists() else ""
            if match := re.compile(pattern).search(said, begin):
                break
            assert machine.poll() is None, f"QEMU has ended before {step}:\n{said[-4000:]}"
            assert time.monotonic() < deadline, f"no {step} ({pattern}) in:\n{said[begin:][-4000:]}"
            time.sleep(1)
        begin = match.end()
