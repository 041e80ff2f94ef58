"""DashGazeNet: its shapes, its equations, and what must have no influence."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dashgaze.device.records import Gaze
from dashgaze.device.road import RoadSettings, RoadView
from dashgaze.geometry import FACING, Camera, angle_between_deg, angles_from_rays, rays_from_angles, rotation_y
from dashgaze.tables import Status
from dashgaze.training.gaze.config import LossConfig, ModelConfig, read_gaze_config
from dashgaze.training.gaze.describe import describe, example_inputs
from dashgaze.training.gaze.model import (
    INPUTS,
    PICTURES,
    DashGazeNet,
    SessionHeads,
    Truth,
    angular_error_deg,
    gaze_losses,
    rigid_road_deg,
    session_branches,
    session_loss,
    standardised,
    unit_rays,
    used_inputs,
)

TINY = ModelConfig(width=0.125, features=16, driver_px=(32, 32), face_px=(32, 32))
THESIS = read_gaze_config("thesis").model
angles = st.tuples(st.floats(-170, 170), st.floats(-80, 80))


@pytest.fixture(autouse=True)
def _alone():
    """The same random numbers for each test; one thread, for small networks gain nothing from more."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield
    torch.set_num_threads(threads)


def truth_of(count, seed=0):
    generator = torch.Generator().manual_seed(seed)
    pair = lambda size: size * torch.randn((count, 2), generator=generator)  # noqa: E731
    turn = torch.tensor(FACING, dtype=torch.float32).expand(count, 3, 3)
    session = torch.randint(3, (count,), generator=generator)
    return Truth(pair(15), pair(15), 0.5 + pair(0.15), pair(10), turn, session)


# --- shapes, inputs ---


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"channels": 3, "driver_px": (48, 32)},
        {"ray": False, "location": "direct", "uncertainty": False},
        {"location": "direct", "mixture": 3},
        {"branches": ("left_eye",), "location": "none", "face_angles": False},
        {"ray_fusion": "weighted", "location_fusion": "weighted"},
    ],
)
def test_each_head_that_is_asked_for_speaks_for_each_sample(change):
    config = TINY.model_copy(update=change)
    outputs = DashGazeNet(config).eval()(example_inputs(config, 3))
    assert (outputs.ray_deg is None) == (not config.ray)
    if outputs.ray_deg is not None:
        assert outputs.ray_deg.shape == (3, 2)
    assert (outputs.ray_error_deg is not None) == (config.ray and config.uncertainty)
    if outputs.ray_error_deg is not None:
        assert outputs.ray_error_deg.shape == (3,)
        assert (outputs.ray_error_deg > 0).all()
    assert outputs.location is None if config.location == "none" else outputs.location.shape == (3, 2)
    assert outputs.mixture is None if not config.mixture else outputs.mixture.shape == (3, config.mixture, 5)
    assert set(outputs.features) == set(config.branches)
    assert all(values.shape == (3, config.features) for values in outputs.features.values())


@pytest.mark.parametrize(
    "change", [{}, {"landmarks": "five"}, {"head_pose": False}, {"branches": ("face", "landmarks")}]
)
def test_only_the_inputs_it_uses_have_influence(change):
    config = TINY.model_copy(update=change)
    everything = TINY.model_copy(update={"landmarks": "five"})
    inputs = example_inputs(TINY, 2) | example_inputs(everything, 2)
    network = DashGazeNet(config).eval()
    plain = network(inputs).ray_deg
    for name in INPUTS:
        values = inputs[name]
        other = inputs | {name: 255 - values if name in PICTURES else values + 1}
        if name in PICTURES:  # a negative has another contrast, which standardising keeps
            other[name] = other[name].roll(3, dims=-1)
        moved = not torch.equal(network(other).ray_deg, plain)
        assert moved == (name in used_inputs(config)), name


