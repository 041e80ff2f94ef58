"""DashGazeNet as an ONNX graph that a device runs without torch.

The graph takes the inputs of `dashgaze.device.crops.GazeInputs` that the network uses, under the same names and with a
free batch size `n`, pictures as uint8 as they come from the crops; it gives what the network says in degrees or shares.
Normalisation layers are folded into the convolutions before them (Jacob et al. 2018, section 3.2), and what training
found out about the error estimate is folded into that output. The same weights give the same bytes: the graph holds no
names, paths or versions of the machine that made it.
"""

import copy
import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from dashgaze import bundle
from dashgaze.device.crops import POSE_NAMES
from dashgaze.errors import DashgazeError
from dashgaze.training.gaze.config import ModelConfig
from dashgaze.training.gaze.model import FIVE_POINTS, MESH_POINTS, PICTURES, UNIT_DEG, DashGazeNet, used_inputs

Arrays = Mapping[str, NDArray[Any]]

BATCH = "n"
"""Name of the free batch size."""
OPSET = 20
TOLERANCE = 1e-4
"""Largest difference from the network that an export may have; `parity`."""

_MEANINGS = {
    "driver": "whole picture, squeezed",
    "face": "face in the normalised view, 220 mm wide",
    "right_eye": "the driver's right eye in the normalised view, 60 mm wide",
    "left_eye": "the driver's left eye in the normalised view, 60 mm wide",
    "five": "eyes (right, left), nose, mouth corners: x, y from the middle of the picture, in shares of its width",
    "mesh": "face mesh in the normalised view at the distance of the eyes, x, y in 100 mm",
    "pose": f"head pose in the normalised view: {', '.join(POSE_NAMES)}",
    "ray_deg": "gaze: azimuth (positive to the driver's right) and elevation (up) in the normalised view, degrees; "
    "0 is into the camera",
    "ray_error_deg": "standard deviation of ray_deg per axis, degrees, calibrated on the validation split",
    "face_deg": "gaze: azimuth (positive to the driver's right) and elevation (up) in the face frame, degrees",
    "location_direct": "place on the road view, x, y in shares of its width and height",
    "location_residual": "what the rigid pair of cameras leaves over: degrees to the right and up in the road camera",
}


class _Deployed(nn.Module):
    """The network with tensors for inputs and outputs, and its error estimate calibrated."""

    def __init__(self, net: DashGazeNet, error_factor: float) -> None:
        super().__init__()
        self.net = net
        self.error_factor = error_factor
        self.inputs = used_inputs(net.config)
        self.outputs = output_names(net.config)

    def forward(self, *inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        said = self.net(dict(zip(self.inputs, inputs, strict=True)))._asdict()
        if said["ray_error_deg"] is not None:
            said["ray_error_deg"] = said["ray_error_deg"] * self.error_factor
        return tuple(said[name] for name in self.outputs)


def export_onnx(net: DashGazeNet, error_factor: float = 1.0) -> bytes:
    """The network as a checked ONNX graph, opset 20.

    `error_factor` is what the run's validation multiplies `ray_error_deg` by. Raises DashgazeError when a weight is not
    a finite number.
    """
    if not all(bool(value.isfinite().all()) for value in net.state_dict().values()):
        raise DashgazeError("weights", "not all of them are finite numbers", "the training diverged: train again")
    deployed = _Deployed(_folded(net), error_factor).eval()
    inputs = input_tensors(net.config)
    batch = torch.export.Dim(BATCH, min=1)
    with _quiet(), torch.no_grad():
        program = torch.onnx.export(
            deployed,
            tuple(torch.zeros(2, *tensor.shape[1:], dtype=getattr(torch, tensor.type)) for tensor in inputs),  # type: ignore[arg-type]
            input_names=[tensor.name for tensor in inputs],
            output_names=list(output_names(net.config)),
            opset_version=OPSET,
            dynamic_shapes=[tuple({0: batch} for _ in inputs)],
            dynamo=True,
            external_data=False,
            verbose=False,
        )
    assert program is not None
    graph = anonymous(program.model_proto)
    onnx.checker.check_model(graph, full_check=True)
    return bytes(graph.SerializeToString(deterministic=True))


def parity(net: DashGazeNet, graph: bytes, inputs: Arrays, error_factor: float = 1.0) -> float:
    """Largest difference between graph and network on inputs (N, ...) by name: angles in tens of degrees, shares."""
    deployed = _Deployed(net, error_factor).eval()
    with torch.inference_mode():
        expected = deployed(*(torch.from_numpy(np.array(inputs[name])) for name in deployed.inputs))
    found = run(graph, {name: inputs[name] for name in deployed.inputs})
    differences = [0.0]
    for name, values in zip(deployed.outputs, expected, strict=True):
        difference = float(np.abs(found[name] - values.numpy()).max(initial=0.0))
        is_share = name == "location" and net.config.location == "direct"
        differences.append(difference if is_share else difference / UNIT_DEG)
    return float(np.max(differences))


def run(graph: bytes, inputs: Arrays) -> dict[str, NDArray[np.float32]]:
    """Outputs of a graph by name, on one thread."""
    session = open_graph(graph)
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, dict(inputs)), strict=True))


