"""The attention policy: scripted drives, invariance to sampling, hostile input, and attentive driving."""

import dataclasses
import math
import pickle
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from benchmarks.glances import ZONES, attentive_drive, false_alerts_per_hour, poisson_interval
from benchmarks.scenarios import BUFFER, LONG, SCENARIOS, Scenario, Segment, passed, road, run, sights, unseen
from dashgaze.device.attention import AttentionPolicy, AttentionSettings
from dashgaze.device.attention.settings import EyesSettings, LongSettings
from dashgaze.device.records import Alert, AlertKind, Attention, Level, Sight
from dashgaze.errors import DashgazeError
from dashgaze.tables import Status
from dashgaze.zones import Zone

ROAD_ZONES = {Zone.ROAD_AHEAD, Zone.ROAD_LEFT, Zone.ROAD_RIGHT}


def states(*segments: Segment, fps: float = 20.0) -> list[Attention]:
    policy = AttentionPolicy()
    return [policy.update(sight) for sight in sights(Scenario("test", segments, fps=fps))]


def starts(alerts: list[Alert], kind: AlertKind, level: Level) -> list[float]:
    return [alert.t_s for alert in alerts if (alert.kind, alert.level) == (kind, level)]


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_scenario_raises_its_alerts_and_no_other(scenario):
    succeeded, report = passed(scenario)
    assert succeeded, report


@pytest.mark.slow
@pytest.mark.parametrize("fps", [10.0, 15.0, 30.0])
def test_scenarios_do_not_depend_on_the_frame_rate(fps):
    reports = [passed(dataclasses.replace(scenario, fps=fps, jitter_s=0.0)) for scenario in SCENARIOS]
    assert [report for succeeded, report in reports if not succeeded] == []


def test_scenarios_are_many_and_last_a_minute_or_more():
    assert len(SCENARIOS) >= 35
    assert len({scenario.name for scenario in SCENARIOS}) == len(SCENARIOS)
    assert all(55 <= scenario.seconds <= 240 for scenario in SCENARIOS)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    onset_s=st.floats(5.0, 6.0),
    glance_s=st.floats(0.3, 8.0),
    fps=st.sampled_from([10.0, 15.0, 20.0, 30.0]),
    jitter_frac=st.floats(0.0, 0.3),
    zone=st.sampled_from([Zone.CONSOLE, Zone.PASSENGER, Zone.MIRROR_LEFT, Zone.CLUSTER]),
)
def test_long_glance_warns_at_three_seconds_at_any_rate_and_phase(onset_s, glance_s, fps, jitter_frac, zone):
    scenario = Scenario(
        "glance", (road(onset_s), Segment(glance_s, zone), road(5)), fps=fps, jitter_s=jitter_frac / fps
    )
    warned = starts(run(scenario), LONG, Level.WARNING)
    frame_s = (1 + 2 * jitter_frac) / fps
    if glance_s < 3.0 - frame_s:
        assert warned == []
    if glance_s > 3.0 + 2 * frame_s:
        (t_s,) = warned
        # The glance begins somewhere between two frames, and only a frame can warn.
        assert -frame_s / 2 - 0.01 <= t_s - (onset_s + 3.0) <= 1.5 * frame_s + 0.01


@settings(max_examples=15, deadline=None, derandomize=True)
@given(onset=st.integers(10, 20), closed=st.integers(2, 80), jitter_s=st.floats(0.0, 0.01))
def test_closed_eyes_warn_at_the_same_second_at_any_rate(onset, closed, jitter_s):
    for fps in (10.0, 15.0, 30.0):
        segments = (road(onset / 10), Segment(closed / 10 + 0.05, closed=True), road(3))
        alerts = run(Scenario("closed", segments, fps=fps, jitter_s=jitter_s))
        for kind, threshold_s in ((AlertKind.MICROSLEEP, 1.0), (AlertKind.SLEEP, 3.0), (AlertKind.UNRESPONSIVE, 6.0)):
            t_s = [alert.t_s for alert in alerts if alert.kind is kind and alert.level]
            if closed / 10 >= threshold_s + 0.1:
                assert t_s == [pytest.approx(onset / 10 + threshold_s, abs=0.1 + 2 * jitter_s)]
            if closed / 10 < threshold_s - 0.1:
                assert t_s == []


