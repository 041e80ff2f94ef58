"""Gaze estimators on real pictures, for which no gaze is known: what can be told without ground truth.

usage: python -m benchmarks.gaze_real [RUN_OR_BUNDLE] [--data FOLDER] [--half tuning|held-out] [--out FOLDER]
RUN_OR_BUNDLE is a training run or a bundle with a part `gaze`; without one, only what needs no network is measured.

The network learns from rendered heads, and a lower error on renders did not always carry over to real pictures. So a
run is not chosen by renders alone: among the runs whose validation error is within 5 % of the best, the one with the
best `selection_score` on the tuning half is taken (`choose_run`); what is reported comes from the held-out half.

What is measured, alike for each estimator, each look by itself (unfiltered) unless said otherwise:
- mirror: the picture and its mirror image should give mirrored gaze. Half of the mean disagreement is a lower bound on
  the mean error, whatever the truth.
- noise: landmarks shifted by one to two pixels of a 450-px picture should hardly change the gaze. Lower bound, too.
- camera: who looks into the camera, as judged by eye. Their true gaze is known but for a few degrees, so that the angle
  of the estimated gaze to the camera is nearly the error, for that one direction.
- side: who looks to the left or to the right of the camera, as judged by eye.
- jitter: how much gaze changes from frame to frame while the head rests; after the filter, too.
- turns: gaze goes along with the turning head.
- agreement with the geometric estimator, with and without glasses.
Closed eyes must give no gaze; that is the same for all estimators.

An estimator that says the same of everyone is consistent, and one that says the head's direction knows left from
right: only together do these numbers tell something. The stills of one man in a car count as pictures, not as people.
Intervals are 95 %, bootstrap over pictures (one per person in FairFace) or over clips.
"""

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from benchmarks.device import area_under_curve
from dashgaze.bundle import Bundle, load_bundle, packaged_bundle, write_bundle
from dashgaze.device.eyes import Apertures, EyeJudge, EyeSettings
from dashgaze.device.faces import FaceSettings, FaceTracker
from dashgaze.device.filters import OneEuroFilter
from dashgaze.device.gaze import Estimator, GazeSettings, GeometricGaze, Look
from dashgaze.device.headpose import CanonicalFace, HeadPoseEstimator
from dashgaze.device.network import GazeNetwork, build_estimator
from dashgaze.device.records import Eyes, Face, Frame, HeadPose
from dashgaze.device.sources import SourceSettings, open_source
from dashgaze.errors import DashgazeError, InputError
from dashgaze.geometry import FACING, Camera, Floats, angle_between_deg, angles_from_rays, unit
from dashgaze.training.gaze.unlabelled import APART_S, Half, assumed_camera, half_of

ROOT = Path(__file__).parents[1]
FAIRFACE, INCAR = "faces_fairface_360", "incar_driver_ood_coco/imgs"
CLIPS = (
    "incar_driver_video_intel/left_pane_5fps.mp4",
    "face_videos_intel_preview/asl_gestures/*.mkv",
    "face_videos_intel_preview/preview/*.gif",
)

# --- what was judged by eye ---

# Where people look, relative to the camera: judged by one observer on pictures of up to 360 px and their enlarged
# eyes, before any estimator was run on them; clear cases only. Left and right are those of the picture; a person seen
# from the side looks to that side. Words about a direction, nothing about who it is. Odd numbers are the tuning half
# (`half_of`).
FAIRFACE_LOOKS = {
    "camera": """
        3 5 7 17 21 27 29 31 35 45 51 53 63 73 85 89 95 99 109 111 121 123 129 157 161 169 183 195 197 249 251 257 259
        265 275 279 285 301 311 347 367 385 387 393 401 403 425 433 447 467 519
        12 14 24 28 34 46 48 78 92 100 106 110 112 116 132 166 176 184 188 196 206 228 232 236 238 250 260 292 386 416
        436 482 518""",
    "left": """
        9 15 23 33 61 67 81 93 97 103 105 127 139 193 207 235 263 295 331 379 405 431 501 503 507
        6 30 72 86 94 122 146 194 198 208 248 264 358 380 404 446 448 520""",
    "right": """
        39 71 75 117 165 191 201 243 277 283 397 399 407 413 415 417
        18 26 32 42 60 76 114 118 130 150 172 174 190 252 330 370 388 396 458 500 516""",
    "down": "101 133 233 237 383 449 513  2 44 96 124 354 466",
}
# With spectacles through which eyes can be seen; with dark glasses.
FAIRFACE_GLASSES = """
    1 11 15 33 35 39 53 63 65 77 91 97 105 115 147 157 189 201 211 321 367 377 379 389 395 397 405 415 423 465 495 501
    513
    18 20 50 52 68 76 82 96 106 130 192 198 204 210 242 310 330 352 358 388 400 404 432 446 516 518"""
FAIRFACE_DARK = "135  56 152 268 506"
# The driver of the in-car stills wears glasses. By the number of the frame; open eyes only.
INCAR_LOOKS = {
    "camera": "223 367  86",
    "left": "361 525  92 380",
    "right": "343 479 481 503  126 170 182 394",
    "down": "388",
}