def test_samples_of_a_batch_do_not_see_each_other_when_it_is_used():
    network = DashGazeNet(TINY).eval()
    inputs = example_inputs(TINY, 4)
    alone = network({name: values[2:3] for name, values in inputs.items()})
    torch.testing.assert_close(network(inputs).ray_deg[2:3], alone.ray_deg, rtol=1e-4, atol=1e-4)


def test_mirrored_eyes_have_the_same_features_where_one_network_sees_both():
    inputs = example_inputs(TINY, 2)
    inputs["right_eye"] = inputs["left_eye"].flip(-1)
    features = DashGazeNet(TINY).eval()(inputs).features
    torch.testing.assert_close(features["right_eye"], features["left_eye"])
    apart = TINY.model_copy(update={"shared_eyes": False})
    features = DashGazeNet(apart).eval()(inputs).features
    assert not torch.allclose(features["right_eye"], features["left_eye"])


@settings(deadline=None, max_examples=20)
@given(gain=st.floats(0.3, 1.5), offset=st.floats(0, 60), seed=st.integers(0, 99))
def test_neither_brightness_nor_contrast_is_seen(gain, offset, seed):
    picture = torch.randint(20, 120, (1, 1, 12, 16), generator=torch.Generator().manual_seed(seed)).float()
    torch.testing.assert_close(standardised(gain * picture + offset), standardised(picture), rtol=0.02, atol=0.02)


def test_a_picture_without_any_contrast_is_nothing():
    assert standardised(torch.full((2, 1, 8, 8), 77, dtype=torch.uint8)).abs().max() < 1e-3


# --- fusion ---


def test_a_weighted_head_sees_a_branch_as_much_as_its_weight_says():
    config = TINY.model_copy(update={"dropout": 0.0})
    network = DashGazeNet(config).eval()
    with torch.no_grad():
        network.weights["face"].zero_()
        network.weights["face"][config.branches.index("landmarks")] = 1.0
    inputs = example_inputs(config, 2)
    blind = inputs | {name: torch.zeros_like(inputs[name]) for name in PICTURES}
    torch.testing.assert_close(network(inputs).face_deg, network(blind).face_deg)
    assert not torch.allclose(network(inputs).ray_deg, network(blind).ray_deg)


def test_learned_weights_start_alike_and_are_learned():
    network = DashGazeNet(TINY)
    before = network.weights["face"].detach().clone()
    assert torch.equal(before, torch.full((5,), 0.2))
    losses = gaze_losses(TINY, LossConfig(), network(example_inputs(TINY, 4)), truth_of(4))
    losses["angle"].backward()
    assert (network.weights["face"].grad.abs() > 0).all()
    torch.optim.SGD(network.parameters(), 0.1).step()
    assert not torch.equal(network.weights["face"].detach(), before)


# --- session heads ---


def test_a_session_head_learns_from_its_own_samples_only():
    """The masks of (12.5) and (12.6)."""
    config = TINY.model_copy(update={"session_task": "translation"})
    heads = SessionHeads(config, 3)
    features = {name: torch.randn(6, config.features, requires_grad=True) for name in config.branches}
    logits = heads(features)
    session = torch.tensor([0, 0, 1, 1, 0, 1])
    session_loss(config, logits, session, torch.tensor([0, 1, 0, 1, 0, 1])).backward()
    assert heads.linear.weight.grad[2].abs().max() == 0
    assert heads.linear.bias.grad[2] == 0
    assert (heads.linear.weight.grad[:2].abs().amax(dim=1) > 0).all()


def test_the_loss_of_a_batch_is_that_of_each_session_by_itself():
    config = TINY.model_copy(update={"session_task": "translation"})
    logits, session = torch.randn(6, 2), torch.tensor([0, 0, 0, 1, 1, 1])
    translated = torch.tensor([0, 1, 1, 0, 0, 1])
    whole = session_loss(config, logits, session, translated)
    parts = [session_loss(config, logits[s], session[s], translated[s]) for s in (slice(3), slice(3, 6))]
    torch.testing.assert_close(whole, sum(parts) / 2)


