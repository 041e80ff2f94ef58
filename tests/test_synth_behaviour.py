"""Drivers of the synthetic cabin: eyes, head, lids and hands move as published, glances divide as asked."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from dashgaze.device.attention import AttentionPolicy
from dashgaze.device.records import Sight
from dashgaze.geometry import Floats, angle_between_deg, angles_from_rays, unit
from dashgaze.tables import Status
from dashgaze.training.synth.behaviour import STYLES, Behaviour, RoadType, Traffic, phone_position_mm, speed_profile
from dashgaze.training.synth.behaviour.motion import rotations
from dashgaze.training.synth.person import person_of
from dashgaze.training.synth.records import Moment
from dashgaze.zones import ROAD_ZONES, HandOfDrive, Zone, ZoneMap

RATE_HZ = 250.0
Things = Sequence[tuple[int, NDArray[np.float64]]]


def nothing(t_s: float) -> Things:
    return ()


def drive(
    style: str = "ordinary", seed: int = 0, duration_s: float = 45.0, hand: HandOfDrive = "left", mps: float = 15.0
) -> Behaviour:
    steady = np.array([0.0, duration_s]), np.array([mps, mps])
    return Behaviour(person_of(seed), hand, seed, steady, nothing, duration_s, STYLES[style])


@dataclass(frozen=True)
class Course:
    """Everything of one drive, sampled."""

    t_s: Floats
    moments: list[Moment]
    gaze: Floats
    head: Floats
    saccade: NDArray[np.bool_]
    fixation: NDArray[np.int64]


@cache
def course(style: str = "ordinary", seed: int = 0, duration_s: float = 40.0, rate_hz: float = RATE_HZ) -> Course:
    behaviour = drive(style, seed, duration_s)
    t_s = np.arange(0.0, duration_s, 1 / rate_hz)
    moments = [behaviour.at(float(t)) for t in t_s]
    return Course(
        t_s,
        moments,
        unit([m.gaze_target_mm - m.eye_mid_mm for m in moments]),
        rotations(np.array([m.head_angles_deg for m in moments])),
        np.array([m.saccade for m in moments]),
        np.array([m.fixation_id for m in moments]),
    )


@pytest.fixture(scope="module")
def ordinary() -> list[Course]:
    return [course(seed=seed) for seed in range(5)]


def flights(course: Course) -> list[slice]:
    """The gaze shifts: from the last sample of one fixation to the first of the next."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], course.saccade, [False]]).astype(int)))
    pairs = edges.reshape(-1, 2)
    return [slice(a - 1, b + 1) for a, b in pairs if a > 0 and b < len(course.t_s)]


def in_head(course: Course) -> tuple[Floats, Floats]:
    return angles_from_rays(np.einsum("nji,nj->ni", course.head, course.gaze))


def test_saccades_follow_the_main_sequence(ordinary: list[Course]) -> None:
    # Bahill et al. 1975, Collewijn et al. 1988: 2.2 ms/deg + 21 ms; peak velocity 500 to 750 deg/s, half at 7 to 15 deg.
    sizes, durations, peaks = [], [], []
    for each in ordinary:
        for flight in flights(each):
            size = float(angle_between_deg(each.gaze[flight][0], each.gaze[flight][-1]))
            if 3.0 < size < 30.0:
                speed = angle_between_deg(each.gaze[flight][1:], each.gaze[flight][:-1]) * RATE_HZ
                sizes.append(size)
                durations.append((flight.stop - flight.start - 1) / RATE_HZ)
                peaks.append(speed.max())
    size, duration, peak = np.array(sizes), np.array(durations), np.array(peaks)
    assert len(size) > 100
    slope, base = np.polyfit(size, duration, 1)
    assert slope == pytest.approx(0.0022, abs=0.0006)
    assert base == pytest.approx(0.021, abs=0.008)
    expected = 700 * (1 - np.exp(-size / 12.0))
    assert np.median(np.abs(peak / expected - 1)) < 0.2
    assert peak.max() < 800


