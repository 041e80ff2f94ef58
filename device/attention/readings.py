"""What one sight of the driver says by itself: what the gaze is directed at, whether eyes are closed and mouth open."""

import math
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

from dashgaze.device.attention.settings import AttentionSettings
from dashgaze.device.records import Sight
from dashgaze.tables import Status
from dashgaze.zones import Zone


class Look(IntEnum):
    """What the driver looks at, as far as attention is concerned. True where it is off the road."""

    ROAD = 0
    AWAY = 1
    CLUSTER = 2
    """This and what follows is part of driving: short looks are no distraction."""
    MIRROR_LEFT = 3
    MIRROR_RIGHT = 4
    MIRROR_REAR = 5


_LOOKS: dict[Zone, Look] = dict.fromkeys(Zone, Look.AWAY) | {
    Zone.ROAD_AHEAD: Look.ROAD,
    Zone.ROAD_LEFT: Look.ROAD,
    Zone.ROAD_RIGHT: Look.ROAD,
    Zone.CLUSTER: Look.CLUSTER,
    Zone.MIRROR_LEFT: Look.MIRROR_LEFT,
    Zone.MIRROR_RIGHT: Look.MIRROR_RIGHT,
    Zone.MIRROR_REAR: Look.MIRROR_REAR,
}
_ONE_SIDED_90 = 1.28
"""Standard deviations within which a normal error lies in nine cases of ten, to one side."""
NOTHING_KNOWN = frozenset({Status.NO_FACE, Status.BLOCKED, Status.UNKNOWN, Status.NOT_WORN, Status.NO_MATCH})


class Aim(NamedTuple):
    """What one gaze is directed at."""

    look: Look
    down: bool
    """In Area 3 (EU 2023/2590)."""
    phone: bool | None
    """At phone or lap; None where the zone is unknown."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What one sight says by itself; None where it says nothing."""

    t_s: float
    status: Status
    aim: Aim | None = None
    closed: bool | None = None
    """The eyes."""
    mouth_open: bool | None = None


def judge_sight(sight: Sight, settings: AttentionSettings) -> Reading:
    """Tell what one sight says about gaze, eyes and mouth; where the eyes are closed, there is no gaze."""
    if sight.status in NOTHING_KNOWN:
        return Reading(sight.t_s, sight.status)
    closed = _eyes_closed(sight, settings.eyes.closed_frac)
    mouth_frac = finite(sight.mouth_open_frac)
    mouth_open = None if mouth_frac is None else mouth_frac >= settings.eyes.yawn_frac
    aim: Aim | None = None
    if not closed and _certain(sight, settings.gaze.max_error_deg):
        aim = _aim(sight, settings.long.area3_elevation_deg)
    elif not closed and _surely_off_road(sight):
        aim = Aim(Look.AWAY, False, None)  # where exactly, cannot be said
    return Reading(sight.t_s, sight.status, aim, closed, mouth_open)


def finite(value: float | None) -> float | None:
    """Return the value, None where it is no number."""
    return value if value is not None and math.isfinite(value) else None


def _eyes_closed(sight: Sight, closed_frac: float) -> bool | None:
    if sight.status is Status.EYES_CLOSED:
        return True
    if sight.eyes_closed is not None:
        return sight.eyes_closed
    openness_frac = finite(sight.openness_frac)
    return None if openness_frac is None else openness_frac <= closed_frac


def _certain(sight: Sight, max_error_deg: float) -> bool:
    """Whether the direction can be judged; a gaze of low quality must say how low."""
    if sight.error_deg is None:
        return sight.status is not Status.LOW_QUALITY
    return sight.error_deg < max_error_deg


def _surely_off_road(sight: Sight) -> bool:
    """Whether even an uncertain gaze misses the road: a head turned far away hides the eyes."""
    if sight.error_deg is None or sight.off_road_deg is None:
        return False
    return sight.off_road_deg > _ONE_SIDED_90 * sight.error_deg


def _aim(sight: Sight, area3_elevation_deg: float) -> Aim | None:
    elevation_deg = finite(sight.car_elevation_deg)
    low = None if elevation_deg is None else elevation_deg < area3_elevation_deg
    if sight.zone is None:
        return Aim(Look.AWAY, True, None) if low else None
    phone = sight.zone is Zone.PHONE_LAP
    return Aim(_LOOKS[sight.zone], phone if low is None else low, phone)
