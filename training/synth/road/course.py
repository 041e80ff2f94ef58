"""Where the road runs, where its lanes and lines lie, and how far along it the car is.

Road coordinates, metres: s along the centre line, u across it, positive towards the side on which one drives (right
where the driver sits left). The centre line is a chain of clothoids: its curvature is linear between knots, as road
design standards have it, and straight where noise below a threshold says so. World plan: X right, Z forward at s = 0,
headings in radians positive to the right.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from dashgaze.geometry import Floats
from dashgaze.training.synth.records import RoadType
from dashgaze.zones import HandOfDrive

BEHIND_M, AHEAD_M = 60.0, 600.0
"""How much of the road around the car exists."""
_STEP_M = 1.0
_KNOT_M = {"urban": 55.0, "rural": 90.0, "motorway": 260.0}
_SHARPEST_PER_M = {"urban": 1 / 90, "rural": 1 / 160, "motorway": 1 / 900}
_LATERAL_MPS2 = 2.0
"""Drivers keep the sideways acceleration below this, so that a road driven fast is not sharp."""


@dataclass(frozen=True, slots=True, eq=False)
class EgoMotion:
    """Distance s(t) of the car: the integral of a speed that is linear between its samples, constant outside them."""

    t_s: Floats
    speed_mps: Floats
    distance_m: Floats
    """At the samples."""

    @classmethod
    def of_speed(cls, t_s: ArrayLike, speed_mps: ArrayLike) -> "EgoMotion":
        """Integrate a speed; raises ValueError where times do not grow or a speed is impossible."""
        t, v = np.asarray(t_s, dtype=float), np.asarray(speed_mps, dtype=float)
        if t.ndim != 1 or t.shape != v.shape or not len(t) or not (np.diff(t) > 0).all() or not np.isfinite(t).all():
            raise ValueError(f"speed needs as many growing times as values, not {t.shape} and {v.shape}")
        if not (np.isfinite(v).all() and (v >= 0).all() and (v < 100).all()):
            raise ValueError("speed must be 0 to 100 m/s")
        steps = np.diff(t) * (v[1:] + v[:-1]) / 2
        return cls(t, v, np.concatenate([[0.0], np.cumsum(steps)]))

    def speed(self, t_s: ArrayLike) -> Floats:
        """Speed in m/s at times (...)."""
        return np.asarray(np.interp(np.asarray(t_s, dtype=float), self.t_s, self.speed_mps))

    def distance(self, t_s: ArrayLike) -> Floats:
        """Distance in m from where the car is at the first sample; negative before it."""
        t = np.asarray(t_s, dtype=float)
        i = np.clip(np.searchsorted(self.t_s, t, side="right") - 1, 0, len(self.t_s) - 1)
        after = t - self.t_s[i]
        return np.asarray(self.distance_m[i] + after * (self.speed_mps[i] + self.speed(t)) / 2)

    def stops(self, at_least_s: float = 1.0) -> list[tuple[float, float]]:
        """Intervals (from, to) in s during which the car stands."""
        standing = np.concatenate([[False], self.speed_mps < 0.05, [False]])
        edges = np.flatnonzero(np.diff(standing.astype(np.int8)))
        pairs = [
            (float(self.t_s[a]), float(self.t_s[min(b, len(self.t_s) - 1)])) for a, b in edges.reshape(-1, 2).tolist()
        ]
        return [(a, b) for a, b in pairs if b - a >= at_least_s]


@dataclass(frozen=True, slots=True, eq=False)
class Course:
    """The centre line, tabulated every `_STEP_M` from `start_m` on."""

    start_m: float
    curvature_per_m: Floats
    """Positive to the right."""
    heading: Floats
    x_m: Floats
    z_m: Floats

    @classmethod
    def draw(cls, rng: np.random.Generator, road_type: RoadType, ego: EgoMotion, duration_s: float) -> "Course":
        """Draw a course as long as a drive needs, no sharper than its speed allows."""
        start, end = -BEHIND_M - 200, float(ego.distance(duration_s)) + AHEAD_M + 200
        s = np.arange(start, end + _STEP_M, _STEP_M)
        knots = np.arange(start, end + 2 * _KNOT_M[road_type], _KNOT_M[road_type])
        wish = rng.normal(size=len(knots))
        bends = np.sign(wish) * np.clip(np.abs(wish) - 0.45, 0, 1.2) / 1.2
        times = np.linspace(0, duration_s, 400)
        speed = np.interp(s, ego.distance(times) + 1e-6 * np.arange(400), ego.speed(times))
        # The fastest within 50 m counts: one brakes before the bend, not in it.
        fastest = np.max([np.roll(speed, k) for k in range(-50, 51, 10)], axis=0)
        sharpest = np.minimum(_SHARPEST_PER_M[road_type], _LATERAL_MPS2 / np.maximum(fastest, 1) ** 2)
        curvature = np.interp(s, knots, bends) * np.interp(s, s[::20], sharpest[::20])
        heading = np.concatenate([[0], np.cumsum((curvature[1:] + curvature[:-1]) / 2 * _STEP_M)])
        heading -= np.interp(0, s, heading)
        middle = (heading[1:] + heading[:-1]) / 2
        x = np.concatenate([[0], np.cumsum(np.sin(middle) * _STEP_M)])
        z = np.concatenate([[0], np.cumsum(np.cos(middle) * _STEP_M)])
        return cls(start, curvature, heading, x - np.interp(0, s, x), z - np.interp(0, s, z))

    def _at(self, s_m: ArrayLike, *tables: Floats) -> list[Floats]:
        place = (np.asarray(s_m, dtype=float) - self.start_m) / _STEP_M
        i = np.clip(place.astype(np.int64), 0, len(self.x_m) - 2)
        rest = place - i
        return [table[i] + rest * (table[i + 1] - table[i]) for table in tables]

    def curvature(self, s_m: ArrayLike) -> Floats:
        """Curvature in 1/m, positive to the right."""
        return self._at(s_m, self.curvature_per_m)[0]

    def place(self, s_m: Floats | float, right_m: Floats | float) -> tuple[Floats, Floats, Floats]:
        """World x, z in m and heading of points `right_m` to the right of the centre line."""
        x, z, heading = self._at(s_m, self.x_m, self.z_m, self.heading)
        return x + right_m * np.cos(heading), z - right_m * np.sin(heading), heading


@dataclass(frozen=True, slots=True)
class Line:
    """A painted line along the road."""

    u_m: float
    width_m: float
    period_m: float = 0.0
    """0 for an unbroken line."""
    dash_m: float = 0.0
    yellow: bool = False


@dataclass(frozen=True, slots=True)
class Profile:
    """The road across: u in m, positive on the side on which one drives."""

    own_lanes_m: tuple[float, ...]
    """Middles of the lanes in the car's direction, outermost (slowest) first."""
    ego_lane: int
    oncoming_lanes_m: tuple[float, ...]
    lines: tuple[Line, ...]
    asphalt_m: float
    """Half the width of the asphalt."""
    median_m: float
    """Half the width of the green or barrier between the carriageways; 0 for none."""
    pavement_m: float
    """Width of the pavements beyond the asphalt; 0 for none."""
    parking: bool
    lamp_spacing_m: float
    """Distance of street lamps; 0 for none."""

    @property
    def lane_m(self) -> float:
        """Middle of the car's own lane."""
        return self.own_lanes_m[self.ego_lane]


