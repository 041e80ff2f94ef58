"""Skin of a head: colour, relief and shine as maps, painted by anatomy, age and habits.

`chart` says where on the head each texel lies, `pigment` turns melanin and blood into colour, `features` places them,
with wrinkles, marks, lips and make-up, and `hairs` paints brows, beard and scalp over. Everything follows from the
`Person` and their seed; each part has its own stream of random numbers.
"""

import numpy as np

from dashgaze.training.synth.records import Person, SkinMaps
from dashgaze.training.synth.skin import features, hairs, pigment
from dashgaze.training.synth.skin.chart import PLAIN_V, SIZE, uv_of

__all__ = ["PLAIN_V", "SIZE", "skin_maps", "uv_of"]

STREAM = 0x5C1
"""Keeps the random numbers of the skin apart from those of other parts of a person."""


def skin_maps(person: Person) -> SkinMaps:
    """The maps of this person's skin, (SIZE, SIZE), 0.5 s on one core; the same person gives the same maps."""
    bare, marks, folds, mouth, shine, paints, scalp, beard, brows = (
        np.random.default_rng([STREAM, person.seed, part]) for part in range(9)
    )
    melanin, blood = features.pigments(person, bare)
    height_mm, creases = features.relief(person, folds)
    features.add_marks(person, marks, melanin, blood, height_mm)
    infrared = pigment.skin_infrared(melanin, blood)
    features.add_lips(person, mouth, melanin, blood, height_mm)
    rims = features.lid_rims()
    blood += 0.9 * rims
    melanin += 0.08 * creases
    light = features.shade(person, creases)
    albedo = pigment.skin_colour(melanin, blood)
    albedo *= light[..., None]
    infrared *= light
    rough = features.roughness(person, shine)
    coats = [*hairs.scalp(person, scalp), *hairs.beard(person, beard), *hairs.brows(person, brows)]
    lashes, lower_lashes = features.lash_lines()
    root = np.array(person.hair_rgb) * 0.4
    coats.append(hairs.Coat(0.75 * lashes + 0.2 * lower_lashes, root, 0.18))
    for coat in coats:
        features.paint(albedo, coat.cover, coat.colour)
        infrared += (coat.infrared - infrared) * coat.cover
        rough += (0.75 - rough) * coat.cover
    if person.make_up > 0:
        features.add_make_up(person, paints, albedo, rough)
    return SkinMaps(
        albedo=np.clip(albedo, 0.004, 0.95, out=albedo),
        infrared=np.clip(infrared, 0.01, 0.95, out=infrared),
        height_mm=height_mm,
        roughness=np.clip(rough, 0.2, 0.75, out=rough),
    )
