"""The synthetic cabin, measured: what the device sees in rendered drives against their labels, and against real faces.

usage: python -m benchmarks.synth [--quick] [--fresh] [--half tuning|held-out] [--data FOLDER] [--work FOLDER]
Renders its own sets through `dashgaze synth` into the work folder, where a run that was stopped goes on; `--fresh`
renders them again, `--quick` takes few. Writes benchmarks/results/synth.json, synth.md and synth.png (`--quick` into
the work folder). Frames of the sparse drives are looked at one by one,
each several times, as in a video that stands still. Intervals are bootstrap over
drivers.
"""

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from benchmarks import realism
from benchmarks.realism import Estimate, FaceReader, Faces, Floats, Half, Image
from benchmarks.record import RESULTS, head_commit, write_results
from benchmarks.synth_grid import render_grid
from benchmarks.synth_labels import disagreement, head_rotations, vectors
from dashgaze.bundle import Bundle, packaged_bundle
from dashgaze.device.eyes import EyeJudge, EyeSettings
from dashgaze.device.faces import FaceSettings, FaceTracker
from dashgaze.device.headpose import CanonicalFace, HeadPoseEstimator
from dashgaze.device.mesh import LEFT_CORNERS, LEFT_IRIS, RIGHT_CORNERS, RIGHT_IRIS
from dashgaze.device.records import Frame
from dashgaze.errors import DashgazeError
from dashgaze.geometry import Camera, angle_between_deg
from dashgaze.session import Session, read_session
from dashgaze.tables import Table, write_atomically
from dashgaze.zones import ROAD_ZONES, Zone

ROOT = Path(__file__).parents[1]
WORK = ROOT / ".demo" / "bench" / "synth"
SEED = 20_000
"""Of the sets; no set that anything is trained on should share it."""

DAYLIGHT = ("day", "overcast", "dusk")
IRISES, CORNERS = (LEFT_IRIS, RIGHT_IRIS), (LEFT_CORNERS, RIGHT_CORNERS)
SEEN_FRAC = 0.5
"""Of an eye, from which on its iris is compared."""
WHOLE_FRAC = 0.9
"""Of an eye, from which on its picture is held against its label."""
TURNED_DEG = 45.0
PLACE_FACES = 0.5
"""A mesh is on the right face when the middle of its eyes lies within so many of its own widths of the true one."""
BLINK_MATCH_S = 0.25
BLINK_S = (0.04, 0.8)
YAWN_OPEN_FRAC, YAWN_S = 0.35, 1.0
DRAWS = 1000


@dataclass(frozen=True)
class Sizes:
    """How much is rendered."""

    drives: int
    drive_s: float
    people_sessions: int
    """Of 20 people each."""
    continuous: int
    continuous_s: float
    timed: int


FULL = Sizes(drives=64, drive_s=8.0, people_sessions=60, continuous=2, continuous_s=30.0, timed=4)
QUICK = Sizes(drives=6, drive_s=6.0, people_sessions=2, continuous=1, continuous_s=20.0, timed=2)
CONTINUOUS_HZ = 15.0

# --- rendering ---


@dataclass(frozen=True)
class Rendering:
    """One run of `dashgaze synth`."""

    folders: list[Path]
    seconds: float
    peak_rss_mb: float
    """Of the largest process."""


def render(out: Path, sessions: int, *options: str, seed: int = SEED, workers: int = 2) -> Rendering:
    """Render a set, or what is missing of it. Raises DashgazeError."""
    command = [sys.executable, "-m", "dashgaze", "synth", str(out), "--sessions", str(sessions)]
    command += ["--seed", str(seed), "--workers", str(workers), *options]
    began = time.perf_counter()
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise DashgazeError(" ".join(command[2:]), f"ended with {process.returncode}")
    folders = sorted(path.parent for path in out.glob("*/session.json"))[:sessions]
    return Rendering(folders, time.perf_counter() - began, usage.ru_maxrss / 1024)


def render_timed(out: Path, sessions: int) -> tuple[float, float]:
    """Driver frames a second and peak memory of a worker, everything on, in a new set."""
    shutil.rmtree(out, ignore_errors=True)
    rendering = render(out, sessions, "--masks")
    frames = sum(len(read_session(folder).table("frames", ["t_s"])["t_s"]) for folder in rendering.folders)
    return frames / rendering.seconds, rendering.peak_rss_mb


def same_seed_same_bytes(work: Path) -> bool:
    """Two sets of one seed, made by one and by two workers, hold the same bytes but for the time they were made at."""
    digests = []
    for workers in (1, 2):
        out = work / f"again-{workers}"
        shutil.rmtree(out, ignore_errors=True)
        digests.append([digest(folder) for folder in render(out, 2, "--duration", "2", workers=workers).folders])
    return digests[0] == digests[1]


def digest(folder: Path) -> str:
    """Of everything in a session but the time it was made at."""
    total = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        data = path.read_bytes()
        if path.name == "session.json":
            header = json.loads(data)
            header.pop("created")
            data = json.dumps(header, sort_keys=True).encode()
        total.update(f"{path.relative_to(folder)} {len(data)} ".encode() + data)
    return total.hexdigest()


# --- what the device sees ---


