"""Fetching from a real server, with real signatures, through connections that break and processes that are killed."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from web import Web, serving

from rtvirt_runner.build import checksums, transfer
from rtvirt_runner.build.checksums import SignedSums
from rtvirt_runner.build.downloads import Download, Store, fetch, find
from rtvirt_runner.build.transfer import DownloadError

SIZE = 3_000_000
CONTENT = hashlib.shake_256(b"one").digest(SIZE)
OTHER = hashlib.shake_256(b"two").digest(SIZE)
PATH = "/pub/linux-4.4.tar.xz"
FETCHER = """\
import sys
from pathlib import Path
from rtvirt_runner.build.downloads import Download, Store, fetch
url, sha256, cache, sums_file = sys.argv[1:]
fetch(Download(url, sha256 or None), Store(Path(cache), sums_file=Path(sums_file), record=True), print)
"""


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def quiet(text: str) -> None:
    """Nobody listens."""


@pytest.fixture
def web() -> Iterator[Web]:
    with serving(Web(files={PATH: CONTENT})) as web:
        yield web


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "cache", sums_file=tmp_path / "sums")


@pytest.fixture
def recording(store: Store) -> Store:
    return dataclasses.replace(store, record=True)


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer, "PAUSE_S", 0)


# ------------------------------------------------------------------------------------------------------- the transfer


def test_a_file_is_fetched_once_and_kept_under_its_sum(web: Web, store: Store) -> None:
    download = Download(web.url(PATH), sha256(CONTENT))
    assert find(download, store) is None
    path = fetch(download, store, quiet)
    assert path == store.cache / "downloads" / sha256(CONTENT) / "linux-4.4.tar.xz"
    assert path.read_bytes() == CONTENT
    assert fetch(download, store, quiet) == path == find(download, store)
    assert web.sent == [SIZE]
    assert list((store.folder / "partial").iterdir()) == []


def test_a_cut_connection_goes_on_where_it_was_cut(web: Web, store: Store) -> None:
    web.cuts = [1_000_000, 500_000, 400_000, 300_000, 200_000]
    said: list[str] = []
    path = fetch(Download(web.url(PATH), sha256(CONTENT)), store, said.append)
    assert path.read_bytes() == CONTENT
    assert web.sent == [1_000_000, 500_000, 400_000, 300_000, 200_000, 600_000]
    assert [line.split()[1] for line in said] == ["fetching", *["going"] * 5]


def test_a_connection_that_is_always_cut_at_one_place_is_given_up(web: Web, recording: Store) -> None:
    web.cuts, web.tags = [1_000_000] * 10, False
    with pytest.raises(DownloadError, match="cannot be fetched: transfer closed with 2000000 bytes remaining to read;"):
        fetch(Download(web.url(PATH)), recording, quiet)
    assert web.sent == [1_000_000] * (1 + transfer.ATTEMPTS)


@pytest.mark.parametrize("known", [sha256(CONTENT), None], ids=["with a sum", "recording"])
def test_a_killed_download_goes_on_where_it_was_killed(web: Web, recording: Store, known: str | None) -> None:
    download = Download(web.url(PATH), known)
    kill_half_way(web, download, recording)
    assert fetch(download, recording, quiet).read_bytes() == CONTENT
    assert web.sent == [1_000_000, SIZE - 1_000_000]  # no byte twice


def kill_half_way(web: Web, download: Download, store: Store) -> None:
    """Leave behind what a download leaves that is killed after a million bytes."""
    web.cuts, web.gate = [1_000_000], threading.Event()
    arguments = [download.url, download.sha256 or "", str(store.cache), str(store.sums_file)]
    process = subprocess.Popen([sys.executable, "-c", FETCHER, *arguments], stdout=subprocess.DEVNULL)
    partial = store.partial(download.url) / "file"
    wait_until(lambda: partial.exists() and partial.stat().st_size == 1_000_000)
    process.kill()
    process.wait()
    wait_until(lambda: not writers_of(partial))  # the next one is alone with the file


def writers_of(file: Path) -> list[Path]:
    """The command lines of all programs that were given a file's name."""
    name = str(file).encode()
    found = []
    for command_line in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):  # it has just ended
            found += [command_line] if name in command_line.read_bytes().split(b"\0") else []
    return found


def wait_until(condition: Callable[[], bool], limit_s: float = 60.0) -> None:
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


