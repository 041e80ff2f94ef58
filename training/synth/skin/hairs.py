"""Hair that is painted on the skin: brows, beard, lash roots, and the scalp under the strands."""

import functools
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from dashgaze.training.synth.records import FacialHair, Person
from dashgaze.training.synth.skin import chart
from dashgaze.training.synth.skin.chart import SIZE, Map

Rng = np.random.Generator
Points = NDArray[np.float64]

GREY = (0.46, 0.45, 0.43)
SHADES = 6
"""Strokes are drawn in so many strengths."""


@dataclass(frozen=True, slots=True, eq=False)
class Coat:
    """Hair over skin: what share of each texel it covers, (SIZE, SIZE), and its colour."""

    cover: Map
    colour: NDArray[np.float64]
    """(3,) albedo in visible light."""
    infrared: float


def hair_colours(person: Person) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Albedo of pigmented and of grey hair."""
    return np.array(person.hair_rgb), np.array(GREY)


def infrared_albedo(colour: NDArray[np.float64]) -> float:
    """Hair at 850 to 940 nm: pigment absorbs far less; black hair is still darker than skin."""
    return float(0.13 + 0.5 * np.sqrt(colour.mean()) * 0.9)


def hairline() -> Points:
    """Front edge of the hair, right half, from the middle of the forehead to the nape, for `Person.hairline` 0."""
    return np.array(_HAIRLINE)


_HAIRLINE = (
    (0.500, 0.190),
    (0.440, 0.192),
    (0.395, 0.205),
    (0.345, 0.238),
    (0.312, 0.285),
    (0.290, 0.325),
    (0.268, 0.360),
    (0.256, 0.400),
    (0.250, 0.440),
    (0.232, 0.452),
    (0.222, 0.420),
    (0.210, 0.378),
    (0.170, 0.362),
    (0.132, 0.400),
    (0.115, 0.470),
    (0.100, 0.560),
    (0.050, 0.620),
    (0.000, 0.630),
)
_RECEDING = (0.075, 0.090, 0.110, 0.085, 0.030, 0.010) + (0.0,) * 12
"""How far up each point of the hairline goes for `Person.hairline` 1."""

_BEARD = (
    (0.256, 0.420),
    (0.262, 0.480),
    (0.285, 0.525),
    (0.325, 0.560),
    (0.370, 0.578),
    (0.405, 0.578),
    (0.430, 0.556),
    (0.455, 0.538),
    (0.500, 0.533),
    (0.500, 0.785),
    (0.400, 0.765),
    (0.310, 0.700),
    (0.225, 0.610),
    (0.215, 0.540),
    (0.222, 0.440),
)
_MOUSTACHE = (
    (0.500, 0.536),
    (0.470, 0.536),
    (0.444, 0.553),
    (0.428, 0.588),
    (0.432, 0.598),
    (0.441, 0.584),
    (0.463, 0.568),
    (0.483, 0.563),
    (0.500, 0.567),
)
_GOATEE = (
    (0.432, 0.585),
    (0.424, 0.610),
    (0.432, 0.660),
    (0.452, 0.705),
    (0.480, 0.735),
    (0.500, 0.740),
    (0.500, 0.628),
    (0.470, 0.628),
    (0.448, 0.612),
    (0.438, 0.598),
)


@functools.cache
def beard_regions() -> dict[FacialHair, Map]:
    """Where each kind of facial hair grows, (COARSE, COARSE), 0 to 1, lips left out."""
    lips = chart.area(np.vstack([chart.symmetric(chart.LIP_TOP), chart.symmetric(chart.LIP_BOTTOM)[::-1]]), 0.002)
    thin = 1.0 - 0.75 * chart.spots(0.455, 0.625, 0.010, 0.010)  # bare patches beside the tuft under the lip
    full = chart.area(np.vstack([chart.symmetric(_BEARD[:9]), chart.symmetric(_BEARD[:8:-1])[::-1]]), 0.008)
    moustache = chart.areas(_MOUSTACHE, 0.0030)
    goatee = np.maximum(chart.areas(_GOATEE, 0.0045), moustache)
    bare = 1.0 - np.minimum(lips, 1.0)
    full = np.maximum(full * thin, moustache) * bare
    return {"none": full, "stubble": full, "beard": full, "moustache": moustache * bare, "goatee": goatee * bare}


def scalp(person: Person, rng: Rng) -> list[Coat]:
    """Hair roots over the scalp, so that no bare skin shines through under strands."""
    edge = hairline()
    edge[:, 1] -= np.array(_RECEDING) * person.hairline
    outline = np.vstack([chart.curve(edge, 72), [(0.0, 0.0), (0.5, 0.0)]])
    cover = np.minimum(chart.areas(outline, 0.008), 1.0)
    strength = {"bald": 0.12, "shaved": 0.55}.get(person.hair_style, 0.92)
    if person.hair_style == "bald":
        cover = cover * (1.0 - chart.spot(0.5, 0.0, 0.28, 0.17))  # a ring is left
    dense = chart.full(np.asarray(cover, np.float32))
    dense = np.clip(1.15 * dense * (1.0 + 0.35 * chart.noise(rng, 128, 3) * (1.2 - dense)), 0.0, 1.0)
    stipple = np.clip(0.75 + 0.25 * chart.noise(rng, 256, 2), 0.2, 1.0)
    return _coats(person, np.asarray(dense * stipple * strength, np.float32))


def beard(person: Person, rng: Rng) -> list[Coat]:
    """Facial hair of the person's kind; a faint bluish shadow for a shaved man, nothing for a woman."""
    kind = person.facial_hair
    if person.male < 0.5:
        return []
    region = beard_regions()[kind]
    ragged = chart.noise(rng, 32, 4)
    grows = np.clip(chart.full(region) * (1.0 + 0.22 * ragged), 0.0, 1.0).astype(np.float32)
    if kind == "none":
        shadow = float(np.clip(0.16 - 0.5 * np.mean(person.hair_rgb), 0.02, 0.16)) * rng.uniform(0.3, 1.2)
        stipple = 1.0 + 0.35 * chart.noise(rng, 256, 2)
        return _coats(person, np.asarray(grows * shadow * stipple, np.float32))
    density = person.facial_hair_density
    if kind == "stubble":
        base, count, length, alpha = 0.10 + 0.26 * density, 9000, (1.0, 3.0), 0.55
        everywhere = 0.0
    else:
        base, count, length, alpha = 0.48 + 0.40 * density, 9000, (6.0, 15.0), 0.60
        everywhere = 0.05 + 0.10 * rng.random()
    strands = _strewn(rng, grows, int(count * (0.4 + 0.8 * density)))
    drawn = _strokes(strands, _beard_directions(strands, rng), rng.uniform(*length, len(strands)), alpha, rng)
    cover = base * np.clip(grows, 0.0, 1.0) ** 1.2 * (1.0 + 0.18 * chart.noise(rng, 256, 3))
    cover = cover + (1.0 - cover) * drawn
    if everywhere:  # the shaved rest
        cover = np.maximum(cover, everywhere * chart.full(beard_regions()["none"]))
    return _coats(person, np.asarray(np.clip(cover, 0.0, 0.97), np.float32), rng)


