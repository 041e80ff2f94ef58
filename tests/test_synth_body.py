"""Properties of the synthetic body: identities, lids that close over the globe, heads and hands in their places."""

from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from dashgaze.errors import DashgazeError
from dashgaze.geometry import angle_between_deg, rays_from_angles, rotation_x, rotation_y, rotation_z
from dashgaze.training.synth import assets
from dashgaze.training.synth.body import (
    Body,
    Posture,
    lid_map,
    mean_person,
    surface_mm,
    topology,
)
from dashgaze.training.synth.eyes import CORNEA_APEX_MM, GLOBE_RADIUS_MM
from dashgaze.training.synth.records import LEFT, RIGHT, Mesh, Person, Wrist

Floats = NDArray[np.float64]

WOMAN = replace(
    mean_person(),
    seed=1,
    male=0.0,
    age_years=28.0,
    african=0.0,
    asian=1.0,
    caucasian=0.0,
    ipd_mm=58.0,
    shape={"nose/nose-hump-incr": 0.4, "eyes/l-eye-height2-decr": 0.5, "eyes/r-eye-height2-decr": 0.5},
)
MAN = replace(
    mean_person(),
    seed=2,
    male=1.0,
    age_years=66.0,
    african=0.8,
    asian=0.0,
    caucasian=0.2,
    weight=0.8,
    ipd_mm=69.0,
    lid_opening_mm=(3.6, 4.8),
    shape={"chin/chin-width-incr": 0.5, "eyes/l-eye-bag-incr": 0.6, "eyes/r-eye-bag-incr": 0.6},
)
PEOPLE = (mean_person(), WOMAN, MAN)
each_person = pytest.mark.parametrize("who", range(len(PEOPLE)), ids=["mean", "woman", "man"])


@cache
def body_of(who: int) -> Body:
    return Body(PEOPLE[who])


def opening_mm(body: Body, elevation_deg: float, closure: float) -> Floats:
    """Greatest distance of the upper margin from the lower, of the left and the right eye."""
    both = (closure, closure)
    posed = body.pose(Posture(eye_elevation_deg=(elevation_deg, elevation_deg), lid_closure=both))
    share = np.linspace(0, 1, 8, endpoint=False)[:, None, None]
    gaps = []
    for upper, lower in posed.lid_margins_mm:
        curve = (lower[:-1] + share * np.diff(lower, axis=0)).reshape(-1, 3)
        gaps.append(np.linalg.norm(upper[:, None] - curve, axis=-1).min(axis=1).max())
    return np.array(gaps)


def test_same_person_has_the_same_body() -> None:
    one, two = Body(WOMAN), Body(WOMAN)
    assert np.array_equal(one.rest_mm, two.rest_mm)
    assert np.array_equal(one.pose(Posture()).clothes.vertices_mm, two.pose(Posture()).clothes.vertices_mm)


@each_person
def test_eyes_are_as_far_apart_as_the_person_says(who: int) -> None:
    left, right = body_of(who).eye_centres_mm
    assert np.linalg.norm(left - right) == pytest.approx(PEOPLE[who].ipd_mm, abs=0.1)
    assert left[0] < 0 < right[0]
    assert np.allclose(left + right, 0, atol=1e-9)


@each_person
def test_head_has_human_size(who: int) -> None:
    skin = body_of(who).rest_mm
    head = skin[body_of(who).neutral_mm[:, 1] < 60]
    face = head[(head[:, 2] > -45) & (np.abs(head[:, 1] - 25) < 25)]
    assert 120 < np.ptp(face[:, 0]) < 155
    chin = skin[(np.abs(skin[:, 0]) < 10) & (skin[:, 2] > -30) & (skin[:, 1] < 150)][:, 1].max()
    assert 195 < chin - skin[:, 1].min() < 265


@each_person
@pytest.mark.parametrize("elevation_deg", [-30.0, 0.0, 20.0])
def test_lids_close_without_a_step_back_until_they_touch(who: int, elevation_deg: float) -> None:
    openings = np.array([opening_mm(body_of(who), elevation_deg, c) for c in np.linspace(0, 1, 5)])
    assert (np.diff(openings, axis=0) < 0).all()
    assert (openings[-1] < 1.0).all()
    assert np.allclose(openings[:, LEFT], openings[:, RIGHT], rtol=0.15, atol=0.3)


@each_person
def test_lids_open_as_far_as_the_person_says(who: int) -> None:
    body = body_of(who)
    for eye in (LEFT, RIGHT):
        upper, lower = body.pose(Posture()).lid_margins_mm[eye] - body.eye_centres_mm[eye]
        wanted = PEOPLE[who].lid_opening_mm
        assert -upper[:, 1].min() == pytest.approx(wanted[0], abs=0.6)
        assert lower[:, 1].max() == pytest.approx(wanted[1], abs=0.6)


