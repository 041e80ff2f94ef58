"""The annotated picture: the driver with gaze, head and face drawn in, and what attention makes of it.

A canvas of 1280x720. Left the driver's picture, scaled to fit, and under it the last half minute (zone of
gaze, eye openness, attention buffer, alerts); right the gaze on the car's zones as the driver's eyes see
them (azimuth to the driver's right, elevation up, one-sigma ellipse, trail), the numbers, and the road
view or the recent alerts. Whatever is not known is shown as not known: a grey dashed ray where only the
head's direction is known, gaps in the curves.

Face contours: ordered polylines of MediaPipe's face mesh (`face_mesh_connections.py`, Apache-2.0).
"""

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from types import MappingProxyType

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from dashgaze.device.outputs import (
    CLOSED_RGB,
    LEVEL_RGB,
    LEVEL_WORDS,
    MUTED_RGB,
    ZONE_RGB,
    Rgb,
    clock_words,
    gaze_rgb,
    gaze_words,
)
from dashgaze.device.outputs.drawing import (
    Image,
    Rect,
    bgr,
    draw_dashes,
    draw_dot,
    draw_lines,
    ellipse_points,
    fill_polygon,
    fill_rounded,
    outline_rounded,
    put_text,
    round_corners,
    text_width_px,
)
from dashgaze.device.records import Alert, AlertKind, Attention, Face, Frame, Gaze, HeadPose, Level
from dashgaze.device.settings import Settings
from dashgaze.geometry import Floats
from dashgaze.tables import Status
from dashgaze.zones import ROAD_ZONES, Zone

CANVAS_PX = (1280, 720)
"""Width and height of every annotated picture."""

_GAP = 12
_MAIN_WIDTH = 860
_MAIN_MAX_HEIGHT = 588
_MAP_PANEL: Rect = (884, 12, 384, 226)
_STATE_PANEL: Rect = (884, 248, 384, 92)
_BARS_PANEL: Rect = (884, 350, 384, 132)
_ROAD_PANEL: Rect = (884, 492, 384, 216)
_MAP: Rect = (892, 44, 368, 184)
_MAP_DEG = (-90.0, 90.0, -60.0, 30.0)  # azimuth from, to; elevation from, to

_BACKGROUND: Rgb = (13, 16, 21)
_PANEL: Rgb = (23, 28, 36)
_WELL: Rgb = (34, 41, 52)
_GRID: Rgb = (52, 61, 75)
_INK: Rgb = (232, 237, 243)
_DIM: Rgb = (140, 151, 166)
_MESH: Rgb = (190, 226, 240)
_WHITE: Rgb = (255, 255, 255)
_AXES: tuple[Rgb, Rgb, Rgb] = ((240, 110, 100), (120, 220, 130), (110, 170, 255))

_GAZE_MM = 230.0
_AXIS_MM = 42.0
_SLIDE_S = 0.25
_HELD_S = 1.2  # a sample stands for no longer; folders of stills come at one a second
_COMPANY_S = 3.0  # faces are counted now and then only: where there was another one, expect it for so long
_PERCLOS_FULL = 0.3
_BUFFER_FULL_S = 2.0
_OFF_ROAD_FULL_S = 10.0

_EYES = (
    (33, 7, 163, 144, 145, 153, 154, 155, 133, 173, 157, 158, 159, 160, 161, 246),
    (263, 249, 390, 373, 374, 380, 381, 382, 362, 398, 384, 385, 386, 387, 388, 466),
)
_IRISES = ((469, 470, 471, 472), (474, 475, 476, 477))
_BROWS = ((70, 63, 105, 66, 107), (300, 293, 334, 296, 336))
_LIPS = (
    (61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 409, 270, 269, 267, 0, 37, 39, 40, 185),
    (78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308, 415, 310, 311, 312, 13, 82, 81, 80, 191),
)
_OVAL = (
    *(10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377),
    *(152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109),
)
_NOSE = (168, 6, 197, 195, 5, 4)
_NOSE_TIP = 4

