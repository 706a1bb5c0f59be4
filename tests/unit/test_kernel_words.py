"""Command lines as kernel_boot.sh composes them, by the real sh: idempotent, in order, no word twice, others' kept."""

from __future__ import annotations

import subprocess

from hypothesis import given, settings
from hypothesis import strategies as st

from rtvirt_runner.catalogue import collection

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
