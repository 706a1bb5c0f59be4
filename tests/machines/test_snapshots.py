"""Snapshots of an emulated board: the state that was, or an ordinary boot and one line that says why.

The tests go together.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playing import BENCH, LAB_FOLDER, PLAYBOOKS, on_board, play, stop

from rtvirt_runner.build import artifacts, cache
from rtvirt_runner.catalogue import collection
from rtvirt_runner.machine.ssh_config import socket_folder

BOARD = "bench-c"
pytestmark = [pytest.mark.asserts_on("booting", "convergence", "idempotence"), pytest.mark.xdist_group(BOARD)]
KEEP = collection.ROOT / "roles/virtual_board/files/keep_snapshot.sh"
FOLDER = artifacts.cache_folder() / "boards" / BOARD
SETTINGS = {
    "BOARD_FOLDER": str(FOLDER),
    "SOCKETS": str(socket_folder(str(FOLDER))),
    "GUEST_SOCKETS": str(socket_folder(str(FOLDER / "guest"))),
    "PYTHON": sys.executable,
    "LIMIT_MIB": "4096",
}
KILLED = f"snapshot-{BOARD}-killed"
# A build of a snapshot in a process that can be killed, as the artifact action runs it.
BUILD = f"""
from pathlib import Path
from rtvirt_runner.build import artifacts
recipe = artifacts.Recipe(name={KILLED!r}, script=Path({str(KEEP)!r}), settings={SETTINGS!r})
artifacts.build(recipe, artifacts.cache_folder(), print)
"""


def start(**given: object) -> str:
    """Bring the board up with snapshots; returns what Ansible said."""
    said = play(LAB_FOLDER / "board.yml", *BENCH, "-l", BOARD, "-e", json.dumps({"start": "booted", **given}))
    assert "status 0" in said, said
    return re.sub(r"\s+", " ", said)


def boot_id() -> str:
    return on_board(BOARD, "cat /proc/sys/kernel/random/boot_id")


def snapshots() -> list[Path]:
    """The board's snapshots, the newest last."""
    found = (artifacts.cache_folder() / "artifacts").glob(f"snapshot-{BOARD}-booted-*")
    return sorted(found, key=lambda path: (path / "sums").stat().st_mtime)


@pytest.fixture(scope="module")
def kept() -> Iterator[str]:
    """A board that was just booted, and of which a snapshot was kept; its boot id."""
    for path in snapshots():
        shutil.rmtree(path)
    start()
    yield boot_id()
    stop(BOARD)


def test_a_board_returns_to_its_state_and_its_boot_goes_on(kept: str) -> None:
    on_board(BOARD, "echo changed >/root/after")
    stop(BOARD)
    said = start()
    assert "was not entered" not in said
    assert boot_id() == kept
    assert on_board(BOARD, "ls /root") == "", "what came after the snapshot is not there"


@pytest.mark.slow(exercises=["roles/virtual_board"])
def test_a_matrix_would_not_measure_on_a_board_that_came_from_one(kept: str) -> None:
    stop(BOARD)
    start()
    assert boot_id() == kept
    said = play(LAB_FOLDER / "board.yml", *BENCH, "-l", BOARD, "-e", "start=cold")
    assert "status 0" in said, said
    assert boot_id() != kept
    stop(BOARD)
    start()
    assert boot_id() == kept


def test_one_that_is_killed_while_it_is_written_is_never_seen_and_the_board_goes_on(kept: str) -> None:
    build = subprocess.Popen([sys.executable, "-c", BUILD], stdout=subprocess.DEVNULL, start_new_session=True)
    partial = artifacts.cache_folder() / "artifacts"
    while not (
        written := [path for path in partial.glob(f".partial-{KILLED}-*/card.qcow2.zst") if path.stat().st_size]
    ):
        assert build.poll() is None, "it ended before it could be killed"
    for pid in [*children(build.pid), build.pid]:
        os.kill(pid, signal.SIGKILL)
    build.wait()
    assert list(partial.glob(f"{KILLED}-*")) == []
    left = [entry for entry in cache.entries(artifacts.cache_folder()) if written[0].parent in entry.paths]
    # A build beside this test, whose first act is to remove what ended ones have left, may have been faster.
    assert [(entry.kind, entry.held_by) for entry in left] == [(cache.Kind.UNFINISHED, ())][: len(left)]
    shutil.rmtree(written[0].parent, ignore_errors=True)
    start()  # it stood still
    assert boot_id() == kept


def children(pid: int) -> list[int]:
    """The processes below a process, the deepest first."""
    listed = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [below for child in map(int, listed) for below in (*children(child), child)]


