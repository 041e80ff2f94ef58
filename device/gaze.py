"""The gaze stage, and its geometric estimator: irises on eyeballs in a posed head, as a ray in the driver-camera frame.

The viewing ray through each iris meets an eyeball of 12 mm behind the middle of its lid corners, as the head pose turns
it; the line from its centre to that point is where the eye looks. Irises are some pixels wide, so that this is noisy,
and the mesh network draws them too near to the middle, above all in height. The upper lid follows the gaze down (Becker
and Fuchs 1988) and tells a little more. Gains and errors below are fitted by `benchmarks/geometric_fit.py` to 37
rendered drives; on 30 drives of other people the mean error was 11.2 deg, and 17.5 deg for the head's direction alone.
"""

import math
from collections import Counter
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from dashgaze.device.eyes import Apertures, EyeJudge
from dashgaze.device.filters import OneEuroFilter
from dashgaze.device.headpose import EYEBALL_FROM_CORNERS_MM, CanonicalFace, HeadPoseEstimator
from dashgaze.device.mesh import LEFT_CORNERS, LEFT_IRIS, RIGHT_CORNERS, RIGHT_IRIS
from dashgaze.device.records import Eyes, Face, Frame, Gaze, HeadPose
from dashgaze.device.settings import Settings
from dashgaze.geometry import Camera, Floats, angles_from_rays, intersect_sphere, rays_from_angles, unit
from dashgaze.tables import Status
from dashgaze.zones import ZoneMap

_EYEBALL_MM = 12.0
_AZIMUTH_GAIN, _ELEVATION_GAIN = 1.0, 2.0
_LID_DEG = 4.0  # elevation for a lid opened by its whole normal aperture more
_EYES_ERROR_DEG, _HEAD_ERROR_DEG = 8.2, 15.0
_TURNED_YAW_DEG = 26.0
_EYES_TURNED, _HEAD_TURNED = 0.56, 0.24  # beyond that yaw every degree adds so much error
_FAR_YAW_DEG = 60.0
_SEAT_S = 120.0
_RADIAN_DEG = math.degrees(1.0)

Method = Literal["auto", "network", "geometric", "fused"]


class GazeSettings(Settings):
    """Which estimator looks, when it is not believed, and the filter."""

    method: Method = Field(
        "auto",
        description="estimator; fused is the mean of both by their errors, auto the network where the bundle has one",
    )
    largest_error_deg: float = Field(
        25.0, gt=0, le=90, description="where the network doubts itself by more, the geometric estimate is used"
    )
    min_cutoff_hz: float = Field(1.5, gt=0, description="one-euro filter: cutoff at rest")
    beta_hz: float = Field(2.0, ge=0, description="one-euro filter: rise of the cutoff per radian a second")
    smallest_eye_px: float = Field(
        7.0, gt=0, description="with narrower eyes the geometric estimate is the head's direction"
    )


@dataclass(frozen=True, slots=True, eq=False)
class Look:
    """What an estimator makes of one frame, by itself: nothing is filtered."""

    ray: Floats
    """(3,) unit vector in the camera frame, from the middle of the eyes."""
    error_deg: float
    """One standard deviation per axis."""
    good: bool = True
    """False where the estimator could not do what it is for, and `ray` is what it falls back on."""
    road_residual_deg: tuple[float, float] | None = None
    """`Gaze.road_residual_deg`"""


class Estimator(Protocol):
    """What the gaze stage asks of an estimator."""

    def look(self, frame: Frame, face: Face, head: HeadPose, apertures: Apertures) -> Look:
        """Where a posed face with landmarks looks, its eyes not being closed."""


@dataclass(frozen=True, slots=True, eq=False)
class Sighting:
    """A posed face with its eyes, and how it looks; no look from closed eyes."""

    head: HeadPose
    eyes: Eyes
    look: Look | None


