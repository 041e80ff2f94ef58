"""How well estimators find where people look, overall and for subsets of light, glasses, place, head and person.

A predictor gives a ray, angles in the face frame and a place on the road view for each row of a session. Errors are
those of (12.9) and (12.10), over the rows whose truth is known with an open, visible eye. Rows for which a predictor
has no answer, and frames on which the device did not find the face, are counted, not hidden. Each predictor is compared
with reference predictors on the rows that both answer, paired by session.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from dashgaze.geometry import (
    FACING,
    Floats,
    angle_between_deg,
    angles_from_rays,
    facing_rotation,
    fit_rotation,
    rays_from_angles,
)
from dashgaze.session import Record
from dashgaze.training.gaze import metrics
from dashgaze.training.gaze.batches import evaluation_batches
from dashgaze.training.gaze.metrics import AxisStatistics, DoubtStatistics, Ratio, Statistics
from dashgaze.training.gaze.model import DashGazeNet, rigid_road_deg, used_inputs
from dashgaze.training.gaze.samples import SampleSet, SessionSamples
from dashgaze.zones import ROAD_ZONES, Zone, ZoneMap

Quantity = Literal["ray", "face", "location"]
UNITS: dict[Quantity, str] = {"ray": "deg", "face": "deg", "location": "px"}
AXES = ("face_azimuth", "face_elevation", "camera_azimuth", "camera_elevation")
"""Angles in the face frame, and in the view of `device.crops`, where 0 is into the camera."""
ROAD_VIEW_PX = 1920
"""Location errors are scaled to a road view so many pixels wide, so that cameras can be compared."""
TARGET_MM = 30_000.0
"""How far away the rigid pair takes what is looked at to be, as `device.road` does."""
FEW_ROWS, FEW_SESSIONS = 30, 3
"""Statistics of fewer say little."""
ZONES = tuple(str(zone) for zone in Zone)

_UNKNOWN = "unknown"
_BATCH = 256
_TURNS_DEG = (15.0, 30.0, 45.0, 65.0)
_TURN_NAMES = ("0 to 15 deg", "15 to 30 deg", "30 to 45 deg", "45 to 65 deg", "more than 65 deg")
_DAYLIGHT = {"day": "day", "overcast": "day", "dusk": "night", "night": "night", "infrared": "night"}


@dataclass(frozen=True, slots=True, eq=False)
class Predictions:
    """Estimates for the n rows of one `SessionSamples`; NaN in rows without one, None where a predictor has none."""

    ray: Floats | None = None
    """(n, 3) unit vectors in the camera frame."""
    ray_error_deg: Floats | None = None
    """(n,) predicted standard deviation per axis."""
    face_deg: Floats | None = None
    """(n, 2) azimuth and elevation in the face frame."""
    location_px: Floats | None = None
    """(n, 2) on the road view."""


class Predictor(Protocol):
    """Anything that estimates gaze."""

    @property
    def name(self) -> str:
        """Short, for tables; unique in one evaluation."""

    def predict(self, samples: SessionSamples) -> Predictions:
        """Estimates for all rows of a session."""


class NetworkPredictor:
    """A trained network, by what its heads say. `error_factor` scales its predicted standard deviations.

    The device takes ray, deviation and residual as they are here; its angles in the face follow from the ray and the
    head pose, where here they are those of the head that (12.3) asks for, if there is one.
    """

    def __init__(self, name: str, model: DashGazeNet, error_factor: float = 1.0) -> None:
        self.name = name
        self._model, self._error_factor = model.eval(), error_factor

    def predict(self, samples: SessionSamples) -> Predictions:
        """Ray, face angles and location: from the heads it has, the rest from those by geometry."""
        said = self._run(samples)
        ray_deg, face_deg, location = said.get("ray_deg"), said.get("face_deg"), said.get("location")
        rotation = np.asarray(samples.arrays["head_rotation"], float)
        view = np.asarray(samples.arrays["view"], float)
        ray = None
        if ray_deg is not None:
            ray = turned(view @ FACING, rays_from_angles(*ray_deg.T))
        elif face_deg is not None:
            ray = turned(rotation, rays_from_angles(*face_deg.T))
        if face_deg is None and ray is not None:
            face_deg = face_angles(ray, rotation)
        error = said.get("ray_error_deg")
        return Predictions(
            ray=ray,
            ray_error_deg=None if error is None else error * self._error_factor,
            face_deg=face_deg,
            location_px=self._location(samples, ray, ray_deg, location),
        )

    def _run(self, samples: SessionSamples) -> dict[str, Floats]:
        """Outputs of the heads that there are, all rows."""
        names = used_inputs(self._model.config)
        parts: dict[str, list[Floats]] = {}
        for inputs in evaluation_batches(samples, _BATCH, names):
            with torch.inference_mode():
                outputs = self._model(inputs)
            for name in ("ray_deg", "ray_error_deg", "face_deg", "location"):
                value = getattr(outputs, name)
                if value is not None:
                    parts.setdefault(name, []).append(value.double().numpy())
        return {name: np.concatenate(values) for name, values in parts.items()}

    def _location(
        self, samples: SessionSamples, ray: Floats | None, ray_deg: Floats | None, said: Floats | None
    ) -> Floats | None:
        if samples.road_camera is None:
            return None
        if said is None:
            return None if ray is None else rigid_location_px(samples, ray)
        if self._model.config.location == "direct":
            return said * samples.road_camera.size_px - 0.5
        assert ray_deg is not None
        road_from_view = FACING @ np.asarray(samples.arrays["view"], float)
        rigid_deg = rigid_road_deg(torch.from_numpy(ray_deg), torch.from_numpy(road_from_view)).numpy()
        return samples.road_camera.project(rays_from_angles(*(rigid_deg + said).T))


def face_angles(ray: Floats, rotation: Floats) -> Floats:
    """Azimuth and elevation (n, 2) in the face frame of rays (n, 3), by head rotations R_camera_face (n, 3, 3)."""
    return np.stack(angles_from_rays(turned(rotation.transpose(0, 2, 1), ray)), axis=-1)


def rigid_location_px(samples: SessionSamples, ray: Floats) -> Floats | None:
    """Places (n, 2) on the road view of rays (n, 3), by the pair of cameras back to back; None without a road view."""
    if samples.road_camera is None:
        return None
    return samples.road_camera.project((np.asarray(samples.arrays["head_mm"], float) + ray * TARGET_MM) @ FACING)


def turned(rotations: Floats, vectors: Floats) -> Floats:
    """Vectors (n, 3), each by its own rotation (n, 3, 3)."""
    return np.asarray(np.einsum("nij,nj->ni", rotations, vectors))


# --- what an evaluation says ---


class Subset(Statistics):
    """Statistics of some of the rows."""

    few: bool
    """Fewer than 30 rows or 3 sessions: read it with care."""


class QuantityResult(Record):
    """Errors of the ray, of the angles in the face frame, or of the location."""

    unit: str
    """Degrees; or pixels of a road view 1920 wide."""
    missing: int
    """Rows whose truth is known and for which there is no estimate."""
    total: Statistics
    percentiles: tuple[float, ...]
    """The cumulative error curve: percentiles 0 to 100."""
    ratios: dict[str, Ratio]
    """Against each reference."""
    subsets: dict[str, dict[str, Subset]]


class ZoneResult(Record):
    """Zones of the car frame. The mount of the camera is the true one: this judges the gaze, not the calibration."""

    rows: int
    confusion: tuple[tuple[int, ...], ...]
    """Rows are the true zones, columns the found ones, in the order of `Zone`."""
    balanced_accuracy: float | None
    accuracy: float | None
    road_balanced_accuracy: float | None
    """Of two classes: on the road or not."""


class PredictorResult(Record):
    """All about one predictor."""

    name: str
    quantities: dict[Quantity, QuantityResult]
    """Without those that it never gives."""
    axes: dict[str, AxisStatistics]
    zones: ZoneResult | None
    doubt: DoubtStatistics | None
    """None where it predicts no standard deviation."""
    jitter_deg: float | None
    """Median change of the ray between frames at most 0.25 s apart; None where there are none."""


class Summary(Record):
    """`evaluation.json`."""

    schema_version: Literal[1] = 1
    fingerprint: str
    """Of the samples."""
    run: str | None = None
    """`runs.fingerprint` of the run that is judged; None for predictors of no run."""
    sessions: tuple[str, ...]
    drivers: tuple[str, ...]
    rows: int
    considered: int
    """Frames with a known gaze and an open, visible eye."""
    missed: int
    """Those of them on which the device did not find the driver's face."""
    zone_ceiling: ZoneResult | None
    """Zones of the true rays by the packaged geometry: what no estimator can beat."""
    location_ceiling: Statistics | None
    """Location errors of the true rays by the rigid pair as the device has it: what that assumption costs."""
    predictors: tuple[PredictorResult, ...]

    def of(self, name: str) -> PredictorResult:
        """The predictor of that name; KeyError if there is none."""
        for result in self.predictors:
            if result.name == name:
                return result
        raise KeyError(name)


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """Truth of the m rows that count, and the subsets they belong to."""

    session: NDArray[np.int_]
    """(m,) number in the set."""
    row: NDArray[np.int_]
    """(m,) number in the session's arrays."""
    t_s: Floats
    ray: Floats
    face_deg: Floats
    view: Floats
    """(m, 3, 3) R_camera_view."""
    camera_deg: Floats
    """(m, 2) azimuth and elevation of the ray in the view."""
    location_px: Floats
    road_size_px: Floats
    """(m, 2) width and height of the road view."""
    head_turn_deg: Floats
    """(m,) true yaw of the head against the line to the camera."""
    zone: NDArray[np.str_]
    subsets: Mapping[str, Mapping[str, NDArray[np.bool_]]]


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """Estimates of one predictor for `Rows`, and their errors; NaN where there is none."""

    ray: Floats
    ray_error_deg: Floats
    """(m,) predicted standard deviation."""
    face_deg: Floats
    camera_deg: Floats
    location_px: Floats
    errors: Mapping[Quantity, Floats]
    zone: NDArray[np.str_]
    """(m,) by the true mount; empty where not known."""


