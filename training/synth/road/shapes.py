"""Low-polygon models of what stands and drives on a road, built from a few solids.

A model fills the box -0.5..0.5, -1..0, -0.5..0.5 (x right, y down, z forward, the ground at y = 0), which each thing
stretches to its own size. A vertex has a position, a normal, a material and a limb: limbs 1 and -1 swing against each
other when people walk.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from functools import cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dashgaze.geometry import Floats

_DIRECTIONS = 90
_FLOOR_M = 0.22
_SMOOTH_COSINE = 0.77


class Material(IntEnum):
    """How a face looks; the same numbers as in `road_thing.frag.glsl`."""

    PAINT = 0
    GLASS = 1
    RUBBER = 2
    HEADLAMP = 3
    TAIL_LAMP = 4
    METAL = 5
    SKIN = 6
    TROUSERS = 7
    WHITE = 8
    DARK = 9
    RED_LAMP = 10
    AMBER_LAMP = 11
    GREEN_LAMP = 12
    SECOND = 13  # the thing's paint, darkened


@dataclass(frozen=True, slots=True, eq=False)
class Model:
    """Triangles of a model, three rows each."""

    vertices: NDArray[np.float32]
    """(3 m, 8): position, normal, material, limb."""
    outline: Floats
    """(k, 3) vertices of about the convex hull, for boxes in pictures."""


Triangles = NDArray[np.float64]
"""(m, 3, 3) in metres."""
Piece = tuple[Triangles, Material, int]


def _quads(corners: ArrayLike) -> Triangles:
    """Triangles of quads (n, 4, 3)."""
    q = np.asarray(corners, dtype=float).reshape(-1, 4, 3)
    return np.concatenate([q[:, [0, 1, 2]], q[:, [0, 2, 3]]])


def _loft(rings: ArrayLike, *, capped: bool = True) -> Triangles:
    """Skin over closed rings (n, k, 3), turned outwards."""
    r = np.asarray(rings, dtype=float)
    a, b = r[:-1], r[1:]
    sides = _quads(np.stack([a, np.roll(a, -1, 1), np.roll(b, -1, 1), b], axis=2).reshape(-1, 4, 3))
    parts = [sides]
    if capped:
        for ring in (r[0], r[-1]):
            middle = np.broadcast_to(ring.mean(axis=0), ring.shape)
            parts.append(np.stack([middle, ring, np.roll(ring, -1, 0)], axis=1))
    return _outward(np.concatenate(parts))


def _outward(triangles: Triangles) -> Triangles:
    """Order the corners of a convex-ish body's triangles so that normals point away from its middle."""
    middle = (triangles.max(axis=(0, 1)) + triangles.min(axis=(0, 1))) / 2
    normals = np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0])
    inside = ((triangles.mean(axis=1) - middle) * normals).sum(axis=1) < 0
    result = triangles.copy()
    result[inside] = result[inside][:, [0, 2, 1]]
    return result


def _box(x: tuple[float, float], up: tuple[float, float], z: tuple[float, float]) -> Triangles:
    """A box; `up` is height above the ground."""
    ring = [(x[0], -up[0]), (x[1], -up[0]), (x[1], -up[1]), (x[0], -up[1])]
    return _loft([[(a, b, depth) for a, b in ring] for depth in z])


def _wheel(x: float, radius: float, z: float, width: float) -> list[Piece]:
    angle = np.linspace(0, 2 * np.pi, 13)[:-1]
    rim = np.stack([np.zeros(12), -radius + radius * np.cos(angle), z + radius * np.sin(angle)], axis=1)
    side = np.sign(x) or 1.0
    outer, inner = rim + np.array([x, 0, 0]), rim + np.array([x - side * width, 0, 0])
    hub = (outer - [0, -radius, z]) * [1, 0.6, 0.6] + [side * 0.01, -radius, z]
    return [(_loft([inner, outer]), Material.RUBBER, 0), (_loft([hub - [side * 0.02, 0, 0], hub]), Material.METAL, 0)]


def _arch(x: float, radius: float, z: float) -> Triangles:
    """The dark opening above a wheel, a thin disc cut off below the sill."""
    angle = np.linspace(-0.1, np.pi + 0.1, 13)
    ring = np.stack([np.full(13, x), -0.32 - radius * np.sin(angle), z + radius * np.cos(angle)], axis=1)
    return _outward_x(np.stack([np.broadcast_to([x, -0.32, z], (12, 3)), ring[:-1], ring[1:]], axis=1))