def test_gaze_stays_on_its_point_while_the_head_still_moves(ordinary: list[Course]) -> None:
    tested = 0
    for each in ordinary:
        for number in np.unique(each.fixation):
            samples = np.flatnonzero((each.fixation == number) & ~each.saccade)
            moments = [each.moments[i] for i in samples]
            turned = angle_between_deg(each.head[samples[:1], :, 2], each.head[samples[-1:], :, 2]) if moments else 0.0
            if turned > 4.0 and "mirror" not in moments[0].zone:  # there the eyes look past the glass
                targets = np.array([m.gaze_target_mm - moments[0].eye_mid_mm for m in moments])
                assert angle_between_deg(targets, targets.mean(axis=0)).max() < 0.6
                assert np.sqrt(np.mean(angle_between_deg(targets, targets.mean(axis=0)) ** 2)) < 0.3
                tested += 1
    assert tested > 20


def test_the_head_lags_the_eyes_and_is_slower(ordinary: list[Course]) -> None:
    lags, speeds = [], []
    for each in ordinary:
        head_speed = angle_between_deg(each.head[1:, :, 2], each.head[:-1, :, 2]) * RATE_HZ
        for flight in flights(each):
            size = float(angle_between_deg(each.gaze[flight][0], each.gaze[flight][-1]))
            after = head_speed[flight.start : flight.start + int(0.5 * RATE_HZ)]
            # Only where the head was at rest before.
            if size > 35 and after.max() > 50 and head_speed[max(flight.start - 10, 0) : flight.start + 2].max() < 5:
                lags.append(np.argmax(after > 0.1 * after.max()) / RATE_HZ)
                speeds.append(after.max())
    assert len(lags) > 10
    assert 0.03 < np.median(lags) < 0.12
    assert np.max(speeds) < 350


def test_eyes_stay_within_their_range_and_small_shifts_leave_the_head(ordinary: list[Course]) -> None:
    for each in ordinary:
        azimuth, elevation = in_head(each)
        assert np.abs(azimuth).max() <= 40.5
        assert -37.0 < elevation.min()
        assert elevation.max() < 29.0
        yaw = np.array([m.head_angles_deg[0] for m in each.moments])
        ahead = np.array([m.zone is Zone.ROAD_AHEAD for m in each.moments]) & ~each.saccade
        far = np.array([m.zone is Zone.PASSENGER for m in each.moments]) & ~each.saccade
        assert np.median(np.abs(yaw[ahead])) < 7
        assert not far.any() or np.median(np.abs(yaw[far])) > 15


def test_the_neck_moves_the_eyes(ordinary: list[Course]) -> None:
    yaw = np.concatenate([[m.head_angles_deg[0] for m in each.moments] for each in ordinary])
    right_mm = np.concatenate([[m.eye_mid_mm[0] for m in each.moments] for each in ordinary])
    slope = np.polyfit(np.sin(np.radians(yaw)), right_mm, 1)[0]
    assert slope == pytest.approx(90.0, abs=15.0)


def test_everything_is_continuous(ordinary: list[Course]) -> None:
    for each in ordinary:
        for values, most_per_s in (
            (np.array([m.head_angles_deg for m in each.moments]), 350.0),
            (np.array([m.eye_mid_mm for m in each.moments]), 700.0),
            (np.array([m.lid_closure for m in each.moments]), 80.0),
            (np.array([m.jaw_open for m in each.moments]), 10.0),
        ):
            assert np.abs(np.diff(values, axis=0)).max() * RATE_HZ < most_per_s


