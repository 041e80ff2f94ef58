"""The car around the driver: coarse meshes, window openings, what moves, and where hands go.

Everything is built for a left-hand-drive car and mirrored (x changes sign) for the other. Mirrors, instruments and
console stand where `zones.toml` puts them, so that a driver who looks at a zone looks at the thing. What is not a mesh
is a window. The dimensions are those of a mid-sized passenger car and vary with the seed by some percent.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from dashgaze.geometry import Floats, rotation_x, rotation_y, rotation_z, unit
from dashgaze.training.synth.behaviour import phone_position_mm
from dashgaze.training.synth.records import LEFT, RIGHT, CarPlan, Grip, Mesh, Moment, Part, Rgb, Surface, Wrist
from dashgaze.zones import HandOfDrive, Zone, ZoneMap

Shape = tuple[Floats, NDArray[np.int32]]
"""Vertices (n, 3) and triangles (m, 3)."""
Rectangles = dict[Zone, tuple[Floats, Floats]]
"""Centre and half the width and height of each zone."""
Sides = tuple[Literal[-1, 1], Literal[-1, 1]]

SIDES: Sides = (-1, 1)
"""Of the car in a left-hand-drive one: the driver's door, the passenger's."""
MIDDLE_MM = 370.0
"""From the driver to the middle of the car."""
SEAT_PITCH_MM = 830.0
"""From the front row to the back row."""

WHEEL_TOP_MM = np.array([0.0, 200.0, 450.0])
"""Upper edge of the steering wheel, as the zones have it."""
WHEEL_TILT_DEG = 25.0
RIM_MM = 15.0
"""Radius of the rim's own section."""
HELD_TURN_DEG = 50.0
"""The hands follow the wheel so far and then let it slip."""

SHOULDERS_MM = np.array([[-180.0, 200.0, -80.0], [180.0, 200.0, -80.0]])
"""Left and right, in the normal posture."""
SHELF_MM = 110.0
"""Height (y) of the shelf behind the back seats."""
REACH_MM = 520.0
"""From shoulder to wrist, arm nearly straight."""
KNUCKLE_MM = 85.0
"""From the wrist to the middle knuckle."""
FINGERTIP_MM = 165.0
PALM_MM = 14.0
"""From the palm to the middle of the hand."""

BELT_WIDTH_MM = 46.0
PHONE_SIZE_MM = (72.0, 150.0, 8.0)
PHONE_IN_HAND_MM = np.array([KNUCKLE_MM + 15, -PALM_MM - PHONE_SIZE_MM[2] / 2 - 8, 0.0])
"""Its middle from the wrist, in the hand's frame."""

_TRIMS: tuple[Rgb, ...] = ((0.018, 0.018, 0.019), (0.035, 0.035, 0.036), (0.09, 0.088, 0.085), (0.22, 0.18, 0.135))
_SEATS: tuple[Rgb, ...] = (
    (0.015, 0.015, 0.017),
    (0.04, 0.04, 0.042),
    (0.10, 0.10, 0.105),
    (0.30, 0.23, 0.16),
    (0.13, 0.055, 0.03),
    (0.05, 0.06, 0.09),
)
_LININGS: tuple[Rgb, ...] = ((0.36, 0.35, 0.33), (0.24, 0.235, 0.23), (0.13, 0.13, 0.132), (0.025, 0.025, 0.026))


@dataclass(frozen=True, slots=True, eq=False)
class Seat:
    """Where a passenger's eyes are, and how far the passenger is turned to the right."""

    eye_mid_mm: Floats
    yaw_deg: float


@dataclass(frozen=True, slots=True)
class _Dimensions:
    """What differs between cars; millimetres, left-hand drive, before the seat's offset."""

    half_width: float
    """At the lower edge of the side windows."""
    half_roof: float
    """At the roof rail."""
    sill: float
    """y of the windows' lower edge."""
    rail: float
    """y of the roof rail."""
    crown: float
    """How much higher the roof is in the middle."""
    header: float
    """z of the windscreen's upper edge."""
    cowl: float
    """z of its lower edge, in the middle."""
    b_pillar: float
    """z of its middle."""
    rear: float
    """z of the rear window's upper edge."""
    wheel_radius: float
    clock_deg: float
    """Where the hands lie on the wheel: degrees from its top."""

    @classmethod
    def of(cls, seed: int) -> "_Dimensions":
        rng = np.random.default_rng([seed, 1])
        half_width = rng.normal(735, 18)
        return cls(
            half_width=half_width,
            half_roof=half_width - rng.normal(150, 12),
            sill=rng.normal(240, 8),
            rail=rng.normal(-178, 10),
            crown=rng.normal(45, 7),
            header=rng.normal(455, 18),
            cowl=rng.normal(1035, 20),
            b_pillar=rng.normal(-215, 30),
            rear=rng.normal(-1330, 60),
            wheel_radius=rng.normal(184, 5),
            clock_deg=float(rng.choice([55.0, 85.0, 100.0, 125.0], p=[0.3, 0.4, 0.2, 0.1]) + rng.normal(0, 6)),
        )

    def side_x(self, side: int, y: ArrayLike) -> Floats:
        """Where (x) the side's inner surface is at height y: upright below the sill, leaning in above."""
        up = np.clip((self.sill - np.asarray(y, dtype=float)) / (self.sill - self.rail), 0, 1.1)
        return MIDDLE_MM + side * (self.half_width - (self.half_width - self.half_roof) * up**1.25)


def plan_car(rng: np.random.Generator, hand_of_drive: HandOfDrive, passengers: Sequence[int] = ()) -> CarPlan:
    """Draw a vehicle; `passengers` are seeds of people, the front passenger first."""
    trim = _TRIMS[rng.choice(len(_TRIMS), p=[0.4, 0.3, 0.18, 0.12])]
    seat = _SEATS[rng.choice(len(_SEATS), p=[0.3, 0.24, 0.2, 0.12, 0.07, 0.07])]
    forward_mm, down_mm = np.clip(rng.normal(0, [12, 6]), [-24, -12], [24, 12])
    return CarPlan(
        seed=int(rng.integers(2**31)),
        hand_of_drive=hand_of_drive,
        seat_offset_mm=(float(np.clip(rng.normal(0, 6), -15, 15)), float(down_mm), float(forward_mm)),
        trim_rgb=_varied(rng, trim),
        seat_rgb=_varied(rng, seat),
        passengers=tuple(passengers),
    )