NOISE_FRAC = 0.005
"""Standard deviation of the noise on landmarks, of each one and of all together, in shares of the face's width."""
NOISE_DRAWS = 4
LOOKS_AT_A_STILL = 3
LOOK_STEP_S = 1 / 30
DRAWS = 500
MIRROR = np.array([-1.0, 1.0, 1.0])
REST_TURN_DEG, REST_MOUTH, REST_LIDS = 0.7, 0.05, 0.1
REST_STEP_S = 0.1
TURN_SPAN_DEG, LARGE_TURN_DEG = 15.0, 20.0
TURNED_DEG = (8.0, 35.0)
WITHIN = 0.05

Image = NDArray[np.uint8]
Bools = NDArray[np.bool_]
Rng = np.random.Generator


@dataclass(frozen=True)
class Looker:
    """An estimator to be checked: `start` builds it for a camera, and for the judge of the driver's lids."""

    name: str
    start: Callable[[Camera, EyeJudge], Estimator]


def looks_of(bundle: Bundle) -> list[Looker]:
    """The network of a bundle, and fused with the geometric estimate, as the device runs them. Raises InputError."""
    canonical, network = CanonicalFace.from_bundle(bundle), GazeNetwork(bundle)

    def looker(name: Literal["network", "fused"]) -> Looker:
        settings = GazeSettings(method=name)
        return Looker(name, lambda camera, eyes: build_estimator(settings, network, camera, canonical, eyes))

    return [looker("network"), looker("fused")]


class HeadOnly:
    """The estimator that takes gaze for the direction of the head."""

    def look(self, frame: Frame, face: Face, head: HeadPose, apertures: Apertures) -> Look:
        """`Estimator.look`."""
        return Look(head.rotation[:, 2], 10.5)


def baselines(bundle: Bundle) -> list[Looker]:
    """The geometric estimator, and the head's direction alone."""
    canonical = CanonicalFace.from_bundle(bundle)
    settings = GazeSettings()
    return [
        Looker("geometric", lambda camera, eyes: GeometricGaze(settings, camera, canonical, eyes)),
        Looker("head", lambda camera, eyes: HeadOnly()),
    ]


# --- records ---


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Number(_Record):
    """A statistic with its interval; None where there is too little to tell."""

    value: float | None
    low: float | None
    high: float | None
    n: int
    """Pictures, or frames of clips."""


class Closed(_Record):
    """Stills with a face: of a driver who is labelled to sleep or to be awake, and FairFace."""

    asleep: int
    told: int
    """Of those asleep, eyes found to be closed."""
    awake: int
    false: int
    """Of those awake, eyes found to be closed."""
    looking: int
    """FairFace: people who were judged by eye to look into the camera, or to a side."""
    looking_false: int
    """Of those, eyes found to be closed."""


class LookerCheck(_Record):
    """All numbers of one estimator; keys are those of `MEASURES`."""

    numbers: dict[str, Number]
    clip_jitter_deg: dict[str, Number]


class RealCheck(_Record):
    """What real pictures of one half say."""

    half: Half
    pictures: int
    faces: int
    """Pictures in which a face was found."""
    closed: Closed
    looks: dict[str, LookerCheck]


MEASURES = {
    "camera_auc": "looks into the camera, against those who do not: area under the curve",
    "camera_auc_turned": "the same, heads turned away by 8 to 35 deg only",
    "looking_deg": "who looks into the camera: angle of the gaze to it, median, deg",
    "looking_turned_deg": "the same, heads turned away by 8 to 35 deg only",
    "looking_glasses_deg": "the same, with glasses",
    "looking_left_deg": "the same people: gaze passes the camera to the left of the picture by, median, deg",
    "looking_up_deg": "the same people: gaze passes above the camera by, median, deg",
    "elsewhere_deg": "who looks elsewhere: angle of the gaze to the camera, median, deg",
    "camera_deg": "everyone: angle of the gaze to the camera, median, deg",
    "side_agreement": "looks to the left or right: share with the right sign",
    "side_auc": "the same: area under the curve",
    "down_auc": "looks down, against into the camera: area under the curve",
    "incar_side_agreement": "driver's stills, left or right: share with the right sign",
    "mirror_deg": "mirrored picture, mean difference, deg",
    "mirror_glasses_deg": "the same, with glasses",
    "incar_mirror_deg": "the same, driver's stills",
    "noise_deg": "noise on landmarks, mean change, deg",
    "incar_noise_deg": "the same, driver's stills",
    "geometric_deg": "angle to the geometric estimate, median, deg",
    "azimuth_r": "eye in head against geometric, azimuth, correlation, without glasses",
    "azimuth_glasses_r": "the same, with glasses",
    "incar_azimuth_r": "the same, driver's stills (glasses)",
    "elevation_r": "eye in head against geometric, elevation, correlation, without glasses",
    "elevation_glasses_r": "the same, with glasses",
    "incar_elevation_r": "the same, driver's stills (glasses)",
    "jitter_deg": "head at rest: change from frame to frame, median, deg",
    "jitter_ratio": "the same over that of the geometric estimate",
    "jitter_filtered_deg": "the same after the filter, median, deg",
    "turn_slope": "turning heads: degrees of gaze azimuth for each of head yaw",
    "turn_r": "turning heads: correlation of gaze azimuth and head yaw",
    "turn_sign": "head turned by more than 20 deg: share with gaze to the same side",
    "trusted": "share of looks that are the estimator's own, not what it falls back on",
    "incar_trusted": "the same, driver's stills",
}