@dataclass(frozen=True)
class Views:
    """Labelled frames and what the device made of them; one row per frame. Pairs are left, right eye."""

    driver: NDArray[np.int64]
    light: NDArray[np.object_]
    found: NDArray[np.bool_]
    """A face, in the right place."""
    expected: NDArray[np.bool_]
    """The middle of the driver's eyes lies in the picture."""
    to_camera_deg: Floats
    """Between the head and the line to the camera."""
    true_head: Floats
    """(n, 3, 3)"""
    head: Floats
    """(n, 3, 3) as estimated; NaN where not."""
    iris_error: Floats
    """(n, 2, 2) mesh less label along x and y, in eye widths; NaN where there is nothing to compare."""
    eye_width_px: Floats
    """(n, 2)"""
    iris_offset: Floats
    """(n, 2) of the mesh's iris from the middle of the eye towards the driver's right, in eye widths."""
    in_head_azimuth_deg: Floats
    """(n, 2) label."""
    car_azimuth_deg: Floats
    car_elevation_deg: Floats
    head_yaw_deg: Floats
    head_pitch_deg: Floats
    zone: NDArray[np.object_]
    road_px: Floats
    """(n, 2) share of the road view's width and height."""
    on_object: NDArray[np.bool_]
    ipd_mm: Floats

    def __len__(self) -> int:
        return len(self.driver)


LOOKS = 4
"""The tracker looks at each picture so often: as in a video, its crop settles on the face."""


class Watcher:
    """The device's face pipeline on pictures that have nothing to do with each other."""

    def __init__(self, bundle: Bundle) -> None:
        self._tracker = FaceTracker(bundle, FaceSettings(driver_side="auto"), "left")
        self._canonical = CanonicalFace.from_bundle(bundle)
        self._now_s = 0.0

    def landmarks(self, image: Image) -> NDArray[np.float32]:
        """Mesh (478, 2); NaN where no face is found."""
        self._now_s += 1000.0  # after such a gap nothing is tracked or smoothed
        points = None
        for look in range(LOOKS):
            points = self._tracker.find(Frame(look, self._now_s + look / 30, image)).landmarks_px
        return np.full((478, 3), np.nan, np.float32) if points is None else points

    def head(self, landmarks: NDArray[np.float32], camera: Camera) -> Floats:
        """Estimated R_camera_face (3, 3); NaN where there is none."""
        pose = None if np.isnan(landmarks[0, 0]) else HeadPoseEstimator(self._canonical, camera).fit(landmarks)
        return np.full((3, 3), np.nan) if pose is None else pose.rotation


def read_frames(video: Path) -> Iterator[Image]:
    """Every frame of a video."""
    capture = cv2.VideoCapture(str(video))
    try:
        while True:
            ok, image = capture.read()
            if not ok:
                return
            yield np.asarray(image, np.uint8)
    finally:
        capture.release()


def camera_of(session: Session) -> Camera:
    """The driver camera. Raises DashgazeError."""
    camera = session.header.cameras.driver
    if camera is None or camera.K is None:
        raise DashgazeError(str(session.path), "has no calibrated driver camera")
    return Camera.from_parameters(camera.size_px, camera.K, camera.distortion or ())


def watch_session(session: Session, watcher: Watcher, driver: int) -> Views:
    """Look at every labelled frame of a session by itself."""
    camera, video = camera_of(session), session.video("driver")
    frames, labels = session.table("frames"), session.table("labels")
    if video is None:
        raise DashgazeError(str(session.path), "has no driver video")
    meshes = [watcher.landmarks(image) for image in read_frames(video)]
    numbers = np.ma.getdata(frames["driver_frame"])
    if len(numbers) and numbers.max() >= len(meshes):
        raise DashgazeError(str(video), f"ends after {len(meshes)} frames, before frame {numbers.max()}")
    mesh = np.array([meshes[number] for number in numbers]).reshape(-1, 478, 3)
    heads = np.array([watcher.head(points, camera) for points in mesh]).reshape(-1, 3, 3)
    return compare_views(session, frames, labels, camera, mesh[..., :2].astype(float), heads, driver)