class GazeStage:
    """The gaze stage of the loop. `adapt` takes over what adaptation found, between frames."""

    def __init__(
        self,
        settings: GazeSettings,
        estimator: Estimator,
        head: HeadPoseEstimator,
        eyes: EyeJudge,
        zones: ZoneMap,
        car_from_camera: Floats,
    ) -> None:
        self._estimator, self._head, self._eyes, self._zones = estimator, head, eyes, zones
        self._car_from_camera = car_from_camera
        self._smooth_ray = OneEuroFilter(settings.min_cutoff_hz, settings.beta_hz)
        self._smooth_residual = OneEuroFilter(settings.min_cutoff_hz, settings.beta_hz)
        self._seat: tuple[float, Floats] | None = None  # when, and where the eyes usually are
        self.looks: Counter[bool] = Counter()
        """How many looks were good, and how many not."""

    def adapt(self, car_from_camera: Floats) -> None:
        """Use another rotation (3, 3) from the camera frame to the car frame."""
        self._car_from_camera = car_from_camera

    def estimate(self, frame: Frame, face: Face) -> Gaze:
        """Gaze of a face; a status and nothing else where there is no face."""
        sighting = self.see(frame, face)
        if sighting is not None and sighting.look is not None:
            self.looks[sighting.look.good] += 1
            return self._gaze(frame.t_s, sighting.head, sighting.eyes, sighting.look)
        self._smooth_ray.reset()
        self._smooth_residual.reset()
        if sighting is None:
            return Gaze(Status.LOW_QUALITY if face.landmarks_px is not None else face.status)
        head = sighting.head
        return Gaze(Status.EYES_CLOSED, eye_mid_mm=head.position_mm, head=head, eyes=sighting.eyes)

    def see(self, frame: Frame, face: Face) -> Sighting | None:
        """Head, eyes and unfiltered look of a face; None where there is none, or no head fits it."""
        head = None if face.landmarks_px is None else self._head.fit(face.landmarks_px)
        if head is None:
            return None
        eyes, apertures = self._eyes.judge(frame.t_s, face, head)
        return Sighting(head, eyes, None if eyes.closed else self._estimator.look(frame, face, head, apertures))

    def _gaze(self, t_s: float, head: HeadPose, eyes: Eyes, look: Look) -> Gaze:
        ray = unit(self._smooth_ray(t_s, look.ray))
        in_face = angles_from_rays(head.rotation.T @ ray)
        in_car = self._car_from_camera @ ray
        car_azimuth, car_elevation = angles_from_rays(in_car)
        zone, off_road_deg = self._zones.locate(self._eyes_in_car(t_s, head.position_mm), in_car)
        return Gaze(
            status=Status.OK if look.good else Status.LOW_QUALITY,
            ray=ray,
            eye_mid_mm=head.position_mm,
            error_deg=look.error_deg,
            azimuth_deg=float(in_face[0]),
            elevation_deg=float(in_face[1]),
            car_azimuth_deg=float(car_azimuth),
            car_elevation_deg=float(car_elevation),
            zone=zone,
            off_road_deg=off_road_deg,
            head=head,
            eyes=eyes,
            road_residual_deg=self._residual(t_s, look.road_residual_deg),
        )

    def _residual(self, t_s: float, residual_deg: tuple[float, float] | None) -> tuple[float, float] | None:
        if residual_deg is None:
            return None
        right, up = self._smooth_residual(t_s, np.array(residual_deg), _RADIAN_DEG).tolist()
        return right, up

    def _eyes_in_car(self, t_s: float, eye_mid_mm: Floats) -> Floats:
        """Where the eyes are in the car frame, whose origin is their usual place: a mean over the last minutes."""
        if self._seat is None:
            self._seat = (t_s, eye_mid_mm)
        before_s, seat_mm = self._seat
        seat_mm = seat_mm + (1 - np.exp(-(t_s - before_s) / _SEAT_S)) * (eye_mid_mm - seat_mm)
        self._seat = (t_s, seat_mm)
        in_car: Floats = self._car_from_camera @ (eye_mid_mm - seat_mm)
        return np.clip(in_car, -300, 300)


