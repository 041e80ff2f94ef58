"""What the gaze network sees: eyes and face as a camera that is turned onto them would show them.

A virtual camera stands where the real one is, looks at the middle of the eyes and is level with the head (Zhang et al.
2018, "Revisiting data normalization for appearance-based gaze estimation"). In its view the same gaze looks the same
wherever in the picture the face is and however the head is tilted, and an angle of its frame becomes one of the camera
frame by one rotation. Crops have a fixed size in millimetres at the head's distance, so that scale is gone, too; lens
distortion is taken out to first order, corner by corner. Training and device call this same code.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from dashgaze.device.headpose import CanonicalFace
from dashgaze.device.mesh import LEFT_CORNERS, RIGHT_CORNERS
from dashgaze.device.records import HeadPose
from dashgaze.geometry import FACING, Camera, Floats, angles_from_rays, rays_from_angles, unit

Image = NDArray[np.uint8]

FACE_MM = 220.0
"""Side of the face crop at the distance of the eyes."""
FACE_DOWN_MM = 25.0
"""So much lower than the eyes is its middle."""
EYE_MM = (60.0, 30.0)
"""Width and height of an eye crop: lids, brow and a little of the temple at any turn of the head."""
LANDMARK_UNIT_MM = 100.0
POSE_NAMES = (
    *(f"face_{axis}_in_view_{part}" for axis in "xz" for part in "xyz"),
    "eye_mid_tan_x",
    "eye_mid_tan_y",
    "eye_mid_distance_m",
)
FIVE_POINTS = np.array([[33, 133], [362, 263], [4, 4], [61, 61], [291, 291]])
"""Mesh points whose middles are the landmarks of `dashgaze.session.LANDMARKS`: right eye, left eye, nose, mouth."""

_FINEST = 3  # supersampling: crops of larger pictures are sampled up to so many times finer, then averaged


@dataclass(frozen=True, slots=True)
class CropPlan:
    """Sizes of the network's pictures (width, height) in pixels; grey or colour (RGB)."""

    driver_px: tuple[int, int] = (96, 96)
    face_px: tuple[int, int] = (96, 96)
    eye_px: tuple[int, int] = (100, 50)
    channels: int = 1


@dataclass(frozen=True, slots=True, eq=False)
class GazeInputs:
    """A sample of the network's inputs. Pictures are (channels, height, width); left and right are the driver's own."""

    driver: Image
    """The whole picture, squeezed."""
    face: Image
    right_eye: Image
    left_eye: Image
    five: NDArray[np.float32]
    """(5, 2) landmarks in shares of the picture's width, from its middle: the thesis's input."""
    mesh: NDArray[np.float32]
    """(478, 2) landmarks in the virtual view, at the distance of the eyes, in `LANDMARK_UNIT_MM`."""
    pose: NDArray[np.float32]
    """(9,) `POSE_NAMES`: head rotation in the view, and where the eyes are for the real camera."""


def view_rotation(head: HeadPose) -> Floats:
    """R_camera_view (3, 3): z to the middle of the eyes, x against the face's own x (the view faces the driver)."""
    z = unit(head.position_mm)
    x = -head.rotation[:, 0]
    x = unit(x - (x @ z) * z)
    return np.stack([x, np.cross(z, x), z], axis=1)


def view_angles(view: Floats, rays: Floats) -> tuple[Floats, Floats]:
    """Azimuth and elevation in degrees of camera-frame rays (..., 3) for the driver: 0 is into the camera."""
    return angles_from_rays(rays @ view @ FACING)


def ray_from_view(view: Floats, azimuth_deg: float, elevation_deg: float) -> Floats:
    """Camera-frame ray (3,) of `view_angles`."""
    return np.asarray(view @ FACING @ rays_from_angles(azimuth_deg, elevation_deg))


