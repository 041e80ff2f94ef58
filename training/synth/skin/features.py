"""What gives one face's skin its look: pigment by region, marks, wrinkles, lips and make-up.

Amounts are in the units of `pigment` (melanin 0 to 1 over all people, blood 0 for the usual) and in millimetres of
relief.
"""

import functools
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from dashgaze.training.synth.records import Person, Rgb
from dashgaze.training.synth.skin import chart
from dashgaze.training.synth.skin.chart import SIZE, Map

Rng = np.random.Generator


@dataclass(frozen=True, slots=True)
class Wrinkle:
    """A line that deepens as a face ages."""

    points: tuple[tuple[float, float], ...]
    """On the person's right; or from right to middle where it crosses the face."""
    onset: float
    """`Person.wrinkles` from which on it shows; below 0 a child has it."""
    depth_mm: float
    width_mm: float
    crosses: bool = False
    """Runs on to the left side, instead of having a twin there."""


NASOLABIAL_FOLD = Wrinkle(
    ((0.4565, 0.5131), (0.4456, 0.5324), (0.4354, 0.5589), (0.4272, 0.5904), (0.4241, 0.6147)), -0.20, 0.9, 2.4
)
WRINKLES = (
    # forehead
    Wrinkle(((0.3785, 0.2370), (0.4265, 0.2268), (0.5000, 0.2329)), 0.30, 0.30, 1.2, True),
    Wrinkle(((0.3736, 0.2595), (0.4265, 0.2482), (0.5000, 0.2554)), 0.18, 0.40, 1.4, True),
    Wrinkle(((0.3716, 0.2819), (0.4265, 0.2697), (0.5000, 0.2789)), 0.14, 0.42, 1.4, True),
    Wrinkle(((0.3785, 0.3044), (0.4318, 0.2911), (0.5000, 0.3024)), 0.24, 0.34, 1.3, True),
    # between the brows, root of the nose
    Wrinkle(((0.4855, 0.3594), (0.4829, 0.3418), (0.4845, 0.3228)), 0.16, 0.45, 1.3),
    Wrinkle(((0.4762, 0.3528), (0.4731, 0.3396), (0.4752, 0.3269)), 0.45, 0.25, 1.1),
    Wrinkle(((0.4793, 0.3837), (0.5000, 0.3809)), 0.35, 0.25, 1.2, True),
    # crow's feet
    Wrinkle(((0.3766, 0.3957), (0.3637, 0.3878), (0.3478, 0.3815)), 0.16, 0.28, 1.0),
    Wrinkle(((0.3746, 0.4008), (0.3597, 0.3981), (0.3418, 0.3990)), 0.10, 0.32, 1.0),
    Wrinkle(((0.3756, 0.4073), (0.3617, 0.4110), (0.3458, 0.4186)), 0.16, 0.30, 1.0),
    Wrinkle(((0.3795, 0.4143), (0.3676, 0.4252), (0.3565, 0.4383)), 0.38, 0.25, 1.0),
    # lids and under the eye
    Wrinkle(((0.4512, 0.3926), (0.4372, 0.3820), (0.4136, 0.3749), (0.3921, 0.3809), (0.3766, 0.3933)), -0.4, 0.4, 0.8),
    Wrinkle(((0.4512, 0.4121), (0.4329, 0.4219), (0.4104, 0.4241), (0.3878, 0.4165)), 0.02, 0.22, 0.8),
    Wrinkle(((0.4479, 0.4175), (0.4309, 0.4295), (0.4096, 0.4328), (0.3868, 0.4241)), 0.30, 0.24, 0.9),
    Wrinkle(((0.4544, 0.4143), (0.4427, 0.4317), (0.4249, 0.4448), (0.4039, 0.4492)), -0.05, 0.45, 2.6),
    # beside nose and mouth
    NASOLABIAL_FOLD,
    Wrinkle(((0.4384, 0.6078), (0.4333, 0.6285), (0.4343, 0.6559)), 0.20, 0.6, 2.0),
    Wrinkle(((0.4582, 0.6495), (0.4775, 0.6432), (0.5000, 0.6411)), -0.20, 0.5, 2.6, True),
    Wrinkle(((0.3836, 0.4920), (0.3939, 0.5336), (0.4005, 0.5807)), 0.62, 0.35, 1.6),
    *(Wrinkle(((u, 0.5690), (u + 0.001, 0.5610), (u + 0.003, 0.5530)), 0.55, 0.22, 0.8) for u in (0.452, 0.467, 0.483)),
    # neck
    Wrinkle(((0.3023, 0.8045), (0.4046, 0.8319), (0.5000, 0.8358)), 0.05, 0.5, 1.8, True),
    Wrinkle(((0.2921, 0.8485), (0.4046, 0.8778), (0.5000, 0.8827)), 0.22, 0.5, 1.8, True),
)

