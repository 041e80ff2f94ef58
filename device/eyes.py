"""Lids and mouth: how far the eyes are open for this driver, and whether they are closed.

The opening of an eye is seen twice: by the lids' distance over the eye's width (EAR, Soukupova and Cech 2016, corrected
for the turned head) against this driver's normal, and by the blink coefficients of the expression network. Their mean
separates closed from open better than either alone. Eyes count as closed at 80 % closure (PERCLOS P80, Wierwille 1994).
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from dashgaze.device.mesh import LEFT_CORNERS, RIGHT_CORNERS
from dashgaze.device.records import Eyes, Face, HeadPose
from dashgaze.device.settings import Settings

_RIGHT_LIDS = np.array([[159, 158, 160], [145, 153, 144]])
_LEFT_LIDS = np.array([[386, 385, 387], [374, 380, 373]])
_LIPS, _MOUTH_CORNERS = (13, 14), (61, 291)

_BINS = np.linspace(0.0, 0.8, 81)
_PRIOR_S = 20.0  # how long a driver must be seen to outweigh the population's normal
_MEMORY_S = 600.0
_BLINK_CLOSED, _BLINK_OPEN = 0.65, 0.15  # what the expression network says of closed and of open eyes
_CLOSED_RATIO = 0.2  # what is left of the normal opening when the lids meet: lashes and the landmarks' floor


class EyeSettings(Settings):
    """Lids and mouth."""

    normal_aperture_frac: float = Field(
        0.30,
        gt=0.1,
        lt=0.8,
        description="population's lid distance over eye width, until the driver's own is known",
    )
    closed_below_frac: float = Field(0.2, gt=0, lt=1, description="eyes count as closed at or below it (P80)")
    open_again_frac: float = Field(0.1, ge=0, lt=0.5, description="so much more opens closed eyes again")
    hidden_beyond_yaw_deg: float = Field(38.0, gt=0, lt=90, description="the far eye of a turned head is not judged")


@dataclass(frozen=True, slots=True)
class Apertures:
    """Lid distance over eye width, corrected for the turned head; None for a hidden eye."""

    left: float | None
    right: float | None

    @property
    def mean(self) -> float | None:
        """Mean over the visible eyes."""
        seen = [value for value in (self.left, self.right) if value is not None]
        return sum(seen) / len(seen) if seen else None


class EyeJudge:
    """Learns the driver's normal opening and judges each frame against it."""

    def __init__(self, settings: EyeSettings, blendshape_names: tuple[str, ...]) -> None:
        self._settings = settings
        self._blink = tuple(blendshape_names.index(f"eyeBlink{side}") for side in ("Left", "Right"))
        self._jaw_open = blendshape_names.index("jawOpen")
        self._weights = np.zeros(len(_BINS))
        self._weights[np.searchsorted(_BINS, settings.normal_aperture_frac)] = _PRIOR_S
        self.normal_aperture_frac = settings.normal_aperture_frac
        """The driver's usual lid distance over eye width: the median while open."""
        self._before_s: float | None = None
        self._closed = False

    def judge(self, t_s: float, face: Face, head: HeadPose) -> tuple[Eyes, Apertures]:
        """Openness of a face with landmarks, and the apertures behind it."""
        assert face.landmarks_px is not None
        assert face.blendshapes is not None
        apertures = self._apertures(face.landmarks_px, head)
        normal = self.normal_aperture_frac
        blinks = face.blendshapes[list(self._blink)]
        left = _openness(apertures.left, normal, float(blinks[0]))
        right = _openness(apertures.right, normal, float(blinks[1]))
        seen = [value for value in (left, right) if value is not None]
        closed = self._is_closed(sum(seen) / len(seen)) if seen else None
        self._learn(t_s, apertures, closed)
        mouth = _mouth_open(face.landmarks_px, float(face.blendshapes[self._jaw_open]))
        return Eyes(left, right, closed, mouth), apertures

    def _apertures(self, landmarks_px: NDArray[np.float32], head: HeadPose) -> Apertures:
        limit = self._settings.hidden_beyond_yaw_deg
        yaw_deg, pitch_deg = head.seen_from_deg
        yaw, pitch = math.radians(yaw_deg), math.radians(pitch_deg)
        # A turned head narrows the eye, a nodding one flattens it.
        foreshortening = max(math.cos(yaw), 0.4) / max(math.cos(pitch), 0.4)
        points = landmarks_px[:, :2]

        def aperture(lids: NDArray[np.int_], corners: tuple[int, int]) -> float:
            gap = points[lids[0]] - points[lids[1]]
            height = float(np.sqrt((gap * gap).sum(axis=1)).mean())
            width = math.dist(points[corners[0]].tolist(), points[corners[1]].tolist())
            return height / max(width, 1e-6) * foreshortening

        # A head turned to the driver's right hides the right eye.
        return Apertures(
            left=aperture(_LEFT_LIDS, LEFT_CORNERS) if yaw_deg > -limit else None,
            right=aperture(_RIGHT_LIDS, RIGHT_CORNERS) if yaw_deg < limit else None,
        )

    def _is_closed(self, openness_frac: float) -> bool:
        margin = self._settings.open_again_frac if self._closed else 0.0
        self._closed = openness_frac <= self._settings.closed_below_frac + margin
        return self._closed

    def _learn(self, t_s: float, apertures: Apertures, closed: bool | None) -> None:
        dt_s = min(t_s - self._before_s, 0.5) if self._before_s is not None else 0.0
        self._before_s = t_s
        if closed is not False or apertures.mean is None:
            return
        self._weights *= np.exp(-dt_s / _MEMORY_S)
        self._weights[min(int(np.searchsorted(_BINS, apertures.mean)), len(_BINS) - 1)] += dt_s
        cumulative = np.cumsum(self._weights)
        self.normal_aperture_frac = float(np.interp(cumulative[-1] / 2, cumulative, _BINS))


def _openness(aperture: float | None, normal: float, blink: float) -> float | None:
    if aperture is None:
        return None
    by_lids = aperture / normal
    by_expression = (_BLINK_CLOSED - blink) / (_BLINK_CLOSED - _BLINK_OPEN)
    opening = (by_lids + by_expression) / 2
    return float(np.clip((opening - _CLOSED_RATIO) / (1 - _CLOSED_RATIO), 0, 1))


def _mouth_open(landmarks_px: NDArray[np.float32], jaw_open: float) -> float:
    """Share of a full yawn: inner lips' distance over mouth width, and the jaw coefficient, whichever says less."""
    points = landmarks_px[:, :2]
    gap = np.linalg.norm(points[_LIPS[0]] - points[_LIPS[1]])
    width = np.linalg.norm(points[_MOUTH_CORNERS[0]] - points[_MOUTH_CORNERS[1]])
    return float(np.clip(min(float(gap / max(float(width), 1e-6)), jaw_open), 0, 1))
