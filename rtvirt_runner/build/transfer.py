"""Bring a file from a URL, in as many attempts as that takes, into a partial file that outlives its process.

curl does the talking: redirections, proxies and certificates are its business. Its output comes through a pipe, so only
this process writes to the cache, and a curl that is left alone ends at its next byte.
"""

from __future__ import annotations

import hashlib
import os
import re
import selectors
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO
from urllib.parse import unquote, urlsplit

Say = Callable[[str], None]

PROGRESS_S = 10.0
ATTEMPTS = 3  # in a row that bring nothing new
PAUSE_S = 2.0  # after an attempt that brought nothing new
STALL_S = 60  # without a byte: the connection is given up, and made again
CHUNK_BYTES = 1 << 20
FILE_SCHEMES = ("https", "http", "ftp", "file")
MIB = 1 << 20

_CURL_NO_RESUME = {33, 36}
_CURL_TRANSIENT = {5, 6, 7, 16, 18, 28, 35, 52, 55, 56, 92}  # no such name, no answer, a cut or stalled connection
_HTTP_TRANSIENT = {408, 429, 500, 502, 503, 504}


class DownloadError(RuntimeError):
    """Something was not fetched or not believed; the message is one sentence."""


def last_part(url: str) -> str:
    """The name at the end of a URL's path; empty when it has none."""
    return unquote(urlsplit(url).path).rstrip("/").rpartition("/")[2]


def check_url(url: str, schemes: Sequence[str] = FILE_SCHEMES) -> None:
    """Raises DownloadError when a URL is none of these schemes, names no file, or could lead out of a folder."""
    if not _is_url(url, schemes):
        raise DownloadError(
            f"the address '{url}' cannot be fetched, expected one that begins with "
            f"{', '.join(f'{scheme}://' for scheme in schemes)} and ends with a name; correct the entry."
        )


def _is_url(url: str, schemes: Sequence[str]) -> bool:
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    path = unquote(parts.path)
    return (
        parts.scheme in schemes
        and bool(parts.netloc) != (parts.scheme == "file")
        and not re.search(r"\s", url)
        and not re.search(r"[\x00-\x1f\x7f]", path)
        and last_part(url) not in ("", ".")
        and ".." not in path.split("/")
    )


def pass_on(reader: BinaryIO, *takers: Callable[[bytes], object]) -> None:
    """Hand all that is left of a file to each taker."""
    while chunk := reader.read(CHUNK_BYTES):
        for take in takers:
            take(chunk)


class Partial:
    """The part of a file that has arrived; it outlives its process, so that the next goes on where that one ended."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.file = folder / "file"
        self._tag = folder / "etag"
        self._digest = hashlib.sha256()
        self._handle = self.file.open("a+b")
        self._handle.seek(0)
        pass_on(self._handle, self._digest.update)

    def __enter__(self) -> Partial:
        return self

    def __exit__(self, *_: object) -> None:
        self._handle.close()

    @property
    def size(self) -> int:
        """Bytes so far."""
        return self._handle.seek(0, os.SEEK_END)

    @property
    def sha256(self) -> str:
        """Of what is there so far."""
        return self._digest.hexdigest()

    @property
    def tag(self) -> str:
        """The server's name for this version of the file; empty when it has none that is unique."""
        return self._tag.read_text() if self._tag.exists() else ""

    @tag.setter
    def tag(self, value: str) -> None:
        self._tag.write_text(value if value.startswith('"') else "")  # a weak tag (W/"...") may be of two versions

    def append(self, chunk: bytes) -> None:
        """Take in what came next; it is on its way to the disk when this returns."""
        self._handle.write(chunk)
        self._handle.flush()
        self._digest.update(chunk)

    def restart(self) -> None:
        """Throw away what is there."""
        self._handle.truncate(0)
        self._tag.unlink(missing_ok=True)
        self._digest = hashlib.sha256()


def transfer(url: str, wanted: str | None, partial: Partial, say: Say) -> bool:
    """Bring the rest of a file, in as many attempts as that takes while each brings something.

    Returns whether it came in more than one piece. Raises DownloadError.
    """
    if partial.size and partial.sha256 == wanted:
        return False  # killed between its last byte and its name
    progress = Progress(last_part(url), say, partial.size)
    failures, best = 0, partial.size
    while True:
        # Without a sum to compare with in the end, two versions of a file could be put together unnoticed.
        if not partial.size or (wanted is None and not partial.tag):
            partial.restart()
        resumed = partial.size > 0
        say(f"{last_part(url)}: {'going on with' if resumed else 'fetching'} {url}")
        attempt = Attempt(partial, progress)
        code = stream(
            _curl(url, partial), take_output=attempt.take_body, take_errors=attempt.take_notes, tick=attempt.tick
        )
        if resumed and (code in _CURL_NO_RESUME or attempt.status == 416):
            partial.restart()  # the server has another version of the file, or never goes on in the middle
            continue
        if code == 0:
            return resumed
        if partial.size > best:
            failures, best = 0, partial.size
            continue
        failures += 1
        if failures == ATTEMPTS or not (code in _CURL_TRANSIENT or attempt.status in _HTTP_TRANSIENT):
            raise DownloadError(f"{url} {attempt.reason(code)}; {_mirror_advice(url)}")
        time.sleep(PAUSE_S)