def _urban(rng: np.random.Generator, yellow: bool) -> Profile:
    lanes, width, parking = int(rng.choice([1, 1, 2])), float(rng.uniform(3.0, 3.4)), bool(rng.random() < 0.75)
    middles = [width * (k + 0.5) for k in range(lanes)][::-1]
    edge = lanes * width + (2.2 if parking else 0.5)
    if lanes == 1 and not yellow:
        centre = [Line(0, 0.12, 6.0, 3.0)]
    else:
        centre = [Line(-0.13, 0.12, yellow=yellow), Line(0.13, 0.12, yellow=yellow)]
    dividers = [Line(sign * width * k, 0.12, 6.0, 2.4) for k in range(1, lanes) for sign in (1, -1)]
    edges = [Line(sign * lanes * width, 0.1) for sign in (1, -1)] if parking else []
    oncoming = tuple(-m for m in middles)
    ego = int(rng.integers(lanes))
    pavement, spacing = float(rng.uniform(2, 4)), float(rng.uniform(24, 34))
    return Profile(tuple(middles), ego, oncoming, (*centre, *dividers, *edges), edge, 0, pavement, parking, spacing)


def _rural(rng: np.random.Generator, yellow: bool) -> Profile:
    width = float(rng.uniform(3.0, 3.6))
    centre = Line(0, 0.13, 12.0, 4.0, yellow=yellow)
    edges = [Line(sign * width, 0.12) for sign in (1, -1)]
    asphalt = width + float(rng.uniform(0.3, 1.0))
    return Profile((width / 2,), 0, (-width / 2,), (centre, *edges), asphalt, 0, 0, False, 0)


def _motorway(rng: np.random.Generator, yellow: bool) -> Profile:
    lanes, width, median = int(rng.choice([2, 3, 3])), 3.65, float(rng.uniform(0.8, 3.0))
    inner = median + 0.9
    middles = [inner + width * (k + 0.5) for k in range(lanes)][::-1]
    dividers = [Line(sign * (inner + width * k), 0.15, 12.0, 4.0) for k in range(1, lanes) for sign in (1, -1)]
    inside = [Line(sign * inner, 0.18, yellow=yellow) for sign in (1, -1)]
    outside = [Line(sign * (inner + lanes * width), 0.18) for sign in (1, -1)]
    lines = (*dividers, *inside, *outside)
    ego, lamps = int(rng.integers(lanes)), float(rng.choice([0.0, 40.0]))
    asphalt = inner + lanes * width + 2.8
    return Profile(tuple(middles), ego, tuple(-m for m in middles), lines, asphalt, median, 0, False, lamps)


_PROFILES: dict[RoadType, Callable[[np.random.Generator, bool], Profile]] = {
    "urban": _urban,
    "rural": _rural,
    "motorway": _motorway,
}


def draw_profile(rng: np.random.Generator, road_type: RoadType, hand_of_drive: HandOfDrive) -> Profile:
    """Draw the road across; yellow lines part the directions in some countries that drive on the right."""
    yellow = hand_of_drive == "left" and rng.random() < 0.4
    return _PROFILES[road_type](rng, yellow)
