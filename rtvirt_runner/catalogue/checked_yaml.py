"""Read and validate YAML files; every error is one sentence (InputError)."""

from __future__ import annotations

import difflib
import os
import re
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import Any, cast

import yaml

from rtvirt_runner.printable import printable

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,99}")  # names become folder names
_UNUSABLE = re.compile("[\0\ud800-\udfff]")
_MOST_BYTES = 256 << 10  # of a file; ordinary ones have 10 KiB, and PyYAML reads some 200 KiB in a second
_MOST_LEVELS = 50  # of nesting, aliases followed; ordinary files have ten
_MOST_NODES = 50_000  # keys and values, each alias counted with its content


class InputError(ValueError):
    """Invalid input; the message is one sentence: what, where, what was expected, what to do."""


class _StrictLoader(yaml.SafeLoader):
    """A safe loader that refuses duplicate keys, of which the second would silently replace the first.

    It also refuses documents that would exhaust stack or memory when loaded or traversed: deep nesting, recursive
    aliases, and aliases of aliases that expand to very many values.
    """

    def __init__(self, stream: str) -> None:
        super().__init__(stream)
        self._checked: set[int] = set()
        self._path: list[str] = []  # keys above the node being composed, '' for an item of a list
        self._unfinished: set[str] = set()  # anchors of the nodes that are being composed
        self._sizes: dict[int, tuple[int, int]] = {}  # id of a node -> its nodes and levels, aliases followed

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """Compose a node and check its size; raises ComposerError."""
        event = self.peek_event()  # type: ignore[no-untyped-call]  # PyYAML has no types for it
        anchor = event.anchor or ""
        is_key = isinstance(parent, yaml.MappingNode) and index is None
        if is_key and not isinstance(event, yaml.ScalarEvent):
            raise self._refusal(
                "braces, brackets or an alias stand where a key is expected ('{{ }}' is not filled in)", event
            )
        self._path.append(index.value if isinstance(index, yaml.ScalarNode) else "")
        if isinstance(event, yaml.AliasEvent) and anchor in self._unfinished:
            raise self._refusal(f"the alias '*{anchor}' stands inside what it names", event)
        if len(self._path) > _MOST_LEVELS:
            raise self._refusal(f"it is nested more than {_MOST_LEVELS} levels deep", event)
        self._unfinished.add(anchor)
        node = super().compose_node(parent, index)
        self._unfinished.discard(anchor)
        if node is not None and id(node) not in self._sizes:
            sizes = [self._sizes[id(child)] for child in _children(node)]
            nodes, levels = 1 + sum(size[0] for size in sizes), 1 + max((size[1] for size in sizes), default=0)
            if levels > _MOST_LEVELS:
                raise self._refusal(f"its aliases nest more than {_MOST_LEVELS} levels deep", event)
            if nodes > _MOST_NODES:
                raise self._refusal(f"it comes to more than {_MOST_NODES} values, aliases followed", event)
            self._sizes[id(node)] = nodes, levels
        self._path.pop()
        return node

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        """Construct a value; raises ConstructorError, also for one that Python cannot represent, such as 2024-13-45.

        PyYAML raises others for a value that does not fit its own tag, such as '!!bool x' or '!!int ""'.
        """
        try:
            return super().construct_object(node, deep)
        except ValueError as error:
            raise yaml.constructor.ConstructorError(None, None, str(error), node.start_mark) from error
        except (ArithmeticError, AttributeError, LookupError, TypeError) as error:
            problem = f"{format_value(node.value)} does not fit its tag"
            raise yaml.constructor.ConstructorError(None, None, problem, node.start_mark) from error

    def _refusal(self, problem: str, event: Any) -> yaml.MarkedYAMLError:
        """An error about a node, with the innermost key above it."""
        keys = [key for key in self._path if key]
        about = f"key '{keys[-1]}': " if keys else ""
        return yaml.composer.ComposerError(None, None, f"{about}{problem}", event.start_mark)

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """Check a mapping before '<<' is merged into it: its own keys may override merged ones."""
        if id(node) not in self._checked:  # a merged mapping holds both, and chains of '<<' visit it again
            self._checked.add(id(node))
            self._refuse_duplicates(node)
        super().flatten_mapping(node)

    def _refuse_duplicates(self, node: yaml.MappingNode) -> None:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node) if key_node.tag != "tag:yaml.org,2002:merge" else "<<"
            if key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"key {format_value(key)} is given twice", key_node.start_mark
                )
            seen.add(key)


