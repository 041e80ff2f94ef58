"""Reads a TensorFlow Lite model into plain records: constants unpacked, TensorFlow not needed.

The format is that of TensorFlow's `schema.fbs` (version 3). Constants reach an operator through DEQUANTIZE
(stored as float16) and DENSIFY (stored sparse, in the TACO layout that `SparsityParameters` describes); both
are resolved here, so that what is left is the computation.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import tflite
from numpy.typing import NDArray

from dashgaze.errors import DashgazeError

Array = NDArray[Any]

_DTYPES: dict[int, np.dtype[Any]] = {
    tflite.TensorType.FLOAT32: np.dtype(np.float32),
    tflite.TensorType.FLOAT16: np.dtype(np.float16),
    tflite.TensorType.INT32: np.dtype(np.int32),
}
_KINDS = {code: kind for kind, code in vars(tflite.BuiltinOperator).items() if isinstance(code, int)}
_INDEX_VECTORS = {
    tflite.SparseIndexVector.Int32Vector: tflite.Int32Vector,
    tflite.SparseIndexVector.Uint16Vector: tflite.Uint16Vector,
    tflite.SparseIndexVector.Uint8Vector: tflite.Uint8Vector,
}
_OPTIONS = {
    "CONV_2D": tflite.Conv2DOptions,
    "DEPTHWISE_CONV_2D": tflite.DepthwiseConv2DOptions,
    "MAX_POOL_2D": tflite.Pool2DOptions,
    "ADD": tflite.AddOptions,
    "SUB": tflite.SubOptions,
    "MUL": tflite.MulOptions,
    "DIV": tflite.DivOptions,
    "CONCATENATION": tflite.ConcatenationOptions,
    "RESIZE_BILINEAR": tflite.ResizeBilinearOptions,
    "DEPTH_TO_SPACE": tflite.DepthToSpaceOptions,
    "MEAN": tflite.ReducerOptions,
    "SUM": tflite.ReducerOptions,
    "STRIDED_SLICE": tflite.StridedSliceOptions,
}


@dataclass(frozen=True, slots=True)
class Operator:
    """One step of the computation. Tensors go by their number in the file."""

    kind: str
    """Name of `BuiltinOperator`, e.g. "CONV_2D"."""
    inputs: tuple[int, ...]
    output: int
    options: Any
    """The flatbuffer table of the operator's options; None for a kind that has none."""


