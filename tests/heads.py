"""Landmarks of the canonical face at a known pose, with irises on its eyeballs at a known gaze."""

import numpy as np

from dashgaze.device.headpose import TURNED, CanonicalFace
from dashgaze.geometry import Camera, Floats, facing_rotation, rays_from_angles, unit

CAMERA = Camera.from_fov((1280, 720), 50)


def landmarks_of(
    face: CanonicalFace,
    pose_deg: tuple[float, float, float],
    position_mm: tuple[float, float, float] = (0.0, 0.0, 700.0),
    gaze_deg: tuple[float, float] = (0.0, 0.0),
    camera: Camera = CAMERA,
) -> tuple[np.ndarray, Floats]:
    """Landmarks (478, 3) and the rotation; gaze is azimuth and elevation in the face frame."""
    rotation = facing_rotation(*pose_deg)
    irises = face.eyeballs_mm + 12.0 * rays_from_angles(*gaze_deg)
    points_mm = np.r_[face.vertices_mm, np.repeat(irises, 5, axis=0)]
    in_camera = points_mm @ rotation.T + np.array(position_mm)
    pixels = camera.project(in_camera)
    to_face = unit(in_camera[:468]).mean(axis=0)
    along = (1 - TURNED) * np.array([0.0, 0.0, 1.0]) + TURNED * to_face  # as the mesh sees depth
    depth = (in_camera - position_mm) @ unit(along) * camera.matrix[0, 0] / position_mm[2]
    return np.c_[pixels, depth].astype(np.float32), rotation