def test_a_server_that_cannot_go_on_begins_again(web: Web, store: Store) -> None:
    web.cuts, web.ranges = [1_000_000], False
    assert fetch(Download(web.url(PATH), sha256(CONTENT)), store, quiet).read_bytes() == CONTENT
    assert web.sent[-1] == SIZE


@pytest.mark.parametrize("tags", [True, False], ids=["tags", "no tags"])
def test_two_versions_are_never_put_together(web: Web, store: Store, tags: bool) -> None:
    web.tags = tags
    download = Download(web.url(PATH), sha256(OTHER))
    kill_half_way(web, download, store)
    web.files[PATH] = OTHER
    assert fetch(download, store, quiet).read_bytes() == OTHER


@pytest.mark.parametrize("tags", [True, False], ids=["tags", "no tags"])
def test_two_versions_are_never_recorded_as_one(web: Web, recording: Store, tags: bool) -> None:
    web.tags = tags
    download = Download(web.url(PATH))
    kill_half_way(web, download, recording)
    web.files[PATH] = OTHER
    assert fetch(download, recording, quiet).read_bytes() == OTHER
    assert checksums.recorded(recording.sums_file) == {web.url(PATH): sha256(OTHER)}


def test_a_file_that_was_whole_when_it_was_killed_needs_no_server(store: Store) -> None:
    download = Download("http://127.0.0.1:1/file", sha256(CONTENT))
    store.partial(download.url).mkdir(parents=True)
    (store.partial(download.url) / "file").write_bytes(CONTENT)
    assert fetch(download, store, quiet).read_bytes() == CONTENT


def test_a_partial_file_that_is_too_long_is_fetched_again(web: Web, store: Store) -> None:
    download = Download(web.url(PATH), sha256(CONTENT))
    store.partial(download.url).mkdir(parents=True)
    (store.partial(download.url) / "file").write_bytes(CONTENT + b"more")
    assert fetch(download, store, quiet).read_bytes() == CONTENT


def test_a_file_that_is_not_there_is_asked_for_once(web: Web, store: Store) -> None:
    web.statuses = [404]
    with pytest.raises(DownloadError) as told:
        fetch(Download(web.url(PATH), sha256(CONTENT)), store, quiet)
    assert f"{web.url(PATH)} answered with status 404; " in str(told.value)
    assert "kernel_build_mirror names, as 127.0.0.1/pub/linux-4.4.tar.xz or just as linux-4.4.tar.xz." in str(
        told.value
    )
    assert web.sent == []


def test_a_server_that_is_overloaded_is_asked_again(web: Web, store: Store) -> None:
    web.statuses = [503, 503]
    assert fetch(Download(web.url(PATH), sha256(CONTENT)), store, quiet).read_bytes() == CONTENT
    web.statuses = [503, 503, 503]
    with pytest.raises(DownloadError, match="answered with status 503"):
        fetch(Download(web.url(PATH), sha256(OTHER)), store, quiet)
    assert web.statuses == []


def test_a_server_that_does_not_answer_is_named(store: Store) -> None:
    with pytest.raises(DownloadError, match=r"^http://127\.0\.0\.1:1/x cannot be fetched: Failed to connect .*mirror"):
        fetch(Download("http://127.0.0.1:1/x", sha256(CONTENT)), store, quiet)


def test_a_file_url_is_fetched_too(store: Store, tmp_path: Path) -> None:
    (tmp_path / "a file").write_bytes(CONTENT)
    download = Download(f"file://{tmp_path}/a%20file", sha256(CONTENT))
    assert fetch(download, store, quiet).name == "a file"
    with pytest.raises(DownloadError, match="cannot be fetched: Couldn't open file"):
        fetch(Download(f"file://{tmp_path}/none", sha256(CONTENT)), store, quiet)


def test_progress_is_said(web: Web, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer, "PROGRESS_S", 0)
    web.cuts = [2_000_000]
    said: list[str] = []
    fetch(Download(web.url(PATH), sha256(CONTENT)), store, said.append)
    assert re.fullmatch(r"linux-4\.4\.tar\.xz: 100 %, \d+\.\d MiB/s, 0:00 min left", said[-1])


