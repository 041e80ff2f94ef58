"""A camera's picture: points stay where the lens puts them, noise grows with the light, the exposure settles."""

import dataclasses

import numpy as np
import pytest
from numpy.typing import NDArray

from dashgaze.geometry import Camera
from dashgaze.training.synth.rig import render_camera
from dashgaze.training.synth.sensor import Exposure, Sensor, develop_parts, lens_maps, plan_sensor, tone_curves

SIZE = (1280, 720)
PHONE = Camera.from_parameters(SIZE, [[1100, 0, 643], [0, 1100, 355], [0, 0, 1]], (0.04, 0.001))
DASHCAM = Camera.from_parameters(SIZE, [[760, 0, 636], [0, 760, 362], [0, 0, 1]], (-0.28, 0.055))
STEADY = Exposure(1.0, 0.0)


def sensor(seed: int = 0, **changes: object) -> Sensor:
    return dataclasses.replace(plan_sensor(np.random.default_rng(seed), "phone", "day"), **changes)  # type: ignore[arg-type]


def plain(**changes: object) -> Sensor:
    """A sensor that only codes light: linear in, sRGB out."""
    return sensor(
        flare=0.0, bloom=0.0, local_contrast=0.0, vignette=0.0, led_falloff=0.0, defocus_px=0.0, shake_px=0.0,
        sharpening=0.0, saturation=1.0, denoise=1.0, curves=tone_curves((1.0, 1.0, 1.0), 0.0, 0.0), **changes,
    )  # fmt: skip


def flat(camera: Camera, level: float) -> NDArray[np.float32]:
    width, height = camera.size_px
    return np.full((height, width, 3), level, np.float32)


def linear(picture: NDArray[np.uint8]) -> NDArray[np.float64]:
    encoded = picture / 255.0
    return np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)


@pytest.mark.parametrize("camera", [PHONE, DASHCAM], ids=["phone", "dashcam"])
def test_a_bright_dot_is_where_the_lens_puts_it(camera: Camera) -> None:
    pinhole = render_camera(camera)
    whole = sensor(1, bloom=0.0, defocus_px=0.7, shake_px=1.0)
    x, y = np.meshgrid(np.arange(pinhole.size_px[0]), np.arange(pinhole.size_px[1]))
    rays = np.array([[0.0, 0, 1], [0.25, 0.15, 1], [-0.35, 0.2, 1], [0.45, -0.25, 1], [-0.5, -0.2, 1]])
    for seed, ray in enumerate(rays):
        wanted = camera.project(ray)
        if not ((wanted > 10) & (wanted < np.array(SIZE) - 11)).all():
            continue
        centre = pinhole.project(ray)
        dot = np.exp(-((x - centre[0]) ** 2 + (y - centre[1]) ** 2) / 4.5)[..., None].repeat(3, axis=2)
        picture = whole.develop((0.9 * dot).astype(np.float32), pinhole, camera, STEADY, np.random.default_rng(seed))
        left, top = np.round(wanted).astype(int) - 7
        weight = np.clip(linear(picture[top : top + 15, left : left + 15]).mean(axis=2) - 0.03, 0, None)
        rows, columns = np.mgrid[:15, :15]
        found = np.array([(weight * columns).sum(), (weight * rows).sum()]) / weight.sum() + [left, top]
        assert np.linalg.norm(found - wanted) < 0.3


@pytest.mark.parametrize("camera", [PHONE, DASHCAM], ids=["phone", "dashcam"])
def test_maps_through_the_lens_are_exact(camera: Camera) -> None:
    pinhole = render_camera(camera)
    x, y = lens_maps(pinhole, camera)
    at = np.random.default_rng(0).integers(0, np.array(SIZE), (300, 2))
    wanted = pinhole.project(camera.rays(at.astype(float)))
    np.testing.assert_allclose(np.stack([x, y], axis=-1)[at[:, 1], at[:, 0]], wanted, atol=0.02)


def test_labels_go_the_same_way_as_light() -> None:
    pinhole = render_camera(DASHCAM)
    width, height = pinhole.size_px
    parts = np.zeros((height, width), np.uint8)
    parts[200:420, 300:800] = 2
    light = np.repeat((parts > 0)[..., None], 3, axis=2).astype(np.float32) * 0.5
    picture = plain(full_well=1e9).develop(light, pinhole, DASHCAM, STEADY, np.random.default_rng(0))
    labels = develop_parts(parts, pinhole, DASHCAM)
    assert labels.shape == (720, 1280)
    assert set(np.unique(labels)) == {0, 2}
    assert ((picture[..., 1] > 90) != (labels > 0)).mean() < 0.002


def test_without_distortion_nothing_is_bent() -> None:
    camera = Camera.from_fov(SIZE, 60)
    assert render_camera(camera) is camera
    parts = np.eye(720, 1280, dtype=np.uint8)
    np.testing.assert_array_equal(develop_parts(parts, camera, camera), parts)


