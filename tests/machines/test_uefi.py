"""A PC and a server of arm64 that start by UEFI alone, from EDK2 to SSH; a bad kernel gives way to the good one."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from playing import MAKING_LIMIT_S, on_board, play
from trials import CATALOGUE

from rtvirt_runner.build import artifacts
from rtvirt_runner.catalogue import board_profiles, collection

pytestmark = [
    pytest.mark.slow(exercises=["roles/board_image", "roles/kernel_boot", "roles/virtual_board"]),
    pytest.mark.asserts_on("booting", "cards", "trials", "idempotence"),
    pytest.mark.xdist_group("uefi"),
]
HERE = Path(__file__).parent
PROFILES = {"virtual-uefi-pc": "uefi_x86_64", "virtual-uefi-arm": "uefi_arm64"}
# By their clocks, which race ahead of ours while they are idle: nobody is to be late for them.
COMMON = {"rtvirt_board_cpus": 2, "kernel_boot_trial_timeout_s": 7200}


@dataclass(frozen=True)
class Machine:
    """A board that runs from a fresh card, and its lab."""

    name: str
    lab: Path

    @property
    def profile(self) -> board_profiles.Profile:
        return board_profiles.load_profile(PROFILES[self.name], [collection.PROFILES])

    @property
    def console(self) -> str:
        return (artifacts.cache_folder() / "boards" / self.name / "console.log").read_text(errors="replace")

    def ask(self, command: str) -> str:
        return on_board(self.name, command)

    def play(self, playbook: str, **given: object) -> str:
        options = ("-i", str(self.lab), "-l", self.name, "-e", json.dumps(given))
        return play(HERE / playbook, *options, limit_s=MAKING_LIMIT_S)

    def boot(self, kernel: str, *parameters: str, **given: object) -> str:
        """Let the role boot a kernel on trial; returns what Ansible said."""
        wanted = {"board": self.name, "kernel": kernel, "kernel_boot_kernel_params": parameters}
        return self.play("bad_kernels/boot.yml", **wanted, **given)


@pytest.fixture(scope="module", params=PROFILES)
def machine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """One machine after the other."""
    folder = tmp_path_factory.mktemp("lab")
    hosts = {name: {"board_image_profile": profile, **COMMON} for name, profile in PROFILES.items()}
    boards = {"boards": {"children": {"virtual_boards": {"hosts": hosts}}}}
    (folder / "hosts.yml").write_text(yaml.safe_dump(boards))
    (folder / "group_vars").symlink_to(collection.VIRTUAL_LAB / "group_vars")
    machine = Machine(request.param, folder)
    said = machine.play("pc_image/board.yml")
    assert "status 0" in said, said
    yield machine
    machine.play("pc_image/board.yml", entry="stop")


def test_it_starts_by_uefi_and_is_whole(machine: Machine) -> None:
    said = machine.console
    steps = ["BdsDxe: starting Boot", f"rtvirt: booting {machine.profile.kernel} (default)"]
    found = [said.find(step) for step in steps]
    assert -1 not in found, dict(zip(steps, found, strict=True))
    assert found == sorted(found)
    assert machine.ask("ls -d /sys/firmware/efi /sys/kernel/realtime").count("\n") == 2
    assert machine.ask("cat /sys/kernel/realtime") == "1\n"
    assert machine.ask("hostname") == f"{machine.name}\n"
    assert machine.ask("systemctl is-system-running --wait") == "running\n"


def test_its_card_is_a_gpt_with_an_efi_system_partition(machine: Machine) -> None:
    table = json.loads(machine.ask("sfdisk --json /dev/vda"))["partitiontable"]
    assert table["label"] == "gpt"
    assert table["partitions"][0]["type"] == "C12A7328-F81F-11D2-BA4B-00A0C93EC93B"
    loader = {"amd64": "BOOTX64.EFI", "arm64": "BOOTAA64.EFI"}[machine.profile.architecture]
    assert machine.ask("ls /boot/EFI/BOOT") == f"{loader}\n"


def test_a_server_of_arm64_has_what_its_guests_need(machine: Machine) -> None:
    if machine.profile.architecture != "arm64":
        assert machine.ask("ls /dev/kvm 2>/dev/null || echo none") == "none\n"  # its processor has no VMX or SVM
        return
    assert machine.ask("ls /dev/kvm") == "/dev/kvm\n"
    assert "vgic" in machine.ask("cat /proc/interrupts")


def test_a_good_kernel_is_kept_and_a_second_run_changes_nothing(machine: Machine) -> None:
    kernel = machine.profile.kernel
    said = machine.boot(kernel, "isolcpus=1")
    assert "status 0" in said, said
    assert f"rtvirt: booting {kernel} (trial)" in machine.console
    assert machine.ask("cat /sys/devices/system/cpu/isolated") == "1\n"
    assert "next_entry=rtvirt" not in machine.ask("grub-editenv /boot/grub/grubenv list")
    again = machine.boot(kernel, "isolcpus=1")
    assert re.search(rf"^{machine.name} .*changed=0", again, re.MULTILINE), again


def test_a_kernel_that_panics_gives_way_to_the_good_one(machine: Machine) -> None:
    kernel = machine.profile.kernel
    made = (artifacts.cache_folder() / "artifacts").glob(f"kernel-{kernel}-" + 16 * "[0-9a-f]")
    folder = max(made, key=os.path.getmtime)
    entry = CATALOGUE[kernel] | {"kernel_params": ["rdinit=/nonexistent"]}
    said = machine.boot("bad-panic", folder=str(folder), entry=entry)
    assert "status 2" in said, said
    assert f"Kernel bad-panic was given up on {machine.name}: it panicked" in said
    line = machine.ask("cat /proc/cmdline").split()
    assert {f"rtvirt.kernel={kernel}", "isolcpus=1"} <= set(line)
    assert "rtvirt: booting bad-panic (trial)" in machine.console
