import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dashgaze.geometry import Floats, facing_rotation, rays_from_angles, rotation_between, unit
from dashgaze.training.synth import eyes
from dashgaze.training.synth import renderer as drawing
from dashgaze.training.synth.records import LEFT, RIGHT, Eye, Lamp, Light, Mesh, Part, SkinMaps, Strands, Surface
from dashgaze.training.synth.renderer import Figure, Likeness, Renderer, Scene, View

SIZE_PX = (320, 180)
AHEAD = np.array([0.0, 0.0, 1.0])
WHITE = Surface((0.8, 0.6, 0.4), 0.5, 0.9, 0.02)
SKY = Light("overcast", "city", 0.0, 1.0, (0.0, -1.0, 0.0), (0.0, 0.0, 0.0))
NIGHT = Light(
    "infrared",
    "night",
    0.0,
    0.01,
    (0.0, -1.0, 0.0),
    (0.0, 0.0, 0.0),
    (Lamp((20.0, 0.0, 600.0), (1.0, 0.9, 0.8)),),
    True,
)
VIEW = View(
    np.array([[300.0, 0, 159.5], [0, 300.0, 89.5], [0, 0, 1]]), facing_rotation(0, 0, 0), np.array([0.0, 0.0, 600.0])
)


@pytest.fixture(scope="module")
def renderer(opengl: None) -> Iterator[Renderer]:
    with Renderer(SIZE_PX) as drawn:
        drawn.load("person", likeness())
        yield drawn


def ball(centre_mm: Floats, radius_mm: float, part: Part = Part.OBJECT, surface: Surface = WHITE) -> Mesh:
    polar, around = np.meshgrid(np.linspace(0, np.pi, 25), np.linspace(0, 2 * np.pi, 49), indexing="ij")
    normals = np.stack([np.sin(polar) * np.cos(around), np.cos(polar), np.sin(polar) * np.sin(around)], -1)
    normals = normals.reshape(-1, 3).astype(np.float32)
    first = (np.arange(24)[:, None] * 49 + np.arange(48)).reshape(-1, 1)
    triangles = np.concatenate([first + np.array(corners) for corners in ((0, 1, 49), (1, 50, 49))]).astype(np.int32)
    return Mesh((centre_mm + radius_mm * normals).astype(np.float32), triangles, normals, surface, part)


def panel(corners_mm: Floats, part: Part = Part.OBJECT, surface: Surface = WHITE) -> Mesh:
    """A rectangle from its four corners in order."""
    normal = unit(np.cross(corners_mm[1] - corners_mm[0], corners_mm[2] - corners_mm[0]))
    triangles = np.array([[0, 1, 2], [0, 2, 3]], np.int32)
    return Mesh(corners_mm.astype(np.float32), triangles, np.tile(normal, (4, 1)).astype(np.float32), surface, part)


def likeness(**parts: object) -> Likeness:
    """A head that is a ball with a few hairs."""
    head = ball(np.array([0.0, 0.0, -80.0]), 60.0)
    maps = SkinMaps(
        albedo=np.full((16, 16, 3), (0.5, 0.3, 0.2), np.float32),
        infrared=np.full((16, 16), 0.6, np.float32),
        height_mm=np.zeros((16, 16), np.float32),
        roughness=np.full((16, 16), 0.5, np.float32),
    )
    points = np.linspace([0, -140, -80], [0, -150, -80], 5)[None] + np.linspace(-40, 40, 30)[:, None, None] * [1, 0, 0]
    hair = Strands(
        points.astype(np.float32),
        np.full((30, 5), 1.0, np.float32),
        np.full((30, 3), 0.05, np.float32),
        np.full(30, 0.2, np.float32),
    )
    texture_at = np.full((len(head.vertices_mm), 2), 0.5, np.float32)
    return replace(Likeness(head.triangles, texture_at, {}, maps, (hair,)), **parts)  # type: ignore[arg-type]


def eye(centre_mm: Floats, axis: Floats, pupil_mm: float = 2.0) -> Eye:
    up = rotation_between([0.0, 0, 1], axis) @ np.array([0.0, -1, 0])
    return Eye(centre_mm, axis, axis, up, eyes.GLOBE_RADIUS_MM, 5.9, pupil_mm, (0.3, 0.3, 0.3), 0.4, 3)


def person(axis: Floats = AHEAD) -> Figure:
    head = ball(np.array([0.0, 0.0, -80.0]), 60.0)
    centres = np.array([[-31.0, 0, 0], [31.0, 0, 0]])
    pair = (eye(centres[LEFT], axis), eye(centres[RIGHT], axis))
    return Figure("person", head.vertices_mm, head.normals, pair, np.eye(3), np.zeros(3))


