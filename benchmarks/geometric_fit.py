"""What the mesh network does to turned heads, and how far eyes can be trusted: the constants of head pose and geometry.

usage: python -m benchmarks.geometric_fit TRAIN_SET [--held-out VALIDATION_SET] [--work FOLDER]
Sets are folders of rendered drives (`dashgaze synth`). The device's own stages look at every frame by itself; what they
see is kept in the work folder, so that a second fit takes a minute. Without a held-out set every fifth driver is one.

Head pose: `headpose.MeshFaults` is fitted by least squares to the rotation that the uncorrected estimate is off by, and
the depth's turn by trying. Further terms are tried on drivers who are left out (ten folds) and only reported. Gaze: the
gains of `device/gaze.py` are a linear regression of the true gaze in the estimated head, so that they shrink what is
noisy; errors maximise the likelihood of the misses, normal and the same in both axes. Everything is fitted to the
first set; tables are about the second, whose drivers the fit never saw. Intervals are bootstrap over those drivers.
"""

import argparse
import hashlib
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any
from unittest import mock

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from benchmarks.realism import Estimate, resampled
from benchmarks.synth import read_frames
from benchmarks.synth_labels import head_rotations, vectors
from dashgaze.bundle import Bundle, packaged_bundle
from dashgaze.device import gaze
from dashgaze.device.eyes import EyeJudge, EyeSettings
from dashgaze.device.faces import FaceSettings, FaceTracker
from dashgaze.device.gaze import GazeSettings, GeometricGaze
from dashgaze.device.headpose import MESH, CanonicalFace, HeadPoseEstimator, MeshFaults
from dashgaze.device.records import Face, Frame, HeadPose
from dashgaze.errors import DashgazeError, InputError
from dashgaze.geometry import Camera, Floats, angle_between_deg, angles_from_rays
from dashgaze.session import Session, read_session
from dashgaze.tables import Status
from dashgaze.training.progress import frame_bar

ROOT = Path(__file__).parents[1]
WORK = ROOT / ".demo" / "bench" / "geometric"

LOOKS = 4
"""The tracker looks at each picture so often: as in a video, its crop settles on the face."""
PLACE_DEG = 6.0
"""An estimated head is the driver's when it is seen so close to where the driver's is."""
VISIBLE_FRAC = 0.3
"""An eye of which so much can be seen tells something about its gaze."""
FOLDS, DRAWS = 10, 1000
SHARES = (0.5, 0.6, 0.7, 0.75, 0.8, 0.9, 1.0)
_BLANK = np.zeros((2, 2, 3), np.uint8)

# --- what the device sees ---


@dataclass(frozen=True, eq=False)
class Drive:
    """One drive, n frames: mesh and expression as seen (NaN without a face), and the truth."""

    driver: str
    camera: Camera
    t_s: Floats
    landmarks_px: NDArray[np.float32]
    blendshapes: NDArray[np.float32]
    head: Floats
    """(n, 3, 3) R_camera_face"""
    head_mm: Floats
    ray: Floats
    usable: NDArray[np.bool_]
    """Gaze known, an eye visible, eyes not closed."""


def watch_set(folder: Path, bundle: Bundle, work: Path) -> list[Drive]:
    """The drives of a set, looked at now or before. Raises DashgazeError."""
    paths = sorted(path.parent for path in folder.glob("[!.]*/session.json"))
    if not paths:
        raise InputError(str(folder), "holds no drives", "render some: dashgaze synth FOLDER")
    tracker, drives = FaceTracker(bundle, FaceSettings(), "left"), []
    work.mkdir(parents=True, exist_ok=True)
    with frame_bar("drives") as bar:
        bar.start(len(paths), 0, len(paths))
        for number, path in enumerate(paths):
            session = read_session(path)
            seen = _see(session, tracker, number, bundle.manifest_sha256, work)
            drives.append(_drive_of(session, seen))
            bar.frame()
            bar.session()
    return drives


def _see(session: Session, tracker: FaceTracker, number: int, bundle_sha256: str, work: Path) -> Mapping[str, Any]:
    """Landmarks (n, 478, 3) and blendshapes (n, 52) of the frames of a drive."""
    header = (session.path / "session.json").read_bytes()
    kept = work / f"{hashlib.sha256(header + bundle_sha256.encode() + bytes([LOOKS])).hexdigest()[:24]}.npz"
    if not kept.exists():
        faces = [_look(tracker, image, 1e6 * number + 1e3 * row) for row, image in enumerate(_pictures(session))]
        unseen = np.full((478, 3), np.nan, np.float32), np.full(52, np.nan, np.float32)
        landmarks = np.array([unseen[0] if face.landmarks_px is None else face.landmarks_px for face in faces])
        blendshapes = np.array([unseen[1] if face.blendshapes is None else face.blendshapes for face in faces])
        temporary = kept.with_suffix(".partial.npz")
        np.savez(temporary, landmarks=landmarks, blendshapes=blendshapes)
        temporary.rename(kept)
    return dict(np.load(kept))


