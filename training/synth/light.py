"""What lights the cabin during a drive: sun and sky, trees that shade it, street lamps, oncoming cars, infrared LEDs.

Values are relative to a panorama of mean radiance 1 (an overcast day). `sun_rgb` and lamps are irradiances, so that a
white surface that faces a sun of pi is as bright as that panorama. Suns and street lamps stand still in the world: the
car turns and drives beneath them. Everything depends on the seed and the moment alone.
"""

from dataclasses import dataclass
from typing import get_args

import numpy as np
from numpy.typing import ArrayLike

from dashgaze.geometry import Floats, rays_from_angles, unit
from dashgaze.training.synth.records import Lamp, Light, LightKind, Rgb, RoadType, Sky, TimeOfDay, Vector, Weather
from dashgaze.zones import HandOfDrive

SPEED_MPS: dict[RoadType, float] = {"urban": 10.0, "rural": 20.0, "motorway": 31.0}
"""Usual speeds, for want of the distance driven."""
SPACING_M: dict[RoadType, float] = {"urban": 28.0, "rural": 60.0, "motorway": 45.0}
"""Between street lamps."""
LAMPS_SHARE: dict[RoadType, float] = {"urban": 0.95, "rural": 0.3, "motorway": 0.5}
"""Of roads that have street lamps."""
LAMP_HEIGHT_M = 7.5
"""Above the driver's eyes."""
CARS_PER_M: dict[RoadType, float] = {"urban": 1 / 90, "rural": 1 / 400, "motorway": 1 / 250}
"""Oncoming cars on the road ahead."""
SIGHT_M = 120.0
SKIES: dict[Sky, dict[str, float]] = {
    "day": {"city": 0.36, "forest": 0.34, "sunrise": 0.2, "courtyard": 0.1},
    "overcast": {"city": 0.52, "forest": 0.32, "courtyard": 0.16},
    "dusk": {"sunset": 0.7, "sunrise": 0.2, "city": 0.1},
    "night": {"night": 0.9, "interior": 0.06, "studio": 0.04},  # the last two: car parks and tunnels
}
DAYLIGHT_THROUGH_FILTER = (0.03, 0.3)
"""Share of daylight, from and to, that infrared cameras let through: a 940 nm band, in which the air absorbs, and a
shutter that is open as long as the diodes flash."""
SUN_AT_DEG: dict[str, tuple[float, float]] = {
    "city": (36.0, 48.0),
    "courtyard": (-43.0, 30.0),
    "forest": (36.0, 25.0),
    "sunrise": (36.0, 10.0),
    "sunset": (36.0, 6.0),
}
"""Azimuth and elevation of the sun, or of the brightest sky, in the panoramas that have one."""
SODIUM: Rgb = (1.0, 0.62, 0.27)
LED: Rgb = (1.0, 0.93, 0.82)
HEADLIGHT: Rgb = (0.95, 0.97, 1.0)
DISPLAY: Rgb = (0.55, 0.75, 1.0)
WINDOW_EDGE_MM = 70.0
"""Over which a lamp rises and falls as it passes the edge of a window."""
MAX_LAMPS = 6
_NOISE = 1024


@dataclass(frozen=True, slots=True)
class _Plan:
    """What is drawn once for a drive."""

    environment: str
    yaw_deg: float
    gain: float
    sun_azimuth_deg: float
    sun_elevation_deg: float
    sun_rgb: Rgb
    trees: float
    """Share of the road that lies under trees."""
    lamp_rgb: Rgb | None
    """Irradiance at 1 m of each street lamp; None on roads without."""
    lamp_side_m: float
    display: float


