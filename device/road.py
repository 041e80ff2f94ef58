"""Gaze on the road view: the rigid pair of a front and a rear camera.

A phone's or a dashcam's two cameras are one rigid body, so that the gaze ray meets the road view through a fixed
rotation and the road camera's intrinsics, wherever the body points (nothing to calibrate). What the head's place adds
is parallax, which fades with the distance of what is looked at; it is taken at `target_distance_m`, unless a network
says what the rotation leaves over.
"""

from dataclasses import replace

import numpy as np
from pydantic import Field

from dashgaze.device.lens import LensSettings
from dashgaze.device.records import Gaze
from dashgaze.geometry import (
    FACING,
    Camera,
    Floats,
    angles_from_rays,
    rays_from_angles,
    rotation_x,
    rotation_y,
    rotation_z,
)
from dashgaze.tables import Status


class RoadSettings(LensSettings):
    """The road camera against the driver camera of the same body."""

    yaw_deg: float = Field(0.0, gt=-90, lt=90, description="turn of the road camera to the right, against back to back")
    pitch_deg: float = Field(0.0, gt=-60, lt=60, description="turn of the road camera upwards")
    roll_deg: float = Field(0.0, gt=-90, lt=90, description="turn of the road camera clockwise as seen from behind it")
    offset_mm: tuple[float, float, float] = Field(
        (0.0, 0.0, 0.0), description="place of the driver camera in the road camera's frame"
    )
    target_distance_m: float = Field(30.0, gt=0.5, description="how far away what is looked at is taken to be")


class RoadView:
    """Places a gaze on the pictures of the road camera."""

    def __init__(self, settings: RoadSettings, camera: Camera) -> None:
        self._camera = camera
        turn = rotation_y(settings.yaw_deg) @ rotation_x(settings.pitch_deg) @ rotation_z(settings.roll_deg)
        self._road_from_driver: Floats = turn.T @ FACING
        self._offset_mm = np.array(settings.offset_mm)
        self._distance_mm = settings.target_distance_m * 1000
        # A residual is what a pair that nobody measured leaves over: one that was measured leaves nothing.
        self._measured = any((settings.yaw_deg, settings.pitch_deg, settings.roll_deg, *settings.offset_mm))

    def place(self, gaze: Gaze) -> Gaze:
        """The gaze with its location on the road view; OFF_VIEW where it does not meet it."""
        if gaze.ray is None or gaze.eye_mid_mm is None or gaze.error_deg is None:
            return replace(gaze, location_status=gaze.status)
        x, y = self._camera.project(self._towards_target(gaze.ray, gaze.eye_mid_mm, gaze.road_residual_deg)).tolist()
        width, height = self._camera.size_px
        if not (-0.5 <= x < width - 0.5 and -0.5 <= y < height - 0.5):
            return replace(gaze, location_status=Status.OFF_VIEW)
        error_px = float(self._camera.matrix[0, 0] * np.tan(np.radians(min(gaze.error_deg, 60.0))))
        return replace(gaze, road_px=(x, y), road_error_px=error_px, location_status=gaze.status)

    def _towards_target(self, ray: Floats, eye_mid_mm: Floats, residual_deg: tuple[float, float] | None) -> Floats:
        """Vector (3,) of the road camera's frame to what is looked at, of any length."""
        if residual_deg is None or self._measured:
            return np.asarray(self._road_from_driver @ (eye_mid_mm + ray * self._distance_mm) + self._offset_mm)
        # The residual is learned against the bare direction: parallax is part of it.
        azimuth, elevation = angles_from_rays(self._road_from_driver @ ray)
        return rays_from_angles(azimuth + residual_deg[0], elevation + residual_deg[1])