def _pictures(session: Session) -> Iterator[NDArray[np.uint8]]:
    video = session.video("driver")
    if video is None:
        raise DashgazeError(str(session.path), "has no driver video")
    return read_frames(video)


def _look(tracker: FaceTracker, image: NDArray[np.uint8], t_s: float) -> Face:
    """A picture that stands still for some frames, long after whatever was before."""
    return [tracker.find(Frame(look, t_s + look / 30, image)) for look in range(LOOKS)][-1]


def _drive_of(session: Session, seen: Mapping[str, Any]) -> Drive:
    camera = session.header.cameras.driver
    if camera is None or camera.K is None:
        raise DashgazeError(str(session.path), "has no calibrated driver camera")
    frames, labels = session.table("frames"), session.table("labels")
    rows = np.ma.getdata(frames["driver_frame"])
    ray = vectors(frames, "ray")
    visible = np.stack([labels[f"{side}_eye_visible_frac"] for side in ("left", "right")], axis=1)
    shut = np.ma.filled(np.ma.asarray(frames["eyes_closed"]), True)
    return Drive(
        driver=session.header.driver_id or session.header.session_id,
        camera=Camera.from_parameters(camera.size_px, camera.K, camera.distortion or ()),
        t_s=frames["t_s"],
        landmarks_px=seen["landmarks"][rows],
        blendshapes=seen["blendshapes"][rows],
        head=head_rotations(frames),
        head_mm=vectors(frames, "head", "_mm"),
        ray=ray,
        usable=np.isfinite(ray).all(axis=1) & ~shut & (np.nan_to_num(visible, nan=1.0) >= VISIBLE_FRAC).any(axis=1),
    )


# --- head pose ---


@dataclass(frozen=True, eq=False)
class Heads:
    """Estimated heads of n frames with a face in the right place."""

    driver: NDArray[np.str_]
    miss_deg: Floats
    """(n, 3) rotation that the estimate is off by, about the axes of the face: up, to the driver's right, clockwise."""
    aside: Floats
    """(n,) sine of the angle by which the estimated head is turned from the camera to the driver's right..."""
    above: Floats
    """...and up."""
    place: Floats
    """(n, 2) tangents of the head's place in the picture, right and down."""
    roll_deg: Floats


@dataclass(frozen=True, eq=False)
class PosedDrive:
    """A drive, and the heads of those frames in which the driver's was found."""

    drive: Drive
    heads: Mapping[int, HeadPose]


def pose_heads(drives: Sequence[Drive], face: CanonicalFace, faults: MeshFaults) -> list[PosedDrive]:
    """Fit heads to all meshes."""
    return [PosedDrive(drive, _poses(drive, HeadPoseEstimator(face, drive.camera, faults))) for drive in drives]


def _poses(drive: Drive, estimator: HeadPoseEstimator) -> dict[int, HeadPose]:
    heads = {}
    for row in np.flatnonzero(np.isfinite(drive.landmarks_px[:, 0, 0])).tolist():
        head = estimator.fit(drive.landmarks_px[row])
        if head is not None and angle_between_deg(head.position_mm, drive.head_mm[row]) < PLACE_DEG:
            heads[row] = head
    return heads


def compare_heads(posed: Sequence[PosedDrive]) -> Heads:
    """Hold heads against the truth."""
    rows = [(each.drive.driver, head, each.drive.head[row]) for each in posed for row, head in each.heads.items()]
    heads = [head for _, head, _ in rows]
    towards = np.array([-head.rotation.T @ head.position_mm / np.linalg.norm(head.position_mm) for head in heads])
    misses = [cv2.Rodrigues(true.T @ head.rotation)[0].ravel() for _, head, true in rows]
    return Heads(
        driver=np.array([driver for driver, _, _ in rows]),
        miss_deg=np.degrees(misses),
        aside=-towards[:, 0],
        above=towards[:, 1],
        place=np.array([head.position_mm[:2] / head.position_mm[2] for head in heads]),
        roll_deg=np.array([head.roll_deg for head in heads]),
    )


