"""Hair as ribbons: head hair, beards and lashes that grow out of a person's own skin.

Roots are scattered evenly (Poisson-like) inside a hairline drawn on the mean head, so that it follows every shape of
head. From each root a lock of hair is grown step by step: it turns towards the direction field of its haircut, is
lifted to its own layer above the skin and never enters it, keeps out of the face, and falls where nothing holds it.
Locks gather into tufts, wave, curl, fray, and end in points; layers of different height and length make the outline
soft. Tight curls are arcs that fill the hair's volume. Head hair and beard together stay below `MOST_RIBBONS`.

In infrared light pigment fades: black hair reflects about a quarter, dark brown 0.3, blond and grey hair half of it.
"""

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from dashgaze.training.synth.accessories import Fit, HeadSurface, under_headwear
from dashgaze.training.synth.body import Body
from dashgaze.training.synth.records import LEFT, RIGHT, Person, Rgb, Strands

Array = NDArray[np.floating[Any]]
Rng = np.random.Generator

MOST_RIBBONS = 6000
BEARD_RIBBONS = 1300
UNDERCOAT_RIBBONS = 700
EYE_CONE_DEG = 42.0
"""No hair of the head comes nearer to the line straight out of an eye."""
GREY: Rgb = (0.40, 0.39, 0.37)
TUCKED_IN_MM = -38.0
"""Hair that would come out from under a hat further forward is tucked in."""
CENTRE_MM = np.array([0.0, -10.0, -70.0], np.float32)
"""Middle of the mean head's skull: hairlines are curves of elevation over azimuth around it."""
MM_PER_DEG = 1.6
LONG_MM = 90.0
"""Longer hair falls."""

AZIMUTH_DEG = np.array([0, 15, 30, 42, 52, 60, 66, 71, 76, 84, 92, 102, 110, 125, 150, 180], np.float32)
"""From the front, by the ear (about 85 to 105), to the nape."""
HAIRLINE_DEG = np.array([40, 40, 38, 30, 21, 11, -2, -12, -18, -3, 2, 0, -19, -44, -52, -54], np.float32)
RECEDING = np.array([0.55, 0.8, 1.0, 0.95, 0.6, 0.25, 0.08, 0, 0, 0, 0, 0, 0, 0, 0, 0], np.float32)
SIDEBURN_DEG = np.array([0, 0, 0, 0, 0, 0, -5, -6, -5, 0, 0, 0, 0, 0, 0, 0], np.float32)

Flow = Literal["whorl", "parted", "back", "forward", "up", "gathered"]


@dataclass(frozen=True, slots=True)
class Cut:
    """A haircut."""

    flow: Flow
    top_mm: float
    side_mm: float
    """Length of the locks on top, and on the sides and the nape."""
    lift_mm: float
    """Thickness of the hair on top; half of it on the sides."""
    erect: float = 0.3
    """0 leaves the skin along the flow, 1 straight out."""
    turn: float = 0.5
    """How readily it follows the flow: 0 wire, 1 silk."""
    cling: float = 0.5
    """How closely it stays in its layer."""
    parting_mm: float = 0.0
    fringe: bool = False
    tucked: bool = False
    """Behind the ears."""
    tail: Literal["none", "bun", "ponytail"] = "none"
    width_mm: float = 1.3
    pieces: int = 1
    """Ribbons that make up one lock."""
    points: int = 8
    ends_mm: float | None = None
    """Height at which falling hair is cut off."""


@dataclass(frozen=True, slots=True)
class Texture:
    """What a single lock does on its way."""

    wave_mm: float
    wavelength_mm: float
    coil: float
    """0 waves in a plane, 1 is a helix."""
    frizz_mm: float
    clump: float
    """How far tips of neighbouring locks come together."""
    kinky: bool = False
    """So tightly curled that it forms a cloud."""


@dataclass(frozen=True, slots=True, eq=False)
class Rooted:
    """Hair of the face, which moves with the expression."""

    strands: Strands
    """On the face at rest, head frame."""
    corners: NDArray[np.int32]
    """(n, 3) skin vertices around each root."""
    shares: Array
    """(n, 3) their weights."""

    def posed(self, vertices_mm: Array, head_rotation: Array) -> Strands:
        """The same hair in the car frame, on posed skin vertices (v, 3) of a head turned by `head_rotation` (3, 3)."""
        points = self.strands.points_mm
        roots = np.einsum("nc,ncd->nd", self.shares, vertices_mm[self.corners], dtype=np.float32)
        turned = (points - points[:, :1]) @ head_rotation.T.astype(np.float32)
        return replace(self.strands, points_mm=roots[:, None] + turned)


def strands(person: Person, body: Body) -> Strands | None:
    """Hair of the head in the head frame, cut off where a hat or scarf covers it; None where nothing is to be seen."""
    if person.headwear == "headscarf" or (person.hair_style == "bald" and person.hair_length < 0.15):
        return None
    rng = np.random.default_rng([person.seed, 701])
    cut, texture = cut_of(person, rng), texture_of(person, rng)
    fit = Fit(body)
    falls = cut.top_mm > LONG_MM and cut.tail == "none"
    surface = HeadSurface(body, ears=falls and not cut.tucked)
    if falls and texture.wavelength_mm < 70 and texture.wave_mm > 2:
        cut = replace(cut, pieces=5 if texture.wavelength_mm < 40 else 3, points=10, width_mm=cut.width_mm + 0.2)
    budget = MOST_RIBBONS - (BEARD_RIBBONS if person.facial_hair in _BEARDED else 0)
    if texture.kinky and person.hair_style in ("short", "medium", "long"):
        cut = replace(cut, pieces=1)
        return _finished(person, body, fit, _cloud(person, body, surface, cut, budget, rng), cut, rng)
    under = UNDERCOAT_RIBBONS if cut.top_mm > 20 else 0
    locks = (budget - under if cut.tail == "none" else int(budget * 0.7) - under) // cut.pieces
    roots = _scatter(body, _scalp_density(person, body, cut), locks, rng)
    curves = _grown(person, roots, surface, fit, cut, texture, rng)
    grown = _styled(person, curves, roots, cut, texture, rng)
    if cut.tail != "none":
        grown = _joined(grown, _tail(person, fit, cut, texture, budget - under - len(grown.points_mm), rng))
    grown = replace(grown, points_mm=surface.pushed_out(grown.points_mm, 0.2))
    seen = _finished(person, body, fit, grown, cut, rng)
    if not under:
        return seen
    coat = _undercoat(person, body, surface, fit, cut, under, rng)
    low = _finished(person, body, fit, coat, replace(cut, pieces=1), rng)
    return low if seen is None else seen if low is None else _joined(seen, low)


