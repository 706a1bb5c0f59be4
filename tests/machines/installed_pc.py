"""A PC in QEMU with a Debian as its installer leaves it: GRUB, a kernel of Debian's, and an initrd of its own.

Its clock is that of this machine (no icount), and what it writes to its disk is gone with it.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from playing import count_boot

from rtvirt_runner.build import artifacts
from rtvirt_runner.build import kernels as kernel_build
from rtvirt_runner.build.artifacts import Recipe
from rtvirt_runner.build.downloads import Store
from rtvirt_runner.catalogue import collection, kernels

FILES = Path(__file__).parent / "grub"
LIMIT_S = 900.0  # an idle machine takes two minutes; one that is shared with a suite far more


def cloud_kernel(suite: str, release: str) -> dict[str, Any]:
    """A catalogue entry of Debian's smallest kernel for PCs."""
    return {
        "title": f"Debian's kernel for clouds, of {suite}",
        "architecture": "amd64",
        "source": {"type": "debian_package", "suite": suite, "package": "linux-image-cloud-amd64"},
        "expects": {"realtime": False, "release": release},
    }


CATALOGUE = {"cloud": cloud_kernel("trixie", "-cloud-amd64$")}  # what it is installed with


@dataclass
class Machine:
    """A PC in QEMU: ``port`` of its SSH on the loopback, ``folder`` of its ssh_config, keys and console log."""

    name: str
    folder: Path
    port: int
    process: subprocess.Popen[bytes]

    def shell(self, command: str) -> str:
        """What a command of root prints there."""
        ssh = ["ssh", "-F", self.folder / "ssh_config", "-o", "BatchMode=yes", self.name, command]
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

    def ssh_config(self, user: str) -> str:
        """An ssh_config by which a user comes in with the machine's key."""
        return (
            f"Host {self.name}\n  HostName 127.0.0.1\n  Port {self.port}\n  User {user}\n  HostKeyAlias {self.name}\n"
            f'  IdentityFile "{self.folder / "client_key"}"\n  IdentitiesOnly yes\n'
            f'  UserKnownHostsFile "{self.folder / "known_hosts"}"\n  StrictHostKeyChecking yes\n  ConnectTimeout 20\n'
        )

    def console(self) -> str:
        return (self.folder / "console.log").read_text(errors="replace")


@contextmanager
def started_pc(
    folder: Path,
    name: str,
    packages: Sequence[str] = (),
    memory_mib: int = 768,
    disk_mib: int = 2048,
    cpu: str = "qemu64",
) -> Iterator[Machine]:
    """A PC with more packages that is on and answers; its files are in a folder."""
    kernel = kernels.select_kernels(CATALOGUE, ["cloud"], "this test")[0]
    cache = artifacts.cache_folder()
    workshop = kernel_build.BuildContext(collection.ROOT / "roles/kernel_build/files", Store(cache), cache)
    needs = {"KERNEL": str(kernel_build.make_kernel(kernel, workshop, print).artifact.path)}
    inputs = {"SUITE": "trixie", "NAME": name, "DISK_MIB": str(disk_mib), "PACKAGES": ",".join(["", *packages])}
    disk = _make(name, "build_disk.sh", inputs, needs)
    qemu = _make("qemu-x86", "unpack_qemu.sh", {"SUITE": "trixie"}, {}) / "qemu-system-x86_64"
    for file in ("client_key", "known_hosts"):  # copies that ssh takes, whoever owns the cache
        Path(shutil.copy(disk / file, folder)).chmod(0o600)
    port = _free_port()
    command = [
        *(str(qemu), "-name", f"guest={name}", "-nodefaults", "-display", "none"),
        *("-machine", "pc,accel=tcg,graphics=off", "-cpu", cpu, "-smp", "2", "-m", str(memory_mib)),
        *("-drive", f"if=virtio,format=raw,snapshot=on,file={disk / 'disk.img'}"),
        *("-netdev", f"user,id=net,restrict=on,hostfwd=tcp:127.0.0.1:{port}-:22"),
        *("-device", "virtio-net-pci,netdev=net,romfile="),
        *("-chardev", "file,id=console,path=console.log", "-serial", "chardev:console"),
    ]
    count_boot(name)
    with (folder / "qemu.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    (folder / "pid").write_text(f"{process.pid}\n")
    pc = Machine(name, folder, port, process)
    (folder / "ssh_config").write_text(pc.ssh_config("root"))
    try:
        pc.wait()
        pc.shell("update-grub")
        yield pc
    finally:
        process.kill()
        process.wait()


def _make(name: str, script: str, inputs: dict[str, str], needs: dict[str, str]) -> Path:
    """The folder of an artifact of these tests, from the cache or built now."""
    recipe = Recipe(name=name, script=FILES / script, inputs=inputs, needs=needs, as_root=True)
    return artifacts.build(recipe, artifacts.cache_folder(), print).path


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
