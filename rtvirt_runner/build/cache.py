"""What the cache holds, what of it is in use, and pruning: the least recently used goes first, nothing in use goes.

In use is what a living process has leased (leases.py), what a running board runs from, what is being made, and what any
of these need. Things leave by being renamed into a hidden folder, behind the gate at which leases are taken: nobody
sees half of one, and what a killed prune has left there goes with the next.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from rtvirt_runner.build import leases
from rtvirt_runner.build.artifacts import remove

SNAPSHOT_PREFIX = "snapshot-"
_PARTIAL_PREFIX = ".partial-"
_KEY = re.compile(r"-[0-9a-f]{16}$")
_ARTIFACT_IN_TEXT = re.compile(r"/artifacts/([^/\s\0\"']+)")
_HEADER_BYTES = 1 << 16  # of a qcow2 file; it names the file that it is a layer over
_BOOKKEEPING = ("leases", "locks")  # a few kilobytes
_BLOCK_BYTES = 512  # what st_blocks counts, whatever the file system's are


class Kind(StrEnum):
    """What sort of thing an entry is."""

    ARTIFACT = "artifact"
    SNAPSHOT = "snapshot"
    DOWNLOAD = "download"
    COMPILER_CACHE = "compiler cache"
    BOARD = "board"
    LOG = "log"
    UNFINISHED = "unfinished"  # builds and downloads under way or cut short, and what a killed prune has left
    KEYS = "keys"
    OTHER = "other"


ALL = frozenset(Kind)
PRUNABLE = ALL - {Kind.KEYS, Kind.OTHER}


@dataclass(frozen=True)
class Entry:
    """One thing that is there, or goes, as a whole.

    ``family`` is its name without the key or sum that tells it from others of its sort. ``size_bytes`` is what it takes
    on the disk. ``used_s`` is when it was last used, in seconds since the epoch. ``held_by`` says who uses it now.
    """

    kind: Kind
    name: str
    family: str
    paths: tuple[Path, ...]
    size_bytes: int
    used_s: float
    held_by: tuple[str, ...] = ()


@dataclass(frozen=True)
class Pruned:
    """What pruning came to, or would come to. ``failures`` are sentences about what could not be removed."""

    limit_bytes: int
    removed: Sequence[Entry]
    left: Sequence[Entry]
    failures: Sequence[str] = ()

    @property
    def before_bytes(self) -> int:
        return self.after_bytes + sum(entry.size_bytes for entry in self.removed)

    @property
    def after_bytes(self) -> int:
        return sum(entry.size_bytes for entry in self.left)

    @property
    def reached(self) -> bool:
        return self.after_bytes <= self.limit_bytes


def entries(cache: Path, kinds: Collection[Kind] = ALL) -> list[Entry]:
    """What is there, of these kinds."""
    in_use = _InUse(cache)
    return [_measured(item, in_use.of(item)) for item in _items(cache) if item.kind in kinds]


def prune(cache: Path, limit_bytes: int, kinds: Collection[Kind] = PRUNABLE, dry_run: bool = False) -> Pruned:
    """Remove entries of these kinds, least recently used first, until they take ``limit_bytes`` or less.

    With all kinds (the default) the limit is for the whole cache. This waits for another prune to end, and lets those
    who find or build something wait for no more than a rename.
    """
    kinds = PRUNABLE & frozenset(kinds)
    counted = ALL if kinds == PRUNABLE else kinds
    if dry_run:
        return _prune(entries(cache, counted), limit_bytes, kinds, lambda entry: True, [])
    with _one_at_a_time(cache):
        _empty_trash(cache)
        with leases.gate(cache, exclusive=True):
            leases.sweep(cache)
        failures: list[str] = []
        return _prune(
            entries(cache, counted), limit_bytes, kinds, lambda entry: _remove(entry, cache, failures), failures
        )


def _prune(
    there: list[Entry], limit_bytes: int, kinds: Collection[Kind], goes: Callable[[Entry], bool], failures: list[str]
) -> Pruned:
    removed: list[Entry] = []
    size_bytes = sum(entry.size_bytes for entry in there)
    for entry in _in_order(there):
        if size_bytes <= limit_bytes:
            break
        if entry.kind in kinds and not entry.held_by and goes(entry):
            removed.append(entry)
            size_bytes -= entry.size_bytes
    return Pruned(limit_bytes, removed, [entry for entry in there if entry not in removed], failures)


def _in_order(there: Iterable[Entry]) -> list[Entry]:
    """Who leaves first: what was never finished, then what was used least recently.

    What an artifact needs was used when that was, and leaves after it: without it, all would have to be made again.
    """
    artifacts = {entry.name: entry for entry in there if entry.kind in (Kind.ARTIFACT, Kind.SNAPSHOT)}
    needs = {name: _needed([entry.paths[0]]) for name, entry in artifacts.items()}
    used_s = {name: entry.used_s for name, entry in artifacts.items()}
    for name, needed in needs.items():
        for other in needed & used_s.keys():
            used_s[other] = max(used_s[other], artifacts[name].used_s)

    def rank(entry: Entry) -> tuple[bool, float, int]:
        finished = entry.kind is not Kind.UNFINISHED
        is_artifact = entry.kind in (Kind.ARTIFACT, Kind.SNAPSHOT)
        return (finished, used_s[entry.name], -len(needs[entry.name])) if is_artifact else (finished, entry.used_s, 0)

    return sorted(there, key=rank)


# ------------------------------------------------------------------------------------------------------ what is there


@dataclass(frozen=True)
class _Item:
    """An entry that is not measured. ``lock`` is held by who makes it."""

    kind: Kind
    name: str
    family: str
    paths: tuple[Path, ...]
    lock: Path | None = None


def _items(cache: Path) -> Iterator[_Item]:
    for path in _children(cache):
        if path.name in _FINDERS:
            yield from _FINDERS[path.name](path)
        elif path.name not in _BOOKKEEPING:
            yield _Item(Kind.OTHER, path.name, path.name, (path,))


def _artifacts(folder: Path) -> Iterator[_Item]:
    for path in _children(folder):
        name = path.name.removeprefix(_PARTIAL_PREFIX)
        family = _KEY.sub("", name)
        if name != path.name:
            yield _Item(Kind.UNFINISHED, name, family, (path,), folder.parent / "locks" / f"{family}.lock")
        else:
            yield _Item(Kind.SNAPSHOT if name.startswith(SNAPSHOT_PREFIX) else Kind.ARTIFACT, name, family, (path,))


def _downloads(folder: Path) -> Iterator[_Item]:
    for path in _children(folder):
        if path.name == "partial":
            for partial in _children(path):
                lock = folder.parent / "locks" / f"{partial.name}.lock"
                yield _Item(Kind.UNFINISHED, partial.name, _KEY.sub("", partial.name), (partial,), lock)
        elif path.name == "refused":
            for refused in _children(path):
                family = f"refused {_first_name(refused)}"
                yield _Item(Kind.DOWNLOAD, f"{family}, {refused.name[:16]}", family, (refused,))
        elif path.name == "lists":
            yield _Item(Kind.DOWNLOAD, "lists of sums", "lists of sums", (path,))
        else:
            family = _first_name(path)
            yield _Item(Kind.DOWNLOAD, f"{family}, {path.name[:16]}", family, (path,))


def _ccache(folder: Path) -> Iterator[_Item]:
    yield _Item(Kind.COMPILER_CACHE, folder.name, folder.name, (folder,))


def _boards(folder: Path) -> Iterator[_Item]:
    for path in _children(folder):
        children = _children(path)
        # A guest's folder holds its keys too; its board may be a real one, on which it runs on.
        if keys := tuple(child for child in children if child.name in ("identity", "guest")):
            yield _Item(Kind.KEYS, path.name, path.name, keys)
        if rest := tuple(child for child in children if child not in keys):
            yield _Item(Kind.BOARD, path.name, path.name, rest)


def _logs(folder: Path) -> Iterator[_Item]:
    for path in _children(folder):
        yield _Item(Kind.LOG, path.name, "runs" if path.name.startswith("run-") else "builds", (path,), path)


def _trash(folder: Path) -> Iterator[_Item]:
    for path in _children(folder):
        yield _Item(Kind.UNFINISHED, f"{folder.name}/{path.name}", "half removed", (path,))


def _test_seconds(file: Path) -> Iterator[_Item]:
    yield _Item(Kind.LOG, file.name, "tests", (file,))


_FINDERS: dict[str, Callable[[Path], Iterator[_Item]]] = {
    "artifacts": _artifacts,
    "downloads": _downloads,
    "ccache": _ccache,
    "boards": _boards,
    "logs": _logs,
    "test-seconds.json": _test_seconds,
    ".pruned": _trash,
}


def _children(folder: Path) -> list[Path]:
    """What is in a folder now; others work here, so it may just have gone."""
    try:
        return sorted(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []


def _first_name(folder: Path) -> str:
    return next((path.name for path in _children(folder)), folder.name)


def _measured(item: _Item, held_by: tuple[str, ...]) -> Entry:
    sizes: dict[tuple[int, int], int] = {}  # a file with several names takes its room once
    newest_s = 0.0
    for path in item.paths:
        for status in _statuses(path):
            sizes[status.st_dev, status.st_ino] = status.st_blocks * _BLOCK_BYTES
            newest_s = max(newest_s, status.st_mtime)
    if item.kind in (Kind.ARTIFACT, Kind.SNAPSHOT, Kind.DOWNLOAD):  # leasing sets the folder's own time
        with contextlib.suppress(FileNotFoundError):
            newest_s = item.paths[0].stat().st_mtime
    return Entry(item.kind, item.name, item.family, item.paths, sum(sizes.values()), newest_s, held_by)


def _statuses(path: Path) -> Iterator[os.stat_result]:
    with contextlib.suppress(FileNotFoundError):
        yield path.lstat()
    if path.is_symlink():
        return
    for folder, folders, files in os.walk(path):
        for name in (*folders, *files):
            with contextlib.suppress(FileNotFoundError):
                yield Path(folder, name).lstat()


# ---------------------------------------------------------------------------------------------------- what is in use


@dataclass
class _InUse:
    """Who uses what at this moment."""

    cache: Path
    _held: dict[Path, list[str]] = field(default_factory=dict)
    _runs: list[str] = field(default_factory=list)
    _boards: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        for path, processes in leases.holders(self.cache).items():
            self._hold([path], [f"run {process.pid}" for process in processes])
        self._runs = sorted({run for runs in self._held.values() for run in runs})
        for folder in _children(self.cache / "boards"):
            if (pid := _running(folder)) is not None:
                self._boards.add(folder.name)
                self._hold(self._run_from(folder, pid), [f"board {folder.name}"])

    def of(self, item: _Item) -> tuple[str, ...]:
        """Who uses it; empty: nobody."""
        match item.kind:
            case Kind.ARTIFACT | Kind.SNAPSHOT | Kind.DOWNLOAD:
                return tuple(self._held.get(item.paths[0], ()))
            case Kind.BOARD:
                # A run makes the folder ready step by step, before it starts the board.
                return (f"board {item.name}",) if item.name in self._boards else tuple(self._runs)
            case Kind.COMPILER_CACHE:
                builds = (self.cache / "locks").glob("kernel-*.lock")
                return tuple(f"build of {lock.stem}" for lock in sorted(builds) if _is_locked(lock))
            case Kind.UNFINISHED | Kind.LOG:
                return ("its maker",) if item.lock and _is_locked(item.lock) else ()
            case Kind.KEYS | Kind.OTHER:
                return ()

    def _hold(self, folders: Collection[Path], by: Collection[str]) -> None:
        needed = {self.cache / "artifacts" / name for name in _needed(folders)}
        for folder in {*folders, *needed}:
            names = self._held.setdefault(folder, [])
            names += [name for name in by if name not in names]

    def _run_from(self, board: Path, pid: int) -> list[Path]:
        """The artifacts that a running board names: its image, its QEMU, what its card is a layer over."""
        texts = [_text(board / "definition"), _text(board / "emulator"), _text(Path(f"/proc/{pid}/cmdline"))]
        names = {name for text in (*texts, *_layers(board)) for name in _ARTIFACT_IN_TEXT.findall(text)}
        return [self.cache / "artifacts" / name for name in sorted(names)]


def _running(board: Path) -> int | None:
    """The process id of a board that runs, recognized as the role virtual_board does it."""
    pid = _text(board / "pid").strip()
    if not pid.isdecimal() or f"guest={board.name}," not in _text(Path(f"/proc/{pid}/cmdline")):
        return None
    return int(pid)


def _needed(artifacts: Collection[Path]) -> set[str]:
    """The names of all artifacts that these need, and those need, and so on."""
    needed: set[str] = set()
    unread = list(artifacts)
    while unread:
        folder = unread.pop()
        found = {name for text in (_needs(folder), *_layers(folder)) for name in _ARTIFACT_IN_TEXT.findall(text)}
        unread += [folder.parent / name for name in found - needed]
        needed |= found
    return needed


def _needs(artifact: Path) -> str:
    """The folders of the artifacts that it was made from, as its manifest has them."""
    try:
        return " ".join(json.loads((artifact / "manifest.json").read_text())["needs"].values())
    except (OSError, ValueError, KeyError):  # none, or damaged: it is made again when it is wanted
        return ""


def _layers(folder: Path) -> list[str]:
    """The beginnings of the disks in a folder that may be layers over others."""
    return [_text(path) for path in sorted(folder.glob("*.qcow2"))]


def _text(path: Path) -> str:
    """The beginning of a file; empty when it is gone or not for us."""
    try:
        with path.open("rb") as handle:
            return handle.read(_HEADER_BYTES).replace(b"\0", b" ").decode("latin-1")
    except OSError:
        return ""


def _is_locked(path: Path) -> bool:
    with _locked(path) as free:
        return not free


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[bool]:
    """Hold a lock if it is free; nobody holds one that does not exist."""
    try:
        handle = path.open("rb")
    except OSError:
        yield True
        return
    with handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True


# ----------------------------------------------------------------------------------------------------------- removing


@contextlib.contextmanager
def _one_at_a_time(cache: Path) -> Iterator[None]:
    folder = cache / "leases"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "prune").open("a") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _empty_trash(cache: Path) -> None:
    for path in _children(cache / ".pruned"):
        with contextlib.suppress(OSError):  # it stays an entry, and is complained of when its turn comes
            remove(path)


def _remove(entry: Entry, cache: Path, failures: list[str]) -> bool:
    """Remove it unless somebody has begun to use it; returns whether it went."""
    try:
        trash = _set_aside(entry, cache)
        if trash is not None:
            remove(trash)
    except OSError as error:
        failures.append(f"{entry.name} could not be removed: {error.strerror} ({error.filename}); remove it as root.")
        return False
    return trash is not None


def _set_aside(entry: Entry, cache: Path) -> Path | None:
    """Take it out of everybody's sight; None when somebody has begun to use it."""
    (cache / ".pruned").mkdir(exist_ok=True)
    with leases.gate(cache, exclusive=True):
        item = next((item for item in _items(cache) if (item.kind, item.name) == (entry.kind, entry.name)), None)
        if item is None or _InUse(cache).of(item):
            return None
        with _locked(item.lock) if item.lock else contextlib.nullcontext(True) as free:
            if not free:
                return None
            trash = Path(tempfile.mkdtemp(dir=cache / ".pruned"))
            for path in item.paths:
                path.rename(trash / path.name)
        if entry.kind is Kind.BOARD:
            with contextlib.suppress(OSError):  # its keys are there
                item.paths[0].parent.rmdir()
    return trash
