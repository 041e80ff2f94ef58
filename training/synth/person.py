"""Identities: thousands of distinct, plausible drivers, each drawn from one number.

Each trait has its own stream of random numbers, so that a change to one leaves the others of a seed as they were.
Numbers and their sources ((2nd): quoted from memory or from a secondary source, not checked against the original):

- distance of the pupils 64.7 (3.7) mm in men, 62.3 (3.6) mm in women: Dodgson 2004, from ANSUR (2nd);
- visual against optical axis 4.5 (1.7) deg towards the nose and 1.2 (1.0) deg up, eyes correlated by about 0.7, mirror
  images of each other: Basmak et al. 2007, Hashemi et al. 2010, Atchison & Smith 2000 (2nd); the sign of the vertical
  component differs between reports;
- visible iris 11.8 (0.5) mm wide: Rufer et al. 2005 (2nd);
- lid margins 4.2 (0.75) mm above and 5.15 (0.6) mm below the pupil's centre, the upper one falling with age; half a
  millimetre less in East Asians: Murchison et al. 2009, van den Bosch et al. 1999 (2nd);
- pupil: `eyes.pupil_diameter_mm` in a cabin by day, with 12 % between people;
- onset of grey hair at 34 (9.6), 39 (8) and 44 (10) years in people of European, Asian and African descent: Tobin &
  Paus 2001 (2nd); hair loss in men roughly as their age in per cent: Hamilton 1951, Rhodes et al. 1998 (2nd);
- colours of hair and iris by descent, skin, beards, make-up, glasses (some 30 % clear, more with age), hats, masks:
  judgement; the world's drivers, not one country's, with rarer kinds over-represented so that a network meets them.

Local shape targets are MakeHuman's. Their spreads are weights whose displacements, some of which add up, come to the 1
to 4 mm by which faces differ (Farkas 1994 (2nd)). Targets of the whole head stay small: strong ones give pointed
skulls. On them lie `TRENDS`: breadth, length, jaw, flesh, nose, lips, brows and eyes, of which traits vary together.
Their means and spreads were set so that distances between the landmarks of rendered faces, against that of the outer
corners of the eyes, come nearer to those of photographs: MakeHuman's mean has a narrower face, a longer and narrower
nose and higher brows, and independent traits alone give two thirds of the spread.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from types import MappingProxyType
from typing import Any

import numpy as np

from dashgaze.training.synth.eyes import CABIN_BY_DAY_CD_M2, pupil_diameter_mm
from dashgaze.training.synth.records import Eyewear, FacialHair, HairStyle, Headwear, Person, Rgb

Rng = np.random.Generator

YOUNGEST_YEARS, OLDEST_YEARS = 18.0, 75.0

MOST_SPREADS = 2.4
"""No target goes further than so many of its spreads."""
FAINTEST = 0.01
"""Weights below it are left out."""

AXES: Mapping[tuple[str, str], Mapping[str, float]] = {
    ("decr", "incr"): {
        "head/head-scale-depth": 0.10,
        "head/head-scale-horiz": 0.07,
        "head/head-scale-vert": 0.06,
        "head/head-back-scale-depth": 0.08,
        "head/head-fat": 0.16,
        "forehead/forehead-nubian": 0.02,
        "forehead/forehead-scale-vert": 0.07,
        "forehead/forehead-temple": 0.28,
        "eyes/?-eye-bag": 0.22,
        "eyes/?-eye-bag-height": 0.12,
        "eyes/?-eye-height1": 0.15,
        "eyes/?-eye-height2": 0.12,
        "eyes/?-eye-height3": 0.15,
        "eyes/?-eye-scale": 0.15,
        "nose/nose-flaring": 0.22,
        "nose/nose-greek": 0.22,
        "nose/nose-hump": 0.25,
        "nose/nose-nostrils-width": 0.22,
        "nose/nose-point-width": 0.28,
        "nose/nose-scale-depth": 0.12,
        "nose/nose-scale-horiz": 0.25,
        "nose/nose-scale-vert": 0.19,
        "nose/nose-septumangle": 0.19,
        "nose/nose-volume": 0.17,
        "nose/nose-width1": 0.25,
        "nose/nose-width2": 0.25,
        "nose/nose-width3": 0.22,
        "mouth/mouth-cupidsbow": 0.22,
        "mouth/mouth-cupidsbow-width": 0.19,
        "mouth/mouth-lowerlip-height": 0.14,
        "mouth/mouth-lowerlip-volume": 0.19,
        "mouth/mouth-lowerlip-width": 0.14,
        "mouth/mouth-philtrum-volume": 0.19,
        "mouth/mouth-scale-depth": 0.17,
        "mouth/mouth-scale-horiz": 0.19,
        "mouth/mouth-scale-vert": 0.17,
        "mouth/mouth-upperlip-height": 0.19,
        "mouth/mouth-upperlip-volume": 0.22,
        "mouth/mouth-upperlip-width": 0.14,
        "chin/chin-bones": 0.12,
        "chin/chin-cleft": 0.20,
        "chin/chin-height": 0.12,
        "chin/chin-jaw-drop": 0.20,
        "chin/chin-prognathism": 0.13,
        "chin/chin-prominent": 0.13,
        "chin/chin-width": 0.16,
        "cheek/?-cheek-bones": 0.20,
        "cheek/?-cheek-inner": 0.16,
        "cheek/?-cheek-volume": 0.18,
        "ears/?-ear-flap": 0.16,
        "ears/?-ear-lobe": 0.24,
        "ears/?-ear-scale": 0.18,
        "ears/?-ear-scale-depth": 0.20,
        "ears/?-ear-scale-vert": 0.20,
        "ears/?-ear-wing": 0.22,
        "neck/measure-neck-circ": 0.16,
        "neck/neck-double": 0.10,
        "neck/neck-scale-depth": 0.12,
        "neck/neck-scale-horiz": 0.12,
        "neck/neck-back-scale-depth": 0.10,
    },
    ("down", "up"): {
        "eyebrows/eyebrows-angle": 0.24,
        "eyebrows/eyebrows-trans": 0.24,
        "eyes/?-eye-corner1": 0.22,
        "eyes/?-eye-corner2": 0.28,
        "eyes/?-eye-eyefold-angle": 0.22,
        "eyes/?-eye-eyefold": 0.19,
        "eyes/?-eye-trans": 0.09,
        "nose/nose-base": 0.17,
        "nose/nose-nostrils-angle": 0.17,
        "nose/nose-point": 0.11,
        "nose/nose-trans": 0.17,
        "mouth/mouth-angles": 0.14,
        "mouth/mouth-lowerlip-ext": 0.14,
        "mouth/mouth-lowerlip-middle": 0.14,
        "mouth/mouth-trans": 0.10,
        "mouth/mouth-upperlip-ext": 0.17,
        "mouth/mouth-upperlip-middle": 0.17,
        "cheek/?-cheek-trans": 0.14,
        "ears/?-ear-trans": 0.05,
    },
    ("in", "out"): {
        "head/head-angle": 0.04,
        "eyes/?-eye-bag": 0.12,
        "eyes/?-eye-epicanthus": 0.15,
        "eyes/?-eye-push1": 0.12,
        "eyes/?-eye-push2": 0.12,
        "mouth/mouth-dimples": 0.22,
        "mouth/mouth-laugh-lines": 0.19,
        "nose/nose-trans": 0.03,
        "mouth/mouth-trans": 0.03,
    },
    ("backward", "forward"): {
        "forehead/forehead-trans": 0.12,
        "eyebrows/eyebrows-trans": 0.14,
        "nose/nose-trans": 0.14,
        "mouth/mouth-trans": 0.07,
        "ears/?-ear-rot": 0.20,
        "ears/?-ear-trans": 0.10,
        "neck/neck-trans": 0.06,
    },
    ("concave", "convex"): {"eyes/?-eye-eyefold": 0.15, "nose/nose-curve": 0.19},
    ("compress", "uncompress"): {"nose/nose-compression": 0.19},
    ("l", "r"): {
        "asym/asym-brown-1": 0.10,
        "asym/asym-brown-2": 0.14,
        "asym/asym-cheek-1": 0.14,
        "asym/asym-cheek-2": 0.08,
        "asym/asym-ear-1": 0.14,
        "asym/asym-ear-2": 0.14,
        "asym/asym-eye-3": 0.17,
        "asym/asym-eye-4": 0.17,
        "asym/asym-eye-5": 0.17,
        "asym/asym-eye-8": 0.14,
        "asym/asym-jaw-1": 0.14,
        "asym/asym-jaw-2": 0.14,
        "asym/asym-jaw-3": 0.06,
        "asym/asym-mouth-1": 0.17,
        "asym/asym-mouth-2": 0.17,
        "asym/asym-nose-1": 0.14,
        "asym/asym-nose-2": 0.14,
        "asym/asym-nose-3": 0.14,
        "asym/asym-nose-4": 0.14,
        "asym/asym-temple-1": 0.14,
        "asym/asym-temple-2": 0.08,
        "asym/asym-top-1": 0.06,
        "asym/asym-top-2": 0.06,
    },
}
"""Suffixes of two opposite targets, and what they are appended to: spread (standard deviation) of the weight.

