"""What kernel_boot writes for boot loaders, in a folder in the place of /boot; the scripts run in the real /bin/sh."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from rtvirt_runner.catalogue import collection
from rtvirt_runner.machine.script_reply import Reply, compose, parse
from rtvirt_runner.media.rpi_firmware import read_settings

FILES = collection.ROOT / "roles/kernel_boot/files"
FIRMWARE = "coherent_pool=1M 8250.nr_uarts=0 vc_mem.mem_base=0x3ec00000 vc_mem.mem_size=0x40000000 "
LINE = "console=ttyAMA0,115200 console=tty1 root=PARTUUID=738a4d67-02 rootfstype=ext4 rootwait"
# As a Raspberry Pi keeps it: a flag in the firmware's memory, asked and set through the mailbox.
MAILBOX = """#!/bin/sh
case $1 in
0x00038064) echo "$4" >"$FLAG" ;;
0x00030064) echo "0x0000001c 0x80000000 0x00030064 0x00000004 0x80000004 0x0000000$(cat "$FLAG") 0x00000000" ;;
esac
"""


class Board:
    """A folder that looks like /boot, and what runs."""

    shell = ("sh", "-s")

    def __init__(self, folder: Path, loader: str, running: str) -> None:
        self.boot, self.loader, self.tools = folder / "boot", loader, folder / "tools"
        self.boot.mkdir()
        self.tools.mkdir()
        self.running = folder / "cmdline"
        self.running.write_text(f"{running}\n")

    def run(self, script: str, **environment: str) -> Reply:
        """Run sh that may call the loader's functions; ``entry NAME WORDS`` writes an entry of kernel linux-rt."""
        known = {
            **dict.fromkeys(("COMMAND", "FDT", "INITRD", "PARAMETERS", "ARM_WATCHDOG", "U_BOOT_ENV"), ""),
            **{"KERNEL": "linux-rt", "FOLDER": "linux-rt-12345678", "RTVIRT_CHECK_MODE": "no", "UNTRIED": "no"},
            **{
                "BOOT": str(self.boot),
                "RUNNING_LINE": str(self.running),
                "FLAG": str(self.tools / "flag"),
                **environment,
            },
        }
        files = [FILES / "kernel_boot.sh", FILES / f"loader_{self.loader}.sh"]
        entry = 'entry() { entry_text "" "$2" | put "$state/$1.env"; }'
        text = compose("\n".join([*(file.read_text() for file in files), "export FLAG", entry, script]), known)
        env = {**os.environ, "PATH": f"{self.tools}:{os.environ['PATH']}"}
        return parse(
            subprocess.run(self.shell, input=text, env=env, capture_output=True, text=True, check=False).stdout
        )

    def text(self, name: str) -> str:
        return (self.boot / name).read_text()


@pytest.fixture
def pi(tmp_path: Path) -> Board:
    """A Raspberry Pi 2 with settings of its operator, whose firmware knows tryboot."""
    board = Board(tmp_path, "rpi", FIRMWARE + LINE)
    (board.boot / "bootcode.bin").touch()
    (board.boot / "config.txt").write_text("[pi2]\narm_freq=900\n")
    (board.boot / "cmdline.txt").write_text(LINE.replace("ttyAMA0", "serial0") + "\n")
    (board.tools / "vcmailbox").write_text(MAILBOX)
    (board.tools / "vcmailbox").chmod(0o755)
    (board.tools / "flag").write_text("0\n")
    return board


ADOPT = 'rpi_found || exit 1\nrpi_adopt\nprintf \'%s\\n\' "$adopted" | put "$state/default.env"\n'
TRIAL = ADOPT + 'entry trial "root=/dev/mmcblk0p2 isolcpus=3"\nrpi_set_up\nrpi_entries_changed\nrpi_mark\n'
KEEP = 'entry default "root=/dev/mmcblk0p2 isolcpus=3"\nremove "$state/trial.env"\nrpi_entries_changed\n'


def test_pi_adopts_the_line_that_runs_without_the_words_of_the_firmware(pi: Board) -> None:
    assert pi.run(ADOPT).failure is None
    entry = dict(line.split("=", 1) for line in pi.text("rtvirt/default.env").splitlines())
    assert entry["bootargs"] == LINE
    assert entry["rtvirt_kernel"] == "as-found"


def test_pi_refuses_a_line_that_is_not_the_running_one(pi: Board) -> None:
    (pi.boot / "cmdline.txt").write_text("root=/dev/sda1\n")
    assert "does not end with that of" in str(pi.run(ADOPT).failure)


