"""rtvirt.testbed.download inside a real playbook: fetched once, foretold in check mode, one sentence when refused."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from web import Web, serving

from rtvirt_runner.catalogue import collection

PLAYBOOK = """\
- name: Fetch
  hosts: localhost
  connection: local
  gather_facts: false
  tasks:
    - name: Fetch what is given
      rtvirt.testbed.download:
        downloads: "{{ given }}"
        mirror: "{{ mirror }}"
        keyring: ''
        sums: sums.txt
        record: "{{ record }}"
      register: fetched
    - name: Write what came of it
      ansible.builtin.copy:
        content: "{{ fetched | to_json }}"
        dest: "{{ playbook_dir }}/fetched.json"
        mode: "0644"
      check_mode: false
"""
FILES = {"/one": b"one", "/two": b"two"}


@pytest.fixture
def web() -> Iterator[Web]:
    with serving(Web(files=dict(FILES))) as web:
        yield web


def entry(web: Web, path: str) -> dict[str, Any]:
    return {"type": "tarball", "url": web.url(path), "sha256": hashlib.sha256(FILES[path]).hexdigest()}


def play(folder: Path, given: list[dict[str, Any]], *words: str, record: bool = False, mirror: str = "") -> str:
    """Run the playbook; returns what Ansible said."""
    (folder / "fetch.yml").write_text(PLAYBOOK)
    (folder / "fetched.json").unlink(missing_ok=True)
    env = {
        **os.environ,
        "ANSIBLE_CONFIG": str(collection.ANSIBLE_CONFIG),
        "ANSIBLE_PYTHON_INTERPRETER": sys.executable,
        "XDG_CACHE_HOME": str(folder / "cache"),
    }
    variables = json.dumps({"given": given, "record": record, "mirror": mirror})
    command = [
        Path(sys.executable).parent / "ansible-playbook",
        "-i",
        "localhost,",
        "-e",
        variables,
        *words,
        "fetch.yml",
    ]
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)
    assert (done.returncode == 0) == (folder / "fetched.json").exists(), done.stdout + done.stderr
    return done.stdout + done.stderr


def fetched(folder: Path) -> dict[str, Any]:
    result: dict[str, Any] = json.loads((folder / "fetched.json").read_text())
    return result


def test_downloads_are_fetched_once_in_order(web: Web, tmp_path: Path) -> None:
    given = [entry(web, "/two"), entry(web, "/one")]
    said = play(tmp_path, given, "--check")
    assert fetched(tmp_path)["msg"] == f"would fetch: {web.url('/two')}, {web.url('/one')}", said
    assert (fetched(tmp_path)["changed"], fetched(tmp_path)["paths"]) == (True, ["", ""])
    assert web.sent == []

    said = play(tmp_path, given)
    result = fetched(tmp_path)
    assert [Path(path).read_bytes() for path in result["paths"]] == [b"two", b"one"]
    assert result["sums"] == [each["sha256"] for each in given]
    assert result["changed"]
    assert f"two: fetching {web.url('/two')}" in said

    for words in ([], ["--check"]):
        play(tmp_path, given, *words)
        assert not fetched(tmp_path)["changed"]
        assert fetched(tmp_path)["paths"] == result["paths"]
    assert len(web.sent) == 2


def test_a_commit_is_fetched_with_its_id_as_its_sum(tmp_path: Path) -> None:
    upstream = tmp_path / "upstream"
    subprocess.run(["git", "init", "--quiet", upstream], check=True)
    who = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    subprocess.run(["git", "-C", upstream, *who, "commit", "--quiet", "--allow-empty", "--message=one"], check=True)
    command = ["git", "-C", upstream, "rev-parse", "HEAD"]
    commit = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    play(tmp_path, [{"url": f"file://{upstream}", "commit": commit}])
    assert fetched(tmp_path)["sums"] == [commit]
    assert fetched(tmp_path)["paths"] == [f"{tmp_path}/cache/rtvirt/downloads/{commit}/upstream-{commit[:12]}.tar"]


def test_the_mirror_and_the_record_are_used(web: Web, tmp_path: Path) -> None:
    (tmp_path / "mirror").mkdir()
    (tmp_path / "mirror" / "one").write_bytes(b"one")
    given = [{"url": web.url("/one")}]
    said = play(tmp_path, given)
    assert f"nothing says which SHA-256 {web.url('/one')} must have; set kernel_build_record: true once" in said
    play(tmp_path, given, record=True, mirror=str(tmp_path / "mirror"))
    assert (tmp_path / "sums.txt").read_text() == f"{hashlib.sha256(b'one').hexdigest()}  {web.url('/one')}\n"
    assert web.sent == []


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"sha256": "0" * 64}, "expected " + "0" * 64 + " according to its entry; the file is kept as"),
        ({"sha265": "x"}, "has the key 'sha265', expected url with sha256 or signed_sums, or url with commit"),
    ],
)
def test_what_is_refused_is_told_in_one_sentence(web: Web, tmp_path: Path, wrong: dict[str, Any], told: str) -> None:
    said = play(tmp_path, [entry(web, "/one") | wrong])
    assert told in said
    assert "Traceback" not in said
