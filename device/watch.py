"""The loop: builds the stages from configuration, runs a source through them, and leaves a drive.

source -> faces -> gaze -> attention -> events -> outputs
             +---- adaptation.observe(frame, gaze) -> calibration | None, which gaze takes over between frames
"""

import platform
import signal
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Any

import cv2
import numpy as np
import onnxruntime
from numpy.typing import NDArray

import dashgaze
from dashgaze.bundle import Bundle
from dashgaze.device.adaptation import Adaptation, Calibration, RoadCentre
from dashgaze.device.attention import AttentionPolicy
from dashgaze.device.config import WatchConfig
from dashgaze.device.eyes import EyeJudge
from dashgaze.device.faces import FaceTracker
from dashgaze.device.gaze import GazeStage
from dashgaze.device.headpose import CanonicalFace, HeadPoseEstimator
from dashgaze.device.latency import LatencyHistogram
from dashgaze.device.network import build_estimator, open_network
from dashgaze.device.outputs.annotate import Annotator
from dashgaze.device.outputs.drive_rows import observation
from dashgaze.device.outputs.terminal import View
from dashgaze.device.outputs.video import AnnotatedVideo
from dashgaze.device.records import Alert, Attention, Eyes, Face, Frame, Gaze, Level, Sight
from dashgaze.device.road import RoadView
from dashgaze.device.sources import Source, SourceEvent, open_source
from dashgaze.drive import BundleUsed, Clock, DriveCamera, DriveHeader, DriveWriter, Event
from dashgaze.errors import DashgazeError, InputError
from dashgaze.geometry import Camera
from dashgaze.session import Versions
from dashgaze.tables import Status
from dashgaze.zones import ZoneMap

_STAGES = ("source", "faces", "gaze", "attention", "outputs", "total")
_LEARNED_MOUNT_ERROR_DEG = 3.0  # the mode of gaze is blurred over so much, and moves with the traffic
_SAME_SHAPE = 0.02
_LEAST_ALERT_FPS = 2.0  # sights more than half a second apart leave unknown time between them


@dataclass(frozen=True, slots=True)
class Seen:
    """What the stages made of one frame."""

    frame: Frame
    face: Face
    gaze: Gaze
    attention: Attention
    calibration: Calibration | None
    """New with this frame; gaze uses it from the next one on."""
    acknowledged: bool = False
    """The driver pressed the button."""