# --- looking ---


@dataclass(frozen=True, eq=False)
class Scene:
    """A posed face, and what an estimator may know of it."""

    frame: Frame
    face: Face
    head: HeadPose
    eyes: Eyes
    apertures: Apertures
    camera: Camera


class Finder:
    """The device's own face pipeline on stills and clips."""

    def __init__(self, bundle: Bundle) -> None:
        self._tracker = FaceTracker(bundle, FaceSettings(driver_side="middle"), "left")
        self._canonical = CanonicalFace.from_bundle(bundle)
        self._now_s = 0.0

    def judge(self) -> EyeJudge:
        """A judge who knows nothing of the driver yet."""
        return EyeJudge(EyeSettings(), self._tracker.blendshape_names)

    def still(self, image: Image, camera: Camera | None = None) -> Scene | None:
        """The face of a picture, looked at some times so that the tracker settles; by an assumed camera if by none."""
        self._now_s += APART_S
        for place in range(LOOKS_AT_A_STILL):
            frame = Frame(0, self._now_s + place * LOOK_STEP_S, image)
            face = self._tracker.find(frame)
        return self.scene(frame, face, camera or self._assumed(frame, face), self.judge())

    def clip(self, path: Path) -> Iterator[tuple[Scene | None, EyeJudge]]:
        """Every frame of a clip, as the device would see it."""
        judge, start_s, camera = self.judge(), self._now_s + APART_S, None
        with open_source(str(path), SourceSettings()) as source:
            for frame in source:
                assert frame is not None  # a file gives no ticks
                self._now_s = start_s + frame.t_s
                frame = replace(frame, t_s=self._now_s)
                face = self._tracker.find(frame)
                camera = camera or self._assumed(frame, face)
                yield self.scene(frame, face, camera, judge), judge

    def _assumed(self, frame: Frame, face: Face) -> Camera | None:
        return None if face.landmarks_px is None else assumed_camera(frame.image, face.landmarks_px, self._canonical)

    def scene(self, frame: Frame, face: Face, camera: Camera | None, judge: EyeJudge) -> Scene | None:
        """The posed face; None where there is none."""
        if camera is None or face.landmarks_px is None:
            return None
        head = HeadPoseEstimator(self._canonical, camera).fit(face.landmarks_px)
        if head is None:
            return None
        eyes, apertures = judge.judge(frame.t_s, face, head)
        return Scene(frame, face, head, eyes, apertures, camera)

    def shaken(self, scene: Scene, rng: Rng) -> Scene | None:
        """The same with noise on its landmarks."""
        assert scene.face.landmarks_px is not None
        points = scene.face.landmarks_px.copy()
        sd_px = NOISE_FRAC * float(np.ptp(points[:, 0]))
        points[:, :2] += sd_px * (rng.standard_normal((len(points), 2)) + rng.standard_normal(2))
        return self.scene(scene.frame, replace(scene.face, landmarks_px=points), scene.camera, self.judge())


def look(looker: Looker, scene: Scene | None, judge: EyeJudge) -> Look:
    """What an estimator makes of a scene by itself; a ray of NaN where there is none to be had."""
    if scene is None or scene.eyes.closed is not False:
        return Look(np.full(3, np.nan), np.nan, good=False)
    return looker.start(scene.camera, judge).look(scene.frame, scene.face, scene.head, scene.apertures)


@dataclass(frozen=True, eq=False)
class Rays:
    """What one estimator says of n stills, in the camera frame; NaN where it says nothing."""

    plain: Floats
    """(n, 3)"""
    mirrored: Floats
    """(n, 3) of the mirrored picture, mirrored back."""
    shaken: Floats
    """(n, NOISE_DRAWS, 3)"""
    good: Bools
    """(n,) `Look.good` of the plain ones."""

    @classmethod
    def of(cls, rows: Sequence[Sequence[Look]]) -> "Rays":
        """From the looks at each still: plain, mirrored, and with noise."""
        rays = np.array([[each.ray for each in row] for row in rows])
        good = np.array([row[0].good for row in rows], dtype=bool)
        return cls(rays[:, 0], rays[:, 1] * MIRROR, rays[:, 2:], good)

    def mirror_deg(self) -> Floats:
        """(n,) between the picture and the mirrored one."""
        return angle_between_deg(self.plain, self.mirrored)

    def noise_deg(self) -> Floats:
        """(n,) mean change under noise; draws that close the eyes do not count."""
        change = np.ma.masked_invalid(angle_between_deg(self.plain[:, None], self.shaken))
        return np.asarray(change.mean(axis=1).filled(np.nan), dtype=float)