def test_pi_boots_a_trial_from_tryboot_and_leaves_config_alone(pi: Board) -> None:
    before = pi.text("config.txt")
    assert pi.run(TRIAL, ARM_WATCHDOG="kernel_watchdog_timeout=15").failure is None
    assert pi.text("config.txt") == before
    operators, _, ours = pi.text("tryboot.txt").partition("# Made by rtvirt")
    assert operators == before
    settings = dict(line.split("=", 1) for line in ours.splitlines()[2:])
    assert settings["kernel"] == "kernels/linux-rt-12345678/vmlinuz"
    assert settings["os_prefix"] == ""
    assert settings["kernel_watchdog_timeout"] == "15"
    assert pi.text(settings["cmdline"]) == "root=/dev/mmcblk0p2 isolcpus=3\n"
    assert (pi.tools / "flag").read_text() == "1\n"


def test_pi_names_device_tree_and_initramfs_if_there_are_any(pi: Board) -> None:
    pi.run(TRIAL, FDT="dtbs/bcm2836-rpi-2-b.dtb", INITRD="initrd.img")
    assert "\ndevice_tree=kernels/linux-rt-12345678/dtbs/bcm2836-rpi-2-b.dtb\n" in pi.text("tryboot.txt")
    assert "\ninitramfs kernels/linux-rt-12345678/initrd.img followkernel\n" in pi.text("tryboot.txt")


def test_pi_keeps_a_good_kernel_in_config_below_what_is_the_operators(pi: Board) -> None:
    before = pi.text("config.txt")
    pi.run(TRIAL)
    assert pi.run(KEEP).failure is None
    operators, _, ours = pi.text("config.txt").partition("# Made by rtvirt")
    assert operators == before
    assert "kernel=kernels/linux-rt-12345678/vmlinuz" in ours
    assert not (pi.boot / "tryboot.txt").exists()
    assert pi.run("rpi_entries_changed").changes == []
    assert len(list(pi.boot.glob("rtvirt/line-*.txt"))) == 1


def test_pi_gives_up_by_taking_the_mark_and_the_trial_away(pi: Board) -> None:
    before = pi.text("config.txt")
    pi.run(TRIAL)
    assert pi.run('rpi_unmark\nremove "$state/trial.env"\nrpi_entries_changed').failure is None
    assert (pi.tools / "flag").read_text() == "0\n"
    assert pi.text("config.txt") == before
    assert sorted(path.name for path in (pi.boot / "rtvirt").iterdir()) == ["default.env"]
    assert not (pi.boot / "tryboot.txt").exists()


@pytest.mark.parametrize(
    "mailbox", ["exit 255", "echo 0x0000001c 0x80000000 0x00030064 0x00000004 0x00000000 0x00000000 0x00000000"]
)
def test_pi_whose_firmware_knows_no_trial_refuses(pi: Board, mailbox: str) -> None:
    (pi.tools / "vcmailbox").write_text(f"#!/bin/sh\n{mailbox}\n")
    before = pi.text("config.txt")
    assert "cannot boot a kernel on trial" in str(pi.run(TRIAL).failure)
    assert pi.text("config.txt") == before


def test_pi_boots_untried_from_config_and_the_guard_takes_it_back(pi: Board) -> None:
    (pi.tools / "vcmailbox").unlink()
    before = pi.text("config.txt")
    assert pi.run(TRIAL, UNTRIED="yes").failure is None
    assert "kernel=kernels/linux-rt-12345678/vmlinuz" in pi.text("config.txt")
    assert pi.text("rtvirt/config.txt") == before
    subprocess.run(["sh", FILES / "trial_guard.sh", "undo"], env={**os.environ, "BOOT": str(pi.boot)}, check=True)
    assert pi.text("config.txt") == before


def test_check_mode_changes_nothing_on_a_pi(pi: Board) -> None:
    before = sorted(str(path) for path in pi.boot.rglob("*"))
    reply = pi.run(TRIAL, RTVIRT_CHECK_MODE="yes")
    assert reply.failure is None
    assert reply.changes
    assert sorted(str(path) for path in pi.boot.rglob("*")) == before
    assert (pi.tools / "flag").read_text() == "0\n"


@pytest.mark.parametrize("end", ["\n", "", "\r\n", "\n\n"])
@pytest.mark.parametrize(
    "theirs", ["[all]\ndtoverlay=dwc2", "kernel=vmlinuz\ninitramfs initrd.img followkernel", "arm_freq=900"]
)
def test_pi_gives_config_back_byte_for_byte(pi: Board, theirs: str, end: str) -> None:
    before = f"{theirs}{end}".encode()
    (pi.boot / "config.txt").write_bytes(before)
    assert pi.run(TRIAL).failure is None
    assert pi.run(KEEP).failure is None
    once = (pi.boot / "config.txt").read_bytes()
    assert once.count(b"# Made by rtvirt") == 1
    assert b"\n# Made by rtvirt" in once
    assert pi.run(KEEP).changes == []
    assert (
        pi.run('rpi_adopt\nprintf \'%s\\n\' "$adopted" | put "$state/default.env"\nrpi_entries_changed').failure is None
    )
    assert (pi.boot / "config.txt").read_bytes() == before


