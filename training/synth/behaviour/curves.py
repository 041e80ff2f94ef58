"""Curves in time that movements are made of."""

import numpy as np
from numpy.typing import ArrayLike

from dashgaze.geometry import Floats


def ease(progress: ArrayLike) -> Floats:
    """Minimum-jerk movement from 0 to 1 (Flash & Hogan 1985); its peak speed is 1.875 times the mean."""
    x = np.minimum(np.maximum(progress, 0.0), 1.0)  # faster than clip for single numbers
    return np.asarray(x * x * x * (10.0 - x * (15.0 - 6.0 * x)))


def swell(t_s: ArrayLike, start_s: float, end_s: float, attack_s: float, release_s: float) -> Floats:
    """0, rising to 1 from `start_s` on, back at 0 by `end_s`."""
    t = np.asarray(t_s)
    return ease((t - start_s) / attack_s) * ease((end_s - t) / release_s)


def wander(rng: np.random.Generator, t_s: Floats, period_s: float, sd: float) -> Floats:
    """Smooth random course over increasing times from 0 on: independent values every half period, eased between."""
    knots = rng.normal(0.0, sd, int(t_s[-1] / period_s * 2) + 2)
    index, rest = np.divmod(t_s / period_s * 2, 1.0)
    index = index.astype(int)
    return np.asarray(knots[index] + (knots[index + 1] - knots[index]) * ease(rest))


def log_normal(rng: np.random.Generator, mean: float, sd: float) -> float:
    """Draw from the log-normal distribution with this mean and standard deviation."""
    variance = np.log1p((sd / mean) ** 2)
    return float(rng.lognormal(np.log(mean) - variance / 2, np.sqrt(variance)))
