"""Scripts for machines that have nothing but a shell: run here by the real /bin/sh, read by the real parser."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from rtvirt_runner.machine.script_reply import STAT_SCRIPT, Reply, compose, missing_room, parse


def run(script: str, **environment: str) -> Reply:
    done = subprocess.run(["sh", "-s"], input=compose(script, environment), capture_output=True, text=True, check=False)
    return parse(done.stdout)


def test_facts_changes_tables_and_output() -> None:
    reply = run(
        'fact kernel "6.12 rt"\nchanged "wrote a file"\necho plain\n'
        "printf '@row threads tid=%s cpus=%s name=%s\\n' 7 0-1 'CPU 0/KVM'"
    )
    assert reply.facts == {"kernel": "6.12 rt"}
    assert reply.changes == ["wrote a file"]
    assert reply.rows == {"threads": [{"tid": "7", "cpus": "0-1", "name": "CPU 0/KVM"}]}
    assert reply.output == ["plain"]
    assert reply.complete and reply.failure is None


@pytest.mark.parametrize("value", ["two words", "it's", 'a "quote"', "$(touch /tmp/x) `id`", "a\nb", ""])
def test_values_reach_the_script_as_they_are(value: str) -> None:
    assert run("file value.txt /dev/stdin <<END\n$VALUE\nEND", VALUE=value).files["value.txt"].rstrip("\n") == value


def test_fail_says_why_and_ends_the_script() -> None:
    reply = run('fail "There is no room."\nchanged never')
    assert reply.failure == "There is no room."
    assert reply.changes == []


def test_script_that_breaks_is_a_failure() -> None:
    assert run("exit 7").failure == "the script ended with status 7"


def test_unset_variable_is_a_failure() -> None:
    assert run('echo "$NOT_GIVEN"').failure is not None


def test_script_cannot_eat_itself_through_standard_input() -> None:
    assert run("cat\nfact after yes").facts == {"after": "yes"}


def test_cut_off_reply_is_not_whole() -> None:
    assert not parse("@fact kernel 6.12\n@file cyclictest.txt\nhalf").complete


def test_files_come_through_unchanged(tmp_path: Path) -> None:
    path = tmp_path / "out.json"
    path.write_text('{"a": 1}\n\n  @fact not a mark\n')
    reply = run('file out.json "$FILE"\nfile absent /nowhere', FILE=str(path))
    assert reply.files == {"out.json": '{"a": 1}\n\n  @fact not a mark\n'}


def test_script_that_reads_its_standard_input_comes_as_an_argument() -> None:
    text = compose('fact read "$(cat)"', {}, reads_input=True)
    done = subprocess.run(["sh", "-c", text], input="what was sent", capture_output=True, text=True, check=False)
    assert parse(done.stdout).facts == {"read": "what was sent"}


ROOM = {path: {"on": "/", "free_kib": "100"} for path in ("/var/lib/a", "/opt/b")}


def test_files_that_fit_together_are_brought() -> None:
    assert missing_room({"/var/lib/a": 40 * 1024, "/opt/b": 40 * 1024}, ROOM) == ""


def test_files_that_do_not_fit_together_are_refused() -> None:
    assert missing_room({"/var/lib/a": 60 * 1024, "/opt/b": 60 * 1024}, ROOM) == (
        "There is no room for /opt/b: its file system, /, has 100 KiB left, expected 122 or more; make room there."
    )


def test_a_machine_tells_the_sums_of_files_and_the_room_for_those_that_are_not_there(tmp_path: Path) -> None:
    here, missing = tmp_path / "here", tmp_path / "not" / "there"
    here.write_text("something")
    script = compose(STAT_SCRIPT, {"PATHS": f"{here} {missing}"})
    reply = parse(subprocess.run(["sh"], input=script, stdout=subprocess.PIPE, text=True, check=True).stdout)
    assert [line.partition("  ")[2] for line in reply.output] == [str(here)]
    assert len(reply.rows["room"]) == 2
    assert all(int(row["free_kib"]) > 0 and row["on"].startswith("/") for row in reply.rows["room"])


@pytest.mark.parametrize(
    "said",
    [
        "@row irqs a=1\n" * 60_000,
        "@row irqs" + " a=1" * 60_000,
        "line\n" * 60_000,
        "\n" * 60_000,
        "@fact a 1\n" * 60_000,
        "".join(f"@file {number}\nx\n@end {number}\n" for number in range(60)),
    ],
    ids=["rows", "values of a row", "lines", "empty lines", "facts", "files"],
)
def test_an_answer_of_very_many_entries_is_a_failure(said: str) -> None:
    reply = parse(f"@fact first 1\n{said}\n@whole 0\n")
    assert reply.failure == "the answer has more than 50,000 entries" and not reply.complete
    assert reply.facts["first"] == "1" and len(reply.files) <= 50


def test_a_large_file_is_one_entry() -> None:
    assert (
        len(parse("@file long\n" + "000001 000000\n" * 1_000_000 + "@end long\n@whole 0\n").files["long"]) == 14_000_000
    )


def test_the_sentence_of_a_failure_has_a_limit() -> None:
    assert len(parse("@fail " + "no " * 100_000 + "\n@whole 1\n").failure or "") < 2100


@pytest.mark.parametrize(
    "says", [r"printf '\033]0;title\007'", "printf 'root@board:~# '", "date +%s.%N", "echo; printf x"]
)
def test_what_a_shell_says_before_the_answer_is_not_the_answer(says: str) -> None:
    script = compose("changed one thing\nfact kernel 6.12\nprintf 'no line end'", {})
    done = subprocess.run(["sh", "-c", f"{says}; sh -s"], input=script, capture_output=True, text=True, check=False)
    reply = parse(done.stdout)
    assert (reply.changes, reply.facts, reply.complete, reply.failure) == (
        ["one thing"],
        {"kernel": "6.12"},
        True,
        None,
    )


@pytest.mark.parametrize("mark", ["@changed one thing", "@fact kernel 6.12", "@row t a=1", "@fail no", "@after"])
def test_the_first_mark_is_found_behind_a_title(mark: str) -> None:
    assert parse(f"\033]0;title\007{mark}\n@whole 0\n") == parse(f"{mark}\n@whole 0\n")


def test_a_failure_behind_a_line_without_an_end_is_found() -> None:
    assert run("printf 'half a line'\nfail 'There is no room.'").failure == "There is no room."
