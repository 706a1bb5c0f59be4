"""The wheel and the archive: what is in them, and what works where only they are installed, without the checkout."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest
import yaml
from environments import Environment, make_environment
from released import Release, build, git, install, make_release

from rtvirt_runner.catalogue import collection

NAME = "rtvirt.testbed"
INSIDE = "ansible_collections/rtvirt/testbed/"
PARTS: list[str] = tomllib.loads((collection.ROOT / "pyproject.toml").read_text())["tool"]["rtvirt"]["collection"]


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Release:
    return make_release(tmp_path_factory.mktemp("release"))


@pytest.fixture(scope="module")
def installed(release: Release, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """The wheel with the extras that the command rtvirt needs."""
    root = tmp_path_factory.mktemp("installed") / "venv"
    return make_environment(root, "rtvirt-runner[run,report]", wheel=release.wheel)


@pytest.fixture(scope="module")
def core(release: Release, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """The wheel beside Ansible, without an extra."""
    return make_environment(
        tmp_path_factory.mktemp("core") / "venv", "rtvirt-runner", "ansible-core", wheel=release.wheel
    )


@pytest.fixture(scope="module")
def bare(release: Release, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """Ansible and the archive, without the wheel."""
    made = make_environment(tmp_path_factory.mktemp("bare") / "venv", "ansible-core")
    install(release.archive, made)
    return made


def committed(release: Release, *parts: str) -> dict[str, bool]:
    """Files that are committed below paths, and whether each can be executed."""
    lines = git(release.clone, "ls-files", "--stage", "--", *parts).splitlines()
    return {line.partition("\t")[2]: line.startswith("100755") for line in lines}


# -------------------------------------------------------------------------------------------------------- what is built


def test_the_wheel_holds_the_package_and_the_collection(release: Release) -> None:
    wanted = committed(release, "rtvirt_runner")
    wanted |= {INSIDE + name: is_program for name, is_program in committed(release, *PARTS).items()}
    with zipfile.ZipFile(release.wheel) as wheel:
        found = {info.filename: bool(info.external_attr >> 16 & 0o100) for info in wheel.infolist()}
    metadata = {name for name in found if ".dist-info/" in name}
    assert {name: found[name] for name in found if name not in metadata} == wanted
    kinds = {"METADATA", "RECORD", "WHEEL", "entry_points.txt", "licenses/LICENSE", "top_level.txt"}
    assert {name.partition("/")[2] for name in metadata} == kinds


def test_the_archive_holds_the_collection(release: Release) -> None:
    wanted = committed(release, *PARTS)
    del wanted["galaxy.yml"]  # its content is in MANIFEST.json
    with tarfile.open(release.archive) as archive:
        found = {member.name: bool(member.mode & 0o100) for member in archive if not member.isdir()}
    assert found == wanted | {"MANIFEST.json": False, "FILES.json": False}


def test_the_same_commit_gives_the_same_bytes(release: Release, tmp_path: Path) -> None:
    clone = tmp_path / "another clone"
    git(tmp_path, "clone", "--quiet", str(release.clone), str(clone))
    umask = os.umask(0o077)
    try:
        done = build(clone, tmp_path / "dist")
    finally:
        os.umask(umask)
    assert done.returncode == 0, done.stderr
    for path in (release.wheel, release.archive):
        assert (tmp_path / "dist" / path.name).read_bytes() == path.read_bytes()


def test_plain_ansible_galaxy_builds_an_archive_of_the_same_files(release: Release, tmp_path: Path) -> None:
    program = Path(sys.executable).parent / "ansible-galaxy"
    subprocess.run([program, "collection", "build", release.clone, "--output-path", tmp_path], check=True)
    with tarfile.open(tmp_path / release.archive.name) as plain, tarfile.open(release.archive) as ours:
        assert sorted(plain.getnames()) == sorted(ours.getnames())


SECRETS = {
    "docs/notes.md": "Our key:\n-----BEGIN OPENSSH PRIVATE KEY-----\n",
    "inventory/virtual/identity/cb2/ssh_config": "Host cb2\n",
    "inventory/virtual/cards/cb2.img": "a card\n",
    "playbooks/kernel_sums.txt": f"{'0' * 64}  https://example.org/\n",
}


@pytest.mark.parametrize("name", [*SECRETS, "a new file", "a change", "another version"])
def test_what_must_not_get_in_is_refused(release: Release, name: str, tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    git(tmp_path, "clone", "--quiet", str(release.clone), str(clone))
    if name == "a new file":
        (clone / "roles" / "forgotten.yml").touch()
        told = "uncommitted changes or new files (roles/forgotten.yml), expected none"
    elif name == "a change":
        (clone / "README.md").write_text("Other.\n")
        told = "uncommitted changes or new files (README.md), expected none"
    elif name == "another version":
        text = (clone / "galaxy.yml").read_text()
        (clone / "galaxy.yml").write_text(re.sub("(?m)^version: .*", "version: 99.0.0", text))
        git(clone, "commit", "--quiet", "--all", "-m", "one of two")
        told = "galaxy.yml has version 99.0.0, expected"
    else:
        (clone / name).parent.mkdir(parents=True, exist_ok=True)
        (clone / name).write_text(SECRETS[name])
        git(clone, "add", "--force", name)
        git(clone, "commit", "--quiet", "-m", "a mistake")
        told = name
    done = build(clone, tmp_path / "dist")
    assert done.returncode == 2 and told in done.stderr and done.stderr.count("\n") == 1, done.stderr
    assert not list(tmp_path.glob("dist/*"))


# ------------------------------------------------------------------------------------------------ a release is prepared

# In its place: the real program takes a minute, and is no dependency. It records what it was asked for.
ANTSIBULL = '#!/bin/sh\n[ -z "$FAILS" ] || { echo "$FAILS"; exit 3; }\necho "$@" >>"$PWD/../asked"\n'


def prepare(clone: Path, version: str, **variables: str) -> subprocess.CompletedProcess[str]:
    programs = clone.parent / "programs"
    programs.mkdir(exist_ok=True)
    if "PATH" not in variables:
        (programs / "antsibull-changelog").write_text(ANTSIBULL)
        (programs / "antsibull-changelog").chmod(0o755)
    env = {**os.environ, "FAILS": "", "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}", **variables}
    command = [sys.executable, clone / "release" / "prepare.py", version]
    return subprocess.run(command, capture_output=True, text=True, cwd="/", env=env)


@pytest.fixture
def clone(release: Release, tmp_path: Path) -> Path:
    """A clone with a fragment, at a version that can still be followed by another."""
    git(tmp_path, "clone", "--quiet", str(release.clone), str(tmp_path / "clone"))
    (tmp_path / "clone/changelogs/fragments/9999-new.yml").write_text("minor_changes:\n  - Something new.\n")
    git(tmp_path / "clone", "add", "--all")
    git(tmp_path / "clone", "commit", "--quiet", "-m", "something new")
    return tmp_path / "clone"


def test_the_version_is_the_same_wherever_it_stands(clone: Path) -> None:
    version = tomllib.loads((collection.ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert yaml.safe_load((collection.ROOT / "galaxy.yml").read_text())["version"] == version
    pages = [collection.ROOT / "README.md", *(collection.ROOT / "docs").glob("*.md")]
    names = "\n".join(page.read_text() for page in pages)
    named = re.findall(r"(?:rtvirt_runner|rtvirt-testbed)-([0-9.]+[0-9])", names)
    assert len(named) == 5 and set(named) == {version}

    done = prepare(clone, "98.7.6")
    assert done.returncode == 0 and "git commit -m 'release: 98.7.6'" in done.stdout, done.stderr
    assert (clone.parent / "asked").read_text() == "lint\nrelease --version 98.7.6\n"
    assert git(clone, "diff", "--name-only").split() == [
        "README.md",
        "docs/example-project.md",
        "galaxy.yml",
        "pyproject.toml",
    ]
    changed = git(clone, "diff", "--unified=0").splitlines()
    lines = [line for line in changed if line[0] in "+-" and line[:3] not in ("+++", "---")]
    assert [line.replace(version, "98.7.6")[1:] for line in lines if line[0] == "-"] == [
        line[1:] for line in lines if line[0] == "+"
    ]
    assert len(lines) == 14


@pytest.mark.parametrize(
    ("version", "told"),
    [
        ("0.0.9", "the version is 0.0.9, expected three numbers, and not less than"),
        ("98.7", "the version is 98.7, expected three numbers"),
        ("98.7.6", "antsibull-changelog is missing; install it:"),
        ("98.7.7", "lint ended with status 3: fragment x is none"),
        ("98.7.8", "uncommitted changes or new files (roles/forgotten.yml), expected none"),
        ("98.7.9", "changelogs/changelog.yaml says is released"),
        ("98.8.0", "changelogs/fragments has no fragment, expected some"),
    ],
)
def test_what_is_no_release_is_refused(clone: Path, version: str, told: str) -> None:
    variables = {}
    if version == "98.7.6":
        variables["PATH"] = "/usr/bin:/bin"
    elif version == "98.7.7":
        variables["FAILS"] = "fragment x is none"
    elif version == "98.7.8":
        (clone / "roles/forgotten.yml").touch()
    elif version == "98.7.9":
        (clone / "changelogs/changelog.yaml").write_text(f"releases: {{{version}: {{}}}}\n")
    elif version == "98.8.0":
        git(clone, "rm", "--quiet", "changelogs/fragments/*.yml")
    if version in ("98.7.9", "98.8.0"):
        git(clone, "add", "--all")
        git(clone, "commit", "--quiet", "-m", "a release")
    before = git(clone, "status", "--porcelain")
    done = prepare(clone, version, **variables)
    assert done.returncode == 2 and told in done.stderr and done.stderr.count("\n") == 1, done.stderr
    assert git(clone, "status", "--porcelain") == before


# ----------------------------------------------------------------------------------------- where the wheel is installed


def test_the_command_works_from_any_folder(installed: Environment, tmp_path: Path) -> None:
    helped = installed.run("rtvirt", "--help", folder=tmp_path)
    assert helped.returncode == 0 and helped.stdout.startswith("usage: rtvirt"), helped.stderr
    planned = installed.run("rtvirt", "plan", folder=tmp_path)
    assert planned.returncode == 0, planned.stderr
    assert re.search(r"^first: .*: (\d+) cells, \1 pending$", planned.stdout, re.MULTILINE), planned.stdout
    tests = installed.run("rtvirt", "test", folder=tmp_path)
    assert tests.returncode == 2 and "expected a clone of rtvirt" in tests.stderr
    assert list(tmp_path.iterdir()) == []


def virtual_lab(environment: Environment) -> Path:
    return environment.site_packages / INSIDE / "inventory" / "virtual"


def test_playbooks_are_found_by_their_full_names(installed: Environment, tmp_path: Path) -> None:
    playbook = f"{NAME}.full_matrix"
    listed = installed.run("ansible-playbook", playbook, "-i", virtual_lab(installed), "--list-tasks", folder=tmp_path)
    assert listed.returncode == 0, listed.stderr
    assert "Measure" in listed.stdout and str(installed.site_packages) in listed.stdout


def test_playbooks_plan_with_results_in_the_current_folder(installed: Environment, tmp_path: Path) -> None:
    """The page of a matrix of which nothing is measured names every cell; it is where the playbook was started."""
    played = installed.run("ansible-playbook", f"{NAME}.report", "-i", virtual_lab(installed), folder=tmp_path)
    assert played.returncode == 2, played.stdout + played.stderr
    assert "more were not measured; 'rtvirt plan' shows them" in " ".join(played.stdout.split())
    assert (tmp_path / "results" / "first" / "report" / "index.html").is_file()
    assert [path.name for path in tmp_path.iterdir()] == ["results"]


def test_a_role_that_needs_no_number_needs_no_extra(core: Environment, tmp_path: Path) -> None:
    for package in ("pandas", "numpy", "scipy", "matplotlib", "rich", "ansible_runner"):
        assert not (core.site_packages / package).exists()
    show = "{{ ['isolcpus'] | rtvirt.testbed.isolation_kernel_params(host_cpus='0', guest_cpus='1') }}"
    tasks = [
        {"name": "Apply nothing", "ansible.builtin.import_role": {"name": f"{NAME}.cpu_isolation"}},
        {"name": "Show", "ansible.builtin.debug": {"msg": show}},
    ]
    play = {"name": "Take a role", "hosts": "all", "gather_facts": False, "vars": {"cpu_isolation_settings": []}}
    (tmp_path / "play.yml").write_text(yaml.safe_dump([play | {"tasks": tasks}]))
    here = ["-i", "server,", "-c", "local", "--check"]
    played = core.run("ansible-playbook", *here, "play.yml", folder=tmp_path)
    assert played.returncode == 0, played.stdout + played.stderr
    assert "isolcpus=managed_irq,domain,1" in played.stdout


def test_the_command_without_its_extra_says_how_to_install_it(core: Environment, tmp_path: Path) -> None:
    told = core.run("rtvirt", "plan", folder=tmp_path)
    assert told.returncode == 2 and "-m pip install 'rtvirt-runner[run]'" in told.stderr
    assert told.stderr.count("\n") == 1


# --------------------------------------------------------------------------------------- where the archive is installed


def test_the_archive_and_the_wheel_together(release: Release, core: Environment, tmp_path: Path) -> None:
    """Ansible takes the archive, as it would any version that is installed there, and the package from the wheel."""
    install(release.archive, core)
    listed = core.run("ansible-galaxy", "collection", "list", "--format", "json", NAME, folder=tmp_path)
    assert list(json.loads(listed.stdout)) == [
        str(core.root / "home/.ansible/collections/ansible_collections"),
        str(core.site_packages / "ansible_collections"),
    ]
    lab = core.root / "home/.ansible/collections" / INSIDE / "inventory/virtual"
    shown = core.run("ansible-playbook", f"{NAME}.full_matrix", "-i", lab, "--list-tasks", folder=tmp_path)
    assert shown.returncode == 0 and f"{core.root}/home" in shown.stdout, shown.stderr
    plan = (
        "{{ 'first' | rtvirt.testbed.plan(groups=groups, hostvars=hostvars, results_dir='results', "
        f"vars_dir='{lab.parents[1]}/playbooks/vars') | map(attribute='board') | unique }}}}"
    )
    planned = core.run(
        "ansible", "-i", lab, "localhost", "-m", "debug", "-a", f"msg={json.dumps(plan)}", folder=tmp_path
    )
    assert planned.returncode == 0 and "virtual-cb2" in planned.stdout, planned.stdout + planned.stderr


def plugins(kind: str) -> list[str]:
    return sorted(path.stem for path in (collection.ROOT / "plugins" / kind).glob("*.py"))


def sentence(environment: Environment) -> str:
    python = environment.root / "bin" / "python"
    return (
        f"The collection rtvirt.testbed needs the Python package rtvirt-runner in {environment.root}, where Ansible "
        f"runs; install it with: {python} -m pip install rtvirt-runner"
    )


@pytest.mark.parametrize("name", plugins("action"))
def test_an_action_without_the_package_says_how_to_install_it(bare: Environment, name: str, tmp_path: Path) -> None:
    told = bare.run("ansible", "localhost", "-i", "localhost,", "-m", f"{NAME}.{name}", folder=tmp_path)
    assert told.returncode != 0
    assert told.stderr.strip() == f"[ERROR]: {sentence(bare)}"


def test_filters_and_lookups_without_the_package_say_how_to_install_it(bare: Environment, tmp_path: Path) -> None:
    filters = sorted(path.stem for path in (collection.ROOT / "plugins" / "filter").glob("*.yml"))
    uses = [f"{{{{ 'x' | {NAME}.{name} }}}}" for name in filters]
    uses += [f"{{{{ lookup('{NAME}.{name}', 'x') }}}}" for name in plugins("lookup")]
    tasks = [{"name": use, "ansible.builtin.debug": {"msg": use}, "ignore_errors": True} for use in uses]
    play = {"name": "Use each", "hosts": "all", "gather_facts": False, "tasks": tasks}
    (tmp_path / "play.yml").write_text(yaml.safe_dump([play]))
    told = bare.run("ansible-playbook", "-i", "server,", "-c", "local", "play.yml", folder=tmp_path)
    failures = [line for line in told.stdout.splitlines() if line.startswith("fatal: ")]
    assert len(failures) == len(uses) > 15
    assert [line for line in failures if sentence(bare) not in line] == []
    assert "Traceback" not in told.stdout + told.stderr and "a bug" not in told.stdout + told.stderr


def test_a_package_of_another_version_is_told(bare: Environment, tmp_path: Path) -> None:
    package = bare.site_packages / "rtvirt_runner"
    package.mkdir()
    try:
        (package / "__init__.py").touch()
        told = bare.run("ansible", "localhost", "-i", "localhost,", "-m", f"{NAME}.lease", folder=tmp_path)
    finally:
        shutil.rmtree(package)
    assert told.stderr.startswith(f"[ERROR]: The Python package rtvirt-runner in {bare.root} does not fit this version")
    assert f"{bare.root}/bin/python -m pip install --upgrade rtvirt-runner" in told.stderr
