"""The road world outside the car: what the driver looks at and what the road camera films.

Everything is a function of the time since the start of the drive; the car frame is that of `dashgaze.geometry` (x
right, y down, z forward, millimetres, origin midway between the driver's eyes). The ground is flat and level.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dashgaze.geometry import Camera, Floats, unit
from dashgaze.training.synth.records import EYE_HEIGHT_M, RoadType, TimeOfDay, Traffic, Weather
from dashgaze.training.synth.road.course import AHEAD_M, BEHIND_M, Course, EgoMotion, draw_profile
from dashgaze.training.synth.road.shapes import model, solids
from dashgaze.training.synth.road.things import (
    KINDS,
    MODEL_NAMES,
    VEHICLES,
    Flow,
    Populace,
    Things,
    populate,
)
from dashgaze.training.synth.vehicle import MIDDLE_MM
from dashgaze.zones import HandOfDrive

Box = tuple[float, float, float, float]
"""x0, y0, x1, y1 in pixels."""

DRIVER_OFFSET_M = MIDDLE_MM / 1000
"""From the middle of the car to the driver."""
SKY_MM = 1e6
"""How far away the sky is."""
VANISHING_POINT = 0
"""Object id of the point towards which the road runs."""

_KINDS = tuple(KINDS[name] for name in MODEL_NAMES)
_VISIBLE_M = np.array([k.visible_m for k in _KINDS])
_IS_OBJECT = np.array([k.glance for k in _KINDS])
_IS_BUILDING = np.array([name in ("block", "house") for name in MODEL_NAMES])
_IS_VEHICLE = np.array([name in VEHICLES for name in MODEL_NAMES])
_GLANCE_M = np.array(
    [0 if not k.glance else 120 if name in VEHICLES else 70 for name, k in zip(MODEL_NAMES, _KINDS, strict=True)]
)
_PARKED_GLANCE_M = 25.0
_SOLIDS = [solids(name) for name in MODEL_NAMES]
_SOLID_COUNT = np.array([len(boxes) for boxes in _SOLIDS])
_FIRST_SOLID = np.cumsum(_SOLID_COUNT) - _SOLID_COUNT
_SOLID_BOXES = np.concatenate(_SOLIDS)
"""(n, 2, 3) ends of the boxes of all models, one model after the other."""
_SMALLEST_FRAC = 1 / 90
"""Objects whose box is less than this share of the picture's height in either direction are not reported."""
_HIDDEN_FRAC = 0.7
_NEAR_M = 0.3
_AMBER_S = 2.5


@dataclass(frozen=True, slots=True)
class Sighting:
    """An object in a picture of the road camera: a row of the `objects` table without its time."""

    object_id: int
    kind: str
    """COCO's name where it has one."""
    object_x0_px: float
    object_y0_px: float
    object_x1_px: float
    object_y1_px: float


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """Everything around the car at one instant; rows of all arrays belong together."""

    t_s: float
    ids: NDArray[np.int64]
    things: Things
    s_m: Floats
    u_m: Floats
    base_m: Floats
    """(n, 3) middle of the underside, car frame in metres."""
    turn: Floats
    """Heading against the car's, radians to the right."""

    @property
    def still(self) -> NDArray[np.bool_]:
        """Which things never move."""
        moves = (self.things["flow"] != 0) | (self.things["pace"] != 0) | (self.things["cross"] != 0)
        return np.asarray(~moves & np.isnan(self.things["lag"]))

    @property
    def centres_m(self) -> Floats:
        """(n, 3) middles of the boxes."""
        lifted = np.zeros_like(self.base_m)
        lifted[:, 1] = self.things["size"][:, 1] / 2
        return self.base_m - lifted

    def to_things(self, points: Floats, *, directions: bool = False) -> Floats:
        """Car-frame points or directions (k, 3) in each thing's own axes, from its middle: (k, n, 3) in metres."""
        d = points[:, None] - (0 if directions else self.centres_m[None])
        c, s = np.cos(self.turn), np.sin(self.turn)
        return np.stack(
            np.broadcast_arrays(c * d[..., 0] - s * d[..., 2], d[..., 1], s * d[..., 0] + c * d[..., 2]), -1
        )

    def from_things(self, rows: NDArray[np.int64], shape: Floats) -> Floats:
        """Points (k, 3) of a unit model (`shapes`) on the things `rows`: (rows, k, 3) in the car frame in metres."""
        local = shape[None] * self.things["size"][rows].astype(float)[:, None]
        c, s = np.cos(self.turn[rows])[:, None], np.sin(self.turn[rows])[:, None]
        turned = np.stack(
            [c * local[..., 0] + s * local[..., 2], local[..., 1], c * local[..., 2] - s * local[..., 0]], -1
        )
        return turned + self.base_m[rows][:, None]

    def solids(self) -> tuple[NDArray[np.int64], Floats, Floats]:
        """What of the things stops a look: boxes, as the rows they belong to (n,) and their ends (n, 3) and (n, 3).

        The ends are metres from the things' middles, in their own axes.
        """
        models = self.things["model"]
        count = _SOLID_COUNT[models]
        owners = np.repeat(np.arange(len(models)), count)
        nth = np.arange(len(owners)) - np.repeat(np.cumsum(count) - count, count)
        boxes = _SOLID_BOXES[_FIRST_SOLID[models[owners]] + nth] + [0, 0.5, 0]
        ends = boxes * self.things["size"][owners, None].astype(float)
        return owners, ends[:, 0], ends[:, 1]

    def lights(self) -> NDArray[np.int64]:
        """State of each thing that is a traffic light: 0 red, 1 amber, 2 green."""
        red = (self.t_s >= self.things["red_from"]) & (self.t_s < self.things["red_to"])
        amber = (self.t_s >= self.things["red_from"] - _AMBER_S) & (self.t_s < self.things["red_from"])
        return np.select([red, amber], [0, 1], 2)


