"""Crops of the gaze network: the same whatever the face's place, roll and lens, symmetric, never a crash."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_eyes import CANONICAL

from dashgaze.device.crops import (
    EYE_MM,
    FACE_DOWN_MM,
    FACE_MM,
    CropPlan,
    mirror_order,
    mirrored,
    ray_from_view,
    take_inputs,
    view_angles,
    view_rotation,
)
from dashgaze.device.records import HeadPose
from dashgaze.geometry import (
    Camera,
    angle_between_deg,
    facing_rotation,
    rays_from_angles,
    rotation_x,
    rotation_y,
    rotation_z,
)

PLAIN = Camera.from_fov((640, 360), 60)
BENT = Camera.from_parameters((640, 360), [[554, 0, 345], [0, 554, 170], [0, 0, 1]], [-0.25, 0.06, 1e-3, 2e-3])
PLAN = CropPlan()
SWAP, STRAIGHT = np.diag([-1.0, 1.0, 1.0]), np.eye(3)
angles = st.floats(-60, 60)


def head_at(rotation, position_mm):
    return HeadPose(np.asarray(rotation), np.asarray(position_mm, float), 0, 0, 0, 0)


def posed(turn=STRAIGHT, pose_deg=(10, -5, 4), distance_mm=600.0):
    """A head before the camera, the two turned about the camera's centre together."""
    return head_at(turn @ facing_rotation(*pose_deg), turn @ [0, 0, distance_mm])


def landmarks_of(head, camera):
    irises = np.repeat(CANONICAL.eyeballs_mm, 5, axis=0)
    pixels = camera.project(np.r_[CANONICAL.vertices_mm, irises] @ head.rotation.T + head.position_mm)
    return np.c_[pixels, np.zeros(478)].astype(np.float32)


def scene(head, camera):
    """A picture of a pattern that turns and moves with the head's view, in mm at the distance of the eyes."""
    width, height = camera.size_px
    pixels = np.stack(np.meshgrid(np.arange(width), np.arange(height)), axis=-1)
    rays = camera.rays(pixels) @ view_rotation(head)
    x, y = np.moveaxis(rays[..., :2] / rays[..., 2:] * np.linalg.norm(head.position_mm), -1, 0)
    waves = [np.sin(x / 9 + y / 40), np.cos(y / 8 - x / 30), np.sin((x + 2 * y) / 20)]
    return np.nan_to_num(np.stack(waves, axis=-1) * 100 + 128).round().astype(np.uint8)


def inputs_of(head, camera, plan=PLAN, image=None):
    found = take_inputs(scene(head, camera) if image is None else image, camera, landmarks_of(head, camera), head, plan)
    assert found is not None
    return found


def apart(first, second):
    """Mean and largest difference of two pictures in grey levels."""
    difference = np.abs(first.astype(float) - second)
    return difference.mean(), np.percentile(difference, 99.5)


def assert_alike(first, second, mean=1.5, most=8.0):
    for name in ("face", "right_eye", "left_eye"):
        measured = apart(getattr(first, name), getattr(second, name))
        assert measured[0] < mean, (name, measured)
        assert measured[1] < most, (name, measured)
    assert second.mesh == pytest.approx(first.mesh, abs=2e-3)
    assert second.pose[:6] == pytest.approx(first.pose[:6], abs=1e-5)


@pytest.mark.parametrize("roll", [-50, -20, 15, 45, 90, 180])
def test_a_rolled_picture_gives_the_same_crops(roll):
    assert_alike(inputs_of(posed(), PLAIN), inputs_of(posed(rotation_z(roll)), PLAIN))


@pytest.mark.parametrize("turn_deg", [(12, 0), (-14, 3), (0, 5), (8, -4)])
def test_a_face_elsewhere_in_the_picture_gives_the_same_crops(turn_deg):
    turn = rotation_y(turn_deg[0]) @ rotation_x(turn_deg[1])
    assert_alike(inputs_of(posed(), PLAIN), inputs_of(posed(turn), PLAIN))


@pytest.mark.parametrize("aside_deg", [0, 14])
def test_distortion_is_taken_out(aside_deg):
    """To first order: a pixel of the face crop is worth 15 grey levels of this pattern."""
    bent = inputs_of(posed(rotation_y(aside_deg)), BENT)
    assert_alike(inputs_of(posed(rotation_y(aside_deg)), PLAIN), bent, mean=4, most=15)


def test_a_face_farther_away_gives_the_same_crops():
    near, far = (inputs_of(posed(distance_mm=distance), PLAIN) for distance in (500.0, 900.0))
    assert apart(near.face, far.face)[0] < 2
    assert far.pose[8] == pytest.approx(0.9)


