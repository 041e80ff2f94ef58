"""Gaze by a network: exact geometry, symmetry, doubt, fusion, and bundles that do not fit."""

import json
from dataclasses import replace

import cv2
import numpy as np
import onnx
import pytest
from heads import CAMERA, landmarks_of
from onnx import TensorProto, helper, numpy_helper
from test_eyes import BUNDLE, CANONICAL, NAMES
from test_gaze import looking, stage_of

from dashgaze.bundle import Bundle, Part, Source, sha256_of, write_bundle
from dashgaze.device.config import WatchConfig, read_config
from dashgaze.device.crops import CropPlan, mirror_order, mirrored, ray_from_view, take_inputs, view_rotation
from dashgaze.device.eyes import Apertures, EyeJudge, EyeSettings
from dashgaze.device.gaze import GazeSettings, GeometricGaze, Look
from dashgaze.device.headpose import HeadPoseEstimator
from dashgaze.device.network import FusedGaze, GazeNetwork, NetworkGaze, build_estimator, open_network
from dashgaze.device.records import Frame
from dashgaze.device.road import RoadSettings, RoadView
from dashgaze.device.watch import Stages
from dashgaze.errors import InputError
from dashgaze.geometry import FACING, Camera, angle_between_deg, angles_from_rays
from dashgaze.tables import Status

PICTURE = np.random.default_rng(0).integers(0, 255, (720, 1280, 3), np.uint8)
CROPS = {"driver_px": [96, 96], "face_px": [96, 96], "eye_px": [100, 50], "channels": 1, "location": "none"}
SHAPES = {
    "driver": (1, 96, 96),
    "face": (1, 96, 96),
    "right_eye": (1, 50, 100),
    "left_eye": (1, 50, 100),
    "five": (5, 2),
    "mesh": (478, 2),
    "pose": (9,),
    "session": (3,),
}
"""Of one sample; the last is no input that a device gives."""
OPEN = Apertures(0.3, 0.3)


def tensor(name, shape, kind=TensorProto.FLOAT):
    return helper.make_tensor_value_info(name, kind, ["n", *shape])


def graph_of(inputs, outputs, nodes=(), constants=()):
    """Bytes of a graph; inputs by name, outputs by name and shape."""
    pictures = {"driver", "face", "right_eye", "left_eye"}
    taken = [tensor(n, SHAPES[n], TensorProto.UINT8 if n in pictures else TensorProto.FLOAT) for n in inputs]
    given = [tensor(name, shape) for name, shape in outputs.items()]
    values = [numpy_helper.from_array(np.array(v), name) for name, v in constants]
    graph = helper.make_graph(list(nodes), "gaze", taken, given, values)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.checker.check_model(model)
    return model.SerializeToString()


def constant(**outputs):
    """A network that says the same of everything, computed from `pose` times zero."""
    nodes, constants = [], []
    for name, value in outputs.items():
        value = np.asarray(value, np.float32)
        constants += [(f"w_{name}", np.zeros((9, value.size), np.float32)), (f"b_{name}", value.reshape(1, -1))]
        nodes += [
            helper.make_node("MatMul", ["pose", f"w_{name}"], [f"m_{name}"]),
            helper.make_node("Add", [f"m_{name}", f"b_{name}"], [name if value.size > 1 else f"a_{name}"]),
        ]
        if value.size == 1:
            constants.append((f"shape_{name}", np.array([-1])))
            nodes.append(helper.make_node("Reshape", [f"a_{name}", f"shape_{name}"], [name]))
    shapes = {name: (2,) if np.size(value) == 2 else () for name, value in outputs.items()}
    return graph_of(["pose"], shapes, nodes, constants)


FACES = replace(
    BUNDLE,
    manifest=BUNDLE.manifest.model_copy(
        update={"parts": {name: part for name, part in BUNDLE.manifest.parts.items() if name != "gaze"}}
    ),
)
"""What is packaged, without its gaze network."""


