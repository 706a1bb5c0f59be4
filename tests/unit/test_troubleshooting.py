"""Each message that docs/troubleshooting.md explains exists in the code."""

import re
from pathlib import Path

import pytest

from rtvirt_runner.catalogue import collection

PAGE = (collection.ROOT / "docs" / "troubleshooting.md").read_text()
MESSAGES = re.findall(r"^\| `([^`]+)` \|", PAGE, re.MULTILINE)
SOURCES = [
    path
    for folder in ("rtvirt_runner", "plugins", "roles", "playbooks")
    for path in (collection.ROOT / folder).rglob("*")
    if path.suffix in (".py", ".sh", ".yml")
]


def joined(text: str) -> str:
    """A source in which messages that go on in the next line are in one piece."""
    text = re.sub(r'"\n\s+f?"', "", text)
    return re.sub(r"\s+", " ", text.replace("\\\n", " ").replace('" "', " "))


TEXTS: dict[Path, str] = {path: joined(path.read_text()) for path in SOURCES}


def has(text: str, message: str) -> bool:
    """Whether the parts between the dots follow each other somewhere in a text, with something short between them."""
    parts = [re.escape(part.strip()) for part in message.split("...") if part.strip()]
    return re.search(".{0,200}?".join(parts), text) is not None


@pytest.mark.parametrize("message", MESSAGES)
def test_a_message_exists(message: str) -> None:
    assert len(max(message.split("..."), key=len)) >= 10, "too short to be found by"
    assert any(has(text, message) for text in TEXTS.values())


def test_the_page_has_messages_and_others_are_not_found() -> None:
    assert len(MESSAGES) > 20
    assert not any(has(text, "there is no matrix '...', expected a miracle") for text in TEXTS.values())
