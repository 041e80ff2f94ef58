"""What the stages of the synthetic cabin hand to each other: frozen records, millimetres, linear light."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dashgaze.geometry import Floats, unit
from dashgaze.zones import HandOfDrive, Zone

Rgb = tuple[float, float, float]
"""Linear light or albedo: red, green, blue."""
Vector = tuple[float, float, float]
LEFT, RIGHT = 0, 1
"""Rows of arrays that hold both eyes or hands: the driver's own left and right."""
EYE_HEIGHT_M = 1.2
"""Of the driver's eyes above the ground, in a passenger car; the same in `road_common.glsl`."""
EYE_HEIGHT_M = 1.2
"""Of the driver's eyes above the road."""

Sky = Literal["day", "overcast", "dusk", "night"]
"""What is above the car."""
LightKind = Literal["day", "overcast", "dusk", "night", "infrared"]
"""In what light the driver camera films: that of the sky, or that of its own diodes, by day or by night."""
TimeOfDay = Literal["day", "dusk", "night"]
Weather = Literal["clear", "cloudy", "rain"]
Traffic = Literal["light", "moderate", "dense"]
RoadType = Literal["urban", "rural", "motorway"]
FacialHair = Literal["none", "stubble", "moustache", "goatee", "beard"]
HairStyle = Literal["bald", "shaved", "short", "medium", "long", "tied"]
Eyewear = Literal["none", "clear", "tinted", "sunglasses"]
Headwear = Literal["none", "cap", "beanie", "headscarf"]
Mount = Literal["mirror", "windscreen", "corner"]
"""The three of figure 11.3: under the rear-view mirror, middle of the windscreen, its corner on the driver's side."""
Grip = Literal["wheel", "lap", "phone", "console", "face", "ear"]
"""What a hand holds or touches."""


class Part(IntEnum):
    """Classes of a label image; the cabin and everything outside is NOTHING."""

    NOTHING = 0
    SKIN = 1
    LEFT_EYE = 2
    RIGHT_EYE = 3
    GLASSES = 4
    HAND = 5
    HAIR = 6
    CLOTHES = 7
    COVER = 8  # hat, scarf or mask
    OBJECT = 9  # wheel, phone, belt: whatever can be in front of the driver
    PASSENGER = 10


@dataclass(frozen=True, slots=True)
class Surface:
    """How a plain surface reflects light."""

    colour: Rgb
    """Albedo in visible light."""
    infrared: float
    """Albedo at 850 to 940 nm."""
    roughness: float = 0.6
    specular: float = 0.04
    """Reflectance at normal incidence."""
    opacity: float = 1.0
    """Below 1 for lenses and windows: the share of light from behind that is held back."""


@dataclass(frozen=True, slots=True, eq=False)
class Mesh:
    """Triangles in the car frame (or in the head frame, where a function says so)."""

    vertices_mm: NDArray[np.float32]
    """(n, 3)"""
    triangles: NDArray[np.int32]
    """(m, 3), counter-clockwise seen from outside."""
    normals: NDArray[np.float32]
    """(n, 3), unit."""
    surface: Surface
    part: Part = Part.NOTHING
    colours: NDArray[np.float32] | None = None
    """(n, 3) albedo that multiplies the surface's colour; None for 1."""


@dataclass(frozen=True, slots=True, eq=False)
class Strands:
    """Locks of hair as curves in the head frame; drawn as ribbons that face the camera, shaded along the curve."""

    points_mm: NDArray[np.float32]
    """(n, k, 3) from root to tip; all locks have k points."""
    widths_mm: NDArray[np.float32]
    """(n, k)"""
    colours: NDArray[np.float32]
    """(n, 3) albedo in visible light."""
    infrared: NDArray[np.float32]
    """(n,) albedo at 850 to 940 nm."""


@dataclass(frozen=True, slots=True, eq=False)
class SkinMaps:
    """Texture of a head in the texture coordinates `skin.uv_of`; row 0 is v = 0."""

    albedo: NDArray[np.float32]
    """(h, w, 3) in visible light, brows, beard stubble and make-up included."""
    infrared: NDArray[np.float32]
    """(h, w) albedo at 850 to 940 nm: hair pigment fades, lips and make-up hardly show, stubble stays."""
    height_mm: NDArray[np.float32]
    """(h, w) relief of pores and wrinkles."""
    roughness: NDArray[np.float32]
    """(h, w); lips and nose shine more."""


@dataclass(frozen=True, slots=True)
class Person:
    """One identity: everything that stays the same between drives. `person.person_of(seed)` draws it."""

    seed: int
    male: float
    """0 woman, 1 man."""
    age_years: float
    african: float
    asian: float
    caucasian: float
    """Shares of ancestry; they add up to 1."""
    weight: float
    muscle: float
    """0 to 1, 0.5 is the mean."""
    shape: Mapping[str, float]
    """Weight of each local shape target, named as in the assets, e.g. "nose/nose-hump-incr"."""
    ipd_mm: float
    """Distance of the eyeball centres."""
    melanin: float
    """0 palest, 1 darkest skin."""
    blood: float
    """Redness of the skin, about 1."""
    hair_style: HairStyle
    hair_rgb: Rgb
    hair_length: float
    """0 to 1 within the style."""
    hairline: float
    """0 low, 1 receded."""
    grey: float
    """Share of grey hair."""
    facial_hair: FacialHair
    facial_hair_density: float
    brow_density: float
    brow_height: float
    brow_arch: float
    """About 1, 0 and 0: strength, and offsets in units of one standard deviation."""
    freckles: float
    moles: int
    wrinkles: float
    """0 none, 1 deep."""
    make_up: float
    """0 none, 1 strong: lids, lashes, lips, cheeks."""
    lip_rgb: Rgb
    """Colour of lipstick where make_up > 0."""
    iris_rgb: Rgb
    iris_radius_mm: float
    pupil_mm: float
    """Diameter in daylight."""
    kappa_deg: tuple[tuple[float, float], tuple[float, float]]
    """Left and right eye: visual axis against optical axis, (towards the nose, up)."""
    lid_opening_mm: tuple[float, float]
    """Upper and lower lid margin above and below the pupil's centre, looking straight ahead."""
    eyewear: Eyewear
    """What this person wears who wears glasses at all; a drive may leave it off."""
    eyewear_seed: int
    headwear: Headwear
    face_mask: bool
    clothes_rgb: Rgb