Terms = Mapping[str, Floats]


def terms_of(heads: Heads) -> dict[str, Terms]:
    """What may explain a miss, by axis, mirror symmetric; `MeshFaults` has the first of up and right."""
    s, p, (x, y) = heads.aside, heads.above, heads.place.T
    roll = heads.roll_deg / 10
    up = {"s^2": s * s, "1": np.ones_like(s), "pitch": p, "place y": y, "pitch s^2": p * s * s}
    return {
        "up": up,
        "right": {"s": s, "place x": x, "roll": roll, "s pitch": s * p, "s^3": s**3},
        "clockwise": {"roll": roll, "place x": x, "s": s, "s pitch": s * p},
    }


def left_out(terms: Sequence[Floats], miss_deg: Floats, driver: NDArray[Any]) -> float:
    """Root mean square of what a regression on terms leaves over for drivers who are left out of it."""
    _, number = np.unique(driver, return_inverse=True)
    fold = np.random.default_rng(0).permutation(int(number.max()) + 1)[number] % FOLDS
    matrix, rest = np.stack([*terms, np.zeros_like(miss_deg)], axis=1), miss_deg.copy()
    for k in range(FOLDS):
        out = fold == k
        rest[out] -= matrix[out] @ np.linalg.lstsq(matrix[~out], miss_deg[~out], rcond=None)[0]
    return float(np.sqrt((rest * rest).mean()))


def fit_faults(drives: Sequence[Drive], face: CanonicalFace) -> tuple[MeshFaults, Heads]:
    """The faults under which the least of yaw is left over, and the heads as they are without a correction."""
    bare = [MeshFaults(share, 0.0, 0.0) for share in SHARES]
    tried = [(faults, compare_heads(pose_heads(drives, face, faults))) for faults in bare]
    faults, heads = min(tried, key=lambda each: left_out([each[1].aside], each[1].miss_deg[:, 1], each[1].driver))
    s = heads.aside
    short = -float(s @ heads.miss_deg[:, 1] / (s @ s))
    raised = float((s * s) @ heads.miss_deg[:, 0] / ((s * s) @ (s * s)))
    return replace(faults, short_deg=short, raised_deg=raised), heads


# --- gaze ---


@dataclass(frozen=True)
class GazeConstants:
    """The constants of `device/gaze.py` under the names that they have there."""

    _AZIMUTH_GAIN: float
    _ELEVATION_GAIN: float
    _LID_DEG: float
    _EYES_ERROR_DEG: float
    _HEAD_ERROR_DEG: float
    _TURNED_YAW_DEG: float
    _EYES_TURNED: float
    _HEAD_TURNED: float

    @classmethod
    def of_device(cls) -> "GazeConstants":
        """As they are."""
        return cls(**{field.name: getattr(gaze, field.name) for field in fields(cls)})

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """The device works with these while the block runs."""
        with mock.patch.multiple(gaze, **asdict(self)):
            yield


@dataclass(frozen=True, eq=False)
class Sightings:
    """Usable frames with a face, n."""

    driver: NDArray[np.str_]
    head: Floats
    """(n, 3, 3) estimated"""
    yaw_deg: Floats
    """Against the line to the camera."""
    ray: Floats
    """(n, 3) true"""
    look: Floats
    """(n, 3) the device's"""
    error_deg: Floats
    good: NDArray[np.bool_]
    """It used the eyes."""

    @property
    def miss_deg(self) -> Floats:
        """(n,) angle between look and truth."""
        return angle_between_deg(self.look, self.ray)

    @property
    def angles_deg(self) -> Floats:
        """(n, 2) azimuth and elevation of the look in the estimated head."""
        return _in_head(self.head, self.look)


def look_at(posed: Sequence[PosedDrive], bundle: Bundle, face: CanonicalFace) -> Sightings:
    """The device's geometric estimate for every usable frame in which it finds open eyes."""
    rows = [row for each in posed for row in _looks(each.drive, each.heads, bundle, face)]
    return Sightings(*(np.array(column) for column in zip(*rows, strict=True)))