def _ball(centre: tuple[float, float, float], radii: tuple[float, float, float], sides: int = 8) -> Triangles:
    """An ellipsoid; the centre's second coordinate is height."""
    polar, turn = np.linspace(0.15, np.pi - 0.15, 6), np.linspace(0, 2 * np.pi, sides + 1)[:-1]
    rings = [
        [(np.sin(p) * np.cos(t) * radii[0], -np.cos(p) * radii[1], np.sin(p) * np.sin(t) * radii[2]) for t in turn]
        for p in polar
    ]
    return _loft(np.asarray(rings) + np.array([centre[0], -centre[1], centre[2]]))


def _limb(
    start: Sequence[float], end: Sequence[float], radius: float, taper: float = 0.75, sides: int = 6
) -> Triangles:
    """A tapering tube; the second coordinates are heights."""
    a, b = np.array(start) * [1, -1, 1], np.array(end) * [1, -1, 1]
    axis = (b - a) / np.linalg.norm(b - a)
    across = np.cross(axis, [1, 0, 0] if abs(axis[0]) < 0.9 else [0, 0, 1])
    across /= np.linalg.norm(across)
    other, turn = np.cross(axis, across), np.linspace(0, 2 * np.pi, sides + 1)[:-1]
    ring = np.cos(turn)[:, None] * across + np.sin(turn)[:, None] * other
    return _loft([a + radius * ring, b + radius * taper * ring])


Station = tuple[float, float, float]
"""A section across a car: z, height, half width."""


def _car(deck: Sequence[Station], roof: Sequence[Station], axle: float) -> list[Piece]:
    """A car from stations of its body and its cabin, back to front, and the axles' place as a share of its length.

    The cabin's first and last station lie on the deck: between them and their neighbours are the panes.
    """
    pieces = [(_body(deck), Material.PAINT, 0), *_cabin(deck, roof), *_running_gear(deck, axle)]
    return [*pieces, *_car_end(deck[-1], 1), *_car_end(deck[0], -1), *_mirrors(deck[-1], roof[-2][0])]


def _body(deck: Sequence[Station]) -> Triangles:
    rings = []
    for z, height, half in deck:
        sill, shoulder = _FLOOR_M + 0.12, _FLOOR_M + (height - _FLOOR_M) * 0.62
        right = [(half * 0.9, _FLOOR_M), (half, sill), (half, shoulder), (half * 0.9, height)]
        rings.append([(x, -y, z) for x, y in right] + [(-x, -y, z) for x, y in right[::-1]])
    return _loft(rings)


def _cabin(deck: Sequence[Station], roof: Sequence[Station]) -> list[Piece]:
    low = [float(np.interp(z, [d[0] for d in deck], [d[1] for d in deck])) - 0.03 for z, _, _ in roof]
    base = [[(-half - 0.06, -y, z), (half + 0.06, -y, z)] for (z, _, half), y in zip(roof, low, strict=True)]
    top = [[(-half * 0.86, -height, z), (half * 0.86, -height, z)] for z, height, half in roof]
    base[0], base[-1] = base[1], base[-2]
    pieces: list[Piece] = []
    last = len(roof) - 2
    for i in range(last + 1):
        pane = i in (0, last)
        over = _upward([[top[i][0], top[i][1], top[i + 1][1], top[i + 1][0]]])
        pieces.append((over, Material.GLASS if pane else Material.PAINT, 0))
        for side in (0, 1) if not pane else ():
            window, frame = _glazing(base[i][side], base[i + 1][side], top[i + 1][side], top[i][side])
            pieces += [(_outward_x(frame), Material.PAINT, 0), (_outward_x(window), Material.GLASS, 0)]
    for end, corner in ((0, 1), (-1, -2)):  # triangles beside the windscreen and the rear window
        for side in (0, 1):
            triangle = np.array([[top[end][side], base[corner][side], top[corner][side]]], dtype=float)
            pieces.append((_outward_x(triangle), Material.PAINT, 0))
    return pieces