class GeometricGaze:
    """The geometric estimator: needs landmarks, head and lids, no picture."""

    def __init__(self, settings: GazeSettings, camera: Camera, face: CanonicalFace, eyes: EyeJudge) -> None:
        self._settings, self._camera, self._eyes = settings, camera, eyes
        self._eyes_mm = face.eyeballs_mm - EYEBALL_FROM_CORNERS_MM  # middles of the lid corners

    def look(self, frame: Frame, face: Face, head: HeadPose, apertures: Apertures) -> Look:
        """`Estimator.look`; the head's direction where the eyes are hidden or too small."""
        landmarks_px = face.landmarks_px
        assert landmarks_px is not None
        eye_px = _eye_width_px(landmarks_px)
        middles = landmarks_px[[RIGHT_CORNERS, LEFT_CORNERS], :2].mean(axis=1)
        rays = self._camera.rays(np.stack([landmarks_px[[RIGHT_IRIS, LEFT_IRIS], :2], middles]))
        facing = abs(head.seen_from_deg[0]) < _FAR_YAW_DEG and bool(np.isfinite(rays).all())
        if not (facing and eye_px >= self._settings.smallest_eye_px):
            return Look(head.rotation[:, 2], _error_deg(_HEAD_ERROR_DEG, _HEAD_TURNED, head, eye_px), good=False)
        ray = head.rotation @ rays_from_angles(*self._eye_in_head(rays[0], rays[1], head, apertures))
        return Look(ray, _error_deg(_EYES_ERROR_DEG, _EYES_TURNED, head, eye_px))

    def _eye_in_head(
        self, irises: Floats, middles: Floats, head: HeadPose, apertures: Apertures
    ) -> tuple[float, float]:
        """Azimuth and elevation of the gaze in the face frame, degrees.

        Rays (2, 3), right and left, go through the irises and the middles of the lid corners. Corners and irises are
        drawn by one network in one picture: their errors, and the person's shape, cancel. Only the depth of the corners
        and what is behind them is the posed head's.
        """
        depths = (self._eyes_mm @ head.rotation.T + head.position_mm)[:, 2:]
        centres = middles * (depths / middles[:, 2:]) + head.rotation @ EYEBALL_FROM_CORNERS_MM
        points, _ = intersect_sphere(irises, centres, _EYEBALL_MM)
        azimuths, elevations = angles_from_rays((points - centres) @ head.rotation)
        seen = [apertures.right is not None, apertures.left is not None]
        normal = self._eyes.normal_aperture_frac
        lid_deg = _LID_DEG * ((apertures.mean or normal) / normal - 1)
        azimuth = _AZIMUTH_GAIN * float(np.clip(azimuths[seen].mean(), -60, 60))
        elevation = _ELEVATION_GAIN * float(np.clip(elevations[seen].mean(), -60, 60)) + lid_deg
        return azimuth, float(np.clip(elevation, -45, 45))


def _error_deg(base_deg: float, turned: float, head: HeadPose, eye_px: float) -> float:
    """Standard deviation per axis: what the fits leave over, the head's turn and doubt, half a pixel of iris noise."""
    turned_deg = turned * max(abs(head.seen_from_deg[0]) - _TURNED_YAW_DEG, 0.0)
    # Half an eye width is the radius of the globe, about.
    pixel_deg = float(np.degrees(0.5 / max(eye_px / 2, 1.0))) * _AZIMUTH_GAIN
    return math.hypot(base_deg, turned_deg, head.spread_deg / 2, pixel_deg)


def _eye_width_px(landmarks_px: NDArray[np.float32]) -> float:
    corners = landmarks_px[[*RIGHT_CORNERS, *LEFT_CORNERS], :2]
    widths = np.linalg.norm(corners[::2] - corners[1::2], axis=1)
    return float(widths.max())