def blend(start: Wrist, end: Wrist, share: float) -> Wrist:
    """A hand on its way: `share` 0 at the start, 1 at the end, on a path that bows away from the wheel."""
    turn, _ = cv2.Rodrigues(start.rotation.T @ end.rotation)
    rotation = start.rotation @ cv2.Rodrigues(turn * share)[0]
    way = end.position_mm - start.position_mm
    bow = np.array([0.0, -0.1, -0.15]) * np.linalg.norm(way) * 4 * share * (1 - share)
    position = start.position_mm + share * way + bow
    return Wrist(position, np.asarray(rotation, dtype=float), start.curl + share * (end.curl - start.curl))


class Cabin:
    """The vehicle of a drive in the car frame."""

    def __init__(self, plan: CarPlan) -> None:
        self.plan = plan
        self._mirror = -1.0 if plan.hand_of_drive == "right" else 1.0
        self._offset = np.array(plan.seat_offset_mm) * (self._mirror, 1, 1)  # in the left-hand-drive car
        self._size = _Dimensions.of(plan.seed)
        self._look = _Look.of(plan)
        zones = ZoneMap.for_vehicle("left")
        self._zones: Rectangles = dict(
            zip(zones.zones, zip(zones.centres_mm, zones.half_sizes_mm, strict=True), strict=True)
        )
        wheel_up = rotation_x(-WHEEL_TILT_DEG) @ np.array([0.0, -1.0, 0.0])
        self._wheel_up = wheel_up
        self._wheel_back = np.cross([1.0, 0.0, 0.0], wheel_up)  # towards the driver
        self._wheel_centre = WHEEL_TOP_MM - self._size.wheel_radius * wheel_up

    # --- what stands still ---

    @cached_property
    def static(self) -> tuple[Mesh, ...]:
        """All that does not move."""
        size, look = self._size, self._look
        seat, headrest = _front_seat()
        groups: list[tuple[Surface, list[Shape]]] = [
            (look.lining, [_roof(size), *_roof_edges(size), *_visors(size, look.visor_down)]),
            (look.pillars, [*_pillars(size), *_rear_corners(size)]),
            (look.trim, [_dashboard(size), *_floor(size), _shelf(size)]),
            (look.doors, [_door(size, side) for side in SIDES]),
            (look.seats, [*_moved((seat,), [2 * MIDDLE_MM, 0, 0]), *_rear_bench(size)]),
            (look.headrests, [*_moved(headrest, [2 * MIDDLE_MM, 0, 0]), *_rear_headrests()]),
            (look.plastic, _handles(size)),
            (look.metal, _bright_parts(size)),
        ]
        # What the zones name stands where they have it, and the driver's own seat goes with the driver.
        fixed: list[tuple[Surface, list[Shape]]] = [
            (look.trim, [_binnacle(self._zones), *_console(self._zones)]),
            (look.plastic, _mirror_housings(self._zones, size)),
            (look.screens, _screens(self._zones)),
            (look.glass, _mirror_plates(self._zones)),
            (look.seats, [seat]),
            (look.headrests, list(headrest)),
        ]
        meshes = [self._mesh(shapes, surface, self._offset) for surface, shapes in groups]
        meshes += [self._mesh(shapes, surface) for surface, shapes in fixed]
        return tuple(_seamed(mesh) if mesh.surface is look.seats else mesh for mesh in meshes)

    @cached_property
    def windows(self) -> Floats:
        """(n, 4, 3) corners of the openings: windscreen, the two front and two rear side windows, rear window.

        Counter-clockwise as seen from inside.
        """
        size = self._size
        screen_top, screen_low = size.rail + 5, size.sill
        quads = [
            [
                [size.side_x(-1, size.rail) + 25, screen_top, size.header - 40],
                [size.side_x(-1, size.sill) + 20, screen_low, size.cowl - 80],
                [size.side_x(1, size.sill) - 20, screen_low, size.cowl - 80],
                [size.side_x(1, size.rail) - 25, screen_top, size.header - 40],
            ],
            *(_side_window(size, side, row) for row in (0, 1) for side in SIDES),
            _rear_window(size),
        ]
        corners = np.array(quads, dtype=float) + self._offset
        inwards = np.array([MIDDLE_MM, 0, -200]) + self._offset
        for quad in corners:
            if np.cross(quad[1] - quad[0], quad[2] - quad[0]) @ (inwards - quad[0]) < 0:
                quad[:] = quad[::-1].copy()
        return corners if self._mirror > 0 else (corners * (-1, 1, 1))[:, ::-1]

    @cached_property
    def seats(self) -> tuple[Seat, ...]:
        """Of the plan's passengers, in their order: front, behind the front passenger, behind the driver, middle."""
        rng = np.random.default_rng([self.plan.seed, 2])
        far, back = 2 * MIDDLE_MM, -SEAT_PITCH_MM
        places = np.array([[far, 5, 0], [far - 30, -5, back], [30, -5, back], [MIDDLE_MM, -10, back + 10]])
        places = places + rng.normal(0, [22, 18, 22], (4, 3)) + self._offset
        yaws = rng.normal(0, 8, 4)
        return tuple(
            Seat(place * (self._mirror, 1, 1), float(yaw * self._mirror))
            for place, yaw, _ in zip(places, yaws, self.plan.passengers, strict=False)
        )

    # --- what moves ---

    def moving(self, moment: Moment, clothes_mm: ArrayLike) -> tuple[Mesh, ...]:
        """Steering wheel, seat belt and, where a hand holds it, the phone.

        The belt lies taut over `clothes_mm` (n, 3), the surface of the driver's trunk in the car frame.
        """
        chest = np.asarray(clothes_mm, dtype=float)
        meshes = [self._wheel(moment.wheel_angle_deg), self._belt(chest, moment.eye_mid_mm)]
        for side, hand in enumerate(self.hands(moment)):
            origin, _ = moment.grip_blend[side]
            if {"phone", "ear"} & {origin, moment.grips[side]}:
                meshes.append(self._phone(hand))
        return tuple(meshes)

    def hands(self, moment: Moment) -> tuple[Wrist, Wrist]:
        """Left and right hand at a moment, on their way between two grips where they are."""
        yaw, pitch, roll = moment.head_angles_deg
        head = rotation_y(yaw) @ rotation_x(pitch) @ rotation_z(roll)
        both = []
        for side in (LEFT, RIGHT):
            origin, share = moment.grip_blend[side]
            start, end = (
                self.wrists(grip, side, moment.wheel_angle_deg, moment.eye_mid_mm, head)
                for grip in (origin, moment.grips[side])
            )
            both.append(blend(start, end, share))
        return both[LEFT], both[RIGHT]

    def wrists(
        self,
        grip: Grip,
        hand_side: int,
        wheel_angle_deg: float,
        eye_mid_mm: ArrayLike,
        head_rotation: ArrayLike,
    ) -> Wrist:
        """Where the left (0) or right (1) hand is for a grip; never further from its shoulder than an arm reaches."""
        eyes = np.asarray(eye_mid_mm, dtype=float)
        head = np.asarray(head_rotation, dtype=float)
        side = 1.0 if hand_side == RIGHT else -1.0
        by_grip: dict[Grip, Callable[[], Wrist]] = {
            "wheel": lambda: self._on_wheel(side, wheel_angle_deg),
            "lap": lambda: Wrist.pointing([side * 135, 545, 125], [-side * 0.35, 0.12, 1], [side * 0.15, -1, 0], 0.35),
            "phone": lambda: self._holding_phone(side),
            "console": lambda: self._at_console(side),
            "face": lambda: _at_face(side, eyes, head),
            "ear": lambda: _at_ear(side, eyes, head),
        }
        wrist = by_grip[grip]()
        shoulder = SHOULDERS_MM[hand_side] + 0.7 * eyes
        arm = wrist.position_mm - shoulder
        length = np.linalg.norm(arm)
        return Wrist(shoulder + arm * min(1.0, REACH_MM / length), wrist.rotation, wrist.curl)

    def _on_wheel(self, side: float, wheel_angle_deg: float) -> Wrist:
        turn = HELD_TURN_DEG * np.tanh(wheel_angle_deg / HELD_TURN_DEG)
        angle = np.radians(side * self._size.clock_deg + turn)
        out = np.sin(angle) * np.array([1.0, 0, 0]) + np.cos(angle) * self._wheel_up
        along = np.cos(angle) * np.array([1.0, 0, 0]) - np.sin(angle) * self._wheel_up  # clockwise
        upwards = -side * along
        tilt = np.radians(35)
        back_of_hand = np.cos(tilt) * out + np.sin(tilt) * self._wheel_back
        fingers = np.sin(tilt) * out - np.cos(tilt) * self._wheel_back
        fingers = np.cos(0.45) * fingers + np.sin(0.45) * upwards  # the forearm comes from below
        rim = self._wheel_centre + self._offset * (self._mirror, 1, 1) + self._size.wheel_radius * out
        palm = rim + (RIM_MM + PALM_MM) * back_of_hand
        return Wrist.pointing(palm - 0.8 * KNUCKLE_MM * fingers, fingers, back_of_hand, 0.85)

    def _holding_phone(self, side: float) -> Wrist:
        """Behind the phone, whose screen faces the eyes in the normal posture, wherever they are now."""
        phone = np.array(phone_position_mm(self.plan.hand_of_drive))
        return _around_phone(phone, fingers=[-side * 0.25, -0.5, 1.0], back=phone)

    def _at_console(self, side: float) -> Wrist:
        screen = (self._zones[Zone.CONSOLE][0] + (0, -60, 20)) * (self._mirror, 1, 1)
        fingers = unit(screen - SHOULDERS_MM[RIGHT if side > 0 else LEFT])
        return Wrist.pointing(screen - FINGERTIP_MM * fingers, fingers, [0, -1, 0], 0.2)

    def _wheel(self, angle_deg: float) -> Mesh:
        """The wheel's own frame: x right, y down in its plane, z away from the driver."""
        frame = np.stack([[1.0, 0, 0], -self._wheel_up, -self._wheel_back], axis=1)
        rotation = frame @ rotation_z(angle_deg * self._mirror)
        vertices, triangles = self._wheel_shape
        placed = vertices @ rotation.T + self._wheel_centre
        return self._mesh([(placed, triangles)], self._look.wheel, self._offset, Part.OBJECT)

    @cached_property
    def _wheel_shape(self) -> Shape:
        radius = self._size.wheel_radius
        around = np.linspace(0, 2 * np.pi, 40, endpoint=False)
        rim = np.stack([radius * np.sin(around), -radius * np.cos(around), 0 * around], axis=1)
        shapes = [_tube(rim, RIM_MM, sides=8, closed=True), _blob([0, 0, 28], [78, 66, 30], 0.7)]
        for clock_deg in (95, 180, 265):
            a = np.radians(clock_deg)
            end = np.array([radius * np.sin(a), -radius * np.cos(a), 0])
            path = np.linspace(np.array([0.0, 0, 26]) + 0.3 * end, end, 4)
            shapes.append(_sweep(path, _rounded(20, 7, 8), [0, 0, 1.0]))
        column = np.array([[0, 0, 30.0], [0, 0, 230]])
        shapes.append(_tube(column, 42, sides=10))
        return _joined(shapes)

    def _belt(self, trunk_mm: Floats, eye_mid_mm: ArrayLike) -> Mesh:
        flip = np.array([self._mirror, 1, 1])
        path, across = _belt_path(trunk_mm * flip, np.asarray(eye_mid_mm, dtype=float) * flip, self._belt_ends)
        section = np.array([[1, 1], [-1, 1], [-1, -1], [1, -1]]) * (1.5, BELT_WIDTH_MM / 2)
        shape = _sweep(path, section, across)
        return self._mesh([shape], self._look.belt, part=Part.OBJECT)

    @cached_property
    def _belt_ends(self) -> Floats:
        """Where it leaves the B pillar, and the buckle."""
        size = self._size
        anchor = np.array([size.side_x(-1, 50) + 34, 50, size.b_pillar + 10]) + self._offset
        return np.stack([anchor, [205.0, 640, -70]])

    def _phone(self, hand: Wrist) -> Mesh:
        """In the palm: its face away from the palm, its long side along the fingers."""
        width, length, thickness = PHONE_SIZE_MM
        vertices, triangles = _blob([0, 0, 0], [length / 2, thickness / 2, width / 2], 0.2, 8, 16)
        centre = hand.position_mm + hand.rotation @ PHONE_IN_HAND_MM
        flip = np.array([self._mirror, 1, 1])  # placed here, so that _mesh puts it back
        placed = vertices @ hand.rotation.T + centre
        triangles = triangles if self._mirror > 0 else triangles[:, ::-1]
        return self._mesh([(placed * flip, triangles)], self._look.phone, part=Part.OBJECT)

    def _mesh(
        self, shapes: Iterable[Shape], surface: Surface, offset: ArrayLike = 0.0, part: Part = Part.NOTHING
    ) -> Mesh:
        """Join shapes of the left-hand-drive car into a mesh of this one."""
        vertices, triangles = _joined(shapes)
        vertices = (vertices + np.asarray(offset, dtype=float)) * (self._mirror, 1, 1)
        if self._mirror < 0:
            triangles = triangles[:, ::-1]
        vertices32 = vertices.astype(np.float32)
        return Mesh(
            vertices32, np.ascontiguousarray(triangles, dtype=np.int32), _normals(vertices32, triangles), surface, part
        )