def compare_views(
    session: Session, frames: Table, labels: Table, camera: Camera, mesh: Floats, heads: Floats, driver: int
) -> Views:
    """Hold meshes (n, 478, 2) and head rotations (n, 3, 3) against the labels."""
    count = len(mesh)
    eye_mid_mm = vectors(frames, "eye_mid", "_mm")
    expected_px = camera.project(eye_mid_mm)
    width, height = camera.size_px
    corners = mesh[:, np.array(CORNERS)]  # n, eye, corner, xy
    face_px = np.ptp(mesh[:, :468, 0], axis=1)
    apart = np.linalg.norm(corners.mean(axis=(1, 2)) - expected_px, axis=1)
    along = corners[:, :, 1] - corners[:, :, 0]
    widths = np.linalg.norm(along, axis=-1)
    irises = mesh[:, np.array(IRISES)]
    found = apart < PLACE_FACES * face_px
    true_irises = np.stack(
        [np.stack([labels[f"{side}_iris_{axis}_px"] for axis in "xy"], axis=-1) for side in ("left", "right")], axis=1
    )
    visible = np.stack([labels[f"{side}_eye_visible_frac"] for side in ("left", "right")], axis=1)
    shut = np.ma.filled(np.ma.asarray(frames["eyes_closed"]).astype(float), np.nan) != 0
    usable = (visible >= SEEN_FRAC) & ~shut[:, None] & found[:, None]
    error = np.where(usable[..., None], (irises - true_irises) / widths[..., None], np.nan)
    offset = ((irises - corners.mean(axis=2)) * along).sum(axis=-1) / widths**2
    true_heads = head_rotations(frames)
    road = session.header.cameras.road
    road_px = np.stack([frames["road_x_px"], frames["road_y_px"]], axis=-1)
    return Views(
        driver=np.full(count, driver),
        light=labels["light"],
        found=found,
        expected=np.asarray(((expected_px >= 0) & (expected_px < (width, height))).all(axis=1)),
        to_camera_deg=angle_between_deg(true_heads[:, :, 2], -vectors(frames, "head", "_mm")),
        true_head=true_heads,
        head=np.where(found[:, None, None], heads, np.nan),
        iris_error=error,
        eye_width_px=np.where(found[:, None], widths, np.nan),
        # Corners run from the right of the face to its left.
        iris_offset=np.where(usable, -offset, np.nan),
        in_head_azimuth_deg=np.stack([labels[f"{s}_eye_in_head_azimuth_deg"] for s in ("left", "right")], axis=1),
        car_azimuth_deg=frames["car_azimuth_deg"],
        car_elevation_deg=frames["car_elevation_deg"],
        head_yaw_deg=frames["head_yaw_deg"],
        head_pitch_deg=frames["head_pitch_deg"],
        zone=frames["zone"],
        road_px=road_px / (road.size_px if road else (np.nan, np.nan)),
        on_object=~np.ma.getmaskarray(labels["target_object_id"]),
        ipd_mm=np.linalg.norm(vectors(labels, "left_eyeball", "_mm") - vectors(labels, "right_eyeball", "_mm"), axis=1),
    )


def watch_set(folders: list[Path], bundle: Bundle) -> Views:
    """Look at the frames of many sessions."""
    watcher, drivers, parts = Watcher(bundle), dict[str, int](), []
    for folder in folders:
        session = read_session(folder)
        who = session.header.driver_id or session.header.session_id
        parts.append(watch_session(session, watcher, drivers.setdefault(who, len(drivers))))
    names = Views.__dataclass_fields__
    return Views(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in names})


# --- metrics ---


def estimate(
    statistic: Callable[[Any], float], values: NDArray[Any], drivers: NDArray[Any], draws: int = DRAWS
) -> Estimate:
    """A statistic of values (n, ...) with the interval of resampled drivers; NaN where there are no values."""
    if not len(values):
        return Estimate(float("nan"), float("nan"), float("nan"))
    rng = np.random.default_rng(0)
    rows = [np.flatnonzero(drivers == driver) for driver in np.unique(drivers)]
    drawn = (
        statistic(values[np.concatenate([rows[i] for i in rng.integers(len(rows), size=len(rows))])])
        for _ in range(draws)
    )
    return Estimate.of(statistic(values), drawn)


def median(values: NDArray[Any]) -> float:
    """The median as a float."""
    return float(np.median(values))


def mean(values: NDArray[Any]) -> float:
    """The mean as a float."""
    return float(np.mean(values))


def iris_reprojection(views: Views) -> Estimate:
    """Median distance of the mesh's iris from the label, in eye widths."""
    errors = np.linalg.norm(views.iris_error, axis=-1)
    known = np.isfinite(errors)
    return estimate(median, errors[known], np.broadcast_to(views.driver[:, None], errors.shape)[known])


def iris_bias(views: Views) -> Floats:
    """Median (2,) of mesh less label along x and y, in eye widths."""
    errors = views.iris_error.reshape(-1, 2)
    known = errors[np.isfinite(errors).all(axis=1)]
    return np.asarray(np.median(known, axis=0)) if len(known) else np.full(2, np.nan)


def head_turns_deg(views: Views) -> Floats:
    """(n, 3) rotation that the estimate is off by about the face's axes: up, to the driver's right, clockwise."""
    turns = np.full((len(views), 3), np.nan)
    for row in np.flatnonzero(np.isfinite(views.head[:, 0, 0])):
        turns[row] = np.degrees(cv2.Rodrigues(views.true_head[row].T @ views.head[row])[0].ravel())
    return turns


def head_pose_error(views: Views) -> Estimate:
    """Median angle between true and estimated rotation, in degrees."""
    angles = np.linalg.norm(head_turns_deg(views), axis=1)
    known = np.isfinite(angles)
    return estimate(median, angles[known], views.driver[known])


def found_share(views: Views, lights: tuple[str, ...], turned: tuple[float, float] = (0.0, 180.0)) -> Estimate:
    """Share of frames with a face in the right place, in this light and so far turned from the camera."""
    chosen = np.isin(views.light, lights) & views.expected
    chosen &= (views.to_camera_deg >= turned[0]) & (views.to_camera_deg < turned[1])
    return estimate(mean, views.found[chosen], views.driver[chosen])


@dataclass(frozen=True)
class Grid:
    """How the mesh's iris follows the gaze within the head."""

    azimuth_deg: Floats
    """Middles of bins."""
    offset: Floats
    """Mean offset in eye widths per bin, towards the driver's right."""
    count: NDArray[np.int64]
    correlation: float