def bundle_with(tmp_path, data, whole=False, **crops):
    """A bundle with a part `gaze`; the whole one has what is packaged, too."""
    part = Part(
        file="gaze.onnx",
        sha256=sha256_of(data),
        licence="Apache-2.0",
        source=Source(name="test", version="1", file="weights.pt", sha256=sha256_of(b"")),
    )
    others = FACES.manifest.parts if whole else {}
    changes = {"parts": {**others, "gaze": part}, "calibration": {"gaze_crops": {**CROPS, **crops}}}
    files = {other.file: BUNDLE.read(name) for name, other in others.items()} | {"gaze.onnx": data}
    return write_bundle(tmp_path / "bundle", BUNDLE.manifest.model_copy(update=changes), files)


def network_of(tmp_path, data, **crops):
    return GazeNetwork(bundle_with(tmp_path, data, **crops))


class Fixed:
    """An estimator that always says the same."""

    def __init__(self, look):
        self._look = look

    def look(self, frame, face, head, apertures):
        return self._look


AHEAD = Look(np.array([0.0, 0.0, -1.0]), 10.0)


def head_of(face):
    return HeadPoseEstimator(CANONICAL, CAMERA).fit(face.landmarks_px)


@pytest.mark.parametrize("pose_deg", [(0, 0, 0), (25, -10, 0), (-15, 5, 30)])
@pytest.mark.parametrize("position_mm", [(0.0, 0.0, 700.0), (-200.0, 60.0, 800.0)])
def test_an_angle_of_the_network_is_that_ray_of_the_view_wherever_the_head_is(tmp_path, pose_deg, position_mm):
    network = network_of(tmp_path, constant(ray_deg=(10, -5), ray_error_deg=4))
    face, _ = looking(pose_deg, position_mm=position_mm)
    head = head_of(face)
    look = NetworkGaze(network, CAMERA, Fixed(AHEAD), 25).look(Frame(0, 0.0, PICTURE), face, head, OPEN)
    assert look.good
    assert look.error_deg == pytest.approx(4)
    assert look.ray == pytest.approx(ray_from_view(view_rotation(head), 10, -5), abs=1e-6)
    to_camera = -head.position_mm
    assert angle_between_deg(look.ray, to_camera) == pytest.approx(np.hypot(10, 5), abs=0.05)
    across = head.rotation[:, 0] - (head.rotation[:, 0] @ look.ray) * look.ray
    assert across @ (look.ray - to_camera / np.linalg.norm(to_camera)) > 0, "azimuth is to the driver's right"


def test_angles_of_the_face_turn_with_the_head(tmp_path):
    network = network_of(tmp_path, constant(face_deg=(10, -5)))
    face, _ = looking((20, -10, 5))
    head = head_of(face)
    look = NetworkGaze(network, CAMERA, Fixed(AHEAD), 25).look(Frame(0, 0.0, PICTURE), face, head, OPEN)
    assert np.array(angles_from_rays(head.rotation.T @ look.ray)) == pytest.approx([10, -5], abs=1e-4)
    assert look.error_deg > 0, "a network that does not tell its error still has one"


