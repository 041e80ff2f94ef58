import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from dashgaze.bundle import Bundle, sha256_of
from dashgaze.device.headpose import CanonicalFace
from dashgaze.errors import DashgazeError
from dashgaze.export.gaze import (
    TOLERANCE,
    anonymous,
    export_onnx,
    input_tensors,
    open_graph,
    output_tensors,
    parity,
    run,
)
from dashgaze.export.quantise import compare, quantise_int8
from dashgaze.export.verify import posed_inputs
from dashgaze.training.gaze.config import ModelConfig, read_gaze_config
from dashgaze.training.gaze.model import INPUTS, DashGazeNet

torch.set_num_threads(1)

TINY = {"width": 0.125, "features": 8, "driver_px": (32, 32), "face_px": (32, 32)}
LANDMARKS = ModelConfig(width=0.125, features=8, branches=("landmarks",))
SMALL = ModelConfig(**TINY, branches=("left_eye", "right_eye", "landmarks"))
FACTOR = 1.5


def lively(config: ModelConfig, seed: int = 0) -> DashGazeNet:
    """A network whose normalisation layers do something, with outputs of some degrees."""
    torch.manual_seed(seed)
    network = DashGazeNet(config)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
            torch.nn.init.uniform_(module.weight, 0.5, 2)
            torch.nn.init.normal_(module.bias)
    for head in network.heads.values():
        torch.nn.init.normal_(head[-1].weight, 0, 2)
    return network.eval()


@pytest.fixture(scope="module")
def network() -> DashGazeNet:
    return lively(SMALL)


@pytest.fixture(scope="module")
def graph(network: DashGazeNet) -> bytes:
    return export_onnx(network, FACTOR)


@pytest.fixture(scope="module")
def inputs(network: DashGazeNet, bundle: Bundle) -> dict[str, np.ndarray]:
    return posed_inputs(CanonicalFace.from_bundle(bundle), network.config.crops, 16)


@pytest.fixture(scope="module")
def landmark_graph() -> bytes:
    return export_onnx(lively(LANDMARKS))


def assert_as_described(graph: bytes, config: ModelConfig) -> None:
    """The graph's tensors are those that the manifest will name."""
    types = {"tensor(uint8)": "uint8", "tensor(float)": "float32"}
    session = open_graph(graph)
    for nodes, tensors in (
        (session.get_inputs(), input_tensors(config)),
        (session.get_outputs(), output_tensors(config)),
    ):
        found = [(node.name, types[node.type], tuple(node.shape)) for node in nodes]
        assert found == [(tensor.name, tensor.type, tensor.shape) for tensor in tensors]


# --- what the graph computes ---


def test_graph_and_network_say_the_same(network, graph, inputs):
    assert parity(network, graph, inputs, FACTOR) <= TOLERANCE


def test_parity_sees_another_networks_graph_and_another_factor(network, graph, inputs):
    assert parity(lively(network.config, seed=1), graph, inputs, FACTOR) > TOLERANCE
    assert parity(network, graph, inputs, 1.01 * FACTOR) > TOLERANCE


def test_the_error_estimate_comes_calibrated(network, graph, inputs):
    with torch.inference_mode():
        raw = network({name: torch.from_numpy(value) for name, value in inputs.items()}).ray_error_deg
    np.testing.assert_allclose(run(graph, used(network, inputs))["ray_error_deg"], FACTOR * raw.numpy(), rtol=1e-4)


def test_every_sample_of_a_batch_is_treated_by_itself(network, graph, inputs):
    given = used(network, inputs)
    together = run(graph, given)
    for row in (0, 7):
        alone = run(graph, {name: value[row : row + 1] for name, value in given.items()})
        for name, value in alone.items():
            np.testing.assert_allclose(value[0], together[name][row], atol=1e-4)


def test_pictures_without_contrast_give_finite_numbers(network, graph, inputs):
    given = {name: value if value.dtype != np.uint8 else 0 * value for name, value in used(network, inputs).items()}
    assert all(np.isfinite(value).all() for value in run(graph, given).values())


def used(network: DashGazeNet, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {tensor.name: inputs[tensor.name] for tensor in input_tensors(network.config)}


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"branches": ("landmarks",), "landmarks": "five", "head_pose": False, "ray": False, "location": "none"},
        {"branches": ("left_eye", "right_eye"), "shared_eyes": False, "uncertainty": False, "location": "none"},
        {"branches": ("face",), "channels": 3, "location": "direct", "ray": False},
        {"branches": ("driver",), "face_angles": False, "location": "direct", "mixture": 3, "driver_px": (48, 32)},
        {"ray_fusion": "weighted", "location_fusion": "weighted"},
    ],
)
def test_every_kind_of_network_can_be_exported(changes, bundle):
    config = ModelConfig(**TINY | changes)
    network = lively(config)
    graph = export_onnx(network)
    assert_as_described(graph, config)
    assert parity(network, graph, posed_inputs(CanonicalFace.from_bundle(bundle), config.crops, 4)) <= TOLERANCE


