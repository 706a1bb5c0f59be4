"""A PC from a disk that rtvirt made: it starts by BIOS and by UEFI, and keeps a good kernel. The tests go together."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from playing import MAKING_LIMIT_S, count_boot, on_board, play, ssh

from rtvirt_runner.build import artifacts
from rtvirt_runner.build.artifacts import Recipe
from rtvirt_runner.catalogue import collection

pytestmark = [
    pytest.mark.slow(exercises=["roles/board_image", "roles/kernel_boot", "roles/virtual_board"]),
    pytest.mark.asserts_on("booting", "cards", "trials", "idempotence"),
    pytest.mark.xdist_group("pc image"),
]
BOARD = "virtual-pc"
KERNEL = "debian-rt-amd64"
LAB = {
    "boards": {
        "children": {
            "virtual_boards": {
                "hosts": {
                    BOARD: {
                        "board_image_profile": "grub_x86_64",
                        "rtvirt_board_cpus": 2,
                        # By its clock, which races ahead of ours while it is idle: nobody is to be late for it.
                        "kernel_boot_trial_timeout_s": 7200,
                    }
                }
            }
        }
    }
}
HERE = Path(__file__).parent
FOLDER = artifacts.cache_folder() / "boards" / BOARD
DISK_MIB = 4096
UEFI_LIMIT_S = 300.0
UNPACK_UEFI = collection.ROOT / "roles/virtual_board/files/unpack_uefi.sh"


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A lab of one PC, which runs from a fresh disk."""
    folder = tmp_path_factory.mktemp("lab")
    (folder / "hosts.yml").write_text(yaml.safe_dump(LAB))
    (folder / "group_vars").symlink_to(collection.VIRTUAL_LAB / "group_vars")
    apply(folder, HERE / "pc_image/board.yml")
    yield folder
    apply(folder, HERE / "pc_image/board.yml", entry="stop")


def apply(lab: Path, playbook: Path, **given: object) -> str:
    """Run a playbook for the PC, which goes well; returns what Ansible said."""
    said = play(playbook, "-i", str(lab), "-e", json.dumps(given), limit_s=MAKING_LIMIT_S)
    assert "status 0" in said, said
    return said


def boot(lab: Path) -> str:
    """Let the role boot the kernel with a word, on trial, and keep it."""
    return apply(lab, HERE / "grub/boot.yml", kernel_boot_kernel=KERNEL, kernel_boot_kernel_params=["isolcpus=1"])


def console() -> str:
    return (FOLDER / "console.log").read_text(errors="replace")


def test_it_starts_by_bios_and_is_whole(lab: Path) -> None:
    assert f"rtvirt: booting {KERNEL} (default)" in console()
    assert on_board(BOARD, "ls /sys/firmware").split().count("efi") == 0
    assert on_board(BOARD, "cat /sys/kernel/realtime") == "1\n"
    assert on_board(BOARD, "hostname") == f"{BOARD}\n"
    assert on_board(BOARD, "systemctl is-system-running --wait") == "running\n"


def test_its_root_has_taken_the_room_of_the_disk(lab: Path) -> None:
    boot_mib = yaml.safe_load((collection.PROFILES / "grub_x86_64.yml").read_text())["boot_mib"]
    partition, used = on_board(BOARD, "findmnt --noheadings --bytes --output SOURCE,SIZE /").split()
    room_mib = int(on_board(BOARD, f"blockdev --getsize64 {partition}")) >> 20
    assert room_mib == DISK_MIB - boot_mib - 3  # a MiB before the first partition, two behind the last
    assert int(used) >> 20 > room_mib * 0.95  # the file system's own tables are the rest


def test_its_host_key_was_known_before_it_first_answered(lab: Path) -> None:
    known = (FOLDER / "identity/known_hosts").read_text().split()
    port = (FOLDER / "port").read_text().strip()
    scan = ["ssh-keyscan", "-t", "ed25519", "-T", "60", "-p", port, "127.0.0.1"]
    shown = subprocess.run(scan, capture_output=True, text=True, check=True).stdout.split()
    assert shown[-2:] == known[-2:]
    assert (FOLDER / "identity/known_hosts").stat().st_mtime <= (FOLDER / "emulator").stat().st_mtime


