"""Hair that is painted on the skin: brows, beard, lash roots, and the scalp under the strands."""

import functools
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from dashgaze.training.synth.body import neutral_mm, topology
from dashgaze.training.synth.hair import depth_in_hairline_mm
from dashgaze.training.synth.records import FacialHair, Person
from dashgaze.training.synth.skin import chart
from dashgaze.training.synth.skin.chart import COARSE, SIZE, Map

Rng = np.random.Generator
Points = NDArray[np.float64]

GREY = (0.46, 0.45, 0.43)
SHADES = 6
"""Hairs are drawn in so many strengths."""
MOST_HAIRS = 10000
"""Of a beard."""


@dataclass(frozen=True, slots=True, eq=False)
class Coat:
    """Hair over skin: what share of each texel it covers, (SIZE, SIZE), and its colour."""

    cover: Map
    colour: NDArray[np.float64]
    """(3,) albedo in visible light."""
    infrared: float


def infrared_albedo(colour: NDArray[np.float64]) -> float:
    """Hair at 850 to 940 nm: pigment absorbs far less; black hair is still darker than skin."""
    return float(0.13 + 0.5 * np.sqrt(colour.mean()) * 0.9)


@functools.cache
def _positions() -> Map:
    """Where on the mean head each texel of a coarse map lies, (COARSE, COARSE, 3) in millimetres; ears left out."""
    neutral = neutral_mm()
    on_head = (topology().masks["ears"] < 0.05) & (np.abs(neutral[:, 0]) < 110.0) & (neutral[:, 1] < 170.0)
    points = neutral[on_head]
    texels = (np.stack(np.meshgrid(np.arange(COARSE), np.arange(COARSE)), axis=-1) + 0.5) / COARSE
    distance, nearest = cKDTree(chart.uv_of(points)).query(texels, k=4)
    shares = 1.0 / (distance + 1e-4)
    shares /= shares.sum(axis=-1, keepdims=True)
    return np.asarray((points[nearest] * shares[..., None]).sum(axis=2), np.float32)


