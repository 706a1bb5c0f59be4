"""Content of the cache, its users, and pruning: the least recently used entries go first, entries in use stay.

An entry is in use if a running process has leased it (leases.py), a running board runs from it, it is being built, or
another entry in use needs it. An entry is removed by renaming it into a hidden folder while leases are blocked
(leases.gate): it is never seen half removed, and leftovers of a killed prune are removed by the next.
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
from rtvirt_runner.build.artifacts import PARTIAL_PREFIX, remove

SNAPSHOT_PREFIX = "snapshot-"
_KEY = re.compile(r"-[0-9a-f]{16}(\.\w+)?$")  # behind a dot: of one of several builds
_ARTIFACT_IN_TEXT = re.compile(r"/artifacts/([^/\s\0\"']+)")
_HEADER_BYTES = 1 << 16  # of a qcow2 file; it contains the path of the backing file
_BOOKKEEPING = ("leases", "locks")  # a few kilobytes
_BLOCK_BYTES = 512  # unit of st_blocks, on any file system


class Kind(StrEnum):
    """The kind of an entry."""

    ARTIFACT = "artifact"
    SNAPSHOT = "snapshot"
    DOWNLOAD = "download"
    COMPILER_CACHE = "compiler cache"
    BOARD = "board"
    LOG = "log"
    UNFINISHED = "unfinished"  # builds and downloads in progress or interrupted, and leftovers of a killed prune
    KEYS = "keys"
    OTHER = "other"


ALL = frozenset(Kind)
PRUNABLE = ALL - {Kind.KEYS, Kind.OTHER}


@dataclass(frozen=True)
class Entry:
    """A part of the cache that is kept or removed as a whole.

    ``family`` is its name without key or checksum. ``size_bytes`` is its size on disk. ``used_s`` is the time of its
    last use, in seconds since the epoch. ``held_by`` names its present users.
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
    """The result of pruning, or of a dry run. ``failures`` are sentences about entries that could not be removed."""

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
    """The entries of these kinds."""
    in_use = _InUse(cache)
    return [_measured(item, in_use.of(item)) for item in _items(cache) if item.kind in kinds]


def prune(cache: Path, limit_bytes: int, kinds: Collection[Kind] = PRUNABLE, dry_run: bool = False) -> Pruned:
    """Remove entries of these kinds, least recently used first, until their size is ``limit_bytes`` or less.

    With all kinds (the default) the limit is for the whole cache. Waits for another prune to end; leases are blocked
    only during renames.
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
    """Entries in the order of removal: unfinished ones first, then the least recently used.

    An artifact that others need counts as used with them and is removed after them, since it is required to rebuild.
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


# ------------------------------------------------------------------------------------------------------ entries


@dataclass(frozen=True)
class _Item:
    """An entry without its size and times. ``lock`` is held by the process that makes it."""

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
        name = path.name.removeprefix(PARTIAL_PREFIX)
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
        # A guest's folder holds its SSH keys too, and the guest may be running on a real board.
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


def _of_tests(path: Path) -> Iterator[_Item]:
    yield _Item(Kind.LOG, path.name, "tests", (path,))


_FINDERS: dict[str, Callable[[Path], Iterator[_Item]]] = {
    "artifacts": _artifacts,
    "downloads": _downloads,
    "ccache": _ccache,
    "boards": _boards,
    "logs": _logs,
    "test-seconds.json": _of_tests,
    "test-passed": _of_tests,
    ".pruned": _trash,
}


