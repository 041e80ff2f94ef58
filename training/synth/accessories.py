"""What people wear on their heads: glasses, hats, scarves and masks, fitted to each person's own head.

Everything is built in the head frame (x to the person's right, y down, z out of the face, origin midway between the
eyes) from landmarks that are found by rule on the mean head and read off the same vertices of the person, and is kept
outside the skin.

Glasses follow the boxing system (ISO 8624): lens width A, height B, distance between lenses; back vertex distance 12 to
14 mm, pantoscopic tilt 8 deg, wrap 5 deg. A lens is a single sheet that faces out; `opacity` is the share of the light
from behind that it holds back: clear 0.03 to 0.09, tinted 0.3 to 0.5, sunglasses 0.75 to 0.93. The dyes of most
sunglasses let light of 850 to 940 nm through (0.08 to 0.35 is held back); mirrored ones and a few others do not (0.5 to
0.9). `eyewear(..., infrared=True)` gives the lenses of an infrared picture.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import ConvexHull, cKDTree

from dashgaze.training.synth.body import Body, Posture
from dashgaze.training.synth.records import Mesh, Part, Person, Rgb, Surface

Array = NDArray[np.floating[Any]]
Triangles = NDArray[np.int32]
Rng = np.random.Generator

CORNEA_MM = 12.5
"""How far the front of the eye lies before its centre."""
FURTHEST_MM = 30.0
"""Where a lens is before the eye's centre at most, on a face that pushes it forward."""
PANTOSCOPIC_DEG = 8.0
WRAP_DEG = 5.0
BASE_CURVE_MM = 88.0
OUTLINE_POINTS = 48
BESIDE_MM = 15.0
"""A point whose nearest vertex of the skin is so far off along the skin is not under it."""

ROUND = "round"
OUTLINES: dict[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "oval": (
        (1, 0.72, 0, -0.72, -1, -0.72, 0, 0.72),
        (0, 0.7, 1, 0.7, 0, -0.7, -1, -0.7),
    ),
    ROUND: (
        (1, 0.707, 0, -0.707, -1, -0.707, 0, 0.707),
        (0, 0.707, 1, 0.707, 0, -0.707, -1, -0.707),
    ),
    "rectangular": (
        (1, 0.97, 0.8, 0, -0.75, -0.94, -1, -0.97, -0.8, 0, 0.85, 1),
        (0, 0.72, 0.97, 1, 0.93, 0.6, -0.1, -0.8, -0.98, -1, -0.97, -0.75),
    ),
    "wayfarer": (
        (0.96, 0.82, 0.5, 0, -0.5, -0.82, -0.94, -0.98, -0.8, 0, 0.85, 1.05),
        (0.1, 0.72, 0.96, 1, 0.94, 0.62, 0, -0.7, -0.97, -1, -1, -0.8),
    ),
    "aviator": (
        (0.98, 0.86, 0.5, 0.05, -0.45, -0.8, -0.97, -0.88, -0.4, 0.3, 0.8, 1),
        (-0.1, 0.55, 0.95, 1.02, 0.78, 0.3, -0.3, -0.82, -0.98, -1, -0.92, -0.6),
    ),
    "cat_eye": (
        (0.95, 0.78, 0.4, -0.1, -0.6, -0.92, -0.97, -0.8, -0.2, 0.5, 1.02, 1.12),
        (-0.1, 0.62, 0.95, 1, 0.84, 0.35, -0.3, -0.82, -0.92, -1.02, -1.1, -0.85),
    ),
}
"""Knots of lens outlines in a box of -1 to 1: outward, and downward."""

ACETATES: tuple[Rgb, ...] = (
    (0.012, 0.012, 0.013),  # black
    (0.055, 0.024, 0.010),  # tortoiseshell
    (0.14, 0.06, 0.02),  # amber
    (0.02, 0.025, 0.06),  # navy
    (0.11, 0.012, 0.015),  # burgundy
    (0.32, 0.32, 0.31),  # crystal
    (0.06, 0.065, 0.07),  # grey
)
METALS: tuple[Rgb, ...] = (
    (0.16, 0.16, 0.16),  # steel
    (0.20, 0.13, 0.045),  # gold
    (0.20, 0.11, 0.075),  # rose gold
    (0.03, 0.03, 0.033),  # gunmetal
    (0.012, 0.012, 0.012),  # black
)
TINTS: tuple[Rgb, ...] = (
    (0.012, 0.012, 0.013),  # grey
    (0.026, 0.013, 0.006),  # brown
    (0.009, 0.016, 0.009),  # green
    (0.008, 0.013, 0.030),  # blue
    (0.040, 0.014, 0.014),  # rose
    (0.050, 0.034, 0.006),  # yellow
)
"""What a dyed lens itself scatters."""

CLOTHS: tuple[Rgb, ...] = (
    (0.012, 0.012, 0.013),
    (0.02, 0.03, 0.08),
    (0.09, 0.09, 0.095),
    (0.33, 0.32, 0.31),
    (0.68, 0.67, 0.64),
    (0.35, 0.025, 0.03),
    (0.03, 0.10, 0.055),
    (0.42, 0.30, 0.19),
    (0.05, 0.13, 0.30),
    (0.50, 0.20, 0.24),
    (0.18, 0.09, 0.20),
    (0.55, 0.38, 0.06),
)


