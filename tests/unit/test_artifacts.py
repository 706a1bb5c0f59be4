"""The artifact cache: built once, rebuilt when anything that goes in changes, whole or not at all."""

from __future__ import annotations

import dataclasses
import os
import pwd
import shlex
import threading
from pathlib import Path
from typing import NoReturn

import pytest

from rtvirt_runner.build.artifacts import BuildError, Recipe, build, cache_folder, find
from rtvirt_runner.catalogue.checked_yaml import InputError


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    script = tmp_path / "build.sh"
    script.write_text('set -e\necho ":: making $WORD"\ncat "$0.source" >"$OUT/file"\necho "$WORD" >>"$OUT/file"\n')
    source = tmp_path / "build.sh.source"
    source.write_text("source\n")
    return Recipe("thing", script, inputs={"WORD": "one"}, sources=[source])


@pytest.mark.parametrize(
    ("given", "folder"),
    [
        ("/caches", "/caches"),
        ("~/caches", "/home/ada/caches"),
        ("", "/home/ada/.cache"),
        ("caches", "/home/ada/.cache"),
    ],
)
def test_the_cache_is_one_folder_for_all_processes(monkeypatch: pytest.MonkeyPatch, given: str, folder: str) -> None:
    monkeypatch.setenv("HOME", "/home/ada")
    monkeypatch.setenv("XDG_CACHE_HOME", given)
    assert cache_folder() == Path(folder) / "rtvirt"