@dataclass(frozen=True, eq=False)
class Stills:
    """n stills with an open-eyed face, and the rays by estimator."""

    numbers: list[int]
    """What their names say."""
    rotation: Floats
    """(n, 3, 3) of the heads."""
    eye_mid_mm: Floats
    """(n, 3)"""
    rays: dict[str, Rays]
    found: dict[int, bool | None]
    """Every still with a face: whether the eyes are closed."""
    pictures: int

    def among(self, numbers: set[int]) -> Bools:
        """Which of the stills are among these."""
        return np.array([number in numbers for number in self.numbers], dtype=bool)

    def to_camera_deg(self, name: str) -> Floats:
        """(n,) angle between gaze and the line to the camera."""
        return angle_between_deg(self.rays[name].plain, -self.eye_mid_mm)

    def aside_deg(self, name: str) -> tuple[Floats, Floats]:
        """How far gaze passes the camera, in the picture: (n,) to its left and (n,) above it, degrees."""
        lines = -unit(self.eye_mid_mm)
        azimuth, elevation = angles_from_rays(self.rays[name].plain @ FACING)
        there = angles_from_rays(lines @ FACING)
        return azimuth - there[0], elevation - there[1]

    def in_face_deg(self, name: str) -> tuple[Floats, Floats]:
        """Azimuth (n,) and elevation (n,) of the gaze in the face frame."""
        return angles_from_rays(np.einsum("nij,ni->nj", self.rotation, self.rays[name].plain))


def look_at_stills(finder: Finder, files: Sequence[Path], looks: Sequence[Looker]) -> Stills:
    """Every still, its mirror image, and it with noise, by every estimator."""
    rng = np.random.default_rng(0)
    rows: dict[str, list[list[Look]]] = {looker.name: [] for looker in looks}
    numbers, heads, found = [], [], {}
    for path in files:
        image = read_picture(path)
        scene = finder.still(image)
        if scene is None:
            continue
        found[number_of(path)] = scene.eyes.closed
        if scene.eyes.closed is not False:
            continue
        other = finder.still(np.ascontiguousarray(image[:, ::-1]), scene.camera.mirrored())
        if other is not None and not same_face(scene, other):
            other = None
        shaken = [finder.shaken(scene, rng) for _ in range(NOISE_DRAWS)]
        numbers.append(number_of(path))
        heads.append(scene.head)
        for looker in looks:
            rows[looker.name].append([look(looker, each, finder.judge()) for each in (scene, other, *shaken)])
    if not numbers:
        raise InputError(str(files[0].parent) if files else "stills", "shows no open-eyed face", "name other pictures")
    return Stills(
        numbers=numbers,
        rotation=np.array([head.rotation for head in heads]),
        eye_mid_mm=np.array([head.position_mm for head in heads]),
        rays={name: Rays.of(row) for name, row in rows.items()},
        found=found,
        pictures=len(files),
    )


def same_face(scene: Scene, mirrored: Scene) -> bool:
    """The face in the mirrored picture is that of the picture: a crowd may offer another."""
    assert scene.face.landmarks_px is not None
    assert mirrored.face.landmarks_px is not None
    width = scene.frame.image.shape[1]
    here, there = scene.face.landmarks_px[:, :2].mean(axis=0), mirrored.face.landmarks_px[:, :2].mean(axis=0)
    apart = float(np.hypot(width - 1 - there[0] - here[0], there[1] - here[1]))
    return apart < 0.25 * float(np.ptp(scene.face.landmarks_px[:, 0]))


@dataclass(frozen=True, eq=False)
class Clip:
    """A clip of n frames."""

    name: str
    t_s: Floats
    """(n,)"""
    rotation: Floats
    """(n, 3, 3) of the head; NaN without a face."""
    yaw_deg: Floats
    """(n,)"""
    lids: Floats
    """(n,) mean openness."""
    mouth: Floats
    """(n,)"""
    rays: dict[str, Floats]
    """(n, 3) by estimator, unfiltered; NaN where there is none."""

    def at_rest(self) -> Bools:
        """(n - 1,) frames that follow each other with nothing but the eyes to move."""
        cosine = np.einsum("nij,nij->n", self.rotation[1:], self.rotation[:-1])
        turn_deg = np.degrees(np.arccos(np.clip((cosine - 1) / 2, -1, 1)))
        rest = (turn_deg < REST_TURN_DEG) & (np.diff(self.t_s) < REST_STEP_S)
        rest &= (np.abs(np.diff(self.mouth)) < REST_MOUTH) & (np.abs(np.diff(self.lids)) < REST_LIDS)
        return np.asarray(rest, dtype=bool)

    def azimuth_deg(self, name: str) -> Floats:
        """(n,) of the gaze in the camera frame, 0 along its axis, as the head's yaw is."""
        return angles_from_rays(self.rays[name] @ FACING)[0]