def brows(person: Person, rng: Rng) -> list[Coat]:
    """Eyebrows, hair by hair: upright at the head, along the brow in its body, down at the tail."""
    cover = np.zeros((SIZE, SIZE), np.float32)
    spine = np.array(chart.BROW)
    spine[:, 1] -= 0.0045 * person.brow_height
    spine[:, 1] -= 0.0050 * person.brow_arch * np.array([-0.5, 0.2, 1.0, -0.6])
    thick = 0.0105 * (0.75 + 0.45 * person.male) * (0.7 + 0.3 * person.brow_density)
    for mirror in (False, True):
        uneven = spine + rng.normal(0.0, 0.0010, spine.shape)
        count = int(330 * person.brow_density * (0.8 + 0.5 * person.male))
        along = rng.random(count) ** 0.85
        across = np.clip(rng.normal(0.0, 0.42, count), -1.0, 1.0)
        path = chart.curve(uneven, 200)
        roots = path[(along * 199).astype(int)]
        width = thick * np.interp(along, [0.0, 0.12, 0.55, 1.0], [0.75, 1.0, 0.85, 0.22])
        roots = roots + np.stack([np.zeros(count), across * width], axis=1)
        rising = np.interp(along, [0.0, 0.10, 0.35, 0.65, 1.0], [100.0, 72.0, 38.0, 12.0, -28.0])
        angle = np.radians(rising + 22.0 * across * (along > 0.15) + rng.normal(0.0, 9.0, count))
        length = rng.uniform(0.008, 0.017, count) * np.interp(along, [0.0, 0.3, 1.0], [0.85, 1.0, 0.7])
        way = np.stack([-np.cos(angle), -np.sin(angle)], axis=1) * length[:, None]  # laterally is to lower u
        bend = np.stack([-np.ones(count), np.zeros(count)], axis=1) * (0.18 * length)[:, None]
        hairs = np.stack([roots, roots + 0.55 * way, roots + way + bend], axis=1)
        soft = chart.curve(uneven, 24)
        if mirror:
            hairs, soft = chart.mirrored(hairs), chart.mirrored(soft)
        under = chart.line(soft, 0.9 * thick, 0.45 * thick, SIZE)
        drawn = _draw(hairs, rng.uniform(0.45, 0.95, count), 1.1)
        base = np.minimum(0.30 * person.brow_density, 0.6) * under
        cover = np.maximum(cover, base + (1.0 - base) * drawn)
    return _coats(person, np.asarray(np.clip(cover, 0.0, 0.95), np.float32), rng, 0.6)


