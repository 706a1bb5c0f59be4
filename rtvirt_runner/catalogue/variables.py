"""The Ansible variables that rtvirt has, to find misspelt names and values: Ansible ignores what nobody reads.

Values of roles' inputs are validated by Ansible, with their argument specifications; playbooks have none, so the
values of theirs are checked here.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from rtvirt_runner.catalogue import checked_yaml, collection
from rtvirt_runner.catalogue.checked_yaml import InputError

PREFIX = "rtvirt_"
# What a lab sets of boards and guests, and what is given with -e. Inputs of roles are in their defaults/main.yml.
INPUTS = (
    *("rtvirt_board_boots", "rtvirt_board_clock", "rtvirt_board_console", "rtvirt_board_cpus", "rtvirt_board_emulator"),
    *("rtvirt_board_kernels", "rtvirt_board_pid_file", "rtvirt_board_sealed", "rtvirt_guest_board"),
    *("rtvirt_lab_workloads", "rtvirt_power_command", "rtvirt_provision"),
    *("rtvirt_card_device", "rtvirt_card_file", "rtvirt_card_gb", "rtvirt_cell_slack_s", "rtvirt_hangs_after_s"),
    *(
        "rtvirt_cache",
        "rtvirt_keep_boards",
        "rtvirt_kernels",
        "rtvirt_matrix",
        "rtvirt_only",
        "rtvirt_provision_wait_s",
        "rtvirt_repetitions",
        "rtvirt_results_dir",
    ),
    *("rtvirt_rotate_identity", "rtvirt_sealed", "rtvirt_snapshots", "rtvirt_state", "rtvirt_take_over", "rtvirt_wait"),
    *("rtvirt_trace_cell", "rtvirt_trace_threshold"),
    *(
        "rtvirt_board",
        "rtvirt_connection_file",
        "rtvirt_host",
        "rtvirt_inspect_file",
        "rtvirt_kernel_names",
        "rtvirt_kernels_state_file",
    ),
)
# What playbooks and roles set themselves, for each other and for the playbooks that use them.
OUTPUTS: tuple[str, ...] = (
    *("board_image_base", "board_image_card_environment", "board_image_keys", "board_image_loader"),
    *("board_image_other_root", "board_image_rootfs", "cpu_isolation_found", "cpu_isolation_kernel_params"),
    *("cpu_isolation_reboot_required", "guest_image_artifact", "guest_started", "kernel_boot_files"),
    *("kernel_boot_files_artifact", "kernel_boot_forgotten", "kernel_boot_original"),
    *("kernel_boot_reboot_required", "kernel_boot_returned", "kernel_boot_script_artifact", "kernel_boot_settled"),
    *("kernel_build_artifacts", "kvm_host_state", "measure_state", "rtvirt_all_plans", "rtvirt_answer"),
    *("rtvirt_answers", "rtvirt_boot", "rtvirt_card", "rtvirt_cards", "rtvirt_cards_wanted"),
    *("rtvirt_cell_limit_s", "rtvirt_conditions", "rtvirt_connection", "rtvirt_expects", "rtvirt_found"),
    *("rtvirt_found_inside", "rtvirt_groups", "rtvirt_guest", "rtvirt_guest_answers", "rtvirt_guest_expects"),
    *(
        "rtvirt_images",
        "rtvirt_kind",
        "rtvirt_lease",
        "rtvirt_left",
        "rtvirt_misspelt",
        "rtvirt_original",
        "rtvirt_plan",
        "rtvirt_preflight",
    ),
    *("rtvirt_profile", "rtvirt_purpose"),
    *(
        "rtvirt_reached",
        "rtvirt_records_dir",
        "rtvirt_refusals",
        "rtvirt_report",
        "rtvirt_running",
        "rtvirt_sealed_board",
        "rtvirt_sealed_folder",
    ),
    *("rtvirt_sealed_plan", "rtvirt_sealed_plans", "rtvirt_sealed_refused", "rtvirt_ssh_plans", "rtvirt_taken"),
    *(
        "rtvirt_trace_limit_s",
        "rtvirt_trace_without",
        "rtvirt_traced",
        "rtvirt_way",
        "rtvirt_ways",
        "sealed_board_made",
        "sealed_board_started",
        "virtual_board_qemu_folder",
    ),
    *("virtual_board_qemu_version", "virtual_board_qemu_warning", "virtual_board_snapshot"),
    *("virtual_board_started", "workloads_programs"),
)
_ALIKE = 0.8  # of difflib, between what follows the prefix
# What Ansible's filter bool reads; it takes everything else for false.
_TRUE_OR_FALSE = frozenset({"true", "yes", "on", "1", "false", "no", "off", "0"})
_INPUT = re.compile(r"^([a-z]\w*):", re.MULTILINE)


@dataclass(frozen=True)
class Unknown:
    """A variable that nobody reads; ``meant`` is the one that it looks like, or ''."""

    name: str
    meant: str

    @property
    def is_ours(self) -> bool:
        """Whether it can only be meant for rtvirt: a role's prefix of one word may be anybody's."""
        return self.name.startswith(PREFIX) or "_" in _prefix_of(self.meant).rstrip("_")

    @property
    def sentence(self) -> str:
        expected = f"expected {self.meant}; correct its name" if self.meant else "so nothing reads it; remove it"
        return f"{self.name} is no variable of rtvirt, {expected}."


def unknown_variables(names: Iterable[str], role: str = "") -> list[Unknown]:
    """Variables of these that look like rtvirt's and are not, sorted by name.

    Of a role, only those with its own prefix and with ``rtvirt_``. A name with a role's prefix counts if it resembles
    one of the role's inputs: the prefix may be somebody else's too.
    """
    inputs = _role_inputs()
    known = {*INPUTS, *OUTPUTS, *(name for own in inputs.values() for name in own)}
    prefixes = {PREFIX: INPUTS} | {f"{each}_": own for each, own in inputs.items() if role in ("", each)}
    found = []
    for name in sorted({str(each) for each in names} - known):
        for prefix in sorted(prefixes, key=len, reverse=True):
            if name.startswith(prefix):
                meant = _nearest(name, prefix, prefixes[prefix])
                if meant or prefix == PREFIX:
                    found.append(Unknown(name, meant))
                break
    return found


def refused_values(variables: Mapping[str, Any]) -> list[str]:
    """A sentence for each input of the playbooks whose value is not of the kind that it has to be."""
    expected = {bool: "true or false", int: "a whole number"}
    return [
        f"{name} is {checked_yaml.format_value(variables[name])}, expected {expected[kind]}; correct it."
        for name, kind in typed_inputs().items()
        if name in variables and not _fits(variables[name], kind)
    ]


@cache
def typed_inputs() -> dict[str, type]:
    """Inputs of the playbooks that are true or false (bool) or a whole number (int), as their defaults are."""
    defaults = checked_yaml.load_yaml(collection.PLAYBOOKS / "group_vars" / "all.yml")
    return {name: type(value) for name, value in defaults.items() if isinstance(value, int)}  # a bool is an int


def _fits(value: Any, kind: type) -> bool:
    """Whether Ansible reads a value as it was meant; ``-e name=value`` makes a text of each."""
    if kind is bool:
        return str(value).lower() in _TRUE_OR_FALSE
    return checked_yaml.is_int(value) or re.fullmatch("[0-9]{1,9}", str(value)) is not None


def refuse_invalid(variables: Mapping[str, Any], where: str) -> None:
    """Raise InputError for a variable that can only be meant for rtvirt and is misspelt, or whose value is."""
    for unknown in unknown_variables(variables):
        if unknown.meant and unknown.is_ours:
            raise InputError(f"{where}: {unknown.sentence}")
    for sentence in refused_values(variables):
        raise InputError(f"{where}: {sentence}")


def _nearest(name: str, prefix: str, inputs: Iterable[str]) -> str:
    rests = {each.removeprefix(prefix): each for each in inputs}
    near = difflib.get_close_matches(name.removeprefix(prefix), rests, n=1, cutoff=_ALIKE)
    return rests[near[0]] if near else ""


def _prefix_of(name: str) -> str:
    matching = [f"{role}_" for role in _role_inputs() if name.startswith(f"{role}_")]
    return max(matching, key=len, default="")


def _role_inputs() -> dict[str, list[str]]:
    """Names of the inputs of each role; read without a YAML parser, since this is done for each use of a role."""
    files = (collection.ROOT / "roles").glob("*/defaults/main.yml")
    return {path.parents[1].name: _INPUT.findall(path.read_text()) for path in files}