def look_at_clip(finder: Finder, path: Path, looks: Sequence[Looker]) -> Clip:
    """Every frame of a clip by every estimator."""
    heads, lids, mouth, times, rays = [], [], [], [], []
    for scene, judge in finder.clip(path):
        times.append(scene.frame.t_s if scene else np.nan)
        heads.append((scene.head.rotation, scene.head.yaw_deg) if scene else (np.full((3, 3), np.nan), np.nan))
        open_frac = [scene.eyes.openness_left_frac, scene.eyes.openness_right_frac] if scene else []
        known = [value for value in open_frac if value is not None]
        lids.append(float(np.mean(known)) if known else np.nan)
        mouth.append(np.nan if scene is None or scene.eyes.mouth_open_frac is None else scene.eyes.mouth_open_frac)
        rays.append([look(looker, scene, judge).ray for looker in looks])
    by_frame = np.array(rays).reshape(-1, len(looks), 3)
    return Clip(
        name=path.stem,
        t_s=np.array(times),
        rotation=np.array([rotation for rotation, _ in heads]),
        yaw_deg=np.array([yaw for _, yaw in heads]),
        lids=np.array(lids),
        mouth=np.array(mouth),
        rays={looker.name: by_frame[:, place] for place, looker in enumerate(looks)},
    )


def filtered(t_s: Floats, rays: Floats) -> Floats:
    """Rays (n, 3) after the device's filter; NaN stays, and starts it afresh."""
    settings = GazeSettings()
    smooth = OneEuroFilter(settings.min_cutoff_hz, settings.beta_hz)
    rows = []
    for moment, ray in zip(t_s.tolist(), rays, strict=True):
        if not np.isfinite(ray).all():
            smooth.reset()
            rows.append(np.full(3, np.nan))
        else:
            rows.append(unit(smooth(moment, ray)))
    return np.array(rows)


# --- measuring ---


def number(statistic: Callable[[NDArray[np.intp]], float], n: int) -> Number:
    """A statistic of n cases, given which of them count, with a bootstrap interval over cases."""
    if n < 2:
        return Number(value=None, low=None, high=None, n=n)
    rng = np.random.default_rng(0)
    value = statistic(np.arange(n))
    drawn = np.array([statistic(rng.integers(0, n, n)) for _ in range(DRAWS)])
    drawn = drawn[np.isfinite(drawn)]
    low, high = np.percentile(drawn, [2.5, 97.5]).tolist() if len(drawn) else (None, None)
    return Number(value=float(value) if np.isfinite(value) else None, low=low, high=high, n=n)


def mean_of(values: Floats) -> Number:
    """Mean over the cases that are known."""
    known = values[np.isfinite(values)]
    return number(lambda cases: float(known[cases].mean()), len(known))


def median_of(values: Floats) -> Number:
    """Median over the cases that are known."""
    known = values[np.isfinite(values)]
    return number(lambda cases: float(np.median(known[cases])), len(known))


def ordering(values: Floats, positive: Bools, negative: Bools) -> Number:
    """Chance that a positive has a larger value than a negative: the area under the curve."""
    kept = np.isfinite(values) & (positive | negative)
    values, positive = values[kept], positive[kept]

    def auc(cases: NDArray[np.intp]) -> float:
        here, there = values[cases][positive[cases]], values[cases][~positive[cases]]
        return area_under_curve(here, there) if len(here) and len(there) else np.nan

    return number(auc, len(values))


def correlation(first: Floats, second: Floats) -> Number:
    """Pearson's, over the cases where both are known."""
    known = np.isfinite(first) & np.isfinite(second)
    first, second = first[known], second[known]

    def r(cases: NDArray[np.intp]) -> float:
        a, b = first[cases] - first[cases].mean(), second[cases] - second[cases].mean()
        scale = float(np.sqrt((a * a).sum() * (b * b).sum()))
        return float((a * b).sum()) / scale if scale > 1e-9 else np.nan

    return number(r, len(first))


def over_clips(parts: Sequence[Floats], statistic: Callable[[Floats], float]) -> Number:
    """A statistic of the rows of all clips, its interval over clips."""
    parts = [part for part in parts if len(part)]
    result = number(lambda cases: statistic(np.concatenate([parts[case] for case in cases])), len(parts))
    rows = sum(len(part) for part in parts)
    if len(parts) == 1:
        return Number(value=statistic(parts[0]), low=None, high=None, n=rows)
    return result.model_copy(update={"n": rows})