WIDTHS = ((0.0, 1.15, 0.9, 2.2), (1.15, 2.2, 1.6, 1.6), (2.2, 9.0, 3.6, 0.8))
"""Wrinkles are drawn in three widths: from and to (mm), softness (texels), darkness by depth."""

EYE_SHADOWS: tuple[Rgb, ...] = (
    (0.16, 0.085, 0.055),
    (0.10, 0.065, 0.060),
    (0.18, 0.07, 0.10),
    (0.09, 0.10, 0.14),
    (0.32, 0.20, 0.13),
)


@functools.cache
def regions() -> dict[str, Map]:
    """Soft regions of the face, (COARSE, COARSE) each, 0 to 1."""
    spot, spots, area, areas, line, lines = (
        chart.spot,
        chart.spots,
        chart.area,
        chart.areas,
        chart.line,
        chart.lines,
    )
    eye_u, eye_v = chart.EYE
    under = np.vstack([chart.LID_LOWER, [(0.3871, 0.4306), (0.4110, 0.4405), (0.4374, 0.4361), (0.4544, 0.4165)]])
    lid = np.vstack(
        [chart.LID_UPPER, [(0.3736, 0.3918), (0.3900, 0.3749), (0.4136, 0.3683), (0.4404, 0.3727), (0.4576, 0.3894)]]
    )
    return {
        "cheeks": spots(*chart.CHEEK, 0.026, 0.034),
        "cheekbones": spots(0.3718, 0.4785, 0.026, 0.020),
        "nose": np.maximum(spot(*chart.NOSE_TIP, 0.019, 0.026), 0.9 * spots(*chart.NOSE_WING, 0.010, 0.013)),
        "bridge": spot(0.5000, 0.4361, 0.016, 0.045),
        "ears": spots(*chart.EAR, 0.035, 0.07),
        "forehead": spot(0.5000, 0.2666, 0.070, 0.040),
        "chin": spot(*chart.CHIN, 0.026, 0.022),
        "sockets": spots(eye_u + 0.006, eye_v - 0.004, 0.028, 0.026),
        "inner_corner": spots(0.4576, 0.3941, 0.010, 0.018),
        "under_eye": areas(under, 0.006),
        "lids": areas(lid, 0.004),
        "around_mouth": spot(0.5000, 0.6068, 0.052, 0.050),
        "folds": lines(chart.curve(NASOLABIAL_FOLD.points, 16), 0.006, 0.006),
        "wing_groove": lines(((0.4627, 0.5063), (0.4570, 0.5131), (0.4575, 0.5255)), 0.005, 0.003),
        "nostrils": spots(*chart.NOSTRIL, 0.0075, 0.0055),
        "neck": area(
            (
                (0.2000, 0.7567),
                (0.3228, 0.7378),
                (0.4251, 0.7850),
                (0.5749, 0.7850),
                (0.6772, 0.7378),
                (0.8000, 0.7567),
                (1, 1),
                (0, 1),
            ),
            0.02,
        ),
        "mouth_corners": spots(0.4420, 0.6009, 0.0060, 0.0050),
        "lip_shade": line(chart.symmetric(((0.4555, 0.6338), (0.4766, 0.6390), (0.5000, 0.6390))), 0.008, 0.006),
        "eye_lines": lines(chart.LID_UPPER, 0.004, 0.004),
    }


@functools.cache
def lips() -> tuple[Map, Map]:
    """Upper and lower vermilion, (SIZE, SIZE) each, 0 to 1."""
    seam = chart.symmetric(chart.LIP_SEAM)
    top = chart.symmetric(np.vstack([chart.LIP_TOP, chart.LIP_TOP_MIDDLE]))
    bottom = chart.symmetric(chart.LIP_BOTTOM)
    upper = chart.area(np.vstack([chart.curve(top, 96), seam[::-1]]), 0.0016, SIZE)
    lower = chart.area(np.vstack([chart.curve(bottom, 96), seam[::-1]]), 0.0016, SIZE)
    return upper, lower


@functools.cache
def lid_rims() -> Map:
    """Inside the lid margins: the wet edge and the corner of the eye, (SIZE, SIZE)."""
    return chart.areas(np.vstack([chart.LID_UPPER, chart.LID_LOWER[::-1]]), 0.0012, SIZE)


