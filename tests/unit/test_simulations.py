"""What the statistics promise, in few runs; the figures of docs/statistics.md are of more."""

from __future__ import annotations

import pytest

from rtvirt_runner.analysis import simulations
from rtvirt_runner.analysis.simulations import SECTIONS, Row


@pytest.mark.parametrize("section", SECTIONS)
def test_promises_are_kept(section: str) -> None:
    rows = list(SECTIONS[section](20 if section in ("tails", "shapes") else 60))
    assert len(rows) > 3
    assert [row for row in rows if not row.kept] == []


def test_more_repetitions_call_more_effects() -> None:
    called = [row.share for row in SECTIONS["power"](200) if row.what.startswith("effects called")]
    assert called == sorted(called)
    assert called[0] < 20
    assert called[-1] > 80


def test_a_broken_promise_is_seen() -> None:
    assert [Row("", promised, share, 1000).kept for promised, share in (("95", 93), ("95", 92.5), ("95", 97.5))] == [
        True,
        False,
        False,
    ]
    assert [Row("", promised, share, 1000).kept for promised, share in ((">= 95", 100), (">= 95", 92))] == [True, False]
    assert [Row("", promised, share, 1000).kept for promised, share in (("<= 5", 0), ("<= 5", 8), ("", 50))] == [
        True,
        False,
        True,
    ]


def test_an_unknown_section_and_too_few_runs_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, said in (
        (["tail"], "there is no section 'tail', expected some of"),
        (["--runs", "5"], "20 or more"),
    ):
        with pytest.raises(SystemExit) as ended:
            simulations.main(arguments)
        assert ended.value.code == 2
        assert said in capsys.readouterr().err