"?" stands for "l" and "r", which go together."""

ONE_SIDED: Mapping[str, float] = {
    "head/head-diamond": 0.05,
    "head/head-invertedtriangular": 0.10,
    "head/head-oval": 0.08,
    "head/head-rectangular": 0.08,
    "head/head-round": 0.10,
    "head/head-square": 0.10,
    "head/head-triangular": 0.08,
    "chin/chin-triangle": 0.10,
    "ears/?-ear-shape-pointed": 0.02,
    "ears/?-ear-shape-round": 0.16,
    "ears/?-ear-shape-square": 0.16,
    "ears/?-ear-shape-triangle": 0.03,
}
"""Targets without an opposite: spread of a half-normal weight."""

AGEING: Mapping[tuple[str, str, str], float] = {
    ("eyes/?-eye-bag", "decr", "incr"): 0.30,
    ("eyes/?-eye-eyefold", "down", "up"): -0.25,
    ("eyes/?-eye-corner2", "down", "up"): -0.12,
    ("nose/nose-point", "down", "up"): -0.08,
    ("nose/nose-scale-vert", "decr", "incr"): 0.12,
    ("mouth/mouth-laugh-lines", "in", "out"): -0.22,
    ("mouth/mouth-angles", "down", "up"): -0.08,
    ("mouth/mouth-upperlip-height", "decr", "incr"): -0.20,
    ("cheek/?-cheek-volume", "decr", "incr"): -0.14,
    ("cheek/?-cheek-trans", "down", "up"): -0.16,
    ("ears/?-ear-lobe", "decr", "incr"): 0.30,
    ("ears/?-ear-scale", "decr", "incr"): 0.15,
    ("neck/neck-double", "decr", "incr"): 0.12,
}
"""How far an axis moves between 40 and 75 years; half as far the other way at 22.5."""


@dataclass(frozen=True, slots=True)
class Trend:
    """A way in which whole faces differ: traits that vary together."""

    weights: Mapping[tuple[str, str, str], float]
    """Axis: how far one standard deviation of the trend moves it."""
    usual: float = 0.0
    """Means in standard deviations: everyone's, against MakeHuman's mean head; more of each ancestry, and of men."""
    african: float = 0.0
    asian: float = 0.0
    caucasian: float = 0.0
    male: float = 0.0
    """Of a man; the opposite of a woman."""
    heavy: float = 0.0
    """Of two standard deviations of body weight above the mean; the opposite below it."""
    spread: float = 1.0

    def mean(self, male: float, ancestry: tuple[float, float, float], weight: float) -> float:
        """Mean score of people of this kind."""
        shares = zip(ancestry, (self.african, self.asian, self.caucasian), strict=True)
        by_descent = sum(share * score for share, score in shares)
        return self.usual + by_descent + (2.0 * male - 1.0) * self.male + (weight - 0.5) / 0.32 * self.heavy


TRENDS = (
    Trend(  # broad face
        {("head/head-scale-horiz", "decr", "incr"): 0.18, ("forehead/forehead-temple", "decr", "incr"): 0.25},
        usual=0.5,
        asian=0.7,
        caucasian=-0.3,
        heavy=0.4,
    ),
    Trend(  # long face
        {
            ("head/head-scale-vert", "decr", "incr"): 0.13,
            ("chin/chin-height", "decr", "incr"): 0.11,
            ("nose/nose-scale-vert", "decr", "incr"): 0.28,
            ("mouth/mouth-trans", "down", "up"): -0.20,
            ("mouth/mouth-philtrum-volume", "decr", "incr"): 0.10,
        },
        usual=-0.5,
        asian=-0.3,
        caucasian=0.3,
    ),
    Trend(  # strong jaw
        {
            ("chin/chin-width", "decr", "incr"): 0.14,
            ("chin/chin-bones", "decr", "incr"): 0.14,
            ("chin/chin-prominent", "decr", "incr"): 0.12,
            ("head/head-fat", "decr", "incr"): 0.18,
            ("neck/neck-scale-horiz", "decr", "incr"): 0.10,
        },
        usual=-0.3,
        male=0.7,
    ),
    Trend(  # full flesh
        {
            ("head/head-fat", "decr", "incr"): 0.38,
            ("cheek/?-cheek-volume", "decr", "incr"): 0.35,
            ("neck/neck-double", "decr", "incr"): 0.35,
            ("neck/measure-neck-circ", "decr", "incr"): 0.25,
            ("chin/chin-jaw-drop", "decr", "incr"): 0.25,
            ("cheek/?-cheek-bones", "decr", "incr"): -0.12,
        },
        heavy=1.6,
        spread=0.5,
    ),
    Trend(  # broad nose
        {
            ("nose/nose-scale-horiz", "decr", "incr"): 0.26,
            ("nose/nose-nostrils-width", "decr", "incr"): 0.18,
            ("nose/nose-width3", "decr", "incr"): 0.16,
            ("nose/nose-width2", "decr", "incr"): 0.20,
            ("nose/nose-point-width", "decr", "incr"): 0.20,
            ("nose/nose-flaring", "decr", "incr"): 0.15,
        },
        usual=0.4,
        african=0.4,
        asian=0.2,
        caucasian=-0.5,
        male=0.1,
    ),
    Trend(  # large nose with a high bridge
        {
            ("nose/nose-scale-depth", "decr", "incr"): 0.22,
            ("nose/nose-volume", "decr", "incr"): 0.15,
            ("nose/nose-greek", "decr", "incr"): 0.22,
            ("nose/nose-hump", "decr", "incr"): 0.22,
            ("nose/nose-curve", "concave", "convex"): 0.20,
            ("nose/nose-point", "down", "up"): -0.18,
            ("nose/nose-trans", "backward", "forward"): 0.12,
        },
        african=-0.4,
        asian=-0.3,
        caucasian=0.2,
        male=0.35,
    ),
    Trend(  # full lips
        {
            ("mouth/mouth-upperlip-height", "decr", "incr"): 0.24,
            ("mouth/mouth-upperlip-volume", "decr", "incr"): 0.28,
            ("mouth/mouth-lowerlip-height", "decr", "incr"): 0.22,
            ("mouth/mouth-lowerlip-volume", "decr", "incr"): 0.30,
            ("mouth/mouth-trans", "backward", "forward"): 0.06,
        },
        usual=-0.2,
        african=0.7,
        caucasian=-0.5,
        male=-0.3,
    ),
    Trend(  # wide mouth
        {("mouth/mouth-scale-horiz", "decr", "incr"): 0.35, ("mouth/mouth-lowerlip-width", "decr", "incr"): 0.15},
        usual=0.4,
        african=0.3,
    ),
    Trend(  # high brows, open orbits
        {
            ("eyebrows/eyebrows-trans", "down", "up"): 0.35,
            ("eyebrows/eyebrows-trans", "backward", "forward"): -0.14,
            ("eyes/?-eye-eyefold", "down", "up"): 0.20,
        },
        usual=-0.8,
        asian=0.5,
        caucasian=-0.3,
        male=-0.4,
    ),
    Trend(  # large eyes
        {
            ("eyes/?-eye-scale", "decr", "incr"): 0.25,
            ("eyes/?-eye-height2", "decr", "incr"): 0.20,
            ("eyes/?-eye-push1", "in", "out"): 0.12,
        },
        asian=-0.2,
        male=-0.2,
    ),
    Trend(  # slanting eyes
        {("eyes/?-eye-corner1", "down", "up"): 0.25, ("eyes/?-eye-corner2", "down", "up"): -0.2},
        asian=0.4,
    ),
    Trend(  # mouth before chin
        {
            ("mouth/mouth-trans", "backward", "forward"): 0.10,
            ("chin/chin-prognathism", "decr", "incr"): 0.12,
            ("chin/chin-prominent", "decr", "incr"): -0.12,
        },
        african=0.4,
        caucasian=-0.2,
    ),
    Trend(  # high cheek bones
        {("cheek/?-cheek-bones", "decr", "incr"): 0.25, ("cheek/?-cheek-inner", "decr", "incr"): -0.15},
        asian=0.5,
        heavy=-0.3,
    ),
    Trend(  # high forehead
        {
            ("forehead/forehead-scale-vert", "decr", "incr"): 0.08,
            ("forehead/forehead-trans", "backward", "forward"): 0.10,
        },
        male=-0.2,
    ),
)
"""What the principal axes of faces hold: their breadth, length, jaw, flesh, nose, lips, brows and eyes."""

UNEVEN = 0.06
"""By what share left and right differ, and by a sixth of it absolutely."""


@dataclass(frozen=True)
class Descent:
    """Where someone's forebears come from, and what usually goes with it."""

    share: float
    ancestry: tuple[float, float, float]
    """Dirichlet parameters: african, asian, caucasian."""
    melanin: tuple[float, float]
    """Mean and standard deviation."""
    hair: tuple[float, ...]
    """Probabilities of `HAIR_COLOURS`."""
    iris: tuple[float, ...]
    """Probabilities of `IRIS_COLOURS`."""
    beard: tuple[float, ...]
    """Men: probabilities of `BEARDS`."""
    grey_onset_years: tuple[float, float]
    headscarf: float