@settings(max_examples=12, deadline=None, derandomize=True)
@given(
    glances=st.lists(
        st.tuples(st.sampled_from([0.6, 1.4, 2.4, 3.5, 6.6]), st.sampled_from([0.8, 1.7, 3.1, 7.3])), max_size=6
    )
)
def test_alerts_do_not_depend_on_the_frame_rate(glances):
    segments = [road(5)]
    for off_s, on_s in glances:
        segments += [Segment(off_s, Zone.PASSENGER), road(on_s)]
    outcomes = [run(Scenario("rates", (*segments, road(5)), fps=fps)) for fps in (10.0, 15.0, 30.0)]
    for kind in (LONG, AlertKind.UNRESPONSIVE):
        first, *others = [[a.t_s for a in alerts if a.kind is kind and a.level] for alerts in outcomes]
        for other in others:
            assert other == pytest.approx(first, abs=0.1 + 1e-9)


@pytest.mark.parametrize("repeats", [2, 5])
def test_repeated_stamps_change_nothing(repeats):
    scenario = next(scenario for scenario in SCENARIOS if scenario.name == "texting")
    policy = AttentionPolicy()
    alerts = [a for sight in sights(scenario) for _ in range(repeats) for a in policy.update(sight).changes]
    assert alerts == run(scenario)


@pytest.mark.parametrize("t_s", [0.99, -1.0, math.nan, math.inf])
def test_time_that_goes_back_or_is_not_finite_is_an_error(t_s):
    policy = AttentionPolicy()
    policy.update(Sight(1.0, Status.OK, Zone.ROAD_AHEAD))
    with pytest.raises(DashgazeError, match="t_s"):
        policy.update(Sight(t_s, Status.OK, Zone.ROAD_AHEAD))


def test_first_time_that_is_not_finite_is_an_error():
    with pytest.raises(DashgazeError, match="t_s"):
        AttentionPolicy().update(Sight(math.nan, Status.OK))


NUMBERS = st.none() | st.floats(allow_nan=True, allow_infinity=True)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    st.lists(
        st.builds(
            Sight,
            t_s=st.floats(0.0, 2.0),
            status=st.sampled_from(Status),
            zone=st.none() | st.sampled_from(Zone),
            car_azimuth_deg=NUMBERS,
            car_elevation_deg=NUMBERS,
            error_deg=NUMBERS,
            eyes_closed=st.none() | st.booleans(),
            openness_frac=NUMBERS,
            mouth_open_frac=NUMBERS,
            speed_mps=NUMBERS,
            acknowledged=st.booleans(),
        ),
        max_size=40,
    )
)
def test_any_sight_is_taken(steps):
    policy, t_s = AttentionPolicy(), 0.0
    for step in steps:
        t_s += step.t_s
        attention = policy.update(dataclasses.replace(step, t_s=t_s))
        assert (attention.off_road_s is None) == (attention.buffer_s is None), "unknown together"
        assert attention.off_road_s is None or attention.off_road_s >= 0
        assert 0 <= attention.off_road_30s_s <= 30 + 1e-6
        assert attention.buffer_s is None or 0 <= attention.buffer_s <= 2
        assert attention.perclos_frac is None or 0 <= attention.perclos_frac <= 1
        assert (attention.level == Level.NONE) == (attention.active == ())


def test_every_alert_cites_its_rule_and_each_one_that_starts_tells_the_driver_something():
    names = {"texting", "unresponsive", "drowsy from the start", "yawning", "no face", "camera blocked"}
    alerts = [alert for scenario in SCENARIOS if scenario.name in names for alert in run(scenario)]
    assert {alert.kind for alert in alerts} == set(AlertKind)
    assert all(alert.rule for alert in alerts)
    assert all(bool(alert.message) == bool(alert.level) for alert in alerts)


def test_unseen_time_is_neither_attention_nor_distraction():
    unknown, after = states(road(5), Segment(1.5, Zone.CONSOLE), unseen(4), Segment(0.1, Zone.CONSOLE))[-3::2]
    assert (unknown.off_road_s, unknown.buffer_s) == (None, None)
    assert after.off_road_s == pytest.approx(1.5, abs=0.15)
    assert after.buffer_s == pytest.approx(0.5, abs=0.15)
    assert after.off_road_30s_s == pytest.approx(1.5, abs=0.15)


def test_state_says_what_is_going_on():
    seen = states(road(40), Segment(1.5, Zone.CONSOLE), road(3))
    assert seen[20 * 20].perclos_frac is None
    assert seen[20 * 35].perclos_frac == 0.0
    assert seen[20 * 35].buffer_s == 2.0
    assert seen[20 * 41].off_road_s == pytest.approx(1.0, abs=0.06)
    assert seen[20 * 41].buffer_s == pytest.approx(1.0, abs=0.06)
    assert seen[-1].off_road_s == 0.0
    assert seen[-1].off_road_30s_s == pytest.approx(1.5, abs=0.06)


