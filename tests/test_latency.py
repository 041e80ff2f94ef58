"""Percentiles in bounded memory agree with those of all the samples."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashgaze.device.latency import LatencyHistogram


def histogram_of(durations):
    histogram = LatencyHistogram()
    for duration in durations:
        histogram.add(duration)
    return histogram.summary()


@given(st.lists(st.floats(0.01, 5000), min_size=1, max_size=300))
def test_percentiles_are_right_to_two_and_a_half_percent_and_the_maximum_exactly(durations):
    summary = histogram_of(durations)
    for percent in (50, 95, 99):
        exact = np.percentile(durations, percent, method="inverted_cdf")
        assert summary[f"p{percent}"] == pytest.approx(exact, rel=0.025, abs=1e-4)
    assert summary["max"] == pytest.approx(max(durations), abs=1e-4)


def test_nothing_measured_is_unknown_and_not_zero():
    assert LatencyHistogram().summary() is None


def test_absurd_durations_do_no_harm():
    assert histogram_of([0.0, 1e12])["max"] == 1e12
