"""The workload ecu: compiled here and run. Its books must balance to the event, however late the machine is."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import statistics
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rtvirt_runner.catalogue import collection

SOURCES = collection.ROOT / "roles" / "workloads" / "files" / "ecu"
FLAGS = ["-std=c99", "-O2", "-ffp-contract=off", "-Wall", "-Wextra", "-Werror"]
OUTPUT_EVENTS = ("injector_open", "injector_close", "dwell_start", "spark")
TEETH_PER_REVOLUTION = 58
Report = dict[str, Any]

# Of the first 50 revolutions with seed 1, as found on arm64, armhf and x86_64 with glibc and musl.
DIGESTS = {
    "idle": "0abd2814b1bd3395",
    "cruise": "406feca5dde20d21",
    "redline": "f44b87d5fa0e2f38",
    "ramp": "4d50ddf2bdb54f5e",
    "bursts": "adb23c16a4ac6963",
    "cycle": "2524de70794819f7",
}
EMULATED = {
    "arm64": ("aarch64-linux-gnu-gcc", "qemu-aarch64-static"),
    "armhf": ("arm-linux-gnueabihf-gcc", "qemu-arm-static"),
}

Compile = Callable[..., Path]


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Compile:
    folder = tmp_path_factory.mktemp("ecu")

    def compile_ecu(name: str, *flags: str, compiler: str = "gcc", sources: Path = SOURCES) -> Path:
        program = folder / name
        files = sorted(sources.glob("*.c"))
        subprocess.run([compiler, *FLAGS, *flags, "-o", program, *files, "-lm", "-lpthread"], check=True)
        return program

    return compile_ecu


@pytest.fixture(scope="module")
def ecu(compiled: Compile) -> Path:
    return compiled("ecu", "-static")


def run(*command: str | Path, status: int = 0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == status, done.stderr
    return done


def report_of(text: str) -> Report:
    """The one line that is printed, with books that balance."""
    assert text.count("\n") == 1
    report: Report = json.loads(text)
    teeth, events = report["teeth"], report["events"]
    assert teeth["expected"] == teeth["seen"] + teeth["lost"] == events["tooth"]["expected"]
    for event in events.values():
        assert event["expected"] == event["fired"] + event["lost"]
        assert sum(event["histogram_us"].values()) == sum(event["histogram_deg"].values()) == event["fired"]
        assert event["missed"] <= event["fired"]
        assert event["avg_us"] <= event["max_us"] and event["p99_us"] <= event["max_us"]
    good = not teeth["lost"] and not any(events[kind]["lost"] + events[kind]["missed"] for kind in OUTPUT_EVENTS)
    assert report["verdict"] == ("pass" if good else "fail")
    assert report["correct"] is True
    return report


def measure(*command: str | Path) -> Report:
    return report_of(run(*command).stdout)


def expected(report: Report) -> dict[str, int]:
    return {kind: event["expected"] for kind, event in report["events"].items()}


# ------------------------------------------------------------------------------------------------------- the geometry


def test_a_constant_speed_gives_what_the_wheels_geometry_says_to_the_event(ecu: Path) -> None:
    report = measure(ecu, "--rpm", "9000", "--duration", "2")
    assert report["revolutions"] == 9000 * 2 // 60
    assert report["seconds"] == 2.0
    assert report["iterations"] == report["revolutions"] + 1  # each is computed one ahead
    assert report["realtime"] is True and report["priority"] == 80
    assert 0 < report["seconds_per_iteration"] < 1e-3 and report["cost_us_per_event"] > 0
    two_of_four_cylinders = 2 * report["revolutions"]
    assert expected(report) == {
        "tooth": TEETH_PER_REVOLUTION * report["revolutions"],
        **dict.fromkeys(OUTPUT_EVENTS, two_of_four_cylinders),
    }
    assert report["rpm"] == pytest.approx({"min": 9000, "max": 9000, "mean": 9000}, abs=0.01)


def test_the_last_revolution_is_completed(ecu: Path) -> None:
    report = measure(ecu, "--no-realtime", "--rpm", "3000", "--duration", "0.5001")
    assert report["revolutions"] == 26  # 25 in half a second, and one has begun
    assert report["teeth"]["expected"] == 26 * TEETH_PER_REVOLUTION
    assert report["seconds"] == pytest.approx(26 / 50)


def test_iterations_end_the_run_as_well(ecu: Path) -> None:
    assert measure(ecu, "--no-realtime", "--rpm", "6000", "--iterations", "7")["revolutions"] == 7


def test_the_same_happens_whatever_the_machine_is_busy_with(ecu: Path) -> None:
    calm = measure(ecu, "--profile", "bursts", "--duration", "1", "--seed", "5")
    late = measure(ecu, "--profile", "bursts", "--duration", "1", "--seed", "5", "--no-realtime", "--histogram", "1")
    assert expected(calm) == expected(late)
    assert calm["rpm"] == late["rpm"]
    assert calm["rpm"]["max"] > 5900  # a blip
    assert calm["digest"] == late["digest"]
    assert calm["events"]["injector_open"]["expected"] < calm["events"]["spark"]["expected"]  # no fuel on the overrun


def test_a_limiter_cuts_the_fuel_and_keeps_the_sparks(ecu: Path) -> None:
    events = measure(ecu, "--no-realtime", "--rpm", "9600", "--duration", "0.5")["events"]
    assert (events["injector_open"]["expected"], events["spark"]["expected"]) == (0, 160)


# ----------------------------------------------------------------------------------------------------------- overload


def test_a_program_that_was_stopped_loses_revolutions_and_counts_them(ecu: Path) -> None:
    started = subprocess.Popen([ecu, "--rpm", "9000", "--duration", "3.5"], stdout=subprocess.PIPE, text=True)
    wait_until_it_turns(started.pid)
    os.kill(started.pid, signal.SIGSTOP)
    os.waitid(os.P_PID, started.pid, os.WSTOPPED | os.WNOWAIT)
    with pytest.raises(subprocess.TimeoutExpired):
        started.wait(timeout=2)
    os.kill(started.pid, signal.SIGCONT)
    report = report_of(started.communicate(timeout=60)[0])
    assert started.returncode == 0
    assert report["verdict"] == "fail"
    assert report["revolutions"] == 9000 * 7 // 2 // 60
    assert report["teeth"]["expected"] == TEETH_PER_REVOLUTION * report["revolutions"]
    assert report["lost_revolutions"] >= 295  # 300 begin within two seconds
    assert report["teeth"]["lost"] >= 295 * TEETH_PER_REVOLUTION
    assert report["teeth"]["seen"] > 0
    assert report["events"]["tooth"]["max_us"] >= 1.9e6  # the tooth after which sync was lost keeps the worst
    assert expected(report)["spark"] == 2 * report["revolutions"]


def test_a_machine_that_is_too_slow_has_time_left_for_others(compiled: Compile, tmp_path: Path) -> None:
    """Every reading of the clock takes 0.3 ms more, a tooth comes each 0.1 ms, and there is one core."""
    slow = shutil.copytree(SOURCES, tmp_path / "slow")
    clock = slow / "realtime.c"
    text = clock.read_text()
    read = "return read_clock(CLOCK_MONOTONIC);"
    assert text.count(read) == 1
    slowly = (
        "int64_t until = read_clock(CLOCK_MONOTONIC) + 300000, now;"
        "while ((now = read_clock(CLOCK_MONOTONIC)) < until) ;"
        "return now;"
    )
    clock.write_text(text.replace(read, slowly))
    program = compiled("slow-ecu", "-static", sources=slow)

    core = str(min(os.sched_getaffinity(0)))
    other = subprocess.Popen(["taskset", "-c", core, "sh", "-c", "while :; do :; done"])
    try:
        report = measure(program, "--rpm", "9000", "--duration", "2", "--cpu", core)
        ticks = Path(f"/proc/{other.pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    finally:
        other.kill()
        other.wait()
    other_s = sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK")
    assert report["lost_revolutions"] > 100
    assert report["teeth"]["seen"] > 0
    assert other_s > 0.1 * 2, "other programs were starved"


def wait_until_it_turns(pid: int) -> None:
    """Until the wheel's thread, the last one to start, has waited for more teeth than it takes to get going."""
    while True:
        threads = sorted(Path(f"/proc/{pid}/task").iterdir(), key=lambda thread: int(thread.name))
        if len(threads) >= 10:  # a sanitizer may have one more
            switches = re.search(r"^voluntary_ctxt_switches:\s+(\d+)", (threads[-1] / "status").read_text(), re.M)
            if switches and int(switches[1]) > 200:
                return


