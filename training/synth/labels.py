"""The truth of a rendered frame as rows of a session: pure functions of geometry and the label image."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dashgaze.geometry import Floats, angles_from_rays, facing_angles_deg, unit
from dashgaze.session import POSES
from dashgaze.training.synth.eyes import apparent_iris_centre
from dashgaze.training.synth.records import LEFT, RIGHT, Eye, LightKind, Part, Person
from dashgaze.training.synth.rig import PlacedCamera

Row = dict[str, Any]
SIDES = ("left", "right")
EYE_PARTS = (Part.LEFT_EYE, Part.RIGHT_EYE)
CLOSED_FRAC = 0.2
"""PERCLOS: an eye that is at least 80 % closed."""
SHUT_MM = 0.5
"""A smaller opening shows no eye."""
MIDDLE_FROM = 0.2
"""Share of a lid margin at either corner that says nothing of the opening: there the lids' own thickness does."""
FACE_PARTS = (Part.SKIN, Part.LEFT_EYE, Part.RIGHT_EYE)
POSE_BIN_DEG = 15.0
"""Half the width of the middle bin of yaw; half of it for pitch."""


@dataclass(frozen=True, slots=True, eq=False)
class Face:
    """Where a face is: all in the car frame, mm."""

    eye_centres_mm: Floats
    """(2, 3), left and right."""
    rotation: Floats
    """R_car_face (3, 3)."""
    lid_margins_mm: Floats
    """(2 eyes, upper and lower, k, 3), from the nose outward or the other way, the same for both lids."""
    front_mm: Floats
    """(n, 3) points all over the face..."""
    front_normals: Floats
    """...and their normals (n, 3)."""
    landmarks_mm: Mapping[str, Floats]
    """nose, mouth_right, mouth_left."""

    @property
    def eye_mid_mm(self) -> Floats:
        """(3,) origin of the face frame and of the gaze ray."""
        return np.asarray(self.eye_centres_mm.mean(axis=0))


def gaze_row(face: Face, target_mm: Floats, view: PlacedCamera) -> Row:
    """The ray from the eyes' midpoint to the target: in the camera, the face and the car."""
    ray_car = unit(target_mm - face.eye_mid_mm)
    azimuth, elevation = angles_from_rays(ray_car @ face.rotation)
    car_azimuth, car_elevation = angles_from_rays(ray_car)
    return {
        **_xyz("ray", "", ray_car @ view.rotation),
        **_xyz("eye_mid", "_mm", view.to_camera(face.eye_mid_mm)),
        "gaze_error_deg": 0.0,
        "azimuth_deg": float(azimuth),
        "elevation_deg": float(elevation),
        "car_azimuth_deg": float(car_azimuth),
        "car_elevation_deg": float(car_elevation),
    }


def head_row(face: Face, view: PlacedCamera) -> Row:
    """Head pose against the camera."""
    yaw, pitch, roll = facing_angles_deg(view.rotation.T @ face.rotation)
    return {
        "head_yaw_deg": yaw,
        "head_pitch_deg": pitch,
        "head_roll_deg": roll,
        **_xyz("head", "_mm", view.to_camera(face.eye_mid_mm)),
        "head_error_px": 0.0,
    }


def pose_bin(row: Row) -> str:
    """One of nine bins of the head against the camera, from up left to down right as the driver sees it."""
    level = 1 - _bin(row["head_pitch_deg"], POSE_BIN_DEG / 2)
    side = 1 + _bin(row["head_yaw_deg"], POSE_BIN_DEG)
    return POSES[3 * level + side]


def _bin(angle_deg: float, half_width_deg: float) -> int:
    return int(angle_deg > half_width_deg) - int(angle_deg < -half_width_deg)


def boxes_row(face: Face, view: PlacedCamera) -> Row:
    """Boxes of face and eyes and the five landmarks, where the camera's picture holds them."""
    row: Row = {**_box("face", view.project(face.front_mm)), "face_score": 1.0}
    for side, margins in zip(SIDES, face.lid_margins_mm, strict=True):
        row |= _box(f"{side}_eye", view.project(margins.reshape(-1, 3)))
        row |= _pixel(f"landmark_{side}_eye", view.project(margins.reshape(-1, 3).mean(axis=0)))
    for name, point in face.landmarks_mm.items():
        row |= _pixel(f"landmark_{name}", view.project(point))
    return row


def lids_row(face: Face, normal_opening_mm: Floats, jaw_open: float) -> Row:
    """How far each eye is open against this person's own normal (2,): 1 as open as that, 0 shut.

    `eyes_closed`: the mean of both eyes' openness is at most `CLOSED_FRAC` in this very frame. The truth has no
    hysteresis, and counts both eyes whether or not the camera sees them.
    """
    openness = np.clip(lid_openings_mm(face) / normal_opening_mm, 0, None)
    return {
        "eye_openness_left_frac": float(openness[LEFT]),
        "eye_openness_right_frac": float(openness[RIGHT]),
        "eyes_closed": bool(openness.mean() <= CLOSED_FRAC),
        "mouth_open_frac": float(np.clip(jaw_open, 0, 1)),
    }


