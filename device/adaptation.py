"""Adaptation slot of the loop, and its first tenant: road-centre self-calibration.

Nobody knows how the camera sits in this car, or by how much this driver's eyes deviate from the model's. But drivers
look straight ahead most of the time, so that the mode of their gaze while driving is the road's centre (the road-centre
method, Ahlstrom, Kircher and Kircher 2013; openpilot learns its pose offset alike, ready after 60 s, clamped). The
mode, not the mean: glances to the console pull a mean along.
"""

import math
from dataclasses import dataclass
from typing import Literal, Protocol

import cv2
import numpy as np
from pydantic import Field

from dashgaze.device.records import Frame, Gaze
from dashgaze.device.settings import Settings
from dashgaze.geometry import Floats, angles_from_rays, rays_from_angles, rotation_between
from dashgaze.tables import Status

_BIN_DEG = 1.0
_REACH_DEG = 45.0
_BLUR_DEG = 2.5


class AdaptationSettings(Settings):
    """What is learned in the car."""

    method: Literal["none", "road_centre"] = Field("road_centre", description="none keeps the mount as configured")
    ready_s: float = Field(60.0, gt=0, description="seconds of driving with good gaze before anything is changed")
    memory_s: float = Field(360.0, gt=0, description="time constant of forgetting")
    least_speed_mps: float = Field(13.0, ge=0, description="frames below this speed are left out; unknown speed counts")
    clamp_deg: float = Field(30.0, gt=0, le=45, description="the correction is never larger")
    unknown_speed_clamp_deg: tuple[float, float] = Field(
        (20.0, 12.0),
        description="to the side, and up or down, where the speed is not known: a parked driver reads a phone",
    )


@dataclass(frozen=True, slots=True)
class Calibration:
    """What adaptation found: how the camera sits in the car, so that the road's centre is straight ahead."""

    car_from_camera: Floats
    """Rotation (3, 3) from the camera frame to the car frame."""
    azimuth_deg: float
    """Where the driver's gaze had its mode before correction, in the car frame of the configured mount."""
    elevation_deg: float
    seconds: float
    """How much driving it rests on."""


class Adaptation(Protocol):
    """What the loop asks of a tenant of the adaptation slot."""

    def observe(self, frame: Frame, gaze: Gaze) -> Calibration | None:
        """Take in a frame; a calibration where there is a new one, which gaze takes over before the next frame."""


class RoadCentre:
    """Learns the mode of gaze while driving."""

    def __init__(self, settings: AdaptationSettings, car_from_camera: Floats) -> None:
        self._settings, self._mount = settings, car_from_camera
        n = int(2 * _REACH_DEG / _BIN_DEG) + 1
        self._seconds = np.zeros((n, n), dtype=np.float32)  # elevation, azimuth
        self._before_s: float | None = None
        self._given_s = 0.0
        self._learned_s = 0.0
        self._speed_known = True

    def observe(self, frame: Frame, gaze: Gaze) -> Calibration | None:
        """A calibration when `ready_s` of driving were seen, and a fresh one every ten seconds of driving after."""
        dt_s = min(frame.t_s - self._before_s, 0.5) if self._before_s is not None else 0.0
        self._before_s = frame.t_s
        slow = frame.speed_mps is not None and frame.speed_mps < self._settings.least_speed_mps
        if gaze.ray is None or gaze.status is not Status.OK or slow or dt_s <= 0:
            return None
        azimuth, elevation = angles_from_rays(self._mount @ gaze.ray)
        column, row = (round((float(a) + _REACH_DEG) / _BIN_DEG) for a in (azimuth, elevation))
        if not (0 <= row < len(self._seconds) and 0 <= column < len(self._seconds)):
            return None
        self._speed_known &= frame.speed_mps is not None
        self._seconds[row, column] += dt_s
        self._learned_s += dt_s
        if self._learned_s < self._settings.ready_s or self._learned_s - self._given_s < 10:
            return None
        self._seconds *= math.exp(-(self._learned_s - self._given_s) / self._settings.memory_s)
        self._given_s = self._learned_s
        return self._calibration()

    def _calibration(self) -> Calibration:
        blurred = cv2.GaussianBlur(self._seconds, (0, 0), _BLUR_DEG / _BIN_DEG)
        row, column = np.unravel_index(int(blurred.argmax()), blurred.shape)
        found = np.array([column, row]) * _BIN_DEG - _REACH_DEG
        settings = self._settings
        limit = np.array([settings.clamp_deg] * 2 if self._speed_known else settings.unknown_speed_clamp_deg)
        azimuth, elevation = np.clip(found, -limit, limit).tolist()
        correction = rotation_between(rays_from_angles(azimuth, elevation), [0.0, 0.0, 1.0])
        return Calibration(correction @ self._mount, azimuth, elevation, self._learned_s)
