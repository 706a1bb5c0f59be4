"""Every architecture of the kernel catalogue is known wherever something depends on it."""

from typing import Any

import yaml

from rtvirt_runner.catalogue import collection
from rtvirt_runner.catalogue.kernels import ARCHITECTURES, load_kernels


def variables(role: str) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((collection.ROOT / "roles" / role / "vars" / "main.yml").read_text())
    return content


def test_workloads_are_compiled_with_the_compiler_that_kernels_are() -> None:
    compilers = variables("workloads")["__workloads_compilers"]
    assert compilers == {name: f"{entry.prefix}gcc" for name, entry in ARCHITECTURES.items()}


def test_guests_have_drivers_for_their_machine() -> None:
    assert set(variables("guest_image")["__guest_image_modules"]) == set(ARCHITECTURES)


def test_pcs_have_kernels_with_and_without_preempt_rt() -> None:
    kernels = load_kernels(collection.VARS / "kernels.yml").values()
    assert {kernel.expects.realtime for kernel in kernels if kernel.architecture == "amd64"} == {True, False}
