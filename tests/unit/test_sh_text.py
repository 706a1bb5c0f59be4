"""What is taken out of a script does not run: bash, which parses it, finds the same commands."""

import subprocess
from pathlib import Path

import pytest

from rtvirt_runner.catalogue import collection
from rtvirt_runner.machine import script_reply
from rtvirt_runner.machine.sh_text import stripped

SCRIPTS = sorted(collection.ROOT.glob("roles/*/files/*.sh"))


def parsed(script: str) -> str:
    """The commands of a script as bash has understood them, without comments and empty lines."""
    done = subprocess.run(["bash", "--pretty-print"], input=script, capture_output=True, text=True, check=True)
    return "\n".join(line for line in done.stdout.splitlines() if line.strip())


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: f"{path.parent.parent.name}/{path.stem}")
def test_scripts_of_the_roles_are_the_same_commands(path: Path) -> None:
    text = path.read_text()
    short = stripped(text)
    assert parsed(short) == parsed(text)
    assert "shellcheck" not in short
    assert stripped(short) == short
    assert len(short) < len(text)


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("# all\necho a  # end\n\n  echo b\n", "echo a\necho b\n"),
        ("echo 'a # b'\necho \"c # d\"\n", "echo 'a # b'\necho \"c # d\"\n"),
        ('echo "$(grep "# x" file)" # end\n', 'echo "$(grep "# x" file)"\n'),
        ("echo ${a#b} $# $((1 # 2))\n", "echo ${a#b} $# $((1\n"),
        ("echo a\\\n  b # c\n", "echo a\\\n  b\n"),
        ("cat <<END # of it\n  # kept\nEND\n  echo x\n", "cat <<END\n  # kept\nEND\necho x\n"),
        ("cat <<-'END'\n\t# kept\n\tEND\n", "cat <<-'END'\n\t# kept\n\tEND\n"),
        ("echo 'a\n  # kept\n'\n", "echo 'a\n  # kept\n'\n"),
        ("case x in *\\#*) ;; esac\n", "case x in *\\#*) ;; esac\n"),
    ],
)
def test_only_comments_indentation_and_empty_lines_go(script: str, expected: str) -> None:
    assert stripped(script) == expected


def test_a_comment_changes_nothing_of_what_a_machine_is_given() -> None:
    text = next(path for path in SCRIPTS if path.name == "measure_cell.sh").read_text()
    changed = text.replace("\n[ -z", "\n  # something else\n[ -z", 1)
    assert changed != text
    assert script_reply.compose(stripped(changed), {}) == script_reply.compose(stripped(text), {})
