"""Optics and aim of the synthetic eyes."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashgaze.geometry import (
    Floats,
    angle_between_deg,
    angles_from_rays,
    rays_from_angles,
    rotation_x,
    rotation_y,
    rotation_z,
    unit,
)
from dashgaze.training.synth import eyes
from dashgaze.training.synth.person import person_of
from dashgaze.training.synth.records import LEFT, RIGHT, Eye

PERSON = person_of(3)
AHEAD = np.eye(3)
CENTRES = np.array([[-31.5, 0.0, 0.0], [31.5, 0.0, 0.0]])

angles = st.floats(-40.0, 40.0)
distances = st.floats(250.0, 1e5)


def turned(yaw: float, pitch: float, roll: float) -> Floats:
    return rotation_y(yaw) @ rotation_x(pitch) @ rotation_z(roll)


def rotation_of(eye: Eye) -> Floats:
    return np.column_stack([np.cross(-eye.up, eye.optical_axis), -eye.up, eye.optical_axis])


@given(angles, angles, distances)
def test_visual_axes_meet_on_the_target(azimuth: float, elevation: float, distance_mm: float) -> None:
    target = distance_mm * rays_from_angles(azimuth, elevation)
    pair = eyes.aim(CENTRES, target, AHEAD, PERSON)
    for eye, centre in zip(pair, CENTRES, strict=True):
        np.testing.assert_allclose(eye.visual_axis, unit(target - centre), atol=1e-12)
    assert (pair[LEFT].visual_axis - pair[RIGHT].visual_axis)[0] > 0  # they converge


def test_eyes_converge_on_near_things() -> None:
    pair = eyes.aim(CENTRES, [0.0, 0.0, 700.0], AHEAD, PERSON)
    expected_deg = 2 * np.degrees(np.arctan(31.5 / 700))
    assert angle_between_deg(pair[LEFT].visual_axis, pair[RIGHT].visual_axis) == pytest.approx(expected_deg)


@given(angles, angles, angles, angles)
def test_kappa_is_the_same_wherever_the_eye_looks(yaw: float, pitch: float, azimuth: float, elevation: float) -> None:
    pair = eyes.aim(CENTRES, 1e3 * rays_from_angles(azimuth, elevation), turned(yaw, pitch, 5.0), PERSON)
    for side, eye in enumerate(pair):
        nosewards = eyes.NOSEWARDS[side] * PERSON.kappa_deg[side][0]
        seen = rotation_of(eye).T @ eye.visual_axis
        np.testing.assert_allclose(angles_from_rays(seen), (nosewards, PERSON.kappa_deg[side][1]), atol=1e-6)


def test_optical_axes_point_outwards_as_mirror_images() -> None:
    person = replace(PERSON, kappa_deg=((5.0, 1.0), (5.0, 1.0)))
    left, right = eyes.aim(CENTRES, [0.0, 0.0, 1e9], AHEAD, person)
    np.testing.assert_allclose(left.optical_axis * [-1, 1, 1], right.optical_axis, atol=1e-6)
    assert angles_from_rays(left.optical_axis)[0] == pytest.approx(-5.0, abs=0.01)
    assert angles_from_rays(right.optical_axis)[1] == pytest.approx(-1.0, abs=0.05)


@given(angles, angles)
def test_torsion_follows_listing(azimuth: float, elevation: float) -> None:
    person = replace(PERSON, kappa_deg=((0.0, 0.0), (0.0, 0.0)))
    for eye in eyes.aim(CENTRES, 1e3 * rays_from_angles(azimuth, elevation), AHEAD, person):
        rotation = rotation_of(eye)
        axis = rotation[[2, 0, 1], [1, 2, 0]] - rotation[[1, 2, 0], [2, 0, 1]]
        assert axis[2] == pytest.approx(0.0, abs=1e-9)  # no part of the rotation is about the line straight ahead


@given(angles, angles, angles)
def test_eyes_turn_with_the_head(yaw: float, pitch: float, roll: float) -> None:
    head = turned(yaw, pitch, roll)
    target = np.array([200.0, 100.0, 800.0])
    still = eyes.aim(CENTRES, target, AHEAD, PERSON)
    carried = eyes.aim(CENTRES @ head.T, head @ target, head, PERSON)
    for before, after in zip(still, carried, strict=True):
        np.testing.assert_allclose(head @ rotation_of(before), rotation_of(after), atol=1e-9)
        np.testing.assert_allclose(
            eyes.eye_in_head_angles_deg(before, AHEAD), eyes.eye_in_head_angles_deg(after, head), atol=1e-6
        )


def test_eye_in_head_is_gaze_less_head() -> None:
    left, _ = eyes.aim(CENTRES, 1e9 * rays_from_angles(50.0, 0.0), rotation_y(30.0), PERSON)
    assert eyes.eye_in_head_angles_deg(left, rotation_y(30.0)) == pytest.approx((20.0, 0.0), abs=1e-4)


@pytest.mark.parametrize("target", [[np.nan, 0, 1e3], [np.inf, 0, 0], CENTRES[0], CENTRES[1] + 3.0])
def test_no_eye_looks_into_itself_or_nowhere(target: list[float]) -> None:
    if np.isinf(target).any():  # an infinite distance has no direction
        target = [np.nan, np.nan, np.nan]
    with pytest.raises(ValueError, match="no eye can look"):
        eyes.aim(CENTRES, target, AHEAD, PERSON)


@given(st.floats(0.01, 500.0), st.floats(18.0, 75.0))
def test_pupils_shrink_in_light_and_with_age(luminance: float, age: float) -> None:
    assert 1.5 < eyes.pupil_diameter_mm(luminance, age) < 8.5
    assert eyes.pupil_diameter_mm(luminance * 2, age) < eyes.pupil_diameter_mm(luminance, age)
    assert eyes.pupil_diameter_mm(luminance, age + 5) < eyes.pupil_diameter_mm(luminance, age)


def test_drawn_pupils_are_the_person_s_own_by_day_wider_at_night_and_restless() -> None:
    def pupil_mm(luminance: float, hippus_frac: float = 0.0) -> float:
        return 2 * eyes.aim(CENTRES, [0, 0, 1e3], AHEAD, PERSON, luminance, hippus_frac)[0].pupil_radius_mm

    assert pupil_mm(eyes.CABIN_BY_DAY_CD_M2) == pytest.approx(PERSON.pupil_mm)
    assert pupil_mm(0.1) > PERSON.pupil_mm + 1
    assert pupil_mm(eyes.CABIN_BY_DAY_CD_M2, 0.1) == pytest.approx(1.1 * PERSON.pupil_mm)
    course = [eyes.hippus(t, 5) for t in np.arange(0, 60, 0.1)]
    assert 0.01 < np.std(course) < 0.05
    assert np.abs(np.diff(course)).max() < 0.03


def test_cornea_and_globe_meet_at_the_limbus() -> None:
    for centre, radius in ((0.0, eyes.GLOBE_RADIUS_MM), (eyes.CORNEA_CENTRE_MM, eyes.CORNEA_RADIUS_MM)):
        assert np.sqrt(radius**2 - (eyes.LIMBUS_MM - centre) ** 2) == pytest.approx(5.9, abs=0.05)


@given(st.floats(-80.0, 80.0), st.floats(-50.0, 50.0), st.floats(150.0, 2e3))
def test_a_ray_along_the_apparent_line_of_sight_meets_the_iris_after_snell(
    azimuth: float, elevation: float, distance_mm: float
) -> None:
    eye, _ = eyes.aim(CENTRES, [100.0, -50.0, 900.0], AHEAD, PERSON)
    camera = eye.centre_mm + distance_mm * rays_from_angles(azimuth, elevation)
    sight = unit(eyes.apparent_iris_centre(eye, camera) - camera)
    cornea = eye.centre_mm + eyes.CORNEA_CENTRE_MM * eye.optical_axis
    along = (cornea - camera) @ sight
    miss = np.linalg.norm(camera + along * sight - cornea)
    surface = camera + (along - np.sqrt(eyes.CORNEA_RADIUS_MM**2 - miss**2)) * sight
    normal = (surface - cornea) / eyes.CORNEA_RADIUS_MM
    ratio, cosine = 1 / eyes.AQUEOUS_INDEX, -normal @ sight
    inside = ratio * sight + (ratio * cosine - np.sqrt(1 - ratio**2 * (1 - cosine**2))) * normal
    offset = eyes.iris_centre_mm(eye) - surface
    np.testing.assert_allclose(np.cross(inside, offset), 0.0, atol=1e-6)


def test_the_iris_is_seen_in_place_from_the_front_and_nearer_the_cornea_from_the_side() -> None:
    person = replace(PERSON, kappa_deg=((0.0, 0.0), (0.0, 0.0)))
    eye, _ = eyes.aim([[0, 0, 0], [63, 0, 0]], [0, 0, 1e9], AHEAD, person)
    front = eyes.apparent_iris_centre(eye, [0.0, 0.0, 600.0])
    np.testing.assert_allclose(front[:2], 0.0, atol=1e-9)
    assert np.linalg.norm(front - eyes.iris_centre_mm(eye)) < 1.0
    shifts = []
    for azimuth in (15.0, 30.0, 45.0, 60.0):
        direction = rays_from_angles(azimuth, 0.0)
        across = np.array([direction[2], 0.0, -direction[0]])
        moved = eyes.apparent_iris_centre(eye, 600.0 * direction) - eyes.iris_centre_mm(eye)
        shifts.append(float(moved @ across))
    # The side on which the apex of the cornea lies, further the more oblique; the size ray tracing gives in the
    # literature is some tenths of a millimetre.
    assert all(shift < 0 for shift in shifts)
    assert np.all(np.diff(shifts) < 0)
    assert -1.5 < shifts[-1] < -0.4