@functools.cache
def lash_lines() -> tuple[Map, Map]:
    """Roots of the upper and the lower lashes, (SIZE, SIZE)."""
    upper = chart.lines(chart.curve(np.add(chart.LID_UPPER[2:], (0, -0.0006)), 48), 0.0022, 0.0009, SIZE)
    lower = chart.lines(chart.curve(np.add(chart.LID_LOWER[1:], (0, 0.0008)), 48), 0.0012, 0.0010, SIZE)
    return upper, lower


def pigments(person: Person, rng: Rng) -> tuple[Map, Map]:
    """Melanin and blood of the bare skin, without lips and marks, (SIZE, SIZE)."""
    at = regions()
    tone, old = person.melanin, float(np.clip((person.age_years - 30.0) / 40.0, 0.0, 1.0))
    even = 1.0 - 0.55 * person.make_up
    shadowed = even * rng.uniform(0.3, 1.0) * (0.6 + 0.5 * old)
    # Regions differ most in pigment in brown skin.
    brown = 0.3 + 1.7 * float(np.exp(-(((tone - 0.45) / 0.25) ** 2)))
    melanin = (
        tone
        + 0.020 * at["forehead"] * brown * rng.uniform(0.2, 1.2)
        - 0.022 * at["cheeks"] * brown
        + 0.030 * at["around_mouth"] * brown * rng.uniform(0.0, 1.0)
        + 0.022 * at["sockets"] * brown * shadowed
        + (0.022 + 0.040 * brown * shadowed) * at["lids"]
        + (0.025 + 0.060 * brown * shadowed) * at["under_eye"]
        + 0.035 * at["inner_corner"]
        + 0.020 * at["folds"] * brown
        - rng.uniform(0.0, 0.05) * at["neck"] * (tone > 0.08)
    )
    flush = rng.uniform(0.5, 1.4) * person.blood * even
    weathered = 1.0 + 0.5 * old * person.male
    blood = (
        1.3 * (person.blood - 1.0)
        + 0.06 * person.male
        + flush * weathered * (0.36 * at["cheeks"] + 0.40 * at["nose"] + 0.10 * at["chin"])
        + 0.42 * at["ears"]
        - 0.14 * at["forehead"] * rng.uniform(0.0, 1.0)
        - 0.08 * at["around_mouth"]
        + 0.20 * at["lids"] * rng.uniform(0.3, 1.2)
        + 0.22 * at["under_eye"] * shadowed
        + 0.25 * at["inner_corner"]
        + 0.20 * at["wing_groove"]
    )
    blotchy = even * rng.uniform(0.6, 1.5)
    patches = chart.noise(rng, 8, 5)
    fine = chart.noise(rng, 64, 4)
    melanin = chart.full(np.asarray(melanin, np.float32))
    melanin += (0.010 + 0.010 * old) * blotchy * patches + 0.010 * even * fine
    blood = chart.full(np.asarray(blood, np.float32))
    blood += blotchy * (0.095 * chart.noise(rng, 16, 5) + 0.050 * fine[::-1])
    return melanin, blood


def add_marks(person: Person, rng: Rng, melanin: Map, blood: Map, height_mm: Map) -> None:
    """Freckles, age spots, moles, blemishes and small scars, added in place."""
    tone = person.melanin
    count = int(1400 * person.freckles**1.3)
    freckles = _dots(rng, count, (0.5, 0.44), (0.085, 0.055), (0.4, 1.3))
    melanin += chart.blurred(freckles, 0.8) * (0.34 * (1.0 - tone)) * (0.3 + 0.7 * person.freckles)
    late = max(0.0, person.age_years - 42.0) * (1.1 - tone)
    for size_px, share in (((1.5, 3.0), 0.7), ((3.0, 6.0), 0.18)):
        spots = chart.blurred(
            _dots(rng, rng.poisson(share * late), (0.5, 0.38), (0.11, 0.11), size_px), size_px[0] * 0.7
        )
        melanin += spots * 0.16 * (0.75 + 0.25 * chart.noise(rng, 64, 3))
    moles = chart.blurred(_dots(rng, person.moles, (0.5, 0.52), (0.11, 0.16), (1.2, 2.6)), 0.9)
    melanin += moles * (0.55 - 0.2 * tone)
    height_mm += moles * 0.25
    young = float(np.clip((38.0 - person.age_years) / 20.0, 0.1, 1.0))
    bumps = _dots(rng, rng.poisson(9.0 * young * rng.uniform(0.0, 1.6)), (0.5, 0.52), (0.09, 0.11), (1.5, 3.0))
    bumps = chart.blurred(bumps, 1.6) * (1.0 - 0.7 * person.make_up)
    blood += 1.1 * bumps
    melanin += 0.25 * tone * bumps  # dark skin keeps brown marks
    height_mm += 0.12 * bumps


