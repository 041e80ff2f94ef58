"""What stands and moves along a road: one row per thing, its motion a formula of the time.

A thing is at s = s0 + flow F(t) + pace t, u = u0 + cross (t - t0) in road coordinates (`course`). F(t) is the distance
that traffic has flowed: it follows the car's own speed, since what slows the car slows the others. Vehicles ahead in
the car's own lane follow Newell's simplified car-following model (2002) read backwards: the leader's trajectory is the
follower's, `lag` earlier and some metres further, s = s_ego(t + lag) + s0. Wherever the car stands in a town, a red
traffic light explains it; on a country road, a stop sign.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dashgaze.geometry import Floats
from dashgaze.training.synth.records import RoadType, Traffic
from dashgaze.training.synth.road.course import AHEAD_M, BEHIND_M, EgoMotion, Profile
from dashgaze.training.synth.road.shapes import nominal_size_m

Things = NDArray[np.void]
"""Rows of `THING`."""

THING = np.dtype(
    [
        ("model", np.int16),
        ("s0", np.float64),
        ("flow", np.float32),
        ("pace", np.float32),
        ("lag", np.float32),  # NaN for what does not follow the car's own motion
        ("u0", np.float32),
        ("cross", np.float32),
        ("t0", np.float32),  # the crossing lasts from t0 to t1, and the thing is there only then
        ("t1", np.float32),
        ("turn", np.float32),  # heading against that of the road, radians to the side on which one drives
        ("lift", np.float32),  # metres above the ground
        ("size", np.float32, 3),  # width, height, length in metres
        ("colour", np.float32, 3),
        ("phase", np.float32),  # 0 to 1, whatever a model varies by
        ("red_from", np.float32),
        ("red_to", np.float32),
    ]
)


@dataclass(frozen=True, slots=True)
class Kind:
    """What a model is to those who look at it."""

    surface: str
    """COCO's name where it has one."""
    visible_m: float
    """Not there beyond this distance."""
    glance: bool
    """Whether a driver glances at it; what one glances at is an object of the road view."""


_CAR, _POLE = Kind("car", 420, True), Kind("pole", 170, False)
_TREE, _BARRIER, _BUILDING = (
    Kind("tree", 420, False),
    Kind("barrier", 200, False),
    Kind("building", 480, False),
)
KINDS: dict[str, Kind] = {
    "hatchback": _CAR,
    "saloon": _CAR,
    "suv": _CAR,
    "van": _CAR,
    "lorry": Kind("truck", 480, True),
    "bus": Kind("bus", 480, True),
    "motorcycle": Kind("motorcycle", 300, True),
    "bicycle": Kind("bicycle", 220, True),
    "person": Kind("person", 200, True),
    "stop sign": Kind("stop sign", 200, True),
    "round sign": Kind("road sign", 200, True),
    "panel": Kind("road sign", 300, True),
    "traffic light": Kind("traffic light", 220, True),
    "post": _POLE,
    "lamp post": _POLE,
    "pylon": Kind("pole", 250, False),
    "delineator": _POLE,
    "rail": _BARRIER,
    "wall": _BARRIER,
    "fence": _BARRIER,
    "gantry": Kind("gantry", 400, False),
    "block": _BUILDING,
    "house": _BUILDING,
    "broadleaf": _TREE,
    "poplar": _TREE,
    "conifer": _TREE,
    "bush": Kind("tree", 250, False),
}
MODEL_NAMES = tuple(KINDS)
TREES = ("broadleaf", "poplar", "conifer", "bush")
VEHICLES = ("hatchback", "saloon", "suv", "van", "lorry", "bus", "motorcycle", "bicycle")
MOTORS = VEHICLES[:-1]

_VEHICLES_PER_KM = {"light": 5.0, "moderate": 13.0, "dense": 28.0}
_HEADWAY_S = {"light": (4.0, 9.0), "moderate": (1.9, 3.5), "dense": (1.2, 1.9)}
_LEADERS = {"light": 2, "moderate": 4, "dense": 7}
_WALKERS_PER_KM = {"light": 12.0, "moderate": 35.0, "dense": 70.0}
_PARKED = {"light": 0.35, "moderate": 0.55, "dense": 0.8}
_CROSSING_EVERY_S = {"light": 7.0, "moderate": 4.0, "dense": 2.4}
_STANDING_GAP_M = 2.6
_SIDE_ROAD_M = 4.5
"""Half the width of a side road."""
_STOP_LINE_M = 9.0
_ZEBRA_M = 6.8
"""Distances of stop line and crossing from the middle of a junction."""

