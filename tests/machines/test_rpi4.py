"""A Raspberry Pi 4 from its card, as QEMU has one: Debian's U-Boot, our script, the kernel, and a shell on its console.

QEMU's raspi4b has neither the firmware nor a network. What the firmware would load is taken from the card.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

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
LIMIT_S = 900.0
# A shell on the serial console, as nobody has a password there.
VARIABLES = {"board_image_profile": "rpi4", "board_image_kernel_params": ["systemd.debug_shell=ttyS1"]}
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


@dataclass
class Console:
    """The serial console of a machine that runs; what it has said is in a file."""

    machine: subprocess.Popen[bytes]
    keys: IO[bytes]
    log: Path

    @property
    def said(self) -> str:
        return self.log.read_text(errors="replace")

    def wait_for(self, pattern: str, begin: int = 0) -> re.Match[str]:
        deadline = time.monotonic() + LIMIT_S
        while not (match := re.search(pattern, self.said[begin:], re.MULTILINE)):
            assert self.machine.poll() is None, "QEMU has ended"
            assert time.monotonic() < deadline, f"no {pattern} in:\n{self.said[-4000:]}"
            time.sleep(1)
        return match

    def ask(self, command: str) -> str:
        """What a command prints, in the shell on the console."""
        begin = len(self.said)
        # The marks are not in the command as it is echoed.
        self.keys.write(f"echo BE''GIN; {command}; echo EN''D\n".encode())
        self.keys.flush()
        return self.wait_for(r"^BEGIN\r?\n((?:.*\n)*?)END\r?$", begin)[1].replace("\r", "")


@pytest.fixture(scope="module")
def console(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Console]:
    """The machine, from power-on to a shell."""
    folder = tmp_path_factory.mktemp("rpi4")
    try:
        (folder / "hosts.json").write_text(json.dumps({"boards": {"hosts": {NAME: VARIABLES}}}))
        (folder / "card.yml").write_text(PLAY)
        command = [Path(sys.executable).parent / "ansible-playbook", "-i", "hosts.json", "card.yml"]
        env = {**os.environ, "ANSIBLE_CONFIG": str(collection.ANSIBLE_CONFIG)}
        subprocess.run(command, cwd=folder, env=env, stdin=subprocess.DEVNULL, check=True)
        card, boot = folder / "cards" / f"{NAME}.img", folder / "boot"
        boot.mkdir()
        subprocess.run(["mcopy", "-s", "-n", "-Q", "-i", f"{card}@@{MIB}", "::/", boot], check=True)
        loaded = rpi_firmware.resolve(boot, model=rpi_firmware.MODELS["4"])
        assert loaded.kernel.name == "u-boot.bin"
        assert loaded.device_tree is not None
        os.truncate(card, CARD_MIB * MIB)
        log = folder / "console.log"
        qemu = Path((folder / "qemu").read_text()) / "bin/qemu-system-aarch64"
        machine_arguments = [
            *(qemu, "-M", "raspi4b", "-nodefaults", "-display", "none"),
            *("-kernel", loaded.kernel, "-dtb", loaded.device_tree),
            *("-drive", f"if=sd,format=raw,file={card},cache=unsafe"),
            *(
                "-serial",
                "null",
                "-chardev",
                f"stdio,id=console,logfile={log},signal=off",
                "-serial",
                "chardev:console",
            ),
        ]
        count_boot(NAME)
        with subprocess.Popen(
            machine_arguments, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as machine:
            try:
                assert machine.stdin is not None
                console = Console(machine, machine.stdin, log)
                console.wait_for(r"^(.*@.*|.*)# ?$")
                yield console
            finally:
                machine.kill()
    finally:
        shutil.rmtree(folder)


def test_it_boots_as_its_kind_does(console: Console) -> None:
    chain = ["U-Boot 20", "rtvirt: booting debian-rt-boards (default)", "Starting kernel"]
    found = [console.said.find(words) for words in chain]
    assert -1 not in found, dict(zip(chain, found, strict=True))
    assert found == sorted(found)


def test_it_runs_its_real_time_kernel_from_its_card(console: Console) -> None:
    assert "PREEMPT_RT" in console.ask("uname -v")
    assert console.ask("tr -d '\\000' </proc/device-tree/model; echo").startswith("Raspberry Pi 4 Model B")
    assert re.fullmatch(r"/dev/mmcblk\dp2\n", console.ask("findmnt -n -o SOURCE /"))
    assert console.ask("hostname") == f"{NAME}\n"
    assert console.ask("nproc") == "4\n"


def test_all_that_it_starts_comes_up(console: Console) -> None:
    console.ask("systemctl is-system-running --wait")
    assert console.ask("systemctl --failed --plain --no-legend") == ""
    assert console.ask("systemctl is-active ssh") == "active\n"
    size_kib = console.ask("df --output=size / | tail -n 1")
    assert int(size_kib) > 3000 * 1024  # it has taken the room of the card