class Stages:
    """The stages between source and outputs, built from configuration."""

    def __init__(
        self, config: WatchConfig, bundle: Bundle, name: str, road_size_px: tuple[int, int] | None = None
    ) -> None:
        self._config, self._name = config, name
        self._network = open_network(config.gaze.method, bundle)
        self._canonical = CanonicalFace.from_bundle(bundle)
        self.zones = ZoneMap.for_vehicle(config.vehicle.hand_of_drive, config.zones)
        self.faces = FaceTracker(bundle, config.faces, config.vehicle.hand_of_drive)
        self._eyes = EyeJudge(config.eyes, self.faces.blendshape_names)
        self.policy = AttentionPolicy(config.attention)
        self._mount_error_deg = config.camera.mount_error_deg
        self._adaptation: Adaptation | None = None
        if config.adaptation.method == "road_centre":
            self._adaptation = RoadCentre(config.adaptation, config.camera.car_from_camera())
        self._road: RoadView | None = None
        if road_size_px is not None:
            self._road = RoadView(config.road, config.road.camera(road_size_px))
        self._gaze: GazeStage | None = None
        self.camera: Camera | None = None
        self.latencies = {name: LatencyHistogram() for name in _STAGES}
        self._acknowledged = False
        self._policy_s = 0.0

    def gaze_summary(self) -> dict[str, Any]:
        """Which estimator looked, and on how many frames the network could and what it falls back on had to."""
        method = self._config.gaze.method
        if method == "auto":
            method = "geometric" if self._network is None else "network"
        good, fallback = (0, 0) if self._gaze is None else (self._gaze.looks[True], self._gaze.looks[False])
        return {"method": method, "network_frames": good if self._network else 0, "fallback_frames": fallback}

    def see_nothing(self, t_s: float) -> Attention:
        """Tell the policy that the camera gives nothing."""
        self._policy_s = max(self._policy_s, t_s)
        return self.policy.update(Sight(self._policy_s, Status.BLOCKED))

    def acknowledge(self) -> None:
        """The driver pressed the button: the policy hears of it with the next frame."""
        self._acknowledged = True

    def see(self, frame: Frame) -> Seen:
        """Run one frame through faces, gaze, attention and adaptation."""
        start = time.perf_counter()
        frame = self._as_first(frame)
        face = self.faces.find(frame)
        found = time.perf_counter()
        gaze = self._gaze_for(frame).estimate(frame, face)
        if self._road is not None:
            gaze = self._road.place(gaze)
        looked = time.perf_counter()
        acknowledged, self._acknowledged = self._acknowledged, False
        sight = sight_of(frame, gaze, self._mount_error_deg)
        self._policy_s = max(self._policy_s, frame.t_s)  # a picture may be older than the last look at a lost camera
        attention = self.policy.update(replace(sight, t_s=self._policy_s, acknowledged=acknowledged))
        calibration = self._adaptation.observe(frame, gaze) if self._adaptation else None
        if calibration is not None:
            self._take_over(calibration)
        judged = time.perf_counter()
        for name, seconds in (
            ("faces", found - start),
            ("gaze", looked - found),
            ("attention", judged - looked),
        ):
            self.latencies[name].add(seconds * 1000)
        return Seen(frame, face, gaze, attention, calibration, acknowledged)

    def _as_first(self, frame: Frame) -> Frame:
        """The frame with the known speed, at the size of the first one: a camera may come back with another mode."""
        if self._config.vehicle.speed_mps is not None:
            frame = replace(frame, speed_mps=self._config.vehicle.speed_mps)
        height, width = frame.image.shape[:2]
        if self.camera is None or self.camera.size_px == (width, height):
            return frame
        first_width, first_height = self.camera.size_px
        if abs(first_width * height - first_height * width) > first_width * height * _SAME_SHAPE:
            problem = f"picture {frame.index} is {width} x {height}, the first was {first_width} x {first_height}"
            raise InputError(self._name, problem, "watch pictures of one shape at a time")
        resized = cv2.resize(frame.image, self.camera.size_px, interpolation=cv2.INTER_AREA)
        return replace(frame, image=np.asarray(resized, np.uint8))

    def _gaze_for(self, frame: Frame) -> GazeStage:
        """The gaze stage, built when the first picture tells the camera's size."""
        height, width = frame.image.shape[:2]
        if self._gaze is None:
            config = self._config
            self.camera = camera = config.camera.camera((width, height), config.source.mirror)
            self._gaze = GazeStage(
                config.gaze,
                build_estimator(config.gaze, self._network, camera, self._canonical, self._eyes),
                HeadPoseEstimator(self._canonical, camera),
                self._eyes,
                self.zones,
                config.camera.car_from_camera(),
            )
        return self._gaze

    def _take_over(self, calibration: Calibration) -> None:
        self._mount_error_deg = min(self._mount_error_deg, _LEARNED_MOUNT_ERROR_DEG)
        if self._gaze is not None:
            self._gaze.adapt(calibration.car_from_camera)


def sight_of(frame: Frame, gaze: Gaze, mount_error_deg: float) -> Sight:
    """What the attention policy is told of a frame; directions in the car are as uncertain as the mount, too."""
    return Sight(
        t_s=frame.t_s,
        status=gaze.status,
        zone=gaze.zone,
        car_azimuth_deg=gaze.car_azimuth_deg,
        car_elevation_deg=gaze.car_elevation_deg,
        error_deg=None if gaze.error_deg is None else float(np.hypot(gaze.error_deg, mount_error_deg)),
        off_road_deg=gaze.off_road_deg,
        eyes_closed=gaze.eyes.closed if gaze.eyes else None,
        openness_frac=_mean_openness(gaze.eyes),
        mouth_open_frac=gaze.eyes.mouth_open_frac if gaze.eyes else None,
        speed_mps=frame.speed_mps,
    )


def _mean_openness(eyes: Eyes | None) -> float | None:
    seen = [] if eyes is None else [eyes.openness_left_frac, eyes.openness_right_frac]
    known = [value for value in seen if value is not None]
    return sum(known) / len(known) if known else None


