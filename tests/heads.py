"""Landmarks of the canonical face at a known pose, as the mesh network would see it, irises at a known gaze."""

import cv2
import numpy as np

from dashgaze.device.headpose import MESH, CanonicalFace
from dashgaze.geometry import Camera, Floats, facing_rotation, rays_from_angles, unit

CAMERA = Camera.from_fov((1280, 720), 50)


def landmarks_of(
    face: CanonicalFace,
    pose_deg: tuple[float, float, float],
    position_mm: tuple[float, float, float] = (0.0, 0.0, 700.0),
    gaze_deg: tuple[float, float] = (0.0, 0.0),
    camera: Camera = CAMERA,
) -> tuple[np.ndarray, Floats]:
    """Landmarks (478, 3) and the true rotation; gaze is azimuth and elevation in the face frame."""
    rotation = facing_rotation(*pose_deg)
    drawn = as_drawn(rotation, np.array(position_mm))
    irises = face.eyeballs_mm @ drawn.T + 12.0 * rotation @ rays_from_angles(*gaze_deg)
    in_camera = np.r_[face.vertices_mm @ drawn.T, np.repeat(irises, 5, axis=0)] + position_mm
    pixels = camera.project(in_camera)
    to_face = unit(in_camera[:468]).mean(axis=0)
    share = MESH.depth_turned
    along = (1 - share) * np.array([0.0, 0.0, 1.0]) + share * to_face  # as the mesh sees depth
    depth = (in_camera - position_mm) @ unit(along) * camera.matrix[0, 0] / position_mm[2]
    return np.c_[pixels, depth].astype(np.float32), rotation


def as_drawn(rotation: Floats, position_mm: Floats) -> Floats:
    """The pose in which the mesh network draws a face: the one that `MESH` turns back to the true one."""
    drawn = rotation
    for _ in range(20):
        drawn = rotation @ cv2.Rodrigues(np.radians(MESH.turn_deg(drawn, position_mm)))[0]
    return drawn