DESCENTS = (
    Descent(  # Europe
        0.26,
        (0.4, 0.4, 24.0),
        (0.13, 0.08),
        (0.08, 0.28, 0.26, 0.18, 0.15, 0.05),
        (0.12, 0.20, 0.16, 0.14, 0.22, 0.16),
        (0.44, 0.28, 0.04, 0.07, 0.17),
        (34.0, 9.6),
        0.01,
    ),
    Descent(  # East Asia
        0.19,
        (0.3, 24.0, 0.5),
        (0.27, 0.10),
        (0.80, 0.17, 0.03, 0.0, 0.0, 0.0),
        (0.78, 0.20, 0.02, 0.0, 0.0, 0.0),
        (0.66, 0.20, 0.05, 0.05, 0.04),
        (39.0, 8.0),
        0.03,
    ),
    Descent(  # Southeast Asia
        0.09,
        (1.2, 12.0, 1.5),
        (0.43, 0.10),
        (0.86, 0.13, 0.01, 0.0, 0.0, 0.0),
        (0.84, 0.16, 0.0, 0.0, 0.0, 0.0),
        (0.62, 0.20, 0.08, 0.06, 0.04),
        (39.0, 8.0),
        0.10,
    ),
    Descent(  # Africa
        0.17,
        (24.0, 0.4, 0.5),
        (0.76, 0.14),
        (0.92, 0.08, 0.0, 0.0, 0.0, 0.0),
        (0.85, 0.14, 0.01, 0.0, 0.0, 0.0),
        (0.42, 0.24, 0.08, 0.11, 0.15),
        (43.9, 10.3),
        0.06,
    ),
    Descent(  # South Asia: MakeHuman has no shape of its own for it
        0.14,
        (2.0, 2.4, 9.0),
        (0.50, 0.12),
        (0.85, 0.14, 0.01, 0.0, 0.0, 0.0),
        (0.72, 0.24, 0.03, 0.01, 0.0, 0.0),
        (0.30, 0.24, 0.18, 0.06, 0.22),
        (37.0, 8.0),
        0.08,
    ),
    Descent(  # Mediterranean, Middle East, Latin America
        0.13,
        (1.0, 1.6, 11.0),
        (0.33, 0.13),
        (0.55, 0.33, 0.10, 0.02, 0.0, 0.0),
        (0.46, 0.32, 0.12, 0.06, 0.02, 0.02),
        (0.30, 0.26, 0.09, 0.08, 0.27),
        (37.0, 9.0),
        0.12,
    ),
    Descent(  # anything between
        0.02,
        (1.2, 1.2, 1.2),
        (0.42, 0.18),
        (0.60, 0.28, 0.08, 0.03, 0.01, 0.0),
        (0.55, 0.28, 0.08, 0.05, 0.02, 0.02),
        (0.42, 0.26, 0.08, 0.08, 0.16),
        (39.0, 9.0),
        0.02,
    ),
)

