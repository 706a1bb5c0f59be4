"""Named guests: the state that a cell wants each in, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from fakes import VARS, catalogue
from hypothesis import given
from hypothesis import strategies as st

from rtvirt_runner.catalogue.checked_yaml import InputError
from rtvirt_runner.catalogue.cpus import Split, parse_cpu_list
from rtvirt_runner.catalogue.guests import Guest, GuestState, load_guests
from rtvirt_runner.catalogue.tunings import Tunings

TUNINGS = Tunings.load(VARS / "tunings.yml")
GUESTS = catalogue().guests
SPLIT = Split((0,), (1, 2))


def state(guest: Guest, tuning: str = "full", split: Split = SPLIT) -> GuestState:
    return guest.state(TUNINGS[tuning], split, "debian-rt", "in_kernel", catalogue().kernels, "experiments.idle")


def test_split_and_tuning_decide_vcpus_and_placement() -> None:
    wanted = state(GUESTS["minimal"])
    assert (wanted.name, wanted.flavour, wanted.vcpus) == ("minimal", "minimal", 2)
    assert wanted.placement == TUNINGS["full"].placement(SPLIT)
    assert (wanted.memory_lock, wanted.huge_pages) == (True, True)
    untuned = state(GUESTS["minimal"], "none")
    assert (untuned.memory_lock, untuned.huge_pages) == (False, False)


def test_a_guest_whose_kernel_knows_no_flags_of_isolcpus_gets_none() -> None:
    kernels = catalogue().kernels
    old = GUESTS["partitioned"].state(TUNINGS["full"], SPLIT, "sunxi-4.4.6", "in_kernel", kernels, "experiments.idle")
    assert old.kernel_params[0] == "isolcpus=1"


def test_a_state_survives_its_dict_and_another_versions_is_refused() -> None:
    wanted = state(GUESTS["partitioned"])
    assert GuestState.from_dict(json.loads(json.dumps(wanted.as_dict()))) == wanted
    with pytest.raises(InputError, match="guest_state of a cell has missing or unknown fields: colour, gic;"):
        GuestState.from_dict({"colour" if key == "gic" else key: value for key, value in wanted.as_dict().items()})


def test_kernel_and_gic_are_the_boards_unless_the_guest_says() -> None:
    assert (state(GUESTS["minimal"]).kernel, state(GUESTS["minimal"]).gic) == ("debian-rt", "in_kernel")
    assert state(GUESTS["minimal-user-gic"]).gic == "user_space"
    assert state(GUESTS["minimal-armhf"]).kernel == "linux-6.1-rt-armhf"


def test_only_a_partitioned_guest_is_tuned_inside() -> None:
    plain, inside = state(GUESTS["minimal"]), state(GUESTS["partitioned"])
    assert (plain.kernel_params, plain.settings) == ((), ())
    assert inside.settings == tuple(
        name for name in TUNINGS["full"].machine_settings() if name not in ("guest_idle", "halt_poll")
    )
    assert inside.kernel_params[:2] == ("isolcpus=managed_irq,domain,1", "nohz_full=1")
    assert (inside.host_cpus, inside.guest_cpus) == ("0", "1")


@given(st.integers(0, 5), st.integers(1, 6))
def test_every_vcpu_is_for_housekeeping_or_for_real_time(housekeeping: int, vcpus: int) -> None:
    guest = Guest("g", "g", "minimal", 256, "", "", housekeeping, 0)
    split = Split((0,), tuple(range(1, 1 + vcpus)))
    if housekeeping >= vcpus:
        with pytest.raises(InputError, match=f"keeps {housekeeping} of its vCPUs.*the split gives it {vcpus}"):
            state(guest, split=split)
        return
    wanted = state(guest, split=split)
    cores = (*parse_cpu_list(wanted.host_cpus), *parse_cpu_list(wanted.guest_cpus))
    assert cores == tuple(range(vcpus))
    assert bool(wanted.kernel_params) == (housekeeping > 0)


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({}, "guests.mine is empty"),
        ({"flavor": "minimal"}, r"unknown key 'flavor'.*did you mean 'flavour'\?"),
        ({"flavour": "fedora"}, "flavour: unknown flavour 'fedora', expected one of minimal, debian"),
        ({"memory_mib": 64}, "flavour: unknown flavour missing"),
        ({"flavour": "minimal", "gic": "hardware"}, "gic: unknown GIC 'hardware', expected one of in_kernel"),
        ({"flavour": "minimal", "kernel": "linux-1"}, "kernel: unknown kernel 'linux-1'"),
        ({"flavour": "minimal", "memory_mib": 8}, "memory_mib is 8, expected a whole number from 32"),
        ({"flavour": "minimal", "housekeeping_vcpus": "1"}, "housekeeping_vcpus is '1', expected a whole number"),
        ({"flavour": "minimal", "scratch_mib": -1}, "scratch_mib is -1"),
        ({"flavour": "minimal", "title": 1}, "title is 1, expected text"),
    ],
)
def test_a_wrong_guest_is_refused(body: Any, says: str, tmp_path: Path) -> None:
    path = tmp_path / "guests.yml"
    path.write_text(yaml.safe_dump({"guests": {"mine": body}}), encoding="utf-8")
    with pytest.raises(InputError, match=says) as refusal:
        load_guests(path, {"debian-rt": {}})
    assert str(refusal.value).startswith(f"{path}: guests.mine")


def test_no_guest_can_be_called_none(tmp_path: Path) -> None:
    path = tmp_path / "guests.yml"
    path.write_text("guests: {none: {flavour: minimal}}\n", encoding="utf-8")
    with pytest.raises(InputError, match="'none' means that no guest runs"):
        load_guests(path, {})
