"""Code blocks of the documents: playbooks pass the syntax check, data are read, and others have a reason.

Commands of rtvirt, pytest, molecule and ansible-playbook are read by their own parsers in tests/unit/test_docs.py: most
would boot boards. The playbooks of docs/one-role.md are played by test_roles_on_a_server.py.
"""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from rtvirt_runner.catalogue import collection

ROOT = collection.ROOT
DOCUMENTS = sorted(
    path.relative_to(ROOT)
    for pattern in ("*.md", "docs/*.md", "molecule/README.md", "roles/*/README.md")
    for path in ROOT.glob(pattern)
)
PARSED = re.compile(r"(\S*/)?(rtvirt|pytest|molecule|ansible-playbook)( |$)")
# Why a block is not executed, by its document and how the block or a line of it begins.
NOT_EXECUTED = {
    ("ARCHITECTURE.md", "flowchart"): "a picture",
    ("CONTRIBUTING.md", ".venv/bin/python tests/benchmarks/report_speed.py"): "takes minutes",
    ("CONTRIBUTING.md", "RTVIRT_FUZZ_INPUTS=10000"): "takes ten minutes; test_fuzz.py runs with fewer inputs",
    ("CONTRIBUTING.md", ". .venv/bin/activate"): "needs the environment that ./rtvirt makes; tests run in theirs",
    ("CONTRIBUTING.md", "ansible-lint"): "tests/lint runs it",
    ("CONTRIBUTING.md", "chromium"): "takes a picture",
    ("CONTRIBUTING.md", ".venv/bin/python release/build.py"): "test_release.py runs it",
    ("CONTRIBUTING.md", ".venv/bin/python release/prepare.py"): "test_release.py runs it",
    ("README.md", ". .venv/bin/activate"): "needs the environment that ./rtvirt makes; tests run in theirs",
    ("README.md", "pip install"): "test_release.py installs both files",
    ("README.md", "ansible-galaxy collection install"): "test_release.py installs both files",
    ("README.md", "results/<matrix>/report/index.html"): "names of files",
    ("docs/ecu.md", "rtvirt-ecu"): "test_ecu.py runs the program",
    ("docs/example-project.md", "python3 -m venv"): "test_example_project.py installs both files",
    ("docs/example-project.md", "Host server"): "test_example_project.py writes that of its server",
    ("docs/guests.md", "ssh -F"): "needs a guest; tests/machines reach theirs by that file",
    ("docs/kernels-on-trial.md", "the play"): "a picture",
    ("docs/kernels-on-trial.md", "ssh <board>"): "needs a board; tests/machines read these files",
    ("docs/kernels.md", "gpg --export"): "needs a key of the network",
    ("docs/late-wake-ups.md", "cyclictest woke up"): "sentences",
    ("docs/late-wake-ups.md", "cd results/first"): "test_trace_dat.py has trace-cmd read such files, where it is there",
    ("docs/removing-everything.md", "pip uninstall"): "removes what runs the test",
    ("docs/removing-everything.md", "rm -r"): "removes what runs the test",
    ("docs/results-folder.md", "results/"): "names of files",
    ("docs/sealed-runs.md", "tar -xzf"): "needs an emulated machine; tests/machines/test_sealed.py runs a capsule",
    ("docs/statistics.md", "generalized"): "formulas",
    ("docs/statistics.md", "python -m"): "takes minutes; test_simulations.py runs smaller ones",
    ("docs/versions.md", ".venv/bin/python release/"): "fetches packages of several versions",
    ("docs/verdicts.md", "if rtvirt compare"): "needs two sets of results; test_result_sets.py compares some",
    ("docs/verified-downloads.md", "gpg --locate-keys"): "needs keys of the network",
    ("docs/virtual-lab.md", "ssh -F"): "needs a board; tests/machines reach theirs by that file",
    ("docs/writing-a-matrix.md", "rtvirt_board_kernels:"): "a line of an inventory",
    ("molecule/README.md", ". .venv/bin/activate"): "needs the environment that ./rtvirt makes; tests run in theirs",
    (
        "roles/cpu_isolation/README.md",
        "ansible.builtin.include_role:",
    ): "a part of a task; docs/one-role.md has the whole",
}


@dataclass(frozen=True)
class Block:
    """A block of code: its language if it says so, and its text."""

    document: str
    language: str
    text: str

    @property
    def playbook(self) -> list[Any]:
        """Its plays; empty if it is no playbook."""
        content = yaml.safe_load(self.text) if self.language == "yaml" else None
        is_playbook = isinstance(content, list) and all(isinstance(each, dict) and "hosts" in each for each in content)
        return content if is_playbook else []


def blocks(document: Path) -> Iterator[Block]:
    text = (ROOT / document).read_text()
    for language, content in re.findall(r"^ *```(\w*)\n(.*?)^ *```", text, re.MULTILINE | re.DOTALL):
        yield Block(str(document), language, textwrap.dedent(content))
    rest = re.sub(r"^ *```.*?^ *```", "", text, flags=re.MULTILINE | re.DOTALL)
    for found in re.findall(r"(?:(?<=\n\n)|\A)((?: {4,}\S.*\n(?:\n(?= {4}))?)+)", rest):
        yield Block(str(document), "", textwrap.dedent(found))


BLOCKS = [block for document in DOCUMENTS for block in blocks(document)]


def compile_c(text: str) -> None:
    command = ["gcc", "-std=gnu99", "-Wall", "-Werror", "-fsyntax-only", "-x", "c", "-"]
    subprocess.run(command, input=text, text=True, check=True)


def wrong(block: Block) -> list[str]:
    """What of a block is neither read, nor a command that another test reads, nor in the table; nothing if all is."""
    readers = {"yaml": yaml.safe_load, "json": json.loads, "python": ast.parse, "c": compile_c}
    if block.language in readers:
        readers[block.language](block.text)
        return []
    excused = tuple(begin for document, begin in NOT_EXECUTED if document == block.document)
    if block.text.lstrip().startswith(excused):
        return []
    lines = [line for line in block.text.replace("\\\n", " ").splitlines() if line.strip()]
    return [line for line in lines if not line.startswith((" ", "#", *excused)) and not PARSED.match(line)]


@pytest.mark.parametrize("document", sorted({block.document for block in BLOCKS}))
def test_every_block_is_read_or_has_a_reason(document: str) -> None:
    found = [line for block in BLOCKS if block.document == document for line in wrong(block)]
    assert not found, f"{document} has code that no test looks at:\n" + "\n".join(found)


def test_every_reason_is_that_of_a_block() -> None:
    begins = {(block.document, block.text) for block in BLOCKS}
    for document, begin in NOT_EXECUTED:
        texts = [text for where, text in begins if where == document]
        assert any(line.lstrip().startswith(begin) for text in texts for line in text.splitlines()), (document, begin)


def test_playbooks_pass_the_syntax_check_of_ansible(tmp_path: Path) -> None:
    paths = []
    for number, block in enumerate(block for block in BLOCKS if block.playbook):
        paths.append(tmp_path / f"{number}.yml")
        paths[-1].write_text(block.text)
    assert len(paths) > 10
    env = {**os.environ, "ANSIBLE_CONFIG": str(collection.ANSIBLE_CONFIG), "ANSIBLE_INVENTORY_UNPARSED_WARNING": "0"}
    command = [Path(sys.executable).parent / "ansible-playbook", "--syntax-check", "-i", "localhost,", *paths]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