def pixels_of(points_mm: Floats, view: View = VIEW) -> Floats:
    in_camera = (np.atleast_2d(points_mm) - view.position_mm) @ view.rotation
    projected = cv2.projectPoints(in_camera, np.zeros(3), np.zeros(3), view.matrix, None)[0]
    return np.asarray(projected, dtype=float).reshape(-1, 2)


def test_without_egl_the_error_names_what_to_install() -> None:
    code = "from dashgaze.training.synth.renderer import Renderer; Renderer()"
    environment = {**os.environ, "__EGL_VENDOR_LIBRARY_DIRS": os.devnull}
    run = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert run.returncode
    assert "libegl1 libegl-mesa0 libgl1-mesa-dri" in run.stderr.splitlines()[-1]


def test_one_scene_gives_the_same_bytes_whatever_was_drawn_before(renderer: Renderer) -> None:
    sunny = replace(SKY, sun_direction=tuple(unit([0.3, -0.5, 0.8])), sun_rgb=(3.0, 3.0, 3.0))
    scene = Scene(VIEW, sunny, (person(),), (ball(np.array([90.0, 20, 0]), 30.0, Part.NOTHING),))
    first = renderer.render(scene)
    renderer.render(
        Scene(VIEW, replace(sunny, sun_direction=tuple(unit([0.301, -0.5, 0.8]))), scene.people, scene.meshes)
    )
    renderer.render(Scene(VIEW, NIGHT, (), ()))
    again = renderer.render(scene)
    assert first.radiance.tobytes() == again.radiance.tobytes()
    assert first.parts.tobytes() == again.parts.tobytes()


@settings(max_examples=25)
@given(st.floats(-200, 200), st.floats(-100, 100), st.floats(-300, 100))
def test_a_ball_is_drawn_where_the_camera_sees_it(renderer: Renderer, x: float, y: float, z: float) -> None:
    centre = np.array([x, y, z])
    expected = pixels_of(centre)[0]
    if not (30 < expected[0] < 290 and 30 < expected[1] < 150):
        return
    focus = (int(expected[0]) - 25, int(expected[1]) - 25, 50, 50)
    picture = renderer.render(Scene(VIEW, SKY, (), (ball(centre, 12.0),), focus))
    rows, columns = np.nonzero(picture.parts == Part.OBJECT)
    assert np.hypot(columns.mean() - expected[0], rows.mean() - expected[1]) < 0.5


def test_labels_in_focus_are_exact_to_the_pixel(renderer: Renderer) -> None:
    left, top, right, bottom = 99.5, 59.5, 180.5, 130.5
    edges = np.array([[left, top], [left, bottom], [right, bottom], [right, top]])
    rays = np.column_stack([edges, np.ones(4)]) @ np.linalg.inv(VIEW.matrix).T
    corners = VIEW.position_mm + 500 * rays @ VIEW.rotation.T
    picture = renderer.render(Scene(VIEW, SKY, (), (panel(corners, Part.COVER),), (60, 40, 200, 120)))
    expected = np.zeros(SIZE_PX[::-1], np.uint8)
    expected[60:131, 100:181] = Part.COVER
    assert (picture.parts == expected).all()


@pytest.mark.parametrize(("azimuth_deg", "elevation_deg"), [(0.0, 0.0), (22.0, -12.0)])
@pytest.mark.parametrize("light", [SKY, NIGHT])
def test_the_pupil_is_where_the_cornea_refracts_it_to(
    renderer: Renderer, light: Light, azimuth_deg: float, elevation_deg: float
) -> None:
    figure = person(rays_from_angles(azimuth_deg, elevation_deg))
    view = View(np.array([[6000.0, 0, 159.5], [0, 6000.0, 89.5], [0, 0, 1]]), VIEW.rotation, np.array([31.0, 0, 600.0]))

    def with_iris(albedo: float) -> Floats:
        left, right = (replace(each, iris_rgb=(albedo,) * 3, infrared_iris=albedo) for each in figure.eyes)
        scene = Scene(view, light, (replace(figure, eyes=(left, right)),), (), (0, 0, *SIZE_PX))
        return np.asarray(renderer.render(scene).radiance.mean(axis=2, dtype=float))

    # What a brighter iris adds is light from the iris alone, without reflections: none in the pupil.
    added = with_iris(0.6) - with_iris(0.3)
    centre = pixels_of(eyes.apparent_iris_centre(figure.eyes[RIGHT], view.position_mm), view)[0]
    x, y = np.meshgrid(np.arange(SIZE_PX[0]), np.arange(SIZE_PX[1]))
    iris_px = 5.9 * 6000 / 600
    near = np.hypot(x - centre[0], y - centre[1]) < 0.8 * iris_px
    pupil = near & (added < 0.15 * np.median(added[near]))
    assert pupil.sum() == pytest.approx(np.pi * (2.0 / 5.9 * iris_px * 1.13) ** 2, rel=0.2)  # the cornea magnifies
    assert np.hypot(x[pupil].mean() - centre[0], y[pupil].mean() - centre[1]) < 0.03 * iris_px


