"""Films the road: things, ground, sky, then trees, shadows and glowing lamps on top, by OpenGL on the processor.

The picture is drawn at two thirds of its size, since llvmpipe pays for every pixel, and enlarged. Opaque things
come first and the sky last, so that hidden pixels are not shaded.
"""

from types import TracebackType
from typing import Any, Self

import cv2
import moderngl
import numpy as np
from numpy.typing import ArrayLike, NDArray

from dashgaze.geometry import Camera, Floats, unit
from dashgaze.training.synth.graphics import create_context
from dashgaze.training.synth.records import EYE_HEIGHT_M
from dashgaze.training.synth.renderer import give, mipmapped, shader_source
from dashgaze.training.synth.road.atmosphere import Atmosphere, atmosphere, sun_direction
from dashgaze.training.synth.road.shapes import MODELS, model, nominal_size_m
from dashgaze.training.synth.road.textures import noise, tree_cards
from dashgaze.training.synth.road.things import MODEL_NAMES, TREES, VEHICLES
from dashgaze.training.synth.road.world import DRIVER_OFFSET_M, Road, Scene

DRAWN_PX = (853, 480)
NEAR_M, FAR_M = 0.25, 2500.0
_LINES, _JUNCTIONS = 14, 4
_JUNCTIONS_SEEN_M = 350.0
_AWAY = 1e6
_LAMP_HEIGHT_M = 8.2
_BUILDINGS = ("block", "house")
_INSTANCE = "3f 1f 3f 3f 4f 2f/i"
_MODEL_INDEX = {name: k for k, name in enumerate(MODEL_NAMES)}
_TREE_INDICES = np.array([_MODEL_INDEX[name] for name in TREES])
_FRONT_LAMPS = {"motorcycle": (0.0, 0.5), "bicycle": (0.0, 0.4), "lorry": (0.4, 0.2), "bus": (0.41, 0.25)}
"""Where headlamps and tail lamps are: shares of width and height; cars have the last."""
_CAR_LAMPS = (0.36, 0.44)
_HEADLAMP_RGB, _TAIL_RGB, _STREET_RGB = (1.0, 0.93, 0.8), (1.0, 0.05, 0.03), (1.0, 0.72, 0.42)
_TRAFFIC_RGB = np.array([[1.0, 0.06, 0.03], [1.0, 0.55, 0.08], [0.05, 1.0, 0.45]])
_GLOW, _SHADOW, _DROP = 0.0, 1.0, 2.0
_CORNERS = np.array([[-1, -1], [1, -1], [1, 1], [-1, -1], [1, 1], [-1, 1]], dtype=float)
_VERGES = np.array([[0.075, 0.11, 0.035], [0.11, 0.115, 0.045], [0.2, 0.16, 0.085]])
_STRIDE_PER_M = 4.2


class Batch:
    """A model's triangles and as many instances of it as a frame needs."""

    def __init__(self, context: moderngl.Context, program: moderngl.Program, name: str) -> None:
        vertices = context.buffer(model(name).vertices.tobytes())
        self._instances = context.buffer(reserve=64 * 16, dynamic=True)
        self._array = context.vertex_array(
            program,
            [
                (vertices, "3f 3f 2f", "in_position", "in_normal", "in_kind"),
                (self._instances, _INSTANCE, "i_base", "i_turn", "i_size", "i_colour", "i_state", "i_road"),
            ],
        )

    def draw(self, rows: NDArray[np.float32]) -> None:
        """Draw one instance for each row."""
        self._instances.orphan(rows.nbytes)
        self._instances.write(rows.tobytes())
        self._array.render(instances=len(rows))