_PAINTS = np.array(
    [
        [0.75, 0.75, 0.74], [0.8, 0.8, 0.8], [0.42, 0.43, 0.45], [0.3, 0.31, 0.33],
        [0.12, 0.125, 0.13], [0.02, 0.02, 0.022], [0.03, 0.03, 0.035], [0.35, 0.02, 0.02],
        [0.03, 0.08, 0.28], [0.05, 0.12, 0.2], [0.38, 0.33, 0.24], [0.04, 0.12, 0.06],
    ]
)  # fmt: skip
_CLOTHES = np.array(
    [
        [0.02, 0.02, 0.03], [0.05, 0.07, 0.15], [0.35, 0.05, 0.05], [0.4, 0.38, 0.33],
        [0.1, 0.14, 0.1], [0.5, 0.3, 0.05], [0.2, 0.2, 0.22],
    ]
)  # fmt: skip
_FACADES = np.array(
    [
        [0.42, 0.36, 0.28], [0.28, 0.13, 0.08], [0.5, 0.48, 0.44], [0.33, 0.3, 0.27],
        [0.5, 0.4, 0.22], [0.22, 0.22, 0.23], [0.36, 0.2, 0.13],
    ]
)  # fmt: skip
_GREENS = np.array([[0.9, 1.0, 0.8], [1.0, 1.0, 0.7], [0.7, 0.95, 0.75], [1.1, 0.95, 0.6]])


@dataclass(frozen=True, slots=True)
class Junction:
    """A side road that crosses; `red_from` and `red_to` (s) are NaN where the light stays green."""

    s_m: float
    signal: bool
    red_from: float = float("nan")
    red_to: float = float("nan")
    stop_sign: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Flow:
    """How far traffic has flowed, tabulated over the drive."""

    t_s: Floats
    distance_m: Floats

    @classmethod
    def around(cls, ego: EgoMotion, duration_s: float) -> "Flow":
        """Traffic around a car slows with it, but does not quite stop when it does."""
        t = np.arange(0, duration_s + 0.5, 0.25)
        speed = ego.speed(t)
        mixed = 0.25 * max(float(np.percentile(speed, 80)), 3.0) + 0.75 * speed
        return cls(t, np.concatenate([[0.0], np.cumsum((mixed[1:] + mixed[:-1]) / 2 * 0.25)]))

    def at(self, t_s: float) -> float:
        """Metres since the start of the drive."""
        return float(np.interp(t_s, self.t_s, self.distance_m))


def _rows(models: str | Sequence[str], count: int, **columns: Any) -> Things:
    """`count` things that stand still at their nominal sizes, but for what `columns` say."""
    rows = np.zeros(count, THING)
    names = [models] * count if isinstance(models, str) else list(models)
    rows["model"] = [MODEL_NAMES.index(name) for name in names]
    rows["size"] = [(1, 1, 1) if name in TREES else nominal_size_m(name) for name in names] or np.zeros((0, 3))
    for name in ("lag", "red_from", "red_to"):
        rows[name] = np.nan
    rows["t0"], rows["t1"] = -np.inf, np.inf
    rows["colour"] = 0.5
    for name, values in columns.items():
        rows[name] = values
    return rows


