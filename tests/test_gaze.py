"""Geometric gaze: signs, statuses, errors, and what the loop relies on."""

from dataclasses import replace

import numpy as np
import pytest
from heads import CAMERA, landmarks_of
from test_eyes import BUNDLE, CANONICAL, NAMES, face_with

from dashgaze.device.eyes import EyeJudge, EyeSettings
from dashgaze.device.gaze import GazeSettings, GazeStage, GeometricGaze
from dashgaze.device.headpose import HeadPoseEstimator
from dashgaze.device.records import Face, Frame
from dashgaze.geometry import FACING, Camera, angle_between_deg, rays_from_angles, rotation_y
from dashgaze.tables import Status
from dashgaze.zones import Zone, ZoneMap

BLANK = np.zeros((720, 1280, 3), np.uint8)
assert BUNDLE


def estimator(car_from_camera=FACING, camera=CAMERA):
    """The gaze stage with the geometric estimator."""
    eyes = EyeJudge(EyeSettings(), NAMES)
    return stage_of(GeometricGaze(GazeSettings(), camera, CANONICAL, eyes), eyes, car_from_camera, camera)


def stage_of(looker, eyes, car_from_camera=FACING, camera=CAMERA):
    """The gaze stage with any estimator."""
    head, zones = HeadPoseEstimator(CANONICAL, camera), ZoneMap.for_vehicle("left")
    return GazeStage(GazeSettings(), looker, head, eyes, zones, car_from_camera)


def looking(pose_deg=(0, 0, 0), gaze_deg=(0, 0), aperture=0.3, blink=0.15, position_mm=(0.0, 0.0, 700.0)):
    """A face with open lids, posed, with irises at a gaze in the face frame."""
    face, _ = face_with(aperture, blink)
    posed, rotation = landmarks_of(CANONICAL, pose_deg, position_mm, gaze_deg)
    landmarks = face.landmarks_px.copy()
    straight, _ = landmarks_of(CANONICAL, (0, 0, 0))
    landmarks[:, :2] = posed[:, :2] + (landmarks[:, :2] - straight[:, :2])
    landmarks[468:] = posed[468:]
    landmarks[:, 2] = posed[:, 2]
    return replace(face, landmarks_px=landmarks), rotation


def test_a_face_that_looks_at_the_camera_has_a_ray_into_it():
    face, _ = looking()
    gaze = estimator().estimate(Frame(0, 0.0, BLANK), face)
    assert gaze.status is Status.OK
    assert angle_between_deg(gaze.ray, [0, 0, -1]) < 3
    assert gaze.eye_mid_mm == pytest.approx([0, 0, 700], abs=15)
    assert gaze.zone is Zone.ROAD_AHEAD


@pytest.mark.parametrize(("azimuth", "elevation"), [(20, 0), (-20, 0), (0, 15), (0, -15)])
def test_irises_move_the_gaze_to_their_side(azimuth, elevation):
    gaze = estimator().estimate(Frame(0, 0.0, BLANK), looking(gaze_deg=(azimuth, elevation))[0])
    middle = estimator().estimate(Frame(0, 0.0, BLANK), looking()[0])
    moved = np.array([gaze.azimuth_deg - middle.azimuth_deg, gaze.elevation_deg - middle.elevation_deg])
    assert moved @ [azimuth, elevation] > 0
    assert gaze.car_azimuth_deg - middle.car_azimuth_deg == pytest.approx(moved[0], abs=2), "same sign in the car"


@pytest.mark.parametrize("yaw", [-35, -15, 15, 35])
def test_a_turned_head_turns_the_gaze_with_it(yaw):
    face, rotation = looking((yaw, 0, 0))
    gaze = estimator().estimate(Frame(0, 0.0, BLANK), face)
    assert angle_between_deg(gaze.ray, rotation @ [0, 0, 1]) < 5
    assert gaze.car_azimuth_deg == pytest.approx(yaw, abs=5)


def test_drooping_lids_lower_the_gaze():
    open_eyed = estimator().estimate(Frame(0, 0.0, BLANK), looking()[0])
    lowered = estimator().estimate(Frame(0, 0.0, BLANK), looking(aperture=0.2)[0])
    assert lowered.elevation_deg < open_eyed.elevation_deg - 1


def test_a_head_far_to_the_side_is_less_certain():
    errors = [estimator().estimate(Frame(0, 0.0, BLANK), looking((yaw, 0, 0))[0]).error_deg for yaw in (0, 35, 50)]
    assert errors == sorted(errors)
    assert errors[2] > errors[0] + 4


def test_small_eyes_give_the_heads_direction_and_say_so():
    face, rotation = looking((10, 0, 0), gaze_deg=(25, 0), position_mm=(0.0, 0.0, 6000.0))
    gaze = estimator().estimate(Frame(0, 0.0, BLANK), face)
    assert gaze.status is Status.LOW_QUALITY
    assert angle_between_deg(gaze.ray, rotation @ [0, 0, 1]) < 3
    assert gaze.error_deg > 10


