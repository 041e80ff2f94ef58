"""Measures of gaze estimates: what they say of errors that are known, and of none."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from dashgaze.geometry import rays_from_angles, rotation_x, rotation_y, unit
from dashgaze.training.gaze import metrics
from dashgaze.training.gaze.metrics import LAPLACE_WITHIN, NORMAL_WITHIN

ANGLES = arrays(float, (7, 2), elements=st.floats(-80, 80))
ERRORS = arrays(float, 12, elements=st.floats(0.1, 90))
SESSIONS = np.repeat(np.arange(4), 3)


@given(ANGLES, st.floats(0.01, 120))
def test_the_angular_error_is_the_angle_of_the_rotation_between(angles: np.ndarray, turn_deg: float) -> None:
    rays = rays_from_angles(*angles.T)
    across = unit(np.cross(rays, [0.3, 1.0, 0.2]))
    turned = np.cos(np.radians(turn_deg)) * rays + np.sin(np.radians(turn_deg)) * np.cross(across, rays)
    assert np.allclose(metrics.angular_error_deg(turned, rays), turn_deg)
    assert np.allclose(metrics.angular_error_deg(rays, turned), turn_deg)


@given(ANGLES, ANGLES)
def test_the_angular_error_is_that_of_12_9_whatever_turns_both(found: np.ndarray, truth: np.ndarray) -> None:
    error = metrics.angular_error_of_angles_deg(found, truth)
    u, v = rays_from_angles(*found.T), rays_from_angles(*truth.T)
    assert np.allclose(error, np.degrees(np.arccos(np.clip((u * v).sum(axis=1), -1, 1))), atol=1e-4)
    turn = rotation_y(31) @ rotation_x(-12)
    assert np.allclose(metrics.angular_error_deg(u @ turn.T, v @ turn.T), error, atol=1e-6)


def test_a_location_error_is_the_distance() -> None:
    assert metrics.location_error_px(np.array([[3.0, 4.0], [np.nan, 0]]), np.zeros((2, 2))).tolist()[0] == 5
    assert np.isnan(metrics.location_error_px(np.array([[np.nan, 0.0]]), np.zeros((1, 2))))[0]


def test_an_azimuth_error_goes_the_short_way_round() -> None:
    found, truth = np.array([[179.0, 5.0], [-170.0, 0.0]]), np.array([[-179.0, 3.0], [170.0, 4.0]])
    assert np.allclose(metrics.axis_errors_deg(found, truth), [[-2, 2], [20, -4]])


@given(ERRORS, st.integers(0, 2**31))
def test_statistics_do_not_depend_on_the_order_of_the_rows(errors: np.ndarray, seed: int) -> None:
    order = np.random.default_rng(seed).permutation(len(errors))
    one, other = metrics.summarise(errors, SESSIONS), metrics.summarise(errors[order], SESSIONS[order])
    assert one.model_dump(exclude={"interval"}) == pytest.approx(other.model_dump(exclude={"interval"}))
    assert one.interval == pytest.approx(other.interval)
    assert metrics.percentiles(errors) == pytest.approx(metrics.percentiles(errors[order]))


@given(ERRORS)
def test_rows_without_an_estimate_are_left_out(errors: np.ndarray) -> None:
    holes = np.concatenate([errors, np.full(5, np.nan)])
    sessions = np.concatenate([SESSIONS, [0, 1, 9, 9, 9]])
    assert metrics.summarise(holes, sessions) == metrics.summarise(errors, SESSIONS)


def test_nothing_has_no_statistics_and_one_session_no_interval() -> None:
    for empty in (np.zeros(0), np.full(3, np.nan)):
        nothing = metrics.summarise(empty, np.zeros(len(empty), int))
        assert (nothing.rows, nothing.sessions, nothing.mean, nothing.interval) == (0, 0, None, None)
        assert metrics.percentiles(empty) == ()
        assert metrics.root_mean_square(empty) is None
        assert metrics.ratio(empty, empty, np.zeros(len(empty), int)).value is None
        assert metrics.doubt_statistics(empty, empty) is None
    one = metrics.summarise(np.array([1.0, 3.0]), np.zeros(2, int))
    assert (one.mean, one.interval) == (2, None)


def test_intervals_over_sessions_cover_the_mean() -> None:
    rng = np.random.default_rng(1)
    covered = 0
    for _ in range(200):
        level = 10 + rng.normal(0, 3, 25)
        sessions = np.repeat(np.arange(25), 8)
        low, high = metrics.mean_interval(level[sessions] + rng.normal(0, 1, 200), sessions) or (np.nan, np.nan)
        covered += low <= 10 <= high
    assert 0.88 <= covered / 200 <= 0.99


def test_frames_of_few_sessions_count_as_few() -> None:
    """An interval over frames would shrink with every frame more of the same sessions; this one does not."""
    level = np.array([5.0, 8.0, 11.0, 14.0])

    def width(frames: int) -> float:
        interval = metrics.mean_interval(np.repeat(level, frames), np.repeat(np.arange(4), frames))
        assert interval is not None
        return interval[1] - interval[0]

    assert width(100) == pytest.approx(width(2))


@given(ERRORS, st.floats(0.2, 5))
def test_a_ratio_is_paired_by_session(reference: np.ndarray, factor: float) -> None:
    found = metrics.ratio(factor * reference, reference, SESSIONS)
    assert found.value == pytest.approx(factor)
    assert found.interval == pytest.approx((factor, factor))


def test_a_ratio_is_over_the_rows_that_both_answer() -> None:
    errors, reference = np.array([2.0, np.nan, 6.0, 1.0]), np.array([1.0, 5.0, 3.0, np.nan])
    found = metrics.ratio(errors, reference, np.array([0, 0, 1, 1]))
    assert (found.rows, found.value) == (2, 2)


def test_the_slope_says_how_far_angles_are_shrunk() -> None:
    truth = np.linspace(-40, 40, 50)
    shrunk = metrics.axis_statistics(truth, 0.4 * truth + 3 - truth)
    assert shrunk.slope == pytest.approx(0.4)
    assert shrunk.bias == pytest.approx(3)
    assert metrics.axis_statistics(np.zeros(3), np.ones(3)).slope is None


@given(st.lists(st.sampled_from("abc"), min_size=1, max_size=40))
def test_a_perfect_predictor_has_a_diagonal_confusion(truth: list[str]) -> None:
    confusion = metrics.confusion_matrix(truth, truth, "abc")
    assert np.array_equal(confusion, np.diag(np.diag(confusion)))
    assert confusion.sum() == len(truth)
    assert metrics.balanced_accuracy(confusion) == metrics.accuracy(confusion) == 1


def test_balanced_accuracy_does_not_depend_on_how_often_a_class_occurs() -> None:
    confusion = np.array([[8, 2, 0], [1, 1, 0], [0, 0, 0]])
    more = confusion * [[1], [50], [1]]
    assert metrics.balanced_accuracy(confusion) == metrics.balanced_accuracy(more) == pytest.approx(0.65)
    assert metrics.balanced_accuracy(np.zeros((3, 3), int)) is metrics.accuracy(np.zeros((3, 3), int)) is None


@pytest.mark.parametrize("density", ["normal", "laplace"])
def test_right_standard_deviations_are_found_right(density: str) -> None:
    rng = np.random.default_rng(2)
    sd = rng.uniform(2, 9, 20_000)
    # The radius of exp(-r / b) / (2 pi b^2) is a gamma variate of shape 2, and sd is sqrt(3) b.
    radius = np.hypot(*rng.normal(size=(2, len(sd)))) if density == "normal" else rng.gamma(2, 3**-0.5, len(sd))
    found = metrics.doubt_statistics(sd * radius, sd)
    assert found is not None
    expected = NORMAL_WITHIN if density == "normal" else LAPLACE_WITHIN
    assert (found.within_one_sd, found.within_two_sd) == pytest.approx(expected, abs=0.012)
    assert all(step.measured_sd == pytest.approx(step.predicted_sd, rel=0.1) for step in found.bins)
    assert found.sparsification_error < found.blind_sparsification_error


@given(ERRORS)
def test_an_oracle_has_no_sparsification_error_and_a_constant_is_blind(errors: np.ndarray) -> None:
    oracle, blind = metrics.doubt_statistics(errors, errors), metrics.doubt_statistics(errors, np.ones(len(errors)))
    assert oracle is not None
    assert blind is not None
    assert oracle.sparsification_error == pytest.approx(0, abs=1e-9)
    assert blind.sparsification_error == pytest.approx(blind.blind_sparsification_error, abs=1e-9)
    assert sum(step.rows for step in blind.bins) == len(errors)


def test_jitter_is_the_usual_change_between_frames_close_in_time() -> None:
    t_s = np.arange(20) / 10
    azimuth = np.where(np.arange(20) % 2, 0.5, -0.5)
    rays = rays_from_angles(azimuth, np.zeros(20))
    assert metrics.jitter_deg(rays, t_s) == pytest.approx(1)
    assert metrics.jitter_deg(np.tile(rays[:1], (20, 1)), t_s) == pytest.approx(0)
    assert metrics.jitter_deg(rays, 10 * t_s) is None
    assert metrics.jitter_deg(rays[:0], t_s[:0]) is None
