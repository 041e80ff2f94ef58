"""What a network has to beat: a constant, the head's direction, geometry, a linear map of landmarks.

Each is a predictor of `evaluate`. Where one gives a ray but no place on the road view, the place follows by the rigid
pair of cameras, as on the device.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dashgaze.bundle import Bundle, packaged_bundle
from dashgaze.device.eyes import EyeJudge, EyeSettings
from dashgaze.device.gaze import GazeSettings, GazeStage, GeometricGaze
from dashgaze.device.headpose import CanonicalFace, HeadPoseEstimator
from dashgaze.device.mesh import Blendshapes
from dashgaze.device.records import Face, Frame
from dashgaze.errors import InputError
from dashgaze.geometry import FACING, Camera, Floats, rays_from_angles, unit
from dashgaze.tables import Status
from dashgaze.training.gaze.evaluate import Predictions, Predictor, face_angles, rigid_location_px, turned
from dashgaze.training.gaze.samples import SessionSamples
from dashgaze.zones import ZoneMap

_NO_PICTURE = np.zeros((1, 1, 3), np.uint8)
_FOLDS = 5
_STRENGTHS = tuple(10.0 ** np.arange(-4, 4))


@dataclass(frozen=True, slots=True)
class Means:
    """Where people look on the average; None where it is not known."""

    ray: tuple[float, float, float] | None
    """Unit vector in the camera frame."""
    face_deg: tuple[float, float] | None
    location_frac: tuple[float, float] | None
    """Shares of the road view's width and height."""


def mean_gaze(sessions: Sequence[SessionSamples]) -> Means:
    """Means over the usable rows of sessions."""
    rays, angles, places = [np.zeros((0, 3))], [np.zeros((0, 2))], [np.zeros((0, 2))]
    for samples in sessions:
        usable = samples.arrays["usable"]
        rays.append(samples.arrays["ray"][usable])
        angles.append(samples.arrays["face_deg"][usable])
        if samples.road_camera is not None:
            places.append((samples.arrays["location_px"][usable] + 0.5) / samples.road_camera.size_px)
    ray, face_deg, place = (_mean(np.concatenate(parts)) for parts in (rays, angles, places))
    return Means(
        ray=None if ray is None else tuple(unit(ray).tolist()),
        face_deg=None if face_deg is None else tuple(face_deg.tolist()),
        location_frac=None if place is None else tuple(place.tolist()),
    )


def _mean(values: Floats) -> Floats | None:
    known = values[np.isfinite(values).all(axis=1)]
    return np.asarray(known.mean(axis=0)) if len(known) else None


@dataclass(frozen=True, slots=True)
class Constant:
    """The same for everyone and always: the means of the training set."""

    means: Means
    name: str = "constant"

    def predict(self, samples: SessionSamples) -> Predictions:
        """The means, once for each row."""
        rows = len(samples.arrays["frame"])

        def repeated(values: Sequence[float] | None) -> Floats | None:
            return None if values is None else np.tile(np.asarray(values, float), (rows, 1))

        place = repeated(self.means.location_frac)
        if place is not None:
            place = None if samples.road_camera is None else place * samples.road_camera.size_px - 0.5
        return Predictions(ray=repeated(self.means.ray), face_deg=repeated(self.means.face_deg), location_px=place)


@dataclass(frozen=True, slots=True)
class HeadOnly:
    """Everybody looks where the head points, by the device's head pose."""

    name: str = "head only"

    def predict(self, samples: SessionSamples) -> Predictions:
        """The face's forward axis."""
        ray = np.asarray(samples.arrays["head_rotation"][:, :, 2], float)
        return Predictions(ray=ray, face_deg=np.zeros((len(ray), 2)), location_px=rigid_location_px(samples, ray))


class Geometric:
    """The device's geometric gaze, without its filter over time; what it calls low quality counts like the rest."""

    name = "geometric"

    def __init__(self, bundle: Bundle | None = None) -> None:
        bundle = bundle or packaged_bundle()
        self._face = CanonicalFace.from_bundle(bundle)
        self._blendshapes = Blendshapes(bundle).names

    def predict(self, samples: SessionSamples) -> Predictions:
        """Row after row in order of time, because the device learns how far this person opens the eyes."""
        arrays, rows = samples.arrays, len(samples.arrays["frame"])
        stage = self._stage(samples.driver_camera)
        ray, sd = np.full((rows, 3), np.nan), np.full(rows, np.nan)
        for row in np.argsort(arrays["t_s"], kind="stable").tolist():
            frame = Frame(int(arrays["frame"][row]), float(arrays["t_s"][row]), _NO_PICTURE)
            landmarks, blendshapes = np.array(arrays["landmarks_px"][row]), np.array(arrays["blendshapes"][row])
            sighting = stage.see(frame, Face(Status.OK, landmarks_px=landmarks, blendshapes=blendshapes))
            if sighting is not None and sighting.look is not None:
                ray[row], sd[row] = unit(sighting.look.ray), sighting.look.error_deg
        face_deg = face_angles(ray, np.asarray(arrays["head_rotation"], float))
        return Predictions(ray, sd, face_deg, rigid_location_px(samples, ray))

    def _stage(self, camera: Camera) -> GazeStage:
        """The stage of the device's loop for a session; mount and zones play no part in what is asked of it."""
        settings, eyes = GazeSettings(), EyeJudge(EyeSettings(), self._blendshapes)
        estimator = GeometricGaze(settings, camera, self._face, eyes)
        head = HeadPoseEstimator(self._face, camera)
        return GazeStage(settings, estimator, head, eyes, ZoneMap.for_vehicle("left"), FACING)


