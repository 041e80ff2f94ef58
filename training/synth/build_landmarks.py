"""Finds which skin vertices are the landmarks of the face mesh: `python -m dashgaze.training.synth.build_landmarks`.

The device's mesh looks at frontal stills of many rendered people; each landmark is traced back to the skin under it,
and the vertex nearest to where it falls on the mean head, over all people, is written to `assets/landmarks.npy`. With
these vertices a head's face frame is that of the canonical face fitted to it (`actors.face_rotation`).
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dashgaze.bundle import packaged_bundle
from dashgaze.device.faces import FaceSettings, FaceTracker
from dashgaze.device.headpose import CanonicalFace
from dashgaze.device.records import Frame
from dashgaze.geometry import Floats, unit
from dashgaze.training.synth.actors import Actor
from dashgaze.training.synth.assets import FOLDER
from dashgaze.training.synth.body import neutral_mm
from dashgaze.training.synth.drives import STRANGER_SEED
from dashgaze.training.synth.person import person_of
from dashgaze.training.synth.renderer import Renderer
from dashgaze.training.synth.stills import CAMERA, FILM_PX, Occasion, photograph

LANDMARKS = 468
LOOKS = 5
"""The tracker looks at each still so often, until it has settled."""
FRONT_MM = -70.0
"""Skin further back in the head is no face."""


def main() -> None:
    """Render, look, and write the vertices."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--people", type=int, default=60)
    parser.add_argument("--out", type=Path, default=FOLDER / "landmarks.npy")
    arguments = parser.parse_args()
    places = np.stack(list(landmark_places(arguments.people)))
    mean = symmetric(np.median(places, axis=0))
    skin = neutral_mm().astype(float)
    vertices = np.array([np.argmin(((skin - place) ** 2).sum(axis=1)) for place in mean], dtype=np.int32)
    np.save(arguments.out, vertices)
    spread_mm = np.linalg.norm(places - mean, axis=2)
    print(f"{len(places)} faces found; landmarks lie within {np.median(spread_mm):.1f} mm (median) of their vertices")


def landmark_places(people: int) -> Iterator[Floats]:
    """Where each landmark (468, 3) falls on the mean head, for each still on which the mesh finds the face."""
    with Renderer(FILM_PX) as renderer:
        for seed in range(people):
            person = person_of(STRANGER_SEED + 2**41 + seed)
            if person.face_mask or person.eyewear != "none" or person.headwear != "none":
                continue
            rng = np.random.default_rng(seed)
            angles = (float(rng.uniform(-12, 12)), float(rng.uniform(-8, 8)), 0.0)
            actor = Actor(person)
            still = photograph(
                actor, Occasion(seed, "overcast", angles, (-angles[0], -angles[1]), "neutral", 0.0), renderer, "face"
            )
            landmarks = settled_landmarks(still.photograph)
            if landmarks is not None:
                body = still.pose.body.skin
                yield _on_mean_head(landmarks[:LANDMARKS, :2].astype(float), body.vertices_mm, body.normals)


def settled_landmarks(picture: NDArray[np.uint8]) -> NDArray[np.float32] | None:
    """The mesh of a still (478, 3) once the tracker has settled on it; None where there is no face."""
    tracker = FaceTracker(packaged_bundle(), FaceSettings(driver_side="auto"), "left")
    found = None
    for look in range(LOOKS):
        found = tracker.find(Frame(look, look / 30, picture)).landmarks_px
    return found


def symmetric(places_mm: Floats) -> Floats:
    """The same landmarks (468, 3) with left and right averaged: light from one side moves the mesh a little."""
    canonical = CanonicalFace.from_bundle(packaged_bundle()).vertices_mm
    flip = np.array([-1.0, 1.0, 1.0])
    partner = ((canonical[:, None] * flip - canonical) ** 2).sum(axis=2).argmin(axis=1)
    return np.asarray((places_mm + places_mm[partner] * flip) / 2)


def _on_mean_head(landmarks_px: Floats, skin_mm: NDArray[np.float32], normals: NDArray[np.float32]) -> Floats:
    """The place on the mean head of the visible skin that is nearest to each landmark in the picture."""
    neutral = neutral_mm().astype(float)
    towards = unit(CAMERA.position_mm - skin_mm.astype(float))
    visible = ((normals * towards).sum(axis=1) > 0.05) & (neutral[:, 2] > FRONT_MM)
    pixels = CAMERA.project(skin_mm[visible].astype(float))
    nearest = [np.argmin(((pixels - landmark) ** 2).sum(axis=1)) for landmark in landmarks_px]
    return np.asarray(neutral[visible][nearest])


if __name__ == "__main__":
    main()