@dataclass(frozen=True, slots=True)
class TfliteGraph:
    """A model with one subgraph, its operators in the order of execution."""

    shapes: tuple[tuple[int, ...], ...]
    """Of every tensor; images are batch x height x width x channels."""
    constants: dict[int, Array]
    """Values of the tensors that do not depend on the input; floats as float32."""
    operators: tuple[Operator, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


def read_tflite(data: bytes) -> TfliteGraph:
    """Reads the bytes of a `.tflite` file.

    Raises DashgazeError when the model has several subgraphs, a custom operator or a constant of an unknown
    type.
    """
    model = tflite.Model.GetRootAsModel(data, 0)
    if model.SubgraphsLength() != 1:
        raise DashgazeError("tflite", f"the model has {model.SubgraphsLength()} subgraphs, not one")
    graph = model.Subgraphs(0)
    tensors = [graph.Tensors(i) for i in range(graph.TensorsLength())]
    constants = {i: value for i, t in enumerate(tensors) if (value := _constant(model, t)) is not None}
    operators = []
    for i in range(graph.OperatorsLength()):
        operator = _operator(model, graph.Operators(i))
        if operator.kind in ("DEQUANTIZE", "DENSIFY"):
            constants[operator.output] = constants[operator.inputs[0]]
        else:
            operators.append(operator)
    return TfliteGraph(
        shapes=tuple(_shape(t) for t in tensors),
        constants={i: v.astype(np.float32) if v.dtype == np.float16 else v for i, v in constants.items()},
        operators=tuple(operators),
        inputs=tuple(graph.InputsAsNumpy().tolist()),
        outputs=tuple(graph.OutputsAsNumpy().tolist()),
    )


def _operator(model: Any, raw: Any) -> Operator:
    code = model.OperatorCodes(raw.OpcodeIndex())
    # Files older than schema version 3a hold the code in the deprecated field, and 0 in the new one.
    kind = _KINDS[max(code.BuiltinCode(), code.DeprecatedBuiltinCode())]
    if kind == "CUSTOM" or raw.OutputsLength() != 1:
        raise DashgazeError("tflite", f"operator {kind} with {raw.OutputsLength()} outputs is not supported")
    options = None
    if kind in _OPTIONS:
        options, table = _OPTIONS[kind](), raw.BuiltinOptions()
        options.Init(table.Bytes, table.Pos)
    return Operator(kind, tuple(raw.InputsAsNumpy().tolist()), int(raw.Outputs(0)), options)


def _shape(tensor: Any) -> tuple[int, ...]:
    return tuple(tensor.ShapeAsNumpy().tolist()) if tensor.ShapeLength() else ()


def _constant(model: Any, tensor: Any) -> Array | None:
    buffer = model.Buffers(tensor.Buffer())
    if buffer is None or buffer.DataLength() == 0:
        return None
    if tensor.Type() not in _DTYPES:
        raise DashgazeError("tflite", f"tensor {tensor.Name()!r} has the unsupported type {tensor.Type()}")
    values = np.frombuffer(buffer.DataAsNumpy().tobytes(), _DTYPES[tensor.Type()])
    sparsity = tensor.Sparsity()
    return values.reshape(_shape(tensor)) if sparsity is None else densified(values, _shape(tensor), sparsity)


def densified(values: Array, shape: tuple[int, ...], sparsity: Any) -> Array:
    """The dense array of sparse `values`.

    The levels of the storage are walked from the outermost to the innermost, all entries at once: `position`
    is each entry's place in the level, `index` its coordinate along every dimension passed so far.
    Dimensions beyond the rank of `shape` are those within a block and add to the dimension that `BlockMap`
    names.
    """
    order = sparsity.TraversalOrderAsNumpy().tolist()
    block_map = sparsity.BlockMapAsNumpy().tolist() if sparsity.BlockMapLength() else []
    levels = [sparsity.DimMetadata(i) for i in range(sparsity.DimMetadataLength())]
    block = np.ones(len(shape), np.int64)
    for dimension, level in zip(order, levels, strict=True):
        if dimension >= len(shape):
            block[block_map[dimension - len(shape)]] = level.DenseSize()
    position, index = np.zeros(1, np.int64), np.zeros((len(shape), 1), np.int64)
    for dimension, level in zip(order, levels, strict=True):
        if level.Format() == tflite.DimensionType.DENSE:
            size = level.DenseSize()
            parent = np.repeat(np.arange(position.size), size)
            coordinate = np.tile(np.arange(size), position.size)
            position = position[parent] * size + coordinate
        else:
            segments = _index_vector(level.ArraySegmentsType(), level.ArraySegments())
            indices = _index_vector(level.ArrayIndicesType(), level.ArrayIndices())
            counts = (segments[1:] - segments[:-1])[position]
            parent = np.repeat(np.arange(position.size), counts)
            within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
            position = segments[position][parent] + within
            coordinate = indices[position]
        index = index[:, parent]
        if dimension < len(shape):
            index[dimension] += coordinate * block[dimension]
        else:
            index[block_map[dimension - len(shape)]] += coordinate
    dense = np.zeros(shape, values.dtype)
    dense[tuple(index)] = values[position]
    return dense


def _index_vector(kind: int, table: Any) -> NDArray[np.int64]:
    vector = _INDEX_VECTORS[kind]()
    vector.Init(table.Bytes, table.Pos)
    return np.asarray(vector.ValuesAsNumpy(), np.int64)