def test_the_lids_ride_over_the_cornea_that_is_drawn() -> None:
    ahead, aside = surface_mm(np.eye(3)[[2, 0]], np.eye(3)[2])
    assert (ahead, aside) == pytest.approx((CORNEA_APEX_MM, GLOBE_RADIUS_MM))


def test_lids_follow_the_eye_down_and_up() -> None:
    heights = [
        body_of(0).pose(Posture(eye_elevation_deg=(e, e))).lid_margins_mm[..., 1].mean(axis=-1) for e in (-25, 0, 20)
    ]
    assert (np.diff(heights, axis=0) < 0).all()  # y is down


@each_person
@pytest.mark.parametrize("closure", [0.0, 0.5, 1.0])
def test_lid_edges_touch_the_eye_and_never_enter_it(who: int, closure: float) -> None:
    body = body_of(who)
    for elevation_deg, azimuth_deg in ((0, 0), (-25, 20), (18, -25)):
        posed = body.pose(
            Posture(
                eye_elevation_deg=(elevation_deg, elevation_deg),
                eye_azimuth_deg=(azimuth_deg, azimuth_deg),
                lid_closure=(closure, closure),
            )
        )
        gaze = rays_from_angles(azimuth_deg, elevation_deg)
        for eye in (LEFT, RIGHT):
            edge = posed.skin.vertices_mm[lid_map(eye).contact] - posed.eye_centres_mm[eye]
            distance = np.linalg.norm(edge, axis=1)
            clear = distance - surface_mm(edge / distance[:, None], gaze)
            assert clear.min() > -0.05
            before = np.abs(edge[:, 0]) < 0.6 * GLOBE_RADIUS_MM
            assert clear[before].max() < (0.8 if closure == 0 else 3)  # lids thicken where they meet


@each_person
def test_eyes_and_head_are_exactly_where_the_posture_wants_them(who: int) -> None:
    body = body_of(who)
    rotation, middle = rotation_y(40) @ rotation_x(-18) @ rotation_z(7), np.array([35.0, -20.0, 60.0])
    posed = body.pose(Posture(head_rotation=rotation, eye_mid_mm=middle))
    assert np.allclose(posed.eye_centres_mm.mean(axis=0), middle, atol=1e-6)
    assert np.allclose(posed.eye_centres_mm, body.eye_centres_mm @ rotation.T + middle, atol=1e-6)
    face = (body.neutral_mm[:, 1] < 40) & (body.neutral_mm[:, 2] > -20)
    face[np.concatenate([lid_map(eye).skin for eye in (LEFT, RIGHT)])] = False
    shut = np.abs(posed.skin.vertices_mm[face] - (body.rest_mm[face] @ rotation.T + middle))
    assert np.percentile(shut, 95) < 0.5


@each_person
@pytest.mark.parametrize("side", [LEFT, RIGHT])
def test_wrists_reach_what_is_within_reach(who: int, side: int) -> None:
    body, outward = body_of(who), (-1 if side == LEFT else 1)
    target = Wrist.pointing([outward * 185.0, 412.0, 249.0], [0.0, -0.3, 1.0], [outward, 0.0, -0.1], 0.9)
    hands = (target, None) if side == LEFT else (None, target)
    posture = Posture(hands=hands)
    bone = body._place(posture)[f"wrist.{'LR'[side]}"]
    assert np.allclose(bone.apply(body._joints[f"wrist.{'LR'[side]}"]), target.position_mm, atol=0.5)
    hand = body._hands[side]
    for axis in range(3):
        assert angle_between_deg(bone.rotation @ hand.frame[:, axis], target.rotation[:, axis]) < 0.1


def test_hand_curls_towards_its_palm() -> None:
    body = body_of(0)
    depths = []
    for curl in (0.0, 0.5, 1.0):
        posture = Posture(hands=(None, Wrist.pointing([160.0, 364.0, 245.0], [0, 0, 1], [0, -1, 0], curl)))
        bones = body._place(posture)
        tip = body._joints["finger3-3.R"]
        depths.append(float(bones["finger3-3.R"].apply(tip)[2] - bones["wrist.R"].apply(body._joints["wrist.R"])[2]))
    assert depths[0] > depths[1] > depths[2]


def test_out_of_reach_leaves_a_stretched_arm() -> None:
    far = Wrist.pointing([300.0, 0.0, 5000.0], [0, 0, 1], [0, -1, 0], 0.3)
    posed = body_of(0).pose(Posture(hands=(None, far)))
    assert np.isfinite(posed.skin.vertices_mm).all()
    assert posed.skin.vertices_mm[:, 2].max() < 1000


