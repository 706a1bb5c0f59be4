"""Lists of cores and splits."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtvirt_runner.catalogue.cpus import Split, format_cpu_list, parse_cpu_list


def test_a_cpu_list_is_read_as_the_kernel_writes_it() -> None:
    assert parse_cpu_list("0,2-3") == (0, 2, 3)
    assert parse_cpu_list("") == ()
    assert format_cpu_list([3, 0, 2]) == "0,2-3"


@given(st.sets(st.integers(0, 1023)))
def test_writing_and_reading_a_cpu_list_gives_the_same_cores(cpus: set[int]) -> None:
    assert parse_cpu_list(format_cpu_list(cpus)) == tuple(sorted(cpus))


@pytest.mark.parametrize("text", ["a", "1-", "-1", "3-1", "1,,2", "0-2,1", "1 2", "99999"])
def test_a_malformed_cpu_list_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"not a list|backwards|twice"):
        parse_cpu_list(text)


def test_a_split_writes_its_cores_as_the_kernel_does() -> None:
    split = Split((0, 1, 2), (3,))
    assert (split.host_list, split.guest_list) == ("0-2", "3")
