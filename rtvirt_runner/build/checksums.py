"""Expected SHA-256 checksums of downloads: signed lists, and the operator's record."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from rtvirt_runner.build.process import follow, lock
from rtvirt_runner.build.transfer import DownloadError, check_url, last_part
from rtvirt_runner.progress_lines import Say


@dataclass(frozen=True)
class SignedSums:
    """A clear-signed list of checksums (lines ``<sha256>  <name>``) and the fingerprint of the key that signs it."""

    url: str
    fingerprint: str

    def __post_init__(self) -> None:
        check_url(self.url)
        if not re.fullmatch("[0-9A-F]{40}", self.key):
            raise DownloadError(
                f"signed_sums of {self.url} has the fingerprint '{self.fingerprint}', expected all 40 hexadecimal "
                "digits of one key; gpg --fingerprint shows them."
            )

    @property
    def key(self) -> str:
        """The fingerprint in the form of gpg's machine-readable output: upper case, no spaces."""
        return self.fingerprint.replace(" ", "").upper()


def require_keyring(keyring: Path | None, what: str, key: str, otherwise: str = "") -> Path:
    """The keyring of the operator's, which must be there and one that gpgv reads. Raises DownloadError.

    ``what`` says what the key with the fingerprint ``key`` signs, ``otherwise`` what also helps if there is no keyring.
    """
    if keyring is None:
        raise DownloadError(
            f"{what} is signed with the key {key}, and there is no keyring to verify that with; let "
            f"kernel_build_keyring name a file that 'gpg --export {key}' wrote, from where you trust that "
            f"key{otherwise}."
        )
    if not keyring.is_file() or keyring.read_bytes().startswith(b"-----BEGIN"):
        raise DownloadError(
            f"the keyring {keyring} is not a file that gpgv reads, expected one that 'gpg --export {key}' wrote, "
            "without --armor; let kernel_build_keyring name it."
        )
    return keyring


def look_up(name: str, file: Path, sums: SignedSums, keyring: Path) -> str | None:
    """The SHA-256 of a name in a signed list; None if it is not listed. Raises DownloadError for a bad signature."""
    for line in _signed_text(file, sums, keyring).splitlines():
        match = re.fullmatch(r"([0-9a-f]{64}) [ *](?:\./)?(.+)", line.rstrip())
        if match and match[2] == name:
            return match[1]
    return None


def _signed_text(file: Path, sums: SignedSums, keyring: Path) -> str:
    """The signed text only, as output by gpgv. Raises DownloadError for a bad signature."""
    status = bytearray()
    with tempfile.TemporaryDirectory(prefix="rtvirt-gpgv-") as scratch:
        text = Path(scratch, "text")
        command = ["gpgv", "--homedir", scratch, "--keyring", str(keyring.absolute()), "--status-fd", "1"]
        words = [*command, "--output", str(text), str(file)]
        code = follow(words, take_output=status.extend, take_errors=lambda _: None)
        trouble = signature_trouble(code, status.decode(errors="replace"), sums.key)
        if trouble:
            raise DownloadError(
                f"the list {sums.url} {trouble}, expected one good signature with the key {sums.key} and that key in "
                f"{keyring}; correct the fingerprint or the keyring, and if both are right do not trust the list"
            )
        return text.read_text(errors="replace")


def signature_trouble(code: int, status: str, key: str) -> str:
    """Why a signature is not accepted, a clause; empty if it is accepted.

    ``status`` is what gpgv wrote to its status file descriptor, ``code`` its exit code, ``key`` a fingerprint.
    """
    said = [line.split()[1:] for line in status.splitlines() if line.startswith("[GNUPG:] ")]
    first = {words[0]: words for words in reversed(said)}
    # VALIDSIG has the fingerprint of the signing key first and that of its primary key last: either may be published.
    signers = [{words[1], words[-1]} for words in said if words[0] == "VALIDSIG"]
    if code == 0 and "GOODSIG" in first and len(signers) == 1 and key in signers[0]:
        return ""
    if "BADSIG" in first:
        return "was changed after it was signed"
    if "VALIDSIG" in first and key not in signers[0]:
        return f"is signed with the key {first['VALIDSIG'][-1]}"
    if "NO_PUBKEY" in first:
        return f"is signed with the key {first['NO_PUBKEY'][1]}"
    if "NODATA" in first:
        return "is not signed"
    return "has a signature that does not count (of an expired or revoked key, or one of several)"


def recorded(file: Path | None) -> dict[str, str]:
    """URL -> SHA-256 from the operator's file. Raises DownloadError for an invalid line."""
    if file is None or not file.exists():
        return {}
    sums: dict[str, str] = {}
    for number, line in enumerate(file.read_text().splitlines(), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        match = re.fullmatch(r"([0-9a-f]{64}) [ *](\S+)", line.rstrip())
        if not match or sums.setdefault(match[2], match[1]) != match[1]:
            what = "a second sum for its URL" if match else f"'{line}'"
            raise DownloadError(
                f"{file}, line {number} has {what}, expected one line '<sha256>  <URL>' for each URL; correct or "
                "remove the line."
            )
    return sums


def record(file: Path, url: str, found: str, say: Say) -> None:
    """Add a line to the operator's file atomically. Raises DownloadError if it has another checksum for the URL."""
    file = file.resolve()  # a symbolic link is kept
    file.parent.mkdir(parents=True, exist_ok=True)
    # The lock is next to the file and not in the cache: runs with different caches may share the file.
    with lock(file.with_name(f".{file.name}.lock"), say):
        known = recorded(file).get(url)
        if known == found:
            return
        if known is not None:
            raise DownloadError(
                f"{url} has the SHA-256 {found}, and another run has just recorded {known} in {file}; find out which "
                "is right, and correct the line."
            )
        lines = file.read_text().splitlines() if file.exists() else []
        partial = file.with_name(f".{file.name}.partial")
        with partial.open("w") as handle:
            handle.writelines(f"{line}\n" for line in [*lines, f"{found}  {url}"])
            handle.flush()
            os.fsync(handle.fileno())
        if file.exists():
            shutil.copymode(file, partial)
        partial.replace(file)
    say(f"{last_part(url)}: recorded its SHA-256 {found} in {file}")