def _running_gear(deck: Sequence[Station], axle: float) -> list[Piece]:
    widest, back, front = max(half for _, _, half in deck), deck[0], deck[-1]
    pieces: list[Piece] = []
    for sign in (-1, 1):
        for z in (back[0] * axle, front[0] * axle):
            pieces.append((_arch(sign * (widest + 0.004), 0.39, z), Material.DARK, 0))
            pieces += _wheel(sign * (widest + 0.012), 0.32, z, 0.22)
    below = _box((-back[2] * 0.8, back[2] * 0.8), (0.1, 0.24), (back[0] * 0.85, front[0] * 0.85))
    return [*pieces, (below, Material.RUBBER, 0)]


def _car_end(station: Station, out: int) -> list[Piece]:
    """Lamps, bumper and number plate of the front (`out` 1) or the back (-1)."""
    end, height, half = station

    def slab(x: tuple[float, float], up: tuple[float, float], inside: float, outside: float) -> Triangles:
        a, b = end - out * inside, end + out * outside
        return _box(x, up, (min(a, b), max(a, b)))

    if out > 0:
        lamp_x, lamp_up, lamp = (0.5, 0.95), (height - 0.2, height - 0.06), Material.HEADLAMP
    else:
        lamp_x, lamp_up, lamp = (0.62, 0.985), (height - 0.34, height - 0.12), Material.TAIL_LAMP
    left, right = (-half * lamp_x[1], -half * lamp_x[0]), (half * lamp_x[0], half * lamp_x[1])
    pieces: list[Piece] = [(slab(x, lamp_up, 0.11, 0.015), lamp, 0) for x in (left, right)]
    pieces.append((slab((-half * 0.92, half * 0.92), (_FLOOR_M, _FLOOR_M + 0.14), 0.05, 0.02), Material.DARK, 0))
    pieces.append((slab((-0.26, 0.26), (0.46, 0.57), 0, 0.025), Material.WHITE, 0))
    if out > 0:
        pieces.append((slab((-0.45, 0.45), (height - 0.3, height - 0.17), 0, 0.012), Material.DARK, 0))
    return pieces


def _mirrors(front: Station, z: float) -> list[Piece]:
    _, height, half = front
    spans = ((-half - 0.13, -half), (half, half + 0.13))
    return [(_box(x, (height + 0.18, height + 0.33), (z - 0.05, z + 0.1)), Material.PAINT, 0) for x in spans]


def _glazing(a: ArrayLike, b: ArrayLike, c: ArrayLike, d: ArrayLike) -> tuple[Triangles, Triangles]:
    """The pane in a side of the cabin and the frame around it, from its corners (low, low, high, high)."""
    outer = np.array([a, b, c, d], dtype=float)
    middle = outer.mean(axis=0)
    inner = middle + (outer - middle) * [1, 0.74, 0.9]
    frame = _quads(np.stack([outer, np.roll(outer, -1, 0), np.roll(inner, -1, 0), inner], axis=1))
    return _quads([inner]), frame


def _upward(quads: ArrayLike) -> Triangles:
    triangles = _quads(quads)
    normals = np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0])
    triangles[normals[:, 1] > 0] = triangles[normals[:, 1] > 0][:, [0, 2, 1]]
    return triangles


def _outward_x(triangles: Triangles) -> Triangles:
    """Turn triangles of a side away from the plane x = 0."""
    normals = np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0])
    wrong = normals[:, 0] * triangles.mean(axis=1)[:, 0] < 0
    result = triangles.copy()
    result[wrong] = result[wrong][:, [0, 2, 1]]
    return result


def _hatchback() -> list[Piece]:
    deck = [
        (-2.0, 0.86, 0.82),
        (-1.9, 0.98, 0.88),
        (-0.6, 0.96, 0.89),
        (0.85, 0.95, 0.89),
        (1.75, 0.82, 0.86),
        (2.0, 0.66, 0.78),
    ]
    roof = [(-1.96, 1.0, 0.76), (-1.6, 1.44, 0.74), (-0.3, 1.5, 0.75), (0.35, 1.44, 0.74), (1.15, 0.95, 0.78)]
    return _car(deck, roof, 0.62)


def _saloon() -> list[Piece]:
    deck = [
        (-2.3, 0.9, 0.8),
        (-2.15, 0.98, 0.88),
        (-0.9, 0.98, 0.9),
        (0.9, 0.95, 0.9),
        (2.0, 0.82, 0.87),
        (2.3, 0.66, 0.78),
    ]
    roof = [(-1.75, 0.98, 0.74), (-1.05, 1.4, 0.7), (-0.2, 1.45, 0.72), (0.35, 1.4, 0.72), (1.2, 0.94, 0.78)]
    return _car(deck, roof, 0.6)