class RoadRenderer:
    """Draws roads in a context of its own or a shared one. Raises DashgazeError if there is no OpenGL."""

    def __init__(self, context: moderngl.Context | None = None) -> None:
        self._owned = context is None
        self._context = context = context or create_context()
        self._colour = context.texture(DRAWN_PX, 4, dtype="f2")
        self._target = context.framebuffer([self._colour], context.depth_renderbuffer(DRAWN_PX))
        self._noise = mipmapped(context, noise())
        self._cards = mipmapped(context, tree_cards())
        self._programs = {name: self._program(name) for name in ("sky", "ground", "thing", "facade", "tree", "glow")}
        self._batches = {
            name: Batch(context, self._programs["facade" if name in _BUILDINGS else "thing"], name) for name in MODELS
        }
        screen = context.buffer(np.array([-1, -1, 3, -1, -1, 3], np.float32).tobytes())
        self._sky = context.vertex_array(self._programs["sky"], [(screen, "2f", "in_clip")])
        self._ground_rows = context.buffer(reserve=1 << 16, dynamic=True)
        self._ground = context.vertex_array(
            self._programs["ground"], [(self._ground_rows, "3f 2f", "in_position", "in_road")]
        )
        corners = np.array([[-0.5, 0], [0.5, 0], [0.5, 1], [-0.5, 0], [0.5, 1], [-0.5, 1]], np.float32)
        self._tree_rows = context.buffer(reserve=1 << 12, dynamic=True)
        self._trees = context.vertex_array(
            self._programs["tree"],
            [
                (context.buffer(corners.tobytes()), "2f", "in_corner"),
                (self._tree_rows, "3f 2f 3f 2f 2f/i", "i_base", "i_size", "i_colour", "i_card", "i_road"),
            ],
        )
        self._glow_rows = context.buffer(reserve=1 << 12, dynamic=True)
        self._glows = context.vertex_array(
            self._programs["glow"], [(self._glow_rows, "3f 3f 4f", "in_position", "in_shape", "in_rgba")]
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Free the context if it is the renderer's own."""
        if self._owned:
            self._context.release()

    def _program(self, name: str) -> moderngl.Program:
        source = shader_source(f"road_{name}")
        head = f"#version 430\n#define CARDS {len(TREES)}.0\n"
        return self._context.program(head + "#define VERTEX\n" + source, head + source)

    def render(
        self,
        road: Road,
        t_s: float,
        camera: Camera,
        rotation_car_camera: Floats,
        position_mm: ArrayLike,
        sun: ArrayLike | None = None,
    ) -> NDArray[np.float32]:
        """Picture (h, w, 3) in linear light, exposed so that 1 is white, of a camera without its distortion.

        `sun` (3,) is the direction towards the sun in the car frame; None leaves it to the road's seed.
        """
        scene, air = road.scene(t_s), atmosphere(road.time_of_day, road.weather)
        eye = np.asarray(position_mm, dtype=float) / 1000
        matrix = camera.scaled(DRAWN_PX).matrix
        if sun is None:
            self._sun = sun_direction(air, 2 * np.pi * (road.seed * 0.618 % 1) - road.pose(t_s)[2])
        else:
            self._sun = unit(sun)
        self._light(road, t_s, air, matrix, rotation_car_camera, eye)
        context = self._context
        self._target.use()
        self._target.clear(depth=1.0)
        context.disable(moderngl.BLEND)
        context.disable(moderngl.CULL_FACE)
        context.enable(moderngl.DEPTH_TEST)
        context.depth_func = "<="
        self._draw_things(road, scene, rotation_car_camera, eye)
        self._write(self._ground_rows, self._ground, ground_strip(road, t_s))
        self._sky.render(vertices=3)
        context.enable(moderngl.BLEND)
        context.blend_func = moderngl.ONE, moderngl.ONE_MINUS_SRC_ALPHA
        self._target.depth_mask = False
        self._write(self._glow_rows, self._glows, shadows(scene, air, self._sun))
        self._draw_trees(scene, eye)
        if air.lamps_on:
            self._write(self._glow_rows, self._glows, glows(scene, air, eye))
        if air.wet:
            context.disable(moderngl.DEPTH_TEST)
            self._write(self._glow_rows, self._glows, drops(road.seed, t_s, matrix, rotation_car_camera, eye, DRAWN_PX))
        self._target.depth_mask = True
        context.disable(moderngl.BLEND)
        width, height = DRAWN_PX
        drawn = np.frombuffer(self._target.read(components=3, dtype="f4"), np.float32).reshape(height, width, 3)
        return np.asarray(cv2.resize(drawn, camera.size_px, interpolation=cv2.INTER_LINEAR), np.float32)

    def _light(self, road: Road, t_s: float, air: Atmosphere, matrix: Floats, rotation: Floats, eye: Floats) -> None:
        """Tell the shaders about camera, weather and road."""
        heading = road.pose(t_s)[2]
        here = road.pose(t_s)[3]
        seed = road.seed % 1000 / 1000
        profile, rng = road.profile, np.random.default_rng([road.seed, 7])
        verge = (0.11, 0.125, 0.09) if road.road_type == "urban" else _VERGES[rng.integers(len(_VERGES))]
        lines = np.zeros((_LINES, 4))
        for k, line in enumerate(profile.lines):
            lines[k] = line.u_m, line.width_m / 2, line.period_m, line.dash_m
        yellow = np.pad([float(line.yellow) for line in profile.lines], (0, _LINES - len(profile.lines)))
        near = [j for j in road.junctions if -30 < j.s_m - here < _JUNCTIONS_SEEN_M][:_JUNCTIONS]
        junctions = np.zeros((_JUNCTIONS, 2))
        for k, j in enumerate(near):
            junctions[k] = j.s_m, j.signal
        lane_gap = abs(np.diff(profile.own_lanes_m))[0] if len(profile.own_lanes_m) > 1 else 2 * profile.lane_m
        lamp_power = 1.1 if profile.lamp_spacing_m else 0.0
        common = dict[str, Any](
            u_clip_car=clip_from_car(matrix, rotation, eye, DRAWN_PX),
            u_car_picture=rotation @ np.linalg.inv(matrix) @ pixel_from_clip(DRAWN_PX),
            u_eye=eye,
            u_sun=self._sun,
            u_sun_rgb=air.sun_rgb,
            u_ambient_rgb=air.ambient_rgb,
            u_zenith_rgb=air.zenith_rgb,
            u_horizon_rgb=air.horizon_rgb,
            u_fog_m=float(air.fog_m),
            u_wet=float(air.wet),
            u_lamps_on=float(air.lamps_on),
            u_car_x=road.side * DRIVER_OFFSET_M,
            u_street=(profile.lamp_spacing_m, profile.asphalt_m - 0.3, _LAMP_HEIGHT_M, lamp_power),
            u_heading=heading,
            u_clouds=float(air.clouds),
            u_cloud_rgb=air.cloud_rgb,
            u_silhouette_rgb=0.75 * np.array(air.horizon_rgb) + 0.09 * np.array(air.ambient_rgb) * [0.3, 0.45, 0.3],
            u_town=float(road.road_type == "urban"),
            u_seed=seed,
            u_lines=lines,
            u_yellow=yellow,
            u_junctions=junctions,
            u_counts=(len(profile.lines), len(near)),
            u_across=(
                profile.median_m,
                profile.asphalt_m,
                profile.asphalt_m + profile.pavement_m,
                lane_gap,
            ),
            u_lane=profile.lane_m,
            u_verge_rgb=verge,
            u_asphalt_rgb=np.array([1, 1, 1.02]) * rng.uniform(0.085, 0.16),
        )
        for program in self._programs.values():
            give(program, **common)
        self._noise.use(0)
        self._cards.use(1)
        give(self._programs["tree"], u_cards=1)

    def _draw_things(self, road: Road, scene: Scene, rotation: Floats, eye: Floats) -> None:
        models = scene.things["model"]
        depth = (scene.centres_m - eye) @ rotation[:, 2]
        reach = np.linalg.norm(scene.things["size"], axis=1) / 2
        ahead = np.flatnonzero((depth > -reach) & ~np.isin(models, _TREE_INDICES))
        ahead = ahead[np.argsort(depth[ahead], kind="stable")]
        rows = instances(road, scene)
        # Nearest models first, so that what they hide is not shaded.
        for index in dict.fromkeys(models[ahead].tolist()):
            self._batches[MODEL_NAMES[index]].draw(rows[ahead[models[ahead] == index]])
        self._batches["bonnet"].draw(bonnet(road))

    def _draw_trees(self, scene: Scene, eye: Floats) -> None:
        models = scene.things["model"]
        picked = np.flatnonzero(np.isin(models, _TREE_INDICES) & (scene.base_m[:, 2] > 0.5))
        away = np.linalg.norm(scene.base_m[picked] - eye, axis=1)
        picked = picked[np.argsort(-away, kind="stable")]
        if not len(picked):
            return
        things = scene.things[picked]
        card = np.searchsorted(_TREE_INDICES, things["model"])
        rows = np.column_stack(
            [
                scene.base_m[picked],
                things["size"][:, :2],
                things["colour"],
                card,
                things["phase"] > 0.5,
                scene.s_m[picked],
                scene.u_m[picked],
            ]
        ).astype(np.float32)
        self._tree_rows.orphan(rows.nbytes)
        self._tree_rows.write(rows.tobytes())
        self._trees.render(instances=len(rows))

    @staticmethod
    def _write(buffer: moderngl.Buffer, array: moderngl.VertexArray, rows: NDArray[np.float32]) -> None:
        if len(rows):
            buffer.orphan(rows.nbytes)
            buffer.write(rows.tobytes())
            array.render(vertices=len(rows))


def pixel_from_clip(size_px: tuple[int, int]) -> Floats:
    """(3, 3) from clip-space (x, y, 1) to pixels; the buffer's first row is the picture's top."""
    width, height = size_px
    return np.array([[width / 2, 0, (width - 1) / 2], [0, height / 2, (height - 1) / 2], [0, 0, 1]])


def clip_from_car(matrix: Floats, rotation: Floats, eye: Floats, size_px: tuple[int, int]) -> Floats:
    """(4, 4) from the car frame in metres to clip space."""
    flat = np.linalg.inv(pixel_from_clip(size_px)) @ matrix @ rotation.T
    depth = rotation[:, 2] * (FAR_M + NEAR_M) / (FAR_M - NEAR_M)
    rows = np.zeros((4, 4))
    rows[[0, 1, 3], :3] = flat
    rows[2, :3] = depth
    rows[:, 3] = -rows[:, :3] @ eye
    rows[2, 3] -= 2 * FAR_M * NEAR_M / (FAR_M - NEAR_M)
    return rows


def ground_strip(road: Road, t_s: float) -> NDArray[np.float32]:
    """Triangles (n, 5) of the ground: position in the car frame, s, u. Bands along the road, and a plane below them."""
    here = road.pose(t_s)[3]
    s = here + np.concatenate([np.arange(-10, 60, 2.5), np.arange(60, 200, 5), np.arange(200, 601, 16.0)])
    across = np.array([-45.0, -18, 0, 18, 45])
    x, z, _ = road.course.place(s[:, None], road.side * across[None])
    points = road.to_car(t_s, x, z)
    grid = np.concatenate(
        [points, np.broadcast_to(s[:, None, None], (*x.shape, 1)), np.broadcast_to(across[:, None], (*x.shape, 1))],
        axis=2,
    )
    a, b, c, d = grid[:-1, :-1], grid[:-1, 1:], grid[1:, 1:], grid[1:, :-1]
    strip = np.stack([a, b, c, a, c, d], axis=2).reshape(-1, 5)
    wide = np.array([[-1, -0.02], [1, -0.02], [1, 1], [-1, -0.02], [1, 1], [-1, 1]]) * 2000.0
    x0, z0, heading, _ = road.pose(t_s)
    cosine, sine = np.cos(heading), np.sin(heading)
    world_z = z0 - sine * wide[:, 0] + cosine * wide[:, 1]
    world_x = x0 + cosine * wide[:, 0] + sine * wide[:, 1]
    # Far from any lane: the plane shows nothing but verge.
    plane = np.column_stack(
        [wide[:, 0], np.full(6, EYE_HEIGHT_M + 0.12), wide[:, 1], world_x % 4096, world_z % 4096 + 9000]
    )
    return np.concatenate([strip, plane]).astype(np.float32)


def instances(road: Road, scene: Scene) -> NDArray[np.float32]:
    """Rows (n, 16) of `_INSTANCE` for every thing."""
    things = scene.things
    models = things["model"]
    signal = np.where(
        models == _MODEL_INDEX["traffic light"], scene.lights(), np.where(models == _MODEL_INDEX["lamp post"], 3, -1)
    )
    stride = (
        _STRIDE_PER_M * scene.t_s * np.maximum(np.abs(things["pace"]), np.abs(things["cross"])) + 6 * things["phase"]
    )
    braking = float(np.clip(-2 * (road.ego.speed(scene.t_s + 1.5) - road.ego.speed(scene.t_s + 0.5)), 0, 1))
    standing = float(road.ego.speed(scene.t_s) < 0.3)
    brake = np.where(np.isfinite(things["lag"]), max(braking, standing), 0.0)
    sign = np.isin(models, [_MODEL_INDEX[name] for name in ("stop sign", "round sign", "panel")])
    return np.column_stack(
        [
            scene.base_m,
            scene.turn,
            things["size"],
            things["colour"],
            things["phase"],
            stride,
            signal,
            np.where(sign | scene.still, -1.0, brake),
            scene.s_m,
            scene.u_m,
        ]
    ).astype(np.float32)


def bonnet(road: Road) -> NDArray[np.float32]:
    """The own car's bonnet, as one instance."""
    rng = np.random.default_rng([road.seed, 11])
    width, height, length = nominal_size_m("bonnet")
    grey = rng.choice([0.02, 0.05, 0.2, 0.45])
    base = (road.side * DRIVER_OFFSET_M, EYE_HEIGHT_M, 0.95 + length / 2)
    height *= rng.uniform(1.0, 1.14)
    return np.array(
        [[*base, 0, width, height, length, grey, grey, grey * 1.05, 0, 0, -1, 0, road.pose(0)[3], _AWAY]], np.float32
    )


def quads(centres: Floats, right: Floats, up: Floats, shape: float, rgba: Floats) -> NDArray[np.float32]:
    """Vertices (6 n, 10) of quads for `road_glow`, from half-axes (n, 3)."""
    corner = _CORNERS[None]
    points = centres[:, None] + corner[..., :1] * right[:, None] + corner[..., 1:] * up[:, None]
    n = len(centres)
    shapes = np.broadcast_to(np.column_stack([_CORNERS, np.full(6, shape)]), (n, 6, 3))
    colours = np.broadcast_to(rgba[:, None], (n, 6, 4))
    return np.concatenate([points, shapes, colours], axis=2).reshape(-1, 10).astype(np.float32)


def shadows(scene: Scene, air: Atmosphere, sun: Floats) -> NDArray[np.float32]:
    """What things on the ground keep from it: a soft patch below each, stretched away from the sun."""
    names = [*VEHICLES, "person", "house", "block"]
    casts = np.isin(scene.things["model"], [_MODEL_INDEX[name] for name in names]) & (scene.things["lift"] == 0)
    casts &= (scene.base_m[:, 2] > -4) & (scene.base_m[:, 2] < 250)
    rows = np.flatnonzero(casts)
    size, turn = scene.things["size"][rows].astype(float), scene.turn[rows]
    zero = np.zeros(len(rows))
    lifted = np.array([0, -0.02, 0])
    right = np.stack([np.cos(turn), zero, -np.sin(turn)], axis=1)
    ahead = np.stack([np.sin(turn), zero, np.cos(turn)], axis=1)
    below = quads(
        scene.base_m[rows] + lifted,
        right * size[:, :1] * 0.62,
        ahead * size[:, 2:] * 0.56,
        _SHADOW,
        np.broadcast_to([0, 0, 0, 0.75], (len(rows), 4)),
    )
    strength = min(0.55, 0.6 * air.sun_rgb[1])
    if strength < 0.05:
        return below
    throw = np.array([-sun[0], 0, -sun[2]]) / max(-sun[1], 0.25)
    reach = size[:, 1:2] * 0.5 * throw
    along = (reach * ahead).sum(axis=1, keepdims=True)
    aside = (reach * right).sum(axis=1, keepdims=True)
    cast = quads(
        scene.base_m[rows] + reach + lifted,
        right * (size[:, :1] * 0.5 + np.abs(aside)),
        ahead * (size[:, 2:] * 0.5 + np.abs(along)),
        _SHADOW,
        np.broadcast_to([0, 0, 0, strength], (len(rows), 4)),
    )
    return np.concatenate([cast, below])


def lamps(scene: Scene) -> tuple[Floats, Floats, Floats]:
    """Lamps that shine at the camera: points (n, 3) in the car frame, colours (n, 3), radii of their glow in m."""
    points, colours, radii = [], [], []

    def add(rows: NDArray[np.int64], local: tuple[float, float, float], rgb: ArrayLike, radius: float) -> None:
        if len(rows):
            points.append(scene.from_things(rows, np.array([local]))[:, 0])
            colours.append(np.broadcast_to(np.asarray(rgb, dtype=float), (len(rows), 3)))
            radii.append(np.full(len(rows), radius))

    models, facing = scene.things["model"], np.cos(scene.turn)
    ahead = scene.base_m[:, 2] > 3
    for name in VEHICLES:
        moving = (models == _MODEL_INDEX[name]) & ahead & ~scene.still
        aside, up = _FRONT_LAMPS.get(name, _CAR_LAMPS)
        for sign in (-1, 1) if aside else (1,):
            add(np.flatnonzero(moving & (facing < 0.2)), (sign * aside, -up, 0.52), _HEADLAMP_RGB, 0.75)
            add(
                np.flatnonzero(moving & (facing > -0.2)),
                (sign * aside, -up - 0.08, -0.52),
                np.array(_TAIL_RGB) * 0.35,
                0.4,
            )
    add(
        np.flatnonzero((models == _MODEL_INDEX["lamp post"]) & ahead),
        (0.31, -0.97, 0),
        np.array(_STREET_RGB) * 0.8,
        1.0,
    )
    for state, up in enumerate((0.78, 0.5, 0.21)):
        rows = np.flatnonzero((models == _MODEL_INDEX["traffic light"]) & ahead & (scene.lights() == state))
        rows = rows[np.cos(scene.turn[rows]) > 0]
        add(rows, (0, -up, -0.55), _TRAFFIC_RGB[state] * 0.6, 0.5)
    if not points:
        return np.zeros((0, 3)), np.zeros((0, 3)), np.zeros(0)
    return np.concatenate(points), np.concatenate(colours), np.concatenate(radii)


def glows(scene: Scene, air: Atmosphere, eye: Floats) -> NDArray[np.float32]:
    """Haloes of lamps, and on a wet road their reflections."""
    points, colours, radii = lamps(scene)
    ray = points - eye
    away = np.linalg.norm(ray, axis=1)
    level = np.hypot(ray[:, 0], ray[:, 2])
    keep = level > 2
    points, colours, radii, ray, away, level = (v[keep] for v in (points, colours, radii, ray, away, level))
    zero = np.zeros(len(points))
    right = np.stack([ray[:, 2] / level, zero, -ray[:, 0] / level], axis=1)
    radius = (radii * (1 + 0.4 * air.wet) + 0.009 * away)[:, None]
    through = np.exp(-away / air.fog_m)[:, None] * air.lamps_on
    rgba = np.concatenate([colours * through * 1.6, zero[:, None]], axis=1)
    toward_eye = -ray / away[:, None] * 0.3
    halo = quads(points + toward_eye, right * radius, np.tile([0.0, 1.0, 0.0], (len(points), 1)) * radius, _GLOW, rgba)
    if not air.wet:
        return halo
    # The mirror point, drawn out towards the camera by the road's roughness.
    lamp_height, eye_height = EYE_HEIGHT_M - points[:, 1], EYE_HEIGHT_M - eye[1]
    share = eye_height / (eye_height + lamp_height)
    ground = ray * [1, 0, 1]
    foot = np.array([eye[0], EYE_HEIGHT_M - 0.03, eye[2]])
    low, high = share * 0.45, np.minimum(share * 1.5, 0.97)
    streak = quads(
        foot + ground * ((low + high) / 2)[:, None],
        right * (0.25 + 0.006 * away)[:, None],
        ground * ((high - low) / 2)[:, None],
        _GLOW,
        rgba * 0.5,
    )
    return np.concatenate([streak, halo])


def drops(
    seed: int, t_s: float, matrix: Floats, rotation: Floats, eye: Floats, size_px: tuple[int, int]
) -> NDArray[np.float32]:
    """Drops on the windscreen, wiped away every second or so, as quads 1 m ahead of the camera."""
    period = 1.3
    wipe = int(t_s / period)
    rng = np.random.default_rng([seed, wipe])
    count = 90
    pixels = rng.uniform([0, 0], size_px, (count, 2))
    fallen = rng.random(count) < t_s / period - wipe
    rays = np.column_stack([pixels, np.ones(count)])[fallen] @ np.linalg.inv(matrix).T @ rotation.T
    radius = (rng.gamma(2.0, 1.3, count) + 1.2)[fallen, None] / matrix[0, 0]
    opacity = np.zeros((len(rays), 4))
    opacity[:, 3] = 0.55
    return quads(eye + rays, rotation[:, 0] * radius, rotation[:, 1] * radius * 1.15, _DROP, opacity)
