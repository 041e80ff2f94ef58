"""Aligned faces for face tasks: with attributes, in pairs that differ in one feature, in triplets with masks.

A face is photographed outdoors by a camera of its own, and moved to the five points that
face networks are trained on (eyes, nose, mouth corners). Pictures of a group are taken in the same pose and
light by the same camera:

- `pairs`: a person, and the same person with one feature (`person.FEATURES`) of somebody else;
- `triplets`: a probe, a mate (the same person at another time), and the probe with the region of one feature replaced
  by that of somebody else: the inpainted non-mate of the "inpainting game" (Williford, May and Byrne 2020).
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from platform import python_version
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

import dashgaze
from dashgaze.geometry import FACING, Camera, Floats, rotation_x, rotation_y, rotation_z
from dashgaze.session import SessionHeader, Versions, write_session
from dashgaze.tables import write_atomically
from dashgaze.training.synth import labels
from dashgaze.training.synth.actors import Actor, Pose
from dashgaze.training.synth.drives import MAX_SEED, MAX_SESSIONS, STRANGER_SEED, SetOf, check_limits, seed_of
from dashgaze.training.synth.film import columns
from dashgaze.training.synth.labels import Row
from dashgaze.training.synth.light import Lighting
from dashgaze.training.synth.person import FEATURES, features, person_of, with_feature
from dashgaze.training.synth.records import LightKind, Person
from dashgaze.training.synth.renderer import Renderer, Scene, View
from dashgaze.training.synth.rig import PlacedCamera
from dashgaze.training.synth.sensor import plan_sensor

Kind = Literal["faces", "pairs", "triplets"]
SIZE_PX = 224
FILM_PX = (512, 512)
DISTANCE_MM = 900.0
FOCAL_PX = 1250.0
TEMPLATE_FRAC = np.array([[0.6565, 0.4616], [0.3419, 0.4615], [0.5003, 0.6405], [0.3710, 0.8247], [0.6307, 0.8244]])
"""Left eye, right eye, nose, right and left mouth corner (the person's own) in the aligned picture: the points of
ArcFace's 112 x 112 crop (Deng et al. 2019)."""
LIGHTS: tuple[LightKind, ...] = ("day", "overcast", "dusk", "infrared")
EMOTIONS: dict[str, tuple[float, dict[str, float]]] = {
    "neutral": (0.0, {}),
    "happy": (0.9, {"mouthSmile": 0.85, "cheekSquint": 0.6, "eyeSquint": 0.3}),
    "sad": (-0.7, {"mouthFrown": 0.8, "browInnerUp": 0.9, "mouthShrugLower": 0.4}),
    "surprise": (0.1, {"browInnerUp": 0.8, "browOuterUp": 0.8, "eyeWide": 0.9, "jawOpen": 0.35}),
    "fear": (-0.8, {"browInnerUp": 0.9, "browOuterUp": 0.4, "eyeWide": 0.8, "mouthStretch": 0.7, "jawOpen": 0.15}),
    "angry": (-0.8, {"browDown": 0.95, "eyeSquint": 0.4, "mouthPress": 0.6, "noseSneer": 0.3}),
    "disgust": (-0.7, {"noseSneer": 0.9, "mouthUpperUp": 0.6, "browDown": 0.5, "cheekSquint": 0.4}),
}
"""Valence and face units (after the Facial Action Coding System) of the seven emotions."""
ONE_SIDED = ("browInnerUp", "mouthShrugLower", "jawOpen")
REGIONS_MM: dict[str, tuple[tuple[float, float, float, float], ...]] = {
    "eyes": ((8, 54, -15, 15), (-54, -8, -15, 15)),
    "iris": ((8, 54, -15, 15), (-54, -8, -15, 15)),
    "eyebrows": ((5, 60, -36, -8), (-60, -5, -36, -8)),
    "nose": ((-24, 24, -6, 56),),
    "mouth": ((-34, 34, 54, 90),),
    "chin": ((-46, 46, 82, 128),),
    "cheeks": ((26, 72, 12, 74), (-72, -26, 12, 74)),
    "forehead": ((-60, 60, -84, -28),),
    "facial_hair": ((-66, 66, 48, 128),),
    "make_up": ((-72, 72, -30, 92),),
}
"""Boxes (x from and to, y from and to) on the front of the mean head that hold a feature: what is inpainted."""
FEATHER_PX = 4.0


@dataclass(frozen=True, slots=True)
class StillsPlan(SetOf):
    """A set of stills; `farm.Plan`."""

    kind: Kind
    people: int = 20
    """In a session."""
    each: int = 4
    """Faces, pairs or triplets of each person."""

    def check(self) -> None:
        """Raise InputError for the first value that makes no sense."""
        check_limits(
            {
                "--sessions": (self.sessions, 1, MAX_SESSIONS),
                "--seed": (self.seed, 0, MAX_SEED),
                "--people": (self.people, 1, 1000),
                "--each": (self.each, 1, 1000),
            }
        )

    def frames(self, number: int) -> int:
        """Groups of a session: the same for all."""
        return self.people * self.each

    def write(self, number: int, path: Path, tick: Callable[[], None]) -> None:
        """Render session `number` into `path`; `tick` is called after each group."""
        first = number * self.people
        with write_session(path) as session, Renderer(FILM_PX) as renderer:
            for folder in ("faces", "masks"):
                (session.folder / folder).mkdir()
            rows: list[Row] = []
            for driver in range(first, first + self.people):
                for group, stills in enumerate(self._groups(driver, renderer), driver * self.each):
                    rows += [
                        _saved(session.folder, still, group, f"person-{self.seed}-{driver:05d}") for still in stills
                    ]
                    tick()
            session.append("stills", columns(rows))
            session.describe(
                SessionHeader(
                    session_id=f"synth-{self.kind}-{self.seed}-{number:05d}",
                    created=datetime.now(UTC),
                    versions=Versions(dashgaze=dashgaze.__version__, python=python_version()),
                )
            )

    def _groups(self, driver: int, renderer: Renderer) -> "Iterator[tuple[Still, ...]]":
        person = person_of(seed_of(self.seed, driver))
        if self.kind != "faces":  # features that are covered cannot be compared
            person = replace(person, face_mask=False, headwear="none", eyewear="none")
        actor = Actor(person)
        for turn in range(self.each):
            rng = np.random.default_rng([self.seed, 5, driver, turn])
            if self.kind == "faces":
                yield (photograph(actor, Occasion.draw(rng), renderer, "face"),)
            else:
                feature = _feature(rng, self.kind)
                changed = Actor(altered(person, feature, rng))
                take = _pair if self.kind == "pairs" else _triplet
                yield take(actor, changed, feature, rng, renderer)


@dataclass(frozen=True, slots=True, eq=False)
class Occasion:
    """When and how a person is photographed."""

    seed: int
    light: LightKind
    head_angles_deg: tuple[float, float, float]
    """Yaw, pitch, roll against the camera."""
    gaze_deg: tuple[float, float]
    """Azimuth and elevation in the face frame."""
    emotion: str
    strength: float

    @classmethod
    def draw(cls, rng: np.random.Generator, widest_deg: float = 38.0) -> "Occasion":
        """Any light, pose and emotion; a third looks into the camera."""
        yaw, pitch = rng.uniform(-widest_deg, widest_deg), rng.uniform(-0.55, 0.45) * widest_deg
        gaze = (-yaw, -pitch) if rng.random() < 0.4 and abs(yaw) < 28 else (rng.normal(0, 9), rng.normal(-2, 5))
        return cls(
            seed=int(rng.integers(2**40)),
            light=LIGHTS[rng.choice(len(LIGHTS), p=[0.45, 0.3, 0.15, 0.1])],
            head_angles_deg=(yaw, pitch, float(rng.normal(0, 4))),
            gaze_deg=(float(np.clip(gaze[0], -28, 28)), float(np.clip(gaze[1], -20, 16))),
            emotion=tuple(EMOTIONS)[rng.choice(7, p=[0.34, *[0.11] * 6])],
            strength=float(rng.uniform(0.5, 1.0)),
        )


@dataclass(frozen=True, slots=True, eq=False)
class Still:
    """One aligned picture and its truth."""

    picture: NDArray[np.uint8]
    """(SIZE_PX, SIZE_PX, 3) BGR"""
    photograph: NDArray[np.uint8]
    """(512, 512, 3) BGR, as `CAMERA` took it"""
    row: Row
    role: str
    pose: Pose
    alignment: Floats
    """(2, 3) from the photograph to the picture"""
    feature: str | None = None
    mask: NDArray[np.uint8] | None = None


CAMERA = PlacedCamera(
    Camera(FILM_PX, np.array([[FOCAL_PX, 0, 255.5], [0, FOCAL_PX, 255.5], [0, 0, 1]]), np.zeros(0)),
    FACING,
    np.array([0.0, 25.0, DISTANCE_MM]),
)


def photograph(
    actor: Actor, occasion: Occasion, renderer: Renderer, role: str, alignment: Floats | None = None
) -> Still:
    """Photograph a person; `alignment` of another picture keeps both in the same place."""
    yaw, pitch, roll = occasion.head_angles_deg
    rotation = rotation_y(yaw) @ rotation_x(pitch) @ rotation_z(roll)
    valence, units = EMOTIONS[occasion.emotion]
    expression = _weights(units, occasion.strength)
    pose = actor.look(rotation, occasion.gaze_deg, occasion.light, expression)
    rng = np.random.default_rng(occasion.seed)
    light = Lighting(occasion.seed, occasion.light, "urban", camera_mm=CAMERA.position_mm).at(float(rng.uniform(0, 60)))
    renderer.load("face", actor.likeness(occasion.light == "infrared"))
    view = View(CAMERA.camera.matrix, CAMERA.rotation, CAMERA.position_mm)
    drawn = renderer.render(Scene(view, light, (pose.figure("face"),)))
    sensor = plan_sensor(rng, "phone", occasion.light)
    exposure = sensor.expose(drawn.radiance, None, 0.0, (150.0, 130.0, 360.0, 400.0))
    picture = sensor.develop(drawn.radiance, CAMERA.camera, CAMERA.camera, exposure, rng)
    if alignment is None:
        alignment = aligned_by(pose)
    aligned = cv2.warpAffine(picture, alignment, (SIZE_PX, SIZE_PX)).astype(np.uint8, copy=False)
    head = labels.head_row(pose.face, CAMERA)
    row = {
        **labels.gaze_row(pose.face, pose.target_mm, CAMERA),
        **head,
        **labels.lids_row(pose.face, actor.normal_opening_mm, expression.get("jawOpen", 0.0)),
        **labels.person_row(actor.person, occasion.light, occasion.emotion, occasion.strength * valence),
        "pose": labels.pose_bin(head),
    }
    return Still(aligned, picture, row, role, pose, alignment)


def altered(person: Person, feature: str, rng: np.random.Generator) -> Person:
    """The person with one feature of somebody else in whom it is another; make-up is put on or taken off."""
    while True:
        other = person_of(STRANGER_SEED + int(rng.integers(2**40)))
        if feature == "make_up":
            return replace(person, make_up=0.0 if person.make_up > 0.3 else 0.9, lip_rgb=other.lip_rgb)
        if features(other, feature) != features(person, feature):
            return with_feature(person, feature, other)


def aligned_by(pose: Pose) -> Floats:
    """The similarity (2, 3) that moves the five points of a face to `TEMPLATE_FRAC`."""
    face = pose.face
    points = [*face.eye_centres_mm, *(face.landmarks_mm[name] for name in ("nose", "mouth_right", "mouth_left"))]
    seen = CAMERA.project(np.array(points))
    matrix, _ = cv2.estimateAffinePartial2D(seen, TEMPLATE_FRAC * SIZE_PX - 0.5, method=cv2.LMEDS)
    return np.asarray(matrix, dtype=float)


def _weights(units: dict[str, float], strength: float) -> dict[str, float]:
    both = {
        f"{name}{side}": strength * w
        for name, w in units.items()
        if name not in ONE_SIDED
        for side in ("Left", "Right")
    }
    return both | {name: strength * w for name, w in units.items() if name in ONE_SIDED}


def _feature(rng: np.random.Generator, kind: Kind) -> str:
    names = tuple(FEATURES) if kind == "pairs" else tuple(REGIONS_MM)
    return names[rng.integers(len(names))]


def _pair(
    actor: Actor, changed: Actor, feature: str, rng: np.random.Generator, renderer: Renderer
) -> tuple[Still, Still]:
    occasion = Occasion.draw(rng, widest_deg=20.0)
    first = photograph(actor, occasion, renderer, "original")
    second = photograph(changed, occasion, renderer, "changed", first.alignment)
    return replace(first, feature=feature), replace(second, feature=feature)


def _triplet(
    actor: Actor, changed: Actor, feature: str, rng: np.random.Generator, renderer: Renderer
) -> tuple[Still, Still, Still]:
    occasion = Occasion.draw(rng, widest_deg=15.0)
    probe = photograph(actor, occasion, renderer, "probe")
    mate = photograph(actor, Occasion.draw(rng, widest_deg=25.0), renderer, "mate")
    donor = photograph(changed, occasion, renderer, "inpainted_nonmate", probe.alignment)
    mask = region(actor, feature, probe) | region(changed, feature, donor)
    share = cv2.GaussianBlur(mask.astype(np.float32), (0, 0), FEATHER_PX)[..., None]
    inside = np.clip(2 * share - 1, 0, 1)  # nothing outside the mask changes
    blended = np.rint(probe.picture + inside * (donor.picture.astype(np.float32) - probe.picture)).astype(np.uint8)
    nonmate = replace(donor, picture=blended, feature=feature, mask=np.where(mask, 255, 0).astype(np.uint8))
    return replace(probe, feature=feature), replace(mate, feature=feature), nonmate


def region(actor: Actor, feature: str, still: Still) -> NDArray[np.bool_]:
    """Where a feature is in a picture (SIZE_PX, SIZE_PX)."""
    neutral, skin = actor.body.neutral_mm, still.pose.body.skin
    mask = np.zeros((SIZE_PX, SIZE_PX), np.uint8)
    for x0, x1, y0, y1 in REGIONS_MM[feature]:
        inside = (neutral[:, 0] > x0) & (neutral[:, 0] < x1) & (neutral[:, 1] > y0) & (neutral[:, 1] < y1)
        seen = CAMERA.project(skin.vertices_mm[inside & (neutral[:, 2] > -45)])
        points = np.hstack([seen, np.ones((len(seen), 1))]) @ still.alignment.T
        cv2.fillConvexPoly(mask, cv2.convexHull(np.rint(points).astype(np.int32)), 1)
    return mask.astype(bool)


def _saved(folder: Path, still: Still, group: int, identity: str) -> Row:
    """Write a still's pictures into the session's folder; returns its row."""
    name = f"{group:06d}-{still.role}.png"
    write_atomically(folder / "faces" / name, cv2.imencode(".png", still.picture)[1].tobytes())
    row = {"image": f"faces/{name}", "group": group, "role": still.role, "feature": still.feature, **still.row}
    if still.mask is not None:
        write_atomically(folder / "masks" / name, cv2.imencode(".png", still.mask)[1].tobytes())
        row["mask"] = f"masks/{name}"
    return {**row, "identity": identity if still.role != "inpainted_nonmate" else None}
