"""Drivers of the synthetic cabin: eyes, head, lids and hands move as published, glances divide as asked."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from dashgaze.device.attention import AttentionPolicy
from dashgaze.device.records import Sight
from dashgaze.geometry import Floats, angle_between_deg, angles_from_rays, unit
from dashgaze.tables import Status
from dashgaze.training.synth.behaviour import (
    STYLES,
    Behaviour,
    Fixation,
    RoadType,
    Traffic,
    phone_position_mm,
    speed_profile,
)
from dashgaze.training.synth.behaviour.motion import RATE_HZ, rotations
from dashgaze.training.synth.person import person_of
from dashgaze.zones import MIRROR_ZONES, ROAD_ZONES, HandOfDrive, Zone, ZoneMap

Things = Sequence[tuple[int, NDArray[np.float64]]]


def nothing(t_s: float) -> Things:
    return ()


def drive(
    style: str = "ordinary", seed: int = 0, duration_s: float = 40.0, hand: HandOfDrive = "left", mps: float = 15.0
) -> Behaviour:
    steady = np.array([0.0, duration_s]), np.array([mps, mps])
    return Behaviour(person_of(seed), hand, seed, steady, nothing, duration_s, STYLES[style])


@dataclass(frozen=True)
class Gaze:
    """The movement of one drive."""

    behaviour: Behaviour
    rays: Floats
    """(n, 3)"""
    head: Floats
    """(n, 3, 3)"""

    @property
    def eyes_deg(self) -> tuple[Floats, Floats]:
        """Azimuth and elevation of gaze in the head."""
        return angles_from_rays(np.einsum("nji,nj->ni", self.head, self.rays))

    @property
    def head_speed(self) -> Floats:
        return angle_between_deg(self.head[1:, :, 2], self.head[:-1, :, 2]) * RATE_HZ

    def flights(self) -> list[tuple[slice, float]]:
        """The gaze shifts, from the last sample of one fixation to the first of the next, and their size."""
        saccade = self.behaviour.course.saccade
        edges = np.flatnonzero(np.diff(np.concatenate([[False], saccade, [False]]).astype(int))).reshape(-1, 2)
        slices = [slice(start - 1, end + 1) for start, end in edges.tolist() if start > 0 and end < len(saccade)]
        return [(part, float(angle_between_deg(self.rays[part][0], self.rays[part][-1]))) for part in slices]

    def during(self, fixation: Fixation) -> slice:
        return slice(round(fixation.start_s * RATE_HZ), round((fixation.start_s + fixation.duration_s) * RATE_HZ))


def gaze_of(behaviour: Behaviour) -> Gaze:
    course = behaviour.course
    return Gaze(behaviour, unit(course.gaze_mm - course.eye_mid_mm), rotations(course.head_deg))


@pytest.fixture(scope="module")
def ordinary() -> list[Gaze]:
    return [gaze_of(drive(seed=seed)) for seed in range(6)]


def test_saccades_follow_the_main_sequence(ordinary: list[Gaze]) -> None:
    # Bahill et al. 1975, Collewijn et al. 1988: 2.2 ms/deg + 21 ms; peak velocity up to some 700 deg/s.
    found = []
    for each in ordinary:
        for flight, size_deg in each.flights():
            if 3.0 < size_deg < 30.0:
                speed = angle_between_deg(each.rays[flight][1:], each.rays[flight][:-1]) * RATE_HZ
                found.append((size_deg, (flight.stop - flight.start - 1) / RATE_HZ, speed.max()))
    size, duration, peak = np.array(found).T
    assert len(size) > 100
    slope, base = np.polyfit(size, duration, 1)
    assert slope == pytest.approx(0.0022, abs=0.0006)
    assert base == pytest.approx(0.021, abs=0.008)
    assert np.median(np.abs(peak / (700 * (1 - np.exp(-size / 12.0))) - 1)) < 0.2
    assert peak.max() < 800


def test_gaze_stays_on_its_point_while_the_head_still_moves(ordinary: list[Gaze]) -> None:
    tested = 0
    for each in ordinary:
        for fixation in each.behaviour.fixations:
            part = each.during(fixation)
            turned_deg = angle_between_deg(each.head[part][0, :, 2], each.head[part][-1, :, 2])
            if turned_deg > 4.0 and fixation.zone not in MIRROR_ZONES:  # there the eyes look past the glass
                course = each.behaviour.course
                targets = course.gaze_mm[part] - course.eye_mid_mm[part.start]
                off_deg = angle_between_deg(targets, targets.mean(axis=0))
                assert off_deg.max() < 0.6  # microsaccades
                assert np.sqrt(np.mean(off_deg**2)) < 0.3
                tested += 1
    assert tested > 20


def test_the_head_lags_the_eyes_and_is_slower(ordinary: list[Gaze]) -> None:
    lags, speeds = [], []
    for each in ordinary:
        head_speed = each.head_speed
        for flight, size_deg in each.flights():
            after = head_speed[flight.start : flight.start + int(0.5 * RATE_HZ)]
            still = head_speed[max(flight.start - 20, 0) : flight.start + 2].max() < 5
            if size_deg > 35 and after.max() > 50 and still:
                lags.append(np.argmax(after > 0.1 * after.max()) / RATE_HZ)
                speeds.append(after.max())
    assert len(lags) > 10
    assert 0.03 < np.median(lags) < 0.12
    assert np.max(speeds) < 350


def test_eyes_stay_within_their_range_and_the_head_helps_with_far_targets(ordinary: list[Gaze]) -> None:
    yaws: dict[Zone, list[float]] = {zone: [] for zone in Zone}
    for each in ordinary:
        azimuth, elevation = each.eyes_deg
        assert np.abs(azimuth).max() <= 40.5
        assert elevation.min() > -37.0
        assert elevation.max() < 29.0
        for fixation in each.behaviour.fixations:
            yaws[fixation.zone].append(abs(each.behaviour.course.head_deg[each.during(fixation)][-1, 0]))
    assert np.median(yaws[Zone.ROAD_AHEAD]) < 6
    assert 4 < np.median(yaws[Zone.MIRROR_LEFT]) < 30
    assert np.median(yaws[Zone.PASSENGER]) > 20


def test_the_neck_moves_the_eyes(ordinary: list[Gaze]) -> None:
    yaw = np.concatenate([each.behaviour.course.head_deg[:, 0] for each in ordinary])
    right_mm = np.concatenate([each.behaviour.course.eye_mid_mm[:, 0] for each in ordinary])
    assert np.polyfit(np.sin(np.radians(yaw)), right_mm, 1)[0] == pytest.approx(90.0, abs=15.0)


def test_nothing_jumps(ordinary: list[Gaze]) -> None:
    for each in ordinary:
        course = each.behaviour.course
        assert np.abs(np.diff(course.head_deg, axis=0)).max() * RATE_HZ < 400
        assert np.abs(np.diff(course.eye_mid_mm, axis=0)).max() * RATE_HZ < 800
    moments = [ordinary[0].behaviour.at(t_s) for t_s in np.arange(0.0, 20.0, 0.01).tolist()]
    assert np.abs(np.diff([m.lid_closure for m in moments], axis=0)).max() < 0.8
    assert np.abs(np.diff([m.jaw_open for m in moments])).max() < 0.1
    assert np.abs(np.diff([m.wheel_angle_deg for m in moments])).max() < 1.0


@pytest.mark.parametrize(("style", "share"), [("attentive", 0.80), ("ordinary", 0.58)])
def test_the_road_gets_its_share(style: str, share: float) -> None:
    fixations = [fixation for seed in range(4) for fixation in drive(style, seed, 90.0).fixations]
    on_road_s = sum(fixation.duration_s for fixation in fixations if fixation.zone in ROAD_ZONES)
    assert on_road_s / sum(fixation.duration_s for fixation in fixations) == pytest.approx(share, abs=0.08)


@pytest.mark.slow
@pytest.mark.parametrize("style", ["attentive", "ordinary"])
def test_glances_off_the_road_divide_as_the_style_says(style: str) -> None:
    glances: Counter[Zone] = Counter()
    for seed in range(8):
        zones = [fixation.zone for fixation in drive(style, seed, 300.0).fixations]
        glances.update(zone for before, zone in pairwise(zones) if zone is not before and zone not in ROAD_ZONES)
    for zone, expected in STYLES[style].glances.items():  # episodes add to phone, console and passenger
        assert glances[zone] / glances.total() == pytest.approx(expected, abs=0.07)


def test_half_a_minute_of_ordinary_driving_visits_most_zones() -> None:
    behaviours = [drive(seed=seed, duration_s=30.0) for seed in range(8)]
    visited = [len({behaviour.at(float(t_s)).zone for t_s in range(30)}) for behaviour in behaviours]
    assert np.median(visited) >= 8
    assert min(visited) >= 5


@pytest.mark.parametrize("hand", ["left", "right"])
def test_gaze_meets_the_zone_it_is_meant_for(hand: HandOfDrive) -> None:
    zones = ZoneMap.for_vehicle(hand)
    agree = []
    for seed in range(3):
        gaze = gaze_of(drive(seed=seed, hand=hand))
        for fixation in gaze.behaviour.fixations:
            middle = (gaze.during(fixation).start + gaze.during(fixation).stop) // 2
            agree.append(zones.zone_of(gaze.behaviour.course.eye_mid_mm[middle], gaze.rays[middle]) == fixation.zone)
    assert np.mean(agree) > 0.97


def test_right_hand_drive_is_the_mirror_image() -> None:
    hands: tuple[tuple[HandOfDrive, int], ...] = ("left", 1), ("right", -1)
    for hand, sign in hands:
        gaze = gaze_of(drive(seed=2, hand=hand))
        fixations = [fixation for fixation in gaze.behaviour.fixations if fixation.zone is Zone.CONSOLE]
        assert fixations
        for fixation in fixations:
            assert sign * gaze.behaviour.course.gaze_mm[gaze.during(fixation), 0].mean() > 150
        assert sign * phone_position_mm(hand)[0] > 0


def test_fixations_and_glances_last_as_published() -> None:
    durations, glances = [], []
    for seed in range(6):
        start_s = None
        for fixation in drive("attentive", seed).fixations:
            durations.append(fixation.duration_s)
            off = fixation.zone not in ROAD_ZONES
            if off and start_s is None:
                start_s = fixation.start_s
            elif not off and start_s is not None:
                glances.append(fixation.start_s - start_s)
                start_s = None
    assert 0.25 < np.median(durations) < 0.45
    assert np.mean((np.array(durations) > 0.15) & (np.array(durations) < 0.65)) > 0.8
    assert 0.6 < np.mean(glances) < 1.3
    assert np.max(glances) < 2.3


def test_gaze_spreads_less_the_faster_the_car() -> None:
    def spread_deg(mps: float) -> float:
        azimuths = []
        for seed in range(4):
            gaze = gaze_of(drive("attentive", seed, mps=mps))
            ahead = [fixation for fixation in gaze.behaviour.fixations if fixation.zone is Zone.ROAD_AHEAD]
            azimuths += [angles_from_rays(gaze.rays[gaze.during(fixation).start])[0] for fixation in ahead]
        return float(np.std(azimuths))

    assert spread_deg(0.0) > 1.4 * spread_deg(33.0)


def test_gaze_follows_a_thing_that_moves() -> None:
    def walkers(t_s: float) -> Things:
        return [(k, np.array([(k - 5) * 900 + 300.0 * t_s, 600.0, 20e3])) for k in range(10)]

    steady = np.array([0.0, 20.0]), np.array([5.0, 5.0])
    behaviour = Behaviour(person_of(1), "left", 1, steady, walkers, 20.0, STYLES["attentive"])
    went_mm = []
    for fixation in behaviour.fixations:
        ends = [behaviour.at(fixation.start_s + share * fixation.duration_s) for share in (0.1, 0.9)]
        expected_mm = 300.0 * 0.8 * fixation.duration_s
        moved_mm = float(ends[1].gaze_target_mm[0] - ends[0].gaze_target_mm[0])
        misses = [min(angle_between_deg(m.gaze_target_mm, at) for _, at in walkers(m.t_s)) for m in ends]
        if max(misses) < 0.4 and fixation.zone in ROAD_ZONES and abs(moved_mm - expected_mm) < 60:
            went_mm.append(moved_mm)
    assert len(went_mm) >= 3


@pytest.mark.parametrize(
    "point", [[np.nan, 0, 1e4], [0, 0, -5e3], [0, 0, 0], [np.inf, 0, np.inf], [9e4, 0, 1e4], [370, -90, 9000]]
)
def test_things_that_nobody_can_look_at_do_no_harm(point: list[float]) -> None:
    steady = np.array([0.0, 15.0]), np.array([5.0, 5.0])
    thing = [(k, np.array(point, dtype=float)) for k in range(20)]
    behaviour = Behaviour(person_of(1), "left", 1, steady, lambda t_s: thing, 15.0, STYLES["ordinary"])
    assert np.isfinite(behaviour.course.gaze_mm).all()
    assert np.linalg.norm(behaviour.course.gaze_mm, axis=1).min() > 200


def test_blinks_come_at_the_person_s_rate_and_close_faster_than_they_open() -> None:
    blinks = []
    for seed in range(8):
        behaviour = drive("attentive", seed, 60.0)
        blinks += [(behaviour, blink) for blink in behaviour.blinks]
    assert 12 < len(blinks) / 8 < 21
    durations = np.array([blink.duration_s for _, blink in blinks])
    assert durations.min() >= 0.1
    assert durations.max() <= 0.4
    assert 0.18 < np.median(durations) < 0.27
    for behaviour, blink in blinks[:10]:
        times_s = blink.start_s + np.linspace(0.0, 0.999, 30) * blink.duration_s
        moments = [behaviour.at(float(t)) for t in times_s]
        assert all(m.blink_id == blink.blink_id for m in moments)
        closure = [m.lid_closure[0] for m in moments]
        assert max(closure) > 0.75
        assert np.argmax(closure) < 14  # the lowest point is in the first half
    assert blinks[0][0].at(max(blinks[0][1].start_s - 0.01, 0.0)).blink_id is None


def test_blinks_like_large_gaze_shifts() -> None:
    close = []
    for seed in range(5):
        behaviour = drive(seed=seed)
        starts = np.array([f.start_s for f in behaviour.fixations])
        gaze = unit([behaviour.at(min(s + 0.01, 40.0)).gaze_target_mm for s in starts])
        large = starts[1:][angle_between_deg(gaze[1:], gaze[:-1]) > 25]
        close += [np.abs(large - blink.start_s).min() < 0.35 for blink in behaviour.blinks if len(large)]
    assert np.mean(close) > 0.4


def test_drowsy_drivers_close_their_eyes_nod_and_yawn() -> None:
    def perclos(behaviours: list[Behaviour]) -> float:
        return float(
            np.mean([b.at(t_s).lid_closure[0] > 0.8 for b in behaviours for t_s in np.arange(0, 60, 0.4).tolist()])
        )

    awake, drowsy = ([drive(style, seed, 60.0) for seed in range(4)] for style in ("attentive", "drowsy"))
    assert perclos(drowsy) > 0.06
    assert perclos(drowsy) > 2.5 * perclos(awake)
    kinds = Counter(event.kind for behaviour in drowsy for event in behaviour.events)
    assert kinds["drowsy_start"] == 4
    assert kinds["head_nod"] > 4
    assert kinds["yawn_start"] >= 2


def test_a_yawn_opens_the_mouth_and_narrows_the_eyes() -> None:
    behaviour = next(
        b for b in (drive("drowsy", seed, 60.0) for seed in range(20)) if any(e.kind == "yawn_end" for e in b.events)
    )
    start, end = (next(e.t_s for e in behaviour.events if e.kind == f"yawn_{edge}") for edge in ("start", "end"))
    assert 4.0 <= end - start <= 6.0
    middle = behaviour.at(start + 0.6 * (end - start))
    assert middle.state == "yawning"
    assert middle.expression == "yawn"
    assert middle.jaw_open > 0.5
    assert middle.lid_closure[0] > 0.4


@pytest.mark.parametrize("seed", range(2))
def test_the_demo_has_one_long_glance_at_the_phone_at_its_stated_time(seed: int) -> None:
    behaviour = drive("distraction_demo", seed, 75.0, mps=25.0)
    events = {event.kind: event.t_s for event in behaviour.events}
    assert events["glance_phone_start"] == 37.5
    t_s = np.arange(0.0, 75.0, 0.1)
    moments = [behaviour.at(float(t)) for t in t_s]
    down = np.array([m.zone is Zone.PHONE_LAP for m in moments])
    assert np.flatnonzero(np.diff(down.astype(int))).size == 2  # there and back, once
    assert 3.0 <= down.sum() * 0.1 <= 4.0
    assert t_s[down][0] == pytest.approx(37.5, abs=0.11)
    held = behaviour.at(events["glance_phone_start"] + 1.5)
    assert held.grips[1] == "phone"
    assert held.state == "distracted"
    assert np.linalg.norm(held.gaze_target_mm - phone_position_mm("left")) < 20
    assert behaviour.at(events["phone_take"] - 1.0).grips[1] != "phone"
    assert behaviour.at(events["phone_put_down"] + 1.0).grips[1] != "phone"


@pytest.mark.parametrize(("style", "alerts"), [("attentive", False), ("distraction_demo", True)])
def test_the_attention_policy_agrees_on_who_is_attentive(style: str, alerts: bool) -> None:
    behaviour = drive(style, 5, 75.0, mps=25.0)
    policy, raised = AttentionPolicy(), []
    for t_s in np.arange(0.0, 75.0, 0.1).tolist():
        moment = behaviour.at(t_s)
        azimuth, elevation = angles_from_rays(moment.gaze_target_mm - moment.eye_mid_mm)
        opening = 1 - moment.lid_closure[0]
        if opening < 0.3:
            sight = Sight(
                t_s, Status.EYES_CLOSED, None, None, None, None, True, opening, moment.jaw_open, moment.speed_mps
            )
        else:
            gaze = moment.zone, float(azimuth), float(elevation), 3.0
            sight = Sight(t_s, Status.OK, *gaze, False, opening, moment.jaw_open, moment.speed_mps)
        raised += [t_s for change in policy.update(sight).changes if change.level]
    assert bool(raised) is alerts
    assert all(37.5 < t_s < 42.0 for t_s in raised)


def test_hands_go_where_they_are_going_without_a_jump() -> None:
    for seed in range(3):
        behaviour = drive(seed=seed)
        moments = [behaviour.at(t) for t in np.arange(0, 40, 0.05).tolist()]
        for before, after in pairwise(moments):
            for side in range(2):
                (_, had), (came_from, has) = before.grip_blend[side], after.grip_blend[side]
                assert 0.0 <= has <= 1.0
                if after.grips[side] != before.grips[side]:
                    assert came_from == before.grips[side]
                    assert had > 0.95
                    assert has < 0.2


def test_times_outside_the_drive_are_refused() -> None:
    behaviour = drive(duration_s=5.0)
    assert behaviour.at(0.0).t_s == 0.0
    assert behaviour.at(5.0).t_s == 5.0
    for t_s in (-0.01, 5.01, float("nan")):
        with pytest.raises(ValueError, match="the drive lasts from 0 to 5"):
            behaviour.at(t_s)
    for duration_s in (0.0, 0.9, -1.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match=r"a drive must last at least 1\.0 s"):
            drive(duration_s=duration_s)


def test_the_road_is_asked_within_the_drive_only() -> None:
    asked: list[float] = []

    def things(t_s: float) -> Things:
        asked.append(t_s)
        return [(k, np.array([0.0, 0.0, 5e4])) for k in range(8)]

    def curvature(t_s: float) -> float:
        asked.append(t_s)
        return 0.01

    steady = np.array([0.0, 12.0]), np.array([15.0, 15.0])
    Behaviour(person_of(1), "left", 1, steady, things, 12.0, STYLES["attentive"], curvature=curvature)
    assert asked
    assert min(asked) >= 0.0
    assert max(asked) <= 12.0


@pytest.mark.parametrize("style", STYLES)
def test_the_shortest_drives_are_drives(style: str) -> None:
    for seed in range(10):
        behaviour = drive(style, seed, duration_s=1.0)
        assert behaviour.fixations
        assert all(behaviour.at(t_s).zone in Zone for t_s in np.linspace(0.0, 1.0, 11).tolist())


def test_the_same_seed_gives_the_same_drive_and_another_another() -> None:
    first, again, other = drive(seed=4, duration_s=20.0), drive(seed=4, duration_s=20.0), drive(seed=5, duration_s=20.0)
    assert first.fixations == again.fixations != other.fixations
    assert first.blinks == again.blinks
    assert first.events == again.events
    np.testing.assert_array_equal(first.at(7.77).gaze_target_mm, again.at(7.77).gaze_target_mm)


def test_tables_are_in_order_and_do_not_overlap() -> None:
    behaviour = drive("drowsy", 3, 60.0)
    for rows, numbers in (
        (behaviour.fixations, [f.fixation_id for f in behaviour.fixations]),
        (behaviour.blinks, [b.blink_id for b in behaviour.blinks]),
    ):
        assert numbers == list(range(len(rows)))
        ends = np.array([row.start_s + row.duration_s for row in rows])
        starts = np.array([row.start_s for row in rows])
        assert (starts[1:] >= ends[:-1] - 1e-9).all()
        assert starts[0] >= 0
        assert ends[-1] <= 60.0
    times = [event.t_s for event in behaviour.events]
    assert times == sorted(times)


@settings(max_examples=20, deadline=None)
@given(
    st.integers(0, 10**6),
    st.sampled_from(["urban", "rural", "motorway"]),
    st.sampled_from(["light", "moderate", "dense"]),
    st.floats(0.5, 120.0),
)
def test_cars_stay_within_comfortable_acceleration(
    seed: int, road_type: RoadType, traffic: Traffic, duration_s: float
) -> None:
    t_s, speed_mps = speed_profile(np.random.default_rng(seed), road_type, traffic, duration_s)
    assert t_s[0] == 0.0
    assert t_s[-1] >= duration_s - 1e-6
    assert (speed_mps >= 0).all()
    assert speed_mps.max() < 45
    assert np.abs(np.diff(speed_mps) / np.diff(t_s)).max() <= 3.0


def test_towns_have_stops_and_motorways_are_fast() -> None:
    def profiles(road_type: RoadType) -> Floats:
        return np.concatenate(
            [speed_profile(np.random.default_rng(seed), road_type, "moderate", 120.0)[1] for seed in range(10)]
        )

    assert 0.05 < np.mean(profiles("urban") < 0.3) < 0.4
    assert np.mean(profiles("motorway")) > 22
    assert np.mean(profiles("urban")) < 13