@dataclass(frozen=True, slots=True, eq=False)
class Populace:
    """Fills a road: everything that the functions below need to know."""

    rng: np.random.Generator
    profile: Profile
    road_type: RoadType
    traffic: Traffic
    side: float
    """1 where one drives on the right, -1 on the left: how u turns into metres to the right."""
    ego: EgoMotion
    flow: Flow
    duration_s: float

    @property
    def stretch_m(self) -> tuple[float, float]:
        """From where to where along the road things are needed."""
        return -BEHIND_M, float(self.ego.distance(self.duration_s)) + AHEAD_M

    def along(self, spacing_m: float, jitter: float = 0.0) -> Floats:
        """Places along the road every `spacing_m`, moved about by a share of it."""
        s = np.arange(*self.stretch_m, spacing_m)
        return s + spacing_m * jitter * self.rng.uniform(-0.5, 0.5, len(s))

    def scattered(self, per_km: float) -> Floats:
        """Random places along the road."""
        start, end = self.stretch_m
        return np.sort(self.rng.uniform(start, end, self.rng.poisson(per_km * (end - start) / 1000)))

    def sides(self, count: int) -> Floats:
        """1 and -1 at random."""
        return self.rng.choice([-1.0, 1.0], count)

    def picked(self, palette: Floats, count: int) -> Floats:
        """Colours (count, 3) near those of a palette."""
        return palette[self.rng.integers(len(palette), size=count)] * self.rng.uniform(0.8, 1.2, (count, 1))


def populate(populace: Populace) -> tuple[Things, tuple[Junction, ...]]:
    """All things of a drive, sorted by nothing, and its junctions."""
    leaders = _leaders(populace)
    reach = float(leaders["s0"].max(initial=0.0) + leaders["size"][:, 2].max(initial=4.5) / 2)
    junctions = _junctions(populace, reach)
    parts = [leaders, *_streams(populace), *(_junction_things(populace, j) for j in junctions)]
    parts += {"urban": _town, "rural": _country, "motorway": _motorway}[populace.road_type](populace, junctions)
    return np.concatenate(parts), junctions


def _vehicle_names(p: Populace, count: int, *, slow_lane: bool) -> list[str]:
    heavy = {"urban": 0.04, "rural": 0.07, "motorway": 0.25 if slow_lane else 0.03}[p.road_type]
    bus = 0.05 if p.road_type == "urban" else 0.01
    rest = 1 - heavy - bus
    shares = [0.35 * rest, 0.22 * rest, 0.27 * rest, 0.1 * rest, heavy, bus, 0.06 * rest]
    return [str(name) for name in p.rng.choice(MOTORS, count, p=shares)]


def _vehicles(p: Populace, names: Sequence[str], **columns: Any) -> Things:
    """Vehicles with paint and slightly varied sizes."""
    rows = _rows(names, len(names), **columns)
    rows["size"] *= p.rng.uniform(0.95, 1.05, (len(rows), 3))
    rows["colour"] = p.picked(_PAINTS, len(rows))
    rows["phase"] = p.rng.random(len(rows))
    return rows


def _leaders(p: Populace) -> Things:
    count = int(p.rng.integers(max(_LEADERS[p.traffic] - 2, 1), _LEADERS[p.traffic] + 1))
    rows = _vehicles(p, _vehicle_names(p, count, slow_lane=p.profile.ego_lane == 0))
    lengths = np.concatenate([[4.4], rows["size"][:, 2]])
    rows["s0"] = np.cumsum((lengths[1:] + lengths[:-1]) / 2 + _STANDING_GAP_M + p.rng.uniform(0, 1, count))
    rows["lag"] = np.cumsum(p.rng.uniform(*_HEADWAY_S[p.traffic], count))
    rows["u0"] = p.profile.lane_m + p.rng.normal(0, 0.12, count)
    return rows


def _streams(p: Populace) -> list[Things]:
    """Traffic in all other lanes, in one row a vehicle for the whole drive."""
    start, end = p.stretch_m
    flowed = p.flow.at(p.duration_s)
    streams = []
    own = [(u, k, 1.0) for k, u in enumerate(p.profile.own_lanes_m) if k != p.profile.ego_lane]
    oncoming = [(u, k, -1.0) for k, u in enumerate(p.profile.oncoming_lanes_m)]
    for u, lane, direction in own + oncoming:
        pace = 1.0 if direction < 0 else 1 + 0.12 * (lane - p.profile.ego_lane)
        first, last = (start, end + flowed * pace) if direction < 0 else (start - flowed * pace, end)
        mean_gap = 1000 / _VEHICLES_PER_KM[p.traffic]
        count = int((last - first) / mean_gap) + 1
        gaps = 16.0 + p.rng.exponential(max(mean_gap - 16.0, 4.0), count)
        names = _vehicle_names(p, count, slow_lane=lane == 0)
        rows = _vehicles(p, names, s0=first + np.cumsum(gaps), flow=direction * pace)
        rows["u0"] = u + p.rng.normal(0, 0.15, count)
        rows["turn"] = 0.0 if direction > 0 else np.pi
        streams.append(rows)
    return streams


