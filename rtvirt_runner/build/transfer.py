"""Download a file from a URL into a folder, resuming after interruptions, also those of this process.

curl transfers the bytes and handles redirections, proxies, certificates and ranges. This module decides whether to
resume, to restart or to give up. curl ends with this process, so that the next one, which resumes, has the file to
itself.

    <folder>/file       the bytes received so far
             headers    response headers of the first attempt, whose ETag names the file's version
             more       response headers of the last attempt to resume
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO
from urllib.parse import unquote, urlsplit

from rtvirt_runner.build.process import follow
from rtvirt_runner.progress_lines import ByteProgress, Say

PROGRESS_S = 10.0
ATTEMPTS = 3  # in a row without progress
PAUSE_S = 2.0  # after an attempt without progress
STALL_S = 60  # without data, after which the connection is closed and retried
CHUNK_BYTES = 1 << 20
FILE_SCHEMES = ("https", "http", "ftp", "file")

_CURL_NO_RESUME = {33, 36}
_CURL_TRANSIENT = {
    5,
    6,
    7,
    16,
    18,
    28,
    35,
    52,
    55,
    56,
    92,
}  # name not resolved, no answer, connection lost
_HTTP_TRANSIENT = {408, 429, 500, 502, 503, 504}


class DownloadError(RuntimeError):
    """A download failed or was not verified; the message is one sentence."""


def last_part(url: str) -> str:
    """The last part of a URL's path, the file name; may be empty."""
    return unquote(urlsplit(url).path).rstrip("/").rpartition("/")[2]


def check_url(url: str, schemes: Sequence[str] = FILE_SCHEMES) -> None:
    """Raise DownloadError if a URL has another scheme, names no file, or contains parts such as ``..``."""
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
    """Read the rest of a file and pass each chunk to every taker."""
    while chunk := reader.read(CHUNK_BYTES):
        for take in takers:
            take(chunk)


def sha256_of(file: Path) -> str:
    """The SHA-256 of a file's content, in hexadecimal digits."""
    with file.open("rb") as reader:
        return hashlib.file_digest(reader, "sha256").hexdigest()


@dataclass(frozen=True)
class Answer:
    """Response headers: status (0: none yet), length of the body in bytes, ETag of the file's version."""

    status: int = 0
    length: int | None = None
    tag: str = ""  # empty unless strong: a weak one (W/"...") may name two versions

    @classmethod
    def read(cls, headers: Path) -> Answer:
        """Parse the last response in a file of headers: those of redirections come first."""
        text = headers.read_text(errors="replace") if headers.exists() else ""
        lines = re.split(r"^(?=HTTP/)", text, flags=re.MULTILINE)[-1].splitlines()
        values = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        length, tag = values.get("content-length", ""), values.get("etag", "")
        status = int([*lines[0].split(), "0"][1]) if lines and lines[0].startswith("HTTP/") else 0
        return cls(status, int(length) if length.isdigit() else None, tag if tag.startswith('"') else "")


def transfer(url: str, wanted: str | None, folder: Path, say: Say) -> bool:
    """Download the rest of a file to ``folder``/file; ``wanted`` is its expected SHA-256, None if it is unknown.

    Returns whether it was resumed. Raises DownloadError.
    """
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "file"
    if wanted is not None and _size(file) and sha256_of(file) == wanted:
        return False  # complete, but the process was killed before it was renamed
    failures, best = 0, _size(file)
    while True:
        tag = Answer.read(folder / "headers").tag
        # Without a checksum, parts of two versions of a file could be joined unnoticed.
        if not _size(file) or (wanted is None and not tag):
            restart(folder)
        resumed = _size(file) > 0
        say(f"{last_part(url)}: {'going on with' if resumed else 'fetching'} {url}")
        code, answer, complaint = _attempt(url, folder, tag if resumed else None, say)
        if resumed and (code in _CURL_NO_RESUME or answer.status == 416):
            restart(folder)  # the server has another version of the file, or does not support ranges
            continue
        if code == 0:
            file.touch()  # curl creates no file for an empty body
            return resumed
        if _size(file) > best:
            failures, best = 0, _size(file)
            continue
        failures += 1
        if failures == ATTEMPTS or not (code in _CURL_TRANSIENT or answer.status in _HTTP_TRANSIENT):
            said = complaint or f"curl ended with {code}"
            reason = f"answered with status {answer.status}" if answer.status >= 400 else f"cannot be fetched: {said}"
            raise DownloadError(f"{url} {reason}; {_mirror_advice(url)}")
        time.sleep(PAUSE_S)


def restart(folder: Path) -> None:
    """Remove the incomplete file and its headers."""
    for name in ("file", "headers"):
        (folder / name).unlink(missing_ok=True)


def _attempt(url: str, folder: Path, tag: str | None, say: Say) -> tuple[int, Answer, str]:
    """Run curl once; ``tag`` is None to start, else the ETag to resume with ('': any version).

    Returns curl's exit status, the response and curl's error message.
    """
    file, begun = folder / "file", _size(folder / "file")
    headers = folder / ("headers" if tag is None else "more")
    headers.unlink(missing_ok=True)  # curl writes none for schemes without headers
    resume = [] if tag is None else ["--continue-at", str(begun)]
    if tag:
        resume += [
            "--header",
            f"If-Range: {tag}",
        ]  # another version comes whole, which curl does not append
    command = [
        *("curl", "--silent", "--show-error", "--fail", "--location", "--globoff"),
        *("--proto", f"={','.join(FILE_SCHEMES)}", "--proto-redir", "=https,http"),
        *("--connect-timeout", "30", "--speed-limit", "1", "--speed-time", str(STALL_S)),
        *resume,
        *("--dump-header", str(headers), "--no-buffer", "--output", str(file), "--url", url),
    ]
    progress = ByteProgress(last_part(url), say, PROGRESS_S, begun)

    def tick() -> None:
        length = Answer.read(headers).length
        progress.tick(_size(file), None if length is None else begun + length)

    complaints = bytearray()
    code = follow(command, take_output=complaints.extend, tick=tick)
    complaint = re.sub(r"^curl: (\(\d+\) )?", "", complaints.decode(errors="replace").strip().partition("\n")[0])
    return code, Answer.read(headers), complaint


def _size(file: Path) -> int:
    return file.stat().st_size if file.exists() else 0


def _mirror_advice(url: str) -> str:
    parts = urlsplit(url)
    return (
        "check the address, the network and the proxy, or put the file into the folder that kernel_build_mirror names, "
        f"as {parts.hostname or ''}{unquote(parts.path)} or just as {last_part(url)}."
    )
