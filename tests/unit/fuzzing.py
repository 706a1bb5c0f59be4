"""Inputs for test_fuzz.py: valid ones, what is changed in them, and what must hold of those that are accepted.

A target takes one input, a text or bytes. It may refuse it, with one sentence, and whatever it accepts must be valid by
rules that are written here a second time, for what a wrong input would break further on.
"""

from __future__ import annotations

import base64
import copy
import gzip
import hashlib
import json
import re
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from fakes import VARS, catalogue, cyclictest_json, done, system, virtual_lab
from hypothesis import strategies as st

from rtvirt_runner.analysis.measurement import read_measurement
from rtvirt_runner.catalogue.checked_yaml import NAME, InputError
from rtvirt_runner.catalogue.cpus import Split
from rtvirt_runner.catalogue.kernels import ARCHITECTURES, load_kernels
from rtvirt_runner.catalogue.lab import Lab
from rtvirt_runner.catalogue.settings import SETTINGS
from rtvirt_runner.catalogue.tunings import Tunings
from rtvirt_runner.catalogue.workloads import CORES, FOLDERS, PRINTS, load_workloads
from rtvirt_runner.cli import inspect as cli_inspect
from rtvirt_runner.machine import script_reply, state_changes, verify_state
from rtvirt_runner.machine.sealed_machine import Answers
from rtvirt_runner.matrix.cell import Cell
from rtvirt_runner.matrix.load import load_matrix
from rtvirt_runner.matrix.results import ResultsTree
from rtvirt_runner.run.terminal import SafeConsole

LAB, CATALOGUE = virtual_lab(), catalogue()
SPLIT = Split((0, 1), (2, 3))
MATRIX = load_matrix(VARS / "matrix_smoke.yml", LAB, CATALOGUE)
GUEST_CELL = next(cell for cell in MATRIX.cells if cell.place == "guest")

# ------------------------------------------------------------------------------------------------------------- changes

WORDS = [
    *("", " ", "0", "-1", "1e999", ".nan", "~", "yes", "0-3", "0-9999", "3-1", "..", "../x", "a/b", "x" * 300),
    *("{{ x }}", "%s", "$HOME", "=1", "\x1b[2J", "\u202e", "\0", "é", "\ud800", "\u2028", "1" * 5000, "2024-01-01"),
    *("linux-6.12-rt", "full-minus-each", "full-minus-x", "running", "none", "idle", "guest", "(?P<a>", "(a+)+$"),
]
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.sampled_from([0, -1, 10**9 + 1, 1 << 63, 10**400]),
    st.floats(),
    st.sampled_from(WORDS),
    st.text(max_size=12),
)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(scalars.filter(lambda key: key == key), inner, max_size=4)
    ),
    max_leaves=8,
)
TOKENS = [
    *("[", "]", "{", "}", ":", "- ", "? ", "*a", "&a ", "<<: ", "!!bool x", "!!int ''", "!!binary x", "!!set {a}"),
    *("!!python/object:os.system", "!!timestamp x", "!!float x", "---\n", "%YAML 9.9\n", "\t", "\r", "\x85", "\ufeff"),
    *("'", '"', "|\n", ">\n", "#", "0x" + "f" * 9000, "1:" * 2000 + "1", "'\\", "@", "`", "[" * 200, "\n" * 50),
]


def parts_of(document: Any) -> list[tuple[Any, Any]]:
    """Every container of a document with each of its keys or indexes."""
    keys = list(document) if isinstance(document, dict) else range(len(document)) if isinstance(document, list) else []
    return [(document, key) for key in keys] + [pair for key in keys for pair in parts_of(document[key])]


