"""Gaze on the road view: the rigid pair, parallax, what lies outside."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashgaze.device.records import Gaze
from dashgaze.device.road import RoadSettings, RoadView
from dashgaze.geometry import FACING, Camera, rays_from_angles
from dashgaze.tables import Status

CAMERA = Camera.from_fov((1920, 1080), 75)
VIEW = RoadView(RoadSettings(), CAMERA)
FAR = RoadView(RoadSettings(target_distance_m=1e6), CAMERA)


def looking(azimuth_deg, elevation_deg, eyes_mm=(0.0, 0.0, 600.0)):
    """A gaze at a direction of the road camera's axes, azimuth positive to the right of its picture."""
    ray = FACING @ rays_from_angles(azimuth_deg, elevation_deg)
    return Gaze(Status.OK, ray=ray, eye_mid_mm=np.array(eyes_mm), error_deg=5.0)


def test_a_driver_who_looks_along_the_road_camera_looks_at_its_middle():
    placed = FAR.place(looking(0, 0))
    assert placed.road_px == pytest.approx((959.5, 539.5), abs=0.1)
    assert placed.location_status is Status.OK


@given(st.floats(-30, 30), st.floats(-15, 15))
def test_the_location_is_where_the_ray_pierces_the_road_view(azimuth, elevation):
    placed = FAR.place(looking(azimuth, elevation))
    assert placed.road_px == pytest.approx(CAMERA.project(rays_from_angles(azimuth, elevation)).tolist(), abs=0.1)


def test_parallax_fades_with_distance():
    eyes = (300.0, 100.0, 600.0)
    shift = [
        abs(RoadView(RoadSettings(target_distance_m=d), CAMERA).place(looking(0, 0, eyes)).road_px[0] - 959.5)
        for d in (5, 30, 1000)
    ]
    assert shift[0] > 5 * shift[1] > 50 * shift[2] / 2
    # 0.3 m to the side at 30 m is 0.57 deg.
    assert shift[1] == pytest.approx(CAMERA.matrix[0, 0] * 0.3 / 29.4, rel=0.02)


def test_the_error_in_pixels_follows_from_the_angle():
    assert VIEW.place(looking(0, 0)).road_error_px == pytest.approx(CAMERA.matrix[0, 0] * np.tan(np.radians(5)))


def test_a_turned_road_camera_moves_the_location():
    turned = RoadView(RoadSettings(yaw_deg=10, target_distance_m=1e6), CAMERA)
    assert turned.place(looking(10, 0)).road_px == pytest.approx((959.5, 539.5), abs=0.1)


@pytest.mark.parametrize("azimuth", [60, -60, 120, 180])
def test_what_the_road_camera_does_not_see_is_off_view_and_has_no_place(azimuth):
    placed = VIEW.place(looking(azimuth, 0))
    assert placed.location_status is Status.OFF_VIEW
    assert placed.road_px is None


def test_a_gaze_that_is_not_known_has_no_location():
    placed = VIEW.place(Gaze(Status.EYES_CLOSED))
    assert (placed.location_status, placed.road_px) == (Status.EYES_CLOSED, None)


def test_a_residual_turns_the_direction_in_the_road_camera_and_replaces_the_parallax():
    told = replace(looking(10, 0), road_residual_deg=(5.0, -2.0))
    straight = RoadView(RoadSettings(), CAMERA).place(told).road_px
    assert straight == pytest.approx(tuple(CAMERA.project(rays_from_angles(15, -2))), abs=1e-6)


def test_a_pair_that_was_measured_leaves_no_residual():
    measured = RoadView(RoadSettings(yaw_deg=10), CAMERA)
    told = replace(looking(10, 0), road_residual_deg=(5.0, -2.0))
    assert measured.place(told).road_px == measured.place(looking(10, 0)).road_px