def _junctions(p: Populace, reach_m: float) -> tuple[Junction, ...]:
    """Where the car has to stop, and some in between; `reach_m` is how far the queue ahead of the car extends."""
    if p.road_type == "motorway":
        return ()
    found: list[Junction] = []
    for begin, end in p.ego.stops():
        if begin > p.duration_s:
            continue
        s = float(p.ego.distance(begin)) + reach_m + _STOP_LINE_M + 2.0
        if found and s - found[-1].s_m < 70:
            continue
        times = np.linspace(max(begin - 30, 0), begin, 60)
        near = times[p.ego.distance(times) > s - reach_m - 80]
        signal = p.road_type == "urban" or end - begin > 6
        red = (float(near[0]) if len(near) else begin, end - 0.7)
        found.append(Junction(s, signal, *red) if signal else Junction(s, signal=False, stop_sign=True))
    spacing = 170.0 if p.road_type == "urban" else 650.0
    for s in p.along(spacing, 0.6).tolist():
        if all(abs(s - j.s_m) > 75 for j in found) and abs(s) > 25:
            found.append(Junction(s, signal=p.road_type == "urban" and bool(p.rng.random() < 0.5)))
    return tuple(sorted(found, key=lambda j: j.s_m))


def _junction_things(p: Populace, j: Junction) -> Things:
    edge = p.profile.asphalt_m + 0.6
    parts = []
    if j.signal:
        heads = [
            (j.s_m - _STOP_LINE_M + 0.3, edge, 2.5),
            (j.s_m + _STOP_LINE_M - 2, -edge, 2.5),
            (j.s_m + _STOP_LINE_M - 2, edge, 4.6),
        ]
        s, u, lift = (np.array(column) for column in zip(*heads, strict=True))
        parts.append(_rows("traffic light", 3, s0=s, u0=u, lift=lift, red_from=j.red_from, red_to=j.red_to))
        posts = _rows("post", 3, s0=s + 0.22, u0=u)
        posts["size"] = np.stack([np.full(3, 0.12), lift + 0.9, np.full(3, 0.12)], axis=1)
        parts.append(posts)
    elif j.stop_sign:
        parts += _signposts(p, "stop sign", np.array([j.s_m - _STOP_LINE_M + 0.5]), colour=(0.45, 0.02, 0.02), lift=1.9)
    elif p.road_type == "rural":  # the side road gives way: its stop sign is seen from the side
        sign = _signposts(p, "stop sign", np.array([j.s_m - 5.5]), colour=(0.45, 0.02, 0.02), lift=1.9)
        for rows in sign:
            rows["turn"] = -1.2
            rows["u0"] += 1.5
        parts += sign
    if np.isfinite(j.red_from):
        parts += [_crossing_vehicles(p, j), _crossing_people(p, j)]
    return np.concatenate(parts) if parts else np.zeros(0, THING)


def _crossing_vehicles(p: Populace, j: Junction) -> Things:
    reach, speed = 75.0, 8.5
    times = np.arange(j.red_from - 2, j.red_to - 9, _CROSSING_EVERY_S[p.traffic])
    times = times + p.rng.uniform(0, 0.8, len(times))
    direction = p.sides(len(times))
    rows = _vehicles(p, _vehicle_names(p, len(times), slow_lane=False))
    rows["s0"], rows["u0"] = j.s_m - 2.1 * direction, -reach * direction
    rows["cross"], rows["t0"], rows["t1"] = speed * direction, times, times + 2 * reach / speed
    rows["turn"] = direction * np.pi / 2
    return rows


def _crossing_people(p: Populace, j: Junction) -> Things:
    reach = p.profile.asphalt_m + p.profile.pavement_m
    count = int(p.rng.poisson(max(j.red_to - j.red_from, 0) * _WALKERS_PER_KM[p.traffic] / 150))
    times, pace, direction = (
        p.rng.uniform(j.red_from, max(j.red_to - 4, j.red_from), count),
        p.rng.uniform(1.1, 1.6, count),
        p.sides(count),
    )
    rows = _people(p, count)
    rows["s0"], rows["u0"] = j.s_m - _ZEBRA_M + p.rng.uniform(-1, 1, count), -reach * direction
    rows["cross"], rows["t0"], rows["t1"] = pace * direction, times, times + 2 * reach / pace
    rows["turn"] = direction * np.pi / 2
    return rows