@st.composite
def changed(draw: st.DrawFn, document: Any) -> Any:
    """A document of which a few values are replaced, removed, moved to another key, or copied from elsewhere."""
    document = copy.deepcopy(document)
    for _ in range(draw(st.integers(1, 3))):
        parts = parts_of(document)
        if not parts:
            break
        container, key = draw(st.sampled_from(parts))
        how = draw(st.sampled_from(["replace", "remove", "rename", "copy"]))
        if how == "replace":
            container[key] = draw(values)
        elif how == "remove":
            del container[key]
        elif how == "copy":
            source, of = draw(st.sampled_from(parts))
            container[key] = copy.deepcopy(source[of]) if of in source or isinstance(source, list) else None
        elif isinstance(container, dict):
            container[draw(scalars.filter(lambda each: each == each))] = container.pop(key)
    return document


@st.composite
def damaged(draw: st.DrawFn, text: str, tokens: list[str]) -> bytes:
    """A text in which a few pieces are removed, doubled, or replaced by a token or by bytes."""
    content = text.encode(errors="surrogatepass")
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(content)))
        end = min(len(content), at + draw(st.integers(0, 40)))
        piece = draw(
            st.sampled_from(tokens).map(lambda token: token.encode(errors="surrogatepass"))
            | st.binary(max_size=6)
            | st.just(content[at:end] * 2)
        )
        content = content[:at] + piece + content[end:]
    return content


def as_yaml(document: Any) -> bytes:
    try:
        text = yaml.safe_dump(document, allow_unicode=True, sort_keys=False)
    except (ValueError, yaml.YAMLError):  # a number that Python does not write
        text = repr(type(document))
    return text.encode(errors="surrogatepass")


def yaml_inputs(path: Path) -> st.SearchStrategy[bytes]:
    text = path.read_text()
    return st.one_of(changed(yaml.safe_load(text)).map(as_yaml), damaged(text, TOKENS), values.map(as_yaml))


# ------------------------------------------------------------------------------------------------------------- targets


@dataclass(frozen=True)
class Target:
    """``take`` raises InputError for an input that it refuses; ``refuses``: whether it may."""

    inputs: st.SearchStrategy[bytes]
    take: Callable[[bytes, Path], None]
    refuses: bool = True


def take_matrix(content: bytes, folder: Path) -> None:
    path = folder / "matrix.yml"
    path.write_bytes(content)
    matrix = load_matrix(path, LAB, CATALOGUE)
    assert NAME.fullmatch(matrix.name) and isinstance(matrix.title, str) and matrix.cells
    cells = matrix.cells
    assert len({cell.id for cell in cells}) == len(cells)
    for cell in cells[:200]:
        board = LAB.boards[cell.board]
        host, guest = (list(_cores(text)) for text in (cell.host_cpus, cell.guest_cpus))
        assert host and guest and not set(host) & set(guest) and max(host + guest) < board.cpus
        assert cell.kernel in CATALOGUE.kernels and cell.workload in CATALOGUE.workloads
        assert re.fullmatch(r"[A-Za-z0-9._+-]{1,230}", cell.id)
        assert (cell.guest_state is None) == (cell.place == "host") == (cell.guest == "none")
        for number, (least, most) in {"loops": (1, 10**9), "interval_us": (10, 10**6), "priority": (1, 99)}.items():
            assert type(getattr(cell, number)) is int and least <= getattr(cell, number) <= most
        assert 1 <= cell.repetition <= 1000 and 0 <= cell.measured_cpu < board.cpus
        assert Cell.from_dict(json.loads(json.dumps(cell.as_dict()))) == cell


def _cores(text: str) -> list[int]:
    ends = [[int(each) for each in part.split("-")] for part in text.split(",")]
    return [core for end in ends for core in range(end[0], end[-1] + 1)]


def take_kernels(content: bytes, folder: Path) -> None:
    path = folder / "kernels.yml"
    path.write_bytes(content)
    for name, kernel in load_kernels(path).items():
        assert kernel.name == name and NAME.fullmatch(name) and kernel.architecture in ARCHITECTURES
        assert isinstance(kernel.expects.realtime, bool) and re.compile(kernel.expects.release)
        words = (*kernel.kernel_params, *kernel.make, *kernel.device_trees, *kernel.fragments)
        assert all(isinstance(word, str) and not re.search(r"\s|['\"]", word) for word in words)
        assert all(isinstance(text, str) for text in (kernel.title, kernel.unverified, kernel.prefix))
        downloads = [kernel.source, *kernel.patches, kernel.toolchain]
        for each in downloads:
            assert all(isinstance(value, str | Mapping) for value in each.values())
            if "url" in each:
                assert re.fullmatch(r"(https?|file)://\S+", each["url"])
            if "sha256" in each:
                assert re.fullmatch("[0-9a-f]{64}", each["sha256"])


