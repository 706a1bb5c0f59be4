"""Options that Kconfig drops are named, with what they depend on."""

from __future__ import annotations

from pathlib import Path

import pytest

from rtvirt_runner.build.kconfig import dropped_options, main, read_config, wanted_options

KCONFIG = """\
mainmenu "A tree"

config PREEMPT_RT
\tbool "Fully preemptible"
\thelp
\t  If you say yes
\t  config NOT_A_SYMBOL
\t  depends on nothing here.

menu "Devices"
\tdepends on HAS_IOMEM

if PCI

config WATCHDOG_CARD
\ttristate "A card"
\tdepends on !PREEMPT_RT && \\
\t\t(X86 || ARM64)

endif # PCI

endmenu

config AFTERWARDS
\tbool "Outside of all"
"""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    (tmp_path / "arch/arm64").mkdir(parents=True)
    (tmp_path / "arch/x86").mkdir()
    (tmp_path / "Kconfig").write_text(KCONFIG)
    (tmp_path / "arch/arm64/Kconfig").write_text("config ARM64\n\tdef_bool y\n\nconfig KVM\n\tbool\n\tdepends on OF\n")
    (tmp_path / "arch/x86/Kconfig").write_text("config KVM\n\tbool\n\tdepends on X86_LOCAL_APIC\n")
    return tmp_path


def test_a_config_says_n_in_two_ways() -> None:
    text = '# a remark\nCONFIG_A=y\n# CONFIG_B is not set\nCONFIG_C=n\nCONFIG_D="a b"\nCONFIG_E=64\n'
    assert read_config(text) == {
        "CONFIG_A": "y",
        "CONFIG_B": "n",
        "CONFIG_C": "n",
        "CONFIG_D": '"a b"',
        "CONFIG_E": "64",
    }


def test_the_last_fragment_decides() -> None:
    assert wanted_options(["CONFIG_A=y\nCONFIG_B=m\n", "# CONFIG_A is not set\n"]) == {"CONFIG_A": "n", "CONFIG_B": "m"}


def test_what_came_out_as_asked_is_not_named(tree: Path) -> None:
    wanted = {"CONFIG_PREEMPT_RT": "y", "CONFIG_AFTERWARDS": "n", "CONFIG_NO_SUCH": "n"}
    assert dropped_options(wanted, {"CONFIG_PREEMPT_RT": "y"}, tree, "arm64") == []


def test_a_dropped_option_is_told_with_the_blocks_around_it(tree: Path) -> None:
    final = {"CONFIG_PREEMPT_RT": "y", "CONFIG_ARM64": "y", "CONFIG_HAS_IOMEM": "y"}
    (dropped,) = dropped_options({"CONFIG_WATCHDOG_CARD": "y"}, final, tree, "arm64")
    assert dropped.unmet == ("PCI", "!PREEMPT_RT", "X86")
    assert str(dropped) == (
        "CONFIG_WATCHDOG_CARD=y (found n; it depends on HAS_IOMEM && PCI && (!PREEMPT_RT && (X86 || ARM64)), "
        "of which not met: PCI, !PREEMPT_RT, X86)"
    )


def test_an_option_that_comes_out_otherwise_is_dropped_too(tree: Path) -> None:
    (dropped,) = dropped_options({"CONFIG_WATCHDOG_CARD": "m"}, {"CONFIG_WATCHDOG_CARD": "y"}, tree, "arm64")
    assert (dropped.wanted, dropped.found) == ("m", "y")


def test_an_option_that_the_tree_does_not_have(tree: Path) -> None:
    found = dropped_options({"CONFIG_NOT_A_SYMBOL": "y", "CONFIG_AFTERWARDS": "y"}, {}, tree, "arm64")
    assert [str(each) for each in found] == [
        "CONFIG_NOT_A_SYMBOL=y (this kernel has no such option)",
        "CONFIG_AFTERWARDS=y (found n)",
    ]


def test_only_the_architecture_that_is_built_counts(tree: Path) -> None:
    (dropped,) = dropped_options({"CONFIG_KVM": "y"}, {}, tree, "arm64")
    assert dropped.depends == "OF"


def test_the_command_line_fails_when_something_was_dropped(tree: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tree / "config").write_text("CONFIG_PREEMPT_RT=y\n")
    (tree / "good").write_text("CONFIG_PREEMPT_RT=y\n")
    (tree / "bad").write_text("CONFIG_PREEMPT_TR=y\n")
    arguments = [str(tree), "arm64", str(tree / "config"), str(tree / "good")]
    assert main(arguments) == 0
    assert main([*arguments, str(tree / "bad")]) == 1
    assert capsys.readouterr().out == "CONFIG_PREEMPT_TR=y (this kernel has no such option)\n"


def test_fragments_are_joined_whatever_their_last_line_ends_with(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    texts = [
        "CONFIG_TTY=y",
        'CONFIG_NET=y   # network\r\nCONFIG_A="x # y"\t# name\n# CONFIG_B is not set',
        "CONFIG_TTY=m\nCONFIG_C=n\n",
    ]
    for number, text in enumerate(texts):
        (tmp_path / str(number)).write_text(text, newline="")
    assert main(["--wanted", *(str(tmp_path / str(number)) for number in range(len(texts)))]) == 0
    assert capsys.readouterr().out.splitlines() == [
        *("CONFIG_TTY=m", "CONFIG_NET=y", 'CONFIG_A="x # y"', "# CONFIG_B is not set", "# CONFIG_C is not set")
    ]


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("CONFIG_TTY=y   # serial", "y"),
        ("CONFIG_TTY=y\t#", "y"),
        ('CONFIG_TTY="a b" # c', '"a b"'),
        ('CONFIG_TTY="a#b"', '"a#b"'),
        ('CONFIG_TTY="a \\" # b"', '"a \\" # b"'),
        ("CONFIG_TTY=0x10 # c", "0x10"),
        ("  CONFIG_TTY=y", "y"),
        ("CONFIG_TTY=", ""),
    ],
)
def test_a_remark_behind_a_value_is_no_part_of_it(line: str, value: str) -> None:
    assert read_config(line) == {"CONFIG_TTY": value}