@dataclass(frozen=True, slots=True, eq=False)
class Evaluation:
    """What was found, and the rows it was found on."""

    summary: Summary
    rows: Rows
    measured: Mapping[str, Measured]
    """By predictor."""


def evaluate(predictors: Sequence[Predictor], sample_set: SampleSet, reference_names: Sequence[str] = ()) -> Evaluation:
    """Measure predictors on the usable rows of a set; each is compared with the references, predictors themselves."""
    rows = collect_rows(sample_set.sessions)
    zones = _CarZones(sample_set.sessions, rows)
    measured = {predictor.name: measure(predictor, sample_set.sessions, rows, zones) for predictor in predictors}
    if len(measured) < len(predictors):
        raise ValueError("two predictors have the same name")
    summary = Summary(
        fingerprint=sample_set.fingerprint,
        sessions=tuple(samples.session_id for samples in sample_set.sessions),
        drivers=tuple(sorted({samples.driver_id or _UNKNOWN for samples in sample_set.sessions})),
        rows=len(rows.row),
        considered=sum(samples.considered for samples in sample_set.sessions),
        missed=sum(samples.missed for samples in sample_set.sessions),
        zone_ceiling=_zone_result(rows.zone, zones.of(rows.ray)),
        location_ceiling=_location_ceiling(sample_set.sessions, rows),
        predictors=tuple(
            _result(name, of_one, rows, {other: measured[other] for other in reference_names if other != name})
            for name, of_one in measured.items()
        ),
    )
    return Evaluation(summary, rows, measured)