def relief(person: Person, rng: Rng) -> tuple[Map, Map]:
    """Height of pores and wrinkles in millimetres, and how deep in a crease each texel lies, 0 to 1."""
    at = regions()
    worn = person.wrinkles
    oily = at["nose"] + 0.7 * at["cheeks"] + 0.5 * at["forehead"] + 0.4 * at["chin"]
    pores = chart.noise(rng, 256, 3)
    coarse = (0.35 + 0.65 * person.male) * rng.uniform(0.6, 1.3)
    height = -np.maximum(pores, 0.0) * chart.full(0.010 + 0.030 * coarse * oily)
    height += 0.012 * (0.4 + worn) * chart.noise(rng, 128, 4)
    creases = np.zeros((SIZE, SIZE), np.float32)
    for narrowest_mm, widest_mm, sigma_px, darkness_per_mm in WIDTHS:
        drawn = np.zeros((SIZE, SIZE), np.float32)
        for wrinkle in WRINKLES:
            depth_mm = wrinkle.depth_mm * float(np.clip((worn - wrinkle.onset) / (1.0 - wrinkle.onset), 0.0, 1.0))
            if narrowest_mm <= wrinkle.width_mm < widest_mm and depth_mm > 0.02:
                _engrave(drawn, rng, wrinkle, depth_mm)
        deep = chart.blurred(drawn, sigma_px)
        height -= deep
        creases += deep * darkness_per_mm
    bags = 0.5 * float(np.clip((person.age_years - 35.0) / 30.0, 0.0, 1.0)) * rng.uniform(0.2, 1.2)
    height += chart.full(bags * at["under_eye"])
    return np.asarray(height, np.float32), np.minimum(creases, 1.0)


