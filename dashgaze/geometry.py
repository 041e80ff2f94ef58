"""Cameras, rays, angles, head pose and homographies: every geometric convention of dashgaze, once.

Frames (all right-handed, millimetres):

- camera: OpenCV's; x right, y down, z forward. Pixels: x right, y down, centre of the top-left pixel at (0, 0).
- car: x right, y down, z forward; origin midway between the driver's eyes in the normal posture.
- face: x to the driver's right, y down, z out of the face; origin midway between the eyeball centres.

A direction in any of them has azimuth (positive to +x) and elevation (positive up):
g = (cos el sin az, -sin el, cos el cos az). Head pose: R_camera_face = R0 . Ry(yaw) . Rx(pitch) . Rz(roll), where R0
turns a face towards the camera, so that all three are zero when the face looks straight against the camera's axis;
positive to the driver's right, up, and clockwise as the driver sees it. A camera mount is described by the same three
angles against a camera that looks straight back: R_car_camera = R0 . Ry(yaw) . Rx(pitch) . Rz(roll).

Functions are pure and vectorised: points and rays are (..., 3), pixels (..., 2). What has no answer (a point behind
the camera, a ray that misses) is NaN.
"""

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

FACING = np.diag([-1.0, 1.0, -1.0])
"""R0: half a turn about y, from a frame that looks forward to one that looks back at it."""

_MAX_DISTORTION = 8
_REPROJECTION_PX = 0.01
_WIDEST = 10.0  # 84 deg: no pinhole model means more


@dataclass(frozen=True, eq=False)
class Camera:
    """A pinhole camera with OpenCV's rational distortion.

    `matrix` is 3 x 3 in pixels; `distortion` holds k1 k2 p1 p2 k3 k4 k5 k6, or nothing where the lens has none;
    `size_px` is width, height.
    """

    size_px: tuple[int, int]
    matrix: Floats
    distortion: Floats

    @classmethod
    def from_fov(cls, size_px: tuple[int, int], horizontal_fov_deg: float) -> "Camera":
        """Camera with square pixels, the principal point in the middle and no distortion."""
        width, height = size_px
        focal_px = width / 2 / np.tan(np.radians(horizontal_fov_deg) / 2)
        matrix = np.array([[focal_px, 0, (width - 1) / 2], [0, focal_px, (height - 1) / 2], [0, 0, 1]])
        return cls(size_px, matrix, np.zeros(0))

    @classmethod
    def from_parameters(cls, size_px: tuple[int, int], matrix: ArrayLike, distortion: ArrayLike = ()) -> "Camera":
        """Camera from a calibration; raises ValueError that says which parameter is impossible."""
        k = np.asarray(matrix, dtype=float)
        d = np.asarray(distortion, dtype=float).reshape(-1)
        if k.shape != (3, 3) or not np.isfinite(k).all() or k[0, 0] <= 0 or k[1, 1] <= 0:
            raise ValueError(f"camera matrix must be 3 x 3, finite, with positive focal lengths, not {k.tolist()}")
        if not np.allclose(k[[1, 2, 2], [0, 0, 1]], 0) or not np.isclose(k[2, 2], 1):
            raise ValueError("camera matrix must be upper triangular with 1 in its last place")
        if len(d) > _MAX_DISTORTION or not np.isfinite(d).all():
            raise ValueError("distortion must be up to 8 finite coefficients: k1 k2 p1 p2 k3 k4 k5 k6")
        if min(size_px) < 1:
            raise ValueError(f"camera size must be positive, not {size_px}")
        return cls(size_px, k, np.pad(d, (0, _MAX_DISTORTION - len(d))) if d.any() else np.zeros(0))

    def scaled(self, size_px: tuple[int, int]) -> "Camera":
        """The same camera with its pictures resized to `size_px`."""
        sx, sy = size_px[0] / self.size_px[0], size_px[1] / self.size_px[1]
        # Pixel centres are at whole numbers, so that the picture's corner (-0.5, -0.5) stays where it is.
        shift = np.array([[sx, 0, (sx - 1) / 2], [0, sy, (sy - 1) / 2], [0, 0, 1]])
        return Camera(size_px, shift @ self.matrix, self.distortion)

    def mirrored(self) -> "Camera":
        """The camera of the horizontally flipped picture."""
        matrix = self.matrix.copy()
        matrix[0, 2] = self.size_px[0] - 1 - matrix[0, 2]
        matrix[0, 1] = -matrix[0, 1]
        distortion = self.distortion.copy()
        if len(distortion):
            distortion[3] = -distortion[3]  # p2 is odd in x
        return Camera(self.size_px, matrix, distortion)

    def project(self, points_mm: ArrayLike) -> Floats:
        """Pixels (..., 2) of points (..., 3) in the camera frame.

        NaN at and behind the camera plane, and where the distortion model folds back into the picture.
        """
        points = np.asarray(points_mm, dtype=float)
        flat = points.reshape(-1, 3)
        pixels = np.full((len(flat), 2), np.nan)
        ahead = flat[:, 2] > 0
        if self.distortion.any():
            ahead &= np.hypot(flat[:, 0], flat[:, 1]) <= self._reach * flat[:, 2]
        if ahead.any():
            pixels[ahead] = cv2.projectPoints(flat[ahead], np.zeros(3), np.zeros(3), self.matrix, self.distortion)[
                0
            ].reshape(-1, 2)
        return pixels.reshape(*points.shape[:-1], 2)

    def rays(self, pixels: ArrayLike) -> Floats:
        """Unit rays (..., 3) through pixels (..., 2).

        NaN where the distortion has no inverse, as in the far corners of a strong wide-angle model.
        """
        pixel_array = np.asarray(pixels, dtype=float)
        flat = pixel_array.reshape(-1, 1, 2)
        if not len(flat):
            return np.zeros((*pixel_array.shape[:-1], 3))
        distorted = bool(self.distortion.any())
        if not distorted:
            (fx, skew, cx), (_, fy, cy), _ = self.matrix
            y = (flat[:, 0, 1] - cy) / fy
            plane = np.stack([(flat[:, 0, 0] - cx - skew * y) / fx, y], axis=-1)
        else:
            criteria = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 100, 1e-10)
            plane = cv2.undistortPointsIter(flat, self.matrix, self.distortion, np.eye(3), np.eye(3), criteria).reshape(
                -1, 2
            )
        rays = np.ones((len(plane), 3))
        rays[:, :2] = plane
        rays /= np.sqrt((rays * rays).sum(axis=1, keepdims=True))
        if distorted:
            right = np.linalg.norm(self.project(rays) - flat[:, 0], axis=1) <= _REPROJECTION_PX
            rays[~right] = np.nan
        return rays.reshape(*pixel_array.shape[:-1], 3)

    @cached_property
    def _reach(self) -> float:
        """Tangent of the angle up to which the radial model grows; beyond it the model is no lens."""
        k1, k2, _, _, k3, k4, k5, k6 = self.distortion
        r = np.linspace(0, _WIDEST, 4000)
        s = r * r
        grows = np.diff(r * (1 + s * (k1 + s * (k2 + s * k3))) / (1 + s * (k4 + s * (k5 + s * k6)))) > 0
        return float(r[-1] if grows.all() else r[grows.argmin()])