def _suv() -> list[Piece]:
    deck = [
        (-2.25, 1.05, 0.86),
        (-2.15, 1.14, 0.93),
        (-0.9, 1.12, 0.94),
        (0.95, 1.1, 0.94),
        (1.95, 1.0, 0.92),
        (2.25, 0.82, 0.84),
    ]
    roof = [(-2.2, 1.14, 0.8), (-1.95, 1.68, 0.78), (-0.3, 1.74, 0.78), (0.4, 1.66, 0.78), (1.15, 1.1, 0.82)]
    return _car(deck, roof, 0.61)


def _van() -> list[Piece]:
    deck = [
        (-2.6, 1.2, 0.92),
        (-2.55, 1.25, 0.96),
        (0.5, 1.2, 0.97),
        (1.6, 1.15, 0.96),
        (2.35, 1.0, 0.92),
        (2.6, 0.8, 0.84),
    ]
    roof = [(-2.58, 1.25, 0.9), (-2.5, 2.02, 0.93), (0.3, 2.08, 0.93), (1.1, 2.0, 0.9), (2.0, 1.12, 0.88)]
    return _car(deck, roof, 0.64)


def _lorry() -> list[Piece]:
    pieces: list[Piece] = [
        (_box((-1.25, 1.25), (0.95, 3.75), (-4.6, 2.6)), Material.PAINT, 0),
        (_box((-1.2, 1.2), (0.5, 2.9), (2.9, 4.6)), Material.SECOND, 0),
        (_box((-1.1, 1.1), (1.7, 2.6), (4.58, 4.63)), Material.GLASS, 0),
        (_box((-1.22, 1.22), (1.8, 2.5), (3.6, 4.4)), Material.GLASS, 0),
        (_box((-1.0, 1.0), (0.5, 0.95), (-4.5, 4.4)), Material.DARK, 0),
        (_box((-1.2, 1.2), (0.45, 0.62), (-4.63, -4.5)), Material.METAL, 0),
        (_box((-1.2, 1.2), (0.35, 0.6), (4.5, 4.65)), Material.DARK, 0),
        (_box((-0.26, 0.26), (0.66, 0.78), (-4.64, -4.6)), Material.WHITE, 0),
        (_box((-0.02, 0.02), (1.0, 3.7), (-4.62, -4.6)), Material.DARK, 0),
    ]
    for sign in (-1, 1):
        low, high = sorted((sign * 0.85, sign * 1.2))
        pieces.append((_box((low, high), (0.66, 0.84), (-4.64, -4.5)), Material.TAIL_LAMP, 0))
        pieces.append((_box((low, high), (0.66, 0.88), (4.5, 4.67)), Material.HEADLAMP, 0))
        for z in (-3.2, -2.1, 3.3):
            pieces += _wheel(sign * 1.22, 0.5, z, 0.32)
    return pieces


def _bus() -> list[Piece]:
    pieces: list[Piece] = [
        (_box((-1.25, 1.25), (0.35, 3.1), (-5.9, 5.9)), Material.PAINT, 0),
        (_box((-1.27, 1.27), (1.35, 2.55), (-5.3, 5.5)), Material.GLASS, 0),
        (_box((-1.1, 1.1), (1.1, 2.6), (5.8, 5.93)), Material.GLASS, 0),
        (_box((-0.95, 0.95), (1.6, 2.5), (-5.93, -5.8)), Material.GLASS, 0),
        (_box((-0.8, 0.8), (2.68, 2.98), (5.8, 5.93)), Material.DARK, 0),
        (_box((-1.26, 1.26), (0.35, 0.6), (-5.92, 5.92)), Material.SECOND, 0),
        (_box((-0.26, 0.26), (0.72, 0.84), (-5.94, -5.8)), Material.WHITE, 0),
    ]
    pieces += [
        (_box((-1.28, 1.28), (1.35, 2.55), (z - 0.06, z + 0.06)), Material.DARK, 0) for z in np.arange(-4, 5, 1.6)
    ]
    for sign in (-1, 1):
        low, high = sorted((sign * 0.9, sign * 1.2))
        pieces.append((_box((low, high), (0.7, 1.15), (-5.94, -5.8)), Material.TAIL_LAMP, 0))
        pieces.append((_box((low, high), (0.68, 0.9), (5.8, 5.95)), Material.HEADLAMP, 0))
        for z in (-3.6, 3.3):
            pieces += _wheel(sign * 1.255, 0.48, z, 0.3)
    return pieces


