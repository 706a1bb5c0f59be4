"""What the action plugins know of the lease of a board: who this run is, and whether it has the board."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from rtvirt_runner.build.leases import Process
from rtvirt_runner.machine.lease import HELD, LASTS_S, Holder, Lease
from rtvirt_runner.machine.script_reply import Reply

LEASE = "/run/rtvirt-lease"
LOCK = "/run/rtvirt-cell"
FACT = "rtvirt_lease"  # of a board that this run has leased: the holder's line


def this_run(what: str) -> Holder:
    """This run as a holder from now on: the process that owns it is ansible-playbook, or the one that it was told."""
    pid = int(os.environ.get("RTVIRT_OWNER_PID") or os.getppid())
    process = Process.of(pid)
    return Holder.here(
        pid, process.started_ticks if process else 0, datetime.now().astimezone().isoformat(" ", "seconds"), what
    )


def lease_environment(do: str, holder: Holder, line: str = "", lease_s: int = 0, over: str = "") -> dict[str, str]:
    """The variables of lease.sh."""
    return {
        "LEASE": LEASE,
        "LEASE_DO": do,
        "LEASE_TOKEN": holder.token,
        "LEASE_HOLDER": line or holder.as_line(),
        "LEASE_S": str(max(LASTS_S, lease_s)),
        "LEASE_OVER": over,
    }


def kept_lease(task_vars: Mapping[str, Any], delegate_to: str | None, lease_s: int) -> dict[str, str]:
    """The variables with which a command keeps this run's lease; none where there is no lease, and for another host."""
    line = str((task_vars.get("ansible_facts") or {}).get(FACT) or "")
    if not line or delegate_to not in (None, task_vars.get("inventory_hostname")):
        return {}
    return lease_environment("keep", this_run(""), line, lease_s)


def lost(reply: Reply, board: str) -> str:
    """The sentence about a lease that another run has by now; '' if the reply is about something else."""
    lease = Lease.found(reply)
    if reply.failure != HELD or lease is None:
        return ""
    return f"{lease.sentence(board)}, which has taken it from this run."


def owner_runs(lease: Lease) -> bool:
    """Whether this computer has the process that a lease names."""
    holder = lease.holder
    return holder is not None and Process.runs_here(holder.pid, holder.started_ticks)