def test_eyes_skin_and_hair_carry_their_labels_and_passengers_theirs(renderer: Renderer) -> None:
    parts = renderer.render(Scene(VIEW, SKY, (person(),))).parts
    assert {Part.SKIN, Part.LEFT_EYE, Part.RIGHT_EYE, Part.HAIR} <= set(np.unique(parts).tolist())
    for side, label in ((LEFT, Part.LEFT_EYE), (RIGHT, Part.RIGHT_EYE)):
        x, y = np.round(pixels_of(person().eyes[side].centre_mm)[0]).astype(int)
        assert parts[y, x] == label
    renderer.load("rider", likeness(passenger=True))
    parts = renderer.render(Scene(VIEW, SKY, (replace(person(), key="rider"),))).parts
    renderer.forget("rider")
    assert set(np.unique(parts).tolist()) == {Part.NOTHING, Part.PASSENGER}


def test_infrared_pictures_are_grey(renderer: Renderer) -> None:
    radiance = renderer.render(Scene(VIEW, NIGHT, (person(),), (ball(np.array([90.0, 20, 0]), 30.0),))).radiance
    assert (radiance == radiance[..., :1]).all()
    assert radiance.max() > 0


@pytest.mark.parametrize("light", [SKY, NIGHT])
def test_broken_geometry_never_makes_broken_pixels(renderer: Renderer, light: Light) -> None:
    broken = ball(np.array([0.0, 0, 0]), 40.0)
    broken.normals[::3] = np.nan
    broken.normals[1::3] = 0
    flat = panel(np.zeros((4, 3)) + 1.0)
    figure = person()
    figure.normals[::2] = np.nan
    figure.vertices_mm[5] = np.nan
    radiance = renderer.render(Scene(VIEW, light, (figure,), (broken, flat))).radiance
    assert np.isfinite(radiance).all()
    assert radiance.min() >= 0


def test_a_lens_lets_labels_through_and_dark_glasses_do_not(renderer: Renderer) -> None:
    behind = ball(np.array([0.0, 0, 0]), 40.0)
    corners = np.array([[-60.0, -60, 100], [-60, 60, 100], [60, 60, 100], [60, -60, 100]])
    for opacity, label in ((0.1, Part.OBJECT), (0.9, Part.GLASSES)):
        lens = panel(corners, Part.GLASSES, replace(WHITE, opacity=opacity, roughness=0.05))
        picture = renderer.render(Scene(VIEW, SKY, (), (behind, lens), (0, 0, *SIZE_PX)))
        assert picture.parts[90, 160] == label
    bare = renderer.render(Scene(VIEW, SKY, (), (behind,), (0, 0, *SIZE_PX)))
    assert picture.radiance[90, 160].mean() < 0.5 * bare.radiance[90, 160].mean()


def test_the_sun_lights_what_faces_it_unless_something_is_in_its_way(renderer: Renderer) -> None:
    wall = panel(np.array([[-200.0, -200, -100], [-200, 200, -100], [200, 200, -100], [200, -200, -100]]), Part.NOTHING)
    wall = replace(wall, normals=np.tile(np.array([0, 0, 1], np.float32), (4, 1)))
    sun = replace(SKY, sun_direction=tuple(unit([1.0, 0.0, 1.0])), sun_rgb=(np.pi, np.pi, np.pi))
    blind = panel(np.array([[80.0, -60, -40], [80, 60, -40], [80, 60, 80], [80, -60, 80]]), Part.OBJECT)

    def middle(light: Light, *more: Mesh) -> Floats:
        picture = renderer.render(Scene(VIEW, light, (), (wall, *more), (0, 0, *SIZE_PX)))
        return np.asarray(picture.radiance[85:95, 155:165].mean(axis=(0, 1), dtype=float))

    lit, unlit, shaded = middle(sun), middle(SKY), middle(sun, blind)
    np.testing.assert_allclose(lit - unlit, np.array(WHITE.colour) * np.sqrt(0.5), rtol=0.1)
    assert (shaded < unlit + 0.1 * (lit - unlit)).all()