def gaze_grid(views: Views, step_deg: float = 5.0, fewest: int = 20) -> Grid:
    """Iris offset over the labelled azimuth in the head, on heads turned less than 30 deg from the camera."""
    frontal = np.broadcast_to((views.to_camera_deg < 30.0)[:, None], views.iris_offset.shape)
    known = np.isfinite(views.iris_offset) & np.isfinite(views.in_head_azimuth_deg) & frontal
    azimuth, offset = views.in_head_azimuth_deg[known], views.iris_offset[known]
    bins = np.round(azimuth / step_deg).astype(int)
    rows = [(step_deg * b, offset[bins == b].mean(), int((bins == b).sum())) for b in np.unique(bins)]
    full = [row for row in rows if row[2] >= fewest]
    middles, means, counts = (np.array(column) for column in zip(*full, strict=True)) if full else (np.zeros(0),) * 3
    correlation = float(np.corrcoef(azimuth, offset)[0, 1]) if len(azimuth) > 2 else float("nan")
    return Grid(middles, means, counts.astype(np.int64), correlation)


# --- lids and mouth over time ---


@dataclass(frozen=True)
class Signals:
    """What the device says of lids and mouth along a drive; NaN where it says nothing."""

    t_s: Floats
    openness_frac: Floats
    mouth_open_frac: Floats


def follow(session: Session, bundle: Bundle) -> Signals:
    """Track the driver through a continuous drive."""
    hand = session.header.hand_of_drive or "left"
    tracker = FaceTracker(bundle, FaceSettings(), hand)
    judge = EyeJudge(EyeSettings(), tracker.blendshape_names)
    heads = HeadPoseEstimator(CanonicalFace.from_bundle(bundle), camera_of(session))
    video = session.video("driver")
    times = session.table("frames", ["t_s"])["t_s"]
    rows = []
    for number, (t_s, image) in enumerate(zip(times.tolist(), read_frames(video) if video else (), strict=False)):
        face = tracker.find(Frame(number, t_s, image))
        head = None if face.landmarks_px is None else heads.fit(face.landmarks_px)
        openness, mouth = np.nan, np.nan
        if head is not None:
            eyes, _ = judge.judge(t_s, face, head)
            seen = [v for v in (eyes.openness_left_frac, eyes.openness_right_frac) if v is not None]
            openness = float(np.mean(seen)) if seen else np.nan
            mouth = np.nan if eyes.mouth_open_frac is None else eyes.mouth_open_frac
        rows.append((t_s, openness, mouth))
    return Signals(*np.array(rows, dtype=float).reshape(-1, 3).T)


def runs(inside: NDArray[np.bool_], t_s: Floats) -> list[tuple[float, float]]:
    """Start and end of each run of true samples, half a sample wider than they are."""
    if len(t_s) < 2:
        return []
    half = float(np.median(np.diff(t_s))) / 2
    edges = np.flatnonzero(np.diff(np.r_[False, inside, False].astype(int)))
    return [(float(t_s[a] - half), float(t_s[b - 1] + half)) for a, b in zip(edges[::2], edges[1::2], strict=True)]


def blinks_of(signals: Signals) -> Floats:
    """Middles of the blinks in a signal: short runs below half of what is usual about then."""
    t_s, openness = signals.t_s, signals.openness_frac
    if not np.isfinite(openness).any():
        return np.zeros(0)
    usual = np.array(
        [
            np.nanpercentile(openness[np.abs(t_s - t) < 2.0], 70) if o == o else np.nan
            for t, o in zip(t_s, openness, strict=True)
        ]
    )
    with np.errstate(invalid="ignore"):
        found = runs(openness < 0.5 * usual, t_s)
    return np.array([(a + b) / 2 for a, b in found if BLINK_S[0] <= b - a <= BLINK_S[1]])


def yawns_of(signals: Signals) -> Floats:
    """Middles of the yawns in a signal: the mouth wide open for a second."""
    with np.errstate(invalid="ignore"):
        found = runs(signals.mouth_open_frac > YAWN_OPEN_FRAC, signals.t_s)
    return np.array([(a + b) / 2 for a, b in found if b - a >= YAWN_S])


@dataclass(frozen=True)
class Timing:
    """How well events are found again."""

    events: int
    recall: float
    error_s: float
    """Median absolute, of those found."""
    bias_s: float
    false_per_min: float


def timing(truth: list[Floats], found: list[Floats], within_s: float, minutes: float) -> Timing:
    """Match true and found middles one to one, over several drives."""
    errors: list[float] = []
    false = 0
    for true, seen in zip(truth, found, strict=True):
        if not (len(true) and len(seen)):
            false += len(seen)
            continue
        apart = seen[None, :] - true[:, None]
        rows, columns = linear_sum_assignment(np.minimum(np.abs(apart), 10 * within_s))
        matched = apart[rows, columns][np.abs(apart[rows, columns]) <= within_s]
        errors += matched.tolist()
        false += len(seen) - len(matched)
    events = sum(map(len, truth))
    known = np.array(errors)
    return Timing(
        events,
        len(known) / events if events else float("nan"),
        float(np.median(np.abs(known))) if len(known) else float("nan"),
        float(np.median(known)) if len(known) else float("nan"),
        false / minutes if minutes else float("nan"),
    )


