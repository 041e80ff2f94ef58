"""TensorFlow Lite -> ONNX for the face networks, in the form that ONNX Runtime's CPU kernels run fastest.

Computation on images is planar (batch x channels x height x width), everything else stays as it is in the
file (channels last). Three things are written differently from the source, none of which changes a value by
more than rounding:

- The first convolution reads the channels-last picture as one plane of width x channels columns, with the
  kernel
  and the stride widened alike. No transposition is left at the input.
- Zeros appended to the channels of a residual branch become a 1x1 convolution, which stays in the runtime's
  blocked
  layout and takes the following addition in.
- PRelu, which the runtime computes slowly and outside its blocked layout, becomes two depthwise 1x1
  convolutions, one of them with a fused Relu: prelu(x) = s x + relu((1-s) x) where s <= 1, and -prelu(x) =
  -s x + relu((s-1) x) where s > 1. The sign of a negated channel is taken back in the weights that read it,
  `lower_prelu`.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
import tflite
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper, numpy_helper

from dashgaze.errors import DashgazeError
from dashgaze.export.tflite_graph import Array, Operator, TfliteGraph

OPSET = 18
IR_VERSION = 8
HALF_FROM_SIZE = 4096
"""Constants of at least so many values are stored as float16 where that loses nothing."""

_TO_PLANAR = (0, 3, 1, 2)
_TO_CHANNELS_LAST = (0, 2, 3, 1)
_LAYER_NORM = ("MEAN", "NEG", "SQUARED_DIFFERENCE", "MEAN", "ADD", "RSQRT", "MUL", "MUL", "MUL", "ADD")


@dataclass
class Net:
    """An ONNX graph in the making. All values are float32."""

    nodes: list[NodeProto] = field(default_factory=list)
    constants: dict[str, Array] = field(default_factory=dict)
    inputs: dict[str, tuple[int, ...]] = field(default_factory=dict)
    outputs: dict[str, tuple[int, ...]] = field(default_factory=dict)

    def add(self, op: str, inputs: Sequence[str], output: str, **attributes: Any) -> str:
        """Appends a node; returns the name of its output."""
        self.nodes.append(helper.make_node(op, inputs, [output], **attributes))
        return output

    def constant(self, name: str, value: Array) -> str:
        """Adds a constant; returns its name."""
        self.constants[name] = np.ascontiguousarray(value)
        return name


def to_onnx(graph: TfliteGraph, inputs: Sequence[str], outputs: dict[str, tuple[int, tuple[int, ...]]]) -> bytes:
    """The ONNX file of a TensorFlow Lite graph.

    `inputs` names its inputs; `outputs` gives, for each output to keep, its place among the graph's outputs
    and the shape to give it. Raises DashgazeError on an operator that is not supported.
    """
    net = _Converter(graph, inputs).convert(outputs)
    _drop_unused(net)
    lower_prelu(net)
    return serialised(net)


class _Converter:
    """One pass over the operators of a TensorFlow Lite graph."""

    def __init__(self, graph: TfliteGraph, input_names: Sequence[str]) -> None:
        self.graph = graph
        self.net = Net(inputs={n: graph.shapes[i] for n, i in zip(input_names, graph.inputs, strict=True)})
        self.names = dict(zip(graph.inputs, input_names, strict=True))
        self.planar: set[int] = set()
        self.pads: dict[int, tuple[int, Array]] = {}
        """Zero padding that the convolutions behind it take in: padded tensor -> source, (4, 2) amounts."""
        self.convert_kind: dict[str, Callable[[Operator, str], None]] = {
            "CONV_2D": self._convolve,
            "DEPTHWISE_CONV_2D": self._convolve,
            "MAX_POOL_2D": self._pool,
            "PAD": self._pad,
            "PRELU": self._prelu,
            "RELU": self._elementwise("Relu"),
            "LOGISTIC": self._elementwise("Sigmoid"),
            "NEG": self._elementwise("Neg"),
            "SQRT": self._elementwise("Sqrt"),
            "ADD": self._elementwise("Add"),
            "SUB": self._elementwise("Sub"),
            "MUL": self._elementwise("Mul"),
            "DIV": self._elementwise("Div"),
            "MEAN": self._reduce("ReduceMean"),
            "SUM": self._reduce("ReduceSum"),
            "RESHAPE": self._reshape,
            "TRANSPOSE": self._transpose,
            "STRIDED_SLICE": self._slice,
            "CONCATENATION": self._concatenate,
            "RESIZE_BILINEAR": self._resize,
            "DEPTH_TO_SPACE": self._depth_to_space,
        }

    def convert(self, outputs: dict[str, tuple[int, tuple[int, ...]]]) -> Net:
        operators, i = self.graph.operators, 0
        while i < len(operators):
            pattern = operators[i : i + len(_LAYER_NORM)]
            if tuple(o.kind for o in pattern) == _LAYER_NORM:
                self._layer_norm(pattern)
                i += len(pattern)
                continue
            operator = operators[i]
            if operator.kind not in self.convert_kind:
                raise DashgazeError("tflite", f"operator {operator.kind} is not supported")
            self.names[operator.output] = f"t{operator.output}"
            self.convert_kind[operator.kind](operator, f"t{operator.output}")
            i += 1
        for name, (place, shape) in outputs.items():
            source = self._channels_last(self.graph.outputs[place])
            self.net.add("Reshape", [source, self._integers(f"{name}.shape", shape)], name)
            self.net.outputs[name] = shape
        return self.net

    def _integers(self, name: str, values: Sequence[int]) -> str:
        return self.net.constant(name, np.asarray(values, np.int64))

    def _value(self, tensor: int) -> str:
        """Name of a tensor in the layout it has; a constant is added on first use."""
        if tensor not in self.names:
            self.names[tensor] = self.net.constant(f"c{tensor}", self.graph.constants[tensor])
        return self.names[tensor]

    def _channels_last(self, tensor: int) -> str:
        name = self._value(tensor)
        if tensor not in self.planar:
            return name
        return self.net.add("Transpose", [name], f"{name}.last", perm=_TO_CHANNELS_LAST)

    def _add_activated(self, operator: Operator, op: str, inputs: Sequence[str], output: str, **kw: Any) -> None:
        """Adds a node and, behind it, the activation that TensorFlow Lite fuses into the operator."""
        function = operator.options.FusedActivationFunction()
        if function == tflite.ActivationFunctionType.NONE:
            self.net.add(op, inputs, output, **kw)
        elif function == tflite.ActivationFunctionType.RELU:
            self.net.add("Relu", [self.net.add(op, inputs, f"{output}.linear", **kw)], output)
        else:
            raise DashgazeError("tflite", f"activation {function} of {operator.kind} is not supported")

    def _elementwise(self, op: str) -> Callable[[Operator, str], None]:
        def convert(operator: Operator, output: str) -> None:
            if any(i in self.planar for i in operator.inputs):
                self.planar.add(operator.output)
            inputs = [self._value(i) for i in operator.inputs]
            if operator.options is None:
                self.net.add(op, inputs, output)
            else:
                self._add_activated(operator, op, inputs, output)

        return convert

    def _convolve(self, operator: Operator, output: str) -> None:
        options, depthwise = operator.options, operator.kind == "DEPTHWISE_CONV_2D"
        source, amounts = self.pads.get(operator.inputs[0], (operator.inputs[0], np.zeros((4, 2), np.int64)))
        kernel = self.graph.constants[
            operator.inputs[1]
        ]  # out x height x width x in; depthwise 1 x height x width x out
        bias = self.net.constant(f"{output}.bias", self.graph.constants[operator.inputs[2]].reshape(-1))
        _, height, width, channels = self.graph.shapes[source]
        rows, columns = kernel.shape[1:3]
        if source not in self.planar and depthwise:
            raise DashgazeError("tflite", "depthwise convolutions of the input are not supported")
        if options.DilationHFactor() != 1 or options.DilationWFactor() != 1:
            raise DashgazeError("tflite", "dilated convolutions are not supported")
        if source not in self.planar and (rows, columns) == (1, 1):
            weight = self.net.constant(f"{output}.weight", kernel[:, 0, 0].T)
            product = self.net.add("MatMul", [self._value(source), weight], f"{output}.product")
            self._add_activated(operator, "Add", [product, bias], output)
            return
        strides = [options.StrideH(), options.StrideW()]
        (top, bottom), (left, right) = amounts[1:3].tolist()
        if options.Padding() == tflite.Padding.SAME:
            top, bottom = _same_padding(height, rows, strides[0])
            left, right = _same_padding(width, columns, strides[1])
        picture = self._value(source)
        weights = kernel.transpose(3, 0, 1, 2) if depthwise else kernel.transpose(_TO_PLANAR)
        if source not in self.planar:
            plane = self._integers(f"{output}.plane", (1, 1, height, width * channels))
            picture = self.net.add("Reshape", [picture, plane], f"{output}.input")
            weights = kernel.reshape(len(kernel), 1, rows, columns * channels)
            columns, left, right = (n * channels for n in (columns, left, right))
            strides[1] *= channels
        self._add_activated(
            operator,
            "Conv",
            [picture, self.net.constant(f"{output}.weight", weights), bias],
            output,
            kernel_shape=[rows, columns],
            strides=strides,
            pads=[top, left, bottom, right],
            group=channels if depthwise else 1,
        )
        self.planar.add(operator.output)

    def _pool(self, operator: Operator, output: str) -> None:
        options = operator.options
        _, height, width, _ = self.graph.shapes[operator.inputs[0]]
        size = [options.FilterHeight(), options.FilterWidth()]
        strides = [options.StrideH(), options.StrideW()]
        top = bottom = left = right = 0
        if options.Padding() == tflite.Padding.SAME:
            top, bottom = _same_padding(height, size[0], strides[0])
            left, right = _same_padding(width, size[1], strides[1])
        source = self._value(operator.inputs[0])
        pads = [top, left, bottom, right]
        self._add_activated(operator, "MaxPool", [source], output, kernel_shape=size, strides=strides, pads=pads)
        self.planar.add(operator.output)

    def _pad(self, operator: Operator, output: str) -> None:
        source, amounts = operator.inputs[0], self.graph.constants[operator.inputs[1]].astype(np.int64)
        readers = [o for o in self.graph.operators if operator.output in o.inputs]
        if not amounts[[0, 3]].any() and all(_takes_padding(o) for o in readers):
            self.pads[operator.output] = (source, amounts)
        elif not amounts[:3].any() and amounts[3, 0] == 0 and source in self.planar:
            channels = self.graph.shapes[source][3]
            extended = np.eye(channels + amounts[3, 1], channels, dtype=np.float32)[:, :, None, None]
            self.net.add("Conv", [self._value(source), self.net.constant(f"{output}.weight", extended)], output)
            self.planar.add(operator.output)
        else:
            raise DashgazeError("tflite", f"padding by {amounts.tolist()} is not supported")

    def _prelu(self, operator: Operator, output: str) -> None:
        slope = self.graph.constants[operator.inputs[1]].reshape(-1, 1, 1)
        if len(slope) != self.graph.shapes[operator.output][3]:
            raise DashgazeError("tflite", "PRelu with a slope per pixel is not supported")
        self.net.add("PRelu", [self._value(operator.inputs[0]), self.net.constant(f"{output}.slope", slope)], output)
        self.planar.add(operator.output)

    def _reduce(self, op: str) -> Callable[[Operator, str], None]:
        def convert(operator: Operator, output: str) -> None:
            axes = self._integers(f"{output}.axes", self.graph.constants[operator.inputs[1]].reshape(-1).tolist())
            source = self._channels_last(operator.inputs[0])
            self.net.add(op, [source, axes], output, keepdims=int(operator.options.KeepDims()))

        return convert

    def _reshape(self, operator: Operator, output: str) -> None:
        shape = self._integers(f"{output}.shape", self.graph.shapes[operator.output])
        self.net.add("Reshape", [self._channels_last(operator.inputs[0]), shape], output)

    def _transpose(self, operator: Operator, output: str) -> None:
        order = self.graph.constants[operator.inputs[1]].tolist()
        self.net.add("Transpose", [self._channels_last(operator.inputs[0])], output, perm=order)

    def _slice(self, operator: Operator, output: str) -> None:
        options, shape = operator.options, self.graph.shapes[operator.inputs[0]]
        begin, end, step = (self.graph.constants[i].tolist() for i in operator.inputs[1:])
        if options.EllipsisMask() or options.NewAxisMask() or any(n != 1 for n in step):
            raise DashgazeError("tflite", "slices with steps, an ellipsis or new axes are not supported")
        begin = [0 if options.BeginMask() >> i & 1 else n for i, n in enumerate(begin)]
        end = [shape[i] if options.EndMask() >> i & 1 else n for i, n in enumerate(end)]
        end = [begin[i] + 1 if options.ShrinkAxisMask() >> i & 1 else n for i, n in enumerate(end)]
        bounds = [self._integers(f"{output}.begin", begin), self._integers(f"{output}.end", end)]
        self.net.add("Slice", [self._channels_last(operator.inputs[0]), *bounds], f"{output}.slice")
        shape_name = self._integers(f"{output}.shape", self.graph.shapes[operator.output])
        self.net.add("Reshape", [f"{output}.slice", shape_name], output)

    def _concatenate(self, operator: Operator, output: str) -> None:
        axis = operator.options.Axis() % len(self.graph.shapes[operator.output])
        self._add_activated(operator, "Concat", [self._channels_last(i) for i in operator.inputs], output, axis=axis)

    def _resize(self, operator: Operator, output: str) -> None:
        options = operator.options
        if options.AlignCorners() or not options.HalfPixelCenters():
            raise DashgazeError("tflite", "resizing other than with half-pixel centres is not supported")
        batch, height, width, channels = self.graph.shapes[operator.output]
        size = self._integers(f"{output}.size", (batch, channels, height, width))
        self.net.add("Resize", [self._value(operator.inputs[0]), "", "", size], output, mode="linear")
        self.planar.add(operator.output)

    def _depth_to_space(self, operator: Operator, output: str) -> None:
        source, block = self._value(operator.inputs[0]), operator.options.BlockSize()
        self.net.add("DepthToSpace", [source], output, blocksize=block, mode="DCR")
        self.planar.add(operator.output)

    def _layer_norm(self, pattern: Sequence[Operator]) -> None:
        """The ten operators of one normalisation over the last axis, without an offset."""
        mean, _, _, _, add_epsilon, _, scale, *_, last = pattern
        axes = self.graph.constants[mean.inputs[1]].reshape(-1).tolist()
        rank = len(self.graph.shapes[mean.inputs[0]])
        if [a % rank for a in axes] != [rank - 1]:
            raise DashgazeError("tflite", f"normalisation over axes {axes} is not supported")
        epsilon = float(self.graph.constants[add_epsilon.inputs[1]].reshape(()))
        output = self.names[last.output] = f"t{last.output}"
        inputs = [self._channels_last(mean.inputs[0]), self._value(scale.inputs[1])]
        self.net.add("LayerNormalization", inputs, output, axis=-1, epsilon=epsilon)


def _takes_padding(operator: Operator) -> bool:
    return operator.kind in ("CONV_2D", "DEPTHWISE_CONV_2D") and operator.options.Padding() == tflite.Padding.VALID


def _same_padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """TensorFlow's SAME: ceil(size / stride) outputs, the odd zero of padding at the end."""
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