def take_workloads(content: bytes, folder: Path) -> None:
    path = folder / "workloads.yml"
    path.write_bytes(content)
    for name, each in load_workloads(path).items():
        _check_workload(name, each)


def _check_workload(name: str, each: Any) -> None:
    assert each.name == name and NAME.fullmatch(name) and isinstance(each.repeat, bool)
    assert each.core in CORES and each.folder in FOLDERS and each.prints in PRINTS
    texts = (each.title, each.command, each.board_command, each.prepare, each.cleanup, each.pattern, each.digest)
    assert all(isinstance(text, str) for text in texts)
    assert not any("\0" in text for text in texts)  # no command line and no variable can hold it
    if (program := each.program("host", SPLIT, 0, "x")) is not None:
        assert type(program).from_dict(json.loads(json.dumps(program.as_dict()))) == program


def take_tunings(content: bytes, folder: Path) -> None:
    path = folder / "tunings.yml"
    path.write_bytes(content)
    tunings = Tunings.load(path)
    for name in tunings:
        tuning = tunings[name]
        assert NAME.fullmatch(name) and isinstance(tuning.title, str) and set(tuning.settings) <= set(SETTINGS)
        for each in (tuning, tuning.inside(), *(tuning.minus(setting) for setting in tuning.settings)):
            words = (*each.kernel_params(SPLIT), *each.machine_settings(), *each.machine_settings(boots=False))
            assert all(re.fullmatch(r"[\w.,=:+/-]+", word) for word in words), words
            assert each.placement(SPLIT)["mode"] in ("none", "process", "threads")


HOSTVARS: dict[str, Any] = {
    "b1": {
        "rtvirt_board_cpus": 4,
        "rtvirt_board_clock": "virtual",
        "rtvirt_board_boots": True,
        "rtvirt_board_sealed": True,
        "guest_gic": "in_kernel",
        "guest_kernel": "linux-6.12-rt",
        "board_image_profile": "virt_arm64",
        "rtvirt_lab_workloads": {"own": {"title": "x", "command": "true"}},
    },
}
INVENTORY = {"groups": {"all": ["b1", "b1-guest"], "boards": ["b1"], "guests": ["b1-guest"]}, "hostvars": HOSTVARS}


def as_json(document: Any) -> bytes:
    try:
        return json.dumps(document).encode()
    except (TypeError, ValueError):
        return b"{}"


def take_lab(content: bytes, folder: Path) -> None:
    """What Ansible makes of an inventory has groups of names and a mapping of variables for each host."""
    try:
        given = json.loads(content)
    except ValueError:
        return
    groups = given.get("groups") if isinstance(given, dict) else None
    groups = groups if isinstance(groups, dict) else {}
    members = {str(name): [str(host) for host in hosts] for name, hosts in groups.items() if isinstance(hosts, list)}
    hostvars = given.get("hostvars") if isinstance(given, dict) else None
    known = {
        str(host): variables
        for host, variables in (hostvars if isinstance(hostvars, dict) else {}).items()
        if isinstance(variables, dict)
    }
    lab = Lab.from_inventory(members, known, folder)
    for name, board in lab.boards.items():
        assert board.name == name and NAME.fullmatch(name) and name not in ("log", "report", "sealed")
        assert type(board.cpus) is int and 1 <= board.cpus <= 1024 and board.clock in ("virtual", "real")
        assert isinstance(board.boots, bool) and isinstance(board.sealed, bool) and isinstance(board.guest_kernel, str)
        assert board.architecture in ("", *ARCHITECTURES) and not (board.sealed and board.clock == "real")
    for name, each in load_workloads(VARS / "workloads.yml", lab.workloads).items():
        _check_workload(name, each)