def test_a_mirrored_picture_has_a_mirrored_gaze(tmp_path):
    """A network that compares the eyes, through crops of a picture and of its mirror image."""
    nodes = []
    for side in ("right", "left"):
        nodes += [
            helper.make_node("Cast", [f"{side}_eye"], [side], to=TensorProto.FLOAT),
            helper.make_node("ReduceMean", [side, "axes"], [f"{side}_mean"], keepdims=0),
        ]
    nodes += [
        helper.make_node("Sub", ["right_mean", "left_mean"], ["azimuth"]),
        helper.make_node("Add", ["right_mean", "left_mean"], ["elevation"]),
        helper.make_node("Unsqueeze", ["azimuth", "one"], ["azimuths"]),
        helper.make_node("Unsqueeze", ["elevation", "one"], ["elevations"]),
        helper.make_node("Concat", ["azimuths", "elevations"], ["angles"], axis=1),
        helper.make_node("Mul", ["angles", "scale"], ["ray_deg"]),
    ]
    constants = [("axes", np.array([1, 2, 3])), ("one", np.array([1])), ("scale", np.float32([[0.5, 0.05]]))]
    data = graph_of(["right_eye", "left_eye"], {"ray_deg": (2,)}, nodes, constants)
    network = network_of(tmp_path, data)

    lens = Camera.from_parameters((1280, 720), [[1372, 0, 680], [0, 1372, 370], [0, 0, 1]], [-0.2, 0.05])
    picture = np.ascontiguousarray(np.broadcast_to(np.linspace(0, 255, 1280).astype(np.uint8)[:, None], (720, 1280, 3)))
    landmarks, _ = landmarks_of(CANONICAL, (15, -5, 8), (80.0, 30.0, 650.0), camera=lens)
    other = landmarks[mirror_order(CANONICAL)]
    other[:, 0] = 1279 - other[:, 0]
    rays = []
    for image, points, camera in ((picture, landmarks, lens), (picture[:, ::-1], other, lens.mirrored())):
        head = HeadPoseEstimator(CANONICAL, camera).fit(points)
        face = replace(looking()[0], landmarks_px=points)
        gaze = NetworkGaze(network, camera, Fixed(AHEAD), 25)
        rays.append(gaze.look(Frame(0, 0.0, np.ascontiguousarray(image)), face, head, OPEN).ray)
    assert angle_between_deg(rays[0], [0, 0, -1]) > 5
    assert angle_between_deg(rays[1], rays[0] * [-1, 1, 1]) < 0.5


def test_the_network_gets_the_inputs_of_the_crops(tmp_path):
    """Pose and landmarks pass through a graph unchanged."""
    nodes = [helper.make_node("Gather", ["five", "first"], ["ray_deg"], axis=1)]
    network = network_of(tmp_path, graph_of(["five"], {"ray_deg": (2,)}, nodes, [("first", np.array(0))]))
    face, _ = looking((10, 0, 0), position_mm=(100.0, -40.0, 700.0))
    head = head_of(face)
    inputs = take_inputs(PICTURE, CAMERA, face.landmarks_px, head, CropPlan())
    expected = ray_from_view(view_rotation(head), *inputs.five[0].tolist())
    assert network.look(inputs, head).ray == pytest.approx(expected)
    mirror = mirrored(inputs, mirror_order(CANONICAL))
    assert network.look(mirror, head).ray != pytest.approx(expected), "views of arrays are taken, too"


@pytest.mark.parametrize(
    ("error_deg", "said_deg"), [(26.0, 26.0), (-1.0, AHEAD.error_deg), (np.nan, AHEAD.error_deg), (np.inf, 90.0)]
)
def test_a_network_that_doubts_itself_lets_the_other_look_with_no_less_doubt(tmp_path, error_deg, said_deg):
    network = network_of(tmp_path, constant(ray_deg=(40, 0), ray_error_deg=error_deg))
    face, _ = looking()
    estimators = NetworkGaze(network, CAMERA, Fixed(AHEAD), 25), Fixed(AHEAD)
    for estimator in (estimators[0], FusedGaze(*estimators)):
        look = estimator.look(Frame(0, 0.0, PICTURE), face, head_of(face), OPEN)
        assert (look.ray is AHEAD.ray, look.error_deg, look.good) == (True, said_deg, False)


def test_a_ray_that_is_not_a_number_is_no_ray(tmp_path):
    network = network_of(tmp_path, constant(ray_deg=(np.nan, 0), ray_error_deg=3))
    face, _ = looking()
    look = NetworkGaze(network, CAMERA, Fixed(AHEAD), 25).look(Frame(0, 0.0, PICTURE), face, head_of(face), OPEN)
    assert look.ray is AHEAD.ray
    assert not look.good