def _person_on(seat: float, lean: float) -> list[Piece]:
    """A rider: hips at height `seat`, shoulders `lean` ahead of them."""
    shoulder = seat + 0.5
    pieces: list[Piece] = [
        (_limb((0, seat - 0.05, 0), (0, shoulder, lean), 0.17, 1.1), Material.PAINT, 0),
        (_ball((0, shoulder + 0.24, lean + 0.06), (0.12, 0.14, 0.13)), Material.SECOND, 0),
    ]
    for sign in (-1, 1):
        pieces.append(
            (_limb((sign * 0.2, shoulder - 0.03, lean), (sign * 0.27, seat + 0.2, 0.5), 0.055), Material.PAINT, 0)
        )
        pieces.append(
            (_limb((sign * 0.1, seat - 0.03, 0), (sign * 0.14, seat - 0.38, 0.28), 0.085), Material.TROUSERS, 0)
        )
        pieces.append(
            (_limb((sign * 0.14, seat - 0.38, 0.28), (sign * 0.13, seat - 0.75, 0.05), 0.065), Material.TROUSERS, 0)
        )
    return pieces


def _motorcycle() -> list[Piece]:
    pieces = _person_on(0.82, 0.25)
    for z in (-0.7, 0.72):
        pieces += _wheel(0.06, 0.31, z, 0.12)
    pieces += [
        (_ball((0, 0.68, 0.22), (0.16, 0.2, 0.34)), Material.SECOND, 0),
        (_box((-0.13, 0.13), (0.3, 0.62), (-0.35, 0.4)), Material.DARK, 0),
        (_limb((0, 0.32, 0.72), (0, 0.98, 0.5), 0.07), Material.METAL, 0),
        (_box((-0.1, 0.1), (0.72, 0.94), (0.58, 0.68)), Material.HEADLAMP, 0),
        (_box((-0.09, 0.09), (0.66, 0.76), (-0.82, -0.6)), Material.TAIL_LAMP, 0),
        (_limb((-0.36, 0.98, 0.5), (0.36, 0.98, 0.5), 0.025), Material.DARK, 0),
    ]
    return pieces


def _bicycle() -> list[Piece]:
    pieces = _person_on(0.95, 0.32)
    for z in (-0.52, 0.52):
        pieces += _wheel(0.02, 0.34, z, 0.04)
    frame = [
        ((0, 0.34, -0.52), (0, 0.9, -0.15)),
        ((0, 0.3, 0), (0, 0.85, 0.42)),
        ((0, 0.85, -0.12), (0, 0.85, 0.42)),
        ((0, 0.34, 0.52), (0, 1.0, 0.4)),
    ]
    pieces += [(_limb(a, b, 0.025, 1), Material.DARK, 0) for a, b in frame]
    pieces += [
        (_limb((-0.3, 1.02, 0.42), (0.3, 1.02, 0.42), 0.02, 1), Material.DARK, 0),
        (_box((-0.03, 0.03), (0.7, 0.76), (-0.35, -0.3)), Material.TAIL_LAMP, 0),
    ]
    return pieces


def _person() -> list[Piece]:
    pieces: list[Piece] = [
        (_limb((0, 0.9, 0), (0, 1.42, 0.02), 0.17, 1.1, 8), Material.PAINT, 0),
        (_ball((0, 1.6, 0.03), (0.1, 0.13, 0.11)), Material.SKIN, 0),
        (_ball((0, 1.66, 0.0), (0.108, 0.1, 0.115)), Material.DARK, 0),
    ]
    for sign in (-1, 1):
        pieces.append((_limb((sign * 0.09, 0.92, 0), (sign * 0.1, 0.06, 0), 0.09, 0.6), Material.TROUSERS, sign))
        pieces.append((_box((sign * 0.1 - 0.05, sign * 0.1 + 0.05), (0, 0.08), (-0.08, 0.17)), Material.RUBBER, sign))
        pieces.append((_limb((sign * 0.23, 1.4, 0), (sign * 0.27, 0.85, 0.05), 0.055, 0.7), Material.PAINT, -sign))
        pieces.append((_ball((sign * 0.27, 0.8, 0.06), (0.04, 0.06, 0.04), 5), Material.SKIN, -sign))
    return pieces