@pytest.mark.parametrize(("style", "share"), [("attentive", 0.80), ("ordinary", 0.58)])
def test_the_road_gets_its_share(style: str, share: float) -> None:
    zones = Counter(m.zone for seed in range(12) for m in course(style, seed, 60.0, 5.0).moments)
    assert sum(zones[zone] for zone in ROAD_ZONES) / zones.total() == pytest.approx(share, abs=0.06)
    off = {zone: count for zone, count in zones.items() if zone not in ROAD_ZONES}
    for zone, glances in STYLES[style].glances.items():  # tolerance: 12 minutes hold some 200 glances
        expected = glances * 0.9 / sum(STYLES[style].glances.values())
        assert off[zone] / sum(off.values()) == pytest.approx(expected, abs=0.12)


def test_half_a_minute_of_ordinary_driving_visits_most_zones() -> None:
    visited = [len({m.zone for m in course("ordinary", seed, 30.0, 1.0).moments}) for seed in range(12)]
    assert np.median(visited) >= 8
    assert min(visited) >= 5


def test_gaze_meets_the_zone_it_is_meant_for(ordinary: list[Course]) -> None:
    zones = ZoneMap.for_vehicle("left")
    agree = []
    for each in ordinary:
        moments = [m for m in each.moments[::25] if not m.saccade]
        eyes = np.array([m.eye_mid_mm for m in moments])
        met = zones.zones_of(eyes, np.array([m.gaze_target_mm for m in moments]) - eyes)
        agree += [a is m.zone for a, m in zip(met, moments, strict=True)]
    assert np.mean(agree) > 0.97


def test_right_hand_drive_is_the_mirror_image() -> None:
    for hand, sign in (("left", 1), ("right", -1)):
        behaviour = drive(seed=2, duration_s=60.0, hand=hand)
        moments = [behaviour.at(t) for t in np.arange(0, 60, 0.1)]
        across = [m.gaze_target_mm[0] for m in moments if m.zone is Zone.CONSOLE and not m.saccade]
        assert len(across) > 5
        assert sign * np.median(across) > 200
        assert sign * phone_position_mm(hand)[0] > 0


def test_fixations_and_glances_last_as_published() -> None:
    durations = np.array([f.duration_s for seed in range(6) for f in drive("attentive", seed).fixations])
    assert 0.25 < np.median(durations) < 0.45
    assert np.mean((durations > 0.15) & (durations < 0.65)) > 0.8
    glances = []
    for seed in range(6):
        each = course("attentive", seed, 60.0, 20.0)
        off = np.array([m.zone not in ROAD_ZONES for m in each.moments])
        edges = np.flatnonzero(np.diff(np.concatenate([[False], off, [False]]).astype(int))).reshape(-1, 2)
        glances += ((edges[:, 1] - edges[:, 0]) / 20.0).tolist()
    assert 0.6 < np.mean(glances) < 1.3
    assert np.max(glances) < 2.3


def test_gaze_spreads_less_the_faster_the_car() -> None:
    def spread_deg(mps: float) -> float:
        azimuths = []
        for seed in range(4):
            behaviour = drive("attentive", seed, 60.0, mps=mps)
            moments = [behaviour.at(t) for t in np.arange(0, 60, 0.2)]
            azimuths += [angles_from_rays(m.gaze_target_mm)[0] for m in moments if m.zone in ROAD_ZONES]
        return float(np.std(azimuths))

    assert spread_deg(0.0) > 1.4 * spread_deg(33.0)


def test_gaze_follows_a_thing_that_moves() -> None:
    def walker(t_s: float) -> Things:
        return [(7, np.array([-4e3 + 150.0 * t_s, 600.0, 20e3]))] * 1 + [
            (k, np.array([0, -1e3, 5e4])) for k in range(8)
        ]

    steady = np.array([0.0, 40.0]), np.array([5.0, 5.0])
    behaviour = Behaviour(person_of(1), "left", 1, steady, walker, 40.0, STYLES["attentive"])
    near = []
    for fixation in behaviour.fixations:
        ends = [behaviour.at(fixation.start_s + share * fixation.duration_s) for share in (0.1, 0.9)]
        misses = [angle_between_deg(m.gaze_target_mm, walker(m.t_s)[0][1]) for m in ends]
        if max(misses) < 0.5 and fixation.duration_s > 0.3:
            near.append(ends[1].gaze_target_mm[0] - ends[0].gaze_target_mm[0])
    assert near
    assert min(near) > 0  # it went along to the right


