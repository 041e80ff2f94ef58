"""Conventions of `dashgaze.geometry`, each pinned once, and its functions as properties."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from dashgaze.geometry import (
    FACING,
    Camera,
    angle_between_deg,
    angles_from_rays,
    apply_homography,
    facing_angles_deg,
    facing_rotation,
    intersect_sphere,
    rays_from_angles,
    rotation_between,
    rotation_homography,
    rotation_x,
    rotation_y,
    unit,
)

angle = st.floats(-179, 179)
elevation = st.floats(-89, 89)
direction = st.tuples(*[st.floats(-1, 1)] * 3).filter(lambda v: np.linalg.norm(v) > 0.1)
# A dashcam's lens: rational model, monotonic over the picture.
WIDE = Camera.from_parameters(
    (1920, 1080),
    [[900, 0, 950], [0, 905, 545], [0, 0, 1]],
    [-0.2, 0.05, 1e-3, -5e-4, -0.004, 0.02, 0.01, -0.001],
)


def test_positive_azimuth_is_right_and_positive_elevation_is_up():
    assert_allclose(rays_from_angles(90, 0), [1, 0, 0], atol=1e-12)
    assert_allclose(rays_from_angles(0, 90), [0, -1, 0], atol=1e-12)
    assert_allclose(rays_from_angles(0, 0), [0, 0, 1], atol=1e-12)


@given(angle, elevation)
def test_angles_survive_the_way_through_rays(az, el):
    ray = rays_from_angles(az, el)
    assert np.linalg.norm(ray) == pytest.approx(1)
    assert_allclose(angles_from_rays(3.7 * ray), (az, el), atol=1e-9)


def test_angle_between_is_exact_where_the_arc_cosine_is_not():
    nearly = rays_from_angles(1e-7, 0)
    assert angle_between_deg([0, 0, 1], nearly) == pytest.approx(1e-7, rel=1e-6)
    assert angle_between_deg([0, 0, 1], [0, 0, -2]) == pytest.approx(180)


def test_a_face_turned_to_the_drivers_right_looks_to_the_left_of_the_picture():
    gaze = facing_rotation(30, 0, 0) @ [0, 0, 1]
    assert gaze[0] == pytest.approx(-0.5)
    assert gaze[2] < 0, "towards the camera"


def test_a_lifted_face_looks_up_and_a_rolled_one_tilts_clockwise_for_the_driver():
    assert (facing_rotation(0, 30, 0) @ [0, 0, 1])[1] == pytest.approx(-0.5)
    # The driver's right side goes down.
    assert (facing_rotation(0, 0, 30) @ [1, 0, 0])[1] == pytest.approx(0.5)


@given(st.floats(-179, 179), st.floats(-89, 89), st.floats(-179, 179))
def test_head_pose_survives_the_way_through_the_rotation(yaw, pitch, roll):
    rotation = facing_rotation(yaw, pitch, roll)
    assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(rotation) == pytest.approx(1)
    assert_allclose(facing_angles_deg(rotation), (yaw, pitch, roll), atol=1e-6)


def test_straight_up_has_no_roll():
    rotation = facing_rotation(20, 90, 0)
    assert_allclose(facing_rotation(*facing_angles_deg(rotation)), rotation, atol=1e-6)


@given(direction, direction)
def test_rotation_between_turns_one_direction_into_the_other(a, b):
    rotation = rotation_between(a, b)
    assert_allclose(rotation @ unit(a), unit(b), atol=1e-6)
    assert np.linalg.det(rotation) == pytest.approx(1)


def test_rotation_between_opposite_directions_is_half_a_turn():
    assert_allclose(rotation_between([0, 0, 1], [0, 0, -1]) @ [0, 0, 1], [0, 0, -1], atol=1e-12)


@given(st.floats(0, 1919), st.floats(0, 1079), st.floats(0.2, 50))
def test_a_pixel_survives_the_way_through_its_ray_whatever_the_distance(x, y, distance):
    ray = WIDE.rays([x, y])
    assert_allclose(WIDE.project(ray * distance * 1000), [x, y], atol=0.02)


def test_the_ray_of_the_principal_point_looks_straight_ahead():
    camera = Camera.from_fov((641, 481), 90)
    assert_allclose(camera.rays([320, 240]), [0, 0, 1], atol=1e-12)
    # 90 deg: the picture's edge is 45 deg aside.
    assert_allclose(angles_from_rays(camera.rays([640.5, 240]))[0], 45, atol=0.01)


def test_nothing_behind_the_camera_has_a_pixel():
    assert np.isnan(WIDE.project([[0, 0, -1], [0, 0, 0]])).all()


def test_rays_that_the_lens_cannot_have_are_nan_not_guesses():
    barrel = Camera.from_parameters((1000, 1000), [[500, 0, 500], [0, 500, 500], [0, 0, 1]], [-0.5])
    assert np.isnan(barrel.rays([5000, 5000])).all()


def test_a_lens_model_does_not_fold_back_into_the_picture():
    camera = Camera.from_parameters((1920, 1080), [[1000, 0, 960], [0, 1000, 540], [0, 0, 1]], [-0.35])
    seen = camera.project(rays_from_angles(np.arange(0, 75, 5), 0))[:, 0]
    known = np.isfinite(seen)
    assert known[:8].all()
    assert not known[-4:].any()
    assert (np.diff(seen[known]) > 0).all()


@pytest.mark.parametrize("count", range(1, 9))
def test_any_number_of_coefficients_is_taken(count):
    camera = Camera.from_parameters((640, 480), WIDE.matrix, [0.01] * count)
    assert len(camera.distortion) == 8


@given(st.integers(2, 4000), st.integers(2, 4000))
def test_a_resized_camera_sees_the_same_rays(width, height):
    small = WIDE.scaled((width, height))
    corners = np.array([[-0.5, -0.5], [1919.5, 1079.5]])
    resized = np.array([[-0.5, -0.5], [width - 0.5, height - 0.5]])
    assert_allclose(small.rays(resized), WIDE.rays(corners), atol=1e-6)


def test_a_mirrored_camera_sees_the_flipped_ray():
    flipped = WIDE.mirrored()
    for x, y in ((100, 200), (1500, 900)):
        assert_allclose(flipped.rays([1919 - x, y]), WIDE.rays([x, y]) * [-1, 1, 1], atol=1e-6)


@pytest.mark.parametrize(
    ("matrix", "distortion", "problem"),
    [
        (np.eye(2), (), "3 x 3"),
        ([[-1, 0, 0], [0, 1, 0], [0, 0, 1]], (), "positive focal"),
        ([[1, 0, 0], [5, 1, 0], [0, 0, 1]], (), "upper triangular"),
        (np.eye(3), [0.0] * 9, "up to 8"),
        (np.eye(3), [np.nan], "finite"),
    ],
)
def test_an_impossible_camera_is_refused(matrix, distortion, problem):
    with pytest.raises(ValueError, match=problem):
        Camera.from_parameters((10, 10), matrix, distortion)


@given(direction, st.floats(0.5, 20))
def test_a_ray_at_a_sphere_meets_it_on_the_near_side(towards, radius):
    centre = unit(towards) * 100 + [0, 0, 100]
    if np.linalg.norm(centre) < 30:
        return
    point, miss = intersect_sphere(centre, centre, radius)
    assert miss == 0
    assert np.linalg.norm(point - centre) == pytest.approx(radius)
    assert np.linalg.norm(point) < np.linalg.norm(centre)


def test_a_ray_beside_a_sphere_gets_its_nearest_point_and_the_miss():
    point, miss = intersect_sphere([0, 0, 1], [20, 0, 100], 12)
    assert miss == pytest.approx(8)
    assert_allclose(point, [8, 0, 100])


def test_a_rotation_homography_moves_pixels_as_their_rays():
    source, target = Camera.from_fov((640, 480), 60), Camera.from_fov((1280, 720), 80)
    turn = rotation_y(12) @ rotation_x(-5)
    pixels = np.array([[100.0, 80.0], [600.0, 400.0], [320.0, 240.0]])
    expected = target.project(source.rays(pixels) @ turn.T)
    assert_allclose(apply_homography(rotation_homography(target, turn, source), pixels), expected, atol=1e-6)


def test_a_homography_gives_nothing_beyond_its_horizon():
    tilted = np.array([[1, 0, 0], [0, 1, 0], [0, 0.01, 1.0]])
    assert np.isfinite(apply_homography(tilted, [0, 0])).all()
    assert np.isnan(apply_homography(tilted, [0, -200])).all()
    assert_allclose(apply_homography(-tilted, [3, 4]), apply_homography(tilted, [3, 4]))


def test_facing_is_half_a_turn():
    assert_allclose(FACING @ FACING, np.eye(3))
    assert np.linalg.det(FACING) == 1
