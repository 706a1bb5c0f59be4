"""Which scripts of the roles run as one, in which order. A machine's state is read by the same ones wherever that is.

Each set is for one command on a far machine (script_reply.py); shell functions stand before what calls them.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from rtvirt_runner.catalogue import checked_yaml, collection

_MACHINE_STATE = (
    "measure/machine_state",
    *("cpu_isolation/thread", "cpu_isolation/settings", "cpu_isolation/cpuset", "cpu_isolation/show"),
)
SETS: Mapping[str, tuple[str, ...]] = {
    # a board or a guest: kernel, cores, settings read back
    "machine_state": _MACHINE_STATE,
    # a board, and how it holds its guest
    "board_state": (*_MACHINE_STATE, "guest/unit_pid", "measure/guest_threads"),
    # the settings of a tuning, on a board or in a guest
    "apply_settings": tuple(f"cpu_isolation/{name}" for name in ("thread", "settings", "cpuset", "apply")),
    "start_load": ("measure/start_load",),
    "end_load": ("measure/end_load",),
    "cell": ("cpu_isolation/enter_cpuset", "measure/run_workload", "measure/measure_cell"),
    "start_guest": (
        *("guest/unit_pid", "guest/unit", "guest/stop_guest", "guest/find_vcpus"),
        *("cpu_isolation/enter_cpuset", "cpu_isolation/thread", "guest/place_guest", "guest/start_guest"),
    ),
    "stop_guest": ("guest/unit_pid", "guest/unit", "guest/stop_guest", "guest/absent"),
}


def script_set(name: str) -> list[Path]:
    """The files of one of SETS; raises InputError when there is no such set."""
    checked_yaml.known(name, list(SETS), "set of scripts", "rtvirt.testbed.scripts")
    return [_path(each) for each in SETS[name]]


def script_text(*names: str) -> str:
    """Some of SETS, one after the other, as one script; raises InputError when there is no such set."""
    return "\n".join(path.read_text() for name in names for path in script_set(name))


def _path(name: str) -> Path:
    role, _, script = name.partition("/")
    return collection.ROOT / "roles" / role / "files" / f"{script}.sh"
