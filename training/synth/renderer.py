"""Draws people in a cabin with OpenGL on the processor: linear light and a label image of every frame.

One frame is drawn in two passes: the part about the driver's head sharper than the picture, with an off-centre
projection of its own, and the rest coarsely; the first is pasted into the second with a soft seam. Anti-aliasing comes
from averaging the sharp pass, because multisampling is ruinous on llvmpipe.

Light has four parts: the sun (shadow maps about the head and of the whole cabin), what the driver's head sees of the
world through the windows and of the cabin (spherical harmonics for diffuse light, the picture itself for
reflections, and one more shadow map along its mean direction), small lamps, and the bounce between surfaces. The
shaders are in `shaders/`, one file a program.

Everything is in the car frame and millimetres; parts of a person that do not bend (hair, glasses) come in the head
frame. A scene without meshes is outdoors.
"""

import itertools
import re
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import cv2
import moderngl
import numpy as np
from numpy.typing import ArrayLike, NDArray

from dashgaze.geometry import Floats, angles_from_rays, rays_from_angles
from dashgaze.training.synth import assets, eyes, graphics
from dashgaze.training.synth.records import LEFT, Eye, Light, Mesh, Part, Picture, SkinMaps, Strands

SHADERS = Path(__file__).parent / "shaders"

COARSE_SCALE = 0.64
"""Pixels of the pass of the whole frame, against the picture's."""
SHARP_SCALE = 1.2
SHARP_PIXELS = 360_000
"""A head that fills the picture is drawn with so many pixels at most."""
SEAM_PX = 10
"""Width of the soft edge between the two passes."""
MARGIN_PX = 14
"""Around the head, with the seam."""
CHIN_MM = 135.0
"""Below the eyes: what is above it counts as head."""
OUTLINE_POINTS = 800
SPARSE = 20
"""One in so many vertices says well enough where a person is."""
NEAR_MM, FAR_MM = 60.0, 60_000.0

NEAR_SUN = (768, 230.0)
"""Shadow map of the sun about the head: pixels, and half its width in mm. The others likewise."""
FAR_SUN = (768, 1900.0)
KEY = (512, 260.0)
FAR_HEAD_MM = 600.0
"""People whose heads are further from the driver's cast no shadow on it."""
SUN_STEP_DEG = 0.5
"""The cabin's shadows are cast anew when the sun has moved so far."""
DARK = 1e-4
"""Suns below it cast no shadow and no light."""

MAX_LAMPS = 8
LID_SAMPLES = 32
STEEPEST_MM = 0.12
"""Relief of the skin rises by no more from one texel to the next."""
SHADOW_TAPS = 4
SHARPEST_ROUGH = 0.3
"""Roughness below which reflections are looked up for every pixel instead of every vertex."""
SURROUNDINGS_PX = (256, 128)
OCTAHEDRON_PX = 192
CUBE_PX = 64
SAG_PX = 0.6
"""Hair that would be further off its curve with half of its points is drawn with all of them."""
KEPT_FRAMES = 2
"""Meshes that so many frames did not show are forgotten."""

FRAME = np.dtype(
    [
        ("clip_from_car", "<f4", (4, 4)),
        ("near_sun_from_car", "<f4", (4, 4)),
        ("far_sun_from_car", "<f4", (4, 4)),
        ("key_from_car", "<f4", (4, 4)),
        ("camera", "<f4", 4),
        ("sun", "<f4", 4),
        ("sun_rgb", "<f4", 4),
        ("key", "<f4", 4),
        ("irradiance_sh", "<f4", (9, 4)),
        ("lamp_mm", "<f4", (MAX_LAMPS, 4)),
        ("lamp_rgb", "<f4", (MAX_LAMPS, 4)),
        ("environment", "<f4", 4),
        ("taps", "<f4", 4),
    ]
)
"""The uniform block of `frame.glsl`; matrices are stored column by column."""

Array = NDArray[Any]
Region = tuple[int, int, int, int]
"""x, y, width, height in pixels of the picture."""


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """A pinhole camera in the car, as `geometry.Camera` without distortion."""

    matrix: Floats
    """(3, 3) K, for the renderer's size."""
    rotation: Floats
    """(3, 3) R_car_camera."""
    position_mm: Floats
    """(3,)"""


@dataclass(frozen=True, slots=True, eq=False)
class Likeness:
    """What stays the same of one person during a drive."""

    triangles: NDArray[np.int32]
    """(m, 3), counter-clockwise seen from outside."""
    texture_at: NDArray[np.float32]
    """(n, 2) texture coordinates: `skin.uv_of`."""
    masks: Mapping[str, NDArray[np.float32]]
    """(n,) from 0 to 1: `ao`, `inside_mouth`, `ears`, `conjunctiva`, `hands`; 0 where missing, `ao` 1."""
    maps: SkinMaps
    hair: tuple[Strands, ...] = ()
    """In the head frame."""
    worn: tuple[Mesh, ...] = ()
    """In the head frame: glasses, hats, masks."""
    passenger: bool = False
    """Labelled `Part.PASSENGER` as a whole."""


@dataclass(frozen=True, slots=True, eq=False)
class Figure:
    """A person as posed in one frame, car frame."""

    key: Hashable
    """Names a likeness that was loaded."""
    vertices_mm: NDArray[np.float32]
    normals: NDArray[np.float32]
    eyes: tuple[Eye, Eye]
    head_rotation: Floats
    head_origin_mm: Floats
    lid_margins_mm: Floats | None = None
    """(2 eyes, 2 upper and lower, k, 3); without them lids cast no soft shade on the eyes."""
    strands: tuple[Strands, ...] = ()
    """Lashes and brows: they do not change labels."""
    meshes: tuple[Mesh, ...] = ()
    """Clothes and teeth."""


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """One frame."""

    view: View
    light: Light
    people: tuple[Figure, ...] = ()
    """The driver first: the head that is drawn sharp and that shadows are centred on."""
    meshes: tuple[Mesh, ...] = ()
    """Cabin, wheel, phone, belt. Keep the objects of those that do not move: their upload is kept by identity."""
    focus: Region | None = None
    """Part of the picture to draw sharp; None finds the driver's head."""


def box_of(points_mm: ArrayLike, view: View, size_px: tuple[int, int]) -> Region | None:
    """The part of a picture that points (n, 3) lie in, with a margin; None if it is too small to be worth a pass."""
    in_camera = (np.asarray(points_mm, dtype=float) - view.position_mm) @ view.rotation
    in_camera = in_camera[np.isfinite(in_camera).all(axis=1)]
    if not len(in_camera) or in_camera[:, 2].min() < NEAR_MM:
        return None
    pixels = in_camera @ view.matrix.T
    pixels = pixels[:, :2] / pixels[:, 2:]
    low = np.clip(np.floor(pixels.min(axis=0)) - MARGIN_PX, 0, size_px).astype(int)
    high = np.clip(np.ceil(pixels.max(axis=0)) + MARGIN_PX, 0, size_px).astype(int)
    width, height = (high - low).tolist()
    return (int(low[0]), int(low[1]), width, height) if min(width, height) > 2 * MARGIN_PX else None