RECORD: dict[str, Any] = {
    "cell.json": GUEST_CELL.as_dict(),
    "system.json": system(GUEST_CELL),
    "status.json": {"schema_version": 1, "cell_id": GUEST_CELL.id, **vars(done())},
    "cyclictest.json": json.loads(cyclictest_json({50: 10, 60: 5})),
}


def take_record(content: bytes, folder: Path) -> None:
    """The files of a record as one JSON object, or, when it is none, as what each of them holds."""
    try:
        files = json.loads(content)
    except (ValueError, RecursionError):
        files = None
    record = ResultsTree(folder).record_path("m", GUEST_CELL)
    record.mkdir(parents=True, exist_ok=True)
    for name in RECORD:
        part = as_json(files[name]) if isinstance(files, dict) and name in files else content
        (record / name).write_bytes(part)
    assert isinstance(ResultsTree(folder).is_done("m", GUEST_CELL), bool)
    for each in ResultsTree(folder).load_records("m"):
        assert each.cell == GUEST_CELL
        measured = read_measurement(each)
        assert (measured.histogram is None) == bool(measured.reason)
        assert measured.histogram is None or each.status.status == "done"


REPLY = """\
@changed x y
@fact uname_r 6.12.0-rt-arm64
@fact realtime 1
@fact online_cpus 0-1
@fact guest_running yes
@fact guest_accelerator kvm
@fact kvm_held_by_qemu yes
@fact guest_placement_mode threads
@fact guest_placement_cpus 1
@fact guest_placement_others_cpus 0
@fact guest_memory_mib 256
@fact guest_memory_lock yes
@fact qemu_locked_kib 300000
@fact isolation_applied irqs governor
@row settings setting=irqs source=/proc/irq/1/smp_affinity_list wanted=0 found=1 state=differs
@row vcpu_threads tid=412 name=CPU 0/KVM cpus=1 policy=fifo priority=1
@row qemu_threads tid=411 name=qemu cpus=0 policy=other priority=0
@row room free_kib=100 on=/
@fact boot_id a
@fact uptime_s 10.5
@fact began_uptime_s 10.5
@fact ended_uptime_s 70.5
@fact pi_throttled 50000
@row frequencies core=1 governor=performance min_khz=1 max_khz=2 khz=2
@row temperatures zone=0 millicelsius=45000 name=cpu
@row cyclictest seen=beginning tid=9 cpus=1 last_ran_on=1 policy=fifo priority=80
@after
@fact uptime_s 75.5
@fact boot_time_s 1
@row stolen core=0 ticks=7
@row throttled core=1 count=3 of=core_throttle_count
@row frequencies core=1 governor=powersave min_khz=1 max_khz=2 khz=1
@row irqs irq=1 cpus=1 name=x
@file cyclictest.json
{}
@end cyclictest.json
noise
@fail it broke
@whole 0
"""
REPLY_TOKENS = [
    *("@fact ", "@row ", "@row settings ", "@file x\n", "@end x\n", "@whole 0\n", "@whole x\n", "@fail ", "=", " = "),
    *("\r\n", "\r", "\x0b", "\x85", "\u2028", "\x1b[2J", "9" * 5000, "0-9999,0-9999", "-1", "(null)", "\ud800", "\0"),
    *("@after\n", "core=x ", "khz=x ", "ticks=x ", "@fact frequencies x\n", "@fact cyclictest x\n", "-0x1", "1e9"),
    *("@fact qemu_locked_kib x\n", "@fact online_cpus x\n", "@fact settings x\n", "@row uname_r a=b\n", "tid=x "),
    *(
        "@row isolation_applied a=b\n",
        "@fact vcpu_threads x\n",
        "@fact guest_memory_mib \n",
        "setting=x ",
        "free_kib=x ",
    ),
]