class HeadSurface:
    """A person's skin and clothes as something to stay outside of: the driver sits upright and looks ahead."""

    def __init__(self, body: Body, ears: bool = False, lowest_mm: float = 420.0) -> None:
        """With `ears`, the outer ear counts too."""
        posed = body.pose(Posture())
        skin, clothes = posed.skin, posed.clothes
        kept = (body.masks["inside_mouth"] < 0.1) & (body.masks["clothes"] < 0.5)
        if not ears:
            kept &= (body.masks["ears"] < 0.4) | (np.abs(body.neutral_mm[:, 0]) < 72)
        vertices = np.concatenate([skin.vertices_mm[kept], clothes.vertices_mm])
        normals = np.concatenate([skin.normals[kept], clothes.normals])
        near = (vertices[:, 1] < lowest_mm) & (np.abs(vertices[:, 0]) < 260)
        self._vertices, self._normals = vertices[near], normals[near]
        self._tree = cKDTree(self._vertices)

    def above(self, points_mm: Array) -> tuple[Array, Array]:
        """Height above the skin (n,), negative inside, and the skin's normals (n, 3) there."""
        away, index = self._tree.query(points_mm)
        offset, normals = points_mm - self._vertices[index], self._normals[index]
        height = (offset * normals).sum(1)
        beside = away**2 - height**2 > BESIDE_MM**2  # past the edge of a garment, not below it
        height = np.where(beside, away, height)
        normals = np.where(beside[:, None], offset / np.maximum(away, 1e-6)[:, None], normals)
        return height.astype(np.float32), normals.astype(np.float32)

    def pushed_out(self, points_mm: Array, clearance_mm: float) -> Array:
        """Points (..., 3) moved along the normal to lie at least `clearance_mm` above the skin."""
        flat = np.asarray(points_mm, np.float32).reshape(-1, 3)
        height, normals = self.above(flat)
        moved = flat + normals * np.maximum(clearance_mm - height, 0)[:, None]
        return np.asarray(moved.reshape(np.shape(points_mm)), np.float32)


class Fit:
    """Landmarks of a person's head, millimetres in the head frame."""

    def __init__(self, body: Body) -> None:
        mean, rest, masks = body.neutral_mm, body.rest_mm, body.masks
        x, y, z = mean.T
        skin = masks["inside_mouth"] < 0.1
        middle = skin & (np.abs(x) < 3)

        def lowest(where: NDArray[np.bool_], value: Array) -> Array:
            index = np.flatnonzero(where)
            return np.asarray(rest[index[value[index].argmin()]], np.float32)

        self.crown_mm = lowest(middle, y)
        self.nose_tip_mm = lowest(middle & (y > 20) & (y < 50), -z)
        self.bridge_mm = lowest(middle & (y > -8) & (y < 12), z)
        self.brow_mm = float(lowest(middle & (y > -35) & (y < -10), np.abs(y + 22))[1])
        """Height of the brows."""
        self.chin_mm = lowest(middle & (y > 85) & (y < 125) & (z > -10), -y)
        self.back_mm = lowest(middle & (y < 20), z)
        self.knot_mm = self.back_mm + np.array([0, -28, -2], np.float32)
        ear = skin & (masks["ears"] > 0.4)
        self.ear_top_mm = np.stack([lowest(ear & (side * x > 60), y) for side in (-1, 1)])
        self.ear_back_mm = np.stack([lowest(ear & (side * x > 60), z) for side in (-1, 1)])
        self.ear_low_mm = np.stack([lowest(ear & (side * x > 60), -y) for side in (-1, 1)])
        top = float(y[ear].min())
        scalp = skin & (masks["ears"] < 0.05) & (np.abs(x) > 50)
        self.ear_root_mm = np.stack(
            [lowest(scalp & (side * x > 0), np.hypot(y - (top - 1), z + 72)) for side in (-1, 1)]
        )
        """Where a temple rests: on the skull right above the ear."""
        cheek = skin & (np.abs(y - 15) < 6) & (z > -45) & (masks["ears"] < 0.05)
        self.half_face_mm = float(np.abs(rest[cheek, 0]).max())


def vertex_normals(vertices: Array, triangles: NDArray[np.integer]) -> Array:
    """Unit normals (n, 3): sum of the neighbouring triangles' area vectors."""
    a, b, c = (vertices[triangles[:, k]] for k in range(3))
    face = np.cross(b - a, c - a)
    total = np.zeros((len(vertices), 3))
    for axis in range(3):
        for corner in range(3):
            total[:, axis] += np.bincount(triangles[:, corner], face[:, axis], len(vertices))
    return np.asarray(total / np.maximum(np.linalg.norm(total, axis=1, keepdims=True), 1e-9), np.float32)


# ---------------------------------------------------------------------------------------------------------------------
# Glasses


@dataclass(frozen=True, slots=True)
class Frame:
    """A model of glasses."""

    outline: str
    lens_mm: tuple[float, float]
    """A and B: width and height of a lens."""
    between_mm: float
    """Distance between the lenses."""
    rim_mm: tuple[float, float]
    """Breadth and depth of the rim; breadth 0 for rimless."""
    half_rim: bool
    pads: bool
    temple_mm: float
    """Height of the temples at the front."""
    frame: Surface
    lens: Surface
    lens_infrared: Surface


def frame_of(person: Person) -> Frame | None:
    """The glasses of this person; None for someone who wears none."""
    if person.eyewear == "none":
        return None
    rng = np.random.default_rng([person.eyewear_seed, 711])
    sun = person.eyewear == "sunglasses"
    names = tuple(OUTLINES)
    odds = np.array((0.08, 0.12, 0.2, 0.28, 0.24, 0.08) if sun else (0.14, 0.18, 0.38, 0.16, 0.06, 0.08))
    if person.male > 0.5:
        odds[-1] *= 0.1
    outline = str(rng.choice(names, p=odds / odds.sum()))
    ratio = dict(zip(names, (0.74, 0.98, 0.66, 0.80, 0.88, 0.72), strict=True))[outline] * rng.uniform(0.92, 1.08)
    width = rng.uniform(46, 49) if outline == ROUND else rng.uniform(49, 54)
    width += rng.uniform(2, 6) if sun else 0
    width *= (person.ipd_mm / 63.5) ** 0.7
    between = float(np.clip(person.ipd_mm + rng.uniform(1, 5) - width, 14, 23))
    metal = outline == "aviator" or rng.random() < (0.35 if sun else 0.5)
    kind = rng.random()
    half_rim = not sun and metal and kind < 0.2
    rimless = metal and not half_rim and kind > (0.9 if sun else 0.82)
    if metal:
        rim = (0.0, 0.0) if rimless else (rng.uniform(1.1, 1.9), rng.uniform(1.4, 2.2))
        surface = Surface(_pick(METALS, rng), 0.45, roughness=0.25, specular=0.35)
        temple = rng.uniform(1.4, 3.5)
    else:
        rim = (rng.uniform(2.4, 5.2), rng.uniform(2.8, 4.2))
        colour = _pick(ACETATES, rng)
        # Pigments and dyes of black acetate are partly clear to infrared light
        surface = Surface(colour, float(np.clip(max(colour) + rng.uniform(0.02, 0.25), 0, 0.5)), 0.28, 0.045)
        temple = rng.uniform(4, 9) + (3 if sun else 0)
    lens, lens_infrared = _lens_surfaces(person, rng)
    return Frame(
        outline,
        (width, width * ratio),
        between,
        rim,
        half_rim,
        pads=metal or rng.random() < 0.25,
        temple_mm=temple,
        frame=surface,
        lens=lens,
        lens_infrared=lens_infrared,
    )