# --- surfaces ---


@dataclass(frozen=True, slots=True)
class _Look:
    """Materials of one car, and whether the driver's sun visor is down."""

    lining: Surface
    pillars: Surface
    trim: Surface
    doors: Surface
    seats: Surface
    headrests: Surface
    plastic: Surface
    screens: Surface
    glass: Surface
    metal: Surface
    wheel: Surface
    belt: Surface
    phone: Surface
    visor_down: bool

    @classmethod
    def of(cls, plan: CarPlan) -> "_Look":
        rng = np.random.default_rng([plan.seed, 3])
        lining = _varied(rng, _LININGS[rng.choice(4, p=[0.36, 0.3, 0.14, 0.2])])
        leather = rng.random() < 0.4
        gloss = 0.42 if leather else 0.9
        pillars = lining if rng.random() < 0.7 else plan.trim_rgb
        doors = plan.trim_rgb if rng.random() < 0.6 else plan.seat_rgb
        belt: Rgb = (0.02, 0.02, 0.022) if rng.random() < 0.7 else (0.12, 0.115, 0.105)
        # Black fabrics and plastics are dyed for visible light; most are grey in the near infrared.
        return cls(
            lining=Surface(lining, max(0.35, _mean(lining)), roughness=0.95, specular=0.02),
            pillars=Surface(pillars, max(0.3, _mean(pillars)), roughness=0.7),
            trim=Surface(plan.trim_rgb, rng.uniform(0.06, 0.3), roughness=0.62),
            doors=Surface(doors, rng.uniform(0.08, 0.35), roughness=0.65),
            seats=Surface(plan.seat_rgb, rng.uniform(0.15, 0.55), roughness=gloss),
            headrests=Surface(plan.seat_rgb, rng.uniform(0.15, 0.5), roughness=gloss),
            plastic=Surface((0.02, 0.02, 0.021), rng.uniform(0.05, 0.15), roughness=0.5),
            screens=Surface((0.006, 0.006, 0.007), 0.01, roughness=0.12),
            glass=Surface((0.03, 0.033, 0.036), 0.03, roughness=0.05, specular=0.6),
            metal=Surface((0.35, 0.35, 0.36), 0.4, roughness=0.3, specular=0.4),
            wheel=Surface((0.022, 0.021, 0.021), rng.uniform(0.06, 0.3), roughness=0.5),
            belt=Surface(belt, rng.uniform(0.1, 0.5), roughness=0.55),
            phone=Surface((0.015, 0.015, 0.017), 0.03, roughness=0.2),
            visor_down=bool(rng.random() < 0.07),
        )


