"""Where a driver can look: zones of the car frame, one enum and one geometry for renderer, policy and statistics.

The geometry is `zones.toml`: rectangles in the car frame that face the driver's eyes. Positions matter, not only
angles: a driver who leans forward sees the mirrors elsewhere.
"""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from functools import cached_property
from importlib import resources
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dashgaze.errors import InputError
from dashgaze.geometry import Floats, angles_from_rays, unit

HandOfDrive = Literal["left", "right"]

AREA_3_ELEVATION_DEG = -30.0
"""ADDW (EU 2023/2590): below it lies Area 3, the lap."""


class Zone(StrEnum):
    """A zone of gaze. Left and right are the driver's own."""

    ROAD_AHEAD = "road_ahead"
    ROAD_LEFT = "road_left"
    ROAD_RIGHT = "road_right"
    MIRROR_LEFT = "mirror_left"
    MIRROR_RIGHT = "mirror_right"
    MIRROR_REAR = "mirror_rear"
    CLUSTER = "cluster"
    CONSOLE = "console"
    PHONE_LAP = "phone_lap"
    PASSENGER = "passenger"
    OTHER = "other"


ROAD_ZONES = frozenset({Zone.ROAD_AHEAD, Zone.ROAD_LEFT, Zone.ROAD_RIGHT})
MIRROR_ZONES = frozenset({Zone.MIRROR_LEFT, Zone.MIRROR_RIGHT, Zone.MIRROR_REAR})

_MIRRORED_NAMES = {
    Zone.ROAD_LEFT: Zone.ROAD_RIGHT,
    Zone.ROAD_RIGHT: Zone.ROAD_LEFT,
    Zone.MIRROR_LEFT: Zone.MIRROR_RIGHT,
    Zone.MIRROR_RIGHT: Zone.MIRROR_LEFT,
}


class Area(IntEnum):
    """Areas of EU 2023/2590 (ADDW)."""

    ROAD = 1
    OTHER = 2
    DOWN = 3


def addw_area(zone: Zone, car_elevation_deg: float) -> Area:
    """Area of a gaze: 3 where it points more than 30 deg down, 1 on the road through the windscreen, else 2."""
    if car_elevation_deg < AREA_3_ELEVATION_DEG:
        return Area.DOWN
    return Area.ROAD if zone in ROAD_ZONES else Area.OTHER


