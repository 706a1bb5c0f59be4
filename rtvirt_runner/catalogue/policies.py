"""Scheduling policies of Linux by name, and those that a tuning can give a thread."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rtvirt_runner.catalogue import checked_yaml
from rtvirt_runner.catalogue.checked_yaml import InputError

REALTIME = ("fifo", "rr")
POLICIES = (*REALTIME, "other", "batch", "idle")  # roles/cpu_isolation/files/thread.sh reads and sets the same
_REFUSED = {
    "deadline": "a deadline thread has a runtime and a period instead of a priority, and the kernel refuses it a core "
    "of its own (sched(7))",
    "ext": "such a thread is scheduled by a BPF program that rtvirt does not load",
}


def check_policy(body: Mapping[str, Any], where: str) -> None:
    """Check the keys ``policy`` and ``priority`` (1 to 99 for fifo and rr, otherwise 0); raises InputError."""
    policy = body.get("policy")
    if isinstance(policy, str) and policy in _REFUSED:
        raise InputError(
            f"{where}.policy is '{policy}', expected one of {', '.join(POLICIES)}, since {_REFUSED[policy]}; "
            "use one of those."
        )
    checked_yaml.known(policy, POLICIES, "policy", f"{where}.policy")
    checked_yaml.require_int(body.get("priority"), (1, 99) if policy in REALTIME else (0, 0), f"{where}.priority")
