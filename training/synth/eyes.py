"""Optics and aim of the two eyes: visual axes that meet on the target, angle kappa, torsion, pupil, cornea.

The model eye, in millimetres along its optical axis from the rotation centre (Le Grand's simplified eye with the
rotation centre put into the middle of the globe):

- globe: a sphere of radius 12 about the rotation centre;
- cornea: a sphere of radius 7.8 about a point 5.35 in front of it, so that it meets the globe in a ring of radius 5.9,
  the limbus, 10.45 in front, and its apex lies 13.15 in front;
- iris: a disc of the person's `iris_radius_mm`, 3.3 behind the apex (anterior chamber 3.1 to 3.6 deep with the cornea);
- between cornea and iris, refractive index 1.3375 (the keratometric index, which stands for cornea and aqueous).

The visual axis is taken through the rotation centre. It lies towards the nose from the optical axis by
`Person.kappa_deg`, mirrored between the eyes. Torsion follows Listing's law: the eye gets from its primary position,
visual axis straight ahead in the head, to any other by the smallest rotation.

Pupil: Watson & Yellott 2012 (J. Vision 12(10):12), after Stanley & Davies 1995.
"""

import math

import numpy as np
from numpy.typing import ArrayLike

from dashgaze.geometry import Floats, angles_from_rays, rays_from_angles, rotation_between, unit
from dashgaze.training.synth.records import LEFT, RIGHT, Eye, Person

GLOBE_RADIUS_MM = 12.0
CORNEA_RADIUS_MM = 7.8
CORNEA_CENTRE_MM = 5.35
"""In front of the rotation centre, as are `LIMBUS_MM` and `IRIS_MM`."""
CORNEA_APEX_MM = CORNEA_CENTRE_MM + CORNEA_RADIUS_MM
LIMBUS_MM = 10.45
IRIS_DEPTH_MM = 3.3
"""Iris plane behind the apex of the cornea."""
IRIS_MM = CORNEA_APEX_MM - IRIS_DEPTH_MM
AQUEOUS_INDEX = 1.3375

CABIN_BY_DAY_CD_M2 = 30.0
"""Luminance that makes pupils of 3 to 4 mm, as they are behind a windscreen on most days."""
FIELD_DEG2 = 1800.0
"""The windscreen: 60 by 30 degrees."""
REFERENCE_YEARS = 28.58
NARROWEST_MM, WIDEST_MM = 1.8, 8.0

FORWARD = np.array([0.0, 0.0, 1.0])
UP = np.array([0.0, -1.0, 0.0])
NOSEWARDS = {LEFT: 1.0, RIGHT: -1.0}
"""Sign of the azimuth towards the nose."""


def pupil_diameter_mm(luminance_cd_m2: float, age_years: float) -> float:
    """Diameter of the pupils of someone who looks with both eyes at so bright a scene."""
    flux = math.pow(max(luminance_cd_m2, 0.0) * FIELD_DEG2 / 846.0, 0.41)
    young_mm = 7.75 - 5.75 * flux / (flux + 2.0)
    return young_mm + (age_years - REFERENCE_YEARS) * (0.02132 - 0.009562 * young_mm)


def hippus(t_s: float, seed: int) -> float:
    """Slow unrest of the pupil at one time, as a share of its diameter; about 0.03 (standard deviation)."""
    rng = np.random.default_rng([seed, 7])
    frequencies_hz, phases = rng.uniform(0.05, 0.5, 5), rng.uniform(0.0, 2 * np.pi, 5)
    return 0.019 * float(np.sin(2 * np.pi * frequencies_hz * t_s + phases).sum())


