"""A card's root takes its room at the first boot, and another is written beside it: on real block devices (loop)."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from loops import MIB, attached, check_when_free, mounted, run

from rtvirt_runner.catalogue import collection
from rtvirt_runner.machine import script_reply

FILES = collection.ROOT / "roles/board_image/files"
FIRST_BOOT = FILES / "overlay/usr/lib/rtvirt/first_boot"
WRITE_ROOT = (FILES / "write_root.sh").read_text()
BOOT_MIB, ROOT_MIB = 8, 40
ROOT_AT_MIB = 1 + BOOT_MIB
TABLE = f"""\
label: {{label}}
start=1MiB, size={BOOT_MIB}MiB, type={{boot}}
size={ROOT_MIB}MiB, type=linux
"""
CARD_MIB = 256
WHOLE, HALF = CARD_MIB - ROOT_AT_MIB - 2, 122  # MiB: what is there, 2 MiB at the end aside; two have half of it each


@contextmanager
def inserted(card: Path) -> Iterator[Path]:
    """A card in a board: the kernel knows its partitions."""
    with attached(card, "--partscan") as disk:
        run("partx", "--update", disk)  # kernels need not know this kind of table
        yield disk


def make_root(folder: Path, slots: int) -> Path:
    """A root file system as build_image.sh makes it; returns the file that holds it."""
    tree = folder / "tree"
    (tree / "etc").mkdir(parents=True)
    (tree / "etc/hello").write_text("a fresh system\n")
    (tree / "etc/rtvirt-first-boot").write_text(f"{slots}\n")
    image = folder / "root.img"
    command = ["mke2fs", "-q", "-t", "ext4", "-d", tree, "-E", "lazy_itable_init=1", image, f"{ROOT_MIB}M"]
    subprocess.run(command, env={**os.environ, "E2FSPROGS_FAKE_TIME": "1"}, check=True)
    return image


def make_card(folder: Path, slots: int, mib: int = CARD_MIB, label: str = "dos") -> Path:
    """A card as it was written: the image at its beginning, nothing behind it."""
    card = folder / "card.img"
    with card.open("wb") as file:
        file.truncate(mib * MIB)
    table = TABLE.format(label=label, boot="c" if label == "dos" else "linux")
    subprocess.run(["sfdisk", "--quiet", card], input=table, text=True, check=True)
    with card.open("r+b") as file:
        file.seek(ROOT_AT_MIB * MIB)
        file.write(make_root(folder, slots).read_bytes())
    return card


def may_grow_what_is_mounted() -> bool:
    """CAP_SYS_RESOURCE; root in a container may lack it."""
    status = Path("/proc/self/status").read_text()
    return bool(int(status.partition("CapEff:")[2].split()[0], 16) >> 24 & 1)


def boot(card: Path, where: Path, cut: Path | None = None) -> subprocess.CompletedProcess[str]:
    """One boot of the card, with programs of ``cut`` in the place of the system's; then the power goes.

    Where this user may not grow a file system that is mounted, it is grown when the board is off, as it was asked for.
    """
    noted = where.with_name("to_grow")
    stand_ins = where.with_name("stand_ins")
    stand_ins.mkdir(exist_ok=True)
    if not may_grow_what_is_mounted():
        (stand_ins / "resize2fs").write_text(f'#!/bin/sh\necho "$1" >{noted}\n')
        (stand_ins / "resize2fs").chmod(0o755)
    path = ":".join(map(str, [*([cut] if cut else []), stand_ins, os.environ["PATH"]]))
    with inserted(card) as disk:
        with mounted(f"{disk}p2", where):
            env = {**os.environ, "PATH": path}
            done = subprocess.run([FIRST_BOOT, where], env=env, capture_output=True, text=True, check=False)
        if noted.exists():
            assert noted.read_text() == f"{disk}p2\n"
            check_when_free(f"{disk}p2")
            run("resize2fs", f"{disk}p2")
            noted.unlink()
    return done


def layout(card: Path) -> dict[int, tuple[int, int]]:
    """Where each partition begins and how large it is, in MiB, by its number."""
    table: dict[str, Any] = json.loads(run("sfdisk", "--json", card))["partitiontable"]
    sectors = MIB // 512
    return {
        int(each["node"].removeprefix(str(card))): (each["start"] // sectors, each["size"] // sectors)
        for each in table["partitions"]
    }


def check_root(partition: Path, mib: int, where: Path) -> bool:
    """The file system fills its partition and is sound; returns whether a first boot is still to come."""
    run("e2fsck", "-f", "-n", partition)
    facts = dict(line.split(":", 1) for line in run("dumpe2fs", "-h", partition).splitlines() if ":" in line)
    assert int(facts["Block count"]) * int(facts["Block size"]) == mib * MIB
    with mounted(partition, where, "--read-only"):
        assert (where / "etc/hello").read_text() == "a fresh system\n"
        return (where / "etc/rtvirt-first-boot").exists()


@pytest.mark.parametrize("label", ["dos", "gpt"])
@pytest.mark.parametrize(
    ("slots", "expected"),
    [(1, {2: (ROOT_AT_MIB, WHOLE)}), (2, {2: (ROOT_AT_MIB, HALF), 3: (ROOT_AT_MIB + HALF, HALF)})],
    ids=["one root", "two roots"],
)
def test_the_root_takes_its_room(tmp_path: Path, label: str, slots: int, expected: dict[int, tuple[int, int]]) -> None:
    card = make_card(tmp_path, slots, label=label)
    assert layout(card) == {1: (1, BOOT_MIB), 2: (ROOT_AT_MIB, ROOT_MIB)}
    done = boot(card, tmp_path / "root")
    assert done.returncode == 0, done.stderr
    assert layout(card) == {1: (1, BOOT_MIB), **expected}
    with inserted(card) as disk:
        assert not check_root(Path(f"{disk}p2"), expected[2][1], tmp_path / "root")


@pytest.mark.parametrize(
    ("program", "at"),
    [
        ("sfdisk", "--partno"),
        ("partx", "--update"),
        ("sfdisk", "--append"),
        ("partx", "--add"),
        ("resize2fs", ""),
        ("rm", ""),
    ],
)
def test_a_boot_that_was_cut_is_made_good_by_the_next(tmp_path: Path, program: str, at: str) -> None:
    card = make_card(tmp_path, slots=2)
    cut = tmp_path / "cut"
    cut.mkdir()
    real = run("sh", "-c", f"command -v {program}")
    (cut / program).write_text(f'#!/bin/sh\ncase " $* " in *"{at}"*) exit 9 ;; esac\nexec {real} "$@"\n')
    (cut / program).chmod(0o755)
    assert boot(card, tmp_path / "root", cut).returncode == 9
    with inserted(card) as disk, mounted(f"{disk}p2", tmp_path / "root", "--read-only") as root:
        assert (root / "etc/rtvirt-first-boot").exists()  # so that it is begun again
    done = boot(card, tmp_path / "root")
    assert done.returncode == 0, done.stderr
    assert layout(card) == {1: (1, BOOT_MIB), 2: (ROOT_AT_MIB, HALF), 3: (ROOT_AT_MIB + HALF, HALF)}
    with inserted(card) as disk:
        assert not check_root(Path(f"{disk}p2"), HALF, tmp_path / "root")


@pytest.mark.parametrize("slots", [1, 2])
def test_a_card_that_is_full_stays_as_it_is(tmp_path: Path, slots: int) -> None:
    card = make_card(tmp_path, slots, mib=ROOT_AT_MIB + ROOT_MIB + 1)
    before = layout(card)
    assert boot(card, tmp_path / "root").returncode == 0
    assert layout(card) == before
    with inserted(card) as disk:
        assert not check_root(Path(f"{disk}p2"), ROOT_MIB, tmp_path / "root")


def test_a_card_with_no_room_for_a_second_root_has_one(tmp_path: Path) -> None:
    """A half of it would be smaller than the root already is."""
    card = make_card(tmp_path, slots=2, mib=ROOT_AT_MIB + 2 * ROOT_MIB)
    done = boot(card, tmp_path / "root")
    assert done.returncode == 0, done.stderr
    assert layout(card) == {1: (1, BOOT_MIB), 2: (ROOT_AT_MIB, 2 * ROOT_MIB - 2)}


# ------------------------------------------------------------------------------------- the other root, over the network


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("board")


@pytest.fixture(scope="module")
def board(folder: Path) -> Iterator[Path]:
    """The card in a board that has booted once, and so has two roots."""
    card = make_card(folder, slots=2)
    assert boot(card, folder / "root").returncode == 0
    with inserted(card) as disk:
        yield disk


def write_root(folder: Path, disk: Path, running: str = "p2", **changes: str) -> script_reply.Reply:
    """Send the fresh root to a board that runs from one of its two."""
    image = (folder / "root.img").read_bytes()
    (folder / "cmdline").write_text(f"console=ttyS0 root={disk}{running} rootwait quiet\n")
    environment = {
        "RTVIRT_CHECK_MODE": "no",
        "RUNNING_LINE": str(folder / "cmdline"),
        "ROOTS": f"{disk}p2 {disk}p3",
        "BYTES": str(len(image)),
        "SUM": hashlib.sha256(image).hexdigest(),
    }
    script = script_reply.compose(WRITE_ROOT, environment | changes, reads_input=True)
    done = subprocess.run(["sh", "-c", script], input=gzip.compress(image, 1), stdout=subprocess.PIPE, check=False)
    return script_reply.parse(done.stdout.decode())


def test_the_root_that_does_not_run_is_written_whichever_runs(board: Path, folder: Path) -> None:
    for running, other in (("p2", "p3"), ("p3", "p2")):
        reply = write_root(folder, board, running)
        assert (reply.failure, reply.facts) == (None, {"root": f"{board}{other}"})
        assert reply.changes == [f"wrote {ROOT_MIB} MiB to {board}{other}"]
        assert not check_root(Path(f"{board}{other}"), HALF, folder / "root")


def test_a_root_that_comes_damaged_is_not_booted(board: Path, folder: Path) -> None:
    reply = write_root(folder, board, SUM="0" * 64)
    assert reply.failure == (
        f"What was written to {board}p3 is not what was sent; it is not booted. Run this again, and take another card "
        "if that ends the same way."
    )
    assert "root" not in reply.facts


def test_a_root_that_is_not_the_profile_s_is_not_guessed_at(board: Path, folder: Path) -> None:
    reply = write_root(folder, board, running="p1")
    assert reply.failure == (
        f"The board runs from {board}p1, expected one of {board}p2 {board}p3; is its board_image_profile right?"
    )


def test_a_board_without_another_root_is_told_to_take_a_card(board: Path, folder: Path) -> None:
    reply = write_root(folder, board, ROOTS=f"{board}p2 {board}p4")
    assert reply.failure == (
        f"The board has no {board}p4, expected its other root; write a card instead, whose first boot makes it."
    )


def test_another_root_that_is_in_use_or_too_small_is_left_alone(board: Path, folder: Path) -> None:
    run("mkfs.ext4", "-q", f"{board}p3")
    with mounted(f"{board}p3", folder / "data") as data:
        (data / "mine").write_text("mine\n")
        assert write_root(folder, board).failure == (
            f"The other root, {board}p3, is mounted; unmount it, and run this again."
        )
    assert write_root(folder, board, BYTES=str((HALF + 1) * MIB)).failure == (
        f"The other root, {board}p3, has {HALF} MiB, expected {HALF + 1} or more; write a larger card."
    )
    with mounted(f"{board}p3", folder / "data", "--read-only") as data:
        assert (data / "mine").read_text() == "mine\n"
