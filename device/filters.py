"""Smoothing in time, with the time step taken from the stamps so that dropped frames do not change the result."""

import numpy as np

from dashgaze.geometry import Floats


class OneEuroFilter:
    """The one-euro filter (Casiez, Roussel and Vogel 2012) for a vector of any length.

    Slow signals are smoothed by a first-order low-pass of `min_cutoff_hz`; the cutoff rises with speed, by `beta` Hz for
    each unit a second, so that a saccade passes. A gap longer than `gap_s` starts afresh.
    """

    def __init__(self, min_cutoff_hz: float, beta: float, speed_cutoff_hz: float = 1.0, gap_s: float = 0.5) -> None:
        self._min_cutoff_hz, self._beta = min_cutoff_hz, beta
        self._speed_cutoff_hz, self._gap_s = speed_cutoff_hz, gap_s
        self._state: tuple[float, Floats, Floats] | None = None  # stamp, value, velocity

    def reset(self) -> None:
        """Forget: the next sample passes as it is."""
        self._state = None

    def __call__(self, t_s: float, value: Floats) -> Floats:
        """The filtered value at `t_s`; a sample that is not finite is returned as it is and changes nothing."""
        if not np.isfinite(value).all():
            return value
        if self._state is None or not 0 <= t_s - self._state[0] <= self._gap_s:
            self._state = (t_s, value, np.zeros_like(value))
            return value
        before_s, smooth, velocity = self._state
        dt_s = t_s - before_s
        if dt_s == 0:
            return smooth
        velocity = velocity + _gain(self._speed_cutoff_hz, dt_s) * ((value - smooth) / dt_s - velocity)
        cutoff_hz = self._min_cutoff_hz + self._beta * float(np.linalg.norm(velocity))
        smooth = smooth + _gain(cutoff_hz, dt_s) * (value - smooth)
        self._state = (t_s, smooth, velocity)
        return smooth


def _gain(cutoff_hz: float, dt_s: float) -> float:
    return float(1 - np.exp(-2 * np.pi * cutoff_hz * dt_s))