# --- rows and subsets ---


def collect_rows(sessions: Sequence[SessionSamples]) -> Rows:
    """Truth and subsets of the usable rows of sessions."""
    row = [np.flatnonzero(samples.arrays["usable"]) for samples in sessions]
    session = np.repeat(np.arange(len(sessions)), [len(numbers) for numbers in row])

    def take(name: str, tail: tuple[int, ...] = ()) -> Floats:
        parts = [np.asarray(s.arrays[name][n], float) for s, n in zip(sessions, row, strict=True)]
        return np.concatenate([np.zeros((0, *tail)), *parts])

    ray, eye_mid_mm, view = take("ray", (3,)), take("eye_mid_mm", (3,)), take("view", (3, 3))
    turn_deg = _head_turn_deg(take("head_deg", (3,)), eye_mid_mm)
    sizes_px = [s.road_camera.size_px if s.road_camera else (np.nan, np.nan) for s in sessions]
    zone = [np.asarray(s.arrays["zone"][n], str) for s, n in zip(sessions, row, strict=True)]
    by_session: dict[str, Sequence[str | None]] = {
        "light": [samples.light for samples in sessions],
        "time of day": [_DAYLIGHT.get(samples.light or "") for samples in sessions],
        "glasses": [samples.glasses for samples in sessions],
        "camera": [samples.camera_position for samples in sessions],
        "driver": [samples.driver_id for samples in sessions],
    }
    subsets = {
        name: _by_name([str(value or _UNKNOWN) for value in values], session) for name, values in by_session.items()
    }
    subsets["head against camera"] = _by_turn(np.abs(turn_deg))
    subsets["gaze against camera"] = _by_turn(angle_between_deg(ray, -eye_mid_mm))
    subsets["distance"] = _by_tercile(np.linalg.norm(eye_mid_mm, axis=1))
    return Rows(
        session=session,
        row=np.concatenate([np.zeros(0, int), *row]),
        t_s=take("t_s"),
        ray=ray,
        face_deg=take("face_deg", (2,)),
        view=view,
        camera_deg=_camera_angles(view, ray),
        location_px=take("location_px", (2,)),
        road_size_px=np.array(sizes_px, float).reshape(-1, 2)[session],
        head_turn_deg=turn_deg,
        zone=np.concatenate([np.zeros(0, str), *zone]),
        subsets=subsets,
    )


