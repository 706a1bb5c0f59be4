"""Fetching the tree of one commit from real repositories, through git's own and the plainest of servers."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
import tarfile
import threading
import zlib
from pathlib import Path

import pytest
from web import Web, serving

from rtvirt_runner.build import downloads
from rtvirt_runner.build.downloads import GitSource, Store, fetch, fetch_git, find
from rtvirt_runner.build.transfer import DownloadError

CONFIG = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
WHO = {
    f"GIT_{role}_{key}": value for role in ("AUTHOR", "COMMITTER") for key, value in (("NAME", "a"), ("EMAIL", "a@b"))
}
FETCHER = """\
import sys
from pathlib import Path
from rtvirt_runner.build.downloads import GitSource, Store, fetch_git
url, commit, cache = sys.argv[1:]
fetch_git(GitSource(url, commit), Store(Path(cache)), print)
"""
WHEN = {"GIT_AUTHOR_DATE": "1456000000 +0000", "GIT_COMMITTER_DATE": "1456000000 +0000"}


def quiet(text: str) -> None:
    """Nobody listens."""


def git(folder: Path, *words: str) -> str:
    env = {**os.environ, **CONFIG, **WHO, **WHEN}
    return subprocess.run(
        ["git", *words], cwd=folder, env=env, capture_output=True, text=True, check=True
    ).stdout.strip()


@dataclasses.dataclass
class Upstream:
    """A repository of two commits, the older of them no branch's tip."""

    folder: Path
    old: str
    new: str

    def source(self, commit: str) -> GitSource:
        return GitSource(f"file://{self.folder}", commit)


@pytest.fixture
def upstream(tmp_path: Path) -> Upstream:
    folder = tmp_path / "linux"
    folder.mkdir()
    git(folder, "init", "--quiet", "--initial-branch=main")
    # Settings of the tree itself that would make the archive depend on more than the commit.
    (folder / ".gitattributes").write_text("*.txt text eol=crlf export-subst\nhidden export-ignore\n")
    (folder / "Makefile").write_text("VERSION = 4\n")
    (folder / "note.txt").write_text("$Format:%d$\n")
    (folder / "hidden").write_text("seen\n")
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "--message=one")
    old = git(folder, "rev-parse", "HEAD")
    (folder / "Makefile").write_text("VERSION = 5\n")
    git(folder, "commit", "--quiet", "--all", "--message=two")
    return Upstream(folder, old, git(folder, "rev-parse", "HEAD"))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "cache")


def contents(tar: Path) -> dict[str, bytes]:
    """The files of a tar file by name."""
    with tarfile.open(tar) as archive:
        files = {member.name: archive.extractfile(member) for member in archive if member.isfile()}
        return {name: file.read() for name, file in files.items() if file}


def tree(prefix: str, version: int) -> dict[str, bytes]:
    return {
        f"{prefix}/.gitattributes": b"*.txt text eol=crlf export-subst\nhidden export-ignore\n",
        f"{prefix}/Makefile": f"VERSION = {version}\n".encode(),
        f"{prefix}/note.txt": b"$Format:%d$\n",
        f"{prefix}/hidden": b"seen\n",
    }


def test_a_commit_is_fetched_once_as_it_was_committed(upstream: Upstream, store: Store) -> None:
    source = upstream.source(upstream.old)
    assert find(source, store) is None
    path = fetch_git(source, store, quiet)
    assert path == store.cache / "downloads" / upstream.old / f"linux-{upstream.old[:12]}.tar"
    assert contents(path) == tree(f"linux-{upstream.old[:12]}", 4)
    upstream.folder.rename(upstream.folder.with_name("gone"))
    assert fetch(source, store, quiet) == path == find(source, store)
    assert list((store.folder / "partial").iterdir()) == []


def test_the_same_commit_gives_the_same_bytes_everywhere(
    upstream: Upstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = fetch_git(upstream.source(upstream.new), Store(tmp_path / "one"), quiet)
    settings = tmp_path / "gitconfig"
    settings.write_text("[core]\n\tautocrlf = true\n[tar]\n\tumask = 0077\n")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(settings))
    git(upstream.folder, "tag", "v5")  # what $Format:%d$ would show
    two = fetch_git(upstream.source(upstream.new), Store(tmp_path / "two"), quiet)
    assert one.read_bytes() == two.read_bytes()


def test_only_the_commit_comes_where_the_server_allows_that(upstream: Upstream, store: Store) -> None:
    said: list[str] = []
    fetch_git(upstream.source(upstream.old), store, said.append)
    assert not any("whole history" in line for line in said)


def test_a_plain_web_server_hands_out_the_whole_history(upstream: Upstream, store: Store) -> None:
    git(upstream.folder, "update-server-info")
    with serving(files_of(upstream.folder / ".git")) as web:
        source = GitSource(web.url("/linux.git"), upstream.old)
        said: list[str] = []
        path = fetch_git(source, store, said.append)
    assert contents(path) == tree(f"linux-{upstream.old[:12]}", 4)
    assert f"linux: {web.url('/linux.git')} does not hand out one commit; fetching the whole history" in said


def files_of(repository: Path) -> Web:
    """A repository's files and nothing that knows git: what git calls dumb HTTP."""
    paths = [path for path in repository.rglob("*") if path.is_file()]
    return Web(files={f"/linux.git/{path.relative_to(repository)}": path.read_bytes() for path in paths})


