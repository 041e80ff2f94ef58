"""Face landmarks: FaceMesh V2 (478 points, irises included) on a turned square region, and its blendshapes.

Region rules are MediaPipe's: a square of the face's long side x 1.5, turned so that the eyes are level. Range [0, 1],
replicated border, no half-pixel shift, so that landmarks agree with MediaPipe's to some hundredths of a pixel.
"""

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from dashgaze.bundle import Bundle
from dashgaze.device.detection import Detection
from dashgaze.device.runtime import start_session

RIGHT_CORNERS, LEFT_CORNERS = (33, 133), (362, 263)
"""Lid corners of each eye, from the right of the face to its left."""
RIGHT_IRIS, LEFT_IRIS = 468, 473
"""Centres; four points of the rim follow each."""
FACE = slice(0, 468)

_MARGIN = 1.5
_LANDMARKS = 478
_DARK, _USUAL, _MOST_GAIN = 45, 90, 12  # grey levels


@dataclass(frozen=True, slots=True)
class Region:
    """A square of `side_px` about (`x_px`, `y_px`), turned by `angle_rad` (x axis towards y)."""

    x_px: float
    y_px: float
    side_px: float
    angle_rad: float

    @classmethod
    def of_detection(cls, detection: Detection) -> "Region":
        """Region of a detected face."""
        right_eye, left_eye = detection.keypoints_px[:2]
        angle = np.arctan2(*(left_eye - right_eye)[::-1])
        x, y = detection.centre_px
        return cls(float(x), float(y), float(detection.size_px.max() * _MARGIN), float(angle))

    @classmethod
    def of_landmarks(cls, landmarks_px: NDArray[np.float32]) -> "Region":
        """Region of a face whose landmarks are known from the frame before."""
        points = landmarks_px[FACE, :2]
        x, y = (points[LEFT_CORNERS[1]] - points[RIGHT_CORNERS[0]]).tolist()
        angle = math.atan2(y, x)
        c, s = math.cos(angle), math.sin(angle)
        to_level = np.array([[c, -s], [s, c]])
        level = points @ to_level
        (x0, y0), (x1, y1) = level.min(axis=0).tolist(), level.max(axis=0).tolist()
        x, y = (to_level @ ((x0 + x1) / 2, (y0 + y1) / 2)).tolist()
        return cls(x, y, max(x1 - x0, y1 - y0) * _MARGIN, angle)

    def to_picture(self, crop_px: int) -> NDArray[np.float64]:
        """Affine map (2, 3) from a crop of `crop_px` to the picture."""
        scale = self.side_px / crop_px
        c, s = math.cos(self.angle_rad) * scale, math.sin(self.angle_rad) * scale
        turn = np.array([[c, -s], [s, c]])
        return np.column_stack([turn, np.array([self.x_px, self.y_px]) - turn @ np.full(2, crop_px / 2)])


class Mesh:
    """The landmark network."""

    def __init__(self, bundle: Bundle) -> None:
        self._session = start_session(bundle, "mesh")
        self._crop_px = int(self._session.get_inputs()[0].shape[1])
        self._input = np.zeros((1, self._crop_px, self._crop_px, 3), np.float32)  # kept: new pages cost 0.4 ms a frame

    def fit(self, image: NDArray[np.uint8], region: Region) -> tuple[NDArray[np.float32], float]:
        """Landmarks (478, 3) in pixels of the BGR picture, z in the same scale, and the presence of a face, 0 to 1."""
        n = self._crop_px
        to_picture = region.to_picture(n)
        crop = cv2.warpAffine(
            image,
            to_picture,
            (n, n),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REPLICATE,
        )
        np.multiply(
            cv2.cvtColor(_lifted(np.asarray(crop, np.uint8)), cv2.COLOR_BGR2RGB),
            np.float32(1 / 255),
            out=self._input[0],
        )
        raw, logit = self._session.run(["landmarks", "presence"], {"image": self._input})
        points = raw.reshape(_LANDMARKS, 3)
        in_picture = np.c_[points[:, :2] @ to_picture[:, :2].T + to_picture[:, 2], points[:, 2] * region.side_px / n]
        presence = 1 / (1 + np.exp(-float(np.clip(logit.item(), -60, 60))))
        return in_picture.astype(np.float32), presence


def _lifted(crop: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A dark crop brought up to a usual brightness, any other as it is.

    At 8 % of daylight this found 26 of 36 faces of a real driver where the crop as it was gave 21, at 5 % 16 for 12.
    """
    mean = sum(cv2.mean(crop)) / 3
    if mean >= _DARK:
        return crop
    return np.asarray(cv2.convertScaleAbs(crop, alpha=min(_USUAL / max(mean, 1.0), _MOST_GAIN)), np.uint8)


class Blendshapes:
    """The expression network: 52 ARKit-like coefficients from 146 of the landmarks."""

    def __init__(self, bundle: Bundle) -> None:
        self._session = start_session(bundle, "blendshapes")
        part = bundle.part("blendshapes")
        self._landmarks = np.array(part.landmarks)
        self.names = tuple(part.labels or ())

    def estimate(self, landmarks_px: NDArray[np.float32]) -> NDArray[np.float32]:
        """Coefficients (52), 0 to 1, in the order of `names`."""
        points = np.ascontiguousarray(landmarks_px[self._landmarks, :2][None])
        return np.asarray(self._session.run(["scores"], {"points": points})[0].reshape(-1), dtype=np.float32)
