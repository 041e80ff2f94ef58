"""Properties of the painted skin: where things are, what each trait changes, and what it leaves alone."""

import time
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from dashgaze.training.synth import body
from dashgaze.training.synth.records import Person, SkinMaps
from dashgaze.training.synth.skin import PLAIN_V, SIZE, chart, features, pigment, skin_maps, uv_of

Mask = NDArray[np.bool_]


@cache
def maps_of(**traits: Any) -> SkinMaps:
    return skin_maps(replace(WOMAN, **traits))


def near(place: tuple[float, float], reach: float) -> Mask:
    """Texels within so much of a landmark."""
    centres = (np.arange(SIZE) + 0.5) / SIZE
    return np.hypot(centres[None, :] - place[0], centres[:, None] - place[1]) < reach


def marked(name: str) -> NDArray[np.float32]:
    """Chart positions of what a mask of the assets marks on the outside of the face's right half."""
    neutral, mask = body.neutral_mm(), body.topology().masks[name]
    return uv_of(neutral[(mask > 0.6) & (neutral[:, 0] > 0) & (neutral[:, 2] > 0) & (neutral[:, 0] < 60)])


BLACK = (0.012, 0.009, 0.008)
WOMAN: Person = replace(body.mean_person(), male=0.0, melanin=0.15, hair_rgb=BLACK)
MAN = {"male": 1.0, "facial_hair_density": 0.9, "brow_density": 1.4}
MADE_UP = {"make_up": 1.0, "lip_rgb": (0.4, 0.03, 0.04)}
OLD = {"wrinkles": 1.0, "age_years": 75.0}
DARK = {"melanin": 1.0, "grey": 1.0, "freckles": 1.0, "moles": 30, "brow_height": 2.2}

FOREHEAD = near((0.5, 0.28), 0.03)
CHIN = near(chart.CHIN, 0.02)
ABOVE_LIP = near((0.5, 0.556), 0.006)
CHEEK = near(chart.CHEEK, 0.02)
LIPS = np.add(*features.lips())


def test_the_same_person_gives_the_same_maps_and_another_seed_others() -> None:
    first, again, other = maps_of(), skin_maps(WOMAN), skin_maps(replace(WOMAN, seed=5))
    for name in SkinMaps.__slots__:
        assert np.array_equal(getattr(first, name), getattr(again, name))
        assert not np.array_equal(getattr(first, name), getattr(other, name))


@pytest.mark.parametrize("traits", [{}, MADE_UP, OLD, DARK, MAN | {"facial_hair": "beard"}])
def test_maps_are_finite_and_in_range(traits: dict[str, Any]) -> None:
    maps = maps_of(**traits)
    assert maps.albedo.shape == (SIZE, SIZE, 3)
    for values in (maps.albedo, maps.infrared, maps.height_mm, maps.roughness):
        assert values.dtype == np.float32
        assert np.isfinite(values).all()
    for values in (maps.albedo, maps.infrared, maps.roughness):
        assert 0 < values.min() < values.max() < 1
    assert np.abs(maps.height_mm).max() < 4


@given(st.floats(0, 1.3), st.floats(0.005, 0.3), st.floats(-0.5, 1.5))
def test_more_melanin_is_darker_in_every_colour_and_in_infrared(tone: float, more: float, blood: float) -> None:
    melanin, level = np.array([[tone, tone + more]], np.float32), np.full((1, 2), blood, np.float32)
    visible, infrared = pigment.skin_colour(melanin, level)[0], pigment.skin_infrared(melanin, level)[0]
    assert (visible[1] < visible[0]).all()
    assert infrared[1] < infrared[0]
    assert infrared[1] / infrared[0] > visible[1].mean() / visible[0].mean()