def test_pi_finds_a_block_that_was_joined_to_the_line_above(pi: Board) -> None:
    (pi.boot / "config.txt").write_text("dtoverlay=dwc2# Made by rtvirt; what is below is its own:\n[all]\nkernel=x\n")
    assert pi.run("rpi_theirs").output == ["dtoverlay=dwc2"]


ASKED = [
    "initramfs initrd.img followkernel",
    " \tinitramfs\tinitrd.img 0x1000",
    "ramfsfile=initrd.img",
    "ramfsfile =initrd.img",
]


@pytest.mark.parametrize("asked", ASKED)
@pytest.mark.parametrize("section", ["[all]", "[pi2]", "[pi4]"])
def test_a_foreign_initramfs_is_kept_from_other_kernels(pi: Board, section: str, asked: str) -> None:
    before = f"{section}\nkernel=vmlinuz\n{asked}\n"
    (pi.boot / "config.txt").write_text(before)
    assert pi.run(TRIAL).failure is None
    assert pi.text("config.txt") == before  # the board's own boot has it
    assert f"\n#rtvirt# {asked}\n" in pi.text("tryboot.txt")
    assert "ramfsfile" not in read_settings(pi.boot, "tryboot.txt", tryboot=True).values
    assert pi.run(KEEP).failure is None
    assert "ramfsfile" not in read_settings(pi.boot).values
    assert pi.run("rpi_theirs").output == before.splitlines()


@pytest.mark.parametrize("asked", ASKED)
@pytest.mark.parametrize("include", ["include own.txt", "include\town.txt", "  include   own.txt"])
def test_an_included_initramfs_is_refused_with_advice_that_keeps_the_boards_own_boot(
    pi: Board, include: str, asked: str
) -> None:
    (pi.boot / "config.txt").write_text(f"{include}\n")
    (pi.boot / "own.txt").write_text(f"{asked}\n")
    failure = str(pi.run(ADOPT).failure)
    assert f"{pi.boot}/own.txt" in failure
    assert f"move that line to {pi.boot}/config.txt itself" in failure


@pytest.mark.parametrize(
    ("model", "refused"),
    [("Raspberry Pi 2 Model B Rev 1.1", False), ("Raspberry Pi 4 Model B Rev 1.4", True), ("", True)],
)
def test_an_included_initramfs_of_another_model_is_none(pi: Board, model: str, refused: bool) -> None:
    (pi.boot / "config.txt").write_text("[pi4]\ninclude own.txt\n[all]\narm_freq=900\n")
    (pi.boot / "own.txt").write_text("initramfs initrd.img followkernel\n")
    (pi.tools / "model").write_text(f"{model}\0")
    assert (pi.run(ADOPT, MODEL_FILE=str(pi.tools / "model")).failure is not None) == refused


@pytest.mark.parametrize(
    "config", ["cmdline=own.txt\r\n", "cmdline=own.txt", " cmdline=own.txt\n", "include more.txt\n"]
)
def test_pi_finds_the_file_of_the_command_line(pi: Board, config: str) -> None:
    (pi.boot / "config.txt").write_text(config)
    (pi.boot / "more.txt").write_text("cmdline=own.txt")
    (pi.boot / "own.txt").write_text(f"{LINE}\r\n")
    (pi.boot / "cmdline.txt").write_text("root=/dev/sda1\n")
    assert pi.run(ADOPT).failure is None
    assert f"\nbootargs={LINE}\n" in pi.text("rtvirt/default.env")


@pytest.mark.parametrize("text", ["", "\n", "  \n", "rootwait\n", f"\n{LINE}\n"])
def test_pi_refuses_a_command_line_file_without_what_runs(pi: Board, text: str) -> None:
    (pi.boot / "cmdline.txt").write_text(text)
    assert f"does not end with that of {pi.boot}/cmdline.txt" in str(pi.run(ADOPT).failure)
    (pi.boot / "cmdline.txt").unlink()
    assert "a file that is missing or blank counts as none" in str(pi.run(ADOPT).failure)


def test_a_line_longer_than_the_firmware_reads_is_refused(pi: Board) -> None:
    folder = f"{'k' * 54}-12345678"
    reply = pi.run(TRIAL, FOLDER=folder, FDT="dtbs/bcm2836-rpi-2-b.dtb")
    assert "would have 108 characters, and the firmware reads 98 of a line" in str(reply.failure)
    assert not (pi.boot / "tryboot.txt").exists()
    assert pi.run(TRIAL, FOLDER=folder, INITRD="").failure is None
    assert "the firmware reads 64" in str(pi.run(TRIAL, FOLDER=folder[-50:], INITRD="initrd.img").failure)


