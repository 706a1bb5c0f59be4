"""Text from anywhere, made safe to show: nothing in it controls a terminal, a spreadsheet or the order of a line."""

from __future__ import annotations

import re
import unicodedata

# What a spreadsheet takes for the beginning of a formula, also after spaces and in their full-width forms
# (OWASP, "CSV Injection").
_FORMULA = re.compile(r"\s*[=+\-@\uff1d\uff0b\uff0d\uff20]")
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?")


def printable(text: str, keep: str = "") -> str:
    r"""The text with each character that is not shown as itself written as an escape, such as ``\x1b`` or ``\u202e``.

    These are controls, those that change the direction of text or have no width, line separators other than those in
    ``keep``, and lone surrogates, which no encoding can write. Applied twice it gives the same.
    """
    if text.isprintable():
        return text
    return "".join(each if each in keep or _is_shown(each) else _escape(each) for each in text)


def spreadsheet_text(text: str) -> str:
    """The text as a spreadsheet must get it to show it: printable, and after ``'`` where it would be a formula."""
    text = printable(text)
    return f"'{text}" if _FORMULA.match(text) and not _NUMBER.fullmatch(text) else text


def _is_shown(character: str) -> bool:
    return character.isprintable() or unicodedata.category(character) == "Zs"  # a space of another width


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")