def true_blinks(session: Session) -> Floats:
    """Middles of the blinks that were played."""
    if "blinks" not in session.tables:
        return np.zeros(0)
    table = session.table("blinks")
    return np.asarray(table["t_s"] + table["duration_s"] / 2)


def true_yawns(session: Session) -> Floats:
    """Middles of the yawns that were played, from the events at their ends."""
    if "events" not in session.tables:
        return np.zeros(0)
    table = session.table("events")
    starts, ends = (table["t_s"][table["kind"] == f"yawn_{end}"] for end in ("start", "end"))
    return np.array([(start + ends[ends > start].min()) / 2 for start in starts if (ends > start).any()])


def lids_and_mouth(folders: list[Path], bundle: Bundle) -> dict[str, Timing]:
    """Blinks and yawns of continuous drives, found by the device."""
    sessions = [read_session(folder) for folder in folders]
    signals = [follow(session, bundle) for session in sessions]
    minutes = sum(float(np.ptp(each.t_s)) for each in signals if len(each.t_s)) / 60
    return {
        "blinks": timing([true_blinks(s) for s in sessions], [blinks_of(s) for s in signals], BLINK_MATCH_S, minutes),
        "yawns": timing([true_yawns(s) for s in sessions], [yawns_of(s) for s in signals], 2.0, minutes),
    }


# --- people ---

STILL_PX = 224
STILL_POINTS = (LEFT_IRIS, RIGHT_IRIS, 1, 61, 291)
"""Landmarks of the points that stills are aligned to: left and right eye, nose, right and left mouth corner."""


def real_stills(reader: FaceReader, pictures: Iterator[tuple[Image, int]], watcher: Watcher) -> Faces:
    """Real people, cut as the rendered stills are, so that both show as much of a head."""
    from dashgaze.training.synth.stills import TEMPLATE_FRAC

    def aligned() -> Iterator[tuple[Image, int]]:
        for image, person in pictures:
            points = watcher.landmarks(image)
            if np.isfinite(points[0, 0]):
                places = np.asarray(points[list(STILL_POINTS), :2], dtype=float)
                transform = realism.similarity_transform(TEMPLATE_FRAC * STILL_PX, places)
                yield framed(realism.cut(image, transform, STILL_PX)), person

    return reader.read(aligned())


def framed(image: Image) -> Image:
    """The picture with a black rim: faces that fill a picture are not found."""
    rim = image.shape[0] // 2
    return np.asarray(cv2.copyMakeBorder(image, rim, rim, rim, rim, cv2.BORDER_CONSTANT), np.uint8)


def rendered_people(folders: list[Path], reader: FaceReader) -> Faces:
    """Some stills of each person."""
    return reader.read((framed(image), person) for image, person in realism.session_pictures(folders))


def drawn_people(count: int = 2000) -> dict[str, tuple[float, float]]:
    """Mean and standard deviation over people of what no picture tells directly."""
    from dashgaze.training.synth.drives import seed_of
    from dashgaze.training.synth.person import person_of

    people = [person_of(seed_of(SEED, number)) for number in range(count)]
    kappas = np.array([person.kappa_deg for person in people])
    columns = {
        "kappa towards the nose, deg": kappas[:, :, 0].ravel(),
        "kappa up, deg": kappas[:, :, 1].ravel(),
        "distance of the eyeballs, mm": np.array([person.ipd_mm for person in people]),
        "age, years": np.array([person.age_years for person in people]),
    }
    return {name: (float(values.mean()), float(values.std())) for name, values in columns.items()}


# --- distributions ---

PUBLISHED = {
    "kappa towards the nose, deg": "about 5",
    "kappa up, deg": "about 1.5",
    "distance of the eyeballs, mm": "63 (3.6)",
    "age, years": "18 to 62 (ch. 11.3)",
}


def zone_shares(views: Views) -> dict[str, float]:
    """Share of the frames per zone."""
    return {str(zone): float(np.mean(views.zone == zone)) for zone in Zone} if len(views) else {}


def draw_distributions(views: Views) -> Image:
    """Figure 11.7's three panels: gaze on the road view, gaze angles in the car, head pose against the camera."""
    panels = (
        ("gaze on the road view", views.road_px, (0, 1), (0, 1), False),
        (
            "gaze in the car, deg",
            np.stack([views.car_azimuth_deg, views.car_elevation_deg], -1),
            (-90, 90),
            (-60, 30),
            True,
        ),
        (
            "head against the camera, deg",
            np.stack([views.head_yaw_deg, views.head_pitch_deg], -1),
            (-90, 90),
            (-60, 60),
            True,
        ),
    )
    return np.hstack([draw_density(*panel) for panel in panels]) if len(views) else np.zeros((1, 1, 3), np.uint8)


def draw_density(title: str, points: Floats, xs: tuple[float, float], ys: tuple[float, float], upward: bool) -> Image:
    """A panel with the logarithm of the density of points (n, 2)."""
    known = points[np.isfinite(points).all(axis=1)]
    counts, _, _ = np.histogram2d(known[:, 1], known[:, 0], bins=(60, 80), range=(ys, xs))
    shade = np.log1p(counts[::-1] if upward else counts)
    grey = (255 * shade / max(float(shade.max()), 1e-9)).astype(np.uint8)
    plot = cv2.applyColorMap(cv2.resize(grey, (400, 300), interpolation=cv2.INTER_NEAREST), cv2.COLORMAP_VIRIDIS)
    panel = np.full((340, 420, 3), 255, np.uint8)
    panel[30:330, 10:410] = plot
    text = f"{title}: x {xs[0]:g} to {xs[1]:g}, y {ys[0]:g} to {ys[1]:g}"
    cv2.putText(panel, text, (10, 20), cv2.FONT_HERSHEY_SIMPLEX, 0.42, (0, 0, 0), 1, cv2.LINE_AA)
    return panel


