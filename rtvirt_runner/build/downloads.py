"""Fetch and verify the sources of kernels, and keep them in the cache.

A download is a file at a URL or the tree of a git commit. The SHA-256 that a file must have is that of its entry;
without one, that in a list signed with the entry's key; without one, that recorded by the operator for its URL. With
none of them, its checksum is recorded if the operator permits it, and the file is refused otherwise.

    <cache>/downloads/<sha256>/<file name>                      verified files
                      <commit>/<name>-<12 digits of commit>.tar trees of commits
                      lists/                                    signed lists, verified at each use
                      partial/                                  incomplete downloads; files are resumed
                      refused/<sha256>/<file name>              refused files, for inspection

A file in the cache is not hashed again at each use: it was renamed there after it was verified and synced to disk, and
is read-only. Who can change it nevertheless can also change this program. A download in use is leased until the run
ends (leases.py); others may be pruned (cache.py) and are fetched again when they are requested.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from rtvirt_runner.build import leases
from rtvirt_runner.build.checksums import SignedSums, look_up, record, recorded, require_keyring
from rtvirt_runner.build.process import ProgramMissing, follow, lock
from rtvirt_runner.build.transfer import (
    PROGRESS_S,
    STALL_S,
    DownloadError,
    check_url,
    last_part,
    pass_on,
    restart,
    sha256_of,
    transfer,
)
from rtvirt_runner.progress_lines import Pulse, Say

_BESIDE = {"type", "prefix"}  # keys of the kernel catalogue that do not concern fetching


# ------------------------------------------------------------------------------------------------------------- words


@dataclass(frozen=True)
class Download:
    """A file at a URL. Raises DownloadError for an invalid URL or checksum."""

    url: str
    sha256: str | None = None
    signed_sums: SignedSums | None = None

    def __post_init__(self) -> None:
        check_url(self.url)
        if self.sha256 is not None and not re.fullmatch("[0-9a-f]{64}", self.sha256):
            raise DownloadError(
                f"{self.url} has the sha256 '{self.sha256}', expected 64 hexadecimal digits in lower case; correct the "
                "entry."
            )

    @property
    def name(self) -> str:
        """The file name: the last part of the URL's path."""
        return last_part(self.url)


@dataclass(frozen=True)
class GitSource:
    """The tree of one commit. Raises DownloadError for an invalid URL or commit id."""

    url: str
    commit: str

    def __post_init__(self) -> None:
        check_url(self.url, ("https", "http", "git", "file"))
        if not re.fullmatch("[0-9a-f]{40}", self.commit):
            raise DownloadError(
                f"{self.url} has the commit '{self.commit}', expected its full id, 40 hexadecimal digits in lower case "
                "and in quotes; a branch, a tag or a short id may mean something else tomorrow."
            )

    @property
    def name(self) -> str:
        """The repository's name: the last part of the URL's path without ``.git``."""
        return last_part(self.url).removesuffix(".git")


@dataclass(frozen=True)
class Store:
    """The cache, and what downloads are verified with; ``mirror`` is a folder that is searched before the network."""

    cache: Path
    mirror: Path | None = None
    keyring: Path | None = None
    sums_file: Path | None = None
    record: bool = False

    @property
    def folder(self) -> Path:
        return self.cache / "downloads"

    def kept(self, name: str, checksum: str) -> Path:
        """Path of a verified download in the cache."""
        return self.folder / checksum / name

    def partial(self, url: str) -> Path:
        """The folder of an incomplete download."""
        return self.folder / "partial" / _label(url)

    def hold(self, kept: Path) -> bool:
        """Lease a verified download until this run ends; False if it does not exist."""
        return leases.hold(self.cache, kept.parent, kept)

    def lock(self, url: str, say: Say) -> contextlib.AbstractContextManager[None]:
        """The lock for fetching a URL."""
        return lock(self.cache / "locks" / f"{_label(url)}.lock", say)


@dataclass(frozen=True)
class _Sum:
    """An expected SHA-256, and where it comes from, for messages."""

    digits: str
    origin: str


