"""Compose a POSIX sh script that runs in one command on a machine under test, and parse its structured reply.

A machine under test may be a 2 MB initramfs, and starting Python on an emulated board takes 12 s. So a script is sent
on standard input over the open connection, needs only a shell, and answers with marked lines:

    @changed PHRASE            a change that the script made
    @fact NAME VALUE           a fact
    @row TABLE NAME=VALUE ...  a row of a table; the last value may hold spaces
    @file NAME ... @end NAME   a file's content
    @fail SENTENCE             the script has failed
    @after                     the facts and rows from here on were read after the cell

A login shell may print something around that (a title, a prompt, a greeting), without a line's end: a mark begins a
line of its own, and the first one is found in the middle of a line too.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field

PRELUDE = r"""
set -u
export LC_ALL=C PATH="${PATH:-/usr/bin:/bin}:/usr/local/bin:/usr/sbin:/sbin"
echo
changed() { printf '@changed %s\n' "$*"; }
fact() { printf '@fact %s %s\n' "$1" "$2"; }
fail() { printf '\n@fail %s\n' "$*"; exit 1; }
remove() {
  for path in "$@"; do
    [ -e "$path" ] || continue
    changed "removed $path"
    [ "$RTVIRT_CHECK_MODE" = yes ] || rm -rf "$path"
  done
}
file() { [ -e "$2" ] || return 0; printf '@file %s\n' "$1"; cat "$2"; printf '\n@end %s\n' "$1"; }
"""

# In braces, since the shell must have read all of it before something else reads its standard input.
_HELD = """{
exec 8<&0
hold_machine
watch_connection <&8 >/dev/null 2>&1 &
rtvirt_watch=$!
exec 8<&-
rtvirt_script </dev/null
rtvirt_status=$?
kill -s KILL "$rtvirt_watch" 2>/dev/null
printf '\\n@whole %s\\n' "$rtvirt_status"
exit 0
}
"""

# Print checksums of existing files, and the free space for each path. Needs: PATHS, each quoted.
STAT_SCRIPT = """
eval "set -- $PATHS"
sha256sum "$@" 2>/dev/null
for path in "$@"; do
  until [ -d "$path" ]; do path=${path%/*}; path=${path:-/}; done
  set -- "$@" "$path"
  shift
done
df -Pk "$@" | {
  read -r _
  while read -r _ _ _ free _ mount; do printf '@row room free_kib=%s on=%s\\n' "$free" "$mount"; done
}
"""

_MARK = re.compile(r"@(?:(?:changed|fact|row|file|fail|whole) \S|after$)")

MOST_ENTRIES = 50_000  # of a reply: lines, values of rows, and files, which count as FILE_ENTRIES
FILE_ENTRIES = 1000
MOST_LETTERS = 2000  # of the sentence of a failure


@dataclass
class Reply:
    """The reply of a script; ``output`` holds the lines without a mark."""

    changes: list[str] = field(default_factory=list)
    facts: dict[str, str] = field(default_factory=dict)
    rows: dict[str, list[dict[str, str]]] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    output: list[str] = field(default_factory=list)
    failure: str | None = None
    complete: bool = False
    after: Reply | None = None  # with the facts and rows that were read after the cell

    def as_dict(self) -> dict[str, object]:
        """Facts and tables, for JSON."""
        return {**self.facts, **self.rows}


def compose(script: str, environment: Mapping[str, str], reads_input: bool = False, hold: str = "") -> str:
    """The text for the shell. A last mark tells a complete reply from one that was cut off.

    It is the shell's standard input, unless the script reads that itself (``reads_input``). With ``hold``, the
    functions of hold_machine.sh, the script holds the machine, and ends when the shell's standard input does.
    """
    assignments = "".join(f"{name}={shlex.quote(value)}\n" for name, value in environment.items())
    # In a function and a subshell: the shell must have read the whole script before a command can read standard input.
    source = "" if reads_input else " </dev/null"
    text = f"{PRELUDE}{assignments}{hold}rtvirt_script() (\n{script}\n)\n"
    if not hold:
        return f"{text}rtvirt_script{source}\nprintf '\\n@whole %s\\n' $?\n"
    return text + _HELD


def parse(stdout: str) -> Reply:
    """Parse the marked lines of a reply; ``complete`` is False when the last mark is missing.

    Bytes that are no UTF-8, lone surrogates in Ansible's texts, become escapes. What follows more than MOST_ENTRIES is
    dropped, and the script counts as failed: each entry takes a hundred times the memory of its line.
    """
    reply = Reply()
    text = stdout.encode(errors="backslashreplace").decode().replace("\r\n", "\n") + "\n"
    told = reply
    position = entries = 0
    marked = False
    while position < len(text) and entries <= MOST_ENTRIES:
        end = text.index("\n", position)
        line, position = text[position:end], end + 1
        if not marked and (noise := _MARK.search(line)):
            marked, line = True, line[noise.start() :]
        mark, _, rest = line.partition(" ")
        if mark == "@whole":
            reply.complete = True
            if rest != "0" and reply.failure is None:
                reply.failure = f"the script ended with status {_shortened(rest)}"
            continue
        entries += 1
        if mark == "@changed":
            reply.changes.append(rest)
        elif mark == "@fact":
            name, _, value = rest.partition(" ")
            told.facts[name] = value.strip()
        elif mark == "@row":
            entries += rest.count(" ")
            table, _, values = rest.partition(" ")
            told.rows.setdefault(table, []).append(_row(values))
        elif mark == "@file":
            entries += FILE_ENTRIES
            closing = f"\n@end {rest}\n"
            found = text.find(closing, end)
            if found >= 0:
                reply.files[rest] = text[position:found].rstrip("\n") + "\n"
            position = found + len(closing) if found >= 0 else len(text)
        elif mark == "@fail":
            reply.failure = _shortened(rest)
        elif line == "@after":
            told = reply.after = Reply()
        elif line.strip():
            reply.output.append(line)
    if entries > MOST_ENTRIES:
        reply.failure, reply.complete = f"the answer has more than {MOST_ENTRIES:,} entries", False
    return reply


def _shortened(sentence: str) -> str:
    return sentence if len(sentence) <= MOST_LETTERS else f"{sentence[:MOST_LETTERS]} ..."


def _row(text: str) -> dict[str, str]:
    """``a=1 b=x y`` -> {a: '1', b: 'x y'}: a word without ``=`` belongs to the value before it."""
    row: dict[str, str] = {}
    last = ""
    for word in text.split(" "):
        name, separator, value = word.partition("=")
        if separator and name.isidentifier():
            row[name] = value
            last = name
        elif last:
            row[last] = f"{row[last]} {word}".strip()
    return row


def missing_room(sizes: Mapping[str, int], room: Mapping[str, Mapping[str, str]]) -> str:
    """Why files (path -> bytes) do not fit into the free space (by path) that STAT_SCRIPT found; '' if they do."""
    needed_kib: dict[str, int] = {}
    for path in (path for path in sizes if path in room):
        mount, free = room[path].get("on", ""), room[path].get("free_kib", "")
        free_kib = int(free) if re.fullmatch("[0-9]{1,18}", free) else 0
        needed_kib[mount] = needed_kib.get(mount, 0) + sizes[path] // 1024 + 1
        if needed_kib[mount] > free_kib:
            return (
                f"There is no room for {path}: its file system, {mount}, has {free_kib} KiB left, "
                f"expected {needed_kib[mount]} or more; make room there."
            )
    return ""