@dataclass(frozen=True, slots=True, eq=False)
class Wrist:
    """Where a hand is."""

    position_mm: Floats
    """(3,) of the wrist, car frame."""
    rotation: Floats
    """R_car_hand (3, 3): x along the fingers, from the wrist to the middle knuckle; y out of the back of the hand;
    z = x cross y."""
    curl: float
    """0 straight fingers, 1 a fist or around a rim."""

    @classmethod
    def pointing(cls, position_mm: ArrayLike, fingers: ArrayLike, back: ArrayLike, curl: float) -> "Wrist":
        """A hand with its fingers along one direction (3,) and its back near another (3,)."""
        x, near = unit(fingers), np.asarray(back, dtype=float)
        y = unit(near - x * (x @ near))
        return cls(np.asarray(position_mm, dtype=float), np.stack([x, y, np.cross(x, y)], axis=1), curl)


@dataclass(frozen=True, slots=True)
class Moment:
    """What the driver does at one instant; `behaviour.Behaviour.at` computes it."""

    t_s: float
    zone: Zone
    """Zone that the present fixation is meant for, or the next one during a saccade."""
    gaze_target_mm: Floats
    """(3,) point in the car frame on which both visual axes meet now."""
    saccade: bool
    fixation_id: int
    head_angles_deg: Vector
    """Yaw, pitch, roll of the head in the car: R_car_head = Ry(yaw) . Rx(pitch) . Rz(roll); 0 faces ahead, positive to
    the driver's right, up, and clockwise as the driver sees it. The head is the mesh's (`body`): how the face frame
    lies in it, `actors.face_rotation` says."""
    eye_mid_mm: Floats
    """(3,) midpoint of the eyeball centres in the car frame: the seat, leaning and the swing of the neck."""
    lid_closure: tuple[float, float]
    """Left and right: 0 as open as the gaze allows, 1 closed."""
    blink_id: int | None
    jaw_open: float
    """0 to 1."""
    expression: str
    """neutral, smile, talk, frown, surprise, sad, yawn, squint."""
    expression_weights: Mapping[str, float]
    """Face units (ARKit names, e.g. "mouthSmileLeft") and their weights; lids and gaze are not among them."""
    valence: float
    """-1 unpleasant to 1 pleasant."""
    state: str
    """attentive, distracted, drowsy, talking, yawning."""
    grips: tuple[Grip, Grip]
    """What the left and the right hand hold."""
    grip_blend: tuple[tuple[Grip, float], tuple[Grip, float]]
    """Left and right: where the hand comes from, and how far it has come, 0 to 1."""
    wheel_angle_deg: float
    """Steering wheel, positive clockwise as the driver sees it."""
    speed_mps: float


@dataclass(frozen=True, slots=True)
class Lamp:
    """A small light: street lamp, headlights, display, infrared LED. Irradiance falls with the square of distance."""

    position_mm: Vector
    rgb: Rgb
    """Irradiance at 1 m; in infrared pictures the first value counts."""


@dataclass(frozen=True, slots=True)
class Light:
    """What lights the cabin at one instant; `light.Lighting.at` computes it. Directions in the car frame."""

    kind: LightKind
    environment: str
    """Name of the panorama in the assets."""
    environment_yaw_deg: float
    environment_gain: float
    sun_direction: Vector
    """Unit vector towards the sun or the brightest lamp outside."""
    sun_rgb: Rgb
    lamps: tuple[Lamp, ...] = ()
    infrared: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Eye:
    """One eye, ready to draw: two spheres, a refracting cornea, an iris disc."""

    centre_mm: Floats
    """(3,) rotation centre of the globe, car frame."""
    optical_axis: Floats
    """(3,) unit, out of the eye, car frame."""
    visual_axis: Floats
    """(3,) unit, car frame: the label."""
    up: Floats
    """(3,) unit, upward in the eye's own frame (torsion after Listing)."""
    globe_radius_mm: float
    iris_radius_mm: float
    pupil_radius_mm: float
    iris_rgb: Rgb
    infrared_iris: float
    seed: int


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """A rendered frame before the sensor: pinhole, linear light."""

    radiance: NDArray[np.float32]
    """(h, w, 3)"""
    parts: NDArray[np.uint8]
    """(h, w) of `Part`, not antialiased."""


@dataclass(frozen=True, slots=True)
class CarPlan:
    """The vehicle of a drive."""

    seed: int
    hand_of_drive: HandOfDrive
    seat_offset_mm: Vector
    """How the cabin lies against the normal posture: taller drivers, seats further back."""
    trim_rgb: Rgb
    seat_rgb: Rgb
    passengers: tuple[int, ...] = ()
    """Seeds of people: the front passenger first, then the back seats."""
