"""Test-time adaptation: what it changes, what it must not change, and what it does when nothing can be learned."""

import copy
import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from benchmarks import table_12_1
from dashgaze.device.crops import CropPlan
from dashgaze.errors import InputError
from dashgaze.geometry import Camera
from dashgaze.training.gaze.adapt import AdaptedPredictor, Step, adapt, translate
from dashgaze.training.gaze.config import AdaptationConfig, ModelConfig
from dashgaze.training.gaze.evaluate import NetworkPredictor
from dashgaze.training.gaze.model import DashGazeNet, used_inputs
from dashgaze.training.gaze.samples import SampleSet, SessionSamples, sample_type

TINY = ModelConfig(
    width=0.125,
    features=8,
    driver_px=(32, 32),
    face_px=(32, 32),
    landmarks="five",
    head_pose=False,
    ray=False,
    location="direct",
    session_task="translation",
)
SETTINGS = AdaptationConfig(batch=4, learning_rate=1.0, shift_frac=0.4)
"""A rate and a shift with which a few steps show."""


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Tiny networks are slower on several threads, and much slower on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def toy_session(rows: int, seed: int = 0, config: ModelConfig = TINY) -> SessionSamples:
    rng = np.random.default_rng(seed)
    records = np.zeros(rows, sample_type(CropPlan(config.driver_px, config.face_px, channels=config.channels)))
    records["frame"] = np.arange(rows)
    records["t_s"] = np.arange(rows) / 5
    records["five"] = rng.normal(0, 0.01, (rows, 5, 2))
    records["mesh"] = rng.normal(0, 0.3, (rows, 478, 2))
    records["pose"] = rng.normal(0, 0.3, (rows, 9))
    records["pose"][:, 8] = 0.7
    for name in ("driver", "face", "right_eye", "left_eye"):
        records[name] = rng.integers(0, 256, records[name].shape)
    records["view"] = records["head_rotation"] = np.eye(3)
    records["usable"] = True
    camera = Camera.from_fov((1280, 720), 65)
    return SessionSamples(
        session_id="toy",
        driver_id="somebody",
        path="toy",
        light="day",
        glasses="none",
        camera_position=None,
        hand_of_drive="left",
        driver_camera=camera,
        road_camera=camera,
        considered=rows,
        missed=0,
        arrays={name: records[name] for name in records.dtype.names or ()},
    )


def toy_network(config: ModelConfig = TINY) -> DashGazeNet:
    torch.manual_seed(1)
    return DashGazeNet(config).eval()


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def steps_of(
    network: DashGazeNet, samples: SessionSamples, config: AdaptationConfig = SETTINGS, seed: int = 0
) -> list[Step]:
    return list(adapt(network, config, samples, seeded(seed)))


def faces_of(steps: list[Step]) -> Tensor:
    """Angles in the order of the session's rows."""
    angles = torch.cat([step.outputs.face_deg for step in steps if step.outputs.face_deg is not None])
    return angles[np.argsort(np.concatenate([step.rows for step in steps]))]


def plain(network: DashGazeNet, samples: SessionSamples) -> Tensor:
    """Angles without adaptation, all in one batch."""
    inputs = {name: torch.from_numpy(np.array(samples.arrays[name])) for name in used_inputs(network.config)}
    with torch.no_grad():
        angles: Tensor | None = network(inputs).face_deg
    assert angles is not None
    return angles


def landmarks(rows: int, seed: int = 0) -> dict[str, Tensor]:
    random = torch.Generator().manual_seed(seed)
    return {
        "five": torch.randn(rows, 5, 2, generator=random),
        "mesh": torch.randn(rows, 478, 2, generator=random),
        "pose": torch.rand(rows, 9, generator=random) + 0.3,
        "left_eye": torch.randint(0, 256, (rows, 1, 50, 100), dtype=torch.uint8, generator=random),
    }


# --- translation ---


@settings(max_examples=10, deadline=None)
@given(rows=st.integers(0, 9), shift=st.floats(0.001, 0.49), seed=st.integers(0, 2**31))
def test_all_landmarks_of_a_sample_move_alike_and_not_too_far(rows: int, shift: float, seed: int) -> None:
    inputs = landmarks(rows)
    moved = translate(inputs, shift, seeded(seed))
    by_five = moved["five"] - inputs["five"]
    by_mesh = (moved["mesh"] - inputs["mesh"]) / inputs["pose"][:, 8, None, None]
    for by in (by_five, by_mesh):
        torch.testing.assert_close(by, by[:, :1].expand_as(by), rtol=0, atol=1e-5)
    assert (by_five.abs() <= shift + 1e-6).all()
    torch.testing.assert_close(by_mesh[:, 0], 12.5 * by_five[:, 0], rtol=0, atol=1e-4)  # one angle


