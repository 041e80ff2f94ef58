"""Baselines: each gives what it stands for."""

from dataclasses import replace

import numpy as np
import pytest
from gaze_samples import changed, reordered, session
from heads import CAMERA, landmarks_of

from dashgaze.bundle import Bundle
from dashgaze.device.headpose import CanonicalFace, HeadPoseEstimator
from dashgaze.errors import InputError
from dashgaze.geometry import angle_between_deg, facing_rotation, rays_from_angles
from dashgaze.training.gaze.baselines import (
    CameraFrameWithHeadPose,
    Constant,
    Geometric,
    HeadOnly,
    LandmarkRidge,
    Means,
    mean_gaze,
)
from dashgaze.training.gaze.evaluate import Predictions
from dashgaze.training.gaze.samples import SessionSamples

SESSIONS = [session(number, rows=40) for number in range(6)]


def test_the_constant_is_the_mean_of_the_usable_rows() -> None:
    usable = np.arange(40) < 30
    half = changed(SESSIONS[0], usable=usable)
    said = Constant(mean_gaze([half])).predict(SESSIONS[1])
    assert said.ray is not None
    assert said.face_deg is not None
    assert said.location_px is not None
    assert len(said.ray) == 40
    mean = SESSIONS[0].arrays["ray"][:30].mean(axis=0)
    assert angle_between_deg(said.ray[0], mean) == pytest.approx(0, abs=1e-9)
    assert np.linalg.norm(said.ray[0]) == pytest.approx(1)
    assert np.allclose(said.face_deg, SESSIONS[0].arrays["face_deg"][:30].mean(axis=0))
    assert np.allclose(said.location_px, np.nanmean(SESSIONS[0].arrays["location_px"][:30], axis=0))


def test_no_constant_says_more_than_the_mean_knows() -> None:
    bare = replace(changed(SESSIONS[0], location_px=np.full((40, 2), np.nan)), road_camera=None)
    assert mean_gaze([]) == Means(None, None, None)
    assert mean_gaze([bare]).location_frac is None
    assert Constant(mean_gaze(SESSIONS)).predict(bare).location_px is None
    assert Constant(Means(None, None, None)).predict(bare).ray is None


def test_head_only_is_right_for_who_looks_straight_ahead_of_the_face() -> None:
    forward = np.array(SESSIONS[0].arrays["head_rotation"][:, :, 2])
    said = HeadOnly().predict(SESSIONS[0])
    assert np.allclose(said.ray, forward)
    assert said.face_deg is not None
    assert not said.face_deg.any()


def test_the_ridge_finds_a_linear_map_on_sessions_it_has_not_seen() -> None:
    said = LandmarkRidge.fit(SESSIONS[:5]).predict(SESSIONS[5])
    assert said.ray is not None
    assert np.median(angle_between_deg(said.ray, SESSIONS[5].arrays["ray"])) < 3.0  # of some 20 there are


def test_the_ridge_penalises_what_is_noise() -> None:
    rng = np.random.default_rng(3)

    def without_signal(samples: SessionSamples) -> SessionSamples:
        return changed(samples, mesh=rng.normal(0, 1, (40, 478, 2)).astype(np.float32))

    ridge = LandmarkRidge.fit([without_signal(samples) for samples in SESSIONS])
    said = ridge.predict(without_signal(SESSIONS[0]))
    assert ridge.strength >= 1
    assert said.ray is not None
    mean = Constant(mean_gaze(SESSIONS)).predict(SESSIONS[0]).ray
    assert np.median(angle_between_deg(said.ray, mean)) < 12


def test_the_ridge_does_not_learn_from_rows_that_cannot_be_used() -> None:
    wrong = np.array(SESSIONS[0].arrays["ray_deg"])
    wrong[::2] = 1e6
    usable = np.arange(40) % 2 == 1
    spoilt = changed(SESSIONS[0], ray_deg=wrong, usable=usable)
    kept = reordered(SESSIONS[0], np.flatnonzero(usable))
    one, other = (LandmarkRidge.fit([samples, *SESSIONS[1:3]]) for samples in (spoilt, kept))
    assert np.allclose(one.weights, other.weights)