def parse(entry: Mapping[str, object]) -> Download | GitSource:
    """Parse an entry: url with sha256 or signed_sums or neither, or url with commit. Raises DownloadError."""
    given = {key: value for key, value in entry.items() if value not in (None, "") and key not in _BESIDE}
    is_git = "commit" in given
    for key in given.keys() - ({"url", "commit"} if is_git else {"url", "sha256", "signed_sums"}):
        raise DownloadError(
            f"the download {dict(entry)} has the key '{key}', expected url with sha256 or signed_sums, or url with "
            "commit; correct the entry."
        )
    url = _text(given, "url", entry)
    if is_git:
        return GitSource(url, _text(given, "commit", entry))
    signed = given.get("signed_sums")
    if signed is not None and not isinstance(signed, Mapping):
        raise DownloadError(f"signed_sums of {url} is '{signed}', expected url and fingerprint; correct the entry.")
    return Download(
        url,
        _text(given, "sha256", entry) if "sha256" in given else None,
        SignedSums(_text(signed, "url", entry), _text(signed, "fingerprint", entry)) if signed is not None else None,
    )


def _text(values: Mapping[str, object], key: str, entry: Mapping[str, object]) -> str:
    value = values.get(key)
    if not isinstance(value, str):  # YAML reads unquoted digits as a number
        raise DownloadError(f"the download {dict(entry)} has the {key} {value!r}, expected text; write it in quotes.")
    return str(value)


def _label(url: str) -> str:
    """A readable and unique folder name for a URL."""
    return f"{last_part(url)}-{hashlib.sha256(url.encode()).hexdigest()[:16]}"


# ------------------------------------------------------------------------------------------------------------- files


def fetch(download: Download | GitSource, store: Store, say: Say) -> Path:
    """Fetch a download unless the cache has it; ``say`` gets lines of progress. Raises DownloadError."""
    if isinstance(download, GitSource):
        return fetch_git(download, store, say)
    with _plain_errors(), store.lock(download.url, say):
        expected = _expected(download, store, say)
        if expected is not None:
            kept = store.kept(download.name, expected.digits)
            if store.hold(kept):
                return kept
        file, found = _from_mirror(download, expected, store, say) or _from_network(download, expected, store, say)
        kept = _keep(file, store.kept(download.name, found), store)
        if expected is None:
            assert store.sums_file is not None  # otherwise it was refused before
            record(store.sums_file, download.url, found, say)
        return kept


def find(source: Download | GitSource, store: Store) -> Path | None:
    """The download if the cache has it, else None. Raises DownloadError if it could not be verified."""
    with _plain_errors():
        if isinstance(source, GitSource):
            kept = _tar(source, store)
            return kept if store.hold(kept) else None
        expected = _known(source, store)
        if expected is None:
            return None
        kept = store.kept(source.name, expected.digits)
        return kept if store.hold(kept) else None


def _expected(download: Download, store: Store, say: Say) -> _Sum | None:
    """The checksum that the file must have; None if it is to be recorded."""
    known = _known(download, store)
    if known is None and download.signed_sums is not None:
        return _fetch_signed_sum(download, download.signed_sums, store, say)
    return known


def _known(download: Download, store: Store) -> _Sum | None:
    """The checksum if it is known locally; None if a signed list must be fetched or the checksum recorded."""
    if download.sha256 is not None:
        return _Sum(download.sha256, "its entry")
    own = recorded(store.sums_file).get(download.url)
    by_operator = None if own is None else _Sum(own, str(store.sums_file))
    if download.signed_sums is not None:
        if store.keyring is None and by_operator is not None:
            return by_operator
        require_keyring(
            store.keyring,
            f"the list with the sum of {download.url}",
            download.signed_sums.key,
            f", or put the line '<sha256>  {download.url}' into {_sums_file_name(store)}",
        )
        return _kept_signed_sum(download, download.signed_sums, store)
    if by_operator is None and not (store.record and store.sums_file):
        raise DownloadError(
            f"nothing says which SHA-256 {download.url} must have; set kernel_build_record: true once to record the "
            f"one that it has in {_sums_file_name(store)}, or put the line '<sha256>  {download.url}' there yourself."
        )
    return by_operator


