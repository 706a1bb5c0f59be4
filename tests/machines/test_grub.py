"""kernel_boot on a PC that Debian's GRUB starts: a good kernel is kept, a bad one given up. The tests go together."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from playing import count_boot

from rtvirt_runner.build import artifacts
from rtvirt_runner.build import kernels as kernel_build
from rtvirt_runner.build.artifacts import Recipe
from rtvirt_runner.build.downloads import Store
from rtvirt_runner.catalogue import collection, kernels

pytestmark = [
    pytest.mark.slow(
        exercises=["roles/kernel_boot", "rtvirt_runner/build/kernels.py", "plugins/action/wait_for_boot.py"]
    ),
    pytest.mark.asserts_on("booting", "trials", "idempotence"),
    pytest.mark.xdist_group("grub"),
]
FILES = Path(__file__).parent / "grub"
NAME = "grub-machine"
LIMIT_S = 300.0


def cloud_kernel(suite: str, release: str) -> dict[str, Any]:
    """A catalogue entry of Debian's smallest kernel for PCs."""
    return {
        "title": f"Debian's kernel for clouds, of {suite}",
        "architecture": "amd64",
        "source": {"type": "debian_package", "suite": suite, "package": "linux-image-cloud-amd64"},
        "expects": {"realtime": False, "release": release},
    }


# The machine is installed with the first; the role brings the second.
CATALOGUE = {"cloud": cloud_kernel("trixie", "-cloud-amd64$"), "older-cloud": cloud_kernel("bookworm", "^6[.]1[.]")}