# --- running and reporting ---


class Notes:
    """Metrics, and the lines of the report, as they come in."""

    def __init__(self) -> None:
        self.metrics: dict[str, float] = {}
        self.lines: list[str] = []

    def put(self, name: str, value: Estimate | float) -> None:
        """Take a metric; one that could not be measured is told of and left out."""
        number = value.value if isinstance(value, Estimate) else float(value)
        self.lines.append(f"| {name} | {value if isinstance(value, Estimate) else f'{number:.4g}'} |")
        if np.isfinite(number):
            self.metrics[name] = number
        print(self.lines[-1], flush=True)

    def table(self, title: str, heads: tuple[str, ...], rows: list[tuple[Any, ...]]) -> str:
        """A Markdown table."""
        lines = ["", f"## {title}", "", f"| {' | '.join(heads)} |", f"| {' | '.join('---' for _ in heads)} |"]
        return "\n".join([*lines, *(f"| {' | '.join(map(str, row))} |" for row in rows)])


def measure(sizes: Sizes, work: Path, data: Path, half: Half) -> tuple[dict[str, float], str, Image]:
    """Render, measure, report: metrics, Markdown and picture."""
    bundle, notes = packaged_bundle(), Notes()
    drives = render(work / "drives", sizes.drives, "--duration", str(sizes.drive_s)).folders
    views = watch_set(drives, bundle)
    notes.put("iris_reprojection_eye_widths_median", iris_reprojection(views))
    notes.put("head_pose_error_deg_median", head_pose_error(views))
    notes.put("face_found_day_below_45deg", found_share(views, DAYLIGHT, (0.0, TURNED_DEG)))
    notes.put("face_found_infrared", found_share(views, ("infrared",)))
    widths = views.eye_width_px[np.isfinite(views.eye_width_px)]
    notes.put("eye_width_px_median", float(np.median(widths)) if len(widths) else float("nan"))
    sections = [faces_section(notes, views)]
    sections.append(or_why_not("Realism", lambda: realism_section(notes, drives, work, data, half)))
    sections.append(or_why_not("People", lambda: people_section(notes, sizes, work, data, half)))
    renderer_section(notes, sizes, work)
    sections.append(labels_section(notes, drives))
    style = ("--style", "drowsy", "--light", "day", "--duration", str(sizes.continuous_s), "--rate", str(CONTINUOUS_HZ))
    continuous = render(work / "continuous", sizes.continuous, *style).folders
    sections.append(timing_section(notes, lids_and_mouth(continuous, bundle)))
    sections.append(distributions_section(notes, views))
    head = [
        "# Synthetic cabin benchmark",
        "",
        f"{len(drives)} drives, {len(views)} frames; 95 % intervals over drivers.",
    ]
    text = "\n".join([*head, "", "| metric | value |", "| --- | --- |", *notes.lines, *sections, ""])
    return notes.metrics, text, draw_distributions(views)


def renderer_section(notes: Notes, sizes: Sizes, work: Path) -> None:
    """Speed, memory, determinism and the grid of gaze: what needs no other set."""
    rate, peak_mb = render_timed(work / "timed", sizes.timed)
    notes.put("driver_frames_per_s", rate)
    notes.put("peak_rss_mb_per_worker", peak_mb)
    notes.put("same_seed_same_bytes", float(same_seed_same_bytes(work)))
    controlled = render_grid()
    notes.put("gaze_grid_monotonic_right", controlled.monotonic_right)
    notes.put("gaze_grid_monotonic_up", controlled.monotonic_up)
    write_atomically(work / "grid.png", cv2.imencode(".png", controlled.picture)[1].tobytes())


def renew_renderer(folder: Path, sizes: Sizes, work: Path) -> None:
    """Measure `renderer_section` again and put it into the results that are there."""
    notes = Notes()
    renderer_section(notes, sizes, work)
    result = json.loads((folder / "synth.json").read_text())
    result["metrics"] |= notes.metrics
    result["renewed"] = {"commit": head_commit(), "metrics": sorted(notes.metrics)}
    text = (folder / "synth.md").read_text()
    names = tuple(f"| {line.split('|')[1].strip()} |" for line in notes.lines)
    kept = [line for line in text.splitlines() if not line.startswith(names)]
    at = kept.index("| --- | --- |") + 1
    write_atomically(folder / "synth.md", "\n".join([*kept[:at], *notes.lines, *kept[at:], ""]).encode())
    write_atomically(folder / "synth.json", json.dumps(result, indent=1).encode() + b"\n")


def or_why_not(title: str, section: Callable[[], str]) -> str:
    """A section, or what is missing for it."""
    try:
        return section()
    except DashgazeError as error:
        return f"\n## {title}\n\nNot measured: {error}"