@pytest.mark.parametrize(
    ("features", "seen"),
    [("eyes_landmarks", {"left_eye", "right_eye", "landmarks"}), ("all", set(TINY.branches))],
)
def test_session_heads_see_the_branches_they_are_told(features, seen):
    config = TINY.model_copy(update={"session_task": "identity", "session_features": features})
    assert set(session_branches(config)) == seen
    network, heads = DashGazeNet(config), SessionHeads(config, 3)
    outputs = network(example_inputs(config, 3))
    session_loss(config, heads(outputs.features), torch.tensor([0, 1, 2]), torch.zeros(3)).backward()
    learned = {name for name, branch in network.branches.items() if next(branch.parameters()).grad is not None}
    assert learned == {"eye" if name.endswith("eye") else name for name in seen}


# --- losses ---


@pytest.mark.parametrize("kind", ["squared", "robust"])
@pytest.mark.parametrize(
    "change", [{}, {"location": "direct"}, {"location": "direct", "mixture": 2}, {"uncertainty": False}]
)
def test_samples_without_a_label_do_not_count(kind, change):
    config, loss = TINY.model_copy(update=change | {"dropout": 0.0}), LossConfig(kind=kind)
    network = DashGazeNet(config).eval()
    inputs, truth = example_inputs(config, 6), truth_of(6)
    unknown = torch.tensor([False, True, False, False, True, False])
    gone = {name: getattr(truth, name).clone() for name in ("ray_deg", "face_deg", "location", "road_deg")}
    for values in gone.values():
        values[unknown] = torch.nan
    some = gaze_losses(config, loss, network(inputs), truth._replace(**gone))
    kept = {name: values[~unknown] for name, values in inputs.items()}
    few = gaze_losses(config, loss, network(kept), Truth(*(part[~unknown] for part in truth)))
    for name in some:
        torch.testing.assert_close(some[name], few[name], rtol=1e-4, atol=1e-5)
    sum(some.values()).backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in network.parameters())


def test_a_batch_without_any_label_gives_no_loss_and_no_gradient():
    network = DashGazeNet(TINY)
    truth = truth_of(4)
    nothing = truth._replace(**{name: torch.full((4, 2), torch.nan) for name in truth._fields[:4]})
    losses = gaze_losses(TINY, LossConfig(), network(example_inputs(TINY, 4)), nothing)
    total = sum(losses.values())
    assert total == 0
    total.backward()
    assert all(p.grad is None or p.grad.abs().max() == 0 for p in network.parameters())


def test_the_loss_is_least_at_the_truth():
    truth = truth_of(8)
    network = DashGazeNet(TINY).eval()
    said = network(example_inputs(TINY, 8))
    right = said._replace(ray_deg=truth.ray_deg, face_deg=truth.face_deg)
    right = right._replace(location=truth.road_deg - rigid_road_deg(truth.ray_deg, truth.road_from_view))
    for kind in ("squared", "robust"):
        best, usual = (gaze_losses(TINY, LossConfig(kind=kind), outputs, truth) for outputs in (right, said))
        assert all(best[name] < usual[name] for name in best)


def test_the_uncertainty_that_costs_least_is_the_error_made():
    error_deg = 6.0
    truth = truth_of(1)._replace(ray_deg=torch.zeros(1, 2))
    said = DashGazeNet(TINY).eval()(example_inputs(TINY, 1))._replace(ray_deg=torch.tensor([[0.0, error_deg]]))
    costs = {
        sd: float(gaze_losses(TINY, LossConfig(), said._replace(ray_error_deg=torch.tensor([sd])), truth)["ray"])
        for sd in np.linspace(1, 20, 191).tolist()
    }
    # exp(-r / b) / (2 pi b^2) is largest at b = r / 2, and the standard deviation is sqrt(3) b.
    assert min(costs, key=costs.get) == pytest.approx(np.sqrt(3) * error_deg / 2, abs=0.1)


# --- angles ---


