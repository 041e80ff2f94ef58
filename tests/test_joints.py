"""Where one stage meets the next: from a posed face through gaze and policy to the alert."""

import numpy as np
import pytest
from test_gaze import BLANK, estimator, looking

from benchmarks import glances, scenarios
from dashgaze.device.attention import AttentionPolicy
from dashgaze.device.records import AlertKind, Frame, Level
from dashgaze.device.watch import sight_of
from dashgaze.geometry import rays_from_angles
from dashgaze.zones import ROAD_ZONES, Zone, ZoneMap


def alerts(pose_deg, seconds=6.0, fps=10, mount_error_deg=3.0):
    """Alerts of a driver who holds this head pose."""
    stage, policy = estimator(), AttentionPolicy()
    face, _ = looking(pose_deg)
    heard = []
    for i in range(int(seconds * fps)):
        frame = Frame(i, i / fps, BLANK, speed_mps=20.0)
        gaze = stage.estimate(frame, face)
        heard += policy.update(sight_of(frame, gaze, mount_error_deg)).changes
    return [alert for alert in heard if alert.level > Level.NONE]


@pytest.mark.parametrize("yaw", [-80, -70, -60])  # to the other side the road's zones reach far, and the doubt farther
@pytest.mark.parametrize("mount_error_deg", [3.0, 8.0])
def test_a_head_turned_far_away_is_a_distraction_though_its_eyes_are_hidden(yaw, mount_error_deg):
    first = alerts((yaw, 0, 0), mount_error_deg=mount_error_deg)[0:2]
    assert AlertKind.LONG_DISTRACTION in [alert.kind for alert in first]
    assert first[-1].t_s == pytest.approx(3.0, abs=0.2)


def test_a_driver_who_looks_ahead_hears_nothing():
    assert alerts((0, 0, 0), seconds=60) == []


def test_a_phone_in_the_lap_is_a_distraction():
    kinds = {alert.kind for alert in alerts((0, -45, 0))}
    assert AlertKind.LONG_DISTRACTION in kinds


def test_a_gaze_that_misses_the_road_says_by_how_much():
    zones = ZoneMap.for_vehicle("left")
    assert zones.locate(np.zeros(3), rays_from_angles(0, 0)) == (Zone.ROAD_AHEAD, 0)
    assert zones.locate(np.zeros(3), rays_from_angles(-75, 0))[1] == pytest.approx(40, abs=3)
    assert zones.locate(np.zeros(3), rays_from_angles(180, 0)) == (Zone.OTHER, 180)


def test_simulated_places_lie_in_their_zones():
    """Scenarios and attentive driving look where the zone map has what they name."""
    zones = ZoneMap.for_vehicle("left")
    places = {**scenarios.PLACES, **glances.PLACES}
    assert set(places) >= ROAD_ZONES | {Zone.MIRROR_REAR, Zone.MIRROR_LEFT, Zone.MIRROR_RIGHT, Zone.CLUSTER}
    for zone, (azimuth, elevation) in places.items():
        assert zones.zone_of(np.zeros(3), rays_from_angles(azimuth, elevation)) is zone, zone
