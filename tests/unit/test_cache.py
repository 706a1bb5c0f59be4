"""What the cache holds and what pruning leaves: real files, real processes, real locks."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from rtvirt_runner.build import artifacts, cache, downloads
from rtvirt_runner.build.artifacts import Recipe
from rtvirt_runner.build.cache import Kind
from rtvirt_runner.cli import main as cli

MIB = 1 << 20
KEY = "0123456789abcdef"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, the one that the commands use."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return artifacts.cache_folder()


def artifact(folder: Path, name: str, used_s: float, mib: int = 1, needs: tuple[Path, ...] = ()) -> Path:
    """An artifact of a run that has ended."""
    path = folder / "artifacts" / f"{name}-{KEY}"
    path.mkdir(parents=True)
    (path / "content").write_bytes(os.urandom(mib * MIB))
    manifest = {"name": name, "key": KEY, "needs": {f"NEED{i}": str(need) for i, need in enumerate(needs)}}
    (path / "manifest.json").write_text(json.dumps(manifest | {"seconds": 1.0}))
    os.utime(path, (used_s, used_s))
    return path


def board(folder: Path, name: str, image: Path) -> Path:
    """The folder of a board that was started once."""
    path = folder / "boards" / name
    (path / "identity").mkdir(parents=True)
    (path / "guest").mkdir()
    for keys in ("identity", "guest"):
        (path / keys / "client_key").write_text("secret")
    (path / "definition").write_text(f"{image} /usr -machine virt")
    (path / "console.log").write_bytes(os.urandom(MIB))
    return path


@contextlib.contextmanager
def process_called(*words: str) -> Iterator[int]:
    """A living process with these words in its command line."""
    command = [sys.executable, "-c", "import sys; print(flush=True); sys.stdin.read()", *words]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process.pid
        process.communicate()


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    with artifacts.lock(path, print):
        yield


def names(entries: object) -> list[str]:
    assert isinstance(entries, list | tuple)
    return [entry.name.removesuffix(f"-{KEY}") for entry in entries]


# ---------------------------------------------------------------------------------------------------- what is there


def test_every_kind_is_found_with_the_room_that_it_takes(folder: Path) -> None:
    artifact(folder, "kernel", used_s=1000)
    artifact(folder, "snapshot-board-booted", used_s=2000)
    (folder / "artifacts" / f".partial-image-{KEY}").mkdir()
    (folder / "downloads" / ("a" * 64)).mkdir(parents=True)
    (folder / "downloads" / ("a" * 64) / "linux.tar.xz").write_bytes(b"x" * MIB)
    (folder / "downloads" / "partial" / f"other.tar-{KEY}").mkdir(parents=True)
    (folder / "downloads" / "refused" / ("b" * 64)).mkdir(parents=True)
    (folder / "ccache" / "0").mkdir(parents=True)
    (folder / "logs").mkdir()
    (folder / "logs" / f"kernel-{KEY}.log").write_text("made")
    board(folder, "bench", folder / "artifacts" / f"kernel-{KEY}")
    (folder / "notes").mkdir()
    entries = {(entry.kind.value, entry.family): entry for entry in cache.entries(folder)}
    assert set(entries) == {
        ("artifact", "kernel"),
        ("snapshot", "snapshot-board-booted"),
        ("unfinished", "image"),
        ("download", "linux.tar.xz"),
        ("unfinished", "other.tar"),
        ("download", f"refused {'b' * 64}"),
        ("compiler cache", "ccache"),
        ("log", "builds"),
        ("board", "bench"),
        ("keys", "bench"),
        ("other", "notes"),
    }
    kernel = entries["artifact", "kernel"]
    assert MIB <= kernel.size_bytes < MIB + 65536
    assert (kernel.used_s, kernel.held_by) == (1000, ())


def test_a_hole_in_a_file_takes_no_room_and_a_second_name_none_more(folder: Path) -> None:
    path = artifact(folder, "image", used_s=0)
    with (path / "card.img").open("wb") as card:
        card.truncate(1 << 30)
    (path / "again").hardlink_to(path / "content")
    (entry,) = cache.entries(folder)
    assert MIB <= entry.size_bytes < 2 * MIB


# ---------------------------------------------------------------------------------------------------------- pruning


def test_what_was_used_least_recently_leaves_first_and_no_more_than_must(folder: Path) -> None:
    for name, used_s in (("new", 3000), ("old", 1000), ("middle", 2000)):
        artifact(folder, name, used_s)
    pruned = cache.prune(folder, 5 * MIB // 2)
    assert (names(pruned.removed), names(pruned.left)) == (["old"], ["middle", "new"])
    assert pruned.reached and pruned.before_bytes > 3 * MIB > pruned.limit_bytes >= pruned.after_bytes
    assert not (folder / "artifacts" / f"old-{KEY}").exists()
    assert cache.prune(folder, 5 * MIB // 2).removed == []


def test_finding_something_is_using_it(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "build.sh").write_text('head -c 1048576 /dev/urandom >"$OUT/file"')
    recipe = Recipe("found", tmp_path / "build.sh")
    made = artifacts.build(recipe, folder, print).path
    os.utime(made, (1000, 1000))
    artifact(folder, "other", used_s=2000)
    assert artifacts.find(recipe, folder)
    forget_leases(folder)
    assert names(cache.prune(folder, 3 * MIB // 2).removed) == ["other"]


def forget_leases(folder: Path) -> None:
    for lease in (folder / "leases" / "artifacts").glob("*/*"):
        lease.unlink()


def test_what_is_needed_leaves_after_what_needs_it(folder: Path) -> None:
    rootfs = artifact(folder, "rootfs", used_s=1000)
    image = artifact(folder, "image", used_s=3000, needs=(rootfs,))
    artifact(folder, "card", used_s=3000, needs=(image,))
    artifact(folder, "other", used_s=2000)
    assert names(cache.prune(folder, 0).removed) == ["other", "card", "image", "rootfs"]


def test_kinds_have_limits_of_their_own(folder: Path) -> None:
    artifact(folder, "kernel", used_s=1)
    artifact(folder, "snapshot-one", used_s=2)
    artifact(folder, "snapshot-two", used_s=3)
    pruned = cache.prune(folder, 3 * MIB // 2, kinds={Kind.SNAPSHOT})
    assert (names(pruned.removed), names(pruned.left)) == (["snapshot-one"], ["snapshot-two"])
    assert (folder / "artifacts" / f"kernel-{KEY}").exists()


def test_a_dry_run_tells_the_same_and_removes_nothing(folder: Path) -> None:
    artifact(folder, "one", used_s=1)
    would = cache.prune(folder, 0, dry_run=True)
    assert names(would.removed) == ["one"]
    assert [path.name for path in folder.iterdir()] == ["artifacts"]
    assert names(cache.prune(folder, 0).removed) == ["one"]


def test_a_pruned_artifact_is_just_made_again(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "build.sh").write_text('echo made >"$OUT/file"')
    recipe = Recipe("thing", tmp_path / "build.sh")
    artifacts.build(recipe, folder, print)
    forget_leases(folder)
    cache.prune(folder, 0)
    assert artifacts.find(recipe, folder) is None
    again = artifacts.build(recipe, folder, print)
    assert again.built and (again.path / "file").read_text() == "made\n"


def test_a_pruned_download_is_just_fetched_again(folder: Path, tmp_path: Path) -> None:
    source = tmp_path / "source.tar"
    source.write_bytes(b"source")
    download = downloads.Download(source.as_uri(), "41cf6794ba4200b839c53531555f0f3998df4cbb01a4d5cb0b94e3ca5e23947d")
    store = downloads.Store(folder)
    kept = downloads.fetch(download, store, print)
    assert cache.prune(folder, 0).removed == [] and kept.exists()  # this run has it in use
    (lease,) = (folder / "leases" / "downloads").glob("*/*")
    lease.unlink()
    assert [entry.family for entry in cache.prune(folder, 0).removed] == ["source.tar"]
    assert downloads.find(download, store) is None
    assert downloads.fetch(download, store, print) == kept and kept.read_bytes() == b"source"


# ----------------------------------------------------------------------------------------------------------- in use


def test_a_run_keeps_what_it_found_and_all_that_this_needs_until_it_ends(folder: Path) -> None:
    rootfs = artifact(folder, "rootfs", used_s=1)
    image = artifact(folder, "image", used_s=2, needs=(rootfs,))
    artifact(folder, "other", used_s=3)
    code = (
        "import sys; from pathlib import Path; from rtvirt_runner.build import leases\n"
        "cache, image = map(Path, sys.argv[1:])\n"
        "print(leases.hold(cache, image, image / 'manifest.json'), flush=True); sys.stdin.read()\n"
    )
    command = [sys.executable, "-c", code, folder, image]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        assert run.stdout.readline() == "True\n"
        pruned = cache.prune(folder, 0)
        assert names(pruned.removed) == ["other"]
        held = [entry.held_by for entry in pruned.left if entry.kind is Kind.ARTIFACT]
        assert held == [(f"run {run.pid}",), (f"run {run.pid}",)]
        assert not pruned.reached
        run.communicate()
    assert names(cache.prune(folder, 0).removed) == ["image", "rootfs"]


def test_a_running_board_keeps_its_folder_its_image_and_what_its_card_is_a_layer_over(folder: Path) -> None:
    rootfs = artifact(folder, "rootfs", used_s=1)
    image = artifact(folder, "image", used_s=1, needs=(rootfs,))
    state = artifact(folder, "snapshot-bench-booted", used_s=1)
    (state / "card.qcow2").write_bytes(b"QFI\xfb" + bytes(500) + f"{rootfs}/card.img".encode() + bytes(500))
    bench = board(folder, "bench", image)
    (bench / "card.qcow2").write_bytes(b"QFI\xfb" + bytes(500) + f"{state}/card.qcow2".encode() + bytes(500))
    with process_called("-name", "guest=bench,debug-threads=on") as pid:
        (bench / "pid").write_text(f"{pid}\n")
        pruned = cache.prune(folder, 0)
        assert pruned.removed == []
        held = {entry.name: entry.held_by for entry in pruned.left if entry.held_by}
        assert set(held.values()) == {("board bench",)}
        assert set(held) == {rootfs.name, image.name, state.name, "bench"}
    assert len(cache.prune(folder, 0).removed) == 4


def test_a_board_that_does_not_run_leaves_its_keys_and_those_of_its_guest(folder: Path) -> None:
    bench = board(folder, "bench", Path("/image"))
    other = board(folder, "other", Path("/image"))
    with process_called("guest=bench2,") as pid:  # the number was taken again
        (bench / "pid").write_text(f"{pid}\n")
        cache.prune(folder, 0)
    for path in (bench, other):
        assert {child.name for child in path.iterdir()} == {"identity", "guest"}
        assert (path / "guest" / "client_key").read_text() == "secret"


def test_a_board_that_a_run_may_be_about_to_start_is_left_alone(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "build.sh").write_text("")
    artifacts.build(Recipe("image", tmp_path / "build.sh"), folder, print)  # by this process, which lives
    bench = board(folder, "bench", Path("/image"))
    assert Kind.BOARD not in [entry.kind for entry in cache.prune(folder, 0).removed]
    assert (bench / "console.log").exists()


def test_what_is_being_made_stays_and_what_a_killed_build_left_goes_first(folder: Path) -> None:
    artifact(folder, "old", used_s=1)
    for name in ("killed", "going-on"):
        (folder / "artifacts" / f".partial-{name}-{KEY}").mkdir()
        (folder / "artifacts" / f".partial-{name}-{KEY}" / "half").write_bytes(b"x" * MIB)
    going_on = folder / "downloads" / "partial" / f"linux.tar-{KEY}"
    going_on.mkdir(parents=True)
    (going_on / "file").write_bytes(b"half")
    with locked(folder / "locks" / "going-on.lock"), locked(folder / "locks" / f"linux.tar-{KEY}.lock"):
        assert names(cache.prune(folder, 5 * MIB // 2).removed) == ["killed"]
        assert names(cache.prune(folder, 0).removed) == ["old"]
        assert (folder / "artifacts" / f".partial-going-on-{KEY}" / "half").exists() and going_on.exists()
    assert names(cache.prune(folder, 0).removed) == ["going-on", "linux.tar"]


def test_the_compiler_cache_stays_while_a_kernel_is_built(folder: Path) -> None:
    (folder / "ccache").mkdir(parents=True)
    (folder / "ccache" / "object").write_text("object")
    with locked(folder / "locks" / "kernel-x.lock"):
        assert cache.prune(folder, 0).removed == []
    assert names(cache.prune(folder, 0).removed) == ["ccache"]


def test_a_log_stays_while_it_is_written(folder: Path) -> None:
    (folder / "logs").mkdir(parents=True)
    with (folder / "logs" / f"one-{KEY}.log").open("w") as log:
        fcntl.flock(log, fcntl.LOCK_SH)
        print("compiling", file=log, flush=True)
        assert cache.prune(folder, 0).removed == []
    assert len(cache.prune(folder, 0).removed) == 1


# ------------------------------------------------------------------------------------------------- side by side

BUILDER = """
import sys
from pathlib import Path
from rtvirt_runner.build import artifacts
cache, script = map(Path, sys.argv[1:])
made = []
for turn in range(8):
    recipe = artifacts.Recipe("thing", script, inputs={"NUMBER": str(turn)})
    made.append(artifacts.build(recipe, cache, lambda said: None).path)
    for number, path in enumerate(made):
        assert (path / "file").read_text() == f"{number}\\n", f"{number} of {turn} vanished"
