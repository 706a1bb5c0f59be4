"""How the settings of a tuning are applied to a machine: the scripts of the role cpu_isolation and their input."""

from __future__ import annotations

from collections.abc import Iterable

from rtvirt_runner.catalogue import collection

_FILES = collection.ROOT / "roles" / "cpu_isolation" / "files"


def apply_script() -> str:
    """Makes the settings hold, and takes back those that an earlier tuning has left."""
    return "\n".join((_FILES / name).read_text() for name in ("settings.sh", "cpuset.sh", "apply.sh"))


def environment(settings: Iterable[str], host_cpus: str, guest_cpus: str) -> dict[str, str]:
    """The variables of that script, and of the one that reads the settings back."""
    return {"SETTINGS": " ".join(settings), "HOST_CPUS": host_cpus, "GUEST_CPUS": guest_cpus}
