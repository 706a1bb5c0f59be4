"""The kernels of the paper's time, made from stand-ins of their sources with exactly the settings of their entries.

Their sources may be out of reach, and would take hours to compile. So each URL of the catalogue leads to a stand-in,
found in a mirror folder: trees shaped like a kernel's, with Kconfig options, defconfigs and device trees that real
kernels have; patches that fit in one order only; compilers in archives named like the real ones. Of the entries nothing
but sums and commits is replaced, and then the role kernel_build does all that it does for a real one.
"""

import copy
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from rtvirt_runner.build import artifacts
from rtvirt_runner.build.artifacts import BuildError, Recipe
from rtvirt_runner.build.downloads import Store
from rtvirt_runner.build.kernels import BuildContext, make_kernel
from rtvirt_runner.catalogue import collection
from rtvirt_runner.catalogue.checked_yaml import load_yaml
from rtvirt_runner.catalogue.kernels import read_kernel

pytestmark = pytest.mark.slow(
    exercises=[
        "roles/kernel_build",
        "playbooks/vars/kernels.yml",
        "rtvirt_runner/build",
        "tests/integration/stand_in_kernel",
    ]
)
HERE = Path(__file__).parent
FILES = collection.ROOT / "roles" / "kernel_build" / "files"
Entry = dict[str, Any]

ENTRIES: dict[str, Entry] = {
    name: entry
    for name, entry in load_yaml(collection.VARS / "kernels.yml")["kernels"].items()
    if entry["source"]["type"] in ("tarball", "git")
}

KERNEL_ORG = "https://cdn.kernel.org/pub/linux/kernel"
KERNEL_ORG_KEY = "B8868C80BA62A1FFFAF5FDA9632D3A06589DA6B1"  # autosigner@kernel.org
LINARO = "https://releases.linaro.org/components/toolchain/binaries"
FOUNDATION = "https://github.com/raspberrypi/linux"
EMLID = "https://github.com/emlid/linux-rt-rpi"

# What kernels of that time had and 6.1 has no more; KVM, no more on 32-bit ARM, is in the stand-in's own Kconfig.
PAST_OPTIONS = {"AUTOFS4_FS"}  # 2.4 to 4.17
PAST_DEFCONFIGS = {"bcm2709_defconfig", "bcm2709_rt_defconfig"}  # the Foundation's trees since 3.18; Emlid's of 3.18
PAST_DEVICE_TREES = {"bcm2709-rpi-2-b.dts"}  # the Foundation's trees since 3.18
# What 6.1 has and they had not yet, of the options that this project's other fragments name.
LATER_OPTIONS = {
    *("MULTIUSER", "CGROUP_PIDS", "MEMBARRIER", "HWLAT_TRACER", "POSIX_TIMERS"),  # 4.1, 4.3, 4.3, 4.9, 4.10
    *("CPU_ISOLATION", "AUTOFS_FS", "RSEQ", "PREEMPT_RT"),  # 4.15, 4.18, 4.18, 5.3
    *("OSNOISE_TRACER", "TIMERLAT_TRACER"),  # 5.14
}
# Of KVM's Kconfig file from 3.9 to 3.19.
VGIC_OPTIONS = """
config KVM_ARM_VGIC
	bool "The chip's own GIC for guests"
	depends on KVM
	default y

config KVM_ARM_TIMER
	bool "The chip's own timers for guests"
	depends on KVM_ARM_VGIC
	default y
"""
EMULATED_GIC_OPTIONS = """
config KVM_ARM_VGIC_EMU
	bool "An emulated GIC for guests"
	depends on KVM
	depends on !KVM_ARM_VGIC
"""


# ------------------------------------------------------------------------------------------------------ the stand-ins


@dataclass(frozen=True)
class StandIns:
    """A mirror folder with all that the entries name, and the commits of its repositories by URL."""

    mirror: Path
    commits: dict[str, str]

    def file(self, url: str) -> Path:
        """Where the mirror has what is at a URL."""
        parts = urlsplit(url)
        path = self.mirror / (parts.hostname or "") / parts.path.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def entry(self, name: str) -> Entry:
        """An entry of the catalogue with the sums and the commit of its stand-ins."""
        entry = copy.deepcopy(ENTRIES[name])
        source = entry["source"]
        if source["type"] == "git":
            source["commit"] = self.commits[source["url"]]
        for body in (*([source] if source["type"] == "tarball" else []), *entry.get("patches", []), entry["toolchain"]):
            body.pop("signed_sums", None)
            body["sha256"] = hashlib.sha256(self.file(body["url"]).read_bytes()).hexdigest()
        return entry