HAIR_COLOURS: tuple[Rgb, ...] = (
    (0.012, 0.009, 0.008),  # black
    (0.030, 0.018, 0.011),  # dark brown
    (0.060, 0.034, 0.018),  # brown
    (0.115, 0.067, 0.034),  # light brown
    (0.270, 0.185, 0.095),  # blond
    (0.165, 0.058, 0.020),  # red
)
IRIS_COLOURS: tuple[Rgb, ...] = (
    (0.050, 0.022, 0.009),  # dark brown
    (0.105, 0.050, 0.018),  # brown
    (0.135, 0.092, 0.035),  # hazel
    (0.105, 0.120, 0.060),  # green
    (0.100, 0.155, 0.225),  # blue
    (0.150, 0.170, 0.180),  # grey
)
LIPSTICKS: tuple[Rgb, ...] = (
    (0.42, 0.19, 0.15),  # nude
    (0.48, 0.15, 0.19),  # pink
    (0.36, 0.03, 0.04),  # red
    (0.20, 0.03, 0.07),  # plum
    (0.22, 0.07, 0.045),  # brown
)
BEARDS: tuple[FacialHair, ...] = ("none", "stubble", "moustache", "goatee", "beard")

FEATURES = (
    "eyes",
    "eyebrows",
    "nose",
    "mouth",
    "chin",
    "cheeks",
    "ears",
    "forehead",
    "skin",
    "hair",
    "facial_hair",
    "make_up",
    "iris",
)
"""The traits that one identity can take from another."""

