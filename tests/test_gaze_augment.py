"""Augmented samples: the same gaze, another look; mirrored samples are samples of the mirrored world."""

from collections.abc import Iterator
from dataclasses import fields

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor

from dashgaze.bundle import packaged_bundle
from dashgaze.device import crops
from dashgaze.device.crops import GazeInputs, mirror_order
from dashgaze.device.headpose import CanonicalFace
from dashgaze.training.gaze.augment import augment, mirror
from dashgaze.training.gaze.config import AugmentationConfig
from dashgaze.training.gaze.model import INPUTS, PICTURES, Truth, rigid_road_deg, unit_rays

FACE = CanonicalFace.from_bundle(packaged_bundle())
ORDER = mirror_order(FACE)
NOTHING = AugmentationConfig.model_validate(dict.fromkeys(AugmentationConfig.model_fields, 0))
SHAPES = {"driver": (96, 96), "face": (96, 96), "right_eye": (50, 100), "left_eye": (50, 100)}


def only(**change: float) -> AugmentationConfig:
    return NOTHING.model_copy(update=change)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Small batches are not worth more."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def some(inputs: dict[str, Tensor], *names: str) -> dict[str, Tensor]:
    return {name: inputs[name] for name in names}


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def a_batch(count: int, seed: int = 0, channels: int = 1) -> tuple[dict[str, Tensor], Truth]:
    """Soft random pictures, a face of the usual size in front of the camera, labels."""
    rng = np.random.default_rng(seed)
    inputs = {}
    for name, shape in SHAPES.items():
        coarse = torch.from_numpy(rng.uniform(40, 200, (count, channels, 6, 6)))
        inputs[name] = torch.nn.functional.interpolate(coarse, shape, mode="bilinear").to(torch.uint8)
    irises = np.tile(FACE.vertices_mm[[33, 263]].mean(axis=0), (10, 1))
    points = np.concatenate([FACE.vertices_mm, irises])[:, :2] * [-1, 1] / 100
    inputs["mesh"] = torch.from_numpy(points + rng.normal(0, 0.01, (count, 478, 2))).float()
    five = np.stack([points[list(pair)].mean(axis=0) for pair in crops.FIVE_POINTS]) / 8
    inputs["five"] = torch.from_numpy(five + rng.normal(0, 0.002, (count, 5, 2))).float()
    inputs["pose"] = torch.from_numpy(rng.normal(0, 1, (count, 9))).float()
    turns = np.linalg.qr(rng.normal(size=(count, 3, 3)))[0]
    angles = torch.from_numpy(rng.uniform(-40, 40, (3, count, 2))).float()
    truth = Truth(
        ray_deg=angles[0],
        face_deg=angles[1],
        location=torch.from_numpy(rng.uniform(0, 1, (count, 2))).float(),
        road_deg=angles[2],
        road_from_view=torch.from_numpy(turns * np.linalg.det(turns)[:, None, None]).float(),
        session=torch.arange(count),
    )
    return inputs, truth


def as_one(inputs: dict[str, Tensor], row: int) -> GazeInputs:
    return GazeInputs(**{name: values[row].numpy() for name, values in inputs.items()})


def means(inputs: dict[str, Tensor], name: str) -> NDArray[np.float64]:
    return np.asarray(inputs[name].double().mean(dim=(1, 2, 3)))


def roughness(pictures: Tensor) -> Tensor:
    """Mean square of the steps between neighbours."""
    return pictures.double().diff(dim=-1).square().mean(dim=(1, 2, 3))


def test_a_batch_is_mirrored_as_a_single_sample_is() -> None:
    inputs, truth = a_batch(6, channels=3)
    chosen = torch.tensor([0, 3, 4])
    found, _ = mirror(inputs, truth, chosen, ORDER)
    for row in range(6):
        expected = as_one(inputs, row)
        if row in chosen:
            expected = crops.mirrored(expected, ORDER)
        for field in fields(GazeInputs):
            np.testing.assert_array_equal(getattr(as_one(found, row), field.name), getattr(expected, field.name))