def test_a_user_without_a_home_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody(uid: int) -> NoReturn:
        raise KeyError(uid)

    monkeypatch.setattr(pwd, "getpwuid", nobody)
    for name in ("HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(InputError, match="set HOME or XDG_CACHE_HOME"):
        cache_folder()


def test_builds_once_and_finds_it_again(recipe: Recipe, cache: Path) -> None:
    said: list[str] = []
    first = build(recipe, cache, said.append)
    again = build(recipe, cache, said.append)
    assert (first.path / "file").read_text() == "source\none\n"
    assert first.built and not again.built
    assert again.path == first.path
    assert said == ["thing: making one"]


def test_key_changes_with_everything_that_goes_in(recipe: Recipe) -> None:
    keys = {recipe.key}
    keys.add(dataclasses.replace(recipe, inputs={"WORD": "two"}).key)
    keys.add(dataclasses.replace(recipe, needs={"NEED": "/cache/other-0123"}).key)
    Path(recipe.sources[0]).write_text("other\n")
    keys.add(recipe.key)
    recipe.script.write_text(recipe.script.read_text() + "# changed\n")
    keys.add(recipe.key)
    assert len(keys) == 5


def test_key_does_not_change_with_the_place_of_the_cache(recipe: Recipe) -> None:
    here = dataclasses.replace(recipe, needs={"KERNELS": "a=/here/kernel-0123 b=/here/kernel-4567"})
    there = dataclasses.replace(recipe, needs={"KERNELS": "a=/there/kernel-0123 b=/there/kernel-4567"})
    other = dataclasses.replace(recipe, needs={"KERNELS": "a=/here/kernel-0123 b=/here/kernel-89ab"})
    assert here.key == there.key != other.key


def test_key_knows_the_tools_that_a_script_calls(
    recipe: Recipe, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "debian_tree").write_text("one")
    monkeypatch.setattr("rtvirt_runner.build.artifacts.TOOLS", tools)
    without = recipe.key
    recipe.script.write_text("debian_tree extract\n")
    called = recipe.key
    (tools / "debian_tree").write_text("debian_mirror")
    changed = recipe.key
    (tools / "debian_mirror").write_text("one")  # a tool that a tool calls
    assert len({without, called, changed, recipe.key}) == 4


def test_failed_build_leaves_nothing_and_names_its_last_lines(recipe: Recipe, cache: Path) -> None:
    recipe.script.write_text('echo first\necho "the reason"\nexit 3\n')
    with pytest.raises(BuildError, match=r"building thing failed with status 3(.|\n)*the reason"):
        build(recipe, cache, print)
    assert list((cache / "artifacts").iterdir()) == []
    assert find(recipe, cache) is None
    assert "first" in next((cache / "logs").iterdir()).read_text()


def test_the_first_error_is_shown_rather_than_the_last_line(recipe: Recipe, cache: Path) -> None:
    recipe.script.write_text(
        "echo '  CC one.o'; echo \"one.c:3:5: error: 'x' undeclared\"; echo '    3 | x = 1;'\n"
        'for i in $(seq 40); do echo "  CC $i.o"; done\n'
        "echo 'make[1]: *** [one.o] Error 1'; exit 2\n"
    )
    with pytest.raises(BuildError, match="first error is") as failure:
        build(recipe, cache, print)
    assert "one.c:3:5: error: 'x' undeclared\n    3 | x = 1;" in str(failure.value)
    assert "40.o" not in str(failure.value)
    assert "40.o" in next((cache / "logs").iterdir()).read_text()


def test_a_script_can_say_in_one_sentence_what_is_wrong(recipe: Recipe, cache: Path) -> None:
    recipe.script.write_text("echo 'x: error: deep inside'\necho '!! The word is wrong; correct it.'\nexit 1\n")
    with pytest.raises(BuildError) as failure:
        build(recipe, cache, print)
    (log,) = (cache / "logs").iterdir()
    assert str(failure.value) == f"The word is wrong; correct it. The whole log is {log}."


def test_settings_reach_the_script_and_do_not_change_the_key(recipe: Recipe, cache: Path) -> None:
    recipe.script.write_text('echo "$JOBS" >"$OUT/jobs"; echo "$KEY" >"$OUT/key"\n')
    one, two = (dataclasses.replace(recipe, settings={"JOBS": jobs}) for jobs in ("1", "2"))
    made = build(one, cache, print)
    assert one.key == two.key == (made.path / "key").read_text().strip()
    assert (made.path / "jobs").read_text() == "1\n"


def test_half_made_build_of_a_killed_process_is_made_again(recipe: Recipe, cache: Path) -> None:
    partial = cache / "artifacts" / f".partial-thing-{recipe.key}"
    partial.mkdir(parents=True)
    (partial / "rubbish").touch()
    built = build(recipe, cache, print)
    assert sorted(path.name for path in built.path.iterdir()) == ["file", "manifest.json"]
    assert not partial.exists()


def test_build_past_its_limit_is_ended(recipe: Recipe, cache: Path) -> None:
    recipe.script.write_text('echo $$ >"$OUT.pid"\nsleep 600\n')
    with pytest.raises(BuildError, match="took longer than its limit of 1 s"):
        build(dataclasses.replace(recipe, timeout_s=1), cache, print)
    pid = next((cache / "artifacts").glob(".partial-*.pid")).read_text().strip()
    assert not Path(f"/proc/{pid}").exists()


def test_two_at_once_build_it_once(recipe: Recipe, cache: Path) -> None:
    results = []
    threads = [threading.Thread(target=lambda: results.append(build(recipe, cache, lambda _: None))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(result.built for result in results) == [False, False, False, True]


def test_missing_source_is_named(recipe: Recipe, cache: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"nowhere\.c: a source of an artifact is missing"):
        build(dataclasses.replace(recipe, sources=[Path("/nowhere.c")]), cache, print)


def test_build_that_needs_root_is_refused_where_sudo_does_not_work(
    recipe: Recipe, cache: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    sudo = tmp_path / "bin" / "sudo"
    sudo.parent.mkdir()
    sudo.write_text("#!/bin/sh\nexit 1\n")
    sudo.chmod(0o755)
    monkeypatch.setenv("PATH", f"{sudo.parent}:{os.environ['PATH']}")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(BuildError, match="building thing needs root; run this as root, or let sudo work"):
        build(dataclasses.replace(recipe, as_root=True), cache, print)


def test_any_path_of_the_cache_gives_the_same_artifact(tmp_path: Path) -> None:
    """A script that quotes nothing, and a value of several folders, in a cache whose path would be many words."""
    script = tmp_path / "build.sh"
    script.write_text(
        "set -e\ncat $NEED/file >$OUT/file\nfor part in $PARTS; do cat ${part#*=}/file >>$OUT/file; done\n"
        "echo $KEY >$OUT/key\n"
    )
    built = []
    for cache in (tmp_path / "plain", tmp_path / """a b%h'c"d$HOME\\e,f{{ x }}é[1]*#;&"""):
        needed = cache / "artifacts" / "needed-0123"
        needed.mkdir(parents=True)
        (needed / "file").write_text("needed\n")
        parts = f"part={shlex.quote(str(needed))} part={shlex.quote(str(needed))}"
        recipe = Recipe("odd", script, needs={"NEED": str(needed), "PARTS": parts})
        artifact = build(recipe, cache, lambda _: None)
        assert (artifact.path / "file").read_text() == "needed\n" * 3
        assert (artifact.path / "key").read_text() == f"{artifact.key}\n"
        assert find(recipe, cache) is not None
        built.append(artifact.key)
    assert built[0] == built[1]


def test_a_build_that_needs_root_says_so_where_there_is_no_sudo(
    recipe: Recipe, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BuildError, match="needs root, and there is no sudo; run this as root"):
        build(dataclasses.replace(recipe, as_root=True), cache, lambda _: None)
