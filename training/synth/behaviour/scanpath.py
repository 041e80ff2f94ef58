"""Where the driver looks, fixation by fixation.

Glances alternate between the road and everything else so that the style's share of the time goes to the road; each is
made of fixations of 150 to 600 ms. On the road gaze keeps to where the car will be (Land & Lee 1994, and chapter 11.4.1
of the thesis: the vanishing point, shifted into the bend); its horizontal spread shrinks from some 8 deg at a
standstill to 3 deg at 110 km/h (11.4.3) and is larger at night (11.4.2). Things on the road take some 8 % of it
(11.4.1), more in traffic; a fixation on one follows it as long as it stays in its zone.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dashgaze.geometry import Floats, angle_between_deg, angles_from_rays, rays_from_angles
from dashgaze.training.synth.behaviour.curves import log_normal
from dashgaze.training.synth.behaviour.episodes import Glance
from dashgaze.training.synth.behaviour.places import MIRRORED, Places, on_road
from dashgaze.training.synth.behaviour.styles import DURATIONS_S, ROAD_SIGMA, BehaviourStyle, Habits
from dashgaze.zones import ROAD_ZONES, Zone

Salient = Callable[[float], Sequence[tuple[int, NDArray[np.float64]]]]

WARM_UP_S = 8.0
"""Planning begins and ends so long outside the drive: its first moment is like any other."""
FIXATION_S = 0.40
SHORTEST_FIXATION_S = 0.19
LONGEST_PURSUIT_S = 1.4
CHAINED = 0.1
"""Probability that a glance off the road goes straight on to another."""
MOST_WISH = 0.4
"""Highest probability that a fixation on the road is for a thing."""
NEAREST_THING_MM = 4e3
LOOK_AHEAD_S = 1.8
AHEAD_LIMITS_DEG = (13.0, 10.0, 7.5)
"""Of the road ahead: to either side, down, up."""
STANDSTILL_SD_DEG, FAST_SD_DEG, FAST_MPS = 8.0, 3.0, 30.0
VERTICAL_SD_DEG = 2.2


@dataclass(frozen=True, slots=True, eq=False)
class Look:
    """A fixation as it is meant: from the beginning of the saccade that leads to it, to the beginning of the next."""

    onset_s: float
    end_s: float
    zone: Zone
    point_mm: Floats
    """(3,) in the car frame; of a thing, where it is at the onset."""
    glance_s: float
    """How long the whole glance lasts."""
    beyond_mm: float = 0.0
    thing: int | None = None
    """Number of the thing on the road that is followed."""
    lean_mm: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """How the torso moves for it."""


@dataclass(frozen=True, slots=True, eq=False)
class Outlook:
    """The drive as the driver meets it."""

    speed_mps: Callable[[float], float]
    curvature: Callable[[float], float]
    """1/m, positive to the right."""
    salient: Salient
    night: bool
    drowsy: Callable[[float], bool]

    def vanishing_azimuth_deg(self, t_s: float) -> float:
        """Where the road goes, seen from the car: the bend of the next seconds."""
        ahead_m = max(8.0, LOOK_AHEAD_S * self.speed_mps(t_s))
        return math.degrees(math.atan(self.curvature(t_s) * ahead_m / 2))


class ScanPath:
    """Draws one driver's looks for one drive."""

    def __init__(
        self, rng: np.random.Generator, style: BehaviourStyle, habits: Habits, places: Places, outlook: Outlook
    ) -> None:
        self._rng = rng
        self._style = style
        self._habits = habits
        self._places = places
        self._outlook = outlook
        self._zones = tuple(zone if places.side > 0 else MIRRORED.get(zone, zone) for zone in style.glances)
        self._shares = np.array(list(style.glances.values())) / sum(style.glances.values())
        self._last_s = np.full(len(self._zones), -np.inf)
        away_s = float(sum(share * DURATIONS_S[zone][0] for zone, share in zip(self._zones, self._shares, strict=True)))
        self._road_s = away_s * (1 + CHAINED) * style.road_share / (1 - style.road_share)
        self._side: tuple[Zone, int] = (Zone.ROAD_AHEAD, 0)
        self._previous_mm = np.array([0.0, 0.0, 3e4])

    def looks(self, fixed: Sequence[Glance], duration_s: float) -> tuple[Look, ...]:
        """The looks of a drive, without a gap, from before 0 to past its end; `fixed` glances are kept."""
        found: list[Look] = []
        for glance in self._glances(fixed, duration_s):
            found += self._fixations(glance)
        return tuple(look for look in found if look.end_s > 0.0 and look.onset_s < duration_s)

    def _glances(self, fixed: Sequence[Glance], duration_s: float) -> Iterator[Glance]:
        t_s = -WARM_UP_S
        for glance in sorted(fixed, key=lambda each: each.start_s):
            start_s = max(glance.start_s, t_s)
            if start_s - t_s >= 0.3:
                yield from self._free(t_s, start_s)
            else:
                start_s = t_s
            if glance.end_s > start_s + 0.3:
                yield Glance(start_s, glance.end_s, glance.zone, glance.spot)
                t_s = glance.end_s
            elif start_s > t_s:
                t_s = start_s
        yield from self._free(t_s, duration_s + WARM_UP_S)

    def _free(self, t_s: float, end_s: float) -> Iterator[Glance]:
        """Fill the time up to `end_s` with glances: road, something else, road, ..., road."""
        while True:
            road_s = max(
                self._style.shortest_road_s,
                float(self._rng.lognormal(math.log(self._road_s) - ROAD_SIGMA**2 / 2, ROAD_SIGMA)),
            )
            away = [self._away(t_s + road_s) for _ in range(1 + (self._rng.random() < CHAINED))]
            away_s = sum(seconds for _, seconds in away)
            if away_s > self._style.longest_glance_s:
                away, away_s = away[:1], away[0][1]
            if t_s + road_s + away_s + self._style.shortest_road_s > end_s:
                yield Glance(t_s, end_s, Zone.ROAD_AHEAD)
                return
            yield Glance(t_s, t_s + road_s, Zone.ROAD_AHEAD)
            t_s += road_s
            for zone, seconds in away:
                yield Glance(t_s, t_s + seconds, zone)
                self._last_s[self._zones.index(zone)] = t_s
                t_s += seconds

    def _away(self, t_s: float) -> tuple[Zone, float]:
        """A zone off the road, rarely one of the last seconds, and for how long."""
        fresh = 1.0 - 0.95 * np.exp(-(t_s - self._last_s) / self._style.variety_s)
        weights = self._shares * fresh
        index = int(self._rng.choice(len(weights), p=weights / weights.sum()))
        zone = self._zones[index]
        return zone, float(np.clip(log_normal(self._rng, *DURATIONS_S[zone]), 0.3, self._style.longest_glance_s))

    def _fixations(self, glance: Glance) -> Iterator[Look]:
        t_s, total_s = glance.start_s, glance.end_s - glance.start_s
        while t_s < glance.end_s - 1e-6:
            look = self._look(glance, t_s, total_s)
            shift_deg = float(angle_between_deg(look.point_mm, self._previous_mm))
            travel_s = travel_time_s(shift_deg)
            slow = 1.7 if self._outlook.drowsy(t_s) else 1.0
            if look.thing is None:
                stay_s = float(np.clip(self._rng.lognormal(math.log(FIXATION_S * 0.92), 0.35), 0.16, 0.6)) * slow
            else:
                stay_s = float(np.clip(self._rng.lognormal(math.log(0.55), 0.4), 0.25, LONGEST_PURSUIT_S))
            end_s = t_s + travel_s + stay_s
            if glance.end_s - end_s < SHORTEST_FIXATION_S + 0.05:
                end_s = glance.end_s
            yield Look(t_s, end_s, look.zone, look.point_mm, total_s, look.beyond_mm, look.thing, look.lean_mm)
            self._previous_mm = look.point_mm
            t_s = end_s

    def _look(self, glance: Glance, t_s: float, total_s: float) -> Look:
        """Choose what the next fixation of a glance is meant for; its end is still open."""
        if glance.spot == "phone":
            return Look(t_s, t_s, glance.zone, self._places.phone_point(), total_s, lean_mm=(0.0, 12.0, 25.0))
        if glance.spot == "shoulder":
            lean_mm = (25.0 * self._places.side, 0.0, 55.0)
            return Look(t_s, t_s, glance.zone, self._places.shoulder_point(), total_s, lean_mm=lean_mm)
        if glance.zone not in ROAD_ZONES:
            beyond_mm = self._places.beyond_mm(glance.zone)
            return Look(t_s, t_s, glance.zone, self._places.point(glance.zone), total_s, beyond_mm)
        return self._thing(t_s, total_s) or self._road(t_s, total_s)

    def _thing(self, t_s: float, total_s: float) -> Look | None:
        """Something on the road, now and then."""
        indifference = self._rng.random() / (0.8 if self._outlook.night else 1.0)
        if indifference > MOST_WISH:  # before the road is asked, which takes its time
            return None
        things = list(self._outlook.salient(t_s))
        if not things or indifference > (0.015 + 0.018 * len(things)) * self._habits.interest:
            return None
        points = np.array([point for _, point in things], dtype=float)
        usable = np.isfinite(points).all(axis=1) & (points[:, 2] > NEAREST_THING_MM)
        zones = self._places.on_road_zones(np.where(usable[:, None], points, (0.0, 0.0, 1.0)))
        usable &= np.array([zone is not None for zone in zones])
        if not usable.any():
            return None
        azimuth, _ = angles_from_rays(points)
        off_deg = np.abs(azimuth - self._outlook.vanishing_azimuth_deg(t_s))
        weights = np.where(usable, 1.0 / (1.0 + off_deg / 10.0), 0.0)
        index = int(self._rng.choice(len(things), p=weights / weights.sum()))
        zone = zones[index]
        return None if zone is None else Look(t_s, t_s, zone, points[index], total_s, thing=things[index][0])

    def _road(self, t_s: float, total_s: float) -> Look:
        """A place on the road: around where it goes, or for a few fixations to one side."""
        zone, left = self._side
        speed_mps = self._outlook.speed_mps(t_s)
        if left == 0:
            share = self._style.sides * float(np.interp(speed_mps, (0.0, 14.0, 35.0), (1.5, 1.0, 0.45)))
            if self._rng.random() < min(share, 0.6):
                zone = Zone.ROAD_LEFT if self._rng.random() < 0.5 else Zone.ROAD_RIGHT
            else:
                zone = Zone.ROAD_AHEAD
            left = int(self._rng.integers(1, 4))
        self._side = (zone, left - 1)
        if zone is not Zone.ROAD_AHEAD:
            return Look(t_s, t_s, zone, self._places.point(zone), total_s)
        spread_deg = float(np.interp(speed_mps, (0.0, FAST_MPS), (STANDSTILL_SD_DEG, FAST_SD_DEG)))
        spread_deg *= 1.2 if self._outlook.night else 1.0
        spread_deg *= 0.6 if self._outlook.drowsy(t_s) else 1.0
        wide, down, up = AHEAD_LIMITS_DEG
        azimuth = self._outlook.vanishing_azimuth_deg(t_s) + self._rng.normal(0.0, spread_deg)
        # Nearer to the car, and so lower, the slower it goes.
        elevation = self._rng.normal(float(np.interp(speed_mps, (0.0, FAST_MPS), (-2.2, -0.8))), VERTICAL_SD_DEG)
        ray = rays_from_angles(np.clip(azimuth, -wide, wide), np.clip(elevation, -down, up))
        return Look(t_s, t_s, zone, on_road(ray), total_s)


def follower(salient: Salient, places: Places) -> Callable[[Look, float], Floats | None]:
    """What tells where the thing of a look is at a time (3,); None once it is out of sight or in another zone."""

    def follow(look: Look, t_s: float) -> Floats | None:
        point = dict(salient(t_s)).get(look.thing) if look.thing is not None else None
        if point is None or not np.isfinite(point).all() or point[2] < NEAREST_THING_MM:
            return None
        position = np.asarray(point, dtype=float)
        return position if places.on_road_zones(position[None])[0] is look.zone else None

    return follow


def travel_time_s(shift_deg: float) -> float:
    """How long gaze is on its way, roughly: the saccade, and the head where the eyes do not reach."""
    return 0.021 + 0.0022 * shift_deg + 0.005 * max(0.0, shift_deg - 38.0)