def _sums_file_name(store: Store) -> str:
    return str(store.sums_file) if store.sums_file else "the file that kernel_build_sums_file names (none so far)"


def _kept_signed_sum(download: Download, sums: SignedSums, store: Store) -> _Sum | None:
    """The checksum in the cached list; None if there is no such list, it is not accepted, or it lacks the file."""
    try:
        return _named(download, sums, store, _kept_list(sums, store))
    except DownloadError:  # not accepted with this keyring: fetch the list again and report its errors
        return None


def _fetch_signed_sum(download: Download, sums: SignedSums, store: Store, say: Say) -> _Sum:
    """The checksum in the presently published list, to which files may have been added."""
    listing = Download(sums.url)
    with store.lock(sums.url, say):
        file, found = _from_mirror(listing, None, store, say) or _from_network(listing, None, store, say)
        try:
            named = _named(download, sums, store, file)
        except DownloadError as error:
            aside = _set_aside(file, listing.name, found, store)
            raise DownloadError(f"{error} (it is kept as {aside} for a look).") from None
        _keep(file, _kept_list(sums, store), store)
    if named is None:
        raise DownloadError(
            f"the signed list {sums.url} does not name {_name_in_list(download, sums)}; correct one URL or the other, "
            "or give the entry a sha256."
        )
    return named


def _named(download: Download, sums: SignedSums, store: Store, file: Path) -> _Sum | None:
    if store.keyring is None or not file.exists():
        return None
    digits = look_up(_name_in_list(download, sums), file, sums, store.keyring)
    return None if digits is None else _Sum(digits, f"the signed list {sums.url}")


def _name_in_list(download: Download, sums: SignedSums) -> str:
    """The file's name in the list: its path relative to the list's folder."""
    folder = sums.url.rpartition("/")[0] + "/"
    return unquote(download.url.removeprefix(folder)) if download.url.startswith(folder) else download.name


def _kept_list(sums: SignedSums, store: Store) -> Path:
    return store.folder / "lists" / _label(sums.url)


def _from_mirror(download: Download, expected: _Sum | None, store: Store, say: Say) -> tuple[Path, str] | None:
    """Copy the file from the mirror; returns the copy and its SHA-256, or None if the mirror lacks it."""
    source = _mirrored(download.url, store)
    if source is None:
        return None
    say(f"{download.name}: copying {source}")
    copy = store.partial(download.url) / "copy"
    copy.parent.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256()
    with source.open("rb") as reader, copy.open("wb") as writer:
        pass_on(reader, digest.update, writer.write)
    found = digest.hexdigest()
    if expected is not None and found != expected.digits:
        copy.unlink()
        raise DownloadError(
            f"{source} in the mirror has the SHA-256 {found}, expected {expected.digits} according to "
            f"{expected.origin}; replace the file or remove it."
        )
    return copy, found


def _mirrored(url: str, store: Store) -> Path | None:
    """The file of a URL in the mirror, ``<mirror>/<host>/<path>`` or ``<mirror>/<file name>``; None if missing."""
    if store.mirror is None:
        return None
    parts = urlsplit(url)
    whole = store.mirror / (parts.hostname or "") / unquote(parts.path).lstrip("/")
    return next((path for path in (whole, store.mirror / last_part(url)) if path.is_file()), None)