# ------------------------------------------------------------------------------------------------------------ the end


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_at_once_and_it_still_reports(ecu: Path, number: signal.Signals) -> None:
    started = subprocess.Popen([ecu, "--rpm", "6000", "--forever"], stdout=subprocess.PIPE, text=True)
    wait_until_it_turns(started.pid)
    started.send_signal(number)
    report = report_of(started.communicate(timeout=10)[0])
    assert started.returncode == 0
    assert report["teeth"]["seen"] > 100
    assert report["revolutions"] >= 2


def test_cores_are_kept_awake_while_it_runs(ecu: Path) -> None:
    started = subprocess.Popen([ecu, "--rpm", "6000", "--forever"], stdout=subprocess.PIPE, text=True)
    wait_until_it_turns(started.pid)
    held = [str(file.readlink()) for file in Path(f"/proc/{started.pid}/fd").iterdir()]
    started.terminate()
    started.communicate(timeout=10)
    assert ("/dev/cpu_dma_latency" in held) == os.access("/dev/cpu_dma_latency", os.W_OK)


def test_a_verdict_is_a_status_on_request(ecu: Path) -> None:
    late = (
        ecu,
        "--no-realtime",
        "--rpm",
        "9000",
        "--duration",
        "0.2",
        "--tolerance",
        "0",
        "--injection-tolerance",
        "0",
    )
    assert report_of(run(*late).stdout)["verdict"] == "fail"
    assert report_of(run(*late, "--strict", status=3).stdout)["verdict"] == "fail"
    idle = (ecu, "--rpm", "100", "--duration", "0.1", "--tolerance", "360", "--injection-tolerance", "360", "--strict")
    assert report_of(run(*idle).stdout)["verdict"] == "pass"