@dataclass(frozen=True, slots=True, eq=False)
class LandmarkRidge:
    """Ridge regression from the landmarks in the view and the head pose to the ray."""

    weights: Floats
    """(features + 1, 2): the last row is the constant."""
    strength: float
    """The penalty that left-out sessions chose, in units of a feature's variance."""
    name: str = "landmark ridge"

    @classmethod
    def fit(cls, sessions: Sequence[SessionSamples], name: str = "landmark ridge") -> "LandmarkRidge":
        """Closed form; the penalty has the least error on sessions left out. InputError without two sessions."""
        parts = [part for part in map(_moments, sessions) if part.rows]
        if len(parts) < 2:
            raise InputError("landmark ridge", "needs samples of at least two sessions")
        folds = [_Moments.sum(parts[start::_FOLDS]) for start in range(min(_FOLDS, len(parts)))]
        total = _Moments.sum(folds)
        errors = np.zeros(len(_STRENGTHS))
        for fold in folds:
            for number, weights in enumerate(_ridge_path(total.without(fold))):
                errors[number] += fold.squared_error(weights)
        best = int(errors.argmin())
        return cls(_ridge_path(total)[best], _STRENGTHS[best], name)

    def predict(self, samples: SessionSamples) -> Predictions:
        """Ray by the regression; the rest by geometry."""
        ray_deg = _features(samples, slice(None)) @ self.weights
        view = np.asarray(samples.arrays["view"], float)
        ray = turned(view @ FACING, rays_from_angles(*ray_deg.T))
        face_deg = face_angles(ray, np.asarray(samples.arrays["head_rotation"], float))
        return Predictions(ray=ray, face_deg=face_deg, location_px=rigid_location_px(samples, ray))


@dataclass(frozen=True, slots=True, eq=False)
class _Moments:
    """All that least squares needs of some rows."""

    rows: int
    gram: Floats
    """Features with themselves."""
    cross: Floats
    """Features with the angles."""
    square: float
    """Sum of the squared angles."""

    @classmethod
    def sum(cls, parts: Sequence["_Moments"]) -> "_Moments":
        rows, square = sum(part.rows for part in parts), sum(part.square for part in parts)
        gram, cross = (np.sum([getattr(part, name) for part in parts], axis=0) for name in ("gram", "cross"))
        return cls(rows, gram, cross, square)

    def without(self, part: "_Moments") -> "_Moments":
        return _Moments(
            self.rows - part.rows, self.gram - part.gram, self.cross - part.cross, self.square - part.square
        )

    def squared_error(self, weights: Floats) -> float:
        return float(self.square - 2 * (weights * self.cross).sum() + (weights * (self.gram @ weights)).sum())


def _moments(samples: SessionSamples) -> _Moments:
    angles = np.asarray(samples.arrays["ray_deg"], float)
    known = np.flatnonzero(np.asarray(samples.arrays["usable"]) & np.isfinite(angles).all(axis=1))
    x, y = _features(samples, known), angles[known]
    return _Moments(len(known), x.T @ x, x.T @ y, float((y * y).sum()))


def _features(samples: SessionSamples, rows: slice | NDArray[np.intp]) -> Floats:
    mesh, pose = samples.arrays["mesh"][rows], samples.arrays["pose"][rows]
    return np.concatenate(
        [mesh.reshape(len(mesh), math.prod(mesh.shape[1:])), pose, np.ones((len(mesh), 1))], axis=1, dtype=float
    )


def _ridge_path(moments: _Moments) -> list[Floats]:
    """Weights for each of `_STRENGTHS`; features are standardised, the constant is free."""
    mean, count = moments.gram[-1, :-1] / moments.rows, moments.rows
    centred = moments.gram[:-1, :-1] / count - np.outer(mean, mean)
    sd = np.sqrt(np.maximum(np.diag(centred), 1e-12))
    middle = moments.cross[-1] / count
    towards = (moments.cross[:-1] / count - np.outer(mean, middle)) / sd[:, None]
    correlation, path = centred / np.outer(sd, sd), []
    for strength in _STRENGTHS:
        slopes = np.linalg.solve(correlation + strength * np.eye(len(sd)), towards) / sd[:, None]
        path.append(np.vstack([slopes, middle - mean @ slopes]))
    return path


@dataclass(frozen=True, slots=True)
class CameraFrameWithHeadPose:
    """An estimator of gaze in the camera frame beside a head pose: how Gaze360 is used in figure 12.2.

    Takes another predictor's ray alone; the angles in the face follow from the device's head pose.
    """

    of: Predictor

    @property
    def name(self) -> str:
        """Of the other predictor, and how its angles come about."""
        return f"{self.of.name} and head pose"

    def predict(self, samples: SessionSamples) -> Predictions:
        """The other's ray, and its angles against the device's head pose. ValueError if it gives no ray."""
        said = self.of.predict(samples)
        if said.ray is None:
            raise ValueError(f"{self.of.name} gives no ray")
        face_deg = face_angles(said.ray, np.asarray(samples.arrays["head_rotation"], float))
        return Predictions(said.ray, said.ray_error_deg, face_deg, rigid_location_px(samples, said.ray))
