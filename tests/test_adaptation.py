"""Road-centre self-calibration finds a turned camera, and nothing pulls it away."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dashgaze.device.adaptation import AdaptationSettings, RoadCentre
from dashgaze.device.records import Frame, Gaze
from dashgaze.geometry import FACING, angles_from_rays, rays_from_angles
from dashgaze.tables import Status

BLANK = np.zeros((2, 2, 3), np.uint8)


def drive(learner, azimuth, elevation, seconds=90.0, fps=10, speed=20.0, status=Status.OK, share_away=0.25, seed=0):
    """Calibrations from a drive whose road centre lies at these angles of the configured mount."""
    rng = np.random.default_rng(seed)
    found = []
    for i in range(int(seconds * fps)):
        away = rng.random() < share_away
        centre = (azimuth + 30, elevation - 25) if away else (azimuth, elevation)
        ray = FACING @ rays_from_angles(*(np.array(centre) + rng.normal(0, 4, 2)))
        frame = Frame(i, i / fps, BLANK, speed_mps=speed)
        found.append(learner.observe(frame, Gaze(status, ray=ray)))
    return [calibration for calibration in found if calibration is not None]


@settings(max_examples=20, deadline=None)
@given(st.floats(-20, 20), st.floats(-15, 15))
def test_the_mode_of_gaze_becomes_straight_ahead(azimuth, elevation):
    last = drive(RoadCentre(AdaptationSettings(), FACING), azimuth, elevation)[-1]
    ahead = last.car_from_camera @ FACING @ rays_from_angles(azimuth, elevation)
    assert np.hypot(*angles_from_rays(ahead)) < 3


def test_it_is_ready_after_a_minute_of_driving_and_not_before():
    learner = RoadCentre(AdaptationSettings(), FACING)
    assert drive(learner, 5, 5, seconds=59) == []
    assert drive(RoadCentre(AdaptationSettings(), FACING), 5, 5, seconds=62)[0].seconds == pytest.approx(60, abs=0.3)


def test_many_glances_to_the_console_do_not_pull_it():
    last = drive(RoadCentre(AdaptationSettings(), FACING), 0, 0, share_away=0.4)[-1]
    assert abs(last.azimuth_deg) <= 2
    assert abs(last.elevation_deg) <= 2


def test_the_correction_is_clamped():
    last = drive(RoadCentre(AdaptationSettings(clamp_deg=10), FACING), 25, 0)[-1]
    assert last.azimuth_deg == 10


@pytest.mark.parametrize("change", [{"speed": 5.0}, {"status": Status.LOW_QUALITY}, {"status": Status.EYES_CLOSED}])
def test_standing_still_and_poor_gaze_teach_nothing(change):
    assert drive(RoadCentre(AdaptationSettings(), FACING), 10, 0, seconds=120, **change) == []


def test_an_unknown_speed_counts_as_driving():
    assert drive(RoadCentre(AdaptationSettings(), FACING), 10, 0, speed=None)


def test_a_parked_driver_with_a_phone_does_not_turn_the_car_over():
    last = drive(RoadCentre(AdaptationSettings(), FACING), 0, -28, speed=None)[-1]
    assert last.elevation_deg == -12


def test_half_the_frame_rate_finds_the_same():
    fast, slow = (drive(RoadCentre(AdaptationSettings(), FACING), 8, -6, fps=f)[-1] for f in (20, 10))
    assert abs(fast.azimuth_deg - slow.azimuth_deg) <= 1
    assert abs(fast.elevation_deg - slow.elevation_deg) <= 1


def test_a_camera_that_moves_is_followed():
    learner = RoadCentre(AdaptationSettings(memory_s=60), FACING)
    drive(learner, -15, 0, seconds=90)
    rng = np.random.default_rng(1)
    found = None
    for i in range(3000):
        ray = FACING @ rays_from_angles(*(np.array([12.0, 0.0]) + rng.normal(0, 4, 2)))
        found = learner.observe(Frame(i, 90 + i / 10, BLANK, speed_mps=20.0), Gaze(Status.OK, ray=ray)) or found
    assert found is not None
    assert found.azimuth_deg == pytest.approx(12, abs=3)
