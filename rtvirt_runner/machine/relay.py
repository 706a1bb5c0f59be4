"""Run a program, ssh, between Ansible and a machine: with a limit for its output and for its time.

    relay.py OUTPUT_BYTES LIMIT_S INPUT COMMAND...

INPUT is ``inherit`` (the command has our standard input), ``copy``, or ``hold``: a copy that is not closed at its end
but only when the command ends, so that the far side sees the end of its input when the connection ends. The command is
also ended when nobody reads our standard output any more: whoever asked is gone. The program imports little, since it
is started for each command.
"""

from __future__ import annotations

import os
import select
import subprocess
import sys
import time
from collections.abc import Sequence

TOO_MUCH, TOO_LATE = 74, 75  # exit statuses; otherwise it is the command's
ERRORS_BYTES = 1 << 20  # of its standard error; more is dropped
MARK = "rtvirt: "  # begins the sentence on standard error that goes with these statuses
CHUNK_BYTES = 1 << 16
ENDS_WITHIN_S = 5.0
TOLD_WITHIN_S = 0.5
_PIPE_BYTES = 4096  # what a pipe that polls as writable takes at once (PIPE_BUF)


def relay(output_bytes: int, limit_s: float, source: str, command: Sequence[str]) -> int:
    """Run the command; returns the exit status for this program."""
    inherits = source == "inherit"
    process = subprocess.Popen(
        command, stdin=None if inherits else subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    with process:
        status, sentence = _copy(process, output_bytes, limit_s, source)
        if sentence:
            _say(f"{MARK}{sentence}\n".encode())
        _end(process, at_once=status is not None)
    if status is not None:
        return status
    return process.returncode if process.returncode >= 0 else 128 - process.returncode


def _copy(process: subprocess.Popen[bytes], output_bytes: int, limit_s: float, source: str) -> tuple[int | None, str]:
    """Copy until the command has closed its output: its end (None), or why it is to be ended (status, sentence)."""
    assert process.stdout is not None and process.stderr is not None
    output, errors = process.stdout.fileno(), process.stderr.fileno()
    sink = process.stdin.fileno() if process.stdin else -1
    deadline = time.monotonic() + limit_s
    taken, said = 0, 0
    to_sink, to_output = b"", b""
    reading, output_open = sink >= 0, True
    while output_open or to_output:
        poll = select.poll()
        poll.register(1, select.POLLOUT if to_output else 0)  # an error tells that nobody reads
        poll.register(errors, select.POLLIN)
        if output_open and not to_output:
            poll.register(output, select.POLLIN)
        if sink >= 0:
            poll.register(sink, select.POLLOUT if to_sink else 0)
        if reading and not to_sink:
            poll.register(0, select.POLLIN)
        left_s = deadline - time.monotonic()
        if left_s <= 0:
            return TOO_LATE, f"the command did not end within {limit_s:.0f} s and was ended"
        ready = dict(poll.poll(left_s * 1000))
        if ready.get(1, 0) & (select.POLLERR | select.POLLHUP):
            return TOO_LATE, ""
        if to_output and ready.get(1):
            to_output = to_output[os.write(1, to_output[:_PIPE_BYTES]) :]
        if ready.get(output):
            to_output = os.read(output, CHUNK_BYTES)
            output_open = bool(to_output)
            taken += len(to_output)
            if taken > output_bytes:
                return TOO_MUCH, f"the answer has more than {output_bytes >> 20} MiB, so the connection was ended"
        if ready.get(errors):
            chunk = os.read(errors, CHUNK_BYTES)
            if not chunk:
                errors = _nothing()
            _say(chunk[: max(0, ERRORS_BYTES - said)])
            said += len(chunk)
        if sink in ready and ready[sink] & select.POLLERR:  # the command reads no more
            reading, to_sink = False, b""
            _close(process)
            sink = -1
        elif to_sink and ready.get(sink):
            to_sink = to_sink[os.write(sink, to_sink[:_PIPE_BYTES]) :]
        elif ready.get(0):
            to_sink = os.read(0, CHUNK_BYTES)
            reading = bool(to_sink)
        if not reading and not to_sink and sink >= 0 and source == "copy":
            _close(process)
            sink = -1
    _drain(errors, ERRORS_BYTES - said)
    return None, ""


def _nothing() -> int:
    """A descriptor on which nothing ever happens: one that has ended would be reported again and again."""
    return os.pipe()[0]


def _drain(errors: int, most: int) -> None:
    """Pass on what there is of standard error: a master of ssh connections keeps it open."""
    poll = select.poll()
    poll.register(errors, select.POLLIN)
    while most > 0 and poll.poll(0) and (chunk := os.read(errors, CHUNK_BYTES)):
        _say(chunk[:most])
        most -= len(chunk)


def _say(text: bytes) -> None:
    try:
        while text:
            text = text[os.write(2, text) :]
    except OSError:  # nobody reads
        return


def _close(process: subprocess.Popen[bytes]) -> None:
    assert process.stdin is not None
    try:
        process.stdin.close()
    except OSError:
        return


def _end(process: subprocess.Popen[bytes], at_once: bool) -> None:
    """Wait for the command, and end it if it is to end at once or takes too long after its output."""
    if at_once:
        if process.stdin is not None:  # the far side is told at once; a killed client's master may take half a minute
            _close(process)
            _wait(process, TOLD_WITHIN_S)
        process.terminate()
    if not _wait(process, ENDS_WITHIN_S):
        process.kill()


def _wait(process: subprocess.Popen[bytes], limit_s: float) -> bool:
    try:
        process.wait(limit_s)
    except subprocess.TimeoutExpired:
        return False
    return True


if __name__ == "__main__":
    sys.exit(relay(int(sys.argv[1]), float(sys.argv[2]), sys.argv[3], sys.argv[4:]))