def test_shifts_fill_the_square() -> None:
    moved = translate({"five": torch.zeros(4000, 5, 2)}, 0.1, seeded())["five"][:, 0]
    assert moved.mean(dim=0).abs().max() < 0.005
    assert moved.std(dim=0) == pytest.approx([0.2 / 12**0.5] * 2, rel=0.05)
    assert abs(float(torch.corrcoef(moved.T)[0, 1])) < 0.05


def test_samples_move_each_on_their_own() -> None:
    moved = translate({"five": torch.zeros(50, 5, 2)}, 0.1, seeded())["five"][:, 0]
    assert len(np.unique(moved.numpy(), axis=0)) == 50


def test_pictures_and_pose_stay_and_nothing_is_changed_in_place() -> None:
    inputs = landmarks(6)
    before = {name: value.clone() for name, value in inputs.items()}
    moved = translate(inputs, 0.1, seeded())
    assert all(torch.equal(inputs[name], before[name]) for name in inputs)
    assert moved["left_eye"] is inputs["left_eye"]
    assert moved["pose"] is inputs["pose"]
    assert set(moved) == set(inputs)


def test_the_same_generator_moves_alike() -> None:
    inputs = landmarks(6)
    one, other = (translate(inputs, 0.1, seeded(7)) for _ in range(2))
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert not torch.equal(one["five"], translate(inputs, 0.1, seeded(8))["five"])


def test_the_mesh_moves_without_a_head_pose_too() -> None:
    inputs = {"mesh": torch.zeros(3, 478, 2)}
    assert (translate(inputs, 0.1, seeded())["mesh"].abs() <= 0.1 * 12.5 * 0.7 + 1e-6).all()


# --- adaptation ---


def test_predictions_without_a_step_are_those_of_the_network() -> None:
    network, samples = toy_network(), toy_session(11)
    still = SETTINGS.model_copy(update={"learning_rate": 0.0})
    torch.testing.assert_close(faces_of(steps_of(network, samples, still)), plain(network, samples))


def test_the_first_batch_is_predicted_with_the_trained_weights_and_the_next_is_not() -> None:
    network, samples = toy_network(), toy_session(40)
    adapted, unadapted = faces_of(steps_of(network, samples)), plain(network, samples)
    torch.testing.assert_close(adapted[:4], unadapted[:4])
    # A session head starts at zero: the first step gives it weights, the second moves what is below.
    torch.testing.assert_close(adapted[4:8], unadapted[4:8])
    assert (adapted[-4:] - unadapted[-4:]).abs().max() > 1e-4


@pytest.mark.parametrize("training", [False, True])
def test_the_network_given_stays_as_it_is(training: bool) -> None:
    network = toy_network().train(training)
    before = copy.deepcopy(network.state_dict())
    steps_of(network, toy_session(12))
    assert network.training is training
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert all(weight.requires_grad and weight.grad is None for weight in network.parameters())


def test_batches_come_in_the_order_of_time() -> None:
    samples = toy_session(10)
    shuffled = np.random.default_rng(3).permutation(10)
    arrays: Mapping[str, np.ndarray] = {name: values[shuffled] for name, values in samples.arrays.items()}
    mixed = replace(samples, arrays=arrays)
    steps = steps_of(toy_network(), mixed)
    rows = np.concatenate([step.rows for step in steps])
    assert (np.diff(mixed.arrays["t_s"][rows]) > 0).all()
    assert [len(step.rows) for step in steps] == [4, 4, 2]
    torch.testing.assert_close(faces_of(steps), faces_of(steps_of(toy_network(), samples))[shuffled])


def test_the_same_seed_gives_the_same() -> None:
    network, samples = toy_network(), toy_session(16)
    one, again, other = (faces_of(steps_of(network, samples, seed=seed)) for seed in (5, 5, 6))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)


def test_nothing_depends_on_torchs_own_random_numbers() -> None:
    network, samples = toy_network(), toy_session(16)
    one = faces_of(steps_of(network, samples))
    torch.manual_seed(99)
    state = torch.get_rng_state()
    assert torch.equal(one, faces_of(steps_of(network, samples)))
    assert torch.equal(state, torch.get_rng_state())


def test_a_prediction_does_not_depend_on_what_comes_later() -> None:
    network, samples = toy_network(), toy_session(16)
    begun = replace(samples, arrays={name: values[:8] for name, values in samples.arrays.items()})
    torch.testing.assert_close(faces_of(steps_of(network, samples))[:8], faces_of(steps_of(network, begun)))


