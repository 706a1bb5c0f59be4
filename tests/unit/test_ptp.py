"""Samples of PTP_KVM on the clocks of traces, against clocks whose truth is known."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtvirt_runner.analysis.late.ptp import clock_samples

SECOND = 10**9
BOOTED = 1_790_000_000 * SECOND  # by the board's wall clock


def read(at: int, rate: float, error: int = 25) -> dict[str, object]:
    """A row of the board: its raw clock is at ``at``, its wall clock goes faster by ``rate``."""
    return {"raw_ns": str(at), "real_ns": str(BOOTED + at + round(rate * at)), "error_ns": str(error)}


def sampled(at: int, rate: float, offset: int, drift: float) -> dict[str, object]:
    """A row of the guest, whose raw clock is ``offset`` behind the board's and goes faster by ``drift``."""
    return {"raw_ns": str(at - offset + round(drift * at)), "host_real_ns": str(BOOTED + at + round(rate * at))}


@given(
    st.integers(1, 10**6),
    st.integers(1, 3600),
    st.floats(-400e-6, 400e-6),
    st.integers(-(10**15), 10**15),
    st.floats(-100e-6, 100e-6),
)
def test_the_truth_is_within_the_error(begun_s: int, lasts_s: int, rate: float, offset: int, drift: float) -> None:
    begun, ended = begun_s * SECOND, (begun_s + lasts_s) * SECOND
    instants = [begun + SECOND // 3, ended + SECOND // 2]
    board = [read(begun, rate), read(ended, rate)]
    samples = clock_samples(board, [sampled(at, rate, offset, drift) for at in instants])
    for at, sample in zip(instants, samples, strict=True):
        assert sample.guest_ns == at - offset + round(drift * at)
        assert abs(sample.host_ns - at) <= sample.error_ns <= 1000


def test_a_clock_that_changes_its_rate_within_a_run_is_within_the_error_too() -> None:
    begun, middle, ended = 0, 50 * SECOND, 100 * SECOND
    behind = round(1e-6 * middle)  # it went slower by 1 ppm until the middle
    board = [read(begun, 0), {"raw_ns": ended, "real_ns": BOOTED + ended - behind, "error_ns": 25}]
    (sample,) = clock_samples(board, [{"raw_ns": 7, "host_real_ns": BOOTED + middle - behind}])
    assert abs(sample.host_ns - middle) <= sample.error_ns


@pytest.mark.parametrize(
    "board",
    [
        [],
        [read(SECOND, 0)],
        [read(SECOND, 0), {"raw_ns": str(2 * SECOND)}],
        [read(SECOND, 0), read(2 * SECOND, 1e-3)],  # it was set
    ],
)
def test_where_the_board_s_clocks_are_not_known_nothing_is_said(board: list[dict[str, object]]) -> None:
    assert clock_samples(board, [sampled(SECOND, 0, 5, 0)]) == ()


def test_rows_of_the_guest_that_are_not_whole_count_as_none() -> None:
    board = [read(SECOND, 0), read(2 * SECOND, 0)]
    rows: list[dict[str, object]] = [{}, {"raw_ns": "x", "host_real_ns": "1"}, sampled(SECOND, 0, 5, 0)]
    assert len(clock_samples(board, rows)) == 1