def _head_turn_deg(head_deg: Floats, eye_mid_mm: Floats) -> Floats:
    """Yaw (n,) of heads against the line to the camera, positive to the driver's right; `HeadPose.seen_from_deg`."""
    rotations = np.array([facing_rotation(*angles) for angles in head_deg]).reshape(-1, 3, 3)
    azimuth, _ = angles_from_rays(turned(rotations.transpose(0, 2, 1), -eye_mid_mm))
    return -azimuth


def _camera_angles(view: Floats, ray: Floats) -> Floats:
    return np.stack(angles_from_rays(turned((view @ FACING).transpose(0, 2, 1), ray)), axis=-1)


def _by_name(names: Sequence[str], session: NDArray[np.int_]) -> dict[str, NDArray[np.bool_]]:
    of_row = np.array(names, dtype=object)[session]
    return {name: np.asarray(of_row == name, bool) for name in sorted(set(names))}


def _by_turn(turn_deg: Floats) -> dict[str, NDArray[np.bool_]]:
    bins = np.where(np.isfinite(turn_deg), np.digitize(turn_deg, _TURNS_DEG), -1)
    return {name: bins == number for number, name in enumerate(_TURN_NAMES)}


def _by_tercile(distance_mm: Floats) -> dict[str, NDArray[np.bool_]]:
    if not np.isfinite(distance_mm).any():
        return {}
    near, far = np.nanquantile(distance_mm, [1 / 3, 2 / 3])
    return {
        f"up to {near:.0f} mm": distance_mm <= near,
        f"{near:.0f} to {far:.0f} mm": (distance_mm > near) & (distance_mm <= far),
        f"more than {far:.0f} mm": distance_mm > far,
    }


# --- one predictor ---


