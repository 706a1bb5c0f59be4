"""What a disk does, and files that are no files: exit 2 and one sentence from the real command, and no wait."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rtvirt_runner.catalogue import collection
from rtvirt_runner.run import playbooks
from rtvirt_runner.run.playbooks import InventoryError, read_inventory

SMOKE = (collection.VARS / "matrix_smoke.yml").read_text()
LAB = """\
boards:
  hosts:
    virtual-rpi2: {rtvirt_board_cpus: 4, rtvirt_board_clock: virtual}
    virtual-cb2: {rtvirt_board_cpus: 2, rtvirt_board_clock: virtual}
  vars: {rtvirt_board_kernels: {rt: debian-rt, with-rt: linux-6.12-rt, without-rt: linux-6.12}}
guests: {hosts: {virtual-rpi2-guest: , virtual-cb2-guest: }}
rpi2: {hosts: {virtual-rpi2: }}
cb2: {hosts: {virtual-cb2: }}
"""
RTVIRT = Path(sys.executable).parent / "rtvirt"
LIMIT_S = 60  # two seconds on a quiet machine


def rtvirt(*arguments: str | Path, **options: object) -> subprocess.CompletedProcess[str]:
    command = [str(RTVIRT), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S, check=False, **options)  # type: ignore[call-overload,no-any-return]


def refused(done: subprocess.CompletedProcess[str], *told: str) -> None:
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith("rtvirt: ") and done.stderr.count("\n") == 1, done.stderr
    for part in told:
        assert part in done.stderr


def fifo(path: Path) -> None:
    os.mkfifo(path)


def loop(path: Path) -> None:
    path.symlink_to(path)


def device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def folder(path: Path) -> None:
    path.mkdir()


def bound_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as each:
        each.bind(str(path))


def huge(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(1 << 40)


def dangling(path: Path) -> None:
    path.symlink_to("nowhere")


def utf16(path: Path) -> None:
    path.write_bytes(SMOKE.encode("utf-16"))


KINDS: dict[str, tuple[Callable[[Path], None], str]] = {
    "a FIFO": (fifo, "it is no regular file"),
    "a loop of links": (loop, "Too many levels of symbolic links"),
    "a device without end": (device, "it is no regular file"),
    "a folder": (folder, "Is a directory"),
    "a socket": (bound_socket, "No such device or address"),
    "1 TiB": (huge, "it has more than 256 KiB"),
    "a link to nowhere": (dangling, "No such file or directory"),
    "UTF-16": (utf16, "it is not UTF-8 text"),
}


@pytest.fixture
def lab(tmp_path: Path) -> Path:
    path = tmp_path / "lab.yml"
    path.write_text(LAB)
    return path


@pytest.mark.parametrize(("make", "reason"), KINDS.values(), ids=KINDS.keys())
def test_a_matrix_that_is_no_text(make: Callable[[Path], None], reason: str, tmp_path: Path, lab: Path) -> None:
    make(path := tmp_path / "m.yml")
    refused(rtvirt("plan", "--matrix", path, "-i", lab), str(path), f"cannot be read ({reason})", "check the path")


def test_a_matrix_that_cannot_be(lab: Path) -> None:
    refused(rtvirt("plan", "--matrix", f"/{'x' * 5000}.yml", "-i", lab), "xxx")
    refused(rtvirt("plan", "--matrix", "/etc/passwd/m.yml", "-i", lab), "there is no matrix '/etc/passwd/m.yml'")


@pytest.mark.parametrize("make", [fifo, loop, device, bound_socket, dangling])
def test_an_inventory_that_is_none(make: Callable[[Path], None], tmp_path: Path) -> None:
    make(path := tmp_path / "lab.yml")
    refused(rtvirt("plan", "-i", path), f"{path} is neither a file nor a folder")


DYNAMIC = {
    "fails": ("#!/bin/sh\necho no such cloud >&2; exit 3\n", "cannot read this inventory"),
    "prints garbage": ("#!/bin/sh\nhead -c 5000 /dev/urandom\n", "cannot read this inventory"),
    "prints nothing": ("#!/bin/sh\n", "no host in group 'boards'"),
    "prints half": ("#!/bin/sh\nprintf '{\"boards\": {'\n", "cannot read this inventory"),
    "has an odd variable": (
        '#!/bin/sh\nprintf \'{"boards": {"hosts": ["b"]}, "_meta": {"hostvars": {"b": '
        '{"rtvirt_board_cpus": {"a": 1}}}}}\'\n',
        "rtvirt_board_cpus of board 'b'",
    ),
}


@pytest.mark.parametrize(("text", "told"), DYNAMIC.values(), ids=DYNAMIC.keys())
def test_a_dynamic_inventory_that_fails(text: str, told: str, tmp_path: Path) -> None:
    path = tmp_path / "lab.sh"
    path.write_text(text)
    path.chmod(0o755)
    refused(rtvirt("plan", "-i", path), told)


@pytest.mark.parametrize("does", ["sleep 987654", "yes", "trap '' TERM INT; while :; do sleep 987654; done"])
def test_a_dynamic_inventory_that_does_not_end(does: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is ended, with all that it has started, also when it has left nothing to read, or prints without end."""
    path = tmp_path / "lab.sh"
    path.write_text(f"#!/bin/sh\necho $$ >{tmp_path}/pid\n{does}\n")
    path.chmod(0o755)
    monkeypatch.setattr(playbooks, "INVENTORY_LIMIT_S", 15.0)
    monkeypatch.setattr(playbooks, "INVENTORY_LIMIT_BYTES", 1 << 30)
    with pytest.raises(InventoryError, match=r"has not listed this inventory after 15 s|cannot read this inventory"):
        read_inventory(path)
    pid = (tmp_path / "pid").read_text().strip()
    deadline = time.monotonic() + 10
    while Path(f"/proc/{pid}").exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not Path(f"/proc/{pid}").exists()