class RoadPictures:
    """The road camera's pictures, each matched to the moment of a driver frame."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._frames = iter(source)
        self._shown = next(self._frames, None)
        self._coming = None if source.live else next(self._frames, None)

    @property
    def size_px(self) -> tuple[int, int] | None:
        """Width and height; None where the road camera has not given a picture."""
        return None if self._shown is None else (self._shown.image.shape[1], self._shown.image.shape[0])

    def at(self, t_s: float) -> NDArray[np.uint8] | None:
        """The latest picture of a live camera; of a file the one shown at `t_s`, after its end the last."""
        if self._source.live:
            self._shown = next(self._frames, None) or self._shown
        while self._coming is not None and self._coming.t_s <= t_s:
            self._shown, self._coming = self._coming, next(self._frames, None)
        return None if self._shown is None else self._shown.image

    def take_events(self) -> list[SourceEvent]:
        """What happened to the road camera since the last call."""
        return self._source.take_events()


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run left behind."""

    drive: Path
    annotated: Path | None
    summary: dict[str, Any]
    finished: bool
    """False where a file was stopped before its end."""


def watch(
    spec: str,
    config: WatchConfig,
    bundle: Bundle,
    out: Path,
    view: View,
    road_spec: str | None = None,
    annotate: bool = False,
) -> Outcome:
    """Watch a source to its end, or until SIGINT or SIGTERM; write a drive to `out`.

    Raises InputError for a source, road source or place that cannot be used, before anything is written; DashgazeError
    where writing fails. Whatever happens, what was recorded stays readable.
    """
    with ExitStack() as stack:
        source = stack.enter_context(open_source(spec, config.source))
        road = None
        if road_spec is not None:
            # A live road camera must not hold up the driver's: it is asked for what it has.
            road_settings = config.source.model_copy(update={"mirror": False, "tick_s": 0.001})
            road = RoadPictures(stack.enter_context(open_source(road_spec, road_settings)))
        stages = Stages(config, bundle, source.name, road.size_px if road else None)
        stopped = stack.enter_context(_stop_on_signals(source))
        stack.enter_context(_acknowledge_on_signal(stages))
        run = _Run(source, stages, config, bundle, out, annotate, view, road, stack)
        for frame in _timed(source, stages.latencies["source"]):
            if frame is None:
                run.wait()
            else:
                run.take(frame)
        run.report(source.take_events())
        return run.close(stopped)


