"""Where a driver can look: zones of the car frame, one enum and one geometry for renderer, policy and statistics."""

from enum import StrEnum


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