def _coats(person: Person, cover: Map, rng: Rng | None = None, greying: float = 1.0) -> list[Coat]:
    """The cover as pigmented hair, and as grey hair over a share of it."""
    dark, white = hair_colours(person)
    if person.grey * greying < 0.03:
        return [Coat(cover, dark, infrared_albedo(dark))]
    if rng is None:
        mixed = dark + (white * 0.8 - dark) * person.grey * greying
        return [Coat(cover, mixed, infrared_albedo(mixed))]
    share = np.clip(person.grey * greying * 1.1 + 0.30 * chart.noise(rng, 128, 3), 0.0, 1.0).astype(np.float32)
    return [Coat(cover, dark, infrared_albedo(dark)), Coat(cover * share, white, infrared_albedo(white))]


def _strewn(rng: Rng, density: Map, count: int) -> Points:
    """Random chart positions (n, 2), as dense as the map says."""
    places = rng.random((4 * count, 2)) * [0.62, 0.42] + [0.19, 0.40]
    texel = (places * SIZE).astype(int)
    kept = rng.random(len(places)) < density[texel[:, 1], texel[:, 0]]
    return np.asarray(places[kept][:count])


def _beard_directions(roots: Points, rng: Rng) -> Points:
    """Unit vectors: down, on the upper lip outwards, along the jaw a little backwards."""
    side = np.sign(roots[:, 0] - 0.5)
    lip = np.exp(-(((roots[:, 1] - 0.55) / 0.018) ** 2)) * (np.abs(roots[:, 0] - 0.5) < 0.075)
    out = side * (0.15 + 1.3 * lip * np.minimum(np.abs(roots[:, 0] - 0.5) / 0.03, 1.0)) + rng.normal(0.0, 0.35, len(roots))
    way = np.stack([out, np.ones(len(roots))], axis=1)
    return np.asarray(way / np.linalg.norm(way, axis=1, keepdims=True))


def _strokes(roots: Points, directions: Points, length_px: NDArray[np.float64], alpha: float, rng: Rng) -> Map:
    way = directions * (length_px / SIZE)[:, None]
    hairs = np.stack([roots, roots + 0.5 * way, roots + way + rng.normal(0.0, 0.06, way.shape) * way], axis=1)
    return _draw(hairs, rng.uniform(0.4, 1.0, len(roots)) * alpha, 0.45)


def _draw(hairs: ArrayLike, strengths: NDArray[np.float64], sigma_px: float) -> Map:
    """Hairs (n, 3, 2) as one-texel lines drawn at twice the size, faint ones first, (SIZE, SIZE)."""
    points = chart.fixed_point(hairs, SIZE)
    low = np.maximum(points.min(axis=(0, 1)) // 16 - 4, 0)
    high = np.minimum(points.max(axis=(0, 1)) // 16 + 5, SIZE)
    twice = np.zeros((2 * (high - low)[1], 2 * (high - low)[0]), np.float32)
    local = 2 * (points - 16 * low)
    rank = (strengths / max(float(strengths.max(initial=0.0)), 1e-6) * (SHADES - 1e-6)).astype(int)
    for shade in range(SHADES):
        chosen = local[rank == shade]
        if len(chosen):
            cv2.polylines(twice, list(chosen), False, float(strengths[rank == shade].mean()), 1, cv2.LINE_AA, 4)
    small = cv2.resize(chart.blurred(twice, sigma_px), tuple((high - low).tolist()), interpolation=cv2.INTER_AREA)
    drawn = np.zeros((SIZE, SIZE), np.float32)
    drawn[low[1] : high[1], low[0] : high[0]] = small
    return drawn