def _children(folder: Path) -> list[Path]:
    """The content of a folder; empty if another process has just removed it."""
    try:
        return sorted(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []


def _first_name(folder: Path) -> str:
    return next((path.name for path in _children(folder)), folder.name)


def _measured(item: _Item, held_by: tuple[str, ...]) -> Entry:
    sizes: dict[tuple[int, int], int] = {}  # a file with several hard links counts once
    newest_s = 0.0
    for path in item.paths:
        for status in _statuses(path):
            sizes[status.st_dev, status.st_ino] = status.st_blocks * _BLOCK_BYTES
            newest_s = max(newest_s, status.st_mtime)
    if item.kind in (Kind.ARTIFACT, Kind.SNAPSHOT, Kind.DOWNLOAD):  # leasing sets the folder's mtime
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


# ---------------------------------------------------------------------------------------------------- users


@dataclass
class _InUse:
    """The present users of the cache."""

    cache: Path
    _held: dict[Path, list[str]] = field(default_factory=dict)
    _runs: list[str] = field(default_factory=list)
    _boards: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        for path, processes in leases.holders(self.cache).items():
            self._hold([path], [process.label for process in processes])
        self._runs = sorted({run for runs in self._held.values() for run in runs})
        for folder in _children(self.cache / "boards"):
            if (pid := _running(folder)) is not None:
                self._boards.add(folder.name)
                self._hold(self._run_from(folder, pid), [f"board {folder.name}"])

    def of(self, item: _Item) -> tuple[str, ...]:
        """The users of an item; empty if there are none."""
        match item.kind:
            case Kind.ARTIFACT | Kind.SNAPSHOT | Kind.DOWNLOAD:
                return tuple(self._held.get(item.paths[0], ()))
            case Kind.BOARD:
                # A run prepares the folder step by step before it starts the board.
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
        """The artifacts of a running board: its image, its QEMU, the backing files of its card."""
        texts = [_text(board / "definition"), _text(board / "emulator"), _text(Path(f"/proc/{pid}/cmdline"))]
        names = {name for text in (*texts, *_layers(board)) for name in _ARTIFACT_IN_TEXT.findall(text)}
        return [self.cache / "artifacts" / name for name in sorted(names)]


def _running(board: Path) -> int | None:
    """The process id of a running board, recognized as in the role virtual_board; None if it does not run."""
    pid = _text(board / "pid").strip()
    if not pid.isdecimal() or f"guest={board.name}," not in _text(Path(f"/proc/{pid}/cmdline")):
        return None
    return int(pid)


def _needed(artifacts: Collection[Path]) -> set[str]:
    """The names of all artifacts that these need, transitively."""
    needed: set[str] = set()
    unread = list(artifacts)
    while unread:
        folder = unread.pop()
        found = {name for text in (_needs(folder), *_layers(folder)) for name in _ARTIFACT_IN_TEXT.findall(text)}
        unread += [folder.parent / name for name in found - needed]
        needed |= found
    return needed


def _needs(artifact: Path) -> str:
    """The folders of the artifacts that it needs, from its manifest."""
    try:
        return " ".join(json.loads((artifact / "manifest.json").read_text())["needs"].values())
    except (OSError, ValueError, KeyError):  # missing or damaged: the artifact is rebuilt when it is requested
        return ""


def _layers(folder: Path) -> list[str]:
    """The headers of the qcow2 disks in a folder, which contain the paths of backing files."""
    return [_text(path) for path in sorted(folder.glob("*.qcow2"))]


def _text(path: Path) -> str:
    """The first bytes of a file as text; empty if it is missing or not readable."""
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
    """Hold a lock if it is free, and yield whether it was; a missing lock file counts as free."""
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
        with contextlib.suppress(OSError):  # it remains an entry; its removal is tried and reported later
            remove(path)


def _remove(entry: Entry, cache: Path, failures: list[str]) -> bool:
    """Remove an entry unless it is in use by now; returns whether it was removed."""
    try:
        trash = _set_aside(entry, cache)
        if trash is not None:
            remove(trash)
    except OSError as error:
        failures.append(f"{entry.name} could not be removed: {error.strerror} ({error.filename}); remove it as root.")
        return False
    return trash is not None


def _set_aside(entry: Entry, cache: Path) -> Path | None:
    """Rename an entry into the hidden folder; None if it is in use by now."""
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
            with contextlib.suppress(OSError):  # not empty: the board's keys are in it
                item.paths[0].parent.rmdir()
    return trash