def _drop_unused(net: Net) -> None:
    """Removes nodes whose output nobody reads."""
    used, kept = set(net.outputs), []
    for node in reversed(net.nodes):
        if used.intersection(node.output):
            used.update(node.input)
            kept.append(node)
    net.nodes = kept[::-1]


def lower_prelu(net: Net) -> None:
    """Replaces PRelu by depthwise convolutions, following the channels whose sign is turned over on the way.

    A channel may be negated where everything that reads it can take the sign back: a convolution in its
    weights, and a residual sum whose other branch is a convolution, by negating that branch too, up to the
    PRelu behind the sum. Elsewhere (before a pooling) prelu(x) = s x + (1-s) relu(x) costs one more pass
    over the data.
    """
    readers: dict[str, list[NodeProto]] = defaultdict(list)
    for node in net.nodes:
        for name in node.input:
            readers[name].append(node)
    producer = {node.output[0]: node for node in net.nodes}

    def is_branch(name: str) -> bool:
        return name in producer and producer[name].op_type == "Conv" and len(readers[name]) == 1

    def takes_sign(name: str, node: NodeProto) -> bool:
        if node.op_type != "Add":
            return node.op_type == "Conv"
        others = [n for n in node.input if n != name]
        behind = {reader.op_type for reader in readers[node.output[0]]}
        return all(map(is_branch, others)) and behind == {"PRelu"} and node.output[0] not in net.outputs

    signs: dict[str, Array] = {}
    nodes, net.nodes = net.nodes, []
    for node in nodes:
        if node.op_type == "PRelu":
            source, output = node.input[0], node.output[0]
            slope = net.constants[node.input[1]].reshape(-1)
            sign = np.where(slope > 1, np.float32(-1), np.float32(1))
            free = output not in net.outputs and all(takes_sign(output, reader) for reader in readers[output])
            if free and (sign < 0).any():
                signs[output] = sign
            _add_prelu(net, source, output, slope, signs.get(source, np.ones_like(sign)), negate=free)
            continue
        signed = [name for name in node.input if name in signs]
        if node.op_type == "Conv" and signed:
            _scale_inputs(net, node, signs[signed[0]])
        elif node.op_type == "Add" and signed:
            signs[node.output[0]] = signs[signed[0]]
            for name in node.input:
                if name not in signs:
                    _scale_outputs(net, producer[name], signs[signed[0]])
        net.nodes.append(node)


