"""The car stands where the zones are, is closed but for its windows, and mirrored in the other hand of drive."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dashgaze.geometry import Floats, angle_between_deg, unit
from dashgaze.training.synth.behaviour import STYLES, Behaviour, phone_position_mm
from dashgaze.training.synth.person import person_of
from dashgaze.training.synth.records import LEFT, RIGHT, CarPlan, Grip, Mesh, Moment, Part, Wrist
from dashgaze.training.synth.vehicle import REACH_MM, SHOULDERS_MM, Cabin, blend, plan_car, volume_mm3
from dashgaze.zones import HandOfDrive, Zone, ZoneMap

GRIPS: tuple[Grip, ...] = ("wheel", "lap", "phone", "console", "face", "ear")
STILL = Moment(
    t_s=0.0,
    zone=Zone.ROAD_AHEAD,
    gaze_target_mm=np.array([0.0, 0, 30_000]),
    saccade=False,
    fixation_id=0,
    head_angles_deg=(0.0, 0.0, 0.0),
    eye_mid_mm=np.zeros(3),
    lid_closure=(0.0, 0.0),
    blink_id=None,
    jaw_open=0.0,
    expression="neutral",
    expression_weights={},
    valence=0.0,
    state="attentive",
    grips=("wheel", "wheel"),
    grip_blend=(("wheel", 1.0), ("wheel", 1.0)),
    wheel_angle_deg=0.0,
    speed_mps=15.0,
)


def planned(seed: int, hand: HandOfDrive = "left", passengers: tuple[int, ...] = ()) -> CarPlan:
    return plan_car(np.random.default_rng(seed), hand, passengers)


def moment(left: Grip = "wheel", right: Grip = "wheel", wheel_deg: float = 0.0) -> Moment:
    return dataclasses.replace(
        STILL, grips=(left, right), grip_blend=((left, 1.0), (right, 1.0)), wheel_angle_deg=wheel_deg
    )


def wrist_for(
    cabin: Cabin, grip: Grip, side: int, wheel_deg: float, eyes_mm: tuple[float, float, float] = (0, 0, 0)
) -> Wrist:
    return cabin.wrists(grip, side, wheel_deg, eyes_mm, np.eye(3))


def chest() -> Floats:
    """Points (n, 3) of the surface of a trunk of mean size."""
    around, up = np.meshgrid(np.linspace(0, 2 * np.pi, 48), np.linspace(-np.pi / 2, np.pi / 2, 32))
    ball = np.stack([np.cos(up) * np.cos(around), np.sin(up), np.cos(up) * np.sin(around)], axis=-1).reshape(-1, 3)
    return np.asarray(np.sign(ball) * np.abs(ball) ** 0.8 * (190, 260, 125) + (0, 430, -110))


def moving(cabin: Cabin, at: Moment = STILL) -> tuple[Mesh, ...]:
    return cabin.moving(at, chest())


def hits(meshes: tuple[Mesh, ...], rays: Floats) -> Floats:
    """Distance (n) along rays (n, 3) from the driver's eyes to the nearest triangle; infinite where there is none."""
    # Moller and Trumbore 1997
    corners = np.concatenate([mesh.vertices_mm[mesh.triangles] for mesh in meshes])
    a, b, c = corners[:, 0], corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    across = np.cross(b, c)
    determinant = -rays @ across.T
    inverse = 1 / np.where(np.abs(determinant) < 1e-9, np.inf, determinant)
    t = -(a * across).sum(axis=1) * inverse
    u = rays @ np.cross(a, c).T * inverse
    v = -rays @ np.cross(a, b).T * inverse
    met = (u >= 0) & (v >= 0) & (u + v <= 1) & (t > 1)
    return np.asarray(np.where(met, t, np.inf).min(axis=1))


