"""The driver's face on every frame: detect, track by mesh, detect again, choose the driver, lose and find.

While a face is tracked, its mesh gives the region for the next frame; every `redetect_s` the detector checks it, since
tracking alone drifts. Landmarks are smoothed as MediaPipe smooths them (one-euro, speed in face widths), the region of
the next frame comes from the unsmoothed ones. A frame without a face gets the short-range detector at once, and every
`search_s` a search: the full-range detector, turned and enlarged views, an equalised picture. What a search finds
counts when the mesh network confirms it.
"""

from collections.abc import Iterator
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from dashgaze.bundle import Bundle
from dashgaze.device.detection import Detection, Detector, View
from dashgaze.device.filters import OneEuroFilter
from dashgaze.device.mesh import Blendshapes, Mesh, Region
from dashgaze.device.records import Box, Face, Frame
from dashgaze.device.settings import Settings
from dashgaze.tables import Status
from dashgaze.zones import HandOfDrive

_DRIFT = 0.2  # of the region's side: the detector's own box is no more certain

_EXPRESSION_S = 0.045
_STALE_S = 0.5  # after a longer gap a face is looked for anew


class FaceSettings(Settings):
    """How the driver's face is found."""

    redetect_s: float = Field(1.0, gt=0, description="the detector checks a tracked face this often")
    search_s: float = Field(0.5, ge=0, description="without a face, the thorough search runs this often")
    driver_side: Literal["auto", "left", "right", "middle"] = Field(
        "auto", description="half of the picture where the driver sits; auto follows from the hand of drive"
    )
    driver_patience_s: float = Field(
        60.0,
        ge=0,
        description="how long the driver's place is kept before a face elsewhere is taken for the driver",
    )
    smallest_face_frac: float = Field(
        0.03,
        gt=0,
        lt=1,
        description="faces narrower than this share of the picture's long side are not the driver",
    )


class FaceTracker:
    """The faces stage of the loop."""

    def __init__(self, bundle: Bundle, settings: FaceSettings, hand_of_drive: HandOfDrive) -> None:
        thresholds = bundle.manifest.thresholds
        self._score = thresholds["detector_score"]
        self._search_score = thresholds["detector_second_chance_score"]
        self._presence = thresholds["mesh_presence"]
        self._near, self._far = Detector(bundle, "detector"), Detector(bundle, "detector_full")
        self._mesh, self._blendshapes = Mesh(bundle), Blendshapes(bundle)
        self._settings = settings
        self._side_frac = _driver_side(settings.driver_side, hand_of_drive)
        self._smooth = OneEuroFilter(min_cutoff_hz=0.05, beta=80.0)
        self._expressed: tuple[float, NDArray[np.float32]] | None = None  # when, and what
        self._tracked: Region | None = None
        self._doubted_since_s: float | None = None  # found by a search, not by the detector at its full threshold
        self._last: tuple[float, Region] | None = None  # when and where the driver was last seen
        self._detected_s = -np.inf
        self._searched_s = -np.inf

    @property
    def blendshape_names(self) -> tuple[str, ...]:
        """Names of `Face.blendshapes`."""
        return self._blendshapes.names

    def find(self, frame: Frame) -> Face:
        """The driver's face on a frame; a status that says why where there is none."""
        if self._last is not None and frame.t_s - self._last[0] > _STALE_S:
            self._tracked = self._expressed = None
        face = None if self._is_to_be_checked(frame.t_s) else self._track(frame, self._tracked)
        if face is None:
            face = self._detect_and_track(frame)
        if face is None and self._search_is_due(frame.t_s):
            face = self._search(frame)
            if face is not None:
                self._doubted_since_s = frame.t_s
        if face is None:
            self._tracked = None
            return Face(_why_no_face(frame.image), faces_visible=0)
        return face

    def _detect_and_track(self, frame: Frame) -> Face | None:
        detections = self._detect(frame)
        driver = self._choose(detections, frame)
        tracked, doubted = self._tracked, self._doubted_since_s is not None
        self._detected_s = frame.t_s
        if driver is not None:
            detected = Region.of_detection(driver)
            if tracked is None or doubted or not _same(tracked, detected):
                face = self._track(frame, detected, len(detections))
                if face is not None:
                    self._doubted_since_s = None
                    return face
        return self._track(frame, tracked, len(detections))

    def _detect(self, frame: Frame) -> list[Detection]:
        faces = self._near.detect(frame.image, View.whole(frame.image), self._score)
        smallest = self._settings.smallest_face_frac * max(frame.image.shape[:2])
        return [face for face in faces if face.size_px.max() >= smallest]

    def _choose(self, faces: list[Detection], frame: Frame) -> Detection | None:
        """The driver among detected faces: where the driver was just now, else large and on the driver's side."""
        if not faces:
            return None
        if self._last is not None and frame.t_s - self._last[0] <= self._settings.driver_patience_s:
            place = self._last[1]
            near = [face for face in faces if _distance_px(face, place) < place.side_px]
            return min(near, key=lambda face: _distance_px(face, place), default=None)
        width = frame.image.shape[1]

        def likelihood(face: Detection) -> float:
            aside = (face.centre_px[0] / width - self._side_frac) / 0.35
            return float(face.size_px.max() * np.exp(-(aside**2) / 2))

        return max(faces, key=likelihood)

    def _track(self, frame: Frame, region: Region | None, visible: int | None = None) -> Face | None:
        if region is None:
            return None
        raw, presence = self._mesh.fit(frame.image, region)
        box = _box(raw)
        if presence < self._presence or not _in_view(box, frame.image):
            self._tracked = self._expressed = None
            self._smooth.reset()
            return None
        self._tracked = Region.of_landmarks(raw)
        self._last = (frame.t_s, self._tracked)
        face_px = (box[2] - box[0] + box[3] - box[1]) / 2
        landmarks = self._smooth(frame.t_s, raw, max(face_px, 1.0)).astype(np.float32)
        return Face(
            status=Status.OK,
            score=presence,
            box_px=_box(landmarks),
            landmarks_px=landmarks,
            blendshapes=self._express(frame.t_s, landmarks),
            faces_visible=visible,
        )

    def _express(self, t_s: float, landmarks: NDArray[np.float32]) -> NDArray[np.float32]:
        """Blendshapes of this frame, or of the one just before: lids are not quicker, and the network costs a tenth."""
        if self._expressed is None or t_s - self._expressed[0] > _EXPRESSION_S:
            self._expressed = t_s, self._blendshapes.estimate(landmarks)
        return self._expressed[1]

    def _is_to_be_checked(self, t_s: float) -> bool:
        """On schedule, and on every frame for a while after a search found the face."""
        if self._doubted_since_s is not None and t_s - self._doubted_since_s > self._settings.redetect_s:
            self._doubted_since_s = None  # the mesh has held it for so long
        due = t_s - self._detected_s >= self._settings.redetect_s
        return self._tracked is None or self._doubted_since_s is not None or due

    def _search_is_due(self, t_s: float) -> bool:
        return t_s - self._searched_s >= self._settings.search_s

    def _search(self, frame: Frame) -> Face | None:
        """A second chance for a hidden, turned, small or badly lit face."""
        self._searched_s = frame.t_s
        likely: Region | None = None
        for detections in self._second_chances(frame.image):
            driver = self._choose(detections, frame)
            if driver is None:
                continue
            region = Region.of_detection(driver)
            face = self._track(frame, region, len(detections))
            if face is not None:
                return face
            likely = likely or region
        for region in _nearby(likely) if likely else ():
            face = self._track(frame, region)
            if face is not None:
                return face
        return None

    def _second_chances(self, image: NDArray[np.uint8]) -> Iterator[list[Detection]]:
        whole = View.whole(image)
        yield self._near.detect(image, whole, self._search_score)
        yield self._far.detect(image, whole, self._search_score)
        yield self._far.detect(_equalised(image), whole, self._search_score)
        for angle in (-35.0, 35.0):
            yield self._far.detect(image, View.whole(image, angle), self._search_score)
        height, width = image.shape[:2]
        side = 0.6 * max(height, width)
        centre = (self._side_frac * width * 0.5 + width * 0.25, height / 2)
        yield self._near.detect(image, View(centre, side), self._search_score)