def depth_in_hairline_mm(person: Person, neutral_mm: Array) -> Array:
    """How far inside the hairline points of the mean head's skin (n, 3) lie, along the skin; negative outside.

    Ears do not count. Skin that has hair should be painted darker where this is above 0.
    """
    azimuth, elevation = _angles_deg(neutral_mm)
    line = HAIRLINE_DEG + person.male * SIDEBURN_DEG - 5.0 * (1 - person.male) * (AZIMUTH_DEG < 50)
    line = line + RECEDING * (46.0 if person.male > 0.5 else 16.0) * (person.hairline - 0.12)
    depth = elevation - np.interp(azimuth, AZIMUTH_DEG, line)
    if person.hair_style == "bald":
        upper = np.interp(azimuth, [0, 60, 75, 95, 180], [-90, -60, 20, 26, 22])
        upper = upper + 3 * np.sin(neutral_mm[:, 2] * 0.21)
        depth = np.minimum(depth, upper - elevation)
    elif person.male > 0.5 and person.hairline > 0.55:  # thin at the crown
        crown = np.hypot(neutral_mm[:, 0], neutral_mm[:, 2] + 125) - 70 * (person.hairline - 0.55) / 0.45
        depth = np.where((neutral_mm[:, 1] < -60), np.minimum(depth, crown / MM_PER_DEG), depth)
    return np.asarray(depth * MM_PER_DEG, np.float32)


def beard(person: Person, body: Body) -> Rooted | None:
    """Moustache, goatee or full beard; None where it is shaved or only stubble, which the skin shows."""
    if person.facial_hair not in _BEARDED:
        return None
    rng = np.random.default_rng([person.seed, 702])
    full = person.facial_hair == "beard"
    length = 4.0 + (26.0 * rng.random() ** 2 if full else 7.0 * rng.random())
    area = _beard_area(person.facial_hair, body.neutral_mm, body.masks)
    number = int(BEARD_RIBBONS * (0.35 + 0.65 * person.facial_hair_density) * (1.0 if full else 0.45))
    roots = _scatter(body, area, number, rng)
    surface = HeadSurface(body)
    points = _face_locks(roots, surface, length, rng)
    curly = person.african > 0.5
    points += _frayed(points, (1.6 if curly else 0.7) * min(length / 8, 1.5), rng)
    points = surface.pushed_out(points, 0.2)
    widths = 0.95 * _taper(points.shape[1]) * rng.uniform(0.8, 1.25, (len(points), 1))
    colours, infrared = _colours(person, len(roots.points), rng, grey=min(1.0, person.grey * 1.3))
    return Rooted(_strands(points, widths, colours, infrared), roots.corners, roots.shares)


def lashes(person: Person, lid_margins_mm: Array, head_rotation: Array) -> Strands:
    """Lashes on lid margins (2 eyes, 2 upper and lower, k, 3); margins and answer in the car frame.

    They stand out of the lid's edge away from the globe, fan out sideways and bend upwards (lower ones downwards).
    Make-up makes them longer, thicker and blacker.
    """
    rng = np.random.default_rng([person.seed, 704])
    down, ahead = head_rotation[:, 1], head_rotation[:, 2]
    female = 1 - person.male
    parts = []
    for lid, (count, length_mm, width_mm) in enumerate(((84, 8.6, 0.34), (48, 5.2, 0.22))):
        for eye in (LEFT, RIGHT):
            margin = np.asarray(lid_margins_mm[eye, lid], float)
            centre = lid_margins_mm[eye].reshape(-1, 3).mean(0) - 12.0 * ahead
            share = (np.arange(count) + rng.uniform(0.1, 0.9, count)) / count
            place = (0.06 + 0.93 * share) * (len(margin) - 1)
            left = np.minimum(place.astype(int), len(margin) - 2)
            roots = margin[left] + (place - left)[:, None] * (margin[left + 1] - margin[left])
            width = np.linalg.norm(margin[-1] - margin[0])
            across = ((roots - margin.mean(0)) @ head_rotation[:, 0]) / (0.5 * width)
            outer = np.clip(across * (1 if eye == RIGHT else -1), -1, 1)
            reach = length_mm * (0.72 + 0.25 * female + 0.2 * person.make_up) * (0.78 + 0.22 * outer)
            reach *= rng.uniform(0.75, 1.1, count) * (1 - 0.25 * person.asian)
            fan = (0.55 * across + rng.normal(0, 0.1, count))[:, None] * head_rotation[:, 0]
            sense = 1.0 if lid == 0 else -0.42
            start = _unit(_unit(roots - centre) + 0.35 * sense * down + 0.5 * fan)
            finish = _unit(0.75 * ahead - sense * (0.75 + 0.25 * female) * down + fan)
            t = np.linspace(0, 1, 6)[None, :, None]
            bend = t * (1 - 0.5 * t) * start[:, None] + 0.5 * t * t * finish[:, None]
            points = roots[:, None] + reach[:, None, None] * bend
            thick = width_mm * (0.8 + 0.9 * person.make_up) * _taper(6) * rng.uniform(0.8, 1.2, (count, 1))
            parts.append((points, thick))
    number = sum(len(points) for points, _ in parts)
    natural = np.minimum(np.array(person.hair_rgb) * 0.6, 0.06) * (1 - 0.85 * person.make_up) + 0.004
    return _strands(
        np.concatenate([points for points, _ in parts]),
        np.concatenate([thick for _, thick in parts]),
        np.tile(natural, (number, 1)),
        np.full(number, 0.16 - 0.1 * person.make_up),
    )


