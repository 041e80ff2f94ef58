"""The chart of the skin: from points of the mean head to texture coordinates, landmarks on it, and soft brushes.

The projection is a cylinder around the head's vertical axis, `AXIS_MM` behind the eyes. With the angle t from straight
ahead (positive to the person's right) and the distance r from the axis,

    u = 1/2 - (t + 0.2 pi sin t) / 2 pi       70 % of the width for the front half, the seam at the back
    v = (y + s(y) (95 - r) / 2 - TOP_MM) / (BOTTOM_MM - TOP_MM)

so the chart looks like a picture of the person: their right side is on the left. The shear s(y), nothing above the
nose and full below the mouth, spreads the underside of nose and chin, which a plain cylinder would squeeze to lines.
What lies above or below the range is clamped to the top and bottom rows. The ring at the seam needs triangles that do
not cross it (or a u computed per pixel); it lies on the back of head and neck, which no driver camera sees.

The band below `PLAIN_V` is plain skin, where the maps hold no feature of the face: chest and shoulders run back and
forth over it, and so do arms and hands (further than `REACH_MM` sideways), by their length and girth.
"""

import functools

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

Map = NDArray[np.float32]

SIZE = 1024
"""Rows and columns of every map: 3.1 texels per millimetre down the face, some 2.6 across."""
COARSE = 256
"""Rows and columns of maps that hold soft shapes only."""
AXIS_MM = 85.0
TOP_MM, BOTTOM_MM = -130.0, 200.0
REACH_MM = 260.0
PLAIN_V = 0.93

# Positions (u, v) on the mean head, for the person's right; the left is at (1 - u, v).
LIP_TOP = ((0.4425, 0.6020), (0.4460, 0.5930), (0.4535, 0.5845), (0.4620, 0.5780), (0.4715, 0.5738), (0.4800, 0.5718))
LIP_TOP_MIDDLE = ((0.4880, 0.5710), (0.5000, 0.5730))
LIP_SEAM = ((0.4425, 0.6020), (0.4550, 0.5990), (0.4740, 0.5968), (0.5000, 0.5975))
LIP_BOTTOM = ((0.4425, 0.6025), (0.4465, 0.6115), (0.4530, 0.6185), (0.4640, 0.6240), (0.4780, 0.6268), (0.5, 0.6280))
LID_UPPER = (
    (0.4560, 0.4020),
    (0.4495, 0.3985),
    (0.4433, 0.3955),
    (0.4377, 0.3918),
    (0.4294, 0.3886),
    (0.4197, 0.3871),
    (0.4107, 0.3875),
    (0.4026, 0.3893),
    (0.3951, 0.3915),
    (0.3892, 0.3938),
    (0.3848, 0.3969),
    (0.3830, 0.3990),
)
"""Margin of the upper lid, from the inner to the outer corner of the eye."""
LID_LOWER = (
    (0.4560, 0.4025),
    (0.4480, 0.4075),
    (0.4393, 0.4093),
    (0.4271, 0.4108),
    (0.4134, 0.4115),
    (0.3998, 0.4097),
    (0.3932, 0.4069),
    (0.3881, 0.4038),
    (0.3830, 0.3990),
)
EYE = (0.4170, 0.3985)
BROW = ((0.4715, 0.3460), (0.4430, 0.3390), (0.4060, 0.3330), (0.3670, 0.3460))
"""Spine of the eyebrow: head, body, arch, tail."""
NOSE_TIP = (0.5000, 0.5060)
NOSE_WING = (0.4585, 0.5165)
NOSTRIL = (0.4765, 0.5270)
CHIN = (0.5000, 0.6950)
CHEEK = (0.4050, 0.5000)
EAR = (0.1900, 0.4650)


def uv_of(neutral_mm: ArrayLike) -> Map:
    """Texture coordinates (n, 2) in 0..1 of points (n, 3) of the mean head in the head frame."""
    x, y, z = np.asarray(neutral_mm, float).T
    angle = np.arctan2(x, z + AXIS_MM)
    u = 0.5 - (angle + 0.2 * np.pi * np.sin(angle)) / (2 * np.pi)
    below = np.clip((y - 40.0) / 70.0, 0.0, 1.0)
    shear = 0.5 * below**2 * (3.0 - 2.0 * below)
    height_mm = y + shear * np.clip(95.0 - np.hypot(x, z + AXIS_MM), -15.0, 40.0)
    arm = np.abs(x) > REACH_MM
    u = np.where(arm, 0.5 + _to_and_fro(x * 0.0026, 0.15), u)
    v = (np.where(arm, BOTTOM_MM + y + z, height_mm) - TOP_MM) / (BOTTOM_MM - TOP_MM)
    band = (1.0 - PLAIN_V) / 2
    middle = PLAIN_V + band
    v = np.where((v > middle) | arm, middle + _to_and_fro(v - middle, band), v)
    return np.stack([np.clip(u, 0.0, 1.0), np.clip(v, 0.0, 1.0)], axis=1).astype(np.float32)