def test_a_summary_is_for_people(ecu: Path) -> None:
    done = run(ecu, "--no-realtime", "--duration", "0.5", "--summary")
    assert report_of(done.stdout)["realtime"] is False
    assert [line.split()[0] for line in done.stderr.splitlines()[:6]] == ["event", "tooth", *OUTPUT_EVENTS]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--rpm", "50"], 'ecu: --rpm expects an integer from 100 to 15000, not "50".'),
        (["--duration", "long"], 'ecu: --duration expects a number from 0.001 to 1e+09, not "long".'),
        (["--profile", "race"], 'ecu: --profile expects one of idle cruise redline ramp bursts cycle, not "race".'),
        (["--profile", "idle", "--rpm", "900"], "ecu: --profile and --rpm exclude each other: give one of them."),
        (["--fast"], 'ecu: "--fast" is not an option, or its value is missing; see ecu --help.'),
        (
            ["--cpu", "1023"],
            "ecu: cannot run on core 1023 (Invalid argument): give --cpu a core that is online and allowed.",
        ),
    ],
)
def test_bad_usage_is_told_in_a_sentence(ecu: Path, arguments: list[str], says: str) -> None:
    done = run(ecu, *arguments, status=2)
    assert (done.stdout, done.stderr) == ("", says + "\n")


def test_without_permission_it_says_what_to_do(ecu: Path) -> None:
    done = run("prlimit", "--rtprio=0", "setpriv", "--bounding-set=-all", "--", ecu, "--iterations", "1", status=2)
    assert done.stdout == ""
    assert re.fullmatch(
        r"ecu: the kernel refuses .*: run as root, raise ulimit -[lr], or give --no-realtime\.\n", done.stderr
    )


def test_help_names_every_option(ecu: Path) -> None:
    options = set(re.findall(r'^    \[\w+\] = \{"([a-z-]+)"', (SOURCES / "ecu.c").read_text(), re.M))
    assert len(options) > 10
    assert options == set(re.findall(r"^  --([a-z-]+)", run(ecu, "--help").stdout, re.M))


# --------------------------------------------------------------------------------------------------------- the answer


@pytest.mark.parametrize("profile", DIGESTS)
def test_commands_are_those_that_are_known(ecu: Path, profile: str) -> None:
    assert measure(ecu, "--no-realtime", "--profile", profile, "--iterations", "1")["digest"] == DIGESTS[profile]


@pytest.mark.parametrize("architecture", EMULATED)
def test_another_architecture_computes_the_same(compiled: Compile, ecu: Path, architecture: str) -> None:
    compiler, emulator = EMULATED[architecture]
    foreign = compiled(f"ecu-{architecture}", "-static", compiler=compiler)
    for profile in DIGESTS:
        assert (
            measure(emulator, foreign, "--no-realtime", "--profile", profile, "--iterations", "1")["digest"]
            == DIGESTS[profile]
        )
    long_one = ("--no-realtime", "--digest-revolutions", "5000", "--seed", "7", "--iterations", "1")
    assert measure(emulator, foreign, *long_one)["digest"] == measure(ecu, *long_one)["digest"]