@given(st.floats(0, 1), st.floats(-0.5, 1), st.floats(0.1, 0.5))
def test_skin_is_reddest_then_green_then_blue_and_blood_reddens_it(tone: float, blood: float, more: float) -> None:
    pair = pigment.skin_colour(np.full((1, 2), tone, np.float32), np.array([[blood, blood + more]], np.float32))[0]
    assert (np.diff(pair, axis=1) < 0).all()
    assert pair[1, 0] / pair[1, 1] > pair[0, 0] / pair[0, 1]


def test_a_dark_face_is_much_darker_than_a_pale_one_but_not_in_infrared() -> None:
    pale, dark = maps_of(), maps_of(**DARK)
    assert pale.albedo[CHEEK].mean() > 4 * dark.albedo[CHEEK].mean()
    assert pale.infrared[CHEEK].mean() < 1.5 * dark.infrared[CHEEK].mean()


def test_texture_coordinates_stay_in_range_even_far_from_the_head() -> None:
    points = np.random.default_rng(0).uniform(-1500, 1500, (5000, 3))
    uv = uv_of(np.vstack([points, body.neutral_mm()]))
    assert uv.dtype == np.float32
    assert uv.min() >= 0
    assert uv.max() <= 1


def test_the_front_of_the_chart_is_continuous_and_looks_like_a_picture_of_the_face() -> None:
    x, y = np.meshgrid(np.linspace(-70, 70, 141), np.linspace(-110, 110, 221))
    z = 20 - x**2 / 100
    uv = uv_of(np.stack([x, y, z], axis=-1).reshape(-1, 3)).reshape(*x.shape, 2)
    assert np.abs(np.diff(uv, axis=0)).max() < 0.006
    assert np.abs(np.diff(uv, axis=1)).max() < 0.006
    assert (np.diff(uv[..., 0], axis=1) < 0).all(), "the person's right is on the left"
    assert (np.diff(uv[..., 1], axis=0) > 0).all()
    sides = uv_of([[-200, 0, -chart.AXIS_MM], [200, 0, -chart.AXIS_MM]])
    assert sides[0, 0] - sides[1, 0] == pytest.approx(0.7, abs=1e-3), "share of the front half"


def test_hands_lie_on_plain_skin() -> None:
    hands = body.neutral_mm()[body.topology().masks["hands"] > 0.5]
    assert (uv_of(hands)[:, 1] >= PLAIN_V - 1e-6).all()


def test_landmarks_lie_where_the_body_has_lips_and_lids() -> None:
    lips = marked("lips")
    extremes = [lips[:, 0].min(), lips[:, 1].min(), lips[:, 1].max()]
    assert np.allclose(extremes, [chart.LIP_TOP[0][0], chart.LIP_TOP[-1][1], chart.LIP_BOTTOM[-1][1]], atol=0.008)
    column, row = (lips * SIZE).astype(int).T
    assert (LIPS[row, column] > 0.3).mean() > 0.85
    margin = np.vstack([chart.LID_UPPER, chart.LID_LOWER])
    apart = np.linalg.norm(marked("eyelids")[:, None] - margin[None], axis=2)
    assert apart.min(axis=1).max() < 0.016
    assert apart.min(axis=0).max() < 0.010
    assert np.allclose(uv_of([[31.5, 0.0, 12.0]])[0], chart.EYE, atol=0.008)


def test_lips_are_redder_than_the_skin_around_them_but_vanish_in_infrared() -> None:
    maps, around = maps_of(), near((0.5, 0.65), 0.015)
    inside = (LIPS > 0.95) & (maps.infrared > 0.5)  # without the shaded seam
    lip, skin = maps.albedo[inside].mean(axis=0), maps.albedo[around].mean(axis=0)
    assert lip[0] / lip[1] > 1.25 * skin[0] / skin[1]
    contrast = abs(np.log(maps.infrared[inside].mean() / maps.infrared[around].mean()))
    assert contrast < 0.25 * abs(np.log(lip[1] / skin[1]))


