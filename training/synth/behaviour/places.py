"""What there is to look at: points in the zones of one car, on the road, over the shoulder, the phone.

Points lie inside the rectangles of `zones.toml`, towards their middle, and are seen from the normal posture without
another zone in front. Inner mirrors are plane: what is in them lies tens of metres away. Door mirrors are convex
(radius 1.4 m, so that images lie at most 0.7 m behind the glass): the eyes converge beyond the glass by `beyond_mm`, on
a line through it.
"""

import math

import numpy as np

from dashgaze.geometry import Floats, rays_from_angles, unit
from dashgaze.training.synth.records import EYE_HEIGHT_M
from dashgaze.zones import ROAD_ZONES, HandOfDrive, Zone, ZoneMap

POOL = 400
PHONE_MM = (90.0, 385.0, 270.0)
"""A phone held in the inner hand of a left-hand-drive car: over the lap, before the steering wheel."""
PHONE_SPREAD_MM = 16.0
"""As far from its middle it is looked at."""
FARTHEST_MM, NEAREST_ROAD_MM = 120e3, 6e3

MIRRORED = {
    Zone.ROAD_LEFT: Zone.ROAD_RIGHT,
    Zone.ROAD_RIGHT: Zone.ROAD_LEFT,
    Zone.MIRROR_LEFT: Zone.MIRROR_RIGHT,
    Zone.MIRROR_RIGHT: Zone.MIRROR_LEFT,
}
"""Zones that swap names between left-hand and right-hand drive."""

ELSEWHERE_DEG = (
    (-86.0, -42.0, -12.0, 12.0, 4e3, 3e4),  # out of the driver's side window
    (-30.0, 45.0, 18.0, 34.0, 450.0, 700.0),  # visor, roof console
    (-75.0, -38.0, -50.0, -28.0, 500.0, 750.0),  # window switches, door
    (82.0, 100.0, -12.0, 6.0, 3e3, 2e4),  # out of the far side window
)
"""Left-hand drive: azimuths from and to, elevations from and to, distances in mm of what belongs to no zone."""
SHOULDER_DEG = (-106.0, -88.0, -8.0, 2.0, 4e3, 2e4)


def phone_position_mm(hand_of_drive: HandOfDrive) -> tuple[float, float, float]:
    """Where the driver holds a phone that is looked at: its middle in the car frame."""
    x, y, z = PHONE_MM
    return (x if hand_of_drive == "left" else -x), y, z


class Places:
    """Points to look at in one car."""

    def __init__(self, rng: np.random.Generator, hand_of_drive: HandOfDrive) -> None:
        self._rng = rng
        self.side = 1.0 if hand_of_drive == "left" else -1.0
        """1 where the passenger sits on the right."""
        self.phone_mm = np.array(phone_position_mm(hand_of_drive))
        self._map = ZoneMap.for_vehicle(hand_of_drive)
        self._pools = {zone: self._inside(index) for index, zone in enumerate(self._map.zones)}
        self._pools[Zone.OTHER] = np.concatenate([self._free(box) for box in ELSEWHERE_DEG])

    def point(self, zone: Zone) -> Floats:
        """(3,) a point of the zone; on the road where the ground is, or further up."""
        pool = self._pools[zone]
        point: Floats = pool[self._rng.integers(len(pool))]
        return on_road(point) if zone in ROAD_ZONES else point

    def phone_point(self) -> Floats:
        """(3,) somewhere about the middle of the phone's screen, which faces the eyes in the normal posture."""
        angle, radius_mm = self._rng.uniform(0.0, 2 * math.pi), PHONE_SPREAD_MM * math.sqrt(self._rng.uniform())
        away = unit(self.phone_mm)
        right = unit(np.cross([0.0, 1.0, 0.0], away))
        aside = math.cos(angle) * right + math.sin(angle) * np.cross(away, right)
        return np.asarray(self.phone_mm + radius_mm * aside)

    def shoulder_point(self) -> Floats:
        """(3,) in the blind spot on the driver's side."""
        return np.asarray(self._in_box(SHOULDER_DEG, 1)[0])

    def beyond_mm(self, zone: Zone) -> float:
        """How far behind the glass the image in a mirror lies; 0 for what is no mirror."""
        if zone is Zone.MIRROR_REAR:
            return float(self._rng.uniform(8e3, 40e3))
        return float(self._rng.uniform(550.0, 690.0)) if zone in (Zone.MIRROR_LEFT, Zone.MIRROR_RIGHT) else 0.0

    def on_road_zones(self, points_mm: Floats) -> list[Zone | None]:
        """The road zone of each point (n, 3) as seen from the normal posture; None where something is in front."""
        zones = self._map.zones_of(np.zeros_like(points_mm), points_mm)
        return [Zone(zone) if zone in ROAD_ZONES else None for zone in zones]

    def _inside(self, index: int) -> Floats:
        """Points (n, 3) of a zone's rectangle that no other zone hides."""
        spread = np.clip(self._rng.normal(0.0, 0.4, (POOL, 2)), -0.8, 0.8)
        if self._map.zones[index] in ROAD_ZONES:  # mostly along the horizon
            spread = np.column_stack(
                [self._rng.uniform(-0.85, 0.85, POOL), np.clip(self._rng.normal(0.18, 0.2, POOL), -0.6, 0.75)]
            )
        offset = spread * self._map.half_sizes_mm[index]
        points: Floats = self._map.centres_mm[index] + offset @ self._map.axes[index, :2]
        return self._seen_as(self._map.zones[index], points)

    def _free(self, box: tuple[float, ...]) -> Floats:
        return self._seen_as(Zone.OTHER, self._in_box(box, POOL))

    def _seen_as(self, zone: Zone, points: Floats) -> Floats:
        return np.asarray(points[self._map.zones_of(np.zeros_like(points), points) == zone])

    def _in_box(self, box: tuple[float, ...], count: int) -> Floats:
        left, right, low, high, near_mm, far_mm = box
        azimuth = self.side * self._rng.uniform(left, right, count)
        rays = rays_from_angles(azimuth, self._rng.uniform(low, high, count))
        return np.asarray(rays * self._rng.uniform(near_mm, far_mm, (count, 1)))


def on_road(direction: Floats) -> Floats:
    """(3,) where a line of sight (3,) meets the level ground; far away if it does not."""
    distance_mm = FARTHEST_MM
    if direction[1] > 0:
        distance_mm = 1000 * EYE_HEIGHT_M / float(direction[1]) * float(np.linalg.norm(direction))
    distance_mm = min(max(distance_mm, NEAREST_ROAD_MM), FARTHEST_MM)
    return np.asarray(direction / math.sqrt(float(direction @ direction)) * distance_mm)