@pytest.mark.parametrize("hand", ["left", "right"])
@pytest.mark.parametrize(
    "zone", [Zone.MIRROR_REAR, Zone.MIRROR_LEFT, Zone.MIRROR_RIGHT, Zone.CLUSTER, Zone.CONSOLE], ids=str
)
def test_a_driver_who_looks_at_a_zone_looks_at_the_thing(zone: Zone, hand: HandOfDrive) -> None:
    zones = ZoneMap.for_vehicle(hand)
    index = zones.zones.index(zone)
    across, down = np.meshgrid(np.linspace(-0.8, 0.8, 5), np.linspace(-0.8, 0.8, 5))
    spread = np.stack([across.ravel(), down.ravel()], axis=1) * zones.half_sizes_mm[index]
    points = zones.centres_mm[index] + spread @ zones.axes[index, :2]
    # The near window and the road lie before a door mirror, never the car's own parts.
    gaps = [
        hits(Cabin(planned(seed, hand)).static, unit(points)) - np.linalg.norm(points, axis=1) for seed in range(10)
    ]
    assert (np.abs(gaps) < 40).mean() > 0.95


def test_the_car_has_few_triangles_and_unit_normals() -> None:
    meshes = Cabin(planned(3)).static
    assert sum(len(mesh.triangles) for mesh in meshes) <= 15_000
    for mesh in meshes:
        assert np.isfinite(mesh.vertices_mm).all()
        assert mesh.vertices_mm.dtype == np.float32
        assert mesh.triangles.min() >= 0
        assert mesh.triangles.max() < len(mesh.vertices_mm)
        np.testing.assert_allclose(np.linalg.norm(mesh.normals, axis=1), 1, atol=1e-5)


@pytest.mark.parametrize("hand", ["left", "right"])
def test_closed_meshes_have_their_triangles_counter_clockwise_from_outside(hand: HandOfDrive) -> None:
    for mesh in moving(Cabin(planned(4, hand)), moment("phone", "lap")):
        assert mesh.part is Part.OBJECT
        assert volume_mm3(mesh.vertices_mm, mesh.triangles) > 0
        # Normals follow the triangles.
        p = mesh.vertices_mm[mesh.triangles]
        face = np.cross(p[:, 1] - p[:, 0], p[:, 2] - p[:, 0])
        assert (np.einsum("ij,ij->i", face, mesh.normals[mesh.triangles[:, 0]]) > 0).mean() > 0.9


@pytest.mark.parametrize("hand", ["left", "right"])
def test_the_inside_of_the_car_faces_the_driver(hand: HandOfDrive) -> None:
    cabin = Cabin(planned(5, hand))
    lining = cabin.static[0]
    middle = 370 if hand == "left" else -370
    over = (np.abs(lining.vertices_mm[:, 0] - middle) < 300) & (np.abs(lining.vertices_mm[:, 2] + 300) < 400)
    assert (lining.normals[over][:, 1] > 0.5).all()  # down


def test_right_hand_drive_is_the_mirror_image() -> None:
    left, right = (
        Cabin(dataclasses.replace(planned(6, passengers=(1, 2)), hand_of_drive=h)) for h in ("left", "right")
    )
    shifted = dataclasses.replace(
        right.plan, seat_offset_mm=(-left.plan.seat_offset_mm[0], *left.plan.seat_offset_mm[1:])
    )
    right = Cabin(shifted)
    for a, b in zip(left.static, right.static, strict=True):
        np.testing.assert_allclose(b.vertices_mm, a.vertices_mm * (-1, 1, 1), atol=1e-3)
        np.testing.assert_allclose(b.normals, a.normals * (-1, 1, 1), atol=1e-4)
        np.testing.assert_array_equal(b.triangles, a.triangles[:, ::-1])
    for one, other in zip(left.seats, right.seats, strict=True):
        np.testing.assert_allclose(other.eye_mid_mm, one.eye_mid_mm * (-1, 1, 1))
        assert other.yaw_deg == -one.yaw_deg
    assert {tuple(q) for q in np.round(left.windows * (-1, 1, 1)).reshape(-1, 3).tolist()} == {
        tuple(q) for q in np.round(right.windows).reshape(-1, 3).tolist()
    }