def faces_section(notes: Notes, views: Views) -> str:
    """Found faces by light and turn, and the head pose's bias."""
    turns: tuple[tuple[float, float], ...] = ((0, 25), (25, 45), (45, 180))
    lights = (*DAYLIGHT, "night", "infrared")
    rows = [(light, *(found_share(views, (light,), turn) for turn in turns)) for light in lights]
    heads = ("light", *(f"{low:g} to {high:g} deg" for low, high in turns))
    text = notes.table("Faces found, by light and by the head's turn from the camera", heads, rows)
    text += "\n\nHeads are compared in the face frame: the canonical face's, fitted to each rendered head at vertices "
    text += "found with this same mesh on other rendered people. A bias of the mesh on all rendered faces is not seen."
    off = head_turns_deg(views)
    known = off[np.isfinite(off[:, 0])]
    if len(known):
        axes = ("about x (pitch)", "about y (yaw)", "about z (roll)")
        spread = [
            (axis, f"{m:.2f}", f"{s:.2f}") for axis, m, s in zip(axes, np.median(known, 0), known.std(0), strict=True)
        ]
        text += "\n" + notes.table("Head pose, estimate less truth, deg", ("axis", "median", "sd"), spread)
    grid = gaze_grid(views)
    x, y = iris_bias(views)
    text += f"\n\nMesh's iris less label: median {x:+.3f}, {y:+.3f} eye widths. Over the labelled azimuth in the head"
    text += f" (correlation {grid.correlation:.3f}), mean offset of the iris towards the driver's right, eye widths:\n"
    rows = [(f"{a:+.0f}", f"{o:+.3f}", n) for a, o, n in zip(grid.azimuth_deg, grid.offset, grid.count, strict=True)]
    return text + notes.table("Gaze grid", ("azimuth, deg", "offset", "eyes"), rows)


def realism_section(notes: Notes, drives: list[Path], work: Path, data: Path, half: Half) -> str:
    """Distance to real faces."""
    reader = FaceReader()
    real, prototype = realism.real_faces(reader, data, half), realism.prototype_faces(reader)
    ours = reader.read(realism.session_pictures(drives))
    distances = realism.compare_realism(real, ours, prototype)
    notes.put("distance_to_real_vs_prototype", distances.ratio)
    text = faces_table(notes, {f"real, {half} half": real, "rendered here": ours, "prototype": prototype})
    return f"{text}\n\nDistance to the real faces: {distances.ours}, prototype {distances.prototype}."


def people_section(notes: Notes, sizes: Sizes, work: Path, data: Path, half: Half) -> str:
    """How different people are."""
    reader = FaceReader()
    options = ("--stills", "faces", "--people", "20", "--each", "1")
    ours = rendered_people(render(work / "people", sizes.people_sessions, *options).folders, reader)
    real = real_stills(reader, realism.real_pictures(data, half), Watcher(packaged_bundle()))
    likeness = realism.compare_likeness(realism.one_each(real), realism.one_each(ours))
    notes.put("identity_similarity_vs_real", likeness.ratio)
    text = faces_table(notes, {"real people": real, "rendered people": ours})
    text += (
        f"\n\nSimilarity to the nearest, in sets of {likeness.size}: {likeness.ours:.3f}, real {likeness.real:.3f}. "
    )
    text += f"All {likeness.people} rendered: {likeness.all_ours:.3f}; "
    text += f"all {likeness.real_people} real: {likeness.all_real:.3f}. The metric is taken about the mean of the real "
    text += "faces, so that what all rendered faces have in common counts as likeness; about each set's own mean it is "
    return f"{text}{likeness.about_own_mean:.3f}."


def faces_table(notes: Notes, sets: Mapping[str, Faces]) -> str:
    """How many faces were compared."""
    rows: list[tuple[Any, ...]] = []
    for name, faces in sets.items():
        left_out = ", ".join(f"{count} {why}" for why, count in faces.left_out.items())
        rows.append((name, faces.pictures, faces.found, left_out, len(faces), len(np.unique(faces.people))))
    heads = ("set", "pictures", "with a face", "left out", "compared", "people")
    return notes.table("Faces compared", heads, rows)


def labels_section(notes: Notes, drives: list[Path]) -> str:
    """How far labels disagree."""
    found = [each for each in (disagreement(read_session(folder)) for folder in drives) if each is not None]
    worst = max((each.worst_deg for each in found), default=float("nan"))
    notes.put("labels_disagree_deg_max", worst)
    names = ("target_deg", "eyes_deg", "face_deg", "road_deg")
    most = {name: [v for v in (getattr(each, name) for each in found) if np.isfinite(v)] for name in names}
    rows = [(name, f"{max(values):.2g}" if values else "-") for name, values in most.items()]
    table = notes.table("Labels against each other, largest angle in deg", ("labels", "deg"), rows)
    x, y, eyes = drawn_irises_px(drives)
    notes.put("drawn_iris_off_label_px_median", float(np.hypot(x, y)))
    return (
        f"{table}\n\nThe dark of the drawn iris lies {x:+.2f}, {y:+.2f} px (median of {eyes} eyes) from the iris label."
    )