def test_an_old_server_hands_out_the_whole_history(
    upstream: Upstream, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Before version 2 of the protocol a server hands out only what it has named.
    for name, value in {"COUNT": "1", "KEY_0": "protocol.version", "VALUE_0": "0"}.items():
        monkeypatch.setenv(f"GIT_CONFIG_{name}", value)
    said: list[str] = []
    path = fetch_git(upstream.source(upstream.old), store, said.append)
    assert contents(path)[f"linux-{upstream.old[:12]}/Makefile"] == b"VERSION = 4\n"
    assert any("fetching the whole history" in line for line in said)


def test_a_commit_that_is_not_there_is_named(upstream: Upstream, store: Store) -> None:
    source = upstream.source("0123456789" * 4)
    with pytest.raises(
        DownloadError, match=f"^file://{upstream.folder} has no commit {source.commit}; correct the commit"
    ):
        fetch_git(source, store, quiet)
    git(upstream.folder, "update-server-info")
    with (
        serving(files_of(upstream.folder / ".git")) as web,
        pytest.raises(DownloadError, match=f"linux.git has no commit {source.commit}; .* as linux.git"),
    ):
        fetch_git(GitSource(web.url("/linux.git"), source.commit), store, quiet)


def test_what_is_no_commit_is_refused(upstream: Upstream, store: Store) -> None:
    git(upstream.folder, "tag", "--annotate", "--message=x", "v5")
    tag = git(upstream.folder, "rev-parse", "v5")
    assert tag != upstream.new
    with pytest.raises(DownloadError, match=f"has no commit {tag}"):
        fetch_git(upstream.source(tag), store, quiet)


def test_a_server_that_does_not_answer_is_named(store: Store, upstream: Upstream) -> None:
    source = GitSource("http://127.0.0.1:1/linux.git", upstream.old)
    with pytest.raises(
        DownloadError, match=r"git could not fetch .* from http://127.0.0.1:1/linux.git: unable to access"
    ):
        fetch_git(source, store, quiet)


def test_what_a_killed_fetch_left_does_not_matter(upstream: Upstream, store: Store) -> None:
    git(upstream.folder, "update-server-info")
    web = files_of(upstream.folder / ".git")
    web.cuts, web.gate = [0], threading.Event()
    with serving(web):
        source = GitSource(web.url("/linux.git"), upstream.old)
        arguments = [source.url, source.commit, str(store.cache)]
        process = subprocess.Popen([sys.executable, "-c", FETCHER, *arguments], stdout=subprocess.DEVNULL)
        assert web.asked.wait(60)
        process.kill()
        process.wait()
        left = store.partial(f"{source.url}#{source.commit}") / "repository"
        assert left.is_dir()
        (left / "config.lock").touch()  # what git leaves when it is killed a little earlier
        assert contents(fetch_git(source, store, quiet)) == tree(f"linux-{upstream.old[:12]}", 4)


def test_progress_is_said(upstream: Upstream, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(downloads, "PROGRESS_S", 0)
    said: list[str] = []
    fetch_git(upstream.source(upstream.new), store, said.append)
    assert any(line.endswith("FETCH_HEAD") for line in said), said  # git's last words; a busy machine skips others


# ------------------------------------------------------------------------------------------------------------- mirror


@pytest.mark.parametrize("name", ["linux", "linux.git"])
def test_the_mirror_is_looked_at_before_the_network(
    upstream: Upstream, store: Store, tmp_path: Path, name: str
) -> None:
    mirrored = dataclasses.replace(store, mirror=tmp_path / "mirror")
    git(tmp_path, "clone", "--quiet", "--bare", str(upstream.folder), f"mirror/{name}")
    source = GitSource("https://git.example/team/linux.git", upstream.old)
    assert contents(fetch_git(source, mirrored, quiet)) == tree(f"linux-{upstream.old[:12]}", 4)


def test_a_mirror_without_the_commit_is_passed_over(upstream: Upstream, store: Store, tmp_path: Path) -> None:
    mirrored = dataclasses.replace(store, mirror=tmp_path / "mirror")
    git(tmp_path, "init", "--quiet", "--bare", "mirror/linux.git")
    assert fetch_git(upstream.source(upstream.old), mirrored, quiet).exists()


def test_a_folder_in_the_mirror_that_is_no_repository_is_named(
    upstream: Upstream, store: Store, tmp_path: Path
) -> None:
    git(tmp_path, "init", "--quiet")  # the mirror lies inside some other repository
    (tmp_path / "mirror" / "linux").mkdir(parents=True)
    mirrored = dataclasses.replace(store, mirror=tmp_path / "mirror")
    with pytest.raises(DownloadError, match=f"{tmp_path}/mirror/linux in the mirror is no git repository that can be"):
        fetch_git(upstream.source(upstream.old), mirrored, quiet)


def test_a_mirror_that_was_tampered_with_is_refused(upstream: Upstream, store: Store, tmp_path: Path) -> None:
    mirrored = dataclasses.replace(store, mirror=tmp_path / "mirror")
    git(tmp_path, "clone", "--quiet", "--bare", "--no-local", f"file://{upstream.folder}", "mirror/linux.git")
    loosen(tmp_path / "mirror" / "linux.git")
    blob = git(upstream.folder, "rev-parse", f"{upstream.old}:Makefile")
    forged = tmp_path / "mirror" / "linux.git" / "objects" / blob[:2] / blob[2:]
    forged.chmod(0o644)
    forged.write_bytes(zlib.compress(b"blob 12\0VERSION = 6\n"))
    with pytest.raises(DownloadError, match=rf"git could not fetch .* from {tmp_path}/mirror/linux.git: missing blob "):
        fetch_git(upstream.source(upstream.old), mirrored, quiet)
    assert find(upstream.source(upstream.old), mirrored) is None


def loosen(repository: Path) -> None:
    """Give each object a file of its own."""
    for pack in (repository / "objects" / "pack").glob("*.pack"):
        apart = pack.rename(repository / pack.name)
        with apart.open("rb") as stream:
            subprocess.run(["git", "unpack-objects", "-q"], cwd=repository, stdin=stream, check=True)
