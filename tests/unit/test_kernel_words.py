"""Command lines as kernel_boot.sh composes them, by the real sh: idempotent, in order, no word twice, others' kept."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rtvirt_runner.catalogue import collection
from rtvirt_runner.catalogue.command_line import missing_params, split_params

LIBRARY = collection.ROOT / "roles" / "kernel_boot" / "files" / "kernel_boot.sh"
PARAMETERS = "isolcpus nohz_full"
COMPOSE = f"""\
set -u
. {LIBRARY}
others=$(params_of others "$LINE" "$managed" "$FORMER")
added=$(added_params "$others" "$WANTED rtvirt.kernel=$KERNEL")
echo "$added"
join_params "$others" "$added"
"""


def compose(line: str, wanted: str = "", former: str = "", kernel: str = "new") -> tuple[str, str]:
    """Returns the words that were added and the whole command line."""
    environment = {"PARAMETERS": PARAMETERS, "LINE": line, "WANTED": wanted, "FORMER": former, "KERNEL": kernel}
    path = {"PATH": "/usr/bin:/bin", "LC_ALL": "C"}
    done = subprocess.run(
        ["sh", "-c", COMPOSE], env={**path, **environment}, capture_output=True, text=True, check=True
    )
    added, whole = done.stdout.splitlines()
    return added, whole


def test_what_others_put_there_is_kept_in_its_order() -> None:
    assert compose("root=/dev/vda2 console=ttyS0 quiet")[1] == "root=/dev/vda2 console=ttyS0 quiet rtvirt.kernel=new"


def test_managed_words_are_replaced_and_come_in_the_wanted_order() -> None:
    _, line = compose("isolcpus=1 root=/dev/vda2 nohz-full=1", "nohz_full=2 isolcpus=2")
    assert line == "root=/dev/vda2 nohz_full=2 isolcpus=2 rtvirt.kernel=new"


def test_words_of_the_kernel_before_go_and_words_like_them_stay() -> None:
    _, line = compose("root=/dev/vda2 turbo=N turbo=Y rtvirt.kernel=old", former="turbo=N rtvirt.kernel=old")
    assert line == "root=/dev/vda2 turbo=Y rtvirt.kernel=new"


def test_a_wanted_word_that_is_there_already_stays_others() -> None:
    added, line = compose("quiet root=/dev/vda2", "quiet")
    assert added == "rtvirt.kernel=new"
    assert line == "quiet root=/dev/vda2 rtvirt.kernel=new"


def test_of_equal_words_the_last_stays_since_the_kernel_takes_the_last() -> None:
    _, line = compose("console=tty0 console=ttyS0 console=tty0")
    assert line == "console=ttyS0 console=tty0 rtvirt.kernel=new"


def test_spaces_in_quotes_belong_to_a_word() -> None:
    _, line = compose('dyndbg="file a +p; file b +p" isolcpus="1 2" x=*')
    assert line == 'dyndbg="file a +p; file b +p" x=* rtvirt.kernel=new'


def test_the_words_of_a_trial_do_not_stay() -> None:
    assert compose("root=/dev/vda2 rtvirt.kernel=old rtvirt.trial=600")[1] == "root=/dev/vda2 rtvirt.kernel=new"


words = st.from_regex(r"\A[a-z_]{1,6}(=[a-z0-9/,.*$-]{0,6})?\Z")
lines = st.lists(words, max_size=8)
wishes = st.lists(st.sampled_from(["isolcpus=1", "nohz_full=1", "quiet", "turbo=N"]), unique=True)


@settings(max_examples=60)
@given(line=lines, wanted=wishes)
def test_doing_it_again_changes_nothing_and_no_word_comes_twice(line: list[str], wanted: list[str]) -> None:
    added, once = compose(" ".join(line), " ".join(wanted))
    assert compose(once, " ".join(wanted), former=added) == (added, once)
    assert len(once.split()) == len(set(once.split()))
    assert set(wanted) <= set(once.split())


@settings(max_examples=60)
@given(line=lines, wanted=wishes)
def test_taking_our_words_back_leaves_what_was_there(line: list[str], wanted: list[str]) -> None:
    _, before = compose(" ".join(line))
    added, with_ours = compose(before, " ".join(wanted), former="rtvirt.kernel=new")
    assert compose(with_ours, former=added)[1] == before


def test_pairs_stay_together_and_in_their_order() -> None:
    pairs = "hugepagesz=2M hugepages=4 hugepagesz=1G hugepages=4"
    assert compose(f"root=/dev/vda2 {pairs} quiet")[1] == f"root=/dev/vda2 {pairs} quiet rtvirt.kernel=new"
    added, line = compose(f"root=/dev/vda2 {pairs}", "hugepagesz=64K hugepages=4")
    assert line == f"root=/dev/vda2 {pairs} hugepagesz=64K hugepages=4 rtvirt.kernel=new"
    assert compose(line, former=added)[1] == f"root=/dev/vda2 {pairs} rtvirt.kernel=new"
    assert (
        compose(f"root=/dev/vda2 {pairs}", "hugepagesz=1G hugepages=4")[1]
        == f"root=/dev/vda2 {pairs} rtvirt.kernel=new"
    )


@pytest.mark.parametrize("end", ["-- single", "-- isolcpus=1 rtvirt.kernel=x", "--"])
def test_what_is_for_init_stays_at_the_end(end: str) -> None:
    added, line = compose(f"root=/dev/vda2 {end}", "isolcpus=2 nohz_full=2")
    assert line == f"root=/dev/vda2 isolcpus=2 nohz_full=2 rtvirt.kernel=new {end}"
    assert compose(line, "isolcpus=2 nohz_full=2", former=added) == (added, line)


@pytest.mark.parametrize("end", ["", " -- single"])
def test_the_words_of_a_trial_go_and_what_is_for_init_stays(end: str) -> None:
    confirmed = f'dyndbg="file a +p; -- b" root=/dev/vda2 rtvirt.kernel=new{end}'
    script = f"""set -u