def _varied(rng: np.random.Generator, colour: Rgb) -> Rgb:
    red, green, blue = np.clip(np.array(colour) * rng.uniform(0.75, 1.3) * rng.normal(1, 0.03, 3), 0.008, 0.7)
    return float(red), float(green), float(blue)


def _mean(colour: Rgb) -> float:
    return sum(colour) / 3


def _seamed(mesh: Mesh) -> Mesh:
    """Seats with darker bolsters, a lighter middle and cross seams."""
    x, y = mesh.vertices_mm[:, 0], mesh.vertices_mm[:, 1]
    column = np.abs((np.abs(x) + MIDDLE_MM) % (2 * MIDDLE_MM) - MIDDLE_MM)  # from the middle of the seat
    shade = np.where(column < 140, 1.15, 0.85) * (1 - 0.25 * (np.abs(y % 130 - 65) < 9))
    colours = np.repeat(shade[:, None], 3, axis=1).astype(np.float32)
    return Mesh(mesh.vertices_mm, mesh.triangles, mesh.normals, mesh.surface, mesh.part, colours)


# --- hands ---


def _around_phone(phone_mm: Floats, fingers: ArrayLike, back: ArrayLike) -> Wrist:
    """A hand with a phone in its palm: its back along one direction (3,), its fingers near another (3,)."""
    y, near = unit(back), np.asarray(fingers, dtype=float)
    x = unit(near - y * (y @ near))
    rotation = np.stack([x, y, np.cross(x, y)], axis=1)
    return Wrist(phone_mm - rotation @ PHONE_IN_HAND_MM, rotation, 0.55)


def _at_face(side: float, eyes: Floats, head: Floats) -> Wrist:
    wrist = head @ np.array([side * 88, 205, 42]) + eyes
    return Wrist.pointing(wrist, head @ [-side * 0.25, -1, 0.0], head @ [side * 0.8, 0, 0.6], 0.5)


def _at_ear(side: float, eyes: Floats, head: Floats) -> Wrist:
    """The phone lies between ear and mouth, the palm around it."""
    phone = head @ np.array([side * 90, 50, -60]) + eyes
    fingers, out = head @ [-side * 0.12, -0.9, -0.45], head @ [side, 0, 0.25]
    return _around_phone(phone, fingers, out)


# --- the belt ---