def _people(p: Populace, count: int) -> Things:
    rows = _rows("person", count, colour=p.picked(_CLOTHES, count), phase=p.rng.random(count))
    rows["size"] *= np.clip(p.rng.normal(0.98, 0.05, (count, 1)), 0.8, 1.12)
    return rows


def _walkers(p: Populace, u_m: Floats, pace_mps: float, make: Things) -> Things:
    """Let people or cyclists move along the road, both ways."""
    direction = p.sides(len(make))
    make["u0"], make["pace"] = u_m, pace_mps * direction * p.rng.uniform(0.8, 1.2, len(make))
    make["turn"] = np.where(direction > 0, 0.0, np.pi)
    return make


def _signposts(p: Populace, model: str, s: Floats, *, colour: tuple[float, float, float], lift: float) -> list[Things]:
    u = p.profile.asphalt_m + 0.9
    posts = _rows("post", len(s), s0=s + 0.06, u0=u)
    posts["size"] = (0.07, lift + 0.5, 0.07)
    return [_rows(model, len(s), s0=s, u0=u, lift=lift, colour=colour), posts]


def _clear_of(junctions: Sequence[Junction], s: Floats, margin_m: Floats | float) -> NDArray[np.bool_]:
    """Which places are further than `margin_m` from every side road."""
    if not junctions:
        return np.ones(len(s), dtype=bool)
    away = np.abs(s[:, None] - np.array([j.s_m for j in junctions]))
    return np.asarray((away > np.broadcast_to(margin_m, s.shape)[:, None] + _SIDE_ROAD_M).all(axis=1))


def _trees(p: Populace, names: Sequence[str], s: Floats, u: Floats, height_m: tuple[float, float]) -> Things:
    kinds = [str(n) for n in p.rng.choice(names, len(s))]
    height = p.rng.uniform(*height_m, len(s)) * np.where(np.array(kinds) == "bush", 0.3, 1.0)
    slim = (
        np.array([{"broadleaf": 0.85, "poplar": 0.45, "conifer": 0.5, "bush": 1.5}[k] for k in kinds])
        if kinds
        else np.zeros(0)
    )
    width = height * slim * p.rng.uniform(0.85, 1.15, len(s))
    rows = _rows(kinds, len(s), s0=s, u0=u, phase=p.rng.random(len(s)), colour=p.picked(_GREENS, len(s)))
    rows["size"] = np.stack([width, height, width], axis=1)
    return rows


def _lamp_posts(p: Populace, u_m: float) -> list[Things]:
    """Lamps stand opposite each other at whole multiples of their spacing, where the ground shader lights the road."""
    if not p.profile.lamp_spacing_m:
        return []
    start, end = p.stretch_m
    k = np.arange(np.ceil(start / p.profile.lamp_spacing_m), end / p.profile.lamp_spacing_m)
    # The arm reaches out to the model's right, over the road.
    return [
        _rows(
            "lamp post",
            len(k),
            s0=k * p.profile.lamp_spacing_m,
            u0=sign * u_m,
            turn=np.pi if sign * p.side > 0 else 0.0,
        )
        for sign in (1, -1)
    ]