RETURN = (FILES / "return.sh").read_text()


def test_pi_returns_to_what_was_found_on_it(pi: Board) -> None:
    before = {path.name: path.read_text() for path in pi.boot.glob("*.txt")}
    pi.run(ADOPT + 'put "$state/original.env" <"$state/default.env"\n' + TRIAL + KEEP)
    pi.running.write_text(f"{FIRMWARE}root=/dev/mmcblk0p2 isolcpus=3 rtvirt.kernel=linux-rt\n")
    assert "kernel=kernels/linux-rt-12345678/vmlinuz" in pi.text("config.txt")
    reply = pi.run(RETURN, LOADERS="rpi")
    assert reply.failure is None and reply.facts == {"reboot": "yes"}
    assert {path.name: path.read_text() for path in pi.boot.glob("*.txt")} == before
    assert (pi.boot / "rtvirt/default.env").read_text() == (pi.boot / "rtvirt/original.env").read_text()
    pi.running.write_text(FIRMWARE + LINE + "\n")
    again = pi.run(RETURN, LOADERS="rpi")
    assert again.facts == {} and again.changes == []


def test_a_board_of_our_card_has_nothing_to_return_to(pi: Board) -> None:
    pi.run(TRIAL + KEEP + 'put "$state/original.env" <"$state/default.env"')
    before = pi.text("config.txt")
    assert pi.run(RETURN, LOADERS="rpi").changes == [] and pi.text("config.txt") == before


@pytest.fixture
def pc(tmp_path: Path) -> Board:
    return Board(tmp_path, "grub", "BOOT_IMAGE=/boot/vmlinuz-6.1 root=UUID=1 ro")


@pytest.mark.parametrize(
    ("line", "quoted"),
    [
        ("root=UUID=1 ro quiet", "'root=UUID=1' 'ro' 'quiet'"),
        ("a=$x;y {z}", "'a=$x;y' '{z}'"),
        ('ro "dyndbg=file foo +p" quiet', "'ro' 'dyndbg=file foo +p' 'quiet'"),
        ("", ""),
    ],
)
def test_grub_gets_each_word_as_it_is(pc: Board, line: str, quoted: str) -> None:
    reply = pc.run('printf "<%s>\\n" "$(grub_quoted "$WHOLE")"', WHOLE=line)
    assert reply.output == [f"<{quoted}>"]


@pytest.mark.parametrize("line", ['dyndbg="file foo +p"', "a='b'", "a=b\\c", 'ro "open'])
def test_words_that_grub_would_change_are_refused(pc: Board, line: str) -> None:
    reply = pc.run('grub_quoted "$WHOLE"', WHOLE=line)
    assert reply.failure is not None
    assert "GRUB cannot pass the command line on as it is" in " ".join(reply.output)


@pytest.mark.parametrize("line", ['ro dyndbg="file a.c +p" quiet', "ro a=\\x20b"])
@pytest.mark.parametrize("step", ["grub_entries_changed", "trial_line=$WHOLE\ngrub_set_up"])
def test_the_reason_why_grub_refuses_a_line_is_what_is_said(pc: Board, line: str, step: str) -> None:
    (pc.boot / "grub").mkdir()
    (pc.boot / "grub/grub.cfg").write_text("next_entry custom.cfg\n")
    reply = pc.run(f'entry default "$WHOLE"\n{step}', WHOLE=line)
    assert str(reply.failure).startswith(
        "GRUB cannot pass the command line on as it is, because of quotes or backslashes in:"
    )
    assert "quote a word as a whole" in str(reply.failure)
    assert not (pc.boot / "grub/rtvirt.cfg").exists()


@pytest.mark.parametrize("theirs", ["", "menuentry 'mine' {}\n"])
def test_grub_forgets_our_entries_and_keeps_the_operators(pc: Board, theirs: str) -> None:
    (pc.boot / "grub").mkdir()
    (pc.boot / "grub/rtvirt.cfg").write_text("menuentry 'rtvirt' {}\n")
    if theirs:
        (pc.boot / "grub/custom.cfg").write_text(theirs)
    assert pc.run("grub_put_hook").failure is None
    assert pc.text("grub/custom.cfg").startswith(theirs + "if [")
    assert pc.run("grub_forget").failure is None
    found = {path.name: path.read_text() for path in (pc.boot / "grub").iterdir()}
    assert found == ({"custom.cfg": theirs} if theirs else {})
    assert pc.run("grub_forget").changes == []