(cache / "built").touch()
sys.stdin.read()
"""


def test_nothing_that_a_living_process_has_built_vanishes(folder: Path, tmp_path: Path) -> None:
    script = tmp_path / "build.sh"
    script.write_text('echo "$NUMBER" >"$OUT/file"')
    command = [sys.executable, "-c", BUILDER, folder, script]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as builder:
        while builder.poll() is None and not (folder / "built").exists():
            assert Kind.ARTIFACT not in [entry.kind for entry in cache.prune(folder, 0).removed]
        _, complaint = builder.communicate()
        assert builder.returncode == 0, complaint
    assert sum(entry.kind is Kind.ARTIFACT for entry in cache.prune(folder, 0).removed) == 8


# Finds them from the last to the first, while a prune comes from the first to the last.
FINDER = """
import sys
from pathlib import Path
from rtvirt_runner.build import artifacts
cache, script, count = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
recipes = [artifacts.Recipe("thing", script, inputs={"NUMBER": str(number)}) for number in range(count)]
print("ready", flush=True)
sys.stdin.readline()
found = [made for recipe in reversed(recipes) if (made := artifacts.find(recipe, cache))]
print(len(found), flush=True)
sys.stdin.readline()
print(sum((made.path / "content").exists() for made in found), flush=True)
"""


def test_each_artifact_is_either_found_and_stays_or_is_pruned(folder: Path, tmp_path: Path) -> None:
    script = tmp_path / "build.sh"
    script.touch()
    count, pipe, met = 40, subprocess.PIPE, False
    for _ in range(20):
        for number in range(count):
            made = artifact(folder, "thing", used_s=number, mib=0)
            made.rename(made.with_name(f"thing-{Recipe('thing', script, inputs={'NUMBER': str(number)}).key}"))
        command = [sys.executable, "-c", FINDER, folder, script, str(count)]
        with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, bufsize=1) as finder:
            assert finder.stdin is not None and finder.stdout is not None
            assert finder.stdout.readline() == "ready\n"
            finder.stdin.write("go\n")
            pruned = len(cache.prune(folder, 0).removed)
            found = int(finder.stdout.readline())
            assert pruned + found == count
            assert cache.prune(folder, 0).removed == []
            finder.stdin.write("look\n")
            assert int(finder.stdout.readline()) == found
            finder.communicate()
        cache.prune(folder, 0)
        if met := 0 < found < count:
            break
    assert met


KILLED = """
import os, signal, sys
from pathlib import Path
from rtvirt_runner.build import cache

