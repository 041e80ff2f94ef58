"""Samples for the gaze network: what the device sees on each frame of a session, beside the frame's truth.

Pictures, landmarks and head pose come from the device's own stages (source, `FaceTracker`, `HeadPoseEstimator`,
`take_inputs`), so that the network is trained on what it will get. Cropping is slow and done once: below the hidden
folder `.samples` of a set, in a folder whose name depends on whatever the samples depend on, this code included. A
session's inputs are records of one binary file, one after the other, so that a sample is one piece of the disk and a
set needs one memory map per session; the truth, which is small, is a file of its own. A session's cache appears when it
is complete; sessions are never written to.
"""

import hashlib
import multiprocessing
import os
import signal
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

import dashgaze.geometry
from dashgaze import session as schema
from dashgaze.bundle import Bundle, packaged_bundle
from dashgaze.device import crops, detection, faces, filters, headpose, mesh, source_files
from dashgaze.device.crops import CropPlan, GazeInputs, take_inputs, view_angles, view_rotation
from dashgaze.device.faces import FaceSettings, FaceTracker
from dashgaze.device.headpose import CanonicalFace, HeadPoseEstimator
from dashgaze.device.records import Face, Frame, HeadPose
from dashgaze.device.sources import SourceSettings, open_source
from dashgaze.errors import DashgazeError, InputError
from dashgaze.geometry import Camera, Floats, angle_between_deg, angles_from_rays, unit
from dashgaze.session import Session, read_session
from dashgaze.tables import Status, Table, sync_folder, write_atomically, write_failure
from dashgaze.training.progress import FrameBar, frame_bar
from dashgaze.zones import HandOfDrive, Zone

Array = NDArray[Any]
Light = Literal["day", "overcast", "dusk", "night", "infrared"]
LIGHTS: tuple[Light, ...] = get_args(Light)

CACHE = ".samples"
VISIBLE_FRAC = 0.3
"""An eye of which so much can be seen tells something about its gaze."""

_SEEN, _TRUTH, _SUMMARY = "seen.bin", "truth.bin", "samples.json"
_CODE = (crops, headpose, mesh, faces, detection, filters, source_files, dashgaze.geometry)
_FACE_PARTS = ("detector", "detector_full", "mesh", "blendshapes", "canonical_face")
_FACE_THRESHOLDS = ("detector_score", "detector_second_chance_score", "mesh_presence")
_RATE_SLACK_S = 1e-3  # of time stamps
_UNIT_ERROR = 0.02  # of a ray's length
_SOMEBODY_ELSE_DEG = 10.0  # seen from the camera; the driver's own face was found within 1.3 deg on 99.5 % of frames
_FRAME_COLUMNS = (
    *("t_s", "driver_frame", "angle_status", "location_status", "zone", "eyes_closed"),
    *("ray_x", "ray_y", "ray_z", "eye_mid_x_mm", "eye_mid_y_mm", "eye_mid_z_mm", "azimuth_deg", "elevation_deg"),
    *("car_azimuth_deg", "car_elevation_deg", "head_yaw_deg", "head_pitch_deg", "head_roll_deg"),
    *("road_x_px", "road_y_px", "eye_openness_left_frac", "eye_openness_right_frac"),
)
_LABEL_COLUMNS = ("driver_frame", "left_eye_visible_frac", "right_eye_visible_frac")


@dataclass(frozen=True, slots=True, eq=False)
class SessionSamples:
    """The samples of one session."""

    session_id: str
    driver_id: str | None
    path: str
    light: Light | None
    glasses: schema.Glasses | None
    camera_position: str | None
    hand_of_drive: HandOfDrive | None
    driver_camera: Camera
    """Of the pictures as the device sees them: a mirrored video is turned back."""
    road_camera: Camera | None
    considered: int
    """Frames whose truth can be used: gaze known, an eye visible, eyes open."""
    missed: int
    """Those of them in which the device found no face, or somebody else's."""
    arrays: Mapping[str, Array]
    """The fields of `sample_type`, n rows each; what is not truth is read from the disk when it is looked at."""

    def __len__(self) -> int:
        """Rows, usable or not."""
        return len(self.arrays["usable"])