_SHAPES_OF: Mapping[str, tuple[str, ...]] = {
    "eyes": ("eyes/", "asym/asym-eye-"),
    "eyebrows": ("eyebrows/", "asym/asym-brown-"),
    "nose": ("nose/", "asym/asym-nose-"),
    "mouth": ("mouth/", "asym/asym-mouth-"),
    "chin": ("chin/", "asym/asym-jaw-"),
    "cheeks": ("cheek/", "asym/asym-cheek-"),
    "ears": ("ears/", "asym/asym-ear-"),
    "forehead": ("forehead/", "asym/asym-temple-", "asym/asym-top-"),
}
_FIELDS_OF: Mapping[str, tuple[str, ...]] = {
    "eyes": ("ipd_mm", "lid_opening_mm", "kappa_deg"),
    "eyebrows": ("brow_density", "brow_height", "brow_arch"),
    "skin": ("melanin", "blood", "freckles", "moles", "wrinkles"),
    "hair": ("hair_style", "hair_rgb", "hair_length", "hairline", "grey"),
    "facial_hair": ("facial_hair", "facial_hair_density"),
    "make_up": ("make_up", "lip_rgb"),
    "iris": ("iris_rgb", "iris_radius_mm", "pupil_mm"),
}


def person_of(seed: int) -> Person:
    """The identity of one seed (a whole number from 0 on)."""
    base, shapes, eyes, skin, hair, brows, things, trends = (np.random.default_rng([seed, part]) for part in range(8))
    descent = DESCENTS[_pick(base, tuple(descent.share for descent in DESCENTS))]
    african, asian, caucasian = base.dirichlet(descent.ancestry).tolist()
    man = bool(base.random() < 0.5)
    age_years = YOUNGEST_YEARS + (OLDEST_YEARS - YOUNGEST_YEARS) * float(base.beta(1.3, 2.05))
    off_pole = 0.15 * float(base.beta(1.0, 2.0))  # no face is all man or all woman
    male = 1.0 - off_pole if man else off_pole
    weight = _normal(base, 0.52, 0.16, 0.05, 0.98)
    means = _trends(trends, male, (african, asian, caucasian), weight)
    melanin = _normal(skin, *descent.melanin, 0.02, 1.0)
    hair_rgb = _shade(hair, HAIR_COLOURS[_pick(hair, descent.hair)], 0.15)
    style, hairline = _hair_style(hair, man, age_years)
    onset_years = _normal(hair, *descent.grey_onset_years, 18.0, 70.0)
    dyed = hair.random() < (0.45 if not man else 0.06)
    facial_hair = BEARDS[_pick(hair, descent.beard)] if man else "none"
    make_up = 0.0 if man else float(things.choice((0.0, things.uniform(0.1, 0.5), things.uniform(0.5, 1.0))))
    return Person(
        seed=seed,
        male=male,
        age_years=age_years,
        african=african,
        asian=asian,
        caucasian=caucasian,
        weight=weight,
        muscle=_normal(base, 0.55 if man else 0.45, 0.12, 0.1, 0.95),
        shape=_shape(shapes, age_years, means),
        ipd_mm=_normal(eyes, 64.7, 3.7, 55.0, 75.0) if man else _normal(eyes, 62.3, 3.6, 53.0, 73.0),
        melanin=melanin,
        blood=_normal(skin, 1.0, 0.2, 0.5, 1.6),
        hair_style=style,
        hair_rgb=hair_rgb,
        hair_length=float(hair.random()),
        hairline=hairline,
        grey=0.0 if dyed else float(np.clip((age_years - onset_years) / 28.0, 0.0, 1.0)),
        facial_hair=facial_hair,
        facial_hair_density=_normal(hair, 0.7, 0.2, 0.25, 1.0) if facial_hair != "none" else 0.0,
        brow_density=_normal(brows, 1.15 if man else 0.9, 0.3, 0.3, 1.9),
        brow_height=_normal(brows, -0.2 if man else 0.2, 0.95, -2.2, 2.2),
        brow_arch=_normal(brows, -0.3 if man else 0.3, 0.95, -2.2, 2.2),
        freckles=float(np.clip(abs(skin.normal(0.0, 0.45)) - 0.25, 0.0, 1.0) * max(0.0, 1.0 - 2.0 * melanin)),
        moles=int(skin.poisson(4.0 * (1.0 - 0.6 * melanin))),
        wrinkles=_wrinkles(skin, age_years, melanin),
        make_up=make_up,
        lip_rgb=_shade(things, LIPSTICKS[int(things.integers(len(LIPSTICKS)))], 0.12),
        iris_rgb=_shade(eyes, IRIS_COLOURS[_pick(eyes, descent.iris)], 0.18),
        iris_radius_mm=_normal(eyes, 5.9, 0.25, 5.2, 6.6),
        pupil_mm=pupil_diameter_mm(CABIN_BY_DAY_CD_M2, age_years) * _normal(eyes, 1.0, 0.12, 0.7, 1.35),
        kappa_deg=_kappa(eyes),
        lid_opening_mm=_lid_opening(eyes, age_years, asian),
        eyewear=_eyewear(things, age_years),
        eyewear_seed=int(things.integers(2**31)),
        headwear=_headwear(things, man, descent.headscarf),
        face_mask=bool(things.random() < 0.02),
        clothes_rgb=_clothes(things),
    )


