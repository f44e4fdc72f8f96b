"""The window grid covers every clip, without slivers."""

import pytest
from hypothesis import given, strategies as st

from moodreel.timeline import HOP_S, TAIL_S, WINDOW_S, count_windows, window_times, windows_between


@given(st.floats(0, 1e5))
def test_windows_cover_the_clip_and_end_with_it(duration_s):
    n_windows = count_windows(duration_s)
    assert window_times(0, duration_s)[0] == 0.0
    start_s, end_s = window_times(n_windows - 1, duration_s)
    assert end_s == duration_s
    assert start_s < duration_s or duration_s == 0
    assert end_s - start_s <= WINDOW_S + TAIL_S
    if n_windows > 1:
        assert end_s - start_s > WINDOW_S - HOP_S
        assert window_times(n_windows - 2, duration_s)[1] >= start_s


@pytest.mark.parametrize(
    ("duration_s", "n_windows"), [(0, 1), (1.9, 1), (2.2, 1), (2.3, 2), (3.02, 2), (4, 3), (21.5, 21)]
)
def test_golden_counts(duration_s, n_windows):
    assert count_windows(duration_s) == n_windows


@given(st.floats(0, 300), st.lists(st.floats(0, 1), min_size=2, max_size=2))
def test_windows_between_leaves_out_none_that_holds_an_instant(duration_s, shares):
    first_s, last_s = sorted(share * duration_s for share in shares)
    for index in range(count_windows(duration_s)):
        start_s, end_s = window_times(index, duration_s)
        if start_s <= last_s and first_s <= end_s:
            assert index in windows_between(first_s, last_s, duration_s), "a person loses a window"
