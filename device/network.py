"""Gaze by a bundle's network, alone or together with the geometric estimate.

The part `gaze` of a bundle is DashGazeNet or one of its ablations as ONNX. It takes some of `crops.GazeInputs` by name
and gives some of

    ray_deg (n, 2)        azimuth and elevation in the view of `crops`, 0 into the camera
    ray_error_deg (n,)    one standard deviation of it per axis
    face_deg (n, 2)       azimuth and elevation in the face frame
    location (n, 2)       "residual": degrees to the right and up in the road camera that the rigid pair leaves over

and at least `ray_deg` or `face_deg`; of both the ray is used, since it does not inherit the error of the head pose.
The manifest's calibration `gaze_crops` says what its pictures look like. A location of the kind "direct" holds for the
placement of cameras that it was trained on, and is not used.
"""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from onnxruntime import InferenceSession
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from dashgaze.bundle import Bundle
from dashgaze.device.crops import POSE_NAMES, CropPlan, GazeInputs, ray_from_view, take_inputs, view_rotation
from dashgaze.device.eyes import Apertures, EyeJudge
from dashgaze.device.gaze import Estimator, GazeSettings, GeometricGaze, Look, Method
from dashgaze.device.headpose import CanonicalFace
from dashgaze.device.records import Face, Frame, HeadPose
from dashgaze.device.runtime import start_session
from dashgaze.errors import DashgazeError, InputError
from dashgaze.geometry import Camera, rays_from_angles, unit

PART, CALIBRATION = "gaze", "gaze_crops"
_LARGEST_DOUBT_DEG = 90.0
UNTOLD_ERROR_DEG = 8.0
"""Standard deviation of a network that does not tell its own: about the errors of the thesis's table 12.1."""

_POINTS = {"five": (5, 2), "mesh": (478, 2), "pose": (len(POSE_NAMES),)}
_OUTPUTS = {"ray_deg": (1, 2), "ray_error_deg": (1,), "face_deg": (1, 2), "location": (1, 2)}
_KINDS = {np.dtype(np.uint8): "tensor(uint8)", np.dtype(np.float32): "tensor(float)"}
_REMEDY = "use a bundle and a release that belong together"

_Side = Annotated[int, Field(ge=8, le=1024)]
_Size = tuple[_Side, _Side]


class GazeCrops(BaseModel):
    """The manifest's calibration `gaze_crops`: sizes (width, height), planes of a picture, kind of location."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    driver_px: _Size
    face_px: _Size
    eye_px: _Size
    channels: Literal[1, 3]
    location: Literal["residual", "direct", "none"]

    @property
    def plan(self) -> CropPlan:
        """The pictures to take."""
        return CropPlan(self.driver_px, self.face_px, self.eye_px, self.channels)


class GazeNetwork:
    """The network of a bundle, found to be one that can run. Raises InputError where it is not."""

    def __init__(self, bundle: Bundle) -> None:
        where = f"{bundle.path}, part {PART!r}"
        crops = _read_crops(bundle)
        self.plan = crops.plan
        """The pictures it takes."""
        try:
            self._session = start_session(bundle, PART)
            given = _given(self.plan, self._session, where)
            self._inputs, self._outputs = tuple(given), _asked(crops, self._session, where)
            trial = self._run(given)
        except DashgazeError:
            raise
        except Exception as error:  # ONNX Runtime's have no other base in common
            raise InputError(where, f"no network that runs here ({error})", _REMEDY) from None
        for name, values in trial.items():
            if values.shape != _OUTPUTS[name] or values.dtype != np.float32:
                raise InputError(where, f"gives {name!r} as {values.dtype} {values.shape}", _REMEDY)

    def look(self, inputs: GazeInputs, head: HeadPose) -> Look:
        """What the network says of a sample, however doubtful; its error is NaN where it says nothing."""
        said = self._run({name: getattr(inputs, name)[None] for name in self._inputs})
        if "ray_deg" in said:
            ray = ray_from_view(view_rotation(head), *said["ray_deg"][0].tolist())
        else:
            ray = head.rotation @ rays_from_angles(*said["face_deg"][0].tolist())
        error_deg = float(said["ray_error_deg"][0]) if "ray_error_deg" in said else UNTOLD_ERROR_DEG
        right, up = said["location"][0].tolist() if "location" in said else (math.nan, math.nan)
        return Look(
            ray=ray,
            error_deg=error_deg if np.isfinite(ray).all() else math.nan,
            road_residual_deg=(right, up) if math.isfinite(right + up) else None,
        )

    def _run(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[np.float32]]:
        return dict(zip(self._outputs, self._session.run(self._outputs, inputs), strict=True))


def _read_crops(bundle: Bundle) -> GazeCrops:
    try:
        return GazeCrops.model_validate(bundle.manifest.calibration.get(CALIBRATION))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        key = ".".join(map(str, (CALIBRATION, *first["loc"])))
        raise InputError(f"{bundle.path}", f"calibration, {key}: {first['msg']}", _REMEDY) from None


def _given(plan: CropPlan, session: InferenceSession, where: str) -> dict[str, NDArray[Any]]:
    """Empty inputs of a network, by name. Raises InputError where it takes what the device does not give."""
    sizes = {"driver": plan.driver_px, "face": plan.face_px, "right_eye": plan.eye_px, "left_eye": plan.eye_px}
    given = {name: np.zeros((1, plan.channels, h, w), np.uint8) for name, (w, h) in sizes.items()}
    given |= {name: np.zeros((1, *shape), np.float32) for name, shape in _POINTS.items()}
    for tensor in session.get_inputs():
        mine = given.get(tensor.name)
        if mine is None or (tensor.type, tensor.shape[1:]) != (_KINDS[mine.dtype], list(mine.shape[1:])):
            problem = f"takes {tensor.name!r} as {tensor.type} {tensor.shape}, which the device does not give"
            raise InputError(where, problem, _REMEDY)
    return {tensor.name: given[tensor.name] for tensor in session.get_inputs()}


def _asked(crops: GazeCrops, session: InferenceSession, where: str) -> list[str]:
    """Names of a network's outputs that are used. Raises InputError where it gives others, or too few."""
    names = {tensor.name for tensor in session.get_outputs()}
    asked = {"ray_deg", "ray_error_deg"} & names if "ray_deg" in names else {"face_deg"}
    if crops.location == "residual":
        asked.add("location")
    if not asked <= names <= set(_OUTPUTS):
        known = ", ".join(_OUTPUTS)
        problem = f"gives {', '.join(sorted(names))}; the device asks for {', '.join(sorted(asked))} and knows {known}"
        raise InputError(where, problem, _REMEDY)
    return sorted(asked)


