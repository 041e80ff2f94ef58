"""Smoothing in time, with the time step taken from the stamps so that dropped frames do not change the result."""

import numpy as np
from numpy.typing import NDArray

from dashgaze.geometry import Floats


class OneEuroFilter:
    """The one-euro filter (Casiez, Roussel and Vogel 2012), for an array of any shape, each element on its own.

    Slow signals are smoothed by a first-order low-pass of `min_cutoff_hz`; the cutoff rises with speed, by `beta` Hz
    for each unit a second, so that quick movements pass. A gap longer than `gap_s` starts afresh.
    """

    def __init__(self, min_cutoff_hz: float, beta: float, speed_cutoff_hz: float = 1.0, gap_s: float = 0.5) -> None:
        self._min_cutoff_hz, self._beta = min_cutoff_hz, beta
        self._speed_cutoff_hz, self._gap_s = speed_cutoff_hz, gap_s
        self._t_s = -np.inf
        self._raw = self._smooth = self._speed = np.zeros(0)

    def reset(self) -> None:
        """Forget: the next sample passes as it is."""
        self._t_s = -np.inf

    def __call__(self, t_s: float, value: NDArray[np.floating], unit: float = 1.0) -> Floats:
        """The filtered value at `t_s`; speed counts in `unit` (a length in pixels, say) a second.

        A sample that is not finite is returned as it is and changes nothing.
        """
        raw = np.asarray(value, dtype=float)
        if not np.isfinite(raw).all():
            return raw
        dt_s = t_s - self._t_s
        if not 0 <= dt_s <= self._gap_s or raw.shape != self._raw.shape:
            self._smooth, self._speed = raw, np.zeros_like(raw)
        elif dt_s > 0:
            speed = (raw - self._raw) / (dt_s * unit)
            self._speed = self._speed + _gain(self._speed_cutoff_hz, dt_s) * (speed - self._speed)
            cutoff_hz = self._min_cutoff_hz + self._beta * np.abs(self._speed)
            self._smooth = self._smooth + _gain(cutoff_hz, dt_s) * (raw - self._smooth)
        self._t_s, self._raw = t_s, raw
        return self._smooth


def _gain(cutoff_hz: float | Floats, dt_s: float) -> float | Floats:
    """Share of a new sample in a first-order low-pass."""
    turn = 2 * np.pi * cutoff_hz * dt_s
    return turn / (1 + turn)