def _children(node: yaml.Node) -> Iterator[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        for pair in node.value:
            yield from pair
    elif isinstance(node, yaml.SequenceNode):
        yield from node.value


def load_yaml(path: Path) -> Any:
    """Read one YAML file; raises InputError with the line of the error."""
    try:
        text = _read_file(path)
    except (OSError, ValueError) as error:
        reason = str(error)
        if isinstance(error, OSError):
            reason = error.strerror or reason
        elif isinstance(error, UnicodeDecodeError):
            reason = "it is not UTF-8 text"
        raise InputError(f"{path}: cannot be read ({reason}), expected a YAML file; check the path.") from error
    try:
        return yaml.load(text, Loader=_StrictLoader)  # a SafeLoader
    except yaml.MarkedYAMLError as error:
        line = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        raise InputError(
            f"{path}: {line}{error.problem}, expected plain YAML with each key once; correct it."
        ) from error
    except yaml.YAMLError as error:
        raise InputError(f"{path}: {' '.join(str(error).split())}, expected valid YAML; correct it.") from error


def _read_file(path: Path) -> str:
    """The text of a regular file of limited size; a pipe is refused, not waited for. Raises OSError, ValueError."""
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise ValueError("it is no regular file")
        content = file.read(_MOST_BYTES + 1)
    if len(content) > _MOST_BYTES:
        raise ValueError(f"it has more than {_MOST_BYTES >> 10} KiB")
    return content.decode()


def section(document: Any, key: str, where: str) -> dict[str, Any]:
    """The non-empty mapping under a file's one top-level key; raises InputError."""
    if document is None:
        raise InputError(f"{where}: is empty, expected everything under the key '{key}'; fill it.")
    document = mapping(document, where)
    if key not in document:
        raise InputError(f"{where}: has no key '{key}' at the top, expected everything under it; add it.")
    known_keys(document, (key,), where)
    return require_nonempty(document[key], f"{where}: {key}")


def mapping(value: Any, where: str) -> dict[str, Any]:
    """The value if it is a mapping; raises InputError otherwise."""
    if not isinstance(value, dict):
        raise InputError(f"{where} is {format_value(value)}, expected keys with values; see docs/writing-a-matrix.md.")
    return value


def require_nonempty(value: Any, where: str) -> dict[str, Any]:
    """The value if it is a mapping with one key or more; raises InputError otherwise."""
    if not mapping(value, where):
        raise InputError(f"{where} is empty, expected one entry or more; fill it.")
    return cast(dict[str, Any], value)


def numbered(value: Any, where: str) -> list[tuple[Any, str]]:
    """The items of a list, each with its place for messages, counted from 1; raises InputError if it is no list."""
    if not isinstance(value, list):
        raise InputError(f"{where} is {format_value(value)}, expected a list of points; begin each with '- '.")
    return [(each, f"{where}[{number}]") for number, each in enumerate(value, 1)]


def known_keys(
    body: Mapping[str, Any], allowed: Sequence[str], where: str, renamed: Mapping[str, str] | None = None
) -> None:
    """Raise InputError for an unknown key; ``renamed`` maps former names of keys to their present ones."""
    for key in body:
        if renamed and key in renamed:
            raise InputError(f"{where}: key '{key}' is called '{renamed[key]}' now, expected that name; rename it.")
        known(key, allowed, "key", where)


def known(value: Any, allowed: Sequence[str], what: str, where: str) -> None:
    """Raise InputError for a value that is not allowed, with the closest allowed one."""
    if isinstance(value, str) and value in allowed:
        return
    close = difflib.get_close_matches(str(value), allowed, n=1)
    advice = f"did you mean '{close[0]}'?" if close else "correct it."
    raise InputError(
        f"{where}: unknown {what} {format_value(value)}, expected one of {', '.join(dict.fromkeys(allowed))}; {advice}"
    )


def name(value: Any, where: str) -> str:
    """The value if it can name a folder; raises InputError otherwise."""
    if isinstance(value, str) and NAME.fullmatch(value):
        return value
    raise InputError(
        f"{where}: {format_value(value)} is not a name, "
        "expected letters, digits and '.', '_', '+', '-', 100 at most (quote numbers and dates)."
    )


def text(value: Any, where: str) -> str:
    """The value if it is text that files and command lines can hold; raises InputError otherwise."""
    if isinstance(value, str):
        if _UNUSABLE.search(value):
            raise InputError(f"{where} has a NUL or half a character of UTF-16, expected text; take it out.")
        return value
    raise InputError(f"{where} is {format_value(value)}, expected text; put it in quotes.")


def require_int(value: Any, limits: tuple[int, int], where: str) -> int:
    """The value if it is a whole number within limits, both included; raises InputError otherwise."""
    if is_int(value) and limits[0] <= value <= limits[1]:
        return int(value)
    raise InputError(
        f"{where} is {format_value(value)}, expected a whole number from {limits[0]} to {limits[1]}; correct it."
    )


def exact_fields(values: Any, kind: type, what: str) -> dict[str, Any]:
    """The values if their keys are exactly the fields of a dataclass; raises InputError otherwise."""
    given = mapping(values, what)
    if given.keys() != (names := _fields(kind).keys()):
        wrong = sorted(names ^ given.keys())
        raise InputError(
            f"{what} has missing or unknown fields: {', '.join(wrong)}; was it written by another version?"
        )
    return given


_KINDS: dict[str, tuple[str, Callable[[Any], bool]]] = {  # by a field's annotation
    "str": ("text", lambda value: isinstance(value, str)),
    "int": ("a whole number from 0 to 2147483647", lambda value: is_int(value) and 0 <= value < 1 << 31),
    "bool": ("true or false", lambda value: isinstance(value, bool)),
    "tuple[str, ...]": (
        "a list of text",
        lambda value: isinstance(value, list) and all(isinstance(each, str) for each in value),
    ),
    "Mapping[str, Any]": ("keys with values", lambda value: isinstance(value, dict)),
}


def typed_fields(values: Any, kind: type, what: str) -> dict[str, Any]:
    """As exact_fields, and each value of its field's type, tuples as lists; raises InputError otherwise."""
    given = exact_fields(values, kind, what)
    for field, (expected, fits) in _fields(kind).items():
        if not fits(given[field]):
            raise InputError(f"{what}: {field} is {format_value(given[field])}, expected {expected}.")
    return given


@cache
def _fields(kind: type) -> dict[str, tuple[str, Callable[[Any], bool]]]:
    """Field of a dataclass -> what is expected there, and whether a value is that."""
    return {item.name: _KINDS.get(str(item.type), ("", lambda _: True)) for item in fields(kind)}


def require_bool(value: Any, where: str) -> bool:
    """The value if it is true or false; raises InputError otherwise."""
    if isinstance(value, bool):
        return value
    raise InputError(f"{where} is {format_value(value)}, expected true or false.")


def is_int(value: Any) -> bool:
    """Whether a value is a whole number; YAML's true and false are not."""
    return isinstance(value, int) and not isinstance(value, bool)


def format_value(value: Any) -> str:
    """A value as shown in messages: printable, on one line, at most 80 characters."""
    if value is None:
        return "missing"
    try:
        text = printable(f"'{value}'" if isinstance(value, str) else str(value))
    except ValueError:  # Python writes no number of more than 4300 digits
        return "a number of thousands of digits"
    return text if len(text) <= 80 else f"{text[:77]}..."
