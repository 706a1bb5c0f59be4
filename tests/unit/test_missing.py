"""Sentences about cells that are not done."""

from rtvirt_runner.matrix.missing import sentences


def test_a_cell_of_its_own_reason_has_its_own_sentence() -> None:
    assert sentences({"a": "too few samples", "b": "", "c": "isolcpus=1 wanted"}) == [
        "cell a failed: too few samples",
        "cell b was not measured",
        "cell c failed: isolcpus=1 wanted",
    ]


def test_cells_of_one_reason_share_a_sentence_which_names_five() -> None:
    assert sentences({"a": "no room", "b": "", "c": "no room", "d": ""}) == [
        "cells a and c failed: no room",
        "cells b and d were not measured; 'rtvirt plan' shows them",
    ]
    assert sentences(dict.fromkeys("abcde", "no room")) == ["cells a, b, c, d and e failed: no room"]
    assert sentences(dict.fromkeys("abcdefg", "no room")) == ["cells a, b, c, d, e and 2 more failed: no room"]


def test_all_done_needs_no_sentence() -> None:
    assert sentences({}) == []