def test_seed_and_speed_change_the_commands(ecu: Path) -> None:
    one = ("--no-realtime", "--iterations", "1")
    variants = [[], ["--seed", "2"], ["--rpm", "3000"], ["--rpm", "3001"], ["--digest-revolutions", "51"]]
    assert len({measure(ecu, *one, *variant)["digest"] for variant in variants}) == len(variants)


def test_a_program_that_computes_something_else_says_so(compiled: Compile, tmp_path: Path) -> None:
    changed = shutil.copytree(SOURCES, tmp_path / "changed")
    engine = changed / "engine.c"
    engine.write_text(engine.read_text().replace("STOICHIOMETRIC = 14.7", "STOICHIOMETRIC = 14.6"))
    wrong = run(compiled("wrong-ecu", sources=changed), "--no-realtime", "--iterations", "1", status=1)
    assert json.loads(wrong.stdout)["correct"] is False
    assert "not 2524de70794819f7 as on other machines" in wrong.stderr


def test_commands_of_a_run_are_compared_with_those_computed_before_it(compiled: Compile, tmp_path: Path) -> None:
    """Here the manifold's pressure is not the rehearsed one."""
    changed = shutil.copytree(SOURCES, tmp_path / "astray")
    source = changed / "run.c"
    text = source.read_text()
    assert text.count("controller_init(&run->controller, speed, digest);") == 1
    astray = "controller_init(&run->controller, speed, digest); run->controller.engine.map_pa += 1e3;"
    source.write_text(text.replace("controller_init(&run->controller, speed, digest);", astray))
    wrong = run(compiled("astray-ecu", sources=changed), "--no-realtime", "--iterations", "3", status=1)
    assert json.loads(wrong.stdout)["digest"] == DIGESTS["cycle"]
    assert "the run's commands are not those computed before it" in wrong.stderr


# ------------------------------------------------------------------------------------------------- memory and lateness


@pytest.mark.parametrize("sanitizers", ["address,undefined", "thread"])
def test_sanitizers_find_nothing(compiled: Compile, sanitizers: str) -> None:
    program = compiled(f"ecu-{sanitizers}", "-g", f"-fsanitize={sanitizers}", "-fno-sanitize-recover=all")
    assert run(program, "--no-realtime", "--profile", "bursts", "--duration", "1").stderr == ""
    started = subprocess.Popen(
        [program, "--rpm", "6000", "--no-realtime", "--forever"], stdout=subprocess.PIPE, text=True
    )
    wait_until_it_turns(started.pid)
    started.send_signal(signal.SIGINT)
    report_of(started.communicate(timeout=10)[0])
    assert started.returncode == 0


def test_valgrind_finds_nothing(compiled: Compile) -> None:
    program = compiled("ecu-valgrind", "-g")
    check = ("valgrind", "-q", "--leak-check=full", "--error-exitcode=9")
    assert run(*check, program, "--no-realtime", "--rpm", "300", "--duration", "1").stderr == ""


def test_lateness_agrees_with_that_of_cyclictest(ecu: Path) -> None:
    """The median of a tooth's lateness, on one core, one after the other in turn: within a factor of two."""
    core, interval_us, seconds = str(max(os.sched_getaffinity(0))), 500, 0.5
    rpm = 60_000_000 // (60 * interval_us)
    ours, theirs = [], []
    for _ in range(5):
        histogram = measure(ecu, "--rpm", str(rpm), "--duration", str(seconds), "--cpu", core)["events"]["tooth"][
            "histogram_us"
        ]
        ours.append(median_us({int(us): count for us, count in histogram.items()}))
        cyclictest = ("cyclictest", "-q", "-m", "-t1", f"-a{core}", "-p79", f"-i{interval_us}", "-h1000")
        printed = run(*cyclictest, f"-l{int(seconds * 1_000_000) // interval_us}").stdout
        theirs.append(median_us({int(us): int(n) for us, n in re.findall(r"^(\d{6}) (\d+)$", printed, re.M)}))
    assert 0.5 <= statistics.median(ours) / statistics.median(theirs) <= 2, (ours, theirs)


def median_us(histogram: dict[int, int]) -> float:
    counted, half = 0, sum(histogram.values()) / 2
    for us in sorted(histogram):
        counted += histogram[us]
        if counted >= half:
            return us + 0.5  # the bin's middle
    raise AssertionError("nothing was counted")
