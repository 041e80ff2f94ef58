"""A rendered drive is a session whose pictures and labels agree with each other and with geometry."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from dashgaze.geometry import FACING, Camera, angle_between_deg, facing_rotation, rays_from_angles
from dashgaze.session import ROLES
from dashgaze.training.synth.drives import SetPlan
from dashgaze.training.synth.film import Film
from dashgaze.training.synth.records import Part
from dashgaze.training.synth.road.course import EgoMotion
from dashgaze.training.synth.stills import REGIONS_MM, StillsPlan


def vectors(table, prefix, suffix=""):
    return np.stack([table[f"{prefix}_{axis}{suffix}"] for axis in "xyz"], axis=-1)


def camera_of(session, name):
    camera = getattr(session.header.cameras, name)
    return Camera.from_parameters(camera.size_px, camera.K, camera.distortion)


def test_there_is_a_picture_of_both_cameras_for_each_row(rendered):
    frames = rendered.table("frames")
    assert frames["t_s"].tolist() == [0.0, 1.0, 2.0]
    for stream in ("driver", "road"):
        video = cv2.VideoCapture(str(rendered.video(stream)))
        pictures = [video.read()[1] for _ in frames["t_s"]]
        assert [picture.shape for picture in pictures] == [(720, 1280, 3)] * 3
        assert not video.read()[0]
        assert all(picture.std() > 10 for picture in pictures)


def test_ray_angles_and_head_pose_say_the_same(rendered):
    frames = rendered.table("frames")
    for row in range(3):
        head = facing_rotation(*(frames[f"head_{name}_deg"][row] for name in ("yaw", "pitch", "roll")))
        ray = head @ rays_from_angles(frames["azimuth_deg"][row], frames["elevation_deg"][row])
        assert angle_between_deg(ray, vectors(frames, "ray")[row]) < 1e-3


def test_both_eyes_rays_meet_where_the_gaze_ray_goes(rendered):
    frames, labels = rendered.table("frames"), rendered.table("labels")
    left, right = (vectors(labels, f"{side}_eyeball", "_mm") for side in ("left", "right"))
    assert (left + right) / 2 == pytest.approx(vectors(frames, "eye_mid", "_mm"), abs=1e-6)
    for row in range(3):
        rays = [vectors(labels, f"{side}_eye_ray")[row] for side in ("left", "right")]
        origins = np.stack([left[row], right[row]])
        # The point nearest to both lines is where the gaze ray from between the eyes goes.
        along = np.linalg.lstsq(np.stack([rays[0], -rays[1]], axis=1), origins[1] - origins[0], rcond=None)[0]
        meeting = origins[0] + along[0] * rays[0]
        assert angle_between_deg(meeting - origins.mean(axis=0), vectors(frames, "ray")[row]) < 1e-3


def test_the_location_on_the_road_view_lies_on_the_gaze_ray(rendered):
    frames, road = rendered.table("frames"), camera_of(rendered, "road")
    rig = rendered.header.rig.driver_to_road
    for row in np.flatnonzero(frames["location_status"] == "ok"):
        seen = road.rays(np.array([frames["road_x_px"][row], frames["road_y_px"][row]]))
        eye = np.array(rig.R) @ vectors(frames, "eye_mid", "_mm")[row] + rig.t_mm
        ray = np.array(rig.R) @ vectors(frames, "ray")[row]
        assert abs(np.linalg.det(np.stack([seen, ray, eye / np.linalg.norm(eye)]))) < 1e-5  # all in one plane


def test_the_label_image_shows_each_visible_eye_at_its_iris(rendered):
    labels = rendered.table("labels")
    for row, name in enumerate(labels["mask"]):
        parts = cv2.imread(str(rendered.path / name), cv2.IMREAD_UNCHANGED)
        assert parts.shape == (720, 1280)
        assert {Part.SKIN, Part.CLOTHES} <= set(np.unique(parts)) <= set(Part)
        for side, part in (("left", Part.LEFT_EYE), ("right", Part.RIGHT_EYE)):
            if labels[f"{side}_eye_visible_frac"][row] > 0.9:
                x, y = (round(labels[f"{side}_iris_{axis}_px"][row]) for axis in "xy")
                assert parts[y, x] == part


def test_boxes_hold_what_they_name(rendered):
    frames = rendered.table("frames")
    for name in ("left_eye", "right_eye", "nose", "mouth_left", "mouth_right"):
        x, y = frames[f"landmark_{name}_x_px"], frames[f"landmark_{name}_y_px"]
        assert ((frames["face_x0_px"] < x) & (x < frames["face_x1_px"])).all()
        assert ((frames["face_y0_px"] < y) & (y < frames["face_y1_px"])).all()
    assert (frames["landmark_right_eye_x_px"] < frames["landmark_left_eye_x_px"]).all()


def test_gravity_is_one_g(rendered):
    assert np.linalg.norm(vectors(rendered.table("imu"), "accel", "_g"), axis=1) == pytest.approx(1, abs=0.2)


@pytest.mark.parametrize("kind", ["pairs", "triplets"])
def test_stills_of_a_group_differ_where_they_should(opengl, tmp_path, kind):
    from dashgaze.session import read_session

    StillsPlan(sessions=1, seed=6, kind=kind, people=1, each=2).write(0, tmp_path / "s", lambda: None)
    session = read_session(tmp_path / "s")
    stills = session.table("stills")
    pictures = [cv2.imread(str(session.path / name)).astype(int) for name in stills["image"]]
    assert set(stills["role"]) <= set(ROLES)
    step = 2 if kind == "pairs" else 3
    for first in range(0, len(pictures), step):
        assert len(set(stills["feature"][first : first + step])) == 1
        changed = np.abs(pictures[first] - pictures[first + step - 1]).max(axis=2)
        assert changed.max() > 10
        if kind == "triplets":
            assert stills["feature"][first] in REGIONS_MM
            mask = cv2.imread(str(session.path / stills["mask"][first + 2]), cv2.IMREAD_GRAYSCALE)
            assert changed[mask == 0].max() <= 1  # outside the mask it is the probe


def test_what_is_looked_at_is_among_the_objects_of_its_frame(rendered):
    labels, objects = rendered.table("labels"), rendered.table("objects")
    for row, looked_at in enumerate(labels["target_object_id"]):
        if looked_at is not np.ma.masked:
            assert looked_at in objects["object_id"][objects["road_frame"] == labels["driver_frame"][row]]


def test_an_upright_device_at_rest_feels_gravity_upward_and_a_turn_about_its_vertical():
    film = Film(SetPlan(sessions=1, seed=2, duration_s=4.0, light="day").drive(0))
    upright = replace(film.rig.driver, rotation=FACING)
    film.rig = replace(film.rig, driver=upright)
    film._course = lambda t_s: (10.0 * t_s, 15.0 * t_s)  # 10 deg/s to the right
    film.road.ego = EgoMotion.of_speed(np.array([0.0, 10.0]), np.array([15.0, 15.0]))
    motion = film._motion(2.0)
    assert motion["accel_y_g"] == pytest.approx(-1)
    assert motion["gyro_y_dps"] == pytest.approx(10)
    # The camera looks back: the car's right, where a right turn pulls it to, is its left.
    assert motion["accel_x_g"] == pytest.approx(-15 * np.radians(10) / 9.80665, abs=1e-3)