def test_two_at_once_fetch_it_once(web: Web, store: Store) -> None:
    download = Download(web.url(PATH), sha256(CONTENT))
    paths: list[Path] = []
    threads = [threading.Thread(target=lambda: paths.append(fetch(download, store, quiet))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(paths)) == 1 and len(paths) == 4
    assert web.sent == [SIZE]


def test_a_missing_curl_is_named(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(DownloadError, match="the program curl is missing on this machine; install the package curl"):
        fetch(Download("http://127.0.0.1:1/x", sha256(CONTENT)), store, quiet)


def test_a_cache_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DownloadError, match=rf"cannot be used: {tmp_path}/file/locks: Not a directory"):
        fetch(Download("http://127.0.0.1:1/x", sha256(CONTENT)), Store(tmp_path / "file"), quiet)


# --------------------------------------------------------------------------------------------------------------- sums


def test_a_wrong_sum_is_refused_and_the_file_kept_for_a_look(web: Web, store: Store) -> None:
    with pytest.raises(DownloadError) as told:
        fetch(Download(web.url(PATH), sha256(OTHER)), store, quiet)
    aside = store.folder / "refused" / sha256(CONTENT) / "linux-4.4.tar.xz"
    assert str(told.value) == (
        f"{web.url(PATH)} has the SHA-256 {sha256(CONTENT)}, expected {sha256(OTHER)} according to its entry; the file "
        f"is kept as {aside} for a look, and that sum stands until you correct it."
    )
    assert aside.read_bytes() == CONTENT
    assert not store.kept("linux-4.4.tar.xz", sha256(OTHER)).exists()


def test_without_a_sum_nothing_is_even_asked_for(web: Web, store: Store) -> None:
    for use in (fetch, lambda download, store, _: find(download, store)):
        with pytest.raises(DownloadError) as told:
            use(Download(web.url(PATH)), store, quiet)
        assert f"nothing says which SHA-256 {web.url(PATH)} must have; set kernel_build_record: true" in str(told.value)
        assert f"in {store.sums_file}, or put the line '<sha256>  {web.url(PATH)}' there" in str(told.value)
    assert web.sent == []
    with pytest.raises(DownloadError, match="kernel_build_sums_file names"):
        fetch(Download(web.url(PATH)), dataclasses.replace(store, sums_file=None, record=True), quiet)


def test_a_sum_is_recorded_once_and_holds_from_then_on(web: Web, recording: Store, tmp_path: Path) -> None:
    assert recording.sums_file is not None
    recording.sums_file.write_text(f"# ours\n\n{sha256(b'')}  https://example.org/x")
    path = fetch(Download(web.url(PATH)), recording, quiet)
    lines = f"# ours\n\n{sha256(b'')}  https://example.org/x\n{sha256(CONTENT)}  {web.url(PATH)}\n"
    assert recording.sums_file.read_text() == lines
    not_permitted = dataclasses.replace(recording, record=False)
    assert fetch(Download(web.url(PATH)), not_permitted, quiet) == path
    assert len(web.sent) == 1

    web.files[PATH] = OTHER
    elsewhere = dataclasses.replace(recording, cache=tmp_path / "elsewhere")
    with pytest.raises(
        DownloadError, match=f"{sha256(OTHER)}, expected {sha256(CONTENT)} according to {tmp_path}/sums"
    ):
        fetch(Download(web.url(PATH)), elsewhere, quiet)
    assert recording.sums_file.read_text() == lines
    assert (elsewhere.folder / "refused" / sha256(OTHER) / path.name).read_bytes() == OTHER


def test_an_entry_counts_more_than_a_record(web: Web, store: Store) -> None:
    assert store.sums_file is not None
    store.sums_file.write_text(f"{sha256(OTHER)}  {web.url(PATH)}\n")
    assert fetch(Download(web.url(PATH), sha256(CONTENT)), store, quiet).read_bytes() == CONTENT


def test_many_writers_lose_no_line(store: Store) -> None:
    assert store.sums_file is not None
    file, urls = store.sums_file, [f"https://example.org/{number}" for number in range(20)]
    threads = [threading.Thread(target=checksums.record, args=(file, url, sha256(url.encode()), quiet)) for url in urls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert checksums.recorded(file) == {url: sha256(url.encode()) for url in urls}


# ------------------------------------------------------------------------------------------------------- signed lists


@dataclasses.dataclass
class Signer:
    """A key of its own; ``keyring`` holds its public half."""

    home: Path
    fingerprint: str
    keyring: Path

    def sign(self, text: str) -> bytes:
        return gpg(self.home, "--local-user", self.fingerprint, "--clearsign", text=text)


def gpg(home: Path, *words: str, text: str = "") -> bytes:
    command = ["gpg", "--homedir", str(home), "--batch", "--passphrase", "", "--pinentry-mode", "loopback", *words]
    return subprocess.run(command, input=text.encode(), capture_output=True, check=True).stdout


@pytest.fixture(scope="module")
def signers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Signer]]:
    home = tmp_path_factory.mktemp("gpg")
    home.chmod(0o700)
    for name in ("one", "two"):
        gpg(home, "--quick-generate-key", f"{name}@example.org", "ed25519", "sign", "never")
    listing = gpg(home, "--with-colons", "--list-keys").decode().splitlines()
    fingerprints = [line.split(":")[9] for line in listing if line.startswith("fpr:")]
    made = []
    for fingerprint in fingerprints:
        keyring = home / f"{fingerprint}.gpg"
        keyring.write_bytes(gpg(home, "--export", fingerprint))
        made.append(Signer(home, fingerprint, keyring))
    yield made
    subprocess.run(["gpgconf", "--homedir", str(home), "--kill", "all"], check=True)