@pytest.mark.parametrize(
    "point", [[np.nan, 0, 1e4], [0, 0, -5e3], [0, 0, 0], [np.inf, 0, np.inf], [9e4, 0, 1e4], [370, -90, 9000]]
)
def test_things_that_nobody_can_look_at_do_no_harm(point: list[float]) -> None:
    steady = np.array([0.0, 15.0]), np.array([5.0, 5.0])
    thing = [(k, np.array(point, dtype=float)) for k in range(20)]
    behaviour = Behaviour(person_of(1), "left", 1, steady, lambda t_s: thing, 15.0, STYLES["ordinary"])
    targets = np.array([behaviour.at(t).gaze_target_mm for t in np.arange(0, 15, 0.05)])
    assert np.isfinite(targets).all()
    assert np.linalg.norm(targets, axis=1).min() > 200


def test_blinks_come_at_the_person_s_rate_and_close_faster_than_they_open() -> None:
    minutes, blinks = 0.0, []
    for seed in range(20):
        behaviour = drive("attentive", seed, 60.0)
        minutes += 1.0
        blinks += [(behaviour, blink) for blink in behaviour.blinks]
    assert 13 < len(blinks) / minutes < 21
    durations = np.array([blink.duration_s for _, blink in blinks])
    assert durations.min() >= 0.1
    assert durations.max() <= 0.4
    assert 0.18 < np.median(durations) < 0.27
    for behaviour, blink in blinks[:40]:
        times_s = blink.start_s + np.linspace(0.0, 0.999, 60) * blink.duration_s
        moments = [behaviour.at(float(t)) for t in times_s]
        assert all(m.blink_id == blink.blink_id for m in moments)
        closure = [m.lid_closure[0] for m in moments]
        assert max(closure) > 0.75
        assert np.argmax(closure) < 28  # the lowest point is in the first half
    assert blinks[0][0].at(max(blinks[0][1].start_s - 0.01, 0.0)).blink_id is None


def test_blinks_like_large_gaze_shifts() -> None:
    close = []
    for seed in range(8):
        behaviour = drive("ordinary", seed, 60.0)
        starts = np.array([f.start_s for f in behaviour.fixations])
        gaze = unit([behaviour.at(min(s + 0.01, 60.0)).gaze_target_mm for s in starts])
        large = starts[1:][angle_between_deg(gaze[1:], gaze[:-1]) > 25]
        close += [np.abs(large - blink.start_s).min() < 0.35 for blink in behaviour.blinks if len(large)]
    assert np.mean(close) > 0.4


def test_drowsy_drivers_close_their_eyes_nod_and_yawn() -> None:
    def perclos(style: str) -> float:
        return float(
            np.mean([m.lid_closure[0] > 0.8 for seed in range(8) for m in course(style, seed, 60.0, 20.0).moments])
        )

    assert perclos("drowsy") > 0.06
    assert perclos("drowsy") > 2.5 * perclos("attentive")
    kinds = Counter(event.kind for seed in range(8) for event in drive("drowsy", seed, 60.0).events)
    assert kinds["drowsy_start"] == 8
    assert kinds["head_nod"] > 8
    assert kinds["yawn_start"] >= 3


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


@pytest.mark.parametrize("seed", range(4))
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
    assert angle_between_deg(held.gaze_target_mm, phone_position_mm("left")) < 6
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
    for seed in range(6):
        behaviour = drive("ordinary", seed, 60.0)
        moments = [behaviour.at(t) for t in np.arange(0, 60, 0.05).tolist()]
        for before, after in zip(moments, moments[1:], strict=False):
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
    for duration_s in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="a drive must last some seconds"):
            drive(duration_s=duration_s)


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


@settings(max_examples=30, deadline=None)
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
