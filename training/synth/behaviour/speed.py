"""The car's speed: cruising, queues, bends, stops at lights, within what passengers call comfortable.

Stretches of constant wish follow each other; the car follows the wish with limited acceleration (at most 3 m/s2 either
way; Hoberock 1977 and Eboli et al. 2016 put comfortable driving within 2 to 3) and limited jerk.
"""

from collections.abc import Iterator

import numpy as np

from dashgaze.geometry import Floats
from dashgaze.training.synth.records import RoadType, Traffic

STEP_S = 0.1
STRONGEST_MPS2 = 2.8
REACTION_S = 0.5
LIMIT_KMH: dict[RoadType, float] = {"urban": 50.0, "rural": 90.0, "motorway": 125.0}
FLOW: dict[Traffic, tuple[float, float]] = {"light": (0.85, 1.1), "moderate": (0.65, 1.0), "dense": (0.3, 0.75)}
"""Range of the wished speed, as a share of the limit."""
STOPS: dict[RoadType, dict[Traffic, float]] = {
    "urban": {"light": 0.22, "moderate": 0.3, "dense": 0.4},
    "rural": {"light": 0.03, "moderate": 0.05, "dense": 0.12},
    "motorway": {"light": 0.0, "moderate": 0.0, "dense": 0.08},
}
"""Share of the stretches that are stops."""


def speed_profile(
    rng: np.random.Generator, road_type: RoadType, traffic: Traffic, duration_s: float
) -> tuple[Floats, Floats]:
    """Times in s, from 0 to at least `duration_s`, and the speed in m/s at each."""
    t_s = np.arange(0.0, duration_s + STEP_S, STEP_S)
    wish_mps = np.empty_like(t_s)
    for start_s, mps in _wishes(rng, road_type, traffic, duration_s):
        wish_mps[int(start_s / STEP_S) :] = mps
    brisk = float(rng.uniform(1.2, 2.2))
    speed_mps = np.empty_like(t_s)
    speed, acceleration = float(wish_mps[0]), 0.0
    for i, wish in enumerate(wish_mps):
        speed_mps[i] = speed
        asked = float(np.clip(0.5 * (wish - speed), -1.3 * brisk, brisk))
        acceleration += (asked - acceleration) * STEP_S / REACTION_S
        speed = max(0.0, speed + float(np.clip(acceleration, -STRONGEST_MPS2, STRONGEST_MPS2)) * STEP_S)
    return t_s, speed_mps


def _wishes(
    rng: np.random.Generator, road_type: RoadType, traffic: Traffic, duration_s: float
) -> Iterator[tuple[float, float]]:
    """Yield since when the driver wishes to go how fast."""
    start_s = 0.0
    stopped = bool(rng.random() < 0.85)  # which forbids a stop to begin with: most drives are under way
    while start_s < duration_s:
        stopped = not stopped and bool(rng.random() < STOPS[road_type][traffic])
        low, high = FLOW[traffic]
        yield start_s, 0.0 if stopped else LIMIT_KMH[road_type] * float(rng.uniform(low, high)) / 3.6
        start_s += float(rng.uniform(5.0, 20.0) if stopped else rng.uniform(10.0, 35.0))
