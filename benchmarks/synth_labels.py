"""Whether the labels of a rendered session agree with each other.

The gaze is written down several times over: rays and angles in three frames, the target in the car, the eyeballs and
the head in the camera, the location on the road view. The car frame's place in the camera is not written down; it is
fitted to the rays (rotation: Kabsch 1976; position: linear least squares), 6 numbers for some 90 a session, so that
whatever is left over after it is disagreement. All in degrees, the largest over a session's frames.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from dashgaze.geometry import Camera, Floats, angle_between_deg, facing_rotation, fit_rotation, rays_from_angles, unit
from dashgaze.session import Session
from dashgaze.tables import Table

FEWEST = 6
"""Frames that a fit needs."""


@dataclass(frozen=True)
class Disagreement:
    """Largest angle in degrees between two labels of one thing."""

    target_deg: float
    """The ray from between the eyes, and the line from there to the target."""
    eyes_deg: float
    """The same for each eye's own visual axis, from its own centre."""
    face_deg: float
    """The angles in the face frame, and the ray turned by the head's pose."""
    road_deg: float
    """The location on the road view, and the plane of that ray and the road camera; NaN where none is on the road."""

    @property
    def worst_deg(self) -> float:
        """The largest of all."""
        return float(np.nanmax([self.target_deg, self.eyes_deg, self.face_deg, self.road_deg]))


def vectors(table: Table, prefix: str, suffix: str = "") -> Floats:
    """Columns PREFIX_x SUFFIX, _y, _z as (n, 3)."""
    return np.stack([table[f"{prefix}_{axis}{suffix}"] for axis in "xyz"], axis=-1)


def head_rotations(frames: Table) -> Floats:
    """R_camera_face (n, 3, 3)."""
    angles = zip(frames["head_yaw_deg"], frames["head_pitch_deg"], frames["head_roll_deg"], strict=True)
    return np.array([facing_rotation(*each) for each in angles]).reshape(-1, 3, 3)


def disagreement(session: Session) -> Disagreement | None:
    """Compare the labels of a session; None where it has too few frames."""
    frames, labels = session.table("frames"), session.table("labels")
    rays, eyes_mm = vectors(frames, "ray"), vectors(frames, "eye_mid", "_mm")
    known = np.isfinite(rays).all(axis=1)
    if known.sum() < FEWEST:
        return None
    car_rays = rays_from_angles(frames["car_azimuth_deg"], frames["car_elevation_deg"])
    targets_mm = vectors(labels, "target", "_mm")
    rotation = fit_rotation(rays[known], car_rays[known])
    position_mm = fit_position(targets_mm[known] - eyes_mm[known] @ rotation.T, car_rays[known])
    in_camera_mm = (targets_mm - position_mm) @ rotation
    eyes = [
        angle_between_deg(vectors(labels, f"{side}_eye_ray"), in_camera_mm - vectors(labels, f"{side}_eyeball", "_mm"))
        for side in ("left", "right")
    ]
    in_face = np.einsum("nji,nj->ni", head_rotations(frames), rays)
    face = angle_between_deg(in_face, rays_from_angles(frames["azimuth_deg"], frames["elevation_deg"]))
    return Disagreement(
        target_deg=float(np.nanmax(angle_between_deg(rays, in_camera_mm - eyes_mm))),
        eyes_deg=float(np.nanmax(eyes)),
        face_deg=float(np.nanmax(face)),
        road_deg=_road_deg(session, frames, rays, eyes_mm),
    )


def fit_position(points_mm: Floats, rays: Floats) -> Floats:
    """The point (3,) from which points (n, 3) lie along rays (n, 3)."""
    across = np.eye(3) - rays[:, :, None] * rays[:, None, :]
    # Near targets say most about a place: each row counts as an angle.
    across /= np.linalg.norm(points_mm, axis=1)[:, None, None]
    sides = np.einsum("nij,nj->ni", across, points_mm)
    return np.asarray(np.linalg.lstsq(across.reshape(-1, 3), sides.reshape(-1), rcond=None)[0])


def _road_deg(session: Session, frames: Table, rays: Floats, eyes_mm: Floats) -> float:
    """How far road locations lie off the plane through the gaze ray and the road camera."""
    camera, rig = session.header.cameras.road, session.header.rig.driver_to_road
    seen = np.isfinite(frames["road_x_px"])
    if camera is None or camera.K is None or rig is None or not seen.any():
        return float("nan")
    model = Camera.from_parameters(camera.size_px, camera.K, camera.distortion or ())
    pixels = np.stack([frames["road_x_px"], frames["road_y_px"]], axis=-1)[seen]
    turn = np.array(rig.R)
    origins = eyes_mm[seen] @ turn.T + np.array(rig.t_mm)
    normals = unit(np.cross(origins, rays[seen] @ turn.T))
    off = np.degrees(np.arcsin(np.clip(np.abs((exact_rays(model, pixels) * normals).sum(axis=1)), 0, 1)))
    return float(np.nanmax(off))


def exact_rays(camera: Camera, pixels: Floats) -> Floats:
    """Unit rays (n, 3) through pixels (n, 2), to the precision of floats."""
    if not camera.distortion.any():
        return camera.rays(pixels)
    stop = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 1000, 1e-14)
    plane = cv2.undistortPointsIter(
        pixels.reshape(-1, 1, 2), camera.matrix, camera.distortion, np.eye(3), np.eye(3), stop
    ).reshape(-1, 2)
    return unit(np.column_stack([plane, np.ones(len(plane))]))