def measure(predictor: Predictor, sessions: Sequence[SessionSamples], rows: Rows, zones: "_CarZones") -> Measured:
    """Run a predictor on sessions; estimates and errors of `rows`."""
    of_sessions = list(_predicted(predictor, sessions, rows))
    ray, sd, face_deg, location_px = map(np.concatenate, zip(*of_sessions, strict=True))
    errors: dict[Quantity, Floats] = {
        "ray": metrics.angular_error_deg(ray, rows.ray),
        "face": metrics.angular_error_of_angles_deg(face_deg, rows.face_deg),
        "location": _location_error_px(location_px, rows),
    }
    return Measured(ray, sd, face_deg, _camera_angles(rows.view, ray), location_px, errors, zones.of(ray))


def _location_error_px(found_px: Floats, rows: Rows) -> Floats:
    """Errors (m,) in pixels of a road view `ROAD_VIEW_PX` wide."""
    return metrics.location_error_px(found_px, rows.location_px) * ROAD_VIEW_PX / rows.road_size_px[:, 0]


def _location_ceiling(sessions: Sequence[SessionSamples], rows: Rows) -> Statistics | None:
    places = [np.zeros((0, 2))]
    for number, samples in enumerate(sessions):
        usable = rows.row[rows.session == number]
        place = rigid_location_px(samples, np.asarray(samples.arrays["ray"], float))
        places.append(np.full((len(usable), 2), np.nan) if place is None else place[usable])
    errors = _location_error_px(np.concatenate(places), rows)
    return metrics.summarise(errors, rows.session) if np.isfinite(errors).any() else None


def _predicted(
    predictor: Predictor, sessions: Sequence[SessionSamples], rows: Rows
) -> Iterator[tuple[Floats, Floats, Floats, Floats]]:
    """Ray, its standard deviation, face angles and location of the rows of one session after the other."""
    yield np.zeros((0, 3)), np.zeros(0), np.zeros((0, 2)), np.zeros((0, 2))
    for number, samples in enumerate(sessions):
        said, usable = predictor.predict(samples), rows.row[rows.session == number]

        def pick(values: Floats | None, *tail: int, usable: NDArray[np.int_] = usable) -> Floats:
            if values is None:
                return np.full((len(usable), *tail), np.nan)
            return np.asarray(np.asarray(values, float)[usable])

        yield pick(said.ray, 3), pick(said.ray_error_deg), pick(said.face_deg, 2), pick(said.location_px, 2)


def _result(name: str, measured: Measured, rows: Rows, references: Mapping[str, Measured]) -> PredictorResult:
    truths: dict[Quantity, Floats] = {"ray": rows.ray, "face": rows.face_deg, "location": rows.location_px}
    quantities = {
        quantity: _quantity(quantity, errors, np.isfinite(truths[quantity].sum(axis=1)), rows, references)
        for quantity, errors in measured.errors.items()
        if np.isfinite(errors).any()
    }
    pairs = ((measured.face_deg, rows.face_deg), (measured.camera_deg, rows.camera_deg))
    found, truth = (np.concatenate(angles, axis=1) for angles in zip(*pairs, strict=True))
    errors_deg = np.concatenate([metrics.axis_errors_deg(*pair) for pair in pairs], axis=1)
    axes = {
        axis: metrics.axis_statistics(truth[:, column], errors_deg[:, column])
        for column, axis in enumerate(AXES)
        if np.isfinite(found[:, column]).any()
    }
    return PredictorResult(
        name=name,
        quantities=quantities,
        axes=axes,
        zones=_zone_result(rows.zone, measured.zone),
        doubt=metrics.doubt_statistics(measured.errors["ray"], measured.ray_error_deg),
        jitter_deg=_jitter_deg(measured.ray, rows),
    )


def _quantity(
    quantity: Quantity, errors: Floats, known: NDArray[np.bool_], rows: Rows, references: Mapping[str, Measured]
) -> QuantityResult:
    return QuantityResult(
        unit=UNITS[quantity],
        missing=int((known & ~np.isfinite(errors)).sum()),
        total=metrics.summarise(errors, rows.session),
        percentiles=metrics.percentiles(errors),
        ratios={
            other: metrics.ratio(errors, of_other.errors[quantity], rows.session)
            for other, of_other in references.items()
        },
        subsets={
            group: {
                name: _subset(errors[mask], rows.session[mask]) for name, mask in masks.items() if known[mask].any()
            }
            for group, masks in rows.subsets.items()
        },
    )