_BEARDED = ("moustache", "goatee", "beard")


def cut_of(person: Person, rng: Rng) -> Cut:
    """The haircut: a kind of the person's style, its measures by the person's hair length."""
    long = person.hair_length
    woman = person.male < 0.5
    parting = float(rng.choice([-1, 1]) * rng.uniform(8, 30))
    pick = rng.random()
    match person.hair_style:
        case "bald":
            return Cut("whorl", 10 + 14 * long, 10 + 14 * long, 4, erect=0.2, width_mm=1.0, points=6)
        case "shaved":
            return Cut("whorl", 3 + 5 * long, 2.5 + 3 * long, 1.2, erect=0.3, width_mm=1.1, points=6, cling=0)
        case "short" if woman:  # pixie
            flow: Flow = "forward" if pick < 0.5 else "parted"
            top, side = 60 + 35 * long, 38 + 25 * long
            return Cut(flow, top, side, 17, parting_mm=parting, fringe=True, turn=0.45, width_mm=1.5)
        case "short":
            return _short_cut(pick, long, parting)
        case "medium":
            ends = 45 + 95 * long if woman else 30 + 60 * long
            flow = "back" if pick > 0.85 else "parted"
            return Cut(
                flow,
                top_mm=190 + ends,
                side_mm=125 + ends,
                lift_mm=17,
                parting_mm=parting,
                fringe=bool(woman and pick < 0.35),
                tucked=bool(rng.random() < 0.35),
                width_mm=1.9,
                pieces=2,
                ends_mm=ends,
            )
        case "long":
            return Cut(
                "parted",
                top_mm=340 + 150 * long,
                side_mm=290 + 150 * long,
                lift_mm=18,
                parting_mm=parting * float(rng.choice([0.2, 1.0])),
                fringe=bool(pick < 0.2),
                tucked=bool(rng.random() < 0.4),
                width_mm=2.4,
                pieces=2,
                points=10,
            )
        case "tied":
            tail: Literal["bun", "ponytail"] = "bun" if pick < 0.5 else "ponytail"
            return Cut("gathered", 150, 150, 6, erect=0.1, turn=0.8, cling=0.85, tail=tail, width_mm=1.5, points=9)


def _short_cut(pick: float, long: float, parting: float) -> Cut:
    side = 9 + 14 * long
    if pick < 0.28:
        return Cut("parted", 48 + 30 * long, side, 17 + 5 * long, parting_mm=parting * 1.3, turn=0.4)
    if pick < 0.46:
        return Cut("back", 50 + 35 * long, side, 19 + 8 * long, erect=0.6, turn=0.33)
    if pick < 0.66:
        return Cut("up", 13 + 14 * long, 7 + 7 * long, 5, erect=0.6, turn=0.16, cling=0, width_mm=1.5, points=6)
    if pick < 0.82:
        return Cut("forward", 45 + 22 * long, side + 8, 13, fringe=True, turn=0.45)
    return Cut("whorl", 32 + 22 * long, side + 4, 20, erect=0.55, turn=0.3, cling=0.25)


def texture_of(person: Person, rng: Rng) -> Texture:
    """Straight, wavy, curly or kinky, by ancestry."""
    pick = rng.random()
    if pick < person.african:
        relaxed = person.male < 0.5 and person.hair_style in ("medium", "long", "tied") and rng.random() < 0.5
        if not relaxed:
            return Texture(3.2, 13.0, 1.0, 2.2, 0.15, kinky=True)
        return Texture(2.0, 60.0, 0.3, 1.5, 0.5)
    if pick < person.african + person.asian:
        wavy = rng.random() < 0.15
        return Texture(5.0, 85.0, 0.3, 1.3, 0.55) if wavy else Texture(0.6, 90.0, 0.2, 0.9, 0.5)
    kind = rng.random()
    if kind < 0.45:
        return Texture(1.2, 80.0, 0.2, 1.4, 0.5)
    if kind < 0.8:
        return Texture(5.0, 62.0, 0.4, 1.8, 0.55)
    return Texture(6.5, 35.0, 0.9, 2.2, 0.6)


# ---------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class _Roots:
    """Where hair leaves the skin."""

    points: Array
    neutral: Array
    """The same places on the mean head."""
    normals: Array
    corners: NDArray[np.int32]
    shares: Array


def _angles_deg(neutral_mm: Array) -> tuple[Array, Array]:
    """Azimuth from the front (0 to 180, both sides alike) and elevation around the skull's middle."""
    x, y, z = (neutral_mm - CENTRE_MM).T
    return np.degrees(np.arctan2(np.abs(x), z)), np.degrees(np.arctan2(-y, np.hypot(x, z)))


def _scalp_density(person: Person, body: Body, cut: Cut) -> Array:
    """Relative number of roots at each skin vertex."""
    neutral = body.neutral_mm
    depth = depth_in_hairline_mm(person, neutral)
    depth += 1.5 * np.sin(neutral[:, 0] * 0.35) * np.sin(neutral[:, 2] * 0.31 + neutral[:, 1] * 0.4)
    density = np.clip((depth + 2.0) / 9.0, 0, 1) * (body.masks["ears"] < 0.05) * (neutral[:, 1] < 110)
    azimuth, elevation = _angles_deg(neutral)
    unseen = np.where((azimuth > 135) & (elevation < 60), 0.5, 1.0)
    edge = 1 + 0.8 * (depth < 14) * (cut.top_mm > 30)  # thin hair at the edge shows the skin
    if cut.flow == "parted":
        away = np.abs(body.rest_mm[:, 0] - cut.parting_mm)
        edge = edge + 1.6 * (away < 10) * (elevation > 30) * (azimuth < 120)
    return np.asarray(density * unseen * edge, np.float32)