def test_the_loss_falls_on_a_session_that_goes_on() -> None:
    losses = [step.loss for step in steps_of(toy_network(), toy_session(240)) if step.loss is not None]
    assert len(losses) == 60
    assert np.mean(losses[-15:]) < np.mean(losses[:15]) - 0.02


def test_where_nothing_is_translated_nothing_changes() -> None:
    network, samples = toy_network(), toy_session(40)
    tiny = SETTINGS.model_copy(update={"shift_frac": 1e-7})
    torch.testing.assert_close(faces_of(steps_of(network, samples, tiny)), plain(network, samples), rtol=0, atol=1e-3)


def test_every_session_starts_with_a_fresh_session_head_and_the_trained_weights() -> None:
    network, samples = toy_network(), toy_session(12)
    first, second = steps_of(network, samples), steps_of(network, samples)
    assert first[0].loss == second[0].loss == pytest.approx(np.log(2))
    assert [step.loss for step in first] == [step.loss for step in second]


def test_an_empty_session_has_no_steps() -> None:
    assert steps_of(toy_network(), toy_session(0)) == []


@pytest.mark.parametrize("spoiled", [np.nan, np.inf])
def test_a_loss_that_is_not_finite_ends_adaptation_and_undoes_it(spoiled: float) -> None:
    network, samples = toy_network(), toy_session(20)
    samples.arrays["five"][9] = spoiled  # in the third batch
    steps = steps_of(network, samples)
    assert [step.loss is None for step in steps] == [False, False, True, True, True]
    torch.testing.assert_close(faces_of(steps)[12:], plain(network, samples)[12:])


def test_weights_that_run_away_are_put_back() -> None:
    network, samples = toy_network(), toy_session(60)
    steps = steps_of(network, samples, SETTINGS.model_copy(update={"learning_rate": 300.0}))
    assert steps[-1].loss is None
    assert max(step.loss for step in steps if step.loss is not None) < 2
    torch.testing.assert_close(faces_of(steps)[-4:], plain(network, samples)[-4:])


def test_weights_that_overflow_are_put_back() -> None:
    network, samples = toy_network(), toy_session(40)
    config = SETTINGS.model_copy(update={"learning_rate": 1e30})
    steps = steps_of(network, samples, config)
    assert steps[-1].loss is None
    torch.testing.assert_close(faces_of(steps)[-4:], plain(network, samples)[-4:])


def test_only_what_the_session_head_sees_moves() -> None:
    samples = toy_session(24)
    for shown, moving in (("eyes_landmarks", False), ("all", True)):
        network = toy_network(TINY.model_copy(update={"session_features": shown}))
        last = steps_of(network, samples)[-1]
        inputs = {name: torch.from_numpy(np.array(samples.arrays[name][last.rows])) for name in used_inputs(TINY)}
        with torch.no_grad():
            before = network(inputs).features
        for branch in ("face", "driver"):
            assert torch.equal(before[branch], last.outputs.features[branch]) is not moving
        for branch in ("left_eye", "right_eye", "landmarks"):
            assert not torch.equal(before[branch], last.outputs.features[branch])


def test_a_network_without_landmarks_cannot_adapt() -> None:
    network = toy_network(TINY.model_copy(update={"branches": ("face", "left_eye", "right_eye")}))
    with pytest.raises(InputError, match="landmarks"):
        steps_of(network, toy_session(4))


# --- as a predictor ---


def test_a_predictor_adapts_after_the_first_batch() -> None:
    network, samples = toy_network(), toy_session(40)
    adapted = AdaptedPredictor("adapted", network, SETTINGS).predict(samples)
    plain_one = NetworkPredictor("plain", network).predict(samples)
    for name in ("face_deg", "location_px", "ray"):
        found, reference = getattr(adapted, name), getattr(plain_one, name)
        assert found.shape == reference.shape
        np.testing.assert_allclose(found[:4], reference[:4], atol=1e-3)
        assert np.abs(found[-4:] - reference[-4:]).max() > 1e-6


def test_a_session_is_predicted_alike_whatever_came_before() -> None:
    first, second = toy_session(12, seed=1), replace(toy_session(12, seed=2), session_id="other")
    predictor = AdaptedPredictor("adapted", toy_network(), SETTINGS)
    alone = predictor.predict(second).face_deg
    predictor.predict(first)
    assert alone is not None
    np.testing.assert_array_equal(predictor.predict(second).face_deg, alone)


def test_sessions_get_translations_of_their_own() -> None:
    samples = toy_session(12)
    predictor = AdaptedPredictor("adapted", toy_network(), SETTINGS)
    one, other = (predictor.predict(replace(samples, session_id=name)).face_deg for name in ("one", "other"))
    assert one is not None
    assert other is not None
    assert not np.array_equal(one, other)