def _subset(errors: Floats, sessions: NDArray[np.int_]) -> Subset:
    statistics = metrics.summarise(errors, sessions)
    few = statistics.rows < FEW_ROWS or statistics.sessions < FEW_SESSIONS
    return Subset(**statistics.model_dump(), few=few)


def _jitter_deg(ray: Floats, rows: Rows) -> float | None:
    order = np.lexsort((rows.t_s, rows.session))
    between = rows.session[order][1:] != rows.session[order][:-1]
    apart = np.concatenate([[0.0], np.cumsum(np.where(between, 1e9, 0.0))])  # sessions do not follow each other
    return metrics.jitter_deg(ray[order], rows.t_s[order] + apart) if len(order) else None


# --- zones ---


class _CarZones:
    """Zones of rays in the car frame: by the true mount, and where the device itself finds the eyes."""

    def __init__(self, sessions: Sequence[SessionSamples], rows: Rows) -> None:
        self._session = rows.session
        self._mounts = [_mount(samples) for samples in sessions]
        self._origins_mm = [_eyes_from_seat_mm(s, rows.row[rows.session == i]) for i, s in enumerate(sessions)]

    def of(self, ray: Floats) -> NDArray[np.str_]:
        """Zones (m,) of rays (m, 3); empty where the ray or the car is not known."""
        zones = np.full(len(ray), "", dtype="U16")
        for number, (mount, origins_mm) in enumerate(zip(self._mounts, self._origins_mm, strict=True)):
            here = np.flatnonzero(self._session == number)
            given = np.isfinite(ray[here]).all(axis=1)
            if mount is None or not given.any():
                continue
            car_from_camera, zone_map = mount
            turn = car_from_camera.T
            zones[here[given]] = zone_map.zones_of(origins_mm[given] @ turn, ray[here[given]] @ turn).astype(str)
        return zones


def _mount(samples: SessionSamples) -> tuple[Floats, ZoneMap] | None:
    """R_car_camera, from the truth in both frames, and the zones; None where the session does not tell."""
    ray, car_deg = np.asarray(samples.arrays["ray"], float), np.asarray(samples.arrays["car_deg"], float)
    known = np.isfinite(ray).all(axis=1) & np.isfinite(car_deg).all(axis=1)
    if samples.hand_of_drive is None or known.sum() < 2:
        return None
    rotation = fit_rotation(ray[known], rays_from_angles(*car_deg[known].T))
    return rotation, ZoneMap.for_vehicle(samples.hand_of_drive)


def _eyes_from_seat_mm(samples: SessionSamples, rows: NDArray[np.int_]) -> Floats:
    """Where the eyes are (n, 3) from their usual place, camera axes."""
    head_mm = np.asarray(samples.arrays["head_mm"], float)
    return np.asarray(head_mm[rows] - head_mm.mean(axis=0)) if len(head_mm) else np.zeros((0, 3))


def _zone_result(truth: NDArray[np.str_], found: NDArray[np.str_]) -> ZoneResult | None:
    """Confusion of zones, where both are known; None where none is."""
    both = np.isin(truth, ZONES) & (found != "")
    if not both.any():
        return None
    confusion = metrics.confusion_matrix(truth[both].tolist(), found[both].tolist(), ZONES)
    road = np.array([Zone(name) in ROAD_ZONES for name in ZONES])
    groups = np.stack([road, ~road]).astype(int)
    return ZoneResult(
        rows=int(both.sum()),
        confusion=tuple(map(tuple, confusion.tolist())),
        balanced_accuracy=metrics.balanced_accuracy(confusion),
        accuracy=metrics.accuracy(confusion),
        road_balanced_accuracy=metrics.balanced_accuracy(groups @ confusion @ groups.T),
    )