@dataclass
class Machine:
    """A PC in QEMU: ``port`` of its SSH on the loopback, ``folder`` of its inventory and console log."""

    folder: Path
    port: int
    process: subprocess.Popen[bytes]

    def shell(self, command: str) -> str:
        """What a command prints there."""
        ssh = ["ssh", "-F", self.folder / "ssh_config", "-o", "BatchMode=yes", NAME, command]
        done = subprocess.run(ssh, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=120)
        if done.returncode != 0:
            raise ConnectionError(f"{command}: {done.stderr}")
        return done.stdout.strip()

    def wait(self) -> None:
        """Until it answers."""
        deadline = time.monotonic() + LIMIT_S
        while True:
            try:
                self.shell("true")
            except ConnectionError:
                assert self.process.poll() is None, "QEMU has ended"
                assert time.monotonic() < deadline, self.console()[-3000:]
                time.sleep(1)
            else:
                return

    def boot(self, kernel_params: list[str]) -> subprocess.CompletedProcess[str]:
        """Let the role boot the older kernel with these parameters, on trial, and keep it or say why not."""
        given = {
            "kernel_boot_kernel": "older-cloud",
            "kernel_boot_catalogue": CATALOGUE,
            "kernel_boot_kernel_params": kernel_params,
            "kernel_boot_managed_params": ["isolcpus", "rdinit"],
            "rtvirt_board_console": str(self.folder / "console.log"),
            "rtvirt_board_pid_file": str(self.folder / "pid"),
        }
        lab = {"boards": {"hosts": {NAME: {"ansible_ssh_common_args": f"-F {self.folder / 'ssh_config'}"}}}}
        (self.folder / "hosts.json").write_text(json.dumps(lab))
        command = [Path(sys.executable).parent / "ansible-playbook", "-i", self.folder / "hosts.json"]
        return subprocess.run(
            [*command, "-e", json.dumps(given), FILES / "boot.yml"],
            env={**os.environ, "ANSIBLE_CONFIG": str(collection.ANSIBLE_CONFIG)},
            cwd=collection.ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=3 * LIMIT_S,
        )

    def console(self) -> str:
        return (self.folder / "console.log").read_text(errors="replace")


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """The machine as its installer leaves it; what it writes to its disk is gone with it."""
    folder = tmp_path_factory.mktemp("grub")
    kernel = kernels.select_kernels(CATALOGUE, ["cloud"], "this test")[0]
    cache = artifacts.cache_folder()
    workshop = kernel_build.BuildContext(collection.ROOT / "roles/kernel_build/files", Store(cache), cache)
    needs = {"KERNEL": str(kernel_build.make_kernel(kernel, workshop, print).artifact.path)}
    disk = make("grub-machine", "build_disk.sh", {"SUITE": "trixie", "NAME": NAME, "DISK_MIB": "2048"}, needs)
    qemu = make("qemu-x86", "unpack_qemu.sh", {"SUITE": "trixie"}, {}) / "qemu-system-x86_64"
    port = free_port()
    (folder / "ssh_config").write_text(
        f"Host {NAME}\n  HostName 127.0.0.1\n  Port {port}\n  User root\n  HostKeyAlias {NAME}\n"
        f'  IdentityFile "{private(disk / "client_key", folder)}"\n  IdentitiesOnly yes\n'
        f'  UserKnownHostsFile "{disk / "known_hosts"}"\n  StrictHostKeyChecking yes\n  ConnectTimeout 20\n'
    )
    command = [
        *(str(qemu), "-name", f"guest={NAME}", "-nodefaults", "-display", "none"),
        *("-machine", "pc,accel=tcg,graphics=off", "-cpu", "qemu64", "-smp", "2", "-m", "768"),
        *("-drive", f"if=virtio,format=raw,snapshot=on,file={disk / 'disk.img'}"),
        *("-netdev", f"user,id=net,restrict=on,hostfwd=tcp:127.0.0.1:{port}-:22"),
        *("-device", "virtio-net-pci,netdev=net,romfile="),
        *("-chardev", "file,id=console,path=console.log", "-serial", "chardev:console"),
    ]
    count_boot(NAME)
    with (folder / "qemu.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    (folder / "pid").write_text(f"{process.pid}\n")
    pc = Machine(folder, port, process)
    try:
        pc.wait()
        pc.shell("update-grub")
        yield pc
    finally:
        process.kill()
        process.wait()


def make(name: str, script: str, inputs: dict[str, str], needs: dict[str, str]) -> Path:
    """The folder of an artifact of this test, from the cache or built now."""
    recipe = Recipe(name=name, script=FILES / script, inputs=inputs, needs=needs, as_root=True)
    return artifacts.build(recipe, artifacts.cache_folder(), print).path


def private(key: Path, folder: Path) -> Path:
    """A copy of a key that ssh takes, whoever owns the cache."""
    copy = Path(shutil.copy(key, folder))
    copy.chmod(0o600)
    return copy


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def changed(output: str) -> int:
    """How many tasks changed something, by the recap."""
    recap = re.search(rf"^{NAME} .*changed=(\d+)", output, re.MULTILINE)
    assert recap, output
    return int(recap[1])


def test_a_good_kernel_is_kept_and_becomes_the_default(machine: Machine) -> None:
    before = machine.shell("cat /boot/grub/grub.cfg /etc/default/grub | sha256sum")
    done = machine.boot(["isolcpus=1"])
    assert done.returncode == 0, done.stdout
    assert machine.shell("uname -r").startswith("6.1.")
    assert machine.shell("cat /sys/devices/system/cpu/isolated") == "1"
    assert "rtvirt: booting older-cloud (trial)" in machine.console()
    assert machine.shell("cat /boot/grub/grub.cfg /etc/default/grub | sha256sum") == before
    assert machine.shell("systemctl is-active rtvirt-trial-guard || :") == "inactive"


def test_a_second_run_changes_nothing(machine: Machine) -> None:
    done = machine.boot(["isolcpus=1"])
    assert done.returncode == 0, done.stdout
    assert changed(done.stdout) == 0, done.stdout


def test_a_kernel_that_panics_is_given_up_also_when_the_distribution_made_its_menu_anew(machine: Machine) -> None:
    machine.shell("update-grub")
    done = machine.boot(["isolcpus=1", "rdinit=/nowhere"])
    assert done.returncode != 0
    told = re.sub(r"\s+", " ", done.stdout)
    assert f"older-cloud was given up on {NAME}: it panicked (VFS: Unable to mount root fs" in told
    assert "The board runs older-cloud (6.1." in told and "again, which needed nobody." in told
    assert "Kernel panic - not syncing: VFS" in told.split("The last lines of its console:")[1]
    assert "rdinit" not in machine.shell("cat /proc/cmdline")
    assert machine.shell("ls /boot/rtvirt") == "default.env\nkernels\nlast_good.env\noriginal.env"
    assert "next_entry=rtvirt" not in machine.shell("grub-editenv - list")