def unit(vectors: ArrayLike) -> Floats:
    """Vectors (..., 3) at length 1; NaN for a zero vector."""
    v = np.asarray(vectors, dtype=float)
    length = np.linalg.norm(v, axis=-1, keepdims=True)
    result: Floats = np.divide(v, length, out=np.full_like(v, np.nan), where=length > 0)
    return result


def rays_from_angles(azimuth_deg: ArrayLike, elevation_deg: ArrayLike) -> Floats:
    """Unit rays (..., 3) of azimuth and elevation: g = (cos el sin az, -sin el, cos el cos az)."""
    az, el = np.radians(azimuth_deg), np.radians(elevation_deg)
    return np.stack(np.broadcast_arrays(np.cos(el) * np.sin(az), -np.sin(el), np.cos(el) * np.cos(az)), axis=-1)


def angles_from_rays(rays: ArrayLike) -> tuple[Floats, Floats]:
    """Azimuth and elevation in degrees of rays (..., 3), which need not be of length 1."""
    r = np.asarray(rays, dtype=float)
    azimuth = np.degrees(np.arctan2(r[..., 0], r[..., 2]))
    elevation = np.degrees(np.arctan2(-r[..., 1], np.hypot(r[..., 0], r[..., 2])))
    return azimuth, elevation


def angle_between_deg(a: ArrayLike, b: ArrayLike) -> Floats:
    """Angle in degrees between vectors (..., 3); exact near 0 and 180, where the arc cosine is not."""
    u, v = np.asarray(a, dtype=float), np.asarray(b, dtype=float)
    sine = np.linalg.norm(np.cross(u, v), axis=-1)
    return np.asarray(np.degrees(np.arctan2(sine, (u * v).sum(axis=-1))))


def rotation_x(angle_deg: float) -> Floats:
    """Rotation about x: turns +z towards -y, that is up."""
    c, s = np.cos(np.radians(angle_deg)), np.sin(np.radians(angle_deg))
    return np.array([[1, 0, 0], [0, c, -s], [0, s, c]])


def rotation_y(angle_deg: float) -> Floats:
    """Rotation about y: turns +z towards +x."""
    c, s = np.cos(np.radians(angle_deg)), np.sin(np.radians(angle_deg))
    return np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])