def _curl(url: str, partial: Partial) -> list[str]:
    resume = ["--continue-at", str(partial.size)] if partial.size else []
    if partial.size and partial.tag:
        resume += ["--header", f"If-Range: {partial.tag}"]  # another version comes whole, which curl refuses to append
    return [
        *("curl", "--silent", "--show-error", "--fail", "--location", "--globoff"),
        *("--proto", f"={','.join(FILE_SCHEMES)}", "--proto-redir", "=https,http"),
        *("--connect-timeout", "30", "--speed-limit", "1", "--speed-time", str(STALL_S)),
        *resume,
        *("--dump-header", "/dev/stderr", "--no-buffer", "--output", "-", "--url", url),
    ]


def _mirror_advice(url: str) -> str:
    parts = urlsplit(url)
    return (
        "check the address, the network and the proxy, or put the file into the folder that kernel_build_mirror names, "
        f"as {parts.hostname or ''}{unquote(parts.path)} or just as {last_part(url)}."
    )


class Attempt:
    """Takes in what one run of curl brings: bytes on its output, headers and complaints beside it."""

    def __init__(self, partial: Partial, progress: Progress) -> None:
        self._partial, self._progress = partial, progress
        self._notes = b""
        self._size_before = partial.size
        self._total: int | None = None
        self._complaint = ""
        self.status = 0

    def take_body(self, chunk: bytes) -> None:
        self._partial.append(chunk)

    def take_notes(self, chunk: bytes) -> None:
        *lines, self._notes = (self._notes + chunk).split(b"\n")
        for line in lines:
            self._take_line(line.decode(errors="replace").strip())

    def _take_line(self, line: str) -> None:
        name, _, value = line.partition(":")
        value = value.strip()
        if line.startswith("HTTP/"):  # a redirection has headers of its own, before those of the file
            self.status = int([*line.split(), "0"][1])
            self._total = None
        elif name == "curl":
            self._complaint = re.sub(r"^\(\d+\) ", "", value)
        elif name.lower() == "content-length" and value.isdigit():
            self._total = self._size_before + int(value)
        elif name.lower() == "etag" and self.status == 200 and self._size_before == 0:
            self._partial.tag = value

    def tick(self) -> None:
        self._progress.tick(self._partial.size, self._total)

    def reason(self, code: int) -> str:
        """Why it ended badly, to follow the URL."""
        if self.status >= 400:
            return f"answered with status {self.status}"
        return f"cannot be fetched: {self._complaint or f'curl ended with {code}'}"


class Progress:
    """A line now and then: how much, of how much, how fast."""

    def __init__(self, name: str, say: Say, done: int) -> None:
        self._name, self._say, self._done = name, say, done
        self._pulse = Pulse()

    def tick(self, done: int, total: int | None) -> None:
        """Say how far it is if that is due; ``done`` and ``total`` are bytes."""
        if seconds := self._pulse.due():
            of_total = f" of {total / MIB:.1f}" if total else ""
            rate = max(0, done - self._done) / MIB / seconds
            self._say(f"{self._name}: {done / MIB:.1f}{of_total} MiB, {rate:.1f} MiB/s")
            self._done = done


class Pulse:
    """Tells when the next line of progress is due."""

    def __init__(self) -> None:
        self._last = time.monotonic()

    def due(self) -> float:
        """The seconds since the last line when it is time for another, else 0."""
        seconds = time.monotonic() - self._last
        if seconds < PROGRESS_S:
            return 0.0
        self._last += seconds
        return seconds


def stream(
    command: Sequence[str],
    *,
    take_output: Callable[[bytes], None] = lambda _: None,
    take_errors: Callable[[bytes], None] = lambda _: None,
    tick: Callable[[], None] = lambda: None,
    environment: Mapping[str, str] | None = None,
) -> int:
    """Run a command and pass on what it writes as it comes; returns its exit code.

    ``tick`` is called at least once a second. When this process is killed the command ends at its next write, and what
    it writes goes nowhere: only this process writes to the cache. Raises DownloadError when the command is missing.
    """
    if shutil.which(command[0]) is None:
        raise DownloadError(f"the program {command[0]} is missing on this machine; install the package {command[0]}.")
    pipe, nothing = subprocess.PIPE, subprocess.DEVNULL
    env = {**os.environ, "LC_ALL": "C", **(environment or {})}
    with (
        subprocess.Popen(command, stdin=nothing, stdout=pipe, stderr=pipe, env=env) as process,
        selectors.DefaultSelector() as selector,
    ):
        assert process.stdout is not None and process.stderr is not None
        selector.register(process.stdout, selectors.EVENT_READ, take_output)
        selector.register(process.stderr, selectors.EVENT_READ, take_errors)
        try:
            while selector.get_map():
                for key, _ in selector.select(timeout=1.0):
                    chunk = os.read(key.fd, CHUNK_BYTES)
                    if chunk:
                        key.data(chunk)
                    else:
                        selector.unregister(key.fileobj)
                tick()
            return process.wait()
        except BaseException:
            process.kill()
            raise