class _Run:
    """One run of the loop: the outputs, opened with the first frame so that a bad source leaves nothing behind."""

    def __init__(
        self,
        source: Source,
        stages: Stages,
        config: WatchConfig,
        bundle: Bundle,
        out: Path,
        annotate: bool,
        view: View,
        road: RoadPictures | None,
        stack: ExitStack,
    ) -> None:
        self._source, self._stages, self._config, self._bundle = source, stages, config, bundle
        self._out, self._annotate, self._view, self._road, self._stack = out, annotate, view, road, stack
        self._drive: DriveWriter | None = None
        self._annotator: Annotator | None = None
        self._video: AnnotatedVideo | None = None
        self._frames = self._frames_with_face = self._skipped = 0
        self._alerts: Counter[str] = Counter()
        self._calibration: Calibration | None = None
        self._failure: DashgazeError | None = None
        self._video_failure: DashgazeError | None = None
        self._began = 0.0
        self._last_t_s = 0.0

    def take(self, frame: Frame) -> None:
        """One frame through the stages and into every output; the driver's first, so that no disk delays an alert."""
        began = time.perf_counter()
        seen = self._stages.see(frame)
        judged = time.perf_counter()
        if self._drive is None:
            self._open(seen.frame)
            self._began = began
        self._count(seen)
        fps = self._frames / max(judged - self._began, 1e-9)
        spent_ms = (judged - began) * 1000
        self._view.update(seen.frame, seen.face, seen.gaze, seen.attention, fps, self._skipped, spent_ms)
        self._keep(seen)
        done = time.perf_counter()
        self._stages.latencies["outputs"].add((done - judged) * 1000)
        self._stages.latencies["total"].add((done - began) * 1000)

    def wait(self) -> None:
        """No new picture: while the camera is lost, the policy is told that nothing is seen."""
        self.report(self._source.take_events())
        self._view.idle()
        if self._source.lost:
            for change in self._stages.see_nothing(self._source.now_s()).changes:
                self._view.event(change.t_s, change.kind, change.message)
                if self._drive is not None and self._failure is None:
                    self._drive.event(_alert_event(change, None))

    def _keep(self, seen: Seen) -> None:
        """Record and draw. A live run outlives a full disk: it goes on watching and fails at its end."""
        if self._failure is not None:
            return
        try:
            self._record(seen)
        except DashgazeError as error:
            if not self._source.live:
                raise
            self._failure = error
            self._view.event(seen.frame.t_s, "recording_stopped", str(error))
        try:
            self._draw(seen)
        except DashgazeError as error:
            self._annotator, self._video_failure = None, error
            self._event(seen.frame.t_s, "video_stopped", str(error))

    def report(self, happenings: list[SourceEvent]) -> None:
        """What the source says beside its pictures, into the drive and onto the terminal."""
        for happening in happenings:
            self._event(happening.t_s, happening.kind, happening.message)

    def close(self, stopped: list[str]) -> Outcome:
        """Close every output; the summary says whether the source was seen to its end."""
        if self._drive is None:
            raise InputError(self._source.name, "gave no picture", "check that it plays")
        finished = self._source.live or not stopped
        if stopped:
            self._event(self._last_t_s, "stopped", f"by {stopped[0]}")
        summary = self._summary()
        if not finished:
            summary |= {"complete": False, "reason": f"stopped by {stopped[0]} before the end of the file"}
        elif self._source.truncated:
            summary |= {"complete": False, "reason": "the file ends before its header says"}
        if self._failure is not None:
            raise self._failure
        self._drive.close(summary)
        if self._video_failure is not None:
            raise self._video_failure
        if self._video is not None:
            self._video.close()
        return Outcome(self._out, self._video.path if self._video else None, summary, finished)

    def _open(self, frame: Frame) -> None:
        self._drive = self._stack.enter_context(DriveWriter(self._out, self._header(frame)))
        if self._annotate:
            camera = self._stages.camera
            assert camera is not None
            self._annotator = Annotator(self._config.annotate, camera.project, self._stages.zones.outlines_deg())
            path = self._out.with_name(self._out.name + ".annotated.webm")
            self._video = self._stack.enter_context(
                AnnotatedVideo(path, self._config.annotate.video_fps, self._source.live)
            )
        self._view.start(self._source.name, self._source.frame_count)
        if self._source.kind == "folder" and self._config.source.folder_fps < _LEAST_ALERT_FPS:
            self._event(frame.t_s, "no_alerts", "pictures are too far apart in time for alerts: see source.folder_fps")

    def _count(self, seen: Seen) -> None:
        self._frames += 1
        self._frames_with_face += seen.face.landmarks_px is not None
        self._skipped += seen.frame.skipped
        self._last_t_s = seen.frame.t_s
        self._alerts.update(str(change.kind) for change in seen.attention.changes if change.level > Level.NONE)
        if seen.acknowledged:
            self._event(seen.frame.t_s, "acknowledged", "the driver pressed the button")
        if seen.calibration is not None:
            if self._calibration is None:
                azimuth, elevation = seen.calibration.azimuth_deg, seen.calibration.elevation_deg
                message = f"road centre {azimuth:+.0f} deg right, {elevation:+.0f} deg up"
                self._event(seen.frame.t_s, "adaptation_ready", message)
            self._calibration = seen.calibration

    def _record(self, seen: Seen) -> None:
        assert self._drive is not None
        self._drive.append(observation(seen.frame, seen.face, seen.gaze, seen.attention))
        for change in seen.attention.changes:
            self._drive.event(_alert_event(change, seen.frame))
        self.report(self._source.take_events())
        if self._road is not None:
            self.report(self._road.take_events())

    def _draw(self, seen: Seen) -> None:
        if self._annotator is None or self._video is None:
            return
        road = self._road.at(seen.frame.t_s) if self._road else None
        if self._video.wants(seen.frame.t_s):
            picture = self._annotator.draw(seen.frame, seen.face, seen.gaze, seen.attention, road)
            self._video.write(picture, seen.frame.t_s)
        else:
            self._annotator.observe(seen.frame, seen.gaze, seen.attention)

    def _event(self, t_s: float, kind: str, message: str) -> None:
        self._view.event(t_s, kind, message)
        if self._drive is not None and self._failure is None:
            self._drive.event(Event(t_s=t_s, kind=str(kind), message=message))

    def _header(self, frame: Frame) -> DriveHeader:
        camera = self._stages.camera
        assert camera is not None
        start_ns = None if frame.timestamp_ns is None else frame.timestamp_ns - round(frame.t_s * 1e9)
        return DriveHeader(
            drive_id=uuid.uuid4().hex,
            vehicle_id=self._config.vehicle.vehicle_id,
            driver_id=self._config.vehicle.driver_id,
            created=datetime.now(UTC),
            camera=DriveCamera(
                source=self._source.name,
                size_px=camera.size_px,
                K=tuple(map(tuple, camera.matrix.tolist())),
                distortion=tuple(camera.distortion.tolist()),
                mirrored=self._config.source.mirror,
                hand_of_drive=self._config.vehicle.hand_of_drive,
            ),
            bundle=BundleUsed(
                name=self._bundle.manifest.name,
                version=self._bundle.manifest.version,
                manifest_sha256=self._bundle.manifest_sha256,
            ),
            settings=self._config.model_dump(mode="json"),
            clock=Clock(timebase="monotonic" if self._source.live else "presentation", start_utc_ns=start_ns),
            versions=versions(),
        )

    def _summary(self) -> dict[str, Any]:
        found = self._calibration
        latencies = {name: histogram.summary() for name, histogram in self._stages.latencies.items()}
        return {
            "frames": self._frames,
            "frames_with_face": self._frames_with_face,
            "fps": round(self._frames / max(time.perf_counter() - self._began, 1e-9), 2),
            "latency_ms": latencies,
            "skipped_frames": self._skipped,
            "unreadable_frames": self._source.unreadable,
            "reconnects": self._source.reconnects,
            "gaze": self._stages.gaze_summary(),
            "adaptation": {
                "method": self._config.adaptation.method,
                "ready": found is not None,
                "azimuth_deg": found.azimuth_deg if found else None,
                "elevation_deg": found.elevation_deg if found else None,
            },
            "alerts": dict(self._alerts),
            "versions": versions().model_dump(),
        }