def _belt_path(trunk_mm: Floats, eyes: Floats, ends: Floats) -> tuple[Floats, Floats]:
    """Middle line (k, 3) of the shoulder belt from the pillar over the shoulder to the buckle, and its broad side (3,).

    Over the chest a taut belt is a string around the section that its own plane cuts out of the trunk: the convex hull
    of section, shoulder and buckle.
    """
    anchor, buckle = ends
    about = trunk_mm - eyes
    near = about[(np.abs(about[:, 0]) < 150) & (about[:, 1] > 120) & (np.abs(about[:, 2]) < 140)]  # no forearms
    top = near[np.abs(near[:, 0] + 110) < 18]
    breast = near[(np.abs(near[:, 0]) < 60) & (np.abs(near[:, 1] - 330) < 40)]
    on_shoulder = top[top[:, 1].argmin()] if len(top) else np.array([-110.0, 170, -85])
    shoulder = eyes + on_shoulder - np.array([0.0, 5, 0])
    breast_mm = eyes + np.array([-5.0, 330, np.quantile(breast[:, 2], 0.9) if len(breast) else 60.0])
    broad = unit(np.cross(buckle - shoulder, breast_mm - shoulder))
    along = unit(buckle - shoulder)
    out = np.cross(broad, along)
    out = out if out @ (breast_mm - shoulder) > 0 else -out
    from_shoulder = near + eyes - shoulder
    section = from_shoulder[np.abs(from_shoulder @ broad) < 30]
    string = _upper_hull(section @ np.stack([along, out], axis=1), float(np.linalg.norm(buckle - shoulder)))
    s = np.linspace(0, string[-1, 0], 26)
    height = np.interp(s, string[:, 0], string[:, 1]) + 6
    chest = shoulder + s[:, None] * along + height[:, None] * out
    path = np.concatenate([np.linspace(anchor, chest[0], 6)[:-1], chest])
    path[1:-1] = (path[:-2] + 2 * path[1:-1] + path[2:]) / 4
    return path, np.asarray(broad)


def _upper_hull(points: Floats, end: float) -> Floats:
    """Corners (k, 2) of a string from (0, 0) to (end, 0) that is drawn taut over points (n, 2)."""
    ends = np.array([[0.0, 0.0], [end, 0.0]])
    inside = points[(points[:, 0] > 0) & (points[:, 0] < end)]
    hull = cv2.convexHull(np.concatenate([ends, inside]).astype(np.float32))[:, 0].astype(float)
    above = hull[hull[:, 1] > 0]
    return np.concatenate([ends[:1], above[np.argsort(above[:, 0])], ends[1:]])


# --- parts of the car, left-hand drive ---


def _facing(centre: Floats, share: float) -> Floats:
    """Axes (rows: right, down, away) of a panel that is turned from straight back by a share of the way to the eyes."""
    away = unit(centre * (share, 1, 1))
    right = unit(np.cross([0.0, 1.0, 0.0], away))
    return np.stack([right, np.cross(away, right), away])


def _roof(size: _Dimensions) -> Shape:
    z = np.linspace(size.header + 30, size.rear - 45, 12)
    across = np.linspace(-1, 1, 11)
    points = np.zeros((12, 11, 3))
    points[..., 0] = MIDDLE_MM + across * (size.half_roof + 25)
    points[..., 1] = size.rail - 18 - size.crown * (1 - across**2) * np.sin(np.linspace(0.9, 2.5, 12))[:, None]
    points[..., 2] = z[:, None] - 45 * across**2 * np.clip((z[:, None] - 200) / 250, 0, 1)
    return _sheet(points, towards=[MIDDLE_MM, 600, -400])


def _roof_edges(size: _Dimensions) -> list[Shape]:
    """Headers over windscreen and rear window, the dome lamp's frame."""
    across = np.linspace(-1, 1, 9)
    x, bow = MIDDLE_MM + across * size.half_roof, 1 - across**2
    front = np.stack([x, size.rail - 4 - 0.78 * size.crown * bow, size.header - 45 * across**2], axis=1)
    back = np.stack([x, size.rail - 6 - 0.6 * size.crown * bow, np.full(9, size.rear)], axis=1)
    lamp = _blob([MIDDLE_MM, size.rail - 18 - 0.95 * size.crown, 330], [80, 14, 55], 0.4, 8, 16)
    return [_sweep(front, _rounded(45, 20, 10), [0, 0.35, 1]), _sweep(back, _rounded(45, 22, 10), [0, 0, 1]), lamp]


def _visors(size: _Dimensions, down: bool) -> list[Shape]:
    shapes = []
    for x, folded in ((10.0, down), (2 * MIDDLE_MM, False)):
        vertices, triangles = _blob([0, 0, 0], [165, 9, 78], 0.45, 10, 24)
        turn = rotation_x(-78 if folded else -6)
        y, z = (size.rail + 70, size.header - 70) if folded else (size.rail + 2 - 0.4 * size.crown, size.header - 95)
        shapes.append((vertices @ turn.T + [x, y, z], triangles))
    return shapes


def _pillars(size: _Dimensions) -> list[Shape]:
    """A pillar, roof rail and C pillar of each side as one arch, and the B pillar."""
    shapes = []
    for side in SIDES:
        heights = np.array([size.sill + 60, size.sill - 20, size.sill - 170, size.rail + 95, size.rail + 30, size.rail])
        depths = np.linspace(size.cowl - 55, size.header - 55, 6) + np.array([0, 15, -5, -10, 0, -40])
        back = np.array([300, 150, -50, -300, -600, size.rear + 320, size.rear + 190])
        fall = np.array([0, 0, 0, 0, 4, 22, 50])
        y = np.concatenate([heights, size.rail - 8 + fall])
        inwards = np.repeat([-10.0, 8.0], [5, 8])  # a camera in the windscreen's corner stays clear of the A pillar
        path = np.stack([size.side_x(side, y) - side * inwards, y, np.concatenate([depths, back])], axis=1)
        broad = np.concatenate([np.full(6, 1.0), np.full(5, 0.85), [1.2, 1.6]])
        shapes.append(_sweep(path, _rounded(28, 19, 10), [side, 0.0, 0.0], broad))
        y = np.linspace(size.sill + 60, size.rail - 10, 7)
        lean = np.linspace(18, -35, 7)
        path = np.stack([size.side_x(side, y) - side * 4, y, size.b_pillar + lean], axis=1)
        shapes.append(_sweep(path, _rounded(62, 22, 12), [side, 0.0, 0.0], np.linspace(1.2, 0.85, 7)))
        # Where the side window ends ahead, the door mirror's foot.
        z = np.array([size.cowl - 100, size.cowl - 200, size.cowl - 300])
        y = size.sill + np.array([20, 22, 24])
        path = np.stack([size.side_x(side, y) - side * 4, y, z], axis=1)
        shapes.append(_sweep(path, _rounded(26, 12, 8), [side, 0.0, 0.0], [1.3, 0.8, 0.3]))
    return shapes