def test_the_car_is_open_at_its_windows_and_closed_elsewhere() -> None:
    cabin = Cabin(planned(7))
    inside, rng = [], np.random.default_rng(0)
    for quad in cabin.windows:
        a, b = rng.uniform(0.2, 0.8, (2, 25, 1))
        top, low = quad[0] + a * (quad[3] - quad[0]), quad[1] + a * (quad[2] - quad[1])
        inside.append(unit(top + b * (low - top)))
    through = [np.isinf(hits(cabin.static, rays)).mean() for rays in inside]
    assert min(through[:3]) > 0.8  # windscreen and front doors; mirrors are in the way
    assert np.mean(through) > 0.6  # seats and pillars hide some of the others
    leaning = np.repeat([[0.0, 2.5, 0.0], [0.0, -6.0, 0.0]], [40, 20], axis=0)
    down_and_up = unit(rng.normal(size=(60, 3)) + leaning)
    assert np.isfinite(hits(cabin.static, down_and_up)).mean() > 0.97


def test_windows_are_counter_clockwise_from_inside() -> None:
    hands: tuple[tuple[HandOfDrive, float], ...] = ("left", 370.0), ("right", -370.0)
    for hand, middle in hands:
        for quad in Cabin(planned(8, hand)).windows:
            normal = np.cross(quad[1] - quad[0], quad[2] - quad[0])
            assert normal @ (np.array([middle, 0, -200]) - quad[0]) > 0


def test_the_wheel_turns_clockwise_for_the_driver() -> None:
    for hand in ("left", "right"):
        cabin = Cabin(planned(9, hand))
        straight, turned = (moving(cabin, moment(wheel_deg=angle))[0].vertices_mm for angle in (0.0, 20.0))
        top = straight[:, 1].argmin()
        assert turned[top, 0] > straight[top, 0] + 30
        centre = straight.mean(axis=0)
        np.testing.assert_allclose(
            np.linalg.norm(turned - centre, axis=1), np.linalg.norm(straight - centre, axis=1), atol=12
        )


def test_the_upper_edge_of_the_wheel_is_where_the_zones_have_it() -> None:
    rim = moving(Cabin(dataclasses.replace(planned(10), seat_offset_mm=(0.0, 0.0, 0.0))))[0].vertices_mm
    top = rim[rim[:, 1].argmin()]
    np.testing.assert_allclose(top, [0, 200, 450], atol=25)


@given(seed=st.integers(0, 50), wheel_deg=st.floats(-400, 400), side=st.sampled_from([LEFT, RIGHT]))
@settings(max_examples=40, deadline=None)
def test_hands_are_proper_frames_within_reach(seed: int, wheel_deg: float, side: int) -> None:
    cabin = Cabin(planned(seed, "right" if seed % 2 else "left"))
    for grip in GRIPS:
        wrist = wrist_for(cabin, grip, side, wheel_deg)
        np.testing.assert_allclose(wrist.rotation.T @ wrist.rotation, np.eye(3), atol=1e-9)
        assert np.linalg.det(wrist.rotation) == pytest.approx(1)
        assert 0 <= wrist.curl <= 1
        assert np.linalg.norm(wrist.position_mm - SHOULDERS_MM[side]) <= REACH_MM + 1e-6


def test_hands_on_the_wheel_are_at_its_rim_on_their_own_sides() -> None:
    for seed in range(6):
        cabin = Cabin(planned(seed))
        rim = moving(cabin)[0].vertices_mm
        for side, sign in ((LEFT, -1), (RIGHT, 1)):
            wrist = wrist_for(cabin, "wheel", side, 0.0)
            palm = wrist.position_mm + wrist.rotation @ [70, -14, 0]
            assert np.linalg.norm(rim - palm, axis=1).min() < 30
            assert sign * wrist.position_mm[0] > 60
            assert wrist.rotation[2, 0] > 0.2  # fingers forward