def test_closed_eyes_have_no_gaze():
    gaze = estimator().estimate(Frame(0, 0.0, BLANK), looking(aperture=0.07, blink=0.65)[0])
    assert gaze.status is Status.EYES_CLOSED
    assert (gaze.ray, gaze.zone, gaze.azimuth_deg, gaze.error_deg) == (None, None, None, None)
    assert gaze.eyes is not None
    assert gaze.head is not None


@pytest.mark.parametrize("status", [Status.NO_FACE, Status.BLOCKED])
def test_without_a_face_there_is_a_status_and_nothing_else(status):
    gaze = estimator().estimate(Frame(0, 0.0, BLANK), Face(status))
    assert gaze.status is status
    assert gaze.ray is None
    assert gaze.head is None


def test_the_last_gaze_does_not_outlive_the_face():
    stage = estimator()
    stage.estimate(Frame(0, 0.0, BLANK), looking((30, 0, 0))[0])
    stage.estimate(Frame(1, 0.1, BLANK), Face(Status.NO_FACE))
    after = stage.estimate(Frame(2, 0.2, BLANK), looking((-30, 0, 0))[0])
    assert after.car_azimuth_deg == pytest.approx(-30, abs=5), "the filter starts afresh"


def test_adaptation_turns_the_car_not_the_ray():
    stage, face = estimator(), looking()[0]
    before = stage.estimate(Frame(0, 0.0, BLANK), face)
    stage.adapt(rotation_y(-15) @ FACING)
    after = stage.estimate(Frame(1, 0.03, BLANK), face)
    assert angle_between_deg(before.ray, after.ray) < 0.5
    assert after.car_azimuth_deg == pytest.approx(before.car_azimuth_deg - 15, abs=0.5)


def test_the_ray_starts_between_the_eyes_and_has_length_one():
    face, _ = looking((12, -8, 5), gaze_deg=(10, -5), position_mm=(-120.0, 60.0, 800.0))
    gaze = estimator().estimate(Frame(0, 0.0, BLANK), face)
    assert np.linalg.norm(gaze.ray) == pytest.approx(1)
    assert gaze.eye_mid_mm == pytest.approx([-120, 60, 800], rel=0.03)
    # Angles in the face frame are the ray in that frame.
    expected = gaze.head.rotation @ rays_from_angles(gaze.azimuth_deg, gaze.elevation_deg)
    assert angle_between_deg(expected, gaze.ray) < 1e-6


def test_a_face_beside_the_axis_that_looks_into_the_lens_has_two_open_eyes():
    """What hides an eye is the angle to the camera, not to its axis."""
    aside = (350.0, 0.0, 600.0)
    yaw = np.degrees(np.arctan2(350, 600))
    for side, position in ((yaw, aside), (-yaw, (-350.0, 0.0, 600.0))):
        gaze = estimator().estimate(Frame(0, 0.0, BLANK), looking((side, 0, 0), position_mm=position)[0])
        assert gaze.head.seen_from_deg == pytest.approx((0, 0), abs=4)
        assert gaze.eyes.openness_left_frac is not None
        assert gaze.eyes.openness_right_frac is not None


def test_landmarks_beyond_the_lens_model_are_no_gaze_and_no_crash():
    lens = Camera.from_parameters((1280, 720), CAMERA.matrix, [-0.9])
    stage = estimator(camera=lens)
    face, _ = looking(position_mm=(560.0, 0.0, 700.0))
    assert stage.estimate(Frame(0, 0.0, BLANK), face).status is Status.LOW_QUALITY


def test_a_look_is_of_its_own_frame_and_a_gaze_is_filtered():
    stage = estimator()
    first, second = looking((20, 0, 0))[0], looking((-20, 0, 0))[0]
    stage.estimate(Frame(0, 0.0, BLANK), first)
    alone = estimator().see(Frame(0, 0.0, BLANK), second)
    after = stage.see(Frame(1, 0.03, BLANK), second)
    assert after.look.ray == pytest.approx(alone.look.ray, abs=0.01)
    assert angle_between_deg(stage.estimate(Frame(1, 0.03, BLANK), second).ray, after.look.ray) > 2


def test_what_is_seen_needs_no_picture():
    """Landmarks, blendshapes and head are all that the geometric estimator takes."""
    face, _ = looking(gaze_deg=(15, 0))
    judge = EyeJudge(EyeSettings(), NAMES)
    head = HeadPoseEstimator(CANONICAL, CAMERA).fit(face.landmarks_px)
    _, apertures = judge.judge(0.0, face, head)
    look = GeometricGaze(GazeSettings(), CAMERA, CANONICAL, judge).look(Frame(0, 0.0, BLANK), face, head, apertures)
    assert look.good
    assert look.ray @ head.rotation[:, 0] > 0