def _disc(sides: int, radius: float, height: float, material: Material, thickness: float = 0.04) -> list[Piece]:
    """A sign that faces backwards along z, towards who drives the way the thing faces."""
    turn = (np.arange(sides) + 0.5) * 2 * np.pi / sides
    ring = np.stack([radius * np.sin(turn), -height + radius * np.cos(turn), np.zeros(sides)], axis=1)
    white = (ring - [0, -height, 0]) * [0.93, 0.93, 1] + [0, -height, -thickness / 2 - 0.004]
    inner = (ring - [0, -height, 0]) * [0.84, 0.84, 1] + [0, -height, -thickness / 2 - 0.008]
    half = np.array([0, 0, thickness / 2])
    back, front = ring + half, ring - half
    return [
        (_loft([back, front]), Material.METAL, 0),
        (_loft([front, white]), Material.WHITE if material != Material.WHITE else Material.PAINT, 0),
        (_loft([white, inner]), material, 0),
    ]


def _stop_sign() -> list[Piece]:
    letters = [
        (_box((x - 0.045, x + 0.045), (0.25, 0.45), (-0.045, -0.03)), Material.WHITE, 0)
        for x in (-0.2, -0.07, 0.07, 0.2)
    ]
    return [*_disc(8, 0.36, 0.36, Material.PAINT), *letters]


def _round_sign() -> list[Piece]:
    digits = [(_box((x - 0.05, x + 0.05), (0.22, 0.42), (-0.05, -0.03)), Material.DARK, 0) for x in (-0.08, 0.08)]
    return [*_disc(16, 0.32, 0.32, Material.WHITE), *digits]


def _panel() -> list[Piece]:
    """A direction sign with a few lines of writing."""
    writing = [
        (_box((-0.4, -0.4 + width), (up, up + 0.09), (-0.05, -0.03)), Material.WHITE, 0)
        for up, width in ((0.72, 0.6), (0.47, 0.75), (0.2, 0.5))
    ]
    return [(_box((-0.5, 0.5), (0, 1), (-0.03, 0.03)), Material.PAINT, 0), *writing]


def _traffic_light() -> list[Piece]:
    pieces: list[Piece] = [
        (_box((-0.17, 0.17), (0, 0.95), (-0.02, 0.2)), Material.DARK, 0),
        (_box((-0.27, 0.27), (-0.06, 1.02), (0.0, 0.02)), Material.DARK, 0),
    ]
    lamps = ((0.78, Material.RED_LAMP), (0.475, Material.AMBER_LAMP), (0.17, Material.GREEN_LAMP))
    pieces += [(_ball((0, up, -0.02), (0.11, 0.11, 0.04)), lamp, 0) for up, lamp in lamps]
    return pieces


def _post() -> list[Piece]:
    return [(_limb((0, 0, 0), (0, 1, 0), 0.5, 0.8, 6), Material.METAL, 0)]


def _lamp_post() -> list[Piece]:
    return [
        (_limb((0, 0, 0), (0, 8, 0), 0.09, 0.6), Material.METAL, 0),
        (_limb((0, 7.95, 0), (1.6, 8.3, 0), 0.05, 0.9), Material.METAL, 0),
        (_box((1.3, 2.1), (8.22, 8.36), (-0.14, 0.14)), Material.METAL, 0),
        (_box((1.4, 2.05), (8.17, 8.23), (-0.1, 0.1)), Material.AMBER_LAMP, 0),
    ]


def _pylon() -> list[Piece]:
    """A wooden pole with a cross-arm."""
    return [
        (_limb((0, 0, 0), (0, 8.5, 0), 0.14, 0.7), Material.SECOND, 0),
        (_box((-1.0, 1.0), (7.7, 7.85), (-0.06, 0.06)), Material.SECOND, 0),
    ]


def _delineator() -> list[Piece]:
    return [
        (_box((-0.06, 0.06), (0, 1.0), (-0.05, 0.05)), Material.WHITE, 0),
        (_box((-0.062, 0.062), (0.7, 0.88), (-0.052, 0.052)), Material.DARK, 0),
        (_box((-0.03, 0.03), (0.74, 0.84), (-0.056, 0.056)), Material.WHITE, 0),
    ]


