"""Names of the Ansible variables that rtvirt has, to find misspelt ones: Ansible ignores what nobody reads."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass

from rtvirt_runner.catalogue import collection
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


def refuse_misspelt(names: Iterable[str], where: str) -> None:
    """Raise InputError for the first variable that can only be meant for rtvirt and is misspelt."""
    for unknown in unknown_variables(names):
        if unknown.meant and unknown.is_ours:
            raise InputError(f"{where}: {unknown.sentence}")


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