def test_mirroring_twice_changes_nothing() -> None:
    inputs, truth = a_batch(4)
    everyone = torch.arange(4)
    once = mirror(inputs, truth, everyone, ORDER)
    again, labels = mirror(*once, everyone, ORDER)
    for name in INPUTS:
        assert torch.equal(again[name], inputs[name])
    for found, expected in zip(labels, truth, strict=True):
        torch.testing.assert_close(found, expected)


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 1000))
def test_the_mirrored_ray_meets_the_mirrored_road(seed: int) -> None:
    inputs, truth = a_batch(8, seed)
    road_deg = rigid_road_deg(truth.ray_deg, truth.road_from_view)
    _, labels = mirror(inputs, truth, torch.arange(8), ORDER)
    expected = unit_rays(road_deg) * torch.tensor([-1.0, 1, 1])
    torch.testing.assert_close(unit_rays(rigid_road_deg(labels.ray_deg, labels.road_from_view)), expected)
    torch.testing.assert_close(labels.road_from_view.det(), torch.ones(8))


def test_mirrored_labels_look_to_the_other_side() -> None:
    inputs, truth = a_batch(5)
    _, labels = mirror(inputs, truth, torch.arange(5), ORDER)
    for found, given_ in ((labels.ray_deg, truth.ray_deg), (labels.face_deg, truth.face_deg)):
        torch.testing.assert_close(found, given_ * torch.tensor([-1.0, 1.0]))
    torch.testing.assert_close(labels.location, torch.stack([1 - truth.location[:, 0], truth.location[:, 1]], dim=1))
    assert torch.equal(labels.session, truth.session)


def test_unknown_labels_stay_unknown() -> None:
    inputs, truth = a_batch(5)
    nan = {name: torch.full_like(part, torch.nan) for name, part in truth._asdict().items() if name != "session"}
    unknown = truth._replace(**nan)
    _, labels = augment(inputs, unknown, AugmentationConfig(flip=1), seeded(), ORDER)
    assert all(bool(part.isnan().all()) for part in labels[:5])


def test_without_any_change_samples_stay_as_they_are() -> None:
    inputs, truth = a_batch(5)
    found, labels = augment(inputs, truth, NOTHING, seeded(), ORDER)
    for name in INPUTS:
        torch.testing.assert_close(found[name], inputs[name])
    assert all(torch.equal(one, other) for one, other in zip(labels, truth, strict=True))


@pytest.mark.parametrize("channels", [1, 3])
def test_the_generator_fixes_everything_and_the_given_batch_is_left_alone(channels: int) -> None:
    inputs, truth = a_batch(8, channels=channels)
    before = {name: values.clone() for name, values in inputs.items()}
    everything = AugmentationConfig(
        flip=0.5, photometric=1, low_light=0.5, blur=1, compression=1, occlusion=1, glare=1, blank=0.5
    )
    first, labels = augment(inputs, truth, everything, seeded(3), ORDER)
    again, _ = augment(inputs, truth, everything, seeded(3), ORDER)
    other, _ = augment(inputs, truth, everything, seeded(4), ORDER)
    assert all(torch.equal(inputs[name], before[name]) for name in INPUTS)
    assert all(torch.equal(first[name], again[name]) for name in INPUTS)
    assert not any(torch.equal(first[name], other[name]) for name in INPUTS)
    for name in INPUTS:
        assert (first[name].shape, first[name].dtype) == (inputs[name].shape, inputs[name].dtype)
        assert bool(first[name].double().isfinite().all())
    assert all(bool(part.isfinite().all()) for part in labels)


def test_a_network_that_takes_few_inputs_gets_them_augmented() -> None:
    inputs, truth = a_batch(8)
    for names in (("five",), ("face", "mesh", "pose"), ("right_eye", "left_eye", "five"), ("driver",), ("left_eye",)):
        found, _ = augment(some(inputs, *names), truth, AugmentationConfig(), seeded(), ORDER)
        assert tuple(found) == names


def test_a_camera_exposes_face_and_eyes_alike() -> None:
    inputs, truth = a_batch(64)
    for name in PICTURES:
        inputs[name][:] = 110
    found, _ = augment(some(inputs, *PICTURES), truth, only(photometric=1), seeded(), ORDER)
    face, eye = means(found, "face"), means(found, "right_eye")
    assert face.std() > 15
    assert np.corrcoef(face, eye)[0, 1] > 0.8
    noise = {name: found[name].double().std(dim=(1, 2, 3)).median() for name in PICTURES}
    assert noise["driver"] < noise["right_eye"]


def test_in_low_light_pictures_are_dark_and_noisy_but_there() -> None:
    inputs, truth = a_batch(64)
    found, _ = augment(some(inputs, "face", "right_eye"), truth, only(low_light=1), seeded(), ORDER)
    face = means(found, "face")
    assert face.max() < 60
    assert face.min() > 8
    dark = found["right_eye"].double()
    relative = roughness(dark) / dark.var(dim=(1, 2, 3))
    assert (relative > roughness(inputs["right_eye"]) / inputs["right_eye"].double().var(dim=(1, 2, 3))).all()