def judge_faces(faces: Stills, name: str) -> dict[str, Number]:
    """FairFace: consistency, and what was judged by eye."""
    rays, away_deg = faces.rays[name], faces.to_camera_deg(name)
    dark = faces.among(numbers_in(FAIRFACE_DARK))
    glasses = faces.among(numbers_in(FAIRFACE_GLASSES))
    looks = {word: faces.among(numbers_in(table)) for word, table in FAIRFACE_LOOKS.items()}
    elsewhere = looks["left"] | looks["right"] | looks["down"]
    head_deg = angle_between_deg(faces.rotation[:, :, 2], -faces.eye_mid_mm)
    turned = (head_deg > TURNED_DEG[0]) & (head_deg < TURNED_DEG[1])
    left_deg, up_deg = faces.aside_deg(name)
    sides = looks["left"] | looks["right"]
    right_sign = np.where(sides & np.isfinite(left_deg), (left_deg > 0) == looks["left"], np.nan)
    clear = ~dark
    return {
        "camera_auc": ordering(-away_deg, looks["camera"], elsewhere),
        "camera_auc_turned": ordering(-away_deg, looks["camera"] & turned, elsewhere & turned),
        "looking_deg": median_of(away_deg[looks["camera"]]),
        "looking_turned_deg": median_of(away_deg[looks["camera"] & turned]),
        "looking_glasses_deg": median_of(away_deg[looks["camera"] & glasses]),
        "looking_left_deg": median_of(left_deg[looks["camera"]]),
        "looking_up_deg": median_of(up_deg[looks["camera"]]),
        "elsewhere_deg": median_of(away_deg[elsewhere]),
        "camera_deg": median_of(away_deg[clear]),
        "side_agreement": mean_of(right_sign),
        "side_auc": ordering(left_deg, looks["left"], looks["right"]),
        "down_auc": ordering(-up_deg, looks["down"], looks["camera"]),
        "mirror_deg": mean_of(rays.mirror_deg()[clear]),
        "mirror_glasses_deg": mean_of(rays.mirror_deg()[glasses]),
        "noise_deg": mean_of(rays.noise_deg()[clear]),
        "trusted": mean_of(rays.good[clear].astype(float)),
    } | agreement(faces, name, {"": clear & ~glasses, "glasses_": glasses}, "")


def judge_driver(driver: Stills, name: str) -> dict[str, Number]:
    """The in-car stills."""
    rays = driver.rays[name]
    looks = {word: driver.among(numbers_in(table)) for word, table in INCAR_LOOKS.items()}
    left_deg, _ = driver.aside_deg(name)
    sides = looks["left"] | looks["right"]
    everyone = np.ones(len(driver.numbers), dtype=bool)
    return {
        "incar_side_agreement": mean_of(
            np.where(sides & np.isfinite(left_deg), (left_deg > 0) == looks["left"], np.nan)
        ),
        "incar_mirror_deg": mean_of(rays.mirror_deg()),
        "incar_noise_deg": mean_of(rays.noise_deg()),
        "incar_trusted": mean_of(rays.good.astype(float)),
    } | agreement(driver, name, {"": everyone}, "incar_")


def agreement(stills: Stills, name: str, groups: Mapping[str, Bools], prefix: str) -> dict[str, Number]:
    """Against the geometric estimator; nothing for itself, or where it was not asked for."""
    if "geometric" not in stills.rays or name == "geometric":
        return {}
    here, there = stills.in_face_deg(name), stills.in_face_deg("geometric")
    found = {}
    for group, kept in groups.items():
        for place, axis in enumerate(("azimuth", "elevation")):
            found[f"{prefix}{axis}_{group}r"] = correlation(here[place][kept], there[place][kept])
    if not prefix:
        apart_deg = angle_between_deg(stills.rays[name].plain, stills.rays["geometric"].plain)
        found["geometric_deg"] = median_of(apart_deg)
    return found


def judge_clips(clips: Sequence[Clip], name: str) -> dict[str, Number]:
    """Jitter at rest, and turning heads."""

    def jitter(each: str, smooth: bool = False) -> list[Floats]:
        return [rest_jitter_deg(clip, each, smooth) for clip in clips]

    turning = [turn for clip in clips if len(turn := turn_rows(clip, name))]
    large = [turn[np.abs(turn[:, 0]) > LARGE_TURN_DEG] for turn in turning]
    found = {
        "jitter_deg": over_clips(jitter(name), lambda rows: float(np.median(rows))),
        "jitter_filtered_deg": over_clips(jitter(name, smooth=True), lambda rows: float(np.median(rows))),
        "turn_slope": over_clips(turning, lambda rows: slope(rows[:, 0], rows[:, 1])),
        "turn_r": over_clips(turning, lambda rows: float(np.asarray(np.corrcoef(rows.T))[0, 1])),
        "turn_sign": over_clips(large, lambda rows: float((rows[:, 0] * rows[:, 1] > 0).mean())),
    }
    if name != "geometric" and any("geometric" in clip.rays for clip in clips):
        both = [np.stack([a, b], axis=1) for a, b in zip(jitter(name), jitter("geometric"), strict=True)]
        found["jitter_ratio"] = over_clips(both, lambda rows: ratio(np.median(rows[:, 0]), np.median(rows[:, 1])))
    return found


def rest_jitter_deg(clip: Clip, name: str, smooth: bool = False) -> Floats:
    """Change of the gaze over each pair of frames at rest with a gaze on both."""
    rays = filtered(clip.t_s, clip.rays[name]) if smooth else clip.rays[name]
    change = angle_between_deg(rays[1:], rays[:-1])
    return change[clip.at_rest() & np.isfinite(change)]


