"""The device that films: a phone or dashcam with one camera on the driver and one on the road, and where it hangs.

The three mounts are those of the thesis' figure 11.3. A phone's two cameras look in opposite directions, so that it is
turned only part of the way towards the driver and the face is off the middle of its picture, as on the figure; the two
lenses of a dashcam turn on their own. Nothing of it is known to the device that later measures.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from dashgaze.geometry import FACING, Camera, Floats, facing_rotation, rotation_x, rotation_y, rotation_z, unit
from dashgaze.training.synth.records import Mount
from dashgaze.zones import HandOfDrive

Device = Literal["phone", "dashcam"]

SIZE_PX = (1280, 720)
DASHCAM_SHARE = 0.18
PLACES_MM: dict[Mount, tuple[float, float, float]] = {
    "mirror": (340.0, -8.0, 555.0),
    "windscreen": (275.0, 35.0, 655.0),
    "corner": (-268.0, -82.0, 512.0),
}
"""Of the driver camera in a left-hand-drive car."""
SPREAD_MM: dict[Mount, tuple[float, float, float]] = {
    "mirror": (28.0, 10.0, 20.0),
    "windscreen": (38.0, 28.0, 30.0),
    "corner": (13.0, 17.0, 14.0),
}
"""Standard deviations; nowhere so large that the device would be in the mirror, the glass or the driver's view."""
HEAD_MM = np.array([[x, y, z] for x in (-95.0, 95.0) for y in (-125.0, 120.0) for z in (-120.0, 20.0)])
"""Corners of a box around face and hair in the normal posture."""
TRIES = 1000


@dataclass(frozen=True, slots=True, eq=False)
class PlacedCamera:
    """A camera in the car: X_car = R_car_camera . X_camera + position_mm."""

    camera: Camera
    rotation: Floats
    """R_car_camera (3, 3)."""
    position_mm: Floats

    def to_camera(self, points_mm: ArrayLike) -> Floats:
        """Points (..., 3) of the car frame in the camera's."""
        result: Floats = (np.asarray(points_mm, dtype=float) - self.position_mm) @ self.rotation
        return result

    def project(self, points_mm: ArrayLike) -> Floats:
        """Pixels (..., 2) of points (..., 3) of the car frame; NaN behind the camera."""
        return self.camera.project(self.to_camera(points_mm))


@dataclass(frozen=True, slots=True, eq=False)
class Rig:
    """A device in its mount."""

    device: Device
    mount: Mount
    driver: PlacedCamera
    road: PlacedCamera

    @property
    def driver_to_road(self) -> tuple[Floats, Floats]:
        """R (3, 3) and t_mm (3,) of X_road = R . X_driver + t_mm, both in camera frames."""
        rotation = self.road.rotation.T @ self.driver.rotation
        return rotation, self.road.to_camera(self.driver.position_mm)


def plan_rig(rng: np.random.Generator, hand_of_drive: HandOfDrive, mount: Mount) -> Rig:
    """Draw a device and hang it up so that driver and road are in its pictures."""
    device: Device = "dashcam" if rng.random() < DASHCAM_SHARE else "phone"
    driver_lens, road_lens = _driver_lens(rng, device), _lens(rng.uniform(62, 75), rng.uniform(-0.06, 0.02))
    mirror = -1.0 if hand_of_drive == "right" else 1.0
    for _ in range(TRIES):
        position = np.array(PLACES_MM[mount]) + np.clip(rng.normal(size=3), -2, 2) * SPREAD_MM[mount]
        position = position * (mirror, 1, 1)
        rotation = _aim(rng, device, position)
        driver = PlacedCamera(driver_lens, rotation, position)
        road = _road_camera(rng, device, driver, road_lens)
        if _inside(driver.project(HEAD_MM)) and _sees_ahead(road):
            return Rig(device, mount, driver, road)
    raise ValueError(f"no place at the {mount} shows head and road with this lens")  # cannot happen: see the test


