"""Checks a bundle, wherever it is, with what a device has: no training software is needed.

Hashes and signature; every network loads, is the one that the manifest describes, and gives finite numbers; the gaze
network is one that the device can use, treats every sample of a batch by itself, and says plausible things of posed
faces and, where there are some, of pictures of drivers.
"""

import math
import zipfile
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from numpy.typing import NDArray

from dashgaze.bundle import (
    PACKAGED_MANIFEST_SHA256,
    SIGNATURE_FILE,
    Bundle,
    Part,
    Tensor,
    load_bundle,
)
from dashgaze.device.crops import CropPlan, GazeInputs, take_inputs
from dashgaze.device.doctor import Check
from dashgaze.device.faces import FaceSettings, FaceTracker
from dashgaze.device.headpose import CanonicalFace, HeadPoseEstimator
from dashgaze.device.network import PART, GazeNetwork
from dashgaze.device.records import Frame, HeadPose
from dashgaze.device.runtime import start_session
from dashgaze.device.sources import SourceSettings, open_source
from dashgaze.errors import DashgazeError, InputError
from dashgaze.geometry import Camera, facing_rotation

Arrays = dict[str, NDArray[Any]]

PICTURES = 100
"""So many of a folder's pictures are looked at."""
_FOV_DEG = 55.0
_FOLDER_FPS = 0.01
_BATCH = 3
_BATCH_DIFFERENCE = 0.05
"""Degrees; a rounding of an eight-bit network."""
_LARGEST_DEG = 180.0
_IRIS_MM = np.array([0.0, 0.0, 12.0])
"""From the middle of an eyeball."""
_TYPES = {
    "tensor(float)": "float32",
    "tensor(float16)": "float16",
    "tensor(int64)": "int64",
    "tensor(int32)": "int32",
    "tensor(uint8)": "uint8",
    "tensor(int8)": "int8",
    "tensor(bool)": "bool",
}


def verify_bundle(path: Path, keys: Sequence[Ed25519PublicKey] = (), pictures: Path | None = None) -> list[Check]:
    """Every check of a bundle, in the order to read them; raises nothing.

    `keys` are those that the bundle may be signed with; `pictures` is a folder of pictures, or a video, of drivers.
    """
    try:
        bundle = load_bundle(path, allow_unsigned=True)
    except DashgazeError as error:
        return [Check("manifest", False, f"{error.where}: {error.problem}", error.remedy)]
    manifest = bundle.manifest
    checks = [
        Check("manifest", True, f"{manifest.name} {manifest.version} of {manifest.created:%Y-%m-%d}"),
        _checked("signature", lambda: _check_signature(bundle, keys)),
        *(_checked(name, partial(_check_part, bundle, name)) for name in manifest.parts),
    ]
    if PART not in manifest.parts:
        return checks
    checks.append(_checked("gaze on the device", lambda: _check_gaze(bundle)))
    if pictures is not None:
        checks.append(_checked("gaze on pictures", lambda: _check_pictures(bundle, pictures)))
    return checks


def _checked(name: str, check: Callable[[], Check | str]) -> Check:
    """What a check says, or why it failed."""
    try:
        found = check()
    except DashgazeError as error:
        return Check(name, False, f"{error.where}: {error.problem}", error.remedy)
    except Exception as error:  # ONNX Runtime's own have no other base in common
        return Check(name, False, " ".join(f"{type(error).__name__}: {error}".split())[:300])
    return found if isinstance(found, Check) else Check(name, True, found)


def _check_signature(bundle: Bundle, keys: Sequence[Ed25519PublicKey]) -> Check | str:
    if not _is_signed(bundle.path):
        if bundle.manifest_sha256 == PACKAGED_MANIFEST_SHA256:
            return "none, but this release has the manifest's SHA-256"
        return Check("signature", False if keys else None, "none", "dashgaze export sign BUNDLE --key KEY")
    if not keys:
        return Check(
            "signature", None, f"{SIGNATURE_FILE} is there, and no key to check it with", "name the public key"
        )
    load_bundle(bundle.path, trusted_keys=keys)
    return "by a trusted key"