def test_a_roof_keeps_the_sky_out(renderer: Renderer) -> None:
    def surrounded(*gaps: float) -> float:
        """Brightness of a ball in a box whose walls are gone where `gaps` says."""
        box = [
            panel(400 * (np.array(corners) - 0.5) * 2, Part.NOTHING, replace(WHITE, colour=(0.1, 0.1, 0.1)))
            for axis in range(3)
            for end in (0, 1)
            if 2 * axis + end not in gaps
            for corners in [[np.insert(c, axis, end) for c in ([0, 0], [0, 1], [1, 1], [1, 0])]]
        ]
        ball_mesh = ball(np.zeros(3), 20.0)
        view = replace(VIEW, position_mm=np.array([0.0, 0, 300]))
        picture = renderer.render(Scene(view, SKY, (), (*box, ball_mesh), (0, 0, *SIZE_PX)))
        return float(picture.radiance[picture.parts == Part.OBJECT].mean())

    assert surrounded() < 0.1 * surrounded(2) < 0.1 * surrounded(2, 4, 5)


def test_people_must_be_loaded_and_bodies_must_fit(renderer: Renderer) -> None:
    with pytest.raises(KeyError, match="stranger"):
        renderer.render(Scene(VIEW, SKY, (replace(person(), key="stranger"),)))
    with pytest.raises(ValueError, match="vertices posed"):
        renderer.render(Scene(VIEW, SKY, (replace(person(), vertices_mm=np.zeros((3, 3), np.float32)),)))


@settings(max_examples=30)
@given(st.floats(-170, 170), st.floats(-80, 80), st.floats(-60, 60))
def test_turning_the_panorama_moves_what_is_seen_by_that_azimuth(azimuth: float, elevation: float, yaw: float) -> None:
    panorama = np.zeros((*drawing.SURROUNDINGS_PX[::-1], 3), np.float32)
    directions = drawing.equirectangular_directions(drawing.SURROUNDINGS_PX)
    panorama[..., 0] = np.exp(30 * (directions @ rays_from_angles(azimuth, elevation) - 1))
    light = drawing.turned(panorama, yaw)[..., 0]
    solid = np.sqrt(1 - directions[..., 1] ** 2)
    mean = unit(np.einsum("hw,hwc->c", light * solid, directions))
    assert mean @ rays_from_angles(azimuth + yaw, elevation) > 0.9995


@settings(max_examples=20)
@given(st.lists(st.floats(-1, 1), min_size=3, max_size=3).filter(lambda v: np.linalg.norm(v) > 0.1))
def test_even_light_is_even_on_every_surface(direction: list[float]) -> None:
    even = np.ones((*drawing.SURROUNDINGS_PX[::-1], 3), np.float32)
    light = drawing.daylight(replace(SKY, environment_gain=2.0), even, None, (0.0, 0.0, 0.0))
    up = unit([0.0, -1.0, 0.0])  # the chest darkens what is below
    irradiance = drawing.spherical_harmonics(up) @ light.irradiance
    np.testing.assert_allclose(irradiance, 2.0, rtol=0.05)
    everywhere = drawing.spherical_harmonics(unit(direction)) @ light.irradiance
    assert (everywhere < 2.2).all()


@settings(max_examples=40)
@given(st.floats(-1, 1), st.floats(-1, 1), st.floats(-1, 1))
def test_the_octahedron_keeps_every_direction(x: float, y: float, z: float) -> None:
    length = np.linalg.norm([x, y, z])
    if length < 0.1:
        return
    d = np.array([x, y, z]) / length
    picture = drawing.equirectangular_directions(drawing.SURROUNDINGS_PX).astype(np.float32)
    unfolded = drawing.octahedral(picture)[..., :3]
    # As the shader looks it up.
    q = d / np.abs(d).sum()
    sign = np.where(q[:2] < 0, -1.0, 1.0)
    at = (1 - np.abs(q[1::-1])) * sign if q[2] < 0 else q[:2]
    column, row = np.clip(((at * 0.5 + 0.5) * drawing.OCTAHEDRON_PX).astype(int), 0, drawing.OCTAHEDRON_PX - 1)
    assert unit(unfolded[row, column].astype(float)) @ d > np.cos(np.radians(3))


def test_lids_that_are_level_open_level() -> None:
    x = np.linspace(-14, 14, 12)
    upper = np.stack([x, np.full(12, -5.0), np.full(12, 9.0)], axis=1)
    margins = np.stack([upper, upper * (1, -1, 1)])
    opening, ends, (inner, outer) = drawing.lid_opening(margins, np.zeros(3), np.eye(3), LEFT)
    np.testing.assert_allclose(opening[:, 0], -opening[:, 1])
    assert ends[0] < 0 < ends[1]
    assert inner == ends[1]  # the left eye has its nose on its right
    assert outer == ends[0]
