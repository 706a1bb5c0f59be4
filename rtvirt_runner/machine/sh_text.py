"""Remove comments, indentation and empty lines from POSIX sh scripts."""

from __future__ import annotations

import re

_HEREDOC = re.compile(r"<<(-?)\s*(['\"]?)(\w+)\2")
_BEFORE_COMMENT = " \t;&|()"


def stripped(script: str) -> str:
    """The script without comments, empty lines and indentation.

    Quoted text, also nested by ``"$( )"``, lines continued by a backslash, and here-documents are unchanged.
    The grammar is that of POSIX, chapter 2 of XCU; backquotes are not parsed.
    """
    kept: list[str] = []
    documents: list[tuple[str, bool]] = []  # pending here-documents: delimiter, whether tabs are stripped
    quotes: list[str] = []  # open quotes, innermost last: ' or ", or ( for a command substitution within double quotes
    continued = False
    for line in script.split("\n"):
        if documents:
            kept.append(line)
            end, tabs = documents[0]
            if (line.lstrip("\t") if tabs else line) == end:
                documents.pop(0)
            continue
        whole = bool(quotes) or continued
        text = line if whole else line.lstrip(" \t")
        text, found = _without_comment(text, quotes)
        documents += found
        continued = not quotes and text.endswith("\\") and not text.endswith("\\\\")
        if not quotes and not continued:
            text = text.rstrip(" \t") if not text.endswith("\\ ") else text
        if text or whole:
            kept.append(text)
    return "\n".join(kept) + "\n"


def _without_comment(text: str, quotes: list[str]) -> tuple[str, list[tuple[str, bool]]]:
    """A line without its comment, and the here-documents that it begins; updates ``quotes`` for the next line."""
    documents: list[tuple[str, bool]] = []
    at = 0
    while at < len(text):
        letter, inside = text[at], quotes[-1] if quotes else ""
        if inside == "'":
            if letter == "'":
                quotes.pop()
        elif letter == "\\":
            at += 1
        elif inside == '"':
            if letter == '"':
                quotes.pop()
            elif text.startswith("$(", at) and not text.startswith("$((", at):
                quotes.append("(")
                at += 1
        elif letter in "'\"":
            quotes.append(letter)
        elif letter == "#" and (at == 0 or text[at - 1] in _BEFORE_COMMENT):
            return text[:at], documents
        elif inside == "(" and letter == "(":
            quotes.append("(")
        elif inside == "(" and letter == ")":
            quotes.pop()
        elif match := _HEREDOC.match(text, at):
            documents.append((match[3], bool(match[1])))
            at = match.end() - 1
        at += 1
    return text, documents