def _from_network(download: Download, expected: _Sum | None, store: Store, say: Say) -> tuple[Path, str]:
    """Fetch the file, resuming an earlier attempt; returns it and its SHA-256."""
    wanted = None if expected is None else expected.digits
    partial = store.partial(download.url)
    in_pieces = transfer(download.url, wanted, partial, say)
    file = partial / "file"
    found = sha256_of(file)
    if in_pieces and wanted not in (None, found):
        say(f"{download.name}: the pieces do not fit together; fetching it in one")
        restart(partial)
        transfer(download.url, wanted, partial, say)
        found = sha256_of(file)
    if expected is not None and found != expected.digits:
        aside = _set_aside(file, download.name, found, store)
        raise DownloadError(
            f"{download.url} has the SHA-256 {found}, expected {expected.digits} according to "
            f"{expected.origin}; the file is kept as {aside} for a look, and that sum stands until you correct it."
        )
    return file, found


def _keep(file: Path, kept: Path, store: Store) -> Path:
    """Rename a verified file to its place in the cache, and lease it."""
    with file.open("rb") as handle:
        os.fsync(handle.fileno())
    file.chmod(0o444)
    partial = file.parent
    with leases.gate(store.cache):
        kept.parent.mkdir(parents=True, exist_ok=True)
        file.replace(kept)
        leases.take(store.cache, kept.parent)
    shutil.rmtree(partial)
    return kept


def _set_aside(file: Path, name: str, found: str, store: Store) -> Path:
    aside = store.folder / "refused" / found / name
    with leases.gate(store.cache):
        aside.parent.mkdir(parents=True, exist_ok=True)
        return file.replace(aside)


@contextlib.contextmanager
def _plain_errors() -> Iterator[None]:
    try:
        yield
    except ProgramMissing as error:
        raise DownloadError(str(error)) from None
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        raise DownloadError(f"the cache or the mirror cannot be used: {where}{error.strerror}.") from None


# ---------------------------------------------------------------------------------------------------------------- git