class Road:
    """A road, its traffic and surroundings, from a seed and the car's own speed."""

    def __init__(
        self,
        seed: int,
        *,
        road_type: RoadType,
        weather: Weather,
        traffic: Traffic,
        time_of_day: TimeOfDay,
        speed: tuple[ArrayLike, ArrayLike],
        hand_of_drive: HandOfDrive,
        duration_s: float,
    ) -> None:
        """`speed` holds times in s and speeds in m/s; raises ValueError where they make no sense."""
        rng = np.random.default_rng([seed, 0x60AD])
        self.seed, self.road_type, self.traffic, self.duration_s = seed, road_type, traffic, duration_s
        self.weather, self.time_of_day = weather, time_of_day
        self.side = 1.0 if hand_of_drive == "left" else -1.0
        """1 where one drives on the right, -1 on the left."""
        self.ego = EgoMotion.of_speed(*speed)
        self.profile = draw_profile(rng, road_type, hand_of_drive)
        self.course = Course.draw(rng, road_type, self.ego, duration_s)
        self.flow = Flow.around(self.ego, duration_s)
        self._wander = rng.uniform(0, 2 * np.pi, 2)
        self.things, self.junctions = populate(
            Populace(
                rng, self.profile, road_type, traffic, self.side, self.ego, self.flow, duration_s
            )
        )  # fmt: skip
        self._scene: Scene | None = None

    def pose(self, t_s: float) -> tuple[float, float, float, float]:
        """World x, z in m and heading (radians to the right) of the driver's eyes, and their s in m."""
        s = float(self.ego.distance(t_s))
        x, z, heading = self.course.place(s, self._eye_right_m(s))
        return float(x), float(z), float(heading), s

    def _eye_right_m(self, s_m: float) -> float:
        """Metres from the centre line to the driver's eyes: lane, drifting in it, the seat."""
        drift = 0.12 * np.sin(s_m / 43 + self._wander[0]) + 0.08 * np.sin(s_m / 17 + self._wander[1])
        return float(self.side * (self.profile.lane_m - DRIVER_OFFSET_M) + drift)

    def to_car(self, t_s: float, x_m: Floats, z_m: Floats, height_m: ArrayLike = 0.0) -> Floats:
        """World points at heights above the ground in the car frame, (..., 3) in metres."""
        x0, z0, heading, _ = self.pose(t_s)
        dx, dz = x_m - x0, z_m - z0
        c, s = np.cos(heading), np.sin(heading)
        return np.stack(np.broadcast_arrays(c * dx - s * dz, EYE_HEIGHT_M - np.asarray(height_m), s * dx + c * dz), -1)

    def scene(self, t_s: float) -> Scene:
        """Whatever is near enough to be seen at a time."""
        if self._scene is not None and self._scene.t_s == t_s:
            return self._scene
        things = self.things
        here = float(self.ego.distance(t_s))
        s = things["s0"] + things["flow"] * self.flow.at(t_s) + things["pace"] * t_s
        follows = np.flatnonzero(np.isfinite(things["lag"]))
        s[follows] += self.ego.distance(t_s + things["lag"][follows])
        reach = np.minimum(_VISIBLE_M[things["model"]], AHEAD_M)
        there = (s > here - BEHIND_M) & (s < here + reach) & (t_s >= things["t0"]) & (t_s <= things["t1"])
        rows = np.flatnonzero(there)
        near, s = things[rows], s[rows]
        crossing = np.where(np.isfinite(near["t0"]), t_s - near["t0"], 0.0)
        u = near["u0"] + near["cross"] * crossing
        x, z, heading = self.course.place(s, self.side * u)
        base = self.to_car(t_s, x, z, near["lift"])
        turn = heading - self.pose(t_s)[2] + self.side * near["turn"]
        self._scene = Scene(t_s, rows + 1, near, s, u.astype(float), base, turn)
        return self._scene

    def curvature(self, t_s: ArrayLike) -> Floats:
        """Curvature of the road under the car in 1/m, positive to the right."""
        return self.course.curvature(self.ego.distance(t_s))

    def far_point(self, t_s: float) -> Floats:
        """(3,) mm: the point in the car's lane, on the horizon's height, that a driver steers by; 60 to 100 m ahead."""
        here = float(self.ego.distance(t_s))
        ahead = float(np.clip(4.0 * self.ego.speed(t_s), 60, 100))
        x, z, _ = self.course.place(here + ahead, self.side * self.profile.lane_m)
        return self.to_car(t_s, x, z, EYE_HEIGHT_M) * 1000

    def vanishing_point(self, t_s: float, camera: Camera, rotation_car_camera: Floats) -> Floats:
        """Pixel (2,) towards which the road runs; NaN where the camera does not look there."""
        return camera.project(unit(self.far_point(t_s)) @ rotation_car_camera)

    def salient(self, t_s: float) -> list[tuple[int, Floats]]:
        """What is worth a glance: object ids and points (3,) in mm, the vanishing point first, then by distance."""
        scene = self.scene(t_s)
        centres = scene.centres_m
        distance = np.linalg.norm(centres, axis=1)
        models = scene.things["model"]
        parked = _IS_VEHICLE[models] & scene.still
        reach = np.where(parked, _PARKED_GLANCE_M, _GLANCE_M[models])
        in_view = (centres[:, 2] > 4) & (np.abs(centres[:, 0]) < 1.7 * centres[:, 2]) & (distance < reach)
        rows = np.flatnonzero(in_view)
        rows = rows[np.argsort(distance[rows], kind="stable")]
        seen = self._first_hits(scene, np.zeros(3), centres[rows])[0] == rows
        return [(VANISHING_POINT, self.far_point(t_s))] + [(int(scene.ids[k]), centres[k] * 1000) for k in rows[seen]]

    def _first_hits(self, scene: Scene, origin_m: Floats, rays: Floats) -> tuple[NDArray[np.int64], Floats]:
        """Row of the thing that each ray (k, 3) meets first, -1 for none, and how many ray lengths away."""
        if not len(scene.ids) or not len(rays):
            return np.full(len(rays), -1), np.full(len(rays), np.inf)
        start = scene.to_things(origin_m[None])
        along = scene.to_things(rays, directions=True)
        along = np.where(np.abs(along) < 1e-12, 1e-12, along)
        owners, low, high = scene.solids()
        start, along = start[:, owners], along[:, owners]
        a, b = (low - start) / along, (high - start) / along
        enter, leave = np.minimum(a, b).max(axis=-1), np.maximum(a, b).min(axis=-1)
        enter[(enter > leave) | (enter <= 0)] = np.inf
        first = enter.argmin(axis=1)
        away = enter[np.arange(len(rays)), first]
        return np.where(np.isfinite(away), owners[first], -1), away

    def hit(self, t_s: float, origin_mm: ArrayLike, ray: ArrayLike) -> tuple[Floats, int | None, str]:
        """Where a ray (3,) from a point of the car meets the world outside.

        Returns the point (3,) in mm, the object id of what can be glanced at (None for the rest), and the surface: a
        kind (`car`, `person`, `building`, `tree`, ...), `ground`, or `sky`, which is 1 km away.
        """
        origin, direction = np.asarray(origin_mm, dtype=float) / 1000, unit(ray)
        scene = self.scene(t_s)
        row, away_m = (float(v[0]) for v in self._first_hits(scene, origin, direction[None]))
        ground_m = (EYE_HEIGHT_M - origin[1]) / direction[1] if direction[1] > 1e-9 else np.inf
        if min(away_m, ground_m) * 1000 >= SKY_MM:
            return (origin + direction * SKY_MM / 1000) * 1000, None, "sky"
        if away_m <= ground_m:
            kind = _KINDS[scene.things["model"][int(row)]]
            return (origin + direction * away_m) * 1000, int(scene.ids[int(row)]) if kind.glance else None, kind.surface
        return (origin + direction * ground_m) * 1000, None, "ground"

    def objects(
        self, t_s: float, camera: Camera, rotation_car_camera: Floats, position_mm: ArrayLike
    ) -> list[Sighting]:
        """What one glances at, in the picture of a camera: nearest first, boxes clipped to it.

        Tiny and mostly hidden objects are left out.
        """
        scene = self.scene(t_s)
        position = np.asarray(position_mm, dtype=float) / 1000
        depth = (scene.centres_m - position) @ rotation_car_camera[:, 2]
        models = scene.things["model"]
        solid = _IS_OBJECT[models] | _IS_BUILDING[models]
        radius = np.linalg.norm(scene.things["size"], axis=1) / 2
        rows = np.flatnonzero(solid & (depth > -radius))
        # A building hides only what lies beyond its far end: the rectangle around it also covers the street before it.
        order = np.where(_IS_OBJECT[models], depth, depth + radius)
        rows = rows[np.argsort(order[rows], kind="stable")]
        covered = np.zeros((90, 160), dtype=bool)
        found = []
        for row, box in self._boxes(scene, rows, camera, rotation_car_camera, position):
            if not _cover(covered, box, camera.size_px) and _IS_OBJECT[models[row]]:
                kind = _KINDS[models[row]].surface
                found.append(Sighting(int(scene.ids[row]), kind, *box))
        return found

    def _boxes(
        self, scene: Scene, rows: NDArray[np.int64], camera: Camera, rotation: Floats, position_m: Floats
    ) -> Iterator[tuple[int, Box]]:
        """Boxes of those of the things `rows` that are in the picture and large enough."""
        if not len(rows):
            return
        outlines = [self._outline(scene, row) for row in rows.tolist()]
        starts = np.cumsum([0] + [len(points) for points in outlines[:-1]])
        points = (np.concatenate(outlines) - position_m) @ rotation
        points[points[:, 2] < _NEAR_M] = np.nan
        pixels = np.full((len(points), 2), np.nan)
        ahead = np.isfinite(points[:, 2])
        pixels[ahead] = camera.project(points[ahead])
        low, high = np.fmin.reduceat(pixels, starts), np.fmax.reduceat(pixels, starts)
        for row, low_px, high_px in zip(rows.tolist(), low, high, strict=True):
            box = _clip(low_px, high_px, camera.size_px)
            if box is not None:
                yield row, box

    def _outline(self, scene: Scene, row: int) -> Floats:
        """Points (k, 3) around a thing in the car frame, in metres; dense where it may reach behind the camera."""
        shape = model(MODEL_NAMES[scene.things["model"][row]]).outline
        length = float(scene.things["size"][row, 2])
        if scene.base_m[row, 2] < length + 2:
            steps = np.linspace(0, 1, 12)[:, None, None]
            shape = (steps * shape[None] + (1 - steps) * shape[None, ::-1]).reshape(-1, 3)
        points: Floats = scene.from_things(np.array([row]), shape)[0]
        return points


def _clip(low: Floats, high: Floats, size_px: tuple[int, int]) -> Box | None:
    """A box cut to the picture's edges; None where too little is left, or nothing was there (NaN)."""
    edge = np.array(size_px) - 0.5
    low, high = np.clip(low, -0.5, edge), np.clip(high, -0.5, edge)
    if not (high - low >= _SMALLEST_FRAC * size_px[1]).all():
        return None
    return float(low[0]), float(low[1]), float(high[0]), float(high[1])


def _cover(covered: NDArray[np.bool_], box_px: Box, size_px: tuple[int, int]) -> bool:
    """Whether a box is mostly behind what covers the picture already; it then covers its part as well."""
    rows, columns = covered.shape
    x0, y0, x1, y1 = box_px
    left, right = int((x0 + 0.5) / size_px[0] * columns), int(np.ceil((x1 + 0.5) / size_px[0] * columns))
    top, bottom = int((y0 + 0.5) / size_px[1] * rows), int(np.ceil((y1 + 0.5) / size_px[1] * rows))
    cells = covered[top:bottom, left:right]
    hidden = bool(cells.mean() > _HIDDEN_FRAC)
    cells[:] = True
    return hidden