def drawn_irises_px(drives: list[Path]) -> tuple[float, float, int]:
    """Median place (x, y) of the darkness around each iris label against that label, and how many eyes were seen."""
    offsets = []
    for session in map(read_session, drives):
        labels, video = session.table("labels"), session.video("driver")
        for row, image in enumerate(read_frames(video) if video else ()):
            grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY).astype(float)
            for side in ("left", "right"):
                if labels[f"{side}_eye_visible_frac"][row] > WHOLE_FRAC:
                    label = np.array([labels[f"{side}_iris_{axis}_px"][row] for axis in "xy"])
                    offsets.append(darkness_px(grey, label))
    known = np.array([o for o in offsets if np.isfinite(o).all()]).reshape(-1, 2)
    if not len(known):
        return float("nan"), float("nan"), 0
    x, y = np.median(known, axis=0)
    return float(x), float(y), len(known)


def darkness_px(grey: Floats, about_px: Floats, radius: int = 5) -> Floats:
    """Centre (2,) of what is darker than a third of its surroundings, against their middle; NaN at the border."""
    x, y = np.rint(about_px).astype(int)
    patch = grey[max(y - radius, 0) : y + radius + 1, max(x - radius, 0) : x + radius + 1]
    if patch.shape != (2 * radius + 1,) * 2:
        return np.full(2, np.nan)
    dark = np.clip(np.percentile(patch, 33) - patch, 0, None)
    if not dark.any():
        return np.full(2, np.nan)
    rows, columns = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    centre = np.array([(dark * columns).sum(), (dark * rows).sum()]) / dark.sum()
    return np.asarray(centre + np.array([x, y]) - about_px)


def timing_section(notes: Notes, timings: Mapping[str, Timing]) -> str:
    """Blinks and yawns."""
    rows = [
        (
            kind,
            t.events,
            f"{t.recall:.2f}",
            f"{1000 * t.error_s:.0f}",
            f"{1000 * t.bias_s:+.0f}",
            f"{t.false_per_min:.1f}",
        )
        for kind, t in timings.items()
    ]
    heads = ("kind", "played", "found again", "median error, ms", "bias, ms", "false a minute")
    notes.put("blink_time_error_ms_median", 1000 * timings["blinks"].error_s)
    notes.put("blink_recall", timings["blinks"].recall)
    return notes.table("Blinks and yawns, as the device sees them", heads, rows)


def distributions_section(notes: Notes, views: Views) -> str:
    """What is shown how often, beside what is published."""
    zones = zone_shares(views)
    road = sum(share for zone, share in zones.items() if Zone(zone) in ROAD_ZONES)
    rows = [(zone, f"{share:.1%}") for zone, share in zones.items()]
    rows.append(
        ("all of the road", f"{road:.1%} (style `ordinary` looks away more on purpose; attentive drivers 80 %)")
    )
    rows.append(("things on the road", f"{views.on_object.mean():.1%} (8.2 %, ch. 11.4)" if len(views) else "-"))
    text = notes.table("Where drivers look", ("zone", "share of frames"), rows)
    people = [(name, f"{m:.2f} ({s:.2f})", PUBLISHED[name]) for name, (m, s) in drawn_people().items()]
    if len(views):
        _, first = np.unique(views.driver, return_index=True)
        seen = views.ipd_mm[first]
        people.append(("distance of labelled eyeballs, mm", f"{seen.mean():.2f} ({seen.std():.2f})", "63 (3.6)"))
    text += "\n" + notes.table("People, mean (sd)", ("what", "here", "published"), people)
    lights, counts = np.unique(views.light.astype(str), return_counts=True)
    shares = [(light, f"{count / len(views):.1%}") for light, count in zip(lights, counts, strict=True)]
    spreads = [
        (name, f"{np.nanmean(values):+.1f} ({np.nanstd(values):.1f})")
        for name, values in (
            ("gaze azimuth in the car, deg", views.car_azimuth_deg),
            ("gaze elevation in the car, deg", views.car_elevation_deg),
            ("head yaw against the camera, deg", views.head_yaw_deg),
            ("head pitch against the camera, deg", views.head_pitch_deg),
        )
        if len(values)
    ]
    text += "\n" + notes.table("Light", ("light", "share of frames"), shares)
    return text + "\n" + notes.table("Spread, mean (sd); figure 11.7 as synth.png", ("what", "here"), spreads)


def main() -> None:
    """Run everything, print and write it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few drives; writes into the work folder")
    parser.add_argument("--renderer-only", action="store_true", help="speed, memory, determinism and grid, once more")
    parser.add_argument("--fresh", action="store_true", help="render the sets again")
    parser.add_argument("--half", choices=("tuning", "held-out"), default="held-out", help="real faces to compare with")
    parser.add_argument("--data", type=Path, default=realism.DATA, help="folder of real recordings")
    parser.add_argument("--work", type=Path, default=WORK, help="folder for what is rendered")
    arguments = parser.parse_args()
    work = arguments.work / ("quick" if arguments.quick else "full")
    if arguments.fresh:
        shutil.rmtree(work, ignore_errors=True)
    sizes, folder = (QUICK, work) if arguments.quick else (FULL, RESULTS)
    work.mkdir(parents=True, exist_ok=True)
    try:
        if arguments.renderer_only:
            renew_renderer(folder, sizes, work)
            return
        metrics, text, picture = measure(sizes, work, arguments.data, arguments.half)
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(folder / "synth.png", cv2.imencode(".png", picture)[1].tobytes())
        write_results("synth", "python -m benchmarks.synth", metrics, text, folder)
    except DashgazeError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
