"""Sets of scripts of the roles that run as one. The state of boards and guests is read by the same scripts.

Each set is for one command on a machine under test (script_reply.py); shell functions come before their callers.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from rtvirt_runner.catalogue import checked_yaml, collection

_MACHINE_STATE = (
    *("measure/machine_state", "measure/conditions"),
    *("cpu_isolation/thread", "cpu_isolation/settings", "cpu_isolation/cpuset", "cpu_isolation/resctrl"),
    "cpu_isolation/show",
)
SETS: Mapping[str, tuple[str, ...]] = {
    # state of a board or a guest: kernel, cores, settings read back
    "machine_state": _MACHINE_STATE,
    # state of a board, and of the QEMU process of its guest
    "board_state": (*_MACHINE_STATE, "guest/unit_pid", "measure/guest_threads"),
    # state of the second guest of a board
    "neighbour_state": ("guest/unit_pid", "guest/neighbour", "cpu_isolation/thread", "measure/neighbour_threads"),
    # what decides whether a machine can be measured, before anything on it is changed
    "preflight": ("kvm_host/kvm_said", "measure/preflight"),
    # whether KVM runs a guest, or guests must be emulated
    "kvm_host": ("kvm_host/kvm_said", "kvm_host/kvm_host"),
    # release and name of the kernel alone, which also tells whether the machine answers
    "running_kernel": ("measure/running_kernel",),
    # applies the settings of a tuning on a board or in a guest
    "apply_settings": tuple(f"cpu_isolation/{name}" for name in ("thread", "settings", "cpuset", "resctrl", "apply")),
    # the lease of a board, in front of what its holder runs there
    "lease": ("measure/lease",),
    # functions that hold a machine for one command
    "hold_machine": ("measure/hold_machine",),
    "start_load": ("measure/start_load",),
    "end_load": ("measure/end_load",),
    # cyclictest on the board while the guest is measured, and how the board's clocks stand
    "start_host_cyclictest": (
        *("cpu_isolation/enter_cpuset", "cpu_isolation/thread", "measure/cyclictest_thread", "measure/clock_offset"),
        *("measure/host_cyclictest", "measure/start_host_cyclictest"),
    ),
    "end_host_cyclictest": (
        *("cpu_isolation/thread", "measure/cyclictest_thread", "measure/clock_offset"),
        *("measure/host_cyclictest", "measure/end_host_cyclictest"),
    ),
    "stop_host_cyclictest": ("measure/host_cyclictest", "measure/stop_host_cyclictest"),
    # a function that reads the guest's clock by the seconds of its board's
    "clock_edges": ("measure/clock_edges",),
    "cell": (
        *("cpu_isolation/enter_cpuset", "cpu_isolation/thread", "measure/run_workload"),
        *("measure/cyclictest_thread", "measure/measure_cell"),
    ),
    # an ftrace instance of rtvirt's own: is made, begins, is stopped by a late wake-up, is read and removed
    "make_trace": ("measure/trace_instance", "measure/make_trace"),
    "begin_trace": ("measure/trace_instance", "measure/begin_trace"),
    "break_cyclictest": (
        *("cpu_isolation/enter_cpuset", "measure/run_workload"),
        *("measure/trace_instance", "measure/break_cyclictest"),
    ),
    "end_trace": ("measure/trace_instance", "measure/rtla", "measure/end_trace"),
    "remove_trace": ("measure/trace_instance", "measure/remove_trace"),
    "start_guest": (
        *("guest/unit_pid", "guest/unit", "guest/stop_guest", "guest/find_vcpus"),
        *("cpu_isolation/enter_cpuset", "cpu_isolation/thread", "guest/place_guest", "guest/start_guest"),
    ),
    "stop_guest": ("guest/unit_pid", "guest/unit", "guest/stop_guest", "guest/absent"),
    # a second guest, and what runs in it
    "start_neighbour": (
        *("guest/unit_pid", "guest/neighbour", "guest/unit", "guest/stop_guest", "guest/spent_neighbour"),
        *("guest/find_vcpus", "cpu_isolation/enter_cpuset", "cpu_isolation/thread", "guest/place_guest"),
        *("guest/start_guest", "guest/give_load"),
    ),
    "stop_neighbour": (
        *("guest/unit_pid", "guest/neighbour", "guest/unit", "guest/stop_guest", "guest/neighbour_absent"),
    ),
    "neighbour_load": ("cpu_isolation/enter_cpuset", "measure/run_workload", "guest/neighbour_load"),
}


def script_set(name: str) -> list[Path]:
    """The files of one of SETS, in order; raises InputError for an unknown set."""
    checked_yaml.known(name, list(SETS), "set of scripts", "rtvirt.testbed.scripts")
    return [_path(each) for each in SETS[name]]


def script_text(*names: str) -> str:
    """Sets of SETS concatenated to one script; raises InputError for an unknown set."""
    return "\n".join(path.read_text() for name in names for path in script_set(name))


def _path(name: str) -> Path:
    role, _, script = name.partition("/")
    return collection.ROOT / "roles" / role / "files" / f"{script}.sh"