def test_a_predictor_says_nothing_of_an_empty_session() -> None:
    said = AdaptedPredictor("adapted", toy_network(), SETTINGS).predict(toy_session(0))
    assert said.face_deg is None
    assert said.location_px is None


# --- table 12.1 ---


def errors_of_rows(scales: Mapping[int, float], sessions: int = 12, seeds: int = 3) -> dict[Any, table_12_1.Errors]:
    """Errors by row and state that differ by a factor and a little noise, adapted or not alike."""
    rng = np.random.default_rng(0)
    n = 20 * sessions
    base = rng.normal(0, 6, (2, n))
    found: dict[Any, table_12_1.Errors] = {}
    for number, scale in scales.items():
        azimuth, elevation = (scale * base[:, None] + rng.normal(0, 0.1, (2, seeds, n))).astype(float)
        total = np.hypot(azimuth, elevation)
        location = np.where(np.arange(n) % 3, 30 * total, np.nan)
        errors: table_12_1.Errors = {
            "azimuth": azimuth,
            "elevation": elevation,
            "total": total,
            "location": location,
        }
        found.update({(number, state): errors for state in table_12_1.STATES})
    return found


def described(scales: Mapping[int, float]) -> dict[str, Any]:
    constant = {name: values[0] * 3 for name, values in errors_of_rows({0: 1.0})[0, "plain"].items()}
    return table_12_1.describe(errors_of_rows(scales), constant, np.repeat(np.arange(12), 20))


def test_a_difference_has_a_sign_only_if_interval_and_seeds_agree() -> None:
    clear = {"mean": -2.0, "interval": (-3.0, -1.0), "by_seed": [-2.5, -1.5]}
    assert table_12_1.verdict(-0.2, clear) == "agrees"
    assert table_12_1.verdict(0.7, clear) == "contradicts"
    assert table_12_1.verdict(-0.2, clear | {"interval": (-3.0, 0.1)}) == "no difference to be seen"
    assert table_12_1.verdict(-0.2, clear | {"by_seed": [-4.5, 0.5]}) == "no difference to be seen"
    assert table_12_1.verdict(-0.2, clear | {"interval": None}) == "no difference to be seen"
    assert table_12_1.verdict(-0.2, clear, least=2.5) == "no difference to be seen"


def test_the_account_of_the_table_follows_from_its_numbers() -> None:
    better = " ".join(table_12_1.agreement(described({1: 1.1, 2: 1.05, 3: 1.04, 4: 9.0, 5: 1.0})))
    assert "Row 5 against row 1, azimuth: -0.4" in better
    assert better.count(": agrees.") == 2  # azimuth and location; the chapter's elevation got worse
    assert better.count(": contradicts.") == 1
    assert "Row 4 fails at the location" in better
    assert "Row 4 is no better than a constant" in better
    same = " ".join(table_12_1.agreement(described(dict.fromkeys(range(1, 6), 1.0))))
    assert same.count("no difference to be seen.") == 3
    assert "Row 4 does not fail" in same
    assert same.count("changes nothing to be seen") == 10


def test_a_mean_angle_lies_between_what_its_axes_allow() -> None:
    axes = described(dict.fromkeys(range(1, 6), 1.0))["rows"][0]["axes"]
    assert axes["total_by_mean_absolute"] > 1 > axes["total_by_rms"]


def test_the_report_has_every_row_and_the_result_is_json() -> None:
    result = described({1: 1.1, 2: 1.05, 3: 1.04, 4: 9.0, 5: 1.0})
    shift = dict.fromkeys(table_12_1.PICTURES, 0.9)
    counts = {"sessions": 12, "frames": 240, "training_frames": 9, "seeds": 3, "seconds": 61, "quick": False}
    result |= {"agreement": table_12_1.agreement(result), "shift": {"one": shift, "other": shift}, **counts}
    text = table_12_1.markdown(json.loads(json.dumps(result)))
    for row in table_12_1.ROWS:
        assert f"| {row.number} | {row.name} |" in text
        assert f"; {row.thesis['location']} |" in text
    assert "nan" not in text.lower()


def test_session_heads_tell_large_shifts_and_not_tiny_ones() -> None:
    sessions = tuple(toy_session(24, seed=seed) for seed in range(4))
    test = SampleSet(sessions, TINY.crops, "toy")
    large, tiny = (table_12_1.told_share(toy_network(), test, shift) for shift in (0.4, 1e-6))
    assert large > 0.65
    assert abs(tiny - 0.5) < 0.15