TRUTH_TYPE = np.dtype(
    [
        ("frame", np.int64),
        ("t_s", np.float64),
        ("ray", np.float64, (3,)),
        ("eye_mid_mm", np.float64, (3,)),
        ("face_deg", np.float64, (2,)),
        ("head_deg", np.float64, (3,)),
        ("car_deg", np.float64, (2,)),
        ("location_px", np.float64, (2,)),
        ("road_deg", np.float64, (2,)),
        ("openness", np.float64),
        ("visible", np.float64, (2,)),
        ("zone", f"U{max(map(len, Zone))}"),
        ("usable", np.bool_),
    ]
)
"""The truth about a frame: `frame`, its number in the driver video, and `t_s`; `ray` (unit) and `eye_mid_mm` in the
camera frame; `face_deg`, azimuth and elevation in the face frame; `head_deg` yaw, pitch, roll; `car_deg`; `location_px`
on the road view and `road_deg`, its direction in the road camera, degrees to the right and up, both NaN unless the
location is ok; `openness`, mean of both eyes; `visible` share of the left and the right eye; `zone`, empty where
unknown (numbers: NaN); `usable`: the gaze is known, an eye may be visible, the eyes are not closed."""
_TRUTH_NAMES = TRUTH_TYPE.names or ()


@cache
def sample_type(plan: CropPlan) -> np.dtype[np.void]:
    """What is known of a frame in which the device found the driver's face: `TRUTH_TYPE`, and what the device saw.

    That is: the pictures, `five`, `mesh` and `pose` of `crops.GazeInputs`; `landmarks_px`, `blendshapes`, rotation and
    place of the head; `view`, which is `crops.view_rotation`; and `ray_deg`, the true ray in it (`crops.view_angles`).
    """

    def picture(name: str, size_px: tuple[int, int]) -> tuple[str, type, tuple[int, ...]]:
        return name, np.uint8, (plan.channels, size_px[1], size_px[0])

    fields = [
        *((name, TRUTH_TYPE[name]) for name in _TRUTH_NAMES),
        ("head_rotation", np.float64, (3, 3)),
        ("head_mm", np.float64, (3,)),
        ("view", np.float64, (3, 3)),
        ("ray_deg", np.float64, (2,)),
        ("pose", np.float32, (len(crops.POSE_NAMES),)),
        ("five", np.float32, (len(crops.FIVE_POINTS), 2)),
        ("mesh", np.float32, (478, 2)),
        ("landmarks_px", np.float32, (478, 3)),
        ("blendshapes", np.float32, (52,)),
        picture("right_eye", plan.eye_px),
        picture("left_eye", plan.eye_px),
        picture("face", plan.face_px),
        picture("driver", plan.driver_px),
    ]
    return np.dtype(fields, align=True)


@cache
def _seen_type(plan: CropPlan) -> np.dtype[np.void]:
    """`sample_type` without `TRUTH_TYPE`."""
    whole = sample_type(plan)
    return np.dtype([(name, whole[name]) for name in whole.names or () if name not in _TRUTH_NAMES], align=True)


@dataclass(frozen=True, slots=True, eq=False)
class SampleSet:
    """The samples of many sessions."""

    sessions: tuple[SessionSamples, ...]
    plan: CropPlan
    fingerprint: str
    """SHA-256 of everything that the samples were made from: sessions, face models, plan, rate, code."""

    def rows(self) -> NDArray[np.int64]:
        """(m, 2) number of the session and row in it of every usable sample."""
        parts = [np.zeros((0, 2), np.int64)]
        for number, session in enumerate(self.sessions):
            usable = np.flatnonzero(session.arrays["usable"])
            parts.append(np.column_stack([np.full(len(usable), number), usable]))
        return np.concatenate(parts)

    def take(self, rows: NDArray[np.int64], names: Sequence[str]) -> dict[str, Array]:
        """Copies of fields `names` of rows (k, 2), in their order."""
        kind = sample_type(self.plan)
        taken = {name: np.empty((len(rows), *kind[name].shape), kind[name].base) for name in names}
        for number in np.unique(rows[:, 0]):
            here = rows[:, 0] == number
            for name, values in taken.items():
                values[here] = self.sessions[number].arrays[name][rows[here, 1]]
        return taken

    def __len__(self) -> int:
        """Usable samples."""
        return sum(int(session.arrays["usable"].sum()) for session in self.sessions)