@pytest.mark.parametrize("hand", ["left", "right"])
def test_a_phone_stays_where_it_is_looked_at_and_faces_the_eyes(hand: HandOfDrive) -> None:
    cabin = Cabin(planned(11, hand))
    for side in (LEFT, RIGHT):
        holding = moment("phone", "wheel") if side == LEFT else moment("wheel", "phone")
        for eyes_mm in ([0.0, 0, 0], [40.0, 20, 60]):
            phone = moving(cabin, dataclasses.replace(holding, eye_mid_mm=np.array(eyes_mm)))[2]
            centre = phone.vertices_mm.mean(axis=0)
            np.testing.assert_allclose(centre, phone_position_mm(hand), atol=1)
        wrist = wrist_for(cabin, "phone", side, 0.0)
        assert angle_between_deg(-wrist.rotation[:, 1], -centre) < 1  # the palm's side is the screen's
    assert len(moving(cabin)) == 2


@pytest.mark.parametrize("hand", ["left", "right"])
def test_a_glance_at_the_phone_meets_the_phone_that_is_drawn(hand: HandOfDrive) -> None:
    for seed in range(3):
        cabin = Cabin(planned(seed, hand))
        steady = np.array([0.0, 20.0]), np.array([20.0, 20.0])
        behaviour = Behaviour(person_of(seed), hand, seed, steady, lambda _: (), 20.0, STYLES["distraction_demo"])
        moments = [behaviour.at(t_s) for t_s in np.arange(8.0, 16.0, 0.1).tolist()]
        glance = [m for m in moments if m.zone is Zone.PHONE_LAP and not m.saccade]
        assert len(glance) > 20
        for at in glance:
            phone = moving(cabin, at)[2].vertices_mm.mean(axis=0)
            assert np.linalg.norm(phone - at.gaze_target_mm) < 20


def test_face_and_ear_follow_the_head() -> None:
    cabin = Cabin(planned(12))
    grips: tuple[Grip, Grip] = ("face", "ear")
    for grip in grips:
        a, b = wrist_for(cabin, grip, LEFT, 0.0), wrist_for(cabin, grip, LEFT, 0.0, (40.0, 5.0, 30.0))
        np.testing.assert_allclose(b.position_mm - a.position_mm, [40, 5, 30], atol=1e-6)
        assert a.position_mm[0] < 0


@given(share=st.floats(0, 1))
@settings(max_examples=30, deadline=None)
def test_a_blend_starts_and_ends_at_its_grips(share: float) -> None:
    cabin = Cabin(planned(13))
    start, end = wrist_for(cabin, "wheel", RIGHT, 0.0), wrist_for(cabin, "ear", RIGHT, 0.0)
    for at, wrist in ((0.0, start), (1.0, end)):
        blended = blend(start, end, at)
        np.testing.assert_allclose(blended.position_mm, wrist.position_mm, atol=1e-6)
        np.testing.assert_allclose(blended.rotation, wrist.rotation, atol=1e-6)
    between = blend(start, end, share).rotation
    np.testing.assert_allclose(between.T @ between, np.eye(3), atol=1e-9)


def test_the_belt_lies_on_the_trunk() -> None:
    hands: tuple[tuple[HandOfDrive, int], ...] = ("left", -1), ("right", 1)
    for hand, sign in hands:
        belt = moving(Cabin(planned(14, hand)))[1].vertices_mm
        assert 3 < np.ptp(belt[:, 1]) / 100 < 7
        chest = belt[np.abs(belt[:, 1] - 330) < 40]
        assert (chest[:, 2] > -20).all()
        high, low = belt[belt[:, 1].argmin()], belt[belt[:, 1].argmax()]
        assert sign * high[0] > 200  # at the driver's own door
        assert sign * low[0] < -100


def test_a_car_depends_on_its_seed_alone() -> None:
    a, b, c = (Cabin(planned(seed)) for seed in (15, 15, 16))
    for one, same, other in zip(a.static, b.static, c.static, strict=True):
        np.testing.assert_array_equal(one.vertices_mm, same.vertices_mm)
        assert one.surface == same.surface
        assert one.vertices_mm.shape == other.vertices_mm.shape
    assert np.abs(a.static[0].vertices_mm - c.static[0].vertices_mm).max() > 1


def test_each_passenger_has_a_seat() -> None:
    seats = Cabin(planned(17, "left", (1, 2, 3, 4))).seats
    assert len(seats) == 4
    assert seats[0].eye_mid_mm[0] > 650
    assert all(seat.eye_mid_mm[2] < -700 for seat in seats[1:])