# Attributes that archive the tree as committed: no conversion of line ends or keywords, and no export rules.
_AS_COMMITTED = "* -text -ident -filter -working-tree-encoding -export-ignore -export-subst\n"
_QUIET = {"GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}
_OWN_SETTINGS_ONLY = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
_ONE_COMMIT_REFUSED = ("unadvertised object", "does not support shallow")


def fetch_git(source: GitSource, store: Store, say: Say) -> Path:
    """Fetch the tree of a commit as a reproducible tar file. Raises DownloadError.

    The commit id is the checksum: git computes the id of each object from its received content, and verifies that all
    objects reachable from the commit exist.
    """
    kept = _tar(source, store)
    with _plain_errors(), store.lock(f"{source.url}#{source.commit}", say):
        if store.hold(kept):
            return kept
        scratch = store.partial(f"{source.url}#{source.commit}")
        if scratch.exists():
            shutil.rmtree(scratch)
        repository = _Repository(scratch / "repository", source, _mirrored_repository(source, store), say)
        repository.fetch()
        return _keep(repository.archive(scratch / "tar"), kept, store)


def _tar(source: GitSource, store: Store) -> Path:
    return store.kept(f"{source.name}-{source.commit[:12]}.tar", source.commit)


def _mirrored_repository(source: GitSource, store: Store) -> Path | None:
    """The repository in the mirror that has the commit; None if there is none."""
    names = (source.name, f"{source.name}.git")
    paths = [store.mirror / name for name in names if (store.mirror / name).is_dir()] if store.mirror else []
    for path in paths:
        complaints = bytearray()
        command = ["git", "-C", str(path), "cat-file", "-e", source.commit]
        this_one = {"GIT_CEILING_DIRECTORIES": str(path.parent.resolve())}  # not a repository that contains the mirror
        code = follow(command, take_output=complaints.extend, environment={**os.environ, **_QUIET, **this_one})
        if code not in (0, 1):
            raise DownloadError(
                f"{path} in the mirror is no git repository that can be read: {_git_reason(complaints.decode())}; "
                "replace or remove it."
            )
        if code == 0:
            return path
    return None


class _Repository:
    """A temporary bare repository for one commit; without leftovers of killed runs such as locks and partial packs."""

    def __init__(self, folder: Path, source: GitSource, mirror: Path | None, say: Say) -> None:
        self._folder, self._source, self._say = folder, source, say
        self._url = source.url if mirror is None else str(mirror.absolute())
        self._git("init", "--quiet", "--bare", str(folder))
        (folder / "info").mkdir(exist_ok=True)
        (folder / "info" / "attributes").write_text(_AS_COMMITTED)

    def fetch(self) -> None:
        """Fetch the commit, without its history if the server allows that. Raises DownloadError."""
        self._say(f"{self._source.name}: fetching {self._source.commit} from {self._url}")
        try:
            self._fetch("--depth=1", self._url, self._source.commit)
        except DownloadError as error:
            if not any(words in str(error) for words in _ONE_COMMIT_REFUSED):
                raise
            self._say(f"{self._source.name}: {self._url} does not hand out one commit; fetching the whole history")
            self._fetch(self._url, "+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*")
        if self._type() != "commit":
            raise self._not_there()

    def archive(self, file: Path) -> Path:
        """Write the tree to a tar file with the commit's time as mtime, and return the file."""
        self._say(f"{self._source.name}: writing its tree")
        prefix = f"--prefix={self._source.name}-{self._source.commit[:12]}/"
        words = ["archive", "--format=tar", prefix, f"--output={file}", self._source.commit]
        self._git(f"--git-dir={self._folder}", *words, environment=_OWN_SETTINGS_ONLY)
        return file

    def _fetch(self, *what: str) -> None:
        # Abort stalled connections, and start no background maintenance.
        settings = ("http.lowSpeedLimit=1", f"http.lowSpeedTime={STALL_S}", "maintenance.auto=false", "gc.auto=0")
        words = [word for setting in settings for word in ("-c", setting)]
        self._git(*words, f"--git-dir={self._folder}", "fetch", "--progress", "--no-tags", *what)

    def _type(self) -> str:
        answer = bytearray()
        command = ["git", f"--git-dir={self._folder}", "cat-file", "-t", self._source.commit]
        follow(command, take_output=answer.extend, environment={**os.environ, **_QUIET})
        return answer.decode().strip()

    def _not_there(self) -> DownloadError:
        return DownloadError(
            f"{self._url} has no commit {self._source.commit}; correct the commit, or {self._mirror_advice('has it')}."
        )

    def _git(self, *words: str, environment: Mapping[str, str] | None = None) -> None:
        progress = _GitProgress(self._source.name, self._say)
        env = {**os.environ, **_QUIET, **(environment or {})}
        if follow(["git", *words], take_output=progress.take, tick=progress.tick, environment=env) == 0:
            return
        if "not our ref" in progress.text:
            raise self._not_there()
        raise DownloadError(
            f"git could not fetch {self._source.commit} from {self._url}: {_git_reason(progress.text)}; check the "
            f"address, the network, the proxy and the disk, or {self._mirror_advice('has the commit')}."
        )

    def _mirror_advice(self, has: str) -> str:
        return f"put a repository that {has} into the folder that kernel_build_mirror names, as {self._source.name}.git"


class _GitProgress:
    """Collects git's output and reports its last line as progress."""

    def __init__(self, name: str, say: Say) -> None:
        self._name, self._say = name, say
        self._pulse = Pulse(PROGRESS_S)
        self.text = ""

    def take(self, chunk: bytes) -> None:
        self.text = (self.text + chunk.decode(errors="replace"))[-10_000:]

    def tick(self) -> None:
        if self._pulse.due():
            self._say(f"{self._name}: {(_lines(self.text) or ['git is at work'])[-1]}")


def _git_reason(text: str) -> str:
    """The first error in git's output; later ones are more general, or advice."""
    complaints = [line for line in _lines(text) if line.startswith(("fatal:", "error:"))]
    return (
        (complaints or _lines(text) or ["it gave no reason"])[0]
        .removeprefix("fatal: ")
        .removeprefix("error: ")
        .rstrip(".")
    )


def _lines(text: str) -> list[str]:
    return [line.strip() for line in re.split("[\r\n]", text) if line.strip()]