def _rear_corners(size: _Dimensions) -> list[Shape]:
    """Panels between the rear side windows and the rear window."""
    shapes = []
    rear_window = np.array(_rear_window(size))
    for side in SIDES:
        y = np.linspace(size.rail - 10, size.sill + 40, 7)
        outer = np.stack([size.side_x(side, y), y, np.linspace(size.rear + 230, size.rear + 60, 7)], axis=1)
        top, low = (rear_window[0], rear_window[1]) if side < 0 else (rear_window[3], rear_window[2])
        inner = np.linspace(top + np.array([0, -25, 0]), low + np.array([0, 60, 0]), 7)
        share = np.linspace(0, 1, 6)[:, None, None]
        points = outer * (1 - share) + inner * share
        points[..., 2] -= 70 * np.sin(np.pi * share[..., 0])  # bulges outward
        shapes.append(_sheet(points, towards=[MIDDLE_MM, 100, -700]))
    return shapes


def _shelf(size: _Dimensions) -> Shape:
    """Between the back seats and the rear window."""
    _, left, right, _ = np.array(_rear_window(size))
    back = np.linspace(left + np.array([-80, 8, 0]), right + np.array([80, 8, 0]), 6)
    front = back * (1, 0, 0) + (0, SHELF_MM + 12, -SEAT_PITCH_MM - 250)
    return _sheet(np.stack([back, front]), towards=[MIDDLE_MM, -300, -900])


def _rear_window(size: _Dimensions) -> list[list[float]]:
    wide, y, z = size.half_roof - 75, size.rail + 22, size.rear
    wider, low, back = size.half_width - 120, SHELF_MM, size.rear - 260
    near, far = MIDDLE_MM - wide, MIDDLE_MM + wide
    return [[near, y, z], [MIDDLE_MM - wider, low, back], [MIDDLE_MM + wider, low, back], [far, y, z]]


def _side_window(size: _Dimensions, side: int, row: int) -> list[list[float]]:
    y = np.array([size.rail + 20, size.sill])
    front = [(size.header - 70, size.cowl - 190), (size.b_pillar - 95, size.b_pillar - 60)][row]
    back = [(size.b_pillar + 30, size.b_pillar + 80), (size.rear + 330, size.rear + 210)][row]
    x = size.side_x(side, y)
    return [[x[0], y[0], front[0]], [x[1], y[1], front[1]], [x[1], y[1], back[1]], [x[0], y[0], back[0]]]


def _dashboard(size: _Dimensions) -> Shape:
    z = np.array([size.cowl + 15, 940, 850, 760, 700, 668, 655, 662, 640, 610, 690, 900])
    y = np.array([232, 205, 190, 184, 188, 205, 245, 330, 400, 520, 610, 700]) + size.sill - 205
    across = np.linspace(-1, 1, 17)
    points = np.zeros((12, 17, 3))
    points[..., 0] = MIDDLE_MM + across * (size.half_width + 8)
    ahead = np.clip((z[:, None] - 650) / 400, 0, 1)
    # Hollow, for the instruments and the screen of the console.
    hollow = np.exp(-(((points[..., 0] - 150) / 390) ** 6)) * (z[:, None] < 750)
    points[..., 1] = y[:, None] + 26 * across**2
    points[..., 2] = z[:, None] - 130 * np.abs(across) ** 2.5 * ahead + 95 * hollow
    return _sheet(points, towards=[MIDDLE_MM, -200, 300])


def _binnacle(zones: Rectangles) -> Shape:
    centre, half = zones[Zone.CLUSTER]
    axes = _facing(centre, 1.0)
    vertices, triangles = _blob([0, 0, 0], [half[0] + 22, half[1] + 14, 70], 0.5, 12, 24)
    return vertices @ axes + centre + 74 * axes[2], triangles


def _console(zones: Rectangles) -> list[Shape]:
    """The stack behind the screen, the tunnel between the seats with its armrest and the gear lever."""
    centre, half = zones[Zone.CONSOLE]
    axes = _facing(centre, 0.5)
    vertices, triangles = _blob([0, 0, 0], [half[0] + 8, half[1] + 22, 60], 0.3, 10, 20)
    stack = vertices @ axes + centre + 64 * axes[2]
    tunnel = np.array([[MIDDLE_MM, 640, 640], [MIDDLE_MM, 640, 480], [MIDDLE_MM, 660, 250], [MIDDLE_MM, 640, -250]])
    lever = np.array([[MIDDLE_MM, 640, 330], [MIDDLE_MM, 540, 350], [MIDDLE_MM - 4, 505, 355]])
    return [
        (stack, triangles),
        _sweep(tunnel, _rounded(105, 110, 10), [1.0, 0, 0]),
        _blob([MIDDLE_MM, 520, -60], [85, 30, 170], 0.4, 8, 16),
        _tube(lever, 14, sides=8),
        _blob([MIDDLE_MM - 4, 490, 356], [26, 30, 26], 0.8, 8, 12),
    ]


def _floor(size: _Dimensions) -> list[Shape]:
    x = MIDDLE_MM + np.array([-1, 1]) * (size.half_width - 30)
    z = np.linspace(1000, size.rear - 250, 4)
    floor = np.stack(np.broadcast_arrays(x[None], np.array(880.0), z[:, None]), axis=-1)
    wall_y = np.array([[650.0], [890.0]])
    front = np.stack(np.broadcast_arrays(x[None], wall_y, np.array(880.0)), axis=-1)
    back_y = np.array([[SHELF_MM + 12], [890.0]])
    back = np.stack(np.broadcast_arrays(x[None], back_y, np.array(-SEAT_PITCH_MM - 250.0)), axis=-1)
    inside = [MIDDLE_MM, 400, 0]
    return [_sheet(points, towards=inside) for points in (floor, front, back)]


def _door(size: _Dimensions, side: int) -> Shape:
    """Panels of both doors of a side below the windows: ledge, upper panel, armrest, map pocket."""
    z = np.array([960, 700, 520, 380, 250, 60, -120, -220, -300, -420, -600, -800, -1000, -1250, size.rear - 120])
    depth = np.array([-4, 14, 42, 52, 46, 44, 60, 112, 118, 60, 46, 58, 40])  # inwards
    below = np.array([0, -6, 2, 30, 90, 150, 190, 212, 236, 262, 340, 480, 690])
    armrest = np.where((np.abs(z - 120) < 340) | (np.abs(z + 700) < 300), 1.0, 0.35)
    inwards = np.where(depth > 60, 60 + (depth - 60) * armrest[:, None], depth)
    points = np.zeros((len(z), len(depth), 3))
    points[..., 0] = MIDDLE_MM + side * (size.half_width - inwards)
    points[..., 1] = size.sill + below
    points[..., 2] = z[:, None]
    return _sheet(points, towards=[MIDDLE_MM, 0, -200])


