"""What the documents name exists: links and their headings, paths, functions, commands with their options."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from rtvirt_runner.catalogue import collection
from rtvirt_runner.cli import main as cli

ROOT = collection.ROOT
DOCUMENTS = sorted(
    path.relative_to(ROOT)
    for pattern in ("*.md", "docs/*.md", "molecule/README.md", "roles/*/README.md")
    for path in ROOT.glob(pattern)
)
MADE_BY_RUNS = {".venv", ".cache", "results"}  # may be there or not

_FENCED = re.compile(r"^ *```.*?^ *```", re.M | re.S)
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
# [file](file): `name()`, `Class.method()`
_NAMED_BEHIND = re.compile(r"\]\(([^)]+)\):\s+(`[^`]+`(?:,\s+`[^`]+`)*)")
# `NAME` of [file](file), `NAME` in [file](file)
_NAMED_BEFORE = re.compile(r"`(\w+)`\s+(?:of|in)\s+\[[^\]]*\]\(([^)]+)\)")


def without_code(text: str) -> str:
    """The text without its blocks of code, in which brackets and backticks mean something else."""
    return re.sub(r"^(?: {4,}|\t).*$", "", _FENCED.sub("", text), flags=re.M)


def spans(text: str) -> list[str]:
    """What stands in backticks in the running text, each on one line."""
    return [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", without_code(text))]


def code_lines(text: str) -> list[str]:
    """The lines of blocks of code, those that go on with a backslash joined."""
    fenced = "\n".join(block for block in _FENCED.findall(text) if block.lstrip().startswith(("```\n", "```sh")))
    indented = "\n".join(re.findall(r"^ {4,}\S.*$", _FENCED.sub("", text), re.M))
    return [line.strip() for line in f"{fenced}\n{indented}".replace("\\\n", " ").splitlines()]


def slugs(text: str) -> set[str]:
    """The anchors that GitHub gives to the headings of a document."""
    heads = re.findall(r"^#+ (.*)$", _FENCED.sub("", text), re.M)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


def broken_links(text: str, folder: Path) -> Iterator[str]:
    """Relative links whose file, or whose heading in it, does not exist; ``folder`` is where the document is."""
    for target in _LINK.findall(without_code(text)):
        if "://" in target or target.startswith("mailto:"):
            continue
        path, _, anchor = target.partition("#")
        if not (folder / path).exists():
            yield f"link to {target}"
        elif anchor and anchor not in slugs((folder / path).read_text() if path else text):
            yield f"link to {target}: there is no such heading"


def missing_paths(text: str) -> Iterator[str]:
    """Paths of the checkout, in backticks, that do not exist; ``<name>`` and ``*`` stand for anything."""
    tops = {path.name for path in ROOT.iterdir()} - MADE_BY_RUNS
    for span in spans(text):
        pattern = re.sub(r"<[^>]*>", "*", span.partition("::")[0]).rstrip("/")
        is_path = re.fullmatch(r"[\w.*-]+(?:/[\w.*-]+)+", pattern) and pattern.partition("/")[0] in tops
        if is_path and not any(ROOT.glob(pattern)):
            yield f"path {span}"


def missing_names(text: str, folder: Path) -> Iterator[str]:
    """Functions, classes and constants that a document says are in a file, and are not."""
    for target, names in _NAMED_BEHIND.findall(without_code(text)):
        file = folder / target
        for name in re.findall(r"`([^`]+)`", names):
            if not file.is_file() or name.removesuffix("()") not in defined(file):
                yield f"{name} in {target}"
    for name, target in _NAMED_BEFORE.findall(without_code(text)):
        file = folder / target.partition("#")[0]
        if file.suffix in (".py", ".sh", ".yml") and not re.search(rf"\b{name}\b", file.read_text()):
            yield f"{name} in {target}"


def defined(file: Path) -> set[str]:
    """Functions and classes of a Python file (``Class.method`` too), functions of a shell file."""
    text = file.read_text()
    if file.suffix != ".py":
        return set(re.findall(r"^\s*(\w+)\(\)", text, re.M))
    names = set()
    for node in ast.parse(text).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        if isinstance(node, ast.ClassDef):
            names |= {f"{node.name}.{inner.name}" for inner in node.body if isinstance(inner, ast.FunctionDef)}
    return names


def wrong_commands(text: str, config: pytest.Config) -> Iterator[str]:
    """Commands that their program would not take: unknown subcommands and options, files that do not exist."""
    for command, whole in [*((line, True) for line in code_lines(text)), *((span, False) for span in spans(text))]:
        if not re.match(r"(\./|\.venv/bin/)?(rtvirt|pytest|molecule|ansible-playbook) ", command):
            continue
        try:
            words = shlex.split(command, comments=True)
        except ValueError:  # it goes on in the next line
            words = command.split()
        if complaint := _complaint(words, whole, config):
            yield f"command {command}: {complaint}"


def _complaint(words: list[str], whole: bool, config: pytest.Config) -> str:
    program = words[0].rpartition("/")[2]
    if program == "rtvirt" and words[1] == "test":
        return _of_pytest(words[2:], config)
    if program == "rtvirt":
        return _of_rtvirt(words[1:], whole)
    if program == "pytest":
        return _of_pytest(words[1:], config)
    if program == "molecule":
        names = [words[n + 1] for n, word in enumerate(words[:-1]) if word == "-s"]
        return next((f"no scenario {name}" for name in names if not _is_scenario(name)), "")
    playbooks = [word for word in words if word.startswith("playbooks/")]
    return next((f"no playbook {path}" for path in playbooks if not (ROOT / path).is_file()), "")


def _is_scenario(name: str) -> bool:
    return name.isupper() or (ROOT / "molecule" / name / "molecule.yml").is_file()


def _of_rtvirt(words: list[str], whole: bool) -> str:
    """Why the parser of rtvirt refuses it. In running text the mere name of a command stands for the command."""
    args = ["matrix" if word == "COMMAND" else word for word in words]
    parser = cli._parser()
    try:
        known, unknown = parser.parse_known_args(args if whole or len(args) > 1 else [*args, "--help"])
    except SystemExit as end:
        return "" if end.code == 0 else "rtvirt does not take it"
    matrix = getattr(known, "matrix", None) or "smoke"
    if not collection.matrix_path(matrix).exists() and not matrix.endswith(".yml"):
        return f"no matrix {matrix}"
    return f"unknown {unknown}" if unknown else ""


def _of_pytest(words: list[str], config: pytest.Config) -> str:
    if "--help" in words:
        return ""
    known, unknown = config._parser.parse_known_and_unknown_args(words)
    if unknown:
        return f"unknown {unknown}"
    paths = [path.partition("::")[0] for path in known.file_or_dir if not path.isupper()]
    return next((f"no {path}" for path in paths if not (ROOT / path).exists()), "")


@pytest.mark.parametrize("document", DOCUMENTS, ids=str)
def test_what_a_document_names_exists(
    document: Path, pytestconfig: pytest.Config, capsys: pytest.CaptureFixture[str]
) -> None:
    text, folder = (ROOT / document).read_text(), (ROOT / document).parent
    wrong = [
        *broken_links(text, folder),
        *missing_paths(text),
        *missing_names(text, folder),
        *wrong_commands(text, pytestconfig),
    ]
    capsys.readouterr()  # what parsers said
    assert not wrong, f"{document} names what is not there:\n" + "\n".join(wrong)


def test_the_documents_are_looked_through_for_something(pytestconfig: pytest.Config) -> None:
    """The patterns still find what they are for."""
    architecture = (ROOT / "ARCHITECTURE.md").read_text()
    assert len(_NAMED_BEHIND.findall(architecture)) > 20
    assert {"ARCHITECTURE.md", "CONTRIBUTING.md", "README.md", "SECURITY.md", "docs/index.md"} <= set(
        map(str, DOCUMENTS)
    )
    assert any(line.startswith("./rtvirt test") for line in code_lines((ROOT / "CONTRIBUTING.md").read_text()))


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("see [it](docs/no_such_page.md)", "link to docs/no_such_page.md"),
        ("see [it](docs/cache.md#no-such-heading)", "there is no such heading"),
        ("see [it](#no-such-heading)", "there is no such heading"),
        ("in `rtvirt_runner/no_such_file.py`", "path rtvirt_runner/no_such_file.py"),
        ("in `roles/<role>/no_such_file.yml`", "path roles/<role>/no_such_file.yml"),
        ("[x](rtvirt_runner/matrix/plan.py): `no_such_function()`", "no_such_function() in"),
        ("[x](rtvirt_runner/matrix/cell.py): `Cell`, `Cell.no_such_method()`", "Cell.no_such_method() in"),
        ("`NO_SUCH_NAME` of [x](rtvirt_runner/matrix/load.py)", "NO_SUCH_NAME in"),
        ("run `./rtvirt no-such-command`", "rtvirt does not take it"),
        ("run\n\n    ./rtvirt matrix --no-such-option\n", "unknown ['--no-such-option']"),
        ("run\n\n    ./rtvirt inspect\n", "rtvirt does not take it"),
        ("run\n\n```sh\n./rtvirt plan --matrix no_such_matrix\n```\n", "no matrix no_such_matrix"),
        ("run `./rtvirt test tests/no_such_tier`", "no tests/no_such_tier"),
        ("run `pytest --no-such-option tests/unit`", "unknown ['--no-such-option']"),
        ("run `molecule test -s no_such_scenario`", "no scenario no_such_scenario"),
        ("run `ansible-playbook playbooks/no_such_playbook.yml`", "no playbook playbooks/no_such_playbook.yml"),
    ],
)
def test_what_is_not_there_is_found(text: str, complaint: str, pytestconfig: pytest.Config) -> None:
    found = [
        *broken_links(text, ROOT),
        *missing_paths(text),
        *missing_names(text, ROOT),
        *wrong_commands(text, pytestconfig),
    ]
    assert [each for each in found if complaint in each] != []