def turn_rows(clip: Clip, name: str) -> Floats:
    """Head yaw and gaze azimuth (m, 2) of the frames of a clip in which the head turns; else none."""
    rows = np.stack([clip.yaw_deg, clip.azimuth_deg(name)], axis=1)
    rows = rows[np.isfinite(rows).all(axis=1)]
    if len(rows) < 10:
        return np.zeros((0, 2))
    low_deg, high_deg = np.percentile(rows[:, 0], [5, 95]).tolist()
    if high_deg - low_deg < TURN_SPAN_DEG:
        return np.zeros((0, 2))
    return rows


def ratio(first: np.floating, second: np.floating) -> float:
    """The first over the second."""
    return float(first / second) if second > 0 else np.nan


def slope(x: Floats, y: Floats) -> float:
    """Of the least-squares line."""
    centred = x - x.mean()
    return float((centred * y).sum() / (centred * centred).sum())


# --- the check ---


def check(
    looks: Sequence[Looker], data: Path, half: Half, bundle: Bundle | None = None, clips: Sequence[Path] = ()
) -> RealCheck:
    """Measure estimators on one half of the real pictures below `data`, and on further clips of that half.

    Raises InputError where the pictures are not there.
    """
    finder = Finder(bundle or packaged_bundle())
    faces = look_at_stills(finder, files_of(data, half, f"{FAIRFACE}/*.jpg"), looks)
    driver = look_at_stills(finder, files_of(data, half, f"{INCAR}/*.jpg"), looks)
    paths = [path for pattern in CLIPS for path in sorted(data.glob(pattern))]
    paths += [path for path in clips if path.is_file()]
    seen = [look_at_clip(finder, path, looks) for path in paths if half_of(path) == half]
    return RealCheck(
        half=half,
        pictures=faces.pictures + driver.pictures,
        faces=len(faces.found) + len(driver.found),
        closed=closed_eyes(faces, driver, data / INCAR / "_annotations.coco.json"),
        looks={
            looker.name: LookerCheck(
                numbers=judge_faces(faces, looker.name)
                | judge_driver(driver, looker.name)
                | judge_clips(seen, looker.name),
                clip_jitter_deg={clip.name: median_of(rest_jitter_deg(clip, looker.name)) for clip in seen},
            )
            for looker in looks
        },
    )


def closed_eyes(faces: Stills, driver: Stills, annotations: Path) -> Closed:
    """Closed eyes found against labels "microsleep" and "alert", and against who was seen to look."""
    notes = json.loads(annotations.read_text())
    words = {entry["id"]: entry["name"] for entry in notes["categories"]}
    labels = {entry["image_id"]: words[entry["category_id"]] for entry in notes["annotations"]}
    by_number = {number_of(Path(entry["file_name"])): labels.get(entry["id"]) for entry in notes["images"]}
    asleep = [closed for still, closed in driver.found.items() if by_number.get(still) == "microsleep"]
    awake = [closed for still, closed in driver.found.items() if by_number.get(still) == "alert"]
    looks = numbers_in(" ".join(FAIRFACE_LOOKS[word] for word in ("camera", "left", "right")))
    looking = [closed for still, closed in faces.found.items() if still in looks]
    return Closed(
        asleep=len(asleep),
        told=asleep.count(True),
        awake=len(awake),
        false=awake.count(True),
        looking=len(looking),
        looking_false=looking.count(True),
    )


def selection_score(real: RealCheck, name: str = "network") -> float:
    """One number to choose a run by, larger is better; from the tuning half. Raises InputError.

        (camera_auc_turned + side_auc) / 2 - (looking_deg + mirror_deg + noise_deg) / elsewhere_deg

    The chance of ordering two people rightly, less what is wrong with one of them. That is counted in what there is to
    tell, the distance from those who look elsewhere: gaze that shrinks towards the camera gains nothing.
    """
    if real.half != "tuning":
        raise InputError("selection_score", "the held-out half is not to choose by", "check the tuning half")
    if name not in real.looks:
        raise InputError("selection_score", f"no estimator {name!r}", f"checked: {', '.join(real.looks)}")
    numbers = real.looks[name].numbers

    def of(key: str) -> float:
        value = numbers[key].value
        if value is None:
            raise InputError(f"selection_score, {key}", "too few faces were found", "check that no picture is missing")
        return value

    ordered = (of("camera_auc_turned") + of("side_auc")) / 2
    wrong_deg = of("looking_deg") + of("mirror_deg") + of("noise_deg")
    return ordered - wrong_deg / max(of("elsewhere_deg"), 1e-6)


def choose_run(errors_deg: Mapping[str, float], scores: Mapping[str, float], within: float = WITHIN) -> str:
    """Among the runs whose validation error on renders is within 5 % of the best, the one with the best real score."""
    limit = min(errors_deg.values()) * (1 + within)
    return max((run for run, error in errors_deg.items() if error <= limit), key=lambda run: scores[run])