def _scatter(body: Body, density: Array, number: int, rng: Rng) -> _Roots:
    """About `number` roots, spread evenly by `density` of the skin vertices."""
    triangles = body.triangles
    corner_density = density[triangles]
    triangles = triangles[corner_density.max(1) > 0]
    a, b, c = (body.rest_mm[triangles[:, k]].astype(np.float64) for k in range(3))
    face = np.cross(b - a, c - a)
    weight = np.linalg.norm(face, axis=1) * density[triangles].mean(1)
    total = np.cumsum(weight)
    wanted = int(2.4 * number)
    # stratified along the list of triangles, which keeps neighbours together
    place = (np.arange(wanted) + rng.random(wanted)) / wanted * total[-1]
    chosen = np.minimum(np.searchsorted(total, place), len(total) - 1)
    u, v = np.sqrt(rng.random(wanted)), rng.random(wanted)
    shares = np.stack([1 - u, u * (1 - v), u * v], 1).astype(np.float32)
    corners = triangles[chosen]
    points = np.einsum("nc,ncd->nd", shares, body.rest_mm[corners])
    spacing = 0.62 * np.sqrt(0.5 * total[-1] / max(corner_density.max(), 1e-6) / number)
    pairs = cKDTree(points).query_pairs(spacing, output_type="ndarray")
    rank = rng.permutation(wanted)
    loser = np.where(rank[pairs[:, 0]] > rank[pairs[:, 1]], pairs[:, 0], pairs[:, 1])
    kept = np.ones(wanted, bool)
    kept[loser] = False
    order = np.concatenate([rng.permutation(np.flatnonzero(kept)), rng.permutation(np.flatnonzero(~kept))])[:number]
    order = np.sort(order)
    normals = _unit(face)[chosen[order]].astype(np.float32)
    neutral = np.einsum("nc,ncd->nd", shares[order], body.neutral_mm[corners[order]])
    return _Roots(points[order], neutral, normals, corners[order], shares[order])


def _grown(
    person: Person, roots: _Roots, surface: HeadSurface, fit: Fit, cut: Cut, texture: Texture, rng: Rng
) -> Array:
    """Locks as curves (n, steps, 3), without waves."""
    number = len(roots.points)
    depth = depth_in_hairline_mm(person, roots.neutral)
    _, elevation = _angles_deg(roots.neutral)
    top = _smooth(5.0, 38.0, elevation)
    length = (cut.side_mm + (cut.top_mm - cut.side_mm) * top) * np.exp(0.16 * rng.normal(0, 1, number).clip(-2, 2))
    if cut.top_mm < LONG_MM:
        length *= 0.55 + 0.45 * _smooth(0, 22, depth)
    if cut.fringe:
        length *= np.where((elevation < 62) & (roots.neutral[:, 2] > -45) & (np.abs(roots.neutral[:, 0]) < 50), 0.6, 1)
    layer = rng.random(number) ** 0.8
    thick = cut.lift_mm * (0.25 + 0.75 * _smooth(0, 30, depth))
    thick *= (0.8 + 0.2 * top) if cut.top_mm > LONG_MM else (0.45 + 0.55 * top)
    if cut.flow == "parted":
        thick *= 0.3 + 0.7 * _smooth(0, 26, np.abs(roots.points[:, 0] - cut.parting_mm))
    lift = (0.8 + layer * thick).astype(np.float32)
    steps = int(np.clip(np.percentile(length, 95) / 12, 7, 30))
    step = (length / (steps - 1)).astype(np.float32)[:, None]
    field = _Field(cut, fit, roots, rng)
    heading = _unit(
        roots.normals * cut.erect + (1 - cut.erect) * field.at(roots.points, roots.normals, np.zeros(number))
    )
    heading = _unit(heading + rng.normal(0, 0.12, (number, 3)))
    points = [roots.points.astype(np.float32)]
    height, normals = np.zeros(number, np.float32), roots.normals
    turn = cut.turn * min(1.0, float(step.mean()) / 8 + 0.35)
    for index in range(1, steps):
        flow = field.at(points[-1], normals, height)
        near = np.clip(1 - (height - lift) / 25, 0, 1)[:, None]
        flow = _unit(flow - (flow * normals).sum(1, keepdims=True) * normals * near)
        heading = _unit((1 - turn) * heading + turn * flow)
        moved = points[-1] + heading * step
        height, normals = surface.above(moved)
        layer_mm = lift * min(1.0, 0.35 + 1.6 * index / (steps - 1))
        held = cut.cling * (moved[:, 1] < 5) if cut.top_mm > LONG_MM else np.full(number, cut.cling)
        shift = np.maximum(layer_mm - height, 0) - held * np.clip(height - layer_mm, 0, 45)
        if field.falls:
            shift -= 0.4 * np.clip(height - layer_mm - 12, 0, 60) * (moved[:, 1] > 0) * (moved[:, 1] < 90)
        moved = moved + field.aside(moved, normals) * shift[:, None]
        height = height + shift
        moved = field.out_of_face(moved)
        points.append(moved.astype(np.float32))
    curves = np.stack(points, 1)
    for _ in range(2):
        curves[:, 1:-1] = 0.5 * curves[:, 1:-1] + 0.25 * (curves[:, 2:] + curves[:, :-2])
    return curves


