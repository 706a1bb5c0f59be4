"""What a download may be called, and what the operator's file of sums may hold."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from rtvirt_runner.build.checksums import SignedSums, recorded, signature_trouble
from rtvirt_runner.build.downloads import Download, GitSource, parse
from rtvirt_runner.build.transfer import Answer, DownloadError

SUM = "0123456789abcdef" * 4
COMMIT = "0123456789" * 4
KEY = "B8868C80BA62A1FFFAF5FDA9632D3A06589DA6B1"
URL = "https://cdn.kernel.org/pub/linux/kernel/v4.x/linux-4.4.6.tar.xz"


def test_entries_are_read_as_the_catalogue_writes_them() -> None:
    signed = {"url": "https://cdn.kernel.org/pub/linux/kernel/v4.x/sha256sums.asc", "fingerprint": KEY}
    assert parse({"type": "tarball", "url": URL, "sha256": SUM}) == Download(URL, SUM)
    assert parse({"url": URL, "sha256": None}) == Download(URL)
    assert parse({"url": URL, "signed_sums": signed}) == Download(URL, None, SignedSums(**signed))
    assert parse({"type": "git", "url": "https://git.example/linux.git", "commit": COMMIT}) == GitSource(
        "https://git.example/linux.git", COMMIT
    )


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        ({"sha256": SUM}, "has the url None, expected text"),
        ({"url": URL, "sha265": SUM}, "has the key 'sha265', expected url with sha256"),
        ({"url": URL, "commit": COMMIT, "sha256": SUM}, "has the key 'sha256', expected url with sha256"),
        ({"url": URL, "commit": int(COMMIT)}, "has the commit 123456789.*, expected text; write it in quotes"),
        ({"url": URL, "commit": "v4.4.6"}, "has the commit 'v4.4.6', expected its full id, 40 hexadecimal digits"),
        ({"url": URL, "sha256": SUM.upper()}, "expected 64 hexadecimal digits in lower case"),
        ({"url": URL, "signed_sums": KEY}, f"signed_sums of {URL} is '{KEY}', expected url and fingerprint"),
        ({"url": URL, "signed_sums": {"url": URL, "fingerprint": KEY[-16:]}}, "expected all 40 hexadecimal digits"),
    ],
)
def test_entries_that_cannot_be_meant_are_refused(entry: dict[str, Any], told: str) -> None:
    with pytest.raises(DownloadError, match=told) as error:
        parse(entry)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "url",
    [
        "linux.tar.xz",
        "/srv/linux.tar.xz",
        "scp://host/linux.tar.xz",
        "https:///linux.tar.xz",
        "file://host/linux.tar.xz",
        "https://host/",
        "https://host/..",
        "https://host/../../etc/passwd",
        "https://host/%2e%2e/%2e%2e/etc/passwd",
        "https://host/a b",
        "https://host/a%00b",
        "https://[host/x",
        "--output=/etc/passwd",
    ],
)
def test_addresses_that_lead_nowhere_or_elsewhere_are_refused(url: str) -> None:
    with pytest.raises(DownloadError, match="cannot be fetched, expected one that begins with https://"):
        Download(url, SUM)
    with pytest.raises(DownloadError, match="cannot be fetched, expected one that begins with https://"):
        GitSource(url, COMMIT)


def test_names_come_from_the_end_of_the_path() -> None:
    assert Download("https://host/a%20b/c%2Bd.tar?token=x#y", SUM).name == "c+d.tar"
    assert GitSource("https://host/team/linux.git/", COMMIT).name == "linux"


def test_a_fingerprint_may_be_written_as_gpg_shows_it() -> None:
    spaced = "b886 8c80 ba62 a1ff faf5  fda9 632d 3a06 589d a6b1"
    assert SignedSums(URL, spaced).key == KEY


def test_an_answer_is_that_of_the_file_and_not_of_a_redirection(tmp_path: Path) -> None:
    headers = tmp_path / "headers"
    assert Answer.read(headers) == Answer(0, None, "")
    moved = 'HTTP/1.1 302 Found\r\nETag: "moved"\r\nContent-Length: 7\r\n\r\n'
    headers.write_text(moved + 'HTTP/2 200\r\netag: "one"\r\ncontent-length: 42\r\n\r\n')
    assert Answer.read(headers) == Answer(200, 42, '"one"')
    headers.write_text(
        moved + 'HTTP/1.1 206 Partial Content\r\nETag: W/"weak"\r\n'
    )  # a weak tag may be of two versions
    assert Answer.read(headers) == Answer(206, None, "")
    headers.write_text("Content-Length: 12\r\nAccept-ranges: bytes\r\n\r\n")  # of file://
    assert Answer.read(headers) == Answer(0, 12, "")


def test_the_operators_file_is_like_that_of_sha256sum(tmp_path: Path) -> None:
    file = tmp_path / "sums"
    assert recorded(None) == recorded(file) == {}
    file.write_text(f"# kernel.org\n\n{SUM}  {URL}\n{SUM} *https://example.org/x\n")
    assert recorded(file) == {URL: SUM, "https://example.org/x": SUM}


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (f"{SUM[:-1]}  {URL}", f"line 2 has '{SUM[:-1]}  {URL}', expected one line '<sha256>  <URL>'"),
        (URL, f"line 2 has '{URL}', expected"),
        (f"{SUM[::-1]}  {URL}", "line 2 has a second sum for its URL, expected"),
    ],
)
def test_a_line_that_cannot_be_meant_is_named(tmp_path: Path, line: str, told: str) -> None:
    file = tmp_path / "sums"
    file.write_text(f"{SUM}  {URL}\n{line}\n")
    with pytest.raises(DownloadError) as error:
        recorded(file)
    assert str(error.value).startswith(f"{file}, {told}")


GOOD = f"""\
[GNUPG:] NEWSIG autosigner@example.org
[GNUPG:] KEY_CONSIDERED {KEY} 0
[GNUPG:] GOODSIG 632D3A06589DA6B1 Signer <autosigner@example.org>
[GNUPG:] VALIDSIG {KEY} 2026-01-02 1767312000 0 4 0 22 10 01 {KEY}
"""


def test_one_good_signature_with_the_key_is_wanted() -> None:
    other = "0" * 40
    assert signature_trouble(0, GOOD, KEY) == ""
    assert signature_trouble(0, GOOD.replace(f"01 {KEY}", f"01 {other}"), KEY) == ""  # it is a subkey of another
    assert (
        signature_trouble(0, GOOD.replace(f"VALIDSIG {KEY}", f"VALIDSIG {other}"), KEY) == ""
    )  # it is the primary key
    assert signature_trouble(0, GOOD, other) == f"is signed with the key {KEY}"
    for trouble in (
        signature_trouble(2, GOOD, KEY),
        signature_trouble(0, GOOD + GOOD, KEY),
        signature_trouble(0, GOOD.replace("GOODSIG", "EXPKEYSIG"), KEY),
        signature_trouble(1, "", KEY),
    ):
        assert trouble.startswith("has a signature that does not count")