def test_a_good_kernel_is_kept(lab: Path) -> None:
    boot(lab)
    assert f"rtvirt: booting {KERNEL} (trial)" in console()
    assert on_board(BOARD, "cat /sys/devices/system/cpu/isolated") == "1\n"
    assert on_board(BOARD, "ls /boot/rtvirt").split() == ["default.env", "kernels", "last_good.env", "original.env"]
    assert "next_entry=rtvirt" not in on_board(BOARD, "grub-editenv /boot/grub/grubenv list")
    assert on_board(BOARD, "systemctl is-active rtvirt-trial-guard || :") == "inactive\n"


def test_a_second_run_changes_nothing(lab: Path) -> None:
    assert re.search(rf"^{BOARD} .*changed=0", boot(lab), re.MULTILINE)


def test_the_same_disk_starts_by_uefi_with_what_was_kept(lab: Path, tmp_path: Path) -> None:
    apply(lab, HERE / "pc_image/board.yml", entry="stop")
    inputs = {"SUITE": "trixie", "PROGRAM": "qemu-system-x86_64"}
    unpacked = Recipe("uefi-x86_64", UNPACK_UEFI, inputs=inputs, as_root=True)
    firmware = artifacts.build(unpacked, artifacts.cache_folder(), print).path
    settings = shutil.copy(firmware / "vars.fd", tmp_path)
    log = tmp_path / "console.log"
    qemu = (FOLDER / "emulator").read_text().splitlines()[1].partition(" -name ")[0]
    command = [
        *(qemu, "-name", f"guest={BOARD}-uefi", "-nodefaults", "-display", "none"),
        *("-machine", "q35", "-cpu", "qemu64", "-smp", "2", "-m", "1024"),
        *("-drive", f"if=pflash,unit=0,format=raw,readonly=on,file={firmware / 'code.fd'}"),
        *("-drive", f"if=pflash,unit=1,format=raw,file={settings}"),
        *("-drive", f"if=virtio,format=qcow2,file={FOLDER / 'card.qcow2'},cache=unsafe"),
        *("-netdev", f"user,id=net,restrict=on,hostfwd=tcp:127.0.0.1:{(FOLDER / 'port').read_text().strip()}-:22"),
        *("-device", "virtio-net-pci,netdev=net,romfile="),
        *("-chardev", f"file,id=console,path={log}", "-serial", "chardev:console"),
    ]
    count_boot(BOARD)
    with subprocess.Popen(command, stdin=subprocess.DEVNULL) as machine:
        try:
            wait_until_it_answers(machine, log)
            assert on_board(BOARD, "systemctl is-system-running --wait") == "running\n"
            assert on_board(BOARD, "ls -d /sys/firmware/efi /sys/kernel/realtime").count("\n") == 2
            line = on_board(BOARD, "cat /proc/cmdline").split()
        finally:
            machine.kill()
    assert {"isolcpus=1", f"rtvirt.kernel={KERNEL}"} <= set(line)
    assert not [word for word in line if word.startswith("rtvirt.trial")]
    said = log.read_text(errors="replace")
    assert "BdsDxe: starting Boot" in said
    assert f"rtvirt: booting {KERNEL} (default)" in said


def wait_until_it_answers(machine: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + UEFI_LIMIT_S
    program, *rest = ssh(BOARD, "true")
    # QEMU takes a connection long before the machine answers it.
    while subprocess.run([program, "-o", "ConnectTimeout=10", *rest], capture_output=True, check=False).returncode:
        assert machine.poll() is None, "QEMU has ended"
        assert time.monotonic() < deadline, log.read_text(errors="replace")[-3000:]
        time.sleep(1)