def _front_seat() -> tuple[Shape, tuple[Shape, ...]]:
    """Seat of the driver, and its headrest with posts."""
    t = np.sin(np.linspace(0, np.pi / 2, 16))[:, None]  # closer together towards the shoulders
    around = np.linspace(0, 2 * np.pi, 28, endpoint=False)
    y = 690 - 545 * t
    middle_z = -150 - 125 * t + 20 * np.sin(np.pi * t)
    shoulders = np.sqrt(np.clip(1 - (np.clip(t - 0.72, 0, None) / 0.28) ** 2.4, 0, None))
    width = np.interp(t, [0, 0.3, 0.6, 0.8, 1.0], [235, 245, 252, 246, 238]) * np.maximum(shoulders, 0.03)
    depth = np.interp(t, [0, 0.5, 0.9, 1.0], [75, 68, 50, 40]) * np.maximum(shoulders, 0.1)
    c, s = np.cos(around)[None], np.sin(around)[None]
    bolster = 42 * np.abs(c) ** 3 * np.sin(np.pi * np.clip(t * 1.15, 0, 1)) * (s > 0)
    z = middle_z + depth * _power(s, 0.7) + bolster
    points = np.stack(np.broadcast_arrays(width * _power(c, 0.6), y, z), axis=-1)
    ends = points[[0, -1]].mean(axis=1, keepdims=True).repeat(28, 1)
    back = _outward(_grid(np.concatenate([ends[:1], points, ends[1:]]), around=True))
    cushion = _blob([0, 705, 80], [250, 68, 270], 0.45, 10, 24)
    headrest = _blob([0, 30, -265], [128, 88, 46], 0.6, 14, 28)
    posts = [_tube(np.array([[x, 95, -262.0], [x, 175, -272]]), 6, sides=6) for x in (-55, 55)]
    return _joined([back, cushion]), (headrest, *posts)


def _rear_bench(size: _Dimensions) -> list[Shape]:
    back = -SEAT_PITCH_MM
    shapes = []
    for x, half in ((10.0, 330.0), (2 * MIDDLE_MM - 10, 330.0), (MIDDLE_MM, 120.0)):
        vertices, triangles = _blob([0, 0, 0], [half, 300, 75], 0.35, 12, 24)
        shapes.append((vertices @ rotation_x(-18).T + [x, 420, back - 215 - 12 * (half < 200)], triangles))
    shapes.append(_blob([MIDDLE_MM, 700, back + 80], [size.half_width - 60, 70, 270], 0.3, 8, 20))
    return shapes


def _rear_headrests() -> list[Shape]:
    z = -SEAT_PITCH_MM - 300
    return [_blob([x, 88, z], [115, 62, 42], 0.55, 10, 20) for x in (20.0, 2 * MIDDLE_MM - 20)] + [
        _blob([MIDDLE_MM, 108, z - 8], [95, 42, 38], 0.55, 8, 16)
    ]


def _mirror_housings(zones: Rectangles, size: _Dimensions) -> list[Shape]:
    shapes = []
    for zone, depth in ((Zone.MIRROR_REAR, 20.0), (Zone.MIRROR_LEFT, 62.0), (Zone.MIRROR_RIGHT, 62.0)):
        centre, half = zones[zone]
        axes = _facing(centre, 0.6)
        vertices, triangles = _blob([0, 0, 0], [half[0] + 8, half[1] + 6, depth], 0.55, 10, 24)
        shapes.append((vertices @ axes + centre + (depth + 1) * axes[2], triangles))
    centre, _ = zones[Zone.MIRROR_REAR]
    foot = np.array([MIDDLE_MM, size.rail - 15, size.header + 25])
    bend = np.array([[0, 0, 30], [0, -35, 60]])
    stem = np.concatenate([centre + bend, foot[None]])
    return [*shapes, _tube(stem, 13, sides=8)]


def _handles(size: _Dimensions) -> list[Shape]:
    """Grab handles over the doors, except the driver's, and the belts' guides on the B pillars."""
    shapes = []
    for side, z in ((1, 60.0), (1, -640.0), (-1, -640.0)):
        t = np.linspace(0, np.pi, 7)
        x = size.side_x(side, size.rail + 10) - side * (22 + 28 * np.sin(t))
        path = np.stack([x, size.rail + 6 + 20 * np.sin(t), z + 110 * np.cos(t)], axis=1)
        shapes.append(_tube(path, 10, sides=6))
    for side in SIDES:
        x = float(size.side_x(side, 50)) - side * 26
        shapes.append(_blob([x, 50, size.b_pillar + 8], [12, 34, 26], 0.7, 8, 12))
    return shapes


def _screens(zones: Rectangles) -> list[Shape]:
    """Glass of instruments and touch screen."""
    shapes = []
    for zone, share, scale in ((Zone.CLUSTER, 1.0, (0.95, 0.8)), (Zone.CONSOLE, 0.5, (0.92, 0.6))):
        centre, half = zones[zone]
        shapes.append(_panel(centre, half * scale, _facing(centre, share)))
    return shapes


def _mirror_plates(zones: Rectangles) -> list[Shape]:
    mirrors = (Zone.MIRROR_REAR, Zone.MIRROR_LEFT, Zone.MIRROR_RIGHT)
    return [_panel(zones[zone][0], zones[zone][1], _facing(zones[zone][0], 0.6)) for zone in mirrors]


def _bright_parts(size: _Dimensions) -> list[Shape]:
    """Door openers and the belt's buckle."""
    doors = [float(size.side_x(side, size.sill + 90)) - side * 55 for side in SIDES]
    openers = [_blob([x, size.sill + 95, 330], [8, 14, 48], 0.6, 8, 12) for x in doors]
    return [*openers, _blob([215, 655, -70], [14, 28, 20], 0.5, 8, 12)]


# --- shapes ---