def test_blink_rate_counts_blinks_and_no_long_closures():
    assert states(Segment(70, blink_every_s=4.0))[-1].blink_rate_per_min == pytest.approx(15, abs=1)
    assert states(Segment(70, blink_every_s=4.0, blink_s=0.7))[-1].blink_rate_per_min == 0


def test_most_severe_alert_comes_first():
    attention = states(road(5), Segment(6.5, Zone.PHONE_LAP))[-1]
    assert attention.level == Level.CRITICAL
    assert attention.active == (AlertKind.UNRESPONSIVE, LONG, AlertKind.PHONE_DOWN, BUFFER)


def test_acknowledging_ends_a_notice_until_it_is_forgotten():
    pressed = Segment(1.0, flicker=((1.0, Status.BLOCKED),), acknowledged=True)
    alerts = run(Scenario("blocked", (unseen(10, Status.BLOCKED), pressed, unseen(310, Status.BLOCKED)), fps=5.0))
    assert [(alert.level, round(alert.t_s)) for alert in alerts] == [
        (Level.NOTICE, 5),
        (Level.NONE, 10),
        (Level.NOTICE, 310),
    ]


@pytest.mark.parametrize(
    "wrong",
    [
        {"long": {"warning_s": 6.0}},
        {"long": {"area3_slow_s": 2.0}},
        {"eyes": {"sleep_s": 1.0, "microsleep_s": 1.5}},
        {"eyes": {"perclos_warning_frac": 0.05}},
        {"eyes": {"perclos_window_s": 20.0}},
        {"cumulative": {"vats_s": 20.0, "vats_window_s": 10.0}},
        {"absence": {"no_face_notice_s": 25.0}},
        {"speed": {"hysteresis_mps": 5.0}},
        {"gaze": {"vote_s": math.nan}},
        {"lon": {}},
    ],
)
def test_settings_that_contradict_each_other_are_refused(wrong):
    with pytest.raises(ValidationError):
        AttentionSettings.model_validate(wrong)


def test_every_setting_has_a_source():
    for section in AttentionSettings.model_fields.values():
        for name, field in section.default.__class__.model_fields.items():
            assert field.description, name


def test_thresholds_come_from_the_settings():
    quick = AttentionSettings(long=LongSettings(warning_s=2.0, critical_s=2.5), eyes=EyesSettings(microsleep_s=0.8))
    scenario = Scenario("quick", (road(5), Segment(4, Zone.CONSOLE), road(5), Segment(0.9, closed=True), road(2)))
    alerts = run(scenario, AttentionPolicy(quick))
    assert starts(alerts, LONG, Level.WARNING) == [pytest.approx(7.0, abs=0.1)]
    assert starts(alerts, LONG, Level.CRITICAL) == [pytest.approx(7.5, abs=0.1)]
    assert starts(alerts, AlertKind.MICROSLEEP, Level.WARNING) == [pytest.approx(14.8, abs=0.1)]


def test_memory_stays_bounded():
    policy, sizes = AttentionPolicy(), []
    for number, sight in enumerate(attentive_drive(seed=1, hours=0.3)):
        policy.update(sight)
        if number % 2000 == 1999:
            sizes.append(len(pickle.dumps(policy)))
    assert max(sizes) < 60_000
    for _ in range(5000):
        policy.update(sight)
    assert len(pickle.dumps(policy)) <= max(sizes) + 500


def test_generator_is_attentive_and_the_same_for_a_seed():
    drive = list(attentive_drive(seed=3, hours=0.5))
    assert drive == list(attentive_drive(seed=3, hours=0.5))
    assert all(a.t_s < b.t_s for a, b in pairwise(drive))
    judged = [sight.zone for sight in drive if sight.zone is not None]
    assert 0.72 < sum(zone in ROAD_ZONES for zone in judged) / len(judged) < 0.86
    assert set(judged) == set(ZONES)


@pytest.mark.parametrize(("count", "low", "high"), [(0, 0.0, 3.689), (4, 1.090, 10.242)])
def test_poisson_interval_is_exact(count, low, high):
    assert poisson_interval(count) == pytest.approx((low, high), abs=1e-3)


@pytest.mark.slow
def test_attentive_driving_raises_hardly_an_alert():
    outcome = false_alerts_per_hour(hours=4.0, seed=77)
    assert outcome.interval_per_hour[0] <= 0.1