def prepare(sets: Sequence[Path], plan: CropPlan, workers: int = 1, rate_hz: float = 5.0) -> SampleSet:
    """Samples of sets of sessions, or of single sessions; makes those that are not in the cache yet.

    Every frame is tracked, as the device does; of a video with more than `rate_hz` labelled frames a second only so
    many become samples. Raises InputError, before any work, for a session that cannot be used, naming file and column;
    for a video that does not belong to its tables; DashgazeError where the cache cannot be written.
    """
    if not rate_hz > 0 or workers < 1:
        raise InputError("prepare", f"rate_hz = {rate_hz}, workers = {workers}: both must be positive")
    bundle = packaged_bundle()
    recipe = hashlib.sha256(repr((_face_models(bundle), plan, float(rate_hz), code_version())).encode()).hexdigest()
    tasks = [_Task.of(path, recipe, plan, rate_hz) for path in find_sessions(sets)]
    missing = {task: _check(task) for task in tasks if not task.cache.is_dir()}
    with frame_bar("sessions") as bar:
        bar.start(len(tasks), len(tasks) - len(missing), sum(missing.values()))
        for task in _cropped(list(missing), bundle, workers):
            _tell(bar, missing[task])
    sessions = tuple(_open(task) for task in tasks)
    fingerprint = hashlib.sha256("".join(sorted(task.fingerprint for task in tasks)).encode()).hexdigest()
    return SampleSet(sessions, plan, fingerprint)


def find_sessions(sets: Sequence[Path]) -> list[Path]:
    """Sessions of sets, in their order. Raises InputError for a folder without any, and for a session named twice."""
    found: list[Path] = []
    for folder in map(Path, sets):
        if (folder / "session.json").is_file():
            found.append(folder)
            continue
        try:
            inner = sorted(p for p in folder.iterdir() if p.name[0] != "." and (p / "session.json").is_file())
        except OSError as error:
            raise InputError(str(folder), f"cannot be listed: {(error.strerror or str(error)).lower()}") from None
        if not inner:
            raise InputError(str(folder), "holds no sessions", "name a set, or a folder with session.json")
        found += inner
    if not found:
        raise InputError("sets", "none is named", "name a set of sessions")
    seen: set[Path] = set()
    for path in found:
        if path.resolve() in seen:
            raise InputError(str(path), "is named twice", "name each set once")
        seen.add(path.resolve())
    return found


def _face_models(bundle: Bundle) -> tuple[str | float, ...]:
    """What finds and measures faces, by SHA-256 and threshold: a new gaze network makes no other samples."""
    thresholds = bundle.manifest.thresholds
    return *(bundle.part(name).sha256 for name in _FACE_PARTS), *(thresholds[name] for name in _FACE_THRESHOLDS)


@cache
def code_version() -> str:
    """SHA-256 of the source of everything that turns a frame into a sample."""
    digest = hashlib.sha256()
    for path in [Path(__file__), *(Path(str(module.__file__)) for module in _CODE)]:
        digest.update(path.read_bytes())
    return digest.hexdigest()


# --- one session ---


@dataclass(frozen=True, slots=True)
class _Task:
    """A session to be cropped, and the place of its samples."""

    path: Path
    plan: CropPlan
    rate_hz: float
    fingerprint: str
    """SHA-256 of everything that the samples depend on; of the video, which is large, its size."""
    cache: Path

    @classmethod
    def of(cls, path: Path, recipe: str, plan: CropPlan, rate_hz: float) -> "_Task":
        """Task of a session; `recipe` is a hash of what all sessions' samples depend on."""
        digest = hashlib.sha256(recipe.encode())
        for name in ("session.json", "frames.parquet", "labels.parquet"):
            file = path / name
            digest.update(hashlib.sha256(schema.read_file(file) if file.is_file() else b"").digest())
        video = path / "driver.mp4"
        digest.update(str(video.stat().st_size if video.is_file() else None).encode())
        place = path.absolute()
        cache = place.parent / CACHE / recipe[:12] / f"{place.name}-{digest.hexdigest()[:12]}"
        return cls(path, plan, rate_hz, digest.hexdigest(), cache)