def aim(
    centres_mm: ArrayLike,
    target_mm: ArrayLike,
    head_rotation: Floats,
    person: Person,
    luminance_cd_m2: float = CABIN_BY_DAY_CD_M2,
    hippus_frac: float = 0.0,
) -> tuple[Eye, Eye]:
    """Left and right eye that look at a target (3,) from their rotation centres (2, 3), all in the car frame.

    `head_rotation` (3, 3) is R_car_head, the head's mesh in the car. Raises ValueError for a target that is not finite
    or lies inside an eye.
    """
    centres, target = np.asarray(centres_mm, dtype=float), np.asarray(target_mm, dtype=float)
    distances_mm = np.linalg.norm(target - centres, axis=1)
    if not (distances_mm > GLOBE_RADIUS_MM).all():  # NaN too
        raise ValueError(f"no eye can look at {target.tolist()} from {centres.tolist()}")
    usual_mm = pupil_diameter_mm(CABIN_BY_DAY_CD_M2, person.age_years)
    own_share = person.pupil_mm / usual_mm * (1.0 + hippus_frac)
    pupil_mm = pupil_diameter_mm(luminance_cd_m2, person.age_years) * own_share
    # Melanin of the iris hardly absorbs near infrared: all irises come out alike.
    infrared_iris = 0.2 + 0.3 * (sum(person.iris_rgb) / 3.0) ** 0.5

    def eye(side: int) -> Eye:
        visual = unit(target - centres[side])
        rotation = head_rotation @ _eye_in_head(head_rotation.T @ visual, person.kappa_deg[side], side)
        return Eye(
            centre_mm=centres[side],
            optical_axis=rotation @ FORWARD,
            visual_axis=visual,
            up=rotation @ UP,
            globe_radius_mm=GLOBE_RADIUS_MM,
            iris_radius_mm=person.iris_radius_mm,
            pupil_radius_mm=float(np.clip(pupil_mm, NARROWEST_MM, WIDEST_MM)) / 2,
            iris_rgb=person.iris_rgb,
            infrared_iris=infrared_iris,
            seed=2 * person.seed + side,
        )

    return eye(LEFT), eye(RIGHT)


def _eye_in_head(visual: Floats, kappa_deg: tuple[float, float], side: int) -> Floats:
    """Rotation of the eye (its +z is the optical axis) in the head, for a visual axis in the head frame."""
    nosewards_deg, up_deg = kappa_deg
    visual_in_eye = rays_from_angles(NOSEWARDS[side] * nosewards_deg, up_deg)
    return rotation_between(FORWARD, visual) @ rotation_between(visual_in_eye, FORWARD)


def eye_in_head_angles_deg(eye: Eye, head_rotation: Floats) -> tuple[float, float]:
    """How far the eye is turned in the head: azimuth and elevation of its visual axis in the head frame."""
    azimuth, elevation = angles_from_rays(head_rotation.T @ eye.visual_axis)
    return float(azimuth), float(elevation)


def iris_centre_mm(eye: Eye) -> Floats:
    """(3,) where the centre of the iris is, car frame."""
    return eye.centre_mm + IRIS_MM * eye.optical_axis


def apparent_iris_centre(eye: Eye, camera_position_mm: ArrayLike) -> Floats:
    """(3,) where a camera sees the centre of the iris through the cornea, car frame.

    The point on the line of sight, after Snell's law at the cornea, that is nearest to the iris itself; project it.
    """
    return apparent_point(eye, iris_centre_mm(eye), camera_position_mm)


def apparent_point(eye: Eye, point_mm: ArrayLike, camera_position_mm: ArrayLike) -> Floats:
    """(3,) where a camera outside the eye sees a point (3,) within the corneal sphere, as `apparent_iris_centre`."""
    cornea = eye.centre_mm + CORNEA_CENTRE_MM * eye.optical_axis
    camera, point = np.asarray(camera_position_mm, dtype=float), np.asarray(point_mm, dtype=float)
    surface = cornea + CORNEA_RADIUS_MM * _exit_direction(point - cornea, camera - cornea)
    sight = unit(surface - camera)
    return camera + sight * float((point - camera) @ sight)


def _exit_direction(inside: Floats, outside: Floats) -> Floats:
    """Unit vector (3,) from the centre of the cornea to where light from `inside` leaves for `outside`.

    All three lie in one plane. There the exit point is somewhere between the directions of `outside` (0) and `inside`
    (`widest`), and n sin(inner angle) - sin(outer angle) changes its sign once: bisection.
    """
    towards = unit(outside)
    across = inside - towards * float(inside @ towards)
    offset = float(np.linalg.norm(across))
    if offset < 1e-9:
        return towards
    across /= offset
    along, distance = float(inside @ towards), float(np.linalg.norm(outside))

    def excess(angle: float) -> float:
        x, y = CORNEA_RADIUS_MM * math.cos(angle), CORNEA_RADIUS_MM * math.sin(angle)
        inner = (x * (y - offset) - y * (x - along)) / math.hypot(x - along, y - offset)
        outer = (x * -y - y * (distance - x)) / math.hypot(distance - x, y)
        return AQUEOUS_INDEX * inner - outer

    low, high = 0.0, math.atan2(offset, along)
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if excess(middle) < 0 else (low, middle)
    return towards * math.cos(low) + across * math.sin(low)
