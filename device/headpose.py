"""Head pose from the face mesh, on the metric canonical face.

Two estimates see the same landmarks differently. Reprojection (perspective-n-point, Levenberg-Marquardt) trusts the
picture alone and under-turns in pitch; alignment in three dimensions (Procrustes, Kabsch 1976, with the network's own
depth) does not, but takes over the depth's noise. On 170 frames of 48 rendered drives with known pose their mean beat
either (median rotation error 2.7 deg against 3.1 and 2.9), on real clips it shook no more than the better one, and how
far they are apart says how much to trust it.

What is left over is not chance: the mesh network draws a turned face less turned than it is, and raised. `MeshFaults`
says by how much, and the estimate is turned back.
"""

import json
import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from dashgaze.bundle import Bundle
from dashgaze.device.mesh import LEFT_CORNERS, RIGHT_CORNERS
from dashgaze.device.records import HeadPose
from dashgaze.geometry import Camera, Floats, angles_from_rays, facing_angles_deg, rotation_between

EYEBALL_FROM_CORNERS_MM = np.array([0.0, -1.6, -10.0])
"""Where an eyeball's centre lies from the middle of its lid corners, in the face frame: behind and a little above."""

_AXIS = np.array([0.0, 0.0, 1.0])
_STRIDE = 6  # every sixth vertex: as accurate as all 468, at half the cost
_REFINE = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 5, 1e-4)


@dataclass(frozen=True, slots=True)
class MeshFaults:
    """What the mesh network does to a face that is turned away from the camera by an angle whose sine is s.

    Fitted by `benchmarks/geometric_fit.py` to rendered drives with known head pose. Errors of estimated roll, and more
    terms of yaw, pitch and place in the picture, were tried and did not help with drivers who were left out.
    """

    depth_turned: float = 0.75
    """Share of the angle between this camera's axis and the line to the face by which the network's depth is turned."""
    short_deg: float = 5.5
    """Yaw falls short by this times s..."""
    raised_deg: float = 7.0
    """...and pitch is too high by this times s squared."""

    def turn_deg(self, rotation: Floats, position_mm: Floats) -> Floats:
        """Error (3,) of an estimated pose, as a rotation about the axes of the face: up, to the driver's right, 0."""
        aside = float(rotation[:, 0] @ position_mm / np.linalg.norm(position_mm))
        return np.array([self.raised_deg * aside * aside, -self.short_deg * aside, 0.0])


@dataclass(frozen=True, eq=False)
class CanonicalFace:
    """The average face in the face frame: `vertices_mm` (468, 3), eyeball centres (right, left) (2, 3)."""

    vertices_mm: Floats
    eyeballs_mm: Floats

    @classmethod
    def from_bundle(cls, bundle: Bundle) -> "CanonicalFace":
        """From a bundle's part `canonical_face`."""
        return cls.from_mediapipe(np.array(json.loads(bundle.read("canonical_face"))["vertices_mm"]))

    @classmethod
    def from_mediapipe(cls, vertices_mm: NDArray[np.floating]) -> "CanonicalFace":
        """From MediaPipe's axes: x to the person's left, y up, z out of the face."""
        vertices = np.asarray(vertices_mm, dtype=float) * [-1.0, -1.0, 1.0]
        corners = np.array([vertices[list(c)].mean(axis=0) for c in (RIGHT_CORNERS, LEFT_CORNERS)])
        eyeballs = corners + EYEBALL_FROM_CORNERS_MM
        origin = eyeballs.mean(axis=0)
        return cls(vertices - origin, eyeballs - origin)


MESH = MeshFaults()