def render_camera(camera: Camera, largest_px: int = 1600) -> Camera:
    """The pinhole camera whose picture covers all of a distorted one: what the renderer draws and the sensor bends.

    As fine as the distorted picture in its middle, unless that needs more than `largest_px` columns.
    """
    width, height = camera.size_px
    if not camera.distortion.any():
        return camera
    edge = np.linspace(-0.5, 0.5, 33)
    x, y = edge * width + (width - 1) / 2, edge * height + (height - 1) / 2
    rows = [np.stack(np.broadcast_arrays(x, row), axis=-1) for row in (-0.5, height - 0.5)]
    columns = [np.stack(np.broadcast_arrays(column, y), axis=-1) for column in (-0.5, width - 0.5)]
    rays = camera.rays(np.concatenate(rows + columns))
    tangents = rays[:, :2] / rays[:, 2:]
    low, high = np.nanmin(tangents, axis=0), np.nanmax(tangents, axis=0)
    spans = high - low
    focal = min(float(camera.matrix[0, 0]), largest_px / float(spans[0]))
    size = (int(np.ceil(focal * spans[0])) + 2, int(np.ceil(focal * spans[1])) + 2)
    matrix = np.array([[focal, 0, 0.5 - focal * low[0]], [0, focal, 0.5 - focal * low[1]], [0, 0, 1]])
    return Camera(size, matrix, np.zeros(0))


def _driver_lens(rng: np.random.Generator, device: Device) -> Camera:
    if device == "phone":
        return _lens(rng.uniform(52, 68), rng.uniform(-0.05, 0.05), rng)
    return _lens(rng.uniform(70, 98), rng.uniform(-0.3, -0.15), rng)


def _lens(horizontal_fov_deg: float, k1: float, rng: np.random.Generator | None = None) -> Camera:
    """A lens that shows so many degrees, edge to edge, with its axis a little off the picture's middle.

    k2 bends back as in an equidistant lens, so that the radius grows up to the corners.
    """
    k2 = 0.75 * k1 * k1
    half = np.tan(np.radians(horizontal_fov_deg / 2))
    width, height = SIZE_PX
    focal = width / 2 / (half * (1 + k1 * half**2 + k2 * half**4))
    off = np.zeros(2) if rng is None else np.clip(rng.normal(0, 5, 2), -12, 12)
    matrix = np.array([[focal, 0, (width - 1) / 2 + off[0]], [0, focal, (height - 1) / 2 + off[1]], [0, 0, 1]])
    return Camera.from_parameters(SIZE_PX, matrix, (k1, k2))


def _aim(rng: np.random.Generator, device: Device, position_mm: Floats) -> Floats:
    """R_car_camera of the driver camera: aimed by hand."""
    towards = unit(np.array([0.0, 25.0, -40.0]) - position_mm)
    # Angles of `facing_rotation`, which is zero straight back: positive yaw turns the axis to the car's left.
    yaw = np.degrees(np.arctan2(-towards[0], -towards[2]))
    pitch = np.degrees(np.arctan2(-towards[1], np.hypot(towards[0], towards[2])))
    share = rng.uniform(0.45, 0.95) if device == "phone" else 1.0
    return facing_rotation(share * yaw + rng.normal(0, 11), pitch + rng.normal(0, 4), rng.normal(0, 3.5))


def _road_camera(rng: np.random.Generator, device: Device, driver: PlacedCamera, lens: Camera) -> PlacedCamera:
    turn = rng.normal(0, 1, 3)
    if device == "phone":  # back to back in one housing
        small = rotation_y(0.5 * turn[0]) @ rotation_x(0.5 * turn[1]) @ rotation_z(0.3 * turn[2])
        rotation = driver.rotation @ FACING @ small
        apart = rotation @ np.array([rng.uniform(-45, 45), rng.uniform(-25, 25), rng.uniform(6, 10)])
    else:
        rotation = rotation_y(4 * turn[0]) @ rotation_x(3 * turn[1]) @ rotation_z(1.5 * turn[2])
        apart = rotation @ np.array([rng.uniform(-30, 30), rng.uniform(-15, 15), rng.uniform(30, 60)])
    return PlacedCamera(lens, rotation, driver.position_mm + apart)


def _inside(pixels: Floats, margin_px: float = 8.0) -> bool:
    high = np.array(SIZE_PX) - 1 - margin_px
    return bool(np.isfinite(pixels).all() and (pixels >= margin_px).all() and (pixels <= high).all())


def _sees_ahead(road: PlacedCamera) -> bool:
    """The horizon straight ahead is well inside, so that most of what a driver looks at is."""
    pixel = road.project(road.position_mm + np.array([0.0, 0.0, 1e6]))
    return _inside(pixel, 150.0)
