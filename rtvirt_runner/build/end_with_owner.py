"""Run a command, and end it with every process that it has started once standard input is closed.

    python -I -S end_with_owner.py LIMIT_S COMMAND...

The owner keeps the other end of standard input, which the kernel closes however the owner ends. This process is the
subreaper of the command, so that nothing the command starts can leave it, in a session of its own either. Processes
get SIGTERM, and SIGKILL after LIMIT_S seconds. What the command leaves running when it ends, ends too. The exit
status is the command's, 128 + n when signal n ended it.
"""

import contextlib
import ctypes
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36  # <linux/prctl.h>
LOOK_S = 0.02
GIVE_UP_S = 30.0  # after the first SIGKILL: a process in an uninterruptible system call

_libc = ctypes.CDLL(None)


def main(limit_s: float, command: list[str]) -> int:
    """Run the command; returns its exit status."""
    _libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    ending = []
    signal.signal(signal.SIGTERM, lambda number, frame: ending.append(number))
    # If this process is killed, at least the command itself does not go on.
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, preexec_fn=lambda: _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    ) as child:
        ended = os.pidfd_open(child.pid)
        poll = select.poll()
        poll.register(sys.stdin.fileno(), 0)  # only whether the other end was closed
        poll.register(ended, select.POLLIN)
        while not ending and not poll.poll(1000):
            pass
        status = child.poll()
        if status is None:
            _end_all(limit_s)
            return 128 + signal.SIGTERM
        _end_all(limit_s)
    return 128 - status if status < 0 else status


def _end_all(limit_s: float) -> None:
    """End all processes that descend from this one."""
    began = time.monotonic()
    told: set[int] = set()
    while _has_children():
        waited_s = time.monotonic() - began
        if waited_s > limit_s + GIVE_UP_S:
            return
        for pid in _descendants():
            if waited_s > limit_s or pid not in told:
                _send(pid, signal.SIGKILL if waited_s > limit_s else signal.SIGTERM)
                told.add(pid)
        time.sleep(LOOK_S)


def _has_children() -> bool:
    """Reap children that have ended; whether others are left."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return False
    return True


def _descendants() -> list[int]:
    children: dict[int, list[int]] = {}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((process / "stat").read_text(errors="replace").rpartition(")")[2].split()[1])
        except OSError:  # it has ended
            continue
        children.setdefault(parent, []).append(int(process.name))
    found: list[int] = []
    unread = [os.getpid()]
    while unread:
        those = children.get(unread.pop(), [])
        found += those
        unread += those
    return found


def _send(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1]), sys.argv[2:]))
