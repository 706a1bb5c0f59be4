"""What the recording scripts are told: each variable that they read, and no other."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from fakes import KERNELS, ROLES, catalogue

from rtvirt_runner.catalogue import collection
from rtvirt_runner.catalogue.lab import Lab
from rtvirt_runner.machine import trace_script
from rtvirt_runner.machine.scripts import script_text
from rtvirt_runner.machine.sh_text import stripped
from rtvirt_runner.matrix.cell import Cell
from rtvirt_runner.matrix.load import load_matrix

BOARDS = {
    name: {"rtvirt_board_cpus": cpus, "rtvirt_board_clock": "virtual", "rtvirt_board_kernels": KERNELS}
    for name, cpus in (("virtual-rpi2", 4), ("virtual-cb2", 2))
}


def guest_cell() -> Cell:
    groups = {"boards": [*BOARDS], "guests": [f"{name}-guest" for name in BOARDS], **ROLES}
    lab = Lab.from_inventory(groups, {**BOARDS, **{name: {} for name in groups["guests"]}})
    cells = load_matrix(collection.matrix_path("smoke"), lab, catalogue()).cells
    return next(cell for cell in cells if cell.place == "guest")


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("make_trace", trace_script.make_environment(600)),
        ("begin_trace", trace_script.begin_environment("host")),
        ("begin_trace", trace_script.begin_environment("guest")),
        ("break_cyclictest", trace_script.break_environment(guest_cell(), 250)),
        ("end_trace", trace_script.end_environment("guest", guest_cell())),
        ("end_trace", trace_script.end_environment("host", replace(guest_cell(), place="host"), 250)),
    ],
)
def test_each_variable_of_a_script_is_given_and_no_other(name: str, given: dict[str, str]) -> None:
    text = stripped(script_text(name))
    own = set(re.findall(r"^\s*([A-Z][A-Z0-9_]+)=", text, re.MULTILINE)) | {"RSTART", "RLENGTH"}
    read = set(re.findall(r"\$\{?([A-Z][A-Z0-9_]+)", text)) - own
    assert read == set(given)
    may_be_empty = {"COMMAND", "PREPARE", "CLEANUP", "CPUS"}  # an idle cell
    may_be_empty |= {"TRACE_STOPS", "RTLA_THRESHOLD_US"}  # a guest
    assert {name for name, value in given.items() if not value} <= may_be_empty


def test_kvm_is_traced_on_the_board_alone_and_every_typed_event_can_be_read() -> None:
    host, guest = (trace_script.begin_environment(side)["TRACE_EVENTS"].split() for side in ("host", "guest"))
    assert [event for event in guest if event.startswith("kvm/")] == []
    assert {"kvm/kvm_entry", "kvm/kvm_exit"} <= set(host)
    assert set(guest) < set(host)


def test_a_broken_cell_is_measured_as_the_cell_is() -> None:
    cell = guest_cell()
    given = trace_script.break_environment(cell, 250)
    assert (given["CPU"], given["PRIORITY"]) == (str(cell.measured_cpu), str(cell.priority))
    assert (given["INTERVAL_US"], given["THRESHOLD_US"]) == (str(cell.interval_us), "250")
    assert int(given["LOOPS"]) == trace_script.MORE_LOOPS * cell.loops
    assert trace_script.lasts_s(cell) > int(given["LIMIT_S"]) > cell.loops * cell.interval_us // 1_000_000


def test_rtla_waits_no_longer_than_the_cell_measures() -> None:
    """The limit of a cell has minutes of slack, which beside a load last longer than a sealed machine may be silent."""
    cell = replace(guest_cell(), place="host", loops=1000, interval_us=1000)
    given = trace_script.end_environment("host", cell, 250)
    assert int(given["RTLA_LIMIT_S"]) == 1 + trace_script.RTLA_STARTS_S