def features(person: Person, feature: str) -> Mapping[str, Any]:
    """What `feature` consists of in this person: fields of `Person`, and the weights of shape targets by name.

    Raises ValueError for a name that is not in `FEATURES`.
    """
    if feature not in FEATURES:
        raise ValueError(f"unknown feature {feature!r}: one of {', '.join(FEATURES)}")
    own = {name: getattr(person, name) for name in _FIELDS_OF.get(feature, ())}
    return own | {
        name: weight for name, weight in person.shape.items() if name.startswith(_SHAPES_OF.get(feature, "?"))
    }


def with_feature(person: Person, feature: str, other: Person) -> Person:
    """The person with exactly one of `FEATURES` taken from another identity."""
    taken = features(other, feature)
    names = {field.name for field in fields(Person)}
    kept = {name: weight for name, weight in person.shape.items() if name not in features(person, feature)}
    shape = kept | {name: weight for name, weight in taken.items() if name not in names}
    values = {name: value for name, value in taken.items() if name in names}
    return replace(person, shape=MappingProxyType(shape), **values)


def _normal(rng: Rng, mean: float, sd: float, low: float, high: float) -> float:
    return min(max(float(rng.normal(mean, sd)), low), high)


def _pick(rng: Rng, shares: tuple[float, ...]) -> int:
    return int(rng.choice(len(shares), p=np.array(shares) / sum(shares)))


