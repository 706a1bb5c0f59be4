"""A cache of artifacts, keyed by the content of all their inputs.

An artifact is a folder built by one POSIX sh script. Its key is a SHA-256 of the script, its sources, its inputs and
the keys of the artifacts it needs, so that any change gives a new folder. It is built in a hidden folder of its own,
which is synced to disk and renamed when it is complete, so a build can be killed at any time, and the power cut: what
is left of it is never taken for an artifact, nor written to by another build. An artifact that is found or built is
leased until the run ends (leases.py), and is not pruned before (cache.py).
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO

from rtvirt_runner.build import leases
from rtvirt_runner.build.process import Lines, follow, lock
from rtvirt_runner.catalogue.checked_yaml import InputError
from rtvirt_runner.printable import printable
from rtvirt_runner.progress_lines import Pulse, Say

TOOLS = Path(__file__).parent / "tools"
PARTIAL_PREFIX = ".partial-"  # of the folder of a build, with the artifact's name, a dot and some letters behind it
PROGRESS_MARK = ":: "
FAILURE_MARK = "!! "
HEARTBEAT_S = 30.0
TAIL_LINES = 15
_PLAIN = re.compile(r"[\w./+~@-]*", re.ASCII)  # a path that no shell, make or compiler takes apart
# First errors of compilers, linkers, make, apt and Python; later ones are mostly consequences.
_ERROR = re.compile(r"\b(fatal )?error: |undefined reference|\*\*\* |^E: |^Traceback ", re.IGNORECASE)


class BuildError(RuntimeError):
    """A build script failed; the message is the script's own sentence, or its first error, with the path of the log."""


def cache_folder() -> Path:
    """The folder of everything rtvirt keeps between runs: ``${XDG_CACHE_HOME:-~/.cache}/rtvirt``.

    A relative XDG_CACHE_HOME is ignored, as the XDG Base Directory Specification says: it would be another folder for
    each process. Raises InputError for a user without a home folder, as in a container with a user id of its own.
    """
    try:
        base = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
        return (base if base.is_absolute() else Path("~/.cache").expanduser()) / "rtvirt"
    except RuntimeError:
        raise InputError(
            "This user has no home folder, expected one for the cache; set HOME or XDG_CACHE_HOME to a folder."
        ) from None


def require_cache_folder() -> None:
    """Make the cache folder if it is missing; raises OSError if it cannot be written to."""
    folder = cache_folder()
    folder.mkdir(parents=True, exist_ok=True)
    if not os.access(folder, os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(folder))


@dataclass(frozen=True)
class Recipe:
    """The script and the inputs of an artifact.

    ``inputs``, ``needs`` and ``settings`` are environment variables of the script: ``needs`` are the folders of other
    artifacts, ``settings`` do not affect the result, such as the number of jobs. ``sources`` are files and folders
    whose content is part of the key. ``timeout_s`` limits the whole build, in seconds.
    """

    name: str
    script: Path
    inputs: Mapping[str, str] = field(default_factory=dict)
    needs: Mapping[str, str] = field(default_factory=dict)
    sources: Sequence[Path] = ()
    settings: Mapping[str, str] = field(default_factory=dict)
    as_root: bool = False
    timeout_s: float = 3600.0

    @property
    def key(self) -> str:
        """16 hex digits over all inputs. Raises FileNotFoundError for a missing source."""
        digest = hashlib.sha256()
        # The folder of a needed artifact is named after its key, so its name is enough and the cache may be moved.
        needs = {name: _content_name(value) for name, value in self.needs.items()}
        digest.update(json.dumps([self.name, dict(self.inputs), needs], sort_keys=True).encode())
        for path in (self.script, *_tools_named_in(self.script), *self.sources):
            digest.update(_content_digest(path))
        return digest.hexdigest()[:16]


@dataclass(frozen=True)
class Artifact:
    """A built folder; ``seconds`` is the duration of its build, ``built`` whether that was just now."""

    path: Path
    key: str
    built: bool
    seconds: float