def _lens_surfaces(person: Person, rng: Rng) -> tuple[Surface, Surface]:
    """A lens as visible and as infrared light meets it."""
    tint = _pick(TINTS[:4] if person.eyewear == "sunglasses" else TINTS, rng)
    coated, mirrored, blocks = rng.random(3) < (0.65, 0.15, 0.15)
    if person.eyewear == "clear":
        specular = 0.012 if coated else 0.04
        clear = Surface((0.03, 0.03, 0.03), 0.03, 0.05, specular, rng.uniform(0.03, 0.09))
        return clear, replace(clear, specular=0.04)
    specular = rng.uniform(0.15, 0.4) if mirrored and person.eyewear == "sunglasses" else 0.045
    held_back = rng.uniform(0.3, 0.5) if person.eyewear == "tinted" else rng.uniform(0.75, 0.93)
    infrared = rng.uniform(0.5, 0.9) if blocks or specular > 0.1 else rng.uniform(0.08, 0.35)
    visible = Surface(tint, 0.02, 0.05, specular, held_back)
    return visible, replace(visible, opacity=min(infrared, held_back))


def eyewear(person: Person, body: Body, infrared: bool = False) -> list[Mesh]:
    """Frame, left lens, right lens (and nose pads): meshes of part GLASSES in the head frame; [] without glasses.

    With `infrared`, the lenses are as dark as an infrared camera sees them.
    """
    model = frame_of(person)
    if model is None:
        return []
    fit, surface = Fit(body), HeadSurface(body)
    rng = np.random.default_rng([person.eyewear_seed, 712])
    centre = np.array([(model.lens_mm[0] + model.between_mm) / 2, rng.uniform(1.5, 5.0), 0.0])
    centre[2] = CORNEA_MM + rng.uniform(11.5, 13.5)
    outline = _outline(model.outline) * np.array(model.lens_mm) / 2
    for _ in range(4):  # forward until neither rim nor lens touches the face
        border = np.concatenate([_on_lens(outline * scale, centre, 1) for scale in (1.0, 0.6)])
        depth = model.rim_mm[1] / 2 + 0.8
        height = min(surface.above(border)[0].min(), surface.above(border * [-1, 1, 1])[0].min()) - depth
        if height >= 0:
            break
        centre[2] = min(centre[2] + max(-height, 0.4), FURTHEST_MM + 0.01)
    else:
        centre[0] += min(-height, 2.5)  # a broad nose needs a broad bridge
    parts: list[tuple[Array, Triangles]] = []
    lenses = []
    for side in (-1, 1):  # left, right
        parts += _rim(model, outline, centre, side)
        parts.append(_temple(model, outline, centre, side, fit, surface))
        lenses.append(_lens(outline, centre, side, model.lens_infrared if infrared else model.lens))
    parts.append(_bridge(model, outline, centre, surface))
    meshes = [_mesh(parts, model.frame, Part.GLASSES), *lenses]
    if model.pads:
        clear = Surface((0.75, 0.74, 0.70), 0.7, 0.2, 0.04, 0.45)
        meshes.append(_mesh([_pad(side, fit, surface) for side in (-1, 1)], clear, Part.GLASSES))
    return meshes


def _outline(name: str) -> Array:
    """(OUTLINE_POINTS, 2): outward, down; a closed Catmull-Rom curve."""
    knots = np.array(OUTLINES[name], float).T
    n = len(knots)
    place = np.arange(OUTLINE_POINTS) / OUTLINE_POINTS * n
    i = place.astype(int)
    u = (place - i)[:, None]
    a, b, c, d = (knots[(i + j) % n] for j in (-1, 0, 1, 2))
    curve = 0.5 * (2 * b + (c - a) * u + (2 * a - 5 * b + 4 * c - d) * u**2 + (3 * b - a - 3 * c + d) * u**3)
    return np.asarray(curve)


def _on_lens(outward_down: Array, centre: Array, side: int) -> Array:
    """Points (n, 2) of the lens' box, put on its tilted, wrapped and curved surface: (n, 3) in the head frame."""
    out, down = outward_down.T
    z = -down * np.tan(np.radians(PANTOSCOPIC_DEG)) - out * np.tan(np.radians(WRAP_DEG))
    z = z - (out**2 + down**2) / (2 * BASE_CURVE_MM)
    return np.stack([side * (centre[0] + out), centre[1] + down, centre[2] + z], 1)


