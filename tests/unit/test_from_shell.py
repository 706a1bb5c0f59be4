"""Artifacts that a shell script has built."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rtvirt_runner.build import artifacts, from_shell


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "make.sh").write_text('echo "$WHAT $WHERE" >"$OUT/made"\n')
    path = tmp_path / "recipe.json"
    values = {"name": "thing", "script": str(tmp_path / "make.sh"), "inputs": {"WHAT": "it"}, "needs": {}}
    path.write_text(json.dumps({**values, "settings": {"WHERE": "here"}}))
    return path


def test_an_artifact_is_built_and_then_found(recipe: Path) -> None:
    assert from_shell.main([str(recipe)]) == 0
    found = artifacts.find(from_shell.recipe(json.loads(recipe.read_text())), artifacts.cache_folder())
    assert found is not None and (found.path / "made").read_text() == "it here\n"


def test_what_cannot_be_built_is_said_in_one_line(recipe: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (recipe.parent / "make.sh").write_text("echo '!! There is no room.'\nexit 1\n")
    assert from_shell.main([str(recipe)]) == 1
    assert "There is no room." in capsys.readouterr().err