def clip_from_car(view: View, region: Region) -> Floats:
    """(4, 4) OpenGL projection of a part of the picture; row 0 of what is drawn is its top."""
    x, y, width, height = region
    near, far = NEAR_MM, FAR_MM
    k = view.matrix
    clip_from_camera = np.array(
        [
            [2 * k[0, 0] / width, 2 * k[0, 1] / width, 2 * (k[0, 2] + 0.5 - x) / width - 1, 0],
            [0, 2 * k[1, 1] / height, 2 * (k[1, 2] + 0.5 - y) / height - 1, 0],
            [0, 0, (far + near) / (far - near), -2 * far * near / (far - near)],
            [0, 0, 1, 0],
        ]
    )
    camera_from_car = np.eye(4)
    camera_from_car[:3, :3] = view.rotation.T
    camera_from_car[:3, 3] = -view.rotation.T @ view.position_mm
    return clip_from_camera @ camera_from_car


def clip_from_light(direction: ArrayLike, centre_mm: ArrayLike, half_width_mm: float) -> Floats:
    """(4, 4) orthographic projection along a light: a cube about the centre, nearest to the light in front."""
    z = np.asarray(direction, dtype=float)
    helper = np.array([0.0, 0.0, 1.0]) if abs(z[2]) < 0.8 else np.array([0.0, 1.0, 0.0])
    x = np.cross(z, helper)  # mirrored, as pictures are, so that triangles turn the same way round
    x /= np.linalg.norm(x)
    axes = np.stack([x, np.cross(x, z), -z]) / half_width_mm
    projection = np.eye(4)
    projection[:3, :3] = axes
    projection[:3, 3] = -axes @ np.asarray(centre_mm, dtype=float)
    return projection


def nearby_direction(direction: Floats) -> Floats:
    """The direction with whole steps of azimuth and elevation next to this one."""
    azimuth, elevation = angles_from_rays(direction)
    return rays_from_angles(*(float(np.round(angle / SUN_STEP_DEG) * SUN_STEP_DEG) for angle in (azimuth, elevation)))


def equirectangular_directions(size_px: tuple[int, int]) -> Floats:
    """(h, w, 3) unit vectors of an equirectangular picture: ahead in the middle, up in row 0."""
    width, height = size_px
    azimuth = ((np.arange(width) + 0.5) / width - 0.5) * 2 * np.pi
    polar = (np.arange(height) + 0.5) / height * np.pi
    sine = np.sin(polar)[:, None]
    y = np.broadcast_to(-np.cos(polar)[:, None], (height, width))
    return np.stack([sine * np.sin(azimuth), y, sine * np.cos(azimuth)], axis=-1)


def spherical_harmonics(directions: Floats) -> Floats:
    """(..., 9) the first three bands at unit directions (..., 3)."""
    x, y, z = np.moveaxis(directions, -1, 0)
    return np.stack(
        [
            np.full_like(x, 0.282095),
            0.488603 * y,
            0.488603 * z,
            0.488603 * x,
            1.092548 * x * y,
            1.092548 * y * z,
            0.315392 * (3 * z * z - 1),
            1.092548 * x * z,
            0.546274 * (x * x - y * y),
        ],
        axis=-1,
    )


COSINE_BANDS = np.repeat([1.0, 2.0 / 3.0, 0.25], [1, 3, 5])
"""Convolution with the cosine over pi, band by band (Ramamoorthi and Hanrahan 2001)."""


class Target:
    """What is drawn into: colour, label and depth."""

    def __init__(self, context: moderngl.Context, size_px: tuple[int, int]) -> None:
        self._context, self.size_px = context, size_px
        self._colour = context.texture(size_px, 4, dtype="f4")  # blends faster than halves do
        self._parts = context.texture(size_px, 1, dtype="u1")
        self._depth = context.depth_renderbuffer(size_px)
        self.buffer = context.framebuffer([self._colour, self._parts], self._depth)

    def at_least(self, size_px: tuple[int, int]) -> "Target":
        """Itself if it is as large as that in both directions, else a larger one in its place."""
        width, height = (max(mine, wanted) for mine, wanted in zip(self.size_px, size_px, strict=True))
        if (width, height) == self.size_px:
            return self
        for part in (self.buffer, self._colour, self._parts, self._depth):
            part.release()
        return Target(self._context, (width, height))

    def begin(self, size_px: tuple[int, int]) -> None:
        """Draw into the first pixels; forget what was there."""
        self.buffer.viewport = (0, 0, *size_px)
        self.buffer.use()
        self.buffer.clear(viewport=(0, 0, *size_px))

    def cover(self, box: Region) -> None:
        """Let nothing be drawn in this box."""
        self.buffer.clear(depth=0.0, viewport=box)

    def labels(self, write: bool) -> None:
        """Whether what is drawn from now on changes labels."""
        self.buffer.color_mask = ((True,) * 4, (write,) * 4)  # type: ignore[assignment]  # one for each attachment

    def read(self, size_px: tuple[int, int]) -> Picture:
        """The first pixels."""
        width, height = size_px
        viewport = (0, 0, width, height)
        colour = np.frombuffer(self.buffer.read(viewport, 3, dtype="f4"), np.float32).reshape(height, width, 3)
        parts = np.frombuffer(self.buffer.read(viewport, 1, attachment=1, dtype="u1"), np.uint8)
        return Picture(colour, parts.reshape(height, width))


class ShadowMap:
    """Depth as a light sees it."""

    def __init__(self, context: moderngl.Context, plan: tuple[int, float], unit: int) -> None:
        size, self.half_width_mm = plan
        self._unit = unit
        self._depth = context.depth_texture((size, size))
        self._depth.compare_func = "<="
        self._depth.filter = (moderngl.LINEAR, moderngl.LINEAR)
        self._depth.repeat_x = self._depth.repeat_y = False
        self._buffer = context.framebuffer(depth_attachment=self._depth)
        self.clip_from_car = np.eye(4)
        self.direction = np.zeros(3)
        self._meshes: tuple[Mesh, ...] = ()

    def begin(self, direction: Floats, centre_mm: Floats, meshes: tuple[Mesh, ...] = ()) -> None:
        """Look from the light at the centre; forget what was there. `meshes` are remembered for `shows`."""
        self.direction = direction
        self._meshes = meshes
        self.clip_from_car = clip_from_light(direction, centre_mm, self.half_width_mm)
        self._buffer.use()
        self._buffer.clear()

    def shows(self, direction: Floats, meshes: tuple[Mesh, ...]) -> bool:
        """Whether this is what it holds."""
        return meshes == self._meshes and bool((direction == self.direction).all())  # meshes are equal if they are one

    def bind(self) -> None:
        """Offer it to the shaders."""
        self._depth.use(self._unit)


def release(*things: Any) -> None:
    """Free what things hold on the card."""
    for thing in things:
        thing.release()


class Solid:
    """A mesh on the card."""

    def __init__(self, stage: "Stage", mesh: Mesh) -> None:
        self.mesh = mesh
        colours = np.ones_like(mesh.vertices_mm) if mesh.colours is None else mesh.colours
        rows = np.concatenate([mesh.vertices_mm, mesh.normals, colours], axis=1, dtype=np.float32)
        context = stage.context
        self._buffers = [context.buffer(rows), context.buffer(mesh.triangles.astype(np.int32))]
        vertices, triangles = self._buffers
        self.shaded = context.vertex_array(
            stage.surface, [(vertices, "3f 3f 3f", "position", "normal", "tint")], triangles
        )
        self.depth = context.vertex_array(stage.depth, [(vertices, "3f 24x", "position")], triangles)
        self.view = context.vertex_array(stage.cabin_view, [(vertices, "3f 12x 3f", "position", "tint")], triangles)

    def release(self) -> None:
        """Free the card's memory."""
        release(self.shaded, self.depth, self.view, *self._buffers)