def _is_signed(path: Path) -> bool:
    """Whether a bundle that was opened before has a signature."""
    if path.is_dir():
        return (path / SIGNATURE_FILE).is_file()
    with zipfile.ZipFile(path) as archive:
        return SIGNATURE_FILE in archive.namelist()


def _check_part(bundle: Bundle, name: str) -> str:
    part = bundle.part(name)
    size = f"{len(bundle.read(name)) / 1e6:.2f} MB"
    if not part.file.endswith(".onnx"):
        return size
    session = start_session(bundle, name)
    _compare("input", session.get_inputs(), part.inputs)
    _compare("output", session.get_outputs(), part.outputs)
    names = [tensor.name for tensor in part.outputs]
    random = np.random.default_rng(0)
    for kind in ("blank pictures", "noise"):
        outputs = session.run(names, {tensor.name: _filled(tensor, random, kind == "noise") for tensor in part.inputs})
        _check_outputs(part, outputs, kind)
    return f"{size}, as described, finite on blank pictures and noise"


def _compare(kind: str, found: Sequence[ort.NodeArg], described: Sequence[Tensor]) -> None:
    """Raise InputError unless a network's tensors are those of the manifest."""
    has = {node.name: (_TYPES.get(node.type, node.type), tuple(node.shape)) for node in found}
    said = {tensor.name: (tensor.type, tensor.shape) for tensor in described}
    for name in sorted(has.keys() | said.keys()):
        if has.get(name) != said.get(name):
            problem = f"the network has {has.get(name)}, the manifest says {said.get(name)}"
            raise InputError(f"{kind} {name!r}", problem, "export the bundle again")


def _filled(tensor: Tensor, random: np.random.Generator, noisy: bool) -> NDArray[Any]:
    """One sample of noise in the tensor's range; of its lowest value where pictures, which have a range, are blank."""
    shape = tuple(size if isinstance(size, int) else 1 for size in tensor.shape)
    if tensor.range is not None and not noisy:
        return np.full(shape, tensor.range[0], tensor.type)
    low, high = tensor.range or (0.0, 1.0)
    return random.uniform(low, high, shape).astype(tensor.type)


def _check_outputs(part: Part, outputs: Sequence[NDArray[Any]], kind: str) -> None:
    for tensor, values in zip(part.outputs, outputs, strict=True):
        if not np.isfinite(values).all():
            raise DashgazeError(f"output {tensor.name!r}", f"is not finite on {kind}")
        slack = 1e-3
        if tensor.range and not (tensor.range[0] - slack <= values.min() <= values.max() <= tensor.range[1] + slack):
            raise DashgazeError(f"output {tensor.name!r}", f"is out of its range {tensor.range} on {kind}")


def _check_gaze(bundle: Bundle) -> str:
    """The network fits the device; three samples at once are what they are one by one; all of it is plausible."""
    network = GazeNetwork(bundle)
    session = start_session(bundle, PART)
    outputs = [tensor.name for tensor in session.get_outputs()]
    posed = posed_inputs(CanonicalFace.from_bundle(bundle), network.plan, _BATCH)
    inputs = {tensor.name: posed[tensor.name] for tensor in session.get_inputs()}
    together = dict(zip(outputs, session.run(outputs, inputs), strict=True))
    apart = [session.run(outputs, {name: value[i : i + 1] for name, value in inputs.items()}) for i in range(_BATCH)]
    for name, one_by_one in zip(outputs, map(np.concatenate, zip(*apart, strict=True)), strict=True):
        difference = float(np.abs(together[name] - one_by_one).max())
        if not difference <= _BATCH_DIFFERENCE:
            raise DashgazeError(f"output {name!r}", f"depends on the rest of the batch, by {difference:.2g}")
    _check_plausible(together)
    return f"{', '.join(inputs)} to {', '.join(outputs)}, {len(bundle.read(PART)) / 1e6:.2f} MB"