def add_lips(person: Person, rng: Rng, melanin: Map, blood: Map, height_mm: Map) -> None:
    """Vermilion, its pale border and its vertical lines, added in place."""
    upper, lower = lips()
    both = upper + lower
    faded = 0.2 * float(np.clip((person.age_years - 40.0) / 35.0, 0.0, 1.0))
    vivid = person.blood * (1.0 - 0.2 * person.male) * (1.0 - faded) * rng.uniform(0.75, 1.15)
    lined = np.asarray(np.interp(np.arange(SIZE), np.arange(0, SIZE, 2), rng.standard_normal(SIZE // 2)), np.float32)
    lined = 0.6 * lined[None, :] + 0.5 * chart.noise(rng, 128, 3)
    blood += (1.10 * vivid * both) * (1.0 + 0.10 * lined)
    dark = person.melanin
    melanin += both * (0.03 + 0.02 * lined) + upper * 0.05 * dark - lower * (0.25 * dark * dark * rng.uniform(0.4, 1.2))
    border = chart.blurred(both, 3.0) * (1.0 - np.minimum(both, 1.0))
    melanin -= 0.05 * border * (1.0 - dark)
    height_mm += both * 0.05 * np.minimum(lined, 0.5) + 0.2 * border


def shade(person: Person, creases: Map) -> Map:
    """What share of light folds, nostrils and the seam of the mouth let out, (SIZE, SIZE)."""
    at = regions()
    soft = (
        (0.06 + 0.24 * person.wrinkles) * at["folds"]
        + 0.22 * at["wing_groove"]
        + 0.70 * at["nostrils"]
        + 0.30 * at["mouth_corners"]
        + 0.12 * at["lip_shade"]
        + 0.08 * at["inner_corner"]
        + 0.10 * at["eye_lines"]
    )
    seam = chart.line(chart.symmetric(chart.LIP_SEAM), 0.0030, 0.0014, SIZE)
    return np.asarray(
        (1.0 - np.minimum(chart.full(soft), 0.8)) * (1.0 - 0.48 * creases) * (1.0 - 0.55 * seam), np.float32
    )


def roughness(person: Person, rng: Rng) -> Map:
    """How broad highlights are, (SIZE, SIZE): the middle of the face is oily, lips are moist, powder is dull."""
    at = regions()
    oily = np.minimum(at["forehead"] + at["nose"] + at["bridge"] + 0.5 * at["chin"], 1.0)
    dry = 0.05 * float(np.clip((person.age_years - 40.0) / 30.0, 0.0, 1.0)) + 0.04 * person.make_up
    upper, lower = lips()
    rough = chart.full(np.asarray(0.56 + dry - 0.08 * rng.uniform(0.2, 1.2) * oily, np.float32))
    rough += 0.025 * chart.noise(rng, 64, 4)
    rough += (0.42 - 0.08 * person.make_up - rough) * np.minimum(upper + lower, 1.0)
    rough += (0.30 - rough) * lid_rims()
    return np.asarray(np.clip(rough, 0.25, 0.65), np.float32)


def add_make_up(person: Person, rng: Rng, albedo: Map, rough: Map) -> None:
    """Eye shadow, eyeliner, mascara, blush and lipstick, painted over in place."""
    at = regions()
    strength = person.make_up
    shadow = EYE_SHADOWS[int(rng.integers(len(EYE_SHADOWS)))]
    blush = np.array([0.55, 0.20, 0.20]) * (1.0 - 0.6 * person.melanin)
    upper, lower = lash_lines()
    lipstick = min(1.0, 1.3 * strength) * rng.uniform(0.5, 0.85)
    paint(albedo, chart.full(at["cheekbones"]) * (0.28 * strength), blush)
    paint(albedo, chart.full(at["lids"]) * (0.55 * strength * rng.uniform(0.2, 1.0)), np.array(shadow))
    liner = np.asarray(np.minimum(1.6 * upper * rng.uniform(0.3, 1.0) + 0.5 * lower, 1.0), np.float32)
    paint(albedo, liner * (0.85 * strength), np.full(3, 0.012))
    mouth = np.asarray(np.minimum(np.add(*lips()), 1.0), np.float32)
    gloss = 1.0 + 0.06 * chart.noise(rng, 128, 3)
    paint(albedo, mouth * lipstick, np.array(person.lip_rgb), gloss)
    rough -= mouth * (0.06 * lipstick)


def paint(albedo: Map, cover: Map, colour: NDArray[np.float64], texture: Map | None = None) -> None:
    """Lays a colour over the albedo in place where `cover` (h, w) is not nil; `texture` multiplies the colour."""
    rows, columns = np.flatnonzero(cover.max(axis=1) > 0.002), np.flatnonzero(cover.max(axis=0) > 0.002)
    if not len(rows):
        return
    box = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    over = colour.astype(np.float32) if texture is None else colour.astype(np.float32) * texture[box][..., None]
    albedo[box] += (over - albedo[box]) * cover[box][..., None]


def _dots(
    rng: Rng, count: int, centre: tuple[float, float], spread: tuple[float, float], radius_px: tuple[float, float]
) -> Map:
    """Discs of random strength strewn around the centre, (SIZE, SIZE)."""
    drawn = np.zeros((SIZE, SIZE), np.float32)
    places = rng.normal(centre, spread, (count, 2)) * SIZE
    radii, strengths = rng.uniform(*radius_px, count), rng.uniform(0.35, 1.0, count)
    for (x, y), radius, strength in zip(places, radii, strengths, strict=True):
        cv2.circle(drawn, (round(16 * x), round(16 * y)), round(16 * radius), float(strength), -1, cv2.LINE_AA, 4)
    return drawn


def _engrave(drawn: Map, rng: Rng, wrinkle: Wrinkle, depth_mm: float) -> None:
    """Draws the wrinkle on both sides: wavering, broken here and there, running out at its ends."""
    right = np.array(wrinkle.points)
    sides = [chart.symmetric(right)] if wrinkle.crosses else [right, chart.mirrored(right)]
    thickness = 1 if wrinkle.width_mm < 1.15 else 2 if wrinkle.width_mm < 2.2 else 5
    for side in sides:
        steps = 40 if wrinkle.crosses else 20
        waver = np.cumsum(rng.normal(0.0, 0.0006, (steps, 2)), axis=0)
        points = chart.curve(side, steps) + waver - waver.mean(axis=0) + rng.normal(0.0, 0.0012, 2)
        along = np.linspace(0.0, 1.0, steps)[:-1]
        profile = np.minimum(1.0, 4.0 * np.minimum(along, 1.0 - along) + 0.15)
        gaps = np.clip(1.0 + 0.5 * np.cumsum(rng.normal(0.0, 0.25, steps - 1)), 0.25, 1.3)
        pixels = chart.fixed_point(points, SIZE)
        depths = 1.4 * depth_mm * rng.uniform(0.7, 1.25) * profile * gaps
        for start, end, depth in zip(pixels[:-1].tolist(), pixels[1:].tolist(), depths.tolist(), strict=True):
            cv2.line(drawn, start, end, depth, thickness, cv2.LINE_AA, 4)
