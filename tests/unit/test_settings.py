"""The table of settings, what is made from it, and its interpreter under dash and busybox."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from rtvirt_runner.catalogue import collection
from rtvirt_runner.catalogue.checked_yaml import InputError
from rtvirt_runner.catalogue.cpus import Split, cpu_mask
from rtvirt_runner.catalogue.settings import (
    SETTINGS,
    documentation,
    far_environment,
    kernel_params,
    parse_words,
    words_of,
)
from rtvirt_runner.machine.script_reply import Reply, compose, parse
from rtvirt_runner.machine.settings_readback import not_booted, row_differences, setting_differences, setting_rows

pytestmark = pytest.mark.usefixtures("tools")  # busybox
FILES = collection.ROOT / "roles/cpu_isolation/files"
SHELLS = {"dash": ["dash"], "busybox": ["busybox", "sh"]}
Machine = Callable[..., Reply]


# ------------------------------------------------------------------------------------------------------- the table


def test_the_documentation_has_the_rows_of_the_table() -> None:
    page = (collection.ROOT / "docs/isolation.md").read_text(encoding="utf-8").splitlines()
    missing = [row for row in documentation() if row not in page]
    assert not missing, "rows to put into docs/isolation.md:\n" + "\n".join(missing)
    rows = [
        line for line in page if line.startswith("| `") and line.split("|")[2].strip() in ("boot", "board", "guest")
    ]
    assert rows == documentation()


@pytest.mark.parametrize("setting", SETTINGS.values(), ids=lambda each: each.name)
def test_an_entry_says_how_it_is_read_back(setting: Any) -> None:
    assert bool(setting.items) == (setting.where != "guest")
    assert bool(setting.parameter) == (setting.where == "boot")
    assert all((item.kind == "parameter") == (setting.where == "boot") for item in setting.items)
    assert {item.value for item in setting.items} <= {"", *setting.values}
    others = {setting.excludes, setting.without_boot, setting.needs.setting if setting.needs else ""} - {""}
    assert others <= set(SETTINGS)


@pytest.mark.parametrize(
    ("cpus", "mask"), [((), "0"), ((0, 3), "9"), ((0, 33), "2,00000001"), ((64,), "1,00000000,00000000")]
)
def test_a_mask_is_as_the_kernel_writes_it(cpus: tuple[int, ...], mask: str) -> None:
    assert cpu_mask(cpus) == mask


def test_rows_have_the_cores_of_the_split() -> None:
    environment = far_environment(["irqs", "kernel_threads", "guest_idle", "isolcpus"], "0,3", "1-2", "x")
    rows = environment["SETTING_ROWS"].splitlines()
    assert rows[:2] == [
        "isolcpus parameter - isolcpus@/sys/devices/system/cpu/isolated 1-2",
        "guest_idle parameter arch=aarch64 kvm-arm.wfi_trap_policy@ notrap",
    ]
    assert "irqs mask may_refuse /proc/irq/default_smp_affinity 9" in rows
    assert "irqs list may_refuse /proc/irq/[0-9]*/smp_affinity_list 0,3" in rows
    assert [row for row in rows if "rcuc" in row] == [
        f"kernel_threads thread_priority may_refuse rcuc/{cpu} fifo 4" for cpu in (1, 2)
    ]
    assert environment["SETTINGS"] == "isolcpus guest_idle irqs kernel_threads"


def test_kernel_parameters_come_in_the_order_of_the_table() -> None:
    split = Split((0,), (1, 2, 3))
    assert kernel_params(["irqaffinity", "ksm", "isolcpus"], split, "plain") == ("isolcpus=1-3", "irqaffinity=0")


@pytest.mark.parametrize(
    ("words", "host", "guest", "says"),
    [
        (["irq"], "0", "1", r"role_settings: unknown setting 'irq'.*did you mean 'irqs'\?"),
        (["vcpu_threads"], "0", "1", "unknown setting 'vcpu_threads'"),
        (["irqs=1"], "0", "1", "setting 'irqs=1' has a value, expected none"),
        (["fair_server=some"], "0", "1", "unknown value 'some', expected one of none, bounded"),
        (["guest_idle"], "0", "1", "has guest_idle without isolcpus, expected both"),
        (["irqs"], "", "1", "role_host_cpus is empty, expected a list of cores"),
        (["irqs"], "0", "1-", "role_guest_cpus: '1-' is not a list of cores"),
        (["irqs"], "0-1", "1", "expected no core in both; take core 1 out"),
    ],
)
def test_what_cannot_be_meant_is_refused(words: list[str], host: str, guest: str, says: str) -> None:
    with pytest.raises(InputError, match=says) as refusal:
        far_environment(words, host, guest, "role")
    assert "\n" not in str(refusal.value)


def test_nothing_wanted_needs_no_cores() -> None:
    assert parse_words([], "x") == {}
    assert far_environment([], "", "", "x") == {"SETTINGS": "", "HOST_CPUS": "", "GUEST_CPUS": "", "SETTING_ROWS": ""}


# ------------------------------------------------------------------------------------------------- the interpreter


@pytest.fixture(params=SHELLS)
def machine(request: pytest.FixtureRequest, tmp_path: Path) -> Machine:
    """Runs apply or show with /proc, /sys and /run/rtvirt in a folder; rows given as text are taken as they are."""
    put(tmp_path, "proc/self/status", "Name:\tsh\nUid:\t0\t0\t0\t0\n")
    put(tmp_path, "proc/cmdline", "root=/dev/vda2 isolcpus=managed_irq,domain,1-3 quiet\n")
    put(tmp_path, "proc/swaps", "Filename Type Size Used Priority\n")
    put(tmp_path, "proc/mounts", "")
    put(tmp_path, "sys/devices/system/cpu/present", "0-7\n")
    put(tmp_path, "sys/devices/system/cpu/online", "0-3\n")

    def run(
        act: str,
        words: Iterable[str] | None = (),
        rows: str = "",
        path: str = "",
        check: str = "no",
        before: Iterable[str] = (),
    ) -> Reply:
        environment = {} if words is None else far_environment(words, "0", "1-3", "role")
        if rows:
            environment = {"SETTINGS": "made", "HOST_CPUS": "0", "GUEST_CPUS": "1-3", "SETTING_ROWS": rows}
        script = "".join(
            (FILES / f"{name}.sh").read_text() for name in ("thread", "settings", "cpuset", "resctrl", act)
        )
        text = compose(script, {"RTVIRT_CHECK_MODE": check, **environment})
        text = re.sub(r"(?<!\w)(/proc|/sys|/run/rtvirt)(?=[/\s])", rf"{tmp_path}\1", text).replace("/REAL/", "/")
        environ = {**os.environ, **({"PATH": path} if path else {})}
        shell = [*before, shutil.which(SHELLS[request.param][0]) or "", *SHELLS[request.param][1:]]
        done = subprocess.run([*shell, "-s"], input=text, env=environ, capture_output=True, text=True, check=False)
        assert done.stderr == ""
        return parse(done.stdout)

    return run


def put(root: Path, path: str, text: str) -> Path:
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    (root / path).write_text(text)
    return root / path


def states(reply: Reply) -> dict[tuple[str, str], str]:
    return {(row["setting"], row["source"].rpartition("/")[2]): row["state"] for row in reply.rows.get("settings", [])}


def test_values_are_written_read_back_and_restored(machine: Machine, tmp_path: Path) -> None:
    irq = put(tmp_path, "proc/irq/7/smp_affinity_list", "0-3\n")
    mask = put(tmp_path, "proc/irq/default_smp_affinity", "0f\n")
    huge = put(tmp_path, "sys/kernel/mm/transparent_hugepage/enabled", "always [madvise] never\n")
    ksm = put(tmp_path, "sys/kernel/mm/ksm/run", "0\n")
    idle = put(tmp_path, "sys/devices/system/cpu/cpu2/cpuidle/state1/disable", "0\n")
    put(tmp_path, "sys/devices/system/cpu/cpu0/cpuidle/state1/disable", "0\n")
    words = ["irqs", "ksm", "idle_states"]
    assert machine("show", words).changes == []
    foreseen = machine("apply", words, check="yes")
    assert (len(foreseen.changes), irq.read_text(), (tmp_path / "run").exists()) == (3, "0-3\n", False)
    done = machine("apply", words)
    assert (done.failure, done.changes) == (None, foreseen.changes)
    assert (irq.read_text(), mask.read_text(), ksm.read_text(), idle.read_text()) == ("0\n", "1\n", "0\n", "1\n")
    assert states(done)["irqs", "default_smp_affinity"] == states(done)["ksm", "run"] == "ok"
    assert states(done)["idle_states", "disable"] in ("ok", "absent")
    assert machine("apply", words).changes == []
    shown = machine("show", None)  # what was last applied
    assert shown.facts["isolation_wanted_settings"] == "irqs idle_states ksm"
    assert set(shown.facts["isolation_applied"].split()) == {"irqs", "idle_states"}
    assert (shown.facts["isolation_host_cpus"], shown.facts["isolation_guest_cpus"]) == ("0", "1-3")
    assert {row["state"] for row in shown.rows["settings"]} == {"ok", "absent"}
    back = machine("apply", [])
    assert (len(back.changes), irq.read_text(), mask.read_text(), idle.read_text()) == (3, "0-3\n", "0f\n", "0\n")
    assert not list((tmp_path / "run/rtvirt").iterdir())
    assert huge.read_text() == "always [madvise] never\n"


def test_a_choice_is_the_word_in_brackets(machine: Machine, tmp_path: Path) -> None:
    put(tmp_path, "sys/kernel/mm/transparent_hugepage/enabled", "always madvise [never]\n")
    assert states(machine("show", ["transparent_huge_pages"])) == {("transparent_huge_pages", "enabled"): "ok"}


def test_parameters_are_read_from_the_kernels_file_or_its_command_line(machine: Machine, tmp_path: Path) -> None:
    words = ["isolcpus", "nohz_full", "rcu_nocbs"]
    assert states(machine("show", words)) == {
        ("isolcpus", "cmdline"): "ok",
        ("nohz_full", "cmdline"): "differs",
        ("rcu_nocbs", "cmdline"): "differs",
    }
    put(tmp_path, "sys/devices/system/cpu/nohz_full", "1-3\n")
    put(tmp_path, "sys/devices/system/cpu/isolated", "(null)\n")
    reply = machine("apply", words)
    assert states(reply)["nohz_full", "nohz_full"] == "ok"
    assert not_booted(reply.as_dict()) == ["isolcpus", "rcu_nocbs"]
    assert (reply.failure, reply.changes) == (None, [])


@pytest.mark.parametrize(
    "refused", ["/REAL/proc/sys/kernel/pid_max 0", "/REAL/sys/devices/system/cpu/possible none"]
)  # EINVAL, and a file that nobody may write to
def test_a_kernel_may_refuse_where_the_table_says_so(machine: Machine, refused: str) -> None:
    reply = machine("apply", rows=f"made exact may_refuse {refused}")
    assert (reply.failure, reply.changes, list(states(reply).values())) == (None, [], ["fixed"])
    assert states(machine("show", None)) == states(reply)
    strict = machine("apply", rows=f"made exact - {refused}")
    assert list(states(strict).values()) == ["differs"]
    assert strict.failure and "and the kernel refuses to change it" in strict.failure


def test_a_missing_permission_is_told_from_the_kernels_refusal(machine: Machine, tmp_path: Path) -> None:
    values = [put(tmp_path, f"sys/values/{name}", "1\n") for name in "ab"]
    rows = "\n".join(f"made exact may_refuse /sys/values/{path.name} 0" for path in values)
    read_only = f"mount --bind {tmp_path}/sys {tmp_path}/sys && mount -o remount,bind,ro {tmp_path}/sys && exec "
    if subprocess.run(["unshare", "-m", "sh", "-c", f"{read_only} true"], capture_output=True, check=False).returncode:
        pytest.skip("a read-only /sys needs root and a mount namespace")
    reply = machine("apply", rows=rows, before=["unshare", "-m", "sh", "-c", f'{read_only} "$@"', "sh"])
    assert (reply.changes, set(states(reply).values())) == ([], {"denied"})
    assert reply.failure and reply.failure.count("expected '0', and changing it is not permitted (read-only") == 1
    shown = machine("show", None)
    assert states(shown) == states(reply)
    assert len(row_differences(setting_rows(shown.rows["settings"]))) == 2
    assert set(states(machine("apply", rows=rows)).values()) == {"ok"}  # once it is permitted


def test_statistics_of_memory_are_gathered_less_often(machine: Machine, tmp_path: Path) -> None:
    interval = put(tmp_path, "proc/sys/vm/stat_interval", "1\n")
    reply = machine("apply", ["vm_stat_interval"])
    assert (reply.failure, interval.read_text(), len(reply.changes)) == (None, "10\n", 1)
    assert states(machine("show", ["vm_stat_interval"])) == {("vm_stat_interval", "stat_interval"): "ok"}
    assert machine("apply", []).failure is None
    assert interval.read_text() == "1\n"


def resctrl(root: Path, **resources: str) -> Path:
    """A folder like that of resctrl, with a group; written to, a real schemata keeps its other lines."""
    for name, value in resources.items():
        for folder in ("", "rtvirt/"):
            put(root, f"sys/fs/resctrl/{folder}schemata", f"    {name}:{value}\n")
        put(root, f"sys/fs/resctrl/info/{name}/cbm_mask", "7ff\n")
        put(root, f"sys/fs/resctrl/info/{name}/bandwidth_gran", "20\n")
    return root / "sys/fs/resctrl"


def test_a_machine_without_resctrl_is_said_not_to_have_it(machine: Machine, tmp_path: Path) -> None:
    put(tmp_path, "proc/filesystems", "nodev\tsysfs\n")
    reply = machine("apply", ["cache_partition", "bandwidth_limit"])
    assert (reply.failure, reply.changes, set(states(reply).values())) == (None, [], {"absent"})


def test_the_guests_cores_get_a_part_of_the_cache_for_themselves(machine: Machine, tmp_path: Path) -> None:
    folder = resctrl(tmp_path, L3="0=7ff;1=7ff")
    reply = machine("apply", ["cache_partition"])
    assert (reply.failure, len(reply.changes), set(states(reply).values())) == (None, 1, {"ok"})
    assert (folder / "rtvirt/cpus_list").read_text() == "1-3\n"
    assert (folder / "rtvirt/schemata").read_text() == "L3:0=7e0;1=7e0\n"
    assert (folder / "schemata").read_text() == "L3:0=1f;1=1f\n"
    assert machine("apply", ["cache_partition"]).changes == []
    assert set(states(machine("show", ["cache_partition"])).values()) == {"ok"}
    (folder / "schemata").write_text("L3:0=7ff;1=1f\n")
    assert "differs" in states(machine("show", ["cache_partition"])).values()


def test_the_bandwidth_of_other_cores_is_halved_and_restored(machine: Machine, tmp_path: Path) -> None:
    folder = resctrl(tmp_path, MB="0=100")
    assert (machine("apply", ["bandwidth_limit"]).failure, (folder / "schemata").read_text()) == (None, "MB:0=40\n")
    assert machine("show", None).facts["isolation_applied"] == "bandwidth_limit"
    for path in (folder / "rtvirt").iterdir():  # a real group is removed with its files
        path.unlink()
    assert machine("apply", []).failure is None
    assert ((folder / "schemata").read_text(), (folder / "rtvirt").exists()) == ("MB:0=100\n", False)
    assert not list((tmp_path / "run/rtvirt").iterdir())


def test_a_bandwidth_that_is_no_percentage_is_not_limited(machine: Machine, tmp_path: Path) -> None:
    folder = resctrl(tmp_path, MB="0=2048")
    reply = machine("apply", ["bandwidth_limit"])
    assert (reply.failure, set(states(reply).values())) == (None, {"absent"})
    assert (folder / "schemata").read_text() == "    MB:0=2048\n"


def test_a_group_that_the_kernel_refuses_is_told(machine: Machine, tmp_path: Path) -> None:
    folder = resctrl(tmp_path, L3="0=7ff")
    (folder / "rtvirt/cpus_list").mkdir()
    reply = machine("apply", ["cache_partition"])
    assert reply.failure and "cpus_list is '', expected '1-3', and the kernel refuses to change it" in reply.failure


def fair_servers(root: Path) -> dict[str, list[str]]:
    folder = root / "sys/kernel/debug/sched/fair_server"
    return {
        name: [(folder / f"cpu{cpu}" / name).read_text().strip() for cpu in range(3)] for name in ("runtime", "period")
    }


def test_a_fair_server_has_nothing_a_bound_or_what_it_had(machine: Machine, tmp_path: Path) -> None:
    for cpu in range(3):
        put(tmp_path, f"sys/kernel/debug/sched/fair_server/cpu{cpu}/runtime", "50000000\n")
        put(tmp_path, f"sys/kernel/debug/sched/fair_server/cpu{cpu}/period", "1000000000\n")
    throttling = put(tmp_path, "proc/sys/kernel/sched_rt_runtime_us", "950000\n")
    before = fair_servers(tmp_path)
    assert machine("apply", ["rt_throttling"]).failure is None
    assert fair_servers(tmp_path)["runtime"] == ["50000000", "0", "0"]
    shown = machine("show", ["rt_throttling"])
    assert setting_differences(["rt_throttling"], shown.as_dict()) == []
    assert machine("apply", ["rt_throttling", "fair_server=bounded"]).failure is None
    assert fair_servers(tmp_path) == {"runtime": ["50000000", "100000", "100000"], "period": ["1000000000"] * 3}
    facts = machine("show", ["rt_throttling", "fair_server=bounded"]).as_dict()
    assert setting_differences(["rt_throttling", "fair_server=bounded"], facts) == []
    assert setting_differences(["rt_throttling", "fair_server=none"], facts) == []  # read with the other's rows
    facts = machine("show", ["rt_throttling", "fair_server=none"]).as_dict()
    assert "fair_server: " in setting_differences(["rt_throttling", "fair_server=none"], facts)[0]
    assert machine("apply", ["rt_throttling"]).failure is None
    reply = machine("apply", ["fair_server=bounded"])
    assert reply.failure is None
    # The kernel throttles real-time tasks again only once no fair server is without a budget.
    assert [change.partition(":")[0] for change in reply.changes] == ["fair_server", "fair_server", "rt_throttling"]
    assert (throttling.read_text(), fair_servers(tmp_path)["runtime"][1]) == ("950000\n", "100000")
    assert machine("apply", []).failure is None
    assert fair_servers(tmp_path) == before


def thread(root: Path, pid: int, name: str, flags: int, cpus: str = "0-3") -> None:
    """A thread with policy other and the flags of PF_KTHREAD or PF_NO_SETAFFINITY; fields as proc(5) has them."""
    fields = ["S", *"012345", *"0" * 32]
    fields[6], fields[36:] = str(flags), ["1", "0", "0"]
    put(root, f"proc/{pid}/stat", f"{pid} ({name}) {' '.join(fields)}\n")
    put(root, f"proc/{pid}/status", f"Name:\t{name}\nCpus_allowed_list:\t{cpus}\n")


def test_a_missing_tool_is_named(machine: Machine, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    thread(tmp_path, 99999998, "kswapd0", 0x00200000)
    thread(tmp_path, 99999999, "rcuc/2", 0x04200000, "2")
    thread(tmp_path, 99999997, "sleep", 0)
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("cat", "grep", "mkdir", "rm", "sed"):
        (tools / name).symlink_to(shutil.which(name) or "")
    shell = SHELLS[request.node.callspec.params["machine"]]
    everywhere = f"{tools}:/usr/local/bin:/usr/sbin:/sbin"  # as script_reply has it
    asked = [shutil.which(shell[0]) or "", *shell[1:], "-c", "command -v taskset"]
    if subprocess.run(asked, env={"PATH": everywhere}, capture_output=True, check=False).returncode == 0:
        pytest.skip("taskset is built in or in a folder of root's")
    reply = machine("apply", rows=far_environment(["kernel_threads"], "0", "1-3", "x")["SETTING_ROWS"], path=str(tools))
    rows = {row.source: row for row in setting_rows(reply.rows["settings"])}
    assert (rows["cores of kswapd0 99999998"].state, rows["cores of kswapd0 99999998"].tool) == ("no_tool", "taskset")
    assert (rows["priority of rcuc/2 99999999"].state, rows["priority of rcuc/2 99999999"].wanted) == (
        "no_tool",
        "fifo 4",
    )
    assert len(rows) == 2
    assert reply.failure and "taskset, which changes it, is not installed" in reply.failure
    (phrase, _) = row_differences(list(rows.values()))
    assert phrase.endswith("is '0-3', expected '0', and taskset, which changes it, is not installed")


@pytest.mark.parametrize(
    ("online", "present", "says"),
    [
        (
            "0-2",
            "0-2",
            "cpu_isolation_guest_cpus is '1-3', and core 3 does not exist, expected cores of 0-2; name others.",
        ),
        ("0-2", "0-3", "is '1-3', and core 3 is offline, expected cores of 0-2; bring it online, or name others."),
    ],
)
def test_cores_that_do_not_run_are_refused_before_anything(
    machine: Machine, tmp_path: Path, online: str, present: str, says: str
) -> None:
    ksm = put(tmp_path, "sys/kernel/mm/ksm/run", "1\n")
    put(tmp_path, "sys/devices/system/cpu/online", f"{online}\n")
    put(tmp_path, "sys/devices/system/cpu/present", f"{present}\n")
    reply = machine("apply", ["ksm"])
    assert reply.failure and says in reply.failure
    assert (reply.changes, ksm.read_text(), (tmp_path / "run").exists()) == ([], "1\n", False)


def test_who_is_not_root_is_refused_before_anything(machine: Machine, tmp_path: Path) -> None:
    ksm = put(tmp_path, "sys/kernel/mm/ksm/run", "1\n")
    put(tmp_path, "proc/self/status", "Name:\tsh\nUid:\t1000\t1000\t1000\t1000\n")
    reply = machine("apply", ["ksm"])
    assert reply.failure and "need root, and the connection's user has id 1000" in reply.failure
    assert (reply.changes, ksm.read_text()) == ([], "1\n")
    assert states(machine("show", ["ksm"])) == {("ksm", "run"): "differs"}


def test_every_row_of_the_table_is_understood(machine: Machine) -> None:
    names = [name for name in SETTINGS if SETTINGS[name].where != "guest"]
    reply = machine("show", words_of({name: (*SETTINGS[name].values, True)[0] for name in names}, ("boot", "board")))
    assert reply.complete and reply.failure is None
    assert {row["setting"] for row in reply.rows["settings"]} == set(names) - {"kernel_threads"}  # no thread there