def _looks(
    drive: Drive, heads: Mapping[int, HeadPose], bundle: Bundle, face: CanonicalFace
) -> Iterator[tuple[Any, ...]]:
    judge = EyeJudge(EyeSettings(), bundle.part("blendshapes").labels or ())
    estimator = GeometricGaze(GazeSettings(), drive.camera, face, judge)
    for row, head in heads.items():
        mesh = Face(Status.OK, 1.0, None, drive.landmarks_px[row], drive.blendshapes[row])
        eyes, apertures = judge.judge(float(drive.t_s[row]), mesh, head)
        if drive.usable[row] and not eyes.closed:
            look = estimator.look(Frame(row, 0.0, _BLANK), mesh, head, apertures)
            yaw = head.seen_from_deg[0]
            yield drive.driver, head.rotation, yaw, drive.ray[row], look.ray, look.error_deg, look.good


def fit_gaze(posed: Sequence[PosedDrive], bundle: Bundle, face: CanonicalFace) -> GazeConstants:
    """Gains and errors, by what the device makes of the frames with simple constants."""

    def seen_with(**constants: float) -> Sightings:
        zeros = GazeConstants(*(0.0 for _ in fields(GazeConstants)))
        with replace(zeros, **constants).in_use():
            return look_at(posed, bundle, face)

    half, tenth = 0.5, 10.0  # small enough for no elevation to meet the device's limit
    eyes, lids = seen_with(_AZIMUTH_GAIN=1.0, _ELEVATION_GAIN=half), seen_with(_LID_DEG=tenth)
    use, truth = eyes.good, _in_head(eyes.head, eyes.ray)
    azimuth = _regress(eyes.angles_deg[use, :1], truth[use, 0])
    up = np.stack([eyes.angles_deg[:, 1] / half, lids.angles_deg[:, 1] / tenth], axis=1)
    elevation = _regress(up[use], truth[use, 1])
    gains = {"_AZIMUTH_GAIN": azimuth[0], "_ELEVATION_GAIN": elevation[0], "_LID_DEG": elevation[1]}
    looks = seen_with(**gains)
    to_face = angle_between_deg(looks.head[:, :, 2], looks.ray)
    base, turned, knee = fit_error(looks.miss_deg[use], looks.error_deg[use], looks.yaw_deg[use])
    head_base, head_turned, _ = fit_error(to_face, looks.error_deg, looks.yaw_deg, knee)
    return GazeConstants(
        **gains,
        _EYES_ERROR_DEG=base,
        _HEAD_ERROR_DEG=head_base,
        _TURNED_YAW_DEG=knee,
        _EYES_TURNED=turned,
        _HEAD_TURNED=head_turned,
    )


def fit_error(
    miss_deg: Floats, known_deg: Floats, yaw_deg: Floats, knee: float | None = None
) -> tuple[float, float, float]:
    """Base, slope and knee of the standard deviation per axis beside the known part of it: maximum likelihood."""

    def surprise(values: Floats) -> float:
        base, turned = np.abs(values[:2])
        beyond = np.maximum(np.abs(yaw_deg) - (values[2] if knee is None else knee), 0.0)
        variance = known_deg**2 + base**2 + (turned * beyond) ** 2
        return float((np.log(variance) + miss_deg**2 / (2 * variance)).mean())

    start = [8.0, 0.3, 25.0] if knee is None else [10.0, 0.2]
    found = minimize(surprise, start, method="Nelder-Mead", bounds=[(1, 60), (0, 3), (0, 45)][: len(start)])
    base, turned = found.x[:2].tolist()
    return base, turned, float(found.x[2]) if knee is None else knee


def _regress(matrix: Floats, target: Floats) -> list[float]:
    coefficients: list[float] = np.linalg.lstsq(matrix, target, rcond=None)[0].tolist()
    return coefficients


def _in_head(heads: Floats, rays: Floats) -> Floats:
    return np.stack(angles_from_rays((rays[:, None, :] @ heads)[:, 0]), axis=1)


# --- tables ---


def over_drivers(statistic: Callable[[Floats, Floats], float], values: Floats, driver: NDArray[Any]) -> Estimate:
    """A statistic of values and weights (n), with the interval of resampled drivers."""
    rng = np.random.default_rng(0)
    _, number = np.unique(driver, return_inverse=True)
    drawn = (statistic(values, resampled(number, rng)) for _ in range(DRAWS))
    return Estimate.of(statistic(values, np.ones(len(values))), drawn)


def mean(values: Floats, weights: Floats) -> float:
    """Weighted mean."""
    return float(np.average(values, weights=weights))


def root_mean_square(values: Floats, weights: Floats) -> float:
    """Weighted root mean square."""
    return float(np.sqrt(np.average(values * values, weights=weights)))