def _add_prelu(
    net: Net, source: str, output: str, slope: NDArray[np.float32], source_sign: Array, *, negate: bool
) -> None:
    def depthwise(name: str, factor: Array, target: str) -> None:
        weight = net.constant(f"{target}.weight", factor.astype(np.float32).reshape(-1, 1, 1, 1))
        net.add("Conv", [name, weight], target, group=len(slope))

    turned = slope > 1
    if negate or not turned.any():
        depthwise(source, np.where(turned, -slope, slope) * source_sign, f"{output}.line")
        depthwise(source, np.abs(1 - slope) * source_sign, f"{output}.rest")
        net.add("Relu", [f"{output}.rest"], f"{output}.bend")
    else:
        depthwise(source, slope * source_sign, f"{output}.line")
        if (source_sign < 0).any():
            depthwise(source, source_sign, f"{output}.upright")
            source = f"{output}.upright"
        net.add("Relu", [source], f"{output}.rest")
        depthwise(f"{output}.rest", 1 - slope, f"{output}.bend")
    net.add("Add", [f"{output}.line", f"{output}.bend"], output)


def _scale_inputs(net: Net, conv: NodeProto, factor: Array) -> None:
    """Makes a convolution read channels that were multiplied by `factor` (each 1 or -1)."""
    depthwise = any(a.name == "group" and a.i > 1 for a in conv.attribute)
    shape = (-1, 1, 1, 1) if depthwise else (1, -1, 1, 1)
    net.constants[conv.input[1]] = net.constants[conv.input[1]] * factor.reshape(shape)