class Detail(NamedTuple):
    """How much of hair is drawn."""

    locks: int
    """One in so many, and these thicker."""
    points: int
    """One in so many along each, and the tip."""

    @property
    def thickening(self) -> float:
        """How much thicker, that as much is covered: nearly so many times, for they overlap."""
        return float(np.power(self.locks, 0.8))


SMOOTH, STRAIGHT, THINNED = Detail(1, 1), Detail(1, 2), Detail(5, 2)
"""For close views, for those in which it makes no difference, for shadows and coarse pictures."""


class Locks:
    """Strands on the card: two vertices a point, one on each side of the ribbon."""

    LAYOUT = "3f 3f 3f 4f 4f 1f"
    NAMES = ("position", "tangent", "volume_normal", "strand", "tint", "chance")

    def __init__(self, stage: "Stage", strands: Strands, within_hair: bool) -> None:
        order, self._starts = lock_order(strands.points_mm, within_hair)
        rows = ribbon_vertices(strands, order, within_hair)
        count, steps = rows.shape[:2]
        self._sag_mm = sag_mm(strands.points_mm)
        triangles = {d: ribbon_triangles(count, steps, d.points)[:: d.locks] for d in (SMOOTH, STRAIGHT, THINNED)}
        context = stage.context
        self._buffers = {detail: context.buffer(np.ascontiguousarray(data)) for detail, data in triangles.items()}
        self._vertices = context.buffer(rows)
        self._indices = {detail: data[0].size for detail, data in triangles.items()}
        self._shaded = {detail: self._array(stage.strands, detail) for detail in triangles}
        self.depth = self._array(stage.strand_depth, THINNED)

    def _array(self, program: moderngl.Program, detail: Detail) -> moderngl.VertexArray:
        vertices = (self._vertices, self.LAYOUT, *self.NAMES)
        return program.ctx.vertex_array(program, [vertices], self._buffers[detail], skip_errors=True)

    def detail(self, px_per_mm: float) -> Detail:
        """As much of it as a picture shows."""
        return SMOOTH if self._sag_mm * px_per_mm > SAG_PX else STRAIGHT

    def render(self, program: moderngl.Program, detail: Detail, seen_from: Floats | None = None) -> None:
        """Draw locks; without those behind the head if `seen_from` (3,) says where the camera is in the head frame."""
        indices, array = self._indices[detail], self._shaded[detail]
        give(program, thickening=detail.thickening)
        for group, (first, last) in enumerate(itertools.pairwise(-(-self._starts // detail.locks))):
            if last > first and (seen_from is None or in_view(group, seen_from)):
                array.render(vertices=int(last - first) * indices, first=int(first) * indices)

    def release(self) -> None:
        """Free the card's memory."""
        release(*self._shaded.values(), self.depth, self._vertices, *self._buffers.values())


class Body:
    """A likeness on the card."""

    def __init__(self, stage: "Stage", likeness: Likeness) -> None:
        context, self.passenger = stage.context, likeness.passenger
        count = len(likeness.texture_at)
        masks = {"ao": np.ones(count, np.float32), **likeness.masks}
        nothing = np.zeros(count, np.float32)
        names = ("ao", "inside_mouth", "ears", "conjunctiva", "hands")
        bytes_of_masks = np.stack([masks.get(name, nothing) for name in names], axis=1)
        constant = np.zeros(count, np.dtype([("at", "<f4", 2), ("masks", "u1", (8,))]))
        constant["at"] = likeness.texture_at
        constant["masks"][:, : len(names)] = np.round(np.clip(bytes_of_masks, 0, 1) * 255)

        self._posed = context.buffer(reserve=count * 24, dynamic=True)
        self._buffers = [context.buffer(constant), context.buffer(likeness.triangles.astype(np.int32)), self._posed]
        self.shaded = context.vertex_array(
            stage.skin,
            [
                (self._posed, "3f 3f", "position", "normal"),
                (self._buffers[0], "2f 4f1 1f1 3x1", "texture_at", "masks", "of_hand"),
            ],
            self._buffers[1],
            skip_errors=True,
        )
        self.depth = context.vertex_array(stage.depth, [(self._posed, "3f 12x", "position")], self._buffers[1])
        self._albedo, self._relief = (mipmapped(context, data) for data in packed_maps(likeness.maps))
        self.hair = [Locks(stage, strands, within_hair=True) for strands in likeness.hair if len(strands.points_mm)]
        self.worn = [Solid(stage, mesh) for mesh in likeness.worn]
        self._count = count
        ends = [strands.points_mm.reshape(-1, 3) for strands in likeness.hair]
        ends += [mesh.vertices_mm for mesh in likeness.worn]
        around = np.concatenate([*ends, np.zeros((0, 3), np.float32)])
        self._outline = around[around[:, 1] < CHIN_MM][:: max(1, len(around) // OUTLINE_POINTS)]

    def head_points(self, figure: Figure) -> Floats:
        """Points (n, 3) in the car frame that reach as far as the posed head with hair and hat does."""
        skin = np.asarray(figure.vertices_mm[:: max(1, self._count // (4 * OUTLINE_POINTS))], dtype=float)
        below = (skin - figure.head_origin_mm) @ figure.head_rotation[:, 1]
        away = np.linalg.norm(skin - figure.head_origin_mm, axis=1)
        hair = self._outline @ figure.head_rotation.T + figure.head_origin_mm
        return np.concatenate([skin[(below < CHIN_MM) & (away < 260)], hair])

    def pose(self, figure: Figure) -> None:
        """Take over this frame's vertices; raises ValueError if they are of another body."""
        if figure.vertices_mm.shape != (self._count, 3):
            raise ValueError(f"{figure.key}: {len(figure.vertices_mm)} vertices posed, {self._count} loaded")
        rows = np.concatenate([figure.vertices_mm, figure.normals], axis=1, dtype=np.float32)
        self._posed.write(np.nan_to_num(rows, copy=False))

    def bind(self) -> None:
        """Offer its textures to the shaders."""
        self._albedo.use(8)
        self._relief.use(9)

    def release(self) -> None:
        """Free the card's memory."""
        release(self.shaded, self.depth, self._albedo, self._relief, *self.hair, *self.worn, *self._buffers)


def packed_maps(maps: SkinMaps) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Textures (h, w, 4) of `skin.glsl`: square roots of albedo and infrared albedo; slopes, roughness, nothing."""
    albedo = np.sqrt(np.clip(np.dstack([maps.albedo, maps.infrared]), 0, 1))
    slopes = [np.gradient(maps.height_mm, axis=axis) / (2 * STEEPEST_MM) + 0.5 for axis in (1, 0)]
    relief = np.clip(np.dstack([*slopes, maps.roughness, np.zeros_like(maps.roughness)]), 0, 1)
    return np.round(albedo * 255).astype(np.uint8), np.round(relief * 254).astype(np.uint8)


def mipmapped(context: moderngl.Context, data: Array) -> moderngl.Texture:
    """Texture (h, w, 4) with all its smaller copies."""
    height, width, channels = data.shape
    kind = {"uint8": "f1", "float32": "f4"}[data.dtype.name]
    texture = context.texture((width, height), channels, np.ascontiguousarray(data), dtype=kind)
    texture.build_mipmaps()
    texture.filter = (moderngl.LINEAR_MIPMAP_NEAREST, moderngl.LINEAR)
    return texture


SKULL_MM = np.array([0.0, -20.0, -95.0], np.float32)
"""Middle of the head, in the head frame."""
SECTORS = 12
HIDDEN_DEG = 125.0
"""Hair so far round the head from the camera is behind it."""


def lock_order(points_mm: Array, within_hair: bool) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """In which order locks (n, k, 3) are drawn, and where each of the groups 0 to `SECTORS` starts and the last ends.

    Group 0 can be seen from everywhere, the others lie in a sector around the head. Outer locks come first: they hide
    most of the inner ones, which then cost nothing.
    """
    middle = points_mm.mean(axis=1) - SKULL_MM
    sector = np.floor((np.arctan2(middle[:, 0], middle[:, 2]) / (2 * np.pi) + 0.5) * SECTORS).clip(0, SECTORS - 1)
    upright = np.hypot(middle[:, 0], middle[:, 2]) < 50
    low = points_mm[..., 1].max(axis=1) > 60
    group = np.where(upright | low | (not within_hair), 0, 1 + sector)
    order = np.lexsort([-np.linalg.norm(middle, axis=1), group])
    return order, np.searchsorted(group[order], np.arange(SECTORS + 2))


def in_view(group: int, seen_from: Floats) -> bool:
    """Whether a group of `lock_order` can be seen from a place (3,) in the head frame."""
    azimuth = np.degrees(np.arctan2(*(seen_from - SKULL_MM)[[0, 2]]))
    away = azimuth - ((group - 0.5) / SECTORS * 360 - 180)
    return group == 0 or abs((away + 180) % 360 - 180) < HIDDEN_DEG


def ribbon_vertices(strands: Strands, order: NDArray[np.intp], within_hair: bool) -> NDArray[np.float32]:
    """(n, k, 2, 18) what `strands.glsl` needs of both edges of every lock.

    Light gets in from the outside: what lies under other hair is darker.
    """
    points = strands.points_mm.astype(np.float32)
    centre = SKULL_MM if within_hair else points.reshape(-1, 3).mean(axis=0)
    points = points[order]
    count, steps = points.shape[:2]
    tangents = np.gradient(points, axis=1)
    tangents /= np.maximum(np.linalg.norm(tangents, axis=-1, keepdims=True), 1e-6)
    outward = points - centre
    outward /= np.maximum(np.linalg.norm(outward, axis=-1, keepdims=True), 1e-6)
    along = np.broadcast_to(np.linspace(0, 1, steps, dtype=np.float32), (count, steps))
    reach = light_within(points, outward) if within_hair else np.ones((count, steps), np.float32)

    rows = np.zeros((count, steps, 2, 18), np.float32)
    rows[..., 0:3] = points[:, :, None]
    rows[..., 3:6] = tangents[:, :, None]
    rows[..., 6:9] = outward[:, :, None]
    rows[..., 9] = [-1, 1]
    rows[..., 10] = strands.widths_mm[order][:, :, None]
    rows[..., 11] = along[:, :, None]
    rows[..., 12] = reach[:, :, None]
    rows[..., 13:16] = strands.colours[order][:, None, None]
    rows[..., 16] = strands.infrared[order][:, None, None]
    rows[..., 17] = np.random.default_rng(count).random((count, 1, 1))
    return rows


def ribbon_triangles(count: int, steps: int, every: int) -> NDArray[np.int32]:
    """(n, m, 6) two triangles between each two of the points that are used: all, or every so many-th and the last."""
    used = np.unique(np.append(np.arange(0, steps, every), steps - 1))
    first = 2 * (np.arange(count)[:, None] * steps + used)
    a, b = first[:, :-1], first[:, 1:]
    return np.stack([a, a + 1, b, b, a + 1, b + 1], axis=-1).astype(np.int32)


def sag_mm(points_mm: Array) -> float:
    """How far most points of locks (n, k, 3) are at most from the middle between their neighbours."""
    bend = points_mm[:, 1:-1] - (points_mm[:, :-2] + points_mm[:, 2:]) / 2
    return float(np.percentile(np.linalg.norm(bend, axis=-1), 90)) if bend.size else 0.0


VOXEL_MM = 5.0


def light_within(points: Array, outward: Array) -> NDArray[np.float32]:
    """(n, k) share of light that reaches points of hair past the hair outside of them."""
    low = points.reshape(-1, 3).min(axis=0) - 40
    cells = np.floor((points - low) / VOXEL_MM).astype(int)
    shape = tuple(cells.reshape(-1, 3).max(axis=0) + 10)
    density = np.zeros(shape, np.float32)
    np.add.at(density, tuple(cells.reshape(-1, 3).T), 1)
    density /= max(float(np.percentile(density[density > 0], 90)), 1e-6)
    above = np.zeros(points.shape[:2], np.float32)
    for step_mm in (6.0, 11.0, 17.0, 24.0):
        at = np.floor((points + step_mm * outward - low) / VOXEL_MM).astype(int)
        at = np.clip(at, 0, np.array(shape) - 1)
        above += np.minimum(density[tuple(np.moveaxis(at, -1, 0))], 1)
    return np.asarray(0.25 + 0.75 * np.exp(-0.6 * above), np.float32)


class Stage:
    """The context and the programs."""

    def __init__(self) -> None:
        self.context = graphics.create_context()
        self.outside = self._program("outside")
        self.surface = self._program("surface")
        self.skin = self._program("skin")
        self.eye = self._program("eye")
        self.strands = self._program("strands")
        self.strand_depth = self._program("strands", "DEPTH")
        self.depth = self._program("depth")
        self.cabin_view = self._program("cabin_view")

    def _program(self, name: str, *flags: str) -> moderngl.Program:
        source = shader_source(name)
        constants = {
            "SHADOW_TAPS": SHADOW_TAPS,
            "LID_SAMPLES": LID_SAMPLES,
            "SHARPEST_ROUGH": SHARPEST_ROUGH,
            "STEEPEST_MM": STEEPEST_MM,
        } | dict.fromkeys(flags, 1)
        head = "#version 430\n" + "".join(f"#define {key} {value}\n" for key, value in constants.items())
        return self.context.program(head + "#define VERTEX\n" + source, head + source)


def shader_source(name: str) -> str:
    """A shader with what it includes."""
    text = (SHADERS / f"{name}.glsl").read_text(encoding="utf-8")
    return re.sub(r'#include "(\w+)\.glsl"', lambda match: shader_source(match[1]), text)


def give(program: moderngl.Program, **values: ArrayLike) -> None:
    """Set uniforms; matrices (row by row) are turned into OpenGL's columns. Names the program lacks are skipped."""
    for name, value in values.items():
        if isinstance(member := program.get(name, None), moderngl.Uniform):
            kind = np.uint32 if isinstance(value, (int, np.integer)) else np.float32
            array = np.asarray(value, kind)
            is_matrix = array.ndim == 2 and array.shape[0] == array.shape[1]
            member.write(np.ascontiguousarray(array.T if is_matrix else array).tobytes())


@dataclass(frozen=True, slots=True, eq=False)
class Daylight:
    """What surrounds the driver's head, digested for the shaders."""

    picture: NDArray[np.float32]
    """(h, w, 3) equirectangular, car frame."""
    irradiance: Floats
    """(9, 3) spherical harmonics over pi."""
    key_direction: Floats
    key_share: float


SURROUNDINGS = equirectangular_directions(SURROUNDINGS_PX)
FEW_PX = (64, 32)
"""Diffuse light is summed over so many directions."""
_FEW = equirectangular_directions(FEW_PX)
_SOLID_ANGLE = np.sqrt(np.clip(1 - _FEW[..., 1:2] ** 2, 0, None))
_SOLID_ANGLE *= 4 * np.pi / _SOLID_ANGLE.sum()
_HARMONICS = spherical_harmonics(_FEW) * _SOLID_ANGLE
CHEST = np.clip((SURROUNDINGS[..., 1:2] - 0.55) / 0.3, 0, 1)
"""Share of each direction that shoulders and chest fill."""


def daylight(light: Light, outside: Array, cabin: Array | None, clothes: ArrayLike) -> Daylight:
    """Light about the driver's head from a panorama (h, w, 3) and the cabin seen from there (h, w, 4: albedo, open)."""
    world = turned(outside, light.environment_yaw_deg) * light.environment_gain
    if light.infrared:
        world = np.repeat(world.mean(axis=2, keepdims=True), 3, axis=2)
    lamps = np.zeros(3)
    for lamp in light.lamps[:MAX_LAMPS]:
        lamps += np.asarray(lamp.rgb) * 1e6 / max(float(np.square(lamp.position_mm).sum()), 1e4)
    shining = np.asarray(light.sun_rgb, dtype=float)
    if light.infrared:
        lamps, shining = np.repeat(lamps[:1], 3), np.repeat(shining.mean(), 3)
    seen = np.zeros((*world.shape[:2], 4), np.float32) if cabin is None else cabin
    opening = seen[..., 3:] if cabin is not None else np.ones_like(world[..., :1])
    entering = (few(world * opening) * _SOLID_ANGLE).sum(axis=(0, 1)) / (4 * np.pi)
    bounce = 1.3 * entering + 0.05 * shining / np.pi + 0.3 * lamps / np.pi
    picture = world * opening + seen[..., :3] * (1 - opening) * bounce
    picture += CHEST * (np.asarray(clothes) * 1.5 * bounce - picture)
    picture = picture.astype(np.float32)
    coefficients = np.einsum("hwk,hwc->kc", _HARMONICS, few(picture))
    luminance = coefficients.mean(axis=1)
    linear = luminance[[3, 1, 2]]
    length = float(np.linalg.norm(linear))
    direction = linear / length if length > 1e-9 else np.array([0.0, -1.0, 0.0])
    share = float(np.clip(1.4 * length / max(np.sqrt(3.0) * luminance[0], 1e-9), 0.2, 0.75))
    return Daylight(picture, coefficients * COSINE_BANDS[:, None], direction, share)


def few(picture: Array) -> Array:
    """A picture of all directions, averaged to `FEW_PX`."""
    return cv2.resize(picture, FEW_PX, interpolation=cv2.INTER_AREA)


def _octahedral_map() -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Where the texels of an octahedron unfolded about +z lie in an equirectangular picture of `SURROUNDINGS_PX`."""
    a = (np.arange(OCTAHEDRON_PX) + 0.5) / OCTAHEDRON_PX * 2 - 1
    x, y = np.meshgrid(a, a)
    z = 1 - np.abs(x) - np.abs(y)
    behind = z < 0
    x, y = (
        np.where(behind, (1 - np.abs(y)) * np.sign(x), x),
        np.where(behind, (1 - np.abs(x)) * np.sign(y), y),
    )
    length = np.sqrt(x * x + y * y + z * z)
    width, height = SURROUNDINGS_PX
    column = (np.arctan2(x, z) / (2 * np.pi) + 0.5) * width - 0.5
    row = np.arccos(-y / length) / np.pi * height - 0.5
    return column.astype(np.float32), row.astype(np.float32)


_COLUMNS, _ROWS = _octahedral_map()


def octahedral(picture: Array) -> NDArray[np.float32]:
    """An equirectangular picture as an octahedron unfolded about +z: (n, n, 4)."""
    opaque = cv2.cvtColor(picture, cv2.COLOR_RGB2RGBA)
    return np.asarray(cv2.remap(opaque, _COLUMNS, _ROWS, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP), np.float32)


def turned(panorama: Array, yaw_deg: float) -> Array:
    """An equirectangular picture with what was ahead now at azimuth `yaw_deg`, at the size of `SURROUNDINGS_PX`."""
    if panorama.shape[1::-1] != SURROUNDINGS_PX:
        panorama = cv2.resize(panorama, SURROUNDINGS_PX, interpolation=cv2.INTER_AREA)
    shift = yaw_deg / 360 * SURROUNDINGS_PX[0]
    whole = int(np.floor(shift))
    first = np.roll(panorama, whole, axis=1)
    return first + (shift - whole) * (np.roll(first, 1, axis=1) - first)


def noise_fields(size: int = 256, seed: int = 7) -> NDArray[np.uint8]:
    """(size, size, 4) fields that repeat: broad, fine, finest and soft noise about the middle of the range."""
    rng = np.random.default_rng(seed)
    fields = []
    for first, octaves in ((4, 6), (32, 3), (64, 2), (8, 4)):
        field = np.zeros((size, size), np.float32)
        for octave in range(octaves):
            cells = min(first * 2**octave, size)
            grid = rng.normal(size=(cells, cells)).astype(np.float32)
            repeated = cv2.resize(np.tile(grid, (3, 3)), (3 * size, 3 * size), interpolation=cv2.INTER_CUBIC)
            field += repeated[size : 2 * size, size : 2 * size] * 0.55**octave
        fields.append(np.clip(0.5 + 0.16 * (field - field.mean()) / field.std(), 0, 1))
    return np.round(np.stack(fields, axis=-1) * 255).astype(np.uint8)


class Renderer:
    """Draws scenes at one size at a time. Holds a context: close it, or use it in a `with` block.

    Raises DashgazeError if there is no OpenGL.
    """

    def __init__(self, size_px: tuple[int, int] = (1280, 720)) -> None:
        self._stage = stage = Stage()
        context = stage.context
        self._coarse, self._sharp = Target(context, (1, 1)), Target(context, (1, 1))
        self.resize(size_px)
        self._near_sun = ShadowMap(context, NEAR_SUN, 1)
        self._far_sun = ShadowMap(context, FAR_SUN, 2)
        self._key = ShadowMap(context, KEY, 3)
        self._frame = np.zeros(1, FRAME)
        self._block = context.buffer(reserve=FRAME.itemsize, dynamic=True)
        self._noise = mipmapped(context, noise_fields())
        self._surroundings = context.texture((OCTAHEDRON_PX, OCTAHEDRON_PX), 4, dtype="f4")
        self._surroundings.repeat_x = self._surroundings.repeat_y = False
        corners = context.buffer(np.array([-1, -1, 3, -1, -1, 3], np.float32))
        square = context.buffer(np.array([-1, -1, 1, -1, -1, 1, 1, 1], np.float32))
        self._everywhere = context.vertex_array(stage.outside, [(corners, "2f", "corner")])
        self._patch = context.vertex_array(stage.eye, [(square, "2f", "corner")])
        self._bodies: dict[Hashable, Body] = {}
        self._solids: dict[int, tuple[Solid, int]] = {}
        self._panoramas: dict[str, moderngl.Texture] = {}
        self._cabin: tuple[tuple[object, ...], Array | None] = ((), None)
        self._drawn_frames = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def resize(self, size_px: tuple[int, int]) -> None:
        """Draw pictures of another size from now on."""
        self.size_px = size_px
        self._coarse_px = (max(1, round(size_px[0] * COARSE_SCALE)), max(1, round(size_px[1] * COARSE_SCALE)))
        self._coarse = self._coarse.at_least(self._coarse_px)
        self._sharp = self._sharp.at_least((round(size_px[0] * SHARP_SCALE), round(size_px[1] * SHARP_SCALE)))

    def close(self) -> None:
        """Free everything, the context too."""
        self._bodies.clear()
        self._solids.clear()
        self._panoramas.clear()
        self._stage.context.release()

    def load(self, key: Hashable, likeness: Likeness) -> None:
        """Take over a person's likeness under a name; a former one of that name is forgotten."""
        self.forget(key)
        self._bodies[key] = Body(self._stage, likeness)

    def forget(self, key: Hashable) -> None:
        """Free what a likeness holds; nothing happens if there is none of that name."""
        if (body := self._bodies.pop(key, None)) is not None:
            body.release()

    def render(self, scene: Scene) -> Picture:
        """Draw one frame. Raises KeyError for a person who was not loaded, ValueError for another's vertices."""
        for figure in scene.people:
            self._bodies[figure.key].pose(figure)
        self._drawn_frames += 1
        # What others who draw in this context may have changed.
        self._block.bind_to_uniform_block(0)
        self.context.front_face = "cw"  # the picture's rows run downwards, which turns triangles round
        self._light(scene)
        self._cast_shadows(scene)
        region = scene.focus or self._focus(scene)
        picture = self._draw_coarse(scene, region)
        if region is not None:
            paste(picture, self._draw_sharp(scene, region), region)
        self._forget_unseen()
        self.context.front_face = "ccw"
        return picture

    @property
    def context(self) -> moderngl.Context:
        """The context, for others that draw in the same process; it goes when this is closed."""
        return self._stage.context

    def _focus(self, scene: Scene) -> Region | None:
        if not scene.people:
            return None
        driver = scene.people[0]
        return box_of(self._bodies[driver.key].head_points(driver), scene.view, self.size_px)

    # Light

    def _light(self, scene: Scene) -> None:
        light = scene.light
        panorama = assets.panorama(light.environment)
        clothes = next(
            (mesh.surface for figure in scene.people[:1] for mesh in figure.meshes if mesh.part == Part.CLOTHES), None
        )
        chest = np.full(3, 0.2) if clothes is None else np.asarray(clothes.colour)
        if clothes is not None and light.infrared:
            chest = np.full(3, clothes.infrared)
        self._daylight = daylight(light, panorama, self._cabin_seen(scene), chest)
        self._surroundings.write(octahedral(self._daylight.picture))
        self._surroundings.build_mipmaps()
        self._surroundings.filter = (moderngl.LINEAR_MIPMAP_LINEAR, moderngl.LINEAR)
        self._surroundings.use(4)
        self._world(light.environment, panorama).use(5)
        self._noise.use(6)

        frame = self._frame[0]
        sun = np.asarray(light.sun_rgb, dtype=float)
        lamps = light.lamps[:MAX_LAMPS]
        colours = np.array([lamp.rgb for lamp in lamps], dtype=float).reshape(-1, 3)
        if light.infrared:
            sun, colours = np.repeat(sun.mean(), 3), np.repeat(colours[:, :1], 3, axis=1)
        shines = bool(sun.max() > DARK * (1 + self._daylight.irradiance[0].max()))
        frame["sun"] = [*light.sun_direction, shines]
        frame["sun_rgb"][:3] = sun * shines
        frame["key"] = [*self._daylight.key_direction, self._daylight.key_share]
        frame["irradiance_sh"][:, :3] = self._daylight.irradiance
        frame["lamp_mm"], frame["lamp_rgb"] = 0, 0
        frame["lamp_mm"][: len(lamps), :3] = np.array([lamp.position_mm for lamp in lamps]).reshape(-1, 3)
        frame["lamp_rgb"][: len(lamps), :3] = colours
        yaw = np.radians(light.environment_yaw_deg)
        frame["environment"] = [light.environment_gain, yaw, light.infrared, len(lamps)]

    def _world(self, name: str, panorama: Array) -> moderngl.Texture:
        if name not in self._panoramas:
            texture = mipmapped(self._stage.context, panorama.astype(np.float32))
            texture.repeat_y = False
            self._panoramas[name] = texture
        return self._panoramas[name]

    def _cabin_seen(self, scene: Scene) -> Array | None:
        """What the driver's head sees of the cabin: drawn once for the meshes that are no objects and no people."""
        cabin = [mesh for mesh in scene.meshes if mesh.part == Part.NOTHING and mesh.surface.opacity >= 1]
        key = (scene.light.infrared, *cabin)
        if self._cabin[0] != key:
            seen = self._draw_cabin([self._solid(mesh) for mesh in cabin], scene.light.infrared) if cabin else None
            self._cabin = (key, seen)
        return self._cabin[1]

    def _draw_cabin(self, solids: Sequence[Solid], infrared: bool) -> Array:
        context, program = self._stage.context, self._stage.cabin_view
        colour = context.texture((CUBE_PX, CUBE_PX), 4, dtype="f4")
        buffer = context.framebuffer([colour], context.depth_renderbuffer((CUBE_PX, CUBE_PX)))
        context.enable_only(moderngl.DEPTH_TEST)
        half = (CUBE_PX - 1) / 2
        matrix = np.array([[CUBE_PX / 2, 0, half], [0, CUBE_PX / 2, half], [0, 0, 1.0]])
        result = np.zeros((*SURROUNDINGS.shape[:2], 4), np.float32)
        largest = np.abs(SURROUNDINGS).argmax(axis=-1)
        for axis in range(3):
            for sign in (-1.0, 1.0):
                forward, down = np.zeros(3), np.zeros(3)
                forward[axis], down[(axis + 1) % 3] = sign, 1.0
                view = View(matrix, np.stack([np.cross(down, forward), down, forward], axis=1), np.zeros(3))
                give(program, clip_from_car=clip_from_car(view, (0, 0, CUBE_PX, CUBE_PX)))
                buffer.use()
                buffer.clear(alpha=1.0)
                for solid in solids:
                    surface = solid.mesh.surface
                    give(program, surface=[surface.infrared] * 3 if infrared else surface.colour)
                    solid.view.render()
                face = np.frombuffer(buffer.read(components=4, dtype="f4"), np.float32).reshape(CUBE_PX, CUBE_PX, 4)
                here = (largest == axis) & (np.sign(SURROUNDINGS[..., axis]) == sign)
                local = SURROUNDINGS[here] @ view.rotation
                at = (local[:, :2] / local[:, 2:] * CUBE_PX / 2 + half).astype(np.float32)
                sampled = cv2.remap(
                    face, at[:, None, 0], at[:, None, 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
                )
                result[here] = sampled.reshape(-1, 4)
        buffer.release()
        colour.release()
        return result

    # Shadows

    def _cast_shadows(self, scene: Scene) -> None:
        frame = self._frame[0]
        head = np.zeros(3)
        if scene.people:
            driver = scene.people[0]
            head = driver.head_origin_mm + driver.head_rotation @ np.array([0.0, 10.0, -70.0])
        self._stage.context.enable_only(moderngl.DEPTH_TEST)
        sun = np.asarray(scene.light.sun_direction, dtype=float)
        if frame["sun"][3]:
            self._near_sun.begin(sun, head)
            self._cast_meshes(self._near_sun, scene.meshes)
            self._cast_people(self._near_sun, scene.people)
            cabin = tuple(mesh for mesh in scene.meshes if mesh.part == Part.NOTHING)
            about = nearby_direction(sun)
            if not self._far_sun.shows(about, cabin):
                self._far_sun.begin(about, np.zeros(3), cabin)
                self._cast_meshes(self._far_sun, cabin)
        self._key.begin(self._daylight.key_direction, head)
        self._cast_meshes(self._key, (mesh for mesh in scene.meshes if mesh.part != Part.NOTHING))
        self._cast_people(self._key, scene.people)
        for name, cast in (("near_sun", self._near_sun), ("far_sun", self._far_sun), ("key", self._key)):
            frame[f"{name}_from_car"] = cast.clip_from_car.T
            cast.bind()

    def _cast_meshes(self, shadow: ShadowMap, meshes: Iterable[Mesh]) -> None:
        self._cast_solids(map(self._solid, meshes), shadow.clip_from_car)

    def _cast_people(self, shadow: ShadowMap, people: Sequence[Figure]) -> None:
        stage = self._stage
        for figure in people:
            if np.linalg.norm(figure.head_origin_mm - people[0].head_origin_mm) > FAR_HEAD_MM:
                continue  # the map is about the driver's head
            body, pose = self._bodies[figure.key], car_from_head(figure)
            self._cast_meshes(shadow, figure.meshes)
            self._cast_solids(body.worn, shadow.clip_from_car @ pose)
            give(stage.depth, clip_from_model=shadow.clip_from_car)
            stage.context.enable(moderngl.CULL_FACE)
            body.depth.render()
            stage.context.disable(moderngl.CULL_FACE)
            give(stage.strand_depth, car_from_model=pose, hangs=1, thickening=THINNED.thickening)
            give(stage.strand_depth, clip_from_car_light=shadow.clip_from_car, towards_light=shadow.direction)
            for locks in body.hair:
                locks.depth.render()

    def _cast_solids(self, solids: Iterable[Solid], clip_from_model: Floats) -> None:
        give(self._stage.depth, clip_from_model=clip_from_model)
        for solid in solids:
            if solid.mesh.surface.opacity >= 1:
                solid.depth.render()

    # Passes

    def _draw_coarse(self, scene: Scene, region: Region | None) -> Picture:
        """The whole frame, but for what the sharp pass will show."""
        scale = self._coarse_px[0] / self.size_px[0]
        self._coarse.begin(self._coarse_px)
        if region is not None and (inner := shrunk(region, self.size_px)) is not None:
            x, y, width, height = (round(value * scale) for value in inner)
            self._coarse.cover((x, y, width, height))
        self._draw(scene, self._coarse, (0, 0, *self.size_px), scale, fine=False)
        return enlarged(self._coarse.read(self._coarse_px), self.size_px)

    def _draw_sharp(self, scene: Scene, region: Region) -> Picture:
        scale = min(SHARP_SCALE, float(np.sqrt(SHARP_PIXELS / (region[2] * region[3]))))
        size_px = (max(1, round(region[2] * scale)), max(1, round(region[3] * scale)))
        self._sharp.begin(size_px)
        near = tuple(figure for figure in scene.people if self._touches(figure, scene.view, region))
        self._draw(replace(scene, people=near), self._sharp, region, scale, fine=True)
        return self._sharp.read(size_px)

    def _touches(self, figure: Figure, view: View, region: Region) -> bool:
        """Whether anything of a person may be in a region of the picture."""
        hair = self._bodies[figure.key].head_points(figure)
        box = box_of(np.concatenate([figure.vertices_mm[::SPARSE], hair]), view, self.size_px)
        return box is None or all(
            box[axis] < region[axis] + region[axis + 2] and region[axis] < box[axis] + box[axis + 2] for axis in (0, 1)
        )

    def _draw(self, scene: Scene, target: Target, region: Region, scale: float, fine: bool) -> None:
        """Everything in a region of the picture: first what hides most, last what is blended."""
        stage, context = self._stage, self._stage.context
        projection = clip_from_car(scene.view, region)
        frame, infrared = self._frame[0], scene.light.infrared
        frame["clip_from_car"] = projection.T
        frame["camera"] = [*scene.view.position_mm, scene.view.matrix[0, 0] * scale]
        frame["taps"][0] = 8 if fine else 2
        self._block.write(self._frame)

        context.enable_only(moderngl.DEPTH_TEST)
        target.labels(write=True)
        for figure in scene.people:
            self._draw_person(figure, infrared)
        for mesh in scene.meshes:
            if mesh.surface.opacity >= 1:
                self._draw_solid(self._solid(mesh), np.eye(4), int(mesh.part), infrared)
        give(stage.outside, car_from_clip=np.linalg.inv(projection))
        self._everywhere.render()

        context.enable_only(moderngl.DEPTH_TEST | moderngl.BLEND)
        context.blend_func = moderngl.ONE, moderngl.ONE_MINUS_SRC_ALPHA
        for figure in scene.people:
            self._draw_hair(figure, target, fine)
            self._draw_panes(self._bodies[figure.key].worn, car_from_head(figure), target, infrared)
        self._draw_panes([self._solid(mesh) for mesh in scene.meshes], np.eye(4), target, infrared)
        target.labels(write=True)

    def _draw_person(self, figure: Figure, infrared: bool) -> None:
        body, pose = self._bodies[figure.key], car_from_head(figure)
        posed = [(self._solid(mesh), np.eye(4)) for mesh in figure.meshes]
        for solid, model in (*posed, *((solid, pose) for solid in body.worn)):
            if solid.mesh.surface.opacity >= 1:
                part = Part.PASSENGER if body.passenger else solid.mesh.part
                self._draw_solid(solid, model, int(part), infrared)
        self._draw_skin(body)
        self._draw_eyes(figure, body, infrared)

    def _draw_panes(self, solids: Iterable[Solid], model: Floats, target: Target, infrared: bool) -> None:
        """Lenses and windows over what is behind them; clear ones leave its labels."""
        for solid in solids:
            if solid.mesh.surface.opacity < 1:
                target.labels(write=solid.mesh.surface.opacity > 0.5)
                self._draw_solid(solid, model, int(solid.mesh.part), infrared)

    def _draw_solid(self, solid: Solid, model: Floats, part: int, infrared: bool) -> None:
        surface = solid.mesh.surface
        albedo = [surface.infrared] * 3 if infrared else surface.colour
        give(
            self._stage.surface,
            car_from_model=model,
            surface=[*albedo, surface.opacity],
            gloss=[surface.roughness, surface.specular],
            label=part,
        )
        solid.shaded.render()

    def _draw_skin(self, body: Body) -> None:
        labels = (Part.PASSENGER, Part.PASSENGER) if body.passenger else (Part.SKIN, Part.HAND)
        give(self._stage.skin, skin_label=int(labels[0]), hand_label=int(labels[1]))
        body.bind()
        context = self._stage.context
        context.enable(moderngl.CULL_FACE)
        body.shaded.render()
        context.disable(moderngl.CULL_FACE)

    def _draw_eyes(self, figure: Figure, body: Body, infrared: bool) -> None:
        for side, eye in enumerate(figure.eyes):
            label = Part.LEFT_EYE if side == LEFT else Part.RIGHT_EYE
            down = -np.asarray(eye.up)
            margins = None if figure.lid_margins_mm is None else figure.lid_margins_mm[side]
            lids, azimuths, corners = lid_opening(margins, eye.centre_mm, figure.head_rotation, side)
            give(
                self._stage.eye,
                centre=eye.centre_mm,
                eye_from_car=np.stack([np.cross(down, eye.optical_axis), down, eye.optical_axis]),
                head_from_car=figure.head_rotation.T,
                globe=[eye.globe_radius_mm, eyes.CORNEA_RADIUS_MM, eyes.CORNEA_CENTRE_MM, eyes.IRIS_MM],
                iris=[eye.iris_radius_mm, eye.pupil_radius_mm, eyes.AQUEOUS_INDEX, eye.seed % 997 / 997],
                iris_albedo=[eye.infrared_iris] * 3 if infrared else eye.iris_rgb,
                lids=lids,
                lid_azimuths=azimuths,
                corners=corners,
                label=int(Part.PASSENGER if body.passenger else label),
            )
            self._patch.render(moderngl.TRIANGLE_STRIP)

    def _draw_hair(self, figure: Figure, target: Target, fine: bool) -> None:
        program, body = self._stage.strands, self._bodies[figure.key]
        target.labels(write=True)
        give(program, narrowest_px=1.0, gloss=1.0, car_from_model=car_from_head(figure), hangs=1)
        give(program, label=int(Part.PASSENGER if body.passenger else Part.HAIR))
        *eye_mm, focal_px = self._frame[0]["camera"]
        seen_from = (eye_mm - figure.head_origin_mm) @ figure.head_rotation
        px_per_mm = focal_px / max(float(np.linalg.norm(seen_from)), NEAR_MM)
        for locks in body.hair:
            locks.render(program, locks.detail(px_per_mm) if fine and not body.passenger else THINNED, seen_from)
        if fine:
            give(program, car_from_model=np.eye(4), hangs=0, gloss=0.4)
            target.labels(write=False)
            for strands in figure.strands:
                if len(strands.points_mm):
                    locks = Locks(self._stage, strands, within_hair=False)
                    locks.render(program, SMOOTH)
                    locks.release()

    # Uploads

    def _solid(self, mesh: Mesh) -> Solid:
        solid = self._solids[id(mesh)][0] if id(mesh) in self._solids else Solid(self._stage, mesh)
        self._solids[id(mesh)] = (solid, self._drawn_frames)
        return solid

    def _forget_unseen(self) -> None:
        old = [key for key, (_, seen) in self._solids.items() if seen <= self._drawn_frames - KEPT_FRAMES]
        for key in old:
            self._solids.pop(key)[0].release()


def car_from_head(figure: Figure) -> Floats:
    """(4, 4) pose of a head."""
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = figure.head_rotation, figure.head_origin_mm
    return pose


def lid_opening(
    margins_mm: Floats | None, centre_mm: Floats, head_rotation: Floats, side: int
) -> tuple[Floats, Floats, Floats]:
    """How lids open about an eyeball's centre, in radians in the head frame.

    Elevations (n, 2) of upper and lower margin at even azimuths, the first and last of these azimuths, and those of the
    inner and the outer corner.
    """
    reach = 0.9
    if margins_mm is None:
        opening = np.tile([0.6, -0.6], (LID_SAMPLES, 1))
        ends = np.array([-reach, reach])
    else:
        in_head = (margins_mm - centre_mm) @ head_rotation
        azimuth = np.arctan2(in_head[..., 0], in_head[..., 2])
        elevation = np.arctan2(-in_head[..., 1], np.hypot(in_head[..., 0], in_head[..., 2]))
        ends = np.array([azimuth.min(), azimuth.max()])
        at = np.linspace(float(ends[0]), float(ends[1]), LID_SAMPLES)
        order = azimuth.argsort(axis=1)
        opening = np.stack(
            [np.interp(at, azimuth[row][order[row]], elevation[row][order[row]]) for row in (0, 1)], axis=1
        )
    return opening, ends, ends[::-1] if side == LEFT else ends


def shrunk(region: Region, size_px: tuple[int, int]) -> Region | None:
    """A region without its soft seam, which runs along those edges that are not the picture's."""
    x, y, width, height = region
    left, top = SEAM_PX * (x > 0), SEAM_PX * (y > 0)
    right, bottom = SEAM_PX * (x + width < size_px[0]), SEAM_PX * (y + height < size_px[1])
    # One pixel of the coarse picture more, which enlarging would mix in.
    x, y = x + left + 4, y + top + 4
    width, height = width - left - right - 8, height - top - bottom - 8
    return (x, y, width, height) if min(width, height) > 0 else None


def enlarged(picture: Picture, size_px: tuple[int, int]) -> Picture:
    """A coarse picture at full size, labels by nearest neighbour."""
    return Picture(
        np.asarray(cv2.resize(picture.radiance, size_px, interpolation=cv2.INTER_LINEAR), np.float32),
        np.asarray(cv2.resize(picture.parts, size_px, interpolation=cv2.INTER_NEAREST_EXACT), np.uint8),
    )


def paste(picture: Picture, sharp: Picture, region: Region) -> None:
    """Put a sharp part into a picture, in place, with a soft seam for light and a hard one for labels."""
    x, y, width, height = region
    here = np.s_[y : y + height, x : x + width]
    method = cv2.INTER_AREA if sharp.parts.shape[1] > width else cv2.INTER_LINEAR
    light = cv2.resize(sharp.radiance, (width, height), interpolation=method)
    total_height, total_width = picture.parts.shape
    weight = np.outer(seam(y, height, total_height), seam(x, width, total_width))[..., None]
    picture.radiance[here] += weight * (light - picture.radiance[here])
    picture.parts[here] = cv2.resize(sharp.parts, (width, height), interpolation=cv2.INTER_NEAREST_EXACT)


def seam(start: int, length: int, total: int) -> NDArray[np.float32]:
    """(length,) weights that rise from 0 to 1 and fall again over `SEAM_PX`, but not at the picture's own edges."""
    at = np.arange(length, dtype=np.float32)
    rise = np.ones(length, np.float32) if start == 0 else np.minimum((at + 0.5) / SEAM_PX, 1)
    fall = np.ones(length, np.float32) if start + length >= total else np.minimum((length - at - 0.5) / SEAM_PX, 1)
    return np.minimum(rise, fall)
