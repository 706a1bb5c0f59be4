"""What a console log says of a trial; the texts are cut from the logs of emulated boards."""

from rtvirt_runner.machine import console_log

BANNER = "U-Boot 2025.01-3+deb13u1 (Jun 24 2026 - 09:07:15 +0000)\n\nDRAM:  1 GiB\n"
GOOD = f"{BANNER}rtvirt: booting debian-rt (default)\n\nStarting kernel ...\n\n\x1b[!p\x1b]104\x07\x1b[?7h"
PANIC = f"""\
{BANNER}rtvirt: booting bad (trial)
Starting kernel ...

[    3.551183] VFS: Unable to mount root fs on unknown-block(0,0)\r
[    3.555171] Kernel panic - not syncing: VFS: Unable to mount root fs on unknown-block(0,0)\r
[    3.560182] ---[ end Kernel panic - not syncing: VFS: Unable to mount root fs on unknown-block(0,0) ]---\r
"""
UNREACHED = f"""\
{BANNER}rtvirt: booting bad (trial)
Starting kernel ...

[ 5402.119] rtvirt: nobody confirmed this trial within 5400 s: back to the last good kernel
"""
SILENT = f"{BANNER}rtvirt: booting bad (trial)\nStarting kernel ...\n\n"
UNLOADED = f"{BANNER}rtvirt: booting bad (trial)\nrtvirt: the trial entry could not be started\nresetting ...\n"


def test_the_current_boot_begins_with_the_last_banner() -> None:
    assert console_log.current_boot(PANIC + GOOD) == GOOD
    assert console_log.current_boot("no banner yet") == "no banner yet"


def test_a_panic_of_an_earlier_boot_is_not_one_of_this_boot() -> None:
    assert console_log.fatal_line(console_log.current_boot(GOOD + PANIC)) == "Kernel panic"
    assert console_log.fatal_line(console_log.current_boot(PANIC + GOOD)) is None


def test_the_trial_is_cut_out_between_the_boot_before_and_the_boot_after() -> None:
    boot = console_log.trial_boot(GOOD + PANIC + GOOD, "bad")
    assert boot.startswith("rtvirt: booting bad (trial)")
    assert "Kernel panic" in boot
    assert "debian-rt" not in boot


def test_it_is_the_last_trial_of_that_kernel() -> None:
    assert "nobody" in console_log.trial_boot(PANIC + GOOD + UNREACHED + GOOD, "bad")
    assert console_log.trial_boot(GOOD, "bad") == ""
    assert console_log.trial_boot(PANIC.replace("booting bad", "booting bad-2"), "bad") == ""


def test_each_end_is_told_apart() -> None:
    ends = {
        text: console_log.trial_end(GOOD + text + GOOD, "bad", "").reason
        for text in (PANIC, UNREACHED, SILENT, UNLOADED)
    }
    assert ends[PANIC] == "it panicked (VFS: Unable to mount root fs on unknown-block(0,0))"
    assert (
        ends[UNREACHED] == "it came up but could not be reached, and gave itself up after 5400 s of the board's clock"
    )
    assert ends[SILENT] == "it hung or restarted without saying why"
    assert ends[UNLOADED] == "the boot loader could not start it"


def test_without_a_console_the_words_that_the_board_kept_are_shown() -> None:
    end = console_log.trial_end(
        "", "bad", "[ 9.1] eth0: no carrier\n[ 600.2] rtvirt: nobody confirmed this trial within 600 s\n"
    )
    assert end.reason == "it came up but could not be reached, and gave itself up after 600 s of the board's clock"
    assert end.lines[0] == "[ 9.1] eth0: no carrier"
    assert console_log.trial_end("", "bad", "").reason == "it did not come up, and no console log says why"


def test_the_last_lines_are_few_and_without_control_sequences() -> None:
    lines = console_log.last_lines(GOOD + "".join(f"line {n}\r\n\n" for n in range(100)))
    assert len(lines) == console_log.LAST_LINES
    assert lines[-1] == "line 99"
    assert "\x1b" not in "".join(console_log.last_lines(GOOD))


def test_the_trace_of_a_panic_does_not_push_it_out() -> None:
    trace = "".join(f"[ 3.6]  function_{n}+0x10/0x20\n" for n in range(40))
    assert any("Kernel panic" in line for line in console_log.last_lines(PANIC + trace))