def _lens(outline: Array, centre: Array, side: int, surface: Surface) -> Mesh:
    scales = (0.0, 0.35, 0.7, 1.0)
    points = np.concatenate(
        [_on_lens(outline[:1] * 0, centre, side)] + [_on_lens(outline * scale, centre, side) for scale in scales[1:]]
    )
    n = len(outline)
    ring = np.arange(n)
    following = (ring + 1) % n
    triangles = [np.stack([0 * ring, 1 + ring, 1 + following], 1)]
    for k in range(len(scales) - 2):
        a, b = 1 + k * n + ring, 1 + k * n + following
        triangles += [np.stack([a, a + n, b + n], 1), np.stack([a, b + n, b], 1)]
    faces = np.concatenate(triangles).astype(np.int32)
    if side > 0:
        faces = faces[:, ::-1]
    return _mesh([_facing((points, faces), np.array([0, 0, 1.0]))], surface, Part.GLASSES)


def _rim(model: Frame, outline: Array, centre: Array, side: int) -> list[tuple[Array, Triangles]]:
    breadth, depth = model.rim_mm
    if breadth == 0:
        return []
    outward = outline / np.linalg.norm(outline, axis=1, keepdims=True)
    path = outline + outward * breadth * 0.4
    closed = not model.half_rim
    if model.half_rim:
        first = OUTLINE_POINTS // 4  # the lowest point
        path = np.roll(path, -first, 0)[np.roll(outline[:, 1] < 0.06 * model.lens_mm[1], -first)]
    return [_tube(_on_lens(path, centre, side), breadth / 2, depth / 2, np.array([0, 0, 1.0]), closed)]


def _hinge(model: Frame, outline: Array, centre: Array, side: int) -> Array:
    """Where the temple begins: high on the outer edge of the lens."""
    corner = outline[np.argmax(outline @ [1.0, -0.45])]
    return np.asarray(_on_lens(corner[None] + [max(model.rim_mm[0], 1.0), 0.5], centre, side)[0])


