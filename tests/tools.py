"""Programs that tests call, installed where the machine lacks them."""

import fcntl
import json
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from rtvirt_runner.catalogue import collection

TOOLS = {"cpio": "cpio", "curl": "curl", "gpgv": "gpgv", "git": "git", "gpg": "gpg", "gpgconf": "gpgconf"}
TOOLS |= {"mmdebstrap": "mmdebstrap", "xz": "xz-utils", "patch": "patch", "make": "make", "gcc": "gcc"}
TOOLS |= {"/usr/include/stdio.h": "libc6-dev", "arm-linux-gnueabihf-gcc": "gcc-arm-linux-gnueabihf", "kmod": "kmod"}
TOOLS |= {"cyclictest": "rt-tests", "busybox": "busybox-static", "valgrind": "valgrind", "cjpeg": "libjpeg-turbo-progs"}
TOOLS |= {"aarch64-linux-gnu-gcc": "gcc-aarch64-linux-gnu", "qemu-aarch64-static": "qemu-user-static", "cmake": "cmake"}
TOOLS |= {"/usr/aarch64-linux-gnu/lib/libc.a": "libc6-dev-arm64-cross"}
TOOLS |= {"/usr/arm-linux-gnueabihf/lib/libc.a": "libc6-dev-armhf-cross"}
TOOLS |= {"ssh-keygen": "openssh-client", "dropbear": "dropbear-bin"}  # an SSH server that no machine starts by itself
# The QEMU of this machine's own architecture, which tests start without booting anything.
TOOLS |= {"aarch64": {"qemu-system-aarch64": "qemu-system-arm"}}.get(
    platform.machine(), {"qemu-system-x86_64": "qemu-system-x86"}
)
TOOLS |= {"losetup": "mount", "addpart": "util-linux", "mkfs.ext4": "e2fsprogs"}
PLAYBOOK = """\
- name: Tools
  hosts: localhost
  connection: local
  gather_facts: false
  vars:
    # What Ansible finds on the PATH may be a stand-in of pyenv's that runs nothing.
    ansible_python_interpreter: "{{ ansible_playbook_python }}"
  roles: [rtvirt.testbed.controller]
"""


@pytest.fixture(scope="session")
def tools(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Install what the tests call and the machine lacks: on a fresh one they run before anything else has done so."""
    with (tmp_path_factory.getbasetemp().parent / "tools.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # every worker comes here at once, and one installs
        missing = {tool: package for tool, package in TOOLS.items() if not (shutil.which(tool) or Path(tool).is_file())}
        if missing:
            install(missing, tmp_path_factory.mktemp("tools") / "tools.yml")


def install(missing: dict[str, str], playbook: Path) -> None:
    """Let the role controller install packages, by the tool that each is for."""
    playbook.write_text(PLAYBOOK)
    command = [Path(sys.executable).parent / "ansible-playbook", "-e", json.dumps({"controller_tools": missing})]
    env = {**os.environ, "ANSIBLE_CONFIG": str(collection.ANSIBLE_CONFIG)}
    subprocess.run([*command, "-i", "localhost,", playbook], env=env, check=True)