class Lighting:
    """The light of one drive."""

    def __init__(
        self,
        rng_seed: int,
        kind: LightKind,
        road_type: RoadType,
        hand_of_drive: HandOfDrive = "left",
        windows_mm: ArrayLike | None = None,
        camera_mm: ArrayLike | None = None,
        time_of_day: TimeOfDay = "night",
        weather: Weather = "clear",
    ) -> None:
        """Plan a drive's light.

        `windows_mm` (n, 4, 3) are the openings that lamps outside shine through (None: no roof); `camera_mm` (3,) is
        the driver camera with the infrared LEDs beside it, in the car frame. `time_of_day` and `weather` say what mixes
        with the LEDs; every other kind of light is itself the sky's.
        """
        if kind not in get_args(LightKind):
            raise ValueError(f"unknown light {kind!r}")
        rng = np.random.default_rng([rng_seed, 11])
        self.kind: LightKind = kind
        self._road: RoadType = road_type
        self._oncoming_side = -1.0 if hand_of_drive == "left" else 1.0
        self._windows = None if windows_mm is None else _frames(np.asarray(windows_mm, dtype=float))
        self._noise = rng.random(_NOISE)
        sky = sky_of(time_of_day, weather) if kind == "infrared" else kind
        self._plan = _plan(rng, sky, road_type, self._windows, filtered=kind == "infrared")
        self._leds = _leds(rng, camera_mm) if kind == "infrared" else ()
        count = rng.poisson(CARS_PER_M[road_type] * 4000)
        self._cars_m = rng.uniform(0, 4000, count)  # places on a stretch that repeats, met at twice the speed
        self._cars = rng.lognormal(0, 0.5, count)

    def at(self, t_s: float, heading_deg: float = 0.0, distance_m: float | None = None) -> Light:
        """The light at a moment; `heading_deg` is how far the car has turned to the right since the start."""
        plan = self._plan
        way_m = SPEED_MPS[self._road] * t_s if distance_m is None else distance_m
        yaw_deg = float((plan.yaw_deg - heading_deg + 180) % 360 - 180)
        gain = plan.gain * (0.75 + 0.5 * self._smooth(way_m / 90, 7))
        lamps = [*self._leds]
        if plan.display > 0:
            lamps.append(Lamp((0.0, 280.0, 700.0), _scaled(DISPLAY, plan.display)))
        if self.kind in ("night", "dusk"):
            lamps += self._oncoming(way_m)
        if self.kind == "night" and plan.lamp_rgb is not None:
            direction, sun_rgb = self._street_lamp(way_m, plan.lamp_rgb)
        else:
            azimuth = plan.sun_azimuth_deg - heading_deg
            direction = _vector(rays_from_angles(azimuth, plan.sun_elevation_deg))
            sun_rgb = _scaled(plan.sun_rgb, self._through_trees(way_m))
        return Light(
            kind=self.kind,
            environment=plan.environment,
            environment_yaw_deg=yaw_deg,
            environment_gain=float(gain),
            sun_direction=direction,
            sun_rgb=sun_rgb,
            lamps=tuple(lamps[:MAX_LAMPS]),
            infrared=self.kind == "infrared",
        )

    def _smooth(self, x: float, phase: int) -> float:
        """Smooth noise between 0 and 1 that varies over a distance of 1."""
        low = int(np.floor(x))
        share = x - low
        share = share * share * (3 - 2 * share)
        a, b = self._noise[(low + 131 * phase) % _NOISE], self._noise[(low + 1 + 131 * phase) % _NOISE]
        return float(a + share * (b - a))

    def _through_trees(self, way_m: float) -> float:
        """Share of the sun that is left: avenues come and go, and crowns with gaps follow each other in them."""
        avenue = np.clip((self._plan.trees - self._smooth(way_m / 140, 1)) * 6 + 0.5, 0, 1)
        crown = self._smooth(way_m / 7, 2)
        leaves = self._smooth(way_m / 1.3, 3)
        gap = np.clip((0.65 * crown + 0.35 * leaves - 0.38) * 7, 0.04, 1)
        return float(1 - avenue * (1 - gap))

    def _street_lamp(self, way_m: float, rgb: Rgb) -> tuple[Vector, Rgb]:
        """Direction and irradiance of the brightest street lamp; brightness wavers, some do not burn."""
        spacing = SPACING_M[self._road]
        numbers = np.floor(way_m / spacing) + np.arange(-1, 3)
        side, up = np.full(4, self._plan.lamp_side_m), np.full(4, -LAMP_HEIGHT_M)
        places = np.stack([side, up, numbers * spacing - way_m], axis=1)
        strength = self._noise[numbers.astype(int) % _NOISE]
        strength = np.where(strength < 0.08, 0.0, 0.6 + 0.6 * strength)
        downward = LAMP_HEIGHT_M / np.linalg.norm(places, axis=1)  # lamps shine down
        seen = strength * downward / (places**2).sum(axis=1)
        best = int(seen.argmax())
        return _vector(unit(places[best])), _scaled(rgb, float(seen[best]))

    def _oncoming(self, way_m: float) -> list[Lamp]:
        """Headlights of cars that come towards the driver, seen through a window."""
        ahead = (self._cars_m - 2 * way_m) % 4000
        near = np.flatnonzero((ahead > 4) & (ahead < SIGHT_M))
        lamps = []
        for car in near[np.argsort(ahead[near])][:2]:
            place = np.array([self._oncoming_side * 3600.0, 550.0, 1000.0 * ahead[car]])
            # A dipped beam is cut off to the side, so that it fades as it passes.
            beam = np.exp(-((np.degrees(np.arctan2(3.6, ahead[car])) / 9) ** 2)) * _opening(self._windows, place)
            if beam > 0.01:
                lamps.append(Lamp(_vector(place), _scaled(HEADLIGHT, float(180 * beam * self._cars[car]))))
        return lamps