def test_without_crops_the_other_looks(tmp_path):
    network = network_of(tmp_path, constant(ray_deg=(40, 0), ray_error_deg=1))
    face, _ = looking()
    head = head_of(face)
    behind = replace(head, position_mm=-head.position_mm)
    look = NetworkGaze(network, CAMERA, Fixed(AHEAD), 25).look(Frame(0, 0.0, PICTURE), face, behind, OPEN)
    assert look.ray is AHEAD.ray
    assert not look.good


@pytest.mark.parametrize(("error_deg", "share"), [(10.0, 0.5), (5.0, 0.8), (20.0, 0.2)])
def test_fusion_weighs_by_precision(tmp_path, error_deg, share):
    network = network_of(tmp_path, constant(ray_deg=(8, 0), ray_error_deg=error_deg))
    face, _ = looking()
    head = head_of(face)
    second = Look(ray_from_view(view_rotation(head), 0, 0), 10.0)
    estimators = NetworkGaze(network, CAMERA, Fixed(second), 25), Fixed(second)
    look = FusedGaze(*estimators).look(Frame(0, 0.0, PICTURE), face, head, OPEN)
    assert angle_between_deg(look.ray, second.ray) == pytest.approx(8 * share, abs=0.05)
    assert np.linalg.norm(look.ray) == pytest.approx(1)
    assert look.error_deg == pytest.approx((error_deg**-2 + 0.01) ** -0.5)
    assert look.error_deg < min(error_deg, 10)


def test_closed_eyes_have_no_gaze_by_the_network_either(tmp_path):
    network = network_of(tmp_path, constant(ray_deg=(8, 0), ray_error_deg=2))
    stage = stage_of(NetworkGaze(network, CAMERA, Fixed(AHEAD), 25), EyeJudge(EyeSettings(), NAMES))
    gaze = stage.estimate(Frame(0, 0.0, PICTURE), looking(aperture=0.07, blink=0.65)[0])
    assert (gaze.status, gaze.ray) == (Status.EYES_CLOSED, None)
    assert stage.estimate(Frame(1, 0.1, PICTURE), looking()[0]).status is Status.OK
    assert dict(stage.looks) == {True: 1}


def test_a_residual_moves_the_place_on_the_road_view_and_nothing_else(tmp_path):
    road = RoadView(RoadSettings(target_distance_m=1e6), Camera.from_fov((1920, 1080), 75))
    places, rays = [], []
    for kind in ("none", "residual", "direct"):
        data = constant(ray_deg=(2, 1), ray_error_deg=2, location=(3, -2))
        network = network_of(tmp_path / kind, data, location=kind)
        stage = stage_of(NetworkGaze(network, CAMERA, Fixed(AHEAD), 25), EyeJudge(EyeSettings(), NAMES))
        gaze = stage.estimate(Frame(0, 0.0, PICTURE), looking()[0])
        assert gaze.road_residual_deg == (pytest.approx((3, -2)) if kind == "residual" else None)
        places.append(road.place(gaze).road_px)
        rays.append(gaze.ray)
    assert np.array_equal(rays[0], rays[1])
    assert places[2] == places[0]
    azimuth, elevation = angles_from_rays(FACING @ rays[0])
    moved = np.array([np.tan(np.radians(azimuth + 3)), -np.tan(np.radians(elevation - 2))])
    focal = 960 / np.tan(np.radians(75 / 2))
    assert places[1] == pytest.approx([959.5 + focal * moved[0], 539.5 + focal * moved[1]], abs=2)
    assert places[1][0] > places[0][0] + 30
    assert places[1][1] > places[0][1] + 20


def test_auto_is_the_network_where_the_bundle_has_one(tmp_path):
    own = bundle_with(tmp_path, constant(ray_deg=(0, 0), ray_error_deg=2))
    assert open_network("auto", FACES) is None
    assert open_network("geometric", own) is None
    kinds = {}
    for method in ("auto", "network", "fused", "geometric"):
        network, settings = open_network(method, own), GazeSettings(method=method)
        kinds[method] = type(build_estimator(settings, network, CAMERA, CANONICAL, EyeJudge(EyeSettings(), NAMES)))
    assert kinds == {"auto": NetworkGaze, "network": NetworkGaze, "fused": FusedGaze, "geometric": GeometricGaze}