@pytest.mark.slow
def test_the_network_of_the_thesis_can_be_exported(bundle):
    config = read_gaze_config("thesis").model
    network = lively(config)
    graph = export_onnx(network)
    assert_as_described(graph, config)
    assert parity(network, graph, posed_inputs(CanonicalFace.from_bundle(bundle), config.crops, 2)) <= TOLERANCE


def test_a_diverged_network_is_refused():
    network = lively(LANDMARKS)
    with torch.no_grad():
        network.heads["ray"][1].weight[0, 0] = torch.nan
    with pytest.raises(DashgazeError, match="not all of them are finite"):
        export_onnx(network)


# --- what the graph is ---


def test_inputs_and_outputs_are_those_of_the_manifest(network, graph):
    assert_as_described(graph, network.config)


def test_normalisation_is_folded_into_convolutions(graph):
    operators = {node.op_type for node in onnx.load_from_string(graph).graph.node}
    assert "Conv" in operators
    assert "BatchNormalization" not in operators


def test_the_network_itself_is_left_as_it_was(network, inputs):
    with torch.inference_mode():
        said = network({name: torch.from_numpy(value) for name, value in inputs.items()}).ray_deg
        again = lively(network.config)({name: torch.from_numpy(value) for name, value in inputs.items()}).ray_deg
    assert torch.equal(said, again)


def test_the_graph_tells_nothing_about_the_machine_and_code_that_made_it(graph):
    model = onnx.load_from_string(graph)
    assert not model.metadata_props
    assert not model.doc_string
    for node in model.graph.node:
        assert not node.metadata_props
        assert not node.doc_string
    for word in ("/", "torch", "site-packages", ".py", "dashgaze.training", str(Path.home()), "Traceback"):
        names = [*(node.name for node in model.graph.node), *(value.name for value in model.graph.initializer)]
        assert not any(word in name for name in names)
        if word != "/":  # weights may hold any single byte
            assert word.encode() not in graph


def test_the_same_weights_give_the_same_bytes(landmark_graph):
    assert export_onnx(lively(LANDMARKS)) == landmark_graph
    assert export_onnx(lively(LANDMARKS, seed=1)) != landmark_graph


@pytest.mark.slow
def test_another_process_gives_the_same_bytes(landmark_graph):
    script = (
        "import sys; sys.path.insert(0, 'tests'); import test_export_gaze as t;"
        "print(t.sha256_of(t.export_onnx(t.lively(t.LANDMARKS))))"
    )
    root = Path(__file__).parents[1]
    found = subprocess.run([sys.executable, "-c", script], cwd=root, capture_output=True, text=True, check=True)
    assert found.stdout.strip() == sha256_of(landmark_graph)


def test_names_do_not_depend_on_those_that_were_there_before(landmark_graph):
    model = onnx.load_from_string(landmark_graph)
    for number, node in enumerate(model.graph.node):
        node.name, node.doc_string = f"/home/someone/{number}", "File /home/someone/net.py"
        node.metadata_props.add(key="stack", value="/home/someone")
    model.producer_version = "2.13.0+cpu"
    assert anonymous(model).SerializeToString(deterministic=True) == landmark_graph


# --- eight bits ---


@pytest.fixture(scope="module")
def quantised(graph, inputs) -> bytes:
    return quantise_int8(graph, [inputs])


def test_eight_bits_keep_tensors_and_shrink_the_weights(network, graph, quantised):
    assert_as_described(quantised, network.config)
    weights = {
        value.name: value.data_type
        for value in onnx.load_from_string(quantised).graph.initializer
        if len(value.dims) == 4
    }
    assert set(weights.values()) == {onnx.TensorProto.INT8}
    assert len(quantised) < 0.6 * len(graph)


def test_eight_bits_change_little_of_what_is_said(network, graph, quantised, inputs):
    said = run(graph, used(network, inputs))
    comparison = compare(graph, quantised, inputs, runs=3)
    for name, change in comparison.mean_change.items():
        assert change < 0.1 * float(np.abs(said[name]).max()), name
    assert comparison.size_ratio == len(quantised) / len(graph)
    assert "size x" in comparison.text()


def test_a_graph_differs_by_nothing_from_itself(graph, inputs):
    comparison = compare(graph, graph, inputs, runs=3)
    assert set(comparison.largest_change.values()) == {0.0}


def test_quantisation_is_reproducible(graph, inputs, quantised):
    assert quantise_int8(graph, [inputs]) == quantised


def test_quantisation_without_samples_is_refused(graph, inputs):
    for batches in ([], [{name: value[:0] for name, value in inputs.items()}]):
        with pytest.raises(DashgazeError, match="there are no samples"):
            quantise_int8(graph, batches)


def test_inputs_cover_all_that_a_network_may_take(inputs):
    assert set(INPUTS) <= set(inputs)