def test_noise_grows_with_the_light_and_with_gain() -> None:
    camera = Camera.from_fov((320, 240), 60)

    def variance(level: float, gain: float) -> float:
        quiet = plain(full_well=2000.0, read_noise=2.0, base_gain=1.0)
        picture = quiet.develop(
            flat(camera, level / gain), camera, camera, Exposure(gain, 0.0), np.random.default_rng(1)
        )
        return float(linear(picture)[..., 1].var())

    assert variance(0.05, 1.0) < variance(0.2, 1.0) < variance(0.6, 1.0)
    assert variance(0.2, 8.0) > 4 * variance(0.2, 1.0)


def test_light_comes_out_as_srgb() -> None:
    camera = Camera.from_fov((320, 240), 60)
    for level in (0.02, 0.18, 0.5, 0.9):
        picture = plain(full_well=1e9).develop(flat(camera, level), camera, camera, STEADY, np.random.default_rng(0))
        assert linear(picture).mean() == pytest.approx(level, rel=0.06)


def test_colours_come_out_in_the_order_of_opencv() -> None:
    camera = Camera.from_fov((320, 240), 60)
    red = flat(camera, 0.02)
    red[..., 0] = 0.4
    picture = sensor(3).develop(red, camera, camera, STEADY, np.random.default_rng(0))
    assert picture[..., 2].mean() > picture[..., 0].mean() + 60


def test_exposure_recovers_from_a_step() -> None:
    camera = Camera.from_fov((320, 240), 60)
    exposure = sensor(gain_range=(0.01, 100.0)).expose(flat(camera, 0.2), None, 0.0)
    settled = exposure.gain
    bright = flat(camera, 2.0)
    gains = []
    for number in range(60):
        exposure = sensor(gain_range=(0.01, 100.0)).expose(bright, exposure, (number + 1) / 15)
        gains.append(exposure.gain)
    assert gains[0] > 0.2 * settled  # not at once
    assert (np.diff(gains) <= 0).all()
    assert gains[-1] == pytest.approx(settled / 10, rel=0.02)


def test_the_face_counts_in_metering() -> None:
    camera = Camera.from_fov((640, 480), 60)
    scene = flat(camera, 1.0)
    scene[150:330, 240:400] = 0.05
    eager, deaf = sensor(face_weight=0.9), sensor(face_weight=0.0)
    box = (240.0, 150.0, 400.0, 330.0)
    assert eager.expose(scene, None, 0.0, box).gain > 2 * deaf.expose(scene, None, 0.0, box).gain
    assert eager.expose(scene, None, 0.0, (-900.0, -900.0, -800.0, -800.0)).gain > 0  # a face out of the picture


def test_windows_blow_out_and_spill() -> None:
    camera = Camera.from_fov((640, 480), 60)
    scene = flat(camera, 0.02)
    scene[:, :200] = 20.0
    dull = plain(full_well=1e9)
    glaring = dataclasses.replace(dull, bloom=0.03, flare=0.02)
    clean, veiled = (s.develop(scene, camera, camera, STEADY, np.random.default_rng(0)) for s in (dull, glaring))
    assert (clean[:, :190] == 255).all()
    assert veiled[:, 230:260].mean() > veiled[:, 560:].mean() > clean[:, 560:].mean()


def test_a_pixel_that_is_not_a_number_does_no_harm() -> None:
    camera = Camera.from_fov((320, 240), 60)
    clean, spoilt = flat(camera, 0.2), flat(camera, 0.2)
    spoilt[100, 100] = np.nan
    one = sensor(4)
    assert one.expose(spoilt, None, 0.0).gain == pytest.approx(one.expose(clean, None, 0.0).gain, rel=0.01)
    a, b = (one.develop(s, camera, camera, STEADY, np.random.default_rng(0)) for s in (clean, spoilt))
    far = np.ones(a.shape[:2], bool)
    far[88:112, 88:112] = False
    assert np.abs(a.astype(int) - b)[far].mean() < 0.5
    assert np.abs(a.astype(int) - b)[far].max() < 12  # rounding, sharpened
    assert np.isnan(spoilt[100, 100]).all()  # what was handed in is left alone


def test_infrared_is_grey_and_noisier() -> None:
    camera = Camera.from_fov((320, 240), 60)
    rng = np.random.default_rng
    diodes = plan_sensor(rng(1), "dashcam", "infrared")
    picture = diodes.develop(flat(camera, 0.2), camera, camera, STEADY, rng(0))
    assert picture.shape == (240, 320, 3)
    assert (picture == picture[..., :1]).all()
    centre, corner = picture[100:140, 140:180].mean(), picture[:20, :20].mean()
    assert centre > corner  # the LEDs' light falls off


@pytest.mark.parametrize("kind", ["day", "night", "infrared"])
def test_the_same_seed_gives_the_same_picture(kind: str) -> None:
    camera = Camera.from_fov((320, 240), 60)
    scene = np.random.default_rng(0).random((240, 320, 3)).astype(np.float32)
    one, two, other = (
        plan_sensor(np.random.default_rng(5), "phone", kind).develop(  # type: ignore[arg-type]
            scene, camera, camera, Exposure(2.0, 0.0), np.random.default_rng(seed)
        )
        for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(one, two)
    assert (one != other).any()