def _scale_outputs(net: Net, conv: NodeProto, factor: Array) -> None:
    """Makes a convolution multiply its channels by `factor`."""
    net.constants[conv.input[1]] = net.constants[conv.input[1]] * factor.reshape(-1, 1, 1, 1)
    if len(conv.input) > 2:
        net.constants[conv.input[2]] = net.constants[conv.input[2]] * factor


def _fits_half(value: Array) -> bool:
    with np.errstate(over="ignore"):
        return np.array_equal(value.astype(np.float16).astype(np.float32), value)


def serialised(net: Net) -> bytes:
    """The checked file, the same bytes for the same graph."""
    used = {name for node in net.nodes for name in node.input}
    initialisers, casts = [], []
    for name, value in sorted(net.constants.items()):
        if name not in used:
            continue
        if value.dtype == np.float32 and value.size >= HALF_FROM_SIZE and _fits_half(value):
            initialisers.append(numpy_helper.from_array(value.astype(np.float16), f"{name}.half"))
            casts.append(helper.make_node("Cast", [f"{name}.half"], [name], to=TensorProto.FLOAT))
        else:
            initialisers.append(numpy_helper.from_array(value, name))
    inputs, outputs = (
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in end.items()]
        for end in (net.inputs, net.outputs)
    )
    graph = helper.make_graph([*casts, *net.nodes], "face", inputs, outputs, initialisers)
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION, producer_name="dashgaze"
    )
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString(deterministic=True))