def _shade(rng: Rng, rgb: Rgb, spread: float) -> Rgb:
    """The colour a little lighter or darker, with a slight tint."""
    red, green, blue = np.array(rgb) * rng.lognormal(0.0, spread) * rng.lognormal(0.0, spread / 4, 3)
    return float(red), float(green), float(blue)


def _trends(
    rng: Rng, male: float, ancestry: tuple[float, float, float], weight: float
) -> dict[tuple[str, str, str], float]:
    """How far this person's trends move each axis."""
    moved: dict[tuple[str, str, str], float] = {}
    for trend in TRENDS:
        mean = trend.mean(male, ancestry, weight)
        score = _normal(rng, mean, trend.spread, -MOST_SPREADS, MOST_SPREADS)
        for axis, share in trend.weights.items():
            moved[axis] = moved.get(axis, 0.0) + score * share
    return moved


def _shape(rng: Rng, age_years: float, means: Mapping[tuple[str, str, str], float]) -> Mapping[str, float]:
    """Weights of the local shape targets; opposite targets never act together."""
    aged = (age_years - 40.0) / 35.0
    weights: dict[str, float] = {}
    for (negative, positive), stems in AXES.items():
        for stem, spread in stems.items():
            axis = (stem, negative, positive)
            mean = aged * AGEING.get(axis, 0.0) + means.get(axis, 0.0)
            middle = _normal(rng, mean, spread, mean - MOST_SPREADS * spread, mean + MOST_SPREADS * spread)
            for name, weight in _both_sides(rng, stem, middle):
                weights[f"{name}-{positive if weight > 0 else negative}"] = abs(weight)
    for stem, spread in ONE_SIDED.items():
        middle = min(abs(float(rng.normal(0.0, spread))), MOST_SPREADS * spread)
        weights |= {name: abs(weight) for name, weight in _both_sides(rng, stem, middle)}
    return MappingProxyType({name: min(weight, 1.0) for name, weight in weights.items() if weight >= FAINTEST})