def test_results_that_are_a_file(tmp_path: Path, lab: Path) -> None:
    (tmp_path / "results").write_text("")
    for command in ("matrix", "plan", "status", "report"):
        refused(rtvirt(command, "-i", lab, "--results", tmp_path / "results"), "is not a folder", "--results")


@pytest.fixture
def read_only(tmp_path: Path) -> Iterator[Path]:
    """A file system that nobody can write to, root neither, with the results of no run in it."""
    path = tmp_path / "read-only"
    path.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "ro,size=64k", "rtvirt-test", str(path)], capture_output=True
    )
    if mounted.returncode:
        pytest.skip("cannot mount here")
    yield path
    subprocess.run(["umount", str(path)], check=True)


def test_results_on_a_read_only_disk(read_only: Path, lab: Path) -> None:
    done = rtvirt("matrix", "-i", lab, "--results", read_only)
    assert done.returncode == 2
    last = done.stderr.splitlines()[-1]
    assert last.startswith(f"rtvirt: {read_only}") and "Read-only file system" in last
    assert "Traceback" not in done.stderr
    refused(rtvirt("report", "-i", lab, "--results", read_only), "holds no results")


def test_output_that_nobody_reads(lab: Path) -> None:
    """Neither a pipe that is closed nor a full device gives a traceback."""
    command = f"{RTVIRT} plan --matrix smoke -i {lab}"
    closed = subprocess.run(["sh", "-c", f"{command} | true"], capture_output=True, text=True, check=False)
    assert closed.stderr == ""
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(command.split(), stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 2 and done.stderr.startswith("rtvirt: ") and "No space left" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_terminal_that_knows_ascii_only(tmp_path: Path, lab: Path) -> None:
    (tmp_path / "m.yml").write_text(SMOKE.replace("title: Smoke matrix", "title: Z\u00fcrich"))
    env = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = rtvirt("plan", "--matrix", tmp_path / "m.yml", "-i", lab, env=env)
    assert done.returncode == 0 and "Z\\xfcrich" in done.stdout, done.stderr