def _town(p: Populace, junctions: Sequence[Junction]) -> list[Things]:
    profile, parts = p.profile, _lamp_posts(p, p.profile.asphalt_m + 0.5)
    suburb = bool(p.rng.random() < 0.4)
    kerb, fronts = profile.asphalt_m, profile.asphalt_m + profile.pavement_m
    for side in (1.0, -1.0):
        parts.append(_buildings(p, junctions, side, fronts, suburb=suburb))
        if profile.parking:
            s = p.along(6.4, 0.12)
            s = s[_clear_of(junctions, s, 12.0) & (p.rng.random(len(s)) < _PARKED[p.traffic])]
            names = [
                str(n) for n in p.rng.choice(["hatchback", "saloon", "suv", "van"], len(s), p=[0.42, 0.23, 0.27, 0.08])
            ]
            parts.append(_vehicles(p, names, s0=s, u0=side * (kerb - 1.05), turn=0.0 if side > 0 else np.pi))
        s = p.along(float(p.rng.uniform(9, 16)), 0.3)
        s = s[_clear_of(junctions, s, 8.0) & (p.rng.random(len(s)) < (0.7 if suburb else 0.35))]
        parts.append(_trees(p, ["broadleaf", "poplar"], s, np.full(len(s), side * (kerb + 0.9)), (5, 9)))
        if suburb:
            s = p.along(4.0)
            s = s[_clear_of(junctions, s, 3.0) & (np.sin(s / 23 + side) > -0.3)]
            parts.append(_rows("wall", len(s), s0=s, u0=side * (fronts + 0.3), colour=p.picked(_FACADES, 1)[0]))
            s = p.scattered(60)
            s = s[_clear_of(junctions, s, 6.0)]
            parts.append(
                _trees(p, ["broadleaf", "conifer", "bush"], s, side * (fronts + p.rng.uniform(2, 5, len(s))), (4, 9))
            )
        s = p.scattered(_WALKERS_PER_KM[p.traffic])
        walkers = _people(p, len(s))
        walkers["s0"] = s
        parts.append(_walkers(p, side * p.rng.uniform(kerb + 0.5, fronts - 0.3, len(s)), 1.3, walkers))
    s = p.scattered(_WALKERS_PER_KM[p.traffic] / 10)
    riders = _rows("bicycle", len(s), s0=s, colour=p.picked(_CLOTHES, len(s)), phase=p.rng.random(len(s)))
    out = profile.own_lanes_m[0] + 1.4
    riders = _walkers(p, np.zeros(len(s)), 4.5, riders)
    riders["u0"] = np.where(riders["pace"] > 0, out, -out)
    s = p.along(140.0, 0.7)
    return [*parts, riders, *_signposts(p, "round sign", s, colour=(0.5, 0.02, 0.02), lift=2.1)]


def _buildings(p: Populace, junctions: Sequence[Junction], side: float, fronts_m: float, *, suburb: bool) -> Things:
    """A row of houses with gaps for the side roads."""
    start, end = p.stretch_m
    count = int((end - start) / 10) + 2
    width = p.rng.uniform(9, 13, count) if suburb else p.rng.uniform(9, 24, count)
    gap = p.rng.uniform(3, 9, count) if suburb else p.rng.choice([0.0, 0.0, 0.0, 4.0], count)
    s = start + np.cumsum(width + gap) - width / 2
    depth = p.rng.uniform(8, 11, count)
    height = p.rng.uniform(6.5, 8.5, count) if suburb else 3.2 * p.rng.integers(2, 7, count) + 0.8
    setback = p.rng.uniform(5, 7, count) if suburb else p.rng.choice([0.0, 0.0, 1.5], count)
    keep = (s < end) & _clear_of(junctions, s, width / 2 + (5.0 if suburb else p.profile.pavement_m))
    rows = _rows("house" if suburb else "block", int(keep.sum()), s0=s[keep])
    rows["u0"] = side * (fronts_m + setback + depth / 2)[keep]
    rows["size"] = np.stack([depth, height, width], axis=1)[keep]
    rows["colour"], rows["phase"] = p.picked(_FACADES, len(rows)), p.rng.random(len(rows))
    rows["turn"] = 0.0 if side < 0 else np.pi
    return rows


