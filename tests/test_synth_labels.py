"""Labels say what the geometry says, and what the label image shows."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from dashgaze.geometry import FACING, Camera, facing_rotation, rotation_x, rotation_y, rotation_z, unit
from dashgaze.training.synth import labels
from dashgaze.training.synth.actors import face_rotation
from dashgaze.training.synth.body import Body, Posture
from dashgaze.training.synth.eyes import aim
from dashgaze.training.synth.labels import Face
from dashgaze.training.synth.person import person_of
from dashgaze.training.synth.records import Part
from dashgaze.training.synth.rig import PlacedCamera

VIEW = PlacedCamera(Camera.from_fov((1280, 720), 60), FACING, np.array([0.0, 0.0, 700.0]))
"""Straight ahead of the face, looking back at it."""


def lids(centre, opening_mm):
    x = np.linspace(-14, 14, 17)
    bow = 1 - (x / 14) ** 2
    upper = np.stack([x, -0.5 * opening_mm * bow, np.sqrt(14.5**2 - x**2)], axis=1)
    return centre + np.stack([upper, upper * (1, -1, 1)])


def face(rotation=None, opening_mm=10.0):
    rotation = np.eye(3) if rotation is None else rotation
    centres = np.array([[-31.5, 0, 0], [31.5, 0, 0]])
    grid = np.stack(np.meshgrid(np.linspace(-60, 60, 9), np.linspace(-40, 100, 9)), axis=-1).reshape(-1, 2)
    front = np.column_stack([grid, np.full(len(grid), 10.0)])
    return Face(
        eye_centres_mm=centres @ rotation.T,
        rotation=rotation,
        lid_margins_mm=np.stack([lids(c, opening_mm) for c in centres]) @ rotation.T,
        front_mm=front @ rotation.T,
        front_normals=np.tile(rotation[:, 2], (len(front), 1)),
        landmarks_mm={"nose": np.array([0, 40, 25.0]), "mouth_right": np.zeros(3), "mouth_left": np.zeros(3)},
    )


def eyes_of(shown, target=(0.0, 0.0, 700.0)):
    return aim(shown.eye_centres_mm, np.array(target), shown.rotation, person_of(3))


def everything(part):
    return np.full((720, 1280), part, np.uint8)


def test_a_driver_who_looks_into_the_lens_has_a_ray_along_its_axis():
    row = labels.gaze_row(face(), np.array([0.0, 0.0, 700.0]), VIEW)
    assert [row["ray_x"], row["ray_y"], row["ray_z"]] == pytest.approx([0, 0, -1], abs=1e-12)
    assert (row["azimuth_deg"], row["elevation_deg"]) == pytest.approx((0, 0), abs=1e-12)


def test_gaze_to_the_right_is_positive_in_face_and_car_and_goes_left_in_the_picture():
    row = labels.gaze_row(face(), np.array([300.0, -100.0, 700.0]), VIEW)
    assert row["azimuth_deg"] > 0
    assert row["elevation_deg"] > 0
    assert row["car_azimuth_deg"] == pytest.approx(row["azimuth_deg"])
    assert row["ray_x"] < 0


def test_angles_in_the_face_frame_do_not_change_when_head_and_target_turn_together():
    turn = facing_rotation(25, -8, 4) @ FACING
    still, turned = face(), face(turn)
    target = np.array([120.0, 40.0, 600.0])
    a, b = labels.gaze_row(still, target, VIEW), labels.gaze_row(turned, turn @ target, VIEW)
    assert (a["azimuth_deg"], a["elevation_deg"]) == pytest.approx((b["azimuth_deg"], b["elevation_deg"]))


def test_the_origin_of_the_ray_and_the_ray_meet_the_target():
    target = np.array([200.0, 150.0, 500.0])
    row = labels.gaze_row(face(), target, VIEW)
    eye = np.array([row[f"eye_mid_{axis}_mm"] for axis in "xyz"])
    ray = np.array([row[f"ray_{axis}"] for axis in "xyz"])
    assert np.cross(ray, unit(VIEW.to_camera(target) - eye)) == pytest.approx([0, 0, 0], abs=1e-12)


@pytest.mark.parametrize("angles", [(0, 0, 0), (30, 10, -5), (-50, -20, 15)])
def test_head_angles_come_back(angles):
    row = labels.head_row(face(FACING @ facing_rotation(*angles)), VIEW)
    assert (row["head_yaw_deg"], row["head_pitch_deg"], row["head_roll_deg"]) == pytest.approx(angles)


@pytest.mark.parametrize(
    ("yaw", "pitch", "name"),
    [(0, 0, "level_centre"), (40, 0, "level_right"), (-40, 20, "up_left"), (0, -20, "down_centre")],
)
def test_pose_bins_are_named_from_the_drivers_side(yaw, pitch, name):
    assert labels.pose_bin({"head_yaw_deg": yaw, "head_pitch_deg": pitch}) == name


def test_openness_is_measured_against_the_persons_own_eyes():
    normal = labels.lid_openings_mm(face(opening_mm=8.0))
    for opening_mm, share, closed in ((8.0, 1.0, False), (4.0, 0.5, False), (1.0, 0.125, True)):
        row = labels.lids_row(face(opening_mm=opening_mm), normal, jaw_open=0.0)
        assert row["eye_openness_left_frac"] == pytest.approx(share)
        assert row["eyes_closed"] is closed


@cache
def body_of(seed):
    return Body(replace(person_of(seed), seed=0))  # one seed, one cut of clothes: the slow part of a body


def posed_face(seed, closure, elevation_deg=0.0, head=None):
    head = np.eye(3) if head is None else head
    body = body_of(seed)
    posture = Posture(head, eye_elevation_deg=(elevation_deg,) * 2, lid_closure=(closure,) * 2)
    rotation = head @ face_rotation(body.rest_mm)
    return replace(face(), rotation=rotation, lid_margins_mm=body.pose(posture).lid_margins_mm)


def openness(seed, closure, elevation_deg=0.0, head=None):
    normal_mm = labels.lid_openings_mm(posed_face(seed, 0.0))
    row = labels.lids_row(posed_face(seed, closure, elevation_deg, head), normal_mm, jaw_open=0.0)
    return row["eye_openness_left_frac"], row["eye_openness_right_frac"], row["eyes_closed"]


@pytest.mark.parametrize("seed", range(20))
def test_openness_of_real_lids_falls_from_one_to_nothing_as_they_close(seed):
    wide, half, shut = (openness(seed, closure) for closure in (0.0, 0.5, 1.0))
    assert wide == (1.0, 1.0, False)
    assert 0.35 < min(half[:2]) <= max(half[:2]) < 0.65
    assert max(shut[:2]) < 0.05
    assert shut[2]
    assert (labels.lid_openings_mm(posed_face(seed, 1.0)) < labels.SHUT_MM).all()


@pytest.mark.parametrize("elevation_deg", [-30.0, 15.0])
def test_closed_lids_are_closed_wherever_eyes_and_head_turn(elevation_deg):
    head = rotation_y(40) @ rotation_x(-20) @ rotation_z(8)
    for seed in range(4):
        left, right, closed = openness(seed, 1.0, elevation_deg, head)
        assert max(left, right) < 0.05
        assert closed
        assert not openness(seed, 0.0, elevation_deg, head)[2]
        assert openness(seed, 0.0, 0.0, head)[:2] == pytest.approx((1, 1), abs=1e-3)


@pytest.mark.parametrize("seed", range(10))
def test_the_canonical_face_turns_with_the_head_it_is_fitted_to(seed):
    rest_mm = body_of(seed).rest_mm
    fitted = face_rotation(rest_mm)
    assert fitted @ fitted.T == pytest.approx(np.eye(3), abs=1e-9)
    assert np.linalg.det(fitted) == pytest.approx(1)
    assert (np.trace(fitted) - 1) / 2 > np.cos(np.radians(10))
    turn = rotation_y(30) @ rotation_x(-12) @ rotation_z(5)
    assert face_rotation(rest_mm @ turn.T) == pytest.approx(turn @ fitted, abs=1e-5)


def test_an_eye_that_the_label_image_shows_is_visible_and_one_behind_a_hand_is_not():
    shown = face()
    parts = everything(Part.LEFT_EYE)
    parts[:, :640] = Part.HAND  # the driver's right side is on the left of the picture
    row = labels.eyes_row(shown, eyes_of(shown), VIEW, parts)
    assert row["left_eye_visible_frac"] == 1.0
    assert row["right_eye_visible_frac"] == 0.0


def test_a_closed_eye_has_no_visible_share():
    shut = face(opening_mm=0.2)
    assert labels.eyes_row(shut, eyes_of(shut), VIEW, everything(Part.SKIN))["left_eye_visible_frac"] is None


def test_the_iris_lies_within_the_box_of_its_eye():
    shown = face()
    row = labels.eyes_row(shown, eyes_of(shown), VIEW, everything(Part.SKIN)) | labels.boxes_row(shown, VIEW)
    for side in ("left", "right"):
        assert row[f"{side}_eye_x0_px"] < row[f"{side}_iris_x_px"] < row[f"{side}_eye_x1_px"]
        assert row[f"{side}_eye_y0_px"] < row[f"{side}_iris_y_px"] < row[f"{side}_eye_y1_px"]


def test_a_face_behind_a_mask_is_not_visible_and_one_turned_away_has_no_share():
    assert labels.face_visible_share(face(), VIEW, everything(Part.SKIN)) == 1.0
    assert labels.face_visible_share(face(), VIEW, everything(Part.COVER)) == 0.0
    away = face(np.diag([-1.0, 1.0, -1.0]))
    assert labels.face_visible_share(away, VIEW, everything(Part.SKIN)) is None


def test_what_is_outside_the_picture_is_not_visible():
    aside = PlacedCamera(VIEW.camera, FACING, VIEW.position_mm + np.array([900.0, 0, 0]))
    assert labels.face_visible_share(face(), aside, everything(Part.SKIN)) == 0.0