class HeadPoseEstimator:
    """Fits the canonical face to landmarks."""

    def __init__(self, face: CanonicalFace, camera: Camera, faults: MeshFaults = MESH) -> None:
        self._camera, self._faults = camera, faults
        self._model = np.ascontiguousarray(face.vertices_mm[::_STRIDE])
        self._middle = self._model.mean(axis=0)
        self._centred = self._model - self._middle
        self._spread2 = float((self._centred * self._centred).sum())

    def fit(self, landmarks_px: NDArray[np.float32]) -> HeadPose | None:
        """Pose of a face whose landmarks (478, 3) are known; None where no face in front of the camera fits."""
        points = landmarks_px[:468:_STRIDE].astype(np.float64)
        aligned = self._align(points)
        if aligned is None:
            return None
        rotation, start_mm = aligned
        vector, refined = cv2.solvePnPRefineLM(
            self._model,
            points[:, :2],
            self._camera.matrix,
            self._camera.distortion,
            cv2.Rodrigues(rotation)[0],
            start_mm.reshape(3, 1).copy(),
            _REFINE,
        )
        reprojected = cv2.projectPoints(self._model, vector, refined, self._camera.matrix, self._camera.distortion)[0]
        error_px = float(np.sqrt(((reprojected[:, 0] - points[:, :2]) ** 2).sum(axis=1).mean()))
        position = np.asarray(refined, dtype=float).ravel()
        if not (np.isfinite(position).all() and np.isfinite(error_px) and position[2] > 0):
            return None
        mean, apart_deg = _halfway(np.asarray(cv2.Rodrigues(vector)[0], dtype=float), rotation)
        turned = mean @ cv2.Rodrigues(-np.radians(self._faults.turn_deg(mean, position)))[0]
        yaw, pitch, roll = facing_angles_deg(turned)
        azimuth, elevation = angles_from_rays(-turned.T @ position)
        return HeadPose(
            turned, position, yaw, pitch, roll, error_px, apart_deg, seen_from_deg=(-float(azimuth), -float(elevation))
        )

    def _align(self, points: Floats) -> tuple[Floats, Floats] | None:
        """Rotation and position by alignment of the mesh, lifted to the camera frame by its own depth.

        None where a landmark has no ray (it lies beyond what the lens model means) or the face no size.
        """
        rays = self._camera.rays(points[:, :2])
        centred = points - points.mean(axis=0)
        # A weak-perspective camera first: what a scale multiplies does not depend on the rotation.
        scale = math.sqrt(float((centred * centred).sum()) / self._spread2)
        if not (scale > 0 and np.isfinite(rays.sum()) and np.isfinite(scale)):
            return None
        # The network saw a crop, and takes it for a picture from a camera that is turned to the face: its depth runs
        # along the line to the face rather than along this camera's axis. Perspective: near points are larger.
        share = self._faults.depth_turned
        turned = rotation_between(_AXIS, (1 - share) * _AXIS + share * rays.mean(axis=0))
        rays = rays @ turned
        lifted = rays * ((self._camera.matrix[0, 0] + points[:, 2:]) / (scale * rays[:, 2:]))
        fitted = self._procrustes(lifted)
        return None if fitted is None else (turned @ fitted[0], turned @ fitted[1])

    def _procrustes(self, target: Floats) -> tuple[Floats, Floats] | None:
        """Rotation and place of the model, once `target` is scaled to it, in the least squares (Umeyama 1991)."""
        middle = target.mean(axis=0)
        u, s, vt = np.linalg.svd(self._centred.T @ (target - middle))
        if np.linalg.det(u) * np.linalg.det(vt) < 0:  # a mirror image is no face
            s[2], vt[2] = -s[2], -vt[2]
        rotation = (u @ vt).T
        stretch = float(s.sum()) / self._spread2
        return (rotation, middle / stretch - rotation @ self._middle) if stretch > 0 else None


def _halfway(first: Floats, second: Floats) -> tuple[Floats, float]:
    """The rotation halfway between two, and the angle between them in degrees."""
    turn = cv2.Rodrigues(first.T @ second)[0]
    return first @ cv2.Rodrigues(turn / 2)[0], float(np.degrees(np.linalg.norm(turn)))
