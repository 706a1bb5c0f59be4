"""What depends on the architecture is known for every one of them, and stands in one place."""

import pytest
import yaml

from rtvirt_runner.catalogue import collection
from rtvirt_runner.catalogue.kernels import ARCHITECTURES, load_kernels


@pytest.mark.parametrize("architecture", ARCHITECTURES.values(), ids=ARCHITECTURES.keys())
def test_the_controller_has_a_compiler_for_it(architecture: object) -> None:
    tools = yaml.safe_load((collection.ROOT / "roles" / "controller" / "defaults" / "main.yml").read_text())
    compilers = {*tools["controller_tools"], "x86_64-linux-gnu-gcc"}  # that of a PC is its gcc
    assert f"{architecture.prefix}gcc" in compilers


def test_every_kernel_runs_guests_of_its_own_architecture() -> None:
    assert all(name in entry.kvm_guests for name, entry in ARCHITECTURES.items())


def test_pcs_have_kernels_with_and_without_preempt_rt() -> None:
    kernels = load_kernels(collection.VARS / "kernels.yml").values()
    assert {kernel.expects.realtime for kernel in kernels if kernel.architecture == "amd64"} == {True, False}