class _Summary(schema.Record):
    """`samples.json`: what is known of a session's samples beside the records."""

    rows: int
    considered: int
    light: Light | None


def _check(task: _Task) -> int:
    """Frames of a session that can be used; raises InputError for one that cannot."""
    session = read_session(task.path)
    _video(session)
    _cameras(session)
    return len(_read_truth(session, task.rate_hz))


def _video(session: Session) -> Path:
    video = session.video("driver")
    if video is None:
        raise InputError(str(session.path / "driver.mp4"), "is missing: the session has no driver video")
    return video


def _cameras(session: Session) -> tuple[Camera, Camera | None]:
    """Driver camera, of pictures that are turned back if the video is mirrored, and road camera."""
    where, cameras = f"{session.path / 'session.json'}, cameras", session.header.cameras
    if cameras.driver is None or cameras.driver.K is None:
        problem = "is null: the geometry of the driver camera is unknown"
        raise InputError(f"{where}.driver.K", problem, "calibrate the camera")
    if cameras.road is not None and cameras.road.mirrored:
        raise InputError(
            f"{where}.road.mirrored", "a mirrored road view cannot be used", "turn the video and its labels"
        )
    driver = _camera(f"{where}.driver", cameras.driver)
    return driver, None if cameras.road is None or cameras.road.K is None else _camera(f"{where}.road", cameras.road)


def _camera(where: str, camera: schema.Camera) -> Camera:
    assert camera.K is not None
    try:
        made = Camera.from_parameters(camera.size_px, camera.K, camera.distortion or ())
    except ValueError as error:
        raise InputError(where, str(error), "correct the calibration") from None
    return made.mirrored() if camera.mirrored else made


def _read_truth(session: Session, rate_hz: float) -> NDArray[np.void]:
    """Truth of the frames that may become samples. Raises InputError where there is none."""
    where = session.path / "frames.parquet"
    frames = session.table("frames", _FRAME_COLUMNS)
    truth = _truth_of_frames(frames, _cameras(session)[1])
    off = np.abs(np.linalg.norm(_vectors(frames, "ray_{}", "xyz"), axis=1) - 1) > _UNIT_ERROR
    if off.any():
        raise InputError(f"{where}, column ray_x, row {int(off.argmax())}", "the ray is not a unit vector")
    if "labels" in session.tables:
        labels = session.table("labels", _LABEL_COLUMNS)
        if not np.array_equal(np.ma.filled(labels["driver_frame"], -1), truth["frame"]):
            problem = "is not that of frames.parquet, row by row"
            raise InputError(
                f"{session.path / 'labels.parquet'}, column driver_frame", problem, "write the session anew"
            )
        truth["visible"] = _vectors(labels, "{}_eye_visible_frac", ("left", "right"))
    status = frames["angle_status"]
    known = np.isfinite(truth["ray"]).all(axis=1) & np.isin(status, (Status.OK, Status.EYES_CLOSED))
    closed = np.ma.filled(frames["eyes_closed"], False) | (status == Status.EYES_CLOSED)
    truth["usable"] = known & ~closed & ~(truth["visible"] < VISIBLE_FRAC).all(axis=1)
    taken = _thin(truth, rate_hz)
    if not known[taken].any():
        raise InputError(f"{where}, column ray_x", "no frame of the driver video has a known gaze", "leave it out")
    return truth[taken]