def find(recipe: Recipe, cache: Path) -> Artifact | None:
    """The artifact if the cache has it, leased until this run ends; None otherwise."""
    path = cache / "artifacts" / f"{recipe.name}-{recipe.key}"
    if not leases.hold(cache, path, path / "manifest.json"):
        return None
    try:
        seconds = float(json.loads((path / "manifest.json").read_text())["seconds"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return Artifact(path, recipe.key, built=False, seconds=seconds)


def build(recipe: Recipe, cache: Path, say: Say) -> Artifact:
    """Find the artifact or build it; ``say`` gets a line of progress now and then. Raises BuildError."""
    with lock(cache / "locks" / f"{recipe.name}.lock", say):
        found = find(recipe, cache)
        if found is not None:
            return found
        _need_root(recipe)
        path = cache / "artifacts" / f"{recipe.name}-{recipe.key}"
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_interrupted(recipe.name, path.parent)
        partial = Path(tempfile.mkdtemp(prefix=f"{PARTIAL_PREFIX}{path.name}.", dir=path.parent))
        partial.chmod(0o755)
        began = time.monotonic()
        try:
            _run(recipe, partial, cache / "logs" / f"{path.name}.log", say)
            seconds = round(time.monotonic() - began, 1)
            _finish(recipe, partial, cache, seconds)
        except BaseException:
            remove(partial)
            raise
        return Artifact(path, recipe.key, built=True, seconds=seconds)


def _remove_interrupted(name: str, folder: Path) -> None:
    """Remove what killed builds of this name have left; its lock must be held."""
    ours = re.compile(re.escape(f"{PARTIAL_PREFIX}{name}-") + r"[0-9a-f]{16}(\.\w+)?")
    for path in folder.iterdir():
        if ours.fullmatch(path.name):
            try:
                remove(path)
            except OSError:  # written to by a process that outlives its killed build, or owned by root: for the next
                continue


def _folders(value: str) -> list[tuple[str, str]]:
    """The artifact folders of a value of ``needs``: one path, or shell words ``name=path``; each with its ``name=``."""
    if value.startswith("/"):
        return [("", value)]
    return [("".join(word.partition("=")[:2]), word.partition("=")[2]) for word in shlex.split(value)]


def _content_name(value: str) -> str:
    """A value of ``needs`` with each folder cut to its last part."""
    return " ".join(f"{name}{Path(folder).name}" for name, folder in _folders(value))


def _tools_named_in(script: Path) -> list[Path]:
    """The tools of this package that a script calls, directly or indirectly; their content is part of the key."""
    tools = [tool for tool in sorted(TOOLS.iterdir()) if tool.is_file()]
    named: list[Path] = []
    unread = [script]
    while unread:
        text = unread.pop().read_text()
        found = [tool for tool in tools if tool.name in text and tool not in named]
        named += found
        unread += found
    return sorted(named)


def _content_digest(path: Path) -> bytes:
    if not path.exists():
        raise FileNotFoundError(f"{path}: a source of an artifact is missing")
    digest = hashlib.sha256()
    files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
    for file in files:
        digest.update(str(file.relative_to(path.parent)).encode() + b"\0")
        digest.update(hashlib.sha256(file.read_bytes()).digest())
        digest.update(b"x" if os.access(file, os.X_OK) else b"-")
    return digest.digest()


def _sudo(as_root: bool) -> list[str]:
    return ["sudo", "-n", "-E"] if as_root and os.geteuid() != 0 else []


def _need_root(recipe: Recipe) -> None:
    sudo = _sudo(recipe.as_root)
    if not sudo:
        return
    if shutil.which("sudo") is None:
        raise BuildError(f"building {recipe.name} needs root, and there is no sudo; run this as root.")
    if subprocess.run([*sudo, "true"], capture_output=True, check=False).returncode != 0:
        raise BuildError(f"building {recipe.name} needs root; run this as root, or let sudo work without a password.")


def remove(path: Path) -> None:
    """Remove a folder or file that may be missing, as root if a killed build left files owned by root.

    Raises OSError when it cannot be removed.
    """
    if not path.is_dir() or path.is_symlink():
        path.unlink(missing_ok=True)
        return
    try:
        shutil.rmtree(path)
    except FileNotFoundError:
        pass
    except PermissionError:
        sudo = _sudo(True)
        command = [*sudo, "rm", "-rf", "--one-file-system", "--", str(path)]
        if not sudo or shutil.which("sudo") is None or subprocess.run(command, capture_output=True).returncode != 0:
            raise


@contextlib.contextmanager
def _plain_paths(recipe: Recipe, out: Path) -> Iterator[tuple[Recipe, Path]]:
    """The recipe and the folder to build in, under paths that no program of a build takes for several words.

    Scripts quote, but make, compilers and package managers do not always: where the cache's path has such characters,
    links below /tmp lead to the same folders.
    """
    needed = [folder for value in recipe.needs.values() for _, folder in _folders(value)]
    if all(_PLAIN.fullmatch(path) for path in (str(out), *needed)):
        yield recipe, out
        return
    with tempfile.TemporaryDirectory(prefix="rtvirt-build-", dir="/tmp") as there:
        Path(there).chmod(0o755)  # as root a package manager reads as another user
        links = {path: Path(there, str(number), Path(path).name) for number, path in enumerate((str(out), *needed))}
        for path, link in links.items():
            link.parent.mkdir()
            link.symlink_to(path)
        needs = {
            name: " ".join(f"{prefix}{links[folder]}" for prefix, folder in _folders(value))
            for name, value in recipe.needs.items()
        }
        yield replace(recipe, needs=needs), links[str(out)]


def _environment(recipe: Recipe, out: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name not in {"TMPDIR", "LS_COLORS"}}
    # python3 of a script is the Python that runs here, and not what the PATH has, which may be too old or run nothing.
    ours = f"{TOOLS}:{Path(sys.executable).parent}" if sys.prefix != sys.base_prefix else str(TOOLS)
    path = f"{ours}:{kept.get('PATH', '/usr/bin:/bin')}:/usr/local/sbin:/usr/sbin:/sbin"
    return {
        **kept,
        "PATH": path,
        "LC_ALL": "C",
        "OUT": str(out),
        "KEY": recipe.key,
        **recipe.settings,
        **recipe.inputs,
        **recipe.needs,
    }


def _run(recipe: Recipe, out: Path, log: Path, say: Say) -> None:
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_SH)  # marks the log as in use, so that it is not pruned
        progress = _Progress(recipe.name, handle, say)
        try:
            with _plain_paths(recipe, out) as (plain, place):
                status = follow(
                    ["sh", str(plain.script)],
                    become=_become(plain, place),
                    take_output=Lines(progress.line),
                    tick=progress.tick,
                    environment=_environment(plain, place),
                    folder=place,
                    timeout_s=recipe.timeout_s,
                )
        except TimeoutError:
            raise BuildError(
                f"building {recipe.name} took longer than its limit of {recipe.timeout_s:.0f} s; the log is {log}"
            ) from None
    if status != 0:
        raise BuildError(progress.complaint(status, log))


def _become(recipe: Recipe, out: Path) -> list[str]:
    sudo = _sudo(recipe.as_root)
    # sudo resets PATH even with -E, so the environment is set again by env
    return [*sudo, "env", *(f"{name}={value}" for name, value in _environment(recipe, out).items())] if sudo else []


class _Progress:
    """Copies a build's output to its log and reports progress."""

    def __init__(self, name: str, log: IO[str], say: Say) -> None:
        self.tail: deque[str] = deque(maxlen=TAIL_LINES)
        self._first_error: list[str] = []  # with the lines around it
        self._failure = ""
        self._name, self._log, self._say = name, log, say
        self._began = time.monotonic()
        self._pulse = Pulse(HEARTBEAT_S)

    def line(self, text: str) -> None:
        text = printable(text, keep="\t")
        print(text, file=self._log, flush=True)
        if text:
            self.tail.append(text)
        if text.startswith(PROGRESS_MARK):
            self._tell(text.removeprefix(PROGRESS_MARK))
        elif text.startswith(FAILURE_MARK):
            self._failure = text.removeprefix(FAILURE_MARK)
        elif _ERROR.search(text) and not self._first_error:
            self._first_error = [*list(self.tail)[-3:-1], text]
        elif 0 < len(self._first_error) < TAIL_LINES // 2:
            self._first_error.append(text)

    def complaint(self, status: int, log: Path) -> str:
        """Why the build failed: the script's own sentence, its first error, or, without one, its last lines."""
        if self._failure:
            return f"{self._failure} The whole log is {log}."
        what, lines = ("first error is", self._first_error) if self._first_error else ("last lines are", self.tail)
        return f"building {self._name} failed with status {status}; the whole log is {log}, its {what}:\n" + "\n".join(
            lines
        )

    def tick(self) -> None:
        """Report progress if there was no report for a while."""
        if self._pulse.due():
            last = self.tail[-1][:100] if self.tail else "no output yet"
            self._tell(f"{time.monotonic() - self._began:.0f} s, {last}")

    def _tell(self, text: str) -> None:
        self._pulse.restart()
        self._say(f"{self._name}: {text}")


def _finish(recipe: Recipe, partial: Path, cache: Path, seconds: float) -> None:
    if _sudo(recipe.as_root):
        owner = f"{os.geteuid()}:{os.getegid()}"
        subprocess.run([*_sudo(True), "chown", "-R", owner, str(partial)], check=True)
    manifest = {
        "name": recipe.name,
        "key": recipe.key,
        "inputs": dict(recipe.inputs),
        "needs": dict(recipe.needs),
        "seconds": seconds,
    }
    (partial / "manifest.json").write_text(json.dumps(manifest, indent=2, sort_keys=True) + "\n")
    # The whole file system in one go: an artifact may have thousands of files. Without it a power cut after the rename
    # may leave an artifact with empty files, which would be found from then on.
    subprocess.run(["sync", "--file-system", str(partial)], check=True)
    path = cache / "artifacts" / f"{recipe.name}-{recipe.key}"
    remove(path)
    with leases.gate(cache):
        partial.rename(path)
        leases.take(cache, path)
