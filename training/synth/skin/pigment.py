"""Colour of skin from its pigments: melanin, and blood against the usual amount.

`TONES` are CIELAB colours (D65) of skin from very light to dark, by individual typology angle (after Chardonnay et al.
1991 and Del Bino & Bernerd 2013) with the redness of faces (after Xiao et al. 2017), and one darker end; between them
the logarithm of reflectance is interpolated, as absorption adds up along the path of light (Beer-Lambert, as in Donner
& Jensen 2006 and Jimenez et al. 2010). Blood multiplies by exp(-HAEMOGLOBIN x): absorption of oxygenated haemoglobin
averaged over the sRGB primaries; melanin lies above the blood and hides it. At 850 to 940 nm melanin absorbs an order
of magnitude less (Jacques 2013), and blood is even. The numbers are quoted from memory or fitted by eye.
"""

import numpy as np
from numpy.typing import NDArray

from dashgaze.training.synth.skin.chart import Map

TONES = (  # melanin, L*, a*, b*
    (0.00, 71.0, 10.0, 14.5),
    (0.12, 66.5, 12.0, 17.5),
    (0.27, 61.5, 12.5, 20.0),
    (0.40, 56.5, 14.0, 21.5),
    (0.55, 49.0, 14.5, 21.5),
    (0.75, 39.0, 13.0, 18.0),
    (0.90, 31.5, 11.0, 13.5),
    (1.00, 26.0, 9.0, 10.0),
)
SURFACE = 0.015
"""White reflection of the surface that measured colours hold; the renderer adds its own."""
HAEMOGLOBIN = (0.10, 0.50, 0.38)
"""Optical density of one unit of blood above the usual, in red, green, blue."""
PALEST, DARKEST = -0.15, 1.6
"""Range of the melanin table; past the last tone the slope continues, for moles and freckles."""


def skin_colour(melanin: Map, blood: Map) -> Map:
    """Linear albedo (h, w, 3) of maps of melanin (0 palest to 1 darkest skin; more in moles) and blood (0: usual)."""
    place = (np.clip(melanin, PALEST, DARKEST) - PALEST) * ((len(_TABLE) - 1) / (DARKEST - PALEST))
    density: Map = _TABLE[np.rint(place).astype(np.intp)]
    seen = blood * np.clip(1.0 - 0.65 * melanin, 0.25, 1.0)
    density += seen[..., None] * np.array(HAEMOGLOBIN, np.float32)
    np.exp(np.negative(density, out=density), out=density)
    return density


def skin_infrared(melanin: Map, blood: Map) -> Map:
    """Albedo (h, w) at 850 to 940 nm."""
    return np.asarray(0.63 * np.exp(-0.30 * np.clip(melanin, 0.0, DARKEST) - 0.015 * blood), np.float32)


def _linear_rgb(lightness: float, a: float, b: float) -> NDArray[np.float64]:
    """CIELAB under D65 as linear sRGB."""
    f = (lightness + 16.0) / 116.0 + np.array([a / 500.0, 0.0, -b / 200.0])
    xyz = np.where(f > 6 / 29, f**3, 3 * (6 / 29) ** 2 * (f - 4 / 29)) * [0.95047, 1.0, 1.08883]
    to_rgb = [[3.2406, -1.5372, -0.4986], [-0.9689, 1.8758, 0.0415], [0.0557, -0.2040, 1.0570]]
    return np.asarray(np.array(to_rgb) @ xyz)


def _densities() -> NDArray[np.float32]:
    """(k, 3) optical density over the range of melanin, extrapolated past both ends."""
    at = np.array([tone[0] for tone in TONES])
    density = -np.log(np.array([_linear_rgb(*tone[1:]) for tone in TONES]) - SURFACE)
    first = density[0] + (PALEST - at[0]) / (at[1] - at[0]) * (density[1] - density[0])
    last = density[-1] + (DARKEST - at[-1]) / (at[-1] - at[-3]) * (density[-1] - density[-3])
    knots = np.concatenate([[PALEST], at, [DARKEST]])
    values = np.vstack([first, density, last])
    fine = np.linspace(PALEST, DARKEST, 1024)
    return np.stack([np.interp(fine, knots, values[:, k]) for k in range(3)], axis=1).astype(np.float32)


_TABLE = _densities()