. {LIBRARY}
line=$(join_params "$LINE" rtvirt.trial=600 panic=10)
echo "$line"
without_trial "$line"
"""
    environment = {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "PARAMETERS": "", "LINE": confirmed}
    done = subprocess.run(["sh", "-c", script], env=environment, capture_output=True, text=True, check=True)
    start = confirmed.removesuffix(end)
    assert done.stdout.splitlines() == [f"{start} rtvirt.trial=600 panic=10{end}", confirmed]


@pytest.mark.parametrize(
    ("size", "length", "fits"), [(2048, 2047, True), (2048, 2048, False), (1024, 1023, True), (1024, 1024, False)]
)
def test_a_line_that_the_kernel_would_cut_is_refused(tmp_path: Path, size: int, length: int, fits: bool) -> None:
    (tmp_path / "running").write_text("vc_mem.mem_base=0x3ec00000 root=/dev/vda2\n")  # the firmware put 27 before
    (tmp_path / "default.env").write_text("bootargs=root=/dev/vda2\n")
    script = f"""set -u
fail() {{ echo "$*"; exit 1; }}
. {LIBRARY}
loader=rpi default={tmp_path}/default.env
check_length "$LINE"
"""
    environment = {"PATH": "/usr/bin:/bin", "COMMAND_LINE_SIZE": str(size), "LINE": "x" * (length - 27)}
    environment |= {"RUNNING_LINE": f"{tmp_path}/running", "FOLDER": "k"}
    done = subprocess.run(["sh", "-c", script], env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode == 0) == fits
    assert fits or f"would have {length} characters (27 of them from the boot loader)" in done.stdout
    assert fits or f"reads {size - 1}: it would cut off 'x'" in done.stdout


def test_the_line_of_an_x86_board_that_was_cut_is_refused(tmp_path: Path) -> None:
    (tmp_path / "running").write_text(f"BOOT_IMAGE=/boot/vmlinuz {'x' * 1958}\n")
    (tmp_path / "default.env").write_text(f"bootargs={'x' * 1958}\n")
    script = f"""set -u
fail() {{ echo "$*"; exit 1; }}
. {LIBRARY}
loader=grub default={tmp_path}/default.env
check_length "$LINE"
"""
    environment = {"PATH": "/usr/bin:/bin", "COMMAND_LINE_SIZE": "2048", "RUNNING_LINE": f"{tmp_path}/running"}
    environment |= {"LINE": f"{'x' * 1958} isolcpus=1 rtvirt.kernel=k rtvirt.trial=600", "FOLDER": "linux-rt-12345678"}
    done = subprocess.run(["sh", "-c", script], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "reads 2047" in done.stdout


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("isolcpus=1-2", "1-2"),
        ("isolcpus=1 isolcpus=2", "2"),
        ('dyndbg="file a isolcpus=3 +p" isolcpus=1', "1"),
        ('"isolcpus=1"', "1"),
        ('isolcpus="1,2"', "1,2"),
        ("isolcpus=1 -- isolcpus=2", "1"),
        ("xisolcpus=1 *=isolcpus", ""),
    ],
)
def test_a_parameter_is_read_back_as_the_kernel_reads_it(tmp_path: Path, line: str, found: str) -> None:
    (tmp_path / "line").write_text(f"{line}\n")
    scripts = collection.ROOT / "roles/cpu_isolation/files/settings.sh"
    script = f'set -u\nSETTING_ROWS=\n. {scripts}\nparameter=isolcpus found=\nfind_parameter\nprintf %s "$found"'
    environment = {"PATH": "/usr/bin:/bin", "RUNNING_LINE": f"{tmp_path}/line"}
    done = subprocess.run(["sh", "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == found
    assert missing_params([f"isolcpus={found}"], line) == ([] if found else ["isolcpus="])


@pytest.mark.parametrize("line", ["kvm-arm.wfi_trap_policy=notrap", "quiet kvm_arm.wfi-trap-policy=notrap"])
def test_a_parameter_with_a_dash_is_read_back(tmp_path: Path, line: str) -> None:
    (tmp_path / "line").write_text(f"{line}\n")
    scripts = collection.ROOT / "roles/cpu_isolation/files/settings.sh"
    asked = "parameter=kvm-arm.wfi_trap_policy found="
    script = f'set -u\nSETTING_ROWS=\n. {scripts}\n{asked}\nfind_parameter\nprintf %s "$found"'
    environment = {"PATH": "/usr/bin:/bin", "RUNNING_LINE": f"{tmp_path}/line"}
    done = subprocess.run(["sh", "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "notrap"


def test_params_are_split_as_the_kernel_does() -> None:
    line = 'a "b c" d="e  f"g a\t--x -- a h'
    assert split_params(line) == ["a", '"b c"', 'd="e  f"g', "a", "--x"]
    assert missing_params(["nohz_full=1", "b c", "h"], f"nohz-full=1 {line}") == ["h"]
