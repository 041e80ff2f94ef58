"""Outputs of the loop. Here is what they all share: the words and colours of zones, states and alert levels.

Colours are sRGB triples. Zones of the road are green, mirrors blue, the car's own displays violet and
amber, and what takes the eyes far from the road orange and red, so that a strip of them reads without a
legend.
"""

from dashgaze.device.records import Gaze, Level
from dashgaze.tables import Status
from dashgaze.zones import Zone

Rgb = tuple[int, int, int]

ZONE_RGB: dict[Zone, Rgb] = {
    Zone.ROAD_AHEAD: (61, 214, 140),
    Zone.ROAD_LEFT: (46, 168, 128),
    Zone.ROAD_RIGHT: (46, 168, 128),
    Zone.MIRROR_LEFT: (79, 168, 245),
    Zone.MIRROR_RIGHT: (79, 168, 245),
    Zone.MIRROR_REAR: (79, 168, 245),
    Zone.CLUSTER: (170, 140, 240),
    Zone.CONSOLE: (245, 190, 72),
    Zone.PHONE_LAP: (240, 84, 80),
    Zone.PASSENGER: (240, 138, 66),
    Zone.OTHER: (142, 152, 166),
}
LEVEL_RGB: dict[Level, Rgb] = {
    Level.NONE: (61, 214, 140),
    Level.NOTICE: (112, 164, 214),
    Level.WARNING: (245, 178, 56),
    Level.CRITICAL: (240, 70, 66),
}
LEVEL_WORDS: dict[Level, str] = {
    Level.NONE: "no alert",
    Level.NOTICE: "notice",
    Level.WARNING: "warning",
    Level.CRITICAL: "critical",
}
CLOSED_RGB: Rgb = (198, 70, 140)
MUTED_RGB: Rgb = (122, 132, 146)

ZONE_WORDS: dict[Zone, str] = {
    Zone.ROAD_AHEAD: "Road ahead",
    Zone.ROAD_LEFT: "Road, left",
    Zone.ROAD_RIGHT: "Road, right",
    Zone.MIRROR_LEFT: "Left mirror",
    Zone.MIRROR_RIGHT: "Right mirror",
    Zone.MIRROR_REAR: "Rear mirror",
    Zone.CLUSTER: "Instruments",
    Zone.CONSOLE: "Console",
    Zone.PHONE_LAP: "Phone or lap",
    Zone.PASSENGER: "Passenger",
    Zone.OTHER: "Elsewhere",
}

_STATUS_WORDS: dict[Status, str] = {
    Status.EYES_CLOSED: "Eyes closed",
    Status.NO_FACE: "No face found",
    Status.BLOCKED: "Camera blocked",
}


def gaze_words(gaze: Gaze) -> str:
    """Where the driver looks, or why that is not known."""
    if gaze.status in _STATUS_WORDS:
        return _STATUS_WORDS[gaze.status]
    return "Gaze unknown" if gaze.zone is None else ZONE_WORDS[gaze.zone]


def gaze_rgb(gaze: Gaze) -> Rgb:
    """Colour of `gaze_words`: the zone's where the eyes were seen to look there, else a muted one."""
    if gaze.status is Status.EYES_CLOSED:
        return CLOSED_RGB
    return ZONE_RGB[gaze.zone] if gaze.zone is not None and gaze.status is Status.OK else MUTED_RGB


def clock_words(t_s: float) -> str:
    """Time since the start as m:ss.s or h:mm:ss.s."""
    tenths = max(0, round(t_s * 10))
    minutes, seconds = divmod(tenths, 600)
    hours, minutes = divmod(minutes, 60)
    head = f"{hours}:{minutes:02d}" if hours else f"{minutes}"
    return f"{head}:{seconds / 10:04.1f}"