def versions() -> Versions:
    """What ran: dashgaze, Python and the libraries that decide what comes out."""
    libraries = {"numpy": np.__version__, "opencv": cv2.__version__, "onnxruntime": onnxruntime.__version__}
    return Versions(dashgaze=dashgaze.__version__, python=platform.python_version(), libraries=libraries)


def _alert_event(alert: Alert, frame: Frame | None) -> Event:
    return Event(
        t_s=alert.t_s,
        timestamp_ns=None if frame is None else frame.timestamp_ns,
        kind=str(alert.kind),
        level=alert.level.name.lower(),
        rule=alert.rule,
        message=alert.message,
        measured=alert.measured,
    )


def _timed(source: Source, latency: LatencyHistogram) -> Iterator[Frame | None]:
    """The frames of a source, with the time that reading and decoding took; waiting for a live one does not count."""
    frames = iter(source)
    while True:
        began = time.perf_counter()
        try:
            frame = next(frames)
        except StopIteration:
            return
        if not source.live:
            latency.add((time.perf_counter() - began) * 1000)
        yield frame


@contextmanager
def _stop_on_signals(source: Source) -> Iterator[list[str]]:
    """SIGINT and SIGTERM end the loop after the frame at hand; the list names the one that came."""
    names: list[str] = []

    def stop(number: int, _: FrameType | None) -> None:
        names.append(signal.Signals(number).name)
        source.stop()

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield names
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _acknowledge_on_signal(stages: Stages) -> Iterator[None]:
    """SIGUSR1 is the driver's button, for whatever reads the real one."""
    before = signal.signal(signal.SIGUSR1, lambda *_: stages.acknowledge())
    try:
        yield
    finally:
        signal.signal(signal.SIGUSR1, before)