@settings(deadline=None)
@given(st.lists(st.tuples(angles, angles), min_size=1, max_size=5))
def test_angular_error_is_the_angle_between_the_rays(pairs):
    one, other = np.array(pairs, float).transpose(1, 0, 2)
    found = angular_error_deg(torch.tensor(one), torch.tensor(other)).numpy()
    wanted = angle_between_deg(rays_from_angles(*one.T), rays_from_angles(*other.T))
    close = wanted < 175  # where the clamp that keeps the gradient finite begins to tell
    np.testing.assert_allclose(found[close], wanted[close], atol=0.02)


def test_angular_error_has_a_finite_gradient_everywhere():
    one = torch.tensor([[0.0, 0.0], [10.0, 5.0], [180.0, 0.0]], requires_grad=True)
    angular_error_deg(one, torch.tensor([[0.0, 0.0], [10.0, 5.0], [0.0, 0.0]])).sum().backward()
    assert one.grad.isfinite().all()


@given(angles)
def test_unit_rays_are_those_of_the_geometry(angle):
    np.testing.assert_allclose(
        unit_rays(torch.tensor(angle, dtype=torch.float64)), rays_from_angles(*angle), atol=1e-12
    )


@settings(deadline=None)
@given(st.floats(-25, 25), st.floats(-12, 12), st.floats(-20, 20))
def test_the_rigid_direction_is_where_the_device_puts_a_target_far_away(azimuth, elevation, yaw):
    camera = Camera.from_fov((1920, 1080), 100)
    view = rotation_y(yaw)
    ray = view @ FACING @ rays_from_angles(azimuth, elevation)
    device = RoadView(RoadSettings(target_distance_m=1e6), camera)
    gaze = device.place(Gaze(Status.OK, ray=ray, eye_mid_mm=np.array([100.0, 50, 700]), error_deg=1.0))
    found = rigid_road_deg(torch.tensor([[azimuth, elevation]]), torch.tensor((FACING @ view)[None]).float())
    if gaze.road_px is not None:
        there = np.stack(angles_from_rays(camera.rays(gaze.road_px)))
        np.testing.assert_allclose(found[0].numpy(), there, atol=0.01)


# --- learning ---


def overfit(config, loss, steps, rate, count=64):
    network = DashGazeNet(config.model_copy(update={"dropout": 0.0}))
    inputs, truth = example_inputs(config, count), truth_of(count)
    optimiser = torch.optim.AdamW(network.parameters(), rate)
    history = []
    for _ in range(steps):
        outputs = network(inputs)
        parts = gaze_losses(config, loss, outputs, truth)
        optimiser.zero_grad()
        sum(parts.values()).backward()
        optimiser.step()
        error = outputs.face_deg if outputs.ray_deg is None else outputs.ray_deg
        wanted = truth.face_deg if outputs.ray_deg is None else truth.ray_deg
        history.append(float(angular_error_deg(error.detach(), wanted).mean()))
    return history


def test_a_small_network_learns_16_samples_by_heart():
    config = ModelConfig(width=0.125, features=64, driver_px=(32, 32), face_px=(32, 32))
    history = overfit(config, LossConfig(), 40, 3e-3, count=16)
    assert history[0] > 15
    assert history[-1] < 2


@pytest.mark.slow
def test_edge_learns_64_samples_by_heart():
    assert overfit(ModelConfig(), LossConfig(), 40, 1e-3)[-1] < 2


def test_the_thesis_network_has_two_resnets():
    told = describe(THESIS)
    parts = told["parameters_by_part"]
    # ResNet-50 without its classifier has 23.508 million parameters; a linear layer of 2048 to 500 follows.
    assert parts["driver"] == parts["face"] == 23_508_032 + 2048 * 500 + 500
    assert 50e6 < told["parameters"] < 52e6
    assert parts["left_eye"] == parts["right_eye"]


@pytest.mark.slow
def test_the_thesis_network_learns_16_samples_by_heart():
    config = THESIS.model_copy(update={"driver_px": (64, 64), "face_px": (64, 64)})
    assert overfit(config, LossConfig(kind="squared"), 30, 3e-4, count=16)[-1] < 4