def test_crops_cover_their_millimetres():
    """A mark at a known place of the view is at that place of the crop."""
    head = posed(rotation_y(8) @ rotation_z(20), pose_deg=(0, 0, 0))
    view, distance = view_rotation(head), np.linalg.norm(head.position_mm)
    eye_mm = CANONICAL.vertices_mm[[33, 133]].mean(axis=0) * [-1, 1, 1]  # the view looks at the face
    for name, centre_mm, size_mm, size_px in (
        ("face", (0, FACE_DOWN_MM), (FACE_MM, FACE_MM), PLAN.face_px),
        ("right_eye", eye_mm[:2], EYE_MM, PLAN.eye_px),
    ):
        place_mm = np.array(centre_mm) + np.array([0.2, -0.1]) * size_mm
        mark = PLAIN.project(view @ np.r_[place_mm / distance, 1.0])
        image = np.zeros((360, 640, 3), np.uint8)
        cv2.circle(image, tuple((mark * 16).round().astype(int).tolist()), 16 * 3, (255, 255, 255), -1, cv2.LINE_AA, 4)
        crop = getattr(inputs_of(head, PLAIN, image=image), name)[0].astype(float)
        rows, columns = np.indices(crop.shape)
        found = np.array([(crop * columns).sum(), (crop * rows).sum()]) / crop.sum()
        expected = np.array([0.7, 0.4]) * size_px - 0.5
        assert found == pytest.approx(expected, abs=0.03 * size_px[0]), name


@given(angles, angles, st.floats(-180, 180), angles, st.floats(-30, 30))
def test_the_view_is_level_with_the_head_and_looks_at_the_eyes(yaw, pitch, roll, aside, above):
    position = 700 * rays_from_angles(aside, above)
    view = view_rotation(head_at(facing_rotation(yaw, pitch, roll), position))
    assert view.T @ view == pytest.approx(np.eye(3), abs=1e-9)
    assert np.linalg.det(view) == pytest.approx(1)
    assert view[:, 2] == pytest.approx(position / 700)
    assert (view.T @ facing_rotation(yaw, pitch, roll)[:, 0])[1] == pytest.approx(0, abs=1e-9), "no roll is left"


@given(angles, angles, angles, st.floats(-179, 179), st.floats(-89, 89))
def test_angles_in_the_view_and_rays_are_one_anothers_inverse(yaw, pitch, aside, azimuth, elevation):
    view = view_rotation(head_at(facing_rotation(yaw, pitch, 10), 700 * rays_from_angles(aside, 5)))
    ray = ray_from_view(view, azimuth, elevation)
    assert np.array(view_angles(view, ray)) == pytest.approx(np.array([azimuth, elevation]), abs=1e-6)


def test_zero_is_into_the_camera_and_positive_is_to_the_drivers_right_and_up():
    head = posed(rotation_y(20))
    view = view_rotation(head)
    assert angle_between_deg(ray_from_view(view, 0, 0), -head.position_mm) < 1e-6
    assert ray_from_view(view, 20, 0) @ head.rotation[:, 0] > 0
    assert ray_from_view(view, 0, 20) @ head.rotation[:, 1] < 0


def test_the_heads_own_direction_is_in_the_pose():
    head = posed(rotation_y(20), pose_deg=(25, 10, 0))
    pose = inputs_of(head, PLAIN).pose
    assert view_rotation(head) @ pose[3:6] == pytest.approx(head.rotation[:, 2], abs=1e-5)
    assert pose[6:8] == pytest.approx(head.position_mm[:2] / head.position_mm[2], abs=1e-5)


@pytest.mark.parametrize("channels", [1, 3])
def test_pictures_have_the_sizes_of_the_plan(channels):
    plan = CropPlan((64, 48), (112, 96), (60, 36), channels)
    inputs = inputs_of(posed(), PLAIN, plan)
    shapes = [picture.shape for picture in (inputs.driver, inputs.face, inputs.right_eye, inputs.left_eye)]
    assert shapes == [(channels, 48, 64), (channels, 96, 112), (channels, 36, 60), (channels, 36, 60)]
    assert (inputs.five.shape, inputs.mesh.shape, inputs.pose.shape) == ((5, 2), (478, 2), (9,))
    assert {array.dtype for array in (inputs.five, inputs.mesh, inputs.pose)} == {np.dtype(np.float32)}


def test_colour_is_rgb():
    image = np.zeros((360, 640, 3), np.uint8)
    image[:] = (10, 100, 200)  # BGR
    inputs = inputs_of(posed(), PLAIN, CropPlan(channels=3), image)
    assert inputs.face[:, 48, 48].tolist() == inputs.driver[:, 48, 48].tolist() == [200, 100, 10]