def remove_half(path):
    next(path.rglob("content")).unlink()
    os.kill(os.getpid(), signal.SIGKILL)

cache.remove = remove_half
cache.prune(Path(sys.argv[1]), 0)
"""


def test_nobody_sees_half_of_what_a_killed_prune_was_removing(folder: Path) -> None:
    for used_s, name in enumerate(("first", "second", "third")):
        artifact(folder, name, used_s)
    assert subprocess.run([sys.executable, "-c", KILLED, folder], check=False).returncode == -signal.SIGKILL
    left = sorted((folder / "artifacts").iterdir())
    assert [path.name for path in left] == [f"second-{KEY}", f"third-{KEY}"]
    assert all((path / "content").exists() and (path / "manifest.json").exists() for path in left)
    assert [entry.kind for entry in cache.entries(folder) if entry.family == "half removed"] == [Kind.UNFINISHED]

    assert cache.prune(folder, 1 << 40).removed == []
    assert list((folder / ".pruned").iterdir()) == []
    assert sorted((folder / "artifacts").iterdir()) == left


def test_what_cannot_be_removed_is_named_and_the_rest_goes(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    artifact(folder, "of-root", used_s=1)
    artifact(folder, "own", used_s=2)

    def remove(path: Path) -> None:
        if any(path.glob("of-root-*")):
            raise PermissionError(1, "Operation not permitted", str(path / "file"))
        artifacts.remove(path)

    monkeypatch.setattr(cache, "remove", remove)
    pruned = cache.prune(folder, 0)
    assert names(pruned.removed) == ["own"] and names(pruned.left) == ["of-root"]
    (failure,) = pruned.failures
    assert failure.startswith(f"of-root-{KEY} could not be removed: Operation not permitted (")


# ------------------------------------------------------------------------------------------------------ the command


def test_the_table_folds_what_is_of_one_name(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = artifact(folder, "kernel-x", used_s=1)
    first.rename(first.with_name("kernel-x-fedcba9876543210"))
    artifact(folder, "kernel-x", used_s=2)
    artifact(folder, "image", used_s=3)
    assert cli.main(["cache"]) == 0
    lines = [line.replace("│", " ").split() for line in capsys.readouterr().out.splitlines()]
    assert [line[:5] for line in lines if line[:2] == ["artifact", "kernel-x"]] == [
        ["artifact", "kernel-x", "2", "2.1", "MB"]
    ]
    assert ["artifact", "together", "3", "3.2", "MB"] in lines
    assert cli.main(["cache", "--all"]) == 0
    assert "kernel-x-fedcba9876543210" in capsys.readouterr().out


def test_machines_get_bytes_and_paths(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = artifact(folder, "image", used_s=86400)
    assert cli.main(["cache", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    (entry,) = told["entries"]
    assert told["size_bytes"] == entry["size_bytes"] > MIB
    assert entry["paths"] == [str(path)] and entry["last_used"] == "1970-01-02T00:00:00+00:00" and entry["prunable"]


def test_prune_says_what_went_and_what_stays(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    artifact(folder, "old", used_s=1)
    artifact(folder, "new", used_s=2)
    assert cli.main(["cache", "prune", "--to", "1.5MiB", "--dry-run"]) == 0
    assert "1 entry with 1.1 MB would go; the cache took 2.1 MB and would take 1.1 MB." in capsys.readouterr().out
    assert cli.main(["cache", "prune", "--to", "1.5MiB"]) == 0
    told = capsys.readouterr().out
    assert told.index(f"old-{KEY}") < told.index("left") < told.index("new")
    assert "1 entry with 1.1 MB went" in told.splitlines()[-1]


def test_prune_says_why_it_could_not_do_what_was_asked(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image = artifact(folder, "image", used_s=1)
    bench = board(folder, "bench", image)
    with process_called("guest=bench,") as pid:
        (bench / "pid").write_text(str(pid))
        assert cli.main(["cache", "prune", "--to", "1MB"]) == 1
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith("That is more than 1.0 MB: ")
    assert "2.1 MB are in use" in last and "are keys, by which a lab knows its boards and guests" in last


@pytest.mark.parametrize("size", ["1", "1G", "GB", "-1GB", "1 potato", ""])
def test_a_bad_size_is_one_sentence(size: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["cache", "prune", f"--to={size}"]) == 2
    assert capsys.readouterr().err == (
        f"rtvirt: '{size}' is no size, expected a number with a unit, such as 1GB, 1.5TB or 500MiB.\n"
    )
    assert not folder.exists()


def test_an_empty_cache_is_no_trouble(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["cache"]) == 0
    assert cli.main(["cache", "prune", "--to", "0", "--dry-run"]) == 0
    assert "0 entries with 0 kB would go" in capsys.readouterr().out