# --- files ---


def files_of(data: Path, half: Half, pattern: str) -> list[Path]:
    """Files of a half. Raises InputError where the pattern names none."""
    found = sorted(data.glob(pattern))
    if not found:
        raise InputError(str(data / pattern), "no such pictures", "name the folder of real recordings with --data")
    return [path for path in found if half_of(path) == half]


def number_of(path: Path) -> int:
    """The number in a still's name, before what an annotation service put behind it."""
    return int("".join(filter(str.isdigit, path.name.split("_jpg")[0].split("MP4-")[-1])))


def numbers_in(table: str) -> set[int]:
    """Numbers of a table of stills."""
    return {int(word) for word in table.split()}


def read_picture(path: Path) -> Image:
    """A BGR picture. Raises InputError."""
    image = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if image is None:
        raise InputError(str(path), "is not a picture that OpenCV reads", "remove it")
    return np.asarray(image, np.uint8)


def open_looks(path: Path | None, work: Path) -> tuple[Bundle, list[Looker]]:
    """Estimators of a run or a bundle, and the baselines; `work` gets the run's bundle. Raises InputError."""
    if path is None:
        bundle = packaged_bundle()
        return bundle, baselines(bundle)
    if (path / "run.json").is_file():
        from dashgaze.export.bundles import bundle_of_run  # torch, which a bundle does not need

        made = bundle_of_run(path, packaged_bundle())
        bundle = write_bundle(work / "bundle", made.manifest, made.files)
    else:
        bundle = load_bundle(path, allow_unsigned=True)
        bundle.verify()
    return bundle, looks_of(bundle) + baselines(bundle)


# --- report ---


def markdown(real: RealCheck) -> str:
    """The check as a report."""
    names = list(real.looks)
    closed = real.closed
    lines = [f"# Gaze on real pictures, {real.half} half", ""]
    sentences = (
        f"A face in {real.faces} of {real.pictures} stills.",
        f"Driver's stills: closed eyes found in {closed.told} of {closed.asleep} labelled asleep,",
        f"and in {closed.false} of {closed.awake} labelled awake;",
        f"and in {closed.looking_false} of {closed.looking} people judged to look somewhere.",
        "Lenses are unknown: 60 deg wide are assumed, less where a face would be nearer than 600 mm.",
        "In brackets: 95 % intervals, bootstrap over pictures or clips.",
    )
    lines += [" ".join(sentences)]
    lines += ["", f"| measure | n | {' | '.join(names)} |", f"| --- | --- |{' --- |' * len(names)}"]
    for key, text in MEASURES.items():
        found = [real.looks[name].numbers.get(key) for name in names]
        n = max((each.n for each in found if each is not None), default=0)
        lines += [f"| {text} | {n} | {' | '.join(map(written, found))} |"]
    lines += ["", "Head at rest, change from frame to frame by clip, median, deg:", ""]
    lines += [f"| clip | pairs | {' | '.join(names)} |", f"| --- | --- |{' --- |' * len(names)}"]
    for clip in real.looks[names[0]].clip_jitter_deg:
        each = [real.looks[name].clip_jitter_deg[clip] for name in names]
        lines += [f"| {clip} | {each[0].n} | {' | '.join(map(written, each))} |"]
    if real.half == "tuning":
        scores = ", ".join(f"{name} {score_text(real, name)}" for name in names)
        lines += ["", f"Selection score, larger is better: {scores}."]
    return "\n".join([*lines, ""])


def score_text(real: RealCheck, name: str) -> str:
    """The score; a dash where there are too few faces for one."""
    try:
        return f"{selection_score(real, name):.3f}"
    except InputError:
        return "-"


def written(number: Number | None) -> str:
    """A number with its interval."""
    if number is None or number.value is None:
        return "-"
    interval = "" if number.low is None or number.high is None else f" ({number.low:.2f} to {number.high:.2f})"
    return f"{number.value:.2f}{interval}"


def main() -> None:
    """Check an estimator and print what was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", nargs="?", type=Path, metavar="RUN_OR_BUNDLE", help="training run, or bundle")
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data", help="folder of real recordings")
    parser.add_argument("--half", choices=("tuning", "held-out"), default="tuning", help="which pictures")
    parser.add_argument("--out", type=Path, help="folder for gaze_real_HALF.json and .md")
    arguments = parser.parse_args()
    try:
        with TemporaryDirectory() as work:
            bundle, looks = open_looks(arguments.path, Path(work))
            real = check(looks, arguments.data, arguments.half, bundle, [ROOT / ".demo" / "carphone.mp4"])
    except DashgazeError as error:
        sys.exit(str(error))
    print(markdown(real))
    if arguments.out is not None:
        arguments.out.mkdir(parents=True, exist_ok=True)
        name = f"gaze_real_{arguments.half}"
        (arguments.out / f"{name}.json").write_text(real.model_dump_json(indent=1) + "\n")
        (arguments.out / f"{name}.md").write_text(markdown(real))


if __name__ == "__main__":
    main()
