"""Workloads as they are declared: every mistake is one sentence, and what is right becomes what a cell runs."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from rtvirt_runner.catalogue import collection
from rtvirt_runner.catalogue.checked_yaml import InputError
from rtvirt_runner.catalogue.cpus import Split
from rtvirt_runner.catalogue.workloads import HELPERS, Program, Workload, load_workloads, origins, read_workloads

SHIPPED = collection.VARS / "workloads.yml"
SHIPPED_SOURCES = collection.ROOT / "roles" / "workloads" / "files"
ONE_TO_TWO = Split((0,), (1, 2))


def declared(**entry: Any) -> Workload:
    """One workload of a lab, with a command unless it says otherwise."""
    return load_workloads(SHIPPED, {"mine": {"command": "mine --forever", **entry}})["mine"]


def test_those_that_come_with_rtvirt_are_the_papers_and_more() -> None:
    paper = {"basicmath", "bitcount", "qsort", "susan", "dijkstra", "patricia", "jpeg", "ecu"}
    assert paper | {"idle", "sysbench-cpu", "sysbench-fileio"} <= set(load_workloads(SHIPPED))


def test_an_entry_becomes_what_a_cell_runs() -> None:
    workload = declared(prints="json", repeat=True, prepare="mine --prepare", digest="0123456789abcdef")
    assert workload.program("host", ONE_TO_TWO, 0, "here") == Program(
        command="mine --forever",
        prepare="mine --prepare",
        cleanup="",
        cpus="2",
        repeat=True,
        folder="memory",
        prints="json",
        pattern="",
        digest="0123456789abcdef",
    )


def test_idle_runs_nothing() -> None:
    assert load_workloads(SHIPPED)["idle"].program("guest", ONE_TO_TWO, 0, "here") is None


@pytest.mark.parametrize(
    ("core", "place", "cpus"),
    [("measured", "host", "2"), ("measured", "guest", "1"), ("others", "host", "0"), ("others", "guest", "0")],
)
def test_it_runs_on_the_measured_core_or_on_all_others(core: str, place: str, cpus: str) -> None:
    program = declared(core=core).program(place, ONE_TO_TWO, 0, "here")
    assert program and program.cpus == cpus


def test_a_single_vcpu_has_no_others() -> None:
    with pytest.raises(InputError, match=r"^here: workload 'mine' runs on other cores .* use another split\.$"):
        declared(core="others").program("guest", Split((0,), (1,)), 0, "here")


def test_one_that_writes_to_a_disk_needs_a_guest_that_has_one() -> None:
    workload = declared(folder="disk")
    for place, scratch_mib in (("host", 0), ("guest", 32)):
        program = workload.program(place, ONE_TO_TWO, scratch_mib, "here")
        assert program and program.folder == "disk"
    with pytest.raises(InputError, match=r"here: workload 'mine' writes to a disk and the guest has none"):
        workload.program("guest", ONE_TO_TWO, 0, "here")


@pytest.mark.parametrize(
    ("entry", "complaint"),
    [
        ({"comand": "x"}, "mine: unknown key 'comand'"),
        ({"core": "all"}, "mine.core: unknown core 'all', expected one of measured, others"),
        ({"folder": "tmp"}, "mine.folder: unknown folder 'tmp'"),
        ({"prints": "xml"}, "mine.prints: unknown prints 'xml'"),
        ({"repeat": "yes"}, "mine.repeat is 'yes', expected true or false"),
        ({"command": ["a", "b"]}, "mine.command is ['a', 'b'], expected text"),
        ({"digest": "right"}, "mine.digest is 'right', expected 8 to 64 hexadecimal digits"),
        ({"prints": "pattern"}, "'prints: pattern' and the key 'pattern' go together"),
        ({"prints": "pattern", "pattern": "("}, "mine.pattern is no regular expression"),
        ({"prints": "pattern", "pattern": "x"}, "mine.pattern has no group 'seconds_per_iteration'"),
        ({"sources": "a.c"}, "mine.sources is 'a.c', expected a list of C files"),
        ({"package": "a", "debian_source": "b", "build": "make"}, "mine has both 'debian_source' and 'package'"),
        ({"package": "a", "build": "make"}, "mine: 'build' goes with one of archive, git and debian_source"),
        ({"debian_source": "a"}, "mine: 'build' goes with one of archive, git and debian_source"),
        ({"package": {"name": "a"}}, "mine.package.program is missing, expected text"),
        ({"archive": {"url": "https://example.org/a.tar.gz"}, "build": "make"}, "mine.archive.sha256 is missing"),
        ({"git": {"url": "https://example.org/a", "commit": "main"}, "build": "make"}, "mine.git.commit is 'main'"),
        ({"git": {"url": "https://example.org/a", "branch": "main"}, "build": "make"}, "unknown key 'branch'"),
    ],
)
def test_a_mistake_is_one_sentence_that_names_it(entry: dict[str, Any], complaint: str) -> None:
    with pytest.raises(InputError) as raised:
        declared(**entry)
    assert complaint in str(raised.value)
    assert str(raised.value).startswith("Inventory: rtvirt_lab_workloads.mine")
    assert "\n" not in str(raised.value)


def test_a_name_is_taken_once() -> None:
    with pytest.raises(InputError, match="there is a workload 'bitcount' already"):
        load_workloads(SHIPPED, {"bitcount": {"command": "x"}})


def test_where_programs_come_from(tmp_path: Path) -> None:
    (tmp_path / "mine.c").write_text('#include "mine.h"\nint main(void) { return 0; }\n')
    (tmp_path / "mine.h").touch()
    commit = "0" * 40
    entries = {
        "mine": {"command": "rtvirt-mine", "sources": ["mine.c"]},
        "sysbench": {"command": "rtvirt-sysbench", "package": "sysbench"},
        "hackbench": {"command": "rtvirt-hackbench", "package": {"name": "rt-tests", "program": "hackbench"}},
        "theirs": {
            "command": "rtvirt-theirs",
            "git": {"url": "https://example.org/theirs", "commit": commit},
            "build": "make",
        },
        "idle": {"title": "idle"},
    }
    found = origins(entries, [SHIPPED_SOURCES, tmp_path])
    assert found.programs == {**HELPERS, "mine": ["mine.c"]}
    helpers = [SHIPPED_SOURCES / file for files in HELPERS.values() for file in files]
    assert found.files == [*helpers, tmp_path / "mine.c", tmp_path / "mine.h"]
    assert [(each.name, each.program) for each in found.packages] == [
        ("sysbench", "sysbench"),
        ("rt-tests", "hackbench"),
    ]
    assert found.built == [
        {
            "name": "theirs",
            "build": "make",
            "debian_source": "",
            "download": {"url": "https://example.org/theirs", "commit": commit},
        }
    ]


def test_a_file_that_is_nowhere_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"workloads.mine.sources: there is no file 'mine.c' in "):
        origins({"mine": {"command": "rtvirt-mine", "sources": ["mine.c"]}}, [SHIPPED_SOURCES])


@pytest.mark.parametrize("name", HELPERS)
def test_no_workload_has_the_name_of_a_program_of_rtvirt_s_own(name: str) -> None:
    with pytest.raises(InputError, match=rf"lab.{name}: 'rtvirt-{name}' is a program of rtvirt's own, .* rename it."):
        read_workloads({name: {"command": "true"}}, "lab")


def test_every_file_of_those_that_come_with_rtvirt_is_there() -> None:
    entries = yaml.safe_load(SHIPPED.read_text())["workloads"]
    assert len(origins(entries, [SHIPPED_SOURCES]).files) > 8
