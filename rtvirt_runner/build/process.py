"""Run a program and process its output while it runs; it ends with whoever runs it."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import multiprocessing
import os
import selectors
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from pathlib import Path

from rtvirt_runner.build import end_with_owner
from rtvirt_runner.progress_lines import Say

CHUNK_BYTES = 1 << 16
END_LIMIT_S = 5.0  # after SIGTERM, before SIGKILL

_locks: ContextVar[tuple[int, ...]] = ContextVar("locks", default=())  # descriptors of the locks held here


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


@contextlib.contextmanager
def lock(path: Path, say: Say) -> Iterator[None]:
    """Hold an exclusive file lock named after what is made; the kernel releases it when its holders have ended.

    A program that ``follow`` runs meanwhile holds it as well: when this process is killed, the lock is free once all
    processes of that program have ended.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"{path.stem}: waiting for another run that makes it")
            fcntl.flock(handle, fcntl.LOCK_EX)
        before = _locks.set((*_locks.get(), handle.fileno()))
        try:
            yield
        finally:
            _locks.reset(before)


def end_with_parent() -> None:
    """Let this process, a worker that Ansible has forked, get SIGTERM when Ansible dies, also of SIGKILL."""
    parent = multiprocessing.parent_process()
    if parent is None:
        return
    ctypes.CDLL(None).prctl(end_with_owner.PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != parent.pid:  # it has died before
        os.kill(os.getpid(), signal.SIGTERM)


def follow(
    command: Sequence[str],
    *,
    become: Sequence[str] = (),
    take_output: Callable[[bytes], object] = lambda _: None,
    take_errors: Callable[[bytes], object] | None = None,
    tick: Callable[[], None] = lambda: None,
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
    timeout_s: float = float("inf"),
) -> int:
    """Run a command and pass on its output; returns its exit status, 128 + n when signal n ended it.

    Without ``take_errors`` its standard error is part of its output. ``tick`` is called at least once a second. The
    command and all processes that it has started end when this process dies in any way, and when this function is
    left by an exception (end_with_owner.py); this process ends with the run that it is a worker of. ``become`` is put
    in front of the command to run it as another user.

    Raises TimeoutError after ``timeout_s``, and ProgramMissing when the command is not installed.
    """
    if shutil.which(command[0]) is None:
        raise ProgramMissing(f"the program {command[0]} is missing on this machine; install the package {command[0]}.")
    end_with_parent()
    with (
        subprocess.Popen(
            [*become, sys.executable, "-I", "-S", end_with_owner.__file__, str(END_LIMIT_S), *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE if take_errors else subprocess.STDOUT,
            env=environment,
            cwd=folder,
            start_new_session=True,
            pass_fds=_locks.get(),
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
                ready = selector.select(timeout=1.0)
                for key, _ in ready:
                    if chunk := os.read(key.fd, CHUNK_BYTES):
                        key.data(chunk)
                    else:
                        selector.unregister(key.fileobj)
                tick()
                if not ready and process.poll() is not None:  # killed, while what it ran keeps the pipe open
                    break
            return process.wait()
        finally:
            _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a command with all that it has started; nothing is left to do when it has ended by itself."""
    assert process.stdin is not None
    process.stdin.close()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(timeout=END_LIMIT_S + end_with_owner.GIVE_UP_S + 1)
    if process.returncode is None or process.returncode < 0:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