@pytest.fixture
def signer(signers: list[Signer]) -> Signer:
    return signers[0]


@pytest.fixture
def trusting(store: Store, signer: Signer) -> Store:
    return dataclasses.replace(store, keyring=signer.keyring)


LIST = "/pub/sha256sums.asc"
LINES = f"{sha256(b'')}  patch-4.4.xz\n{sha256(CONTENT)}  linux-4.4.tar.xz\n"


def signed(web: Web, signer: Signer) -> Download:
    return Download(web.url(PATH), signed_sums=SignedSums(web.url(LIST), signer.fingerprint))


def test_a_signed_list_says_the_sum(web: Web, trusting: Store, signer: Signer) -> None:
    web.files[LIST] = signer.sign(LINES)
    path = fetch(signed(web, signer), trusting, quiet)
    assert path.read_bytes() == CONTENT
    requests = len(web.sent)
    assert fetch(signed(web, signer), trusting, quiet) == path == find(signed(web, signer), trusting)
    assert len(web.sent) == requests  # the list is kept too


def test_a_file_that_is_not_the_listed_one_is_refused(web: Web, trusting: Store, signer: Signer) -> None:
    web.files |= {LIST: signer.sign(LINES), PATH: OTHER}
    with pytest.raises(
        DownloadError, match=f"expected {sha256(CONTENT)} according to the signed list {web.url(LIST)};"
    ):
        fetch(signed(web, signer), trusting, quiet)


def test_a_list_is_fetched_again_when_it_has_grown(web: Web, trusting: Store, signer: Signer) -> None:
    web.files |= {LIST: signer.sign(LINES), "/pub/new/file": OTHER}
    fetch(signed(web, signer), trusting, quiet)
    new = dataclasses.replace(signed(web, signer), url=web.url("/pub/new/file"))
    with pytest.raises(DownloadError, match=f"the signed list {web.url(LIST)} does not name new/file;"):
        fetch(new, trusting, quiet)
    web.files[LIST] = signer.sign(f"{LINES}{sha256(OTHER)}  ./new/file\n")
    assert fetch(new, trusting, quiet).read_bytes() == OTHER


def test_a_list_signed_with_another_key_is_refused(web: Web, trusting: Store, signers: list[Signer]) -> None:
    one, two = signers
    web.files[LIST] = two.sign(LINES)
    with pytest.raises(DownloadError, match=f"the list .* is signed with the key {two.fingerprint[-16:]}, expected "):
        fetch(signed(web, one), trusting, quiet)  # its key is not in the keyring
    both = trusting.cache.parent / "both.gpg"
    both.write_bytes(one.keyring.read_bytes() + two.keyring.read_bytes())
    with pytest.raises(DownloadError, match=f"the list .* is signed with the key {two.fingerprint}, expected "):
        fetch(signed(web, one), dataclasses.replace(trusting, keyring=both), quiet)  # it is, and still not the entry's


def test_a_list_that_was_changed_is_refused_and_kept_for_a_look(web: Web, trusting: Store, signer: Signer) -> None:
    web.files |= {PATH: OTHER, LIST: signer.sign(LINES).replace(sha256(CONTENT).encode(), sha256(OTHER).encode())}
    with pytest.raises(DownloadError, match="was changed after it was signed, expected one good signature") as told:
        fetch(signed(web, signer), trusting, quiet)
    aside = trusting.folder / "refused" / sha256(web.files[LIST]) / "sha256sums.asc"
    assert str(told.value).endswith(f"do not trust the list (it is kept as {aside} for a look).")
    assert aside.read_bytes() == web.files[LIST]


