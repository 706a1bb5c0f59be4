"""kernel_boot on a PC that Debian's GRUB starts: a good kernel is kept, a bad one given up. The tests go together."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import installed_pc
import pytest
from installed_pc import FILES, LIMIT_S, Machine, cloud_kernel, started_pc

from rtvirt_runner.catalogue import collection

pytestmark = [
    pytest.mark.slow(
        exercises=["roles/kernel_boot", "rtvirt_runner/build/kernels.py", "plugins/action/wait_for_boot.py"]
    ),
    pytest.mark.asserts_on("booting", "trials", "idempotence"),
    pytest.mark.xdist_group("grub"),
]
NAME = "grub-machine"
# All that the role may change, and how the machine was started.
LOOK = """uname -r; sed 's/BOOT_IMAGE=[^ ]*//' /proc/cmdline; grub-editenv - list
find /boot /etc /usr/local -type f -exec sha256sum {} + | sort; find /usr/lib/modules | sort"""

# The machine is installed with one kernel, and the role brings an older one.
CATALOGUE = {**installed_pc.CATALOGUE, "older-cloud": cloud_kernel("bookworm", "^6[.]1[.]")}


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    with started_pc(tmp_path_factory.mktemp("grub"), NAME) as pc:
        pc.shell(f"({LOOK}) >/root/before")
        yield pc


def boot(pc: Machine, kernel_params: list[str]) -> subprocess.CompletedProcess[str]:
    """Let the role boot the older kernel with these parameters, on trial, and keep it or say why not."""
    return play(pc, FILES / "boot.yml", kernel_params)


def play(pc: Machine, playbook: Path, kernel_params: list[str]) -> subprocess.CompletedProcess[str]:
    given = {
        "kernel_boot_kernel": "older-cloud",
        "kernel_boot_catalogue": CATALOGUE,
        "kernel_boot_kernel_params": kernel_params,
        "kernel_boot_managed_params": ["isolcpus", "rdinit"],
        "rtvirt_board_console": str(pc.folder / "console.log"),
        "rtvirt_board_pid_file": str(pc.folder / "pid"),
    }
    lab = {"boards": {"hosts": {NAME: {"ansible_ssh_common_args": f"-F {pc.folder / 'ssh_config'}"}}}}
    (pc.folder / "hosts.json").write_text(json.dumps(lab))
    command = [Path(sys.executable).parent / "ansible-playbook", "-i", pc.folder / "hosts.json"]
    return subprocess.run(
        [*command, "-e", json.dumps(given), playbook],
        env={**os.environ, "ANSIBLE_CONFIG": str(collection.ANSIBLE_CONFIG)},
        cwd=collection.ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=3 * LIMIT_S,
    )


def changed(output: str) -> int:
    """How many tasks changed something, by the recap."""
    recap = re.search(rf"^{NAME} .*changed=(\d+)", output, re.MULTILINE)
    assert recap, output
    return int(recap[1])


def test_a_good_kernel_is_kept_and_becomes_the_default(machine: Machine) -> None:
    before = machine.shell("cat /boot/grub/grub.cfg /etc/default/grub | sha256sum")
    done = boot(machine, ["isolcpus=1"])
    assert done.returncode == 0, done.stdout
    assert machine.shell("uname -r").startswith("6.1.")
    assert machine.shell("cat /sys/devices/system/cpu/isolated") == "1"
    assert "rtvirt: booting older-cloud (trial)" in machine.console()
    assert machine.shell("cat /boot/grub/grub.cfg /etc/default/grub | sha256sum") == before
    assert machine.shell("systemctl is-active rtvirt-trial-guard || :") == "inactive"


def test_a_second_run_changes_nothing(machine: Machine) -> None:
    done = boot(machine, ["isolcpus=1"])
    assert done.returncode == 0, done.stdout
    assert changed(done.stdout) == 0, done.stdout


def test_a_kernel_that_panics_is_given_up_also_when_the_distribution_made_its_menu_anew(machine: Machine) -> None:
    machine.shell("update-grub")
    done = boot(machine, ["isolcpus=1", "rdinit=/nowhere"])
    assert done.returncode != 0
    told = re.sub(r"\s+", " ", done.stdout)
    assert f"older-cloud was given up on {NAME}: it panicked (VFS: Unable to mount root fs" in told
    assert "The board runs older-cloud (6.1." in told and "again, which needed nobody." in told
    assert "Kernel panic - not syncing: VFS" in told.split("The last lines of its console:")[1]
    assert "rdinit" not in machine.shell("cat /proc/cmdline")
    assert machine.shell("ls /boot/rtvirt") == "default.env\nkernels\nlast_good.env\noriginal.env"
    assert "next_entry=rtvirt" not in machine.shell("grub-editenv - list")


def test_reset_returns_to_what_was_found(machine: Machine) -> None:
    done = play(machine, collection.ROOT / "playbooks" / "reset.yml", [])
    assert done.returncode == 0, done.stdout
    assert "rtvirt: booting as-found (default)" in machine.console()
    assert machine.shell(f"({LOOK}) | diff /root/before - || :") == ""
    again = play(machine, collection.ROOT / "playbooks" / "reset.yml", [])
    assert changed(again.stdout) == 0, again.stdout
