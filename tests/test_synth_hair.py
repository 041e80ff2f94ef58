"""Hair: grows out of the scalp, stays outside the head, leaves the eyes free, is the same for the same person."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

pytest.importorskip("scipy")

from dashgaze.geometry import rotation_x, rotation_y
from dashgaze.training.synth import hair
from dashgaze.training.synth.accessories import HeadSurface
from dashgaze.training.synth.body import Body, Posture, mean_person
from dashgaze.training.synth.records import FacialHair, HairStyle, Person, Strands

STYLES: tuple[HairStyle, ...] = ("bald", "shaved", "short", "medium", "long", "tied")
ANCESTRIES = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))


@cache
def shape(male: float) -> Body:
    return Body(replace(mean_person(), male=male))


def someone(style: HairStyle, seed: int, male: float = 0.0) -> Person:
    african, asian, caucasian = ANCESTRIES[seed % 3]
    hairline = 0.9 if style == "bald" else 0.15
    return replace(
        mean_person(),
        seed=seed,
        male=male,
        african=african,
        asian=asian,
        caucasian=caucasian,
        hair_style=style,
        hairline=hairline,
    )


PEOPLE = [someone(style, 2, float(style in ("bald", "shaved"))) for style in STYLES]
PEOPLE += [someone("short", 3, 1.0), someone("long", 6)]


@cache
def grown(index: int) -> Strands:
    person = PEOPLE[index]
    strands = hair.strands(person, shape(person.male))
    assert strands is not None
    return strands


@pytest.mark.parametrize("index", range(len(PEOPLE)))
def test_strands_are_finite_in_budget_and_plausible(index: int) -> None:
    strands = grown(index)
    count, points, _ = strands.points_mm.shape
    assert 500 < count <= hair.MOST_RIBBONS
    assert 5 <= points <= 10
    for values in (strands.points_mm, strands.widths_mm, strands.colours, strands.infrared):
        assert values.dtype == np.float32
        assert np.isfinite(values).all()
        assert len(values) == count
    assert strands.widths_mm.min() > 0
    assert strands.widths_mm.max() < 5
    assert 0 < strands.colours.min() <= strands.colours.max() < 0.8
    assert 0.1 <= strands.infrared.min() <= strands.infrared.max() <= 0.8


@pytest.mark.parametrize("index", range(len(PEOPLE)))
def test_strands_stay_outside_the_head_and_out_of_the_eyes_way(index: int) -> None:
    strands, body = grown(index), shape(PEOPLE[index].male)
    height, _ = HeadSurface(body).above(strands.points_mm.reshape(-1, 3))
    assert (height < -2.0).mean() < 0.02
    for centre in body.eye_centres_mm:
        away = strands.points_mm - centre
        angle = np.degrees(np.arccos(away[..., 2] / np.linalg.norm(away, axis=-1)))
        assert angle.min() > hair.EYE_CONE_DEG - 4


def test_the_same_person_has_the_same_hair_and_another_does_not() -> None:
    index = STYLES.index("short")
    once, twice = grown(index), hair.strands(PEOPLE[index], shape(PEOPLE[index].male))
    other = hair.strands(replace(PEOPLE[index], seed=5), shape(PEOPLE[index].male))
    assert twice is not None
    assert other is not None
    np.testing.assert_array_equal(once.points_mm, twice.points_mm)
    np.testing.assert_array_equal(once.colours, twice.colours)
    assert once.points_mm.shape != other.points_mm.shape or not np.allclose(once.points_mm, other.points_mm)


def test_longer_styles_reach_further_down() -> None:
    lowest = [float(np.percentile(grown(STYLES.index(s)).points_mm[..., 1], 98)) for s in ("short", "medium", "long")]
    assert lowest == sorted(lowest)
    assert lowest[0] < 90 < lowest[2]


def test_a_receding_hairline_bares_the_forehead_and_leaves_the_nape() -> None:
    body = shape(1.0)
    low, high = (replace(someone("short", 2, 1.0), hairline=h) for h in (0.0, 0.7))
    before, after = (hair.depth_in_hairline_mm(p, body.neutral_mm) > 0 for p in (low, high))
    front = body.neutral_mm[:, 2] > -40
    nape = (body.neutral_mm[:, 2] < -120) & (body.neutral_mm[:, 1] > 0)
    assert (before & front).sum() > 1.3 * (after & front).sum()
    np.testing.assert_array_equal(before[nape], after[nape])


def test_grey_hair_is_lighter_and_infrared_light_evens_hair_out() -> None:
    body = shape(0.0)
    dark = hair.strands(replace(someone("short", 2), hair_rgb=(0.012, 0.009, 0.008)), body)
    grey = hair.strands(replace(someone("short", 2), hair_rgb=(0.012, 0.009, 0.008), grey=1.0), body)
    assert dark is not None
    assert grey is not None
    assert grey.colours.mean() > 10 * dark.colours.mean()
    assert grey.infrared.mean() < 4 * dark.infrared.mean()


def test_nobody_sees_hair_under_a_headscarf_and_little_under_a_cap() -> None:
    bare, person = grown(STYLES.index("short")), PEOPLE[STYLES.index("short")]
    assert hair.strands(replace(person, headwear="headscarf"), shape(0.0)) is None
    capped = hair.strands(replace(person, headwear="cap"), shape(0.0))
    assert capped is not None
    assert len(capped.points_mm) < 0.8 * len(bare.points_mm)
    assert capped.points_mm[..., 1].min() > bare.points_mm[..., 1].min() + 40


@pytest.mark.parametrize("kind", ["none", "stubble", "moustache", "goatee", "beard"])
def test_beards_grow_where_they_belong(kind: FacialHair) -> None:
    body = shape(1.0)
    person = replace(someone("short", 2, 1.0), facial_hair=kind, facial_hair_density=0.8)
    rooted = hair.beard(person, body)
    if kind in ("none", "stubble"):
        assert rooted is None
        return
    assert rooted is not None
    roots = rooted.strands.points_mm[:, 0]
    lips = body.rest_mm[body.masks["lips"] > 0.5]
    assert 100 < len(roots) <= hair.BEARD_RIBBONS
    assert roots[:, 1].min() > -15
    if kind == "moustache":
        assert roots[:, 1].max() < lips[:, 1].max()
    height, _ = HeadSurface(body).above(rooted.strands.points_mm.reshape(-1, 3))
    assert (height < -1.0).mean() < 0.03


def test_a_beard_follows_the_jaw() -> None:
    body = shape(1.0)
    rooted = hair.beard(replace(someone("short", 2, 1.0), facial_hair="beard", facial_hair_density=0.8), body)
    assert rooted is not None
    rotation = rotation_x(10)
    shut, wide = (body.pose(Posture(head_rotation=rotation, jaw_open=j)) for j in (0.0, 1.0))
    posed = [rooted.posed(p.skin.vertices_mm, rotation).points_mm for p in (shut, wide)]
    assert np.linalg.norm(posed[1] - posed[0], axis=-1).max() > 5
    rest = rooted.strands.points_mm
    np.testing.assert_allclose(
        np.linalg.norm(posed[0][:, -1] - posed[0][:, 0], axis=1),
        np.linalg.norm(rest[:, -1] - rest[:, 0], axis=1),
        rtol=1e-3,
    )


@pytest.mark.parametrize("closure", [0.0, 0.5, 1.0])
def test_lashes_start_on_the_margins_and_point_away_from_the_eye(closure: float) -> None:
    body, rotation = shape(0.0), rotation_y(25) @ rotation_x(-10)
    posed = body.pose(Posture(head_rotation=rotation, lid_closure=(closure, closure)))
    strands = hair.lashes(someone("short", 2), posed.lid_margins_mm, rotation)
    roots, tips = strands.points_mm[:, 0], strands.points_mm[:, -1]
    a, b = posed.lid_margins_mm[:, :, :-1].reshape(-1, 3), posed.lid_margins_mm[:, :, 1:].reshape(-1, 3)
    along = b - a
    share = ((roots[:, None] - a) * along).sum(-1) / np.maximum((along**2).sum(-1), 1e-12)
    nearest = a + np.clip(share, 0, 1)[..., None] * along
    assert np.linalg.norm(roots[:, None] - nearest, axis=-1).min(1).max() < 0.01
    eye = posed.eye_centres_mm[np.linalg.norm(roots[:, None] - posed.eye_centres_mm, axis=-1).argmin(1)]
    assert (np.linalg.norm(tips - eye, axis=1) > np.linalg.norm(roots - eye, axis=1)).all()
    length = np.linalg.norm(np.diff(strands.points_mm, axis=1), axis=2).sum(1)
    assert 2 < length.min() <= length.max() < 12


def test_mascara_makes_lashes_longer_and_darker() -> None:
    margins = shape(0.0).pose(Posture()).lid_margins_mm
    bare, painted = (hair.lashes(replace(someone("short", 2), make_up=m), margins, np.eye(3)) for m in (0.0, 1.0))
    assert painted.colours.mean() < bare.colours.mean()
    assert painted.widths_mm.mean() > bare.widths_mm.mean()
