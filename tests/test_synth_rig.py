"""A rig shows driver and road, at a distance at which eyes can be read, and its poses agree with each other."""

import numpy as np
import pytest

from dashgaze.geometry import angle_between_deg, facing_angles_deg
from dashgaze.training.synth.records import Mount
from dashgaze.training.synth.rig import PLACES_MM, SIZE_PX, Rig, plan_rig, render_camera
from dashgaze.zones import HandOfDrive

MOUNTS: tuple[Mount, ...] = ("mirror", "windscreen", "corner")
EYES_MM = np.array([[x + side * 15.0, 0, 0] for x in (-31.5, 31.5) for side in (-1, 1)])
HEAD_MM = np.array([[-80.0, -110, 0], [80, -110, 0], [-60, 110, 10], [60, 110, 10], [0, 0, -90]])


@pytest.fixture(scope="module")
def rigs() -> dict[Mount, list[Rig]]:
    hands: tuple[HandOfDrive, HandOfDrive] = ("left", "right")
    return {m: [plan_rig(np.random.default_rng(seed), hands[seed % 2], m) for seed in range(60)] for m in MOUNTS}


def every(rigs: dict[Mount, list[Rig]]) -> list[Rig]:
    return [rig for mount in MOUNTS for rig in rigs[mount]]


def test_eyes_are_forty_pixels_wide_at_the_median(rigs: dict[Mount, list[Rig]]) -> None:
    widths = []
    for rig in every(rigs):
        a, b, c, d = rig.driver.project(EYES_MM)
        widths.append(max(np.linalg.norm(a - b), np.linalg.norm(c - d)))
    assert np.median(widths) >= 40
    assert 500 < np.median([np.linalg.norm(r.driver.position_mm) for r in every(rigs)]) < 800


def test_the_head_is_in_the_picture_also_when_it_moves(rigs: dict[Mount, list[Rig]]) -> None:
    shifts = np.random.default_rng(0).normal(0, (15, 8, 15), (20, 3))
    inside = []
    for rig in every(rigs):
        pixels = rig.driver.project(HEAD_MM + shifts[:, None])
        inside.append(((pixels > 0) & (pixels < SIZE_PX)).all(axis=(1, 2)).mean())
    assert np.mean(inside) > 0.98


@pytest.mark.parametrize("mount", MOUNTS)
def test_mounts_are_varied_and_aimed_by_hand(rigs: dict[Mount, list[Rig]], mount: Mount) -> None:
    sides = [1.0 if number % 2 == 0 else -1.0 for number in range(len(rigs[mount]))]
    yaw = [s * facing_angles_deg(rig.driver.rotation)[0] for s, rig in zip(sides, rigs[mount], strict=True)]
    assert np.std(yaw) > 6
    places = np.array([rig.driver.position_mm * (s, 1, 1) for s, rig in zip(sides, rigs[mount], strict=True)])
    np.testing.assert_allclose(places.mean(axis=0), PLACES_MM[mount], atol=25)
    assert (places.std(axis=0) > 6).all()
    columns = [rig.driver.project(np.zeros(3))[0] for rig in rigs[mount]]
    assert np.std(columns) > 100  # the face is not always in the middle


def test_most_devices_are_phones_with_mild_lenses(rigs: dict[Mount, list[Rig]]) -> None:
    everything = every(rigs)
    dashcams = [rig for rig in everything if rig.device == "dashcam"]
    assert 0.08 < len(dashcams) / len(everything) < 0.3
    for rig in everything:
        k1 = rig.driver.camera.distortion[0] if len(rig.driver.camera.distortion) else 0.0
        assert -0.3 <= k1 <= -0.15 if rig.device == "dashcam" else abs(k1) <= 0.05


def test_the_road_straight_ahead_is_in_the_road_picture(rigs: dict[Mount, list[Rig]]) -> None:
    for rig in every(rigs):
        ahead = rig.road.project(rig.road.position_mm + np.array([0, 0, 1e6]))
        assert (ahead > 100).all()
        assert (ahead < np.array(SIZE_PX) - 100).all()
        assert angle_between_deg(rig.road.rotation[:, 2], [0, 0, 1]) < 35
        assert np.linalg.norm(rig.road.position_mm - rig.driver.position_mm) < 100


def test_driver_to_road_agrees_with_both_poses(rigs: dict[Mount, list[Rig]]) -> None:
    points = np.random.default_rng(1).normal(0, 1000, (10, 3))
    for rig in every(rigs):
        rotation, t_mm = rig.driver_to_road
        np.testing.assert_allclose(
            rig.driver.to_camera(points) @ rotation.T + t_mm, rig.road.to_camera(points), atol=1e-6
        )
        assert np.linalg.det(rotation) == pytest.approx(1)


def test_a_phone_has_its_cameras_back_to_back(rigs: dict[Mount, list[Rig]]) -> None:
    for rig in every(rigs):
        if rig.device == "phone":
            assert angle_between_deg(rig.driver.rotation[:, 2], -rig.road.rotation[:, 2]) < 4


def test_lenses_have_an_inverse_all_over_the_picture(rigs: dict[Mount, list[Rig]]) -> None:
    x, y = np.meshgrid(np.linspace(0, 1279, 9), np.linspace(0, 719, 7))
    pixels = np.stack([x, y], axis=-1)
    for rig in every(rigs)[::4]:
        for camera in (rig.driver.camera, rig.road.camera):
            np.testing.assert_allclose(camera.project(camera.rays(pixels)), pixels, atol=0.02)


def test_the_pinhole_covers_the_distorted_picture(rigs: dict[Mount, list[Rig]]) -> None:
    x, y = np.meshgrid(np.linspace(0, 1279, 17), np.linspace(0, 719, 11))
    for rig in every(rigs)[::3]:
        camera = rig.driver.camera
        pinhole = render_camera(camera)
        assert not len(pinhole.distortion)
        assert pinhole.size_px[0] <= 1610
        pixels = pinhole.project(camera.rays(np.stack([x, y], axis=-1)))
        assert (pixels >= -0.5).all()
        assert (pixels <= np.array(pinhole.size_px) - 0.5).all()


def test_a_rig_depends_on_its_seed_alone() -> None:
    a, b, c = (plan_rig(np.random.default_rng(seed), "left", "mirror") for seed in (5, 5, 6))
    np.testing.assert_array_equal(a.driver.rotation, b.driver.rotation)
    np.testing.assert_array_equal(a.road.position_mm, b.road.position_mm)
    assert np.abs(a.driver.position_mm - c.driver.position_mm).max() > 0.1