@each_person
def test_meshes_are_sound(who: int) -> None:
    yawn = Posture(jaw_open=1.0, lid_closure=(0.6, 0.6), expression={"mouthSmileLeft": 0.5, "browInnerUp": 0.7})
    posed = body_of(who).pose(yawn)
    for mesh in (posed.skin, posed.clothes, posed.teeth):
        assert_sound(mesh)
    assert len(posed.skin.vertices_mm) == len(body_of(who).neutral_mm) < 30_000
    for name, mask in body_of(who).masks.items():
        assert mask.shape == (len(body_of(who).neutral_mm),), name
        assert -1e-5 <= mask.min() <= mask.max() <= 1 + 1e-5, name


def assert_sound(mesh: Mesh) -> None:
    assert np.isfinite(mesh.vertices_mm).all()
    assert mesh.vertices_mm.dtype == mesh.normals.dtype == np.float32
    assert mesh.triangles.dtype == np.int32
    assert 0 <= mesh.triangles.min() <= mesh.triangles.max() < len(mesh.vertices_mm)
    assert np.allclose(np.linalg.norm(mesh.normals, axis=1), 1, atol=1e-3)
    assert mesh.colours is None or len(mesh.colours) == len(mesh.vertices_mm)


def test_skin_faces_outward() -> None:
    rest = body_of(0).pose(Posture()).skin
    nose = int(np.argmax(np.where(np.abs(rest.vertices_mm[:, 0]) < 8, rest.vertices_mm[:, 2], -1e9)))
    crown = int(np.argmin(rest.vertices_mm[:, 1]))
    assert rest.normals[nose, 2] > 0.5
    assert rest.normals[crown, 1] < -0.5


def test_jaw_opens_the_mouth_only() -> None:
    shut, wide = (body_of(0).pose(Posture(jaw_open=jaw)).skin.vertices_mm for jaw in (0.0, 1.0))
    moved = np.linalg.norm(wide - shut, axis=1)
    above = body_of(0).neutral_mm[:, 1] < 15
    assert moved.max() > 25
    assert moved[above].max() < 3


@pytest.mark.parametrize(
    ("target", "low_mm", "high_mm"),
    [("nose/nose-hump-incr", -25, 70), ("chin/chin-width-incr", 20, 190), ("ears/l-ear-scale-incr", -70, 110)],
)
def test_shape_targets_change_their_own_region(target: str, low_mm: float, high_mm: float) -> None:
    plain = mean_person()
    changed = Body(replace(plain, shape={target: 1.0})).rest_mm
    moved = np.linalg.norm(changed - Body(plain).rest_mm, axis=1) > 0.3
    height = Body(plain).neutral_mm[moved][:, 1]
    assert moved.any()
    assert low_mm < height.min() <= height.max() < high_mm


def test_unknown_shape_is_refused() -> None:
    with pytest.raises(KeyError, match="no-such"):
        Body(replace(mean_person(), shape={"nose/no-such": 1.0}))


def test_skinning_weights_add_up() -> None:
    assert np.allclose(np.asarray(topology().weights.sum(axis=1)), 1, atol=1e-3)


def test_eye_units_do_not_move_the_eyeballs() -> None:
    body = assets.load()
    points = [body.point(f"{kind}:{side}") for kind in ("eye", "front") for side in ("left", "right")]
    for name, target in body.targets.items():
        if name.startswith("units/eyeLook"):
            assert not np.isin(points, target.rows).any()


@pytest.mark.parametrize("name", assets.PANORAMAS)
def test_panoramas_hold_light(name: str) -> None:
    picture = assets.panorama(name)
    assert picture.shape == (256, 512, 3)
    assert picture.dtype == np.float32
    assert picture.min() >= 0
    assert picture.mean() == pytest.approx(1, rel=0.02)


def test_unknown_panorama_names_the_known_ones() -> None:
    with pytest.raises(DashgazeError, match="city, courtyard"):
        assets.panorama("desert")


@pytest.mark.parametrize("damage", ["missing", "empty", "cut", "flipped", "foreign"])
def test_damaged_assets_are_named(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "body.npz"
    data = bytearray((assets.FOLDER / "body.npz").read_bytes())
    if damage == "flipped":
        middle = len(data) // 2
        data[middle : middle + 64] = bytes(64)
    if damage == "foreign":
        with path.open("wb") as file:
            np.savez(file, other=np.zeros(3))
    elif damage != "missing":
        path.write_bytes(bytes(data[: {"empty": 0, "cut": len(data) // 2, "flipped": len(data)}[damage]]))
    with pytest.raises(DashgazeError, match=r"body\.npz.*build_assets"):
        assets.load(path)


def test_person_record_is_the_contract() -> None:
    assert isinstance(mean_person(), Person)