def sky_of(time_of_day: TimeOfDay, weather: Weather) -> Sky:
    """The sky of a time of day; night and dusk are what they are in any weather."""
    return "overcast" if time_of_day == "day" and weather != "clear" else time_of_day


def _plan(rng: np.random.Generator, sky: Sky, road_type: RoadType, windows: Floats | None, *, filtered: bool) -> _Plan:
    """Draw a drive's light under a sky; `filtered` for a camera that sees infrared alone."""
    names = SKIES[sky]
    environment = str(rng.choice(list(names), p=list(names.values())))
    through = float(np.exp(rng.uniform(*np.log(DAYLIGHT_THROUGH_FILTER)))) if filtered and sky != "night" else 1.0
    gain = (
        through
        * {
            "day": rng.uniform(0.8, 1.3),
            "overcast": rng.uniform(0.5, 1.2),
            "dusk": rng.uniform(0.12, 0.45),
            "night": rng.uniform(0.004, 0.02) if environment == "night" else rng.uniform(0.02, 0.1),
        }[sky]
    )
    azimuth, elevation, yaw = _sun_place(rng, environment, windows)
    strength = (
        np.pi
        * through
        * {
            "day": float(np.clip(rng.lognormal(0.75, 0.55), 0.6, 6.0)),
            "overcast": rng.uniform(0.0, 0.25),
            "dusk": rng.uniform(0.0, 0.7) if environment in SUN_AT_DEG else 0.0,
            "night": 0.0,
        }[sky]
    )
    has_lamps = sky == "night" and not filtered and rng.random() < LAMPS_SHARE[road_type]
    lamp_colour = SODIUM if rng.random() < 0.45 else LED
    glow = {"night": rng.uniform(0.004, 0.03), "dusk": rng.uniform(0.0, 0.02)}.get(sky, 0.0)
    return _Plan(
        environment=environment,
        yaw_deg=yaw,
        gain=float(gain),
        sun_azimuth_deg=azimuth,
        sun_elevation_deg=elevation,
        sun_rgb=_scaled(_sun_colour(elevation), float(strength)),
        trees={"urban": 0.35, "rural": 0.45, "motorway": 0.12}[road_type] * rng.uniform(0.3, 1.6),
        lamp_rgb=_scaled(lamp_colour, float(rng.uniform(50, 180))) if has_lamps else None,
        lamp_side_m=float(rng.uniform(2, 9) * rng.choice([-1, 1])),
        display=0.0 if filtered else float(glow),
    )


