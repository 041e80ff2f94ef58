"""Glasses, hats, scarves and masks: they fit, stay out of the face, and cover what they should."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

pytest.importorskip("scipy")

from dashgaze.training.synth import accessories
from dashgaze.training.synth.body import Body, mean_person
from dashgaze.training.synth.person import person_of
from dashgaze.training.synth.records import Eyewear, Headwear, Mesh, Part, Person

SEEDS = range(3)


def someone(seed: int, **traits: object) -> Person:
    return replace(person_of(seed), **{"eyewear_seed": seed, "headwear": "none", "face_mask": False, **traits})


@cache
def shape(seed: int) -> Body:
    return Body(person_of(seed))


@cache
def skin_of(seed: int) -> accessories.HeadSurface:
    return accessories.HeadSurface(shape(seed))


def edges_used_once(mesh: Mesh) -> int:
    edges = np.sort(np.concatenate([mesh.triangles[:, [i, (i + 1) % 3]] for i in range(3)]), axis=1)
    return int((np.unique(edges, axis=0, return_counts=True)[1] == 1).sum())


def assert_sound(mesh: Mesh, part: Part) -> None:
    assert mesh.part == part
    assert mesh.vertices_mm.dtype == np.float32
    assert np.isfinite(mesh.vertices_mm).all()
    assert 0 <= mesh.triangles.min() <= mesh.triangles.max() < len(mesh.vertices_mm)
    used = np.unique(mesh.triangles)
    np.testing.assert_allclose(np.linalg.norm(mesh.normals[used], axis=1), 1, atol=1e-3)
    if mesh.colours is not None:
        assert mesh.colours.shape == mesh.vertices_mm.shape
        assert (mesh.colours * mesh.surface.colour).max() <= 1


def test_who_wears_nothing_gets_no_meshes() -> None:
    person = someone(0, eyewear="none")
    assert accessories.eyewear(person, shape(0)) == []
    assert accessories.headwear(person, shape(0)) == []
    assert accessories.face_mask(person, shape(0)) == []


@pytest.mark.parametrize(("seed", "kind"), [(0, "clear"), (1, "tinted"), (2, "sunglasses")])
def test_lenses_stand_before_the_eyes_and_touch_no_skin(seed: int, kind: Eyewear) -> None:
    body = shape(seed)
    frame, left, right, *pads = accessories.eyewear(someone(seed, eyewear=kind), body)
    for mesh in (frame, left, right, *pads):
        assert_sound(mesh, Part.GLASSES)
    surface = skin_of(seed)
    for side, lens in ((0, left), (1, right)):
        eye = body.eye_centres_mm[side]
        off = np.linalg.norm(lens.vertices_mm[:, :2] - eye[:2], axis=1)
        before = lens.vertices_mm[off.argmin(), 2] - eye[2] - 12.0
        assert off.min() < 8
        assert 10 < before < 19
        assert surface.above(lens.vertices_mm)[0].min() > 0.3
        assert (lens.normals[:, 2] > 0.7).all()
        assert (np.ptp(lens.vertices_mm[:, :2], axis=0) > [40, 24]).all()
    front = frame.vertices_mm[frame.vertices_mm[:, 2] > 0]
    assert surface.above(front)[0].min() > -1.8


def test_glasses_are_symmetric_and_reach_both_ears() -> None:
    body = Body(mean_person())
    fit = accessories.Fit(body)
    for seed in SEEDS:
        frame, left, right, *_ = accessories.eyewear(someone(seed, eyewear="clear"), body)
        np.testing.assert_allclose(left.vertices_mm * [-1, 1, 1], right.vertices_mm, atol=1e-4)
        for ear in (0, 1):
            assert np.linalg.norm(frame.vertices_mm - fit.ear_root_mm[ear], axis=1).min() < 6


def test_lenses_of_each_kind_hold_back_their_share_of_light() -> None:
    ranges: dict[Eyewear, tuple[float, float]] = {
        "clear": (0.02, 0.1),
        "tinted": (0.3, 0.5),
        "sunglasses": (0.75, 0.93),
    }
    for kind, (least, most) in ranges.items():
        models = [accessories.frame_of(someone(seed, eyewear=kind)) for seed in range(40)]
        visible = [model.lens.opacity for model in models if model]
        infrared = [model.lens_infrared.opacity for model in models if model]
        assert least <= min(visible) <= max(visible) <= most
        assert np.median(infrared) < 0.4
        assert len({model.outline for model in models if model}) == len(accessories.OUTLINES)
    dark = accessories.eyewear(someone(1, eyewear="sunglasses"), shape(1), infrared=True)
    assert dark[1].surface.opacity < accessories.eyewear(someone(1, eyewear="sunglasses"), shape(1))[1].surface.opacity


@pytest.mark.parametrize("kind", ["cap", "beanie"])
@pytest.mark.parametrize("seed", SEEDS)
def test_hats_enclose_the_skull_and_leave_the_face(seed: int, kind: Headwear) -> None:
    body, person = shape(seed), someone(seed, headwear=kind)
    meshes = accessories.headwear(person, body)
    for mesh in meshes:
        assert_sound(mesh, Part.COVER)
    dome = meshes[0].vertices_mm
    crown = accessories.Fit(body).crown_mm
    assert dome[:, 1].min() < crown[1] - 2
    assert dome[dome[:, 2] > 0, 1].max() < -22 if (dome[:, 2] > 0).any() else True
    surface = skin_of(seed)
    height, _ = surface.above(dome)
    assert (height < 0).mean() < 0.02
    assert accessories.under_headwear(person, body, crown[None]).all()
    assert not accessories.under_headwear(person, body, body.eye_centres_mm).any()


@pytest.mark.parametrize("seed", SEEDS)
def test_a_headscarf_covers_ears_and_neck_and_leaves_eyes_nose_and_mouth(seed: int) -> None:
    body, person = shape(seed), someone(seed, headwear="headscarf")
    (scarf,) = accessories.headwear(person, body)
    assert_sound(scarf, Part.COVER)
    fit = accessories.Fit(body)
    assert hits(scarf, fit.ear_top_mm, np.array([[-1.0, 0, 0], [1.0, 0, 0]])).all()
    lips = body.rest_mm[body.masks["lips"] > 0.5].mean(0)
    bare = np.stack([*body.eye_centres_mm, fit.nose_tip_mm, lips])
    assert not hits(scarf, bare, np.tile([0.0, 0, 1], (4, 1))).any()
    assert accessories.under_headwear(person, body, fit.crown_mm[None]).all()


@pytest.mark.parametrize("seed", SEEDS)
def test_a_mask_covers_nose_mouth_and_chin_and_leaves_the_eyes(seed: int) -> None:
    body = shape(seed)
    mask, loops = accessories.face_mask(someone(seed, face_mask=True), body)
    for mesh in (mask, loops):
        assert_sound(mesh, Part.COVER)
    fit = accessories.Fit(body)
    lips = body.rest_mm[body.masks["lips"] > 0.5]
    covered = np.stack([fit.nose_tip_mm, lips.mean(0), lips[lips[:, 0].argmin()], lips[lips[:, 0].argmax()]])
    ahead = np.tile([0.0, 0, 1], (4, 1))
    assert hits(mask, covered - [0, 0, 3], ahead).all()
    assert not hits(mask, body.eye_centres_mm, ahead[:2]).any()
    assert mask.vertices_mm[:, 1].min() > 5
    assert mask.vertices_mm[:, 1].max() > fit.chin_mm[1] - 4
    for ear in (0, 1):
        assert np.linalg.norm(loops.vertices_mm - fit.ear_back_mm[ear], axis=1).min() < 12


def test_what_a_person_wears_is_always_the_same() -> None:
    person = someone(3, eyewear="sunglasses", headwear="cap", face_mask=True)
    for make in (accessories.eyewear, accessories.headwear, accessories.face_mask):
        for once, twice in zip(make(person, shape(3)), make(person, shape(3)), strict=True):
            np.testing.assert_array_equal(once.vertices_mm, twice.vertices_mm)
            assert once.surface == twice.surface


def test_bars_and_brims_are_closed() -> None:
    frame = accessories.eyewear(someone(2, eyewear="clear"), shape(2))[0]
    assert edges_used_once(frame) == 0


def hits(mesh: Mesh, origins: np.ndarray, directions: np.ndarray) -> np.ndarray:
    """Whether rays (n, 3) meet the mesh (Moeller and Trumbore 1997)."""
    a, b, c = (mesh.vertices_mm[mesh.triangles[:, k]].astype(float) for k in range(3))
    found = []
    for origin, direction in zip(origins.astype(float), directions, strict=True):
        p = np.cross(direction, c - a)
        scale = ((b - a) * p).sum(1)
        safe = np.where(np.abs(scale) > 1e-9, scale, np.inf)
        u = ((origin - a) * p).sum(1) / safe
        q = np.cross(origin - a, b - a)
        v = (direction * q).sum(1) / safe
        t = ((c - a) * q).sum(1) / safe
        found.append(bool(((u >= 0) & (v >= 0) & (u + v <= 1) & (t > 0)).any()))
    return np.array(found)