class _Field:
    """Direction in which hair of a cut lies, anywhere around a person's head."""

    def __init__(self, cut: Cut, fit: Fit, roots: _Roots, rng: Rng) -> None:
        self.cut, self.fit = cut, fit
        number = len(roots.points)
        parted = np.where(roots.points[:, 0] > cut.parting_mm, 1.0, -1.0)
        self.side = np.where(rng.random(number) < 0.04, -parted, parted) if cut.flow == "parted" else parted
        if cut.flow != "parted":
            self.side = np.where(roots.points[:, 0] > 0, 1.0, -1.0)
        self.fringe = np.zeros(number, bool)
        if cut.fringe:
            front = (roots.neutral[:, 2] > -45) & (np.abs(roots.neutral[:, 0]) < 48 + rng.normal(0, 4, number))
            self.fringe = front & (roots.neutral[:, 1] < -40)
        self.edge = rng.uniform(0, 9, number)
        self.sway = rng.normal(0, 0.12, (number, 3))
        self.whorl = fit.crown_mm + np.array([rng.choice([-12, 12]), 8, -22])
        self.knot = fit.knot_mm
        self.falls = cut.top_mm > LONG_MM and cut.flow != "gathered"
        azimuth, _ = _angles_deg(roots.neutral)
        self.ahead = np.where(azimuth + rng.normal(0, 12, number) < (60 if cut.tucked else 88), 1.0, -1.0)
        """Whether a lock falls in front of the shoulder or behind it."""

    def at(self, points: Array, normals: Array, height_mm: Array) -> Array:
        """Directions (n, 3), about unit length, at points so high above the skin."""
        x, y, z = points.T
        s = _smooth(-98, -48, y)  # from the top to the sides
        behind = _smooth(-120, -150, z)
        away = _unit(points - self.whorl)
        flow: Array
        match self.cut.flow:
            case "gathered":
                flow = self.knot - points
            case "up":
                flow = away * 0.5 + np.stack([0 * x, 0.5 * s, 0.2 * (1 - s)], 1) + normals * 0.9 * (1 - s)[:, None]
            case "whorl":
                flow = away + 0.35 * np.cross(normals, away) + np.stack([0 * x, 0.4 * s, 0 * x], 1)
            case "parted":
                flow = np.stack([self.side * (1 - 0.85 * s), 0.15 + 0.9 * s, -0.45 + 0 * x], 1)
            case "back":
                flow = np.stack([0.25 * self.side * (1 - s), 0.05 + 0.65 * s, -1 + 0 * x], 1)
            case "forward":
                flow = np.stack([-0.004 * x, 0.25 + 0.9 * s, 1.1 - 1.0 * s], 1)
        flow = _unit(flow)
        if self.cut.flow != "gathered":
            flow = flow + behind[:, None] * (np.array([0, 1.2, 0]) - 0.8 * flow)
        if self.falls:
            fallen = _smooth(-35, 25, y)[:, None]
            back = -1.1 * _smooth(-105, -80, z) * (y < 30) if self.cut.tucked else -0.12 * (z > -60)
            back = back + 0.9 * self.ahead * _smooth(80, 120, y) * _smooth(22, 8, height_mm)
            hanging = np.stack([-0.12 * np.sign(x) * _smooth(20, 100, y), 1 + 0 * x, back + 0 * x], 1)
            flow = flow * (1 - fallen) + hanging * fallen
        if self.fringe.any():
            forward = np.stack([-0.002 * x, 0.55 + 0.5 * _smooth(0, 30, z), 1.0 - _smooth(-15, 25, z)], 1)
            flow = np.where(self.fringe[:, None] & (y < -20)[:, None], forward, flow)
        return flow + self.sway

    def aside(self, points: Array, normals: Array) -> Array:
        """Where locks go that meet the body (n, 3): out of the skin, but not off over the shoulders."""
        if not self.falls:
            return normals
        low = _smooth(90, 125, points[:, 1])
        return _unit(normals * np.stack([1 - 0.9 * low, 1 + 0 * low, 1 + 0 * low], 1))

    def out_of_face(self, points: Array) -> Array:
        """Locks that fall move aside from the face."""
        if not self.falls:
            return points
        x, y, z = points.T
        face = self.fit.half_face_mm * np.interp(y, [-75, -50, -20, 40, 110], [0.35, 0.75, 0.98, 1.0, 0.85]) + self.edge
        inside = (z > -40) & (y > -75) & (np.abs(x) < face) & ~self.fringe
        moved = points.copy()
        moved[:, 0] = np.where(inside, x + 0.7 * (self.side * face - x), x)
        front = np.interp(y, [-80, -45, 0, 70, 120, 200], [14, -8, -28, -28, -24, 30]) - 1.6 * self.edge
        moved[:, 2] = np.where(self.fringe | (y < -80), z, z - 0.7 * np.maximum(z - front, 0))
        over = np.abs(moved[:, 0]) - (74 + 3.5 * self.edge)
        moved[:, 0] -= np.sign(x) * 0.6 * np.maximum(over, 0) * _smooth(85, 120, y)
        return moved