def _to_and_fro(value: NDArray[np.float64], reach: float) -> NDArray[np.float64]:
    """A triangle wave of slope +-1 between -reach and reach that starts at 0 with slope 1."""
    return reach - np.abs((value + reach) % (4.0 * reach) - 2.0 * reach)


def mirrored(points: ArrayLike) -> NDArray[np.float64]:
    """The same points on the other side of the face."""
    return np.asarray(points, float) * [-1.0, 1.0] + [1.0, 0.0]


def curve(points: ArrayLike, count: int) -> NDArray[np.float64]:
    """`count` points (count, 2), evenly spread in parameter, on a smooth curve through the points (Catmull-Rom)."""
    knots = np.asarray(points, float)
    padded = np.vstack([2 * knots[0] - knots[1], knots, 2 * knots[-1] - knots[-2]])
    position = np.linspace(0.0, len(knots) - 1 - 1e-9, count)
    i = position.astype(int)
    t = (position - i)[:, None]
    a, b, c, d = (padded[i + k] for k in range(4))
    return np.asarray(0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3))


def symmetric(half: ArrayLike) -> NDArray[np.float64]:
    """A line from the person's right side to the middle, continued to the left side."""
    points = np.asarray(half, float)
    return np.vstack([points, mirrored(points[::-1])[1:]])


@functools.cache
def _grid(size: int) -> tuple[Map, Map]:
    centres: Map = np.asarray((np.arange(size) + 0.5) / size, np.float32)
    return centres[None, :], centres[:, None]


def spot(u: float, v: float, across: float, down: float, size: int = COARSE) -> Map:
    """A round, soft spot: a Gaussian with its standard deviations, 1 at (u, v)."""
    columns, rows = _grid(size)
    return np.asarray(np.exp(-(((columns - u) / across) ** 2) / 2) * np.exp(-(((rows - v) / down) ** 2) / 2))


def spots(u: float, v: float, across: float, down: float, size: int = COARSE) -> Map:
    """The spot on both sides of the face."""
    return np.maximum(spot(u, v, across, down, size), spot(1.0 - u, v, across, down, size))


def area(outline: ArrayLike, soft: float, size: int = COARSE) -> Map:
    """A filled outline (n, 2), its edge softened by a Gaussian of standard deviation `soft` (share of the chart)."""
    filled = np.zeros((size, size), np.float32)
    cv2.fillPoly(filled, [fixed_point(outline, size)], 1.0, cv2.LINE_8, 4)
    return blurred(filled, soft * size)


def areas(outline: ArrayLike, soft: float, size: int = COARSE) -> Map:
    """The filled outline on both sides of the face."""
    return np.maximum(area(outline, soft, size), area(mirrored(outline), soft, size))


def line(points: ArrayLike, width: float, soft: float, size: int = COARSE) -> Map:
    """A line (n, 2) of that full width, softened; brightest where it is unbroken, 1 if wide against `soft`."""
    drawn = np.zeros((size, size), np.float32)
    cv2.polylines(drawn, [fixed_point(points, size)], False, 1.0, max(1, round(width * size)), cv2.LINE_8, 4)
    return blurred(drawn, soft * size)


def lines(points: ArrayLike, width: float, soft: float, size: int = COARSE) -> Map:
    """The line on both sides of the face."""
    return np.maximum(line(points, width, soft, size), line(mirrored(points), width, soft, size))


def fixed_point(points: ArrayLike, size: int) -> NDArray[np.int32]:
    """Chart coordinates as OpenCV's drawing functions take them with shift = 4."""
    return np.asarray(np.rint((np.asarray(points, float) * size - 0.5) * 16.0), np.int32)


def blurred(image: Map, sigma: float) -> Map:
    """Gaussian blur; as it is where sigma is a fraction of a texel."""
    return np.asarray(cv2.GaussianBlur(image, (0, 0), sigma), np.float32) if sigma > 0.3 else image


def full(image: Map) -> Map:
    """A coarse map at full size."""
    return np.asarray(cv2.resize(image, (SIZE, SIZE), interpolation=cv2.INTER_LINEAR), np.float32)


@functools.cache
def _noise(cells: int, octaves: int) -> Map:
    """Tiling noise of zero mean and unit variance whose coarsest waves have that many cells along a side."""
    rng = np.random.default_rng([cells, octaves])
    total = np.zeros((SIZE, SIZE), np.float32)
    for octave in range(octaves):
        side = min(cells << octave, SIZE)
        waves = np.pad(rng.standard_normal((side, side), np.float32), 2, mode="wrap")
        step = SIZE // side
        grown = cv2.resize(waves, None, fx=step, fy=step, interpolation=cv2.INTER_CUBIC) if step > 1 else waves
        edge = 2 * step
        total += grown[edge : edge + SIZE, edge : edge + SIZE] * 0.6**octave
    return np.asarray((total - total.mean()) / total.std(), np.float32)


def noise(rng: np.random.Generator, cells: int, octaves: int) -> Map:
    """That noise somewhere else for every call: shifted and mirrored by the generator."""
    shift = rng.integers(0, SIZE, 2)
    moved = np.roll(_noise(cells, octaves), (int(shift[0]), int(shift[1])), (0, 1))
    return moved[:, ::-1] if rng.random() < 0.5 else moved