def take_inputs(
    image: Image, camera: Camera, landmarks_px: NDArray[np.float32], head: HeadPose, plan: CropPlan
) -> GazeInputs | None:
    """The network's inputs of a BGR picture with a face (478, 3); None where the head is where no lens sees."""
    picture = _grey(image) if plan.channels == 1 else image  # first: one plane costs a third of three from here on
    view = view_rotation(head)
    distance_mm = float(np.linalg.norm(head.position_mm))
    rays = camera.rays(landmarks_px[:, :2]) @ view
    if not (np.isfinite(rays).all() and (rays[:, 2] > 0.1).all() and distance_mm > 1):
        return None
    mesh_mm = rays[:, :2] / rays[:, 2:] * distance_mm

    def crop(centre_mm: Floats, size_mm: tuple[float, float], size_px: tuple[int, int]) -> Image | None:
        corners = np.c_[(centre_mm + _CORNERS * size_mm) / distance_mm, np.ones(4)] @ view.T
        return _warp(picture, camera.project(corners), size_px)

    face = crop(np.array([0.0, FACE_DOWN_MM]), (FACE_MM, FACE_MM), plan.face_px)
    eyes = [crop(mesh_mm[list(corners)].mean(axis=0), EYE_MM, plan.eye_px) for corners in (RIGHT_CORNERS, LEFT_CORNERS)]
    if face is None or eyes[0] is None or eyes[1] is None:
        return None
    width, height = camera.size_px
    rotation = view.T @ head.rotation
    tangent = head.position_mm[:2] / head.position_mm[2]
    five = landmarks_px[FIVE_POINTS, :2].mean(axis=1)
    return GazeInputs(
        driver=_shrunk(picture, plan.driver_px),
        face=face,
        right_eye=eyes[0],
        left_eye=eyes[1],
        five=((five - [(width - 1) / 2, (height - 1) / 2]) / width).astype(np.float32),
        mesh=(mesh_mm / LANDMARK_UNIT_MM).astype(np.float32),
        pose=np.r_[rotation[:, 0], rotation[:, 2], tangent, distance_mm / 1000].astype(np.float32),
    )


_CORNERS = np.array([[-0.5, -0.5], [0.5, -0.5], [0.5, 0.5], [-0.5, 0.5]])


def _warp(picture: Image, corners_px: Floats, size_px: tuple[int, int]) -> Image | None:
    """The planes of a picture within four corners (4, 2), clockwise from the top left; black outside of the picture."""
    if not np.isfinite(corners_px).all():
        return None
    width, height = size_px
    wide = max(np.linalg.norm(corners_px[1] - corners_px[0]), np.linalg.norm(corners_px[2] - corners_px[3])) / width
    finer = int(np.clip(np.ceil(wide), 1, _FINEST))
    w, h = width * finer, height * finer
    target = (_CORNERS + 0.5) * (w, h) - 0.5  # the corners of the crop, not the centres of its corner pixels
    to_picture = cv2.getPerspectiveTransform(target.astype(np.float32), corners_px.astype(np.float32))
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    crop = cv2.warpPerspective(picture, to_picture, (w, h), flags=flags, borderMode=cv2.BORDER_CONSTANT)
    return _planes(_averaged(crop, size_px))


def _shrunk(picture: Image, size_px: tuple[int, int]) -> Image:
    """The planes of the whole picture at another size, sampled as crops are: averaging all of its pixels costs 3 ms."""
    width, height = size_px
    sampled = cv2.resize(picture, (width * _FINEST, height * _FINEST), interpolation=cv2.INTER_LINEAR)
    return _planes(_averaged(sampled, size_px))


def _averaged(picture: cv2.typing.MatLike, size_px: tuple[int, int]) -> Image:
    return np.asarray(cv2.resize(picture, size_px, interpolation=cv2.INTER_AREA), np.uint8)


def _grey(image: Image) -> Image:
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), np.uint8)


def _planes(picture: Image) -> Image:
    """A grey or BGR picture as planes (channels, height, width): grey, or RGB."""
    return picture[None] if picture.ndim == 2 else np.ascontiguousarray(picture[:, :, ::-1].transpose(2, 0, 1))


def mirrored(inputs: GazeInputs, order: NDArray[np.intp]) -> GazeInputs:
    """The inputs of the mirrored picture: right becomes left; `order` is `mirror_order`."""
    return GazeInputs(
        driver=inputs.driver[..., ::-1],
        face=inputs.face[..., ::-1],
        right_eye=inputs.left_eye[..., ::-1],
        left_eye=inputs.right_eye[..., ::-1],
        five=inputs.five[[1, 0, 2, 4, 3]] * _MIRRORED_X,
        mesh=inputs.mesh[order] * _MIRRORED_X,
        pose=inputs.pose * _MIRRORED_POSE,
    )


# Mirroring turns R into S R S with S = diag(-1, 1, 1): x axis (+, -, -), z axis (-, +, +).
_MIRRORED_POSE = np.array([1, -1, -1, -1, 1, 1, -1, 1, 1], np.float32)
_MIRRORED_X = np.array([-1, 1], np.float32)
_IRIS_RIMS = (468, 471, 470, 469, 472), (473, 476, 475, 474, 477)


def mirror_order(face: CanonicalFace) -> NDArray[np.intp]:
    """For each of the 478 landmarks the one on the other side of the face."""
    vertices = face.vertices_mm
    apart = np.linalg.norm(vertices[:, None] - vertices[None] * [-1.0, 1.0, 1.0], axis=2)
    return np.concatenate([apart.argmin(axis=1), *_IRIS_RIMS[::-1]])