def test_blur_smooths_and_keeps_brightness() -> None:
    inputs, truth = a_batch(32)
    noise = torch.randint(60, 200, inputs["left_eye"].shape, generator=seeded(1), dtype=torch.uint8)
    inputs["left_eye"] = noise
    found, _ = augment(some(inputs, "left_eye"), truth, only(blur=1), seeded(), ORDER)
    assert (roughness(found["left_eye"]) < 0.8 * roughness(noise)).all()
    np.testing.assert_allclose(means(found, "left_eye"), means(inputs, "left_eye"), atol=3)


def test_glare_only_brightens_and_only_about_the_eyes() -> None:
    inputs, truth = a_batch(32)
    found, _ = augment(inputs, truth, only(glare=1), seeded(), ORDER)
    for name in ("face", "right_eye", "left_eye"):
        assert (found[name] >= inputs[name]).all()
    lit = (found["right_eye"] > inputs["right_eye"]) | (found["left_eye"] > inputs["left_eye"])
    assert lit.flatten(1).any(dim=1).float().mean() > 0.8
    assert torch.equal(found["face"][:, :, 70:], inputs["face"][:, :, 70:])  # the mouth
    assert torch.equal(found["driver"], inputs["driver"])


def test_what_hides_an_eye_hides_it_in_the_face_too() -> None:
    inputs, truth = a_batch(64)
    found, _ = augment(inputs, truth, only(occlusion=1), seeded(), ORDER)
    changed = {name: (found[name] != inputs[name])[:, 0] for name in ("face", "right_eye", "left_eye")}
    hidden = changed["right_eye"][:, 20:30, 40:60].float().mean(dim=(1, 2)) > 0.9
    # Eyes are 32 mm beside the middle of the 220 mm face crop and 25 mm above it.
    in_face = changed["face"][:, 36:39, 33:36].float().mean(dim=(1, 2)) > 0.5
    assert 0 < hidden.sum() < 32
    assert in_face[hidden].all()
    assert changed["face"].flatten(1).any(dim=1).float().mean() > 0.7


def test_crops_move_by_pixels_and_the_driver_view_does_not() -> None:
    inputs, truth = a_batch(150)
    ramp = torch.arange(100, dtype=torch.float).mul(2).expand(150, 1, 50, 100).to(torch.uint8)
    inputs["right_eye"] = ramp
    found, _ = augment(some(inputs, "right_eye", "driver"), truth, only(jitter_px=2.0), seeded(), ORDER)
    shift_px = (found["right_eye"].double() - ramp)[:, 0, 20:30, 40:60].mean(dim=(1, 2)) / 2
    moved = shift_px.abs() > 1e-6
    assert 0.55 < moved.double().mean() < 0.85
    assert 1.5 < shift_px[moved].std() < 2.5
    assert torch.equal(found["driver"], inputs["driver"])


def test_landmark_noise_has_the_size_that_was_asked_for() -> None:
    inputs, truth = a_batch(300)
    found, _ = augment(some(inputs, "mesh", "five"), truth, only(landmark_noise=0.02), seeded(), ORDER)
    error = found["mesh"] - inputs["mesh"]
    assert error.mean(dim=1).std().item() == pytest.approx(0.02, rel=0.15)
    eyes_to_mouth = (inputs["five"][:, :2].mean(dim=1) - inputs["five"][:, 3:].mean(dim=1)).norm(dim=1).mean()
    five = (found["five"] - inputs["five"])[:, :2].mean(dim=1).std() / eyes_to_mouth
    assert five.item() == pytest.approx(0.02 * 100 / 70, rel=0.2)


def test_one_picture_of_a_sample_is_blanked_at_most() -> None:
    inputs, truth = a_batch(200)
    found, _ = augment(some(inputs, *PICTURES), truth, only(blank=0.5), seeded(), ORDER)
    blank = torch.stack([(found[name] == 128).flatten(1).all(dim=1) for name in PICTURES])
    assert int(blank.sum(dim=0).max()) == 1
    assert 70 < int(blank.sum()) < 130
    assert (blank.sum(dim=1) > 10).all()


def test_compression_is_mild_on_average() -> None:
    inputs, truth = a_batch(16, channels=3)
    found, _ = augment(inputs, truth, only(compression=1), seeded(), ORDER)
    for name in ("face", "left_eye"):
        error = (found[name].double() - inputs[name].double()).abs().mean()
        assert 0 < error < 12