def _driver_side(side: Literal["auto", "left", "right", "middle"], hand_of_drive: HandOfDrive) -> float:
    """Where across the picture the driver is expected, as a share of its width."""
    if side == "auto":
        # The camera looks back: who sits on the left of the car is on the right of the picture.
        return 0.6 if hand_of_drive == "left" else 0.4
    return {"left": 0.3, "middle": 0.5, "right": 0.7}[side]


def _same(tracked: Region, detected: Region) -> bool:
    """The detector sees the face about where it is tracked."""
    apart = np.hypot(tracked.x_px - detected.x_px, tracked.y_px - detected.y_px) / detected.side_px
    return bool(apart < _DRIFT and abs(np.log(tracked.side_px / detected.side_px)) < np.log(1 + 2 * _DRIFT))


def _nearby(region: Region) -> Iterator[Region]:
    """Other regions for a face that the detector sees and the mesh does not: profiles depend on the crop."""
    for scale, aside, turn_rad in ((0.85, 0, 0), (1.2, 0, 0), (1, -0.08, 0), (1, 0.08, 0), (1, 0, 0.3), (1, 0, -0.3)):
        side = region.side_px
        yield Region(region.x_px + aside * side, region.y_px, scale * side, region.angle_rad + turn_rad)


def _distance_px(face: Detection, place: Region) -> float:
    return float(np.hypot(face.centre_px[0] - place.x_px, face.centre_px[1] - place.y_px))


def _box(landmarks: NDArray[np.float32]) -> Box:
    (x0, y0), (x1, y1) = landmarks[:, :2].min(axis=0).tolist(), landmarks[:, :2].max(axis=0).tolist()
    return x0, y0, x1, y1


def _in_view(box: Box, image: NDArray[np.uint8]) -> bool:
    """Half of the face lies in the picture: a mesh mostly outside is a guess."""
    height, width = image.shape[:2]
    x0, y0, x1, y1 = box
    inside = max(min(x1, width) - max(x0, 0), 0) * max(min(y1, height) - max(y0, 0), 0)
    return bool(inside >= (x1 - x0) * (y1 - y0) / 2)


def _equalised(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The picture, small, with local contrast brought up: for low light and infrared."""
    scale = 384 / max(image.shape[:2])
    small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    grey = cv2.createCLAHE(clipLimit=4.0, tileGridSize=(4, 4)).apply(cv2.cvtColor(small, cv2.COLOR_BGR2GRAY))
    height, width = image.shape[:2]
    return cv2.cvtColor(cv2.resize(grey, (width, height)), cv2.COLOR_GRAY2BGR).astype(np.uint8)


def _why_no_face(image: NDArray[np.uint8]) -> Status:
    """BLOCKED where the picture is nearly uniform (covered, black, blinded), else NO_FACE."""
    rows, columns = image.shape[:2]
    sample = image[:: max(rows // 36, 1), :: max(columns // 64, 1)].mean(axis=2)
    return Status.BLOCKED if sample.std() < 6 else Status.NO_FACE