def test_the_colour_of_lipstick_changes_the_lips_alone() -> None:
    red, plum = maps_of(**MADE_UP).albedo, maps_of(**MADE_UP | {"lip_rgb": (0.2, 0.03, 0.2)}).albedo
    changed = np.abs(red - plum).max(axis=2) > 0.004
    assert changed.sum() > 2000
    assert LIPS[changed].min() > 0


def test_make_up_darkens_the_lash_lines_and_leaves_the_forehead() -> None:
    bare, made_up = maps_of().albedo, maps_of(**MADE_UP).albedo
    lash = features.lash_lines()[0] > 0.6
    assert made_up[lash].mean() < 0.8 * bare[lash].mean()
    assert made_up[FOREHEAD].mean() == pytest.approx(bare[FOREHEAD].mean(), rel=0.03)


def test_facial_hair_grows_where_its_kind_does_and_never_on_the_forehead() -> None:
    kinds = {kind: maps_of(facial_hair=kind, **MAN).albedo for kind in ("none", "moustache", "goatee", "beard")}
    chin = {kind: albedo[CHIN].mean() for kind, albedo in kinds.items()}
    jaw = {kind: albedo[near((0.33, 0.62), 0.015)].mean() for kind, albedo in kinds.items()}
    assert chin["beard"] < 0.6 * chin["none"]
    assert chin["goatee"] < 0.6 * chin["moustache"]
    assert jaw["beard"] < 0.6 * jaw["goatee"]
    assert kinds["moustache"][ABOVE_LIP].mean() < 0.6 * kinds["none"][ABOVE_LIP].mean()
    for albedo in kinds.values():
        assert np.array_equal(albedo[FOREHEAD], kinds["none"][FOREHEAD])


def test_a_shaved_man_has_a_faint_shadow_and_a_woman_none() -> None:
    man, woman = (
        maps.albedo[CHIN].mean() / maps.albedo[FOREHEAD].mean()
        for maps in (maps_of(facial_hair="none", **MAN), maps_of())
    )
    assert 0.7 * woman < man < 0.99 * woman


def test_black_brows_are_dark_and_paler_in_infrared() -> None:
    maps = maps_of(facial_hair="none", **MAN)
    brow = np.zeros((SIZE, SIZE), bool)
    for u, v in chart.curve(chart.BROW[:3], 20):
        brow |= near((float(u), float(v)), 0.004)
    visible = maps.albedo[brow].mean() / maps.albedo[FOREHEAD].mean()
    assert visible < 0.5
    assert visible < maps.infrared[brow].mean() / maps.infrared[FOREHEAD].mean() < 0.9


def test_wrinkles_carve_and_darken_the_forehead() -> None:
    young, old, lines = maps_of(), maps_of(**OLD), near((0.5, 0.265), 0.05)
    assert old.height_mm[lines].std() > 2 * young.height_mm[lines].std()
    spread = [np.ptp(np.percentile(maps.albedo[lines].mean(axis=1), [1, 50])) for maps in (young, old)]
    assert spread[1] > 1.5 * spread[0]


def test_hair_covers_the_scalp_down_to_the_hairline_and_a_receding_one_bares_the_temples() -> None:
    full = maps_of(facial_hair="none", **MAN).albedo.mean(axis=2)
    receding = maps_of(facial_hair="none", hairline=0.9, **MAN).albedo.mean(axis=2)
    temple = near((0.39, 0.14), 0.01)
    assert full[near((0.5, 0.08), 0.02)].mean() < 0.25 * full[FOREHEAD].mean()
    assert receding[temple].mean() > 1.5 * full[temple].mean()


def test_maps_are_painted_in_time() -> None:
    everything: dict[str, Any] = {"facial_hair": "beard", "freckles": 0.8, "moles": 9, **MADE_UP, **OLD, **MAN}
    start = time.process_time()
    skin_maps(replace(WOMAN, **everything))
    assert time.process_time() - start < 2
