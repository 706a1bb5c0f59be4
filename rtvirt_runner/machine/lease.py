"""The lease of a board: a file on it that names the run which changes or measures it.

    /run/rtvirt-lease          TOKEN UPTIME_S HOLDER     since when by the board's clock; HOLDER is a JSON object
    /run/rtvirt-lease.until    TOKEN UPTIME_S            until when it holds; written by each command of its holder

A token follows from the process that owns the run, so all of Ansible's workers know it. Whether that process is still
there can be asked of this computer's processes only; a run of another computer is gone when it has not renewed its
lease in time. ``roles/measure/files/lease.sh`` is the board's side.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import platform
import pwd
from dataclasses import asdict, dataclass
from pathlib import Path

from rtvirt_runner.machine.script_reply import Reply

LASTS_S = 3600  # after a command, by the board's clock, unless the command is to take longer
LEASE_FACTS = ("lease", "lease_until", "lease_now")  # what lease.sh tells of a lease that it found
HELD = "The board is held."  # the failure of lease.sh about a lease of another run


@dataclass(frozen=True)
class Holder:
    """Who holds a board: a process of a computer, since when by that computer's clock, and what for."""

    who: str  # user@computer
    machine: str  # what tells computers apart
    boot: str  # boot id of that computer
    pid_namespace: str
    pid: int
    started_ticks: int
    since: str
    what: str

    @classmethod
    def here(cls, pid: int, started_ticks: int, since: str, what: str) -> Holder:
        """A process of this computer."""
        computer = platform.node()
        return cls(
            who=f"{_user()}@{computer}",
            machine=hashlib.sha256(f"{computer} {_first_line('/etc/machine-id')}".encode()).hexdigest()[:16],
            boot=_first_line("/proc/sys/kernel/random/boot_id"),
            pid_namespace=_pid_namespace(),
            pid=pid,
            started_ticks=started_ticks,
            since=since,
            what=what,
        )

    @property
    def token(self) -> str:
        """The same for each command of one run, and of no other."""
        names = (self.machine, self.boot, self.pid_namespace, str(self.pid), str(self.started_ticks))
        return hashlib.sha256(" ".join(names).encode()).hexdigest()[:32]

    def as_line(self) -> str:
        """JSON in one line, as on the board."""
        return json.dumps(asdict(self))

    @classmethod
    def from_line(cls, text: str) -> Holder | None:
        """The inverse of ``as_line``, with anything unprintable replaced; None for something else."""
        try:
            values = json.loads(text)
            words = {name: _printable(values[name]) for name in ("who", "since", "what")}
            keys = {name: str(values[name]) for name in ("machine", "boot", "pid_namespace")}
            return cls(**words, **keys, pid=int(values["pid"]), started_ticks=int(values["started_ticks"]))
        except (ValueError, KeyError, TypeError, RecursionError):
            return None


@dataclass(frozen=True)
class Lease:
    """A lease that was found on a board. Times are seconds of the board's clock since it booted."""

    token: str
    since_s: int
    until_s: int
    now_s: int
    holder: Holder | None  # None: it cannot be read

    @classmethod
    def found(cls, reply: Reply) -> Lease | None:
        """The lease that a reply of lease.sh tells of; None if it tells of none."""
        token, _, rest = reply.facts.get("lease", "").partition(" ")
        if not token:
            return None
        since, _, line = rest.partition(" ")
        since_s = _seconds(since)
        renewed, _, until = reply.facts.get("lease_until", "").partition(" ")
        until_s = _seconds(until) if renewed == token else since_s + LASTS_S
        return cls(token, since_s, until_s, _seconds(reply.facts.get("lease_now", "")), Holder.from_line(line))

    def why_over(self, mine: Holder, owner_runs: bool) -> str:
        """Why it need not be respected, a clause, or ''.

        ``mine`` is this run; ``owner_runs``: whether this computer has the process that the lease names.
        """
        if self.holder is None:
            return "its lease cannot be read"
        if (self.holder.boot, self.holder.pid_namespace) == (mine.boot, mine.pid_namespace):
            return "" if owner_runs else "that process has ended"
        if self.holder.machine == mine.machine and self.holder.boot != mine.boot:
            return "that computer has booted since"
        if self.now_s > self.until_s:
            return f"nothing was heard of it for {(self.now_s - self.until_s + LASTS_S) // 60} min of the board's clock"
        return ""

    def sentence(self, board: str) -> str:
        """Who holds the board since when, without a full stop."""
        if self.holder is None:
            return f"{board} is held by a run whose lease cannot be read"
        ago = f"{self.now_s - self.since_s} s ago by the board's clock"
        process = f"process {self.holder.pid}, {self.holder.what}"
        return f"{board} is held by {self.holder.who} since {self.holder.since} ({ago}; {process})"


def _user() -> str:
    with contextlib.suppress(KeyError):
        return pwd.getpwuid(os.geteuid()).pw_name
    return str(os.geteuid())


def _pid_namespace() -> str:
    with contextlib.suppress(OSError):
        return str(Path("/proc/self/ns/pid").readlink())
    return ""


def _first_line(path: str) -> str:
    with contextlib.suppress(OSError):
        return Path(path).read_text(errors="replace").strip()
    return ""


def _printable(value: object) -> str:
    return "".join(letter if letter.isprintable() else "?" for letter in str(value))[:200]


def _seconds(text: str) -> int:
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 12 else 0