def _sun_place(rng: np.random.Generator, environment: str, windows: Floats | None) -> tuple[float, float, float]:
    """Azimuth and elevation of the sun at the start, and the panorama's yaw that puts its own sun there.

    Two drives in three start with the sun on the driver's face through a window.
    """
    seen_azimuth, seen_elevation = SUN_AT_DEG.get(environment, (0.0, 35.0))
    wanted = rng.random() < 0.66
    for _ in range(60):
        azimuth = float(rng.uniform(-180, 180))
        elevation = float(np.clip(rng.normal(seen_elevation, 9), 5, 65))
        through = _opening(windows, 1e6 * rays_from_angles(azimuth, elevation))
        if not wanted or through > 0.5:
            break
    return azimuth, elevation, azimuth - seen_azimuth


def _sun_colour(elevation_deg: float) -> Rgb:
    """White high up, orange near the horizon."""
    height = float(np.clip(elevation_deg / 35, 0, 1)) ** 0.6
    return 1.0, 0.62 + 0.32 * height, 0.30 + 0.54 * height


def _leds(rng: np.random.Generator, camera_mm: ArrayLike | None) -> tuple[Lamp, ...]:
    """One or two diodes beside the lens."""
    if camera_mm is None:
        raise ValueError("infrared light needs the place of the driver camera, camera_mm")
    centre = np.asarray(camera_mm, dtype=float)
    apart = rng.uniform(8, 28)
    sides = (-1, 1) if rng.random() < 0.6 else (1,)
    level = float(rng.uniform(0.7, 1.3)) / len(sides)
    places = centre + np.array([[side * apart, rng.uniform(-8, 8), 0] for side in sides])
    return tuple(Lamp(_vector(place), (level, level, level)) for place in places)


def _frames(windows: Floats) -> Floats:
    """Windows (n, 4, 3) as rows: corner, side, other side, taken as parallelograms through their middles (n, 3, 3)."""
    side = (windows[:, 1] - windows[:, 0] + windows[:, 2] - windows[:, 3]) / 2
    other = (windows[:, 3] - windows[:, 0] + windows[:, 2] - windows[:, 1]) / 2
    corner = windows.mean(axis=1) - (side + other) / 2
    return np.stack([corner, side, other], axis=1)


def _opening(frames: Floats | None, place_mm: ArrayLike) -> float:
    """Share of light from a place that reaches the driver's head through windows; 1 without a car."""
    if frames is None:
        return 1.0
    ray = np.asarray(place_mm, dtype=float)
    # Solve ray . r = corner + a . side + b . other for each window.
    systems = np.stack([np.broadcast_to(ray, (len(frames), 3)), -frames[:, 1], -frames[:, 2]], axis=2)
    solvable = np.abs(np.linalg.det(systems)) > 1e-6
    if not solvable.any():
        return 0.0
    kept = frames[solvable]
    r, a, b = np.linalg.solve(systems[solvable], kept[:, 0][..., None])[..., 0].T
    sizes = np.linalg.norm(kept[:, 1:], axis=2)
    inside = np.minimum(np.minimum(a, 1 - a) * sizes[:, 0], np.minimum(b, 1 - b) * sizes[:, 1])
    return float(np.where(r > 0, np.clip(inside / WINDOW_EDGE_MM + 0.5, 0, 1), 0).max())


def _scaled(rgb: Rgb, factor: float) -> Rgb:
    red, green, blue = (factor * value for value in rgb)
    return red, green, blue


def _vector(values: ArrayLike) -> Vector:
    x, y, z = (float(value) for value in np.asarray(values, dtype=float))
    return x, y, z
