"""A controlled grid of gaze: the same heads, straight to the camera, eyes turned step by step.

Seen by the device's mesh, the iris must go further to the driver's right with every step of azimuth, in every row, and
further up with every step of elevation, in every column.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dashgaze.device.mesh import LEFT_CORNERS, LEFT_IRIS, RIGHT_CORNERS, RIGHT_IRIS
from dashgaze.geometry import Floats
from dashgaze.training.synth.actors import Actor
from dashgaze.training.synth.build_landmarks import settled_landmarks
from dashgaze.training.synth.drives import STRANGER_SEED
from dashgaze.training.synth.person import person_of
from dashgaze.training.synth.renderer import Renderer
from dashgaze.training.synth.stills import FILM_PX, Occasion, photograph

AZIMUTHS_DEG = (-32.0, -16.0, 0.0, 16.0, 32.0)
ELEVATIONS_DEG = (-24.0, -14.0, 0.0, 14.0)
LIGHTS = ("overcast", "infrared")


@dataclass(frozen=True)
class GazeGrid:
    """What was seen of some heads."""

    offsets: Floats
    """(heads, elevations, azimuths, 2): mean of both irises from the middle of their eyes towards the driver's right
    and upward, in eye widths; NaN where no face was found."""
    picture: NDArray[np.uint8]
    """The eyes of the first head in each light, elevations from the top."""

    @property
    def monotonic_right(self) -> float:
        """Share of the rows in which every step to the right moves the irises to the right."""
        return float((np.diff(self.offsets[..., 0], axis=2) > 0).all(axis=2).mean())

    @property
    def monotonic_up(self) -> float:
        """Share of the columns in which every step up moves the irises up."""
        return float((np.diff(self.offsets[..., 1], axis=1) > 0).all(axis=1).mean())


def render_grid(people: int = 3) -> GazeGrid:
    """Render and look at people without glasses in each light."""
    heads: list[list[list[Floats]]] = []
    pictures: list[NDArray[np.uint8]] = []
    with Renderer(FILM_PX) as renderer:
        for actor in _bare_faced(people):
            for light in LIGHTS:
                shots = [[_look(actor, light, a, e, renderer) for a in AZIMUTHS_DEG] for e in ELEVATIONS_DEG]
                heads.append([[offset for offset, _ in row] for row in shots])
                if len(pictures) < len(LIGHTS):
                    pictures.append(np.vstack([np.hstack([eyes for _, eyes in row]) for row in reversed(shots)]))
    return GazeGrid(np.array(heads), np.vstack(pictures))


def _bare_faced(count: int) -> list[Actor]:
    """The first people with nothing on their faces, of those who are in no drive."""
    found: list[Actor] = []
    seed = STRANGER_SEED + 2**42
    while len(found) < count:
        person = person_of(seed)
        if person.eyewear == "none" and not person.face_mask and person.headwear == "none":
            found.append(Actor(person))
        seed += 1
    return found


def _look(
    actor: Actor, light: str, azimuth_deg: float, elevation_deg: float, renderer: Renderer
) -> tuple[Floats, NDArray[np.uint8]]:
    """Offset (2,) of the irises, and a picture of the eyes."""
    gaze = (azimuth_deg, elevation_deg)
    occasion = Occasion(11, "infrared" if light == "infrared" else "overcast", (0.0, 0.0, 0.0), gaze, "neutral", 0.0)
    still = photograph(actor, occasion, renderer, "face")
    eyes = still.photograph[205:275, 165:347]
    landmarks = settled_landmarks(still.photograph)
    if landmarks is None:
        return np.full(2, np.nan), eyes
    offsets = [_offset(landmarks[:, :2].astype(float), *eye) for eye in EYES]
    return np.asarray(np.mean(offsets, axis=0)), eyes


EYES = ((LEFT_IRIS, LEFT_CORNERS), (RIGHT_IRIS, RIGHT_CORNERS))


def _offset(landmarks_px: Floats, iris: int, corners: tuple[int, int]) -> Floats:
    ends = landmarks_px[list(corners)]
    width = np.linalg.norm(ends[1] - ends[0])
    x, y = (landmarks_px[iris] - ends.mean(axis=0)) / width
    return np.array([-x, -y])  # the driver's right is on the left of the picture
