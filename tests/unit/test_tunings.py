"""Tunings: what they ask for on a split, their ablations, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
from fakes import VARS
from hypothesis import given
from hypothesis import strategies as st

from rtvirt_runner.catalogue.checked_yaml import InputError
from rtvirt_runner.catalogue.cpus import Split
from rtvirt_runner.catalogue.settings import SETTINGS
from rtvirt_runner.catalogue.tunings import Tunings

TUNINGS = Tunings.load(VARS / "tunings.yml")
SPLIT = Split((0, 3), (1, 2))
FULL = TUNINGS["full"]


def tunings(settings: Any, name: str = "mine") -> Tunings:
    return Tunings({name: {"title": "mine", "settings": settings}}, "tunings.yml: tunings")


def test_the_paper_takes_cores_away_at_boot_and_places_the_whole_process() -> None:
    paper = TUNINGS["paper"]
    assert paper.kernel_params(SPLIT) == ("isolcpus=1-2",)
    assert paper.machine_settings() == ("isolcpus",)
    assert paper.placement(SPLIT) == {"mode": "process", "cpus": "1-2", "policy": "rr", "priority": 99}


def test_full_asks_for_every_setting_but_the_papers_placement() -> None:
    assert set(FULL.settings) == set(SETTINGS) - {
        *("qemu_process", "cpuset", "fair_server", "vm_stat_interval"),
        *("cache_partition", "bandwidth_limit"),
    }
    assert FULL.kernel_params(SPLIT) == (
        "isolcpus=managed_irq,domain,1-2",
        "nohz_full=1-2",
        "rcu_nocbs=1-2",
        "irqaffinity=0,3",
        "kvm-arm.wfi_trap_policy=notrap",
    )
    assert FULL.placement(SPLIT) == {
        "mode": "threads",
        "cpus": "1-2",
        "others_cpus": "0,3",
        "policy": "fifo",
        "priority": 1,
    }


def test_a_kernel_that_knows_no_flags_of_isolcpus_gets_a_plain_list() -> None:
    assert FULL.kernel_params(SPLIT, isolcpus_flags=False)[0] == "isolcpus=1-2"


def test_a_value_that_is_written_to_a_machine_is_in_the_word_of_its_setting() -> None:
    bounded = TUNINGS["full-bounded"]
    assert bounded.settings == {**FULL.settings, "fair_server": "bounded", "vm_stat_interval": True}
    words = bounded.machine_settings()
    assert set(words) - set(FULL.machine_settings()) == {"fair_server=bounded", "vm_stat_interval"}
    assert "fair_server=bounded" not in TUNINGS["full-bounded-minus-fair_server"].machine_settings()
    assert "fair_server=bounded" in TUNINGS["full-bounded-minus-rt_throttling"].machine_settings()


def test_none_asks_for_nothing() -> None:
    none = TUNINGS["none"]
    assert (none.kernel_params(SPLIT), none.machine_settings(), none.placement(SPLIT)) == ((), (), {"mode": "none"})


@given(st.sampled_from(sorted(FULL.settings)))
def test_an_ablation_lacks_its_setting_and_nothing_else(setting: str) -> None:
    (name,) = TUNINGS.expand(f"full-minus-{setting}", "axes.tuning")
    without = TUNINGS[name]
    gone = {setting} | {name for name in FULL.settings if SETTINGS[name].needed(FULL.settings[name]) == setting}
    assert (without.name, set(without.settings)) == (name, set(FULL.settings) - gone)
    words = tuple(f"{SETTINGS[name].parameter_name}=" for name in gone if SETTINGS[name].parameter)
    left = [each for each in FULL.kernel_params(SPLIT) if not each.startswith(words)]
    assert list(without.kernel_params(SPLIT)) == left
    assert list(without.machine_settings()) == [name for name in FULL.machine_settings() if name not in gone]
    assert (without.placement(SPLIT) == {"mode": "none"}) == (setting == "vcpu_threads")


def test_each_stands_for_every_ablation() -> None:
    assert TUNINGS.expand("full-minus-each", "axes") == [f"full-minus-{setting}" for setting in FULL.settings]
    assert TUNINGS.expand("full", "axes") == ["full"]


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ("ful", r"axes: unknown tuning 'ful'.*did you mean 'full'\?"),
        ("ful-minus-irqs", r"unknown tuning 'ful'"),
        ("full-minus-irq", r"unknown setting of tuning full 'irq'.*did you mean 'irqs'\?"),
        ("full-minus-irqs-minus-ksm", "unknown setting of tuning full 'irqs-minus-ksm'"),
        ("none-minus-each", "takes a setting away from 'none', which has none"),
        (True, "unknown tuning True"),
    ],
)
def test_an_unknown_tuning_is_refused(value: Any, says: str) -> None:
    with pytest.raises(InputError, match=says):
        TUNINGS.expand(value, "axes")


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"irq": True}, r"settings: unknown key 'irq'.*did you mean 'irqs'\?"),
        ({"irqs": False}, r"settings.irqs is False, expected true; leave the setting out"),
        ({"isolcpus": True}, r"settings.isolcpus: unknown value True, expected one of plain"),
        ({"qemu_process": {}}, "qemu_process is empty"),
        ({"qemu_process": {"policy": "rr"}}, "qemu_process.priority is missing, expected a whole number from 1 to 99"),
        ({"vcpu_threads": {"policy": "other", "priority": 5}}, "priority is 5, expected a whole number from 0 to 0"),
        (
            {"vcpu_threads": {"policy": "deadline", "priority": 5}},
            r"policy is 'deadline', expected one of fifo, rr, .*a runtime and a period instead of a priority",
        ),
        ({"vcpu_threads": {"policy": "fif", "priority": 5}}, r"unknown policy 'fif'.*did you mean 'fifo'\?"),
        ({"vcpu_threads": {"policy": "rr", "prio": 5}}, "unknown key 'prio'"),
        (
            {"qemu_process": {"policy": "fifo", "priority": 99}},
            "policy is 'fifo', expected 'rr': a FIFO vCPU on the same core as QEMU's main thread never lets",
        ),
        (
            {"qemu_process": {"policy": "rr", "priority": 1}, "vcpu_threads": {"policy": "fifo", "priority": 1}},
            "has qemu_process and vcpu_threads, expected one of them",
        ),
        ({"guest_idle": True}, "has guest_idle without isolcpus, expected both: an ordinary program"),
        ({"fair_server": True}, "fair_server: unknown value True, expected one of none, bounded"),
        (
            {"fair_server": "none"},
            "has fair_server without rt_throttling, expected both: the kernel refuses to throttle",
        ),
        ("all", "is 'all', expected keys with values"),
    ],
)
def test_a_wrong_tuning_is_refused(settings: Any, says: str) -> None:
    with pytest.raises(InputError, match=says) as refusal:
        tunings(settings)
    assert str(refusal.value).startswith("tunings.yml: tunings.mine")
    assert "\n" not in str(refusal.value)


def test_a_name_cannot_look_like_an_ablations() -> None:
    with pytest.raises(InputError, match="a name with '-minus-' is that of an ablation"):
        tunings({}, name="all-minus-some")