def _styled(person: Person, curves: Array, roots: _Roots, cut: Cut, texture: Texture, rng: Rng) -> Strands:
    """Tufts, waves and frizz, then ribbons with widths and colours."""
    number = len(curves)
    guides = rng.choice(number, max(number // 11, 1), replace=False)
    own = guides[cKDTree(roots.points[guides]).query(roots.points)[1]]
    t = np.linspace(0, 1, curves.shape[1], dtype=np.float32)[None, :, None]
    apart = (roots.points - roots.points[own])[:, None] * 0.35
    falls = cut.top_mm > LONG_MM
    most = 0.4 if cut.flow == "gathered" else 0.6 if falls else 1.0
    together = texture.clump * rng.uniform(0.1, most, (number, 1, 1)) * t**1.5
    same = np.linalg.norm(curves[:, -1] - curves[own, -1], axis=1) < 40
    curves = curves + np.where(same[:, None, None], np.minimum(together, 0.9), 0) * (curves[own] + apart - curves)
    points = _resampled(curves, cut.pieces * (cut.points - 1) + 1)
    length = np.linalg.norm(np.diff(points, axis=1), axis=2).sum(1)
    scale = np.clip(length / 60, 0.1, 1)[:, None, None]
    points = points + scale * _waves(points, texture, own, rng)
    stray = np.where(rng.random(number) < 0.03, 1.8, 1.0)
    points = points + scale * stray[:, None, None] * _frayed(points, texture.frizz_mm, rng)
    depth = depth_in_hairline_mm(person, roots.neutral)
    grey = np.clip(person.grey * (1 + 0.5 * (depth < 25)), 0, 1)
    colours, infrared = _colours(person, number, rng, grey=grey)
    thin = 0.65 + 0.35 * _smooth(0, 14, depth)
    taper = _taper(points.shape[1])
    if cut.top_mm > LONG_MM:
        taper = np.interp(np.linspace(0, 1, points.shape[1]), [0, 0.1, 0.35, 0.8, 1], [0.6, 0.85, 1.1, 1.2, 0.35])
    widths = cut.width_mm * taper * (rng.uniform(0.7, 1.25, number) * thin)[:, None]
    widths = np.where(stray[:, None] > 1, np.minimum(widths, 0.6), widths)
    return _strands(points, widths, colours, infrared)


def _undercoat(person: Person, body: Body, surface: HeadSurface, fit: Fit, cut: Cut, number: int, rng: Rng) -> Strands:
    """Broad short locks flat on the scalp, most of them at the parting: no bare skin shines through."""
    depth = depth_in_hairline_mm(person, body.neutral_mm)
    density = _scalp_density(person, body, cut) * _smooth(3, 8, depth)
    if cut.flow == "parted":
        _, elevation = _angles_deg(body.neutral_mm)
        density *= 1 + 9 * (np.abs(body.rest_mm[:, 0] - cut.parting_mm) < 12) * (elevation > 25)
    roots = _scatter(body, np.asarray(density, np.float32), number, rng)
    heading = _Field(cut, fit, roots, rng).at(roots.points, roots.normals, np.zeros(number))
    heading = _unit(heading + np.array([0, 0, -0.6]) - roots.normals * (heading * roots.normals).sum(1, keepdims=True))
    t = np.linspace(0, 1, 5)[None, :, None]
    reach = rng.uniform(9, 16, (number, 1, 1))
    points = surface.pushed_out(roots.points[:, None] + t * reach * heading[:, None], 0.5)
    colours, infrared = _colours(person, len(roots.points), rng, grey=person.grey)
    widths = 2.2 * _taper(5) * rng.uniform(0.7, 1.1, (number, 1))
    return _strands(points, widths, 0.75 * colours, 0.75 * infrared)


def _cloud(person: Person, body: Body, surface: HeadSurface, cut: Cut, number: int, rng: Rng) -> Strands:
    """Kinky hair: small coils that fill a layer around the scalp, denser and darker inside."""
    roots = _scatter(body, _scalp_density(person, body, cut), number, rng)
    depth = depth_in_hairline_mm(person, roots.neutral)
    _, elevation = _angles_deg(roots.neutral)
    least, most = {"short": (7, 20), "medium": (24, 44)}.get(person.hair_style, (38, 68))
    sides = 0.4 if person.hair_style == "short" else 1.0
    thick = (least + (most - least) * person.hair_length) * (sides + (1 - sides) * _smooth(-5, 40, elevation))
    thick = thick * (0.18 + 0.82 * _smooth(0, 38, depth)) * (1 + 0.12 * np.sin(roots.points @ [0.07, 0.05, 0.06]))
    layer = rng.random(number) ** 0.55
    out = _unit(0.75 * roots.normals + 0.35 * _unit(roots.points - [0, -20, -75]) + [0, -0.12, 0])
    out = _unit(out + rng.normal(0, 0.16, (number, 3)))
    start = roots.points + out * (layer * thick)[:, None]
    length = rng.uniform(9, 17, number) * np.clip(thick / 14, 0.5, 1.2)
    radius = rng.uniform(2.0, 4.2, number) * np.clip(thick / 16, 0.5, 1)
    axis = _unit(0.5 * out + rng.normal(0, 0.6, (number, 3)))
    one = _unit(np.cross(axis, rng.normal(size=(number, 3))))
    two = np.cross(axis, one)
    angle = np.linspace(0, 1, 7)[None, :] * (length / radius)[:, None] * 0.9 + rng.uniform(0, 6.3, (number, 1))
    ring = one[:, None] * np.cos(angle)[..., None] + two[:, None] * np.sin(angle)[..., None]
    along = np.linspace(-0.5, 0.5, 7)[None, :, None] * axis[:, None] * (0.6 * length)[:, None, None]
    points = surface.pushed_out((start[:, None] + radius[:, None, None] * ring + along).astype(np.float32), 0.4)
    colours, infrared = _colours(person, number, rng, grey=person.grey)
    shade = (0.55 + 0.6 * layer)[:, None]
    widths = np.interp(layer, [0, 0.7, 1], [1.9, 1.5, 0.9])[:, None] * _taper(7) * rng.uniform(0.8, 1.2, (number, 1))
    return _strands(points, widths, colours * shade, infrared * shade[:, 0])


def _tail(person: Person, fit: Fit, cut: Cut, texture: Texture, number: int, rng: Rng) -> Strands:
    """Bun or ponytail at the knot."""
    knot = fit.knot_mm
    if cut.tail == "bun":
        radius = 24 + 12 * person.hair_length
        centre = knot + np.array([0, -2, -0.55 * radius])
        axis = _unit(rng.normal(0, 0.35, (number, 3)) + np.array([0, 0.2, -1]))
        one = _unit(np.cross(axis, rng.normal(size=(number, 3))))
        two = np.cross(axis, one)
        angle = rng.uniform(0, 6.3, (number, 1)) + np.linspace(0, 1.6, 9)
        away = rng.uniform(-0.9, 0.9, (number, 1))
        ring = np.sqrt(1 - away**2)[..., None] * (
            one[:, None] * np.cos(angle)[..., None] + two[:, None] * np.sin(angle)[..., None]
        )
        shell = radius * rng.uniform(0.82, 1.03, (number, 1, 1))
        points = centre + shell * (ring + away[..., None] * axis[:, None])
        points += _frayed(points, texture.frizz_mm, rng)
    else:
        length = (150 + 150 * person.hair_length) * rng.uniform(0.75, 1.05, (number, 1, 1))
        t = np.linspace(0, 1, 9)[None, :, None]
        spread = rng.normal(0, 1, (number, 1, 3)) * [1.0, 0.5, 0.8]
        fall = np.concatenate([0 * t, t**1.25, -0.38 * np.sin(np.pi * np.minimum(t, 0.8)) * np.exp(-t)], 2)
        points = knot + fall * length + spread * (3 + 14 * np.sqrt(t) - 7 * t)
        points += _waves(points, texture, np.arange(number) // 12, rng) + _frayed(points, texture.frizz_mm, rng)
    colours, infrared = _colours(person, number, rng, grey=person.grey)
    widths = cut.width_mm * _taper(9) * rng.uniform(0.7, 1.2, (number, 1))
    return _strands(points, widths, colours, infrared)


def _finished(person: Person, body: Body, fit: Fit, hair: Strands, cut: Cut, rng: Rng) -> Strands | None:
    """Hair without what would hide the eyes, cross an ear, lie below a hat, or be too short to see."""
    points = hair.points_mm
    number, k, _ = points.shape
    flat = points.reshape(-1, 3)
    brow = fit.brow_mm + rng.normal(-7, 4, (number, 1))
    face = (np.abs(points[..., 0]) < 0.88 * fit.half_face_mm) & (points[..., 2] > -32) & (points[..., 1] > brow)
    barred = face | _before_an_eye(points, body.eye_centres_mm)
    if cut.top_mm < LONG_MM:
        barred |= _at_ears(flat, body).reshape(number, k)
    else:
        throat = (points[..., 1] > 55) & (points[..., 1] < 175) & (np.abs(points[..., 0]) < 46) & (points[..., 2] > -85)
        barred |= throat
    if cut.ends_mm is not None:
        barred |= points[..., 1] > cut.ends_mm + rng.normal(0, 5, (number, 1)) - 12 * rng.random((number, 1)) ** 3
    ends = np.where(barred.any(1), barred.argmax(1) - 1.0 + 0.4 * rng.random(number), k - 1.0)
    starts = np.zeros(number)
    if person.headwear != "none":
        under = under_headwear(person, body, flat).reshape(number, k)
        out = ~under
        starts = np.where(out.any(1), out.argmax(1), k).astype(float)
        emerges = points[np.arange(number), np.minimum(starts.astype(int), k - 1)]
        starts[(starts > 0) & (emerges[:, 2] > TUCKED_IN_MM)] = k
        later = under & (np.arange(k) > starts[:, None])
        ends = np.minimum(ends, np.where(later.any(1), later.argmax(1) - 1.0, k - 1.0))
    kept = ends - starts >= 0.35
    if not kept.any():
        return None
    place = starts[kept, None] + np.linspace(0, 1, k) * (ends - starts)[kept, None]
    left = np.minimum(place.astype(int), k - 2)
    share = (place - left)[..., None].astype(np.float32)
    row = np.arange(len(left))[:, None]
    own = points[kept]
    cut_points = own[row, left] * (1 - share) + own[row, left + 1] * share
    pointed = np.minimum(hair.widths_mm[kept], hair.widths_mm[kept].max(1, keepdims=True) * _taper(k, 0.4))
    widths = np.where((ends < k - 1)[kept, None], pointed, hair.widths_mm[kept])
    return _in_pieces(_strands(cut_points, widths, hair.colours[kept], hair.infrared[kept]), cut.pieces)


def _before_an_eye(points: Array, eye_centres_mm: Array) -> NDArray[np.bool_]:
    cone = np.cos(np.radians(EYE_CONE_DEG))
    barred = np.zeros(points.shape[:-1], bool)
    for centre in eye_centres_mm:
        away = points - centre.astype(np.float32)
        barred |= away[..., 2] > cone * np.linalg.norm(away, axis=-1)
    return barred


def _at_ears(points: Array, body: Body) -> NDArray[np.bool_]:
    """Within 3 mm of an ear's vertices."""
    ears = body.rest_mm[(body.masks["ears"] > 0.4) & (np.abs(body.neutral_mm[:, 0]) > 70)]
    low, high = ears.min(0) - 3, ears.max(0) + 3
    near = (points[:, 1] > low[1]) & (points[:, 1] < high[1]) & (points[:, 2] > low[2]) & (points[:, 2] < high[2])
    barred = np.zeros(len(points), bool)
    barred[near] = cKDTree(ears).query(points[near], distance_upper_bound=3.0)[0] < 3.0
    return barred


def _beard_area(kind: str, neutral: Array, masks: dict[str, Array]) -> Array:
    """Density of a beard at each skin vertex."""
    x, y, z = np.abs(neutral[:, 0]), neutral[:, 1], neutral[:, 2]
    lips = neutral[masks["lips"] > 0.5]
    mouth, corner = float(lips[:, 1].mean()), float(np.abs(lips[:, 0]).max())
    skin = (masks["lips"] < 0.06) & (masks["inside_mouth"] < 0.1) & (masks["ears"] < 0.05) & (z > -75)
    moustache = _smooth(mouth - 20, mouth - 16, y) * _smooth(corner + 9, corner + 3, x) * (y < mouth + 3)
    chin = _smooth(corner + 8, corner, x) * _smooth(mouth + 6, mouth + 12, y) * (y < mouth + 62) * (z > -45)
    around = (x > corner) & (x < corner + 9) & (y > mouth - 12) & (y < mouth + 20)
    if kind == "moustache":
        area = moustache
    elif kind == "goatee":
        area = np.maximum(moustache, np.maximum(chin, 0.7 * around)) * (z > -25)
    else:
        cheek = np.interp(x, [corner, corner + 12, 56, 64, 70], [mouth - 8, mouth + 4, 46, 18, -6])
        jaw = _smooth(-2, 9, y - cheek) * _smooth(mouth + 58, mouth + 40, y - 0.35 * np.maximum(z, -40))
        area = np.maximum.reduce([moustache, chin, around * 1.0, jaw * (x > corner - 4)])
    return (area * skin * (neutral[:, 1] > -10)).astype(np.float32)


def _face_locks(roots: _Roots, surface: HeadSurface, length: float, rng: Rng) -> Array:
    """Short locks that lie down and outwards on the face, (n, 6, 3)."""
    number = len(roots.points)
    outward = np.clip(roots.neutral[:, 0] / 26, -1, 1)
    upper = _smooth(66, 60, roots.neutral[:, 1]) * (np.abs(roots.neutral[:, 0]) < 32)
    flow = np.stack([outward * (0.25 + 0.75 * upper), 1 - 0.35 * upper, 0.12 + 0 * outward], 1)
    flow = _unit(flow + rng.normal(0, 0.22, (number, 3)))
    heading = _unit(flow + 0.45 * roots.normals)
    chin = _smooth(75, 100, roots.neutral[:, 1])
    size = length * (0.6 + 0.5 * chin * (length > 12)) * rng.lognormal(0, 0.2, number)
    size = np.where(upper > 0.4, np.minimum(size, 9.0), size)
    step = (size / 5)[:, None]
    points = [roots.points]
    for _ in range(5):
        moved = surface.pushed_out((points[-1] + heading * step).astype(np.float32), 0.5)
        points.append(moved)
        heading = _unit(0.7 * heading + 0.3 * (flow + np.array([0, 0.25, 0])))
    return np.stack(points, 1)


def _colours(person: Person, number: int, rng: Rng, grey: float | Array) -> tuple[Array, Array]:
    """Albedo (n, 3) and infrared albedo (n,) of locks; grey ones mixed in."""
    rgb = np.array(person.hair_rgb) * rng.lognormal(0, 0.22, (number, 1))
    rgb = rgb * (1 + rng.normal(0, 0.05, (number, 3)))
    rgb = np.where(rng.random((number, 1)) < 0.1, rgb * 1.45, rgb)  # bleached by the sun
    white = np.array(GREY) * rng.uniform(0.65, 1.2, (number, 1))
    share = np.clip(grey + 0.18 * rng.normal(size=number), 0, 1) * (np.asarray(grey) > 0.01)  # a lock is many hairs
    rgb = rgb + share[:, None] * (white - rgb)
    light = rgb.mean(1)
    infrared = (0.16 + 0.62 * np.sqrt(np.clip(light, 0, 1))) * rng.lognormal(0, 0.1, number)
    return np.clip(rgb, 0.004, 0.7).astype(np.float32), np.clip(infrared, 0.1, 0.7).astype(np.float32)


def _waves(points: Array, texture: Texture, tuft: NDArray[np.integer], rng: Rng) -> Array:
    """Displacement (n, k, 3) of a wave or helix along each lock, in step within a tuft."""
    number = len(points)
    travelled = np.concatenate(
        [np.zeros((number, 1)), np.cumsum(np.linalg.norm(np.diff(points, axis=1), axis=2), 1)], 1
    )
    phase = rng.uniform(0, 6.3, number)[tuft] + rng.normal(0, 0.5, number)
    wavelength = texture.wavelength_mm * rng.lognormal(0, 0.15, number)[tuft]
    angle = travelled / wavelength[:, None] * 2 * np.pi + phase[:, None]
    tangent = _unit(np.gradient(points, axis=1))
    one = _unit(np.cross(tangent, _unit(rng.normal(0, 1, (number, 3)))[tuft][:, None] + [0.0, 0.0, 0.01]))
    two = np.cross(tangent, one)
    grows = texture.wave_mm * np.clip(travelled / 50, 0, 1)[..., None]
    return np.asarray(grows * (np.sin(angle)[..., None] * one + texture.coil * np.cos(angle)[..., None] * two))


def _frayed(points: Array, amount_mm: float, rng: Rng) -> Array:
    """Smooth random displacement (n, k, 3) that grows from 0 at the root."""
    number, k, _ = points.shape
    t = np.linspace(0, 1, k)[None, :, None]
    slow, quick = rng.normal(0, 1, (2, number, 1, 3))
    wobble = np.sin(t * 7 + rng.uniform(0, 6.3, (number, 1, 3)))
    return np.asarray(amount_mm * t * (0.9 * slow + 0.6 * quick * wobble))


def _resampled(curves: Array, count: int) -> Array:
    """Curves (n, k, 3) with `count` points, by Catmull-Rom splines."""
    k = curves.shape[1]
    place = np.linspace(0, k - 1, count)
    i = np.minimum(place.astype(int), k - 2)
    u = (place - i)[None, :, None]
    padded = np.concatenate([2 * curves[:, :1] - curves[:, 1:2], curves, 2 * curves[:, -1:] - curves[:, -2:-1]], 1)
    a, b, c, d = (padded[:, i + j] for j in range(4))
    return np.asarray(
        0.5 * (2 * b + (c - a) * u + (2 * a - 5 * b + 4 * c - d) * u**2 + (3 * b - a - 3 * c + d) * u**3), np.float32
    )


def _in_pieces(hair: Strands, pieces: int) -> Strands:
    """Locks cut into ribbons that share end points; tips a little lighter than roots."""
    if pieces == 1:
        return hair
    k = (hair.points_mm.shape[1] - 1) // pieces + 1
    rows = [slice(i * (k - 1), i * (k - 1) + k) for i in range(pieces)]
    shades = np.linspace(0.85, 1.2, pieces)
    return _strands(
        np.concatenate([hair.points_mm[:, row] for row in rows]),
        np.concatenate([hair.widths_mm[:, row] for row in rows]),
        np.concatenate([hair.colours * shade for shade in shades]),
        np.concatenate([hair.infrared * shade**0.5 for shade in shades]),
    )


def _joined(a: Strands, b: Strands) -> Strands:
    count = a.points_mm.shape[1]
    resampled = _resampled(b.points_mm, count)
    widths = _resampled(np.repeat(b.widths_mm[..., None], 3, 2), count)[..., 0]
    return _strands(
        np.concatenate([a.points_mm, resampled]),
        np.concatenate([a.widths_mm, widths]),
        np.concatenate([a.colours, b.colours]),
        np.concatenate([a.infrared, b.infrared]),
    )


def _strands(points: Array, widths: Array, colours: Array, infrared: Array) -> Strands:
    return Strands(*(np.ascontiguousarray(x, np.float32) for x in (points, widths, colours, infrared)))


def _taper(k: int, tip: float = 0.18) -> Array:
    """Relative width from root to tip, (k,)."""
    t = np.linspace(0, 1, k)
    return np.asarray(np.interp(t, [0, 0.15, 0.6, 1], [0.75, 1.0, 0.9, tip]))


def _unit(vectors: Array) -> Array:
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-6))


def _smooth(low: float, high: float, x: Array) -> Array:
    """0 at `low`, 1 at `high`, smooth between; `low` may lie above `high`."""
    t = np.clip((x - low) / (high - low), 0, 1)
    return np.asarray(t * t * (3 - 2 * t))