def test_a_full_cache_costs_the_snapshot_alone(kept: str, tmp_path: Path) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", tmp_path], check=True)
    try:
        done = subprocess.run(["sh", KEEP], env={**os.environ, **SETTINGS, "OUT": str(tmp_path)}, check=False)
    finally:
        subprocess.run(["umount", tmp_path], check=True)
    assert done.returncode != 0
    assert boot_id() == kept


def test_another_qemu_asks_for_another_snapshot(kept: str) -> None:
    manifest = json.loads((snapshots()[-1] / "manifest.json").read_text())
    assert Path(manifest["needs"]["QEMU"]).name.startswith("qemu-")  # its folder is named by its content
    assert manifest["inputs"]["VERSION"] == (FOLDER / "emulator").read_text().splitlines()[0]
    recipe = artifacts.Recipe(manifest["name"], KEEP, manifest["inputs"], manifest["needs"])
    other = artifacts.Recipe(manifest["name"], KEEP, {**manifest["inputs"], "VERSION": "7.2.0"}, manifest["needs"])
    assert recipe.key != other.key


@pytest.mark.slow(exercises=["roles/virtual_board"])
def test_one_with_a_byte_changed_is_named_and_the_board_boots(kept: str) -> None:
    card = snapshots()[-1] / "card.qcow2.zst"
    with card.open("r+b") as stream:
        stream.seek(card.stat().st_size // 2)
        byte = stream.read(1)[0]
        stream.seek(-1, os.SEEK_CUR)
        stream.write(bytes([byte ^ 1]))
    stop(BOARD)
    said = start()
    named = f"The snapshot {card.parent.name} of {BOARD} was not entered, so it is removed and the board boots: "
    assert f"{named}It is damaged" in said
    assert boot_id() != kept
    assert len(snapshots()) == 1, "a good one was kept in its place"


@pytest.mark.slow(exercises=["roles/virtual_board"])
def test_one_that_qemu_refuses_is_named_and_the_board_boots(kept: str, tmp_path: Path) -> None:
    before, snapshot = boot_id(), snapshots()[-1]
    stop(BOARD)
    without_state(snapshot, tmp_path / "card.qcow2")
    said = start(virtual_board_snapshots_mib=1)
    assert f"The snapshot {snapshot.name} of {BOARD} was not entered" in said
    assert f"No snapshot of {BOARD} was kept: It takes more than the 1 MiB that the cache keeps of snapshots." in said
    assert boot_id() != before
    assert snapshots() == []


def without_state(snapshot: Path, card: Path) -> None:
    """Take QEMU's state out of a snapshot, and let its sums be right: as from a QEMU that would not know it."""
    packed = snapshot / "card.qcow2.zst"
    image = next(FOLDER.glob("emulator")).read_text().splitlines()[1].split("/bin/")[0] + "/bin/qemu-img"
    subprocess.run(["zstd", "-q", "-d", "-o", card, packed], check=True)
    subprocess.run([image, "snapshot", "-d", "rtvirt", card], check=True)
    subprocess.run(["zstd", "-q", "-f", "-1", "-o", packed, card], check=True)
    sums = subprocess.run(
        ["sha256sum", packed.name, "console.log"], cwd=snapshot, capture_output=True, check=True
    ).stdout
    (snapshot / "sums").write_bytes(sums)


STATE = {"kernel": "linux-6.12-rt", "tuning": "full", "host_cpus": "0", "guest_cpus": "1", "guest": "minimal"}


def converge() -> str:
    said = play(PLAYBOOKS / "converge.yml", *BENCH, "-l", BOARD, "-e", json.dumps({"rtvirt_state": STATE}))
    assert "status 0" in said, said
    return said


def guest() -> str:
    """The boot of the board, QEMU's process there, and how its vCPU is scheduled."""
    threads = (
        "systemctl show --property=MainPID --value rtvirt-guest; read -r _ vcpu </run/rtvirt/guest.vcpus; chrt -p $vcpu"
    )
    return boot_id() + on_board(BOARD, threads)


@pytest.mark.slow(
    exercises=[
        "roles/virtual_board",
        "playbooks/converge.yml",
        "plugins/action/artifact.py",
        "rtvirt_runner/build/artifacts.py",
    ]
)
def test_a_guest_goes_on_where_it_was_and_nothing_is_left_to_converge(kept: str) -> None:
    stop(BOARD)
    converge()
    before = guest()
    assert "SCHED_FIFO" in before
    stop(BOARD)
    said = converge()
    assert guest() == before
    assert re.findall(rf"^{BOARD} .*changed=(\d+)", said, re.MULTILINE) == ["1"], (
        "the board was started, and that is all"
    )