def take_reply(content: bytes, folder: Path) -> None:
    """A board's answer, as Ansible gives it on, into all that looks at it before a record is written."""
    reply = script_reply.parse(content.decode(errors="surrogateescape"))
    json.dumps(reply.as_dict(), ensure_ascii=False).encode()
    assert all(isinstance(text, str) for text in (*reply.facts.values(), *reply.files.values(), *reply.changes))
    facts = verify_state.typed(reply.as_dict())
    differences = [
        *verify_state.board_differences(GUEST_CELL, {"release": "^6.12", "realtime": True}, facts),
        *verify_state.guest_differences(GUEST_CELL, {}, facts),
    ]
    after = verify_state.typed(reply.after.as_dict() if reply.after else {})
    for before, later in ((facts, after), (after, facts), (facts, facts)):
        json.dumps(state_changes.changed_facts(before, later), ensure_ascii=False).encode()
        for changes in (
            state_changes.board_changes(GUEST_CELL, {}, before, later),
            state_changes.guest_changes(GUEST_CELL, {}, before, later),
        ):
            differences += [*changes.failures, *changes.notes, changes.reason("board")]
    differences += state_changes.thread_differences(GUEST_CELL, facts.get("cyclictest"))
    differences += state_changes.clock_differences(GUEST_CELL, facts, 1.0)
    assert all(isinstance(each, str) for each in differences)
    state = {"board": "b1", "facts": reply.as_dict(), "guest": facts}
    cli_inspect.summary(state)
    with SafeConsole().capture():
        console = SafeConsole()
        with console.capture():
            console.print(cli_inspect.inspection_table(state, False))
    for room in reply.rows.get("room", []):
        assert isinstance(script_reply.missing_room({"/x": 1 << 30}, {"/x": room}), str)


def packed(name: str, answer: str) -> str:
    content = gzip.compress(answer.encode(errors="surrogatepass"), mtime=0)
    sum_of = hashlib.sha256(answer.encode(errors="surrogatepass")).hexdigest()
    return f"\n@answer {name}\n{base64.encodebytes(content).decode()}@end {name} {sum_of}\n"


CONSOLE = f"[    1.0] Booting\n{packed('001', REPLY)}{packed('002', '@whole 0')}[    2.0] x\n@skipped 003\n@over\n"
CONSOLE_TOKENS = [
    *("@answer 001\n", "@end 001 " + "0" * 64 + "\n", "@answer 001\n" * 50, "@over\n", "@skipped 001\n", "\r", "\n"),
    *(packed("001", "x"), packed("004", REPLY)[:60], "H4sIAAAAAAAA/", "é", "\ud800", "\0" * 20),
]


def take_console(content: bytes, folder: Path) -> None:
    answers = Answers.read(content.decode(errors="replace"))
    for name, text in answers.texts.items():
        assert hashlib.sha256(text.encode()).hexdigest() == answers.sum_of(name) or "\ufffd" in text
        assert answers.reply(name) is not None


TARGETS: dict[str, Target] = {
    "matrix": Target(yaml_inputs(VARS / "matrix_smoke.yml"), take_matrix),
    "kernels": Target(yaml_inputs(VARS / "kernels.yml"), take_kernels),
    "workloads": Target(yaml_inputs(VARS / "workloads.yml"), take_workloads),
    "tunings": Target(yaml_inputs(VARS / "tunings.yml"), take_tunings),
    "lab": Target(changed(INVENTORY).map(as_json), take_lab),
    "record": Target(changed(RECORD).map(as_json) | damaged(json.dumps(RECORD), TOKENS), take_record, refuses=False),
    "reply": Target(damaged(REPLY, REPLY_TOKENS), take_reply, refuses=False),
    "console": Target(damaged(CONSOLE, CONSOLE_TOKENS), take_console, refuses=False),
}


def feed(target: str, content: bytes) -> str:
    """Give a target an input; returns the sentence of its refusal, '' when it is accepted."""
    with tempfile.TemporaryDirectory(prefix="rtvirt-fuzz-") as folder:
        try:
            TARGETS[target].take(content, Path(folder))
        except InputError as error:
            assert TARGETS[target].refuses
            sentence = str(error)
            assert len(sentence) < 2000 and sentence.strip()
            return sentence
    return ""