def test_the_driver_view_is_the_whole_picture():
    image = cv2.resize(np.random.default_rng(3).integers(0, 255, (9, 16, 3), np.uint8), (1280, 720))
    camera = PLAIN.scaled((1280, 720))
    inputs = inputs_of(posed(), camera, image=image)
    averaged = cv2.cvtColor(cv2.resize(image, (96, 96), interpolation=cv2.INTER_AREA), cv2.COLOR_BGR2GRAY)
    assert apart(inputs.driver[0], averaged)[0] < 1


def test_what_lies_outside_of_the_picture_is_black():
    white = np.full((360, 640, 3), 255, np.uint8)
    inputs = inputs_of(posed(rotation_y(28)), PLAIN, image=white)
    face = inputs.face[0]
    assert set(np.unique(face[:, 1])) == {255}, "the driver's right is well inside"
    assert set(np.unique(face[:, -1])) == {0}
    outside = inputs_of(posed(rotation_y(50)), PLAIN, image=white)
    assert outside.face.max() == outside.right_eye.max() == 0


@settings(max_examples=60)
@given(
    st.tuples(st.floats(-90, 90), st.floats(-90, 90), st.floats(-180, 180)),
    st.tuples(*[st.floats(-5e3, 5e3)] * 3),
    st.sampled_from([PLAIN, BENT]),
)
def test_no_pose_is_a_crash(pose_deg, position_mm, camera):
    head = head_at(facing_rotation(*pose_deg), position_mm)
    landmarks = landmarks_of(posed(), camera)
    inputs = take_inputs(np.zeros((360, 640, 3), np.uint8), camera, landmarks, head, PLAN)
    if inputs is not None:
        assert all(np.isfinite(array).all() for array in (inputs.five, inputs.mesh, inputs.pose))


def test_without_a_view_there_are_no_inputs():
    image, landmarks = np.zeros((360, 640, 3), np.uint8), landmarks_of(posed(), PLAIN)
    behind = replace(posed(), position_mm=np.array([0.0, 0.0, -600.0]))
    within = replace(posed(), position_mm=np.zeros(3))
    sideways = replace(posed(), position_mm=600 * posed().rotation[:, 0])
    for head in (behind, within, sideways):
        assert take_inputs(image, PLAIN, landmarks, head, PLAN) is None
    landmarks[200, 1] = np.nan
    assert take_inputs(image, PLAIN, landmarks, posed(), PLAN) is None


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("camera", [PLAIN, BENT], ids=["plain", "bent"])
def test_mirrored_inputs_are_those_of_the_mirrored_picture(camera, channels):
    head, order = posed(rotation_y(9) @ rotation_z(12), pose_deg=(20, -8, 5)), mirror_order(CANONICAL)
    image, plan = scene(head, camera), CropPlan(channels=channels)
    direct = take_inputs(image, camera, landmarks_of(head, camera), head, plan)
    landmarks = landmarks_of(head, camera)[order]
    landmarks[:, 0] = camera.size_px[0] - 1 - landmarks[:, 0]
    other_head = head_at(SWAP @ head.rotation @ SWAP, SWAP @ head.position_mm)
    flipped = take_inputs(np.ascontiguousarray(image[:, ::-1]), camera.mirrored(), landmarks, other_head, plan)
    expected = mirrored(direct, order)
    assert_alike(expected, flipped, mean=0.3, most=2.0)
    assert apart(expected.driver, flipped.driver)[1] <= 1
    assert flipped.five == pytest.approx(expected.five, abs=1e-5)
    assert flipped.pose == pytest.approx(expected.pose, abs=1e-5)


def test_mirrored_twice_is_as_before():
    inputs, order = inputs_of(posed(), PLAIN), mirror_order(CANONICAL)
    again = mirrored(mirrored(inputs, order), order)
    for name in ("driver", "face", "right_eye", "left_eye", "five", "mesh", "pose"):
        assert np.array_equal(getattr(again, name), getattr(inputs, name)), name


def test_every_landmark_has_one_partner_on_the_other_side():
    order = mirror_order(CANONICAL)
    assert sorted(order) == list(range(478))
    assert np.array_equal(order[order], np.arange(478))
    assert order[[33, 133, 61, 468, 469]].tolist() == [263, 362, 291, 473, 476]
    apart_mm = np.linalg.norm(CANONICAL.vertices_mm[order[:468]] * [-1, 1, 1] - CANONICAL.vertices_mm, axis=1)
    assert apart_mm.max() < 1
