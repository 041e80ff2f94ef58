"""People on the set: a body, its looks and its clothes, posed for one frame."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache, cached_property

import numpy as np
from numpy.typing import NDArray

from dashgaze.bundle import packaged_bundle
from dashgaze.device.headpose import CanonicalFace
from dashgaze.geometry import (
    Floats,
    angles_from_rays,
    fit_rotation,
    rays_from_angles,
    rotation_x,
    rotation_y,
    rotation_z,
)
from dashgaze.training.synth import accessories, assets, hair
from dashgaze.training.synth.body import Body, PosedBody, Posture
from dashgaze.training.synth.drives import RIDER_SEED
from dashgaze.training.synth.eyes import aim, hippus
from dashgaze.training.synth.labels import Face, lid_openings_mm
from dashgaze.training.synth.person import person_of
from dashgaze.training.synth.records import LEFT, RIGHT, Eye, LightKind, Moment, Person, SkinMaps, Strands
from dashgaze.training.synth.renderer import Figure, Likeness
from dashgaze.training.synth.skin import skin_maps, uv_of
from dashgaze.training.synth.vehicle import Cabin, Seat

LUMINANCE_CD_M2: dict[LightKind, float] = {"day": 300, "overcast": 120, "dusk": 12, "night": 1.5, "infrared": 0.8}
"""What pupils adapt to."""
FACE_MM = np.array([[-75.0, -62.0, -45.0], [75.0, 118.0, 60.0]])
"""Of the mean head: what counts as face."""
FACE_STEP = 7
"""Every so many-th of its vertices stands for the face."""
RIDER_CLOTHES = (
    (0.02, 0.03, 0.08),
    (0.03, 0.03, 0.03),
    (0.25, 0.27, 0.3),
    (0.12, 0.02, 0.03),
    (0.03, 0.1, 0.06),
    (0.09, 0.14, 0.25),
)
"""Unlike skin: passengers are seen small, and plain cloth in its colour looks bare."""
GAZE_FAR_MM = 5000.0
"""How far ahead passengers look."""


@dataclass(frozen=True, slots=True, eq=False)
class Pose:
    """A person in one frame."""

    body: PosedBody
    eyes: tuple[Eye, Eye]
    strands: tuple[Strands, ...]
    face: Face
    target_mm: Floats
    """(3,) where both eyes look."""

    def figure(self, key: str) -> Figure:
        """What the renderer draws."""
        body = self.body
        return Figure(
            key=key,
            vertices_mm=body.skin.vertices_mm,
            normals=body.skin.normals,
            eyes=self.eyes,
            head_rotation=body.head_rotation,
            head_origin_mm=body.head_origin_mm,
            lid_margins_mm=body.lid_margins_mm,
            strands=self.strands,
            meshes=(body.clothes, body.teeth),
        )


def dressed(person: Person, eyewear: bool) -> Person:
    """A person as they come to a drive: with what they wear on their nose, or without."""
    return person if eyewear else replace(person, eyewear="none")


class Actor:
    """A person who can be posed, with everything about them that stays the same."""

    def __init__(self, person: Person, passenger: bool = False) -> None:
        self.person = person
        self.body = Body(person)
        self._passenger = passenger
        self._hair = hair.strands(person, self.body)
        self._beard = hair.beard(person, self.body)
        neutral = self.body.neutral_mm
        inside = ((neutral > FACE_MM[0]) & (neutral < FACE_MM[1])).all(axis=1)
        self._face = np.flatnonzero(inside)[::FACE_STEP]
        self._face_in_head = face_rotation(self.body.rest_mm)
        self._landmarks = _landmarks(neutral, self.body.masks["lips"])

    @cached_property
    def _maps(self) -> SkinMaps:
        return skin_maps(self.person)

    def likeness(self, infrared: bool) -> Likeness:
        """What the renderer keeps of this person; many sunglasses let infrared through."""
        body, person = self.body, self.person
        worn = [
            *accessories.eyewear(person, body, infrared),
            *accessories.headwear(person, body),
            *accessories.face_mask(person, body),
        ]
        return Likeness(
            triangles=body.triangles,
            texture_at=uv_of(body.neutral_mm),
            masks=body.masks,
            maps=self._maps,
            hair=() if self._hair is None else (self._hair,),
            worn=tuple(worn),
            passenger=self._passenger,
        )

    def act(self, moment: Moment, cabin: Cabin, light: LightKind, t_s: float) -> Pose:
        """Pose the driver of a moment."""
        yaw, pitch, roll = moment.head_angles_deg
        rotation = rotation_y(yaw) @ rotation_x(pitch) @ rotation_z(roll)
        posture = Posture(
            head_rotation=rotation,
            eye_mid_mm=moment.eye_mid_mm,
            lid_closure=moment.lid_closure,
            expression=moment.expression_weights,
            jaw_open=moment.jaw_open,
            hands=cabin.hands(moment),
        )
        return self._pose(posture, moment.gaze_target_mm, light, t_s)

    def sit(self, seat: Seat, t_s: float, light: LightKind) -> Pose:
        """Pose a passenger, who looks about slowly."""
        rng = np.random.default_rng(self.person.seed)
        phase, period_s = rng.uniform(0, 2 * np.pi, 3), rng.uniform(6, 25, 3)
        sway = np.sin(2 * np.pi * t_s / period_s + phase)
        rotation = rotation_y(seat.yaw_deg + 14 * sway[0]) @ rotation_x(6 * sway[1] - 3) @ rotation_z(3 * sway[2])
        target = seat.eye_mid_mm + rotation @ np.array([0.0, 0.0, GAZE_FAR_MM])
        return self._pose(Posture(head_rotation=rotation, eye_mid_mm=seat.eye_mid_mm), target, light, t_s)

    def look(
        self, rotation: Floats, gaze_deg: tuple[float, float], light: LightKind, expression: Mapping[str, float]
    ) -> Pose:
        """Pose a person whose eyes are midway at the origin, with the gaze (azimuth, elevation) in the head frame."""
        target = rotation @ rays_from_angles(*gaze_deg) * GAZE_FAR_MM
        jaw = expression.get("jawOpen", 0.0)
        return self._pose(Posture(head_rotation=rotation, expression=expression, jaw_open=jaw), target, light, 0.0)

    @cached_property
    def normal_opening_mm(self) -> Floats:
        """How far each eye (2,) is open when it looks straight ahead: what openness is measured against."""
        return lid_openings_mm(self._seen(self.body.pose(Posture())))

    def _pose(self, posture: Posture, target_mm: Floats, light: LightKind, t_s: float) -> Pose:
        """The person in a posture, with the eyes turned to the target, whatever the posture says of them."""
        person, rotation = self.person, posture.head_rotation
        centres = posture.eye_mid_mm + self.body.eye_centres_mm @ rotation.T
        eyes = aim(centres, target_mm, rotation, person, LUMINANCE_CD_M2[light], hippus(t_s, person.seed))
        azimuth, elevation = angles_from_rays(np.stack([eye.optical_axis for eye in eyes]) @ rotation)
        body = self.body.pose(
            replace(
                posture,
                eye_elevation_deg=(float(elevation[LEFT]), float(elevation[RIGHT])),
                eye_azimuth_deg=(float(azimuth[LEFT]), float(azimuth[RIGHT])),
            )
        )
        strands = [hair.lashes(person, body.lid_margins_mm, rotation)]
        if self._beard is not None:
            strands.append(self._beard.posed(body.skin.vertices_mm, rotation))
        return Pose(body, eyes, tuple(strands), self._seen(body), target_mm)

    def _seen(self, body: PosedBody) -> Face:
        vertices, normals = body.skin.vertices_mm, body.skin.normals
        return Face(
            eye_centres_mm=body.eye_centres_mm,
            rotation=body.head_rotation @ self._face_in_head,
            lid_margins_mm=np.asarray(body.lid_margins_mm, dtype=float),
            front_mm=vertices[self._face].astype(float),
            front_normals=normals[self._face].astype(float),
            landmarks_mm={name: vertices[vertex].astype(float) for name, vertex in self._landmarks.items()},
        )


def face_rotation(rest_mm: NDArray[np.float32]) -> Floats:
    """R_head_face (3, 3): how the canonical face lies in a head whose skin at rest is `rest_mm` (n, 3).

    The face frame of a session is that of the canonical face. Where a person's forehead ends and how far the chin
    stands out decide how it lies on their head, so it is fitted to each (Kabsch 1976), as the device fits it.
    """
    canonical, vertices = _canonical()
    skin = rest_mm[vertices].astype(float)
    return fit_rotation(canonical - canonical.mean(axis=0), skin - skin.mean(axis=0))


@cache
def _canonical() -> tuple[Floats, NDArray[np.int32]]:
    """The canonical face (468, 3), and the skin vertex of each of its landmarks."""
    vertices = np.load(assets.FOLDER / "landmarks.npy")
    return CanonicalFace.from_bundle(packaged_bundle()).vertices_mm, vertices


def _landmarks(neutral_mm: NDArray[np.float32], lips: NDArray[np.float32]) -> dict[str, int]:
    """Vertices of nose tip and mouth corners: what sticks out most, and the ends of the lips."""
    middle = (np.abs(neutral_mm[:, 0]) < 12) & (neutral_mm[:, 1] > 15) & (neutral_mm[:, 1] < 65)
    mouth = np.flatnonzero(lips > 0.5)
    return {
        "nose": int(np.flatnonzero(middle)[neutral_mm[middle, 2].argmax()]),
        "mouth_right": int(mouth[neutral_mm[mouth, 0].argmax()]),
        "mouth_left": int(mouth[neutral_mm[mouth, 0].argmin()]),
    }


@cache
def rider(number: int) -> Actor:
    """One of the few people who sit beside drivers."""
    person = replace(person_of(RIDER_SEED + number), clothes_rgb=RIDER_CLOTHES[number])
    return Actor(person, passenger=True)