def _truth_of_frames(frames: Table, road: Camera | None) -> NDArray[np.void]:
    truth = np.zeros(len(frames["t_s"]), TRUTH_TYPE)
    truth["frame"] = np.ma.filled(frames["driver_frame"], -1)
    truth["t_s"] = frames["t_s"]
    truth["ray"] = unit(_vectors(frames, "ray_{}", "xyz"))
    truth["eye_mid_mm"] = _vectors(frames, "eye_mid_{}_mm", "xyz")
    truth["face_deg"] = _vectors(frames, "{}_deg", ("azimuth", "elevation"))
    truth["car_deg"] = _vectors(frames, "car_{}_deg", ("azimuth", "elevation"))
    truth["head_deg"] = _vectors(frames, "head_{}_deg", ("yaw", "pitch", "roll"))
    location = _vectors(frames, "road_{}_px", "xy")
    location[frames["location_status"] != Status.OK] = np.nan
    truth["location_px"] = location
    truth["road_deg"] = np.nan if road is None else np.stack(angles_from_rays(road.rays(location)), axis=-1)
    lids = _vectors(frames, "eye_openness_{}_frac", ("left", "right"))
    truth["openness"] = np.where(np.isnan(lids), lids[:, ::-1], lids).mean(axis=1)  # of one eye where one is known
    truth["visible"] = np.nan
    truth["zone"] = [zone or "" for zone in frames["zone"]]
    return truth


def _light(session: Session) -> Light | None:
    """What lights the face: from the labels, else the time of day."""
    if "labels" in session.tables:
        labelled = set(session.table("labels", ("light",))["light"])
        for light in LIGHTS:
            if light in labelled:
                return light
    by_time: dict[str, Light] = {"day": "day", "dawn": "dusk", "dusk": "dusk", "night": "night"}
    return by_time.get(session.header.time_of_day or "")


def _vectors(table: Table, name: str, parts: Sequence[str]) -> Floats:
    return np.stack([table[name.format(part)] for part in parts], axis=-1)


def _thin(truth: NDArray[np.void], rate_hz: float) -> NDArray[np.intp]:
    """Rows whose frame is in the driver video, each frame once, at most `rate_hz` a second."""
    rows, last_s, last_frame = [], -np.inf, -1
    for row, (t_s, frame) in enumerate(zip(truth["t_s"], truth["frame"], strict=True)):
        if frame > last_frame and t_s - last_s >= 1 / rate_hz - _RATE_SLACK_S:
            rows.append(row)
            last_s, last_frame = t_s, frame
    return np.array(rows, np.intp)


def _cropped(tasks: list[_Task], bundle: Bundle, workers: int) -> Iterator[_Task]:
    """Crop sessions, in this process or in several; gives each when it is done."""
    if min(workers, len(tasks)) < 2:
        for task in tasks:
            _crop(task, bundle)
            yield task
        return
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(min(workers, len(tasks)), context, _start_worker)
    try:
        jobs = {pool.submit(_crop, task, bundle): task for task in tasks}
        for job in as_completed(jobs):
            job.result()
            yield jobs[job]
    except BrokenProcessPool:
        raise DashgazeError("a worker", "was killed, perhaps for want of memory", "use fewer workers") from None
    finally:
        pool.shutdown(cancel_futures=True)


def _start_worker() -> None:
    import cv2

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that started this one
    cv2.setNumThreads(1)


def _tell(bar: FrameBar, frames: int) -> None:
    for _ in range(frames):
        bar.frame()
    bar.session()


def _crop(task: _Task, bundle: Bundle) -> None:
    """Make the samples of a session, all or nothing. Another process that does the same at the same time is no harm."""
    session = read_session(task.path)
    truth = _read_truth(session, task.rate_hz)
    light = _light(session)
    try:
        task.cache.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{task.path.name}.", dir=task.cache.parent) as workspace:
            folder = Path(workspace) / "samples"
            folder.mkdir()
            kept = []
            with (folder / _SEEN).open("wb") as file:
                for row, record in _seen(session, truth, task.plan, bundle):
                    file.write(record.tobytes())
                    kept.append(row)
                file.flush()
                os.fsync(file.fileno())
            write_atomically(folder / _TRUTH, truth[kept].tobytes())
            considered = int(truth["usable"].sum())
            schema.write_record(folder / _SUMMARY, _Summary(rows=len(kept), considered=considered, light=light))
            sync_folder(folder)
            _publish(folder, task.cache)
    except OSError as error:
        raise write_failure(task.cache, error) from error


def _publish(folder: Path, cache: Path) -> None:
    try:
        folder.rename(cache)
    except OSError:
        if not cache.is_dir():  # else another process was quicker, with the same samples
            raise
    sync_folder(cache.parent)