def _country(p: Populace, junctions: Sequence[Junction]) -> list[Things]:
    edge, parts = p.profile.asphalt_m, []
    wood = p.rng.uniform(0, 6, 2)
    for side in (1.0, -1.0):
        s = p.scattered(230)
        dense = 0.5 + 0.5 * np.sin(s / 130 + wood[0] + side) * np.sin(s / 47 + wood[1])
        s = s[(p.rng.random(len(s)) < 0.25 + 0.75 * dense) & _clear_of(junctions, s, 7.0)]
        u = side * (edge + 3 + p.rng.exponential(11, len(s)))
        parts.append(_trees(p, ["broadleaf", "broadleaf", "poplar", "conifer", "bush", "bush"], s, u, (7, 17)))
        s = p.along(50.0)
        parts.append(_rows("delineator", len(s), s0=s, u0=side * (edge + 0.7)))
        s = p.along(4.0)
        s = s[(np.sin(s / 61 + 2 * side + wood[1]) > 0.1) & _clear_of(junctions, s, 4.0)]
        parts.append(_rows("fence", len(s), s0=s, u0=side * (edge + 2.6), colour=(0.2, 0.15, 0.1)))
        s = p.scattered(4)
        s = s[_clear_of(junctions, s, 14.0)]
        farms = _rows(
            "house", len(s), s0=s, u0=side * (edge + p.rng.uniform(16, 34, len(s))), colour=p.picked(_FACADES, len(s))
        )
        farms["size"] = np.stack(
            [p.rng.uniform(8, 12, len(s)), p.rng.uniform(6, 8, len(s)), p.rng.uniform(10, 16, len(s))], axis=1
        )
        parts.append(farms)
    s = p.along(45.0)
    parts.append(_rows("pylon", len(s), s0=s, u0=float(p.sides(1)[0]) * (edge + 5), colour=(0.13, 0.1, 0.08)))
    s = p.scattered(_WALKERS_PER_KM[p.traffic] / 20)
    riders = _rows("bicycle", len(s), s0=s, colour=p.picked(_CLOTHES, len(s)), phase=p.rng.random(len(s)))
    riders = _walkers(p, np.zeros(len(s)), 5.5, riders)
    riders["u0"] = np.where(riders["pace"] > 0, 1, -1) * (edge - 0.5)
    signs = _signposts(p, "round sign", p.along(330.0, 0.6), colour=(0.5, 0.02, 0.02), lift=1.8)
    return [*parts, riders, *signs]


def _motorway(p: Populace, junctions: Sequence[Junction]) -> list[Things]:
    profile, parts = p.profile, _lamp_posts(p, p.profile.asphalt_m + 1.6)
    edge = profile.asphalt_m
    rails = p.along(4.0)
    phases = p.rng.uniform(0, 6, 4)
    for k, side in enumerate((1.0, -1.0)):
        parts.append(_rows("rail", len(rails), s0=rails, u0=side * max(profile.median_m - 0.4, 0.4)))
        outer = rails[np.sin(rails / 170 + phases[k]) > -0.2]
        parts.append(_rows("rail", len(outer), s0=outer, u0=side * (edge + 0.5)))
        screens = rails[np.sin(rails / 260 + phases[k + 2]) > 0.75]
        rows = _rows("wall", len(screens), s0=screens, u0=side * (edge + 4), colour=(0.3, 0.32, 0.28))
        rows["size"][:, 1] = 3.2
        parts.append(rows)
        s = p.scattered(170)
        s = s[p.rng.random(len(s)) < 0.55 + 0.45 * np.sin(s / 150 + phases[k])]
        u = side * (edge + 7 + p.rng.exponential(12, len(s)))
        parts.append(_trees(p, ["broadleaf", "poplar", "conifer", "bush", "bush"], s, u, (7, 15)))
    s = p.along(1100.0, 0.5)
    bridges = _rows("block", len(s), s0=s, lift=5.6, colour=(0.35, 0.34, 0.32), phase=-1.0)
    bridges["size"] = (2 * edge + 40, 1.5, 9)
    s = p.along(850.0, 0.5) + 200
    span = edge - profile.median_m + 2
    gantries = _rows("gantry", len(s), s0=s, u0=(edge + profile.median_m) / 2)
    gantries["size"] = (span, 7.4, 0.5)
    panels = _rows(
        "panel",
        2 * len(s),
        s0=np.tile(s - 0.3, 2),
        lift=5.6,
        colour=(0.01, 0.07, 0.3) if p.rng.random() < 0.5 else (0.01, 0.16, 0.08),
    )
    panels["u0"] = np.concatenate([np.full(len(s), profile.own_lanes_m[0]), np.full(len(s), profile.own_lanes_m[-1])])
    panels["size"] = (3.2, 2.2, 0.08)
    return [
        *parts,
        bridges,
        gantries,
        panels,
        *_signposts(p, "round sign", p.along(600.0, 0.6), colour=(0.5, 0.02, 0.02), lift=2.0),
    ]