@pytest.fixture(scope="module")
def names() -> Path:
    """A folder of lists of names that Linux 6.1 has; kept in the cache."""
    recipe = Recipe(
        name="kernel-names",
        script=HERE / "kernel_names.sh",
        inputs={"SUITE": "bookworm", "PACKAGE": "linux-source-6.1"},
        as_root=True,
    )
    return artifacts.build(recipe, artifacts.cache_folder(), print).path


@pytest.fixture(scope="module")
def stand_ins(names: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[StandIns]:
    """Everything that the entries fetch, under the URLs that it really has."""
    folder = tmp_path_factory.mktemp("stand-ins")
    made = StandIns(folder / "mirror", {})

    rpi = Tree(made.mirror / "linux", names, "3.18.16", VGIC_OPTIONS)
    made.commits[FOUNDATION] = rpi.commit()
    pack(made.file(f"{KERNEL_ORG}/projects/rt/3.18/older/patch-3.18.16-rt13.patch.xz"), rpi.patch(realtime("rt13")))
    made.file(f"{FOUNDATION}/pull/902.patch").write_bytes(rpi.patch(emulated_gic, "-U0"))

    emlid = Tree(made.mirror / "linux-rt-rpi", names, "3.18.9", VGIC_OPTIONS)
    realtime("rt5")(emlid.folder)
    made.commits[EMLID] = emlid.commit()

    sunxi = Tree(folder / "linux-4.4.6", names, "4.4.6", "")
    sunxi.commit()
    sunxi.tarball(made.file(f"{KERNEL_ORG}/v4.x/linux-4.4.6.tar.xz"))
    for version in ("4.4.4-rt11", "4.4.6-rt12"):
        patch = sunxi.patch(realtime(version.partition("-")[2]))
        pack(made.file(f"{KERNEL_ORG}/projects/rt/4.4/older/patch-{version}.patch.xz"), patch)

    for release, compiler in (("4.9-2017.01", "4.9.4-2017.01"), ("5.5-2017.10", "5.5.0-2017.10")):
        name = f"gcc-linaro-{compiler}-x86_64_arm-linux-gnueabihf"
        toolchain(folder / name, made.file(f"{LINARO}/{release}/arm-linux-gnueabihf/{name}.tar.xz"))
    return made


class Tree:
    """A stand-in for a kernel's source tree, in a git repository of its own."""

    def __init__(self, folder: Path, names: Path, version: str, kvm_options: str) -> None:
        self.folder = folder
        shutil.copytree(HERE / "stand_in_kernel", folder)
        (folder / "Makefile.version").write_text(f"VERSION = {version}\n")
        with (folder / "arch/arm/kvm/Kconfig").open("a") as kconfig:
            kconfig.write(kvm_options)
        options = set((names / "options").read_text().split()) - LATER_OPTIONS | PAST_OPTIONS
        (folder / "Kconfig").write_text("".join(f"config {option}\n" for option in sorted(options)))
        for name in set((names / "defconfigs").read_text().split()) | PAST_DEFCONFIGS:
            settings = 'CONFIG_LOCALVERSION="-v7"\n' if name.startswith("bcm2709") else ""
            write(folder / "arch/arm/configs" / name, settings)
        for name in set((names / "device_trees").read_text().split()) | PAST_DEVICE_TREES:
            write(folder / "arch/arm/boot/dts" / name, "")
        self._git("init", "--quiet")

    def commit(self) -> str:
        """Commit all that is there; returns the id."""
        self._git("add", "--all")
        self._git("commit", "--quiet", "--message", "A stand-in")
        return self._git("rev-parse", "HEAD").decode().strip()

    def patch(self, change: Callable[[Path], None], *options: str) -> bytes:
        """The patch that makes a change; the tree itself stays as it is committed."""
        change(self.folder)
        self._git("add", "--all")
        patch = self._git("diff", "--cached", *options)
        self._git("reset", "--quiet", "--hard")
        return patch

    def tarball(self, target: Path) -> None:
        """Pack what is committed, as kernel.org does."""
        archive = self._git("archive", f"--prefix={self.folder.name}/", "HEAD")
        pack(target, archive)

    def _git(self, *words: str) -> bytes:
        who = {f"GIT_{role}_{what}": "rtvirt" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
        environment = {**os.environ, **who, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
        return subprocess.run(
            ["git", *words], cwd=self.folder, env=environment, check=True, stdout=subprocess.PIPE
        ).stdout


def realtime(name: str) -> Callable[[Path], None]:
    """What the real-time patch changes; it fits only a tree whose GIC is still the real one."""

    def change(folder: Path) -> None:
        write(folder / "localversion-rt", f"-{name}\n")
        write(folder / "kernel/Kconfig.preempt", "config PREEMPT_RT_FULL\n")
        interrupts = folder / "Documentation/interrupts.txt"
        interrupts.write_text(
            interrupts.read_text().replace("spinning", "sleeping").replace("not threaded", "threaded")
        )

    return change


def emulated_gic(folder: Path) -> None:
    """What the patch for guests on a chip without a GIC changes; it fits a tree with the real-time patch or without."""
    write(folder / "arch/arm/kvm/Kconfig.emulated", EMULATED_GIC_OPTIONS)
    kconfig = folder / "arch/arm/kvm/Kconfig"
    kconfig.write_text(kconfig.read_text().replace("depends on KVM_ARM_VGIC\n", "depends on KVM_ARM_VGIC_EMU\n"))
    interrupts = folder / "Documentation/interrupts.txt"
    interrupts.write_text(interrupts.read_text().replace("controller: real", "controller: emulated"))


def toolchain(folder: Path, target: Path) -> None:
    """An archive of a compiler that leaves its own name in what it compiles; today's does the work."""
    prefix = folder.name.partition("x86_64_")[2]
    real = shutil.which(f"{prefix}-gcc")
    assert real, f"{prefix}-gcc is not on this machine; run: sudo apt-get install gcc-{prefix}"
    write(folder / "bin" / f"{prefix}-gcc", f'#!/bin/sh\nexec {real} \'-DTOOLCHAIN="{folder.name}"\' "$@"\n').chmod(
        0o755
    )
    with tarfile.open(target, "w:xz") as archive:
        archive.add(folder, folder.name)


def pack(target: Path, content: bytes) -> None:
    """Write something compressed with xz."""
    target.write_bytes(subprocess.run(["xz", "--stdout"], input=content, check=True, stdout=subprocess.PIPE).stdout)


def write(path: Path, text: str) -> Path:
    """Write a file, making its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


# ---------------------------------------------------------------------------------------------------- with the role

PLAYBOOK = """\
- name: Make kernels
  hosts: localhost
  gather_facts: false
  roles:
    - role: rtvirt.testbed.kernel_build
  tasks:
    - name: Tell where they are
      ansible.builtin.copy:
        content: "{{ kernel_build_artifacts.results | items2dict(key_name='name', value_name='path') | to_json }}"
        dest: "{{ playbook_dir }}/made.json"
        mode: "0644"
"""


@pytest.fixture(scope="module")
def made(stand_ins: StandIns, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Every entry made by the role, in one run of a playbook: the folder of each kernel by its name."""
    folder = tmp_path_factory.mktemp("role")
    given = {
        "kernel_build_names": list(ENTRIES),
        "kernel_build_catalogue": {name: stand_ins.entry(name) for name in ENTRIES},
        "kernel_build_mirror": str(stand_ins.mirror),
    }
    write(folder / "make.yml", PLAYBOOK)
    write(folder / "given.json", json.dumps(given))
    environment = {
        **os.environ,
        "ANSIBLE_CONFIG": str(collection.ANSIBLE_CONFIG),
        "XDG_CACHE_HOME": str(folder / "cache"),
    }
    command = [Path(sys.executable).parent / "ansible-playbook", "-e", "@given.json", "make.yml"]
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=600
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return {name: Path(path) for name, path in json.loads((folder / "made.json").read_text()).items()}


@pytest.mark.parametrize("name", ENTRIES)
def test_an_entry_makes_the_kernel_that_it_promises(name: str, made: dict[str, Path]) -> None:
    entry = ENTRIES[name]
    told = json.loads((made[name] / "kernel.json").read_text())
    assert re.search(entry["expects"]["release"], told["release"])
    assert told["realtime"] == entry["expects"]["realtime"]
    assert "CONFIG_KVM=y" in (made[name] / "config").read_text().splitlines()
    for device_tree in entry["device_trees"]:
        assert (made[name] / "dtbs" / device_tree).is_file()


@pytest.mark.parametrize("name", ENTRIES)
def test_an_entry_is_compiled_for_arm_by_its_own_compiler(name: str, made: dict[str, Path]) -> None:
    image = (made[name] / "vmlinuz").read_bytes()
    assert image[:4] == b"\x7fELF" and image[18] == 40  # EM_ARM
    assert Path(ENTRIES[name]["toolchain"]["url"]).name.removesuffix(".tar.xz").encode() in image


def test_signed_sums_are_kernel_orgs_and_beside_what_they_sign() -> None:
    patches = [patch for entry in ENTRIES.values() for patch in entry.get("patches", []) if "signed_sums" in patch]
    assert patches
    for patch in patches:
        assert patch["signed_sums"]["url"] == patch["url"].rpartition("/")[0] + "/sha256sums.asc"
        assert patch["signed_sums"]["fingerprint"] == KERNEL_ORG_KEY


# ---------------------------------------------------------------------- what would be wrong, and that it is noticed


def misspell(entry: Entry, files: Path) -> None:
    rewrite(files / "config/kvm_armhf.config", "CONFIG_KVM=y", "CONFIG_KVMM=y")


def ask_too_early(entry: Entry, files: Path) -> None:
    entry["config"]["fragments"].append("preempt_rt_series.config")


def forget_what_kvm_needs(entry: Entry, files: Path) -> None:
    rewrite(files / "config/kvm_armhf.config", "CONFIG_ARM_LPAE=y", "")


def look_for_a_real_gic(entry: Entry, files: Path) -> None:
    rewrite(files / "config/kvm_emulated_gic.config", "# CONFIG_KVM_ARM_VGIC is not set", "")


def misspell_base(entry: Entry, files: Path) -> None:
    entry["config"]["base"] = "sunx_defconfig"


def misspell_device_tree(entry: Entry, files: Path) -> None:
    entry["device_trees"] = ["sun7i-a20-cubieboard-2.dtb"]


def swap_patches(entry: Entry, files: Path) -> None:
    entry["patches"].reverse()


def forget_patches(entry: Entry, files: Path) -> None:
    entry["patches"].clear()


def take_another_prefix(entry: Entry, files: Path) -> None:
    entry["toolchain"]["prefix"] = "arm-linux-gnueabi-"


def forget_the_habit_of_dtc(entry: Entry, files: Path) -> None:
    entry["make"] = []


def want_another_image(entry: Entry, files: Path) -> None:
    entry["image"] = "bzImage"


@pytest.mark.parametrize(
    ("name", "mistake", "told"),
    [
        ("sunxi-4.4.6", misspell, r"CONFIG_KVMM=y \(this kernel has no such option\)"),
        ("sunxi-4.4.6", ask_too_early, r"CONFIG_PREEMPT_RT=y \(this kernel has no such option\)"),
        ("sunxi-4.4.6", forget_what_kvm_needs, r"CONFIG_KVM=y \(found n; .* not met: ARM_LPAE\)"),
        ("rpi-3.18.16", look_for_a_real_gic, r"CONFIG_KVM_ARM_VGIC_EMU=y \(found n; .* not met: !KVM_ARM_VGIC\)"),
        ("sunxi-4.4.6", misspell_base, "'make sunx_defconfig' failed"),
        ("sunxi-4.4.6", misspell_device_tree, "No rule to make target 'sun7i-a20-cubieboard-2.dtb'"),
        ("rpi-3.18.16-rt13", swap_patches, r"patch patch-3\.18\.16-rt13\.patch\.xz \(2 of 2\) does not apply"),
        ("sunxi-4.4.6-rt11", forget_patches, r"CONFIG_PREEMPT_RT_FULL=y \(this kernel has no such option\)"),
        ("rpi-3.18.9-rt5", forget_patches, r"CONFIG_KVM_ARM_VGIC_EMU=y \(this kernel has no such option\)"),
        ("rpi-3.18.9-rt5", take_another_prefix, "has no bin/arm-linux-gnueabi-gcc"),
        ("sunxi-4.4.6", forget_the_habit_of_dtc, "multiple definition of `yylloc'"),
        ("sunxi-4.4.6", want_another_image, "No rule to make target 'bzImage'"),
    ],
)
def test_a_mistake_in_an_entry_is_noticed(
    name: str, mistake: Callable[[Entry, Path], None], told: str, stand_ins: StandIns, tmp_path: Path
) -> None:
    entry = stand_ins.entry(name)
    files = shutil.copytree(FILES, tmp_path / "files")
    mistake(entry, files)
    cache = tmp_path / "cache"
    workshop = BuildContext(files, Store(cache, mirror=stand_ins.mirror), cache, jobs=1)
    with pytest.raises(BuildError, match=told):
        make_kernel(read_kernel(name, entry, name), workshop, print)


def rewrite(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