@dataclass(frozen=True, eq=False)
class ZoneMap:
    """The zones of one vehicle.

    `zones` (n) in order of precedence; `centres_mm` and their `axes` (n, 3, 3: right, down, away from the eyes) and
    `half_sizes_mm` (n, 2) are their rectangles.
    """

    zones: tuple[Zone, ...]
    centres_mm: Floats
    half_sizes_mm: Floats
    axes: Floats
    margin_deg: float

    @classmethod
    def for_vehicle(
        cls,
        hand_of_drive: HandOfDrive,
        overrides: Mapping[str, Mapping[str, Sequence[float]]] | None = None,
        margin_deg: float = 4.0,
    ) -> "ZoneMap":
        """The packaged geometry for a hand of drive, single values replaced by `overrides`.

        A ray that meets no zone belongs to the nearest one if that is within `margin_deg`, else to OTHER. Overrides
        name the zones of the vehicle itself and are not mirrored. Raises InputError for an unknown zone or key.
        """
        table = _packaged_table(hand_of_drive)
        for name, values in (overrides or {}).items():
            if name not in table:
                known = ", ".join(sorted(table))
                raise InputError(f"zones.{name}", "unknown zone", f"use one of {known}")
            table[name] = table[name] | _checked(name, values)
        centres = np.array([entry["centre_mm"] for entry in table.values()], dtype=float)
        sizes = np.array([entry["size_mm"] for entry in table.values()], dtype=float)
        normals = unit(centres)
        rights = unit(np.cross([0.0, 1.0, 0.0], normals))
        return cls(
            zones=tuple(Zone(name) for name in table),
            centres_mm=centres,
            half_sizes_mm=sizes / 2,
            axes=np.stack([rights, np.cross(normals, rights), normals], axis=1),
            margin_deg=margin_deg,
        )

    def zones_of(self, origins_mm: ArrayLike, rays: ArrayLike) -> NDArray[np.object_]:
        """Zones (n) of rays (n, 3) from eyes at origins (n, 3), both in the car frame; OTHER where none is near."""
        return self._nearest(self._excess_deg(np.atleast_2d(origins_mm), np.atleast_2d(rays)))

    def _nearest(self, excess_deg: Floats) -> NDArray[np.object_]:
        inside = excess_deg <= 0
        first = np.where(inside.any(axis=1), inside.argmax(axis=1), excess_deg.argmin(axis=1))
        near = excess_deg[np.arange(len(first)), first] <= self.margin_deg
        names = np.array(self.zones, dtype=object)
        return np.where(near, names[first], Zone.OTHER)

    def zone_of(self, origin_mm: ArrayLike, ray: ArrayLike) -> Zone:
        """Zone of one ray."""
        return self.locate(origin_mm, ray)[0]

    @cached_property
    def _road(self) -> list[bool]:
        return [zone in ROAD_ZONES for zone in self.zones]

    def locate(self, origin_mm: ArrayLike, ray: ArrayLike) -> tuple[Zone, float]:
        """Zone of one ray, and by how many degrees it misses the nearest zone of the road: 0 on it, 180 at most."""
        excess_deg = self._excess_deg(np.atleast_2d(origin_mm), np.atleast_2d(ray))
        off_road_deg = min(float(excess_deg[0, self._road].min()), 180.0)
        return Zone(self._nearest(excess_deg)[0]), off_road_deg

    def outlines_deg(self) -> dict[Zone, Floats]:
        """Corner azimuths and elevations (4, 2) of each zone, seen from the eyes in the normal posture."""
        right = self.axes[:, 0] * self.half_sizes_mm[:, :1]
        down = self.axes[:, 1] * self.half_sizes_mm[:, 1:]
        corners = np.stack(
            [self.centres_mm + a * right + b * down for a, b in ((-1, -1), (1, -1), (1, 1), (-1, 1))], axis=1
        )
        return {zone: np.stack(angles_from_rays(c), axis=-1) for zone, c in zip(self.zones, corners, strict=True)}

    def _excess_deg(self, origins_mm: Floats, rays: Floats) -> Floats:
        """By how many degrees each ray (n) misses each zone (m); 0 inside, infinite behind the driver."""
        # Everything in each zone's own axes: n, m, 3.
        to_centre = np.einsum("mij,nmj->nmi", self.axes, self.centres_mm - origins_mm[:, None])
        towards = np.einsum("mij,nj->nmi", self.axes, rays)
        ahead = (towards[..., 2] > 1e-6) & (to_centre[..., 2] > 0)
        scale = np.divide(to_centre[..., 2], towards[..., 2], out=np.full(ahead.shape, np.nan), where=ahead)
        offset = towards[..., :2] * scale[..., None] - to_centre[..., :2]
        held = np.clip(offset, -self.half_sizes_mm, self.half_sizes_mm)
        nearest = np.concatenate([to_centre[..., :2] + held, to_centre[..., 2:]], axis=-1)
        lengths = np.sqrt((nearest * nearest).sum(axis=-1) * (towards * towards).sum(axis=-1))
        cosine = np.clip((nearest * towards).sum(axis=-1) / lengths, -1, 1)
        inside = (offset == held).all(axis=-1)
        return np.where(inside, 0.0, np.where(ahead, np.degrees(np.arccos(cosine)), np.inf))


def _packaged_table(hand_of_drive: HandOfDrive) -> dict[str, dict[str, list[float]]]:
    table = tomllib.loads(resources.files("dashgaze").joinpath("zones.toml").read_text(encoding="utf-8"))
    if hand_of_drive == "left":
        return table
    return {
        str(_MIRRORED_NAMES.get(Zone(name), Zone(name))): {
            "centre_mm": [-entry["centre_mm"][0], *entry["centre_mm"][1:]],
            "size_mm": entry["size_mm"],
        }
        for name, entry in table.items()
    }


def _checked(name: str, values: Mapping[str, Sequence[float]]) -> dict[str, list[float]]:
    lengths = {"centre_mm": 3, "size_mm": 2}
    for key, value in values.items():
        if key not in lengths:
            raise InputError(f"zones.{name}.{key}", "unknown key", "use centre_mm or size_mm")
        if len(value) != lengths[key] or not np.isfinite(value).all():
            raise InputError(f"zones.{name}.{key}", f"needs {lengths[key]} finite numbers, not {list(value)}")
        if key == "centre_mm" and np.hypot(value[0], value[2]) < 1:
            raise InputError(f"zones.{name}.centre_mm", "lies above, below or between the eyes", "give it a distance")
        if key == "size_mm" and min(value) <= 0:
            raise InputError(f"zones.{name}.size_mm", f"must be positive, not {list(value)}")
    return {key: [float(v) for v in value] for key, value in values.items()}