_CODES: tuple[Zone | None, ...] = (None, *ZONE_RGB)
_CODE_OF = {zone: code for code, zone in enumerate(_CODES)}
_CLOSED_CODE = len(_CODES)
_DOUBTFUL = _CLOSED_CODE + 1  # added to the code of a zone that only the head's direction gives
_COLOURS = (_WELL, *ZONE_RGB.values(), CLOSED_RGB)
_CODE_BGR = np.array(
    [bgr(c) for c in _COLOURS]
    + [[(u + 2 * w) // 3 for u, w in zip(bgr(c), bgr(_WELL), strict=True)] for c in _COLOURS],
    np.uint8,
)

_DIRECTED = (Status.OK, Status.LOW_QUALITY)

Project = Callable[[Floats], Floats]
"""Pixels (n, 2) of points (n, 3) in the camera frame, as `Camera.project`."""


def _strip_code(gaze: Gaze) -> int:
    """Row of `_CODE_BGR` for a frame."""
    if gaze.status is Status.EYES_CLOSED:
        return _CLOSED_CODE
    if gaze.status is Status.LOW_QUALITY:
        return _DOUBTFUL + _CODE_OF[gaze.zone]
    return _CODE_OF[gaze.zone] if gaze.status is Status.OK else _CODE_OF[None]


class AnnotateSettings(Settings):
    """What the annotated picture shows."""

    blur_face: bool = Field(False, description="squares instead of faces; over all of the picture where in doubt")
    video_fps: float = Field(15.0, ge=1, le=60, description="pictures per second of the annotated video")
    timeline_s: float = Field(30.0, ge=5, le=300, description="length of the strips under the picture")
    trail_s: float = Field(1.0, ge=0, le=10, description="length of the gaze's trail on the map")


class _History:
    """The last seconds as columns: bounded, and read without a loop over samples."""

    _CAPACITY = 8192
    _FIELDS = ("t_s", "code", "openness", "buffer", "azimuth", "elevation")

    def __init__(self, length_s: float) -> None:
        self._length_s = length_s
        self._rows = np.full((self._CAPACITY, len(self._FIELDS)), np.nan)
        self._count = 0

    def append(self, frame: Frame, gaze: Gaze, attention: Attention) -> None:
        """Remember one frame."""
        if self._count == self._CAPACITY:
            self._count = self._CAPACITY // 2
            self._rows[: self._count] = self._rows[-self._count :]
        eyes = gaze.eyes
        lids = [] if eyes is None else [eyes.openness_left_frac, eyes.openness_right_frac]
        seen = [lid for lid in lids if lid is not None]
        self._rows[self._count] = (
            frame.t_s,
            _strip_code(gaze),
            sum(seen) / len(seen) if seen else np.nan,
            np.nan if attention.buffer_s is None else attention.buffer_s,
            np.nan if gaze.car_azimuth_deg is None else gaze.car_azimuth_deg,
            np.nan if gaze.car_elevation_deg is None else gaze.car_elevation_deg,
        )
        self._count += 1

    def since(self, t_s: float) -> dict[str, Floats]:
        """The columns from that time on."""
        start = int(np.searchsorted(self._rows[: self._count, 0], t_s))
        return dict(zip(self._FIELDS, self._rows[start : self._count].T, strict=True))


@dataclass(frozen=True, slots=True)
class _Layout:
    """Where pictures of one size lie: view, and strip under it; `canvas` has all that never changes."""

    source_px: tuple[int, int]
    scale: float
    view: Rect
    strip: Rect
    canvas: Image

    def place(self, points_px: NDArray[np.floating]) -> Floats:
        """Points (n, 2) of the source in pixels of the view."""
        return (np.asarray(points_px, dtype=float) + 0.5) * self.scale - 0.5


class Annotator:
    """Draws one picture per frame. Keeps the last seconds for strips and trail: frames come in order."""

    def __init__(
        self,
        settings: AnnotateSettings,
        project: Project,
        zone_outlines: Mapping[Zone, NDArray[np.float64]] = MappingProxyType({}),
    ) -> None:
        """`project` is the driver camera's, `zone_outlines` as `ZoneMap.outlines_deg` gives them."""
        self._settings = settings
        self._project = project
        self._outlines = {zone: _on_map(np.asarray(corners, float)) for zone, corners in zone_outlines.items()}
        self._history = _History(settings.timeline_s)
        self._alerts: deque[Alert] = deque(maxlen=64)
        self._current: dict[AlertKind, Alert] = {}
        self._banner: Alert | None = None
        self._banner_frac = 0.0
        self._t_s: float | None = None
        self._company_s = -np.inf  # when another face was last seen
        self._layout: _Layout | None = None

    def observe(self, frame: Frame, gaze: Gaze, attention: Attention) -> None:
        """Take a frame into the strips without drawing it, where no picture of it is wanted."""
        self._history.append(frame, gaze, attention)
        for change in attention.changes:
            if change.level > Level.NONE:
                self._current[change.kind] = change
                self._alerts.append(change)
            else:
                self._current.pop(change.kind, None)
        step_s = 0.0 if self._t_s is None else max(0.0, frame.t_s - self._t_s)
        self._t_s = frame.t_s
        self._slide_banner(attention, frame.t_s, step_s)

    def draw(
        self, frame: Frame, face: Face, gaze: Gaze, attention: Attention, road_image: Image | None = None
    ) -> Image:
        """A new BGR picture of 720 x 1280 for this frame; `gaze.road_px` counts in pixels of `road_image`."""
        self.observe(frame, gaze, attention)
        layout = self._layout_for(frame.image)
        canvas = layout.canvas.copy()
        self._draw_driver(canvas, layout, frame, face, gaze, attention)
        self._draw_map(canvas, gaze, frame.t_s)
        _draw_state(canvas, frame, gaze, attention)
        _draw_bars(canvas, gaze, attention)
        if road_image is None:
            self._draw_recent_alerts(canvas)
        else:
            _draw_road(canvas, road_image, gaze)
        self._draw_strip(canvas, layout.strip, frame.t_s)
        return canvas

    def _layout_for(self, image: Image) -> _Layout:
        height, width = image.shape[:2]
        if self._layout is None or self._layout.source_px != (width, height):
            self._layout = _lay_out((width, height), self._static_side(), self._settings.timeline_s)
        return self._layout

    def _static_side(self) -> Image:
        """The canvas with panels and the map's zones."""
        canvas = np.empty((CANVAS_PX[1], CANVAS_PX[0], 3), np.uint8)
        canvas[:] = bgr(_BACKGROUND)
        for panel in (_MAP_PANEL, _STATE_PANEL, _BARS_PANEL, _ROAD_PANEL):
            fill_rounded(canvas, panel, 10, _PANEL)
        _title(canvas, _MAP_PANEL, "Gaze, seen from the driver's seat")
        x, y, width, height = _MAP
        chart = canvas[y : y + height, x : x + width]
        chart[:] = bgr(_BACKGROUND)
        _draw_graticule(chart)
        for zone, outline in reversed(self._outlines.items()):
            filled = chart.copy()
            fill_polygon(filled, outline, ZONE_RGB[zone])
            cv2.addWeighted(filled, 0.16, chart, 0.84, 0, dst=filled)
            chart[:] = filled
            draw_lines(chart, [outline], _mix(ZONE_RGB[zone], _BACKGROUND, 0.55), closed=True)
        round_corners(canvas, _MAP, 8, _PANEL)
        return canvas

    def _draw_driver(
        self, canvas: Image, layout: _Layout, frame: Frame, face: Face, gaze: Gaze, attention: Attention
    ) -> None:
        """The camera's picture with everything that is drawn into it."""
        x, y, width, height = layout.view
        view = canvas[y : y + height, x : x + width]
        if (face.faces_visible or 0) > 1:
            self._company_s = frame.t_s
        alone = frame.t_s - self._company_s > _COMPANY_S
        image = pixelate_faces(frame.image, face if alone else None) if self._settings.blur_face else frame.image
        view[:] = _resized(image, (width, height))
        colour = _attention_rgb(gaze, attention)
        if face.status is Status.OK and face.landmarks_px is not None and np.isfinite(face.landmarks_px).all():
            points = layout.place(face.landmarks_px[:, :2])
            _draw_contours(view, points, colour)
            if gaze.head is not None:
                _draw_axes(view, points[_NOSE_TIP], gaze.head, self._lateral(layout, gaze.head.position_mm))
        if gaze.ray is not None and gaze.eye_mid_mm is not None and gaze.status in _DIRECTED:
            self._draw_ray(view, layout, gaze, colour)
        _draw_pills(view, frame, face, gaze)
        self._draw_banner(view)
        round_corners(canvas, layout.view, 12, _BACKGROUND)
        if attention.level is Level.CRITICAL:
            outline_rounded(canvas, layout.view, 12, LEVEL_RGB[Level.CRITICAL], 4)

    def _lateral(self, layout: _Layout, at_mm: Floats) -> tuple[Floats, Floats]:
        """A point in the view (2), and the change of it per millimetre across the camera's axis (2, 2).

        Directions are drawn as seen from afar (scaled orthography at the head's depth): in perspective a ray
        towards the camera would run off the picture.
        """
        steps = np.array([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
        at, right, down = layout.place(self._project(np.asarray(at_mm, float) + steps))
        return at, np.stack([right - at, down - at], axis=1)

    def _draw_ray(self, view: Image, layout: _Layout, gaze: Gaze, colour: Rgb) -> None:
        """The gaze as a beam from between the eyes, in a cone of one standard deviation."""
        assert gaze.ray is not None
        assert gaze.eye_mid_mm is not None
        start, lateral = self._lateral(layout, gaze.eye_mid_mm)
        if not (np.isfinite(start).all() and np.isclose(np.linalg.norm(np.clip(gaze.ray, -2, 2)), 1.0)):
            return
        reach = lateral @ gaze.ray[:2] * _GAZE_MM
        if not np.isfinite(reach).all():
            return
        shown = _share_inside(start, reach, view)
        end = start + shown * reach
        if gaze.error_deg is not None and np.isfinite(gaze.error_deg):
            radius_mm = shown * _GAZE_MM * np.tan(np.radians(min(gaze.error_deg, 45.0)))
            _draw_cone(view, start, end, lateral @ _across(gaze.ray).T * radius_mm, colour)
        if gaze.status is Status.LOW_QUALITY:
            draw_dashes(view, start, end, colour, thickness=2)
            draw_dot(view, end, 4.0, colour, thickness=2)
        else:
            _draw_beam(view, start, end, colour)

    def _slide_banner(self, attention: Attention, t_s: float, step_s: float) -> None:
        """Which alert the banner shows, and how far it has come down, 0 to 1."""
        wanted = attention.level > Level.NONE and bool(attention.active)
        if wanted:
            kind = attention.active[0]
            plain = Alert(kind, attention.level, t_s, rule="", message=str(kind).replace("_", " ").capitalize())
            self._banner = self._current.get(kind, plain)
        move = step_s / _SLIDE_S
        self._banner_frac = float(np.clip(self._banner_frac + (move if wanted else -move), 0.0, 1.0))

    def _draw_banner(self, view: Image) -> None:
        if self._banner is None or self._banner_frac <= 0:
            return
        height, margin = 54, 14
        ease = 1 - (1 - self._banner_frac) ** 3
        top = round(-height + (height + margin) * ease)
        colour = LEVEL_RGB[self._banner.level]
        rect = (margin, top, view.shape[1] - 2 * margin, height)
        fill_rounded(view, rect, 12, _mix(colour, _BACKGROUND, 0.78), 0.88)
        ink = _BACKGROUND if self._banner.level is Level.WARNING else _WHITE
        baseline = top + height // 2 + 7
        word = LEVEL_WORDS[self._banner.level].upper()
        put_text(
            view,
            word,
            (view.shape[1] - margin - 20, baseline - 2),
            9,
            ink,
            bold=True,
            align="right",
            alpha=0.8,
        )
        room = rect[2] - 60 - text_width_px(word, 9, bold=True)
        put_text(view, _shortened(self._banner.message, 14, room), (margin + 20, baseline), 14, ink, bold=True)

    def _draw_map(self, canvas: Image, gaze: Gaze, t_s: float) -> None:
        """Gaze among the zones, with its error and its last second."""
        x, y, width, height = _MAP
        chart = canvas[y : y + height, x : x + width]
        colour = gaze_rgb(gaze)
        if gaze.zone in self._outlines and gaze.status in _DIRECTED:
            outline = self._outlines[gaze.zone]
            lit = chart.copy()
            fill_polygon(lit, outline, colour)
            cv2.addWeighted(lit, 0.28, chart, 0.72, 0, dst=lit)
            chart[:] = lit
            draw_lines(chart, [outline], colour, closed=True, thickness=2)
        self._draw_trail(chart, t_s)
        az, el = gaze.car_azimuth_deg, gaze.car_elevation_deg
        if az is None or el is None or gaze.status not in _DIRECTED or not np.isfinite([az, el]).all():
            return
        at = _held_inside(_on_map(np.array([[az, el]]))[0])
        if gaze.error_deg is not None and np.isfinite(gaze.error_deg):
            error_deg = min(max(gaze.error_deg, 0.0), 90.0)  # more is everywhere
            wide = error_deg / max(np.cos(np.radians(el)), 0.1)
            axes = np.array([[wide * _MAP[2] / 180.0, 0.0], [0.0, error_deg * _MAP[3] / 90.0]])
            draw_lines(chart, [ellipse_points(at, axes)], _mix(_WHITE, colour, 0.4), closed=True)
        draw_dot(chart, at, 5.0, _BACKGROUND)
        draw_dot(chart, at, 4.0, MUTED_RGB if gaze.status is Status.LOW_QUALITY else _WHITE)
        draw_dot(chart, at, 2.2, colour)

    def _draw_trail(self, chart: Image, t_s: float) -> None:
        """The gaze of the last second, fading."""
        past = self._history.since(t_s - self._settings.trail_s)
        track = _held_inside(_on_map(np.stack([past["azimuth"], past["elevation"]], axis=1)))
        track = track[np.isfinite(track).all(axis=1)]
        cuts = np.linspace(0, len(track) - 1, 9).astype(int)
        for k, (first, last) in enumerate(pairwise(cuts)):
            if last > first:
                draw_lines(chart, [track[first : last + 1]], _mix(_INK, _BACKGROUND, 0.2 + 0.08 * k))

    def _draw_recent_alerts(self, canvas: Image) -> None:
        x, y, width, _ = _ROAD_PANEL
        _title(canvas, _ROAD_PANEL, "Alerts")
        if not self._alerts:
            put_text(canvas, "None so far", (x + 16, y + 58), 9, _DIM)
        for row, alert in enumerate(list(self._alerts)[:-6:-1]):
            baseline = y + 56 + row * 32
            fill_rounded(canvas, (x + 16, baseline - 11, 4, 14), 2, LEVEL_RGB[alert.level])
            clock = clock_words(alert.t_s)
            room = width - 60 - text_width_px(clock, 8)
            put_text(canvas, _shortened(alert.message, 9, room), (x + 30, baseline), 9, _INK)
            put_text(canvas, clock, (x + width - 16, baseline), 8, _DIM, align="right")

    def _draw_strip(self, canvas: Image, strip: Rect, now_s: float) -> None:
        """The last seconds: zone, openness of the eyes, attention buffer, alerts."""
        length_s = self._settings.timeline_s
        lanes = _lanes(strip)
        past = self._history.since(now_s - length_s)
        x, _, width, _ = lanes["zone"]
        columns = _held_samples(past, now_s, length_s, width)
        zx, zy, zw, zh = lanes["zone"]
        canvas[zy : zy + zh, zx : zx + zw] = _CODE_BGR[columns["code"].astype(np.intp)]
        closed = columns["code"] == _CLOSED_CODE
        _draw_curve(canvas, lanes["eyes"], columns["openness"], _MESH, closed)
        green = LEVEL_RGB[Level.NONE]
        _draw_curve(canvas, lanes["buffer"], columns["buffer"] / _BUFFER_FULL_S, green, np.zeros_like(closed))
        for alert in self._alerts:
            ago_s = now_s - alert.t_s
            if 0 <= ago_s <= length_s:
                _draw_mark(canvas, x + width - 1 - ago_s / length_s * width, lanes, LEVEL_RGB[alert.level])


def pixelate_faces(image: Image, face: Face | None) -> Image:
    """A copy with squares over `face`; over everything where there is no face or its place is not known."""
    height, width = image.shape[:2]
    box = None if face is None or face.status is not Status.OK else face.box_px
    if box is None or not np.isfinite(box).all():
        return _pixelated(image, max(width, height) / 24)
    grow_x, grow_y = 0.2 * (box[2] - box[0]), 0.3 * (box[3] - box[1])
    x0, x1 = (int(np.clip(v, 0, width)) for v in (box[0] - grow_x, box[2] + grow_x + 1))
    y0, y1 = (int(np.clip(v, 0, height)) for v in (box[1] - grow_y, box[3] + grow_y + 1))
    hidden = image.copy()
    if x1 > x0 and y1 > y0:
        hidden[y0:y1, x0:x1] = _pixelated(image[y0:y1, x0:x1], max(x1 - x0, y1 - y0) / 9)
    return hidden


def _resized(image: Image, size_px: tuple[int, int]) -> Image:
    """The picture in another size: halved while it is more than twice too large, then interpolated."""
    while image.shape[1] >= 2 * size_px[0] and image.shape[0] >= 2 * size_px[1]:
        height, width = image.shape[0] // 2, image.shape[1] // 2
        image = cv2.resize(image[: 2 * height, : 2 * width], (width, height), interpolation=cv2.INTER_AREA).astype(
            np.uint8, copy=False
        )
    how = cv2.INTER_CUBIC if size_px[0] > image.shape[1] else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, size_px, interpolation=how), np.uint8)


def _pixelated(image: Image, square_px: float) -> Image:
    height, width = image.shape[:2]
    few = (max(1, round(width / square_px)), max(1, round(height / square_px)))
    small = cv2.resize(image, few, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_NEAREST), np.uint8)


def _lay_out(source_px: tuple[int, int], canvas: Image, timeline_s: float) -> _Layout:
    scale = min(_MAIN_WIDTH / source_px[0], _MAIN_MAX_HEIGHT / source_px[1])
    width, height = (max(1, round(v * scale)) for v in source_px)
    view = (_GAP + (_MAIN_WIDTH - width) // 2, _GAP, width, height)
    top = max(height, 420) + 2 * _GAP
    strip = (_GAP, top, _MAIN_WIDTH, CANVAS_PX[1] - _GAP - top)
    fill_rounded(canvas, (_GAP, _GAP, _MAIN_WIDTH, top - 2 * _GAP), 12, _PANEL, 0.5)
    fill_rounded(canvas, strip, 10, _PANEL)
    _draw_strip_frame(canvas, strip, timeline_s)
    return _Layout(source_px, scale, view, strip, canvas)


def _draw_strip_frame(canvas: Image, strip: Rect, timeline_s: float) -> None:
    for name, (x, y, width, height) in _lanes(strip).items():
        put_text(canvas, name, (x - 12, y + height // 2 + 4), 8, _DIM, align="right")
        fill_rounded(canvas, (x, y, width, height), 3, _WELL)
    x, y, width, height = _lanes(strip)["buffer"]
    step_s = next(s for s in (1, 2, 5, 10, 30, 60) if timeline_s / s <= 8)
    for ago_s in range(0, int(timeline_s) + 1, step_s):
        at = round(x + width - 1 - ago_s / timeline_s * width)
        canvas[y + height + 2 : y + height + 5, max(at, x)] = bgr(_DIM)
        label = "now" if ago_s == 0 else f"-{ago_s} s"
        align = "right" if ago_s == 0 else "centre"
        put_text(canvas, label, (at, y + height + 14), 7, _DIM, align="right" if align == "right" else "centre")


def _lanes(strip: Rect) -> dict[str, Rect]:
    """The lanes of the strip; what room there is goes to them in fixed shares."""
    x, y, width, height = strip
    left, inner = x + 66, height - 46
    names = {"zone": 0.3, "eyes": 0.35, "buffer": 0.35}
    lanes, top = {}, y + 14
    for name, share in names.items():
        lanes[name] = (left, top, width - 66 - 16, int(inner * share))
        top += int(inner * share) + 5
    return lanes


def _held_samples(past: Mapping[str, Floats], now_s: float, length_s: float, width: int) -> dict[str, Floats]:
    """Each column of pixels shows the newest sample before it, unless that is too old."""
    times = now_s - length_s + (np.arange(width) + 1.0) / width * length_s
    index = np.searchsorted(past["t_s"], times + 1e-9, side="right") - 1
    held = np.maximum(index, 0)
    stale = (index < 0) | (times - past["t_s"][held] > _HELD_S)
    return {
        "code": np.where(stale, 0.0, past["code"][held]),
        "openness": np.where(stale, np.nan, past["openness"][held]),
        "buffer": np.where(stale, np.nan, past["buffer"][held]),
    }


def _draw_curve(canvas: Image, lane: Rect, share: Floats, colour: Rgb, marked: NDArray[np.bool_]) -> None:
    """A filled curve of shares 0 to 1, one per column; unknown stays empty, marked columns stand out."""
    x, y, width, height = lane
    part = canvas[y : y + height, x : x + width]
    known = np.isfinite(share)
    top = (1.0 - np.clip(np.where(known, share, 0.0), 0.0, 1.0)) * (height - 1)
    edges = np.flatnonzero(np.diff(np.r_[False, known, False].astype(np.int8)))
    for start, end in zip(edges[::2], edges[1::2], strict=True):
        line = np.stack([np.arange(start, end), top[start:end]], axis=1)
        fill_polygon(part, np.vstack([[start, height], line, [end - 1, height]]), _mix(colour, _WELL, 0.42))
        draw_lines(part, [line], colour)
    part[:, marked] = bgr(CLOSED_RGB)


def _draw_mark(canvas: Image, at_x: float, lanes: Mapping[str, Rect], colour: Rgb) -> None:
    """An alert on the strip: a line through the lanes with a head on top."""
    top, bottom = lanes["zone"][1], lanes["buffer"][1] + lanes["buffer"][3]
    draw_lines(canvas, [np.array([[at_x, top - 1.0], [at_x, bottom]])], colour)
    fill_polygon(canvas, np.array([[at_x - 5, top - 9.0], [at_x + 5, top - 9.0], [at_x, top - 1.0]]), colour)


def _draw_contours(view: Image, points: Floats, colour: Rgb) -> None:
    """Eyes, irises, brows, lips, nose and oval of the face: fine lines that let the face through."""
    size = np.array(view.shape[1::-1])
    low = np.clip(points.min(axis=0) - 4, 0, size).astype(int)
    high = np.clip(points.max(axis=0) + 5, 0, size).astype(int)
    if (high <= low).any():
        return
    part = view[low[1] : high[1], low[0] : high[0]]
    local = points - low
    soft = part.copy()
    draw_lines(soft, [local[list(_OVAL)], *(local[list(lip)] for lip in _LIPS)], _MESH, closed=True)
    draw_lines(soft, [local[list(line)] for line in (*_BROWS, _NOSE)], _MESH)
    part[:] = cv2.addWeighted(soft, 0.5, part, 0.5, 0)
    bright = part.copy()
    draw_lines(bright, [local[list(eye)] for eye in _EYES], _WHITE, closed=True)
    if len(points) > max(_IRISES[1]):
        for iris in _IRISES:
            centre = local[list(iris)].mean(axis=0)
            radius = float(np.hypot(*(local[list(iris)] - centre).T).mean())
            draw_dot(bright, centre, radius, colour, thickness=1)
    part[:] = cv2.addWeighted(bright, 0.85, part, 0.15, 0)


def _draw_axes(view: Image, at: Floats, head: HeadPose, lateral: tuple[Floats, Floats]) -> None:
    """The head's own axes at the nose: to its right, down, ahead."""
    ends = at + (lateral[1] @ head.rotation[:2] * _AXIS_MM).T
    if np.isfinite(ends).all() and np.isfinite(at).all():
        for end, colour in zip(ends, _AXES, strict=True):
            draw_lines(view, [np.stack([at, end])], _mix(colour, _WHITE, 0.75), thickness=2)


def _share_inside(start: Floats, reach: Floats, view: Image) -> float:
    """How much of the way from `start` by `reach` lies within the picture, less a margin."""
    low, high = 16.0 - start, np.array(view.shape[1::-1]) - 17.0 - start
    room = np.where(reach > 0, high, low)
    shares = np.divide(room, reach, out=np.ones(2), where=np.abs(reach) > 1e-6)
    return float(np.clip(shares.min(), 0.0, 1.0))


def _across(ray: Floats) -> Floats:
    """Two unit vectors (2, 3) across the ray; the camera sees their first two components (2, 2)."""
    helper = np.eye(3)[np.argmin(np.abs(ray))]
    first = np.cross(ray, helper)
    first /= np.linalg.norm(first)
    return np.stack([first, np.cross(ray, first)])[:, :2]


def _draw_cone(view: Image, start: Floats, end: Floats, axes: Floats, colour: Rgb) -> None:
    """The cone that the true gaze lies in with one standard deviation, translucent."""
    rim = ellipse_points(end, axes.T)
    hull = cv2.convexHull(np.vstack([start, rim]).astype(np.float32))[:, 0].astype(float)
    size = np.array(view.shape[1::-1])
    low, high = np.clip([hull.min(axis=0) - 2, hull.max(axis=0) + 3], 0, size).astype(int)
    if (high <= low).any():
        return
    part = view[low[1] : high[1], low[0] : high[0]]
    tinted = part.copy()
    fill_polygon(tinted, hull - low, colour)
    part[:] = cv2.addWeighted(tinted, 0.2, part, 0.8, 0)
    draw_lines(part, [rim - low], _mix(colour, _WHITE, 0.7), closed=True)


def _draw_beam(view: Image, start: Floats, end: Floats, colour: Rgb) -> None:
    """A beam that widens a little towards its head, with a bright core."""
    along = end - start
    length = float(np.hypot(*along))
    if length < 6:
        draw_dot(view, start, 9.0, colour, thickness=2)
        draw_dot(view, start, 3.0, _WHITE)
        return
    along /= length
    side = np.array([-along[1], along[0]])
    head = min(20.0, 0.5 * length)
    neck = end - along * head
    shaft = np.array([start - side, neck - side * 3.2, neck + side * 3.2, start + side])
    tip = np.array([neck - side * 0.52 * head, end, neck + side * 0.52 * head, neck + along * 0.28 * head])
    fill_polygon(view, shaft, colour)
    fill_polygon(view, tip, colour)
    draw_lines(view, [np.stack([start, neck])], _mix(_WHITE, colour, 0.7))
    draw_dot(view, start, 4.5, colour)
    draw_dot(view, start, 2.0, _WHITE)


def _draw_pills(view: Image, frame: Frame, face: Face, gaze: Gaze) -> None:
    """Time and speed at the lower left; at the lower middle, calmly, what keeps the gaze from being known."""
    bottom = view.shape[0] - 14
    clock = clock_words(frame.t_s)
    if frame.speed_mps is not None and np.isfinite(frame.speed_mps):
        clock += f"   {frame.speed_mps * 3.6:.0f} km/h"
    _pill(view, clock, (14, bottom), _INK, "left")
    note = _note(face, gaze)
    if note:
        _pill(view, note, (view.shape[1] // 2, bottom - 46), _INK, "centre", cap_px=11)


def _note(face: Face, gaze: Gaze) -> str:
    if face.status is Status.BLOCKED:
        return "The camera sees nothing"
    if face.status is not Status.OK:
        return "No face found"
    if gaze.status is Status.LOW_QUALITY:
        return "Eyes not clear: direction of the head"
    return ""


def _pill(view: Image, text: str, at: tuple[int, int], colour: Rgb, align: str, cap_px: int = 9) -> None:
    width, height = text_width_px(text, cap_px) + 24, cap_px + 18
    left = at[0] if align == "left" else at[0] - width // 2
    fill_rounded(view, (left, at[1] - height, width, height), height / 2, _BACKGROUND, 0.72)
    put_text(view, text, (left + 12, at[1] - 9), cap_px, colour)


def _draw_state(canvas: Image, frame: Frame, gaze: Gaze, attention: Attention) -> None:
    """The zone in large letters, and its numbers."""
    x, y, width, _ = _STATE_PANEL
    put_text(canvas, gaze_words(gaze), (x + 16, y + 39), 17, gaze_rgb(gaze), bold=True)
    if attention.off_road_s and gaze.zone not in ROAD_ZONES:  # the timer lags a look back by a moment
        put_text(canvas, f"{attention.off_road_s:.1f} s", (x + width - 16, y + 39), 15, _INK, align="right")
        put_text(canvas, "off the road", (x + width - 16, y + 72), 8, _DIM, align="right")
    angles = "direction unknown"
    if gaze.car_azimuth_deg is not None and gaze.car_elevation_deg is not None:
        angles = f"{_turn(gaze.car_azimuth_deg, 'right', 'left')}   {_turn(gaze.car_elevation_deg, 'up', 'down')}"
        if gaze.error_deg is not None:
            angles += f"   ±{gaze.error_deg:.1f}°"
    put_text(canvas, angles, (x + 16, y + 72), 9, _DIM)


def _turn(angle_deg: float, positive: str, negative: str) -> str:
    return f"{abs(angle_deg):.0f}° {positive if angle_deg >= 0 else negative}"


def _draw_bars(canvas: Image, gaze: Gaze, attention: Attention) -> None:
    """Attention buffer, time off the road, PERCLOS, eyes."""
    eyes = gaze.eyes
    buffer = None if attention.buffer_s is None else attention.buffer_s / _BUFFER_FULL_S
    perclos = attention.perclos_frac
    left = None if eyes is None else eyes.openness_left_frac
    right = None if eyes is None else eyes.openness_right_frac
    buffer_text = "" if attention.buffer_s is None else f"{attention.buffer_s:.1f} s"
    off_frac = attention.off_road_30s_s / _OFF_ROAD_FULL_S
    rows: list[tuple[str, float | None, str, Rgb]] = [
        ("Attention", buffer, buffer_text, _fill_rgb(buffer)),
        ("Off road in 30 s", off_frac, f"{attention.off_road_30s_s:.1f} s", _fill_rgb(1 - off_frac)),
        ("PERCLOS", None if perclos is None else perclos / _PERCLOS_FULL, _percent(perclos), _MESH),
        ("Right eye", right, _percent(right), _MESH),
        ("Left eye", left, _percent(left), _MESH),
    ]
    x, y, width, _ = _BARS_PANEL
    for row, (label, share, value, colour) in enumerate(rows):
        baseline = y + 24 + row * 24
        put_text(canvas, label, (x + 16, baseline), 8, _DIM)
        put_text(canvas, value or "-", (x + width - 16, baseline), 8, _INK, align="right")
        bar = (x + 140, baseline - 8, width - 140 - 72, 8)
        fill_rounded(canvas, bar, 4, _WELL)
        if share is not None and np.isfinite(share):
            filled = round(bar[2] * min(max(share, 0.0), 1.0))
            fill_rounded(canvas, (bar[0], bar[1], max(filled, 3), bar[3]), 4, colour)


def _percent(share: float | None) -> str:
    return "" if share is None or not np.isfinite(share) else f"{share * 100:.0f} %"


def _fill_rgb(share: float | None) -> Rgb:
    """Green when full, amber when half, red when empty."""
    if share is None or not np.isfinite(share):
        return MUTED_RGB
    share = min(max(share, 0.0), 1.0)
    green, amber, red = LEVEL_RGB[Level.NONE], LEVEL_RGB[Level.WARNING], LEVEL_RGB[Level.CRITICAL]
    return _mix(green, amber, 2 * share - 1) if share > 0.5 else _mix(amber, red, 2 * share)


def _draw_road(canvas: Image, road_image: Image, gaze: Gaze) -> None:
    """The road view with the place that the driver looks at."""
    x, y, width, height = _ROAD_PANEL
    scale = min(width / road_image.shape[1], height / road_image.shape[0])
    size = (max(1, round(road_image.shape[1] * scale)), max(1, round(road_image.shape[0] * scale)))
    left, top = x + (width - size[0]) // 2, y + (height - size[1]) // 2
    road = canvas[top : top + size[1], left : left + size[0]]
    road[:] = _resized(road_image, size)
    if gaze.location_status in (Status.OK, Status.PROPAGATED) and gaze.road_px is not None:
        at = (np.asarray(gaze.road_px, float) + 0.5) * scale - 0.5
        if np.isfinite(at).all():
            error_px = gaze.road_error_px
            _draw_crosshair(road, at, None if error_px is None else error_px * scale, gaze_rgb(gaze))
    else:
        reason = "off the road view" if gaze.location_status is Status.OFF_VIEW else "location unknown"
        _pill(road, reason, (size[0] // 2, size[1] - 12), _DIM, "centre", cap_px=8)
    round_corners(canvas, (left, top, *size), 10, _BACKGROUND)


def _draw_crosshair(road: Image, at: Floats, error_px: float | None, colour: Rgb) -> None:
    if error_px is not None and np.isfinite(error_px):
        tinted = road.copy()
        draw_dot(tinted, at, error_px, colour)
        road[:] = cv2.addWeighted(tinted, 0.22, road, 0.78, 0)
        draw_dot(road, at, error_px, colour, thickness=1)
    for reach in (np.array([1.0, 0.0]), np.array([0.0, 1.0])):
        arms = [np.stack([at + sign * 5 * reach, at + sign * 14 * reach]) for sign in (-1, 1)]
        draw_lines(road, arms, _BACKGROUND, thickness=4)
        draw_lines(road, arms, _WHITE, thickness=2)
    draw_dot(road, at, 2.5, colour)


def _draw_graticule(chart: Image) -> None:
    """Lines every 30 degrees; straight ahead and the horizon stand out."""
    for az in range(-60, 90, 30):
        ends = _on_map(np.array([[az, _MAP_DEG[2]], [az, _MAP_DEG[3]]], float))
        draw_lines(chart, [ends], _GRID if az == 0 else _mix(_GRID, _BACKGROUND, 0.5))
        put_text(
            chart,
            f"{az}" if az else "ahead",
            (round(ends[0, 0]), _MAP[3] - 5),
            6,
            _mix(_DIM, _BACKGROUND, 0.7),
            align="centre",
        )
    for el in (-30, 0):
        ends = _on_map(np.array([[_MAP_DEG[0], el], [_MAP_DEG[1], el]], float))
        draw_lines(chart, [ends], _GRID if el == 0 else _mix(_GRID, _BACKGROUND, 0.5))
        put_text(chart, f"{el}" if el else "horizon", (5, round(ends[0, 1]) - 4), 6, _mix(_DIM, _BACKGROUND, 0.7))


def _on_map(angles_deg: Floats) -> Floats:
    """Map pixels (n, 2) of azimuth and elevation (n, 2)."""
    az0, az1, el0, el1 = _MAP_DEG
    azimuth, elevation = np.clip(angles_deg, -1e6, 1e6).T  # beyond it lies no map, and numbers overflow
    x = (azimuth - az0) / (az1 - az0) * (_MAP[2] - 1)
    y = (el1 - elevation) / (el1 - el0) * (_MAP[3] - 1)
    return np.stack([x, y], axis=1)


def _held_inside(at: Floats) -> Floats:
    """A point beyond the map at its edge."""
    return np.clip(at, 5.0, np.array([_MAP[2] - 6.0, _MAP[3] - 6.0]))


def _attention_rgb(gaze: Gaze, attention: Attention) -> Rgb:
    """Green on the road, amber off it, red under a critical alert, grey where only the head is known."""
    if gaze.status is Status.LOW_QUALITY:
        return MUTED_RGB
    if attention.level is Level.CRITICAL:
        return LEVEL_RGB[Level.CRITICAL]
    return LEVEL_RGB[Level.NONE] if gaze.zone in ROAD_ZONES else LEVEL_RGB[Level.WARNING]


def _title(canvas: Image, panel: Rect, text: str) -> None:
    put_text(canvas, text, (panel[0] + 16, panel[1] + 21), 8, _DIM)


def _shortened(text: str, cap_px: float, room_px: int) -> str:
    """The text, cut with dots where it is wider than the room."""
    text = " ".join(text.split())[:200]
    while len(text) > 3 and text_width_px(text, cap_px, bold=True) > room_px:
        text = text[:-4].rstrip() + "..."
    return text


def _mix(a: Rgb, b: Rgb, share_of_a: float) -> Rgb:
    share = min(max(share_of_a, 0.0), 1.0)
    red, green, blue = (round(share * u + (1 - share) * v) for u, v in zip(a, b, strict=True))
    return red, green, blue
