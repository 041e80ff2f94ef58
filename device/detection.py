"""Face detection: BlazeFace, short range (128 px) and full range (192 px), on any view of a picture.

Bazarevsky et al. 2019, "BlazeFace: Sub-millisecond Neural Face Detection on Mobile GPUs", with the anchors and the
score-weighted non-maximum suppression of MediaPipe. A view is the affine map from the picture to the detector's input:
the whole picture letterboxed, or a rotated or enlarged part of it for a second chance.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from dashgaze.bundle import Bundle
from dashgaze.device.runtime import start_session

_OVERLAP = 0.3
_KEYPOINTS = 6


@dataclass(frozen=True, slots=True)
class Detection:
    """One face: score, centre (2) and size (2) in pixels along the view's axes, six keypoints (6, 2).

    Keypoints: right eye, left eye, nose tip, mouth, right ear, left ear; right and left are the person's own.
    """

    score: float
    centre_px: NDArray[np.float64]
    size_px: NDArray[np.float64]
    keypoints_px: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class View:
    """What a detector looks at: a square of `side_px` about `centre_px`, turned by `angle_deg`."""

    centre_px: tuple[float, float]
    side_px: float
    angle_deg: float = 0.0

    @classmethod
    def whole(cls, image: NDArray[np.uint8], angle_deg: float = 0.0) -> "View":
        """The whole picture, letterboxed."""
        height, width = image.shape[:2]
        return cls((width / 2, height / 2), float(max(width, height)), angle_deg)

    def to_picture(self, input_px: int) -> NDArray[np.float64]:
        """Affine map (2, 3) from the detector's input to the picture, without a half-pixel shift as in MediaPipe."""
        scale = self.side_px / input_px
        c, s = np.cos(np.radians(self.angle_deg)) * scale, np.sin(np.radians(self.angle_deg)) * scale
        turn = np.array([[c, -s], [s, c]])
        return np.column_stack([turn, np.array(self.centre_px) - turn @ np.full(2, input_px / 2)])


class Detector:
    """One BlazeFace network. `part` names it in the bundle: `detector` or `detector_full`."""

    def __init__(self, bundle: Bundle, part: str) -> None:
        self._session = start_session(bundle, part)
        self._input_px = int(self._session.get_inputs()[0].shape[1])
        self._anchors = _short_range_anchors() if self._input_px == 128 else _full_range_anchors()

    def detect(self, image: NDArray[np.uint8], view: View, score: float) -> list[Detection]:
        """Faces in a view of a BGR picture with at least this score, best first."""
        n = self._input_px
        to_picture = view.to_picture(n)
        crop = cv2.warpAffine(
            image,
            to_picture,
            (n, n),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_CONSTANT,
        )
        blob = cv2.cvtColor(crop, cv2.COLOR_BGR2RGB).astype(np.float32)[None] / 127.5 - 1
        boxes, logits = self._session.run(["boxes", "scores"], {"image": blob})
        scores = 1 / (1 + np.exp(-np.clip(logits.ravel(), -60, 60)))
        kept = scores >= score
        return [
            _in_picture(s, values, to_picture, view.side_px / n)
            for s, values in _suppress(scores[kept], self._decode(boxes.reshape(len(kept), -1)[kept], kept))
        ]

    def _decode(self, boxes: NDArray[np.float32], kept: NDArray[np.bool_]) -> NDArray[np.float64]:
        """Rows of centre, size, six keypoints in input pixels."""
        anchors = self._anchors[kept] * self._input_px
        values = boxes.astype(np.float64)
        values[:, 0:2] += anchors
        values[:, 4:] += np.tile(anchors, _KEYPOINTS)
        return values


def _short_range_anchors() -> NDArray[np.float64]:
    return np.concatenate([np.repeat(_grid(16), 2, axis=0), np.repeat(_grid(8), 6, axis=0)])


def _full_range_anchors() -> NDArray[np.float64]:
    return _grid(48)


def _grid(n: int) -> NDArray[np.float64]:
    rows, columns = np.mgrid[:n, :n]
    return (np.stack([columns, rows], axis=-1).reshape(-1, 2) + 0.5) / n


def _suppress(scores: NDArray[np.float64], values: NDArray[np.float64]) -> list[tuple[float, NDArray[np.float64]]]:
    """Score-weighted non-maximum suppression: each kept face is the weighted mean of those that overlap it."""
    low, high = values[:, :2] - values[:, 2:4] / 2, values[:, :2] + values[:, 2:4] / 2
    area = np.prod(high - low, axis=1)
    left = np.argsort(-scores, kind="stable")
    faces = []
    while len(left):
        best = left[0]
        sides = np.clip(np.minimum(high[left], high[best]) - np.maximum(low[left], low[best]), 0, None)
        shared = sides.prod(axis=1)
        same = shared / (area[left] + area[best] - shared + 1e-9) > _OVERLAP
        same[0] = True
        weights = scores[left[same]]
        faces.append((float(scores[best]), (values[left[same]] * weights[:, None]).sum(axis=0) / weights.sum()))
        left = left[~same]
    return faces


def _in_picture(score: float, values: NDArray[np.float64], to_picture: NDArray[np.float64], scale: float) -> Detection:
    points = np.r_[values[None, :2], values[4:].reshape(_KEYPOINTS, 2)] @ to_picture[:, :2].T + to_picture[:, 2]
    return Detection(score, points[0], values[2:4] * scale, points[1:])