def _rail() -> list[Piece]:
    """Four metres of crash barrier."""
    return [
        (_box((-0.04, 0.04), (0.45, 0.75), (-2, 2)), Material.METAL, 0),
        (_box((-0.06, 0.06), (0.5, 0.54), (-2, 2)), Material.METAL, 0),
        (_box((-0.06, 0.06), (0.66, 0.7), (-2, 2)), Material.METAL, 0),
        (_box((-0.05, 0.05), (0, 0.7), (-0.06, 0.06)), Material.DARK, 0),
    ]


def _wall() -> list[Piece]:
    return [
        (_box((-0.15, 0.15), (0, 0.9), (-2, 2)), Material.PAINT, 0),
        (_box((-0.2, 0.2), (0.9, 1.0), (-2, 2)), Material.SECOND, 0),
    ]


def _fence() -> list[Piece]:
    rails: list[Piece] = [
        (_box((-0.03, 0.03), (up, up + 0.1), (-2, 2)), Material.SECOND, 0) for up in (0.4, 0.75, 1.05)
    ]
    return rails + [(_box((-0.06, 0.06), (0, 1.2), (z - 0.06, z + 0.06)), Material.SECOND, 0) for z in (-1.9, 0.1)]


def _gantry() -> list[Piece]:
    """Poles and beam over one carriageway, 1 x 1: its panels are things of their own."""
    return [
        (_box((-0.5, -0.485), (0, 1), (-0.5, 0.5)), Material.METAL, 0),
        (_box((0.485, 0.5), (0, 1), (-0.5, 0.5)), Material.METAL, 0),
        (_box((-0.5, 0.5), (0.88, 1), (-0.5, 0.5)), Material.METAL, 0),
    ]


def _bonnet() -> list[Piece]:
    """What a driver sees of the own car: stations (z, height, half width)."""
    stations = [(0.0, 0.9, 0.8), (0.35, 0.9, 0.79), (0.75, 0.85, 0.76), (1.0, 0.78, 0.7), (1.15, 0.66, 0.6)]
    across = np.linspace(-1, 1, 9)
    rings = [
        [(half * a, -height + 0.05 * a**2, z) for a in across] + [(half, 0.0, z), (-half, 0.0, z)]
        for z, height, half in stations
    ]
    return [(_loft(rings), Material.PAINT, 0)]


def _block() -> list[Piece]:
    return [(_box((-0.5, 0.5), (0, 1), (-0.5, 0.5)), Material.PAINT, 0)]


def _house() -> list[Piece]:
    """A gable towards the road, the ridge across it."""
    eaves = 0.62
    walls = _box((-0.5, 0.5), (0, eaves), (-0.5, 0.5))
    ridge = [(-0.52, -1, 0), (0.52, -1, 0)]
    slopes = [[ridge[0], ridge[1], (0.54, -eaves + 0.03, z), (-0.54, -eaves + 0.03, z)] for z in (-0.56, 0.56)]
    gables = np.array([[(x, -eaves, -0.5), (x, -1, 0), (x, -eaves, 0.5)] for x in (-0.5, 0.5)], dtype=float)
    return [(walls, Material.PAINT, 0), (_outward_x(gables), Material.PAINT, 0), (_upward(slopes), Material.SECOND, 0)]


