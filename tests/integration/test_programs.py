"""The workloads' programs, compiled as for a board: the same right answer everywhere, and a wrong one is told."""

from __future__ import annotations

import heapq
import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from rtvirt_runner.catalogue import collection

SOURCES = collection.ROOT / "roles" / "workloads" / "files" / "programs"
NAMES = ("basicmath", "bitcount", "dijkstra", "filewrite", "jpeg", "loopback", "patricia", "qsort", "susan")
FLAGS = ("-std=c99", "-O2", "-ffp-contract=off", "-Wall", "-Wextra", "-Werror")
BUILDS = {
    "x86_64": ("gcc", "-static"),
    "arm64": ("aarch64-linux-gnu-gcc", "-static"),
    "armhf": ("arm-linux-gnueabihf-gcc", "-static"),
    "sanitized": ("gcc", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"),
    "for valgrind": ("gcc", "-g"),  # dynamic: only so does it know the C library's functions
}
RUNNERS = {
    "arm64": ("qemu-aarch64-static",),
    "armhf": ("qemu-arm-static",),
    "for valgrind": ("valgrind", "--quiet", "--error-exitcode=99", "--leak-check=full"),
}
PACKAGES = {"gcc": "gcc", "aarch64-linux-gnu-gcc": "gcc-aarch64-linux-gnu", "valgrind": "valgrind"}
PACKAGES |= {"arm-linux-gnueabihf-gcc": "gcc-arm-linux-gnueabihf", "cjpeg": "libjpeg-turbo-progs"}
PACKAGES |= {"qemu-aarch64-static": "qemu-user-static", "qemu-arm-static": "qemu-user-static"}

Run = Callable[..., subprocess.CompletedProcess[str]]


def compile_programs(folder: Path, compiler: str, *flags: str) -> None:
    folder.mkdir()
    frame = folder / "workload.o"
    subprocess.run([compiler, *FLAGS, *flags, "-c", "-o", frame, SOURCES / "workload.c"], check=True)
    for name in NAMES:
        program, source = folder / f"rtvirt-{name}", SOURCES / f"{name}.c"
        subprocess.run([compiler, *FLAGS, *flags, "-o", program, source, frame, "-lm"], check=True)
    for name in ("cjpeg", "djpeg"):
        (folder / f"rtvirt-{name}").symlink_to(str(shutil.which(name)))


@pytest.fixture(scope="session")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of programs for each of BUILDS."""
    missing = {package for tool, package in PACKAGES.items() if shutil.which(tool) is None}
    assert not missing, f"these tests need the packages {', '.join(sorted(missing))}; install them"
    folder = tmp_path_factory.mktemp("programs")
    with ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(compile_programs, folder / name, *build) for name, build in BUILDS.items()]:
            done.result()
    return folder


@pytest.fixture
def temporary(tmp_path: Path) -> Path:
    """Where jpeg makes its folder."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    return folder


@pytest.fixture
def run(programs: Path, temporary: Path) -> Run:
    def run(name: str, *arguments: str, build: str = "x86_64", **env: str) -> subprocess.CompletedProcess[str]:
        command: list[str | Path] = [*RUNNERS.get(build, ()), programs / build / f"rtvirt-{name}", *arguments]
        env = {**os.environ, "TMPDIR": str(temporary), **env}
        return subprocess.run(command, env=env, capture_output=True, text=True, timeout=60, check=False)

    return run


def result(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    """What a program without complaints has said."""
    assert (done.returncode, done.stderr) == (0, "")
    line: dict[str, Any] = json.loads(done.stdout)
    assert line["correct"] is True
    return line


def complaint(done: subprocess.CompletedProcess[str], status: int) -> str:
    """The one sentence of a program that ended with this status."""
    assert done.returncode == status
    assert re.fullmatch(r"rtvirt-\w+: [^\n]+\.\n", done.stderr), done.stderr
    return done.stderr


@pytest.mark.parametrize("name", NAMES)
def test_the_line_at_the_end(name: str, run: Run) -> None:
    done = run(name, "--iterations", "3", "--seed", "7")
    line = result(done)
    assert done.stdout.count("\n") == 1
    measured = {key: line.pop(key) for key in ("seconds", "seconds_per_iteration", "digest")}
    assert line == {"workload": name, "size": "small", "seed": 7, "iterations": 3, "correct": True}
    assert 0 < measured["seconds"] < 60
    assert measured["seconds_per_iteration"] == pytest.approx(measured["seconds"] / 3, abs=1e-6)
    assert re.fullmatch("[0-9a-f]{16}", measured["digest"])


def test_a_hundred_iterations_of_seed_1_and_the_small_size_unless_told_otherwise(run: Run) -> None:
    line = result(run("bitcount"))
    assert (line["iterations"], line["size"], line["seed"]) == (100, "small", 1)


@pytest.mark.parametrize("build", ["arm64", "armhf"])
@pytest.mark.parametrize("name", NAMES)
def test_every_architecture_gives_the_same_answer(name: str, build: str, run: Run) -> None:
    here = result(run(name, "--iterations", "1", "--seed", "99"))
    there = result(run(name, "--iterations", "1", "--seed", "99", build=build))
    assert there["digest"] == here["digest"]


@pytest.mark.parametrize("size", ["small", "large"])
@pytest.mark.parametrize("build", ["x86_64", "arm64", "armhf"])
@pytest.mark.parametrize("name", NAMES)
def test_the_answers_to_seed_1_are_the_known_ones(name: str, build: str, size: str, run: Run) -> None:
    result(run(name, "--iterations", "1", "--size", size, build=build))


@pytest.mark.parametrize("name", NAMES)
def test_another_seed_or_size_has_another_right_answer(name: str, run: Run) -> None:
    inputs = [("1", "small"), ("2", "small"), ("4294967295", "small"), ("1", "large"), ("2", "large")]
    lines = [result(run(name, "--iterations", "1", "--seed", seed, "--size", size)) for seed, size in inputs]
    assert len({line["digest"] for line in lines}) == len(inputs)


@pytest.mark.parametrize("build", ["sanitized", "for valgrind"])
@pytest.mark.parametrize("name", NAMES)
def test_no_step_beyond_what_c_and_memory_allow(name: str, build: str, run: Run) -> None:
    result(run(name, "--iterations", "2", build=build))
    if build == "sanitized":
        result(run(name, "--iterations", "1", "--size", "large", build=build))


class Random:
    """The programs' random numbers."""

    def __init__(self, seed: int) -> None:
        self.state = seed

    def next(self) -> int:
        for shift in (13, -17, 5):
            self.state ^= self.state << shift if shift > 0 else self.state >> -shift
            self.state &= 0xFFFFFFFF
        return self.state

    def below(self, limit: int) -> int:
        return self.next() * limit >> 32


def fnv1a(content: bytes) -> str:
    digest = 0xCBF29CE484222325
    for byte in content:
        digest = (digest ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return f"{digest:016x}"


def little_endian(numbers: Iterator[int], size: int) -> bytes:
    return b"".join(number.to_bytes(size, "little") for number in numbers)


def test_bitcount_counts_as_python_does(run: Run) -> None:
    random = Random(5)
    bits = sum(random.next().bit_count() for _ in range(16384))
    assert result(run("bitcount", "--iterations", "1", "--seed", "5"))["digest"] == fnv1a(
        bits.to_bytes(8, "little") * 5
    )


def test_qsort_sorts_as_python_does(run: Run) -> None:
    random = Random(5)

    def word() -> str:
        return "".join("bdfglmnprstv"[random.below(12)] + "aeiou"[random.below(5)] for _ in range(2 + random.below(5)))

    words = sorted(word() for _ in range(3000))
    squares = sorted(sum((random.below(2000001) - 1000000) ** 2 for _ in range(3)) for _ in range(3000))
    digest = fnv1a("".join(words).encode() + little_endian(iter(squares), 8))
    assert result(run("qsort", "--iterations", "1", "--seed", "5"))["digest"] == digest


def shortest_paths(length: list[list[int]], source: int) -> Iterator[int]:
    """Each node's distance and the node before it, found with a heap; the program has none."""
    distance = [0 if node == source else 1 << 32 for node in range(len(length))]
    previous = list(range(len(length)))
    heap = [(0, source)]
    while heap:
        base, node = heapq.heappop(heap)
        if base > distance[node]:
            continue
        for after, edge in enumerate(length[node]):
            if base + edge < distance[after]:
                distance[after], previous[after] = base + edge, node
                heapq.heappush(heap, (base + edge, after))
    for pair in zip(distance, previous, strict=True):
        yield from pair


def test_dijkstra_finds_the_paths_that_python_finds(run: Run) -> None:
    random = Random(5)
    length = [[1 + random.below(1000) for _ in range(100)] for _ in range(100)]
    answer = (number for i in range(30) for number in shortest_paths(length, i * 100 // 30))
    assert result(run("dijkstra", "--iterations", "1", "--seed", "5"))["digest"] == fnv1a(little_endian(answer, 4))


def first_bits(address: int, length: int) -> int:
    return address >> (32 - length) << (32 - length)


def test_patricia_finds_the_routes_that_a_dictionary_of_prefixes_has(run: Run) -> None:
    random = Random(5)
    prefixes: list[tuple[int, int]] = []
    for index in range(1500):
        length = 16 + random.below(9) if random.below(4) else 8 + random.below(25)
        bits = random.next()
        if index > 0 and random.below(2):
            outer, outer_length = prefixes[random.below(index)]
            bits = outer | bits ^ first_bits(bits, outer_length)
        prefixes.append((first_bits(bits, length), length))
    routes = {prefix: number for number, prefix in enumerate(prefixes, 1)}

    def route() -> int:
        address = random.next()
        if random.below(8):
            bits, length = prefixes[random.below(1500)]
            address = bits | address ^ first_bits(address, length)
        found = (routes.get((first_bits(address, length), length)) for length in range(32, -1, -1))
        return next((number for number in found if number), 0)

    digest = fnv1a(little_endian((route() for _ in range(15000)), 4))
    assert result(run("patricia", "--iterations", "1", "--seed", "5"))["digest"] == digest


@pytest.mark.parametrize("name", NAMES)
def test_a_digest_that_is_expected(name: str, run: Run) -> None:
    line = result(run(name, "--iterations", "2", "--seed", "3"))
    assert result(run(name, "--iterations", "2", "--seed", "3", "--expect", line["digest"]))["digest"] == line["digest"]
    done = run(name, "--seed", "3", "--expect", "0123456789abcdef")
    told = complaint(done, 1)
    assert line["digest"] in told
    assert "0123456789abcdef" in told
    wrong = json.loads(done.stdout)
    assert (wrong["correct"], wrong["digest"], wrong["iterations"]) == (False, line["digest"], 1)


def catches(process: subprocess.Popen[str], number: int) -> bool:
    status = Path(f"/proc/{process.pid}/status").read_text()
    caught = re.search(r"^SigCgt:\s+(\w+)", status, re.MULTILINE)
    return caught is not None and bool(int(caught[1], 16) >> (number - 1) & 1)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
@pytest.mark.parametrize("name", NAMES)
def test_a_signal_ends_it_with_the_line(name: str, number: signal.Signals, programs: Path, temporary: Path) -> None:
    command: list[str | Path] = [
        "env",
        f"--default-signal={number.name[3:]}",
        programs / "x86_64" / f"rtvirt-{name}",
        "--forever",
    ]
    env = {**os.environ, "TMPDIR": str(temporary)}
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 30
        while not catches(process, number):
            assert process.poll() is None
            assert time.monotonic() < deadline
        process.send_signal(number)
        out, err = process.communicate(timeout=30)
    result(subprocess.CompletedProcess(command, process.returncode, out, err))
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize("name", NAMES)
def test_a_signal_before_the_first_iteration(name: str, programs: Path, temporary: Path) -> None:
    signal_that_waits = 'kill -TERM $$; exec "$0" --forever'
    program = programs / "x86_64" / f"rtvirt-{name}"
    command: list[str | Path] = ["env", "--block-signal=TERM", "sh", "-c", signal_that_waits, program]
    env = {**os.environ, "TMPDIR": str(temporary)}
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=30, check=False)
    line = {"workload": name, "size": "small", "seed": 1, "iterations": 0, "seconds": 0, "seconds_per_iteration": 0}
    assert result(done) == {**line, "digest": "", "correct": True}
    assert list(temporary.iterdir()) == []


BAD_OPTIONS = {
    ("--faster",): '"--faster"',
    ("small",): '"small"',
    ("--iterations",): "--iterations expects a value",
    ("--iterations", "0"): '"0"',
    ("--iterations", "-1"): '"-1"',
    ("--iterations", "1e3"): '"1e3"',
    ("--iterations", "99999999999999999999"): "from 1 to 999999999999",
    ("--iterations", "5", "--forever"): "exclude each other",
    ("--seed", "0"): "from 1 to 4294967295",
    ("--seed", "4294967296"): "from 1 to 4294967295",
    ("--seed", ""): '""',
    ("--size", "medium"): "small or large",
    ("--expect", "abc"): "16 hex digits",
}


@pytest.mark.parametrize(("arguments", "told"), BAD_OPTIONS.items(), ids=map(" ".join, BAD_OPTIONS))
def test_a_bad_option(arguments: tuple[str, ...], told: str, run: Run) -> None:
    done = run("bitcount", *arguments)
    assert told in complaint(done, 2)
    assert done.stdout == ""


@pytest.mark.parametrize("name", NAMES)
def test_help_tells_all(name: str, run: Run) -> None:
    done = run(name, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"usage: rtvirt-{name} ")
    for option in (
        "--forever",
        "--iterations N",
        "--size SIZE",
        "--seed N",
        "--expect DIGEST",
        "--help",
        "exit status:",
    ):
        assert f"\n  {option} " in done.stdout or f"\n{option}\n" in done.stdout
    example = done.stdout.rsplit("\n  ", 1)[1].split()
    assert result(run(name, *example[1:]))["workload"] == example[0].removeprefix("rtvirt-")
    assert max(map(len, done.stdout.splitlines())) <= 120


def test_a_line_that_cannot_be_written_is_no_success(programs: Path) -> None:
    with Path("/dev/full").open("w") as full:
        command: list[str | Path] = [programs / "x86_64" / "rtvirt-bitcount", "--iterations", "1"]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, timeout=30, check=False)
    assert "could not be written" in complaint(done, 2)


def script(path: Path, text: str) -> str:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


# An image of the right size, but black: $5 is the file that djpeg is to write, and $6 the one that it is to read.
BLACK = r'{ printf "P6\n192 144\n255\n"; head -c 82944 /dev/zero; } >"$5"'
STAND_INS = {
    "another image": ("RTVIRT_DJPEG", BLACK, "mean square error"),
    "an image of another size": ("RTVIRT_DJPEG", 'djpeg -scale 1/2 -pnm -outfile "$5" "$6"', "192 x 144"),
    "no image": ("RTVIRT_DJPEG", "exit 0", "192 x 144"),
    "a large file": ("RTVIRT_CJPEG", 'cjpeg -quality 100 -outfile "$6" "$7"', "at most a fifth"),
    "a failure": ("RTVIRT_CJPEG", "exit 3", "ended with status 3"),
    "a crash": ("RTVIRT_CJPEG", "kill -KILL $$", "ended by signal 9"),
}


@pytest.mark.parametrize(("variable", "text", "told"), STAND_INS.values(), ids=STAND_INS.keys())
def test_what_the_jpeg_programs_do_wrong(
    variable: str, text: str, told: str, run: Run, tmp_path: Path, temporary: Path
) -> None:
    done = run("jpeg", "--seed", "2", **{variable: script(tmp_path / "stand-in", text)})
    assert told in complaint(done, 1)
    assert json.loads(done.stdout)["correct"] is False
    assert list(temporary.iterdir()) == []


def test_a_signal_to_all_of_jpeg_spares_the_program_that_it_has_started(run: Run, tmp_path: Path) -> None:
    signals_all = script(tmp_path / "stand-in", 'kill -TERM $PPID $$\nexec cjpeg "$@"')
    line = result(run("jpeg", "--forever", RTVIRT_CJPEG=signals_all))
    assert line["iterations"] == 1


def test_where_jpeg_looks_for_its_programs(programs: Path, run: Run, tmp_path: Path) -> None:
    alone = tmp_path / "alone" / "rtvirt-jpeg"
    alone.parent.mkdir()
    shutil.copy(programs / "x86_64" / "rtvirt-jpeg", alone)

    def run_alone(**env: str) -> subprocess.CompletedProcess[str]:
        env = {"TMPDIR": str(tmp_path), "PATH": "/nowhere", **env}
        return subprocess.run(
            [alone, "--iterations", "1"], env=env, capture_output=True, text=True, timeout=30, check=False
        )

    assert "RTVIRT_CJPEG" in complaint(run_alone(), 2)
    result(run_alone(PATH=f"/nowhere:{programs / 'x86_64'}"))
    assert "/nowhere/cjpeg" in complaint(run("jpeg", RTVIRT_CJPEG="/nowhere/cjpeg"), 2)


def test_a_temporary_folder_that_cannot_be_made(run: Run) -> None:
    assert "/nowhere" in complaint(run("jpeg", TMPDIR="/nowhere"), 2)