@pytest.mark.parametrize("method", ["network", "fused"])
def test_a_method_that_needs_a_network_says_that_the_bundle_has_none(method):
    with pytest.raises(InputError, match=f"no part 'gaze'.*{method}"):
        open_network(method, FACES)
    with pytest.raises(InputError, match="no part 'gaze'"):
        Stages(read_config(None, {"gaze": {"method": method}}), FACES, "clip.mp4")


def other_graph(name):
    eye = {"ray_deg": (2,)}
    gather = [helper.make_node("Gather", ["five", "i"], ["ray_deg"], axis=1)]
    if name == "unknown output":
        return constant(ray_deg=(1, 2), speed=(3, 4))
    if name == "no direction":
        return constant(ray_error_deg=3)
    if name == "wrong shape":
        return constant(ray_deg=3)
    if name == "no location":
        return constant(ray_deg=(1, 2))
    if name == "not a network":
        return b"PK\x03\x04 not a network"
    if name == "wide face":
        nodes = [helper.make_node("Identity", ["pose"], ["x"]), *gather]
        return graph_of(["five", "pose", "face"], eye, nodes, [("i", np.array(0))])
    if name == "unknown input":
        return graph_of(["five", "session"], eye, gather, [("i", np.array(0))])
    raise AssertionError(name)


@pytest.mark.parametrize(
    ("name", "crops", "says"),
    [
        ("unknown output", {}, "speed"),
        ("no direction", {}, "gives ray_error_deg"),
        ("wrong shape", {}, "'ray_deg'"),
        ("no location", {"location": "residual"}, "location"),
        ("not a network", {}, "no network that runs here"),
        ("wide face", {"face_px": [128, 96]}, "'face'"),
        ("unknown input", {}, "'session'"),
    ],
)
def test_a_network_of_another_kind_is_one_line(tmp_path, name, crops, says):
    with pytest.raises(InputError, match="part 'gaze'") as caught:
        network_of(tmp_path, other_graph(name), **crops)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "crops",
    [{"channels": 2}, {"face_px": [0, 96]}, {"face_px": [96, 10**6]}, {"eye_px": "big"}, {"location": "x"}, {"a": 1}],
)
def test_a_manifest_with_impossible_crops_says_which(tmp_path, crops):
    with pytest.raises(InputError, match=f"gaze_crops.{next(iter(crops))}"):
        network_of(tmp_path, constant(ray_deg=(1, 2)), **crops)


def test_a_bundle_that_does_not_say_what_its_crops_are_is_refused(tmp_path):
    bundle = bundle_with(tmp_path, constant(ray_deg=(1, 2)))
    silent = Bundle(bundle.path, bundle.manifest.model_copy(update={"calibration": {}}), bundle.manifest_sha256)
    with pytest.raises(InputError, match="gaze_crops"):
        GazeNetwork(silent)


def test_the_stages_run_a_network_on_a_real_clip_and_say_so(tmp_path, carphone):
    bundle = bundle_with(tmp_path, constant(ray_deg=(10, -5), ray_error_deg=4), whole=True)
    stages = Stages(WatchConfig(), bundle, "clip")
    capture = cv2.VideoCapture(str(carphone))
    for i in range(5):
        seen = stages.see(Frame(i, i / 30, np.asarray(capture.read()[1], np.uint8)))
        assert seen.gaze.status is Status.OK
        expected = ray_from_view(view_rotation(seen.gaze.head), 10, -5)
        assert angle_between_deg(seen.gaze.ray, expected) < 3, "but for the filter"
    summary = stages.gaze_summary()
    assert summary == {"method": "network", "network_frames": 5, "fallback_frames": 0}
    assert json.loads(json.dumps(summary)) == summary
