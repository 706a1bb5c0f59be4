"""Check a kernel's final configuration against what was asked for.

Kconfig drops silently: an option whose dependencies do not hold, or that the tree does not have, is simply not there in
the end. Needs nothing but Python, so that a build script can call it:

    python3 kconfig.py TREE SOURCE_ARCH CONFIG FRAGMENT...

prints one line per option that did not come out as asked, and exits with 1 when there was one.

    python3 kconfig.py --wanted FRAGMENT...

prints what the fragments ask for, each option once, as one fragment: Kconfig itself would join the last line of one
that has no newline at its end to the first of the next, and take a remark behind a value for a part of it.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_SET = re.compile(r"(CONFIG_\w+)=(\"(?:[^\"\\]|\\.)*\"|.*?)(?:\s+#.*)?")
_UNSET = re.compile(r"#\s*(CONFIG_\w+) is not set(?:\s+#.*)?")
_ENTRY = re.compile(r"\s*(?:menu)?config\s+(\w+)\s*$")
_DEPENDS = re.compile(r"\s+depends on\s+(.*)")
_BLOCK = re.compile(r"\s*(if\s+(.+)|menu\s|endif\b|endmenu\b|choice\b|endchoice\b|comment\s|source\s|mainmenu\s)")


@dataclass(frozen=True)
class Dropped:
    """An option that did not come out as asked. Values are ``y``, ``m``, ``n``, a number or a quoted text."""

    option: str
    wanted: str
    found: str
    depends: str  # what it depends on, as the tree's Kconfig files say; '' for an option that the tree does not have
    unmet: tuple[str, ...]  # the terms among those that do not hold, such as PCI or !PREEMPT_RT
    known: bool  # whether the tree has the option at all

    def __str__(self) -> str:
        if not self.known:
            return f"{self.option}={self.wanted} (this kernel has no such option)"
        why = f"; it depends on {self.depends}" if self.depends else ""
        unmet = f", of which not met: {', '.join(self.unmet)}" if self.unmet else ""
        return f"{self.option}={self.wanted} (found {self.found}{why}{unmet})"


def read_config(text: str) -> dict[str, str]:
    """Option -> value of a .config or fragment; ``# CONFIG_X is not set`` and ``CONFIG_X=n`` are both ``n``."""
    values: dict[str, str] = {}
    for line in text.splitlines():
        if match := _SET.fullmatch(line.strip()):
            values[match[1]] = match[2]
        elif match := _UNSET.fullmatch(line.strip()):
            values[match[1]] = "n"
    return values


def wanted_options(fragments: Sequence[str]) -> dict[str, str]:
    """What fragments (their texts) ask for; the last one to name an option decides, as with merge_config."""
    wanted: dict[str, str] = {}
    for text in fragments:
        wanted |= read_config(text)
    return wanted


def dropped_options(wanted: Mapping[str, str], final: Mapping[str, str], tree: Path, arch: str) -> list[Dropped]:
    """Every option whose final value is not the one asked for, with what it depends on in that tree."""
    wrong = {option: value for option, value in wanted.items() if final.get(option, "n") != value}
    depends = _dependencies(tree, arch, {option.removeprefix("CONFIG_") for option in wrong}) if wrong else {}
    return [
        _dropped(option, value, final, depends.get(option.removeprefix("CONFIG_"))) for option, value in wrong.items()
    ]


def _dropped(option: str, wanted: str, final: Mapping[str, str], depends: str | None) -> Dropped:
    terms = dict.fromkeys(re.findall(r"(!?)\b([A-Z][A-Z0-9_]+)", depends or ""))
    unmet = tuple(no + term for no, term in terms if (final.get(f"CONFIG_{term}", "n") == "n") != bool(no))
    return Dropped(option, wanted, final.get(option, "n"), depends or "", unmet, depends is not None)


def _dependencies(tree: Path, arch: str, symbols: set[str]) -> dict[str, str]:
    """Symbol -> its ``depends on`` lines and the ``if`` blocks around it, joined by &&; of several definitions any."""
    found: dict[str, list[str]] = {}
    for symbol, depends in _definitions(tree, arch):
        if symbol in symbols:
            found.setdefault(symbol, []).append(" && ".join(depends))
    return {symbol: " or ".join(dict.fromkeys(each)) for symbol, each in found.items()}


def _definitions(tree: Path, arch: str) -> Iterator[tuple[str, list[str]]]:
    for path in sorted(tree.rglob("Kconfig*")):
        parts = path.relative_to(tree).parts
        if path.is_file() and not (parts[0] == "arch" and len(parts) > 2 and parts[1] != arch):
            yield from _definitions_in(path.read_text(errors="replace"))


def _definitions_in(text: str) -> Iterator[tuple[str, list[str]]]:
    """Each symbol that a Kconfig file defines, with what it depends on there."""
    blocks: list[str] = []  # of `if` around it; menus and choices have none
    symbol, depends = "", [""]
    for line in _without_help(text):
        if match := _ENTRY.match(line):
            if symbol:
                yield symbol, depends
            symbol, depends = match[1], [block for block in blocks if block]
        elif match := _BLOCK.match(line):
            if symbol:
                yield symbol, depends
            symbol, depends = "", []
            word = match[1].split()[0]
            if word in ("if", "menu", "choice"):
                blocks.append((match[2] or "").strip())
            elif word in ("endif", "endmenu", "endchoice") and blocks:
                blocks.pop()
        elif match := _DEPENDS.match(line):
            if symbol:
                depends.append(_grouped(match[1].strip()))
            elif blocks:  # of the menu or choice itself
                blocks[-1] = " && ".join(filter(None, [blocks[-1], _grouped(match[1].strip())]))
    if symbol:
        yield symbol, depends


def _without_help(text: str) -> Iterator[str]:
    """The lines of a Kconfig file but for help texts, which may look like anything."""
    deeper_than: int | None = None
    for line in text.replace("\\\n", " ").expandtabs().splitlines():
        indent = len(line) - len(line.lstrip())
        if deeper_than is not None and (not line.strip() or indent > deeper_than):
            continue
        deeper_than = indent if line.strip() in ("help", "---help---") else None
        if deeper_than is None:
            yield line


def _grouped(expression: str) -> str:
    one_line = " ".join(expression.split())
    return f"({one_line})" if "||" in one_line else one_line


def main(arguments: Sequence[str]) -> int:
    """The command line above."""
    if arguments[0] == "--wanted":
        for option, value in wanted_options([Path(fragment).read_text() for fragment in arguments[1:]]).items():
            print(f"# {option} is not set" if value == "n" else f"{option}={value}")
        return 0
    tree, arch, config, *fragments = arguments
    wanted = wanted_options([Path(fragment).read_text() for fragment in fragments])
    dropped = dropped_options(wanted, read_config(Path(config).read_text()), Path(tree), arch)
    for each in dropped:
        print(each)
    return 1 if dropped else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