def open_graph(graph: bytes) -> ort.InferenceSession:
    """A session on one thread, as on the device."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


def output_names(config: ModelConfig) -> tuple[str, ...]:
    """Names of the outputs that a network has, in their order."""
    names = ["ray_deg"] if config.ray else []
    names += ["ray_error_deg"] if config.ray and config.uncertainty else []
    names += ["face_deg"] if config.face_angles else []
    return (*names, *(["location"] if config.location != "none" else []))


def input_tensors(config: ModelConfig) -> tuple[bundle.Tensor, ...]:
    """The manifest's description of the inputs."""
    plan = config.crops
    sizes = {"driver": plan.driver_px, "face": plan.face_px, "right_eye": plan.eye_px, "left_eye": plan.eye_px}
    points = {"five": (FIVE_POINTS, 2), "mesh": (MESH_POINTS, 2), "pose": (len(POSE_NAMES),)}

    def tensor(name: str) -> bundle.Tensor:
        if name not in PICTURES:
            return bundle.Tensor(name=name, shape=(BATCH, *points[name]), type="float32", meaning=_MEANINGS[name])
        width, height = sizes[name]
        return bundle.Tensor(
            name=name,
            shape=(BATCH, plan.channels, height, width),
            type="uint8",
            range=(0, 255),
            colour_order="RGB" if plan.channels == 3 else None,
            meaning=_MEANINGS[name],
        )

    return tuple(tensor(name) for name in used_inputs(config))


def output_tensors(config: ModelConfig) -> tuple[bundle.Tensor, ...]:
    """The manifest's description of the outputs; none of them is bounded."""

    def tensor(name: str) -> bundle.Tensor:
        meaning = _MEANINGS[f"location_{config.location}" if name == "location" else name]
        shape: tuple[int | str, ...] = (BATCH,) if name == "ray_error_deg" else (BATCH, 2)
        return bundle.Tensor(name=name, shape=shape, type="float32", meaning=meaning)

    return tuple(tensor(name) for name in output_names(config))


def anonymous(graph: onnx.ModelProto) -> onnx.ModelProto:
    """A copy that tells nothing of the machine and the code that made it; nodes and values are numbered."""
    graph = copy.deepcopy(graph)
    graph.producer_name, graph.producer_version, graph.domain = "dashgaze", "", ""
    graph.graph.name = "gaze"
    graph.graph.ClearField("value_info")
    for message in _messages(graph):
        for field in ("doc_string", "metadata_props"):
            if field in message.DESCRIPTOR.fields_by_name:
                message.ClearField(field)
    _number(graph.graph)
    return graph


def _messages(message: Any) -> Iterator[Any]:
    """A Protocol Buffers message and all within it."""
    yield message
    for field, value in message.ListFields():
        if field.message_type is not None:
            for inner in value if field.is_repeated else [value]:
                yield from _messages(inner)


def _number(graph: onnx.GraphProto) -> None:
    """Gives nodes and inner values names by their place; the graph has no subgraphs."""
    names = {value.name: value.name for value in (*graph.input, *graph.output)} | {"": ""}
    for constant in graph.initializer:
        names.setdefault(constant.name, f"c{len(names)}")
        constant.name = names[constant.name]
    for number, node in enumerate(graph.node):
        for output in node.output:
            names.setdefault(output, f"v{len(names)}")
        node.name = f"{node.op_type}_{number}"
        node.input[:] = [names[name] for name in node.input]
        node.output[:] = [names[name] for name in node.output]


def _folded(net: DashGazeNet) -> DashGazeNet:
    """A copy in which every normalisation is part of the convolution before it."""
    net = copy.deepcopy(net).eval()
    for module in list(net.modules()):
        if isinstance(module, nn.Sequential):
            _fold(module)
    return net


def _fold(layers: nn.Sequential) -> None:
    for number in range(len(layers) - 1):
        first, second = layers[number], layers[number + 1]
        if isinstance(first, nn.Conv2d) and isinstance(second, nn.BatchNorm2d):
            layers[number], layers[number + 1] = fuse_conv_bn_eval(first, second), nn.Identity()


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what torch says about itself: its own deprecated calls, packages it could use."""
    log = logging.getLogger("torch.onnx")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.setLevel(level)