def _temple(
    model: Frame, outline: Array, centre: Array, side: int, fit: Fit, surface: HeadSurface
) -> tuple[Array, Triangles]:
    start = _hinge(model, outline, centre, side)
    rest = fit.ear_root_mm[(side + 1) // 2] + np.array([side * 2.0, -0.5, 0])
    out = np.array([side, 0, 0])
    path = np.array(
        [
            start,
            start + out * 2.5 + [0, 0, -2.5],
            0.72 * start + 0.28 * rest + out * 3,
            0.4 * start + 0.6 * rest + out * 3,
            rest + out * 0.5 + [0, 0, 14],
            rest,
            rest - out * 2 + [0, 7, -12],
            rest - out * 4 + [0, 22, -17],
            rest - out * 6 + [0, 33, -18],
        ]
    )
    path = _smooth_path(path, 36)
    path[4:] = surface.pushed_out(path[4:], 1.4)
    t = np.linspace(0, 1, len(path))
    tall = np.interp(t, [0, 0.3, 0.75, 1], [model.temple_mm, 0.85 * model.temple_mm, 2.8, 3.2]) / 2
    thick = 0.7 if model.rim_mm[0] < 2.2 else 1.2
    return _tube(path, np.maximum(tall, 0.7), thick, out.astype(float), closed=False)


def _bridge(model: Frame, outline: Array, centre: Array, surface: HeadSurface) -> tuple[Array, Triangles]:
    """Between the lenses, arched forward over the nose."""
    inner = outline[np.argmin(outline @ [1.0, 0.55])]
    end = _on_lens(inner[None] - [0.4 * model.rim_mm[0], 0], centre, 1)[0]
    x = np.linspace(-1, 1, 13)
    arch = 1 - x**2
    rise = 2.0 if model.rim_mm[0] < 2.2 else 0.6
    points = np.stack([x * end[0], end[1] - rise * arch, end[2] + 2.2 * arch], 1)
    breadth = 0.8 if model.rim_mm[0] < 2.2 else max(2.2, 0.55 * model.rim_mm[0])
    depth = max(model.rim_mm[1] / 2, 0.8)
    points[:, 2] += arch * max(0.0, float((depth + 0.8 - surface.above(points)[0]).max()))
    return _tube(points, breadth, depth, np.array([0, 0, 1.0]), closed=False)


def _pad(side: int, fit: Fit, surface: HeadSurface) -> tuple[Array, Triangles]:
    """An oval of 10 x 5 mm that lies on the side of the nose."""
    middle = fit.bridge_mm + np.array([side * 9.5, 7.0, -1.0])
    middle = surface.pushed_out(middle[None], 1.1)[0]
    normal = surface.above(middle[None])[1][0]
    long = np.array([0.25 * side, 1.0, -0.2])
    long = long - normal * (long @ normal)
    long /= np.linalg.norm(long)
    short = np.cross(normal, long)
    u, v = np.meshgrid(np.linspace(0, np.pi, 7), np.linspace(0, 2 * np.pi, 12, endpoint=False), indexing="ij")
    ball = np.stack([np.cos(u), np.sin(u) * np.cos(v), np.sin(u) * np.sin(v)], -1)
    points = middle + 5.0 * ball[..., :1] * long + 2.6 * ball[..., 1:2] * short + 0.7 * ball[..., 2:] * normal
    return _outward((points.reshape(-1, 3), _grid_triangles(7, 12, wrap=True)))


# ---------------------------------------------------------------------------------------------------------------------
# Hats, scarves, masks


@dataclass(frozen=True, slots=True)
class _Brim:
    """The plane in which a hat ends: y = `front_mm` at the forehead, falling to the back."""

    front_mm: float
    forehead_mm: float
    slope: float

    def y_mm(self, z_mm: Array) -> Array:
        return np.asarray(self.front_mm + self.slope * (self.forehead_mm - z_mm))


def under_headwear(person: Person, body: Body, points_mm: Array) -> NDArray[np.bool_]:
    """Which points (n, 3) of the head frame a hat or headscarf hides."""
    if person.headwear == "none":
        return np.zeros(len(points_mm), bool)
    if person.headwear == "headscarf":
        return np.ones(len(points_mm), bool)
    edge = _brim(person, Fit(body))
    return np.asarray(points_mm[:, 1] < edge.y_mm(points_mm[:, 2]) - 3.0)


def headwear(person: Person, body: Body) -> list[Mesh]:
    """Cap, beanie or headscarf: meshes of part COVER in the head frame; [] without."""
    if person.headwear == "none":
        return []
    rng = np.random.default_rng([person.seed, 713])
    fit = Fit(body)
    match person.headwear:
        case "cap":
            return _cap(person, body, fit, rng)
        case "beanie":
            return _beanie(person, body, fit, rng)
        case _:
            return _headscarf(body, fit, rng)


def face_mask(person: Person, body: Body) -> list[Mesh]:
    """Mask from the bridge of the nose to below the chin, and its ear loops; [] without."""
    if not person.face_mask:
        return []
    rng = np.random.default_rng([person.seed, 714])
    fit = Fit(body)
    surgical = rng.random() < 0.65
    palette: tuple[Rgb, ...] = ((0.42, 0.62, 0.74), (0.72, 0.74, 0.74), (0.72, 0.74, 0.74), (0.02, 0.02, 0.02))
    colour = _pick(palette if surgical else CLOTHS, rng)
    cloth = _cloth(colour, rng)
    points, pleats = _mask_grid(body, fit, surgical, rng)
    rows, columns, _ = points.shape
    sheet = _facing((points.reshape(-1, 3), _grid_triangles(rows, columns, wrap=False)), np.array([0, 0.2, 1.0]))
    loops = []
    surface = HeadSurface(body)
    for side in (-1, 1):
        ear = (side + 1) // 2
        edge = points[:, -1 if side > 0 else 0]
        top, low = edge[1], edge[-5]
        over = fit.ear_root_mm[ear] + [side * 1.5, 2, 6]
        back = fit.ear_back_mm[ear] + [-side * 5.0, 0, -1]
        under = fit.ear_low_mm[ear] + [-side * 6.0, -4, -2]
        loops += [np.array([top, 0.5 * (top + over), over, back]), np.array([low, 0.5 * (low + under), under, back])]
    tubes = [
        _tube(surface.pushed_out(_smooth_path(loop, 18), 1.0), 1.0, 0.8, np.array([0.3, 0, 1.0]), closed=False)
        for loop in loops
    ]
    shade = np.repeat(pleats.reshape(-1, 1), 3, 1).astype(np.float32)
    white = Surface((0.7, 0.7, 0.7), 0.7, 0.8) if surgical else cloth
    return [_mesh([sheet], cloth, Part.COVER, shade), _mesh(tubes, white, Part.COVER)]


def _cloth(colour: Rgb, rng: Rng) -> Surface:
    """Textiles, also black ones, are mostly bright in infrared light."""
    infrared = float(np.clip(0.25 + 0.5 * max(colour) + rng.uniform(-0.15, 0.35), 0.08, 0.85))
    return Surface(colour, infrared, roughness=0.85, specular=0.025)


def _brim(person: Person, fit: Fit) -> _Brim:
    rng = np.random.default_rng([person.seed, 715])
    low = rng.uniform(0.28, 0.5)
    front = fit.brow_mm + low * (fit.crown_mm[1] - fit.brow_mm)
    ear_y = float(fit.ear_top_mm[:, 1].mean())
    ear_z = float(fit.ear_root_mm[:, 2].mean())
    at_ear = ear_y - rng.uniform(10, 18) if person.headwear == "cap" else ear_y + rng.uniform(-6, 14)
    forehead = 18.0
    return _Brim(front, forehead, max((at_ear - front) / (forehead - ear_z), 0.08))


class _Hull:
    """Taut cloth: the convex hull of points, blown up by a margin, seen from inside."""

    def __init__(self, points: Array, centre: Array, margin_mm: float) -> None:
        planes = ConvexHull(points[::3] - centre).equations.astype(np.float32)
        self._normals, self._offsets = planes[:, :3], margin_mm - planes[:, 3]
        self.centre = centre

    def reach(self, directions: Array) -> Array:
        """Distance (n,) from the centre to the cloth along unit directions (n, 3)."""
        nearness = directions.astype(np.float32) @ (self._normals / self._offsets[:, None]).T
        return np.asarray(1 / np.maximum(nearness.max(1), 1e-4))


def _directions(azimuth: Array, elevation: Array) -> Array:
    """Unit vectors; azimuth from the face to the person's right, elevation upwards, radians."""
    return np.stack([np.cos(elevation) * np.sin(azimuth), -np.sin(elevation), np.cos(elevation) * np.cos(azimuth)], -1)


def _dome(person: Person, body: Body, fit: Fit, margin_mm: float, rows: int, columns: int) -> tuple[Array, Array]:
    """Cloth over the skull from a hat's edge to its top: points (rows, columns, 3) and azimuths (columns,)."""
    height, ahead = body.neutral_mm[:, 1], body.neutral_mm[:, 2]
    skull = (body.masks["ears"] < 0.05) & (height < np.where(ahead < -95, 75, 5))
    centre = np.array([0, -25, fit.ear_root_mm[:, 2].mean()])
    hull = _Hull(body.rest_mm[skull], centre, margin_mm)
    azimuth = np.linspace(-np.pi, np.pi, columns, endpoint=False)
    edge = _brim(person, fit)
    steps = np.radians(np.linspace(-45, 75, 31))
    a, e = np.meshgrid(azimuth, steps)
    rays = _directions(a, e)
    found = centre + rays * hull.reach(rays.reshape(-1, 3)).reshape(a.shape)[..., None]
    inside = found[..., 1] < edge.y_mm(found[..., 2])
    first = inside.argmax(0)
    gap = found[..., 1] - edge.y_mm(found[..., 2])
    column = np.arange(columns)
    above, below = gap[first, column], gap[np.maximum(first - 1, 0), column]
    share = np.clip(below / np.maximum(below - above, 1e-6), 0, 1)
    low = steps[np.maximum(first - 1, 0)] + share * (steps[1] - steps[0])
    t = np.linspace(0, 1, rows)[:, None]
    elevation = low + t * (np.radians(89.9) - low)
    rays = _directions(np.broadcast_to(azimuth, elevation.shape), elevation)
    reach = hull.reach(rays.reshape(-1, 3)).reshape(elevation.shape)
    reach[-1] = reach[-2].mean()
    for _ in range(3):
        reach[1:-1] = 0.5 * reach[1:-1] + 0.25 * (reach[2:] + reach[:-2])
        reach = 0.5 * reach + 0.25 * (np.roll(reach, 1, 1) + np.roll(reach, -1, 1))
    return np.asarray(centre + rays * reach[..., None]), azimuth


def _cap(person: Person, body: Body, fit: Fit, rng: Rng) -> list[Mesh]:
    rows, columns = 18, 72
    points, azimuth = _dome(person, body, fit, 6.0, rows, columns)
    t = np.linspace(0, 1, rows)[:, None]
    front = np.clip(np.cos(azimuth), 0, 1) ** 2
    points[..., 1] -= rng.uniform(4, 12) * np.sin(t * np.pi / 2) * (0.6 + 0.4 * front)
    points[..., 2] += rng.uniform(2, 8) * front * np.sin(t * np.pi)
    shade = np.ones((rows, columns, 3), np.float32)
    seam = np.abs((np.degrees(azimuth) + 30) % 60 - 30) < 3.5
    shade *= np.where(seam, 0.6, 1.0)[None, :, None]
    shade[0] *= 0.7
    if rng.random() < 0.6:  # a badge on the front
        badge = (np.abs(azimuth)[None] < 0.32) & (np.abs(t - 0.36) < 0.17)
        shade[badge] = np.array(_pick(CLOTHS, rng)) / 0.1
    colour = _pick(CLOTHS, rng)
    dome = _outward((points.reshape(-1, 3), _grid_triangles(rows, columns, wrap=True)))
    brim_colour = colour if rng.random() < 0.7 else _pick(CLOTHS, rng)
    surface = _cloth(colour, rng)
    shade = np.minimum(shade, 0.85 / max(colour))
    peak = _peak(points[0], azimuth, fit, rng)
    top = points[-1].mean(0)
    button = _ball(top, np.array([6.5, 3.0, 6.5]))
    return [
        _mesh([dome], surface, Part.COVER, shade.reshape(-1, 3)),
        _mesh([peak], _cloth(brim_colour, rng), Part.COVER),
        _mesh([button], surface, Part.COVER),
    ]


def _peak(edge: Array, azimuth: Array, fit: Fit, rng: Rng) -> tuple[Array, Triangles]:
    """The peak of a cap: a curved board that stands out of its front edge."""
    width = np.radians(68)
    own = np.flatnonzero(np.abs(azimuth) < width)
    inner = edge[own]
    length = rng.uniform(58, 74)
    out = length * np.clip(np.cos(azimuth[own] / width * np.pi / 2), 0, 1) ** 0.55
    bend, slope = rng.uniform(0.002, 0.005), np.tan(np.radians(rng.uniform(8, 18)))
    rows = []
    for layer, lift in ((0, 0.0), (1, 2.2)):
        for share in np.linspace(0, 1, 7) if layer == 0 else np.linspace(1, 0, 7):
            moved = inner + np.stack([0.12 * inner[:, 0] * share, slope * out * share, out * share], 1)
            droop = bend * (inner[:, 0] ** 2) * np.minimum(1, 2 * share)
            moved[:, 1] += droop - bend * 300 * share - lift + 1.0
            rows.append(moved)
    return _outward((np.concatenate(rows), _grid_triangles(14, len(own), wrap=False)))


def _beanie(person: Person, body: Body, fit: Fit, rng: Rng) -> list[Mesh]:
    rows, columns = 20, 96
    points, azimuth = _dome(person, body, fit, 6.5, rows, columns)
    t = np.linspace(0, 1, rows)[:, None]
    loose = rng.uniform(2, 22)
    slack = 1 - (1 - np.clip(t - 0.3, 0, 1) / 0.7) ** 2
    points[..., 1] -= 0.7 * loose * slack
    points[..., 2] -= 0.6 * loose * slack
    centre = points.mean((0, 1))
    out = points - centre
    out /= np.linalg.norm(out, axis=-1, keepdims=True)
    rib = np.cos(azimuth * 48)[None]
    cuff = rng.uniform(0.16, 0.26) if rng.random() < 0.75 else 0.0
    points = points + out * (0.5 * rib + 3.2 * (t < cuff) * np.ones_like(rib))[..., None]
    points = points + out * (1.2 * np.sin(t * 9 + 3 * np.sin(azimuth * 3)) * (t > 0.4))[..., None]
    shade = np.broadcast_to((0.85 + 0.15 * rib)[..., None], points.shape).copy()
    colour = _pick(CLOTHS, rng)
    if rng.random() < 0.3:
        stripe = np.abs(t[:, 0] - rng.uniform(0.35, 0.6)) < 0.09
        shade[stripe] *= np.minimum(np.array(_pick(CLOTHS, rng)) / np.array(colour), 0.7 / max(colour))
    mesh = _outward((points.reshape(-1, 3), _grid_triangles(rows, columns, wrap=True)))
    return [_mesh([mesh], _cloth(colour, rng), Part.COVER, shade.reshape(-1, 3).astype(np.float32))]


def _headscarf(body: Body, fit: Fit, rng: Rng) -> list[Mesh]:
    """Cloth around the face, over head, neck and shoulders."""
    neutral, rest = body.neutral_mm, body.rest_mm
    head = (neutral[:, 1] < 112) & (neutral[:, 2] < -5) | (neutral[:, 1] < -60)
    head &= neutral[:, 1] < 118
    centre = np.array([0, 15.0, -70.0])
    angle = np.linspace(0, 2 * np.pi, 48, endpoint=False)
    base_y = fit.chin_mm[1] + 62
    base = np.stack([104 * np.cos(angle), 0 * angle + base_y, -78 + 66 * np.sin(angle)], 1)
    base = np.concatenate([base, base + [0, 45, 0] + 0.55 * (base - base.mean(0))])
    hull = _Hull(np.concatenate([rest[head], base]), centre, rng.uniform(4, 7))
    psi = np.linspace(0, 2 * np.pi, 96, endpoint=False)
    opening = _face_opening(body, fit, psi, rng)
    start = opening - centre
    start /= np.linalg.norm(start, axis=1, keepdims=True)
    rows = 30
    t = np.linspace(0, 1, rows) ** 1.15
    theta0 = np.arccos(np.clip(start[:, 2], -1, 1))
    around = start[:, :2] / np.maximum(np.linalg.norm(start[:, :2], axis=1, keepdims=True), 1e-6)
    theta = theta0 + t[:, None] * (np.pi * 0.995 - theta0)
    rays = np.concatenate([np.sin(theta)[..., None] * around, np.cos(theta)[..., None]], -1)
    reach = hull.reach(rays.reshape(-1, 3)).reshape(theta.shape)
    free = np.clip(t * 6, 0, 1)[:, None]
    near = np.linalg.norm(opening - centre, axis=1)
    reach = near * (1 - free) + reach * free + 1.5 * np.sin(np.pi * np.clip(t * 9, 0, 1))[:, None]
    low = np.clip(rays[..., 1] + 0.2, 0, 1)
    folds = np.sin(psi * rng.integers(9, 14) + 5 * theta + rng.uniform(0, 6)) + 0.6 * np.sin(psi * 23 - 7 * theta)
    reach = reach + free * (0.5 + 5.0 * low) * folds
    reach = np.minimum(reach, 230)
    points = centre + rays * reach[..., None]
    colour = _pick(CLOTHS, rng)
    shade = (1 - 0.07 * np.clip(-folds, 0, 2) * free)[..., None] * np.ones(3)
    if rng.random() < 0.3:
        print_ = np.sin(psi * 30) * np.sin(theta * 28) > 0.55
        shade = np.where(print_[..., None], np.minimum(np.array(_pick(CLOTHS, rng)) / np.array(colour), 8), shade)
        shade = np.minimum(shade, 0.8 / max(colour))
    mesh = _outward((points.reshape(-1, 3), _grid_triangles(rows, len(psi), wrap=True)))
    return [_mesh([mesh], _cloth(colour, rng), Part.COVER, shade.reshape(-1, 3).astype(np.float32))]


def _face_opening(body: Body, fit: Fit, psi: Array, rng: Rng) -> Array:
    """Edge of a headscarf around the face, (n, 3): just outside the skin of the forehead, cheeks and chin."""
    surface = HeadSurface(body)
    high = fit.brow_mm + rng.uniform(0.35, 0.55) * (fit.crown_mm[1] - fit.brow_mm)
    low = fit.chin_mm[1] + 3
    middle, half = (high + low) / 2, (low - high) / 2
    x = (fit.half_face_mm - rng.uniform(-1, 4)) * np.sin(psi)
    y = middle - half * np.cos(psi)
    z = np.interp(y, [high, middle - 20, middle + 30, low - 12, low], [8, -18, -22, -24, -18])
    z = z - 22 * (x / fit.half_face_mm) ** 2 * np.interp(y, [high, middle, low], [1.0, 0.35, 0.8])
    return surface.pushed_out(np.stack([x, y, z], 1), 1.5)


def _mask_grid(body: Body, fit: Fit, surgical: bool, rng: Rng) -> tuple[Array, Array]:
    """Points (rows, columns, 3) of a mask, and the shade of its pleats."""
    neutral, rest = body.neutral_mm, body.rest_mm
    low_face = (neutral[:, 1] > 8) & (neutral[:, 1] < 116) & (neutral[:, 2] > -85) & (body.masks["ears"] < 0.05)
    low_face &= np.abs(neutral[:, 0]) < 70
    hull = _Hull(rest[low_face], np.array([0.0, 55.0, -45.0]), 2.5)
    nose_y = fit.bridge_mm[1] + rng.uniform(0.34, 0.5) * (fit.nose_tip_mm[1] - fit.bridge_mm[1])
    nose_y = max(nose_y, 12.0)
    chin_y = fit.chin_mm[1]
    rows, columns = 25, 41
    u = np.linspace(-1, 1, columns)
    azimuth = np.radians(62) * u
    top = nose_y + 20 * np.abs(u) ** 1.3
    bottom = chin_y + 5 - 26 * np.abs(u) ** 1.8
    v = np.linspace(0, 1, rows - 3)[:, None]
    y = top + v * (bottom - top)
    # Rays fan out of the middle of the head towards wanted heights on a rough cylinder.
    rough = np.stack([88 * np.sin(azimuth) + 0 * y, y - 55.0, 88 * np.cos(azimuth) + 0 * y], -1)
    points, direction = rough, rough
    for _ in range(4):
        unit = direction / np.linalg.norm(direction, axis=-1, keepdims=True)
        reach = hull.reach(unit.reshape(-1, 3)).reshape(y.shape)
        reach = ndimage.gaussian_filter(ndimage.maximum_filter(reach, 3), 0.8)
        points = hull.centre + unit * reach[..., None]
        direction = direction.copy()
        direction[..., 1] += (y - points[..., 1]) * 0.9
    wave = np.sin(v * np.pi * 2 * 4) if surgical else 0 * v
    shade = 1 - 0.10 * np.clip(wave, 0, 1) * np.ones_like(u) * (np.abs(v - 0.5) < 0.38)
    points[..., 2] += 0.9 * wave * (1 - u**2)
    points[..., 2] += (0.0 if surgical else 4.0) * np.exp(-((u / 0.2) ** 2)) * np.sin(v * np.pi)
    last = points[-1]
    inward = np.stack([-0.08 * last[:, 0], 0 * u + 0.8, -7.0 * (1 - 0.5 * np.abs(u))], 1)
    points = np.concatenate([points, np.stack([last + k * inward for k in (1, 2, 3)])])
    points = HeadSurface(body).pushed_out(points, 1.5)
    shade = np.concatenate([shade, np.repeat(shade[-1:], 3, 0)])
    return points, shade


# ---------------------------------------------------------------------------------------------------------------------
# Triangles


def _mesh(parts: list[tuple[Array, Triangles]], surface: Surface, part: Part, colours: Array | None = None) -> Mesh:
    """One mesh of several pieces."""
    start = np.cumsum([0] + [len(vertices) for vertices, _ in parts])
    vertices = np.concatenate([vertices for vertices, _ in parts]).astype(np.float32)
    triangles = np.concatenate([own + first for (_, own), first in zip(parts, start, strict=False)]).astype(np.int32)
    return Mesh(vertices, triangles, vertex_normals(vertices, triangles), surface, part, colours)


def _tube(
    path: Array, half_breadth: float | Array, half_depth: float, depth_axis: Array, closed: bool
) -> tuple[Array, Triangles]:
    """A bar of elliptic section along a path (n, 3); its depth lies along `depth_axis`, open ends are capped."""
    n, k = len(path), 8
    tangent = np.roll(path, -1, 0) - np.roll(path, 1, 0) if closed else np.gradient(path, axis=0)
    tangent /= np.linalg.norm(tangent, axis=1, keepdims=True)
    breadth_axis = np.cross(depth_axis, tangent)
    breadth_axis /= np.maximum(np.linalg.norm(breadth_axis, axis=1, keepdims=True), 1e-6)
    depth = np.cross(tangent, breadth_axis)
    angle = np.arange(k) / k * 2 * np.pi
    # A flattened, rounded section rather than an ellipse
    c, s = (np.sign(f(angle)) * np.abs(f(angle)) ** 0.7 for f in (np.cos, np.sin))
    breadth = np.broadcast_to(np.asarray(half_breadth, float), (n,))[:, None, None]
    points = path[:, None] + breadth * c[:, None] * breadth_axis[:, None] + half_depth * s[:, None] * depth[:, None]
    vertices = points.reshape(-1, 3)
    triangles = _grid_triangles(n, k, wrap=True)
    if closed:
        i = np.arange(k)
        j = (i + 1) % k
        first, last = i, (n - 1) * k + i
        triangles = np.concatenate([triangles, np.stack([last, first, j], 1), np.stack([last, j, (n - 1) * k + j], 1)])
    else:
        i = np.arange(k)
        j = (i + 1) % k
        ends = np.stack([path[0], path[-1]])
        start, finish = n * k + 0 * i, n * k + 1 + 0 * i
        vertices = np.concatenate([vertices, ends])
        triangles = np.concatenate(
            [triangles, np.stack([start, i, j], 1), np.stack([finish, (n - 1) * k + j, (n - 1) * k + i], 1)]
        )
    return _outward((vertices, triangles.astype(np.int32)))


def _ball(centre: Array, radii: Array) -> tuple[Array, Triangles]:
    u, v = np.meshgrid(np.linspace(0, np.pi, 9), np.linspace(0, 2 * np.pi, 16, endpoint=False), indexing="ij")
    ball = np.stack([np.sin(u) * np.cos(v), np.cos(u), np.sin(u) * np.sin(v)], -1)
    return _outward((centre + (ball * radii).reshape(-1, 3), _grid_triangles(9, 16, wrap=True)))


def _grid_triangles(rows: int, columns: int, wrap: bool) -> Triangles:
    """Two triangles for each cell of a grid whose rows may be closed rings."""
    a = np.arange(rows * columns).reshape(rows, columns)
    right = np.roll(a, -1, 1)
    width = columns if wrap else columns - 1
    p, q, r, s = a[:-1, :width], right[:-1, :width], right[1:, :width], a[1:, :width]
    cells = np.stack([p, s, r, p, r, q], -1).reshape(-1, 3)
    return cells.astype(np.int32)


def _outward(part: tuple[Array, Triangles]) -> tuple[Array, Triangles]:
    """The same surface with its triangles turned so that they face away from the inside."""
    vertices, triangles = part
    a, b, c = (vertices[triangles[:, k]] for k in range(3))
    middle = vertices.mean(0)
    volume = ((a - middle) * np.cross(b - middle, c - middle)).sum()
    return vertices, triangles if volume >= 0 else np.ascontiguousarray(triangles[:, ::-1])


def _facing(part: tuple[Array, Triangles], direction: Array) -> tuple[Array, Triangles]:
    """The same sheet with its triangles turned so that on the whole they face `direction`."""
    vertices, triangles = part
    a, b, c = (vertices[triangles[:, k]] for k in range(3))
    area = np.cross(b - a, c - a).sum(0)
    return vertices, triangles if area @ direction >= 0 else np.ascontiguousarray(triangles[:, ::-1])


def _smooth_path(knots: Array, count: int) -> Array:
    """Catmull-Rom curve (count, 3) through the knots."""
    k = len(knots)
    place = np.linspace(0, k - 1, count)
    i = np.minimum(place.astype(int), k - 2)
    u = (place - i)[:, None]
    padded = np.concatenate([2 * knots[:1] - knots[1:2], knots, 2 * knots[-1:] - knots[-2:-1]])
    a, b, c, d = (padded[i + j] for j in range(4))
    curve = 0.5 * (2 * b + (c - a) * u + (2 * a - 5 * b + 4 * c - d) * u**2 + (3 * b - a - 3 * c + d) * u**3)
    return np.asarray(curve)


def _pick(options: tuple[Rgb, ...], rng: Rng) -> Rgb:
    return options[int(rng.integers(len(options)))]