_BEARD = (
    (0.2506, 0.4252),
    (0.2604, 0.4920),
    (0.2845, 0.5336),
    (0.3270, 0.5659),
    (0.3739, 0.5839),
    (0.4098, 0.5839),
    (0.4330, 0.5624),
    (0.4545, 0.5466),
    (0.5000, 0.5423),
    (0.5000, 0.7899),
    (0.4046, 0.7708),
    (0.3126, 0.7094),
    (0.2256, 0.6167),
    (0.2150, 0.5484),
    (0.2181, 0.4470),
)
_MOUSTACHE = (
    (0.5000, 0.5449),
    (0.4693, 0.5449),
    (0.4460, 0.5598),
    (0.4333, 0.5948),
    (0.4374, 0.6049),
    (0.4460, 0.5904),
    (0.4651, 0.5730),
    (0.4838, 0.5686),
    (0.5000, 0.5721),
)
_GOATEE = (
    (0.4374, 0.5915),
    (0.4292, 0.6167),
    (0.4374, 0.6685),
    (0.4555, 0.7142),
    (0.4812, 0.7425),
    (0.5000, 0.7472),
    (0.5000, 0.6348),
    (0.4719, 0.6348),
    (0.4521, 0.6187),
    (0.4434, 0.6049),
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
    full = np.asarray(np.maximum(full * thin, moustache) * bare, np.float32)
    moustache, goatee = np.asarray(moustache * bare, np.float32), np.asarray(goatee * bare, np.float32)
    return {"none": full, "stubble": full, "beard": full, "moustache": moustache, "goatee": goatee}


def scalp(person: Person, rng: Rng) -> list[Coat]:
    """Hair roots over the scalp, so that no bare skin shines through under strands."""
    depth_mm = depth_in_hairline_mm(person, _positions().reshape(-1, 3)).reshape(COARSE, COARSE)
    edge_mm = chart.full(chart.blurred(depth_mm, 1.0)) + 5.0 * chart.noise(rng, 64, 4)
    strength = {"bald": 0.25, "shaved": 0.45}.get(person.hair_style, 0.92)
    dense = np.clip(0.3 + edge_mm / 16.0, 0.0, 1.0)
    stipple = np.clip(0.90 + 0.10 * chart.noise(rng, 256, 2), 0.5, 1.0)
    colour = 0.7 * _mean_colour(person, person.grey)  # roots lie in the shade of what grows out of them
    return [Coat(np.asarray(dense * stipple * strength, np.float32), colour, infrared_albedo(colour))]


def beard(person: Person, rng: Rng) -> list[Coat]:
    """Facial hair of the person's kind; a faint bluish shadow for a shaved man, nothing for a woman."""
    kind = person.facial_hair
    if kind == "none" and person.male < 0.5:
        return []
    region = beard_regions()[kind]
    ragged = chart.noise(rng, 32, 4)
    grows = np.clip(chart.full(region) * (1.0 + 0.22 * ragged), 0.0, 1.0).astype(np.float32)
    if kind == "none":
        shadow = float(np.clip(0.20 - 0.8 * np.mean(person.hair_rgb), 0.02, 0.20)) * rng.uniform(0.3, 1.2)
        stipple = 1.0 + 0.35 * chart.noise(rng, 256, 2)
        return _coats(person, np.asarray(grows * shadow * stipple, np.float32))
    density = person.facial_hair_density
    if kind == "stubble":
        base, length_px, strength, elsewhere = 0.12 + 0.28 * density, (1.0, 3.0), 0.60, 0.0
    else:
        base, length_px, strength, elsewhere = 0.60 + 0.35 * density, (6.0, 15.0), 0.55, 0.05 + 0.10 * rng.random()
    roots = _strewn(rng, grows, int(MOST_HAIRS * (0.4 + 0.6 * density)))
    way = _beard_directions(roots, rng) * (rng.uniform(*length_px, (len(roots), 1)) / SIZE)
    bent = rng.normal(0.0, 0.15, way.shape) * np.abs(way).max(axis=1, keepdims=True)
    strands = np.stack([roots, roots + 0.5 * way, roots + way + bent], axis=1)
    single = _Hairs(strands, rng.uniform(0.4, 1.0, len(roots)) * strength, rng.random(len(roots)))
    cover = base * grows**1.2 * (1.0 + 0.10 * chart.noise(rng, 256, 3))
    if elsewhere:  # the shaved rest
        cover = np.maximum(cover, elsewhere * chart.full(beard_regions()["none"]))
    return _coats(person, np.asarray(np.clip(cover, 0.0, 0.95), np.float32), single, 1.2)


def brows(person: Person, rng: Rng) -> list[Coat]:
    """Eyebrows, hair by hair: upright at the head, along the brow in its body, down at the tail."""
    cover, strands = np.zeros((SIZE, SIZE), np.float32), []
    spine = np.array(chart.BROW)
    spine[:, 1] -= 0.0045 * person.brow_height
    spine[:, 1] -= 0.0050 * person.brow_arch * np.array([-0.5, 0.2, 1.0, -0.6])
    thick = 0.0130 * (0.72 + 0.43 * person.male) * (0.7 + 0.3 * person.brow_density)
    for mirror in (False, True):
        uneven = spine + rng.normal(0.0, 0.0010, spine.shape)
        count = int(520 * person.brow_density * (0.75 + 0.4 * person.male))
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
        cover = np.maximum(cover, chart.line(soft, 0.9 * thick, 0.45 * thick, SIZE))
        strands.append(hairs)
    number = sum(len(side) for side in strands)
    single = _Hairs(np.concatenate(strands), rng.uniform(0.45, 0.95, number), rng.random(number))
    return _coats(person, cover * min(0.36 * person.brow_density, 0.6), single, 0.6)


def _coats(person: Person, cover: Map, hairs: "_Hairs | None" = None, greying: float = 1.0) -> list[Coat]:
    """The cover in the mean colour of the hair, and single hairs over it, pigmented or grey."""
    grey = min(1.0, person.grey * greying)
    mean = _mean_colour(person, grey)
    coats = [Coat(cover, mean, infrared_albedo(mean))]
    if hairs is not None:
        colours = (np.array(person.hair_rgb), np.array(GREY))
        coats += [Coat(drawn, colour, infrared_albedo(colour)) for drawn, colour in hairs.drawn(grey, colours)]
    return coats


def _mean_colour(person: Person, grey: float) -> NDArray[np.float64]:
    dark = np.array(person.hair_rgb)
    return np.asarray(dark + (0.7 * np.array(GREY) - dark) * grey)


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
    out = side * (0.15 + 1.3 * lip * np.minimum(np.abs(roots[:, 0] - 0.5) / 0.03, 1.0)) + rng.normal(
        0.0, 0.35, len(roots)
    )
    way = np.stack([out, np.ones(len(roots))], axis=1)
    return np.asarray(way / np.linalg.norm(way, axis=1, keepdims=True))


@dataclass(frozen=True, slots=True, eq=False)
class _Hairs:
    """Single hairs: polylines (n, k, 2) on the chart, how much each covers, and a number in 0..1 that makes it grey."""

    points: Points
    strengths: NDArray[np.float64]
    lot: NDArray[np.float64]

    def drawn(self, grey: float, colours: tuple[NDArray[np.float64], ...]) -> list[tuple[Map, NDArray[np.float64]]]:
        """Cover of the pigmented and of the grey hairs, with their colours; nothing for a kind that is missing."""
        white = self.lot < grey
        return [
            (_draw(self.points[chosen], self.strengths[chosen]), colour)
            for chosen, colour in zip((~white, white), colours, strict=True)
            if chosen.any()
        ]


def _draw(hairs: Points, strengths: NDArray[np.float64]) -> Map:
    """Hairs (n, k, 2) as thin lines, drawn at twice the size, (SIZE, SIZE)."""
    points = chart.fixed_point(hairs, SIZE)
    low = np.maximum(points.min(axis=(0, 1)) // 16 - 4, 0)
    high = np.minimum(points.max(axis=(0, 1)) // 16 + 5, SIZE)
    twice = np.zeros((2 * (high - low)[1], 2 * (high - low)[0]), np.float32)
    local = 2 * (points - 16 * low)
    shade = np.ceil(strengths * SHADES)
    for level in np.unique(shade):
        cv2.polylines(twice, list(local[shade == level]), False, float(level / SHADES), 1, cv2.LINE_AA, 4)
    small = cv2.resize(chart.blurred(twice, 0.8), tuple((high - low).tolist()), interpolation=cv2.INTER_AREA)
    drawn = np.zeros((SIZE, SIZE), np.float32)
    drawn[low[1] : high[1], low[0] : high[0]] = small
    return drawn
