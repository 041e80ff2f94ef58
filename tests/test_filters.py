"""The one-euro filter: steady when slow, quick when fast, the same at any frame rate."""

import numpy as np
import pytest

from dashgaze.device.filters import OneEuroFilter


def run(signal, rate_hz, **settings):
    smooth = OneEuroFilter(**({"min_cutoff_hz": 1.0, "beta": 0.0} | settings))
    times = np.arange(0, 4, 1 / rate_hz)
    return times, np.array([smooth(t, np.atleast_1d(signal(t)))[0] for t in times])


def test_noise_at_rest_is_smoothed():
    rng = np.random.default_rng(0)
    _, out = run(lambda t: rng.normal(), 30)
    assert out[30:].std() < 0.4


def test_a_step_passes_as_a_first_order_low_pass_at_any_rate():
    for rate in (10, 30, 120):
        times, out = run(lambda t: float(t > 1), rate)
        # One time constant (1 / 2 pi s at 1 Hz) after the step 63 % are there.
        assert np.interp(1 + 1 / (2 * np.pi), times, out) == pytest.approx(0.63, abs=0.15)
        assert out[-1] == pytest.approx(1, abs=1e-3)


def test_speed_opens_the_filter():
    _, slow = run(lambda t: float(t > 1), 30, beta=0.0)
    _, fast = run(lambda t: float(t > 1), 30, beta=2.0)
    assert fast[31:35].sum() > slow[31:35].sum()


def test_a_gap_starts_afresh():
    smooth = OneEuroFilter(1.0, 0.0)
    smooth(0.0, np.array([0.0]))
    assert smooth(5.0, np.array([7.0]))[0] == 7.0


def test_a_sample_that_is_not_finite_harms_nothing_after_it():
    smooth = OneEuroFilter(1.0, 0.0)
    smooth(0.0, np.array([1.0]))
    assert np.isnan(smooth(0.1, np.array([np.nan]))[0])
    assert np.isfinite(smooth(0.2, np.array([1.0]))[0])


def test_the_same_stamp_twice_changes_nothing():
    smooth = OneEuroFilter(1.0, 0.0)
    smooth(0.0, np.array([1.0]))
    assert smooth(0.0, np.array([9.0]))[0] == 1.0
