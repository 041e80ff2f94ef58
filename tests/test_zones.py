"""Zones: one geometry, mirrored for the other hand of drive, and positions count."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashgaze.errors import InputError
from dashgaze.geometry import rays_from_angles
from dashgaze.zones import Area, Zone, ZoneMap, addw_area

LEFT, RIGHT = ZoneMap.for_vehicle("left"), ZoneMap.for_vehicle("right")
EYES = np.zeros(3)
SWAPPED = {
    Zone.ROAD_LEFT: Zone.ROAD_RIGHT,
    Zone.ROAD_RIGHT: Zone.ROAD_LEFT,
    Zone.MIRROR_LEFT: Zone.MIRROR_RIGHT,
    Zone.MIRROR_RIGHT: Zone.MIRROR_LEFT,
}


@pytest.mark.parametrize(
    ("azimuth", "elevation", "zone"),
    [
        (0, 0, Zone.ROAD_AHEAD),
        (-25, 0, Zone.ROAD_LEFT),
        (25, -3, Zone.ROAD_RIGHT),
        (36, 9, Zone.MIRROR_REAR),
        (-38, -10, Zone.MIRROR_LEFT),
        (59, -7, Zone.MIRROR_RIGHT),
        (0, -21, Zone.CLUSTER),
        (30, -26, Zone.CONSOLE),
        (5, -55, Zone.PHONE_LAP),
        (75, -10, Zone.PASSENGER),
        (-80, 0, Zone.OTHER),
        (0, 45, Zone.OTHER),
        (180, 0, Zone.OTHER),
    ],
)
def test_a_left_hand_driver_finds_things_where_they_are(azimuth, elevation, zone):
    assert LEFT.zone_of(EYES, rays_from_angles(azimuth, elevation)) is zone


@given(st.floats(-180, 180), st.floats(-90, 90))
def test_the_other_hand_of_drive_is_the_mirror_image(azimuth, elevation):
    left = LEFT.zone_of(EYES, rays_from_angles(azimuth, elevation))
    right = RIGHT.zone_of(EYES, rays_from_angles(-azimuth, elevation))
    assert right is SWAPPED.get(left, left)


def test_a_driver_who_leans_sees_the_mirror_elsewhere_and_the_road_where_it_was():
    lean = np.array([0, 0, 250.0])
    mirror = np.array([370, -90, 520.0]) - lean
    assert LEFT.zone_of(lean, mirror / np.linalg.norm(mirror)) is Zone.MIRROR_REAR
    assert LEFT.zone_of(lean, rays_from_angles(0, 0)) is Zone.ROAD_AHEAD


def test_many_rays_at_once_are_the_same_as_one_by_one():
    rng = np.random.default_rng(0)
    rays = rays_from_angles(rng.uniform(-120, 120, 500), rng.uniform(-70, 40, 500))
    origins = rng.normal(0, 40, (500, 3))
    together = LEFT.zones_of(origins, rays)
    assert [LEFT.zone_of(o, r) for o, r in zip(origins, rays, strict=True)] == list(together)


def test_a_ray_that_narrowly_misses_belongs_to_the_nearest_zone():
    wide = ZoneMap.for_vehicle("left", margin_deg=4.0)
    none = ZoneMap.for_vehicle("left", margin_deg=0.0)
    above = rays_from_angles(0, 14)
    assert wide.zone_of(EYES, above) is Zone.ROAD_AHEAD
    assert none.zone_of(EYES, above) is Zone.OTHER


def test_outlines_hold_the_zones_middle():
    for zone, corners in LEFT.outlines_deg().items():
        azimuth, elevation = corners.mean(axis=0)
        found = LEFT.zone_of(EYES, rays_from_angles(azimuth, elevation))
        assert found is zone or LEFT.zones.index(found) < LEFT.zones.index(zone)


def test_area_3_is_more_than_30_degrees_down():
    assert addw_area(Zone.PHONE_LAP, -31) is Area.DOWN
    assert addw_area(Zone.CLUSTER, -29) is Area.OTHER
    assert addw_area(Zone.ROAD_LEFT, 2) is Area.ROAD


@pytest.mark.parametrize(
    ("overrides", "named"),
    [
        ({"glovebox": {}}, "zones.glovebox"),
        ({"cluster": {"center_mm": [0, 0, 1]}}, "zones.cluster.center_mm"),
        ({"cluster": {"centre_mm": [0, 0]}}, "zones.cluster.centre_mm"),
        ({"cluster": {"centre_mm": [0, 0, float("nan")]}}, "zones.cluster.centre_mm"),
        ({"cluster": {"size_mm": [0, 10]}}, "zones.cluster.size_mm"),
        ({"cluster": {"centre_mm": [0, 500, 0]}}, "zones.cluster.centre_mm"),
    ],
)
def test_a_wrong_override_is_named(overrides, named):
    with pytest.raises(InputError, match=named):
        ZoneMap.for_vehicle("left", overrides)


def test_an_override_moves_one_zone_alone():
    moved = ZoneMap.for_vehicle("right", {"cluster": {"centre_mm": [-370, 280, 720]}})
    assert moved.zone_of(EYES, rays_from_angles(-27, -19)) is Zone.CLUSTER
    assert moved.zone_of(EYES, rays_from_angles(0, 0)) is Zone.ROAD_AHEAD
