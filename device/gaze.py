"""Geometric gaze: irises on eyeballs in a posed head, as a ray in the driver-camera frame.

The viewing ray through each iris meets an eyeball of 12 mm whose centre the head pose gives; the line from the centre
to that point is where the eye looks. Irises are some pixels wide, so that this is noisy, and its elevation more than
its azimuth, since lids hide the iris. Two things are known besides: eyes mostly look where the head points (a prior,
which shrinks the measured rotation), and the upper lid follows the gaze down (Becker and Fuchs 1988), which tells
more about elevation than the iris does. Gains and errors below are least-squares fits to 513 rendered heads with known
gaze, 60 people, each left out in turn: mean error 9.5 deg, 13.3 deg for the head's direction alone.
"""

import math

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from dashgaze.device.eyes import Apertures, EyeJudge
from dashgaze.device.filters import OneEuroFilter
from dashgaze.device.headpose import CanonicalFace, HeadPoseEstimator
from dashgaze.device.mesh import LEFT_CORNERS, LEFT_IRIS, RIGHT_CORNERS, RIGHT_IRIS
from dashgaze.device.records import Eyes, Face, Frame, Gaze, HeadPose
from dashgaze.device.settings import Settings
from dashgaze.geometry import Camera, Floats, angles_from_rays, intersect_sphere, rays_from_angles, unit
from dashgaze.tables import Status
from dashgaze.zones import ZoneMap

_EYEBALL_MM = 12.0
_AZIMUTH_GAIN, _ELEVATION_GAIN = 0.55, 0.23
_LID_DEG = 21.0  # elevation for a lid opened by its whole normal aperture more
_EYES_ERROR_DEG, _HEAD_ERROR_DEG = 7.5, 10.5
_TURNED_YAW_DEG = 23.0
_EYES_TURNED, _HEAD_TURNED = 0.37, 0.2  # beyond that yaw every degree adds so much error
_FAR_YAW_DEG = 60.0
_SEAT_S = 120.0


class GazeSettings(Settings):
    """The geometric estimator and its filter."""

    min_cutoff_hz: float = Field(1.5, gt=0, description="one-euro filter: cutoff at rest")
    beta_hz: float = Field(2.0, ge=0, description="one-euro filter: rise of the cutoff per radian a second")
    smallest_eye_px: float = Field(7.0, gt=0, description="with narrower eyes the head's direction is used")


class GeometricGaze:
    """The gaze stage of the loop. `adapt` takes over what adaptation found, between frames."""

    def __init__(
        self,
        settings: GazeSettings,
        camera: Camera,
        face: CanonicalFace,
        eyes: EyeJudge,
        zones: ZoneMap,
        car_from_camera: Floats,
    ) -> None:
        self._settings, self._camera, self._zones, self._eyes = settings, camera, zones, eyes
        self._eyeballs_mm = face.eyeballs_mm
        self._head = HeadPoseEstimator(face, camera)
        self._car_from_camera = car_from_camera
        self._filter = OneEuroFilter(settings.min_cutoff_hz, settings.beta_hz)
        self._seat: tuple[float, Floats] | None = None  # when, and where the eyes usually are

    def adapt(self, car_from_camera: Floats) -> None:
        """Use another rotation (3, 3) from the camera frame to the car frame."""
        self._car_from_camera = car_from_camera

    def estimate(self, frame: Frame, face: Face) -> Gaze:
        """Gaze of a face; a status and nothing else where there is no face."""
        if face.landmarks_px is None:
            self._filter.reset()
            return Gaze(face.status)
        head = self._head.fit(face.landmarks_px)
        if head is None:
            self._filter.reset()
            return Gaze(Status.LOW_QUALITY)
        eyes, apertures = self._eyes.judge(frame.t_s, face, head)
        if eyes.closed:
            self._filter.reset()
            return Gaze(Status.EYES_CLOSED, eye_mid_mm=head.position_mm, head=head, eyes=eyes)
        return self._open_eyed(frame, face.landmarks_px, head, eyes, apertures)

    def _open_eyed(
        self,
        frame: Frame,
        landmarks_px: NDArray[np.float32],
        head: HeadPose,
        eyes: Eyes,
        apertures: Apertures,
    ) -> Gaze:
        eye_px = _eye_width_px(landmarks_px)
        irises = self._camera.rays(landmarks_px[[RIGHT_IRIS, LEFT_IRIS], :2])
        facing = abs(head.seen_from_deg[0]) < _FAR_YAW_DEG and bool(np.isfinite(irises).all())
        usable = facing and eye_px >= self._settings.smallest_eye_px
        if usable:
            azimuth, elevation = self._eye_in_head(irises, head, apertures)
            error_deg = _error_deg(_EYES_ERROR_DEG, _EYES_TURNED, head, eye_px)
        else:
            azimuth, elevation, error_deg = 0.0, 0.0, _error_deg(_HEAD_ERROR_DEG, _HEAD_TURNED, head, eye_px)
        ray = unit(self._filter(frame.t_s, head.rotation @ rays_from_angles(azimuth, elevation)))
        in_face = angles_from_rays(head.rotation.T @ ray)
        in_car = self._car_from_camera @ ray
        car_azimuth, car_elevation = angles_from_rays(in_car)
        zone, off_road_deg = self._zones.locate(self._eyes_in_car(frame.t_s, head.position_mm), in_car)
        return Gaze(
            status=Status.OK if usable else Status.LOW_QUALITY,
            ray=ray,
            eye_mid_mm=head.position_mm,
            error_deg=error_deg,
            azimuth_deg=float(in_face[0]),
            elevation_deg=float(in_face[1]),
            car_azimuth_deg=float(car_azimuth),
            car_elevation_deg=float(car_elevation),
            zone=zone,
            off_road_deg=off_road_deg,
            head=head,
            eyes=eyes,
        )

    def _eye_in_head(self, irises: Floats, head: HeadPose, apertures: Apertures) -> tuple[float, float]:
        """Azimuth and elevation of the gaze in the face frame, degrees; `irises` are rays (2, 3), right and left."""
        centres = self._eyeballs_mm @ head.rotation.T + head.position_mm
        points, _ = intersect_sphere(irises, centres, _EYEBALL_MM)
        azimuths, elevations = angles_from_rays((points - centres) @ head.rotation)
        seen = [apertures.right is not None, apertures.left is not None]
        normal = self._eyes.normal_aperture_frac
        lid_deg = _LID_DEG * ((apertures.mean or normal) / normal - 1)
        azimuth = _AZIMUTH_GAIN * float(np.clip(azimuths[seen].mean(), -60, 60))
        elevation = _ELEVATION_GAIN * float(np.clip(elevations[seen].mean(), -60, 60)) + lid_deg
        return azimuth, float(np.clip(elevation, -45, 45))

    def _eyes_in_car(self, t_s: float, eye_mid_mm: Floats) -> Floats:
        """Where the eyes are in the car frame, whose origin is their usual place: a mean over the last minutes."""
        if self._seat is None:
            self._seat = (t_s, eye_mid_mm)
        before_s, seat_mm = self._seat
        seat_mm = seat_mm + (1 - np.exp(-(t_s - before_s) / _SEAT_S)) * (eye_mid_mm - seat_mm)
        self._seat = (t_s, seat_mm)
        in_car: Floats = self._car_from_camera @ (eye_mid_mm - seat_mm)
        return np.clip(in_car, -300, 300)


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