def test_the_ridge_needs_two_sessions() -> None:
    for few in ([], SESSIONS[:1], [SESSIONS[0], reordered(SESSIONS[1], np.zeros(0, int))]):
        with pytest.raises(InputError, match="two sessions"):
            LandmarkRidge.fit(few)


class Seeing:
    """Knows the ray, and claims nonsense for the rest."""

    name = "seeing"

    def predict(self, samples: SessionSamples) -> Predictions:
        rays = np.array(samples.arrays["ray"])
        return Predictions(ray=rays, face_deg=np.full((len(rays), 2), 77.0))


def test_a_camera_frame_estimator_gets_its_face_angles_from_the_head_pose() -> None:
    predictor = CameraFrameWithHeadPose(Seeing())
    said = predictor.predict(SESSIONS[0])
    assert predictor.name == "seeing and head pose"
    assert np.allclose(said.face_deg, SESSIONS[0].arrays["face_deg"])
    wrong = SESSIONS[0].arrays["head_rotation"] @ facing_rotation(0, 0, 0) @ facing_rotation(10, 0, 0)
    tilted = predictor.predict(changed(SESSIONS[0], head_rotation=wrong))
    assert tilted.face_deg is not None
    assert np.allclose(tilted.face_deg[:, 0] + 10, SESSIONS[0].arrays["face_deg"][:, 0], atol=4)


def posed(bundle: Bundle, gazes_deg: list[tuple[float, float]]) -> SessionSamples:
    """A session whose landmarks are those of the canonical face looking somewhere."""
    face = CanonicalFace.from_bundle(bundle)
    estimator = HeadPoseEstimator(face, CAMERA)
    samples = session(0, rows=len(gazes_deg))
    landmarks, heads, rays = [], [], []
    for number, gaze_deg in enumerate(gazes_deg):
        marks, rotation = landmarks_of(face, (5.0 * (number % 5) - 10, 3.0, 2.0), gaze_deg=gaze_deg)
        head = estimator.fit(marks)
        assert head is not None
        landmarks.append(marks)
        heads.append(head)
        rays.append(rotation @ rays_from_angles(*gaze_deg))
    return replace(
        changed(
            samples,
            landmarks_px=np.array(landmarks),
            head_rotation=np.array([head.rotation for head in heads]),
            head_mm=np.array([head.position_mm for head in heads]),
            ray=np.array(rays),
            t_s=np.arange(len(gazes_deg), dtype=float),
        ),
        driver_camera=CAMERA,
    )


def test_the_geometric_baseline_is_the_devices_and_follows_the_eyes(bundle: Bundle) -> None:
    gazes = [(azimuth, 0.0) for azimuth in (-30.0, -15.0, 0.0, 15.0, 30.0)]
    said = Geometric(bundle).predict(posed(bundle, gazes))
    assert said.face_deg is not None
    assert said.ray_error_deg is not None
    assert (np.diff(said.face_deg[:, 0]) > 3).all()
    assert (said.ray_error_deg > 1).all()
    assert said.location_px is not None


def test_the_geometric_baseline_has_no_memory_of_where_one_looked(bundle: Bundle) -> None:
    """No filter: the row after a glance aside is not drawn towards it."""
    aside = posed(bundle, [(-30.0, 0.0), (0.0, 0.0), (30.0, 0.0), (0.0, 0.0), (-30.0, 0.0)])
    still = posed(bundle, [(0.0, 0.0)] * 5)
    one, other = (Geometric(bundle).predict(samples).ray for samples in (aside, still))
    assert one is not None
    assert other is not None
    assert np.allclose(one[3], other[3], atol=0.02)


def test_the_geometric_baseline_goes_by_time_not_by_row(bundle: Bundle) -> None:
    samples = posed(bundle, [(float(azimuth), 2.0) for azimuth in range(-20, 20, 4)])
    order = np.random.default_rng(0).permutation(10)
    one, other = (Geometric(bundle).predict(part).ray for part in (samples, reordered(samples, order)))
    assert one is not None
    assert np.allclose(one[order], other)