class NetworkGaze:
    """The network as an estimator. Where it cannot see, or doubts itself too much, another one looks."""

    def __init__(self, network: GazeNetwork, camera: Camera, fallback: Estimator, largest_error_deg: float) -> None:
        self._network, self._camera, self._fallback = network, camera, fallback
        self._largest_error_deg = largest_error_deg

    def look(self, frame: Frame, face: Face, head: HeadPose, apertures: Apertures) -> Look:
        """`Estimator.look`; not a good one where it is the fallback's."""
        assert face.landmarks_px is not None
        inputs = take_inputs(frame.image, self._camera, face.landmarks_px, head, self._network.plan)
        look = None if inputs is None else self._network.look(inputs, head)
        if look is not None and 0 < look.error_deg <= self._largest_error_deg:
            return look
        other = self._fallback.look(frame, face, head, apertures)
        # Where the network sees hardly anything, the other one, which knows nothing of glasses, does no better.
        doubt_deg = look.error_deg if look is not None and look.error_deg > 0 else 0.0
        return replace(other, error_deg=max(other.error_deg, min(doubt_deg, _LARGEST_DOUBT_DEG)), good=False)


class FusedGaze:
    """Both estimates, each weighted by the inverse of its variance as if their errors were independent."""

    def __init__(self, network: NetworkGaze, geometric: Estimator) -> None:
        self._network, self._geometric = network, geometric

    def look(self, frame: Frame, face: Face, head: HeadPose, apertures: Apertures) -> Look:
        """`Estimator.look`; the fallback's where the network has to fall back."""
        first = self._network.look(frame, face, head, apertures)
        if not first.good:
            return first
        second = self._geometric.look(frame, face, head, apertures)
        weights = first.error_deg**-2, second.error_deg**-2
        ray = unit(weights[0] * first.ray + weights[1] * second.ray)
        return replace(first, ray=ray, error_deg=sum(weights) ** -0.5)


def open_network(method: Method, bundle: Bundle) -> GazeNetwork | None:
    """The network that a method of `GazeSettings` needs, or None. Raises InputError where the bundle has none."""
    has_one = PART in bundle.manifest.parts
    if method == "geometric" or (method == "auto" and not has_one):
        return None
    if not has_one:
        problem = f"the bundle has no part {PART!r}, which the gaze method {method!r} needs"
        raise InputError(f"{bundle.path}", problem, "use a bundle with a gaze network, or the method 'geometric'")
    return GazeNetwork(bundle)


def build_estimator(
    settings: GazeSettings, network: GazeNetwork | None, camera: Camera, face: CanonicalFace, eyes: EyeJudge
) -> Estimator:
    """The estimator of `settings.method`; `network` is that of `open_network`."""
    geometric = GeometricGaze(settings, camera, face, eyes)
    if network is None:
        return geometric
    by_network = NetworkGaze(network, camera, geometric, settings.largest_error_deg)
    return FusedGaze(by_network, geometric) if settings.method == "fused" else by_network