def _check_plausible(said: Arrays) -> None:
    """Raise DashgazeError for what no gaze can be."""
    for name, values in said.items():
        largest = float(np.abs(values).max()) if np.isfinite(values).all() else math.nan
        if not largest <= _LARGEST_DEG or (name == "ray_error_deg" and not (values > 0).all()):
            raise DashgazeError(f"output {name!r}", f"is implausible: {largest:.4g}", "train it again")


def _check_pictures(bundle: Bundle, pictures: Path) -> Check | str:
    network, session = GazeNetwork(bundle), start_session(bundle, PART)
    outputs = [tensor.name for tensor in session.get_outputs()]
    names = [tensor.name for tensor in session.get_inputs()]
    frames, angles = 0, []
    for inputs in _samples(bundle, network.plan, pictures):
        frames += 1
        if inputs is None:
            continue
        said = dict(zip(outputs, session.run(outputs, {n: getattr(inputs, n)[None] for n in names}), strict=True))
        _check_plausible(said)
        angles.append(said.get("ray_deg", said.get("face_deg"))[0])  # type: ignore[index]
    if not angles:
        return Check("gaze on pictures", None, f"no face on {frames} pictures", "name pictures of drivers")
    right, up = np.std(angles, axis=0)
    return f"faces on {len(angles)} of {frames} pictures, spread {right:.1f} deg sideways, {up:.1f} deg up and down"


def _samples(bundle: Bundle, plan: CropPlan, pictures: Path) -> Iterator[GazeInputs | None]:
    """The network's inputs from each picture, found as the device finds them; None without a face."""
    face = CanonicalFace.from_bundle(bundle)
    tracker = FaceTracker(bundle, FaceSettings(), "left")
    # Pictures of a folder are taken as far apart in time, for they may be of anyone.
    with open_source(str(pictures), SourceSettings(folder_fps=_FOLDER_FPS)) as source:
        for frame in islice(source, PICTURES):
            if frame is not None:
                yield _sample(frame, tracker, face, plan)


def _sample(frame: Frame, tracker: FaceTracker, face: CanonicalFace, plan: CropPlan) -> GazeInputs | None:
    found = tracker.find(frame)
    if found.landmarks_px is None:
        return None
    height, width = frame.image.shape[:2]
    camera = Camera.from_fov((width, height), _FOV_DEG)
    head = HeadPoseEstimator(face, camera).fit(found.landmarks_px)
    return None if head is None else take_inputs(frame.image, camera, found.landmarks_px, head, plan)


def posed_inputs(face: CanonicalFace, plan: CropPlan, count: int, seed: int = 0) -> Arrays:
    """Inputs (count, ...) by name, of the average face in random poses before a camera; the pictures are noise."""
    random = np.random.default_rng(seed)
    camera = Camera.from_fov((320, 240), _FOV_DEG)
    points_mm = np.concatenate([face.vertices_mm, np.repeat(face.eyeballs_mm + _IRIS_MM, 5, axis=0)])
    samples: list[GazeInputs] = []
    while len(samples) < count:
        yaw, pitch, roll = (float(angle) for angle in random.normal(0, 15, 3))
        rotation = facing_rotation(yaw, pitch, roll)
        position_mm = np.array([*random.normal(0, 60, 2), random.uniform(450, 900)])
        landmarks = np.c_[camera.project(points_mm @ rotation.T + position_mm), np.zeros(len(points_mm))]
        image = random.integers(0, 256, (240, 320, 3), dtype=np.uint8)
        head = HeadPose(rotation, position_mm, yaw, pitch, roll, error_px=0.0)
        inputs = take_inputs(image, camera, landmarks.astype(np.float32), head, plan)
        if inputs is not None:
            samples.append(inputs)
    return {name: np.stack([getattr(inputs, name) for inputs in samples]) for name in GazeInputs.__slots__}