def test_what_stands_beside_the_signed_text_counts_for_nothing(web: Web, trusting: Store, signer: Signer) -> None:
    web.files |= {PATH: OTHER, LIST: f"{sha256(OTHER)}  linux-4.4.tar.xz\n".encode() + signer.sign("nothing\n")}
    with pytest.raises(DownloadError, match="does not name"):
        fetch(signed(web, signer), trusting, quiet)


def test_a_second_signed_text_is_refused(web: Web, trusting: Store, signers: list[Signer]) -> None:
    one, two = signers
    web.files |= {PATH: OTHER, LIST: two.sign(f"{sha256(OTHER)}  linux-4.4.tar.xz\n") + one.sign(LINES)}
    with pytest.raises(DownloadError, match="expected one good signature"):
        fetch(signed(web, one), trusting, quiet)


def test_a_list_without_a_signature_is_refused(web: Web, trusting: Store, signer: Signer) -> None:
    web.files[LIST] = LINES.encode()
    with pytest.raises(DownloadError, match="is not signed, expected"):
        fetch(signed(web, signer), trusting, quiet)


def test_a_kept_list_is_verified_at_each_use(web: Web, trusting: Store, signer: Signer) -> None:
    web.files[LIST] = signer.sign(LINES)
    fetch(signed(web, signer), trusting, quiet)
    (kept,) = (trusting.folder / "lists").iterdir()
    kept.unlink()
    kept.write_bytes(web.files[LIST].replace(sha256(CONTENT).encode(), sha256(OTHER).encode()))
    assert fetch(signed(web, signer), trusting, quiet).read_bytes() == CONTENT
    assert kept.read_bytes() == web.files[LIST]


def test_without_a_keyring_the_operator_has_the_word(web: Web, store: Store, signer: Signer) -> None:
    recording = dataclasses.replace(store, record=True)
    with pytest.raises(DownloadError, match="there is no keyring to verify that with; let kernel_build_keyring name"):
        fetch(signed(web, signer), recording, quiet)  # what could be verified is not just recorded
    assert store.sums_file is not None
    store.sums_file.write_text(f"{sha256(CONTENT)}  {web.url(PATH)}\n")
    assert fetch(signed(web, signer), store, quiet).read_bytes() == CONTENT


def test_a_keyring_that_gpgv_cannot_read_is_named(web: Web, store: Store, signer: Signer, tmp_path: Path) -> None:
    (tmp_path / "key.asc").write_bytes(gpg(signer.home, "--armor", "--export", signer.fingerprint))
    for keyring in (tmp_path / "key.asc", tmp_path / "none"):
        with pytest.raises(DownloadError, match=rf"the keyring {keyring} is not a file that gpgv reads, expected one"):
            fetch(signed(web, signer), dataclasses.replace(store, keyring=keyring), quiet)
    assert web.sent == []


# ------------------------------------------------------------------------------------------------------------- mirror


@pytest.mark.parametrize("place", ["127.0.0.1/pub/linux-4.4.tar.xz", "linux-4.4.tar.xz"])
def test_the_mirror_is_looked_at_before_the_network(web: Web, store: Store, tmp_path: Path, place: str) -> None:
    file = tmp_path / "mirror" / place
    file.parent.mkdir(parents=True)
    file.write_bytes(CONTENT)
    mirrored = dataclasses.replace(store, mirror=tmp_path / "mirror")
    path = fetch(Download(web.url(PATH), sha256(CONTENT)), mirrored, quiet)
    file.write_bytes(b"changed later")
    assert path.read_bytes() == CONTENT
    assert web.sent == []

    with pytest.raises(
        DownloadError, match=rf"{file} in the mirror has the SHA-256 .* expected {sha256(OTHER)} .* replace"
    ):
        fetch(Download(web.url(PATH), sha256(OTHER)), mirrored, quiet)
    assert web.sent == []


def test_a_lab_without_a_network_verifies_all_the_same(signer: Signer, trusting: Store, tmp_path: Path) -> None:
    mirror = tmp_path / "mirror" / "kernel.example" / "pub"
    mirror.mkdir(parents=True)
    (mirror / "sha256sums.asc").write_bytes(signer.sign(LINES))
    (mirror / "linux-4.4.tar.xz").write_bytes(CONTENT)
    nowhere = Web(address="https://kernel.example")
    mirrored = dataclasses.replace(trusting, mirror=tmp_path / "mirror")
    assert fetch(signed(nowhere, signer), mirrored, quiet).read_bytes() == CONTENT