def _seen(
    session: Session, truth: NDArray[np.void], plan: CropPlan, bundle: Bundle
) -> Iterator[tuple[int, NDArray[np.void]]]:
    """What the device sees on the labelled frames in which it finds the driver's face: row of `truth`, record (1,)."""
    camera, _ = _cameras(session)
    tracker = FaceTracker(bundle, FaceSettings(), session.header.hand_of_drive or "left")
    estimator = HeadPoseEstimator(CanonicalFace.from_bundle(bundle), camera)
    row_of = {frame: row for row, frame in enumerate(truth["frame"].tolist())}
    for frame in _pictures(session, max(row_of)):
        face = tracker.find(frame)
        row = row_of.get(frame.index)
        if row is None or face.landmarks_px is None:
            continue
        head = estimator.fit(face.landmarks_px)
        if head is None or angle_between_deg(head.position_mm, truth[row]["eye_mid_mm"]) > _SOMEBODY_ELSE_DEG:
            continue
        inputs = take_inputs(frame.image, camera, face.landmarks_px, head, plan)
        if inputs is not None:
            yield row, _record(truth[row]["ray"], face, head, inputs, _seen_type(plan))


def _pictures(session: Session, last: int) -> Iterator[Frame]:
    """Driver frames up to number `last`. Raises InputError where they cannot be those that the tables number."""
    video, camera = _video(session), session.header.cameras.driver
    assert camera is not None
    index = -1
    with open_source(str(video), SourceSettings(mirror=camera.mirrored)) as source:
        for frame in source:
            assert frame is not None
            height, width = frame.image.shape[:2]
            if (width, height) != camera.size_px:
                problem = f"is {width} x {height}, session.json says {camera.size_px[0]} x {camera.size_px[1]}"
                raise InputError(str(video), problem, "correct size_px and K together")
            if source.unreadable:
                raise InputError(str(video), f"is damaged behind picture {index}", "restore it, or leave it out")
            index = frame.index
            yield frame
            if index >= last:
                return
    raise InputError(str(video), f"ends with picture {index}, frames.parquet goes to {last}", "restore it")


def _record(ray: Floats, face: Face, head: HeadPose, inputs: GazeInputs, kind: np.dtype[np.void]) -> NDArray[np.void]:
    record = np.zeros(1, kind)
    for name in ("driver", "face", "right_eye", "left_eye", "five", "mesh", "pose"):
        record[name] = getattr(inputs, name)
    view = view_rotation(head)
    record["landmarks_px"], record["blendshapes"] = face.landmarks_px, face.blendshapes
    record["head_rotation"], record["head_mm"], record["view"] = head.rotation, head.position_mm, view
    record["ray_deg"] = np.stack(view_angles(view, ray), axis=-1)
    return record


def _open(task: _Task) -> SessionSamples:
    """A session's samples from the cache."""
    session = read_session(task.path)
    header, (driver_camera, road_camera) = session.header, _cameras(session)
    summary = schema.read_record(task.cache / _SUMMARY, _Summary)
    truth = np.array(_map(task.cache / _TRUTH, TRUTH_TYPE, summary.rows))
    seen = _map(task.cache / _SEEN, _seen_type(task.plan), summary.rows)
    return SessionSamples(
        session_id=header.session_id,
        driver_id=header.driver_id,
        path=str(task.path),
        light=summary.light,
        glasses=header.glasses,
        camera_position=header.camera_position,
        hand_of_drive=header.hand_of_drive,
        driver_camera=driver_camera,
        road_camera=road_camera,
        considered=summary.considered,
        missed=summary.considered - int(truth["usable"].sum()),
        arrays={name: records[name] for records in (seen, truth) for name in records.dtype.names or ()},
    )


def _map(file: Path, kind: np.dtype[np.void], rows: int) -> NDArray[np.void]:
    """Records of a file, read when they are looked at."""
    try:
        if file.stat().st_size != rows * kind.itemsize:
            raise InputError(str(file), "is damaged", f"remove {file.parent}")
        return np.asarray(np.memmap(file, kind, "r")) if rows else np.zeros(0, kind)
    except OSError as error:
        raise InputError(str(file), f"cannot be read: {(error.strerror or str(error)).lower()}") from None