def rotation_z(angle_deg: float) -> Floats:
    """Rotation about z: turns +x towards +y."""
    c, s = np.cos(np.radians(angle_deg)), np.sin(np.radians(angle_deg))
    return np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])


def facing_rotation(yaw_deg: float, pitch_deg: float, roll_deg: float) -> Floats:
    """R0 . Ry(yaw) . Rx(pitch) . Rz(roll): R_camera_face of a head pose, R_car_camera of a camera mount."""
    return FACING @ rotation_y(yaw_deg) @ rotation_x(pitch_deg) @ rotation_z(roll_deg)


def facing_angles_deg(rotation: ArrayLike) -> tuple[float, float, float]:
    """Yaw, pitch and roll of `facing_rotation`; pitch within [-90, 90]. At +-90 only yaw and roll together count."""
    r = FACING @ np.asarray(rotation, dtype=float)
    pitch = np.arctan2(-r[1, 2], np.hypot(r[0, 2], r[2, 2]))
    if np.hypot(r[0, 2], r[2, 2]) < 1e-9:  # looking straight up or down: put everything into yaw
        return float(np.degrees(np.arctan2(-r[2, 0], r[0, 0]))), float(np.degrees(pitch)), 0.0
    yaw = np.arctan2(r[0, 2], r[2, 2])
    roll = np.arctan2(r[1, 0], r[1, 1])
    return float(np.degrees(yaw)), float(np.degrees(pitch)), float(np.degrees(roll))


def rotation_between(source: ArrayLike, target: ArrayLike) -> Floats:
    """The smallest rotation that turns direction `source` (3,) into `target` (3,)."""
    a, b = unit(source), unit(target)
    cosine = float(a @ b)
    if cosine < -1 + 1e-12:  # opposite: half a turn about any perpendicular axis
        axis = unit(np.cross(a, np.eye(3)[np.argmin(np.abs(a))]))
        return 2 * np.outer(axis, axis) - np.eye(3)
    v = np.cross(a, b)
    k = np.array([[0, -v[2], v[1]], [v[2], 0, -v[0]], [-v[1], v[0], 0]])
    return np.asarray(np.eye(3) + k + k @ k / (1 + cosine))


def fit_rotation(source: Floats, target: Floats) -> Floats:
    """The rotation that turns vectors (n, 3) into others in the least squares (Kabsch 1976)."""
    u, _, vt = np.linalg.svd(source.T @ target)
    sign = np.sign(np.linalg.det(u) * np.linalg.det(vt))
    return np.asarray((u @ np.diag([1.0, 1.0, sign]) @ vt).T)


def intersect_sphere(ray: ArrayLike, centre_mm: ArrayLike, radius_mm: float) -> tuple[Floats, Floats]:
    """Where rays (..., 3) from the origin first meet a sphere, and by how much they miss it.

    Returns points (..., 3) and misses (...) in mm. A ray that misses gets the point of the sphere nearest to it and a
    positive miss; one that hits has a miss of 0.
    """
    d, c = unit(ray), np.asarray(centre_mm, dtype=float)
    along = (d * c).sum(axis=-1, keepdims=True)
    closest = d * along
    offset = closest - c
    distance = np.linalg.norm(offset, axis=-1, keepdims=True)
    half_chord = np.sqrt(np.clip(radius_mm**2 - distance**2, 0, None))
    hit = d * (along - half_chord)
    grazing = c + offset * (radius_mm / np.maximum(distance, 1e-12))
    points = np.where(distance <= radius_mm, hit, grazing)
    return points, np.clip(distance[..., 0] - radius_mm, 0, None)


def apply_homography(homography: ArrayLike, pixels: ArrayLike) -> Floats:
    """Map pixels (..., 2) by a 3 x 3 homography in column-vector order; NaN on and behind its horizon."""
    h = np.asarray(homography, dtype=float)
    p = np.asarray(pixels, dtype=float)
    mapped = np.concatenate([p, np.ones((*p.shape[:-1], 1))], axis=-1) @ h.T
    # The side of the horizon that counts is the one on which the homography keeps orientation.
    weight = mapped[..., 2:] * (np.sign(np.linalg.det(h)) or 1)
    xy = mapped[..., :2] * (np.sign(np.linalg.det(h)) or 1)
    result: Floats = np.divide(xy, weight, out=np.full_like(xy, np.nan), where=weight > 1e-12)
    return result


def rotation_homography(target: Camera, rotation_target_source: ArrayLike, source: Camera) -> Floats:
    """Homography between two undistorted views from one place: K_target . R . K_source^-1, scaled to h33 = 1."""
    h = target.matrix @ np.asarray(rotation_target_source, dtype=float) @ np.linalg.inv(source.matrix)
    return np.asarray(h / h[2, 2])