def _grid(points: Floats, around: bool = False) -> Shape:
    """Triangles of a grid of points (a, b, 3); with `around` its last column joins its first."""
    rows, columns = points.shape[:2]
    corner = np.arange(rows * columns, dtype=np.int32).reshape(rows, columns)
    if around:
        corner = np.concatenate([corner, corner[:, :1]], axis=1)
    a, b, c, d = corner[:-1, :-1], corner[1:, :-1], corner[1:, 1:], corner[:-1, 1:]
    triangles = np.concatenate(
        [np.stack([a, b, c], axis=-1).reshape(-1, 3), np.stack([a, c, d], axis=-1).reshape(-1, 3)]
    )
    vertices = points.reshape(-1, 3)
    p = vertices[triangles]
    area = np.linalg.norm(np.cross(p[:, 1] - p[:, 0], p[:, 2] - p[:, 0]), axis=1)
    return vertices, triangles[area > 1e-6]


def _outward(shape: Shape) -> Shape:
    """A closed shape with its triangles counter-clockwise from outside."""
    vertices, triangles = shape
    return (vertices, triangles) if volume_mm3(vertices, triangles) > 0 else (vertices, triangles[:, ::-1])


def volume_mm3(vertices: ArrayLike, triangles: NDArray[np.int32]) -> float:
    """Signed volume that closed triangles hold: positive where they are counter-clockwise from outside."""
    p = np.asarray(vertices, dtype=float)[triangles]
    return float(np.einsum("ij,ij->i", p[:, 0], np.cross(p[:, 1], p[:, 2])).sum() / 6)


def _sheet(points: Floats, towards: ArrayLike) -> Shape:
    """An open surface through points (a, b, 3) whose front is on the side of a point."""
    vertices, triangles = _grid(points)
    p = vertices[triangles]
    facing = np.cross(p[:, 1] - p[:, 0], p[:, 2] - p[:, 0])
    seen = (facing * (np.asarray(towards, dtype=float) - p.mean(axis=1))).sum()
    return (vertices, triangles) if seen > 0 else (vertices, triangles[:, ::-1])


def _panel(centre: Floats, half: Floats, axes: Floats) -> Shape:
    corners = np.array([[[-1.0, -1], [1, -1]], [[-1, 1], [1, 1]]]) * half
    return _sheet(corners @ axes[:2] + centre, towards=centre - axes[2])


def _power(value: Floats, exponent: float) -> Floats:
    result: Floats = np.sign(value) * np.abs(value) ** exponent
    return result


def _blob(centre: ArrayLike, radii: ArrayLike, exponent: float, rows: int = 10, columns: int = 20) -> Shape:
    """A superellipsoid: exponent 1 is an ellipsoid, towards 0 a box."""
    u = np.linspace(-np.pi / 2, np.pi / 2, rows)[:, None]
    v = np.linspace(-np.pi, np.pi, columns, endpoint=False)[None]
    x, y, z = np.broadcast_arrays(
        _power(np.cos(u), exponent) * _power(np.cos(v), exponent),
        _power(np.sin(u), exponent),
        _power(np.cos(u), exponent) * _power(np.sin(v), exponent),
    )
    points = np.stack([x, y, z], axis=-1)
    points[[0, -1]] = points[[0, -1]].mean(axis=1, keepdims=True)
    return _outward(_grid(points * np.asarray(radii, dtype=float) + np.asarray(centre, dtype=float), around=True))


def _rounded(half_width: float, half_height: float, count: int) -> Floats:
    """A rounded rectangle (count, 2)."""
    a = np.linspace(0, 2 * np.pi, count, endpoint=False) + np.pi / count
    return np.stack([half_width * _power(np.cos(a), 0.5), half_height * _power(np.sin(a), 0.5)], axis=1)


def _tube(path: Floats, radius: float, sides: int, closed: bool = False) -> Shape:
    a = np.linspace(0, 2 * np.pi, sides, endpoint=False)
    section = radius * np.stack([np.cos(a), np.sin(a)], axis=1)
    along = path[1] - path[0] if not closed else path[len(path) // 4] - path[0]
    # Any direction will do that is nowhere along the path; a closed path lies in the plane z = 0.
    beside = [0.0, 0, 1] if closed else np.eye(3)[np.argmin(np.abs(along))]
    return _sweep(path, section, beside, closed=closed)


def _sweep(path: Floats, section: Floats, across: ArrayLike, scale: ArrayLike = 1.0, closed: bool = False) -> Shape:
    """Move a section (k, 2) along a path (n, 3); its second axis points to `across`, as far as the path allows."""
    tangent = unit(np.roll(path, -1, 0) - np.roll(path, 1, 0) if closed else np.gradient(path, axis=0))
    second = np.asarray(across, dtype=float) - tangent * (tangent @ np.asarray(across, dtype=float))[:, None]
    second = unit(second)
    first = np.cross(tangent, second)
    factor = np.broadcast_to(np.asarray(scale, dtype=float), len(path))[:, None, None]
    spread = section[None, :, :1] * first[:, None] + section[None, :, 1:] * second[:, None]
    points = path[:, None] + factor * spread
    if closed:
        points = np.concatenate([points, points[:1]])
    else:
        caps = path[[0, -1], None].repeat(len(section), 1)
        points = np.concatenate([caps[:1], points, caps[1:]])
    return _outward(_grid(points, around=True))


def _moved(shapes: Iterable[Shape], by_mm: ArrayLike) -> list[Shape]:
    return [(vertices + np.asarray(by_mm, dtype=float), triangles) for vertices, triangles in shapes]


def _joined(shapes: Iterable[Shape]) -> Shape:
    parts = list(shapes)
    starts = np.cumsum([0, *(len(vertices) for vertices, _ in parts[:-1])])
    triangles = [t + start for (_, t), start in zip(parts, starts, strict=True)]
    return np.concatenate([vertices for vertices, _ in parts]), np.concatenate(triangles).astype(np.int32)


def _normals(vertices: NDArray[np.float32], triangles: NDArray[np.int32]) -> NDArray[np.float32]:
    """Unit normals of vertices: the mean of the faces around, larger ones counting more."""
    p = vertices[triangles].astype(float)
    face = np.cross(p[:, 1] - p[:, 0], p[:, 2] - p[:, 0])
    total = np.zeros((len(vertices), 3))
    for axis in range(3):
        for corner in range(3):
            total[:, axis] += np.bincount(triangles[:, corner], face[:, axis], len(vertices))
    length = np.linalg.norm(total, axis=1, keepdims=True)
    lone = length[:, 0] < 1e-9  # a point of no triangle
    total[lone], length[lone] = (0, -1, 0), 1
    normals: NDArray[np.float32] = (total / length).astype(np.float32)
    return normals
