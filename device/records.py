"""The frozen records between the stages of the loop: Frame -> Face -> Gaze -> Attention -> outputs.

Units are in the names; conventions (camera, car and face frame, signs) are those of `dashgaze.geometry`. None means
unknown. Arrays are never written to after they were put into a record.
"""

from dataclasses import dataclass, field
from enum import IntEnum, StrEnum

import numpy as np
from numpy.typing import NDArray

from dashgaze.tables import Status
from dashgaze.zones import Zone

Box = tuple[float, float, float, float]
"""x0, y0, x1, y1 in pixels of the frame."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One picture of a source."""

    index: int
    """Number of the picture in its source, from 0; pictures that a live source skipped count."""
    t_s: float
    """Seconds from the start: presentation time of a file, monotonic clock of a live source. Never goes back."""
    image: NDArray[np.uint8]
    """Height x width x 3, BGR, upright."""
    timestamp_ns: int | None = None
    """UTC; None where unknown."""
    skipped: int = 0
    """Stale pictures dropped since the frame before, live sources only."""
    speed_mps: float | None = None


@dataclass(frozen=True, slots=True)
class Face:
    """The driver's face on one frame. All geometry is None unless `status` is OK."""

    status: Status
    """OK; NO_FACE; BLOCKED where the camera sees nothing at all (covered, black, blinded)."""
    score: float | None = None
    """Face presence by the mesh network, 0 to 1."""
    box_px: Box | None = None
    landmarks_px: NDArray[np.float32] | None = None
    """478 x 3 (FaceMesh V2 order, irises last): x, y in frame pixels; z in the same scale, smaller is nearer."""
    blendshapes: NDArray[np.float32] | None = None
    """52, in the order of the bundle's part `blendshapes`, 0 to 1; at most 45 ms older than the landmarks."""
    faces_visible: int | None = None
    """How many the detector saw; None on frames on which it did not run."""


@dataclass(frozen=True, slots=True)
class HeadPose:
    """Where the head is: R_camera_face = R0 . Ry(yaw) . Rx(pitch) . Rz(roll)."""

    rotation: NDArray[np.float64]
    """3 x 3, face frame to camera frame."""
    position_mm: NDArray[np.float64]
    """3, origin of the face frame (midway between the eyeball centres) in the camera frame."""
    yaw_deg: float
    pitch_deg: float
    roll_deg: float
    error_px: float
    """Root mean square reprojection error of the fitted face."""
    spread_deg: float = 0.0
    """How far the two estimates that were averaged are apart: large where neither should be trusted."""
    seen_from_deg: tuple[float, float] = (0.0, 0.0)
    """Yaw and pitch against the line to the camera, whatever the face's place in the picture: what hides an eye."""


@dataclass(frozen=True, slots=True)
class Eyes:
    """Lids and mouth."""

    openness_left_frac: float | None
    """0 closed, 1 this driver's normal opening; left is the driver's own."""
    openness_right_frac: float | None
    closed: bool | None
    """The visible eyes are at least 80 % closed on the mean (P80), with hysteresis. None where no eye can be judged."""
    mouth_open_frac: float | None


@dataclass(frozen=True, slots=True)
class Gaze:
    """Where the driver looks. `status` is that of ray and angles, `location_status` that of the road location."""

    status: Status
    """OK; EYES_CLOSED; LOW_QUALITY: the ray is what the estimator falls back on and its error says so, or there is
    none where not even a head fits; else as `Face.status`."""
    ray: NDArray[np.float64] | None = None
    """3, unit vector in the camera frame, from `eye_mid_mm`."""
    eye_mid_mm: NDArray[np.float64] | None = None
    error_deg: float | None = None
    """One standard deviation of the ray, isotropic."""
    azimuth_deg: float | None = None
    """In the face frame, positive to the driver's right."""
    elevation_deg: float | None = None
    """In the face frame, positive up."""
    car_azimuth_deg: float | None = None
    """In the car frame (0 is straight ahead), positive to the driver's right."""
    car_elevation_deg: float | None = None
    """In the car frame, positive up."""
    zone: Zone | None = None
    off_road_deg: float | None = None
    """How far the gaze misses the nearest zone of the road; 0 on it."""
    head: HeadPose | None = None
    eyes: Eyes | None = None
    road_px: tuple[float, float] | None = None
    road_error_px: float | None = None
    location_status: Status = Status.UNKNOWN
    road_residual_deg: tuple[float, float] | None = None
    """What the rigid pair of cameras leaves over, by a network that knows: degrees to the right and up in the road
    camera, to add to the direction of `ray` there (parallax included). None where nothing says."""


class Level(IntEnum):
    """How far an alert has gone, in rising order."""

    NONE = 0
    NOTICE = 1
    """Something to tell, not urgent: camera blocked, no face."""
    WARNING = 2
    CRITICAL = 3


class AlertKind(StrEnum):
    """What an alert is about."""

    LONG_DISTRACTION = "long_distraction"
    CUMULATIVE_DISTRACTION = "cumulative_distraction"
    ATTENTION_BUFFER = "attention_buffer"
    PHONE_DOWN = "phone_down"
    DROWSINESS = "drowsiness"
    MICROSLEEP = "microsleep"
    SLEEP = "sleep"
    UNRESPONSIVE = "unresponsive"
    YAWNING = "yawning"
    NO_FACE = "no_face"
    CAMERA_BLOCKED = "camera_blocked"


@dataclass(frozen=True, slots=True)
class Alert:
    """An alert that starts, changes level or ends at `t_s`; one line of `events.jsonl`."""

    kind: AlertKind
    level: Level
    """NONE when the alert ends."""
    t_s: float
    rule: str
    """The rule and its source, e.g. "Euro NCAP long distraction: one glance off the road >= 3 s"."""
    message: str
    """What to tell the driver, short."""
    measured: float | None = None
    """The value that crossed the rule's threshold, in the rule's unit."""


@dataclass(frozen=True, slots=True)
class Sight:
    """What the attention policy sees of one frame."""

    t_s: float
    status: Status
    """Status of the gaze; with NO_FACE, BLOCKED, UNKNOWN nothing else is known."""
    zone: Zone | None = None
    car_azimuth_deg: float | None = None
    car_elevation_deg: float | None = None
    error_deg: float | None = None
    eyes_closed: bool | None = None
    openness_frac: float | None = None
    """Mean over the visible eyes, 0 to 1."""
    mouth_open_frac: float | None = None
    speed_mps: float | None = None
    acknowledged: bool = False
    """The driver pressed the button since the last frame."""
    off_road_deg: float | None = None
    """How far the gaze misses the nearest zone of the road; 0 on it."""


@dataclass(frozen=True, slots=True)
class Attention:
    """State of the policy after one frame."""

    level: Level
    """The highest level among the active alerts."""
    active: tuple[AlertKind, ...] = ()
    """Active alerts, most severe first."""
    changes: tuple[Alert, ...] = field(default=())
    """Alerts that started, rose, fell or ended on this frame."""
    off_road_s: float | None = 0.0
    """Seconds of the current glance off the road; 0 on the road; None while nothing is seen."""
    off_road_30s_s: float = 0.0
    """Seconds off the road within the last 30 s (Euro NCAP VATS)."""
    buffer_s: float | None = None
    """AttenD buffer, 2 s when full; None while nothing is seen."""
    perclos_frac: float | None = None
    """Share of the last minute with eyes >= 80 % closed; None until enough of it was seen."""
    blink_rate_per_min: float | None = None