def print_heads(columns: Mapping[str, Heads]) -> None:
    """Head pose with each set of faults."""
    for axis, name in enumerate(("up", "to the driver's right", "clockwise")):
        _print_row(
            f"head, rms {name}",
            {key: over_drivers(root_mean_square, each.miss_deg[:, axis], each.driver) for key, each in columns.items()},
        )
    angles = {key: np.linalg.norm(each.miss_deg, axis=1) for key, each in columns.items()}
    _print_row("head, mean angle", {key: over_drivers(mean, angles[key], columns[key].driver) for key in columns})


def print_gaze(columns: Mapping[str, Sightings]) -> None:
    """Geometric gaze with each set of constants."""
    rows: dict[str, Callable[[Sightings], tuple[Callable[[Floats, Floats], float], Floats]]] = {
        "gaze, mean angle": lambda each: (mean, each.miss_deg),
        "gaze, rms azimuth in the head": lambda each: (root_mean_square, _apart(each)[:, 0]),
        "gaze, rms elevation in the head": lambda each: (root_mean_square, _apart(each)[:, 1]),
        "gaze, head's direction alone": lambda each: (mean, angle_between_deg(each.head[:, :, 2], each.ray)),
        "gaze, miss over error": lambda each: (root_mean_square, each.miss_deg / each.error_deg / np.sqrt(2)),
        "gaze, within error": lambda each: (mean, (each.miss_deg < each.error_deg * np.sqrt(2)).astype(float)),
    }
    for name, of in rows.items():
        _print_row(name, {key: over_drivers(*of(each), each.driver) for key, each in columns.items()})


def _apart(sightings: Sightings) -> Floats:
    return sightings.angles_deg - _in_head(sightings.head, sightings.ray)


def _print_row(name: str, estimates: Mapping[str, Estimate]) -> None:
    print(f"{name:34}" + "".join(f"{key} {each!s:30}" for key, each in estimates.items()))


def print_terms(heads: Heads) -> None:
    """What more terms would explain of the uncorrected misses of drivers who are left out."""
    for axis, (name, terms) in enumerate(terms_of(heads).items()):
        miss = heads.miss_deg[:, axis]
        first, *more = terms
        tried = {"nothing": [], first: [first], **{f"{first} + {term}": [first, term] for term in more}}
        rests = {key: left_out([terms[term] for term in used], miss, heads.driver) for key, used in tried.items()}
        print(f"left over {name}: " + ", ".join(f"{key} {rest:.3f}" for key, rest in rests.items()))


def split(drives: Sequence[Drive]) -> tuple[list[Drive], list[Drive]]:
    """Drives to fit to, and those of every fifth driver."""
    held = set(sorted({drive.driver for drive in drives})[::5])
    return [drive for drive in drives if drive.driver not in held], [drive for drive in drives if drive.driver in held]


def main() -> None:
    """Fit, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("train", type=Path, help="set of rendered drives to fit to")
    parser.add_argument("--held-out", type=Path, help="set to report on")
    parser.add_argument("--work", type=Path, default=WORK, help="folder for what the device saw")
    arguments = parser.parse_args()
    try:
        bundle = packaged_bundle()
        drives = watch_set(arguments.train, bundle, arguments.work)
        held = watch_set(arguments.held_out, bundle, arguments.work) if arguments.held_out else None
    except DashgazeError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)
    fit, report = (drives, held) if held is not None else split(drives)
    shared = {drive.driver for drive in fit} & {drive.driver for drive in report}
    print(f"fitted to {len(fit)} drives, reported on {len(report)}; drivers in both: {len(shared)}")
    face = CanonicalFace.from_bundle(bundle)

    faults, heads = fit_faults(fit, face)
    print_terms(heads)
    constants = fit_gaze(pose_heads(fit, face, faults), bundle, face)
    uncorrected = pose_heads(report, face, replace(faults, short_deg=0.0, raised_deg=0.0))
    device, fitted = pose_heads(report, face, MESH), pose_heads(report, face, faults)
    posed = {"uncorrected": uncorrected, "device": device, "fitted": fitted}
    print_heads({name: compare_heads(each) for name, each in posed.items()})
    looks = {"uncorrected": look_at(uncorrected, bundle, face), "device": look_at(device, bundle, face)}
    with constants.in_use():
        looks["fitted"] = look_at(fitted, bundle, face)
    print_gaze(looks)
    print(faults)
    print("\n".join(f"{name} = {value:.3g}" for name, value in asdict(constants).items()))


if __name__ == "__main__":
    main()