_BUILDERS: dict[str, Callable[[], list[Piece]]] = {
    "hatchback": _hatchback,
    "saloon": _saloon,
    "suv": _suv,
    "van": _van,
    "lorry": _lorry,
    "bus": _bus,
    "motorcycle": _motorcycle,
    "bicycle": _bicycle,
    "person": _person,
    "stop sign": _stop_sign,
    "round sign": _round_sign,
    "panel": _panel,
    "traffic light": _traffic_light,
    "post": _post,
    "lamp post": _lamp_post,
    "pylon": _pylon,
    "delineator": _delineator,
    "rail": _rail,
    "wall": _wall,
    "fence": _fence,
    "gantry": _gantry,
    "bonnet": _bonnet,
    "block": _block,
    "house": _house,
}
MODELS = tuple(_BUILDERS)
_SOLIDS: dict[str, list[list[list[float]]]] = {
    "gantry": [
        [[-0.5, -1, -0.5], [-0.485, 0, 0.5]],
        [[0.485, -1, -0.5], [0.5, 0, 0.5]],
        [[-0.5, -1, -0.5], [0.5, -0.88, 0.5]],
    ],
    "lamp post": [[[-0.5, -0.95, -0.3], [-0.43, 0, 0.3]], [[-0.45, -1, -0.5], [0.5, -0.95, 0.5]]],
    "pylon": [[[-0.06, -1, -0.5], [0.06, 0, 0.5]], [[-0.5, -0.92, -0.2], [0.5, -0.9, 0.2]]],
    "rail": [[[-0.5, -1, -0.5], [0.5, -0.6, 0.5]]],
    "broadleaf": [[[-0.03, -0.4, -0.03], [0.03, 0, 0.03]], [[-0.36, -0.92, -0.36], [0.36, -0.36, 0.36]]],
    "poplar": [[[-0.03, -0.3, -0.03], [0.03, 0, 0.03]], [[-0.3, -0.95, -0.3], [0.3, -0.2, 0.3]]],
    "conifer": [
        [[-0.02, -0.1, -0.02], [0.02, 0, 0.02]],
        [[-0.36, -0.4, -0.36], [0.36, -0.08, 0.36]],
        [[-0.2, -0.85, -0.2], [0.2, -0.4, 0.2]],
    ],
    "bush": [[[-0.4, -0.75, -0.4], [0.4, 0, 0.4]]],
}
"""Of models that do not fill their box (trees: the cards of `textures`): what of it stops a look."""


@cache
def model(name: str) -> Model:
    """Build a model; the same array is handed out each time."""
    pieces = _BUILDERS[name]()
    corners = np.concatenate([p[0] for p in pieces])
    low, high = corners.min(axis=(0, 1)), corners.max(axis=(0, 1))
    size = np.maximum(high - low, 1e-6)
    unit = (corners - (low + high) / 2) / size - [0, 0.5, 0]
    # A thing that is stretched keeps its faces but not its angles: normals are those of the unit box, stretched back.
    rows = np.concatenate(
        [
            unit,
            _smooth_normals(corners) * size,
            np.repeat([[m, limb] for t, m, limb in pieces for _ in t], 3, axis=0).reshape(-1, 3, 2),
        ],
        axis=2,
    )
    return Model(rows.reshape(-1, 8).astype(np.float32), _outline(unit.reshape(-1, 3)))


def solids(name: str) -> Floats:
    """Boxes (n, 2, 3), two opposite corners each, in the unit box of a model, through which one does not see."""
    return np.array(_SOLIDS.get(name, [[[-0.5, -1, -0.5], [0.5, 0, 0.5]]]))


def _smooth_normals(corners: Triangles) -> Floats:
    """Unit normals (m, 3, 3) at corners, averaged over faces that meet there at less than 40 degrees."""
    faces = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    faces /= np.maximum(np.linalg.norm(faces, axis=1, keepdims=True), 1e-12)
    own = np.repeat(faces, 3, axis=0)
    _, place = np.unique(np.round(corners.reshape(-1, 3), 4), axis=0, return_inverse=True)
    order = np.argsort(place, kind="stable")
    normals = np.empty_like(own)
    for rows in np.split(order, np.flatnonzero(np.diff(place[order])) + 1):
        meet = own[rows]
        normals[rows] = np.where(meet @ meet.T > _SMOOTH_COSINE, 1.0, 0.0) @ meet
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
    return normals.reshape(-1, 3, 3)


@cache
def nominal_size_m(name: str) -> tuple[float, float, float]:
    """Width, height and length of a model as it was drawn."""
    corners = np.concatenate([p[0] for p in _BUILDERS[name]()])
    width, height, length = (corners.max(axis=(0, 1)) - corners.min(axis=(0, 1))).tolist()
    return width, height, length


def _outline(points: Floats) -> Floats:
    """Farthest points in directions all around."""
    k = np.arange(_DIRECTIONS) + 0.5
    up, turn = 1 - 2 * k / _DIRECTIONS, k * np.pi * (3 - np.sqrt(5))
    around = np.sqrt(1 - up**2)
    directions = np.stack([around * np.cos(turn), up, around * np.sin(turn)])
    outermost = np.unique((points @ directions).argmax(axis=0))
    return np.asarray(points[outermost])