def lid_openings_mm(face: Face) -> Floats:
    """How high the upper lid (2,) of each eye stands above the lower in the face, at most; 0 where they overlap."""
    heights = (face.lid_margins_mm[:, 0] - face.lid_margins_mm[:, 1]) @ -face.rotation[:, 1]  # the face's y is down
    corner = round(MIDDLE_FROM * heights.shape[1])
    return np.asarray(np.clip(heights[:, corner:-corner].max(axis=1), 0, None))


def eyes_row(face: Face, eyes: tuple[Eye, Eye], view: PlacedCamera, parts: NDArray[np.uint8]) -> Row:
    """Everything about each eye; `parts` is the label image of the finished frame."""
    row: Row = {}
    openings_mm = lid_openings_mm(face)
    for side, eye, number in zip(SIDES, eyes, (LEFT, RIGHT), strict=True):
        azimuth, elevation = angles_from_rays(eye.visual_axis @ face.rotation)
        shut = openings_mm[number] < SHUT_MM
        row |= {
            **_xyz(f"{side}_eye_ray", "", eye.visual_axis @ view.rotation),
            **_xyz(f"{side}_eyeball", "_mm", view.to_camera(eye.centre_mm)),
            f"{side}_eye_in_head_azimuth_deg": float(azimuth),
            f"{side}_eye_in_head_elevation_deg": float(elevation),
            f"{side}_eye_visible_frac": None if shut else _visible_share(face, eye, number, view, parts),
            **_pixel(f"{side}_iris", view.project(apparent_iris_centre(eye, view.position_mm))),
            f"{side}_pupil_mm": 2 * eye.pupil_radius_mm,
        }
    return row


def _visible_share(face: Face, eye: Eye, number: int, view: PlacedCamera, parts: NDArray[np.uint8]) -> float:
    """Share of an eye's opening in whose place the label image shows that eye."""
    upper, lower = face.lid_margins_mm[number]
    # Away from the very edges, which the label image, not being antialiased, gives to either side.
    shares = np.linspace(0.2, 0.8, 5)[:, None, None]
    points = (lower + shares * (upper - lower))[:, 2:-2].reshape(-1, 3)
    on_globe = eye.centre_mm + unit(points - eye.centre_mm) * eye.globe_radius_mm
    facing = ((on_globe - eye.centre_mm) * (view.position_mm - on_globe)).sum(axis=1) > 0
    return float(np.mean(facing & np.isin(_parts_at(parts, view.project(on_globe)), EYE_PARTS[number])))


def face_visible_share(face: Face, view: PlacedCamera, parts: NDArray[np.uint8]) -> float | None:
    """Share of the face turned to the camera in whose place the label image shows face; None if none is turned so."""
    facing = (face.front_normals * unit(view.position_mm - face.front_mm)).sum(axis=1) > 0.3
    if not facing.any():
        return None
    return float(np.isin(_parts_at(parts, view.project(face.front_mm[facing])), FACE_PARTS).mean())


def _parts_at(parts: NDArray[np.uint8], pixels: Floats) -> NDArray[np.uint8]:
    """Label at pixels (n, 2); NOTHING outside the picture."""
    height, width = parts.shape
    inside = np.all((pixels >= -0.5) & (pixels < (width - 0.5, height - 0.5)), axis=1)
    x, y = np.rint(np.where(inside[:, None], pixels, 0)).astype(int).T
    return np.where(inside, parts[y, x], Part.NOTHING).astype(np.uint8)


def person_row(person: Person, light: LightKind, expression: str, valence: float) -> Row:
    """Attributes of the person as dressed now."""
    return {
        "age_years": person.age_years,
        "gender": "male" if person.male > 0.5 else "female",
        "ancestry_african_frac": person.african,
        "ancestry_asian_frac": person.asian,
        "ancestry_european_frac": person.caucasian,
        "skin_tone": 1 + round(9 * person.melanin),
        "facial_hair": person.facial_hair,
        "make_up_frac": person.make_up,
        "clear_glasses": person.eyewear in ("clear", "tinted"),
        "sunglasses": person.eyewear == "sunglasses",
        "hat": person.headwear in ("cap", "beanie"),
        "headscarf": person.headwear == "headscarf",
        "face_mask": person.face_mask,
        "expression": expression,
        "valence": valence,
        "light": light,
    }


def _xyz(prefix: str, suffix: str, vector: Floats) -> Row:
    return {f"{prefix}_{axis}{suffix}": float(value) for axis, value in zip("xyz", vector, strict=True)}


def _pixel(prefix: str, pixel: Floats) -> Row:
    return {f"{prefix}_{axis}_px": float(value) for axis, value in zip("xy", pixel, strict=True)}


def _box(prefix: str, pixels: Floats) -> Row:
    seen = pixels[np.isfinite(pixels).all(axis=1)]
    if not len(seen):
        return {}
    (x0, y0), (x1, y1) = seen.min(axis=0), seen.max(axis=0)
    return {f"{prefix}_{name}_px": float(v) for name, v in zip(("x0", "y0", "x1", "y1"), (x0, y0, x1, y1), strict=True)}
