"""Run a program and process its output while it runs."""

from __future__ import annotations

import contextlib
import os
import selectors
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

CHUNK_BYTES = 1 << 16
END_LIMIT_S = 10.0  # after SIGTERM, before SIGKILL


class ProgramMissing(RuntimeError):
    """A program is not installed; the message is one sentence."""


class Lines:
    """Splits chunks of bytes into lines of text, and passes on complete lines."""

    def __init__(self, take: Callable[[str], None]) -> None:
        self._take, self._rest = take, b""

    def __call__(self, chunk: bytes) -> None:
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        for line in lines:
            self._take(line.decode(errors="replace").rstrip())


def follow(
    command: Sequence[str],
    *,
    take_output: Callable[[bytes], object] = lambda _: None,
    take_errors: Callable[[bytes], object] | None = None,
    tick: Callable[[], None] = lambda: None,
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
    timeout_s: float = float("inf"),
) -> int:
    """Run a command in a session of its own, and pass on its output; returns its exit status.

    Without ``take_errors`` its standard error is part of its output. ``tick`` is called at least once a second. The
    command gets SIGTERM when this process dies in any way, and its whole session when this function is left by an
    exception. Raises TimeoutError after ``timeout_s``, and ProgramMissing when the command is not installed.
    """
    if shutil.which(command[0]) is None:
        raise ProgramMissing(f"the program {command[0]} is missing on this machine; install the package {command[0]}.")
    with (
        subprocess.Popen(
            ["setpriv", "--pdeathsig", "TERM", "--", *command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE if take_errors else subprocess.STDOUT,
            env=environment,
            cwd=folder,
            start_new_session=True,
        ) as process,
        selectors.DefaultSelector() as selector,
    ):
        for stream, take in ((process.stdout, take_output), (process.stderr, take_errors)):
            if stream is not None:
                selector.register(stream, selectors.EVENT_READ, take)
        deadline = time.monotonic() + timeout_s
        try:
            while selector.get_map():
                if time.monotonic() > deadline:
                    raise TimeoutError
                for key, _ in selector.select(timeout=1.0):
                    if chunk := os.read(key.fd, CHUNK_BYTES):
                        key.data(chunk)
                    else:
                        selector.unregister(key.fileobj)
                tick()
            return process.wait()
        except BaseException:
            _end(process)
            raise


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the session of a process."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=END_LIMIT_S)
            return
