"""What remote_script promises (ansible-doc rtvirt.testbed.remote_script), by a real playbook on this machine."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from rtvirt_runner.catalogue import collection

UNSAFE = 'touch "$FOLDER/touched"; changed "touched a file"\n'
SAFE = '# check mode: safe\n[ "$RTVIRT_CHECK_MODE" = yes ] || touch "$FOLDER/touched"\nchanged "touched a file"\n'
BIN = Path(sys.executable).parent
ENVIRONMENT = {**os.environ, "ANSIBLE_CONFIG": str(collection.ANSIBLE_CONFIG), "ANSIBLE_NOCOLOR": "1"}


def play(
    folder: Path, *words: str, scripts: tuple[str, ...], fails: bool = False, **options: Any
) -> tuple[dict[str, Any], str]:
    """Run the scripts as one; returns the task's result, and all that Ansible said."""
    paths = []
    for number, text in enumerate(scripts):
        paths.append(folder / f"{number}.sh")
        paths[-1].write_text(text)
    options = {"script": [str(path) for path in paths], "environment": {"FOLDER": str(folder)}, **options}
    tasks = [
        {"name": "Run", "rtvirt.testbed.remote_script": options, "register": "answer", "ignore_errors": fails},
        {
            "name": "Keep the answer",
            "ansible.builtin.copy": {"content": "{{ answer | to_json }}", "dest": str(folder / "answer.json")},
            "check_mode": False,
            "diff": False,
        },
    ]
    variables = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    document = [{"name": "Ask", "hosts": "localhost", "gather_facts": False, "vars": variables, "tasks": tasks}]
    (folder / "play.yml").write_text(yaml.safe_dump(document))
    command = [BIN / "ansible-playbook", "-i", "localhost,", "play.yml", *words]
    done = subprocess.run(command, cwd=folder, env=ENVIRONMENT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    result: dict[str, Any] = json.loads((folder / "answer.json").read_text())
    assert result.get("failed", False) == fails
    return result, done.stdout + done.stderr


@pytest.mark.parametrize("scripts", [(UNSAFE,), (SAFE, UNSAFE), (UNSAFE, SAFE)], ids=["one", "last", "first"])
def test_in_check_mode_a_script_that_does_not_say_that_it_is_safe_is_skipped(
    scripts: tuple[str, ...], tmp_path: Path
) -> None:
    result, _ = play(tmp_path, "--check", scripts=scripts)
    assert result["skipped"] and not result["changed"] and result["facts"] == {}
    assert f"does not say that it is safe: {scripts.index(UNSAFE)}.sh" in result["msg"]
    assert not (tmp_path / "touched").exists()


@pytest.mark.parametrize("mark", ["changed", "fail"])
def test_what_a_machine_says_does_not_reach_the_terminal_as_it_is(mark: str, tmp_path: Path) -> None:
    words = r"one \033]0;mine\007\013two \342\200\256three"
    result, said = play(tmp_path, "--diff", scripts=(f"{mark} \"$(printf '{words}')\"\n",), fails=mark == "fail")
    assert r"one \x1b]0;mine\x07\x0btwo \u202ethree" in said
    assert {letter for letter in said if not letter.isprintable()} == {"\n"}
    assert mark == "fail" or result["changes"] == ["one \x1b]0;mine\x07\x0btwo \u202ethree"]


def test_in_check_mode_a_safe_script_says_what_it_would_change(tmp_path: Path) -> None:
    result, said = play(tmp_path, "--check", "--diff", scripts=(SAFE,))
    assert result["changed"] and result["changes"] == ["touched a file"]
    assert "\ntouched a file\n" in said
    assert not (tmp_path / "touched").exists()


def test_a_script_runs_and_its_changes_are_the_difference(tmp_path: Path) -> None:
    result, said = play(
        tmp_path, "--diff", scripts=(UNSAFE, 'fact answer "$ANSWER"'), environment=environment(tmp_path)
    )
    assert result["facts"] == {"answer": "42"} and result["changed"]
    assert "\ntouched a file\n" in said
    assert (tmp_path / "touched").exists()


def environment(folder: Path) -> dict[str, str]:
    return {"FOLDER": str(folder), "ANSWER": "42"}


def test_in_check_mode_nothing_is_sent(tmp_path: Path) -> None:
    (tmp_path / "here").write_text("new\n")
    there = tmp_path / "there"
    uploads = {str(there): str(tmp_path / "here"), str(tmp_path / "other"): str(tmp_path / "not made yet")}
    result, _ = play(tmp_path, "--check", scripts=(SAFE,), uploads=uploads)
    assert set(result["changes"]) == {f"would bring {there}", f"would bring {tmp_path}/other", "touched a file"}
    assert not there.exists()
    result, _ = play(tmp_path, "--check", scripts=(SAFE,), input=str(tmp_path / "here"))
    assert result["changed"] and result["msg"] == "would send here"


def test_ansible_doc_shows_every_action() -> None:
    names = sorted(path.stem for path in (collection.ROOT / "plugins" / "action").glob("*.py"))
    full = [f"rtvirt.testbed.{name}" for name in names]
    done = subprocess.run(
        [BIN / "ansible-doc", "--json", *full], env=ENVIRONMENT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    shown = json.loads(done.stdout)
    assert sorted(shown) == full
    assert set(shown["rtvirt.testbed.remote_script"]["doc"]["attributes"]) == {"check_mode", "diff_mode"}
    for kind in ("lookup", "filter"):
        subprocess.run([BIN / "ansible-doc", "-t", kind, "-l", "rtvirt.testbed"], env=ENVIRONMENT, check=True)