def _both_sides(rng: Rng, stem: str, weight: float) -> list[tuple[str, float]]:
    """Left and right target of a pair, nearly alike; the stem itself where it has no sides."""
    if "?" not in stem:
        return [(stem, weight)]
    return [
        (stem.replace("?", side), weight * float(rng.normal(1.0, UNEVEN)) + float(rng.normal(0.0, UNEVEN / 6)))
        for side in "lr"
    ]


def _kappa(rng: Rng) -> tuple[tuple[float, float], tuple[float, float]]:
    def pair(mean: float, sd: float) -> tuple[float, float]:
        left, right = rng.multivariate_normal((mean, mean), sd**2 * np.array([[1.0, 0.7], [0.7, 1.0]]))
        return float(np.clip(left, mean - 3 * sd, mean + 3 * sd)), float(np.clip(right, mean - 3 * sd, mean + 3 * sd))

    (left_in, right_in), (left_up, right_up) = pair(4.5, 1.7), pair(1.2, 1.0)
    return (left_in, left_up), (right_in, right_up)


def _lid_opening(rng: Rng, age_years: float, asian: float) -> tuple[float, float]:
    droop_mm = 0.018 * max(0.0, age_years - 40.0)
    upper_mm = _normal(rng, 4.45 - droop_mm - 0.5 * asian, 0.75, 2.4, 5.7)
    return upper_mm, _normal(rng, 5.15, 0.6, 3.7, 6.6)


def _wrinkles(rng: Rng, age_years: float, melanin: float) -> float:
    usual = max(0.0, (age_years - 24.0) / 48.0) ** 1.2 * (1.0 - 0.35 * melanin)
    return float(np.clip(usual * rng.lognormal(0.0, 0.25), 0.0, 1.0))


def _hair_style(rng: Rng, man: bool, age_years: float) -> tuple[HairStyle, float]:
    """Style, and how far the hairline has gone back."""
    if not man:
        styles: tuple[HairStyle, ...] = ("short", "medium", "long", "tied")
        return styles[_pick(rng, (0.17, 0.29, 0.32, 0.22))], float(rng.beta(1.5, 6.0)) * 0.6
    loss = float(np.clip(rng.normal((age_years - 40.0) / 40.0, 0.5), 0.0, 1.0))
    if loss > 0.75:
        return "bald" if rng.random() < 0.7 else "shaved", loss
    kinds: tuple[HairStyle, ...] = ("shaved", "short", "medium", "long", "tied")
    return kinds[_pick(rng, (0.12 + 0.3 * loss, 0.68, 0.12, 0.03, 0.03))], loss


def _eyewear(rng: Rng, age_years: float) -> Eyewear:
    clear = 0.22 + 0.006 * max(0.0, age_years - 30.0)
    kinds: tuple[Eyewear, ...] = ("none", "clear", "tinted", "sunglasses")
    return kinds[_pick(rng, (1.0 - clear - 0.13, clear, 0.03, 0.10))]


def _headwear(rng: Rng, man: bool, headscarf: float) -> Headwear:
    scarf = 0.0 if man else 2.0 * headscarf
    kinds: tuple[Headwear, ...] = ("none", "cap", "beanie", "headscarf")
    return kinds[_pick(rng, (1.0 - scarf - 0.07, 0.05 if man else 0.025, 0.02, scarf))]


def _clothes(rng: Rng) -> Rgb:
    """Mostly greys, blacks, whites and blues, now and then something bright."""
    level = float(rng.choice((rng.uniform(0.01, 0.06), rng.uniform(0.05, 0.3), rng.uniform(0.4, 0.75))))
    tint = math.exp(float(rng.normal(-1.6, 0.8)))
    red, green, blue = np.clip(level * np.exp(rng.normal(0.0, min(tint, 1.2), 3)), 0.008, 0.8)
    return float(red), float(green), float(blue)
