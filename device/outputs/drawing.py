"""Drawing on BGR pictures: smooth text, translucent rounded shapes, anti-aliased lines with parts of pixels.

OpenCV's Hershey strokes are drawn four times too large and averaged down, which gives an even, modern
line without a font file. Masks are cached, so a word that stays costs one small blend per picture.
"""

import re
from functools import lru_cache
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from dashgaze.device.outputs import Rgb

Image = NDArray[np.uint8]
Rect = tuple[int, int, int, int]
"""x, y, width, height in pixels of the picture."""
Align = Literal["left", "centre", "right"]

_OVERSIZE = 4
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_CAP_PX = 21.0  # height of a capital letter of the font at scale 1
_SQUEEZE = 0.9  # the strokes were made for plotters, and are wide
_SHIFT = 4  # bits of sub-pixel position that OpenCV's line functions take
_FAR_PX = 1e5
_PIECES = re.compile("[°±]|[^°±]+")  # the font has ASCII alone; these two are composed


def bgr(colour: Rgb) -> tuple[int, int, int]:
    """OpenCV's channel order."""
    return colour[2], colour[1], colour[0]


@lru_cache(maxsize=2048)
def _glyphs(text: str, cap_px: float, bold: bool) -> NDArray[np.float32]:
    """Coverage (height, width) of a text, 0 to 1; the baseline lies at 1.5 cap heights."""
    cap = _OVERSIZE * cap_px
    stroke = max(1, round(cap * (0.165 if bold else 0.115)))
    pieces = _PIECES.findall(text)
    widths = [_piece_width(piece, cap) for piece in pieces]
    large = np.zeros((round(cap * 2.1), sum(widths) + 2 * stroke), np.uint8)
    x, baseline = stroke, round(cap * 1.5)
    for piece, width in zip(pieces, widths, strict=True):
        if piece == "°":
            centre = (round(x + 0.32 * cap), round(baseline - 0.82 * cap))
            cv2.circle(large, centre, round(0.17 * cap), 255, stroke, cv2.LINE_AA)
        else:
            letters = piece.replace("±", "+").encode("ascii", "replace").decode()
            cv2.putText(large, letters, (x, baseline), _FONT, cap / _CAP_PX, 255, stroke, cv2.LINE_AA)
        if piece == "±":
            left, right = (x + round(share * width) for share in (0.14, 0.84))
            cv2.line(large, (left, baseline), (right, baseline), 255, stroke, cv2.LINE_AA)
        x += width
    size = (max(1, round(large.shape[1] * _SQUEEZE / _OVERSIZE)), max(1, large.shape[0] // _OVERSIZE))
    small = cv2.resize(large, size, interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.float32) / np.float32(255.0)


def _piece_width(piece: str, cap: float) -> int:
    if piece == "°":
        return round(0.62 * cap)
    return cv2.getTextSize(piece.replace("±", "+"), _FONT, cap / _CAP_PX, 1)[0][0]


def text_width_px(text: str, cap_px: float, bold: bool = False) -> int:
    """Width that `put_text` takes."""
    return int(_glyphs(text, cap_px, bold).shape[1])


def put_text(
    image: Image,
    text: str,
    at: tuple[int, int],
    cap_px: float,
    colour: Rgb,
    *,
    bold: bool = False,
    align: Align = "left",
    alpha: float = 1.0,
) -> None:
    """Write one line; `at` lies on the baseline as `align` says, `cap_px` is the height of a capital."""
    mask = _glyphs(text, cap_px, bold)
    left = at[0] - {"left": 0, "centre": mask.shape[1] // 2, "right": mask.shape[1]}[align]
    blend(image, mask, (left, at[1] - round(cap_px * 1.5)), colour, alpha)


def blend(image: Image, mask: NDArray[np.float32], at: tuple[int, int], colour: Rgb, alpha: float = 1.0) -> None:
    """Lay a colour over the picture where the mask (height, width) covers it; what lies outside is cut."""
    x, y = at
    x0, y0 = max(x, 0), max(y, 0)
    x1, y1 = min(x + mask.shape[1], image.shape[1]), min(y + mask.shape[0], image.shape[0])
    if x0 >= x1 or y0 >= y1 or alpha <= 0.0:
        return
    part = image[y0:y1, x0:x1]
    cover = mask[y0 - y : y1 - y, x0 - x : x1 - x] * np.float32(min(alpha, 1.0))
    solid = np.empty_like(part)
    solid[:] = bgr(colour)
    part[:] = cv2.blendLinear(solid, part, cover, np.float32(1.0) - cover)


@lru_cache(maxsize=128)
def _rounded(width: int, height: int, radius: float) -> NDArray[np.float32]:
    """Coverage (height, width) of a rounded rectangle, from its signed distance."""
    radius = min(radius, width / 2, height / 2)
    across = np.abs(np.arange(width) + 0.5 - width / 2) - (width / 2 - radius)
    down = np.abs(np.arange(height) + 0.5 - height / 2) - (height / 2 - radius)
    corner = np.hypot(np.maximum(across[None, :], 0.0), np.maximum(down[:, None], 0.0))
    distance = corner + np.minimum(np.maximum(across[None, :], down[:, None]), 0.0) - radius
    return np.asarray(np.clip(0.5 - distance, 0.0, 1.0), np.float32)


def fill_rounded(image: Image, rect: Rect, radius: float, colour: Rgb, alpha: float = 1.0) -> None:
    """Fill a rounded rectangle."""
    x, y, width, height = rect
    if width > 0 and height > 0:
        blend(image, _rounded(width, height, radius), (x, y), colour, alpha)


def outline_rounded(image: Image, rect: Rect, radius: float, colour: Rgb, thickness: int) -> None:
    """Draw the border of a rounded rectangle, inwards."""
    x, y, width, height = rect
    ring = _rounded(width, height, radius).copy()
    inner = (width - 2 * thickness, height - 2 * thickness)
    if min(inner) > 0:
        hole = ring[thickness:-thickness, thickness:-thickness]
        hole -= _rounded(*inner, max(radius - thickness, 0.0))
    for rows in (slice(0, height // 4), slice(3 * height // 4, height)):
        blend(image, ring[rows], (x, y + rows.start), colour)
    for columns in (slice(0, thickness), slice(width - thickness, width)):
        middle = slice(height // 4, 3 * height // 4)
        blend(image, ring[middle, columns], (x + columns.start, y + middle.start), colour)


def round_corners(image: Image, rect: Rect, radius: int, background: Rgb) -> None:
    """Cut the corners of a picture that lies in `rect` down to the background."""
    x, y, width, height = rect
    outside = 1.0 - _rounded(width, height, float(radius))
    for top in (0, height - radius):
        for left in (0, width - radius):
            mask = outside[top : top + radius, left : left + radius]
            blend(image, mask, (x + left, y + top), background)


def draw_lines(
    image: Image,
    lines: list[NDArray[np.float64]],
    colour: Rgb,
    *,
    closed: bool = False,
    thickness: int = 1,
) -> None:
    """Draw polylines, each (n, 2), anti-aliased and placed to a sixteenth of a pixel."""
    cv2.polylines(image, [_fixed_point(line) for line in lines], closed, bgr(colour), thickness, cv2.LINE_AA, _SHIFT)


def fill_polygon(image: Image, polygon: NDArray[np.float64], colour: Rgb) -> None:
    """Fill a polygon (n, 2), anti-aliased."""
    cv2.fillPoly(image, [_fixed_point(polygon)], bgr(colour), cv2.LINE_AA, _SHIFT)


def draw_dot(image: Image, at: NDArray[np.float64], radius_px: float, colour: Rgb, thickness: int = -1) -> None:
    """Draw a disc, or a circle of the given thickness."""
    x, y = (int(v) for v in _fixed_point(at))
    radius = max(1, round(min(radius_px, _FAR_PX) * (1 << _SHIFT)))
    cv2.circle(image, (x, y), radius, bgr(colour), thickness, cv2.LINE_AA, _SHIFT)


def draw_dashes(
    image: Image,
    start: NDArray[np.float64],
    end: NDArray[np.float64],
    colour: Rgb,
    thickness: int = 1,
    dash_px: float = 7.0,
) -> None:
    """Draw a dashed straight line."""
    length = float(np.hypot(*(end - start)))
    count = int(min(length / (2 * dash_px), 200)) + 1
    begins = np.arange(count) / count
    points = start + (end - start) * np.stack([begins, begins + 0.5 / count], 1)[..., None]
    draw_lines(image, list(points), colour, thickness=thickness)


def ellipse_points(centre: NDArray[np.float64], axes: NDArray[np.float64], count: int = 40) -> NDArray[np.float64]:
    """Outline (count, 2) of the ellipse with the half axes `axes[0]` and `axes[1]`, each a vector."""
    angle = np.linspace(0.0, 2 * np.pi, count, endpoint=False)
    return np.asarray(centre + np.cos(angle)[:, None] * axes[0] + np.sin(angle)[:, None] * axes[1])


def _fixed_point(points: NDArray[np.float64]) -> NDArray[np.int32]:
    """Sub-pixel integers as OpenCV takes them; far points are held where the integers do not overflow."""
    return np.round(np.clip(points, -_FAR_PX, _FAR_PX) * (1 << _SHIFT)).astype(np.int32)
