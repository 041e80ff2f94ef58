"""Eight-bit versions of exported graphs: static quantisation after training (Jacob et al. 2018; Wu et al. 2020).

Weights of convolutions and linear layers become int8, one scale per channel; their inputs become uint8, with ranges
seen on calibration samples. The rest stays float32: standardisation of the pictures, fusion, and the outputs. Weights
take 7 bits, because the 8-bit products of AVX2 and of older Arm cores saturate in 16 bits otherwise.
"""

import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from dashgaze.errors import DashgazeError
from dashgaze.export.gaze import Arrays, anonymous, open_graph

_QUANTISED = ("Conv", "Gemm")


class _Batches(CalibrationDataReader):  # type: ignore[misc]
    def __init__(self, batches: Sequence[Arrays], names: list[str]) -> None:
        self._batches, self._names = iter(batches), names

    def get_next(self) -> dict[str, NDArray[Any]] | None:
        batch = next(self._batches, None)
        return None if batch is None else {name: batch[name] for name in self._names}


def quantise_int8(graph: bytes, batches: Sequence[Arrays]) -> bytes:
    """The graph with eight-bit convolutions and linear layers; the same graph and batches give the same bytes.

    `batches` are inputs by name, more than the graph takes do no harm. Raises DashgazeError without any.
    """
    model = onnx.load_from_string(graph)
    if not batches or not all(len(value) for batch in batches for value in batch.values()):
        raise DashgazeError("calibration", "there are no samples", "name a set with faces")
    names = [value.name for value in model.graph.input]
    with tempfile.TemporaryDirectory() as folder:
        prepared, path = Path(folder) / "prepared.onnx", Path(folder) / "int8.onnx"
        quant_pre_process(model, prepared, skip_symbolic_shape=True, skip_optimization=True)
        quantize_static(
            prepared,
            path,
            _Batches(batches, names),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=list(_QUANTISED),
            per_channel=True,
            reduce_range=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            nodes_to_exclude=_heads(model.graph),
        )
        quantised = anonymous(onnx.load(path))
    onnx.checker.check_model(quantised, full_check=True)
    return bytes(quantised.SerializeToString(deterministic=True))


def _heads(graph: onnx.GraphProto) -> list[str]:
    """Names of the last linear layer before each output: degrees need more than eight bits."""
    maker = {output: node for node in graph.node for output in node.output}
    found: dict[str, None] = {}

    def climb(value: str) -> None:
        node = maker.get(value)
        if node is None:
            return
        if node.op_type == "Gemm":
            found[node.name] = None
            return
        for source in node.input:
            climb(source)

    for output in graph.output:
        climb(output.name)
    return list(found)


@dataclass(frozen=True, slots=True)
class Comparison:
    """What a cheaper graph costs and saves against the graph it was made from."""

    largest_change: dict[str, float]
    """By output, in its unit."""
    mean_change: dict[str, float]
    """Mean over the samples of the largest change among a sample's values."""
    time_ratio: float
    """Median processor time of one sample on one thread, share of the first graph's, measured in turns."""
    size_ratio: float

    def text(self) -> str:
        """One line."""
        changes = ", ".join(f"{name} by {self.mean_change[name]:.3g}" for name in self.mean_change)
        return f"time x {self.time_ratio:.2f}, size x {self.size_ratio:.2f}; mean change of {changes}"


def compare(first: bytes, second: bytes, samples: Arrays, runs: int = 100) -> Comparison:
    """Outputs, speed and size of the second of two graphs against the first, on samples (N, ...) by name."""
    graphs = open_graph(first), open_graph(second)
    inputs = {value.name: samples[value.name] for value in graphs[0].get_inputs()}
    names = [value.name for value in graphs[0].get_outputs()]
    expected, found = (dict(zip(names, graph.run(names, inputs), strict=True)) for graph in graphs)
    changes = {name: np.abs(found[name] - expected[name]).reshape(len(found[name]), -1).max(axis=1) for name in names}
    one = {name: value[:1] for name, value in inputs.items()}
    times_s = np.empty((runs, 2))
    for row in times_s:
        for number, graph in enumerate(graphs):
            start_s = time.thread_time()
            graph.run(names, one)
            row[number] = time.thread_time() - start_s
    medians = np.median(times_s, axis=0)
    return Comparison(
        largest_change={name: float(change.max()) for name, change in changes.items()},
        mean_change={name: float(change.mean()) for name, change in changes.items()},
        time_ratio=float(medians[1] / medians[0]),
        size_ratio=len(second) / len(first),
    )
