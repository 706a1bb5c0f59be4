"""What a test or a scenario asserts on decides the state that its board may start from.

A snapshot makes a state the same, so whatever asserts on how a state is reached must not find it made already. Nobody
says where a test starts: it says what it asserts on (a marker here, RTVIRT_ASSERTS_ON in a scenario's molecule.yml),
that decides, and tests/unit/test_honesty.py holds what is said against what is done.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import yaml

COLD, BOOTED, GUEST = "cold", "booted", "guest"
# The nearest state to the goal that a board may start from. A role is tried on a booted board that never met it.
STARTS = {
    "booting": COLD,
    "trials": COLD,
    "cards": COLD,
    "first_contact": COLD,
    "convergence": COLD,
    "idempotence": COLD,
    "role": BOOTED,
    "answers": GUEST,
}
# What stands in the sources of a test or scenario, and what (any of these) it must then say that it asserts on.
EVIDENCE: dict[str, set[str]] = {
    "trial: true": {"trials"},
    "bad_kernels/boot.yml": {"trials"},
    "reprovision.yml": {"cards", "first_contact"},
    "name: rtvirt.testbed.kernel_boot": {"trials", "booting"},
    "name: rtvirt.testbed.virtual_board": {"booting", "cards"},
    "converge.yml": {"convergence", "idempotence"},
    "changed=0": {"idempotence"},
    "changes(said)": {"idempotence"},
    "/proc/cmdline": {"booting", "trials", "convergence"},
}


def start(asserted: Iterable[str]) -> str:
    """The state to start from: the coldest that any of these asks for. Raises KeyError for one that is not known."""
    order = [COLD, BOOTED, GUEST]
    return min((STARTS[what] for what in asserted), key=order.index)


def asserted(node: Any) -> list[str]:
    """What a test or module asserts on, by its markers."""
    found = [what for marker in node.iter_markers("asserts_on") for what in marker.args]
    if not found:
        pytest.fail(
            f"{node.nodeid} does not say what it asserts on, expected asserts_on with some of {', '.join(STARTS)}"
        )
    return found


def of_scenario(folder: Path) -> list[str]:
    """What a scenario of molecule asserts on."""
    described = yaml.safe_load((folder / "molecule.yml").read_text()) or {}
    return str(described.get("ansible", {}).get("env", {}).get("RTVIRT_ASSERTS_ON", "")).split()


def unsaid(sources: str, said: Iterable[str]) -> list[str]:
    """The evidence in sources of something that is not said."""
    return [evidence for evidence, wanted in EVIDENCE.items() if evidence in sources and not wanted & set(said)]


if __name__ == "__main__":  # for molecule/shared/create.yml
    print(start(sys.argv[1:]))
