"""Why a machine refuses, in the real sh: a missing tool, a missing permission, or the kernel."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from rtvirt_runner.catalogue import collection
from rtvirt_runner.machine.script_reply import Reply, compose, parse

ROLES = collection.ROOT / "roles"
CHRT = "#!/bin/sh\necho 'chrt: failed to set pid 0'\\''s policy: Operation not permitted' >&2\nexit 1\n"
UNPRIVILEGED, ROOT, CONTAINER = ("1000", "0"), ("0", "000001ffffffffff"), ("0", "00000000a80425fb")


def run(text: str, path: str, **environment: str) -> Reply:
    known = {"RTVIRT_CHECK_MODE": "no", **environment}
    env = {"PATH": path}
    script = compose(f"PATH={path}\n{text}", known)
    return parse(subprocess.run(["/bin/sh"], input=script, env=env, capture_output=True, text=True, check=False).stdout)


@pytest.mark.parametrize(
    ("chrt", "status", "config", "says"),
    [
        (CHRT, UNPRIVILEGED, "", "The user with id 1000 may not use SCHED_FIFO; connect as root"),
        (CHRT, CONTAINER, "", "it lacks the capability CAP_SYS_NICE, as in a container"),
        (
            CHRT,
            ROOT,
            "CONFIG_RT_GROUP_SCHED=y",
            "The kernel refuses SCHED_FIFO to root: it was built with RT_GROUP_SCHED",
        ),
        ("", ROOT, "", "chrt is not installed"),
        ("#!/bin/sh\n", UNPRIVILEGED, "", ""),
    ],
)
def test_why_a_fifo_priority_is_refused(
    tmp_path: Path, chrt: str, status: tuple[str, str], config: str, says: str
) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("sed", "sort", "head", "cat", "grep", "uname", "zcat"):
        (tools / name).symlink_to(f"/usr/bin/{name}")
    (tools / "cyclictest").write_text("#!/bin/sh\necho cyclictest V 2.40\n")
    if chrt:
        (tools / "chrt").write_text(chrt)
    for tool in tools.iterdir():
        if not tool.is_symlink():
            tool.chmod(0o755)
    (tmp_path / "config").write_text(f"{config}\n")
    (tmp_path / "status").write_text(f"Name:\tsh\nUid:\t{status[0]}\t{status[0]}\t0\t0\nCapEff:\t{status[1]}\n")
    files = {"STATUS_FILE": str(tmp_path / "status"), "KERNEL_CONFIG": str(tmp_path / "config")}
    text = (ROLES / "measure/files/measure.sh").read_text()
    reply = run(text, str(tools), PACKAGE="rt-tests", MINIMUM="2.4", **files)
    assert says in (reply.failure or "")
    assert (reply.failure is None) == (says == "")
    assert "connect as root" not in (reply.failure or "") or status == UNPRIVILEGED


INVALID = "isolated invalid (Cpu list in cpuset.cpus not exclusive)"


@pytest.mark.parametrize(
    ("partition", "state"), [("isolated", "ok"), ("root", "fixed"), ("member", "differs"), (INVALID, "differs")]
)
def test_cores_that_somebody_else_owns_are_not_kept(tmp_path: Path, partition: str, state: str) -> None:
    """Read back as on a machine with cgroup v2, whose kernel has left the partition like this."""
    for name, cpus in (("rtvirt", "2-3"), ("other.slice", "2-3"), ("user.slice", "0-1"), ("empty.slice", "")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "cpuset.cpus").write_text(f"{cpus}\n")
    (tmp_path / "rtvirt/cpuset.cpus.partition").write_text(f"{partition}\n")
    files = [ROLES / f"cpu_isolation/files/{name}.sh" for name in ("thread", "settings", "cpuset")]
    text = "\n".join(file.read_text() for file in files)
    text += f"\nfind_cpusets() {{ cpuset_kind=v2 top={tmp_path} guest_set=$top/rtvirt; }}\n"
    text += "ACT=show setting=cpuset\ncpusets\n"
    given = {"SETTING_ROWS": "", "SETTINGS": "cpuset", "GUEST_CPUS": "2-3", "HOST_CPUS": "0-1"}
    reply = run(text, os.environ["PATH"], **given)
    rows = {Path(row["source"]).name: row for row in reply.rows["settings"]}
    assert rows["cpuset.cpus.partition"]["state"] == state
    assert reply.facts["cpuset_kind"] == f"v2 {partition}"
    others = [row["found"] for row in reply.rows["settings"] if row["source"].startswith("cgroups of others")]
    assert others == ([f"{tmp_path}/other.slice (cores 2-3)"] if state == "differs" else [])
